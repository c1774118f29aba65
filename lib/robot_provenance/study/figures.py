"""Figures of the chapter: maps, doors, labels, tools against faults, tellings, lineage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon

from lib.core.figures import GROUND, MARKERS, PALETTE, colors
from lib.robot_provenance.audit import run_of
from lib.robot_provenance.campaign import Box, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.record import Records
from lib.robot_provenance.study.labels import Association
from lib.robot_provenance.study.navsim import OUTCOMES, Run

if TYPE_CHECKING:
    import altair as alt

# Index 0 is unknown, 1 free, 2 occupied: the cells' values plus one.
_MAP = ListedColormap(["#e2e2e2", "#ffffff", "#4d4d4d"])
_SHADES = ("blue", "vermillion", "orange", "purple", "sky", "grey")
_OUTCOME_COLORS: dict[str, str] = {
    o: PALETTE[shade] for o, shade in zip(OUTCOMES, _SHADES, strict=True)
}
_UNSEEN = "#e4e4e4"
SPREAD = 1.6
"""Half the width of a row of nodes, in units of the picture."""


def _corners(box: Box) -> np.ndarray:
    half = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (box.length / 2, box.width / 2)
    turn = np.array([[np.cos(box.yaw), np.sin(box.yaw)], [-np.sin(box.yaw), np.cos(box.yaw)]])
    out: np.ndarray = half @ turn + (box.x, box.y)
    return out


def _draw(ax: Axes, grid: Grid, scenario: Scenario, run: Run) -> None:
    (width, height), (x0, y0) = grid.size_m, grid.origin
    extent = (x0, x0 + width, y0, y0 + height)
    cells = grid.cells.astype(int) + 1
    ax.imshow(
        cells, cmap=_MAP, vmin=0, vmax=2, origin="lower", extent=extent, interpolation="nearest"
    )
    for box in scenario.boxes:
        ax.add_patch(Polygon(_corners(box), closed=True, facecolor="#9a9a9a", edgecolor="black"))
    if len(run.pose):
        ax.plot(run.pose[:, 0], run.pose[:, 1], color=_OUTCOME_COLORS[run.outcome])
    ax.plot(scenario.start.x, scenario.start.y, "o", color="black", ms=6)
    for goal in scenario.goals:
        ax.plot(goal.x, goal.y, "*", color=PALETTE["vermillion"], ms=10)
    ax.grid(False)
    ax.set_aspect("equal")
    ax.set(xlim=extent[:2], ylim=extent[2:])
    ax.set_title(run.outcome.replace("_", " "), fontsize="medium")


def map_figure(panels: Sequence[tuple[Grid, Scenario, Run]], columns: int = 3) -> Figure:
    """Draw runs on their maps: start a dot, goals stars, boxes grey, the path by outcome.

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
    for ax, panel in zip(axes.flat, panels, strict=False):
        _draw(ax, *panel)
    for ax in axes[-1]:
        ax.set_xlabel("x (m)")
    for ax in axes[:, 0]:
        ax.set_ylabel("y (m)")
    return fig


def door_figure(widths: Mapping[str, float], grids: Mapping[str, str]) -> Figure:
    """Draw which folders, named after a width of the door, hold one grid.

    Parameters
    ----------
    widths : mapping of str to float
        Width in m that a folder's name says.
    grids : mapping of str to str
        Digest of the grid in each folder.
    """
    order = sorted(
        set(grids.values()), key=lambda d: min(widths[f] for f in grids if grids[f] == d)
    )
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 0.4 * len(order) + 1.2), layout="constrained")
    for row, digest in enumerate(order):
        shown = sorted((widths[one], one) for one in grids if grids[one] == digest)
        xs = [width for width, _ in shown]
        ax.plot(xs, [row] * len(xs), "-", color=PALETTE["grey"], lw=1.5, zorder=1)
        for other, mark, color in ((False, "o", "blue"), (True, "D", "vermillion")):
            part = [x for x, name in shown if name.startswith("door") == other]
            ax.plot(part, [row + 0.18 * other] * len(part), mark, color=PALETTE[color], ms=6)
        ax.text(max(xs) + 0.006, row, f"{len(shown)}", va="center", fontsize="small")
    ax.set_yticks(range(len(order)), [f"grid {one[:6]}…" for one in order], fontsize="small")
    ax.invert_yaxis()
    ax.set_xlabel("width of the door by the folder's name (m)")
    return fig


def label_figure(found: Mapping[str, Association]) -> Figure:
    """Draw log odds ratios of success between labels, over all scenarios and within maps."""
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 0.55 * len(found) + 1.2), layout="constrained")
    kinds = ((-0.12, "all maps", "blue", "o"), (0.12, "within maps", "orange", "s"))
    for offset, what, color, marker in kinds:
        for row, one in enumerate(found.values()):
            point, (low, high) = (
                (one.log_odds, one.interval) if offset < 0 else (one.within, one.within_interval)
            )
            ax.errorbar(
                point,
                row + offset,
                xerr=[[point - low], [high - point]],
                color=PALETTE[color],
                marker=marker,
                capsize=3,
                ls="",
                label=None if row else what,
            )
    ax.axvline(0, color="black", lw=1)
    ax.set_yticks(range(len(found)), list(found))
    ax.invert_yaxis()
    ax.set_xlabel("log odds ratio of success, label s over label f")
    ax.legend(loc="best", fontsize="small")
    return fig


def fault_figure(table: pd.DataFrame) -> Figure:
    """Draw which tool (columns) reports which planted fault (rows)."""
    fig: Figure
    fig, ax = plt.subplots(figsize=(7.2, 0.29 * len(table) + 1.6), layout="constrained")
    shades = ListedColormap([_UNSEEN, PALETTE["blue"]])
    ax.imshow(table.to_numpy().astype(int), cmap=shades, aspect="auto", vmin=0, vmax=1)
    for row, column in np.argwhere(table.to_numpy()):
        ax.text(column, row, "✓", color="white", ha="center", va="center", fontsize="small")
    names = [f"{name}\n({total})" for name, total in table.sum().items()]
    ax.set_xticks(range(table.shape[1]), names, fontsize="small", rotation=35, ha="right")
    ax.set_yticks(range(len(table)), list(table.index), fontsize="small")
    ax.set_xticks(np.arange(-0.5, table.shape[1]), minor=True)
    ax.set_yticks(np.arange(-0.5, len(table)), minor=True)
    ax.grid(False)
    ax.grid(True, which="minor", color="white", lw=1.5)
    ax.tick_params(which="both", length=0)
    told = [
        Patch(color=PALETTE["blue"], label="reported"),
        Patch(color=_UNSEEN, label="not reported"),
    ]
    ax.legend(handles=told, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2, fontsize="small")
    return fig


def telling_figure(table: pd.DataFrame) -> Figure:
    """Draw shares (columns) of what each way of telling a campaign (rows) answers and finds."""
    fig: Figure
    fig, axes = plt.subplots(
        1, table.shape[1], figsize=(7.2, 0.42 * len(table) + 1.3), sharey=True, layout="constrained"
    )
    shades = zip(axes, table, colors(table.shape[1]), MARKERS, strict=False)
    for ax, column, color, marker in shades:
        values, rows = table[column].to_numpy(float), np.arange(len(table))
        ax.hlines(rows, 0, np.nan_to_num(values), color=color, lw=2)
        ax.plot(values, rows, marker, color=color)
        for row in rows[np.isnan(values)]:
            ax.text(0, row, "none", va="center", fontsize="small")
        ax.set(xlim=(-0.04, 1.1), title="")
        ax.set_xlabel(str(column).replace(", ", ",\n"), fontsize="small")
        ax.grid(False, axis="y")
    axes[0].set_yticks(range(len(table)), list(table.index))
    axes[0].set_ylim(len(table) - 0.5, -0.5)
    return fig


# --- the lineage of one run, to click through without a server -----------------------------------


def lineage_table(records: Records, run: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the nodes and edges from a run's results up to the floor-plan model.

    Returns
    -------
    nodes : DataFrame
        ``id``, ``label``, ``kind`` (file or value, step), ``x`` (rank, from source to result),
        ``y``, ``detail``.
    edges : DataFrame
        ``a``, ``b`` (node ids), ``x``, ``y``, ``x2``, ``y2``: a comes before b.

    Raises
    ------
    ValueError
        If nothing is recorded of the run.
    """
    kinds = ("TestResult", "Traces")
    results = [e.id for e in records.entities.values() if e.kind in kinds and run_of(e.path) == run]
    if not results:
        raise ValueError(f"run {run!r}: no result or trace is recorded")
    made_by = {one.entity: one.activity for one in reversed(records.generations)}
    used: defaultdict[str, list[str]] = defaultdict(list)
    for usage in records.usages:
        used[usage.activity].append(usage.entity)
    depth: dict[str, int] = {}
    links: set[tuple[str, str]] = set()

    def visit(entity: str, level: int) -> None:
        """Walk from a file to the step that made it, and on to what that step used."""
        depth[entity] = max(depth.get(entity, 0), level)
        activity = made_by.get(entity)
        if activity is not None:
            links.add((activity, entity))
            depth[activity] = max(depth.get(activity, 0), level + 1)
            for source in used[activity]:
                links.add((source, activity))
                visit(source, level + 2)

    for result in results:
        visit(result, 0)
    top = max(depth.values())
    before: defaultdict[str, list[str]] = defaultdict(list)
    for source, target in sorted(links):
        before[target].append(source)
    across: dict[str, float] = {}

    def mean(name: str) -> float:
        """Return where the sources of a node lie, so that fewer edges cross."""
        known = [across[one] for one in before[name] if one in across]
        return round(sum(known) / len(known), 6) if known else 0.0

    rows = []
    for level in range(top, -1, -1):
        names = sorted((n for n in depth if depth[n] == level), key=lambda n: (mean(n), n))
        half = min(SPREAD, 0.55 * len(names)) if len(names) > 1 else 0.0
        for place, name in enumerate(names):
            across[name] = round(2 * half * place / max(len(names) - 1, 1) - half, 6)
            if name in records.entities:
                one = records.entities[name]
                label = one.path.rpartition("/")[2] or one.label
                detail = f"{one.path or one.kind}, sha256 {one.sha256[:12]}…"
                rows.append((name, label, "file or value", top - level, across[name], detail))
            else:
                act = records.activities[name]
                rows.append((name, act.kind, "step", top - level, across[name], act.label))
    nodes = pd.DataFrame(rows, columns=["id", "label", "kind", "x", "y", "detail"])
    nodes = nodes.sort_values(["x", "y"], ignore_index=True)
    number = {name: f"n{i}" for i, name in enumerate(nodes["id"])}
    at: dict[Any, tuple[float, float]] = {r[0]: (r[3], r[4]) for r in rows}
    edges = pd.DataFrame(
        [(number[a], number[b], *at[a], *at[b]) for a, b in sorted(links)],
        columns=["a", "b", "x", "y", "x2", "y2"],
    )
    nodes["id"] = nodes["id"].map(number)
    return nodes, edges


def _rests_on(edges: pd.DataFrame, start: str) -> list[str]:
    found, waiting = {start}, {start}
    while waiting:
        waiting = set(edges.loc[edges["b"].isin(waiting), "a"]) - found
        found |= waiting
    return sorted(found)


def lineage_explorer(records: Records, run: str) -> alt.LayerChart:
    """Return a chart of a run's lineage; a click on a node shows all that it rests on.

    Files are circles and steps squares, from source (top) to result (bottom).
    """
    import altair as alt

    nodes, edges = lineage_table(records, run)
    # One row for each pair (chosen node, what it rests on): the figure has no program to walk.
    chosen = pd.DataFrame(
        [(start, node) for start in nodes["id"] for node in _rests_on(edges, start)],
        columns=["chosen", "id"],
    )
    lit = chosen.merge(nodes, on="id")
    lit_edges = chosen.rename(columns={"id": "b"}).merge(edges, on="b")
    last = str(nodes["id"].iloc[-1])
    pick = alt.selection_point(
        name="node", fields=["id"], value=[{"id": last}], on="click", empty=False
    )
    here = "length(node.id) && datum.chosen == node.id[0]"
    # From top to bottom: the ranks of the table are the rows of the picture.
    x = alt.X("y:Q", axis=None, scale=alt.Scale(domain=[-1.8, 2.5]))
    y = alt.Y("x:Q", axis=None, scale=alt.Scale(reverse=True, padding=12))
    shape = alt.Shape(
        "kind:N",
        scale=alt.Scale(domain=["file or value", "step"], range=["circle", "square"]),
        legend=alt.Legend(title=None, orient="top"),
    )
    ends, tips = {"x": x, "y": y, "x2": "y2:Q", "y2": "x2:Q"}, ["label:N", "detail:N"]
    base = alt.Chart(edges).mark_rule(color="#cfcfcf").encode(**ends)
    rule = alt.Chart(lit_edges).mark_rule(color="#005a9c", strokeWidth=2).encode(**ends)

    def dots(table: pd.DataFrame, color: str) -> alt.Chart:
        made = alt.Chart(table).mark_point(filled=True, size=130, color=color, opacity=1)
        return made.encode(x=x, y=y, shape=shape, tooltip=tips)

    words = alt.Chart(nodes).encode(x=x, y=y, text="label:N")
    # A halo in the colour of the ground keeps words readable where edges run behind them.
    font = {"dx": 10, "align": "left", "fontSize": 11}
    halo = words.mark_text(stroke=GROUND, strokeWidth=4, strokeJoin="round", **font)
    layers = [
        base,
        rule.transform_filter(here),
        halo,
        dots(nodes, "#9a9a9a").add_params(pick),
        dots(lit, "#005a9c").transform_filter(here),
        words.mark_text(color="#262626", **font),
    ]
    return alt.layer(*layers).properties(width=560, height=520)
