"""When workers talk, and about what: the recipes and what each worker does for them.

A recipe is a small frozen object that pickles. `Strategy.start` makes the worker's side of it, a
`Sync`, which is called before and after every inner step. All exchanges go through
`wire.Link`, which counts them.

Sources: DiLoCo arXiv 2311.08105 (pseudo-gradient, Nesterov outer step); Streaming DiLoCo arXiv
2501.18512 (fragments; its overlap and mixing are not here).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from lib.compute_governance.codecs import Codec, Fp32, Shapes, size_of
from lib.compute_governance.lowcomm.models import Replica
from lib.compute_governance.lowcomm.wire import Link, make_link
from lib.core import check

__all__ = ["DataParallel", "DiLoCo", "Rounds", "Strategy", "Sync", "check_outer"]


def check_outer(lr: float, momentum: float) -> None:
    """Refuse an outer rate that is not positive, or a momentum outside of [0, 1)."""
    check.number("outer_lr", lr, above=0)
    check.number("momentum", momentum, at_least=0, below=1)


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
        check.integer("every", self.every, at_least=1)
        check.integer("fragments", self.fragments, at_least=1)
        check_outer(self.outer_lr, self.momentum)
        if self.every % self.fragments:
            raise ValueError(f"{self.fragments} fragments do not divide a round of {self.every}")
        if self.fragments > 1 and self.codec.whole_tensors:
            raise ValueError(
                f"fragments is {self.fragments}, expected 1: {self.codec} needs tensors"
            )

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
        # Where tensors end. A codec scales by tensor, so a fragment is sent as its pieces of them.
        self.ends = list(accumulate(size_of([shape]) for shape in replica.shapes))

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

    @torch.no_grad()
    def weights(self, step: int) -> None:
        """Exchange the fragments whose turn it is."""
        for part in self._now(step):
            self.exchange(self.parts[part])

    def exchange(self, part: slice) -> None:
        """Take one outer step of a part of the weights."""
        recipe, mine = self.recipe, self.replica.flat[part]
        outer, velocity, lost = self.outer[part], self.velocity[part], self.lost[part]
        shapes: Shapes = self.replica.shapes
        if recipe.fragments > 1:
            inside = [end for end in self.ends if part.start < end < part.stop]
            shapes = [(b - a,) for a, b in pairwise([part.start, *inside, part.stop])]
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
        """Return outer weights, velocity and what the codec lost."""
        return {"outer": self.outer, "velocity": self.velocity, "lost": self.lost}
