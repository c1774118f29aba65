"""The wire audit: what a codec claims, what is sent, and what the kernel saw leave the process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist

from lib.compute_governance.codecs import Codec, Shapes, size_of
from lib.compute_governance.lowcomm.pool import Pool, Seat
from lib.compute_governance.lowcomm.wire import loopback_bytes, make_link, socket_bytes

__all__ = ["wire_audit"]

SILENCE = 0.2
"""Seconds without any exchange, in which a quiet wire is shown to be quiet."""


def _exchange(seat: Seat, codec: Codec, shapes: Shapes, rounds: int) -> dict[str, Any]:
    """Gather a random vector `rounds` times in one worker; return its counts."""
    link = make_link(range(seat.world), seat.rank, seat.world)
    vector = torch.randn(size_of(shapes), generator=torch.Generator().manual_seed(seat.rank))
    dist.barrier()
    before_idle = socket_bytes()
    time.sleep(SILENCE)
    before, interface = socket_bytes(), loopback_bytes()
    for _ in range(rounds):
        link.gather(codec, vector, shapes)
    # Nobody leaves before all have received, so nothing is still on its way.
    dist.barrier()
    after, interface_after = socket_bytes(), loopback_bytes()
    counted = None not in (before_idle, before, after)
    return {
        "claimed": link.claimed,
        "sent": link.sent,
        "wire": after - before if counted else None,  # type: ignore[operator]
        "idle": before - before_idle if counted else None,  # type: ignore[operator]
        "interface": None
        if interface is None or interface_after is None
        else interface_after - interface,
    }


def wire_audit(
    pool: Pool, codecs: Mapping[str, Codec], shapes: Shapes, rounds: int = 5
) -> pd.DataFrame:
    """Send one random vector with every codec and count.

    Parameters
    ----------
    pool : Pool
        At least two workers.
    codecs : mapping of str to Codec
    shapes : sequence of tuple of int
        What the vector stands for; large enough that framing is small beside it.
    rounds : int
        Exchanges a codec, at least 1.

    Returns
    -------
    DataFrame
        A row a codec: ``bits`` a number by formula; ``claimed``, ``sent`` and ``wire``, bytes that
        one worker sent, mean over workers; ``idle``, bytes on the same sockets in 0.2 s of silence;
        ``ratio``, wire over claimed; ``interface``, bytes that all of ``lo`` sent meanwhile over
        what all workers claimed, with headers and everybody else's traffic. NaN where the kernel
        does not tell.

    Raises
    ------
    ValueError
        If there is one worker only or no round.
    """
    if pool.world < 2 or rounds < 1:
        raise ValueError(f"{pool.world} workers and {rounds} rounds, expected at least 2 and 1")
    rows = {}
    for name, codec in codecs.items():
        parts = pd.DataFrame(pool.run(_exchange, codec, list(shapes), rounds)).astype(float)
        mean = parts.mean()
        rows[name] = {
            "bits": 8 * codec.nbytes(shapes) / size_of(shapes),
            "claimed": mean["claimed"],
            "sent": mean["sent"],
            "wire": mean["wire"],
            "idle": mean["idle"],
            "ratio": mean["wire"] / mean["claimed"],
            # The interface is one for all: the longest look saw the most.
            "interface": parts["interface"].max() / parts["claimed"].sum(),
        }
    return pd.DataFrame(rows).T
