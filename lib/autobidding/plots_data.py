"""Figures of the empirical notebook: curves with error bars, and tables of shares."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.core.figures import PALETTE

__all__ = [
    "Styles",
    "change_figure",
    "curve_figure",
    "draw_curves",
    "promise_figure",
    "share_figure",
]

Styles = Mapping[str, tuple[str, str, str]]
"""Label, name of the colour and marker of each rule of a table of curves."""

RULES: Styles = {
    "first": ("first price, tCPA", "blue", "o"),
    "second": ("second price, truthful", "vermillion", "s"),
    "pacing": ("first price with budgets, paced", "green", "^"),
}
"""The revenue curves, the same in every figure."""

_SPREAD = 0.02
"""Largest shift of a curve, in decades, so that error bars stand beside each other."""


def draw_curves(ax: Axes, table: pd.DataFrame, styles: Styles) -> None:
    """Draw one line with error bars against the number of clusters for each kind of row.

    Parameters
    ----------
    ax : Axes
    table : DataFrame
        Columns ``rule``, ``clusters``, ``revenue``, ``low``, ``high``, as from
        :func:`lib.autobidding.experiments.curve_intervals`.
    styles : mapping
        The rules to draw.

    Raises
    ------
    ValueError
        When the table has no row of a rule.
    """
    for rule in styles:
        if not (table["rule"] == rule).any():
            raise ValueError(f"no row of {rule!r}; there are {sorted(set(table['rule']))}")
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
        From :func:`lib.autobidding.experiments.split_summary`, for the runs ``"other half"``,
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
    draw_curves(
        left,
        tables["other half"],
        {
            "collected": ("collected from advertisers", "green", "o"),
            "delivered": ("delivered to advertisers", "purple", "s"),
        },
    )
    left.set_ylabel("money per customer")
    left.set_title("Hillstrom, fitted on half: unsmoothed")
    draw_curves(
        right,
        promise,
        {
            "other half": ("unsmoothed", "vermillion", "s"),
            "shuffled features": ("unsmoothed, shuffled", "grey", "D"),
            "empirical Bayes": ("empirical Bayes", "blue", "o"),
            "same half": ("judged in sample", "black", ""),
        },
    )
    right.set_ylabel("cost per conversion / target")
    right.set_title("The tCPA promise (target = 1)")
    right.margins(y=0.15)
    for ax in (left, right):
        ax.legend(loc="upper left", fontsize=9)
        ax.tick_params(axis="x", labelsize=8)
    return fig


def share_figure(shares: pd.DataFrame, panels: Mapping[str, str]) -> Figure:
    """Draw a heat map of bidders by models for each event.

    Parameters
    ----------
    shares : DataFrame
        From :func:`lib.autobidding.atlas.truthful_atlas`.
    panels : mapping of str to str
        Titles by event.
    """
    model = shares["fine"].astype(str) + " / " + shares["coarse"].astype(str)
    fig: Figure
    fig, axes = plt.subplots(1, len(panels), figsize=(6.8, 2.7), sharey=True, squeeze=False)
    for ax, (event, title) in zip(axes[0], panels.items(), strict=True):
        rows = shares.assign(model=model)[shares["event"] == event]
        table = rows.pivot_table(index="bidders", columns="model", values="share", sort=False)
        sns.heatmap(
            100 * table,
            ax=ax,
            annot=True,
            fmt=".0f",
            cmap="cividis",
            vmin=0,
            vmax=100,
            cbar=False,
        )
        ax.set_title(title)
        ax.set_xlabel("clusters, fine / coarse")
        ax.set_ylabel("bidders" if ax is axes[0, 0] else "")
        ax.tick_params(axis="y", rotation=0)
    return fig


def change_figure(relative: npt.ArrayLike, title: str, label: str) -> Figure:
    """Draw a histogram of relative changes, with a line at no change.

    Parameters
    ----------
    relative : array_like, shape (n_markets,)
        Relative changes; those above 58 % share the last bar.
    title, label : str
        Title, and label of the horizontal axis.
    """
    # A change of one rounding error belongs to the bar that starts at zero.
    percent = 100 * np.clip(np.round(np.asarray(relative, dtype=float), 9), None, 0.59)
    fig: Figure
    fig, ax = plt.subplots(figsize=(5.4, 2.7))
    sns.histplot(
        percent,
        bins=np.arange(-30, 62, 2),
        stat="percent",
        color=PALETTE["liquid welfare"],
        linewidth=0,
        ax=ax,
    )
    ax.axvline(0, color=PALETTE["violation"], linestyle="--")
    ax.set_xlabel(f"{label} (last bar: over 58 %)")
    ax.set_ylabel("% of simulated markets")
    ax.set_title(title)
    return fig
