"""The lineage of a run, as a table and as a figure that needs no server."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from lib.robot_provenance.record import Records
from lib.robot_provenance.study import embedded
from lib.robot_provenance.study.figures import lineage_explorer, lineage_table

RUN = f"{embedded.SLIP}-s3"


@pytest.fixture(scope="module")
def table(recorded: Records) -> tuple[pd.DataFrame, pd.DataFrame]:
    return lineage_table(recorded, RUN)


def test_columns_and_ids(table: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    nodes, edges = table
    assert list(nodes.columns) == ["id", "label", "kind", "x", "y", "detail"]
    assert list(edges.columns) == ["a", "b", "x", "y", "x2", "y2"]
    assert nodes["id"].is_unique
    assert set(edges["a"]) | set(edges["b"]) == set(nodes["id"])
    assert set(nodes["kind"]) == {"file or value", "step"}
    assert not nodes.isna().any().any()
    # Two nodes at one place would hide one another.
    assert not nodes.duplicated(["x", "y"]).any()


def test_edges_lead_down_so_there_is_no_cycle(table: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    nodes, edges = table
    assert (edges["x"] < edges["x2"]).all()
    at = nodes.set_index("id")[["x", "y"]]
    assert (at.loc[edges["a"]].to_numpy() == edges[["x", "y"]].to_numpy()).all()
    assert (at.loc[edges["b"]].to_numpy() == edges[["x2", "y2"]].to_numpy()).all()
    kind = nodes.set_index("id")["kind"]
    assert (kind[edges["a"]].to_numpy() != kind[edges["b"]].to_numpy()).all()


def test_it_goes_from_the_floor_plan_to_the_trace(
    table: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    nodes, edges = table
    label = dict(zip(nodes["id"], nodes["label"], strict=True))
    first = {label[one] for one in set(nodes["id"]) - set(edges["b"])}
    last = {label[one] for one in set(nodes["id"]) - set(edges["a"])}
    assert last == {"trace.csv", "result.json"}
    steps = {"FloorPlanTransformation", "FloorPlanGeneration", "TestExecution", "Postprocessing"}
    assert steps <= set(nodes["label"])
    assert {"narrow.model.json", "campaign.vast", f"{embedded.SLIP} as declared"} <= set(
        label.values()
    )
    assert "narrow.model.json" not in first, "an acquisition comes before it"
    # Nothing of another run, and of no other map.
    others = [one for one in nodes["detail"] if "runs/" in one and RUN not in one]
    assert others == []


def test_an_unknown_run(recorded: Records) -> None:
    with pytest.raises(ValueError, match="run 'nobody-s0': no result or trace is recorded"):
        lineage_table(recorded, "nobody-s0")
    with pytest.raises(ValueError, match="no result or trace"):
        lineage_explorer(recorded, "")


def test_the_chart_is_small_and_the_same_twice(recorded: Records) -> None:
    texts = [lineage_explorer(recorded, RUN).to_json(indent=None) for _ in range(2)]
    assert texts[0] == texts[1]
    assert len(texts[0]) < 120_000
    told = json.loads(texts[0])
    assert len(told["layer"]) == 6
    assert "http" not in json.dumps({k: v for k, v in told.items() if k != "$schema"})


def test_a_click_lights_what_a_node_rests_on(recorded: Records) -> None:
    nodes, edges = lineage_table(recorded, RUN)
    told = lineage_explorer(recorded, RUN).to_dict()
    lit = next(
        rows for rows in told["datasets"].values() if {"chosen", "id", "label"} <= set(rows[0])
    )
    start = nodes.loc[nodes["label"] == "trace.csv", "id"].iloc[0]
    found = {row["id"] for row in lit if row["chosen"] == start}
    wanted, waiting = {start}, {start}
    while waiting:
        waiting = set(edges.loc[edges["b"].isin(waiting), "a"]) - wanted
        wanted |= waiting
    assert found == wanted


def test_a_list_chooses_by_name_for_the_keyboard(recorded: Records) -> None:
    nodes, _ = lineage_table(recorded, RUN)
    told = lineage_explorer(recorded, RUN).to_dict()
    (one,) = told["params"]
    assert one["bind"]["input"] == "select"
    assert one["bind"]["options"] == nodes["id"].tolist()
    assert one["value"] == [{"id": nodes["id"].iloc[-1]}]
    assert one["select"]["on"] == "click", "the mouse chooses as well"
    names = one["bind"]["labels"]
    assert len(set(names)) == len(names), "no two entries of the list read alike"
    assert f"trace.csv (runs/{RUN}/trace.csv)" in names
    assert "sha256" not in "".join(names)
    assert told["title"].startswith("blue: the chosen")
