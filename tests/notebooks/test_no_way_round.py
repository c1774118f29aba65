"""No way round the ledger: what reports is proved, and what computes does not read claims."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import find_comment_markers, find_metadata_tags

from lib.core import notebooks
from lib.core.notebooks import Notebook
from lib.core.paths import ROOT
from lib.core.sources import parse

NOTEBOOKS = notebooks.discover()
REPORTED = "application/vnd.tenpapers.claim+json"

# Names of lib.core.ledger that hand out what the paper says, or rows that hold it.
READERS = {"find_claim", "load_all", "load_chapter", "collect"}
READING_MODULES = {"lib.core.ledger.claims", "lib.core.ledger.rows"}


def unproved(cell: nbformat.NotebookNode) -> bool:
    """Whether nbval leaves a cell out, or does not compare it: by a tag, or by a comment."""
    options = dict(find_metadata_tags(cell.metadata)) | dict(find_comment_markers(cell.source))
    return options.get("check") is False or bool({"skip", "check_exception"} & options.keys())


def reports(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell hands something to the ledger, by its code or by what it left behind."""
    if any(REPORTED in one.get("data", {}) for one in cell.get("outputs", ())):
        return True
    calls = (node.func for node in ast.walk(parse(cell.source)) if isinstance(node, ast.Call))
    return any("report" in getattr(f, "attr", getattr(f, "id", "")).split("_") for f in calls)


def unproved_reports(content: nbformat.NotebookNode) -> list[int]:
    return [
        index
        for index, cell in enumerate(content.cells)
        if cell.cell_type == "code" and reports(cell) and unproved(cell)
    ]


def claim_readers(tree: ast.AST) -> Iterator[str]:
    """Yield what of a module or a cell reads claims: names, modules, and the file itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = {one.name for one in node.names}
            modules = {node.module, *(f"{node.module}.{name}" for name in names)}
            yield from sorted((modules & READING_MODULES) | (names & READERS))
        elif isinstance(node, ast.Import):
            yield from sorted({one.name for one in node.names} & READING_MODULES)
        elif isinstance(node, ast.Attribute) and node.attr in READERS:
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if text in READERS | READING_MODULES or ("claims.yml" in text and "\n" not in text):
                yield text


def sources() -> Iterator[tuple[str, ast.AST]]:
    """Yield floors 2 and 3 of lib and the code of all notebooks."""
    for file in sorted((ROOT / "lib").rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        if not name.startswith("lib/core/"):
            yield name, ast.parse(file.read_text(encoding="utf-8"))
    for one in NOTEBOOKS:
        cells = [cell.source for cell in one.read_source().cells if cell.cell_type == "code"]
        yield one.source.relative_to(ROOT).as_posix(), parse("\n".join(cells))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda one: one.name)
def test_a_cell_that_reports_is_proved(notebook: Notebook) -> None:
    assert unproved_reports(notebook.read_source()) == []
    assert unproved_reports(notebook.read_stored()) == []


def test_nothing_that_computes_reads_claims() -> None:
    found = {name: set(claim_readers(tree)) for name, tree in sources()}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "tag", ["nbval-ignore-output", "nbval-skip", "raises-exception", "nbval-raises-exception"]
)
def test_a_tag_on_a_cell_that_reports_is_seen(tag: str, tmp_path: Path) -> None:
    loud = nbformat.v4.new_code_cell("ledger.report('ch01.a', x)", metadata={"tags": [tag]})
    assert unproved_reports(nbformat.v4.new_notebook(cells=[loud])) == [0]
    quiet = nbformat.v4.new_code_cell("x = 1", metadata={"tags": [tag]})
    assert unproved_reports(nbformat.v4.new_notebook(cells=[quiet])) == []
    # What a function of the cell reported shows in its output.
    quiet.outputs = [nbformat.v4.new_output("display_data", {REPORTED: {"id": "ch01.a"}})]
    assert unproved_reports(nbformat.v4.new_notebook(cells=[quiet])) == [0]


@pytest.mark.parametrize("comment", ["# NBVAL_IGNORE_OUTPUT", "# NBVAL_SKIP", "## NBVAL_SKIP"])
def test_a_comment_that_tells_nbval_the_same_is_seen(comment: str) -> None:
    code = f"{comment}\nfilm_report('ch01.a', x)"
    assert unproved_reports(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])) == [
        0
    ]
    plain = nbformat.v4.new_code_cell("# as it is\nledger.report('ch01.a', x)")
    trained = nbformat.v4.new_code_cell("report('a', 1)", metadata={"tags": ["trained-x", "hide"]})
    assert unproved_reports(nbformat.v4.new_notebook(cells=[plain, trained])) == []


@pytest.mark.parametrize(
    "code",
    [
        "ledger.report(id, ledger.load_chapter('ch01').claims[0].value)",
        "from lib.core.ledger import find_claim as f",
        "from lib.core.ledger.claims import *",
        "from lib.core.ledger import claims",
        "import lib.core.ledger.claims as c",
        "from lib.core.ledger.rows import Row",
        "getattr(ledger, 'load_all')()",
        "import_module('lib.core.ledger.claims')",
        "open('book/ch01_autobidding/claims.yml')",
        "def later():\n    return ledger.collect()",
    ],
)
def test_a_reader_of_claims_is_seen(code: str) -> None:
    assert list(claim_readers(ast.parse(code))) != []


def test_what_reads_no_claims_passes() -> None:
    code = "from lib.core import ledger\nfrom lib.core.ledger import report\nledger.report('a', 1)"
    assert list(claim_readers(ast.parse(code))) == []
