"""The stale keys of the book itself: what moves which notebook."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from lib.core import notebooks
from lib.core.notebooks import Notebook
from lib.core.paths import ROOT

PAGES_ONLY = {
    *("findings.py", "rows.py", "__main__.py", "notebooks.py", "proof.py", "scaffold.py"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree with the book's own files; the lock and the shapes may be changed."""
    for name in ("book", "data", "notebooks", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "requirements.lock", tmp_path)
    return tmp_path


def parts(root: Path, chapter: str | None = None) -> dict[str, dict[str, Any]]:
    found = notebooks.discover(chapter)
    return {
        one.name: notebooks.key_parts(Notebook(root / one.source.relative_to(ROOT)))
        for one in found
    }


def test_chapter_1_does_not_ask_for_packages_that_it_does_not_reach(tree: Path) -> None:
    lock = tree / "requirements.lock"
    text = lock.read_text(encoding="utf-8")
    before = parts(tree, "01")
    lock.write_text(text + "a-package-for-chapter-9==1.0\n", encoding="utf-8")
    assert parts(tree, "01") == before
    # Another version of what only other chapters import changes nothing either.
    raised = re.sub(r"(?m)^(snakemake|pyshacl|z3-solver)==.*$", r"\1==99", text)
    assert raised.count("==99") == 3
    lock.write_text(raised, encoding="utf-8")
    assert parts(tree, "01") == before


def test_a_rise_of_numpy_makes_chapter_1_stale(tree: Path) -> None:
    lock = tree / "requirements.lock"
    before = parts(tree, "01")
    text = re.sub(r"(?m)^numpy==.*$", "numpy==99", lock.read_text(encoding="utf-8"))
    lock.write_text(text, encoding="utf-8")
    after = parts(tree, "01")
    for name, one in after.items():
        assert {**before[name]["lock"], "numpy": "99"} == one["lock"] != before[name]["lock"]


def test_a_triple_more_in_the_shapes_makes_chapter_7_stale_and_no_other(tree: Path) -> None:
    before = parts(tree)
    with (tree / "lib/robot_provenance/shapes/robot-provenance.ttl").open("a") as file:
        file.write("\n<urn:a> <urn:b> <urn:c> .\n")
    after = parts(tree)
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {name for name in before if "/ch07_" in name}
    assert len(moved) == 4


def test_no_key_holds_what_only_pages_use() -> None:
    for name, one in parts(ROOT).items():
        assert {file for file in one["lib"] if not file.startswith("lib/")} == set(), name
        held = {file.removeprefix("lib/core/") for file in one["lib"] if "lib/core/" in file}
        held = {file.removeprefix("ledger/") for file in held}
        assert held & PAGES_ONLY == set(), name


def test_optional_parts_that_the_book_asks_for_are_reached() -> None:
    # pyproject.toml asks for prov[rdf,xml]: lxml is required by nothing else that chapter 7 reaches
    # by name, and prov imports it only when it writes XML.
    for one in parts(ROOT, "07").values():
        assert {"prov", "rdflib", "lxml"} <= one["lock"].keys()
        # What only tests and tools of a package want is not.
        assert not {"pytest", "sphinx", "ruff", "mypy"} & one["lock"].keys()
