"""Chips, nodes, the rule and the window."""

import math

import pytest

from lib.compute_governance.hardware import CHIPS, Chip, Node, catalogue
from lib.compute_governance.regime import LEGITIMATE, Regime, longest_useful_run


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
    with pytest.raises(ValueError, match=r"count is 1\.5"):
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
    with pytest.raises(ValueError, match="growth is"):
        longest_useful_run(*growth)
