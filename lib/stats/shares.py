"""Intervals for one share, exact or by score, and for differences of two, paired or not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from lib.core import check
from lib.stats.intervals import Interval

__all__ = ["binomial", "independent_shares", "paired_shares"]

Bools = npt.NDArray[np.bool_]
Method: TypeAlias = Literal["exact", "wilson"]


def binomial(
    count: int,
    total: int,
    *,
    level: float = 0.95,
    null: float = 0.5,
    method: Method = "exact",
) -> Interval:
    """Return a share with its interval.

    Parameters
    ----------
    count, total : int
        ``0 <= count <= total`` and ``total >= 1``.
    level : float
        Between 0 and 1.
    null : float
        Share that `p` is of, in ``[0, 1]``.
    method : {"exact", "wilson"}
        Clopper and Pearson's interval, which holds its level at every share and is rather too
        wide; or Wilson's, of the score test, which holds it on average.

    Returns
    -------
    Interval
        Its `p` is twice the smaller tail, or that of the score test: it agrees with the interval.

    Examples
    --------
    >>> found = binomial(0, 10)
    >>> found.low, round(found.high, 4), round(found.p, 4)
    (0.0, 0.3085, 0.002)
    """
    check.integer("total", total, at_least=1)
    check.integer("count", count, at_least=0, at_most=total)
    check.share("level", level, inside=True)
    check.share("null", null)
    check.known("method", method, ("exact", "wilson"))
    test = stats.binomtest(count, total)
    low, high = (float(end) for end in test.proportion_ci(level, method=method))
    share = count / total
    if method == "exact":
        tails = stats.binom.cdf(count, total, null), stats.binom.sf(count - 1, total, null)
        p = min(1.0, 2 * float(min(tails)))
    else:
        error = math.sqrt(null * (1 - null) / total)
        p = 2 * float(stats.norm.sf(abs(share - null) / error)) if error else float(share == null)
    return Interval(share, low, high, p, total, level, null)


def paired_shares(first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """Return the difference of two shares of the same units, first minus second.

    The interval is made of Wilson's of the two and of their correlation, so it has a width where
    all are alike (Newcombe 1998, Statistics in Medicine 17, 2635-2650: method 10, uncorrected).

    Parameters
    ----------
    first, second : array_like of bool, shape (n,)
        Whether each unit has the one and the other; 0 and 1 will do.
    level : float
        Between 0 and 1.

    Returns
    -------
    Interval
        Its `p` is of no difference: one less the level at which the interval just reaches 0.

    Raises
    ------
    ValueError
        If lengths differ, are 0, or a value is neither 0 nor 1.

    Examples
    --------
    >>> found = paired_shares([1, 1, 1, 0], [0, 1, 0, 0])
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.5, -0.019, 0.736)
    """
    a, b = _truths("first", first), _truths("second", second)
    check.same_length(first=a, second=b)
    check.share("level", level, inside=True)
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    counts = int(a.sum()), int(b.sum())
    n = len(a)
    vary = math.prod((*counts, n - counts[0], n - counts[1]))
    tied = (both * neither - (counts[0] - both) * (counts[1] - both)) / math.sqrt(vary or 1)

    def ends(level: float) -> tuple[float, float]:
        first, second = ((c / n, *_ends(c, n, level, "wilson")) for c in counts)
        return _apart(first, second, tied)

    value = (counts[0] - counts[1]) / n
    low, high = ends(level)
    return Interval(value, low, high, _reaching(value, ends), n, level)


def independent_shares(
    first_count: int,
    first_total: int,
    second_count: int,
    second_total: int,
    *,
    level: float = 0.95,
    method: Method = "wilson",
) -> Interval:
    """Return the difference of two shares of different units, first minus second.

    The interval is made of those of the two shares, so it has a width where a count is 0 (Newcombe
    1998, Statistics in Medicine 17, 873-890: method 10).

    Parameters
    ----------
    first_count, first_total, second_count, second_total : int
        ``0 <= count <= total`` and ``total >= 1``.
    level : float
        Between 0 and 1.
    method : {"wilson", "exact"}
        Of the two intervals. Wilson's is Newcombe's choice and holds its level on average; where a
        total is small, say 7, it lies above 0 too often, and the exact one does not.

    Returns
    -------
    Interval
        Its `p` is of no difference: one less the level at which the interval just reaches 0; its
        `n` is of both.

    Examples
    --------
    >>> found = independent_shares(56, 70, 48, 80)
    >>> round(found.value, 3), round(found.low, 4), round(found.high, 4)
    (0.2, 0.0524, 0.3339)
    """
    counts = (first_count, first_total), (second_count, second_total)
    for name, (count, total) in zip(("first", "second"), counts, strict=True):
        check.integer(f"{name}_total", total, at_least=1)
        check.integer(f"{name}_count", count, at_least=0, at_most=total)
    check.share("level", level, inside=True)

    check.known("method", method, ("wilson", "exact"))

    def ends(level: float) -> tuple[float, float]:
        one, two = ((c / n, *_ends(c, n, level, method)) for c, n in counts)
        return _apart(one, two)

    value = first_count / first_total - second_count / second_total
    low, high = ends(level)
    n = first_total + second_total
    return Interval(value, low, high, _reaching(value, ends), n, level)


def _ends(count: int, total: int, level: float, method: Method) -> tuple[float, float]:
    """Return what `binomial` does, without its price: p-values ask for the ends at many levels."""
    tail, misses = (1 - level) / 2, total - count
    if method == "exact":
        low = float(special.betaincinv(count, misses + 1, tail)) if count else 0.0
        high = float(special.betaincinv(count + 1, misses, 1 - tail)) if misses else 1.0
        return low, high
    z = float(special.ndtri(1 - tail))
    middle, wide = (count + z * z / 2), z * math.sqrt(count * misses / total + z * z / 4)
    return max(0.0, (middle - wide) / (total + z * z)), min(1.0, (middle + wide) / (total + z * z))


def _apart(
    one: tuple[float, float, float], two: tuple[float, float, float], tied: float = 0.0
) -> tuple[float, float]:
    """Return the ends for the difference of two shares with these ends and this correlation."""

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * tied * x * y + y * y, 0.0))

    value = one[0] - two[0]
    down = reach(one[0] - one[1], two[2] - two[0])
    return value - down, value + reach(one[2] - one[0], two[0] - two[1])


def _reaching(value: float, ends: Callable[[float], tuple[float, float]]) -> float:
    """Return one less the level at which the end that is nearer to 0 reaches it."""
    if not value:
        return 1.0
    side = 0 if value > 0 else 1
    least = 1e-12
    if ends(1 - least)[side] * value > 0:
        return least
    # Exact intervals have a width at every level: none may be so low that 0 lies outside.
    if ends(least)[side] * value <= 0:
        return 1.0
    return 1 - float(optimize.brentq(lambda x: ends(x)[side], least, 1 - least))


def _truths(name: str, value: npt.ArrayLike) -> Bools:
    raw = np.asarray(value)
    numbers = raw.astype(float) if raw.dtype == bool else raw
    found = check.array(name, numbers, shape=("n",), at_least=0, at_most=1)
    if odd := [one for one in found if one not in (0, 1)]:
        raise ValueError(f"{name} holds {odd[0]}, expected 0 or 1")
    return np.asarray(found, bool)
