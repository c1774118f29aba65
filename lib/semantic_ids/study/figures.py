"""All figures of the chapter: construction, code trees, trained models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.core.figures import MARKERS, PALETTE, SIZE, colors
from lib.semantic_ids.catalogue import IntArray
from lib.semantic_ids.hashing import (
    PrefixHash,
    confused,
    excess,
    expected_excess,
    expected_rows,
    prefix_rows,
)
from lib.semantic_ids.intervals import Estimate

__all__ = [
    "accuracy_figure",
    "collision_figure",
    "count_figure",
    "curve_figure",
    "entropy_figure",
    "fill_figure",
    "recall_figure",
    "share_figure",
]


def share_figure(n_codes: Sequence[int], shares: Sequence[float], n_maps: int) -> Figure:
    """Draw which share of random maps a sum of terms represents, by size of the code book.

    Parameters
    ----------
    n_codes : sequence of int
    shares : sequence of float
        In [0, 1], one for each.
    n_maps : int
        Maps behind each share; gives the 95 % Wilson intervals.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(SIZE[0], 3.2))
    share, z = np.asarray(shares, np.float64), 1.96
    centre = (share + z**2 / (2 * n_maps)) / (1 + z**2 / n_maps)
    half = z * np.sqrt(share * (1 - share) / n_maps + z**2 / (4 * n_maps**2)) / (1 + z**2 / n_maps)
    bars = np.clip([share - centre + half, centre + half - share], 0, None)
    ax.errorbar(
        n_codes, share, yerr=bars, marker="o", capsize=3, label="a sum of one term for each code"
    )
    ax.plot(n_codes, np.ones(len(share)), marker="s", label="one row for each prefix")
    ax.set(
        xlabel="codes of a level, K",
        ylabel="share of random maps represented",
        ylim=(-0.03, 1.08),
        xticks=list(n_codes),
    )
    ax.legend(loc="center right")
    return fig


def collision_figure(
    prefixes: IntArray, sizes: Sequence[int], hashes: Mapping[str, Mapping[int, PrefixHash]]
) -> Figure:
    """Draw measured collisions against the formula, and prefixes confused by all heads.

    Parameters
    ----------
    prefixes : int64 (n_prefixes, length)
    sizes : sequence of int
        Table sizes.
    hashes : mapping of str to mapping of int to PrefixHash
        For each name and size a hash with the same number of heads.
    """
    fig: Figure
    fig, (left, right) = plt.subplots(1, 2, figsize=(SIZE[0], 3.4))
    grid = np.geomspace(min(sizes) / 1.5, max(sizes) * 1.5, 200)
    expected = [expected_excess(len(prefixes), round(size)) for size in grid]
    left.plot(grid, expected, color=PALETTE["grey"], label="random function")
    for (name, by_size), colour, marker in zip(
        hashes.items(), colors(len(hashes)), MARKERS, strict=False
    ):
        together = []
        for size in sizes:
            rows = prefix_rows(by_size[size], prefixes)
            share = excess(rows)
            label = name if size == sizes[0] else None
            left.plot([size] * len(share), share, marker, color=colour, alpha=0.7, label=label)
            together.append(confused(rows) / len(prefixes))
        right.plot(sizes, together, marker=marker, color=colour, label=name)
    left.set(xlabel="rows of a table, T", ylabel="share beyond the first of its row")
    left.set(xscale="log", ylim=(0, 1))
    left.set_title("one head")
    left.legend()
    right.set(xlabel="rows of a table, T", ylabel="share confused by all heads")
    right.set(xscale="log")
    right.set_ylim(bottom=-0.0005)
    right.set_title("all heads together")
    right.legend()
    return fig


def fill_figure(prefixes: IntArray, hashes: Mapping[str, PrefixHash], bins: int = 32) -> Figure:
    """Draw where in the table prefixes land, by head 0 of each hash.

    Parameters
    ----------
    prefixes : int64 (n_prefixes, length)
    hashes : mapping of str to PrefixHash
        All with the same table size.
    bins : int
        Stretches the table is cut into.
    """
    fig: Figure
    fig, axes = plt.subplots(1, len(hashes), figsize=(SIZE[0], 3.0), sharey=True, squeeze=False)
    for ax, (name, hashing), colour in zip(
        axes[0], hashes.items(), colors(len(hashes)), strict=True
    ):
        rows = np.unique(prefix_rows(hashing, prefixes)[:, 0])
        edges = np.linspace(0, hashing.table_size, bins + 1)
        filled = np.histogram(rows, edges)[0] / (hashing.table_size / bins)
        ax.bar(edges[:-1], filled, width=np.diff(edges), align="edge", color=colour)
        share = expected_rows(len(prefixes), hashing.table_size) / hashing.table_size
        ax.axhline(share, color=PALETTE["black"], linestyle="--", linewidth=1)
        ax.set_title(f"{name}\n{len(rows):,} rows filled", fontsize="medium")
        ax.set(xlabel="row", xticks=[0, hashing.table_size], ylim=(0, 1))
    axes[0, 0].set_ylabel("share of rows filled")
    return fig


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


def _error(rows: Sequence[Estimate], scale: float = 100) -> tuple[list[float], list[list[float]]]:
    values = [scale * one.value for one in rows]
    low = [scale * (one.value - one.low) for one in rows]
    high = [scale * (one.high - one.value) for one in rows]
    return values, [low, high]


def _panels(titles: Iterable[str]) -> tuple[Figure, list[Axes]]:
    """Return a row of panels that share their vertical axis."""
    names = list(titles)
    fig, axes = plt.subplots(
        1, len(names), figsize=(SIZE[0], 3.4), layout="constrained", sharey=True, squeeze=False
    )
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name, fontsize="small")
    return fig, list(axes[0])


def _legend(fig: Figure, ax: Axes, ylabel: str, ncols: int = 3) -> Figure:
    """Begin the vertical axis at 0 and name it; put the series of one panel below all."""
    ax.set_ylim(0, None)
    ax.set_ylabel(ylabel)
    handles, names = ax.get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=ncols, fontsize="small")
    return fig


def accuracy_figure(panels: Mapping[str, Mapping[str, Sequence[Estimate]]]) -> Figure:
    """Draw teacher-forced accuracy by level, a panel a budget; the first series of each in grey.

    Parameters
    ----------
    panels : mapping of title to mapping of arm to one Estimate a level
        The same arms in each.
    """
    fig, axes = _panels(panels)
    for ax, rows in zip(axes, panels.values(), strict=True):
        shades = [PALETTE["grey"], *colors(max(1, len(rows) - 1))]
        for at, (name, row) in enumerate(rows.items()):
            x = np.arange(len(row)) + (at - (len(rows) - 1) / 2) * 0.8 / len(rows)
            values, error = _error(row)
            style = MARKERS[at % len(MARKERS)]
            ax.errorbar(x, values, error, fmt=style, color=shades[at], label=name, capsize=2)
        ax.set_xticks(range(len(row)), [f"level {n + 1}" for n in range(len(row))])
    return _legend(fig, axes[0], "teacher-forced accuracy (%)")


def curve_figure(
    curves: Mapping[str, Mapping[int, Sequence[float]]], table: Sequence[float]
) -> Figure:
    """Draw accuracy over training, one panel a level, with the count table as a line.

    Parameters
    ----------
    curves : mapping of arm to mapping of step to accuracy by level
        Names that are equal up to a comma share a colour; those with a comma are dashed.
    table : sequence of float
        Accuracy of the count table by level.
    """
    fig: Figure
    fig, axes = plt.subplots(1, len(table), figsize=(7.4, 2.9), layout="constrained", sharey=True)
    arms = list(dict.fromkeys(name.split(",")[0] for name in curves))
    shades = dict(zip(arms, zip(colors(len(arms)), MARKERS, strict=False), strict=True))
    for level, ax in enumerate(axes):
        for name, curve in curves.items():
            color, marker = shades[name.split(",")[0]]
            steps = sorted(curve)
            values = [100 * curve[s][level] for s in steps]
            style = marker + ("--" if "," in name else "-")
            ax.plot(steps, values, style, color=color, label=name)
        ax.axhline(100 * table[level], color=PALETTE["grey"], ls="--", lw=1.2, label="count table")
        ax.set_title(f"level {level + 1}", fontsize="small")
        ax.set(xlabel="step", xscale="log")
    return _legend(fig, axes[0], "accuracy (%)", ncols=5)


def recall_figure(panels: Mapping[str, Mapping[str, Mapping[int, Estimate]]]) -> Figure:
    """Draw recall of the whole ID by length of the list, a panel a budget.

    Parameters
    ----------
    panels : mapping of title to mapping of arm to mapping of k to Estimate
        The same arms in each.
    """
    fig, axes = _panels(panels)
    for ax, rows in zip(axes, panels.values(), strict=True):
        for at, ((name, row), shade) in enumerate(
            zip(rows.items(), colors(len(rows)), strict=True)
        ):
            ks = sorted(row)
            values, error = _error([row[k] for k in ks])
            x = np.array(ks) * (1 + 0.03 * (at - (len(rows) - 1) / 2))
            ax.errorbar(x, values, error, fmt=MARKERS[at] + "-", color=shade, label=name, capsize=2)
        ax.set_xscale("log")
        ax.set_xticks(ks, [str(k) for k in ks])
        ax.minorticks_off()
        ax.set_xlabel("length of the list")
    return _legend(fig, axes[0], "recall of the whole ID (%)")
