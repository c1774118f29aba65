"""FAIR indicators that files can decide, each with its evidence; the others stay undecided.

The indicators are those of the RDA's FAIR Data Maturity Model (2020), by their own names. Tools
that compute one score from a live address need that address; here there is only a folder, so
whether an identifier resolves, a page can be harvested or a protocol answers is *not decidable*,
and no total score is given. Levels and weights of the model are not used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import rdflib

from lib.robot_provenance import crate
from lib.robot_provenance.vocabulary import PREFIXES

__all__ = ["Evidence", "assess", "gather"]

STANDARD_SUFFIXES = {
    *(".json", ".jsonl", ".jsonld", ".csv", ".yaml", ".yml", ".pgm", ".mcap", ".nt", ".txt")
}
"""Formats that anybody can read from a public description."""

SHARED: tuple[str, ...] = (
    *(PREFIXES[one] for one in ("prov", "dcat", "dcterms", "foaf", "qudt", "spdx", "rdfs", "rdf")),
    "http://schema.org/",
    "https://schema.org/",
)
"""Vocabularies that communities share."""


@dataclass
class Evidence:
    """What a folder offers.

    Attributes
    ----------
    files : list of str
        Paths of data files.
    graph : rdflib.Graph
        All metadata in RDF; empty where there is none.
    crate : dict
        Node by identifier of the run crate; empty where there is none.
    licence_file : str
        Path of a licence text.
    digests : set of str
        Paths for which the metadata hold a digest.
    """

    files: list[str] = field(default_factory=list)
    graph: rdflib.Graph = field(default_factory=rdflib.Graph)
    crate: dict[str, dict[str, Any]] = field(default_factory=dict)
    licence_file: str = ""
    digests: set[str] = field(default_factory=set)

    @property
    def root(self) -> dict[str, Any]:
        """The crate's node about the data set."""
        return self.crate.get("./", {})


def gather(folder: Path) -> Evidence:
    """Collect what a folder offers: data files, ``provenance.nt`` and the run crate.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found = Evidence()
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if not file.is_file() or any(part.startswith(".") for part in Path(path).parts):
            continue
        if file.name.upper().startswith("LICENSE"):
            found.licence_file = path
        elif file.name == "provenance.nt":
            found.graph.parse(file, format="nt")
        elif file.name == crate.DESCRIPTOR:
            nodes = json.loads(file.read_text(encoding="utf-8"))["@graph"]
            found.crate = {node["@id"]: node for node in nodes}
        elif not file.name.startswith("provenance."):
            found.files.append(path)
    rp = PREFIXES["rp"]
    query = f"SELECT ?p WHERE {{ ?e <{rp}path> ?p ; <{rp}sha256> ?d }}"
    found.digests = {str(row[0]) for row in found.graph.query(query)}  # type: ignore[index]
    found.digests |= {name for name, node in found.crate.items() if "sha256" in node}
    return found


Decision = tuple[bool, str]

PERSISTENT = ("https://doi.org/", "http://hdl.handle.net/", "https://w3id.org/", "ark:/")
GLOBAL = (*PERSISTENT, "urn:uuid:", "arcp://uuid,")
"""How identifiers begin that nobody else can have given to something else; a name is none."""


def _identifier(evidence: Evidence, known: tuple[str, ...]) -> Decision:
    name = str(evidence.root.get("identifier", ""))
    return name.startswith(known), f"identifier is {name.partition(',')[0] or 'missing'}"


def _uses(evidence: Evidence) -> Decision:
    wanted = ("name", "description", "creator", "datePublished", "license")
    missing = [one for one in wanted if not evidence.root.get(one)]
    return not missing, "missing: " + ", ".join(missing) if missing else "in the crate's root"


def _data_named(evidence: Evidence) -> Decision:
    # The logs hold the records and cannot hold their own digest.
    rest = [p for p in evidence.files if p not in evidence.digests]
    named, whole = len(evidence.files) - len(rest), len(evidence.files)
    good = named > 0 and all(p.endswith("records.jsonl") for p in rest)
    return good, f"{named} of {whole} files are named by a digest"


def _listed(evidence: Evidence, word: str, part: str = "") -> Decision:
    """Count the values of a property of the crate's root, or those that hold a text."""
    told = evidence.root.get(word, [])
    told = told if isinstance(told, list) else [told]
    found = sum(part in one.get("@id", "") for one in told)
    return found > 0, f"{found} of {word}"


def _formats(evidence: Evidence) -> Decision:
    known = sum(Path(path).suffix in STANDARD_SUFFIXES for path in evidence.files)
    share = known / len(evidence.files) if evidence.files else 0.0
    return share > 0.9, f"{share:.0%} of files in formats with a public description"


def _vocabularies(evidence: Evidence) -> Decision:
    predicates = {str(p) for p in evidence.graph.predicates()}
    shared = sum(p.startswith(SHARED) for p in predicates)
    return shared >= 10, f"{shared} of {len(predicates)} properties are of shared vocabularies"


def _states(evidence: Evidence, **wanted: rdflib.URIRef) -> Decision:
    """Look for statements with each of some properties."""
    missing = [name for name, one in wanted.items() if (None, one, None) not in evidence.graph]
    return not missing, "missing: " + ", ".join(missing) if missing else ", ".join(wanted)


def _licence(evidence: Evidence) -> Decision:
    told = evidence.root.get("license")
    text = f"a text, {evidence.licence_file}" if evidence.licence_file else "no licence"
    return bool(told or evidence.licence_file), "in the metadata" if told else text


def _licence_iri(evidence: Evidence) -> Decision:
    told = evidence.root.get("license")
    name = told.get("@id", "") if isinstance(told, dict) else str(told or "")
    good = name.startswith(("https://creativecommons.org/", "https://spdx.org/licenses/"))
    return good, name or "no IRI of a licence"


_PLURAL = {
    "units": rdflib.URIRef(PREFIXES["qudt"] + "hasUnit"),
    "versions": rdflib.DCTERMS.hasVersion,
    "times": rdflib.PROV.startedAtTime,
    "agents": rdflib.PROV.wasAssociatedWith,
}
_DECIDE: dict[str, Callable[[Evidence], Decision] | None] = {
    "RDA-F1-01M metadata have a persistent identifier": lambda e: _identifier(e, PERSISTENT),
    "RDA-F1-02M metadata have a globally unique identifier": lambda e: _identifier(e, GLOBAL),
    "RDA-F1-02D each data file has a unique identifier": _data_named,
    "RDA-F2-01M metadata are rich: title, description, creator, date, licence": _uses,
    "RDA-F3-01M metadata hold the identifiers of the data": lambda e: _listed(e, "hasPart"),
    "RDA-F4-01M metadata can be harvested and indexed": None,
    "RDA-A1-02M metadata can be accessed by a person": None,
    "RDA-A1-04M access by a standard protocol": None,
    "RDA-A2-01M metadata remain when the data are gone": None,
    "RDA-I1-01M metadata in a language for knowledge": lambda e: (
        len(e.graph) > 0,
        "RDF" if len(e.graph) else "no RDF",
    ),
    "RDA-I1-01D data in formats with a public description": _formats,
    "RDA-I2-01M vocabularies that communities share": _vocabularies,
    "RDA-I3-01M references to other entities": lambda e: _states(
        e, derivations=rdflib.PROV.wasDerivedFrom
    ),
    "RDA-I3-03M references that say their role": lambda e: _states(e, roles=rdflib.PROV.hadRole),
    "RDA-R1-01M plural attributes: units, versions, times, agents": lambda e: _states(e, **_PLURAL),
    "RDA-R1.1-01M a licence is stated": _licence,
    "RDA-R1.1-03M the licence is an IRI that a machine knows": _licence_iri,
    "RDA-R1.2-02M provenance in a language across communities": lambda e: _states(
        e, activities=rdflib.PROV.wasGeneratedBy
    ),
    "RDA-R1.3-01M metadata follow a community's standard": lambda e: _listed(
        e, "conformsTo", "wfrun"
    ),
    "RDA-R1.3-01D data follow a community's standard": lambda e: (
        any(path.endswith(".mcap") for path in e.files),
        "ROS 2 bags (MCAP)",
    ),
}
"""Indicators in our words, and what decides them; None where files cannot."""


def assess(evidence: Evidence) -> pd.DataFrame:
    """Decide every indicator that files can decide.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    DataFrame
        Index ``id``; columns ``indicator``, ``verdict`` (met, not met, not decidable) and
        ``evidence``.

    Examples
    --------
    >>> table = assess(Evidence())
    >>> sorted(set(table["verdict"]))
    ['not decidable', 'not met']
    """
    rows = []
    for indicator, decide in _DECIDE.items():
        verdict, why = "not decidable", "needs a live address"
        if decide is not None:
            good, why = decide(evidence)
            verdict = "met" if good else "not met"
        rows.append((*indicator.split(" ", 1), verdict, why))
    table = pd.DataFrame(rows, columns=["id", "indicator", "verdict", "evidence"])
    return table.set_index("id")
