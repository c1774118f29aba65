"""Reading stored notebook outputs back into rows, without running anything."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.core.ledger.claims import Claim, LedgerError, load_all, load_chapter
from lib.core.ledger.reporting import MIME, anchor
from lib.core.ledger.values import Interval, Measurement, Value, encode
from lib.core.ledger.verdicts import NOT_REPORTED, VERDICTS, verdict
from lib.core.paths import ROOT

__all__ = [
    "Row",
    "as_json",
    "check",
    "collect",
    "measurements",
    "notebook_paths",
    "tally",
    "tally_by",
]


@dataclass(frozen=True)
class Row:
    """A claim, what was measured, and the verdict that follows.

    Parameters
    ----------
    chapter : str
        Folder name.
    claim : Claim
    measurement : Measurement or None
        None where no notebook has reported.
    verdict : str or None
        One of `VERDICTS`, or None where it was not reported.
    notebook : str
        Path from the repository root; empty where not reported.
    cell : int or None
        Index of the cell in the notebook, from 0, Markdown cells counted.
    """

    chapter: str
    claim: Claim
    measurement: Measurement | None
    verdict: str | None
    notebook: str = ""
    cell: int | None = None

    @property
    def label(self) -> str:
        """The verdict, or "not reported"."""
        return self.verdict or NOT_REPORTED

    @property
    def measured(self) -> Value | None:
        """The measured value."""
        return self.measurement.value if self.measurement else None

    @property
    def interval(self) -> Interval | tuple[Interval, ...] | None:
        """The interval beside the measured value."""
        return self.measurement.interval if self.measurement else None

    @property
    def url(self) -> str:
        """The card in the rendered book, from its root; empty where not reported."""
        if not self.notebook:
            return ""
        return f"{self.notebook.removesuffix('.ipynb')}.html#{anchor(self.claim.id)}"

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON data, exact fractions kept beside their decimals."""
        claim, value, null = self.claim, encode(self.claim.value), self.claim.null
        found: dict[str, Any] = self.measurement.to_json() if self.measurement else {}
        needed = ("id", "by", "source", "statement", "kind", "basis")
        optional = ("reason", "unit", "control", "control_of", "measured_before")
        return {
            "chapter": self.chapter,
            **{name: getattr(claim, name) for name in needed},
            **{name: getattr(claim, name) or None for name in optional},
            "labels": list(claim.labels) or None,
            "paper_value": value if claim.by == "paper" else None,
            "expected_value": value if claim.by == "ours" else None,
            "tolerance": {key: encode(value) for key, value in claim.tolerance.items()},
            "null": {"value": encode(null.value), "why": null.why} if null else None,
            "measured_value": found.get("value"),
            "interval": found.get("interval"),
            "control_value": found.get("control"),
            "control_interval": found.get("control_interval"),
            "verdict": self.verdict,
            "notebook": self.notebook or None,
            "cell": self.cell,
            "url": self.url or None,
        }


def notebook_paths(root: Path | None = None) -> list[Path]:
    """Return ``notebooks/<chapter>/*.ipynb``, sorted."""
    found = (root or ROOT).glob("notebooks/*/*.ipynb")
    return sorted(p for p in found if not p.parent.name.startswith("."))


def _reports(root: Path) -> Iterator[tuple[str, int, Measurement]]:
    """Yield notebook, cell and content of each stored claim."""
    for path in notebook_paths(root):
        name = path.relative_to(root).as_posix()
        text = path.read_text(encoding="utf-8")
        if MIME not in text:  # most of the time goes into parsing figures that hold no claim
            continue
        try:
            cells = json.loads(text)["cells"]
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{name}: not a readable notebook: {error}") from None
        yield from ((name, index, found) for index, found in measurements(cells, name))


def measurements(cells: Any, name: str) -> Iterator[tuple[int, Measurement]]:
    """Yield cell and content of each claim stored in the cells of a notebook called `name`."""
    for index, cell in enumerate(cells):
        for output in cell.get("outputs", ()):
            data = output.get("data", {}).get(MIME)
            if data is None:
                continue
            try:
                yield index, Measurement.from_json(data)
            except (KeyError, TypeError, ValueError) as error:
                raise LedgerError(
                    f"{name} cell {index}: stored claim {data!r} is not readable: {error}"
                ) from None


def _survey(root: Path | None, chapter: str | None) -> tuple[list[Row], list[str], list[str]]:
    """Return the rows, the errors among the stored reports, and the claims nobody reported."""
    root = root or ROOT
    chapters = load_all(root=root)
    if chapter is not None:
        load_chapter(chapter, root=root)  # an unknown slug is an error that names the known ones
    stored: dict[str, list[tuple[str, int, Measurement]]] = {}
    for report in _reports(root):
        stored.setdefault(report[-1].id, []).append(report)
    rows, errors, unreported = [], [], []
    for slug, claim in [(ch.slug, claim) for ch in chapters for claim in ch.claims]:
        reports = stored.pop(claim.id, [])
        if chapter not in (None, slug):
            continue
        if len(reports) > 1:
            places = " and ".join(f"{name} cell {cell}" for name, cell, _ in reports)
            errors.append(f"{claim.id}: reported {len(reports)} times, in {places}")
        name, cell, found = reports[0] if reports else ("", None, None)
        try:
            label = verdict(claim, found)
        except LedgerError as error:
            errors.append(f"{name} cell {cell}: {error}")
            continue
        if label is None:
            unreported.append(f"{claim.id}: no notebook reports it")
        rows.append(Row(slug, claim, found, label, name, cell))
    for name, cell, found in itertools.chain(*stored.values()):
        errors.append(f"{found.id}: reported in {name} cell {cell}, but no chapter declares it")
    return rows, errors, unreported


def collect(*, root: Path | None = None, chapter: str | None = None) -> list[Row]:
    """Return one row for each declared claim, from the outputs stored in the notebooks.

    Parameters
    ----------
    root : Path, optional
        Repository root.
    chapter : str, optional
        Only this chapter's rows.

    Returns
    -------
    list of Row
        By chapter, then in the order of ``claims.yml``. Nothing is executed.

    Raises
    ------
    LedgerError
        If an id is reported twice or declared nowhere, or a stored measurement is not one that its
        claim accepts.
    """
    rows, errors, _ = _survey(root, chapter)
    if errors:
        raise LedgerError("\n".join(errors))
    return rows


def check(*, root: Path | None = None, chapter: str | None = None) -> list[str]:
    """Return what is wrong with the stored reports: unreported, duplicate, unknown, not acceptable.

    An empty list means that each claim has exactly one measurement, or is out of reach.
    """
    _, errors, unreported = _survey(root, chapter)
    return errors + unreported


def tally_by(rows: list[Row]) -> dict[str, dict[str, int]]:
    """Count rows by verdict, the paper's and ours apart: ``{"paper": …, "ours": …}``."""
    return {by: tally([row for row in rows if row.claim.by == by]) for by in ("paper", "ours")}


def tally(rows: list[Row]) -> dict[str, int]:
    """Count rows by verdict, best first, "not reported" last, those that do not occur left out."""
    counts = Counter(row.label for row in rows)
    return {label: counts[label] for label in (*VERDICTS, NOT_REPORTED) if counts[label]}


def as_json(rows: list[Row]) -> str:
    """Return rows and their counts as text: what the command line prints and the page offers."""
    data = {"counts": tally_by(rows), "rows": [row.to_json() for row in rows]}
    return json.dumps(data, indent=1, ensure_ascii=False)
