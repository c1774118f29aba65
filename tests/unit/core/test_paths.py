"""The root, and writing that is whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lib.core.paths import CACHE, ROOT, atomic, write_atomic


def test_the_root_holds_the_house() -> None:
    assert (ROOT / "lib" / "core" / "paths.py").is_file()
    assert (ROOT / "pyproject.toml").is_file()
    assert CACHE.is_absolute()


@pytest.mark.parametrize(
    ("variable", "name", "value"),
    [
        ("BOOK_CACHE", "CACHE", "{}/elsewhere"),
        ("BOOK_CACHE", "RESULTS", "{}/elsewhere/sweeps"),
        ("BOOK_RESULTS", "RESULTS", "{}/elsewhere"),
    ],
)
def test_the_cache_and_the_results_move(
    tmp_path: Path, variable: str, name: str, value: str
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", f"from lib.core import paths; print(paths.{name})"],
        env={**os.environ, variable: str(tmp_path / "elsewhere")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == value.format(tmp_path)


def test_results_alone_do_not_move_the_cache(tmp_path: Path) -> None:
    command = "from lib.core import paths; print(paths.CACHE == paths.ROOT / '.cache')"
    environment = {**os.environ, "BOOK_RESULTS": str(tmp_path)}
    environment.pop("BOOK_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"


def test_write_and_replace(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.txt"
    assert write_atomic(target, "één") == target
    assert target.read_bytes() == "één".encode()
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["b.txt"]
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_an_error_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    target = tmp_path / "b.txt"
    target.write_text("old")

    def write() -> None:
        with atomic(target) as file:
            file.write(b"half of the n")
            raise KeyError("stop")

    with pytest.raises(KeyError):
        write()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]
