"""Searches to compare with: the published one, and one that looks at everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lib.compute_governance.hardware import Node
from lib.compute_governance.planner import (
    MODEL_SIZES,
    Assumptions,
    InfeasibleError,
    Ints,
    Metric,
    Network,
    Plans,
    branch_search,
    branches,
    evaluate_branches,
    pick,
)
from lib.compute_governance.scaling import Floats
from lib.core import check

__all__ = [
    "NODE_LIMIT",
    "Search",
    "at_nodes",
    "author_search",
    "bisect_first",
    "cheapest",
    "exhaustive_search",
    "grid_best",
    "ties",
]

NODE_LIMIT = 100_000
"""Most nodes that the published search looks at, of any size."""

Search = Literal["branch", "author"]

_TIE = 1e-9
"""Relative difference below which two plans tie."""


def at_nodes(
    nodes: Sequence[Node],
    n: Any,
    *,
    network: Network | None = None,
    assumptions: Assumptions | None = None,
    sizes: Sequence[float] = MODEL_SIZES,
) -> Plans:
    """Work out every branch at given node counts, shape (counts, branches).

    Parameters
    ----------
    nodes : sequence of Node
    n : int or array
        Node counts.
    network, assumptions
        See `evaluate`.
    sizes : sequence of float
    """
    some, counts = branches(nodes, sizes), np.atleast_1d(np.asarray(n))[:, None]
    return evaluate_branches(nodes, some, counts, network=network, assumptions=assumptions)


def grid_best(plans: Plans, metric: Metric) -> Plans:
    """Return the best admissible plan of every row of ``at_nodes``, the first of equals.

    Raises
    ------
    InfeasibleError
        If a row has none.
    """
    check.known("metric", metric, get_args(Metric))
    score = np.where(plans.admissible, getattr(plans, metric), -np.inf)
    at = np.argmax(score, axis=1)
    rows = np.arange(len(at))
    if not np.isfinite(score[rows, at]).all():
        raise InfeasibleError("no admissible plan at one of the node counts")
    return plans.take((rows, at))


def ties(
    best: Plans,
    target: float,
    *,
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> Plans:
    """Return all plans that equal a single one in node type, nodes and C_quality.

    Parameters
    ----------
    best : Plans
        From a search on C_local.
    target : float
        The search's, FLOP.
    network, assumptions
        The search's.
    """
    kind = best.nodes[int(best.value("node"))]
    around = at_nodes([kind], best.n, network=network, assumptions=assumptions)
    equal = np.abs(around.c_quality / best.value("c_quality") - 1.0) < _TIE
    return around.take(around.admissible & equal & (around.c_local >= target))


def author_search(
    target: float,
    nodes: Sequence[Node],
    *,
    metric: Metric = "c_local",
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> Plans:
    """Return the plan that the published search finds: bisection over the nodes of each type.

    At every node count the best mode and model by the metric is taken, and the count is bisected as
    if a larger one could only be better. It need not be: the bound on overtraining drops small
    models at large counts, so that the first probes see only pipelines and an island of cheap plans
    below is missed (theory page, proposition on bisection). Kept as it was published, for
    comparison; use `branch_search`.

    Parameters
    ----------
    target : float
        FLOP.
    nodes : sequence of Node
    metric : {"c_local", "c_quality"}
    network, assumptions
        See `evaluate`.

    Raises
    ------
    InfeasibleError
        If no node type reaches the target at the node limit.
    """
    target = check.number("target", target, above=0)
    check.known("metric", metric, get_args(Metric))
    nodes = tuple(nodes)
    some = branches(nodes)
    kinds = np.arange(len(nodes))
    starts = np.searchsorted(some.node, kinds)

    def best(n: Ints) -> Floats:
        plans = evaluate_branches(
            nodes, some, n[some.node], network=network, assumptions=assumptions
        )
        score = np.where(plans.admissible, getattr(plans, metric), -np.inf)
        return np.asarray(np.maximum.reduceat(score, starts))

    low = np.full(len(nodes), 2, dtype=np.int64)
    high = np.full(len(nodes), NODE_LIMIT, dtype=np.int64)
    single = best(np.ones_like(low)) >= target
    possible = single | (best(high) >= target)
    low[single], high[single] = 1, 1
    while (low < high).any():
        middle = (low + high) // 2
        enough = best(middle) >= target
        open_ = low < high
        high = np.where(open_ & enough, middle, high)
        low = np.where(open_ & ~enough, middle + 1, low)
    plans = evaluate_branches(nodes, some, low[some.node], network=network, assumptions=assumptions)
    reaches = plans.admissible & (getattr(plans, metric) >= target) & possible[some.node]
    if not reaches.any():
        raise InfeasibleError(f"no plan reaches {metric} = {target:g} FLOP")
    return pick(plans.take(reaches))


def exhaustive_search(
    target: float,
    nodes: Sequence[Node],
    *,
    limit: int,
    metric: Metric = "c_local",
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> Plans:
    """Return the cheapest plan of all with at most `limit` nodes, by looking at each; a check.

    Parameters
    ----------
    target : float
        FLOP.
    nodes : sequence of Node
    limit : int
        Most nodes.
    metric, network, assumptions
        See `branch_search`.

    Raises
    ------
    InfeasibleError
        If none of them reaches the target.
    """
    target = check.number("target", target, above=0)
    check.known("metric", metric, get_args(Metric))
    limit = check.integer("limit", limit, at_least=1)
    nodes, some = tuple(nodes), branches(nodes)
    found: list[Plans] = []
    # In blocks of a few hundred thousand plans, so that memory stays small.
    block = max(1, 300_000 // len(some))
    for start in range(1, limit + 1, block):
        counts = np.arange(start, min(start + block, limit + 1))[:, None]
        plans = evaluate_branches(nodes, some, counts, network=network, assumptions=assumptions)
        reaches = plans.admissible & (getattr(plans, metric) >= target)
        if reaches.any():
            found.append(pick(plans.take(reaches)))
    if not found:
        raise InfeasibleError(f"no plan of at most {limit} nodes reaches {target:g} FLOP")
    return min(found, key=lambda one: one.value("cost_usd"))


def cheapest(
    target: float,
    nodes: Sequence[Node],
    *,
    metric: Metric = "c_local",
    search: Search = "branch",
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> Plans:
    """Return the cheapest plan by either search; see `branch_search` and `author_search`."""
    searches = {"branch": branch_search, "author": author_search}
    chosen = searches[check.known("search", search, tuple(searches))]
    return chosen(target, nodes, metric=metric, network=network, assumptions=assumptions)


def bisect_first(feasible: npt.NDArray[np.bool_]) -> tuple[int | None, list[int]]:
    """Bisect for the first true entry, as the published search does.

    Parameters
    ----------
    feasible : bool array, shape (n,)

    Returns
    -------
    found : int or None
        Index; None where the last entry is false.
    probes : list of int
        What was looked at.
    """
    last = len(feasible) - 1
    probes = [last]
    if last < 0 or not feasible[last]:
        return None, probes
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        probes.append(middle)
        if feasible[middle]:
            high = middle
        else:
            low = middle + 1
    return low, probes
