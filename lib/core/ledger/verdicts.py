"""The one place where a verdict is made."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lib.core.ledger.claims import OUT_OF_REACH, Claim
from lib.core.ledger.values import (
    Interval,
    LedgerError,
    Measurement,
    Scalar,
    exact,
    format_value,
    from_text,
)

__all__ = ["NOT_REPORTED", "VERDICTS", "describe", "verdict"]

HOLDS = "holds"
DIRECTION = "holds in direction"
DIFFERS = "differs"
CONTRADICTED = "contradicted"
NOT_TESTABLE = "not testable here"

VERDICTS = (HOLDS, DIRECTION, DIFFERS, CONTRADICTED, NOT_TESTABLE)
"""All verdicts, best first."""

NOT_REPORTED = "not reported"
"""What a page shows where no notebook has reported; it is no verdict, and the tests fail on it."""


def verdict(claim: Claim, measurement: Measurement | None) -> str | None:
    """Compare a measurement with its claim.

    The tolerance decides, after floats have been rounded as they are stored, and in exact
    arithmetic on their decimal digits; a bound counts as inside.

    - ``exact``: equal → holds. Otherwise a number differs, a bool or a category is contradicted.
    - ``abs``, ``rel``: distance at most the larger of ``abs`` and ``rel·|value|`` → holds;
      otherwise it differs.
    - ``sign: true`` beside one of these: outside, but on the claimed side of 0 → holds in
      direction; on the other side → contradicted, unless an interval reaches 0.
    - ``holds``, ``direction``: the lists a category may stand in; in neither → contradicted.
    - ``sign: negative | positive`` and ``at_least``, ``at_most``: the whole interval on the claimed
      side → holds; only the point → holds in direction; only a part of the interval → differs;
      nothing → contradicted. Without an interval the point is the interval. A point at exactly 0
      has no sign, so there it differs.

    A sequence gets the worst verdict among its elements.

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
        If the claim is out of reach and was reported all the same, if its control did not fail, or
        if the value is not of the kind or length that the claim asks for.

    Examples
    --------
    >>> claim = Claim("ch01.x", "paper", "Table 1", "A sum.", "number", "exact", 1.0, {"abs": 0.05})
    >>> [verdict(claim, Measurement.of("ch01.x", found)) for found in (1.05, 1.06)]
    ['holds', 'differs']
    """
    if claim.basis == OUT_OF_REACH:
        if measurement is not None:
            raise LedgerError(f"{claim.id} is declared out of reach and must not be reported")
        return NOT_TESTABLE
    if measurement is None:
        return None
    _check_control(claim, measurement)
    several = isinstance(measurement.value, tuple)
    found = measurement.value if isinstance(measurement.value, tuple) else (measurement.value,)
    claimed: tuple[Scalar | None, ...]
    claimed = claim.value if isinstance(claim.value, tuple) else (claim.value,)
    if claim.value is None:
        claimed *= len(found)
    elif isinstance(claim.value, tuple) != several or len(claimed) != len(found):
        wanted = f"{len(claimed)} values" if isinstance(claim.value, tuple) else "one value"
        raise LedgerError(
            f"{claim.id}: reported {format_value(measurement.value)}; expected {wanted}"
        )
    intervals: Any = measurement.interval if several else (measurement.interval,)
    parts = (
        _one(claim, expected, value, interval)
        for expected, value, interval in zip(
            claimed, found, intervals or (None,) * len(found), strict=True
        )
    )
    return max(parts, key=VERDICTS.index)


def _check_control(claim: Claim, measurement: Measurement) -> None:
    control = measurement.control
    if control is False or (isinstance(control, str) and not control.strip()):
        raise LedgerError(
            f"{claim.id}: the control did not fail (control={control!r}), which voids the result: "
            f"{claim.control or 'no control is declared'}"
        )
    if claim.control and control is None:
        raise LedgerError(
            f"{claim.id}: the claim declares a control that must fail ({claim.control}); "
            "report it with control=True or a sentence of evidence"
        )


def _one(claim: Claim, expected: Scalar | None, value: Scalar, interval: Interval | None) -> str:
    """Return the verdict on one scalar."""
    if claim.form == "category" or (claim.form == "exact" and isinstance(expected, str)):
        if not isinstance(value, str):
            raise LedgerError(f"{claim.id}: reported {value!r}; expected a category (text)")
        if claim.form == "exact":
            return HOLDS if value == expected else CONTRADICTED
        if value in claim.tolerance["holds"]:
            return HOLDS
        return DIRECTION if value in claim.tolerance.get("direction", ()) else CONTRADICTED
    if isinstance(expected, bool):
        if not isinstance(value, bool):
            raise LedgerError(f"{claim.id}: reported {value!r}; expected true or false")
        return HOLDS if value is expected else CONTRADICTED
    value = from_text(value)
    if isinstance(value, bool | str):
        raise LedgerError(f"{claim.id}: reported {value!r}; expected a number")
    point = exact(value)
    low, high = (exact(interval[0]), exact(interval[1])) if interval else (point, point)
    if claim.form == "sign":
        return _sign(claim.tolerance["sign"] == "negative", point, low, high)
    if claim.form == "bound":
        return _bound(claim.tolerance, point, low, high)
    assert expected is not None  # the schema asks for a value with exact, abs and rel
    assert not isinstance(expected, str)
    target = exact(expected)
    allowed = max(
        exact(claim.tolerance.get("abs", 0)), exact(claim.tolerance.get("rel", 0)) * abs(target)
    )
    if abs(point - target) <= allowed:
        return HOLDS
    if "sign" not in claim.tolerance or point == 0:
        return DIFFERS
    if (point > 0) == (target > 0):
        return DIRECTION
    return CONTRADICTED if low > 0 or high < 0 else DIFFERS


def _sign(negative: bool, point: Fraction, low: Fraction, high: Fraction) -> str:
    if negative:
        point, low, high = -point, -high, -low
    if low > 0:
        return HOLDS
    if point > 0:
        return DIRECTION
    return CONTRADICTED if high < 0 else DIFFERS


def _bound(tolerance: dict[str, Any], point: Fraction, low: Fraction, high: Fraction) -> str:
    least = exact(tolerance["at_least"]) if "at_least" in tolerance else None
    most = exact(tolerance["at_most"]) if "at_most" in tolerance else None

    def inside(number: Fraction) -> bool:
        return (least is None or number >= least) and (most is None or number <= most)

    if inside(low) and inside(high):
        return HOLDS
    if inside(point):
        return DIRECTION
    reaches = (least is None or high >= least) and (most is None or low <= most)
    return DIFFERS if reaches else CONTRADICTED


def describe(claim: Claim) -> str:
    """Return the tolerance in words.

    Examples
    --------
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
