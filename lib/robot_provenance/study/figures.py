"""Figures of the chapter: maps with trajectories, verdicts against labels, what each tool sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon

from lib.core.figures import MARKERS, PALETTE, colors
from lib.robot_provenance.campaign import Box, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.navsim import OUTCOMES, Run
from lib.robot_provenance.study.labels import Association

__all__ = [
    "ablation_figure",
    "fault_figure",
    "label_figure",
    "map_figure",
    "outcome_figure",
    "resolution_figure",
]

# Index 0 is unknown, 1 free, 2 occupied: the cells' values plus one.
_GROUND = ListedColormap(["#e2e2e2", "#ffffff", "#4d4d4d"])

_OUTCOME_COLORS: dict[str, str] = dict(
    zip(
        OUTCOMES,
        [
            PALETTE["blue"],
            PALETTE["vermillion"],
            PALETTE["orange"],
            PALETTE["purple"],
            PALETTE["sky"],
            PALETTE["grey"],
        ],
        strict=True,
    )
)
_HATCHES: dict[str, str] = dict(zip(OUTCOMES, ["", "//", "\\\\", "..", "xx", "--"], strict=True))


def _corners(box: Box) -> np.ndarray:
    half = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (box.length / 2, box.width / 2)
    turn = np.array([[np.cos(box.yaw), np.sin(box.yaw)], [-np.sin(box.yaw), np.cos(box.yaw)]])
    out: np.ndarray = half @ turn + (box.x, box.y)
    return out


def _draw(ax: Axes, grid: Grid, scenario: Scenario, run: Run) -> None:
    width, height = grid.size_m
    x0, y0 = grid.origin
    ax.imshow(
        grid.cells.astype(int) + 1,
        cmap=_GROUND,
        vmin=0,
        vmax=2,
        origin="lower",
        extent=(x0, x0 + width, y0, y0 + height),
        interpolation="nearest",
    )
    for box in scenario.boxes:
        ax.add_patch(Polygon(_corners(box), closed=True, facecolor="#9a9a9a", edgecolor="black"))
    if len(run.pose):
        ax.plot(run.pose[:, 0], run.pose[:, 1], color=_OUTCOME_COLORS[run.outcome])
    ax.plot(scenario.start.x, scenario.start.y, "o", color="black", ms=6)
    ax.plot(
        [g.x for g in scenario.goals],
        [g.y for g in scenario.goals],
        "*",
        color=PALETTE["vermillion"],
        ms=10,
    )
    ax.grid(False)
    ax.set_aspect("equal")
    ax.set_xlim(x0, x0 + width)
    ax.set_ylim(y0, y0 + height)


def map_figure(panels: Sequence[tuple[Grid, Scenario, Run]], columns: int = 3) -> Figure:
    """Draw runs on their maps: start a dot, goals stars, boxes grey, the path by outcome.

    Parameters
    ----------
    panels : sequence of (Grid, Scenario, Run)
        At least one.
    columns : int
        Maps side by side.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    if not panels:
        raise ValueError("no panel given, expected at least one")
    rows = -(-len(panels) // columns)
    fig: Figure
    fig, axes = plt.subplots(
        rows, columns, figsize=(7.2, 2.4 * rows), layout="constrained", squeeze=False
    )
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (grid, scenario, run) in zip(axes.flat, panels, strict=False):
        _draw(ax, grid, scenario, run)
        ax.set_title(f"{run.outcome.replace('_', ' ')}", fontsize="medium")
    for ax in axes[-1]:
        ax.set_xlabel("x (m)")
    for ax in axes[:, 0]:
        ax.set_ylabel("y (m)")
    return fig


def outcome_figure(table: pd.DataFrame, by: str) -> Figure:
    """Draw the share of each outcome, a bar for each group.

    Parameters
    ----------
    table : DataFrame
        With columns `by` and ``outcome``, one row a run.
    by : str
        Column to group by.

    Raises
    ------
    ValueError
        If there is no run, or an outcome is unknown.
    """
    if table.empty:
        raise ValueError("no run given, expected at least one row")
    unknown = sorted(set(table["outcome"]) - set(OUTCOMES))
    if unknown:
        raise ValueError(f"outcome {unknown[0]!r}, expected one of {', '.join(OUTCOMES)}")
    counts = pd.crosstab(table[by], table["outcome"])
    counts = counts.reindex(columns=[o for o in OUTCOMES if o in counts])
    shares = counts.div(counts.sum(axis=1), axis=0)
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 0.55 * len(shares) + 1.3), layout="constrained")
    left = np.zeros(len(shares))
    for outcome in shares.columns:
        width = shares[outcome].to_numpy()
        ax.barh(
            [f"{name} ({n})" for name, n in counts.sum(axis=1).items()],
            width,
            left=left,
            color=_OUTCOME_COLORS[outcome],
            hatch=_HATCHES[outcome],
            edgecolor="white",
            label=outcome.replace("_", " "),
        )
        left += width
    ax.set(xlabel="share of runs", xlim=(0, 1))
    ax.grid(False, axis="y")
    ax.invert_yaxis()
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.35 if len(shares) < 4 else -0.2),
        ncols=6,
        fontsize="small",
    )
    return fig


def label_figure(found: Mapping[str, Association]) -> Figure:
    """Draw log odds ratios of success between labels, over all scenarios and within maps.

    Parameters
    ----------
    found : mapping of str to Association
        One row each, in order; at least one.
    """
    if not found:
        raise ValueError("no association given, expected at least one")
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 0.7 * len(found) + 1.2), layout="constrained")
    names = list(found)
    for offset, (what, color, marker) in zip(
        (-0.12, 0.12),
        (("all", PALETTE["blue"], "o"), ("within maps", PALETTE["orange"], "s")),
        strict=True,
    ):
        for row, one in enumerate(found.values()):
            point, (low, high) = (
                (one.log_odds, one.interval) if what == "all" else (one.within, one.within_interval)
            )
            ax.errorbar(
                point,
                row + offset,
                xerr=[[point - low], [high - point]],
                color=color,
                marker=marker,
                capsize=3,
                ls="",
                label=what if row == 0 else None,
            )
    ax.axvline(0, color="black", lw=1)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("log odds ratio of success, label s over label f")
    ax.legend(loc="best", fontsize="small")
    return fig


def resolution_figure(report: Mapping[str, int]) -> Figure:
    """Draw what becomes of the scenarios' references to maps.

    Parameters
    ----------
    report : mapping of str to int
        From ``Resolution.report`` without repairs.
    """
    parts = {
        "map at its path": report["map found"],
        "another file name": report["slip: file name"],
        "another case": report["slip: case"],
        "another folder name": report["slip: folder"],
    }
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 2.1), layout="constrained")
    shades = [PALETTE["blue"], PALETTE["orange"], PALETTE["purple"], PALETTE["vermillion"]]
    bars = ax.barh(list(parts), list(parts.values()), color=shades)
    ax.bar_label(bars, padding=3)
    ax.set_xlabel("scenarios")
    ax.set_xlim(0, max(parts.values()) * 1.1)
    ax.grid(False, axis="y")
    ax.invert_yaxis()
    return fig


def fault_figure(table: pd.DataFrame) -> Figure:
    """Draw which tool reports which planted fault.

    Parameters
    ----------
    table : DataFrame of bool, shape (n_faults, n_tools)
        Index: faults; columns: tools.
    """
    if table.empty:
        raise ValueError("the table is empty, expected a row a fault and a column a tool")
    fig: Figure
    fig, ax = plt.subplots(figsize=(7.2, 0.29 * len(table) + 1.6), layout="constrained")
    ax.imshow(
        table.to_numpy().astype(int),
        cmap=ListedColormap(["#f1f1f1", PALETTE["blue"]]),
        aspect="auto",
        vmin=0,
        vmax=1,
    )
    for row, column in np.argwhere(table.to_numpy()):
        ax.text(column, row, "✓", color="white", ha="center", va="center", fontsize="small")
    totals = table.sum()
    ax.set_xticks(
        range(table.shape[1]),
        [f"{name}\n({totals[name]})" for name in table.columns],
        fontsize="small",
        rotation=35,
        ha="right",
    )
    ax.set_yticks(range(len(table)), list(table.index), fontsize="small")
    ax.set_xticks(np.arange(-0.5, table.shape[1]), minor=True)
    ax.set_yticks(np.arange(-0.5, len(table)), minor=True)
    ax.grid(False)
    ax.grid(True, which="minor", color="white", lw=1.5)
    ax.tick_params(which="both", length=0)
    ax.legend(
        handles=[
            Patch(color=PALETTE["blue"], label="reported"),
            Patch(color="#d9d9d9", label="not reported"),
        ],
        loc="lower center",
        bbox_to_anchor=(0.4, 1.0),
        ncols=2,
        fontsize="small",
    )
    return fig


def ablation_figure(table: pd.DataFrame) -> Figure:
    """Draw what each way of capturing answers and finds.

    Parameters
    ----------
    table : DataFrame
        Index: capture design; columns ``answered``, ``faults``, ``precision``, ``recall``: shares.
    """
    columns = {
        "answered": "questions answered",
        "faults": "faults found",
        "precision": "lineage precision",
        "recall": "lineage recall",
    }
    fig: Figure
    fig, ax = plt.subplots(figsize=(7.2, 0.62 * len(table) + 1.4), layout="constrained")
    rows = np.arange(len(table))
    for offset, (name, text), color, marker in zip(
        np.linspace(-0.27, 0.27, len(columns)),
        columns.items(),
        colors(len(columns)),
        MARKERS,
        strict=False,
    ):
        values = table[name].to_numpy(float)
        ax.hlines(rows + offset, 0, np.nan_to_num(values), color=color, lw=1.5)
        ax.plot(values, rows + offset, ls="", marker=marker, color=color, label=text)
    ax.set_yticks(rows, list(table.index))
    ax.invert_yaxis()
    ax.set(xlabel="share", xlim=(-0.02, 1.04))
    ax.grid(False, axis="y")
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.18), ncols=4, fontsize="small")
    return fig
