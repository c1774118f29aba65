"""What a plan exposes to a regulator, and how thresholds trade added cost against burden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lib.compute_governance.hardware import Node
from lib.compute_governance.planner import (
    Assumptions,
    InfeasibleError,
    Metric,
    Network,
    Plans,
    branch_search,
)
from lib.compute_governance.regime import LEGITIMATE, Regime, System

__all__ = ["Exposure", "cost_curves", "exposure", "frontier"]


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

    @property
    def node_days(self) -> float:
        """Nodes times days."""
        return self.sites * self.years * 365.25

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{key} is {value}; expected a positive number")


def exposure(
    plan: Plans,
    *,
    staff_a_site: float = 0.5,
    core: float = 20.0,
    assumptions: Assumptions | None = None,
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
    assumptions : Assumptions, optional
        For the length of the run.
    """
    n = plan.value("n")
    node = plan.nodes[int(plan.value("node"))]
    window = float((assumptions or Assumptions()).window_s)
    return Exposure(
        sites=n,
        people=core + staff_a_site * n,
        chips=n * node.count,
        usd=plan.value("cost_usd"),
        years=window / (365.25 * 86_400.0),
    )


def frontier(
    target: float,
    nodes: Sequence[Node],
    thresholds: Sequence[float],
    memories: Sequence[float | None],
    *,
    metric: Metric = "c_quality",
    network: Network | None = None,
    systems: Sequence[System] = LEGITIMATE,
) -> pd.DataFrame:
    """Return cost of the cheapest uncovered plan and burden for every pair of thresholds.

    A rule leaves every node that it does not cover, not only the largest: the nodes to choose from
    are the largest ones under any rule of the grid, so that a tighter rule never leaves more.

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
    metric : {"c_local", "c_quality"}
    network : Network, optional
    systems : sequence of System

    Returns
    -------
    DataFrame
        One row a pair: h100_eq, mem_gb (infinite for none), cost_usd (infinite where nothing
        reaches the target), plan, sites, burden, and whether the pair is `efficient`: no other
        costs at least as much at no more burden, and more of one.
    """
    rules = [(t, m) for t in thresholds for m in memories]
    pool = {node: None for t, m in rules for node in Regime(t, m).shrink(nodes)}
    rows = []
    for threshold in thresholds:
        for memory in memories:
            rule = Regime(threshold, memory)
            row: dict[str, Any] = {
                "h100_eq": threshold,
                "mem_gb": np.inf if memory is None else memory,
                "burden": rule.burden(systems),
            }
            try:
                best = branch_search(
                    target, rule.allowed(tuple(pool)), metric=metric, network=network
                )
                row |= {
                    "cost_usd": best.value("cost_usd"),
                    "plan": best.labels()[0],
                    "sites": best.value("n"),
                }
            except InfeasibleError:
                row |= {"cost_usd": np.inf, "plan": "none", "sites": np.nan}
            rows.append(row)
    table = pd.DataFrame(rows)
    cost, burden = table["cost_usd"].to_numpy(), table["burden"].to_numpy()
    as_good = (cost[None, :] >= cost[:, None]) & (burden[None, :] <= burden[:, None])
    better = (cost[None, :] > cost[:, None]) | (burden[None, :] < burden[:, None])
    beaten = np.asarray(as_good & better).any(axis=1)
    table["efficient"] = np.logical_not(beaten)
    return table


def cost_curves(
    targets: Sequence[float],
    nodes: Sequence[Node],
    thresholds: Sequence[float],
    bandwidths_mbps: Sequence[float],
    metrics: Sequence[Metric] = ("c_local", "c_quality"),
) -> pd.DataFrame:
    """Return the cheapest cost for every target, threshold, bandwidth and metric.

    Parameters
    ----------
    targets : sequence of float
        FLOP.
    nodes : sequence of Node
    thresholds : sequence of float
        H100-equivalents; nodes are made as large as each allows.
    bandwidths_mbps : sequence of float
        Symmetric, Mbit/s.
    metrics : sequence of str

    Returns
    -------
    DataFrame
        Columns target, threshold, mbps, metric, cost_usd, plan; pairs without a plan are missing.
    """
    rows = []
    for threshold in thresholds:
        allowed = Regime(threshold).shrink(nodes)
        for mbps in bandwidths_mbps:
            for metric in metrics:
                for target in targets:
                    try:
                        best = branch_search(
                            target, allowed, metric=metric, network=Network.mbps(mbps)
                        )
                    except InfeasibleError:
                        continue
                    rows.append(
                        {
                            "target": target,
                            "threshold": threshold,
                            "mbps": mbps,
                            "metric": metric,
                            "cost_usd": best.value("cost_usd"),
                            "plan": best.labels()[0],
                        }
                    )
    return pd.DataFrame(rows)
