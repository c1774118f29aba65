"""Outside judges: roc-validator for crates, pyshacl for graphs; both without a network.

The validator's profiles are bundled with it; only two JSON-LD contexts would be fetched. They are
vendored in ``contexts/`` with digest and source, and handed to the validator's own HTTP cache by a
cached session whose transport reads local files. No check is patched, and each address gets the
document that belongs to it.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import rdflib

CONTEXT_FOLDER = Path(__file__).parent / "contexts"
SHAPES = Path(__file__).parent / "shapes" / "robot-provenance.ttl"
AXIOMS = SHAPES.with_name("prov-axioms.ttl")
"""The subclasses, domains and ranges of PROV-O that RDFS inference needs here."""
CONTEXT_FILES: dict[str, tuple[str, str]] = {
    "https://w3id.org/ro/crate/1.1/context": (
        "ro-crate-1.1.jsonld",
        "bb5dd0a79ebd5a3b074e2faf96f437503234f8a4b8e84c7149de91eae0d2222a",
    ),
    "https://w3id.org/ro/terms/workflow-run/context": (
        "workflow-run.jsonld",
        "1e2f771d72a9f8c8e9d85be3cdb029862f48383c857e13a9204db250a1117eb9",
    ),
}
"""Address of a context, our copy, and the copy's sha256."""

PROFILE = "provenance-run-crate-0.5"
Severity = Literal["REQUIRED", "RECOMMENDED", "OPTIONAL"]


class ValidationError(RuntimeError):
    """A validation that could not be carried out in full, so that its answer is worth nothing."""


@dataclass(frozen=True, order=True)
class Finding:
    """One thing a judge objects to.

    Parameters
    ----------
    check : str
        Identifier or shape.
    severity : str
    message : str
    subject : str
        What it is about; may be empty.
    """

    check: str
    severity: str
    message: str
    subject: str = ""


@dataclass(frozen=True)
class CrateReport:
    """What roc-validator says of a crate.

    Parameters
    ----------
    profile : str
    n_checks : int
        Checks that were executed.
    skipped : tuple of str
        Checks that were not executed.
    issues : tuple of Finding
    """

    profile: str
    n_checks: int
    skipped: tuple[str, ...]
    issues: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether no check of the asked severity failed and none was skipped."""
        return not self.issues and not self.skipped


def context(url: str) -> bytes:
    """Return our copy of a JSON-LD context, if it is the one we vendored."""
    name, expected = CONTEXT_FILES[url]
    content = (CONTEXT_FOLDER / name).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValidationError(f"{name}: sha256 {found}, expected {expected}")
    return content


@functools.cache
def _cache() -> tuple[Any, Path]:
    """Return a folder (kept alive) and the cache in it, which holds the contexts."""
    from requests.adapters import HTTPAdapter
    from requests_cache import CachedSession
    from urllib3 import HTTPResponse

    class Local(HTTPAdapter):
        """Answers from our copies; any other address is unknown."""

        def send(self, request: Any, *_: Any, **__: Any) -> Any:
            known = request.url in CONTEXT_FILES
            body = io.BytesIO(context(request.url) if known else b"")
            kind, status = {"Content-Type": "application/ld+json"}, 200 if known else 404
            raw = HTTPResponse(body, kind, status, preload_content=False)
            raw._request_url = request.url
            return self.build_response(request, raw)

    holder = tempfile.TemporaryDirectory(prefix="crate-contexts-")
    place = Path(holder.name) / "http"
    with CachedSession(str(place), backend="sqlite", expire_after=-1) as session:
        session.mount("https://", Local())
        for url in CONTEXT_FILES:
            session.get(url)
    return holder, place


def validate_crate(folder: Path, severity: Severity = "REQUIRED") -> CrateReport:
    """Validate a crate against Provenance Run Crate 0.5 and all profiles it extends, offline.

    Parameters
    ----------
    folder : Path
        A folder with ``ro-crate-metadata.json``, or a zip file.
    severity : {"REQUIRED", "RECOMMENDED", "OPTIONAL"}
        Checks of this severity and above are executed.

    Returns
    -------
    CrateReport

    Raises
    ------
    ValidationError
        If there is no crate, nothing was checked, or another profile was used than asked for.
    """
    from rocrate_validator import models, services
    from rocrate_validator.utils.document_loader import uninstall_document_loader
    from rocrate_validator.utils.http import HttpRequester

    folder = Path(folder)
    if not folder.is_file() and not (folder / "ro-crate-metadata.json").is_file():
        raise ValidationError(f"{folder}: no ro-crate-metadata.json in it")
    logging.getLogger("rocrate_validator").setLevel(logging.CRITICAL)
    try:
        settings = services.ValidationSettings(
            rocrate_uri=str(folder),
            profile_identifier=PROFILE,
            requirement_severity=models.Severity[severity],
            offline=True,
            cache_path=_cache()[1],
        )
        result = services.validate(settings)
    finally:
        # The validator replaces rdflib's loader of JSON-LD contexts for everybody; give it back.
        uninstall_document_loader()
        HttpRequester.reset()
    used = result.context.target_validation_profile.identifier
    if used != PROFILE:
        raise ValidationError(f"validated against {used}, expected {PROFILE}")
    executed = result.executed_checks
    if not executed:
        raise ValidationError(f"{folder}: no check was executed")
    told = (
        (one.check.identifier, one.severity.name, one.message or "", one.violatingEntity or "")
        for one in result.get_issues(models.Severity[severity])
    )
    issues = sorted(Finding(*map(str, one)) for one in told)
    skipped = tuple(sorted(str(one.identifier) for one in result.skipped_checks))
    return CrateReport(used, len(executed), skipped, tuple(issues))


@functools.cache
def _shapes(file: Path) -> rdflib.Graph:
    return rdflib.Graph().parse(file, format="turtle")


def shacl(
    graph: rdflib.Graph, shapes: Path = SHAPES, *, inference: Literal["none", "rdfs"] = "none"
) -> list[Finding]:
    """Check a graph against shapes.

    Parameters
    ----------
    graph : rdflib.Graph
        Left as it is.
    shapes : Path
        A file of shapes in Turtle; ours by default. The authors' are at
        `lib.robot_provenance.study.authors.authors_shapes`.
    inference : {"none", "rdfs"}
        Whether classes follow from PROV-O's domains, ranges and subclasses first.

    Returns
    -------
    list of Finding
        One a violated constraint and focus node; none if the graph conforms.

    Raises
    ------
    ValueError
        If the graph is empty, for an empty graph conforms to everything.
    """
    import pyshacl

    if len(graph) == 0:
        raise ValueError("the graph is empty and would conform to anything")
    _, results, _ = pyshacl.validate(
        graph,
        shacl_graph=_shapes(shapes),
        ont_graph=_shapes(AXIOMS) if inference == "rdfs" else None,
        inference=inference,
        inplace=False,
    )
    sh, findings = rdflib.SH, []
    for one in results.subjects(rdflib.RDF.type, sh.ValidationResult):
        what = (sh.sourceConstraintComponent, sh.resultSeverity, sh.resultMessage, sh.focusNode)
        check, severity, message, focus = (str(results.value(one, name)) for name in what)
        path, last = results.value(one, sh.resultPath), [check, severity]
        check, severity = (word.rpartition("#")[2] for word in last)
        text = f"{message} ({path})" if isinstance(path, rdflib.URIRef) else message
        findings.append(Finding(check, severity, text, focus))
    return sorted(findings)
