"""Constants and defaults, each as the pages, the dossier or a source has it."""

import inspect
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from rerun import anew, same

from lib.semantic_ids import (
    anatomy,
    beam,
    catalogue,
    counts,
    datasets,
    evaluation,
    hashing,
    intervals,
    optim,
    prefixmem,
    tokenizer,
    training,
    transformer,
)
from lib.semantic_ids.datasets import SidData
from lib.semantic_ids.prefixmem import PrefixMemConfig
from lib.semantic_ids.study import (
    arms,
    checks,
    controls,
    experiment,
    figures,
    films,
    guarantees,
    interactive,
    lm_arms,
    paper,
    truncated,
)
from lib.semantic_ids.training import TrainConfig
from lib.semantic_ids.transformer import TransformerConfig


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (datasets, "N_CODES", 256),  # 4 x 256 or 3 x 256 in every public table
        (datasets, "SAMPLE_SEED", 606),
        (datasets, "_WINDOW", 10),  # MiniOneRec's csv files
        (evaluation, "GRID", (0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3)),
        (evaluation, "SHARES", (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1)),
        (prefixmem, "_NO_DIGEST", "0" * 64),  # as long as a SHA-256 in hexadecimal
        (tokenizer, "GRID", 1024),
        (tokenizer, "_BATCH", 32),
        (arms, "KS", (5, 10, 20, 50, 100)),
        (arms, "SHUFFLE_SEED", 606),
        (experiment, "SEEDS", (0, 1)),
        (lm_arms, "SEEDS", (0, 1, 2)),
        (guarantees, "TRAINED", 0.05),
        (catalogue, "Collisions", catalogue.Collisions),
    ],
    ids=lambda one: getattr(one, "__name__", "").rpartition(".")[2],
)
def test_constants(module, name, value) -> None:
    assert getattr(anew(module), name) == value


def test_the_backbone_reads_twenty_items_and_the_target() -> None:
    shape = anew(arms).SHAPE
    assert shape == TransformerConfig(
        n_levels=4, n_codes=256, max_items=21, d_model=128, n_layers=1, n_heads=4
    )


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        (
            PrefixMemConfig,
            {
                "n_levels": 4, "n_codes": 256, "d_model": 96, "active_levels": (3, 4),
                "d_mem": 64, "n_heads": 4, "table_size": 16_381, "max_order": 4,
                "kind": "prefix", "seed": 0, "init_std": 0.0,
            },
        ),
        (
            TransformerConfig,
            {
                "n_levels": 4, "n_codes": 256, "max_items": 9, "d_model": 96, "n_layers": 2,
                "n_heads": 4, "dropout": 0.0,
            },
        ),
        (
            TrainConfig,
            {
                "steps": 300, "items_per_batch": 256, "lr": 3e-3, "matrix_lr": 0,
                "memory_factor": 5,  # section 4 of the paper
                "warmup": 20, "weight_decay": 0.01, "clip": 1, "average": 0, "seed": 0,
            },
        ),
        (
            arms.Arm,
            {
                "encoder": "none", "memory": PrefixMemConfig(), "shape": arms.SHAPE,
                "train": arms.recipe(200), "n_test": 3000, "n_valid": 0, "n_beam": 0,
                "width": 100, "n_target": 0, "curve": (), "data": "beauty_rqkmeans",
            },
        ),
        (
            lm_arms.LmArm,
            {
                "encoder": "none", "n_layers": 1, "train": TrainConfig(), "length": 48,
                "memory": PrefixMemConfig(n_levels=3, max_order=3, active_levels=(2, 3)),
                "max_words": 10, "n_test": 1000, "n_text": 200, "data": "industrial",
            },
        ),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)  # fmt: skip
def test_defaults_of_records(made, fields) -> None:
    found = same(made)()
    assert {key: getattr(found, key) for key in fields} == fields


def test_the_language_models_memory_is_over_three_levels() -> None:
    memory = same(lm_arms.LmArm)().memory
    assert (memory.n_levels, memory.max_order, memory.active_levels) == (3, 3, (2, 3))


@pytest.mark.parametrize(
    ("function", "defaults"),
    [
        (hashing.primes, {"seed": 0, "bits": 61}),
        (hashing.PrefixHash, {"seed": 0, "kind": "prefix", "scheme": "mixed", "multipliers": None}),
        (counts.NGramCounts, {"alpha": 1}),
        (counts.NGramCounts.fit, {"alpha": 1}),
        (evaluation.teacher_forced, {"batch": 256}),
        (evaluation.fit_mixture, {"rigid": False}),
        (evaluation.Mixture, {"shares": ()}),
        (beam.generate, {"catalog": None, "batch": 128, "steps": None}),
        (beam.MixedSteps, {"shares": ()}),
        (catalogue.SidCatalog, {"collisions": "keep"}),
        (catalogue.check_codes, {"n_levels": None, "name": "codes"}),
        (intervals.Resample, {"draws": 1000, "seed": 0}),
        (intervals.Resample.estimate, {"level": 0.95}),
        (optim.RowAdam, {"betas": (0.9, 0.999), "eps": 1e-8}),  # Kingma and Ba
        (optim.Muon, {"weight_decay": 0.1, "momentum": 0.95}),
        (tokenizer.ResidualTokenizer.fit, {"steps": 25}),
        (tokenizer.ResidualTokenizer.encode_faiss, {"beam": 1}),
        (training.fit, {"evaluate": None, "at": ()}),
        (training.train, {"evaluate": None, "at": ()}),
        (transformer.CausalTransformer, {"dropout": 0}),
        (transformer.GenerativeTransformer, {"encoder": None}),
        (anatomy.count_accuracy, {"fitted_on": "train"}),
        (SidData, {"texts": None, "note": "", "given_split": None}),
        (films.films, {"min_ratings": 20}),
        (films.movielens, {"n_levels": 3, "n_codes": 32, "seed": 0}),
        (arms.recipe, {"items_per_batch": 512}),
        (arms.count_result, {"width": 100}),
        (checks.user_interval, {"seed": 0, "n_resamples": 1000}),
        (checks.tied, {"draws": 20, "seed": 0}),
        (checks.scrambled, {"seed": 0}),
        (controls.RandomRows, {"seed": 0}),
        (experiment.Study, {"draws": 1000}),
        (experiment.Study.early, {"final": False}),
        (experiment.Study.target_gain, {"relative": False}),
        (experiment.Study.group_gain, {"against": None, "relative": False}),
        (experiment.Study.gain, {"name": "hits", "base": "hits"}),
        (experiment.Study.residual, {"arm": "PrefixMem", "name": "mixed_nll"}),
        (figures.fill_figure, {"bins": 32}),
        (figures._error, {"scale": 100}),
        (figures._legend, {"ncols": 3}),
        (guarantees.generative_identity, {"trained": False}),
        (guarantees.language_model_identity, {"trained": False}),
        (interactive.node_table, {"n_first": 12, "min_items": 1, "names": None}),
        (interactive.tree_explorer, {"n_first": 12, "min_items": 2, "names": None}),
        (lm_arms.bleu_counts, {"order": 4}),  # Papineni et al.
        (lm_arms.LmStudy.gain, {"level": 3}),
        (paper.percentages, {"exchanged": False}),
        (truncated.load_truncated, {"seed": 0}),
        (truncated.next_item, {"batch": 64}),
    ],
    ids=lambda one: getattr(one, "__qualname__", ""),
)
def test_defaults_of_functions(function, defaults) -> None:
    found = inspect.signature(same(function)).parameters
    assert {key: found[key].default for key in defaults} == defaults


def test_what_is_long_is_not_shown() -> None:
    one = same(truncated.Vocabulary)(np.arange(1), (), 3, 8, ("word",))
    assert "word" not in repr(one).replace("words", "")


# ── what is run in each profile ─────────────────────────────────────────────────────────────────
# Beauty has 22,363 users; a pass over its train interactions is 318 batches of 512.
SIZES = {
    "smoke": {
        "steps": (10, 20), "batch": 256, "n_test": 300, "n_valid": 200, "n_beam": 50,
        "n_target": 100, "seeds": [0, 1],
    },
    "book": {
        "steps": (200, 1908), "batch": 512, "n_test": 3000, "n_valid": 1500, "n_beam": 500,
        "n_target": 3000, "seeds": [0, 1],
    },
    "full": {
        "steps": (200, 1908), "batch": 512, "n_test": 22_363, "n_valid": 8000, "n_beam": 8000,
        "n_target": 22_363, "seeds": [0, 1, 2, 3, 4],
    },
}  # fmt: skip


@pytest.mark.parametrize("profile", SIZES)
def test_the_main_arms_of_a_profile(profile, monkeypatch) -> None:
    monkeypatch.setenv("BOOK_PROFILE", profile)
    wanted = SIZES[profile]
    for place, budget in enumerate(experiment.BUDGETS):
        steps = wanted["steps"][place]
        found = experiment.main_arms(budget)
        assert list(found) == ["flat", "PrefixMem"]
        for name, row in found.items():
            assert [one.train.seed for one in row] == wanted["seeds"]
            one = row[0]
            assert one.encoder == ("none" if name == "flat" else "prefixmem")
            assert one.train == arms.recipe(steps, wanted["batch"])
            assert (one.train.steps, one.train.items_per_batch) == (steps, wanted["batch"])
            assert (one.n_test, one.n_valid) == (wanted["n_test"], wanted["n_valid"])
            assert one.n_beam == wanted["n_beam"]
            assert one.n_target == (wanted["n_target"] if place else 0)
            assert one.curve == (round(steps / 4 - 0.1), round(3 * steps / 4 - 0.1))
            assert one.shape == arms.SHAPE


@pytest.mark.parametrize("profile", SIZES)
def test_the_variations_of_a_profile(profile, monkeypatch) -> None:
    monkeypatch.setenv("BOOK_PROFILE", profile)
    main = experiment.main_arms(experiment.BUDGETS[0])
    found = experiment.variation_arms()
    assert list(found) == [*main, *experiment.VARIATIONS]
    n_seeds = 5 if profile == "full" else 1
    assert {len(row) for row in found.values()} == {n_seeds}
    assert found["flat"] == main["flat"][:n_seeds]
    for name, change in experiment.VARIATIONS.items():
        for one, flat in zip(found[name], main["flat"], strict=False):
            n_valid = flat.n_valid if name == "rows at random" else 0
            assert one == replace(flat, n_valid=n_valid, n_beam=0, curve=(), **change)
    assert found["leak (control)"][0].encoder == "leaky"


def test_the_untrained_arm_takes_one_step_at_a_vanishing_rate() -> None:
    flat = experiment.main_arms(experiment.BUDGETS[1])["flat"][0]
    found = experiment.untrained_arm()
    assert (found.train.steps, found.train.lr, found.train.matrix_lr) == (1, 1e-9, 1e-9)
    assert found.curve == ()
    assert (found.n_test, found.n_valid, found.n_target) == (500, 0, 375)
    assert found.n_beam == flat.n_beam
    assert found.train.seed == 0


LM_SIZES = {
    "smoke": (1, 3, 3, 1e-3, 16, 50, 20),
    "book": (1, 60, 6, 3e-3, 48, 1000, 200),
    "full": (30, 5000, 48, 3e-4, 256, 4533, 400),
}
"""Layers, steps, rows, rate, tokens of a row, test examples, hidden items."""


@pytest.mark.parametrize("profile", LM_SIZES)
def test_the_language_models_arms_of_a_profile(profile, monkeypatch) -> None:
    monkeypatch.setenv("BOOK_PROFILE", profile)
    found = lm_arms.lm_arms()
    kinds = {name: {one.encoder for one in row} for name, row in found.items()}
    assert kinds == {
        "flat": {"none"}, "PrefixMem": {"prefixmem"}, "PrefixMem, rows at random": {"random rows"},
    }  # fmt: skip
    for row in found.values():
        assert [one.train.seed for one in row] == [0, 1, 2]
        for one in row:
            train = one.train
            assert (
                one.n_layers, train.steps, train.items_per_batch, train.lr, one.length,
                one.n_test, one.n_text,
            ) == LM_SIZES[profile]  # fmt: skip
            assert train.warmup == 5
