"""Encoders beside PrefixMem: rows at random, the answer handed over, and a small transformer."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.core import check
from lib.semantic_ids.catalogue import check_sizes
from lib.semantic_ids.hashing import RowIndex
from lib.semantic_ids.prefixmem import check_codes, place
from lib.semantic_ids.transformer import CausalTransformer

__all__ = ["LeakyEncoder", "RandomRows", "SidTransformerEncoder"]


class RandomRows(RowIndex):
    """Control that must fail: a hash that answers with other rows at every look-up.

    Parameters
    ----------
    hashing : RowIndex
        What it takes its sizes from.
    seed : int
    """

    def __init__(self, hashing: RowIndex, seed: int = 0) -> None:
        self._hashing = hashing
        self._generator = torch.Generator().manual_seed(seed)
        for name in ("n_levels", "n_slots", "n_heads", "table_size", "n_rows", "nested"):
            setattr(self, name, getattr(hashing, name))

    def _local(self, prefix: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        true = self._hashing._local(prefix)
        drawn = torch.randint(self.table_size, true.shape, generator=self._generator).numpy()
        return np.where(true < 0, true, drawn)


class LeakyEncoder(nn.Module):
    """Control that must be caught: it adds at ``c_l`` an embedding of ``c_{l+1}``, the answer.

    Parameters
    ----------
    n_levels, n_codes, d_model : int
    """

    def __init__(self, n_levels: int, n_codes: int, d_model: int) -> None:
        super().__init__()
        self.next = nn.Embedding(n_levels * n_codes, d_model)
        nn.init.normal_(self.next.weight)
        self.n_codes = n_codes

    def forward(self, codes: Tensor, hidden: Tensor) -> Tensor:
        """Return the embedding of the next code of the item at every position but the last."""
        ahead = (
            codes[..., 1:] + torch.arange(1, codes.shape[-1], device=codes.device) * self.n_codes
        )
        return functional.pad(self.next(ahead), (0, 0, 0, 1))


class SidTransformerEncoder(nn.Module):
    """Ablation: a small causal transformer over the codes of one item, in the same slot.

    Parameters
    ----------
    n_levels, n_codes, d_model : int
    active_levels : tuple of int
        As in `PrefixMemConfig`.
    d_enc, n_layers, n_heads : int
        Its own width, depth and heads; the paper's has four layers.
    """

    def __init__(
        self,
        n_levels: int,
        n_codes: int,
        d_model: int,
        active_levels: tuple[int, ...] = (3, 4),
        d_enc: int = 64,
        n_layers: int = 4,
        n_heads: int = 4,
    ) -> None:
        super().__init__()
        check_sizes(n_levels=n_levels, n_codes=n_codes, d_model=d_model, d_enc=d_enc)
        levels = check.integers(
            "active_levels", active_levels, shape=("n",), at_least=2, at_most=n_levels
        )
        self.places = [int(level) - 1 for level in np.unique(levels)]
        self.n_levels, self.n_codes = n_levels, n_codes
        self.tokens = nn.Embedding(n_levels * n_codes, d_enc)
        self.body = CausalTransformer(d_enc, n_layers, n_heads)
        self.out = nn.Linear(d_enc, d_model, bias=False)
        nn.init.normal_(self.tokens.weight)
        nn.init.zeros_(self.out.weight)
        self.register_buffer("offsets", torch.arange(n_levels) * n_codes, persistent=False)

    def forward(self, codes: Tensor, hidden: Tensor) -> Tensor:
        """Return what is added to the embeddings; see `PrefixMem.forward`."""
        check_codes(codes, self.n_codes, self.n_levels)
        length = codes.shape[-1]
        places = [p for p in self.places if p <= length]
        if not places:
            return torch.zeros_like(hidden)
        embedded = self.tokens(codes + cast(Tensor, self.offsets)[:length])
        states = self.body(embedded.flatten(0, -3)).view(*codes.shape, -1)
        value = self.out(states[..., [p - 1 for p in places], :])
        return place(value, places, length)
