"""Ceilings: how much welfare a refinement can cost at most, checked against equilibria.

If every equilibrium of a class has at least ``1/kappa`` of the best possible (liquid) welfare, no
refinement costs more than that share, because the best possible never falls (lifting). The proofs
stand on the page *Beyond the paper*; here random markets look for a case that breaks one. Such a
search proves nothing, and is weak where the worst case found stays far from the ceiling.
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
from lib.autobidding.constructions import B2
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
    """What random markets kept of their welfare.

    Parameters
    ----------
    name : str
        A key of :data:`KAPPA`.
    kept : tuple of float
        For each market, the smallest welfare of a fine equilibrium over the largest of a coarse
        one.
    optimum : tuple of float
        For each market, the smallest welfare of an equilibrium of either model over the best
        possible in that model.
    outside : float or None
        ``kept`` of a case outside the class, which must break the ceiling: a control.
    """

    name: str
    kept: tuple[float, ...]
    optimum: tuple[float, ...]
    outside: float | None = None

    def breaking(self, kappa: float | None = None) -> int:
        """Count the markets that break a ceiling; by default the proved one.

        Examples
        --------
        >>> WorstCase("second price, tCPA", (0.6, 0.9, 1.0), (0.7, 0.4, 1.0)).breaking()
        1
        >>> WorstCase("second price, tCPA", (0.6, 0.9, 1.0), (0.7, 0.4, 1.0)).breaking(1)
        2
        """
        floor = 1 / (KAPPA[self.name] if kappa is None else kappa) - 1e-9
        return sum(min(pair) < floor for pair in zip(self.kept, self.optimum, strict=True))


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
    return _search("first price, tCPA", "first", n_markets, float(control[1] / control[0]))


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
    return _search("second price, tCPA", "second", n_markets, float(min(found) / max(found)))


def pacing(n_markets: int = 200, n_bidders: int = 4) -> WorstCase:
    """First-price pacing equilibria: at least half of the best liquid welfare.

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
        optimum.append(min(w / b for w, b in zip(welfare, best, strict=True)))
    return WorstCase("first-price pacing", tuple(kept), tuple(optimum))


def first_price_maxcpa(n_markets: int = 40) -> WorstCase:
    """Two MAX-CPA bidders in first price, all coarse correlated equilibria on a grid.

    The ceiling speaks of all multipliers. On a grid there are fewer deviations and fewer profiles,
    so its equilibria are neither a part of the others nor the other way round; what is proved for
    a grid stands under *On a grid* on the page.

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
        pair = [Bidder("maxcpa", v) for v in values]
        grids = common_grids((coarse, fine), pair, n_even=11, n_low=5)
        ranges = [cce_interval(m, pair, grids, "welfare") for m in (coarse, fine)]
        kept.append(ranges[1][0] / ranges[0][1])
        optimum.append(
            min(
                low / top_value(m.to_float(), values)
                for (low, _), m in zip(ranges, (coarse, fine), strict=True)
            )
        )
    return WorstCase("first price, MAX-CPA, CCE", tuple(kept), tuple(optimum))


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


def _search(name: str, rule: Any, n_markets: int, outside: float) -> WorstCase:
    kept, optimum = [], []
    for rng in _generators(n_markets):
        coarse, fine, _ = random_refinement(rng, n_clusters=5, n_bidders=2, n_coarse=2)
        targets = [Fraction(int(x), 10) for x in rng.integers(1, 51, size=2)]
        pair = [Bidder("tcpa", t) for t in targets]
        ranges: list[tuple[Any, Any]] = []
        shares = []
        for model in (coarse, fine):
            found = [c.welfare for c in equilibria_2p(model, pair, rule)]
            best = top_value(model, targets)
            # A market in which nobody converts anywhere has no welfare to lose.
            if not found or best == 0:
                break
            ranges.append((min(found), max(found)))
            shares.append(float(min(found) / best))
        if len(ranges) == 2 and ranges[0][1] > 0:
            kept.append(float(ranges[1][0] / ranges[0][1]))
            optimum.append(min(shares))
    return WorstCase(name, tuple(kept), tuple(optimum), outside)
