"""Figures draw what they are given; the explorer is a whole specification; printing rounds."""

import numpy as np
import pandas as pd
import pytest

from lib.compute_governance.exposure import frontier
from lib.compute_governance.hardware import CHIPS, Node
from lib.compute_governance.planner import plan
from lib.compute_governance.regime import Regime
from lib.compute_governance.study import figures as plots
from lib.compute_governance.study import tables
from lib.compute_governance.study.searches import at_nodes, author_search, grid_best
from lib.compute_governance.study.uncertainty import sobol_indices

H100 = Node(CHIPS["H100"], 16, "FP8")
GAPS = pd.DataFrame(
    {"gap": [0.1, 0.2], "low": [0.05, 0.1], "high": [0.15, 0.4], "kB": [10.0, 1.0]},
    index=[5, 20],
)


def drawn(ax):
    return [(np.asarray(x).tolist(), np.asarray(y).tolist()) for x, y in
            (line.get_data() for line in ax.get_lines())]  # fmt: skip


def names(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_nodes_and_island():
    pair = (np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.5, 1.7]))
    left, right = plots.nodes_figure([1, 2, 4], {"a": pair}, [2.0]).axes
    assert drawn(left)[1] == ([1, 2, 4], [1.0, 2.0, 3.0])
    assert drawn(left)[0][1] == [2.0, 2.0]
    assert drawn(right) == [([1, 2, 4], [1.0, 1.5, 1.7])]
    assert (left.get_title(), right.get_title()) == ("C_local", "C_quality")
    best = grid_best(at_nodes([H100], np.arange(2, 300)), "c_local")
    (ax,) = plots.island_figure(best, [5, 299, 10_000], 250, 104).axes
    flat, pipe, ticks = drawn(ax)
    assert len(flat[0]) + len(pipe[0]) == 298
    assert max(flat[0]) < min(pipe[0])
    assert ticks[0] == [5, 299]
    assert set(ticks[1]) == {float(best.c_local.min())}
    marks = [text for text in ax.texts if ":" in text.get_text()]
    assert [m.get_text() for m in marks] == ["smallest: 104", "found: 250"]
    assert [m.xy[1] for m in marks] == [float(best.c_local[102]), float(best.c_local[248])]


def test_costs():
    costs = pd.DataFrame({"target": [1e24, 1e25], "author": [2.0, 3.0], "branch": [2.0, 1.0]})
    (ax,) = plots.search_figure(costs).axes
    assert drawn(ax) == [([2.0, 3.0], [0, 1]), ([2.0, 1.0], [0, 1])]
    assert names(ax) == ["published search", "branch-wise search"]
    assert ax.get_xscale() == "log"
    rates = pd.DataFrame({"mbps": [10, 100], "author": [9.0, 2.0], "branch": [3.0, 2.0]})
    (ax,) = plots.bandwidth_figure(rates, {"x": (50.0, 2.5)}).axes
    assert drawn(ax)[2] == ([50.0], [2.5])
    assert names(ax)[2] == "x"
    cap = pd.DataFrame({"metric": ["a", "b"], "target": [1, 1], "free": [1, 1], "capped": [1, 2]})
    left, right = plots.cap_figure(cap).axes
    assert (drawn(left)[1][1], drawn(right)[1][1]) == ([1], [2])
    size = pd.DataFrame({"metric": ["a", "b"], "chip": "X", "count": [1, 2], "cost_usd": [1, 2]})
    left, right = plots.node_size_figure(size).axes
    assert (drawn(left), drawn(right)) == ([([1], [1])], [([2], [2])])


def test_halvings_add_up():
    found = plan(H100, 2, 91e9)
    (ax,) = plots.decomposition_figure({"1e24": found}).axes
    widths = [patch.get_width() for patch in ax.patches]
    assert sum(widths[:-1]) == pytest.approx(-np.log2(found.value("eta")))
    assert widths[-1] == pytest.approx(-np.log2(found.value("chi")))
    assert ax.patches[2].get_x() == pytest.approx(widths[0] + widths[1])


def test_failures_and_amplification():
    chips = np.array([1e3, 1e4])
    (ax,) = plots.failures_figure(chips, {"a": np.array([1.0, 0.5])}).axes
    assert drawn(ax) == [([1e3, 1e4], [1.0, 0.5])]
    (ax,) = plots.amplification_figure(chips / 1e4, chips / 1e4, (0.3, 0.4), 0.35).axes
    assert drawn(ax)[1] == ([0.1, 1.0], [10.0, 100.0])
    assert drawn(ax)[0][0] == [0.35, 0.35]


def test_quantiles_are_where_they_belong():
    values = np.linspace(0, 1, 101)
    (ax,) = plots.detection_figure({"p": {"a": values, "b": values}}).axes
    ends, quartiles, middle = drawn(ax)[:3]
    assert ends[0] == pytest.approx([0.05, 0.95])
    assert quartiles[0] == pytest.approx([0.25, 0.75])
    assert middle[0] == pytest.approx([0.5])
    assert ends[1] == pytest.approx([-0.12, -0.12])
    assert drawn(ax)[3][1] == pytest.approx([0.12, 0.12])
    broken = {"a": np.array([1.0, 2.0, np.inf]), "b": np.array([1.0, 3.0, 4.0])}
    (ax,) = plots.interval_figure({"p": broken}, {"p": 2.0}, "x").axes
    assert drawn(ax)[2][0] == [1.5]
    assert ([2.0, 2.0], [-0.38, 0.38]) in drawn(ax)


def test_shares_inspections_and_alarms():
    shares = pd.DataFrame([[0.25, 0.25, 0.4, 0.1]], index=["p"], columns=list("abcd"))
    (ax,) = plots.leader_figure(shares).axes
    assert [p.get_x() for p in ax.patches] == pytest.approx([0, 0.25, 0.5, 0.9])
    (ax,) = plots.inspection_figure({"a": ([1, 2], [0.1, 0.2])}).axes
    assert drawn(ax)[0] == ([1, 2], [0.1, 0.2])
    assert drawn(ax)[1][1] == [0.95, 0.95]
    x = np.geomspace(1e-6, 0.5, 5)
    (ax,) = plots.ppv_figure(x, {"a": x}, [0.1]).axes
    assert drawn(ax)[0] == (x.tolist(), x.tolist())
    assert drawn(ax)[1][0] == [0.1, 0.1]


def test_the_frontier_and_the_indices():
    table = frontier(1e25, [H100], (16.0, 1.0), (None,), metric="c_quality")
    (ax,) = plots.frontier_figure({"C_quality": table}, 17).axes
    assert ax.get_xlabel() == "systems covered, of 17"
    assert len(drawn(ax)) == 3
    assert drawn(ax)[2][0] == sorted(drawn(ax)[2][0])
    found = sobol_indices(plan(H100, 2, 91e9), "c_local", 16, seed=0).table
    (ax,) = plots.sobol_figure({"a": found}, {k: k for k in found.index}).axes
    assert [p.get_width() for p in ax.patches[: len(found)]] == found["total"].tolist()
    assert drawn(ax)[-1][0] == found["first"].tolist()


def test_training_figures():
    codec = GAPS.rename(columns={"gap": "change"}).assign(bits=[32.0, 4.125])
    (ax,) = plots.codec_figure(codec.set_axis(["x", "y"])).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x, 32 bits", "y, 4.12 bits"]
    (ax,) = plots.bytes_figure(GAPS.assign(family=["u", "v"])).axes
    steps = next(line for line in ax.get_lines() if line.get_zorder() == 0)
    assert steps.get_xdata().tolist() == [1.0, 10.0]
    (ax,) = plots.gap_figure(GAPS.rename(index={20: "never talk"})).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == ["5", "never talk"]
    assert ax.containers[0].lines[0].get_xdata().tolist() == [0.1, 0.2]
    ends = ax.containers[0].lines[2][0].get_segments()
    assert ends[1][:, 0].tolist() == pytest.approx([0.1, 0.4])
    assert ax.get_ylim() == (1.5, -0.5)


def test_the_explorer():
    curves = tables.cost_curves([1e24, 3e24], [H100], [Regime(16.0), Regime(8.0)], [10.0, 100.0])
    spec = plots.cost_explorer(curves).to_dict()
    params = {param["name"]: param for param in spec["params"]}
    values = {name: param["value"] for name, param in params.items()}
    assert values == {"threshold": 8.0, "rate": 100.0, "shown": "c_quality"}
    labels = {name: param["bind"]["labels"] for name, param in params.items()}
    assert labels["threshold"] == ["16 H100", "8 H100"]
    assert labels["rate"] == ["10 Mbit/s", "100 Mbit/s"]
    assert labels["shown"] == ["C_local: the same model", "C_quality: the same loss"]
    for param in params.values():  # buttons: the keyboard reaches them, a phone shows them
        assert param["bind"]["input"] == "radio"
        assert param["value"] in param["bind"]["options"]
    grey, chosen = (spec["datasets"][layer["data"]["name"]] for layer in spec["layer"])
    assert {(row["threshold"], row["mbps"]) for row in grey} == {(16.0, 100.0)}
    assert {row["line"] for row in grey} == {"16 H100, 100 Mbit/s"}
    assert {row["line"] for row in chosen} == {"as chosen"}
    assert [row["cost"] for row in chosen] == pytest.approx(curves["cost_usd"] / 1e6, rel=1e-3)
    cut = {one["filter"] for one in spec["layer"][1]["transform"]}
    assert cut == {
        "datum.metric == shown",
        "datum.threshold == threshold && datum.mbps == rate",
    }
    tips = [one["title"] for one in spec["layer"][1]["encoding"]["tooltip"]]
    assert tips == ["cheapest plan", "cost (million $)", "target (FLOP)"]
    with pytest.raises(ValueError, match="column is 'plan'"):
        plots.cost_explorer(curves.drop(columns="plan"))
    with pytest.raises(ValueError, match="usual: curves holds none"):
        plots.cost_explorer(curves[curves["threshold"] == 8.0])
    with pytest.raises(ValueError, match="start: curves holds none"):
        plots.cost_explorer(curves, start=4.0)


def test_rounding_as_printed():
    assert tables.printed_cost(2_323_806_000.0) == 2320.0
    assert tables.printed_cost(30_732_000.0) == 30.7
    assert tables.printed_cost(999.9e6) == 999.9
    assert tables.printed_ratio(9.96) == 10.0
    assert tables.printed_ratio(22.9) == 23.0
    assert tables.printed_ratio(1.34) == 1.3
    assert tables.printed_flop(6.37e24) == 6.4e24
    assert tables.decades(1, 100, 3) == [1.0, 10.0, 100.0]


def test_the_printed_plan_is_named_only_if_it_ties():
    found = author_search(1e25, [Node(CHIPS["GH200"], 16, "FP8")])
    assert tables.shown("c1e25", found, 1e25) == "16x GH200 FP8, hier 8x4"
    assert tables.shown("us", found, 1e25) == "16x GH200 FP8, flat"
    two = author_search(1e24, [H100])
    assert tables.shown("c2_1e25", two, 1e24) == "16x H100 FP8, flat"
