"""The explorer draws the cells that the library enumerates, and computes in Vega what it clears."""

from __future__ import annotations

import json

import pytest

from lib.autobidding.bidders import Bidder
from lib.autobidding.study.constructions import B1
from lib.autobidding.study.interactive import market_explorer

MODELS = {"coarse": B1.coarse, "fine": B1.fine}


def explorer(**changes):
    options = {"names": ("A", "B"), "start": (30.0, 5.0), "limits": (80.0, 30.0), **changes}
    return market_explorer(
        options.pop("models", MODELS), options.pop("bidders", B1.bidders), **options
    )


def test_spec_holds_every_cell_of_both_models():
    text = json.dumps(explorer().to_dict())
    for label in ("A wins 0; welfare 3.23", "A wins 0, 1, 2; welfare 3.30", "A wins 0, 1, 2, 3"):
        assert label in text


def test_the_same_spec_twice():
    assert explorer().to_dict() == explorer().to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bidders": [Bidder("maxcpa", 1), Bidder("tcpa", 1)]}, "two tCPA bidders"),
        ({"bidders": [Bidder("tcpa", 1, 2), Bidder("tcpa", 1)]}, "without budgets"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        explorer(**changes)


def test_the_parts_have_their_sizes_and_the_sliders_their_ranges():
    spec = explorer().to_dict()
    plane, bids, metrics = spec["vconcat"]
    assert [(part["width"], part["height"]) for part in (plane, bids, metrics)] == [
        (340, 260),
        (340, 140),
        (280, 110),
    ]
    assert spec["spacing"] == 18
    assert spec["resolve"] == {"scale": {"color": "independent"}}
    first, second, model = spec["params"]
    assert (first["name"], first["value"]) == ("g1", 30.0)
    assert first["bind"] == {
        "input": "range", "min": 0, "max": 80.0, "step": 0.16, "name": "multiplier of A ",
    }  # fmt: skip
    assert (second["name"], second["value"]) == ("g2", 5.0)
    assert (second["bind"]["max"], second["bind"]["step"]) == (30.0, 0.06)
    assert (model["value"], model["bind"]["options"]) == ("coarse", ["coarse", "fine"])


def test_the_plane_draws_the_corners_of_each_cell_in_order():
    spec = explorer().to_dict()
    cells, point = spec["vconcat"][0]["layer"]
    assert cells["mark"]["interpolate"] == "linear-closed"
    assert cells["mark"]["filled"] is True
    assert cells["mark"]["clip"] is True
    assert cells["encoding"]["x"]["scale"] == {"domain": [0, 80.0], "nice": False}
    assert cells["encoding"]["y"]["scale"] == {"domain": [0, 30.0], "nice": False}
    rows = [
        row
        for row in spec["datasets"][cells["data"]["name"]]
        if row["model"] == "fine" and row["cell"].startswith("A wins 0;")
    ]
    (cell,) = [one for one in B1.equilibria("fine") if one.allocation == (0, 1, 1, 1)]
    assert [row["order"] for row in rows] == list(range(len(rows)))
    assert sorted((row["x"], row["y"]) for row in rows) == [
        pytest.approx(tuple(map(float, vertex))) for vertex in sorted(cell.vertices)
    ]
    assert point["mark"]["filled"] is True
    assert point["transform"] == [{"calculate": "g1", "as": "x"}, {"calculate": "g2", "as": "y"}]


def test_clusters_carry_mass_predictions_and_targets():
    spec = explorer().to_dict()
    layer = spec["vconcat"][1]
    rows = spec["datasets"][layer["data"]["name"]]
    assert rows[0] == {
        "model": "coarse", "cluster": "0", "w": 2.0, "p1": 0.125, "p2": 0.19, "t1": 10.0, "t2": 1.0,
    }  # fmt: skip
    assert [row["cluster"] for row in rows if row["model"] == "fine"] == ["0", "1", "2", "3"]
    calculated = {one["as"]: one["calculate"] for one in layer["transform"] if "calculate" in one}
    assert calculated["first"] == "datum.b1 >= datum.b2 ? 1 : 0"
    assert calculated["winner"] == "datum.first ? 'A' : 'B'"
    assert calculated["bidder"] == "datum['bid of'] == 'b1' ? 'A' : 'B'"
    color = layer["encoding"]["color"]["scale"]
    assert color["domain"] == ["A", "B"]
    assert color["range"][0] != color["range"][1]
    assert [one["value"] for one in (layer["encoding"]["opacity"],)] == [0.35]
    assert layer["encoding"]["opacity"]["condition"]["value"] == 1


def test_metrics_are_named_in_their_order_and_a_broken_target_has_its_colour():
    bars, text = explorer().to_dict()["vconcat"][2]["layer"]
    labels = ["revenue", "welfare", "A: cost / target", "B: cost / target"]
    assert bars["encoding"]["y"]["sort"] == labels
    assert bars["encoding"]["x"]["scale"] == {"domainMin": 0}
    calculated = {one["as"]: one["calculate"] for one in bars["transform"] if "calculate" in one}
    for key, label in zip(("revenue", "welfare", "ratio1", "ratio2"), labels, strict=True):
        assert f"datum.key == '{key}' ? '{label}'" in calculated["metric"]
    assert calculated["broken"].endswith("datum.amount > 1 + 1e-9")
    sums = next(one["aggregate"] for one in bars["transform"] if "aggregate" in one)
    assert {one["as"]: (one["op"], one["field"]) for one in sums} == {
        "revenue": ("sum", "paid"),
        **{name: ("sum", name) for name in ("conversions1", "conversions2", "spend1", "spend2")},
        "t1": ("max", "t1"),
        "t2": ("max", "t2"),
    }
    assert bars["mark"]["height"] == 14
    assert (text["mark"]["align"], text["mark"]["dx"]) == ("left", 4)
    color = bars["encoding"]["color"]
    assert color["condition"]["value"] != color["value"]
