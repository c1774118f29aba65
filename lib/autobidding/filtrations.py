"""Filtrations: nested models of one market, from a single cluster to very many.

A filtration is a chain of models in which every model refines the one before it. All of them are
read off one base market, so a coarse prediction is always the weighted mean of the finer ones:
smoothing happens once, on the base market, and never level by level.

Source: arXiv 2605.31036, section 3 (partitions, refinement, calibration). The two ways of building
a chain from data are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.autobidding.arithmetic import Array, Floats
from lib.autobidding.market import Market, NotARefinementError, check_labels, check_refinement
from lib.core import check

Labels = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Filtration:
    """A chain of models of one market, coarse to fine.

    Parameters
    ----------
    base : Market
        The market whose clusters every level pools.
    labels : sequence of int arrays, each of shape (base.n_clusters,)
        For each level, the cluster of every base cluster; each level refines the one before.
    names : sequence of str, optional
        One name a level; by default the number of clusters.

    Raises
    ------
    ValueError
        Without a level, or when the number of names is wrong.
    NotARefinementError
        When the labels of a level are no partition, or a level does not refine the one before;
        the message names the level and the cluster.

    Examples
    --------
    >>> base = Market.exact([1, 1, 2], [["1/2"], ["1/4"], ["1/8"]])
    >>> chain = Filtration(base, [[0, 0, 0], [0, 0, 1]])
    >>> chain.n_clusters
    (1, 2)
    >>> chain.markets[0].predictions.tolist()
    [[Fraction(1, 4)]]
    """

    base: Market
    labels: Sequence[npt.ArrayLike]
    names: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        if len(self.labels) == 0:
            raise ValueError("labels is empty, expected a level or more")
        checked: list[Labels] = []
        for level, raw in enumerate(self.labels):
            try:
                index = check_labels(np.asarray(raw), self.base.n_clusters)
                if checked:
                    level_map(checked[-1], index)
            except NotARefinementError as error:
                raise NotARefinementError(f"level {level}: {error}") from None
            index.setflags(write=False)
            checked.append(index)
        names = tuple(self.names) or tuple(f"{int(i.max()) + 1} clusters" for i in checked)
        check.same_length(names=names, labels=checked)
        object.__setattr__(self, "labels", tuple(checked))
        object.__setattr__(self, "names", names)

    @classmethod
    def from_markets(
        cls, markets: Sequence[Market], maps: Sequence[npt.ArrayLike], names: Sequence[str] = ()
    ) -> Filtration:
        """Build a filtration from levels that were each computed by themselves.

        Parameters
        ----------
        markets : sequence of Market
            Coarse to fine.
        maps : sequence of int arrays
            ``maps[j]`` has shape (markets[j + 1].n_clusters,): the cluster of level ``j`` that
            contains each cluster of level ``j + 1``.
        names : sequence of str, optional
            One name a level.

        Raises
        ------
        ValueError
            When the number of maps is not the number of markets less one.
        NotARefinementError, CalibrationError
            From :func:`~lib.autobidding.market.check_refinement` at the first pair that fails.
        """
        if not markets or len(maps) != len(markets) - 1:
            raise ValueError(
                f"expected one market or more and a map between neighbours, got {len(markets)} "
                f"markets and {len(maps)} maps"
            )
        labels = [np.arange(markets[-1].n_clusters)]
        for coarse, fine, raw in reversed(list(zip(markets, markets[1:], maps, strict=False))):
            index = check_refinement(coarse, fine, np.asarray(raw))
            labels.insert(0, index[labels[0]])
        return cls(markets[-1], labels, names)

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return len(self.labels)

    @property
    def n_clusters(self) -> tuple[int, ...]:
        """Number of clusters of each level."""
        return tuple(market.n_clusters for market in self.markets)

    @cached_property
    def markets(self) -> tuple[Market, ...]:
        """The market of each level, coarse to fine."""
        return tuple(self.base.coarsen(np.asarray(index)) for index in self.labels)


def level_map(coarse: Labels, fine: Labels) -> Labels:
    """Return the coarse cluster that contains each fine cluster.

    Parameters
    ----------
    coarse, fine : ndarray of int, shape (n_units,)
        Labels 0, 1, … of the same units under two models.

    Returns
    -------
    ndarray of int, shape (n_fine_clusters,)

    Raises
    ------
    NotARefinementError
        When a fine cluster meets two coarse ones.

    Examples
    --------
    >>> level_map(np.array([0, 0, 1]), np.array([1, 2, 0])).tolist()
    [1, 0, 0]
    """
    parent = np.zeros(int(fine.max()) + 1, dtype=np.intp)
    parent[fine] = coarse
    crossing = parent[fine] != coarse
    if crossing.any():
        unit = int(np.argmax(crossing))
        raise NotARefinementError(
            f"cluster {int(fine[unit])} lies in the coarser clusters {int(coarse[unit])} and "
            f"{int(parent[fine[unit]])}; expected one"
        )
    return parent


def pool(values: Array, labels: Labels, axis: int = 0) -> Array:
    """Sum ``values`` over the units of each cluster.

    Parameters
    ----------
    values : ndarray, shape (..., n_units, ...)
        Counts or masses.
    labels : ndarray of int, shape (n_units,)
        Cluster of each unit, every number from 0 to the largest.
    axis : int
        The axis of the units.

    Returns
    -------
    ndarray, shape (..., n_clusters, ...)

    Examples
    --------
    >>> pool(np.array([1, 2, 4]), np.array([1, 0, 1])).tolist()
    [2, 5]
    """
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(int(labels.max()) + 1))
    total: Array = np.add.reduceat(np.take(values, order, axis=axis), starts, axis=axis)
    return total


def feature_labels(features: pd.DataFrame) -> list[Labels]:
    """Return the nested clusterings by no feature, the first, the first two, and so on.

    Parameters
    ----------
    features : DataFrame, shape (n_units, n_features)
        Discrete features, the first the first to be used.

    Returns
    -------
    list of int arrays, each of shape (n_units,)
        ``n_features + 1`` levels; only combinations that occur become clusters.

    Raises
    ------
    ValueError
        On an empty table or a missing value; the message names the feature.

    Examples
    --------
    >>> table = pd.DataFrame({"device": ["a", "a", "b"], "hour": [1, 2, 1]})
    >>> [level.tolist() for level in feature_labels(table)]
    [[0, 0, 0], [0, 0, 1], [0, 1, 2]]
    """
    if features.empty:
        raise ValueError(f"expected units and features, got a table of shape {features.shape}")
    missing = features.columns[features.isna().any()]
    if len(missing):
        raise ValueError(f"feature {missing[0]!r} has missing values")
    levels = [np.zeros(len(features), dtype=np.intp)]
    for name in features:
        codes = pd.factorize(features[name], sort=True)[0]
        pairs = levels[-1] * (int(codes.max()) + 1) + codes
        levels.append(np.unique(pairs, return_inverse=True)[1].astype(np.intp))
    return levels


def pca_median_labels(points: npt.ArrayLike, depth: int) -> list[Labels]:
    """Return nested clusterings that halve every cluster at the median of its main direction.

    Each cluster of two units or more is split along the first principal component of its own
    units: below the median on the left, the rest on the right. The component points to where its
    largest loading is positive, so that the split does not depend on the linear algebra library.

    Parameters
    ----------
    points : array_like, shape (n_units, n_dimensions)
        Finite numbers.
    depth : int
        Number of splits, at least 0; level ``j`` has at most ``2**j`` clusters.

    Returns
    -------
    list of int arrays, each of shape (n_units,)
        ``depth + 1`` levels.

    Raises
    ------
    ValueError
        On a wrong shape, a number that is not finite, or a negative depth.

    Examples
    --------
    >>> [level.tolist() for level in pca_median_labels([[0.0], [3.0], [1.0], [2.0]], 2)]
    [[0, 0, 0, 0], [0, 1, 0, 1], [0, 3, 1, 2]]
    """
    cloud = check.array("points", points, shape=("n_units", "n_dimensions"))
    depth = check.integer("depth", depth, at_least=0)
    levels = [np.zeros(len(cloud), dtype=np.intp)]
    for _ in range(depth):
        right = np.zeros(len(cloud), dtype=np.intp)
        for cluster in range(int(levels[-1].max()) + 1):
            members = np.flatnonzero(levels[-1] == cluster)
            score = _main_direction(cloud[members])
            right[members] = score >= np.median(score)
        pairs = 2 * levels[-1] + right
        levels.append(np.unique(pairs, return_inverse=True)[1].astype(np.intp))
    return levels


def _main_direction(cloud: Floats) -> Floats:
    """Return the score of each point on the first principal component, shape (n_points,)."""
    centred = cloud - cloud.mean(axis=0)
    loading = np.linalg.svd(centred, full_matrices=False)[2][0]
    sign = np.sign(loading[np.argmax(np.abs(loading))])
    score: Floats = sign * (centred @ loading)
    return score


def shrink(
    conversions: npt.ArrayLike, trials: npt.ArrayLike, mean: npt.ArrayLike, strength: Any
) -> Floats:
    """Return conversion rates drawn towards a prior mean, ``(y + k m) / (n + k)``.

    Parameters
    ----------
    conversions, trials : array_like, shape (..., n_clusters, n_bidders)
        Counts, ``0 <= conversions <= trials``.
    mean : array_like, shape (..., n_bidders) or broadcastable
        Prior mean, in [0, 1].
    strength : float or array_like
        Prior weight ``k > 0`` in trials, broadcast like ``mean``.

    Returns
    -------
    ndarray, shape of ``conversions``

    Raises
    ------
    ValueError
        On counts out of order, a strength that is not positive, or a mean outside [0, 1].

    Examples
    --------
    >>> shrink([[3.0], [0.0]], [[10.0], [0.0]], [0.5], 10.0).round(3).tolist()
    [[0.4], [0.5]]
    """
    y = check.array("conversions", conversions, at_least=0)
    n = check.array("trials", trials, at_least=0)
    k, m = check.array("strength", strength, above=0), check.shares("mean", mean)
    if (y > n).any():
        where = tuple(int(i) for i in np.argwhere(y > n)[0])
        raise ValueError(
            f"conversions{list(where)} is {y[where]}, expected at most {n[where]} trials"
        )
    rate: Floats = (y + k * m) / (n + k)
    return rate
