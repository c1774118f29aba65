"""The contract: exact ends, staircases, ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from lib.collapse_warning.contract import FPContract, at_count, staircase

panels = st.integers(3, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-3, 3), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda x: any(x) and not all(x)),
    )
)


def test_ends_of_the_band_count():
    contract = FPContract(0.03, 0.07)
    assert contract.accepts(3, 100)
    assert contract.accepts(7, 100)
    assert not contract.accepts(8, 100)
    assert contract.reachable(100).tolist() == [3, 4, 5, 6, 7]
    assert contract.reachable(38).tolist() == [2]
    assert contract.reachable(14).tolist() == []
    assert contract.reachable(15).tolist() == [1]


@given(st.integers(1, 300))
def test_reachable_is_what_is_accepted(n):
    contract = FPContract()
    assert contract.reachable(n).tolist() == [k for k in range(n + 1) if contract.accepts(k, n)]


def test_power_is_binomial():
    contract = FPContract()
    for n, expected in ((38, 0.277), (62, 0.625), (766, 0.989)):
        assert contract.accept_probability(0.05, n) == pytest.approx(expected, abs=5e-4)
    assert contract.accept_probability(0.1, 62) == pytest.approx(
        sum(binom.pmf(k, 62, 0.1) for k in (2, 3, 4))
    )
    assert contract.accept_probability(0.0, 38) == 0


@given(panels)
def test_staircase_is_monotone_and_ends_with_everybody(case):
    score, labels = case
    stairs = staircase(score, labels)
    assert (np.diff(stairs.false_alarms) >= 0).all()
    assert (np.diff(stairs.hits) >= 0).all()
    assert (np.diff(stairs.thresholds) < 0).all()
    assert stairs.false_alarms[-1] == stairs.n_controls
    assert stairs.hits[-1] == stairs.n_events
    assert stairs.tied_controls.sum() == stairs.n_controls


@given(panels, st.integers(0, 3))
def test_points_do_not_depend_on_the_scale_of_the_score(case, count):
    score, labels = case
    count = min(count, labels.count(False))
    for ties in ("strict", "expected"):
        plain = at_count(score, labels, count, ties=ties)
        bent = at_count(np.exp(np.array(score)) * 7, labels, count, ties=ties)
        assert (plain.false_alarms, plain.hits) == (bent.false_alarms, bent.hits)


@given(panels, st.integers(0, 3), st.randoms(use_true_random=False))
def test_expected_points_do_not_depend_on_the_order_of_units(case, count, random):
    score, labels = case
    count = min(count, labels.count(False))
    order = list(range(len(score)))
    random.shuffle(order)
    plain = at_count(score, labels, count, ties="expected")
    mixed = at_count([score[i] for i in order], [labels[i] for i in order], count, ties="expected")
    assert plain == mixed


def test_expected_hits_are_the_mean_over_orders():
    rng = np.random.default_rng(0)
    score = np.array([1.0] * 7)
    labels = np.array([True] * 3 + [False] * 4)
    drawn = [
        at_count(score, labels, 2, ties="by_id", ids=rng.permutation(7).tolist()).hits
        for _ in range(4000)
    ]
    assert at_count(score, labels, 2, ties="expected").hits == pytest.approx(
        np.mean(drawn), abs=0.05
    )


def test_by_id_cuts_at_the_wanted_control():
    point = at_count([2, 1, 1, 1, 0], [1, 0, 1, 0, 0], 1, ties="by_id", ids=[5, 4, 3, 2, 1])
    assert (point.false_alarms, point.hits, point.tied_controls, point.tied_events) == (1, 1, 2, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: FPContract(0.07, 0.03),
        lambda: FPContract(-0.1, 0.5),
        lambda: FPContract().accepts(5, 4),
        lambda: FPContract().accepts(2.5, 38),
        lambda: FPContract().accepts(2, 38.5),
        lambda: FPContract(3, 7),
        lambda: FPContract(float("nan"), 0.5),
        lambda: FPContract().reachable(0),
        lambda: FPContract().accept_probability(1.2, 10),
        lambda: staircase([1.0, np.nan], [True, False]),
        lambda: staircase([1.0, 2.0], [True, True]),
        lambda: staircase([1.0, 2.0], [True]),
        lambda: at_count([1.0, 2.0], [True, False], 2),
        lambda: at_count([1.0, 2.0], [True, False], 1, ties="luck"),
        lambda: at_count([1.0, 1.0], [True, False], 1, ties="by_id"),
        lambda: at_count([1.0, 1.0], [True, False], 1, ties="by_id", ids=[1, 1]),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match=r"expected|no unit"):
        call()
