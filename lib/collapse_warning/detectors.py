"""Detectors as causal running scores, batched over units.

A detector maps values of shape ``(n_units, n_times)`` to scores of the same shape. The score at a
time uses the values up to that time only, is higher where an alarm is nearer, and is minus infinity
where it is not defined (too few values, or a window without scale). Thresholds are not part of a
detector: the contract sets them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from lib.collapse_warning.panel import Floats

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
    "NeverAlarm",
    "PageHinkley",
    "PermutationEntropy",
    "Persistent",
    "Variance",
    "textbook",
]

_FLAT = 1e-12
"""A window whose spread is below this share of its size is constant up to rounding."""


@runtime_checkable
class Detector(Protocol):
    """A causal running score; see the module's text."""

    @property
    def name(self) -> str:
        """Short name for tables."""

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return scores of shape ``(n_units, n_times)``."""


def _checked(values: npt.ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"values have shape {x.shape}, expected (n_units, n_times), not empty")
    if not np.isfinite(x).all():
        unit, at = (int(i[0]) for i in np.nonzero(~np.isfinite(x)))
        raise ValueError(f"value {at} of unit {unit} is {x[unit, at]}, expected a finite number")
    return x


def _window(length: int, least: int, name: str) -> None:
    if not isinstance(length, int | np.integer) or length < least:
        raise ValueError(f"{name} is {length!r}, expected a whole number of at least {least}")


def _between(value: float, low: float, high: float, name: str) -> None:
    if not low < value < high:
        raise ValueError(f"{name} is {value!r}, expected a number between {low} and {high}")


def _empty(x: Floats) -> Floats:
    return np.full(x.shape, -np.inf)


def _standardised(x: Floats, reference: int) -> tuple[Floats, Floats]:
    """Values in units of the first `reference` ones, and which rows have a scale at all."""
    first = x[:, :reference]
    mean = first.mean(axis=1, keepdims=True)
    scale = first.std(axis=1, ddof=1, keepdims=True)
    flat = (scale <= _FLAT * (1 + np.abs(mean)))[:, 0]
    z = x - mean
    z /= np.where(flat[:, None], 1.0, scale)
    z[flat] = 0.0
    return z, flat


def _by_time(x: Floats) -> tuple[Floats, Floats]:
    """Values with time first, so that a step over all units is one piece of memory; and room."""
    steps = np.ascontiguousarray(x.T)
    return steps, np.empty_like(steps)


@dataclass(frozen=True)
class Level:
    """The value itself: the plainest detector there is."""

    @property
    def name(self) -> str:
        """Short name."""
        return "level"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the values."""
        return _checked(values).copy()


@dataclass(frozen=True)
class Variance:
    """Variance of the last `window` values.

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
        _window(self.window, 2, "window")
        if self.ddof not in (0, 1):
            raise ValueError(f"ddof is {self.ddof!r}, expected 0 or 1")

    @property
    def name(self) -> str:
        """Short name."""
        return f"variance({self.window})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the rolling variance."""
        x = _checked(values)
        scores = _empty(x)
        if x.shape[1] >= self.window:
            windows = sliding_window_view(x, self.window, axis=1)
            scores[:, self.window - 1 :] = windows.var(axis=2, ddof=self.ddof)
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
        _window(self.window, 3, "window")

    @property
    def name(self) -> str:
        """Short name."""
        return f"AC1({self.window})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the rolling lag-one autocorrelation."""
        x = _checked(values)
        scores = _empty(x)
        if x.shape[1] < self.window:
            return scores
        # Place by place of the window: copies of all windows would not fit a processor's cache.
        n_windows, pairs = x.shape[1] - self.window + 1, self.window - 1
        place = [x[:, at : at + n_windows] for at in range(self.window)]
        inner = np.sum(place[1:-1], axis=0)
        before_mean, after_mean = (inner + place[0]) / pairs, (inner + place[-1]) / pairs
        before_power, after_power, together = np.zeros((3, *inner.shape))
        for at in range(pairs):
            before, after = place[at] - before_mean, place[at + 1] - after_mean
            before_power += before * before
            after_power += after * after
            together += before * after
        power = before_power * after_power
        largest = sliding_window_view(np.abs(x), self.window, axis=1).max(axis=2)
        flat = np.sqrt(power) <= pairs * (_FLAT * (1 + largest)) ** 2
        correlation = together / np.sqrt(np.where(flat, 1, power))
        scores[:, self.window - 1 :] = np.where(flat, -np.inf, correlation)
        return scores


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
        if not 0 <= self.k < math.inf:
            raise ValueError(f"k is {self.k!r}, expected a number of at least 0")
        _window(self.reference, 2, "reference")

    @property
    def name(self) -> str:
        """Short name."""
        return f"CUSUM({self.k:g})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the cumulative sum."""
        x = _checked(values)
        scores = _empty(x)
        if x.shape[1] <= self.reference:
            return scores
        z, flat = _standardised(x, self.reference)
        steps, rows = _by_time(z[:, self.reference :])
        total = np.zeros(len(x))
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
        _between(self.alpha, 0, 1, "alpha")
        _window(self.reference, 2, "reference")

    @property
    def name(self) -> str:
        """Short name."""
        return f"EWMA({self.alpha:g})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the standardised mean."""
        x = _checked(values)
        scores = _empty(x)
        if x.shape[1] <= self.reference:
            return scores
        z, flat = _standardised(x, self.reference)
        mean = np.zeros(len(x))
        for step, t in enumerate(range(self.reference, x.shape[1]), 1):
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
        Allowance in units of the values; not negative.
    forgetting : float
        Factor in (0, 1] on the old sum; the default is that of river.
    """

    delta: float = 0.05
    forgetting: float = 0.9999

    def __post_init__(self) -> None:
        if not 0 <= self.delta < math.inf:
            raise ValueError(f"delta is {self.delta!r}, expected a number of at least 0")
        if not 0 < self.forgetting <= 1:
            raise ValueError(f"forgetting is {self.forgetting!r}, expected a number in (0, 1]")

    @property
    def name(self) -> str:
        """Short name."""
        return f"Page-Hinkley({self.delta:g})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the height of the sum."""
        x = _checked(values)
        steps, rows = _by_time(x)
        summed, total, lowest = np.zeros(len(x)), np.zeros(len(x)), np.full(len(x), np.inf)
        for count, (step, row) in enumerate(zip(steps, rows, strict=True), 1):
            summed += step
            np.subtract(step, summed / count, out=row)
            row -= self.delta
            total *= self.forgetting
            total += row
            np.minimum(lowest, total, out=lowest)
            np.subtract(total, lowest, out=row)
        return np.ascontiguousarray(rows.T)


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
        _window(self.order, 2, "order")
        if self.order > 7:
            raise ValueError(f"order is {self.order}, expected at most 7")
        _window(self.delay, 1, "delay")
        _window(self.window, (self.order - 1) * self.delay + 1, "window")

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
            seen = np.cumsum(code == kind, axis=1)
            seen = np.pad(seen, ((0, 0), (1, 0)))
            share = (seen[:, n_patterns:] - seen[:, :-n_patterns]) / n_patterns
            entropy -= share * np.log(np.where(share > 0, share, 1))
        scores[:, self.window - 1 :] = -entropy / math.log(math.factorial(self.order))
        return scores


@dataclass(frozen=True)
class MatrixProfile:
    """Left matrix profile: distance of the last `length` values to the most similar earlier ones.

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
        _window(self.length, 3, "length")

    @property
    def name(self) -> str:
        """Short name."""
        return f"matrix profile({self.length})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the distance to the nearest earlier neighbour."""
        x = _checked(values)
        scores = _empty(x)
        apart = math.ceil(self.length / 4)
        n_windows = x.shape[1] - self.length + 1
        if n_windows <= apart:
            return scores
        windows = sliding_window_view(x, self.length, axis=1)
        centred = windows - windows.mean(axis=2, keepdims=True)
        spread = np.sqrt(np.einsum("utw,utw->ut", centred, centred))
        scale = math.sqrt(self.length) * _FLAT * (1 + np.abs(windows).max(axis=2))
        flat = spread <= scale
        unit = np.where(flat[..., None], 0.0, centred / np.where(flat, 1.0, spread)[..., None])
        earlier = np.tri(n_windows, n_windows, -apart, dtype=bool)
        for row in range(len(x)):
            similar = np.clip(unit[row] @ unit[row].T, -1, 1)
            squared = 2 * self.length * (1 - similar)
            one, both = flat[row][:, None] ^ flat[row], flat[row][:, None] & flat[row]
            squared[one], squared[both] = self.length, 0.0
            nearest = np.sqrt(np.where(earlier, squared, np.inf).min(axis=1))
            scores[row, self.length - 1 + apart :] = nearest[apart:]
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
    """

    hazard: float = 1 / 60
    short: int = 5
    reference: int = 30

    def __post_init__(self) -> None:
        _between(self.hazard, 0, 1, "hazard")
        _window(self.short, 1, "short")
        _window(self.reference, max(2, self.short + 1), "reference")

    @property
    def name(self) -> str:
        """Short name."""
        return f"BOCPD({self.short})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the posterior probability of a short run."""
        from scipy.special import gammaln

        x = _checked(values)
        scores = _empty(x)
        if x.shape[1] <= self.reference:
            return scores
        z, flat = _standardised(x, self.reference)
        n_units, n_times = z.shape
        # Run r has seen r values; the prior is one pseudo-observation of mean 0 and variance 1.
        log_run = np.zeros((n_units, 1))
        mean, spread = np.zeros((n_units, 1)), np.ones((n_units, 1))
        for t in range(n_times):
            runs = np.arange(t + 1)
            strength, shape = 1.0 + runs, 1.0 + runs / 2
            at = z[:, t, None]
            width = spread * (strength + 1) / (shape * strength)
            freedom = 2 * shape
            log_like = (
                gammaln((freedom + 1) / 2)
                - gammaln(freedom / 2)
                - 0.5 * np.log(np.pi * freedom * width)
                - (freedom + 1) / 2 * np.log1p((at - mean) ** 2 / (freedom * width))
            )
            joint = log_run + log_like
            grown = joint + math.log1p(-self.hazard)
            changed = np.logaddexp.reduce(joint, axis=1)[:, None] + math.log(self.hazard)
            log_run = np.concatenate([changed, grown], axis=1)
            log_run -= np.logaddexp.reduce(log_run, axis=1)[:, None]
            spread_new = spread + strength * (at - mean) ** 2 / (2 * (strength + 1))
            mean_new = (strength * mean + at) / (strength + 1)
            mean = np.concatenate([np.zeros((n_units, 1)), mean_new], axis=1)
            spread = np.concatenate([np.ones((n_units, 1)), spread_new], axis=1)
            if t >= self.reference:
                scores[:, t] = np.exp(log_run[:, : self.short + 1]).sum(axis=1)
        scores[flat] = -np.inf
        return scores


@dataclass(frozen=True)
class Glr:
    """Generalised likelihood ratio for a rise of the mean, at any time since the reference.

    The score is the largest log likelihood ratio over the start of the change, for Gaussian values
    of known variance and a mean that rose by an unknown amount (Siegmund and Venkatraman, 1995).

    Parameters
    ----------
    reference : int
        As in :class:`Cusum`.
    """

    reference: int = 30

    def __post_init__(self) -> None:
        _window(self.reference, 2, "reference")

    @property
    def name(self) -> str:
        """Short name."""
        return f"GLR({self.reference})"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the log likelihood ratio of the best start."""
        x = _checked(values)
        scores = _empty(x)
        if x.shape[1] <= self.reference:
            return scores
        z, flat = _standardised(x, self.reference)
        total = np.cumsum(z[:, self.reference :], axis=1)
        before = np.pad(total, ((0, 0), (1, 0)))
        for t in range(total.shape[1]):
            length = np.arange(t + 1, 0, -1)
            rise = np.maximum(0.0, total[:, t, None] - before[:, : t + 1])
            scores[:, self.reference + t] = (rise**2 / (2 * length)).max(axis=1)
        scores[flat] = -np.inf
        return scores


@dataclass(frozen=True)
class AlwaysAlarm:
    """Alarms at every time of every unit: a baseline without skill."""

    @property
    def name(self) -> str:
        """Short name."""
        return "always alarm"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return one score for all."""
        return np.zeros(_checked(values).shape)


@dataclass(frozen=True)
class NeverAlarm:
    """Never alarms: the other baseline without skill."""

    @property
    def name(self) -> str:
        """Short name."""
        return "never alarm"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return minus infinity."""
        return _empty(_checked(values))


@dataclass(frozen=True)
class Persistent:
    """Another detector's score where it held for `k` times: the lowest of its last `k` scores.

    Thresholding it alarms exactly where the detector exceeds the threshold `k` times in a row.

    Parameters
    ----------
    detector : Detector
    k : int
        At least 1.
    """

    detector: Detector
    k: int

    def __post_init__(self) -> None:
        _window(self.k, 1, "k")

    @property
    def name(self) -> str:
        """Short name."""
        return f"{self.detector.name} x{self.k}"

    def __call__(self, values: npt.ArrayLike) -> Floats:
        """Return the rolling minimum of the detector's score."""
        inner = self.detector(values)
        scores = np.full(inner.shape, -np.inf)
        if inner.shape[1] >= self.k:
            windows = sliding_window_view(inner, self.k, axis=1)
            scores[:, self.k - 1 :] = windows.min(axis=2)
        return scores


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
    _window(window, 8, "window")
    return (
        Level(),
        Variance(window),
        AC1(window),
        Cusum(reference=window),
        Ewma(reference=window),
        PageHinkley(),
        PermutationEntropy(window=window),
        MatrixProfile(max(4, window // 3)),
        Bocpd(reference=window),
    )
