"""Crates come from records and from nothing else; the book's crate is the same for one commit."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.core.paths import ROOT
from lib.robot_provenance import crate, record, runner
from lib.robot_provenance.crate import CrateError
from lib.robot_provenance.record import Records
from lib.robot_provenance.study import floorplans
from lib.robot_provenance.validation import validate_crate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("crate")
    grids, scenarios = floorplans.default_campaign()
    keep = [one for one in scenarios if one.name in ("closed-one-room", "faulty-no-goals")]
    runner.run_campaign(keep, grids, place, seeds=[0, 1], jobs=1, campaign="demo")
    return place


@pytest.fixture(scope="module")
def records(folder: Path) -> Records:
    return record.load(folder)


def nodes(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["@id"]: one for one in document["@graph"]}


def test_every_file_and_activity_is_there(folder: Path, records: Records) -> None:
    found = nodes(crate.build(records))
    for entity in records.entities.values():
        if not entity.path:
            continue
        node = found[entity.path + ("/" if entity.members else "")]
        assert node["name"] == entity.label
        if not entity.members:
            assert node["sha256"] == record.digest_file(folder / entity.path)
    actions = [one for one in found.values() if one["@type"] == "CreateAction"]
    assert len(actions) == len(records.activities)
    assert len([one for one in found.values() if one["@type"] == "OrganizeAction"]) == 1


def test_nothing_comes_from_elsewhere(folder: Path, records: Records, tmp_path: Path) -> None:
    """The crate is the same when the files themselves are gone: nothing is scanned afterwards."""
    for log in folder.rglob(record.LOG):
        target = tmp_path / log.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, target)
    (tmp_path / "stray.csv").write_text("never recorded")
    assert crate.build(record.load(tmp_path)) == crate.build(records)


def test_a_failure_stays_a_failure(records: Records) -> None:
    (main,) = records.of_kind("CampaignExecution")
    broken = dict(records.activities)
    broken[main.id] = replace(main, status="failed", error="OSError: full")  # type: ignore[type-var]
    found = nodes(crate.build(replace(records, activities=broken)))
    (action,) = [
        one
        for one in found.values()
        if one["@type"] == "CreateAction" and one.get("error") == "OSError: full"
    ]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"


def test_an_execution_without_end_is_not_called_complete(records: Records) -> None:
    (main,) = records.of_kind("CampaignExecution")
    cut = dict(records.activities)
    cut[main.id] = replace(main, status="interrupted", end=None)  # type: ignore[type-var]
    found = nodes(crate.build(replace(records, activities=cut)))
    assert [one for one in found.values() if "interrupted" in one.get("error", "")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"about": {}}, "nothing is recorded about: title, description, license"),
        ({"activities": {}}, "no activity of kind CampaignExecution"),
        ({"associations": ()}, "followed no plan"),
    ],
)
def test_nothing_is_made_up(records: Records, change: dict[str, Any], message: str) -> None:
    with pytest.raises(CrateError, match=message):
        crate.build(replace(records, **change))


def test_size_grows_with_the_runs(records: Records) -> None:
    """Each activity is two nodes; counted and not timed, for a test reads no clock."""

    def count(one: Records) -> int:
        kinds = [node["@type"] for node in crate.build(one)["@graph"]]
        return kinds.count("CreateAction") + kinds.count("ControlAction")

    kept = {
        name: one for name, one in records.activities.items() if one.run != "closed-one-room-s0"
    }
    gone = set(records.activities) - set(kept)
    less = replace(
        records,
        activities=kept,
        usages=tuple(one for one in records.usages if one.activity not in gone),
        generations=tuple(one for one in records.generations if one.activity not in gone),
        communications=tuple(one for one in records.communications if one.informed not in gone),
        associations=tuple(one for one in records.associations if one.activity not in gone),
    )
    assert count(records) - count(less) == 2 * len(gone)


def test_the_books_crate_is_valid_and_the_same_twice(tmp_path: Path) -> None:
    try:
        subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git history: the book's crate takes its date from the commit")
    one = crate.write_book(ROOT, tmp_path / "one.zip")
    two = crate.write_book(ROOT, tmp_path / "two.zip")
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        document = json.loads(archive.read(crate.DESCRIPTOR))
        names = set(archive.namelist())
        ledger = json.loads(archive.read("ledger.json"))
        found = nodes(document)
        for name in names - {crate.DESCRIPTOR}:
            assert found[name]["contentSize"] == str(archive.getinfo(name).file_size)
    assert {"requirements.lock", "data/registry.yml", "ledger.json"} <= names
    assert any(name.startswith("figures/") for name in names)
    assert any(name.endswith(".ipynb") for name in names)
    counts = {"paper": Counter(), "ours": Counter()}
    for row in ledger["rows"]:
        counts[row["by"]][row["verdict"] or "not reported"] += 1
    assert ledger["counts"] == counts
    assert all(sum(part.values()) for part in counts.values())
    # No time was noted when a stored notebook was executed, so none is claimed.
    actions = [node for node in document["@graph"] if node["@type"] == "CreateAction"]
    assert actions
    assert not any("startTime" in node or "endTime" in node for node in actions)
    report = validate_crate(one)
    assert (report.issues, report.skipped) == ((), ())
    assert report.n_checks == report.n_passed > 80


def test_no_git_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / "CITATION.cff", tmp_path / "CITATION.cff")
    with pytest.raises(CrateError, match="git rev-parse HEAD failed"):
        crate.write_book(tmp_path, tmp_path / "book.zip")
    assert not (tmp_path / "book.zip").exists()
