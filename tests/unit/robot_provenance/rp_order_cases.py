"""Cases of event ordering, at least one for each of the constraints 30 to 49."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prov.model import ProvDocument

_DATA: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_suffix(".yml").read_text(encoding="utf-8")
)


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
