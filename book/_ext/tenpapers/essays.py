"""Notebooks as essays: on the page, code is folded, and what only feeds the house is left out.

The stored notebook stays as it is. Before Sphinx parses it, every code cell is tagged to be folded;
a cell that only imports, sets the style or reports to the ledger loses its code, and so do the
reports and the texts of figures inside other cells, which stand on the page as cards and captions
anyway. ``essay.js`` adds the one switch that unfolds the whole page.
"""

from __future__ import annotations

import ast
import json
from typing import Any

from sphinx.application import Sphinx

__all__ = ["fold", "setup", "shown_code"]

_HOUSE = ("figures.use", "ledger.report", "pd.set_option", "warnings.filterwarnings")
"""Calls that set the stage or hand in a result, of which a reader sees the effect."""

_TEXTS = ("alt", "caption")


def shown_code(source: str) -> str:
    r"""Return what a page shows of a cell's code: no imports, no reports, no texts of figures.

    Parameters
    ----------
    source : str
        Python; with IPython's magic commands it is returned as it is.

    Returns
    -------
    str
        Empty where nothing is left.

    Examples
    --------
    >>> shown_code("import numpy as np\nx = 1  # one\nledger.report('a', x)")
    'x = 1  # one'
    >>> shown_code("figures.show(draw(x), alt='A line.', caption='It rises.')")
    'figures.show(draw(x), alt=..., caption=...)'
    """
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return source
    lines = source.encode().splitlines(keepends=True)  # columns of `ast` count bytes
    cuts: list[tuple[tuple[int, int], tuple[int, int], bytes]] = []
    for one in body:
        if _is_house(one):
            cuts.append(((one.lineno - 1, 0), (_end(one)[0], len(lines[_end(one)[0]])), b""))
            continue
        for call in (node for node in ast.walk(one) if isinstance(node, ast.Call)):
            for keyword in call.keywords:
                if keyword.arg in _TEXTS and _is_text(keyword.value):
                    value = keyword.value
                    cuts.append(((value.lineno - 1, value.col_offset), _end(value), b"..."))
    for (row, column), (last, stop), new in sorted(cuts, reverse=True):
        lines[row : last + 1] = [lines[row][:column] + new + lines[last][stop:]]
    return b"".join(lines).decode().strip()


def _end(node: ast.stmt | ast.expr) -> tuple[int, int]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.end_lineno - 1, node.end_col_offset


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr | ast.BinOp) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _is_house(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return called and ast.unparse(node.value.func) in _HOUSE  # type: ignore[attr-defined]


def fold(app: Sphinx, document: str, content: list[str]) -> None:
    """Tag and trim the code cells of a notebook that Sphinx is about to parse."""
    if not document.startswith("notebooks/"):
        return
    notebook: dict[str, Any] = json.loads(content[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        shown = shown_code("".join(cell["source"]))
        tags = cell["metadata"].setdefault("tags", [])
        if not {"hide-input", "remove-input", "remove-cell", "hide-cell"} & set(tags):
            tags.append("hide-input" if shown else "remove-input")
        cell["source"] = shown or "".join(cell["source"])
    content[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register hook and script; Sphinx calls this."""
    app.connect("source-read", fold)
    app.add_js_file("essay.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
