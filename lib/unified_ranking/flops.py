"""What a request costs: one definition of FLOPs, and where one model is cheaper than two.

Counted are forward multiply-adds, times two, of one request (arXiv 2606.00422, section on serving,
does not state its own count). A layer of width d spends 24 d² on each position (6 d² on query, key
and value, 2 d² on the output, 16 d² on a feed-forward part of width 4d) and 4 d on each pair that
attends. Pairs that the mask forbids, look-ups, norms, heads and the embedder count nothing. With
``pairs="rectangle"`` the forbidden pairs count too, as a kernel without a mask has it.

Let E(n) be the cost of encoding a history and D(n, k) that of decoding k candidates on it. Unified
serving pays E + D, two models pay 2 E + D: the saving is E(n), whatever k and D are. With attention
neglected the ratio is (2n + k)/(n + k), which goes to 1 as k grows and to 2 as n does.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

from lib.core import check

__all__ = [
    "Pairs",
    "cache_bytes",
    "crossover",
    "decode",
    "encode",
    "prefill",
    "saved_seconds",
    "separate_over_unified",
    "token_ratio",
]

Pairs = Literal["useful", "rectangle"]


def _shape(d: int, layers: int, pairs: Pairs) -> None:
    check.integer("d", d, at_least=1)
    check.integer("layers", layers, at_least=1)
    check.known("pairs", pairs, get_args(Pairs))


def _cost(positions: int, attended: int, d: int, layers: int) -> int:
    return layers * (24 * d * d * positions + 4 * d * attended)


def encode(n: int, d: int, layers: int, *, pairs: Pairs = "useful") -> int:
    """Return the FLOPs of encoding a history, E(n).

    Parameters
    ----------
    n : int
        Positions of the history, at least 1.
    d, layers : int
        Width and depth.
    pairs : {"useful", "rectangle"}
        n(n + 1)/2 pairs, or n².

    Examples
    --------
    >>> encode(2, d=1, layers=1), encode(2, d=1, layers=1, pairs="rectangle")
    (60, 64)
    """
    n = check.integer("n", n, at_least=1)
    _shape(d, layers, pairs)
    return _cost(n, n * (n + 1) // 2 if pairs == "useful" else n * n, d, layers)


def decode(n: int, k: int, d: int, layers: int) -> int:
    """Return the FLOPs of decoding candidates on a cached history, D(n, k).

    Each attends to n + 1 positions, none of which is masked.

    Parameters
    ----------
    n, k : int
        Positions of the history, and candidates; at least 1.
    d, layers : int

    Examples
    --------
    >>> decode(2, 3, d=1, layers=1)
    108
    """
    n, k = check.integer("n", n, at_least=1), check.integer("k", k, at_least=1)
    _shape(d, layers, "useful")
    return _cost(k, k * (n + 1), d, layers)


def prefill(n: int, k: int, d: int, layers: int, *, pairs: Pairs = "useful") -> int:
    """Return the FLOPs of ranking without a cache: history and candidates in one pass.

    With useful pairs this is ``encode + decode``; the rectangle has (n + k)² pairs.

    Examples
    --------
    >>> prefill(2, 3, 1, 1) == encode(2, 1, 1) + decode(2, 3, 1, 1)
    True
    """
    n, k = check.integer("n", n, at_least=1), check.integer("k", k, at_least=1)
    _shape(d, layers, pairs)
    if pairs == "rectangle":
        return _cost(n + k, (n + k) ** 2, d, layers)
    return encode(n, d, layers) + decode(n, k, d, layers)


def separate_over_unified(n: int, k: int, d: int, layers: int, *, pairs: Pairs = "useful") -> float:
    """Return the FLOPs of two models over those of one.

    Two: a retrieval model encodes, a ranking model of the same shape runs its own prefill. One:
    encode once and decode on the cache.

    Parameters
    ----------
    n, k : int
        Positions of the history, and candidates; at least 1.
    d, layers : int
    pairs : {"useful", "rectangle"}

    Examples
    --------
    >>> round(separate_over_unified(992, 656, d=1024, layers=12), 2)
    1.58
    """
    first = encode(n, d, layers, pairs=pairs)
    two = first + prefill(n, k, d, layers, pairs=pairs)
    return two / (first + decode(n, k, d, layers))


def token_ratio(n: int, k: int) -> float:
    """Return (2n + k)/(n + k): two models over one where only positions are counted.

    Examples
    --------
    >>> round(token_ratio(992, 656), 3)
    1.602
    """
    n, k = check.integer("n", n, at_least=1), check.integer("k", k, at_least=1)
    return (2 * n + k) / (n + k)


def cache_bytes(n: int, d: int, layers: int, *, bytes_each: int = 2) -> int:
    """Return the bytes of one user's keys and values.

    Parameters
    ----------
    n, d, layers : int
    bytes_each : int
        Of a number: 2 for bf16, 4 for float32, 1 for FP8.

    Examples
    --------
    >>> cache_bytes(992, 256, 12)
    12189696
    """
    n = check.integer("n", n, at_least=1)
    _shape(d, layers, "useful")
    return 2 * layers * n * d * check.integer("bytes_each", bytes_each, at_least=1)


def saved_seconds(
    n: int,
    d: int,
    layers: int,
    *,
    flops_per_second: float,
    bytes_per_second: float,
    fixed_seconds: float,
    bytes_each: int = 4,
) -> float:
    """Return what a request gains from one model: the encoding saved less the price of sharing.

    Sharing writes the cache and reads it, 2 · `cache_bytes`, and takes a fixed time a request
    (slot, ticket, one more call). The number of candidates has no part in it.

    Parameters
    ----------
    n, d, layers : int
    flops_per_second, bytes_per_second : float
        Measured rates, positive.
    fixed_seconds : float
        Nonnegative.
    bytes_each : int

    Returns
    -------
    float
        Seconds a request; negative where two models are quicker.

    Examples
    --------
    >>> round(saved_seconds(1, 1, 1, flops_per_second=28, bytes_per_second=16, fixed_seconds=0), 3)
    0.0
    """
    speed = check.number("flops_per_second", flops_per_second, above=0)
    width = check.number("bytes_per_second", bytes_per_second, above=0)
    fixed = check.number("fixed_seconds", fixed_seconds, at_least=0)
    moved = 2 * cache_bytes(n, d, layers, bytes_each=bytes_each)
    return encode(n, d, layers) / speed - moved / width - fixed


def crossover(
    d: int,
    layers: int,
    *,
    flops_per_second: float,
    bytes_per_second: float,
    fixed_seconds: float,
    bytes_each: int = 4,
) -> int:
    """Return the shortest history from which on one model is quicker than two.

    `saved_seconds` a position, layer and width is (24 d + 2(n + 1))/F − 4·bytes/B, which grows with
    n; so the saving, once positive, stays so. It solves 2Ld·n² + L(24d² + 2d − 4d·bytes·F/B)·n =
    fixed·F for n and takes the next whole number.

    Parameters
    ----------
    d, layers : int
    flops_per_second, bytes_per_second, fixed_seconds, bytes_each
        See `saved_seconds`.

    Returns
    -------
    int
        Positions, at least 1: `saved_seconds` is at least 0 there and, if it is above 1, negative
        just before.

    Examples
    --------
    >>> crossover(64, 2, flops_per_second=2e10, bytes_per_second=4e9, fixed_seconds=1e-3)
    95
    """
    given = {
        "flops_per_second": flops_per_second,
        "bytes_per_second": bytes_per_second,
        "fixed_seconds": fixed_seconds,
        "bytes_each": bytes_each,
    }
    saved_seconds(1, d, layers, **given)  # type: ignore[arg-type]  # refuses what is no number
    square = 2.0 * layers * d
    price = 4.0 * d * bytes_each * flops_per_second / bytes_per_second
    linear = layers * (24.0 * d * d + 2 * d - price)
    root = math.sqrt(linear**2 + 4 * square * fixed_seconds * flops_per_second)
    # The other form of the root, where subtracting would cancel.
    half = 2 * fixed_seconds * flops_per_second
    found = half / (linear + root) if linear > 0 else (root - linear) / (2 * square)
    n = max(1, math.floor(found))
    while saved_seconds(n, d, layers, **given) < 0:  # type: ignore[arg-type]
        n += 1
    return n
