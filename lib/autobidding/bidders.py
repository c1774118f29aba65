"""Autobidders: a target or a value per conversion, and perhaps a budget.

Source: arXiv 2605.31036, section 4 (definitions of tCPA, MAX-CPA and uniform bidding).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from lib.autobidding.market import Array, Market

Kind = Literal["tcpa", "maxcpa"]
Number = int | float | Fraction


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
    >>> Bidder("tcpa", Fraction(10)).has_budget
    False
    """

    kind: Kind
    value: Number
    budget: Number | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("tcpa", "maxcpa"):
            raise ValueError(f"kind is {self.kind!r}; expected 'tcpa' or 'maxcpa'")
        if not (math.isfinite(self.value) and self.value > 0):
            raise ValueError(f"value is {self.value}; expected a positive finite number")
        if self.budget is not None:
            if math.isnan(self.budget) or self.budget <= 0:
                raise ValueError(f"budget is {self.budget}; expected a positive number or None")
            if math.isinf(self.budget):
                object.__setattr__(self, "budget", None)

    @property
    def has_budget(self) -> bool:
        """Whether total spend is bounded."""
        return self.budget is not None


def check_bidders(market: Market, bidders: Sequence[Bidder]) -> None:
    """Raise ``ValueError`` unless there is one bidder for each column of predictions."""
    if len(bidders) != market.n_bidders:
        raise ValueError(f"market has {market.n_bidders} bidders, got {len(bidders)}")


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
    """
    check_bidders(market, bidders)
    if len(multipliers) != len(bidders):
        raise ValueError(f"expected {len(bidders)} multipliers, got {len(multipliers)}")
    for i, mu in enumerate(multipliers):
        if not (math.isfinite(mu) and mu >= 0):
            raise ValueError(f"multiplier of bidder {i} is {mu}; expected a finite number >= 0")
    values = [number(market, b.value) for b in bidders]
    mus = [number(market, mu) for mu in multipliers]
    return np.array(
        [mu * v for mu, v in zip(mus, values, strict=True)],
        dtype=object if market.is_exact else float,
    )


def multipliers_of(
    bidders: Sequence[Bidder], effective_multipliers: Sequence[Any] | Array
) -> list[Any]:
    """Uniform multipliers ``mu_i = g_i / v_i`` from effective ones.

    Examples
    --------
    >>> multipliers_of([Bidder("maxcpa", Fraction(600))], [1])
    [Fraction(1, 600)]
    """
    if len(effective_multipliers) != len(bidders):
        raise ValueError(f"expected {len(bidders)} multipliers, got {len(effective_multipliers)}")
    return [g / b.value for g, b in zip(effective_multipliers, bidders, strict=True)]


def number(market: Market, value: Any) -> Any:
    """Bring a number into the market's arithmetic: a fraction, or a float.

    Raises
    ------
    TypeError
        On a float in an exact market.
    """
    if not market.is_exact:
        return float(value)
    if isinstance(value, float):
        raise TypeError(f"exact market got the float {value!r}; expected an int or a Fraction")
    return Fraction(value)
