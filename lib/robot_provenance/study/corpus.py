"""The validity cases that the ``prov`` wheel ships, and two verdicts on each.

The wheel carries 153 cases of ProvToolbox in PROV-XML, 7 of the W3C Provenance Working Group and 14
in PROV-JSON under ``prov/tests/unification``. Their file names say whether each is meant to be
valid. A case here keeps the name as a label to compare with; what an engine sees is the parsed
document alone.

None of them exercises event ordering (30 to 49); `ordering_cases` has cases of ours for each of the
twenty.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pandas as pd
import yaml
from prov.model import ProvDocument, ProvException

from lib.robot_provenance.constraints import Report, check

_DATA: Final[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("cases.yml").read_text(encoding="utf-8")
)
DISPUTED: Final[dict[str, str]] = _DATA["disputed"]
"""Cases whose file name contradicts the Recommendation, and why; the files predate it."""


@dataclass(frozen=True)
class Case:
    """One shipped case.

    Parameters
    ----------
    name : str
        File name without ending. For the reader only.
    source : str
        ``"provtoolbox"``, ``"w3c"`` or ``"prov"``.
    labelled_valid : bool
        What the file name says.
    document : ProvDocument
        The parsed content.
    adapted : bool
        Whether a tag had to be renamed before ``prov`` could read the file: three files use
        ``prov:bundle`` where PROV-XML has ``prov:bundleContent``.
    """

    name: str
    source: str
    labelled_valid: bool
    document: ProvDocument
    adapted: bool

    @property
    def valid(self) -> bool:
        """The label, turned round where the file name contradicts the Recommendation."""
        return self.labelled_valid ^ (self.name in DISPUTED)


# A bundle, not the argument of a mention, which is an empty element with prov:ref.
_BUNDLE: Final = re.compile(rb"<(/?)prov:bundle(?=>| prov:id)")


def load() -> list[Case]:
    """Parse every shipped case, in the order of the file names.

    Raises
    ------
    FileNotFoundError
        If the installed ``prov`` does not carry its cases.
    """
    folder = files("prov.tests") / "unification"
    found = [*folder.iterdir(), *(folder / "constraints").iterdir()] if folder.is_dir() else []
    cases = []
    for entry in sorted(found, key=lambda e: e.name):
        stem, _, ending = entry.name.rpartition(".")
        if ending not in ("xml", "provx", "json"):
            continue
        source = {"xml": "provtoolbox", "provx": "w3c", "json": "prov"}[ending]
        content = entry.read_bytes()
        adapted = content
        if source == "provtoolbox":
            adapted = _BUNDLE.sub(rb"<\1prov:bundleContent", content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            form = "json" if ending == "json" else "xml"
            document = ProvDocument.deserialize(io.BytesIO(adapted), format=form)
        valid = re.search(r"fail", stem, re.IGNORECASE) is None
        cases.append(Case(stem, source, valid, document, adapted != content))
    if not cases:
        raise FileNotFoundError("the installed prov package carries no unification cases")
    return cases


def _unified_rejects(document: ProvDocument) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            document.unified()
        except ProvException:
            return True
    return False


def verdicts(cases: list[Case] | None = None) -> pd.DataFrame:
    """Judge every case by this engine and by ``prov``'s own ``unified()``.

    Returns
    -------
    DataFrame
        One row a case: name, source, labelled_valid, valid (label corrected), adapted (see
        `Case`), engine_rejects, unified_rejects, codes (what the engine found), note (why a label
        is disputed).
    """
    rows = []
    for case in load() if cases is None else cases:
        report: Report = check(case.document)
        rows.append(
            {
                "name": case.name,
                "source": case.source,
                "labelled_valid": case.labelled_valid,
                "valid": case.valid,
                "adapted": case.adapted,
                "engine_rejects": not report.valid,
                "unified_rejects": _unified_rejects(case.document),
                "codes": " ".join(dict.fromkeys(v.code for v in report.violations)),
                "note": DISPUTED.get(case.name, ""),
            }
        )
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, sources: tuple[str, ...] = ("provtoolbox", "w3c")) -> pd.DataFrame:
    """Count rejections, by the file names and by the corrected labels.

    Parameters
    ----------
    table : DataFrame
        From `verdicts`.
    sources : tuple of str
        Which cases to count.

    Returns
    -------
    DataFrame
        Index ("file name", "Recommendation"); columns invalid, engine_caught, unified_caught,
        valid, engine_false_alarms, unified_false_alarms.
    """
    chosen = table[table["source"].isin(sources)]
    rows = {}
    for title, column in (("file name", "labelled_valid"), ("Recommendation", "valid")):
        good, bad = chosen[chosen[column]], chosen[~chosen[column]]
        rows[title] = {
            "invalid": len(bad),
            "engine_caught": int(bad["engine_rejects"].sum()),
            "unified_caught": int(bad["unified_rejects"].sum()),
            "valid": len(good),
            "engine_false_alarms": int(good["engine_rejects"].sum()),
            "unified_false_alarms": int(good["unified_rejects"].sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def without_uniqueness(table: pd.DataFrame) -> int:
    """Count the rejected cases that are rejected for another reason than 22 to 29.

    This is what an engine that merges nothing would be left with: the control of the corpus.
    """
    unique = {str(number) for number in range(22, 30)}
    codes = table.loc[table["engine_rejects"], "codes"].str.split()
    return int(sum(bool(set(found) - unique) for found in codes))


@dataclass(frozen=True)
class OrderCase:
    """A pair of ours for one ordering constraint: a history, and the same with a reversal.

    Parameters
    ----------
    number : int
        The constraint, 30 to 49.
    by : str
        ``"order"``: the reversed record has a strict cycle, so it is invalid. ``"clock"``: its
        times fall along the constraint, which only ``T1`` sees.
    good, bad : ProvDocument
        The pair.
    """

    number: int
    by: str
    good: ProvDocument
    bad: ProvDocument


def _provn(body: str) -> ProvDocument:
    text = f"document prefix ex <http://example.org/> {body} endDocument"
    document: ProvDocument = ProvDocument.deserialize(content=text, format="provn")
    return document


def ordering_cases() -> list[OrderCase]:
    """Return a pair for each ordering constraint, and a cycle for the five that can be on one.

    No strict cycle can use the other fifteen (a proposition of the theory page): ends,
    invalidations and usages lead nowhere that is strictly earlier. Their pairs differ in the
    recorded times alone.

    Examples
    --------
    >>> cases = ordering_cases()
    >>> sorted({c.number for c in cases}) == list(range(30, 50))
    True
    >>> sorted(c.number for c in cases if c.by == "order")
    [34, 42, 43, 45, 48]
    """
    early, late = "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"
    cases = [
        OrderCase(number, "order", _provn(body), _provn(f"{body} {reverse}"))
        for number, (body, reverse) in _DATA["cycles"].items()
    ]
    for number, body in _DATA["clocks"].items():
        simultaneous = number in (31, 32, 39, 40)
        good = body.format(early, early if simultaneous else late)
        cases.append(OrderCase(number, "clock", _provn(good), _provn(body.format(late, early))))
    return cases
