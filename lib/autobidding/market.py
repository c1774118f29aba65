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
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.autobidding.arithmetic import Array, as_exact, exceeds, is_exact
from lib.core import check


class NotARefinementError(ValueError):
    """The finer model does not split the clusters of the coarser one."""


class CalibrationError(ValueError):
    """A coarse prediction is not the weighted mean of the finer ones."""


@dataclass(frozen=True, eq=False)
class Market:
    """Clusters of opportunities with each bidder's predicted conversion probability.

    Parameters
    ----------
    weights : array_like, shape (n_clusters,)
        Mass of each cluster (share or number of opportunities); positive. Need not sum to one.
    predictions : array_like, shape (n_clusters, n_bidders)
        Predicted conversions per opportunity, in [0, 1]. Where weights and predictions are
        fractions (and ints), the market is exact; else it is in floats, whatever type of array
        they stand in.

    Raises
    ------
    ValueError
        On an empty market, a wrong shape, text, a complex number, a NaN, a weight that is not
        positive or a prediction outside [0, 1]; the message names the cluster and the bidder.

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
        exact = is_exact(self.weights, self.predictions)
        weights = check.array("weights", self.weights, shape=("n_clusters",), above=0)
        predictions = check.array(
            "predictions",
            self.predictions,
            shape=(len(weights), "n_bidders"),
            at_least=0,
            at_most=1,
        )
        if exact:
            weights, predictions = as_exact(self.weights), as_exact(self.predictions)
        for name, array in (("weights", weights), ("predictions", predictions)):
            own = array.copy()
            own.setflags(write=False)
            object.__setattr__(self, name, own)

    @classmethod
    def exact(cls, weights: Any, predictions: Any) -> Market:
        """Build a market in exact arithmetic from ints, fractions and decimal texts.

        See :func:`~lib.autobidding.arithmetic.as_exact`.
        """
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
    try:
        index = check.integers("labels", labels, shape=(n_clusters,), at_least=0)
    except ValueError as error:
        raise NotARefinementError(str(error)) from None
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
    apart = exceeds(abs(pooled.weights - coarse.weights), 0 * coarse.weights, coarse.weights)
    if apart.any():
        k = int(np.argmax(apart))
        raise NotARefinementError(
            f"coarse cluster {k} has mass {coarse.weights[k]}, its parts have {pooled.weights[k]}"
        )
    off = exceeds(
        abs(pooled.predictions - coarse.predictions), 0 * coarse.predictions, coarse.predictions
    )
    if off.any():
        k, i = (int(j) for j in np.argwhere(off)[0])
        raise CalibrationError(
            f"coarse cluster {k}, bidder {i}: prediction {coarse.predictions[k, i]} is not the "
            f"weighted mean {pooled.predictions[k, i]} of its parts"
        )
    return index
