"""One campaign, told in different ways: the thesis as an experiment.

The paper argues that provenance must be recorded in the process that makes the data, not added to
the finished data set. So one finished campaign is told in four ways.

- *Tables only*: what the table of runs says, which is what most data sets publish.
- *Scan afterwards*: somebody walks through the folder when all is over, hashes every file and reads
  every JSON file. The scan is generous: it knows the layout, and it follows every reference that a
  file's content makes. It cannot know what no file says: who acted and when, in which order, what
  came from what, and what was repaired.
- *Integrated*: the records made while it happened, with an activity for each step, or for each kind
  of step in a whole campaign: two ways.

Each telling is a `Records`, so that the same exports, questions and checks apply to all of them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lib.robot_provenance import export
from lib.robot_provenance.audit import run_of
from lib.robot_provenance.questions import QUESTIONS, answer
from lib.robot_provenance.record import (
    LINKS,
    LOG,
    Activity,
    Entity,
    Generation,
    Quantity,
    Records,
    Usage,
    digest_file,
    digest_folder,
)
from lib.robot_provenance.study.oracle import Truth, lineage, read, truth
from lib.robot_provenance.study.runner import kind_of
from lib.robot_provenance.vocabulary import base_iri, file_iri, place_iri


def _execution(campaign: str, run: str, seed: int, outcome: str) -> Activity:
    told: dict[str, Any] = {"seed": seed, "outcome": outcome, "success": outcome == "success"}
    name = f"{base_iri(campaign)}.prov/{run}/TestExecution"
    return Activity(name, "TestExecution", f"run {run}", run, attributes=told)


def tables(folder: Path, campaign: str) -> Records:
    """Tell a campaign from its table of runs alone.

    Parameters
    ----------
    folder : Path
        With ``metrics.csv``.
    campaign : str
        Name.
    """
    table = pd.read_csv(Path(folder) / "metrics.csv").to_dict("records")
    runs = [_execution(campaign, str(r["run"]), int(r["seed"]), str(r["outcome"])) for r in table]
    return Records(campaign, {}, {}, {}, {one.id: one for one in runs}, (), (), (), (), (), ())


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
    folder, by_path = Path(folder), {}

    def keep(path: str, kind: str, sha256: str, **more: Any) -> str:
        place, name = place_iri(campaign, path), file_iri(campaign, path, sha256)
        by_path[path] = Entity(name, kind, Path(path).name, path, place, sha256, **more)
        return name

    for file in sorted(folder.rglob("*")):
        inner = file.relative_to(folder)
        if file.is_file() and file.name != LOG and not any(p.startswith(".") for p in inner.parts):
            size = file.stat().st_size
            keep(inner.as_posix(), kind_of(file), digest_file(file), bytes=size)

    def add(path: str, **attributes: Any) -> str:
        by_path[path] = replace(by_path[path], attributes=attributes)
        return by_path[path].id

    for path in [one for one in by_path if one.endswith(".vast")]:
        named = yaml.safe_load((folder / path).read_text(encoding="utf-8")).get("scenario_file")
        abstract = (Path(path).parent / (named or "")).as_posix()
        if abstract in by_path:
            add(path, references=by_path[abstract].id)
    activities: dict[str, Activity] = {}
    usages, generations, quantities = [], [], []
    for run in read(folder).runs:
        entry, own = run.entry, run.path("")
        one = _execution(campaign, run.name, entry["seed"], run.result["outcome"])
        activities[one.id] = one
        told = {"scenario": entry["name"], "scenario_digest": entry["digest"]}
        scenario = add(own + "scenario.json", **told)
        quantities.append(Quantity(scenario, "noise_std", entry["content"]["noise_std"], "m"))
        if (length := run.result["metrics"]["path_length_m"]) is not None:
            quantities.append(Quantity(by_path[own + "result.json"].id, "path_length", length, "m"))
        inside = {p: e for p, e in by_path.items() if p.startswith(own + "bag/")}
        whole = digest_folder({p.removeprefix(own + "bag/"): e.sha256 for p, e in inside.items()})
        keep(own + "bag", "RosBag", whole, members=tuple(e.id for e in inside.values()))
        used = (own + "scenario.json", run.yaml, run.pgm, "campaign.json")
        usages += [Usage(one.id, by_path[path].id) for path in used]
        for path, made in by_path.items():
            if path.startswith(own) and made.id != scenario:
                moment = datetime.fromtimestamp((folder / path).stat().st_mtime, UTC)
                generations.append(Generation(made.id, one.id, time=moment))
    entities = {one.id: one for one in by_path.values()}
    rows = (tuple(usages), tuple(generations), (), (), (), tuple(quantities))
    return Records(campaign, {}, {}, entities, activities, *rows)


def designs(folder: Path, records: Records) -> dict[str, Records]:
    """Return the tellings that are compared, from the poorest to the richest.

    Parameters
    ----------
    folder : Path
        A finished campaign.
    records : Records
        Its logs, an activity for each step.
    """
    return {
        "tables only": tables(folder, records.campaign),
        "scan afterwards": scan(folder, records.campaign),
        "integrated, by campaign": coarsen(records),
        "integrated, by file": records,
    }


def only(records: Records, runs: Iterable[str]) -> Records:
    """Return what the records say of some runs, and of what belongs to no run.

    Raises
    ------
    ValueError
        If nothing is recorded of one of them.
    """
    wanted = {"", *runs}
    unknown = sorted(wanted - {"", *records.runs()})
    if unknown:
        raise ValueError(f"run {unknown[0]!r} is not recorded")
    gone = {k for k, a in records.activities.items() if a.run not in wanted}
    gone |= {k for k, e in records.entities.items() if run_of(e.path) not in wanted}
    gone |= {made.entity for made in records.generations if made.activity in gone}
    return records.without(gone)


def shuffled(records: Records, seed: int) -> Records:
    """Return records whose links all lead to random things: a broken recorder, for the control.

    Entities, activities and their plain values stay as they are; what was used, generated, a
    member, associated, attributed or referred to is exchanged at random; derivations are dropped.
    """
    rng = np.random.default_rng(seed)

    def dealt(rows: Iterable[Any], name: str) -> tuple[Any, ...]:
        """Exchange one field among rows."""
        rows = list(rows)
        order = rng.permutation(len(rows))
        return tuple(
            replace(one, **{name: getattr(rows[i], name)})
            for one, i in zip(rows, order, strict=True)
        )

    entities = dealt(records.entities.values(), "members")
    mixed = dealt(entities, "attributes")
    for i, (mine, theirs) in enumerate(zip(entities, mixed, strict=True)):
        plain = {k: v for k, v in mine.attributes.items() if k not in LINKS}
        links = {k: v for k, v in theirs.attributes.items() if k in LINKS}
        entities = (*entities[:i], replace(mine, attributes=plain | links), *entities[i + 1 :])
    return replace(
        records,
        entities={one.id: one for one in entities},
        usages=dealt(records.usages, "entity"),
        generations=dealt(records.generations, "entity"),
        associations=dealt(records.associations, "activity"),
        derivations=(),
    )


def by_activity(records: Records) -> set[tuple[str, str]]:
    """Return the pairs (file, source) that activities tell: made by what used the source."""
    paths = {name: one.path for name, one in records.entities.items() if one.path}
    used: defaultdict[str, set[str]] = defaultdict(set)
    for usage in records.usages:
        used[usage.activity] |= {paths[usage.entity]} if usage.entity in paths else set()
    return {
        (paths[made.entity], source)
        for made in records.generations
        if made.entity in paths
        for source in used[made.activity]
    }


def derived(records: Records) -> set[tuple[str, str]]:
    """Return the pairs (file, source) that derivations tell."""
    paths = {name: one.path for name, one in records.entities.items() if one.path}
    ends = [(paths.get(one.entity), paths.get(one.source)) for one in records.derivations]
    return {(made, source) for made, source in ends if made and source}


def lineage_score(records: Records, campaign: Truth) -> tuple[float, float]:
    """Return precision and recall of the pairs (file, what it was made from) that a telling tells.

    Precision is NaN where none is told; `campaign` is of `oracle.read`.
    """
    right = lineage(campaign)
    known = {path for pair in right for path in pair}
    told = {pair for pair in by_activity(records) | derived(records) if known.issuperset(pair)}
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
    right, found = truth(campaign), {}
    for name, records in tellings.items():
        store = export.to_store(records)
        found[name] = {
            one.id: bool(right[one.id]) and answer(store, one) == right[one.id] for one in QUESTIONS
        }
    return pd.DataFrame(found)


def coarsen(records: Records) -> Records:
    """Tell the same story with one activity for all steps of a kind.

    This is how the authors' writer records post-processing. Entities, agents and derivations are
    the same; times span those of the merged activities, whose own values are lost, and a merged
    activity has failed if one of them has. What is made and used inside is not used.
    """
    merged: defaultdict[str, list[Activity]] = defaultdict(list)
    for one in records.activities.values():
        merged[f"{records.base}.prov/all-{one.kind}"].append(one)
    activities = {}
    for name, group in merged.items():
        states = {one.status for one in group}
        status = next(one for one in ("failed", "interrupted", "completed") if one in states)
        activities[name] = Activity(
            name,
            group[0].kind,
            f"{group[0].kind}, all",
            start=min((one.start for one in group if one.start), default=None),
            end=max(
                (one.end for one in group if one.end and status != "interrupted"), default=None
            ),
            status=status,
            error="; ".join(one.error for one in group if one.error),
        )
    into = {one.id: name for name, group in merged.items() for one in group}
    plain = tuple(one for one in records.quantities if one.subject not in into)
    told = replace(records, activities=activities, quantities=plain).renamed(into)
    inside = {(one.activity, one.entity) for one in told.generations}
    return replace(
        told,
        usages=tuple(one for one in told.usages if (one.activity, one.entity) not in inside),
        communications=tuple(one for one in told.communications if one.informed != one.informant),
    )
