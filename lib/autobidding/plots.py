"""Figures that several notebooks of chapter 1 share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from lib.autobidding.equilibrium import EquilibriumCell
from lib.autobidding.market import Market, check_labels
from lib.core.figures import MARKERS, PALETTE, colors

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
            ax.add_patch(
                Polygon(
                    corners,
                    facecolor=color + "40",
                    edgecolor=color,
                    hatch=hatch,
                    linewidth=1.2,
                    label=label,
                )
            )
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
    fig, ax = plt.subplots()
    for name, path in paths.items():
        color = PALETTE[name]
        rounds = np.arange(1, path.shape[1] + 1)
        ax.axhspan(*bands[name], color=color, alpha=0.25, lw=0)
        ax.plot(rounds, np.quantile(path, 0.5, axis=0), color=color, label=f"{name} model")
        ax.fill_between(rounds, *np.quantile(path, [0.05, 0.95], axis=0), color=color, alpha=0.3)
    ax.axhline(designated, color=PALETTE["control"], ls="--", label="designated profile, fine")
    ax.set(xscale="log", xlabel="rounds", ylabel="average revenue (money per opportunity)")
    ax.legend()
    return fig
