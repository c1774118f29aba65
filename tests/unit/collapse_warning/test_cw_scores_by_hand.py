"""Detectors at their edges: flat windows, short series, pieces, kept runs; and their names."""

import math

import numpy as np
import ordpy
import pytest
from scipy.stats import t as student

from lib.collapse_warning import detectors
from lib.collapse_warning.detectors import (
    AC1,
    AlwaysAlarm,
    Bocpd,
    Cusum,
    Ewma,
    Glr,
    Level,
    MatrixProfile,
    Mirrored,
    NeverAlarm,
    PageHinkley,
    PermutationEntropy,
    Variance,
)

RNG = np.random.default_rng(11)
X = RNG.normal(size=(3, 50))


def never(scores):
    return np.isneginf(scores).all()


def test_values_are_brought_near_one_without_a_digit() -> None:
    x = np.array([[3.0, -10.0, 1.0], [0.0, 0.0, 0.0], [0.75, 0.1, 0.2], [2.0, 1.0, -2.0]])
    scaled, power = detectors._scaled(x)
    assert power.tolist() == [[8], [1], [0.5], [2]]
    assert scaled.tolist() == (x / np.array([[8], [1], [0.5], [2]])).tolist()


@pytest.mark.parametrize("unit", [1e-120, 1e-9, 1.0, 1e9, 1e120])
def test_squares_neither_vanish_nor_overflow(unit) -> None:
    expected = np.array([X[:, t - 6 : t + 1].var(axis=1, ddof=1) for t in range(6, 50)]).T
    found = Variance(7)(X * unit)[:, 6:]
    np.testing.assert_allclose(found / unit / unit, expected, rtol=1e-12)
    np.testing.assert_allclose(AC1(7)(X * unit)[:, 6:], AC1(7)(X)[:, 6:], rtol=1e-9, atol=1e-9)
    for one in (Cusum(0.5, 10), Ewma(0.2, 10), Glr(10), Bocpd(reference=10)):
        np.testing.assert_allclose(one(X * unit)[:, 10:], one(X)[:, 10:], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(MatrixProfile(7)(X * unit), MatrixProfile(7)(X), atol=1e-6)


def test_standard_scores_of_the_first_values() -> None:
    x = np.array([[1.0, 3.0, 2.0, 6.0], [5.0, 5.0, 5.0, 9.0]])
    z, flat = detectors._standardised(x, 3)
    assert z[0] == pytest.approx([-1, 1, 0, 4])
    assert z[1].tolist() == [0, 0, 0, 0]
    assert flat.tolist() == [False, True]
    z, flat = detectors._standardised(x, 2)
    assert z[0] == pytest.approx(np.array([-1, 1, 0, 4]) / math.sqrt(2))
    z, flat = detectors._standardised(x[:, :1], 3)
    assert z.tolist() == [[0], [0]]
    assert flat.tolist() == [True, True]


@pytest.mark.parametrize(
    ("spread", "flat"), [(1e-13, True), (5e-13, True), (4e-12, False), (1e-9, False)]
)
@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_flat_up_to_rounding(spread, flat, size) -> None:
    """A spread below 1e-12 of the largest value is none."""
    turn = np.where(np.arange(40) % 2, 1.0, -1.0)
    x = size * (1 + spread * turn)[None]
    for one in (Cusum(0.5, 20), Ewma(0.2, 20), Glr(20), Bocpd(reference=20)):
        assert never(one(x)) == flat
    found = AC1(8)(x)[0, 7:]
    assert np.isneginf(found).all() == flat
    if spread == 1e-9:
        assert found == pytest.approx(np.full(33, -1), abs=1e-5)
    # Two flat windows are alike; a zigzag is like itself two steps before.
    profile = MatrixProfile(8)(x)[0, 10:]
    assert profile == pytest.approx(np.zeros(30), abs=1e-3)
    mixed = np.c_[x, size * RNG.normal(size=(1, 20))]
    apart = MatrixProfile(8)(mixed)[0, -1]
    assert (apart <= math.sqrt(8) + 1e-12) or not flat


def test_zeros_have_no_autocorrelation() -> None:
    x = np.zeros((1, 20))
    assert never(AC1(5)(x))
    assert Variance(5)(x)[0, 4:].tolist() == [0] * 16
    assert MatrixProfile(4)(x)[0, 4:].tolist() == [0] * 16
    x[0, 10] = 1
    found = AC1(5)(x)[0]
    # The one must stand in both parts of the window: not first, not last.
    assert np.flatnonzero(np.isfinite(found)).tolist() == [11, 12, 13]
    assert found[11:14] == pytest.approx([-1 / 3] * 3)
    assert not np.isnan(found).any()


def test_an_old_spike_makes_no_later_window_flat() -> None:
    x = np.r_[1e9, np.tile([1.0, 1.0 + 1e-6], 20)][None]
    found = AC1(6)(x)[0]
    assert np.isneginf(found[:5]).all()
    assert found[6:] == pytest.approx(np.full(35, -1), abs=1e-3)
    # In the window itself it does: the rest is flat beside it.
    assert np.isneginf(AC1(6)(np.r_[np.tile([1.0, 1.0 + 1e-6], 5), 1e9][None])[0, -1])


@pytest.mark.parametrize("width", [1, 2, 3, 7, 49, 50])
def test_the_largest_of_every_window(width) -> None:
    expected = [np.abs(X[:, t : t + width]).max(axis=1) for t in range(51 - width)]
    assert detectors._largest(X, width).tolist() == np.array(expected).T.tolist()


@pytest.mark.parametrize("width", [1, 2, 3, 7, 24, 25, 26, 49, 50])
def test_moments_of_every_window(width) -> None:
    y = RNG.normal(size=X.shape) + 3
    found = detectors._moments(X, y, width)
    for t in range(51 - width):
        a, b = (one[:, t : t + width] for one in (X, y))
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        for part, expected in zip(found, (a * a, b * b, a * b), strict=True):
            assert part[:, t] == pytest.approx(expected.sum(axis=1), abs=1e-12)
    assert [one.shape for one in found] == [(3, 51 - width)] * 3


@pytest.mark.parametrize(
    ("shape", "window", "block", "rows", "steps"),
    [
        # 8192 // 240 = 34 units, 8192 // 34 // 30 = 8 blocks of 30: 240 windows at a time.
        ((100, 400), 30, 30, [34, 34, 32], [240, 131]),
        ((100, 400), 31, 30, [34, 34, 32], [240, 130]),
        # One unit: 273 blocks.
        ((1, 20_000), 30, 30, [1], [8190, 8190, 3591]),
        # Short series: 8192 // 40 = 204 units, one block.
        ((300, 40), 30, 30, [204, 96], [11]),
        # 8 * 5 = 40: 204 units, 8192 // 204 // 5 = 8 blocks.
        ((210, 100), 5, 5, [204, 6], [40, 40, 16]),
        # As many windows as fit: no rest is left over.
        ((1, 8219), 30, 30, [1], [8190]),
        # A window longer than there is room for: one unit, one block.
        ((1, 30_000), 9000, 9000, [1], [9000, 9000, 3001]),
        ((2, 30_000), 20_000, 20_000, [1, 1], [10_001]),
    ],
)
def test_pieces_have_room_for_so_many_values(shape, window, block, rows, steps) -> None:
    seen = []

    def score(part):
        seen.append(part.shape)
        return part[:, window - 1 :]

    x = np.arange(float(np.prod(shape))).reshape(shape)
    found = detectors._pieces(x, window, block, score)
    assert seen == [(n, t + window - 1) for n in rows for t in steps]
    assert never(found[:, : window - 1])
    assert (found[:, window - 1 :] == x[:, window - 1 :]).all()


def test_series_shorter_than_a_window_have_no_piece() -> None:
    assert never(detectors._pieces(X[:, :4], 5, 5, lambda part: 1 / 0))
    one = [d(X[:, :6]) for d in (Variance(6), AC1(6), PermutationEntropy(window=6))]
    for scores in one:
        assert np.isfinite(scores[:, 5]).all()
        assert never(scores[:, :5])
    for one in (Variance(7), AC1(7), PermutationEntropy(window=7), MatrixProfile(6)):
        assert never(one(X[:, :6]))


def test_variances_of_both_divisors() -> None:
    x = np.array([[1.0, 2.0, 6.0, 6.0]])
    assert Variance(3)(x)[0, 2:] == pytest.approx([7, 16 / 3])
    assert Variance(3, ddof=0)(x)[0, 2:] == pytest.approx([14 / 3, 32 / 9])


def test_sums_by_hand() -> None:
    # Mean 0 and standard deviation 1 of the first three.
    x = np.array([[-1.0, 0.0, 1.0, 2.0, -3.0, 1.0, 1.0]])
    assert Cusum(0.5, 3)(x)[0, 3:] == pytest.approx([1.5, 0, 0.5, 1.0])
    assert Cusum(0, 3)(x)[0, 3:] == pytest.approx([2, 0, 1, 2])
    # Halves of halves, over the root of a third times 1 - 4⁻ⁿ.
    means, spreads = [1, -1, 0, 0.5], [1 / 4, 5 / 16, 21 / 64, 85 / 256]
    expected = [m / math.sqrt(s) for m, s in zip(means, spreads, strict=True)]
    assert Ewma(0.5, 3)(x)[0, 3:] == pytest.approx(expected)
    # The best of all starts: 2² / 2; the last two: 2² / 4.
    assert Glr(3)(x)[0, 3:] == pytest.approx([2, 0, 0.5, 1])
    assert Glr(3, 1)(x)[0, 3:] == pytest.approx([2, 0, 0.5, 0.5])
    rising = np.array([[-1.0, 0.0, 1.0, 1.0, 1.0, 1.0]])
    assert Glr(3)(rising)[0, 3:] == pytest.approx([0.5, 1, 1.5])
    assert Glr(3, 2)(rising)[0, 3:] == pytest.approx([0.5, 1, 1])


def test_page_hinkley_by_hand() -> None:
    x = np.array([[0.0, 2.0, 4.0, 0.0]])
    # Excess over the running mean 0, 1, 2, 1.5: 0, 1, 2, -1.5, each less a half.
    found = PageHinkley(0.5, 1.0, 0)(x)[0]
    assert found == pytest.approx([0, 0.5, 2.0, 0.0])
    halved = PageHinkley(0.5, 0.5, 0)(x)[0]
    # Sums -0.5, 0.25, 1.625, -1.1875: above the lowest so far.
    assert halved == pytest.approx([0, 0.75, 2.125, 0])
    assert PageHinkley(0.0, 1.0, 2)(np.array([[1.0, 1.0, 5.0]]))[0].tolist() == [-np.inf] * 3


@pytest.mark.parametrize(("order", "delay"), [(2, 1), (2, 3), (3, 2), (4, 1), (4, 2), (5, 1)])
def test_entropy_of_other_patterns_equals_ordpy(order, delay) -> None:
    values = np.round(X, 1)
    scores = PermutationEntropy(order, delay, 18)(values)
    for row, score in zip(values, scores, strict=True):
        assert np.isneginf(score[:17]).all()
        for t in (17, 30, 49):
            # Small steps that rise: ties count as rising in both.
            part = row[t - 17 : t + 1] + 1e-9 * np.arange(18)
            expected = ordpy.permutation_entropy(part, dx=order, taux=delay)
            assert score[t] == pytest.approx(-expected, abs=1e-12)


def test_entropy_by_hand() -> None:
    # Steps up, down, up, up: three rises of four.
    found = PermutationEntropy(2, 1, 5)(np.array([[0.0, 2, 1, 3, 4]]))[0]
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert found.tolist() == [-np.inf] * 4 + [pytest.approx(-entropy)]
    # A window of one pattern knows that one only.
    assert PermutationEntropy(3, 2, 5)(X)[:, 4:] == pytest.approx(np.zeros((3, 46)))


@pytest.mark.parametrize(("length", "apart"), [(3, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_neighbours_that_overlap_by_three_quarters_are_left_out(length, apart) -> None:
    scores = MatrixProfile(length)(X)
    windows = np.lib.stride_tricks.sliding_window_view(X, length, axis=1)
    z = windows - windows.mean(axis=2, keepdims=True)
    z /= windows.std(axis=2, keepdims=True)
    first = length - 1 + apart
    assert never(scores[:, :first])
    for t in range(apart, z.shape[1]):
        gaps = np.linalg.norm(z[:, : t - apart + 1] - z[:, t : t + 1], axis=2)
        assert scores[:, t + length - 1] == pytest.approx(gaps.min(axis=1), abs=1e-6)
    assert never(MatrixProfile(length)(X[:, :first]))
    assert np.isfinite(MatrixProfile(length)(X[:, : first + 1])[:, -1]).all()


def test_repeated_windows_are_at_no_distance() -> None:
    pattern = RNG.normal(size=(20, 7))
    scores = MatrixProfile(7)(np.tile(pattern, 5))
    assert not np.isnan(scores).any()
    assert scores[:, 13:] == pytest.approx(np.zeros((20, 22)), abs=1e-6)


def test_flat_windows_and_others() -> None:
    x = np.r_[np.ones(8), RNG.normal(size=6), np.full(8, 3.0)][None]
    found = MatrixProfile(4)(x)[0]
    # All earlier windows are flat, the first other one is at the root of the length.
    assert found[8] == pytest.approx(2.0)
    assert found[21] == 0
    rising = np.arange(9.0)[None]
    assert MatrixProfile(4)(rising)[0, 4:] == pytest.approx(np.zeros(5), abs=1e-6)
    flat_at_last = np.r_[np.arange(8.0) ** 2, np.full(4, 60.0)][None]
    assert MatrixProfile(4)(flat_at_last)[0, -1] == pytest.approx(2.0)


def kept(x, *, hazard, short, reference, keep):
    """Run lengths as a dictionary; the least probable of the longer half leaves its share."""
    z = (x - x[:reference].mean()) / x[:reference].std(ddof=1)
    state = {0: (1.0, 0.0, 1.0)}
    scores = []
    for value in z:
        joint = {}
        for r, (p, mean, spread) in state.items():
            kappa, alpha = 1 + r, 1 + r / 2
            scale = math.sqrt(spread * (kappa + 1) / (alpha * kappa))
            off = value - mean
            joint[r + 1] = (
                p * student.pdf(value, 2 * alpha, mean, scale),
                mean + off / (kappa + 1),
                spread + kappa * off**2 / (2 * (kappa + 1)),
            )
        total = sum(p for p, _, _ in joint.values())
        state = {0: (hazard * total, 0.0, 1.0)}
        state |= {r: (p * (1 - hazard), m, s) for r, (p, m, s) in joint.items()}
        runs = sorted(state)
        if len(runs) > keep:
            longer = [r for r in runs[:-1] if r > max(short, keep // 2)]
            gone = min(longer, key=lambda r: state[r][0])
            following = runs[runs.index(gone) + 1]
            p, mean, spread = state[following]
            state[following] = (p + state.pop(gone)[0], mean, spread)
        total = sum(p for p, _, _ in state.values())
        state = {r: (p / total, m, s) for r, (p, m, s) in state.items()}
        scores.append(sum(p for r, (p, _, _) in state.items() if r <= short))
    return scores[reference:]


@pytest.mark.parametrize(
    ("short", "keep", "hazard"), [(5, 9, 1 / 60), (3, 16, 0.1), (2, 4, 0.02), (5, 7, 0.3)]
)
def test_the_least_probable_run_goes(short, keep, hazard) -> None:
    x = RNG.normal(size=(3, 60))
    x[:, 40:] += np.array([[0.0], [2.0], [5.0]])
    found = Bocpd(hazard, short, 12, keep)(x)
    assert never(found[:, :12])
    for row, score in zip(x, found, strict=True):
        expected = kept(row, hazard=hazard, short=short, reference=12, keep=keep)
        assert score[12:] == pytest.approx(expected, rel=1e-8)


def test_baselines() -> None:
    assert AlwaysAlarm()(X).tolist() == np.zeros((3, 50)).tolist()
    assert never(NeverAlarm()(X))
    assert (AlwaysAlarm().name, NeverAlarm().name) == ("always alarm", "never alarm")
    found = Level()(X)
    assert found.tolist() == X.tolist()
    assert not np.shares_memory(found, X)


def test_mirrors_by_hand() -> None:
    x = np.array([[1.0, 4.0, -2.0], [3.0, 3.0, 3.0], [9.0, 0.0, 3.0]])
    assert Mirrored(Level(), "down")(x).tolist() == (-x).tolist()
    assert Mirrored(Level(), "low")(x).tolist() == (-x).tolist()
    # The median of the first values is 3.
    assert Mirrored(Level())(x).tolist() == np.abs(x - 3).tolist()
    assert Mirrored(Level(), "low").name == "level, low"
    for one in (Variance(5), AC1(5), PermutationEntropy(), MatrixProfile(5), Bocpd()):
        assert Mirrored(one, "both").name == Mirrored(one, "down").name == one.name
        assert Mirrored(one, "low").name == f"{one.name}, low"
    for one in (Level(), Cusum(), Ewma(), PageHinkley(), Glr()):
        assert Mirrored(one, "both").name == f"{one.name}, either way"
        assert Mirrored(one, "down").name == f"{one.name}, falls"


def test_an_infinite_score_is_not_turned() -> None:
    class Odd:
        name = "odd"

        def __call__(self, values):
            return np.array([[np.inf, -np.inf, 2.0]])

    assert Mirrored(Odd(), "low")([[0.0, 0.0, 0.0]]).tolist() == [[np.inf, -np.inf, -2.0]]
