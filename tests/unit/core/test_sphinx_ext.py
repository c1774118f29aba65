"""The ledger's directives in a small book, built with warnings as errors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from docutils import nodes
from smallbook import CHAPTER, CONTENTS, PAGES, build, page, store, write

from lib.core.ledger import NOT_REPORTED, VERDICTS, Measurement
from tenpapers import ledger, site


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
    own, measured = first.select("td a")
    assert own["href"] == "../ledger.html#row-ch01.a"
    assert measured["href"] == "../../notebooks/ch01_toy/01_one.html#claim-ch01.a"
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
        [" ".join(cell.text.split()) for cell in tr.select("td, th")]
        for tr in ledger.select("table.ledger-counts tr")
    ]
    assert counts == [
        ["Rows by", *VERDICTS, NOT_REPORTED, "all"],
        ["1 Toys the paper’s", "1", "·", "·", "·", "·", "1", "1", "3"],
        ["1 Toys ours", "·", "·", "·", "1", "·", "·", "·", "1"],
        ["exact the paper’s", "1", "·", "·", "·", "·", "·", "1", "2"],
        ["simulated ours", "·", "·", "·", "1", "·", "·", "·", "1"],
        ["out of reach the paper’s", "·", "·", "·", "·", "·", "1", "·", "1"],
        ["All the paper’s", "1", "·", "·", "·", "·", "1", "1", "3"],
        ["All ours", "·", "·", "·", "1", "·", "·", "·", "1"],
    ]
    form = ledger.select_one("form.ledger-filters")
    assert form.has_attr("hidden")
    classes = {c for tr in ledger.select("table.ledger-all tbody tr") for c in tr["class"]}
    assert {o["value"] for o in form.select("option")} - {""} <= classes
    assert (book / "_build/html/_static/ledger.js").is_file()

    front = page(book, "index.html")
    assert "1 of 2 chapters are written." in front.text
    written, planned = front.select(".chapter-card")
    assert written.select_one("a.internal")["href"] == "book/ch01_toy/index.html"
    lines = [" ".join(line.text.split()) for line in written.select(".verdict-counts")]
    assert lines == [
        "The paper’s 3: 1 holds 1 not testable here 1 not reported",
        "Ours 1: 1 differs",
    ]
    assert "planned" in planned.text
    assert planned.select_one("a.internal") is None


def test_rebuild_follows_the_files(book: Path):
    assert len(build(book)) == 4
    assert build(book) == []
    # The notebook's page too: its cards are made from the claims.
    ledger_pages = ["book/ch01_toy/index", "book/ledger", "index", "notebooks/ch01_toy/01_one"]

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


def test_the_card_is_made_from_the_claim_as_it_stands(book: Path):
    build(book)
    name = "notebooks/ch01_toy/01_one.html"
    card = page(book, name).find(id="claim-ch01.b")
    assert "as it was stored" not in page(book, name).text
    assert card.select_one(".claim-by").text == "a claim of ours"
    assert card.select_one(".claim-statement").text == "Revenue \\(r_1\\) rises."
    facts = {div.dt.text: div.dd.text for div in card.select(".claim-facts > div")}
    assert facts == {
        "measured": "2 [1, 3]",
        "expected": "1",
        "control": "0",
        "holds if": "equal",
        "nothing gives": "0: no toy",
        "must fail": "\\(y\\)",
        "run on": "simulated",
    }

    # Other words, or another tolerance, and no notebook is run.
    claims = [CHAPTER["claims"][0], CHAPTER["claims"][1] | {"statement": "Other words."}]
    claims[1] = claims[1] | {
        "tolerance": {"abs": 0.5, "sign": True},
        "null": {"value": -1, "why": "w"},
    }
    path = book / "book/ch01_toy/claims.yml"
    path.write_text(yaml.safe_dump(CHAPTER | {"claims": claims}))
    later = path.stat().st_mtime + 10
    os.utime(path, (later, later))
    assert "notebooks/ch01_toy/01_one" in build(book)
    card = page(book, name).find(id="claim-ch01.b")
    assert card.select_one(".claim-statement").text == "Other words."
    assert card.select_one(".verdict-badge").text == "holds in direction"


HOSTILE = '<script>alert("x")</script> & \'it\'\nnext <img src=x onerror="y">'


def test_no_words_of_a_claim_become_markup(book: Path):
    words = dict.fromkeys(("statement", "source", "control", "measured_before", "unit"), HOSTILE)
    words |= {"null": {"value": [0, 0], "why": HOSTILE}, "labels": [HOSTILE, "b"]}
    words |= {"basis": "real data", "value": [1, 1], "tolerance": {"abs": 0.5}}
    claims = [CHAPTER["claims"][0] | words, CHAPTER["claims"][3] | {"reason": HOSTILE}]
    claims.append(claims[0] | {"id": "ch01.b", "by": "ours"})
    changed = {"title": HOSTILE, "question": HOSTILE, "claims": claims}
    changed["paper"] = CHAPTER["paper"] | {"title": HOSTILE, "authors": [HOSTILE]}
    write(book, "book/ch01_toy/claims.yml", yaml.safe_dump(CHAPTER | changed))
    contents = [CONTENTS[0], CONTENTS[1] | {"question": HOSTILE, "title": HOSTILE}]
    write(book, "data/chapters.yml", yaml.safe_dump(contents))
    shown = [
        Measurement.of(id, [1, 5], [(0, 2), (4, 6)], [0, 9], labels=(HOSTILE, "b"))
        for id in ("ch01.a", "ch01.b")
    ]
    store(book, "01_one", *shown)
    text = "{measured}`ch01.a` {row}`ch01.a`"
    write(book, "book/ch01_toy/index.md", PAGES["book/ch01_toy/index.md"] + f"\n{text}\n")
    build(book)
    for name in ("index", "book/ch01_toy/index", "book/ledger", "notebooks/ch01_toy/01_one"):
        found = page(book, f"{name}.html")
        inside = found.select_one("div.body")
        scripts = [one for one in inside.find_all("script") if one["type"] != "application/ld+json"]
        assert scripts == [], name
        assert inside.find_all("img") == [], name
        assert inside.find_all(onerror=True) == [], name
        assert "<script>alert(" in inside.text, name
        assert "<img src=x" in inside.text, name


def test_a_list_is_paired_label_by_label(book: Path):
    vector = CHAPTER["claims"][1] | {"labels": ["left", "right"], "value": [1, 2], "unit": "%"}
    vector |= {"tolerance": {"abs": 0.5}, "measured_before": "a trial run"}
    vector |= {"null": {"value": [0, -1], "why": "no toy"}}
    claims = [CHAPTER["claims"][0], vector]
    write(book, "book/ch01_toy/claims.yml", yaml.safe_dump(CHAPTER | {"claims": claims}))
    labels = ("left", "right")
    found = Measurement.of("ch01.b", [1, 3], [(0, 2), (2, 4)], 0, (-1, 1), labels=labels)
    store(book, "01_one", Measurement.of("ch01.a", 1.5), found)
    build(book)
    expected = [
        ["", "expected", "measured (%)", "control", "nothing", "verdict"],
        ["left", "1", "1 [0, 2]", "0 [-1, 1]", "0", "holds"],
        ["right", "2", "3 [2, 4]", "0 [-1, 1]", "-1", "inconclusive"],
    ]
    row = page(book, "book/ledger.html").find(id="row-ch01.b")
    assert "Measured before it was declared: a trial run" in row.text
    card = page(book, "notebooks/ch01_toy/01_one.html").find(id="claim-ch01.b")
    for place in (row, card):
        assert "no toy" in place.text
        table = place.select_one("table.claim-pairs")
        lines = [[cell.text.strip() for cell in tr.select("td, th")] for tr in table.select("tr")]
        assert lines == expected
    # The worst verdict has a badge and a filter of its own.
    ledger = page(book, "book/ledger.html")
    assert row.select("td .verdict-badge.verdict-inconclusive")
    assert ledger.select_one('form option[value="verdict-inconclusive"]').text == "inconclusive"
    single = page(book, "book/ledger.html").find(id="row-ch01.a")
    assert single.select("table") == []


def test_relative_widths_of_columns() -> None:
    table = ledger._table(["Claim", "Verdict", "Measured"], [], ["ledger-table"])
    assert [spec["colwidth"] for spec in table.findall(nodes.colspec)] == [40, 12, 24]
    assert table["classes"] == ["ledger-table", "colwidths-auto"]


def test_a_notebook_offers_its_script_and_a_page_does_not(tmp_path: Path) -> None:
    for name in ("one/first.py", "one/first.ipynb", "one/alone.py"):
        write(tmp_path, name, "")
    buttons = [{"text": ".ipynb"}, {"text": ".pdf"}]
    context = {
        "header_buttons": [{"label": "search"}, {"label": "download-buttons", "buttons": buttons}],
        "pathto": lambda name, _: f"../{name}",
    }
    app = SimpleNamespace(srcdir=tmp_path)
    for document in ("one/alone", "one/page", "one/first"):
        site.add_py_download(app, document, "page.html", context, None)  # type: ignore[arg-type]
    assert [one["text"] for one in buttons] == [".ipynb", ".py", ".pdf"]
    assert buttons[1]["url"] == "../_sources/one/first.py"
