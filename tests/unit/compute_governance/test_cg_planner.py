"""The planner against golden rows, a plain oracle, an exhaustive search and its properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.compute_governance import tables
from lib.compute_governance.hardware import CHIPS, Node, catalogue
from lib.compute_governance.oracle import scalar_plan
from lib.compute_governance.planner import (
    FLAT,
    HIERARCHICAL,
    MODEL_SIZES,
    PIPELINE,
    Assumptions,
    InfeasibleError,
    Network,
    at_nodes,
    author_search,
    branch_search,
    branches,
    cheapest,
    evaluate,
    exhaustive_search,
    grid_best,
    plan,
    ties,
)
from lib.compute_governance.regime import Regime

NODES = catalogue()
H100 = Node(CHIPS["H100"], 16, "FP8")
GH200 = Node(CHIPS["GH200"], 16, "FP8")
SOME = branches(NODES)

TABLE1 = {
    "c1e24": ("16x H100 FP8, flat", [2, 91, 18, 0.7957, 0.9796], 1.6),
    "c3_3e24": ("16x GH200 FP8, flat", [7, 160, 19, 0.5973, 0.9635], 6.3),
    "c1e25": ("16x GH200 FP8, hier 8x4", [34, 160, 19, 0.3698, 0.6250], 30.7),
    "c2_1e25": ("16x GH200 FP8, hier 8x12", [101, 160, 19, 0.2580, 0.3689], 91.3),
    "c3_8e25": ("50x A100 80GB, hier 10x62", [625, 250, 19, 0.1524, 0.3214], 441.3),
    "c6_6e25": ("16x H100 FP8, PP 2x1440", [2880, 180, 3, 0.4244, 0.2901], 2320.0),
    "c1e26": ("16x H100 FP8, PP 2x2353", [4706, 180, 3, 0.3934, 0.2123], 3800.0),
}


@pytest.mark.parametrize("key", TABLE1)
def test_rows_of_table_1(key):
    label, numbers, cost = TABLE1[key]
    target = tables.TARGETS[key]
    found = author_search(target, NODES)
    assert label in ties(found, target)
    assert tables.row_numbers(found) == numbers
    assert tables.row_outcome(found)[-1] == cost


@pytest.mark.parametrize(
    ("key", "row"),
    [
        ("b10m", [3046, 315, 4, 0.4250, 0.9518]),
        ("b30m", [168, 250, 61, 0.1493, 0.6213]),
        ("china", [38, 160, 25, 0.3266, 0.5969]),
        ("us", [34, 160, 20, 0.3639, 0.6250]),
        ("b1000g", [13, 91, 1, 0.9900, 0.5886]),
    ],
)
def test_rows_of_table_2(key, row):
    found = author_search(1e25, NODES, network=tables.NETWORKS[key])
    assert tables.row_numbers(found) == row


@settings(max_examples=300)
@given(st.integers(0, len(SOME) - 1), st.integers(1, 20_000), st.sampled_from([10, 100, 1000]))
def test_the_vectorised_model_equals_the_plain_one(branch, n, mbps):
    node, params = int(SOME.node[branch]), float(SOME.params[branch])
    mode, group = int(SOME.mode[branch]), int(SOME.group[branch])
    network = Network.mbps(mbps)
    ours = evaluate(NODES, node, n, params, mode, group, network=network)
    plain = scalar_plan(NODES[node], n, params, mode, group, network=network)
    if plain is None:
        assert not ours.admissible
        return
    for key, value in plain.items():
        assert float(getattr(ours, key)) == pytest.approx(value, rel=1e-9), key


def test_both_searches_equal_what_they_say_on_few_nodes():
    for target in (1e24, 5e24, 1e25):
        for metric in ("c_local", "c_quality"):
            ours = branch_search(target, [H100, GH200], metric=metric)
            limit = int(ours.value("n") * 2)
            full = exhaustive_search(target, [H100, GH200], limit=limit, metric=metric)
            assert ours.value("cost_usd") == full.value("cost_usd"), (target, metric)


@settings(max_examples=25)
@given(st.floats(23.5, 25.9), st.sampled_from(["c_local", "c_quality"]))
def test_the_branch_search_is_never_dearer_and_reaches_the_target(log_target, metric):
    target = 10**log_target
    try:
        theirs = author_search(target, NODES, metric=metric)
    except InfeasibleError:
        return
    ours = branch_search(target, NODES, metric=metric)
    assert ours.value(metric) >= target
    assert ours.admissible.all()
    assert ours.value("cost_usd") <= theirs.value("cost_usd") * (1 + 1e-12)
    if ours.value("n") > 2:
        fewer = at_nodes(NODES, int(ours.value("n")) - 1)
        same_type = fewer.node[0] == ours.node[0]
        reach = (getattr(fewer, metric) >= target) & fewer.admissible
        assert not (reach[0] & same_type).any()


@settings(max_examples=15)
@given(st.floats(24.0, 25.4), st.floats(0.05, 0.4))
def test_cost_rises_with_the_target_and_falls_with_bandwidth(log_target, more):
    target = 10**log_target
    cost = branch_search(target, NODES).value("cost_usd")
    assert branch_search(target * 10**more, NODES).value("cost_usd") >= cost
    faster = Network.mbps(100 * 10**more)
    assert branch_search(target, NODES, network=faster).value("cost_usd") <= cost


@pytest.mark.parametrize("metric", ["c_local", "c_quality"])
def test_cost_does_not_fall_when_a_rule_leaves_fewer_nodes(metric):
    pool = NODES + Regime(8.0).shrink(NODES) + Regime(4.0).shrink(NODES)
    costs = [
        branch_search(5e24, rule.allowed(pool), metric=metric).value("cost_usd")
        for rule in (Regime(), Regime(8.0), Regime(4.0), Regime(4.0, 400.0))
    ]
    assert costs == sorted(costs)


def test_quality_never_exceeds_local_and_shares_are_shares():
    counts = np.unique(np.geomspace(1, 50_000, 40).astype(int))
    grid = at_nodes(NODES, counts)
    inside = grid.admissible
    assert inside.any()
    assert (grid.c_quality <= grid.c_local * (1 + 1e-12))[inside].all()
    for key in ("eta", "eta_h", "eta_compression", "eta_replica", "eta_activation", "chi"):
        values = getattr(grid, key)[inside]
        assert ((values > 0) & (values <= 1 + 1e-12)).all(), key


def test_one_node_loses_nothing():
    one = plan(H100, 1, 50e9)
    assert (one.value("eta"), one.value("chi"), one.value("h")) == (1.0, 1.0, 1.0)
    assert one.value("c_quality") == one.value("c_threshold")


def test_units_scale_together():
    bits = plan(GH200, 34, 160e9, network=Network(57e6, 310e6, 0.1))
    mbits = plan(GH200, 34, 160e9, network=Network.mbps(57, 310))
    assert bits.frame().equals(mbits.frame())
    # Twice the bandwidth and half the latency is half the wait.
    fast = plan(GH200, 34, 160e9, network=Network(114e6, 620e6, 0.05))
    assert fast.value("sync_s") == pytest.approx(mbits.value("sync_s") / 2)


def test_without_latency_the_interval_is_the_same_for_every_model():
    sizes = np.array([s for s in MODEL_SIZES if s <= GH200.largest_model])
    flat = evaluate([GH200], 0, 34, sizes, FLAT, network=Network(latency_s=0.0))
    assert np.ptp(flat.sync_s / flat.step_s) < 1e-12
    assert len(set(flat.h.tolist())) == 1


def test_synchronisation_never_makes_the_chips_wait():
    counts = np.array([2, 10, 100, 1000])
    grid = at_nodes(NODES, counts, network=Network.mbps(20))
    flat = grid.take(grid.mode == FLAT)
    assert (flat.outer_s >= flat.sync_s * (1 - 1e-12)).all()
    assert (flat.outer_s == flat.h * flat.step_s).all()


def test_fields_may_be_samples():
    assumptions = Assumptions(mfu=np.array([0.3, 0.4, 0.5]))
    three = evaluate([H100], 0, 2, 91e9, FLAT, assumptions=assumptions)
    assert three.c_threshold.shape == (3,)
    assert (np.diff(three.c_threshold) > 0).all()


def test_tables_of_plans():
    some = evaluate(NODES, [9, 10, 9], [2, 16, 4], [91e9, 160e9, 180e9], [0, 1, 2], [1, 8, 1])
    assert some.labels() == [
        "16x H100 FP8, flat",
        "16x GH200 FP8, hier 8x2",
        "16x H100 FP8, PP 2x2",
    ]
    assert list(some.frame("n", "h").columns) == ["plan", "n", "h"]
    with pytest.raises(ValueError, match="3 plans"):
        some.value("n")


def test_compression_quality_is_interpolated_and_clamped():
    assert Assumptions(compression=4).eta_compression == 1.0
    assert 0.96 < Assumptions(compression=300).eta_compression < 0.99
    assert Assumptions(compression=1e6).eta_compression == 0.96
    assert Assumptions(quality="conservative").eta_compression == pytest.approx(0.91)


def test_grid_best_needs_a_plan():
    with pytest.raises(InfeasibleError, match="no admissible plan"):
        grid_best(at_nodes([H100], [90_000], sizes=[1e9]), "c_local")


@pytest.mark.parametrize("search", ["branch", "author"])
def test_a_target_out_of_reach(search):
    with pytest.raises(InfeasibleError, match="no plan reaches"):
        cheapest(1e30, NODES, search=search)


def test_bad_networks_and_assumptions():
    with pytest.raises(ValueError, match=r"up_bps is 0\.0"):
        Network(0.0)
    with pytest.raises(ValueError, match="latency_s is nan"):
        Network(latency_s=math.nan)
    with pytest.raises(ValueError, match="mfu is"):
        Assumptions(mfu=np.array([0.4, math.nan]))
    with pytest.raises(ValueError, match="tail is"):
        Assumptions(tail=-0.1)
    with pytest.raises(ValueError, match="quality_shift is nan"):
        Assumptions(quality_shift=math.nan)
    with pytest.raises(ValueError, match="quality is 'good'"):
        Assumptions(quality="good")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="compression is"):
        Assumptions(compression=0.5)
    with pytest.raises(ValueError, match="overtraining is"):
        Assumptions(overtraining=(2.0, 1.0))


def test_bad_plans():
    with pytest.raises(ValueError, match="do not fit 16x H100 FP8"):
        plan(H100, 4, 200e9)
    with pytest.raises(ValueError, match="no pipeline is needed"):
        plan(H100, 4, 50e9, PIPELINE)
    with pytest.raises(ValueError, match="fewer than two groups"):
        plan(H100, 7, 50e9, HIERARCHICAL, 4)
    with pytest.raises(ValueError, match="whole numbers"):
        evaluate([H100], 0, 1.5, 50e9, FLAT)
    with pytest.raises(ValueError, match="params must be positive"):
        evaluate([H100], 0, 1, math.nan, FLAT)
    with pytest.raises(ValueError, match="index below 1"):
        evaluate([H100], 3, 1, 50e9, FLAT)
    with pytest.raises(ValueError, match="mode must be"):
        evaluate([H100], 0, 1, 50e9, 7)
    with pytest.raises(ValueError, match="no node type"):
        evaluate([], 0, 1, 50e9, FLAT)


def test_bad_searches():
    with pytest.raises(ValueError, match="target is nan"):
        branch_search(math.nan, NODES)
    with pytest.raises(ValueError, match="metric is 'cost'"):
        author_search(1e24, NODES, metric="cost")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="search is 'random'"):
        cheapest(1e24, NODES, search="random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit is 0"):
        exhaustive_search(1e24, NODES, limit=0)
    with pytest.raises(InfeasibleError, match="at most 1 nodes"):
        exhaustive_search(1e24, NODES, limit=1)
    with pytest.raises(ValueError, match="no branch"):
        branches([])
