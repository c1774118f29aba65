"""Figures of the four notebooks, and the one that moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.compute_governance.planner import FLAT, HIERARCHICAL, PIPELINE, Plans
from lib.compute_governance.scaling import Floats
from lib.core import check
from lib.core.figures import MARKERS, PALETTE, colors

if TYPE_CHECKING:
    import altair as alt

__all__ = [
    "amplification_figure",
    "bandwidth_figure",
    "bytes_figure",
    "cap_figure",
    "codec_figure",
    "cost_explorer",
    "decomposition_figure",
    "detection_figure",
    "failures_figure",
    "frontier_figure",
    "gap_figure",
    "inspection_figure",
    "interval_figure",
    "island_figure",
    "leader_figure",
    "node_size_figure",
    "nodes_figure",
    "ppv_figure",
    "search_figure",
    "sobol_figure",
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
    fig, axes = plt.subplots(1, 2, figsize=(7, 3.5), sharey=True, layout="constrained")
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
    fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
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
    fig, ax = plt.subplots(figsize=(7, 2.9), layout="constrained")
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
    fig, ax = plt.subplots(figsize=(7, 3.1), layout="constrained")
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
    fig, axes = plt.subplots(1, 2, figsize=(7, 3.0), sharey=True, layout="constrained")
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
    fig, axes = plt.subplots(1, 2, figsize=(7, 3.0), sharey=True, layout="constrained")
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


def failures_figure(chips: Floats, curves: Mapping[str, Floats]) -> Figure:
    """Draw goodput against chips.

    Parameters
    ----------
    chips : array
    curves : mapping of str to array
        Goodput by name.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
    styles = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))
    for (name, values), shade, style in zip(
        curves.items(), colors(len(curves)), cycle(styles), strict=False
    ):
        ax.plot(chips, values, color=shade, ls=style, label=name)
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


def _quantile_bars(ax: plt.Axes, row: float, values: Floats, shade: str, marker: str) -> None:
    low, left, middle, right, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    ax.plot([low, high], [row, row], color=shade, lw=1.6)
    ax.plot([left, right], [row, row], color=shade, lw=5, alpha=0.6, solid_capstyle="butt")
    ax.plot(middle, row, marker, color=shade, mec="white", ms=7)


def detection_figure(groups: Mapping[str, Mapping[str, Floats]]) -> Figure:
    """Draw the spread of the probability of detection over the priors.

    Parameters
    ----------
    groups : mapping of str to mapping of str to array
        Plans, and for each the variants (such as independent and shared) with their draws.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 0.9 + 0.55 * len(groups)), layout="constrained")
    variants = list(next(iter(groups.values())))
    shades = dict(zip(variants, colors(len(variants)), strict=True))
    for row, draws in enumerate(groups.values()):
        for at, (name, marker) in enumerate(zip(variants, MARKERS, strict=False)):
            shift = 0.24 * (at - (len(variants) - 1) / 2)
            _quantile_bars(ax, row + shift, draws[name], shades[name], marker)
    for name, marker in zip(variants, MARKERS, strict=False):
        ax.plot([], [], marker, color=shades[name], label=name)
    ax.set_yticks(range(len(groups)), list(groups))
    ax.invert_yaxis()
    ax.set(xlabel="probability that somebody reports", xlim=(-0.02, 1.02))
    fig.legend(loc="outside lower center", ncols=len(variants))
    return fig


def leader_figure(shares: pd.DataFrame) -> Figure:
    """Draw in which share of the draws each channel has the largest hazard.

    Parameters
    ----------
    shares : DataFrame
        Rows are plans, columns channels.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 0.9 + 0.5 * len(shares)), layout="constrained")
    left = np.zeros(len(shares))
    hatches = ("", "///", "...", "xx")
    for name, shade, hatch in zip(shares.columns, colors(4), hatches, strict=True):
        values = shares[name].to_numpy()
        ax.barh(
            range(len(shares)),
            values,
            left=left,
            color=shade,
            hatch=hatch,
            edgecolor="white",
            label=name,
        )
        left = left + values
    ax.set_yticks(range(len(shares)), list(shares.index))
    ax.invert_yaxis()
    ax.set(xlabel="share of draws in which the channel leads", xlim=(0, 1))
    fig.legend(loc="outside lower center", ncols=4, fontsize="small")
    return fig


def inspection_figure(curves: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> Figure:
    """Draw the probability of meeting a hidden node against sites inspected.

    Parameters
    ----------
    curves : mapping of str to (inspected, probability)
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 2.9), layout="constrained")
    styles = ("-", "--", "-.", ":")
    for (name, (x, y)), shade, style in zip(
        curves.items(), colors(len(curves)), cycle(styles), strict=False
    ):
        ax.plot(x, y, color=shade, ls=style, label=name)
    ax.axhline(0.95, color="0.6", lw=0.8)
    ax.set(xscale="log", xlabel="sites inspected", ylabel="probability of meeting one")
    ax.legend()
    return fig


def ppv_figure(prevalence: Floats, curves: Mapping[str, Floats], marks: Sequence[float]) -> Figure:
    """Draw predictive value against prevalence.

    Parameters
    ----------
    prevalence : array
    curves : mapping of str to array
        By specificity.
    marks : sequence of float
        Prevalences to mark.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.0), layout="constrained")
    styles = ("-", "--", "-.", ":")
    for (name, values), shade, style in zip(
        curves.items(), colors(len(curves)), cycle(styles), strict=False
    ):
        ax.plot(prevalence, values, color=shade, ls=style, label=name)
    for mark in marks:
        ax.axvline(mark, color="0.6", lw=0.8)
    ax.set(xscale="log", yscale="log", xlabel="share of links that are of the kind looked for")
    ax.set_ylabel("share of alarms that are true")
    ax.legend(loc="lower right")
    return fig


def frontier_figure(tables: Mapping[str, pd.DataFrame], systems: int) -> Figure:
    """Draw cost against burden for pairs of thresholds, a panel a metric.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        From ``exposure.frontier``.
    systems : int
        How many systems the burden counts among.
    """
    fig: Figure
    fig, axes = plt.subplots(1, len(tables), figsize=(7, 3.5), sharey=True, layout="constrained")
    for ax, (name, table) in zip(np.atleast_1d(axes), tables.items(), strict=True):
        shown = table[np.isfinite(table["cost_usd"])]
        groups = shown.groupby("h100_eq", sort=False)
        for (limit, part), shade, marker in zip(groups, colors(7), MARKERS, strict=False):
            ax.plot(
                part["burden"], part["cost_usd"], marker, color=shade, label=f"{limit:g}", alpha=0.8
            )
        best = shown[shown["efficient"]].sort_values("burden")
        ax.step(best["burden"], best["cost_usd"], where="post", color="0.5", lw=1, zorder=0)
        ax.set(yscale="log", title=name, xlabel=f"systems covered, of {systems}")
    np.atleast_1d(axes)[0].set_ylabel("cost of 1e25 FLOP (US dollars)")
    handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
    fig.legend(
        handles, labels, title="threshold (H100-equivalents)", loc="outside lower center", ncols=5
    )
    return fig


def interval_figure(
    rows: Mapping[str, Mapping[str, Floats]], points: Mapping[str, float], xlabel: str
) -> Figure:
    """Draw quantile intervals on a log axis, with published points.

    Parameters
    ----------
    rows : mapping of str to mapping of str to array
        Rows, and for each the variants with their draws; infinite draws are left out.
    points : mapping of str to float
        A published value for each row.
    xlabel : str
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 1.1 + 0.55 * len(rows)), layout="constrained")
    variants = list(next(iter(rows.values())))
    shades = dict(zip(variants, colors(len(variants)), strict=True))
    for row, (key, draws) in enumerate(rows.items()):
        for at, (name, marker) in enumerate(zip(variants, MARKERS, strict=False)):
            shift = 0.24 * (at - (len(variants) - 1) / 2)
            values = draws[name]
            _quantile_bars(ax, row + shift, values[np.isfinite(values)], shades[name], marker)
        ax.plot([points[key]] * 2, [row - 0.38, row + 0.38], color="black", lw=1.4)
    for name, marker in zip(variants, MARKERS, strict=False):
        ax.plot([], [], marker, color=shades[name], label=name)
    ax.plot([], [], color="black", lw=1.4, label="published")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel=xlabel)
    fig.legend(loc="outside lower center", ncols=len(variants) + 1, fontsize="small")
    return fig


def sobol_figure(tables: Mapping[str, pd.DataFrame], names: Mapping[str, str]) -> Figure:
    """Draw total Sobol indices with their intervals, a panel a metric.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        From ``uncertainty.sobol_indices``.
    names : mapping of str to str
        Inputs, for readers.
    """
    fig: Figure
    fig, axes = plt.subplots(1, len(tables), figsize=(7, 3.4), sharey=True, layout="constrained")
    for ax, (title, table) in zip(np.atleast_1d(axes), tables.items(), strict=True):
        rows = np.arange(len(table))
        ax.barh(rows, table["total"], 0.65, xerr=table["total_95"], color=PALETTE["ours"])
        ax.plot(table["first"], rows, "D", color=PALETTE["orange"], mec="black", label="first")
        ax.set_yticks(rows, [names[key] for key in table.index])
        ax.set(title=title, xlabel="share of the variance")
    np.atleast_1d(axes)[0].invert_yaxis()
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=PALETTE["ours"]),
        plt.Line2D([], [], marker="D", ls="", color=PALETTE["orange"], mec="black"),
    ]
    fig.legend(handles, ["total", "first order"], loc="outside lower center", ncols=2)
    return fig


def gap_figure(table: pd.DataFrame) -> Figure:
    """Draw the loss above data-parallel training of some runs, from top to bottom.

    Parameters
    ----------
    table : DataFrame
        Columns ``gap``, ``low``, ``high``; the index names the run.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 0.9 + 0.42 * len(table)), layout="constrained")
    at = np.arange(len(table))
    gap = [table["gap"] - table["low"], table["high"] - table["gap"]]
    ax.axvline(0, color=PALETTE["grey"], ls="--")
    ax.errorbar(table["gap"], at, xerr=gap, fmt="o", color=PALETTE["ours"], capsize=3)
    ax.set_yticks(at, [str(name) for name in table.index])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlabel("loss above data-parallel (nats a character)")
    return fig


def codec_figure(table: pd.DataFrame) -> Figure:
    """Draw what each codec adds to the loss, run by run against no codec.

    Parameters
    ----------
    table : DataFrame
        Columns ``bits``, ``change``, ``low``, ``high``; the index names the codec.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 0.9 + 0.42 * len(table)))
    gap = [table["change"] - table["low"], table["high"] - table["change"]]
    at = np.arange(len(table))
    ax.axvline(0, color=PALETTE["grey"], ls="--")
    ax.errorbar(table["change"], at, xerr=gap, fmt="o", color=PALETTE["ours"], capsize=3)
    names = [f"{name}, {bits:.3g} bits" for name, bits in table["bits"].items()]
    ax.set_yticks(at, names)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set_xlabel("loss minus that of 32-bit exchanges (nats a character)")
    return fig


def bytes_figure(table: pd.DataFrame) -> Figure:
    """Draw the loss above data-parallel against bytes sent, and the frontier through the best.

    Parameters
    ----------
    table : DataFrame
        Columns ``gap``, ``low``, ``high``, ``kB``, ``family``; the index names the run.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 4.6))
    families = list(dict.fromkeys(table["family"]))
    for family, color, marker in zip(families, colors(len(families)), MARKERS, strict=False):
        part = table[table["family"] == family]
        gap = [part["gap"] - part["low"], part["high"] - part["gap"]]
        ax.errorbar(
            part["kB"], part["gap"], gap, fmt=marker, color=color, capsize=2, elinewidth=1,
            label=family,
        )  # fmt: skip
    ordered = table.sort_values("kB")
    best = ordered[ordered["gap"] <= ordered["gap"].cummin()]
    ax.step(best["kB"], best["gap"], where="post", color=PALETTE["grey"], lw=1, zorder=0)
    ax.set_xscale("log")
    ax.set_xlabel("sent by one worker in the whole run (kB, log scale)")
    ax.set_ylabel("loss above data-parallel\n(nats a character)")
    ax.legend(fontsize="small")
    return fig


_METRICS = {"c_local": "C_local: the same model", "c_quality": "C_quality: the same loss"}


def _option(value: float, unit: str) -> str:
    return f"{value:g} {unit}"


def cost_explorer(
    curves: pd.DataFrame, *, usual: tuple[float, float] = (16.0, 100.0), start: float = 8.0
) -> alt.LayerChart:
    """Return a chart of cost against target in which buttons choose rule, network and metric.

    It opens on C_quality under the threshold `start` at the usual bandwidth; its title says what
    is chosen.

    Parameters
    ----------
    curves : DataFrame
        From ``tables.cost_curves``.
    usual : (float, float)
        Threshold (H100-equivalents) and bandwidth (Mbit/s) of the curve to compare with, drawn in
        grey and dashed.
    start : float
        Threshold at the beginning.

    Returns
    -------
    altair.LayerChart
        Show it with ``lib.core.figures.show_chart``.

    Raises
    ------
    ValueError
        If the table is empty, lacks a column, or holds no usual curve or none to start with.
    """
    import altair as alt

    check.columns("curves", curves, ("target", "threshold", "mbps", "metric", "cost_usd", "plan"))
    table = pd.DataFrame(
        {
            "target": curves["target"],
            "cost": [float(f"{cost / 1e6:.4g}") for cost in curves["cost_usd"]],
            "metric": curves["metric"],
            "threshold": curves["threshold"],
            "mbps": curves["mbps"],
            "plan": curves["plan"],
        }
    )
    grey = (table["threshold"] == usual[0]) & (table["mbps"] == usual[1])
    first = (table["threshold"] == start) & (table["mbps"] == usual[1])
    for name, held in (("usual", grey), ("start", first)):
        if not held.any():
            raise ValueError(f"{name}: curves holds none at that threshold and {usual[1]:g} Mbit/s")

    def buttons(name: str, label: str, value: object, options: Mapping[Any, str]) -> object:
        bind = alt.binding_radio(options=list(options), labels=list(options.values()), name=label)
        return alt.param(name=name, value=value, bind=bind)

    limits = {t: _option(t, "H100") for t in sorted(table["threshold"].unique(), reverse=True)}
    rates = {r: _option(r, "Mbit/s") for r in sorted(table["mbps"].unique())}
    params = [
        buttons("threshold", "Clusters are covered above ", start, limits),
        buttons("rate", "A node's link carries ", usual[1], rates),
        buttons("shown", "Compute is counted as ", "c_quality", _METRICS),
    ]
    names = [f"{_option(usual[0], 'H100')}, {_option(usual[1], 'Mbit/s')}", "as chosen"]
    color = alt.Scale(domain=names, range=["#767676", PALETTE["ours"]])
    dash = alt.Scale(domain=names, range=[[5, 3], [1, 0]])

    flop = alt.Axis(format="~e", values=[1e24, 3e24, 1e25, 3e25, 1e26])
    money = "datum.value < 1000 ? '$' + datum.value + ' M' : '$' + datum.value / 1000 + ' bn'"
    usd = alt.Axis(values=[10.0**k for k in range(6)], labelExpr=money)
    y_scale = alt.Scale(type="log", domain=[1, 100_000])
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolSize=400)

    def lines(part: pd.DataFrame, name: str, points: bool) -> alt.Chart:
        return (
            alt.Chart(part.assign(line=name))
            .transform_filter("datum.metric == shown")
            .mark_line(point=points)
            .encode(
                alt.X("target:Q", scale=alt.Scale(type="log"), axis=flop, title="target (FLOP)"),
                alt.Y("cost:Q", scale=y_scale, axis=usd, title="cost of the cheapest plan"),
                alt.Color("line:N", scale=color, legend=legend),
                alt.StrokeDash("line:N", scale=dash),
            )
        )

    chosen = lines(table, names[1], True).transform_filter(
        "datum.threshold == threshold && datum.mbps == rate"
    )
    tips = [
        alt.Tooltip("plan:N", title="cheapest plan"),
        alt.Tooltip("cost:Q", title="cost (million $)", format=",.4~g"),
        alt.Tooltip("target:Q", title="target (FLOP)", format=".2~e"),
    ]
    state = (
        "'Rule of ' + threshold + ' H100, links of ' + rate + ' Mbit/s, ' + "
        "(shown == 'c_local' ? 'the same model on the same data' : 'a model of the same loss')"
    )
    return (
        alt.layer(lines(table[grey], names[0], False), chosen.encode(tooltip=tips))
        .properties(width=480, height=270, title=alt.Title(alt.expr(state)))
        .add_params(*params)
    )
