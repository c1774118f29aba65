"""Intervals instead of points: sampled constants, scenarios, and what drives the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lib.compute_governance.hardware import Node
from lib.compute_governance.planner import (
    Assumptions,
    InfeasibleError,
    Metric,
    Plans,
    Quality,
    Search,
    cheapest,
    evaluate,
)
from lib.compute_governance.scaling import FIT, STANDARD_ERRORS, Floats

__all__ = [
    "INPUTS",
    "RANGES",
    "Sobol",
    "again",
    "draw",
    "one_draw",
    "sampled_cost",
    "scenario_moves",
    "sobol_indices",
    "spread",
]

RANGES: dict[str, tuple[float, float]] = {
    "mfu": (0.30, 0.60),
    "alpha_base": (0.04, 0.12),
    "replica_scale": (0.75, 1.25),
    "quality_shift": (-0.08, 0.01),
}
"""Ranges of the author's estimates. The first is his; the others are ours: half to one and a half
of the base α, a quarter either way for the replica exponent, and the span of the three compression
scenarios around the expected one. The replica entry is a factor on the published coefficient."""

INPUTS = ("E", "alpha", "beta", *RANGES, "unused")
"""Inputs of the sensitivity analysis; the last one is not used by the model: the control."""


def draw(n: int, rng: np.random.Generator, *, ridge: bool = False) -> Assumptions:
    """Draw constants: the scaling law from its errors, the rest uniformly from `RANGES`.

    Parameters
    ----------
    n : int
        Draws.
    rng : Generator
    ridge : bool
        See ``Chinchilla.sample``.

    Returns
    -------
    Assumptions
        With arrays of shape (n,).
    """
    law = FIT.sample(n, rng, ridge=ridge)
    return _assume(law, {key: rng.uniform(*ends, n) for key, ends in RANGES.items()})


def _assume(law: Any, columns: dict[str, Floats]) -> Assumptions:
    base = Assumptions()
    return replace(
        base,
        law=law,
        mfu=columns["mfu"],
        alpha_base=columns["alpha_base"],
        replica_scale=base.replica_scale * columns["replica_scale"],
        quality_shift=columns["quality_shift"],
    )


def one_draw(sampled: Assumptions, index: int) -> Assumptions:
    """Return a single draw of sampled constants."""

    def pick(value: Any) -> Any:
        return float(value[index]) if isinstance(value, np.ndarray) else value

    law = replace(sampled.law, **{key: pick(getattr(sampled.law, key)) for key in STANDARD_ERRORS})
    rest = {key: pick(getattr(sampled, key)) for key in RANGES}
    return replace(sampled, law=law, **rest)


def again(plan: Plans, assumptions: Assumptions) -> Plans:
    """Work a single plan out under other constants, also under sampled ones."""
    return evaluate(
        plan.nodes,
        plan.node.reshape(-1)[0],
        plan.n.reshape(-1)[0],
        plan.params.reshape(-1)[0],
        plan.mode.reshape(-1)[0],
        plan.group.reshape(-1)[0],
        assumptions=assumptions,
    )


def spread(values: Any) -> tuple[float, float, float]:
    """Return the 5, 50 and 95 % points."""
    low, middle, high = np.quantile(np.asarray(values, dtype=float), [0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)


def sampled_cost(
    target: float,
    nodes: Sequence[Node],
    sampled: Assumptions,
    draws: int,
    *,
    metric: Metric = "c_local",
    search: Search = "branch",
) -> Floats:
    """Return the cost of the cheapest plan in each draw; infinite where nothing reaches the target.

    Parameters
    ----------
    target : float
        FLOP.
    nodes : sequence of Node
    sampled : Assumptions
        From `draw`.
    draws : int
        How many of them, from the first.
    metric, search
        See ``planner.cheapest``.
    """
    costs = np.full(draws, np.inf)
    for i in range(draws):
        try:
            best = cheapest(
                target, nodes, metric=metric, search=search, assumptions=one_draw(sampled, i)
            )
            costs[i] = best.value("cost_usd")
        except InfeasibleError:
            continue
    return costs


def scenario_moves(plans: Sequence[Plans]) -> pd.DataFrame:
    """Return how C_local moves from the expected compression scenario, in percent.

    Parameters
    ----------
    plans : sequence of Plans
        Single plans.

    Returns
    -------
    DataFrame
        Columns plan, optimistic, conservative, and both again for pseudo-gradients alone.
    """
    rows = []
    for plan in plans:
        row: dict[str, Any] = {"plan": plan.labels()[0]}
        expected = again(plan, Assumptions())
        scenarios: tuple[Quality, ...] = ("optimistic", "conservative")
        for quality in scenarios:
            other = again(plan, Assumptions(quality=quality))
            moved = other.value("c_local") / expected.value("c_local")
            activation = other.value("eta_activation") / expected.value("eta_activation")
            row[quality] = 100.0 * (moved - 1.0)
            row[f"{quality}, gradients"] = 100.0 * (moved / activation - 1.0)
        rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Sobol:
    """Sobol indices of the logarithm of a metric.

    Parameters
    ----------
    table : DataFrame
        Rows are `INPUTS`; columns first, first_95, total, total_95 (half widths of 95 % intervals).
    evaluations : int
    """

    table: pd.DataFrame
    evaluations: int

    @property
    def leader(self) -> str:
        """The input with the largest total index; α and β count as one, the exponents."""
        top = str(self.table["total"].idxmax())
        return "exponents" if top in ("alpha", "beta") else top


def sobol_indices(plan: Plans, metric: Metric, samples: int, *, seed: int) -> Sobol:
    """Return first-order and total Sobol indices of ln(metric) of a plan over `INPUTS`.

    The exponents and E are normal with their published errors, A and B stay fixed, as in the
    paper's own sensitivity table; the rest is uniform over `RANGES`.

    Parameters
    ----------
    plan : Plans
        A single one.
    metric : {"c_local", "c_quality"}
    samples : int
        A power of two.
    seed : int
    """
    from SALib.analyze import sobol as analyse
    from SALib.sample import sobol as sample

    if samples < 2 or samples & (samples - 1):
        raise ValueError(f"samples is {samples}; expected a power of two")
    normal = {key: (getattr(FIT, key), STANDARD_ERRORS[key]) for key in ("E", "alpha", "beta")}
    bounds = [*normal.values(), *RANGES.values(), (0.0, 1.0)]
    problem = {
        "num_vars": len(INPUTS),
        "names": list(INPUTS),
        "bounds": [list(pair) for pair in bounds],
        "dists": ["norm"] * len(normal) + ["unif"] * (len(INPUTS) - len(normal)),
    }
    points = sample.sample(problem, samples, calc_second_order=False, seed=seed)
    column = dict(zip(INPUTS, points.T, strict=True))
    law = replace(FIT, E=column["E"], alpha=column["alpha"], beta=column["beta"])
    value = getattr(again(plan, _assume(law, column)), metric)
    found = analyse.analyze(problem, np.log(value), calc_second_order=False, seed=seed)
    table = pd.DataFrame(
        {
            "first": found["S1"],
            "first_95": found["S1_conf"],
            "total": found["ST"],
            "total_95": found["ST_conf"],
        },
        index=list(INPUTS),
    )
    return Sobol(table, len(points))
