"""The lineage of one run, as a chart to click through without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd

from lib.core.figures import GROUND, PALETTE
from lib.robot_provenance.audit import run_of
from lib.robot_provenance.record import Records

if TYPE_CHECKING:
    import altair as alt

SPREAD = 1.6
"""Half the width of a row of nodes, in units of the picture."""


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
    whole = nx.DiGraph([(one.entity, one.activity) for one in records.usages])
    whole.add_edges_from((one.activity, one.entity) for one in records.generations)
    graph = whole.subgraph({*results}.union(*(nx.ancestors(whole, one) for one in results)))
    # From the results up, so that a file stands just above the step that uses it.
    levels = list(nx.topological_generations(graph.reverse()))[::-1]
    across: dict[str, float] = {}
    rows = []
    for level, members in enumerate(levels):
        # Under the middle of what a node rests on, so that fewer edges cross.
        mean = {n: np.mean([across[b] for b in graph.predecessors(n)] or [0]) for n in members}
        names = sorted(members, key=lambda name: (round(mean[name], 6), name))
        half = min(SPREAD, 0.55 * len(names)) if len(names) > 1 else 0.0
        for name, place in zip(names, np.linspace(-half, half, len(names)), strict=True):
            across[name] = round(float(place), 6)
            if name in records.entities:
                one = records.entities[name]
                label, kind = one.path.rpartition("/")[2] or one.label, "file or value"
                detail = f"{one.path or one.kind}, sha256 {one.sha256[:12]}…"
            else:
                step = records.activities[name]
                label, kind, detail = step.kind, "step", step.label
            rows.append((name, label, kind, level, across[name], detail))
    nodes = pd.DataFrame(rows, columns=["id", "label", "kind", "x", "y", "detail"])
    number = {name: f"n{i}" for i, name in enumerate(nodes["id"])}
    at = {row[0]: (row[3], row[4]) for row in rows}
    told = [(number[a], number[b], *at[a], *at[b]) for a, b in sorted(graph.edges, key=str)]
    edges = pd.DataFrame(told, columns=["a", "b", "x", "y", "x2", "y2"])
    return nodes.assign(id=nodes["id"].map(number)), edges


def lineage_explorer(records: Records, run: str) -> alt.LayerChart:
    """Return a chart of a run's lineage: a click, or a list, chooses what to look behind.

    Files are circles and steps squares, from source (top) to result (bottom).
    """
    import altair as alt

    nodes, edges = lineage_table(records, run)
    graph = nx.DiGraph(list(zip(edges["a"], edges["b"], strict=True)))
    # One row for each pair (chosen node, what it rests on): the figure has no program to walk.
    pairs = [(a, b) for a in nodes["id"] for b in sorted({a, *nx.ancestors(graph, a)})]
    chosen = pd.DataFrame(pairs, columns=["chosen", "id"])
    lit = chosen.merge(nodes, on="id")
    lit_edges = chosen.rename(columns={"id": "b"}).merge(edges, on="b")
    names = nodes["label"] + " (" + nodes["detail"].str.partition(", sha256")[0] + ")"
    listed = alt.binding_select(options=nodes["id"].tolist(), labels=names.tolist(), name="chosen ")
    start = [{"id": str(nodes["id"].iloc[-1])}]
    # Bound to a list, for the keyboard; the event is named, for else the list would replace it.
    how: dict[str, Any] = {"value": start, "bind": listed, "on": "click", "empty": False}
    pick = alt.selection_point(name="node", fields=["id"], **how)
    here = "length(node.id) && datum.chosen == node.id[0]"
    # From top to bottom: the ranks of the table are the rows of the picture.
    x = alt.X("y:Q", axis=None, scale=alt.Scale(domain=[-1.8, 2.5]))
    y = alt.Y("x:Q", axis=None, scale=alt.Scale(reverse=True, padding=12))
    marks = alt.Scale(domain=["file or value", "step"], range=["circle", "square"])
    shape = alt.Shape("kind:N", scale=marks, legend=alt.Legend(title=None, orient="top"))
    ends, tips = {"x": x, "y": y, "x2": "y2:Q", "y2": "x2:Q"}, ["label:N", "detail:N"]
    base = alt.Chart(edges).mark_rule(color="#cfcfcf").encode(**ends)
    rule = alt.Chart(lit_edges).mark_rule(color=PALETTE["blue"], strokeWidth=2).encode(**ends)

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
        dots(lit, PALETTE["blue"]).transform_filter(here),
        words.mark_text(color="#262626", **font),
    ]
    title = "blue: the chosen file or step, and all that it rests on; grey: the rest"
    return alt.layer(*layers).properties(width=560, height=520, title=title)
