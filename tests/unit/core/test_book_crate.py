"""The book's crate holds what the executor noted, is valid, and is the same for one commit."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lib.core.paths import ROOT
from lib.core.sources import code_digest
from lib.robot_provenance.crate import DESCRIPTOR, CrateError
from lib.robot_provenance.validation import validate_crate
from tenpapers import book_crate

RUN = {"started": "2026-11-28T10:00:00+00:00", "ended": "2026-11-28T10:00:07+00:00"}


def document(file: Path) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        found: dict[str, Any] = json.loads(archive.read(DESCRIPTOR))
    return found


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository of one notebook that used two modules, one of which changed since."""
    root = tmp_path / "book"
    for name in ("CITATION.cff", "requirements.lock", "data/registry.yml", "lib/core/notebooks.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    for name in ("lib/same.py", "lib/other.py"):
        (root / name).write_text("x = 1\n", encoding="utf-8")
    parts = {
        "lib": {"lib/same.py": code_digest(root / "lib/same.py"), "lib/other.py": "0" * 64},
        "data": {"hillstrom": "0" * 64},
        "claims": {},
    }
    noted = {"parts": parts, "run": {**RUN, "python": "3.11.7"}}
    stored = {"cells": [], "metadata": {"book": noted}, "nbformat": 4, "nbformat_minor": 5}
    place = root / "notebooks/ch99_demo"
    place.mkdir(parents=True)
    (place / "01_one.py").write_text("# %%\n1\n", encoding="utf-8")
    (place / "01_one.ipynb").write_text(json.dumps(stored), encoding="utf-8")
    names = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "."), (*names, "commit", "-qm", "all")):
        subprocess.run(["git", *words], cwd=root, check=True)
    monkeypatch.setattr(book_crate.ledger, "collect", lambda root: [])
    return root


def test_an_execution_is_what_was_noted_while_it_ran(small: Path, tmp_path: Path) -> None:
    told = document(book_crate.write_book(small, tmp_path / "one.zip"))
    nodes = {node["@id"]: node for node in told["@graph"]}
    (action,) = [
        node
        for node in nodes.values()
        if node["@type"] == "CreateAction" and "01_one.ipynb" in node["name"]
    ]
    times = [datetime.fromisoformat(action[name]) for name in ("startTime", "endTime")]
    assert times == [datetime.fromisoformat(RUN[name]) for name in ("started", "ended")]
    assert "1 files changed since" in action["name"]
    used = [one["@id"] for one in action["object"]]
    assert "lib/same.py" in used
    assert "lib/other.py" not in nodes
    assert any("hillstrom" in json.dumps(nodes[one]) for one in used)
    assert any(node.get("version") == "3.11.7" for node in nodes.values())


def test_nothing_executed_is_an_error(small: Path, tmp_path: Path) -> None:
    (small / "notebooks/ch99_demo/01_one.ipynb").write_text('{"metadata": {}}', encoding="utf-8")
    with pytest.raises(CrateError, match="no executed notebook"):
        book_crate.write_book(small, tmp_path / "one.zip")


def test_the_books_crate_is_valid_and_the_same_twice(tmp_path: Path) -> None:
    try:
        subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git history: the book's crate takes its date from the commit")
    one = book_crate.write_book(ROOT, tmp_path / "one.zip")
    two = book_crate.write_book(ROOT, tmp_path / "two.zip")
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        names = set(archive.namelist())
        ledger = json.loads(archive.read("ledger.json"))
        found = {node["@id"]: node for node in document(one)["@graph"]}
        for name in names - {DESCRIPTOR}:
            assert found[name]["contentSize"] == str(archive.getinfo(name).file_size)
    assert {"requirements.lock", "data/registry.yml", "ledger.json"} <= names
    assert any(name.endswith(".ipynb") for name in names)
    counts: dict[str, Counter[str]] = {"paper": Counter(), "ours": Counter()}
    for row in ledger["rows"]:
        counts[row["by"]][row["verdict"] or "not reported"] += 1
    assert ledger["counts"] == counts
    report = validate_crate(one)
    assert (report.issues, report.skipped) == ((), ())
    assert report.n_checks > 80


def test_no_git_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / "CITATION.cff", tmp_path / "CITATION.cff")
    with pytest.raises(CrateError, match="git rev-parse HEAD failed"):
        book_crate.write_book(tmp_path, tmp_path / "book.zip")
    assert not (tmp_path / "book.zip").exists()


def test_the_command_says_what_was_checked(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(book_crate, "ROOT", small)
    assert book_crate.main(str(tmp_path / "book.zip")) == 0
    assert "91 required checks, 0 issues, 0 skipped" in capsys.readouterr().out
    shutil.copyfile(ROOT / "CITATION.cff", tmp_path / "CITATION.cff")
    monkeypatch.setattr(book_crate, "ROOT", tmp_path)
    assert book_crate.main(str(tmp_path / "two.zip")) == 1
