"""Names of things: which IRI each kind of entity, activity and property gets, and from whom.

Where the authors' released writer or context declares a term, we use theirs; `BORROWED` says which.
Terms of ours live in the namespace `RP`, which is the address of this file.

Identifiers follow three rules.

- *Content* is named by its bytes: ``nih:sha-256;<hex>``, the readable form of RFC 6920.
- A *place* is named inside its campaign: ``arcp://name,<campaign>/<path>``, a scheme made for paths
  in an archive that has no address on the web.
- A *file* is some content at some place: ``<place>#<first 16 hex digits>``. It is a specialization
  of the content. Two copies are two files and one content; an overwritten path is two files.

References
----------
W3C PROV-O, 2013; W3C DCAT 3; QUDT 2.1; RFC 6920; Soiland-Reyes and Cáceres, *The Archive and
Package (arcp) URI scheme*, 2018; RoboVAST's ``fair_metadata.py`` (Apache-2.0).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

__all__ = [
    "ACTIVITY_KINDS",
    "BORROWED",
    "ENTITY_KINDS",
    "PREFIXES",
    "ROLES",
    "UNITS",
    "Term",
    "base_iri",
    "content_iri",
    "file_iri",
    "iri",
    "place_iri",
    "slug",
    "unit_iri",
]

PREFIXES: dict[str, str] = {
    "prov": "http://www.w3.org/ns/prov#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "dcat": "http://www.w3.org/ns/dcat#",
    "dcterms": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "spdx": "http://spdx.org/rdf/terms#",
    "qudt": "http://qudt.org/schema/qudt/",
    "unit": "http://qudt.org/vocab/unit/",
    "robovast": "https://purl.org/robovast/metamodels/",
    "vars": "https://purl.org/robovast/metamodels/variation/",
    "scenarios": "https://purl.org/secorolab/metamodels/scenarios/osc/",
    "env": "https://purl.org/secorolab/metamodels/environment#",
    "rp": (
        "https://github.com/ten-papers-executable/book/blob/main/lib/robot_provenance/vocabulary.py#"
    ),
    "content": "nih:sha-256;",
}
"""Namespaces by prefix."""


@dataclass(frozen=True)
class Term:
    """A kind of entity or activity.

    Parameters
    ----------
    curie : str
        Prefix and local name, such as ``robovast:TestExecution``.
    meaning : str
        What it stands for, in a few words.
    media_type : str
        Of the file, where the kind is a kind of file.
    """

    curie: str
    meaning: str
    media_type: str = ""


ENTITY_KINDS: dict[str, Term] = {
    "Campaign": Term("robovast:Campaign", "the campaign as a collection of its runs"),
    "VastConfiguration": Term(
        "robovast:VastConfiguration", "the authors' variation file", "application/yaml"
    ),
    "AbstractScenario": Term(
        "scenarios:AbstractScenario", "the scenario before its parameters are set", "text/plain"
    ),
    "ConcreteScenario": Term(
        "scenarios:ConcreteScenario", "all parameters of one run", "application/json"
    ),
    "FloorPlanModel": Term("env:FloorPlanModel", "text of a floor plan", "text/plain"),
    "FloorPlanGraph": Term(
        "env:FloorPlanGraphModel", "which rooms lie where, and their doors", "application/json"
    ),
    "OccupancyGrid": Term(
        "env:OccupancyGrid", "the cells of a map, as an image", "image/x-portable-graymap"
    ),
    "MapMetadata": Term("env:Metadata", "scale, origin, thresholds of a map", "application/yaml"),
    "MapReference": Term("rp:MapReference", "the name by which a scenario asks for a map"),
    "VariationConfig": Term("rp:VariationConfig", "the values one variation has set"),
    "RosBag": Term("robovast:RosBag", "what the robot saw and did, as a ROS 2 bag"),
    "MCAPFile": Term("robovast:MCAPFile", "the messages of a bag", "application/octet-stream"),
    "BagFileMetadata": Term(
        "robovast:BagFile#Metadata", "the table of contents of a bag", "application/yaml"
    ),
    "TestResult": Term(
        "robovast:TestResult", "outcome and measures of one run", "application/json"
    ),
    "LogFile": Term("robovast:LogFile", "events of one run, in simulated time", "text/plain"),
    "Traces": Term("robovast:Traces", "the path driven, one row a pose", "text/csv"),
    "CampaignMetadata": Term(
        "robovast:Campaign#Metadata", "the plan of a campaign", "application/json"
    ),
    "CampaignGraph": Term("robovast:Campaign#Graph", "a provenance graph", "application/n-triples"),
    "Metrics": Term("rp:Metrics", "one row a run", "text/csv"),
    "SimulatorConfig": Term("rp:SimulatorConfig", "constants of the simulator", "application/json"),
    "Workflow": Term("rp:Workflow", "the program that orders the steps", "text/x-python"),
    "Software": Term("rp:Software", "code, as bytes", "text/x-python"),
    "Lock": Term("rp:Lock", "all packages with their versions", "text/plain"),
    "Notebook": Term("rp:Notebook", "an executed notebook", "application/x-ipynb+json"),
    "NotebookSource": Term("rp:NotebookSource", "a notebook before execution", "text/x-python"),
    "Claims": Term("rp:Claims", "what a paper claims, as data", "application/yaml"),
    "Ledger": Term("rp:Ledger", "claims, measurements and verdicts", "application/json"),
    "Figure": Term("rp:Figure", "a picture stored in a notebook", "image/png"),
    "DataFile": Term("rp:DataFile", "a registered file of a data set"),
    "Registry": Term("rp:Registry", "the data sets with digests and licences", "application/yaml"),
    "File": Term("rp:File", "a file of no other kind", "application/octet-stream"),
}

ACTIVITY_KINDS: dict[str, Term] = {
    "ConfigGeneration": Term("robovast:ConfigGeneration", "concrete scenarios are made"),
    "FloorPlanTransformation": Term(
        "robovast:FloorPlanTransformation", "a graph from a floor-plan model"
    ),
    "FloorPlanGeneration": Term("robovast:FloorPlanGeneration", "a map from a floor plan"),
    "PathVariation": Term("vars:PathVariation", "start and goals are set"),
    "ObstacleVariation": Term("vars:ObstacleVariation", "boxes are set"),
    "ParameterVariation": Term("vars:ParameterVariation", "noise and drop-outs are set"),
    "CampaignExecution": Term("robovast:CampaignExecution", "all runs of a campaign"),
    "TestExecution": Term("robovast:TestExecution", "one run"),
    "Postprocessing": Term("robovast:Postprocessing", "a trace from one bag"),
    "PostprocessingMetadata": Term("robovast:PostprocessingMetadata", "the table of all runs"),
    "PostprocessingGraph": Term("robovast:PostprocessingGraph", "a graph or crate is written"),
    "MapLoading": Term("rp:MapLoading", "a map is read, checked and copied into the campaign"),
    "Repair": Term("rp:Repair", "a reference that leads nowhere is replaced, with a reason"),
    "Acquisition": Term("rp:Acquisition", "a file enters the campaign unchanged"),
    "NotebookExecution": Term("rp:NotebookExecution", "a notebook is executed"),
    "LedgerCollection": Term("rp:LedgerCollection", "verdicts are computed from stored outputs"),
    "FigureExtraction": Term("rp:FigureExtraction", "a picture is read out of a notebook"),
    "BookBuild": Term("rp:BookBuild", "all notebooks of the book, one after the other"),
}

BORROWED: frozenset[str] = frozenset(
    term.curie
    for term in [*ENTITY_KINDS.values(), *ACTIVITY_KINDS.values()]
    if not term.curie.startswith("rp:")
)
"""Terms of the authors' vocabulary that we use."""

ROLES: dict[str, str] = {
    "scenario": "the parameters of a run",
    "map": "the map the robot drives on",
    "config": "constants of the simulator",
    "plan": "what an agent followed",
    "bag": "the robot's log",
    "result": "outcome and measures",
    "log": "events in words",
    "trace": "the path driven",
    "metrics": "the table of runs",
    "source": "where something came from",
    "variation": "values set by a variation",
    "graph": "provenance, exported",
    "notebook": "an executed notebook",
    "data": "a registered file",
    "lock": "versions of all packages",
    "ledger": "claims and verdicts",
    "figure": "a picture",
    "input": "anything else read",
    "output": "anything else written",
}

UNITS: dict[str, str] = {
    "m": "M",
    "rad": "RAD",
    "s": "SEC",
    "m/s": "M-PER-SEC",
    "rad/s": "RAD-PER-SEC",
    "Hz": "HZ",
    "1": "UNITLESS",
    "byte": "BYTE",
}
"""QUDT unit by symbol."""


def iri(curie: str) -> str:
    """Return the IRI of a prefixed name.

    Raises
    ------
    ValueError
        If the prefix is unknown.

    Examples
    --------
    >>> iri("prov:used")
    'http://www.w3.org/ns/prov#used'
    """
    prefix, _, local = curie.partition(":")
    if prefix not in PREFIXES:
        raise ValueError(f"{curie!r}: unknown prefix, expected one of {', '.join(PREFIXES)}")
    return PREFIXES[prefix] + local


def slug(text: str) -> str:
    """Return a text as a piece of an IRI or of a path: letters, digits, ``.``, ``_`` and ``-``.

    Different texts may give the same slug.

    Raises
    ------
    ValueError
        If nothing is left.

    Examples
    --------
    >>> slug("Door width 0.5 m/ü")
    'Door-width-0.5-m'
    """
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    if not cleaned:
        raise ValueError(f"{text!r} has no letter or digit to make a name of")
    return cleaned


def base_iri(campaign: str) -> str:
    """Return the IRI below which everything of a campaign is named.

    Examples
    --------
    >>> base_iri("demo")
    'arcp://name,demo/'
    """
    return f"arcp://name,{slug(campaign)}/"


def content_iri(sha256: str) -> str:
    """Return the name of some bytes.

    Raises
    ------
    ValueError
        If `sha256` is not 64 lower-case hexadecimal digits.

    Examples
    --------
    >>> content_iri("ab" * 32)[:24]
    'nih:sha-256;abababababab'
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256 is {sha256!r}, expected 64 lower-case hexadecimal digits")
    return PREFIXES["content"] + sha256


def place_iri(campaign: str, path: str) -> str:
    """Return the name of a place in a campaign; `path` has ``/`` between its parts.

    Examples
    --------
    >>> place_iri("demo", "runs/a b/trace.csv")
    'arcp://name,demo/runs/a%20b/trace.csv'
    """
    return base_iri(campaign) + quote(path, safe="/~")


def file_iri(campaign: str, path: str, sha256: str) -> str:
    """Return the name of some bytes at some place.

    Examples
    --------
    >>> file_iri("demo", "a.csv", "ab" * 32)
    'arcp://name,demo/a.csv#abababababababab'
    """
    content_iri(sha256)
    return f"{place_iri(campaign, path)}#{sha256[:16]}"


def unit_iri(symbol: str) -> str:
    """Return QUDT's IRI of a unit.

    Raises
    ------
    ValueError
        If the unit is not in `UNITS`.

    Examples
    --------
    >>> unit_iri("m/s")
    'http://qudt.org/vocab/unit/M-PER-SEC'
    """
    if symbol not in UNITS:
        raise ValueError(f"unit is {symbol!r}, expected one of {', '.join(UNITS)}")
    return PREFIXES["unit"] + UNITS[symbol]
