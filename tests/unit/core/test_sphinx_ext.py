"""The ledger's directives in a small book, built with warnings as errors."""

from __future__ import annotations

import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from lib.core.ledger import MIME, NOT_REPORTED, VERDICTS, Measurement, load_chapter
from lib.core.ledger.cards import card
from lib.core.ledger.verdicts import verdict

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
    "conf.py": "extensions = ['myst_nb', 'lib.core.sphinx_ext']\nnb_execution_mode = 'off'\n"
    "myst_enable_extensions = ['dollarmath']\nhtml_theme = 'basic'\nproject = 'Toys'\n"
    "exclude_patterns = ['_build']\n",
}


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def store(root: Path, name: str, *measurements: Measurement) -> None:
    claims = {c.id: c for c in load_chapter("ch01_toy", root=root).claims}
    cells = [nbformat.v4.new_markdown_cell(f"# {name}")]
    for i, found in enumerate(measurements, 1):
        claim = claims[found.id]
        full = card(claim, found, str(verdict(claim, found)))
        data = {MIME: found.to_json(), "text/html": full, "text/plain": "card"}
        output = nbformat.v4.new_output("display_data", data=data)
        cells.append(nbformat.v4.new_code_cell("report()", execution_count=i, outputs=[output]))
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
    language = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=language)
    write(root, f"notebooks/ch01_toy/{name}.ipynb", nbformat.writes(notebook))


@pytest.fixture
def book(tmp_path: Path) -> Path:
    root = tmp_path / "book"
    for name, text in PAGES.items():
        write(root, name, text)
    write(root, "book/ch01_toy/claims.yml", yaml.safe_dump(CHAPTER))
    write(root, "data/chapters.yml", yaml.safe_dump(CONTENTS))
    store(
        root,
        "01_one",
        Measurement.of("ch01.a", 1.5),
        Measurement.of("ch01.b", 2, (1, 3), 0),
    )
    return root


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


def test_pages(book: Path):
    build(book)

    chapter = page(book, "book/ch01_toy/index.html")
    rows = {tr["id"]: tr for tr in chapter.select("table.ledger-table tbody tr")}
    assert list(rows) == ["row-ch01.a", "row-ch01.b", "row-ch01.c", "row-ch01.d", "row-ours-ch01.b"]
    badges = [tr.select_one("td:last-child .verdict-badge").text for tr in rows.values()]
    assert badges == ["holds", "differs", "not reported", "not testable here", "differs"]
    first = rows["row-ch01.a"]
    assert first.select_one("td span.math").text == r"\(r_1\)"
    assert first.select_one("td em").text == "rises"
    assert "3/2 ≈ 1.5" in first.text
    assert first.select_one("td a")["href"] == "../../notebooks/ch01_toy/01_one.html#claim-ch01.a"
    assert "[1, 3]" in rows["row-ch01.b"].text
    assert rows["row-ch01.b"].select_one("td .ledger-ours").text == "ours"
    assert "not reported" in rows["row-ch01.c"].select("td")[2].text
    assert "Why not here: No data." in rows["row-ch01.d"].text
    card = chapter.select_one(".paper-card")
    assert "On Toys" in card.text
    assert "A. Author, B. Author · CC BY 4.0 · arXiv 2605.31036v1" in card.text
    assert card.select_one("a")["href"] == "https://arxiv.org/abs/2605.31036v1"
    assert card.select_one("span.math") is not None

    # The link of a row leads to the card of its claim.
    notebook = page(book, "notebooks/ch01_toy/01_one.html")
    assert "holds" in notebook.find(id="claim-ch01.a").text
    # The notebook has formulas in cards only, and still loads MathJax and the style.
    assert any("mathjax" in (s.get("src") or "") for s in notebook.select("script"))
    assert any("ledger.css" in s["href"] for s in notebook.select("link[rel=stylesheet]"))

    ledger = page(book, "book/ledger.html")
    assert len(ledger.select("table.ledger-all tbody tr")) == 4
    assert {"in-ch01-toy", "by-ours", "basis-simulated", "verdict-differs"} <= set(
        ledger.find(id="row-ch01.b")["class"]
    )
    counts = [
        [cell.text.strip() for cell in tr.select("td, th")]
        for tr in ledger.select("table.ledger-counts tr")
    ]
    assert counts == [
        ["Rows by", *VERDICTS, NOT_REPORTED, "all"],
        ["1 Toys", "1", "·", "·", "1", "·", "1", "1", "4"],
        ["exact", "1", "·", "·", "·", "·", "·", "1", "2"],
        ["simulated", "·", "·", "·", "1", "·", "·", "·", "1"],
        ["out of reach", "·", "·", "·", "·", "·", "1", "·", "1"],
        ["All", "1", "·", "·", "1", "·", "1", "1", "4"],
    ]
    form = ledger.select_one("form.ledger-filters")
    assert form.has_attr("hidden")
    classes = {c for tr in ledger.select("table.ledger-all tbody tr") for c in tr["class"]}
    assert {o["value"] for o in form.select("option")} - {""} <= classes
    assert (book / "_build/html/_static/ledger.js").is_file()

    front = page(book, "index.html")
    written, planned = front.select(".chapter-card")
    assert written.select_one("a.internal")["href"] == "book/ch01_toy/index.html"
    badges = [b.text for b in written.select(".verdict-badge")]
    assert badges == ["1 holds", "1 differs", "1 not testable here", "1 not reported"]
    assert "planned" in planned.text
    assert planned.select_one("a.internal") is None


def test_rebuild_follows_the_files(book: Path):
    assert len(build(book)) == 4
    assert build(book) == []
    ledger_pages = ["book/ch01_toy/index", "book/ledger", "index"]

    path = book / "book/ch01_toy/claims.yml"
    path.write_text(yaml.safe_dump(CHAPTER | {"title": "Better toys"}))
    later = path.stat().st_mtime + 10  # Sphinx compares times; do not wait for the clock
    os.utime(path, (later, later))
    assert build(book) == ledger_pages
    assert page(book, "index.html").select_one(".chapter-card-title").text == "Better toys"


def test_new_notebook_is_noticed(book: Path):
    build(book)
    store(book, "02_two", Measurement.of("ch01.c", 2))
    write(
        book,
        "index.md",
        PAGES["index.md"].replace("01_one\n", "01_one\nnotebooks/ch01_toy/02_two\n"),
    )
    assert set(build(book)) >= {"book/ch01_toy/index", "book/ledger", "notebooks/ch01_toy/02_two"}
    row = page(book, "book/ledger.html").find(id="row-ch01.c")
    assert row.select_one("td:last-child").text.strip() == "holds"


def test_notebook_outside_the_book_is_named_but_not_linked(book: Path):
    write(book, "conf.py", PAGES["conf.py"].replace("'_build'", "'_build', 'notebooks'"))
    write(book, "index.md", PAGES["index.md"].replace("notebooks/ch01_toy/01_one\n", ""))
    build(book)
    row = page(book, "book/ledger.html").find(id="row-ch01.a")
    assert "notebook 01, cell 1" in row.text
    assert not [a for a in row.select("a") if "notebooks" in a["href"]]


def test_other_builders(book: Path):
    build(book, builder="text")
    assert "not testable here" in (book / "_build/text/book/ledger.txt").read_text()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("book/ledger.md", "# L\n\n```{verdicts} ch09_none\n```\n", "no chapter 'ch09_none'"),
        ("data/chapters.yml", yaml.safe_dump(CONTENTS[1:]), "does not list ch01_toy"),
        (
            "data/chapters.yml",
            yaml.safe_dump([CONTENTS[0] | {"arxiv": "2605.00000"}]),
            "2605.31036 in claims.yml",
        ),
        (
            "book/ch01_toy/claims.yml",
            yaml.safe_dump(CHAPTER | {"claims": CHAPTER["claims"][:1]}),
            "ch01.b: reported in",
        ),
    ],
)
def test_errors_are_warnings(book: Path, name: str, text: str, message: str):
    write(book, name, text)
    assert message in build(book, fails=True)[-1]


def test_machine_readable_form_stays_in_the_notebook(book: Path):
    build(book)
    html = (book / "_build/html/notebooks/ch01_toy/01_one.html").read_text(encoding="utf-8")
    assert json.dumps({"id": "ch01.a"})[1:-1] not in html
