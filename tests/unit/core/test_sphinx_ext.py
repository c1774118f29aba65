"""The ledger's directives in a small book, built with warnings as errors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from smallbook import CHAPTER, CONTENTS, PAGES, build, page, store, write

from lib.core.ledger import NOT_REPORTED, VERDICTS, Measurement


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
