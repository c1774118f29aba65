"""The skeleton of a chapter: whole or not at all, and it passes what a chapter must pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lib.core import scaffold
from lib.core.ledger import Entry, load_chapter
from lib.core.notebooks import discover, pairing_problems
from lib.core.scaffold import ScaffoldError, create

# Chapters that no book will ever write, so that these tests do not wear off as it grows.
ARGUMENTS = ("92", "second_dream", "2699.00092")
OTHERS = (("91", "first_dream", "2699.00091"), ("93", "third_dream", "2699.00093"))
SLUG = "ch92_second_dream"


@pytest.fixture
def copy_of_tree(copy_of_tree: Path) -> Path:
    """Return the copy with three more planned chapters."""
    with (copy_of_tree / "data" / "chapters.yml").open("a", encoding="utf-8") as file:
        for number, package, arxiv in (*OTHERS, ARGUMENTS):
            file.write(f"- number: {number}\n  slug: ch{number}_{package}\n  title: A dream\n")
            file.write(f'  arxiv: "{arxiv}"\n  question: Is it?\n')
    return copy_of_tree


def listing(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def files_of_toc(root: Path) -> list[str]:
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    return [
        page["file"]
        for part in toc["parts"]
        for chapter in part["chapters"]
        for page in [chapter, *chapter.get("sections", [])]
    ]


def test_the_skeleton(copy_of_tree: Path) -> None:
    before = listing(copy_of_tree)
    made = create(*ARGUMENTS, root=copy_of_tree)
    after = listing(copy_of_tree)
    new = {path.relative_to(copy_of_tree).as_posix() for path in made}
    assert new == after.keys() - before.keys()
    assert new == {
        f"book/{SLUG}/claims.md",
        f"book/{SLUG}/claims.yml",
        f"book/{SLUG}/findings.yml",
        f"book/{SLUG}/index.md",
        f"book/{SLUG}/own_data.md",
        f"book/{SLUG}/references.bib",
        f"book/{SLUG}/theory.md",
        "lib/second_dream/__init__.py",
        "lib/second_dream/method.py",
        "lib/second_dream/study/__init__.py",
        f"notebooks/{SLUG}/01_first.ipynb",
        f"notebooks/{SLUG}/01_first.py",
        "tests/unit/second_dream/test_second_dream_package.py",
    }
    assert "year = {2026}," in after[f"book/{SLUG}/references.bib"].decode()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"_toc.yml", "_config.yml"}
    pages = [f"book/{SLUG}/{name}" for name in ("index", "theory", "own_data", "claims")]
    pages.insert(2, f"notebooks/{SLUG}/01_first")
    listed = files_of_toc(copy_of_tree)
    assert [page for page in listed if "ch92" in page] == pages
    config = yaml.safe_load((copy_of_tree / "_config.yml").read_text())
    assert f"book/{SLUG}/references.bib" in config["bibtex_bibfiles"]
    # No two pages of the book have one title.
    for page in pages[1:]:
        (text,) = (after[name].decode() for name in (f"{page}.md", f"{page}.py") if name in after)
        assert "# A dream" in text or ": A dream\n" in text, page
    assert load_chapter(SLUG, root=copy_of_tree).paper.arxiv == ARGUMENTS[2]
    (one,) = discover("92", root=copy_of_tree)
    assert pairing_problems(one) == []


def test_chapters_stand_in_order(copy_of_tree: Path) -> None:
    for arguments in (OTHERS[1], ARGUMENTS, OTHERS[0]):
        create(*arguments, root=copy_of_tree)
    numbers = [page[7:9] for page in files_of_toc(copy_of_tree) if page.endswith("/index")]
    assert numbers == sorted(numbers)
    assert numbers[-3:] == ["91", "92", "93"]
    config = yaml.safe_load((copy_of_tree / "_config.yml").read_text())
    assert config["bibtex_bibfiles"] == sorted(config["bibtex_bibfiles"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("92", "no_such_name", "2699.00092"), "expected 'second_dream'"),
        (("11", "second_dream", "2699.00092"), "number is 11"),
        (("five", "second_dream", "2699.00092"), "expected digits"),
        (("92", "second_dream", "2606.00000"), "expected '2699.00092'"),
    ],
)
def test_wrong_arguments_write_nothing(
    copy_of_tree: Path, arguments: tuple[str, str, str], message: str
) -> None:
    before = listing(copy_of_tree)
    with pytest.raises(ScaffoldError, match=message):
        create(*arguments, root=copy_of_tree)
    assert listing(copy_of_tree) == before


def test_nothing_is_overwritten(copy_of_tree: Path) -> None:
    create(*ARGUMENTS, root=copy_of_tree)
    before = listing(copy_of_tree)
    with pytest.raises(ScaffoldError, match=f"these exist: book/{SLUG}"):
        create(*ARGUMENTS, root=copy_of_tree)
    assert listing(copy_of_tree) == before


def test_a_failure_half_way_leaves_nothing(
    copy_of_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listing(copy_of_tree)
    real = scaffold.write_atomic

    def fail_once(target: Path, content: str) -> Path:
        if target.name == "_config.yml" and "ch92" in content:
            raise OSError("the disk is full")
        return real(target, content)

    monkeypatch.setattr(scaffold, "write_atomic", fail_once)
    with pytest.raises(OSError, match="the disk is full"):
        create(*ARGUMENTS, root=copy_of_tree)
    assert listing(copy_of_tree) == before
    assert list(copy_of_tree.glob(".scaffold-*")) == []


def test_the_skeleton_runs_lints_and_builds(copy_of_tree: Path) -> None:
    """With a short table of contents, so that no other chapter is built here."""
    create(*ARGUMENTS, root=copy_of_tree)
    pages = [page for page in files_of_toc(copy_of_tree) if "ch92" in page]
    contents = "".join(f"  - file: {page}\n" for page in pages[1:])
    (copy_of_tree / "_toc.yml").write_text(
        f"format: jb-book\nroot: {pages[0]}\nchapters:\n{contents}"
    )
    config = (copy_of_tree / "_config.yml").read_text()
    bibliography = [line for line in config.splitlines() if "references.bib" in line]
    for line in bibliography:
        if SLUG not in line:
            config = config.replace(f"{line}\n", "")
    (copy_of_tree / "_config.yml").write_text(config)
    environment = {**os.environ, "PYTHONPATH": str(copy_of_tree), "OMP_NUM_THREADS": "1"}
    scripts = Path(sys.executable).parent
    python = [f"lib/{ARGUMENTS[1]}", f"notebooks/{SLUG}", f"tests/unit/{ARGUMENTS[1]}"]
    for command in (
        [sys.executable, "-m", "lib.core.notebooks", "run", "--chapter", "92"],
        [sys.executable, "-m", "lib.core.notebooks", "check", "--chapter", "92"],
        [sys.executable, "-m", "pytest", "-q", python[2]],
        [scripts / "ruff", "check", *python],
        [scripts / "ruff", "format", "--check", *python],
        [scripts / "mypy", python[0]],
        [scripts / "jupyter-book", "build", ".", "-W", "-n", "--keep-going"],
    ):
        done = subprocess.run(
            command, cwd=copy_of_tree, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    page = copy_of_tree / "_build" / "html" / "notebooks" / SLUG / "01_first.html"
    assert f"arXiv {ARGUMENTS[2]}" in page.read_text()


def test_references_where_none_or_no_list_stands() -> None:
    entry = Entry(92, SLUG, "A dream", "2699.00092", "Is it?")
    text = scaffold._add_to_config("title: Dreams\n\n", entry)
    assert yaml.safe_load(text) == {
        "title": "Dreams",
        "bibtex_bibfiles": [f"book/{SLUG}/references.bib"],
    }
    assert text.startswith("title: Dreams\n\nbibtex_bibfiles:\n  - ")
    with pytest.raises(ScaffoldError, match="bibtex_bibfiles is not a list with one file a line"):
        scaffold._add_to_config("bibtex_bibfiles: [a.bib]\n", entry)


@pytest.mark.parametrize(
    ("others", "at"), [([], 1), (["91"], 1), (["93"], 0), (["91", "93"], 1), (["93", "94"], 0)]
)
def test_a_chapters_place_in_the_contents(others: list[str], at: int) -> None:
    entry = Entry(92, SLUG, "A dream", "2699.00092", "Is it?")
    head = "format: jb-book\nroot: index\nparts:\n"
    text = head + ("  - caption: The chapters\n    chapters:\n" if others else "")
    for number in others:
        text += f"      - file: book/ch{number}_dream/index\n        sections:\n"
        text += f"          - file: notebooks/ch{number}_dream/01_first\n"
    toc = yaml.safe_load(scaffold._add_to_toc(text, entry))
    (part,) = toc["parts"]
    assert part["caption"] == "The chapters"
    names = [one["file"].split("/")[1] for one in part["chapters"]]
    assert names == sorted([f"ch{n}_dream" for n in others] + [SLUG])
    assert names.index(SLUG) == (at if others else 0)
    assert all(len(one["sections"]) >= 1 for one in part["chapters"])


@pytest.mark.parametrize("error", [None, ScaffoldError("no such chapter")])
def test_the_command(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(*given: str) -> list[Path]:
        assert given == ("03", "persuasion", "2605.31275")
        if error:
            raise error
        return [scaffold.ROOT / "lib/persuasion/__init__.py", scaffold.ROOT / "book/ch03/index.md"]

    monkeypatch.setattr(scaffold, "create", make)
    assert scaffold.main(["03", "persuasion", "2605.31275"]) == (1 if error else 0)
    shown = capsys.readouterr()
    if error:
        assert (shown.out, shown.err) == ("", "nothing was made: no such chapter\n")
    else:
        assert shown.out.startswith("lib/persuasion/__init__.py\nbook/ch03/index.md\nadded to ")
        assert shown.out.endswith("next: make chapter N=03\n")
    with pytest.raises(SystemExit):
        scaffold.main(["03", "persuasion"])
