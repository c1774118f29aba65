"""`train`: the same call for processes on this machine, under torchrun, and on GPUs.

Every strategy sees the same global batches and the same number of tokens, and is judged by the loss
of the workers' *average* weights on held-out windows. The average that is taken for the judgement
is no part of the training's traffic.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import joblib
import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from lib.compute_governance.lowcomm.models import Inner, Model, Replica
from lib.compute_governance.lowcomm.pool import Pool, Seat
from lib.compute_governance.lowcomm.strategies import Rounds, Strategy, Sync
from lib.compute_governance.lowcomm.wire import make_link, socket_bytes
from lib.core import check
from lib.core.paths import write_atomic

__all__ = ["Batches", "CheckpointError", "History", "Settings", "train"]


class Batches(Protocol):
    """Where the windows come from; `text.Corpus` is one."""

    def draw(self, seed: int, step: int, size: int) -> NDArray[Any]:
        """Return the global batch of a step, shape (size, ...), the same for every caller."""

    def validation(self) -> NDArray[Any]:
        """Return what is held out, shape (n_windows, ...)."""


class CheckpointError(RuntimeError):
    """A checkpoint is missing, truncated, altered or of another run."""


@dataclass(frozen=True)
class Settings:
    """How a run is made, beyond its strategy.

    Parameters
    ----------
    inner : Inner
        The workers' own optimiser.
    batch : int
        Windows in a global batch; the workers divide it evenly.
    judge_every : int
        Steps between judgements, 0 for the end only. Judging does not change the training.
    shares : tuple of int, optional
        Which share of the batch each rank takes, a permutation; by default its own number.
    checkpoint : Path, optional
        A folder to leave checkpoints in, `checkpoint_every` steps apart.
    checkpoint_every : int
        A multiple of the strategy's period.
    resume : bool
        Go on from the newest checkpoint in the folder.
    stop_after : int, optional
        End early, as if interrupted; a multiple of the period.
    kill : tuple of (rank, step), optional
        For tests: that worker kills itself after so many steps.
    forget : bool
        For tests: a restart that drops the inner optimiser's state.
    device : str
        ``"cpu"`` with gloo, or ``"cuda"`` with NCCL under torchrun.
    dtype : str
        What the workers compute in, ``"float32"`` or ``"float64"``; exchanges are 32-bit at most
        in either. Training amplifies the last bit, in which processors differ, a thousandfold and
        more: in double precision a run gives the same three decimals everywhere.
    """

    inner: Inner = field(default_factory=Inner)
    batch: int = 32
    judge_every: int = 0
    shares: tuple[int, ...] | None = None
    checkpoint: Path | None = None
    checkpoint_every: int = 0
    resume: bool = False
    stop_after: int | None = None
    kill: tuple[int, int] | None = None
    forget: bool = False
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True)
class History:
    """What a run left.

    Attributes
    ----------
    loss : float
        Held-out loss of the average weights, nats a character for `text.Corpus`.
    curve : list of (int, float)
        Steps and loss at each judgement.
    weights : ndarray, shape (n_parameters,)
        The average.
    apart : float
        Largest difference between a worker's weight and the average at the end.
    tokens : int
        Windows times context, all workers together (rows times 1 for data without context).
    claimed, sent : float
        Bytes a worker has sent in training, mean over workers, by formula and by payload.
    wire : float or None
        The same as the kernel counted it; None off Linux.
    regional : float
        Part of `sent` that stayed inside regions.
    largest : int
        Bytes of the largest payload of one exchange.
    exchanges : int
        Of the worker that had most.
    """

    loss: float
    curve: list[tuple[int, float]]
    weights: NDArray[np.float32] = field(repr=False)
    apart: float
    tokens: int
    claimed: float
    sent: float
    wire: float | None
    regional: float
    largest: int
    exchanges: int


@dataclass(frozen=True)
class _Run:
    model: Model
    data: Batches
    strategy: Strategy
    steps: int
    seed: int
    settings: Settings


def train(
    model: Model,
    data: Batches,
    strategy: Strategy,
    world: int | None = None,
    steps: int = 200,
    seed: int = 0,
    settings: Settings | None = None,
    pool: Pool | None = None,
) -> History:
    """Train with several workers and return what came of it.

    Under torchrun (its environment variables are there) this process is one of the workers, on
    however many machines; else the workers are processes of this machine.

    Parameters
    ----------
    model : Model
        A picklable recipe.
    data : Batches
        Picklable too.
    strategy : Strategy
    world : int, optional
        Workers; by default those of the pool or of torchrun.
    steps : int
        Inner steps, a multiple of the strategy's period: of a round cut short nothing would be
        shared.
    seed : int
        Nonnegative; decides first weights, batches and partners.
    settings : Settings, optional
    pool : Pool, optional
        Workers to use; without one they are started and ended here.

    Raises
    ------
    ValueError
        If an argument does not suit, before anything starts.
    WorkerError
        If a worker dies or raises (local workers).
    CheckpointError
        If a checkpoint cannot be used.

    Examples
    --------
    >>> from lib.compute_governance.lowcomm.strategies import DataParallel
    >>> from lib.compute_governance.lowcomm.models import Transformer
    >>> train(Transformer(), None, DataParallel(), world=1, steps=-5)
    Traceback (most recent call last):
    ...
    ValueError: steps is -5.0, expected a whole number at least 1
    """
    settings = settings or Settings()
    launched = "TORCHELASTIC_RUN_ID" in os.environ and pool is None
    given = int(os.environ["WORLD_SIZE"]) if launched else pool.world if pool else world
    if given is None:
        raise ValueError("world is missing: how many workers?")
    if world is not None and world != given:
        raise ValueError(f"world is {world}, but there are {given} workers")
    run = _Run(model, data, strategy, steps, seed, settings)
    _check(run, given)
    if settings.resume:
        for rank in [int(os.environ["RANK"])] if launched else range(given):
            _newest(run, rank, given)
    if launched:
        return _train_launched(run, given)
    if settings.device != "cpu":
        raise ValueError(f"device is {settings.device!r}: start GPU workers with torchrun")
    if pool is not None:
        return _history(pool.run(_work, run))
    with Pool(given) as own:
        return _history(own.run(_work, run))


def _check(run: _Run, world: int) -> None:
    settings, period = run.settings, run.strategy.period
    check.integer("world", world, at_least=1)
    check.integer("seed", run.seed, at_least=0)
    check.integer("batch", settings.batch, at_least=1)
    if check.integer("steps", run.steps, at_least=1) % period:
        raise ValueError(f"steps is {run.steps}, expected a multiple of {period}, the period")
    if settings.batch % world:
        raise ValueError(f"{world} workers do not divide a batch of {settings.batch}")
    if settings.shares is not None and sorted(settings.shares) != list(range(world)):
        raise ValueError(f"shares is {settings.shares}, expected a permutation of 0 to {world - 1}")
    for name in ("checkpoint_every", "judge_every"):
        check.integer(name, getattr(settings, name), at_least=0)
    if settings.checkpoint_every % period or (settings.stop_after or 0) % period:
        raise ValueError(
            f"checkpoint_every is {settings.checkpoint_every} and stop_after "
            f"{settings.stop_after}, expected multiples of {period}, the strategy's period"
        )
    if (settings.checkpoint_every > 0 or settings.resume) and settings.checkpoint is None:
        raise ValueError("checkpoint is missing: in which folder?")
    check.known("dtype", settings.dtype, ("float32", "float64"))
    check.known("device", settings.device, ("cpu", "cuda"))
    run.strategy.check(world)


def _history(reports: Sequence[dict[str, Any]]) -> History:
    first = reports[0]

    def mean(name: str) -> float:
        return float(sum(one[name] for one in reports) / len(reports))

    wires = [one["wire"] for one in reports]
    return History(
        loss=first["curve"][-1][1],
        curve=first["curve"],
        weights=first["weights"],
        apart=max(one["apart"] for one in reports),
        tokens=first["tokens"],
        claimed=mean("claimed"),
        sent=mean("sent"),
        wire=None if None in wires else float(sum(wires) / len(wires)),
        regional=mean("regional"),
        largest=max(one["largest"] for one in reports),
        exchanges=max(one["exchanges"] for one in reports),
    )


def _train_launched(run: _Run, world: int) -> History:
    """Be one of torchrun's workers."""
    rank = int(os.environ["RANK"])
    cuda = run.settings.device == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        torch.set_num_threads(1)
    dist.init_process_group("nccl" if cuda else "gloo", init_method="env://")
    try:
        report = _work(Seat(rank, world), run)
        reports: list[Any] = [None] * world
        dist.all_gather_object(reports, report)
    finally:
        dist.destroy_process_group()
    return _history(reports)


# --- the worker's side --------------------------------------------------------------------------


class _Worker:
    """One worker in one run: everything that a checkpoint or a step back must restore."""

    def __init__(self, seat: Seat, run: _Run) -> None:
        self.run, self.seat = run, seat
        settings = run.settings
        self.dtype = getattr(torch, settings.dtype)
        self.replica = Replica(run.model, run.seed, settings.device, self.dtype)
        self.optimiser = settings.inner.make(self.replica.weights)
        self.sync: Sync = run.strategy.start(self.replica, seat.rank, seat.world, run.seed)
        if isinstance(self.sync, Rounds):
            self.sync.last = run.steps
        self.everyone = make_link(range(seat.world), seat.rank, seat.world)
        self.step = 0
        self.rows = 0
        self.curve: list[tuple[int, float]] = []
        self.held_out = self.batch(run.data.validation())

    def batch(self, rows: NDArray[Any]) -> Tensor:
        """Return rows where the model is, numbers in its precision, tokens as they are."""
        found = torch.from_numpy(rows).to(self.run.settings.device)
        return found.to(self.dtype) if found.is_floating_point() else found

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "rows": self.rows,
            "curve": list(self.curve),
            "weights": self.replica.flat.clone(),
            "sync": {name: one.clone() for name, one in self.sync.state().items()},
            # The optimiser's dictionary refers to its tensors; a copy must not change with them.
            "optimiser": torch.load(_saved(self.optimiser.state_dict()), weights_only=True),
        }

    def load(self, state: dict[str, Any], *, forget: bool = False) -> None:
        self.step, self.rows = state["step"], state["rows"]
        self.curve = [(step, loss) for step, loss in state["curve"]]
        self.replica.flat.copy_(state["weights"])
        self.sync.load(state["sync"])
        if not forget:
            self.optimiser.load_state_dict(state["optimiser"])

    def inner_step(self) -> None:
        run, settings, seat = self.run, self.run.settings, self.seat
        size = settings.batch // seat.world
        share = settings.shares[seat.rank] if settings.shares else seat.rank
        batch = run.data.draw(run.seed, self.step, settings.batch)
        self.replica.learn(self.batch(batch[share * size : (share + 1) * size]))
        self.sync.gradients()
        for group in self.optimiser.param_groups:
            group["lr"] = settings.inner.rate(self.step)
        self.optimiser.step()
        self.step += 1
        self.rows += size

    def average(self) -> Tensor:
        """Return the workers' average weights, off the books."""
        return self.everyone.average(self.replica.flat)

    def judge(self) -> None:
        """Add the average's held-out loss to the curve; every worker looks at its share."""
        average, link = self.average(), self.everyone
        if not self.curve or self.curve[-1][0] != self.step:
            share = self.held_out[link.members.index(link.rank) :: link.size]
            total = self.replica.loss(average, share) * len(share) if len(share) else 0.0
            parts = torch.tensor([total], dtype=torch.float64, device=average.device)
            parts = link.average(parts) * link.size
            self.curve.append((self.step, float(parts) / len(self.held_out)))


def _saved(content: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(0)
    return buffer


def _work(seat: Seat, run: _Run) -> dict[str, Any]:
    """Train in one worker; return its part of the `History`."""
    settings = run.settings
    worker = _Worker(seat, run)
    if settings.resume:
        worker.load(_newest(run, seat.rank, seat.world), forget=settings.forget)
    before = socket_bytes()
    uncounted = 0
    end = min(run.steps, settings.stop_after or run.steps)
    while worker.step < end:
        worker.inner_step()
        seat.beat()
        if settings.kill == (seat.rank, worker.step):
            os.kill(os.getpid(), signal.SIGKILL)
        worker.sync.weights(worker.step)
        judging = settings.judge_every and worker.step % settings.judge_every == 0
        leaving = settings.checkpoint_every and worker.step % settings.checkpoint_every == 0
        quiet = socket_bytes() if judging or leaving else None
        if judging:
            worker.judge()
        if leaving:
            _leave(run, seat, worker)
        if quiet is not None:
            uncounted += (socket_bytes() or 0) - quiet
    after = socket_bytes()
    wire = None if before is None or after is None else after - before - uncounted
    worker.judge()
    average = worker.average()
    links = worker.sync.links.values()
    regional = worker.sync.links.get("region")
    rows = torch.tensor([float(worker.rows)], device=settings.device, dtype=torch.float64)
    rows = worker.everyone.average(rows) * worker.everyone.size
    length = max(1, math.prod(worker.held_out.shape[1:]) - 1) if _has_context(worker) else 1
    return {
        "curve": worker.curve,
        "weights": average.cpu().numpy(),
        "apart": float((worker.replica.flat - average).abs().max()),
        "tokens": round(float(rows)) * length,
        "claimed": sum(link.claimed for link in links),
        "sent": sum(link.sent for link in links),
        "wire": wire,
        "regional": regional.sent if regional else 0.0,
        "largest": worker.sync.largest,
        "exchanges": max(link.exchanges for link in links),
    }


def _has_context(worker: _Worker) -> bool:
    return not worker.held_out.is_floating_point()


# --- checkpoints --------------------------------------------------------------------------------


def _fingerprint(run: _Run, world: int) -> str:
    """Name the run that a checkpoint belongs to by the contents of all that decides its numbers."""
    settings = run.settings
    parts = (run.model, run.data, run.strategy, run.steps, run.seed, settings.inner, settings.batch)
    told: str = joblib.hash((*parts, settings.shares, settings.dtype, world), hash_name="sha1")
    return told


def _leave(run: _Run, seat: Seat, worker: _Worker) -> None:
    """Write one checkpoint; it counts only once the last file, its list of digests, is there."""
    assert run.settings.checkpoint is not None
    folder = run.settings.checkpoint / f"step-{worker.step:08d}"
    content = _saved(worker.state()).getvalue()
    write_atomic(folder / f"worker-{seat.rank}.pt", content)
    digests: list[Any] = [None] * seat.world
    dist.all_gather_object(digests, hashlib.sha256(content).hexdigest())
    if seat.rank == 0:
        record = {"run": _fingerprint(run, seat.world), "digests": digests}
        write_atomic(folder / "complete.json", json.dumps(record, indent=1))
    dist.barrier()


def _newest(run: _Run, rank: int, world: int) -> dict[str, Any]:
    """Return a worker's state in the newest complete checkpoint, verified."""
    folder = run.settings.checkpoint
    assert folder is not None
    found = sorted(folder.glob("step-*/complete.json"))
    if not found:
        raise CheckpointError(f"{folder}: no complete checkpoint")
    try:
        record = json.loads(found[-1].read_text())
        made, digests = record["run"], list(record["digests"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{found[-1]}: truncated or altered: {error!r}") from None
    if made != _fingerprint(run, world):
        raise CheckpointError(
            f"{found[-1].parent} is of another run: other model, data, strategy, steps, seed, "
            "batch or number of workers"
        )
    file = found[-1].with_name(f"worker-{rank}.pt")
    content = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(content).hexdigest() != digests[rank]:
        raise CheckpointError(f"{file}: missing, truncated or altered, its digest is not the one")
    state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return state
