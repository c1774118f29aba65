"""What holds by construction, checked on real weights: identity at the start, and causality."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lib.semantic_ids.lm import attach
from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig
from lib.semantic_ids.transformer import GenerativeTransformer, TransformerConfig

__all__ = ["generative_identity", "language_model_identity", "sees_no_further"]

Ints = npt.NDArray[np.int64]
TRAINED = 0.05
"""Spread of ``W_out`` that stands for a trained one, in the controls."""


@torch.no_grad()
def generative_identity(codes: Ints, n_codes: int, *, trained: bool = False) -> bool:
    """Return whether an attached encoder leaves the logits of the generative model bit-identical.

    Parameters
    ----------
    codes : int64 (n, items, n_levels)
        Histories.
    n_codes : int
    trained : bool
        Control: with a projection that is not zero.
    """
    n_levels = codes.shape[2]
    shape = TransformerConfig(n_levels=n_levels, n_codes=n_codes, max_items=codes.shape[1])
    torch.manual_seed(0)
    model = GenerativeTransformer(shape).eval()
    rows = torch.from_numpy(codes)
    before = model(rows)
    model.encoder = _encoder(n_levels, n_codes, shape.d_model, trained)
    return all(torch.equal(a, b) for a, b in zip(before, model(rows), strict=True))


@torch.no_grad()
def language_model_identity(codes: Ints, n_codes: int, *, trained: bool = False) -> bool:
    """Return the same for a Hugging Face causal language model (a small Llama, random weights)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    n_levels = codes.shape[2]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=10 + n_levels * n_codes,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    lm: Any = LlamaForCausalLM(config).eval()
    grid = 10 + np.arange(n_levels * n_codes, dtype=np.int64).reshape(n_levels, n_codes)
    tokens = grid[np.arange(n_levels), codes].reshape(len(codes), -1)
    # A word before and between, so that text is left alone too.
    rows = torch.from_numpy(np.insert(tokens, [0, n_levels], [1, 2], axis=1))
    encoder = _encoder(n_levels, n_codes, config.hidden_size, trained)
    attached = attach(lm, encoder, grid)
    return torch.equal(lm(input_ids=rows).logits, attached(rows).logits)


def _encoder(n_levels: int, n_codes: int, d_model: int, trained: bool) -> PrefixMem:
    torch.manual_seed(1)
    return PrefixMem(
        PrefixMemConfig(
            n_levels=n_levels,
            n_codes=n_codes,
            d_model=d_model,
            max_order=n_levels,
            active_levels=tuple(range(2, n_levels + 1)),
            init_std=TRAINED if trained else 0.0,
        )
    )


@torch.no_grad()
def sees_no_further(encoder: nn.Module, codes: Ints, n_codes: int, width: int) -> bool:
    """Return whether the vector at each code depends on that item's codes up to it, and no other.

    Every later code of the item is changed, and so is every other item; vectors must not move by a
    bit.

    Parameters
    ----------
    encoder : module
        With a projection that is not zero, or there is nothing to see.
    codes : int64 (n, items, n_levels)
    n_codes, width : int
        Values of a code; width of the model.
    """
    rows = torch.from_numpy(codes)
    hidden = torch.randn(*rows.shape, width, generator=torch.Generator().manual_seed(2))
    before = encoder(rows, hidden)
    for level in range(rows.shape[2]):
        changed = rows.clone()
        changed[..., level + 1 :] = (changed[..., level + 1 :] + 1) % n_codes
        changed[:, 1:] = (changed[:, 1:] + 1) % n_codes  # all items but the first
        after = encoder(changed, hidden)
        if not torch.equal(before[:, 0, : level + 1], after[:, 0, : level + 1]):
            return False
    return True
