"""Figures of the trained models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib.core.figures import MARKERS, PALETTE, colors
from lib.semantic_ids.intervals import Estimate

__all__ = [
    "ablation_figure",
    "accuracy_figure",
    "curve_figure",
    "groups_figure",
    "law_figure",
    "recall_figure",
]


def _error(rows: Sequence[Estimate], scale: float = 100) -> tuple[list[float], list[list[float]]]:
    values = [scale * one.value for one in rows]
    low = [scale * (one.value - one.low) for one in rows]
    high = [scale * (one.high - one.value) for one in rows]
    return values, [low, high]


def accuracy_figure(rows: Mapping[str, Sequence[Estimate]]) -> Figure:
    """Draw teacher-forced accuracy by level, one series an arm; the count table in grey."""
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
    shades = colors(max(1, len(rows) - 1))
    width = 0.8 / len(rows)
    for at, (name, row) in enumerate(rows.items()):
        x = np.arange(len(row)) + (at - (len(rows) - 1) / 2) * width
        values, error = _error(row)
        control = at == 0
        ax.errorbar(
            x,
            values,
            yerr=error,
            fmt=MARKERS[at % len(MARKERS)],
            color=PALETTE["grey"] if control else shades[at - 1],
            label=name,
            capsize=2,
        )
    ax.set_xticks(range(len(row)), [f"level {n + 1}" for n in range(len(row))])
    ax.set(ylabel="teacher-forced accuracy (%)", ylim=(0, None))
    ax.legend(fontsize="small", loc="upper left")
    return fig


def curve_figure(
    curves: Mapping[str, Mapping[int, Sequence[float]]], table: Sequence[float]
) -> Figure:
    """Draw accuracy over training, one panel a level, with the count table as a line.

    Parameters
    ----------
    curves : mapping of arm to mapping of step to accuracy by level
    table : sequence of float
        Accuracy of the count table by level.
    """
    fig: Figure
    fig, axes = plt.subplots(1, len(table), figsize=(7.4, 2.9), layout="constrained", sharey=True)
    for level, ax in enumerate(axes):
        for (name, curve), color, marker in zip(
            curves.items(), colors(len(curves)), MARKERS, strict=False
        ):
            steps = sorted(curve)
            ax.plot(
                steps, [100 * curve[s][level] for s in steps], marker + "-", color=color, label=name
            )
        ax.axhline(100 * table[level], color=PALETTE["grey"], ls="--", lw=1.2, label="count table")
        ax.set_title(f"level {level + 1}", fontsize="small")
        ax.set_xlabel("step")
        ax.set_xlim(0, None)
    axes[0].set(ylabel="accuracy (%)", ylim=(0, None))
    axes[0].legend(fontsize="x-small", loc="upper left")
    return fig


def recall_figure(rows: Mapping[str, Mapping[int, Estimate]]) -> Figure:
    """Draw recall of the whole ID by length of the list.

    Parameters
    ----------
    rows : mapping of arm to mapping of k to Estimate
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for at, ((name, row), color) in enumerate(zip(rows.items(), colors(len(rows)), strict=True)):
        ks = sorted(row)
        values, error = _error([row[k] for k in ks])
        shifted = np.array(ks) * (1 + 0.03 * (at - (len(rows) - 1) / 2))
        style = MARKERS[at % len(MARKERS)] + ("--" if "no trie" in name else "-")
        ax.errorbar(shifted, values, yerr=error, fmt=style, color=color, label=name, capsize=2)
    ax.set_xscale("log")
    ax.set_xticks(ks, [str(k) for k in ks])
    ax.minorticks_off()
    ax.set(xlabel="length of the list", ylabel="recall of the whole ID (%)", ylim=(0, None))
    ax.legend(fontsize="small")
    return fig


def groups_figure(
    groups: Mapping[str, Mapping[str, Estimate]], table: Sequence[Estimate]
) -> Figure:
    """Draw accuracy at the deepest level by group of users.

    Parameters
    ----------
    groups : mapping of arm to mapping of group to Estimate
    table : sequence of Estimate
        The count table in the same groups.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
    names = list(next(iter(groups.values())))
    for at, ((arm, row), color) in enumerate(zip(groups.items(), colors(len(groups)), strict=True)):
        values, error = _error([row[name] for name in names])
        ax.errorbar(
            np.arange(len(names)) + 0.12 * (at - 0.5 * len(groups)),
            values,
            yerr=error,
            fmt=MARKERS[at],
            color=color,
            label=arm,
            capsize=2,
        )
    values, error = _error(table)
    ax.errorbar(
        np.arange(len(names)) + 0.12 * (0.5 * len(groups)),
        values,
        yerr=error,
        fmt=MARKERS[len(groups)],
        color=PALETTE["grey"],
        label="count table",
        capsize=2,
    )
    ax.set_xticks(range(len(names)), names)
    ax.set(ylabel="accuracy at the deepest level (%)", ylim=(0, 100))
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return fig


def ablation_figure(
    rows: Mapping[str, Sequence[Estimate]], table: Sequence[float], levels: Sequence[int]
) -> Figure:
    """Draw each ablation's accuracy at some levels, the count table as a line.

    Parameters
    ----------
    rows : mapping of ablation to one Estimate for each of `levels`
    table : sequence of float
        Accuracy of the count table at these levels.
    levels : sequence of int
        Counted from 1.
    """
    fig: Figure
    fig, axes = plt.subplots(
        1, len(levels), figsize=(7.2, 1.0 + 0.27 * len(rows)), layout="constrained", sharey=True
    )
    for at, (ax, level) in enumerate(zip(axes, levels, strict=True)):
        values, error = _error([row[at] for row in rows.values()])
        ax.errorbar(values, range(len(rows)), xerr=error, fmt=MARKERS[0], color=colors(1)[0])
        ax.axvline(100 * table[at], color=PALETTE["grey"], ls="--", lw=1.2)
        ax.set_title(f"level {level} (dashed: count table)", fontsize="small")
        ax.set(xlabel="accuracy (%)", xlim=(0, 105))
    axes[0].set_yticks(range(len(rows)), list(rows))
    axes[0].invert_yaxis()
    return fig


def law_figure(
    x: Sequence[float], series: Mapping[str, Sequence[Estimate]], xlabel: str, ylabel: str
) -> Figure:
    """Draw estimates over a logarithmic axis, such as the gain over the load of a simulated world.

    Parameters
    ----------
    x : sequence of float
    series : mapping of name to one Estimate for each of `x`
    xlabel, ylabel : str
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (name, row), color, marker in zip(
        series.items(), colors(len(series)), MARKERS, strict=False
    ):
        values, error = _error(row)
        ax.errorbar(x, values, yerr=error, fmt=marker + "-", color=color, label=name, capsize=2)
    ax.axhline(0, color="0.6", lw=0.8)
    ax.set_xscale("log", base=2)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(fontsize="small")
    return fig
