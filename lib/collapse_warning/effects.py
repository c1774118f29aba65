"""Effect sizes of rows that come in clusters, with a bootstrap of the clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.collapse_warning.panel import Bools, Floats
from lib.core import check

__all__ = ["MEASURES", "ClusteredEffect", "auc", "bca_interval", "cohen_d", "glass_d"]

MEASURES = ("cohen_d", "glass_d", "auc")


def _two(event: npt.ArrayLike, control: npt.ArrayLike) -> tuple[Floats, Floats]:
    pair = []
    for name, values in (("event", event), ("control", control)):
        array = check.array(name, values, shape=("n",))
        if len(array) < 2:
            raise ValueError(f"{name} has shape {array.shape}, expected at least two numbers")
        pair.append(array)
    return pair[0], pair[1]


def cohen_d(event: npt.ArrayLike, control: npt.ArrayLike) -> float:
    """Difference of means over the pooled standard deviation (ddof 1).

    Examples
    --------
    >>> cohen_d([1, 2, 3], [0, 1, 2])
    1.0
    """
    a, b = _two(event, control)
    pooled = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2)
    return float((a.mean() - b.mean()) / np.sqrt(pooled))


def glass_d(event: npt.ArrayLike, control: npt.ArrayLike) -> float:
    """Difference of means over the controls' standard deviation (ddof 1)."""
    a, b = _two(event, control)
    return float((a.mean() - b.mean()) / b.std(ddof=1))


def auc(event: npt.ArrayLike, control: npt.ArrayLike) -> float:
    """Probability that an event's value exceeds a control's, ties counted half.

    Examples
    --------
    >>> auc([1, 2], [0, 1])
    0.875
    """
    a, b = _two(event, control)
    return _wins(a, np.sort(b)) / (len(a) * len(b))


def _wins(values: Floats, ordered: Floats) -> float:
    """Return the pairs in which a value exceeds one of the others, which are in order."""
    low, high = ordered.searchsorted(values, "left"), ordered.searchsorted(values, "right")
    return float(low.sum() + high.sum()) / 2


def bca_interval(
    distribution: npt.ArrayLike,
    point: float,
    jackknife: Sequence[npt.ArrayLike],
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Bias-corrected and accelerated interval from resamples and leave-one-out values.

    Parameters
    ----------
    distribution : array-like, shape (n_resamples,)
    point : float
        The statistic of the data themselves.
    jackknife : sequence of array-like
        One array a sample: the statistic without each of its members.
    confidence : float

    Returns
    -------
    tuple of float
        Lower and upper end.

    References
    ----------
    Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), Section 14.3; for several
    samples as in SciPy's ``bootstrap``.
    """
    from scipy.special import ndtr, ndtri

    values = check.array("distribution", distribution, shape=("n_resamples",))
    check.number("point", point)
    check.share("confidence", confidence, inside=True)
    if not len(jackknife):
        raise ValueError("jackknife is empty, expected one array a sample")
    # With few clusters many resamples are the data again, summed in another order: they are ties.
    slack = 1e-9 * np.ptp(values)
    below = ((values < point - slack).mean() + (values <= point + slack).mean()) / 2
    # A point outside all resamples would give an infinite bias; half a resample keeps it finite.
    bias = ndtri(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values)))
    top = bottom = 0.0
    for one in jackknife:
        left = check.array("jackknife", one, shape=("n",))
        pull = (len(left) - 1) * (left.mean() - left)
        top += float((pull**3).sum()) / len(left) ** 3
        bottom += float((pull**2).sum()) / len(left) ** 2
    speed = 0.0 if bottom == 0 else top / (6 * bottom**1.5)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    reach = bias + ndtri(tails)
    low, high = np.quantile(values, ndtr(bias + reach / (1 - speed * reach)))
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class ClusteredEffect:
    """Effect sizes of one witness, whose rows come in clusters.

    Each statistic is a function of per-cluster sums, so that a resample of clusters only reweights
    them: ten thousand resamples are a few matrix products.

    Parameters
    ----------
    sizes, sums, squares : ndarray, shape (n_clusters,)
        Rows, and sums of the values and of their squares about the overall mean.
    wins : ndarray, shape (n_event_clusters, n_control_clusters)
        Pairs of rows that the event wins, ties half.
    is_event : ndarray of bool, shape (n_clusters,)
    """

    sizes: Floats
    sums: Floats
    squares: Floats
    wins: Floats
    is_event: Bools

    @classmethod
    def from_rows(
        cls, values: npt.ArrayLike, clusters: npt.ArrayLike, is_event: npt.ArrayLike
    ) -> ClusteredEffect:
        """Gather rows into clusters.

        Parameters
        ----------
        values, clusters, is_event : array-like, shape (n_rows,)
            A cluster's rows are all of events or all of controls.

        Raises
        ------
        ValueError
            If shapes differ, a value is not finite, a cluster is mixed, or a class has fewer than
            two clusters.
        """
        x = check.array("values", values, shape=("n_rows",))
        labels = np.asarray(is_event, dtype=bool)
        names, code = np.unique(np.asarray(clusters), return_inverse=True)
        if not (x.shape == labels.shape == code.shape):
            raise ValueError(f"shapes {x.shape}, {code.shape}, {labels.shape}: expected one length")
        events = np.bincount(code, weights=labels)
        sizes = np.bincount(code).astype(np.float64)
        if not np.isin(events / sizes, (0, 1)).all():
            raise ValueError(f"cluster {names[events % sizes != 0][0]!r} is event and control")
        group = events > 0
        if min(group.sum(), (~group).sum()) < 2:
            raise ValueError("expected at least two clusters of events and two of controls")
        centred = x - x.mean()
        inside = [np.sort(x[code == c]) for c in np.flatnonzero(~group)]
        wins = [[_wins(x[code == c], control) for control in inside] for c in np.flatnonzero(group)]
        return cls(
            sizes,
            np.bincount(code, weights=centred).astype(np.float64),
            np.bincount(code, weights=centred**2).astype(np.float64),
            np.array(wins),
            group,
        )

    def measures(self, weights: npt.ArrayLike) -> dict[str, Floats]:
        """Return the effect sizes under weights of the clusters.

        Parameters
        ----------
        weights : array-like, shape (n_draws, n_clusters)
            How often each cluster was drawn.

        Returns
        -------
        dict of str to ndarray, shape (n_draws,)
            ``cohen_d``, ``glass_d``, ``auc``.
        """
        w = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        moments = {}
        for name, group in (("event", self.is_event), ("control", ~self.is_event)):
            n = w[:, group] @ self.sizes[group]
            mean = (w[:, group] @ self.sums[group]) / n
            moments[name] = n, mean, w[:, group] @ self.squares[group] - n * mean**2
        (n_e, mean_e, ss_e), (n_c, mean_c, ss_c) = moments["event"], moments["control"]
        pairs = np.einsum("de,ec,dc->d", w[:, self.is_event], self.wins, w[:, ~self.is_event])
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "cohen_d": (mean_e - mean_c) / np.sqrt((ss_e + ss_c) / (n_e + n_c - 2)),
                "glass_d": (mean_e - mean_c) / np.sqrt(ss_c / (n_c - 1)),
                "auc": pairs / (n_e * n_c),
            }

    def bootstrap(
        self, n_resamples: int = 10_000, *, seed: int = 0, confidence: float = 0.95
    ) -> pd.DataFrame:
        """Return points with percentile and BCa intervals, clusters of each class drawn apart.

        Parameters
        ----------
        n_resamples : int
            At least 100.
        seed : int
        confidence : float

        Returns
        -------
        DataFrame
            One row a measure: ``point``, ``low``, ``high`` (percentile), ``bca_low``,
            ``bca_high``, ``degenerate`` (resamples without a scale, left out).
        """
        check.integer("n_resamples", n_resamples, at_least=100)
        check.share("confidence", confidence, inside=True)
        rng = np.random.default_rng(seed)
        weights = np.zeros((n_resamples, len(self.sizes)))
        for group in (self.is_event, ~self.is_event):
            members = np.flatnonzero(group)
            share = np.full(len(members), 1 / len(members))
            weights[:, members] = rng.multinomial(len(members), share, size=n_resamples)
        drawn = self.measures(weights)
        points = self.measures(np.ones(len(self.sizes)))
        without = self.measures(1 - np.eye(len(self.sizes)))
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        rows = {}
        for name in MEASURES:
            sound = drawn[name][np.isfinite(drawn[name])]
            point = float(points[name][0])
            low, high = np.quantile(sound, tails)
            left = [without[name][self.is_event], without[name][~self.is_event]]
            bca = bca_interval(sound, point, left, confidence)
            rows[name] = {
                "point": point,
                "low": float(low),
                "high": float(high),
                "bca_low": bca[0],
                "bca_high": bca[1],
                "degenerate": n_resamples - len(sound),
            }
        return pd.DataFrame(rows).T
