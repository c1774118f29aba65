"""Checks of input for every public door of `lib`: refuse before computing, and say what is wrong.

Every function takes the name of the argument and its value, returns the value in the form to go on
with, and raises a `ValueError` that says the name, the value and what was expected. A positive
number is one with ``above=0``.

>>> from lib.core import check
>>> check.number("rate", "0.1", above=0)
Traceback (most recent call last):
    ...
ValueError: rate is '0.1', expected a finite number above 0
"""

from __future__ import annotations

import difflib
import numbers
import operator
from collections.abc import Hashable, Iterable, Mapping, Sized
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack

import numpy as np
import numpy.typing as npt

__all__ = [
    "array",
    "columns",
    "integer",
    "integers",
    "known",
    "number",
    "ordered",
    "same_length",
    "share",
    "shares",
    "text",
    "unique",
]

Shape: TypeAlias = tuple[int | str, ...]
T = TypeVar("T")


class Bounds(TypedDict, total=False):
    """Limits for each number; ``above=0`` means positive."""

    above: float
    at_least: float
    below: float
    at_most: float


_COMPARE = {
    "above": operator.gt,
    "at_least": operator.ge,
    "below": operator.lt,
    "at_most": operator.le,
}


def array(
    name: str,
    value: object,
    *,
    shape: Shape | None = None,
    empty: bool = False,
    **bounds: Unpack[Bounds],
) -> npt.NDArray[np.float64]:
    """Return finite numbers as a float array.

    Parameters
    ----------
    name : str
        What the caller calls the argument.
    value : array_like
        Numbers; no text, truth values, missing or complex numbers.
    shape : tuple of int or str, optional
        What is expected: an int is a length, a text names a free one, and the same text twice
        means the same length, as in ``("n", "n")``.
    empty : bool
        Whether no number at all will do.
    **bounds : float
        Any of ``above``, ``at_least``, ``below``, ``at_most``, for each number.

    Returns
    -------
    ndarray of float
        The input itself where it has this form already.

    Raises
    ------
    ValueError
        If the value is none of the above; the first wrong element is named.

    Examples
    --------
    >>> array("scores", [1, 2.5], shape=("n",), at_least=0)
    array([1. , 2.5])
    >>> array("scores", [1, float("nan")])
    Traceback (most recent call last):
        ...
    ValueError: scores[1] is nan, expected a finite number
    """
    return _numbers(name, value, "a finite number" + _words(bounds), shape, empty, bounds)


def number(name: str, value: object, **bounds: Unpack[Bounds]) -> float:
    """Return one finite number within bounds; see `array`."""
    return float(array(name, value, shape=(), **bounds))


def integers(
    name: str,
    value: object,
    *,
    shape: Shape | None = None,
    empty: bool = False,
    **bounds: Unpack[Bounds],
) -> npt.NDArray[np.int64]:
    """Return whole numbers as an integer array; 2.0 is one, and 1.9 is not cut to 1. See `array`.

    Examples
    --------
    >>> integers("rows", [0, 2.0])
    array([0, 2])
    >>> integers("rows", [0, 1.9])
    Traceback (most recent call last):
        ...
    ValueError: rows[1] is 1.9, expected a whole number
    """
    expected = "a whole number" + _words(bounds)
    found = _numbers(name, value, expected, shape, empty, bounds)
    _demand(name, found, (found == np.trunc(found)) & (np.abs(found) < 2.0**63), expected)
    return np.asarray(value).astype(np.int64)


def integer(name: str, value: object, **bounds: Unpack[Bounds]) -> int:
    """Return one whole number within bounds; 2.0 is one, and 1.9 is not cut to 1.

    Examples
    --------
    >>> integer("k", 2.0, at_least=1), integer("seed", 2**64 + 1)
    (2, 18446744073709551617)
    """
    expected = "a whole number" + _words(bounds)
    found = _numbers(name, value, expected, (), False, bounds)
    _demand(name, found, found == np.trunc(found), expected)
    return int(value)  # type: ignore[call-overload,no-any-return]  # a float would lose digits


def shares(
    name: str,
    value: object,
    *,
    inside: bool = False,
    shape: Shape | None = None,
    empty: bool = False,
) -> npt.NDArray[np.float64]:
    """Return shares from 0 to 1, strictly between them where `inside`; no per cents. See `array`.

    Examples
    --------
    >>> shares("rates", [0.5, 95])
    Traceback (most recent call last):
        ...
    ValueError: rates[1] is 95.0, expected a share from 0 to 1 (a per cent divided by 100)
    """
    bounds: Bounds = {"above": 0, "below": 1} if inside else {"at_least": 0, "at_most": 1}
    range_ = "between 0 and 1" if inside else "from 0 to 1"
    expected = f"a share {range_} (a per cent divided by 100)"
    return _numbers(name, value, expected, shape, empty, bounds)


def share(name: str, value: object, *, inside: bool = False) -> float:
    """Return one share from 0 to 1, strictly between them where `inside` (a confidence level)."""
    return float(shares(name, value, shape=(), inside=inside))


def ordered(name: str, value: Iterable[Any], *, ties: bool = True) -> npt.NDArray[Any]:
    """Return times (or numbers) if none comes before the one ahead of it.

    Parameters
    ----------
    name : str
        What the caller calls the argument.
    value : one-dimensional array_like
        Numbers, datetimes or NumPy times; an empty one is in order.
    ties : bool
        Whether equal neighbours will do.

    Examples
    --------
    >>> ordered("days", [1, 3, 2])
    Traceback (most recent call last):
        ...
    ValueError: days[2] is 2, expected a time from 3 on (ascending)
    """
    times = _raw(name, value, ("n",))
    try:
        odd = times != times  # NaN and NaT
        late = times[1:] >= times[:-1] if ties else times[1:] > times[:-1]
    except TypeError:
        raise ValueError(f"{name} holds what cannot be compared, expected times") from None
    if times.dtype.kind not in "iufM":
        odd |= [isinstance(one, str | bytes | bool | np.bool_ | None) for one in times]
    _demand(name, times, ~odd, "a time or a number")
    for index in np.flatnonzero(~late):
        wanted = f"a time {'from' if ties else 'after'} {times[index]} on (ascending)"
        raise _wrong(name, (int(index) + 1,), times[index + 1], wanted)
    return times


def unique(name: str, value: Iterable[T]) -> tuple[T, ...]:
    """Return the values if none comes twice.

    Examples
    --------
    >>> unique("ids", ["a", "b", "a"])
    Traceback (most recent call last):
        ...
    ValueError: ids[2] is 'a', expected each value once (ids[0] is the same)
    """
    first: dict[T, int] = {}
    for index, one in enumerate(value):
        if not isinstance(one, Hashable):
            raise _wrong(name, (index,), one, "a value that can be compared with the others")
        if first.setdefault(one, index) != index:
            raise _wrong(name, (index,), one, f"each value once ({name}[{first[one]}] is the same)")
    return tuple(first)


def known(name: str, value: object, options: Iterable[T]) -> T:
    """Return the one of the options that the value is; the error names the closest.

    Examples
    --------
    >>> known("backend", "dusk", ("loky", "dask"))
    Traceback (most recent call last):
        ...
    ValueError: backend is 'dusk', expected one of: loky, dask; did you mean 'dask'?
    """
    there = list(options)
    for option in there:
        if type(option) is type(value) and option == value:
            return option
    names = [str(option) for option in there]
    shown = ", ".join(names[:20] or ["(no options)"]) + (
        f" … ({len(names)} in all)" if len(names) > 20 else ""
    )
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    advice = f"; did you mean {close[0]!r}?" if close else ""
    raise _wrong(name, (), value, f"one of: {shown}{advice}")


def columns(name: str, frame: Any, wanted: Iterable[str]) -> None:
    """Refuse a table that lacks a column, or has it twice.

    The error names the closest of those it has.

    Examples
    --------
    >>> import pandas as pd
    >>> columns("ratings", pd.DataFrame({"user": [1], "items": [2]}), ["user", "item"])
    Traceback (most recent call last):
        ...
    ValueError: ratings: column is 'item', expected one of: user, items; did you mean 'items'?
    """
    for column in wanted:
        if not hasattr(frame, "columns"):
            raise _wrong(name, (), frame, f"a table with a column {column!r}")
        known(f"{name}: column", column, frame.columns)
        if (copies := list(frame.columns).count(column)) > 1:
            raise ValueError(f"{name} has {copies} columns {column!r}, expected one")


def same_length(**values: Sized) -> int:
    """Return the common length of the arguments, given by their names.

    Examples
    --------
    >>> same_length(scores=[1, 2], labels=[0])
    Traceback (most recent call last):
        ...
    ValueError: lengths are scores 2, labels 1; expected equal ones
    """
    lengths = {name: len(value) for name, value in values.items()}
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"lengths are {found}; expected equal ones")
    return next(iter(lengths.values()))


def text(name: str, value: object) -> str:
    """Return a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong(name, (), value, "a text that is not blank")
    return value


def _numbers(
    name: str,
    value: object,
    expected: str,
    shape: Shape | None,
    empty: bool,
    bounds: Mapping[str, Any],
) -> npt.NDArray[np.float64]:
    raw = _raw(name, value, shape)
    if raw.size == 0 and not empty:
        raise ValueError(f"{name} is empty (shape {raw.shape}), expected {expected} or more")
    if raw.dtype.kind not in "iuf":
        for index, one in np.ndenumerate(raw.astype(object)):
            if isinstance(one, bool) or not isinstance(one, numbers.Real):
                raise _wrong(name, index, one, expected)
    try:
        found: npt.NDArray[np.float64] = raw.astype(np.float64, copy=False)
    except OverflowError:
        raise _wrong(name, (), value, f"{expected}, within the range of floats") from None
    inside = np.isfinite(found)
    for word, bound in bounds.items():
        inside &= _COMPARE[word](found, bound)
    _demand(name, found, inside, expected)
    return found


def _demand(name: str, found: npt.NDArray[Any], inside: Any, expected: str) -> None:
    for index in np.argwhere(~np.asarray(inside)):
        raise _wrong(name, tuple(index.tolist()), found[tuple(index)], expected)


def _raw(name: str, value: object, shape: Shape | None) -> npt.NDArray[Any]:
    """Return the value as an array of the shape asked for, whatever it holds."""
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked elements, expected a value in each place")
    try:
        raw = np.asarray(value)
    except ValueError:
        raise _wrong(name, (), value, "rows of equal length") from None
    lengths: dict[str, int] = {}
    wanted = [
        lengths.setdefault(one, found) if isinstance(one, str) else one
        for one, found in zip(shape or (), raw.shape, strict=False)
    ]
    if shape is not None and (raw.ndim != len(shape) or list(raw.shape) != wanted):
        form = f"shape ({', '.join(map(str, shape))})" if shape else "one number"
        raise ValueError(f"{name} has shape {raw.shape}, expected {form}")
    return raw


def _words(bounds: Mapping[str, Any]) -> str:
    return " and".join(f" {word.replace('_', ' ')} {bound}" for word, bound in bounds.items())


def _wrong(name: str, index: tuple[int, ...], value: object, expected: str) -> ValueError:
    where = f"{name}[{', '.join(map(str, index))}]" if index else name
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        value = value.item()
    return ValueError(f"{where} is {value!r:.80}, expected {expected}")
