"""How often better predictions hurt: random markets, drawn and counted.

Predictions are uniform on [0, 1], targets uniform on [1/2, 2], clusters have equal mass, and the
coarse model pools neighbours into groups of equal size. Everything here is simulated: the shares
say how common an effect is under this draw, not in any real auction. Theorems are not tested by
drawing; where one holds, its row must read zero and serves as a check of the code.

The design is ours; arXiv 2605.31036 names prevalence as an open question.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.autobidding.arithmetic import Floats, exceeds
from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import EquilibriumCell, equilibria_2p, equilibrium_range
from lib.autobidding.estimation import truthful_revenue
from lib.autobidding.market import Market
from lib.autobidding.mechanism import Rule
from lib.core import check, sweeps
from lib.stats import binomial

TARGETS = (0.5, 2.0)
"""Range of the targets, money per conversion."""

BLOCK = 10_000
"""Markets drawn at once; a block is one item of a sweep."""


@dataclass(frozen=True)
class Design:
    """The shape of a random market.

    Parameters
    ----------
    n_bidders, n_fine, n_coarse : int
        Positive; ``n_fine`` is a multiple of ``n_coarse`` and larger.
    """

    n_bidders: int
    n_fine: int
    n_coarse: int


GRID = tuple(
    Design(n, fine, coarse) for n in (2, 3, 5, 10) for fine, coarse in ((2, 1), (8, 4), (64, 8))
)
"""The cells of the atlas."""


EVENTS = ("spa_falls", "spa_rises", "fpa_falls", "control_falls")
"""Truthful second-price revenue falls, and rises; first-price revenue of tCPA bidders falls; the
same with a miscalibrated fine model, half way to each bidder's mean, so that its total stays."""

Counts = npt.NDArray[np.int64]


def draw(design: Design, n_markets: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Draw random markets.

    Parameters
    ----------
    design : Design
    n_markets : int
        At least 1.
    rng : numpy Generator

    Returns
    -------
    fine : ndarray, shape (n_markets, n_fine, n_bidders)
        Predictions of the fine model.
    coarse : ndarray, shape (n_markets, n_coarse, n_bidders)
        Means over groups of ``n_fine / n_coarse`` neighbours.
    targets : ndarray, shape (n_markets, n_bidders)
        Money per conversion.
    """
    check.integer("n_markets", n_markets, at_least=1)
    fine = rng.uniform(size=(n_markets, design.n_fine, design.n_bidders))
    targets = rng.uniform(*TARGETS, size=(n_markets, design.n_bidders))
    groups = fine.reshape(n_markets, design.n_coarse, -1, design.n_bidders)
    return fine, groups.mean(axis=2), targets


def count_changes(design: Design, n_markets: int, rng: np.random.Generator) -> Counts:
    """Draw markets and count how revenue changes from the coarse model to the fine one.

    Parameters
    ----------
    design : Design
    n_markets : int
        At least 1.
    rng : numpy Generator

    Returns
    -------
    ndarray of int, shape (4,)
        How often each of :data:`EVENTS` happened.

    Examples
    --------
    >>> count_changes(Design(2, 8, 4), 500, np.random.default_rng(0))[1:3].tolist()
    [0, 0]
    """
    fine, coarse, targets = draw(design, n_markets, rng)
    # Half way to each bidder's mean: totals stay, means of the coarse clusters do not.
    wrong = (fine + fine.mean(axis=1, keepdims=True)) / 2

    def revenue(predictions: Floats, rule: Literal["first", "second"]) -> Floats:
        weights = np.full(predictions.shape[:2], 1 / predictions.shape[1])
        return truthful_revenue(weights, predictions, targets[:, None, :], rule)

    second, before = revenue(fine, "second"), revenue(coarse, "second")
    first = revenue(coarse, "first")
    events = [
        exceeds(before, second),
        exceeds(second, before),
        exceeds(first, revenue(fine, "first")),
        exceeds(first, revenue(wrong, "first")),
    ]
    return np.array([one.sum() for one in events])


def _count_block(item: tuple[Design, int, int], rng: np.random.Generator) -> Counts:
    """One item of the sweep: a design, a number of markets, and the number of the block."""
    design, n_markets, _ = item
    return count_changes(design, n_markets, rng)


def truthful_atlas(
    n_markets: int,
    *,
    seed: int,
    grid: Iterable[Design] = GRID,
    cache: bool = False,
    n_jobs: int | None = 1,
) -> pd.DataFrame:
    """Count changes of truthful revenue over a grid of designs.

    Parameters
    ----------
    n_markets : int
        Random markets in each cell of the grid, at least 1.
    seed : int
        Of the sweep; the numbers do not depend on how many processes count.
    grid : iterable of Design
    cache : bool
        Keep finished blocks on disk, so that a long sweep resumes (:func:`lib.core.sweeps.run`).
    n_jobs : int, optional
        Processes; ``None`` for one a core.

    Returns
    -------
    DataFrame
        One row a design and event (one of :data:`EVENTS`): ``bidders``, ``fine``,
        ``coarse``, ``event``, ``count``, ``markets``, ``share``, and a 95 % interval ``low``,
        ``high``.
    """
    check.integer("n_markets", n_markets, at_least=1)
    blocks = [min(BLOCK, n_markets - start) for start in range(0, n_markets, BLOCK)]
    items = [(design, size, k) for design in grid for k, size in enumerate(blocks)]
    results = sweeps.run(
        _count_block, items, name="autobidding-atlas", seed=seed, cache=cache, n_jobs=n_jobs
    )
    totals: dict[Design, Counts] = {}
    for (design, _, _), counts in zip(items, results, strict=True):
        totals[design] = totals.get(design, 0) + counts
    rows = [
        {
            "bidders": design.n_bidders,
            "fine": design.n_fine,
            "coarse": design.n_coarse,
            "event": event,
            **proportion(int(count), n_markets),
        }
        for design, counts in totals.items()
        for event, count in zip(EVENTS, counts, strict=True)
    ]
    return pd.DataFrame(rows)


def proportion(count: int, markets: int, level: float = 0.95) -> dict[str, float]:
    """Share with its Clopper-Pearson interval, which is exact also at shares of zero and one.

    Parameters
    ----------
    count, markets : int
        ``0 <= count <= markets`` and ``markets >= 1``.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    dict
        ``count``, ``markets``, ``share``, ``low``, ``high``.

    Raises
    ------
    ValueError
        On numbers out of order.

    Examples
    --------
    >>> round(proportion(0, 100)["high"], 3)
    0.036
    """
    found = binomial(count, markets, level=level)
    return {
        "count": count,
        "markets": markets,
        "share": found.value,
        "low": found.low,
        "high": found.high,
    }


# ── Two bidders, all equilibria ───────────────────────────────────────────────────────────────

CENSUS = Design(2, 4, 2)
"""The markets whose equilibria are enumerated."""


def budget_census(n_markets: int, *, seed: int, budgeted: bool = True) -> pd.DataFrame:
    """Enumerate first-price equilibria of budgeted tCPA bidders before and after refinement.

    Budgets are uniform between zero and what winning everything at target would cost.

    Parameters
    ----------
    n_markets : int
        Random markets of shape :data:`CENSUS`.
    seed : int
    budgeted : bool
        ``False`` takes the budgets away: the control, where nothing can be lost.

    Returns
    -------
    DataFrame
        One row a market: ``exists`` (both models have a pure equilibrium), ``coarse_low``,
        ``coarse_high``, ``fine_low``, ``fine_high`` (liquid welfare over all equilibria, NaN
        without one), and ``falls_everywhere`` (every fine one is below every coarse one).
    """
    rng = np.random.default_rng(seed)
    fine, coarse, targets = draw(CENSUS, n_markets, rng)
    share = rng.uniform(size=targets.shape)
    budgets = share * targets * fine.mean(axis=1)
    rows = []
    for k in range(n_markets):
        pair = [
            Bidder("tcpa", t, b if budgeted else None)
            for t, b in zip(targets[k].tolist(), budgets[k].tolist(), strict=True)
        ]
        before, after = (_cells(table, pair, "first") for table in (coarse[k], fine[k]))
        (a, b), (c, d) = _range(before), _range(after)
        rows.append((bool(before and after), a, b, c, d, bool(exceeds(a, d))))
    names = ["exists", "coarse_low", "coarse_high", "fine_low", "fine_high", "falls_everywhere"]
    return pd.DataFrame(rows, columns=names)


def binding_census(n_markets: int, *, seed: int, rule: Rule = "second") -> pd.DataFrame:
    """Count tCPA equilibria at which both targets bind, before and after refinement.

    Parameters
    ----------
    n_markets : int
        Random markets of shape :data:`CENSUS`.
    seed : int
    rule : {"first", "second", "vcg"}

    Returns
    -------
    DataFrame
        One row a market: ``coarse`` and ``fine``, the number of equilibria, at most one an
        allocation, at which both bidders pay exactly their target.
    """
    fine, coarse, targets = draw(CENSUS, n_markets, np.random.default_rng(seed))
    rows = []
    for k in range(n_markets):
        pair = [Bidder("tcpa", t) for t in targets[k].tolist()]
        cells = [_cells(table, pair, rule) for table in (coarse[k], fine[k])]
        rows.append([sum(c.binding is not None for c in found) for found in cells])
    return pd.DataFrame(rows, columns=["coarse", "fine"])


def _cells(predictions: Floats, pair: list[Bidder], rule: Rule) -> list[EquilibriumCell]:
    """Equilibria of a market of clusters of equal mass, total mass one."""
    market = Market(np.full(len(predictions), 1 / len(predictions)), predictions)
    return equilibria_2p(market, pair, rule)


def _range(cells: list[EquilibriumCell]) -> tuple[float, float]:
    return equilibrium_range(cells, "liquid_welfare") if cells else (np.nan, np.nan)
