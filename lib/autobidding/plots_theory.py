"""The two pictures behind the monotone cells: Jensen's inequality and lifting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib.autobidding.market import Market, check_labels
from lib.autobidding.programmes import lift
from lib.core.figures import PALETTE

_HATCHES = ("", "///", "...", "xx")


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
    fine: Market,
    labels: Sequence[int],
    allocation: Any,
    names: Sequence[str] | None = None,
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

    Raises
    ------
    ValueError
        When the labels are not in rising order.
    """
    index = check_labels(labels, fine.n_clusters)
    if (np.diff(index) < 0).any():
        raise ValueError(f"labels are {list(labels)}; expected them in rising order")
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
    return fig
