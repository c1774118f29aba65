"""The full card of a claim, in its own words, for the pages; notebooks store `facts` alone."""

from __future__ import annotations

import html
from functools import lru_cache
from typing import Any

from lib.core.ledger.claims import Claim
from lib.core.ledger.reporting import anchor, badge_class, facts
from lib.core.ledger.values import Measurement, format_measured

__all__ = ["card", "markdown"]


def card(claim: Claim, measurement: Measurement, label: str) -> str:
    """Return the card of a reported claim as HTML.

    Parameters
    ----------
    claim : Claim
    measurement : Measurement
    label : str
        The verdict on it.
    """
    unit = f" {claim.unit}" if claim.unit else ""
    measured, *rest = [(name, html.escape(text)) for name, text in facts(claim, measurement)]
    lines = [measured]
    if claim.value is not None:
        name = "paper" if claim.by == "paper" else "expected"
        labels = claim.labels if isinstance(claim.value, tuple) else ()
        lines.append((name, html.escape(format_measured(claim.value, None, labels) + unit)))
    lines += rest
    if claim.null:
        shown = html.escape(format_measured(claim.null.value) + unit)
        lines.append(("nothing gives", f"{shown}: {markdown(claim.null.why)}"))
    for name, text in (
        ("must fail", claim.control),
        ("control of", claim.control_of),
        ("measured before", claim.measured_before),
    ):
        if text:
            lines.append((name, markdown(text)))
    lines.append(("run on", html.escape(claim.basis)))
    style, id = badge_class(label), html.escape(claim.id)
    facts_html = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in lines)
    return (
        f'<div class="claim-card {style}" id="{anchor(id)}">'
        f'<p class="claim-head"><strong class="verdict-badge {style}">{html.escape(label)}</strong>'
        f' <code>{id}</code> <span class="claim-source">{html.escape(claim.source)}</span></p>'
        f'<p class="claim-statement">{markdown(claim.statement)}</p>'
        f'<dl class="claim-facts">{facts_html}</dl></div>'
    )


@lru_cache(maxsize=1)
def _renderer() -> Any:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    # \(…\) is what MathJax looks for by default; the span's class "math" lets it look there.
    return MarkdownIt("commonmark", {"html": False}).use(
        dollarmath_plugin, renderer=lambda tex, _: f"\\({html.escape(tex)}\\)"
    )


def markdown(text: str) -> str:
    r"""Return inline Markdown as HTML: tags of the text escaped, formulas ready for MathJax.

    Examples
    --------
    >>> markdown("*Is* $a<b$ <script>?")
    '<em>Is</em> <span class="math inline">\\(a&lt;b\\)</span> &lt;script&gt;?'
    """
    return str(_renderer().renderInline(text))
