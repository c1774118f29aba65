"""Corners: nothing at all, one of each, a margin below one, what is refused before it is run."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from lib.semantic_ids.beam import BeamResult
from lib.semantic_ids.catalogue import SidCatalog, check_sequences
from lib.semantic_ids.datasets import Examples, SidData, join_windows
from lib.semantic_ids.evaluation import (
    distinct_first,
    fit_mixture,
    item_recall,
    recall,
    top,
    with_trie,
)
from lib.semantic_ids.hashing import PrefixHash
from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig, check_codes
from lib.semantic_ids.study import checks, guarantees
from lib.semantic_ids.study.arms import recipe
from lib.semantic_ids.study.expressive import additive, all_prefixes
from lib.semantic_ids.study.interactive import node_table, tree_explorer
from lib.semantic_ids.training import TrainConfig, next_code_loss
from lib.semantic_ids.transformer import GenerativeTransformer, TransformerConfig

SHAPE = TransformerConfig(n_levels=3, n_codes=8, max_items=5, d_model=16, n_heads=2)


def codes_of(*shape, n_codes=8, seed=0):
    return np.random.default_rng(seed).integers(n_codes, size=shape)


# ── nothing, and one ────────────────────────────────────────────────────────────────────────────
def test_nothing_is_asked_of_a_catalogue() -> None:
    catalog = SidCatalog([[0, 1], [1, 0]], 2)
    assert catalog.nodes(np.zeros((0, 2))).tolist() == []
    assert catalog.nodes(np.zeros((3, 0))).tolist() == [0, 0, 0]
    assert catalog.step(1, [], []).tolist() == []
    assert catalog.mask(1, []).shape == (0, 2)
    assert [one.tolist() for one in check_sequences("x", [[], []])] == [[], []]
    assert catalog.children([0, 1]).tolist() == []
    assert catalog.items([1, 1]).tolist() == []
    one = SidCatalog([[3]], 4)
    assert (one.children([]).tolist(), one.items([3]).tolist(), one.shared()) == ([3], [0], 0)


def test_prefixes_of_one_item_have_no_batch() -> None:
    hashing = PrefixHash(2, 2, 3, 64)
    single = hashing.rows(torch.tensor([1, 2]))
    assert single.tolist() == hashing.rows(torch.tensor([[1, 2]]))[0].tolist()
    assert hashing.index([1, 2]).tolist() == hashing.index([[1, 2]])[0].tolist()
    # Whole numbers as floats are whole, zero among them.
    assert torch.equal(hashing.rows(torch.tensor([1.0, 0.0])), hashing.rows(torch.tensor([1, 0])))
    assert hashing.rows(torch.zeros(0, 2)).shape == (0, 2, 3)


def test_examples_and_data_are_brought_into_their_form() -> None:
    some = Examples([0], ([1.0, 2.0],), [0])
    assert some.histories[0].dtype == np.int64
    taken = Examples(np.arange(3), ([1], [2], [3]), np.arange(3)).take(np.array([2, 0]))
    assert [one.tolist() for one in taken.histories] == [[3], [1]]
    with pytest.raises(ValueError, match="name is"):
        SidData(" ", codes_of(2, 2), 8, ())
    named = SidData("x", codes_of(2, 2), 8, ([0, 1, 0],), ("one", "two"))
    assert named.texts == ("one", "two")
    with pytest.raises(ValueError, match="3 texts for 2 items"):
        SidData("x", codes_of(2, 2), 8, (), ("one", "two", "three"))
    assert join_windows([([5], 6)], width=1) == [5, 6]
    assert join_windows([([5], 6), ([6], 7)], width=1) == [5, 6, 7]


def test_several_lengths_of_a_list_are_held_against_its_width() -> None:
    found = BeamResult(np.array([[[0, 1], [1, 0]]]), np.array([[-1.0, -2.0]], np.float32))
    catalog = SidCatalog([[0, 1], [1, 0]], 2)
    for ks in ([1, 3], [3, 1]):
        with pytest.raises(ValueError, match="k = 3 is more than the beam's width 2"):
            recall(found, np.array([[1, 0]]), ks)
        with pytest.raises(ValueError, match="k = 3 is more"):
            item_recall(found, [1], catalog, ks)
    assert {k: v.tolist() for k, v in recall(found, np.array([[1, 0]]), [2, 1]).items()} == {
        2: [True], 1: [False],
    }  # fmt: skip
    assert item_recall(found, [1], catalog, [1, 2])[2].tolist() == [1]
    assert distinct_first(found).tolist() == [2]


def test_logs_of_other_shapes_are_not_mixed() -> None:
    logs = np.log(np.full((2, 2, 4), 0.25, np.float32))
    with pytest.raises(ValueError, match=r"counts have shape \(1, 2, 4\), expected \(2, 2, 4\)"):
        fit_mixture(logs, logs[:1], np.zeros((2, 2), int))
    # All are as likely: with the first of equal losses, the least of the grid is taken.
    found = fit_mixture(logs, logs, np.zeros((2, 2), int))
    assert found.shares == (0.01, 0.01)
    assert top(logs, np.zeros((2, 2), int), 3).tolist() == [[True, True]] * 2  # place 2.5
    assert not top(logs, np.zeros((2, 2), int), 2).any()


def test_a_trie_of_one_item_is_certain() -> None:
    logs = np.log(np.full((1, 2, 4), 0.25, np.float32))
    found = with_trie(logs, np.array([[0, 0]]), SidCatalog([[0, 0]], 4))
    assert np.exp(found[0, :, 0]).tolist() == [1, 1]
    assert np.isneginf(found[0, :, 1:]).all()


# ── maps ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "nexts",
    [
        [2, 1, 1, 0, 2, 1, 2, 2, 2],  # the largest margin is 4/5
        [1, 2, 2, 0, 1, 2, 0, 0, 0],  # 2/3
        [0, 0, 2, 0, 1, 2, 1, 2, 2],  # 2/3
    ],
)
def test_a_small_margin_is_enough(nexts) -> None:
    table = all_prefixes(3, 2)
    found = additive(table, nexts, n_codes=3)
    assert found.feasible
    assert found.certificate is None
    logits = found.weights[0, table[:, 0]] + found.weights[1, table[:, 1]]
    ordered = np.sort(logits, axis=1)
    assert (logits.argmax(axis=1) == nexts).all()
    assert (ordered[:, -1] - ordered[:, -2] > 0.6).all()
    assert np.abs(found.weights).max() == pytest.approx(1)


def test_a_certificate_names_the_rows_that_it_needs_and_cancels() -> None:
    """Exclusive or of codes 0 and 1, in a corner of a larger map."""
    table = all_prefixes(3, 2)
    nexts = [0, 1, 2, 1, 0, 2, 2, 2, 2]
    found = additive(table, nexts, n_codes=3)
    assert not found.feasible
    assert found.weights is None
    assert sum(one for _, one in found.certificate) == 1
    total = np.zeros((2, 3, 3), object)
    pairs = [(at, wrong) for at in range(9) for wrong in range(3) if wrong != nexts[at]]
    for row, multiple in found.certificate:
        assert multiple > 0
        at, wrong = pairs[row]
        for place, code in enumerate(table[at]):
            total[place, code, nexts[at]] += multiple
            total[place, code, wrong] -= multiple
    assert (total == Fraction(0)).all()
    assert len(found.certificate) < len(pairs)


# ── checks ──────────────────────────────────────────────────────────────────────────────────────
def test_parity_is_that_of_the_last_level_and_order() -> None:
    hashing = PrefixHash(3, 3, 2, 8, scheme="printed", multipliers=[[1, 2]] * 3)
    codes = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 0, 0]])
    # Head 1 is even; head 0 has the parity of all three codes: 1, 0, 1, 0, 0.
    assert checks.parity_share(hashing, codes) == pytest.approx(3 / 5)
    assert checks.parity_share(hashing, codes[:1]) == 0
    assert checks.told_apart(PrefixHash(3, 3, 2, 8, scheme="printed"), 5) == 5


def test_a_first_code_seen_once_tells_its_second() -> None:
    codes = np.array([[0, 0], [1, 0], [1, 1]])
    found = checks.neighbours(SidData("x", codes, 2, ([0, 1, 2, 0, 0],)))
    # Pairs: 0-1, whose first codes differ, and 1-2. After 0 comes 0; after 1 either.
    assert found.loc["all pairs"].tolist() == [0.5, 0.5]
    assert found.loc["pairs of other first codes"].tolist() == [0, 1]
    assert found.loc["by chance, given these", "level 2"] == pytest.approx(0.5)
    assert found.loc["by chance"].tolist() == pytest.approx([5 / 9, 5 / 9])


def test_the_warm_up_is_a_quarter_of_few_steps_and_one_at_least() -> None:
    warmups = [recipe(n).warmup for n in (1, 3, 4, 7, 8, 199, 200, 204, 400)]
    assert warmups == [1, 1, 1, 1, 2, 49, 50, 50, 50]


def test_the_table_of_nodes_is_numbered_anew() -> None:
    targets = np.array([[0, 1], [1, 0], [1, 1], [2, 0]])
    found = node_table(targets, {"a": targets > 0}, n_codes=3, n_first=2)
    assert found.index.tolist() == list(range(len(found)))
    deep = np.array([[0, 1, 0], [1, 0, 1], [1, 1, 1], [1, 1, 0]])
    nodes = node_table(deep, {"a": deep > 0}, n_codes=2, min_items=2)
    assert nodes.index.tolist() == list(range(len(nodes)))
    assert nodes["prefix"].tolist() == ["1", "1-1"]
    chart = tree_explorer(deep, {"a": deep > 0}, n_codes=2).to_dict()
    (rows,) = chart["datasets"].values()
    assert [row["p"] for row in rows] == ["1", "1-1"]
    named = tree_explorer(deep, {"a": deep > 0}, n_codes=2, names=list("abcc")).to_dict()
    tips = [one.get("title") for one in named["vconcat"][0]["encoding"]["tooltip"]]
    assert tips[:3] == ["prefix", "such as", "test items"]


# ── models ──────────────────────────────────────────────────────────────────────────────────────
def test_histories_are_checked_before_anything_is_generated() -> None:
    torch.manual_seed(0)
    model = GenerativeTransformer(SHAPE).eval()
    for wrong, message in (
        (torch.full((1, 2, 3), 8), "code 8 is out of range"),  # else the next level's first code
        (torch.zeros(1, 2, 2, dtype=torch.int64), "shape"),
        (torch.zeros(1, 5, 3, dtype=torch.int64), "fewer than 5"),
        (torch.zeros(1, 6, 3, dtype=torch.int64), "6 items, expected 1 to 5"),
    ):
        with pytest.raises(ValueError, match=message):
            model.decoding(wrong)
    assert model.decoding(torch.zeros(1, 4, 3, dtype=torch.int64)).first().shape == (1, 8)
    with pytest.raises(ValueError, match="shape"):
        model(torch.zeros(1, 2, 3, 3, dtype=torch.int64))


def test_the_loss_of_two_items_is_of_all_levels() -> None:
    torch.manual_seed(0)
    model = GenerativeTransformer(SHAPE).eval()
    with torch.no_grad():
        for head in model.heads:
            head.weight.zero_()
            head.bias.zero_()
        model.heads[1].bias[3] = 2.0
    codes = torch.from_numpy(codes_of(4, 2, 3))
    flat = np.log(8)
    middle = np.log(7 + np.exp(2)) - 2 * (codes[:, :, 1] == 3).double().mean().item()
    assert next_code_loss(model, codes).item() == pytest.approx((2 * flat + middle) / 3, rel=1e-5)


def test_the_memory_alone_checks_its_codes_too() -> None:
    config = PrefixMemConfig(n_codes=16, d_model=12, d_mem=8, n_heads=2, table_size=11)
    encoder = PrefixMem(config)
    with pytest.raises(ValueError, match="code 16 is out of range, expected 0 to 15"):
        encoder.memory(torch.tensor([[16, 0, 0, 0]]))
    for kind in ("prefix", "suffix", "full"):
        other = PrefixMem(PrefixMemConfig(**{**vars(config), "kind": kind}))
        assert other.memory(torch.zeros(2, 3, 4, dtype=torch.int64)).shape == (2, 3, 2, 8)
        assert other.memory(torch.zeros(2, 2, dtype=torch.int64)).shape == (2, 1, 8)
        assert other.memory(torch.zeros(4, dtype=torch.int64)).shape == (2, 8)
    check_codes(torch.tensor([[0]]), 1, 1)
    check_codes(torch.tensor([0, 15]), 16, 2)
    for wrong, message in (([-1, 3], "code -1"), ([0, 16], "code 16"), ([-2, 16], "code -2")):
        with pytest.raises(ValueError, match=f"{message} is out of range"):
            check_codes(torch.tensor(wrong), 16, 2)


def test_identity_of_single_items_and_its_seeds(monkeypatch) -> None:
    codes = codes_of(3, 1, 4, n_codes=16)
    seeds = []
    real = torch.manual_seed
    monkeypatch.setattr(guarantees.torch, "manual_seed", lambda n: seeds.append(n) or real(n))
    assert guarantees.generative_identity(codes, 16)
    assert seeds == [0, 1]
    # The first code of a single item has nothing before it; the others tell a trained memory.
    assert not guarantees.generative_identity(codes, 16, trained=True)
    seeds.clear()
    assert guarantees.language_model_identity(codes_of(2, 2, 3, n_codes=5), 5)
    assert seeds == [0, 1]


def test_a_config_without_limit_and_one_of_a_single_step() -> None:
    assert TrainConfig(steps=1, warmup=0).scale(0) == pytest.approx(0.1)
    assert TrainConfig(steps=1, warmup=1).scale(0) == 1
    with pytest.raises(ValueError, match="clip is nan"):
        TrainConfig(clip=float("nan"))
