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

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from lib.core import sweeps
from lib.core.paths import write_atomic
from lib.robot_provenance import audit, constraints, crate, export, validation
from lib.robot_provenance.record import (
    Activity,
    Derivation,
    Generation,
    Records,
    Usage,
    digest_file,
    load,
)
from lib.robot_provenance.study import corpus, runner
from lib.robot_provenance.study.runner import PLAN, TABLE
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


class NotHeldError(LookupError):
    """Records that have nothing that a fault could be in."""


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

    def of(self, kind: str, things: str = "entities") -> Any:
        """Return the victim's entity or activity of a kind, if the records tell of it."""
        for one in getattr(self.records, things).values():
            run = audit.run_of(one.path) if things == "entities" else one.run
            if (one.kind, run) == (kind, self.victim):
                return one
        raise NotHeldError(kind)

    @property
    def execution(self) -> Activity:
        """The victim's execution."""
        return self.of("TestExecution", "activities")  # type: ignore[no-any-return]

    @property
    def start(self) -> datetime:
        """When it began."""
        if self.execution.start is None:
            raise NotHeldError("start")
        return self.execution.start

    def tell(self, **changes: Any) -> None:
        """Change the records; relations may be any iterable."""
        told: dict[str, Any] = {
            k: v if isinstance(v, dict) else tuple(v) for k, v in changes.items()
        }
        self.records = replace(self.records, **told)

    def add(self, relation: str, one: Any) -> None:
        """Add a relation to the records."""
        self.tell(**{relation: (*getattr(self.records, relation), one)})

    def change(self, **changes: Any) -> None:
        """Change the victim's execution."""
        one = replace(self.execution, **changes)
        self.tell(activities=self.records.activities | {one.id: one})


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    id : str
    level : str
        ``records``, ``files``, ``forgery`` or ``crate``.
    plant : callable
        Changes a sample; raises `NotHeldError` where it has nothing that the fault could be in.
    names_run : bool
        Whether it is in one run, which a good finding names.
    """

    id: str
    level: str
    plant: Callable[[Sample], None]
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


def _early_use(s: Sample) -> None:
    mine, early = (s.execution.id, s.of("ConcreteScenario").id), s.start - HOUR
    told = s.records.usages
    s.tell(usages=[replace(u, time=early) if (u.activity, u.entity) == mine else u for u in told])


def _twice(s: Sample) -> None:
    post = s.of("Postprocessing", "activities")
    s.add("generations", Generation(s.of("TestResult").id, post.id, time=post.end))


def _cycle(s: Sample) -> None:
    bag, trace = s.of("RosBag").id, s.of("Traces").id
    if (trace, bag) not in {(d.entity, d.source) for d in s.records.derivations}:
        raise NotHeldError("derivation")
    s.add("derivations", Derivation(bag, trace))


def _dangling(s: Sample) -> None:
    if not s.records.usages:
        raise NotHeldError("usage")
    nowhere = s.records.base + "inputs/nowhere/map.pgm#0123456789abcdef"
    s.add("usages", Usage(s.execution.id, nowhere, "map"))


def _no_plan(s: Sample) -> None:
    name, told = s.execution.id, s.records.associations
    s.tell(associations=[replace(a, plan="") if a.activity == name else a for a in told])


def _no_agent(s: Sample) -> None:
    name = s.execution.id
    s.tell(associations=[a for a in s.records.associations if a.activity != name])


def _values(s: Sample, **changes: Any) -> None:
    """Change values of the execution; None takes one away."""
    told = {**s.execution.attributes, **changes}
    s.change(attributes={k: v for k, v in told.items() if v is not None})


def _late_clock(s: Sample) -> None:
    """Let an hour be missing from every time of the run."""
    mine = {a.id for a in s.records.activities.values() if a.run == s.victim and a.start}

    def moved(one: Any) -> Any:
        times = {k: v - HOUR for k, v in vars(one).items() if isinstance(v, datetime)}
        own = one.id if isinstance(one, Activity) else one.activity
        return replace(one, **times) if own in mine else one

    s.tell(
        activities={k: moved(a) for k, a in s.records.activities.items()},
        usages=map(moved, s.records.usages),
        generations=map(moved, s.records.generations),
    )


def _flip(file: Path, place: int, bits: int) -> None:
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= bits
    file.write_bytes(bytes(content))


def _first_map(s: Sample) -> Path:
    return sorted((s.folder / "inputs").rglob("*.pgm"))[0]


def _copy(s: Sample) -> None:
    shutil.copytree(s.path(""), s.folder / "runs" / f"{s.victim}-copy")


def _swap(s: Sample) -> None:
    mine, theirs, aside = s.path("bag"), s.folder / "runs" / s.other / "bag", s.folder / "aside"
    for source, target in ((mine, aside), (theirs, mine), (aside, theirs)):
        source.rename(target)


def _edit(s: Sample, *files: str, **changes: Any) -> None:
    """Change JSON files of the victim, written as they were."""
    for file in files:
        content = json.loads(s.path(file).read_text(encoding="utf-8")) | changes
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        s.path(file).write_text(text, encoding="utf-8")


def _column(s: Sample, column: str, value: Any) -> None:
    """Change the victim's row of the table; without a column, drop the row."""
    table = pd.read_csv(s.folder / TABLE)
    mine = table["run"] == s.victim
    if column:
        table.loc[mine, column] = value
    text = (table if column else table[~mine]).to_csv(index=False, lineterminator="\n")
    (s.folder / TABLE).write_text(text, encoding="utf-8")


def _result(s: Sample) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(s.path("result.json").read_text(encoding="utf-8"))
    return told


def _other(s: Sample) -> str:
    """Return an outcome that the victim did not have."""
    return "collision" if _result(s)["outcome"] == "success" else "success"


def _without(s: Sample, name: str) -> None:
    """Take a property of the crate's root away."""
    for node in s.crate.get("@graph", []):
        if node["@id"] == "./":
            node.pop(name, None)


def _stale(s: Sample) -> None:
    name = f"runs/{s.victim}/trace.csv"
    text = json.dumps(s.crate).replace(json.dumps(name), json.dumps(name + ".old"))
    s.crate = json.loads(text)


def _rewrite(s: Sample, *files: str, **told: Any) -> None:
    """Make the records fit the table and changed files of the victim: digests, names, values."""
    records, changed = s.records, {}
    wanted = {TABLE, PLAN, *(f"runs/{s.victim}/{file}" for file in files)}

    def fitting(one: Any) -> dict[str, Any]:
        return {k: told.get(k, v) for k, v in one.attributes.items()}

    for one in records.entities.values():
        if one.path in wanted:
            digest, size = digest_file(s.folder / one.path), (s.folder / one.path).stat().st_size
            new = {"id": file_iri(records.base, one.path, digest), "sha256": digest, "bytes": size}
            changed[one.id] = replace(one, **new, attributes=fitting(one))  # type: ignore[arg-type]
    quantities = [
        replace(q, value=told.get(q.name, q.value)) if q.subject in changed else q
        for q in records.quantities
    ]
    entities = [changed.get(k, v) for k, v in records.entities.items()]
    s.tell(entities={one.id: one for one in entities}, quantities=quantities)
    s.records = s.records.renamed({old: new.id for old, new in changed.items()})
    if s.victim in records.runs():
        s.change(attributes=fitting(s.execution))


def _forge(s: Sample, name: str, value: Any, *files: str, **told: Any) -> None:
    """Change a value in the result and other files, in the table and in the records."""
    _edit(s, "result.json", *files, **{name: value})
    _column(s, name, value)
    _rewrite(s, "result.json", *files, **{name: value}, **told)


def _forge_verdict(s: Sample) -> None:
    outcome = _other(s)
    _forge(s, "outcome", outcome, success=outcome == "success")


def _forge_seed(s: Sample) -> None:
    _forge(s, "seed", _result(s)["seed"] + 1, "scenario.json")


def _forge_measure(s: Sample) -> None:
    _edit(s, "result.json", metrics=_result(s)["metrics"] | {"path_length_m": 1.23})
    _column(s, "path_length_m", 1.23)
    _rewrite(s, "result.json", path_length=1.23)


def _forge_trace(s: Sample) -> None:
    lines = s.path("trace.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    s.path("trace.csv").write_text("".join(lines[:-1]), encoding="utf-8")
    _rewrite(s, "trace.csv")


def _suppress(s: Sample, plan: bool = False) -> None:
    shutil.rmtree(s.path(""))
    _column(s, "", None)
    if plan:
        told = json.loads((s.folder / PLAN).read_text(encoding="utf-8"))
        del told["runs"][s.victim]
        (s.folder / PLAN).write_text(json.dumps(told, sort_keys=True), encoding="utf-8")
    s.records = only(s.records, {*s.records.runs()} - {s.victim})
    _rewrite(s)


FAULTS: tuple[Fault, ...] = (
    # an execution ends before it starts; a scenario was used an hour before it was made
    Fault("end before start", "records", lambda s: s.change(end=s.start - timedelta(seconds=5))),
    Fault("use before generation", "records", _early_use),
    # a result by two activities; a bag from its own trace; a map that nothing declares
    Fault("generated twice", "records", _twice),
    Fault("derivation cycle", "records", _cycle),
    Fault("dangling reference", "records", _dangling),
    Fault("no agent", "records", _no_agent),
    Fault("no plan", "records", _no_plan),
    Fault("no seed", "records", lambda s: _values(s, seed=None)),
    Fault("unknown outcome", "records", lambda s: _values(s, outcome="passed")),
    Fault("shifted clock", "records", _late_clock),
    # as by a careless merge of two machines' results
    Fault("duplicate run", "files", _copy),
    Fault("changed byte", "files", lambda s: _flip(s.path("bag/bag.mcap"), 1000, 1)),
    Fault("missing file", "files", lambda s: s.path("trace.csv").unlink()),
    Fault("swapped bags", "files", _swap),
    Fault("re-labelled verdict", "files", lambda s: _edit(s, "result.json", outcome=_other(s))),
    Fault("edited table", "files", lambda s: _column(s, "outcome", _other(s))),
    Fault("changed map", "files", lambda s: _flip(_first_map(s), -1, 0xFF), names_run=False),
    Fault("missing licence", "crate", lambda s: _without(s, "license"), names_run=False),
    Fault("missing profile", "crate", lambda s: _without(s, "conformsTo"), names_run=False),
    # a file under another name
    Fault("stale crate", "crate", _stale, names_run=False),
    # everything that speaks of the change is rewritten to fit
    Fault("forged verdict", "forgery", _forge_verdict),
    Fault("forged seed", "forgery", _forge_seed),
    Fault("forged measure", "forgery", _forge_measure),
    Fault("forged trace", "forgery", _forge_trace),
    Fault("suppressed run", "forgery", _suppress),
    Fault("suppressed run, plan too", "forgery", lambda s: _suppress(s, plan=True)),
)


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
        None where there is nothing in these records, or their crate, that the fault could be in.
    """
    shutil.copytree(folder, target)
    told = load(folder) if records is None else records
    sample = Sample(target, told, _crate_of(told), victim, other)
    before = json.dumps(sample.crate)
    if fault is not None:
        try:
            fault.plant(sample)
        except NotHeldError:
            return None
        same = sample.records == told and json.dumps(sample.crate) == before
        if same and fault.level in ("records", "crate"):
            return None
        if fault.level != "crate":
            # A crate is made from the records as they are now.
            sample.crate = _crate_of(sample.records)
    if sample.crate:
        write_atomic(target / crate.DESCRIPTOR, json.dumps(sample.crate, sort_keys=True))
    return sample


# --- finding -------------------------------------------------------------------------------------


def checksums(folder: Path) -> dict[str, str]:
    """Return digests by path, of all but the crate: it is written after the list."""
    files = (f for f in sorted(folder.rglob("*")) if f.is_file() and f.name != crate.DESCRIPTOR)
    return {one.relative_to(folder).as_posix(): digest_file(one) for one in files}


_SAID: dict[tuple[str, str], list[str]] = {}


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
    told, now = sample.records, checksums(sample.folder)
    # What looks at the graph alone, or at the crate and its files, is asked once of equal ones.
    graph = export.serialize(told, "nt")
    packed = json.dumps([sample.crate, sorted(now)], sort_keys=True)
    ask: dict[str, tuple[str, Callable[[], Iterable[str]]]] = {
        "audit": ("", lambda: (str(one) for one in audit.audit(sample.folder, told))),
        "constraints": (graph, lambda: _words(told, "violations")),
        "clock": (graph, lambda: _words(told, "clock")),
        "shapes": (graph, lambda: _shacl(told, validation.SHAPES, "none")),
        "replay": ("", lambda: _replays(sample)),
        "checksum list": ("", lambda: dict(now.items() ^ original.items())),
        "crate, REQUIRED": ("", lambda: _crate(sample, packed, "REQUIRED")),
        "crate, RECOMMENDED": ("", lambda: _crate(sample, packed, "REQUIRED", "RECOMMENDED")),
        "prov unified()": (graph, lambda: corpus.unified(export.to_prov(told))),
        AUTHORS: (graph, lambda: _shacl(told, shapes or validation.SHAPES, "rdfs")),
    }
    found = {}
    for tool in tools:
        key, say = ask[tool]
        if not key or (tool, key) not in _SAID:
            _SAID[tool, key] = list(say())
        found[tool] = frozenset(_SAID[tool, key])
    return found


def _words(records: Records, what: str) -> list[str]:
    report = constraints.check(export.to_prov(records))
    return [f"{one.code} {one.message} {' '.join(one.statements)}" for one in getattr(report, what)]


def _shacl(records: Records, shapes: Path, inference: Literal["none", "rdfs"]) -> list[str]:
    report = validation.shacl(export.to_rdf(records), shapes, inference=inference)
    return [f"{one.check} {one.subject} {one.message}" for one in report]


_MADE: dict[tuple[Any, ...], tuple[dict[str, str], dict[str, bytes]]] = {}


def redo(recipe: audit.Recipe) -> dict[str, str]:
    """Make a run's files again with `runner.redo`, once in a process for equal inputs and seed."""
    used = tuple((kind, *map(digest_file, one)) for kind, one in sorted(recipe.used.items()))
    key = (recipe.run, recipe.attributes["seed"], used)
    if key not in _MADE:
        versions = runner.redo(recipe)
        files = [one for one in recipe.target.rglob("*") if one.is_file()]
        made = {one.relative_to(recipe.target).as_posix(): one.read_bytes() for one in files}
        _MADE[key] = versions, made
    for path, content in _MADE[key][1].items():
        write_atomic(recipe.target / path, content)
    return _MADE[key][0]


def _replays(sample: Sample) -> list[str]:
    """Replay those of the two runs that the records still know: nobody asks for another by name."""
    found = []
    for run in (one for one in (sample.victim, sample.other) if one in sample.records.runs()):
        try:
            again = audit.replay(sample.folder, run, redo, sample.records)
        except (ValueError, KeyError, OSError) as error:
            found.append(f"{run} cannot be replayed: {type(error).__name__}")
            continue
        if not again.agrees:
            found.append(f"{run} differs: {again.differing} {again.versions} {again.inputs}")
    return found


_JUDGED: dict[str, tuple[validation.Finding, ...]] = {"": ()}


def _crate(sample: Sample, packed: str, *severities: str) -> list[str]:
    packed = packed if sample.crate else ""
    if packed not in _JUDGED:
        _JUDGED[packed] = validation.validate_crate(sample.folder, "RECOMMENDED").issues
    found = [one for one in _JUDGED[packed] if one.severity in severities]
    return [f"{one.check} {one.subject} {one.message}" for one in found]


def _look(task: tuple[Any, ...]) -> dict[str, frozenset[str]] | None:
    """Plant one fault and let the tools look; "" is the campaign without a fault."""
    name, folder, victim, other, records, tools, shapes, retell = task
    fault = next((one for one in FAULTS if one.id == name), None)
    with tempfile.TemporaryDirectory() as place:
        sample = plant(fault, folder, Path(place) / "copy", victim, other, records)
        if sample is None:
            return None
        if retell is not None:
            sample.records = retell(sample.folder, sample.records.campaign)
        # Who rewrites everything rewrites the list of checksums too.
        forged = fault is not None and fault.level == "forgery"
        original = checksums(sample.folder if forged else folder)
        return inspect(sample, original, tools, shapes)


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
    faults = {one.id: one for one in chosen}
    tools = tools if shapes is None else (*tools, AUTHORS)
    rest = (Path(folder), victim, other, records, tools, shapes, retell)
    tasks = [(name, *rest) for name in ("", *faults)]
    quiet, *told = sweeps.run(_look, tasks, name="faults", n_jobs=jobs, cache=False)
    said = pd.Series(told, index=list(faults))
    new = pd.DataFrame(
        {tool: [(one or quiet)[tool] - quiet[tool] for one in told] for tool in tools}, said.index
    )
    named = new.map(lambda texts: any(victim in text for text in texts))
    named[[not one.names_run for one in faults.values()]] = False
    return Found(new.map(bool), named, said.notna(), quiet)
