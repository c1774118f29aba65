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
from typing import Any, Literal

import pandas as pd
import rdflib

from lib.robot_provenance import crate
from lib.robot_provenance.vocabulary import PREFIXES

__all__ = ["INDICATORS", "Evidence", "Indicator", "assess", "gather"]

Verdict = Literal["met", "not met", "not decidable"]

STANDARD_SUFFIXES = {
    ".json",
    ".jsonl",
    ".jsonld",
    ".csv",
    ".yaml",
    ".yml",
    ".pgm",
    ".mcap",
    ".nt",
    ".txt",
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


@dataclass(frozen=True)
class Indicator:
    """One indicator of the RDA model.

    Attributes
    ----------
    id : str
        Such as ``RDA-R1.1-02M``.
    text : str
        In our words.
    decide : callable or None
        Returns verdict and evidence in words; None where files cannot decide.
    """

    id: str
    text: str
    decide: Callable[[Evidence], tuple[bool, str]] | None


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


def _share(part: int, whole: int, what: str) -> str:
    return f"{part} of {whole} {what}"


def _uses(evidence: Evidence, *names: str) -> tuple[bool, str]:
    missing = [one for one in names if not evidence.root.get(one)]
    if not evidence.crate:
        return False, "no metadata document about the data set"
    return not missing, "missing: " + ", ".join(missing) if missing else "in the crate's root"


def _persistent(evidence: Evidence) -> tuple[bool, str]:
    name = str(evidence.root.get("identifier", ""))
    known = ("https://doi.org/", "http://hdl.handle.net/", "https://w3id.org/", "ark:/")
    return name.startswith(known), f"identifier is {name or 'missing'}"


def _global(evidence: Evidence) -> tuple[bool, str]:
    name = str(evidence.root.get("identifier", ""))
    return ":" in name, f"identifier is {name or 'missing'}"


def _data_named(evidence: Evidence) -> tuple[bool, str]:
    named = sum(path in evidence.digests for path in evidence.files)
    text = _share(named, len(evidence.files), "files are named by a digest")
    # The logs hold the records and cannot hold their own digest.
    rest = [p for p in evidence.files if p not in evidence.digests]
    return bool(named) and all(p.endswith("records.jsonl") for p in rest), text


def _data_in_metadata(evidence: Evidence) -> tuple[bool, str]:
    parts = evidence.root.get("hasPart", [])
    parts = parts if isinstance(parts, list) else [parts]
    return bool(parts), f"{len(parts)} parts are listed"


def _formats(evidence: Evidence) -> tuple[bool, str]:
    known = sum(Path(path).suffix in STANDARD_SUFFIXES for path in evidence.files)
    share = known / len(evidence.files) if evidence.files else 0.0
    return share > 0.9, f"{share:.0%} of files in formats with a public description"


def _rdf(evidence: Evidence) -> tuple[bool, str]:
    n = len(evidence.graph)
    return n > 0, "metadata in RDF" if n else "no RDF"


def _vocabularies(evidence: Evidence) -> tuple[bool, str]:
    predicates = {str(p) for p in evidence.graph.predicates()}
    shared = sum(p.startswith(SHARED) for p in predicates)
    text = _share(shared, len(predicates), "properties are of shared vocabularies")
    return shared >= 10, text


def _qualified(evidence: Evidence) -> tuple[bool, str]:
    found = len(set(evidence.graph.subjects(rdflib.PROV.hadRole, None)))
    return found > 0, "references with roles" if found else "no reference with a role"


def _references(evidence: Evidence) -> tuple[bool, str]:
    found = any(True for _ in evidence.graph.subject_objects(rdflib.PROV.wasDerivedFrom))
    return found, "entities refer to what they come from" if found else "no references"


def _plural(evidence: Evidence) -> tuple[bool, str]:
    graph, qudt = evidence.graph, rdflib.Namespace(PREFIXES["qudt"])
    checks = {
        "units": (None, qudt.hasUnit, None),
        "software versions": (None, rdflib.DCTERMS.hasVersion, None),
        "times": (None, rdflib.PROV.startedAtTime, None),
        "agents": (None, rdflib.PROV.wasAssociatedWith, None),
    }
    missing = [name for name, pattern in checks.items() if pattern not in graph]
    return not missing, "missing: " + ", ".join(missing) if missing else "units, versions, times"


def _licence(evidence: Evidence) -> tuple[bool, str]:
    told = evidence.root.get("license")
    if told:
        return True, "in the metadata"
    if evidence.licence_file:
        return True, f"a text, {evidence.licence_file}"
    return False, "no licence"


def _licence_iri(evidence: Evidence) -> tuple[bool, str]:
    told = evidence.root.get("license")
    name = told.get("@id", "") if isinstance(told, dict) else str(told or "")
    good = name.startswith(("https://creativecommons.org/", "https://spdx.org/licenses/"))
    return good, name or "no IRI of a licence"


def _provenance(evidence: Evidence) -> tuple[bool, str]:
    made = any(True for _ in evidence.graph.subject_objects(rdflib.PROV.wasGeneratedBy))
    return made, "activities in PROV-O" if made else "no activities in PROV-O"


def _community(evidence: Evidence) -> tuple[bool, str]:
    told = evidence.root.get("conformsTo", [])
    told = told if isinstance(told, list) else [told]
    names = [one["@id"] for one in told if "wfrun" in one.get("@id", "")]
    return bool(names), f"{len(names)} run-crate profiles are declared"


def _bags(evidence: Evidence) -> tuple[bool, str]:
    bags = [path for path in evidence.files if path.endswith(".mcap")]
    return bool(bags), "ROS 2 bags (MCAP)" if bags else "no robot log in a community format"


INDICATORS: tuple[Indicator, ...] = (
    Indicator("RDA-F1-01M", "metadata have a persistent identifier", _persistent),
    Indicator("RDA-F1-02M", "metadata have a globally unique identifier", _global),
    Indicator("RDA-F1-02D", "each data file has a unique identifier", _data_named),
    Indicator(
        "RDA-F2-01M",
        "metadata are rich: title, description, creator, date, licence",
        lambda e: _uses(e, "name", "description", "creator", "datePublished", "license"),
    ),
    Indicator("RDA-F3-01M", "metadata hold the identifiers of the data", _data_in_metadata),
    Indicator("RDA-F4-01M", "metadata can be harvested and indexed", None),
    Indicator("RDA-A1-02M", "metadata can be accessed by a person", None),
    Indicator("RDA-A1-04M", "access by a standard protocol", None),
    Indicator("RDA-A2-01M", "metadata remain when the data are gone", None),
    Indicator("RDA-I1-01M", "metadata in a language for knowledge", _rdf),
    Indicator("RDA-I1-01D", "data in formats with a public description", _formats),
    Indicator("RDA-I2-01M", "vocabularies that communities share", _vocabularies),
    Indicator("RDA-I3-01M", "references to other entities", _references),
    Indicator("RDA-I3-03M", "references that say their role", _qualified),
    Indicator("RDA-R1-01M", "plural attributes: units, versions, times, agents", _plural),
    Indicator("RDA-R1.1-01M", "a licence is stated", _licence),
    Indicator("RDA-R1.1-03M", "the licence is an IRI that a machine knows", _licence_iri),
    Indicator("RDA-R1.2-02M", "provenance in a language across communities", _provenance),
    Indicator("RDA-R1.3-01M", "metadata follow a community's standard", _community),
    Indicator("RDA-R1.3-01D", "data follow a community's standard", _bags),
)


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
    for one in INDICATORS:
        if one.decide is None:
            verdict, why = "not decidable", "needs a live address"
        else:
            good, why = one.decide(evidence)
            verdict = "met" if good else "not met"
        rows.append((one.id, one.text, verdict, why))
    table = pd.DataFrame(rows, columns=["id", "indicator", "verdict", "evidence"])
    return table.set_index("id")
