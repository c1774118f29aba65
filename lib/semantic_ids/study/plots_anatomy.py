"""Figures of code trees: entropies, code books, the count table, genres of our own codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from lib.core.figures import MARKERS, PALETTE, SIZE, colors

__all__ = ["count_figure", "entropy_figure", "genre_figure"]


def entropy_figure(table: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw entropy of the next code and use of the code book by level.

    Parameters
    ----------
    table : DataFrame
        Rows of `anatomy.summary` of several catalogues, below one another.
    names : mapping of str to str
        What to call each catalogue, in order.
    """
    fig: Figure
    fig, (left, right) = plt.subplots(1, 2, figsize=(SIZE[0], 3.6))
    for (name, label), colour, marker in zip(
        names.items(), colors(len(names)), MARKERS, strict=False
    ):
        one = table[table["catalogue"] == name]
        if one["entropy"].notna().all():
            left.plot(one["level"], one["entropy"], marker=marker, color=colour, label=label)
        right.plot(one["level"], one["code use"], marker=marker, color=colour, label=label)
    left.set(xlabel="level", ylabel="entropy given the prefix, bits", ylim=(0, 8.3))
    left.set_title("what the prefix leaves open")
    right.set(xlabel="level", ylabel="use of the code book", ylim=(0.6, 1.02))
    right.set_title("how evenly codes are used")
    for ax in (left, right):
        ax.set_xticks([1, 2, 3, 4])
    fig.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


def count_figure(
    rows: Mapping[str, tuple[npt.ArrayLike, Sequence[tuple[float, float]], npt.ArrayLike]],
) -> Figure:
    """Draw accuracy of the count table by level, with its ceiling.

    Parameters
    ----------
    rows : mapping of str to (accuracy, intervals, ceiling)
        For each catalogue, by level, in [0, 1].
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(SIZE[0], 3.8))
    width = 0.8 / len(rows)
    for i, ((name, (accuracy, intervals, ceiling)), colour) in enumerate(
        zip(rows.items(), colors(len(rows)), strict=True)
    ):
        value = np.asarray(accuracy, np.float64)
        place = np.arange(1, len(value) + 1) + (i - (len(rows) - 1) / 2) * width
        ends = np.abs(np.array(intervals).T - value)
        ax.bar(place, value, 0.9 * width, color=colour, label=name)
        ax.errorbar(place, value, yerr=ends, fmt="none", color=PALETTE["black"], capsize=2, lw=1)
        ax.plot(place, np.asarray(ceiling), "_", color=PALETTE["black"], markersize=11)
    ax.plot([], [], "_", color=PALETTE["black"], label="best without the user")
    ax.set(xlabel="level", ylabel="accuracy on last items", xticks=[1, 2, 3, 4], ylim=(0, 1.05))
    ax.legend(loc="upper left")
    return fig


def genre_figure(gaps: pd.DataFrame) -> Figure:
    """Draw how much more films that share codes have in common than films at large.

    Parameters
    ----------
    gaps : DataFrame
        ``codes`` (how many first codes are shared), ``who``, ``gap``, ``low``, ``high``.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(SIZE[0], 3.2))
    for (who, one), colour, marker in zip(
        gaps.groupby("who", sort=False), colors(gaps["who"].nunique()), MARKERS, strict=False
    ):
        ends = np.abs(one[["low", "high"]].to_numpy().T - one["gap"].to_numpy())
        ax.errorbar(
            one["codes"], one["gap"], yerr=ends, marker=marker, capsize=3, color=colour, label=who
        )
    ax.axhline(0, color=PALETTE["grey"], linewidth=1)
    ax.set(
        xlabel="first codes shared",
        ylabel="Jaccard index of genres\nabove that of any two films",
        xticks=sorted(gaps["codes"].unique()),
    )
    ax.legend()
    return fig
