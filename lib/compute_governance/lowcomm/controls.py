"""Broken on purpose: what the tests and the notebook must catch."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib.compute_governance.codecs import Codec, Int4, Shapes
from lib.compute_governance.lowcomm.strategies import DiLoCo

__all__ = ["Disguised", "WrongSign"]


@dataclass(frozen=True)
class WrongSign(DiLoCo):
    """DiLoCo whose pseudo-gradient points the wrong way."""

    def direction(self, change: Tensor) -> Tensor:
        """Return the change itself."""
        return change


@dataclass(frozen=True)
class Disguised(Codec):
    """Claims the bytes of a codec, and sends its dense reconstruction as 32-bit floats."""

    claimed: Codec = field(default_factory=Int4)

    def nbytes(self, shapes: Shapes) -> int:
        """Return what the codec would need."""
        return self.claimed.nbytes(shapes)

    def decode(self, payload: Tensor, shapes: Shapes) -> Tensor:
        """Return the payload as it is, whatever its length."""
        return payload.clone().view(torch.float32)

    def _encode(self, vector: Tensor, shapes: Shapes) -> Tensor:
        dense = self.claimed.decode(self.claimed.encode(vector, shapes), shapes)
        return dense.view(torch.uint8)

    def _decode(self, payload: Tensor, shapes: Shapes) -> Tensor:
        raise AssertionError("decode does not come here")
