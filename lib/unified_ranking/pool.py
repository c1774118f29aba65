"""A pool of caches in shared memory: one process writes, others read, and none reads a wrong one.

The retrieval process puts keys and values of a request into the next slot, round robin, and hands
on a ticket. The ranking process maps the same memory and asks for the ticket's slot. The paper
(arXiv 2606.00422, section on serving) shares GPU memory between two processes so; what happens when
a slot is given away before it was read, it does not say. Here a ticket names slot, request and
version, a slot names request, version and the hash of the weights, and reading compares them before
*and after*:

- a version is odd while its slot is written, so a half-written slot is never taken;
- a slot overwritten during the reading has another version after it, so nothing that was computed
  from a mixture leaves `KVPool.view`;
- a reader says whose weights it expects, and gets no cache of others.

Every refusal is an error that says which; a `StaleSlotError` means: encode the history again. The
pool has one writer, for its counter of slots is not shared. It keeps no queue: with more requests
under way than slots the oldest are overwritten, and refused when they are read.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Literal, Self, cast, get_args

import numpy as np
import numpy.typing as npt
import torch

from lib.core import check
from lib.unified_ranking.model import KVCache, ModelConfig, WrongWeightsError

__all__ = ["KVPool", "PoolError", "Precision", "StaleSlotError", "Ticket"]

Precision = Literal["float32", "float64"]
_MAGIC = 0x55_4E_49_50_4F_4F_4C_31
_FIELDS = ("magic", "slots", "layers", "heads", "positions", "d_head", "size", "writer")
_SLOT = np.dtype(
    [
        ("version", np.int64),
        ("request", np.int64),
        ("length", np.int64),
        ("last_time", np.float64),
        ("weights", "S64"),
    ]
)
_PAGE = 4096
_TURN = threading.Lock()


class PoolError(RuntimeError):
    """Something is wrong with the pool itself, or with how it is used."""


class StaleSlotError(PoolError):
    """The slot of a ticket holds another request by now, or half of one."""


@dataclass(frozen=True)
class Ticket:
    """Where a request's cache lies.

    Attributes
    ----------
    slot, request, version : int
    """

    slot: int
    request: int
    version: int

    def __post_init__(self) -> None:
        for name in ("slot", "request", "version"):
            check.integer(name, getattr(self, name), at_least=0)


class KVPool:
    """Slots of shared memory for caches of one shape; made by `create`, opened by `attach`.

    Attributes
    ----------
    name : str
        Of the shared memory, for `attach` in another process.
    slots, positions : int
        Slots, and positions that one can hold (the start included).

    Examples
    --------
    >>> from lib.unified_ranking.model import History, UnifiedRanker
    >>> model = UnifiedRanker(ModelConfig(4, 1, d_item=4, d_model=8, max_events=5))
    >>> _ = model.seal()
    >>> past = History(torch.ones(1, 2, 4), torch.zeros(1, 2, 2), torch.zeros(1, 2).double(),
    ...                torch.tensor([2]))
    >>> _, cache = model.encode(past)
    >>> with KVPool.create(model.config, slots=2) as pool:
    ...     ticket = pool.write(cache, request=17)
    ...     bool((pool.read(ticket, weights=model.sealed).keys == cache.keys).all())
    True
    """

    def __init__(self, memory: SharedMemory, *, owner: bool, writer: bool) -> None:
        if not isinstance(memory, SharedMemory):
            raise ValueError(f"memory is {memory!r:.60}, expected one of create or attach")
        self._memory, self._owner, self._writer = memory, owner, writer
        # np.frombuffer keeps hold of the memory, np.ndarray does not: a view that outlived the pool
        # would be of memory that is gone.
        self._head: Any = np.frombuffer(cast(Any, memory.buf), np.int64, len(_FIELDS))
        head = dict(zip(_FIELDS, self._head.tolist(), strict=True))
        self.name = memory.name
        self.slots, self.positions = head["slots"], head["positions"]
        self._shape = head["layers"], head["heads"], head["positions"], head["d_head"]
        self._kind = np.dtype(f"f{head['size']}")
        self._next = 0
        self._slots: Any = np.frombuffer(cast(Any, memory.buf), _SLOT, self.slots, 8 * len(_FIELDS))
        count = 2 * self.slots * int(np.prod(self._shape))
        found = np.frombuffer(cast(Any, memory.buf), self._kind, count, _start(self.slots))
        self._data: Any = found.reshape(self.slots, 2, *self._shape)

    @classmethod
    def create(
        cls,
        config: ModelConfig,
        slots: int,
        *,
        precision: Precision = "float32",
        write: bool = True,
    ) -> Self:
        """Make a pool for the caches of a model's shape.

        Parameters
        ----------
        config : ModelConfig
        slots : int
            At least 1.
        precision : {"float32", "float64"}
            Of keys and values.
        write : bool
            Whether this process is the writer; else one that attaches with ``write=True`` is.

        Raises
        ------
        PoolError
            If there is not so much shared memory.
        """
        if not isinstance(config, ModelConfig):
            raise ValueError(f"config is {config!r:.60}, expected a ModelConfig")
        slots = check.integer("slots", slots, at_least=1)
        size = np.dtype(check.known("precision", precision, get_args(Precision))).itemsize
        shape = config.n_layers, config.n_heads, config.max_events + 1, config.d_head
        n_bytes = _start(slots) + slots * 2 * int(np.prod(shape)) * size
        free = _free()
        if n_bytes > free:
            # Linux gives more than it has, and kills the process that touches it.
            raise PoolError(
                f"the pool needs {n_bytes:,} bytes of shared memory, there are {free:,}"
            )
        memory = SharedMemory(create=True, size=n_bytes)
        writer = os.getpid() if write else 0
        head = np.ndarray(len(_FIELDS), np.int64, memory.buf)
        head[:] = [0, slots, *shape, size, writer]
        head[0] = _MAGIC
        del head
        return cls(memory, owner=True, writer=write)

    @classmethod
    def attach(cls, name: str, *, write: bool = False) -> Self:
        """Open a pool of another process.

        Parameters
        ----------
        name : str
        write : bool
            Whether this process is to be the pool's writer.

        Raises
        ------
        PoolError
            If there is no such pool, or it has a writer already.
        """
        try:
            memory = _untracked(check.text("name", name))
        except (FileNotFoundError, OSError) as error:
            raise PoolError(f"there is no pool {name!r} ({error})") from None
        head = np.ndarray(len(_FIELDS), np.int64, memory.buf)  # a page at least, always
        known, other = int(head[0]) == _MAGIC, int(head[-1])
        if known and write and not other:
            head[-1] = os.getpid()
        del head
        if not known or (write and other):
            memory.close()
            raise PoolError(
                f"pool {name!r} is written by process {other}, expected one without a writer"
                if known
                else f"{name!r} is shared memory of another kind, expected a pool"
            )
        return cls(memory, owner=False, writer=write)

    def write(self, cache: KVCache, request: int) -> Ticket:
        """Put one user's cache into the next slot, whatever lies there.

        Parameters
        ----------
        cache : KVCache
            Of one user, without padding (`KVCache.user`), made by a sealed model.
        request : int
            Nonnegative, another for each request.

        Returns
        -------
        Ticket
            Good until the slot is given away, `slots` writes later.

        Raises
        ------
        PoolError
            If this process is not the writer, or the pool is closed.
        ValueError
            If the cache is not of the pool's shape and type, or is not sealed. No slot is touched.
        """
        self._open()
        if not self._writer:
            raise PoolError("this process reads the pool, expected its writer")
        request = check.integer("request", request, at_least=0, below=2**62)
        if not isinstance(cache, KVCache):
            raise ValueError(f"cache is {cache!r:.60}, expected a KVCache")
        layers, batch, heads, n, d_head = cache.keys.shape
        wanted_layers, wanted_heads, positions, wanted_d = self._shape
        found = layers, heads, d_head, batch
        if found != (wanted_layers, wanted_heads, wanted_d, 1) or n > positions:
            raise ValueError(
                f"cache has layers, heads, numbers a head, users {found} and {n} positions, "
                f"expected {(wanted_layers, wanted_heads, wanted_d, 1)} and at most {positions}"
            )
        if int(cache.lengths[0]) != n:
            raise ValueError(
                f"cache has {n} positions, {int(cache.lengths[0])} of them no padding; expected no "
                "padding (KVCache.user)"
            )
        keys, values = (one.detach().cpu().numpy() for one in (cache.keys, cache.values))
        if keys.dtype != self._kind:
            raise ValueError(f"cache has type {keys.dtype}, expected {self._kind}")
        if len(cache.weights) != 64:
            raise ValueError(f"cache is {cache.weights!r}, expected one of a sealed model")
        slot = self._next
        self._next = (slot + 1) % self.slots
        head = self._slots[slot]
        version = int(head["version"]) + 1
        head["version"] = version  # odd: from here on nobody takes it
        _fence()
        self._data[slot, 0, :, :, :n] = keys[:, 0]
        self._data[slot, 1, :, :, :n] = values[:, 0]
        head["request"], head["length"] = request, n
        head["last_time"], head["weights"] = float(cache.last_times[0]), cache.weights.encode()
        _fence()
        head["version"] = version + 1
        return Ticket(slot, request, version + 1)

    @contextlib.contextmanager
    def view(self, ticket: Ticket, *, weights: str) -> Iterator[KVCache]:
        """Lend a slot's cache without copying it, and take it back.

        Parameters
        ----------
        ticket : Ticket
        weights : str
            The reader's own, from `UnifiedRanker.seal`.

        Yields
        ------
        KVCache
            To be read inside the block alone. What is computed from it counts only if the block
            ends without error.

        Raises
        ------
        StaleSlotError
            If the slot holds another request, before the block or after it.
        WrongWeightsError
            If the cache was made with other weights.
        PoolError
            If the ticket's slot is none of the pool, or the pool is closed.
        """
        self._open()
        if not isinstance(ticket, Ticket):
            raise ValueError(f"ticket is {ticket!r:.60}, expected a Ticket")
        weights = check.text("weights", weights)
        if ticket.slot >= self.slots:
            raise PoolError(f"slot is {ticket.slot}, expected one below {self.slots}")
        head = self._slots[ticket.slot].copy()
        _fence()
        self._same(ticket, head)
        made_by = head["weights"].decode()
        if made_by != weights:
            self._same(ticket, self._slots[ticket.slot])
            raise WrongWeightsError(
                f"the slot's cache is of weights {made_by[:12]!r}, expected {weights[:12]!r}"
            )
        n = int(head["length"])
        keys, values = torch.from_numpy(self._data[ticket.slot, :, :, :, :n]).unsqueeze(2)
        lengths = torch.tensor([n])
        last = torch.tensor([float(head["last_time"])], dtype=torch.float64)
        try:
            yield KVCache(keys, values, lengths, last, made_by)
        finally:
            # Also where the block failed: what it failed on may have been a mixture.
            _fence()
            self._same(ticket, self._slots[ticket.slot])

    def read(self, ticket: Ticket, *, weights: str) -> KVCache:
        """Return a copy of a slot's cache; see `view` for arguments and errors."""
        with self.view(ticket, weights=weights) as lent:
            keys, values = lent.keys.clone(), lent.values.clone()
        return KVCache(keys, values, lent.lengths, lent.last_times, lent.weights)

    def written(self) -> int:
        """Return how many caches were written so far."""
        self._open()
        return int(self._slots["version"].sum()) // 2

    def close(self) -> None:
        """Let go of the memory; the process that made it also frees it.

        Raises
        ------
        PoolError
            If a view of a slot is still held.
        """
        if self._head is None:
            return
        self._head = self._slots = self._data = None
        try:
            self._memory.close()
        except BufferError:
            raise PoolError("a view of a slot is still held, expected none") from None
        finally:
            if self._owner:
                self._memory.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        if self._head is None:
            raise PoolError("the pool is closed")

    @staticmethod
    def _same(ticket: Ticket, head: npt.NDArray[Any]) -> None:
        version, request = int(head["version"]), int(head["request"])
        whole = version > 0 and version % 2 == 0
        if not whole or version != ticket.version or request != ticket.request:
            what = "is being written" if version % 2 else f"holds request {request}"
            raise StaleSlotError(
                f"slot {ticket.slot} {what} (version {version}), expected request {ticket.request} "
                f"(version {ticket.version}); encode the history again"
            )


def _start(slots: int) -> int:
    """Return where the data begin: on a page of their own."""
    return -(-(8 * len(_FIELDS) + slots * _SLOT.itemsize) // _PAGE) * _PAGE


def _fence() -> None:
    """Order what was written before and after, as taking and leaving a lock does.

    On processors of Intel's and AMD's make stores are seen in order anyway.
    """
    with _TURN:
        pass


def _free() -> int:
    """Return how many bytes of shared memory there are, as far as the system says."""
    try:
        found = os.statvfs("/dev/shm")
    except (AttributeError, OSError):
        return 2**62
    return found.f_bavail * found.f_frsize


def _untracked(name: str) -> SharedMemory:
    """Open shared memory that another process frees.

    Python 3.11 notes whatever is opened, and frees it when *this* process ends.
    """
    tracker = cast(Any, resource_tracker)
    register = tracker.register
    with _TURN:
        tracker.register = lambda *_: None
        try:
            return SharedMemory(name=name)
        finally:
            tracker.register = register
