"""`report`: a notebook hands in a measurement, the page shows a card."""

from __future__ import annotations

import html
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.core.ledger.claims import Claim, find_claim
from lib.core.ledger.values import DIGITS, Measurement, format_interval, format_value
from lib.core.ledger.verdicts import describe, verdict

__all__ = ["MIME", "anchor", "badge_class", "report"]

MIME = "application/vnd.tenpapers.claim+json"
"""Stored beside the card: id, value, interval and control, never a verdict."""


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
    digits: int = DIGITS,
    root: Path | None = None,
) -> None:
    """Hand a measured value to the ledger and show its card.

    Parameters
    ----------
    id : str
        A claim declared in a ``claims.yml``.
    value : bool, int, float, Fraction, str or a flat sequence of these
        What was measured. Fractions are stored exactly, floats rounded to `digits`.
    interval : (low, high), optional
        Uncertainty of the value; for a sequence, one pair for each element.
    control : bool or str, optional
        Evidence that the control that must fail did fail. Needed where the claim declares one.
    digits : int
        Significant digits a float keeps; lower it where the last ones differ between processors.
    root : Path, optional
        Repository root, for tests.

    Raises
    ------
    UnknownClaimError
        If no chapter declares `id`; close matches are named.
    LedgerError
        If the value is not finite or not of the kind claimed, the control did not fail, or the
        claim is declared out of reach.
    """
    claim = find_claim(id, root=root)
    measurement = Measurement.of(id, value, interval, control, digits=digits)
    found = verdict(claim, measurement)
    assert found is not None
    plain = _plain(claim, measurement, found)
    # A process without IPython loaded cannot be a notebook, and importing it takes a second.
    if "IPython" in sys.modules:
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is not None:
            bundle = {
                MIME: measurement.to_json(),
                "text/html": _card(claim, measurement, found),
                "text/plain": plain,
            }
            display(bundle, raw=True)
            return
    print(plain)


def _facts(claim: Claim, measurement: Measurement) -> list[tuple[str, str]]:
    """Return label and text of everything a card shows under the statement."""
    unit = f" {claim.unit}" if claim.unit else ""
    interval = format_interval(measurement.interval)
    facts = [("measured", format_value(measurement.value) + unit)]
    if interval:
        facts.append(("interval", interval + unit))
    if claim.value is not None:
        label = "paper" if claim.by == "paper" else "expected"
        facts.append((label, format_value(claim.value) + unit))
    facts.append(("holds if", describe(claim)))
    facts.append(("run on", claim.basis))
    if measurement.control is not None:
        evidence = measurement.control if isinstance(measurement.control, str) else claim.control
        facts.append(("control failed, as it must", evidence or "yes"))
    return facts


def _plain(claim: Claim, measurement: Measurement, found: str) -> str:
    facts = "; ".join(f"{label}: {text}" for label, text in _facts(claim, measurement))
    return f"[{found}] {claim.id} ({claim.source}): {claim.statement}\n    {facts}"


def _card(claim: Claim, measurement: Measurement, found: str) -> str:
    facts = "".join(
        # A declared control is Markdown like the statement; measured evidence is plain text.
        f"<div><dt>{html.escape(label)}</dt>"
        f"<dd>{_markdown(text) if text == claim.control else html.escape(text)}</dd></div>"
        for label, text in _facts(claim, measurement)
    )
    style = badge_class(found)
    badge = f'<strong class="verdict-badge {style}">{html.escape(found)}</strong>'
    return (
        f'<div class="claim-card {style}" id="{html.escape(anchor(claim.id))}">'
        f'<p class="claim-head">{badge} <code>{html.escape(claim.id)}</code> '
        f'<span class="claim-source">{html.escape(claim.source)}</span></p>'
        f'<p class="claim-statement">{_markdown(claim.statement)}</p>'
        f'<dl class="claim-facts">{facts}</dl></div>'
    )


@lru_cache(maxsize=1)
def _renderer() -> Any:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    # \(…\) is what MathJax looks for by default; the span's class "math" lets it look there.
    return MarkdownIt("commonmark", {"html": False}).use(
        dollarmath_plugin, renderer=lambda tex, _: f"\\({html.escape(tex)}\\)"
    )


def _markdown(text: str) -> str:
    """Return inline Markdown as HTML, formulas ready for MathJax."""
    return str(_renderer().renderInline(text))
