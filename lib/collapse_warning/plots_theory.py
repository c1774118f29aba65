"""Figures of the theory: the cycle that cannot be, and a miss that is never left."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib.collapse_warning.panel import Bools
from lib.core.figures import colors

__all__ = ["cycle_figure", "miss_figure"]


def cycle_figure() -> Figure:
    """Draw a weak cycle, which a preorder allows, beside one with a strict step."""
    fig: Figure
    fig, axes = plt.subplots(1, 2, figsize=(7, 2.9), layout="constrained")
    blue, orange = colors(2)
    angles = np.pi / 2 - 2 * np.pi * np.arange(3) / 3
    corners = np.c_[np.cos(angles), np.sin(angles)]
    signs = (("≤", "≤", "≤"), ("<", "≤", "≤"))
    titles = ("allowed: x, y and z are level", "impossible: y ≤ z ≤ x contradicts x < y")
    for ax, steps, title in zip(axes, signs, titles, strict=True):
        for i, sign in enumerate(steps):
            start, end = corners[i], corners[(i + 1) % 3]
            strict = sign == "<"
            ax.annotate(
                "",
                start + 0.85 * (end - start),
                start + 0.15 * (end - start),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": orange if strict else blue,
                    "lw": 2.4 if strict else 1.4,
                },
            )
            ax.text(*(0.5 * (start + end) * 1.35), sign, ha="center", va="center", size=14)
        for corner, name in zip(corners, "xyz", strict=True):
            ax.text(*corner, name, ha="center", va="center", size=14, style="italic")
        ax.set(xlim=(-1.4, 1.4), ylim=(-1.0, 1.3), aspect="equal")
        ax.set_title(title, fontsize="medium")
        ax.axis("off")
    return fig


def miss_figure(panels: dict[str, list[Bools]], step_label: str = "step") -> Figure:
    """Draw hits and misses of units, a row each, sorted by their first miss.

    Parameters
    ----------
    panels : dict of str to list of ndarray of bool
        For each title, the misses of each unit; lengths may differ.
    """
    fig: Figure
    fig, axes = plt.subplots(
        1, len(panels), figsize=(7, 3.6), layout="constrained", sharex=True, squeeze=False
    )
    hit, miss = colors(2)
    for ax, (title, rows) in zip(axes[0], panels.items(), strict=True):
        longest = max(len(row) for row in rows)
        first = [int(np.argmax(row)) if row.any() else longest for row in rows]
        picture = np.full((len(rows), longest), np.nan)
        for place, at in enumerate(np.argsort(first, kind="stable")):
            picture[place, : len(rows[at])] = rows[at]
        ax.pcolormesh(
            np.arange(longest + 1) + 0.5,
            np.arange(len(rows) + 1),
            np.ma.masked_invalid(picture),
            cmap=plt.matplotlib.colors.ListedColormap([hit, miss]),
            vmin=0,
            vmax=1,
        )
        ax.set(xlabel=step_label, title=title)
        ax.grid(False)
    axes[0, 0].set_ylabel("users, by first miss")
    handles = [
        plt.matplotlib.patches.Patch(color=color, label=label)
        for color, label in ((hit, "hit"), (miss, "miss"))
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")
    return fig
