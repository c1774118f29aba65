"""Only the icons that pages use are in the book."""

from __future__ import annotations

from tenpapers.icons import _COLLECTION, _RULE, _THEME, pick

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
    icons = pick(_COLLECTION.read_text(encoding="utf-8"), ['<i class="fa-solid fa-list">'])
    assert icons["list"][:2] == (512, 512)


def test_the_letters_of_fonts_that_are_not_used_go() -> None:
    assert _RULE.sub("", '.fa-a:before,.fa-b::before{content:"\\f001"}.fa-lg{x:y}') == ".fa-lg{x:y}"
    style = (_THEME / "static/styles/pydata-sphinx-theme.css").read_text(encoding="utf-8")
    assert len(_RULE.sub("", style)) < len(style) - 80_000
