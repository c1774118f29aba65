"""`report`: a notebook hands in a measurement, which is judged, stored and shown."""

from __future__ import annotations

import html
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from lib.core.ledger.claims import Claim, find_claim
from lib.core.ledger.values import (
    DIGITS,
    NOISE_FREE,
    LedgerError,
    Measurement,
    format_measured,
)
from lib.core.ledger.verdicts import allowance, describe, verdict

__all__ = ["MIME", "anchor", "badge_class", "facts", "report", "within"]

MIME = "application/vnd.tenpapers.claim+json"
"""Stored beside the card: id, value, interval, control and its interval, never a verdict."""


def anchor(id: str) -> str:
    """Return the HTML id of the card of a claim."""
    return f"claim-{id}"


def badge_class(label: str) -> str:
    """Return the style class of a verdict.

    Examples
    --------
    >>> badge_class("holds in direction")
    'verdict-holds-in-direction'
    """
    return "verdict-" + label.replace(" ", "-")


def report(
    id: str,
    value: object,
    interval: object = None,
    control: object = None,
    *,
    control_interval: object = None,
    digits: int = DIGITS,
    root: Path | None = None,
) -> None:
    """Hand a measured value to the ledger, which judges, stores and shows it.

    Where the claim has labels, `value`, `interval`, `control` and `control_interval` may be
    mappings by label.

    Parameters
    ----------
    id : str
        A claim declared in a ``claims.yml``.
    value : bool, int, float, Fraction, str or a flat sequence of these
        What was measured. It is judged as it is, to 12 significant digits.
    interval : (low, high), optional
        Uncertainty of the value; for a sequence, one pair for each element. Needed where the claim
        states a direction or a bound about data or a simulation.
    control : like value, optional
        What the broken method gave, in the claim's unit; one value may stand for a sequence. Needed
        where the claim declares a control; judged by the claim's tolerance, it must not hold.
    control_interval : like interval, optional
        Uncertainty of the control; without it the control is judged as a point.
    digits : int
        Significant digits a stored float keeps, 1 to 12; more are kept where the verdict needs
        them. Lower it where the last ones differ between processors.
    root : Path, optional
        Repository root, for tests.

    Raises
    ------
    UnknownClaimError
        If no chapter declares `id`; close matches are named.
    LedgerError
        If the value is not finite or not of the kind claimed, `digits` is coarser than a twentieth
        of the tolerance, an interval or a control is missing, the control did not fail, or the
        claim is declared out of reach.
    """
    if type(digits) is not int or not 1 <= digits <= NOISE_FREE:
        raise LedgerError(f"{id}: digits is {digits!r}; expected an integer from 1 to {NOISE_FREE}")
    claim = find_claim(id, root=root)
    given = (value, interval, control, control_interval)
    measured = Measurement.of(id, *given, labels=claim.labels)
    found = verdict(claim, measured)
    assert found is not None
    _check_digits(claim, measured, digits)
    stored = _rounded(claim, measured, found, digits)
    plain = "; ".join(f"{label}: {text}" for label, text in facts(claim, stored))
    plain = f"[{found}] {claim.id}\n    {plain}"
    # A process without IPython loaded cannot be a notebook, and importing it takes a second.
    if "IPython" in sys.modules:
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is not None:
            bundle = {
                MIME: stored.to_json(),
                "text/html": _card(claim, stored, found),
                "text/plain": plain,
            }
            display(bundle, raw=True)
            return
    print(plain)


def within(claim: Claim, measurement: Measurement) -> list[tuple[float, Fraction]]:
    """Return each float that is judged by its distance, with how far it may lie off, if at all."""
    if claim.form != "distance":
        return []
    values = measurement.value if isinstance(measurement.value, tuple) else (measurement.value,)
    claimed: Any = claim.value if isinstance(claim.value, tuple) else (claim.value,)
    pairs = [(v, allowance(claim.tolerance, e)) for e, v in zip(claimed, values, strict=True)]
    return [(v, allowed) for v, allowed in pairs if isinstance(v, float) and v and allowed]


def _check_digits(claim: Claim, measured: Measurement, digits: int) -> None:
    """Refuse to store a value in steps coarser than a twentieth of what its tolerance allows."""
    for value, allowed in within(claim, measured):
        needed = digits
        while needed < NOISE_FREE and 20 * _step(value, needed) > allowed:
            needed += 1
        if needed > digits:
            raise LedgerError(
                f"{claim.id}: digits is {digits}, which stores {value} in steps of "
                f"{float(_step(value, digits)):g}; expected at least {needed}, for a twentieth of "
                f"the tolerance ±{float(allowed):g}"
            )


def _step(value: float, digits: int) -> Fraction:
    """Return the unit of the last of a number's significant digits."""
    return Fraction(10) ** (Decimal(repr(value)).adjusted() + 1 - digits)


def _rounded(claim: Claim, measured: Measurement, found: str, digits: int) -> Measurement:
    """Return what is stored: at least `digits`, and as many as lead to the same verdict again."""
    for kept in range(digits, NOISE_FREE):
        try:
            rounded = Measurement.from_json(measured.to_json(), kept)
            stored = Measurement.from_json(rounded.to_json())  # as it will be read
            if verdict(claim, stored) == found:
                return stored
        except LedgerError:  # the rounded interval loses the value, or the control holds
            continue
    return measured


def facts(claim: Claim, measurement: Measurement) -> list[tuple[str, str]]:
    """Return name and text of what is stored in a notebook for readers: no words of the claim."""
    unit = f" {claim.unit}" if claim.unit else ""
    shown = format_measured(measurement.value, measurement.interval, claim.labels)
    found = [("measured", shown + unit)]
    if measurement.control is not None:
        spread = claim.labels if isinstance(measurement.control, tuple) else ()
        shown = format_measured(measurement.control, measurement.control_interval, spread)
        found.append(("control", shown + unit))
    return [*found, ("holds if", describe(claim))]


def _card(claim: Claim, measurement: Measurement, found: str) -> str:
    style, name = badge_class(found), html.escape(claim.id)
    lines = "".join(
        f"<div><dt>{html.escape(label)}</dt><dd>{html.escape(text)}</dd></div>"
        for label, text in facts(claim, measurement)
    )
    return (
        f'<div class="claim-card {style}" id="{anchor(name)}"><p class="claim-head">'
        f'<strong class="verdict-badge {style}">{found}</strong> <code>{name}</code></p>'
        f'<dl class="claim-facts">{lines}</dl></div>'
    )
