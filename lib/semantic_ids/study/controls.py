"""Encoders that must fail, or be caught: rows at random, and the answer handed over."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.semantic_ids.hashing import RowIndex

__all__ = ["LeakyEncoder", "RandomRows"]


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
