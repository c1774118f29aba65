"""Two one-sided tests: peers, closed forms, and margins on either side."""

from __future__ import annotations

import math

import numpy as np
import pingouin
import pytest
from scipy import stats as peers
from statsmodels.stats.weightstats import DescrStatsW, ttost_ind

from lib.stats import equivalent, equivalent_groups

RNG = np.random.default_rng(5)
FIRST, SECOND = RNG.normal(0.1, 1.0, 30), RNG.normal(0.0, 2.0, 20)


def test_one_mean_is_that_of_peers() -> None:
    found = equivalent(FIRST, (-0.4, 0.7))
    assert found.p == pytest.approx(DescrStatsW(FIRST).ttost_mean(-0.4, 0.7)[0])
    ends = peers.ttest_1samp(FIRST, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    pairs = pingouin.tost(FIRST, np.zeros(30), bound=0.5, paired=True)
    assert equivalent(FIRST, (-0.5, 0.5)).p == pytest.approx(
        pairs.filter(regex="^p.?val").iloc[0, 0]
    )


def test_two_groups_are_those_of_statsmodels() -> None:
    found = equivalent_groups(FIRST, SECOND, (-1.0, 1.5))
    assert found.p == pytest.approx(ttost_ind(FIRST, SECOND, -1.0, 1.5, usevar="unequal")[0])
    peer = peers.ttest_ind(FIRST, SECOND, equal_var=False)
    assert found.df == pytest.approx(peer.df)
    ends = peer.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_by_hand() -> None:
    """Of 0 and 2 the error is 1; three errors from the nearer margin, on one degree of freedom."""
    found = equivalent([0.0, 2.0], (-2.0, 5.0))
    assert found.p == pytest.approx(0.5 - math.atan(3) / math.pi)
    assert found.value == 1.0
    assert equivalent([0.0, 2.0], (-1.0, 2.0)).p == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("margins", "holds"),
    [((-0.5, 0.5), True), ((-0.5, 0.0), False), ((0.0, 0.5), False), ((0.2, 0.5), False)],
)
def test_both_margins_count(margins: tuple[float, float], holds: bool) -> None:
    values = np.tile([-0.1, 0.1, 0.0], 20)
    found = equivalent(values, margins)
    assert found.holds is holds
    assert found.holds == (margins[0] < found.low and found.high < margins[1])
    turned = equivalent(-values, (-margins[1], -margins[0]))
    assert turned.p == pytest.approx(found.p)
    assert equivalent_groups(values, [0.0, 0.0], margins).holds is holds


def test_clusters_count_once() -> None:
    many = equivalent(np.repeat([0.0, 2.0], 50), (-2.0, 5.0), np.repeat(["a", "b"], 50))
    assert many == equivalent([0.0, 2.0], (-2.0, 5.0))
    groups = equivalent_groups([0, 0, 2], [1, 3, 3], (-9, 9), ["a", "a", "b"], ["c", "d", "d"])
    assert groups == equivalent_groups([0, 2], [1, 3], (-9, 9))
    assert (groups.value, groups.df) == (-1.0, 2.0)


def test_equal_values() -> None:
    assert equivalent([1.0, 1.0], (0.0, 2.0)).holds
    assert not equivalent([1.0, 1.0], (1.0, 2.0)).holds


def test_at_a_margin_it_holds_one_time_in_twenty() -> None:
    rng = np.random.default_rng(8)
    found = np.mean([equivalent(rng.normal(1.0, 1.0, 40), (-1.0, 1.0)).holds for _ in range(2000)])
    assert found == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equivalent([1.0, 2.0], (1.0, -1.0)), "lower one first"),
        (lambda: equivalent([1.0, 2.0], (1.0,)), "margins"),
        (lambda: equivalent([1.0, 2.0], (-1.0, 1.0), alpha=0.6), "below 0.5"),
        (lambda: equivalent([1.0, np.inf], (-1.0, 1.0)), "values"),
        (lambda: equivalent_groups([1.0], [1.0, 2.0], (-1.0, 1.0)), "first has 1"),
        (lambda: equivalent_groups([1.0, 2.0], ["x", "y"], (-1.0, 1.0)), "second"),
        (
            lambda: equivalent_groups([1, 2], [1, 2], (-1.0, 1.0), None, ["a", "a"]),
            "second_clusters has 1",
        ),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
