"""A campaign executed: many runs, two processes, recorded while it happens, resumable.

A run is built in a folder with a hidden name and renamed when it is complete, so after a kill there
are whole runs and rubbish, and the rubbish has a name that says so. What remains is done when the
same call is made again.

`snakefile` writes the same work as a Snakemake 9 workflow: one job runs a scenario, one makes its
trace, one the table. On a cluster the executor plug-ins ``snakemake-executor-plugin-slurm``
(``--executor slurm --jobs 200``) and ``snakemake-executor-plugin-kubernetes``
(``--executor kubernetes``) run it unchanged; `full` profiles use the one that fits the place.
Snakemake keeps its own record of every job (inputs, outputs, sha256 of inputs) below
``.snakemake/metadata``; `witness` reads it, as a second opinion on our lineage.

Shell: ``python -m lib.robot_provenance.runner one|post|table FOLDER [RUN]``.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import functools
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import yaml

from lib.core import sweeps
from lib.core.paths import ROOT, write_atomic
from lib.core.sources import code_digest, import_closure
from lib.robot_provenance import (
    bags,
    crate,
    export,
    navsim,
    record,
)
from lib.robot_provenance.campaign import Box, Pose, Repair, Scenario
from lib.robot_provenance.maps import Grid, load_grid
from lib.robot_provenance.navsim import SimConfig
from lib.robot_provenance.record import Handle, Recorder, Running
from lib.robot_provenance.vocabulary import place_iri, slug

__all__ = [
    "CREATOR",
    "LICENCE",
    "Job",
    "RunnerError",
    "execute",
    "load_plan",
    "main",
    "postprocess",
    "prepare",
    "publish",
    "run_campaign",
    "run_id",
    "scenario_from",
    "snakefile",
    "software",
    "tabulate",
    "witness",
]

CREATOR: dict[str, str] = {
    "kind": "Organization",
    "name": "The authors of Ten Papers, Executable",
    "iri": "https://github.com/ten-papers-executable/book",
}
"""Who answers for a campaign, unless somebody else is named."""

LICENCE = "https://creativecommons.org/licenses/by/4.0/"
"""Licence of the records we make."""

_PAGES = {
    "Python": "https://www.python.org/",
    "numpy": "https://numpy.org/",
    "rosbags": "https://gitlab.com/ternaris/rosbags",
}
PLAN = "campaign.json"
TABLE = "metrics.csv"
WORKFLOW = "workflow.py"
UNITS = {"path_length_m": "m", "duration_s": "s", "min_clearance_m": "m", "goal_error_m": "m"}
"""Unit of each metric that has one."""


class RunnerError(RuntimeError):
    """A campaign that cannot be run, or runs that failed."""


@dataclass(frozen=True)
class Job:
    """One run to do, and the IRI of the campaign's execution that it is part of."""

    folder: Path
    run: str
    part_of: str = ""


def run_id(scenario: str, seed: int) -> str:
    """Return the identifier of a run, which is also the name of its folder.

    Examples
    --------
    >>> run_id("0.5 door width", 3)
    '0.5-door-width-s3'
    """
    return f"{slug(scenario)}-s{seed}"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@functools.cache
def software() -> dict[str, str]:
    """Return what a run's result depends on, by name and version.

    The library's version is a digest of the code of the modules that a run imports, without
    comments and docstrings: a revision says nothing about a working copy that was changed.
    """
    codes = ["import lib.robot_provenance.navsim, lib.robot_provenance.bags"]
    found = sorted(import_closure(codes).items())
    state = hashlib.sha256(
        "".join(f"{name} {code_digest(file)}\n" for name, file in found).encode()
    )
    return {
        "lib.robot_provenance": state.hexdigest()[:16],
        "Python": ".".join(str(part) for part in sys.version_info[:3]),
        "numpy": metadata.version("numpy"),
        "rosbags": metadata.version("rosbags"),
    }


# --- the plan ------------------------------------------------------------------------------------


def _entry(scenario: Scenario, grid: Grid) -> dict[str, Any]:
    return {
        "name": scenario.name,
        "map_file": scenario.map_file,
        "map": grid.digest,
        "digest": scenario.digest,
        "content": scenario.content(),
        **({"derived_from": scenario.derived_from} if scenario.derived_from else {}),
    }


def scenario_from(entry: Mapping[str, Any]) -> Scenario:
    """Return the scenario of an entry of the plan.

    Raises
    ------
    RunnerError
        If its digest is not the entry's.
    """
    content = entry["content"]

    def numbers(values: Iterable[Any]) -> list[float]:
        return [float(value) for value in values]

    scenario = Scenario(
        entry["name"],
        entry["map_file"],
        Pose(*numbers(content["start"])),
        tuple(Pose(*numbers(goal)) for goal in content["goals"]),
        tuple(Box(*numbers(box)) for box in content["boxes"]),
        float(content["noise_std"]),
        float(content["drop_rate"]),
        map_digest=entry["map"],
        derived_from=entry.get("derived_from"),
    )
    if scenario.digest != entry["digest"]:
        raise RunnerError(
            f"{entry['name']}: the plan says {entry['digest'][:16]}, its content has digest "
            f"{scenario.digest[:16]}"
        )
    return scenario


def load_plan(folder: Path) -> dict[str, Any]:
    """Return a campaign's plan.

    Raises
    ------
    RunnerError
        If there is none.
    """
    try:
        plan: dict[str, Any] = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunnerError(f"{folder / PLAN}: missing; prepare the campaign first") from None
    return plan


@functools.lru_cache(maxsize=4)
def _plan(folder: Path, stamp: int) -> tuple[dict[str, Any], dict[str, tuple[str, int]]]:
    plan = load_plan(folder)
    jobs = {
        run_id(name, seed): (name, seed) for name in plan["scenarios"] for seed in plan["seeds"]
    }
    return plan, jobs


def _planned(folder: Path) -> tuple[dict[str, Any], dict[str, tuple[str, int]]]:
    load = folder / PLAN
    return _plan(folder, load.stat().st_mtime_ns if load.exists() else 0)


@functools.lru_cache(maxsize=64)
def _grid(path: Path, digest: str) -> Grid:
    """Return a grid; kept, for the planner's fields are kept with it."""
    grid = load_grid(path)
    if grid.digest != digest:
        raise RunnerError(f"{path}: grid {grid.digest[:16]}, the plan says {digest[:16]}")
    return grid


def _writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before anything is done."""
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "read-only")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RunnerError(f"{folder}: cannot be written to ({error}); nothing was done") from error


def prepare(
    scenarios: Sequence[Scenario],
    grids: Mapping[str, Grid],
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    config: SimConfig | None = None,
    campaign: str = "",
    about: Mapping[str, Any] | None = None,
    sources: Mapping[str, Path] | None = None,
    repairs: Mapping[Repair, Sequence[str]] | None = None,
) -> list[str]:
    """Write a campaign's plan and its inputs, recording how they came about.

    Parameters
    ----------
    scenarios : sequence of Scenario
    grids : mapping of str to Grid
        By `Scenario.map_file` or by `Grid.digest`.
    folder : Path
    seeds : sequence of int
        Each scenario is run once a seed.
    config : SimConfig, optional
    campaign : str
        Name; that of the folder by default.
    about : mapping, optional
        ``title``, ``description``, ``license`` (IRI), ``creators`` (kind, name, iri), ``language``.
    sources : mapping of str to Path, optional
        Original files by registered name, such as ``robovast/navigation/small_dataset.vast``: maps
        are copied from them byte by byte, the others count as what the plan was made from.
    repairs : mapping, optional
        As in `Resolution.repairs`.

    Returns
    -------
    list of str
        Run identifiers, in the plan's order.

    Raises
    ------
    RunnerError
        If the folder is read-only, in use or holds another plan, a map is missing, or two runs
        would have one identifier.
    """
    folder = Path(folder)
    config = config or SimConfig()
    if not scenarios or not seeds:
        raise RunnerError(f"{len(scenarios)} scenarios and {len(seeds)} seeds, expected some")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise RunnerError(f"seed is {seed!r}, expected a whole number from 0")
    _no_duplicates([run_id(one.name, seed) for one in scenarios for seed in seeds])
    needed: dict[str, Grid] = {}
    files: dict[str, list[str]] = {}
    entries: dict[str, Any] = {}
    for one in scenarios:
        grid = grids.get(one.map_digest or "") or grids.get(one.map_file)
        if grid is None:
            raise RunnerError(f"{one.name}: no grid for its map {one.map_file!r}")
        if one.map_digest is None:
            raise RunnerError(f"{one.name}: its map is not resolved (map_digest is None)")
        needed[grid.digest] = grid
        files.setdefault(grid.digest, [])
        if one.map_file not in files[grid.digest]:
            files[grid.digest].append(one.map_file)
        entries[one.name] = _entry(one, grid)
    name = campaign or Path(folder).resolve().name
    maps = {digest: _map_path(digest, files[digest][0]) for digest in needed}
    plan = {
        "format": record.FORMAT,
        "name": name,
        "created_by": (about or {}).get("creators", [CREATOR]),
        "seeds": list(seeds),
        "scenarios": entries,
        "maps": maps,
        "config": asdict(config),
        "config_digest": config.digest,
        "repairs": [
            asdict(repair) | {"scenarios": list(names)} for repair, names in (repairs or {}).items()
        ],
    }
    text = _canonical(plan)
    _writable(folder)
    if (folder / PLAN).exists() and (folder / PLAN).read_text(encoding="utf-8") != text:
        raise RunnerError(f"{folder / PLAN}: another plan is there already; choose another folder")
    told = {
        "title": f"Simulated navigation campaign {name}",
        "description": "Runs of a simulated robot, with the provenance of every file.",
        "license": LICENCE,
        "language": "en",
        "creators": [CREATOR],
    } | dict(about or {})
    with _alone(folder), Recorder(folder, campaign=name, about=told, resume=True) as recorder:
        known = _generated(folder)
        agent = _agents(recorder, told)["lib.robot_provenance"]
        if WORKFLOW not in known:
            with recorder.activity("Acquisition", "the workflow's code", agent=agent) as step:
                step.used(_source(recorder, Path(__file__), "lib"), role="source")
                shutil.copyfile(__file__, folder / WORKFLOW)
                step.generated(folder / WORKFLOW, kind="Workflow", role="plan")
        if PLAN not in known:
            _make_plan(recorder, agent, folder, text, sources or {}, len(scenarios))
        for digest, grid in needed.items():
            if maps[digest] not in known:
                _copy_map(
                    recorder, agent, folder / maps[digest], grid, files[digest], sources or {}
                )
        if "repair" not in known:
            for repair, names in (repairs or {}).items():
                _repair(recorder, agent, repair, names)
    return [run_id(one.name, seed) for one in scenarios for seed in seeds]


def _no_duplicates(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RunnerError(f"two runs would be called {name!r}; names and seeds must differ")
        seen.add(name)


def _map_path(digest: str, map_file: str) -> str:
    return f"inputs/{digest[:16]}/{PurePosixPath(map_file).name}"


def _generated(folder: Path) -> set[str]:
    """Return the paths that the campaign's log already says were generated."""
    log = folder / record.LOG
    if not log.is_file():
        return set()
    names: dict[str, str] = {}
    found: set[str] = set()
    for line in log.read_bytes().splitlines():
        row = json.loads(line)
        if row["r"] == "entity":
            names[row["id"]] = row.get("path", "").removeprefix("./")
        elif row["r"] == "generated":
            found.add(names[row["e"]])
        elif row["r"] == "start" and row["kind"] == "Repair":
            found.add("repair")
    return found


def _agents(recorder: Recorder, about: Mapping[str, Any]) -> dict[str, Handle]:
    """Record everybody who takes part: the creators, the software, the simulated robot."""
    creators = [
        recorder.agent(one["name"], kind=one["kind"], iri=one["iri"])
        for one in about.get("creators", [CREATOR])
    ]
    found = {
        name: recorder.agent(
            name,
            version=version,
            url=_PAGES.get(name, CREATOR["iri"]),
            acts_for=creators[0] if creators else None,
        )
        for name, version in software().items()
    }
    # The robot is software that plays a robot; it acts for the simulator.
    found["robot"] = recorder.agent(
        "simulated robot",
        version=software()["lib.robot_provenance"],
        url=CREATOR["iri"],
        acts_for=found["lib.robot_provenance"],
    )
    return found


def _source(recorder: Recorder, file: Path, source: str, name: str = "", kind: str = "") -> Handle:
    guessed = {".py": "Software", ".vast": "VastConfiguration", ".osc": "AbstractScenario"}
    guessed |= {".yaml": "MapMetadata", ".pgm": "OccupancyGrid", ".fpm": "FloorPlanModel"}
    chosen = kind or guessed.get(file.suffix, "File")
    if file.resolve().is_relative_to(recorder.root.resolve()):
        return recorder.file(file, kind=chosen)
    return recorder.file(file, kind=chosen, source=source, name=name or file.name)


def _make_plan(
    recorder: Recorder,
    agent: Handle,
    folder: Path,
    text: str,
    sources: Mapping[str, Path],
    scenarios: int,
) -> None:
    with recorder.activity("ConfigGeneration", "the campaign's plan", agent=agent) as step:
        origins = []
        for name, file in sources.items():
            if file.suffix in (".vast", ".osc"):
                source, _, rest = name.partition("/")
                origins.append(_source(recorder, file, source, rest))
                step.used(origins[-1], role="source")
        write_atomic(folder / PLAN, text)
        step.generated(folder / PLAN, kind="CampaignMetadata", role="plan", derived_from=origins)
        step.attribute(scenarios=scenarios)


def _copy_map(
    recorder: Recorder,
    agent: Handle,
    target: Path,
    grid: Grid,
    map_files: Sequence[str],
    sources: Mapping[str, Path],
) -> None:
    """Bring a map into the campaign: a copy of the original where there is one, else written."""
    with recorder.activity("MapLoading", f"map {target.stem}", agent=agent) as step:
        origins: list[tuple[Path, Handle, Handle]] = []
        for map_file in map_files:
            for name, file in sources.items():
                if name == map_file or name.endswith("/" + map_file):
                    source, _, rest = name.partition("/")
                    image = file.parent / yaml.safe_load(file.read_text(encoding="utf-8"))["image"]
                    pair = (
                        _source(recorder, file, source, rest),
                        _source(
                            recorder,
                            image,
                            source,
                            str(PurePosixPath(rest).with_name(image.name)),
                            "OccupancyGrid",
                        ),
                    )
                    for one in pair:
                        step.used(one, role="source")
                    origins.append((image, *pair))
        if origins:
            image = target.with_name(origins[0][0].name)
            original = next(file for name, file in sources.items() if name.endswith(map_files[0]))
            write_atomic(image, origins[0][0].read_bytes())
            write_atomic(target, original.read_bytes())
        else:
            grid.write(target.parent, target.stem)
            image = target.with_suffix(".pgm")
        cells = step.generated(
            image,
            kind="OccupancyGrid",
            role="map",
            derived_from=[one[2] for one in origins],
            attributes={"map_file": map_files[0], "grid": grid.digest},
        )
        step.generated(
            target, kind="MapMetadata", role="map", derived_from=[one[1] for one in origins]
        )
        step.quantity("resolution", grid.resolution, "m", of=cells)
        step.quantity("width", grid.size_m[0], "m", of=cells)
        step.quantity("height", grid.size_m[1], "m", of=cells)


def _repair(recorder: Recorder, agent: Handle, repair: Repair, names: Sequence[str]) -> None:
    label = f"{repair.from_path} means {repair.to_path}"
    with recorder.activity("Repair", label, agent=agent) as step:
        said = recorder.value(
            {"map_file": repair.from_path},
            kind="MapReference",
            label=f"said {repair.from_path}",
        )
        step.used(said, role="source")
        meant = step.made(
            {"map_file": repair.to_path},
            kind="MapReference",
            label=f"meant {repair.to_path}",
        )
        step.derived(meant, said, reason=repair.reason)
        step.attribute(kind=str(repair.kind), reason=repair.reason, scenarios=len(names))


# --- one run -------------------------------------------------------------------------------------


def execute(job: Job, *, post: bool = True) -> dict[str, Any]:
    """Do one run of a prepared campaign; its folder appears when all is done.

    Parameters
    ----------
    job : Job
    post : bool
        Whether to make the trace too, or leave that to `postprocess`.

    Returns
    -------
    dict
        ``run``, ``wall_s``, ``recording_s`` (of which recording), and ``error``, empty unless the
        simulator itself failed; then what there is lies in ``failed/``, with its log.

    Raises
    ------
    RunnerError
        If the run is not in the plan or is there already.
    """
    folder = Path(job.folder)
    plan, jobs = _planned(folder)
    if job.run not in jobs:
        raise RunnerError(f"{job.run!r} is not in {folder / PLAN}")
    target = folder / "runs" / job.run
    if any(one.is_file() for one in target.rglob("*")):
        raise RunnerError(f"{target}: the run is there already; a run is done once")
    name, seed = jobs[job.run]
    part = target.with_name(f".{job.run}.{uuid.uuid4().hex}")
    began = time.perf_counter()
    recorder = Recorder(part, campaign=plan["name"], root=folder, run=job.run)
    try:
        with recorder:
            bag = _run(recorder, plan, plan["scenarios"][name], seed, job.part_of)
            if post:
                _trace(recorder, bag)
    except Exception as error:
        attempt = len(list((folder / "failed").glob(f"{job.run}~*"))) + 1
        (folder / "failed").mkdir(exist_ok=True)
        part.rename(folder / "failed" / f"{job.run}~{attempt}")
        text = f"{type(error).__name__}: {error}"
        return _told(job.run, began, recorder.seconds, text)
    if target.exists():
        # Snakemake makes the folders of its outputs; they are empty.
        shutil.rmtree(target)
    part.rename(target)
    return _told(job.run, began, recorder.seconds, "")


def _told(run: str, began: float, recording: float, error: str) -> dict[str, Any]:
    wall = time.perf_counter() - began
    return {"run": run, "wall_s": wall, "recording_s": recording, "error": error}


def _run(
    recorder: Recorder, plan: dict[str, Any], entry: dict[str, Any], seed: int, part_of: str
) -> Handle:
    """Record and do: set the parameters, simulate, write the bag and the result."""
    own, folder = recorder.folder, recorder.root
    agents = _agents(recorder, {"creators": plan["created_by"]})
    simulator, robot = agents["lib.robot_provenance"], agents["robot"]
    planned = recorder.file(folder / PLAN, kind="CampaignMetadata")
    scenario = scenario_from(entry)
    chosen = _configure(recorder, simulator, planned, plan, entry, seed)
    map_yaml = folder / plan["maps"][entry["map"]]
    grid = _grid(map_yaml, entry["map"])
    image = map_yaml.parent / yaml.safe_load(map_yaml.read_text(encoding="utf-8"))["image"]
    with recorder.activity(
        "TestExecution",
        f"{entry['name']}, seed {seed}",
        plan=chosen,
        agent=[simulator, robot],
        attributes={"seed": seed, "config": plan["config_digest"]},
    ) as step:
        step.used(chosen, role="scenario")
        step.used(image, kind="OccupancyGrid", role="map")
        step.used(map_yaml, kind="MapMetadata", role="map")
        step.used(planned, role="config")
        if part_of:
            step.informed_by(part_of)
        run = navsim.simulate(grid, scenario, seed, SimConfig(**plan["config"]))
        bags.write(
            run,
            own / "bag",
            run_iri=place_iri(plan["name"], f"runs/{recorder.run}"),
            config_digest=plan["config_digest"],
            max_range=plan["config"]["max_range"],
        )
        result = {
            "run": recorder.run,
            "scenario": entry["name"],
            "scenario_digest": entry["digest"],
            "map_file": entry["map_file"],
            "seed": seed,
            "config": plan["config_digest"],
            "outcome": run.outcome,
            "reason": run.reason,
            "metrics": dict(run.metrics),
            "digest": navsim.digest(run),
        }
        write_atomic(own / "result.json", _canonical(result))
        events = [f"{t:9.3f} s  {kind}  {text}" for t, kind, text in run.events]
        write_atomic(own / "log.txt", "\n".join(events) + "\n")
        bag = step.generated(own / "bag", kind="RosBag", role="bag", derived_from=[chosen])
        told = step.generated(
            own / "result.json",
            kind="TestResult",
            role="result",
            derived_from=[chosen],
            attributes={"outcome": run.outcome, "success": run.outcome == "success"},
        )
        step.generated(own / "log.txt", kind="LogFile", role="log")
        step.attribute(outcome=run.outcome, success=run.outcome == "success")
        for name, value in run.metrics.items():
            if value is not None and name in UNITS:
                short = name.rsplit("_", 1)[0]
                step.quantity(short, value, UNITS[name], of=told)
    return bag


def _configure(
    recorder: Recorder,
    agent: Handle,
    planned: Handle,
    plan: dict[str, Any],
    entry: dict[str, Any],
    seed: int,
) -> Handle:
    """Record each variation as an activity of its own, then the parameters they make together."""
    content = entry["content"]
    parts: list[Handle] = []
    for kind, values in (
        ("PathVariation", {"start": content["start"], "goals": content["goals"]}),
        ("ObstacleVariation", {"boxes": content["boxes"]} if content["boxes"] else {}),
        (
            "ParameterVariation",
            {key: content[key] for key in ("noise_std", "drop_rate") if content[key] != 0.0},
        ),
    ):
        if values:
            with recorder.activity(kind, f"{kind} of {entry['name']}", agent=agent) as step:
                step.used(planned, role="plan")
                parts.append(
                    step.made(values, kind="VariationConfig", label=kind, role="variation")
                )
    label = f"parameters of {entry['name']}"
    with recorder.activity("ConfigGeneration", label, agent=agent) as step:
        step.used(planned, role="plan")
        for part in parts:
            step.used(part, role="variation")
        file = recorder.folder / "scenario.json"
        write_atomic(file, _canonical(entry | {"seed": seed}))
        chosen = step.generated(
            file,
            kind="ConcreteScenario",
            role="scenario",
            derived_from=[planned, *parts],
            attributes={
                "scenario": entry["name"],
                "scenario_digest": entry["digest"],
                "map_file": entry["map_file"],
                "boxes": len(content["boxes"]),
                "goals": len(content["goals"]),
            },
        )
        _declared(recorder, step, plan, entry, chosen)
        x, y, yaw = content["start"]
        for name, value, unit in (
            ("start_x", x, "m"),
            ("start_y", y, "m"),
            ("start_yaw", yaw, "rad"),
            ("noise_std", content["noise_std"], "m"),
        ):
            if not isinstance(value, str):
                step.quantity(name, value, unit, of=chosen)
    return chosen


def _declared(
    recorder: Recorder,
    step: Running,
    plan: dict[str, Any],
    entry: dict[str, Any],
    chosen: Handle,
) -> None:
    """Where a repair changed a scenario: say what was declared, and why it was changed."""
    if "derived_from" not in entry:
        return
    for repair in plan["repairs"]:
        if entry["name"] in repair["scenarios"]:
            declared = recorder.value(
                {
                    "name": entry["name"],
                    "map_file": repair["from_path"],
                    "digest": entry["derived_from"],
                },
                kind="ConcreteScenario",
                label=f"{entry['name']} as declared",
            )
            step.used(declared, role="source")
            step.derived(chosen, declared, reason=repair["reason"])


def _trace(recorder: Recorder, bag: Handle) -> None:
    agents = _agents(recorder, {"creators": load_plan(recorder.root)["created_by"]})
    own = recorder.folder
    with recorder.activity(
        "Postprocessing",
        f"trace of {recorder.run}",
        agent=[agents["lib.robot_provenance"], agents["rosbags"]],
    ) as step:
        step.used(bag, role="bag")
        bags.trace(bags.read(own / "bag"), own / "trace.csv")
        step.generated(own / "trace.csv", kind="Traces", role="trace", derived_from=[bag])


def postprocess(job: Job) -> None:
    """Make the trace of a run that has none, continuing its log.

    Raises
    ------
    RunnerError
        If the run is not there, or has a trace.
    """
    own = job.folder / "runs" / job.run
    if not (own / "result.json").is_file():
        raise RunnerError(f"{own}: no such run")
    if (own / "trace.csv").exists():
        raise RunnerError(f"{own / 'trace.csv'}: there already")
    plan = load_plan(job.folder)
    with Recorder(
        own, campaign=plan["name"], root=job.folder, run=job.run, resume=True
    ) as recorder:
        _trace(recorder, recorder.file(own / "bag", kind="RosBag"))


def tabulate(folder: Path) -> pd.DataFrame:
    """Write ``metrics.csv``, one row a run, from the runs' results, and return it.

    A table that is there already is read: the same file is not generated twice.

    Raises
    ------
    RunnerError
        If a run of the plan is missing.
    """
    folder = Path(folder)
    plan, jobs = _planned(folder)
    files = {run: folder / "runs" / run / "result.json" for run in jobs}
    missing = [run for run, file in files.items() if not file.is_file()]
    if missing:
        raise RunnerError(f"{len(missing)} runs are missing, the first is {missing[0]!r}")
    if (folder / TABLE).is_file() and TABLE in _generated(folder):
        return pd.read_csv(folder / TABLE)
    rows = []
    with Recorder(folder, campaign=plan["name"], resume=True) as recorder:
        agents = _agents(recorder, {"creators": plan["created_by"]})
        target = folder / TABLE
        with recorder.activity(
            "PostprocessingMetadata", "table of all runs", agent=agents["lib.robot_provenance"]
        ) as step:
            results = []
            for file in files.values():
                results.append(step.used(file, kind="TestResult", role="result"))
                result = json.loads(file.read_text(encoding="utf-8"))
                rows.append({k: v for k, v in result.items() if k != "metrics"} | result["metrics"])
            table = pd.DataFrame(rows)
            write_atomic(target, table.to_csv(index=False, lineterminator="\n"))
            step.generated(target, kind="Metrics", role="metrics", derived_from=results)
    return table


GRAPHS = ("provenance.nt", "provenance.jsonld", "provenance.provn")


def publish(folder: Path) -> dict[str, Path]:
    """Write the campaign's graph in three notations and its crate, and record that too.

    A graph cannot hold the digest of its own file: what is recorded here is in the log, and in the
    graphs that are written the next time.

    Returns
    -------
    dict of str to Path
        By file name: ``provenance.nt``, ``.jsonld``, ``.provn`` and ``ro-crate-metadata.json``.
    """
    folder = Path(folder)
    records = record.load(folder)
    plan = load_plan(folder)
    written: dict[str, Path] = {}
    with Recorder(folder, campaign=plan["name"], resume=True) as recorder:
        agents = _agents(recorder, {"creators": plan["created_by"]})
        with recorder.activity(
            "PostprocessingGraph", "graphs and crate", agent=agents["lib.robot_provenance"]
        ) as step:
            if (folder / TABLE).is_file():
                step.used(folder / TABLE, kind="Metrics", role="metrics")
            texts = (
                export.to_ntriples(records),
                json.dumps(export.to_jsonld(records), ensure_ascii=False, indent=1),
                export.to_provn(records),
            )
            for name, text in zip(GRAPHS, texts, strict=True):
                written[name] = write_atomic(folder / name, text)
            written[crate.DESCRIPTOR] = crate.write(folder, records)
            for name, file in written.items():
                kind = "CampaignGraph" if name in GRAPHS else "File"
                step.generated(file, kind=kind, role="graph")
    return written


def run_campaign(
    scenarios: Sequence[Scenario],
    grids: Mapping[str, Grid],
    folder: Path,
    *,
    seeds: Sequence[int] = (0,),
    config: SimConfig | None = None,
    jobs: int = 2,
    campaign: str = "",
    about: Mapping[str, Any] | None = None,
    sources: Mapping[str, Path] | None = None,
    repairs: Mapping[Repair, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Run a campaign, or what remains of it, and return the table of its runs.

    Parameters
    ----------
    scenarios, grids, folder, seeds, config, campaign, about, sources, repairs
        See `prepare`.
    jobs : int
        Processes. ``BOOK_SWEEP_BACKEND=dask`` sends the runs to a cluster that shares `folder`.

    Returns
    -------
    DataFrame
        One row a run: ``run``, ``scenario``, ``seed``, ``outcome``, the metrics, ``digest``, and
        ``wall_s`` and ``recording_s``, which are NaN for runs that were there before.

    Raises
    ------
    RunnerError
        As `prepare`; or when a run failed, after all others were done. Call again to try it again.
    """
    folder = Path(folder)
    names = prepare(
        scenarios,
        grids,
        folder,
        seeds=seeds,
        config=config,
        campaign=campaign,
        about=about,
        sources=sources,
        repairs=repairs,
    )
    with _alone(folder):
        # What a killed process left behind; complete runs have no dot.
        for rubbish in (folder / "runs").glob(".*"):
            shutil.rmtree(rubbish)
        todo = [Job(folder, name) for name in names if not (folder / "runs" / name).is_dir()]
        plan = load_plan(folder)
        told: list[dict[str, Any]] = []
        if todo:
            with Recorder(folder, campaign=plan["name"], resume=True) as recorder:
                agents = _agents(recorder, {"creators": plan["created_by"]})
                with recorder.activity(
                    "CampaignExecution",
                    f"{len(todo)} runs",
                    plan=recorder.file(folder / WORKFLOW, kind="Workflow"),
                    agent=[agents[name] for name in software()],
                    attributes={"runs": len(todo)},
                ) as step:
                    step.used(folder / PLAN, kind="CampaignMetadata", role="plan")
                    step.used(folder / WORKFLOW, kind="Workflow", role="plan")
                    todo = [replace(job, part_of=step.iri) for job in todo]
                    told = sweeps.run(
                        execute, todo, name="robot_provenance", n_jobs=max(jobs, 1), cache=False
                    )
                    step.attribute(failed=sum(bool(one["error"]) for one in told))
        failed = [one for one in told if one["error"]]
        if failed:
            raise RunnerError(
                f"{len(failed)} of {len(told)} runs failed, the first is {failed[0]['run']!r}: "
                f"{failed[0]['error']}"
            )
        table = tabulate(folder)
    times = pd.DataFrame(told, columns=["run", "wall_s", "recording_s"])
    return table.merge(times, on="run", how="left")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one process; the system lets go of it when the process dies."""
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunnerError(f"{folder}: another process is running this campaign") from None
        yield


# --- Snakemake -----------------------------------------------------------------------------------

_SNAKEFILE = """\
# Written by lib.robot_provenance.runner.snakefile. Run it in this folder:
#   python -m snakemake --cores 2            on this machine
#   ... --executor slurm --jobs 200          with snakemake-executor-plugin-slurm
#   ... --executor kubernetes                with snakemake-executor-plugin-kubernetes
MAPS = {maps}

wildcard_constraints:
    run="[^/]+"

rule all:
    input: "metrics.csv"

rule test:
    input:
        "campaign.json",
        lambda wildcards: MAPS[wildcards.run],
    output:
        "runs/{{run}}/scenario.json",
        "runs/{{run}}/bag/bag.mcap",
        "runs/{{run}}/bag/metadata.yaml",
        "runs/{{run}}/result.json",
        "runs/{{run}}/log.txt",
    shell: "{python} -m lib.robot_provenance.runner one . {{wildcards.run}}"

rule post:
    input:
        "runs/{{run}}/bag/bag.mcap",
        "runs/{{run}}/bag/metadata.yaml",
    output: "runs/{{run}}/trace.csv"
    shell: "{python} -m lib.robot_provenance.runner post . {{wildcards.run}}"

rule table:
    input:
        expand("runs/{{run}}/result.json", run=MAPS),
        expand("runs/{{run}}/trace.csv", run=MAPS),
    output: "metrics.csv"
    shell: "{python} -m lib.robot_provenance.runner table ."
"""


def snakefile(folder: Path) -> Path:
    """Write a Snakemake 9 workflow that does the runs of a prepared campaign.

    Each scenario is a job, each trace is one, and the table is one.

    Returns
    -------
    Path
        ``Snakefile`` in the campaign's folder.

    Raises
    ------
    RunnerError
        If the campaign was not prepared.
    """
    folder = Path(folder)
    plan, jobs = _planned(folder)
    maps = {}
    for run, (name, _) in jobs.items():
        file = plan["maps"][plan["scenarios"][name]["map"]]
        image = yaml.safe_load((folder / file).read_text(encoding="utf-8"))["image"]
        maps[run] = [file, str(PurePosixPath(file).with_name(image))]
    python = f"PYTHONPATH={ROOT} {sys.executable}"
    return write_atomic(
        folder / "Snakefile", _SNAKEFILE.format(maps=json.dumps(maps, indent=1), python=python)
    )


def witness(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what Snakemake itself recorded of each output.

    Returns
    -------
    dict
        By output path: ``rule``, ``input`` (list of paths), ``sha256`` (of inputs that were small
        enough, by path), ``start`` and ``end`` (Unix seconds).

    Raises
    ------
    RunnerError
        If Snakemake has recorded nothing here.
    """
    place = Path(folder) / ".snakemake" / "metadata"
    if not place.is_dir():
        raise RunnerError(f"{place}: missing; Snakemake has not run here")
    found = {}
    for file in sorted(place.rglob("*")):
        if not file.is_file():
            continue
        # Long names are split into folders that begin with @.
        encoded = file.relative_to(place).as_posix().replace("/@", "").replace("@", "")
        name = base64.b64decode(encoded).decode()
        row = json.loads(file.read_text(encoding="utf-8"))
        found[name] = {
            "rule": row["rule"],
            "input": row["input"],
            "sha256": row.get("input_checksums") or {},
            "start": row["starttime"],
            "end": row["endtime"],
        }
    return found


def main(arguments: list[str] | None = None) -> int:
    """Do one step of a prepared campaign; this is what a workflow's jobs call."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.robot_provenance.runner", description=main.__doc__
    )
    parser.add_argument("step", choices=("one", "post", "table"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("run", nargs="?", default="")
    options = parser.parse_args(arguments)
    folder = options.folder.resolve()
    if options.step == "table":
        tabulate(folder)
        return 0
    job = Job(folder, options.run)
    if options.step == "post":
        postprocess(job)
        return 0
    told = execute(job, post=False)
    if told["error"]:
        print(f"{told['run']}: {told['error']}", file=sys.stderr)
    return 1 if told["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
