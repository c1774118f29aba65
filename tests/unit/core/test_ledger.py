"""The ledger: every rule of a verdict, strict reading of claims, round trip by notebook."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.core.ledger import (
    MIME,
    NOT_REPORTED,
    VERDICTS,
    Claim,
    LedgerError,
    Measurement,
    UnknownClaimError,
    check,
    collect,
    load_all,
    load_chapter,
    load_contents,
    report,
    verdict,
)
from lib.core.ledger.__main__ import main
from lib.core.ledger.claims import Null, find_claim
from lib.core.ledger.reporting import badge_class
from lib.core.ledger.rows import tally_by
from lib.core.ledger.values import (
    decode,
    encode,
    format_interval,
    format_measured,
    format_value,
    normalise,
)
from lib.core.ledger.verdicts import describe
from lib.core.ledger.verdicts import judge as judge_elements
from tenpapers.cards import card, pairs

H, D, Q, F, C = "holds", "holds in direction", "inconclusive", "differs", "contradicted"


def claim(value: Any = None, tolerance: dict[str, Any] | None = None, **more: Any) -> Claim:
    fields: dict[str, Any] = {
        "id": "ch01.x",
        "by": "paper",
        "source": "Table 1",
        "statement": "A number.",
        "kind": "number",
        "basis": "exact",
        "value": value,
        "tolerance": tolerance or {},
    }
    return Claim(**(fields | more))


def judge(value: Any, tolerance: dict[str, Any], found: Any, interval: Any = None) -> str | None:
    return verdict(claim(value, tolerance), Measurement.of("ch01.x", found, interval))


EXACT = {"exact": True}
NEAR = {"abs": 0.05, "sign": True}
CATEGORIES = {"holds": ["never", "rarely"], "direction": ["sometimes"]}

RULES = [
    # exact: numbers by value and not by type, bool, text
    (Fraction(1, 2), EXACT, Fraction(2, 4), None, H),
    (Fraction(1, 2), EXACT, 0.5, None, H),
    (0.1, EXACT, Fraction(1, 10), None, H),
    (Fraction(1, 2), EXACT, "1/2", None, H),
    (3, EXACT, 3.0, None, H),
    (3, EXACT, 4, None, F),
    (Fraction(1, 3), EXACT, 0.333333, None, F),
    (True, EXACT, True, None, H),
    (True, EXACT, False, None, C),
    (False, EXACT, False, None, H),
    (False, EXACT, True, None, C),
    ("monotone", EXACT, "monotone", None, H),
    ("monotone", EXACT, "not monotone", None, C),
    (2, {"exact": True, "sign": True}, 3, None, D),
    (2, {"exact": True, "sign": True}, -2, None, C),
    # equality has no neighbourhood for an interval to reach into
    (3, EXACT, 4, (3, 5), F),
    (2, {"exact": True, "sign": True}, 3, (2, 4), D),
    (2, {"exact": True, "sign": True}, 0, None, C),
    # distance: the bound counts, in decimal and not in binary arithmetic
    (1.0, {"abs": 0.05}, 1.05, None, H),
    (1.0, {"abs": 0.05}, 0.95, None, H),
    (1.0, {"abs": 0.05}, 1.05, (0.5, 2.0), H),
    (1.0, {"abs": 0.05}, 1.0501, None, F),
    (1.0, {"abs": 0.05}, 0.9499, None, F),
    (1.0, {"abs": 0.05}, -1.0, None, F),
    (200, {"rel": 0.01}, 202, None, H),
    (-200, {"rel": 0.01}, -202, None, H),
    (200, {"rel": 0.01}, 202.1, None, F),
    (200, {"abs": 3, "rel": 0.01}, 203, None, H),
    (200, {"abs": 1, "rel": 0.01}, 202, None, H),
    (0, {"abs": 0.0}, 0.0, None, H),
    (0, {"rel": 0.5}, 0.1, None, F),
    # distance, outside: an interval that reaches into the tolerance leaves it open
    (1.0, {"abs": 0.05}, 1.2, (1.05, 1.3), Q),
    (1.0, {"abs": 0.05}, 1.2, (1.051, 1.3), F),
    (1.0, {"abs": 0.05}, 0.8, (0.7, 0.95), Q),
    (1.0, {"abs": 0.05}, 0.8, (0.7, 0.949), F),
    (1.0, {"abs": 0.05}, 0.8, (0.0, 2.0), Q),
    (-1.0, {"abs": 0.05}, -1.2, (-1.3, -1.05), Q),
    (-1.0, {"abs": 0.05}, -1.2, (-1.3, -1.051), F),
    (-1.0, {"abs": 0.05}, 1.0, (0.9, 1.1), F),
    # distance with sign
    (-0.2, NEAR, -0.25, None, H),
    (-0.2, NEAR, -0.25, (-0.6, 0.1), H),
    (-0.2, NEAR, -0.3, None, D),
    (-0.2, NEAR, -0.3, (-0.4, -0.1), D),
    (-0.2, NEAR, -0.3, (-0.4, 0), Q),
    (-0.2, NEAR, -0.3, (-0.7, 0.1), Q),
    (-0.2, NEAR, 0.3, None, C),
    (-0.2, NEAR, 0.3, (0.1, 0.5), C),
    (-0.2, NEAR, 0.3, (0, 0.5), Q),
    (-0.2, NEAR, 0.3, (-0.1, 0.5), Q),
    (-0.2, NEAR, 0.0, None, C),
    (0.2, NEAR, 0.3, None, D),
    (0.2, NEAR, 0.3, (0.1, 0.4), D),
    (0.2, NEAR, 0.3, (0, 0.4), Q),
    (0.2, NEAR, -0.3, (-0.4, 0.1), Q),
    (0.2, NEAR, -0.3, (-0.4, 0), Q),
    (0.2, NEAR, -0.3, None, C),
    (0.01, NEAR, -0.03, None, H),
    # category
    ("never", CATEGORIES, "rarely", None, H),
    ("never", CATEGORIES, "sometimes", None, D),
    ("never", CATEGORIES, "always", None, C),
    (None, {"holds": ["a"]}, "b", None, C),
    # sign
    (None, {"sign": "positive"}, 0.1, None, H),
    (None, {"sign": "positive"}, -0.1, None, C),
    (None, {"sign": "positive"}, 0, None, C),
    (None, {"sign": "negative"}, 0, None, C),
    (None, {"sign": "positive"}, 0.1, (0.05, 0.2), H),
    (None, {"sign": "positive"}, 0.1, (0, 0.2), Q),
    (None, {"sign": "positive"}, 0.1, (-0.1, 0.2), Q),
    (None, {"sign": "positive"}, -0.1, (-0.2, 0.1), Q),
    (None, {"sign": "positive"}, -0.1, (-0.2, 0), Q),
    (None, {"sign": "positive"}, 0, (0, 0), C),
    (None, {"sign": "positive"}, -0.1, (-0.2, -0.05), C),
    (None, {"sign": "positive"}, 0, (-0.1, 0.1), Q),
    (None, {"sign": "negative"}, -0.1, (-0.2, -0.05), H),
    (None, {"sign": "negative"}, -0.1, (-0.2, 0), Q),
    (None, {"sign": "negative"}, 0.1, (-0.1, 0.2), Q),
    (None, {"sign": "negative"}, 0.1, (0, 0.2), Q),
    (None, {"sign": "negative"}, 0, (0, 0), C),
    (None, {"sign": "negative"}, 0.1, (0.05, 0.2), C),
    # bounds
    (None, {"at_least": 0.5}, 0.5, None, H),
    (None, {"at_least": 0.5}, 0.499, None, C),
    (None, {"at_least": 0.5}, 0.6, (0.5, 0.7), H),
    (None, {"at_least": 0.5}, 0.6, (0.4, 0.7), Q),
    (None, {"at_least": 0.5}, 0.45, (0.4, 0.5), Q),
    (None, {"at_least": 0.5}, 0.45, (0.4, 0.49), C),
    (None, {"at_least": -0.5}, -0.6, (-0.7, -0.4), Q),
    (None, {"at_most": 0.0}, 0.0, None, H),
    (None, {"at_most": 0.0}, 0.001, None, C),
    (None, {"at_most": 0.0}, -0.1, (-0.2, 0), H),
    (None, {"at_most": 0.0}, -0.1, (-0.2, 0.1), Q),
    (None, {"at_most": 0.0}, 0.1, (0, 0.2), Q),
    (None, {"at_most": 0.0}, 0.1, (0.05, 0.2), C),
    (None, {"at_most": Fraction(1, 3)}, Fraction(1, 3), None, H),
    (None, {"at_least": 1, "at_most": 2}, 1.5, (1, 2), H),
    (None, {"at_least": 1, "at_most": 2}, 1.5, (0.5, 2), Q),
    (None, {"at_least": 1, "at_most": 2}, 1.5, (1, 2.5), Q),
    (None, {"at_least": 1, "at_most": 2}, 1.5, (0, 3), Q),
    (None, {"at_least": 1, "at_most": 2}, 2.5, None, C),
    (None, {"at_least": 1, "at_most": 2}, 0.5, None, C),
    # a sequence gets its worst element's verdict
    ((1, 2), EXACT, [1, 2], None, H),
    ((1, 2), EXACT, (1, 3), None, F),
    ((-1.0, 1.0), NEAR, [-1.0, -1.0], None, C),
    ((-1.0, 1.0), NEAR, [-1.2, 1.2], None, D),
    ((1.0, -1.0), NEAR, [1.0, 0.5], [(1, 1), (-1, 1)], Q),
    ((1.0, 1.0), {"abs": 0.1}, [1.2, 1.2], [(1.0, 1.3), (1.2, 1.3)], F),
    (None, {"sign": "positive"}, np.array([0.1, 0.2]), None, H),
]


@pytest.mark.parametrize(("value", "tolerance", "found", "interval", "expected"), RULES)
def test_rule(value: Any, tolerance: dict[str, Any], found: Any, interval: Any, expected: str):
    assert judge(value, tolerance, found, interval) == expected


def test_every_verdict_is_reached_by_the_rules():
    assert {rule[-1] for rule in RULES} == set(VERDICTS) - {"not testable here"}


def test_noise_does_not_count_and_all_else_does():
    assert judge(1.0, {"abs": 0.05}, 1.05 + 1e-14) == H
    assert judge(1.0, {"abs": 0.05}, 1.05 + 1e-9) == F


def test_only_an_exact_value_has_a_side_without_an_interval():
    for found, expected in ((-0.3, D), (0.3, C), (0.0, C)):
        assert judge(-0.2, NEAR, found) == expected
        assert judge_elements(claim(-0.2, NEAR, basis="real data"), found) == (F,)
    assert judge_elements(claim(-0.2, NEAR, basis="real data"), -0.24) == (H,)


@given(
    point=st.fractions(min_value=-3, max_value=3),
    width=st.fractions(min_value=0, max_value=3),
)
def test_sign_mirrors(point: Fraction, width: Fraction):
    ends = (point - width, point + width)
    mirrored = (-point - width, -point + width)
    positive = judge(None, {"sign": "positive"}, point, ends)
    assert positive == judge(None, {"sign": "negative"}, -point, mirrored)
    # Without an interval the point alone decides.
    assert judge(None, {"sign": "positive"}, point) == (H if point > 0 else C)


@given(value=st.floats(-1e6, 1e6), found=st.floats(-1e6, 1e6), slack=st.floats(0, 10))
def test_wider_tolerance_never_loses_a_hold(value: float, found: float, slack: float):
    if judge(value, {"abs": slack}, found) == H:
        assert judge(value, {"abs": 2 * slack}, found) == H


def test_nothing_reported_is_no_verdict():
    assert verdict(claim(1, EXACT), None) is None
    assert NOT_REPORTED not in VERDICTS


def test_out_of_reach():
    far = claim(basis="out of reach", reason="no data")
    assert verdict(far, None) == "not testable here"
    with pytest.raises(LedgerError, match="must not be reported"):
        verdict(far, Measurement.of("ch01.x", 1))


BROKEN = "shuffled labels"

CONTROLS = [
    # value, tolerance, found, interval, control, its interval, whether the row stands
    (0.5, {"abs": 0.05}, 0.5, None, 0.3, None, True),
    (0.5, {"abs": 0.05}, 0.5, None, 0.55, None, False),
    (0.5, {"abs": 0.05}, 0.5, None, 0.6, (0.5, 0.7), True),
    (0.5, {"abs": 0.05}, 0.9, None, 0.45, None, False),
    (0.5, {"abs": 0.05}, 0.9, None, 0.9, None, True),
    (True, EXACT, True, None, False, None, True),
    (True, EXACT, True, None, True, None, False),
    (False, EXACT, False, None, True, None, True),
    (False, EXACT, False, None, False, None, False),
    (3, EXACT, 3, None, 4, None, True),
    (3, EXACT, 3, None, 3, None, False),
    (None, {"sign": "positive"}, 0.3, (0.1, 0.5), -0.1, None, True),
    (None, {"sign": "positive"}, 0.3, (0.1, 0.5), 0.1, None, False),
    (None, {"sign": "positive"}, 0.3, (0.1, 0.5), 0.1, (-0.1, 0.3), True),
    (None, {"sign": "positive"}, 0.3, (0.1, 0.5), 0.1, (0.05, 0.3), False),
    (None, {"sign": "negative"}, -0.3, (-0.5, -0.1), 0.1, None, True),
    (None, {"sign": "negative"}, -0.3, (-0.5, -0.1), -0.1, None, False),
    (None, {"at_least": 0.9}, 0.95, (0.91, 0.99), 0.5, None, True),
    (None, {"at_least": 0.9}, 0.95, (0.91, 0.99), 0.92, None, False),
    # a control in the claimed direction: no harm to a size that holds, but to a mere direction
    (-0.2, NEAR, -0.2, (-0.3, -0.1), -0.9, None, True),
    (-0.2, NEAR, -0.5, (-0.6, -0.4), -0.9, None, False),
    (-0.2, NEAR, -0.5, (-0.6, -0.4), -0.9, (-2, 1), True),
    (-0.2, NEAR, -0.5, (-0.6, -0.4), 0.1, None, True),
    (-0.2, NEAR, 0.5, (0.4, 0.6), -0.9, None, True),
    ("never", CATEGORIES, "rarely", None, "always", None, True),
    ("never", CATEGORIES, "rarely", None, "sometimes", None, True),
    ("never", CATEGORIES, "rarely", None, "never", None, False),
    ("never", CATEGORIES, "sometimes", None, "sometimes", None, False),
    # one control for each element, or one for all; the worst element decides
    ((1, 2), {"abs": 0.1}, [1, 2], None, 1, None, True),
    ((1, 2), {"abs": 0.1}, [1, 2], None, [1, 2.1], None, False),
    ((1, 2), {"abs": 0.1}, [1, 2], None, [0, 2], None, True),
    ((1, 1), {"abs": 0.1}, [1, 1], None, 1, None, False),
    ((True, True), EXACT, [True, True], None, False, None, True),
]


@pytest.mark.parametrize("basis", ["exact", "real data"])
@pytest.mark.parametrize(
    ("value", "tolerance", "found", "interval", "control", "around", "stands"), CONTROLS
)
def test_a_control_must_not_hold(
    value: Any,
    tolerance: dict[str, Any],
    found: Any,
    interval: Any,
    control: Any,
    around: Any,
    stands: bool,
    basis: str,
):
    guarded = claim(value, tolerance, control=BROKEN, basis=basis)
    measured = Measurement.of("ch01.x", found, interval, control, around)
    if stands:
        plain = verdict(claim(value, tolerance, basis=basis), Measurement.of("a", found, interval))
        assert verdict(guarded, measured) == plain
    else:
        with pytest.raises(LedgerError, match=f"did not fail.*{BROKEN} gave"):
            verdict(guarded, measured)


@pytest.mark.parametrize(
    ("value", "tolerance", "found", "control", "message"),
    [
        (0.5, {"abs": 0.05}, 0.5, None, f"control is missing; .*{BROKEN}"),
        (0.5, {"abs": 0.05}, 0.5, True, "not a measurement.*expected a number"),
        (0.5, {"abs": 0.05}, 0.5, "it failed", "not a measurement.*expected a number"),
        (0.5, {"abs": 0.05}, 0.5, [0.1, 0.2], "not a measurement.*expected one value"),
        (True, EXACT, True, 0, "not a measurement.*expected true or false"),
        ((1, 2), EXACT, [1, 2], [1, 2, 3], "not a measurement.*expected 2 values"),
        ("a", {"holds": ["a"]}, "a", 1, "not a measurement.*expected a category"),
        ("a", {"holds": ["a"]}, "a", "b" * 41, "not a sentence"),
    ],
)
def test_a_control_is_a_measurement(
    value: Any, tolerance: dict[str, Any], found: Any, control: Any, message: str
):
    guarded = claim(value, tolerance, control=BROKEN)
    with pytest.raises(LedgerError, match=message):
        verdict(guarded, Measurement.of("ch01.x", found, None, control))


def test_a_control_is_declared_before_it_is_reported():
    with pytest.raises(LedgerError, match=r"control is 0\.1, but claims\.yml does not say"):
        verdict(claim(0.5, {"abs": 0.05}), Measurement.of("ch01.x", 0.5, None, 0.1))


def test_the_name_of_an_outcome_may_have_forty_letters():
    guarded = claim("a", {"holds": ["a"]}, control=BROKEN)
    assert verdict(guarded, Measurement.of("ch01.x", "a", None, "b" * 40)) == H


@pytest.mark.parametrize(
    ("value", "tolerance"),
    [
        (None, {"sign": "positive"}),
        (None, {"at_least": 0.1}),
        (None, {"at_most": 0.9}),
        (0.5, {"abs": 0.1, "sign": True}),
        (0.5, {"exact": True, "sign": True}),
    ],
)
def test_a_direction_on_data_needs_an_interval(value: Any, tolerance: dict[str, Any]):
    for basis in ("real data", "scaled down", "simulated"):
        data = claim(value, tolerance, basis=basis)
        with pytest.raises(LedgerError, match=f"interval is missing; .*{basis}"):
            verdict(data, Measurement.of("ch01.x", 0.5))
        assert verdict(data, Measurement.of("ch01.x", 0.5, (0.4, 0.6))) == H
    assert verdict(claim(value, tolerance), Measurement.of("ch01.x", 0.5)) == H


def test_a_size_on_data_needs_none():
    for tolerance in ({"abs": 0.1}, EXACT):
        assert verdict(claim(1, tolerance, basis="real data"), Measurement.of("a", 1)) == H


@pytest.mark.parametrize(
    ("value", "tolerance", "found", "message"),
    [
        (True, EXACT, 1, "expected true or false"),
        (1, EXACT, True, "expected a number"),
        (1, {"abs": 1}, "monotone", "expected a number"),
        ("a", {"holds": ["a"]}, 1, "expected a category"),
        ("a", EXACT, True, "expected a category"),
        (None, {"sign": "positive"}, True, "expected a number"),
        ((1, 2), EXACT, [1, 2, 3], "expected 2 values"),
        ((1, 2), EXACT, 1, "expected a list of 2"),
        (1, EXACT, [1], "expected one value"),
    ],
)
def test_wrong_kind_of_value(value: Any, tolerance: dict[str, Any], found: Any, message: str):
    with pytest.raises(LedgerError, match=message):
        judge(value, tolerance, found)


# ── values ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bad", [float("nan"), np.inf, None, 1j, {}, [], "", [[1]], [1, None]])
def test_refused_values(bad: Any):
    with pytest.raises(LedgerError, match=r"ch01\.x: value"):
        Measurement.of("ch01.x", bad)
    if bad is not None:
        with pytest.raises(LedgerError, match=r"ch01\.x: control"):
            Measurement.of("ch01.x", 1, None, bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1, None], r"value\[1\] is None of type NoneType; expected bool, int"),
        ([], "value is an empty sequence"),
        (" ", "value is an empty string"),
        (np.array([[1.0]]), "value is array"),
        (float("-inf"), "value is -inf; expected a finite number"),
    ],
)
def test_what_a_refused_value_is_told(bad: Any, message: str):
    with pytest.raises(LedgerError, match=message):
        Measurement.of("ch01.x", bad)


@pytest.mark.parametrize(
    ("interval", "message"),
    [
        ((2, 3), r"\(2, 3\) does not hold the value 1"),
        ((0, 0.5), "does not hold the value 1"),
        ((2, 0), "does not hold the value 1"),
        ((0,), r"expected \(low, high\)"),
        ((0, 1, 2), r"expected \(low, high\)"),
        (1, r"expected \(low, high\)"),
        (("a", "b"), "needs numbers, found 'a'"),
        ((True, 1), "needs numbers, found True"),
        ((float("nan"), 1), "finite"),
        ((0, float("inf")), "finite"),
    ],
)
def test_refused_intervals(interval: Any, message: str):
    with pytest.raises(LedgerError, match=f"interval.*{message}"):
        Measurement.of("ch01.x", 1, interval)
    with pytest.raises(LedgerError, match=f"interval.*{message}"):
        Measurement.of("ch01.x", 5, None, 1, interval)


def test_intervals_of_a_sequence():
    for bounds in ([(0, 3)], 3, [(0, 3)] * 3):
        with pytest.raises(LedgerError, match=r"ch01\.x: interval .* one pair for each of 2"):
            Measurement.of("ch01.x", [1, 2], bounds)
    with pytest.raises(LedgerError, match="does not hold the value 2"):
        Measurement.of("ch01.x", [1, 2], [(0, 3), (0, 1)])
    with pytest.raises(LedgerError, match="needs numbers, found True"):
        Measurement.of("ch01.x", True, (0, 1))
    found = Measurement.of("ch01.x", [1, 2], np.array([[0.5, 1.5], [2, 2]]))
    assert found.interval == ((0.5, 1.5), (2, 2))


def test_an_interval_around_a_fraction_may_be_rounded():
    third = Fraction(1, 3)
    low = Measurement.of("ch01.x", third, (0.3, 1 / 3), digits=6)
    assert low.interval == (0.3, 0.333333)


def test_an_interval_of_a_control_needs_a_control():
    with pytest.raises(LedgerError, match=r"control_interval is \(0, 1\) without a control"):
        Measurement.of("ch01.x", 1, None, None, (0, 1))


def test_mappings_by_label():
    given = (
        {"b": 2, "a": 1},
        {"a": (0, 1), "b": (2, 3)},
        {"b": 0, "a": 5},
        {"b": (0, 0), "a": (5, 6)},
    )
    found = Measurement.of("ch01.x", *given, labels=("a", "b"))
    assert found == Measurement("ch01.x", (1, 2), ((0, 1), (2, 3)), (5, 0), ((5, 6), (0, 0)))
    for wrong in ({"a": 1}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}):
        with pytest.raises(LedgerError, match=r"ch01\.x: value has labels a.*; expected a, b"):
            Measurement.of("ch01.x", wrong, labels=("a", "b"))
    with pytest.raises(LedgerError, match="interval has labels a; expected a, b"):
        Measurement.of("ch01.x", [1, 2], {"a": (0, 3)}, labels=("a", "b"))
    with pytest.raises(LedgerError, match="control has labels 1; expected a, b"):
        Measurement.of("ch01.x", [1, 2], None, {1: 3}, labels=("a", "b"))
    with pytest.raises(LedgerError, match="the claim declares no labels"):
        Measurement.of("ch01.x", {"a": 1})


def test_normalise():
    assert normalise(np.float64(1 / 3)) == 0.333333
    assert normalise(-2 / 3, digits=12) == -0.666666666667
    assert normalise(1 / 3, digits=2) == 0.33
    assert normalise(np.int64(7)) == 7
    assert normalise(np.bool_(True)) is True
    assert normalise(np.array(2.5)) == 2.5
    assert str(normalise(-0.0)) == "0.0"
    import sympy

    assert normalise(sympy.Rational(2, 6)) == Fraction(1, 3)


@pytest.mark.parametrize(
    "value", [True, 3, -0.25, Fraction(41, 12), "monotone", (1, Fraction(1, 3), "a", False)]
)
def test_stored_form_comes_back(value: Any):
    again = decode(json.loads(json.dumps(encode(value))))
    assert again == value
    assert type(again) is type(value)


def test_fraction_is_stored_exactly():
    assert encode(Fraction(41, 12)) == {"fraction": "41/12", "float": 3.41667}
    assert format_value(Fraction(4, 2)) == "2"


def test_a_measurement_comes_back():
    found = Measurement.of("ch01.x", [1, 0.5], [(0, 2), (0.4, 0.6)], Fraction(1, 3), (0, 1))
    stored = json.loads(json.dumps(found.to_json()))
    assert Measurement.from_json(stored) == found
    assert Measurement.from_json({k: v for k, v in stored.items() if "control" not in k}) == (
        Measurement("ch01.x", (1, 0.5), ((0, 2), (0.4, 0.6)))
    )
    assert Measurement.from_json(stored | {"value": [1, 0.54321]}, 2).value == (1, 0.54)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('"value": NaN', "value is nan"),
        ('"value": [1, NaN]', r"value\[1\] is nan"),
        ('"value": -Infinity', "value is -inf"),
        ('"value": null', "value is None"),
        ('"value": {"fraction": "1/0"}', "not one the ledger writes"),
        ('"value": {"float": 1}', "not one the ledger writes"),
        ('"value": {"fraction": "x"}', "not one the ledger writes"),
        ('"interval": [2, 0]', "does not hold"),
        ('"interval": [0, NaN]', "interval.* is nan"),
        ('"control": NaN', "control is nan"),
        ('"control": 1, "control_interval": [2, 3]', "does not hold"),
        ('"id": 3', "has no id"),
        ('"id": null', "has no id"),
    ],
)
def test_stored_claims_edited_by_hand(change: str, message: str):
    base = {"id": "ch01.x", "value": 1, "interval": None, "control": None}
    with pytest.raises(LedgerError, match=message):
        Measurement.from_json(base | json.loads("{" + change + "}"))
    with pytest.raises(LedgerError, match="has no id"):
        Measurement.from_json([1])  # type: ignore[arg-type]


def test_text_for_readers():
    assert format_value(None) == "—"
    assert format_value((Fraction(1, 3), 0.1234567, False)) == "1/3, 0.123457, false"
    assert format_interval(None) == format_interval(()) == ""
    assert format_interval(((0, 1), (2, 3))) == "[0, 1], [2, 3]"
    assert format_measured(0.5) == "0.5"
    assert format_measured(0.5, (0.4, 0.6)) == "0.5 [0.4, 0.6]"
    assert format_measured((1, 2), ((0, 1), (2, 3))) == "1, 2 [0, 1], [2, 3]"
    assert format_measured((1, 2), None, ("a", "b")) == "a: 1; b: 2"
    assert format_measured(1, (0, 2), ("a", "b")) == "a: 1 [0, 2]; b: 1 [0, 2]"


# ── reading claims ───────────────────────────────────────────────────────────────────────────

GOOD: dict[str, Any] = {
    "id": "ch01.a",
    "by": "paper",
    "source": "Theorem 1",
    "statement": "Refinement keeps $\\sum w p$.",
    "kind": "theorem",
    "basis": "exact",
    "value": True,
    "tolerance": {"exact": True},
    "control": "a model that is not calibrated",
}


def chapter(claims: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "chapter": "ch01_toy",
        "number": 1,
        "title": "Toy",
        "question": "Does it hold?",
        "paper": {"title": "On Toys", "authors": ["A. Author"], "arxiv": "2605.31036"},
        "claims": claims,
    } | more


def write(root: Path, data: dict[str, Any], slug: str = "ch01_toy") -> Path:
    path = root / "book" / slug / "claims.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return root


def test_good_chapter(tmp_path: Path):
    more = [
        GOOD | {"id": "ch01.b", "value": "1/3", "by": "ours", "unit": "EUR", "control": None},
        GOOD | {"id": "ch01.c", "value": ["1/3", 0.5], "tolerance": {"abs": 0.1}},
    ]
    root = write(tmp_path, chapter([GOOD, *more], inputs=[0.5]))
    got = load_chapter("ch01_toy", root=root)
    assert got.claims[0].control == "a model that is not calibrated"
    assert [c.id for c in got.claims] == ["ch01.a", "ch01.b", "ch01.c"]
    assert got.claims[1].value == Fraction(1, 3)
    assert got.claims[2].value == (Fraction(1, 3), 0.5)
    assert load_all(root=root) == (got,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "ch02.a"}, "expected ch01.name"),
        ({"id": "ch01"}, "expected ch01.name"),
        ({"by": "them"}, "expected one of paper, ours"),
        ({"kind": "guess"}, "expected one of theorem"),
        ({"basis": "real"}, "expected one of exact"),
        ({"statement": ""}, "statement is ''"),
        ({"source": 3}, "source is 3"),
        ({"tolerence": {}}, "unknown key 'tolerence'"),
        ({"tolerance": None}, "tolerance: found None"),
        ({"tolerance": {}}, "tolerance: found"),
        ({"tolerance": {"aps": 1}}, "unknown key 'aps'"),
        ({"tolerance": {"exact": False}}, "expected true"),
        ({"tolerance": {"exact": True, "abs": 1}}, "do not go together"),
        ({"tolerance": {"abs": 0.1}}, "need a number"),
        ({"value": None}, "exact needs a value"),
        ({"value": float("nan")}, "finite"),
        ({"value": []}, "empty list"),
        ({"value": {"a": 1}}, "expected bool, number"),
        ({"value": 1, "tolerance": {"abs": -1}}, "abs is -1"),
        ({"value": 1, "tolerance": {"rel": True}}, "rel is True"),
        ({"value": 1, "tolerance": {"abs": 1, "sign": "positive"}}, "expected true beside"),
        ({"value": 0, "tolerance": {"abs": 1, "sign": True}}, "other than 0"),
        ({"value": "a", "tolerance": {"direction": ["a"]}}, "'holds' is missing"),
        ({"value": "a", "tolerance": {"holds": "a"}}, "list of texts"),
        ({"value": "a", "tolerance": {"holds": [True]}}, "list of texts"),
        ({"value": "a", "tolerance": {"holds": ["a", 3]}}, "list of texts"),
        ({"value": "a", "tolerance": {"holds": []}}, "list of texts"),
        ({"value": [1, "a"], "tolerance": {"abs": 1}}, "need a number"),
        ({"value": [1, 0], "tolerance": {"abs": 1, "sign": True}}, "other than 0"),
        ({"value": ["a", 1], "tolerance": {"holds": ["a"]}}, "categories need a text"),
        ({"value": [1, "a"], "tolerance": {"sign": "positive"}}, "number or null"),
        ({"value": 1, "tolerance": {"abs": float("inf")}}, "abs is inf"),
        ({"value": 1, "tolerance": {"abs": float("nan")}}, "abs is nan"),
        ({"value": 1, "tolerance": {"at_most": float("inf")}}, "at_most is inf"),
        ({"value": 1, "tolerance": {"sign": "up"}}, "sign is 'up'"),
        ({"value": "a", "tolerance": {"holds": ["a"], "direction": ["a"]}}, "both"),
        ({"value": 1, "tolerance": {"holds": ["a"]}}, "categories need a text"),
        ({"value": None, "tolerance": {"sign": True}}, "negative or positive"),
        ({"value": "a", "tolerance": {"sign": "positive"}}, "number or null"),
        ({"value": 1, "tolerance": {"at_least": "x"}}, "at_least is 'x'"),
        ({"value": 1, "tolerance": {"at_least": 2, "at_most": 1}}, "exceeds"),
        ({"basis": "out of reach"}, "reason is None"),
        ({"reason": "why"}, "a reason belongs"),
        ({"labels": "a"}, "labels is 'a'; expected a list of texts"),
        ({"labels": []}, "expected a list of texts"),
        ({"labels": [1]}, "expected a list of texts"),
        ({"labels": [""]}, "expected a list of texts"),
        ({"labels": ["a", 1]}, "expected a list of texts"),
        ({"labels": ["a"]}, "1 labels; expected one for each value of a list"),
        ({"value": [1, 2], "labels": ["a"]}, "1 labels; expected one for each"),
        ({"value": [1, 2], "labels": ["a", "a"]}, "labels a, a are not all different"),
        ({"null": 3}, "null: found 3; expected keys"),
        ({"null": {"value": 1}}, "null: key 'why' is missing"),
        ({"null": {"why": "chance"}}, "null: key 'value' is missing"),
        ({"null": {"value": 1, "why": ""}}, "null: why is ''"),
        ({"null": {"value": None, "why": "x"}}, "null: value is None; expected one value"),
        ({"null": {"value": float("inf"), "why": "x"}}, "null: value is inf; expected a finite"),
        ({"null": {"value": [1, 2], "why": "x"}}, r"value is \[1, 2\]; expected one value$"),
        ({"null": {"value": 1, "why": "x"}}, "reported 1; expected true or false"),
        ({"null": {"value": True, "why": "a coin"}}, r"would give \(a coin\): holds"),
        ({"source": "Our Dossier, 2"}, "source is 'Our Dossier, 2'; expected a section"),
        ({"control": None}, "control is missing; say what is broken"),
        ({"control_of": "ch01.b"}, "both stand here"),
        ({"control": None, "control_of": "ch01.b"}, "control_of is 'ch01.b'; expected a claim"),
        ({"measured_before": 3}, "measured_before is 3"),
    ],
)
def test_schema_errors(tmp_path: Path, change: dict[str, Any], message: str):
    with pytest.raises(LedgerError, match=message):
        load_chapter("ch01_toy", root=write(tmp_path, chapter([GOOD | change])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chapter": "ch01_other"}, "expected the folder's name"),
        ({"number": 2}, "number is 2"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"claims": []}, "expected a list of claims"),
        ({"claims": [GOOD, GOOD]}, "declared twice: ch01.a"),
        ({"inputs": ["a"]}, "list of numbers"),
        ({"inputs": [1, "a"]}, "list of numbers"),
        ({"inputs": 3}, "list of numbers"),
        ({"paper": {"title": "T", "authors": [], "arxiv": "2605.31036"}}, "list of names"),
        ({"paper": {"title": "T", "authors": ["A", 3], "arxiv": "2605.31036"}}, "list of names"),
        ({"paper": {"title": "T", "authors": "A", "arxiv": "2605.31036"}}, "list of names"),
        ({"paper": {"title": "T", "authors": ["A"], "arxiv": 2605.31036}}, "in quotes"),
        ({"paper": {"title": "T", "authors": ["A"], "arxiv": "2605"}}, "identifier"),
        ({"paper": {"title": "T"}}, "'authors' is missing"),
    ],
)
def test_chapter_errors(tmp_path: Path, change: dict[str, Any], message: str):
    with pytest.raises(LedgerError, match=message):
        load_chapter("ch01_toy", root=write(tmp_path, chapter([GOOD]) | change))


def test_missing_key_and_chapter(tmp_path: Path):
    bad = {k: v for k, v in GOOD.items() if k != "kind"}
    root = write(tmp_path, chapter([bad]))
    with pytest.raises(LedgerError, match="'kind' is missing"):
        load_chapter("ch01_toy", root=root)
    with pytest.raises(LedgerError, match="there are ch01_toy"):
        load_chapter("ch01_tory", root=root)


def test_yaml_traps(tmp_path: Path):
    path = write(tmp_path, chapter([GOOD])) / "book/ch01_toy/claims.yml"
    path.write_text(path.read_text() + "number: 1\n")
    with pytest.raises(LedgerError, match="key given twice: number"):
        load_chapter("ch01_toy", root=tmp_path)
    small = yaml.safe_dump(chapter([GOOD | {"value": 1.5, "tolerance": {"abs": "SMALL"}}]))
    small = small.replace("SMALL", "5e-05")
    path.write_text(small)
    assert load_chapter("ch01_toy", root=tmp_path).claims[0].tolerance == {"abs": 5e-05}
    path.write_text(small.replace("  tolerance:", "  null: {value: 0, why: w}\n  tolerance:"))
    with pytest.raises(LedgerError, match='key null needs quotes: "null"'):
        load_chapter("ch01_toy", root=tmp_path)


def test_two_chapters_with_one_number(tmp_path: Path):
    write(tmp_path, chapter([GOOD]))
    write(tmp_path, chapter([GOOD], chapter="ch01_toys"), "ch01_toys")
    with pytest.raises(LedgerError, match="both have number 1"):
        load_all(root=tmp_path)


VECTOR = {"value": [0.1, 0.2], "tolerance": {"abs": 0.01, "sign": True}, "labels": ["a", "b"]}
ZERO = {"value": 0, "why": "no effect"}


@pytest.mark.parametrize(
    ("change", "null", "met"),
    [
        ({"value": 0.5, "tolerance": {"abs": 0.1}}, 0.39, None),
        ({"value": 0.5, "tolerance": {"abs": 0.1}}, 0.4, H),
        ({"value": 0.5, "tolerance": {"abs": 0.1, "sign": True}}, 0.3, D),
        ({"value": 0.5, "tolerance": {"abs": 0.1, "sign": True}}, 0, None),
        ({"value": -0.5, "tolerance": {"abs": 0.1, "sign": True}}, 0.1, None),
        ({"value": None, "tolerance": {"sign": "positive"}}, 0, None),
        ({"value": None, "tolerance": {"sign": "negative"}}, -0.1, H),
        ({"value": None, "tolerance": {"at_least": 0}}, 0, H),
        ({"value": None, "tolerance": {"at_most": 0.1}}, 0, H),
        ({"value": None, "tolerance": {"at_least": 0.1}}, 0, None),
        ({"value": "up", "tolerance": {"holds": ["up"], "direction": ["flat"]}}, "flat", D),
        ({"value": "up", "tolerance": {"holds": ["up"], "direction": ["flat"]}}, "down", None),
        ({"value": True}, False, None),
        (VECTOR, 0, None),
        (VECTOR, [0.1, 0], None),
        (VECTOR, [0.1, 0.2], H),
        (VECTOR, 0.15, D),
        ({"value": None, "labels": ["a", "b"], "tolerance": {"sign": "positive"}}, [1, 0], None),
        ({"value": None, "labels": ["a", "b"], "tolerance": {"sign": "positive"}}, [1, 2], H),
    ],
)
def test_a_tolerance_may_not_be_met_by_nothing(
    tmp_path: Path, change: dict[str, Any], null: Any, met: str | None
):
    more = {"basis": "real data", "null": {"value": null, "why": "a *coin*"}}
    root = write(tmp_path, chapter([GOOD | change | more]))
    if met is None:
        (got,) = load_chapter("ch01_toy", root=root).claims
        assert got.null == Null(tuple(null) if isinstance(null, list) else null, "a *coin*")
    else:
        with pytest.raises(LedgerError, match=rf"nothing would give \(a \*coin\*\): {met}$"):
            load_chapter("ch01_toy", root=root)


@pytest.mark.parametrize("basis", ["exact", "real data", "scaled down", "simulated"])
def test_where_a_null_is_needed(tmp_path: Path, basis: str):
    root = write(tmp_path, chapter([GOOD | {"basis": basis}]))
    if basis == "exact":
        assert load_chapter("ch01_toy", root=root).claims[0].null is None
    else:
        with pytest.raises(LedgerError, match=f"null is missing; a claim on {basis} says"):
            load_chapter("ch01_toy", root=root)
    far = GOOD | {"basis": "out of reach", "reason": "No data.", "value": None, "control": None}
    (got,) = load_chapter("ch01_toy", root=write(tmp_path, chapter([far]))).claims
    assert not got.runnable


@pytest.mark.parametrize(
    ("value", "tolerance", "needed"),
    [
        (1, {"exact": True}, False),
        (["1/2", 2.5], {"exact": True}, False),
        ([1, True], {"exact": True}, True),
        (True, {"exact": True}, True),
        ("a", {"exact": True}, True),
        (1, {"abs": 0.1}, True),
        (None, {"sign": "positive"}, True),
    ],
)
def test_where_a_control_is_needed(tmp_path: Path, value: Any, tolerance: Any, needed: bool):
    bare = GOOD | {"value": value, "tolerance": tolerance, "control": None}
    root = write(tmp_path, chapter([bare]))
    if needed:
        with pytest.raises(LedgerError, match="control is missing"):
            load_chapter("ch01_toy", root=root)
    else:
        assert load_chapter("ch01_toy", root=root).claims[0].control == ""


@pytest.mark.parametrize(
    ("value", "tolerance", "hidden"),
    [
        ("event > control", {"holds": ["event > control"]}, True),
        (True, {"exact": True}, True),
        (0.5, {"abs": 0.1}, True),
        (0.5, {"abs": 0.1, "sign": True}, False),
        (None, {"sign": "positive"}, False),
        (None, {"at_least": 0.1}, False),
    ],
)
def test_a_direction_may_not_hide_in_a_word(
    tmp_path: Path, value: Any, tolerance: Any, hidden: bool
):
    null = {"value": {str: "no effect", bool: False}.get(type(value), 0), "why": "no effect"}
    stated = GOOD | {"kind": "direction", "value": value, "tolerance": tolerance, "null": null}
    write(tmp_path, chapter([stated]))  # an exact one may
    assert load_chapter("ch01_toy", root=tmp_path).claims[0].kind == "direction"
    write(tmp_path, chapter([stated | {"basis": "real data"}]))
    if hidden:
        with pytest.raises(LedgerError, match="a direction on data is judged by sign or a bound"):
            load_chapter("ch01_toy", root=tmp_path)
    else:
        assert load_chapter("ch01_toy", root=tmp_path).claims[0].needs_interval


def test_one_control_for_two_claims(tmp_path: Path):
    second = GOOD | {"id": "ch01.b", "control": None, "control_of": "ch01.a"}
    root = write(tmp_path, chapter([GOOD, second]))
    _, got = load_chapter("ch01_toy", root=root).claims
    assert (got.control_of, got.control) == ("ch01.a", "")
    assert verdict(got, Measurement.of("ch01.b", True)) == H
    # Not in a chain, and not of something that is never run.
    third = second | {"id": "ch01.c", "control_of": "ch01.b"}
    with pytest.raises(LedgerError, match=r"ch01\.c: control_of is 'ch01\.b'"):
        load_chapter("ch01_toy", root=write(tmp_path, chapter([GOOD, second, third])))
    far = GOOD | {"basis": "out of reach", "reason": "No data."}
    with pytest.raises(LedgerError, match=r"ch01\.b: control_of is 'ch01\.a'"):
        load_chapter("ch01_toy", root=write(tmp_path, chapter([far, second])))


def test_labels_say_how_many_values(tmp_path: Path):
    signs = {"value": None, "labels": ["a", "b"], "tolerance": {"sign": "positive"}}
    root = write(tmp_path, chapter([GOOD | signs, GOOD | VECTOR | {"id": "ch01.b"}]))
    first, second = load_chapter("ch01_toy", root=root).claims
    assert (first.labels, first.length, second.length) == (("a", "b"), 2, 2)
    assert verdict(first, Measurement.of("ch01.a", [1, 2], control=[1, -1])) == H
    with pytest.raises(LedgerError, match="reported 1, 2, 3; expected 2 values"):
        verdict(first, Measurement.of("ch01.a", [1, 2, 3]))
    with pytest.raises(LedgerError, match="reported 1; expected a list of 2 values"):
        verdict(first, Measurement.of("ch01.a", 1))


def test_a_mistake_in_another_chapter_stops_no_claim(tmp_path: Path):
    write(tmp_path, chapter([GOOD]))
    write(tmp_path, chapter([GOOD], chapter="ch02_bad", number=3), "ch02_bad")
    assert find_claim("ch01.a", root=tmp_path).id == "ch01.a"
    with pytest.raises(LedgerError, match="ch02_bad"):
        find_claim("ch02.a", root=tmp_path)


def test_what_is_judged_holds_no_words(tmp_path: Path):
    words = GOOD | VECTOR | {"unit": "EUR", "basis": "real data", "null": ZERO}
    root = write(tmp_path, chapter([words]))
    before = load_chapter("ch01_toy", root=root).claims[0].judged()
    assert json.loads(json.dumps(before)) == {
        "id": "ch01.a",
        "by": "paper",
        "basis": "real data",
        "value": [0.1, 0.2],
        "labels": ["a", "b"],
        "unit": "EUR",
        "tolerance": {"abs": 0.01, "sign": True},
        "null": 0,
        "control": True,
        "control_of": "",
    }
    moved = {
        "source": "Theorem 2",
        "statement": "Other words.",
        "kind": "number",
        "control": "another model",
        "measured_before": "in a trial",
        "null": {"value": 0, "why": "as before"},
    }
    write(tmp_path, chapter([words | moved]))
    assert load_chapter("ch01_toy", root=root).claims[0].judged() == before
    for key, value in {"unit": "USD", "by": "ours", "labels": ["a", "c"]}.items():
        write(tmp_path, chapter([words | {key: value}]))
        assert load_chapter("ch01_toy", root=root).claims[0].judged() != before
    bound = claim(None, {"at_least": Fraction(1, 3)}).judged()
    assert bound["tolerance"] == {"at_least": {"fraction": "1/3", "float": 0.333333}}
    assert bound["null"] is None
    assert bound["control"] is False


def test_the_books_own_files():
    entries = load_contents()
    assert [e.number for e in entries] == list(range(1, 11))
    assert len({e.slug for e in entries}) == 10
    arxiv = {e.slug: e.arxiv for e in entries}
    for written in load_all():
        assert written.paper.arxiv == arxiv[written.slug]


def test_contents_errors(tmp_path: Path):
    with pytest.raises(LedgerError, match="is missing"):
        load_contents(root=tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/chapters.yml").write_text("- {number: 1, slug: ch01_toy}\n")
    with pytest.raises(LedgerError, match="'title' is missing"):
        load_contents(root=tmp_path)


# ── reports and rows ─────────────────────────────────────────────────────────────────────────

CLAIMS = [
    GOOD,
    GOOD | {"id": "ch01.b", "value": -0.2, "tolerance": {"abs": 0.05, "sign": True}},
    GOOD | {"id": "ch01.c", "by": "ours", "value": "41/12", "control": None},
    GOOD | {"id": "ch01.far", "basis": "out of reach", "reason": "No data.", "value": None},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path, chapter(CLAIMS))


def store(root: Path, name: str, *measurements: Measurement) -> Path:
    """Write a notebook whose stored outputs hold these measurements, one a cell."""
    cells = [nbformat.v4.new_markdown_cell("# Toy")]
    for i, measurement in enumerate(measurements, 1):
        data = {MIME: measurement.to_json(), "text/plain": "card"}
        output = nbformat.v4.new_output("display_data", data=data)
        cells.append(nbformat.v4.new_code_cell("report()", execution_count=i, outputs=[output]))
    path = root / "notebooks" / "ch01_toy" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


A = Measurement.of("ch01.a", True, control=False)
B = Measurement.of("ch01.b", -0.4, (-0.5, -0.3), 0.01, (-0.1, 0.1))


def test_round_trip(root: Path):
    store(root, "01_one", A, B)
    store(root, "02_two", Measurement.of("ch01.c", Fraction(41, 12)))
    rows = {row.claim.id: row for row in collect(root=root)}
    assert {i: r.verdict for i, r in rows.items()} == {
        "ch01.a": H,
        "ch01.b": D,
        "ch01.c": H,
        "ch01.far": "not testable here",
    }
    assert rows["ch01.b"].measurement == B
    assert (rows["ch01.b"].notebook, rows["ch01.b"].cell) == ("notebooks/ch01_toy/01_one.ipynb", 2)
    assert rows["ch01.b"].url == "notebooks/ch01_toy/01_one.html#claim-ch01.b"
    assert rows["ch01.c"].measured == Fraction(41, 12)
    assert check(root=root) == []


def test_counts_by_whose_row(root: Path):
    store(root, "01_one", A, B)
    rows = collect(root=root)
    assert list(tally_by(rows)["paper"]) == [H, D, "not testable here"]
    assert tally_by(rows) == {
        "paper": {H: 1, D: 1, "not testable here": 1},
        "ours": {NOT_REPORTED: 1},
    }
    assert tally_by([]) == {"paper": {}, "ours": {}}
    assert (rows[2].measured, rows[2].interval, rows[2].url) == (None, None, "")
    assert rows[1].interval == (-0.5, -0.3)


def test_no_verdict_is_stored(root: Path):
    text = store(root, "01_one", A, B).read_text()
    assert not any(v in text for v in VERDICTS)


def test_verdict_follows_the_declaration(root: Path):
    store(root, "01_one", A, B)
    wide = [CLAIMS[1] | {"tolerance": {"abs": 0.2}} if c is CLAIMS[1] else c for c in CLAIMS]
    write(root, chapter(wide))
    assert collect(root=root)[1].verdict == H


def test_unreported(root: Path):
    store(root, "01_one", A)
    assert [row.label for row in collect(root=root)] == [
        H,
        NOT_REPORTED,
        NOT_REPORTED,
        VERDICTS[-1],
    ]
    problems = check(root=root)
    assert len(problems) == 2
    assert "ch01.b: no notebook reports it" in problems


@pytest.mark.parametrize(
    ("measurement", "message"),
    [
        (A, "ch01.a: reported 2 times, in notebooks/ch01_toy/01_one.ipynb cell 1 and"),
        (Measurement.of("ch01.z", 1), "02_two.ipynb cell 1, but no chapter declares it"),
        (
            Measurement.of("ch01.b", "text", control=0),
            "02_two.ipynb cell 1: ch01.b: reported 'text'",
        ),
        (Measurement.of("ch01.far", 1), "must not be reported"),
    ],
)
def test_bad_reports(root: Path, measurement: Measurement, message: str):
    store(root, "01_one", A)
    store(root, "02_two", measurement)
    with pytest.raises(LedgerError, match=message):
        collect(root=root)
    assert any(message in problem for problem in check(root=root))


def test_control_added_later_voids_stored_result(root: Path):
    store(root, "01_one", Measurement.of("ch01.a", True))
    assert any("control is missing" in problem for problem in check(root=root))


def test_unreadable_notebooks(root: Path):
    path = store(root, "01_one", A)
    path.write_text(path.read_text().replace('"value": true', '"valeur": true'))
    with pytest.raises(LedgerError, match="cell 1: stored claim"):
        collect(root=root)
    path.write_text(path.read_text().replace('"valeur": true', '"value": NaN'))
    with pytest.raises(LedgerError, match=r"01_one\.ipynb cell 1: stored claim .* value is nan"):
        collect(root=root)
    path.write_text("{" + MIME)
    with pytest.raises(LedgerError, match="not a readable notebook"):
        collect(root=root)


def test_chapter_filter(root: Path):
    second = GOOD | {"id": "ch02.a"}
    write(root, chapter([second], chapter="ch02_toy", number=2), "ch02_toy")
    assert [r.claim.id for r in collect(root=root, chapter="ch02_toy")] == ["ch02.a"]
    assert len(collect(root=root)) == 5
    with pytest.raises(LedgerError, match="no chapter 'ch03'"):
        collect(root=root, chapter="ch03")


def test_report_prints_outside_a_notebook(root: Path, capsys: pytest.CaptureFixture[str]):
    found = report("ch01.b", -0.4, (-0.5, -0.3), 0.0123, control_interval=(-0.1, 0.1), root=root)
    assert found is None
    assert capsys.readouterr().out == (
        "[holds in direction] ch01.b\n"
        "    measured: -0.4 [-0.5, -0.3]; control: 0.0123 [-0.1, 0.1]; "
        "holds if: within ±0.05; else the same sign\n"
    )


def test_report_refuses(root: Path):
    with pytest.raises(UnknownClaimError, match=r"'ch01\.d'; did you mean ch01\.") as error:
        report("ch01.d", 1, root=root)
    assert isinstance(error.value, KeyError)
    with pytest.raises(UnknownClaimError, match=r"declare it in claims\.yml first"):
        report("zz", 1, root=root)
    with pytest.raises(LedgerError, match="finite"):
        report("ch01.b", float("nan"), root=root)
    with pytest.raises(LedgerError, match="did not fail"):
        report("ch01.a", True, control=True, root=root)
    for digits in (0, 13, 2.5, "6", -1, True):
        with pytest.raises(LedgerError, match=r"digits is .* expected an integer from 1 to 12"):
            report("ch01.b", -0.4, control=0, digits=digits, root=root)


def test_report_in_ipython(root: Path, monkeypatch: pytest.MonkeyPatch):
    (bundle,) = shown_in_ipython(monkeypatch, "ch01.a", np.bool_(True), control=False, root=root)
    assert bundle[MIME] == {
        "id": "ch01.a",
        "value": True,
        "interval": None,
        "control": False,
        "control_interval": None,
    }
    assert bundle["text/html"] == (
        '<div class="claim-card verdict-holds" id="claim-ch01.a"><p class="claim-head">'
        '<strong class="verdict-badge verdict-holds">holds</strong> <code>ch01.a</code></p>'
        '<dl class="claim-facts"><div><dt>measured</dt><dd>true</dd></div>'
        "<div><dt>control</dt><dd>false</dd></div><div><dt>holds if</dt><dd>equal</dd></div>"
        "</dl></div>"
    )
    assert bundle["text/plain"].startswith("[holds] ch01.a\n")


def shown_in_ipython(
    monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any
) -> list[dict[str, Any]]:
    """Return what a report displays in a notebook."""
    import IPython
    import IPython.display

    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    shows = lambda bundle, *, raw: shown.append(bundle if raw is True else {})  # noqa: E731
    monkeypatch.setattr(IPython.display, "display", shows)
    report(*arguments, **options)
    return shown


NUMBERS = [
    GOOD | {"id": "ch01.half", "value": 0.5, "tolerance": {"abs": 0.01}},
    GOOD | {"id": "ch01.cpa", "value": 1.24, "tolerance": {"abs": 0.02}},
    GOOD | {"id": "ch01.large", "value": 22350, "tolerance": {"rel": 0.0001}},
    GOOD | {"id": "ch01.up", "value": None, "tolerance": {"sign": "positive"}, "unit": "<b>"},
    GOOD | {"id": "ch01.pair", "value": [0.5, 50], "labels": ["a", "b"], "tolerance": {"rel": 0.1}},
    GOOD | {"id": "ch01.third", "value": "1/3", "tolerance": {"abs": 0.001}},
    GOOD | {"id": "ch01.zero", "value": 0.0, "tolerance": {"abs": 0}},
    GOOD | {"id": "ch01.fine", "value": 0.3, "tolerance": {"abs": 1e-12}},
    GOOD | {"id": "ch01.most", "value": None, "tolerance": {"at_most": 0.5}},
]


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    return write(tmp_path, chapter(NUMBERS))


def told(root: Path, capsys: pytest.CaptureFixture[str], *given: Any, **options: Any) -> str:
    report(*given, root=root, **options)
    return capsys.readouterr().out


def test_rounding_makes_no_verdict(numbers: Path, capsys: pytest.CaptureFixture[str]):
    """0.549 is not 0.5 ± 0.01, however few digits of it are kept; nor 1.219540 1.24 ± 0.02."""
    with pytest.raises(
        LedgerError, match=r"digits is 1, which stores 0\.549 in steps of 0\.1; exp"
    ):
        report("ch01.half", 0.549, control=0, digits=1, root=numbers)
    assert told(numbers, capsys, "ch01.half", 0.549, control=0).startswith("[differs]")
    assert told(numbers, capsys, "ch01.half", 0.549, control=0, digits=4).startswith("[differs]")
    with pytest.raises(LedgerError, match=r"digits is 3, which .* expected at least 4"):
        report("ch01.cpa", 1.219540, control=1, digits=3, root=numbers)
    for digits in (4, 6, 12):
        out = told(numbers, capsys, "ch01.cpa", 1.219540, control=1, digits=digits)
        assert out.startswith("[differs]")
    assert told(numbers, capsys, "ch01.cpa", 1.220001, control=1, digits=4).startswith("[holds]")


@pytest.mark.parametrize(
    ("id", "value", "needed"),
    [
        ("ch01.half", 0.504, 4),  # a twentieth of 0.01 is 0.0005
        ("ch01.half", -0.05, 3),
        ("ch01.half", 9.9996, 5),
        ("ch01.cpa", 1.25, 4),  # of 0.02: 0.001, which four digits of 1.25 keep
        ("ch01.large", 22350.5, 6),  # of 2.235: 0.11
        ("ch01.pair", [0.5, 50.5], 3),  # of 0.05: 0.0025; of 5: 0.25
        ("ch01.third", 0.3333333, 5),
    ],
)
def test_how_many_digits_a_tolerance_needs(numbers: Path, id: str, value: Any, needed: int):
    control = [0, 0] if isinstance(value, list) else 7
    report(id, value, control=control, digits=needed, root=numbers)
    with pytest.raises(LedgerError, match=f"expected at least {needed}, for a twentieth of"):
        report(id, value, control=control, digits=needed - 1, root=numbers)


def test_nobody_can_ask_for_more_than_twelve_digits(numbers: Path):
    report("ch01.fine", 0.3, control=0, digits=12, root=numbers)
    with pytest.raises(LedgerError, match="expected at least 12, for a twentieth"):
        report("ch01.fine", 0.3, control=0, digits=11, root=numbers)


def test_what_no_rounding_changes_may_have_any_digits(numbers: Path):
    report("ch01.half", 1, control=0, digits=1, root=numbers)
    report("ch01.half", 0.0, control=0, digits=1, root=numbers)
    report("ch01.third", Fraction(1, 3), control=0, digits=1, root=numbers)
    report("ch01.zero", 1 / 3, control=1, digits=1, root=numbers)
    report("ch01.up", 1 / 3, control=-1, digits=1, root=numbers)


@pytest.mark.parametrize(
    ("id", "value", "interval", "control", "digits", "stored"),
    [
        # As many digits as asked for, where the verdict stays.
        ("ch01.up", 0.123456, (0.0543, 0.2), -0.123456, 2, [0.12, [0.054, 0.2], -0.12]),
        # The end of an interval that rounds to 0 would lose the sign, a bound would be met.
        ("ch01.most", 0.5004, None, 1, 2, [0.5004, None, 1]),
        ("ch01.most", 0.4, (0.3, 0.5004), 1, 1, [0.4, [0.3, 0.5004], 1]),
        # A control just outside would hold.
        ("ch01.most", 0.4, None, 0.5004, 1, [0.4, None, 0.5004]),
        # The rounded end of an interval would lie below the exact value.
        ("ch01.third", Fraction(1, 3), (0.3, 0.33334), 1, 3, ["1/3", [0.3, 0.33334], 1]),
        ("ch01.most", 0.500000000001, None, 1, 1, [0.500000000001, None, 1]),
        ("ch01.most", 0.5 + 1e-14, None, 1, 6, [0.5, None, 1]),
    ],
)
def test_what_is_stored_leads_to_the_same_verdict(
    numbers: Path,
    monkeypatch: pytest.MonkeyPatch,
    id: str,
    value: Any,
    interval: Any,
    control: Any,
    digits: int,
    stored: list[Any],
):
    (bundle,) = shown_in_ipython(
        monkeypatch, id, value, interval, control, digits=digits, root=numbers
    )
    found = Measurement.from_json(bundle[MIME])
    wanted = stored[0] if isinstance(stored[0], float) else Fraction(stored[0])
    around = tuple(stored[1]) if stored[1] else None
    assert (found.value, found.interval, found.control) == (wanted, around, stored[2])
    label = verdict(find_claim(id, root=numbers), found)
    assert bundle["text/plain"].startswith(f"[{label}] ")


def test_labels_in_what_is_shown(numbers: Path, capsys: pytest.CaptureFixture[str]):
    value, interval = {"b": 50, "a": 0.5}, {"a": (0.4, 0.6), "b": (40, 60)}
    out = told(numbers, capsys, "ch01.pair", value, interval, {"a": 0, "b": 9})
    assert "measured: a: 0.5 [0.4, 0.6]; b: 50 [40, 60]; control: a: 0; b: 9; holds if" in out
    out = told(numbers, capsys, "ch01.pair", value, None, 7, control_interval=(6, 8))
    assert badge_class("holds in direction") == "verdict-holds-in-direction"
    assert "measured: a: 0.5; b: 50; control: 7 [6, 8]; holds if: within ±10 %" in out
    with pytest.raises(LedgerError, match="value has labels a, c; expected a, b"):
        report("ch01.pair", {"a": 1, "c": 2}, control=0, root=numbers)


HOSTILE = """<script>alert("x")</script> & 'it'\nnext *line* $a<b$ [l](javascript:alert(1))"""


def test_hostile_words_are_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ("statement", "source", "control", "measured_before", "unit")
    one = GOOD | dict.fromkeys(words, HOSTILE) | {"value": 1, "tolerance": {"abs": 0.1}}
    one |= {"null": {"value": 0, "why": HOSTILE}}
    root = write(tmp_path, chapter([one]))
    (bundle,) = shown_in_ipython(monkeypatch, "ch01.a", 1, control=0, root=root)
    assert "next" not in bundle["text/html"].replace(html.escape(HOSTILE), "")
    assert "<script" not in bundle["text/html"]
    found = find_claim("ch01.a", root=root)
    full = card(found, Measurement.from_json(bundle[MIME]), H)
    assert "<script" not in full
    assert "href" not in full
    # As Markdown in the statement, the null, the control and what was measured before.
    inline = "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; 'it'\nnext <em>line</em> "
    assert full.count(inline + '<span class="math inline">\\(a&lt;b\\)</span>') == 4
    assert f'<span class="claim-source">{html.escape(HOSTILE)}</span>' in full


def test_no_words_of_a_claim_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ("statement", "source", "control", "measured_before")
    one = GOOD | dict.fromkeys(words, "Wording") | {"null": {"value": False, "why": "Wording"}}
    root = write(tmp_path, chapter([one]))
    (bundle,) = shown_in_ipython(monkeypatch, "ch01.a", True, control=False, root=root)
    assert "Wording" not in json.dumps(bundle)
    full = card(find_claim("ch01.a", root=root), Measurement.from_json(bundle[MIME]), H)
    assert full.count("Wording") == 5


def test_the_full_card(tmp_path: Path):
    one = GOOD | VECTOR | {"unit": "EUR", "basis": "real data", "null": ZERO, "kind": "number"}
    second = one | {"id": "ch01.b", "by": "ours", "control": None, "control_of": "ch01.a"}
    second |= {"measured_before": "a trial run", "value": [1, 2], "tolerance": {"abs": 0.5}}
    root = write(tmp_path, chapter([one, second]))
    first, other = load_chapter("ch01_toy", root=root).claims
    found = Measurement.of("ch01.a", [0.1, 0.2], [(0, 0.1), (0.2, 0.3)], 0, (-1, 1))
    facts = re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", card(first, found, H))
    assert facts == [
        ("holds if", "within ±0.01; else the same sign"),
        ("nothing gives", "0 EUR: no effect"),
        ("must fail", "a model that is not calibrated"),
        ("run on", "real data"),
    ]
    facts = re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", card(other, found, F))
    assert pairs(first, found) == [
        ("", "paper", "measured (EUR)", "control"),
        ("a", "0.1", "0.1 [0, 0.1]", "0 [-1, 1]"),
        ("b", "0.2", "0.2 [0.2, 0.3]", "0 [-1, 1]"),
    ]
    # The verdict stands beside an element only where it is not the same for all.
    assert pairs(other, Measurement.of("ch01.b", [1, 3]))[0] == (
        *("", "expected", "measured (EUR)", "verdict"),
    )
    shown = re.findall(
        "<t[hd][^>]*>(.*?)</t[hd]>", card(other, Measurement.of("ch01.b", [1, 3]), F)
    )
    assert shown[4:] == ["a", "1", "1", "holds", "b", "2", "3", "differs"]
    assert "the paper’s claim" in card(first, found, H)
    assert "a claim of ours" in card(other, found, F)
    assert facts[-3:-1] == [("control of", "ch01.a"), ("measured before", "a trial run")]
    assert 'class="claim-card verdict-differs" id="claim-ch01.b"' in card(other, found, F)


def test_words_of_a_tolerance():
    told = [
        ({"exact": True}, "equal"),
        ({"exact": True, "sign": True}, "equal; else the same sign"),
        ({"abs": 0.5}, "within ±0.5"),
        ({"abs": 0.5, "rel": 0.025}, "within ±0.5 or ±2.5 %"),
        ({"holds": ["a", "b"]}, "a or b"),
        ({"holds": ["a"], "direction": ["b", "c"]}, "a; in direction: b or c"),
        ({"at_least": 1}, "≥ 1"),
        ({"at_least": Fraction(1, 2), "at_most": 2}, "≥ 1/2 ≈ 0.5 and ≤ 2"),
        ({"sign": "negative"}, "negative"),
        ({}, ""),
    ]
    for tolerance, words in told:
        assert describe(claim(1, tolerance)) == words


# ── command line ─────────────────────────────────────────────────────────────────────────────


def test_cli_json(root: Path, capsys: pytest.CaptureFixture[str]):
    store(root, "01_one", A, B)
    assert main(["--json", "--root", str(root), "--chapter", "ch01_toy"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["counts"] == {
        "paper": {H: 1, D: 1, "not testable here": 1},
        "ours": {NOT_REPORTED: 1},
    }
    rows = data["rows"]
    assert [r["verdict"] for r in rows] == [H, D, None, "not testable here"]
    assert rows[1] == {
        "chapter": "ch01_toy",
        "id": "ch01.b",
        "by": "paper",
        "source": "Theorem 1",
        "statement": "Refinement keeps $\\sum w p$.",
        "kind": "theorem",
        "basis": "exact",
        "reason": None,
        "labels": None,
        "paper_value": -0.2,
        "expected_value": None,
        "measured_before": None,
        "measured_value": -0.4,
        "interval": [-0.5, -0.3],
        "unit": None,
        "tolerance": {"abs": 0.05, "sign": True},
        "null": None,
        "verdict": D,
        "control": "a model that is not calibrated",
        "control_of": None,
        "control_value": 0.01,
        "control_interval": [-0.1, 0.1],
        "notebook": "notebooks/ch01_toy/01_one.ipynb",
        "cell": 2,
        "url": "notebooks/ch01_toy/01_one.html#claim-ch01.b",
    }
    assert rows[2]["paper_value"] is None
    assert rows[2]["expected_value"] == {"fraction": "41/12", "float": 3.41667}


def test_cli_table_and_check(root: Path, capsys: pytest.CaptureFixture[str]):
    store(root, "01_one", A, B)
    assert main(["--table", "--root", str(root)]) == 0
    out = capsys.readouterr().out
    assert "paper: 3 rows: 1 holds, 1 holds in direction, 1 not testable here\n" in out
    assert "ours: 1 rows: 1 not reported\n" in out
    assert main(["--check", "--root", str(root)]) == 1
    assert "ch01.c: no notebook reports it" in capsys.readouterr().out
    store(root, "02_two", Measurement.of("ch01.c", 1))
    assert main(["--check", "--root", str(root)]) == 0
    store(root, "03_three", A)
    assert main(["--json", "--root", str(root)]) == 1


def test_a_report_outside_a_notebook_imports_nothing_heavy(root: Path):
    code = (
        "import sys; from pathlib import Path; from lib.core.ledger import report; "
        f"report('ch01.c', '41/12', root=Path({str(root)!r})); "
        "assert not {'IPython', 'lib.core.ledger.rows', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[holds] ch01.c")


def test_cli_imports_nothing_heavy():
    code = (
        "import sys; from lib.core.ledger.__main__ import main; main(['--json']); "
        "print([m for m in ('IPython', 'pandas', 'torch', 'numpy', 'nbformat', 'sphinx') "
        "if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


# ── one row computed anew ────────────────────────────────────────────────────────────────────

TRAINED = {"trained": {"hits": {"abs": 0.05, "rel": 0, "why": "spread of five seeds"}}}


@pytest.mark.parametrize(
    ("fresh", "tags", "same", "shown"),
    [
        (B, [], True, "stored -0.4\n          fresh  -0.4"),
        (Measurement.of("ch01.b", -0.41, (-0.5, -0.3), 0.01, (-0.1, 0.1)), [], False, "-0.41"),
        (Measurement.of("ch01.b", -0.4, (-0.5, -0.31), 0.01, (-0.1, 0.1)), [], False, "-0.31]"),
        (Measurement.of("ch01.b", -0.4, (-0.5, -0.3), 0.02, (-0.1, 0.1)), [], False, "0.02 [-0.1"),
        # A trained cell has a tolerance for its numbers, none for its verdict.
        (
            Measurement.of("ch01.b", -0.41, (-0.52, -0.3), 0.03, (-0.1, 0.1)),
            ["trained-hits"],
            True,
            "-0.41",
        ),
        (
            Measurement.of("ch01.b", -0.46, (-0.5, -0.3), 0.01, (-0.1, 0.1)),
            ["trained-hits"],
            False,
            "-0.46",
        ),
        (
            Measurement.of("ch01.b", -0.4, (-0.5, -0.3), 0.01, (-0.1, 0.1)),
            ["trained-hits"],
            True,
            "holds in direction",
        ),
    ],
)
def test_prove(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fresh: Measurement,
    tags: list[str],
    same: bool,
    shown: str,
):
    from lib.core.ledger import proving

    write(root, chapter(CLAIMS, **TRAINED))
    stored = store(root, "01_one", A, B)
    before = stored.read_bytes()
    folders: list[Path] = []

    def compute(notebook: Any, *, results: Path) -> Any:
        assert notebook.stored == stored
        assert list(results.iterdir()) == []
        folders.append(results)
        content = nbformat.read(store(root, "99_fresh", A, fresh), as_version=4)
        (root / "notebooks/ch01_toy/99_fresh.ipynb").unlink()
        content.cells[2].metadata["tags"] = tags
        return content

    monkeypatch.setattr(proving, "compute", compute)
    assert main(["--prove", "ch01.b", "--root", str(root)]) == (0 if same else 1)
    out = capsys.readouterr().out
    assert out.startswith("ch01.b in notebooks/ch01_toy/01_one.ipynb, cell 2\n")
    assert shown in out
    assert re.search(rf"\n{'the' if same else 'NOT the'} same; \d+ s\n$", out)
    assert stored.read_bytes() == before
    assert len(set(folders)) == 1
    assert not folders[0].exists()


def test_prove_a_trained_verdict_that_flips(root: Path, monkeypatch: pytest.MonkeyPatch):
    from lib.core.ledger import proving

    write(root, chapter(CLAIMS, **TRAINED))
    store(root, "01_one", Measurement.of("ch01.b", -0.24, control=0))
    content = nbformat.read(
        store(root, "99_fresh", Measurement.of("ch01.b", -0.26, control=0)), as_version=4
    )
    (root / "notebooks/ch01_toy/99_fresh.ipynb").unlink()
    content.cells[1].metadata["tags"] = ["trained-hits"]
    monkeypatch.setattr(proving, "compute", lambda notebook, results: content)
    clock = iter([1000.0, 1007.4])
    monkeypatch.setattr(proving, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    text, same = proving.prove("ch01.b", root=root)
    assert text.endswith("NOT the same; 7 s")
    assert "verdict   stored holds\n          fresh  holds in direction\n" in text
    assert "interval  stored none\n          fresh  none\n" in text
    assert not same


def test_prove_refuses(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from lib.core import notebooks
    from lib.core.ledger import proving

    store(root, "01_one", A)
    for id, message in (
        ("ch01.bb", "did you mean ch01.b"),
        ("ch01.b", "ch01.b: not reported, so there is nothing"),
        ("ch01.far", "ch01.far: not testable here, so"),
    ):
        assert main(["--prove", id, "--root", str(root)]) == 1
        assert message in capsys.readouterr().err
    monkeypatch.setattr(proving, "compute", lambda notebook, results: nbformat.v4.new_notebook())
    assert main(["--prove", "ch01.a", "--root", str(root)]) == 1
    assert "ch01.a: reported 0 times by the run of notebooks/ch01" in capsys.readouterr().err

    def broken(notebook: Any, results: Path) -> Any:
        raise notebooks.ExecutionError("a long traceback\nMissingDataError: no mirror\n")

    monkeypatch.setattr(proving, "compute", broken)
    assert main(["--prove", "ch01.a", "--root", str(root)]) == 1
    assert capsys.readouterr().out.endswith("did not run: MissingDataError: no mirror\n")
