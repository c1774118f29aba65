"""Figures of the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.compute_governance.planner import FLAT, HIERARCHICAL, PIPELINE, Plans
from lib.compute_governance.scaling import Floats
from lib.core.figures import MARKERS, PALETTE, colors

__all__ = [
    "amplification_figure",
    "bandwidth_figure",
    "cap_figure",
    "decomposition_figure",
    "failures_figure",
    "island_figure",
    "node_size_figure",
    "nodes_figure",
    "search_figure",
]

_AUTHOR, _BRANCH = PALETTE["paper"], PALETTE["ours"]


def nodes_figure(
    counts: Sequence[int], curves: Mapping[str, tuple[Floats, Floats]], targets: Sequence[float]
) -> Figure:
    """Draw C_local and C_quality against nodes, one line a node type.

    Parameters
    ----------
    counts : sequence of int
        Nodes.
    curves : mapping of str to (C_local, C_quality)
        FLOP, NaN where there is no plan.
    targets : sequence of float
        FLOP, drawn as thin lines on the left.
    """
    fig: Figure
    fig, axes = plt.subplots(1, 2, figsize=(7, 4.3), sharey=True, layout="constrained")
    for at, (ax, title) in enumerate(zip(axes, ("C_local", "C_quality"), strict=True)):
        if at == 0:
            for target in targets:
                ax.axhline(target, color="0.75", lw=0.8, zorder=0)
        shades = colors(len(curves))
        for (name, pair), shade, marker in zip(curves.items(), shades, MARKERS, strict=False):
            ax.plot(counts, pair[at], color=shade, marker=marker, ms=3.5, lw=1.4, label=name)
        ax.set(xscale="log", yscale="log", title=title, xlabel="nodes")
    axes[0].set_ylabel("compute (FLOP)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def island_figure(plans: Plans, probes: Sequence[int], found: int, cheapest: int) -> Figure:
    """Draw the best C_local at every node count of one type, by mode, with the search's probes.

    Parameters
    ----------
    plans : Plans
        Best plan at ascending node counts.
    probes : sequence of int
        Node counts at which the bisection looked.
    found, cheapest : int
        Where the bisection ends, and the smallest count that reaches the target.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    names = {FLAT: "flat", HIERARCHICAL: "hierarchical", PIPELINE: "pipeline"}
    kinds = [(FLAT, HIERARCHICAL), (PIPELINE,)]
    for group, shade, marker in zip(kinds, colors(2), MARKERS, strict=False):
        here = np.isin(plans.mode, group)
        label = " or ".join(names[mode] for mode in group)
        ax.plot(plans.n[here], plans.c_local[here], marker, ms=3, color=shade, label=label)
    low = float(plans.c_local.min())
    seen = [p for p in probes if p <= plans.n.max()]
    ax.plot(seen, np.full(len(seen), low), "|", ms=14, color="black", label="looked at")
    for count, text in ((cheapest, "smallest"), (found, "found")):
        height = float(plans.c_local[np.searchsorted(plans.n, count)])
        ax.annotate(
            f"{text}: {count}", (count, height), (0, 34), "data", "offset points",
            ha="center", arrowprops={"arrowstyle": "->", "color": "black"},
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="nodes", ylabel="best C_local (FLOP)")
    ax.legend(loc="upper left")
    return fig


def search_figure(table: pd.DataFrame) -> Figure:
    """Draw the cost of both searches for every target.

    Parameters
    ----------
    table : DataFrame
        Columns target (FLOP), author, branch (US dollars).
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
    rows = np.arange(len(table))
    ax.hlines(rows, table["branch"], table["author"], color="0.7", lw=2, zorder=1)
    ax.plot(table["author"], rows, "s", color=_AUTHOR, label="published search")
    ax.plot(table["branch"], rows, "o", color=_BRANCH, label="branch-wise search")
    ax.set_yticks(rows, [f"{target:.2g}" for target in table["target"]])
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="cost (US dollars)", ylabel="target, C_local (FLOP)")
    ax.legend(loc="lower left")
    return fig


def bandwidth_figure(table: pd.DataFrame, points: Mapping[str, tuple[float, float]]) -> Figure:
    """Draw cost against symmetric bandwidth for both searches.

    Parameters
    ----------
    table : DataFrame
        Columns mbps, author, branch (US dollars).
    points : mapping of str to (Mbit/s, US dollars)
        Marked networks: upload rate and cost in the published search.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
    ax.plot(table["mbps"], table["author"], "s-", color=_AUTHOR, label="published search")
    ax.plot(table["mbps"], table["branch"], "o-", color=_BRANCH, label="branch-wise search")
    for (name, (mbps, usd)), marker in zip(points.items(), MARKERS[2:], strict=False):
        ax.plot(mbps, usd, marker, ms=8, color=PALETTE["orange"], label=name)
    ax.set(xscale="log", yscale="log", ylabel="cost of 1e25 FLOP (US dollars)")
    ax.set_xlabel("bandwidth of a node (Mbit/s); upload rate for the two averages")
    ax.legend()
    return fig


def decomposition_figure(plans: Mapping[str, Plans]) -> Figure:
    """Draw what each factor of η takes, in halvings of the compute, one bar a plan.

    Parameters
    ----------
    plans : mapping of str to Plans
        Single plans by target.
    """
    factors = ("eta_h", "eta_compression", "eta_replica", "eta_activation", "chi")
    names = ("η_H", "η_compression", "η_replica", "η_activation", "χ (not in η)")
    hatches = ("", "///", "", "xx", "...")
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    left, rows = np.zeros(len(plans)), np.arange(len(plans))
    for key, name, shade, hatch in zip(factors, names, colors(5), hatches, strict=True):
        taken = np.array([max(0.0, -np.log2(plan.value(key))) for plan in plans.values()])
        ax.barh(rows, taken, left=left, color=shade, hatch=hatch, edgecolor="white", label=name)
        left += taken
    ax.set_yticks(rows, [f"{key}: {plan.labels()[0]}" for key, plan in plans.items()])
    ax.invert_yaxis()
    ax.set_xlabel("halvings of the compute spent")
    fig.legend(loc="outside lower center", ncols=5, fontsize="small")
    return fig


def cap_figure(table: pd.DataFrame) -> Figure:
    """Draw cost against target with and without the memory cap, a panel a metric.

    Parameters
    ----------
    table : DataFrame
        Columns metric, target, free, capped (US dollars; NaN where nothing reaches the target).
    """
    fig: Figure
    fig, axes = plt.subplots(1, 2, figsize=(7, 3.6), sharey=True, layout="constrained")
    for ax, (metric, part) in zip(axes, table.groupby("metric"), strict=True):
        ax.plot(part["target"], part["free"], "o-", color=_BRANCH, label="no cap")
        ax.plot(
            part["target"], part["capped"], "s--", color=PALETTE["vermillion"], label="1,280 GB cap"
        )
        ax.set(xscale="log", yscale="log", title=str(metric), xlabel="target (FLOP)")
    axes[0].set_ylabel("cost (US dollars)")
    axes[0].legend()
    return fig


def node_size_figure(table: pd.DataFrame) -> Figure:
    """Draw cost against chips a node, a panel a metric.

    Parameters
    ----------
    table : DataFrame
        Columns metric, chip, count, cost_usd.
    """
    fig: Figure
    fig, axes = plt.subplots(1, 2, figsize=(7, 3.6), sharey=True, layout="constrained")
    for ax, (metric, part) in zip(axes, table.groupby("metric"), strict=True):
        groups = part.groupby("chip", sort=False)
        for (chip, one), shade, marker in zip(groups, colors(7), MARKERS, strict=False):
            ax.plot(one["count"], one["cost_usd"], marker + "-", color=shade, label=str(chip))
        ax.set(xscale="log", yscale="log", title=str(metric), xlabel="chips a node")
        ax.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
        ax.minorticks_off()
    axes[0].set_ylabel("cost of 1e25 FLOP (US dollars)")
    axes[0].legend()
    return fig


def failures_figure(chips: Floats, curves: Mapping[str, Floats], simulated: pd.DataFrame) -> Figure:
    """Draw goodput against chips, with simulated points and their intervals.

    Parameters
    ----------
    chips : array
    curves : mapping of str to array
        Goodput by name.
    simulated : DataFrame
        Columns chips, goodput, error (standard error).
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
    styles = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))
    for (name, values), shade, style in zip(
        curves.items(), colors(len(curves)), cycle(styles), strict=False
    ):
        ax.plot(chips, values, color=shade, ls=style, label=name)
    ax.errorbar(
        simulated["chips"],
        simulated["goodput"],
        1.96 * simulated["error"],
        fmt="o",
        ms=4,
        color="black",
        label="simulated restarts",
    )
    ax.set(xscale="log", xlabel="chips in the run", ylabel="goodput", ylim=(0, 1.02))
    ax.legend(loc="lower left", fontsize="small")
    return fig


def amplification_figure(
    alphas: Floats, penalty: Floats, interval: tuple[float, float], centre: float
) -> Figure:
    """Draw the compute penalty of a small loss against the exponent α.

    Parameters
    ----------
    alphas, penalty : array
        Penalty between 0 and 1.
    interval : (float, float)
        95 % interval of α.
    centre : float
        Its estimate.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
    ax.axvspan(*interval, color=PALETTE["sky"], alpha=0.25, lw=0, label="95 % interval of α")
    ax.axvline(centre, color="0.4", ls=":", label="estimate")
    ax.plot(alphas, 100 * penalty, color=_BRANCH)
    ax.set(xlabel="α (β moved along)", ylabel="compute penalty (%)", ylim=(0, 100))
    ax.legend(loc="lower right")
    return fig
