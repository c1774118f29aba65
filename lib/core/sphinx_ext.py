"""The ledger on the book's pages: the directives verdicts, ledger, chapter-cards and paper-card.

All four read ``book/*/claims.yml`` and the outputs stored in ``notebooks/``, below the Sphinx
source folder, and run nothing. A page with one of them is read again when any of these files
changes, comes or goes.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from lib.core.ledger.claims import (
    BASES,
    Chapter,
    Entry,
    LedgerError,
    chapter_slugs,
    load_all,
    load_chapter,
    load_contents,
)
from lib.core.ledger.reporting import anchor, badge_class
from lib.core.ledger.rows import Row, collect, notebook_paths, tally
from lib.core.ledger.values import format_interval, format_value
from lib.core.ledger.verdicts import NOT_REPORTED, VERDICTS, describe
from lib.core.paths import ROOT

__all__ = ["setup"]

logger = logging.getLogger(__name__)

STATIC = ROOT / "book" / "_static"
_WIDTHS = {"Claim": 40, "Rows by": 40, "Claimed": 24, "Paper": 24, "Expected": 24, "Measured": 24}
_FILES = "ledger_files"  # the key, in a page's metadata, of the files it was made from


def _sources(root: Path) -> list[str]:
    """Return every file a page of the ledger depends on, from the source folder."""
    found = [*root.glob("book/ch*/claims.yml"), *notebook_paths(root), root / "data/chapters.yml"]
    return sorted(p.relative_to(root).as_posix() for p in found if p.is_file())


def _slug(text: str) -> str:
    """Return a word usable as a style class."""
    return text.replace(" ", "-").replace("_", "-")


def _badge(label: str, prefix: str = "") -> nodes.inline:
    return nodes.inline("", prefix + label, classes=["verdict-badge", badge_class(label)])


def _small(*children: nodes.Node | str, classes: tuple[str, ...] = ()) -> nodes.paragraph:
    parts = [nodes.Text(c) if isinstance(c, str) else c for c in children]
    return nodes.paragraph("", "", *parts, classes=["ledger-small", *classes])


def _box(*children: nodes.Node, classes: list[str]) -> nodes.container:
    # is_div: sphinx-design then leaves out the class "container", which Bootstrap styles.
    return nodes.container("", *children, classes=classes, is_div=True)


def _link(text: str, document: str, target: str = "") -> addnodes.pending_xref:
    """Return a link to a page of the book, or to an anchor on it, resolved by `_resolve`."""
    return addnodes.pending_xref(
        "",
        nodes.inline("", text),
        refdomain="",
        reftype="ledger",
        reftarget=document,
        ledger_anchor=target,
        refexplicit=True,
        refwarn=False,
    )


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, child: nodes.Element
) -> nodes.Element | None:
    """Turn a ledger link into a reference, or into plain text where the page is not in the book."""
    if node["reftype"] != "ledger":
        return None
    document = node["reftarget"]
    if document not in env.found_docs:
        return child
    return make_refnode(app.builder, node["refdoc"], document, node["ledger_anchor"], child)


def _table(head: list[str], rows: list[nodes.row], classes: list[str]) -> nodes.table:
    group = nodes.tgroup("", cols=len(head))
    # Relative widths, for writers other than HTML; the text writer never ends on narrow ones.
    group += [nodes.colspec("", colwidth=_WIDTHS.get(title, 12)) for title in head]
    titles = [nodes.entry("", nodes.paragraph("", title)) for title in head]
    group += nodes.thead("", nodes.row("", *titles))
    group += nodes.tbody("", *rows)
    return nodes.table("", group, classes=[*classes, "colwidths-auto"])


class _LedgerDirective(SphinxDirective):  # type: ignore[misc]  # Sphinx is untyped here
    """What the four directives share: where the data are, and how errors reach the build."""

    has_content = False

    @property
    def root(self) -> Path:
        return Path(self.env.srcdir)

    def build(self) -> list[nodes.Node]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        files = _sources(self.root)
        for file in files:
            self.env.note_dependency(str(self.root / file))
        # note_dependency cannot see a file that does not exist yet; `_outdated` compares the list.
        self.env.metadata[self.env.docname][_FILES] = "\n".join(files)
        try:
            return self.build()
        except LedgerError as error:
            logger.warning("%s", error, location=self.get_location(), type="ledger")
            return [nodes.paragraph("", f"The ledger cannot be read: {error}")]

    def inline(self, text: str) -> list[nodes.Node]:
        """Parse inline Markdown (or reStructuredText), mathematics included."""
        parsed, messages = self.parse_inline(text, lineno=self.lineno)
        return [*parsed, *messages]

    def summary(self, rows: list[Row]) -> nodes.paragraph:
        counts = [_badge(label, f"{n} ") for label, n in tally(rows).items()]
        spaced = [node for badge in counts for node in (badge, nodes.Text(" "))]
        return nodes.paragraph("", "", *spaced, classes=["verdict-counts"])

    def claim_cell(self, row: Row) -> nodes.entry:
        claim = row.claim
        facts = [claim.source, claim.kind]
        cell = nodes.entry("", nodes.paragraph("", "", *self.inline(claim.statement)))
        cell += _small(" · ".join(facts) + " · ", nodes.literal("", claim.id))
        if claim.reason:
            cell += _small("Why not here: ", *self.inline(claim.reason))
        elif claim.control:
            cell += _small("Must fail: ", *self.inline(claim.control))
        return cell

    def measured_cell(self, row: Row) -> nodes.entry:
        unit = f" {row.claim.unit}" if row.claim.unit else ""
        cell = nodes.entry()
        if row.measurement is None:
            cell += nodes.paragraph("", "—" if row.verdict else NOT_REPORTED)
            return cell
        cell += nodes.paragraph("", format_value(row.measured) + unit)
        if row.interval:
            cell += _small(format_interval(row.interval) + unit)
        document = row.notebook.removesuffix(".ipynb")
        number = Path(document).name.partition("_")[0]
        place = f"notebook {number}, cell {row.cell}"
        cell += _small(_link(place, document, anchor(row.claim.id)))
        return cell

    def claimed_cell(self, row: Row) -> nodes.entry:
        claim = row.claim
        cell = nodes.entry()
        if claim.value is not None:
            unit = f" {claim.unit}" if claim.unit else ""
            cell += nodes.paragraph("", format_value(claim.value) + unit)
        tolerance = describe(claim)
        if tolerance:
            cell += _small(f"holds if {tolerance}")
        if not cell.children:
            cell += nodes.paragraph("", "—")
        return cell

    def row(self, row: Row, prefix: str, lead: list[nodes.entry]) -> nodes.row:
        claim = row.claim
        line = nodes.row("", *lead, self.claim_cell(row), self.claimed_cell(row))
        line += self.measured_cell(row)
        line += nodes.entry("", nodes.paragraph("", claim.basis))
        line += nodes.entry("", nodes.paragraph("", "", _badge(row.label)))
        line["ids"] = [f"{prefix}-{claim.id}"]
        # What the filters of ledger.js look at.
        line["classes"] = [
            f"in-{_slug(row.chapter)}",
            f"by-{claim.by}",
            f"basis-{_slug(claim.basis)}",
            badge_class(row.label),
        ]
        return line


class Verdicts(_LedgerDirective):
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
                line[0].insert(0, _small("ours", classes=("ledger-ours",)))
            body.append(line)
        table = _table(head, body, ["ledger-table", "ledger-chapter"])
        return [self.summary(rows), *_filtered(table, rows, suffix=f"-{by}" if by else "")]


class Ledger(_LedgerDirective):
    """``{ledger}``: all rows of all chapters, with counts and filters."""

    def build(self) -> list[nodes.Node]:
        rows = collect(root=self.root)
        if not rows:
            return [nodes.paragraph("", "No chapter has declared a claim yet.")]
        chapters = load_all(root=self.root)
        number = {c.slug: c.number for c in chapters}
        body = []
        for row in rows:
            by = "paper" if row.claim.by == "paper" else "ours"
            lead = nodes.entry(
                "", nodes.paragraph("", "", _link(str(number[row.chapter]), _index(row.chapter)))
            )
            lead += _small(by)
            body.append(self.row(row, "row", [lead]))
        head = ["Chapter", "Claim", "Claimed", "Measured", "Run on", "Verdict"]
        return [
            self.summary(rows),
            self.counts(rows, chapters),
            *_filtered(_table(head, body, ["ledger-table", "ledger-all"]), rows, chapters),
        ]

    def counts(self, rows: list[Row], chapters: tuple[Chapter, ...]) -> nodes.table:
        """Return one table of counts: a line a chapter, then a line a basis, then all."""
        labels = [v for v in (*VERDICTS, NOT_REPORTED) if v != NOT_REPORTED or v in tally(rows)]

        def line(name: nodes.Node, part: list[Row], *classes: str) -> nodes.row:
            found = tally(part)
            cells = [str(found.get(label, 0) or "·") for label in labels] + [str(len(part))]
            entries = [nodes.entry("", nodes.paragraph("", cell)) for cell in cells]
            first = nodes.entry("", nodes.paragraph("", "", name))
            return nodes.row("", first, *entries, classes=list(classes))

        body = [
            line(
                _link(f"{c.number} {c.title}", _index(c.slug)),
                [r for r in rows if r.chapter == c.slug],
            )
            for c in chapters
        ]
        for basis in BASES:
            part = [r for r in rows if r.claim.basis == basis]
            if part:
                body.append(line(nodes.emphasis("", basis), part, "ledger-basis"))
        body.append(line(nodes.strong("", "All"), rows, "ledger-total"))
        return _table(["Rows by", *labels, "all"], body, ["ledger-counts"])


class ChapterCards(_LedgerDirective):
    """``{chapter-cards}``: a card for each chapter of the book, written or planned."""

    def build(self) -> list[nodes.Node]:
        entries = load_contents(root=self.root)
        written = chapter_slugs(self.root)
        missing = set(written) - {e.slug for e in entries}
        if missing:
            raise LedgerError(f"data/chapters.yml does not list {', '.join(sorted(missing))}")
        cards = [self.card(entry, entry.slug in written) for entry in entries]
        return [_box(*cards, classes=["chapter-cards"])]

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
            name: nodes.Node = _link(title, _index(entry.slug))
        else:
            planned = nodes.inline("", "planned", classes=["verdict-badge", "chapter-planned"])
            state = nodes.paragraph("", "", planned, classes=["verdict-counts"])
            name = nodes.Text(title)
        return _box(
            _small(f"Chapter {entry.number} · ", _arxiv(entry.arxiv)),
            nodes.paragraph("", "", name, classes=["chapter-card-title"]),
            nodes.paragraph("", "", *self.inline(question)),
            state,
            classes=["chapter-card", "chapter-written" if written else "chapter-waiting"],
        )


class PaperCard(_LedgerDirective):
    """``{paper-card} <slug>``: the paper's citation and the question, on top of a chapter."""

    required_arguments = 1

    def build(self) -> list[nodes.Node]:
        chapter = load_chapter(self.arguments[0], root=self.root)
        paper = chapter.paper
        facts = [", ".join(paper.authors), paper.venue, paper.date, paper.licence]
        citation: list[nodes.Node] = [nodes.Text(" · ".join(filter(None, facts)) + " · ")]
        return [
            _box(
                _small("The paper"),
                nodes.paragraph("", paper.title, classes=["paper-card-title"]),
                nodes.paragraph("", "", *citation, _arxiv(paper.arxiv, paper.version)),
                nodes.paragraph(
                    "", "", nodes.strong("", "Question. "), *self.inline(chapter.question)
                ),
                classes=["paper-card"],
            )
        ]


def _index(slug: str) -> str:
    return f"book/{slug}/index"


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


def _outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Return the pages made from another set of files than there is now."""
    files = "\n".join(_sources(Path(env.srcdir)))
    return [doc for doc, data in env.metadata.items() if data.get(_FILES, files) != files]


def _note_formulas(app: Sphinx, document: nodes.document) -> None:
    """Have MathJax loaded where the only formulas of a page stand in claim cards."""
    cards = (node.astext() for node in document.findall(nodes.raw))
    if any('class="claim-card' in text and "\\(" in text for text in cards):
        app.env.get_domain("math").data["has_equations"][app.env.docname] = True


def _configure(app: Sphinx, config: Config) -> None:
    folders = [(Path(app.confdir) / entry).resolve() for entry in config.html_static_path]
    if STATIC not in folders:
        config.html_static_path.append(str(STATIC))
    # The claim's machine-readable form is stored for the ledger, not for the page.
    if "mystnb.unknown_mime_type" not in config.suppress_warnings:
        config.suppress_warnings.append("mystnb.unknown_mime_type")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives, the style and the script with Sphinx."""
    app.add_directive("verdicts", Verdicts)
    app.add_directive("ledger", Ledger)
    app.add_directive("chapter-cards", ChapterCards)
    app.add_directive("paper-card", PaperCard)
    app.connect("config-inited", _configure)
    app.connect("env-get-outdated", _outdated)
    app.connect("doctree-read", _note_formulas)
    app.connect("missing-reference", _resolve)
    app.add_css_file("ledger.css")
    app.add_js_file("ledger.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
