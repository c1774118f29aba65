"""Effect sizes and their intervals, against direct computation and SciPy."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, norm
from sklearn.metrics import roc_auc_score

from lib.collapse_warning.effects import ClusteredEffect, auc, bca_interval, cohen_d, glass_d
from lib.collapse_warning.quantile import QuantileDetector

RNG = np.random.default_rng(3)
CLUSTER = np.repeat(np.arange(12), 9)
EVENT = CLUSTER < 5
VALUE = RNG.integers(0, 9, size=len(CLUSTER)) + 0.5 * EVENT


def test_points_equal_direct_computation():
    a, b = VALUE[EVENT], VALUE[~EVENT]
    table = ClusteredEffect.from_rows(VALUE, CLUSTER, EVENT).bootstrap(200)
    assert table.loc["cohen_d", "point"] == pytest.approx(cohen_d(a, b))
    assert table.loc["glass_d", "point"] == pytest.approx(glass_d(a, b))
    assert table.loc["auc", "point"] == pytest.approx(auc(a, b))
    assert auc(a, b) == pytest.approx(roc_auc_score(EVENT, VALUE))


def test_reweighting_equals_a_true_resample():
    effect = ClusteredEffect.from_rows(VALUE, CLUSTER, EVENT)
    drawn = np.r_[RNG.integers(0, 5, 5), RNG.integers(5, 12, 7)]
    weights = np.bincount(drawn, minlength=12)
    rows = np.concatenate([np.flatnonzero(c == CLUSTER) for c in drawn])
    a, b = VALUE[rows][EVENT[rows]], VALUE[rows][~EVENT[rows]]
    found = effect.measures(weights)
    assert found["cohen_d"][0] == pytest.approx(cohen_d(a, b))
    assert found["auc"][0] == pytest.approx(auc(a, b))


def test_bca_equals_scipy():
    samples = (RNG.exponential(size=20), RNG.exponential(size=30))

    def gap(a, b, axis=-1):
        return a.mean(axis=axis) - b.mean(axis=axis)

    theirs = bootstrap(samples, gap, n_resamples=999, rng=np.random.default_rng(0))
    left = [
        np.array([gap(np.delete(samples[0], i), samples[1]) for i in range(20)]),
        np.array([gap(samples[0], np.delete(samples[1], i)) for i in range(30)]),
    ]
    ours = bca_interval(theirs.bootstrap_distribution, gap(*samples), left)
    np.testing.assert_allclose(ours, theirs.confidence_interval, atol=1e-12)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_bca_knows_a_tie_that_was_summed_in_another_order(unit):
    # 40 of 121 resamples are the data again, one of which differs in the last bit.
    drawn = unit * np.r_[np.linspace(-1, 1, 81), [0.3] * 39, 0.1 + 0.2]
    left = [unit * np.array([0.1, 0.3, 0.5])]
    bias = norm.ppf((52 + 41 / 2) / 121)
    expected = np.quantile(drawn, norm.cdf(2 * bias + norm.ppf([0.025, 0.975])))
    for point in (unit * 0.3, unit * (0.1 + 0.2)):
        assert bca_interval(drawn, point, left) == pytest.approx(tuple(expected), rel=1e-12)


@pytest.mark.parametrize("measure", ["cohen_d", "glass_d", "auc"])
def test_cluster_intervals_equal_scipys_on_the_same_resamples(measure):
    effect = ClusteredEffect.from_rows(VALUE, CLUSTER, EVENT)

    def statistic(first, second):
        return effect.measures(np.bincount(np.r_[first, second].astype(int), minlength=12))[
            measure
        ][0]

    samples = (np.arange(5.0), np.arange(5.0, 12.0))
    results = {
        method: bootstrap(
            samples,
            statistic,
            n_resamples=400,
            method=method,
            vectorized=False,
            rng=np.random.default_rng(0),
        )
        for method in ("percentile", "BCa")
    }
    drawn = results["BCa"].bootstrap_distribution
    without = effect.measures(1 - np.eye(12))[measure]
    point = effect.measures(np.ones(12))[measure][0]
    ours = bca_interval(drawn, point, [without[:5], without[5:]])
    np.testing.assert_allclose(ours, results["BCa"].confidence_interval, atol=1e-10)
    # Our own draws are others: the ends agree up to the error of so many resamples.
    table = effect.bootstrap(10_000, seed=0).loc[measure]
    spread = drawn.std()
    for low, high, theirs in (
        (table["low"], table["high"], results["percentile"].confidence_interval),
        (table["bca_low"], table["bca_high"], results["BCa"].confidence_interval),
    ):
        np.testing.assert_allclose([low, high], theirs, atol=0.4 * spread)


def test_a_planted_effect_is_found_and_a_shuffled_one_is_not():
    planted = ClusteredEffect.from_rows(VALUE + 5 * EVENT, CLUSTER, EVENT).bootstrap(500)
    assert planted.loc["cohen_d", "low"] > 0
    mixed = np.isin(CLUSTER, RNG.permutation(12)[:5])
    null = ClusteredEffect.from_rows(VALUE - 0.5 * EVENT, CLUSTER, mixed).bootstrap(500)
    assert null.loc["cohen_d", "low"] < 0 < null.loc["cohen_d", "high"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: cohen_d([1.0], [1.0, 2.0]),
        lambda: auc([1.0, np.nan], [1.0, 2.0]),
        lambda: ClusteredEffect.from_rows(VALUE[:-1], CLUSTER, EVENT),
        lambda: ClusteredEffect.from_rows(VALUE, CLUSTER, CLUSTER < 1),
        lambda: ClusteredEffect.from_rows(VALUE, CLUSTER, EVENT).bootstrap(5),
        lambda: QuantileDetector(0, 3),
        lambda: QuantileDetector(95, 0),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_a_mixed_cluster_is_refused():
    with pytest.raises(ValueError, match="event and control"):
        ClusteredEffect.from_rows(VALUE, CLUSTER, np.arange(len(VALUE)) % 2 == 0)


def rows():
    return pd.DataFrame(
        {
            "unit": ["a"] * 5 + ["b"] * 5,
            "time": [*range(5)] * 2,
            "G": [0, 9, 9, 9, 0, 9, 0, 9, 0, 9],
            "p": 1.0,
            "delta": 0.0,
        }
    )


def test_the_quantile_detector_wants_rows_in_a_row():
    from lib.collapse_warning.quantile import Thresholds

    limits = Thresholds(1, 0, 1)
    assert QuantileDetector(90, 3).alarmed(rows(), limits).to_dict() == {"a": True, "b": False}
    assert QuantileDetector(90, 4).alarmed(rows(), limits).to_dict() == {"a": False, "b": False}
    assert QuantileDetector(90, 1).alarmed(rows(), limits).all()


def test_the_running_score_counts_rows_in_a_row_whatever_their_order():
    from lib.collapse_warning.quantile import Thresholds

    limits, table = Thresholds(1, 0, 1), rows()
    score = QuantileDetector(90, 3).score(table, limits)
    assert score.tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 0, 1]
    mixed = table.sample(frac=1, random_state=1)
    assert QuantileDetector(90, 3).score(mixed, limits).sort_index().equals(score)


def test_quantiles_of_event_rows_are_refused():
    with pytest.raises(ValueError, match="control rows only"):
        QuantileDetector().fit(rows().assign(is_event=True))
    with pytest.raises(ValueError, match="finite"):
        QuantileDetector().fit(rows().assign(p=np.nan))
    with pytest.raises(ValueError, match="column is 'delta'"):
        QuantileDetector().fit(rows().drop(columns="delta"))
