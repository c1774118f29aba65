"""Detectors: causal, batched, and equal to their definitions."""

import math

import numpy as np
import ordpy
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.collapse_warning.detectors import (
    AC1,
    AlwaysAlarm,
    Bocpd,
    Cusum,
    Detector,
    Ewma,
    Glr,
    Level,
    MatrixProfile,
    NeverAlarm,
    PageHinkley,
    PermutationEntropy,
    Persistent,
    Variance,
    textbook,
)
from lib.collapse_warning.peers import same_alarms

RNG = np.random.default_rng(7)
X = RNG.normal(size=(5, 60)).cumsum(axis=1) / 3
ALL = (*textbook(12), Glr(12), Persistent(Variance(8), 3), AlwaysAlarm(), NeverAlarm())


@pytest.mark.parametrize("detector", ALL, ids=lambda d: d.name)
def test_scores_are_causal_and_do_not_mix_units(detector):
    assert isinstance(detector, Detector)
    scores = detector(X)
    assert scores.shape == X.shape
    assert not np.isnan(scores).any()
    changed = X.copy()
    changed[:, 40:] += 5
    np.testing.assert_array_equal(detector(changed)[:, :40], scores[:, :40])
    np.testing.assert_allclose(detector(X[2:3])[0], scores[2], atol=1e-12)


@pytest.mark.parametrize("detector", ALL, ids=lambda d: d.name)
def test_constant_series_do_not_break(detector):
    scores = detector(np.ones((2, 40)))
    assert not np.isnan(scores).any()
    assert not np.isposinf(scores).any()


def test_rolling_scores_equal_pandas():
    for row, variance, ac1 in zip(X, Variance(10)(X), AC1(10)(X), strict=True):
        series = pd.Series(row)
        np.testing.assert_allclose(variance[9:], series.rolling(10).var()[9:], atol=1e-12)
        expected = series.rolling(10).apply(lambda w: pd.Series(w).autocorr(1))
        np.testing.assert_allclose(ac1[9:], expected[9:], atol=1e-12)
    np.testing.assert_allclose(Variance(10, ddof=0)(X)[:, 9], X[:, :10].var(axis=1), atol=1e-12)


def test_cusum_and_ewma_equal_a_scalar_loop():
    for row, cusum, ewma in zip(X, Cusum(0.5, 20)(X), Ewma(0.3, 20)(X), strict=True):
        z = (row - row[:20].mean()) / row[:20].std(ddof=1)
        total = mean = 0.0
        for step, t in enumerate(range(20, len(row)), 1):
            total = max(0.0, total + z[t] - 0.5)
            mean = 0.7 * mean + 0.3 * z[t]
            spread = 0.3 / 1.7 * (1 - 0.7 ** (2 * step))
            assert cusum[t] == pytest.approx(total)
            assert ewma[t] == pytest.approx(mean / math.sqrt(spread))
        assert np.isneginf(cusum[:20]).all()


def test_glr_is_the_best_likelihood_ratio_over_all_starts():
    for row, score in zip(X, Glr(20)(X), strict=True):
        z = (row - row[:20].mean()) / row[:20].std(ddof=1)
        for t in (20, 33, 59):
            rises = [z[start : t + 1] for start in range(20, t + 1)]
            expected = max(max(0.0, rise.sum()) ** 2 / (2 * len(rise)) for rise in rises)
            assert score[t] == pytest.approx(expected)
        assert np.isneginf(score[:20]).all()


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_standardised_scores_do_not_depend_on_unit_and_origin(scale, shift):
    for detector in (Cusum(0.5, 20), Ewma(0.3, 20), Glr(20), Bocpd(reference=20)):
        np.testing.assert_allclose(
            detector(X * scale + shift)[:, 20:], detector(X)[:, 20:], rtol=1e-6, atol=1e-7
        )


def test_ac1_survives_a_spike():
    x = RNG.normal(size=(1, 40))
    x[0, 25] = 1e6
    series = pd.Series(x[0])
    expected = series.rolling(10).apply(lambda w: pd.Series(w).autocorr(1))
    np.testing.assert_allclose(AC1(10)(x)[0, 9:], expected[9:], atol=1e-9)


def test_page_hinkley_alarms_where_river_does():
    assert same_alarms(X, threshold=2.0, delta=0.05, least=10).all()


def test_permutation_entropy_equals_ordpy():
    scores = PermutationEntropy(3, 1, 20)(X)
    for row, score in zip(X, scores, strict=True):
        for t in (19, 33, 59):
            expected = ordpy.permutation_entropy(row[t - 19 : t + 1], dx=3, taux=1)
            assert score[t] == pytest.approx(-expected, abs=1e-12)


def test_low_entropy_alarms():
    rising, noise = np.arange(40.0), RNG.normal(size=40)
    score = PermutationEntropy(3, 1, 20)(np.array([rising, noise]))
    assert score[0, -1] == 0
    assert score[1, -1] < score[0, -1]


def test_matrix_profile_is_the_nearest_earlier_distance():
    scores = MatrixProfile(6)(X)
    for row, score in zip(X, scores, strict=True):
        for t in (20, 59):
            last = row[t - 5 : t + 1]
            earlier = [row[s - 5 : s + 1] for s in range(5, t - 1)]

            def z(w):
                return (w - w.mean()) / w.std()

            nearest = min(np.linalg.norm(z(last) - z(w)) for w in earlier)
            assert score[t] == pytest.approx(nearest, abs=1e-7)


def test_bocpd_sees_a_jump():
    x = RNG.normal(size=(1, 80))
    x[0, 50:] += 8
    score = Bocpd(reference=20)(x)[0]
    assert score[51] > 0.9
    assert score[49] < 0.5
    assert ((score[20:] >= 0) & (score[20:] <= 1 + 1e-12)).all()


@settings(max_examples=30)
@given(st.integers(1, 6), st.floats(-2, 2))
def test_persistence_is_consecutive_exceedance(k, threshold):
    inner = Level()(X)
    outer = Persistent(Level(), k)(X)
    for row, peak in zip(inner, outer.max(axis=1), strict=True):
        run = longest = 0
        for value in row:
            run = run + 1 if value >= threshold else 0
            longest = max(longest, run)
        assert (peak >= threshold) == (longest >= k)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Variance(1),
        lambda: Variance(5, ddof=2),
        lambda: AC1(2),
        lambda: Cusum(-1),
        lambda: Ewma(1.0),
        lambda: Glr(1),
        lambda: PageHinkley(-0.1),
        lambda: PageHinkley(forgetting=0),
        lambda: PermutationEntropy(8),
        lambda: PermutationEntropy(3, 2, 4),
        lambda: MatrixProfile(2),
        lambda: Bocpd(hazard=1),
        lambda: Persistent(Level(), 0),
        lambda: textbook(4),
        lambda: Level()([1.0, 2.0]),
        lambda: Level()([[1.0, np.nan]]),
    ],
)
def test_bad_settings_and_values_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_short_series_never_alarm():
    assert np.isneginf(Variance(10)(np.zeros((1, 5)))).all()
    assert np.isneginf(Cusum(reference=30)(np.zeros((1, 5)))).all()
