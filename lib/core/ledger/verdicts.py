"""The one place where a verdict is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from lib.core.ledger.values import (
    Interval,
    LedgerError,
    Measurement,
    Number,
    Scalar,
    Value,
    exact,
    format_value,
    from_text,
)

if TYPE_CHECKING:  # the loader of claims judges their nulls with this module
    from lib.core.ledger.claims import Claim

__all__ = [
    "NOT_REPORTED",
    "VERDICTS",
    "allowance",
    "describe",
    "judge",
    "verdict",
    "worst",
]

HOLDS = "holds"
DIRECTION = "holds in direction"
INCONCLUSIVE = "inconclusive"
DIFFERS = "differs"
CONTRADICTED = "contradicted"
NOT_TESTABLE = "not testable here"

VERDICTS = (HOLDS, DIRECTION, INCONCLUSIVE, DIFFERS, CONTRADICTED, NOT_TESTABLE)
"""All verdicts, best first."""

NOT_REPORTED = "not reported"
"""What a page shows where no notebook has reported; it is no verdict, and the tests fail on it."""

_SENTENCE = 40
"""Letters from which a text is taken for a sentence and not for the name of an outcome."""


def verdict(claim: Claim, measurement: Measurement | None) -> str | None:
    """Compare a measurement with its claim.

    Everything is compared in exact arithmetic on decimal digits; a bound counts as inside.

    - ``exact``: equal → holds. Otherwise a number differs, a bool or a category is contradicted.
    - ``abs``, ``rel``: distance at most the larger of ``abs`` and ``rel·|value|`` → holds. Outside:
      an interval that reaches into the tolerance → inconclusive; otherwise it differs.
    - ``sign: true`` beside one of these: outside, the whole interval on the claimed side of 0 →
      holds in direction; none of it → contradicted; otherwise inconclusive. Where there is no
      interval, only an exact value has a side; another one differs.
    - ``holds``, ``direction``: the lists a category may stand in; in neither → contradicted.
    - ``sign: negative | positive`` and ``at_least``, ``at_most``: the whole interval on the claimed
      side → holds; none of it → contradicted; otherwise inconclusive. The point is the interval of
      an exact value. 0 is neither negative nor positive; an interval ending there is inconclusive.

    A list gets the worst verdict among its elements.

    Parameters
    ----------
    claim : Claim
    measurement : Measurement or None
        None where no notebook has reported.

    Returns
    -------
    str or None
        One of `VERDICTS`; None where nothing was reported.

    Raises
    ------
    LedgerError
        If the claim is out of reach and was reported all the same, if the value is not of the kind
        or length that the claim asks for, or if the rules for a report are not kept: an interval,
        and a control that fails, where asked for.

    Examples
    --------
    >>> from lib.core.ledger.claims import Claim
    >>> claim = Claim("ch01.x", "paper", "Table 1", "A sum.", "number", "exact", 1.0, {"abs": 0.05})
    >>> [verdict(claim, Measurement.of("ch01.x", found)) for found in (1.05, 1.06)]
    ['holds', 'differs']
    """
    if not claim.runnable:
        if measurement is not None:
            raise LedgerError(f"{claim.id} is declared out of reach and must not be reported")
        return NOT_TESTABLE
    if measurement is None:
        return None
    if claim.length and not isinstance(measurement.value, tuple):
        shown = format_value(measurement.value)
        raise LedgerError(f"{claim.id}: reported {shown}; expected a list of {claim.length} values")
    found = worst(judge(claim, measurement.value, measurement.interval))
    for problem in _objections(claim, measurement):
        raise LedgerError(f"{claim.id}: {problem}")
    return found


def worst(labels: Iterable[str]) -> str:
    """Return the worst of several verdicts."""
    return max(labels, key=VERDICTS.index)


def judge(
    claim: Claim,
    value: Value,
    interval: Interval | tuple[Interval, ...] | None = None,
    *,
    point: bool = False,
) -> tuple[str, ...]:
    """Return the verdict on each element of a value; one value stands for each of a list's.

    Parameters
    ----------
    claim : Claim
        Not out of reach.
    value : Value
        Measured, or what nothing or a broken method gives.
    interval : Interval or tuple of Interval, optional
    point : bool
        Whether a value without interval has a side of 0 even where it is not exact.

    Raises
    ------
    LedgerError
        If an element is not of the kind that the claim asks for.
    """
    any_length = claim.length is None and claim.value is None
    if isinstance(value, tuple) and not any_length and len(value) != claim.length:
        wanted = f"{claim.length} values" if claim.length else "one value"
        raise LedgerError(f"{claim.id}: reported {format_value(value)}; expected {wanted}")
    count = claim.length or len(_elements(value))
    expected = claim.value if isinstance(claim.value, tuple) else (claim.value,) * count
    found = value if isinstance(value, tuple) else (value,) * count
    pairs: Any = interval if interval and isinstance(interval[0], tuple) else (interval,) * count
    point = point or claim.basis == "exact"
    return tuple(
        _one(claim, e, v, i, point) for e, v, i in zip(expected, found, pairs, strict=True)
    )


def _objections(claim: Claim, measurement: Measurement) -> Iterator[str]:
    """Say what the rules for a report have against one.

    A direction or a bound about data or a simulation needs an interval. A declared control needs
    the value that the broken method gave, and that value may not hold; where the verdict is only
    "holds in direction", not in direction either.
    """
    if claim.needs_interval and measurement.interval is None:
        yield f"interval is missing; expected one, for this is a direction on {claim.basis}"
    control, declared = measurement.control, claim.control
    if control is None:
        if declared:
            yield f"control is missing; expected the value that this gives: {declared}"
        return
    if not declared:
        yield f"control is {format_value(control)}, but claims.yml does not say of what"
        return
    if any(isinstance(c, str) and len(c) > _SENTENCE for c in _elements(control)):
        yield f"control is {control!r}; expected a measured outcome, not a sentence"
        return
    try:
        label = worst(judge(claim, control, measurement.control_interval, point=True))
    except LedgerError as error:
        yield f"control is not a measurement of the claim: {error}"
        return
    own = worst(judge(claim, measurement.value, measurement.interval))
    if label == HOLDS or label == own == DIRECTION:
        yield (
            f"the control did not fail, which voids the result: {declared} gave "
            f"{format_value(control)}, whose verdict is: {label}"
        )


def _elements(value: Value) -> tuple[Scalar, ...]:
    return value if isinstance(value, tuple) else (value,)


def _one(
    claim: Claim, expected: Scalar | None, value: Scalar, interval: Interval | None, point: bool
) -> str:
    """Return the verdict on one scalar."""
    form, tolerance = claim.form, claim.tolerance
    if form == "category" or (form == "exact" and isinstance(expected, str)):
        if not isinstance(value, str):
            raise LedgerError(f"{claim.id}: reported {value!r}; expected a category (text)")
        if form == "exact":
            return HOLDS if value == expected else CONTRADICTED
        if value in tolerance["holds"]:
            return HOLDS
        return DIRECTION if value in tolerance.get("direction", ()) else CONTRADICTED
    if isinstance(expected, bool):
        if not isinstance(value, bool):
            raise LedgerError(f"{claim.id}: reported {value!r}; expected true or false")
        return HOLDS if value is expected else CONTRADICTED
    value = from_text(value)
    if isinstance(value, bool | str):
        raise LedgerError(f"{claim.id}: reported {value!r}; expected a number")
    low, high = (exact(end) for end in interval or (value, value))
    if form == "sign":
        return _side(tolerance["sign"] == "positive", low, high, HOLDS)
    if form == "bound":
        return _bound(tolerance, low, high)
    assert expected is not None  # the schema asks for a value with exact, abs and rel
    assert not isinstance(expected, str)
    target, allowed = exact(expected), allowance(tolerance, expected)
    if abs(exact(value) - target) <= allowed:
        return HOLDS
    if "sign" in tolerance and (interval or point):
        return _side(target > 0, low, high, DIRECTION)
    reaches = form == "distance" and low <= target + allowed and high >= target - allowed
    return INCONCLUSIVE if reaches else DIFFERS


def allowance(tolerance: dict[str, Any], expected: Number) -> Fraction:
    """Return how far a number may lie from the expected one; 0 for other forms than a distance.

    Examples
    --------
    >>> allowance({"abs": 0.05, "rel": 0.01}, 20)
    Fraction(1, 5)
    """
    relative = exact(tolerance.get("rel", 0)) * abs(exact(expected))
    return max(exact(tolerance.get("abs", 0)), relative)


def _side(positive: bool, low: Fraction, high: Fraction, best: str) -> str:
    """Return `best` where the whole interval lies on one side of 0, which belongs to neither.

    An interval that ends at 0 does not exclude no effect, so it does not contradict a claimed one.
    """
    if not positive:
        low, high = -high, -low
    if low > 0:
        return best
    return INCONCLUSIVE if low < high >= 0 else CONTRADICTED


def _bound(tolerance: dict[str, Any], low: Fraction, high: Fraction) -> str:
    least = exact(tolerance["at_least"]) if "at_least" in tolerance else low
    most = exact(tolerance["at_most"]) if "at_most" in tolerance else high
    if least <= low and high <= most:
        return HOLDS
    return INCONCLUSIVE if high >= least and low <= most else CONTRADICTED


def describe(claim: Claim) -> str:
    """Return the tolerance in words.

    Examples
    --------
    >>> from lib.core.ledger.claims import Claim
    >>> tolerance = {"abs": 0.05, "sign": True}
    >>> describe(Claim("ch01.x", "paper", "", "", "number", "exact", 1.0, tolerance))
    'within ±0.05; else the same sign'
    """
    tolerance, form = claim.tolerance, claim.form
    same_sign = "; else the same sign" if tolerance.get("sign") is True else ""
    if form == "exact":
        return "equal" + same_sign
    if form == "distance":
        parts = [f"±{format_value(tolerance['abs'])}"] if "abs" in tolerance else []
        if "rel" in tolerance:
            parts.append(f"±{format_value(100 * tolerance['rel'])} %")
        return "within " + " or ".join(parts) + same_sign
    if form == "category":
        words = " or ".join(tolerance["holds"])
        if "direction" in tolerance:
            words += "; in direction: " + " or ".join(tolerance["direction"])
        return words
    if form == "bound":
        signs = {"at_least": "≥", "at_most": "≤"}
        return " and ".join(f"{signs[k]} {format_value(v)}" for k, v in tolerance.items())
    return f"{tolerance['sign']}" if form == "sign" else ""
