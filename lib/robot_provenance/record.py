"""Provenance recorded while it happens, as an append-only log, and read back.

A `Recorder` writes one JSON object a line and flushes each, so that a process killed at any moment
leaves a log that can be read up to there. An activity is a context manager: its start is written
when the block is entered, its outputs are hashed and its end is written when the block is left, and
an exception is written down before it goes on its way.

`load` joins the logs of a campaign and of its runs; `coarsen` tells the same story as a writer with
coarser activities would have recorded it, which is what the chapter's ablation needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, TypeVar, get_args

from lib.robot_provenance.vocabulary import (
    ACTIVITY_KINDS,
    ENTITY_KINDS,
    ROLES,
    base_iri,
    file_iri,
    place_iri,
    slug,
    unit_iri,
)

__all__ = [
    "LOG",
    "Activity",
    "Agent",
    "Association",
    "Communication",
    "Derivation",
    "Entity",
    "Generation",
    "Granularity",
    "Handle",
    "Quantity",
    "RecordError",
    "Recorder",
    "Records",
    "Running",
    "Usage",
    "coarsen",
    "digest_file",
    "digest_folder",
    "load",
]

LOG = "records.jsonl"
"""Name of a log; one in the campaign's folder and one in each run's."""

FORMAT = "robot-provenance/1"
Granularity = Literal["campaign", "run", "file"]
AgentKind = Literal["SoftwareAgent", "Person", "Organization"]
T = TypeVar("T")
Scalar = str | int | float | bool


class RecordError(ValueError):
    """Something that must not be recorded, or a log that cannot be trusted."""


def digest_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as stream:
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
        A key of ``ENTITY_KINDS``.
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
    general : str
        IRI of the entity that this one is a specialization of, besides its content.
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
    general: str = ""


@dataclass(frozen=True)
class Activity:
    """Something that happened.

    Parameters
    ----------
    id : str
        IRI.
    kind : str
        A key of ``ACTIVITY_KINDS``.
    label : str
    run : str
        Run to which it belongs; empty for the campaign.
    start, end : datetime or None
        With time zone. No end: it was interrupted.
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
    """A number with a unit, of an entity or an activity."""

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
        What was tolerated: a truncated last line, an activity without end.
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

    @property
    def base(self) -> str:
        """The IRI below which the campaign's things are named."""
        return base_iri(self.campaign)

    def of_kind(self, kind: str) -> list[Entity] | list[Activity]:
        """Return the entities or activities of a kind.

        Raises
        ------
        KeyError
            If there is no such kind.
        """
        if kind in ENTITY_KINDS:
            return [one for one in self.entities.values() if one.kind == kind]
        if kind in ACTIVITY_KINDS:
            return [one for one in self.activities.values() if one.kind == kind]
        raise KeyError(kind)

    def runs(self) -> list[str]:
        """Return the run identifiers, sorted."""
        return sorted({one.run for one in self.activities.values() if one.run})


# --- writing -------------------------------------------------------------------------------------


@dataclass
class Handle:
    """An entity or agent as a recorder knows it: its local name, and its digest once hashed."""

    key: str
    path: str = ""
    sha256: str = ""


class Running:
    """An activity that is going on; made by `Recorder.activity`."""

    def __init__(self, recorder: Recorder, key: str, kind: str, start: datetime) -> None:
        self._recorder = recorder
        self.key = key
        self.kind = kind
        self.start = start
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
            A key of ``ROLES``.

        Raises
        ------
        RecordError
            If there is no such file, or the kind or role is unknown.
        """
        handle = self._recorder.file(thing, kind=kind) if not isinstance(thing, Handle) else thing
        self._recorder.write(
            {"r": "used", "a": self.key, "e": handle.key, "role": _role(role), "t": True}
        )
        return handle

    def generated(
        self,
        path: Path | str,
        *,
        kind: str = "File",
        role: str = "output",
        derived_from: Sequence[Handle] = (),
        reason: str = "",
        attributes: Mapping[str, Scalar] | None = None,
    ) -> Handle:
        """Announce an output, a file or a folder (a collection); it is hashed when the block ends.

        Raises
        ------
        RecordError
            If the path was announced before, or the kind or role is unknown. When the block ends
            without error and the output is missing.
        """
        place = Path(path)
        self._recorder.claim(place)
        handle = Handle(self._recorder.next_key("e"))
        row = (place, _kind(kind), _role(role), dict(attributes or {}), handle)
        self._outputs.append(row)
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
        handle = self._recorder.value(value, kind=kind, label=label, scope=self.key)
        self._recorder.write(
            {"r": "generated", "e": handle.key, "a": self.key, "role": _role(role), "t": True}
        )
        self._derive(handle, derived_from, "")
        return handle

    def derived(self, entity: Handle, source: Handle, *, reason: str = "") -> None:
        """Record that one entity comes from another; a repair gives its reason."""
        self._derive(entity, [source], reason)

    def attribute(self, **values: Scalar) -> None:
        """Record plain values of the activity, such as ``seed=3`` and ``outcome="success"``."""
        self._recorder.write({"r": "set", "of": self.key, "values": _scalars(values)})

    def quantity(self, name: str, value: float, unit: str, *, of: Handle | None = None) -> None:
        """Record a number with a unit, of the activity or of an entity.

        Raises
        ------
        RecordError
            If the value is not finite or the unit is unknown.
        """
        self._write(self._recorder.quantity(name, value, unit, of=of.key if of else self.key))

    def informed_by(self, iri: str) -> None:
        """Record that an activity, perhaps of another log, informed this one."""
        self._recorder.write({"r": "informed", "a": self.key, "by": iri})

    @property
    def iri(self) -> str:
        """The activity's IRI, if it is in the campaign's log."""
        return _activity_iri(self._recorder.campaign, "campaign", self.key, self.kind)

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


def _activity_iri(campaign: str, scope: str, key: str, kind: str) -> str:
    return f"{base_iri(campaign)}.prov/{scope}/{key}-{kind}"


def _kind(kind: str) -> str:
    if kind not in ENTITY_KINDS:
        raise RecordError(f"kind is {kind!r}, expected one of {', '.join(ENTITY_KINDS)}")
    return kind


def _role(role: str) -> str:
    if role not in ROLES:
        raise RecordError(f"role is {role!r}, expected one of {', '.join(ROLES)}")
    return role


def _scalars(values: Mapping[str, Any]) -> dict[str, Scalar]:
    for name, value in values.items():
        if not isinstance(value, str | int | float | bool):
            raise RecordError(f"{name} is {value!r}, expected a text, a number or a truth value")
        if isinstance(value, float) and value - value != 0:
            raise RecordError(f"{name} is {value!r}, expected a finite number")
    return dict(values)


class Recorder:
    """Writes one log; use it as a context manager.

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
        Title, description, licence (IRI), creators; for the campaign's log.
    clock : callable
        Returns the time, with a time zone.
    resume : bool
        Whether a log may be there already; then it is continued.

    Attributes
    ----------
    seconds : float
        Time spent recording so far, hashing included.

    Raises
    ------
    RecordError
        If a log is there and `resume` is not set, or belongs to something else.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     folder = Path(place)
    ...     with Recorder(folder, campaign="demo") as recorder:
    ...         with recorder.activity("Postprocessing", "copy") as step:
    ...             _ = (folder / "trace.csv").write_text("t,x")
    ...             _ = step.generated(folder / "trace.csv", kind="Traces", role="trace")
    ...     records = load(folder)
    >>> [one.id for one in records.entities.values()]
    ['arcp://name,demo/trace.csv#6b7dd2ec48667a67']
    """

    def __init__(
        self,
        folder: Path,
        *,
        campaign: str,
        root: Path | None = None,
        run: str = "",
        about: Mapping[str, Any] | None = None,
        clock: Callable[[], datetime] = _now,
        resume: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.root = Path(root) if root is not None else self.folder
        self.campaign, self.run = campaign, run
        self._about = dict(about or {})
        self._clock = clock
        self._resume = resume
        self._stream: IO[str] | None = None
        self._count = 0
        self._files: dict[tuple[str, str], Handle] = {}
        self._agents: dict[str, Handle] = {}
        self._claimed: set[str] = set()
        self.seconds = 0.0
        slug(campaign)
        _aware(clock(), "the clock's time")

    def __enter__(self) -> Recorder:
        file = self.folder / LOG
        header: dict[str, Any] = {
            "r": "log",
            "format": FORMAT,
            "campaign": self.campaign,
            "run": self.run,
            "about": self._about,
            "t": True,
        }
        if file.exists():
            if not self._resume:
                raise RecordError(f"{file}: there is a log already; resume it or choose a folder")
            header |= self._reopen(file)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._stream = file.open("a", encoding="utf-8", newline="\n")
        self.write(header)
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
        found = _parse(lines[0], file, 1) if lines else {}
        for name, value in (("campaign", self.campaign), ("run", self.run)):
            if lines and found.get(name) != value:
                raise RecordError(
                    f"{file}: the log's {name} is {found.get(name)!r}, expected {value!r}"
                )
        self._count = len(lines)
        if end == len(content):
            return {}
        with file.open("r+b") as stream:
            stream.truncate(end)
        return {"dropped": content[end:].decode("utf-8", "replace")}

    # --- lines

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
        self._stream.write(json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n")
        self._stream.flush()
        self.seconds += time.perf_counter() - began

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
        """Record who or what acts; the same name and version give the same agent.

        Raises
        ------
        RecordError
            If the kind is unknown or the name is empty.
        """
        if kind not in get_args(AgentKind):
            raise RecordError(f"kind is {kind!r}, expected one of {', '.join(get_args(AgentKind))}")
        if not name.strip():
            raise RecordError("an agent's name is empty")
        known = f"{name}\0{version}"
        if known not in self._agents:
            row = {"r": "agent", "id": self.next_key("g"), "kind": kind, "name": name}
            row |= {"version": version} if version else {}
            row |= {"iri": iri} if iri else {}
            row |= {"url": url} if url else {}
            row |= {"for": acts_for.key} if acts_for else {}
            self.write(row)
            self._agents[known] = Handle(row["id"])
        return self._agents[known]

    def file(
        self,
        path: Path | str | Handle,
        *,
        kind: str = "File",
        label: str = "",
        source: str = "",
        name: str = "",
        general: Handle | None = None,
        attributes: Mapping[str, Scalar] | None = None,
    ) -> Handle:
        """Record a file that is there already, or a folder as a collection.

        Parameters
        ----------
        path : Path or str
        kind : str
            A key of ``ENTITY_KINDS``.
        label : str
            Defaults to the file's name.
        source : str
            Name of the collection it comes from, such as a data set, where it lies outside the
            campaign's folder.
        name : str
            Its path inside that collection; the file's name by default.
        general : Handle, optional
            What it is a specialization of.
        attributes : mapping, optional

        Raises
        ------
        RecordError
            If it is not there, its path is not text, or the kind is unknown.
        """
        if isinstance(path, Handle):
            return path
        place = Path(path)
        if not place.exists():
            raise RecordError(f"{place}: no such file, expected one that can be hashed")
        handle = Handle("")
        self.enter(place, _kind(kind), handle, dict(attributes or {}), label, source, name, general)
        return handle

    def value(self, value: Any, *, kind: str, label: str, scope: str = "") -> Handle:
        """Record a value that lies in no file; its digest is that of its canonical JSON."""
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        row: dict[str, Any] = {"r": "entity", "id": self.next_key("e"), "kind": _kind(kind)}
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
        attributes: dict[str, Scalar],
        label: str = "",
        source: str = "",
        name: str = "",
        general: Handle | None = None,
    ) -> list[str]:
        """Hash a file or folder and write it down under the handle's name; return its members'."""
        path = self._path(place, source, name)
        members: list[str] = []
        began = time.perf_counter()
        if place.is_dir():
            digests: dict[str, str] = {}
            size = 0
            for one in sorted(item for item in place.rglob("*") if item.is_file()):
                part = self.file(one, kind=_member_kind(one))
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
        row |= {"source": source} if source else {}
        row |= {"label": label} if label else {}
        row |= {"members": members} if members else {}
        row |= {"general": general.key} if general else {}
        row |= {"values": _scalars(attributes)} if attributes else {}
        self.write(row)
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

    def quantity(self, name: str, value: float, unit: str, *, of: str) -> dict[str, Any]:
        """Return the line for a number with a unit; see `Running.quantity`."""
        try:
            unit_iri(unit)
        except ValueError as error:
            raise RecordError(f"{name}: {error}") from None
        number = float(value)
        if number - number != 0:
            raise RecordError(f"{name} is {value!r}, expected a finite number")
        return {"r": "quantity", "of": of, "name": slug(name), "value": number, "unit": unit}

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
        attributes: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Running]:
        """Record an activity while the block runs.

        Parameters
        ----------
        kind : str
            A key of ``ACTIVITY_KINDS``.
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
        RecordError
            If the kind is unknown, an input is missing, or the clock has no time zone or runs
            backwards.
        """
        if kind not in ACTIVITY_KINDS:
            raise RecordError(f"kind is {kind!r}, expected one of {', '.join(ACTIVITY_KINDS)}")
        start = _aware(self._clock(), "start")
        running = Running(self, self.next_key("a"), kind, start)
        row: dict[str, Any] = {"r": "start", "id": running.key, "kind": kind, "label": label}
        row["t"] = start.isoformat()
        self.write(row | ({"values": _scalars(attributes)} if attributes else {}))
        for one in used:
            running.used(one)
        followed = self.file(plan, kind="File") if plan is not None else None
        for one in [agent] if isinstance(agent, Handle) else agent:
            line = {"r": "associated", "a": running.key, "g": one.key}
            self.write(line | ({"plan": followed.key} if followed else {}))
        try:
            yield running
            running._finish(failed=False)
        except BaseException as error:
            running._finish(failed=True)
            self._end(running, "failed", f"{type(error).__name__}: {error}")
            raise
        self._end(running, "completed", "")

    def _end(self, running: Running, status: str, error: str) -> None:
        end = _aware(self._clock(), "end")
        if end < running.start:
            raise RecordError(
                f"activity {running.key} ends at {end.isoformat()}, before its start "
                f"{running.start.isoformat()}"
            )
        row = {"r": "end", "id": running.key, "t": end.isoformat(), "status": status}
        self.write(row | ({"error": error} if error else {}))


def _member_kind(path: Path) -> str:
    """Return the kind of a file inside a folder: bags have messages and a table of contents."""
    return {".mcap": "MCAPFile", ".yaml": "BagFileMetadata"}.get(path.suffix, "File")


# --- reading -------------------------------------------------------------------------------------


def _parse(line: bytes, file: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise RecordError(f"{file}:{number}: not a JSON object: {error}") from None
    if not isinstance(row, dict) or "r" not in row:
        raise RecordError(f"{file}:{number}: expected an object with the key 'r'")
    return row


def _rows(file: Path, problems: list[str]) -> list[tuple[int, dict[str, Any]]]:
    """Return numbered lines; a last line that was cut off is left out and reported."""
    content = file.read_bytes()
    lines = content.splitlines()
    rows: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append((number, _parse(line, file, number)))
        except RecordError:
            if number < len(lines) or content.endswith(b"\n"):
                raise
            problems.append(f"{file}:{number}: the last line is cut off and was left out")
    if not rows or rows[0][1]["r"] != "log":
        raise RecordError(f"{file}:1: expected the log's first line, which names the campaign")
    if rows[0][1].get("format") != FORMAT:
        raise RecordError(f"{file}:1: format is {rows[0][1].get('format')!r}, expected {FORMAT!r}")
    return rows


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
        of a log may be cut off), a name is unknown, a time has no zone, an end is before its start,
        logs disagree on the campaign, or two logs tell of the same run.
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


def _moment(text: Any, file: Path, number: int) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise RecordError(f"{file}:{number}: time is {text!r}, expected ISO 8601") from None
    if moment.tzinfo is None:
        raise RecordError(f"{file}:{number}: time is {text!r}, expected one with a time zone")
    return moment


class _Reader:
    """Joins logs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.campaign = ""
        self.about: dict[str, Any] = {}
        self.problems: list[str] = []
        self.agents: dict[str, Agent] = {}
        self.entities: dict[str, Entity] = {}
        self.activities: dict[str, Activity] = {}
        self.usages: list[Usage] = []
        self.generations: list[Generation] = []
        self.derivations: list[Derivation] = []
        self.associations: list[Association] = []
        self.communications: list[Communication] = []
        self.quantities: list[Quantity] = []
        self.logs: dict[str, Path] = {}

    def read(self, file: Path) -> None:
        rows = _rows(file, self.problems)
        header = rows[0][1]
        self.campaign = self.campaign or header["campaign"]
        if header["campaign"] != self.campaign:
            raise RecordError(
                f"{file}:1: campaign is {header['campaign']!r}, expected {self.campaign!r}"
            )
        self.about |= header.get("about") or {}
        where = file.parent.relative_to(self.root).as_posix()
        run = header.get("run", "")
        if run and not where.startswith("failed/"):
            if run in self.logs:
                raise RecordError(f"run {run!r} is recorded twice: {self.logs[run]} and {file}")
            self.logs[run] = file
        names: dict[str, str] = {}
        for number, row in rows:
            try:
                self._row(row, names, where, run, file, number)
            except KeyError as error:
                raise RecordError(
                    f"{file}:{number}: {error} is missing or was not declared before"
                ) from None
        for one in self.activities.values():
            if one.status == "interrupted" and one.id in names.values():
                self.problems.append(f"{file}: {one.kind} {one.label!r} has no end")

    def _row(
        self,
        row: dict[str, Any],
        names: dict[str, str],
        where: str,
        run: str,
        file: Path,
        number: int,
    ) -> None:
        kind = row["r"]
        moment = _moment(row["t"], file, number) if "t" in row else None
        if kind == "used":
            self.usages.append(Usage(names[row["a"]], names[row["e"]], row["role"], moment))
        elif kind == "generated":
            one = Generation(names[row["e"]], names[row["a"]], row["role"], moment)
            self.generations.append(one)
        elif kind == "entity":
            self._entity(row, names, where)
        elif kind == "derived":
            reason = row.get("reason", "")
            self.derivations.append(
                Derivation(names[row["e"]], names[row["from"]], names[row["a"]], reason)
            )
        elif kind == "associated":
            plan = names[row["plan"]] if "plan" in row else ""
            self.associations.append(Association(names[row["a"]], names[row["g"]], plan))
        elif kind == "quantity":
            self.quantities.append(
                Quantity(names[row["of"]], row["name"], row["value"], row["unit"])
            )
        elif kind == "informed":
            self.communications.append(Communication(names[row["a"]], row["by"]))
        elif kind == "start":
            scope = "campaign" if where == "." else where
            names[row["id"]] = _activity_iri(self.campaign, scope, row["id"], row["kind"])
            self.activities[names[row["id"]]] = Activity(
                names[row["id"]],
                row["kind"],
                row["label"],
                run,
                moment,
                status="interrupted",
                attributes=row.get("values", {}),
            )
        elif kind == "end":
            self._end(names[row["id"]], row, moment, file, number)
        elif kind == "set":
            one_activity = self.activities[names[row["of"]]]
            self.activities[one_activity.id] = replace(
                one_activity, attributes={**one_activity.attributes, **row["values"]}
            )
        elif kind == "agent":
            self._agent(row, names)
        elif kind == "log":
            if row.get("dropped"):
                self.problems.append(
                    f"{file}:{number}: a cut-off line was dropped: {row['dropped']!r:.80}"
                )
        else:
            raise RecordError(f"{file}:{number}: {kind!r} is no kind of line that we know")

    def _agent(self, row: dict[str, Any], names: dict[str, str]) -> None:
        version = row.get("version", "")
        local = slug(row["name"]) + (f"-{slug(version)}" if version else "")
        name = row.get("iri") or f"{base_iri(self.campaign)}.prov/agent/{local}"
        names[row["id"]] = name
        acts_for = names[row["for"]] if "for" in row else ""
        found = Agent(name, row["kind"], row["name"], version, acts_for, row.get("url", ""))
        self.agents.setdefault(name, found)

    def _entity(self, row: dict[str, Any], names: dict[str, str], where: str) -> None:
        stored, source = row.get("path", ""), row.get("source", "")
        path = location = ""
        if stored and source:
            location, name = place_iri(source, stored), file_iri(source, stored, row["sha256"])
        elif stored:
            inner = PurePosixPath(where) / stored[2:] if stored.startswith("./") else stored
            path = str(inner)
            location = place_iri(self.campaign, path)
            name = file_iri(self.campaign, path, row["sha256"])
        else:
            scope = ("campaign" if where == "." else where) + (
                f"/{row['scope']}" if "scope" in row else ""
            )
            name = (
                f"{base_iri(self.campaign)}.prov/{scope}/{row['kind']}-{slug(row['label'])}"
                f"#{row['sha256'][:16]}"
            )
        names[row["id"]] = name
        attributes = dict(row.get("values", {}))
        if "value" in row:
            attributes["value"] = row["value"]
        known = self.entities.get(name)
        label = row.get("label") or PurePosixPath(path or stored).name
        members = tuple(names[one] for one in row.get("members", ()))
        general = names[row["general"]] if "general" in row else ""
        if known is None:
            self.entities[name] = Entity(
                name,
                row["kind"],
                label,
                path,
                location,
                row["sha256"],
                row["bytes"],
                attributes,
                members,
                general,
            )
            return
        # The same file seen by two logs: what either knows, holds.
        self.entities[name] = replace(
            known,
            kind=row["kind"] if known.kind == "File" else known.kind,
            attributes={**known.attributes, **attributes},
            members=known.members or members,
            general=known.general or general,
        )

    def _end(
        self, name: str, row: dict[str, Any], end: datetime | None, file: Path, number: int
    ) -> None:
        activity = self.activities[name]
        if end is None:
            raise KeyError("t")
        if activity.start is not None and end < activity.start:
            raise RecordError(
                f"{file}:{number}: {activity.kind} {activity.label!r} ends at {end.isoformat()}, "
                f"before its start {activity.start.isoformat()}"
            )
        self.activities[name] = replace(
            activity, end=end, status=row["status"], error=row.get("error", "")
        )

    def records(self) -> Records:
        return Records(
            campaign=self.campaign,
            about=self.about,
            agents=self.agents,
            entities=self.entities,
            activities=self.activities,
            usages=tuple(self.usages),
            generations=tuple(self.generations),
            derivations=tuple(self.derivations),
            associations=tuple(self.associations),
            communications=tuple(self.communications),
            quantities=tuple(self.quantities),
            problems=tuple(self.problems),
        )


# --- coarser granularity -------------------------------------------------------------------------


def coarsen(records: Records, granularity: Granularity, *, derivations: bool = True) -> Records:
    """Tell the same story with fewer activities.

    Parameters
    ----------
    records : Records
        At file granularity, as recorded: one activity a step.
    granularity : {"campaign", "run", "file"}
        ``"run"``: all steps of a run are one activity, which uses what enters the run and generates
        what leaves or stays, as a job's wrapper script sees it; what is made and used inside is
        generated and not used. ``"campaign"``: all steps of one kind are one activity, as the
        authors' writer records post-processing. ``"file"``: unchanged.
    derivations : bool
        Whether the entities keep their ``wasDerivedFrom``, which a writer can record without fine
        activities.

    Returns
    -------
    Records
        Entities and agents are the same; times span those of the merged activities, and a merged
        activity has failed if one of them has.

    Raises
    ------
    ValueError
        If the granularity is unknown.
    """
    if granularity not in get_args(Granularity):
        names = ", ".join(get_args(Granularity))
        raise ValueError(f"granularity is {granularity!r}, expected one of {names}")
    kept = records.derivations if derivations else ()
    if granularity == "file":
        return replace(records, derivations=kept)
    into: dict[str, str] = {}
    merged: dict[str, list[Activity]] = {}
    for one in records.activities.values():
        if granularity == "run":
            scope, _, _ = one.id.rpartition("/")
            name = f"{scope}/TestExecution" if one.run else one.id
        else:
            name = f"{records.base}.prov/campaign/{one.kind}"
        into[one.id] = name
        merged.setdefault(name, []).append(one)
    activities = {name: _merge(name, group, granularity) for name, group in merged.items()}
    generations = _unique(replace(one, activity=into[one.activity]) for one in records.generations)
    inside = {(one.activity, one.entity) for one in generations}
    usages = _unique(
        one
        for one in (replace(one, activity=into[one.activity]) for one in records.usages)
        if (one.activity, one.entity) not in inside
    )
    return replace(
        records,
        activities=activities,
        usages=usages,
        generations=generations,
        derivations=tuple(
            replace(one, activity=into[one.activity] if one.activity else "") for one in kept
        ),
        associations=_unique(
            replace(one, activity=into[one.activity]) for one in records.associations
        ),
        communications=tuple(
            one
            for one in _unique(
                Communication(into[one.informed], into.get(one.informant, one.informant))
                for one in records.communications
            )
            if one.informed != one.informant
        ),
        quantities=tuple(
            replace(one, subject=into.get(one.subject, one.subject))
            for one in records.quantities
            if granularity == "run" or one.subject not in into
        ),
    )


def _merge(name: str, group: list[Activity], granularity: Granularity) -> Activity:
    if len(group) == 1 and group[0].id == name:
        return group[0]
    starts = [one.start for one in group if one.start]
    ends = [one.end for one in group if one.end]
    states = {one.status for one in group}
    status = next(one for one in ("failed", "interrupted", "completed") if one in states)
    attributes: dict[str, Scalar] = {}
    if granularity == "run":
        for one in group:
            attributes |= one.attributes
    return Activity(
        name,
        "TestExecution" if granularity == "run" else group[0].kind,
        f"run {group[0].run}" if granularity == "run" else f"{group[0].kind}, all",
        group[0].run if granularity == "run" else "",
        min(starts, default=None),
        None if status == "interrupted" else max(ends, default=None),
        status,
        "; ".join(one.error for one in group if one.error),
        attributes,
    )


def _unique(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
