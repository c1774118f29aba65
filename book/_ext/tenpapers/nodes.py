"""What the ledger's pages are built of: badges, links, and directives that follow their files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from lib.core.ledger.claims import LedgerError
from lib.core.ledger.reporting import anchor, badge_class
from lib.core.ledger.rows import Row, collect, notebook_paths

__all__ = [
    "LEDGER",
    "LedgerDirective",
    "all_rows",
    "badge",
    "box",
    "drawing",
    "index",
    "link",
    "note_sources",
    "outdated",
    "place",
    "plain",
    "resolve",
    "small",
]

logger = logging.getLogger(__name__)

LEDGER = "book/ledger"
"""The page with all rows."""

_FILES = "ledger_files"  # the key, in a page's metadata, of the files it was made from


def badge(label: str, prefix: str = "") -> nodes.inline:
    """Return a verdict's badge, which carries its word as well as its colour."""
    return nodes.inline("", prefix + label, classes=["verdict-badge", badge_class(label)])


def small(*children: nodes.Node | str, classes: tuple[str, ...] = ()) -> nodes.paragraph:
    """Return a paragraph of small print."""
    parts = [nodes.Text(c) if isinstance(c, str) else c for c in children]
    return nodes.paragraph("", "", *parts, classes=["ledger-small", *classes])


def box(*children: nodes.Node, classes: list[str], **attributes: object) -> nodes.container:
    """Return a ``div``."""
    # is_div: sphinx-design then leaves out the class "container", which Bootstrap styles.
    return nodes.container("", *children, classes=classes, is_div=True, **attributes)


def drawing(svg: str) -> nodes.raw:
    """Return a figure's drawing as a part of the page, so that its text takes the page's font."""
    # It may be wider than a phone, and is then moved by keys too.
    return nodes.raw("", f'<div class="figure-drawing" tabindex="0">{svg}</div>', format="html")


def link(content: str | nodes.Element, document: str, target: str = "") -> addnodes.pending_xref:
    """Return a link to a page of the book, or to an anchor on it, resolved by `resolve`."""
    return addnodes.pending_xref(
        "",
        nodes.inline("", content) if isinstance(content, str) else content,
        refdomain="",
        reftype="ledger",
        reftarget=document,
        ledger_anchor=target,
        refexplicit=True,
        refwarn=False,
    )


def index(slug: str) -> str:
    """Return the document that opens a chapter."""
    return f"book/{slug}/index"


def place(row: Row) -> tuple[str, str]:
    """Return document and anchor of a row: its card, or its line in the ledger if it has none."""
    if row.notebook:
        return row.notebook.removesuffix(".ipynb"), anchor(row.claim.id)
    return LEDGER, f"row-{row.claim.id}"


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, child: nodes.Element
) -> nodes.Element | None:
    """Turn a ledger link into a reference, or into plain text where the page is not in the book."""
    if node["reftype"] != "ledger":
        return None
    document = node["reftarget"]
    if document not in env.found_docs:
        return child
    return make_refnode(app.builder, node["refdoc"], document, node["ledger_anchor"], child)


def plain(parsed: list[nodes.Node]) -> list[nodes.Node]:
    """Turn HTML among parsed Markdown into the text it was written as: words are never markup."""
    holder = nodes.Element("", *parsed)
    for raw in list(holder.findall(nodes.raw)):
        raw.parent.replace(raw, nodes.Text(raw.astext()))
    return list(holder.children)


def _sources(root: Path) -> list[str]:
    """Return every file a page of the ledger depends on, from the source folder."""
    declared = [*root.glob("book/ch*/claims.yml"), *root.glob("book/ch*/findings.yml")]
    found = [*declared, *notebook_paths(root), root / "data/chapters.yml"]
    return sorted(p.relative_to(root).as_posix() for p in found if p.is_file())


def note_sources(env: BuildEnvironment) -> None:
    """Have the page that is being read made again when a file of the ledger changes."""
    files = _sources(Path(env.srcdir))
    for file in files:
        env.note_dependency(str(Path(env.srcdir) / file))
    # note_dependency cannot see a file that does not exist yet; `outdated` compares the list.
    env.metadata[env.docname][_FILES] = "\n".join(files)


def outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Return the pages made from another set of files than there is now."""
    files = "\n".join(_sources(Path(env.srcdir)))
    return [doc for doc, data in env.metadata.items() if data.get(_FILES, files) != files]


@lru_cache(maxsize=2)
def _collected(root: Path, stamp: tuple[tuple[str, int], ...]) -> dict[str, Row]:
    return {row.claim.id: row for row in collect(root=root)}


def all_rows(root: Path) -> dict[str, Row]:
    """Return every row of the book by its claim's id, read again only when a file has changed.

    Raises
    ------
    LedgerError
        As `collect`.
    """
    stamp = tuple((name, (root / name).stat().st_mtime_ns) for name in _sources(root))
    return _collected(root, stamp)


class LedgerDirective(SphinxDirective):  # type: ignore[misc]  # Sphinx is untyped here
    """What the ledger's directives share: where the data are, and how errors reach the build."""

    has_content = False

    @property
    def root(self) -> Path:
        """The folder that holds the book's sources."""
        return Path(self.env.srcdir)

    def build(self) -> list[nodes.Node]:
        """Return what the directive stands for."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Call `build`; an error of the ledger becomes a warning, which fails the build."""
        note_sources(self.env)
        try:
            return self.build()
        except LedgerError as error:
            logger.warning("%s", error, location=self.get_location(), type="ledger")
            return [nodes.paragraph("", f"The ledger cannot be read: {error}")]

    def inline(self, text: str) -> list[nodes.Node]:
        """Parse inline Markdown (or reStructuredText), mathematics included."""
        parsed, messages = self.parse_inline(text, lineno=self.lineno)
        return [*plain(parsed), *messages]
