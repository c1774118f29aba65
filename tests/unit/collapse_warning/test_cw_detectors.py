"""Detectors: causal, batched, and equal to their definitions."""

import math
import tracemalloc

import numpy as np
import ordpy
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from lib.collapse_warning import detectors
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
    Mirrored,
    NeverAlarm,
    PageHinkley,
    PermutationEntropy,
    Variance,
    textbook,
)
from lib.collapse_warning.study.peers import same_alarms

RNG = np.random.default_rng(7)
X = RNG.normal(size=(5, 60)).cumsum(axis=1) / 3
ALL = (
    *textbook(12),
    Glr(12),
    Glr(12, 5),
    PageHinkley(reference=0),
    Bocpd(reference=12, keep=9),
    Mirrored(Cusum(reference=12), "both"),
    Mirrored(Variance(12), "low"),
    AlwaysAlarm(),
    NeverAlarm(),
)


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


@pytest.mark.parametrize("window", [2, 3, 7, 13, 59, 60])
def test_every_window_is_joined_of_two_blocks(window):
    for row, variance in zip(X, Variance(window)(X), strict=True):
        expected = [row[t - window + 1 : t + 1].var(ddof=1) for t in range(window - 1, 60)]
        np.testing.assert_allclose(variance[window - 1 :], expected, rtol=1e-9, atol=1e-13)
        assert np.isneginf(variance[: window - 1]).all()
    if window > 3:
        for row, ac1 in zip(X, AC1(window)(X), strict=True):
            parts = [row[t - window + 1 : t + 1] for t in range(window - 1, 60)]
            expected = [np.corrcoef(one[:-1], one[1:])[0, 1] for one in parts]
            np.testing.assert_allclose(ac1[window - 1 :], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("window", [3, 4, 7, 30, 59, 60, 61])
@pytest.mark.parametrize("chunk", [1, 20, 61, 100])
def test_units_and_times_are_taken_some_at_a_time(monkeypatch, chunk, window):
    """Where pieces are cut changes no bit."""
    ones = (Variance(window), Variance(window, ddof=0), AC1(window))
    flat = np.r_[X, 0 * X[:1], np.repeat(X[:1, ::15], 15, axis=1)]
    whole = [one(flat).tobytes() for one in ones]
    monkeypatch.setattr(detectors, "_CHUNK", chunk)
    assert [one(flat).tobytes() for one in ones] == whole


@pytest.mark.parametrize("detector", [Variance(30), AC1(30)], ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(100, 400), (1, 100_000), (200, 2000)])
def test_rolling_scores_take_little_memory(detector, shape):
    x = np.zeros(shape)
    tracemalloc.start()
    detector(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 11 * x.nbytes


def test_nothing_cancels_after_a_spike_or_far_from_zero():
    x = np.random.default_rng(2).normal(size=(1, 80))
    spiked = x.copy()
    spiked[0, 20] = 1e12
    np.testing.assert_array_equal(Variance(10)(spiked)[:, 30:], Variance(10)(x)[:, 30:])
    np.testing.assert_allclose(Variance(10)(x + 1e8)[:, 9:], Variance(10)(x)[:, 9:], rtol=1e-6)
    np.testing.assert_allclose(AC1(10)(x + 1e8)[:, 9:], AC1(10)(x)[:, 9:], atol=1e-5)


def test_constant_windows_have_no_autocorrelation_in_any_unit():
    for factor in (1e-13, 0.1, 1e9):
        x = factor * np.r_[np.ones(10), 1 + np.arange(10) % 3][None]
        score = AC1(5)(x)[0]
        assert np.isneginf(score[:12]).all()
        assert np.isfinite(score[12:]).all()


def test_the_reference_of_constant_values_gives_no_scale():
    x = np.r_[np.full(30, 0.3), np.arange(10.0)][None]
    for detector in (Cusum(), Ewma(), Glr(), Bocpd(), PageHinkley()):
        assert np.isneginf(detector(x)).all()
        assert np.isneginf(detector(x * 1e-13)).all()


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


def test_a_windowed_glr_looks_back_so_far():
    full, short = Glr(20, 100)(X), Glr(20, 4)(X)
    assert (short <= full + 1e-12).all()
    for row, score in zip(X, short, strict=True):
        z = (row - row[:20].mean()) / row[:20].std(ddof=1)
        rises = [z[start:50].sum() for start in range(46, 50)]
        expected = max(max(0.0, r) ** 2 / (2 * n) for r, n in zip(rises, (4, 3, 2, 1), strict=True))
        assert score[49] == pytest.approx(expected)


def test_bocpd_equals_the_recursion_written_out():
    x = np.random.default_rng(4).normal(size=45)
    x[38:] += 3
    z = (x - x[:20].mean()) / x[:20].std(ddof=1)
    hazard = 1 / 60
    runs = {0: 1.0}
    for t, value in enumerate(z):
        joint = {}
        for r, p in runs.items():
            seen = z[t - r : t]
            kappa, alpha = 1 + r, 1 + r / 2
            mu = seen.sum() / kappa
            beta = 1 + 0.5 * ((seen**2).sum() - kappa * mu**2)
            scale = math.sqrt(beta * (kappa + 1) / (alpha * kappa))
            joint[r] = p * student.pdf(value, 2 * alpha, mu, scale)
        runs = {r + 1: p * (1 - hazard) for r, p in joint.items()}
        runs[0] = hazard * sum(joint.values())
        total = sum(runs.values())
        runs = {r: p / total for r, p in runs.items()}
    expected = sum(p for r, p in runs.items() if r <= 5)
    assert Bocpd(reference=20)(x[None])[0, -1] == pytest.approx(expected, rel=1e-9)
    for short in (3, 10):
        expected = sum(p for r, p in runs.items() if r <= short)
        assert Bocpd(short=short, reference=20)(x[None])[0, -1] == pytest.approx(expected)


def test_bocpd_with_few_runs_is_close_to_all():
    x = np.random.default_rng(0).normal(size=(4, 500))
    x[:2, 250:] += 1
    exact = Bocpd(keep=10_000)(x)[:, 30:]
    assert np.abs(Bocpd(keep=100)(x)[:, 30:] - exact).max() < 0.01
    assert 1e-6 < np.abs(Bocpd(keep=30)(x)[:, 30:] - exact).max() < 0.1
    np.testing.assert_array_equal(Bocpd(keep=600)(x)[:, 30:], exact)


def test_page_hinkley_in_standard_deviations_and_in_units():
    x = np.random.default_rng(1).normal(size=60)
    z = (x - x[:20].mean()) / x[:20].std(ddof=1)
    for values, reference in ((z, 20), (x, 0)):
        total = summed = 0.0
        lowest = math.inf
        expected = []
        for count, value in enumerate(values, 1):
            summed += value
            total = total * 0.99 + value - summed / count - 0.1
            lowest = min(lowest, total)
            expected.append(total - lowest)
        found = PageHinkley(0.1, 0.99, reference)(x[None])[0]
        np.testing.assert_allclose(found[reference:], expected[reference:], atol=1e-9)
        assert np.isneginf(found[:reference]).all()


def test_mirrored_detectors():
    cusum = Cusum(reference=20)
    np.testing.assert_array_equal(Mirrored(cusum, "up")(X), cusum(X))
    np.testing.assert_array_equal(Mirrored(cusum, "down")(X), cusum(-X))
    np.testing.assert_allclose(
        Mirrored(cusum, "both")(X)[:, 20:], np.maximum(cusum(X), cusum(-X))[:, 20:], atol=1e-9
    )
    usual = np.median(X[:, 0])
    np.testing.assert_array_equal(Mirrored(Level(), "both")(X), np.abs(X - usual))
    assert Mirrored(cusum, "both").name == "CUSUM(0.5), either way"
    with pytest.raises(ValueError, match="mode is 'sideways'"):
        Mirrored(cusum, "sideways")


@pytest.mark.parametrize("detector", [*textbook(12), Glr(12)], ids=lambda d: d.name)
def test_names_say_whether_a_mirror_changes_anything(detector):
    even = np.allclose(detector(X), detector(-X), atol=1e-9)
    for mode, words in {"down": ", falls", "both": ", either way"}.items():
        assert Mirrored(detector, mode).name == detector.name + ("" if even else words)
    assert Mirrored(detector, "up").name == detector.name


def test_low_turns_the_score_and_leaves_what_has_none():
    low = Mirrored(Variance(12), "low")
    assert low.name == "variance(12), low"
    np.testing.assert_array_equal(low(X)[:, 11:], -Variance(12)(X)[:, 11:])
    assert np.isneginf(low(X)[:, :11]).all()


def test_matrix_profile_in_parts_equals_the_whole():
    x = np.random.default_rng(5).normal(size=(1, 700))
    x[0, 100:120] = 2.0
    score = MatrixProfile(8)(x)[0]
    windows = np.lib.stride_tricks.sliding_window_view(x[0], 8)
    with np.errstate(invalid="ignore"):
        z = (windows - windows.mean(axis=1)[:, None]) / windows.std(axis=1)[:, None]
    for at in (262, 300, 513, 692):
        far = np.linalg.norm(z[at] - z[: at - 1], axis=1)
        expected = min(np.nanmin(far), math.sqrt(8) if at > 113 else np.inf)
        assert score[at + 7] == pytest.approx(expected, abs=1e-6)
    assert score[107 + 5] == 0  # a constant stretch is like the one before
    assert np.isneginf(score[:9]).all()


@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_standardised_scores_do_not_depend_on_unit_and_origin(scale, shift):
    for detector in (
        Cusum(0.5, 20),
        Ewma(0.3, 20),
        Glr(20),
        Bocpd(reference=20),
        PageHinkley(reference=20),
    ):
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
        lambda: PageHinkley(reference=1),
        lambda: Glr(window=0),
        lambda: Bocpd(keep=6),
        lambda: Variance(2.5),
        lambda: Cusum(float("nan")),
        lambda: PermutationEntropy(8),
        lambda: PermutationEntropy(3, 2, 4),
        lambda: MatrixProfile(2),
        lambda: Bocpd(hazard=1),
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


def test_whole_numbers_are_kept_as_such():
    for one in (AC1(3.0), Cusum(reference=12.0), Glr(12.0, 5.0), MatrixProfile(4.0)):
        plain = type(one)(*(int(v) if v == int(v) else v for v in vars(one).values()))
        assert one == plain
        np.testing.assert_array_equal(one(X), plain(X))
    assert type(AC1(3.0).window) is int
    assert textbook(20.0) == textbook(20)


@pytest.mark.parametrize("detector", [Cusum(), Ewma(), Glr()], ids=lambda d: d.name)
def test_units_as_short_as_the_reference_have_no_score(detector):
    for steps in (1, 29, 30):
        scores = detector(X[:, :steps])
        assert scores.shape == (5, steps)
        assert np.isneginf(scores).all()
    assert np.isfinite(detector(X[:, :31])[:, 30]).all()
