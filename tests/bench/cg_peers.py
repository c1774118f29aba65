"""What torch itself offers for talking less, on our model, data and wire counter."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook
from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager
from torch.distributed.optim import PostLocalSGDOptimizer
from torch.nn.parallel import DistributedDataParallel

from lib.compute_governance.lowcomm.models import Model
from lib.compute_governance.lowcomm.pool import Pool, Seat
from lib.compute_governance.lowcomm.training import Batches, Settings
from lib.compute_governance.lowcomm.wire import socket_bytes


def _peer(
    seat: Seat,
    model: Model,
    data: Batches,
    steps: int,
    seed: int,
    settings: Settings,
    every: int,
    rank: int,
) -> tuple[float, int | None]:
    """Train with a peer in one worker; return the average's loss and the bytes it sent."""
    module = model.build(seed).to(getattr(torch, settings.dtype))
    wrapped: Any = module
    inner = settings.inner
    optimiser: Any = torch.optim.AdamW(
        module.parameters(), lr=inner.lr, betas=(0.9, 0.95), weight_decay=0.01
    )
    if rank:
        wrapped = DistributedDataParallel(module)
        state = powerSGD_hook.PowerSGDState(
            None, matrix_approximation_rank=rank, start_powerSGD_iter=2, random_seed=seed
        )
        wrapped.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    else:
        averager = PeriodicModelAverager(period=every, warmup_steps=0)
        optimiser = PostLocalSGDOptimizer(optim=optimiser, averager=averager)
    dist.barrier()
    before = socket_bytes()
    size = settings.batch // seat.world
    for step in range(steps):
        rows = data.draw(seed, step, settings.batch)[seat.rank * size : (seat.rank + 1) * size]
        for group in optimiser.param_groups:
            group["lr"] = inner.rate(step)
        optimiser.zero_grad()
        wrapped(torch.from_numpy(rows)).backward()
        optimiser.step()
    dist.barrier()
    after = socket_bytes()
    with torch.no_grad():
        for one in module.parameters():
            dist.all_reduce(one)
            one.div_(seat.world)
        loss = float(module(torch.from_numpy(data.validation())))
    return loss, None if before is None or after is None else after - before


def post_local_sgd(
    pool: Pool, model: Model, data: Batches, steps: int, seed: int, settings: Settings, every: int
) -> tuple[float, float]:
    """Train with torch's PostLocalSGDOptimizer, averaging weights every `every` steps.

    Returns
    -------
    tuple of float
        Held-out loss of the average weights, and bytes that a worker sent.
    """
    return _mean(pool.run(_peer, model, data, steps, seed, settings, every, 0))


def power_sgd(
    pool: Pool, model: Model, data: Batches, steps: int, seed: int, settings: Settings, rank: int
) -> tuple[float, float]:
    """Train with DistributedDataParallel and torch's PowerSGD hook; see `post_local_sgd`.

    The first two steps are dense, as the hook asks for; the first broadcast is not counted.
    """
    return _mean(pool.run(_peer, model, data, steps, seed, settings, 1, rank))


def _mean(results: list[tuple[float, int | None]]) -> tuple[float, float]:
    sent = [wire for _, wire in results]
    known = [float(wire) for wire in sent if wire is not None]
    return results[0][0], sum(known) / len(known) if len(known) == len(sent) else float("nan")
