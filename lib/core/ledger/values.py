"""Values of the ledger: what may be claimed or measured, how it is stored and how it is printed."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

__all__ = [
    "DIGITS",
    "NOISE_FREE",
    "Interval",
    "LedgerError",
    "Measurement",
    "Number",
    "Scalar",
    "Value",
    "decode",
    "encode",
    "exact",
    "format_interval",
    "format_measured",
    "format_value",
    "from_text",
    "normalise",
]

Number: TypeAlias = int | float | Fraction
Scalar: TypeAlias = bool | Number | str
Value: TypeAlias = Scalar | tuple[Scalar, ...]
Interval: TypeAlias = tuple[Number, Number]

DIGITS = 6
"""Significant digits a stored float keeps: few enough to agree across processors."""

NOISE_FREE = 12
"""Significant digits a verdict looks at: all but those in which floating-point noise lives."""

_FRACTION = re.compile(r"[+-]?\d+(/0*[1-9]\d*)?")


class LedgerError(ValueError):
    """A claim, a report or a stored output that the ledger cannot accept."""


def normalise(value: object, *, digits: int = DIGITS, where: str = "value") -> Value:
    """Bring a value to the form in which it is stored and compared.

    Parameters
    ----------
    value : object
        bool, int, float, `Fraction` (or another exact rational), str, a NumPy scalar of those, or
        a flat sequence of them (list, tuple, one-dimensional array).
    digits : int
        Significant digits that floats keep.
    where : str
        What is being read, for the error message.

    Returns
    -------
    Value
        Python scalars, or a tuple of them. Exact numbers stay exact.

    Raises
    ------
    LedgerError
        If the value is missing, empty, not finite, or of another type.

    Examples
    --------
    >>> normalise(2 / 3), normalise([Fraction(4, 2), True, 1e-9])
    (0.666667, (Fraction(2, 1), True, 1e-09))
    """
    if isinstance(value, str) or not (
        isinstance(value, Sequence) or getattr(value, "ndim", 0) == 1
    ):
        return _scalar(value, digits, where)
    elements: Any = value
    values = tuple(_scalar(v, digits, f"{where}[{i}]") for i, v in enumerate(elements))
    if not values:
        raise LedgerError(f"{where} is an empty sequence; expected at least one value")
    return values


def _scalar(value: object, digits: int, where: str) -> Scalar:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()  # NumPy scalars and zero-dimensional arrays
    if isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        if not value.strip():
            raise LedgerError(f"{where} is an empty string")
        return value
    if isinstance(value, numbers.Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise LedgerError(f"{where} is {value}; expected a finite number")
        return float(f"{value:.{digits}g}") + 0.0  # + 0.0 turns -0.0 into 0.0
    raise LedgerError(
        f"{where} is {value!r} of type {type(value).__name__}; "
        "expected bool, int, float, Fraction, str or a flat sequence of them"
    )


def exact(number: Number) -> Fraction:
    """Return a number as the fraction its decimal digits show, so that 1.05 − 1 is 0.05.

    Examples
    --------
    >>> exact(0.1) == Fraction(1, 10)
    True
    """
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def from_text(value: Scalar) -> Scalar:
    """Read ``"a/b"`` and ``"a"`` as exact fractions; return anything else unchanged.

    Examples
    --------
    >>> from_text("6/4"), from_text("monotone")
    (Fraction(3, 2), 'monotone')
    """
    if isinstance(value, str) and _FRACTION.fullmatch(value):
        return Fraction(value)
    return value


def encode(value: Any) -> Any:
    """Return the JSON form: a fraction becomes ``{"fraction": "a/b", "float": rounded}``."""
    if isinstance(value, tuple):
        return [encode(v) for v in value]
    if isinstance(value, Fraction):
        rounded = float(f"{float(value):.{DIGITS}g}")
        return {"fraction": f"{value.numerator}/{value.denominator}", "float": rounded}
    return value


def decode(value: Any) -> Value:
    """Invert `encode`."""
    if isinstance(value, list):
        return tuple(decode(v) for v in value)  # type: ignore[misc]
    if isinstance(value, dict) and _FRACTION.fullmatch(str(value.get("fraction"))):
        return Fraction(value["fraction"])
    if isinstance(value, bool | int | float | str):
        return value
    raise LedgerError(f"stored value {value!r} is not one the ledger writes")


def format_value(value: Value | None, *, approximate: bool = True) -> str:
    """Return a value for readers, with a decimal beside a fraction unless told otherwise.

    Examples
    --------
    >>> format_value(Fraction(41, 12)), format_value((True, 0.25)), format_value(None)
    ('41/12 ≈ 3.41667', 'true, 0.25', '—')
    """
    if value is None:
        return "—"
    if isinstance(value, tuple):
        return ", ".join(format_value(v, approximate=False) for v in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Fraction):
        if value.denominator == 1:
            return str(value.numerator)
        return f"{value} ≈ {float(value):.{DIGITS}g}" if approximate else str(value)
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def format_interval(interval: Interval | tuple[Interval, ...] | None) -> str:
    """Return ``[low, high]``, several joined by commas, or an empty string.

    Examples
    --------
    >>> format_interval((0.5, 1))
    '[0.5, 1]'
    """
    if not interval:
        return ""
    pairs: Any = interval if isinstance(interval[0], tuple) else (interval,)
    return ", ".join(f"[{format_value(pair)}]" for pair in pairs)


def format_measured(
    value: Value | None,
    interval: Interval | tuple[Interval, ...] | None = None,
    labels: tuple[str, ...] = (),
) -> str:
    """Return a value with its interval behind it, each element of a list with its label before it.

    Examples
    --------
    >>> format_measured((0.5, 2), ((0.4, 0.6), (1, 3)), ("low", "high"))
    'low: 0.5 [0.4, 0.6]; high: 2 [1, 3]'
    """
    if not labels:
        return f"{format_value(value)} {format_interval(interval)}".rstrip()
    count = len(labels)
    values = value if isinstance(value, tuple) else (value,) * count
    pairs: Any = interval if interval and isinstance(interval[0], tuple) else (interval,) * count
    return "; ".join(
        f"{label}: {format_value(v)} {format_interval(i)}".rstrip()
        for label, v, i in zip(labels, values, pairs, strict=True)
    )


@dataclass(frozen=True)
class Measurement:
    """What a notebook found, and nothing about what was hoped for.

    Parameters
    ----------
    id : str
        The claim it answers.
    value : Value
        As `normalise` returns it.
    interval : Interval or tuple of Interval, optional
        Uncertainty, ``(low, high)``; one pair a value where `value` is a sequence.
    control : Value, optional
        What the broken method gave, in the same unit; one value may stand for a sequence.
    control_interval : Interval or tuple of Interval, optional
        Uncertainty of `control`.
    """

    id: str
    value: Value
    interval: Interval | tuple[Interval, ...] | None = None
    control: Value | None = None
    control_interval: Interval | tuple[Interval, ...] | None = None

    @classmethod
    def of(
        cls,
        id: str,
        value: object,
        interval: object = None,
        control: object = None,
        control_interval: object = None,
        *,
        labels: tuple[str, ...] = (),
        digits: int = NOISE_FREE,
    ) -> Measurement:
        """Normalise and check what a notebook hands in.

        Parameters
        ----------
        id : str
        value, interval, control, control_interval : object
            As `report` takes them.
        labels : tuple of str
            The claim's, where these may be mappings by label.
        digits : int
            Significant digits that floats keep.

        Raises
        ------
        LedgerError
            If a value is not accepted by `normalise`, an interval is not ``low ≤ value ≤ high``,
            a mapping does not have the claim's labels, or an interval of the control has no
            control.

        Examples
        --------
        >>> Measurement.of("ch01.x", 2 / 3, interval=(0.6, 0.7)).interval
        (0.6, 0.7)
        """
        if control is None and control_interval is not None:
            raise LedgerError(f"{id}: control_interval is {control_interval!r} without a control")
        fields: list[Any] = []
        for name, given, pair in (
            ("value", value, interval),
            ("control", control, control_interval),
        ):
            if name == "control" and given is None:
                continue
            where = f"{id}: {'interval' if name == 'value' else 'control_interval'}"
            given = _by_label(given, labels, f"{id}: {name}")
            pair = _by_label(pair, labels, where)
            found = normalise(given, digits=digits, where=f"{id}: {name}")
            fields += [found, _intervals(where, found, pair, digits)]
        return cls(id, *fields)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form, which holds no verdict."""
        names = ("value", "interval", "control", "control_interval")
        return {"id": self.id} | {name: encode(getattr(self, name)) for name in names}

    @classmethod
    def from_json(cls, data: dict[str, Any], digits: int = NOISE_FREE) -> Measurement:
        """Invert `to_json`; floats are rounded to `digits`.

        Raises
        ------
        LedgerError
            If the data are not what `to_json` writes: not finite, reversed, of another type.
        """
        if not isinstance(data, dict) or not isinstance(data.get("id"), str):
            raise LedgerError(f"stored claim {data!r} has no id")
        names = ("value", "interval", "control", "control_interval")
        read = {name: None if data.get(name) is None else decode(data[name]) for name in names}
        return cls.of(data["id"], *(read[name] for name in names), digits=digits)


def _by_label(given: object, labels: tuple[str, ...], where: str) -> object:
    """Return a mapping by label as a list in the order of the labels; anything else unchanged."""
    if not isinstance(given, Mapping):
        return given
    if set(given) != set(labels):
        wanted = ", ".join(labels) or "no mapping, for the claim declares no labels"
        raise LedgerError(f"{where} has labels {', '.join(map(str, given))}; expected {wanted}")
    return [given[label] for label in labels]


def _intervals(
    where: str, value: Value, interval: object, digits: int
) -> Interval | tuple[Interval, ...] | None:
    if interval is None:
        return None
    if not isinstance(value, tuple):
        return _interval(where, value, interval, digits)
    pairs = list(interval) if hasattr(interval, "__iter__") else []
    if len(pairs) != len(value):
        raise LedgerError(f"{where} {interval!r} needs one pair for each of {len(value)} values")
    return tuple(_interval(where, v, p, digits) for v, p in zip(value, pairs, strict=True))


def _interval(where: str, value: Scalar, interval: object, digits: int) -> Interval:
    ends = normalise(interval, digits=digits, where=where)
    if not isinstance(ends, tuple) or len(ends) != 2:
        raise LedgerError(f"{where} is {interval!r}; expected (low, high)")
    low, high = ends
    for number in (value, low, high):
        if isinstance(number, bool | str):
            raise LedgerError(f"{where} needs numbers, found {number!r}")
    # Compared as rounded floats: rounding keeps the order, but not between a float and a fraction.
    first, middle, last = (float(f"{float(n):.{digits}g}") for n in (low, value, high))
    if not first <= middle <= last:
        raise LedgerError(f"{where} ({low}, {high}) does not hold the value {value}")
    return low, high  # type: ignore[return-value]
