"""Autobidders: a target or a value per conversion, and perhaps a budget.

Source: arXiv 2605.31036, section 4 (definitions of tCPA, MAX-CPA and uniform bidding).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lib.autobidding.arithmetic import Array, Number, number, vector
from lib.autobidding.market import Market
from lib.core import check

Kind = Literal["tcpa", "maxcpa"]
KINDS: tuple[Kind, ...] = ("tcpa", "maxcpa")


@dataclass(frozen=True)
class Bidder:
    """One advertiser's autobidder.

    Parameters
    ----------
    kind : {"tcpa", "maxcpa"}
        ``"tcpa"`` wins as many conversions as it can at an average price of at most ``value``;
        ``"maxcpa"`` maximises ``value`` times conversions minus what it pays.
    value : Fraction, int or float
        Money per conversion: the target of a tCPA bidder, which is also its value
        (Assumption 3.1 of the paper), or the value of a MAX-CPA bidder. Positive and finite.
    budget : Fraction, int, float or None
        Largest total spend, positive. ``None`` or infinity: unbounded.

    Raises
    ------
    ValueError
        On an unknown kind, or a value or budget that is not positive.

    Examples
    --------
    >>> Bidder("tcpa", 10).has_budget
    False
    """

    kind: Kind
    value: Number
    budget: Number | None = None

    def __post_init__(self) -> None:
        check.known("kind", self.kind, KINDS)
        check.number("value", self.value, above=0)
        if self.budget is None:
            return
        if isinstance(self.budget, float) and math.isinf(self.budget) and self.budget > 0:
            object.__setattr__(self, "budget", None)
        else:
            check.number("budget", self.budget, above=0)

    @property
    def has_budget(self) -> bool:
        """Whether total spend is bounded."""
        return self.budget is not None


def check_bidders(market: Market, bidders: Sequence[Bidder]) -> None:
    """Raise ``ValueError`` unless there is one bidder for each column of predictions."""
    for i, one in enumerate(bidders):
        if not isinstance(one, Bidder):
            raise TypeError(f"bidders[{i}] is {one!r}, expected a Bidder")
    if len(bidders) != market.n_bidders:
        raise ValueError(
            f"the market has {market.n_bidders} bidders, got {len(bidders) or 'none: []'}"
        )


def values_of(market: Market, bidders: Sequence[Bidder]) -> Array:
    """Return the values, or targets, in the market's arithmetic, shape (n_bidders,)."""
    check_bidders(market, bidders)
    values = [b.value for b in bidders]
    return vector("values", values, market.n_bidders, exact=market.is_exact)


def budgets_of(market: Market, bidders: Sequence[Bidder]) -> list[Any]:
    """Return the budgets in the market's arithmetic, ``None`` where there is none."""
    check_bidders(market, bidders)
    return [
        None if b.budget is None else number("budget", b.budget, exact=market.is_exact)
        for b in bidders
    ]


def effective(
    market: Market, bidders: Sequence[Bidder], multipliers: Sequence[Number] | Array
) -> Array:
    """Effective multipliers ``g_i = mu_i v_i``: a bidder bids ``g_i`` per predicted conversion.

    Parameters
    ----------
    market : Market
        Its arithmetic (exact or float) is that of the result.
    bidders : sequence of Bidder, length n_bidders
    multipliers : array_like, shape (n_bidders,)
        Uniform multipliers ``mu_i``, finite and not negative.

    Raises
    ------
    ValueError
        On a wrong number of bidders or multipliers, or a multiplier that is negative or not
        finite.
    TypeError
        On a float multiplier, value or budget in an exact market.

    Examples
    --------
    >>> market = Market.exact([1], [["0.5", "0.4"]])
    >>> effective(market, [Bidder("tcpa", 2), Bidder("tcpa", 3)], [1, 2]).tolist()
    [Fraction(2, 1), Fraction(6, 1)]
    """
    values = values_of(market, bidders)
    check.array("multipliers", multipliers, shape=(market.n_bidders,), at_least=0)
    mus = vector("multipliers", multipliers, market.n_bidders, exact=market.is_exact)
    effective_multipliers: Array = mus * values
    return effective_multipliers


def multipliers_of(
    bidders: Sequence[Bidder], effective_multipliers: Sequence[Any] | Array
) -> list[Any]:
    """Uniform multipliers ``mu_i = g_i / v_i`` from effective ones.

    Examples
    --------
    >>> from fractions import Fraction
    >>> multipliers_of([Bidder("maxcpa", Fraction(600))], [1])
    [Fraction(1, 600)]
    """
    check.array("effective_multipliers", effective_multipliers, shape=(len(bidders),), at_least=0)
    return [g / b.value for g, b in zip(effective_multipliers, bidders, strict=True)]
