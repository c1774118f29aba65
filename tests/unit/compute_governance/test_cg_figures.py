"""Figures draw what they are given; the explorer is a whole specification."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.compute_governance import plots, plots_governance, tables
from lib.compute_governance.exposure import cost_curves, frontier
from lib.compute_governance.hardware import CHIPS, Node
from lib.compute_governance.interactive import cost_explorer
from lib.compute_governance.planner import at_nodes, grid_best, plan
from lib.compute_governance.uncertainty import sobol_indices

H100 = Node(CHIPS["H100"], 16, "FP8")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def lines(fig):
    return [line for ax in fig.axes for line in ax.get_lines()]


def test_planner_figures():
    counts = [1, 2, 4]
    pair = (np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.5, 1.7]))
    assert len(lines(plots.nodes_figure(counts, {"a": pair}, [2.0]))) == 3
    best = grid_best(at_nodes([H100], np.arange(2, 300)), "c_local")
    assert plots.island_figure(best, [5, 10_000], 250, 104).axes
    costs = pd.DataFrame({"target": [1e24, 1e25], "author": [2.0, 3.0], "branch": [2.0, 1.0]})
    assert plots.search_figure(costs).axes
    rates = pd.DataFrame({"mbps": [10, 100], "author": [9.0, 2.0], "branch": [3.0, 2.0]})
    assert plots.bandwidth_figure(rates, {"x": (50.0, 2.0)}).axes
    fig = plots.decomposition_figure({"1e24": plan(H100, 2, 91e9)})
    assert len(fig.axes[0].patches) == 5
    cap = pd.DataFrame({"metric": ["a", "b"], "target": [1, 1], "free": [1, 1], "capped": [1, 2]})
    assert len(plots.cap_figure(cap).axes) == 2
    size = pd.DataFrame({"metric": ["a", "b"], "chip": "X", "count": [1, 1], "cost_usd": [1, 2]})
    assert len(plots.node_size_figure(size).axes) == 2
    chips = np.array([1e3, 1e4])
    dots = pd.DataFrame({"chips": [1e3], "goodput": [0.9], "error": [0.01]})
    assert plots.failures_figure(chips, {"a": np.array([1.0, 0.5])}, dots).axes
    assert plots.amplification_figure(chips / 1e4, chips / 1e4, (0.3, 0.4), 0.35).axes


def test_governance_figures():
    draws = {"a": np.linspace(0, 1, 9), "b": np.linspace(0.2, 1, 9)}
    assert plots_governance.detection_figure({"p": draws}).axes
    shares = pd.DataFrame([[0.25] * 4], index=["p"], columns=list("abcd"))
    assert plots_governance.leader_figure(shares).axes
    assert plots_governance.inspection_figure({"a": ([1, 2], [0.1, 0.2])}).axes
    x = np.geomspace(1e-6, 0.5, 5)
    assert plots_governance.ppv_figure(x, {"a": x}, [0.1]).axes
    table = frontier(3e24, [H100], (16.0, 4.0), (None,))
    assert plots_governance.frontier_figure({"C_local": table}).axes
    broken = {"a": np.array([1.0, 2.0, np.inf]), "b": np.array([1.0, 3.0, 4.0])}
    assert plots_governance.interval_figure({"p": broken}, {"p": 2.0}, "x").axes
    found = sobol_indices(plan(H100, 2, 91e9), "c_local", 16, seed=0).table
    assert plots_governance.sobol_figure({"a": found}, {k: k for k in found.index}).axes


def test_the_explorer():
    curves = cost_curves([1e24, 3e24], [H100], [16.0, 4.0], [10.0, 100.0])
    spec = cost_explorer(curves).to_dict()
    names = {param["name"] for param in spec["params"]}
    assert {"threshold", "rate", "shown"} <= names
    with pytest.raises(ValueError, match="needs rows"):
        cost_explorer(curves.head(0))
    with pytest.raises(ValueError, match="none at 16"):
        cost_explorer(curves[curves["threshold"] == 4.0])


def test_rounding_as_printed():
    assert tables.printed_cost(2_323_806_000.0) == 2320.0
    assert tables.printed_ratio(9.96) == 10.0
    assert tables.printed_ratio(22.9) == 23.0
    assert tables.printed_flop(6.37e24) == 6.4e24
    assert tables.decades(1, 100, 3) == [1.0, 10.0, 100.0]


def test_ties_are_read_from_the_claim():
    id = "ch10.table1.c1e24.plan"
    assert tables.among_ties(id, ["other", "16x H100 FP8, flat"]) == "16x H100 FP8, flat"
    assert tables.among_ties(id, ["other"]) == "other"
    with pytest.raises(ValueError, match="no label"):
        tables.among_ties(id, [])
