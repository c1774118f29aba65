"""The ledger on the book's pages: the directives verdicts, ledger, chapter-cards and paper-card.

All four read ``book/*/claims.yml`` and the outputs stored in ``notebooks/``, below the Sphinx
source folder, and run nothing. A page with one of them is read again when any of these files
changes, comes or goes. A claim's card on a notebook's page is made here too, from the stored
measurement and the claim as it stands in its file: its words may change and no notebook is run.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.core.render import load_mime_renders
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

from lib.core.ledger.claims import (
    BASES,
    Chapter,
    Entry,
    LedgerError,
    chapter_slugs,
    find_claim,
    load_all,
    load_chapter,
    load_contents,
)
from lib.core.ledger.reporting import MIME, anchor, badge_class
from lib.core.ledger.rows import Row, collect, tally, tally_by
from lib.core.ledger.values import (
    Measurement,
    Value,
    format_interval,
    format_measured,
    format_value,
)
from lib.core.ledger.verdicts import NOT_REPORTED, VERDICTS, describe, verdict
from lib.core.paths import ROOT
from tenpapers.cards import card, pairs
from tenpapers.nodes import (
    LEDGER,
    LedgerDirective,
    badge,
    box,
    drawing,
    index,
    link,
    outdated,
    resolve,
    small,
)

__all__ = ["setup"]

logger = logging.getLogger(__name__)

WHOSE = {"paper": "the paper’s", "ours": "ours"}
STATIC = ROOT / "book" / "_static"
_WIDTHS = {"Claim": 40, "Rows by": 40, "Claimed": 24, "Paper": 24, "Expected": 24, "Measured": 24}


def _slug(text: str) -> str:
    """Return a word usable as a style class."""
    return text.replace(" ", "-").replace("_", "-")


def _table(head: list[str], rows: list[nodes.row], classes: list[str]) -> nodes.table:
    group = nodes.tgroup("", cols=len(head))
    # Relative widths, for writers other than HTML; the text writer never ends on narrow ones.
    group += [nodes.colspec("", colwidth=_WIDTHS.get(title, 12)) for title in head]
    titles = [nodes.entry("", nodes.paragraph("", title)) for title in head]
    group += nodes.thead("", nodes.row("", *titles))
    group += nodes.tbody("", *rows)
    return nodes.table("", group, classes=[*classes, "colwidths-auto"])


def _many(value: Value | None) -> str:
    return f"{len(value)} values" if isinstance(value, tuple) else "—"


def _summary(row: Row) -> str:
    found = row.measured
    return f"{len(found)} values" if isinstance(found, tuple) and len(found) > 1 else "Conditions"


class _TableDirective(LedgerDirective):
    """What the four directives of rows share."""

    def summary(self, rows: list[Row]) -> list[nodes.Node]:
        """Return the counts of verdicts, a line for the paper's rows and a line for ours."""
        lines: list[nodes.Node] = []
        for by, counts in tally_by(rows).items():
            if counts:
                name = f"{WHOSE[by].capitalize()} {sum(counts.values())}: "
                badges = [badge(label, f"{n} ") for label, n in counts.items()]
                spaced = [node for one in badges for node in (one, nodes.Text(" "))]
                whose = nodes.inline("", name, classes=["verdict-whose"])
                lines.append(nodes.paragraph("", "", whose, *spaced, classes=["verdict-counts"]))
        return lines

    def claim_cell(self, row: Row) -> nodes.entry:
        claim = row.claim
        facts = [claim.source, claim.kind]
        cell = nodes.entry("", nodes.paragraph("", "", *self.inline(claim.statement)))
        own = link(nodes.literal("", claim.id), LEDGER, f"row-{claim.id}")  # an address to pass on
        cell += small(" · ".join(facts) + " · ", own)
        if claim.reason:
            cell += small("Why not here: ", *self.inline(claim.reason))
        more = self.conditions(row)
        if more:
            # Raw, for docutils has no element to open; other formats show what is inside.
            cell += nodes.raw("", f"<details><summary>{_summary(row)}</summary>", format="html")
            cell += more
            cell += nodes.raw("", "</details>", format="html")
        return cell

    def conditions(self, row: Row) -> list[nodes.Node]:
        """Return what stands behind a row: each value of a list, the null, and what must fail."""
        claim, found = row.claim, list[nodes.Node]()
        lines = pairs(claim, row.measurement) if row.measurement else []
        if lines:
            head, *body = lines
            rows = [
                nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in line))
                for line in body
            ]
            found.append(_table(list(head), rows, ["claim-pairs"]))
        if claim.null:
            listed = isinstance(claim.null.value, tuple)
            unit = f" {claim.unit}" if claim.unit else ""
            shown = "" if listed else f" {format_value(claim.null.value)}{unit}"
            found.append(small(f"Nothing gives{shown}: ", *self.inline(claim.null.why)))
        for name, text in (
            ("Must fail", claim.control),
            ("Measured before it was declared", claim.measured_before),
        ):
            if text:
                found.append(small(f"{name}: ", *self.inline(text)))
        if claim.control_of:
            found.append(small("Its control is that of ", nodes.literal("", claim.control_of)))
        return found

    def measured_cell(self, row: Row) -> nodes.entry:
        unit = f" {row.claim.unit}" if row.claim.unit else ""
        found = row.measurement
        cell = nodes.entry()
        if found is None:
            cell += nodes.paragraph("", "—" if row.verdict else NOT_REPORTED)
            return cell
        if pairs(row.claim, found):
            cell += nodes.paragraph("", _many(found.value))
        else:
            cell += nodes.paragraph("", format_value(found.value) + unit)
            if found.interval:
                cell += small(format_interval(found.interval) + unit)
            if found.control is not None:
                control = format_measured(found.control, found.control_interval)
                cell += small(f"control: {control}{unit}")
        document = row.notebook.removesuffix(".ipynb")
        number = Path(document).name.partition("_")[0]
        place = f"notebook {number}, cell {row.cell}"
        cell += small(link(place, document, anchor(row.claim.id)))
        return cell

    def claimed_cell(self, row: Row) -> nodes.entry:
        claim = row.claim
        cell = nodes.entry()
        unit = f" {claim.unit}" if claim.unit else ""
        if row.measurement and pairs(claim, row.measurement):
            cell += nodes.paragraph("", _many(claim.value))
        elif claim.value is not None:
            cell += nodes.paragraph("", format_value(claim.value) + unit)
        tolerance = describe(claim)
        if tolerance:
            cell += small(f"holds if {tolerance}")
        if not cell.children:
            cell += nodes.paragraph("", "—")
        return cell

    def row(self, row: Row, prefix: str, lead: list[nodes.entry]) -> nodes.row:
        claim = row.claim
        line = nodes.row("", *lead, self.claim_cell(row), self.claimed_cell(row))
        line += self.measured_cell(row)
        line += nodes.entry("", nodes.paragraph("", claim.basis))
        line += nodes.entry("", nodes.paragraph("", "", badge(row.label)))
        line["ids"] = [f"{prefix}-{claim.id}"]
        # What the filters of ledger.js look at.
        line["classes"] = [
            f"in-{_slug(row.chapter)}",
            f"by-{claim.by}",
            f"basis-{_slug(claim.basis)}",
            badge_class(row.label),
        ]
        return line


class Verdicts(_TableDirective):
    """``{verdicts} <slug>``: the table of one chapter; ``:by: paper`` or ``:by: ours``: a part."""

    required_arguments = 1
    option_spec = {"by": lambda text: directives.choice(text, ("paper", "ours"))}  # noqa: RUF012

    def build(self) -> list[nodes.Node]:
        by = self.options.get("by")
        rows = collect(root=self.root, chapter=self.arguments[0])
        rows = [r for r in rows if by in (None, r.claim.by)]
        if not rows:
            raise LedgerError(f"{self.arguments[0]} declares no claim by {by}")
        expected = {"paper": "Paper", "ours": "Expected", None: "Claimed"}[by]
        head = ["Claim", expected, "Measured", "Run on", "Verdict"]
        prefix = "-".join(filter(None, ["row", by]))
        body = []
        for row in rows:
            line = self.row(row, prefix, [])
            if by is None and row.claim.by == "ours":
                line[0].insert(0, small("ours", classes=("ledger-ours",)))
            body.append(line)
        table = _table(head, body, ["ledger-table", "ledger-chapter"])
        return [*self.summary(rows), *_filtered(table, rows, suffix=f"-{by}" if by else "")]


class Ledger(_TableDirective):
    """``{ledger}``: all rows of all chapters, with counts and filters."""

    def build(self) -> list[nodes.Node]:
        rows = collect(root=self.root)
        if not rows:
            return [nodes.paragraph("", "No chapter has declared a claim yet.")]
        chapters = load_all(root=self.root)
        number = {c.slug: c.number for c in chapters}
        body = []
        for row in rows:
            lead = nodes.entry(
                "", nodes.paragraph("", "", link(str(number[row.chapter]), index(row.chapter)))
            )
            lead += small(row.claim.by)
            body.append(self.row(row, "row", [lead]))
        head = ["Chapter", "Claim", "Claimed", "Measured", "Run on", "Verdict"]
        return [
            *self.summary(rows),
            self.counts(rows, chapters),
            *_filtered(_table(head, body, ["ledger-table", "ledger-all"]), rows, chapters),
        ]

    def counts(self, rows: list[Row], chapters: tuple[Chapter, ...]) -> nodes.table:
        """Return one table of counts: the paper's rows and ours of each chapter, basis, and all."""
        labels = [v for v in (*VERDICTS, NOT_REPORTED) if v != NOT_REPORTED or v in tally(rows)]
        parts = [
            (
                link(f"{c.number} {c.title}", index(c.slug)),
                f"in-{_slug(c.slug)}",
                [r for r in rows if r.chapter == c.slug],
            )
            for c in chapters
        ]
        parts += [
            (
                nodes.emphasis("", basis),
                f"basis-{_slug(basis)}",
                [r for r in rows if r.claim.basis == basis],
            )
            for basis in BASES
        ]
        body = []
        for name, group, part in [*parts, (nodes.strong("", "All"), "", rows)]:
            for by, found in tally_by(part).items():
                if not found:
                    continue
                first = nodes.entry("", nodes.paragraph("", "", name.deepcopy()), small(WHOSE[by]))
                counts = [found.get(label, 0) or "·" for label in labels] + [sum(found.values())]
                cells = [nodes.entry("", nodes.paragraph("", str(count))) for count in counts]
                # ledger.js makes a count a link to its rows: what this line and column choose.
                chosen = [f"by-{by}", *((f"of-{group}",) if group else ())]
                body.append(nodes.row("", first, *cells, classes=chosen))
        return _table(["Rows by", *labels, "all"], body, ["ledger-counts"])


class ChapterCards(_TableDirective):
    """``{chapter-cards}``: a card for each chapter of the book, written or planned."""

    def build(self) -> list[nodes.Node]:
        entries = load_contents(root=self.root)
        written = chapter_slugs(self.root)
        missing = set(written) - {e.slug for e in entries}
        if missing:
            raise LedgerError(f"data/chapters.yml does not list {', '.join(sorted(missing))}")
        cards = [self.card(entry, entry.slug in written) for entry in entries]
        count = nodes.paragraph("", f"{len(written)} of {len(entries)} chapters are written.")
        return [count, box(*cards, classes=["chapter-cards"])]

    def card(self, entry: Entry, written: bool) -> nodes.container:
        title, question = entry.title, entry.question
        if written:
            chapter = load_chapter(entry.slug, root=self.root)
            title, question = chapter.title, chapter.question
            if chapter.paper.arxiv != entry.arxiv:
                raise LedgerError(
                    f"{entry.slug}: arXiv {entry.arxiv} in data/chapters.yml, "
                    f"{chapter.paper.arxiv} in claims.yml"
                )
            state = self.summary(collect(root=self.root, chapter=entry.slug))
            name: nodes.Node = link(title, index(entry.slug))
        else:
            planned = nodes.inline("", "planned", classes=["verdict-badge", "chapter-planned"])
            state = [nodes.paragraph("", "", planned, classes=["verdict-counts"])]
            name = nodes.Text(title)
        return box(
            small(f"Chapter {entry.number} · ", _arxiv(entry.arxiv)),
            nodes.paragraph("", "", name, classes=["chapter-card-title"]),
            nodes.paragraph("", "", *self.inline(question)),
            box(*state, classes=["chapter-card-state"]),
            classes=["chapter-card", "chapter-written" if written else "chapter-waiting"],
        )


class PaperCard(_TableDirective):
    """``{paper-card} <slug>``: the paper's citation and the question, on top of a chapter."""

    required_arguments = 1

    def build(self) -> list[nodes.Node]:
        chapter = load_chapter(self.arguments[0], root=self.root)
        paper = chapter.paper
        facts = [", ".join(paper.authors), paper.venue, paper.date, paper.licence]
        citation: list[nodes.Node] = [nodes.Text(" · ".join(filter(None, facts)) + " · ")]
        return [
            box(
                small("The paper"),
                nodes.paragraph("", paper.title, classes=["paper-card-title"]),
                nodes.paragraph("", "", *citation, _arxiv(paper.arxiv, paper.version)),
                nodes.paragraph(
                    "", "", nodes.strong("", "Question. "), *self.inline(chapter.question)
                ),
                classes=["paper-card"],
            )
        ]


def _arxiv(identifier: str, version: str = "") -> nodes.reference:
    name = f"{identifier}{version}"
    return nodes.reference(
        "", f"arXiv {name}", refuri=f"https://arxiv.org/abs/{name}", internal=False
    )


def _filtered(
    table: nodes.table, rows: list[Row], chapters: tuple[Chapter, ...] = (), suffix: str = ""
) -> list[nodes.Node]:
    """Put a form above a table, which ledger.js brings to life; hidden, so harmless, without it."""
    table["ids"] = [f"ledger-rows{suffix}"]
    bases = [b for b in BASES if any(r.claim.basis == b for r in rows)]
    makers = [by for by in ("paper", "ours") if any(r.claim.by == by for r in rows)]
    menus = {
        "Chapter": [(f"in-{_slug(c.slug)}", f"{c.number} {c.title}") for c in chapters],
        "Verdict": [(badge_class(v), v) for v in tally(rows)],
        "Run on": [(f"basis-{_slug(b)}", b) for b in bases],
        "Claim by": [(f"by-{by}", {"paper": "the paper", "ours": "us"}[by]) for by in makers],
    }
    selects = "".join(
        f'<label>{label} <select><option value="">all</option>'
        + "".join(f'<option value="{c}">{html.escape(text)}</option>' for c, text in options)
        + "</select></label>"
        for label, options in menus.items()
        if len(options) > 1 or (label == "Chapter" and chapters)
    )
    form = (
        f'<form class="ledger-filters" data-table="{table["ids"][0]}" hidden '
        f'aria-label="Filter the rows">{selects}'
        '<label>Text <input type="search" autocomplete="off"></label>'
        '<button type="reset">Show all</button><output aria-live="polite"></output></form>'
    )
    return [nodes.raw("", form, format="html"), table]


class ClaimCard:
    """How myst-nb shows a stored claim or drawing: `myst_nb.core.render.MimeRenderPlugin`."""

    mime_priority_overrides = (("html", MIME, 1),)

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Element] | None:
        """Return the card of a claim, or a drawing as part of the page; None for other outputs."""
        if data.mime_type == "image/svg+xml":
            return [drawing(str(data.content))]
        if data.mime_type != MIME:
            return None
        env = renderer.renderer.sphinx_env
        root = Path(env.srcdir)
        try:
            found = Measurement.from_json(data.content)
            claim = find_claim(found.id, root=root)
            there = LEDGER in env.found_docs
            ledger = env.app.builder.get_relative_uri(env.docname, LEDGER) if there else ""
            text = card(claim, found, verdict(claim, found) or NOT_REPORTED, ledger)
        except LedgerError as error:
            logger.warning("%s", error, location=(env.docname, data.line), type="ledger")
            return []
        for file in root.glob(f"book/{found.id.partition('.')[0]}_*/claims.yml"):
            env.note_dependency(str(file))
        return [nodes.raw("", text, format="html", classes=["output", "text_html"])]


def _note_formulas(app: Sphinx, document: nodes.document) -> None:
    """Have MathJax loaded where the only formulas of a page stand in cards and captions."""
    texts = (node.astext() for node in document.findall(nodes.raw))
    if any("\\(" in t and ('class="claim-card' in t or "mathjax_process" in t) for t in texts):
        app.env.get_domain("math").data["has_equations"][app.env.docname] = True


def _configure(app: Sphinx, config: Config) -> None:
    folders = [(Path(app.confdir) / entry).resolve() for entry in config.html_static_path]
    if STATIC not in folders:
        config.html_static_path.append(str(STATIC))
    # A chart's machine-readable form is stored for Jupyter, not for the page. A class name without
    # its module, in a docstring's type, may be that of two packages: the link is to one of them.
    # A new list: the one here may be Sphinx's default, which the next build would find changed.
    ours = ["mystnb.unknown_mime_type", "ref.python"]
    config.suppress_warnings = [*config.suppress_warnings, *ours]
    # An entry point would serve every book of this environment, and only after an installation.
    renderers = load_mime_renders()
    if ClaimCard not in renderers:
        renderers.append(ClaimCard)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives, the style and the script with Sphinx."""
    app.add_directive("verdicts", Verdicts)
    app.add_directive("ledger", Ledger)
    app.add_directive("chapter-cards", ChapterCards)
    app.add_directive("paper-card", PaperCard)
    app.setup_extension("tenpapers.exports")
    app.setup_extension("tenpapers.findings")
    app.connect("config-inited", _configure)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-read", _note_formulas)
    app.connect("missing-reference", resolve)
    app.add_css_file("ledger.css")
    app.add_js_file("ledger.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
