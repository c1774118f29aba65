"""The propositions of the theory page, checked by computing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.compute_governance.detection import p_inspection, predictive_value
from lib.compute_governance.hardware import Chip, Node, Precision
from lib.compute_governance.planner import (
    FLAT,
    MODEL_SIZES,
    Assumptions,
    Network,
    evaluate,
)
from lib.compute_governance.scaling import FIT, Chinchilla, Floats
from lib.compute_governance.study.searches import bisect_first
from lib.compute_governance.study.tables import replica_efficiency


def interval_spread(node: Node, replicas: int, network: Network) -> float:
    """Return the relative spread of synchronisation over step time among models that fit a node.

    Parameters
    ----------
    node : Node
    replicas : int
        At least 2.
    network : Network
    """
    sizes = np.array([size for size in MODEL_SIZES if size <= node.largest_model])
    plans = evaluate([node], 0, replicas, sizes, FLAT, network=network)
    ratio = plans.sync_s / plans.step_s
    return float(ratio.max() / ratio.min() - 1.0)


def replica_violations(multipliers: Sequence[float], law: Chinchilla = FIT) -> int:
    """Count where the share kept exceeds 1 or rises with the multiplier, over sizes and ratios.

    Parameters
    ----------
    multipliers : sequence of float
        Ascending.
    law : Chinchilla
    """
    sizes = np.geomspace(5e8, 1e13, 30)[:, None, None]
    tokens = sizes * np.geomspace(5.0, 3_000.0, 20)[None, :, None]
    share = replica_efficiency(law, sizes, tokens, np.asarray(multipliers))
    return int((share > 1 + 1e-12).sum() + (np.diff(share, axis=-1) > 1e-12).sum())


def amplification(loss: Floats, law: Chinchilla = FIT) -> Floats:
    """Return d ln C / d ln L along the reference allocation by the closed form, −L/((L − E)·k)."""
    params, tokens = law.allocate(law.effective_compute(loss))
    of_size, of_data = law.A * params ** (-law.alpha), law.B * tokens ** (-law.beta)
    k = (law.alpha * of_size + law.beta * of_data) / (2.0 * (of_size + of_data))
    return -loss / ((loss - law.E) * k)


def amplification_error(
    slope: Callable[[Floats, Chinchilla], Floats] | None = None, law: Chinchilla = FIT
) -> float:
    """Return the largest relative error of d ln C / d ln L against central differences.

    Parameters
    ----------
    slope : callable, optional
        Another formula for the slope; the closed form by default.
    law : Chinchilla
    """
    params, tokens = law.allocate(np.geomspace(1e20, 1e28, 81))
    loss, step = law.loss(params, tokens), 1e-6
    up = np.log(law.effective_compute(loss * np.exp(step)))
    down = np.log(law.effective_compute(loss * np.exp(-step)))
    numeric = (up - down) / (2 * step)
    formula = (slope or amplification)(loss, law)
    return float(np.max(np.abs(formula / numeric - 1.0)))


def efficiency_rises(assumptions: Assumptions | None = None) -> dict[str, int]:
    """Count where the shares q_local and q_quality rise with the tokens, which leaping forbids.

    All model sizes, multipliers from 1 to 1.5, overtraining ratios within the limits.

    Parameters
    ----------
    assumptions : Assumptions, optional
    """
    a = assumptions or Assumptions()
    sizes = np.asarray(MODEL_SIZES)[:, None, None]
    tokens = a.ratio * sizes * np.geomspace(*a.overtraining, 200)[None, :, None]
    loss = a.law.loss(sizes, tokens) * np.array([1.0, 1.002, 1.02, 1.1, 1.5])
    kept = np.log(a.law.effective_compute(loss, a.ratio))
    local = kept - kept[..., :1]
    quality = kept - np.log(6.0 * sizes * tokens)
    return {
        "c_local": int((np.diff(local, axis=1) > 1e-9).sum()),
        "c_quality": int((np.diff(quality, axis=1) > 1e-9).sum()),
    }


def smaller_nodes(
    chip: Chip, counts: Sequence[int], chips: int, params: float, precision: Precision = "FP16"
) -> dict[str, Floats]:
    """Split a number of chips into nodes of several sizes; return bandwidth and H of each.

    Parameters
    ----------
    chip : Chip
    counts : sequence of int
        Chips a node; each divides `chips`.
    chips : int
    params : float
        Of a model that fits the smallest node.
    precision : {"FP16", "FP8"}

    Returns
    -------
    dict
        Arrays ``bps`` (all uplinks together), ``product`` (that times chips a node) and ``h``.
    """
    network = Network(latency_s=0.0)
    nodes = [Node(chip, count, precision) for count in counts]
    number = np.array([chips // count for count in counts])
    if (number * np.asarray(counts) != chips).any():
        raise ValueError(f"counts {tuple(counts)} must divide {chips} chips")
    plans = evaluate(nodes, np.arange(len(nodes)), number, params, FLAT, network=network)
    bps = network.up_bps * number
    return {"bps": bps, "product": bps * np.asarray(counts), "h": plans.h}


def bisection_is_right(feasible: npt.NDArray[np.bool_]) -> bool:
    """Whether every probe is feasible exactly when it is not below the first feasible entry."""
    _, probes = bisect_first(feasible)
    first = int(np.argmax(feasible)) if feasible.any() else len(feasible)
    return all(bool(feasible[p]) == (p >= first) for p in probes)


def bisection_trials(trials: int, size: int, rng: np.random.Generator) -> dict[str, int]:
    """Bisect random feasible sets, and random up-sets, and count the misses.

    Parameters
    ----------
    trials, size : int
    rng : Generator

    Returns
    -------
    dict
        ``misses_any`` and ``misses_upset``: first entries not found; ``disagree``: sets where
        being right and the condition on the probes differ.
    """
    count = {"misses_any": 0, "misses_upset": 0, "disagree": 0}
    for _ in range(trials):
        loose = rng.random(size) < rng.random()
        upset = np.arange(size) >= rng.integers(0, size + 1)
        for name, one in (("any", loose), ("upset", upset)):
            first = int(np.argmax(one)) if one.any() else None
            right = bisect_first(one)[0] == first
            count[f"misses_{name}"] += not right
            count["disagree"] += right != bisection_is_right(one)
    return count


def inspection_agrees(population: int) -> bool:
    """Whether the closed form of inspection equals full enumeration for all cases of a size."""
    for hidden in range(population + 1):
        for inspected in range(population + 1):
            draws = list(itertools.combinations(range(population), inspected))
            hits = sum(any(site < hidden for site in draw) for draw in draws)
            if abs(p_inspection(population, hidden, inspected) - hits / len(draws)) > 1e-12:
                return False
    return True


def ppv_within_bound(grid: Any) -> bool:
    """Whether the predictive value never exceeds min(1, odds) on a grid of probabilities.

    Parameters
    ----------
    grid : array
        Within (0, 1); used for prevalence, sensitivity and specificity.
    """
    values = np.asarray(grid, dtype=float)
    prevalence, sensitivity, specificity = np.meshgrid(values, values, values, indexing="ij")
    odds = sensitivity / (1.0 - specificity) * prevalence / (1.0 - prevalence)
    found = predictive_value(prevalence, sensitivity, specificity)
    exact = np.abs(found - odds / (1.0 + odds)) < 1e-12
    return bool((exact & (found <= np.minimum(1.0, odds) + 1e-12)).all())
