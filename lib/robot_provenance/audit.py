"""Records against bytes, bytes against the plan, and bytes against a second run.

`audit` reads what the records say and looks whether the campaign's folder still agrees: digests,
places, identities of bags, runs that were planned and runs that are there, values told twice,
clocks. It names the run. What it cannot see is a forgery whose records were all rewritten to fit;
for that there is `replay`, which has every file of a run made again from what was recorded, and
compares bytes and software versions.
"""

from __future__ import annotations

import csv
import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from lib.core import check
from lib.robot_provenance import crate
from lib.robot_provenance.record import (
    IRIS,
    LOG,
    RELATIONS,
    Entity,
    Records,
    digest_file,
    digest_folder,
    load,
)
from lib.robot_provenance.vocabulary import ACTIVITY_KINDS, named, place_iri

TABLE = "metrics.csv"
UNRECORDED = re.compile(rf"(runs/[^/]+/)?{re.escape(LOG)}|{re.escape(crate.DESCRIPTOR)}")
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
        missing, changed, swapped, stray, unrecorded, unreadable, verdict, value, config, duplicate,
        generated twice, dangling, interrupted, clock, suppressed, unplanned or crate.
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
    """Return what a JSON file holds; None if it is not there or holds no object."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def audit(folder: Path, records: Records | None = None) -> list[Finding]:
    """Compare a campaign's folder with its records, and both with the plan.

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
        *_bags(folder, records),
        *_runs(folder, records),
        *_results(folder, records),
        *_clocks(records),
        *_crates(folder, records),
    ]
    return sorted(set(found))


def _references(records: Records) -> Iterator[Finding]:
    declared = {*records.agents, *records.entities, *records.activities}
    # What informed an activity may belong to another execution.
    for relation in RELATIONS.keys() - {"communications"}:
        for one in getattr(records, relation):
            by = records.activities.get(getattr(one, "activity", ""))
            for name, value in vars(one).items():
                if name in IRIS and value and value not in declared:
                    text = f"{name} of a {type(one).__name__} is {value}, which nothing declares"
                    yield Finding("dangling", by.run if by else "", "", text)
    makers = Counter({(one.entity, one.activity): 1 for one in records.generations})
    for entity, count in Counter(entity for entity, _ in makers).items():
        if count > 1 and entity in records.entities:
            path = records.entities[entity].path
            yield Finding("generated twice", run_of(path), path, f"by {count} activities")
    for act in records.activities.values():
        if act.status == "interrupted":
            yield Finding("interrupted", act.run, "", f"{act.label}: no end was recorded")


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
            text = f"is {found[:16]}, was {entity.sha256[:16]}"
            yield Finding("changed", run_of(path), path, text)
    if not latest:
        return
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in Path(path).parts)
        if file.is_file() and not hidden and path not in latest and not UNRECORDED.fullmatch(path):
            yield Finding("unrecorded", run_of(path), path, "is there, but no record speaks of it")


def _bags(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield bags that say they belong elsewhere."""
    for path, entity in _latest(records).items():
        file = folder / path / "metadata.yaml"
        if entity.kind != "RosBag" or not file.is_file():
            continue
        run = run_of(path)
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            claimed = (content["rosbag2_bagfile_information"].get("custom_data") or {}).get("run")
        except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError):
            yield Finding("unreadable", run, f"{path}/metadata.yaml", "is no metadata of a bag")
            continue
        if claimed is not None and claimed != place_iri(records.campaign, f"runs/{run}"):
            yield Finding("stray", run, path, f"says that it is of {claimed}")


_Plan = dict[str, tuple[Any, Any] | None]


def _plans(folder: Path, records: Records) -> Iterator[tuple[str, _Plan | None]]:
    """Yield where a plan is, and scenario and seed by run; None for what is no plan.

    A plan is any recorded `CampaignMetadata` whose JSON has ``runs``: names, or a mapping of names
    to scenario and seed.
    """
    for path, entity in _latest(records).items():
        content = _object(folder / path) if entity.kind == "CampaignMetadata" else None
        if content is None or "runs" not in content:
            continue
        runs = content["runs"]
        runs = dict.fromkeys(map(str, runs)) if isinstance(runs, list) else runs
        pairs = runs.values() if isinstance(runs, dict) else ["none"]
        right = all(one is None or (isinstance(one, list) and len(one) == 2) for one in pairs)
        yield path, runs if right else None


def _runs(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield runs that are not both planned, recorded once, and there."""
    executions = Counter(
        one.run for one in records.activities.values() if one.kind == "TestExecution" and one.run
    )
    for run, count in executions.items():
        if count > 1:
            yield Finding("duplicate", run, "", f"{count} executions of one run are recorded")
    for path, planned in _plans(folder, records):
        if planned is None:
            text = "runs is neither names nor a mapping of names to scenario and seed"
            yield Finding("unreadable", "", path, text)
            continue
        # A campaign that was prepared and not yet executed has suppressed nothing.
        started = records.of_kind("CampaignExecution") or executions
        for run in planned if started else ():
            if run not in executions:
                text = "is planned, but no execution of it is recorded"
                yield Finding("suppressed", run, path, text)
        for run in executions:
            if run not in planned:
                yield Finding("unplanned", run, path, "was executed, but is not planned")


CODES = {"outcome": "verdict", "seed": "config", "run": "duplicate"}


def _results(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield what plan, records, results and table tell differently of a run."""
    first: dict[tuple[str, str], tuple[Any, str]] = {}
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for path, run, told in _told(folder, records):
        if told is None:
            yield Finding("unreadable", run, path, "cannot be read")
            continue
        rows[path][run] += 1
        for name, value in told.items():
            said, where = first.setdefault((run, name), (value, path))
            if _plain(value) != _plain(said):
                text = f"says {name} {value}, {where} says {said}"
                yield Finding(CODES.get(name, "value"), run, path, text)
    if TABLE in rows and rows["the record"]:
        for run in sorted(rows[TABLE].keys() ^ rows["the record"].keys()):
            yield Finding("missing", run, TABLE, "is only one of recorded and in the table")
    for run, count in rows[TABLE].items():
        if count > 1:
            yield Finding("duplicate", run, TABLE, f"is in {count} rows of the table")


def _told(folder: Path, records: Records) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """Yield where something is said of a run, the run, and what; None for what is no table."""
    for path, planned in _plans(folder, records):
        for run, pair in (planned or {}).items():
            if pair is not None:
                yield path, run, {"run": run, "scenario": pair[0], "seed": pair[1]}
    measures: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for one in records.quantities:
        of = records.entities.get(one.subject)
        if of is not None and of.kind == "TestResult":
            measures[run_of(of.path)][f"{one.name}_{one.unit}"] = one.value
    for act in records.activities.values():
        if act.kind == "TestExecution" and act.run and "outcome" in act.attributes:
            told = {k: v for k, v in act.attributes.items() if k in ("seed", "outcome")}
            yield "the record", act.run, {"run": act.run, **told, **measures[act.run]}
    for file in sorted((folder / "runs").glob("[!.]*/*.json")):
        path, run, content = file.relative_to(folder).as_posix(), file.parent.name, _object(file)
        if content is not None and file.name == "scenario.json":
            content = {"seed": content.get("seed")}
        if content is not None and isinstance(content.get("metrics"), dict):
            content |= content.pop("metrics")
        yield path, run, content
    if (folder / TABLE).is_file():
        try:
            with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
                yield from ((TABLE, row["run"], row) for row in csv.DictReader(stream, strict=True))
        except (ValueError, KeyError, csv.Error):
            yield TABLE, "", None


def _plain(value: Any) -> str:
    """Return a value as a table's cell has it; a number is one in whatever way it is written."""
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        return "" if value is None else str(value)


def _clocks(records: Records) -> Iterator[Finding]:
    """Yield activities that end before they start, or lie outside the one that asked for them."""
    for one in records.activities.values():
        if one.start and one.end and one.end < one.start:
            yield Finding("clock", one.run, "", f"{one.label} ends before it starts")
    for link in records.communications:
        part = records.activities.get(link.informed)
        whole = records.activities.get(link.informant)
        if part is None or whole is None or part.start is None or whole.start is None:
            continue
        late = part.end and whole.end and part.end > whole.end + SLACK
        if part.start < whole.start - SLACK or late:
            yield Finding("clock", part.run, "", f"{part.label} lies outside of {whole.label}")


def _crates(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield what a crate says otherwise than the records; one that is recorded has a digest."""
    file = folder / crate.DESCRIPTOR
    if not file.is_file() or crate.DESCRIPTOR in _latest(records):
        return
    try:
        told = {node["@id"]: node for node in json.loads(file.read_text("utf-8"))["@graph"]}
        right = {node["@id"]: node for node in crate.build(records)["@graph"]}
    except (ValueError, KeyError, TypeError) as error:
        yield Finding("crate", "", crate.DESCRIPTOR, f"cannot be compared: {error}")
        return
    for name in sorted(told.keys() | right.keys()):
        if told.get(name) != right.get(name):
            said = "is told otherwise" if name in told and name in right else "is in one of them"
            yield Finding("crate", run_of(name), crate.DESCRIPTOR, f"{name} {said}")


# --- again ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """What the record says of a run, for the program that makes its files again.

    Attributes
    ----------
    run : str
    target : Path
        An empty folder for the new files, named as in the run's own folder.
    used : mapping of str to tuple of Path
        The files that the execution used, by kind, in the order of the record, at their recorded
        places.
    attributes : mapping
        Of the execution, such as its seed.
    """

    run: str
    target: Path
    used: Mapping[str, tuple[Path, ...]]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Replay:
    """A run whose files were made again.

    Attributes
    ----------
    run : str
    differing : tuple of str
        Recorded files of the run that came out otherwise, or did not come out.
    versions : tuple of (str, str, str)
        Software whose recorded version is not that of now: name, recorded, now.
    inputs : tuple of str
        Used files that are not there, or whose bytes are not those of the record.
    """

    run: str
    differing: tuple[str, ...]
    versions: tuple[tuple[str, str, str], ...]
    inputs: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether every file came out bit by bit."""
        return not self.differing

    @property
    def agrees(self) -> bool:
        """Whether every file came out, from the inputs and by the software of the record."""
        return not (self.differing or self.versions or self.inputs)


def replay(
    folder: Path,
    run: str,
    again: Callable[[Recipe], Mapping[str, str]],
    records: Records | None = None,
    *,
    kind: str = "TestExecution",
) -> Replay:
    """Have every file of a run made again from its record alone, and compare all of them.

    The record says what the execution used, and its parameters; the bytes are taken from the
    recorded places, and their digests compared with the recorded ones. The old outputs are not
    opened: the recorded digest of each is compared with that of the new one, whichever activity of
    the run made it.

    Parameters
    ----------
    folder : Path
    run : str
    again : callable
        Takes a `Recipe`, writes the run's files into its target, and returns the versions of the
        software that did it now, by name.
    records : Records, optional
        Those of the folder's logs by default.
    kind : str
        Of the activity that executed the run: a key of ``ACTIVITY_KINDS``, or an IRI.

    Returns
    -------
    Replay

    Raises
    ------
    ReplayError
        If the run has not one such activity, its record does not say what was used or which files
        were made, or `again` fails.
    """
    run, folder = check.text("run", run), Path(folder)
    kind = named("kind", kind, ACTIVITY_KINDS, {})
    records = load(folder) if records is None else records
    found = [a for a in records.activities.values() if (a.run, a.kind) == (run, kind)]
    if len(found) != 1:
        raise ReplayError(f"{run}: {len(found)} executions are recorded, expected one")
    told = dict.fromkeys(one.entity for one in records.usages if one.activity == found[0].id)
    inputs = [one for name in told if (one := records.entities.get(name)) and one.path]
    used: dict[str, tuple[Path, ...]] = {}
    for one in inputs:
        used[one.kind] = (*used.get(one.kind, ()), folder / one.path)
    there = (one.path for one in inputs if (folder / one.path).exists())
    digests = {path: _digest(folder / path) for path in there}
    changed = [one.path for one in inputs if digests.get(one.path) != one.sha256]
    mine = {one.id for one in records.activities.values() if one.run == run}
    made = {
        entity.path.removeprefix(f"runs/{run}/"): entity.sha256
        for one in records.generations
        if one.activity in mine
        and (entity := records.entities.get(one.entity)) is not None
        and run_of(entity.path) == run
    }
    lacking = [what for what, known in (("inputs", used), ("outputs", made)) if not known]
    if lacking:
        raise ReplayError(f"{run}: its record does not say: {', '.join(lacking)}")
    with tempfile.TemporaryDirectory() as place:
        target = Path(place)
        try:
            now = again(Recipe(run, target, used, found[0].attributes))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise ReplayError(f"{run}: cannot be made again from its record: {text}") from error
        differing = [
            name
            for name, digest in made.items()
            if not (target / name).exists() or _digest(target / name) != digest
        ]
    took_part = {one.agent for one in records.associations if one.activity in mine}
    then = {
        one.name: one.version
        for name, one in records.agents.items()
        if name in took_part or one.name in now
    }
    versions = [
        (name, then[name], now.get(name, "")) for name in then if then[name] != now.get(name, "")
    ]
    paths = tuple(f"runs/{run}/{name}" for name in differing)
    return Replay(run, paths, tuple(sorted(versions)), tuple(changed))
