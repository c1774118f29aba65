"""Every stored notebook: paired, executed, whole, small, checked, fresh, and honest."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from feeds import feed_problems
from literals import literal_problems

from lib.core import ledger, notebooks
from lib.core.notebooks import UNCHECKED_TAGS, Notebook
from lib.core.paths import ROOT
from tenpapers.essays import shown_code

MAX_BYTES = 800_000  # drawings are text
MAX_CELL_LINES = 25
MAX_UNCHECKED = 0.10

NOTEBOOKS = notebooks.discover()
CHAPTERS = sorted(path.parent.name for path in (ROOT / "book").glob("ch*/claims.yml"))

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda one: one.name)
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


def unchecked(content: nbformat.NotebookNode) -> float:
    """Return the share of code cells that strict nbval does not compare."""
    codes = [one for one in content.cells if one.cell_type == "code"]
    tagged = [one for one in codes if UNCHECKED_TAGS & set(one.metadata.get("tags", []))]
    return len(tagged) / max(1, len(codes))


def long_cells(content: nbformat.NotebookNode) -> list[str]:
    """Name the code cells that show too many lines on their page, without blanks and comments."""
    problems = []
    for index, cell in enumerate(content.cells):
        if cell.cell_type != "code":
            continue
        lines = [line.strip() for line in shown_code(cell.source).splitlines()]
        count = sum(bool(line) and not line.startswith("#") for line in lines)
        if count > MAX_CELL_LINES:
            problems.append(f"cell {index} has {count} lines of code: move what it does to lib")
    return problems


@each_chapter
def test_a_chapter_has_notebooks(chapter: str) -> None:
    assert notebooks.discover(chapter)


def test_no_notebook_without_a_source() -> None:
    stored = set((ROOT / "notebooks").glob("*/*.ipynb"))
    assert stored == {one.stored for one in NOTEBOOKS}


@each_notebook
def test_paired_by_content(notebook: Notebook) -> None:
    assert notebooks.pairing_problems(notebook) == []


@each_notebook
def test_executed_with_outputs_and_without_errors(notebook: Notebook) -> None:
    assert notebooks.output_problems(notebook.read_stored()) == []


@each_notebook
def test_fresh(notebook: Notebook) -> None:
    assert notebooks.key_problems(notebook) == []


@each_notebook
def test_small(notebook: Notebook) -> None:
    assert notebook.stored.stat().st_size < MAX_BYTES


@each_notebook
def test_few_unchecked_cells(notebook: Notebook) -> None:
    assert unchecked(notebook.read_source()) < MAX_UNCHECKED


@each_notebook
def test_short_cells(notebook: Notebook) -> None:
    assert long_cells(notebook.read_source()) == []


@each_chapter
def test_every_claim_is_reported(chapter: str) -> None:
    assert ledger.check(chapter=chapter) == []


@each_chapter
def test_no_claimed_value_is_typed_in_code(chapter: str) -> None:
    problems = literal_problems(chapter, ROOT)
    assert problems == [], "an input of a construction belongs in `inputs` of claims.yml"


@each_chapter
def test_what_is_reported_is_computed(chapter: str) -> None:
    assert feed_problems(chapter, ROOT) == []


# --- the guards see planted faults ----------------------------------------------------------------


@pytest.fixture
def planted(tmp_path: Path) -> Notebook:
    """Return a copy of a real notebook, with what its key covers."""
    one = next((n for n in NOTEBOOKS if n.stored.is_file() and not notebooks.check([n])), None)
    if one is None:
        pytest.skip("no stored notebook is paired, executed and fresh: the tests above say why")
    passing = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "lib", tmp_path / "lib", symlinks=True, ignore=passing)
    shutil.copytree(ROOT / "data", tmp_path / "data")
    shutil.copy2(ROOT / "requirements.lock", tmp_path)
    for folder in ("book", "notebooks"):
        shutil.copytree(ROOT / folder / one.chapter, tmp_path / folder / one.chapter)
    copy = Notebook(tmp_path / one.source.relative_to(ROOT))
    assert notebooks.check([copy]) == []
    return copy


def test_stripped_outputs_fail(planted: Notebook) -> None:
    content = planted.read_stored()
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    planted.write(content)
    problems = notebooks.output_problems(planted.read_stored())
    assert "no cell has an output" in problems
    assert any("execution count" in problem for problem in problems)
    assert any("reports it" in problem for problem in ledger.check(root=planted.root)) or not any(
        "report(" in cell.source for cell in content.cells
    )


def test_an_edited_source_fails(planted: Notebook) -> None:
    text = planted.source.read_text(encoding="utf-8")
    planted.source.write_text(text + "\n# %%\nplanted = 1\n", encoding="utf-8")
    assert notebooks.pairing_problems(planted) != []
    assert any("its code changed" in problem for problem in notebooks.key_problems(planted))


def test_an_edited_constant_of_lib_fails(planted: Notebook) -> None:
    package = planted.chapter.partition("_")[2]
    used = planted.read_stored().metadata.book.parts.lib
    name = next(name for name in sorted(used) if name.startswith(f"lib/{package}/"))
    file = planted.root / name
    file.write_text(file.read_text(encoding="utf-8") + "\nPLANTED = 1\n", encoding="utf-8")
    assert notebooks.key_problems(planted) == [f"{name} changed"]


def test_an_unchecked_or_long_cell_is_seen() -> None:
    cell = nbformat.v4.new_code_cell("x = 1\n" * 26, metadata={"tags": ["nbval-ignore-output"]})
    content = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell("# a\n" * 40)])
    assert unchecked(content) == 0.5
    assert long_cells(content) == ["cell 0 has 26 lines of code: move what it does to lib"]
