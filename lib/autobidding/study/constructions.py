"""The paper's four constructions and our own examples: inputs, and the profiles they designate.

Only inputs stand here: probabilities, targets, values, budgets, partitions, and which equilibrium
or profile the source looks at. Every result is computed from them.

Source: arXiv 2605.31036, appendix B; the examples named ``ours`` are of this book.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from lib.autobidding.bidders import Bidder, budgets_of, multipliers_of, values_of
from lib.autobidding.equilibrium import (
    EquilibriumCell,
    EquilibriumCheck,
    equilibria_2p,
    is_equilibrium,
)
from lib.autobidding.market import Market
from lib.autobidding.mechanism import Outcome, Rule, outcome
from lib.core import check

Convention = Literal["binding", "exhausting", "truthful", "matching"]
Model = Literal["coarse", "fine"]
Goals = tuple[Any, Any]


def binding_multipliers(
    market: Market, bidders: Sequence[Bidder], allocation: Sequence[int]
) -> tuple[Any, Any]:
    """Effective multipliers at which both bidders pay exactly their target in second price.

    A second price is the rival's bid, so each bidder's target pins the *rival's* multiplier:
    ``g_j = t_i P_i(S_i) / P_j(S_i)`` with ``P_k(S)`` bidder k's predicted conversions on the
    clusters that i wins.

    Parameters
    ----------
    market : Market
        Of two bidders.
    bidders : sequence of two tCPA bidders
    allocation : sequence of int, length n_clusters
        Winner of each cluster.

    Returns
    -------
    tuple (g1, g2)

    Raises
    ------
    ValueError
        When a bidder wins nothing, or wins only what its rival bids zero for.

    Examples
    --------
    >>> market = Market.exact([1, 1], [["1/2", "1/4"], ["1/4", "1/2"]])
    >>> binding_multipliers(market, [Bidder("tcpa", 1), Bidder("tcpa", 1)], [0, 1])
    (Fraction(2, 1), Fraction(2, 1))
    """
    goals: list[Any] = [None, None]
    for i in (0, 1):
        own, rival = _masses(market, allocation, i, i), _masses(market, allocation, i, 1 - i)
        if own == 0 or rival == 0:
            raise ValueError(
                f"bidder {i} has {own} conversions at a rival mass of {rival} in allocation "
                f"{tuple(allocation)}; no multiplier makes its target bind"
            )
        goals[1 - i] = values_of(market, bidders)[i] * own / rival
    return goals[0], goals[1]


def exhausting_multipliers(
    market: Market, bidders: Sequence[Bidder], allocation: Sequence[int]
) -> tuple[Any, Any]:
    """Largest first-price effective multipliers that keep target and budget at an allocation.

    Parameters
    ----------
    market : Market
        Of two bidders.
    bidders : sequence of two tCPA bidders
    allocation : sequence of int, length n_clusters

    Returns
    -------
    tuple (g1, g2)
        ``min(t_i, B_i / P_i(S_i))``; the target itself where there is no budget.

    Examples
    --------
    >>> market = Market.exact([1, 1], [["1/2", "1/4"], ["1/4", "1/2"]])
    >>> exhausting_multipliers(market, [Bidder("tcpa", 3, 1), Bidder("tcpa", 1)], [0, 1])
    (Fraction(2, 1), Fraction(1, 1))
    """
    goals = values_of(market, bidders).tolist()
    for i, budget in enumerate(budgets_of(market, bidders)):
        won = _masses(market, allocation, i, i)
        if budget is not None and won > 0:
            goals[i] = min(goals[i], budget / won)
    return goals[0], goals[1]


def _masses(market: Market, allocation: Sequence[int], winner: int, bidder: int) -> Any:
    """Predicted conversions of ``bidder`` on the clusters that ``winner`` gets."""
    return sum(market.mass[k, bidder] for k in range(market.n_clusters) if allocation[k] == winner)


@dataclass(frozen=True)
class Construction:
    """A fine model, the partition that coarsens it, and who bids how.

    Parameters
    ----------
    name : str
    fine : Market
        Exact.
    labels : tuple of int
        Coarse cluster of each fine cluster.
    bidders : tuple of two Bidder
    rule : {"first", "second", "vcg"}
    convention : {"binding", "exhausting", "truthful", "matching"}
        Which profile the source evaluates: both targets binding in second price; the largest
        first-price multipliers that keep target and budget; truth; or bidder 1 meeting bidder
        2's truthful bid in a pooled model.
    coarse_winners, fine_winners : tuple of int or None
        Allocation at which ``binding`` and ``exhausting`` are evaluated.
    fine_goals : tuple or None
        Effective multipliers that the source designates in the fine model, where no rule gives
        them.

    Examples
    --------
    >>> B3.change("revenue"), B3.change("welfare")
    (Fraction(-5, 12), Fraction(1, 4))
    >>> B3.check("fine").holds
    True
    """

    name: str
    fine: Market
    labels: tuple[int, ...]
    bidders: tuple[Bidder, Bidder]
    rule: Rule
    convention: Convention
    coarse_winners: tuple[int, ...] | None = None
    fine_winners: tuple[int, ...] | None = None
    fine_goals: tuple[Fraction, Fraction] | None = None

    @property
    def coarse(self) -> Market:
        """The coarse model, pooled by ``labels``."""
        return self.fine.coarsen(self.labels)

    def model(self, model: Model) -> Market:
        """Return the coarse or the fine model by name.

        Raises
        ------
        ValueError
            On another name than ``"coarse"`` or ``"fine"``.
        """
        check.known("model", model, ("coarse", "fine"))
        return self.fine if model == "fine" else self.coarse

    def goals(self, model: Model) -> Goals:
        """Effective multipliers ``(g1, g2)`` that the source evaluates in one model.

        Raises
        ------
        ValueError
            On another model than ``"coarse"`` or ``"fine"``.
        """
        market, fine = self.model(model), model == "fine"
        values = [Fraction(b.value) for b in self.bidders]
        if fine and self.fine_goals is not None:
            return self.fine_goals
        if self.convention == "truthful":
            return values[0], values[1]
        if self.convention == "matching":
            first, second = market.predictions[0]
            return values[1] * second / first, values[1]
        winners = self.fine_winners if fine else self.coarse_winners
        if winners is None:
            raise ValueError(f"{self.name} designates no {model} allocation")
        rule = binding_multipliers if self.convention == "binding" else exhausting_multipliers
        return rule(market, self.bidders, winners)

    def outcome(self, model: Model, goals: Goals | None = None) -> Outcome:
        """Score effective multipliers in one model; by default the designated ones."""
        chosen = self.goals(model) if goals is None else goals
        multipliers = multipliers_of(self.bidders, chosen)
        return outcome(self.model(model), self.bidders, multipliers, self.rule)

    def check(self, model: Model, goals: Goals | None = None) -> EquilibriumCheck:
        """Check effective multipliers for equilibrium; by default the designated ones."""
        chosen = self.goals(model) if goals is None else goals
        multipliers = multipliers_of(self.bidders, chosen)
        return is_equilibrium(self.model(model), self.bidders, multipliers, self.rule)

    def equilibria(self, model: Model, *, undominated: bool = True) -> list[EquilibriumCell]:
        """Enumerate all pure equilibria of one model."""
        return equilibria_2p(self.model(model), self.bidders, self.rule, undominated=undominated)

    def change(self, metric: str) -> Any:
        """Relative change of a metric from the coarse to the fine designated profile."""
        before, after = (self.outcome(m).metric(metric) for m in ("coarse", "fine"))
        return after / before - 1


def _columns(first: str, second: str) -> list[tuple[str, str]]:
    """Rows (p1, p2) of a market from two lists of numbers, one for each bidder."""
    return list(zip(first.split(), second.split(), strict=True))


def _pair(kind: Any, values: Sequence[Any], budgets: Sequence[Any] = (None, None)) -> Any:
    return tuple(
        Bidder(kind, Fraction(v), None if b is None else Fraction(b))
        for v, b in zip(values, budgets, strict=True)
    )


B1 = Construction(
    "B.1",
    Market.exact([1] * 4, _columns("0.20 0.05 0.01 0.01", "0.08 0.30 0.03 0.70")),
    (0, 0, 1, 1),
    _pair("tcpa", (10, 1)),
    "second",
    "binding",
    coarse_winners=(0, 1),
    fine_winners=(0, 1, 1, 1),
)

B2 = Construction(
    "B.2",
    Market.exact([1] * 4, _columns("0.516 0.027 0.560 0.555", "0.559 0.850 0.617 0.330")),
    (0, 0, 1, 1),
    _pair("tcpa", ("8.674", "1.662"), ("3.185", None)),
    "first",
    "exhausting",
    coarse_winners=(1, 0),
    fine_winners=(0, 1, 0, 0),
)

B3 = Construction(
    "B.3",
    Market.exact(["1/2"] * 2, _columns("0.2 0.6", "0.5 0.1")),
    (0, 0),
    _pair("maxcpa", (10, 8)),
    "vcg",
    "truthful",
)

B4 = Construction(
    "B.4",
    Market.exact(["0.9", "0.1"], _columns("0.2 0.01", "0.02 0.5")),
    (0, 0),
    _pair("maxcpa", (600, 10)),
    "first",
    "matching",
    fine_goals=(Fraction(1), Fraction(1)),
)


def with_idle_budgets(construction: Construction) -> Construction:
    """Give every bidder a budget equal to its value for everything, which cannot bind.

    Examples
    --------
    >>> [b.has_budget for b in with_idle_budgets(B4).bidders]
    [True, True]
    """
    totals = construction.fine.mass.sum(axis=0)
    budgets = [b.value * total for b, total in zip(construction.bidders, totals, strict=True)]
    values = [b.value for b in construction.bidders]
    return replace(
        construction,
        name=f"{construction.name} with budgets that cannot bind",
        bidders=_pair(construction.bidders[0].kind, values, budgets),
    )


def as_row_one(construction: Construction) -> Construction:
    """Sell the same predictions as in row 1 of Table 1: the control of the other rows.

    Both bidders are tCPA bidders without budget, whose targets are their values, at multiplier one
    in first price. There nothing can be lost.

    Examples
    --------
    >>> B1.change("welfare") < 0 <= as_row_one(B1).change("welfare")
    True
    """
    return replace(
        construction,
        name=f"{construction.name} sold as in row 1",
        bidders=_pair("tcpa", [b.value for b in construction.bidders]),
        rule="first",
        convention="truthful",
        fine_goals=None,
    )


SPLIT = Construction(
    "split market",
    Market.exact([1, 1], _columns("1 0", "0 1")),
    (0, 0),
    _pair("tcpa", (1, 1)),
    "second",
    "truthful",
)


def budget_family(step: Fraction | int | str = Fraction(1, 100)) -> Construction:
    """Three impressions, one budgeted bidder: liquid welfare falls in every pure equilibrium.

    Parameters
    ----------
    step : Fraction, int or str
        Above 0 and at most 1/4: how far bidder 2's predictions are from one half. The loss grows
        as it shrinks.

    Returns
    -------
    Construction

    Raises
    ------
    ValueError
        On a step outside ``(0, 1/4]``.
    """
    eps = Fraction(step)
    check.number("step", eps, above=0, at_most=0.25)
    half = Fraction(1, 2)
    return Construction(
        "budget example",
        Market.exact([1] * 3, [(half, 0), (half, half - eps), (0, half + 2 * eps)]),
        (0, 1, 1),
        _pair("tcpa", (5, 1), (1, None)),
        "first",
        "exhausting",
        coarse_winners=(0, 1),
        fine_winners=(0, 0, 1),
    )


BUDGET_EXAMPLE = budget_family()

QUARTER = Construction(
    "tight pacing example",
    Market.exact([1] * 3, _columns("1/2 1/2 0", "0 1/2 1/2")),
    (0, 1, 1),
    _pair("tcpa", (5, 1), (1, None)),
    "first",
    "exhausting",
)

# BUDGET_EXAMPLE with a sliver that both want: it keeps bidder 1 from shading in the coarse model.
BUDGET_REVENUE = replace(
    BUDGET_EXAMPLE,
    name="budget and revenue example",
    fine=Market.exact([1] * 4, _columns("1/2 1/2 0 1/100", "0 49/100 52/100 19/1000")),
    labels=(0, 1, 1, 2),
    coarse_winners=(0, 1, 0),
    fine_winners=(0, 0, 1, 1),
)


def half_family(mass: Fraction | int | str = Fraction(1, 100)) -> Construction:
    """Three impressions whose pure equilibria all lose up to half of the liquid welfare.

    Parameters
    ----------
    mass : Fraction, int or str
        Above 0 and below 1/2: bidder 1's prediction on the impression it always wins. The loss
        tends to one half as it shrinks.

    Raises
    ------
    ValueError
        On a mass outside ``(0, 1/2)``.
    """
    m = Fraction(mass)
    check.number("mass", m, above=0, below=0.5)
    scale = 1 + 2 * m
    return Construction(
        "half example",
        Market.exact([1] * 3, [(m, 0), (Fraction(1, 2), (1 - m) / scale), (0, 2 * m / scale)]),
        (0, 1, 1),
        _pair("tcpa", (1 / m, 1), (1, None)),
        "first",
        "exhausting",
    )


BEST_SELECTION = Construction(
    "best-equilibrium example",
    Market.exact([1] * 3, _columns("1/2 1/5 2/5", "0 3/10 1")),
    (0, 0, 1),
    _pair("tcpa", (2, 1)),
    "second",
    "binding",
    coarse_winners=(0, 1),
)

UNIQUE_BINDING = Construction(
    "unique-binding example",
    Market.exact([1] * 4, _columns("3/10 3/10 1/1000 1/5", "3/1000 1/20 1/20 3/10")),
    (0, 0, 1, 1),
    _pair("tcpa", (1, 1)),
    "second",
    "binding",
    coarse_winners=(0, 1),
    fine_winners=(0, 0, 1, 0),
)

PAPER = (B1, B2, B3, B4)
"""The four constructions of appendix B, in order."""
