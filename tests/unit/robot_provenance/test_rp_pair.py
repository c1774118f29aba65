"""What is recorded of a campaign of two runs, activity by activity, and what a run's files say."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib.robot_provenance import bags, record
from lib.robot_provenance.audit import run_of
from lib.robot_provenance.campaign import Box, Pose, Repair, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.record import Activity, Records, digest_file
from lib.robot_provenance.study import runner
from lib.robot_provenance.study.runner import RunnerError

RUN = "near-s0"
OWN = f"runs/{RUN}/"


@pytest.fixture(scope="module")
def records(pair: Path) -> Records:
    return record.load(pair)


@pytest.fixture(scope="module")
def acts(records: Records) -> dict[str, Activity]:
    """Return the campaign's activities, and one run's, by their kinds."""
    some = [one for one in records.activities.values() if one.run in ("", RUN)]
    found = {
        f"{one.kind} {one.label}"
        if one.kind in ("ConfigGeneration", "Acquisition")
        else one.kind: one
        for one in some
    }
    assert len(found) == len(some)
    return found


@pytest.fixture(scope="module")
def map_file(pair: Path) -> str:
    (one,) = (pair / "inputs").rglob("*.yaml")
    return one.relative_to(pair).as_posix()


def named(records: Records, one: str) -> str:
    entity = records.entities[one]
    return entity.path or entity.label


def kinds_of_use(records: Records, act: Activity) -> list[tuple[str, str]]:
    found = [(named(records, u.entity), u.role) for u in records.usages if u.activity == act.id]
    return sorted(found)


def kinds_of_making(records: Records, act: Activity) -> list[tuple[str, str, str]]:
    return sorted(
        (named(records, g.entity), g.role, records.entities[g.entity].kind)
        for g in records.generations
        if g.activity == act.id
    )


PATHS, NOISE = "PathVariation", "ParameterVariation"


def test_what_each_step_used(records: Records, acts: Mapping[str, Activity], map_file: str) -> None:
    image = map_file.replace(".yaml", ".pgm")
    scenario = OWN + "scenario.json"
    results = [(f"runs/near-s{seed}/result.json", "result") for seed in (0, 1)]
    assert {key: kinds_of_use(records, one) for key, one in acts.items()} == {
        "Acquisition the workflow's code": [("runner.py", "source")],
        "MapLoading": [],
        "ConfigGeneration the campaign's plan": [],
        "CampaignExecution": [("campaign.json", "plan"), ("workflow.py", "plan")],
        PATHS: [("campaign.json", "plan")],
        NOISE: [("campaign.json", "plan")],
        "ConfigGeneration parameters of near": [
            (NOISE, "variation"),
            (PATHS, "variation"),
            ("campaign.json", "plan"),
        ],
        "TestExecution": sorted(
            [
                ("campaign.json", "config"),
                (image, "map"),
                (map_file, "map"),
                (scenario, "scenario"),
            ]
        ),
        "Postprocessing": [(OWN + "bag", "bag")],
        "PostprocessingMetadata": results,
    }


def test_what_each_step_made(records: Records, acts: Mapping[str, Activity], map_file: str) -> None:
    image = map_file.replace(".yaml", ".pgm")
    assert {key: kinds_of_making(records, one) for key, one in acts.items()} == {
        "Acquisition the workflow's code": [("workflow.py", "plan", "Workflow")],
        "MapLoading": sorted([(image, "map", "OccupancyGrid"), (map_file, "map", "MapMetadata")]),
        "ConfigGeneration the campaign's plan": [("campaign.json", "plan", "CampaignMetadata")],
        "CampaignExecution": [],
        PATHS: [(PATHS, "variation", "VariationConfig")],
        NOISE: [(NOISE, "variation", "VariationConfig")],
        "ConfigGeneration parameters of near": [
            (OWN + "scenario.json", "scenario", "ConcreteScenario")
        ],
        "TestExecution": [
            (OWN + "bag", "bag", "RosBag"),
            (OWN + "bag/bag.mcap", "bag", "MCAPFile"),
            (OWN + "bag/metadata.yaml", "bag", "BagFileMetadata"),
            (OWN + "log.txt", "log", "LogFile"),
            (OWN + "result.json", "result", "TestResult"),
        ],
        "Postprocessing": [(OWN + "trace.csv", "trace", "Traces")],
        "PostprocessingMetadata": [("metrics.csv", "metrics", "Metrics")],
    }


def test_who_took_part(records: Records, acts: Mapping[str, Activity]) -> None:
    def who(one: Activity) -> list[tuple[str, str]]:
        return sorted(
            (records.agents[a.agent].name, named(records, a.plan) if a.plan else "")
            for a in records.associations
            if a.activity == one.id
        )

    ours = [("lib.robot_provenance", "")]
    some = ("Python", "lib.robot_provenance", "numpy", "rosbags")
    assert {key: who(one) for key, one in acts.items()} == dict.fromkeys(acts, ours) | {
        "CampaignExecution": [(name, "workflow.py") for name in some],
        "TestExecution": [
            (name, OWN + "scenario.json") for name in ("lib.robot_provenance", "simulated robot")
        ],
        "Postprocessing": [*ours, ("rosbags", "")],
    }


def test_agents_have_versions_and_pages(records: Records) -> None:
    told = {one.name: one for one in records.agents.values()}
    ours = told["lib.robot_provenance"]
    assert {name: (one.version, one.url) for name, one in told.items()} == {
        "The authors of Ten Papers, Executable": ("", ""),
        "lib.robot_provenance": (ours.version, runner.CREATOR["iri"]),
        "Python": (".".join(map(str, sys.version_info[:3])), "https://www.python.org/"),
        "numpy": (metadata.version("numpy"), "https://numpy.org/"),
        "rosbags": (metadata.version("rosbags"), "https://gitlab.com/ternaris/rosbags"),
        "simulated robot": (ours.version, runner.CREATOR["iri"]),
    }
    assert len(ours.version) == 16
    creator = told["The authors of Ten Papers, Executable"]
    assert (creator.kind, creator.id) == ("Organization", runner.CREATOR["iri"])
    assert {name: one.acts_for for name, one in told.items()} == dict.fromkeys(told, creator.id) | {
        creator.name: "",
        "simulated robot": ours.id,
    }


def test_values_of_steps_and_things(records: Records, acts: Mapping[str, Activity]) -> None:
    assert {key: dict(one.attributes) for key, one in acts.items() if one.attributes} == {
        "ConfigGeneration the campaign's plan": {"scenarios": 1},
        "CampaignExecution": {"runs": 2},
        "TestExecution": {
            "seed": 0,
            "config": runner.SimConfig().digest,
            "outcome": "success",
            "success": True,
        },
    }
    labels = {one.kind: one.label for one in acts.values()}
    assert labels["CampaignExecution"] == "2 runs"
    assert labels["TestExecution"] == "near, seed 0"
    assert labels["Postprocessing"] == f"trace of {RUN}"
    assert labels[PATHS] == "PathVariation of near"
    own = {
        one.path.removeprefix(OWN): dict(one.attributes)
        for one in records.entities.values()
        if run_of(one.path) == RUN and one.attributes
    }
    digest = own["scenario.json"].pop("scenario_digest")
    assert len(digest) == 64
    assert own == {
        "scenario.json": {"scenario": "near", "map_file": "maps/wide.yaml"},
        "result.json": {"outcome": "success", "success": True},
    }


def test_measures_of_a_run(records: Records, pair: Path) -> None:
    result = json.loads((pair / OWN / "result.json").read_text("utf-8"))
    scenario = json.loads((pair / OWN / "scenario.json").read_text("utf-8"))
    start = dict(
        zip(("start_x", "start_y", "start_yaw"), scenario["content"]["start"], strict=True)
    )

    def told(path: str) -> dict[str, tuple[float, str]]:
        (one,) = [e.id for e in records.entities.values() if e.path == path]
        return {q.name: (q.value, q.unit) for q in records.quantities if q.subject == one}

    metrics = result["metrics"]
    assert told(OWN + "result.json") == {
        "path_length": (metrics["path_length_m"], "m"),
        "duration": (metrics["duration_s"], "s"),
        "min_clearance": (metrics["min_clearance_m"], "m"),
        "goal_error": (metrics["goal_error_m"], "m"),
    }
    assert told(OWN + "scenario.json") == {
        "start_x": (start["start_x"], "m"),
        "start_y": (start["start_y"], "m"),
        "start_yaw": (start["start_yaw"], "rad"),
        "noise_std": (0.02, "m"),
    }
    (image,) = [e for e in records.entities.values() if e.kind == "OccupancyGrid"]
    assert told(image.path) == {"resolution": (0.05, "m")}
    assert image.attributes["map_file"] == "maps/wide.yaml"
    assert {q.subject for q in records.quantities} <= records.entities.keys()


def test_what_comes_from_what(records: Records) -> None:
    told = sorted(
        (named(records, d.entity).removeprefix(OWN), named(records, d.source).removeprefix(OWN))
        for d in records.derivations
        if records.activities[d.activity].run in ("", RUN)
    )
    assert told == sorted(
        [
            *(("scenario.json", source) for source in ("campaign.json", PATHS, NOISE)),
            *((made, "scenario.json") for made in ("bag", "result.json")),
            ("trace.csv", "bag"),
            *(
                ("metrics.csv", f"runs/near-s{seed}/result.json".removeprefix(OWN))
                for seed in (0, 1)
            ),
        ]
    )
    (main,) = records.of_kind("CampaignExecution")
    informed = {(c.informed, c.informant) for c in records.communications}
    runs = {one.id for one in records.of_kind("TestExecution")}
    assert informed == {(one, main.id) for one in runs}


def test_files_of_a_run(pair: Path) -> None:
    result = json.loads((pair / OWN / "result.json").read_text("utf-8"))
    plan = json.loads((pair / "campaign.json").read_text("utf-8"))
    assert plan["runs"] == {"near-s0": ["near", 0], "near-s1": ["near", 1]}
    assert plan["config_digest"] == runner.SimConfig().digest
    assert plan["repairs"] == []
    (place,) = plan["maps"].values()
    assert place == f"inputs/{next(iter(plan['maps']))[:16]}/wide.yaml"
    for name in ("campaign.json", OWN + "result.json", OWN + "scenario.json"):
        text = (pair / name).read_text("utf-8")
        told = json.loads(text)
        assert text == json.dumps(told, sort_keys=True, separators=(",", ":"))
    keys = "config map_file metrics outcome reason run scenario scenario_digest seed"
    assert sorted(result) == keys.split()
    assert (result["run"], result["scenario"], result["seed"]) == (RUN, "near", 0)
    log = (pair / OWN / "log.txt").read_text("utf-8").splitlines()
    assert log[-1].endswith(" s  success  all goals reached")
    assert log[0].startswith("    0.000 s  plan  goal 1: ")
    table = pd.read_csv(pair / "metrics.csv")
    assert list(table["run"]) == ["near-s0", "near-s1"]
    assert "Unnamed: 0" not in table
    assert "metrics" not in table
    assert table.loc[0, "path_length_m"] == result["metrics"]["path_length_m"]
    assert runner.tabulate(pair).equals(table)
    assert (pair / "workflow.py").read_bytes() == Path(runner.__file__).read_bytes()


# --- a plan and its parts


SCENARIO = Scenario(
    "one", "maps/m.yaml", Pose(0.6, 0.5, 0.25), (Pose(1.0, 0.5),), (Box(3, 4, 0.5, 1, 2),), 0.5,
    0.25, "mesh.stl", "ab" * 32, "cd" * 32, "ef" * 32,
)  # fmt: skip


def test_a_plans_entry_is_the_scenario() -> None:
    entry = runner._entry(SCENARIO)
    assert entry["digest"] == SCENARIO.digest
    assert runner.scenario_from(json.loads(json.dumps(entry))) == SCENARIO
    plain = Scenario("two", "m.yaml", Pose(0, 0), ())
    assert sorted(runner._entry(plain)) == ["content", "digest", "map", "map_file", "name"]
    assert runner.scenario_from(runner._entry(plain)) == plain
    with pytest.raises(RunnerError, match="one: the plan says ababababababab"):
        runner.scenario_from(entry | {"digest": "ab" * 32})


def test_what_a_variation_has_set() -> None:
    content = SCENARIO.content()
    found = runner.variations(content)
    assert found == {
        "PathVariation": {"start": [0.6, 0.5, 0.25], "goals": [[1.0, 0.5, 0.0]]},
        "ObstacleVariation": {"boxes": [[3.0, 4.0, 0.5, 1.0, 2.0]]},
        "ParameterVariation": {"noise_std": 0.5, "drop_rate": 0.25},
    }
    plain = replace(SCENARIO, boxes=(), noise_std=0.0, drop_rate=1.0).content()
    assert runner.variations(plain)["ParameterVariation"] == {"drop_rate": 1.0}
    none = replace(SCENARIO, boxes=(), noise_std=0.0, drop_rate=0.0).content()
    assert list(runner.variations(none)) == ["PathVariation"]


def test_numbers_of_a_scenarios_content() -> None:
    one = replace(SCENARIO, start=Pose(math.nan, -0.0, math.inf), goals=(), boxes=())
    content = one.content()
    assert content["start"] == ["nan", 0.0, "inf"]
    assert math.copysign(1, content["start"][1]) == 1
    assert content["mesh"] == "cd" * 32
    assert (content["noise_std"], content["drop_rate"]) == (0.5, 0.25)
    named_ = replace(one, mesh_digest=None, map_digest=None).content()
    assert (named_["mesh"], named_["map"]) == ("path:mesh.stl", "path:maps/m.yaml")


def test_kinds_of_files() -> None:
    assert runner.kind_of(Path("a/b.unknown")) == "File"
    assert runner.kind_of(Path("a/result.json")) == "TestResult"
    assert runner.kind_of(Path("x.pgm")) == "OccupancyGrid"


def small() -> Grid:
    return Grid(np.pad(np.zeros((36, 36), np.int8), 2, constant_values=1), 0.05, (0.0, 0.0))


def test_a_plan_is_prepared_once(tmp_path: Path) -> None:
    """From its sources: maps byte by byte, other files by name; with what was repaired."""
    grid = small()
    given = grid.write(tmp_path / "far" / "maps", "m")
    given.write_text(given.read_text() + "# as it came\n")
    (tmp_path / "far" / "c.vast").write_text("configuration: []\n")
    (tmp_path / "far" / "n.txt").write_text("no plan")
    one = replace(
        SCENARIO, boxes=(), noise_std=0.0, drop_rate=0.0, map_digest=grid.digest, mesh_file="",
        mesh_digest=None,
    )  # fmt: skip
    other = replace(one, name="two", derived_from=None)
    sources = {
        "set/maps/m.yaml": given,
        "set/again/maps/m.yaml": given,
        "set/c.vast": tmp_path / "far" / "c.vast",
        "set/n.txt": tmp_path / "far" / "n.txt",
    }
    repair = Repair("Maps/m.yaml", "maps/m.yaml", "because", "case")
    folder = tmp_path / "camp"
    told: dict[str, Any] = {"sources": sources, "repairs": {repair: ["one"]}, "seeds": [0, 3]}
    names = runner.prepare([one, other], {grid.digest: grid}, folder, **told)
    assert names == ["one-s0", "one-s3", "two-s0", "two-s3"]
    log = (folder / "records.jsonl").read_bytes()
    assert runner.prepare([one, other], {grid.digest: grid}, folder, **told) == names
    assert (folder / "records.jsonl").read_bytes() == log
    plan = json.loads((folder / "campaign.json").read_text("utf-8"))
    assert plan["name"] == "camp"
    assert plan["repairs"] == [
        {
            "from_path": "Maps/m.yaml", "to_path": "maps/m.yaml", "reason": "because",
            "kind": "case", "scenarios": ["one"],
        }
    ]  # fmt: skip
    (place,) = plan["maps"].values()
    assert (folder / place).read_bytes() == given.read_bytes()
    image = folder / place.replace(".yaml", ".pgm")
    assert image.read_bytes() == given.with_suffix(".pgm").read_bytes()
    records = record.load(folder)
    assert records.about["title"] == "Simulated navigation campaign camp"
    acts = {one.kind: one for one in records.activities.values()}
    used = kinds_of_use(records, acts["MapLoading"])
    assert used == [(name, "source") for name in ("m.pgm", "m.pgm", "m.yaml", "m.yaml")]
    places = {records.entities[u.entity].location for u in records.usages}
    assert places >= {
        *("arcp://name,set/maps/m.pgm", "arcp://name,set/maps/m.yaml", "arcp://name,set/c.vast"),
        "arcp://name,set/again/maps/m.pgm",
    }
    assert kinds_of_use(records, acts["ConfigGeneration"]) == [("c.vast", "source")]
    pairs = {(named(records, d.entity), named(records, d.source)) for d in records.derivations}
    assert pairs == {
        (place, "m.yaml"),
        (place.replace(".yaml", ".pgm"), "m.pgm"),
        ("campaign.json", "c.vast"),
    }
    assert dict(acts["ConfigGeneration"].attributes) == {"scenarios": 2}
    # What was declared before the repair is told of the repaired scenario alone.
    for name in ("one-s0", "two-s0"):
        runner.execute((folder, name, ""))
    records = record.load(folder)
    assert records.communications == ()
    (why,) = [one for one in records.derivations if one.reason]
    made, declared = records.entities[why.entity], records.entities[why.source]
    assert (made.path, declared.label) == ("runs/one-s0/scenario.json", "one as declared")
    said = {"map_file": "Maps/m.yaml", "digest": "ef" * 32, "name": "one"}
    assert json.loads(str(declared.attributes["value"])) == said
    assert (declared.id, "source") in {(u.entity, u.role) for u in records.usages}
    with pytest.raises(RunnerError, match="2 runs are missing, the first is 'one-s3'"):
        runner.tabulate(folder)


def test_what_cannot_be_prepared(tmp_path: Path) -> None:
    one = replace(SCENARIO, map_digest=None)
    with pytest.raises(RunnerError, match="one: no grid for its map"):
        runner.prepare([one], {}, tmp_path / "a")
    with pytest.raises(RunnerError, match="0 scenarios and 1 seeds"):
        runner.prepare([], {}, tmp_path / "a")
    with pytest.raises(RunnerError, match="1 scenarios and 0 seeds"):
        runner.prepare([one], {}, tmp_path / "a", seeds=[])
    with pytest.raises(ValueError, match="jobs is 0"):
        runner.run_campaign([one], {}, tmp_path / "a", jobs=0)
    with pytest.raises(ValueError, match="JSON compliant"):
        runner._canonical(math.nan)
    assert not (tmp_path / "a").exists()


# --- bags


def test_every_message_of_a_small_bag() -> None:
    run = SimpleNamespace(
        t=np.array([0.0, 1.5]),
        pose=np.array([[1.0, 2.0, 0.5], [3.0, 4.0, -3.0]]),
        command=np.array([[0.25, 0.5], [0.75, -0.5]]),
        scans=np.array([[1.0, np.inf, 2.0, 3.0]], np.float32),
        scan_t=np.array([1.5]),
    )
    rows = bags._messages(run, 9.0)
    assert [(ns, topic) for ns, topic, _ in rows] == [
        (0, "/cmd_vel"), (0, "/pose"), (1_500_000_000, "/cmd_vel"), (1_500_000_000, "/pose"),
        (1_500_000_000, "/scan"),
    ]  # fmt: skip

    def told(one: Any) -> Any:
        if not hasattr(one, "__dataclass_fields__"):
            return one.tolist() if isinstance(one, np.ndarray) else one
        return {k: told(getattr(one, k)) for k in one.__dataclass_fields__ if k[:2] != "__"}

    def head(sec: int, nanosec: int, frame: str) -> dict[str, Any]:
        return {"stamp": {"sec": sec, "nanosec": nanosec}, "frame_id": frame}

    def vector(x: float, y: float, z: float) -> dict[str, float]:
        return {"x": x, "y": y, "z": z}

    assert told(rows[0][2]) == {
        "header": head(0, 0, "base_link"),
        "twist": {"linear": vector(0.25, 0.0, 0.0), "angular": vector(0.0, 0.0, 0.5)},
    }
    # Half the yaw, to nine decimals.
    assert told(rows[1][2]) == {
        "header": head(0, 0, "map"),
        "pose": {
            "position": vector(1.0, 2.0, 0.0),
            "orientation": {"x": 0.0, "y": 0.0, "z": 0.247403959, "w": 0.968912422},
        },
    }
    assert told(rows[3][2])["pose"]["orientation"]["z"] == -0.997494987
    assert told(rows[4][2]) == {
        "header": head(1, 500_000_000, "laser"),
        "angle_min": -math.pi, "angle_max": pytest.approx(math.pi / 2),
        "angle_increment": math.pi / 2, "time_increment": 0.0, "scan_time": 0.0,
        "range_min": 0.0, "range_max": 9.0, "ranges": [1.0, math.inf, 2.0, 3.0],
        "intensities": [],
    }  # fmt: skip


def test_messages_are_of_arrays_that_fit() -> None:
    whole = {
        "t": np.zeros(2), "pose": np.zeros((2, 3)), "command": np.zeros((2, 2)),
        "scans": np.zeros((2, 1), np.float32), "scan_t": np.zeros(2),
    }  # fmt: skip
    assert len(bags._messages(SimpleNamespace(**whole), 1.0)) == 6
    for name in ("t", "pose", "command", "scans", "scan_t"):
        with pytest.raises(ValueError, match=r"shorter|longer"):
            bags._messages(SimpleNamespace(**whole | {name: whole[name][:1]}), 1.0)


def test_a_scan_without_beams_has_a_whole_turn_for_its_step() -> None:
    run = SimpleNamespace(
        t=np.zeros(0), pose=np.zeros((0, 3)), command=np.zeros((0, 2)),
        scans=np.zeros((1, 0), np.float32), scan_t=np.zeros(1),
    )  # fmt: skip
    ((_, _, one),) = bags._messages(run, 1.0)
    assert one.angle_increment == math.tau
    assert (one.angle_min, one.angle_max) == (-math.pi, -math.pi - math.tau)


def test_a_trace_line_by_line(tmp_path: Path) -> None:
    bag = bags.Bag(
        np.array([0.1]), np.array([[1.0, -2.0, 0.5]]), np.array([[0.25, -0.125]]), np.zeros(0),
        np.zeros((0, 0), np.float32), {}, {},
    )  # fmt: skip
    text = bags.trace(bag, tmp_path / "t.csv").read_text()
    assert text == (
        "t_s,x_m,y_m,yaw_rad,v_m_s,w_rad_s\n0.100,1.000000,-2.000000,0.500000,0.250000,-0.125000\n"
    )
    with pytest.raises(bags.BagError, match="1 poses and 0 commands"):
        bags.trace(replace(bag, command=np.zeros((0, 2))), tmp_path / "t.csv")


def test_a_yaw_is_read_between_minus_pi_and_pi(tmp_path: Path) -> None:
    yaws = [math.pi, -math.pi, 3.0, -3.0, 0.0]
    run = bags.Bag(
        np.arange(5.0), np.array([[0, 0, one] for one in yaws], float), np.zeros((5, 2)),
        np.zeros(0), np.zeros((0, 3), np.float32), {}, {},
    )  # fmt: skip
    folder = bags.write(run, tmp_path / "b", run_iri="urn:x:r", config_digest="c")
    found = bags.read(folder)
    assert found.pose[2:, 2] == pytest.approx(yaws[2:], abs=1e-8)
    assert np.abs(found.pose[:2, 2]) == pytest.approx([math.pi] * 2, abs=1e-8)
    assert found.pose[:, 2].max() < math.pi
    assert found.scans.shape == (0, 0)
    assert found.counts == {"/pose": 5, "/cmd_vel": 5, "/scan": 0}
    text = (folder / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(text.replace("message_count: 10", "message_count: 11"))
    with pytest.raises(bags.BagError, match="10 messages, expected 11: truncated"):
        bags.read(folder)
    assert digest_file(folder / "bag.mcap") != digest_file(folder / "metadata.yaml")
