"""The embedded campaign from floor-plan model to table, recorded as it happens; it needs no data.

    model (JSON) -> graph of rooms and doors -> occupancy grid -> concrete scenario -> run -> table

It is the campaign of `lib.robot_provenance.study.floorplans` with two things planted that a careful
record must show: a scenario that names its map in the wrong case, which is repaired in the open,
and a "variation" that changes nothing but its name. Everything in it is simulated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib.core import check
from lib.core.paths import write_atomic
from lib.robot_provenance import campaign
from lib.robot_provenance.campaign import Resolution
from lib.robot_provenance.record import Agent, Recorder
from lib.robot_provenance.study import floorplans, runner

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

ABSTRACT = Path(__file__).with_name("navigate.osc")
"""The scenario before its parameters are set: drive from the start to each goal in turn."""
ABOUT = {"title": "Simulated navigation on generated floor plans"} | runner.ABOUT
_BY_US = {"attributed_to": runner.CREATOR["iri"]}


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
    inputs, maps = Path(folder) / "inputs", {}
    with Recorder(folder, campaign=NAME, about=ABOUT) as recorder:
        who = runner.CREATOR
        us = recorder.agent(who["name"], kind="Organization", iri=who["iri"])
        version = runner.software()[runner.OURS]
        agent = recorder.agent(runner.OURS, version=version, acts_for=us)
        for name, model in floorplans.MODELS.items():
            maps[f"maps/{name}.yaml"] = _floor_plan(recorder, agent, inputs / name, name, model)
        told = dict(_BY_US)
        for source, name in ((ABSTRACT, "navigate.osc"), (floorplans.VAST, "campaign.vast")):
            with recorder.activity("Acquisition", name, agent=agent) as step:
                file = write_atomic(inputs / name, source.read_bytes())
                kind = runner.kind_of(file)
                made = step.generated(file, kind=kind, role="source", attributes=told)
                told = _BY_US | {"references": made.id}
    scenarios = campaign.load_vast(inputs / "campaign.vast")
    repairs = campaign.proposed_repairs(campaign.resolve(scenarios, maps))
    return campaign.resolve(scenarios, maps, repairs)


def _floor_plan(
    recorder: Recorder, agent: Agent, place: Path, name: str, model: dict[str, object]
) -> Path:
    """Take a model in, make its graph, draw its map; each is a step of its own."""
    with recorder.activity("Acquisition", f"floor plan {name}", agent=agent) as step:
        file = write_atomic(place / f"{name}.model.json", _json(model))
        made = step.generated(file, kind="FloorPlanModel", role="source", attributes=_BY_US)
    with recorder.activity("FloorPlanTransformation", f"rooms of {name}", agent=agent) as step:
        step.used(made, role="source")
        graph = floorplans.layout(model)
        file = write_atomic(place / f"{name}.graph.json", _json(graph))
        laid = step.generated(file, kind="FloorPlanGraph", derived_from=[made])
    with recorder.activity("FloorPlanGeneration", f"map of {name}", agent=agent) as step:
        step.used(laid, role="source")
        file = floorplans.drawn(graph).write(place, name)
        step.generated(
            file.with_suffix(".pgm"), kind="OccupancyGrid", role="map", derived_from=[laid]
        )
        step.generated(file, kind="MapMetadata", role="map", derived_from=[laid])
    return file


def run(folder: Path, *, names: Sequence[str] | None = None, **told: Any) -> pd.DataFrame:
    """Draft and run the embedded campaign.

    Parameters
    ----------
    folder : Path
        Empty or not there yet.
    names : sequence of str, optional
        Only these scenarios.
    **told
        ``seeds`` and ``jobs`` of `runner.run_campaign`.

    Returns
    -------
    DataFrame
        As of `runner.run_campaign`.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    resolution = draft(folder)
    for name in names or ():
        check.known("name", name, [one.name for one in resolution.scenarios])
    chosen = [one for one in resolution.scenarios if names is None or one.name in names]
    inputs, kept = Path(folder) / "inputs", {one.name for one in chosen}
    repairs = {one: kept.intersection(changed) for one, changed in resolution.repairs.items()}
    sources = {f"maps/{name}.yaml": inputs / name / f"{name}.yaml" for name in floorplans.MODELS}
    sources |= {file: inputs / file for file in ("navigate.osc", "campaign.vast")}
    return runner.run_campaign(
        chosen,
        resolution.grids,
        Path(folder),
        campaign=NAME,
        about=ABOUT,
        sources=sources,
        repairs={one: sorted(changed) for one, changed in repairs.items() if changed},
        **told,
    )
