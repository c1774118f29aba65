"""Chips, nodes, the rule and the window."""

import math

import pytest

from lib.compute_governance.hardware import CHIPS, Chip, Node, catalogue
from lib.compute_governance.regime import LEGITIMATE, SERVERS, Regime, System, longest_useful_run


def test_the_catalogue_is_the_published_one():
    rows = [(n.name, round(n.flops / 1e15, 3), n.mem_gb, n.chip.price_usd) for n in catalogue()]
    assert rows == [
        ("50x A100 80GB", 15.6, 4000, 7000),
        ("16x GH200", 15.84, 2304, 28000),
        ("16x H100", 15.84, 1280, 25000),
        ("49x Ascend 910B", 15.68, 3136, 16000),
        ("26x Ascend 910C", 15.6, 3328, 26000),
        ("57x TPU v4", 15.675, 1824, 12000),
        ("80x TPU v5e", 15.76, 1280, 6000),
        ("34x TPU v5p", 15.606, 3230, 20000),
        ("17x TPU v6e", 15.606, 544, 25000),
        ("16x H100 FP8", 31.68, 1280, 25000),
        ("16x GH200 FP8", 31.68, 2304, 28000),
        ("17x TPU v6e FP8", 31.212, 544, 25000),
    ]


def test_every_node_of_the_catalogue_is_the_largest_that_the_rule_leaves():
    rule = Regime()
    assert rule.shrink(catalogue()) == catalogue()
    assert not any(rule.covers(node) for node in catalogue())


@pytest.mark.parametrize(
    ("rule", "name", "size"),
    [
        (Regime(mem_gb=1280.0), "A100 80GB", 16),
        (Regime(mem_gb=1280.0), "GH200", 8),
        (Regime(8.0), "H100", 8),
        (Regime(1.0), "A100 80GB", 3),
        (Regime(1.0), "H100", 1),
    ],
)
def test_largest_node(rule, name, size):
    found = rule.largest(CHIPS[name])
    assert found is not None
    assert found.count == size
    assert rule.covers(Node(CHIPS[name], size + 1))


def test_a_chip_above_the_threshold_leaves_no_node():
    assert Regime(0.5).largest(CHIPS["H100"]) is None
    assert Regime(0.5).shrink([Node(CHIPS["H100"], 1)]) == ()


def test_burden_only_grows_as_a_rule_tightens():
    counts = [Regime(h, m).burden() for h in (16.0, 4.0, 1.0) for m in (None, 600.0, 100.0)]
    assert len(LEGITIMATE) == 14
    assert counts == sorted(counts[:3]) + sorted(counts[3:6]) + sorted(counts[6:])
    assert counts[0] == 0


@pytest.mark.parametrize("price", [math.nan, 0.0, -1.0, math.inf])
def test_a_bad_price_is_named(price):
    with pytest.raises(ValueError, match="price_usd is"):
        Chip("X", 1.0, None, 1.0, price, "")


def test_bad_nodes():
    with pytest.raises(ValueError, match="count is 0"):
        Node(CHIPS["H100"], 0)
    with pytest.raises(ValueError, match=r"count is 1\.5, expected a whole"):
        Node(CHIPS["H100"], 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no FP8 path"):
        Node(CHIPS["A100 80GB"], 50, "FP8")
    with pytest.raises(ValueError, match="precision is 'FP4'"):
        Node(CHIPS["H100"], 1, "FP4")  # type: ignore[arg-type]


def test_bad_rules():
    with pytest.raises(ValueError, match="h100_eq is nan"):
        Regime(math.nan)
    with pytest.raises(ValueError, match=r"mem_gb is 0\.0"):
        Regime(mem_gb=0.0)


@pytest.mark.parametrize("growth", [(), (1.0,), (0.5, 1.5), (math.nan,), (-1.0,)])
def test_a_window_needs_growth(growth):
    with pytest.raises(ValueError, match="growth"):
        longest_useful_run(*growth)


def test_figures_of_a_node():
    node = Node(CHIPS["H100"], 16, "FP8")
    assert (node.chips_usd, node.gradient_bits, node.bytes_per_param) == (400_000.0, 8.0, 14.0)
    assert node.largest_model == 1280e9 / 14
    half = Node(CHIPS["A100 80GB"], 50)
    assert (half.gradient_bits, half.bytes_per_param, half.flops) == (16.0, 16.0, 15.6e15)
    assert half.largest_model == 250e9
    assert half.h100_eq == pytest.approx(15.7576, abs=1e-4)
    assert Node(CHIPS["H100"], 2.0).name == "2x H100"


def test_servers_of_today():
    """A B200 has 2.27 H100-equivalents: eight are over the threshold; 8 MI300X over the cap."""
    rows = [(s.name, round(s.h100_eq, 2), s.mem_gb) for s in SERVERS]
    assert rows == [
        ("server, 8 H200", 8.0, 1128.0),
        ("server, 8 B200", 18.18, 1440.0),
        ("server, 8 MI300X", 10.56, 1536.0),
    ]
    assert [Regime().covers(s) for s in SERVERS] == [False, True, False]
    assert [Regime(mem_gb=1_280.0).covers(s) for s in SERVERS] == [False, True, True]
    assert [Regime(mem_gb=1_000.0).covers(s) for s in SERVERS] == [True, True, True]
    assert Regime().burden(SERVERS) == 1


def test_the_rule_is_strict_at_both_thresholds():
    rule = Regime(mem_gb=1_280.0)
    assert not rule.covers(System("at both", 16.0, 1_280.0))
    assert rule.covers(System("one GB more", 1.0, 1_281.0))
    assert rule.covers(System("a little faster", 16.001, 1.0))


def test_choices_are_all_sizes_up_to_the_largest():
    rule = Regime(4.0)
    some = rule.choices([Node(CHIPS["GH200"], 16, "FP8"), Node(CHIPS["H100"], 1)])
    assert [(n.name, n.count) for n in some] == [
        *((f"{k}x GH200 FP8", k) for k in (1, 2, 3, 4)),
        *((f"{k}x H100", k) for k in (1, 2, 3, 4)),
    ]
    few = Regime(7.0).choices([Node(CHIPS["H100"], 1)], every=False)
    assert [n.count for n in few] == [1, 2, 4]
    assert Regime(0.5).choices([Node(CHIPS["H100"], 1)]) == ()


def test_windows_by_hand():
    assert longest_useful_run(1.06, 1.5, 1.03) == pytest.approx(740.43, abs=0.01)
    assert longest_useful_run(1.37, 3.0, 3.5) == pytest.approx(136.99, abs=0.01)
    assert longest_useful_run(0.5, 4.0) == pytest.approx(365.25 / math.log(2.0))


def test_the_published_list_by_its_numbers():
    first = {s.name: (round(s.h100_eq, 3), s.mem_gb) for s in LEGITIMATE}
    assert first["gaming computer, 1 RTX 5090"] == (0.105, 32.0)
    assert first["laboratory server, 8 A100 80 GB"] == (2.521, 640.0)
    assert first["cloud instance, 8 A100 40 GB"] == (2.521, 320.0)
    assert first["inference server, 8 L40S"] == (1.487, 384.0)
    assert [Regime(t).burden() for t in (16.0, 8.0, 4.0, 2.0, 1.0)] == [0, 0, 4, 7, 11]
    assert [Regime(1e9, gb).burden() for gb in (2_000, 1_000, 512, 256)] == [0, 0, 6, 10]
