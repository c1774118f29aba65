"""The language model: where vectors are added, what is refused, sequences, one small run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.semantic_ids.datasets import SidData
from lib.semantic_ids.lm import (
    attach,
)
from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig
from lib.semantic_ids.study.lm_arms import _Corpus
from lib.semantic_ids.study.truncated import Vocabulary
from lib.semantic_ids.training import TrainConfig

GRID = np.arange(10, 10 + 3 * 8).reshape(3, 8)
MEMORY = PrefixMemConfig(
    n_levels=3, n_codes=8, d_model=16, d_mem=8, n_heads=2, table_size=101, max_order=3,
    active_levels=(2, 3), init_std=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def lm():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=34, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def encoder(config=MEMORY):
    torch.manual_seed(1)
    return PrefixMem(config)


def test_vectors_stand_at_the_codes_they_are_made_of(lm):
    model = attach(lm, encoder(), GRID)
    codes = torch.tensor([5, 2, 7])
    sid = torch.from_numpy(GRID)[torch.arange(3), codes]
    tokens = torch.cat([torch.tensor([1, 4]), sid, torch.tensor([3]), sid])[None]
    plain = lm.get_input_embeddings()(tokens)
    added = (model.embed(tokens) - plain)[0]
    alone = model.encoder(codes[None], plain[:, 2:5])[0]
    assert torch.allclose(added[2:5], alone, atol=1e-6)
    assert torch.allclose(added[6:9], alone, atol=1e-6)
    assert not added[[0, 1, 5]].any()
    assert added[2].abs().min() > 0  # level 2 is predicted at the first code
    assert not added[4].any()  # nothing comes after the last code


def test_a_code_without_its_prefix_gets_nothing(lm):
    model = attach(lm, encoder(), GRID)
    level2, level3, level1 = GRID[1, 0], GRID[2, 0], GRID[0, 0]
    for broken in ([level2, 1], [1, level3], [level1, level3], [level2, level2]):
        tokens = torch.tensor([broken])
        added = model.embed(tokens) - lm.get_input_embeddings()(tokens)
        whole = [token == level1 for token in broken]
        assert not added[0][~torch.tensor(whole)].any()


def test_the_attached_model_starts_as_the_bare_one(lm):
    tokens = torch.from_numpy(GRID[np.arange(3), [1, 2, 3]])[None]
    bare = lm(input_ids=tokens).logits
    fresh = attach(lm, encoder(replace(MEMORY, init_std=0.0)), GRID)
    assert torch.equal(fresh(tokens).logits, bare)
    assert torch.equal(attach(lm, None, GRID)(tokens).logits, bare)
    assert not torch.equal(attach(lm, encoder(), GRID)(tokens).logits, bare)


def test_a_cache_that_hides_codes_is_refused(lm):
    model = attach(lm, encoder(), GRID)
    tokens = torch.from_numpy(GRID[np.arange(3), [1, 2, 3]])[None]
    with torch.no_grad():
        first = model(tokens[:, :2], use_cache=True)
        cache = first.past_key_values
        with pytest.raises(ValueError, match="past_key_values are given, expected none"):
            model(tokens[:, 2:], past_key_values=cache)
        bare = attach(lm, None, GRID)  # nothing to miss
        found = bare(tokens[:, 2:], past_key_values=bare(tokens[:, :2]).past_key_values).logits
        assert torch.allclose(found[:, -1], bare(tokens).logits[:, -1], atol=1e-5)


def test_tables_are_trained_as_the_page_on_own_data_says(lm):
    from copy import deepcopy

    from lib.semantic_ids.optim import RowAdam
    from lib.semantic_ids.training import split_parameters

    model = attach(deepcopy(lm), encoder(), GRID)
    tokens = torch.from_numpy(GRID[np.arange(3), [1, 2, 3]])[None]
    body, own, tables, matrices = split_parameters(model)
    assert (len(tables), len(own), len(matrices)) == (1, 1, 0)
    rest = [*body, *own]
    optimisers = [torch.optim.AdamW(rest, 1e-2), RowAdam(tables, 1e-2)]
    before = model(tokens, labels=tokens).loss.item()
    for _ in range(5):
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for one in optimisers:
            one.step()
            one.zero_grad()
    assert loss.item() < before
    model(tokens, labels=tokens).loss.backward()
    with pytest.raises(RuntimeError, match="sparse gradients"):
        torch.optim.AdamW(model.parameters()).step()


@pytest.mark.parametrize("how", ["weights", "autocast"])
def test_a_model_in_half_precision_gets_what_the_encoder_adds(lm, how):
    from copy import deepcopy

    tokens = torch.from_numpy(GRID[np.arange(3), [1, 2, 3]])[None]
    half = deepcopy(lm).to(torch.bfloat16) if how == "weights" else lm
    model = attach(half, encoder(), GRID)
    wanted = attach(lm, encoder(), GRID).embed(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
        found = model.embed(tokens)
        logits = model(tokens).logits
    assert found.dtype == half.get_input_embeddings().weight.dtype
    assert torch.allclose(found.float(), wanted, atol=0.02)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(
    "change", [{"n_levels": 4}, {"n_codes": 9}, {"n_codes": 4}, {"d_model": 20}]
)
def test_an_encoder_of_other_codes_or_width_is_not_attached(lm, change):
    with pytest.raises(ValueError, match=r"n_levels, n_codes, d_model .* expected \(3, 8, 16\)"):
        attach(lm, encoder(replace(MEMORY, **change)), GRID)


def test_greedy_completion_keeps_to_what_is_allowed(lm):
    model = attach(lm, encoder(), GRID)
    prompt = torch.from_numpy(GRID[np.arange(3), [1, 2, 3]])[None].expand(2, -1)
    made = model.complete(prompt, 4, allowed=10)
    assert made.shape == (2, 4)
    assert made.max() < 10
    with torch.no_grad():
        assert made[0, 0] == lm(inputs_embeds=model.embed(prompt)).logits[0, -1, :10].argmax()


@pytest.mark.parametrize(
    "grid",
    [np.arange(24), np.zeros((3, 8), np.int64), GRID + 20, GRID - 11, GRID + 0.5],
    ids=["shape", "equal", "too large", "negative", "halves"],
)
def test_bad_code_tokens_are_refused(lm, grid):
    with pytest.raises(ValueError, match="expected"):
        attach(lm, None, grid)


CODES = np.random.default_rng(0).integers(8, size=(6, 3))
SEQUENCES = tuple(np.array(one) for one in ([0, 2, 1, 3, 4], [5, 2, 3, 0, 1], [2, 2, 4, 5, 0]))
DATA = SidData("toy", CODES, 8, SEQUENCES, tuple("abcdef"))
WORDS = Vocabulary(
    np.arange(5), tuple(np.array([i % 5, (i + 1) % 5]) for i in range(6)), 3, 8, tuple("vwxyz")
)


def test_tokens_of_codes_stand_behind_the_words():
    assert (WORDS.n_text, WORDS.end, WORDS.size) == (6, 5, 30)
    assert WORDS.sid(np.array([[0, 1, 7]])).tolist() == [[6, 15, 29]]


def test_sequences_are_packed_and_hidden_items_never_show_their_titles():
    hidden = np.array([2])
    corpus = _Corpus(DATA, WORDS, hidden, 40)
    batches = corpus.batches(6, 0)
    rows = torch.cat([next(batches) for _ in range(20)]).tolist()
    assert all(len(row) == 40 for row in rows)
    title, secret = WORDS.titles[2].tolist(), WORDS.sid(CODES[2]).tolist()
    for row in rows[1::3]:  # pairs: the hidden item stands in none
        assert not any(row[at : at + 3] == secret for at in range(len(row)))
    seen = 0
    for row in rows[0::3]:  # interleaved: its codes stand there, its title does not
        for at in range(3, len(row)):
            if row[at : at + 3] == secret:
                seen += 1
                assert row[at - 3 : at] != [*title, WORDS.end]
    assert seen > 0
    assert min(token for row in rows[2::3] for token in row) >= WORDS.n_text


def test_batches_are_the_same_twice():
    one, two = (_Corpus(DATA, WORDS, np.array([2]), 20).batches(3, 5) for _ in range(2))
    assert all(torch.equal(next(one), next(two)) for _ in range(3))


def test_what_a_run_reads_are_the_items_that_stand_whole_in_its_rows():
    corpus = _Corpus(DATA, WORDS, np.array([2]), 7)
    config = TrainConfig(steps=4, items_per_batch=3, seed=5)
    batches = corpus.batches(3, 5)
    wanted = []
    for row in torch.cat([next(batches) for _ in range(4)]).tolist():
        for at in range(5):
            span = [token - 6 - 8 * n for n, token in enumerate(row[at : at + 3])]
            if all(0 <= code < 8 for code in span):
                wanted.append(span)
    found = corpus.read(config)
    assert found.tolist() == wanted
    assert set(map(tuple, wanted)) <= set(map(tuple, CODES))
