"""Records against bytes, bytes against the plan, and bytes against a second run.

`audit` reads what the records say and looks whether the campaign's folder still agrees: digests,
places, identities of bags, runs that were planned and runs that are there, values told twice,
clocks. It names the run. What it cannot see is a forgery whose records were all rewritten to fit;
for that there is `replay`, which has every file of a run made again from what was recorded, and
compares bytes and software versions.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lib.core import check
from lib.robot_provenance import crate, export
from lib.robot_provenance.record import (
    LOG,
    Activity,
    Entity,
    Generation,
    Records,
    Usage,
    digest_file,
    digest_folder,
    load,
)
from lib.robot_provenance.vocabulary import place_iri

UNRECORDED = {LOG, "ro-crate-metadata.json"}
"""Files that no record speaks of, since they hold the records or are made from them."""

NOTATIONS: dict[str, export.Notation] = {".nt": "nt", ".jsonld": "json-ld", ".provn": "provn"}
"""Notation of a published graph by its suffix."""

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
        missing, changed, swapped, stray, unrecorded, unreadable, verdict, value, table, duplicate,
        generated twice, dangling, interrupted, clock, config, suppressed, unplanned, graph or
        crate.
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
        *_graphs(folder, records),
    ]
    return sorted(set(found))


def _references(records: Records) -> Iterator[Finding]:
    entities, activities = records.entities, records.activities

    def known_to(
        name: str, known: Mapping[str, object], said: str, activity: str
    ) -> Iterator[Finding]:
        if name not in known:
            run = activities[activity].run if activity in activities else ""
            yield Finding("dangling", run, "", f"{said} {name}, which nothing declares")

    for usage in records.usages:
        yield from known_to(usage.entity, entities, "used", usage.activity)
        yield from known_to(usage.activity, activities, "usage by", usage.activity)
    for made in records.generations:
        yield from known_to(made.entity, entities, "generated", made.activity)
        yield from known_to(made.activity, activities, "generation by", made.activity)
    for comes in records.derivations:
        yield from known_to(comes.entity, entities, "derivation of", comes.activity)
        yield from known_to(comes.source, entities, "derived from", comes.activity)
    for part in records.associations:
        yield from known_to(part.activity, activities, "association with", part.activity)
        yield from known_to(part.agent, records.agents, "associated with", part.activity)
        if part.plan:
            yield from known_to(part.plan, entities, "followed plan", part.activity)
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
        if file.is_file() and not hidden and path not in latest and file.name not in UNRECORDED:
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
        if claimed != place_iri(records.campaign, f"runs/{run}"):
            yield Finding("stray", run, path, f"says that it is of {claimed}")


def _runs(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield runs that are not both planned, recorded once, and there.

    The plan is any recorded `CampaignMetadata` whose JSON has ``runs``: names, or a mapping of
    names to scenario and seed.
    """
    executions = Counter(
        one.run for one in records.activities.values() if one.kind == "TestExecution" and one.run
    )
    for run, count in executions.items():
        if count > 1:
            yield Finding("duplicate", run, "", f"{count} executions of one run are recorded")
    for path, entity in _latest(records).items():
        content = _object(folder / path) if entity.kind == "CampaignMetadata" else None
        if content is None or "runs" not in content:
            continue
        # A campaign that was prepared and not yet executed has suppressed nothing.
        started = records.of_kind("CampaignExecution") or executions
        for run in content["runs"] if started else ():
            if run not in executions:
                text = "is planned, but no execution of it is recorded"
                yield Finding("suppressed", run, path, text)
        for run in executions:
            if run not in content["runs"]:
                yield Finding("unplanned", run, path, "was executed, but is not planned")
        if isinstance(content["runs"], dict):
            yield from _seeds(folder, content["runs"], records)


def _seeds(folder: Path, runs: Mapping[str, Any], records: Records) -> Iterator[Finding]:
    """Yield seeds that plan, record, parameters and result tell differently."""
    told: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for one in records.activities.values():
        if one.kind == "TestExecution" and "seed" in one.attributes:
            told[one.run]["the record"] = one.attributes["seed"]
    for run, (_, planned) in runs.items():
        for name in ("scenario.json", "result.json"):
            content = _object(folder / "runs" / run / name)
            if content is not None:
                told[run][name] = content.get("seed")
        for who, seed in told[run].items():
            if seed != planned:
                yield Finding("config", run, "", f"seed {planned} planned, {seed} in {who}")


def _results(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield outcomes and measures that result, record and table tell differently."""
    outcomes = {
        one.run: str(one.attributes["outcome"])
        for one in records.activities.values()
        if "outcome" in one.attributes and one.run
    }
    measures: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for one in records.quantities:
        entity = records.entities.get(one.subject)
        if entity is not None and entity.kind == "TestResult":
            measures[run_of(entity.path)][f"{one.name}_{one.unit}"] = one.value
    results: dict[str, dict[str, Any]] = {}
    for file in sorted((folder / "runs").glob("[!.]*/*.json")):
        run, content = file.parent.name, _object(file)
        path = file.relative_to(folder).as_posix()
        if content is None:
            yield Finding("unreadable", run, path, "is no JSON object")
        elif file.name == "result.json":
            told = content.get("metrics")
            results[run] = {**content, **(told if isinstance(told, dict) else {})}
            yield from _result(run, path, results[run], outcomes.get(run), measures[run])
    yield from _table(folder, results, outcomes)


def _result(
    run: str,
    path: str,
    result: Mapping[str, Any],
    outcome: str | None,
    measures: Mapping[str, float],
) -> Iterator[Finding]:
    if result.get("run") != run:
        yield Finding("duplicate", run, "", f"its result is that of run {result.get('run')}")
    if outcome is not None and result.get("outcome") != outcome:
        text = f"says {result.get('outcome')}, the record says {outcome}"
        yield Finding("verdict", run, path, text)
    for name, value in measures.items():
        if result.get(name) != value:
            text = f"says {name} {result.get(name)}, the record says {value}"
            yield Finding("value", run, path, text)


def _table(
    folder: Path, results: Mapping[str, dict[str, Any]], outcomes: Mapping[str, str]
) -> Iterator[Finding]:
    file = folder / "metrics.csv"
    if not file.is_file() or not outcomes:
        return
    try:
        # As text: a scenario may be called 1e5, or nan.
        rows = pd.read_csv(file, dtype=str, keep_default_na=False).to_dict("records")
        names = [row["run"] for row in rows]
        said = {row["run"]: row["outcome"] for row in rows}
    except (ValueError, KeyError):
        yield Finding("unreadable", "", "metrics.csv", "is no table of runs and outcomes")
        return
    for run, outcome in said.items():
        if run in outcomes and outcome != outcomes[run]:
            text = f"says {outcome}, the record says {outcomes[run]}"
            yield Finding("table", run, "metrics.csv", text)
    for run, count in Counter(names).items():
        if count > 1:
            yield Finding("duplicate", run, "metrics.csv", f"is in {count} rows of the table")
    for run in sorted(set(said) ^ set(outcomes)):
        text = "is in the table, but not recorded" if run in said else "is not in the table"
        yield Finding("table", run, "metrics.csv", text)
    for row in rows:
        run = str(row["run"])
        for name, value in row.items():
            told = results.get(run, {}).get(str(name))
            # An outcome was compared with the record; empty cells stand for what is not told.
            if name != "outcome" and run in results and not _same(value, told):
                text = f"says {name} {value}, the result says {told}"
                yield Finding("table", run, "metrics.csv", text)


def _same(cell: str, value: Any) -> bool:
    """Whether a table's cell holds a result's value; what is None there is empty here."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(cell) == value
        except ValueError:
            return False
    return cell == ("" if value is None else str(value))


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
    """Yield what a crate says otherwise than the records that it was made from."""
    file = folder / crate.DESCRIPTOR
    if not file.is_file():
        return
    # What was published cannot tell of its own publication, nor of what came later.
    records = _before(records, _latest(records).get(crate.DESCRIPTOR))
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


def _graphs(folder: Path, records: Records) -> Iterator[Finding]:
    """Yield published graphs that are not what the records give when they are written again."""
    for path, entity in _latest(records).items():
        notation, file = NOTATIONS.get(Path(path).suffix), folder / path
        if entity.kind != "CampaignGraph" or notation is None or not file.is_file():
            continue
        again = export.serialize(_before(records, entity), notation)
        if file.read_bytes() != again.encode():
            yield Finding("graph", "", path, "is not what the records say when written again")


def _before(records: Records, made: Entity | None) -> Records:
    """Return the records as they were when the making of something began; all, if of nothing."""
    makers = {one.activity for one in records.generations if made and one.entity == made.id}
    starts = [one.start for one in records.activities.values() if one.id in makers and one.start]
    if not starts:
        return records
    began = max(starts)
    late = {k for k, one in records.activities.items() if one.start and one.start >= began}
    told: list[Usage | Generation] = [*records.usages, *records.generations]
    known = {one.entity for one in told if one.activity not in late}
    gone = late | ({one.entity for one in told if one.activity in late} - known)
    return replace(
        records,
        activities={k: v for k, v in records.activities.items() if k not in gone},
        entities={k: v for k, v in records.entities.items() if k not in gone},
        usages=tuple(one for one in records.usages if one.activity not in gone),
        generations=tuple(one for one in records.generations if one.activity not in gone),
        derivations=tuple(one for one in records.derivations if one.activity not in gone),
        associations=tuple(one for one in records.associations if one.activity not in gone),
        communications=tuple(one for one in records.communications if one.informed not in gone),
        quantities=tuple(one for one in records.quantities if one.subject not in gone),
    )


# --- again ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """What the record says of a run, for the program that makes its files again.

    Attributes
    ----------
    run : str
    target : Path
        An empty folder for the new files, named as in the run's own folder.
    used : mapping of str to Path
        The files that the execution used, by kind, at their recorded places.
    attributes : mapping
        Of the execution, such as its seed.
    """

    run: str
    target: Path
    used: Mapping[str, Path]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Replay:
    """A run whose files were made again.

    Attributes
    ----------
    run : str
    differing : tuple of str
        Recorded files of the run that came out otherwise, or did not come out.
    compared : tuple of str
        All recorded files of the run.
    versions : tuple of (str, str, str)
        Software whose recorded version is not that of now: name, recorded, now.
    """

    run: str
    differing: tuple[str, ...]
    compared: tuple[str, ...]
    versions: tuple[tuple[str, str, str], ...]

    @property
    def identical(self) -> bool:
        """Whether every file came out bit by bit."""
        return not self.differing

    @property
    def agrees(self) -> bool:
        """Whether every file came out, by the software that the record names."""
        return self.identical and not self.versions


def _execution(records: Records, run: str) -> Activity:
    found = [
        one for one in records.activities.values() if one.run == run and one.kind == "TestExecution"
    ]
    if len(found) != 1:
        raise ReplayError(f"{run}: {len(found)} executions are recorded, expected one")
    return found[0]


def replay(
    folder: Path,
    run: str,
    again: Callable[[Recipe], Mapping[str, str]],
    records: Records | None = None,
) -> Replay:
    """Have every file of a run made again from its record alone, and compare all of them.

    The record says what the execution used, and its seed; their bytes are taken from the recorded
    places. The old outputs are not opened: the recorded digest of each is compared with that of the
    new one, whichever activity of the run made it.

    Parameters
    ----------
    folder : Path
    run : str
    again : callable
        Takes a `Recipe`, writes the run's files into its target, and returns the versions of the
        software that did it now, by name.
    records : Records, optional
        Those of the folder's logs by default.

    Returns
    -------
    Replay

    Raises
    ------
    ReplayError
        If the record does not say what was used, with which seed, or which files were made.
    """
    run, folder = check.text("run", run), Path(folder)
    records = load(folder) if records is None else records
    activity = _execution(records, run)
    used: dict[str, Path] = {}
    for usage in records.usages:
        entity = records.entities.get(usage.entity)
        if usage.activity == activity.id and entity is not None and entity.path:
            used.setdefault(entity.kind, folder / entity.path)
    mine = {one.id for one in records.activities.values() if one.run == run}
    made = {
        entity.path.removeprefix(f"runs/{run}/"): entity.sha256
        for one in records.generations
        if one.activity in mine
        and (entity := records.entities.get(one.entity)) is not None
        and run_of(entity.path) == run
    }
    lacking = [what for what, known in (("inputs", used), ("outputs", made)) if not known]
    lacking += [] if "seed" in activity.attributes else ["seed"]
    if lacking:
        raise ReplayError(f"{run}: its record does not say: {', '.join(lacking)}")
    with tempfile.TemporaryDirectory() as place:
        target = Path(place)
        try:
            now = again(Recipe(run, target, used, activity.attributes))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise ReplayError(f"{run}: cannot be made again from its record: {text}") from error
        differing = [
            name
            for name, digest in made.items()
            if not (target / name).exists() or _digest(target / name) != digest
        ]
    took_part = {one.agent for one in records.associations if one.activity in mine}
    then = {one.name: one.version for name, one in records.agents.items() if name in took_part}
    versions = [
        (name, then[name], now.get(name, "")) for name in then if then[name] != now.get(name, "")
    ]
    paths = [f"runs/{run}/{name}" for name in made]
    return Replay(
        run,
        tuple(f"runs/{run}/{name}" for name in differing),
        tuple(paths),
        tuple(sorted(versions)),
    )


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
