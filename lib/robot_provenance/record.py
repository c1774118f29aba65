"""Provenance recorded while it happens, as an append-only log, and read back.

A `Recorder` writes one JSON object a line and flushes each, so that a process killed at any moment
leaves a log that can be read up to there. A line is one of the classes below, by its fields; things
of this execution are named from ``/``, those of the log's own folder from ``./``. An activity is a
context manager: it is written down when the block is entered and again when it is left, and an
exception is written down before it goes on its way. Each execution of a campaign has a UUID, which
is part of every identifier, so that records of two executions can be put together.

`load` joins the logs of a campaign and of its runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, get_args
from urllib.parse import unquote

import numpy as np

from lib.core import check
from lib.robot_provenance.vocabulary import (
    ACTIVITY_KINDS,
    ENTITY_KINDS,
    ROLES,
    UNITS,
    base_iri,
    check_iri,
    content_iri,
    file_iri,
    iri,
    local_name,
    named,
    place_iri,
    slug,
)

LOG = "records.jsonl"
"""Name of a log; one in the campaign's folder and one in each run's."""

FORMAT = "robot-provenance/3"
AgentKind = Literal["SoftwareAgent", "Person", "Organization"]
Scalar = str | int | float | bool


class RecordError(ValueError):
    """Something that must not be recorded, or a log that cannot be trusted."""


def digest_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_folder(members: Mapping[str, str]) -> str:
    """Return a digest of a folder from the digests of its files by relative path.

    Examples
    --------
    >>> digest_folder({"b": "2", "a": "1"}) == digest_folder({"a": "1", "b": "2"})
    True
    """
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(members.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


# --- what a log says, once read ----------------------------------------------------------------


@dataclass(frozen=True)
class Agent:
    """Who or what acted.

    Parameters
    ----------
    id : str
        IRI.
    kind : {"SoftwareAgent", "Person", "Organization"}
    name, version : str
    acts_for : str
        IRI of the agent on whose behalf it acts; empty for none.
    url : str
        Home page; may be empty.
    """

    id: str
    kind: str
    name: str
    version: str = ""
    acts_for: str = ""
    url: str = ""


@dataclass(frozen=True)
class Entity:
    """A thing: a file at a place, or a value that has a digest and no place.

    Parameters
    ----------
    id : str
        IRI; see `lib.robot_provenance.vocabulary`.
    kind : str
        A key of ``ENTITY_KINDS``, or an IRI.
    label : str
    path : str
        Place below the campaign's folder, with ``/``; empty where there is none.
    location : str
        IRI of the place; empty where there is none.
    sha256 : str
        Of the bytes; empty for what has none, such as a collection of runs.
    bytes : int or None
        Size.
    attributes : mapping
        Plain values by name.
    members : tuple of str
        IRIs, where it is a collection.
    """

    id: str
    kind: str
    label: str
    path: str = ""
    location: str = ""
    sha256: str = ""
    bytes: int | None = None
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Activity:
    """Something that happened.

    Parameters
    ----------
    id : str
        IRI.
    kind : str
        A key of ``ACTIVITY_KINDS``, or an IRI.
    label : str
    run : str
        Run to which it belongs; empty for the campaign.
    start, end : datetime or None
        With time zone. No end: it was interrupted. An end before the start is what a clock said
        that was set back.
    status : {"completed", "failed", "interrupted"}
    error : str
        Type and message, where it failed.
    attributes : mapping
        Plain values by name, such as seed and outcome.
    """

    id: str
    kind: str
    label: str
    run: str = ""
    start: datetime | None = None
    end: datetime | None = None
    status: str = "completed"
    error: str = ""
    attributes: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """An activity used an entity."""

    activity: str
    entity: str
    role: str = "input"
    time: datetime | None = None


@dataclass(frozen=True)
class Generation:
    """An activity generated an entity."""

    entity: str
    activity: str
    role: str = "output"
    time: datetime | None = None


@dataclass(frozen=True)
class Derivation:
    """An entity was derived from another; `reason` says why where a repair did it."""

    entity: str
    source: str
    activity: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Association:
    """An agent took part in an activity, following a plan."""

    activity: str
    agent: str
    plan: str = ""
    role: str = ""


@dataclass(frozen=True)
class Communication:
    """One activity was informed by another."""

    informed: str
    informant: str


@dataclass(frozen=True)
class Quantity:
    """A number with a unit (a key of ``UNITS``, or an IRI), of an entity or an activity."""

    subject: str
    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Records:
    """All that a campaign's logs say.

    Parameters
    ----------
    campaign : str
    about : mapping
        Title, description, licence, creators, as given to the campaign's recorder.
    agents, entities, activities : dict
        By IRI, in the order of the logs.
    usages, generations, derivations, associations, communications, quantities : tuple
    problems : tuple of str
        What was tolerated: a truncated last line, an activity without end, a clock set back.
    execution : str
        UUID of this execution of the campaign; empty for records that were not logged.
    """

    campaign: str
    about: Mapping[str, Any]
    agents: dict[str, Agent]
    entities: dict[str, Entity]
    activities: dict[str, Activity]
    usages: tuple[Usage, ...]
    generations: tuple[Generation, ...]
    derivations: tuple[Derivation, ...]
    associations: tuple[Association, ...]
    communications: tuple[Communication, ...]
    quantities: tuple[Quantity, ...]
    problems: tuple[str, ...] = ()
    execution: str = ""

    @property
    def base(self) -> str:
        """The IRI below which the things of this execution of the campaign are named."""
        return f"arcp://uuid,{self.execution}/" if self.execution else base_iri(self.campaign)

    def of_kind(self, kind: str) -> list[Entity] | list[Activity]:
        """Return the entities, or else the activities, of a kind, ours or a caller's IRI."""
        entities = [one for one in self.entities.values() if one.kind == kind]
        return entities or [one for one in self.activities.values() if one.kind == kind]

    def runs(self) -> list[str]:
        """Return the run identifiers, sorted."""
        return sorted({one.run for one in self.activities.values() if one.run})

    def without(self, names: Container[str]) -> Records:
        """Return the records without some things, by IRI, and without what is said of these."""

        def kept(one: Any) -> bool:
            return not any(value in names for name, value in vars(one).items() if name in IRIS)

        told: dict[str, Any] = {
            name: {k: v for k, v in getattr(self, name).items() if k not in names}
            for name in _THINGS
        }
        told |= {name: tuple(filter(kept, getattr(self, name))) for name in RELATIONS}
        return replace(self, **told)

    def renamed(self, names: Mapping[str, str]) -> Records:
        """Return the records with relations, each once, that speak of other things, by IRI."""

        def moved(one: Any) -> Any:
            told = {k: v for k, v in vars(one).items() if k in IRIS}
            return replace(one, **{k: names.get(v, v) for k, v in told.items()})

        told: dict[str, Any] = {
            name: tuple(dict.fromkeys(map(moved, getattr(self, name)))) for name in RELATIONS
        }
        return replace(self, **told)


RELATIONS: dict[str, type] = {
    "usages": Usage,
    "generations": Generation,
    "derivations": Derivation,
    "associations": Association,
    "communications": Communication,
    "quantities": Quantity,
}
"""What `Records` holds of each kind of relation."""
_THINGS: dict[str, type] = {"agents": Agent, "entities": Entity, "activities": Activity}
_KINDS = {one.__name__: (name, one) for name, one in {**_THINGS, **RELATIONS}.items()}
IRIS = {
    *("id", "activity", "entity", "source", "agent", "plan", "informed", "informant", "subject"),
    *("acts_for", "location"),
}
"""Fields that name a thing."""
RESERVED = {"run", "path", "status", "sha256", "kind", "error", "value", "reason"}
"""Names that the record gives a meaning of its own."""
LINKS = {"references": "dcterms:references", "attributed_to": "prov:wasAttributedTo"}
"""Attributes of entities whose value is the IRI of something else, and their properties."""


# --- writing -------------------------------------------------------------------------------------


class Running:
    """An activity that is going on; made by `Recorder.activity`."""

    def __init__(self, recorder: Recorder, activity: Activity) -> None:
        self._recorder, self.activity = recorder, activity

    @property
    def iri(self) -> str:
        """The activity's IRI."""
        return self.activity.id

    def used(
        self, thing: Path | str | Entity, *, kind: str = "File", role: str = "input"
    ) -> Entity:
        """Record that a file or a known entity was used.

        Parameters
        ----------
        thing : Path, str or Entity
            A path that exists, or what the recorder returned.
        kind : str
            Of the file, where a path is given.
        role : str
            A key of ``ROLES``, or a word of the caller's; see `Recorder`.

        Raises
        ------
        RecordError
            If there is no such file.
        ValueError
            If the kind or role is unknown.
        """
        role = self._recorder.word("role", role, ROLES)
        found = self._recorder.file(thing, kind=kind)
        self._recorder.write(Usage(self.iri, found.id, role, self._recorder.now()))
        return found

    def generated(
        self,
        path: Path | str,
        *,
        kind: str = "File",
        role: str = "output",
        derived_from: Sequence[Entity] = (),
        reason: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> Entity:
        """Record an output that has been written, a file or a folder (a collection), and hash it.

        Raises
        ------
        RecordError
            If it is not there, or these bytes were generated there before; a file that was
            overwritten with others is another one.
        ValueError
            If the kind or role is unknown.
        """
        role = self._recorder.word("role", role, ROLES)
        found = self._recorder.file(path, kind=kind, attributes=attributes)
        for one in (found.id, *found.members):
            self._recorder.made_by(self.iri, one, role)
        for source in derived_from:
            self.derived(found, source, reason=reason)
        return found

    def made(self, value: Any, *, kind: str, label: str, role: str = "output") -> Entity:
        """Record a value that was made and is in no file; its digest is of canonical JSON."""
        role = self._recorder.word("role", role, ROLES)
        scope = local_name(self.iri) + "/"
        found = self._recorder.value(value, kind=kind, label=label, scope=scope)
        self._recorder.made_by(self.iri, found.id, role)
        return found

    def derived(self, entity: Entity, source: Entity, *, reason: str = "") -> None:
        """Record that one entity comes from another; a repair gives its reason."""
        self._recorder.write(Derivation(entity.id, source.id, self.iri, reason))

    def attribute(self, **values: Any) -> None:
        """Record plain values of the activity, such as ``seed=3`` and ``outcome="success"``.

        Names may also be IRIs: ``attribute(**{"https://ex.org/robot#grip": "firm"})``.
        """
        told = {**self.activity.attributes, **self._recorder.values(values)}
        self.activity = replace(self.activity, attributes=told)
        self._recorder.write(self.activity)

    def quantity(self, name: str, value: float, unit: str, *, of: Entity | None = None) -> None:
        """Record a number with a unit, of the activity or of an entity.

        Parameters
        ----------
        name : str
        value : float
        unit : str
            A symbol in ``UNITS``, ``unit:NAME`` with QUDT's name, or an IRI.
        of : Entity, optional

        Raises
        ------
        ValueError
            If the value is not a finite number or the unit is unknown.
        """
        number, known = check.number(name, value), self._recorder.word("unit", unit, UNITS)
        told = (of.id if of else self.iri, self._recorder.attribute_name(name))
        self._recorder.measure(Quantity(*told, number, known))

    def informed_by(self, other: str) -> None:
        """Record that another activity, with this IRI, informed this one."""
        self._recorder.write(Communication(self.iri, check_iri("other", other)))


def _checked_about(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told about a campaign, if its addresses are IRIs."""
    told = dict(about)
    for name in ("license", "issued", "title", "description", "language"):
        if name in told:
            check.text(name, told[name])
    if "license" in told:
        check_iri("license", told["license"])
    for creator in told.get("creators", ()):
        check.known("kind of a creator", creator.get("kind"), get_args(AgentKind))
        check.text("name of a creator", creator.get("name"))
        check_iri("iri of a creator", creator.get("iri"))
    return told


class Recorder:
    """Writes one log, or goes on with it; use it as a context manager.

    Kinds, roles, names of attributes and units may be the book's words, words in `terms`, IRIs, or
    ``prefix:name`` with a prefix of `lib.robot_provenance.vocabulary.PREFIXES`.

    Parameters
    ----------
    folder : Path
        Where the log ``records.jsonl`` is. A run's lies in ``runs/`` of `root`, and may have
        another name while it is written: its files are recorded below ``runs/<run>``.
    campaign : str
        Name of the campaign.
    root : Path, optional
        The campaign's folder, where this log is a run's; `folder` otherwise.
    run : str
        Run identifier; empty for the campaign's own log.
    about : mapping, optional
        Title, description, ``license`` (IRI), ``creators`` (kind, name, iri); for the campaign's
        log.
    terms : mapping of str to str, optional
        The caller's own words and their IRIs.
    clock : callable
        Returns the time, with a time zone.
    execution : str, optional
        UUID of this execution of the campaign. By default that of the log in `root`, or a new one.

    Raises
    ------
    ValueError
        If a name, an IRI or a UUID is none.
    RecordError
        If a log that is there belongs to something else or is open elsewhere, or a run's is at a
        place where `load` would not look for it.

    Examples
    --------
    >>> import tempfile
    >>> mine = {"GraspExecution": "https://ex.org/robot#GraspExecution"}
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = Path(place)
    ...     with Recorder(folder, campaign="demo", terms=mine) as recorder:
    ...         with recorder.activity("GraspExecution", "grasp the cup") as step:
    ...             _ = (folder / "force.csv").write_text("t,x")
    ...             force = step.generated(folder / "force.csv")
    ...             step.quantity("peak", 12.5, "N", of=force)
    ...     records = load(folder)
    >>> [one.kind for one in records.activities.values()]
    ['https://ex.org/robot#GraspExecution']
    >>> [one.sha256[:16] for one in records.entities.values()]
    ['6b7dd2ec48667a67']
    """

    def __init__(
        self,
        folder: Path,
        *,
        campaign: str,
        root: Path | None = None,
        run: str = "",
        about: Mapping[str, Any] | None = None,
        terms: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        execution: str = "",
    ) -> None:
        self.folder = Path(folder)
        self.root = Path(root) if root is not None else self.folder
        self.campaign, self.run = check.text("campaign", campaign), run
        self.execution = str(uuid.UUID(execution)) if execution else ""
        self.terms = {word: iri(address) for word, address in (terms or {}).items()}
        self._about, self._clock = _checked_about(about or {}), clock
        self._stream: IO[bytes] | None = None
        self._count = 0
        self._known: dict[str, Any] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._measured: set[tuple[str, str]] = set()
        self._made: set[str] = set()
        where = self.root / "runs"
        if run and self.folder.resolve().parent != where.resolve():
            raise RecordError(f"{folder}: of run {run!r}, expected a folder in {where}")
        slug(campaign)
        self.now()

    def __enter__(self) -> Recorder:
        file, whole = self.folder / LOG, self.root / LOG
        self.folder.mkdir(parents=True, exist_ok=True)
        for log in (file, whole):
            if log.is_file() and log.stat().st_size:
                with log.open("rb") as stream:
                    header = _header(stream.readline(), log)
                self.execution = self.execution or header["execution"]
                told = ("campaign", "execution", *(["run"] if log == file else []))
                _same_log(log, header, {name: getattr(self, name) for name in told})
        self.execution = self.execution or str(uuid.uuid4())
        ours = file.open("ab")
        try:
            # Two that count the same lines would give one name to two activities.
            fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            ours.close()
            raise RecordError(f"{file}: is open elsewhere, expected one recorder a log") from None
        self._stream, content = ours, file.read_bytes()
        end = content.rfind(b"\n") + 1
        self._count, dropped = content.count(b"\n"), content[end:]
        os.truncate(file, end)
        rows = (_parse(line, str(file)) for line in content[:end].splitlines())
        self._made = {str(row.get("entity")) for row in rows if row["r"] == "Generation"}
        header = {"r": "log", "format": FORMAT, "campaign": self.campaign, "run": self.run}
        header |= {"execution": self.execution, "about": self._about}
        self._line(header | ({"dropped": dropped.decode("utf-8", "replace")} if dropped else {}))
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            # Not by closing alone: a forked process may still hold the file.
            fcntl.flock(self._stream, fcntl.LOCK_UN)
            self._stream.close()
            self._stream = None

    @property
    def base(self) -> str:
        """The IRI below which everything of this execution is named; known once it is open."""
        return f"arcp://uuid,{self.execution}/"

    @property
    def place(self) -> str:
        """The IRI below which the files of the log's own folder are named."""
        return place_iri(self.base, _where(self.run))

    def now(self) -> datetime:
        """Return the clock's time."""
        moment = self._clock()
        if not isinstance(moment, datetime) or moment.utcoffset() is None:
            raise RecordError(f"the clock's time is {moment!r}, expected one with a time zone")
        return moment

    # --- lines and words

    def _line(self, row: Mapping[str, Any]) -> None:
        if self._stream is None:
            raise RecordError(f"{self.folder / LOG}: the recorder is not open")
        text = json.dumps(row, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        try:
            line = text.encode()
        except UnicodeEncodeError as error:
            raise RecordError(f"{text[:80]!r}: holds what is no text: {error.reason}") from None
        self._stream.write(line + b"\n")
        self._stream.flush()

    def write(self, one: Any) -> Any:
        """Append a thing or a relation, without what is empty, and return it."""
        row: dict[str, Any] = {"r": type(one).__name__}
        for name, value in vars(one).items():
            if isinstance(value, datetime):
                row[name] = value.isoformat()
            elif name == "location":
                row[name] = value
            elif name in IRIS or name == "members":
                short = [self._short(v) for v in ([value] if isinstance(value, str) else value)]
                row[name] = short[0] if isinstance(value, str) else short
            else:
                row[name] = value
        row = {k: v for k, v in row.items() if v not in ("", None, {}, [])}
        # A thing that is told again says what is new; a file's name tells its place.
        known = {**_of_name(one.id, self.base)} if isinstance(one, Entity) else {}
        known |= self._rows.get(one.id, {"run": self.run}) if isinstance(one, Activity) else {}
        if "id" in row:
            self._rows[one.id] = row
        vague = {k: v for k, v in row.items() if k in ("r", "id") or known.get(k) != v}
        self._line(vague)
        return one

    def _short(self, name: str) -> str:
        for base, word in ((self.place, "./"), (self.base, "/")):
            if name.startswith(base):
                return word + name.removeprefix(base)
        return name

    def _once(self, one: Any) -> Any:
        """Append a thing unless it is in this log, as far as this recorder has written it."""
        if self._known.get(one.id) != one:
            self._known[one.id] = self.write(one)
        return one

    def word(self, what: str, word: str, table: Mapping[str, Any]) -> str:
        """Return a kind, role or unit in the form in which it is recorded; see `Recorder`."""
        return named(what, word, table, self.terms)

    def attribute_name(self, name: str) -> str:
        """Return an attribute's name: the caller's IRI, or a plain word."""
        if name in self.terms or (":" in name and not name.endswith(":")):
            return named("attribute", name, {}, self.terms)
        if slug(name) in RESERVED:
            raise RecordError(f"{name!r} is the record's own word, expected another or an IRI")
        return slug(name)

    def values(self, values: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return plain values by name; numpy's scalars become Python's."""
        found: dict[str, Scalar] = {}
        for name, given in values.items():
            value = given.item() if isinstance(given, np.generic) else given
            if not isinstance(value, str | int | float | bool):
                raise RecordError(f"{name} is {given!r}, expected a text, number or truth value")
            if isinstance(value, float):
                check.number(name, value)
            if name in LINKS:
                check_iri(name, str(value))
            if (key := self.attribute_name(name)) in found:
                raise RecordError(f"{name!r} and another name are both recorded as {key!r}")
            found[key] = value
        return found

    # --- things

    def agent(
        self,
        name: str,
        *,
        kind: AgentKind = "SoftwareAgent",
        version: str = "",
        iri: str = "",
        url: str = "",
        acts_for: Agent | None = None,
    ) -> Agent:
        """Record who or what acts; the same name, version and IRI give the same agent.

        Raises
        ------
        ValueError
            If the kind is unknown, the name is empty, or `iri` or `url` is no IRI.
        """
        check.known("kind", kind, get_args(AgentKind))
        local = slug(check.text("name", name)) + (f"-{slug(version)}" if version else "")
        address = check_iri("iri", iri) if iri else f"{self.base}.prov/agent/{local}"
        url = check_iri("url", url) if url else ""
        found = Agent(address, kind, name, version, acts_for.id if acts_for else "", url)
        if self._known.get(address, found) != found:
            raise RecordError(f"{name!r} is recorded as {self._known[address]}, now as {found}")
        return self._once(found)  # type: ignore[no-any-return]

    def file(
        self,
        path: Path | str | Entity,
        *,
        kind: str = "File",
        label: str = "",
        source: str = "",
        name: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> Entity:
        """Record a file that is there already, or a folder as a collection.

        Parameters
        ----------
        path : Path, str or Entity
            An entity is returned as it is.
        kind : str
            A key of ``ENTITY_KINDS``, or a word of the caller's; see `Recorder`.
        label : str
            Defaults to the file's name.
        source : str
            Name of the collection it comes from, such as a data set, where it lies outside the
            campaign's folder.
        name : str
            Its path inside that collection; the file's name by default.
        attributes : mapping, optional
            Plain values; ``references`` and ``attributed_to`` hold IRIs.

        Raises
        ------
        ValueError
            If the kind or an IRI is none.
        RecordError
            If it is not there, or its path is not text.
        """
        if isinstance(path, Entity):
            return path
        kind, values = self.word("kind", kind, ENTITY_KINDS), self.values(attributes or {})
        place = Path(path)
        if not place.exists():
            raise RecordError(f"{place}: no such file, expected one that can be hashed")
        inner = (name or place.name) if source else self._inner(place)
        base = base_iri(source or self.base)
        members: dict[str, Entity] = {}
        if place.is_dir():
            for one in sorted(item for item in place.rglob("*") if item.is_file()):
                part = _BAG_MEMBERS.get(one.suffix, "File") if kind == "RosBag" else "File"
                members[one.relative_to(place).as_posix()] = self.file(one, kind=part)
            digest = digest_folder({path: one.sha256 for path, one in members.items()})
            size = sum(one.bytes or 0 for one in members.values())
        else:
            digest, size = digest_file(place), place.stat().st_size
        found = Entity(
            file_iri(base, inner, digest),
            kind,
            label or PurePosixPath(inner).name,
            "" if source else inner,
            place_iri(base, inner),
            digest,
            size,
            values,
            tuple(one.id for one in members.values()),
        )
        known = self._known.get(found.id)
        if known and kind == "File":
            return known  # type: ignore[no-any-return]
        return self._once(found)  # type: ignore[no-any-return]

    def value(self, value: Any, *, kind: str, label: str, scope: str = "") -> Entity:
        """Record a value that lies in no file; its digest is that of its canonical JSON."""
        kind = self.word("kind", kind, ENTITY_KINDS)
        local = f"{scope}{slug(local_name(kind))}-{slug(check.text('label', label))}"
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest, size = hashlib.sha256(text.encode()).hexdigest(), len(text.encode())
        name, told = f"{self.place}.prov/{local}#{digest[:16]}", {"value": text}
        found = Entity(name, kind, label, sha256=digest, bytes=size, attributes=told)
        return self._once(found)  # type: ignore[no-any-return]

    def measure(self, one: Quantity) -> None:
        """Record a quantity; refuse a second one of its name and subject."""
        if (one.subject, one.name) in self._measured:
            raise RecordError(f"{one.name!r} of {one.subject} is recorded twice, expected once")
        self._measured.add((one.subject, one.name))
        self.write(one)

    def made_by(self, activity: str, entity: str, role: str) -> None:
        """Record a generation; refuse a second one of the same bytes at the same place."""
        if self._short(entity) in self._made:
            raise RecordError(f"{entity}: generated twice, expected once")
        self._made.add(self._short(entity))
        self.write(Generation(entity, activity, role, self.now()))

    def _inner(self, place: Path) -> str:
        """Return a file's path below the campaign's folder."""
        try:
            os.fspath(place).encode("utf-8")
        except UnicodeEncodeError:
            raise RecordError(
                f"{os.fsencode(place)!r}: the path is not UTF-8; no graph can carry it, rename it"
            ) from None
        absolute = place.resolve()
        for base, where in ((self.folder.resolve(), _where(self.run)), (self.root.resolve(), "")):
            if absolute.is_relative_to(base):
                path = where + absolute.relative_to(base).as_posix()
                if ".prov" in path.split("/"):
                    raise RecordError(f"{place}: .prov is reserved for identifiers")
                return path
        raise RecordError(
            f"{place}: outside the campaign's folder {self.root}; give `source`, the name of the "
            "collection it comes from"
        )

    # --- activities

    @contextmanager
    def activity(
        self,
        kind: str,
        label: str,
        *,
        plan: Path | str | Entity | None = None,
        agent: Agent | Sequence[Agent] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> Iterator[Running]:
        """Record an activity while the block runs.

        Parameters
        ----------
        kind : str
            A key of ``ACTIVITY_KINDS``, or a word of the caller's; see `Recorder`.
        label : str
        plan : Path or Entity, optional
            What the agents followed.
        agent : Agent or sequence of Agent
        attributes : mapping, optional

        Yields
        ------
        Running

        Raises
        ------
        ValueError
            If the kind is unknown.
        RecordError
            If the clock has no time zone. A clock that is set back inside
            the block is written down as it is; `load` reports it and `audit` names it.
        """
        kind = self.word("kind", kind, ACTIVITY_KINDS)
        values, told = self.values(attributes or {}), check.text("label", label)
        self._count += 1
        name = f"{self.place}.prov/{self._count}-{slug(local_name(kind))}"
        begun = Activity(name, kind, told, self.run, self.now(), None, "interrupted", "", values)
        running = Running(self, self.write(begun))
        followed = self.file(plan).id if plan is not None else ""
        for who in [agent] if isinstance(agent, Agent) else agent:
            self.write(Association(name, who.id, followed))
        status, error = "completed", ""
        try:
            yield running
        except BaseException as raised:
            status, error = "failed", f"{type(raised).__name__}: {raised}"
            raise
        finally:
            self.write(replace(running.activity, end=self.now(), status=status, error=error))


_BAG_MEMBERS = {".mcap": "MCAPFile", ".yaml": "BagFileMetadata"}
"""Kinds of the files in a bag: messages and a table of contents."""


def _where(run: str) -> str:
    return f"runs/{run}/" if run else ""


def _of_name(name: str, base: str) -> dict[str, str]:
    """Return what the name of a file of this execution tells of it."""
    place, mark, _ = name.partition("#")
    if not mark or not place.startswith(base) or "/.prov/" in place:
        return {}
    path = unquote(place.removeprefix(base))
    return {"path": path, "location": place, "label": PurePosixPath(path).name}


# --- reading -------------------------------------------------------------------------------------


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RecordError(f"{where}: not a JSON object: {error}") from None
    if not isinstance(row, dict) or "r" not in row:
        raise RecordError(f"{where}: expected an object with the key 'r'")
    return row


def _header(line: bytes, file: Path) -> dict[str, Any]:
    """Return a log's first line, which says whose it is."""
    where = f"{file}:1"
    row: dict[str, Any] = _parse(line, where) if line else {"r": ""}
    if row["r"] != "log":
        raise RecordError(f"{where}: expected the log's first line, which names the campaign")
    if row.get("format") != FORMAT:
        raise RecordError(f"{where}: format is {row.get('format')!r}, expected {FORMAT!r}")
    try:
        return row | {
            "campaign": check.text("campaign", row.get("campaign")),
            "run": row.get("run", ""),
            "execution": str(uuid.UUID(row.get("execution", ""))),
            "about": _checked_about(row.get("about") or {}),
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise RecordError(f"{where}: {error}") from None


def _same_log(file: Path, header: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for name, value in wanted.items():
        if header[name] != value:
            raise RecordError(f"{file}:1: {name} is {header[name]!r}, expected {value!r}")


def load(folder: Path) -> Records:
    """Read all logs below a campaign's folder.

    Parameters
    ----------
    folder : Path
        Has ``records.jsonl``; runs have theirs in ``runs/*/``.

    Raises
    ------
    RecordError
        If there is no log, a line is damaged (the message names file and line; only the last line
        of a log may be cut off), a kind or unit is unknown, a digest or an IRI is none, a time has
        no zone, logs disagree on the campaign or its execution, or two logs tell of the same run.
    """
    folder = Path(folder)
    files = [folder / LOG] if (folder / LOG).is_file() else []
    # A run that a killed process left behind has a name that starts with a dot.
    files += sorted(folder.glob(f"runs/[!.]*/{LOG}"))
    if not files:
        raise RecordError(f"{folder}: no {LOG} in it or in its runs")
    whole: dict[str, Any] = {}
    told: dict[str, Any] = {name: {} for name in _THINGS} | {name: [] for name in RELATIONS}
    about: dict[str, Any] = {}
    problems: list[str] = []
    logs: dict[str, Path] = {}
    for file in files:
        content = file.read_bytes()
        lines = content.splitlines()
        if lines and not content.endswith(b"\n"):
            problems.append(f"{file}:{len(lines)}: the last line is cut off and was left out")
            lines.pop()
        header = _header(lines[0] if lines else b"", file)
        whole = whole or header
        _same_log(file, header, {name: whole[name] for name in ("campaign", "execution")})
        first = logs.setdefault(header["run"], file)
        if first != file:
            raise RecordError(f"run {header['run']!r} is recorded twice: {first} and {file}")
        about |= header["about"]
        for number, line in enumerate(lines, 1):
            row, where = _parse(line, f"{file}:{number}"), f"{file}:{number}"
            if row["r"] == "log":
                dropped = row.get("dropped")
                problems += [f"{where}: a cut-off line was dropped: {dropped!r}"] if dropped else []
                continue
            try:
                _take(told, _thing(row, header, told["activities"]))
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                raise RecordError(f"{where}: {error}") from None
    for one in told["activities"].values():
        if one.status == "interrupted":
            problems.append(f"{one.run or whole['campaign']}: {one.kind} {one.label!r} has no end")
        elif one.start and one.end and one.end < one.start:
            problems.append(
                f"{one.kind} {one.label!r} ends at {one.end.isoformat()}, before its start "
                f"{one.start.isoformat()}: the clock was set back"
            )
    told |= {name: tuple(told[name]) for name in RELATIONS}
    told |= {"problems": tuple(problems), "execution": whole["execution"]}
    return Records(whole["campaign"], about, **told)


def _thing(row: dict[str, Any], header: Mapping[str, Any], known: Mapping[str, Any]) -> Any:
    """Return what a line tells, checked and with whole IRIs."""
    if row["r"] not in _KINDS:
        raise ValueError(f"{row['r']!r} is no kind of line that we know")
    kind = _KINDS[row.pop("r")][1]
    base = f"arcp://uuid,{header['execution']}/"

    def whole(short: str) -> str:
        own = place_iri(base, _where(header["run"]))
        name = own + short[2:] if short.startswith("./") else base + short[1:]
        return check_iri("iri", name if short.startswith(("./", "/")) else short)

    for name, value in row.items():
        if name in IRIS:
            row[name] = whole(value)
        elif name == "members":
            row[name] = tuple(map(whole, value))
        elif name in ("start", "end", "time"):
            row[name] = datetime.fromisoformat(value)
            if row[name].tzinfo is None:
                raise ValueError(f"{name} is {value!r}, expected a time with a zone")
    if kind is Entity:
        row = _of_name(row["id"], base) | row
    before = known.get(row["id"]) if kind is Activity else None
    if before and {"kind", "start"} <= row.keys():
        raise ValueError(f"{row['id']} begins twice")
    one = replace(before, **row) if before else kind(**row)
    if kind is Activity and not before:
        one = replace(one, run=header["run"], status=row.get("status", "interrupted"))
    if kind is Entity:
        content_iri(one.sha256)
        check.integer("bytes", one.bytes, at_least=0)
        for link in LINKS.keys() & one.attributes.keys():
            check_iri(link, one.attributes[link])
    if kind in (Entity, Activity):
        named("kind", one.kind, ENTITY_KINDS if kind is Entity else ACTIVITY_KINDS, {})
    if kind is Activity:
        check.known("status", one.status, ("completed", "failed", "interrupted"))
    if kind is Agent:
        check.known("kind", one.kind, get_args(AgentKind))
    if kind is Quantity:
        check.number("value", one.value)
        named("unit", one.unit, UNITS, {})
    return one


def _take(told: dict[str, Any], one: Any) -> None:
    """Enter what a line tells; a later line about a thing goes on with an earlier one."""
    rows = told[_KINDS[type(one).__name__][0]]
    if isinstance(rows, list):
        rows.append(one)
        return
    known = rows.get(one.id)
    if isinstance(one, Entity) and known:
        # The same file seen twice: what either knows, holds.
        one = replace(
            known,
            kind=one.kind if known.kind == "File" else known.kind,
            attributes={**known.attributes, **one.attributes},
            members=known.members or one.members,
        )
    rows[one.id] = one
