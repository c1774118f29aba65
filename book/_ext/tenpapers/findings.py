"""Findings on the pages: the directives of chapters, front page and all; two roles for rows."""

from __future__ import annotations

import base64
import difflib
import hashlib
import os
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import ReferenceRole

from lib.core.ledger.claims import LedgerError, load_chapter, load_contents
from lib.core.ledger.findings import (
    Finding,
    finding_problems,
    load_findings,
    measured,
    stored_figure,
)
from lib.core.ledger.rows import Row
from tenpapers.nodes import (
    LedgerDirective,
    all_rows,
    badge,
    box,
    drawing,
    index,
    link,
    note_sources,
    place,
    small,
)

__all__ = ["setup"]

logger = logging.getLogger(__name__)


def find_row(id: str, root: Path) -> Row:
    """Return the row of a claim; an unknown id is an error that names those that come close."""
    rows = all_rows(root)
    if id not in rows:
        close = ", ".join(difflib.get_close_matches(id, rows, n=3))
        raise LedgerError(f"no claim {id!r}" + (f"; did you mean {close}?" if close else ""))
    return rows[id]


class _LedgerRole(ReferenceRole):  # type: ignore[misc]  # Sphinx is untyped here
    """What both roles share: the row, and how errors reach the build."""

    def shown(self, row: Row, label: str) -> nodes.Element:
        raise NotImplementedError

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        note_sources(self.env)
        id, _, label = self.target.partition(":")
        try:
            row = find_row(id.strip(), Path(self.env.srcdir))
            found: nodes.Node = link(self.shown(row, label.strip()), *place(row))
        except LedgerError as error:
            logger.warning("%s", error, location=self.get_location(), type="ledger")
            found = nodes.literal("", self.text)
        return [found], []


class Measured(_LedgerRole):
    """``{measured}`claim.id```: the stored value, linked to where it was measured."""

    def shown(self, row: Row, label: str) -> nodes.Element:
        return nodes.inline("", measured(row, label), classes=["measured"])


class RowLink(_LedgerRole):
    """``{row}`claim.id``` or ``{row}`words <claim.id>```: a link with the verdict's chip."""

    def shown(self, row: Row, label: str) -> nodes.Element:
        words = nodes.Text(self.title) if self.has_explicit_title else nodes.literal("", self.title)
        return nodes.inline("", "", badge(row.label), nodes.Text(" "), words, classes=["row-link"])


class Findings(LedgerDirective):
    """``{findings} <slug>``: what a chapter found, each sentence with its rows and its figure."""

    required_arguments = 1

    def build(self) -> list[nodes.Node]:
        slug = self.arguments[0]
        findings, rows = self.checked(slug)
        found = [self.finding(one, slug, rows, "", picture=True) for one in findings]
        return [box(*found, classes=["findings"])]

    def checked(self, slug: str) -> tuple[tuple[Finding, ...], dict[str, Row]]:
        """Return a chapter's findings and rows; an error where a sentence outruns its rows."""
        findings = load_findings(slug, root=self.root)
        if not findings:
            raise LedgerError(f"there is no book/{slug}/findings.yml")
        rows = {id: row for id, row in all_rows(self.root).items() if row.chapter == slug}
        problems = [text for one in findings for text in finding_problems(one, rows)]
        if problems:
            raise LedgerError("\n".join(problems))
        return findings, rows

    def finding(
        self, finding: Finding, slug: str, rows: dict[str, Row], prefix: str, *, picture: bool
    ) -> nodes.container:
        said = nodes.paragraph("", "", *self.inline(finding.sentence), classes=["finding-sentence"])
        limits: list[nodes.Node | str] = ["Scope: ", *self.inline(finding.scope)]
        if finding.budget:
            limits += [" · Budget: ", *self.inline(finding.budget)]
        parts: list[nodes.Node] = [said, small(*limits)]
        for by, name in (("paper", "Rows of the paper: "), ("ours", "Our rows: ")):
            chips = [self.chip(rows[id]) for id in finding.rows if rows[id].claim.by == by]
            if chips:
                parts.append(small(name, *chips, classes=("finding-rows",)))
        text = box(*parts, classes=["finding-text"])
        figure = [self.figure(finding, slug)] if finding.figure and picture else []
        return box(text, *figure, classes=["finding"], ids=[f"{prefix}finding-{finding.id}"])

    def chip(self, row: Row) -> nodes.inline:
        short = row.claim.id.partition(".")[2]
        words = nodes.inline("", "", badge(row.label), nodes.Text(" "), nodes.literal("", short))
        return nodes.inline("", "", link(words, *place(row)), nodes.Text(" "), classes=["row-link"])

    def figure(self, finding: Finding, slug: str) -> nodes.container:
        """Return picture or chart with its caption, as the notebook stored them, and a link."""
        assert finding.figure is not None
        parts: list[nodes.Node] = []
        for output in stored_figure(finding.figure, slug, root=self.root):
            data: dict[str, Any] = output["data"]
            if "image/png" in data:
                alt = output["metadata"].get("image/png", {}).get("alt", "")
                parts.append(nodes.image(uri=self.picture(data["image/png"]), alt=alt))
            elif "image/svg+xml" in data:
                parts.append(drawing(data["image/svg+xml"]))
            elif "text/html" in data and not any("tenpapers" in mime for mime in data):
                parts.append(nodes.raw("", data["text/html"], format="html"))
        document = f"notebooks/{slug}/{finding.figure.notebook}"
        parts.append(small(link("Where this figure is made", document)))
        return box(*parts, classes=["finding-figure"])

    def picture(self, encoded: str) -> str:
        """Write a picture where myst-nb writes those of notebooks, by the same name."""
        content = base64.b64decode(encoded)
        folder = Path(self.env.mystnb_config.output_folder)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{hashlib.sha256(content).hexdigest()}.png"
        file.write_bytes(content)
        return "/" + os.path.relpath(file.resolve(), self.root)


class AllFindings(Findings):
    """``{all-findings}``: the findings of every chapter that has some, a section for each."""

    required_arguments = 0

    def build(self) -> list[nodes.Node]:
        found = []
        for one in load_contents(root=self.root):
            if not load_findings(one.slug, root=self.root):
                continue
            findings, rows = self.checked(one.slug)
            chapter = load_chapter(one.slug, root=self.root)
            title = f"{chapter.number}. {chapter.title}"
            prefix = f"ch{chapter.number:02d}-"
            section = nodes.section("", nodes.title("", title), ids=[f"{prefix}findings"])
            whole = link("The chapter, with figures, proofs and limits", index(one.slug))
            section += nodes.paragraph("", "", whole)
            for finding in findings:
                picture = finding is findings[0]
                section += self.finding(finding, one.slug, rows, prefix, picture=picture)
            found.append(section)
        return found


class Headlines(Findings):
    """``{headlines}``: of each chapter that has one, one sentence, two numbers and a link.

    The chapter named in ``:first:`` leads, with its figure.
    """

    required_arguments = 0
    option_spec = {"first": directives.unchanged_required}  # noqa: RUF012

    def build(self) -> list[nodes.Node]:
        written = [one.slug for one in load_contents(root=self.root)]
        slugs = [s for s in written if any(f.headline for f in load_findings(s, root=self.root))]
        first = self.options.get("first")
        if first is not None and first not in slugs:
            raise LedgerError(f"first is {first!r}; expected one of {', '.join(slugs)}")
        found = [self.headline(slug, lead=False) for slug in slugs if slug != first]
        lead = [] if first is None else [self.headline(first, lead=True)]
        return [*lead, box(*found, classes=["headlines"])]

    def headline(self, slug: str, *, lead: bool) -> nodes.container:
        findings, rows = self.checked(slug)
        finding, said = next((one, one.headline) for one in findings if one.headline)
        chapter = load_chapter(slug, root=self.root)
        numbers = []
        for text, claim in said.numbers:
            id, _, label = claim.partition(":")
            value = nodes.inline("", measured(rows[id], label), classes=["headline-value"])
            shown = nodes.paragraph("", "", link(value, *place(rows[id])))
            numbers.append(box(shown, small(*self.inline(text)), classes=["headline-number"]))
        parts: list[nodes.Node] = [
            small(link(f"Chapter {chapter.number}: {chapter.title}", index(slug))),
            nodes.paragraph("", "", *self.inline(said.words), classes=["headline-words"]),
            box(*numbers, classes=["headline-numbers"]),
        ]
        if lead and finding.figure:
            parts.append(self.figure(finding, slug))
        return box(*parts, classes=["headline", *(["headline-lead"] if lead else [])])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register directive and roles; `tenpapers.ledger` asks for this."""
    app.add_directive("findings", Findings)
    app.add_directive("all-findings", AllFindings)
    app.add_directive("headlines", Headlines)
    app.add_role("measured", Measured())
    app.add_role("row", RowLink())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
