"""The linear benchmark of Theorem 5.11: an allocation chosen centrally under value budgets.

::

    max  sum w_C x_{i,C} a_i p_{i,C}
    s.t. sum_C w_C x_{i,C} a_i p_{i,C} <= B_i  for each bidder,
         sum_i x_{i,C} <= 1  for each cluster,  x >= 0,

with ``a_i`` the target or the value of bidder i. Its optimum is also the largest liquid welfare
of any allocation, and the yardstick of :mod:`.ceilings`. Source: arXiv 2605.31036, section 5.4
and appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array
from sympy import QQ
from sympy.polys.matrices import DomainMatrix

from lib.autobidding.bidders import Bidder, check_bidders, number
from lib.autobidding.market import Array, Market, check_labels

_ZERO = 1e-9
_LARGEST_DENOMINATOR = 10**6


@dataclass(frozen=True, eq=False)
class BenchmarkSolution:
    """An optimal allocation and the prices that prove it optimal.

    Parameters
    ----------
    allocation : ndarray, shape (n_clusters, n_bidders)
        Shares in [0, 1].
    shadow_prices : ndarray, shape (n_bidders,)
        Value of one more unit of each budget, in [0, 1]; zero without a budget.
    value : Fraction or float
        Objective of ``allocation``.
    bound : Fraction or float
        Objective of the dual at ``shadow_prices``: no allocation is worth more.
    """

    allocation: Array
    shadow_prices: Array
    value: Any
    bound: Any

    @property
    def gap(self) -> Any:
        """``bound - value``; zero proves the allocation optimal."""
        return self.bound - self.value


def lp_benchmark(market: Market, bidders: Sequence[Bidder]) -> BenchmarkSolution:
    """Solve the linear benchmark, with a dual certificate.

    Parameters
    ----------
    market : Market
        In exact arithmetic the float optimum of HiGHS is made exact through its tight
        constraints, and proved by a rational dual: ``gap`` is then exactly zero.
    bidders : sequence of Bidder, length n_bidders
        Of either kind; ``budget=None`` leaves out the budget constraint.

    Returns
    -------
    BenchmarkSolution

    Raises
    ------
    ValueError
        When there is not one bidder for each column.
    ArithmeticError
        If no exact optimum is found near the float one (exact markets only).

    Examples
    --------
    >>> market = Market.exact([1, 1], [["0.5", "0.4"], ["0.5", "0.2"]])
    >>> solution = lp_benchmark(market, [Bidder("tcpa", 1, Fraction(1, 2)), Bidder("tcpa", 1)])
    >>> solution.value, solution.gap
    (Fraction(9, 10), Fraction(0, 1))
    """
    check_bidders(market, bidders)
    values = np.array([number(market, b.value) for b in bidders], dtype=market.predictions.dtype)
    worth = market.mass * values
    n_clusters, n_bidders = worth.shape
    budgeted = [i for i, b in enumerate(bidders) if b.budget is not None]
    budgets = {i: number(market, bidders[i].budget) for i in budgeted}
    cells = np.arange(n_clusters * n_bidders)
    cluster, owner = np.divmod(cells, n_bidders)
    flat = worth.ravel().astype(float)
    scale = flat.max() or 1.0
    # Rows: supply of each cluster, then budget of each bidder that has one.
    row_of = {i: n_clusters + r for r, i in enumerate(budgeted)}
    capped = np.isin(owner, budgeted)
    rows = np.r_[cluster, [row_of[i] for i in owner[capped]]].astype(int)
    entries = np.r_[np.ones(len(cells)), flat[capped] / scale]
    matrix = csr_array(
        (entries, (rows, np.r_[cells, cells[capped]])),
        shape=(n_clusters + len(budgeted), len(cells)),
    )
    limits = np.r_[np.ones(n_clusters), [float(budgets[i]) / scale for i in budgeted]]
    solved = linprog(-flat / scale, A_ub=matrix, b_ub=limits, bounds=(0, 1), method="highs")
    if solved.status != 0:
        raise ArithmeticError(f"HiGHS stopped: {solved.message}")
    shares = np.clip(solved.x, 0, 1).reshape(worth.shape)
    shadow = np.zeros(n_bidders)
    shadow[budgeted] = np.clip(-solved.ineqlin.marginals[n_clusters:], 0, 1)
    if not market.is_exact:
        return _solution(worth, budgets, shares, shadow)
    exact = _solution(
        worth,
        budgets,
        _exact_primal(worth, budgets, shares),
        _exact_dual(worth, shares, shadow),
    )
    if exact.gap != 0 or not is_feasible(market, bidders, exact.allocation):
        raise ArithmeticError(f"no exact optimum near the float one; gap {float(exact.gap):.1e}")
    return exact


def is_feasible(market: Market, bidders: Sequence[Bidder], allocation: Array) -> bool:
    """Whether an allocation keeps supply and every budget (exactly, or up to 1e-9 in floats).

    Raises
    ------
    ValueError
        On an allocation of another shape than (n_clusters, n_bidders).
    """
    check_bidders(market, bidders)
    shares = np.asarray(allocation)
    if shares.shape != market.predictions.shape:
        raise ValueError(
            f"allocation has shape {shares.shape}, expected {market.predictions.shape}"
        )
    slack = 0 if market.is_exact else _ZERO
    used = (market.mass * shares).sum(axis=0)
    kept = all(
        b.budget is None or number(market, b.value) * u <= number(market, b.budget) * (1 + slack)
        for b, u in zip(bidders, used, strict=True)
    )
    return bool(kept and (shares >= -slack).all() and (shares.sum(axis=1) <= 1 + slack).all())


def objective(market: Market, bidders: Sequence[Bidder], allocation: Array) -> Any:
    """Total value of an allocation, in money."""
    check_bidders(market, bidders)
    values = np.array([number(market, b.value) for b in bidders], dtype=market.predictions.dtype)
    return (market.mass * values * allocation).sum()


def lift(allocation: Array, labels: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Array:
    """Copy a coarse allocation to every finer cluster.

    By calibration the copy uses the same supply and budgets and has the same objective, which is
    the proof of Theorem 5.11.

    Parameters
    ----------
    allocation : ndarray, shape (n_coarse, n_bidders)
    labels : array_like of int, shape (n_fine,)
        Coarse cluster of each fine one.

    Returns
    -------
    ndarray, shape (n_fine, n_bidders)

    Raises
    ------
    ValueError
        When the labels do not name every row of ``allocation``.

    Examples
    --------
    >>> lift(np.array([[0.5, 0.5], [0.0, 1.0]]), [0, 0, 1]).tolist()
    [[0.5, 0.5], [0.5, 0.5], [0.0, 1.0]]
    """
    index = check_labels(labels, len(labels))
    if index.max() + 1 != len(allocation):
        raise ValueError(
            f"labels name {index.max() + 1} coarse clusters, the allocation has {len(allocation)}"
        )
    return np.asarray(allocation)[index]


def _solution(
    worth: Array, budgets: dict[int, Any], shares: Array, shadow: Array
) -> BenchmarkSolution:
    """Attach both objectives; the dual prices of clusters follow from those of budgets."""
    best = (worth * (1 - shadow)).max(axis=1)
    return BenchmarkSolution(
        allocation=shares,
        shadow_prices=shadow,
        value=(worth * shares).sum(),
        bound=best.sum() + sum(budgets[i] * shadow[i] for i in budgets),
    )


def _exact_primal(worth: Array, budgets: dict[int, Any], shares: Array) -> Array:
    """Exact shares from the support and the tight constraints of the float ones."""
    n_clusters, n_bidders = worth.shape
    support = [(c, i) for c in range(n_clusters) for i in range(n_bidders) if shares[c, i] > _ZERO]
    position = {cell: k for k, cell in enumerate(support)}
    rows: list[list[Fraction]] = []
    right: list[Fraction] = []
    for c in range(n_clusters):
        if shares[c].sum() > 1 - _ZERO:
            rows.append([Fraction(int(cell[0] == c)) for cell in support])
            right.append(Fraction(1))
    for i, budget in budgets.items():
        if float((worth[:, i] * shares[:, i]).sum()) > float(budget) * (1 - _ZERO):
            row = [Fraction(0)] * len(support)
            for c in range(n_clusters):
                if (c, i) in position:
                    row[position[c, i]] = worth[c, i]
            rows.append(row)
            right.append(budget)
    exact = np.full(worth.shape, Fraction(0), dtype=object)
    for cell, x in zip(support, _solve(rows, right, [shares[s] for s in support]), strict=True):
        exact[cell] = x
    return exact


def _exact_dual(worth: Array, shares: Array, shadow: Array) -> Array:
    """Exact shadow prices: where two bidders share a cluster, its worth to both is equal."""
    n_bidders = worth.shape[1]
    rows: list[list[Fraction]] = []
    right: list[Fraction] = []
    for i in range(n_bidders):
        for end in (0, 1):
            if abs(shadow[i] - end) < _ZERO:
                rows.append([Fraction(int(i == j)) for j in range(n_bidders)])
                right.append(Fraction(end))
    for c, row_shares in enumerate(shares):
        holders = [i for i in range(n_bidders) if row_shares[i] > _ZERO and worth[c, i] > 0]
        for i, j in pairwise(holders):
            row = [Fraction(0)] * n_bidders
            row[i], row[j] = worth[c, i], -worth[c, j]
            rows.append(row)
            right.append(worth[c, i] - worth[c, j])
    return np.array(_solve(rows, right, list(shadow)), dtype=object)


def _solve(
    rows: list[list[Fraction]], right: list[Fraction], near: Sequence[float]
) -> list[Fraction]:
    """Rational solution of ``rows x = right``; what they leave open is taken from ``near``."""
    guess = [Fraction(float(x)).limit_denominator(_LARGEST_DENOMINATOR) for x in near]
    if not rows:
        return guess
    augmented = DomainMatrix(
        [
            [QQ(x.numerator, x.denominator) for x in [*row, b]]
            for row, b in zip(rows, right, strict=True)
        ],
        (len(rows), len(near) + 1),
        QQ,
    )
    reduced, pivots = augmented.rref()
    table = reduced.to_list()
    solution = list(guess)
    for line, pivot in zip(table, pivots, strict=False):
        if pivot == len(near):
            # No solution: the caller's exact check will say so.
            return guess
        known = Fraction(int(line[-1].numerator), int(line[-1].denominator))
        for k in range(pivot + 1, len(near)):
            if line[k]:
                known -= Fraction(int(line[k].numerator), int(line[k].denominator)) * guess[k]
        solution[pivot] = known
    return solution
