"""Figures of the construction: sums against rows, collisions, and where rows stay empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib.core.figures import MARKERS, PALETTE, SIZE, colors
from lib.semantic_ids.catalogue import IntArray
from lib.semantic_ids.hashing import PrefixHash, expected_excess, expected_rows, prefix_rows

__all__ = ["collision_figure", "fill_figure", "share_figure"]


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
        confused = []
        for size in sizes:
            rows = prefix_rows(by_size[size], prefixes)
            share = [1 - len(np.unique(head)) / len(prefixes) for head in rows.T]
            label = name if size == sizes[0] else None
            left.plot([size] * len(share), share, marker, color=colour, alpha=0.7, label=label)
            _, count = np.unique(rows, axis=0, return_counts=True)
            confused.append(count[count > 1].sum() / len(prefixes))
        right.plot(sizes, confused, marker=marker, color=colour, label=name)
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
