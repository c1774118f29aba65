"""Faults planted in a finished campaign, and what each tool makes of them.

A fault changes files, records or the crate. Twenty are accidents or careless edits; two are
forgeries, in which everything that speaks of the change (digests, attributes, table) is rewritten
to fit. A tool has found a fault if it says something that it did not say about the campaign without
the fault, so what a tool always complains about does not count.

The tools are ours (`audit.audit`, `constraints.check` with its clock, our shapes, `audit.replay`)
and those in use: a list of checksums, roc-validator at two severities, ``unified()`` of ``prov``,
and the authors' shapes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from lib.core import sweeps
from lib.core.paths import write_atomic
from lib.robot_provenance import (
    audit,
    constraints,
    crate,
    export,
    validation,
)
from lib.robot_provenance.record import (
    Activity,
    Derivation,
    Entity,
    Generation,
    Records,
    Usage,
    digest_file,
    load,
)
from lib.robot_provenance.vocabulary import file_iri

__all__ = [
    "AUTHORS",
    "FAULTS",
    "OURS",
    "PEERS",
    "TOOLS",
    "Fault",
    "Sample",
    "clean",
    "find",
    "inspect",
    "plant",
]

OURS: tuple[str, ...] = ("audit", "constraints", "clock", "shapes", "replay")
PEERS: tuple[str, ...] = (
    "checksum list",
    "crate, REQUIRED",
    "crate, RECOMMENDED",
    "prov unified()",
)
AUTHORS = "authors' shapes"
"""A peer that needs the authors' released file."""

TOOLS: tuple[str, ...] = (*OURS, *PEERS)

HOUR = timedelta(hours=1)


@dataclass
class Sample:
    """A campaign that a fault is planted in: its folder, its records and its crate.

    Attributes
    ----------
    folder : Path
    records : Records
    crate : dict
        Metadata document; empty if none can be made of the records.
    victim, other : str
        Runs that faults are about.
    """

    folder: Path
    records: Records
    crate: dict[str, Any]
    victim: str
    other: str

    def path(self, file: str) -> Path:
        """Return the place of a file of the victim."""
        return self.folder / "runs" / self.victim / file


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    id, text : str
    level : str
        ``records``, ``files``, ``forgery`` or ``crate``.
    plant : callable
        Changes a sample; returns False where the sample has nothing that the fault could be in.
    names_run : bool
        Whether it is in one run, which a good finding names.
    """

    id: str
    text: str
    level: str
    plant: Callable[[Sample], bool]
    names_run: bool = True


# --- planting ------------------------------------------------------------------------------------


def _execution(sample: Sample) -> Activity | None:
    for one in sample.records.activities.values():
        if one.run == sample.victim and one.kind == "TestExecution":
            return one
    return None


def _activity(sample: Sample, **changes: Any) -> bool:
    """Change the victim's execution."""
    one = _execution(sample)
    if one is None:
        return False
    activities = sample.records.activities | {one.id: replace(one, **changes)}
    sample.records = replace(sample.records, activities=activities)
    return True


def _made(sample: Sample, kind: str) -> Entity | None:
    for one in sample.records.entities.values():
        if one.kind == kind and audit.run_of(one.path) == sample.victim:
            return one
    return None


def _end_before_start(sample: Sample) -> bool:
    one = _execution(sample)
    if one is None or one.start is None:
        return False
    return _activity(sample, end=one.start - timedelta(seconds=5))


def _use_before_generation(sample: Sample) -> bool:
    scenario, one = _made(sample, "ConcreteScenario"), _execution(sample)
    if scenario is None or one is None or one.start is None:
        return False
    usages = tuple(
        replace(u, time=one.start - HOUR) if u.activity == one.id and u.entity == scenario.id else u
        for u in sample.records.usages
    )
    sample.records = replace(sample.records, usages=usages)
    return True


def _double_generation(sample: Sample) -> bool:
    result = _made(sample, "TestResult")
    post = [
        one
        for one in sample.records.activities.values()
        if one.run == sample.victim and one.kind == "Postprocessing"
    ]
    if result is None or not post:
        return False
    more = Generation(result.id, post[0].id, time=post[0].end)
    sample.records = replace(sample.records, generations=(*sample.records.generations, more))
    return True


def _derivation_cycle(sample: Sample) -> bool:
    bag, trace = _made(sample, "RosBag"), _made(sample, "Traces")
    told = {(d.entity, d.source) for d in sample.records.derivations}
    if bag is None or trace is None or (trace.id, bag.id) not in told:
        return False
    more = Derivation(bag.id, trace.id)
    sample.records = replace(sample.records, derivations=(*sample.records.derivations, more))
    return True


def _dangling_reference(sample: Sample) -> bool:
    one = _execution(sample)
    if one is None or not sample.records.usages:
        return False
    more = Usage(one.id, sample.records.base + "inputs/nowhere/map.pgm#0123456789abcdef", "map")
    sample.records = replace(sample.records, usages=(*sample.records.usages, more))
    return True


def _missing_agent(sample: Sample) -> bool:
    one = _execution(sample)
    kept = tuple(a for a in sample.records.associations if one is None or a.activity != one.id)
    if len(kept) == len(sample.records.associations):
        return False
    sample.records = replace(sample.records, associations=kept)
    return True


def _missing_plan(sample: Sample) -> bool:
    one = _execution(sample)
    changed = tuple(
        replace(a, plan="") if one is not None and a.activity == one.id else a
        for a in sample.records.associations
    )
    if changed == sample.records.associations:
        return False
    sample.records = replace(sample.records, associations=changed)
    return True


def _missing_seed(sample: Sample) -> bool:
    one = _execution(sample)
    if one is None or "seed" not in one.attributes:
        return False
    return _activity(sample, attributes={k: v for k, v in one.attributes.items() if k != "seed"})


def _wrong_outcome(sample: Sample) -> bool:
    one = _execution(sample)
    if one is None or "outcome" not in one.attributes:
        return False
    return _activity(sample, attributes=dict(one.attributes) | {"outcome": "passed"})


def _shifted_clock(sample: Sample) -> bool:
    run = sample.victim
    mine = {one.id for one in sample.records.activities.values() if one.run == run and one.start}
    if not mine:
        return False
    activities = {
        name: replace(
            one,
            start=one.start - HOUR if one.start else None,
            end=one.end - HOUR if one.end else None,
        )
        if name in mine
        else one
        for name, one in sample.records.activities.items()
    }

    def moved(one: Any) -> Any:
        return replace(one, time=one.time - HOUR) if one.activity in mine and one.time else one

    sample.records = replace(
        sample.records,
        activities=activities,
        usages=tuple(moved(one) for one in sample.records.usages),
        generations=tuple(moved(one) for one in sample.records.generations),
    )
    return True


def _duplicate_run(sample: Sample) -> bool:
    """Copy a run's folder under another name, as a careless merge of two machines' results does."""
    shutil.copytree(sample.path(""), sample.folder / "runs" / f"{sample.victim}-copy")
    return True


def _changed_byte(sample: Sample) -> bool:
    file = sample.path("bag/bag.mcap")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    return True


def _missing_file(sample: Sample) -> bool:
    sample.path("trace.csv").unlink()
    return True


def _swapped_bags(sample: Sample) -> bool:
    mine, theirs = sample.path("bag"), sample.folder / "runs" / sample.other / "bag"
    aside = sample.folder / "aside"
    mine.rename(aside)
    theirs.rename(mine)
    aside.rename(theirs)
    return True


def _other_outcome(outcome: str) -> str:
    return "collision" if outcome == "success" else "success"


def _relabelled(sample: Sample) -> bool:
    file = sample.path("result.json")
    result = json.loads(file.read_text(encoding="utf-8"))
    result["outcome"] = _other_outcome(result["outcome"])
    file.write_text(json.dumps(result), encoding="utf-8")
    return True


def _edited_table(sample: Sample) -> bool:
    file = sample.folder / "metrics.csv"
    table = pd.read_csv(file)
    row = table["run"] == sample.victim
    table.loc[row, "outcome"] = _other_outcome(str(table.loc[row, "outcome"].iloc[0]))
    file.write_text(table.to_csv(index=False, lineterminator="\n"), encoding="utf-8")
    return True


def _changed_map(sample: Sample) -> bool:
    file = sorted((sample.folder / "inputs").rglob("*.pgm"))[0]
    content = bytearray(file.read_bytes())
    content[-1] ^= 0xFF
    file.write_bytes(bytes(content))
    return True


def _rewrite(sample: Sample, paths: Iterable[str], attributes: Mapping[str, Any]) -> None:
    """Make the records fit changed files: digests, names that hold digests, attributes."""
    records = sample.records
    changed: dict[str, Entity] = {}
    for entity in records.entities.values():
        if entity.path in set(paths):
            file = sample.folder / entity.path
            digest = digest_file(file)
            kept = {k: attributes.get(k, v) for k, v in entity.attributes.items()}
            changed[entity.id] = replace(
                entity,
                id=file_iri(records.campaign, entity.path, digest),
                sha256=digest,
                bytes=file.stat().st_size,
                attributes=kept,
            )
    name = {old: new.id for old, new in changed.items()}
    get: Callable[[str], str] = lambda one: name.get(one, one)  # noqa: E731
    sample.records = replace(
        records,
        entities={get(k): changed.get(k, v) for k, v in records.entities.items()},
        usages=tuple(replace(u, entity=get(u.entity)) for u in records.usages),
        generations=tuple(replace(g, entity=get(g.entity)) for g in records.generations),
        derivations=tuple(
            replace(d, entity=get(d.entity), source=get(d.source)) for d in records.derivations
        ),
        associations=tuple(replace(a, plan=get(a.plan)) for a in records.associations),
        quantities=tuple(replace(q, subject=get(q.subject)) for q in records.quantities),
    )


def _forged_verdict(sample: Sample) -> bool:
    _relabelled(sample)
    _edited_table(sample)
    outcome = json.loads(sample.path("result.json").read_text(encoding="utf-8"))["outcome"]
    told = {"outcome": outcome, "success": outcome == "success"}
    one = _execution(sample)
    if one is not None:
        kept = {k: told.get(k, v) for k, v in one.attributes.items()}
        _activity(sample, attributes=kept)
    _rewrite(sample, [f"runs/{sample.victim}/result.json", "metrics.csv"], told)
    return True


def _forged_seed(sample: Sample) -> bool:
    files = [f"runs/{sample.victim}/{name}" for name in ("scenario.json", "result.json")]
    for path in files:
        content = json.loads((sample.folder / path).read_text(encoding="utf-8"))
        content["seed"] += 1
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        (sample.folder / path).write_text(text, encoding="utf-8")
    table = pd.read_csv(sample.folder / "metrics.csv")
    table.loc[table["run"] == sample.victim, "seed"] += 1
    text = table.to_csv(index=False, lineterminator="\n")
    (sample.folder / "metrics.csv").write_text(text, encoding="utf-8")
    one = _execution(sample)
    if one is not None and "seed" in one.attributes:
        _activity(sample, attributes=dict(one.attributes) | {"seed": one.attributes["seed"] + 1})  # type: ignore[operator]
    _rewrite(sample, [*files, "metrics.csv"], {})
    return True


def _node(sample: Sample, name: str) -> dict[str, Any] | None:
    for node in sample.crate.get("@graph", []):
        if node["@id"] == name:
            found: dict[str, Any] = node
            return found
    return None


def _missing_licence(sample: Sample) -> bool:
    root = _node(sample, "./")
    return root is not None and root.pop("license", None) is not None


def _missing_profile(sample: Sample) -> bool:
    root = _node(sample, "./")
    return root is not None and root.pop("conformsTo", None) is not None


FAULTS: tuple[Fault, ...] = (
    Fault("end before start", "an execution ends five seconds before it starts", "records",
          _end_before_start),
    Fault("use before generation", "a scenario was used an hour before it was made", "records",
          _use_before_generation),
    Fault("generated twice", "a result is generated by two activities", "records",
          _double_generation),
    Fault("derivation cycle", "a bag is derived from its own trace", "records", _derivation_cycle),
    Fault("dangling reference", "an execution used a map that nothing declares", "records",
          _dangling_reference),
    Fault("no agent", "nobody is associated with an execution", "records", _missing_agent),
    Fault("no plan", "an execution followed no plan", "records", _missing_plan),
    Fault("no seed", "an execution has no seed", "records", _missing_seed),
    Fault("unknown outcome", "an execution has an outcome that is none", "records", _wrong_outcome),
    Fault("shifted clock", "a machine's clock was an hour late during a run", "records",
          _shifted_clock),
    Fault("duplicate run", "a run's folder lies there twice", "files", _duplicate_run),
    Fault("changed byte", "one bit of a bag is flipped", "files", _changed_byte),
    Fault("missing file", "a trace is gone", "files", _missing_file),
    Fault("swapped bags", "two runs have each other's bag", "files", _swapped_bags),
    Fault("re-labelled verdict", "a result says another outcome", "files", _relabelled),
    Fault("edited table", "the table says another outcome", "files", _edited_table),
    Fault("changed map", "one cell of a map is another", "files", _changed_map, False),
    Fault("missing licence", "the crate has no licence", "crate", _missing_licence, False),
    Fault("missing profile", "the crate does not say what it conforms to", "crate",
          _missing_profile, False),
    Fault("stale crate", "the crate lists a file under another name", "crate", lambda s: _stale(s),
          False),
    Fault("forged verdict", "another outcome, and everything rewritten to fit", "forgery",
          _forged_verdict),
    Fault("forged seed", "another seed, and everything rewritten to fit", "forgery", _forged_seed),
)  # fmt: skip


def _stale(sample: Sample) -> bool:
    name = f"runs/{sample.victim}/trace.csv"
    if _node(sample, name) is None:
        return False
    text = json.dumps(sample.crate).replace(json.dumps(name), json.dumps(name + ".old"))
    sample.crate = json.loads(text)
    return True


def plant(
    fault: Fault | None,
    folder: Path,
    target: Path,
    victim: str,
    other: str,
    records: Records | None = None,
) -> Sample | None:
    """Copy a campaign and plant a fault in the copy.

    Parameters
    ----------
    fault : Fault or None
        None leaves the copy as it is: the control.
    folder : Path
        The campaign.
    target : Path
        Where the copy goes; must not be there.
    victim, other : str
        Runs.
    records : Records, optional
        Another telling of the same campaign.

    Returns
    -------
    Sample or None
        None where there is nothing in these records that the fault could be in.
    """
    shutil.copytree(folder, target)
    told = load(folder) if records is None else records
    try:
        document = crate.build(told)
    except crate.CrateError:
        document = {}
    sample = Sample(target, told, document, victim, other)
    if fault is not None:
        if not fault.plant(sample):
            return None
        if fault.level in ("records", "forgery"):
            # A crate is made from the records as they are now.
            try:
                sample.crate = crate.build(sample.records)
            except (crate.CrateError, KeyError):
                sample.crate = {}
    if sample.crate:
        write_atomic(target / crate.DESCRIPTOR, json.dumps(sample.crate, sort_keys=True))
    return sample


# --- finding -------------------------------------------------------------------------------------


def _checksums(folder: Path) -> dict[str, str]:
    """Return digests by path, of all but the crate: it is written after the list."""
    files = [
        one for one in sorted(folder.rglob("*")) if one.is_file() and one.name != crate.DESCRIPTOR
    ]
    return {one.relative_to(folder).as_posix(): digest_file(one) for one in files}


def inspect(
    sample: Sample,
    original: Mapping[str, str],
    tools: Iterable[str] = TOOLS,
    shapes: Path | None = None,
) -> dict[str, frozenset[str]]:
    """Let tools look at a sample.

    Parameters
    ----------
    sample : Sample
    original : mapping of str to str
        Checksums by path, from before the fault; what the checksum list holds.
    tools : iterable of str
        Of `TOOLS`.
    shapes : Path, optional
        The authors' shapes, where their tool is among `tools`.

    Returns
    -------
    dict of str to frozenset of str
        What each tool says, one text a finding.
    """
    ask: dict[str, Callable[[], Iterable[str]]] = {
        "audit": lambda: [
            f"{one.code} {one.run} {one.path} {one.message}"
            for one in audit.audit(sample.folder, sample.records)
        ],
        "constraints": lambda: [
            f"{one.code} {one.message} {' '.join(one.statements)}"
            for one in _constraints(sample).violations
        ],
        "clock": lambda: [
            f"{one.code} {one.message} {' '.join(one.statements)}"
            for one in _constraints(sample).clock
        ],
        "shapes": lambda: _shacl(sample, validation.SHAPES, "none"),
        "replay": lambda: _replays(sample),
        "checksum list": lambda: (
            [
                path
                for path, found in _checksums(sample.folder).items()
                if original.get(path) != found
            ]
            + [path for path in original if not (sample.folder / path).is_file()]
        ),
        "crate, REQUIRED": lambda: _crate(sample, "REQUIRED"),
        "crate, RECOMMENDED": lambda: _crate(sample, "RECOMMENDED"),
        "prov unified()": lambda: _unified(sample),
        AUTHORS: lambda: _shacl(sample, shapes or validation.SHAPES, "rdfs"),
    }
    return {tool: frozenset(ask[tool]()) for tool in tools}


def _constraints(sample: Sample) -> constraints.Report:
    return constraints.check(export.to_prov(sample.records))


def _shacl(sample: Sample, shapes: Path, inference: Literal["none", "rdfs"]) -> list[str]:
    report = validation.shacl(export.to_rdf(sample.records), shapes, inference=inference)
    return [f"{one.check} {one.subject} {one.message}" for one in report.findings]


def _unified(sample: Sample) -> list[str]:
    try:
        export.to_prov(sample.records).unified()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return []


def _replays(sample: Sample) -> list[str]:
    """Replay the two runs that faults are about."""
    found = []
    for run in (sample.victim, sample.other):
        try:
            again = audit.replay(sample.folder, run, sample.records)
        except (ValueError, KeyError, OSError) as error:
            found.append(f"{run} cannot be replayed: {type(error).__name__}")
            continue
        if not again.identical:
            found.append(f"{run} differs: {' '.join(again.differing)}")
    return found


def _crate(sample: Sample, severity: str) -> list[str]:
    if not sample.crate:
        return []
    key = hashlib.sha256((sample.folder / crate.DESCRIPTOR).read_bytes())
    key.update("\n".join(sorted(_checksums(sample.folder))).encode())
    return [
        f"{check} {subject} {message}"
        for check, level, subject, message in _validated(sample.folder, key.hexdigest())
        if severity == "RECOMMENDED" or level == "REQUIRED"
    ]


_REPORTS: dict[str, tuple[tuple[str, str, str, str], ...]] = {}


def _validated(folder: Path, key: str) -> tuple[tuple[str, str, str, str], ...]:
    """Validate once for equal crates: same metadata, same files."""
    if key not in _REPORTS:
        report = validation.validate_crate(folder, "RECOMMENDED")
        _REPORTS[key] = tuple((i.check, i.severity, i.subject, i.message) for i in report.issues)
    return _REPORTS[key]


@dataclass(frozen=True)
class _Task:
    folder: Path
    fault: str
    victim: str
    other: str
    tools: tuple[str, ...]
    original: tuple[tuple[str, str], ...]
    records: Records | None = None
    shapes: Path | None = None


def _look(task: _Task) -> dict[str, Any]:
    """Plant one fault and let the tools look; "" is the campaign without a fault."""
    fault = next((one for one in FAULTS if one.id == task.fault), None)
    with tempfile.TemporaryDirectory() as place:
        sample = plant(
            fault, task.folder, Path(place) / "copy", task.victim, task.other, task.records
        )
        if sample is None:
            return {"fault": task.fault, "said": None}
        original = dict(task.original)
        if fault is not None and fault.level == "forgery":
            # Who rewrites everything rewrites the list of checksums too.
            original = _checksums(sample.folder)
        return {"fault": task.fault, "said": inspect(sample, original, task.tools, task.shapes)}


def clean(
    folder: Path, *, victim: str, other: str, tools: tuple[str, ...] = OURS
) -> dict[str, frozenset[str]]:
    """Return what tools say of a campaign without a fault: false alarms, if anything."""
    original = tuple(_checksums(Path(folder)).items())
    said = _look(_Task(Path(folder), "", victim, other, tools, original))["said"]
    found: dict[str, frozenset[str]] = said
    return found


def find(
    folder: Path,
    *,
    victim: str,
    other: str,
    tools: tuple[str, ...] = TOOLS,
    records: Records | None = None,
    shapes: Path | None = None,
    jobs: int = 2,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Plant every fault, one at a time, and see who finds it.

    Parameters
    ----------
    folder : Path
        A finished campaign; it is not changed. It must not be published: a recorded crate is
        another one after every fault, so that the audit would find them all.
    victim, other : str
        Two of its runs, on one map.
    tools : tuple of str
        Of `TOOLS`.
    records : Records, optional
        Another telling of the campaign, whose checks are to be judged.
    shapes : Path, optional
        The authors' shapes; then they are one more tool.
    jobs : int
        Processes.

    Returns
    -------
    found : DataFrame of bool, shape (n_faults, n_tools)
        Whether the tool says something new.
    named : DataFrame of bool, shape (n_faults, n_tools)
        Whether something new names the victim; False for faults that are in no one run.
    """
    folder = Path(folder)
    original = tuple(_checksums(folder).items())
    if shapes is not None:
        tools = (*tools, AUTHORS)
    tasks = [
        _Task(folder, name, victim, other, tools, original, records, shapes)
        for name in ("", *(one.id for one in FAULTS))
    ]
    told = {
        one["fault"]: one["said"]
        for one in sweeps.run(_look, tasks, name="faults", n_jobs=jobs, cache=False)
    }
    clean = told.pop("")
    rows, names = {}, {}
    for fault in FAULTS:
        said = told[fault.id]
        new = {
            tool: (said[tool] - clean[tool] if said is not None else frozenset()) for tool in tools
        }
        rows[fault.id] = {tool: bool(texts) for tool, texts in new.items()}
        names[fault.id] = {
            tool: fault.names_run and any(victim in text for text in texts)
            for tool, texts in new.items()
        }
    return (
        pd.DataFrame.from_dict(rows, orient="index")[list(tools)],
        pd.DataFrame.from_dict(names, orient="index")[list(tools)],
    )
