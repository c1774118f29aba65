"""Provenance Run Crates (profile 0.5) made from records, and from records only.

Every entity of a crate comes from a recorded entity, activity or agent; nothing is read off the
folder afterwards. The profile wants a workflow, its steps and tools, the actions that executed
them, and the files they used and made. The workflow's execution is a `CampaignExecution` (or
`BookBuild`); without one, the activities that informed others. The program it followed is the
workflow, and the kinds of activity are its steps. ``rocrate`` keeps the nodes and writes them.
"""

from __future__ import annotations

import json
import mimetypes
from collections import defaultdict
from collections.abc import Container, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity
from rocrate.model.dataset import Dataset
from rocrate.model.file import File
from rocrate.rocrate import ROCrate

from lib.core.paths import write_atomic
from lib.robot_provenance import record
from lib.robot_provenance.record import Activity, Entity, Records
from lib.robot_provenance.vocabulary import ACTIVITY_KINDS, ENTITY_KINDS, local_name, slug, term

DESCRIPTOR = "ro-crate-metadata.json"
RUN_CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
MAIN = ("CampaignExecution", "BookBuild")


class CrateError(ValueError):
    """Records that no crate can be made of."""


class _Builder:
    """Collects the nodes of one crate."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.crate = ROCrate(version="1.1")
        self.crate.metadata.extra_contexts.append(RUN_CONTEXT)
        self.nodes: dict[str, Any] = {}
        self.things: dict[str, Any] = {}
        self.used, self.made, self.agents = (defaultdict[str, list[str]](list) for _ in range(3))
        for usage in records.usages:
            self.used[usage.activity].append(usage.entity)
        for made in records.generations:
            self.made[made.activity].append(made.entity)
        for part in records.associations:
            self.agents[part.activity].append(part.agent)

    def add(self, name: str, kind: str, /, **properties: Any) -> Any:
        """Add a node that is no file; the first of its name stays."""
        if name not in self.nodes:
            kept = {key: value for key, value in properties.items() if value not in (None, "", [])}
            self.nodes[name] = ContextEntity(self.crate, name, {"@type": kind, **kept})
            self.crate.add(self.nodes[name])
        return self.nodes[name]

    def of(self, names: Iterable[str]) -> list[Any]:
        """Return the nodes of entities, each once."""
        return [self.things[one] for one in dict.fromkeys(names)]

    # --- things

    def entities(self) -> None:
        """Add each entity: as a file or folder if it is one here, else by reference."""
        latest = {one.path: one.id for one in self.records.entities.values() if one.path}
        # An earlier crate's description is not a part of this one, whose description replaces it.
        latest.pop(DESCRIPTOR, None)
        for number, one in enumerate(self.records.entities.values(), 1):
            kind = term(one.kind, ENTITY_KINDS)
            node: dict[str, Any] = {"name": one.label, "description": kind.meaning}
            if not one.path or latest.get(one.path) != one.id:
                typed = "PropertyValue" if "value" in one.attributes else "CreativeWork"
                node |= {"identifier": one.location or one.id, "sha256": one.sha256}
                node["value"] = one.attributes.get("value")
                name = f"#{slug(local_name(one.kind))}-{number}"
                self.things[one.id] = self.add(name, typed, **node)
                continue
            node["identifier"] = one.id
            if one.bytes is not None:
                node["contentSize"] = str(one.bytes)
            if one.members:
                node["hasPart"] = self.of(one.members)
                thing: Any = Dataset(self.crate, dest_path=one.path, properties=node)
            else:
                guessed = kind.media_type or mimetypes.guess_type(one.path)[0]
                node["encodingFormat"] = guessed or "application/octet-stream"
                node["sha256"] = one.sha256
                thing = File(self.crate, dest_path=one.path, properties=node)
            self.things[one.id] = self.crate.add(thing)

    def people(self) -> list[Any]:
        found = []
        for one in self.records.about.get("creators", ()):
            url = one["iri"] if one["iri"].startswith("http") else None
            found.append(self.add(one["iri"], one["kind"], name=one["name"], url=url))
        return found

    def tools(self, activity: Activity) -> list[Any]:
        """Return the software that took part in an activity."""
        agents = [self.records.agents[one] for one in dict.fromkeys(self.agents[activity.id])]
        found = [
            self.add(a.id, "SoftwareApplication", name=a.name, softwareVersion=a.version, url=a.url)
            for a in agents
            if a.kind == "SoftwareAgent"
        ]
        if not found:
            raise CrateError(
                f"{activity.kind} {activity.label!r}: no software took part in it, and the profile "
                "asks of each step for the program that did it"
            )
        return found

    def who(self, activity: Activity) -> list[Any]:
        """Return the people who took part in an activity, or for whom its software acted."""
        known = self.records.agents
        agents = [known[one] for one in self.agents[activity.id]]
        agents += [known[one.acts_for] for one in agents if one.acts_for in known]
        return [
            self.add(
                name, one.kind, name=one.name, url=name if name.startswith("http") else one.url
            )
            for name, one in {one.id: one for one in agents}.items()
            if one.kind != "SoftwareAgent"
        ]

    def language(self, workflow: Entity) -> Any:
        """Return the language a workflow is written in: what its record says, else Python."""
        name = str(workflow.attributes.get("language") or "Python")
        agent = next((one for one in self.records.agents.values() if one.name == name), None)
        told = {"version": agent.version, "url": agent.url} if agent else {}
        return self.add(f"#{slug(name).lower()}", "ComputerLanguage", name=name, **told)

    # --- what happened

    def action(self, activity: Activity, instruments: list[Any]) -> Any:
        return self.add(
            self._fragment(activity),
            "CreateAction",
            name=activity.label,
            description=term(activity.kind, ACTIVITY_KINDS).meaning,
            instrument=instruments,
            object=self.of(self.used[activity.id]),
            result=self.of(self.made[activity.id]),
            agent=self.who(activity),
            **_when(activity),
        )

    def _fragment(self, activity: Activity, word: str = "") -> str:
        return "#" + word + activity.id.removeprefix(self.records.base).replace(".prov/", "")

    def mains(self) -> dict[str, Activity]:
        """Return the executions of the workflow."""
        activities = self.records.activities
        found = {one.id: one for one in activities.values() if one.kind in MAIN}
        informants = [one.informant for one in self.records.communications]
        found = found or {one: activities[one] for one in informants if one in activities}
        if not found:
            raise CrateError(
                f"no activity of kind {' or '.join(MAIN)}, and none that informed others: a crate "
                "is about a workflow's execution"
            )
        return found

    def build(self) -> dict[str, Any]:
        records = self.records
        self.entities()
        mains = self.mains()
        part_of = {one.informed: one.informant for one in records.communications}
        tools: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        controls: defaultdict[str, list[Any]] = defaultdict(list)
        steps: dict[str, Any] = {}
        actions: list[Any] = []
        for activity in sorted(
            (one for name, one in records.activities.items() if name not in mains),
            key=lambda one: (one.start or datetime.max.replace(tzinfo=UTC), one.id),
        ):
            found, word = self.tools(activity), local_name(activity.kind)
            steps[word] = self.add(
                f"#step-{slug(word)}",
                "HowToStep",
                name=word,
                position=str(len(steps)),
                description=term(activity.kind, ACTIVITY_KINDS).meaning,
            )
            tools[word] |= {one.id: one for one in found}
            actions.append(self.action(activity, found))
            told = {"instrument": steps[word], "object": actions[-1]}
            name = self._fragment(activity, "control-")
            control = self.add(name, "ControlAction", name=f"control of {activity.label}", **told)
            owner = part_of.get(activity.id, "")
            controls[owner if owner in mains else next(iter(mains))].append(control)
            # What the parts of a workflow's execution made is what the execution made.
            if owner in mains:
                self.made[owner] += self.made[activity.id]
        for word, step in steps.items():
            step["workExample"] = [*tools[word].values()]
        parts = {name: one for group in tools.values() for name, one in group.items()}
        engines = {one.id: one for main in mains.values() for one in self.tools(main)}
        workflow = self._workflow(mains)
        node = self.things[workflow.id]
        kinds = ["SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
        node.properties()["@type"] = ["File", *kinds]
        node["programmingLanguage"] = self.language(workflow)
        node["hasPart"], node["step"] = [*parts.values()], [*steps.values()]
        node["softwareRequirements"], node["version"] = [*engines.values()], workflow.sha256[:16]
        organised = []
        for name, main in mains.items():
            organised.append(self.action(main, [node]))
            own = [one for key, one in engines.items() if key not in parts]
            # A program may do steps as well; as the engine the profile wants it apart from these.
            first = next(iter(engines.values()))
            told = {key: first.get(key) for key in ("name", "softwareVersion", "url")}
            own = own or [self.add("#engine", "SoftwareApplication", sameAs=first, **told)]
            if controls[name]:
                told = {"instrument": own[0], "object": controls[name], "result": organised[-1]}
                told |= {"name": f"organisation of {main.label}", **_when(main)}
                organise = self._fragment(main, "organise-")
                organised.append(self.add(organise, "OrganizeAction", **told))
        self._root(node, organised + actions)
        document: dict[str, Any] = self.crate.metadata.generate()
        for one in document["@graph"]:
            # A single value stands alone, as RO-Crate recommends.
            one.update({k: v[0] for k, v in one.items() if isinstance(v, list) and len(v) == 1})
        return document

    def _workflow(self, mains: Container[str]) -> Entity:
        """Return the program that the executions followed."""
        plans = [one.plan for one in self.records.associations if one.activity in mains]
        plan = next((self.records.entities[one] for one in reversed(plans) if one), None)
        if plan is None or not plan.path:
            raise CrateError("the execution followed no plan that is a file of the campaign")
        return plan

    def _root(self, workflow: Any, actions: list[Any]) -> None:
        about, crate, people = self.records.about, self.crate, self.people()
        missing = [word for word in ("title", "description", "license") if not about.get(word)]
        if missing:
            raise CrateError(f"nothing is recorded about: {', '.join(missing)}")
        times = [one.end for one in self.records.activities.values() if one.end]
        if not times and not about.get("issued"):
            raise CrateError("no time is recorded, so there is no date of publication")
        words = about.get("license_name", about["license"])
        crate.license = self.add(about["license"], "CreativeWork", name=words, description=words)
        crate.name, crate.description = about["title"], about["description"]
        crate.datePublished = about.get("issued") or max(times).isoformat()
        crate.mainEntity = workflow
        root = crate.root_dataset
        root["identifier"], root["mentions"] = self.records.base, actions
        root["conformsTo"] = [
            self.add(name, "CreativeWork", name=title, version=version)
            for name, (title, version) in PROFILES.items()
        ]
        crate.metadata["conformsTo"] = [{"@id": crate.metadata.profile}, {"@id": [*PROFILES][-1]}]
        if people:
            root["author"] = crate.creator = people
            crate.publisher = people[0]


def _when(activity: Activity) -> dict[str, Any]:
    """Return an action's status and times, with milliseconds as the profile's pattern wants."""
    failed = activity.status != "completed"
    status = "FailedActionStatus" if failed else "CompletedActionStatus"
    error = activity.error or "interrupted: no end was recorded"
    start, end = activity.start, activity.end
    return {
        "actionStatus": f"http://schema.org/{status}",
        "error": error if failed else None,
        "startTime": start.isoformat(timespec="milliseconds") if start else None,
        "endTime": end.isoformat(timespec="milliseconds") if end else None,
    }


def build(records: Records) -> dict[str, Any]:
    """Return a crate's metadata document.

    Parameters
    ----------
    records : Records
        With a `CampaignExecution` or `BookBuild` that followed a plan, or another activity that did
        and that informed the others.

    Returns
    -------
    dict
        ``@context`` and ``@graph``.

    Raises
    ------
    CrateError
        If the records lack what every crate must have; nothing is made up.
    """
    return _Builder(records).build()


def write(folder: Path, records: Records | None = None) -> Path:
    """Write ``ro-crate-metadata.json`` into a campaign's folder.

    Raises
    ------
    CrateError
        See `build`.
    """
    document = build(record.load(folder) if records is None else records)
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return write_atomic(Path(folder) / DESCRIPTOR, text)
