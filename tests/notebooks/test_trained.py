"""Trained cells are few, name a tolerance that is small, and hold verdicts that it cannot turn."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import pytest

from lib.core import ledger, notebooks, proof
from lib.core.ledger import Claim, Measurement
from lib.core.ledger.claims import Trained
from lib.core.ledger.rows import Row
from lib.core.ledger.values import exact
from lib.core.ledger.verdicts import judge, worst
from lib.core.paths import ROOT

MOST = 0.2
"""The share of a chapter's code cells that may be trained ones."""

PART = Fraction(1, 3)
"""Of an interval's length: no tolerance is more."""

TURNS: dict[str, str] = {
    "ch02.ours.counts.prefixmem": "at level 4 after six epochs the interval ends .0003 below 0",
    "ch02.t12.hashes": "at level 4 the interval of one hash begins .0003 beyond the bound",
}
"""Rows whose verdict the tolerance can turn, and why they stand all the same."""

NOTEBOOKS = notebooks.discover()


def test_tags_and_tolerances_of_all_chapters_go_together() -> None:
    assert proof.tag_problems(NOTEBOOKS) == []


@pytest.mark.parametrize("chapter", sorted({one.chapter for one in NOTEBOOKS}))
def test_trained_cells_are_few(chapter: str) -> None:
    cells = [
        cell
        for one in NOTEBOOKS
        if one.chapter == chapter
        for cell in one.read_source().cells
        if cell.cell_type == "code"
    ]
    assert sum(bool(proof.trained_names(cell)) for cell in cells) <= MOST * len(cells)


def trained_rows() -> Iterator[tuple[Row, Trained]]:
    """Yield the rows that are reported in trained cells, with the tolerance of the cell."""
    by_name = {one.name: one.read_stored() for one in NOTEBOOKS}
    for row in ledger.collect(root=ROOT):
        if row.measurement is None or row.cell is None:
            continue
        for name in proof.trained_names(by_name[row.notebook].cells[row.cell]):
            yield row, ledger.load_chapter(row.chapter).trained[name]


def parts(measurement: Measurement) -> list[tuple[float, tuple[float, float] | None]]:
    """Return each decimal value with its interval; the proof wants all others equal."""
    value, interval = measurement.value, measurement.interval
    values = value if isinstance(value, tuple) else (value,)
    pairs = interval if isinstance(value, tuple) else (interval,)
    return [
        (one, pair)  # type: ignore[misc]
        for one, pair in zip(values, pairs or (None,) * len(values), strict=True)
        if isinstance(one, float)
    ]


def allowed(value: float, tolerance: Trained) -> Fraction:
    return max(exact(tolerance.abs), exact(tolerance.rel) * abs(exact(value)))


def large(row: Row, tolerance: Trained) -> list[str]:
    """Say where a tolerance is more than a part of the interval."""
    assert row.measurement is not None
    return [
        f"{row.claim.id}: ±{float(allowed(value, tolerance)):.2g} at {value}, interval {pair}"
        for value, pair in parts(row.measurement)
        # Where all seeds agree to the last digit there is no length to take a part of.
        if pair and exact(pair[0]) < exact(pair[1])
        if allowed(value, tolerance) > PART * (exact(pair[1]) - exact(pair[0]))
    ]


def turned(claim: Claim, measurement: Measurement, tolerance: Trained) -> set[str]:
    """Return the verdicts that a list's elements get by moving each, with its interval, as far."""
    several = isinstance(measurement.value, tuple)
    choices = []
    for value, pair in parts(measurement):
        step = allowed(value, tolerance)
        moved = []
        for shift in (-step, Fraction(0), step):
            ends = tuple(exact(end) + shift for end in pair) if pair else None
            moved.append((exact(value) + shift, ends))
        choices.append(moved)
    found = set()
    for chosen in product(*choices):
        values, pairs = zip(*chosen, strict=True)
        interval = None if measurement.interval is None else pairs if several else pairs[0]
        found.add(worst(judge(claim, values if several else values[0], interval)))
    return found


def test_no_tolerance_is_more_than_a_part_of_the_interval() -> None:
    assert [problem for row, tolerance in trained_rows() for problem in large(row, tolerance)] == []


def test_no_verdict_turns_within_the_tolerance() -> None:
    turning = {
        row.claim.id: found
        for row, tolerance in trained_rows()
        if row.measurement is not None
        and parts(row.measurement)
        and len(found := turned(row.claim, row.measurement, tolerance) | {row.verdict}) > 1
    }
    assert turning.keys() == TURNS.keys(), turning


# --- the guards see planted faults ----------------------------------------------------------------


def planted(tolerance: dict[str, object], value: object, interval: object) -> tuple[Claim, Row]:
    claim = Claim("ch01.x", "ours", "", "", "number", "real data", None, tolerance)
    measurement = Measurement.of("ch01.x", value, interval)
    return claim, Row("ch01_toy", claim, measurement, "holds")


@pytest.mark.parametrize(
    ("value", "interval", "verdicts"),
    [
        (0.5, (0.3, 0.7), {"holds"}),
        (0.3, (0.11, 0.5), {"holds"}),
        (0.3, (0.1, 0.5), {"holds", "inconclusive"}),  # 0 belongs to neither side
        (0.05, (-0.05, 0.15), {"inconclusive", "holds"}),
        (-0.05, (-0.15, 0.05), {"inconclusive", "contradicted"}),
        ((0.5, 0.3), ((0.3, 0.7), (0.05, 0.5)), {"holds", "inconclusive"}),
    ],
)
def test_a_verdict_that_turns_is_seen(value: object, interval: object, verdicts: set[str]) -> None:
    claim, row = planted({"sign": "positive"}, value, interval)
    assert row.measurement is not None
    assert turned(claim, row.measurement, Trained(0.1, 0, "seeds")) == verdicts


def test_a_large_tolerance_is_seen() -> None:
    _, row = planted({"sign": "positive"}, 0.5, (0.35, 0.65))
    assert large(row, Trained(0.1, 0, "seeds")) == []
    assert large(row, Trained(0, 0.2, "seeds")) == []
    for one in (Trained(0.11, 0, "seeds"), Trained(0, 0.21, "seeds"), Trained(0.1, 0.3, "seeds")):
        assert len(large(row, one)) == 1
