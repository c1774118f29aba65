"""The audit names what does not agree, and a replay gives the same bytes or says why not."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rp_grids import by_digest

from lib.robot_provenance import audit, crate, record
from lib.robot_provenance.audit import Finding, ReplayError, replay
from lib.robot_provenance.campaign import Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.record import Activity, Derivation, Generation, Records, Usage
from lib.robot_provenance.study import runner

RUN, OTHER = "near-s0", "near-s1"
OWN = f"runs/{RUN}/"


@pytest.fixture(scope="module")
def records(pair: Path) -> Records:
    return record.load(pair)


def execution(records: Records) -> Activity:
    return next(one for one in records.of_kind("TestExecution") if one.run == RUN)


def with_activity(records: Records, **changes: Any) -> Records:
    one = execution(records)
    return replace(records, activities=records.activities | {one.id: replace(one, **changes)})


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(content), encoding="utf-8")


# --- each thing that may not agree ---------------------------------------------------------------


def missing(folder: Path, records: Records) -> Records:
    (folder / OWN / "trace.csv").unlink()
    return records


def changed(folder: Path, records: Records) -> Records:
    file = folder / OWN / "bag" / "bag.mcap"
    file.write_bytes(file.read_bytes()[:-1])
    return records


def swapped(folder: Path, records: Records) -> Records:
    mine, theirs = folder / OWN / "bag", folder / "runs" / OTHER / "bag"
    mine.rename(folder / "aside")
    theirs.rename(mine)
    (folder / "aside").rename(theirs)
    return records


def unrecorded(folder: Path, records: Records) -> Records:
    (folder / OWN / "notes.txt").write_text("late", encoding="utf-8")
    return records


def verdict(folder: Path, records: Records) -> Records:
    edit(folder / OWN / "result.json", outcome="stuck")
    return records


def table(folder: Path, records: Records) -> Records:
    file = folder / "metrics.csv"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    lines = [one.replace("success", "stuck") if RUN in one else one for one in lines]
    file.write_text("".join(lines), encoding="utf-8")
    return records


def copied(folder: Path, records: Records) -> Records:
    shutil.copytree(folder / OWN, folder / "runs" / f"{RUN}-again")
    return records


def executed_twice(folder: Path, records: Records) -> Records:
    one = execution(records)
    again = replace(one, id=f"{one.id}-again")
    return replace(records, activities=records.activities | {again.id: again})


def generated_twice(folder: Path, records: Records) -> Records:
    own = execution(records)
    trace = next(e for e in records.of_kind("Traces") if e.path.startswith(OWN))
    return replace(records, generations=(*records.generations, Generation(trace.id, own.id)))


def dangling(folder: Path, records: Records) -> Records:
    more = Usage(execution(records).id, f"{records.base}nowhere#0123456789abcdef")
    return replace(records, usages=(*records.usages, more))


def interrupted(folder: Path, records: Records) -> Records:
    return with_activity(records, status="interrupted", end=None)


def clock(folder: Path, records: Records) -> Records:
    one = execution(records)
    assert one.start is not None
    return with_activity(records, start=one.start - timedelta(hours=1))


def ends_late(folder: Path, records: Records) -> Records:
    one = execution(records)
    assert one.end is not None
    return with_activity(records, end=one.end + timedelta(hours=1))


def config(folder: Path, records: Records) -> Records:
    edit(folder / OWN / "result.json", seed=17)
    return records


def measure(folder: Path, records: Records) -> Records:
    file = folder / OWN / "result.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))["metrics"]
    edit(file, metrics=metrics | {"path_length_m": 1.23})
    return records


def measured_table(folder: Path, records: Records) -> Records:
    file = folder / "metrics.csv"
    rows = pd.read_csv(file)
    rows.loc[rows["run"] == RUN, "path_length_m"] = 1.23
    rows.to_csv(file, index=False)
    return records


def row_gone(folder: Path, records: Records) -> Records:
    file = folder / "metrics.csv"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(one for one in lines if RUN not in one), encoding="utf-8")
    return records


def row_more(folder: Path, records: Records) -> Records:
    file = folder / "metrics.csv"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    more = lines[-1].replace(OTHER, "ghost-s0")
    file.write_text("".join([*lines, more]), encoding="utf-8")
    return records


def set_back(folder: Path, records: Records) -> Records:
    one = execution(records)
    assert one.start is not None
    return with_activity(records, end=one.start - timedelta(seconds=1))


def suppressed(folder: Path, records: Records) -> Records:
    """Folder, row and records of a run go, with every digest rewritten; the plan still lists it."""
    shutil.rmtree(folder / OWN)
    row_gone(folder, records)
    gone = {name for name, one in records.activities.items() if one.run == RUN}
    files = {name for name, one in records.entities.items() if one.path.startswith(OWN)}
    table = next(one for one in records.of_kind("Metrics"))
    digest = record.digest_file(folder / "metrics.csv")
    kept = {name: one for name, one in records.entities.items() if name not in files}
    return replace(
        records,
        activities={k: v for k, v in records.activities.items() if k not in gone},
        entities=kept | {table.id: replace(table, sha256=digest)},
        usages=tuple(u for u in records.usages if not {u.activity, u.entity} & (gone | files)),
        generations=tuple(g for g in records.generations if g.activity not in gone),
        derivations=tuple(d for d in records.derivations if not {d.entity, d.source} & files),
        associations=tuple(a for a in records.associations if a.activity not in gone),
        communications=tuple(c for c in records.communications if c.informed not in gone),
    )


def unplanned(folder: Path, records: Records) -> Records:
    one = execution(records)
    more = replace(one, id=f"{one.id}-x", run="extra-s0")
    return replace(records, activities=records.activities | {more.id: more})


def derived_from_nothing(folder: Path, records: Records) -> Records:
    trace = next(e for e in records.of_kind("Traces") if e.path.startswith(OWN))
    more = Derivation(trace.id, f"{records.base}nowhere", execution(records).id)
    return replace(records, derivations=(*records.derivations, more))


def foreign_result(folder: Path, records: Records) -> Records:
    edit(folder / OWN / "result.json", run=OTHER)
    return records


def half_result(folder: Path, records: Records) -> Records:
    file = folder / OWN / "result.json"
    file.write_bytes(file.read_bytes()[:40])
    return records


def no_scenario(folder: Path, records: Records) -> Records:
    (folder / OWN / "scenario.json").write_text("[]", encoding="utf-8")
    return records


def binary_metadata(folder: Path, records: Records) -> Records:
    (folder / OWN / "bag" / "metadata.yaml").write_bytes(b"\xff\x00: [")
    return records


def empty_table(folder: Path, records: Records) -> Records:
    (folder / "metrics.csv").write_bytes(b"")
    return records


def row_twice(folder: Path, records: Records) -> Records:
    file = folder / "metrics.csv"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join([*lines, *(one for one in lines if RUN in one)]), encoding="utf-8")
    return records


def stale_crate(folder: Path, records: Records) -> Records:
    crate.write(folder, records)
    file = folder / crate.DESCRIPTOR
    text = file.read_text(encoding="utf-8")
    assert f"{OWN}log.txt" in text
    file.write_text(text.replace(f"{OWN}log.txt", f"{OWN}lag.txt"), encoding="utf-8")
    return records


CASES: list[tuple[str, Callable[[Path, Records], Records], str, str]] = [
    ("missing", missing, RUN, "recorded, but not there"),
    ("changed", changed, RUN, r"is [0-9a-f]{16}, was [0-9a-f]{16}"),
    ("swapped", swapped, RUN, f"holds the bytes of runs/{OTHER}/bag"),
    ("stray", swapped, RUN, f"says that it is of arcp://name,demo/runs/{OTHER}"),
    ("unrecorded", unrecorded, RUN, "no record speaks of it"),
    ("verdict", verdict, RUN, "says outcome stuck, the record says success"),
    ("verdict", table, RUN, "says outcome stuck, the record says success"),
    ("unrecorded", copied, f"{RUN}-again", "no record speaks of it"),
    ("duplicate", foreign_result, RUN, f"says run {OTHER}, campaign.json says {RUN}"),
    ("duplicate", executed_twice, RUN, "2 executions of one run are recorded"),
    ("unreadable", half_result, RUN, "cannot be read"),
    ("unreadable", no_scenario, RUN, "cannot be read"),
    ("unreadable", binary_metadata, RUN, "is no metadata of a bag"),
    ("changed", empty_table, "", r"is [0-9a-f]{16}"),
    ("duplicate", row_twice, RUN, "is in 2 rows of the table"),
    ("generated twice", generated_twice, RUN, "by 2 activities"),
    ("dangling", dangling, RUN, "entity of a Usage is arcp://uuid,.*/nowhere.*, which nothing"),
    ("interrupted", interrupted, RUN, "no end was recorded"),
    ("clock", clock, RUN, "lies outside of 2 runs"),
    ("clock", ends_late, RUN, "lies outside of 2 runs"),
    ("config", config, RUN, "says seed 17, campaign.json says 0"),
    ("value", measure, RUN, "says path_length_m 1.23, the record says 0"),
    ("value", measured_table, RUN, "says path_length_m 1.23, the record says 0"),
    ("missing", row_gone, RUN, "is only one of recorded and in the table"),
    ("missing", row_more, "ghost-s0", "is only one of recorded and in the table"),
    ("clock", set_back, RUN, "ends before it starts"),
    ("suppressed", suppressed, RUN, "is planned, but no execution of it is recorded"),
    ("unplanned", unplanned, "extra-s0", "was executed, but is not planned"),
    (
        "dangling",
        derived_from_nothing,
        RUN,
        "source of a Derivation is arcp://.*, which nothing declares",
    ),
    ("crate", stale_crate, RUN, "is in one of them"),
]


@pytest.mark.parametrize(
    ("code", "spoil", "run", "message"), CASES, ids=[f"{c[0]}-{c[1].__name__}" for c in CASES]
)
def test_each_finding_names_code_run_and_reason(
    pair: Path,
    records: Records,
    tmp_path: Path,
    code: str,
    spoil: Callable[[Path, Records], Records],
    run: str,
    message: str,
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    found = audit.audit(folder, spoil(folder, records))
    assert found == sorted(set(found))
    mine = [one for one in found if one.code == code and re.search(message, one.message)]
    assert run in {one.run for one in mine}
    # What was not touched is not accused; a swap touches both.
    touched = {RUN, f"{RUN}-again", "ghost-s0", "extra-s0", ""} | (
        {OTHER} if spoil is swapped else set()
    )
    assert {one.run for one in found} <= touched


def test_clocks_may_differ_by_a_millisecond(pair: Path, records: Records) -> None:
    (whole,) = records.of_kind("CampaignExecution")
    assert isinstance(whole, Activity)
    assert whole.start is not None
    assert whole.end is not None
    for shift, found in ((0.0009, 0), (0.0011, 1)):
        delta = timedelta(seconds=shift)
        early = with_activity(records, start=whole.start - delta)
        late = with_activity(records, end=whole.end + delta)
        for one in (early, late):
            assert len([f for f in audit.audit(pair, one) if f.code == "clock"]) == found


def test_every_code_has_a_case() -> None:
    text = Finding.__doc__ or ""
    told = re.search(r"code : str\s+(.*?)\.\s", text, re.DOTALL)
    assert told is not None
    codes = {one.strip() for one in re.split(r",|\bor\b", told[1])}
    assert codes == {one[0] for one in CASES}


def test_control_a_campaign_as_it_is_has_no_finding(
    bare: Path, published: Path, pair: Path, tmp_path: Path, records: Records
) -> None:
    for folder in (bare, published, pair):
        assert audit.audit(folder) == []
    folder = tmp_path / "with-crate"
    shutil.copytree(pair, folder)
    crate.write(folder, records)
    assert audit.audit(folder, records) == []


def test_a_changed_map_and_a_missing_association_are_found(
    pair: Path, records: Records, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    image = next(folder.rglob("*.pgm"))
    content = bytearray(image.read_bytes())
    content[-1] ^= 0xFF
    image.write_bytes(bytes(content))
    (found,) = audit.audit(folder)
    assert (found.code, found.run, Path(found.path).suffix) == ("changed", "", ".pgm")
    fewer = replace(records, agents={})
    assert {one.code for one in audit.audit(pair, fewer)} == {"dangling"}


def test_a_crate_that_is_no_crate(pair: Path, records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    (folder / crate.DESCRIPTOR).write_text("[]", encoding="utf-8")
    (found,) = audit.audit(folder, records)
    assert found.code == "crate"
    assert "cannot be compared" in found.message


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(record.RecordError):
        audit.audit(tmp_path)


# --- again ---------------------------------------------------------------------------------------


def test_every_run_comes_out_bit_by_bit(bare: Path, pair: Path) -> None:
    for folder in (bare, pair):
        records = record.load(folder)
        for run in records.runs():
            again = replay(folder, run, runner.redo, records)
            assert again.agrees, run
            assert (again.differing, again.versions) == ((), ()), run


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**40])
def test_any_seed_comes_out_again(
    near: tuple[dict[str, Grid], Scenario], tmp_path: Path, seed: int
) -> None:
    grids, scenario = near
    runner.run_campaign(
        [scenario], by_digest(grids), tmp_path, seeds=[seed], jobs=1, campaign="demo"
    )
    assert replay(tmp_path, f"near-s{seed}", runner.redo).identical


def test_control_another_seed_gives_another_bag(pair: Path, records: Records) -> None:
    wrong = with_activity(records, attributes={**execution(records).attributes, "seed": 5})
    again = replay(pair, RUN, runner.redo, wrong)
    assert not again.identical
    assert f"{OWN}bag/bag.mcap" in again.differing
    # The records that were given stay as they were.
    assert execution(records).attributes["seed"] == 0


def test_a_replay_opens_neither_bag_nor_result(
    pair: Path, records: Records, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    for name in ("bag/bag.mcap", "bag/metadata.yaml", "result.json", "trace.csv"):
        (folder / OWN / name).unlink()
    assert replay(folder, RUN, runner.redo, records).identical


def test_a_false_outcome_is_seen(pair: Path, records: Records) -> None:
    told = dict(execution(records).attributes) | {"outcome": "stuck"}
    found = audit.audit(pair, with_activity(records, attributes=told))
    assert ("verdict", RUN) in {(one.code, one.run) for one in found}


@pytest.mark.parametrize("name", ["result.json", "log.txt", "trace.csv", "bag/bag.mcap"])
def test_a_forgery_of_any_file_is_seen(
    pair: Path, records: Records, tmp_path: Path, name: str
) -> None:
    """Bytes changed and the digest rewritten to fit: the audit sees nothing, the replay does."""
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    file = folder / OWN / name
    text = file.read_bytes()
    file.write_bytes(text.replace(b"0", b"1", 1) if b"0" in text else text + b"x")
    (held,) = [one for one in records.entities.values() if one.path == OWN + name]
    forged = replace(held, sha256=record.digest_file(file))
    again = replay(
        folder, RUN, runner.redo, replace(records, entities=records.entities | {held.id: forged})
    )
    assert again.differing == (OWN + name,)
    assert not again.identical
    assert not again.agrees


@pytest.mark.parametrize("metric", ["path_length_m", "min_clearance_m", "goal_error_m"])
def test_a_forged_measure_is_seen_by_a_replay(
    pair: Path, records: Records, tmp_path: Path, metric: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    file = folder / OWN / "result.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))["metrics"]
    content = json.loads(file.read_text(encoding="utf-8")) | {"metrics": metrics | {metric: 1.23}}
    file.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")), encoding="utf-8")
    rows = pd.read_csv(folder / "metrics.csv")
    rows.loc[rows["run"] == RUN, metric] = 1.23
    rows.to_csv(folder / "metrics.csv", index=False, lineterminator="\n")
    entities = {
        name: replace(one, sha256=record.digest_file(folder / one.path))
        if one.path in (f"{OWN}result.json", "metrics.csv")
        else one
        for name, one in records.entities.items()
    }
    told = {f"{OWN}result.json"}
    quantities = tuple(
        replace(q, value=1.23)
        if records.entities[q.subject].path in told and f"{q.name}_m" == metric
        else q
        for q in records.quantities
        if q.subject in records.entities
    )
    forged = replace(records, entities=entities, quantities=quantities)
    assert audit.audit(folder, forged) == []
    assert replay(folder, RUN, runner.redo, forged).differing == (f"{OWN}result.json",)


def test_a_recorded_version_is_compared(pair: Path, records: Records) -> None:
    agents = {
        name: replace(one, version="9.9") if one.name == "numpy" else one
        for name, one in records.agents.items()
    }
    again = replay(pair, RUN, runner.redo, replace(records, agents=agents))
    assert again.versions == (("numpy", "9.9", runner.software()["numpy"]),)
    assert not again.agrees
    agents = {
        name: replace(one, version="0" * 16) if one.name == "lib.robot_provenance" else one
        for name, one in records.agents.items()
    }
    again = replay(pair, RUN, runner.redo, replace(records, agents=agents))
    now = runner.software()["lib.robot_provenance"]
    assert again.versions == (("lib.robot_provenance", "0" * 16, now),)
    assert again.identical
    assert not again.agrees


def test_what_is_not_recorded_cannot_be_replayed(pair: Path, records: Records) -> None:
    with pytest.raises(ReplayError, match="nobody: 0 executions are recorded, expected one"):
        replay(pair, "nobody", runner.redo, records)
    with pytest.raises(ReplayError, match=f"{RUN}: 2 executions"):
        replay(pair, RUN, runner.redo, executed_twice(pair, records))
    with pytest.raises(ReplayError, match="cannot be made again from its record: KeyError: 'seed'"):
        replay(pair, RUN, runner.redo, with_activity(records, attributes={"outcome": "success"}))
    with pytest.raises(ReplayError, match="does not say: inputs"):
        replay(pair, RUN, runner.redo, replace(records, usages=()))


@pytest.mark.parametrize(
    "kind", ["OccupancyGrid", "MapMetadata", "CampaignMetadata", "ConcreteScenario"]
)
def test_a_record_that_lacks_an_input_cannot_be_replayed(
    pair: Path, records: Records, kind: str
) -> None:
    mine, kinds = execution(records).id, {k: one.kind for k, one in records.entities.items()}
    kept = tuple(u for u in records.usages if (u.activity, kinds[u.entity]) != (mine, kind))
    assert len(kept) == len(records.usages) - 1
    with pytest.raises(ReplayError, match=f"KeyError: '{kind}'"):
        replay(pair, RUN, runner.redo, replace(records, usages=kept))


def test_another_image_than_the_maps_is_refused(
    pair: Path, records: Records, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    (image,) = [one for one in records.entities.values() if one.kind == "OccupancyGrid"]
    shutil.copyfile(folder / image.path, folder / "other.pgm")
    moved = records.entities | {image.id: replace(image, path="other.pgm")}
    with pytest.raises(ReplayError, match=r"its map names .*, its record .*other\.pgm"):
        replay(folder, RUN, runner.redo, replace(records, entities=moved))


def test_a_replay_looks_whether_its_inputs_are_those_of_the_record(
    pair: Path, records: Records, tmp_path: Path
) -> None:
    """One grey value that the map server reads alike: the outputs are the same, the input not."""
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    (image,) = (folder / "inputs").rglob("*.pgm")
    content = image.read_bytes()
    image.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = replay(folder, RUN, runner.redo, records)
    assert again.inputs == (image.relative_to(folder).as_posix(),)
    assert again.identical
    assert not again.agrees
    assert replay(pair, RUN, runner.redo, records).inputs == ()


def own_run(folder: Path, **told: Any) -> None:
    """Record a run of a caller's own kind, of two inputs of one kind and no seed."""
    folder.mkdir()
    for name in "ba":
        (folder / f"{name}.csv").write_text(name)
    with record.Recorder(folder, campaign="own"):
        pass
    terms = {"Grasp": "https://ex.org/robot#Grasp"}
    place = folder / "runs" / "t1"
    with (
        record.Recorder(place, campaign="own", root=folder, run="t1", terms=terms) as recorder,
        recorder.activity("Grasp", "t1", attributes=told) as step,
    ):
        for name in "ba":
            step.used(folder / f"{name}.csv")
        (place / "o.txt").write_text("ba")
        step.generated(place / "o.txt")


def test_a_run_of_ones_own_is_replayed(tmp_path: Path) -> None:
    folder, seen = tmp_path / "own", []
    own_run(folder, force=2.5)

    def redo(recipe: audit.Recipe) -> dict[str, str]:
        seen.append((recipe.used, dict(recipe.attributes)))
        text = "".join(one.read_text() for one in recipe.used["File"])
        (recipe.target / "o.txt").write_text(text)
        return {}

    kind = "https://ex.org/robot#Grasp"
    again = replay(folder, "t1", redo, kind=kind)
    assert again.agrees
    assert seen == [({"File": (folder / "b.csv", folder / "a.csv")}, {"force": 2.5})]
    (folder / "a.csv").write_text("c")
    again = replay(folder, "t1", redo, kind=kind)
    assert (again.inputs, again.differing) == (("a.csv",), ("runs/t1/o.txt",))
    with pytest.raises(ReplayError, match="t1: 0 executions are recorded"):
        replay(folder, "t1", redo)
    with pytest.raises(ValueError, match="kind is 'Graps'"):
        replay(folder, "t1", redo, kind="Graps")


def test_an_input_that_is_gone_is_named(tmp_path: Path) -> None:
    own_run(tmp_path / "own")
    (tmp_path / "own" / "b.csv").unlink()

    def redo(recipe: audit.Recipe) -> dict[str, str]:
        (recipe.target / "o.txt").write_text("ba")
        return {}

    again = replay(tmp_path / "own", "t1", redo, kind="https://ex.org/robot#Grasp")
    assert (again.inputs, again.identical, again.agrees) == (("b.csv",), True, False)


@pytest.mark.parametrize(
    "runs", [5, "near-s0", {"near-s0": [1]}, {"near-s0": {"seed": 1}}, {"near-s0": 1}]
)
def test_a_plan_of_another_shape_is_a_finding(
    pair: Path, records: Records, tmp_path: Path, runs: Any
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    edit(folder / "campaign.json", runs=runs)
    found = audit.audit(folder, records)
    text = "runs is neither names nor a mapping of names to scenario and seed"
    assert Finding("unreadable", "", "campaign.json", text) in found
    assert {one.code for one in found} == {"unreadable", "changed"}


def test_a_plan_may_list_names(pair: Path, records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    edit(folder / "campaign.json", runs=[RUN, "near-s2"])
    codes = {(one.code, one.run) for one in audit.audit(folder, records)}
    assert {("suppressed", "near-s2"), ("unplanned", OTHER)} <= codes


def test_a_scenario_that_is_not_the_plans_is_refused(
    pair: Path, records: Records, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    edit(folder / OWN / "scenario.json", name="another")
    with pytest.raises(ReplayError, match="its scenario is not that of the plan"):
        replay(folder, RUN, runner.redo, records)


def test_an_altered_scenario_is_refused(pair: Path, records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    file = folder / OWN / "scenario.json"
    content = json.loads(file.read_text(encoding="utf-8"))["content"]
    edit(file, content=content | {"noise_std": 0.5})
    plan = json.loads((folder / "campaign.json").read_text(encoding="utf-8"))
    plan["scenarios"]["near"]["content"]["noise_std"] = 0.5
    edit(folder / "campaign.json", scenarios=plan["scenarios"])
    with pytest.raises(ReplayError, match="its content has digest"):
        replay(folder, RUN, runner.redo, records)


def test_a_run_reads_what_its_record_names(
    near: tuple[dict[str, Grid], Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the execution's record says it used is opened before the simulator starts."""
    grids, scenario = near
    opened: list[str] = []
    sys.addaudithook(lambda name, told: opened.append(str(told[0])) if name == "open" else None)
    seen: list[str] = []
    real = runner.navsim.simulate

    def watched(*told: Any) -> Any:
        seen.extend(opened)
        return real(*told)

    monkeypatch.setattr(runner.navsim, "simulate", watched)
    runner._grid.cache_clear()
    runner.run_campaign([scenario], by_digest(grids), tmp_path, seeds=[0], jobs=1, campaign="demo")
    told = record.load(tmp_path)
    (one,) = told.of_kind("TestExecution")
    used = {Path(told.entities[u.entity].path).name for u in told.usages if u.activity == one.id}
    assert len(used) == 4
    assert used <= {Path(name).name for name in seen}
    # And what is written there is what is driven.
    file = tmp_path / OWN / "scenario.json"
    edit(file, seed=7)
    target = tmp_path / "again"
    shutil.copytree(tmp_path / OWN, target, ignore=shutil.ignore_patterns("bag"))
    plan, grid = runner.load_plan(tmp_path), grids[scenario.map_file]
    runner._write_run(target, plan, RUN, grid)
    assert json.loads((target / "result.json").read_text())["seed"] == 7


def test_a_bag_that_claims_nothing_is_not_accused(
    pair: Path, records: Records, tmp_path: Path
) -> None:
    """`ros2 bag reindex` loses what a writer had noted."""
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    file = folder / OWN / "bag" / "metadata.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["rosbag2_bagfile_information"]["custom_data"] = None
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert {one.code for one in audit.audit(folder, records)} == {"changed"}


def test_a_log_in_a_strange_place_is_unrecorded(
    pair: Path, records: Records, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    (folder / "aside").mkdir()
    shutil.copyfile(folder / "records.jsonl", folder / "aside" / "records.jsonl")
    (found,) = audit.audit(folder, records)
    assert (found.code, found.path) == ("unrecorded", "aside/records.jsonl")
