"""A pool of worker processes joined by torch.distributed, kept alive over many trainings.

Starting a process and importing torch takes seconds, a small training not much longer; so the
workers stay. They are spawned, meet through a file (``file://``, no port that could be taken), and
use one thread each. When one dies the call raises, naming it; it never hangs.
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
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist

from lib.compute_governance.lowcomm.wire import WireError

__all__ = ["Pool", "Seat", "WorkerError"]

TIMEOUT = 3600.0
"""Seconds of silence after which a worker counts as hanging: a run may take minutes where the
machine is loaded or its kernels are an old processor's. One that dies is noticed at once."""

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
    ask : callable, optional
        Sends a message to the parent and returns its answer; None outside of a pool.
    shared : dict
        What a worker keeps between calls.
    """

    rank: int
    world: int
    ask: Callable[[Any], Any] | None = None
    shared: dict[Any, Any] = field(default_factory=dict)


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

    def ask(message: Any) -> Any:
        parent.send(("ask", message))
        return parent.recv()

    seat = Seat(rank, world, ask)
    with contextlib.suppress(EOFError, KeyboardInterrupt, ConnectionResetError, BrokenPipeError):
        try:
            join_group(rank, world, file, timeout)
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
        if world < 1:
            raise ValueError(f"world is {world}, expected at least 1 worker")
        self.world = world
        self.timeout = timeout
        self._folder = tempfile.TemporaryDirectory(prefix="book-pool-")
        self._meetings = 0
        context = get_context("spawn")
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

    def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        regroup: Callable[[dict[int, Any]], dict[int, Any]] | None = None,
    ) -> list[Any]:
        """Call ``function(seat, *arguments)`` in every worker; return the results by rank.

        Parameters
        ----------
        function : callable
            Of an importable module: one defined in a notebook cannot be found by a worker.
        *arguments
            What pickles.
        regroup : callable, optional
            When workers die, the others' questions (`Seat.ask`) are collected and this makes the
            answers, both by rank. By default a death fails the call.

        Returns
        -------
        list
            None in the place of a worker that died.

        Raises
        ------
        WorkerError
            If a worker died, raised or said nothing for `timeout` seconds. The pool is closed.
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
            return self._collect(regroup)
        except (BrokenPipeError, ConnectionResetError):
            codes = {r: p.exitcode for r, p in enumerate(self._processes) if not p.is_alive()}
            self.close()
            raise WorkerError(f"workers that are gone, with exit status: {codes}") from None
        except BaseException:
            self.close()
            raise

    def _collect(self, regroup: Callable[[dict[int, Any]], dict[int, Any]] | None) -> list[Any]:
        results: dict[int, Any] = {}
        questions: dict[int, Any] = {}
        dead: dict[int, int | None] = {}
        open_ranks = set(range(self.world))
        deadline = time.monotonic() + self.timeout
        while open_ranks:
            ready = wait(
                [self._pipes[rank] for rank in open_ranks], max(0.0, deadline - time.monotonic())
            )
            if not ready:
                raise WorkerError(
                    f"workers {sorted(open_ranks)} said nothing for {self.timeout:.0f} s"
                )
            deadline = time.monotonic() + self.timeout
            for rank in sorted(open_ranks):
                if self._pipes[rank] not in ready:
                    continue
                try:
                    kind, content = self._pipes[rank].recv()
                except (EOFError, ConnectionResetError):
                    self._processes[rank].join(_GRACE)
                    dead[rank] = self._processes[rank].exitcode
                    open_ranks.discard(rank)
                    if regroup is None:
                        raise WorkerError(self._death(dead)) from None
                    continue
                if kind == "done":
                    results[rank] = content
                    open_ranks.discard(rank)
                elif kind == "ask":
                    questions[rank] = content
                else:
                    raise WorkerError(self._cause(rank, kind, content))
            if questions and questions.keys() == open_ranks:
                if regroup is None or not dead:
                    raise WorkerError(f"workers {sorted(questions)} lost touch, nobody died")
                for rank, answer in regroup(questions).items():
                    self._pipes[rank].send(answer)
                questions = {}
        if dead and not results:
            raise WorkerError(self._death(dead))
        if dead:
            self.close()
        return [results.get(rank) for rank in range(self.world)]

    def _death(self, dead: dict[int, int | None]) -> str:
        told = ", ".join(f"worker {rank} (exit status {code})" for rank, code in dead.items())
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
                    return self._death({other: self._processes[other].exitcode})
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
