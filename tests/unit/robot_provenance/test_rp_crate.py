"""Crates come from records and from nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rp_grids import by_digest

from lib.robot_provenance import crate, record
from lib.robot_provenance.crate import CrateError
from lib.robot_provenance.record import Records
from lib.robot_provenance.study import floorplans, runner


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("crate")
    grids, scenarios = floorplans.default_campaign()
    keep = [one for one in scenarios if one.name in ("closed-one-room", "faulty-no-goals")]
    runner.run_campaign(keep, by_digest(grids), place, seeds=[0, 1], jobs=1, campaign="demo")
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


def test_actions_have_the_times_and_the_workflow_is_the_followed_plan(records: Records) -> None:
    found = nodes(crate.build(records))
    assert found["./"]["mainEntity"] == {"@id": "workflow.py"}
    assert found["workflow.py"]["@type"] == [
        *("File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo")
    ]
    assert found["#python"]["name"] == "Python"
    for one in records.activities.values():
        node = found["#" + one.id.removeprefix(records.base).replace(".prov/", "")]
        assert one.start is not None
        assert one.end is not None
        assert node["startTime"] == one.start.isoformat(timespec="milliseconds")
        assert node["endTime"] == one.end.isoformat(timespec="milliseconds")
        assert node["actionStatus"] == "http://schema.org/CompletedActionStatus"
        assert "error" not in node
        assert node["name"] == one.label
    (main,) = records.of_kind("CampaignExecution")
    runs = records.of_kind("TestExecution")
    action = found["#" + main.id.removeprefix(records.base).replace(".prov/", "")]
    results = {one["@id"] for one in action["result"]}
    assert {f"runs/{one.run}/result.json" for one in runs} <= results  # type: ignore[union-attr]


@pytest.mark.parametrize(("told", "name"), [({}, "Python"), ({"language": "Julia"}, "Julia")])
def test_the_language_is_what_its_record_says(
    records: Records, told: dict[str, str], name: str
) -> None:
    (workflow,) = records.of_kind("Workflow")
    assert isinstance(workflow, record.Entity)
    changed = records.entities | {workflow.id: replace(workflow, attributes=told)}
    found = nodes(crate.build(replace(records, entities=changed)))
    (language,) = [n for n in found.values() if n["@type"] == "ComputerLanguage"]
    assert language["name"] == name


def test_each_execution_organises_its_own_steps(records: Records) -> None:
    """A campaign that was done in two goes has two executions."""
    (main,) = records.of_kind("CampaignExecution")
    assert isinstance(main, record.Activity)
    second = replace(main, id=main.id + "-2", label="the rest")
    mine = [one for one in records.communications if one.informant == main.id]
    moved = replace(mine[0], informant=second.id)
    both = replace(
        records,
        activities=records.activities | {second.id: second},
        communications=tuple(moved if c == mine[0] else c for c in records.communications),
        associations=(
            *records.associations,
            *(
                replace(a, activity=second.id)
                for a in records.associations
                if a.activity == main.id
            ),
        ),
    )
    found = nodes(crate.build(both))
    organised = {n["result"]["@id"]: n for n in found.values() if n["@type"] == "OrganizeAction"}
    assert len(organised) == 2
    rest = organised["#" + second.id.removeprefix(records.base).replace(".prov/", "")]
    assert rest["object"] == {
        "@id": "#control-" + moved.informed.removeprefix(records.base).replace(".prov/", "")
    }


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
        ({"associations": ()}, "no software took part"),
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


def test_an_execution_without_a_plan_makes_no_crate(records: Records) -> None:
    plain = tuple(replace(one, plan="") for one in records.associations)
    with pytest.raises(CrateError, match="followed no plan"):
        crate.build(replace(records, associations=plain))
