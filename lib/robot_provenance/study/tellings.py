"""One campaign, told in different ways: the thesis as an experiment.

The paper argues that provenance must be recorded in the process that makes the data, not added to
the finished data set. So one finished campaign is told three times.

- *Tables only*: what the table of runs says, which is what most data sets publish.
- *Scan afterwards*: somebody walks through the folder when all is over, hashes every file and reads
  every JSON file. The scan is generous: it knows the layout, and it follows every reference that a
  file's content makes. It cannot know what no file says: who acted and when, in which order, what
  came from what, and what was repaired.
- *Integrated*: the records made while it happened, with activities by file, by run, or by campaign.

Each telling is a `Records`, so that the same exports, questions and checks apply to all of them.
`histories` goes further: pairs of histories that leave the same files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import pandas as pd
import yaml

from lib.robot_provenance import export
from lib.robot_provenance.audit import run_of
from lib.robot_provenance.questions import QUESTIONS, answer
from lib.robot_provenance.record import (
    LOG,
    Activity,
    Communication,
    Entity,
    Generation,
    Quantity,
    Recorder,
    Records,
    Usage,
    digest_file,
    digest_folder,
    load,
)
from lib.robot_provenance.study.oracle import Truth, lineage, truth
from lib.robot_provenance.vocabulary import base_iri, file_iri, place_iri

Granularity = Literal["campaign", "run", "file"]
T = TypeVar("T")

# What a scan takes a file for, by its name or suffix.
_NAMES = {
    "campaign.json": "CampaignMetadata",
    "metrics.csv": "Metrics",
    "scenario.json": "ConcreteScenario",
    "result.json": "TestResult",
    "log.txt": "LogFile",
    "trace.csv": "Traces",
    "bag.mcap": "MCAPFile",
    "metadata.yaml": "BagFileMetadata",
    "workflow.py": "Workflow",
}
_SUFFIXES = {
    ".model.json": "FloorPlanModel",
    ".graph.json": "FloorPlanGraph",
    ".vast": "VastConfiguration",
    ".osc": "AbstractScenario",
    ".pgm": "OccupancyGrid",
    ".yaml": "MapMetadata",
    ".nt": "CampaignGraph",
    ".jsonld": "CampaignGraph",
    ".provn": "CampaignGraph",
}


def tables(folder: Path, campaign: str) -> Records:
    """Tell a campaign from its table of runs alone.

    Parameters
    ----------
    folder : Path
        With ``metrics.csv``.
    campaign : str
        Name.
    """
    table = pd.read_csv(Path(folder) / "metrics.csv")
    activities = {}
    for row in table.to_dict("records"):
        run, outcome = str(row["run"]), str(row["outcome"])
        name = f"{base_iri(campaign)}.prov/{run}/row-TestExecution"
        activities[name] = Activity(
            name,
            "TestExecution",
            f"run {run}",
            run,
            attributes={
                "seed": int(row["seed"]),
                "outcome": outcome,
                "success": outcome == "success",
            },
        )
    return Records(campaign, {}, {}, {}, activities, (), (), (), (), (), ())


def _kind(path: Path) -> str:
    if path.name in _NAMES:
        return _NAMES[path.name]
    return next((kind for end, kind in _SUFFIXES.items() if path.name.endswith(end)), "File")


def _entity(campaign: str, root: Path, file: Path, **attributes: Any) -> Entity:
    path, sha256 = file.relative_to(root).as_posix(), digest_file(file)
    return Entity(
        file_iri(campaign, path, sha256),
        _kind(file),
        file.name,
        path,
        place_iri(campaign, path),
        sha256,
        file.stat().st_size,
        attributes,
    )


def scan(folder: Path, campaign: str) -> Records:
    """Tell a finished campaign from its files, without having been there.

    Parameters
    ----------
    folder : Path
    campaign : str
        Name.

    Returns
    -------
    Records
        Every file with its digest; a run's folder taken for a test execution that used its scenario
        and the map that the scenario names, and generated the other files. No agents, no times but
        those of the file system, no derivations.
    """
    folder = Path(folder)
    plan = json.loads((folder / "campaign.json").read_text(encoding="utf-8"))
    entities: dict[str, Entity] = {}
    by_path: dict[str, Entity] = {}

    def keep(entity: Entity) -> Entity:
        entities[entity.id] = entity
        by_path[entity.path] = entity
        return entity

    references = _abstract(folder)
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and not hidden and file.name != LOG:
            keep(_entity(campaign, folder, file))
    for path, target in references.items():
        if path in by_path and target in by_path:
            keep(replace(by_path[path], attributes={"references": by_path[target].id}))
    activities: dict[str, Activity] = {}
    usages: list[Usage] = []
    generations: list[Generation] = []
    quantities: list[Quantity] = []
    for place in sorted((folder / "runs").glob("[!.]*")):
        entry = json.loads((place / "scenario.json").read_text(encoding="utf-8"))
        result = json.loads((place / "result.json").read_text(encoding="utf-8"))
        name = f"{base_iri(campaign)}.prov/{place.name}/scan-TestExecution"
        activities[name] = Activity(
            name,
            "TestExecution",
            f"run {place.name}",
            place.name,
            attributes={
                "seed": entry["seed"],
                "outcome": result["outcome"],
                "success": result["outcome"] == "success",
            },
        )
        own = f"runs/{place.name}/"
        scenario = keep(
            replace(
                by_path[own + "scenario.json"],
                attributes={"scenario": entry["name"], "scenario_digest": entry["digest"]},
            )
        )
        noise, length = entry["content"]["noise_std"], result["metrics"]["path_length_m"]
        quantities.append(Quantity(scenario.id, "noise_std", noise, "m"))
        if length is not None:
            told = by_path[own + "result.json"]
            quantities.append(Quantity(told.id, "path_length", length, "m"))
        members = {path: one for path, one in by_path.items() if path.startswith(own + "bag/")}
        sums = {path.removeprefix(own + "bag/"): one.sha256 for path, one in members.items()}
        whole = digest_folder(sums)
        keep(
            Entity(
                file_iri(campaign, own + "bag", whole),
                "RosBag",
                "bag",
                own + "bag",
                place_iri(campaign, own + "bag"),
                whole,
                members=tuple(one.id for one in members.values()),
            )
        )
        map_yaml = plan["maps"][entry["map"]]
        text = (folder / map_yaml).read_text(encoding="utf-8")
        image = (Path(map_yaml).parent / yaml.safe_load(text)["image"]).as_posix()
        for path in (scenario.path, map_yaml, image, "campaign.json"):
            usages.append(Usage(name, by_path[path].id))
        for path, one in by_path.items():
            if path.startswith(own) and path != scenario.path:
                moment = datetime.fromtimestamp((folder / path).stat().st_mtime, UTC)
                generations.append(Generation(one.id, name, time=moment))
    return Records(
        campaign,
        {},
        {},
        entities,
        activities,
        tuple(usages),
        tuple(generations),
        (),
        (),
        (),
        tuple(quantities),
    )


def _abstract(folder: Path) -> dict[str, str]:
    """Return the abstract scenario that each campaign file names, by path."""
    found = {}
    for file in sorted(folder.rglob("*.vast")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        named = content.get("scenario_file")
        if named:
            path = file.relative_to(folder)
            found[path.as_posix()] = (path.parent / named).as_posix()
    return found


def designs(folder: Path, records: Records) -> dict[str, Records]:
    """Return the tellings that are compared, from the poorest to the richest.

    Parameters
    ----------
    folder : Path
        A finished campaign.
    records : Records
        Its logs, at file granularity.
    """
    return {
        "tables only": tables(folder, records.campaign),
        "scan afterwards": scan(folder, records.campaign),
        "integrated, by campaign": coarsen(records, "campaign"),
        "integrated, by run": coarsen(records, "run"),
        "integrated, by file": records,
    }


def only(records: Records, runs: Iterable[str]) -> Records:
    """Return what the records say of some runs, and of what belongs to no run.

    Raises
    ------
    ValueError
        If nothing is recorded of one of them.
    """
    wanted = set(runs)
    unknown = sorted(wanted - set(records.runs()))
    if unknown:
        raise ValueError(f"run {unknown[0]!r} is not recorded")
    gone = {k for k, a in records.activities.items() if a.run and a.run not in wanted}
    gone |= {k for k, e in records.entities.items() if run_of(e.path) not in {"", *wanted}}
    gone |= {made.entity for made in records.generations if made.activity in gone}

    def kept(rows: Iterable[T], *fields: str) -> tuple[T, ...]:
        return tuple(one for one in rows if not gone & {getattr(one, f) for f in fields})

    return replace(
        records,
        activities={k: a for k, a in records.activities.items() if k not in gone},
        entities={k: e for k, e in records.entities.items() if k not in gone},
        usages=kept(records.usages, "activity", "entity"),
        generations=kept(records.generations, "activity", "entity"),
        derivations=kept(records.derivations, "entity", "source", "activity"),
        associations=kept(records.associations, "activity"),
        communications=kept(records.communications, "informed", "informant"),
        quantities=kept(records.quantities, "subject"),
    )


def shuffled(records: Records, seed: int) -> Records:
    """Return records whose links all lead to random things: a broken recorder, for the control.

    Entities, activities and their plain values stay as they are; what was used, generated, a
    member, associated, attributed or referred to is exchanged at random; derivations are dropped.
    """
    rng = np.random.default_rng(seed)

    def mixed(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in rng.permutation(len(values))]

    def dealt(rows: Sequence[T], name: str) -> tuple[T, ...]:
        """Exchange one field among rows."""
        values = mixed([getattr(one, name) for one in rows])
        return tuple(
            replace(one, **{name: value})  # type: ignore[type-var]
            for one, value in zip(rows, values, strict=True)
        )

    entities = dealt(list(records.entities.values()), "members")
    plain = [{k: v for k, v in e.attributes.items() if k not in _LINKS} for e in entities]
    links = mixed([{k: v for k, v in e.attributes.items() if k in _LINKS} for e in entities])
    return replace(
        records,
        entities={
            one.id: replace(one, attributes=mine | theirs)
            for one, mine, theirs in zip(entities, plain, links, strict=True)
        },
        usages=dealt(records.usages, "entity"),
        generations=dealt(records.generations, "entity"),
        associations=dealt(records.associations, "activity"),
        derivations=(),
    )


_LINKS = ("references", "attributed_to")


def by_activity(records: Records) -> set[tuple[str, str]]:
    """Return the pairs (file, source) that activities tell: made by what used the source."""
    paths = {name: one.path for name, one in records.entities.items() if one.path}
    used: dict[str, set[str]] = {}
    for usage in records.usages:
        if usage.entity in paths:
            used.setdefault(usage.activity, set()).add(paths[usage.entity])
    return {
        (paths[made.entity], source)
        for made in records.generations
        if made.entity in paths
        for source in used.get(made.activity, ())
    }


def pairs(records: Records, known: set[str]) -> set[tuple[str, str]]:
    """Return the pairs (file, source) among known files that activities or derivations tell."""
    paths = {name: one.path for name, one in records.entities.items() if one.path}
    derived = {
        (paths[one.entity], paths[one.source])
        for one in records.derivations
        if one.entity in paths and one.source in paths
    }
    return {
        (made, source)
        for made, source in by_activity(records) | derived
        if made in known and source in known
    }


def lineage_score(records: Records, campaign: Truth) -> tuple[float, float]:
    """Return precision and recall of the pairs (file, what it was made from) that a telling tells.

    Precision is NaN where none is told; `campaign` is of `oracle.read`.
    """
    right = lineage(campaign)
    told = pairs(records, {path for pair in right for path in pair})
    hits = len(told & right)
    return hits / len(told) if told else math.nan, hits / len(right)


def questions_table(tellings: Mapping[str, Records], campaign: Truth) -> pd.DataFrame:
    """Return which telling answers which question exactly.

    A question whose right answer is empty counts as unanswered: an empty graph gives an empty
    answer to everything.

    Returns
    -------
    DataFrame of bool
        Index: question identifiers; columns: tellings.
    """
    right = truth(campaign)
    found = {}
    for name, records in tellings.items():
        store = export.to_store(records)
        found[name] = [
            bool(right[one.id]) and answer(store, one) == right[one.id] for one in QUESTIONS
        ]
    return pd.DataFrame(found, index=[one.id for one in QUESTIONS])


# --- coarser granularity -------------------------------------------------------------------------


def coarsen(records: Records, granularity: Granularity, *, derivations: bool = True) -> Records:
    """Tell the same story with fewer activities.

    Parameters
    ----------
    records : Records
        At file granularity, as recorded: one activity a step.
    granularity : {"campaign", "run", "file"}
        ``"run"``: all steps of a run are one activity, which uses what enters the run and generates
        what leaves or stays, as a job's wrapper script sees it; what is made and used inside is
        generated and not used. ``"campaign"``: all steps of one kind are one activity, as the
        authors' writer records post-processing. ``"file"``: unchanged.
    derivations : bool
        Whether the entities keep their ``wasDerivedFrom``, which a writer can record without fine
        activities.

    Returns
    -------
    Records
        Entities and agents are the same; times span those of the merged activities, and a merged
        activity has failed if one of them has.

    Raises
    ------
    ValueError
        If the granularity is unknown.
    """
    if granularity not in get_args(Granularity):
        names = ", ".join(get_args(Granularity))
        raise ValueError(f"granularity is {granularity!r}, expected one of {names}")
    kept = records.derivations if derivations else ()
    if granularity == "file":
        return replace(records, derivations=kept)
    into: dict[str, str] = {"": ""}
    merged: dict[str, list[Activity]] = {}
    for one in records.activities.values():
        name = f"{records.base}.prov/campaign/{one.kind}"
        if granularity == "run":
            name = f"{one.id.rpartition('/')[0]}/TestExecution" if one.run else one.id
        into[one.id] = name
        merged.setdefault(name, []).append(one)

    def moved(rows: Iterable[T], *fields: str) -> tuple[T, ...]:
        """Let rows speak of the merged activities, each once."""
        done = (
            replace(row, **{f: into.get(getattr(row, f), getattr(row, f)) for f in fields})  # type: ignore[type-var]
            for row in rows
        )
        return tuple(dict.fromkeys(done))

    generations = moved(records.generations, "activity")
    inside = {(one.activity, one.entity) for one in generations}
    usages = moved(records.usages, "activity")
    told: tuple[Communication, ...] = moved(records.communications, "informed", "informant")
    quantities = records.quantities
    if granularity == "campaign":
        quantities = tuple(one for one in quantities if one.subject not in into)
    return replace(
        records,
        activities={name: _merge(name, group, granularity) for name, group in merged.items()},
        usages=tuple(one for one in usages if (one.activity, one.entity) not in inside),
        generations=generations,
        derivations=moved(kept, "activity"),
        associations=moved(records.associations, "activity"),
        communications=tuple(one for one in told if one.informed != one.informant),
        quantities=moved(quantities, "subject"),
    )


def _merge(name: str, group: list[Activity], granularity: Granularity) -> Activity:
    first, by_run = group[0], granularity == "run"
    if len(group) == 1 and first.id == name:
        return first
    states = {one.status for one in group}
    status = next(one for one in ("failed", "interrupted", "completed") if one in states)
    end = max((one.end for one in group if one.end), default=None)
    return replace(
        first,
        id=name,
        kind="TestExecution" if by_run else first.kind,
        label=f"run {first.run}" if by_run else f"{first.kind}, all",
        run=first.run if by_run else "",
        start=min((one.start for one in group if one.start), default=None),
        end=None if status == "interrupted" else end,
        status=status,
        error="; ".join(one.error for one in group if one.error),
        attributes={k: v for one in group for k, v in one.attributes.items()} if by_run else {},
    )


# --- the same files, another history -------------------------------------------------------------


def _play(
    folder: Path, source: int = 0, writer: int = 0, failures: int = 0, person: int = 0
) -> None:
    """Let two steps copy the number in a file; they ignore what stands behind it."""
    inputs = [folder / "a.txt", folder / "b.txt"]
    outputs = [folder / "y.txt", folder / "z.txt"]
    with Recorder(folder, campaign="history") as recorder:
        for letter, file in zip("ab", inputs, strict=True):
            file.write_text(f"7 {letter}", encoding="utf-8")
        who = recorder.agent(("Ada", "Bea")[person], kind="Person")
        for _ in range(failures):
            with suppress(OSError), recorder.activity("TestExecution", "first", agent=who):
                raise OSError("no display")
        for label, file in zip(("first", "second"), outputs[:: -1 if writer else 1], strict=True):
            with recorder.activity("TestExecution", label, agent=who) as step:
                step.used(inputs[source])
                number = inputs[source].read_text(encoding="utf-8").split()[0]
                file.write_text(number, encoding="utf-8")
                step.generated(file)


def _answers(folder: Path) -> dict[str, object]:
    """Return what the records of a history say to each of four questions."""
    records = load(folder)
    label = {name: one.label for name, one in records.activities.items()}
    path = {name: one.path for name, one in records.entities.items()}
    return {
        "which input": {path[one.entity] for one in records.usages},
        "which writer": {(path[one.entity], label[one.activity]) for one in records.generations},
        "failed attempts": sum(one.status == "failed" for one in records.activities.values()),
        "which person": {records.agents[one.agent].name for one in records.associations},
    }


def histories(place: Path) -> pd.DataFrame:
    """Play pairs of histories that leave the same files, and compare what is told of them.

    Parameters
    ----------
    place : Path
        An empty folder.

    Returns
    -------
    DataFrame of bool, shape (4, 3)
        A row for what differs between the two: ``which input``, ``which writer``, ``failed
        attempts``, ``which person``. Whether the files are the ``same files``, byte by byte, and
        whether a ``scan`` of them and the ``records`` tell the two apart.
    """
    rows = {}
    changes: list[dict[str, int]] = [{"source": 1}, {"writer": 1}, {"failures": 2}, {"person": 1}]
    names = ("which input", "which writer", "failed attempts", "which person")
    for name, change in zip(names, changes, strict=True):
        folders = [place / f"{name} {i}" for i in range(2)]
        _play(folders[0])
        _play(folders[1], **change)
        files = [
            {f.name: digest_file(f) for f in folder.iterdir() if f.name != LOG}
            for folder in folders
        ]
        told = [_answers(folder)[name] for folder in folders]
        rows[name] = {
            "same files": files[0] == files[1],
            # A scan is a function of the files alone.
            "scan": files[0] != files[1],
            "records": told[0] != told[1],
        }
    return pd.DataFrame.from_dict(rows, orient="index")
