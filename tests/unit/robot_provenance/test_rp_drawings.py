"""The lineage figure by hand: where each node stands, and how every mark is drawn."""

import pandas as pd
import pytest

from lib.core.figures import GROUND, PALETTE
from lib.robot_provenance.record import Activity, Entity, Generation, Records, Usage
from lib.robot_provenance.study import figures

DIGEST = "0123456789ab" + "cd" * 26


def entity(name: str, path: str = "", kind: str = "File") -> Entity:
    return Entity(f"urn:{name}", kind, f"label {name}", path, sha256=DIGEST)


def told() -> Records:
    """Two sources, four results: s -> first -> c; b and c -> z; c -> y."""
    entities = [
        entity("s", "inputs/s.json"),
        entity("c", "runs/r/c.json"),
        entity("b"),
        entity("k", "runs/r/result.json", "TestResult"),
        *(entity(f"t{i}", f"runs/r/t{i}.csv", "Traces") for i in range(3)),
        entity("x", "runs/other/t.csv", "Traces"),
        entity("n", "runs/r/notes.txt"),
    ]
    activities = [Activity(f"urn:{one}", f"Kind{one}", f"step {one}") for one in ("a", "z", "y")]
    used = [("a", "s"), ("z", "c"), ("z", "b"), ("y", "c")]
    made = [("c", "a"), ("k", "z"), ("t0", "y"), ("t1", "y"), ("t2", "y"), ("x", "y"), ("n", "y")]
    return Records(
        "demo",
        {},
        {},
        {one.id: one for one in entities},
        {one.id: one for one in activities},
        tuple(Usage(f"urn:{a}", f"urn:{e}") for a, e in used),
        tuple(Generation(f"urn:{e}", f"urn:{a}") for e, a in made),
        (),
        (),
        (),
        (),
    )


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, pd.DataFrame]:
    return figures.lineage_table(told(), "r")


@pytest.fixture(scope="module")
def spec() -> dict:
    return figures.lineage_explorer(told(), "r").to_dict()


def test_where_each_node_stands(table) -> None:
    nodes, _ = table
    rows = {row.label: (row.x, row.y) for row in nodes.itertuples()}
    # From the source to the results; of one place alike, the name decides; beside one another as
    # what they rest on, 1.1 a node and at most 3.2 in all.
    assert rows == {
        "s.json": (0, 0.0),
        "Kinda": (1, 0.0),
        "label b": (2, -1.1),
        "c.json": (2, 1.1),
        "Kindz": (3, -1.1),
        "Kindy": (3, 1.1),
        "result.json": (4, -1.6),
        "t0.csv": (4, -0.533333),
        "t1.csv": (4, 0.533333),
        "t2.csv": (4, 1.6),
    }
    assert nodes["id"].tolist() == [f"n{i}" for i in range(10)]


def test_what_each_node_says(table) -> None:
    nodes, _ = table
    rows = {row.label: (row.kind, row.detail) for row in nodes.itertuples()}
    assert rows["s.json"] == ("file or value", "inputs/s.json, sha256 0123456789ab…")
    assert rows["label b"] == ("file or value", "File, sha256 0123456789ab…")
    assert rows["Kindz"] == ("step", "step z")


def test_edges_join_the_places_of_their_nodes(table) -> None:
    nodes, edges = table
    label = dict(zip(nodes["id"], nodes["label"], strict=True))
    rows = {(label[r.a], label[r.b]): (r.x, r.y, r.x2, r.y2) for r in edges.itertuples()}
    assert len(rows) == len(edges) == 9
    assert rows["label b", "Kindz"] == (2, -1.1, 3, -1.1)
    assert rows["c.json", "Kindy"] == (2, 1.1, 3, 1.1)
    assert rows["Kindy", "t2.csv"] == (3, 1.1, 4, 1.6)


def test_the_picture(spec) -> None:
    assert (spec["width"], spec["height"]) == (560, 520)
    base, rule, halo, dots, lit, words = spec["layer"]
    assert base["mark"] == {"type": "rule", "color": "#cfcfcf"}
    assert rule["mark"] == {"type": "rule", "color": PALETTE["blue"], "strokeWidth": 2}
    font = {"type": "text", "dx": 10, "align": "left", "fontSize": 11}
    assert words["mark"] == font | {"color": "#262626"}
    assert halo["mark"] == font | {"stroke": GROUND, "strokeWidth": 4, "strokeJoin": "round"}
    point = {"type": "point", "filled": True, "size": 130, "opacity": 1}
    assert dots["mark"] == point | {"color": "#9a9a9a"}
    assert lit["mark"] == point | {"color": PALETTE["blue"]}
    for one in (base, rule, halo, dots, lit, words):
        x, y = one["encoding"]["x"], one["encoding"]["y"]
        assert (x["axis"], x["scale"]) == (None, {"domain": [-1.8, 2.5]})
        assert (y["axis"], y["scale"]) == (None, {"reverse": True, "padding": 12})
        assert (x["field"], y["field"]) == ("y", "x")
    assert dots["encoding"]["shape"]["scale"]["range"] == ["circle", "square"]
    for one in (rule, lit):
        (only,) = one["transform"]
        assert only["filter"] == "length(node.id) && datum.chosen == node.id[0]"
    for one in (base, halo, dots, words):
        assert "transform" not in one


def test_what_is_chosen_at_first(spec) -> None:
    (one,) = spec["params"]
    assert one["value"] == [{"id": "n9"}]
    assert one["bind"]["labels"][0] == "s.json (inputs/s.json)"
    assert one["bind"]["labels"][2] == "label b (File)"


def test_what_lights_up_with_a_node(spec) -> None:
    rows = [spec["datasets"][one["data"]["name"]] for one in spec["layer"]]
    lit = {(row["chosen"], row["label"]) for row in rows[4]}
    assert {b for a, b in lit if a == "n0"} == {"s.json"}
    assert {b for a, b in lit if a == "n6"} == {
        *("result.json", "Kindz", "label b", "c.json", "Kinda", "s.json")
    }
    # Each edge into something that is lit.
    chosen = {(row["chosen"], row["a"], row["b"]) for row in rows[1]}
    assert {(a, b) for who, a, b in chosen if who == "n3"} == {("n0", "n1"), ("n1", "n3")}


def test_a_run_alone_and_nothing_but_results() -> None:
    nodes, _ = figures.lineage_table(told(), "other")
    assert set(nodes["label"]) == {"s.json", "Kinda", "c.json", "Kindy", "t.csv"}
    assert set(nodes["y"]) == {0.0}
