"""What crosses the wire: exchanges that send packed bytes, and the kernel's own count of them.

Three numbers are kept apart. *Claimed*: the codec's formula times how often a worker hands its
payload on. *Sent*: the same with the length of the tensors given to torch.distributed. *Wire*: what
Linux says that this process's own TCP sockets have sent (``TCP_INFO``, field ``bytes_sent`` less
retransmissions). The last counts the bytes of the TCP streams of this process and nothing else: the
framing of gloo is in it, IP and TCP headers are not, and no other process can disturb it, as it
would a counter of a whole interface such as ``/proc/net/dev``.

In a ring all-gather each of W workers hands on W - 1 payloads; in a ring all-reduce of n floats it
sends 2 (W - 1) / W times 4n bytes; a swap sends one payload.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from lib.compute_governance.codecs import Codec, Shapes

__all__ = ["Link", "WireError", "guard", "make_link", "socket_bytes"]

# Offsets in struct tcp_info of linux/tcp.h; fields are only ever appended to it.
_ACKED, _RECEIVED, _SENT = 120, 128, 200
_END = _SENT + 16


class WireError(RuntimeError):
    """An exchange failed: another worker is gone or did not answer in time."""


def _tcp_sockets() -> Iterator[socket.socket]:
    """Yield a copy of every connected TCP socket of this process."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as copy:
                tcp = copy.family in (socket.AF_INET, socket.AF_INET6)
                # gloo ends the process when its listening socket fails.
                if tcp and not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield copy
        except OSError:  # closed meanwhile, or not TCP
            continue


def socket_bytes() -> int | None:
    """Return the bytes that this process's open TCP sockets have sent, or None if not Linux.

    Sockets that were closed take their count with them, so take differences around work that
    closes none.

    Examples
    --------
    >>> import sys
    >>> (socket_bytes() is None) == (sys.platform != "linux")
    True
    """
    if sys.platform != "linux":
        return None
    total = 0
    for one in _tcp_sockets():
        try:
            info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:
            continue
        if len(info) >= _END:
            sent, again = struct.unpack_from("QQ", info, _SENT)
            total += sent - again
        elif len(info) >= _RECEIVED:  # Linux before 4.19
            total += struct.unpack_from("Q", info, _ACKED)[0]
    return total


@dataclass
class Link:
    """The exchanges of one worker with some others, and what they cost.

    Parameters
    ----------
    members : tuple of int
        Ranks that take part, in order; this worker is one of them.
    rank : int
        This worker.
    group : process group, optional
        None for all workers, or when there is only one member.

    Attributes
    ----------
    claimed, sent : float
        Bytes so far, see the module.
    exchanges : int
        How many.
    """

    members: tuple[int, ...]
    rank: int
    group: dist.ProcessGroup | None = None
    claimed: float = 0.0
    sent: float = 0.0
    exchanges: int = 0

    @property
    def size(self) -> int:
        """How many take part."""
        return len(self.members)

    def count(self, copies: float, claimed: int, sent: int) -> None:
        """Enter an exchange in the books: how often its payload was handed on, and its bytes."""
        self.claimed += copies * claimed
        self.sent += copies * sent
        self.exchanges += 1

    def sum(self, vector: Tensor) -> None:
        """Add up a vector over the members, in place, by a ring all-reduce of 32-bit floats."""
        if self.size == 1:
            return
        packed = vector.float()
        guard(lambda: dist.all_reduce(packed, group=self.group))
        vector.copy_(packed)
        dense = 4 * vector.numel()
        self.count(2 * (self.size - 1) / self.size, dense, dense)

    def mean(self, vector: Tensor) -> Tensor:
        """Return the members' average of a vector; see `sum`."""
        total = vector.clone()
        self.sum(total)
        return total / self.size

    def average(self, vector: Tensor) -> Tensor:
        """Return the members' average in full precision, off the books: for a judgement."""
        total = vector.clone()
        if self.size > 1:
            guard(lambda: dist.all_reduce(total, group=self.group))
        return total / self.size

    def gather(self, codec: Codec, vector: Tensor, shapes: Shapes) -> list[Tensor]:
        """Send a vector to all members as the codec packs it; return theirs, decoded, in order.

        This worker's own one comes back decoded too, so that all members hold the same numbers.
        """
        payload = codec.encode(vector.float(), shapes)
        if self.size == 1:
            return [codec.decode(payload, shapes).to(vector.dtype)]
        received = [torch.empty_like(payload) for _ in self.members]
        guard(lambda: dist.all_gather(received, payload, group=self.group))
        self.count(self.size - 1, codec.nbytes(shapes), payload.numel())
        return [codec.decode(one, shapes).to(vector.dtype) for one in received]


def guard(exchange: Callable[[], object]) -> None:
    """Run an exchange; its failure is another worker's (`WireError`)."""
    try:
        exchange()
    except RuntimeError as error:
        raise WireError(
            f"an exchange failed, another worker is gone or silent: {str(error).splitlines()[0]}"
        ) from error


def make_link(members: Sequence[int], rank: int, world: int) -> Link:
    """Return the link of some ranks; every worker must call it, in the same order.

    Parameters
    ----------
    members : sequence of int
        Ranks below `world`, increasing.
    rank : int
        The caller, a member or not.
    world : int
        All workers.
    """
    everyone = len(members) == world
    group = None if everyone or len(members) == 1 else dist.new_group(list(members))
    # A worker that is no member gets a token instead of a group, and no use for it.
    usable = group if rank in members and not everyone and len(members) > 1 else None
    return Link(tuple(members), rank, usable)
