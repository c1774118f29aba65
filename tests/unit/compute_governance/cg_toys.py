"""Small models and jobs that workers import by name."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Quadratic:
    """Half the mean squared distance to the rows of a batch: the model of a test."""

    size: int = 8

    def build(self, seed: int) -> nn.Module:
        """Return a module with one weight vector, drawn with the seed."""
        return _Distance(self.size, seed)


class _Distance(nn.Module):
    def __init__(self, size: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.point = nn.Parameter(3 * torch.randn(size, generator=generator))

    def forward(self, rows: Tensor) -> Tensor:
        return ((rows - self.point) ** 2).sum(dim=1).mean() / 2


@dataclass(frozen=True)
class Cloud:
    """Normal rows around the origin: what `Quadratic` is fitted to in tests."""

    size: int = 8

    def draw(self, seed: int, step: int, size: int) -> np.ndarray:
        """Return the rows of one step, shape (size, self.size)."""
        return np.random.default_rng((seed, step)).normal(size=(size, self.size))

    def validation(self) -> np.ndarray:
        """Return rows of their own, shape (64, self.size)."""
        return np.random.default_rng(99).normal(size=(64, self.size))


def work(seat, seconds, beats):
    """Take a while, with or without a sign of life."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.1)
        if beats:
            seat.beat()
    return seat.rank
