"""Campaigns that really run: resumed after a kill, refused where they cannot be written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import rdflib
from rp_grids import by_digest

from lib.core.paths import ROOT
from lib.robot_provenance import (
    bags,
    constraints,
    export,
    record,
)
from lib.robot_provenance.campaign import Repair, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.record import digest_file
from lib.robot_provenance.study import floorplans, runner
from lib.robot_provenance.study.runner import RunnerError

NAMES = ("closed-one-room", "middle-one-room", "faulty-no-goals")


def chosen(*names: str) -> tuple[dict[str, Grid], list[Scenario]]:
    grids, scenarios = floorplans.default_campaign()
    return grids, [one for one in scenarios if one.name in names]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camp")
    grids, scenarios = chosen(*NAMES)
    runner.run_campaign(scenarios, by_digest(grids), folder, seeds=[0, 1], jobs=2, campaign="demo")
    return folder


def test_every_run_has_all_its_files(done: Path) -> None:
    runs = sorted(one.name for one in (done / "runs").iterdir())
    assert runs == sorted(runner.run_id(name, seed) for name in NAMES for seed in (0, 1))
    for run in runs:
        found = {
            one.relative_to(done / "runs" / run).as_posix()
            for one in (done / "runs" / run).rglob("*")
        }
        assert found == {
            "scenario.json",
            "bag",
            "bag/bag.mcap",
            "bag/metadata.yaml",
            "trace.csv",
            "result.json",
            "log.txt",
            "records.jsonl",
        }
    table = (done / "metrics.csv").read_text().splitlines()
    assert len(table) == 1 + len(runs)


def test_outcomes_reach_the_records(done: Path) -> None:
    records = record.load(done)
    outcomes = {one.run: one.attributes["outcome"] for one in records.of_kind("TestExecution")}
    for run, outcome in outcomes.items():
        result = json.loads((done / "runs" / run / "result.json").read_text())
        assert result["outcome"] == outcome
    assert {outcomes[runner.run_id("faulty-no-goals", 0)]} == {"invalid"}
    assert outcomes["middle-one-room-s0"] == "success"


def test_each_variation_has_its_own_name(done: Path) -> None:
    records = record.load(done)
    paths = records.of_kind("PathVariation")
    assert len(paths) == 6
    assert len({one.id for one in paths}) == 6


def test_bag_says_whose_it_is(done: Path) -> None:
    bag = bags.read(done / "runs" / "middle-one-room-s0" / "bag")
    assert bag.custom["run"] == "arcp://name,demo/runs/middle-one-room-s0"
    assert bag.custom["config"] == runner.load_plan(done)["config_digest"]


def test_seeds_share_the_map_and_not_the_bag(done: Path) -> None:
    records = record.load(done)
    grids = {one.sha256 for one in records.of_kind("OccupancyGrid")}
    assert len(grids) == 2
    contents = {one.sha256 for one in records.of_kind("RosBag") if "middle-one-room" in one.path}
    assert len(contents) == 2


def test_nothing_is_done_twice(done: Path) -> None:
    before = {one: digest_file(one) for one in done.rglob("*.mcap")}
    log = (done / "records.jsonl").read_text().count('"CampaignExecution"')
    grids, scenarios = chosen(*NAMES)
    table = runner.run_campaign(scenarios, by_digest(grids), done, seeds=[0, 1], campaign="demo")
    assert len(table) == 6
    assert {one: digest_file(one) for one in done.rglob("*.mcap")} == before
    assert (done / "records.jsonl").read_text().count('"CampaignExecution"') == log
    with pytest.raises(RunnerError, match="is there already"):
        runner.execute((done, "middle-one-room-s0", ""))


def test_another_plan_is_refused(done: Path) -> None:
    grids, scenarios = chosen(*NAMES)
    with pytest.raises(RunnerError, match="another plan"):
        runner.run_campaign(scenarios, by_digest(grids), done, seeds=[0], campaign="demo")


def test_two_names_that_become_one_are_refused(tmp_path: Path) -> None:
    grids, (scenario,) = chosen("middle-one-room")
    twice = [scenario, scenario]
    with pytest.raises(RunnerError, match="two runs would be called 'middle-one-room-s0'"):
        runner.run_campaign(twice, by_digest(grids), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("seeds", [[-1], [True], [0.5], []])
def test_seeds_that_are_none(tmp_path: Path, seeds: list[int]) -> None:
    grids, scenarios = chosen("middle-one-room")
    with pytest.raises((RunnerError, ValueError), match="expected"):
        runner.run_campaign(scenarios, by_digest(grids), tmp_path / "new", seeds=seeds)
    assert not (tmp_path / "new").exists()


def test_missing_map(tmp_path: Path) -> None:
    _, scenarios = chosen("middle-one-room")
    with pytest.raises(RunnerError, match=r"no grid for its map 'maps/middle.yaml'"):
        runner.run_campaign(scenarios, {}, tmp_path / "new")


KILLED = """
import sys
from pathlib import Path
from lib.robot_provenance.study import runner
from lib.robot_provenance.study import floorplans
grids, scenarios = floorplans.default_campaign()
keep = [one for one in scenarios if one.name.startswith("middle")]
grids = {one.digest: one for one in grids.values()}
runner.run_campaign(keep, grids, Path(sys.argv[1]), seeds=[0], jobs=2, campaign="demo")
"""


def test_resume_after_kill(tmp_path: Path) -> None:
    folder = tmp_path / "camp"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)],
        cwd=ROOT,
        env=os.environ | {"BOOK_QUIET": "1"},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and len(list(folder.glob("runs/[!.]*"))) < 2:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {one.name: digest_file(one / "records.jsonl") for one in folder.glob("runs/[!.]*")}
    assert before
    grids, scenarios = floorplans.default_campaign()
    keep = [one for one in scenarios if one.name.startswith("middle")]
    assert len(before) < len(keep)
    interrupted = record.load(folder)
    assert "interrupted" in {one.status for one in interrupted.of_kind("CampaignExecution")}
    table = runner.run_campaign(keep, by_digest(grids), folder, seeds=[0], jobs=2, campaign="demo")
    after = {one.name: digest_file(one / "records.jsonl") for one in (folder / "runs").iterdir()}
    assert sorted(after) == sorted(runner.run_id(one.name, 0) for one in keep)
    assert {name: after[name] for name in before} == before
    assert len(table) == len(keep)
    runs = [one.run for one in record.load(folder).of_kind("TestExecution")]
    assert sorted(runs) == sorted(after)


def test_a_crash_in_mid_run_is_raised_and_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids, scenarios = chosen("middle-one-room")
    runner.prepare(scenarios, by_digest(grids), tmp_path, campaign="demo")

    def broken(*_: object) -> None:
        raise OverflowError("the wheels came off")

    monkeypatch.setattr(runner.navsim, "simulate", broken)
    with pytest.raises(OverflowError):
        runner.execute((tmp_path, "middle-one-room-s0", ""))
    (half,) = (tmp_path / "runs").iterdir()
    assert half.name.startswith(".middle-one-room-s0.")
    assert '"status":"failed","error":"OverflowError' in (half / "records.jsonl").read_text()
    monkeypatch.undo()
    runner.run_campaign(scenarios, by_digest(grids), tmp_path, campaign="demo", jobs=1)
    assert [one.name for one in (tmp_path / "runs").iterdir()] == ["middle-one-room-s0"]
    assert [one.status for one in record.load(tmp_path).of_kind("TestExecution")] == ["completed"]


def test_repair_is_a_recorded_derivation(tmp_path: Path) -> None:
    grids, (scenario,) = chosen("closed-one-room")
    changed = replace(scenario, derived_from="ab" * 32)
    repair = Repair("maps/Closed.yaml", scenario.map_file, "differs by case alone", "case")
    runner.run_campaign(
        [changed],
        by_digest(grids),
        tmp_path,
        campaign="demo",
        repairs={repair: (scenario.name,)},
        jobs=1,
    )
    records = record.load(tmp_path)
    reasons = [one for one in records.derivations if one.reason]
    assert {one.reason for one in reasons} == {"differs by case alone"}
    sources = {records.entities[one.source].label for one in reasons}
    assert sources == {"closed-one-room as declared"}


def test_rubbish_of_a_killed_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grids, scenarios = chosen("faulty-no-goals")
    runner.prepare(scenarios, by_digest(grids), tmp_path)
    rubbish = tmp_path / "runs" / ".faulty-no-goals-s0.0123"
    rubbish.mkdir(parents=True)
    (rubbish / "half.json").write_text("{")
    asked = {}
    real = runner.sweeps.run
    monkeypatch.setattr(
        runner.sweeps, "run", lambda *a, **more: asked.update(more) or real(*a, **more)
    )
    table = runner.run_campaign(scenarios, by_digest(grids), tmp_path, jobs=1)
    assert [one.name for one in (tmp_path / "runs").iterdir()] == ["faulty-no-goals-s0"]
    # A result that was kept from elsewhere would leave no files here.
    assert (asked["cache"], asked["n_jobs"]) == (False, 1)
    assert table["outcome"].tolist() == ["invalid"]
    assert {"path_length_m", "duration_s", "replans", "seed"} <= set(table.columns)


def test_graphs_and_crate_are_written_and_recorded(done: Path) -> None:
    runner.publish(done)
    assert all((done / name).is_file() for name in (*runner.GRAPHS, "ro-crate-metadata.json"))
    before = export.to_rdf(record.load(done))
    records = record.load(done)
    assert len(records.of_kind("CampaignGraph")) == 3
    assert len(records.of_kind("PostprocessingGraph")) == 1
    found = rdflib.Graph().parse(done / "provenance.jsonld", format="json-ld")
    # What was written is a part of what is known now, which includes the writing.
    assert len(found) < len(before)
    assert not constraints.check(export.to_prov(records)).counts()


def test_unknown_runs_and_missing_plans(done: Path) -> None:
    with pytest.raises(KeyError, match="nobody-s9"):
        runner.execute((done, "nobody-s9", ""))
    with pytest.raises(RunnerError, match=r"campaign\.json: missing"):
        runner.load_plan(done / "runs")


def test_the_plan_names_every_run(done: Path) -> None:
    plan = runner.load_plan(done)
    assert plan["runs"]["middle-one-room-s1"] == ["middle-one-room", 1]
    # A folder with a dot is an attempt that failed, such as the unknown run's above.
    there = [one.name for one in (done / "runs").iterdir() if not one.name.startswith(".")]
    assert sorted(plan["runs"]) == sorted(there)
