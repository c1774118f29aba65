"""Provenance Run Crates (profile 0.5) made from records, and from records only.

Every entity of a crate comes from a recorded entity, activity or agent; nothing is read off the
folder afterwards. The profile wants a workflow, its steps and tools, the actions that executed
them, and the files they used and made: a `CampaignExecution` (or `BookBuild`) is the workflow's
execution, the program it followed is the workflow, and the kinds of activity are its steps.

Shell: ``python -m lib.robot_provenance.crate book TARGET.zip`` packs this book.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tomllib
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import yaml

from lib.core import data, ledger
from lib.core.ledger.rows import notebook_paths
from lib.core.paths import ROOT, atomic, write_atomic
from lib.core.sources import import_closure
from lib.robot_provenance import record
from lib.robot_provenance.record import (
    Activity,
    Agent,
    Association,
    Communication,
    Entity,
    Generation,
    Records,
    Usage,
)
from lib.robot_provenance.vocabulary import (
    ACTIVITY_KINDS,
    ENTITY_KINDS,
    base_iri,
    file_iri,
    place_iri,
    slug,
)

__all__ = [
    "CONTEXTS",
    "DESCRIPTOR",
    "PROFILES",
    "CrateError",
    "build",
    "main",
    "write",
    "write_book",
]

DESCRIPTOR = "ro-crate-metadata.json"
CONTEXTS = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
]
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
MAIN = ("CampaignExecution", "BookBuild")
Node = dict[str, Any]


class CrateError(ValueError):
    """Records that no crate can be made of."""


def _ref(name: str) -> dict[str, str]:
    return {"@id": name}


def _refs(names: list[str]) -> Any:
    """Return references, each once; a single one stands alone, as is the custom."""
    found = [_ref(name) for name in dict.fromkeys(names)]
    return found[0] if len(found) == 1 else found


def _time(moment: datetime) -> str:
    """Return a time as the profile's pattern wants it: milliseconds, offset with a colon."""
    return moment.isoformat(timespec="milliseconds")


@dataclass
class _Builder:
    """Collects the nodes of one crate."""

    records: Records
    nodes: dict[str, Node] = field(default_factory=dict)
    used: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    made: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    agents: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for usage in self.records.usages:
            self.used[usage.activity].append(usage.entity)
        for made in self.records.generations:
            self.made[made.activity].append(made.entity)
        for part in self.records.associations:
            self.agents[part.activity].append(part.agent)

    def add(self, name: str, node: Node) -> str:
        self.nodes[name] = {"@id": name, **node}
        return name

    def main_activities(self) -> list[Activity]:
        found = [one for one in self.records.activities.values() if one.kind in MAIN]
        if not found:
            raise CrateError(f"no activity of kind {' or '.join(MAIN)}, which a crate is about")
        return found

    def workflow_entity(self, mains: list[Activity]) -> Entity:
        keys = {one.id for one in mains}
        plans = [
            part.plan for part in self.records.associations if part.activity in keys and part.plan
        ]
        if not plans or not self.records.entities[plans[-1]].path:
            raise CrateError(f"{mains[0].label!r}: followed no plan that is a file of the campaign")
        return self.records.entities[plans[-1]]

    # --- things

    def name_entities(self) -> None:
        """Choose each entity's ``@id``: its path if it is a file here, else a fragment."""
        latest = {one.path: one.id for one in self.records.entities.values() if one.path}
        # An earlier crate's description is not a part of this one, whose description replaces it.
        latest.pop(DESCRIPTOR, None)
        for number, entity in enumerate(self.records.entities.values(), 1):
            if entity.path and latest.get(entity.path) == entity.id:
                # A bag and other collections are folders, whose names end with a slash.
                end = "/" if entity.members else ""
                self.names[entity.id] = quote(entity.path, safe="/~") + end
            else:
                self.names[entity.id] = f"#{entity.kind}-{number}"

    def entity(self, entity: Entity) -> None:
        name = self.names[entity.id]
        term = ENTITY_KINDS[entity.kind]
        node: Node = {"name": entity.label, "description": term.meaning}
        if not name.startswith("#"):
            node["@type"] = "Dataset" if entity.members else "File"
            node["identifier"] = entity.id
            if entity.members:
                node["hasPart"] = _refs([self.names[one] for one in entity.members])
                if entity.bytes is not None:
                    node["contentSize"] = str(entity.bytes)
            else:
                node |= {"contentSize": str(entity.bytes), "sha256": entity.sha256}
                node["encodingFormat"] = term.media_type or "application/octet-stream"
        elif "value" in entity.attributes:
            node |= {"@type": "PropertyValue", "value": entity.attributes["value"]}
        else:
            node |= {"@type": "CreativeWork", "identifier": entity.location or entity.id}
            if entity.sha256:
                node["sha256"] = entity.sha256
        self.add(name, node)

    def people(self) -> list[str]:
        found = []
        for one in self.records.about.get("creators", ()):
            node: Node = {"@type": one["kind"], "name": one["name"]}
            if one["iri"].startswith("http"):
                node["url"] = one["iri"]
            if one.get("affiliation"):
                node["affiliation"] = one["affiliation"]
            found.append(self.add(one["iri"], node))
        return found

    def software(self, agent: str) -> str:
        one = self.records.agents[agent]
        node: Node = {"@type": "SoftwareApplication", "name": one.name}
        if one.version:
            node["softwareVersion"] = one.version
        if one.url:
            node["url"] = one.url
        return self.add(one.id, node)

    def tools(self, activity: Activity) -> list[str]:
        found = [
            self.software(agent)
            for agent in dict.fromkeys(self.agents[activity.id])
            if self.records.agents[agent].kind == "SoftwareAgent"
        ]
        if not found:
            raise CrateError(f"{activity.kind} {activity.label!r}: no software took part in it")
        return found

    # --- what happened

    def action(self, activity: Activity, instruments: list[str], people: list[str]) -> str:
        used = [self.names[one] for one in self.used[activity.id]]
        made = [self.names[one] for one in self.made[activity.id]]
        node: Node = {
            "@type": "CreateAction",
            "name": activity.label,
            "description": ACTIVITY_KINDS[activity.kind].meaning,
            "instrument": _refs(instruments),
            **self._when(activity),
        }
        if used:
            node["object"] = _refs(used)
        if made:
            node["result"] = _refs(made)
        if people:
            node["agent"] = _refs(people)
        return self.add(self._fragment(activity), node)

    def _fragment(self, activity: Activity, word: str = "") -> str:
        return "#" + word + activity.id[len(self.records.base) :].removeprefix(".prov/")

    def _when(self, activity: Activity) -> Node:
        failed = activity.status != "completed"
        status = "FailedActionStatus" if failed else "CompletedActionStatus"
        node: Node = {"actionStatus": f"http://schema.org/{status}"}
        if failed:
            node["error"] = activity.error or "interrupted: no end was recorded"
        if activity.start:
            node["startTime"] = _time(activity.start)
        if activity.end:
            node["endTime"] = _time(activity.end)
        return node

    def crate(self) -> Node:
        records = self.records
        self.name_entities()
        for entity in records.entities.values():
            self.entity(entity)
        people = self.people()
        mains = self.main_activities()
        workflow = self.workflow_entity(mains)
        steps: dict[str, str] = {}
        tools: dict[str, list[str]] = {}
        controls: dict[str, list[str]] = defaultdict(list)
        part_of = {one.informed: one.informant for one in records.communications}
        actions: list[str] = []
        keys = {one.id for one in mains}
        ordered = sorted(
            records.activities.values(),
            key=lambda one: (one.start or datetime.max.replace(tzinfo=UTC), one.id),
        )
        for activity in ordered:
            if activity.id in keys:
                continue
            found = self.tools(activity)
            step = steps.setdefault(activity.kind, f"#step-{activity.kind}")
            tools.setdefault(activity.kind, [])
            tools[activity.kind] += [one for one in found if one not in tools[activity.kind]]
            action = self.action(activity, found, people)
            actions.append(action)
            control = self.add(
                self._fragment(activity, "control-"),
                {
                    "@type": "ControlAction",
                    "name": f"control of {activity.label}",
                    "instrument": _ref(step),
                    "object": _ref(action),
                },
            )
            owner = part_of.get(activity.id, "")
            controls[owner if owner in keys else mains[0].id].append(control)
        self._steps(steps, tools)
        organised = self._workflow(workflow, mains, steps, tools, controls, people)
        self._root(workflow, organised + actions, people)
        return {"@context": CONTEXTS, "@graph": list(self.nodes.values())}

    def _steps(self, steps: dict[str, str], tools: dict[str, list[str]]) -> None:
        for position, (kind, name) in enumerate(steps.items()):
            self.add(
                name,
                {
                    "@type": "HowToStep",
                    "name": kind,
                    "description": ACTIVITY_KINDS[kind].meaning,
                    "position": str(position),
                    "workExample": _refs(tools[kind]),
                },
            )

    def _workflow(
        self,
        workflow: Entity,
        mains: list[Activity],
        steps: dict[str, str],
        tools: dict[str, list[str]],
        controls: dict[str, list[str]],
        people: list[str],
    ) -> list[str]:
        name = self.names[workflow.id]
        requirements = [one for main in mains for one in self.tools(main)]
        language = self._language()
        inputs, outputs = self._parameters()
        self.nodes[name] |= {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "programmingLanguage": _ref(language),
            "hasPart": _refs([one for group in tools.values() for one in group]),
            "step": _refs(list(steps.values())),
            "input": _refs(inputs),
            "output": _refs(outputs),
            "softwareRequirements": _refs(requirements),
            "version": workflow.sha256[:16],
        }
        known = {one for group in tools.values() for one in group}
        engines = [one for one in requirements if one not in known]
        if not engines:
            raise CrateError(f"{mains[0].label!r}: no software took part that ran the workflow")
        parts: dict[str, list[str]] = defaultdict(list)
        for one in self.records.communications:
            parts[one.informant] += self.made[one.informed]
        organised = []
        for main in mains:
            # What the parts of a workflow's execution made is what the execution made.
            self.made[main.id] += parts[main.id]
            action = self.action(main, [name], people)
            organised.append(action)
            if controls[main.id]:
                node: Node = {
                    "@type": "OrganizeAction",
                    "name": f"organisation of {main.label}",
                    "instrument": _ref(engines[0]),
                    "object": _refs(controls[main.id]),
                    "result": _ref(action),
                    **self._when(main),
                }
                organised.append(self.add(self._fragment(main, "organise-"), node))
        return organised

    def _language(self) -> str:
        for agent in self.records.agents.values():
            if agent.name == "Python":
                node = {"@type": "ComputerLanguage", "name": "Python", "version": agent.version}
                return self.add("#python", node | {"url": "https://www.python.org/"})
        raise CrateError("no agent named Python, in whose language the workflow is written")

    def _parameters(self) -> tuple[list[str], list[str]]:
        """Return the workflow's formal inputs and outputs: kinds of files, with their examples."""
        made = {one.entity for one in self.records.generations}
        in_runs = {one.id for one in self.records.activities.values() if one.run}
        by_runs = {one.entity for one in self.records.generations if one.activity in in_runs}
        read = {
            one.entity
            for one in self.records.usages
            if one.entity not in made or (one.activity in in_runs and one.entity not in by_runs)
        }
        found: list[list[str]] = []
        for word, chosen in (("input", read), ("output", made - read)):
            kinds: dict[str, list[str]] = {}
            for name in self.records.entities:
                entity = self.records.entities[name]
                if name in chosen and not self.names[name].startswith("#"):
                    kinds.setdefault(entity.kind, []).append(name)
            for kind, entities in kinds.items():
                folder = bool(self.records.entities[entities[0]].members)
                parameter = self.add(
                    f"#{word}-{kind}",
                    {
                        "@type": "FormalParameter",
                        "name": kind,
                        "additionalType": "Dataset" if folder else "File",
                        "description": ENTITY_KINDS[kind].meaning,
                        "workExample": _refs([self.names[one] for one in entities]),
                    },
                )
                for one in entities:
                    self.nodes[self.names[one]]["exampleOfWork"] = _ref(parameter)
            found.append([f"#{word}-{kind}" for kind in kinds])
        return found[0], found[1]

    def _root(self, workflow: Entity, actions: list[str], people: list[str]) -> None:
        about = self.records.about
        missing = [word for word in ("title", "description", "license") if not about.get(word)]
        if missing:
            raise CrateError(f"nothing is recorded about: {', '.join(missing)}")
        times = [one.end for one in self.records.activities.values() if one.end]
        published = about.get("issued") or (max(times).isoformat() if times else None)
        if published is None:
            raise CrateError("no time is recorded, so there is no date of publication")
        licence = about["license"]
        self.add(
            licence,
            {
                "@type": "CreativeWork",
                "name": about.get("license_name", licence),
                "description": about.get("license_name", licence),
            },
        )
        for name, (title, version) in PROFILES.items():
            self.add(name, {"@type": "CreativeWork", "name": title, "version": version})
        parts = [one for one in self.names.values() if not one.startswith("#")]
        root: Node = {
            "@id": "./",
            "@type": "Dataset",
            "name": about["title"],
            "description": about["description"],
            "identifier": self.records.base,
            "license": _ref(licence),
            "datePublished": published,
            "conformsTo": _refs(list(PROFILES)),
            "hasPart": _refs(parts),
            "mainEntity": _ref(self.names[workflow.id]),
            "mentions": _refs(actions),
        }
        if people:
            root |= {
                "author": _refs(people),
                "creator": _refs(people),
                "publisher": _ref(people[0]),
            }
        descriptor: Node = {
            "@id": DESCRIPTOR,
            "@type": "CreativeWork",
            "about": _ref("./"),
            "conformsTo": _refs(
                [
                    "https://w3id.org/ro/crate/1.1",
                    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
                ]
            ),
        }
        self.nodes = {DESCRIPTOR: descriptor, "./": root, **self.nodes}


def build(records: Records) -> Node:
    """Return a crate's metadata document.

    Parameters
    ----------
    records : Records
        With a `CampaignExecution` or `BookBuild` that followed a plan.

    Returns
    -------
    dict
        ``@context`` and ``@graph``.

    Raises
    ------
    CrateError
        If the records lack what every crate must have; nothing is made up.
    """
    return _Builder(records).crate()


def write(folder: Path, records: Records | None = None) -> Path:
    """Write ``ro-crate-metadata.json`` into a campaign's folder.

    Raises
    ------
    CrateError
        See `build`.
    """
    document = build(record.load(folder) if records is None else records)
    return write_atomic(folder / DESCRIPTOR, json.dumps(document, ensure_ascii=False, indent=1))


# --- the book ------------------------------------------------------------------------------------

BOOK = "ten-papers-executable"
ORDER = "lib/core/notebooks.py"
"""The program that executes what is stale, notebook by notebook: the book's workflow."""

LICENCES = {
    "BSD-3-Clause": ("https://spdx.org/licenses/BSD-3-Clause", "BSD 3-Clause licence"),
    "CC-BY-4.0": ("https://creativecommons.org/licenses/by/4.0/", "Creative Commons BY 4.0"),
}


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CrateError(f"{root}: git {' '.join(words)} failed: {error}") from error
    return done.stdout.strip()


class _Book:
    """The book's records: what the repository itself declares, and no time that nobody noted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = base_iri(BOOK)
        self.files: dict[str, bytes] = {}
        self.entities: dict[str, Entity] = {}
        self.agents: dict[str, Agent] = {}
        self.activities: dict[str, Activity] = {}
        self.usages: dict[Usage, None] = {}
        self.generations: list[Generation] = []
        self.associations: list[Association] = []
        self.informed: list[Communication] = []

    def file(self, path: str, kind: str, content: bytes | None = None) -> str:
        """Enter a file of the repository, or one made here; return its IRI."""
        held = (self.root / path).read_bytes() if content is None else content
        digest = hashlib.sha256(held).hexdigest()
        name = file_iri(BOOK, path, digest)
        if name not in self.entities:
            self.files[path] = held
            label = PurePosixPath(path).name
            where = place_iri(BOOK, path)
            self.entities[name] = Entity(name, kind, label, path, where, digest, len(held))
        return name

    def agent(self, kind: str, name: str, version: str = "", url: str = "") -> str:
        local = slug(name) + (f"-{slug(version)}" if version else "")
        key = f"{self.base}.prov/agent/{local}"
        self.agents[key] = Agent(key, kind, name, version, url=url)
        return key

    def activity(
        self, kind: str, label: str, used: list[str], made: list[str], agents: list[str]
    ) -> str:
        name = f"{self.base}.prov/book/{len(self.activities) + 1}-{kind}"
        # No start and no end: when a stored notebook was executed, nobody noted.
        self.activities[name] = Activity(name, kind, label)
        self.usages |= dict.fromkeys(Usage(name, one) for one in used)
        self.generations += [Generation(one, name) for one in made]
        self.associations += [Association(name, one) for one in agents]
        return name


def _book_records(root: Path) -> tuple[Records, dict[str, bytes]]:
    """Return the book's records and the files that its crate holds."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    revision, issued = _git(root, "rev-parse", "HEAD"), _git(root, "log", "-1", "--format=%cI")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    book = _Book(root)
    pages = str(citation["repository-code"])
    library = book.agent(
        "SoftwareAgent", "lib", revision[:12] + ("-changed" if changed else ""), pages
    )
    lock = book.file("requirements.lock", "Lock")
    registry = book.file("data/registry.yml", "Registry")
    order = book.file(ORDER, "Workflow")
    # Which patch release executed a notebook is not stored; what the project requires is.
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requires = project["requires-python"]
    python = book.agent("SoftwareAgent", "Python", requires, "https://www.python.org/")
    executed = []
    for path in notebook_paths(root):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "book" not in content["metadata"]:
            continue
        name = path.relative_to(root).as_posix()
        chapter = path.parent.name
        source = book.file(str(PurePosixPath(name).with_suffix(".py")), "NotebookSource")
        codes = ["".join(c["source"]) for c in content["cells"] if c["cell_type"] == "code"]
        modules = [one.relative_to(root).as_posix() for one in import_closure(codes, root).values()]
        used = [source, lock]
        # The program that orders the steps may be imported too; it stays what it is.
        used += [book.file(one, "Software") for one in sorted(modules) if one != ORDER]
        claims = root / "book" / chapter / "claims.yml"
        if claims.is_file():
            used.append(book.file(claims.relative_to(root).as_posix(), "Claims"))
        used += _book_data(book, chapter)
        notebook = book.file(name, "Notebook")
        label = f"{chapter}/{path.stem}"
        one = book.activity("NotebookExecution", label, used, [notebook], [library])
        executed.append(notebook)
        book.informed.append(Communication(one, "main"))
        figures = [
            book.file(figure, "Figure", image)
            for figure, image in _figures(content, f"figures/{chapter}/{path.stem}")
        ]
        if figures:
            label = f"pictures of {label}"
            one = book.activity("FigureExtraction", label, [notebook], figures, [library])
            book.informed.append(Communication(one, "main"))
    if not executed:
        raise CrateError(f"{root}: no executed notebook")
    rows = ledger.collect(root=root)
    counts = ledger.tally_by(rows)
    collected = {"counts": counts, "rows": [row.to_json() for row in rows]}
    text = json.dumps(collected, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    verdicts = book.file("ledger.json", "Ledger", text.encode())
    paper, ours = (sum(counts[by].values()) for by in ("paper", "ours"))
    label = f"{paper} verdicts on claims of papers, {ours} on our own"
    one = book.activity("LedgerCollection", label, [*executed, registry], [verdicts], [library])
    book.informed.append(Communication(one, "main"))
    main = book.activity("BookBuild", "the book's notebooks", [order, lock, registry], [], [])
    book.associations.append(Association(main, python, order))
    creators = [
        {"kind": "Organization", "name": one["name"], "iri": pages} for one in citation["authors"]
    ]
    licence, licence_name = LICENCES[citation["license"][0]]
    about = {
        "title": citation["title"],
        "description": " ".join(str(citation["abstract"]).split()),
        "license": licence,
        "license_name": licence_name,
        "creators": creators,
        "issued": issued,
    }
    records = Records(
        campaign=BOOK,
        about=about,
        agents=book.agents,
        entities=book.entities,
        activities=book.activities,
        usages=tuple(book.usages),
        generations=tuple(book.generations),
        derivations=(),
        associations=tuple(book.associations),
        communications=tuple(replace(one, informant=main) for one in book.informed),
        quantities=(),
    )
    return records, book.files


def _book_data(book: _Book, chapter: str) -> list[str]:
    """Enter the registered files that a chapter declares to use; they stay where they are."""
    found = []
    for declared in data.registry().values():
        if chapter not in declared.used_by:
            continue
        for file in declared.files:
            name = file_iri(declared.name, file.name, file.sha256)
            book.entities[name] = Entity(
                name,
                "DataFile",
                f"{declared.name}: {PurePosixPath(file.name).name} ({declared.licence})",
                location=place_iri(declared.name, file.name),
                sha256=file.sha256,
                bytes=file.bytes,
            )
            found.append(name)
    return found


def _figures(notebook: Mapping[str, Any], stem: str) -> list[tuple[str, bytes]]:
    """Return the pictures stored in a notebook, named by place and digest."""
    found: list[tuple[str, bytes]] = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            stored = output.get("data", {}).get("image/png")
            if stored is not None:
                image = base64.b64decode("".join(stored))
                digest = hashlib.sha256(image).hexdigest()[:12]
                found.append((f"{stem}-{len(found) + 1}-{digest}.png", image))
    return found


def write_book(root: Path, target: Path) -> Path:
    """Pack the book as one Provenance Run Crate; one commit gives one file.

    Parameters
    ----------
    root : Path
        The repository, with git's history: the date of publication is the commit's.
    target : Path
        A zip file: the metadata, executed notebooks and their sources, the library's modules that
        they import, lock, registry, claims, the ledger's rows and the stored pictures. Data sets
        are named by digest and not packed.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    CrateError
        If there is no git, or no executed notebook.
    """
    records, files = _book_records(Path(root))
    text = json.dumps(build(records), ensure_ascii=False, indent=1)
    files = {DESCRIPTOR: text.encode(), **files}
    with atomic(target) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            # A fixed time, or each packing would give another file.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return Path(target)


def main(arguments: list[str] | None = None) -> int:
    """Pack the book as a crate and have it validated."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.robot_provenance.crate", description=main.__doc__
    )
    parser.add_argument("what", choices=("book",))
    parser.add_argument("target", type=Path, help="the zip file to write")
    options = parser.parse_args(arguments)
    from lib.robot_provenance.validation import validate_crate

    try:
        write_book(ROOT, options.target)
    except CrateError as error:
        print(error, file=sys.stderr)
        return 1
    report = validate_crate(options.target)
    for issue in report.issues:
        print(f"{issue.check}: {issue.message} {issue.subject}", file=sys.stderr)
    print(
        f"{options.target}: {options.target.stat().st_size} bytes, {report.n_passed} of "
        f"{report.n_checks} required checks passed, {len(report.skipped)} skipped"
    )
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
