"""What the pages need beyond the theme, hook by hook."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docutils import nodes
from docutils.utils import new_document
from smallbook import build, write

from tenpapers import essays, icons, site

LONG = "A paragraph of more than sixty characters, so that it says what the page is about."


def app_at(root: Path, **more: Any) -> Any:
    return SimpleNamespace(srcdir=root, outdir=root / "out", **more)


@pytest.mark.parametrize(
    ("body", "loaded"),
    [('<div class="vega-chart"></div>', list(site.VEGA_SCRIPTS)), ("<p>vega</p>", []), (None, [])],
)
def test_charts_load_their_scripts_in_order(body: str | None, loaded: list[str]) -> None:
    added: list[str] = []

    def add(name: str, loading_method: str) -> None:
        assert loading_method == "defer"
        added.append(name)

    site.add_vega(SimpleNamespace(add_js_file=add), "p", "t", {"body": body}, None)  # type: ignore[arg-type]
    assert added == loaded


def test_scripts_are_copied_where_their_buttons_point(tmp_path: Path) -> None:
    for name in ("one/first.py", "one/first.ipynb", "one/alone.py", "one/page.md"):
        write(tmp_path, name, name)
    env = SimpleNamespace(found_docs={"one/first", "one/alone", "one/page"})
    for error, format in ((ValueError(), "html"), (None, "latex")):
        app = app_at(tmp_path, env=env, builder=SimpleNamespace(format=format))
        site.copy_scripts(app, error)
        assert not app.outdir.exists()
    app = app_at(tmp_path, env=env, builder=SimpleNamespace(format="html"))
    site.copy_scripts(app, None)
    files = [one for one in app.outdir.rglob("*") if one.is_file()]
    assert files == [tmp_path / "out/_sources/one/first.py"]
    assert files[0].read_text() == "one/first.py"
    site.copy_scripts(app, None)  # over what an earlier build left


def tags(*paragraphs: str, title: str = "Toys", **config: Any) -> dict[str, str]:
    """Return the tags of a page of these paragraphs, by name."""
    page = new_document("page")
    page += [nodes.paragraph("", one) for one in paragraphs]
    names = {"html_title": "The book", "project": "", **config}
    context: dict[str, Any] = {"title": title, "pathto": lambda name, _: f"../{name}"}
    site.describe(SimpleNamespace(config=SimpleNamespace(**names)), "p", "t", context, page)  # type: ignore[arg-type]
    found = {}
    for line in context["metatags"].splitlines():
        kind, name, _, content = line.removeprefix("<meta ").removesuffix('">').split('"', 3)
        assert kind == ("property=" if name.startswith("og:") else "name=")
        found[name] = content.removeprefix('"')
    return found


def test_a_page_is_described_by_its_first_long_paragraph() -> None:
    short = "x" * 60
    found = tags("Short.", short, LONG.replace(" ", "\n  "), "Another, " + LONG)
    assert found["description"] == found["og:description"] == LONG
    assert found["og:site_name"] == "Ten Papers, Executable"
    assert found["og:type"] == "article"
    assert found["og:image"] == "../_static/preview.png"
    assert tags("x" * 61)["description"] == "x" * 61
    assert tags(short)["description"] == "The book"
    assert tags(short, html_title=None)["description"] == ""


def test_a_long_description_ends_between_words() -> None:
    assert tags("word " * 60)["description"] == "word " * 40 + "…"
    assert tags("seven77 " * 60)["description"] == "seven77 " * 25 + "…"
    assert (
        tags("nine99999 " + "eight888 " * 60)["description"]
        == "nine99999 " + "eight888 " * 21 + "…"
    )
    exactly = "y" * 99 + " " + "z" * 100
    assert tags(exactly)["description"] == exactly


def test_a_title_without_markup_and_words_without_harm() -> None:
    found = tags('"><script>' + LONG, title="A <em>b</em> &amp; c", project="P & Q")
    assert found["og:title"] == "A b &amp; c"
    assert found["og:site_name"] == "P &amp; Q"
    assert found["description"].startswith("&quot;&gt;&lt;script&gt;A par")


def test_a_page_made_of_nothing_has_no_tags_and_given_ones_stay() -> None:
    context: dict[str, Any] = {"metatags": "<meta kept>\n"}
    site.describe(SimpleNamespace(), "search", "t", context, None)  # type: ignore[arg-type]
    assert context == {"metatags": "<meta kept>\n"}
    context |= {"title": "T", "pathto": lambda name, _: name}
    config = SimpleNamespace(html_title="B", project="P")
    site.describe(SimpleNamespace(config=config), "p", "t", context, new_document("p"))  # type: ignore[arg-type]
    assert context["metatags"].startswith('<meta kept>\n<meta name="description"')


class _Recorder:
    """An application that notes what an extension asks of it."""

    def __init__(self) -> None:
        self.hooks: list[tuple[str, str, int]] = []
        self.others: list[str] = []

    def connect(self, event: str, hook: Any, priority: int = 500) -> None:
        self.hooks.append((event, hook.__name__, priority))

    def add_directive(self, name: str, directive: type) -> None:
        self.others.append(name)

    def add_js_file(self, name: str, loading_method: str) -> None:
        self.others.append(f"{name} {loading_method}")


def test_hooks_of_the_pages() -> None:
    app = _Recorder()
    for one in (site, essays, icons):
        assert one.setup(app) == {  # type: ignore[arg-type]
            "version": "1",
            "parallel_read_safe": True,
            "parallel_write_safe": True,
        }
    assert app.others == ["colab-cells", "essay.js defer"]
    early = {(event, name) for event, name, priority in app.hooks if priority == 500}
    late = {(event, name) for event, name, priority in app.hooks if priority > 501}
    assert {
        ("env-check-consistency", "number_chapters"),
        ("env-updated", "keep_subjects"),
        ("html-page-context", "add_vega"),
        ("html-page-context", "describe"),
        ("build-finished", "copy_scripts"),
        ("source-read", "fold"),
    } <= early
    # After the theme has made its buttons, and after all pages are written.
    assert {
        ("html-page-context", "add_py_download"),
        ("html-page-context", "drop_files"),
        ("html-page-context", "name_parts"),
        ("build-finished", "_replace"),
    } <= late


@pytest.mark.parametrize("formulas", [True, False])
@pytest.mark.parametrize("tabs", [True, False])
def test_what_a_page_does_not_need_is_not_fetched(formulas: bool, tabs: bool) -> None:
    math = SimpleNamespace(data={"has_equations": {"p": formulas}})
    app = SimpleNamespace(env=SimpleNamespace(get_domain={"math": math}.__getitem__))

    class File(str):
        """A file, or a script that stands in the page."""

        attributes: dict[str, str | None]

    def script(body: str | None) -> File:
        found = File("None")
        found.attributes = {"body": body}
        return found

    mathjax = ["_static/vendor/mathjax/tex.js", script("window.MathJax = {}")]
    kept = ["_static/essay.js", script(None), script("let x")]
    client = ["_static/sphinx-thebe.js", script("const THEBE_JS_URL")]
    context = {
        "body": '<div class="sd-tab-set">' if tabs else None,
        "script_files": [*client, *kept, "_static/design-tabs.js", *mathjax],
        "css_files": ["_static/sphinx-thebe.css", "_static/book.css", "sphinx-design.min.css"],
    }
    site.drop_files(app, "p", "t", context, None)  # type: ignore[arg-type]
    design = ["_static/design-tabs.js"] if tabs else []
    assert context["script_files"] == [*kept, *design, *(mathjax if formulas else [])]
    assert context["css_files"] == [
        "_static/book.css",
        *(["sphinx-design.min.css"] if tabs else []),
    ]


def test_names_and_roles_for_those_who_do_not_see_the_page() -> None:
    body = '<i aria-label="Toggle hidden content"></i><p role="doc-biblioentry">'
    context: dict[str, Any] = {
        "body": body,
        "generate_toctree_html": lambda *given, **options: f"<summary>{given}{options}",
    }
    site.name_parts(None, "p", "t", context, None)  # type: ignore[arg-type]
    assert context["body"] == '<i></i><p role="listitem">'
    made = context["generate_toctree_html"]("sidebar", depth=2)
    assert made == "<summary aria-label=\"Pages of this chapter\">('sidebar',){'depth': 2}"
    empty: dict[str, Any] = {"body": None}
    site.name_parts(None, "p", "t", empty, None)  # type: ignore[arg-type]
    assert empty == {"body": None}


def subjects(root: Path) -> dict[str, list[tuple[str, bool]]]:
    """Return, for each subject of the search, the pages on it, and whether they are about it."""
    text = (root / "_build/html/searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    return {
        word: [(index["docnames"][number], main) for number, _, main in places]
        for word, places in index["indexentries"].items()
    }


def test_search_knows_the_subjects_of_pages_that_a_build_leaves_alone(tmp_path: Path) -> None:
    extensions = "extensions = ['myst_nb', 'tenpapers.site']\nhtml_theme = 'basic'\n"
    write(tmp_path, "conf.py", extensions + "exclude_patterns = ['_build']\n")
    write(tmp_path, "index.md", "# Book\n\n```{toctree}\none\ntwo\n```\n")
    entry = "```{index} ! fish, pair: bird; nest\n```\n\nOn fish.\n"
    write(tmp_path, "one.md", f"# One\n\n{entry}")
    write(tmp_path, "two.md", "# Two\n\n```{index} ! frog\n```\n\nOn frogs.\n")
    build(tmp_path)
    first = subjects(tmp_path)
    assert first["fish"] == [("one", True)]
    assert first["frog"] == [("two", True)]
    write(tmp_path, "two.md", "# Two\n\n```{index} ! toad\n```\n\nOn toads, at last.\n")
    assert build(tmp_path) == ["two"]
    second = subjects(tmp_path)
    del first["frog"]
    assert second == first | {"toad": [("two", True)]}
    (tmp_path / "one.md").unlink()
    write(tmp_path, "index.md", "# Book\n\n```{toctree}\ntwo\n```\n")
    build(tmp_path)
    assert subjects(tmp_path) == {"toad": [("two", True)]}
