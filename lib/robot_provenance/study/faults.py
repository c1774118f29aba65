"""Faults planted in a finished campaign, and what each tool makes of them.

A fault changes files, records or the crate. Most are accidents or careless edits; forgeries rewrite
everything that speaks of the change (digests, attributes, table, a list of checksums) to fit. A
tool has found a fault if it says something that it did not say about the campaign without the
fault, so what a tool always complains about does not count.

The tools are ours (`audit.audit`, `constraints.check` with its clock, our shapes, `audit.replay`)
and those in use: a list of checksums, roc-validator at two severities, ``unified()`` of ``prov``,
and the authors' shapes.
"""

from __future__ import annotations

import functools
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
from lib.robot_provenance.study import runner
from lib.robot_provenance.study.tellings import only
from lib.robot_provenance.vocabulary import file_iri

OURS: tuple[str, ...] = ("audit", "constraints", "clock", "shapes", "replay")
AUTHORS = "authors' shapes"
"""A peer that needs the authors' released file."""
TOOLS: tuple[str, ...] = (
    *OURS,
    *("checksum list", "crate, REQUIRED", "crate, RECOMMENDED", "prov unified()"),
)
HOUR = timedelta(hours=1)
TABLE = "metrics.csv"


@dataclass
class Sample:
    """A campaign that a fault is planted in.

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

    @property
    def execution(self) -> Activity | None:
        """The victim's execution, if the records tell of it."""
        all_of = self.records.activities.values()
        return next((a for a in all_of if (a.run, a.kind) == (self.victim, "TestExecution")), None)

    def made(self, kind: str) -> Entity | None:
        """Return the victim's file of a kind, if the records tell of it."""
        all_of = self.records.entities.values()
        found = (e for e in all_of if e.kind == kind and audit.run_of(e.path) == self.victim)
        return next(found, None)

    def tell(self, **changes: Any) -> bool:
        """Change the records; return whether that made a difference."""
        before, self.records = self.records, replace(self.records, **changes)
        return self.records != before

    def change(self, **changes: Any) -> bool:
        """Change the victim's execution, if there is one."""
        one = self.execution
        if one is None:
            return False
        return self.tell(activities=self.records.activities | {one.id: replace(one, **changes)})


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


@dataclass(frozen=True)
class Found:
    """Who found which fault.

    Attributes
    ----------
    seen : DataFrame of bool, shape (n_faults, n_tools)
        Whether the tool says something new.
    named : DataFrame of bool, shape (n_faults, n_tools)
        Whether something new names the victim; False for faults that are in no one run.
    held : Series of bool, shape (n_faults,)
        Whether these records can hold the fault at all; where not, nothing is seen.
    quiet : dict of str to frozenset of str
        What each tool says of the campaign without a fault.
    """

    seen: pd.DataFrame
    named: pd.DataFrame
    held: pd.Series
    quiet: dict[str, frozenset[str]]


# --- planting ------------------------------------------------------------------------------------

_FAULTS: list[Fault] = []


def _fault(
    id: str, text: str, level: str, names_run: bool = True
) -> Callable[[Callable[[Sample], bool]], Callable[[Sample], bool]]:
    """Enter a function as a fault."""

    def enter(plant: Callable[[Sample], bool]) -> Callable[[Sample], bool]:
        _FAULTS.append(Fault(id, text, level, plant, names_run))
        return plant

    return enter


@_fault("end before start", "an execution ends five seconds before it starts", "records")
def _end_before_start(s: Sample) -> bool:
    start = s.execution.start if s.execution else None
    return start is not None and s.change(end=start - timedelta(seconds=5))


@_fault("use before generation", "a scenario was used an hour before it was made", "records")
def _use_before_generation(s: Sample) -> bool:
    scenario, one = s.made("ConcreteScenario"), s.execution
    if scenario is None or one is None or one.start is None:
        return False
    early, mine = one.start - HOUR, (one.id, scenario.id)
    usages = s.records.usages
    return s.tell(
        usages=tuple(
            replace(u, time=early) if (u.activity, u.entity) == mine else u for u in usages
        )
    )


@_fault("generated twice", "a result is generated by two activities", "records")
def _double_generation(s: Sample) -> bool:
    result, all_of = s.made("TestResult"), s.records.activities.values()
    post = [a for a in all_of if (a.run, a.kind) == (s.victim, "Postprocessing")]
    if result is None or not post:
        return False
    more = Generation(result.id, post[0].id, time=post[0].end)
    return s.tell(generations=(*s.records.generations, more))


@_fault("derivation cycle", "a bag is derived from its own trace", "records")
def _derivation_cycle(s: Sample) -> bool:
    bag, trace = s.made("RosBag"), s.made("Traces")
    told = {(d.entity, d.source) for d in s.records.derivations}
    if bag is None or trace is None or (trace.id, bag.id) not in told:
        return False
    return s.tell(derivations=(*s.records.derivations, Derivation(bag.id, trace.id)))


@_fault("dangling reference", "an execution used a map that nothing declares", "records")
def _dangling_reference(s: Sample) -> bool:
    if s.execution is None or not s.records.usages:
        return False
    nowhere = s.records.base + "inputs/nowhere/map.pgm#0123456789abcdef"
    return s.tell(usages=(*s.records.usages, Usage(s.execution.id, nowhere, "map")))


@_fault("no agent", "nobody is associated with an execution", "records")
def _missing_agent(s: Sample) -> bool:
    name = s.execution and s.execution.id
    return s.tell(associations=tuple(a for a in s.records.associations if a.activity != name))


@_fault("no plan", "an execution followed no plan", "records")
def _missing_plan(s: Sample) -> bool:
    name, all_of = s.execution and s.execution.id, s.records.associations
    return s.tell(
        associations=tuple(replace(a, plan="") if a.activity == name else a for a in all_of)
    )


@_fault("no seed", "an execution has no seed", "records")
def _missing_seed(s: Sample) -> bool:
    told = s.execution.attributes if s.execution else {}
    return "seed" in told and s.change(attributes={k: v for k, v in told.items() if k != "seed"})


@_fault("unknown outcome", "an execution has an outcome that is none", "records")
def _wrong_outcome(s: Sample) -> bool:
    told = s.execution.attributes if s.execution else {}
    return "outcome" in told and s.change(attributes={**told, "outcome": "passed"})


@_fault("shifted clock", "a machine's clock was an hour late during a run", "records")
def _shifted_clock(s: Sample) -> bool:
    all_of = s.records.activities
    mine = {a.id for a in all_of.values() if a.run == s.victim and a.start}

    def moved(one: Any) -> Any:
        return replace(one, time=one.time - HOUR) if one.activity in mine and one.time else one

    def earlier(a: Activity) -> Activity:
        return replace(a, start=a.start and a.start - HOUR, end=a.end and a.end - HOUR)

    return s.tell(
        activities={k: earlier(a) if k in mine else a for k, a in all_of.items()},
        usages=tuple(map(moved, s.records.usages)),
        generations=tuple(map(moved, s.records.generations)),
    )


@_fault("duplicate run", "a run's folder lies there twice", "files")
def _duplicate_run(s: Sample) -> bool:
    """Copy a run's folder under another name, as a careless merge of two machines' results does."""
    shutil.copytree(s.path(""), s.folder / "runs" / f"{s.victim}-copy")
    return True


def _flip(file: Path, place: int, bits: int) -> bool:
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= bits
    file.write_bytes(bytes(content))
    return True


@_fault("changed byte", "one bit of a bag is flipped", "files")
def _changed_byte(s: Sample) -> bool:
    file = s.path("bag/bag.mcap")
    return _flip(file, file.stat().st_size // 2, 1)


@_fault("missing file", "a trace is gone", "files")
def _missing_file(s: Sample) -> bool:
    s.path("trace.csv").unlink()
    return True


@_fault("swapped bags", "two runs have each other's bag", "files")
def _swapped_bags(s: Sample) -> bool:
    mine, theirs, aside = (
        s.path("bag"), s.folder / "runs" / s.other / "bag", s.folder / "aside"
    )  # fmt: skip
    for source, target in ((mine, aside), (theirs, mine), (aside, theirs)):
        source.rename(target)
    return True


def _edit(s: Sample, file: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON file of the victim, written as it was."""
    content = json.loads(s.path(file).read_text(encoding="utf-8"))
    change(content)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    s.path(file).write_text(text, encoding="utf-8")


def _column(s: Sample, column: str, value: Any) -> bool:
    """Change the victim's row of the table."""
    table = pd.read_csv(s.folder / TABLE)
    table.loc[table["run"] == s.victim, column] = value
    text = table.to_csv(index=False, lineterminator="\n")
    (s.folder / TABLE).write_text(text, encoding="utf-8")
    return True


def _other(s: Sample) -> str:
    """Return an outcome that the victim did not have."""
    result = json.loads(s.path("result.json").read_text(encoding="utf-8"))
    return "collision" if result["outcome"] == "success" else "success"


@_fault("re-labelled verdict", "a result says another outcome", "files")
def _relabelled(s: Sample) -> bool:
    other = _other(s)
    _edit(s, "result.json", lambda content: content.update(outcome=other))
    return True


@_fault("edited table", "the table says another outcome", "files")
def _edited_table(s: Sample) -> bool:
    return _column(s, "outcome", _other(s))


@_fault("changed map", "one cell of a map is another", "files", names_run=False)
def _changed_map(s: Sample) -> bool:
    return _flip(sorted((s.folder / "inputs").rglob("*.pgm"))[0], -1, 0xFF)


def _node(s: Sample, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next((n for n in s.crate.get("@graph", []) if n["@id"] == name), {})
    return found


@_fault("missing licence", "the crate has no licence", "crate", names_run=False)
def _missing_licence(s: Sample) -> bool:
    return _node(s, "./").pop("license", None) is not None


@_fault("missing profile", "the crate does not say what it conforms to", "crate", names_run=False)
def _missing_profile(s: Sample) -> bool:
    return _node(s, "./").pop("conformsTo", None) is not None


@_fault("stale crate", "the crate lists a file under another name", "crate", names_run=False)
def _stale(s: Sample) -> bool:
    name = f"runs/{s.victim}/trace.csv"
    held = bool(_node(s, name))
    text = json.dumps(s.crate).replace(json.dumps(name), json.dumps(name + ".old"))
    s.crate = json.loads(text)
    return held


def _rewrite(s: Sample, paths: Iterable[str], told: Mapping[str, Any]) -> bool:
    """Make the records fit changed files: digests, names that hold digests, attributes."""
    records, wanted = s.records, set(paths)
    changed: dict[str, Entity] = {}
    for one in records.entities.values():
        if one.path in wanted:
            digest, size = digest_file(s.folder / one.path), (s.folder / one.path).stat().st_size
            kept = {k: told.get(k, v) for k, v in one.attributes.items()}
            name = file_iri(records.base, one.path, digest)
            changed[one.id] = replace(one, id=name, sha256=digest, bytes=size, attributes=kept)
    get = {old: new.id for old, new in changed.items()}

    def moved(one: Any, *fields: str) -> Any:
        return replace(one, **{f: get.get(getattr(one, f), getattr(one, f)) for f in fields})

    s.tell(
        entities={get.get(k, k): changed.get(k, v) for k, v in records.entities.items()},
        usages=tuple(moved(u, "entity") for u in records.usages),
        generations=tuple(moved(g, "entity") for g in records.generations),
        derivations=tuple(moved(d, "entity", "source") for d in records.derivations),
        associations=tuple(moved(a, "plan") for a in records.associations),
        quantities=tuple(
            replace(moved(q, "subject"), value=told.get(q.name, q.value))
            if q.subject in changed
            else q
            for q in records.quantities
        ),
    )
    if s.execution is not None:
        s.change(attributes={k: told.get(k, v) for k, v in s.execution.attributes.items()})
    return True


@_fault("forged verdict", "another outcome, and everything rewritten to fit", "forgery")
def _forged_verdict(s: Sample) -> bool:
    outcome = _other(s)
    _relabelled(s)
    _column(s, "outcome", outcome)
    told = {"outcome": outcome, "success": outcome == "success"}
    return _rewrite(s, [f"runs/{s.victim}/result.json", TABLE], told)


@_fault("forged seed", "another seed, and everything rewritten to fit", "forgery")
def _forged_seed(s: Sample) -> bool:
    seed = json.loads(s.path("scenario.json").read_text(encoding="utf-8"))["seed"] + 1
    files = ("scenario.json", "result.json")
    for file in files:
        _edit(s, file, lambda content: content.update(seed=seed))
    _column(s, "seed", seed)
    return _rewrite(s, [*(f"runs/{s.victim}/{file}" for file in files), TABLE], {"seed": seed})


@_fault("forged measure", "another length of the path, and everything rewritten to fit", "forgery")
def _forged_measure(s: Sample) -> bool:
    _edit(s, "result.json", lambda content: content["metrics"].update(path_length_m=1.23))
    _column(s, "path_length_m", 1.23)
    return _rewrite(s, [f"runs/{s.victim}/result.json", TABLE], {"path_length": 1.23})


@_fault("forged trace", "a trace is shorter, and its digest is rewritten", "forgery")
def _forged_trace(s: Sample) -> bool:
    lines = s.path("trace.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    s.path("trace.csv").write_text("".join(lines[:-1]), encoding="utf-8")
    return _rewrite(s, [f"runs/{s.victim}/trace.csv"], {})


@_fault("suppressed run", "a run is gone from folder, table and records", "forgery")
def _suppressed(s: Sample) -> bool:
    shutil.rmtree(s.path(""))
    table = pd.read_csv(s.folder / TABLE)
    text = table[table["run"] != s.victim].to_csv(index=False, lineterminator="\n")
    (s.folder / TABLE).write_text(text, encoding="utf-8")
    if s.victim in s.records.runs():
        s.records = only(s.records, set(s.records.runs()) - {s.victim})
    return _rewrite(s, [TABLE], {})


FAULTS: tuple[Fault, ...] = tuple(_FAULTS)


def _crate_of(records: Records) -> dict[str, Any]:
    try:
        return crate.build(records)
    except (crate.CrateError, KeyError):
        return {}


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
    sample = Sample(target, told, _crate_of(told), victim, other)
    if fault is not None:
        if not fault.plant(sample):
            return None
        if fault.level in ("records", "forgery"):
            # A crate is made from the records as they are now.
            sample.crate = _crate_of(sample.records)
    if sample.crate:
        write_atomic(target / crate.DESCRIPTOR, json.dumps(sample.crate, sort_keys=True))
    return sample


# --- finding -------------------------------------------------------------------------------------


def _checksums(folder: Path) -> dict[str, str]:
    """Return digests by path, of all but the crate: it is written after the list."""
    files = (f for f in sorted(folder.rglob("*")) if f.is_file() and f.name != crate.DESCRIPTOR)
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
    told = sample.records

    @functools.cache
    def checked() -> constraints.Report:
        return constraints.check(export.to_prov(told))

    def words(rows: Iterable[Any]) -> list[str]:
        return [f"{one.code} {one.message} {' '.join(one.statements)}" for one in rows]

    def sums() -> list[str]:
        now = _checksums(sample.folder)
        return [
            path for path in now.keys() | original.keys() if now.get(path) != original.get(path)
        ]

    ask: dict[str, Callable[[], Iterable[str]]] = {
        "audit": lambda: [
            f"{one.code} {one.run} {one.path} {one.message}"
            for one in audit.audit(sample.folder, told)
        ],
        "constraints": lambda: words(checked().violations),
        "clock": lambda: words(checked().clock),
        "shapes": lambda: _shacl(told, validation.SHAPES, "none"),
        "replay": lambda: _replays(sample),
        "checksum list": sums,
        "crate, REQUIRED": lambda: _crate(sample, "REQUIRED"),
        "crate, RECOMMENDED": lambda: _crate(sample, "RECOMMENDED"),
        "prov unified()": lambda: _unified(told),
        AUTHORS: lambda: _shacl(told, shapes or validation.SHAPES, "rdfs"),
    }
    return {tool: frozenset(ask[tool]()) for tool in tools}


def _shacl(records: Records, shapes: Path, inference: Literal["none", "rdfs"]) -> list[str]:
    report = validation.shacl(export.to_rdf(records), shapes, inference=inference)
    return [f"{one.check} {one.subject} {one.message}" for one in report.findings]


def _unified(records: Records) -> list[str]:
    try:
        export.to_prov(records).unified()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    return []


def _replays(sample: Sample) -> list[str]:
    """Replay the two runs that faults are about."""
    found = []
    for run in (sample.victim, sample.other):
        try:
            again = audit.replay(sample.folder, run, runner.redo, sample.records)
        except (ValueError, KeyError, OSError) as error:
            found.append(f"{run} cannot be replayed: {type(error).__name__}")
            continue
        if not again.agrees:
            found.append(f"{run} differs: {again.differing} {again.versions}")
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
    retell: Callable[[Path, str], Records] | None = None


def _look(task: _Task) -> dict[str, Any]:
    """Plant one fault and let the tools look; "" is the campaign without a fault."""
    fault = next((one for one in FAULTS if one.id == task.fault), None)
    with tempfile.TemporaryDirectory() as place:
        where = Path(place) / "copy"
        sample = plant(fault, task.folder, where, task.victim, task.other, task.records)
        if sample is None:
            return {"fault": task.fault, "said": None}
        if task.retell is not None:
            sample.records = task.retell(sample.folder, sample.records.campaign)
        original = dict(task.original)
        if fault is not None and fault.level == "forgery":
            # Who rewrites everything rewrites the list of checksums too.
            original = _checksums(sample.folder)
        return {"fault": task.fault, "said": inspect(sample, original, task.tools, task.shapes)}


def find(
    folder: Path,
    *,
    victim: str,
    other: str,
    tools: tuple[str, ...] = TOOLS,
    records: Records | None = None,
    shapes: Path | None = None,
    retell: Callable[[Path, str], Records] | None = None,
    chosen: Iterable[Fault] = FAULTS,
    jobs: int = 2,
) -> Found:
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
    retell : callable, optional
        Makes the telling anew after the fault, from folder and campaign: the fault came first.
    chosen : iterable of Fault
    jobs : int
        Processes.

    Returns
    -------
    Found
    """
    folder, wanted = Path(folder), tuple(chosen)
    original = tuple(_checksums(folder).items())
    tools = tools if shapes is None else (*tools, AUTHORS)
    tasks = [
        _Task(folder, name, victim, other, tools, original, records, shapes, retell)
        for name in ("", *(one.id for one in wanted))
    ]
    looked = sweeps.run(_look, tasks, name="faults", n_jobs=jobs, cache=False)
    told = {one["fault"]: one["said"] for one in looked}
    quiet = told.pop("")
    rows: dict[str, dict[str, bool]] = {}
    names: dict[str, dict[str, bool]] = {}
    for fault in wanted:
        said = told[fault.id] or quiet
        new = {tool: said[tool] - quiet[tool] for tool in tools}
        rows[fault.id] = {tool: bool(texts) for tool, texts in new.items()}
        names[fault.id] = {
            tool: fault.names_run and any(victim in text for text in texts)
            for tool, texts in new.items()
        }
    held = pd.Series({one.id: told[one.id] is not None for one in wanted})
    seen, named = (pd.DataFrame.from_dict(x, orient="index")[list(tools)] for x in (rows, names))
    return Found(seen, named, held, quiet)
