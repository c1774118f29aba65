"""Intervals for a mean over clusters, and the p-value of no effect that belongs to each.

Which one? With effects that are symmetric about their mean, `t_interval` keeps its level from three
clusters on, and `sign_flip` is exact. With skewed effects none is exact below some ten clusters;
`bootstrap_t` then errs least, and `percentile` most (it is too short with few clusters, always).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import stats

from lib.core import check

__all__ = [
    "Interval",
    "bootstrap_t",
    "cluster_means",
    "percentile",
    "sign_flip",
    "t_interval",
    "wild_cluster",
]

Floats = npt.NDArray[np.float64]

EXACT = 16
"""Up to so many clusters all sign flips are gone through, 2^16 of them; above, some are drawn."""

WEBB = np.sqrt([0.5, 1.0, 1.5])
"""Sizes of Webb's six weights; each comes with either sign."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval and the two-sided p-value of `null`.

    Attributes
    ----------
    value, low, high : float
        The mean over clusters; an end is infinite where so few clusters cannot bound it.
    p : float
        Of the mean being `null`, by the same method: at most ``1 - level`` where the interval
        excludes it.
    n : int
        Clusters.
    level : float
    null : float
    """

    value: float
    low: float
    high: float
    p: float
    n: int
    level: float = 0.95
    null: float = 0.0

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high

    @property
    def excludes(self) -> bool:
        """Whether `null` lies outside."""
        return not self.low <= self.null <= self.high


def cluster_means(values: npt.ArrayLike, clusters: npt.ArrayLike | None = None) -> Floats:
    """Return one value a cluster: the mean of its values.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        At least two clusters.
    clusters : array_like, shape (n,), optional
        The cluster of each value; each its own by default.

    Raises
    ------
    ValueError
        If a value is not finite, the lengths differ, or there are fewer than two clusters.

    Examples
    --------
    >>> cluster_means([1, 2, 6], ["a", "a", "b"]).tolist()
    [1.5, 6.0]
    """
    found = check.array("values", values, shape=("n",))
    if clusters is not None:
        labels = np.asarray(clusters)
        check.same_length(values=found, clusters=labels)
        if labels.dtype.kind == "f":
            check.array("clusters", labels)
        _, place = np.unique(labels, return_inverse=True)
        found = np.bincount(place.ravel(), weights=found) / np.bincount(place.ravel())
    if len(found) < 2:
        name = "values" if clusters is None else "clusters"
        raise ValueError(f"{name} has {len(found)} cluster, expected at least 2")
    return found


def _t(means: Floats, axis: int = -1) -> tuple[Floats, Floats]:
    """Return means and their standard errors."""
    n = means.shape[axis]
    return means.mean(axis), means.std(axis, ddof=1) / np.sqrt(n)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    """Return a studentised deviation; where nothing varies it is 0 or infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(top == 0, 0.0, top / bottom)


def t_interval(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    null: float = 0.0,
) -> Interval:
    """Return Student's interval over cluster means.

    Parameters
    ----------
    values, clusters
        As in `cluster_means`.
    level : float
        Coverage, strictly between 0 and 1.
    null : float
        What the p-value tests.

    Notes
    -----
    W. S. Gosset ("Student"), "The Probable Error of a Mean", Biometrika 6, 1908. Exact for normal
    cluster means, close for symmetric ones, too short for skewed ones.

    Examples
    --------
    >>> found = t_interval([1.0, 2.0, 3.0])
    >>> round(found.low, 4), found.value, round(found.p, 4)
    (-0.4841, 2.0, 0.0742)
    """
    means, level, null = _start(values, clusters, level, null)
    center, error = _t(means)
    half = stats.t.isf((1 - level) / 2, len(means) - 1) * error
    p = 2 * stats.t.sf(abs(_ratio(center - null, error)), len(means) - 1)
    return Interval(
        float(center), float(center - half), float(center + half), float(p), len(means), level, null
    )


def percentile(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    null: float = 0.0,
    draws: int = 9999,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval over cluster means.

    Here for comparison: with 4, 8 or 10 normal clusters it misses the mean about 19, 12 and 10
    times in 100 where it promises 5.

    Parameters
    ----------
    values, clusters, level, null
        As in `t_interval`.
    draws : int
        Resamples, at least 99.
    seed : int

    Notes
    -----
    B. Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979.
    The p-value is the level at which the interval just touches `null`.
    """
    means, level, null = _start(values, clusters, level, null)
    drawn = _resamples(means, draws, seed).mean(-1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    tail = min(float(np.mean(drawn <= null)), float(np.mean(drawn >= null)))
    p = min(1.0, 2 * max(tail, 1 / (draws + 1)))
    return Interval(float(means.mean()), float(low), float(high), float(p), len(means), level, null)


def bootstrap_t(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    null: float = 0.0,
    draws: int = 9999,
    seed: int = 0,
) -> Interval:
    """Return the studentised bootstrap interval over cluster means: it follows skewness.

    With four clusters or fewer an end may be infinite: a resample of equal values has no error.

    Parameters
    ----------
    values, clusters, level, null, draws, seed
        As in `percentile`.

    Notes
    -----
    P. Hall, "The Bootstrap and Edgeworth Expansion", 1992, section 3.2: the quantiles of
    ``(mean* - mean) / error*`` take the place of Student's.
    """
    means, level, null = _start(values, clusters, level, null)
    center, error = _t(means)
    drawn_center, drawn_error = _t(_resamples(means, draws, seed))
    drawn = np.sort(_ratio(drawn_center - center, drawn_error))
    low, high = _ends(drawn, level)
    seen = _ratio(center - null, error)
    tail = min(float(np.mean(drawn <= seen)), float(np.mean(drawn >= seen)))
    p = min(1.0, 2 * max(tail, 1 / (draws + 1)))
    return Interval(
        float(center),
        float(center - high * error) if error else float(center),
        float(center - low * error) if error else float(center),
        float(p),
        len(means),
        level,
        null,
    )


def sign_flip(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    null: float = 0.0,
    draws: int = 9999,
    seed: int = 0,
) -> Interval:
    """Return the sign-flip (randomisation) interval over cluster means.

    Exact where the deviations from the mean are symmetric, or where treatment was drawn by coin
    within each cluster. With `n` clusters no p-value is below ``2 / 2**n``, so that below six the
    95 per cent interval is the whole line.

    Parameters
    ----------
    values, clusters, level, null
        As in `t_interval`.
    draws : int
        Flips that are drawn above `EXACT` clusters; all are gone through up to there.
    seed : int

    Notes
    -----
    R. A. Fisher, "The Design of Experiments", 1935, section 21; the interval holds every null that
    the test of level ``1 - level`` keeps. A flip of a set S of clusters keeps the null `m` where
    the mean of S, taken apart from the rest, lies on the other side of `m`, so that the ends are
    order statistics of the means of subsets (J. A. Hartigan, JASA 64, 1969).

    Examples
    --------
    >>> found = sign_flip([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    >>> found.p == 2 / 2**6, found.low, found.high
    (True, 1.0, 6.0)
    """
    means, level, null = _start(values, clusters, level, null)
    n, rng = len(means), _rng(seed)
    draws = check.integer("draws", draws, at_least=99)
    if n <= EXACT:
        flips = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1 == 1
    else:
        flips = rng.random((draws, n)) < 0.5
        flips = flips[flips.any(-1)]
    # Flipping S moves the mean of deviations to the other side of 0 exactly where the mean of S
    # does not lie on the side of the null that the whole mean lies on.
    subset = flips @ means / flips.sum(-1)
    total = len(subset) + 1  # the flip of nothing
    rounding = 1e-12 * np.abs(means).max()
    above = np.sum(subset >= null - rounding) + 1
    below = np.sum(subset <= null + rounding) + 1
    p = min(1.0, 2 * min(above, below) / total)
    ends = np.sort(subset)
    out = int(np.floor((1 - level) / 2 * total + 1e-9))
    low, high = (ends[out - 1], ends[-out]) if out >= 1 else (-np.inf, np.inf)
    return Interval(float(means.mean()), float(low), float(high), float(p), n, level, null)


def wild_cluster(
    values: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    null: float = 0.0,
    draws: int = 9999,
    seed: int = 0,
) -> Interval:
    """Return the wild cluster bootstrap interval: deviations times random weights, studentised.

    Parameters
    ----------
    values, clusters, level, null, draws, seed
        As in `percentile`.

    Notes
    -----
    A. C. Cameron, J. B. Gelbach and D. L. Miller, "Bootstrap-Based Improvements for Inference with
    Clustered Errors", Review of Economics and Statistics 90, 2008, with the null imposed; weights
    of six values: M. D. Webb, "Reworking Wild Bootstrap Based Inference for Clustered Errors",
    Queen's Economics Department Working Paper 1315, 2014. The interval holds every null whose
    p-value is at least ``1 - level``; its ends are found by bisection with the same weights.
    """
    means, level, null = _start(values, clusters, level, null)
    rng, n = _rng(seed), len(means)
    shape = (check.integer("draws", draws, at_least=99), n)
    weights = rng.choice(np.concatenate([WEBB, -WEBB]), size=shape)
    center, error = _t(means)
    p_of = partial(_wild_p, means, weights)
    low, high = (_edge(p_of, float(center), float(error), side, 1 - level) for side in (-1, 1))
    return Interval(float(center), low, high, p_of(null), n, level, null)


def _wild_p(means: Floats, weights: Floats, null: float) -> float:
    center, error = _t(means)
    seen = abs(_ratio(center - null, error))
    drawn = np.abs(_ratio(*_t(weights * (means - null))))
    return float((np.sum(drawn >= seen * (1 - 1e-12)) + 1) / (len(weights) + 1))


def _edge(p_of: partial[float], center: float, error: float, side: int, alpha: float) -> float:
    """Return the null farthest from the mean, on one side, that the test keeps."""
    if error == 0:
        return center
    inside, outside = center, center + side * error
    while p_of(outside) >= alpha:
        inside, outside = outside, center + 2 * (outside - center)
        if abs(outside - center) > 1e6 * error:
            return side * np.inf
    while abs(outside - inside) > 1e-6 * error:
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if p_of(middle) >= alpha else (inside, middle)
    return inside


def _start(
    values: npt.ArrayLike, clusters: npt.ArrayLike | None, level: float, null: float
) -> tuple[Floats, float, float]:
    means = cluster_means(values, clusters)
    return means, check.share("level", level, inside=True), check.number("null", null)


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(check.integer("seed", seed, at_least=0))


def _resamples(means: Floats, draws: int, seed: int) -> Floats:
    n = len(means)
    return means[_rng(seed).integers(n, size=(check.integer("draws", draws, at_least=99), n))]


def _ends(drawn: Floats, level: float) -> tuple[float, float]:
    """Return the two quantiles of sorted draws, one of them: infinities cannot be averaged."""
    out = (1 - level) / 2 * (len(drawn) + 1) + 1e-9
    place = max(1, int(out))
    return float(drawn[place - 1]), float(drawn[-place])
