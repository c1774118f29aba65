"""The built pages, as files: complete, linked, off line and readable without pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import altair
import pytest
from bs4 import BeautifulSoup
from built import documents, notebooks

from lib.core import ledger
from lib.core.paths import ROOT

pytestmark = pytest.mark.html

Pages = dict[str, BeautifulSoup]

# Elements that make a browser fetch something by itself; a link to click is none of them.
FETCHED = {
    "script": "src",
    "img": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "iframe": "src",
    "embed": "src",
    "object": "data",
    "link": "href",
}
STYLE_URL = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""")


def targets(page: BeautifulSoup) -> list[str]:
    """Return what a page links to or loads."""
    found = [tag["href"] for tag in page.find_all(["a", "link"], href=True)]
    for name, attribute in FETCHED.items():
        if name != "link":
            found += [tag[attribute] for tag in page.find_all(name, attrs={attribute: True})]
    refresh = page.find("meta", attrs={"http-equiv": re.compile("refresh", re.IGNORECASE)})
    if refresh:
        found.append(refresh["content"].split("url=")[-1].strip("'\" "))
    return found


def broken(pages: Pages, html: Path) -> list[str]:
    """Return the links inside the book whose file or anchor is not there."""
    anchors = {
        name: {tag["id"] for tag in page.find_all(id=True)}
        | {tag["name"] for tag in page.find_all("a", attrs={"name": True})}
        for name, page in pages.items()
    }
    problems = []
    for name, page in pages.items():
        for target in targets(page):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            file = ((html / name).parent / path).resolve() if path else html / name
            if not file.is_file():
                problems.append(f"{name}: {target}: no such file")
                continue
            inside = file.relative_to(html).as_posix()
            # "#" alone is the theme's way of saying: the top of this page.
            if parts.fragment and unquote(parts.fragment) not in anchors.get(
                inside, {unquote(parts.fragment)}
            ):
                problems.append(f"{name}: {target}: no such anchor")
    return sorted(set(problems))


def outside(pages: Pages) -> list[str]:
    """Return what a browser would fetch from elsewhere when it opens a page."""
    problems = []
    for name, page in pages.items():
        for tag_name, attribute in FETCHED.items():
            for tag in page.find_all(tag_name, attrs={attribute: True}):
                if tag_name == "link" and "canonical" in tag.get("rel", []):
                    continue
                parts = urlsplit(tag[attribute])
                if parts.netloc or parts.scheme not in ("", "data"):
                    problems.append(f"{name}: <{tag_name}> {tag[attribute][:100]}")
        for tag in page.find_all("script", src=False):
            # Data is data, whatever it names; what runs may not name a foreign address.
            if not str(tag.get("type", "")).endswith("json") and re.search(r"https?://", tag.text):
                problems.append(f"{name}: script: {tag.text.strip()[:100]}")
        styles = [t.text for t in page.find_all("style")]
        styles += [t["style"] for t in page.find_all(style=True)]
        problems += [f"{name}: style: {u}" for text in styles for u in STYLE_URL.findall(text)]
    return problems


def test_every_entry_of_the_contents_has_a_page(html: Path) -> None:
    assert [doc for doc in documents() if not (html / f"{doc}.html").is_file()] == []


def test_every_page_of_a_chapter_is_in_the_contents() -> None:
    written = {
        file.relative_to(ROOT).with_suffix("").as_posix()
        for pattern in ("book/*.md", "book/ch*/*.md", "notebooks/ch*/*.ipynb")
        for file in ROOT.glob(pattern)
    }
    assert sorted(written - set(documents())) == []


def test_no_error_shows(pages: Pages) -> None:
    wrong = {
        name: [str(tag)[:200] for tag in found]
        for name, page in pages.items()
        if (
            found := page.select(".output.traceback, .output.stderr, .system-message, .problematic")
        )
        # An example in a docstring may show the error that it raises.
        or (
            not name.startswith("book/reference/")
            and (found := page.find_all(string=re.compile(r"Traceback \(most recent call last\)")))
        )
    }
    assert wrong == {}


def test_no_reference_is_undefined(pages: Pages) -> None:
    wrong = {
        name: [tag.text for tag in found]
        for name, page in pages.items()
        # Types in docstrings are words; the build itself fails on a name of this library.
        if not name.startswith("book/reference/")
        if (found := [t for t in page.select("article .xref") if not t.find_parent("a")])
    }
    assert wrong == {}


def test_links_anchors_and_files_resolve(pages: Pages, html: Path) -> None:
    assert broken(pages, html) == []


def test_the_link_checker_sees_what_is_broken(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("")
    source = """<h1 id="a"></h1><a href="#a"></a><a href="#b"></a><a href="there.html#c"></a>
        <img src="none.png"><script src="none.js"></script><a href="none.html"></a>
        <a href="https://example.org/#x"></a>"""
    tree = {
        "page.html": BeautifulSoup(source, "html.parser"),
        "there.html": BeautifulSoup("", "html.parser"),
    }
    (tmp_path / "page.html").write_text(source)
    assert [line.split(": ")[1] for line in broken(tree, tmp_path)] == [
        "#b",
        "none.html",
        "none.js",
        "none.png",
        "there.html#c",
    ]


def test_nothing_is_fetched_from_elsewhere(pages: Pages, html: Path) -> None:
    assert outside(pages) == []
    styles = {
        file.relative_to(html).as_posix(): found
        for file in html.rglob("*.css")
        if (found := STYLE_URL.findall(file.read_text(encoding="utf-8")))
    }
    assert styles == {}


def test_the_network_checker_sees_what_is_foreign() -> None:
    source = """<script src="//cdn.example/x.js"></script><img src="https://example.org/a.png">
        <link rel="stylesheet" href="http://example.org/a.css"><a href="https://example.org"></a>
        <script>load("https://example.org")</script><style>@import "//example.org/x";</style>
        <script type="application/json">{"u": "https://example.org"}</script><img src="a.png">"""
    assert len(outside({"page": BeautifulSoup(source, "html.parser")})) == 5


def test_every_figure_has_a_text(pages: Pages) -> None:
    missing = {
        name: [tag.get("src", "")[-60:] for tag in found]
        for name, page in pages.items()
        if (found := [t for t in page.select("article img") if not t.get("alt", "").strip()])
        or (found := [t for t in page.select(".vega-chart") if not t.get("aria-label", "").strip()])
    }
    assert missing == {}
    # What Sphinx makes of a picture without one is its file name.
    named = [
        tag["alt"]
        for page in pages.values()
        for tag in page.select("article img")
        if re.search(r"\.(png|svg|jpe?g)$", tag["alt"])
    ]
    assert named == []


def test_the_ledger_shows_every_claim_and_its_verdict(pages: Pages) -> None:
    page = pages["book/ledger.html"]
    claims = {claim.id for chapter in ledger.load_all() for claim in chapter.claims}
    rows = {tag["id"].removeprefix("row-") for tag in page.select("table.ledger-all tr[id]")}
    assert rows == claims
    assert [
        tag.text for tag in page.select("table.ledger-all .verdict-badge.verdict-not-reported")
    ] == []


def test_every_written_chapter_has_a_page_with_all_its_verdicts(pages: Pages) -> None:
    for chapter in ledger.load_all():
        page = pages[f"book/{chapter.slug}/claims.html"]
        shown = page.select("table.ledger-chapter > tbody > tr")
        assert len(shown) == len(chapter.claims), chapter.slug


def test_every_written_chapter_opens_with_its_number_and_its_findings(pages: Pages) -> None:
    for chapter in ledger.load_all():
        page = pages[f"book/{chapter.slug}/index.html"]
        assert page.title.text.startswith(f"{chapter.number}. "), chapter.slug
        assert page.select(".finding-figure"), chapter.slug
        found = pages["book/found.html"].find(id=f"ch{chapter.number:02d}-findings")
        assert len(found.select(".finding")) == len(page.select(".finding")), chapter.slug
        names = pages["book/intro.html"].select(".headline .ledger-small a")
        assert [one for one in names if one.text.startswith(f"Chapter {chapter.number}: ")]


def test_numbers_beside_titles_are_the_chapters_own(pages: Pages, html: Path) -> None:
    """In the title bar, in previous and next, and in what search shows."""
    number = {f"book/{one.slug}/index": one.number for one in ledger.load_all()}
    seen = set()
    for name, page in pages.items():
        for link in page.select(".prev-next-area a"):
            target = ((html / name).parent / link["href"]).resolve().relative_to(html)
            doc = target.with_suffix("").as_posix()
            title = " ".join(link.select_one(".prev-next-title").text.split())
            assert title, f"{name}: an arrow without a name"
            if doc in number:
                assert title.startswith(f"{number[doc]}. "), name
                seen.add(doc)
    assert seen == set(number)
    index = (html / "searchindex.js").read_text(encoding="utf-8")
    found = json.loads(index[index.index("(") + 1 : index.rindex(")")])
    titles = dict(zip(found["docnames"], found["titles"], strict=True))
    for doc, one in number.items():
        assert BeautifulSoup(titles[doc], "html.parser").text.startswith(f"{one}. "), doc


def test_a_title_names_its_page_and_no_other(pages: Pages) -> None:
    titles: dict[str, list[str]] = {}
    for doc in documents():
        titles.setdefault(pages[f"{doc}.html"].h1.text.strip(" #\n"), []).append(doc)
    assert {title: docs for title, docs in titles.items() if len(docs) > 1} == {}


def test_only_the_chapter_that_is_read_is_open(pages: Pages) -> None:
    for doc in documents():
        chapter = re.search(r"/(ch\d\d_\w+)/", doc)
        sidebar = pages[f"{doc}.html"].select_one(".bd-sidebar-primary")
        pages_of = {
            found.group(1)
            for link in sidebar.select("li.toctree-l2 a")
            if (found := re.search(r"(ch\d\d_\w+)/", link["href"]))
        }
        assert len(pages_of) <= (1 if chapter else 0), doc
        assert all(one.get("aria-label") for one in sidebar.select("summary")), doc


def test_a_subject_of_the_search_leads_to_text(pages: Pages) -> None:
    """An index entry above a heading names nothing, and the search's script then fails."""
    empty = {
        name: [tag["id"] for tag in found]
        for name, page in pages.items()
        if (found := [t for t in page.select("[id^='index-']") if not t.text.strip()])
    }
    assert empty == {}


def test_the_front_page_has_ten_cards(pages: Pages) -> None:
    cards = pages["book/intro.html"].select(".chapter-card")
    assert len(cards) == 10
    written = [card for card in cards if "chapter-written" in card["class"]]
    assert len(written) == len(ledger.load_all())
    assert all(card.find("a", class_="internal") for card in written)
    assert all("planned" in card.text for card in cards if card not in written)


@pytest.mark.parametrize("doc", notebooks())
def test_a_notebook_can_be_downloaded_and_launched(doc: str, pages: Pages, html: Path) -> None:
    page = pages[f"{doc}.html"]
    buttons = [tag["href"] for tag in page.select(".article-header-buttons a[href]")]
    for suffix in (".ipynb", ".py"):
        (copy,) = {b for b in buttons if b.endswith(f"_sources/{doc}{suffix}")}
        offered = ((html / doc).parent / copy).resolve()
        assert offered.read_bytes() == (ROOT / f"{doc}{suffix}").read_bytes(), "run `make html`"
    for service in (
        "https://mybinder.org/v2/gh/",
        "https://colab.research.google.com/github/",
        "https://github.com/",
    ):
        assert [b for b in buttons if b.startswith(service) and f"/{doc}.ipynb" in b], service


def test_charts_have_their_scripts_and_only_they(pages: Pages) -> None:
    for name, page in pages.items():
        scripts = [tag["src"] for tag in page.find_all("script", src=True)]
        vega = [s for s in scripts if "vega" in s]
        assert len(vega) == (4 if page.select(".vega-chart") else 0), name


def test_vendored_parts_are_licensed_and_fit(html: Path) -> None:
    vendor = ROOT / "book" / "_static" / "vendor"
    for folder in (f for f in vendor.iterdir() if f.is_dir()):
        texts = list(folder.glob("LICENSE*"))
        assert texts, folder
        assert all(len(text.read_text(encoding="utf-8")) > 500 for text in texts)
        assert (html / "_static" / "vendor" / folder.name / texts[0].name).is_file()
    script = (vendor / "vega" / "vega-lite.min.js").read_text(encoding="utf-8")
    vendored = re.search(r'"use strict";var \w+="(\d+)\.(\d+)\.\d+"', script)
    assert vendored, "vega-lite.min.js does not say its version where it used to"
    numbers = tuple(map(int, vendored.groups()))
    wanted = tuple(int(part) for part in altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    assert numbers[0] == wanted[0]
    assert numbers >= wanted, f"charts speak Vega-Lite {wanted}, vendored is {numbers}"
