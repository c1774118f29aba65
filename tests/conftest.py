"""Fixtures of all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lib.core import data
from lib.core.paths import ROOT

# One profile for all tests. How long an example takes says how busy the machine is, not whether the
# code is right; and CI, like the mutation runs, tries the same examples each time.
settings.register_profile(
    "book",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("book")


def _without_data() -> Generator[None, None, None]:
    # A test or fixture asks for its data and lets the error pass. Here it becomes a skip with the
    # reason, or remains a failure where data are required.
    try:
        return (yield)
    except data.MissingDataError as error:
        if data.required():
            raise
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    return (yield from _without_data())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    return (yield from _without_data())


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say themselves which profile and which sweep backend they want."""
    for name in ("BOOK_PROFILE", "BOOK_SWEEP_BACKEND", "BOOK_DASK_SCHEDULER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _own_figures() -> Iterator[None]:
    """No test draws in the style, or on the figures, that the one before it left."""
    if "matplotlib" not in sys.modules:
        yield
        return
    import matplotlib.pyplot as plt

    with plt.rc_context():
        yield
    plt.close("all")


@pytest.fixture
def copy_of_tree(tmp_path: Path) -> Path:
    """Return a copy of the files that git knows or would take, to plant faults in."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    target = tmp_path / "tree"
    for name in filter(None, listing.split("\0")):
        # Vendored scripts are large, and no test changes them.
        if name.startswith("book/_static/vendor/") or not (ROOT / name).is_file():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    return target
