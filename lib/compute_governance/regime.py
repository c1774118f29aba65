"""The rule: which nodes it covers, which legitimate systems it burdens, how long a run may last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lib.compute_governance.hardware import CURRENT, H100_TFLOPS, Chip, Node, Precision, as_nodes
from lib.core import check

__all__ = ["LEGITIMATE", "SERVERS", "Regime", "System", "longest_useful_run"]


@dataclass(frozen=True)
class System:
    """A legitimate computing system that a rule may burden.

    Parameters
    ----------
    name : str
    h100_eq : float
        FP16 throughput in H100-equivalents.
    mem_gb : float
        Accelerator memory, GB.
    """

    name: str
    h100_eq: float
    mem_gb: float

    def __post_init__(self) -> None:
        check.text("name", self.name)
        check.number("h100_eq", self.h100_eq, at_least=0)
        check.number("mem_gb", self.mem_gb, at_least=0)


def _systems() -> tuple[System, ...]:
    # Accelerators, FP16 TFLOP/s of all of them, GB of all of them.
    a100, h100 = 8 * 312.0, 8 * H100_TFLOPS
    rows = (
        ("gaming computer, 1 RTX 5090", 104.0, 32.0),
        ("workstation, 2 RTX 4090", 330.0, 48.0),
        ("research workstation, 4 A100 40 GB", a100 / 2, 160.0),
        ("research workstation, 4 A100 80 GB", a100 / 2, 320.0),
        ("laboratory server, 8 A100 80 GB", a100, 640.0),
        ("cloud instance, 8 A100 40 GB", a100, 320.0),
        ("cloud instance, 8 H100", h100, 640.0),
        ("simulation node, 4 A100 80 GB", a100 / 2, 320.0),
        ("molecular dynamics, 8 H100", h100, 640.0),
        ("inference server, 8 L40S", 1_472.0, 384.0),
        ("rendering node, 4 RTX 6000 Ada", 597.0, 192.0),
        ("university cluster node, 8 H100", h100, 640.0),
        ("DGX A100, 8 A100 80 GB", a100, 640.0),
        ("DGX H100, 8 H100", h100, 640.0),
    )
    return tuple(System(name, tflops / H100_TFLOPS, gb) for name, tflops, gb in rows)


LEGITIMATE: tuple[System, ...] = _systems()
"""The fourteen representative systems of the paper's burden count (its repository, section 10.1).

The list is the author's. Three that a later version of it adds (an Ascend and two TPU slices) are
left out, because the published counts are of fourteen.
"""

SERVERS: tuple[System, ...] = tuple(
    System(f"server, 8 {one.name}", 8 * one.tflops_fp16 / H100_TFLOPS, 8 * one.mem_gb)
    for one in CURRENT.values()
)
"""Servers as they are sold now, which the author's list does not hold."""


@dataclass(frozen=True)
class Regime:
    """A rule on clusters: one above either threshold is covered.

    The proposed agreement (arXiv 2511.10783, definition 13) also covers clusters with more than
    25 Gbit/s between hosts, or networked to work together; neither is looked at here.

    Parameters
    ----------
    h100_eq : float
        Threshold on FP16 throughput, H100-equivalents.
    mem_gb : float or None
        Threshold on accelerator memory, GB; None for a rule without one.

    Raises
    ------
    ValueError
        If a threshold is not a positive number.

    Examples
    --------
    >>> from lib.compute_governance.hardware import CHIPS, Node
    >>> rule = Regime(mem_gb=1280.0)
    >>> rule.covers(Node(CHIPS["H100"], 16)), rule.covers(Node(CHIPS["H100"], 17))
    (False, True)
    >>> rule.largest(CHIPS["A100 80GB"]).name
    '16x A100 80GB'
    """

    h100_eq: float = 16.0
    mem_gb: float | None = None

    def __post_init__(self) -> None:
        check.number("h100_eq", self.h100_eq, above=0)
        if self.mem_gb is not None:
            check.number("mem_gb", self.mem_gb, above=0)

    def covers(self, cluster: Node | System) -> bool:
        """Whether a cluster is above a threshold; one exactly at it is not."""
        by_memory = self.mem_gb is not None and cluster.mem_gb > self.mem_gb
        return cluster.h100_eq > self.h100_eq or by_memory

    def largest(self, chip: Chip, precision: Precision = "FP16") -> Node | None:
        """Return the largest node of a chip that stays uncovered; None where one chip is covered.

        Parameters
        ----------
        chip : Chip
        precision : {"FP16", "FP8"}
            Of the training; the threshold counts FP16 all the same.
        """
        count = math.floor(self.h100_eq * H100_TFLOPS / chip.tflops_fp16) + 1
        if self.mem_gb is not None:
            count = min(count, math.floor(self.mem_gb / chip.mem_gb) + 1)
        # One too many to begin with, so that rounding in the quotient cannot lose a chip.
        while count >= 1 and self.covers(Node(chip, count)):
            count -= 1
        return Node(chip, count, precision) if count >= 1 else None

    def allowed(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        """Return the nodes that the rule does not cover, in their order."""
        return tuple(node for node in as_nodes(nodes) if not self.covers(node))

    def choices(self, nodes: Sequence[Node], *, every: bool = True) -> tuple[Node, ...]:
        """Return the uncovered nodes of every size, for every chip and precision among `nodes`.

        A rule bounds the size of a node from above; which smaller one is best is the planner's
        choice, so that a tighter rule can never leave more than a looser one.

        Parameters
        ----------
        nodes : sequence of Node
        every : bool
            Every number of chips, or only powers of two.

        Raises
        ------
        ValueError
            If that would be more than 3,000: a threshold in other units, perhaps.

        Examples
        --------
        >>> from lib.compute_governance.hardware import CHIPS, Node
        >>> [node.count for node in Regime(6.0).choices([Node(CHIPS["H100"], 16)], every=False)]
        [1, 2, 4]
        """
        found: dict[Node, None] = {}
        tops = dict.fromkeys(self.shrink(nodes))
        if every and (count := sum(top.count for top in tops)) > 3_000:
            raise ValueError(f"{self} leaves {count:,} sizes of node; try every=False")
        for top in tops:
            for count in range(1, top.count + 1):
                if every or count & (count - 1) == 0:
                    found[Node(top.chip, count, top.precision)] = None
        return tuple(found)

    def shrink(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        """Return the largest uncovered node of every chip and precision among `nodes`.

        As the published comparison of thresholds has it, which forces a size on the planner.
        """
        shrunk = (self.largest(node.chip, node.precision) for node in as_nodes(nodes))
        return tuple(node for node in shrunk if node is not None)

    def burden(self, systems: Sequence[System] = LEGITIMATE) -> int:
        """Return how many of the systems are covered."""
        return sum(self.covers(system) for system in systems)


def longest_useful_run(*growth: float) -> float:
    """Return the longest training run worth starting, in days.

    A run longer than T = 1/(g₁ + g₂ + …) would be beaten by one that starts later with better
    hardware, software and budget (Appendix A; the g are natural logarithms of yearly growth).

    Parameters
    ----------
    *growth : float
        Growth factors a year, each above 1 in sum: 1.06 for 6 %.

    Raises
    ------
    ValueError
        If a factor is not positive, or together they do not grow.

    Examples
    --------
    >>> round(longest_useful_run(2.0, 2.0))
    263
    """
    factors = check.array("growth", growth, shape=("n",), above=0)
    rate = math.fsum(math.log(g) for g in factors)
    if rate <= 0:
        raise ValueError(f"growth is {growth}, expected factors that grow together")
    return 365.25 / rate
