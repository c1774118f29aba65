"""Workers as threads of one process: the same code, with exchanges through memory.

Processes of a pool are what the book runs; here a test sees each worker's own report, and stays
within one process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from lib.compute_governance.lowcomm import training, wire
from lib.compute_governance.lowcomm.pool import Seat
from lib.compute_governance.study import lab, patterns

WAIT = 20.0


class Group:
    """Some ranks that exchange: what each puts in, all get, in the order of the members."""

    def __init__(self, members: Sequence[int]) -> None:
        self.members = list(members)
        self.slots: list[Any] = [None] * len(self.members)
        self.barrier = threading.Barrier(len(self.members), timeout=WAIT)

    def swap(self, rank: int, value: Any) -> list[Any]:
        self.slots[self.members.index(rank)] = value
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found


class Threads:
    """Stands in for ``torch.distributed`` in the package's modules, and for its pool."""

    def __init__(self, world: int, monkeypatch: Any) -> None:
        self.world, self.timeout = world, WAIT
        self.here = threading.local()
        self.everyone = Group(range(world))
        self.groups: dict[tuple[int, ...], Group] = {}
        self.lock = threading.Lock()
        self.letters = {(a, b): queue.Queue() for a in range(world) for b in range(world)}
        self.sent: list[tuple[str, int]] = []
        self.begun: list[Any] = []
        for module in (wire, training, patterns, lab):
            monkeypatch.setattr(module, "dist", self)

    @property
    def rank(self) -> int:
        return getattr(self.here, "rank", 0)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Call the function in every worker, as `Pool.run` does."""
        results: list[Any] = [None] * self.world
        errors: list[BaseException] = []

        def work(rank: int) -> None:
            self.here.rank = rank
            try:
                results[rank] = function(Seat(rank, self.world), *arguments)
            except BaseException as error:
                errors.append(error)
                for group in (self.everyone, *self.groups.values()):
                    group.barrier.abort()

        threads = [threading.Thread(target=work, args=(r,), daemon=True) for r in range(self.world)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(2 * WAIT)
        if errors:
            raise errors[0]
        return results

    # --- what torch.distributed offers --------------------------------------------------------

    def init_process_group(self, *arguments: Any, **options: Any) -> None:
        self.begun.append((arguments, options))

    def destroy_process_group(self) -> None:
        self.begun.append("over")

    def new_group(self, members: list[int]) -> Group:
        with self.lock:
            return self.groups.setdefault(tuple(members), Group(members))

    def _swap(self, kind: str, group: Group | None, value: Any) -> list[Any]:
        self.sent.append((kind, self.rank))
        return (group or self.everyone).swap(self.rank, value)

    def all_reduce(self, vector: Tensor, group: Group | None = None) -> None:
        parts = self._swap("reduce", group, vector.clone())
        vector.copy_(sum(parts[1:], parts[0]))

    def all_gather(self, out: list[Tensor], mine: Tensor, group: Group | None = None) -> None:
        for target, part in zip(out, self._swap("gather", group, mine.clone()), strict=True):
            target.copy_(part)

    def all_gather_object(self, out: list[Any], mine: Any) -> None:
        out[:] = self._swap("objects", None, mine)

    def barrier(self) -> None:
        self._swap("barrier", None, None)

    def send(self, vector: Tensor, to: int) -> None:
        self.letters[self.rank, to].put(vector.clone())

    def recv(self, vector: Tensor, source: int) -> None:
        vector.copy_(self.letters[source, self.rank].get(timeout=WAIT))

    def isend(self, vector: Tensor, to: int) -> Any:
        self.send(vector, to)
        return SimpleNamespace(wait=lambda: None)

    def irecv(self, vector: Tensor, source: int) -> Any:
        return SimpleNamespace(wait=lambda: self.recv(vector, source))
