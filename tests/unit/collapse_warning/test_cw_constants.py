"""Constants and defaults, each against where it comes from.

The paper's own numbers are those of the dossier's section 2 (its frozen contract, grids and
pre-registration); the others are written down in the chapter before its results.
"""

import inspect
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from rerun import anew, same

from lib.collapse_warning import (
    audit,
    contract,
    countermodels,
    detectors,
    effects,
    evaluation,
    lean,
    panel,
    quantile,
    replay,
)
from lib.collapse_warning.study import (
    arrangements,
    calibration,
    cost,
    domains,
    explorer,
    figures,
    markets,
    peers,
    study2,
)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (audit, "_SAME", 1e-6),
        (panel, "_STEP", 1e-6),
        (detectors, "_FLAT", 1e-12),
        (detectors, "_CHUNK", 8192),
        (detectors, "_ROWS", 256),
        (countermodels, "HYPOTHESES", ("transitive", "strict", "closed")),
        (effects, "MEASURES", ("cohen_d", "glass_d", "auc")),
        (lean, "_LEAST_GLIBC", (2, 35)),
        (quantile, "WITNESSES", ("G", "p", "delta")),
        (replay, "HORIZONS", (40, 50, 60)),
        (replay, "ENGINES", ("cosine", "popularity", "random")),
        (replay, "BLOCK", 512),
        (replay, "RECENT", 5),
        # The frozen contract: eight misses in a row.
        (calibration, "STREAK", 8),
        (calibration, "_FLAT", 1e-12),
        (calibration, "_ROUNDING", 1e-9),
        # Segments of 120 minutes with at least 60 rows, and the last 30 minutes of each.
        (markets, "SEGMENT_MINUTES", 120),
        (markets, "MIN_ROWS", 60),
        (markets, "LATE_MINUTES", 30),
        (markets, "GRID_Q", (50, 60, 70, 75, 80, 85, 90, 95, 99)),
        (markets, "GRID_K", (1, 3, 5)),
        (markets, "PREREGISTERED_Q", (90, 95, 99)),
        (markets, "SYMBOLS", ("SPY", "QQQ", "IWM", "VXX", "UVXY", "SVXY")),
        # The second study's registration.
        (study2, "BUDGETS", (0.02, 0.05, 0.10, 0.20)),
        (study2, "PRIMARY", 0.05),
        (study2, "LANDMARK", 20),
        (study2, "LEAST_GAIN", 0.05),
        (study2, "LEAST_AUC", 0.02),
        (study2, "INDICATORS", ("G", "p", "delta")),
        # The protocols in the text of `domains`.
        (domains, "UNIT_DAYS", 60),
        (domains, "STEP_DAYS", 10),
        (domains, "AHEAD_DAYS", 10),
        (domains, "FALL", 0.05),
        (domains, "GRID_HOURS", 48),
        (domains, "GRID_LEAST_HOURS", 36),
        (domains, "GRID_APART_DAYS", 30),
        (domains, "GRID_CONTROLS", 12),
    ],
    ids=lambda one: (
        one if isinstance(one, str) else getattr(one, "__name__", "").rpartition(".")[2]
    ),
)
def test_constants(module, name, value) -> None:
    assert getattr(anew(module), name) == value


def test_the_frozen_grids() -> None:
    """``calibrate_*_families``: window, allowance or pattern, and five thresholds each."""
    grids = {
        "variance_ews": [
            {"window": w, "threshold": t}
            for w in (5, 9, 13)
            for t in (0.005, 0.01, 0.02, 0.04, 0.08)
        ],
        "ac1": [
            {"window": w, "threshold": t} for w in (5, 9, 13) for t in (0.3, 0.5, 0.7, 0.85, 0.95)
        ],
        "cusum": [{"k": k, "h": h} for k in (0.02, 0.05, 0.1) for h in (0.2, 0.4, 0.6, 0.8, 1.0)],
        "page_hinkley": [
            {"delta": d, "threshold": t}
            for d in (0.005, 0.01, 0.02)
            for t in (0.1, 0.2, 0.4, 0.6, 0.8)
        ],
        "matrix_profile": [
            {"window": w, "threshold": t} for w in range(4, 9) for t in (0.2, 0.3, 0.4, 0.5, 0.6)
        ],
        "permutation_entropy": [
            {"order": o, "delay": d, "threshold": t}
            for o in (3, 4)
            for d in (1, 2)
            for t in (0.2, 0.35, 0.5, 0.65, 0.8)
        ],
    }
    wanted = [(family, one) for family, grid in grids.items() for one in grid]
    assert list(anew(calibration).CONFIGURATIONS) == wanted


def test_the_released_grids_are_those(mirror) -> None:
    rows = calibration.published(40)
    for family, params in calibration.CONFIGURATIONS:
        found = rows.loc[rows["family"] == family, "params"].tolist()
        assert any(params.items() <= one.items() for one in found), (family, params)


def test_what_is_simulated() -> None:
    found = anew(arrangements)
    assert {key: one[:2] for key, one in found.NOISE.items()} == {
        "2 events against 3": (2, 3),
        "30 against 60": (30, 60),
        "walks rebased to 100": (20, 40),
        "cumulative counts": (20, 40),
    }
    assert len(found.LEAKS) == 4


ENDS = {
    "warm_start": 30, "positive": 4.0, "top_k": 10, "neighbours": 100, "streak": 8, "floor": 10,
    "runway": 15, "horizon": 50, "on_miss": "nothing",
}  # fmt: skip


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        (contract.FPContract, {"lo": 0.03, "hi": 0.07}),
        (replay.ReplayConfig, ENDS),
        (quantile.QuantileDetector, {"q": 95, "k": 3}),
        (detectors.Cusum, {"k": 0.5, "reference": 30}),
        (detectors.Ewma, {"alpha": 0.2, "reference": 30}),
        (detectors.PageHinkley, {"delta": 0.05, "forgetting": 0.9999, "reference": 30}),
        (detectors.PermutationEntropy, {"order": 3, "delay": 1, "window": 30}),
        (detectors.Bocpd, {"hazard": 1 / 60, "short": 5, "reference": 30, "keep": 100}),
        (detectors.Glr, {"reference": 30, "window": 100}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_defaults_of_records(made, fields) -> None:
    assert vars(same(made)()) == fields


def test_other_defaults_of_records() -> None:
    assert same(detectors.Variance)(5).ddof == 1
    assert same(detectors.Mirrored)(detectors.Level()).mode == "both"


@pytest.mark.parametrize(
    ("function", "defaults"),
    [
        (
            audit.label_leak,
            {"tail": 7, "tolerance": 0.05, "alpha": 0.05, "n_permutations": 1999, "seed": 0},
        ),
        (contract.at_count, {"ties": "strict", "ids": None}),
        (countermodels.find_order, {"drop": None, "size": 3}),
        (effects.bca_interval, {"confidence": 0.95}),
        (
            effects.ClusteredEffect.bootstrap,
            {"n_resamples": 10_000, "seed": 0, "confidence": 0.95},
        ),
        (evaluation.auc_interval, {"confidence": 0.95}),
        (evaluation.evaluate_scores, {"name": "score", "confidence": 0.95}),
        (evaluation.evaluate, {"mode": "up", "confidence": 0.95}),
        (evaluation.evaluate_all, {"mode": "up", "confidence": 0.95}),
        (evaluation.held_out, {"share": 0.07, "n_halves": 20}),
        (evaluation.ranks_within, {"n_permutations": 9999, "seed": 0}),
        (lean.check, {"timeout_s": 60}),
        (replay.Replay.witnesses, {"window": 10}),
        (replay.load_movielens, {"edition": "25m", "verify": True}),
        (
            replay.replay,
            {"engine": "cosine", "seed": 0, "users": None, "index": None, "shortcut": True},
        ),
        (
            replay.replay_parallel,
            {"engine": "cosine", "seed": 0, "parts": 2, "backend": None, "n_jobs": None},
        ),
        (detectors.textbook, {"window": 30}),
        (calibration.peak_score, {"study": 1}),
        (calibration.explain, {"broken": "no"}),
        (calibration.envelope, {"k": 3}),
        (cost.operations, {"n_units": 2, "seed": 0}),
        (domains.circular_shift_p, {"apart": 6}),
        (domains.calibrate_and_judge, {"shift_labels": 0, "deal": None}),
        (domains.grid_panel, {"seed": 0}),
        (explorer.threshold_explorer, {"start": 5}),
        (figures.staircase_figure, {"right": 0.3}),
        (markets.units, {"length": 120, "min_rows": None}),
        (markets.late, {"minutes": 30}),
        (markets.a1_cells, {"fit_on_events": False}),
        (markets.effects, {"cluster": "unit"}),
        (markets.spikes, {"factor": 1e6}),
        (markets.sweep_detectors, {"window": 30}),
        (markets.left_out_detectors, {"window": 30}),
        (markets.diversity, {"window": 30, "rtol": 0.0}),
        (peers.river_alarm_starts, {"least": 30}),
        (peers.same_alarms, {"least": 30}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_defaults_of_functions(function, defaults) -> None:
    found = inspect.signature(same(function)).parameters
    assert {key: found[key].default for key in defaults} == defaults


def test_what_is_long_is_not_shown() -> None:
    index = same(replay.ItemIndex)(*(f"<{name}>" for name in "abcdef"))
    assert "<e>" in repr(index)
    assert "<f>" not in repr(index)
    run = same(replay.Replay)(*(f"<{name}>" for name in "abcdefgh"))
    assert "<g>" in repr(run)
    assert "<h>" not in repr(run)
    assert same(evaluation.Evaluation)("x", None, "", None, None, 0.5, 0.95, 1.0).alarms is None
    assert same(panel.Panel)([[1], [2]], [1, 1], [1, 0], [0, 1]).times is None


def test_the_textbook_s_settings() -> None:
    found = detectors.textbook()
    assert vars(found[7]) == {"length": 10}
    names = [
        *("level", "variance(30)", "AC1(30)", "CUSUM(0.5)", "EWMA(0.2)", "Page-Hinkley(0.05)"),
        *("permutation entropy(3,30)", "matrix profile(10)", "BOCPD(5)"),
    ]
    assert [one.name for one in found] == names
    short = detectors.textbook(12)
    assert [vars(one).get("reference", vars(one).get("window", 0)) for one in short] == [
        *(0, 12, 12, 12, 12, 12, 12, 0, 12),
    ]
    assert vars(short[7]) == {"length": 4}
    assert vars(detectors.textbook(15)[7]) == {"length": 5}
    # The shortest window: a third of it would be no length.
    assert vars(detectors.textbook(8)[7]) == {"length": 4}
    with pytest.raises(ValueError, match="window is 7"):
        detectors.textbook(7)


def test_the_sweep_s_settings() -> None:
    sweep = [(one.name, vars(one)) for one in markets.sweep_detectors(12)]
    assert sweep == [
        ("variance(12)", {"window": 12, "ddof": 1}),
        ("AC1(12)", {"window": 12}),
        ("CUSUM(0.5)", {"k": 0.5, "reference": 12}),
        ("Page-Hinkley(0.05)", {"delta": 0.05, "forgetting": 0.9999, "reference": 12}),
        ("level", {}),
    ]
    left = [(one.name, vars(one)) for one in markets.left_out_detectors(15)]
    assert left == [
        ("EWMA(0.2)", {"alpha": 0.2, "reference": 15}),
        ("BOCPD(5)", {"hazard": 1 / 60, "short": 5, "reference": 15, "keep": 100}),
        ("GLR(15)", {"reference": 15, "window": 100}),
        ("permutation entropy(3,15)", {"order": 3, "delay": 1, "window": 15}),
        ("matrix profile(5)", {"length": 5}),
    ]
    assert vars(markets.left_out_detectors(9)[-1]) == {"length": 4}


LAST_GOOD = [
    *((lambda v: detectors.Variance(v), 2, 1), (lambda v: detectors.AC1(v), 3, 2)),
    (lambda v: detectors.Variance(5, v), 0, -1),
    (lambda v: detectors.Variance(5, v), 1, 2),
    (lambda v: detectors.Cusum(v), 0, -1e-9),
    (lambda v: detectors.Cusum(reference=v), 2, 1),
    (lambda v: detectors.Ewma(v), 1e-9, 0),
    (lambda v: detectors.Ewma(v), 1 - 1e-9, 1),
    (lambda v: detectors.Ewma(reference=v), 2, 1),
    (lambda v: detectors.PageHinkley(v), 0, -1e-9),
    (lambda v: detectors.PageHinkley(forgetting=v), 1e-9, 0),
    (lambda v: detectors.PageHinkley(forgetting=v), 1, 1 + 1e-9),
    (lambda v: detectors.PageHinkley(reference=v), 0, -1),
    (lambda v: detectors.PageHinkley(reference=v), 2, 1),
    (lambda v: detectors.PermutationEntropy(v), 2, 1),
    (lambda v: detectors.PermutationEntropy(v), 7, 8),
    (lambda v: detectors.PermutationEntropy(delay=v), 1, 0),
    (lambda v: detectors.PermutationEntropy(4, 3, v), 10, 9),
    (lambda v: detectors.MatrixProfile(v), 3, 2),
    (lambda v: detectors.Bocpd(v), 1e-9, 0),
    (lambda v: detectors.Bocpd(v), 1 - 1e-9, 1),
    (lambda v: detectors.Bocpd(short=v), 1, 0),
    (lambda v: detectors.Bocpd(short=5, reference=v), 6, 5),
    (lambda v: detectors.Bocpd(short=1, reference=v), 2, 1),
    (lambda v: detectors.Bocpd(keep=v), 7, 6),
    (lambda v: detectors.Glr(v), 2, 1),
    (lambda v: detectors.Glr(window=v), 1, 0),
    (lambda v: quantile.QuantileDetector(v), 1e-9, 0),
    (lambda v: quantile.QuantileDetector(v), 100 - 1e-9, 100),
    (lambda v: quantile.QuantileDetector(k=v), 1, 0),
    (lambda v: contract.FPContract(v, 0.5), 0, -1e-9),
    (lambda v: contract.FPContract(0.5, v), 1, 1 + 1e-9),
    (lambda v: contract.FPContract(0.2, v), 0.2 + 1e-9, 0.2),
    (lambda v: contract.FPContract().accepts(0, v), 1, 0),
    (lambda v: contract.FPContract().accepts(v, 4), 0, -1),
    (lambda v: contract.FPContract().accepts(v, 4), 4, 5),
    (lambda v: contract.FPContract().reachable(v), 1, 0),
    (lambda v: panel.check_labels([0, 1, 1][:v], v), 2, 1),
    (lambda v: effects.cohen_d([1, 2, 3][:v], [0, 1]), 2, 1),
    (lambda v: effects.cohen_d([0, 1], [1, 2, 3][:v]), 2, 1),
    (lambda v: evaluation.auc_interval(0.5, v, 3), 1, 0),
    (lambda v: evaluation.auc_interval(0.5, 3, v), 1, 0),
    (lambda v: evaluation.auc_interval(0.5, 3, 3, v), 0.999, 1),
    (lambda v: evaluation.auc_interval(v, 3, 3), 0.0, -0.1),
    (lambda v: cost.operations(detectors.Level(), 3, n_units=v), 1, 0),
    (lambda v: cost.operations(detectors.Level(), v), 1, 0),
    (lambda v: arrangements.planted_panel(v, 1, 10, 0.0, 0), 1, 0),
    (lambda v: arrangements.planted_panel(1, v, 10, 0.0, 0), 1, 0),
    (lambda v: arrangements.planted_panel(1, 1, v, 0.0, 0), 10, 9),
    (lambda v: calibration.miss_series(4, v), 0, -1),
    (lambda v: calibration.miss_series(4, v), 4, 5),
    (lambda v: calibration.miss_series(v, 0), 1, 0),
    (lambda v: calibration.peak_score("cusum", {"k": 0.1}, [1.0], study=v), 1, 0),
    (lambda v: calibration.peak_score("cusum", {"k": 0.1}, [1.0], study=v), 2, 3),
    (lambda v: markets.diversity(np.ones((5, 2)), v), 5, 6),
    (lambda v: markets.diversity(np.ones((5, 2)), v), 2, 1),
    (lambda v: countermodels.find_order(size=v), 3, 2),
    *(
        (lambda v, name=name: replay.ReplayConfig(**{"runway": 0, name: v}), 1, 0)
        for name in ("warm_start", "top_k", "neighbours", "streak", "floor", "horizon")
    ),
    (lambda v: replay.ReplayConfig(runway=v), 0, -1),
    (lambda v: replay.ReplayConfig(runway=v, horizon=20), 19, 20),
]


@pytest.mark.parametrize(("call", "good", "bad"), LAST_GOOD)
def test_the_last_good_and_the_first_bad_value(call, good, bad) -> None:
    call(good)
    with pytest.raises(ValueError, match="expected"):
        call(bad)


PANEL = arrangements.planted_panel(2, 4, 10, 0.0, 0)
SCORES, KINDS, GROUPS = [1.0, 2.0, 3.0], [0, 1, 0], ["a", "a", "a"]


@pytest.mark.parametrize(
    ("call", "good", "bad"),
    [
        (lambda v: audit.label_leak(PANEL, tail=v), 2, 1),
        (lambda v: audit.label_leak(PANEL, tolerance=v), 0, -1e-9),
        (lambda v: audit.label_leak(PANEL, tolerance=v), 1, 1 + 1e-9),
        (lambda v: audit.label_leak(PANEL, alpha=v), 1e-9, 0),
        (lambda v: audit.label_leak(PANEL, alpha=v), 1 - 1e-9, 1),
        (lambda v: audit.label_leak(PANEL, n_permutations=v), 99, 98),
        (lambda v: audit.label_leak(PANEL, seed=v), 0, -1),
        (lambda v: evaluation.held_out(PANEL, v), 0, -1),
        (lambda v: evaluation.held_out(PANEL, 0, share=v), 0, -1e-9),
        (lambda v: evaluation.held_out(PANEL, 0, share=v), 0.999, 1),
        (lambda v: evaluation.held_out(PANEL, 0, n_halves=v), 1, 0),
        (lambda v: evaluation.ranks_within(SCORES, KINDS, GROUPS, n_permutations=v), 99, 98),
        (
            lambda v: evaluation.ranks_within(SCORES, KINDS, GROUPS, n_permutations=99, seed=v),
            *(0, -1),
        ),
        (lambda v: PANEL.first(v), 1, 0),
        (lambda v: PANEL.last(v), 10, 11),
        (lambda v: evaluation.evaluate_scores(SCORES, KINDS, confidence=v), 0.999, 1),
    ],
)
def test_settings_at_their_ends(call, good, bad) -> None:
    call(good)
    with pytest.raises(ValueError, match="expected"):
        call(bad)


def test_halves_need_two_of_each() -> None:
    for n_events, n_controls in itertools.product((1, 2), repeat=2):
        small = arrangements.planted_panel(n_events, n_controls, 10, 0.0, 0)
        if n_events == n_controls == 2:
            assert set(evaluation.held_out(small, 0)) == {"events", "controls", "difference"}
        else:
            with pytest.raises(ValueError, match=r"is 1\.0, expected"):
                evaluation.held_out(small, 0)
