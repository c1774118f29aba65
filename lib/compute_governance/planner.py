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

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.compute_governance.hardware import Node, as_nodes
from lib.compute_governance.scaling import FIT, REFERENCE_RATIO, Chinchilla, Floats
from lib.core import check

__all__ = [
    "CHIP_LIMIT",
    "COMPRESSION_QUALITY",
    "FLAT",
    "GROUP_SIZES",
    "HIERARCHICAL",
    "MODEL_SIZES",
    "PIPELINE",
    "SMALLEST",
    "UNITS",
    "Assumptions",
    "Branches",
    "InfeasibleError",
    "Metric",
    "Network",
    "Plans",
    "Quality",
    "branch_search",
    "branches",
    "cheapest_by_node",
    "evaluate",
    "evaluate_branches",
    "pick",
    "plan",
]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Metric = Literal["c_local", "c_quality"]
Quality = Literal["optimistic", "expected", "conservative"]

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

CHIP_LIMIT = 8_000_000
"""Most chips that a search looks at, so that it ends: in nodes of 80 chips, as many nodes as the
published search. A limit on nodes would forbid small ones what it allows to large ones."""

COMPRESSION_QUALITY: dict[str, tuple[tuple[float, float], ...]] = {
    "optimistic": ((1, 1.0), (4, 1.0), (16, 1.0), (100, 1.0), (150, 1.0), (500, 0.99)),
    "expected": ((1, 1.0), (4, 1.0), (16, 1.0), (100, 0.99), (150, 0.99), (500, 0.96)),
    "conservative": ((1, 1.0), (4, 0.99), (16, 0.97), (100, 0.93), (150, 0.91), (500, 0.80)),
}
"""Quality factor by compression ratio, with error feedback: the author's estimates."""

SMALLEST = 3.5e7
"""Fewest parameters for which the efficiency formulas stand: the smallest model of the runs that
the replica exponent was fitted to (arXiv 2503.09799). α(P) has a pole at 10⁴."""

_TIE = 1e-9
"""Relative difference below which two plans tie."""

_ACTIVATION_QUALITY = {"optimistic": 1.0, "expected": 0.995, "conservative": 0.96}
"""Quality a stage boundary at fourfold activation compression: the author's estimates."""


class InfeasibleError(ValueError):
    """No plan within the limits (of overtraining, and `CHIP_LIMIT`) reaches the target."""


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
        check.number("up_bps", self.up_bps, above=0)
        check.number("down_bps", self.down_bps, above=0)
        check.number("latency_s", self.latency_s, at_least=0)

    @classmethod
    def mbps(cls, up: float, down: float | None = None, latency_s: float = 0.1) -> Network:
        """Make one from Mbit/s; symmetric unless `down` is given."""
        up = check.number("up", up, above=0)
        down = None if down is None else check.number("down", down, above=0)
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
        Ratio by which a pseudo-gradient is compressed beyond its precision; above 500 the quality
        is that of 500, where the published table ends.
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
    site_usd : float
        Cost of a node beyond its chips, US dollars; the paper has none.

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
    site_usd: float = 0.0

    def __post_init__(self) -> None:
        for key in ("mfu", "goodput", "alpha_base", "eta_floor"):
            check.array(key, check.shares(key, getattr(self, key)), above=0)
        for key in ("batch_tokens", "window_s", "alpha_decades", "replica_scale", "replica_power"):
            check.array(key, getattr(self, key), above=0)
        check.array("replica_h", self.replica_h, above=1)
        check.array("micro_batches", self.micro_batches, at_least=1)
        check.array("hidden", self.hidden, above=0)
        check.array("tail", self.tail, at_least=0)
        check.number("compression", self.compression, at_least=1)
        check.known("quality", self.quality, tuple(COMPRESSION_QUALITY))
        check.array("quality_shift", self.quality_shift, at_least=-1, at_most=1)
        check.array("quality_shift, added to the factor", self.eta_compression, above=0)
        for key in ("ratio", "server", "cluster"):
            check.number(key, getattr(self, key), above=0)
        check.number("site_usd", self.site_usd, at_least=0)
        if not isinstance(self.law, Chinchilla):
            raise ValueError(f"law is {self.law!r}, expected a Chinchilla")
        low, high = check.array("overtraining", self.overtraining, shape=(2,), above=0)
        if low > high:
            raise ValueError(f"overtraining is {self.overtraining}, expected low ≤ high")

    @property
    def single(self) -> bool:
        """Whether every constant is one number, none a sample."""
        values = [getattr(self, one.name) for one in fields(self) if one.name != "overtraining"]
        return not any(np.ndim(one) for one in [*values, *vars(self.law).values()])

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
        """Share of compute lost a decade of H, for models of at least `SMALLEST` parameters.

        Cut off at 1, where the formula goes beyond it.
        """
        size = check.array("params", params, at_least=SMALLEST)
        decades = np.log10(size / 1e9)
        share: Floats = np.minimum(self.alpha_base / (1.0 + decades / self.alpha_decades), 1.0)
        return share

    def replica_multiplier(self, replicas: Any, params: Any, h: Any) -> Floats:
        """Loss with many replicas over loss with one; 1 for one replica or H = 1.

        For models of at least `SMALLEST` parameters.
        """
        size = check.array("params", params, at_least=SMALLEST)
        replicas = check.array("replicas", replicas, at_least=1)
        h = check.array("h", h, at_least=1)
        power = self.replica_scale * size ** (-self.replica_power)
        multiplier: Floats = np.asarray(replicas ** (power * np.log(h) / np.log(self.replica_h)))
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
    "window_s": "s, the length of the run",
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

    They remember their node types, their network, where it was given the interval `every`, and the
    length of the run.
    `admissible` is whether a plan exists at all (the model fits, there are two groups) and its
    overtraining ratio is within the limits.
    """

    nodes: tuple[Node, ...]
    network: Network
    every: float | None
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
    window_s: Floats
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
        picked = {key: np.atleast_1d(getattr(self, key)[where]) for key in _ARRAYS}
        return Plans(self.nodes, self.network, self.every, **picked)

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
        wanted = [check.known("columns", one, UNITS) for one in columns or UNITS]
        data = {key: getattr(self, key).ravel() for key in wanted}
        return pd.DataFrame({"plan": self.labels(), **data})

    def value(self, name: str) -> float:
        """Return a quantity of a single plan.

        Raises
        ------
        ValueError
            If there is more than one.
        """
        array = np.asarray(getattr(self, check.known("name", name, _ARRAYS)))
        if array.size != 1:
            raise ValueError(f"{array.size} plans; expected a single one")
        return float(array.reshape(-1)[0])


_ARRAYS = tuple(one.name for one in fields(Plans))[3:]


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
    every: float | None = None,
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
    every : int, optional
        A fixed H, not for hierarchical plans; where the exchange takes longer than H steps the
        chips wait. By default the fewest steps that hide the exchange.
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
    nodes = as_nodes(nodes)
    node_, n_, size, mode_, g = np.broadcast_arrays(
        check.integers("node", node, at_least=0, below=len(nodes)),
        check.integers("n", n, at_least=1).astype(float),
        check.array("params", params, at_least=SMALLEST),
        check.integers("mode", mode, at_least=FLAT, at_most=PIPELINE),
        check.integers("group", group, at_least=1).astype(float),
    )
    if every is not None:
        every = check.integer("every", every, at_least=1)
        if (mode_ == HIERARCHICAL).any():
            raise ValueError(f"every is {every}, expected None: hierarchical plans have two")
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
    outer = np.where(workers > 1, outer if every is None else float(every), 1.0)
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
    cost = n_ * spec["usd"] * a.server * a.cluster + n_ * a.site_usd
    shaped = np.broadcast_arrays(
        node_, n_, size, mode_, g, workers, step_s, payload, sync_s, regional_s, h, outer_s,
        a.window_s, tokens, spent, overtraining, loss, multiplier, eta_h, eta_compression,
        eta_replica, eta_activation, eta, chi, chi_free, spent * eta, spent * eta * chi, cost,
        admissible,
    )  # fmt: skip
    return Plans(nodes, network, every, *shaped)


def plan(
    node: Node,
    n: int,
    params: float,
    mode: int = FLAT,
    group: int = 1,
    *,
    every: float | None = None,
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
    n, params = check.integer("n", n, at_least=1), check.number("params", params, above=0)
    mode = check.integer("mode", mode, at_least=FLAT, at_most=PIPELINE)
    group = check.integer("group", group, at_least=1)
    one = evaluate(
        [node], 0, n, params, mode, group, every=every, network=network, assumptions=assumptions
    )
    fits = params <= node.largest_model
    if mode != PIPELINE and not fits:
        raise ValueError(f"{params:g} parameters do not fit {node.name}, of {node.largest_model:g}")
    if mode == PIPELINE and fits:
        raise ValueError(f"{params:g} parameters fit {node.name}; no pipeline is needed")
    if mode != FLAT and n // one.value("group") < 2:
        raise ValueError(f"{n} nodes make fewer than two groups of {one.value('group'):g}")
    return one


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
        Parameters of the models, at least one.

    Examples
    --------
    >>> from lib.compute_governance.hardware import catalogue
    >>> some = branches(catalogue()[:1], [1e9, 1e12])
    >>> some.mode.tolist().count(HIERARCHICAL), int(some.group[-1])
    (10, 4)
    """
    models = check.array("sizes", sizes, shape=("n",), at_least=SMALLEST)
    largest = np.array([node.largest_model for node in as_nodes(nodes)])
    # One row for each pair of node type and model, repeated as often as it has branches.
    kind, at = (one.ravel() for one in np.indices((len(largest), len(models))))
    fits = models[at] <= largest[kind]
    count = np.where(fits, 1 + len(GROUP_SIZES), 1)
    turn = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    row = np.repeat(np.arange(len(count)), count)
    kind, size, fits = kind[row], models[at[row]], fits[row]
    mode = np.where(fits, np.where(turn == 0, FLAT, HIERARCHICAL), PIPELINE)
    group = np.array((1, *GROUP_SIZES), dtype=float)[turn]
    group = np.where(fits, group, np.ceil(size / largest[kind]))
    return Branches(kind.astype(np.int64), size, mode.astype(np.int64), group)


def evaluate_branches(
    nodes: Sequence[Node],
    some: Branches,
    n: Any,
    *,
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> Plans:
    """Work branches out at node counts that broadcast against them; see `evaluate`."""
    kinds = (some.node, n, some.params, some.mode, some.group)
    return evaluate(nodes, *kinds, network=network, assumptions=assumptions)


def pick(found: Plans) -> Plans:
    """Return the cheapest of some plans; among equal costs the one with the highest C_quality.

    Flat and hierarchical plans of equal H tie to the last bit or nearly so. Such a tie goes to the
    simpler mode and the smaller group, so that rounding decides nothing.
    """
    cheap = found.take(np.round(found.cost_usd, 2) <= np.round(found.cost_usd.min(), 2))
    best = cheap.take(cheap.c_quality >= cheap.c_quality.max() * (1 - _TIE))
    return best.take(np.lexsort((best.group, best.mode, best.node))[:1])


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
    proposition on leaping; proved for laws whose best ratio of tokens to parameters is at most the
    reference, as that of the published fit). Branches that have become dearer than the best
    complete one are dropped.

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
        If no branch reaches the target with at most `CHIP_LIMIT` chips.

    Examples
    --------
    >>> from lib.compute_governance.hardware import catalogue
    >>> best = branch_search(1e24, catalogue())
    >>> best.labels()[0], int(best.value("n"))
    ('16x H100 FP8, flat', 2)
    """
    return pick(_search(target, nodes, metric, network, assumptions, sizes, whole=True))


def cheapest_by_node(
    target: float,
    nodes: Sequence[Node],
    *,
    metric: Metric = "c_local",
    network: Network | None = None,
    assumptions: Assumptions | None = None,
    sizes: Sequence[float] = MODEL_SIZES,
) -> Plans:
    """Return the cheapest plan of every node type that reaches a target, one after the other.

    Parameters
    ----------
    target, nodes, metric, network, assumptions, sizes
        See `branch_search`.

    Raises
    ------
    InfeasibleError
        If no node type reaches it.
    """
    found = _search(target, nodes, metric, network, assumptions, sizes, whole=False)
    return _join([pick(found.take(found.node == one)) for one in np.unique(found.node)])


def _search(
    target: float,
    nodes: Sequence[Node],
    metric: Metric,
    network: Network | None,
    assumptions: Assumptions | None,
    sizes: Sequence[float],
    *,
    whole: bool,
) -> Plans:
    """Leap along all branches; `whole`: drop those dearer than the best of any node type."""
    target = check.number("target", target, above=0)
    check.known("metric", metric, get_args(Metric))
    nodes, a = as_nodes(nodes), assumptions or Assumptions()
    if not a.single:
        raise ValueError("assumptions hold samples, expected one number each: search draw by draw")
    some = branches(nodes, sizes)
    unit = np.where(some.mode == PIPELINE, some.group, 1.0)
    smallest = np.where(some.mode == FLAT, 1.0, 2.0 * some.group)
    prices = np.array([node.chips_usd for node in nodes])[some.node] * a.server * a.cluster
    prices += a.site_usd
    most = CHIP_LIMIT // np.array([node.count for node in nodes])[some.node]
    # Where the overtraining ratio comes into its limits; it is proportional to the whole groups.
    probe = evaluate_branches(nodes, some, smallest, network=network, assumptions=a)
    per_unit = probe.overtraining * unit / smallest
    first = np.ceil(a.overtraining[0] / per_unit * (1 - 1e-12)) * unit
    last = np.minimum(np.floor(a.overtraining[1] / per_unit * (1 + 1e-12)) * unit, most)
    n = np.maximum(first, smallest)
    alive = np.flatnonzero(n <= last)
    best, done = np.full(len(nodes), np.inf), []
    while alive.size:
        here = some.take(alive)
        plans = evaluate_branches(nodes, here, n[alive], network=network, assumptions=a)
        value = getattr(plans, metric)
        reaches = plans.admissible & (value >= target)
        if reaches.any():
            done.append(plans.take(reaches))
            np.minimum.at(best, here.node[reaches], (n[alive] * prices[alive])[reaches])
            if whole:
                best[:] = best.min()
        # A pipeline counts whole groups, so it leaps in groups; nothing leaps by less than one.
        ratio = np.where(plans.admissible, target / value, 1.0)
        groups = n[alive] / unit[alive]
        leap = np.ceil(groups * ratio * (1 - 1e-12))
        n[alive] = np.maximum(leap, groups + 1.0) * unit[alive]
        alive = alive[~reaches]
        # Equal costs stay alive: the tie goes to the higher C_quality.
        cheap = n[alive] * prices[alive] <= best[some.node[alive]] * (1 + 1e-12)
        alive = alive[(n[alive] <= last[alive]) & cheap]
    if not done:
        raise InfeasibleError(f"no plan reaches {metric} = {target:g} with {CHIP_LIMIT:,} chips")
    return _join(done)


def _join(parts: Sequence[Plans]) -> Plans:
    merged = {key: np.concatenate([getattr(part, key) for part in parts]) for key in _ARRAYS}
    return Plans(parts[0].nodes, parts[0].network, parts[0].every, **merged)
