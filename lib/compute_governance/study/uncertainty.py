"""Intervals instead of points: sampled constants, scenarios, and what drives the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pandas as pd

from lib.compute_governance.fits import bootstrap, read_points
from lib.compute_governance.hardware import Node
from lib.compute_governance.planner import (
    Assumptions,
    InfeasibleError,
    Ints,
    Metric,
    Network,
    Plans,
    Quality,
    branch_search,
    evaluate,
)
from lib.compute_governance.scaling import FIT, STANDARD_ERRORS, Chinchilla, Floats
from lib.compute_governance.study.searches import Search, cheapest
from lib.core import check, data, sweeps

__all__ = [
    "BOOTSTRAPS",
    "FAMILY",
    "INPUTS",
    "MOST",
    "RANGES",
    "Sobol",
    "again",
    "by_laws",
    "draw",
    "laws",
    "loose_laws",
    "one_draw",
    "reached",
    "sampled_cost",
    "scenario_moves",
    "shrunk",
    "sobol_indices",
    "spread",
    "sure_cost",
]

BOOTSTRAPS = 400
"""Resamples of the points that the law is fitted to."""

MOST = 8
"""Times the target for which `sure_cost` still plans."""

RANGES: dict[str, tuple[float, float]] = {
    "mfu": (0.30, 0.60),
    "alpha_base": (0.04, 0.12),
    "replica_scale": (0.75, 1.25),
    "quality_shift": (-0.08, 0.01),
}
"""Ranges of the author's estimates. The first is his; the others are ours: half to one and a half
of the base α, a quarter either way for the replica exponent, and the span of the three compression
scenarios around the expected one. The replica entry is a factor on the published coefficient."""

INPUTS = ("law", *RANGES, "unused")
"""Inputs of the sensitivity analysis. The law is one input: its parameters are drawn together. The
last one is not used by the model: the control."""


def loose_laws(n: int, rng: np.random.Generator) -> Chinchilla:
    """Draw laws from the published standard errors as if they were independent.

    They are not: the fit ties A and B to the exponents, and `laws` keeps that. This is what one
    gets from the published table alone.

    Parameters
    ----------
    n : int
        Draws, at least 1.
    rng : Generator

    Returns
    -------
    Chinchilla
        With arrays of shape (n,). Draws below a twentieth of the estimate are raised to that, so
        that every law is a law.
    """
    n, drawn = check.integer("n", n, at_least=1), {}
    for key, error in STANDARD_ERRORS.items():
        centre = float(getattr(FIT, key))
        drawn[key] = np.maximum(rng.normal(centre, error, n), centre / 20.0)
    return Chinchilla(**drawn)


FAMILY = 0.2
"""Decades of compute within which runs count as one family: their budgets came in steps."""


def _bootstrap(item: int | tuple[int, str], rng: np.random.Generator) -> Chinchilla:
    points = read_points(data.path("chinchilla_points"))
    if isinstance(item, int):
        return bootstrap(*points, item, rng)
    draws, by = item
    size, tokens, _ = points
    family = np.round(np.log10(6.0 * size * tokens) / FAMILY)
    return bootstrap(*points, draws, rng, family if by == "family" else rng.permutation(family))


def laws(draws: int = BOOTSTRAPS, by: str = "run", *, seed: int = 20_240_415) -> Chinchilla:
    """Return laws fitted to resampled points (`fits.bootstrap`); the sweep keeps them by content.

    Parameters
    ----------
    draws : int
    by : {"run", "family", "shuffled family"}
        What is resampled: single runs, families of equal budget (`FAMILY`), or as many families of
        the same sizes put together at random, the control.
    seed : int

    Returns
    -------
    Chinchilla
        With arrays of shape (draws,).
    """
    check.known("by", by, ("run", "family", "shuffled family"))
    item = draws if by == "run" else (draws, by)
    found: Chinchilla = sweeps.run(_bootstrap, [item], name="ch10-laws", n_jobs=1, seed=seed)[0]
    return found


def draw(n: int, rng: np.random.Generator, law: Chinchilla | None = None) -> Assumptions:
    """Draw constants: a law from a bootstrap, the rest uniformly from `RANGES`.

    Parameters
    ----------
    n : int
        Draws.
    rng : Generator
    law : Chinchilla, optional
        Laws to draw from, as `laws` returns them. By default the published standard errors, taken
        as independent.

    Returns
    -------
    Assumptions
        With arrays of shape (n,).
    """
    n = check.integer("n", n, at_least=1)
    drawn = loose_laws(n, rng) if law is None else law.take(rng.integers(len(law.alpha), size=n))
    return _assume(drawn, {key: rng.uniform(*ends, n) for key, ends in RANGES.items()})


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


def shrunk(sampled: Assumptions, times: float) -> Assumptions:
    """Return sampled constants whose distance from the published ones is so many times smaller."""
    times, base = check.number("times", times, at_least=1), Assumptions()

    def nearer(value: Any, centre: Any) -> Any:
        return centre + (np.asarray(value) - centre) / times

    law = replace(
        FIT, **{key: nearer(getattr(sampled.law, key), getattr(FIT, key)) for key in vars(FIT)}
    )
    rest: dict[str, Any] = {
        key: nearer(getattr(sampled, key), getattr(base, key)) for key in RANGES
    }
    return replace(sampled, law=law, **rest)


def one_draw(sampled: Assumptions, index: int) -> Assumptions:
    """Return a single draw of sampled constants."""
    rest: dict[str, Any] = {key: float(getattr(sampled, key)[index]) for key in RANGES}
    return replace(sampled, law=sampled.law.take(index), **rest)


def again(plan: Plans, assumptions: Assumptions) -> Plans:
    """Work a single plan out under other constants, also sampled ones; its network stays."""
    kinds = (getattr(plan, key).reshape(-1)[0] for key in ("node", "n", "params", "mode", "group"))
    return evaluate(
        plan.nodes, *kinds, every=plan.every, network=plan.network, assumptions=assumptions
    )


def reached(plan: Plans, assumptions: Assumptions, metric: Metric) -> Floats:
    """Return what a single plan reaches in each draw: nothing where it is not admissible."""
    there = again(plan, assumptions)
    return np.where(there.admissible, getattr(there, metric), 0.0)


def by_laws(sampled: Assumptions, times: int, rng: np.random.Generator) -> list[Ints]:
    """Resample draws by their laws, which are fewer than the draws: indices, `times` over."""
    which = np.unique(sampled.law.E, return_inverse=True)[1]
    groups = [np.flatnonzero(which == one) for one in range(which.max() + 1)]
    picks = rng.integers(len(groups), size=(times, len(groups)))
    return [np.concatenate([groups[one] for one in row]) for row in picks]


def spread(values: Any) -> tuple[float, float, float]:
    """Return the 5, 50 and 95 % points."""
    low, middle, high = np.quantile(check.array("values", values), [0.05, 0.5, 0.95])
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


def sure_cost(
    target: float,
    nodes: Sequence[Node],
    sampled: Assumptions,
    *,
    metric: Metric = "c_local",
    network: Network | None = None,
    confidence: float = 0.95,
) -> tuple[float, Plans]:
    """Return the margin and the plan that reach a target in a given share of the draws.

    The plan is the cheapest for the target times a margin. The margin is the first of 1, 1.04,
    1.04², … that is enough: the share need not rise with it, as the plan changes, so that halving
    might miss it. A draw in which the plan is not admissible does not count as reaching.

    Parameters
    ----------
    target : float
        FLOP.
    nodes : sequence of Node
    sampled : Assumptions
        From `draw`.
    metric, network
        See ``planner.branch_search``.
    confidence : float
        Share of the draws, within (0, 1).

    Returns
    -------
    margin : float
        Above 1 where the target alone is not enough.
    plan : Plans

    Raises
    ------
    InfeasibleError
        If a margin of `MOST` is not enough.
    """
    confidence = check.share("confidence", confidence, inside=True)
    for step in range(int(np.log(MOST) / np.log(1.04)) + 1):
        margin = 1.04**step
        found = branch_search(target * margin, nodes, metric=metric, network=network)
        if (reached(found, sampled, metric) >= target).mean() >= confidence:
            return margin, found
    raise InfeasibleError(f"no margin up to {MOST} reaches {target:g} in {confidence} of the draws")


def scenario_moves(plans: Sequence[Plans]) -> pd.DataFrame:
    """Return how C_local moves from the expected compression scenario, in percent.

    Parameters
    ----------
    plans : sequence of Plans
        Single plans.

    Returns
    -------
    DataFrame
        Columns plan, expected (the control: it is compared with itself), optimistic, conservative,
        and the three again for pseudo-gradients alone.
    """
    rows = []
    for plan in plans:
        row: dict[str, Any] = {"plan": plan.labels()[0]}
        expected = again(plan, Assumptions())
        for quality in get_args(Quality):
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
        """The input with the largest total index."""
        return str(self.table["total"].idxmax())


def sobol_indices(
    plan: Plans, metric: Metric, samples: int, *, seed: int, law: Chinchilla | None = None
) -> Sobol:
    """Return first-order and total Sobol indices of ln(metric) of a plan over `INPUTS`.

    The law is drawn from a bootstrap as a whole, or from its published errors taken as independent
    (by a Gaussian of each parameter, all read off one draw); the rest is uniform over `RANGES`.

    Parameters
    ----------
    plan : Plans
        A single one.
    metric : {"c_local", "c_quality"}
    samples : int
        A power of two.
    seed : int
    law : Chinchilla, optional
        Laws to draw from, as `laws` returns them; by default independent errors.
    """
    from SALib.analyze import sobol as analyse
    from SALib.sample import sobol as sample

    samples = check.integer("samples", samples, at_least=2)
    if samples & (samples - 1):
        raise ValueError(f"samples is {samples}, expected a power of two")
    known = loose_laws(4 * BOOTSTRAPS, np.random.default_rng(seed)) if law is None else law
    bounds = [(0.0, 1.0), *RANGES.values(), (0.0, 1.0)]
    problem = {
        "num_vars": len(INPUTS),
        "names": list(INPUTS),
        "bounds": [list(pair) for pair in bounds],
    }
    points = sample.sample(problem, samples, calc_second_order=False, seed=seed)
    column = dict(zip(INPUTS, points.T, strict=True))
    which = np.minimum((column["law"] * len(known.alpha)).astype(int), len(known.alpha) - 1)
    value = getattr(again(plan, _assume(known.take(which), column)), metric)
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
