"""Figures of the chapter: the contract, the theory, and the recomputed results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.collapse_warning.contract import FPContract
from lib.collapse_warning.evaluation import Evaluation
from lib.collapse_warning.panel import Bools
from lib.collapse_warning.study.calibration import Explanation
from lib.core.figures import MARKERS, colors
from lib.stats import binomial

__all__ = [
    "cost_figure",
    "domain_figure",
    "interval_figure",
    "miss_figure",
    "power_figure",
    "roc_figure",
    "rows_figure",
    "shumailov_figure",
    "staircase_figure",
    "study2_figure",
    "timeline_figure",
]


def staircase_figure(evaluations: Sequence[Evaluation], right: float = 0.3) -> Figure:
    """Draw the operating points of detectors near the band, and the accepted ones apart.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        At least one, all on one panel.
    right : float
        Share of controls up to which the staircases are drawn.
    """
    if not evaluations:
        raise ValueError("evaluations is empty, expected at least one")
    fig: Figure
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.6), layout="constrained", width_ratios=[3, 2])
    band = evaluations[0].contract
    axes[0].axvspan(band.lo, band.hi, color="0.85", zorder=0)
    axes[0].plot([0, 1], [0, 1], color="0.5", lw=1, ls=":")
    names = [one.detector for one in evaluations]
    styles = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1)))
    for at, (one, color, marker) in enumerate(
        zip(evaluations, colors(len(evaluations)), MARKERS * 3, strict=False)
    ):
        table = one.stairs.to_frame()
        line = styles[at % len(styles)]
        axes[0].step(table["fpr"], table["tpr"], where="post", color=color, lw=1.4, ls=line)
        if one.point is not None:
            low, high = one.tpr_interval
            rate, look = one.point.tpr, {"color": color, "marker": marker, "ls": line}
            axes[1].errorbar(rate, at, xerr=[[rate - low], [high - rate]], capsize=3, **look)
            share = one.false_alarms / one.stairs.n_controls
            axes[1].plot([share, share], [at - 0.35, at + 0.35], color="0.4", lw=1.5)
        axes[1].plot([-0.5], [at], color=color, ls=line, marker=marker)
    axes[0].set(
        xlabel="share of controls that alarm",
        ylabel="share of events that alarm",
        xlim=(0, right),
        ylim=(0, 1.02),
    )
    axes[1].set_yticks(range(len(names)), names)
    axes[1].set(xlabel="hit rate at the accepted point", xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    return fig


def power_figure(counts: Sequence[int], contract: FPContract | None = None) -> Figure:
    """Draw the probability that a detector of given false-alarm rate is accepted.

    Parameters
    ----------
    counts : sequence of int
        Numbers of controls, one curve each.
    contract : FPContract, optional
    """
    contract = contract or FPContract()
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    rates = np.linspace(0, 0.2, 201)
    ax.axvspan(contract.lo, contract.hi, color="0.85", zorder=0, label="band of the contract")
    styles = ("-", "--", "-.", ":")
    for n, color, style in zip(counts, colors(len(counts)), styles * 2, strict=False):
        power = [contract.accept_probability(rate, n) for rate in rates]
        ax.plot(rates, power, style, color=color, label=f"{n:,} controls")
    ax.set(
        xlabel="true share of controls that alarm",
        ylabel="probability of acceptance",
        xlim=(0, 0.2),
        ylim=(0, 1.02),
    )
    ax.legend(fontsize="small")
    return fig


def interval_figure(
    groups: Mapping[str, Mapping[str, tuple[float, float, float]]],
    xlabel: str,
    *,
    null: float | None = None,
) -> Figure:
    """Draw estimates with intervals, one row each.

    Parameters
    ----------
    groups : mapping of str to mapping of str to (point, low, high)
        Series (a colour and a marker) by name, rows by name.
    xlabel : str
    null : float, optional
        Where no effect is.
    """
    rows = list(dict.fromkeys(name for group in groups.values() for name in group))
    height = 1.2 + 0.42 * len(rows)
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, height), layout="constrained")
    if null is not None:
        ax.axvline(null, color="0.5", lw=1, ls=":")
    offsets = np.linspace(-0.18, 0.18, len(groups)) if len(groups) > 1 else [0.0]
    for (name, group), color, marker, offset in zip(
        groups.items(), colors(len(groups)), MARKERS, offsets, strict=False
    ):
        at = np.array([rows.index(row) for row in group]) + offset
        points = np.array(list(group.values()))
        error = np.abs(points[:, 1:].T - points[:, 0])
        ax.errorbar(points[:, 0], at, xerr=error, fmt=marker, color=color, capsize=3, label=name)
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    if len(groups) > 1:
        ax.legend(fontsize="small")
    return fig


def timeline_figure(table: pd.DataFrame) -> Figure:
    """Draw event units on the clock of their day, with the stated collapse.

    Parameters
    ----------
    table : DataFrame
        From ``markets.timeline``.
    """
    days = sorted({unit.split("/")[0] for unit in table.index})
    fig: Figure
    fig, axes = plt.subplots(len(days), 1, figsize=(7, 1.5 * len(days)), layout="constrained")
    shades = dict(zip(("before", "across", "after"), colors(3), strict=True))
    hatches = {"before": "", "across": "//", "after": "xx"}
    for ax, day in zip(axes, days, strict=True):
        part = table[[unit.startswith(day) for unit in table.index]]
        for where, group in part.groupby("where"):
            starts = mdates.date2num(group["start"].dt.tz_localize(None))
            ends = mdates.date2num(group["end"].dt.tz_localize(None))
            ax.broken_barh(
                list(zip(starts, ends - starts, strict=True)),
                (0, 1),
                facecolor=shades[str(where)],
                hatch=hatches[str(where)],
                edgecolor="white",
            )
        ax.axvline(mdates.date2num(part["collapse"].iloc[0].tz_localize(None)), color="black", lw=2)
        ax.xaxis.set_major_locator(mdates.HourLocator(byhour=range(0, 24, 2)))
        ax.xaxis.set_major_formatter(mdates.DateFormatter("%H:%M"))
        ax.set_yticks([])
        ax.grid(False)
        ax.set_title(f"{part['collapse'].iloc[0]:%Y-%m-%d}", fontsize="medium")
    axes[-1].set_xlabel("time of day (UTC)")
    handles = [
        plt.matplotlib.patches.Patch(facecolor=shades[w], hatch=hatches[w], label=w) for w in shades
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=3, fontsize="small")
    return fig


def shumailov_figure(table: pd.DataFrame) -> Figure:
    """Draw gain, persistence and diversity by generation, runs as thin lines.

    Parameters
    ----------
    table : DataFrame
        From ``shumailov.witnesses``.
    """
    fig: Figure
    fig, axes = plt.subplots(1, 3, figsize=(7.4, 2.8), layout="constrained")
    labels = {"no_preservation": "no original data", "ten_pct_preservation": "10 % original data"}
    for (regime, part), color, marker in zip(
        table.groupby("regime", sort=False), colors(2), MARKERS, strict=False
    ):
        for ax, name in zip(axes, ("gain", "persistence", "diversity"), strict=True):
            for _, run in part.groupby("run"):
                ax.plot(run["generation"], run[name], color=color, lw=0.5, alpha=0.5)
            mean = part.groupby("generation")[name].mean()
            ax.plot(mean.index, mean, marker=marker, ms=4, color=color, label=labels[str(regime)])
    for ax, title in zip(
        axes,
        ("gain: second difference", "persistence: gap over largest", "diversity: 1 / spread"),
        strict=True,
    ):
        ax.set_title(title, fontsize="small")
        ax.set_xlabel("generation")
        ax.set_xticks(range(0, 10, 3))
    axes[2].set_yscale("log")
    axes[1].legend(fontsize="x-small")
    return fig


def rows_figure(explanations: Mapping[int, Explanation]) -> Figure:
    """Draw published counts by the set of trailing misses that alarm, beside the derived ones.

    Parameters
    ----------
    explanations : mapping of horizon to Explanation
    """
    tables = {horizon: one.rows for horizon, one in explanations.items()}
    first = next(iter(tables.values()))
    order = first.groupby("set")["controls"].median().sort_values().index.tolist()
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 0.9 + 0.36 * len(order)), layout="constrained")
    for (horizon, table), color, marker in zip(
        tables.items(), colors(len(tables)), MARKERS, strict=False
    ):
        at = [order.index(one) for one in table["set"]]
        ax.plot(table["controls"], at, marker, color=color, ms=9, fillstyle="none", ls="")
        ax.plot(table["predicted_controls"], at, ".", color=color, label=f"horizon {horizon}")
    counts = first.groupby("set").size()
    ax.set_yticks(range(len(order)), [f"{one}  ({counts[one]} rows)" for one in order])
    ax.set(xlabel="controls that alarm", ylabel="trailing misses that alarm")
    ax.set_ylim(-0.6, len(order) - 0.4)
    ax.legend(fontsize="small", loc="lower right")
    return fig


def roc_figure(points: pd.DataFrame, band: tuple[float, float]) -> Figure:
    """Draw the released points of Figure 7 with the band: low shares of controls on a log scale.

    Parameters
    ----------
    points : DataFrame
        From ``calibration.figure7``.
    band : (float, float)
    """
    fig: Figure
    fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.2), layout="constrained", sharey=True)
    for ax, domain, title in zip(
        axes, ("markets", "recsys"), ("markets", "recommender"), strict=True
    ):
        part = points[points["domain"] == domain]
        families = sorted(part["family"].unique())
        ax.axvspan(*band, color="0.85", zorder=0)
        for name, color, marker in zip(families, colors(len(families)), MARKERS, strict=False):
            some = part[part["family"] == name]
            names = {"ac1": "AC1", "cusum": "CUSUM", "page_hinkley": "Page-Hinkley"}
            label = names.get(name, name.removesuffix("_ews").replace("_", " "))
            ax.plot(some["fp"], some["tpr"], marker, color=color, fillstyle="none", label=label)
        ax.plot(np.geomspace(0.005, 1), np.geomspace(0.005, 1), color="0.5", lw=1, ls=":")
        ax.set_xscale("symlog", linthresh=0.005, linscale=0.3)
        ax.set(title=title, xlabel="share of controls that alarm", xlim=(-0.001, 1.1))
        ax.set_xticks([0, 0.01, 0.05, 0.2, 1], ["0", ".01", ".05", ".2", "1"])
        ax.legend(fontsize="x-small", loc="upper left")
    axes[0].set_ylabel("share of events that alarm")
    return fig


def cost_figure(table: pd.DataFrame) -> Figure:
    """Draw operations a value against the length of a series.

    Parameters
    ----------
    table : DataFrame
        One row a length, one column a detector: operations in all, for two units.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(6.6, 3.4), layout="constrained")
    for name, color, marker in zip(table, colors(table.shape[1]), MARKERS * 2, strict=False):
        a_value = table[name] / (2 * table.index.to_numpy())
        ax.loglog(table.index, a_value, marker + "-", color=color, label=name)
    ax.set(xlabel="values in a series", ylabel="operations a value")
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def study2_figure(rates: pd.DataFrame, tie: tuple[float, float]) -> Figure:
    """Draw hit rates at the four budgets, and the block of ties in which they lie.

    Parameters
    ----------
    rates : DataFrame
        One row a score, one column a budget.
    tie : (float, float)
        Hit rates at the two ends of the tie block of PC1.
    """
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    ax.fill_between(
        [0, 1], [tie[0], tie[0]], [tie[0], tie[1]], color="0.88", label="one block of equal PC1"
    )
    budgets = rates.columns.to_numpy(dtype=float)
    # Scores that hit alike at every budget are one line.
    alike: dict[tuple[float, ...], list[str]] = {}
    for name in rates.index:
        alike.setdefault(tuple(rates.loc[name].round(6)), []).append(str(name))
    for (hits, names), color, marker in zip(
        alike.items(), colors(len(alike)), MARKERS * 2, strict=False
    ):
        ax.plot(budgets, hits, marker + "-", color=color, label=",\n".join(names))
    ax.plot([0, 0.25], [0, 0.25], color="0.5", lw=1, ls=":", label="chance")
    ax.set(xlabel="budget: share of controls that alarm", ylabel="hit rate", xlim=(0, 0.25))
    ax.set_ylim(0, 0.75)
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def domain_figure(table: pd.DataFrame, band: tuple[float, float]) -> Figure:
    """Draw the false-alarm share that calibrated thresholds have on later data.

    Parameters
    ----------
    table : DataFrame
        From ``domains.calibrate_and_judge``; rows accepted in calibration are drawn.
    band : (float, float)
    """
    rows = table[table["calibrated"] == "accepted"]
    fig: Figure
    fig, axes = plt.subplots(
        1, 2, figsize=(7.4, 1.2 + 0.34 * len(rows)), layout="constrained", sharey=True
    )
    false_color, hit_color = colors(2)
    axes[0].axvspan(*band, color="0.85", zorder=0)
    for at, row in enumerate(rows.to_dict("records")):
        low, high = binomial(int(row["false_alarms"]), int(row["controls"])).ends
        fpr, tpr = float(row["fpr"]), float(row["tpr"])
        axes[0].errorbar(
            fpr, at, xerr=[[fpr - low], [high - fpr]], fmt=MARKERS[0], color=false_color, capsize=3
        )
        ends = float(row["low"]), float(row["high"])
        axes[1].errorbar(
            tpr,
            at,
            xerr=[[tpr - ends[0]], [ends[1] - tpr]],
            fmt=MARKERS[1],
            color=hit_color,
            capsize=3,
        )
    axes[0].set_yticks(range(len(rows)), list(rows.index))
    axes[0].invert_yaxis()
    axes[0].set_xlabel("share of controls that alarm")
    axes[1].set(xlabel="share of events that alarm", xlim=(-0.02, 1.02))
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
