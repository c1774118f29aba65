"""Who talks to whom: patterns that only the experiment needs, and two that are broken on purpose.

NoLoCo arXiv 2506.10911 (gossip between random pairs with a pull of the outer weights).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from lib.compute_governance.codecs import Codec, Fp16, Fp32, Int4, Shapes, size_of
from lib.compute_governance.lowcomm.models import Replica
from lib.compute_governance.lowcomm.strategies import DiLoCo, Rounds, Strategy, Sync, check_outer
from lib.compute_governance.lowcomm.wire import Link, guard, make_link
from lib.core import check

__all__ = ["Disguised", "Gossip", "Hierarchical", "LowRank", "WrongSign", "pairs", "spread", "swap"]


def swap(link: Link, codec: Codec, vector: Tensor, shapes: Shapes, partner: int) -> Tensor:
    """Exchange a vector with one partner; return the partner's, decoded."""
    payload = codec.encode(vector.float(), shapes)
    received = torch.empty_like(payload)

    def both() -> None:
        pending = [dist.isend(payload, partner), dist.irecv(received, partner)]
        for one in pending:
            if one is not None:
                one.wait()

    guard(both)
    link.count(1, codec.nbytes(shapes), payload.numel())
    return codec.decode(received, shapes).to(vector.dtype)


def spread(link: Link, vector: Tensor) -> None:
    """Send the first member's 32-bit floats to the others, in place, one copy to each.

    The first member claims all copies, the others none.
    """
    if link.size == 1:
        return
    first, packed = link.members[0], vector.float()

    def hand_out() -> None:
        if link.rank == first:
            for one in link.members[1:]:
                dist.send(packed, one)
        else:
            dist.recv(packed, first)

    guard(hand_out)
    vector.copy_(packed)
    dense = 4 * vector.numel()
    link.count(link.size - 1 if link.rank == first else 0, dense, dense)


@dataclass(frozen=True)
class Gossip(Strategy):
    """Every `every` steps random pairs exchange their change and their outer weights.

    With D the mean change of the pair and q the mean of its outer weights, the outer weights p move
    by the velocity ``v <- momentum v + outer_lr D + pull (q - p)``. Outer rate 1, no momentum and a
    pull of 1 are the plain average of the pair. Both vectors are sent, so a swap costs two.

    Parameters
    ----------
    every : int
    outer_lr, momentum : float
        See `DiLoCo`.
    pull : float
        In [0, 1].
    codec : Codec
        For the change; the outer weights are sent as 32-bit floats.
    """

    every: int = 20
    outer_lr: float = 1.0
    momentum: float = 0.0
    pull: float = 1.0
    codec: Codec = field(default_factory=Fp32)

    def __post_init__(self) -> None:
        check.integer("every", self.every, at_least=1)
        check_outer(self.outer_lr, self.momentum)
        check.share("pull", self.pull)

    @property
    def period(self) -> int:
        """Inner steps between swaps."""
        return self.every

    def start(self, replica: Replica, rank: int, world: int, seed: int) -> Sync:
        """See `Strategy.start`."""
        return _Gossiping(self, replica, make_link(range(world), rank, world), seed)


def pairs(world: int, seed: int, turn: int) -> dict[int, int]:
    """Return who swaps with whom; with an odd number of workers one is left alone.

    Examples
    --------
    >>> sorted(pairs(4, 0, 0).items())
    [(0, 2), (1, 3), (2, 0), (3, 1)]
    """
    order = np.random.default_rng((seed, turn)).permutation(world).tolist()
    found = {}
    for left, right in zip(order[0::2], order[1::2], strict=False):
        found[left], found[right] = right, left
    return found


class _Gossiping(Sync):
    def __init__(self, recipe: Gossip, replica: Replica, link: Link, seed: int) -> None:
        super().__init__(replica, {"all": link})
        self.recipe = recipe
        self.seed = seed
        self.outer = replica.flat.clone()
        self.velocity = torch.zeros_like(self.outer)

    @torch.no_grad()
    def weights(self, step: int) -> None:
        if step % self.recipe.every:
            return
        recipe, link, shapes = self.recipe, self.links["all"], self.replica.shapes
        change = self.replica.flat - self.outer
        partner = pairs(link.size, self.seed, step).get(link.rank)
        centre = self.outer
        if partner is not None:
            packed = recipe.codec.encode(change.float(), shapes)
            own = recipe.codec.decode(packed, shapes).to(change.dtype)
            change = (own + swap(link, recipe.codec, change, shapes, partner)) / 2
            # As it is sent, so that both partners hold the same mean.
            sent = self.outer.float().to(self.outer.dtype)
            centre = (sent + swap(link, Fp32(), self.outer, shapes, partner)) / 2
            self.largest = max(self.largest, 4 * size_of(shapes))
        self.velocity.mul_(recipe.momentum).add_(change, alpha=recipe.outer_lr)
        self.velocity.add_(centre - self.outer, alpha=recipe.pull)
        self.outer.add_(self.velocity)
        self.replica.flat.copy_(self.outer)

    def state(self) -> dict[str, Tensor]:
        return {"outer": self.outer, "velocity": self.velocity}


@dataclass(frozen=True)
class Hierarchical(Strategy):
    """Regions average their weights often; leaders of regions take the outer step seldom.

    Parameters
    ----------
    region : int
        Workers a region; divides their number.
    inner_every : int
        Steps between averages in a region (ring all-reduce of 32-bit floats).
    outer : DiLoCo
        The step between regions; `inner_every` divides its `every`. Leaders gather, then hand the
        new outer weights on in their region. No fragments.
    """

    region: int = 2
    inner_every: int = 5
    outer: DiLoCo = field(default_factory=DiLoCo)

    def __post_init__(self) -> None:
        check.integer("region", self.region, at_least=2)
        check.integer("inner_every", self.inner_every, at_least=1)
        if self.outer.every % self.inner_every:
            raise ValueError(
                f"inner_every is {self.inner_every}, expected a divisor of {self.outer.every}"
            )
        if self.outer.fragments > 1:
            raise ValueError("the step between regions takes no fragments")

    @property
    def period(self) -> int:
        """Steps between exchanges of all regions."""
        return self.outer.every

    def check(self, world: int) -> None:
        """See `Strategy.check`."""
        if world % self.region or world // self.region < 2:
            raise ValueError(f"{world} workers are not two or more regions of {self.region}")

    def start(self, replica: Replica, rank: int, world: int, seed: int) -> Sync:
        """See `Strategy.start`."""
        regions = [range(first, first + self.region) for first in range(0, world, self.region)]
        mine = {tuple(one): make_link(one, rank, world) for one in regions}[
            tuple(regions[rank // self.region])
        ]
        leaders = make_link(range(0, world, self.region), rank, world)
        return _Regional(self, replica, mine, leaders)


class _Regional(Sync):
    def __init__(self, recipe: Hierarchical, replica: Replica, region: Link, wide: Link) -> None:
        super().__init__(replica, {"all": wide, "region": region})
        self.recipe = recipe
        self.rounds = Rounds(recipe.outer, replica, {"all": wide})

    @torch.no_grad()
    def weights(self, step: int) -> None:
        if step % self.recipe.inner_every:
            return
        region, flat = self.links["region"], self.replica.flat
        flat.copy_(region.mean(flat))
        self.largest = max(self.largest, 4 * flat.numel())
        if step % self.recipe.outer.every == 0:
            if region.rank == region.members[0]:
                self.rounds.exchange(slice(None))
            spread(region, flat)

    def state(self) -> dict[str, Tensor]:
        return self.rounds.state()

    def load(self, state: dict[str, Any]) -> None:
        self.rounds.load(state)


def _halves(payload: Tensor) -> Tensor:
    return payload.clone().view(torch.float16).to(torch.float32)


@dataclass(frozen=True)
class LowRank(Codec):
    """The best approximation of every matrix by one of low rank, its two factors as halves.

    A tensor of shape (a, ...) is taken as a matrix of a rows and b columns. Where the factors
    would not be smaller, r (a + b) >= a b, it is sent as halves: 2 min(a b, r (a + b)) bytes each.
    The error is the norm of the singular values left out (Eckart and Young), but for the rounding;
    arXiv 1905.13727.

    Parameters
    ----------
    rank : int
        r, at least 1.
    """

    rank: int = 4

    whole_tensors = True

    def __post_init__(self) -> None:
        check.integer("rank", self.rank, at_least=1)

    @staticmethod
    def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
        rows = shape[0] if shape else 1
        return rows, math.prod(shape) // max(rows, 1)

    def _factors(self, shape: tuple[int, ...]) -> bool:
        rows, columns = self._matrix(shape)
        return self.rank * (rows + columns) < rows * columns

    def _length(self, shape: tuple[int, ...]) -> int:
        rows, columns = self._matrix(shape)
        return 2 * (self.rank * (rows + columns) if self._factors(shape) else rows * columns)

    def nbytes(self, shapes: Shapes) -> int:
        """Return the sum over tensors of 2 min(a b, r (a + b))."""
        return sum(self._length(shape) for shape in shapes)

    def _encode(self, vector: Tensor, shapes: Shapes) -> Tensor:
        parts = []
        for part, shape in zip(
            torch.split(vector, [size_of([s]) for s in shapes]), shapes, strict=True
        ):
            if self._factors(shape):
                left, values, right = torch.linalg.svd(
                    part.view(self._matrix(shape)), full_matrices=False
                )
                # The weight is shared by both factors, so that neither leaves the range of halves.
                root = values[: self.rank].sqrt()
                parts.append((left[:, : self.rank] * root).reshape(-1))
                parts.append((root[:, None] * right[: self.rank]).reshape(-1))
            else:
                parts.append(part)
        return Fp16()._encode(torch.cat(parts), shapes)

    def _decode(self, payload: Tensor, shapes: Shapes) -> Tensor:
        parts = []
        for part, shape in zip(
            torch.split(payload, [self._length(s) for s in shapes]), shapes, strict=True
        ):
            numbers = _halves(part)
            if self._factors(shape):
                rows, columns = self._matrix(shape)
                left, right = torch.split(numbers, [rows * self.rank, self.rank * columns])
                product = left.view(rows, self.rank) @ right.view(self.rank, columns)
                parts.append(product.reshape(-1))
            else:
                parts.append(numbers)
        return torch.cat(parts)


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
