"""The planner against golden rows, a plain oracle, an exhaustive search and its properties."""

import math

import numpy as np
import pytest
from cg_oracle import scalar_plan
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.compute_governance.hardware import CHIPS, CURRENT, Node, catalogue
from lib.compute_governance.planner import (
    FLAT,
    GROUP_SIZES,
    HIERARCHICAL,
    MODEL_SIZES,
    PIPELINE,
    SMALLEST,
    Assumptions,
    InfeasibleError,
    Network,
    branch_search,
    branches,
    cheapest_by_node,
    evaluate,
    pick,
    plan,
)
from lib.compute_governance.scaling import FIT
from lib.compute_governance.study import tables
from lib.compute_governance.study.searches import (
    at_nodes,
    author_search,
    bisect_first,
    cheapest,
    exhaustive_search,
    grid_best,
    ties,
)
from lib.compute_governance.study.tables import replica_efficiency
from lib.compute_governance.study.uncertainty import loose_laws

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
    assert label in ties(found, target).labels()
    assert tables.shown(key, found, target) == label
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


def test_every_node_type_has_its_own_cheapest_plan():
    nodes = [H100, GH200, Node(CHIPS["A100 80GB"], 50)]
    found = cheapest_by_node(1e25, nodes)
    assert found.node.tolist() == [0, 1, 2]
    alone = [branch_search(1e25, [node]) for node in nodes]
    assert found.cost_usd.tolist() == [one.value("cost_usd") for one in alone]
    assert found.c_quality.tolist() == [one.value("c_quality") for one in alone]
    assert pick(found).labels() == branch_search(1e25, nodes).labels()
    assert cheapest_by_node(1e26, [Node(CHIPS["TPU v5e"], 1), H100]).node.tolist() == [1]


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


def test_a_fixed_interval():
    """H is taken as given; where the exchange is longer the chips wait."""
    free = plan(GH200, 34, 160e9)
    assert free.value("h") == 19
    often = plan(GH200, 34, 160e9, every=2)
    assert (often.value("h"), often.every) == (2, 2)
    assert often.value("outer_s") == often.value("sync_s") > 2 * often.value("step_s")
    seldom = plan(GH200, 34, 160e9, every=200)
    assert seldom.value("outer_s") == pytest.approx(200 * seldom.value("step_s"))
    assert seldom.value("eta") < free.value("eta")
    assert seldom.value("tokens") == pytest.approx(free.value("tokens"))
    assert plan(GH200, 1, 160e9, every=9).value("h") == 1
    with pytest.raises(ValueError, match="hierarchical plans have two"):
        plan(GH200, 34, 160e9, HIERARCHICAL, 8, every=20)
    with pytest.raises(ValueError, match="every is 0"):
        plan(GH200, 34, 160e9, every=0)


def test_covenant_72b():
    """20 nodes of 8 B200, 110/500 Mbit/s, H = 30: 192 s where 70 were seen.

    64 of 4,096 numbers with 2 + 12 bits each are .21875 bits a parameter, 146 times less than 32.
    """
    network = Network.mbps(110, 500)
    fewer = 16 / 0.21875
    real = Assumptions(compression=fewer, batch_tokens=192 * 2_048, overtraining=(1e-3, 1e3))
    run = plan(Node(CURRENT["B200"], 8), 20, 72.7e9, network=network, assumptions=real, every=30)
    assert run.value("sync_s") == pytest.approx(191.7, abs=0.3)
    assert run.value("h") == 30
    assert run.value("payload_bits") == pytest.approx(72.7e9 * 0.21875)


def test_a_hierarchical_plan_by_hand():
    a = Assumptions()
    p = plan(GH200, 34, 160e9, HIERARCHICAL, 8)
    payload = 160e9 * 8 / 150
    step = 6 * 160e9 * 131_072 / (31.68e15 * 0.4)
    regional = (2 * payload / 100e6 + 0.1) * (1 + 0.02 * 3)
    inner = math.ceil(regional / step)
    sync = (2 * payload / 100e6 + 0.1) * (1 + 0.02 * 2)
    cycle = max(inner * step, regional)
    outer = max(1, math.ceil(sync / cycle))
    assert p.value("h") == pytest.approx(inner * math.sqrt(outer))
    assert p.value("regional_sync_s") == pytest.approx(regional)
    assert p.value("sync_s") == pytest.approx(sync)
    assert p.value("replicas") == 34
    assert p.value("multiplier") == pytest.approx(
        34 ** (1.0923 * 160e9**-0.2342 * math.log(p.value("h")) / math.log(30))
    )
    alpha = 0.08 / (1 + math.log10(160) / 5)
    assert p.value("eta_h") == pytest.approx(1 - alpha * math.log10(p.value("h")))
    assert p.value("overtraining") == pytest.approx(p.value("tokens") / (25.6 * 160e9))
    assert p.value("cost_usd") == pytest.approx(34 * 16 * 28_000 * 1.64 * 1.23)
    assert float(a.slowest(8)) == pytest.approx(1.06)


def test_two_groups_make_a_plan_and_fewer_do_not():
    """Groups, not nodes, are counted in a pipeline; two suffice."""
    two = evaluate([H100], 0, [3, 4, 5, 6], 180e9, PIPELINE)
    assert two.group.tolist() == [2.0] * 4
    assert two.replicas.tolist() == [1, 2, 2, 3]
    assert two.h.tolist()[0] == 1
    inside = evaluate(
        [H100], 0, [3, 4], 180e9, PIPELINE, assumptions=Assumptions(overtraining=(1e-9, 1e9))
    )
    assert inside.admissible.tolist() == [False, True]
    pair = evaluate([H100], 0, [15, 16], 50e9, HIERARCHICAL, 8, assumptions=Assumptions(
        overtraining=(1e-9, 1e9)))  # fmt: skip
    assert pair.admissible.tolist() == [False, True]


def test_the_floor_of_eta_and_the_scale_of_the_replicas():
    low = Assumptions(alpha_base=0.9)
    assert plan(GH200, 34, 160e9, assumptions=low).value("eta_h") == 0.4
    assert plan(GH200, 34, 160e9, assumptions=Assumptions(alpha_base=0.9, eta_floor=0.1)).value(
        "eta_h"
    ) == pytest.approx(1 - 0.9 / (1 + math.log10(160) / 5) * math.log10(19))
    half = Assumptions(replica_scale=1.0923 / 2)
    whole = plan(GH200, 34, 160e9).value("multiplier")
    assert plan(GH200, 34, 160e9, assumptions=half).value("multiplier") == pytest.approx(whole**0.5)
    assert float(Assumptions().replica_multiplier(72, 250e9, 200)) == pytest.approx(
        1.0157, abs=1e-4
    )


def test_the_share_kept_by_hand():
    loss = FIT.loss(250e9, 25.6 * 250e9)
    worse = FIT.effective_compute(1.01 * loss) / FIT.effective_compute(loss)
    assert float(replica_efficiency(FIT, 250e9, 25.6 * 250e9, 1.01)) == pytest.approx(float(worse))


def test_formulas_have_a_domain():
    """α(P) has a pole at 10⁴ parameters; the exponents were fitted from 3.5·10⁷ on."""
    a = Assumptions()
    assert float(a.alpha(1e9)) == pytest.approx(0.08)
    assert float(a.alpha(1e14)) == pytest.approx(0.04)
    assert float(a.alpha(SMALLEST)) == pytest.approx(0.08 / (1 + math.log10(0.035) / 5))
    for call in (a.alpha, lambda p: a.replica_multiplier(4, p, 20)):
        with pytest.raises(ValueError, match=r"params is 57728\.0"):
            call(57_728)
    with pytest.raises(ValueError, match=r"replicas is 0\.5"):
        a.replica_multiplier(0.5, 1e9, 20)


def test_plans_remember_their_network():
    fast = Network.mbps(1_000)
    found = branch_search(1e25, NODES, network=fast)
    assert found.network == fast
    assert at_nodes([H100], 4, network=fast).take(0).network == fast
    assert found.every is None


def test_bisection_ends_where_it_should():
    flags = np.array([False] * 6 + [True] * 4)
    found, probes = bisect_first(flags)
    assert (found, probes) == (6, [9, 4, 7, 6, 5])
    assert bisect_first(np.zeros(3, dtype=bool)) == (None, [2])


def test_bad_networks_and_assumptions():
    def refused(match, **fields):
        with pytest.raises(ValueError, match=match):
            Assumptions(**fields)

    with pytest.raises(ValueError, match=r"up_bps is 0\.0"):
        Network(0.0)
    with pytest.raises(ValueError, match="latency_s is nan"):
        Network(latency_s=math.nan)
    refused(r"mfu is 40\.0, expected a share", mfu=40)
    refused(r"goodput is 95\.0, expected a share", goodput=95)
    refused(r"mfu\[1\] is nan", mfu=np.array([0.4, math.nan]))
    refused(r"mfu is 0\.0", mfu=0.0)
    refused(r"tail is -0\.1", tail=-0.1)
    refused("quality_shift is nan", quality_shift=math.nan)
    refused("quality is 'expectd'.*did you mean 'expected'", quality="expectd")
    refused(r"compression is 0\.5", compression=0.5)
    refused(r"overtraining is \(2\.0, 1\.0\)", overtraining=(2.0, 1.0))
    refused(r"replica_h is 1\.0", replica_h=1.0)
    refused(r"micro_batches is 0\.5", micro_batches=0.5)
    refused("law is None", law=None)


def test_bad_plans():
    def refused(match, call):
        with pytest.raises(ValueError, match=match):
            call()

    refused("do not fit 16x H100 FP8", lambda: plan(H100, 4, 200e9))
    refused("no pipeline is needed", lambda: plan(H100, 4, 50e9, PIPELINE))
    refused("fewer than two groups of 4", lambda: plan(H100, 7, 50e9, HIERARCHICAL, 4))
    assert plan(H100, 8, 50e9, HIERARCHICAL, 4).value("n") == 8
    refused(r"n is 1\.5, expected a whole", lambda: evaluate([H100], 0, 1.5, 50e9, FLAT))
    refused(r"group is 2\.5", lambda: evaluate([H100], 0, 8, 50e9, HIERARCHICAL, 2.5))
    refused(r"node is 0\.9", lambda: evaluate([H100], 0.9, 8, 50e9, FLAT))
    refused("params is nan", lambda: evaluate([H100], 0, 1, math.nan, FLAT))
    refused(r"node is 3\.0, expected a whole number at least 0 and below 1",
            lambda: evaluate([H100], 3, 1, 50e9, FLAT))  # fmt: skip
    refused(r"mode is 7\.0", lambda: evaluate([H100], 0, 1, 50e9, 7))
    refused("nodes is", lambda: evaluate([], 0, 1, 50e9, FLAT))
    refused("columns is 'etta'.*did you mean 'eta'", lambda: plan(H100, 2, 91e9).frame("etta"))


def test_bad_searches():
    def refused(match, call):
        with pytest.raises(ValueError, match=match):
            call()

    sampled = Assumptions(mfu=np.array([0.3, 0.4]))
    laws = Assumptions(law=loose_laws(3, np.random.default_rng(0)))
    refused("target is nan", lambda: branch_search(math.nan, NODES))
    refused("metric is 'c_locl'.*did you mean", lambda: branch_search(1e24, NODES, metric="c_locl"))
    refused("metric is 'cost'", lambda: author_search(1e24, NODES, metric="cost"))
    for bad in (sampled, laws):
        refused("assumptions hold samples", lambda a=bad: branch_search(1e24, NODES, assumptions=a))
    refused("search is 'random'", lambda: cheapest(1e24, NODES, search="random"))
    refused("limit is 0", lambda: exhaustive_search(1e24, NODES, limit=0))
    refused("nodes is", lambda: branches([]))
    refused("sizes is empty", lambda: branches([H100], []))
    with pytest.raises(InfeasibleError, match="at most 1 nodes"):
        exhaustive_search(1e24, NODES, limit=1)


def test_what_is_added_to_the_quality_stays_a_share():
    for bad in (-2, 5):
        with pytest.raises(ValueError, match=f"quality_shift is {bad}"):
            Assumptions(quality_shift=bad)
    with pytest.raises(ValueError, match="quality_shift, added to the factor"):
        Assumptions(quality_shift=-0.995)
    assert Assumptions(quality_shift=-0.09).eta_compression == pytest.approx(0.90)
    assert Assumptions(quality_shift=0.5).eta_compression == 1.0


def test_the_limit_is_on_chips_and_says_so(monkeypatch):
    """On nodes it would forbid single chips what it allows to nodes of sixteen."""
    one, two = Node(CHIPS["H100"], 1, "FP8"), Node(CHIPS["H100"], 2, "FP8")
    wanted = int(branch_search(1e24, [one]).value("n"))
    assert wanted > 16
    monkeypatch.setattr("lib.compute_governance.planner.CHIP_LIMIT", wanted)
    assert branch_search(1e24, [one]).value("n") == wanted
    monkeypatch.setattr("lib.compute_governance.planner.CHIP_LIMIT", wanted - 1)
    with pytest.raises(InfeasibleError, match=f"no plan reaches c_local = 1e.24 with {wanted - 1}"):
        branch_search(1e24, [one])
    monkeypatch.undo()
    monkeypatch.setattr("lib.compute_governance.planner.CHIP_LIMIT", 19)
    assert branch_search(1e22, [two]).value("n") <= 9


def test_a_site_may_cost_something():
    """At 200,000 dollars a site fewer and larger nodes are cheapest."""
    chips = 34 * 16 * 28_000 * 1.64 * 1.23
    dear = Assumptions(site_usd=2e5)
    assert plan(GH200, 34, 160e9, assumptions=dear).value("cost_usd") == chips + 34 * 2e5
    small = Node(CHIPS["GH200"], 4, "FP8")
    assert branch_search(1e25, [GH200, small]).labels() == ["4x GH200 FP8, flat"]
    found = branch_search(1e25, [GH200, small], assumptions=Assumptions(site_usd=1e7))
    assert found.labels()[0].startswith("16x GH200 FP8")
    assert found.value("cost_usd") == pytest.approx(found.value("n") * (chips / 34 + 1e7))
    with pytest.raises(ValueError, match=r"site_usd is -1"):
        Assumptions(site_usd=-1)


def test_plans_remember_the_length_of_their_run():
    year = Assumptions(window_s=365.25 * 86_400.0)
    one = plan(GH200, 34, 160e9, assumptions=year)
    assert one.value("window_s") == 365.25 * 86_400
    both = evaluate([GH200], 0, [34, 40], 160e9, FLAT, assumptions=year)
    assert both.take(1).window_s.tolist() == [365.25 * 86_400]
    assert plan(GH200, 34, 160e9).value("window_s") == 740 * 86_400


def test_the_share_lost_a_decade_is_a_share():
    """The formula gives 1.27 here."""
    assert Assumptions(alpha_base=0.9).alpha(3.5e7) == 1.0
    assert Assumptions().alpha(1e9) == pytest.approx(0.08)


def test_clear_words_for_a_single_node_and_a_rate_as_text():
    with pytest.raises(ValueError, match="expected a list of at least one Node"):
        branch_search(1e24, Node(CHIPS["H100"], 16))
    with pytest.raises((ValueError, TypeError), match="up is '100'"):
        Network.mbps("100")


def test_branches_in_their_order():
    some = branches([Node(CHIPS["H100"], 1), Node(CHIPS["H100"], 2)], [6e9, 2e11])
    # 80 GB hold 5 billion parameters at 16 bytes, 160 GB hold 10 billion.
    assert some.node.tolist() == [0, 0, *[1] * 11, 1]
    assert some.mode.tolist() == [PIPELINE, PIPELINE, FLAT, *[HIERARCHICAL] * 10, PIPELINE]
    assert some.group.tolist() == [2, 40, 1, *GROUP_SIZES, 20]
    assert some.params.tolist() == [6e9, 2e11, *[6e9] * 11, 2e11]
