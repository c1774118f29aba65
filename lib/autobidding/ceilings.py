"""Ceilings: how much welfare a refinement can cost at most, checked against equilibria.

If every equilibrium of a class has at least ``1/kappa`` of the best possible (liquid) welfare, no
refinement costs more than that share, because the best possible never falls (lifting). The proofs
stand on the page *Beyond the paper*; here random markets look for the worst case they can find,
and for the failure of a bound that is too tight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lib.autobidding.bidders import Bidder
from lib.autobidding.certificates import random_refinement, top_value
from lib.autobidding.constructions import B2, B4
from lib.autobidding.correlated import cce_interval, common_grids
from lib.autobidding.equilibrium import equilibria_2p
from lib.autobidding.market import Market
from lib.autobidding.pacing import fppe
from lib.autobidding.programmes import lp_benchmark

__all__ = [
    "KAPPA",
    "WorstCase",
    "first_price_maxcpa",
    "first_price_tcpa",
    "pacing",
    "second_price_tcpa",
    "shutout_welfare",
]

KAPPA: dict[str, float] = {
    "first price, tCPA": 1.0,
    "second price, tCPA": 2.0,
    "first-price pacing": 2.0,
    "first price, MAX-CPA, CCE": math.e / (math.e - 1),
}
"""The proved ceilings by equilibrium class."""

SEED = 20260529
"""Of every search on this page; chosen before any result."""


@dataclass(frozen=True)
class WorstCase:
    """The smallest ratios found over random markets.

    Parameters
    ----------
    name : str
        A key of :data:`KAPPA`.
    markets : int
        Random refinements tried.
    kept : float
        Smallest welfare of a fine equilibrium over the largest of a coarse one.
    optimum : float
        Smallest welfare of an equilibrium over the best possible.
    control : float
        The ratio ``kept`` of a case outside the class, which must break the ceiling.
    """

    name: str
    markets: int
    kept: float
    optimum: float
    control: float

    @property
    def holds(self) -> bool:
        """Whether no market broke the ceiling."""
        return min(self.kept, self.optimum) * KAPPA[self.name] >= 1 - 1e-9

    @property
    def control_fails(self) -> bool:
        """Whether the case outside the class breaks the ceiling."""
        return self.control * KAPPA[self.name] < 1 - 1e-9


def first_price_tcpa(n_markets: int = 200) -> WorstCase:
    """Two tCPA bidders in first price: every equilibrium is efficient, so nothing is lost.

    The control is construction B.2, where a budget breaks it.

    Parameters
    ----------
    n_markets : int
        Exact random refinements, at least 1.
    """
    control = [
        B2.equilibria(model, undominated=False)[0].liquid_welfare for model in ("coarse", "fine")
    ]
    return _search("first price, tCPA", "first", n_markets, control=control[1] / control[0])


def second_price_tcpa(n_markets: int = 200) -> WorstCase:
    """Two tCPA bidders in second price with undominated bids: at least half is kept.

    The control drops the restriction: a bidder that bids nothing leaves everything to a rival of
    little value, which is an equilibrium in dominated bids.

    Parameters
    ----------
    n_markets : int
        Exact random refinements, at least 1.
    """
    market = Market.exact([1], [["1/2", "1/2"]])
    pair = (Bidder("tcpa", Fraction(10)), Bidder("tcpa", Fraction(1)))
    found = [c.welfare for c in equilibria_2p(market, pair, "second", undominated=False)]
    return _search("second price, tCPA", "second", n_markets, control=min(found) / max(found))


def pacing(n_markets: int = 200, n_bidders: int = 4) -> WorstCase:
    """First-price pacing equilibria: at least half of the best liquid welfare.

    The control is not a failure of the class but of a tighter bound: construction B.2 loses
    liquid welfare, so no ceiling of one can hold. It is reported as a ratio below one.

    Parameters
    ----------
    n_markets : int
        Random float refinements, at least 1.
    n_bidders : int
        Half of them, rounded up, have a budget.
    """
    kept, optimum = [], []
    for rng in _generators(n_markets):
        coarse, fine, _ = random_refinement(rng, n_clusters=8, n_bidders=n_bidders, n_coarse=3)
        values = rng.uniform(0.5, 2.0, n_bidders)
        worth = (fine.to_float().mass * values).sum(axis=0)
        budgets: list[float | None] = [None] * n_bidders
        for i in range((n_bidders + 1) // 2):
            budgets[i] = float(worth[i] * rng.uniform(0.05, 0.6)) or None
        bidders = [
            Bidder("tcpa", float(v), b) for v, b in zip(values.tolist(), budgets, strict=True)
        ]
        models = [m.to_float() for m in (coarse, fine)]
        welfare = [float(fppe(m, values.tolist(), budgets).liquid_welfare) for m in models]
        best = [float(lp_benchmark(m, bidders).value) for m in models]
        kept.append(welfare[1] / welfare[0])
        optimum += [w / b for w, b in zip(welfare, best, strict=True)]
    paced = [
        fppe(m, [b.value for b in B2.bidders], [b.budget for b in B2.bidders]).liquid_welfare
        for m in (B2.coarse, B2.fine)
    ]
    return WorstCase(
        "first-price pacing", n_markets, min(kept), min(optimum), float(paced[1] / paced[0])
    )


def first_price_maxcpa(n_markets: int = 40) -> WorstCase:
    """Two MAX-CPA bidders in first price, all coarse correlated equilibria on a grid.

    A grid offers fewer deviations than the line, so it admits worse equilibria than the ceiling
    speaks of: a search that stays above it is evidence on the safe side. The control is again a
    tighter bound: construction B.4 loses welfare in all of them, so no ceiling of one can hold.

    Parameters
    ----------
    n_markets : int
        Random refinements, at least 1.
    """
    kept, optimum = [], []
    for rng in _generators(n_markets):
        coarse, fine, _ = random_refinement(rng, n_clusters=3, n_bidders=2, n_coarse=1)
        values = [float(v) for v in 10 ** rng.uniform(-0.5, 0.5, size=2)]
        if min(top_value(m.to_float(), values) for m in (coarse, fine)) == 0:
            continue
        ranges = _cce_welfare((coarse, fine), values)
        kept.append(ranges[1][0] / ranges[0][1])
        optimum += [
            low / top_value(m.to_float(), values)
            for (low, _), m in zip(ranges, (coarse, fine), strict=True)
        ]
    control = _cce_welfare((B4.coarse, B4.fine), [float(b.value) for b in B4.bidders])
    return WorstCase(
        "first price, MAX-CPA, CCE",
        n_markets,
        float(min(kept)),
        float(min(optimum)),
        control[1][1] / control[0][0],
    )


def _cce_welfare(models: tuple[Market, Market], values: list[float]) -> list[tuple[float, float]]:
    """Welfare interval of each model on one common grid."""
    pair = [Bidder("maxcpa", v) for v in values]
    grids = common_grids(models, pair, n_even=11, n_low=5)
    return [cce_interval(m, pair, grids, "welfare") for m in models]


def shutout_welfare(market: Market, targets: tuple[Any, Any]) -> Any:
    """Welfare of the second-price equilibrium in which one tCPA bidder takes everything.

    The bidder with the larger ``t_i sum_C w_C p_{i,C}`` can bid so high that its rival would
    break its target on every cluster; its own cost stays within its target. The welfare is that
    larger value, which no partition changes.

    Parameters
    ----------
    market : Market
        Of two bidders.
    targets : tuple of two numbers

    Returns
    -------
    Fraction or float
        Welfare of that equilibrium.

    Raises
    ------
    LookupError
        If enumeration finds no such equilibrium; possible only where a prediction is zero.

    Examples
    --------
    >>> shutout_welfare(Market.exact([1, 1], [["1/2", "1/4"], ["1/4", "1/2"]]), (2, 1))
    Fraction(3, 2)
    """
    pair = [Bidder("tcpa", Fraction(t)) for t in targets]
    totals = [b.value * total for b, total in zip(pair, market.mass.sum(axis=0), strict=True)]
    strong = 0 if totals[0] >= totals[1] else 1
    for cell in equilibria_2p(market, pair, "second"):
        if set(cell.allocation) == {strong}:
            return cell.welfare
    raise LookupError(f"bidder {strong} cannot shut its rival out of this market")


def _generators(n_markets: int) -> Iterator[np.random.Generator]:
    if n_markets < 1:
        raise ValueError(f"n_markets is {n_markets}; expected at least 1")
    # One stream a market: a larger search tries the smaller one's markets first.
    return (np.random.default_rng([SEED, k]) for k in range(n_markets))


def _search(name: str, rule: Any, n_markets: int, *, control: Any) -> WorstCase:
    kept, optimum = [], []
    for rng in _generators(n_markets):
        coarse, fine, _ = random_refinement(rng, n_clusters=5, n_bidders=2, n_coarse=2)
        targets = [Fraction(int(x), 10) for x in rng.integers(1, 51, size=2)]
        pair = [Bidder("tcpa", t) for t in targets]
        ranges: list[tuple[Any, Any]] = []
        for model in (coarse, fine):
            found = [c.welfare for c in equilibria_2p(model, pair, rule)]
            best = top_value(model, targets)
            # A market in which nobody converts anywhere has no welfare to lose.
            if not found or best == 0:
                break
            ranges.append((min(found), max(found)))
            optimum.append(min(found) / best)
        if len(ranges) == 2 and ranges[0][1] > 0:
            kept.append(ranges[1][0] / ranges[0][1])
    return WorstCase(name, n_markets, float(min(kept)), float(min(optimum)), float(control))
