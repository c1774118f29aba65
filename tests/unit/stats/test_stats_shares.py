"""Intervals for shares: closed forms, published examples, symmetries, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as peers
from statsmodels.stats.proportion import proportion_confint

from lib.stats import binomial, independent_shares, paired_shares


def paired(both: int, first: int, second: int, neither: int) -> tuple[list[int], list[int]]:
    """Return two lists of 0 and 1 with these numbers of pairs."""
    return (
        [1] * (both + first) + [0] * (second + neither),
        [1] * both + [0] * first + [1] * second + [0] * neither,
    )


def test_exact_by_hand() -> None:
    assert binomial(0, 10).ends == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert binomial(10, 10).ends == (pytest.approx(0.025 ** (1 / 10)), 1.0)
    assert binomial(4, 16).ends == pytest.approx((0.0727, 0.5238), abs=1e-4)
    assert binomial(4, 16, level=0.9).ends == pytest.approx((0.0903, 0.4844), abs=1e-4)
    found = binomial(4, 16)
    assert (found.value, found.n, found.level, found.null) == (0.25, 16, 0.95, 0.5)


@pytest.mark.parametrize(("count", "total"), [(0, 7), (3, 7), (7, 7), (81, 263)])
def test_both_methods_are_those_of_statsmodels(count: int, total: int) -> None:
    for method, theirs in (("exact", "beta"), ("wilson", "wilson")):
        ours = binomial(count, total, level=0.9, method=method).ends
        assert ours == pytest.approx(proportion_confint(count, total, 0.1, theirs), abs=1e-9)


@pytest.mark.parametrize("method", ["exact", "wilson"])
@pytest.mark.parametrize("count", [1, 5, 9])
def test_p_is_one_less_the_level_at_which_an_end_is_the_null(count: int, method) -> None:
    null = 0.62
    end = "low" if count / 10 > null else "high"

    def distance(level: float) -> float:
        return getattr(binomial(count, 10, level=level, method=method), end) - null

    level = optimize.brentq(distance, 1e-9, 1 - 1e-12)
    assert binomial(count, 10, null=null, method=method).p == pytest.approx(1 - level, abs=1e-8)


def test_p_by_hand() -> None:
    assert binomial(0, 10).p == pytest.approx(2 / 2**10)
    assert binomial(8, 10).p == pytest.approx(2 * (45 + 10 + 1) / 2**10)
    assert binomial(5, 10).p == 1
    assert binomial(3, 12, method="wilson").p == pytest.approx(2 * peers.norm.sf(3 / 3**0.5))
    assert binomial(2, 9, null=0, method="wilson").p == 0
    assert binomial(0, 9, null=0, method="wilson").p == 1


def test_paired_by_newcombes_table() -> None:
    """Newcombe 1998, table III: 36, 12, 2 and 0 pairs; 54, 0, 0, 0 and 0, 0 ,0 too."""
    found = paired_shares(*paired(36, 12, 2, 0))
    assert found.value == pytest.approx(0.2)
    assert found.ends == pytest.approx((0.0569, 0.3404), abs=5e-5)
    assert paired_shares(*paired(54, 0, 0, 0)).ends == pytest.approx((-0.0664, 0.0664), abs=5e-5)


def test_paired_the_other_way_is_turned() -> None:
    one, two = paired(12, 9, 2, 21)
    found, turned = paired_shares(one, two), paired_shares(two, one)
    assert found.value == pytest.approx(7 / 44)
    assert turned.ends == pytest.approx((-found.high, -found.low))
    assert turned.p == pytest.approx(found.p)
    order = np.random.default_rng(0).permutation(44)
    assert paired_shares(np.array(one)[order], np.array(two)[order] > 0) == found


def test_paired_p_belongs_to_the_interval() -> None:
    one, two = paired(12, 9, 2, 21)
    p = paired_shares(one, two).p
    assert paired_shares(one, two, level=1 - p).low == pytest.approx(0, abs=1e-9)
    assert p == pytest.approx(0.026188504883654984)
    assert paired_shares(two, two).p == 1
    assert paired_shares([1] * 400, [0] * 400).p <= 1e-12


def test_where_nothing_varies_the_correlation_is_none() -> None:
    found = paired_shares([1] * 10, [0] * 10)
    wilson = binomial(10, 10, method="wilson").low
    assert found.value == 1
    assert found.low == pytest.approx(1 - (2 * (1 - wilson) ** 2) ** 0.5)
    assert found.high == 1


def test_independent_by_newcombes_table() -> None:
    """Newcombe 1998, table II: method 10 for eight pairs of shares."""
    for counts, ends in {
        (56, 70, 48, 80): (0.0524, 0.3339),
        (9, 10, 3, 10): (0.1705, 0.8090),
        (6, 7, 2, 7): (0.0582, 0.8062),
        (5, 56, 0, 29): (-0.0381, 0.1926),
        (0, 10, 0, 20): (-0.1611, 0.2775),
        (0, 10, 0, 10): (-0.2775, 0.2775),
        (10, 10, 0, 20): (0.6791, 1.0),
        (10, 10, 0, 10): (0.6075, 1.0),
    }.items():
        found = independent_shares(*counts)
        assert found.ends == pytest.approx(ends, abs=5e-5)
        assert found.value == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
        assert found.n == counts[1] + counts[3]
        turned = independent_shares(*counts[2:], *counts[:2])
        assert turned.ends == pytest.approx((-found.high, -found.low))
        assert turned.p == pytest.approx(found.p)


@pytest.mark.parametrize("method", ["wilson", "exact"])
def test_independent_is_made_of_two_intervals(method) -> None:
    one = binomial(3, 7, level=0.9, method=method)
    two = binomial(25, 350, level=0.9, method=method)
    found = independent_shares(3, 7, 25, 350, level=0.9, method=method)
    down = np.hypot(one.value - one.low, two.high - two.value)
    assert independent_shares(0, 9, 9, 9, method=method).low == -1
    up = np.hypot(one.high - one.value, two.value - two.low)
    assert found.ends == pytest.approx((found.value - down, found.value + up))
    assert found.level == 0.9
    at_zero = independent_shares(3, 7, 25, 350, level=1 - found.p, method=method)
    assert at_zero.low == pytest.approx(0, abs=1e-9)


def test_independent_p_where_there_is_no_or_every_difference() -> None:
    assert independent_shares(2, 8, 3, 12).p == 1
    assert independent_shares(1, 7, 49, 350, method="exact").p == 1
    assert independent_shares(400, 400, 0, 400).p <= 1e-12
    assert independent_shares(0, 9, 4, 9).p == pytest.approx(independent_shares(4, 9, 0, 9).p)


def test_exact_parts_keep_the_level_where_few_are_counted_and_wilsons_do_not() -> None:
    """Of seven and of 350 with one share: how often the interval lies above 0."""
    chance = peers.binom.pmf(np.arange(8), 7, 0.07)
    wrong = {}
    for method in ("exact", "wilson"):
        found = [independent_shares(one, 7, 25, 350, method=method) for one in range(8)]
        wrong[method] = sum(chance[[one.low > 0 for one in found]])
        assert all(one.high > 0 for one in found)
    assert wrong["exact"] == pytest.approx(sum(chance[3:]))
    assert wrong["wilson"] == pytest.approx(sum(chance[2:]))
    assert wrong["exact"] < 0.025 < 0.08 < wrong["wilson"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: binomial(3, 2), r"count is 3(\.0)?, expected"),
        (lambda: binomial(-1, 2), r"count is -1(\.0)?, expected"),
        (lambda: binomial(1.5, 2), "count is 1.5, expected"),
        (lambda: binomial(0, 0), r"total is 0(\.0)?, expected"),
        (lambda: binomial(1, 2, level=1.0), "level is 1"),
        (lambda: binomial(1, 2, level=95), "level is 95"),
        (lambda: binomial(1, 2, null=1.1), "null is 1.1"),
        (lambda: binomial(1, 2, method="wald"), "method is 'wald', expected one of: exact, wilson"),
        (lambda: paired_shares([1, 0], [1]), "lengths are first 2, second 1"),
        (lambda: paired_shares([], []), "first"),
        (lambda: paired_shares([1, 0.5], [1, 0]), "first holds 0.5, expected 0 or 1"),
        (lambda: paired_shares([1, 0], [1, np.nan]), r"second\[1\] is nan"),
        (lambda: paired_shares([1, 0], [1, 2]), r"second\[1\] is 2"),
        (lambda: paired_shares([1, 0], [1, 0], level=0), "level is 0"),
        (lambda: independent_shares(3, 2, 0, 1), r"first_count is 3(\.0)?, expected"),
        (lambda: independent_shares(0, 1, 0, 0), r"second_total is 0(\.0)?, expected"),
        (lambda: independent_shares(0, 1, 0, 1, level=95), "level is 95"),
        (lambda: independent_shares(0, 1, 0, 1, method="wald"), "method is 'wald'"),
    ],
)
def test_bad_input_is_named(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
