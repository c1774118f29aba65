"""What pages are made of, piece by piece and without a build."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils import new_document
from smallbook import CHAPTER, CLAIM, store, write

from lib.core.ledger import MIME, Claim, LedgerError, Measurement, collect, load_all
from lib.core.ledger.claims import Null
from lib.core.ledger.findings import Finding, Headline, Picture
from lib.core.ledger.rows import Row, as_json
from lib.core.ledger.verdicts import VERDICTS
from lib.core.sources import code_digest
from lib.robot_provenance import validation
from lib.robot_provenance.crate import DESCRIPTOR, CrateError
from tenpapers import book_crate, cards, essays, exports, findings, ledger, site
from tenpapers import nodes as pieces


def claim(value: Any = None, tolerance: dict[str, Any] | None = None, **more: Any) -> Claim:
    fields: dict[str, Any] = {"id": "ch01.x", "by": "paper", "source": "T. 1", "statement": "S."}
    fields |= {"kind": "number", "basis": "exact", "value": value, "tolerance": tolerance or {}}
    return Claim(**(fields | more))


def row(told: Claim, found: Measurement | None = None, label: str | None = "holds") -> Row:
    place = ("notebooks/ch01_toy/02_two.ipynb", 3) if found else ("", None)
    return Row("ch01_toy", told, found, label, *place)


def measurement(*given: Any) -> Measurement:
    return Measurement.of("ch01.x", *given)


# --- cards ----------------------------------------------------------------------------------------

NEAR = {"abs": 0.5}


def test_a_card_whole() -> None:
    told = claim(2, NEAR, unit="EUR", null=Null(0, "no *toy*"), control="a coin")
    shown = cards.card(told, measurement(1, (0, 2), 5), "differs", "../ledger.html")
    assert shown == (
        '<details class="claim-card verdict-differs" id="claim-ch01.x" open><summary>'
        '<strong class="verdict-badge verdict-differs">differs</strong> '
        '<span class="claim-statement">S.</span> '
        '<span class="claim-short">measured 1 [0, 2] EUR · paper 2 EUR</span></summary>'
        '<p class="claim-head"><code>ch01.x</code> '
        '<span class="claim-by">the paper’s claim</span> '
        '<span class="claim-source">T. 1</span> '
        '<a href="../ledger.html#row-ch01.x">in the ledger</a></p>'
        '<dl class="claim-facts"><div><dt>measured</dt><dd>1 [0, 2] EUR</dd></div>'
        "<div><dt>paper</dt><dd>2 EUR</dd></div><div><dt>control</dt><dd>5 EUR</dd></div>"
        "<div><dt>holds if</dt><dd>within ±0.5</dd></div>"
        "<div><dt>nothing gives</dt><dd>0 EUR: no <em>toy</em></dd></div>"
        "<div><dt>must fail</dt><dd>a coin</dd></div>"
        "<div><dt>run on</dt><dd>exact</dd></div></dl></details>"
    )
    assert "in the ledger" not in cards.card(told, measurement(1), "differs")


@pytest.mark.parametrize("label", VERDICTS)
def test_which_cards_are_open(label: str) -> None:
    shown = cards.card(claim(2, NEAR), measurement(2), label)
    wanted = label in ("differs", "contradicted", "not testable here")
    assert (" open><summary>" in shown) is wanted


def test_a_list_in_a_card() -> None:
    told = claim((1, 2), NEAR, by="ours", unit="s", null=Null((0, 9), "nothing"))
    found = measurement([1, 2], [(0, 1), (2, 3)], [7, 8], [(6, 7), (8, 9)])
    assert cards.pairs(told, found) == [
        ("", "expected", "measured (s)", "control", "nothing"),
        ("1", "1", "1 [0, 1]", "7 [6, 7]", "0"),
        ("2", "2", "2 [2, 3]", "8 [8, 9]", "9"),
    ]
    page = BeautifulSoup(cards.card(told, found, "holds"), "html.parser")
    facts = {one.dt.text: one.dd.text for one in page.select(".claim-facts > div")}
    assert facts == {"holds if": "within ±0.5", "nothing gives": "nothing", "run on": "exact"}
    assert page.select_one(".claim-short").text == ""
    heads = [one.text for one in page.select("thead th")]
    assert heads == ["expected", "measured (s)", "control", "nothing"]
    assert page.select_one("thead td").text == ""
    assert [one.text for one in page.select("tbody th")] == ["1", "2"]
    assert len(page.select("tbody td")) == 8


def test_which_values_stand_side_by_side() -> None:
    assert cards.pairs(claim(1, NEAR), measurement(1)) == []
    assert cards.pairs(claim((1,), NEAR), measurement([1])) == []
    bare = claim(None, {"at_least": 0}, labels=("a", "b"))
    assert cards.pairs(bare, measurement([1, -1])) == [
        ("", "measured", "verdict"),
        ("a", "1", "holds"),
        ("b", "-1", "contradicted"),
    ]


def test_markdown_holds_no_markup() -> None:
    assert cards.markdown("<b>*x*</b> $a$") == (
        '&lt;b&gt;<em>x</em>&lt;/b&gt; <span class="math inline">\\(a\\)</span>'
    )


# --- pieces ---------------------------------------------------------------------------------------


def test_pieces_of_pages() -> None:
    shown = pieces.badge("not reported", "3 ")
    assert shown.astext() == "3 not reported"
    assert shown["classes"] == ["verdict-badge", "verdict-not-reported"]
    made = pieces.small("a ", nodes.strong("", "b"), classes=("c",))
    assert made.astext() == "a b"
    assert made["classes"] == ["ledger-small", "c"]
    box = pieces.box(made, classes=["d"], ids=["e"])
    assert (box["is_div"], box["classes"], box["ids"]) == (True, ["d"], ["e"])
    assert pieces.drawing("<svg/>").astext() == (
        '<div class="figure-drawing" tabindex="0"><svg/></div>'
    )
    for content in ("words", nodes.emphasis("", "words")):
        link = pieces.link(content, "book/a", "here")
        kind = nodes.inline if isinstance(content, str) else nodes.emphasis
        assert type(link[0]) is kind
        assert (link["refexplicit"], link["refwarn"]) == (True, False)
        assert (link["reftarget"], link["ledger_anchor"]) == ("book/a", "here")
    assert pieces.place(row(claim(1), measurement(1))) == (
        "notebooks/ch01_toy/02_two",
        "claim-ch01.x",
    )
    assert pieces.place(row(claim(1))) == ("book/ledger", "row-ch01.x")


def test_links_lead_where_there_is_a_page() -> None:
    env = SimpleNamespace(found_docs={"book/a"})
    builder = SimpleNamespace(get_relative_uri=lambda origin, target: f"{origin}>{target}")
    app = SimpleNamespace(builder=builder)
    child = nodes.inline("", "words")
    for document, kind in (("book/a", nodes.reference), ("book/b", nodes.inline)):
        link = pieces.link(child, document, "here")
        link["refdoc"] = "book/c"
        found = pieces.resolve(app, env, link, child)  # type: ignore[arg-type]
        assert type(found) is kind
    link["reftype"] = "other"
    assert pieces.resolve(app, env, link, child) is None  # type: ignore[arg-type]


def test_markup_among_words_is_words() -> None:
    parsed = [nodes.Text("a "), nodes.raw("", "<b>", format="html"), nodes.emphasis("", "c")]
    found = pieces.plain(parsed)
    assert [one.astext() for one in found] == ["a ", "<b>", "c"]
    assert not any(isinstance(one, nodes.raw) for one in found)


def test_directives_without_a_body() -> None:
    assert pieces.LedgerDirective.has_content is False
    with pytest.raises(NotImplementedError):
        pieces.LedgerDirective.build(None)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        findings._LedgerRole().shown(row(claim(1)), "")
    assert (ledger.Verdicts.required_arguments, ledger.PaperCard.required_arguments) == (1, 1)
    kinds = (findings.Findings, findings.AllFindings, findings.Headlines)
    assert [one.required_arguments for one in kinds] == [1, 0, 0]


# --- tables of rows -------------------------------------------------------------------------------


def directive(kind: type, root: Path | None = None, *arguments: str, **options: str) -> Any:
    """Return a directive that parses nothing and stands on no page."""
    plain = type(
        "Plain",
        (kind,),
        {
            "__init__": lambda self: None,
            "root": root,
            "inline": lambda self, text: [nodes.Text(text)],
        },
    )()
    plain.arguments, plain.options = list(arguments), options
    return plain


def texts(cell: nodes.Element) -> list[str]:
    return [one.astext() for one in cell.children]


ROWS = directive(ledger._TableDirective)


def test_widths() -> None:
    table = ledger._table([*ledger._WIDTHS, "Verdict"], [], ["a"])
    widths = [one["colwidth"] for one in table.findall(nodes.colspec)]
    assert widths == [40, 40, 24, 24, 24, 24, 12]
    assert [one.astext() for one in table.findall(nodes.entry)] == [*ledger._WIDTHS, "Verdict"]


@pytest.mark.parametrize(
    ("value", "words"), [(1, "Conditions"), ((1,), "Conditions"), ((1, 2), "2 values")]
)
def test_what_opens_the_conditions(value: Any, words: str) -> None:
    assert ledger._summary(row(claim(1), measurement(value))) == words
    assert ledger._many(value) == (f"{len(value)} values" if isinstance(value, tuple) else "—")


def test_the_cell_of_a_measurement() -> None:
    told = claim(2, NEAR, unit="EUR")
    cell = ROWS.measured_cell(row(told, measurement(1, (0, 2), 5, (4, 6))))
    assert texts(cell) == ["1 EUR", "[0, 2] EUR", "control: 5 [4, 6] EUR", "notebook 02, cell 3"]
    (link,) = cell.findall(lambda one: one.tagname == "pending_xref")
    assert (link["reftarget"], link["ledger_anchor"]) == (
        "notebooks/ch01_toy/02_two",
        "claim-ch01.x",
    )
    bare = ROWS.measured_cell(row(claim(2, NEAR), measurement(1)))
    assert texts(bare) == ["1", "notebook 02, cell 3"]
    many = ROWS.measured_cell(row(claim((1, 2), NEAR), measurement([1, 2], [(0, 1), (2, 3)], 7)))
    assert texts(many) == ["2 values", "notebook 02, cell 3"]
    assert texts(ROWS.measured_cell(row(told, None, None))) == ["not reported"]
    assert texts(ROWS.measured_cell(row(told, None, "not testable here"))) == ["—"]


def test_the_cell_of_what_was_claimed() -> None:
    one, two = measurement(2), measurement([1, 2])
    for told, found, words in (
        (claim(2, NEAR, unit="EUR"), one, ["2 EUR", "holds if within ±0.5"]),
        (claim(2, NEAR), None, ["2", "holds if within ±0.5"]),
        (claim((1, 2), NEAR, unit="s"), two, ["2 values", "holds if within ±0.5"]),
        (claim((1, 2), NEAR, unit="s"), None, ["1, 2 s", "holds if within ±0.5"]),
        (claim(None, {"sign": "positive"}), one, ["holds if positive"]),
        (claim(None, {"sign": "positive"}, labels=("a", "b")), two, ["—", "holds if positive"]),
        (claim(None), None, ["—"]),
    ):
        assert texts(ROWS.claimed_cell(row(told, found))) == words


def test_the_conditions_of_a_row() -> None:
    def told(found: Measurement | None = None, **more: Any) -> list[str]:
        return [one.astext() for one in ROWS.conditions(row(claim(2, NEAR, **more), found))]

    assert told() == []
    assert told(measurement(1), unit="s", null=Null(Fraction(1, 2), "half"), control="a coin") == [
        "Nothing gives 1/2 ≈ 0.5 s: half",
        "Must fail: a coin",
    ]
    assert told(null=Null((0, 1), "none"), control_of="ch01.y", measured_before="a trial") == [
        "Nothing gives: none",
        "Measured before it was declared: a trial",
        "Its control is that of ch01.y",
    ]
    pairs = ROWS.conditions(row(claim((1, 2), NEAR), measurement([1, 5])))
    (table,) = pairs
    assert table["classes"] == ["claim-pairs", "colwidths-auto"]
    cells = [one.astext() for one in table.findall(nodes.entry)]
    assert cells[:4] == ["", "paper", "measured", "verdict"]
    assert cells[4:] == ["1", "1", "1", "holds", "2", "2", "5", "differs"]


def test_the_cell_of_a_claim() -> None:
    told = claim(2, NEAR, reason="no data", control="a coin")
    cell = ROWS.claim_cell(row(told))
    assert texts(cell) == [
        "S.",
        "T. 1 · number · ch01.x",
        "Why not here: no data",
        "<details><summary>Conditions</summary>",
        "Must fail: a coin",
        "</details>",
    ]
    (link,) = cell.findall(lambda one: one.tagname == "pending_xref")
    assert (link["reftarget"], link["ledger_anchor"]) == ("book/ledger", "row-ch01.x")
    assert texts(ROWS.claim_cell(row(claim(2)))) == ["S.", "T. 1 · number · ch01.x"]


def test_the_line_of_a_row() -> None:
    lead = nodes.entry("", nodes.paragraph("", "first"))
    told = claim(2, NEAR, basis="real data", by="ours")
    line = ROWS.row(row(told, measurement(2), "holds in direction"), "row-ours", [lead])
    assert [one.children[0].astext() for one in line.children] == [
        *("first", "S.", "2", "2", "real data", "holds in direction")
    ]
    assert line["ids"] == ["row-ours-ch01.x"]
    wanted = ["in-ch01-toy", "by-ours", "basis-real-data", "verdict-holds-in-direction"]
    assert line["classes"] == wanted


def test_counts_of_verdicts() -> None:
    ours = claim(1, by="ours")
    rows = [row(ours, None, label) for label in ("holds", None, "holds")]
    (line,) = ROWS.summary(rows)
    assert line.astext() == "Ours 3: 2 holds 1 not reported "
    assert line["classes"] == ["verdict-counts"]
    assert ROWS.summary([]) == []


def ids(table: nodes.Element) -> list[str]:
    return [one["ids"][0] for one in table.findall(nodes.row) if one["ids"]]


def test_the_rows_of_a_chapter(book: Path) -> None:
    *_, form, table = directive(ledger.Verdicts, book, "ch01_toy").build()
    assert table["ids"] == ["ledger-rows"]
    assert ids(table) == ["row-ch01.a", "row-ch01.b", "row-ch01.c", "row-ch01.d"]
    heads = [one.astext() for one in table.next_node(nodes.thead).findall(nodes.entry)]
    assert heads == ["Claim", "Claimed", "Measured", "Run on", "Verdict"]
    second = list(table.next_node(nodes.tbody).children)[1]
    first_words = second[0][0]
    assert (first_words.astext(), first_words["classes"]) == (
        "ours",
        ["ledger-small", "ledger-ours"],
    )
    assert 'data-table="ledger-rows"' in form.astext()
    ours, form, table = directive(ledger.Verdicts, book, "ch01_toy", by="ours").build()
    assert ours.astext() == "Ours 1: 1 differs "
    assert (table["ids"], ids(table)) == (["ledger-rows-ours"], ["row-ours-ch01.b"])
    assert "ledger-ours" not in table.pformat()
    assert 'data-table="ledger-rows-ours"' in form.astext()
    heads = [one.astext() for one in table.findall(nodes.entry)][:2]
    assert heads == ["Claim", "Expected"]
    *_, table = directive(ledger.Verdicts, book, "ch01_toy", by="paper").build()
    assert [one.astext() for one in table.findall(nodes.entry)][1] == "Paper"
    write(book, "book/ch01_toy/claims.yml", yaml.safe_dump(CHAPTER | {"claims": [CLAIM]}))
    store(book, "01_one", Measurement.of("ch01.a", 1.5))
    with pytest.raises(LedgerError, match="ch01_toy declares no claim by ours"):
        directive(ledger.Verdicts, book, "ch01_toy", by="ours").build()
    # Where all rows are reported, no column says that some are not.
    summary, counts, form, table = directive(ledger.Ledger, book).build()
    cells = [one.astext() for one in counts.next_node(nodes.thead).findall(nodes.entry)]
    assert cells == ["Rows by", *VERDICTS, "all"]
    lines = [one["classes"] for one in counts.next_node(nodes.tbody).children]
    assert lines == [
        ["by-paper", "of-in-ch01-toy"],
        ["by-paper", "of-basis-exact"],
        ["by-paper"],
    ]
    assert summary.astext() == "The paper’s 1: 1 holds "


def test_a_ledger_of_nothing(tmp_path: Path) -> None:
    (words,) = directive(ledger.Ledger, tmp_path).build()
    assert words.astext() == "No chapter has declared a claim yet."


def menus(form: nodes.Node) -> dict[str, dict[str, str]]:
    page = BeautifulSoup(form.astext(), "html.parser")
    return {
        label.contents[0].strip(): {one["value"]: one.text for one in label.select("option")[1:]}
        for label in page.select("label")
        if label.select_one("select")
    }


def test_the_menus_above_a_table(book: Path) -> None:
    rows = [row(claim(1, by="paper"), None, "holds"), row(claim(1, by="paper"), None, "holds")]
    table = nodes.table()
    form, same = ledger._filtered(table, rows)
    assert same is table
    assert menus(form) == {}  # with one kind alone there is nothing to choose
    chapters = load_all(root=book)
    form, _ = ledger._filtered(table, rows, chapters, "-x")
    assert menus(form) == {"Chapter": {"in-ch01-toy": "1 Toys"}}
    assert table["ids"] == ["ledger-rows-x"]
    more = claim(1, by="ours", basis="real data")
    form, _ = ledger._filtered(table, [*rows, row(more, None, "differs")])
    assert menus(form) == {
        "Verdict": {"verdict-holds": "holds", "verdict-differs": "differs"},
        "Run on": {"basis-exact": "exact", "basis-real-data": "real data"},
        "Claim by": {"by-paper": "the paper", "by-ours": "us"},
    }


def test_an_address_outside_the_book() -> None:
    found = ledger._arxiv("2605.31036", "v2")
    assert found["refuri"] == "https://arxiv.org/abs/2605.31036v2"
    assert (found["internal"], found.astext()) == (False, "arXiv 2605.31036v2")


def test_cards_of_chapters(book: Path) -> None:
    count, shown = directive(ledger.ChapterCards, book).build()
    assert count.astext() == "1 of 2 chapters are written."
    first, second = shown.children
    assert first["classes"] == ["chapter-card", "chapter-written"]
    assert second["classes"] == ["chapter-card", "chapter-waiting"]
    assert texts(second)[:3] == ["Chapter 2 · arXiv 2605.31037", "Later", "Q?"]
    assert texts(first)[1:3] == ["Toys", "Does $x$ hold?"]
    (card,) = directive(ledger.PaperCard, book, "ch01_toy").build()
    assert texts(card) == [
        "The paper",
        "On Toys",
        "A. Author, B. Author · CC BY 4.0 · arXiv 2605.31036v1",
        "Question. Does $x$ hold?",
    ]


def handled(book: Path, mime: str, content: Any, *documents: str) -> tuple[Any, list[str]]:
    noted: list[str] = []
    env = SimpleNamespace(
        srcdir=book,
        docname="notebooks/ch01_toy/01_one",
        found_docs=set(documents),
        note_dependency=noted.append,
        app=SimpleNamespace(
            builder=SimpleNamespace(get_relative_uri=lambda origin, target: f"<{origin}>{target}")
        ),
    )
    renderer = SimpleNamespace(renderer=SimpleNamespace(sphinx_env=env))
    data = SimpleNamespace(mime_type=mime, content=content, line=3)
    return ledger.ClaimCard.handle_mime(renderer, data, False), noted


def test_how_stored_outputs_are_shown(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ledger.ClaimCard.mime_priority_overrides == (("html", MIME, 1),)
    (drawn,), noted = handled(book, "image/svg+xml", "<svg/>")
    assert (drawn.astext(), noted) == (pieces.drawing("<svg/>").astext(), [])
    assert handled(book, "text/html", "<p>") == (None, [])
    content = Measurement.of("ch01.a", 1.5).to_json()
    (shown,), noted = handled(book, MIME, content, "book/ledger")
    assert '<a href="<notebooks/ch01_toy/01_one>book/ledger#row-ch01.a">' in shown.astext()
    assert 'class="claim-card verdict-holds"' in shown.astext()
    assert shown["classes"] == ["output", "text_html"]
    assert noted == [str(book / "book/ch01_toy/claims.yml")]
    (shown,), _ = handled(book, MIME, content)
    assert "in the ledger" not in shown.astext()
    warned: list[tuple[Any, ...]] = []
    warn = lambda *given, **options: warned.append((str(given[1]), options))  # noqa: E731
    monkeypatch.setattr(ledger.logger, "warning", warn)
    assert handled(book, MIME, content | {"id": "ch01.zz"}) == ([], [])
    ((words, options),) = warned
    assert words.startswith("no chapter declares a claim 'ch01.zz'")
    assert options == {"location": ("notebooks/ch01_toy/01_one", 3), "type": "ledger"}


@pytest.mark.parametrize(
    ("raws", "noted"),
    [
        ([r'<p class="claim-card x">\(a\)'], True),
        ([r'<p class="mathjax_process">\(a\)'], True),
        (["<p>", r'<p class="claim-card">\(a\)', "<p>"], True),
        ([r"<p>\(a\)"], False),
        (['<p class="claim-card">', '<p class="mathjax_process">'], False),
        ([], False),
    ],
)
def test_where_formulas_stand_in_cards_alone(raws: list[str], noted: bool) -> None:
    document = new_document("page")
    document += [nodes.raw("", one, format="html") for one in raws]
    math = SimpleNamespace(data={"has_equations": {}})
    env = SimpleNamespace(get_domain={"math": math}.__getitem__, docname="p")
    ledger._note_formulas(SimpleNamespace(env=env), document)  # type: ignore[arg-type]
    assert math.data["has_equations"] == ({"p": True} if noted else {})


def test_what_is_configured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renderers: list[Any] = []
    monkeypatch.setattr(ledger, "load_mime_renders", lambda: renderers)
    default = ["a.b"]
    config = SimpleNamespace(html_static_path=[], suppress_warnings=default)
    app = SimpleNamespace(confdir=tmp_path)
    ledger._configure(app, config)  # type: ignore[arg-type]
    ledger._configure(app, config)  # type: ignore[arg-type]
    assert config.html_static_path == [str(ledger.STATIC)]
    assert renderers == [ledger.ClaimCard]
    assert default == ["a.b"]  # the list of Sphinx itself
    assert config.suppress_warnings[:3] == ["a.b", "mystnb.unknown_mime_type", "ref.python"]
    # A relative entry may be the same folder.
    app.confdir = ledger.STATIC.parent
    config = SimpleNamespace(html_static_path=["_static"], suppress_warnings=[])
    ledger._configure(app, config)  # type: ignore[arg-type]
    assert config.html_static_path == ["_static"]


class Recorder:
    """An application that notes what an extension asks of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def note(*given: Any, **options: Any) -> None:
            words = [getattr(one, "__name__", type(one).__name__) for one in given[1:]]
            self.asked.append((name, given[0], *words, *options.values()))

        return note


SAFE = {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


@pytest.mark.parametrize(
    ("module", "asked"),
    [
        (
            ledger,
            [
                ("add_directive", "verdicts", "Verdicts"),
                ("add_directive", "ledger", "Ledger"),
                ("add_directive", "chapter-cards", "ChapterCards"),
                ("add_directive", "paper-card", "PaperCard"),
                ("setup_extension", "tenpapers.exports"),
                ("setup_extension", "tenpapers.findings"),
                ("connect", "config-inited", "_configure"),
                ("connect", "env-get-outdated", "outdated"),
                ("connect", "doctree-read", "_note_formulas"),
                ("connect", "missing-reference", "resolve"),
                ("add_css_file", "ledger.css"),
                ("add_js_file", "ledger.js", "defer"),
            ],
        ),
        (
            exports,
            [
                ("connect", "html-page-context", "_add_reviews"),
                ("connect", "build-finished", "_write"),
            ],
        ),
        (
            findings,
            [
                ("add_directive", "findings", "Findings"),
                ("add_directive", "all-findings", "AllFindings"),
                ("add_directive", "headlines", "Headlines"),
                ("add_role", "measured", "Measured"),
                ("add_role", "row", "RowLink"),
            ],
        ),
    ],
)
def test_what_an_extension_asks_for(module: Any, asked: list[tuple[str, ...]]) -> None:
    app = Recorder()
    assert module.setup(app) == SAFE
    assert app.asked == asked


# --- exports --------------------------------------------------------------------------------------


def test_a_line_whole() -> None:
    told = claim((1, 2), NEAR, labels=("a", "b"), unit="s")
    found = measurement([1, 2], [(0, 1), (2, 3)], [7, 8], [(6, 7), (8, 9)])
    lines = exports.to_csv([row(told, found), row(claim(None), None, None)]).split("\n")
    assert lines == [
        "id,chapter,by,source,statement,kind,basis,claimed,unit,measured,control,verdict,notebook",
        'ch01.x,ch01_toy,paper,T. 1,S.,number,exact,"1, 2",s,"a: 1 [0, 1]; b: 2 [2, 3]",'
        '"7, 8 [6, 7], [8, 9]",holds,notebooks/ch01_toy/02_two.ipynb',
        "ch01.x,ch01_toy,paper,T. 1,S.,number,exact,,,,,not reported,",
        "",
    ]
    assert exports._control(row(told, measurement([1, 2]))) == ""
    assert exports.to_csv([]).count("\n") == 1


def test_the_rating_of_each_verdict(book: Path) -> None:
    labels = ["not reported", *VERDICTS]
    rows = [row(claim(1, by="ours"), None, "holds")]
    rows += [row(claim(1), None, label) for label in labels]
    told = exports.claim_reviews(rows, load_all(root=book), "ledger.html")
    assert told["@context"] == "https://schema.org"
    ratings = [one["reviewRating"] for one in told["@graph"]]
    assert [(one["alternateName"], one["ratingValue"]) for one in ratings] == [
        ("holds", 5),
        ("holds in direction", 4),
        ("inconclusive", 3),
        ("differs", 2),
        ("contradicted", 1),
    ]
    assert {(one["worstRating"], one["bestRating"]) for one in ratings} == {(1, 5)}
    article = told["@graph"][0]["itemReviewed"]["appearance"]
    assert article == {
        "@type": "ScholarlyArticle",
        "name": "On Toys",
        "author": [{"@type": "Person", "name": name} for name in ("A. Author", "B. Author")],
        "url": "https://arxiv.org/abs/2605.31036",
    }


def test_reviews_on_the_ledgers_page_alone(book: Path) -> None:
    claims = [CHAPTER["claims"][0] | {"statement": "Größe </script>"}, *CHAPTER["claims"][1:]]
    write(book, "book/ch01_toy/claims.yml", yaml.safe_dump(CHAPTER | {"claims": claims}))
    app = SimpleNamespace(srcdir=book)
    for name in ("index", "book/ledger"):
        context = {"body": "<p>"}
        exports._add_reviews(app, name, "t", context, None)  # type: ignore[arg-type]
        if name == "index":
            assert context == {"body": "<p>"}
    assert context["body"].startswith('<p><script type="application/ld+json">{"@context"')
    assert context["body"].count("</script>") == 1
    assert "Größe \\u003c/script>" in context["body"]
    write(book, "book/ch01_toy/claims.yml", "no claims")
    context = {"body": "<p>"}
    exports._add_reviews(app, "book/ledger", "t", context, None)  # type: ignore[arg-type]
    assert context == {"body": "<p>"}  # the directive has warned


def test_files_to_take_away_come_with_pages_that_were_built(book: Path, tmp_path: Path) -> None:
    out = tmp_path / "some" / "out"

    def finish(error: Exception | None, format: str) -> None:
        builder = SimpleNamespace(format=format)
        app = SimpleNamespace(srcdir=book, outdir=out, builder=builder)
        exports._write(app, error)  # type: ignore[arg-type]

    finish(ValueError(), "html")
    finish(None, "latex")
    assert not out.exists()
    for _ in range(2):  # over what an earlier build left
        finish(None, "html")
        rows = collect(root=book)
        assert (out / "downloads/ledger.json").read_text("utf-8") == as_json(rows) + "\n"
        assert (out / "downloads/ledger.csv").read_text("utf-8") == exports.to_csv(rows)
    (out / "downloads/ledger.csv").unlink()
    write(book, "book/ch01_toy/claims.yml", "no claims")
    finish(None, "html")
    assert not (out / "downloads/ledger.csv").exists()


# --- findings -------------------------------------------------------------------------------------


def finding(**more: Any) -> Finding:
    fields: dict[str, Any] = {"id": "f", "sentence": "S.", "rows": ("ch01.a",), "direction": False}
    fields |= {"scope": "here", "budget": "", "figure": None, "headline": None}
    return Finding(**(fields | more))


def test_three_rows_that_come_close(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {f"ch01.part{i}": i for i in range(5)}
    monkeypatch.setattr(findings, "all_rows", lambda root: rows)
    assert findings.find_row("ch01.part3", Path()) == 3
    with pytest.raises(LedgerError) as caught:
        findings.find_row("ch01.part", Path())
    assert str(caught.value).count("ch01.part") == 4
    with pytest.raises(LedgerError, match=r"^no claim 'zz'$"):
        findings.find_row("zz", Path())


class Measured(findings.Measured):
    """The role on a page that is being read."""

    env = SimpleNamespace(srcdir="/book")

    def __init__(self, target: str) -> None:
        self.target = self.text = target

    def get_location(self) -> str:
        return "page:3"


def test_a_role_follows_its_files_and_tells_where_it_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[Any] = []
    warned: list[tuple[Any, ...]] = []
    told = claim((1.5, 2.5), NEAR, id="ch01.a", labels=("left", "right"))
    rows = {"ch01.a": row(told, Measurement.of("ch01.a", [1.5, 2.5]))}
    monkeypatch.setattr(findings, "all_rows", lambda root: rows)
    monkeypatch.setattr(findings, "note_sources", noted.append)
    warn = lambda *given, **options: warned.append((str(given[1]), options))  # noqa: E731
    monkeypatch.setattr(findings.logger, "warning", warn)
    (found,), messages = Measured("ch01.a : right").run()
    assert (found.astext(), found["ledger_anchor"], messages) == ("2.5", "claim-ch01.a", [])
    assert found[0]["classes"] == ["measured"]
    assert noted == [Measured.env]
    (found,), _ = Measured("ch01.b").run()
    assert (type(found), found.astext()) == (nodes.literal, "ch01.b")
    wanted = "no claim 'ch01.b'; did you mean ch01.a?"
    assert warned == [(wanted, {"location": "page:3", "type": "ledger"})]


def test_a_figure_comes_with_its_caption_and_without_cards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    png = {"image/png": "UE5H", "text/html": "<p>no</p>"}
    outputs = [
        {"data": {MIME: {}, "text/html": "<p>a card</p>", "text/plain": "card"}},
        {"data": png, "metadata": {"image/png": {"alt": "A line"}}},
        {"data": png, "metadata": {}},
        {"data": {"image/svg+xml": "<svg/>", "text/html": "<p>no</p>"}},
        {"data": {"text/html": "<p>It rises.</p>", "text/plain": "It rises."}},
        {"data": {"text/plain": "nothing to show"}},
    ]
    monkeypatch.setattr(findings, "stored_figure", lambda figure, slug, root: outputs)
    page = SimpleNamespace(root=None, picture=lambda encoded: f"/{encoded}.png")
    told = finding(figure=Picture("02_two", "gain"))
    found = findings.Findings.figure(page, told, "ch01_toy")  # type: ignore[arg-type]
    assert found["classes"] == ["finding-figure"]
    one, two, drawn, caption, link = found.children
    assert [(i["uri"], i["alt"]) for i in (one, two)] == [
        ("/UE5H.png", "A line"),
        ("/UE5H.png", ""),
    ]
    assert drawn.astext() == pieces.drawing("<svg/>").astext()
    assert caption.astext() == "<p>It rises.</p>"
    assert link.astext() == "Where this figure is made"
    assert link[0]["reftarget"] == "notebooks/ch01_toy/02_two"


def test_a_picture_lies_where_those_of_notebooks_lie(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "deep"
    env = SimpleNamespace(mystnb_config=SimpleNamespace(output_folder=str(folder)))
    page = SimpleNamespace(env=env, root=tmp_path)
    name = f"{hashlib.sha256(b'PNG').hexdigest()}.png"
    for _ in range(2):
        encoded = base64.b64encode(b"PNG").decode()
        found = findings.Findings.picture(page, encoded)  # type: ignore[arg-type]
        assert found == f"/out/deep/{name}"
        assert (folder / name).read_bytes() == b"PNG"


def test_a_finding_with_its_limits_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    page = directive(findings.Findings)
    page.figure = lambda told, slug: nodes.paragraph("", "the figure")
    rows = {
        "ch01.a": row(claim(1, id="ch01.a"), None, "holds"),
        "ch01.b": row(claim(1, id="ch01.b.c", by="ours"), None, "differs"),
    }
    told = finding(rows=("ch01.a", "ch01.b"), budget="3 seeds", figure=Picture("n", "g"))
    found = page.finding(told, "ch01_toy", rows, "p-", picture=True)
    assert (found["ids"], found["classes"]) == (["p-finding-f"], ["finding"])
    assert texts(found[0]) == [
        "S.",
        "Scope: here · Budget: 3 seeds",
        "Rows of the paper: holds a ",
        "Our rows: differs b.c ",
    ]
    assert texts(found)[1:] == ["the figure"]
    for shown in (
        page.finding(told, "ch01_toy", rows, "", picture=False),
        page.finding(finding(), "ch01_toy", rows, "", picture=True),
    ):
        assert len(shown.children) == 1
    assert texts(shown[0]) == ["S.", "Scope: here", "Rows of the paper: holds a "]


def test_all_findings_of_all_chapters(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [SimpleNamespace(slug=f"ch0{i}_x", number=i, title=f"T{i}") for i in (1, 2, 3, 4)]
    there = {"ch02_x": (finding(id="a"), finding(id="b")), "ch04_x": (finding(id="c"),)}
    chapters = {one.slug: one for one in entries}
    monkeypatch.setattr(findings, "load_contents", lambda root: entries)
    monkeypatch.setattr(findings, "load_findings", lambda slug, root: there.get(slug, ()))
    monkeypatch.setattr(findings, "load_chapter", lambda slug, root: chapters[slug])
    page = directive(findings.AllFindings)
    page.checked = lambda slug: (there[slug], {})
    page.finding = lambda told, slug, rows, prefix, picture: nodes.paragraph(
        "", f"{slug} {prefix}{told.id} {picture}"
    )
    found = page.build()
    assert [one["ids"] for one in found] == [["ch02-findings"], ["ch04-findings"]]
    whole = "The chapter, with figures, proofs and limits"
    assert texts(found[0]) == ["2. T2", whole, "ch02_x ch02-a True", "ch02_x ch02-b False"]
    assert texts(found[1]) == ["4. T4", whole, "ch04_x ch04-c True"]


def test_which_chapters_have_a_headline(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [SimpleNamespace(slug=f"ch0{i}_x") for i in (1, 2, 3)]
    head = Headline("W.", ())
    there = {
        "ch01_x": (finding(), finding(id="b", headline=head)),
        "ch02_x": (finding(),),
        "ch03_x": (finding(headline=head),),
    }
    monkeypatch.setattr(findings, "load_contents", lambda root: entries)
    monkeypatch.setattr(findings, "load_findings", lambda slug, root: there.get(slug, ()))

    def build(**options: str) -> list[str]:
        page = directive(findings.Headlines, None, **options)
        page.headline = lambda slug, lead: nodes.paragraph("", f"{slug} {lead}")
        *lead, rest = page.build()
        assert rest["classes"] == ["headlines"]
        return [*texts(nodes.container("", *lead)), "|", *texts(rest)]

    assert build() == ["|", "ch01_x False", "ch03_x False"]
    assert build(first="ch03_x") == ["ch03_x True", "|", "ch01_x False"]
    with pytest.raises(LedgerError, match=r"first is 'ch02_x'; expected one of ch01_x, ch03_x"):
        build(first="ch02_x")


def test_a_headline_with_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    chapter = SimpleNamespace(number=1, title="Toys")
    monkeypatch.setattr(findings, "load_chapter", lambda slug, root: chapter)
    told = claim((1.5, 2.5), NEAR, id="ch01.a", labels=("left", "right"))
    rows = {"ch01.a": row(told, Measurement.of("ch01.a", [1.5, 2.5]))}
    head = Headline("Toys gain.", (("before", "ch01.a:left"), ("after", "ch01.a:right")))
    found = (finding(), finding(id="b", headline=head, figure=Picture("n", "g")))
    page = directive(findings.Headlines)
    page.checked = lambda slug: (found, rows)
    page.figure = lambda one, slug: nodes.paragraph("", f"figure of {one.id}")
    plain, lead = (page.headline("ch01_toy", lead=lead) for lead in (False, True))
    assert texts(plain)[:2] == ["Chapter 1: Toys", "Toys gain."]
    assert [texts(one) for one in plain[2].children] == [["1.5", "before"], ["2.5", "after"]]
    assert plain["classes"] == ["headline"]
    assert len(plain.children) == 3
    assert lead["classes"] == ["headline", "headline-lead"]
    assert texts(lead)[3:] == ["figure of b"]
    found[1].__dict__["figure"] = None
    assert len(page.headline("ch01_toy", lead=True).children) == 3


def test_rows_of_one_chapter_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = row(claim(1)), Row("ch02_x", claim(1), None, None)
    monkeypatch.setattr(findings, "all_rows", lambda root: {"ch01.a": own, "ch02.a": other})
    found: tuple[Finding, ...] = (finding(),)
    monkeypatch.setattr(findings, "load_findings", lambda slug, root: found)
    page = directive(findings.Findings)
    assert page.checked("ch01_toy") == (found, {"ch01.a": own})
    with pytest.raises(LedgerError, match=r"row 'ch01\.a' is not a claim of the chapter"):
        page.checked("ch02_x")
    found = ()
    with pytest.raises(LedgerError, match=r"there is no book/ch01_toy/findings\.yml"):
        page.checked("ch01_toy")


# --- essays and site ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("x = ledger.report('a', 1)", "x = ledger.report('a', 1)"),
        ("import a; x = 1", ""),
        ("x = 1\nimport a\ny = 2\nfrom b import c\nz = 3", "x = 1\ny = 2\nz = 3"),
        ("show(alt='a')\nshow(alt='b', caption='c')", "show(alt=...)\nshow(alt=..., caption=...)"),
        ("show(alt=3, caption=text, title='t')", "show(alt=3, caption=text, title='t')"),
        ("figures.used()\nuse()", "figures.used()\nuse()"),
        ("warnings.filterwarnings(\n    'ignore'\n)\nx", "x"),
        ("'a text'", "'a text'"),
    ],
)
def test_what_a_page_shows_of_code(source: str, shown: str) -> None:
    assert essays.shown_code(source) == shown


def test_cells_behind_words_are_folded_too() -> None:
    def cell(kind: str, source: str, *tags: str) -> dict[str, Any]:
        return {"cell_type": kind, "source": [source], "metadata": {"tags": list(tags)}}

    cells = [cell("markdown", "words"), cell("code", "x = 1"), cell("code", "1", "hide-cell")]
    cells.append(cell("code", "import os", "remove-input"))
    content = [json.dumps({"cells": cells})]
    essays.fold(None, "notebooks/a", content)  # type: ignore[arg-type]
    found = json.loads(content[0])["cells"]
    tags = [one["metadata"]["tags"] for one in found]
    assert tags == [[], ["hide-input"], ["hide-cell"], ["remove-input"]]
    assert [one["source"] for one in found] == [["words"], "x = 1", "1", "import os"]


def test_addresses_are_seen_from_the_page(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    def pathto(name: str, resource: int) -> str:
        asked.append((name, resource))
        return name

    for name in ("one.py", "one.ipynb"):
        write(tmp_path, name, "")
    buttons: list[dict[str, str]] = [{"text": "first"}, {"text": "second"}]
    context: dict[str, Any] = {"pathto": pathto, "title": None}
    context["header_buttons"] = [{}, {"label": "download-buttons", "buttons": buttons}]
    app = SimpleNamespace(srcdir=tmp_path)
    site.add_py_download(app, "one", "t", context, None)  # type: ignore[arg-type]
    assert [one["text"] for one in buttons] == ["first", ".py", "second"]
    app = SimpleNamespace(config=SimpleNamespace(html_title="B", project="P"))
    site.describe(app, "one", "t", context, new_document("p"))  # type: ignore[arg-type]
    assert asked == [("_sources", 1), ("_static/preview.png", 1)]
    assert '<meta property="og:title" content="">' in context["metatags"]


def test_numbers_that_stay() -> None:
    env: Any = SimpleNamespace(
        toc_secnumbers={"book/ch05_x/a": {"": (), "#b": (2, 3, 4)}, "more/ch05_x/a": {"": (2,)}},
        toc_fignumbers={},
        tocs={"book/ch05_x/a": nodes.bullet_list("", nodes.reference("", "none"))},
        titles={"book/ch05_x/a": nodes.title("", ""), "book/b": nodes.title("", "", secnumber=[3])},
        longtitles={},
    )
    site.number_chapters(None, env)  # type: ignore[arg-type]
    assert env.toc_secnumbers["book/ch05_x/a"] == {"": (), "#b": (5, 3, 4)}
    assert env.toc_secnumbers["more/ch05_x/a"] == {"": (2,)}
    assert env.titles["book/b"]["secnumber"] == (3,)
    assert "secnumber" not in env.titles["book/ch05_x/a"]
    assert "secnumber" not in env.tocs["book/ch05_x/a"][0]


def test_subjects_for_the_search() -> None:
    entries = {
        "a": [("single", "fish; net", "t1", "main", None), ("single", "bird", None, "", None)],
        "b": [("pair", "x; y", "t2", "", None)],
    }
    index = SimpleNamespace(entries=entries)
    env = SimpleNamespace(get_domain={"index": index}.__getitem__)
    site.keep_subjects(None, env)  # type: ignore[arg-type]
    found = env._search_index_index_entries
    assert found["a"][0] == ("fish", "t1", "main")
    assert found["a"][-1] == ("bird", "", "")
    assert {word for word, *_ in found["b"]} == {"x", "y"}


def test_first_cells_on_colab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "pyproject.toml", "[tool.ten-papers.data-only]\nb = ['w==1', 'v==2']\n")
    (tmp_path / "notebooks/ch02_b").mkdir(parents=True)
    entries = [SimpleNamespace(slug=f"ch0{i}_{s}", number=i) for i, s in ((1, "a"), (2, "b"))]
    monkeypatch.setattr(site, "load_contents", lambda root: entries)
    noted: list[str] = []
    page: Any = SimpleNamespace(
        env=SimpleNamespace(srcdir=str(tmp_path), note_dependency=noted.append),
        parse_text_to_nodes=lambda text: [text],
    )
    (text,) = site.ColabCells.run(page)
    assert noted == [str(tmp_path / "pyproject.toml")]
    assert re.findall(r"\{tab-item\} (.*)", text) == ["Chapter 2"]
    lines = site.colab_cell("b", tmp_path).splitlines()
    assert lines[2:4] == ["%pip install -q --no-deps w==1", "%pip install -q --no-deps v==2"]
    assert len(site.colab_cell("a", tmp_path).splitlines()) == 3


# --- the book's crate -----------------------------------------------------------------------------

RUN = {"started": "2026-11-28T10:00:00+00:00", "ended": "2026-11-28T10:00:07+00:00"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository of three notebooks, the first of which was never executed."""
    root = tmp_path / "repository"
    cited = {"title": "Bücher", "abstract": "Some \n words", "license": ["MIT", "BSD-3-Clause"]}
    cited |= {"repository-code": "https://example.org", "authors": [{"name": "Us"}]}
    write(root, "CITATION.cff", yaml.safe_dump(cited))
    for name in ("requirements.lock", "data/registry.yml", "lib/core/notebooks.py"):
        write(root, name, name)
    write(root, "lib/same.py", "x = 1\n")
    write(root, "lib/shape.ttl", "a b c .\n")
    write(root, "book/ch99_demo/claims.yml", "claims")
    shape = hashlib.sha256(b"a b c .\n").hexdigest()
    same = code_digest(root / "lib/same.py")
    parts = {"lib": {"lib/same.py": same, "lib/shape.ttl": shape}, "data": {}, "claims": {}}
    changed = {"lib": {"lib/same.py": "0", "lib/gone.py": "0", "lib/shape.ttl": shape}}
    changed |= {"data": {"hillstrom": "0"}, "claims": {"ch99.a": "0"}}
    noted: list[dict[str, Any]] = [{}, {"parts": parts, "run": RUN | {"python": "3.11.7"}}]
    noted.append({"parts": changed})
    for name, one in zip(("01_none", "02_same", "03_more"), noted, strict=True):
        write(root, f"notebooks/ch99_demo/{name}.py", name)
        metadata = {"book": one} if one else {}
        write(root, f"notebooks/ch99_demo/{name}.ipynb", json.dumps({"metadata": metadata}))
    answers = {"rev-parse": "0123456789abcdef", "log": "2026-11-28T11:00:00+00:00", "status": ""}
    monkeypatch.setattr(book_crate, "_git", lambda root, *words: answers[words[0]])
    told = [row(claim(1)), row(claim(1, by="ours")), row(claim(1), None, None)]
    monkeypatch.setattr(book_crate.ledger, "collect", lambda root: told)
    return root


def test_the_records_of_the_book(repository: Path) -> None:
    records, files = book_crate._records(repository)
    steps = [one for one in records.activities.values() if one.id != next(iter(records.activities))]
    place = "notebooks/ch99_demo"
    assert [(one.kind, one.label) for one in steps] == [
        ("NotebookExecution", f"{place}/02_same.ipynb"),
        ("NotebookExecution", f"{place}/03_more.ipynb (2 files changed since)"),
        ("LedgerCollection", "2 verdicts on claims of papers, 1 on our own"),
    ]
    assert [(one.start, one.end) for one in steps[:2]] == [
        (datetime.fromisoformat(RUN["started"]), datetime.fromisoformat(RUN["ended"])),
        (None, None),
    ]

    def used(step: Any) -> set[str]:
        names = {one.entity for one in records.usages if one.activity == step.id}
        return {records.entities[name].label for name in names}

    common = {"requirements.lock", "shape.ttl"}
    assert used(steps[0]) == common | {"02_same.py", "same.py"}
    hillstrom = next(one for one in used(steps[1]) if one.startswith("hillstrom: "))
    assert used(steps[1]) == common | {"03_more.py", "claims.yml", hillstrom}
    assert used(steps[2]) == {"02_same.ipynb", "03_more.ipynb", "registry.yml"}
    assert len(records.generations) == 3
    main = next(iter(records.activities))
    told = {(one.informed, one.informant) for one in records.communications}
    assert told == {(one.id, main) for one in steps}
    assert files["ledger.json"].endswith(b"}\n")
    assert f"{place}/01_none.ipynb" not in files
    versions = {one.name: one.version for one in records.agents.values()}
    assert versions["lib"] == "0123456789ab"
    assert sorted(one.version for one in records.agents.values() if one.name == "Python") == [
        "",
        "3.11.7",
    ]
    assert records.about["license_name"] == "MIT"
    assert records.about["license"] == "https://spdx.org/licenses/MIT"
    assert records.about["description"] == "Some words"
    assert records.about["creators"] == [
        {"kind": "Organization", "name": "Us", "iri": "https://example.org"}
    ]


def test_a_tree_with_changes_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_crate, "_git", lambda root, *words: "2026-11-28T11:00:00+00:00")
    records, _ = book_crate._records(repository)
    assert "2026-11-28T1-changed" in {one.version for one in records.agents.values()}


def test_the_file_of_a_crate(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_crate, "build", lambda records: {"about": records.about["title"]})
    target = book_crate.write_book(repository, tmp_path / "book.zip")
    with zipfile.ZipFile(target) as archive:
        entries = archive.infolist()
        assert archive.read(DESCRIPTOR).decode() == '{\n "about": "Bücher"\n}'
    assert [one.filename for one in entries] == sorted(one.filename for one in entries)
    for one in entries:
        assert one.date_time == (1980, 1, 1, 0, 0, 0)
        assert one.compress_type == zipfile.ZIP_DEFLATED
        assert one.external_attr == 0o644 << 16


def test_git_is_asked_without_noise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert book_crate._git(tmp_path, "--version").startswith("git version")
    with pytest.raises(CrateError, match="git no-such-word failed"):
        book_crate._git(tmp_path, "no-such-word")
    with pytest.raises(CrateError, match="failed"):
        book_crate._git(tmp_path / "nowhere", "--version")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("passed", "status"), [(True, 0), (False, 1)])
def test_the_command_tells_the_issues(
    passed: bool,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "book.zip"
    target.write_bytes(b"12345")
    issue = SimpleNamespace(check="c1", message="is wrong:", subject="s")
    report = SimpleNamespace(issues=(issue,), n_checks=3, skipped=("a", "b"), passed=passed)
    monkeypatch.setattr(book_crate, "write_book", lambda root, target: target)
    monkeypatch.setattr(validation, "validate_crate", lambda file: report)
    assert book_crate.main(str(target)) == status
    shown = capsys.readouterr()
    assert shown.err == "c1: is wrong: s\n"
    assert shown.out == f"{target}: 5 bytes, 3 required checks, 1 issues, 2 skipped\n"

    def broken(root: Path, target: Path) -> Path:
        raise CrateError("no history")

    monkeypatch.setattr(book_crate, "write_book", broken)
    assert book_crate.main(str(target)) == 1
    assert capsys.readouterr() == ("", "no history\n")
