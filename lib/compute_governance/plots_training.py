"""Figures of the training notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.core.figures import MARKERS, PALETTE, colors

__all__ = ["codec_figure", "frontier_figure", "share_figure", "sweep_figure"]


def sweep_figure(sweeps: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the loss above data-parallel training against H, for ways to set the outer step.

    Parameters
    ----------
    sweeps : mapping of str to DataFrame
        Columns ``gap``, ``low``, ``high``; the index is H.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.6))
    ax.axhline(0, color=PALETTE["grey"], ls="--", label="data-parallel, every step")
    for rank, ((label, table), color, marker) in enumerate(
        zip(sweeps.items(), colors(len(sweeps)), MARKERS, strict=False)
    ):
        low, high = table["gap"] - table["low"], table["high"] - table["gap"]
        # Side by side, or one interval would hide the other.
        at = table.index.to_numpy(dtype=float) * 1.04**rank
        ax.errorbar(
            at, table["gap"], [low, high], color=color, marker=marker, capsize=3,
            label=label,
        )  # fmt: skip
    ax.set_xscale("log")
    ticks = sorted({int(h) for table in sweeps.values() for h in table.index})
    ax.set_xticks(ticks, [str(h) for h in ticks])
    ax.minorticks_off()
    ax.set_xlabel("H, inner steps a round (log scale)")
    ax.set_ylabel("loss above data-parallel\n(nats a character)")
    ax.legend(fontsize="small")
    return fig


def share_figure(
    measured: pd.DataFrame, published: Sequence[tuple[float, float]], floor: float
) -> Figure:
    """Draw the share of tokens that counts, measured and by the published formula.

    Parameters
    ----------
    measured : DataFrame
        Columns ``share``, ``low``, ``high``; the index is H.
    published : sequence of (H, share)
        Without the floor.
    floor : float
        Below which the published model does not go.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.4))
    gap = [measured["share"] - measured["low"], measured["high"] - measured["share"]]
    ax.errorbar(
        measured.index, measured["share"], gap, color=PALETTE["ours"], marker="o", capsize=3,
        label="measured here",
    )  # fmt: skip
    at, share = np.array(published).T
    ax.plot(at, np.maximum(share, floor), color=PALETTE["paper"], label="published formula")
    ax.plot(at, share, color=PALETTE["paper"], ls=":", label="the same without its floor")
    ax.set_xscale("log")
    ticks = [1, *[int(h) for h in measured.index]]
    ax.set_xticks(ticks, [str(h) for h in ticks])
    ax.minorticks_off()
    ax.set_ylim(min(0.0, float(share.min())), 1.05)
    ax.set_xlabel("H, inner steps a round (log scale)")
    ax.set_ylabel("share of tokens that counts")
    ax.legend(fontsize="small")
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


def frontier_figure(table: pd.DataFrame) -> Figure:
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
