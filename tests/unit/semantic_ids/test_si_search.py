"""Beam search: equal to trying everything, tries, and what recall counts; equal to the peer's."""

import itertools

import numpy as np
import pytest
import torch

from lib.semantic_ids.beam import (
    BeamResult,
    CountSteps,
    MixedSteps,
    beam_search,
    by_length,
    generate,
)
from lib.semantic_ids.catalogue import SidCatalog
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import Examples
from lib.semantic_ids.evaluation import (
    Mixture,
    count_log_probs,
    distinct_first,
    item_recall,
    recall,
    teacher_forced,
    valid_share,
)
from lib.semantic_ids.transformer import GenerativeTransformer, TransformerConfig

SHAPE = TransformerConfig(n_levels=3, n_codes=4, max_items=5, d_model=16, n_heads=2)
RNG = np.random.default_rng(0)
CODES = np.unique(RNG.integers(4, size=(30, 3)), axis=0)
CATALOG = SidCatalog(CODES, 4)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = GenerativeTransformer(SHAPE).eval()
    for head in made.heads:
        torch.nn.init.normal_(head.weight)  # spread, so that no two IDs are equally likely
    return made


def examples(n=5):
    histories = tuple(RNG.integers(len(CODES), size=length) for length in (1, 3, 2, 4, 6)[:n])
    return Examples(np.arange(n), histories, np.zeros(n, np.int64))


def everything(model, history, catalog):
    """Return all IDs in falling order of score, by teacher forcing each of them."""
    found = []
    for sid in itertools.product(range(4), repeat=3):
        if catalog is not None and catalog.nodes([sid])[0] < 0:
            continue
        rows = torch.from_numpy(np.concatenate([CODES[history], [sid]])[None])
        logs = model.target_logits(rows).log_softmax(-1)[0]
        found.append((float(sum(logs[level, code] for level, code in enumerate(sid))), sid))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("catalog", [None, CATALOG], ids=["free", "trie"])
def test_a_wide_beam_finds_what_trying_everything_finds(model, catalog):
    some = examples()
    found = generate(model, some, CODES, 64, catalog=catalog)
    with torch.no_grad():
        for row, history in enumerate(some.histories):
            wanted = everything(model, history[-4:], catalog)
            n = len(wanted)
            assert found.codes[row, :n].tolist() == [list(sid) for _, sid in wanted]
            np.testing.assert_allclose(
                found.scores[row, :n], [score for score, _ in wanted], atol=1e-4
            )
            assert np.isneginf(found.scores[row, n:]).all()


def test_with_a_trie_every_id_is_an_item_and_without_some_are_not(model):
    some = examples()
    with_trie = generate(model, some, CODES, 8, catalog=CATALOG)
    free = generate(model, some, CODES, 8)
    assert (valid_share(with_trie, CATALOG) == 1).all()
    assert valid_share(free, CATALOG).min() < 1


def test_the_trie_follows_the_catalogue(model):
    catalog = CATALOG.copy()
    some = examples(1)
    best = generate(model, some, CODES, 1, catalog=catalog).codes[0, 0]
    catalog.delete(catalog.items(best))
    assert generate(model, some, CODES, 1, catalog=catalog).codes[0, 0].tolist() != best.tolist()


def test_permuting_the_users_permutes_the_beams(model):
    some = examples()
    order = np.array([3, 0, 4, 1, 2])
    one, other = (generate(model, e, CODES, 5) for e in (some, some.take(order)))
    assert (one.codes[order] == other.codes).all()


def test_bad_searches_are_refused(model):
    steps = model.decoding(torch.from_numpy(CODES[None, :2]))
    with pytest.raises(ValueError, match="width is 0"):
        beam_search(steps, 3, 0)
    with pytest.raises(ValueError, match="2 levels, expected 3"):
        beam_search(steps, 3, 2, catalog=SidCatalog([[0, 1]], 4))
    with pytest.raises(ValueError, match="5 codes a level, the model 4"):
        beam_search(steps, 3, 2, catalog=SidCatalog([[0, 1, 4]], 5))
    with pytest.raises(ValueError, match="training mode"):
        generate(GenerativeTransformer(SHAPE), examples(), CODES, 2)
    with pytest.raises(ValueError, match="longest is 0"):
        list(by_length(examples(), 0))


def test_histories_of_one_length_come_together():
    groups = {h.shape[1]: places.tolist() for places, h in by_length(examples(), 4)}
    assert groups == {1: [0], 2: [2], 3: [1], 4: [3, 4]}


def test_the_count_tables_beam_is_its_most_likely_ids():
    counts = NGramCounts(CODES, 4, weights=np.arange(1, len(CODES) + 1), alpha=1e-6)
    found = beam_search(CountSteps(counts), 3, len(CODES), catalog=CATALOG)
    # With vanishing smoothing the probability of an ID is its share of the interactions.
    assert found.codes[0].tolist() == CODES[::-1].tolist()


def test_a_beam_plus_counts_scores_ids_as_the_mixture_does(model):
    counts = NGramCounts(CODES, 4, weights=RNG.integers(1, 50, size=len(CODES)))
    weights = (0.0, 0.5, 2.0)
    one = Examples(np.zeros(1, np.int64), (np.array([0, 3]),), np.zeros(1, np.int64))
    found = generate(
        model, one, CODES, 64, catalog=CATALOG, steps=lambda s: MixedSteps(s, counts, weights)
    )
    every = Examples(np.arange(len(CODES)), (one.histories[0],) * len(CODES), np.arange(len(CODES)))
    mixed = Mixture(weights)(teacher_forced(model, every, CODES), count_log_probs(counts, CODES))
    scores = np.take_along_axis(mixed, CODES[:, :, None], axis=2).sum(axis=(1, 2))
    order = np.argsort(-scores)
    np.testing.assert_array_equal(found.codes[0, : len(CODES)], CODES[order])
    np.testing.assert_allclose(found.scores[0, : len(CODES)], scores[order], atol=1e-4)


def test_recall_counts_a_target_once_and_refuses_more_than_was_searched():
    result = BeamResult(
        np.array([[[0, 1], [2, 3], [1, 1]], [[0, 0], [1, 0], [0, 0]]]),
        np.array([[-1.0, -2.0, -3.0], [-1.0, -2.0, -np.inf]], np.float32),
    )
    targets = np.array([[2, 3], [3, 3]])
    assert {k: v.tolist() for k, v in recall(result, targets, [1, 2]).items()} == {
        1: [False, False],
        2: [True, False],
    }
    with pytest.raises(ValueError, match="more than the beam's width 3"):
        recall(result, targets, [4])
    for wrong, ks in ((targets + 0.5, [1]), (targets[:1], [1]), (targets, [0]), (targets, [1.5])):
        with pytest.raises(ValueError, match="expected"):
            recall(result, wrong, ks)


def test_padding_is_no_part_of_a_beam():
    """Five items under four first codes in a beam of twenty: four codes, and all are items."""
    codes = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [3, 0]])
    catalog = SidCatalog(codes, 8)
    counts = NGramCounts(codes, 8, weights=np.ones(5))
    for catalogue, share in ((catalog, 1.0), (None, 0.25)):
        found = beam_search(CountSteps(counts), 2, 20, catalog=catalogue)
        assert valid_share(found, catalog).tolist() == [share]
    found = beam_search(CountSteps(counts), 2, 20, catalog=catalog)
    assert np.isfinite(found.scores).sum() == 5
    assert distinct_first(found).tolist() == [4]
    half = BeamResult(
        np.array([[[0, 0], [0, 1], [5, 0]], [[7, 0], [7, 1], [0, 0]]]),
        np.array([[-1.0, -2.0, -np.inf], [-1.0, -2.0, -3.0]], np.float32),
    )
    assert distinct_first(half).tolist() == [1, 2]
    assert valid_share(half, catalog).tolist() == [0.5, pytest.approx(1 / 3)]


def test_items_that_share_an_id_share_its_places():
    """Fifty items of one ID, and other shares: the chance that the target is among the first k."""
    catalog = SidCatalog([[0, 1]] * 50, 4)
    found = BeamResult(np.array([[[0, 1]] + [[2, 2]] * 49]), np.array([[-1.0] + [-2.0] * 49]))
    assert recall(found, np.array([[0, 1]]), [1])[1].tolist() == [True]
    for k, chance in ((1, 0.02), (5, 0.1), (50, 1.0)):
        assert item_recall(found, [49], catalog, [k])[k].tolist() == [pytest.approx(chance)]
    # IDs: one without an item, three items, two items, padding.
    catalog = SidCatalog([[0, 1], [0, 1], [2, 2], [0, 1], [2, 2], [3, 3]], 4)
    found = BeamResult(
        np.array([[[1, 1], [0, 1], [2, 2], [0, 0], [3, 3]]] * 3),
        np.array([[-1.0, -2.0, -3.0, -4.0, -np.inf]] * 3, np.float32),
    )
    chances = item_recall(found, [3, 4, 5], catalog, [1, 2, 3, 4, 5])
    assert np.array([chances[k] for k in (1, 2, 3, 4, 5)]).round(9).tolist() == [
        [0, 0, 0],
        [round(1 / 3, 9), 0, 0],
        [round(2 / 3, 9), 0, 0],
        [1, 0, 0],
        [1, 0.5, 0],
    ]
    catalog.delete([4])
    for targets, ks in (([4] * 3, [1]), ([9] * 3, [1]), ([0.5] * 3, [1]), ([0] * 3, [6])):
        with pytest.raises(ValueError, match=r"expected|more than"):
            item_recall(found, targets, catalog, ks)


def test_of_different_ids_items_and_ids_are_recalled_alike(model):
    some = examples()
    found = generate(model, some, CODES, 16, catalog=CATALOG)
    items = np.array([0, 3, 5, 7, 9])
    by_id, by_item = (
        one(found, *rest, [1, 4, 16])
        for one, rest in ((recall, (CODES[items],)), (item_recall, (items, CATALOG)))
    )
    assert {k: v.tolist() for k, v in by_id.items()} == {k: v.tolist() for k, v in by_item.items()}


@pytest.mark.parametrize("level", [0, 2])
def test_a_search_stops_at_nan(level):
    class Broken:
        def __init__(self, n):
            self.logs = [torch.zeros(1, 4) for _ in range(n)]
            self.logs[level][0, 3] = torch.nan

        def first(self):
            return self.logs[0]

        def step(self, parents, prefix):
            return self.logs[prefix.shape[2]].expand(1, prefix.shape[1], 4)

    with pytest.raises(ValueError, match=f"level {level + 1} hold NaN"):
        beam_search(Broken(3), 3, 2)


def test_one_history_at_a_time_is_enough(model):
    some = examples()
    one, many = (generate(model, some, CODES, 3, batch=batch) for batch in (1, 128))
    assert (one.codes == many.codes).all()
    with pytest.raises(ValueError, match="batch is 0"):
        generate(model, some, CODES, 3, batch=0)


def test_what_is_more_than_certain_is_refused():
    class Sure:
        def first(self):
            return torch.tensor([[0.0, torch.inf]])

    with pytest.raises(ValueError, match="level 1 hold NaN or infinity"):
        beam_search(Sure(), 1, 1)
