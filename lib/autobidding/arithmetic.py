"""Exact and floating numbers, and the one comparison that both share.

Fractions are compared as they are. Floats are compared up to a share of the numbers themselves,
so that the answer does not depend on the unit of money, weight or probability.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.core import check

Array = npt.NDArray[Any]
"""A float64 array, or an object array of :class:`fractions.Fraction` (exact mode)."""

Floats = npt.NDArray[np.float64]
Number = int | float | Fraction

TOLERANCE = 1e-9
"""Share of the larger number below which a difference of floats is rounding."""


def as_exact(values: Any) -> Array:
    """Return ``values`` as an object array of fractions, without rounding.

    Parameters
    ----------
    values : array_like of int, str or Fraction
        Strings may be decimal (``"0.2"``) or a ratio (``"1/3"``). Floats are refused: the float
        0.1 is not one tenth.

    Returns
    -------
    ndarray of Fraction
        Same shape as ``values``.

    Raises
    ------
    TypeError
        On a float, whose exact value is hardly ever the one that was meant.
    ValueError
        On a text that is no number.

    Examples
    --------
    >>> as_exact(["0.2", "1/3", 1]).tolist()
    [Fraction(1, 5), Fraction(1, 3), Fraction(1, 1)]
    """
    raw = np.asarray(values, dtype=object)
    out = np.empty(raw.shape, dtype=object)
    for index, value in np.ndenumerate(raw):
        if isinstance(value, float | np.floating):
            raise TypeError(
                f"exact mode takes int, str or Fraction, got the float {value!r} at {index}; "
                f"write it as a string, e.g. '{value}'"
            )
        out[index] = Fraction(int(value)) if isinstance(value, np.integer) else Fraction(value)
    return out


def is_exact(*arrays: Any) -> bool:
    """Whether the elements are fractions: all of them rational, and one a Fraction at least.

    What the array is called (its dtype) does not count: tables of mixed columns hold floats as
    objects. Whole numbers alone are floats, as everywhere in NumPy.

    Examples
    --------
    >>> is_exact(np.array([0.5, 1], dtype=object)), is_exact([Fraction(1, 2)], [1, 2])
    (False, True)
    """
    if any(np.asarray(a).dtype.kind == "f" for a in arrays):
        return False
    elements = [x for a in arrays for x in np.asarray(a, dtype=object).ravel()]
    return any(isinstance(x, Fraction) for x in elements) and all(
        isinstance(x, numbers.Rational | np.integer) and not isinstance(x, bool) for x in elements
    )


def exceeds(left: Any, right: Any, *scale: Any) -> Any:
    """Whether ``left`` is above ``right`` by more than rounding; element by element for arrays.

    Parameters
    ----------
    left, right : number or array
        Fractions and ints are compared exactly.
    *scale : number or array
        Further numbers that went into either side, where these are differences of larger ones.

    Examples
    --------
    >>> exceeds(9e-10, 1e-10), exceeds(1 + 1e-12, 1.0), exceeds(1 + 1e-12, 1.0, 1e-9)
    (True, False, False)
    >>> exceeds(Fraction(1, 10**20), Fraction(0))
    True
    """
    if isinstance(left, Fraction | int) and isinstance(right, Fraction | int):
        return left > right
    if isinstance(left, float) and isinstance(right, float):  # the inner loops, in floats
        size = max(abs(left), abs(right), *map(abs, scale))
        return bool(left - right > TOLERANCE * size) if math.isfinite(size) else left > right
    a, b = np.asarray(left), np.asarray(right)
    if a.dtype == object and is_exact(a) and (b.dtype.kind in "iu" or b.dtype == object):
        return a > b
    sizes = [np.abs(np.asarray(x, dtype=float)) for x in (left, right, *scale)]
    size = sizes[0]
    for other in sizes[1:]:
        size = np.maximum(size, other)
    # An infinite limit is above everything, and no rounding away from anything.
    slack = TOLERANCE * np.where(np.isfinite(size), size, 0.0)
    above = a.astype(float) > b.astype(float) + slack
    return bool(above) if above.ndim == 0 else above


def number(name: str, value: Any, *, exact: bool) -> Any:
    """Bring a number into a market's arithmetic: a fraction, or a float.

    Raises
    ------
    TypeError
        On a float in an exact market.
    ValueError
        On what is no finite real number.
    """
    if not exact:
        return check.number(name, value)
    if isinstance(value, float | np.floating):
        raise TypeError(f"{name} is the float {value!r}; expected an int or a Fraction here")
    check.number(name, value)
    return Fraction(int(value)) if isinstance(value, np.integer) else Fraction(value)


def vector(name: str, values: Sequence[Any] | Array, length: int, *, exact: bool) -> Array:
    """Bring one number for each of ``length`` things into a market's arithmetic.

    Raises
    ------
    TypeError, ValueError
        As :func:`number`, naming the element; and on another length.
    """
    check.array(name, values, shape=(length,))
    found = [number(f"{name}[{i}]", v, exact=exact) for i, v in enumerate(values)]
    return np.array(found, dtype=object if exact else float)
