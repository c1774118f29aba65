"""The thesis as an experiment: the same campaign, captured in different ways.

The paper argues that provenance must be recorded in the process that makes the data, not added to
the finished data set. So one finished campaign is told three times.

- *Tables only*: what the table of runs says, which is what most data sets publish.
- *Scan afterwards*: somebody walks through the folder when all is over, hashes every file and reads
  every JSON file. The scan is generous: it knows the layout, and it follows every reference that a
  file's content makes. It cannot know what no file says: who acted and when, in which order, what
  came from what, and what was repaired.
- *Integrated*: the records made while it happened, with activities by file, by run, or by campaign.

Each telling is a `Records`, so that the same exports, questions and checks apply to all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lib.robot_provenance import export
from lib.robot_provenance.questions import QUESTIONS, answer
from lib.robot_provenance.record import (
    LOG,
    Activity,
    Entity,
    Generation,
    Quantity,
    Records,
    Usage,
    coarsen,
    digest_file,
    digest_folder,
)
from lib.robot_provenance.study.oracle import Truth, lineage, truth
from lib.robot_provenance.vocabulary import base_iri, file_iri, place_iri

__all__ = [
    "Score",
    "by_activity",
    "cloned",
    "designs",
    "pairs",
    "questions_table",
    "scan",
    "score",
    "shuffled",
    "tables",
]

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


@dataclass(frozen=True)
class Score:
    """How much of the truth a telling holds.

    Attributes
    ----------
    answered : int
        Questions answered exactly, of `asked`.
    asked : int
    precision, recall : float
        Of the pairs (file, what it was made from); NaN precision where none is told.
    rows : int
        Triples.
    """

    answered: int
    asked: int
    precision: float
    recall: float
    rows: int


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


def cloned(records: Records, n_runs: int) -> Records:
    """Return records of a campaign of `n_runs` runs, each a clone of the first run's records.

    Only for questions about the record itself: nothing was run.

    Parameters
    ----------
    records : Records
        With at least one run.
    n_runs : int
        At least one.
    """
    template = records.runs()[0]
    mark = f"runs/{template}/"

    def shared(text: str) -> bool:
        return mark not in text

    activities = {k: v for k, v in records.activities.items() if not v.run}
    entities = {k: v for k, v in records.entities.items() if not _in_runs(k)}
    keep = activities.keys()
    usages = [u for u in records.usages if u.activity in keep and not _in_runs(u.entity)]
    generations = [g for g in records.generations if g.activity in keep]
    associations = [a for a in records.associations if a.activity in keep]
    for i in range(n_runs):
        own = f"runs/{template}-{i}/"

        def to(text: str, own: str = own) -> str:
            return text.replace(mark, own)

        entities |= {
            to(k): replace(
                v, id=to(k), path=to(v.path), location=to(v.location),
                members=tuple(map(to, v.members)),
            )
            for k, v in records.entities.items()
            if not shared(k)
        }  # fmt: skip
        activities |= {
            to(k): replace(v, id=to(k), run=f"{template}-{i}")
            for k, v in records.activities.items()
            if v.run == template
        }
        usages += [
            replace(u, activity=to(u.activity), entity=to(u.entity))
            for u in records.usages
            if not shared(u.activity)
        ]
        generations += [
            replace(g, activity=to(g.activity), entity=to(g.entity))
            for g in records.generations
            if not shared(g.activity)
        ]
        associations += [
            replace(a, activity=to(a.activity), plan=to(a.plan))
            for a in records.associations
            if not shared(a.activity)
        ]
    return replace(
        records,
        entities=entities,
        activities=activities,
        usages=tuple(usages),
        generations=tuple(generations),
        associations=tuple(associations),
        derivations=(),
        communications=(),
        quantities=(),
    )


def _in_runs(text: str) -> bool:
    return "runs/" in text


def shuffled(records: Records, seed: int) -> Records:
    """Return records whose links all lead to random things: a broken recorder, for the control.

    Entities, activities and their plain values stay as they are; what was used, generated, a
    member, associated, attributed or referred to is exchanged at random; derivations are dropped.
    """
    rng = np.random.default_rng(seed)

    def mixed(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in rng.permutation(len(values))]

    entities = records.entities
    members = mixed([one.members for one in entities.values()])
    links = mixed([_links(one) for one in entities.values()])
    return replace(
        records,
        entities={
            name: replace(
                one,
                members=members[i],
                attributes={k: v for k, v in one.attributes.items() if k not in _LINKS} | links[i],
            )
            for i, (name, one) in enumerate(entities.items())
        },
        usages=tuple(
            replace(one, entity=entity)
            for one, entity in zip(
                records.usages, mixed([u.entity for u in records.usages]), strict=True
            )
        ),
        generations=tuple(
            replace(one, entity=entity)
            for one, entity in zip(
                records.generations, mixed([g.entity for g in records.generations]), strict=True
            )
        ),
        associations=tuple(
            replace(one, activity=activity)
            for one, activity in zip(
                records.associations, mixed([a.activity for a in records.associations]), strict=True
            )
        ),
        derivations=(),
    )


_LINKS = ("references", "attributed_to")


def _links(entity: Entity) -> dict[str, Any]:
    return {k: v for k, v in entity.attributes.items() if k in _LINKS}


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


def score(records: Records, campaign: Truth) -> Score:
    """Ask all questions of a telling, and compare its lineage with the truth.

    Parameters
    ----------
    records : Records
    campaign : Truth
        From `oracle.read`.
    """
    table = questions_table({"": records}, campaign)
    right = lineage(campaign)
    known = {path for pair in right for path in pair}
    told = pairs(records, known)
    hits = len(told & right)
    return Score(
        int(table[""].sum()),
        len(table),
        hits / len(told) if told else float("nan"),
        hits / len(right),
        len(set(export.statements(records))),
    )


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
