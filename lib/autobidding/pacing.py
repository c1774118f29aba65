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

import numpy as np
import numpy.typing as npt

from lib.autobidding.bidders import Number, number
from lib.autobidding.market import Array, Market

Floats = npt.NDArray[np.float64]

MAX_CUTS = 1000
"""Allocations the cutting-plane method may look at; tens are usual."""

_MASTER_TOLERANCE = 1e-10
_IN_USE = 1e-5
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
    if not 1e-9 <= tol < 1:
        raise ValueError(f"tol is {tol}; expected a number in [1e-9, 1)")
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
    if shares.shape != market.predictions.shape:
        raise ValueError(
            f"allocation has shape {shares.shape}, expected {market.predictions.shape}"
        )
    slack = 0 if market.is_exact else 1e-9
    if not ((shares >= -slack).all() and (shares.sum(axis=1) <= 1 + slack).all()):
        raise ValueError("allocation is not feasible: shares below zero or rows above one")
    per_opportunity = market.predictions * checked
    value = (market.weights[:, None] * per_opportunity * shares).sum(axis=0)
    one = number(market, 1)
    multipliers = np.array(
        [min(one, b / u) if u > 0 else one for b, u in zip(limits, value, strict=True)],
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


def proportional_response(
    market: Market,
    values: Sequence[Number] | Array,
    budgets: Sequence[Number | None] | Array,
    *,
    tol: float = 1e-4,
    max_rounds: int = 100_000,
) -> PacingEquilibrium:
    """Reach the same equilibrium by a dynamic that solves no optimisation problem.

    Each round every bidder splits its budget over clusters, and money kept, in proportion to the
    utility that each brought in the round before; a cluster is shared in proportion to the money
    on it. Converges at rate 1/rounds.

    Parameters
    ----------
    market, values, budgets
        As in :func:`fppe`; computed in floats.
    tol : float
        Relative gap at which to stop.
    max_rounds : int

    Raises
    ------
    ValueError
        On bad values or budgets.
    NotConvergedError
        After ``max_rounds``.
    """
    market = market.to_float()
    checked, limits = _check(market, values, budgets)
    goods = np.ascontiguousarray((market.mass * checked).T)
    worth = goods.sum(axis=1)
    # No bidder can spend more than the value of everything, so that much money is unbounded money.
    money = np.minimum(limits, np.maximum(worth, np.finfo(float).tiny))[:, None]
    offers = money / 2 * goods / np.maximum(worth, np.finfo(float).tiny)[:, None]
    kept = money / 2
    result = None
    for rounds in range(1, max_rounds + 1):
        prices = offers.sum(axis=0)
        shares = np.divide(offers, prices, out=np.zeros_like(offers), where=prices > 0)
        if rounds % 50 == 0:
            result = certify(market, checked, limits, shares.T, iterations=rounds)
            if result.gap <= tol:
                return result
        utility = goods * shares
        scale = money / (utility.sum(axis=1, keepdims=True) + kept)
        offers, kept = utility * scale, kept * scale
    reached = "unknown" if result is None else f"{result.gap:.1e}"
    raise NotConvergedError(f"gap {reached} after {max_rounds} rounds, wanted {tol:.1e}")


def _check(
    market: Market,
    values: Sequence[Number] | Array,
    budgets: Sequence[Number | None] | Array,
) -> tuple[Array, Array]:
    """Values and budgets in the market's arithmetic; a missing budget is infinite."""
    for name, given in (("value", values), ("budget", budgets)):
        if len(given) != market.n_bidders:
            raise ValueError(f"expected {market.n_bidders} {name}s, got {len(given)}")
    for i, v in enumerate(values):
        if not (math.isfinite(v) and v > 0):
            raise ValueError(f"value of bidder {i} is {v}; expected a positive finite number")
    for i, b in enumerate(budgets):
        if b is not None and not b > 0:
            raise ValueError(f"budget of bidder {i} is {b}; expected a positive number or None")
    dtype = object if market.is_exact else float
    # Infinity stays a float: fractions compare with it and divide it without rounding.
    limits = [math.inf if b is None or math.isinf(b) else number(market, b) for b in budgets]
    return (
        np.array([number(market, v) for v in values], dtype=dtype),
        np.array(limits, dtype=dtype),
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
            cuts[:, paced] / scale,
            cuts[:, ~paced].sum(axis=1) / scale,
            budgets[paced] / scale,
            multipliers[paced],
            # Sharpened weights win digits, but may ask the same question for ever; the barrier's
            # own do not.
            sharpen=passes % 2 == 0,
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


def _master(
    cuts: Floats, fixed: Floats, budgets: Floats, start: Floats, *, sharpen: bool
) -> Floats:
    """Weights of the cuts at the optimum of the model they make.

    Solves ``min t - budgets . log beta`` subject to ``cuts beta + fixed <= t`` and ``beta <= 1`` by
    a primal-dual interior point method (Mehrotra's predictor and corrector), which treats the
    logarithms as complementarity pairs whose product is driven to the budget instead of to zero.
    The weights are the multipliers of the cuts.
    """
    n_cuts, n = cuts.shape
    rows = np.zeros((n_cuts + n, n + 1))
    rows[:n_cuts, :n], rows[:n_cuts, n] = cuts, -1
    rows[n_cuts:, :n] = np.eye(n)
    beta = np.minimum(start, 0.99)
    point = np.r_[beta, (cuts @ beta + fixed).max() + 0.1]
    slack = np.r_[-fixed, np.ones(n)] - rows @ point
    dual = np.r_[np.full(n_cuts, 1 / n_cuts), np.full(n, 0.1 / n)]
    price = budgets / beta
    diagonal = np.arange(n)

    def length(*pairs: tuple[Floats, Floats]) -> float:
        return 1 / max(1.0, *(float((-step / at).max()) / 0.995 for at, step in pairs))

    for _ in range(100):
        beta = point[:n]
        products, money = slack * dual, beta * price - budgets
        if products.sum() < _MASTER_TOLERANCE and abs(money).max() < _MASTER_TOLERANCE:
            break
        residual = rows.T @ dual
        residual[:n] -= price
        residual[n] += 1
        matrix = (rows.T * (dual / slack)) @ rows
        matrix[diagonal, diagonal] += price / beta

        try:
            state = rows, matrix, residual, slack, dual, beta, price
            move, slack_move, dual_move, price_move = _newton_step(state, -products, -money)
            reach = length(
                (slack, slack_move), (dual, dual_move), (beta, move[:n]), (price, price_move)
            )
            centre = (1 - reach) ** 3 * products.mean()
            move, slack_move, dual_move, price_move = _newton_step(
                state, centre - products - slack_move * dual_move, -money - move[:n] * price_move
            )
        except np.linalg.LinAlgError:
            # Out of digits: the caller measures the gap of what has been reached.
            break
        reach = length(
            (slack, slack_move), (dual, dual_move), (beta, move[:n]), (price, price_move)
        )
        point, slack = point + reach * move, slack + reach * slack_move
        dual, price = dual + reach * dual_move, price + reach * price_move
    weights = np.asarray(dual[:n_cuts] / dual[:n_cuts].sum())
    if not sharpen:
        return weights
    # At the optimum one side of each pair is zero; the larger one tells which. (A bound on the
    # multiplier itself would not do: bidders that shade by a millionth exist.)
    used, free = dual[:n_cuts] > slack[:n_cuts], slack[n_cuts:] > dual[n_cuts:]
    if not used.any():
        return weights
    return _sharpen(cuts, fixed, budgets, point[:n], weights, used, free)


def _newton_step(
    state: tuple[Floats, ...], products: Floats, money: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Move of (beta and t, slacks, duals, prices) that changes products and money as asked."""
    rows, matrix, residual, slack, dual, beta, price = state
    n = len(beta)
    right = -residual - rows.T @ (products / slack)
    right[:n] += money / beta
    move = np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
    slack_move = np.asarray(-rows @ move)
    return (
        move,
        slack_move,
        (products - dual * slack_move) / slack,
        (money - price * move[:n]) / beta,
    )


def _sharpen(
    cuts: Floats,
    fixed: Floats,
    budgets: Floats,
    beta: Floats,
    mix: Floats,
    used: npt.NDArray[np.bool_],
    free: npt.NDArray[np.bool_],
) -> Floats:
    """Newton's method on the cuts in use, to recover the digits that the barrier lost."""
    n_used, n_free = int(used.sum()), int(free.sum())
    active = cuts[used][:, free]
    offset = fixed[used] + cuts[used][:, ~free].sum(axis=1)
    shade, weight = beta[free].copy(), mix[used] / mix[used].sum()
    level = (active @ shade + offset).mean()
    system = np.zeros((n_free + n_used + 1, n_free + n_used + 1))
    system[:n_free, n_free:-1] = active.T
    system[n_free:-1, :n_free] = active
    system[n_free:-1, -1] = -1
    system[-1, n_free:-1] = 1
    for _ in range(3):
        system[range(n_free), range(n_free)] = budgets[free] / shade**2
        wrong = np.r_[
            active.T @ weight - budgets[free] / shade,
            active @ shade + offset - level,
            weight.sum() - 1,
        ]
        # Least squares, since equal cuts can share their weight in any way.
        move = np.linalg.lstsq(system, -wrong, rcond=1e-13)[0]
        shade, weight = shade + move[:n_free], weight + move[n_free:-1]
        level += move[-1]
    # Outside its bounds the guess of what is in use was wrong: keep the barrier's solution.
    if not ((shade > 0).all() and (shade <= 1).all() and (weight > -_IN_USE).all()):
        return mix
    result = np.zeros_like(mix)
    result[used] = np.maximum(weight, 0)
    return np.asarray(result / result.sum())


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
