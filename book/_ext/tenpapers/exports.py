"""The ledger for other programs: JSON and CSV to take away, reviews for search engines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from lib.core.ledger.claims import Chapter, LedgerError, load_all
from lib.core.ledger.rows import Row, as_json
from lib.core.ledger.values import format_measured, format_value
from lib.core.ledger.verdicts import VERDICTS
from tenpapers.nodes import LEDGER, all_rows

__all__ = ["claim_reviews", "setup", "to_csv"]


def _measured(row: Row) -> str:
    found = row.measurement
    return format_measured(found.value, found.interval, row.claim.labels) if found else ""


def _control(row: Row) -> str:
    found = row.measurement
    if found is None or found.control is None:
        return ""
    return format_measured(found.control, found.control_interval)


COLUMNS: dict[str, Callable[[Row], str]] = {
    "id": lambda row: row.claim.id,
    "chapter": lambda row: row.chapter,
    "by": lambda row: row.claim.by,
    "source": lambda row: row.claim.source,
    "statement": lambda row: row.claim.statement,
    "kind": lambda row: row.claim.kind,
    "basis": lambda row: row.claim.basis,
    "claimed": lambda row: "" if row.claim.value is None else format_value(row.claim.value),
    "unit": lambda row: row.claim.unit,
    "measured": _measured,
    "control": _control,
    "verdict": lambda row: row.label,
    "notebook": lambda row: row.notebook,
}


def to_csv(rows: list[Row]) -> str:
    """Return a line for each row; lists of values as they stand on the page."""
    target = io.StringIO()
    table = csv.writer(target, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([of(row) for of in COLUMNS.values()] for row in rows)
    return target.getvalue()


def claim_reviews(rows: list[Row], chapters: tuple[Chapter, ...], page: str) -> dict[str, Any]:
    """Return the paper's rows as schema.org ``ClaimReview`` objects, for JSON-LD.

    Our own rows are no claims of a paper, and what could not be tested is no review: both are left
    out. The rating counts the verdicts from the worst, 1, to the best.

    Parameters
    ----------
    rows : list of Row
    chapters : tuple of Chapter
        Of these rows.
    page : str
        Address of the page with the rows.
    """
    by_slug = {one.slug: one for one in chapters}
    scale = [label for label in reversed(VERDICTS) if label != VERDICTS[-1]]
    reviews = []
    for row in rows:
        if row.claim.by != "paper" or row.label not in scale:
            continue
        paper = by_slug[row.chapter].paper
        article = {
            "@type": "ScholarlyArticle",
            "name": paper.title,
            "author": [{"@type": "Person", "name": name} for name in paper.authors],
            "url": f"https://arxiv.org/abs/{paper.arxiv}",
        }
        reviews.append(
            {
                "@type": "ClaimReview",
                "url": f"{page}#row-{row.claim.id}",
                "claimReviewed": row.claim.statement,
                "itemReviewed": {"@type": "Claim", "appearance": article},
                "author": {"@type": "Organization", "name": "Ten Papers, Executable"},
                "reviewRating": {
                    "@type": "Rating",
                    "ratingValue": scale.index(row.label) + 1,
                    "worstRating": 1,
                    "bestRating": len(scale),
                    "alternateName": row.label,
                },
            }
        )
    return {"@context": "https://schema.org", "@graph": reviews}


def _add_reviews(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    if page != LEDGER:
        return
    root = Path(app.srcdir)
    try:
        rows = list(all_rows(root).values())
        data = claim_reviews(rows, load_all(root=root), "ledger.html")
    except LedgerError:  # the directive has warned
        return
    text = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    context["body"] += f'<script type="application/ld+json">{text}</script>'


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir, "downloads")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        rows = list(all_rows(Path(app.srcdir)).values())
    except LedgerError:
        return
    (folder / "ledger.json").write_text(as_json(rows) + "\n", encoding="utf-8")
    (folder / "ledger.csv").write_text(to_csv(rows), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks; `tenpapers.ledger` asks for this."""
    app.connect("html-page-context", _add_reviews)
    app.connect("build-finished", _write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
