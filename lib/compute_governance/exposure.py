"""What a plan exposes to a regulator, and how thresholds trade added cost against burden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.compute_governance.hardware import Node
from lib.compute_governance.planner import (
    Assumptions,
    InfeasibleError,
    Metric,
    Network,
    Plans,
    cheapest_by_node,
    pick,
)
from lib.compute_governance.regime import LEGITIMATE, Regime, System
from lib.core import check

__all__ = ["YEAR_S", "Exposure", "cheapest_under", "exposure", "frontier"]

YEAR_S = 365.25 * 86_400.0
"""Seconds of a mean year."""


@dataclass(frozen=True)
class Exposure:
    """What can be noticed about a plan.

    Parameters
    ----------
    sites : float
        Places with a node: one a node.
    people : float
        Who know of it.
    chips : float
    usd : float
        Money spent on hardware.
    years : float
        Length of the run.
    """

    sites: float
    people: float
    chips: float
    usd: float
    years: float

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            check.number(key, value, above=0)


def exposure(
    plan: Plans,
    *,
    staff_a_site: float = 0.5,
    core: float = 20.0,
) -> Exposure:
    """Count what a single plan exposes.

    Parameters
    ----------
    plan : Plans
        A single one.
    staff_a_site : float
        People a site who know what it does: an assumption of ours.
    core : float
        People who know whatever the number of sites: an assumption of ours.
    """
    staff = check.number("staff_a_site", staff_a_site, at_least=0)
    core = check.number("core", core, at_least=0)
    n = plan.value("n")
    node = plan.nodes[int(plan.value("node"))]
    return Exposure(
        sites=n,
        people=core + staff * n,
        chips=n * node.count,
        usd=plan.value("cost_usd"),
        years=plan.value("window_s") / YEAR_S,
    )


def cheapest_under(
    rules: Sequence[Regime],
    target: float,
    nodes: Sequence[Node],
    *,
    metric: Metric = "c_local",
    network: Network | None = None,
    assumptions: Assumptions | None = None,
    every: bool = True,
) -> list[Plans | None]:
    """Return the cheapest plan that each rule leaves, None where nothing reaches the target.

    A rule leaves nodes of every size that it does not cover, and the planner chooses; so a tighter
    rule never makes a plan cheaper, and the answer for one rule depends on no other one.

    Parameters
    ----------
    rules : sequence of Regime
    target : float
        FLOP.
    nodes : sequence of Node
        Chips and precisions to choose from; their sizes do not matter.
    metric, network, assumptions
        See ``planner.branch_search``.
    every : bool
        Every number of chips, or, faster, only powers of two.

    Examples
    --------
    >>> from lib.compute_governance.hardware import catalogue
    >>> loose, tight = cheapest_under([Regime(16.0), Regime(4.0)], 1e25, catalogue())
    >>> loose.labels() == tight.labels() == ['4x GH200 FP8, flat']
    True
    """
    if isinstance(rules, Regime) or not rules or not all(isinstance(r, Regime) for r in rules):
        raise ValueError(f"rules is {rules!r:.80}, expected a list of at least one Regime")
    pool = tuple({node: None for rule in rules for node in rule.choices(nodes, every=every)})
    if not pool:
        return [None] * len(rules)
    try:
        found = cheapest_by_node(
            target, pool, metric=metric, network=network, assumptions=assumptions
        )
    except InfeasibleError:
        return [None] * len(rules)
    best: list[Plans | None] = []
    for rule in rules:
        allowed = np.array([not rule.covers(pool[int(one)]) for one in found.node])
        best.append(pick(found.take(allowed)) if allowed.any() else None)
    return best


def frontier(
    target: float,
    nodes: Sequence[Node],
    thresholds: Sequence[float],
    memories: Sequence[float | None],
    *,
    metric: Metric = "c_quality",
    network: Network | None = None,
    assumptions: Assumptions | None = None,
    every: bool = True,
    systems: Sequence[System] = LEGITIMATE,
) -> pd.DataFrame:
    """Return cost of the cheapest uncovered plan and burden for every pair of thresholds.

    Parameters
    ----------
    target : float
        FLOP.
    nodes : sequence of Node
        Chips and precisions to choose from.
    thresholds : sequence of float
        H100-equivalents.
    memories : sequence of float or None
        GB; None for no limit.
    metric, network, assumptions, every
        See `cheapest_under`; but on C_quality by default.
    systems : sequence of System

    Returns
    -------
    DataFrame
        One row a pair: h100_eq, mem_gb (infinite for none), cost_usd (infinite where nothing
        reaches the target), plan, sites, burden, and whether the pair is `efficient`: no other
        costs at least as much at no more burden, and more of one.
    """
    limits = check.array("thresholds", thresholds, shape=("n",), above=0)
    if np.ndim(np.array(memories, dtype=object)) != 1 or not len(memories):
        raise ValueError(f"memories is {memories!r:.80}, expected a list of GB or None")
    rules = [Regime(float(t), m) for t in limits for m in memories]
    found = cheapest_under(
        rules, target, nodes, metric=metric, network=network, assumptions=assumptions, every=every
    )
    table = pd.DataFrame(
        {
            "h100_eq": [rule.h100_eq for rule in rules],
            "mem_gb": [np.inf if rule.mem_gb is None else rule.mem_gb for rule in rules],
            "burden": [rule.burden(systems) for rule in rules],
            "cost_usd": [np.inf if one is None else one.value("cost_usd") for one in found],
            "plan": ["none" if one is None else one.labels()[0] for one in found],
            "sites": [np.nan if one is None else one.value("n") for one in found],
        }
    )
    cost, burden = table["cost_usd"].to_numpy(), table["burden"].to_numpy()
    as_good = (cost[None, :] >= cost[:, None]) & (burden[None, :] <= burden[:, None])
    better = (cost[None, :] > cost[:, None]) | (burden[None, :] < burden[:, None])
    table["efficient"] = np.logical_not(np.any(as_good & better, axis=1))
    return table
