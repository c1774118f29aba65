"""Clearing auctions and scoring what comes out.

Source: arXiv 2605.31036, section 4 (auction formats, ties to the lowest index) and section 3
(evaluation criteria metrics: revenue, welfare, liquid welfare).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lib.autobidding.arithmetic import Array, Number, exceeds, is_exact, vector
from lib.autobidding.bidders import Bidder, budgets_of, effective, values_of
from lib.autobidding.market import Market
from lib.core import check

Rule = Literal["first", "second", "vcg"]
RULES: tuple[Rule, ...] = ("first", "second", "vcg")

_BLOCK = 4096
"""Opportunities cleared at once; a block of ten bidders' bids stays in a core's cache."""


@dataclass(frozen=True, eq=False)
class Clearing:
    """Who wins, and what a win costs.

    Parameters
    ----------
    winners : ndarray of int, shape (n_clusters,) or (n_clusters, n_slots)
    prices : ndarray, same shape
        Money per opportunity.
    """

    winners: npt.NDArray[np.intp]
    prices: Array


def clear(bids: Array, rule: Rule = "second", slot_factors: Sequence[Number] = (1,)) -> Clearing:
    """Clear one auction per row of bids; ties go to the lowest index.

    Where every bid is zero, bidder 0 wins at price zero: the paper's tie rule, and such an
    opportunity carries no predicted conversion.

    Parameters
    ----------
    bids : ndarray, shape (n_clusters, n_bidders)
        Money per opportunity, not negative; fractions stay fractions. Floats are not checked for
        NaN: this is the inner loop.
    rule : {"first", "second", "vcg"}
        With one slot ``"second"`` and ``"vcg"`` are the same rule.
    slot_factors : sequence of numbers, length n_slots
        Click factor of each slot in [0, 1], never increasing; more than one slot only in VCG.

    Returns
    -------
    Clearing
        With several slots, column s is the bidder in slot s and its VCG payment.

    Raises
    ------
    ValueError
        On an unknown rule, bids that are not a table, slot factors out of order, more slots than
        bidders, or several slots under a first- or second-price rule.

    Notes
    -----
    VCG charges the bidder in slot s the value that the others lose by its presence,
    ``sum_{l >= s} (f_l - f_{l+1}) b_{(l+1)}`` with bids sorted downwards.

    Examples
    --------
    >>> out = clear(np.array([[3.0, 2.0, 1.0], [1.0, 4.0, 4.0]]))
    >>> out.winners.tolist(), out.prices.tolist()
    ([0, 1], [2.0, 4.0])
    >>> clear(np.array([[3.0, 2.0, 1.0]]), "vcg", slot_factors=(1, 0.5)).prices.tolist()
    [[1.5, 0.5]]
    """
    bids = np.asarray(bids)
    check.known("rule", rule, RULES)
    if bids.ndim != 2 or 0 in bids.shape:
        raise ValueError(f"bids have shape {bids.shape}, expected (n_clusters, n_bidders)")
    if bids.dtype.kind != "f" and not is_exact(bids):
        # Whole numbers are no type to pay halves in, and unsigned ones have no negative.
        bids = check.array("bids", bids)
    if bids.min() < 0:
        raise ValueError(f"bids hold {bids.min()}, expected none below 0")
    factors = _check_factors(slot_factors, rule, bids)
    if len(factors) > 1:
        return _clear_slots(bids, factors)
    cleared = _clear_one(bids, pay_second=rule != "first")
    if factors[0] == 1:
        return cleared
    return Clearing(cleared.winners, cleared.prices * factors[0])


def _clear_one(bids: Array, *, pay_second: bool) -> Clearing:
    """Clear a single slot in one pass over the bids, block by block."""
    n_clusters, n_bidders = bids.shape
    winners = np.zeros(n_clusters, dtype=np.intp)
    prices = np.empty(n_clusters, dtype=bids.dtype)
    for start in range(0, n_clusters, _BLOCK):
        block = slice(start, start + _BLOCK)
        # One contiguous row per bidder lets every comparison below run on whole vectors.
        columns = np.ascontiguousarray(bids[block].T)
        top, winner = columns[0].copy(), winners[block]
        second = np.zeros_like(top)
        for i in range(1, n_bidders):
            bid = columns[i]
            # A strict comparison keeps the lowest index on a tie.
            winner[bid > top] = i
            if pay_second:
                np.maximum(second, np.minimum(top, bid), out=second)
            np.maximum(top, bid, out=top)
        prices[block] = second if pay_second else top
    return Clearing(winners, prices)


def _check_factors(slot_factors: Sequence[Number], rule: Rule, bids: Array) -> list[Any]:
    check.array("slot_factors", slot_factors, shape=("n_slots",), at_least=0, at_most=1)
    exact = is_exact(bids[:1], list(slot_factors))
    factors: list[Any] = vector(
        "slot_factors", slot_factors, len(slot_factors), exact=exact
    ).tolist()
    if len(factors) > bids.shape[1]:
        raise ValueError(f"expected 1 to {bids.shape[1]} slots, got slot_factors {factors}")
    if sorted(factors, reverse=True) != factors:
        raise ValueError(f"slot_factors are {factors}, expected none above the one before")
    if len(factors) > 1 and rule != "vcg":
        raise ValueError(
            f"{len(factors)} slots under rule {rule!r}: the paper defines it for one slot only, "
            "and generalised first or second prices are other mechanisms; use rule='vcg'"
        )
    return factors


def _clear_slots(bids: Array, factors: list[Any]) -> Clearing:
    order = np.argsort(-bids, axis=1, kind="stable")
    ranked = np.take_along_axis(bids, order, axis=1)
    ranked = np.concatenate([ranked, np.zeros_like(ranked[:, :1])], axis=1)
    steps = [f - g for f, g in zip(factors, [*factors[1:], 0], strict=True)]
    prices = np.empty((len(bids), len(factors)), dtype=bids.dtype)
    owed: Any = 0
    for slot in reversed(range(len(factors))):
        owed = owed + steps[slot] * ranked[:, slot + 1]
        prices[:, slot] = owed
    return Clearing(order[:, : len(factors)], prices)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a profile of multipliers leads to.

    Parameters
    ----------
    winners, prices : ndarray, shape (n_clusters,) or (n_clusters, n_slots)
        Winner and price per opportunity of each cluster (and slot).
    effective : ndarray, shape (n_bidders,)
        Bid per predicted conversion of each bidder.
    spend, conversions, value : ndarray, shape (n_bidders,)
        Totals; ``value`` is conversions times the bidder's value.
    revenue, welfare, liquid_welfare : Fraction or float
        Total spend; total value; total value after capping each bidder's at its budget.
    cpa : ndarray, shape (n_bidders,)
        Spend per conversion; ``None`` (exact) or NaN (float) without conversions.
    within_budget, within_target : ndarray of bool, shape (n_bidders,)
        Whether each budget and each tCPA target is kept; true where a bidder has none.
    """

    winners: npt.NDArray[np.intp]
    prices: Array
    effective: Array
    spend: Array
    conversions: Array
    value: Array
    revenue: Any
    welfare: Any
    liquid_welfare: Any
    cpa: Array
    within_budget: npt.NDArray[np.bool_]
    within_target: npt.NDArray[np.bool_]

    @property
    def feasible(self) -> bool:
        """Whether every bidder keeps its budget and its target."""
        return bool(self.within_budget.all() and self.within_target.all())

    def metric(self, name: str) -> Any:
        """Revenue, welfare or liquid welfare by name."""
        check_metric(name)
        return getattr(self, name)


Metric = Literal["revenue", "welfare", "liquid_welfare"]
METRICS: tuple[Metric, ...] = ("revenue", "welfare", "liquid_welfare")


def check_metric(name: str) -> None:
    """Raise ``ValueError`` unless ``name`` is an evaluation criteria metric."""
    check.known("metric", name, METRICS)


def outcome(
    market: Market,
    bidders: Sequence[Bidder],
    multipliers: Sequence[Number] | Array,
    rule: Rule = "second",
    *,
    slot_factors: Sequence[Number] = (1,),
    truth: Market | None = None,
) -> Outcome:
    """Clear a market at uniform multipliers and score the result.

    Parameters
    ----------
    market : Market
        What the platform predicts: bids are ``mu_i v_i p_{i,C}`` with its predictions.
    bidders : sequence of Bidder, length n_bidders
    multipliers : array_like, shape (n_bidders,)
        Uniform multipliers ``mu_i`` (for effective multipliers see :func:`.multipliers_of`).
    rule : {"first", "second", "vcg"}
    slot_factors : sequence of numbers, length n_slots
        Share of a conversion that each slot brings, as in :func:`clear`; several slots in VCG only.
        All results of the paper are for one slot.
    truth : Market, optional
        The same clusters with true conversion probabilities and the weights of the population
        that is served. The auction still runs on ``market``; conversions, values and hence
        welfare come from ``truth``, and both payments and conversions are weighted by
        ``truth.weights``. Default: the market itself.

    Returns
    -------
    Outcome

    Raises
    ------
    ValueError
        On an unknown rule, a number of bidders or multipliers that does not fit, several slots
        under another rule than VCG, or a ``truth`` of another shape.

    Examples
    --------
    >>> market = Market.exact([1, 1], [["0.5", "0.1"], ["0.2", "0.4"]])
    >>> pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    >>> out = outcome(market, pair, [1, 1], "first")
    >>> out.revenue, out.welfare, out.feasible
    (Fraction(9, 10), Fraction(9, 10), True)
    >>> outcome(market, pair, [1, 1], "vcg", slot_factors=(1, 1)).welfare
    Fraction(6, 5)
    """
    goals = effective(market, bidders, multipliers)
    if truth is None:
        truth = market
    elif truth.predictions.shape != market.predictions.shape or truth.is_exact != market.is_exact:
        raise ValueError(
            f"truth has shape {truth.predictions.shape}, the market {market.predictions.shape}; "
            "expected the same clusters, bidders and arithmetic"
        )
    cleared = clear(market.predictions * goals, rule, slot_factors)
    # One column a slot; a single slot's winners and prices have none.
    winners = cleared.winners.reshape(market.n_clusters, -1)
    prices = cleared.prices.reshape(winners.shape)
    zeros = np.zeros(market.n_bidders, dtype=goals.dtype)
    spend, conversions = zeros.copy(), zeros.copy()
    clusters = np.arange(market.n_clusters)
    for slot, factor in enumerate(
        vector("slot_factors", slot_factors, winners.shape[1], exact=market.is_exact)
    ):
        won = winners[:, slot]
        np.add.at(spend, won, truth.weights * prices[:, slot])
        np.add.at(conversions, won, factor * truth.weights * truth.predictions[clusters, won])
    value = values_of(market, bidders) * conversions
    budgets = budgets_of(market, bidders)
    nothing = None if market.is_exact else np.nan
    cpa = np.array(
        [s / c if c > 0 else nothing for s, c in zip(spend, conversions, strict=True)],
        dtype=goals.dtype,
    )
    each = list(zip(bidders, spend, value, budgets, strict=True))
    return Outcome(
        winners=cleared.winners,
        prices=cleared.prices,
        effective=goals,
        spend=spend,
        conversions=conversions,
        value=value,
        revenue=spend.sum(),
        welfare=value.sum(),
        liquid_welfare=sum(v if limit is None else min(limit, v) for _, _, v, limit in each),
        cpa=cpa,
        within_budget=np.array([limit is None or not exceeds(s, limit) for _, s, _, limit in each]),
        within_target=np.array([b.kind != "tcpa" or not exceeds(s, v) for b, s, v, _ in each]),
    )
