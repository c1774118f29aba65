"""Chapter 2: what the encoder costs, what is learnt in equal seconds, and search against a peer."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import load, sample
from lib.semantic_ids.evaluation import hits, teacher_forced
from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig
from lib.semantic_ids.study import peers
from lib.semantic_ids.study.arms import SHAPE, recipe
from lib.semantic_ids.study.experiment import ABLATIONS
from lib.semantic_ids.training import train, windows
from lib.semantic_ids.transformer import GenerativeTransformer, SidTransformerEncoder

pytestmark = pytest.mark.bench
ENCODERS = {
    "flat": lambda: None,
    "PrefixMem": lambda: PrefixMem(PrefixMemConfig()),
    "SID-Transformer": lambda: SidTransformerEncoder(4, 256, SHAPE.d_model),
}


@pytest.fixture(scope="module")
def data():
    torch.set_num_threads(1)
    return load("beauty_rqkmeans")


def made(name):
    torch.manual_seed(0)
    model = GenerativeTransformer(SHAPE)
    model.encoder = ENCODERS[name]()
    return model


def config_of(name, steps):
    return replace(recipe(steps), **ABLATIONS.get(name, {}).get("train", {}))


def step_seconds(data, name, steps=30, dense=False):
    pieces = windows(data.split().train, SHAPE.max_items - 1)
    model = made(name)
    if dense:
        model.encoder.table.sparse = False
    return train(model, pieces, data.codes, config_of(name, steps)).cpu_seconds / steps


def test_cost_of_a_step(data):
    step_seconds(data, "flat", 5)
    # Turn by turn, so that a busy neighbour disturbs all alike; the least disturbed counts.
    turns = [{name: step_seconds(data, name) for name in ENCODERS} for _ in range(3)]
    best = {name: min(turn[name] for turn in turns) for name in ENCODERS}
    best["PrefixMem, dense updates"] = step_seconds(data, "PrefixMem", 10, dense=True)
    tokens = recipe(1).items_per_batch * SHAPE.n_levels
    print()
    for name, spent in best.items():
        over = spent / best["flat"] - 1
        print(f"{name}: {tokens / spent:,.0f} tokens/s of one core, {over:+.1%} over flat")
    # The target was 5 % and is missed beside so small a model: the projection is 1 % of its
    # arithmetic, but looking up and updating thousands of rows all over memory is not arithmetic.
    assert best["PrefixMem"] / best["flat"] - 1 < 0.25
    assert best["PrefixMem"] < best["SID-Transformer"]
    assert best["PrefixMem, dense updates"] / best["PrefixMem"] > 1.1


def test_accuracy_in_equal_seconds(data):
    split = data.split()
    test = sample(split.test, 2000)
    targets = data.codes[test.targets]
    pieces = windows(split.train, SHAPE.max_items - 1)
    budget = 250 * step_seconds(data, "flat")
    start = time.process_time()
    counts = NGramCounts.fit(data.codes, data.n_codes, split.train)
    counting = time.process_time() - start
    found = {}
    print(f"\nTF-L4 after the same {budget:.0f} CPU seconds:")
    for name in ENCODERS:
        steps = max(20, int(budget / step_seconds(data, name)))
        model = made(name)
        train(model, pieces, data.codes, config_of(name, steps))
        guesses = teacher_forced(model, test, data.codes)
        found[name] = hits(guesses, targets)[:, 3].mean()
        print(f"{name}: {found[name]:.1%} ({steps} steps)")
    table = counts.accuracy(targets)[3]
    print(f"count table: {table:.1%}, made in {counting:.1f} s")
    assert found["PrefixMem"] > found["flat"] + 0.1
    assert found["PrefixMem"] > found["SID-Transformer"] + 0.1
    assert table > found["PrefixMem"]


def test_trie_search_against_torch_rechub(data):
    catalog = data.catalog()
    trie = peers.their_trie(catalog)
    long = [s[:4] for s in data.sequences if len(s) > 4]
    print()
    ratios = {}
    for d_model, n_layers in ((16, 1), (64, 2)):
        tiger = peers.tiger_model(4, 256, d_model=d_model, n_layers=n_layers)
        for users, width in ((64, 10), (64, 20), (256, 20)):
            histories = data.codes[np.stack(long[:users])]
            theirs = peers.their_search(tiger, histories, catalog, width, trie=trie)
            ours = peers.our_search(tiger, histories, catalog, width)
            same = (theirs.codes == ours.codes).all(axis=(1, 2)).mean()
            assert np.abs(theirs.scores - ours.scores).max() < 1e-3
            assert same > 0.98  # two IDs within rounding may change places
            for result in (theirs, ours):
                assert (catalog.nodes(result.codes.reshape(-1, 4)) >= 0).all()
            slow = min(
                _wall(peers.their_search, tiger, histories, catalog, width, trie=trie)
                for _ in range(3)
            )
            fast = min(_wall(peers.our_search, tiger, histories, catalog, width) for _ in range(5))
            ratios[d_model, users, width] = slow / fast
            print(
                f"width {d_model}, {n_layers} layers, {users} users, beam {width}: "
                f"{slow / fast:.1f}x, equal lists {same:.1%}"
            )
    # Where the search and not the model's arithmetic is what takes the time.
    assert min(ratio for (d_model, _, _), ratio in ratios.items() if d_model == 16) > 5
    assert min(ratios.values()) > 2


def _wall(call, *arguments, **options):
    start = time.perf_counter()
    call(*arguments, **options)
    return time.perf_counter() - start
