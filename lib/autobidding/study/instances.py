"""Random exact markets: what a wrong theorem would very likely fail on, and no proof.

Drawn by us; the statements that are tried on them are those of arXiv 2605.31036, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lib.autobidding.arithmetic import vector
from lib.autobidding.market import Market
from lib.core import check

INSTANCES = 200
"""Random exact instances on which an inequality is tried."""

SEED = 20260529
"""Of all random markets; chosen before any result."""


def top_value(market: Market, values: Sequence[Any]) -> Any:
    """Total of the best ``v_i p_i`` of each cluster: ``sum_C w_C max_i v_i p_{i,C}``.

    First-price revenue and welfare of tCPA bidders at multiplier one (values are targets), and
    VCG welfare of truthful MAX-CPA bidders.

    Examples
    --------
    >>> top_value(Market.exact([1, 1], [["1/2", "1/4"], ["1/4", "1/2"]]), [1, 1])
    Fraction(1, 1)
    """
    worth = vector("values", values, market.n_bidders, exact=market.is_exact)
    return (market.mass * worth).max(axis=1).sum()


def random_refinement(
    rng: np.random.Generator, n_clusters: int = 6, n_bidders: int = 3, n_coarse: int = 2
) -> tuple[Market, Market, tuple[int, ...]]:
    """Draw an exact market and a random coarsening of it.

    Parameters
    ----------
    rng : numpy Generator
    n_clusters, n_bidders, n_coarse : int
        Sizes; ``1 <= n_coarse <= n_clusters``.

    Returns
    -------
    coarse, fine : Market
        Predictions are multiples of 1/100, weights whole numbers from 1 to 5.
    labels : tuple of int
    """
    check.integer("n_coarse", n_coarse, at_least=1, at_most=n_clusters)
    hundredths = rng.integers(0, 101, size=(n_clusters, n_bidders)).tolist()
    fine = Market.exact(
        rng.integers(1, 6, size=n_clusters).tolist(),
        [[Fraction(x, 100) for x in row] for row in hundredths],
    )
    spare = rng.integers(0, n_coarse, size=n_clusters - n_coarse)
    labels = rng.permutation(np.concatenate([np.arange(n_coarse), spare]))
    return fine.coarsen(labels), fine, tuple(int(x) for x in labels)


def drawn_to_mean(market: Market, share: Fraction | int) -> Market:
    """Draw every prediction some of the way to its bidder's mean over the whole market.

    Each bidder keeps its total, but the market no longer agrees with a coarser one cluster by
    cluster: the miscalibrated control of every theorem that rests on calibration.

    Parameters
    ----------
    market : Market
    share : Fraction or int, in [0, 1]
        0 changes nothing, 1 leaves a single prediction for each bidder.

    Raises
    ------
    ValueError
        On a share outside [0, 1].

    Examples
    --------
    >>> fine = Market.exact([1, 3], [["0.8"], ["0.4"]])
    >>> drawn_to_mean(fine, Fraction(1, 2)).predictions.ravel().tolist()
    [Fraction(13, 20), Fraction(9, 20)]
    """
    check.share("share", share)
    mean = market.mass.sum(axis=0) / market.weights.sum()
    return Market(market.weights, (1 - share) * market.predictions + share * mean)


@dataclass(frozen=True)
class Changes:
    """How often a measure fell, stayed and rose from coarse to fine models.

    Parameters
    ----------
    falls, ties, rises : int
        Numbers of random refinements; compared exactly.
    """

    falls: int
    ties: int
    rises: int


def count_changes(
    measure: Callable[[Market, tuple[Fraction, ...]], Any],
    *,
    after: Callable[[Market, tuple[Fraction, ...]], Any] | None = None,
    n_bidders: int = 3,
    to_mean: Fraction | int = 0,
    instances: int = INSTANCES,
    seed: int = SEED,
) -> Changes:
    """Compare a measure on random exact markets and their coarsenings.

    A theorem that is wrong would very likely show up here; one that survives is not thereby proved.

    Parameters
    ----------
    measure : callable
        Takes a market and one value per bidder, and returns an exact number.
    after : callable, optional
        What is measured on the fine model, if not the same: a premise broken on purpose.
    n_bidders : int
    to_mean : Fraction or int, in [0, 1]
        How far :func:`drawn_to_mean` spoils the fine model, which it leaves miscalibrated against
        the coarse one: a control.
    instances, seed : int

    Returns
    -------
    Changes

    Examples
    --------
    >>> count_changes(top_value, instances=20).falls
    0
    >>> count_changes(top_value, instances=20, to_mean=Fraction(3, 4)).falls > 0
    True
    """
    rng = np.random.default_rng(seed)
    signs = []
    for _ in range(instances):
        coarse, fine, _labels = random_refinement(rng, n_bidders=n_bidders)
        values = tuple(Fraction(int(v), 10) for v in rng.integers(1, 51, size=n_bidders))
        first = measure(coarse, values)
        second = (after or measure)(drawn_to_mean(fine, to_mean), values)
        signs.append((second > first) - (second < first))
    return Changes(signs.count(-1), signs.count(0), signs.count(1))
