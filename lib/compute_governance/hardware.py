"""Chips and nodes: the paper's catalogue, with its sources (``hardware_configs.md``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lib.core import check

__all__ = ["CHIPS", "CURRENT", "H100_TFLOPS", "Chip", "Node", "Precision", "as_nodes", "catalogue"]

Precision = Literal["FP16", "FP8"]

H100_TFLOPS = 990.0
"""FP16 TFLOP/s that make one H100-equivalent (arXiv 2511.10783, definition 13)."""


@dataclass(frozen=True)
class Chip:
    """An accelerator.

    Parameters
    ----------
    name : str
    tflops_fp16 : float
        Peak dense FP16 or BF16, TFLOP/s; what the threshold counts.
    tflops_fp8 : float or None
        Peak dense FP8, TFLOP/s; None where the chip has no such path.
    mem_gb : float
        High-bandwidth memory, GB (10⁹ bytes).
    price_usd : float
        Price of one chip, US dollars, early 2026.
    source : str
        Where the figures come from.

    Raises
    ------
    ValueError
        If a figure is not finite and positive, naming it.
    """

    name: str
    tflops_fp16: float
    tflops_fp8: float | None
    mem_gb: float
    price_usd: float
    source: str

    def __post_init__(self) -> None:
        check.text("name", self.name)
        for key in ("tflops_fp16", "tflops_fp8", "mem_gb", "price_usd"):
            if key != "tflops_fp8" or self.tflops_fp8 is not None:
                check.number(f"{self.name}: {key}", getattr(self, key), above=0)


@dataclass(frozen=True)
class Node:
    """Chips in one place, trained at one precision: the unit that a threshold looks at.

    Parameters
    ----------
    chip : Chip
    count : int
        Chips in the node, at least 1.
    precision : {"FP16", "FP8"}

    Raises
    ------
    ValueError
        If the count is below 1, or the precision is unknown or one the chip does not have.

    Examples
    --------
    >>> node = Node(CHIPS["H100"], 16, "FP8")
    >>> node.name, node.h100_eq, node.mem_gb, node.flops
    ('16x H100 FP8', 16.0, 1280.0, 3.168e+16)
    """

    chip: Chip
    count: int
    precision: Precision = "FP16"

    def __post_init__(self) -> None:
        if not isinstance(self.chip, Chip):
            raise ValueError(f"chip is {self.chip!r}, expected a Chip")
        object.__setattr__(self, "count", check.integer("count", self.count, at_least=1))
        check.known("precision", self.precision, ("FP16", "FP8"))
        if self.precision == "FP8" and self.chip.tflops_fp8 is None:
            raise ValueError(f"{self.chip.name} has no FP8 path; expected FP16")

    @property
    def name(self) -> str:
        """Count, chip, and the precision where it is not FP16."""
        return f"{self.count}x {self.chip.name}" + (" FP8" if self.precision == "FP8" else "")

    @property
    def h100_eq(self) -> float:
        """H100-equivalents; counted at FP16 whatever the training uses."""
        return self.count * self.chip.tflops_fp16 / H100_TFLOPS

    @property
    def mem_gb(self) -> float:
        """Aggregate accelerator memory, GB."""
        return self.count * self.chip.mem_gb

    @property
    def flops(self) -> float:
        """Peak FLOP/s at the precision of the training."""
        peak = self.chip.tflops_fp8 if self.precision == "FP8" else self.chip.tflops_fp16
        assert peak is not None
        return self.count * peak * 1e12

    @property
    def bytes_per_param(self) -> float:
        """Training state a parameter: weights, gradient, master copy and two moments, bytes."""
        return 14.0 if self.precision == "FP8" else 16.0

    @property
    def gradient_bits(self) -> float:
        """Width of a pseudo-gradient entry before compression, bits."""
        return 8.0 if self.precision == "FP8" else 16.0

    @property
    def chips_usd(self) -> float:
        """Price of the chips alone, US dollars."""
        return self.count * self.chip.price_usd

    @property
    def largest_model(self) -> float:
        """Most parameters whose training state fits the node."""
        return self.mem_gb * 1e9 / self.bytes_per_param


def as_nodes(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return nodes as a tuple.

    Raises
    ------
    ValueError
        If they are no list of at least one Node.
    """
    try:
        found = tuple(nodes)
    except TypeError:  # a single one
        found = ()
    if not found or not all(isinstance(one, Node) for one in found):
        raise ValueError(f"nodes is {nodes!r:.80}, expected a list of at least one Node")
    return found


_NOTE = "hardware_configs.md of robirahman/miri-decentralized-training-report"
_RENT = f"{_NOTE}; price is a capital equivalent of cloud rent"

CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("A100 80GB", 312.0, None, 80.0, 7_000.0, f"{_NOTE}; secondary market"),
        Chip("GH200", 990.0, 1_980.0, 144.0, 28_000.0, _NOTE),
        Chip("H100", 990.0, 1_980.0, 80.0, 25_000.0, _NOTE),
        Chip("Ascend 910B", 320.0, None, 64.0, 16_000.0, _NOTE),
        Chip("Ascend 910C", 600.0, None, 128.0, 26_000.0, f"{_NOTE}; estimated"),
        Chip("TPU v4", 275.0, None, 32.0, 12_000.0, _RENT),
        Chip("TPU v5e", 197.0, None, 16.0, 6_000.0, _RENT),
        Chip("TPU v5p", 459.0, None, 95.0, 20_000.0, _RENT),
        Chip("TPU v6e", 918.0, 1_836.0, 32.0, 25_000.0, _RENT),
    )
}
"""The nine accelerators of the catalogue, by name."""

_SHEET = "vendor's data sheet, dense; the price is an assumption of ours"

CURRENT: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("H200", 990.0, 1_980.0, 141.0, 30_000.0, _SHEET),
        Chip("B200", 2_250.0, 4_500.0, 180.0, 40_000.0, _SHEET),
        Chip("MI300X", 1_307.0, 2_615.0, 192.0, 15_000.0, _SHEET),
    )
}
"""Accelerators that the catalogue leaves out, as they stand in servers of eight today."""


def catalogue() -> tuple[Node, ...]:
    """Return the paper's twelve node types: nine at FP16, then three at FP8.

    Each is the largest node of its chip that 16 H100-equivalents leave uncovered.

    Examples
    --------
    >>> [node.name for node in catalogue()][:2], len(catalogue())
    (['50x A100 80GB', '16x GH200'], 12)
    """
    counts = (50, 16, 16, 49, 26, 57, 80, 34, 17)
    fp16 = [Node(chip, count) for chip, count in zip(CHIPS.values(), counts, strict=True)]
    fp8 = [Node(CHIPS["H100"], 16, "FP8"), Node(CHIPS["GH200"], 16, "FP8")]
    return (*fp16, *fp8, Node(CHIPS["TPU v6e"], 17, "FP8"))
