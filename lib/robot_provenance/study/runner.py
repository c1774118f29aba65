"""A campaign executed: many runs, two processes, recorded while it happens.

A run is built in a folder with a hidden name and renamed when it is complete. After a kill there
are whole runs and rubbish, and what remains is done when the same call is made again. `redo` makes
a run's files again from what was recorded, for a replay.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import yaml

from lib.core import check, sweeps
from lib.core.paths import write_atomic
from lib.core.sources import code_digest, import_closure
from lib.robot_provenance import bags, crate, export, record
from lib.robot_provenance.audit import Recipe
from lib.robot_provenance.campaign import Box, Pose, Repair, Scenario
from lib.robot_provenance.maps import Grid, load_grid
from lib.robot_provenance.record import Agent, Entity, Recorder
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
ABOUT: dict[str, Any] = {
    "description": "Runs of a simulated robot, with the provenance of every file.",
    "license": LICENCE,
    "language": "en",
    "creators": [CREATOR],
}
OURS = "lib.robot_provenance"
PLAN, TABLE, WORKFLOW = "campaign.json", "metrics.csv", "workflow.py"
UNITS = {"path_length_m": "m", "duration_s": "s", "min_clearance_m": "m", "goal_error_m": "m"}
"""Unit of each metric that has one."""
_PAGES = {
    "Python": "https://www.python.org/",
    "numpy": "https://numpy.org/",
    "rosbags": "https://gitlab.com/ternaris/rosbags",
}


class RunnerError(RuntimeError):
    """A campaign that cannot be run."""


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
    found = import_closure(["import lib.robot_provenance.study.navsim, lib.robot_provenance.bags"])
    told = "".join(f"{name} {code_digest(file)}\n" for name, file in sorted(found.items()))
    return {
        OURS: hashlib.sha256(told.encode()).hexdigest()[:16],
        "Python": ".".join(str(part) for part in sys.version_info[:3]),
        "numpy": metadata.version("numpy"),
        "rosbags": metadata.version("rosbags"),
    }


def _agents(recorder: Recorder, creators: Sequence[Mapping[str, Any]]) -> dict[str, Agent]:
    """Record everybody who takes part: the creators, the software, the simulated robot."""
    people = [recorder.agent(one["name"], kind=one["kind"], iri=one["iri"]) for one in creators]
    whom, found = people[0] if people else None, {}
    for name, version in software().items():
        page = _PAGES.get(name, CREATOR["iri"])
        found[name] = recorder.agent(name, version=version, url=page, acts_for=whom)
    # The robot is software that plays a robot; it acts for the simulator.
    told = {"version": software()[OURS], "url": CREATOR["iri"]}
    return found | {"robot": recorder.agent("simulated robot", **told, acts_for=found[OURS])}  # type: ignore[arg-type]


# --- the plan ------------------------------------------------------------------------------------


_PLAIN = ("name", "map_file", "mesh_file", "mesh_digest", "derived_from")


def _entry(scenario: Scenario) -> dict[str, Any]:
    return {
        **{name: value for name in _PLAIN if (value := getattr(scenario, name))},
        "map": scenario.map_digest,
        "digest": scenario.digest,
        "content": scenario.content(),
    }


def scenario_from(entry: Mapping[str, Any]) -> Scenario:
    """Return the scenario of an entry of the plan.

    Raises
    ------
    RunnerError
        If its digest is not the entry's.
    """
    told = entry["content"]
    start, *goals = (Pose(*map(float, one)) for one in (told["start"], *told["goals"]))
    found = Scenario(
        start=start,
        goals=tuple(goals),
        boxes=tuple(Box(*map(float, one)) for one in told["boxes"]),
        noise_std=float(told["noise_std"]),
        drop_rate=float(told["drop_rate"]),
        map_digest=entry["map"],
        **{name: entry[name] for name in _PLAIN if name in entry},
    )
    if found.digest != entry["digest"]:
        raise RunnerError(
            f"{entry['name']}: the plan says {entry['digest'][:16]}, its content has digest "
            f"{found.digest[:16]}"
        )
    return found


def load_plan(folder: Path) -> dict[str, Any]:
    """Return a campaign's plan.

    Raises
    ------
    RunnerError
        If there is none.
    """
    if not (Path(folder) / PLAN).is_file():
        raise RunnerError(f"{folder}/{PLAN}: missing; prepare the campaign first")
    plan: dict[str, Any] = json.loads((Path(folder) / PLAN).read_text(encoding="utf-8"))
    return plan


# Kept, for the planner's fields are kept with it.
_grid = functools.lru_cache(maxsize=64)(load_grid)


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
        By `Grid.digest`.
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
        If the folder holds another plan, a map is missing, or two runs would have one identifier.
    RecordError
        If a preparation was killed half-way here: its files are recorded and are not made twice.
    """
    folder, config, sources = Path(folder), config or SimConfig(), sources or {}
    if not scenarios or not seeds:
        raise RunnerError(f"{len(scenarios)} scenarios and {len(seeds)} seeds, expected some")
    runs: dict[str, tuple[str, int]] = {}
    files: dict[str, dict[str, None]] = {}
    for one in scenarios:
        if one.map_digest is None or one.map_digest not in grids:
            raise RunnerError(f"{one.name}: no grid for its map {one.map_file!r}")
        files.setdefault(one.map_digest, {})[str(PurePosixPath(one.map_file))] = None
        for seed in seeds:
            name = run_id(one.name, seed)
            if name in runs:
                raise RunnerError(f"two runs would be called {name!r}; names and seeds must differ")
            runs[name] = one.name, int(seed)
    name = campaign or folder.resolve().name
    told = {"title": f"Simulated navigation campaign {name}"} | ABOUT | dict(about or {})
    maps = {d: f"inputs/{d[:16]}/{PurePosixPath(next(iter(g))).name}" for d, g in files.items()}
    text = _canonical(
        {
            "format": record.FORMAT,
            "name": name,
            "created_by": told["creators"],
            "runs": runs,
            "scenarios": {one.name: _entry(one) for one in scenarios},
            "maps": maps,
            "config": asdict(config),
            "config_digest": config.digest,
            "repairs": [asdict(one) | {"scenarios": [*n]} for one, n in (repairs or {}).items()],
        }
    )
    if (folder / PLAN).exists():
        if (folder / PLAN).read_text(encoding="utf-8") != text:
            raise RunnerError(f"{folder / PLAN}: another plan is there; choose another folder")
        return [*runs]
    with Recorder(folder, campaign=name, about=told) as recorder:
        agent = _agents(recorder, told["creators"])[OURS]
        with recorder.activity("Acquisition", "the workflow's code", agent=agent) as step:
            step.used(_source(recorder, Path(__file__), "lib/"), role="source")
            shutil.copyfile(__file__, folder / WORKFLOW)
            step.generated(folder / WORKFLOW, kind="Workflow", role="plan")
        for digest, group in files.items():
            _copy_map(recorder, agent, folder / maps[digest], grids[digest], [*group], sources)
        # Last, so that a plan that is there is one whose maps are there.
        with recorder.activity("ConfigGeneration", "the campaign's plan", agent=agent) as step:
            origins = [
                step.used(_source(recorder, file, name), role="source")
                for name, file in sources.items()
                if file.suffix in (".vast", ".osc")
            ]
            target = write_atomic(folder / PLAN, text)
            step.generated(target, kind="CampaignMetadata", role="plan", derived_from=origins)
            step.attribute(scenarios=len(scenarios))
    return [*runs]


_KINDS: dict[str, str] = yaml.safe_load(
    Path(__file__).with_name("files.yml").read_text(encoding="utf-8")
)
"""Kinds of files by the end of their names; the first that fits."""


def kind_of(file: Path) -> str:
    """Return what a file is taken for by the end of its name."""
    return next((kind for end, kind in _KINDS.items() if file.name.endswith(end)), "File")


def _source(recorder: Recorder, file: Path, registered: str) -> Entity:
    """Record an original: inside the campaign by its path, else by its registered name."""
    kind = kind_of(file)
    if file.resolve().is_relative_to(recorder.root.resolve()):
        return recorder.file(file, kind=kind)
    source, _, rest = registered.partition("/")
    return recorder.file(file, kind=kind, source=source, name=rest or file.name)


def image_of(file: Path) -> Path:
    """Return the image that a map's YAML file names."""
    named: str = yaml.safe_load(file.read_text(encoding="utf-8"))["image"]
    return file.parent / named


def _copy_map(
    recorder: Recorder,
    agent: Agent,
    target: Path,
    grid: Grid,
    map_files: Sequence[str],
    sources: Mapping[str, Path],
) -> None:
    """Bring a map into the campaign: a copy of the original where there is one, else written."""
    tables, images = [], []
    with recorder.activity("MapLoading", f"map {target.stem}", agent=agent) as step:
        for name, file in sources.items():
            if any(name == one or name.endswith("/" + one) for one in map_files):
                image = image_of(file)
                beside = str(PurePosixPath(name).with_name(image.name))
                tables.append(step.used(_source(recorder, file, name), role="source"))
                images.append(step.used(_source(recorder, image, beside), role="source"))
                if len(tables) == 1:
                    write_atomic(target, file.read_bytes())
                    write_atomic(image_of(target), image.read_bytes())
        if not tables:
            grid.write(target.parent, target.stem)
        told = {"map_file": map_files[0], "grid": grid.digest}
        cells = {"kind": "OccupancyGrid", "derived_from": images, "attributes": told}
        made = step.generated(image_of(target), role="map", **cells)  # type: ignore[arg-type]
        step.quantity("resolution", grid.resolution, "m", of=made)
        step.generated(target, kind="MapMetadata", role="map", derived_from=tables)


# --- one run -------------------------------------------------------------------------------------


def _write_scenario(place: Path, entry: Mapping[str, Any], seed: int) -> Path:
    return write_atomic(place / "scenario.json", _canonical({**entry, "seed": seed}))


def _write_run(place: Path, plan: Mapping[str, Any], name: str, grid: Grid) -> Run:
    """Simulate what a run's ``scenario.json`` says, and write its bag, result and log."""
    entry = json.loads((place / "scenario.json").read_text(encoding="utf-8"))
    seed = entry["seed"]
    run = navsim.simulate(grid, scenario_from(entry), seed, SimConfig(**plan["config"]))
    iri, config = place_iri(plan["name"], f"runs/{name}"), plan["config_digest"]
    reach = plan["config"]["max_range"]
    bags.write(run, place / "bag", run_iri=iri, config_digest=config, max_range=reach)
    result = {
        "run": name,
        "scenario": entry["name"],
        "scenario_digest": entry["digest"],
        "map_file": entry["map_file"],
        "seed": seed,
        "config": config,
        "outcome": run.outcome,
        "reason": run.reason,
        "metrics": dict(run.metrics),
    }
    write_atomic(place / "result.json", _canonical(result))
    events = [f"{t:9.3f} s  {kind}  {text}" for t, kind, text in run.events]
    write_atomic(place / "log.txt", "\n".join(events) + "\n")
    return run


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
        If the recorded scenario is not the plan's, or the recorded image not that of the map.
    """
    kinds = ("CampaignMetadata", "ConcreteScenario", "MapMetadata", "OccupancyGrid")
    (planning,), (scenario,), (table,), (image,) = (recipe.used[kind] for kind in kinds)
    plan, told = (json.loads(one.read_text(encoding="utf-8")) for one in (planning, scenario))
    planned = plan["scenarios"][plan["runs"][recipe.run][0]]
    if {**told, "seed": None} != {**planned, "seed": None}:
        raise RunnerError(f"{recipe.run}: its scenario is not that of the plan")
    if image_of(table).resolve() != image.resolve():
        raise RunnerError(f"{recipe.run}: its map names {image_of(table)}, its record {image}")
    _write_scenario(recipe.target, told, int(recipe.attributes["seed"]))
    _write_run(recipe.target, plan, recipe.run, load_grid(table))
    bags.trace(bags.read(recipe.target / "bag"), recipe.target / "trace.csv")
    return software() | {"simulated robot": software()[OURS]}


def execute(job: tuple[Path, str, str]) -> None:
    """Do one run of a prepared campaign; its folder appears when all is done.

    Parameters
    ----------
    job : (Path, str, str)
        The campaign's folder, the run, and the IRI of the campaign's execution that it is part of,
        which may be empty.

    Raises
    ------
    RunnerError
        If the run is there already.
    """
    folder, run, part_of = job
    plan, target = load_plan(folder), folder / "runs" / run
    if target.exists():
        raise RunnerError(f"{target}: the run is there already; a run is done once")
    part = target.with_name(f".{run}.{uuid.uuid4().hex}")
    with Recorder(part, campaign=plan["name"], root=folder, run=run) as recorder:
        _run(recorder, plan, part_of)
    part.rename(target)


def _run(recorder: Recorder, plan: dict[str, Any], part_of: str) -> None:
    """Record and do: set the parameters, simulate, write the bag and the result, make the trace."""
    own, folder = recorder.folder, recorder.root
    name, seed = plan["runs"][recorder.run]
    agents = _agents(recorder, plan["created_by"])
    planned = recorder.file(folder / PLAN, kind="CampaignMetadata")
    chosen = _configure(recorder, agents[OURS], planned, plan)
    file = folder / plan["maps"][plan["scenarios"][name]["map"]]
    grid, both = _grid(file), [agents[OURS], agents["robot"]]
    with recorder.activity(
        "TestExecution", f"{name}, seed {seed}", plan=chosen, agent=both
    ) as step:
        step.attribute(seed=seed, config=plan["config_digest"])
        step.used(chosen, role="scenario")
        step.used(image_of(file), kind="OccupancyGrid", role="map")
        step.used(file, kind="MapMetadata", role="map")
        step.used(planned, role="config")
        if part_of:
            step.informed_by(part_of)
        run = _write_run(own, plan, recorder.run, grid)
        told: dict[str, Any] = {"outcome": run.outcome, "success": run.outcome == "success"}
        step.attribute(**told)
        bag = step.generated(own / "bag", kind="RosBag", role="bag", derived_from=[chosen])
        rest: dict[str, Any] = {"role": "result", "derived_from": [chosen], "attributes": told}
        result = step.generated(own / "result.json", kind="TestResult", **rest)
        step.generated(own / "log.txt", kind="LogFile", role="log")
        for metric, value in run.metrics.items():
            if value is not None and metric in UNITS:
                step.quantity(metric.rsplit("_", 1)[0], value, UNITS[metric], of=result)
    both = [agents[OURS], agents["rosbags"]]
    with recorder.activity("Postprocessing", f"trace of {recorder.run}", agent=both) as step:
        step.used(bag, role="bag")
        file = bags.trace(bags.read(own / "bag"), own / "trace.csv")
        step.generated(file, kind="Traces", role="trace", derived_from=[bag])


def variations(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what each variation has set of a scenario's content, by its type."""
    noise = {key: content[key] for key in ("noise_std", "drop_rate") if content[key] != 0.0}
    found = {
        "PathVariation": {"start": content["start"], "goals": content["goals"]},
        "ObstacleVariation": {"boxes": content["boxes"]} if content["boxes"] else {},
        "ParameterVariation": noise,
    }
    return {kind: values for kind, values in found.items() if values}


def _configure(
    recorder: Recorder, agent: Agent, planned: Entity, plan: Mapping[str, Any]
) -> Entity:
    """Record each variation as an activity of its own, then the parameters they make together."""
    parts: list[Entity] = []
    name, seed = plan["runs"][recorder.run]
    entry, content = plan["scenarios"][name], plan["scenarios"][name]["content"]
    for kind, values in variations(content).items():
        with recorder.activity(kind, f"{kind} of {name}", agent=agent) as step:
            step.used(planned, role="plan")
            made = step.made(values, kind="VariationConfig", label=kind, role="variation")
            parts.append(made)
    with recorder.activity("ConfigGeneration", f"parameters of {name}", agent=agent) as step:
        step.used(planned, role="plan")
        for part in parts:
            step.used(part, role="variation")
        file = _write_scenario(recorder.folder, entry, seed)
        told = {"scenario": name, "scenario_digest": entry["digest"], "map_file": entry["map_file"]}
        rest: dict[str, Any] = {"derived_from": [planned, *parts], "attributes": told}
        chosen = step.generated(file, kind="ConcreteScenario", role="scenario", **rest)
        # Where a repair changed it: what was declared, and why it was changed.
        for repair in plan["repairs"]:
            if name in repair["scenarios"]:
                said = {"map_file": repair["from_path"], "digest": entry["derived_from"]}
                label = f"{name} as declared"
                declared = recorder.value(
                    said | {"name": name}, kind="ConcreteScenario", label=label
                )
                step.used(declared, role="source")
                step.derived(chosen, declared, reason=repair["reason"])
        for word, value, unit in zip(
            ("start_x", "start_y", "start_yaw", "noise_std"),
            (*content["start"], content["noise_std"]),
            ("m", "m", "rad", "m"),
            strict=True,
        ):
            # What is no number is told as a text, and is no quantity.
            if not isinstance(value, str):
                step.quantity(word, value, unit, of=chosen)
    return chosen


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
    plan, rows, results = load_plan(folder), [], []
    missing = [one for one in plan["runs"] if not (folder / "runs" / one).is_dir()]
    if missing:
        raise RunnerError(f"{len(missing)} runs are missing, the first is {missing[0]!r}")
    target = folder / TABLE
    if target.is_file():
        return pd.read_csv(target)
    with Recorder(folder, campaign=plan["name"]) as recorder:
        agent = _agents(recorder, plan["created_by"])[OURS]
        with recorder.activity("PostprocessingMetadata", "table of all runs", agent=agent) as step:
            for run in plan["runs"]:
                file = folder / "runs" / run / "result.json"
                results.append(step.used(file, kind="TestResult", role="result"))
                result = json.loads(file.read_text(encoding="utf-8"))
                rows.append({k: v for k, v in result.items() if k != "metrics"} | result["metrics"])
            table = pd.DataFrame(rows)
            write_atomic(target, table.to_csv(index=False, lineterminator="\n"))
            step.generated(target, kind="Metrics", role="metrics", derived_from=results)
    return table


GRAPHS: dict[str, export.Notation] = {
    "provenance.nt": "nt",
    "provenance.jsonld": "json-ld",
    "provenance.provn": "provn",
}


def publish(folder: Path) -> None:
    """Write the campaign's graph in three notations and its crate, and record that too.

    A graph cannot hold the digest of its own file: what is recorded here is in the log, and in the
    graphs that are written the next time.
    """
    folder = Path(folder)
    records, plan = record.load(folder), load_plan(folder)
    with Recorder(folder, campaign=plan["name"]) as recorder:
        agent = _agents(recorder, plan["created_by"])[OURS]
        with recorder.activity("PostprocessingGraph", "graphs and crate", agent=agent) as step:
            step.used(folder / TABLE, kind="Metrics", role="metrics")
            for name, notation in GRAPHS.items():
                file = write_atomic(folder / name, export.serialize(records, notation))
                step.generated(file, kind="CampaignGraph", role="graph")
            step.generated(crate.write(folder, records), role="graph")


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
        One row a run: ``run``, ``scenario``, ``seed``, ``outcome`` and the metrics.

    Raises
    ------
    RunnerError
        As `prepare`.
    """
    folder, jobs = Path(folder), check.integer("jobs", jobs, at_least=1)
    names = prepare(scenarios, grids, folder, **told)
    # What a killed process left behind; complete runs have no dot.
    for rubbish in (folder / "runs").glob(".*"):
        shutil.rmtree(rubbish)
    todo = [name for name in names if not (folder / "runs" / name).is_dir()]
    plan = load_plan(folder)
    if todo:
        with Recorder(folder, campaign=plan["name"]) as recorder:
            agents = _agents(recorder, plan["created_by"])
            workflow = recorder.file(folder / WORKFLOW, kind="Workflow")
            both = [agents[name] for name in software()]
            with recorder.activity(
                "CampaignExecution", f"{len(todo)} runs", plan=workflow, agent=both
            ) as step:
                step.attribute(runs=len(todo))
                step.used(folder / PLAN, kind="CampaignMetadata", role="plan")
                step.used(workflow, role="plan")
                work = [(folder, name, step.iri) for name in todo]
                sweeps.run(execute, work, name="robot_provenance", n_jobs=jobs, cache=False)
    return tabulate(folder)
