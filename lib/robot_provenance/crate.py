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
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from rocrate.model import ContextEntity
from rocrate.model.dataset import Dataset
from rocrate.model.file import File
from rocrate.rocrate import ROCrate

from lib.core.paths import write_atomic
from lib.robot_provenance import record
from lib.robot_provenance.record import Activity, Entity, Records
from lib.robot_provenance.vocabulary import ACTIVITY_KINDS, ENTITY_KINDS, local_name, slug, term

__all__ = ["DESCRIPTOR", "PROFILES", "CrateError", "build", "write"]

DESCRIPTOR = "ro-crate-metadata.json"
RUN_CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
MAIN = ("CampaignExecution", "BookBuild")
LANGUAGES = {
    ".py": ("Python", "https://www.python.org/"),
    ".jl": ("Julia", "https://julialang.org/"),
    ".m": ("MATLAB", "https://www.mathworks.com/products/matlab.html"),
    ".sh": ("Bash", "https://www.gnu.org/software/bash/"),
    ".cpp": ("C++", "https://isocpp.org/"),
    ".rs": ("Rust", "https://www.rust-lang.org/"),
}
"""Language of a workflow by its file's suffix; the file's attribute ``language`` goes first."""


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

    def add(self, name: str, kind: str, properties: dict[str, Any]) -> Any:
        """Add a node that is no file; the first of its name stays."""
        if name not in self.nodes:
            kept = {key: value for key, value in properties.items() if value not in (None, "", [])}
            self.nodes[name] = ContextEntity(self.crate, name, {"@type": kind, **kept})
            self.crate.add(self.nodes[name])
        return self.nodes[name]

    def of(self, names: list[str]) -> list[Any]:
        """Return the nodes of entities, each once."""
        return [self.things[one] for one in dict.fromkeys(names)]

    # --- things

    def entities(self) -> None:
        """Add each entity: as a file or folder if it is one here, else by reference."""
        latest = {one.path: one.id for one in self.records.entities.values() if one.path}
        # An earlier crate's description is not a part of this one, whose description replaces it.
        latest.pop(DESCRIPTOR, None)
        for number, entity in enumerate(self.records.entities.values(), 1):
            kind = term(entity.kind, ENTITY_KINDS)
            node: dict[str, Any] = {"name": entity.label, "description": kind.meaning}
            if entity.path and latest.get(entity.path) == entity.id:
                self.things[entity.id] = self._file(entity, kind.media_type, node)
            else:
                typed = "PropertyValue" if "value" in entity.attributes else "CreativeWork"
                node["identifier"] = entity.location or entity.id
                node |= {"value": entity.attributes.get("value"), "sha256": entity.sha256}
                name = f"#{slug(local_name(entity.kind))}-{number}"
                self.things[entity.id] = self.add(name, typed, node)

    def _file(self, entity: Entity, media: str, node: dict[str, Any]) -> Any:
        node["identifier"] = entity.id
        if entity.bytes is not None:
            node["contentSize"] = str(entity.bytes)
        if entity.members:
            node["hasPart"] = self.of(list(entity.members))
            return self.crate.add(Dataset(self.crate, dest_path=entity.path, properties=node))
        guessed = mimetypes.guess_type(entity.path)[0] or "application/octet-stream"
        node |= {"sha256": entity.sha256, "encodingFormat": media or guessed}
        return self.crate.add(File(self.crate, dest_path=entity.path, properties=node))

    def people(self) -> list[Any]:
        found = []
        for one in self.records.about.get("creators", ()):
            url = one["iri"] if one["iri"].startswith("http") else None
            node = {"name": one["name"], "url": url, "affiliation": one.get("affiliation")}
            found.append(self.add(one["iri"], one["kind"], node))
        return found

    def tools(self, activity: Activity) -> list[Any]:
        """Return the software that took part in an activity."""
        agents = [self.records.agents[one] for one in dict.fromkeys(self.agents[activity.id])]
        found = [
            self.add(
                one.id,
                "SoftwareApplication",
                {"name": one.name, "softwareVersion": one.version, "url": one.url},
            )
            for one in agents
            if one.kind == "SoftwareAgent"
        ]
        if not found:
            raise CrateError(f"{activity.kind} {activity.label!r}: no software took part in it")
        return found

    def language(self, workflow: Entity) -> Any:
        """Return the language a workflow is written in: what its record says, else by suffix."""
        suffix = PurePosixPath(workflow.path).suffix
        guessed, _ = LANGUAGES.get(suffix, (suffix.lstrip(".") or "unknown", ""))
        name = str(workflow.attributes.get("language") or guessed)
        url = dict(LANGUAGES.values()).get(name, "")
        agent = next((one for one in self.records.agents.values() if one.name == name), None)
        version = agent.version if agent else ""
        node = {"name": name, "version": version, "url": (agent.url if agent else "") or url}
        return self.add(f"#{slug(name).lower()}", "ComputerLanguage", node)

    # --- what happened

    def action(self, activity: Activity, instruments: list[Any], people: list[Any]) -> Any:
        node = {
            "name": activity.label,
            "description": term(activity.kind, ACTIVITY_KINDS).meaning,
            "instrument": instruments,
            **_when(activity),
            "object": self.of(self.used[activity.id]),
            "result": self.of(self.made[activity.id]),
            "agent": people,
        }
        return self.add(self._fragment(activity), "CreateAction", node)

    def _fragment(self, activity: Activity, word: str = "") -> str:
        return "#" + word + activity.id.removeprefix(self.records.base).removeprefix(".prov/")

    def mains(self) -> list[Activity]:
        """Return the executions of the workflow."""
        activities = self.records.activities
        found = [one for one in activities.values() if one.kind in MAIN]
        informants = dict.fromkeys(one.informant for one in self.records.communications)
        found = found or [activities[one] for one in informants if one in activities]
        if not found:
            raise CrateError(
                f"no activity of kind {' or '.join(MAIN)}, and none that informed others: a crate "
                "is about a workflow's execution"
            )
        return found

    def workflow(self, mains: list[Activity]) -> Entity:
        keys = {one.id for one in mains}
        plans = [
            part.plan for part in self.records.associations if part.activity in keys and part.plan
        ]
        if not plans or not self.records.entities[plans[-1]].path:
            raise CrateError(f"{mains[0].label!r}: followed no plan that is a file of the campaign")
        return self.records.entities[plans[-1]]

    def build(self) -> dict[str, Any]:
        records = self.records
        self.entities()
        people, mains = self.people(), self.mains()
        workflow = self.workflow(mains)
        keys = {one.id for one in mains}
        part_of = {one.informed: one.informant for one in records.communications}
        tools: defaultdict[str, list[Any]] = defaultdict(list)
        controls: defaultdict[str, list[Any]] = defaultdict(list)
        steps: dict[str, Any] = {}
        actions: list[Any] = []
        ordered = sorted(
            (one for one in records.activities.values() if one.id not in keys),
            key=lambda one: (one.start or datetime.max.replace(tzinfo=UTC), one.id),
        )
        for activity in ordered:
            kind, found = activity.kind, self.tools(activity)
            if kind not in steps:
                node = {"name": local_name(kind), "position": str(len(steps))}
                node["description"] = term(kind, ACTIVITY_KINDS).meaning
                steps[kind] = self.add(f"#step-{slug(local_name(kind))}", "HowToStep", node)
            tools[kind] += [one for one in found if one not in tools[kind]]
            actions.append(self.action(activity, found, people))
            node = {"name": f"control of {activity.label}", "instrument": steps[kind]}
            control = self.add(
                self._fragment(activity, "control-"),
                "ControlAction",
                node | {"object": actions[-1]},
            )
            owner = part_of.get(activity.id, "")
            controls[owner if owner in keys else mains[0].id].append(control)
        for kind, step in steps.items():
            step["workExample"] = tools[kind]
        parts = list({one.id: one for group in tools.values() for one in group}.values())
        self._describe(workflow, mains, list(steps.values()), parts)
        self._root(workflow, self._organised(workflow, mains, parts, controls, people) + actions)
        if people:
            self.crate.root_dataset["author"] = self.crate.creator = people
            self.crate.publisher = people[0]
        document: dict[str, Any] = self.crate.metadata.generate()
        for node in document["@graph"]:
            # A single value stands alone, as RO-Crate recommends.
            single = {k: v[0] for k, v in node.items() if isinstance(v, list) and len(v) == 1}
            node.update(single)
        return document

    def _describe(
        self, workflow: Entity, mains: list[Activity], steps: list[Any], parts: list[Any]
    ) -> None:
        """Say of the workflow's file what it is."""
        node = self.things[workflow.id]
        kinds = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
        node.properties()["@type"] = kinds
        inputs, outputs = self._parameters()
        required = {one.id: one for main in mains for one in self.tools(main)}
        for key, value in {
            "programmingLanguage": self.language(workflow),
            "hasPart": parts,
            "step": steps,
            "input": inputs,
            "output": outputs,
            "softwareRequirements": list(required.values()),
            "version": workflow.sha256[:16],
        }.items():
            node[key] = value

    def _organised(
        self,
        workflow: Entity,
        mains: list[Activity],
        parts: list[Any],
        controls: dict[str, list[Any]],
        people: list[Any],
    ) -> list[Any]:
        """Add the workflow's executions, and the engine's part in them."""
        engines = [one for main in mains for one in self.tools(main) if one not in parts]
        if not engines:
            raise CrateError(f"{mains[0].label!r}: no software took part that ran the workflow")
        organised = []
        for main in mains:
            # What the parts of a workflow's execution made is what the execution made.
            for one in self.records.communications:
                if one.informant == main.id:
                    self.made[main.id] += self.made[one.informed]
            organised.append(self.action(main, [self.things[workflow.id]], people))
            if controls[main.id]:
                node = {
                    "name": f"organisation of {main.label}",
                    "instrument": engines[0],
                    "object": controls[main.id],
                    "result": organised[-1],
                    **_when(main),
                }
                name = self._fragment(main, "organise-")
                organised.append(self.add(name, "OrganizeAction", node))
        return organised

    def _parameters(self) -> tuple[list[Any], list[Any]]:
        """Return the workflow's formal inputs and outputs: kinds of files, with their examples."""
        records = self.records
        made = {one.entity for one in records.generations}
        in_runs = {one.id for one in records.activities.values() if one.run}
        by_runs = {one.entity for one in records.generations if one.activity in in_runs}
        read = {
            one.entity
            for one in records.usages
            if one.entity not in made or (one.activity in in_runs and one.entity not in by_runs)
        }
        found: list[list[Any]] = []
        for word, chosen in (("input", read), ("output", made - read)):
            kinds: defaultdict[str, list[Any]] = defaultdict(list)
            for name, entity in records.entities.items():
                if name in chosen and not self.things[name].id.startswith("#"):
                    kinds[entity.kind].append(self.things[name])
            found.append([])
            for kind, examples in kinds.items():
                folder = isinstance(examples[0], Dataset)
                node = {
                    "name": local_name(kind),
                    "additionalType": "Dataset" if folder else "File",
                    "description": term(kind, ENTITY_KINDS).meaning,
                    "workExample": examples,
                }
                name = f"#{word}-{slug(local_name(kind))}"
                found[-1].append(self.add(name, "FormalParameter", node))
                for one in examples:
                    one["exampleOfWork"] = found[-1][-1]
        return found[0], found[1]

    def _root(self, workflow: Entity, actions: list[Any]) -> None:
        about, crate = self.records.about, self.crate
        missing = [word for word in ("title", "description", "license") if not about.get(word)]
        if missing:
            raise CrateError(f"nothing is recorded about: {', '.join(missing)}")
        times = [one.end for one in self.records.activities.values() if one.end]
        if not times and not about.get("issued"):
            raise CrateError("no time is recorded, so there is no date of publication")
        words = about.get("license_name", about["license"])
        crate.license = self.add(
            about["license"], "CreativeWork", {"name": words, "description": words}
        )
        crate.name, crate.description = about["title"], about["description"]
        crate.datePublished = about.get("issued") or max(times).isoformat()
        crate.mainEntity = self.things[workflow.id]
        root = crate.root_dataset
        root["identifier"] = self.records.base
        root["mentions"] = actions
        root["conformsTo"] = [
            self.add(name, "CreativeWork", {"name": title, "version": version})
            for name, (title, version) in PROFILES.items()
        ]
        crate.metadata["conformsTo"] = [{"@id": crate.metadata.profile}, {"@id": [*PROFILES][-1]}]


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
