"""A pool of worker processes joined by torch.distributed, kept alive over many trainings.

Starting a process and importing torch takes seconds, a small training not much longer; so the
workers stay, and where the system can they are forked from a server that has imported torch once
and nothing else. They meet through a file (``file://``, no port that could be taken), and use one
thread each. When one dies the call raises, naming it; it never hangs. A worker that is at
work says so every now and then (`Seat.beat`), so that a long job is no silence.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist

from lib.compute_governance.lowcomm.wire import WireError
from lib.core import check

__all__ = ["Pool", "Seat", "WorkerError"]

TIMEOUT = 600.0
"""Seconds without a sign of life after which a worker counts as hanging: one step may take long
where a machine is loaded, a whole job may take hours. One that dies is noticed at once."""

_BEAT = 1.0
"""Seconds between signs of life, at least."""

_START = 600.0
"""Seconds that a worker may need to start, import torch and meet the others, at least."""

_GRACE = 2.0


class WorkerError(RuntimeError):
    """A worker died or raised; the message names it and holds its traceback."""


@dataclass
class Seat:
    """A worker's place, the first argument of every function that a pool runs.

    Attributes
    ----------
    rank, world : int
        This worker and how many there are.
    tell : callable, optional
        Sends a sign of life to the parent; None outside of a pool.
    """

    rank: int
    world: int
    tell: Callable[[], None] | None = None
    last: float = field(default=0.0, repr=False)

    def beat(self) -> None:
        """Tell the parent that work goes on, at most once a second; call it in every long loop."""
        now = time.monotonic()
        if self.tell is not None and now - self.last >= _BEAT:
            self.last = now
            self.tell()


def join_group(rank: int, world: int, file: Path, timeout: float) -> None:
    """Meet the other workers through a file that does not exist yet."""
    dist.init_process_group(
        "gloo",
        init_method=f"file://{file}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=timeout),
    )


def _loopback() -> str | None:
    names = {name for _, name in socket.if_nameindex()}
    return next((name for name in ("lo", "lo0") if name in names), None)


def _serve(rank: int, world: int, file: Path, timeout: float, parent: Connection) -> None:
    """Run in the worker: meet, then do what the parent sends until it hangs up."""
    torch.set_num_threads(1)
    name = _loopback()
    if name is not None:
        # gloo would otherwise look the host's name up and could pick an outside address.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)

    seat = Seat(rank, world, lambda: parent.send(("beat", None)))
    with contextlib.suppress(EOFError, KeyboardInterrupt, ConnectionResetError, BrokenPipeError):
        try:
            join_group(rank, world, file, max(timeout, _START))
            parent.send(("beat", None))
            while True:
                function, arguments = parent.recv()
                parent.send(("done", function(seat, *arguments)))
        except EOFError:
            pass
        except Exception as error:
            kind = "lost" if isinstance(error, WireError) else "raised"
            parent.send((kind, traceback.format_exc()))
    with contextlib.suppress(Exception):
        dist.destroy_process_group()


class Pool:
    """Worker processes that are one process group; a context manager.

    Parameters
    ----------
    world : int
        Processes, at least 1.
    timeout : float
        Seconds, see `TIMEOUT`.

    Raises
    ------
    ValueError
        If `world` is below 1.
    """

    def __init__(self, world: int, timeout: float = TIMEOUT) -> None:
        self.world = check.integer("world", world, at_least=1)
        self.timeout = check.number("timeout", timeout, above=0)
        self._folder = tempfile.TemporaryDirectory(prefix="book-pool-")
        self._meetings = 0
        context: Any = get_context("spawn")
        if "forkserver" in get_all_start_methods():
            context = get_context("forkserver")
            context.set_forkserver_preload(["torch"])
        self._begun: set[int] = set()
        self._pipes: list[Connection] = []
        self._processes = []
        file = self.meeting()
        for rank in range(world):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(rank, world, file, timeout, theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def meeting(self) -> Path:
        """Return a new place for workers to meet."""
        self._meetings += 1
        return Path(self._folder.name) / f"meeting-{self._meetings}"

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Call ``function(seat, *arguments)`` in every worker; return the results by rank.

        Parameters
        ----------
        function : callable
            Of an importable module: one defined in a notebook cannot be found by a worker.
        *arguments
            What pickles.

        Raises
        ------
        WorkerError
            If a worker died, raised or gave no sign of life for `timeout` seconds. The pool is then
            closed.
        """
        if not self._processes:
            raise WorkerError("the pool is closed")
        try:
            job = pickle.dumps((function, arguments))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"{function!r} cannot be sent to a worker: {error}") from None
        try:
            for pipe in self._pipes:
                pipe.send_bytes(job)
            return self._collect()
        except (BrokenPipeError, ConnectionResetError):
            gone = [r for r, p in enumerate(self._processes) if not p.is_alive()]
            told = "; ".join(self._death(rank) for rank in gone)
            self.close()
            raise WorkerError(told or "the workers have hung up") from None
        except BaseException:
            self.close()
            raise

    def _collect(self) -> list[Any]:
        results: dict[int, Any] = {}
        open_ranks = set(range(self.world))
        now = time.monotonic()
        slow = max(self.timeout, _START)
        until = {r: now + (self.timeout if r in self._begun else slow) for r in open_ranks}
        while open_ranks:
            left = min(until[rank] for rank in open_ranks) - time.monotonic()
            ready = wait([self._pipes[rank] for rank in open_ranks], max(0.0, left))
            if not ready:
                late = [rank for rank in open_ranks if time.monotonic() >= until[rank]]
                raise WorkerError(f"workers {late} gave no sign of life for {self.timeout:g} s")
            for rank in sorted(open_ranks):
                if self._pipes[rank] not in ready:
                    continue
                try:
                    kind, content = self._pipes[rank].recv()
                except (EOFError, ConnectionResetError):
                    self._processes[rank].join(_GRACE)
                    raise WorkerError(self._death(rank)) from None
                self._begun.add(rank)
                until[rank] = time.monotonic() + self.timeout
                if kind == "done":
                    results[rank] = content
                    open_ranks.discard(rank)
                elif kind != "beat":
                    raise WorkerError(self._cause(rank, kind, content))
        return [results[rank] for rank in range(self.world)]

    def _death(self, rank: int) -> str:
        code = self._processes[rank].exitcode
        told = f"worker {rank} (exit status {code})"
        return f"died without a word: {told}; a negative status is the signal that killed it"

    def _cause(self, rank: int, kind: str, content: str) -> str:
        """Return the message for the first cause: a lost exchange is another one's fault."""
        end = time.monotonic() + _GRACE
        while kind == "lost" and time.monotonic() < end:
            for other, pipe in enumerate(self._pipes):
                if other == rank or not pipe.poll(0.02):
                    continue
                try:
                    found, text = pipe.recv()
                except (EOFError, ConnectionResetError):
                    self._processes[other].join(_GRACE)
                    return self._death(other)
                if found == "raised":
                    return f"worker {other} raised:\n{text}"
        return f"worker {rank} {'lost an exchange' if kind == 'lost' else 'raised'}:\n{content}"

    def close(self) -> None:
        """Hang up and end the workers."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(_GRACE)
            if process.is_alive():
                process.terminate()
                process.join(_GRACE)
            if process.is_alive():
                process.kill()
                process.join()
        self._pipes, self._processes = [], []
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
