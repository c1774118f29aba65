"""Interactive figure: the lineage of one run, to click through without a server."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from lib.core.figures import GROUND
from lib.robot_provenance.audit import run_of
from lib.robot_provenance.record import Records

if TYPE_CHECKING:
    import altair as alt

__all__ = ["lineage_explorer", "lineage_table"]

SPREAD = 1.6
"""Half the width of a row of nodes, in units of the picture."""


def lineage_table(records: Records, run: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the nodes and edges from a run's table row up to the floor-plan model.

    Parameters
    ----------
    records : Records
    run : str

    Returns
    -------
    nodes : DataFrame
        ``id``, ``label``, ``kind`` (file or step), ``x`` (column, from source to result), ``y``,
        ``detail``.
    edges : DataFrame
        ``a``, ``b`` (node ids), ``x``, ``y``, ``x2``, ``y2``: a comes before b.

    Raises
    ------
    ValueError
        If nothing is recorded of the run.
    """
    results = [
        one.id
        for one in records.entities.values()
        if one.kind in ("TestResult", "Traces") and run_of(one.path) == run
    ]
    if not results:
        raise ValueError(f"run {run!r}: no result or trace is recorded")
    made_by: dict[str, str] = {}
    for made in records.generations:
        made_by.setdefault(made.entity, made.activity)
    used: defaultdict[str, list[str]] = defaultdict(list)
    for usage in records.usages:
        used[usage.activity].append(usage.entity)
    depth: dict[str, int] = {}
    links: set[tuple[str, str]] = set()

    def visit(entity: str, level: int) -> None:
        """Walk from a file to the step that made it, and on to what that step used."""
        depth[entity] = max(depth.get(entity, 0), level)
        activity = made_by.get(entity)
        if activity is None:
            return
        links.add((activity, entity))
        depth[activity] = max(depth.get(activity, 0), level + 1)
        for source in used[activity]:
            links.add((source, activity))
            visit(source, level + 2)

    for result in results:
        visit(result, 0)
    top = max(depth.values())
    rows = []
    columns: defaultdict[int, list[str]] = defaultdict(list)
    for name, level in depth.items():
        columns[top - level].append(name)
    before: defaultdict[str, list[str]] = defaultdict(list)
    for source, target in links:
        before[target].append(source)
    across: dict[str, float] = {}

    def mean(name: str) -> float:
        """Return where the sources of a node lie, so that fewer edges cross."""
        known = [across[one] for one in before[name] if one in across]
        return round(sum(known) / len(known), 6) if known else 0.0

    for column, names in sorted(columns.items()):
        half = min(SPREAD, 0.55 * len(names)) if len(names) > 1 else 0.0
        step = 2 * half / max(len(names) - 1, 1)
        for place, name in enumerate(sorted(names, key=lambda one: (mean(one), one))):
            y = across[name] = round(place * step - half, 6)
            if name in records.entities:
                entity = records.entities[name]
                label = entity.path.rpartition("/")[2] if entity.path else entity.label
                detail = f"{entity.path or entity.kind}, sha256 {entity.sha256[:12]}…"
                rows.append((name, label, "file or value", column, y, detail))
            else:
                activity = records.activities[name]
                detail = activity.label
                rows.append((name, activity.kind, "step", column, y, detail))
    nodes = pd.DataFrame(rows, columns=["id", "label", "kind", "x", "y", "detail"])
    nodes = nodes.sort_values(["x", "y"], ignore_index=True)
    number = {name: f"n{i}" for i, name in enumerate(nodes["id"])}
    at: dict[Any, tuple[float, float]] = {
        row["id"]: (float(row["x"]), float(row["y"])) for row in nodes.to_dict("records")
    }
    edges = pd.DataFrame(
        [(number[a], number[b], *at[a], *at[b]) for a, b in sorted(links)],
        columns=["a", "b", "x", "y", "x2", "y2"],
    )
    nodes["id"] = nodes["id"].map(number)
    return nodes, edges


def _ancestors(edges: pd.DataFrame, start: str) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        for before in edges.loc[edges["b"] == here, "a"]:
            if before not in found:
                found.add(before)
                waiting.append(before)
    return found


def lineage_explorer(records: Records, run: str) -> alt.LayerChart:
    """Return a chart of a run's lineage; a click on a node shows all that it rests on.

    Parameters
    ----------
    records : Records
    run : str

    Returns
    -------
    altair.LayerChart
        Files as circles and steps as squares, from source (top) to result (bottom).
    """
    import altair as alt

    nodes, edges = lineage_table(records, run)
    last = str(nodes["id"].iloc[-1])
    # One row for each pair (chosen node, what it rests on): the figure has no program to walk.
    chosen = pd.DataFrame(
        [(start, node) for start in nodes["id"] for node in sorted(_ancestors(edges, start))],
        columns=["chosen", "id"],
    )
    lit = chosen.merge(nodes, on="id")
    lit_edges = chosen.rename(columns={"id": "b"}).merge(edges, on="b")
    pick = alt.selection_point(
        name="node", fields=["id"], value=[{"id": last}], on="click", empty=False
    )
    here = "length(node.id) && datum.chosen == node.id[0]"
    # From top to bottom: the columns of the table are the rows of the picture.
    x = alt.X("y:Q", axis=None, scale=alt.Scale(domain=[-1.8, 2.5]))
    y = alt.Y("x:Q", axis=None, scale=alt.Scale(reverse=True, padding=12))
    shape = alt.Shape(
        "kind:N",
        scale=alt.Scale(domain=["file or value", "step"], range=["circle", "square"]),
        legend=alt.Legend(title=None, orient="top"),
    )
    base = alt.Chart(edges).mark_rule(color="#cfcfcf").encode(x=x, y=y, x2="y2:Q", y2="x2:Q")
    path = (
        alt.Chart(lit_edges)
        .mark_rule(color="#005a9c", strokeWidth=2)
        .encode(x=x, y=y, x2="y2:Q", y2="x2:Q")
        .transform_filter(here)
    )
    points = (
        alt.Chart(nodes)
        .mark_point(filled=True, size=130, color="#9a9a9a", opacity=1)
        .encode(x=x, y=y, shape=shape, tooltip=["label:N", "detail:N"])
        .add_params(pick)
    )
    shining = (
        alt.Chart(lit)
        .mark_point(filled=True, size=130, color="#005a9c", opacity=1)
        .encode(x=x, y=y, shape=shape, tooltip=["label:N", "detail:N"])
        .transform_filter(here)
    )
    words = alt.Chart(nodes).encode(x=x, y=y, text="label:N")
    # A halo in the colour of the ground keeps words readable where edges run behind them.
    halo = words.mark_text(
        dx=10, align="left", fontSize=11, stroke=GROUND, strokeWidth=4, strokeJoin="round"
    )
    text = words.mark_text(dx=10, align="left", fontSize=11, color="#262626")
    return (base + path + halo + points + shining + text).properties(width=560, height=520)
