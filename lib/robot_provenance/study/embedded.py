"""The embedded campaign from floor-plan model to table, recorded as it happens; it needs no data.

    model (JSON) -> graph of rooms and doors -> occupancy grid -> concrete scenario -> run -> table

It is the campaign of `lib.robot_provenance.study.floorplans` with two things planted that a careful
record must show: a scenario that names its map in the wrong case, which is repaired in the open,
and a "variation" that changes nothing but its name. Everything in it is simulated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lib.core.paths import write_atomic
from lib.robot_provenance import campaign
from lib.robot_provenance.campaign import Resolution, Scenario
from lib.robot_provenance.record import Handle, Recorder
from lib.robot_provenance.study import floorplans, runner
from lib.robot_provenance.study.navsim import SimConfig
from lib.robot_provenance.vocabulary import file_iri

NAME = "embedded"
"""Name of the campaign, part of every identifier."""

SLIP = "narrow-hall"
"""The scenario that names its map in the wrong case."""

TWIN = ("wide-hall", "wide-hall-again")
"""Two names of one scenario."""

PART = (
    *TWIN,
    SLIP,
    *("wide-one-room", "wide-boxes", "middle-boxes-noise", "middle-blind", "narrow-noise"),
    *("narrow-one-room", "closed-one-room", "faulty-no-goals"),
)
"""Scenarios with everything that questions and faults are about, for where all would take long."""

ABSTRACT = """\
# The scenario before its parameters are set: drive from the start to each goal in turn.
scenario navigate:
    map_file: string
    start_pose: pose_3d
    goal_poses: list of pose_3d
    static_objects: list of spawn_entity
    laserscan_gaussian_noise_std_deviation: string = '0.0'
    laserscan_random_drop_percentage: string = '0.0'
"""


def declared() -> list[Scenario]:
    """Return the scenarios as the campaign file declares them, slip and twin included."""
    _, scenarios = floorplans.default_campaign()
    found = []
    for one in scenarios:
        plain = replace(one, map_digest=None)
        if one.name == SLIP:
            folder, _, name = plain.map_file.partition("/")
            plain = replace(plain, map_file=f"{folder}/{name.capitalize()}")
        found.append(plain)
        if one.name == TWIN[0]:
            found.append(replace(plain, name=TWIN[1]))
    return found


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, indent=1)


def draft(folder: Path) -> Resolution:
    """Write and record what the campaign starts from, and resolve its scenarios.

    Parameters
    ----------
    folder : Path
        The campaign's folder; must have no records yet.

    Returns
    -------
    Resolution
        Of the scenarios read back from the campaign file, repaired.
    """
    folder = Path(folder)
    about = {
        "title": "Simulated navigation on generated floor plans",
        "description": "Runs of a simulated robot, with the provenance of every file.",
        "license": runner.LICENCE,
        "language": "en",
        "creators": [runner.CREATOR],
    }
    inputs = folder / "inputs"
    maps: dict[str, Path] = {}
    with Recorder(folder, campaign=NAME, about=about) as recorder:
        agent = recorder.agent(
            "lib.robot_provenance",
            version=runner.software()["lib.robot_provenance"],
            acts_for=recorder.agent(
                runner.CREATOR["name"], kind="Organization", iri=runner.CREATOR["iri"]
            ),
        )
        for name, model in floorplans.MODELS.items():
            maps[f"maps/{name}.yaml"] = _floor_plan(recorder, agent, inputs / name, name, model)
        _campaign_file(recorder, agent, inputs)
    scenarios = campaign.load_vast(inputs / "campaign.vast")
    repairs = campaign.proposed_repairs(campaign.resolve(scenarios, maps))
    return campaign.resolve(scenarios, maps, repairs)


def _by_us() -> dict[str, str | int | float | bool]:
    return {"attributed_to": runner.CREATOR["iri"]}


def _floor_plan(
    recorder: Recorder, agent: Handle, place: Path, name: str, model: dict[str, object]
) -> Path:
    """Take a model in, make its graph, draw its map; each is a step of its own."""
    with recorder.activity("Acquisition", f"floor plan {name}", agent=agent) as step:
        write_atomic(place / f"{name}.model.json", _json(model))
        made = step.generated(
            place / f"{name}.model.json", kind="FloorPlanModel", role="source", attributes=_by_us()
        )
    with recorder.activity("FloorPlanTransformation", f"rooms of {name}", agent=agent) as step:
        step.used(made, role="source")
        graph = floorplans.layout(model)
        write_atomic(place / f"{name}.graph.json", _json(graph))
        laid = step.generated(
            place / f"{name}.graph.json", kind="FloorPlanGraph", derived_from=[made]
        )
    with recorder.activity("FloorPlanGeneration", f"map of {name}", agent=agent) as step:
        step.used(laid, role="source")
        file = floorplans.drawn(graph).grid.write(place, name)
        step.generated(
            file.with_suffix(".pgm"), kind="OccupancyGrid", role="map", derived_from=[laid]
        )
        step.generated(file, kind="MapMetadata", role="map", derived_from=[laid])
    return file


def _campaign_file(recorder: Recorder, agent: Handle, inputs: Path) -> None:
    with recorder.activity("Acquisition", "abstract scenario", agent=agent) as step:
        write_atomic(inputs / "navigate.osc", ABSTRACT)
        abstract = step.generated(
            inputs / "navigate.osc", kind="AbstractScenario", role="source", attributes=_by_us()
        )
    named = file_iri(recorder.base, abstract.path.removeprefix("./"), abstract.sha256)
    with recorder.activity("Acquisition", "campaign file", agent=agent) as step:
        step.used(abstract, role="source")
        text = campaign.dump_vast(declared(), "navigate.osc")
        write_atomic(inputs / "campaign.vast", text)
        step.generated(
            inputs / "campaign.vast",
            kind="VastConfiguration",
            role="source",
            attributes=_by_us() | {"references": named},
        )


def run(
    folder: Path,
    *,
    names: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    config: SimConfig | None = None,
    jobs: int = 2,
) -> pd.DataFrame:
    """Draft and run the embedded campaign.

    Parameters
    ----------
    folder : Path
        Empty or not there yet.
    names : sequence of str, optional
        Only these scenarios.
    seeds, config, jobs
        As for `runner.run_campaign`.

    Returns
    -------
    DataFrame
        As of `runner.run_campaign`.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    unknown = sorted(set(names or ()) - {one.name for one in declared()})
    if unknown:
        raise ValueError(f"no scenario {unknown[0]!r} in the embedded campaign")
    resolution = draft(folder)
    chosen = [one for one in resolution.scenarios if names is None or one.name in names]
    kept = {one.name for one in chosen}
    repairs = {
        repair: tuple(name for name in changed if name in kept)
        for repair, changed in resolution.repairs.items()
    }
    inputs = Path(folder) / "inputs"
    return runner.run_campaign(
        chosen,
        resolution.grids,
        Path(folder),
        seeds=seeds,
        config=config,
        jobs=jobs,
        campaign=NAME,
        sources={
            **{f"maps/{name}.yaml": inputs / name / f"{name}.yaml" for name in floorplans.MODELS},
            "navigate.osc": inputs / "navigate.osc",
            "campaign.vast": inputs / "campaign.vast",
        },
        repairs={repair: changed for repair, changed in repairs.items() if changed},
    )
