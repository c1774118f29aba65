"""Findings: their file, what they may say of their rows, and how they and the two roles render."""

from __future__ import annotations

import base64
import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from PIL import Image
from smallbook import CHAPTER, PAGES, build, page, write

from lib.core.ledger import LedgerError, Measurement, Row, collect
from lib.core.ledger.claims import Claim, chapter_slugs
from lib.core.ledger.findings import (
    Picture,
    finding_problems,
    load_findings,
    measured,
    stored_figure,
)

FINDING: dict[str, Any] = {
    "id": "first",
    "sentence": "Toys *gain* {measured}`ch01.b`, see {row}`ch01.a`.",
    "rows": ["ch01.a", "ch01.b"],
    "direction": False,
    "scope": "toys of wood",
    "budget": "three seeds",
    "figure": None,
}

HEADLINE: dict[str, Any] = {
    "words": "Toys gain.",
    "numbers": {"with toys": "ch01.b", "without": "ch01.a"},
}


def put(root: Path, *findings: dict[str, Any]) -> None:
    write(root, "book/ch01_toy/findings.yml", yaml.safe_dump(list(findings)))


def one(**changes: Any) -> dict[str, Any]:
    return FINDING | changes


def test_a_file_is_read(book: Path) -> None:
    assert load_findings("ch01_toy", root=book) == ()
    put(book, FINDING, one(id="second", figure={"notebook": "01_one", "id": "gain"}))
    first, second = load_findings("ch01_toy", root=book)
    assert (first.id, first.rows, first.direction) == ("first", ("ch01.a", "ch01.b"), False)
    assert (first.scope, first.budget, first.figure) == ("toys of wood", "three seeds", None)
    assert second.figure is not None
    assert (second.figure.notebook, second.figure.id) == ("01_one", "gain")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "findings.yml: found .*expected a list"),
        ({"id": "first"}, "expected a list"),
        ([one(colour="red")], "finding 1: unknown key 'colour'"),
        ([{k: v for k, v in FINDING.items() if k != "rows"}], "key 'rows' is missing"),
        ([one(rows=[])], "first: rows is .*expected a list of claim ids"),
        ([one(rows="ch01.a")], "rows is 'ch01.a'"),
        ([one(direction="yes")], "direction is 'yes'; expected true or false"),
        ([one(id="First one")], "expected an id of a-z"),
        ([one(sentence="")], "sentence is ''"),
        ([one(scope=None)], "scope is None"),
        ([one(figure={"notebook": "01_one"})], "figure: key 'id' is missing"),
        ([FINDING, FINDING], "id given twice: first"),
        ([one(headline="Gains!")], "first: headline: "),
        ([one(headline=HEADLINE | {"words": ""})], "headline: words is ''"),
        (
            [one(headline=HEADLINE | {"numbers": {"a": "ch01.a"}})],
            "expected two texts with a claim",
        ),
        (
            [one(headline=HEADLINE), one(id="second", headline=HEADLINE)],
            "first and second have a headline; expected one of them",
        ),
    ],
)
def test_what_a_file_may_not_hold(book: Path, content: Any, message: str) -> None:
    write(book, "book/ch01_toy/findings.yml", yaml.safe_dump(content))
    with pytest.raises(LedgerError, match=message):
        load_findings("ch01_toy", root=book)


def rows_of(root: Path) -> dict[str, Row]:
    return {row.claim.id: row for row in collect(root=root)}


def problems(root: Path, **changes: Any) -> list[str]:
    put(root, one(**changes))
    return finding_problems(load_findings("ch01_toy", root=root)[0], rows_of(root))


def test_a_sentence_may_not_outrun_its_rows(book: Path) -> None:
    assert problems(book) == []
    assert problems(book, direction=True) == []
    (text,) = problems(book, rows=["ch01.a", "ch01.b", "ch01.z"])
    assert "'ch01.z' is not a claim of the chapter" in text
    (text,) = problems(book, rows=["ch01.a", "ch01.b", "ch01.c"])
    assert "row ch01.c is not reported" in text
    (text,) = problems(book, rows=["ch01.a"])
    assert "draws on ch01.b, which is not among its rows" in text
    (text,) = problems(book, rows=["ch01.b"])
    assert "draws on ch01.a" in text
    plain = {"sentence": "Toys gain.", "headline": HEADLINE}
    assert problems(book, **plain) == []
    (text,) = problems(book, **plain, rows=["ch01.b"])
    assert "draws on ch01.a" in text
    (text,) = problems(book, headline=HEADLINE | {"words": "Toys gain 51.6 points."})
    assert "51.6 is typed" in text


@pytest.mark.parametrize(
    ("sentence", "typed"),
    [
        ("It gains 51.6 points.", "51.6"),
        ("It gains 5 % of {measured}`ch01.a`.", "5 %"),
        ("It gains 12%.", "12%"),
        ("Theorem 5.1 and Table 2.3 hold in all three of 19 cells.", ""),
    ],
)
def test_a_sentence_draws_its_numbers_from_the_ledger(book: Path, sentence: str, typed: str):
    found = problems(book, sentence=sentence)
    assert [f"finding first: {typed} is typed" in text for text in found] == ([True] * bool(typed))


def test_a_direction_has_no_inconclusive_row(book: Path) -> None:
    inconclusive = CHAPTER["claims"][1] | {
        "tolerance": {"sign": "positive"},
        "control_of": None,
        "basis": "simulated",
        "null": {"value": 0, "why": "no effect"},
        "value": None,
    }
    write(
        book,
        "book/ch01_toy/claims.yml",
        yaml.safe_dump(CHAPTER | {"claims": [CHAPTER["claims"][0], inconclusive]}),
    )
    path = book / "notebooks/ch01_toy/01_one.ipynb"
    stored = nbformat.read(path, as_version=4)
    for cell in stored.cells:
        for output in cell.get("outputs", ()):
            for data in output["data"].values():
                if isinstance(data, dict) and data["id"] == "ch01.b":
                    data |= {"interval": [-1, 3], "control": -1}
    nbformat.write(stored, path)
    assert rows_of(book)["ch01.b"].label == "inconclusive"
    assert problems(book) == []
    (text,) = problems(book, direction=True)
    assert "states a direction, and row ch01.b is inconclusive" in text
    warnings = build_with(book, "```{findings} ch01_toy\n```\n")
    assert "row ch01.b is inconclusive" in warnings


# --- the chapters of this book -------------------------------------------------------------------


@pytest.mark.parametrize("slug", chapter_slugs())
def test_findings_name_existing_rows_and_directions_are_conclusive(slug: str) -> None:
    rows = {row.claim.id: row for row in collect(chapter=slug)}
    for finding in load_findings(slug):
        assert finding_problems(finding, rows) == []
        if finding.figure:
            assert stored_figure(finding.figure, slug)


# --- values in prose -----------------------------------------------------------------------------


def row(value: Any, interval: Any = None, unit: str = "", labels: tuple[str, ...] = ()) -> Row:
    claim = Claim(
        "ch01.x", "ours", "S", "S.", "number", "exact", None, {}, unit=unit, labels=labels
    )
    return Row("ch01_toy", claim, Measurement.of("ch01.x", value, interval), "holds")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (row(0.516234, (0.49231, 0.5401), "%"), "0.516 % [0.492, 0.540]"),
        (row(-12.3456, (-20, 3)), "-12 [-20, 3]"),
        (row(1234.5, (1000, 2000), "bits"), "1234 bits [1000, 2000]"),
        (row(0.4, (0.0004, 0.9)), "0.40 [0.0004, 0.90]"),
        (row(0, (0, 0)), "0.000000 [0.000000, 0.000000]"),
        (row(0.123456789), "0.1235"),
        (row(123456), "123456"),
        (row(Fraction(41, 12)), "41/12 ≈ 3.41667"),
        (row(True), "true"),
        (row("monotone"), "monotone"),
        (row((1, 2.5), None, "%"), "1 %, 2.5 %"),
        (row((1, 2.5), ((0, 2), (1, 4)), "", ("a", "b")), "a 1.0 [0.0, 2.0], b 2.5 [1.0, 4.0]"),
    ],
)
def test_a_value_in_prose(found: Row, text: str) -> None:
    assert measured(found) == text


def test_one_element_in_prose() -> None:
    found = row((1, 2.5), ((0, 2), (1, 4)), "s", ("a", "b"))
    assert measured(found, "b") == "2.5 s [1.0, 4.0]"
    with pytest.raises(LedgerError, match=r"no label 'c'; expected one of a, b"):
        measured(found, "c")
    with pytest.raises(LedgerError, match="no label 'a'; expected one of none"):
        measured(row(1), "a")
    with pytest.raises(LedgerError, match=r"ch01\.x is not reported"):
        measured(Row("ch01_toy", found.claim, None, None))


# --- on the page ---------------------------------------------------------------------------------


def build_with(root: Path, text: str) -> str:
    write(root, "book/ch01_toy/index.md", f"# Toys\n\n{text}")
    return build(root, fails=True)[-1]


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def draw(root: Path, *outputs: dict[str, Any], tags: tuple[str, ...] = ("figure-gain",)) -> None:
    """Add a cell with a figure to the notebook."""
    path = root / "notebooks/ch01_toy/01_one.ipynb"
    stored = nbformat.read(path, as_version=4)
    cell = nbformat.v4.new_code_cell("show()", metadata={"tags": list(tags)}, execution_count=9)
    cell["id"] = f"cell-{len(stored.cells)}"
    cell.outputs = [nbformat.v4.new_output("display_data", **one) for one in outputs]
    stored.cells.append(cell)
    nbformat.write(stored, path)


PICTURE: dict[str, Any] = {
    "data": {"image/png": picture(), "text/plain": "<figure>"},
    "metadata": {"image/png": {"alt": 'A line that "rises" <up>'}},
}
CAPTION = {
    "data": {
        "text/html": '<p class="figure-caption mathjax_process">Look at \\(x\\) here.</p>',
        "text/plain": "Look",
    }
}


def test_findings_on_the_page(book: Path) -> None:
    draw(book, PICTURE, CAPTION)
    put(
        book,
        one(figure={"notebook": "01_one", "id": "gain"}),
        one(id="second", sentence="Nothing <script>alert(1)</script> & more.", budget=None),
    )
    write(book, "book/ch01_toy/index.md", "# Toys\n\n```{findings} ch01_toy\n```\n")
    build(book)
    shown = page(book, "book/ch01_toy/index.html")
    first, second = shown.select(".finding")
    assert first["id"] == "finding-first"
    number = first.select_one(".finding-sentence .measured")
    assert number.text == "2.0 [1.0, 3.0]"
    assert number.find_parent("a")["href"].endswith("01_one.html#claim-ch01.b")
    assert first.select_one(".finding-sentence .row-link .verdict-badge").text == "holds"
    chips = [chip.text.split() for chip in first.select(".finding-rows .row-link")]
    assert chips == [["holds", "a"], ["differs", "b"]]
    lines = [line.text for line in first.select(".finding-rows")]
    assert [line.split(":")[0] for line in lines] == ["Rows of the paper", "Our rows"]
    assert "Scope: toys of wood · Budget: three seeds" in first.text
    assert "Budget" not in second.text
    # The stored picture with its alternative text and caption, and formulas in it typeset.
    image = first.select_one(".finding-figure img")
    assert image["alt"] == 'A line that "rises" <up>'
    assert (book / "_build/html/book/ch01_toy" / image["src"]).resolve().is_file()
    assert first.select_one(".finding-figure .figure-caption").text == "Look at \\(x\\) here."
    assert any("mathjax" in (s.get("src") or "") for s in shown.select("script"))
    assert second.select_one(".finding-figure") is None
    # Words are words, whatever they look like.
    assert second.select("script") == []
    assert "Nothing <script>alert(1)</script> & more." in second.text


def test_the_findings_of_all_chapters_on_one_page(book: Path) -> None:
    draw(book, PICTURE, CAPTION)
    figure = {"notebook": "01_one", "id": "gain"}
    put(book, one(figure=figure), one(id="second", figure=figure))
    write(book, "book/ch01_toy/index.md", "# Found\n\n```{all-findings}\n```\n")
    build(book)
    (shown,) = page(book, "book/ch01_toy/index.html").select("section > section")
    assert shown["id"] == "ch01-findings"
    assert shown.h2.text.startswith("1. Toys")
    first, second = shown.select(".finding")
    assert (first["id"], second["id"]) == ("ch01-finding-first", "ch01-finding-second")
    assert len(first.select(".finding-figure")) == 1
    assert second.select(".finding-figure") == []


def test_headlines(book: Path) -> None:
    draw(book, PICTURE, CAPTION)
    put(book, one(figure={"notebook": "01_one", "id": "gain"}, headline=HEADLINE))
    write(book, "book/ch01_toy/index.md", "# Toys\n\n```{headlines}\n:first: ch01_toy\n```\n")
    build(book)
    (shown,) = page(book, "book/ch01_toy/index.html").select(".headline")
    assert shown.select_one("a")["href"] == "#" or shown.select_one("a")["href"].endswith(
        "index.html"
    )
    assert shown.select_one(".headline-words").text == "Toys gain."
    numbers = [[p.text for p in one.select("p")] for one in shown.select(".headline-number")]
    assert numbers == [["2.0 [1.0, 3.0]", "with toys"], ["1.5", "without"]]
    assert len(shown.select(".finding-figure img")) == 1

    write(book, "book/ch01_toy/index.md", "# Toys\n\n```{headlines}\n```\n")
    build(book)
    (shown,) = page(book, "book/ch01_toy/index.html").select(".headlines .headline")
    assert shown.select(".finding-figure") == []

    assert "first is 'ch09'" in build_with(book, "```{headlines}\n:first: ch09\n```\n")
    put(book, FINDING)
    write(book, "book/ch01_toy/index.md", "# Toys\n\n```{headlines}\n```\n")
    build(book)
    assert page(book, "book/ch01_toy/index.html").select(".headline") == []


def test_a_drawing_is_a_part_of_the_page(book: Path) -> None:
    svg = '<svg role="img" aria-label="A line"><path d="M 0 1"/></svg>'
    drawn = {"data": {"image/svg+xml": svg, "text/plain": "<figure>"}}
    draw(book, drawn, CAPTION)
    put(book, one(figure={"notebook": "01_one", "id": "gain"}))
    write(book, "book/ch01_toy/index.md", "# Toys\n\n```{findings} ch01_toy\n```\n")
    build(book)
    for name, where in (
        ("book/ch01_toy/index.html", ".finding-figure .figure-drawing > svg"),
        ("notebooks/ch01_toy/01_one.html", ".cell_output .figure-drawing > svg"),
    ):
        (shown,) = page(book, name).select(where)
        assert shown["aria-label"] == "A line"
        assert shown.path["d"] == "M 0 1"


def test_an_interactive_figure_comes_whole(book: Path) -> None:
    chart = {"data": {"text/html": '<div class="vega-chart" id="c"></div>', "text/plain": "c"}}
    draw(book, chart)
    put(book, one(figure={"notebook": "01_one", "id": "gain"}))
    write(book, "book/ch01_toy/index.md", "# Toys\n\n```{findings} ch01_toy\n```\n")
    build(book)
    assert page(book, "book/ch01_toy/index.html").select(".finding-figure .vega-chart")


@pytest.mark.parametrize(
    ("figure", "cells", "message"),
    [
        (("02_two", "gain"), [("figure-gain", PICTURE)], "no notebook '02_two'"),
        (("01_one", "loss"), [("figure-gain", PICTURE)], "0 cells are tagged 'figure-loss'"),
        (("01_one", "gain"), [("figure-gain", PICTURE)] * 2, "2 cells are tagged"),
        (("01_one", "gain"), [("figure-gain", CAPTION)], "shows no figure"),
    ],
)
def test_a_figure_that_is_not_there(
    book: Path, figure: tuple[str, str], cells: list[tuple[str, dict[str, Any]]], message: str
) -> None:
    for tag, output in cells:
        draw(book, output, tags=(tag,))
    with pytest.raises(LedgerError, match=message):
        stored_figure(Picture(*figure), "ch01_toy", root=book)


def test_roles(book: Path) -> None:
    text = "Measured {measured}`ch01.a`, {row}`ch01.b`, {row}`its words <ch01.b>`, {row}`ch01.d`."
    write(book, "book/ch01_toy/index.md", f"# Toys\n\n{text}\n")
    build(book)
    shown = page(book, "book/ch01_toy/index.html")
    assert shown.select_one(".measured").text == "1.5"
    links = shown.select(".row-link")
    assert [tag.text for tag in links] == [
        "differs ch01.b",
        "differs its words",
        "not testable here ch01.d",
    ]
    # A row that nobody could measure has no card: it leads to the ledger.
    assert [tag.find_parent("a")["href"].rsplit("/", 1)[1] for tag in links] == [
        "01_one.html#claim-ch01.b",
        "01_one.html#claim-ch01.b",
        "ledger.html#row-ch01.d",
    ]


def test_mistakes_fail_the_build(book: Path) -> None:
    mistakes = {
        "{measured}`ch01.zz`": "no claim 'ch01.zz'; did you mean",
        "{measured}`nothing`": "no claim 'nothing'",
        "{measured}`ch01.a:left`": "ch01.a has no label 'left'",
        "{measured}`ch01.c`": "ch01.c is not reported",
        "{measured}`ch01.d`": "ch01.d is not testable here: there is no value",
        "{row}`ch01.yy`": "no claim 'ch01.yy'",
        "```{findings} ch01_toy\n```": "no book/ch01_toy/findings.yml",
    }
    warnings = build_with(book, "\n\n".join(mistakes) + "\n")
    assert [message for message in mistakes.values() if message not in warnings] == []


def test_a_page_follows_findings_and_rows(book: Path) -> None:
    put(book, FINDING)
    write(book, "book/ch01_toy/index.md", "# Toys\n\n```{findings} ch01_toy\n```\n")
    write(book, "book/ledger.md", PAGES["book/ledger.md"] + "\nSee {measured}`ch01.a`.\n")
    build(book)
    assert build(book) == []
    path = book / "book/ch01_toy/findings.yml"
    path.write_text(path.read_text().replace("toys of wood", "toys of tin"))
    later = path.stat().st_mtime + 10  # Sphinx compares times; do not wait for the clock
    os.utime(path, (later, later))
    assert "book/ch01_toy/index" in build(book)
    assert "toys of tin" in page(book, "book/ch01_toy/index.html").text
