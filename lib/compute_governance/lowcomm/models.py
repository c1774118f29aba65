"""Small models to train, and a model seen as one flat vector."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.compute_governance.codecs import Shapes
from lib.core import check

__all__ = ["Inner", "Model", "Replica", "Transformer"]


class Model(Protocol):
    """How to build a model: a picklable recipe, for each worker builds its own."""

    def build(self, seed: int) -> nn.Module:
        """Return a module whose call on a batch (size, ...) is the mean loss, a scalar."""


@dataclass(frozen=True)
class Transformer:
    """A causal transformer over a small alphabet, input and output tied.

    Parameters
    ----------
    width, layers, heads : int
        Positive; `heads` divides `width`.
    context : int
        Longest window it reads.
    tokens : int
        Size of the alphabet.

    Examples
    --------
    >>> Transformer(width=16, layers=1).n_parameters
    5216
    """

    width: int = 32
    layers: int = 2
    heads: int = 2
    context: int = 32
    tokens: int = 96

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "context", "tokens"):
            check.integer(name, getattr(self, name), at_least=1)
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")

    def build(self, seed: int) -> nn.Module:
        """Return the module, with weights that depend on the seed alone."""
        return _Causal(self, seed)

    @property
    def n_parameters(self) -> int:
        """How many numbers it learns."""
        return sum(p.numel() for p in self.build(0).parameters())


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        mixed = self.mix(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, width))
        changed: Tensor = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return changed


class _Causal(nn.Module):
    def __init__(self, sizes: Transformer, seed: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(sizes.tokens, sizes.width)
        self.places = nn.Embedding(sizes.context, sizes.width)
        self.blocks = nn.ModuleList([_Block(sizes.width, sizes.heads) for _ in range(sizes.layers)])
        self.norm = nn.LayerNorm(sizes.width)
        generator = torch.Generator().manual_seed(seed)
        for name, one in self.named_parameters():
            if one.ndim == 2:
                # The usual 0.02 is for a width of 768; narrow models need more to start moving.
                spread = 0.02 * (768 / sizes.width) ** 0.25
                if name.endswith(("out.weight", "down.weight")):
                    spread /= math.sqrt(2 * sizes.layers)
                nn.init.normal_(one, std=spread, generator=generator)

    def forward(self, windows: Tensor) -> Tensor:
        read, wanted = windows[:, :-1], windows[:, 1:]
        x = self.tokens(read) + self.places.weight[: read.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = functional.linear(self.norm(x), self.tokens.weight)
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())


@dataclass(frozen=True)
class Inner:
    """The optimiser of each worker's own steps.

    Parameters
    ----------
    kind : {"adamw", "sgd"}
        Plain SGD has no momentum.
    lr : float
        Learning rate, positive.
    warmup : int
        Steps over which the learning rate rises to `lr`; it is constant after them, so that a run
        may be cut at any step and compared with a shorter one.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    lr: float = 3e-3
    warmup: int = 10

    def __post_init__(self) -> None:
        check.known("kind", self.kind, ("adamw", "sgd"))
        check.number("lr", self.lr, above=0)
        check.integer("warmup", self.warmup, at_least=0)

    def make(self, weights: nn.Parameter) -> torch.optim.Optimizer:
        """Return the optimiser of one flat vector."""
        if self.kind == "sgd":
            return torch.optim.SGD([weights], lr=self.lr)
        # Fused: one pass over the weights instead of ten, the same numbers.
        return torch.optim.AdamW(
            [weights], lr=self.lr, betas=(0.9, 0.95), weight_decay=0.01, fused=True
        )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step counted from 0."""
        return self.lr * min(1.0, (step + 1) / self.warmup) if self.warmup else self.lr


class Replica:
    """A model whose weights and gradients are two flat vectors that its parameters look into.

    So an exchange, an outer step and an optimiser each touch one tensor instead of dozens.

    Attributes
    ----------
    weights : nn.Parameter, shape (n,)
        Its ``grad`` is the flat gradient.
    shapes : list of tuple of int
        Of the parameters, in order.
    """

    def __init__(
        self,
        model: Model,
        seed: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.module = model.build(check.integer("seed", seed, at_least=0)).to(device, dtype)
        parameters = list(self.module.parameters())
        self.shapes: Shapes = [tuple(one.shape) for one in parameters]
        flat = torch.cat([one.detach().reshape(-1) for one in parameters])
        self.weights = nn.Parameter(flat)
        self.weights.grad = torch.zeros_like(flat)
        start = 0
        for one in parameters:
            end = start + one.numel()
            one.data = self.weights.data[start:end].view(one.shape)
            one.grad = self.weights.grad[start:end].view(one.shape)
            start = end

    @property
    def flat(self) -> Tensor:
        """The weights as a plain tensor; writing into it changes the model."""
        return self.weights.data

    @property
    def gradient(self) -> Tensor:
        """The flat gradient."""
        assert self.weights.grad is not None
        return self.weights.grad

    def learn(self, batch: Tensor) -> None:
        """Put the gradient of a batch's mean loss in place."""
        self.gradient.zero_()
        loss: Tensor = self.module(batch)
        loss.backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def loss(self, weights: Tensor, batch: Tensor) -> float:
        """Return the mean loss of other weights on a batch; the model's own come back after."""
        own = self.flat.clone()
        self.flat.copy_(weights)
        # Pieces, because a full profile's held-out set would not fit a GPU at once.
        parts = [(float(self.module(part)), len(part)) for part in torch.split(batch, 256)]
        self.flat.copy_(own)
        return sum(value * count for value, count in parts) / len(batch)
