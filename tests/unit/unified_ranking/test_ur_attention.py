"""The mask by its definition, and attention in two halves against attention at once."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.unified_ranking import attention


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain(query, keys, values, allowed=None):
    """Softmax attention written out."""
    scores = torch.einsum("bhqd,bhkd->bhqk", query, keys) / math.sqrt(query.shape[-1])
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), values), scores.logsumexp(-1)


@given(st.integers(1, 6), st.integers(0, 5), st.data())
@settings(max_examples=60)
def test_the_mask_is_its_definition(n, k, data):
    lengths = data.draw(st.lists(st.integers(1, n), min_size=1, max_size=3))
    found = attention.falcon_mask(torch.tensor(lengths), n, k)
    assert found.shape == (len(lengths), 1, n + k, n + k)
    for row, length in enumerate(lengths):
        for a in range(n + k):
            for b in range(n + k):
                past = b < length and b <= a  # an event that is there, and not after
                assert bool(found[row, 0, a, b]) == (past or a == b), (a, b, length)


def test_pairs_that_may_attend_are_n_choose_two_and_a_row_for_each_candidate():
    n, k = 31, 20
    found = attention.falcon_mask(torch.tensor([n]), n, k)
    assert int(found.sum()) == n * (n + 1) // 2 + k * (n + 1)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 9))
@settings(max_examples=40)
def test_decoding_equals_the_masked_pass(n, k, seed):
    parts = [numbers(2, 2, n + k, 3, seed=seed + i) for i in range(3)]
    lengths = torch.tensor([n, max(1, n - 1)])
    allowed = attention.falcon_mask(lengths, n, k)
    whole, _ = plain(*parts, allowed)
    (past_k, past_v) = (one[:, :, :n] for one in parts[1:])
    found = attention.decode(*(one[:, :, n:] for one in parts), past_k, past_v, lengths)
    assert torch.allclose(found, whole[:, :, n:], atol=1e-12, rtol=0)


def test_a_candidate_that_does_not_attend_to_itself_is_not_the_masked_pass():
    parts = [numbers(1, 2, 5, 3, seed=i) for i in range(3)]
    whole, _ = plain(*parts, attention.falcon_mask(torch.tensor([3]), 3, 2))
    without, _ = attention.attend_history(parts[0][:, :, 3:], *(p[:, :, :3] for p in parts[1:]))
    assert float((without - whole[:, :, 3:]).abs().max()) > 0.01


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("lengths", [None, [4, 1], [4, 4]])
def test_attention_and_its_weight_are_those_written_out(gradients, lengths):
    query, keys, values = (numbers(2, 3, 4, 5, seed=i).requires_grad_(gradients) for i in range(3))
    there = None if lengths is None else torch.tensor(lengths)
    allowed = None if there is None else (torch.arange(4) < there[:, None])[:, None, None]
    out, weight = attention.attend_history(query, keys, values, there)
    wanted, wanted_weight = plain(query, keys, values, allowed)
    assert torch.allclose(out, wanted, atol=1e-12)
    assert torch.allclose(weight, wanted_weight, atol=1e-12)
    assert out.requires_grad == gradients


def test_the_fused_kernel_and_the_steps_agree_in_single_precision():
    query, keys, values = (numbers(2, 2, 40, 8, seed=i).float() for i in range(3))
    bias = attention.padding_bias(torch.tensor([40, 7]), 40, torch.float32)
    fused = attention._attend(query, keys, values, bias)
    for one, other in zip(fused, attention._stepwise(query, keys, values, bias), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_where_the_kernel_is_missing_the_steps_are_taken(monkeypatch):
    parts = [numbers(1, 1, 3, 2, seed=i) for i in range(3)]
    wanted = attention.attend_history(*parts)
    monkeypatch.setattr(attention.torch.ops, "aten", object())
    found = attention.attend_history(*parts)
    assert torch.allclose(found[0], wanted[0], atol=1e-12)
    assert torch.allclose(found[1], wanted[1], atol=1e-12)


@given(st.integers(1, 7), st.integers(0, 50), st.floats(0.1, 30))
@settings(max_examples=40)
def test_any_split_of_the_keys_gives_attention_to_all(cut, seed, size):
    query, keys, values = (size * numbers(1, 2, 8, 4, seed=seed + i) for i in range(3))
    halves = [
        attention.attend_history(query, keys[:, :, part], values[:, :, part])
        for part in (slice(0, cut), slice(cut, 8))
    ]
    (out, weight), (other, other_weight) = halves
    found = attention.merge(out, weight, other, other_weight)
    assert torch.allclose(found, plain(query, keys, values)[0], atol=1e-9 * size)


def test_later_positions_see_all_up_to_themselves():
    parts = [numbers(1, 2, 6, 3, seed=i) for i in range(3)]
    allowed = torch.ones(6, 6, dtype=torch.bool).tril()
    whole, _ = plain(*parts, allowed)
    for m in (1, 4, 6):
        found = attention.causal(parts[0][:, :, 6 - m :], *parts[1:])
        assert torch.allclose(found, whole[:, :, 6 - m :], atol=1e-12)


ONE = torch.zeros(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("door", "says"),
    [
        (lambda: attention.falcon_mask(torch.tensor([0]), 3, 2), "lengths holds 0"),
        (lambda: attention.falcon_mask(torch.tensor([4]), 3, 2), "lengths holds 4"),
        (lambda: attention.falcon_mask(torch.tensor([1.0]), 3, 2), "lengths has type"),
        (lambda: attention.attend_history(ONE, ONE[..., :1], ONE), "keys has shape"),
        (lambda: attention.attend_history(ONE, ONE, ONE[:, :, :1]), "values has shape"),
        (lambda: attention.attend_history(ONE[:, :, :0], ONE, ONE), "a position or more"),
        (lambda: attention.attend_history(ONE, ONE, ONE, torch.tensor([3])), "lengths holds 3"),
        (lambda: attention.attend_history(ONE * torch.nan, ONE, ONE), "query holds nan"),
        (lambda: attention.merge(ONE, ONE[..., 0], ONE, ONE), "other_weight has shape"),
        (lambda: attention.merge(3.0, ONE, ONE, ONE), "out is 3.0"),
        (lambda: attention.decode(ONE, ONE[:, :, :1], ONE, ONE, ONE), "key has shape"),
    ],
)
def test_odd_tensors_are_refused(door, says):
    with pytest.raises(ValueError, match=says):
        door()
