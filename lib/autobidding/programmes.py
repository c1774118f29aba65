"""The linear benchmark of Theorem 5.11: an allocation chosen centrally under value budgets.

::

    max  sum w_C x_{i,C} a_i p_{i,C}
    s.t. sum_C w_C x_{i,C} a_i p_{i,C} <= B_i  for each bidder,
         sum_i x_{i,C} <= 1  for each cluster,  x >= 0,

with ``a_i`` the target or the value of bidder i. Its optimum is also the largest liquid welfare
of any allocation, and the yardstick of every loss. Source: arXiv 2605.31036, section 5.4
and appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array
from sympy import Rational
from sympy.solvers.simplex import linprog as exact_linprog

from lib.autobidding.arithmetic import Array, exceeds
from lib.autobidding.bidders import Bidder, budgets_of, values_of
from lib.autobidding.market import Market, check_labels
from lib.core import check


@dataclass(frozen=True, eq=False)
class BenchmarkSolution:
    """An optimal allocation, and in floats the prices that prove it optimal.

    Parameters
    ----------
    allocation : ndarray, shape (n_clusters, n_bidders)
        Shares in [0, 1].
    value : Fraction or float
        Objective of ``allocation``.
    shadow_prices : ndarray, shape (n_bidders,), or None
        Value of one more unit of each budget, in [0, 1]; zero without a budget. None in an exact
        market, whose optimum needs no such proof: the simplex method with fractions ends at it.
    gap : Fraction or float
        Objective of the dual at ``shadow_prices``, which no allocation exceeds, less ``value``.
    """

    allocation: Array
    value: Any
    shadow_prices: Array | None
    gap: Any


def lp_benchmark(market: Market, bidders: Sequence[Bidder]) -> BenchmarkSolution:
    """Solve the linear benchmark.

    Parameters
    ----------
    market : Market
        In floats solved by HiGHS, in exact arithmetic by SymPy's simplex method, which is meant
        for some dozen clusters.
    bidders : sequence of Bidder, length n_bidders
        Of either kind; ``budget=None`` leaves out the budget constraint.

    Returns
    -------
    BenchmarkSolution

    Raises
    ------
    ValueError
        When there is not one bidder for each column.

    Examples
    --------
    >>> market = Market.exact([1, 1], [["0.5", "0.4"], ["0.5", "0.2"]])
    >>> solution = lp_benchmark(market, [Bidder("tcpa", 1, Fraction(1, 2)), Bidder("tcpa", 1)])
    >>> solution.value, solution.gap
    (Fraction(9, 10), Fraction(0, 1))
    """
    worth = market.mass * values_of(market, bidders)
    n_clusters, n_bidders = worth.shape
    budgets = budgets_of(market, bidders)
    budgeted = [i for i, b in enumerate(budgets) if b is not None]
    # Rows: supply of each cluster, then budget of each bidder that has one.
    cluster, owner = np.divmod(np.arange(worth.size), n_bidders)
    limits = [1] * n_clusters + [budgets[i] for i in budgeted]
    if market.is_exact:
        rows = [(cluster == c).astype(int).tolist() for c in range(n_clusters)]
        rows += [(worth.ravel() * (owner == i)).tolist() for i in budgeted]
        _, found = exact_linprog(
            [-Rational(x) for x in worth.ravel()],
            [[Rational(x) for x in row] for row in rows],
            [Rational(x) for x in limits],
        )
        shares = np.array([Fraction(str(x)) for x in found]).reshape(worth.shape)
        return BenchmarkSolution(shares, (worth * shares).sum(), None, Fraction(0))
    scale = worth.max() or 1.0
    flat = worth.ravel() / scale
    capped = np.isin(owner, budgeted)
    row_of = {i: n_clusters + r for r, i in enumerate(budgeted)}
    at = np.r_[cluster, [row_of[i] for i in owner[capped]]].astype(int)
    cells = np.arange(worth.size)
    matrix = csr_array(
        (np.r_[np.ones(worth.size), flat[capped]], (at, np.r_[cells, cells[capped]])),
        shape=(len(limits), worth.size),
    )
    right = np.r_[np.ones(n_clusters), np.array(limits[n_clusters:], dtype=float) / scale]
    solved = linprog(-flat, A_ub=matrix, b_ub=right, bounds=(0, 1), method="highs")
    if solved.status != 0:
        raise ArithmeticError(f"HiGHS stopped: {solved.message}")
    shares = np.clip(solved.x, 0, 1).reshape(worth.shape)
    shadow = np.zeros(n_bidders)
    shadow[budgeted] = np.clip(-solved.ineqlin.marginals[n_clusters:], 0, 1)
    value = (worth * shares).sum()
    # The best dual prices of clusters follow from those of budgets.
    bound = (worth * (1 - shadow)).max(axis=1).sum() + sum(budgets[i] * shadow[i] for i in budgeted)
    return BenchmarkSolution(shares, value, shadow, bound - value)


def is_feasible(market: Market, bidders: Sequence[Bidder], allocation: Array) -> bool:
    """Whether an allocation keeps supply and every budget (exactly, or up to rounding in floats).

    Raises
    ------
    ValueError
        On an allocation of another shape than (n_clusters, n_bidders).
    """
    shares = _shares(market, allocation)
    worth = (market.mass * shares).sum(axis=0) * values_of(market, bidders)
    kept = all(
        b is None or not exceeds(used, b)
        for b, used in zip(budgets_of(market, bidders), worth, strict=True)
    )
    one = 1 + 0 * shares[0, 0]
    low, most = shares.min(), shares.sum(axis=1).max()
    return bool(kept and not exceeds(0 * one, low, one) and not exceeds(most, one))


def objective(market: Market, bidders: Sequence[Bidder], allocation: Array) -> Any:
    """Total value of an allocation, in money.

    Raises
    ------
    ValueError
        On an allocation of another shape than (n_clusters, n_bidders).

    Examples
    --------
    >>> market = Market.exact([2], [["0.5", "0.4"]])
    >>> objective(market, [Bidder("tcpa", 1), Bidder("tcpa", 3)], np.array([[0, 1]]))
    Fraction(12, 5)
    """
    shares = _shares(market, allocation)
    return (market.mass * values_of(market, bidders) * shares).sum()


def _shares(market: Market, allocation: Array) -> Array:
    check.array("allocation", allocation, shape=market.predictions.shape)
    return np.asarray(allocation)


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
    check.array("allocation", allocation, shape=("n_coarse", "n_bidders"))
    index = check_labels(labels, len(labels))
    if index.max() + 1 != len(allocation):
        raise ValueError(
            f"labels name {index.max() + 1} coarse clusters, the allocation has {len(allocation)}"
        )
    return np.asarray(allocation)[index]
