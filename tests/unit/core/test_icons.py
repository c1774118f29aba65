"""Only the icons that pages use are in the book."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tenpapers import icons
from tenpapers.icons import _COLLECTION, _RULE, _THEME, SCRIPT, pick

COLLECTION = (
    '{github:[496,512,[],"f09b","M1 1z"],"file-code":[384,512,["a"],"f1c9","M2 2z"],'
    '"file-code":[384,512,[],"f1c9","M3 3z"],bars:[448,512,["navicon"],"f0c9","M4 4z"]}'
)


def test_what_is_picked() -> None:
    pages = [
        '<i class="fas fa-file-code"></i><i class="fab fa-github fa-lg"></i>',
        '<span class="fa-solid fa-bars"></span><i class="fa-solid fa-no"></i><p class="fa-rocket">',
    ]
    assert pick(COLLECTION, pages) == {
        "bars": (448, 512, "M4 4z"),
        "file-code": (384, 512, "M3 3z"),
        "github": (496, 512, "M1 1z"),
    }
    assert pick(COLLECTION, ["<p>none</p>"]) == {}


def test_the_theme_still_has_its_collection_where_we_look() -> None:
    found = pick(_COLLECTION.read_text(encoding="utf-8"), ['<i class="fa-solid fa-list">'])
    assert found["list"][:2] == (512, 512)


def test_the_letters_of_fonts_that_are_not_used_go() -> None:
    assert _RULE.sub("", '.fa-a:before,.fa-b::before{content:"\\f001"}.fa-lg{x:y}') == ".fa-lg{x:y}"
    style = (_THEME / "static/styles/pydata-sphinx-theme.css").read_text(encoding="utf-8")
    assert len(_RULE.sub("", style)) < len(style) - 80_000


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of pages with the theme's script, and a collection of three icons."""
    collection = tmp_path / "collection.js"
    collection.write_text(COLLECTION)
    monkeypatch.setattr(icons, "_COLLECTION", collection)
    script = tmp_path / "html" / SCRIPT
    script.parent.mkdir(parents=True)
    script.write_text("all")
    script.with_name("fontawesome.js.map").write_text("a map")
    style = tmp_path / "html/_static/styles/pydata-sphinx-theme.css"
    style.parent.mkdir()
    style.write_text('.fa-bars:before{content:"\\f0c9"}p{x:y}')
    (tmp_path / "html/sub").mkdir()
    (tmp_path / "html/sub/page.html").write_text('<i class="fas fa-bars"></i>')
    return script


def finish(script: Path, error: Exception | None = None, format: str = "html") -> None:
    builder = SimpleNamespace(format=format)
    icons._replace(SimpleNamespace(outdir=script.parents[2], builder=builder), error)  # type: ignore[arg-type]


def test_the_script_holds_the_icons_of_the_pages_and_its_map_goes(built: Path) -> None:
    finish(built)
    assert '{"bars":[448,512,"M4 4z"]}' in built.read_text()
    assert not built.with_name("fontawesome.js.map").exists()
    style = built.parents[1] / "styles/pydata-sphinx-theme.css"
    assert style.read_text() == "p{x:y}"
    finish(built)  # a second build finds no map


@pytest.mark.parametrize("wrong", [{"error": ValueError()}, {"format": "latex"}])
def test_only_a_whole_build_of_pages_changes_it(built: Path, wrong: dict[str, object]) -> None:
    finish(built, **wrong)  # type: ignore[arg-type]
    assert built.read_text() == "all"
    assert built.with_name("fontawesome.js.map").exists()
    built.unlink()
    finish(built)
    assert not built.exists()
