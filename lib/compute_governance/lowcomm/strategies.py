"""When workers talk, and about what: the recipes and what each worker does for them.

A recipe is a small frozen object that pickles. `Strategy.start` makes the worker's side of it, a
`Sync`, which is called before and after every inner step. All exchanges go through
`wire.Link`, which counts them.

Sources: DiLoCo arXiv 2311.08105 (pseudo-gradient, Nesterov outer step); Streaming DiLoCo arXiv
2501.18512 (fragments; its overlap and mixing are not here); NoLoCo arXiv 2506.10911 (gossip between
random pairs with a pull of the outer weights).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.compute_governance.codecs import Codec, Fp32, LowRank, Shapes, size_of
from lib.compute_governance.lowcomm.models import Replica
from lib.compute_governance.lowcomm.wire import Link, make_link

__all__ = ["DataParallel", "DiLoCo", "Gossip", "Hierarchical", "Strategy", "Sync", "pairs"]


def _whole(name: str, value: int, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}, expected a whole number of at least {least}")


def _outer(lr: float, momentum: float) -> None:
    if not 0 < lr < math.inf:
        raise ValueError(f"outer_lr is {lr}, expected a positive number")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}, expected a number in [0, 1)")


class Sync:
    """A worker's side of a strategy.

    Attributes
    ----------
    links : dict of str to Link
        By what they are called in the books, for example ``"all"`` or ``"region"``.
    largest : int
        Bytes of the largest payload so far.
    """

    def __init__(self, replica: Replica, links: dict[str, Link]) -> None:
        self.replica = replica
        self.links = links
        self.largest = 0

    def gradients(self) -> None:
        """Act between the gradient and the inner step."""

    def due(self, step: int) -> bool:
        """Say whether `weights` will exchange anything after this many steps."""
        return False

    def weights(self, step: int) -> None:
        """Act after `step` inner steps are done."""

    def state(self) -> dict[str, Tensor]:
        """Return what a restart needs besides weights and inner optimiser."""
        return {}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take a `state` back."""
        for name, mine in self.state().items():
            mine.copy_(state[name])


class Strategy(ABC):
    """A recipe for exchanges; see the module."""

    @property
    @abstractmethod
    def period(self) -> int:
        """Inner steps between complete exchanges; a run's steps are a multiple of it."""

    def check(self, world: int) -> None:  # noqa: B027
        """Refuse a number of workers that does not suit.

        Raises
        ------
        ValueError
            Naming it.
        """

    @abstractmethod
    def start(self, replica: Replica, rank: int, world: int, seed: int) -> Sync:
        """Return a worker's side; every worker calls it at the same time."""


@dataclass(frozen=True)
class DataParallel(Strategy):
    """Gradients are averaged before every step by a ring all-reduce of 32-bit floats."""

    @property
    def period(self) -> int:
        """1."""
        return 1

    def start(self, replica: Replica, rank: int, world: int, seed: int) -> Sync:
        """See `Strategy.start`."""
        return _Averaged(replica, {"all": make_link(range(world), rank, world)})


class _Averaged(Sync):
    def due(self, step: int) -> bool:
        return True

    def gradients(self) -> None:
        link, gradient = self.links["all"], self.replica.gradient
        link.sum(gradient)
        gradient /= link.size
        self.largest = max(self.largest, 4 * gradient.numel())


@dataclass(frozen=True)
class DiLoCo(Strategy):
    """Workers train alone for `every` steps, then take an outer step along the mean change.

    The pseudo-gradient is where a worker started minus where it arrived. It is packed by the codec
    and gathered by everybody, who then take the same Nesterov step of the outer weights.

    Parameters
    ----------
    every : int
        H, inner steps a round.
    outer_lr : float
        Positive. 1 with no momentum is plain averaging of weights.
    momentum : float
        In [0, 1).
    codec : Codec
    error_feedback : bool
        Keep what the codec lost and add it to the next round.
    fragments : int
        Parts of the weights that are exchanged in turn, `every` / `fragments` steps apart (in the
        manner of Streaming DiLoCo). Each is exchanged as often as without; the last exchange of
        all is at the end of the run, one after the other, so that no worker keeps weights apart.
    """

    every: int = 20
    outer_lr: float = 0.7
    momentum: float = 0.9
    codec: Codec = field(default_factory=Fp32)
    error_feedback: bool = False
    fragments: int = 1

    def __post_init__(self) -> None:
        _whole("every", self.every)
        _whole("fragments", self.fragments)
        _outer(self.outer_lr, self.momentum)
        if self.every % self.fragments:
            raise ValueError(f"{self.fragments} fragments do not divide a round of {self.every}")
        if self.fragments > 1 and isinstance(self.codec, LowRank):
            raise ValueError("low rank needs whole tensors, fragments cut through them")

    @property
    def period(self) -> int:
        """H."""
        return self.every

    def start(self, replica: Replica, rank: int, world: int, seed: int) -> Sync:
        """See `Strategy.start`."""
        return Rounds(self, replica, {"all": make_link(range(world), rank, world)})

    def direction(self, change: Tensor) -> Tensor:
        """Return the pseudo-gradient of a change of weights: against it, as gradients are."""
        return -change


class Rounds(Sync):
    """A worker's side of `DiLoCo`; `last` is the run's number of steps."""

    last = 0

    def __init__(self, recipe: DiLoCo, replica: Replica, links: dict[str, Link]) -> None:
        super().__init__(replica, links)
        self.recipe = recipe
        self.outer = replica.flat.clone()
        self.velocity = torch.zeros_like(self.outer)
        self.lost = torch.zeros_like(self.outer)
        n, count = len(self.outer), recipe.fragments
        cuts = [n * part // count for part in range(count + 1)]
        self.parts = [slice(a, b) for a, b in pairwise(cuts)]

    def _now(self, step: int) -> list[int]:
        """Return the fragments that are exchanged after `step` steps."""
        every, count = self.recipe.every, self.recipe.fragments
        if step == self.last:
            return list(range(count))
        # The last turn of a run is put off to its end.
        at = [(part + 1) * every // count for part in range(count)]
        return [
            part
            for part, first in enumerate(at)
            if step % every == first % every and step + every <= self.last + first - every
        ]

    def due(self, step: int) -> bool:
        return bool(self._now(step))

    @torch.no_grad()
    def weights(self, step: int) -> None:
        for part in self._now(step):
            self._round(self.parts[part])

    def _round(self, part: slice) -> None:
        recipe, mine = self.recipe, self.replica.flat[part]
        outer, velocity, lost = self.outer[part], self.velocity[part], self.lost[part]
        shapes: Shapes = self.replica.shapes if recipe.fragments == 1 else [tuple(mine.shape)]
        wanted = recipe.direction(mine - outer)
        if recipe.error_feedback:
            wanted = wanted + lost
        link = self.links["all"]
        received = link.gather(recipe.codec, wanted, shapes)
        if recipe.error_feedback:
            lost.copy_(wanted - received[link.members.index(link.rank)])
        mean = torch.stack(received).mean(dim=0)
        velocity.mul_(recipe.momentum).add_(mean)
        outer.sub_(mean + recipe.momentum * velocity, alpha=recipe.outer_lr)
        mine.copy_(outer)
        self.largest = max(self.largest, recipe.codec.nbytes(shapes))

    def state(self) -> dict[str, Tensor]:
        return {"outer": self.outer, "velocity": self.velocity, "lost": self.lost}


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
        _whole("every", self.every)
        _outer(self.outer_lr, self.momentum)
        if not 0 <= self.pull <= 1:
            raise ValueError(f"pull is {self.pull}, expected a number in [0, 1]")

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

    def due(self, step: int) -> bool:
        return step % self.recipe.every == 0

    @torch.no_grad()
    def weights(self, step: int) -> None:
        if not self.due(step):
            return
        recipe, link, shapes = self.recipe, self.links["all"], self.replica.shapes
        change = self.replica.flat - self.outer
        partner = pairs(link.size, self.seed, step).get(link.rank)
        centre = self.outer
        if partner is not None:
            packed = recipe.codec.encode(change.float(), shapes)
            own = recipe.codec.decode(packed, shapes).to(change.dtype)
            change = (own + link.swap(recipe.codec, change, shapes, partner)) / 2
            # As it is sent, so that both partners hold the same mean.
            sent = self.outer.float().to(self.outer.dtype)
            centre = (sent + link.swap(Fp32(), self.outer, shapes, partner)) / 2
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
        _whole("region", self.region, 2)
        _whole("inner_every", self.inner_every)
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

    def due(self, step: int) -> bool:
        return step % self.recipe.inner_every == 0

    @torch.no_grad()
    def weights(self, step: int) -> None:
        if not self.due(step):
            return
        region, flat = self.links["region"], self.replica.flat
        flat.copy_(region.mean(flat))
        self.largest = max(self.largest, 4 * flat.numel())
        if step % self.recipe.outer.every == 0:
            if region.rank == region.members[0]:
                self.rounds._round(slice(None))
            region.spread(flat)

    def state(self) -> dict[str, Tensor]:
        return self.rounds.state()

    def load(self, state: dict[str, Any]) -> None:
        self.rounds.load(state)
