"""Markets of clusters and bidders, and the refinement order between them.

A *market* is what an auction platform sees through one prediction model: a list of clusters of
opportunities, the mass of each, and each bidder's predicted conversion probability in it. A model
that tells more users apart splits clusters; calibration makes every coarse prediction the weighted
mean of the finer ones.

Source: arXiv 2605.31036, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""A float64 array, or an object array of :class:`fractions.Fraction` (exact mode)."""

CALIBRATION_TOLERANCE = 1e-9
"""Largest accepted gap between a coarse float prediction and the mean of its parts."""


class NotARefinementError(ValueError):
    """The finer model does not split the clusters of the coarser one."""


class CalibrationError(ValueError):
    """A coarse prediction is not the weighted mean of the finer ones."""


def as_exact(values: Any) -> Array:
    """Return ``values`` as an object array of fractions, without rounding.

    Parameters
    ----------
    values : array_like of int, str or Fraction
        Strings may be decimal (``"0.2"``) or a ratio (``"1/3"``). Floats are refused: the float
        0.1 is not one tenth.

    Returns
    -------
    ndarray of Fraction
        Same shape as ``values``.

    Raises
    ------
    TypeError
        On a float, whose exact value is hardly ever the one that was meant.

    Examples
    --------
    >>> as_exact(["0.2", "1/3", 1]).tolist()
    [Fraction(1, 5), Fraction(1, 3), Fraction(1, 1)]
    """
    raw = np.asarray(values, dtype=object)
    out = np.empty(raw.shape, dtype=object)
    for index, value in np.ndenumerate(raw):
        if isinstance(value, (float, np.floating)):
            raise TypeError(
                f"exact mode takes int, str or Fraction, got the float {value!r} at {index}; "
                f"write it as a string, e.g. '{value}'"
            )
        out[index] = Fraction(int(value)) if isinstance(value, np.integer) else Fraction(value)
    return out


@dataclass(frozen=True, eq=False)
class Market:
    """Clusters of opportunities with each bidder's predicted conversion probability.

    Parameters
    ----------
    weights : ndarray, shape (n_clusters,)
        Mass of each cluster (share or number of opportunities); positive. Need not sum to one.
    predictions : ndarray, shape (n_clusters, n_bidders)
        Predicted conversions per opportunity, in [0, 1].

    Raises
    ------
    ValueError
        On an empty market, a wrong shape, a NaN, a weight that is not positive or a prediction
        outside [0, 1]; the message names the cluster and the bidder.

    Examples
    --------
    >>> fine = Market.exact([1, 1], [["0.2", "0.08"], ["0.05", "0.3"]])
    >>> coarse = fine.coarsen([0, 0])
    >>> coarse.predictions.tolist()
    [[Fraction(1, 8), Fraction(19, 100)]]
    """

    weights: Array
    predictions: Array

    def __post_init__(self) -> None:
        weights, predictions = np.asarray(self.weights), np.asarray(self.predictions)
        exact = weights.dtype == object and predictions.dtype == object
        if not exact:
            weights, predictions = weights.astype(float), predictions.astype(float)
        if weights.ndim != 1 or predictions.ndim != 2 or len(weights) != len(predictions):
            raise ValueError(
                "expected weights (n_clusters,) and predictions (n_clusters, n_bidders), got "
                f"{weights.shape} and {predictions.shape}"
            )
        if 0 in predictions.shape:
            raise ValueError(
                f"a market needs a cluster and a bidder, got predictions {predictions.shape}"
            )
        for name, array in (("weight", weights), ("prediction", predictions)):
            bad = ~np.isfinite(array.astype(float))
            if bad.any():
                where = tuple(int(i) for i in np.argwhere(bad)[0])
                raise ValueError(f"{name} at {where} is {array[where]}; expected a finite number")
        if (weights <= 0).any():
            k = int(np.argmax(weights <= 0))
            raise ValueError(f"weight of cluster {k} is {weights[k]}; expected a positive number")
        outside = (predictions < 0) | (predictions > 1)
        if outside.any():
            k, i = (int(j) for j in np.argwhere(outside)[0])
            raise ValueError(
                f"prediction of bidder {i} in cluster {k} is {predictions[k, i]}; expected [0, 1]"
            )
        for array in (weights, predictions):
            array.setflags(write=False)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "predictions", predictions)

    @classmethod
    def exact(cls, weights: Any, predictions: Any) -> Market:
        """Build a market in exact arithmetic; see :func:`as_exact` for what is accepted."""
        return cls(as_exact(weights), as_exact(predictions))

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.weights)

    @property
    def n_bidders(self) -> int:
        """Number of bidders."""
        return int(self.predictions.shape[1])

    @property
    def is_exact(self) -> bool:
        """Whether weights and predictions are fractions."""
        return bool(self.weights.dtype == object)

    @property
    def mass(self) -> Array:
        """Expected conversions if bidder i won cluster k, shape (n_clusters, n_bidders)."""
        return self.weights[:, None] * self.predictions

    def to_float(self) -> Market:
        """Return the same market in float64."""
        return Market(self.weights.astype(float), self.predictions.astype(float))

    def coarsen(self, labels: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Market:
        """Pool clusters; the coarse prediction is the weighted mean of its parts.

        Parameters
        ----------
        labels : array_like of int, shape (n_clusters,)
            Coarse cluster of each of this market's clusters, using every number from 0 to the
            number of coarse clusters less one.

        Returns
        -------
        Market
            Coarse cluster ``j`` pools the clusters labelled ``j``.
        """
        index = check_labels(labels, self.n_clusters)
        n_coarse = int(index.max()) + 1
        weights = np.zeros(n_coarse, dtype=self.weights.dtype)
        np.add.at(weights, index, self.weights)
        mass = np.zeros((n_coarse, self.n_bidders), dtype=self.predictions.dtype)
        np.add.at(mass, index, self.mass)
        predictions = mass / weights[:, None]
        # A mean of floats may leave [0, 1] by one rounding; of fractions it never does.
        return Market(weights, predictions if self.is_exact else np.clip(predictions, 0.0, 1.0))


def check_labels(
    labels: Sequence[int] | npt.NDArray[np.integer[Any]], n_clusters: int
) -> npt.NDArray[np.intp]:
    """Return ``labels`` as an index array after checking that they describe a partition.

    Raises
    ------
    NotARefinementError
        When a fine cluster has no label, or a coarse cluster between 0 and the largest label
        has no fine cluster.
    """
    index = np.asarray(labels)
    if index.shape != (n_clusters,):
        raise NotARefinementError(
            f"expected one label for each of {n_clusters} clusters, got shape {index.shape}"
        )
    if index.dtype.kind not in "iu":
        raise NotARefinementError(f"labels must be integers, got {index.dtype}")
    if index.min() < 0:
        k = int(np.argmin(index))
        raise NotARefinementError(f"label of cluster {k} is {index[k]}; expected 0 or more")
    missing = np.setdiff1d(np.arange(int(index.max()) + 1), index)
    if missing.size:
        raise NotARefinementError(f"coarse cluster {int(missing[0])} has no fine cluster")
    return index.astype(np.intp)


def check_refinement(
    coarse: Market, fine: Market, labels: Sequence[int] | npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.intp]:
    """Check that ``fine`` refines ``coarse`` through ``labels``, and is calibrated against it.

    Parameters
    ----------
    coarse, fine : Market
        Both with the same bidders.
    labels : array_like of int, shape (fine.n_clusters,)
        The coarse cluster that contains each fine cluster.

    Returns
    -------
    ndarray of int, shape (fine.n_clusters,)
        The checked labels.

    Raises
    ------
    NotARefinementError
        When bidders differ, labels are no partition, or the mass of a coarse cluster is not the
        sum of its parts.
    CalibrationError
        When a coarse prediction is not the weighted mean of its parts; names cluster and bidder.
    """
    if coarse.n_bidders != fine.n_bidders:
        raise NotARefinementError(
            f"coarse model has {coarse.n_bidders} bidders, fine model {fine.n_bidders}"
        )
    index = check_labels(labels, fine.n_clusters)
    if int(index.max()) + 1 != coarse.n_clusters:
        raise NotARefinementError(
            f"labels name {int(index.max()) + 1} coarse clusters, the coarse model has "
            f"{coarse.n_clusters}"
        )
    pooled = fine.coarsen(index)
    exact = coarse.is_exact and fine.is_exact
    tolerance = 0 if exact else CALIBRATION_TOLERANCE
    gap = abs(pooled.weights - coarse.weights)
    if (gap > tolerance * coarse.weights).any():
        k = int(np.argmax(gap > tolerance * coarse.weights))
        raise NotARefinementError(
            f"coarse cluster {k} has mass {coarse.weights[k]}, its parts have {pooled.weights[k]}"
        )
    off = abs(pooled.predictions - coarse.predictions) > tolerance
    if off.any():
        k, i = (int(j) for j in np.argwhere(off)[0])
        raise CalibrationError(
            f"coarse cluster {k}, bidder {i}: prediction {coarse.predictions[k, i]} is not the "
            f"weighted mean {pooled.predictions[k, i]} of its parts"
        )
    return index
