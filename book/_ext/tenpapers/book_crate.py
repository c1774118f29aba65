"""The book as a Provenance Run Crate, from what its executor wrote down while notebooks ran.

``lib.core.notebooks`` notes in each stored notebook, as part of executing it: when it began and
ended, with which Python, and by digest which modules, packages, data sets and claims it depended
on. These notes are the crate's record of executions. What has changed since then is not said to
have been used; the label of the execution counts it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from lib.core import data, ledger
from lib.core.ledger.rows import as_json
from lib.core.notebooks import discover
from lib.core.paths import ROOT, atomic
from lib.core.sources import code_digest
from lib.robot_provenance.crate import DESCRIPTOR, CrateError, build
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
from lib.robot_provenance.vocabulary import base_iri, file_iri, place_iri, slug

BOOK = "ten-papers-executable"
ORDER = "lib/core/notebooks.py"
"""The program that executes what is stale, notebook by notebook: the book's workflow."""


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CrateError(f"{root}: git {' '.join(words)} failed: {error}") from error
    return done.stdout.strip()


class _Book:
    """The book's records, and the files that its crate holds."""

    def __init__(self, root: Path) -> None:
        self.root, self.base = root, base_iri(BOOK)
        self.main = f"{self.base}.prov/book/0-BookBuild"
        self.files: dict[str, bytes] = {}
        self.entities: dict[str, Entity] = {}
        self.agents: dict[str, Agent] = {}
        self.activities = {self.main: Activity(self.main, "BookBuild", "the book's notebooks")}
        self.usages: dict[Usage, None] = {}
        self.generations: list[Generation] = []
        self.associations: dict[Association, None] = {}

    def file(self, path: str, kind: str, content: bytes | None = None) -> str:
        """Enter a file of the repository, or one made here; return its IRI."""
        held = (self.root / path).read_bytes() if content is None else content
        digest, place = hashlib.sha256(held).hexdigest(), place_iri(BOOK, path)
        name, label = file_iri(BOOK, path, digest), PurePosixPath(path).name
        self.files[path] = held
        # The program that orders the steps may be imported too; it stays what it is.
        self.entities.setdefault(name, Entity(name, kind, label, path, place, digest, len(held)))
        return name

    def data(self, name: str) -> list[str]:
        """Enter the registered files of a data set; they stay where they are."""
        declared, found = data.registry()[name], []
        for file in declared.files:
            found.append(file_iri(name, file.name, file.sha256))
            label = f"{name}: {PurePosixPath(file.name).name} ({declared.licence})"
            place = place_iri(name, file.name)
            self.entities[found[-1]] = Entity(
                found[-1], "DataFile", label, "", place, file.sha256, file.bytes
            )
        return found

    def agent(self, name: str, version: str, url: str) -> str:
        key = f"{self.base}.prov/agent/{slug(name)}" + (f"-{slug(version)}" if version else "")
        self.agents[key] = Agent(key, "SoftwareAgent", name, version, url=url)
        return key

    def step(self, kind: str, label: str, used: Sequence[str], made: str, agent: str) -> str:
        name = f"{self.base}.prov/book/{len(self.activities)}-{kind}"
        self.activities[name] = Activity(name, kind, label)
        self.usages |= dict.fromkeys(Usage(name, one) for one in used)
        self.generations.append(Generation(made, name))
        self.associations[Association(name, agent)] = None
        return name


def _unchanged(root: Path, noted: Mapping[str, str]) -> list[str]:
    """Return the files of `lib` that are today as the executor noted them."""

    def now(file: Path) -> str:
        python = file.suffix == ".py"
        return code_digest(file) if python else hashlib.sha256(file.read_bytes()).hexdigest()

    there = {path: root / path for path in noted if (root / path).is_file()}
    return [path for path, file in there.items() if now(file) == noted[path]]


def _records(root: Path) -> tuple[Records, dict[str, bytes]]:
    """Return the book's records and the files that its crate holds."""
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    revision, issued = _git(root, "rev-parse", "HEAD"), _git(root, "log", "-1", "--format=%cI")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    book, pages = _Book(root), str(citation["repository-code"])
    library = book.agent("lib", revision[:12] + ("-changed" if changed else ""), pages)
    order, lock = book.file(ORDER, "Workflow"), book.file("requirements.lock", "Lock")
    registry, executed = book.file("data/registry.yml", "Registry"), []
    for notebook in discover(root=root):
        content = json.loads(notebook.stored.read_text(encoding="utf-8"))
        noted: dict[str, Any] = content["metadata"].get("book", {})
        if not noted:
            continue
        parts, run = noted["parts"], noted.get("run", {})
        kept = _unchanged(root, parts["lib"])
        source = PurePosixPath(notebook.name).with_suffix(".py").as_posix()
        used = [lock, book.file(source, "NotebookSource")]
        used += [book.file(one, "Software") for one in kept]
        used += [one for name in parts["data"] for one in book.data(name)]
        if parts["claims"]:
            used.append(book.file(f"book/{notebook.chapter}/claims.yml", "Claims"))
        since = len(parts["lib"]) - len(kept)
        label = notebook.name + (f" ({since} files changed since)" if since else "")
        executed.append(book.file(notebook.name, "Notebook"))
        name = book.step("NotebookExecution", label, used, executed[-1], library)
        start, end = (datetime.fromisoformat(run[k]) if run else None for k in ("started", "ended"))
        book.activities[name] = Activity(name, "NotebookExecution", label, start=start, end=end)
        python = book.agent("Python", run.get("python", ""), "https://www.python.org/")
        book.associations[Association(book.main, python, order)] = None
    if not executed:
        raise CrateError(f"{root}: no executed notebook")
    rows = ledger.collect(root=root)
    counts = ledger.tally_by(rows)
    # The same text as the file that the ledger's page offers.
    verdicts = book.file("ledger.json", "Ledger", f"{as_json(rows)}\n".encode())
    paper, ours = (sum(counts[by].values()) for by in ("paper", "ours"))
    label = f"{paper} verdicts on claims of papers, {ours} on our own"
    book.step("LedgerCollection", label, [*executed, registry], verdicts, library)
    book.usages |= dict.fromkeys(Usage(book.main, one) for one in (order, lock, registry))
    about = {
        "title": citation["title"],
        "description": " ".join(str(citation["abstract"]).split()),
        "license": "https://spdx.org/licenses/" + citation["license"][0],
        "license_name": citation["license"][0],
        "creators": [
            {"kind": "Organization", "name": one["name"], "iri": pages}
            for one in citation["authors"]
        ],
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
        communications=tuple(
            Communication(name, book.main) for name in book.activities if name != book.main
        ),
        quantities=(),
    )
    return records, book.files


def write_book(root: Path, target: Path) -> Path:
    """Pack the book as one Provenance Run Crate; one commit gives one file.

    Parameters
    ----------
    root : Path
        The repository, with git's history: the date of publication is the commit's.
    target : Path
        A zip file: the metadata, executed notebooks and their sources, the library's modules that
        they used, lock, registry, claims and the ledger's rows. Data sets are named by digest and
        not packed.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    CrateError
        If there is no git, or no executed notebook.
    """
    records, files = _records(Path(root))
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


def main(target: str) -> int:
    """Pack the book as a crate into the zip file `target`, and have it validated."""
    from lib.robot_provenance.validation import validate_crate

    try:
        report = validate_crate(write_book(ROOT, Path(target)))
    except CrateError as error:
        print(error, file=sys.stderr)
        return 1
    for issue in report.issues:
        print(f"{issue.check}: {issue.message} {issue.subject}", file=sys.stderr)
    print(
        f"{target}: {Path(target).stat().st_size} bytes, {report.n_checks} required "
        f"checks, {len(report.issues)} issues, {len(report.skipped)} skipped"
    )
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
