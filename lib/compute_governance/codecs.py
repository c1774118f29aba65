"""Codecs: a float vector goes in, the packed bytes that are really sent come out.

Each codec turns a vector of `n` 32-bit floats into a ``uint8`` tensor and back. Its `Codec.nbytes`
is a formula, not a measurement: it says what is claimed, the length of the payload is what is
sent, and the tests and the wire audit compare the two (see ``lowcomm.wire``).

What is published about such codecs: block quantisation and top-k in arXiv 2501.18512 and
2508.15706, error feedback in arXiv 1901.09847.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib.core import check

__all__ = ["Codec", "Fp16", "Fp32", "Int4", "Int8", "Shapes", "TopK", "size_of"]

Shapes = Sequence[tuple[int, ...]]
"""The shapes of the tensors whose entries, one after another, make up a vector."""


def size_of(shapes: Shapes) -> int:
    """Return how many numbers tensors of these shapes hold.

    Examples
    --------
    >>> size_of([(3, 4), (5,)])
    17
    """
    return sum(math.prod(shape) for shape in shapes)


def _bytes(values: Tensor) -> Tensor:
    """Return the memory of a tensor as ``uint8``, without a copy."""
    return values.contiguous().reshape(-1).view(torch.uint8)


def _top(part: Tensor) -> Tensor:
    """Return the largest size in a tensor; 0 for an empty one."""
    return part.abs().max() if len(part) else part.new_zeros(())


def _floats(payload: Tensor, kind: torch.dtype) -> Tensor:
    # A slice of a payload may start at any byte; a copy is aligned.
    return payload.clone().view(kind).to(torch.float32)


class Codec(ABC):
    """What every codec does. Subclasses give `_encode`, `_decode` and `nbytes`.

    Examples
    --------
    >>> codec = Int8()
    >>> payload = codec.encode(torch.tensor([1.0, -0.5, 0.25]))
    >>> payload.dtype, len(payload), codec.nbytes([(3,)])
    (torch.uint8, 7, 7)
    >>> codec.decode(payload, [(3,)])
    tensor([ 1.0000, -0.5039,  0.2520])
    """

    whole_tensors = False
    """Whether it needs whole tensors, so that no fragment may cut through them."""

    def encode(self, vector: Tensor, shapes: Shapes | None = None) -> Tensor:
        """Pack a vector.

        Parameters
        ----------
        vector : Tensor, shape (n,)
            Finite 32-bit floats, `n` at least 1.
        shapes : sequence of tuple of int, optional
            Shapes of the tensors that make it up; by default one tensor of shape ``(n,)``.

        Returns
        -------
        Tensor, shape (nbytes,)
            ``uint8``, on the device of the vector.

        Raises
        ------
        ValueError
            If the vector is empty, not a float32 vector, not finite, or does not fit the shapes.
        """
        if vector.ndim != 1 or vector.dtype != torch.float32 or len(vector) == 0:
            raise ValueError(
                f"vector is {vector.dtype} of shape {tuple(vector.shape)}, expected a float32 "
                "vector that is not empty"
            )
        shapes = [tuple(vector.shape)] if shapes is None else shapes
        if size_of(shapes) != len(vector):
            raise ValueError(f"{len(vector)} numbers do not fill shapes of {size_of(shapes)}")
        if not bool(torch.isfinite(vector).all()):
            raise ValueError(
                f"{int((~torch.isfinite(vector)).sum())} of {len(vector)} numbers are not finite; "
                "the training has diverged"
            )
        return self._encode(vector, shapes)

    def decode(self, payload: Tensor, shapes: Shapes) -> Tensor:
        """Unpack what `encode` has packed.

        Raises
        ------
        ValueError
            If the payload is not ``uint8`` or has not the length of these shapes.
        """
        if payload.dtype != torch.uint8 or tuple(payload.shape) != (self.nbytes(shapes),):
            raise ValueError(
                f"{self}: the payload is {payload.dtype} of shape {tuple(payload.shape)}, expected "
                f"uint8 of shape ({self.nbytes(shapes)},): truncated, or of another codec"
            )
        return self._decode(payload, shapes)

    @abstractmethod
    def nbytes(self, shapes: Shapes) -> int:
        """Return the length of the payload in bytes, from the shapes alone."""

    @abstractmethod
    def _encode(self, vector: Tensor, shapes: Shapes) -> Tensor: ...

    @abstractmethod
    def _decode(self, payload: Tensor, shapes: Shapes) -> Tensor: ...


@dataclass(frozen=True)
class Fp32(Codec):
    """The floats as they are: 4 bytes a number, nothing lost."""

    def nbytes(self, shapes: Shapes) -> int:
        """Return 4n."""
        return 4 * size_of(shapes)

    def _encode(self, vector: Tensor, shapes: Shapes) -> Tensor:
        return _bytes(vector.clone())

    def _decode(self, payload: Tensor, shapes: Shapes) -> Tensor:
        return _floats(payload, torch.float32)


@dataclass(frozen=True)
class Fp16(Codec):
    """IEEE half precision: 2 bytes a number.

    The error is at most 2^-11 of the number, or 2^-25 where that is larger. What is beyond the
    largest half (65,504) is cut to it, and what is below 2^-25 is sent as zero: there is no scale.
    """

    def nbytes(self, shapes: Shapes) -> int:
        """Return 2n."""
        return 2 * size_of(shapes)

    def _encode(self, vector: Tensor, shapes: Shapes) -> Tensor:
        top = torch.finfo(torch.float16).max
        return _bytes(vector.clamp(-top, top).to(torch.float16))

    def _decode(self, payload: Tensor, shapes: Shapes) -> Tensor:
        return _floats(payload, torch.float16)


@dataclass(frozen=True)
class Int8(Codec):
    """One scale a tensor, 255 levels, rounded to the nearest: n + 4 bytes a tensor.

    The error is at most half a level of its own tensor, max|x| / 254: with one scale for a whole
    model a small tensor beside a large one would be sent as zeros.
    """

    def nbytes(self, shapes: Shapes) -> int:
        """Return n + 4 for every tensor."""
        return size_of(shapes) + 4 * len(shapes)

    def _encode(self, vector: Tensor, shapes: Shapes) -> Tensor:
        parts = torch.split(vector, [size_of([shape]) for shape in shapes])
        scale = torch.stack([_top(part) / 127 for part in parts])
        each = self._spread(scale, shapes)
        levels = torch.where(each > 0, vector / each, 0).round().clamp(-127, 127)
        return torch.cat([_bytes(scale), _bytes(levels.to(torch.int8))])

    def _decode(self, payload: Tensor, shapes: Shapes) -> Tensor:
        head = 4 * len(shapes)
        scale = _floats(payload[:head], torch.float32)
        return payload[head:].view(torch.int8).to(torch.float32) * self._spread(scale, shapes)

    @staticmethod
    def _spread(scale: Tensor, shapes: Shapes) -> Tensor:
        counts = torch.tensor([size_of([shape]) for shape in shapes], device=scale.device)
        return scale.repeat_interleave(counts)


@dataclass(frozen=True)
class Int4(Codec):
    """One scale a block, 15 levels, two numbers a byte: ceil(n / 2) + 4 bytes a block.

    Blocks start anew at each tensor, so that a small one beside a large one keeps its numbers. The
    error in a block is at most half a level, max|x| / 14.

    Parameters
    ----------
    block : int
        Numbers that share a scale, even and at least 2.
    """

    block: int = 256

    def __post_init__(self) -> None:
        if check.integer("block", self.block, at_least=2) % 2:
            raise ValueError(f"block is {self.block}, expected an even number of at least 2")

    def nbytes(self, shapes: Shapes) -> int:
        """Return ceil(n / 2) and, for every tensor, 4 ceil(its numbers / block)."""
        return -(-size_of(shapes) // 2) + 4 * self._count(shapes)

    def _count(self, shapes: Shapes) -> int:
        return sum(-(-size_of([shape]) // self.block) for shape in shapes)

    def _blocks(self, shapes: Shapes, device: torch.device) -> Tensor:
        """Return the block of every number."""
        parts, first = [], 0
        for shape in shapes:
            parts.append(first + torch.arange(size_of([shape]), device=device) // self.block)
            first += self._count([shape])
        return torch.cat(parts)

    def _encode(self, vector: Tensor, shapes: Shapes) -> Tensor:
        blocks = self._blocks(shapes, vector.device)
        top = vector.new_zeros(self._count(shapes))
        scale = top.scatter_reduce(0, blocks, vector.abs(), "amax") / 7
        each = scale[blocks]
        levels = torch.where(each > 0, vector / each, 0).round().clamp(-7, 7)
        codes = (levels + 8).to(torch.uint8)
        codes = torch.cat([codes, codes.new_zeros(len(codes) % 2)])
        return torch.cat([_bytes(scale), codes[0::2] << 4 | codes[1::2]])

    def _decode(self, payload: Tensor, shapes: Shapes) -> Tensor:
        head = 4 * self._count(shapes)
        scale = _floats(payload[:head], torch.float32)
        packed = payload[head:]
        codes = torch.stack([packed >> 4, packed & 15], dim=1).reshape(-1)[: size_of(shapes)]
        levels = codes.to(torch.float32) - 8
        return levels * scale[self._blocks(shapes, payload.device)]


@dataclass(frozen=True)
class TopK(Codec):
    """The k = ceil(fraction n) numbers of largest size, as halves with 32-bit places: 6k + 4 bytes.

    The error has at most sqrt(1 - k / n) times the vector's norm, but for the rounding to halves.
    All share one scale, a power of two, so that vectors of any size keep their numbers.

    Parameters
    ----------
    fraction : float
        In (0, 1].
    """

    fraction: float = 0.05

    def __post_init__(self) -> None:
        check.number("fraction", check.share("fraction", self.fraction), above=0)

    def _kept(self, n: int) -> int:
        return math.ceil(self.fraction * n)

    def nbytes(self, shapes: Shapes) -> int:
        """Return 6 ceil(fraction n) + 4."""
        return 6 * self._kept(size_of(shapes)) + 4

    def _encode(self, vector: Tensor, shapes: Shapes) -> Tensor:
        places = vector.abs().topk(self._kept(len(vector))).indices.sort().values
        # A power of two changes no rounding; with it the largest lies between 2^14 and 2^15.
        power = (torch.frexp(_top(vector)).exponent - 15).clamp(-126)
        scale = vector.new_ones(1).ldexp(power)
        values = (vector[places] / scale).to(torch.float16)
        return torch.cat([_bytes(scale), _bytes(places.to(torch.int32)), _bytes(values)])

    def _decode(self, payload: Tensor, shapes: Shapes) -> Tensor:
        scale, payload = _floats(payload[:4], torch.float32), payload[4:]
        kept = len(payload) // 6
        places = payload[: 4 * kept].clone().view(torch.int32).long()
        n = size_of(shapes)
        if bool(((places < 0) | (places >= n)).any()):
            raise ValueError(f"{self}: the payload names places outside of 0 to {n - 1}: altered")
        values = _floats(payload[4 * kept :], torch.float16) * scale
        return torch.zeros(n, device=payload.device).index_put((places,), values)
