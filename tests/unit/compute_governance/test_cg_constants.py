"""Constants and defaults, each against where it comes from.

The paper's own numbers are those of the dossier's section 2 (its repository's documents and table
generator); what is an assumption of the book is listed as the theory page has it.
"""

import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from rerun import anew, same

from lib.compute_governance import (
    codecs,
    detection,
    exposure,
    fits,
    hardware,
    planner,
    regime,
    scaling,
)
from lib.compute_governance.lowcomm import models, pool, strategies, training, wire
from lib.compute_governance.planner import Assumptions, Network
from lib.compute_governance.regime import LEGITIMATE, System
from lib.compute_governance.study import __main__ as command
from lib.compute_governance.study import (
    failures,
    figures,
    lab,
    patterns,
    priors,
    searches,
    tables,
    text,
    uncertainty,
)


def test_model_sizes_are_the_published_grid() -> None:
    """Of the table generator: 72 sizes; a wrong one changes a sum, two wrong ones the other."""
    sizes = anew(planner).MODEL_SIZES
    billions = np.array(sizes) / 1e9
    assert len(billions) == 72
    assert (np.diff(billions) > 0).all()
    assert billions.sum() == 33_547.5
    assert (billions**2).sum() == 138_681_507.25
    assert (billions[0], billions[-1]) == (0.5, 10_000.0)
    assert sizes[1] == 1e9


def test_group_sizes_are_the_published_ones() -> None:
    found = anew(planner)
    assert found.GROUP_SIZES == (4, 8, 10, 12, 14, 16, 18, 20, 24, 32)
    assert (found.FLAT, found.HIERARCHICAL, found.PIPELINE) == (0, 1, 2)


@pytest.mark.parametrize(
    ("scenario", "factors", "boundary"),
    [
        ("optimistic", (1, 1, 1, 1, 1, 0.99), 1.0),
        ("expected", (1, 1, 1, 0.99, 0.99, 0.96), 0.995),
        ("conservative", (1, 0.99, 0.97, 0.93, 0.91, 0.80), 0.96),
    ],
)
def test_what_compression_keeps(scenario, factors, boundary) -> None:
    """The tables of ``Compression_Quality.md``, with error feedback."""
    known = planner.COMPRESSION_QUALITY[scenario]
    assert known == tuple(zip((1, 4, 16, 100, 150, 500), factors, strict=True))
    for ratio, factor in known:
        found = Assumptions(compression=ratio, quality=scenario).eta_compression
        assert float(found) == pytest.approx(factor)
    assert Assumptions(quality=scenario).boundary_quality == boundary


def test_between_two_ratios_quality_is_linear_in_the_logarithm() -> None:
    middle = Assumptions(compression=40.0, quality="conservative").eta_compression
    assert float(middle) == pytest.approx(0.95)  # 40 is the geometric mean of 16 and 100


def test_the_published_chips() -> None:
    """``hardware_configs.md``: TFLOP/s at FP16 and FP8, GB, US dollars."""
    known = anew(hardware)
    rows = {
        one.name: (one.tflops_fp16, one.tflops_fp8, one.mem_gb, one.price_usd)
        for one in (*known.CHIPS.values(), *known.CURRENT.values())
    }
    assert rows == {
        "A100 80GB": (312, None, 80, 7_000),
        "GH200": (990, 1_980, 144, 28_000),
        "H100": (990, 1_980, 80, 25_000),
        "Ascend 910B": (320, None, 64, 16_000),
        "Ascend 910C": (600, None, 128, 26_000),
        "TPU v4": (275, None, 32, 12_000),
        "TPU v5e": (197, None, 16, 6_000),
        "TPU v5p": (459, None, 95, 20_000),
        "TPU v6e": (918, 1_836, 32, 25_000),
        "H200": (990, 1_980, 141, 30_000),
        "B200": (2_250, 4_500, 180, 40_000),
        "MI300X": (1_307, 2_615, 192, 15_000),
    }
    assert known.H100_TFLOPS == 990


def test_the_legitimate_systems() -> None:
    """Section 10.1 of the simulator's documentation: TFLOP/s and GB of all accelerators."""
    known = anew(regime).LEGITIMATE
    assert [(one.h100_eq * 990, one.mem_gb) for one in known] == [
        (pytest.approx(tflops), gb)
        for tflops, gb in (
            *((104, 32), (330, 48), (1_248, 160), (1_248, 320), (2_496, 640), (2_496, 320)),
            *((7_920, 640), (1_248, 320), (7_920, 640), (1_472, 384), (597, 192), (7_920, 640)),
            *((2_496, 640), (7_920, 640)),
        )
    ]
    assert len({one.name for one in known}) == 14


def test_the_law_and_its_errors() -> None:
    found = anew(scaling)
    assert vars(found.FIT) == {
        "E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658,
    }  # fmt: skip
    assert found.STANDARD_ERRORS == {
        "E": 0.03, "A": 124.58, "alpha": 0.02, "B": 1293.23, "beta": 0.02,
    }  # fmt: skip
    assert found.REFERENCE_RATIO == 25.6
    assert pytest.approx(1.96, abs=1e-4) == found.CI95


def test_priors_and_ranges() -> None:
    assert {key: (p.low, p.high, p.log) for key, p in anew(priors).PRIORS.items()} == {
        "leak": (4e-6, 1e-2, True),  # Grimes (2016)
        "inspect": (1e-4, 1e-1, True),
        "notice": (0.05, 0.95, False),
        "audit": (1e-8, 1e-3, True),
        "visible": (8.0, 10.0, False),
        "steep": (1.0, 6.0, False),
    }
    found = anew(uncertainty)
    # The MFU's is the author's; half to one and a half of the base; a quarter; the scenarios' span.
    assert found.RANGES == {
        "mfu": (0.3, 0.6),
        "alpha_base": (0.08 / 2, 0.12),
        "replica_scale": (0.75, 1.25),
        "quality_shift": (-0.08, 0.01),
    }
    assert (
        *("law", "mfu", "alpha_base", "replica_scale", "quality_shift", "unused"),
    ) == found.INPUTS


def test_the_networks_of_the_tables() -> None:
    """Mbit/s up and down, and seconds."""
    known = anew(tables)
    rows = {
        key: (round(n.up_bps / 1e6), round(n.down_bps / 1e6), n.latency_s)
        for key, n in known.NETWORKS.items()
    }
    assert rows == {
        "b10m": (10, 10, 0.1),
        "b30m": (30, 30, 0.1),
        "china": (47, 207, 0.1),
        "us": (57, 310, 0.1),
        "b100m": (100, 100, 0.1),
        "b300m": (300, 300, 0.1),
        "b1g": (1_000, 1_000, 0.1),
        "b1000g": (1_000_000, 1_000_000, 1e-4),
    }
    assert Network.mbps(3).up_bps == Network.mbps(3).down_bps == 3e6
    assert Network.mbps(3, 5).down_bps == 5e6
    assert [float(f"{t:.1e}") for t in known.TARGETS.values()] == [
        *(1e24, 3.3e24, 1e25, 2.1e25, 3.8e25, 6.6e25, 1e26),
    ]


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (tables, "LATENCIES", (0.01, 0.03, 0.1, 0.3)),
        (tables, "PRINTED", {"c1e25": (1, 8), "b100m": (1, 8)}),
        (planner, "CHIP_LIMIT", 80 * 100_000),  # the published search's nodes, of 80 chips
        (searches, "NODE_LIMIT", 100_000),
        (planner, "SMALLEST", 35e6),
        (planner, "_TIE", 1e-9),
        (searches, "_TIE", 1e-9),
        (exposure, "YEAR_S", 31_557_600.0),
        (fits, "DELTA", 0.001),  # Hoffmann et al. (2022), approach 3
        (fits, "_START", (0, 0.5, 0, 0.5, 0.5)),
        (fits, "_STEPS", 3_000),
        (detection, "CHANNELS", ("whistleblower", "inspection", "chip audit", "financial")),
        (uncertainty, "BOOTSTRAPS", 400),
        (uncertainty, "MOST", 8),
        (uncertainty, "FAMILY", 0.2),
        (lab, "TEXTBOOK", (0.7, 0.9)),  # arXiv 2311.08105
        (lab, "GRID", ((1.0, 0.0), (0.7, 0.5), (0.7, 0.9))),
        (lab, "SILENCE", 0.2),
        (text, "HELD_OUT_WINDOWS", 256),
        (text, "HELD_OUT_EVERY", 10),
        (text, "ALPHABET", "\n" + bytes(range(32, 127)).decode()),
        (pool, "TIMEOUT", 600.0),
        (pool, "_BEAT", 1.0),
        (pool, "_START", 600.0),
        (pool, "_GRACE", 2.0),
        # struct tcp_info of linux/tcp.h: bytes_acked, bytes_received, bytes_sent, bytes_retrans.
        (wire, "_ACKED", 120),
        (wire, "_RECEIVED", 128),
        (wire, "_SENT", 200),
        (wire, "_END", 216),
        (
            command,
            "CODECS",
            {
                "fp32": codecs.Fp32(), "fp16": codecs.Fp16(), "int8": codecs.Int8(),
                "int4": codecs.Int4(256), "top-k": codecs.TopK(0.05),
            },
        ),
        (
            command,
            "MODELS",
            {
                "smoke": models.Transformer(16, 1, 2, 16, 96),
                "book": models.Transformer(64, 1, 2, 32, 96),
                "full": models.Transformer(512, 8, 8, 256, 96),
            },
        ),
    ],
    ids=lambda one: getattr(one, "__name__", "").rpartition(".")[2],
)  # fmt: skip
def test_constants(module, name, value) -> None:
    assert getattr(anew(module), name) == value


PAPER = {
    "mfu": 0.4, "batch_tokens": 131_072, "window_s": 740 * 24 * 3_600, "compression": 150,
    "quality": "expected", "quality_shift": 0, "tail": 0.02, "alpha_base": 0.08,
    "alpha_decades": 5, "eta_floor": 0.4, "replica_scale": 1.0923, "replica_power": 0.2342,
    "replica_h": 30, "micro_batches": 8, "hidden": 0.03, "law": scaling.FIT, "ratio": 25.6,
    "overtraining": (1, 100), "goodput": 1, "server": 1.64, "cluster": 1.23, "site_usd": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        (Assumptions, PAPER),
        (Network, {"up_bps": 1e8, "down_bps": 1e8, "latency_s": 0.1}),
        (regime.Regime, {"h100_eq": 16, "mem_gb": None}),
        (codecs.Int4, {"block": 256}),
        (codecs.TopK, {"fraction": 0.05}),
        (patterns.LowRank, {"rank": 4, "whole_tensors": True}),
        (codecs.Fp32, {"whole_tensors": False}),
        (models.Transformer, {"width": 32, "layers": 2, "heads": 2, "context": 32, "tokens": 96}),
        (models.Inner, {"kind": "adamw", "lr": 3e-3, "warmup": 10}),
        (
            strategies.DiLoCo,
            {
                "every": 20, "outer_lr": 0.7, "momentum": 0.9, "codec": codecs.Fp32(),
                "error_feedback": False, "fragments": 1,
            },
        ),
        (
            patterns.Gossip,
            {"every": 20, "outer_lr": 1, "momentum": 0, "pull": 1, "codec": codecs.Fp32()},
        ),
        (patterns.Hierarchical, {"region": 2, "inner_every": 5, "outer": strategies.DiLoCo()}),
        (patterns.Disguised, {"claimed": codecs.Int4()}),
        (
            training.Settings,
            {
                "inner": models.Inner(), "batch": 32, "judge_every": 0, "shares": None,
                "checkpoint": None, "checkpoint_every": 0, "resume": False, "stop_after": None,
                "kill": None, "forget": False, "device": "cpu", "dtype": "float32",
            },
        ),
        (  # Failure_Mitigation_Analysis.md
            failures.Failures,
            {
                "rate": 2e-5, "recovery_h": 10 / 60, "disk_bps": 24e9, "hidden": 0.02,
                "spare": 0.05, "async_floor": 0.88,
            },
        ),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)  # fmt: skip
def test_defaults_of_records(made, fields) -> None:
    found = same(made)()
    assert {key: getattr(found, key) for key in fields} == fields


@pytest.mark.parametrize(
    ("function", "defaults"),
    [
        (Network.mbps, {"down": None, "latency_s": 0.1}),
        (planner.evaluate, {"group": 1, "every": None}),
        (planner.plan, {"mode": 0, "group": 1}),
        (planner.branch_search, {"metric": "c_local", "sizes": planner.MODEL_SIZES}),
        (regime.Regime.choices, {"every": True}),
        (exposure.exposure, {"staff_a_site": 0.5, "core": 20.0}),
        (exposure.cheapest_under, {"metric": "c_local", "every": True}),
        (exposure.frontier, {"metric": "c_quality", "every": True, "systems": LEGITIMATE}),
        (detection.p_detect, {"frailty": 0.0}),
        (fits.read_points, {"left_out": 5}),
        (scaling.Chinchilla.allocate, {"rule": "ratio", "ratio": 25.6}),
        (scaling.Chinchilla.effective_compute, {"ratio": 25.6}),
        (uncertainty.laws, {"draws": 400, "by": "run", "seed": 20_240_415}),
        (uncertainty.sure_cost, {"confidence": 0.95}),
        (lab.wire_audit, {"rounds": 5}),
        (text.sort_pieces, {"piece": 1_024}),
        (text.read_corpus, {"context": 32}),
        (text.manual_pages, {"context": 32}),
        (text.Corpus, {"context": 32}),
        (text.Shards, {"parts": 4}),
        (tables.flop, {"digits": 3}),
        (figures.cost_explorer, {"usual": (16.0, 100.0), "start": 8.0}),
        (training.train, {"world": None, "steps": 200, "seed": 0}),
        (training._Worker.load, {"forget": False}),
        (pool.Pool, {"timeout": 600.0}),
        (pool.Seat, {"tell": None, "last": 0.0}),
        (wire.Link, {"group": None, "claimed": 0.0, "sent": 0.0, "exchanges": 0}),
        (priors.Prior, {"log": True}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_defaults_of_functions(function, defaults) -> None:
    found = inspect.signature(same(function)).parameters
    assert {key: found[key].default for key in defaults} == defaults


def test_what_is_long_is_not_shown() -> None:
    letters = np.zeros(40, np.uint8)
    assert repr(same(text.Corpus)("x", letters, letters)) == "Corpus(name='x', context=32)"
    left = same(training.History)(1.0, [], np.zeros(3), 0, 1, 1, 1, None, 0, 1, 1)
    assert "weights" not in repr(left)
    assert repr(same(pool.Seat)(0, 2)) == "Seat(rank=0, world=2, tell=None)"
    assert "_done" not in repr(same(lab.Lab)(None, None, None, 1, training.Settings()))
    assert same(strategies.Rounds).last == 0


def test_systems_and_servers_are_named() -> None:
    assert System("x", 0, 0).h100_eq == 0
    with pytest.raises(ValueError, match="name is"):
        System("", 1.0, 1.0)
