"""Records against bytes, and bytes against a second run.

`audit` reads what the records say and looks whether the campaign's folder still agrees: digests,
places, identities of bags, verdicts told twice, clocks. It names the run. What it cannot see is a
forgery whose records were all rewritten to fit; for that there is `replay`, which executes a run
again from what was recorded and compares bytes.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lib.robot_provenance import bags, crate, navsim
from lib.robot_provenance.maps import load_grid
from lib.robot_provenance.navsim import SimConfig
from lib.robot_provenance.record import (
    LOG,
    Activity,
    Entity,
    Records,
    digest_file,
    digest_folder,
    load,
)
from lib.robot_provenance.runner import scenario_from
from lib.robot_provenance.vocabulary import place_iri

__all__ = ["Finding", "Replay", "ReplayError", "audit", "distinct", "replay", "run_of", "with_seed"]

UNRECORDED = {LOG, "Snakefile", "ro-crate-metadata.json"}
"""Files that no record speaks of, since they hold the records or are made from them."""

SLACK = timedelta(milliseconds=1)
"""Clocks are compared up to this."""


class ReplayError(ValueError):
    """A run whose record does not say enough to execute it again."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something that does not agree.

    Attributes
    ----------
    code : str
        missing, changed, swapped, stray, unrecorded, unreadable, verdict, table, duplicate,
        generated twice, dangling, interrupted, clock, config or crate.
    run : str
        Run that it is about; empty for the campaign.
    path : str
        File that it is about; may be empty.
    message : str
    """

    code: str
    run: str
    path: str
    message: str


@dataclass(frozen=True)
class Replay:
    """A run executed again.

    Attributes
    ----------
    run : str
    identical : bool
        Whether every file came out bit by bit.
    recorded, replayed : str
        Outcomes.
    differing : tuple of str
        Files whose digests differ.
    """

    run: str
    identical: bool
    recorded: str
    replayed: str
    differing: tuple[str, ...]


def run_of(path: str) -> str:
    """Return the run to which a path belongs, or an empty text.

    Examples
    --------
    >>> run_of("runs/a-s0/bag/bag.mcap"), run_of("metrics.csv")
    ('a-s0', '')
    """
    parts = path.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "runs" else ""


def _latest(records: Records) -> dict[str, Entity]:
    """Return the last entity recorded at each place."""
    return {one.path: one for one in records.entities.values() if one.path}


def _digest(place: Path) -> str:
    if place.is_dir():
        files = [one for one in sorted(place.rglob("*")) if one.is_file()]
        return digest_folder({f.relative_to(place).as_posix(): digest_file(f) for f in files})
    return digest_file(place)


def _object(file: Path) -> dict[str, Any] | None:
    """Return what a JSON file holds; None if that is no object, as after a truncation."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def audit(folder: Path, records: Records | None = None) -> list[Finding]:
    """Compare a campaign's folder with its records.

    Parameters
    ----------
    folder : Path
    records : Records, optional
        Those of the folder's logs by default.

    Returns
    -------
    list of Finding
        Sorted; empty if all agrees.

    Raises
    ------
    RecordError
        If the logs cannot be read.
    """
    folder = Path(folder)
    records = load(folder) if records is None else records
    found = [
        *_references(records),
        *_files(folder, records),
        *_identities(folder, records),
        *_verdicts(folder, records),
        *_clocks(records),
        *_crates(folder, records),
    ]
    return sorted(set(found))


def _references(records: Records) -> Iterator[Finding]:
    entities, activities = records.entities, records.activities

    def check(name: str, known: dict[str, Any], said: str, activity: str) -> Iterator[Finding]:
        if name not in known:
            run = activities[activity].run if activity in activities else ""
            yield Finding("dangling", run, "", f"{said} {name}, which nothing declares")

    for usage in records.usages:
        yield from check(usage.entity, entities, "used", usage.activity)
        yield from check(usage.activity, activities, "usage by", usage.activity)
    for made in records.generations:
        yield from check(made.entity, entities, "generated", made.activity)
        yield from check(made.activity, activities, "generation by", made.activity)
    for comes in records.derivations:
        yield from check(comes.source, entities, "derived from", comes.activity)
    for part in records.associations:
        yield from check(part.agent, records.agents, "associated with", part.activity)
        if part.plan:
            yield from check(part.plan, entities, "followed plan", part.activity)
    makers: defaultdict[str, set[str]] = defaultdict(set)
    for made in records.generations:
        makers[made.entity].add(made.activity)
    for entity, by in makers.items():
        if len(by) > 1 and entity in entities:
            path = entities[entity].path
            yield Finding("generated twice", run_of(path), path, f"by {len(by)} activities")
    for one in activities.values():
        if one.status == "interrupted":
            yield Finding("interrupted", one.run, "", f"{one.label}: no end was recorded")
    starts = Counter(one.run for one in activities.values() if one.kind == "TestExecution")
    for run, count in starts.items():
        if count > 1:
            yield Finding("duplicate", run, "", f"{count} executions of one run are recorded")


def _files(folder: Path, records: Records) -> Iterator[Finding]:
    latest = _latest(records)
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for path, entity in latest.items():
        owners[entity.sha256].append(path)
    for path, entity in latest.items():
        place = folder / path
        if not entity.sha256:
            continue
        if not place.exists():
            yield Finding("missing", run_of(path), path, "recorded, but not there")
            continue
        found = _digest(place)
        if found == entity.sha256:
            continue
        others = [one for one in owners.get(found, []) if one != path]
        if others:
            yield Finding("swapped", run_of(path), path, f"holds the bytes of {others[0]}")
        else:
            yield Finding(
                "changed", run_of(path), path, f"is {found[:16]}, was {entity.sha256[:16]}"
            )
    if not latest:
        return
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in Path(path).parts)
        if file.is_file() and not hidden and path not in latest and file.name not in UNRECORDED:
            yield Finding("unrecorded", run_of(path), path, "is there, but no record speaks of it")


def _identities(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield bags and results that say they belong elsewhere."""
    for path, entity in _latest(records).items():
        if entity.kind != "RosBag" or not (folder / path / "metadata.yaml").is_file():
            continue
        run = run_of(path)
        try:
            text = (folder / path / "metadata.yaml").read_text(encoding="utf-8")
            noted = yaml.safe_load(text)["rosbag2_bagfile_information"].get("custom_data") or {}
            claimed = noted.get("run")
        except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError):
            yield Finding("unreadable", run, f"{path}/metadata.yaml", "is no metadata of a bag")
            continue
        if claimed != place_iri(records.campaign, f"runs/{run}"):
            yield Finding("stray", run, path, f"says that it is of {claimed}")
    for place in sorted((folder / "runs").glob("[!.]*/scenario.json")):
        run, result = place.parent.name, place.with_name("result.json")
        if not result.is_file():
            continue
        entry, told = _object(place), _object(result)
        for file, content in ((place, entry), (result, told)):
            if content is None:
                path = file.relative_to(folder).as_posix()
                yield Finding("unreadable", run, path, "is no JSON object")
        if entry is None or told is None:
            continue
        if told.get("run") != run:
            yield Finding("duplicate", run, "", f"its result is that of run {told.get('run')}")
        planned, seed = entry.get("seed"), told.get("seed")
        if seed != planned:
            yield Finding("config", run, "", f"seed {planned} planned, {seed} run")


def _verdicts(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield verdicts that result, record and table tell differently."""
    told: dict[str, str] = {}
    for one in records.activities.values():
        if "outcome" in one.attributes and one.run:
            told[one.run] = str(one.attributes["outcome"])
    results = {}
    for run in told:
        file = folder / "runs" / run / "result.json"
        result = _object(file) if file.is_file() else None
        if result is not None:
            results[run] = str(result.get("outcome"))
    for run, outcome in results.items():
        if outcome != told[run]:
            yield Finding(
                "verdict",
                run,
                f"runs/{run}/result.json",
                f"says {outcome}, the record says {told[run]}",
            )
    table = folder / "metrics.csv"
    if table.is_file() and told:
        try:
            rows = pd.read_csv(table)[["run", "outcome"]].astype(str)
        except (ValueError, KeyError):
            yield Finding("unreadable", "", "metrics.csv", "is no table of runs and outcomes")
            return
        for run, outcome in rows.itertuples(index=False):
            if run in told and outcome != told[run]:
                text = f"says {outcome}, the record says {told[run]}"
                yield Finding("table", run, "metrics.csv", text)
        for run, count in Counter(rows["run"]).items():
            if count > 1:
                yield Finding("duplicate", run, "metrics.csv", f"is in {count} rows of the table")


def _clocks(records: Records) -> Iterator[Finding]:
    """Yield activities that lie outside the time of the one that asked for them."""
    for link in records.communications:
        part = records.activities.get(link.informed)
        whole = records.activities.get(link.informant)
        if part is None or whole is None or part.start is None or whole.start is None:
            continue
        late = part.end and whole.end and part.end > whole.end + SLACK
        if part.start < whole.start - SLACK or late:
            yield Finding("clock", part.run, "", f"{part.label} lies outside of {whole.label}")


def _crates(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield what a crate says otherwise than the records that it was made from."""
    file = folder / crate.DESCRIPTOR
    # A crate that was recorded as published has a digest; it cannot tell of its own publication.
    if not file.is_file() or crate.DESCRIPTOR in _latest(records):
        return
    try:
        told = {node["@id"]: node for node in json.loads(file.read_text("utf-8"))["@graph"]}
        right = {node["@id"]: node for node in crate.build(records)["@graph"]}
    except (ValueError, KeyError, TypeError) as error:
        yield Finding("crate", "", crate.DESCRIPTOR, f"cannot be compared: {error}")
        return
    # Through JSON and back, so that tuples and lists are one.
    right = json.loads(json.dumps(right))
    for name in sorted(told.keys() | right.keys()):
        if told.get(name) != right.get(name):
            said = "is told otherwise" if name in told and name in right else "is in one of them"
            yield Finding("crate", run_of(name), crate.DESCRIPTOR, f"{name} {said}")


# --- again ---------------------------------------------------------------------------------------


def _execution(records: Records, run: str) -> Activity:
    found = [
        one for one in records.activities.values() if one.run == run and one.kind == "TestExecution"
    ]
    if len(found) != 1:
        raise ReplayError(f"{run}: {len(found)} executions are recorded, expected one")
    return found[0]


def replay(folder: Path, run: str, records: Records | None = None) -> Replay:
    """Execute a run again from its record alone, and compare every file.

    The record says which scenario, map and plan the execution used, and its seed; their bytes are
    taken from the recorded places. The old bag and result are not opened: only their recorded
    digests are compared with those of the new ones.

    Parameters
    ----------
    folder : Path
    run : str
    records : Records, optional
        Those of the folder's logs by default.

    Returns
    -------
    Replay

    Raises
    ------
    ReplayError
        If the record does not say what was used, or with which seed.
    """
    folder = Path(folder)
    records = load(folder) if records is None else records
    activity = _execution(records, run)
    used: dict[str, Entity] = {}
    for usage in records.usages:
        if usage.activity == activity.id and usage.entity in records.entities:
            entity = records.entities[usage.entity]
            used.setdefault(entity.kind, entity)
    made = {
        records.entities[one.entity].path: records.entities[one.entity]
        for one in records.generations
        if one.activity == activity.id and one.entity in records.entities
    }
    missing = [
        kind
        for kind in ("ConcreteScenario", "MapMetadata", "CampaignMetadata")
        if kind not in used or not used[kind].path
    ]
    if missing or "seed" not in activity.attributes:
        what = ", ".join(missing) or "seed"
        raise ReplayError(f"{run}: its record does not say: {what}")
    entry = json.loads((folder / used["ConcreteScenario"].path).read_text(encoding="utf-8"))
    plan = json.loads((folder / used["CampaignMetadata"].path).read_text(encoding="utf-8"))
    config = SimConfig(**plan["config"])
    grid = load_grid(folder / used["MapMetadata"].path)
    seed = int(activity.attributes["seed"])
    again = navsim.simulate(grid, scenario_from(entry), seed, config)
    with tempfile.TemporaryDirectory() as place:
        bag = bags.write(
            again,
            Path(place) / "bag",
            run_iri=place_iri(records.campaign, f"runs/{run}"),
            config_digest=config.digest,
            max_range=config.max_range,
        )
        fresh = {f"runs/{run}/bag/{one.name}": digest_file(one) for one in sorted(bag.iterdir())}
    differing = [
        path for path, digest in fresh.items() if path not in made or made[path].sha256 != digest
    ]
    told = str(activity.attributes.get("outcome", ""))
    if told != again.outcome:
        differing.append(f"runs/{run}/result.json")
    return Replay(run, not differing, told, again.outcome, tuple(differing))


def with_seed(records: Records, seed: int) -> Records:
    """Return records in which every execution has another seed: the control of a replay."""
    activities = {
        name: replace(one, attributes=dict(one.attributes) | {"seed": seed})
        if "seed" in one.attributes
        else one
        for name, one in records.activities.items()
    }
    return replace(records, activities=activities)


def distinct(records: Records) -> pd.DataFrame:
    """Return groups of scenarios that are one by content, though their names differ.

    Returns
    -------
    DataFrame
        ``digest``, ``scenarios`` (names, joined), one row a group of two or more names.
    """
    names: defaultdict[str, set[str]] = defaultdict(set)
    for entity in records.entities.values():
        if entity.kind == "ConcreteScenario" and "scenario_digest" in entity.attributes:
            digest = str(entity.attributes["scenario_digest"])
            names[digest].add(str(entity.attributes["scenario"]))
    rows = [
        (digest[:16], ", ".join(sorted(group))) for digest, group in names.items() if len(group) > 1
    ]
    return pd.DataFrame(rows, columns=["digest", "scenarios"])
