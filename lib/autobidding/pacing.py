"""First-price pacing equilibria: multipliers at which budgets last exactly.

Every bidder shades its bid ``beta_i v_i p_{i,C}`` by one multiplier, clusters go to the highest
bid and may be shared on ties, and nobody shades while money is left. The equilibrium solves a
convex programme of Eisenberg-Gale type,

    min over 0 < beta <= 1 of  sum_C w_C max_i beta_i v_i p_{i,C} - sum_i B_i log beta_i,

whose multipliers, revenue and utilities are unique. It is the budget-exhausting selection that
arXiv 2605.31036 uses in its first-price row with budgets (appendix B.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import clarabel
import numpy as np
from scipy.sparse import block_array, csc_array, eye_array

from lib.autobidding.arithmetic import Array, Floats, Number, exceeds, number, vector
from lib.autobidding.market import Market
from lib.core import check

MAX_CUTS = 1000
"""Allocations the cutting-plane method may look at; tens are usual."""

_TIE_TOLERANCES = (1e-12, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3)


class NotConvergedError(RuntimeError):
    """A solver stopped before the gap that was asked for."""


@dataclass(frozen=True, eq=False)
class PacingEquilibrium:
    """An allocation, the multipliers it implies, and how far it is from an equilibrium.

    Parameters
    ----------
    multipliers : ndarray, shape (n_bidders,)
        ``beta_i`` in (0, 1]: one, or the share of its value that a bidder's budget pays for.
    allocation : ndarray, shape (n_clusters, n_bidders)
        Share of each cluster that each bidder gets; rows sum to at most one.
    prices : ndarray, shape (n_clusters,)
        Highest bid, money per opportunity.
    spend, value : ndarray, shape (n_bidders,)
        Money paid, and value received.
    revenue, welfare, liquid_welfare : Fraction or float
        Total spend, total value, and total value capped at budgets.
    gap : Fraction or float
        Money lost because something is not sold to a highest bid, relative to the sum of highest
        bids. Zero in an equilibrium and only there; it is the relative duality gap of the convex
        programme, so it certifies any solver's result.
    iterations : int
        Passes over the market.
    """

    multipliers: Array
    allocation: Array
    prices: Array
    spend: Array
    value: Array
    revenue: Any
    welfare: Any
    liquid_welfare: Any
    gap: Any
    iterations: int = 0


def fppe(
    market: Market,
    values: Sequence[Number] | Array,
    budgets: Sequence[Number | None] | Array,
    *,
    tol: float = 1e-8,
) -> PacingEquilibrium:
    """Compute the first-price pacing equilibrium, certified by its duality gap.

    Parameters
    ----------
    market : Market
        Fractions give an exact equilibrium (gap zero in exact arithmetic); meant for up to some
        hundred clusters.
    values : sequence, length n_bidders
        Money per conversion, positive.
    budgets : sequence, length n_bidders
        Money, positive; ``None`` or infinity for a bidder that never shades.
    tol : float
        Largest accepted relative gap in float arithmetic, at least 1e-9.

    Returns
    -------
    PacingEquilibrium

    Raises
    ------
    ValueError
        On a wrong number of values or budgets, a NaN, one that is not positive, or ``tol`` out of
        range.
    NotConvergedError
        If the gap stays above ``tol``.

    Notes
    -----
    Kelley's cutting planes on the ``n_bidders``-dimensional dual. The sum of highest bids is
    convex and positively homogeneous, so the cut at a query ``beta`` is just the values that the
    bidders receive when bidding ``beta``: the master problem is a tiny market whose goods are past
    allocations, and its solution mixes them into a primal allocation. One pass over the data for
    each cut.

    Examples
    --------
    One bidder with half the money its value would cost shades by one half.

    >>> market = Market.exact([1], [["0.5", "0.1"]])
    >>> eq = fppe(market, [4, 1], [1, None])
    >>> eq.multipliers.tolist(), eq.revenue
    ([Fraction(1, 2), Fraction(1, 1)], Fraction(1, 1))
    """
    checked, limits = _check(market, values, budgets)
    check.number("tol", tol, at_least=1e-9, below=1)
    if not market.is_exact:
        goods = np.ascontiguousarray((market.mass * checked).T)
        shares, iterations = _cutting_planes(goods, limits.astype(float), tol)
        return certify(market, checked, limits, shares, iterations=iterations)
    # In floats first; the ties found there are then made exact.
    rough = fppe(market.to_float(), checked.astype(float), limits.astype(float), tol=1e-9)
    for tolerance in _TIE_TOLERANCES:
        exact = _exact_allocation(market, checked, limits, rough.multipliers, tolerance)
        if exact is not None:
            result = certify(market, checked, limits, exact, iterations=rough.iterations)
            if result.gap == 0:
                return result
    raise NotConvergedError(
        f"no exact equilibrium found near {rough.multipliers.tolist()}; its float gap is "
        f"{rough.gap:.1e}"
    )


def certify(
    market: Market,
    values: Sequence[Number] | Array,
    budgets: Sequence[Number | None] | Array,
    allocation: Array,
    *,
    iterations: int = 0,
) -> PacingEquilibrium:
    """Read multipliers off an allocation and measure how far it is from an equilibrium.

    The multiplier is ``min(1, B_i / value received)``: then nobody overspends and nobody shades
    with money left, and all that can be wrong is who wins. The same function judges every solver.

    Parameters
    ----------
    market, values, budgets
        As in :func:`fppe`.
    allocation : ndarray, shape (n_clusters, n_bidders)
        Not negative, rows summing to at most one (up to 1e-9 in floats).
    iterations : int
        Stored in the result.

    Raises
    ------
    ValueError
        On bad values or budgets, or an allocation of another shape or that is not feasible.

    Examples
    --------
    >>> market = Market.exact([1], [["0.5", "0.1"]])
    >>> certify(market, [4, 1], [1, None], np.array([[0, 1]])).gap
    Fraction(19, 20)
    """
    checked, limits = _check(market, values, budgets)
    shares = np.asarray(allocation)
    check.array("allocation", shares, shape=market.predictions.shape)
    one = number("one", 1, exact=market.is_exact)
    if exceeds(0 * one, shares.min(), one) or exceeds(shares.sum(axis=1).max(), one):
        raise ValueError("allocation is not feasible: shares below zero or rows above one")
    per_opportunity = market.predictions * checked
    value = (market.weights[:, None] * per_opportunity * shares).sum(axis=0)
    multipliers = np.array(
        [b / u if u > b else one for b, u in zip(limits, value, strict=True)],
        dtype=object if market.is_exact else float,
    )
    prices = (per_opportunity * multipliers).max(axis=1)
    spend = multipliers * value
    revenue, asked = spend.sum(), (market.weights * prices).sum()
    return PacingEquilibrium(
        multipliers=multipliers,
        allocation=shares,
        prices=prices,
        spend=spend,
        value=value,
        revenue=revenue,
        welfare=value.sum(),
        liquid_welfare=sum(min(b, u) for b, u in zip(limits, value, strict=True)),
        gap=(asked - revenue) / asked if asked > 0 else 0 * asked,
        iterations=iterations,
    )


def _check(
    market: Market, values: Sequence[Number] | Array, budgets: Sequence[Number | None] | Array
) -> tuple[Array, Array]:
    """Values and budgets in the market's arithmetic; a missing budget is infinite."""
    exact = market.is_exact
    check.array("values", values, shape=(market.n_bidders,), above=0)
    shape = np.asarray(budgets, dtype=object).shape
    if shape != (market.n_bidders,):
        raise ValueError(f"budgets have shape {shape}, expected one for each bidder")
    # Infinity stays a float: fractions compare with it and divide it without rounding.
    limits = []
    for i, b in enumerate(budgets):
        if b is None or (isinstance(b, float) and b == math.inf):
            limits.append(math.inf)
        else:
            check.number(f"budgets[{i}]", b, above=0)
            limits.append(number(f"budgets[{i}]", b, exact=exact))
    return (
        vector("values", values, market.n_bidders, exact=exact),
        np.array(limits, dtype=object if exact else float),
    )


def _received(goods: Floats, multipliers: Floats, bids: Floats) -> tuple[Floats, Floats]:
    """Highest bid per cluster, and the value each bidder receives when these bids are cleared."""
    np.multiply(goods, multipliers[:, None], out=bids)
    top = bids.max(axis=0)
    received = np.einsum("ic,ic->i", goods, bids == top)
    total = top.sum()
    if abs(multipliers @ received - total) > 1e-12 * total:
        # Some cluster was counted for several bidders: ties go to the lowest index.
        won = np.arange(len(goods))[:, None] == bids.argmax(axis=0)
        received = np.einsum("ic,ic->i", goods, won)
    return top, received


def _cutting_planes(goods: Floats, budgets: Floats, tol: float) -> tuple[Floats, int]:
    """Allocation of gap at most ``tol``, shape (n_clusters, n_bidders), and the passes needed."""
    n_bidders = len(goods)
    worth = goods.sum(axis=1)
    paced = budgets < worth
    # A bidder that can pay its full value for everything never shades.
    scale = budgets[paced].sum() if paced.any() else 1.0
    multipliers = np.ones(n_bidders)
    multipliers[paced] = np.minimum(1.0, budgets[paced] * n_bidders / worth[paced])
    bids = np.empty_like(goods)
    queries: list[Floats] = []
    cuts = np.empty((0, n_bidders))
    mix = np.empty(0)
    for passes in range(1, MAX_CUTS + 1):
        top, received = _received(goods, multipliers, bids)
        asked = top.sum()
        if len(mix) and asked - multipliers @ (mix @ cuts) <= tol * asked:
            return _mix(goods, queries, mix, bids), passes
        queries.append(multipliers)
        cuts = np.vstack([cuts, received])
        if not paced.any():
            mix = np.ones(1)
            continue
        mix = _master(
            cuts[:, paced] / scale, cuts[:, ~paced].sum(axis=1) / scale, budgets[paced] / scale
        )
        multipliers = np.ones(n_bidders)
        received = mix @ cuts[:, paced]
        multipliers[paced] = budgets[paced] / np.maximum(received, budgets[paced])
    raise NotConvergedError(f"relative gap above {tol:.1e} after {MAX_CUTS} cuts")


def _mix(goods: Floats, queries: list[Floats], mix: Floats, bids: Floats) -> Floats:
    """Average the allocations of past queries."""
    shares = np.zeros_like(goods)
    clusters = np.arange(goods.shape[1])
    for multipliers, share in zip(queries, mix, strict=True):
        if share > 0:
            np.multiply(goods, multipliers[:, None], out=bids)
            shares[bids.argmax(axis=0), clusters] += share
    return shares.T


def _master(cuts: Floats, fixed: Floats, budgets: Floats) -> Floats:
    """Weights of the cuts at the optimum of the model they make: the prices of its first rows.

    ``min t - budgets . log beta`` subject to ``cuts beta + fixed <= t`` and ``beta <= 1``, with an
    exponential cone for each logarithm.
    """
    n_cuts, n = cuts.shape
    ones, eye = np.ones((n_cuts, 1)), eye_array(n)
    # Variables: beta, t, and the logarithms.
    linear = block_array(
        [[csc_array(cuts), -ones, csc_array((n_cuts, n))], [eye, csc_array((n, 1)), None]]
    )
    cones = np.zeros((3 * n, 2 * n + 1))
    rows = np.arange(n)
    cones[3 * rows, n + 1 + rows] = -1  # exp(log) <= beta: the triple (log, 1, beta)
    cones[3 * rows + 2, rows] = -1
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    solution = clarabel.DefaultSolver(
        csc_array((2 * n + 1, 2 * n + 1)),
        np.r_[np.zeros(n), 1.0, -budgets],
        csc_array(block_array([[linear], [csc_array(cones)]])),
        np.r_[-fixed, np.ones(n), np.tile([0.0, 1.0, 0.0], n)],
        [clarabel.NonnegativeConeT(n_cuts + n), *[clarabel.ExponentialConeT()] * n],
        settings,
    ).solve()
    # Short of those digits it still returns its best: the caller measures the gap.
    weights = np.maximum(np.asarray(solution.z[:n_cuts]), 0)
    mix: Floats = weights / weights.sum()
    return mix


def _exact_allocation(
    market: Market, values: Array, limits: Array, rough: Floats, tolerance: float
) -> Array | None:
    """Exact allocation whose ties are those of ``rough`` within ``tolerance``; None if none fits.

    Ties fix the ratios of multipliers within a connected group of bidders; a bidder that does not
    shade, or else the group's money, fixes its level. Then a flow shares the tied clusters.
    """
    goods = market.mass * values
    n_clusters, n_bidders = goods.shape
    floats = goods.astype(float) * rough
    top = floats.max(axis=1)
    sold = [c for c in range(n_clusters) if top[c] > 0]
    # Union by closest ties first; ratio[i] is beta_i relative to the head of its group.
    group, ratio = list(range(n_bidders)), [Fraction(1)] * n_bidders
    near = [
        (1 - floats[c, i] / top[c], c, int(floats[c].argmax()), i)
        for c in sold
        for i in range(n_bidders)
        if i != floats[c].argmax() and floats[c, i] >= (1 - tolerance) * top[c]
    ]
    for _, c, i, j in sorted(near):
        if group[i] != group[j]:
            factor = ratio[i] * goods[c, i] / goods[c, j] / ratio[j]
            old = group[j]
            for k in range(n_bidders):
                if group[k] == old:
                    group[k], ratio[k] = group[i], ratio[k] * factor
    multipliers = np.array(ratio, dtype=object)
    for head in set(group):
        members = [i for i in range(n_bidders) if group[i] == head]
        closest = max(members, key=lambda i: rough[i])
        if rough[closest] >= 1 - tolerance or any(math.isinf(limits[i]) for i in members):
            level = 1 / ratio[closest]
        else:
            bought = sum(
                max(ratio[i] * goods[c, i] for i in members)
                for c in sold
                if group[int(floats[c].argmax())] == head
            )
            if bought == 0:
                return None
            level = sum(limits[i] for i in members) / bought
        for i in members:
            multipliers[i] = ratio[i] * level
    bids = goods * multipliers
    prices = bids.max(axis=1)
    paced = [i for i in range(n_bidders) if multipliers[i] < 1]
    if any(multipliers[i] > 1 for i in range(n_bidders)) or any(
        math.isinf(limits[i]) for i in paced
    ):
        return None
    money = _share_ties(bids, prices, limits, paced)
    if money is None:
        return None
    shares = np.full(goods.shape, Fraction(0), dtype=object)
    for (c, i), amount in money.items():
        shares[c, i] = amount / prices[c]
    return shares


def _share_ties(
    bids: Array, prices: Array, limits: Array, paced: Iterable[int]
) -> dict[tuple[int, int], Fraction] | None:
    """Money of bidder i on cluster c so that clusters are sold and paced budgets spent, exactly.

    Augmenting paths, shortest first; bidders that shade are filled before those that do not.
    """
    n_clusters, n_bidders = bids.shape
    holders = [[i for i in range(n_bidders) if bids[c, i] == prices[c]] for c in range(n_clusters)]
    money: dict[tuple[int, int], Fraction] = {}
    spent = [Fraction(0)] * n_bidders
    unsold = {c: prices[c] for c in range(n_clusters) if prices[c] > 0}
    paced = list(paced)
    for targets in (paced, range(n_bidders)):
        for start in list(unsold):
            while start in unsold:
                path = _augmenting_path(start, holders, money, spent, limits, targets)
                if path is None:
                    break
                # path alternates cluster, bidder, cluster, ..., bidder.
                last = path[-1]
                room = [unsold[start], limits[last] - spent[last]]
                room += [money[path[k + 1], path[k]] for k in range(1, len(path) - 1, 2)]
                amount = min(room)
                for k in range(0, len(path), 2):
                    edge = path[k], path[k + 1]
                    money[edge] = money.get(edge, Fraction(0)) + amount
                    if k:
                        money[path[k], path[k - 1]] -= amount
                spent[last] += amount
                unsold[start] -= amount
                if unsold[start] == 0:
                    del unsold[start]
    if unsold or any(spent[i] != limits[i] for i in paced):
        return None
    return money


def _augmenting_path(
    start: int,
    holders: list[list[int]],
    money: dict[tuple[int, int], Fraction],
    spent: list[Fraction],
    limits: Array,
    targets: Iterable[int],
) -> list[int] | None:
    """Shortest way to place money of cluster ``start`` with a target that has some left."""
    wanted = set(targets)
    paths, seen = [[start]], set()
    while paths:
        longer = []
        for path in paths:
            for i in holders[path[-1]]:
                if i in seen:
                    continue
                seen.add(i)
                if i in wanted and spent[i] < limits[i]:
                    return [*path, i]
                longer += [[*path, i, c] for (c, j), m in money.items() if j == i and m > 0]
        paths = longer
    return None
