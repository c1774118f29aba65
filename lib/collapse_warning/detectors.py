"""Detectors as causal running scores, batched over units.

A detector maps values of shape ``(n_units, n_times)`` to scores of the same shape. The score at a
time uses the values up to that time only, is higher where an alarm is nearer, and is minus infinity
where it is not defined (too few values, or a window without scale). Thresholds are not part of a
detector: the contract sets them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Literal, Protocol, TypeAlias, Unpack, runtime_checkable

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from lib.collapse_warning.panel import Bools, Floats
from lib.core import check

__all__ = [
    "AC1",
    "AlwaysAlarm",
    "Bocpd",
    "Cusum",
    "Detector",
    "Ewma",
    "Glr",
    "Level",
    "MatrixProfile",
    "Mirrored",
    "Mode",
    "NeverAlarm",
    "PageHinkley",
    "PermutationEntropy",
    "Variance",
    "textbook",
]

Mode: TypeAlias = Literal["up", "down", "both", "low"]
"""What alarms: rises, falls, both, or a low score."""

_FLAT = 1e-12
"""A window whose spread is below this share of its largest value is constant up to rounding."""


@runtime_checkable
class Detector(Protocol):
    """A causal running score; see the module's text."""

    @property
    def name(self) -> str:
        """Short name for tables."""

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return scores of shape ``(n_units, n_times)``."""


def _checked(values: npt.ArrayLike) -> Floats:
    return check.array("values", values, shape=("n_units", "n_times"))


def _scaled(x: Floats) -> tuple[Floats, Floats]:
    """Values of each unit over a power of two near the largest, and that power.

    No digit changes, and squares of very small or very large values neither vanish nor overflow.
    """
    largest = np.abs(x).max(axis=1, keepdims=True)
    power = np.exp2(np.floor(np.log2(np.where(largest > 0, largest, 1.0))))
    return x / power, power


def _whole(detector: object, name: str, **bounds: Unpack[check.Bounds]) -> None:
    """Keep a whole number as one: 3.0 is 3, for it counts places."""
    object.__setattr__(detector, name, check.integer(name, getattr(detector, name), **bounds))


def _empty(x: Floats) -> Floats:
    return np.full(x.shape, -np.inf)


def _standardised(values: npt.ArrayLike, reference: int) -> tuple[Floats, Bools]:
    """Values in units of the first `reference` ones, and which rows have a scale at all."""
    x, _ = _scaled(_checked(values))
    first = x[:, :reference]
    mean = first.mean(axis=1, keepdims=True)
    scale = first.std(axis=1, ddof=1 if first.shape[1] > 1 else 0, keepdims=True)
    flat = (scale <= _FLAT * np.abs(first).max(axis=1, keepdims=True))[:, 0]
    z = np.asarray((x - mean) / np.where(flat[:, None], 1.0, scale))
    z[flat] = 0.0
    return z, flat


_CHUNK = 2**13
"""Values whose windows are scored at a time: room for some thirty numbers each, and in the cache,
whatever the panel's size."""


def _pieces(x: Floats, window: int, block: int, score: Callable[[Floats], Floats]) -> Floats:
    """Return the scores of windows, worked out for some units and some of their times at a time.

    Pieces begin where a block of `_moments` does, so that they change no digit.
    """
    scores = _empty(x)
    # Many units and few blocks: a short rest of each unit would cost as much as a whole piece.
    rows = min(len(x), max(1, _CHUNK // min(8 * block, x.shape[1])))
    span = max(1, _CHUNK // rows // block) * block
    starts = product(range(0, len(x), rows), range(0, x.shape[1] - window + 1, span))
    for unit, at in starts:
        part = np.s_[unit : unit + rows, at + window - 1 : at + window - 1 + span]
        scores[part] = score(x[part[0], at : part[1].stop])
    return scores


def _moments(x: Floats, y: Floats, width: int) -> tuple[Floats, Floats, Floats]:
    """Return sums of squares of `x` and `y`, and of products, about their means, by window.

    Every window is the end of one block of `width` values and the beginning of the next. Sums of
    beginnings and ends are updated one value at a time (Welford), for all blocks at once, and
    joined (Chan, Golub and LeVeque): as many operations for long windows as for short ones, and no
    value outside a window touches it, so nothing cancels after a spike.

    Returns
    -------
    tuple of ndarray, shape (n_units, n_times - width + 1)
    """
    n_units, n_times = x.shape
    blocks = -(-n_times // width)
    room = ((0, 0), (0, blocks * width - n_times))
    pair = np.stack([np.pad(one, room).reshape(n_units, blocks, width) for one in (x, y)])
    begin, end = _running(pair), _running(pair[..., ::-1])
    starts = np.arange(n_times - width + 1)
    block, inside = starts // width, starts % width
    # A window that starts `inside` a block takes `width - inside` values of it.
    left = np.where(inside, width - inside, width).astype(np.float64)
    right = width - left
    following = np.minimum(block + 1, blocks - 1)
    one = end[..., block, width - 1 - inside]
    two = begin[..., following, np.maximum(inside - 1, 0)] * (right > 0)
    apart = (two[:2] - one[:2]) * (right > 0)
    weight = left * right / width
    found = one[2:] + two[2:] + apart[[0, 1, 0]] * apart[[0, 1, 1]] * weight
    return found[0], found[1], found[2]


def _running(pair: Floats) -> Floats:
    """Mean of x and y, sums of squares and of products about them, after 1, 2, … values."""
    found = np.zeros((5, *pair.shape[1:]))
    state = np.zeros((5, *pair.shape[1:-1]))
    for count in range(1, pair.shape[-1] + 1):
        before = pair[..., count - 1] - state[:2]
        state[:2] += before / count
        after = pair[..., count - 1] - state[:2]
        state[2:4] += before * after
        state[4] += before[0] * after[1]
        found[..., count - 1] = state
    return found


def _largest(x: Floats, width: int) -> Floats:
    """Largest absolute value of each window, shape (n_units, n_times - width + 1)."""
    n_units, n_times = x.shape
    blocks = -(-n_times // width)
    room = ((0, 0), (0, blocks * width - n_times))
    size = np.pad(np.abs(x), room).reshape(n_units, blocks, width)
    begin = np.maximum.accumulate(size, axis=2).reshape(n_units, -1)
    end = np.maximum.accumulate(size[..., ::-1], axis=2)[..., ::-1].reshape(n_units, -1)
    starts = np.arange(n_times - width + 1)
    return np.asarray(np.maximum(end[:, starts], begin[:, starts + width - 1]))


_ROWS = 256
"""Windows of the matrix profile that are compared at a time."""


def _by_time(x: Floats) -> tuple[Floats, Floats]:
    """Values with time first, so that a step over all units is one piece of memory; and room."""
    steps = np.ascontiguousarray(x.T)
    return steps, np.empty_like(steps)


@dataclass(frozen=True)
class Level:
    """The value itself: the plainest detector there is."""

    name = "level"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the values."""
        return _checked(values).copy()


@dataclass(frozen=True)
class Variance:
    """Variance of the last `window` values, which must lie below 1e150: its square is a number.

    Parameters
    ----------
    window : int
        At least 2.
    ddof : int
        0 or 1: divide by ``window - ddof``.
    """

    window: int
    ddof: int = 1

    def __post_init__(self) -> None:
        _whole(self, "window", at_least=2)
        check.known("ddof", self.ddof, (0, 1))

    @property
    def name(self) -> str:
        """Short name."""
        return f"variance({self.window})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the rolling variance."""
        x, power = _scaled(_checked(values))
        w = self.window
        scores = _pieces(x, w, w, lambda part: _moments(part, part, w)[0] / (w - self.ddof))
        scores *= power
        scores *= power
        return scores


@dataclass(frozen=True)
class AC1:
    """Lag-one autocorrelation of the last `window` values.

    The Pearson correlation of the window without its last value and without its first. A window
    in which either part is constant has no autocorrelation and never alarms.

    Parameters
    ----------
    window : int
        At least 3.
    """

    window: int

    def __post_init__(self) -> None:
        _whole(self, "window", at_least=3)

    @property
    def name(self) -> str:
        """Short name."""
        return f"AC1({self.window})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the rolling lag-one autocorrelation."""
        x, _ = _scaled(_checked(values))
        return _pieces(x, self.window, self.window - 1, self._part)

    def _part(self, x: Floats) -> Floats:
        pairs = self.window - 1
        before, after, together = _moments(x[:, :-1], x[:, 1:], pairs)
        floor = pairs * (_FLAT * _largest(x, self.window)) ** 2
        flat = np.minimum(before, after) <= floor
        power = np.where(flat, 1.0, before) * np.where(flat, 1.0, after)
        return np.where(flat, -np.inf, together / np.sqrt(power))


@dataclass(frozen=True)
class Cusum:
    """One-sided cumulative sum of standardised values (Page).

    Parameters
    ----------
    k : float
        Allowance, in standard deviations; not negative.
    reference : int
        The first values, which give mean and standard deviation; the score starts after them. A
        unit whose first values are constant has no scale and never alarms.
    """

    k: float = 0.5
    reference: int = 30

    def __post_init__(self) -> None:
        check.number("k", self.k, at_least=0)
        _whole(self, "reference", at_least=2)

    @property
    def name(self) -> str:
        """Short name."""
        return f"CUSUM({self.k:g})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the cumulative sum."""
        z, flat = _standardised(values, self.reference)
        scores = _empty(z)
        steps, rows = _by_time(z[:, self.reference :])
        total = np.zeros(len(z))
        for step, row in zip(steps, rows, strict=True):
            np.add(total, step, out=row)
            row -= self.k
            total = np.maximum(row, 0.0, out=row)
        scores[:, self.reference :] = rows.T
        scores[flat] = -np.inf
        return scores


@dataclass(frozen=True)
class Ewma:
    """Exponentially weighted mean of standardised values, in units of its standard deviation.

    Parameters
    ----------
    alpha : float
        Weight of the newest value, between 0 and 1.
    reference : int
        As in :class:`Cusum`.
    """

    alpha: float = 0.2
    reference: int = 30

    def __post_init__(self) -> None:
        check.share("alpha", self.alpha, inside=True)
        _whole(self, "reference", at_least=2)

    @property
    def name(self) -> str:
        """Short name."""
        return f"EWMA({self.alpha:g})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the standardised mean."""
        z, flat = _standardised(values, self.reference)
        scores = _empty(z)
        mean = np.zeros(len(z))
        for step, t in enumerate(range(self.reference, z.shape[1]), 1):
            mean = (1 - self.alpha) * mean + self.alpha * z[:, t]
            # Variance of the weighted sum of `step` independent values of variance one.
            spread = self.alpha / (2 - self.alpha) * (1 - (1 - self.alpha) ** (2 * step))
            scores[:, t] = mean / math.sqrt(spread)
        scores[flat] = -np.inf
        return scores


@dataclass(frozen=True)
class PageHinkley:
    """Page-Hinkley test for an increase.

    Each value's excess over the running mean (itself included) and over `delta` is summed; the
    score is the height of the sum above its lowest point.

    Parameters
    ----------
    delta : float
        Allowance in standard deviations of the first `reference` values; not negative.
    forgetting : float
        Factor in (0, 1] on the old sum; the default is that of river.
    reference : int
        As in :class:`Cusum`. With 0 the values are taken as they are, `delta` is in their unit, and
        the score is river's: the same data in another unit then have other alarms.
    """

    delta: float = 0.05
    forgetting: float = 0.9999
    reference: int = 30

    def __post_init__(self) -> None:
        check.number("delta", self.delta, at_least=0)
        check.number("forgetting", self.forgetting, above=0, at_most=1)
        _whole(self, "reference", at_least=0)
        if self.reference == 1:
            raise ValueError("reference is 1, expected 0 or at least 2: one value has no spread")

    @property
    def name(self) -> str:
        """Short name."""
        return f"Page-Hinkley({self.delta:g})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the height of the sum."""
        z, flat = _checked(values), np.zeros(len(np.asarray(values)), dtype=bool)
        if self.reference:
            z, flat = _standardised(z, self.reference)
        steps, rows = _by_time(z)
        summed, total, lowest = np.zeros(len(z)), np.zeros(len(z)), np.full(len(z), np.inf)
        for count, (step, row) in enumerate(zip(steps, rows, strict=True), 1):
            summed += step
            np.subtract(step, summed / count, out=row)
            row -= self.delta
            total *= self.forgetting
            total += row
            np.minimum(lowest, total, out=lowest)
            np.subtract(total, lowest, out=row)
        scores = np.ascontiguousarray(rows.T)
        # The mean and the spread of the reference are known only when it is over.
        scores[:, : self.reference] = -np.inf
        scores[flat] = -np.inf
        return scores


@dataclass(frozen=True)
class PermutationEntropy:
    """Minus the normalised permutation entropy of the last `window` values: low entropy alarms.

    Parameters
    ----------
    order, delay : int
        Length of a pattern (2 to 7) and distance of its values in time. Equal values count as
        rising, in the order of time.
    window : int
        Values; must hold at least one pattern.
    """

    order: int = 3
    delay: int = 1
    window: int = 30

    def __post_init__(self) -> None:
        _whole(self, "order", at_least=2, at_most=7)
        _whole(self, "delay", at_least=1)
        _whole(self, "window", at_least=(self.order - 1) * self.delay + 1)

    @property
    def name(self) -> str:
        """Short name."""
        return f"permutation entropy({self.order},{self.window})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return minus the rolling entropy, between -1 and 0."""
        x = _checked(values)
        scores = _empty(x)
        if x.shape[1] < self.window:
            return scores
        reach = (self.order - 1) * self.delay
        patterns = sliding_window_view(x, reach + 1, axis=1)[..., :: self.delay]
        order = np.argsort(patterns, axis=2, kind="stable")
        code = order @ (self.order ** np.arange(self.order))
        kinds = np.unique(code)
        n_patterns = self.window - reach
        entropy = np.zeros((len(x), x.shape[1] - self.window + 1))
        for kind in kinds:
            seen = np.pad(np.cumsum(code == kind, axis=1), ((0, 0), (1, 0)))
            share = (seen[:, n_patterns:] - seen[:, :-n_patterns]) / n_patterns
            entropy -= share * np.log(np.where(share > 0, share, 1))
        scores[:, self.window - 1 :] = -entropy / math.log(math.factorial(self.order))
        return scores


@dataclass(frozen=True)
class MatrixProfile:
    """Left matrix profile: distance of the last `length` values to the most similar earlier ones.

    Each is compared with all earlier ones: ten times the length costs a hundred times as much.
    Subsequences are z-normalised; those that overlap the last by more than three quarters are
    left out. Two constant subsequences are at distance zero, a constant one and another at
    ``sqrt(length)``.

    Parameters
    ----------
    length : int
        At least 3.
    """

    length: int

    def __post_init__(self) -> None:
        _whole(self, "length", at_least=3)

    @property
    def name(self) -> str:
        """Short name."""
        return f"matrix profile({self.length})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the distance to the nearest earlier neighbour."""
        x, _ = _scaled(_checked(values))
        scores = _empty(x)
        apart = math.ceil(self.length / 4)
        n_windows = x.shape[1] - self.length + 1
        if n_windows <= apart:
            return scores
        for row, series in enumerate(x):
            windows = sliding_window_view(series, self.length)
            centred = windows - windows.mean(axis=1, keepdims=True)
            spread = np.sqrt(np.einsum("tw,tw->t", centred, centred))
            flat = spread <= math.sqrt(self.length) * _FLAT * np.abs(windows).max(axis=1)
            unit = np.where(flat[:, None], 0.0, centred / np.where(flat, 1.0, spread)[:, None])
            # Some windows at a time: all pairs of a long series would fill the memory.
            for start in range(apart, n_windows, _ROWS):
                now = np.arange(start, min(start + _ROWS, n_windows))
                before = np.arange(int(now[-1]) - apart + 1)
                squared = 2 * self.length * (1 - np.clip(unit[now] @ unit[before].T, -1, 1))
                one = flat[now][:, None] ^ flat[before]
                both = flat[now][:, None] & flat[before]
                squared[one], squared[both] = self.length, 0.0
                squared[before[None] > now[:, None] - apart] = np.inf
                scores[row, self.length - 1 + now] = np.sqrt(squared.min(axis=1))
        return scores


@dataclass(frozen=True)
class Bocpd:
    """Bayesian online change-point detection: probability that the current run is short.

    The method of Adams and MacKay for Gaussian data of unknown mean and variance; the score is the
    posterior probability that at most `short` values came since the last change.

    Parameters
    ----------
    hazard : float
        Prior probability of a change at each time, between 0 and 1.
    short : int
        Longest run that counts as new.
    reference : int
        As in :class:`Cusum`: values are standardised by the first ones, which also serve as data.
    keep : int
        Run lengths that are kept. Where there is one more, the least probable of the longer half
        goes and leaves its probability to the next longer one, so the cost of a value does not grow
        with the series.
    """

    hazard: float = 1 / 60
    short: int = 5
    reference: int = 30
    keep: int = 100

    def __post_init__(self) -> None:
        check.share("hazard", self.hazard, inside=True)
        _whole(self, "short", at_least=1)
        _whole(self, "reference", at_least=max(2, self.short + 1))
        _whole(self, "keep", at_least=self.short + 2)

    @property
    def name(self) -> str:
        """Short name."""
        return f"BOCPD({self.short})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the posterior probability of a short run."""
        from scipy.special import gammaln

        z, flat = _standardised(values, self.reference)
        scores = _empty(z)
        n_units, n_times = z.shape
        # Run r has seen r values; the prior is one pseudo-observation of mean 0 and variance 1.
        runs, log_run = np.zeros((n_units, 1)), np.zeros((n_units, 1))
        mean, spread = np.zeros((n_units, 1)), np.ones((n_units, 1))
        recent = max(self.short, self.keep // 2)
        for t in range(n_times):
            strength, shape = 1.0 + runs, 1.0 + runs / 2
            off = z[:, t, None] - mean
            width = spread * (strength + 1) / (shape * strength)
            freedom = 2 * shape
            log_like = (
                gammaln((freedom + 1) / 2)
                - gammaln(freedom / 2)
                - 0.5 * np.log(np.pi * freedom * width)
                - (freedom + 1) / 2 * np.log1p(off**2 / (freedom * width))
            )
            joint = log_run + log_like
            changed = np.logaddexp.reduce(joint, axis=1, keepdims=True) + math.log(self.hazard)
            new = np.zeros((n_units, 1))
            log_run = np.hstack([changed, joint + math.log1p(-self.hazard)])
            mean = np.hstack([new, mean + off / (strength + 1)])
            spread = np.hstack([new + 1, spread + strength * off**2 / (2 * (strength + 1))])
            runs = np.hstack([new, runs + 1])
            if runs.shape[1] > self.keep:
                # The longest run has no longer one to take its probability.
                rank = np.where(runs <= recent, np.inf, log_run)
                worst = np.argmin(rank[:, :-1], axis=1)[:, None]
                pair = np.take_along_axis(log_run, np.hstack([worst, worst + 1]), axis=1)
                joined = np.logaddexp.reduce(pair, axis=1, keepdims=True)
                np.put_along_axis(log_run, worst + 1, joined, axis=1)
                kept = np.arange(self.keep)[None] + (np.arange(self.keep)[None] >= worst)
                log_run, mean, spread, runs = (
                    np.take_along_axis(one, kept, axis=1) for one in (log_run, mean, spread, runs)
                )
            log_run = log_run - np.logaddexp.reduce(log_run, axis=1, keepdims=True)
            if t >= self.reference:
                scores[:, t] = (np.exp(log_run) * (runs <= self.short)).sum(axis=1)
        scores[flat] = -np.inf
        return scores


@dataclass(frozen=True)
class Glr:
    """Generalised likelihood ratio for a rise of the mean that began in the last `window` values.

    The score is the largest log likelihood ratio over the start of the change, for Gaussian values
    of known variance and a mean that rose by an unknown amount (Siegmund and Venkatraman, 1995;
    limited to a window as by Lai, 1995).

    Parameters
    ----------
    reference : int
        As in :class:`Cusum`; changes start after it.
    window : int
        Longest change that is looked for, in values; the cost of a value grows with it and not with
        the series.
    """

    reference: int = 30
    window: int = 100

    def __post_init__(self) -> None:
        _whole(self, "reference", at_least=2)
        _whole(self, "window", at_least=1)

    @property
    def name(self) -> str:
        """Short name."""
        return f"GLR({self.reference})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the log likelihood ratio of the best start."""
        z, flat = _standardised(values, self.reference)
        scores = _empty(z)
        after = z[:, self.reference :]
        best, rise = np.zeros(after.shape), np.zeros(after.shape)
        for length in range(1, min(self.window, after.shape[1]) + 1):
            # The sum of the last `length` values, from that of one value less a step before.
            rise = np.hstack([rise[:, :1] * 0, rise[:, :-1]]) + after
            here = np.maximum(0.0, rise[:, length - 1 :]) ** 2 / (2 * length)
            np.maximum(best[:, length - 1 :], here, out=best[:, length - 1 :])
        scores[:, self.reference :] = best
        scores[flat] = -np.inf
        return scores


@dataclass(frozen=True)
class AlwaysAlarm:
    """Alarms at every time of every unit: a baseline without skill."""

    name = "always alarm"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return one score for all."""
        return np.zeros(_checked(values).shape)


@dataclass(frozen=True)
class NeverAlarm:
    """Never alarms: the other baseline without skill."""

    name = "never alarm"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return minus infinity."""
        return _empty(_checked(values))


@dataclass(frozen=True)
class Mirrored:
    """Another detector on the series turned upside down: what it calls a rise is a fall.

    Parameters
    ----------
    detector : Detector
    mode : {"up", "down", "both", "low"}
        ``up`` is the detector itself; ``both`` takes the higher of its scores on the series and on
        its mirror image. A level needs something to rise or fall from: it is the median of the
        units' first values, known from the first step on, and no other score notices it. ``low``
        turns the score and not the series.

    Notes
    -----
    Looking both ways doubles the ways in which a control can alarm: for one price it finds less
    than the right one way. Variance, AC1, permutation entropy, matrix profile and BOCPD are the
    same of a series and of its mirror image, so there ``down`` and ``both`` change nothing, and
    the name says so: a variance that falls is found by ``low``.

    Examples
    --------
    >>> Mirrored(Variance(2), "low")([[0.0, 2.0, 2.0, 3.0]]).tolist()
    [[-inf, -2.0, -0.0, -0.5]]
    """

    detector: Detector
    mode: Mode = "both"

    def __post_init__(self) -> None:
        check.known("mode", self.mode, ("up", "down", "both", "low"))

    @property
    def name(self) -> str:
        """Short name."""
        even = self.mode != "low" and isinstance(self.detector, _EVEN)
        words = {"up": "", "down": ", falls", "both": ", either way", "low": ", low"}
        return self.detector.name + ("" if even else words[self.mode])

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the detector's score of the mirror image, the higher of both, or minus it."""
        x = _checked(values)
        if self.mode == "up":
            return self.detector(x)
        if self.mode == "down":
            return self.detector(-x)
        if self.mode == "low":
            scores = np.asarray(self.detector(x), dtype=np.float64)
            return np.where(np.isinf(scores), scores, -scores)
        middle = np.median(x[:, 0])
        return np.asarray(np.maximum(self.detector(x - middle), self.detector(middle - x)))


_EVEN = (Variance, AC1, PermutationEntropy, MatrixProfile, Bocpd)


def textbook(window: int = 30) -> tuple[Detector, ...]:
    """Return one detector of each family with its usual settings.

    Parameters
    ----------
    window : int
        Values in a rolling window, and in the reference of those that standardise; at least 8.

    Examples
    --------
    >>> len(textbook())
    9
    """
    window = check.integer("window", window, at_least=8)
    return (
        Level(),
        Variance(window),
        AC1(window),
        Cusum(reference=window),
        Ewma(reference=window),
        PageHinkley(reference=window),
        PermutationEntropy(window=window),
        MatrixProfile(max(4, window // 3)),
        Bocpd(reference=window),
    )
