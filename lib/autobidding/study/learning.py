"""Two bidders that learn without regret: a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lib.autobidding.arithmetic import Floats
from lib.autobidding.bidders import Bidder
from lib.autobidding.correlated import grid_game
from lib.autobidding.market import Market
from lib.autobidding.mechanism import Rule


@dataclass(frozen=True, eq=False)
class LearningRun:
    """Time averages of two bidders that learn by exponential weights.

    Parameters
    ----------
    revenue : ndarray, shape (n_seeds,)
    regrets : ndarray, shape (n_seeds, 2)
        Average gain that the best fixed multiplier on the grid would have brought, in money.
    path : ndarray, shape (n_seeds, n_rounds)
        Running average of revenue.
    """

    revenue: Floats
    regrets: Floats
    path: Floats


def hedge(
    market: Market,
    bidders: Sequence[Bidder],
    grids: tuple[npt.ArrayLike, npt.ArrayLike],
    *,
    n_rounds: int,
    seeds: Sequence[int],
    rule: Rule = "first",
) -> LearningRun:
    """Let both bidders learn by Hedge (exponential weights, full feedback) on the grid.

    Every round each draws a multiplier from its weights, sees what every multiplier would have
    earned against the rival's draw, and reweights. The step size is AdaHedge's: it shrinks with
    the loss that mixing has cost so far, and so needs no knowledge of the range of utilities.
    Simulated.

    Parameters
    ----------
    market, bidders, grids, rule
        As in :func:`grid_game`.
    n_rounds : int
    seeds : sequence of int
        One run a seed.

    Raises
    ------
    ValueError
        As :func:`.grid_game`.
    """
    game = grid_game(market, bidders, grids, rule)
    tables = (game.utility[0], game.utility[1].T)
    draws = np.stack([np.random.default_rng(s).random((n_rounds, 2)) for s in seeds], axis=1)
    everyone = np.arange(len(seeds))
    earned = [np.zeros((len(seeds), len(t))) for t in tables]
    mixing_cost = [np.zeros(len(seeds)) for _ in tables]
    got = np.zeros((len(seeds), 2))
    revenue = np.empty((len(seeds), n_rounds))
    for t in range(n_rounds):
        played, weights, steps = [], [], []
        for k, table in enumerate(tables):
            # No cost so far means an infinite step: follow the leaders.
            step = np.log(len(table)) / np.maximum(mixing_cost[k], 1e-12 * np.abs(table).max())
            behind = earned[k] - earned[k].max(axis=1, keepdims=True)
            mass = np.exp(behind * step[:, None])
            mass /= mass.sum(axis=1, keepdims=True)
            played.append((mass.cumsum(axis=1) < draws[t, :, k, None]).sum(axis=1))
            played[k] = np.minimum(played[k], len(table) - 1)
            weights.append(mass)
            steps.append(step)
        for k, table in enumerate(tables):
            outcomes = table[:, played[1 - k]].T
            best = outcomes.max(axis=1)
            tail = np.exp((outcomes - best[:, None]) * steps[k][:, None])
            mixed = best + np.log((weights[k] * tail).sum(axis=1)) / steps[k]
            expected = (weights[k] * outcomes).sum(axis=1)
            mixing_cost[k] += np.maximum(mixed - expected, 0)
            earned[k] += outcomes
            got[:, k] += outcomes[everyone, played[k]]
        revenue[:, t] = game.metrics["revenue"][played[0], played[1]]
    best = np.stack([e.max(axis=1) for e in earned], axis=1)
    return LearningRun(
        revenue=revenue.mean(axis=1),
        regrets=np.maximum(best - got, 0) / n_rounds,
        path=revenue.cumsum(axis=1) / np.arange(1, n_rounds + 1),
    )
