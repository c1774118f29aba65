"""What the notebooks ask for, on results and data made by hand: maps, checks, arms, text, films."""

import itertools
import json
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from torch.nn import functional

from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import Examples, SidData, sample
from lib.semantic_ids.hashing import PrefixHash
from lib.semantic_ids.intervals import Estimate
from lib.semantic_ids.lm import EncodedLM
from lib.semantic_ids.prefixmem import PrefixMemConfig
from lib.semantic_ids.study import arms as arms_module
from lib.semantic_ids.study import checks, experiment, expressive, films, lm_arms, paper, truncated
from lib.semantic_ids.study.arms import Arm, ArmResult, Beam, CountResult
from lib.semantic_ids.study.controls import LeakyEncoder, RandomRows
from lib.semantic_ids.study.expressive import additive, all_prefixes
from lib.semantic_ids.study.lm_arms import LmArm, LmResult, LmStudy, bleu, bleu_counts
from lib.semantic_ids.study.truncated import Vocabulary
from lib.semantic_ids.training import TrainConfig
from lib.semantic_ids.transformer import TransformerConfig


# ── maps ────────────────────────────────────────────────────────────────────────────────────────
def test_inequalities_of_a_map_by_hand() -> None:
    found = expressive._inequalities(np.array([[0], [1]]), np.array([1, 0]), 2).toarray()
    assert found.tolist() == [[-1, 1, 0, 0], [0, 0, 1, -1]]
    two = expressive._inequalities(np.array([[1, 0]]), np.array([2]), 3).toarray()
    assert two.shape == (2, 18)
    # Terms of position 0 begin at 0, of position 1 at 9; three next codes for each code.
    wanted = np.zeros((2, 18))
    wanted[:, [5, 11]] = 1
    wanted[0, [3, 9]] = wanted[1, [4, 10]] = -1
    assert np.array_equal(two, wanted)
    third = [Fraction(1, 3)] * 18
    assert expressive._apply(csr_array(two), third) == [0, 0]
    assert expressive._apply(csr_array(2 * wanted[:1]), [Fraction(n) for n in range(18)]) == [8]


def test_the_margin_of_a_constant_map_takes_all_there_is() -> None:
    """Terms lie between -1 and 1, and the largest margin has them at the ends."""
    found = additive(all_prefixes(2, 2), [0, 0, 0, 0], n_codes=2)
    assert found.feasible
    assert found.weights.shape == (2, 2, 2)
    assert found.weights[..., 0].tolist() == [[1, 1], [1, 1]]
    assert found.weights[..., 1].tolist() == [[-1, -1], [-1, -1]]


def test_the_proof_that_exclusive_or_is_no_sum() -> None:
    for nexts in ([0, 1, 1, 0], [1, 0, 0, 1]):
        found = additive(all_prefixes(2, 2), nexts, n_codes=2)
        assert not found.feasible
        assert found.certificate == tuple((row, Fraction(1, 4)) for row in range(4))


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([(0, np.append(np.zeros(8), 1.0))], "do not represent the map"),
        ([(0, np.append(np.tile([1.0, -1.0], 4), 1.0))], "do not represent the map"),
        ([(2, None), (2, None)], "neither terms nor a certificate found: no luck"),
        ([(2, None), (0, np.zeros(4))], "does not cancel"),
        ([(2, None), (0, np.array([1.0, 0, 0, 0]))], "does not cancel"),
        ([(0, np.append(np.ones(8), 1e-7)), (2, None)], "neither terms"),
    ],
)
def test_an_answer_of_the_solver_that_is_no_proof_is_refused(monkeypatch, answers, message) -> None:
    found = iter(SimpleNamespace(status=s, x=x, message="no luck") for s, x in answers)
    monkeypatch.setattr(expressive, "linprog", lambda *_, **__: next(found))
    with pytest.raises(RuntimeError, match=message):
        additive(all_prefixes(2, 2), [0, 0, 0, 1], n_codes=2)


def test_rows_of_any_code_book_are_read_off() -> None:
    for n_codes in (1, 2, 3, 5, 12):
        every = np.arange(n_codes)
        assert expressive.represented_by_rows(every, every[::-1], n_codes=n_codes)
    assert expressive.represented_by_rows([4, 4, 0], [1, 1, 2], n_codes=3)
    assert not expressive.represented_by_rows([4, 4, 0], [1, 0, 2], n_codes=3)
    with pytest.raises(ValueError, match="nexts has shape"):
        expressive.represented_by_rows([0, 1], [0], n_codes=2)


def test_prefixes_and_maps_in_order() -> None:
    assert all_prefixes(3, 1).tolist() == [[0], [1], [2]]
    assert all_prefixes(3, 2).shape == (9, 2)
    maps = dict(expressive.boolean_maps())
    assert len(maps) == 16
    assert list(maps)[:3] == ["0000", "0001", "0010"]
    assert maps["0110"].tolist() == [0, 1, 1, 0]


def test_parameters_and_costs_by_hand() -> None:
    assert expressive.encoder_parameters(orders=3, heads=2, rows=5, width=8) == 3 * 2 * 5 * 4
    found = expressive.projection_share(
        width=4, model_width=6, model_parameters=300, levels=5, active=2
    )
    assert found == pytest.approx(2 * 4 * 6 / (5 * 300))


# ── checks ──────────────────────────────────────────────────────────────────────────────────────
def test_shares_of_random_maps_are_those_of_the_seed() -> None:
    for seed in (0, 3):
        maps = np.random.default_rng(seed).integers(2, size=(30, 4)).tolist()
        wanted = np.mean([one not in ([0, 1, 1, 0], [1, 0, 0, 1]) for one in maps])
        assert checks.additive_share(2, n_maps=30, seed=seed) == pytest.approx(wanted)
        assert wanted < 1
    assert checks.one_row_share(2, n_maps=30, seed=0) == 1


def test_faults_are_counted_by_hand() -> None:
    ones = np.full((3, 2), 2)  # keys are twice the codes together: all rows even
    even = PrefixHash(3, 3, 2, 8, scheme="printed", multipliers=ones)
    assert checks.parity_share(even, np.array([[1, 2, 3], [0, 0, 1]])) == 1
    mixed = PrefixHash(2, 2, 2, 8, scheme="printed", multipliers=[[1, 2], [1, 2]])
    codes = np.array([[1, 2], [1, 3], [0, 1], [0, 2]])
    # Head 0 has the parity of the codes' exclusive or, head 1 is even.
    assert checks.parity_share(mixed, codes) == pytest.approx(0.5)
    assert checks.told_apart(mixed, 4) == 4
    assert checks.told_apart(mixed, 20) == 8
    full = PrefixHash(2, 2, 1, 8, kind="full", multipliers=[[3], [5]])
    prefixes = np.arange(40)[:, None]
    rows = full.index(np.column_stack([prefixes, np.zeros(40, int)]))[:, :, 0, 0]
    wanted = np.mean([a == b for a, b in rows.tolist()])
    assert 0 < wanted < 1
    assert checks.zero_confused(full, prefixes) == pytest.approx(wanted)


def test_bits_shared_with_the_last_code_and_the_spread_of_chance() -> None:
    codes = np.random.default_rng(1).integers(4, size=(50, 3))

    def joint(last):
        total = 0.0
        for column in codes[:, :-1].T:
            _, count = np.unique(np.column_stack([column, last]), axis=0, return_counts=True)
            total -= (count / 50 * np.log2(count / 50)).sum()
        return total

    rng = np.random.default_rng(2)
    chance = [joint(rng.permutation(codes[:, -1])) for _ in range(6)]
    bits = np.mean(chance) - joint(codes[:, -1])
    spread = 1.96 * np.std(chance, ddof=1)
    found = checks.tied(codes, 4, draws=6, seed=2)
    assert found == pytest.approx((bits, bits - spread, bits + spread))


def test_neighbours_by_hand() -> None:
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    # The last two items of each sequence are not in train.
    data = SidData("x", codes, 3, ([0, 1, 2, 0, 0], [3, 3, 1, 0, 0]))
    found = checks.neighbours(data)
    assert found.columns.tolist() == ["level 1", "level 2"]
    # Pairs: 0-1, 1-2, 3-3, 3-1; items 0, 1, 1, 2, 3, 3 in train, of each first code three.
    assert found.loc["all pairs"].tolist() == [0.5, 0.5]
    third = (2 / 6) ** 2 + (4 / 6) ** 2
    assert found.loc["by chance"].tolist() == pytest.approx([0.5, third])
    assert found.loc["pairs of other first codes"].tolist() == [0, 0.5]
    # Given the first codes 0 and 1: a third of each second code 0.
    assert found.loc["by chance, given these"].tolist() == pytest.approx([0, 1 / 9 + 4 / 9])


def test_a_destroyed_tree_is_counted_on_train_alone(made_up, monkeypatch) -> None:
    data = made_up(n_users=20)
    seen = {}

    class Spy(NGramCounts):
        def __init__(self, codes, n_codes, *, weights):
            seen.update(codes=codes, weights=weights)
            super().__init__(codes, n_codes, weights=weights)

    monkeypatch.setattr(checks, "NGramCounts", Spy)
    found = checks.scrambled(data, seed=1)
    n_train = sum(map(len, data.split().train))
    assert found.shape == (20, 3)
    assert seen["weights"].tolist() == [1.0] * n_train + [0.0] * 20
    rng = np.random.default_rng(1)
    wanted = np.column_stack([rng.choice(one, size=n_train + 20) for one in data.codes.T])
    assert np.array_equal(seen["codes"], wanted)
    table = NGramCounts(wanted[:n_train], data.n_codes, weights=np.ones(n_train))
    assert np.array_equal(found, table.hits(wanted[n_train:]))


def test_intervals_of_users_are_quantiles_of_means_drawn_anew() -> None:
    values = np.array([[0.0, 1.0], [2.0, 5.0], [7.0, 6.0]])
    rng = np.random.default_rng(4)
    means = np.array([values[rng.integers(3, size=3)].mean(axis=0) for _ in range(40)])
    wanted = np.quantile(means, [0.025, 0.975], axis=0).T
    found = checks.user_interval(values, seed=4, n_resamples=40)
    assert np.array(found) == pytest.approx(wanted)
    assert checks.user_interval(values[:, 0], seed=4, n_resamples=40) == [pytest.approx(wanted[0])]


def test_the_papers_gains_in_per_cent() -> None:
    gains = {"recall at 20": (6.0, 6.7), "recall at 100": (9.5, 11.6), "reachable": (43.3, 44.6)}
    gains |= {"unreachable": (36.4, 64.5), "rare": (26.8, 57.6)}
    assert paper.percentages() == pytest.approx(
        {name: 100 * (b - a) / a for name, (a, b) in gains.items()}
    )
    assert paper.percentages(exchanged=True) == pytest.approx(
        {name: 100 * (a - b) / b for name, (a, b) in gains.items()}
    )


# ── the experiment ──────────────────────────────────────────────────────────────────────────────
def ones(*rows):
    return np.array(rows, bool)


def result(hits, **more):
    hits = np.array(hits, bool)
    return ArmResult(hits, 1.0 * hits, hits, more.pop("curve", {}), np.zeros(3), **more)


HITS = [[1, 0], [0, 1], [1, 1]]
COUNTS = CountResult(
    ones((0, 1), (0, 1), (0, 0)), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    ones((1, 0), (0, 0), (0, 1)), {5: ones(1, 0, 1), 10: ones(1, 1, 1)},
)  # fmt: skip
TARGETS = np.array([[0, 0], [0, 1], [1, 0]])


def test_a_study_knows_its_levels_users_and_beams() -> None:
    two = Beam({5: ones(1, 0)}, np.array([0.5, 1.0]), np.array([2, 4]))
    arms = {"flat": [result(HITS, beams={"trie": two})] * 2, "PrefixMem": [result(HITS)] * 2}
    found = experiment.Study(arms, COUNTS, TARGETS, draws=7)
    assert list(found.levels) == [1, 2]
    assert found.users.mean(np.zeros(3)).shape == found.beams.mean(np.zeros(2)).shape == (10,)
    assert found.n_beam == 2
    assert found.beam("count table", "trie", "recall", 5).tolist() == [1, 0]
    assert found.beam("flat", "trie", "valid").tolist() == [[0.5, 1]] * 2
    assert found.field("count table", "mixed_nll", 2).tolist() == [2, 4, 6]
    assert found.field("count table", "hits", 2).tolist() == [1, 1, 0]
    assert found.field("no prefix", "hits", 2).tolist() == [0, 0, 1]
    assert found.field("flat", "hits", 1).tolist() == [[1, 0, 1]] * 2
    with pytest.raises(AssertionError):
        found.beam("count table", "trie", "valid")
    bare = experiment.Study({"flat": [result(HITS)]}, COUNTS, TARGETS, draws=7)
    assert bare.n_beam == 0
    assert bare.beams._users.shape == (9, 1)


def test_accuracies_name_what_was_measured() -> None:
    arms = {
        "flat": [result(HITS, trie_hits=ones(*HITS))],
        "PrefixMem": [result(HITS, mixed_hits=~ones(*HITS))],
    }
    found = experiment.Study(arms, COUNTS, TARGETS, draws=7).accuracies()
    assert list(found) == ["count table", "flat", "PrefixMem", "flat, trie", "PrefixMem + counts"]
    values = {name: [one.value for one in row] for name, row in found.items()}
    assert values["count table"] == pytest.approx([0, 2 / 3])
    assert values["flat, trie"] == values["flat"] == pytest.approx([2 / 3, 2 / 3])
    assert values["PrefixMem + counts"] == pytest.approx([1 / 3, 1 / 3])


def test_a_report_is_to_three_digits(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(experiment.ledger, "report", lambda *a, **k: seen.append((a, k)))
    experiment.report("x", Estimate(1.0, 0.5, 2.0))
    experiment.report("y", Estimate(1.0, 0.5, 2.0), control=[Estimate(0.0, -1.0, 1.0)])
    assert seen == [
        (("x", 1.0, (0.5, 2.0), None), {"control_interval": None, "digits": 3}),
        (("y", 1.0, (0.5, 2.0), [0.0]), {"control_interval": [(-1.0, 1.0)], "digits": 3}),
    ]


def test_every_arm_is_run_once_the_longest_first(monkeypatch) -> None:
    asked = []

    def run(function, arms, *, name):
        assert function is experiment.run_arm
        assert name == "ch02"
        asked.append(list(arms))
        return [f"result {n}" for n in range(len(asked[-1]))]

    monkeypatch.setattr(experiment.sweeps, "run", run)
    monkeypatch.setattr(experiment, "_study", lambda results: results)
    experiment.run_everything()
    (every,) = asked
    assert every[0] == experiment.main_arms("6 epochs")["flat"][0]
    assert every[4] == experiment.main_arms("0.6 epoch")["flat"][0]
    assert every[-1] == experiment.untrained_arm()
    assert len(every) == 4 + 4 + 6 + 1
    assert experiment.run_untrained() == "result 0"
    assert asked[-1] == [experiment.untrained_arm()]
    main = experiment.run_main()
    assert list(main) == ["0.6 epoch", "6 epochs"]
    assert main["6 epochs"] == {
        "flat": ["result 0", "result 1"], "PrefixMem": ["result 2", "result 3"],
    }  # fmt: skip
    assert asked[-1][2] == experiment.main_arms("6 epochs")["PrefixMem"][0]
    assert experiment.run_variations()["suffix hashes"] == ["result 3"]


def test_a_study_is_of_the_users_that_the_arms_were_asked_about(made_up, monkeypatch) -> None:
    data = made_up(n_users=30)
    monkeypatch.setattr(experiment, "load", lambda name: data)
    some = np.zeros((7, 3), bool)
    found = experiment._study({"flat": [ArmResult(some, 1.0 * some, some, {}, np.zeros(1))]})
    wanted = data.codes[sample(data.split().test, 7).targets]
    assert np.array_equal(found.targets, wanted)
    assert found.counts.hits.shape == (7, 3)
    assert set(found.counts.recall) == {5, 10, 20, 50, 100}


# ── arms ────────────────────────────────────────────────────────────────────────────────────────
SMALL = Arm(
    shape=TransformerConfig(
        n_levels=3, n_codes=16, max_items=5, d_model=16, n_layers=1, n_heads=2
    ),
    memory=PrefixMemConfig(n_levels=3, n_codes=16, active_levels=(2, 3), table_size=251, d_mem=16),
    train=TrainConfig(steps=2, items_per_batch=64, lr=0.01, warmup=1),
    n_test=20,
)  # fmt: skip


def test_what_is_asked_of_an_arm(made_up, monkeypatch) -> None:
    data = made_up(n_users=40)
    monkeypatch.setattr(arms_module, "load", lambda name: data)
    seen = {}
    for name in ("windows", "generate", "top", "shuffle_histories"):
        real = getattr(arms_module, name)

        def spy(*args, name=name, real=real, **more):
            seen.setdefault(name, []).append((args, more))
            return real(*args, **more)

        monkeypatch.setattr(arms_module, name, spy)
    threads = []
    monkeypatch.setattr(arms_module.torch, "set_num_threads", threads.append)
    found = arms_module.run_arm(
        replace(SMALL, n_beam=500, width=12, n_target=30, n_valid=10, curve=(1,))
    )
    assert threads == [1]
    assert [args[1] for args, _ in seen["windows"]] == [4]
    assert [args[2] for args, _ in seen["top"]] == [10]
    assert [args[1] for args, _ in seen["shuffle_histories"]] == [606]
    # Trie, free and mixed over all twenty users, then two searches of fifty over thirty.
    assert [args[3] for args, _ in seen["generate"]] == [12, 12, 12, 50, 50]
    assert [len(args[1]) for args, _ in seen["generate"]] == [20, 20, 20, 30, 30]
    free = [more["catalog"] is None for _, more in seen["generate"]]
    assert free == [False, True, False, False, False]
    plus = [more["steps"] is not None for _, more in seen["generate"]]
    assert plus == [False, False, True, False, True]
    assert set(found.target) == set(found.target_mixed) == {5, 10, 20}
    assert set(found.beams) == {"trie", "free", "mixed"}
    assert set(found.beams["trie"].recall) == {5, 10}
    assert (found.beams["trie"].clusters >= 1).all()
    assert set(found.curve) == {1}
    assert len(found.losses) == 2
    assert (found.hits <= found.top10).all()
    assert found.rigid_nll.shape == (20, 3)
    without = arms_module.run_arm(replace(SMALL, encoder="prefixmem", n_valid=10))
    assert without.swapped_hits is None
    assert without.mixed_hits is not None
    plain = arms_module.run_arm(SMALL)
    assert (plain.mixed_hits, plain.weights, plain.beams, plain.target) == (None, (), {}, {})


def test_encoders_of_arms(made_up) -> None:
    data = made_up(n_users=5)
    arm = replace(SMALL, train=replace(SMALL.train, seed=9))
    assert arms_module._encoder(arm, data) is None
    leak = arms_module._encoder(replace(arm, encoder="leaky"), data)
    assert isinstance(leak, LeakyEncoder)
    assert leak.next.weight.shape == (48, 16)
    wide = replace(arm, encoder="prefixmem", memory=replace(SMALL.memory, max_order=2))
    config = arms_module._encoder(wide, data).config
    assert (config.n_levels, config.n_codes, config.d_model, config.max_order) == (3, 16, 16, 2)
    drawn = arms_module._encoder(replace(arm, encoder="random rows"), data).hash
    assert isinstance(drawn, RandomRows)
    same = RandomRows(drawn._hashing, seed=9)
    assert np.array_equal(drawn.index(data.codes), same.index(data.codes))


def test_the_tables_list_is_one_for_everybody(made_up) -> None:
    data = made_up(n_users=40)
    found = arms_module.count_result(data, 30, width=10)
    table = NGramCounts.fit(data.codes, 16, data.split().train)
    chance = np.ones(data.n_items)
    for level in range(3):
        given = table.probabilities(data.codes[:, :level])
        chance *= given[np.arange(data.n_items), data.codes[:, level]]
    targets = sample(data.split().test, 30).targets
    assert set(found.recall) == {5, 10}
    for k, there in found.recall.items():
        best = np.argsort(-chance, kind="stable")[:k]
        assert there.tolist() == np.isin(targets, best).tolist()
        assert 0 < there.sum() < 30


# ── text ────────────────────────────────────────────────────────────────────────────────────────
CODES = np.random.default_rng(0).integers(8, size=(6, 3))
SEQUENCES = ([0, 2, 1, 3, 4], [5, 2, 3, 0, 1], [2, 1, 4, 5, 0])
DATA = SidData("toy", CODES, 8, SEQUENCES, tuple("abcdef"))
TITLES = tuple(np.arange(i % 3 + 1) for i in range(6))
WORDS = Vocabulary(np.arange(5), TITLES, 3, 8, tuple("vwxyz"))


def llama(width=16, layers=1):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=WORDS.size, hidden_size=width, intermediate_size=32, num_hidden_layers=layers,
        num_attention_heads=2,
    )  # fmt: skip
    return LlamaForCausalLM(config)


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """Put a small model and small data where the arms look for them; say what they asked for."""
    asked = []

    def load_truncated(vocabulary, n_layers, *, seed):
        asked.append((n_layers, seed))
        torch.manual_seed(seed)
        return llama(layers=n_layers)

    monkeypatch.setattr(lm_arms, "load_truncated", load_truncated)
    monkeypatch.setattr(lm_arms, "checkpoint", lambda: asked.append("checkpoint") or tmp_path)
    monkeypatch.setattr(lm_arms, "load", lambda name: asked.append(name) or DATA)
    of = staticmethod(lambda data, folder, n: asked.append(n) or WORDS)
    monkeypatch.setattr(lm_arms.Vocabulary, "of", of)
    return asked


LM = LmArm(
    encoder="prefixmem",
    memory=PrefixMemConfig(n_levels=3, max_order=3, active_levels=(2, 3), table_size=50),
    train=TrainConfig(steps=2, items_per_batch=3, seed=4, lr=1e-3, warmup=1),
    length=14, n_test=2, n_text=2, max_words=7, data="mine",
)  # fmt: skip


def test_models_of_arms_before_training(toy) -> None:
    model = lm_arms.build(replace(LM, n_layers=2), DATA, WORDS)
    assert toy == [(2, 4)]
    config = model.encoder.config
    assert (config.d_model, config.n_codes, config.n_levels) == (16, 8, 3)
    grid = 6 + np.arange(24).reshape(3, 8)
    assert model.level[torch.from_numpy(grid)].tolist() == [[n] * 8 for n in (1, 2, 3)]
    assert model.code[torch.from_numpy(grid)].tolist() == [list(range(8))] * 3
    again = lm_arms.build(LM, DATA, WORDS)
    assert torch.equal(model.encoder.table.weight, again.encoder.table.weight)
    assert lm_arms.build(replace(LM, encoder="none"), DATA, WORDS).encoder is None
    drawn = lm_arms.build(replace(LM, encoder="random rows"), DATA, WORDS).encoder.hash
    same = RandomRows(again.encoder.hash, 4)
    assert np.array_equal(drawn.index(CODES), same.index(CODES))


def test_a_run_of_the_language_model(toy, monkeypatch) -> None:
    fitted, hidings, threads = [], [], []
    real_fit, real_corpus = lm_arms._fit, lm_arms._Corpus

    def corpus_of(data, vocabulary, hidden, length):
        hidings.append((hidden.tolist(), length))
        return real_corpus(data, vocabulary, hidden, length)

    with monkeypatch.context() as patch:
        patch.setattr(lm_arms, "_fit", lambda *a: fitted.append(a[2]) or real_fit(*a))
        patch.setattr(lm_arms, "_Corpus", corpus_of)
        patch.setattr(lm_arms.torch, "set_num_threads", threads.append)
        found = lm_arms.run_lm(LM)
    assert fitted == [LM.train]
    assert threads == [1]
    assert hidings == [(np.random.default_rng(606).permutation(6)[:2].tolist(), 14)]
    assert [one for one in toy if not isinstance(one, tuple)] == ["mine", "checkpoint", 7]
    hidden = np.random.default_rng(606).permutation(6)[:2]
    corpus = lm_arms._Corpus(DATA, WORDS, hidden, 14)
    model = lm_arms.build(LM, DATA, WORDS)
    lm_arms._fit(model, corpus, LM.train)
    test = sample(DATA.split().test, 2)
    targets = CODES[test.targets]
    logs = truncated.next_item(model, WORDS, DATA, test)
    assert np.array_equal(found.hits, logs.argmax(axis=2) == targets)
    read = corpus.read(LM.train)
    table = NGramCounts(read, 8, weights=np.ones(len(read)))
    assert np.array_equal(found.read_hits, table.hits(targets))
    made = lm_arms._titles(model, WORDS, DATA, hidden)
    assert found.bleu_counts.shape == (2, 10)
    assert found.bleu_counts[:, -1].tolist() == [len(TITLES[i]) for i in hidden]
    assert found.bleu_counts[:, -2].tolist() == [len(one) for one in made]
    kept = [model.encoder is not None, model.training]
    assert kept == [True, False]


def test_the_loss_is_of_every_next_token(toy, monkeypatch) -> None:
    model = lm_arms.build(LM, DATA, WORDS).eval()
    corpus = lm_arms._Corpus(DATA, WORDS, np.array([2]), 14)
    seen = []
    monkeypatch.setattr(lm_arms, "fit", lambda model, loss, config: seen.append((loss(), config)))
    lm_arms._fit(model, corpus, LM.train)
    ((loss, config),) = seen
    assert config == LM.train
    tokens = next(corpus.batches(3, 4))
    assert tokens.shape == (3, 14)
    logs = functional.log_softmax(model(tokens).logits, dim=-1)
    each = [
        -logs[row, at, tokens[row, at + 1]].item()
        for row, at in itertools.product(range(3), range(13))
    ]
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-4)


def test_titles_end_at_the_mark_and_are_as_long_as_the_longest() -> None:
    asked = []

    class Says:
        device = torch.device("cpu")

        def complete(self, prompts, n_new, *, allowed):
            asked.append((prompts.tolist(), n_new, allowed))
            return torch.tensor([[1, 5, 2], [5, 0, 0], [0, 1, 2]])

    items = np.array([0, 2, 1])
    assert lm_arms._titles(Says(), WORDS, DATA, items) == [[1], [], [0, 1, 2]]
    assert asked == [(WORDS.sid(CODES[items]).tolist(), 3, 6)]


def test_train_sequences_of_two_items_are_enough_and_of_one_are_not() -> None:
    def corpus(*sequences):
        return lm_arms._Corpus(SidData("x", CODES, 8, sequences), WORDS, np.array([1]), 9)

    with pytest.raises(ValueError, match="x: no train sequence has two items"):
        corpus([0, 1, 2], [3, 4, 5])
    found = corpus([0, 1, 2], [3, 4, 5, 0])
    assert [one.tolist() for one in found.train] == [[3, 4]]
    assert found.open.tolist() == [0, 2, 3, 4, 5]
    assert found.title(1) == []
    assert found.title(2) == [0, 1, 2, 5]
    assert found.codes(2) == WORDS.sid(CODES[2]).tolist()


def test_pairs_begin_with_the_title_as_often_as_with_the_codes() -> None:
    corpus = lm_arms._Corpus(DATA, WORDS, np.array([], np.int64), 9)
    stream = corpus._stream("pair", np.random.default_rng(0))
    firsts = 0
    for _ in range(400):
        tokens = [next(stream)]
        title_first = tokens[0] < WORDS.n_text
        firsts += title_first
        if title_first:
            while tokens[-1] != WORDS.end:
                tokens.append(next(stream))
            tokens = [next(stream) for _ in range(3)]
        else:
            tokens += [next(stream) for _ in range(2)]
            while next(stream) != WORDS.end:
                pass
        assert tokens in WORDS.sid(CODES).tolist()
    assert 150 < firsts < 250
    rows = next(corpus.batches(4, 0)).tolist()
    kinds = [any(token < 6 for token in row) for row in rows]
    assert kinds == [True, True, False, True]
    own = [token for token in rows[0] if token >= 6]
    assert len(own) < 9


def test_counts_of_bleu_by_hand() -> None:
    found = bleu_counts([["a", "b", "a"], ["a"]], [["a", "a", "b"], ["a", "b"]], order=2)
    assert found.tolist() == [[3, 1, 3, 2, 3, 3], [1, 0, 1, 0, 1, 2]]
    one, two = (float(bleu(found[n : n + 1])) for n in (0, 1))
    assert one == pytest.approx((1 * 2 / 3) ** 0.5)
    assert two == pytest.approx(np.exp(1 - 2))
    # Four of five matches, longer than what is asked for: no penalty.
    assert float(bleu([[4, 5, 5, 4]])) == pytest.approx(0.8)
    together = float(bleu(found))
    assert together == pytest.approx((1 * 2 / 3) ** 0.5 * np.exp(1 - 5 / 4))
    with pytest.raises(ValueError, match="1 candidates and 2 references"):
        bleu_counts([["a"]], [["a"], ["b"]])


def lm_result(level, right, lengths=(2, 2)):
    hits = np.zeros((2, 3), bool)
    hits[:, level - 1] = right
    counts = bleu_counts([["a"] * n for n in lengths], [["a", "a"]] * 2)
    return LmResult(hits, counts, ~hits)


def test_a_study_of_language_models() -> None:
    results = {
        "flat": [lm_result(2, (0, 1))] * 3,
        "PrefixMem": [lm_result(2, (1, 1)), lm_result(2, (1, 0)), lm_result(2, (1, 1))],
    }
    found = LmStudy(results, {"count table": ones((1, 0, 0), (1, 1, 0))})
    assert found.accuracy("flat", 2).value == 0.5
    assert found.accuracy("PrefixMem", 2).value == pytest.approx(5 / 6)
    assert found.accuracy("PrefixMem", 1).value == 0
    assert found.accuracy("count table", 2).value == 0.5
    assert found.accuracy("table of what was read", 2).value == pytest.approx(1 / 6)
    assert found.gain("PrefixMem", "flat", 2).value == pytest.approx(1 / 3)
    assert found.gain("flat", "PrefixMem").value == 0
    assert found.users.mean([1.0, 3.0]).shape == (1004,)
    assert found.bleu_gain("flat", "PrefixMem").value == 0


def test_all_language_models_are_run_and_counted_on_the_same_examples(toy, monkeypatch) -> None:
    asked = []

    def run(function, runs, *, name):
        asked.append((function, len(runs), name))
        return [f"result {n}" for n in range(len(runs))]

    monkeypatch.setattr(lm_arms.sweeps, "run", run)
    found = lm_arms.run_lm_arms()
    assert asked == [(lm_arms.run_lm, 9, "ch02-lm")]
    assert toy == ["checkpoint", "industrial"]
    assert found.results == {
        "flat": [f"result {n}" for n in range(3)],
        "PrefixMem": [f"result {n}" for n in range(3, 6)],
        "PrefixMem, rows at random": [f"result {n}" for n in range(6, 9)],
    }
    split = DATA.split()
    targets = CODES[sample(split.test, 1000).targets]
    assert len(targets) == 3
    seen = CODES[np.concatenate(split.train)]
    frequent = [np.bincount(one).argmax() for one in seen.T]
    assert np.array_equal(found.table["no prefix"], targets == frequent)
    table = NGramCounts.fit(CODES, 8, split.train)
    assert np.array_equal(found.table["count table"], table.hits(targets))


# ── the truncated model ─────────────────────────────────────────────────────────────────────────
MARKED = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "?", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"?": {"id": "?", "ids": [0], "tokens": ["?"]}},
}
"""A tokenizer's own mark before each text, which is no word of a title."""


def test_the_vocabulary_is_what_the_first_words_of_titles_need(tmp_path) -> None:
    vocabulary = {name: n for n, name in enumerate(["?", "blue", "cup", "old", "red", "the"])}
    whole = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": MARKED,
        "decoder": None, "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "?"},
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    texts = ("the red cup", "the old red", "cup")
    data = SidData("x", np.array([[0, 1], [1, 0], [1, 1]]), 3, (), texts)
    found = Vocabulary.of(data, tmp_path, 2)
    assert found.kept.tolist() == [2, 3, 4, 5]
    assert found.words == ("cup", "old", "red", "the")
    assert [one.tolist() for one in found.titles] == [[3, 2], [3, 1], [0]]
    assert (found.n_text, found.end, found.size) == (5, 4, 11)
    assert found.sid(np.array([[0, 2], [2, 0]])).tolist() == [[5, 10], [7, 8]]
    with pytest.raises(ValueError, match="x has no titles"):
        Vocabulary.of(replace(data, texts=None), tmp_path, 2)


def test_the_first_layers_are_those_of_the_checkpoint(tmp_path, monkeypatch) -> None:
    torch.manual_seed(3)
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=40, hidden_size=8, intermediate_size=12, num_hidden_layers=3,
        num_attention_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    whole = LlamaForCausalLM(config)
    whole.save_pretrained(tmp_path)
    monkeypatch.setattr(truncated, "checkpoint", lambda: tmp_path)
    quiet = []
    monkeypatch.setattr(truncated, "quiet", lambda: quiet.append(1))
    words = Vocabulary(np.array([3, 7, 20]), (np.array([0, 2]),), 2, 4, ("a", "b", "c"))
    found = truncated.load_truncated(words, 2, seed=5)
    assert quiet == [1]
    assert (found.config.num_hidden_layers, found.config.vocab_size) == (2, 12)
    assert found.config.bos_token_id is found.config.eos_token_id is None
    own, rest = found.state_dict(), whole.state_dict()
    for name, value in own.items():
        if not name.endswith(("embed_tokens.weight", "lm_head.weight")):
            assert torch.equal(value, rest[name])
    table = own["model.embed_tokens.weight"]
    known = rest["model.embed_tokens.weight"][[3, 7, 20]]
    assert torch.equal(table[:3], known)
    drawn = torch.randn(9, 8, generator=torch.Generator().manual_seed(5))
    assert torch.allclose(table[3:], drawn * known.std())
    assert len(truncated.load_truncated(words, 3).model.layers) == 3
    for wrong in (0, 4):
        with pytest.raises(ValueError, match="n_layers is"):
            truncated.load_truncated(words, wrong)


def test_the_next_item_is_asked_after_eight_at_most() -> None:
    torch.manual_seed(0)
    grid = WORDS.sid(np.arange(8)[:, None]).T
    model = EncodedLM(llama().eval(), None, grid)
    histories = (np.array([0, 1]), np.array([5, 0, 1, 2, 3, 4, 5, 0, 1, 2]), np.array([3, 4]))
    some = Examples(np.arange(3), histories, np.array([2, 4, 5]))
    found = truncated.next_item(model, WORDS, DATA, some)
    assert found.shape == (3, 3, 8)
    assert np.array_equal(found, truncated.next_item(model, WORDS, DATA, some, batch=64))
    for row in range(3):
        items = [*histories[row][-8:], some.targets[row]]
        tokens = torch.from_numpy(WORDS.sid(CODES[items]).reshape(1, -1))
        with torch.no_grad():
            logits = model(tokens).logits[0]
        for level in range(3):
            # The code of a level is predicted at the token before it.
            before = logits[tokens.shape[1] - 3 + level - 1]
            own = before[6 + 8 * level : 14 + 8 * level].log_softmax(-1)
            np.testing.assert_allclose(found[row, level], own, atol=1e-5)
    single = truncated.next_item(model, WORDS, DATA, some, batch=1)
    np.testing.assert_allclose(single, found, atol=1e-5)


# ── films ───────────────────────────────────────────────────────────────────────────────────────
RATINGS = pd.DataFrame(
    [
        *((user, film, 10 * user + film) for user in (1, 2) for film in (30, 10, 20, 50, 40)),
        *((3, film, 99 - film) for film in (10, 20, 30, 40)),
        *((user, 60, 5) for user in (1, 2)),
    ],
    columns=["userId", "movieId", "timestamp"],
).assign(title=lambda t: "Film " + t["movieId"].astype(str), genres="Drama|War")


def test_films_with_just_enough_ratings(monkeypatch) -> None:
    monkeypatch.setattr(films, "_ratings", lambda: RATINGS)
    found = films.films.__wrapped__(3)
    assert found["movieId"].tolist() == [10, 20, 30, 40]  # 50 and 60 have two
    assert found["text"][0] == "Film 10. Genres: Drama, War"
    assert found["genres"][0] == ("Drama", "War")
    assert found["title"].tolist() == ["Film 10", "Film 20", "Film 30", "Film 40"]
    assert films.films.__wrapped__(1)["movieId"].tolist() == [10, 20, 30, 40, 50, 60]
    with pytest.raises(ValueError, match="min_ratings is 4"):
        films.films.__wrapped__(4)


def test_users_with_five_films_and_no_fewer(monkeypatch) -> None:
    monkeypatch.setattr(films, "_ratings", lambda: RATINGS)
    table = films.films.__wrapped__(2)
    table = table[table["movieId"] < 60].reset_index(drop=True)
    monkeypatch.setattr(films, "films", lambda: table)
    points = np.array([[0.0], [1.0], [10.0], [11.0], [20.0]])
    monkeypatch.setattr(films, "embed", lambda texts: points)
    found = films.movielens.__wrapped__(2, 3, seed=0)
    # Users 1 and 2 by time, which is by film; user 3 rated four.
    assert [one.tolist() for one in found.sequences] == [[0, 1, 2, 3, 4]] * 2
    assert found.texts[1] == "Film 20"
    assert (found.n_items, found.n_codes, found.n_levels) == (5, 3, 2)
    assert found.name == "movielens"
    own = films.ResidualTokenizer.fit(points, n_levels=2, n_codes=3, seed=0).encode(points)
    assert np.array_equal(found.codes, own)
