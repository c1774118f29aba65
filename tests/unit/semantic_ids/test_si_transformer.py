"""The transformers: causality, decoding step by step, and what they refuse."""

import numpy as np
import pytest
import torch

from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig
from lib.semantic_ids.transformer import (
    CausalTransformer,
    GenerativeTransformer,
    TransformerConfig,
)

SHAPE = TransformerConfig(n_levels=3, n_codes=8, max_items=6, d_model=16, n_heads=2)


def model(encoder=False):
    torch.manual_seed(0)
    made = GenerativeTransformer(SHAPE).eval()
    if encoder:
        made.encoder = PrefixMem(
            PrefixMemConfig(
                n_levels=3,
                n_codes=8,
                d_model=16,
                d_mem=8,
                max_order=3,
                table_size=101,
                active_levels=(2, 3),
                init_std=0.3,
            )
        )
    return made


def codes(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(8, size=shape))


@pytest.mark.parametrize("encoder", [False, True])
def test_a_prediction_depends_on_the_past_only(encoder):
    made, rows = model(encoder), codes(2, 4, 3)
    before = made(rows)
    changed = rows.clone()
    changed[:, 2, 1] = (changed[:, 2, 1] + 1) % 8
    after = made(changed)
    # Of item 2, codes up to the changed one are predicted as before; the next one is not.
    assert torch.allclose(before[0][:, :2], after[0][:, :2], atol=1e-6)
    assert torch.allclose(before[1][:, :3], after[1][:, :3], atol=1e-6)
    assert torch.allclose(before[2][:, :2], after[2][:, :2], atol=1e-6)
    assert not torch.allclose(before[2][:, 2], after[2][:, 2], atol=1e-6)


@pytest.mark.parametrize("encoder", [False, True])
def test_decoding_step_by_step_equals_teacher_forcing(encoder):
    made, history = model(encoder), codes(3, 4, 3)
    prefixes = codes(3, 5, 3, seed=1)
    with torch.no_grad():
        steps = made.decoding(history)
        first = steps.first()
        second = steps.step(torch.zeros(3, 5, dtype=torch.int64), prefixes[:, :, :1])
        order = torch.tensor([4, 0, 2, 1, 3]).expand(3, -1)
        moved = prefixes.gather(1, order[:, :, None].expand(-1, -1, 3))
        third = steps.step(order, moved[:, :, :2])
        for w in range(5):
            whole = torch.cat([history, moved[:, w : w + 1]], dim=1)
            target = made.target_logits(whole).log_softmax(-1)
            assert torch.allclose(first, target[:, 0], atol=1e-5)
            assert torch.allclose(third[:, w], target[:, 2], atol=1e-5)
            whole = torch.cat([history, prefixes[:, w : w + 1]], dim=1)
            target = made.target_logits(whole).log_softmax(-1)
            assert torch.allclose(second[:, w], target[:, 1], atol=1e-5)


def test_target_logits_are_those_of_the_last_item():
    made, rows = model(), codes(2, 4, 3)
    whole, target = made(rows), made.target_logits(rows)
    for level in range(3):
        assert torch.allclose(whole[level][:, -1], target[:, level], atol=1e-6)


def test_permuting_the_batch_permutes_the_predictions():
    made, rows = model(True), codes(5, 3, 3)
    order = torch.tensor([3, 1, 4, 0, 2])
    assert torch.allclose(
        made.target_logits(rows)[order], made.target_logits(rows[order]), atol=1e-6
    )


def test_one_item_has_no_first_code_to_predict():
    assert [tuple(x.shape) for x in model()(codes(2, 1, 3))] == [(2, 0, 8), (2, 1, 8), (2, 1, 8)]
    with pytest.raises(ValueError, match="1 items, expected at least 2"):
        model().target_logits(codes(2, 1, 3))


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (codes(2, 7, 3), "7 items, expected 1 to 6"),
        (codes(2, 3), "shape"),
        (codes(2, 3, 2), "shape"),
        (codes(0, 3, 3), "at least one"),
        (codes(2, 3, 3) - 1, "out of range"),
        (codes(2, 3, 3) + 8, "out of range"),
    ],
)
def test_bad_histories_are_refused(rows, match):
    with pytest.raises(ValueError, match=match):
        model()(rows)


def test_a_full_history_leaves_no_place_for_one_more_item():
    with pytest.raises(ValueError, match="fewer than 6"):
        model().decoding(codes(2, 6, 3))


@pytest.mark.parametrize(("name", "value"), [("n_levels", 0), ("d_model", 0), ("dropout", 1.0)])
def test_bad_shapes_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        TransformerConfig(**{name: value})


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="multiple of n_heads"):
        CausalTransformer(10, 1, 3)
