"""The audit names what does not agree, and a replay gives the same bytes or says why not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lib.robot_provenance import (
    audit,
    crate,
    record,
    runner,
)
from lib.robot_provenance.audit import Finding, ReplayError, replay
from lib.robot_provenance.campaign import Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.record import Activity, Generation, Records, Usage
from lib.robot_provenance.study import embedded

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


def config(folder: Path, records: Records) -> Records:
    edit(folder / OWN / "result.json", seed=17)
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
    ("verdict", verdict, RUN, "says stuck, the record says success"),
    ("table", table, RUN, "says stuck, the record says success"),
    ("duplicate", copied, f"{RUN}-again", f"its result is that of run {RUN}"),
    ("duplicate", executed_twice, RUN, "2 executions of one run are recorded"),
    ("unreadable", half_result, RUN, "is no JSON object"),
    ("unreadable", no_scenario, RUN, "is no JSON object"),
    ("unreadable", binary_metadata, RUN, "is no metadata of a bag"),
    ("unreadable", empty_table, "", "is no table of runs and outcomes"),
    ("duplicate", row_twice, RUN, "is in 2 rows of the table"),
    ("generated twice", generated_twice, RUN, "by 2 activities"),
    ("dangling", dangling, RUN, "used arcp://name,demo/nowhere.*, which nothing declares"),
    ("interrupted", interrupted, RUN, "no end was recorded"),
    ("clock", clock, RUN, "lies outside of 2 runs"),
    ("config", config, RUN, "seed 0 planned, 17 run"),
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
    touched = {RUN, f"{RUN}-again", ""} | ({OTHER} if spoil is swapped else set())
    assert {one.run for one in found} <= touched


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
            again = replay(folder, run, records)
            assert again.identical, run
            assert again.differing == (), run
            assert again.recorded == again.replayed != ""


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**40])
def test_any_seed_comes_out_again(
    near: tuple[dict[str, Grid], Scenario], tmp_path: Path, seed: int
) -> None:
    grids, scenario = near
    runner.run_campaign([scenario], grids, tmp_path, seeds=[seed], jobs=1, campaign="demo")
    assert replay(tmp_path, f"near-s{seed}").identical


def test_control_another_seed_gives_another_bag(pair: Path, records: Records) -> None:
    wrong = audit.with_seed(records, 5)
    assert {one.attributes["seed"] for one in wrong.of_kind("TestExecution")} == {5}
    again = replay(pair, RUN, wrong)
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
    assert replay(folder, RUN, records).identical


def test_a_false_outcome_is_seen(pair: Path, records: Records) -> None:
    told = dict(execution(records).attributes) | {"outcome": "stuck"}
    again = replay(pair, RUN, with_activity(records, attributes=told))
    assert (again.recorded, again.replayed) == ("stuck", "success")
    assert again.differing == (f"{OWN}result.json",)


def test_what_is_not_recorded_cannot_be_replayed(pair: Path, records: Records) -> None:
    with pytest.raises(ReplayError, match="nobody: 0 executions are recorded, expected one"):
        replay(pair, "nobody", records)
    with pytest.raises(ReplayError, match=f"{RUN}: 2 executions"):
        replay(pair, RUN, executed_twice(pair, records))
    with pytest.raises(ReplayError, match="does not say: seed"):
        replay(pair, RUN, with_activity(records, attributes={"outcome": "success"}))
    with pytest.raises(ReplayError, match="ConcreteScenario, MapMetadata, CampaignMetadata"):
        replay(pair, RUN, replace(records, usages=()))


def test_an_altered_scenario_is_refused(pair: Path, records: Records, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    file = folder / OWN / "scenario.json"
    content = json.loads(file.read_text(encoding="utf-8"))["content"]
    edit(file, content=content | {"noise_std": 0.5})
    with pytest.raises(runner.RunnerError, match="its content has digest"):
        replay(folder, RUN, records)


# --- one by content ------------------------------------------------------------------------------


def test_twins_are_found_by_content(bare: Path, pair: Path) -> None:
    found = audit.distinct(record.load(bare))
    assert list(found["scenarios"]) == [", ".join(embedded.TWIN)]
    assert found["digest"].str.len().tolist() == [16]
    # Two seeds of one scenario are no twins.
    assert audit.distinct(record.load(pair)).empty
