"""Arms, end to end, on a tiny simulated world."""

from dataclasses import replace

import numpy as np
import pytest

from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import sample
from lib.semantic_ids.evaluation import hits
from lib.semantic_ids.prefixmem import PrefixMemConfig
from lib.semantic_ids.study import experiment as study
from lib.semantic_ids.study import worlds
from lib.semantic_ids.study.arms import Arm, CountResult, encoder_macs, flat_macs, run_arm
from lib.semantic_ids.study.synthetic import World, simulate
from lib.semantic_ids.training import TrainConfig
from lib.semantic_ids.transformer import TransformerConfig

WORLD = World(n_prefixes=64, n_levels=3, n_codes=16, n_last=4, n_users=300, length=6)
ARM = Arm(
    shape=TransformerConfig(
        n_levels=3, n_codes=16, max_items=5, d_model=16, n_layers=1, n_heads=2
    ),
    memory=PrefixMemConfig(n_levels=3, n_codes=16, active_levels=(2, 3), table_size=251, d_mem=16),
    train=TrainConfig(steps=60, items_per_batch=128, lr=0.01, warmup=5),
    n_test=120,
    world=WORLD,
)  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"encoder": "prefixmem"},
        {"encoder": "prefixmem", "start": "classifier"},
        {"encoder": "prefixmem", "start": "shuffled classifier"},
        {"encoder": "perfect hash"},
        {"encoder": "sid-transformer"},
        {"encoder": "random rows"},
    ],
    ids=lambda change: " ".join(change.values()) or "flat",
)
def test_every_arm_runs(change):
    one = run_arm(replace(ARM, train=replace(ARM.train, steps=4), curve=(2,), **change))
    assert one.hits.shape == one.nll.shape == one.top10.shape == (120, 3)
    assert one.curve[2].shape == (120, 3)
    assert np.isfinite(one.nll).all()
    assert one.trie is None


def test_an_arm_is_the_same_twice_and_another_with_another_seed():
    arm = replace(ARM, encoder="prefixmem", train=replace(ARM.train, steps=4))
    one, two, other = run_arm(arm), run_arm(arm), run_arm(arm.with_seed(1))
    assert np.array_equal(one.nll, two.nll)
    assert not np.array_equal(one.losses, other.losses)


def test_an_encoder_changes_neither_weights_nor_batches_of_the_rest():
    first = [
        run_arm(replace(ARM, encoder=kind, train=replace(ARM.train, steps=1))).losses[0]
        for kind in ("none", "prefixmem", "sid-transformer", "leaky")
    ]
    assert first[0] == first[1] == first[2]
    assert first[0] != first[3]  # the leak is there from the first step


def test_the_leak_control_is_nearly_perfect_and_prefixmem_is_not():
    leak = run_arm(replace(ARM, encoder="leaky", train=replace(ARM.train, steps=150)))
    honest = run_arm(replace(ARM, encoder="prefixmem"))
    assert leak.hits[:, 1:].mean() > 0.95
    assert honest.hits[:, 2].mean() < 0.9


def test_counts_and_beams_are_measured_on_the_same_users():
    found = run_arm(
        replace(ARM, n_valid=50, n_beam=20, width=10, train=replace(ARM.train, steps=4))
    )
    data = simulate(WORLD, seed=0)
    test = sample(data.split().test, 120)
    counts = NGramCounts.fit(data.codes, 16, data.split().train)
    table = counts.hits(data.codes[test.targets])
    # After four steps the model knows little, so the mix is close to the table.
    assert (found.mixed_hits[:, 2] == table[:, 2]).mean() > 0.8
    assert found.trie.valid.shape == (20,)
    assert (found.trie.valid == 1).all()
    assert found.free.valid.min() < 1
    assert set(found.trie.recall) == {5, 10}
    assert found.swapped_hits.shape == found.swapped_mixed.shape == (120, 3)


def test_the_sample_is_a_prefix_of_one_order():
    split = simulate(WORLD, seed=0).split()
    few, more = sample(split.test, 10), sample(split.test, 50)
    assert (more.users[:10] == few.users).all()
    assert len(np.unique(more.users)) == 50


def test_costs_are_counted():
    shape = TransformerConfig(n_levels=2, n_codes=10, max_items=3, d_model=8, n_layers=2, n_heads=2)
    # 12 d^2 for attention and feed-forward, half of two products with six positions, and heads.
    assert flat_macs(shape) == 2 * (2 * (12 * 64 + 6 * 8) + 8 * 10)
    config = PrefixMemConfig(d_model=8, d_mem=4, n_heads=2, max_order=2, active_levels=(3, 4))
    assert encoder_macs(config) == 2 * 4 * (8 + 2)


def results(seeds=2):
    arms = {"flat": ARM, "PrefixMem": replace(ARM, encoder="prefixmem")}
    few = {
        name: [
            run_arm(
                replace(arm.with_seed(seed), n_valid=50, n_beam=30, width=10, curve=(15, 30, 45))
            )
            for seed in range(seeds)
        ]
        for name, arm in arms.items()
    }
    data = simulate(WORLD, seed=0)
    targets = data.codes[sample(data.split().test, 120).targets]
    counts = NGramCounts.fit(data.codes, 16, data.split().train)
    recall = {k: np.zeros(120, bool) for k in (5, 10)}
    own = CountResult(counts.hits(targets), -counts.log_likelihood(targets), recall)
    return study.Study(few, own, targets, draws=50)


def test_a_study_compares_by_user_and_seed():
    found = results()
    gain = found.gain("PrefixMem", "flat", 3)
    flat, ours = (found.field(arm, "hits", 3) for arm in ("flat", "PrefixMem"))
    assert gain.value == pytest.approx(ours.mean() - flat.mean())
    assert gain.low <= gain.value <= gain.high
    assert found.by_seed("PrefixMem", "flat", 3) == pytest.approx(
        [ours[0].mean() - flat[0].mean(), ours[1].mean() - flat[1].mean()]
    )
    early = found.early("PrefixMem", "flat", 3, 1)
    by_hand = [
        one.curve[15][:, 2].mean() for arm in ("PrefixMem", "flat") for one in found.results[arm]
    ]
    assert early.value == pytest.approx(np.mean(by_hand[:2]) - np.mean(by_hand[2:]))
    assert list(found.accuracies()) == [
        "count table", "flat", "PrefixMem", "flat + counts", "PrefixMem + counts",
    ]  # fmt: skip
    near = found.reachable("flat")
    assert near.shape == (2, 120)
    whole = found.group("flat", np.ones_like(near))
    assert whole.value == pytest.approx(flat.mean())
    assert found.over_table("flat", 10).value == pytest.approx(
        found.beam("flat", "trie", "recall", 10).mean()
    )


def test_tables_are_in_per_cent_and_reports_keep_their_intervals():
    found = results(1)
    shown = study.table(found.accuracies(), ["1", "2", "3"])
    assert shown.shape == (5, 3)
    assert shown.iloc[0, 0].endswith(")")


def test_worlds_have_a_load_and_a_rank_correlation():
    assert worlds.load_of(WORLD) == pytest.approx(64 / 48)
    rng = np.random.default_rng(0)
    flat = rng.random((2, 100)) < 0.3

    def trial(gain):
        more = (flat | (rng.random(flat.shape) < gain)).astype(float)
        return worlds.Trial(flat.astype(float), more, more, more[0])

    rising = [trial(gain) for gain in (0.0, 0.3, 0.6, 0.9)]
    assert worlds.rank_correlation([1, 2, 4, 8], rising, draws=50).value == pytest.approx(1)
    assert worlds.rank_correlation([8, 4, 2, 1], rising, draws=50).value == pytest.approx(-1)


def test_hits_need_log_probabilities_of_every_code():
    assert hits(np.zeros((1, 1, 2), np.float32), np.array([[0]])).tolist() == [[True]]
