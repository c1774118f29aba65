"""The full card of a claim, in its own words, for the pages; notebooks store `facts` alone."""

from __future__ import annotations

import html
from functools import lru_cache
from typing import Any

from lib.core.ledger.claims import Claim
from lib.core.ledger.reporting import anchor, badge_class, facts
from lib.core.ledger.values import Measurement, format_measured
from lib.core.ledger.verdicts import DIRECTION, HOLDS, INCONCLUSIVE, judge

__all__ = ["card", "markdown", "pairs"]


def pairs(claim: Claim, measurement: Measurement) -> list[tuple[str, ...]]:
    """Return a list's values side by side, a line for each element below a head.

    Returns
    -------
    list of tuple of str
        Head and lines: label (else the number), the paper's or the expected value, ours with its
        interval, the control's, what nothing gives where that is a list too, and the verdict where
        it is not the same for all. Empty for a claim about one value.
    """
    value = measurement.value
    if not isinstance(value, tuple) or len(value) < 2:
        return []
    count, unit = len(value), f" ({claim.unit})" if claim.unit else ""

    def each(found: Any, interval: Any = None) -> list[str]:
        values = found if isinstance(found, tuple) else (found,) * count
        ends = interval if interval and isinstance(interval[0], tuple) else (interval,) * count
        return [format_measured(v, i) for v, i in zip(values, ends, strict=True)]

    columns = {"": list(claim.labels) or [str(i + 1) for i in range(count)]}
    if claim.value is not None:
        columns[claim.by if claim.by == "paper" else "expected"] = each(claim.value)
    columns[f"measured{unit}"] = each(value, measurement.interval)
    if measurement.control is not None:
        columns["control"] = each(measurement.control, measurement.control_interval)
    if claim.null and isinstance(claim.null.value, tuple):
        columns["nothing"] = each(claim.null.value)
    labels = judge(claim, value, measurement.interval)
    if len(set(labels)) > 1:
        columns["verdict"] = list(labels)
    return [tuple(columns), *zip(*columns.values(), strict=True)]


def card(claim: Claim, measurement: Measurement, label: str, ledger: str = "") -> str:
    """Return the card of a reported claim as HTML: a line to open, open already where it failed.

    Parameters
    ----------
    claim : Claim
    measurement : Measurement
    label : str
        The verdict on it.
    ledger : str, optional
        Address of the ledger's page, as seen from the card's, for a link to the row.
    """
    unit = f" {claim.unit}" if claim.unit else ""
    measured, *rest = [(name, html.escape(text)) for name, text in facts(claim, measurement)]
    lines, table = [measured], pairs(claim, measurement)
    name = "paper" if claim.by == "paper" else "expected"
    if claim.value is not None:
        lines.append((name, html.escape(format_measured(claim.value) + unit)))
    short = "" if table else " · ".join(f"{fact} {text}" for fact, text in lines)
    if table:
        lines, rest = [], [fact for fact in rest if fact[0] == "holds if"]
    lines += rest
    if claim.null:
        listed = table and isinstance(claim.null.value, tuple)
        shown = "" if listed else html.escape(f"{format_measured(claim.null.value)}{unit}: ")
        lines.append(("nothing gives", shown + markdown(claim.null.why)))
    for name, text in (
        ("must fail", claim.control),
        ("control of", claim.control_of),
        ("measured before", claim.measured_before),
    ):
        if text:
            lines.append((name, markdown(text)))
    lines.append(("run on", html.escape(claim.basis)))
    style, id = badge_class(label), html.escape(claim.id)
    whose = "the paper’s claim" if claim.by == "paper" else "a claim of ours"
    facts_html = "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in lines)
    row = f'<a href="{ledger}#row-{id}">in the ledger</a>' if ledger else ""
    return (
        f'<details class="claim-card {style}" id="{anchor(id)}"{_open(label)}><summary>'
        f'<strong class="verdict-badge {style}">{html.escape(label)}</strong> '
        f'<span class="claim-statement">{markdown(claim.statement)}</span> '
        f'<span class="claim-short">{short}</span></summary>'
        f'<p class="claim-head"><code>{id}</code> <span class="claim-by">{whose}</span> '
        f'<span class="claim-source">{html.escape(claim.source)}</span> {row}</p>{_table(table)}'
        f'<dl class="claim-facts">{facts_html}</dl></details>'
    )


def _open(label: str) -> str:
    return "" if label in (HOLDS, DIRECTION, INCONCLUSIVE) else " open"


def _table(lines: list[tuple[str, ...]]) -> str:
    if not lines:
        return ""
    head, *body = [[html.escape(cell) for cell in line] for line in lines]
    shown = "".join(f'<th scope="col">{cell}</th>' for cell in head[1:])
    rows = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in body
    )
    return (
        f'<table class="claim-pairs"><thead><tr><td></td>{shown}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
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
