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

from lib.autobidding.bidders import Bidder, Number, effective, number
from lib.autobidding.market import Array, Market

Rule = Literal["first", "second", "vcg"]
RULES = ("first", "second", "vcg")

FLOAT_TOLERANCE = 1e-9
"""Relative slack of every feasibility and optimality check in floats; fractions get none."""

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
        Money per opportunity; float64 or fractions, not negative. Not checked for NaN: this is
        the inner loop.
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
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; expected one of {', '.join(RULES)}")
    if bids.ndim != 2 or 0 in bids.shape:
        raise ValueError(f"expected bids (n_clusters, n_bidders), got shape {bids.shape}")
    if len(slot_factors) != 1:
        return _clear_slots(bids, rule, slot_factors)
    factor = _check_factors(slot_factors, bids.shape[1])[0]
    cleared = _clear_one(bids, pay_second=rule != "first")
    if factor == 1:
        return cleared
    return Clearing(cleared.winners, cleared.prices * factor)


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


def _check_factors(slot_factors: Sequence[Number], n_bidders: int) -> list[Number]:
    factors = list(slot_factors)
    if not 1 <= len(factors) <= n_bidders:
        raise ValueError(f"expected 1 to {n_bidders} slots for {n_bidders} bidders, got {factors}")
    if any(not 0 <= f <= 1 for f in factors) or sorted(factors, reverse=True) != factors:
        raise ValueError(f"slot factors are {factors}; expected numbers in [0, 1], never rising")
    return factors


def _clear_slots(bids: Array, rule: Rule, slot_factors: Sequence[Number]) -> Clearing:
    factors = _check_factors(slot_factors, bids.shape[1])
    if rule != "vcg":
        raise ValueError(
            f"{len(factors)} slots under the {rule}-price rule: the paper defines it for one slot "
            "only, and generalised first or second prices are other mechanisms; use rule='vcg'"
        )
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
    winners, prices : ndarray, shape (n_clusters,)
        Winner and price per opportunity of each cluster.
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


METRICS = ("revenue", "welfare", "liquid_welfare")


def check_metric(name: str) -> None:
    """Raise ``ValueError`` unless ``name`` is an evaluation criteria metric."""
    if name not in METRICS:
        raise ValueError(f"metric is {name!r}; expected one of {', '.join(METRICS)}")


def outcome(
    market: Market,
    bidders: Sequence[Bidder],
    multipliers: Sequence[Number] | Array,
    rule: Rule = "second",
    *,
    truth: Market | None = None,
) -> Outcome:
    """Clear a single-slot market at uniform multipliers and score the result.

    Parameters
    ----------
    market : Market
        What the platform predicts: bids are ``mu_i v_i p_{i,C}`` with its predictions.
    bidders : sequence of Bidder, length n_bidders
    multipliers : array_like, shape (n_bidders,)
        Uniform multipliers ``mu_i`` (for effective multipliers see :func:`.multipliers_of`).
    rule : {"first", "second", "vcg"}
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
        On an unknown rule, a number of bidders or multipliers that does not fit, or a ``truth``
        of another shape.

    Examples
    --------
    >>> market = Market.exact([1, 1], [["0.5", "0.1"], ["0.2", "0.4"]])
    >>> pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    >>> out = outcome(market, pair, [1, 1], "first")
    >>> out.revenue, out.welfare, out.feasible
    (Fraction(9, 10), Fraction(9, 10), True)
    """
    goals = effective(market, bidders, multipliers)
    if truth is None:
        truth = market
    elif truth.predictions.shape != market.predictions.shape or truth.is_exact != market.is_exact:
        raise ValueError(
            f"truth has shape {truth.predictions.shape}, the market {market.predictions.shape}; "
            "expected the same clusters, bidders and arithmetic"
        )
    cleared = clear(market.predictions * goals, rule)
    winners = cleared.winners
    clusters = np.arange(market.n_clusters)
    zeros = np.zeros(market.n_bidders, dtype=goals.dtype)
    spend, conversions = zeros.copy(), zeros.copy()
    np.add.at(spend, winners, truth.weights * cleared.prices)
    np.add.at(conversions, winners, truth.weights * truth.predictions[clusters, winners])
    targets = np.array([number(market, b.value) for b in bidders], dtype=goals.dtype)
    value = targets * conversions
    capped = [
        v if b.budget is None else min(number(market, b.budget), v)
        for b, v in zip(bidders, value, strict=True)
    ]
    nothing = None if market.is_exact else np.nan
    cpa = np.array(
        [s / c if c > 0 else nothing for s, c in zip(spend, conversions, strict=True)],
        dtype=goals.dtype,
    )
    slack = 0 if market.is_exact else FLOAT_TOLERANCE
    in_budget = [
        b.budget is None or bool(s <= number(market, b.budget) * (1 + slack))
        for b, s in zip(bidders, spend, strict=True)
    ]
    in_target = [
        b.kind != "tcpa" or bool(s <= v * (1 + slack))
        for b, s, v in zip(bidders, spend, value, strict=True)
    ]
    return Outcome(
        winners=winners,
        prices=cleared.prices,
        effective=goals,
        spend=spend,
        conversions=conversions,
        value=value,
        revenue=spend.sum(),
        welfare=value.sum(),
        liquid_welfare=sum(capped),
        cpa=cpa,
        within_budget=np.array(in_budget),
        within_target=np.array(in_target),
    )
