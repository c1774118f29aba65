"""Crates come from records and from nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rp_grids import by_digest

from lib.robot_provenance import crate, record, validation
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


def by_hand(folder: Path, **told: Any) -> Records:
    """Record a campaign of one step; who took part in it and in the whole is told."""
    folder.mkdir()
    (folder / "w.py").write_text("x")
    creator = {"kind": "Person", "name": "Ada", "iri": "https://ex.org/ada"}
    about = {"title": "t", "description": "d", "license": runner.LICENCE, "creators": [creator]}
    with record.Recorder(folder, campaign="c", about=about) as r:
        who = {
            "Bea": r.agent("Bea", kind="Person", iri="https://ex.org/bea"),
            "Carl": r.agent("Carl", kind="Person"),
            "engine": r.agent("engine", version="1", url="https://ex.org/e"),
        }
        who["tool"] = r.agent("tool", version="1", url="https://ex.org/t", acts_for=who["Carl"])
        plan, whom = r.file(folder / "w.py", kind="Workflow"), [who[n] for n in told["whole"]]
        with (
            r.activity("CampaignExecution", "all", plan=plan, agent=whom) as whole,
            r.activity("TestExecution", "t1", agent=[who[n] for n in told["step"]]) as step,
        ):
            step.informed_by(whole.iri)
            (folder / "o.csv").write_text("1")
            step.generated(folder / "o.csv")
    return record.load(folder)


def agents(document: dict[str, Any]) -> dict[str, Any]:
    """Return the names of the agents of each action."""
    found, told = nodes(document), {}
    for one in found.values():
        if one["@type"] == "CreateAction":
            some = one.get("agent", [])
            some = [some] if isinstance(some, dict) else some
            told[one["name"]] = [found[who["@id"]]["name"] for who in some]
    return told


@pytest.mark.parametrize(
    ("whole", "step", "expected"),
    [
        (["engine", "Bea"], ["tool", "Bea"], {"all": ["Bea"], "t1": ["Bea", "Carl"]}),
        (["engine"], ["tool"], {"all": [], "t1": ["Carl"]}),
        (["engine"], ["engine", "Bea"], {"all": [], "t1": ["Bea"]}),
    ],
)
def test_who_did_a_step_is_who_is_recorded(
    tmp_path: Path, whole: list[str], step: list[str], expected: dict[str, list[str]]
) -> None:
    """The creators of the data set are its authors, and did no step that they are not told of."""
    document = crate.build(by_hand(tmp_path / "c", whole=whole, step=step))
    assert agents(document) == expected
    root = nodes(document)["./"]
    assert root["author"] == {"@id": "https://ex.org/ada"}


def test_a_program_may_order_the_steps_and_do_them(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    document = crate.build(by_hand(folder, whole=["engine"], step=["engine"]))
    (order,) = [one for one in document["@graph"] if one["@type"] == "OrganizeAction"]
    engine = nodes(document)[order["instrument"]["@id"]]
    assert engine["sameAs"]["@id"].endswith("/agent/engine-1")
    assert (engine["name"], engine["softwareVersion"]) == ("engine", "1")
    crate.write(folder)
    assert validation.validate_crate(folder).passed


def test_a_step_without_a_program_says_what_is_asked(tmp_path: Path) -> None:
    with pytest.raises(CrateError, match="'t1': no software took part in it, and the profile asks"):
        crate.build(by_hand(tmp_path / "c", whole=["engine"], step=["Bea"]))
