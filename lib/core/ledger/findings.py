"""Findings: what a chapter concludes, each sentence beside the rows that carry it.

They stand in ``book/<chapter>/findings.yml``. A sentence may not outrun its rows: every row exists,
a direction has no inconclusive row, and numbers come from the ledger by the role ``measured``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.core.ledger.claims import LedgerError, _keys, _read, _text
from lib.core.ledger.rows import Row
from lib.core.ledger.values import Interval, Scalar, format_value
from lib.core.ledger.verdicts import INCONCLUSIVE, VERDICTS
from lib.core.paths import ROOT

__all__ = [
    "Finding",
    "Headline",
    "Picture",
    "finding_problems",
    "load_findings",
    "measured",
    "stored_figure",
]

_ROLE = re.compile(r"\{(measured|row)\}`(?:[^`<]*<)?([\w.]+)(?::[^`>]*)?>?`")
_TYPED = re.compile(r"\d+\.\d+|\d+ ?%")
# "Theorem 5.1" is a place and no result.
_PLACE = re.compile(r"\b[A-Z][a-z]+ \d+(\.\d+)*|\barXiv \S+")


@dataclass(frozen=True)
class Picture:
    """A stored figure: the output of the notebook's cell that is tagged ``figure-<id>``."""

    notebook: str
    id: str


@dataclass(frozen=True)
class Headline:
    """A finding for who reads one sentence: the words, and two numbers to set side by side.

    Each number is a short text and the claim that it is drawn from, with a label after a colon
    where the claim has several values.
    """

    words: str
    numbers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Finding:
    """One conclusion of a chapter.

    Parameters
    ----------
    id : str
        Its anchor on the page, of a-z, 0-9 and hyphens.
    sentence : str
        Plain words, inline Markdown, roles included.
    rows : tuple of str
        The claims that carry it.
    direction : bool
        Whether the sentence states a direction: more, less, helps, falls.
    scope, budget : str
        On which data and under which conditions; how much was run. `budget` may be empty for what
        is proved or exact.
    figure : Picture or None
    headline : Headline or None
        For the front page; one finding of a chapter has one.
    """

    id: str
    sentence: str
    rows: tuple[str, ...]
    direction: bool
    scope: str
    budget: str
    figure: Picture | None
    headline: Headline | None


def load_findings(slug: str, *, root: Path | None = None) -> tuple[Finding, ...]:
    """Read ``book/<slug>/findings.yml``; empty where a chapter has none.

    Raises
    ------
    LedgerError
        If a key is missing, unknown or of another kind than `Finding` says, or an id comes twice.
    """
    path = (root or ROOT) / "book" / slug / "findings.yml"
    if not path.is_file():
        return ()
    where = f"book/{slug}/findings.yml"
    raw = _read(path)
    if not isinstance(raw, list) or not raw:
        raise LedgerError(f"{where}: found {raw!r}; expected a list of findings")
    found = tuple(_finding(one, f"{where}: finding {i}") for i, one in enumerate(raw, 1))
    ids = [one.id for one in found]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise LedgerError(f"{where}: id given twice: {', '.join(twice)}")
    if len(leads := [one.id for one in found if one.headline]) > 1:
        raise LedgerError(f"{where}: {' and '.join(leads)} have a headline; expected one of them")
    return found


def _finding(raw: Any, where: str) -> Finding:
    needed = ("id", "sentence", "rows", "direction", "scope")
    _keys(raw, needed, ("budget", "figure", "headline"), where)
    identifier = _text(raw, "id", where)
    where = f"{where}: {identifier}"
    if not re.fullmatch(r"[a-z][a-z0-9-]*", identifier):
        raise LedgerError(f"{where}: expected an id of a-z, 0-9 and hyphens")
    rows = raw["rows"]
    if not isinstance(rows, list) or not rows or not all(isinstance(r, str) for r in rows):
        raise LedgerError(f"{where}: rows is {rows!r}; expected a list of claim ids")
    if not isinstance(raw["direction"], bool):
        raise LedgerError(f"{where}: direction is {raw['direction']!r}; expected true or false")
    figure = raw.get("figure")
    if figure is not None:
        _keys(figure, ("notebook", "id"), (), f"{where}: figure")
        figure = Picture(*(_text(figure, key, f"{where}: figure") for key in ("notebook", "id")))
    return Finding(
        id=identifier,
        sentence=_text(raw, "sentence", where),
        rows=tuple(rows),
        direction=raw["direction"],
        scope=_text(raw, "scope", where),
        budget=_text(raw, "budget", where, needed=False),
        figure=figure,
        headline=None if raw.get("headline") is None else _headline(raw["headline"], where),
    )


def _headline(raw: Any, where: str) -> Headline:
    where = f"{where}: headline"
    _keys(raw, ("words", "numbers"), (), where)
    numbers = raw["numbers"]
    if not isinstance(numbers, dict) or len(numbers) != 2:
        raise LedgerError(f"{where}: numbers is {numbers!r}; expected two texts with a claim each")
    pairs = tuple((str(text), _text(numbers, text, where)) for text in numbers)
    return Headline(_text(raw, "words", where), pairs)


def finding_problems(finding: Finding, rows: Mapping[str, Row]) -> list[str]:
    """Say where a sentence outruns its rows; empty if it does not.

    Parameters
    ----------
    finding : Finding
    rows : mapping of str to Row
        All rows of the chapter by claim id.
    """
    where, problems = f"finding {finding.id}", []
    for id in finding.rows:
        if id not in rows:
            problems.append(f"{where}: row {id!r} is not a claim of the chapter")
        elif rows[id].label not in VERDICTS:
            problems.append(f"{where}: row {id} is {rows[id].label}")
        elif finding.direction and rows[id].label == INCONCLUSIVE:
            problems.append(f"{where}: states a direction, and row {id} is inconclusive")
    drawn = [id for _, id in _ROLE.findall(finding.sentence)]
    said = finding.sentence
    if finding.headline:
        drawn += [claim.partition(":")[0] for _, claim in finding.headline.numbers]
        said = f"{said} {finding.headline.words}"
    for id in drawn:
        if id not in finding.rows:
            problems.append(f"{where}: the sentence draws on {id}, which is not among its rows")
    prose = _PLACE.sub("", _ROLE.sub("", said))
    if typed := _TYPED.findall(prose):
        problems.append(
            f"{where}: {', '.join(typed)} is typed; draw it from the ledger: {{measured}}`claim.id`"
        )
    return problems


def measured(row: Row, label: str = "") -> str:
    """Return what a row measured, for a sentence: value, unit and interval, in the digits that say.

    An interval is shown to two digits of its width and its value with it, a decimal without one to
    four digits; whole numbers and fractions stay as they are.

    Parameters
    ----------
    row : Row
    label : str
        One element of a labelled list; all of them by default.

    Raises
    ------
    LedgerError
        If nothing was measured, or the claim has no such label.
    """
    value, interval, labels = row.measured, row.interval, row.claim.labels
    if value is None:
        raise LedgerError(f"{row.claim.id} is {row.label}: there is no value to show")
    if label and label not in labels:
        known = ", ".join(labels) or "none"
        raise LedgerError(f"{row.claim.id} has no label {label!r}; expected one of {known}")
    values = value if isinstance(value, tuple) else (value,)
    pairs: Any = interval if isinstance(value, tuple) else (interval,)
    shown = [
        _in_prose(v, i, row.claim.unit)
        for v, i in zip(values, pairs or (None,) * len(values), strict=True)
    ]
    if label:
        return shown[labels.index(label)]
    named = [f"{n} {s}" for n, s in zip(labels, shown, strict=True)] if labels else shown
    return ", ".join(named)


def _in_prose(value: Scalar, interval: Interval | None, unit: str) -> str:
    unit = unit and f" {unit}"
    if interval is None:
        return (f"{value:.4g}" if isinstance(value, float) else format_value(value)) + unit
    low, high = (float(end) for end in interval)
    places = max(0, 1 - math.floor(math.log10(high - low))) if high > low else 6
    # An end that is not 0 is not shown as 0: whether it is may be the whole point.
    first, middle, last = (
        shown if float(shown := f"{n:.{places}f}") or not n else f"{n:.2g}"
        for n in (low, float(value), high)
    )
    return f"{middle}{unit} [{first}, {last}]"


def stored_figure(picture: Picture, slug: str, *, root: Path | None = None) -> list[dict[str, Any]]:
    """Return the outputs of the cell tagged ``figure-<id>``: a picture, a chart, its caption.

    Raises
    ------
    LedgerError
        If the notebook, or exactly one such cell with a picture or chart, is not there.
    """
    import nbformat

    path = (root or ROOT) / "notebooks" / slug / f"{picture.notebook}.ipynb"
    if not path.is_file():
        raise LedgerError(f"figure {picture.id}: no notebook {picture.notebook!r} in {slug}")
    tag = f"figure-{picture.id}"
    found = [
        cell
        for cell in nbformat.read(path, as_version=4).cells
        if tag in cell.metadata.get("tags", ())
    ]
    if len(found) != 1:
        raise LedgerError(
            f"{picture.notebook}: {len(found)} cells are tagged {tag!r}; expected one"
        )
    outputs = [dict(one) for one in found[0].outputs if one.output_type == "display_data"]
    if not any(
        {"image/png", "image/svg+xml"} & set(one["data"])
        or 'class="vega-chart"' in one["data"].get("text/html", "")
        for one in outputs
    ):
        raise LedgerError(f"{picture.notebook}: the cell tagged {tag!r} shows no figure")
    return outputs
