"""Intervals over clusters: closed forms, peers, symmetries, and how often they miss."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pingouin
import pytest
from scipy import stats as peers

from lib.stats import bootstrap_t, percentile, sign_flip, t_interval, wild_cluster
from lib.stats.intervals import WEBB, cluster_means

SKEWED = np.array([0.1, 0.2, 0.25, 0.4, 0.5, 0.7, 1.1, 2.9])
EVERY = [t_interval, percentile, bootstrap_t, sign_flip, wild_cluster]
DRAWN = [percentile, bootstrap_t, wild_cluster]


def test_a_cluster_counts_once() -> None:
    values, clusters = [1.0, 2.0, 6.0, 6.0, 6.0, 9.0], ["b", "b", "a", "a", "a", "c"]
    assert cluster_means(values, clusters).tolist() == [6.0, 1.5, 9.0]
    assert cluster_means([3.0, 4.0]).tolist() == [3.0, 4.0]
    for method in EVERY:
        found = method(values, clusters, null=2.0)
        assert found == method([6.0, 1.5, 9.0], null=2.0)
        assert (found.value, found.n, found.null) == (5.5, 3, 2.0)


def test_t_is_students() -> None:
    found = t_interval(SKEWED, level=0.9, null=0.3)
    peer = peers.ttest_1samp(SKEWED, 0.3)
    ends = peer.confidence_interval(0.9)
    assert (found.low, found.high, found.p) == pytest.approx((ends.low, ends.high, peer.pvalue))
    other = pingouin.ttest(SKEWED, 0.3, confidence=0.9).iloc[0]
    assert found.p == pytest.approx(other.filter(regex="^p.val").iloc[0])
    # By hand: of 0, 2 the error is 1, and half the line beyond 1 is arctan.
    by_hand = t_interval([0.0, 2.0], level=0.5)
    assert (by_hand.low, by_hand.high) == pytest.approx((0.0, 2.0))
    assert by_hand.p == pytest.approx(1 - 2 * math.atan(1) / math.pi)


def test_percentile_of_two_values() -> None:
    """The mean of a resample of 0 and 1 is 0, 1/2 or 1 in the ratio 1 : 2 : 1."""
    found = percentile([0.0, 1.0], null=0.0)
    assert (found.low, found.high) == (0.0, 1.0)
    assert found.p == pytest.approx(0.5, abs=0.02)
    narrow = percentile([0.0, 1.0], level=0.4)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_percentile_is_that_of_scipy() -> None:
    options = {"method": "percentile", "n_resamples": 20_000, "rng": 1}
    peer = peers.bootstrap((SKEWED,), np.mean, **options).confidence_interval
    found = percentile(SKEWED, draws=20_000)
    assert (found.low, found.high) == pytest.approx((peer.low, peer.high), abs=0.02)


def test_sign_flip_goes_through_all_flips() -> None:
    for null in (0.0, 0.2, 0.5, 1.3):
        deviations = SKEWED - null
        flips = np.array(list(itertools.product([1, -1], repeat=len(SKEWED))))
        extreme = np.abs(flips @ deviations) >= abs(deviations.sum()) - 1e-12
        assert sign_flip(SKEWED, null=null).p == pytest.approx(extreme.mean())


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_the_interval_holds_what_the_test_keeps(level: float) -> None:
    found = sign_flip(SKEWED, level=level)
    width = 1e-6
    for end, inside in ((found.low, width), (found.high, -width)):
        if math.isinf(end):
            continue
        assert sign_flip(SKEWED, null=end + inside).p > 1 - level
        assert sign_flip(SKEWED, null=end - inside).p <= 1 - level


def test_sign_flip_by_hand() -> None:
    found = sign_flip([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert (found.p, found.low, found.high) == (2 / 64, 1.0, 6.0)
    assert sign_flip([-1.0, -2.0, -3.0]).p == 2 / 8
    few = sign_flip([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (few.low, few.high, few.p) == (-math.inf, math.inf, 2 / 32)
    assert sign_flip([1.0, -1.0]).p == 1.0


def test_many_clusters_are_flipped_at_random() -> None:
    values = np.random.default_rng(3).normal(0.4, 1.0, 40)
    found, student = sign_flip(values), t_interval(values)
    assert (found.low, found.high) == pytest.approx((student.low, student.high), abs=0.05)
    assert found.p == pytest.approx(student.p, abs=0.01)
    assert sign_flip(values, seed=1) != found


@pytest.mark.parametrize("method", DRAWN)
def test_with_many_normal_clusters_all_are_students(method) -> None:
    values = np.random.default_rng(0).normal(1.0, 2.0, 200)
    found, student = method(values), t_interval(values)
    assert (found.low, found.high) == pytest.approx((student.low, student.high), abs=0.03)


@pytest.mark.parametrize("method", DRAWN)
def test_p_and_interval_agree(method) -> None:
    found = method(SKEWED)
    for null in (found.low - 0.02, found.low + 0.02, found.high - 0.02, found.high + 0.02):
        inside = found.low < null < found.high
        again = method(SKEWED, null=null)
        assert again.excludes != inside
        assert (again.p > 0.05) == inside


@pytest.mark.parametrize("method", EVERY)
def test_moved_stretched_and_turned_values(method) -> None:
    found = method(SKEWED)
    moved = method(3 + 2 * SKEWED)
    assert (moved.low, moved.high) == pytest.approx((3 + 2 * found.low, 3 + 2 * found.high))
    turned = method(-SKEWED)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-5)
    assert turned.p == pytest.approx(found.p)
    assert method(SKEWED, seed=0) == found if method in DRAWN else True


def test_bootstrap_t_follows_skewness() -> None:
    found, student = bootstrap_t(SKEWED), t_interval(SKEWED)
    assert found.high > student.high + 0.3
    assert found.low > student.low + 0.1


def test_webbs_weights() -> None:
    """Mean 0, variance 1 and fourth moment 7/6."""
    weights = np.concatenate([WEBB, -WEBB])
    assert weights.mean() == pytest.approx(0)
    assert (weights**2).mean() == pytest.approx(1)
    assert (weights**4).mean() == pytest.approx(7 / 6)


def test_equal_values_have_no_width() -> None:
    for method in (t_interval, percentile, bootstrap_t, wild_cluster):
        found = method([2.0] * 6)
        assert (found.low, found.high, found.excludes) == (2.0, 2.0, True)
        assert found.p < 0.05


# Rates at which no effect is called one: those of an independent run with 4, 8 and 10 clusters.
RATES = {
    ("normal", t_interval): (0.045, 0.049, 0.045),
    ("skewed", t_interval): (0.121, 0.108, 0.097),
    ("normal", percentile): (0.190, 0.116, 0.102),
    ("skewed", percentile): (0.249, 0.161, 0.137),
    ("normal", sign_flip): (0.0, 0.046, 0.044),
    ("skewed", sign_flip): (0.0, 0.095, 0.094),
    ("skewed", bootstrap_t): (None, 0.068, 0.071),
    ("normal", bootstrap_t): (None, 0.036, 0.035),
    ("skewed", wild_cluster): (None, 0.099, None),
}


@pytest.mark.parametrize(("shape", "method"), RATES, ids=lambda one: getattr(one, "__name__", one))
def test_how_often_no_effect_is_called_one(shape: str, method) -> None:
    rng = np.random.default_rng(20260101)
    runs = 100 if method is wild_cluster else 500
    options = {"draws": 199} if method in DRAWN else {}
    for n, rate in zip((4, 8, 10), RATES[shape, method], strict=True):
        if rate is None:
            continue
        size = (runs, n)
        effects = rng.normal(size=size) if shape == "normal" else rng.exponential(size=size) - 1
        found = np.mean([method(one, **options).excludes for one in effects])
        error = math.sqrt(max(rate, 0.01) * (1 - rate) * (1 / runs + 1 / 1000))
        assert abs(found - rate) < 3 * error + 0.01, (n, found)


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0, np.nan],), {}, "values"),
        (([1.0],), {}, "expected at least 2"),
        (([1.0, 2.0], ["a", "a"]), {}, "clusters has 1 cluster"),
        (([1.0, 2.0], ["a"]), {}, "clusters 1"),
        (([1.0, 2.0], [0.0, np.nan]), {}, "clusters"),
        (([[1.0, 2.0]],), {}, "values"),
        ((["1", "2"],), {}, "values"),
        (([1.0, 2.0],), {"level": 95}, "level"),
        (([1.0, 2.0],), {"null": np.inf}, "null"),
    ],
)
def test_bad_input_is_named(method, arguments, options, message) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        method(*arguments, **options)


@pytest.mark.parametrize("method", DRAWN)
def test_bad_draws_are_named(method) -> None:
    with pytest.raises(ValueError, match="draws"):
        method([1.0, 2.0], draws=9)
    with pytest.raises((TypeError, ValueError), match="seed"):
        method([1.0, 2.0], seed=1.5)
