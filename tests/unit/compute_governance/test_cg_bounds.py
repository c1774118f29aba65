"""Bounds of arguments, tried on both sides: the last good value, and the first bad one."""

import numpy as np
import pytest
from cg_toys import Quadratic

from lib.compute_governance import codecs, detection, exposure, fits, planner, reliability
from lib.compute_governance.detection import Rates
from lib.compute_governance.exposure import Exposure
from lib.compute_governance.hardware import CHIPS, Chip, Node
from lib.compute_governance.lowcomm.models import Inner, Replica, Transformer
from lib.compute_governance.lowcomm.pool import Pool
from lib.compute_governance.lowcomm.strategies import DiLoCo, check_outer
from lib.compute_governance.planner import Assumptions, Network, evaluate, plan
from lib.compute_governance.regime import Regime, System, longest_useful_run
from lib.compute_governance.scaling import FIT, Chinchilla
from lib.compute_governance.study import figures, lab, priors, searches, tables, text, uncertainty
from lib.compute_governance.study.failures import Failures, goodput
from lib.compute_governance.study.patterns import Gossip, Hierarchical, LowRank

H100 = Node(CHIPS["H100"], 16, "FP8")
LETTERS = np.zeros(100, np.uint8)
SMALL = 1e-3
RUNS = np.geomspace(1e8, 1e10, 12), np.tile([1e9, 1e10, 1e11], 4)


def rng():
    return np.random.default_rng(0)


def rates(**one):
    fair = {"leak": 0.1, "inspect": 0.1, "notice": 0.5, "audit": 0.1, "visible": 9, "steep": 3}
    return Rates(**fair | one)


def seen(**one):
    return Exposure(**{"sites": 1, "people": 1, "chips": 1, "usd": 1, "years": 1} | one)


def branch(target):
    return planner.branch_search(target, [H100], sizes=[1e9, 91e9], assumptions=WIDE)


WIDE = Assumptions(overtraining=(1e-40, 1e40))


def field(make, name):
    return lambda value: make(**{name: value})


BOUNDS = [
    *(
        (field(Assumptions, name), good, bad)
        for name, good, bad in (
            ("mfu", 1.0, 1.01), ("mfu", SMALL, 0.0), ("goodput", 1.0, 1.01),
            ("goodput", SMALL, 0.0), ("alpha_base", SMALL, 0.0), ("alpha_base", 1.0, 1.1),
            ("eta_floor", SMALL, 0.0), ("eta_floor", 1.0, 1.1), ("batch_tokens", SMALL, 0.0),
            ("window_s", SMALL, 0.0), ("alpha_decades", SMALL, 0.0), ("replica_scale", SMALL, 0.0),
            ("replica_power", SMALL, 0.0), ("replica_h", 1.01, 1.0), ("micro_batches", 1, 0.99),
            ("hidden", SMALL, 0.0), ("tail", 0.0, -SMALL), ("compression", 1.0, 0.99),
            ("quality_shift", -0.9, -1.01), ("quality_shift", 1.0, 1.01), ("ratio", SMALL, 0.0),
            ("server", SMALL, 0.0), ("cluster", SMALL, 0.0), ("site_usd", 0.0, -SMALL),
            ("overtraining", (0.5, 0.6), (0.0, 1.0)), ("overtraining", (2.0, 2.0), (2.0, 1.99)),
            ("overtraining", (1.0, 2.0), (1.0, 2.0, 3.0)), ("quality", "optimistic", "best"),
        )
    ),
    *(
        (field(Network, name), good, bad)
        for name, good, bad in (
            ("up_bps", SMALL, 0.0), ("down_bps", SMALL, 0.0), ("latency_s", 0.0, -SMALL),
        )
    ),
    (Network.mbps, SMALL, 0.0),
    (lambda x: Network.mbps(1.0, x), SMALL, 0.0),
    (lambda x: Assumptions().alpha(x), 3.5e7, 3.4e7),
    (lambda x: Assumptions().replica_multiplier(2, x, 2), 3.5e7, 3.4e7),
    (lambda x: Assumptions().replica_multiplier(x, 1e9, 2), 1, 0.99),
    (lambda x: Assumptions().replica_multiplier(2, 1e9, x), 1, 0.99),
    (lambda x: evaluate([H100], x, 2, 91e9, 0), 0, -1),
    (lambda x: evaluate([H100], x, 2, 91e9, 0), 0, 1),
    (lambda x: evaluate([H100], 0, x, 91e9, 0), 1, 0),
    (lambda x: evaluate([H100], 0, 2, x, 0), 3.5e7, 3.4e7),
    (lambda x: evaluate([H100], 0, 2, 91e9, x), 0, -1),
    (lambda x: evaluate([H100], 0, 2, 91e9, x), 2, 3),
    (lambda x: evaluate([H100], 0, 8, 91e9, 1, x), 1, 0),
    (lambda x: evaluate([H100], 0, 8, 91e9, 0, every=x), 1, 0),
    (lambda x: plan(H100, x, 91e9), 1, 0),
    (lambda x: plan(H100, 8, 91e9, 1, x), 1, 0),
    (lambda x: plan(H100, 8, 91e9, x), 1, -1),
    (lambda x: plan(H100, 8, x), H100.largest_model, H100.largest_model * 1.0001),
    (lambda x: plan(H100, 8, x, 2), H100.largest_model * 1.0001, H100.largest_model),
    (lambda x: plan(H100, x, 91e9, 1, 4), 8, 7),
    (lambda x: planner.branches([H100], [x]), 3.5e7, 3.4e7),
    (branch, 0.5, 0.0),
    (lambda x: searches.author_search(x, [H100], assumptions=WIDE), 0.5, 0.0),
    (lambda x: searches.exhaustive_search(x, [H100], limit=1, assumptions=WIDE), 0.5, 0.0),
    (lambda x: searches.exhaustive_search(1, [H100], limit=x, assumptions=WIDE), 1, 0),
    *(
        (lambda x, key=key: Chip(**{
            "name": "X", "tflops_fp16": 1, "tflops_fp8": 1, "mem_gb": 1, "price_usd": 1,
            "source": "",
        } | {key: x}), SMALL, 0.0)
        for key in ("tflops_fp16", "tflops_fp8", "mem_gb", "price_usd")
    ),
    (lambda x: Chip(x, 1.0, None, 1.0, 1.0, ""), "x", ""),
    (lambda x: Node(CHIPS["H100"], x), 1, 0),
    (lambda x: Node(CHIPS["H100"], 1, x), "FP8", "FP4"),
    (Regime, SMALL, 0.0),
    (lambda x: Regime(mem_gb=x), SMALL, 0.0),
    (lambda x: System("x", x, 1.0), 0.0, -SMALL),
    (lambda x: System("x", 1.0, x), 0.0, -SMALL),
    (lambda x: longest_useful_run(3.0, x), 0.5, 0.0),
    (lambda x: longest_useful_run(x), 1.01, 1.0),
    (lambda x: Regime(x).choices([Node(CHIPS["H100"], 1)]), 3_000.0, 3_001.0),
    *((field(seen, key), SMALL, 0.0) for key in ("sites", "people", "chips", "usd", "years")),
    (lambda x: exposure.exposure(plan(H100, 2, 91e9), staff_a_site=x), 0.0, -SMALL),
    (lambda x: exposure.exposure(plan(H100, 2, 91e9), core=x), 0.0, -SMALL),
    (lambda x: exposure.frontier(1e22, [Node(CHIPS["H100"], 1)], [x], [None]), 1.0, 0.0),
    *(
        (field(rates, key), 0.0, -SMALL)
        for key in ("leak", "inspect", "notice", "audit", "visible", "steep")
    ),
    (field(rates, "notice"), 1.0, 1.01),
    (field(rates, "audit"), 1.0, 1.01),
    (lambda x: detection.p_detect([x]), 0.0, -SMALL),
    (lambda x: detection.p_detect([1.0], frailty=x), 0.0, -SMALL),
    (lambda x: detection.p_inspection(x, 0, 0), 1, 0),
    (lambda x: detection.p_inspection(4, x, 1), 0, -1),
    (lambda x: detection.p_inspection(4, x, 1), 4, 5),
    (lambda x: detection.p_inspection(4, 1, x), 0, -1),
    (lambda x: detection.p_inspection(4, 1, x), 4, 5),
    (lambda x: detection.inspection_sample(x, 1, 0.5), 1, 0),
    (lambda x: detection.inspection_sample(4, x, 0.5), 1, 0),
    (lambda x: detection.inspection_sample(4, x, 0.5), 4, 5),
    (lambda x: detection.inspection_sample(4, 1, x), 0.99, 1.0),
    (lambda x: detection.inspection_sample(4, 1, x), 0.01, 0.0),
    (lambda x: detection.predictive_value(x, 0.5, 0.5), 0.99, 1.0),
    (lambda x: detection.predictive_value(x, 0.5, 0.5), SMALL, 0.0),
    (lambda x: detection.predictive_value(0.5, x, 0.5), 1.0, 1.01),
    (lambda x: detection.predictive_value(0.5, 0.5, x), 1.0, 1.01),
    (lambda x: reliability.renewal_goodput(x, 0.1, 0.1, 0.1), SMALL, 0.0),
    (lambda x: reliability.renewal_goodput(0.1, x, 0.1, 0.1), 0.0, -SMALL),
    (lambda x: reliability.renewal_goodput(0.1, 0.1, x, 0.1), 0.0, -SMALL),
    (lambda x: reliability.renewal_goodput(0.1, 0.1, 0.1, x), SMALL, 0.0),
    *(
        (field(Failures, key), good, bad)
        for key, good, bad in (
            ("rate", 0.0, -SMALL), ("recovery_h", 0.0, -SMALL), ("spare", 0.0, -SMALL),
            ("disk_bps", SMALL, 0.0), ("async_floor", 1.0, 1.01), ("async_floor", 0.0, -SMALL),
            ("hidden", SMALL, 0.0), ("hidden", 1.0, 1.01),
        )
    ),
    (lambda x: Failures().checkpoint_h(x, 1), SMALL, 0.0),
    (lambda x: Failures().checkpoint_h(1, x), SMALL, 0.0),
    (lambda x: goodput("relay", x, 1.0, 1.0), 1, 0),
    (lambda x: goodput("relay", 1, x, 1.0), SMALL, 0.0),
    (lambda x: goodput("relay", 1, 1.0, x), SMALL, 0.0),
    (lambda x: goodput(x, 1, 1.0, 1.0), "relay", "rely"),
    *(
        (lambda x, key=key: Chinchilla(**vars(FIT) | {key: x}), SMALL, 0.0)
        for key in ("E", "A", "alpha", "B", "beta")
    ),
    (lambda x: FIT.loss(x, 1.0), SMALL, 0.0),
    (lambda x: FIT.loss(1.0, x), SMALL, 0.0),
    (FIT.allocate, SMALL, 0.0),
    (lambda x: FIT.allocate(1.0, ratio=x), SMALL, 0.0),
    (lambda x: FIT.allocate(1.0, x), "exact", "best"),
    (lambda x: FIT.effective_compute(2.0, x), 0.5, 0.0),
    (FIT.effective_compute, FIT.E + SMALL, FIT.E),
    (lambda x: fits.huber(FIT, np.ones(x), np.ones(x), np.ones(x)), 6, 5),
    (lambda x: fits.huber(FIT, *RUNS, np.full(12, x)), 0.5, 0.0),
    (lambda x: fits.huber(FIT, np.full(6, x), np.ones(6), np.ones(6)), 0.5, 0.0),
    (lambda x: fits.huber(FIT, np.ones(6), np.full(6, x), np.ones(6)), 0.5, 0.0),
    (lambda x: codecs.Int4(x), 2, 0),
    (lambda x: codecs.Int4(x), 4, 3),
    (codecs.TopK, SMALL, 0.0),
    (codecs.TopK, 1.0, 1.01),
    (LowRank, 1, 0),
    (lambda x: check_outer(x, 0.0), 0.5, 0.0),
    (lambda x: check_outer(1.0, x), 0.0, -SMALL),
    (lambda x: check_outer(1.0, x), 0.99, 1.0),
    (lambda x: Transformer(width=x, heads=1), 1, 0),
    (lambda x: Transformer(layers=x), 1, 0),
    (lambda x: Transformer(heads=x), 1, 0),
    (lambda x: Transformer(context=x), 1, 0),
    (lambda x: Transformer(tokens=x), 1, 0),
    (field(Inner, "lr"), SMALL, 0.0),
    (field(Inner, "warmup"), 0, -1),
    (lambda x: Replica(Quadratic(), x), 0, -1),
    (lambda x: DiLoCo(x), 1, 0),
    (lambda x: DiLoCo(1, fragments=x), 1, 0),
    (lambda x: Gossip(x), 1, 0),
    (field(Gossip, "pull"), 0.0, -SMALL),
    (field(Gossip, "pull"), 1.0, 1.01),
    (field(Gossip, "outer_lr"), SMALL, 0.0),
    (field(Gossip, "momentum"), 0.99, 1.0),
    (Hierarchical, 2, 1),
    (field(Hierarchical, "inner_every"), 1, 0),
    (lambda x: Hierarchical(outer=DiLoCo(fragments=x)), 1, 2),
    (Hierarchical(2).check, 4, 2),
    (Hierarchical(2).check, 6, 5),
    (lambda x: tables.decades(1.0, 10.0, x), 2, 1),
    (lambda x: tables.replica_efficiency(FIT, 1e9, 1e10, x), 0.99, 0.0),
    (lambda x: text.Corpus("x", LETTERS, LETTERS, x), 2, 1),
    (lambda x: text.Corpus("x", LETTERS[:x], LETTERS, 8), 10, 9),
    (lambda x: text.Corpus("x", LETTERS, LETTERS[:x], 8), 10, 9),
    (lambda x: text.Corpus("x", LETTERS + np.uint8(x), LETTERS, 8), 95, 96),
    (lambda x: text.Shards(text.Corpus("x", LETTERS, LETTERS), x), 1, 0),
    (lambda x: text.sort_pieces(text.Corpus("x", LETTERS, LETTERS), x), 1, 0),
    (lambda x: priors.draw_rates(x, rng()), 1, 0),
    (priors.PRIORS["leak"].at, 0.0, -SMALL),
    (priors.PRIORS["leak"].at, 1.0, 1.01),
    (lambda x: uncertainty.loose_laws(x, rng()), 1, 0),
    (lambda x: uncertainty.draw(x, rng()), 1, 0),
    (lambda x: uncertainty.shrunk(uncertainty.draw(2, rng()), x), 1, 0.99),
    (lambda x: uncertainty.sobol_indices(plan(H100, 2, 91e9), "c_local", x, seed=0), 2, 1),
    (lambda x: lab.token_share([(1, 3.0), (2, 2.0)], x), 3.0, 3.01),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("number", range(len(BOUNDS)))
def test_both_sides_of_a_bound(number) -> None:
    call, good, bad = BOUNDS[number]
    try:
        call(good)
    except planner.InfeasibleError as error:  # a target so small that any plan overshoots it
        raise AssertionError(error) from None
    with pytest.raises(ValueError, match=r"is|are|expected|fit|leaves|make fewer|workers|takes no"):
        call(bad)


def test_pools_have_a_worker_and_a_time() -> None:
    for arguments, match in (((0,), "world is 0"), ((1, 0.0), r"timeout is 0")):
        with pytest.raises(ValueError, match=match):
            Pool(*arguments)


@pytest.mark.parametrize(
    ("match", "call"),
    [
        ("metric is", lambda: planner.branch_search(1e24, [H100], metric="eta")),
        ("metric is", lambda: searches.author_search(1e24, [H100], metric="eta")),
        ("metric is", lambda: searches.exhaustive_search(1e24, [H100], limit=2, metric="eta")),
        ("metric is", lambda: searches.grid_best(searches.at_nodes([H100], 2), "eta")),
        ("column", lambda: figures.cost_explorer(tables.cost_curves([], [H100], [], [10.0]))),
        ("chip is", lambda: Node("H100", 1)),
        ("draws is 1", lambda: fits.bootstrap(*RUNS, FIT.loss(*RUNS), 1, rng())),
        ("left_out is -1", lambda: fits.read_points("x", -1)),
    ],
)
def test_other_refusals(match, call) -> None:
    with pytest.raises(ValueError, match=match):
        call()
