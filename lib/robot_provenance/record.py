"""Provenance recorded while it happens, as an append-only log, and read back.

A `Recorder` writes one JSON object a line and flushes each, so that a process killed at any moment
leaves a log that can be read up to there. An activity is a context manager: its start is written
when the block is entered, its outputs are hashed and its end is written when the block is left, and
an exception is written down before it goes on its way. Each execution of a campaign has a UUID,
which is part of every identifier, so that records of two executions can be put together.

`load` joins the logs of a campaign and of its runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, get_args
from urllib.parse import quote

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

FORMAT = "robot-provenance/2"
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


def _now() -> datetime:
    return datetime.now(UTC)


def _aware(moment: datetime, what: str) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None or moment.utcoffset() is None:
        raise RecordError(f"{what} is {moment!r}, expected a datetime with a time zone")
    return moment


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
        return _base(self.execution) if self.execution else base_iri(self.campaign)

    def of_kind(self, kind: str) -> list[Entity] | list[Activity]:
        """Return the entities or activities of a kind, ours or a caller's IRI.

        Raises
        ------
        KeyError
            If there is no such kind.
        """
        entities = [one for one in self.entities.values() if one.kind == kind]
        activities = [one for one in self.activities.values() if one.kind == kind]
        if not entities and not activities and kind not in {**ENTITY_KINDS, **ACTIVITY_KINDS}:
            raise KeyError(kind)
        return entities or activities

    def runs(self) -> list[str]:
        """Return the run identifiers, sorted."""
        return sorted({one.run for one in self.activities.values() if one.run})


def _base(execution: str) -> str:
    return f"arcp://uuid,{execution}/"


# --- writing -------------------------------------------------------------------------------------


@dataclass
class Handle:
    """An entity or agent as a recorder knows it: its local name, and its digest once hashed."""

    key: str
    path: str = ""
    sha256: str = ""


class Running:
    """An activity that is going on; made by `Recorder.activity`."""

    def __init__(self, recorder: Recorder, key: str, kind: str) -> None:
        self._recorder = recorder
        self.key = key
        self.kind = kind
        self._outputs: list[tuple[Path, str, str, dict[str, Scalar], Handle]] = []
        self._later: list[dict[str, Any]] = []

    def used(
        self, thing: Path | str | Handle, *, kind: str = "File", role: str = "input"
    ) -> Handle:
        """Record that a file or a known entity was used.

        Parameters
        ----------
        thing : Path, str or Handle
            A path that exists, or what the recorder returned for an entity.
        kind : str
            Of the file, where a path is given.
        role : str
            A key of ``ROLES``, or a word of the caller's; see `Recorder`.

        Raises
        ------
        RecordError
            If there is no such file, or the kind or role is unknown.
        """
        role = self._recorder.word("role", role, ROLES)
        handle = self._recorder.file(thing, kind=kind)
        self._recorder.write({"r": "used", "a": self.key, "e": handle.key, "role": role, "t": True})
        return handle

    def generated(
        self,
        path: Path | str,
        *,
        kind: str = "File",
        role: str = "output",
        derived_from: Sequence[Handle] = (),
        reason: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> Handle:
        """Announce an output, a file or a folder (a collection); it is hashed when the block ends.

        Raises
        ------
        RecordError
            If the path was announced before, or the kind or role is unknown. When the block ends
            without error and the output is missing.
        """
        place, recorder = Path(path), self._recorder
        known = recorder.word("kind", kind, ENTITY_KINDS), recorder.word("role", role, ROLES)
        values = recorder.values(attributes or {})
        recorder.claim(place)
        handle = Handle(recorder.next_key("e"))
        self._outputs.append((place, *known, values, handle))
        self._derive(handle, derived_from, reason)
        return handle

    def made(
        self,
        value: Any,
        *,
        kind: str,
        label: str,
        role: str = "output",
        derived_from: Sequence[Handle] = (),
    ) -> Handle:
        """Record a value that was made and is in no file; its digest is of canonical JSON."""
        role = self._recorder.word("role", role, ROLES)
        handle = self._recorder.value(value, kind=kind, label=label, scope=self.key)
        self._recorder.write(
            {"r": "generated", "e": handle.key, "a": self.key, "role": role, "t": True}
        )
        self._derive(handle, derived_from, "")
        return handle

    def derived(self, entity: Handle, source: Handle, *, reason: str = "") -> None:
        """Record that one entity comes from another; a repair gives its reason."""
        self._derive(entity, [source], reason)

    def attribute(self, **values: Any) -> None:
        """Record plain values of the activity, such as ``seed=3`` and ``outcome="success"``.

        Names may also be IRIs: ``attribute(**{"https://ex.org/robot#grip": "firm"})``.
        """
        self._recorder.write({"r": "set", "of": self.key, "values": self._recorder.values(values)})

    def quantity(self, name: str, value: float, unit: str, *, of: Handle | None = None) -> None:
        """Record a number with a unit, of the activity or of an entity.

        Parameters
        ----------
        name : str
        value : float
        unit : str
            A symbol in ``UNITS``, ``unit:NAME`` with QUDT's name, or an IRI.
        of : Handle, optional

        Raises
        ------
        ValueError
            If the value is not a finite number or the unit is unknown.
        """
        number = check.number(name, value)
        known = self._recorder.word("unit", unit, UNITS)
        row = {"r": "quantity", "of": of.key if of else self.key, "value": number, "unit": known}
        self._write(row | {"name": self._recorder.attribute_name(name)})

    def informed_by(self, other: Running | str) -> None:
        """Record that another activity, of this log or with this IRI, informed this one."""
        if isinstance(other, Running) and other._recorder is self._recorder:
            self._recorder.write({"r": "informed", "a": self.key, "of": other.key})
            return
        by = other.iri if isinstance(other, Running) else check_iri("other", other)
        self._recorder.write({"r": "informed", "a": self.key, "by": by})

    @property
    def iri(self) -> str:
        """The activity's IRI, if it is in the campaign's log."""
        return _activity_iri(self._recorder.base, "campaign", self.key, self.kind)

    def _write(self, row: dict[str, Any]) -> None:
        """Write a line, or keep it until the output that it is about has been hashed."""
        pending = {handle.key for *_, handle in self._outputs}
        if pending & {row.get("e"), row.get("of"), row.get("from")}:
            self._later.append(row)
        else:
            self._recorder.write(row)

    def _derive(self, handle: Handle, sources: Iterable[Handle], reason: str) -> None:
        for source in sources:
            row = {"r": "derived", "e": handle.key, "from": source.key, "a": self.key}
            self._write(row | ({"reason": reason} if reason else {}))

    def _finish(self, failed: bool) -> None:
        missing: set[str] = set()
        while self._outputs:
            place, kind, role, attributes, handle = self._outputs.pop(0)
            if not place.exists():
                if failed:
                    missing.add(handle.key)
                    continue
                raise RecordError(f"{place}: announced as an output, but it is not there")
            members = self._recorder.enter(place, kind, handle, attributes)
            for key in [handle.key, *members]:
                self._recorder.write(
                    {"r": "generated", "e": key, "a": self.key, "role": role, "t": True}
                )
        for row in self._later:
            if not missing & {row.get("e"), row.get("of"), row.get("from")}:
                self._recorder.write(row)
        self._later.clear()


def _activity_iri(base: str, scope: str, key: str, kind: str) -> str:
    return f"{base}.prov/{scope}/{key}-{slug(local_name(kind))}"


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
    """Writes one log; use it as a context manager.

    Kinds, roles, names of attributes and units may be the book's words, words in `terms`, IRIs, or
    ``prefix:name`` with a prefix of `lib.robot_provenance.vocabulary.PREFIXES`.

    Parameters
    ----------
    folder : Path
        Where the log ``records.jsonl`` is. It may be renamed later: paths inside it are stored
        relative to it.
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
    resume : bool
        Whether a log may be there already; then it is continued.
    execution : str, optional
        UUID of this execution of the campaign. By default that of the log in `root`, or a new one.

    Attributes
    ----------
    seconds : float
        Time spent recording so far, hashing included.

    Raises
    ------
    ValueError
        If a name, an IRI or a UUID is none.
    RecordError
        If a log is there and `resume` is not set, or belongs to something else.

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
        clock: Callable[[], datetime] = _now,
        resume: bool = False,
        execution: str = "",
    ) -> None:
        self.folder = Path(folder)
        self.root = Path(root) if root is not None else self.folder
        self.campaign, self.run = check.text("campaign", campaign), run
        self.execution = str(uuid.UUID(execution)) if execution else ""
        self.terms = {word: iri(address) for word, address in (terms or {}).items()}
        self._about = _checked_about(about or {})
        self._clock = clock
        self._resume = resume
        self._stream: IO[bytes] | None = None
        self._count = 0
        self._files: dict[tuple[str, str], Handle] = {}
        self._agents: dict[tuple[str, ...], Handle] = {}
        self._claimed: set[str] = set()
        self.seconds = 0.0
        slug(campaign)
        _aware(clock(), "the clock's time")

    def __enter__(self) -> Recorder:
        file = self.folder / LOG
        if file.exists() and not self._resume:
            raise RecordError(f"{file}: there is a log already; resume it or choose a folder")
        dropped = self._reopen(file) if file.exists() else {}
        whole = self.root / LOG
        if not self.execution and whole.is_file():
            with whole.open("rb") as stream:
                self.execution = _header(stream.readline(), whole)["execution"]
        self.execution = self.execution or str(uuid.uuid4())
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stream = file.open("ab")
        header: dict[str, Any] = {"r": "log", "format": FORMAT, "campaign": self.campaign}
        header |= {"run": self.run, "execution": self.execution, "about": self._about}
        self.write(header | {"t": True} | dropped)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _reopen(self, file: Path) -> dict[str, Any]:
        """Check that the log is ours, cut a truncated last line off, and say so."""
        content = file.read_bytes()
        end = content.rfind(b"\n") + 1
        lines = content[:end].splitlines()
        if lines:
            found = _header(lines[0], file)
            self.execution = self.execution or found["execution"]
            for name in ("campaign", "run", "execution"):
                if found[name] != getattr(self, name):
                    raise RecordError(
                        f"{file}: the log's {name} is {found[name]!r}, expected "
                        f"{getattr(self, name)!r}"
                    )
        self._count = len(lines)
        if end == len(content):
            return {}
        with file.open("r+b") as stream:
            stream.truncate(end)
        return {"dropped": content[end:].decode("utf-8", "replace")}

    @property
    def base(self) -> str:
        """The IRI below which everything of this execution is named; known once it is open."""
        return _base(self.execution)

    # --- lines and words

    def next_key(self, prefix: str) -> str:
        """Return a name that is new in this log."""
        self._count += 1
        return f"{prefix}{self._count}"

    def write(self, row: dict[str, Any]) -> None:
        """Append one line and flush it; ``"t": True`` is replaced by the time."""
        began = time.perf_counter()
        if self._stream is None:
            raise RecordError(f"{self.folder / LOG}: the recorder is not open")
        if row.get("t") is True:
            row = row | {"t": _aware(self._clock(), "the clock's time").isoformat()}
        text = json.dumps(row, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        try:
            line = text.encode()
        except UnicodeEncodeError as error:
            raise RecordError(f"{text[:80]!r}: holds what is no text: {error.reason}") from None
        self._stream.write(line + b"\n")
        self._stream.flush()
        self.seconds += time.perf_counter() - began

    def word(self, what: str, word: str, table: Mapping[str, Any]) -> str:
        """Return a kind, role or unit in the form in which it is recorded; see `Recorder`."""
        return named(what, word, table, self.terms)

    def attribute_name(self, name: str) -> str:
        """Return an attribute's name: the caller's IRI, or a plain word."""
        if name in self.terms or (":" in name and not name.endswith(":")):
            return named("attribute", name, {}, self.terms)
        return slug(name)

    def values(self, values: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return plain values by name; numpy's scalars become Python's."""
        found: dict[str, Scalar] = {}
        for name, given in values.items():
            value = given.item() if isinstance(given, np.generic) else given
            if not isinstance(value, str | int | float | bool):
                raise RecordError(
                    f"{name} is {given!r}, expected a text, a number or a truth value"
                )
            if isinstance(value, float):
                check.number(name, value)
            if name in LINKS:
                check_iri(name, str(value))
            found[self.attribute_name(name)] = value
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
        acts_for: Handle | None = None,
    ) -> Handle:
        """Record who or what acts; the same name, version and IRI give the same agent.

        Raises
        ------
        ValueError
            If the kind is unknown, the name is empty, or `iri` or `url` is no IRI.
        """
        check.known("kind", kind, get_args(AgentKind))
        slug(check.text("name", name))
        row: dict[str, Any] = {"r": "agent", "kind": kind, "name": name}
        row |= {"version": version} if version and slug(check.text("version", version)) else {}
        row |= {"iri": check_iri("iri", iri)} if iri else {}
        row |= {"url": check_iri("url", url)} if url else {}
        row |= {"for": acts_for.key} if acts_for else {}
        known = (name, version, iri)
        if known not in self._agents:
            self._agents[known] = Handle(self.next_key("g"))
            self.write(row | {"id": self._agents[known].key})
        return self._agents[known]

    def file(
        self,
        path: Path | str | Handle,
        *,
        kind: str = "File",
        label: str = "",
        source: str = "",
        name: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> Handle:
        """Record a file that is there already, or a folder as a collection.

        Parameters
        ----------
        path : Path, str or Handle
            A handle is returned as it is.
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
        if isinstance(path, Handle):
            return path
        known = self.word("kind", kind, ENTITY_KINDS)
        place = Path(path)
        if not place.exists():
            raise RecordError(f"{place}: no such file, expected one that can be hashed")
        handle = Handle("")
        self.enter(place, known, handle, self.values(attributes or {}), label, source, name)
        return handle

    def value(self, value: Any, *, kind: str, label: str, scope: str = "") -> Handle:
        """Record a value that lies in no file; its digest is that of its canonical JSON."""
        known = self.word("kind", kind, ENTITY_KINDS)
        slug(check.text("label", label))
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        row: dict[str, Any] = {"r": "entity", "id": self.next_key("e"), "kind": known}
        row |= {"label": label, "sha256": digest, "bytes": len(text.encode()), "value": text}
        self.write(row | ({"scope": scope} if scope else {}))
        return Handle(row["id"], sha256=digest)

    def claim(self, place: Path) -> None:
        """Refuse an output that another activity of this log has already announced."""
        path = self._path(place, "", "")
        if path in self._claimed:
            raise RecordError(f"{place}: generated twice, expected once")
        self._claimed.add(path)

    def enter(
        self,
        place: Path,
        kind: str,
        handle: Handle,
        attributes: Mapping[str, Scalar],
        label: str = "",
        source: str = "",
        name: str = "",
    ) -> list[str]:
        """Hash a file or folder and write it down under the handle's name; return its members'."""
        path = self._path(place, source, name)
        members: list[str] = []
        began = time.perf_counter()
        if place.is_dir():
            digests: dict[str, str] = {}
            size = 0
            for one in sorted(item for item in place.rglob("*") if item.is_file()):
                inner = _BAG_MEMBERS.get(one.suffix, "File") if kind == "RosBag" else "File"
                part = self.file(one, kind=inner)
                digests[one.relative_to(place).as_posix()] = part.sha256
                members.append(part.key)
                size += one.stat().st_size
            digest = digest_folder(digests)
        else:
            digest, size = digest_file(place), place.stat().st_size
        self.seconds += time.perf_counter() - began
        known = self._files.get((path, digest))
        if known is not None and not handle.key:
            handle.key, handle.path, handle.sha256 = known.key, path, digest
            return members
        handle.key = handle.key or self.next_key("e")
        handle.path, handle.sha256 = path, digest
        self._files[path, digest] = handle
        row: dict[str, Any] = {"r": "entity", "id": handle.key, "kind": kind, "path": path}
        row |= {"sha256": digest, "bytes": size}
        extra = {"source": source, "label": label, "members": members, "values": dict(attributes)}
        self.write(row | {key: value for key, value in extra.items() if value})
        return members

    def _path(self, place: Path, source: str, name: str) -> str:
        """Return the path to store: ``./…`` below the log's folder, else below the campaign's."""
        try:
            os.fspath(place).encode("utf-8")
        except UnicodeEncodeError:
            raise RecordError(
                f"{os.fsencode(place)!r}: the path is not UTF-8; no graph can carry it, rename it"
            ) from None
        if source:
            slug(source)
            return name or place.name
        absolute = place.resolve()
        for base, prefix in ((self.folder.resolve(), "./"), (self.root.resolve(), "")):
            if absolute.is_relative_to(base):
                path = absolute.relative_to(base).as_posix()
                if path.split("/")[0] == ".prov":
                    raise RecordError(f"{place}: .prov is reserved for identifiers")
                return prefix + path
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
        used: Sequence[Path | str | Handle] = (),
        plan: Path | str | Handle | None = None,
        agent: Handle | Sequence[Handle] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> Iterator[Running]:
        """Record an activity while the block runs.

        Parameters
        ----------
        kind : str
            A key of ``ACTIVITY_KINDS``, or a word of the caller's; see `Recorder`.
        label : str
        used : sequence
            Inputs known at the start.
        plan : Path or Handle, optional
            What the agents followed.
        agent : Handle or sequence of Handle
        attributes : mapping, optional

        Yields
        ------
        Running

        Raises
        ------
        ValueError
            If the kind is unknown.
        RecordError
            If an input is missing, or the clock has no time zone. A clock that is set back inside
            the block is written down as it is; `load` reports it and `audit` names it.
        """
        known = self.word("kind", kind, ACTIVITY_KINDS)
        values = self.values(attributes or {})
        running = Running(self, self.next_key("a"), known)
        row = {"r": "start", "id": running.key, "kind": known, "label": check.text("label", label)}
        self.write(row | {"t": True} | ({"values": values} if values else {}))
        for one in used:
            running.used(one)
        followed = self.file(plan) if plan is not None else None
        for one in [agent] if isinstance(agent, Handle) else agent:
            line = {"r": "associated", "a": running.key, "g": one.key}
            self.write(line | ({"plan": followed.key} if followed else {}))
        end: dict[str, Any] = {"r": "end", "id": running.key, "t": True}
        try:
            yield running
            running._finish(failed=False)
        except BaseException as error:
            running._finish(failed=True)
            self.write(end | {"status": "failed", "error": f"{type(error).__name__}: {error}"})
            raise
        self.write(end | {"status": "completed"})


_BAG_MEMBERS = {".mcap": "MCAPFile", ".yaml": "BagFileMetadata"}
"""Kinds of the files in a bag: messages and a table of contents."""


# --- reading -------------------------------------------------------------------------------------


def _parse(line: bytes, file: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RecordError(f"{file}:{number}: not a JSON object: {error}") from None
    if not isinstance(row, dict) or "r" not in row:
        raise RecordError(f"{file}:{number}: expected an object with the key 'r'")
    return row


def _header(line: bytes, file: Path) -> dict[str, Any]:
    """Return a log's first line, which says whose it is."""
    row = _parse(line, file, 1)
    if row["r"] != "log":
        raise RecordError(f"{file}:1: expected the log's first line, which names the campaign")
    if row.get("format") != FORMAT:
        raise RecordError(f"{file}:1: format is {row.get('format')!r}, expected {FORMAT!r}")
    try:
        return row | {
            "campaign": check.text("campaign", row.get("campaign")),
            "run": row.get("run", ""),
            "execution": str(uuid.UUID(row.get("execution", ""))),
            "about": _checked_about(row.get("about") or {}),
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise RecordError(f"{file}:1: {error}") from None


def load(folder: Path) -> Records:
    """Read all logs below a campaign's folder.

    Parameters
    ----------
    folder : Path
        Has ``records.jsonl``; runs have theirs in ``runs/*/`` and failed attempts in ``failed/*/``.

    Raises
    ------
    RecordError
        If there is no log, a line is damaged (the message names file and line; only the last line
        of a log may be cut off), a name is unknown, a digest or an IRI is none, a time has no zone,
        logs disagree on the campaign or its execution, or two logs tell of the same run.
    """
    folder = Path(folder)
    files = [folder / LOG] if (folder / LOG).is_file() else []
    files += sorted(folder.glob(f"runs/*/{LOG}")) + sorted(folder.glob(f"failed/*/{LOG}"))
    # A run that a killed process left behind has a name that starts with a dot.
    files = [file for file in files if not file.parent.name.startswith(".")]
    if not files:
        raise RecordError(f"{folder}: no {LOG} in it or in its runs")
    reader = _Reader(folder)
    for file in files:
        reader.read(file)
    return reader.records()


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(f"time is {text!r}, expected ISO 8601") from None
    if moment.tzinfo is None:
        raise ValueError(f"time is {text!r}, expected one with a time zone")
    return moment


class _Reader:
    """Joins logs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.header: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.problems: list[str] = []
        self.agents: dict[str, Agent] = {}
        self.entities: dict[str, Entity] = {}
        self.activities: dict[str, Activity] = {}
        self.relations: dict[type, list[Any]] = {
            kind: []
            for kind in (Usage, Generation, Derivation, Association, Communication, Quantity)
        }
        self.logs: dict[str, Path] = {}
        # Of the log that is being read: things by their local names, its place, its run.
        self.names: dict[str, str] = {}
        self.where = self.run = ""

    def read(self, file: Path) -> None:
        content = file.read_bytes()
        lines = content.splitlines()
        if lines and not content.endswith(b"\n"):
            self.problems.append(f"{file}:{len(lines)}: the last line is cut off and was left out")
            lines.pop()
        if not lines:
            raise RecordError(f"{file}:1: expected the log's first line, which names the campaign")
        header = _header(lines[0], file)
        self.header = self.header or header
        for name in ("campaign", "execution"):
            if header[name] != self.header[name]:
                raise RecordError(
                    f"{file}:1: {name} is {header[name]!r}, expected {self.header[name]!r}"
                )
        self.about |= header["about"]
        self.names, self.run = {}, header["run"]
        self.where = file.parent.relative_to(self.root).as_posix()
        if self.run and not self.where.startswith("failed/"):
            if self.run in self.logs:
                raise RecordError(
                    f"run {self.run!r} is recorded twice: {self.logs[self.run]} and {file}"
                )
            self.logs[self.run] = file
        for number, line in enumerate(lines, 1):
            row = _parse(line, file, number)
            try:
                problem = self._row(row)
            except KeyError as error:
                raise RecordError(
                    f"{file}:{number}: {error} is missing or was not declared before"
                ) from None
            except (ValueError, TypeError, AttributeError) as error:
                raise RecordError(f"{file}:{number}: {error}") from None
            if problem:
                self.problems.append(f"{file}:{number}: {problem}")
        for one in self.activities.values():
            if one.status == "interrupted" and one.id in self.names.values():
                self.problems.append(f"{file}: {one.kind} {one.label!r} has no end")

    @property
    def base(self) -> str:
        return _base(self.header["execution"])

    @property
    def scope(self) -> str:
        return "campaign" if self.where == "." else quote(self.where, safe="/~")

    def _row(self, row: dict[str, Any]) -> str:
        """Take a line in; return what about it was tolerated."""
        names, kind = self.names, row["r"]
        moment = _moment(row["t"]) if "t" in row else None
        if kind == "used":
            self._add(Usage(names[row["a"]], names[row["e"]], row["role"], moment))
        elif kind == "generated":
            self._add(Generation(names[row["e"]], names[row["a"]], row["role"], moment))
        elif kind == "derived":
            ends = names[row["e"]], names[row["from"]], names[row["a"]]
            self._add(Derivation(*ends, row.get("reason", "")))
        elif kind == "associated":
            plan = names[row["plan"]] if "plan" in row else ""
            self._add(Association(names[row["a"]], names[row["g"]], plan))
        elif kind == "quantity":
            number = check.number("value", row["value"])
            unit = named("unit", row["unit"], UNITS, {})
            self._add(Quantity(names[row["of"]], row["name"], number, unit))
        elif kind == "informed":
            by = names[row["of"]] if "of" in row else check_iri("by", row["by"])
            self._add(Communication(names[row["a"]], by))
        elif kind == "entity":
            self._entity(row)
        elif kind == "agent":
            self._agent(row)
        elif kind == "start":
            known = named("kind", row["kind"], ACTIVITY_KINDS, {})
            name = names[row["id"]] = _activity_iri(self.base, self.scope, row["id"], known)
            self.activities[name] = Activity(
                name,
                known,
                row["label"],
                self.run,
                moment,
                status="interrupted",
                attributes=row.get("values", {}),
            )
        elif kind == "end":
            return self._end(self.activities[names[row["id"]]], row, moment)
        elif kind == "set":
            one = self.activities[names[row["of"]]]
            values = {**one.attributes, **row["values"]}
            self.activities[one.id] = replace(one, attributes=values)
        elif kind == "log":
            if row.get("dropped"):
                return f"a cut-off line was dropped: {row['dropped']!r:.80}"
        else:
            raise ValueError(f"{kind!r} is no kind of line that we know")
        return ""

    def _add(self, relation: Any) -> None:
        self.relations[type(relation)].append(relation)

    def _agent(self, row: dict[str, Any]) -> None:
        version = row.get("version", "")
        local = slug(row["name"]) + (f"-{slug(version)}" if version else "")
        name = check_iri("iri", row.get("iri") or f"{self.base}.prov/agent/{local}")
        check.known("kind", row["kind"], get_args(AgentKind))
        url = check_iri("url", row["url"]) if row.get("url") else ""
        acts_for = self.names[row["for"]] if "for" in row else ""
        self.names[row["id"]] = name
        found = Agent(name, row["kind"], row["name"], version, acts_for, url)
        self.agents.setdefault(name, found)

    def _entity(self, row: dict[str, Any]) -> None:
        stored, source, digest = row.get("path", ""), row.get("source", ""), row["sha256"]
        path = location = ""
        content_iri(digest)
        if stored and source:
            location, name = place_iri(source, stored), file_iri(source, stored, digest)
        elif stored:
            inner = PurePosixPath(self.where) / stored[2:] if stored.startswith("./") else stored
            path = str(inner)
            location, name = place_iri(self.base, path), file_iri(self.base, path, digest)
        else:
            scope = self.scope + (f"/{row['scope']}" if "scope" in row else "")
            local = f"{slug(local_name(row['kind']))}-{slug(row['label'])}"
            name = f"{self.base}.prov/{scope}/{local}#{digest[:16]}"
        attributes = dict(row.get("values", {}))
        for link in LINKS:
            if link in attributes:
                check_iri(link, attributes[link])
        if "value" in row:
            attributes["value"] = row["value"]
        found = Entity(
            name,
            named("kind", row["kind"], ENTITY_KINDS, {}),
            row.get("label") or PurePosixPath(path or stored).name,
            path,
            location,
            digest,
            check.integer("bytes", row["bytes"], at_least=0),
            attributes,
            tuple(self.names[one] for one in row.get("members", ())),
        )
        self.names[row["id"]] = name
        known = self.entities.setdefault(name, found)
        if known is not found:
            # The same file seen by two logs: what either knows, holds.
            self.entities[name] = replace(
                known,
                kind=found.kind if known.kind == "File" else known.kind,
                attributes={**known.attributes, **attributes},
                members=known.members or found.members,
            )

    def _end(self, one: Activity, row: dict[str, Any], end: datetime | None) -> str:
        if end is None:
            raise KeyError("t")
        check.known("status", row["status"], ("completed", "failed"))
        self.activities[one.id] = replace(
            one, end=end, status=row["status"], error=row.get("error", "")
        )
        if one.start is None or end >= one.start:
            return ""
        return (
            f"{one.kind} {one.label!r} ends at {end.isoformat()}, before its start "
            f"{one.start.isoformat()}: the clock was set back"
        )

    def records(self) -> Records:
        told: dict[type, tuple[Any, ...]] = {k: tuple(rows) for k, rows in self.relations.items()}
        return Records(
            campaign=self.header["campaign"],
            about=self.about,
            agents=self.agents,
            entities=self.entities,
            activities=self.activities,
            usages=told[Usage],
            generations=told[Generation],
            derivations=told[Derivation],
            associations=told[Association],
            communications=told[Communication],
            quantities=told[Quantity],
            problems=tuple(self.problems),
            execution=self.header["execution"],
        )


LINKS = {"references": "dcterms:references", "attributed_to": "prov:wasAttributedTo"}
"""Attributes of entities whose value is the IRI of something else, and their properties."""
