"""Coarse correlated and correlated equilibria of two autobidders on a finite grid, by LP.

A designated profile need not be an equilibrium (arXiv 2605.31036 says so of its first-price
MAX-CPA row). What holds in *every* coarse correlated equilibrium also holds, up to regret, for the
time average of any bidders that learn without regret: so this module computes the whole range of a
metric over that set, for multipliers from a common finite grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import block_array, coo_array, csr_array, eye_array, kron

from lib.autobidding.arithmetic import Floats, Number, exceeds
from lib.autobidding.bidders import Bidder, check_bidders
from lib.autobidding.market import Market
from lib.autobidding.mechanism import RULES, Rule
from lib.core import check

PayoffMetric = Literal["revenue", "welfare"]
PAYOFF_METRICS: tuple[PayoffMetric, ...] = ("revenue", "welfare")


@dataclass(frozen=True, eq=False)
class GridGame:
    """Payoffs of two MAX-CPA bidders on a grid of effective multipliers.

    Parameters
    ----------
    grids : tuple of two ndarrays
        Effective multipliers ``g_i`` (money per conversion), rising.
    utility : tuple of two ndarrays, each of shape (n_first, n_second)
        Value minus payment.
    metrics : dict
        ``"revenue"`` and ``"welfare"``, same shape.
    """

    grids: tuple[Floats, Floats]
    utility: tuple[Floats, Floats]
    metrics: dict[str, Floats]


def shading_grid(value: Number, *, n_even: int = 41, n_low: int = 24) -> Floats:
    """Multipliers from zero to a bidder's value: even steps, and geometric ones near zero.

    Even steps resolve bidding close to value, as in a contested model; geometric ones from
    ``value / 1000`` to ``value / 10`` resolve deep shading, as in a segmented one.

    Parameters
    ----------
    value : number
        Money per conversion, positive.
    n_even, n_low : int
        Number of steps of each kind, at least two.

    Raises
    ------
    ValueError
        On a value that is not positive or fewer than two steps.

    Examples
    --------
    >>> shading_grid(10, n_even=3, n_low=2).tolist()
    [0.0, 0.01, 1.0, 5.0, 10.0]
    """
    top = check.number("value", value, above=0)
    n_even = check.integer("n_even", n_even, at_least=2)
    n_low = check.integer("n_low", n_low, at_least=2)
    return _distinct(np.r_[np.linspace(0, top, n_even), np.geomspace(top / 1000, top / 10, n_low)])


def _distinct(points: Floats) -> Floats:
    """Sorted points, twelve digits each, so that what differs by rounding is one point."""
    return np.unique([float(f"{x:.12g}") for x in points])


def threshold_grid(markets: Sequence[Market], rival: npt.ArrayLike) -> Floats:
    """Multipliers at which bidder 0 just ties bidder 1, in any cluster of any of the markets.

    On a tie bidder 0 wins, so against a rival on its grid no other multiplier is ever better.

    Parameters
    ----------
    markets : sequence of Market
        With two bidders.
    rival : array_like, shape (n_second,)
        Effective multipliers of bidder 1.

    Returns
    -------
    ndarray
        Sorted, without repetitions, with zero.

    Examples
    --------
    >>> threshold_grid([Market([1.0], [[0.5, 0.25]])], [0, 1, 2]).tolist()
    [0.0, 0.5, 1.0]
    """
    goals = check.array("rival", rival, shape=("n_second",), at_least=0)
    points = [np.zeros(1)]
    for market in markets:
        if market.n_bidders != 2:
            raise ValueError(f"expected two bidders, got {market.n_bidders}")
        for first, second in market.to_float().predictions:
            if first > 0:
                points.append(goals * second / first)
    return _distinct(np.concatenate(points))


def grid_game(
    market: Market,
    bidders: Sequence[Bidder],
    grids: tuple[npt.ArrayLike, npt.ArrayLike],
    rule: Rule = "first",
) -> GridGame:
    """Tabulate payoffs for every pair of multipliers.

    Parameters
    ----------
    market : Market
        With two bidders; used in floats.
    bidders : sequence of two Bidder
        MAX-CPA without budgets: for others a mixture may break constraints that its average keeps.
    grids : pair of array_like
        Effective multipliers of each bidder, not negative.
    rule : {"first", "second", "vcg"}

    Raises
    ------
    ValueError
        On another number of bidders than two, a tCPA or budgeted bidder, an unknown rule or a
        grid that is empty, negative or not finite.
    """
    check_bidders(market, bidders)
    if market.n_bidders != 2:
        raise ValueError(
            f"correlated equilibria are computed for two bidders, got {market.n_bidders}"
        )
    for i, bidder in enumerate(bidders):
        if bidder.kind != "maxcpa" or bidder.has_budget:
            raise ValueError(f"bidder {i} is {bidder}; expected a MAX-CPA bidder without budget")
    check.known("rule", rule, RULES)
    axes = [
        np.unique(check.array(f"grids[{i}]", grid, shape=("n_multipliers",), at_least=0))
        for i, grid in enumerate(grids)
    ]
    shape = (len(axes[0]), len(axes[1]))
    first, second, revenue, welfare = (np.zeros(shape) for _ in range(4))
    values = [float(b.value) for b in bidders]
    flat = market.to_float()
    for weight, (p1, p2) in zip(flat.weights, flat.predictions, strict=True):
        bid1, bid2 = axes[0][:, None] * p1, axes[1][None, :] * p2
        wins = ~exceeds(bid2, bid1)
        paid1, paid2 = (bid1, bid2) if rule == "first" else (bid2, bid1)
        first += weight * np.where(wins, values[0] * p1 - paid1, 0.0)
        second += weight * np.where(wins, 0.0, values[1] * p2 - paid2)
        revenue += weight * np.where(wins, paid1, paid2)
        welfare += weight * np.where(wins, values[0] * p1, values[1] * p2)
    return GridGame((axes[0], axes[1]), (first, second), {"revenue": revenue, "welfare": welfare})


def common_grids(
    markets: Sequence[Market], bidders: Sequence[Bidder], *, n_even: int = 41, n_low: int = 24
) -> tuple[Floats, Floats]:
    """Build one grid of multipliers for several models of the same users.

    Bidder 1's are a :func:`shading_grid` up to its value (a multiplier above it is weakly
    dominated); bidder 0's are those, up to its value, at which it ties one of them.

    Parameters
    ----------
    markets : sequence of Market
        With two bidders.
    bidders : sequence of two Bidder
    n_even, n_low : int
        As in :func:`shading_grid`.

    Returns
    -------
    tuple of two ndarrays
        Effective multipliers of bidder 0 and of bidder 1.

    Raises
    ------
    ValueError
        On fewer than two steps, or another number of bidders.

    Examples
    --------
    >>> pair = [Bidder("maxcpa", 4.0), Bidder("maxcpa", 10.0)]
    >>> first, second = common_grids([Market([1.0], [[0.5, 0.25]])], pair, n_even=3, n_low=2)
    >>> first.tolist(), second.tolist()
    ([0.0, 0.005, 0.5, 2.5], [0.0, 0.01, 1.0, 5.0, 10.0])
    """
    rival = shading_grid(bidders[1].value, n_even=n_even, n_low=n_low)
    own = threshold_grid(markets, rival)
    return own[own <= float(bidders[0].value)], rival


def cce_interval(
    market: Market,
    bidders: Sequence[Bidder],
    grids: tuple[npt.ArrayLike, npt.ArrayLike],
    metric: PayoffMetric,
    rule: Rule = "first",
    *,
    regrets: tuple[float, float] = (0.0, 0.0),
) -> tuple[float, float]:
    """Lowest and highest expected metric over all coarse correlated equilibria on the grid.

    Parameters
    ----------
    market, bidders, grids, rule
        As in :func:`grid_game`.
    metric : {"revenue", "welfare"}
    regrets : pair of float
        Gain by a fixed deviation that each bidder is allowed, in money: what learners have left.
        Infinite regrets drop the equilibrium condition.

    Returns
    -------
    tuple of float
        (low, high).

    Raises
    ------
    ValueError
        As :func:`grid_game`, and on an unknown metric or a negative regret.

    Notes
    -----
    A deviation to a fixed multiplier meets only the *marginal* of the rival, so the LP carries both
    marginals as variables. This makes its rows sparse: about ten times faster than writing each of
    the ``n_first + n_second`` conditions over all pairs.

    Examples
    --------
    >>> market = Market([1.0], [[0.5, 0.5]])
    >>> pair = [Bidder("maxcpa", 4.0), Bidder("maxcpa", 2.0)]
    >>> grid = [0.0, 1.0, 2.0]
    >>> [round(x, 6) for x in cce_interval(market, pair, (grid, grid), "welfare")]
    [1.666667, 2.0]
    """
    game = grid_game(market, bidders, grids, rule)
    cost = _metric(game, metric)
    for i, regret in enumerate(regrets):
        if regret != np.inf:
            check.number(f"regrets[{i}]", regret, at_least=0)
    # A solver's tolerances are absolute: everything is handed over in units of its own size.
    sizes = [_size(u) for u in game.utility]
    u1, u2 = (u / size for u, size in zip(game.utility, sizes, strict=True))
    a, b = u1.shape
    row_sums = kron(eye_array(a), np.ones((1, b)))
    column_sums = kron(np.ones((1, a)), eye_array(b))
    # Variables: joint probabilities, both marginals, both expected utilities.
    equalities = block_array(
        [
            [row_sums, -eye_array(a), None, None, None],
            [column_sums, None, -eye_array(b), None, None],
            [None, np.ones((1, a)), coo_array((1, b)), None, None],
            [u1.reshape(1, -1), None, None, -np.ones((1, 1)), None],
            [u2.reshape(1, -1), None, None, None, -np.ones((1, 1))],
        ]
    )
    deviations = block_array(
        [
            [coo_array((a, a * b)), coo_array((a, a)), u1, -np.ones((a, 1)), None],
            [coo_array((b, a * b)), u2.T, coo_array((b, b)), None, -np.ones((b, 1))],
        ]
    )
    kept = np.repeat(np.isfinite(regrets), (a, b))
    limits = np.repeat(np.asarray(regrets, dtype=float) / sizes, (a, b))
    padding = np.zeros(a + b + 2)
    return _range(
        np.r_[cost.ravel(), padding],
        csr_array(deviations)[np.flatnonzero(kept)],
        limits[kept],
        csr_array(equalities),
        np.r_[np.zeros(a + b), 1.0, 0.0, 0.0],
        [(0, None)] * (a * b + a + b) + [(None, None)] * 2,
    )


def ce_interval(
    market: Market,
    bidders: Sequence[Bidder],
    grids: tuple[npt.ArrayLike, npt.ArrayLike],
    metric: PayoffMetric,
    rule: Rule = "first",
) -> tuple[float, float]:
    """Lowest and highest expected metric over all correlated equilibria on the grid.

    Multipliers that another one strictly beats against everything left are removed first, again
    and again: no correlated equilibrium plays them.

    Parameters
    ----------
    market, bidders, grids, metric, rule
        As in :func:`cce_interval`.

    Raises
    ------
    ValueError
        As :func:`cce_interval`.

    Examples
    --------
    >>> market = Market([1.0], [[0.5, 0.5]])
    >>> pair = [Bidder("maxcpa", 4.0), Bidder("maxcpa", 2.0)]
    >>> grid = [0.0, 1.0, 2.0]
    >>> [round(x, 6) for x in ce_interval(market, pair, (grid, grid), "welfare")]
    [1.666667, 2.0]
    """
    game = grid_game(market, bidders, grids, rule)
    cost = _metric(game, metric)
    rows, columns = undominated(*game.utility)
    cost = cost[np.ix_(rows, columns)]
    u1, u2 = (u[np.ix_(rows, columns)] / _size(u) for u in game.utility)
    a, b = u1.shape
    blocks = [
        *((u1 - u1[i], slice(i * b, (i + 1) * b)) for i in range(a)),
        *(((u2 - u2[:, [j]]).T, slice(j, a * b, b)) for j in range(b)),
    ]
    entries, at_row, at_column, n_rows = [], [], [], 0
    for gains, where in blocks:
        local = coo_array(gains)
        entries.append(local.data)
        at_row.append(local.coords[0] + n_rows)
        at_column.append(np.arange(a * b)[where][local.coords[1]])
        n_rows += gains.shape[0]
    conditions = csr_array(
        (np.concatenate(entries), (np.concatenate(at_row), np.concatenate(at_column))),
        shape=(n_rows, a * b),
    )
    return _range(
        cost.ravel(),
        conditions,
        np.zeros(n_rows),
        csr_array(np.ones((1, a * b))),
        np.ones(1),
        (0, None),
    )


def undominated(first: Floats, second: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Actions that survive the repeated removal of strictly dominated ones (by pure actions).

    Parameters
    ----------
    first, second : ndarray, shape (n_first, n_second)
        Utility of each player.

    Returns
    -------
    tuple of two index arrays

    Examples
    --------
    >>> [x.tolist() for x in undominated(np.array([[1., 1.], [0., 0.]]), np.array([[0., 1.]] * 2))]
    [[0], [1]]
    """
    rows, columns = np.arange(first.shape[0]), np.arange(first.shape[1])
    while True:
        kept_rows = rows[_not_beaten(first[np.ix_(rows, columns)])]
        kept_columns = columns[_not_beaten(second[np.ix_(kept_rows, columns)].T)]
        if len(kept_rows) == len(rows) and len(kept_columns) == len(columns):
            return rows, columns
        rows, columns = kept_rows, kept_columns


def _not_beaten(utility: Floats) -> npt.NDArray[np.bool_]:
    """Rows that no other row beats in every column, by more than rounding."""
    size = np.abs(utility).max()
    return np.array([not exceeds(utility, row, size).all(axis=1).any() for row in utility])


def _metric(game: GridGame, metric: PayoffMetric) -> Floats:
    return game.metrics[check.known("metric", metric, PAYOFF_METRICS)]


def _size(table: Floats) -> float:
    return float(np.abs(table).max()) or 1.0


def _range(
    cost: Floats,
    matrix: csr_array,
    limits: Floats,
    equalities: csr_array,
    right: Floats,
    bounds: Any,
) -> tuple[float, float]:
    """Both ends of a linear function over a polytope."""
    ends, size = [], _size(cost)
    for sign in (1, -1):
        solved = linprog(
            sign * cost / size,
            A_ub=matrix,
            b_ub=limits,
            A_eq=equalities,
            b_eq=right,
            bounds=bounds,
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
        )
        if solved.status != 0:
            raise ArithmeticError(f"HiGHS stopped: {solved.message}")
        ends.append(sign * float(solved.fun) * size)
    return ends[0], ends[1]
