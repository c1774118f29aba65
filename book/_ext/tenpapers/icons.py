"""The theme's icons without its collection: the dozen that the pages use, not all 2,000.

The theme loads a script of 1.4 MB on every page, which turns ``<i class="fa-solid fa-list">`` into
a drawing. After the build this one is put in its place; it does the same with what is used.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from sphinx.application import Sphinx

__all__ = ["pick", "setup"]

SCRIPT = "_static/scripts/fontawesome.js"
_THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme"
_COLLECTION = _THEME / "static" / "scripts" / "fontawesome.js"
_USED = re.compile(r'<(?:i|span) class="[^"]*\bfa-[^"]*"')
_NAME = re.compile(r"\bfa-([a-z0-9-]+)")
# A letter of a font that is not used.
_RULE = re.compile(r"(?:\.fa-[a-z0-9-]+:{1,2}before,?)+\{[^}]*\}")

# Free icons of Font Awesome: CC BY 4.0; the theme's own copy says so beside this file.
RUNTIME = """\
/* Icons of Font Awesome Free 6 (fontawesome.com), CC BY 4.0: those that this book uses. */
"use strict";
(() => {
  const ICONS = %s;
  const style = document.createElement("style");
  style.textContent =
    ".svg-inline--fa{height:1em;overflow:visible;vertical-align:-.125em;box-sizing:content-box}" +
    ".fa-lg{font-size:1.25em;vertical-align:-.2em}.fa-fw{width:1.25em}";
  document.head.append(style);
  for (const mark of document.querySelectorAll(":is(i,span)[class*='fa-']")) {
    const name = [...mark.classList].map((one) => one.slice(3)).find((one) => one in ICONS);
    if (!name) continue;
    const [width, height, path] = ICONS[name];
    const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const { name, value } of mark.attributes) icon.setAttribute(name, value);
    icon.classList.add("svg-inline--fa");
    icon.setAttribute("viewBox", `0 0 ${width} ${height}`);
    icon.setAttribute("aria-hidden", "true");
    icon.setAttribute("focusable", "false");
    const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
    shape.setAttribute("fill", "currentColor");
    shape.setAttribute("d", path);
    icon.append(shape);
    mark.replaceWith(icon);
  }
})();
"""


def pick(collection: str, pages: list[str]) -> dict[str, tuple[int, int, str]]:
    """Return width, height and outline of the icons that pages use, by name.

    Parameters
    ----------
    collection : str
        The theme's script: brands first, then outlined icons, then the filled ones that are meant.
    pages : list of str
        HTML.
    """
    marks = {mark for page in pages for mark in _USED.findall(page)}
    names = {name for mark in marks for name in _NAME.findall(mark)}
    found = {}
    for name in sorted(names):
        entry = re.compile(rf'[{{,]"?{name}"?:\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"')
        if drawn := entry.findall(collection):
            width, height, path = drawn[-1]
            found[name] = (int(width), int(height), path)
    return found


def _replace(app: Sphinx, error: Exception | None) -> None:
    script = Path(app.outdir, SCRIPT)
    if error is not None or app.builder.format != "html" or not script.is_file():
        return
    collection = _COLLECTION.read_text(encoding="utf-8")
    pages = [file.read_text(encoding="utf-8") for file in Path(app.outdir).rglob("*.html")]
    icons = json.dumps(pick(collection, pages), separators=(",", ":"))
    script.write_text(RUNTIME % icons, encoding="utf-8")
    script.with_name("fontawesome.js.map").unlink(missing_ok=True)
    style = script.parents[1] / "styles/pydata-sphinx-theme.css"
    style.write_text(_RULE.sub("", style.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hook; Sphinx calls this."""
    app.connect("build-finished", _replace, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
