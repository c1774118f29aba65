"""Arms, end to end on a tiny tree; and what a study makes of results."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import sample
from lib.semantic_ids.evaluation import Mixture, count_log_probs, hits
from lib.semantic_ids.intervals import Estimate, Resample
from lib.semantic_ids.prefixmem import PrefixMemConfig
from lib.semantic_ids.study import arms as arms_module
from lib.semantic_ids.study import experiment, lm_arms
from lib.semantic_ids.study.arms import Arm, ArmResult, Beam, CountResult, recipe, run_arm
from lib.semantic_ids.study.lm_arms import bleu, bleu_counts
from lib.semantic_ids.training import TrainConfig
from lib.semantic_ids.transformer import TransformerConfig

ARM = Arm(
    shape=TransformerConfig(
        n_levels=3, n_codes=16, max_items=5, d_model=16, n_layers=1, n_heads=2
    ),
    memory=PrefixMemConfig(n_levels=3, n_codes=16, active_levels=(2, 3), table_size=251, d_mem=16),
    train=TrainConfig(steps=60, items_per_batch=128, lr=0.01, warmup=5),
    n_test=120,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(made_up):
    return made_up()


@pytest.fixture(autouse=True)
def tree(data, monkeypatch):
    monkeypatch.setattr(arms_module, "load", lambda name: data)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"encoder": "prefixmem"},
        {"encoder": "random rows"},
    ],
    ids=lambda change: " ".join(change.values()) or "flat",
)
def test_every_arm_runs(change):
    one = run_arm(replace(ARM, train=replace(ARM.train, steps=4), curve=(2,), **change))
    assert one.hits.shape == one.nll.shape == one.top10.shape == (120, 3)
    assert one.curve[2].shape == (120, 3)
    assert np.isfinite(one.nll).all()
    assert one.beams == {} == one.target


def test_an_arm_is_the_same_twice_and_another_with_another_seed():
    arm = replace(ARM, encoder="prefixmem", train=replace(ARM.train, steps=4))
    one, two, other = run_arm(arm), run_arm(arm), run_arm(arm.with_seed(1))
    assert np.array_equal(one.nll, two.nll)
    assert not np.array_equal(one.losses, other.losses)


def test_an_encoder_changes_neither_weights_nor_batches_of_the_rest():
    first = [
        run_arm(replace(ARM, encoder=kind, train=replace(ARM.train, steps=1))).losses[0]
        for kind in ("none", "prefixmem", "leaky")
    ]
    assert first[0] == first[1]
    assert first[0] != first[2]  # the leak is there from the first step


def test_the_leak_control_is_nearly_perfect_and_prefixmem_is_not():
    leak = run_arm(replace(ARM, encoder="leaky", train=replace(ARM.train, steps=150)))
    honest = run_arm(replace(ARM, encoder="prefixmem"))
    assert leak.hits[:, 1:].mean() > 0.95
    assert honest.hits[:, 2].mean() < 0.9


def test_counts_and_beams_are_measured_on_the_same_users(data):
    found = run_arm(
        replace(ARM, n_valid=50, n_beam=20, width=10, train=replace(ARM.train, steps=4))
    )
    test = sample(data.split().test, 120)
    counts = NGramCounts.fit(data.codes, 16, data.split().train)
    table = counts.hits(data.codes[test.targets])
    # After four steps the model knows little, so the mix is close to the table.
    assert (found.mixed_hits[:, 2] == table[:, 2]).mean() > 0.8
    trie, free = found.beams["trie"], found.beams["free"]
    assert trie.valid.shape == (20,)
    assert (trie.valid == 1).all()
    assert free.valid.min() < 1
    assert set(trie.recall) == {5, 10}
    # Counts in the beam find what the beam of the table alone finds, nearly.
    assert found.weights[2] > found.shares[2]
    assert found.beams["mixed"].recall[10].mean() > 0
    assert found.swapped_hits.shape == found.swapped_mixed.shape == (120, 3)


def test_the_weights_of_the_mix_never_see_a_test_user(data, monkeypatch):
    seen = []
    real = arms_module.fit_mixture

    def spy(model, counts, targets, **more):
        seen.append(targets)
        return real(model, counts, targets, **more)

    monkeypatch.setattr(arms_module, "fit_mixture", spy)
    run_arm(replace(ARM, n_valid=50, train=replace(ARM.train, steps=2)))
    wanted = data.codes[sample(data.split().valid, 50).targets]
    assert np.array_equal(seen[0], wanted)
    assert not np.array_equal(wanted, data.codes[sample(data.split().test, 50).targets])


def test_the_sample_is_a_prefix_of_one_order(data):
    split = data.split()
    few, more = sample(split.test, 10), sample(split.test, 50)
    assert (more.users[:10] == few.users).all()
    assert len(np.unique(more.users)) == 50


# ── a study of results made by hand ─────────────────────────────────────────────────────────────
TARGETS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
"""Four users, two levels."""


def ones(*rows):
    return np.array(rows, bool)


def made(second, nll, **more):
    """Return a result whose users hit level 2 as `second` says, with log-losses `nll` there."""
    hits_at = np.column_stack([ones(1, 0, 0, 0), ones(*second)])
    losses = np.column_stack([np.ones(4), np.array(nll, float)])
    top = np.column_stack([ones(1, 1, 0, 0), ones(1, 1, 1, 1)])
    return ArmResult(hits_at, losses, top, more.pop("curve", {}), np.zeros(8), **more)


def beam(first, ten, valid, clusters):
    return Beam({1: ones(*first), 10: ones(*ten)}, np.array(valid, float), np.array(clusters))


FLAT = made(
    (1, 0, 0, 0),
    (4, 4, 4, 4),
    curve={2: ones(*[(0, 0)] * 4), 4: ones(*[(0, 1), (0, 0), (0, 0), (0, 0)])},
    mixed_hits=np.zeros((4, 2), bool),
    mixed_nll=np.full((4, 2), 2.0),
    beams={"free": beam((1, 0, 0, 0), (1, 1, 0, 0), (0.5,) * 4, (2,) * 4)},
)
OURS = made(
    (1, 1, 1, 0),
    (1, 1, 1, 1),
    curve={2: ones(*[(0, 1), (0, 1), (0, 0), (0, 0)]), 4: ones(*[(0, 1)] * 4)},
    mixed_hits=np.ones((4, 2), bool),
    mixed_nll=np.full((4, 2), 1.4),
    beams={"free": beam((1, 1, 0, 0), (1, 1, 1, 0), (1,) * 4, (3,) * 4)},
)
COUNTS = CountResult(
    ones((0, 1), (0, 1), (0, 1), (0, 1)),
    np.full((4, 2), 0.5),
    ones((1, 0), (1, 0), (0, 0), (0, 0)),
    {1: ones(0, 0, 0, 0), 10: ones(1, 0, 0, 0)},
)


def hand_made(ours=OURS):
    return experiment.Study({"flat": [FLAT], "PrefixMem": [ours]}, COUNTS, TARGETS, draws=50)


def test_gains_are_the_first_minus_the_second():
    found = hand_made()
    assert found.gain("PrefixMem", "flat", 2).value == pytest.approx(0.5)
    assert found.gain("flat", "count table", 2).value == pytest.approx(-0.75)
    assert found.gain("no prefix", "flat", 1).value == pytest.approx(0.25)
    assert found.gain("PrefixMem", "flat", 2, "mixed_hits", "mixed_hits").value == 1
    assert found.accuracy("PrefixMem", 2).value == 0.75
    assert list(found.accuracies()) == [
        "count table", "flat", "PrefixMem", "flat + counts", "PrefixMem + counts",
    ]  # fmt: skip


def test_curves_are_read_at_the_first_and_at_the_last_point():
    found = hand_made()
    # At the first point 2/4 against 0; at the last 4/4 against the 1/4 of the end.
    assert found.early("PrefixMem", "flat", 2).value == pytest.approx(0.5)
    assert found.early("PrefixMem", "flat", 2, final=True).value == pytest.approx(0.75)
    assert {step: level[1] for step, level in found.curve("PrefixMem").items()} == {
        2: 0.5, 4: 1.0, 8: 0.75,
    }  # fmt: skip


def test_growth_is_the_relative_gain_of_the_longer_list_minus_the_shorter():
    found = hand_made_beams()
    # Recall at 1: 2/4 over 1/4 is +100 %; at 10: 3/4 over 2/4 is +50 %.
    assert found.growth("PrefixMem", "flat", "free", (1, 10)).value == pytest.approx(-0.5)
    assert found.growth("PrefixMem", "flat", "free", (10, 1)).value == pytest.approx(0.5)


def hand_made_beams():
    found = hand_made()
    found.n_beam, found.beams = 4, Resample(1, 4, draws=50)
    return found


def test_beams_are_compared_with_each_other_and_with_the_table():
    found = hand_made_beams()
    pair = (("PrefixMem", "free"), ("flat", "free"))
    assert found.beam_gain(*pair, "recall", 1).value == pytest.approx(0.25)
    assert found.beam_gain(*pair, "valid").value == pytest.approx(0.5)
    assert found.beam_gain(*pair, "clusters").value == pytest.approx(1)
    alone = found.beam_gain(("count table", "trie"), ("flat", "free"), "recall", 10)
    assert alone.value == pytest.approx(-0.25)
    assert found.recalls("flat", "free", (1, 10))[10].value == pytest.approx(0.5)


def test_groups_gain_apart():
    found = hand_made()
    near = found.reachable("flat", 2)
    assert near.tolist() == [[True, True, False, False]]  # every code before level 2 in the top ten
    assert found.reachable("flat", 1).all()  # nothing stands before level 1
    # Reachable: 2/2 against 1/2; unreachable: 1/2 against 0.
    assert found.group_gain(2, ~near, near).value == pytest.approx(0.0)
    assert found.group_gain(2, near).value == pytest.approx(0.5)
    first, rest = np.array([[1, 0, 0, 1]], bool), np.array([[1, 1, 1, 0]], bool)
    # First: 1/2 both; rest: 3/3 against 1/3.
    assert found.group_gain(2, rest, first).value == pytest.approx(2 / 3)
    assert found.group_gain(2, rest, first, relative=True).value == pytest.approx(2)
    assert found.group_gain(1, rest).value == 0  # nobody gains at level 1


def test_the_residual_is_what_is_added_given_counts_over_what_is_added():
    found = hand_made()
    # Without counts 4 - 1 = 3 nats, with them 2 - 1.4 = 0.6.
    assert found.residual((2,)).value == pytest.approx(0.2)
    assert found.added("PrefixMem", (2,))[0] == pytest.approx(3)
    assert found.oracle((2,)).value == pytest.approx(0.5)  # 2 of 4 nats
    assert found.added("PrefixMem", (1, 2), "mixed_nll")[0] == pytest.approx(1.2)
    worse = made((0, 0, 0, 0), (2, 2, 2, 2), mixed_nll=np.full((4, 2), 2.5))
    assert hand_made(worse).residual((2,)).value == pytest.approx(-0.25)


def test_reports_hand_over_intervals(monkeypatch):
    seen = []
    monkeypatch.setattr(experiment.ledger, "report", lambda *a, **k: seen.append((a, k)))
    one, two = Estimate(1.0, 0.5, 1.5), Estimate(2.0, 1.0, 3.0)
    experiment.report("ch02.x", [one, two], control=two)
    experiment.report("ch02.y", one, control=0.25)
    assert seen[0][0] == ("ch02.x", [1.0, 2.0], [(0.5, 1.5), (1.0, 3.0)], 2.0)
    assert seen[0][1]["control_interval"] == (1.0, 3.0)
    assert seen[1][0] == ("ch02.y", 1.0, (0.5, 1.5), 0.25)
    assert seen[1][1]["control_interval"] is None


def test_budgets_differ_in_steps_alone_and_seeds_in_the_seed():
    short, long = (experiment.main_arms(budget) for budget in experiment.BUDGETS)
    for arms in (short, long):
        assert [one.train.seed for one in arms["flat"]] == list(experiment.SEEDS)
        flat, ours = arms["flat"][0], arms["PrefixMem"][0]
        assert replace(ours, encoder="none") == flat
    one, two = short["PrefixMem"][0], long["PrefixMem"][0]
    assert two.train.steps > one.train.steps
    same = replace(
        two, train=replace(two.train, steps=one.train.steps), curve=one.curve, n_target=0
    )
    assert replace(same, train=replace(same.train, warmup=one.train.warmup)) == one
    # 318 batches of 512 items are an epoch: 0.6 and 6 of them.
    monkey = {"0.6 epoch": 200 / 318, "6 epochs": 1908 / 318}
    assert [round(share, 1) for share in monkey.values()] == [0.6, 6.0]


def test_variations_stand_beside_the_main_arms_at_the_smaller_budget():
    main = experiment.main_arms(experiment.BUDGETS[0])
    arms = experiment.variation_arms()
    assert arms["flat"] == main["flat"][:1]
    assert arms["PrefixMem"] == main["PrefixMem"][:1]
    for name, (one,) in arms.items():
        assert one.train == main["flat"][0].train
        assert (one.n_valid > 0) == (name in ("flat", "PrefixMem", "rows at random"))
    assert arms["suffix hashes"][0].memory.kind == "suffix"
    assert arms["full prefix only"][0].memory.kind == "full"


def test_bleu_of_runs_is_averaged_over_the_seeds_drawn():
    counts = bleu_counts([["a", "b"], ["c"]], [["a", "b"], ["d"]])
    nothing = bleu_counts([["x", "y"], ["z"]], [["a", "b"], ["d"]])

    def run(found):
        empty = np.zeros((2, 3))
        return lm_arms.LmResult(empty.astype(bool), found, np.ones((2, 3), bool))

    results = {"PrefixMem": [run(counts)] * 3, "two": [run(nothing)] * 3}
    table = {"count table": np.ones((2, 3), bool), "no prefix": np.zeros((2, 3), bool)}
    found = lm_arms.LmStudy(results, table)
    assert found.bleu_gain("PrefixMem", "two").value == pytest.approx(float(bleu(counts)))
    assert found.gain("count table", "PrefixMem").value == 1
    assert found.gain("no prefix", "count table").value == -1
    assert found.accuracy("PrefixMem", 3).value == 0
    assert found.accuracy("table of what was read", 3).value == 1


def test_every_generative_model_is_trained_by_one_recipe():
    assert recipe(100) == TrainConfig(
        steps=100, items_per_batch=512, lr=0.05, matrix_lr=0.04, warmup=25, weight_decay=0.1,
        average=0.2,
    )  # fmt: skip
    assert recipe(1000, 128).warmup == 50
    assert recipe(1000, 128).items_per_batch == 128


def test_the_count_table_is_measured_with_a_control_that_ignores_the_prefix(data):
    found = arms_module.count_result(data, 100, width=10)
    codes = data.codes[np.concatenate(data.split().train)]
    targets = data.codes[sample(data.split().test, 100).targets]
    frequent = [np.bincount(column).argmax() for column in codes.T]
    assert np.array_equal(found.marginal_hits, targets == frequent)
    table = NGramCounts.fit(data.codes, 16, data.split().train)
    assert np.array_equal(found.hits, hits(count_log_probs(table, targets), targets))
    # One list for everybody: its best ID is found by going down the table.
    best = []
    for _ in range(3):
        best.append(int(table.predict(np.array([best], np.int64).reshape(1, -1))[0]))
    assert set(found.recall) == {5, 10}
    assert (found.recall[5] <= found.recall[10]).all()
    assert found.recall[10][(targets == best).all(1)].all()


def test_popularity_is_that_of_the_codes_before_a_level(data, monkeypatch):
    monkeypatch.setattr(experiment, "load", lambda name: data)
    codes = data.codes[np.concatenate(data.split().train)]
    targets = data.codes[sample(data.split().test, 100).targets]
    found = hand_made()
    found.targets = targets
    for level in (2, 3):
        same = [(codes[:, : level - 1] == one[: level - 1]).all(1).sum() for one in targets]
        group, seen = found.tertiles(level), np.array(same)
        assert len(set(group)) > 1
        pairs = itertools.pairwise(sorted(set(group)))
        assert all(seen[group == a].max() < seen[group == b].min() for a, b in pairs)


def test_the_search_with_counts_takes_the_mix_of_the_theory_page(data, monkeypatch):
    asked = []

    def spy(steps, counts, weights, shares=()):
        asked.append((tuple(weights), tuple(shares)))
        return steps

    monkeypatch.setattr(arms_module, "MixedSteps", spy)
    real = arms_module.fit_mixture
    kinds = {False: Mixture((1.0, 2.0, 3.0), (0.1, 0.2, 0.35)), True: Mixture((0.5, 0.5, 0.5))}
    monkeypatch.setattr(arms_module, "fit_mixture", lambda *a, rigid=False: kinds[rigid])
    one = replace(ARM, n_valid=20, n_beam=5, width=5, train=replace(ARM.train, steps=1))
    found = run_arm(one)
    assert set(asked) == {((1.0, 2.0, 3.0), (0.1, 0.2, 0.35))}
    assert found.target_mixed == {}
    asked.clear()
    many = run_arm(replace(one, n_beam=0, n_target=30))
    assert set(asked) == {((1.0, 2.0, 3.0), (0.1, 0.2, 0.35))}
    assert many.target_mixed[10].shape == (30,)
    asked.clear()
    assert run_arm(replace(one, n_beam=0, n_target=30, encoder="prefixmem")).target_mixed == {}
    assert not asked  # of the flat arm only, which is the yardstick
    assert (found.weights, found.shares) == ((1.0, 2.0, 3.0), (0.1, 0.2, 0.35))
    assert real is not arms_module.fit_mixture


def test_with_the_trie_an_arm_is_asked_among_codes_of_items(data):
    found = run_arm(replace(ARM, n_target=30, train=replace(ARM.train, steps=4)))
    assert (found.trie_nll <= found.nll + 1e-5).all()
    assert found.trie_hits[:, 2].mean() > found.hits[:, 2].mean()
    assert found.target[20].shape == (30,)


def test_a_difference_of_hit_rates_is_that_of_the_many_users():
    found = hand_made()
    for name, rows in (("flat", [1, 0, 0]), ("PrefixMem", [1, 1, 0])):
        found.results[name] = [replace(found.results[name][0], target={10: ones(*rows)})]
    assert found.target_gain("PrefixMem", "flat", 10).value == pytest.approx(1 / 3)
    assert found.target_gain("PrefixMem", "flat", 10, relative=True).value == pytest.approx(1)
    flat = found.results["flat"][0]
    found.results["flat"] = [replace(flat, target_mixed={10: ones(1, 1, 1)})]
    assert found.target_rate("flat + counts", 10).value == 1
    assert found.target_gain("PrefixMem", "flat + counts", 10).value == pytest.approx(-1 / 3)
    # The table's own list, of the first users: the hit of one of three.
    assert found.target_rate("count table", 10).value == pytest.approx(1 / 3)
    gain = found.target_gain("count table", "PrefixMem", 10, relative=True)
    assert gain.value == pytest.approx(-1 / 2)


def test_the_control_of_the_residual_is_no_bound():
    """Counts know one of two bits, the encoder the other: it keeps all that it adds."""
    flat = np.full(4, 2 * np.log(2))
    one, two = made((0,) * 4, flat, mixed_nll=np.full((4, 2), np.log(2))), np.zeros((4, 2))
    other = made((0,) * 4, flat / 2, mixed_nll=two)
    found = experiment.Study({"flat": [one], "PrefixMem": [other]}, COUNTS, TARGETS, draws=50)
    assert found.residual((2,)).value == pytest.approx(1)
    assert found.oracle((2,)).value == pytest.approx(0.5)
