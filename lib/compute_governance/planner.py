"""The feasibility model: what a number of nodes can train, and the cheapest way to a target.

Everything is evaluated for whole arrays of plans at once. Formulas: section 3 of arXiv 2605.29359
and the documents of its repository; the choices that these leave open and how they were settled:

- model sizes and group sizes are those of the published table generator;
- in hierarchical mode a plan counts all its nodes, also those beyond a multiple of the group size,
  as workers and as replicas, and H is H_inner·√H_regional, also in the replica exponent;
- in pipeline mode the replicas are the groups, and whole groups only are counted;
- a model that fits a node is never pipelined;
- one node has no efficiency loss at all: η = χ = 1;
- among the modes and models that reach the target with the fewest nodes, the one with the highest
  C_quality is taken.

With these, all rows of Tables 1 to 3 come out (notebook 01).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.compute_governance.hardware import Node
from lib.compute_governance.scaling import FIT, REFERENCE_RATIO, Chinchilla, Floats

__all__ = [
    "COMPRESSION_QUALITY",
    "FLAT",
    "GROUP_SIZES",
    "HIERARCHICAL",
    "MODEL_SIZES",
    "NODE_LIMIT",
    "PIPELINE",
    "UNITS",
    "Assumptions",
    "Branches",
    "InfeasibleError",
    "Metric",
    "Network",
    "Plans",
    "Quality",
    "Search",
    "at_nodes",
    "author_search",
    "branch_search",
    "branches",
    "cheapest",
    "evaluate",
    "exhaustive_search",
    "grid_best",
    "plan",
    "replica_efficiency",
    "ties",
]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Metric = Literal["c_local", "c_quality"]
Quality = Literal["optimistic", "expected", "conservative"]
Search = Literal["branch", "author"]

FLAT, HIERARCHICAL, PIPELINE = 0, 1, 2
"""Codes of the modes."""

GROUP_SIZES = (4, 8, 10, 12, 14, 16, 18, 20, 24, 32)
"""Nodes a group that hierarchical mode may use."""

# Billions of parameters: the grid of the published table generator.
_BILLIONS = (
    (0.5, 1, 2, 5, 10, 25, 28, 30, 32, 35, 40, 45, 50, 60, 70, 78, 85, 91, 92, 100),
    (110, 120, 130, 140, 150, 155, 160, 165, 170, 172, 175, 178, 180, 185, 195, 200),
    (210, 225, 235, 240, 245, 248, 250, 252, 255, 258, 260, 265, 270, 275, 280, 290),
    (300, 310, 315, 320, 325, 330, 335, 340, 350, 375, 400, 450, 500, 625, 750),
    (1000, 1500, 2500, 5000, 10_000),
)
MODEL_SIZES: tuple[float, ...] = tuple(1e9 * b for row in _BILLIONS for b in row)
"""Parameters of the models that a plan may train, 0.5 to 10,000 billion."""

NODE_LIMIT = 100_000
"""Most nodes that a search looks at."""

COMPRESSION_QUALITY: dict[str, tuple[tuple[float, float], ...]] = {
    "optimistic": ((1, 1.0), (4, 1.0), (16, 1.0), (100, 1.0), (150, 1.0), (500, 0.99)),
    "expected": ((1, 1.0), (4, 1.0), (16, 1.0), (100, 0.99), (150, 0.99), (500, 0.96)),
    "conservative": ((1, 1.0), (4, 0.99), (16, 0.97), (100, 0.93), (150, 0.91), (500, 0.80)),
}
"""Quality factor by compression ratio, with error feedback: the author's estimates."""

_TIE = 1e-9
"""Relative difference below which two plans tie."""

_ACTIVATION_QUALITY = {"optimistic": 1.0, "expected": 0.995, "conservative": 0.96}
"""Quality a stage boundary at fourfold activation compression: the author's estimates."""


class InfeasibleError(ValueError):
    """No plan within the limits reaches the target."""


@dataclass(frozen=True)
class Network:
    """Links of a node.

    Parameters
    ----------
    up_bps, down_bps : float
        Rates, bits a second.
    latency_s : float
        Seconds, at least 0.

    Raises
    ------
    ValueError
        If a rate is not positive or the latency is negative.

    Examples
    --------
    >>> Network.mbps(100).up_bps, Network.mbps(57, 310).peer_bps
    (100000000.0, 57000000.0)
    """

    up_bps: float = 100e6
    down_bps: float = 100e6
    latency_s: float = 0.1

    def __post_init__(self) -> None:
        for key in ("up_bps", "down_bps"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{key} is {value}; expected a positive rate in bits a second")
        if not (math.isfinite(self.latency_s) and self.latency_s >= 0):
            raise ValueError(f"latency_s is {self.latency_s}; expected seconds ≥ 0")

    @classmethod
    def mbps(cls, up: float, down: float | None = None, latency_s: float = 0.1) -> Network:
        """Make one from Mbit/s; symmetric unless `down` is given."""
        return cls(up * 1e6, (up if down is None else down) * 1e6, latency_s)

    @property
    def peer_bps(self) -> float:
        """Rate between two nodes of a group: what the slower direction allows."""
        return min(self.up_bps, self.down_bps)


@dataclass(frozen=True)
class Assumptions:
    """Constants of the model; every field may be an array that broadcasts against the plans.

    Parameters
    ----------
    mfu : float
        Share of the peak FLOP/s that training uses.
    batch_tokens : float
        Tokens a local step.
    window_s : float
        Length of the run, seconds; 740 days by default.
    compression : float
        Ratio by which a pseudo-gradient is compressed beyond its precision.
    quality : {"optimistic", "expected", "conservative"}
        Scenario of what compression costs.
    quality_shift : float
        Added to the quality factor of compression, for sensitivity analysis.
    tail : float
        Coefficient of the slowest worker, f(n) = 1 + tail·log2 n; 0.02 for relays.
    alpha_base : float
        Share of compute lost a decade of H at 10⁹ parameters (author's estimate).
    alpha_decades : float
        Decades of model size over which that share halves.
    eta_floor : float
        Smallest η_H.
    replica_scale, replica_power : float
        Exponent of the replica loss multiplier, scale·P^−power at H = `replica_h`.
    replica_h : float
    micro_batches : float
        Of a pipeline step.
    hidden : float
        Hidden width is hidden·√P.
    law : Chinchilla
    ratio : float
        Tokens a parameter that count as no overtraining.
    overtraining : (float, float)
        Ends of the admissible overtraining ratio.
    goodput : float
        Share of the window that does useful work.
    server, cluster : float
        Cost multipliers from chips to servers and from servers to clusters (Cottier et al. 2024).

    Raises
    ------
    ValueError
        If a constant is not positive, or the scenario is unknown.
    """

    mfu: Any = 0.40
    batch_tokens: Any = 131_072.0
    window_s: Any = 740 * 86_400.0
    compression: float = 150.0
    quality: Quality = "expected"
    quality_shift: Any = 0.0
    tail: Any = 0.02
    alpha_base: Any = 0.08
    alpha_decades: Any = 5.0
    eta_floor: Any = 0.4
    replica_scale: Any = 1.0923
    replica_power: Any = 0.2342
    replica_h: Any = 30.0
    micro_batches: Any = 8.0
    hidden: Any = 0.03
    law: Chinchilla = field(default=FIT)
    ratio: float = REFERENCE_RATIO
    overtraining: tuple[float, float] = (1.0, 100.0)
    goodput: Any = 1.0
    server: float = 1.64
    cluster: float = 1.23

    def __post_init__(self) -> None:
        free = {"quality", "quality_shift", "law", "overtraining", "tail"}
        for one in fields(self):
            if one.name in free:
                continue
            value = np.asarray(getattr(self, one.name), dtype=float)
            if not (np.isfinite(value).all() and (value > 0).all()):
                raise ValueError(
                    f"{one.name} is {getattr(self, one.name)!r}; expected positive numbers"
                )
        for key in ("tail", "quality_shift"):
            if not np.isfinite(np.asarray(getattr(self, key), dtype=float)).all():
                raise ValueError(f"{key} is {getattr(self, key)!r}; expected finite numbers")
        if np.min(self.tail) < 0:
            raise ValueError(f"tail is {self.tail!r}; expected at least 0")
        if self.quality not in COMPRESSION_QUALITY:
            raise ValueError(
                f"quality is {self.quality!r}; expected one of {', '.join(COMPRESSION_QUALITY)}"
            )
        if self.compression < 1:
            raise ValueError(f"compression is {self.compression}; expected a ratio ≥ 1")
        low, high = self.overtraining
        if not 0 < low <= high:
            raise ValueError(f"overtraining is {self.overtraining}; expected 0 < low ≤ high")

    @property
    def eta_compression(self) -> Any:
        """Quality factor of pseudo-gradient compression, log-linear in the ratio."""
        table = np.array(COMPRESSION_QUALITY[self.quality])
        known = np.interp(np.log10(self.compression), np.log10(table[:, 0]), table[:, 1])
        return np.minimum(known + np.asarray(self.quality_shift), 1.0)

    @property
    def boundary_quality(self) -> float:
        """Quality factor of one compressed stage boundary of a pipeline."""
        return _ACTIVATION_QUALITY[self.quality]

    def alpha(self, params: Any) -> Floats:
        """Share of compute lost a decade of H for a model size."""
        decades = np.log10(np.asarray(params, dtype=float) / 1e9)
        share: Floats = np.asarray(self.alpha_base / (1.0 + decades / self.alpha_decades))
        return share

    def replica_multiplier(self, replicas: Any, params: Any, h: Any) -> Floats:
        """Loss with many replicas over loss with one; 1 for one replica or H = 1."""
        replicas, h = np.asarray(replicas, dtype=float), np.asarray(h, dtype=float)
        power = self.replica_scale * np.asarray(params, dtype=float) ** (-self.replica_power)
        power = power * np.log(np.maximum(h, 1.0)) / np.log(self.replica_h)
        multiplier: Floats = np.asarray(np.maximum(replicas, 1.0) ** power)
        return multiplier

    def slowest(self, workers: Any) -> Floats:
        """Factor by which waiting for the slowest of some workers stretches a synchronisation."""
        factor: Floats = 1.0 + self.tail * np.log2(np.maximum(np.asarray(workers, float), 1.0))
        return factor


UNITS: dict[str, str] = {
    "node": "index into the node types",
    "n": "nodes",
    "params": "parameters",
    "mode": "0 flat, 1 hierarchical, 2 pipeline",
    "group": "nodes a group (1 in flat mode)",
    "replicas": "models averaged",
    "step_s": "s a local step of one replica",
    "payload_bits": "bits a pseudo-gradient, compressed",
    "sync_s": "s a global synchronisation",
    "regional_sync_s": "s a synchronisation within a group (0 elsewhere)",
    "h": "local steps between synchronisations, effective",
    "outer_s": "s from one global synchronisation to the next",
    "tokens": "tokens in the window",
    "c_threshold": "FLOP, 6·parameters·tokens",
    "overtraining": "tokens a parameter over the reference",
    "loss": "nats, by the law, one replica",
    "multiplier": "loss with the replicas over loss with one",
    "eta_h": "share kept: synchronising seldom",
    "eta_compression": "share kept: compressed pseudo-gradients",
    "eta_replica": "share kept: averaging replicas",
    "eta_activation": "share kept: compressed activations",
    "eta": "share kept, all factors",
    "chi": "compute of the reference allocation over compute spent, at equal loss",
    "chi_free": "the same, not cut off at 1",
    "c_local": "FLOP of one well-connected cluster, at equal overtraining",
    "c_quality": "FLOP of the reference allocation, at equal loss",
    "cost_usd": "US dollars",
}
"""Every quantity of a plan, with its unit."""


@dataclass(frozen=True)
class Plans:
    """Plans as arrays of one shape; `UNITS` says what each field is.

    `admissible` is whether a plan exists at all (the model fits, there are two groups) and its
    overtraining ratio is within the limits.
    """

    nodes: tuple[Node, ...]
    node: Ints
    n: Floats
    params: Floats
    mode: Ints
    group: Floats
    replicas: Floats
    step_s: Floats
    payload_bits: Floats
    sync_s: Floats
    regional_sync_s: Floats
    h: Floats
    outer_s: Floats
    tokens: Floats
    c_threshold: Floats
    overtraining: Floats
    loss: Floats
    multiplier: Floats
    eta_h: Floats
    eta_compression: Floats
    eta_replica: Floats
    eta_activation: Floats
    eta: Floats
    chi: Floats
    chi_free: Floats
    c_local: Floats
    c_quality: Floats
    cost_usd: Floats
    admissible: Bools

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every field."""
        return self.n.shape

    def take(self, where: Any) -> Plans:
        """Return the plans at an index, slice or mask."""
        picked = {
            one.name: np.atleast_1d(getattr(self, one.name)[where])
            for one in fields(self)
            if one.name != "nodes"
        }
        return Plans(self.nodes, **picked)

    def labels(self) -> list[str]:
        """Name node type, mode and grouping, such as ``16x GH200 FP8, hier 8x4``."""
        names = []
        for node, n, mode, group in zip(
            self.node.ravel(), self.n.ravel(), self.mode.ravel(), self.group.ravel(), strict=True
        ):
            split = f" {int(group)}x{int(n // group)}"
            text = ("flat", "hier" + split, "PP" + split)[int(mode)]
            names.append(f"{self.nodes[int(node)].name}, {text}")
        return names

    def frame(self, *columns: str) -> pd.DataFrame:
        """Return the plans as a table, all quantities or the columns named."""
        wanted = columns or tuple(UNITS)
        data = {key: getattr(self, key).ravel() for key in wanted}
        return pd.DataFrame({"plan": self.labels(), **data})

    def value(self, name: str) -> float:
        """Return a quantity of a single plan.

        Raises
        ------
        ValueError
            If there is more than one.
        """
        array = np.asarray(getattr(self, name))
        if array.size != 1:
            raise ValueError(f"{array.size} plans; expected a single one")
        return float(array.reshape(-1)[0])


def _node_columns(nodes: Sequence[Node], which: Ints) -> dict[str, Floats]:
    def column(*values: float) -> Floats:
        found: Floats = np.asarray(values, dtype=float)[which]
        return found

    return {
        "flops": column(*(node.flops for node in nodes)),
        "mem": column(*(node.mem_gb * 1e9 for node in nodes)),
        "bytes": column(*(node.bytes_per_param for node in nodes)),
        "bits": column(*(node.gradient_bits for node in nodes)),
        "usd": column(*(node.chips_usd for node in nodes)),
    }


def evaluate(
    nodes: Sequence[Node],
    node: Any,
    n: Any,
    params: Any,
    mode: Any,
    group: Any = 1,
    *,
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> Plans:
    """Work plans out, with every intermediate; arguments broadcast.

    Parameters
    ----------
    nodes : sequence of Node
        The node types.
    node : int array
        Which of them.
    n : int array
        Nodes, at least 1.
    params : float array
        Parameters of the model.
    mode : int array
        `FLAT`, `HIERARCHICAL` or `PIPELINE`.
    group : int array
        Nodes a group in hierarchical mode. Elsewhere it is not read: a pipeline has as many
        stages as the model needs.
    network : Network, optional
        100 Mbit/s both ways and 100 ms by default.
    assumptions : Assumptions, optional

    Returns
    -------
    Plans
        Not admissible where the model does not fit (flat, hierarchical), fits a single node
        (pipeline), or there are fewer than two groups.

    Raises
    ------
    ValueError
        If there is no node type, an index is out of range, or a count or size is not positive.

    Examples
    --------
    >>> from lib.compute_governance.hardware import CHIPS, Node
    >>> two = evaluate([Node(CHIPS["H100"], 16, "FP8")], 0, 2, 91e9, FLAT)
    >>> two.labels(), int(two.value("h")), round(two.value("eta"), 4)
    (['16x H100 FP8, flat'], 18, 0.7957)
    """
    network, a = network or Network(), assumptions or Assumptions()
    nodes = tuple(nodes)
    if not nodes:
        raise ValueError("no node type given; expected at least one")
    node_, n_, size, mode_, g = np.broadcast_arrays(
        np.asarray(node, dtype=np.int64),
        np.asarray(n, dtype=float),
        np.asarray(params, dtype=float),
        np.asarray(mode, dtype=np.int64),
        np.asarray(group, dtype=float),
    )
    if node_.size and not (node_.min() >= 0 and node_.max() < len(nodes)):
        raise ValueError(f"node must be an index below {len(nodes)}")
    if node_.size and not (mode_.min() >= FLAT and mode_.max() <= PIPELINE):
        raise ValueError("mode must be FLAT, HIERARCHICAL or PIPELINE")
    for key, array in (("n", n_), ("params", size), ("group", g)):
        if not (np.isfinite(array).all() and (array > 0).all()):
            raise ValueError(f"{key} must be positive and finite")
    if (n_ != np.floor(n_)).any():
        raise ValueError("n must be whole numbers of nodes")
    spec = _node_columns(nodes, node_)
    hier, pipe = mode_ == HIERARCHICAL, mode_ == PIPELINE
    fits = size * spec["bytes"] <= spec["mem"]
    stages = np.where(pipe, np.ceil(size * spec["bytes"] / spec["mem"]), 1.0)
    g = np.where(hier, g, stages)
    groups = np.floor(n_ / g)
    admissible = np.where(pipe, ~fits & (groups >= 2), fits & (~hier | (groups >= 2)))
    groups = np.maximum(groups, 1.0)
    workers = np.where(pipe, groups, n_)

    # One local step, and one synchronisation of the compressed pseudo-gradient.
    compute_s = 6.0 * size * a.batch_tokens / (spec["flops"] * a.mfu)
    activation_bits = a.batch_tokens * a.hidden * np.sqrt(size) * spec["bits"] / 4.0
    handover_s = 2.0 * activation_bits / a.micro_batches / network.peer_bps + network.latency_s
    slot_s = compute_s / (a.micro_batches * stages) + handover_s * a.slowest(stages)
    step_s = np.where(pipe, (a.micro_batches + stages - 1.0) * slot_s, compute_s)
    payload = size * spec["bits"] / a.compression
    once_s = payload / network.up_bps + payload / network.down_bps + network.latency_s
    sync_s = once_s * a.slowest(np.where(hier, groups, workers))
    regional_s = 2.0 * payload / network.peer_bps + network.latency_s
    regional_s = np.where(hier, regional_s * a.slowest(g), 0.0)

    # Steps between synchronisations, so that none of them makes the chips wait.
    inner = np.where(hier, np.maximum(np.ceil(regional_s / step_s), 1.0), 1.0)
    cycle_s = np.maximum(inner * step_s, regional_s)
    outer = np.maximum(np.ceil(sync_s / cycle_s), 1.0)
    outer = np.where(workers > 1, outer, 1.0)
    h = inner * np.where(hier, np.sqrt(outer), outer)
    outer_s = np.maximum(outer * cycle_s, np.where(workers > 1, sync_s, 0.0))
    rate = inner * outer * a.batch_tokens * workers / outer_s
    tokens = a.window_s * a.goodput * rate
    spent = 6.0 * size * tokens
    overtraining = tokens / (a.ratio * size)

    # What is kept of it.
    alone = workers <= 1
    loss = a.law.loss(size, tokens)
    multiplier = a.replica_multiplier(workers, size, h)
    reached = a.law.effective_compute(loss, a.ratio)
    degraded = a.law.effective_compute(loss * multiplier, a.ratio)
    chi_free = reached / spent
    chi = np.where(alone, 1.0, np.minimum(chi_free, 1.0))
    eta_replica = np.where(alone, 1.0, np.minimum(degraded / spent, 1.0) / np.minimum(chi_free, 1))
    eta_h = np.where(alone, 1.0, np.maximum(a.eta_floor, 1.0 - a.alpha(size) * np.log10(h)))
    eta_compression = np.where(alone, 1.0, a.eta_compression)
    eta_activation = a.boundary_quality ** (2.0 * (stages - 1.0))
    eta = eta_h * eta_compression * eta_replica * eta_activation
    low, high = a.overtraining
    admissible = admissible & (overtraining >= low) & (overtraining <= high)
    cost = n_ * spec["usd"] * a.server * a.cluster
    shaped = np.broadcast_arrays(
        node_,
        n_,
        size,
        mode_,
        g,
        workers,
        step_s,
        payload,
        sync_s,
        regional_s,
        h,
        outer_s,
        tokens,
        spent,
        overtraining,
        loss,
        multiplier,
        eta_h,
        eta_compression,
        eta_replica,
        eta_activation,
        eta,
        chi,
        chi_free,
        spent * eta,
        spent * eta * chi,
        cost,
        admissible,
    )
    return Plans(nodes, *shaped)


def plan(
    node: Node,
    n: int,
    params: float,
    mode: int = FLAT,
    group: int = 1,
    *,
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> Plans:
    """Work a single plan out; see `evaluate`.

    Raises
    ------
    ValueError
        If the model does not fit the mode: too large for a node in flat or hierarchical mode,
        small enough for one in pipeline mode, or fewer than two groups.
    """
    one = evaluate([node], [0], n, params, mode, group, network=network, assumptions=assumptions)
    fits = params <= node.largest_model
    if mode != PIPELINE and not fits:
        raise ValueError(
            f"{params:g} parameters do not fit {node.name}; it holds {node.largest_model:g}"
        )
    if mode == PIPELINE and fits:
        raise ValueError(f"{params:g} parameters fit {node.name}; no pipeline is needed")
    if mode != FLAT and n // one.value("group") < 2:
        raise ValueError(f"{n} nodes make fewer than two groups of {one.value('group'):g}")
    return one


def replica_efficiency(
    law: Chinchilla, params: Any, tokens: Any, multiplier: Any, ratio: float = REFERENCE_RATIO
) -> Floats:
    """Return the share of compute kept when a loss is multiplied: χ(m)/χ(1).

    Parameters
    ----------
    law : Chinchilla
    params, tokens : float or array
    multiplier : float or array
        m, positive; below 1 the share exceeds 1.
    ratio : float
    """
    loss = law.loss(params, tokens)
    share: Floats = law.effective_compute(loss * multiplier, ratio) / law.effective_compute(
        loss, ratio
    )
    return share


@dataclass(frozen=True)
class Branches:
    """All combinations of node type, model, mode and group: what is free besides the nodes."""

    node: Ints
    params: Floats
    mode: Ints
    group: Floats

    def __len__(self) -> int:
        return len(self.node)

    def take(self, where: Any) -> Branches:
        """Return the branches at an index or mask."""
        return Branches(self.node[where], self.params[where], self.mode[where], self.group[where])


def branches(nodes: Sequence[Node], sizes: Sequence[float] = MODEL_SIZES) -> Branches:
    """List every branch: flat and each group size where the model fits, else the pipeline.

    Parameters
    ----------
    nodes : sequence of Node
    sizes : sequence of float
        Parameters of the models.

    Examples
    --------
    >>> from lib.compute_governance.hardware import catalogue
    >>> some = branches(catalogue()[:1], [1e9, 1e12])
    >>> some.mode.tolist().count(HIERARCHICAL), int(some.group[-1])
    (10, 4)
    """
    rows: list[tuple[int, float, int, float]] = []
    for index, node in enumerate(nodes):
        for size in sizes:
            if size <= node.largest_model:
                rows.append((index, size, FLAT, 1))
                rows += [(index, size, HIERARCHICAL, g) for g in GROUP_SIZES]
            else:
                rows.append((index, size, PIPELINE, np.ceil(size / node.largest_model)))
    if not rows:
        raise ValueError("no branch: expected at least one node type and one model size")
    index_, size_, mode_, group_ = (np.array(column) for column in zip(*rows, strict=True))
    return Branches(index_.astype(np.int64), size_, mode_.astype(np.int64), group_.astype(float))


def _at(
    nodes: Sequence[Node], some: Branches, n: Any, network: Network | None, a: Assumptions | None
) -> Plans:
    return evaluate(
        nodes,
        some.node,
        n,
        some.params,
        some.mode,
        some.group,
        network=network,
        assumptions=a,
    )


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
    some = branches(nodes, sizes)
    return _at(nodes, some, np.atleast_1d(np.asarray(n))[:, None], network, assumptions)


def grid_best(plans: Plans, metric: Metric) -> Plans:
    """Return the best admissible plan of every row of ``at_nodes``, the first of equals.

    Raises
    ------
    InfeasibleError
        If a row has none.
    """
    score = np.where(plans.admissible, getattr(plans, metric), -np.inf)
    at = np.argmax(score, axis=1)
    rows = np.arange(len(at))
    if not np.isfinite(score[rows, at]).all():
        raise InfeasibleError("no admissible plan at one of the node counts")
    return plans.take((rows, at))


def _check_target(target: float, metric: str) -> None:
    if not (math.isfinite(target) and target > 0):
        raise ValueError(f"target is {target}; expected a positive number of FLOP")
    if metric not in ("c_local", "c_quality"):
        raise ValueError(f"metric is {metric!r}; expected 'c_local' or 'c_quality'")


def _pick(found: Plans) -> Plans:
    """Return the cheapest plan; among equal costs the one with the highest C_quality.

    Flat and hierarchical plans of equal H tie to the last bit or nearly so. Such a tie goes to the
    simpler mode and the smaller group, so that rounding decides nothing.
    """
    cheap = found.take(np.round(found.cost_usd, 2) <= np.round(found.cost_usd.min(), 2))
    best = cheap.take(cheap.c_quality >= cheap.c_quality.max() * (1 - _TIE))
    return best.take(np.lexsort((best.group, best.mode, best.node))[:1])


def ties(
    best: Plans,
    target: float,
    *,
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> list[str]:
    """Return the labels of all plans that equal a single one in node type, nodes and C_quality.

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
    return around.take(around.admissible & equal & (around.c_local >= target)).labels()


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
    _check_target(target, metric)
    nodes = tuple(nodes)
    some = branches(nodes)
    kinds = np.arange(len(nodes))
    starts = np.searchsorted(some.node, kinds)

    def best(n: Ints) -> Floats:
        plans = _at(nodes, some, n[some.node], network, assumptions)
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
    plans = _at(nodes, some, low[some.node], network, assumptions)
    reaches = plans.admissible & (getattr(plans, metric) >= target) & possible[some.node]
    if not reaches.any():
        raise InfeasibleError(f"no plan reaches {metric} = {target:g} FLOP")
    return _pick(plans.take(reaches))


def branch_search(
    target: float,
    nodes: Sequence[Node],
    *,
    metric: Metric = "c_local",
    network: Network | None = None,
    assumptions: Assumptions | None = None,
    sizes: Sequence[float] = MODEL_SIZES,
) -> Plans:
    """Return the cheapest plan: the exact smallest node count of every branch.

    On a branch, C(n) = c(n)·q(n) with the compute c proportional to the whole groups (or nodes) and
    an efficiency q that does not rise with n. So no count between n and n·target/C(n) can reach the
    target, and leaping there from below never jumps over the smallest count that does (theory page,
    proposition on leaping). Branches that have become dearer than the best complete one are
    dropped.

    Parameters
    ----------
    target : float
        FLOP.
    nodes : sequence of Node
    metric : {"c_local", "c_quality"}
    network, assumptions
        See `evaluate`. No sampled constants here: one search is for one set of them.
    sizes : sequence of float

    Raises
    ------
    InfeasibleError
        If no branch reaches the target.

    Examples
    --------
    >>> from lib.compute_governance.hardware import catalogue
    >>> best = branch_search(1e24, catalogue())
    >>> best.labels()[0], int(best.value("n"))
    ('16x H100 FP8, flat', 2)
    """
    _check_target(target, metric)
    nodes = tuple(nodes)
    a = assumptions or Assumptions()
    some = branches(nodes, sizes)
    unit = np.where(some.mode == PIPELINE, some.group, 1.0)
    smallest = np.where(some.mode == FLAT, 1.0, 2.0 * some.group)
    prices = np.array([node.chips_usd for node in nodes])[some.node]
    # Where the overtraining ratio comes into its limits; it is proportional to the whole groups.
    probe = _at(nodes, some, smallest, network, a)
    per_unit = probe.overtraining * unit / smallest
    first = np.ceil(a.overtraining[0] / per_unit * (1 - 1e-12)) * unit
    last = np.minimum(np.floor(a.overtraining[1] / per_unit * (1 + 1e-12)) * unit, NODE_LIMIT)
    n = np.maximum(first, smallest)
    alive = np.flatnonzero(n <= last)
    best_cost, done = np.inf, []
    while alive.size:
        plans = _at(nodes, some.take(alive), n[alive], network, a)
        value = getattr(plans, metric)
        reaches = plans.admissible & (value >= target)
        if reaches.any():
            done.append(plans.take(reaches))
            best_cost = min(best_cost, float((n[alive] * prices[alive])[reaches].min()))
        # A pipeline counts whole groups, so it leaps in groups; nothing leaps by less than one.
        ratio = np.where(plans.admissible, target / value, 1.0)
        groups = n[alive] / unit[alive]
        leap = np.ceil(groups * ratio * (1 - 1e-12))
        n[alive] = np.maximum(leap, groups + 1.0) * unit[alive]
        alive = alive[~reaches]
        # Equal costs stay alive: the tie goes to the higher C_quality.
        keep = (n[alive] <= last[alive]) & (n[alive] * prices[alive] <= best_cost * (1 + 1e-12))
        alive = alive[keep]
    if not done:
        raise InfeasibleError(f"no plan reaches {metric} = {target:g} FLOP")
    return _pick(_join(done))


def _join(parts: Sequence[Plans]) -> Plans:
    merged = {
        one.name: np.concatenate([np.atleast_1d(getattr(part, one.name)) for part in parts])
        for one in fields(Plans)
        if one.name != "nodes"
    }
    return Plans(parts[0].nodes, **merged)


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
    _check_target(target, metric)
    if limit < 1:
        raise ValueError(f"limit is {limit}; expected at least 1")
    some = branches(tuple(nodes))
    found = []
    # In blocks of a few hundred thousand plans, so that memory stays small.
    block = max(1, 300_000 // len(some))
    for start in range(1, limit + 1, block):
        counts = np.arange(start, min(start + block, limit + 1))[:, None]
        plans = _at(tuple(nodes), some, counts, network, assumptions)
        reaches = plans.admissible & (getattr(plans, metric) >= target)
        if reaches.any():
            found.append(_pick(plans.take(reaches)))
    if not found:
        raise InfeasibleError(f"no plan of at most {limit} nodes reaches {target:g} FLOP")
    return _pick(_join(found))


def cheapest(
    target: float,
    nodes: Sequence[Node],
    *,
    metric: Metric = "c_local",
    search: Search = "branch",
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> Plans:
    """Return the cheapest plan by either search; see `branch_search` and `author_search`.

    Raises
    ------
    ValueError
        If the search is unknown.
    """
    searches = {"branch": branch_search, "author": author_search}
    if search not in searches:
        raise ValueError(f"search is {search!r}; expected one of {', '.join(searches)}")
    return searches[search](target, nodes, metric=metric, network=network, assumptions=assumptions)
