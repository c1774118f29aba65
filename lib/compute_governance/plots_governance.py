"""Figures of countermeasures and uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.compute_governance.scaling import Floats
from lib.core.figures import MARKERS, PALETTE, colors

__all__ = [
    "detection_figure",
    "frontier_figure",
    "inspection_figure",
    "interval_figure",
    "leader_figure",
    "ppv_figure",
    "sobol_figure",
]


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
    fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
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
    fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
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


def frontier_figure(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw cost against burden for pairs of thresholds, a panel a metric.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        From ``exposure.frontier``.
    """
    fig: Figure
    fig, axes = plt.subplots(1, len(tables), figsize=(7, 3.9), sharey=True, layout="constrained")
    for ax, (name, table) in zip(np.atleast_1d(axes), tables.items(), strict=True):
        shown = table[np.isfinite(table["cost_usd"])]
        groups = shown.groupby("h100_eq", sort=False)
        for (limit, part), shade, marker in zip(groups, colors(7), MARKERS, strict=False):
            ax.plot(
                part["burden"], part["cost_usd"], marker, color=shade, label=f"{limit:g}", alpha=0.8
            )
        best = shown[shown["efficient"]].sort_values("burden")
        ax.step(best["burden"], best["cost_usd"], where="post", color="0.5", lw=1, zorder=0)
        ax.set(yscale="log", title=name, xlabel="legitimate systems covered, of 14")
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
