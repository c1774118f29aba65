"""Packages keep their budgets, and modules import each other in one direction."""

from __future__ import annotations

import graphlib
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
from size import BUDGETS, CEILINGS, ROOT, ceiling, lines_of_code, sizes


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("", 0),
        ("# a\n\n   \n", 0),
        ('"""Doc\n\nof a module."""\nx = 1  # one\n', 1),
        ('def f():\n    """Doc."""\n    return """two\n    lines"""\n', 3),
        ('x = 1\n"""What x is."""\ny = "text"\n', 2),
        ("f(\n    1,\n    # why\n\n    2,\n)\n", 4),
        ("x = 1; y = 2\n", 1),
        ("@d\nclass A:\n    '''Doc.'''\n    a: int\n", 3),
    ],
)
def test_what_is_a_line_of_code(source: str, count: int) -> None:
    assert lines_of_code(source) == count


FOUND = sizes()


@pytest.mark.parametrize(("package", "part"), list(FOUND))
def test_a_package_keeps_its_budget(package: str, part: str) -> None:
    assert FOUND[package, part] <= ceiling(package, part)


def test_a_ceiling_is_lowered_with_its_package() -> None:
    """A ceiling far above its package, or no longer needed, allows what nobody wanted."""
    found = FOUND
    for name, most in CEILINGS.items():
        package, _, part = name.partition("/")
        part = part or "method"
        assert BUDGETS[part] < most <= found[package, part] + 150, name


def test_study_is_counted_apart(tmp_path: Path) -> None:
    names = ("lib/a/market.py", "lib/a/study/figures.py", "lib/core/x.py", "lib/stats/y.py")
    for name in (*names, "book/_ext/toys/z.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n" * len(name))
    parts = [("a", "method"), ("a", "study"), ("core", "core"), ("stats", "shared")]
    parts.append(("toys", "pages"))
    assert list(sizes(tmp_path).items()) == list(zip(parts, (15, 22, 13, 14, 19), strict=True))


def test_the_method_may_not_import_the_study(tmp_path: Path) -> None:
    """import-linter says so for a package that the scaffold makes."""
    # An invented package, which no chapter will ever be; it needs its place on a floor.
    floors = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    floors = floors.replace("(autobidding) |", "(autobidding) | (second_dream) |")
    (tmp_path / "pyproject.toml").write_text(floors, encoding="utf-8")
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    package = tmp_path / "lib" / "second_dream"
    (package / "study").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "study" / "__init__.py").touch()
    (package / "study" / "figures.py").write_text("from lib.second_dream import method\n")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    for code, status in (
        ("", 0),
        ("def f():\n    from lib.second_dream.study import figures\n", 1),
    ):
        (package / "method.py").write_text(code)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status, done.stdout
    assert "lib.second_dream.method -> lib.second_dream.study.figures" in done.stdout


def test_make_size_prints_every_package() -> None:
    done = subprocess.run(
        [sys.executable, "tests/tools/size.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert all(f"{name} " in done.stdout for name, _ in FOUND)


def circles(graph: grimp.ImportGraph) -> list[str]:
    """Return one circle of imports between modules, if there is any."""
    order = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        graphlib.TopologicalSorter(order).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_circle_in_lib() -> None:
    """Imports inside functions count; those for type checkers alone do not run."""
    graph = grimp.build_graph("lib", cache_dir=None, exclude_type_checking_imports=True)
    # A package's own names come from its modules, which may say `from package import module`.
    assert circles(graph) == []


def test_a_circle_is_seen() -> None:
    graph = grimp.build_graph("lib", cache_dir=None, exclude_type_checking_imports=True)
    graph.add_import(importer="lib.core.paths", imported="lib.core.notebooks")
    assert {"lib.core.paths", "lib.core.notebooks"} <= set(circles(graph))
