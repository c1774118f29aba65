"""A campaign executed: many runs, two processes, recorded while it happens, resumable.

A run is built in a folder with a hidden name and renamed when it is complete, so after a kill there
are whole runs and rubbish, and the rubbish has a name that says so. What remains is done when the
same call is made again. `redo` makes a run's files again from what was recorded, for a replay.
"""

from __future__ import annotations

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

from lib.core import check, sweeps
from lib.core.paths import write_atomic
from lib.core.sources import code_digest, import_closure
from lib.robot_provenance import (
    bags,
    crate,
    export,
    record,
)
from lib.robot_provenance.audit import Recipe
from lib.robot_provenance.campaign import Box, Pose, Repair, Scenario
from lib.robot_provenance.maps import Grid, load_grid
from lib.robot_provenance.record import Handle, Recorder, Running
from lib.robot_provenance.study import navsim
from lib.robot_provenance.study.navsim import Run, SimConfig
from lib.robot_provenance.vocabulary import place_iri, slug

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
    return f"{slug(scenario)}-s{check.integer('seed', seed, at_least=0)}"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@functools.cache
def software() -> dict[str, str]:
    """Return what a run's result depends on, by name and version.

    The library's version is a digest of the code of the modules that a run imports, without
    comments and docstrings: a revision says nothing about a working copy that was changed.
    """
    codes = ["import lib.robot_provenance.study.navsim, lib.robot_provenance.bags"]
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


def _entry(scenario: Scenario) -> dict[str, Any]:
    kept = {"mesh_file": scenario.mesh_file, "mesh": scenario.mesh_digest}
    kept["derived_from"] = scenario.derived_from or ""
    return {
        "name": scenario.name,
        "map_file": scenario.map_file,
        "map": scenario.map_digest,
        "digest": scenario.digest,
        "content": scenario.content(),
        **{key: value for key, value in kept.items() if value},
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
        mesh_file=entry.get("mesh_file", ""),
        map_digest=entry["map"],
        mesh_digest=entry.get("mesh"),
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
        plan: dict[str, Any] = json.loads((Path(folder) / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunnerError(f"{folder}/{PLAN}: missing; prepare the campaign first") from None
    return plan


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
    folder, config = Path(folder), config or SimConfig()
    if not scenarios or not seeds:
        raise RunnerError(f"{len(scenarios)} scenarios and {len(seeds)} seeds, expected some")
    runs: dict[str, tuple[str, int]] = {}
    files: dict[str, list[str]] = {}
    needed: dict[str, Grid] = {}
    for one in scenarios:
        grid = grids.get(one.map_digest or "") or grids.get(one.map_file)
        if grid is None:
            raise RunnerError(f"{one.name}: no grid for its map {one.map_file!r}")
        if one.map_digest != grid.digest:
            raise RunnerError(f"{one.name}: its map is {one.map_digest}, the grid {grid.digest}")
        needed[grid.digest] = grid
        if one.map_file not in files.setdefault(grid.digest, []):
            files[grid.digest].append(one.map_file)
        for seed in seeds:
            name = run_id(one.name, seed)
            if name in runs:
                raise RunnerError(f"two runs would be called {name!r}; names and seeds must differ")
            runs[name] = one.name, int(seed)
    name = campaign or folder.resolve().name
    maps = {
        digest: f"inputs/{digest[:16]}/{PurePosixPath(group[0]).name}"
        for digest, group in files.items()
    }
    plan = {
        "format": record.FORMAT,
        "name": name,
        "created_by": (about or {}).get("creators", [CREATOR]),
        "runs": runs,
        "scenarios": {one.name: _entry(one) for one in scenarios},
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
        known = _made(folder)
        agent = _agents(recorder, told)["lib.robot_provenance"]
        if WORKFLOW not in known:
            with recorder.activity("Acquisition", "the workflow's code", agent=agent) as step:
                step.used(_source(recorder, Path(__file__), "lib/"), role="source")
                shutil.copyfile(__file__, folder / WORKFLOW)
                step.generated(folder / WORKFLOW, kind="Workflow", role="plan")
        if PLAN not in known:
            _make_plan(recorder, agent, text, sources or {}, len(scenarios))
        for digest, grid in needed.items():
            if maps[digest] not in known:
                target = folder / maps[digest]
                _copy_map(recorder, agent, target, grid, files[digest], sources or {})
        if "repair" not in known:
            for repair, names in (repairs or {}).items():
                _repair(recorder, agent, repair, names)
    return [*runs]


def _made(folder: Path) -> set[str]:
    """Return the paths that were generated already, by the logs, and whether repairs were noted."""
    records = record.load(folder)
    made = {records.entities[one.entity].path for one in records.generations}
    return made | ({"repair"} if records.of_kind("Repair") else set())


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


_KINDS = {
    ".py": "Software",
    ".vast": "VastConfiguration",
    ".osc": "AbstractScenario",
    ".yaml": "MapMetadata",
    ".pgm": "OccupancyGrid",
}


def _source(recorder: Recorder, file: Path, registered: str) -> Handle:
    """Record an original: inside the campaign by its path, else by its registered name."""
    kind = _KINDS.get(file.suffix, "File")
    if file.resolve().is_relative_to(recorder.root.resolve()):
        return recorder.file(file, kind=kind)
    source, _, rest = registered.partition("/")
    return recorder.file(file, kind=kind, source=source, name=rest or file.name)


def _make_plan(
    recorder: Recorder, agent: Handle, text: str, sources: Mapping[str, Path], scenarios: int
) -> None:
    target = recorder.folder / PLAN
    with recorder.activity("ConfigGeneration", "the campaign's plan", agent=agent) as step:
        origins = []
        for name, file in sources.items():
            if file.suffix in (".vast", ".osc"):
                origins.append(step.used(_source(recorder, file, name), role="source"))
        write_atomic(target, text)
        step.generated(target, kind="CampaignMetadata", role="plan", derived_from=origins)
        step.attribute(scenarios=scenarios)


def _image(file: Path) -> Path:
    """Return the image that a map's YAML file names."""
    named: str = yaml.safe_load(file.read_text(encoding="utf-8"))["image"]
    return file.parent / named


def _copy_map(
    recorder: Recorder,
    agent: Handle,
    target: Path,
    grid: Grid,
    map_files: Sequence[str],
    sources: Mapping[str, Path],
) -> None:
    """Bring a map into the campaign: a copy of the original where there is one, else written."""
    originals = [
        (name, file)
        for map_file in map_files
        for name, file in sources.items()
        if name == map_file or name.endswith("/" + map_file)
    ]
    with recorder.activity("MapLoading", f"map {target.stem}", agent=agent) as step:
        tables, images = [], []
        for name, file in originals:
            image = _image(file)
            tables.append(step.used(_source(recorder, file, name), role="source"))
            beside = str(PurePosixPath(name).with_name(image.name))
            images.append(step.used(_source(recorder, image, beside), role="source"))
        if originals:
            write_atomic(target, originals[0][1].read_bytes())
            write_atomic(_image(target), _image(originals[0][1]).read_bytes())
        else:
            grid.write(target.parent, target.stem)
        cells = step.generated(
            _image(target),
            kind="OccupancyGrid",
            role="map",
            derived_from=images,
            attributes={"map_file": map_files[0], "grid": grid.digest},
        )
        step.generated(target, kind="MapMetadata", role="map", derived_from=tables)
        step.quantity("resolution", grid.resolution, "m", of=cells)
        step.quantity("width", grid.size_m[0], "m", of=cells)
        step.quantity("height", grid.size_m[1], "m", of=cells)


def _repair(recorder: Recorder, agent: Handle, repair: Repair, names: Sequence[str]) -> None:
    label = f"{repair.from_path} means {repair.to_path}"
    with recorder.activity("Repair", label, agent=agent) as step:
        said, kind = {"map_file": repair.from_path}, "MapReference"
        declared = recorder.value(said, kind=kind, label=f"said {repair.from_path}")
        step.used(declared, role="source")
        meant = step.made({"map_file": repair.to_path}, kind=kind, label=f"meant {repair.to_path}")
        step.derived(meant, declared, reason=repair.reason)
        step.attribute(kind=str(repair.kind), reason=repair.reason, scenarios=len(names))


# --- one run -------------------------------------------------------------------------------------


def _write_scenario(place: Path, entry: Mapping[str, Any], seed: int) -> Path:
    return write_atomic(place / "scenario.json", _canonical({**entry, "seed": seed}))


def _write_run(place: Path, plan: Mapping[str, Any], name: str, seed: int, grid: Grid) -> Run:
    """Simulate a run of the plan, and write its bag, result and log."""
    entry = plan["scenarios"][plan["runs"][name][0]]
    run = navsim.simulate(grid, scenario_from(entry), seed, SimConfig(**plan["config"]))
    bags.write(
        run,
        place / "bag",
        run_iri=place_iri(plan["name"], f"runs/{name}"),
        config_digest=plan["config_digest"],
        max_range=plan["config"]["max_range"],
    )
    result = {
        "run": name,
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
    write_atomic(place / "result.json", _canonical(result))
    events = [f"{t:9.3f} s  {kind}  {text}" for t, kind, text in run.events]
    write_atomic(place / "log.txt", "\n".join(events) + "\n")
    return run


def _write_trace(place: Path) -> Path:
    return bags.trace(bags.read(place / "bag"), place / "trace.csv")


def redo(recipe: Recipe) -> dict[str, str]:
    """Make all files of a run again, from what its record says was used.

    Parameters
    ----------
    recipe : Recipe
        From `audit.replay`: the recorded plan and map, the seed, and where the new files go.

    Returns
    -------
    dict of str to str
        Version of each piece of software that made them now.

    Raises
    ------
    RunnerError
        If the plan does not hold the run.
    """
    plan = json.loads(recipe.used["CampaignMetadata"].read_text(encoding="utf-8"))
    if recipe.run not in plan["runs"]:
        raise RunnerError(f"{recipe.run!r} is not in {recipe.used['CampaignMetadata']}")
    seed = int(recipe.attributes["seed"])
    _write_scenario(recipe.target, plan["scenarios"][plan["runs"][recipe.run][0]], seed)
    grid = load_grid(recipe.used["MapMetadata"])
    _write_run(recipe.target, plan, recipe.run, seed, grid)
    _write_trace(recipe.target)
    return software() | {"simulated robot": software()["lib.robot_provenance"]}


def execute(job: Job) -> dict[str, Any]:
    """Do one run of a prepared campaign; its folder appears when all is done.

    Parameters
    ----------
    job : Job

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
    plan = load_plan(folder)
    if job.run not in plan["runs"]:
        raise RunnerError(f"{job.run!r} is not in {folder / PLAN}")
    target = folder / "runs" / job.run
    if target.exists():
        raise RunnerError(f"{target}: the run is there already; a run is done once")
    part = target.with_name(f".{job.run}.{uuid.uuid4().hex}")
    began, error = time.perf_counter(), ""
    recorder = Recorder(part, campaign=plan["name"], root=folder, run=job.run)
    try:
        with recorder:
            _run(recorder, plan, job.part_of)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
        attempt = len(list((folder / "failed").glob(f"{job.run}~*"))) + 1
        target = folder / "failed" / f"{job.run}~{attempt}"
        target.parent.mkdir(exist_ok=True)
    part.rename(target)
    wall = time.perf_counter() - began
    return {"run": job.run, "wall_s": wall, "recording_s": recorder.seconds, "error": error}


def _run(recorder: Recorder, plan: dict[str, Any], part_of: str) -> None:
    """Record and do: set the parameters, simulate, write the bag and the result, make the trace."""
    own, folder = recorder.folder, recorder.root
    name, seed = plan["runs"][recorder.run]
    entry = plan["scenarios"][name]
    agents = _agents(recorder, {"creators": plan["created_by"]})
    library = agents["lib.robot_provenance"]
    planned = recorder.file(folder / PLAN, kind="CampaignMetadata")
    chosen = _configure(recorder, library, planned, plan, entry, seed)
    map_yaml = folder / plan["maps"][entry["map"]]
    grid = _grid(map_yaml, entry["map"])
    with recorder.activity(
        "TestExecution",
        f"{name}, seed {seed}",
        plan=chosen,
        agent=[library, agents["robot"]],
        attributes={"seed": seed, "config": plan["config_digest"]},
    ) as step:
        step.used(chosen, role="scenario")
        step.used(_image(map_yaml), kind="OccupancyGrid", role="map")
        step.used(map_yaml, kind="MapMetadata", role="map")
        step.used(planned, role="config")
        if part_of:
            step.informed_by(part_of)
        run = _write_run(own, plan, recorder.run, seed, grid)
        told: dict[str, Any] = {"outcome": run.outcome, "success": run.outcome == "success"}
        bag = step.generated(own / "bag", kind="RosBag", role="bag", derived_from=[chosen])
        result = step.generated(
            own / "result.json",
            kind="TestResult",
            role="result",
            derived_from=[chosen],
            attributes=told,
        )
        step.generated(own / "log.txt", kind="LogFile", role="log")
        step.attribute(**told)
        for metric, value in run.metrics.items():
            if value is not None and metric in UNITS:
                step.quantity(metric.rsplit("_", 1)[0], value, UNITS[metric], of=result)
    both = [library, agents["rosbags"]]
    with recorder.activity("Postprocessing", f"trace of {recorder.run}", agent=both) as step:
        step.used(bag, role="bag")
        trace = _write_trace(own)
        step.generated(trace, kind="Traces", role="trace", derived_from=[bag])


def _configure(
    recorder: Recorder,
    agent: Handle,
    planned: Handle,
    plan: Mapping[str, Any],
    entry: Mapping[str, Any],
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
        chosen = step.generated(
            _write_scenario(recorder.folder, entry, seed),
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
    plan: Mapping[str, Any],
    entry: Mapping[str, Any],
    chosen: Handle,
) -> None:
    """Where a repair changed a scenario: say what was declared, and why it was changed."""
    for repair in plan["repairs"]:
        if entry["name"] in repair["scenarios"]:
            said = {"map_file": repair["from_path"], "digest": entry["derived_from"]}
            declared = recorder.value(
                said | {"name": entry["name"]},
                kind="ConcreteScenario",
                label=f"{entry['name']} as declared",
            )
            step.used(declared, role="source")
            step.derived(chosen, declared, reason=repair["reason"])


# --- all runs ------------------------------------------------------------------------------------


def tabulate(folder: Path) -> pd.DataFrame:
    """Write ``metrics.csv``, one row a run, from the runs' results, and return it.

    A table that is there already is read: the same file is not generated twice.

    Raises
    ------
    RunnerError
        If a run of the plan is missing.
    """
    folder = Path(folder)
    plan = load_plan(folder)
    files = {run: folder / "runs" / run / "result.json" for run in plan["runs"]}
    missing = [run for run, file in files.items() if not file.is_file()]
    if missing:
        raise RunnerError(f"{len(missing)} runs are missing, the first is {missing[0]!r}")
    target = folder / TABLE
    if target.is_file() and TABLE in _made(folder):
        return pd.read_csv(target)
    rows = []
    with _resumed(folder, plan) as (recorder, agents):
        library = agents["lib.robot_provenance"]
        with recorder.activity(
            "PostprocessingMetadata", "table of all runs", agent=library
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


@contextmanager
def _resumed(folder: Path, plan: Mapping[str, Any]) -> Iterator[tuple[Recorder, dict[str, Handle]]]:
    """Continue a campaign's log; its agents come with it."""
    with Recorder(folder, campaign=plan["name"], resume=True) as recorder:
        yield recorder, _agents(recorder, {"creators": plan["created_by"]})


GRAPHS: dict[str, export.Notation] = {
    "provenance.nt": "nt",
    "provenance.jsonld": "json-ld",
    "provenance.provn": "provn",
}


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
    written: dict[str, Path] = {}
    with _resumed(folder, load_plan(folder)) as (recorder, agents):
        library = agents["lib.robot_provenance"]
        with recorder.activity("PostprocessingGraph", "graphs and crate", agent=library) as step:
            if (folder / TABLE).is_file():
                step.used(folder / TABLE, kind="Metrics", role="metrics")
            for name, notation in GRAPHS.items():
                written[name] = write_atomic(folder / name, export.serialize(records, notation))
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
    jobs: int = 2,
    **told: Any,
) -> pd.DataFrame:
    """Run a campaign, or what remains of it, and return the table of its runs.

    Parameters
    ----------
    scenarios, grids, folder
        See `prepare`.
    jobs : int
        Processes. ``BOOK_SWEEP_BACKEND=dask`` sends the runs to a cluster that shares `folder`.
    **told
        ``seeds``, ``config``, ``campaign``, ``about``, ``sources`` and ``repairs`` of `prepare`.

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
    folder, jobs = Path(folder), check.integer("jobs", jobs, at_least=1)
    names = prepare(scenarios, grids, folder, **told)
    with _alone(folder):
        # What a killed process left behind; complete runs have no dot.
        for rubbish in (folder / "runs").glob(".*"):
            shutil.rmtree(rubbish)
        todo = [Job(folder, name) for name in names if not (folder / "runs" / name).is_dir()]
        done = _execute_all(folder, todo, jobs) if todo else []
        failed = [one for one in done if one["error"]]
        if failed:
            raise RunnerError(
                f"{len(failed)} of {len(done)} runs failed, the first is {failed[0]['run']!r}: "
                f"{failed[0]['error']}"
            )
        table = tabulate(folder)
    times = pd.DataFrame(done, columns=["run", "wall_s", "recording_s"])
    return table.merge(times, on="run", how="left")


def _execute_all(folder: Path, todo: Sequence[Job], jobs: int) -> list[dict[str, Any]]:
    with _resumed(folder, load_plan(folder)) as (recorder, agents):
        workflow = recorder.file(folder / WORKFLOW, kind="Workflow")
        with recorder.activity(
            "CampaignExecution",
            f"{len(todo)} runs",
            plan=workflow,
            agent=[agents[name] for name in software()],
            attributes={"runs": len(todo)},
        ) as step:
            step.used(folder / PLAN, kind="CampaignMetadata", role="plan")
            step.used(workflow, role="plan")
            work = [replace(job, part_of=step.iri) for job in todo]
            done = sweeps.run(execute, work, name="robot_provenance", n_jobs=jobs, cache=False)
            step.attribute(failed=sum(bool(one["error"]) for one in done))
    return list(done)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for one process; the system lets go of it when the process dies."""
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunnerError(f"{folder}: another process is running this campaign") from None
        yield
