"""A book of one chapter, for tests of what the ledger shows on pages."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from lib.core.ledger import MIME, Measurement

CLAIM: dict[str, Any] = {
    "id": "ch01.a",
    "by": "paper",
    "source": "Theorem 1",
    "statement": "Revenue $r_1$ *rises*.",
    "kind": "number",
    "basis": "exact",
    "value": "3/2",
    "tolerance": {"exact": True},
}
CHAPTER: dict[str, Any] = {
    "chapter": "ch01_toy",
    "number": 1,
    "title": "Toys",
    "question": "Does $x$ hold?",
    "paper": {
        "title": "On Toys",
        "authors": ["A. Author", "B. Author"],
        "arxiv": "2605.31036",
        "version": "v1",
        "licence": "CC BY 4.0",
    },
    "claims": [
        CLAIM,
        CLAIM
        | {"id": "ch01.b", "by": "ours", "basis": "simulated", "value": 1, "control": "$y$"}
        | {"null": {"value": 0, "why": "no toy"}},
        CLAIM | {"id": "ch01.c", "value": 2},
        CLAIM | {"id": "ch01.d", "basis": "out of reach", "reason": "No data.", "value": None},
    ],
}
CONTENTS = [
    {"number": 1, "slug": "ch01_toy", "title": "T", "arxiv": "2605.31036", "question": "Q?"},
    {"number": 2, "slug": "ch02_later", "title": "Later", "arxiv": "2605.31037", "question": "Q?"},
]
PAGES = {
    "index.md": "# Book\n\n```{toctree}\nbook/ch01_toy/index\nbook/ledger\n"
    "notebooks/ch01_toy/01_one\n```\n\n```{chapter-cards}\n```\n",
    "book/ledger.md": "# Ledger\n\n```{ledger}\n```\n",
    "book/ch01_toy/index.md": "# Toys\n\n```{paper-card} ch01_toy\n```\n\n"
    "```{verdicts} ch01_toy\n```\n\n## Ours\n\n```{verdicts} ch01_toy\n:by: ours\n```\n",
    "conf.py": "extensions = ['myst_nb', 'tenpapers.ledger']\nnb_execution_mode = 'off'\n"
    "myst_enable_extensions = ['dollarmath']\nhtml_theme = 'basic'\nproject = 'Toys'\n"
    "exclude_patterns = ['_build']\n",
}


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def store(root: Path, name: str, *measurements: Measurement, **more: Any) -> None:
    """Write a notebook in which each measurement is stored with a card that no page shows."""
    cells = [nbformat.v4.new_markdown_cell(f"# {name}")]
    for i, found in enumerate(measurements, 1):
        html = '<div class="claim-card">as it was stored</div>'
        data = {MIME: found.to_json() | more, "text/html": html, "text/plain": "card"}
        output = nbformat.v4.new_output("display_data", data=data)
        cells.append(nbformat.v4.new_code_cell("report()", execution_count=i, outputs=[output]))
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
    language = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=language)
    write(root, f"notebooks/ch01_toy/{name}.ipynb", nbformat.writes(notebook))


def build(root: Path, *, fails: bool = False, builder: str = "html") -> list[str]:
    """Build with ``-W -n --keep-going`` and return the pages that were read again."""
    warnings, read = StringIO(), []
    out = root / "_build" / builder
    with patch_docutils(str(root)), docutils_namespace():
        app = Sphinx(
            srcdir=root,
            confdir=root,
            outdir=out,
            doctreedir=root / "_build" / "doctrees",
            buildername=builder,
            confoverrides={"nitpicky": True},
            status=None,
            warning=warnings,
            warningiserror=False,
            parallel=1,
        )
        app.connect("source-read", lambda _, name, source: read.append(name))
        app.build()
    assert bool(warnings.getvalue()) == fails, warnings.getvalue()
    return [*sorted(read), warnings.getvalue()] if fails else sorted(read)


def page(root: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((root / "_build/html" / name).read_text(encoding="utf-8"), "html.parser")
