"""The figures of chapter 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from lib.autobidding.equilibrium import EquilibriumCell
from lib.autobidding.market import Market, check_labels
from lib.autobidding.programmes import lift
from lib.core.figures import MARKERS, PALETTE, colors

FIRST_SHOWN = 100
"""Round from which the learning figure starts."""

_HATCHES = ("", "///", "\\\\\\", "...", "xx", "++")


def allocation_label(
    cell: EquilibriumCell,
    names: Sequence[str] = ("bidder 1", "bidder 2"),
    labels: Sequence[int] | None = None,
) -> str:
    """Name a cell by the opportunities that the first bidder wins.

    Parameters
    ----------
    cell : EquilibriumCell
    names : sequence of two str
        Names of the bidders.
    labels : sequence of int, optional
        Cluster of each opportunity. Default: every cluster is one opportunity.
    """
    labels = range(len(cell.allocation)) if labels is None else labels
    won = [str(u) for u, k in enumerate(labels) if cell.allocation[k] == 0]
    if len(won) == len(labels):
        return f"{names[0]} wins all"
    return f"{names[0]} wins {{{', '.join(won)}}}" if won else f"{names[1]} wins all"


def draw_cells(
    ax: Axes,
    cells: Sequence[EquilibriumCell],
    *,
    limits: tuple[tuple[float, float], tuple[float, float]],
    names: Sequence[str] = ("bidder 1", "bidder 2"),
    labels: Sequence[int] | None = None,
    profiles: Mapping[str, tuple[Any, Any]] | None = None,
    log: bool = True,
) -> None:
    """Draw equilibrium cells in the plane of effective multipliers.

    Parameters
    ----------
    ax : Axes
    cells : sequence of EquilibriumCell
    limits : ((g1 low, g1 high), (g2 low, g2 high))
        Window; unbounded cells run out of it.
    names : sequence of two str
        Names of the bidders.
    labels : sequence of int, optional
        Cluster of each opportunity; see :func:`allocation_label`.
    profiles : mapping from label to (g1, g2), optional
        Further points to mark, such as a printed profile.
    log : bool
        Logarithmic axes: allocation thresholds are then parallel lines.
    """
    for k, (cell, color) in enumerate(zip(cells, colors(max(1, len(cells))), strict=False)):
        corners = np.array(cell.vertices, dtype=float)
        label = f"{allocation_label(cell, names, labels)}: welfare {float(cell.welfare):.4g}"
        if log:
            corners = np.maximum(corners, [limits[0][0] / 10, limits[1][0] / 10])
        if cell.has_interior:
            hatch = _HATCHES[k % len(_HATCHES)]
            style = {"edgecolor": color, "hatch": hatch, "linewidth": 1.2, "label": label}
            ax.add_patch(Polygon(corners, facecolor=color + "40", **style))  # type: ignore[arg-type]
        else:
            ax.plot(*corners.T, color=color, marker=MARKERS[k % len(MARKERS)], lw=3, label=label)
        if cell.binding is not None:
            g1, g2 = (float(g) for g in cell.binding)
            ax.plot(g1, g2, marker="*", color=color, ms=14, mec="black", ls="none", zorder=5)
    for label, (g1, g2) in (profiles or {}).items():
        ax.plot(
            float(g1),
            float(g2),
            "o",
            color=PALETTE["paper"],
            mfc="none",
            ms=11,
            label=label,
            zorder=6,
        )
    if log:
        ax.set_xscale("log")
        ax.set_yscale("log")
    ax.set(
        xlim=limits[0],
        ylim=limits[1],
        xlabel=f"effective multiplier of {names[0]} (money per conversion)",
        ylabel=f"effective multiplier of {names[1]} (money per conversion)",
    )
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18), frameon=False)


def cells_figure(
    coarse: Sequence[EquilibriumCell],
    fine: Sequence[EquilibriumCell],
    *,
    limits: tuple[tuple[float, float], tuple[float, float]],
    names: Sequence[str] = ("bidder 1", "bidder 2"),
    labels: Sequence[int] | None = None,
    profiles: tuple[Mapping[str, tuple[Any, Any]], Mapping[str, tuple[Any, Any]]] = ({}, {}),
    log: bool = True,
) -> Figure:
    """Equilibrium cells of the coarse and the fine model side by side.

    Parameters
    ----------
    coarse, fine : sequence of EquilibriumCell
    limits, names, log
        See :func:`draw_cells`.
    labels : sequence of int, optional
        Coarse cluster of each fine one.
    profiles : pair of mappings
        Points to mark in the coarse and in the fine panel.

    Returns
    -------
    Figure
        Stars mark equilibria at which both bidders pay exactly their target.
    """
    fig: Figure
    fig, axes = plt.subplots(1, 2, figsize=(8.0, 4.8), sharex=True, sharey=True)
    titles = "coarse model", "fine model"
    panels = zip(axes, titles, (coarse, fine), (labels, None), profiles, strict=True)
    for ax, title, cells, pooled, points in panels:
        draw_cells(ax, cells, limits=limits, names=names, labels=pooled, profiles=points, log=log)
        ax.set_title(title)
    axes[1].set_ylabel("")
    return fig


def filtration_figure(
    fine: Market, labels: Sequence[int], names: Sequence[str] | None = None
) -> Figure:
    """Predictions of a fine model and of the coarse model that pools it, one panel a bidder.

    Parameters
    ----------
    fine : Market
    labels : sequence of int, shape (fine.n_clusters,)
        Coarse cluster of each fine one; fine clusters are drawn in this order.
    names : sequence of str, optional
        Names of the bidders.

    Returns
    -------
    Figure
        Width is mass and height is prediction, so both models enclose the same area.
    """
    index = check_labels(labels, fine.n_clusters)
    names = names or [f"bidder {i + 1}" for i in range(fine.n_bidders)]
    order = np.argsort(index, kind="stable")
    coarse = fine.coarsen(index).to_float()
    ordered = fine.to_float()
    edges = np.concatenate([[0.0], np.cumsum(ordered.weights[order])])
    coarse_edges = np.concatenate([[0.0], np.cumsum(coarse.weights)])
    fig: Figure
    fig, axes = plt.subplots(
        1, fine.n_bidders, figsize=(3.6 * fine.n_bidders, 3.2), sharey=True, squeeze=False
    )
    for i, ax in enumerate(axes[0]):
        ax.stairs(
            ordered.predictions[order, i],
            edges,
            fill=True,
            color=PALETTE["fine"] + "50",
            label="fine model",
        )
        ax.stairs(
            coarse.predictions[:, i], coarse_edges, color=PALETTE["coarse"], lw=2.5,
            label="coarse model",
        )  # fmt: skip
        ax.set(title=names[i], xlabel="mass of opportunities")
    axes[0, 0].set_ylim(0, 1.05 * float(ordered.predictions.max()))
    axes[0, 0].set_ylabel("predicted conversions per opportunity")
    axes[0, 0].legend(fontsize=8)
    return fig


def learning_figure(
    paths: Mapping[str, np.ndarray[Any, Any]],
    bands: Mapping[str, tuple[float, float]],
    designated: float,
) -> Figure:
    """Draw the running average revenue of learners against each model's equilibrium interval.

    Parameters
    ----------
    paths : mapping of str to ndarray, shape (n_seeds, n_rounds)
        Model names are those of the palette, such as ``"coarse"`` and ``"fine"``.
    bands : mapping of str to (low, high)
        Revenue over all coarse correlated equilibria.
    designated : float
        Revenue at the fine profile that the paper designates.

    Returns
    -------
    Figure
        Lines are medians over seeds, shaded ribbons the 5 to 95 % range.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(6.4, 3.6))
    for (name, path), style in zip(paths.items(), ("-", "--"), strict=True):
        color, rounds = PALETTE[name], np.arange(1, path.shape[1] + 1)
        ax.axhspan(*bands[name], color=color, alpha=0.2, lw=0, label=f"{name} model, equilibria")
        low, middle, high = np.quantile(path, [0.05, 0.5, 0.95], axis=0)
        ax.plot(rounds, middle, style, color=color, label=f"{name} model, learners")
        ax.fill_between(rounds, low, high, color=color, alpha=0.3, lw=0)
    ax.axhline(designated, color=PALETTE["control"], ls=":", label="designated profile, fine")
    # The first rounds are far off, where neither has learned; from here on both scales are even.
    ax.set(xlim=(FIRST_SHOWN, None), ylim=(0, 1.6 * max(high for _, high in bands.values())))
    ax.set(xscale="log", xlabel="rounds", ylabel="average revenue\n(money per opportunity)")
    ax.legend(fontsize=8, ncols=2, loc="upper right")
    return fig


def jensen_figure(
    market: Market, values: Sequence[Any], names: Sequence[str] = ("bidder 1", "bidder 2")
) -> Figure:
    """Draw the price of a cluster before and after it is split in two.

    The horizontal axis runs along the segment between the two parts' predictions. Each bidder's
    bid is linear along it; the first price is the upper envelope.

    Parameters
    ----------
    market : Market
        The two parts, two bidders.
    values : sequence of two numbers
        Money per conversion.
    names : sequence of two str

    Returns
    -------
    Figure
        The gap between the chord and the envelope at the mean is what splitting adds.

    Raises
    ------
    ValueError
        Unless there are two clusters and two bidders.
    """
    if market.predictions.shape != (2, 2):
        raise ValueError(f"expected two parts and two bidders, got {market.predictions.shape}")
    parts = market.to_float()
    bids = parts.predictions * np.asarray(values, dtype=float)
    shares = parts.weights / parts.weights.sum()
    along = np.linspace(0.0, 1.0, 101)
    lines = np.outer(1 - along, bids[0]) + np.outer(along, bids[1])
    ends, mean = bids.max(axis=1), float(shares[1])
    chord, envelope = float(shares @ ends), float((shares @ bids).max())
    fig: Figure
    fig, ax = plt.subplots(figsize=(7.0, 4.2))
    for i, style in enumerate(("--", ":")):
        ax.plot(
            along, lines[:, i], style, color=PALETTE[f"bidder {i + 1}"], label=f"bid of {names[i]}"
        )
    ax.plot(along, lines.max(axis=1), color=PALETTE["grey"], lw=3, alpha=0.6, label="first price")
    ax.plot([0, 1], ends, color=PALETTE["fine"], lw=1.5, label="average of the two parts")
    ax.plot([0, 1], ends, "o", color=PALETTE["fine"], ms=8)
    ax.plot(mean, chord, "s", color=PALETTE["fine"], ms=9, label="revenue, split")
    ax.plot(mean, envelope, "D", color=PALETTE["coarse"], ms=9, label="revenue, pooled")
    ax.annotate(
        "", (mean, chord), (mean, envelope), arrowprops={"arrowstyle": "<->", "color": "black"}
    )
    ax.text(mean + 0.02, (chord + envelope) / 2, "gain", va="center")
    ax.set_xticks([0, mean, 1], ["part 1", "pooled mean", "part 2"])
    ax.set(xlabel="predictions, from part 1 to part 2", ylabel="money per opportunity")
    ax.set_ylim(0, 1.12 * float(bids.max()))
    ax.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18), frameon=False)
    return fig


def lifting_figure(
    fine: Market, labels: Sequence[int], allocation: Any, names: Sequence[str] | None = None
) -> Figure:
    """Draw a coarse allocation and its copy in the fine model.

    Parameters
    ----------
    fine : Market
    labels : sequence of int, shape (fine.n_clusters,)
        Coarse cluster of each fine one, in rising order.
    allocation : ndarray, shape (n_coarse, n_bidders)
        Shares that add up to at most one in each cluster.
    names : sequence of str, optional

    Returns
    -------
    Figure
        Width is mass. The printed conversions agree although the predictions do not.
    """
    index = check_labels(labels, fine.n_clusters)
    names = names or [f"bidder {i + 1}" for i in range(fine.n_bidders)]
    coarse = fine.coarsen(index)
    panels = (
        ("coarse model", coarse, np.asarray(allocation)),
        ("fine model, shares copied", fine, lift(allocation, index)),
    )
    fig: Figure
    fig, axes = plt.subplots(2, 1, figsize=(7.0, 4.6), sharex=True)
    for ax, (title, market, shares) in zip(axes, panels, strict=True):
        widths = market.weights.astype(float)
        left = np.cumsum(widths) - widths
        bottom = np.zeros(len(widths))
        for i in range(market.n_bidders):
            height = shares[:, i].astype(float)
            ax.bar(
                left, height, widths, bottom, align="edge", edgecolor="white", lw=1.5,
                color=PALETTE[f"bidder {i + 1}"] + "90", hatch=_HATCHES[i % len(_HATCHES)],
            )  # fmt: skip
            for k in np.flatnonzero(height > 0):
                ax.text(
                    left[k] + widths[k] / 2,
                    bottom[k] + height[k] / 2,
                    f"p = {float(market.predictions[k, i]):.3g}",
                    ha="center", va="center", fontsize=9,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
                )  # fmt: skip
            bottom = bottom + height
        won = (market.mass * shares).sum(axis=0).astype(float)
        counts = ", ".join(f"{n}: {v:.3g}" for n, v in zip(names, won, strict=True))
        ax.set_title(f"{title}: conversions of {counts}", fontsize=10)
        ax.set(ylabel="share", ylim=(0, 1), yticks=[0, 0.5, 1])
        ax.grid(visible=False)
    axes[1].set_xlabel("mass of opportunities")
    keys = [axes[0].containers[i] for i in range(fine.n_bidders)]
    axes[0].legend(keys, names, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    return fig


Styles = Mapping[str, tuple[str, str, str]]
"""Label, name of the colour and marker of each rule of a table of curves."""

RULES: Styles = {
    "first": ("first price, tCPA", "blue", "o"),
    "second": ("second price, truthful", "vermillion", "s"),
    "pacing": ("first price with budgets, paced", "green", "^"),
}
"""The revenue curves, the same in every figure."""

COLLECTED: Styles = {
    "collected": ("collected from advertisers", "green", "o"),
    "delivered": ("delivered to advertisers", "purple", "s"),
}
RUNS: Styles = {
    "other half": ("unsmoothed", "vermillion", "s"),
    "shuffled features": ("unsmoothed, shuffled", "grey", "D"),
    "empirical Bayes": ("empirical Bayes", "blue", "o"),
    "same half": ("judged in sample", "black", ""),
}

_SPREAD = 0.02
"""Largest shift of a curve, in decades, so that error bars stand beside each other."""


def draw_curves(ax: Axes, table: pd.DataFrame, styles: Styles) -> None:
    """Draw one line with error bars against the number of clusters for each kind of row.

    Parameters
    ----------
    ax : Axes
    table : DataFrame
        Columns ``rule``, ``clusters``, ``revenue``, ``low``, ``high``, as from
        :func:`lib.autobidding.study.data.curve_intervals`.
    styles : mapping
        The rules to draw.
    """
    shifts = np.linspace(-_SPREAD, _SPREAD, len(styles)) if len(styles) > 1 else [0.0]
    for shift, (rule, (label, color, marker)) in zip(shifts, styles.items(), strict=True):
        rows = table[table["rule"] == rule]
        ax.errorbar(
            rows["clusters"] * 10**shift,
            rows["revenue"],
            [rows["revenue"] - rows["low"], rows["high"] - rows["revenue"]],
            marker=marker,
            color=PALETTE[color],
            elinewidth=1,
            label=label,
        )
    ticks = sorted(table["clusters"].unique())
    ax.set_xscale("log")
    ax.set_xticks(ticks, [str(k) for k in ticks])
    ax.minorticks_off()
    ax.set_xlabel("clusters of the model")


def curve_figure(table: pd.DataFrame, title: str, unit: str) -> Figure:
    """Draw the revenue curves that a table holds.

    Parameters
    ----------
    table : DataFrame
        See :func:`draw_curves`; rules are those of :data:`RULES`.
    title : str
        Says whether data are real, simulated or an analogy.
    unit : str
        Unit of revenue, such as ``"money per customer"``.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(5.4, 3.1))
    there = set(table["rule"])
    draw_curves(ax, table, {rule: style for rule, style in RULES.items() if rule in there})
    ax.set_ylabel(f"revenue ({unit})")
    ax.set_title(title)
    ax.legend()
    return fig


def promise_figure(summaries: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw what an estimated model collects and delivers, and who keeps the tCPA promise.

    Parameters
    ----------
    summaries : mapping of str to DataFrame
        From :func:`lib.autobidding.estimation.split_summary`, for the runs ``"other half"``,
        ``"shuffled features"``, ``"empirical Bayes"`` and ``"same half"``.

    Returns
    -------
    Figure
        Left: the first run. Right: cost per conversion over target of all four.
    """
    tables = {
        name: summary.rename(columns={"measure": "rule", "mean": "revenue"})
        for name, summary in summaries.items()
    }
    promise = pd.concat(
        [table[table["rule"] == "cpa"].assign(rule=name) for name, table in tables.items()]
    )
    fig: Figure
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.2))
    draw_curves(left, tables["other half"], COLLECTED)
    left.set_ylabel("money per customer")
    left.set_title("Hillstrom, fitted on half: unsmoothed")
    draw_curves(right, promise, RUNS)
    right.set_ylabel("cost per conversion / target")
    right.set_title("The tCPA promise (target = 1)")
    right.margins(y=0.15)
    for ax in (left, right):
        ax.legend(loc="upper left", fontsize=9)
        ax.tick_params(axis="x", labelsize=8)
    return fig
