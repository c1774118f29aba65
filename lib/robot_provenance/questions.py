"""Competency questions: what a reader of a campaign's graph may ask, in SPARQL.

The first ten are those of the developer guide of the authors' framework (cps-test-lab/robovast),
in our words and for our terms; the others are ours. Every query returns plain values: paths, names,
digests, numbers. So an answer can be compared, row by row, with that of an oracle that reads the
runs themselves and no provenance at all (`lib.robot_provenance.study.oracle`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rdflib
from rdflib import XSD

from lib.robot_provenance.vocabulary import PREFIXES, iri

if TYPE_CHECKING:
    import pyoxigraph

__all__ = ["AUTHORS", "OURS", "QUESTIONS", "Question", "Row", "answer"]

Row = tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes
    ----------
    id : str
        ``A1`` to ``A10`` for the authors', ``O1`` and on for ours.
    text : str
    columns : tuple of str
        What a row of the answer holds.
    sparql : str
        A SELECT query without prefixes, whose variables are the columns in this order.
    """

    id: str
    text: str
    columns: tuple[str, ...]
    sparql: str

    @property
    def query(self) -> str:
        """The query with its prefixes, as an engine wants it."""
        head = "".join(
            f"PREFIX {name}: <{space}>\n" for name, space in PREFIXES.items() if name != "content"
        )
        return head + self.sparql


def _q(id: str, text: str, columns: Sequence[str], where: str) -> Question:
    body = where.strip()
    if not body.startswith("SELECT"):
        names = " ".join(f"?{name}" for name in columns)
        body = f"SELECT {names} WHERE {{\n  {body}\n}}"
    return Question(id, text, tuple(columns), body)


# A name with a "#" in it cannot be written with a prefix.
_SUCCESS = f"<{iri('robovast:TestResult#success')}>"

AUTHORS: tuple[Question, ...] = (
    _q(
        "A1",
        "Which floor-plan models are there, who made them, and is the date known?",
        ("model", "creator", "dated"),
        """  ?m a env:FloorPlanModel ; rp:path ?model .
  OPTIONAL { ?m prov:wasAttributedTo/foaf:name ?creator . }
  OPTIONAL { ?m prov:generatedAtTime ?date . }
  BIND(BOUND(?date) AS ?dated)""",
    ),
    _q(
        "A2",
        "Which campaign file refers to which abstract scenario, and who wrote it?",
        ("campaign", "scenario", "creator"),
        """  ?c a robovast:VastConfiguration ; rp:path ?campaign ; dcterms:references ?s .
  ?s a scenarios:AbstractScenario ; rp:path ?scenario .
  OPTIONAL { ?c prov:wasAttributedTo/foaf:name ?creator . }""",
    ),
    _q(
        "A3",
        "Which floor-plan model was transformed into which graph, and by what?",
        ("model", "graph", "agent"),
        """  ?a a robovast:FloorPlanTransformation ; prov:used ?m ;
     prov:wasAssociatedWith/foaf:name ?agent .
  ?m a env:FloorPlanModel ; rp:path ?model .
  ?g prov:wasGeneratedBy ?a ; rp:path ?graph .""",
    ),
    _q(
        "A4",
        "Which map files were generated from which floor-plan graph, and by what?",
        ("graph", "file", "agent"),
        """  ?a a robovast:FloorPlanGeneration ; prov:used ?g ;
     prov:wasAssociatedWith/foaf:name ?agent .
  ?g rp:path ?graph .
  ?f prov:wasGeneratedBy ?a ; rp:path ?file .""",
    ),
    _q(
        "A5",
        "From which campaign file and abstract scenario does each concrete scenario come, "
        "and what made it?",
        ("campaign", "abstract", "concrete", "agent"),
        """  ?k a scenarios:ConcreteScenario ; rp:path ?concrete ; prov:wasGeneratedBy ?a ;
     prov:wasDerivedFrom+ ?c .
  ?a prov:wasAssociatedWith/foaf:name ?agent .
  ?c a robovast:VastConfiguration ; rp:path ?campaign ; dcterms:references/rp:path ?abstract .""",
    ),
    _q(
        "A6",
        "What did each run use and make, with which agents, and are its times known?",
        ("scenario", "used", "made", "agent", "timed"),
        """  ?a a robovast:TestExecution ; prov:used ?k, ?u .
  ?k a scenarios:ConcreteScenario ; rp:path ?scenario .
  ?u rp:path ?used .
  ?m prov:wasGeneratedBy ?a ; rp:path ?made .
  ?a prov:wasAssociatedWith/foaf:name ?agent .
  OPTIONAL { ?a prov:startedAtTime ?start ; prov:endedAtTime ?end . FILTER(?start <= ?end) }
  BIND(BOUND(?end) AS ?timed)""",
    ),
    _q(
        "A7",
        "Which table was made from which bag, by what, and are the times known?",
        ("bag", "trace", "agent", "timed"),
        """  ?b a robovast:RosBag ; rp:path ?bag .
  ?a prov:used ?b .
  ?t prov:wasGeneratedBy ?a ; a robovast:Traces ; rp:path ?trace .
  ?a prov:wasAssociatedWith/foaf:name ?agent .
  OPTIONAL { ?a prov:startedAtTime ?start ; prov:endedAtTime ?end . FILTER(?start <= ?end) }
  BIND(BOUND(?end) AS ?timed)""",
    ),
    _q(
        "A8",
        "Which table of runs and which graph were written, by what, and in this order?",
        ("table", "graph", "agent", "ordered"),
        """  ?ma a robovast:PostprocessingMetadata ; prov:endedAtTime ?end .
  ?ga a robovast:PostprocessingGraph ; prov:used ?m ; prov:startedAtTime ?start ;
      prov:wasAssociatedWith/foaf:name ?agent .
  ?m prov:wasGeneratedBy ?ma ; rp:path ?table .
  ?g prov:wasGeneratedBy ?ga ; rp:path ?graph .
  BIND(?end <= ?start AS ?ordered)""",
    ),
    _q(
        "A9",
        "Which types of variation does each concrete scenario have?",
        ("scenario", "variation"),
        """  ?k a scenarios:ConcreteScenario ; rp:path ?scenario ; prov:wasDerivedFrom ?v .
  ?v prov:wasGeneratedBy ?a .
  ?a a robovast:Variation, ?type .
  FILTER(?type NOT IN (prov:Activity, robovast:Variation))
  BIND(STRAFTER(STR(?type), "variation/") AS ?variation)""",
    ),
    _q(
        "A10",
        "What is the failure rate in each environment?",
        ("environment", "failures", "runs"),
        f"""  SELECT ?environment (SUM(IF(?success, 0, 1)) AS ?failures)
    (COUNT(?a) AS ?runs)
  WHERE {{
    ?a a robovast:TestExecution ; prov:used ?map ; {_SUCCESS} ?success .
    ?map a env:OccupancyGrid ; rp:path ?environment .
  }} GROUP BY ?environment""",
    ),
)

OURS: tuple[Question, ...] = (
    _q(
        "O1",
        "Which runs drove on which map, by the map's content and not by its name?",
        ("sha256", "run"),
        """  ?a a robovast:TestExecution ; rp:run ?run ; prov:used ?map .
  ?map a env:OccupancyGrid ; prov:specializationOf/rp:sha256 ?sha256 .""",
    ),
    _q(
        "O2",
        "On which files does the table of runs rest, all the way up?",
        ("file",),
        """  SELECT DISTINCT ?file WHERE {
    ?t a rp:Metrics ; (prov:wasGeneratedBy/prov:used|prov:wasDerivedFrom)+ ?e .
    ?e rp:path ?file . }""",
    ),
    _q(
        "O3",
        "Which results must be made again if a map turns out to be wrong?",
        ("map", "result"),
        """  SELECT DISTINCT ?map ?result WHERE {
    ?m a env:OccupancyGrid ; rp:path ?map .
    ?r a robovast:TestResult ; rp:path ?result ; (prov:wasGeneratedBy/prov:used)+ ?m . }""",
    ),
    _q(
        "O4",
        "Which runs did not succeed, how, and with which seed?",
        ("run", "outcome", "seed"),
        f"""  ?a a robovast:TestExecution ; {_SUCCESS} false ; rp:run ?run ; rp:outcome ?outcome ;
     vars:seed ?seed .""",
    ),
    _q(
        "O5",
        "Which scenarios are one by content under two names?",
        ("first", "second"),
        """  SELECT DISTINCT ?first ?second WHERE {
    ?a a scenarios:ConcreteScenario ; rp:scenario ?first ; rp:scenario_digest ?d .
    ?b a scenarios:ConcreteScenario ; rp:scenario ?second ; rp:scenario_digest ?d .
    FILTER(STR(?first) < STR(?second)) }""",
    ),
    _q(
        "O6",
        "Which scenarios were repaired, and why?",
        ("scenario", "reason"),
        """  ?k a scenarios:ConcreteScenario ; rp:scenario ?scenario ; rp:path ?p ;
     prov:qualifiedDerivation/rp:reason ?reason .""",
    ),
    _q(
        "O7",
        "Which runs drove more than ten metres?",
        ("run", "metres"),
        """  ?r a robovast:TestResult ; rp:path ?path ; rp:path_length ?q .
  ?q qudt:hasUnit unit:M ; qudt:numericValue ?metres .
  FILTER(?metres > 10)
  BIND(STRBEFORE(STRAFTER(?path, "runs/"), "/") AS ?run)""",
    ),
    _q(
        "O8",
        "Which software, in which version, made each result?",
        ("result", "software", "version"),
        """  ?r a robovast:TestResult ; rp:path ?result ;
     prov:wasGeneratedBy/prov:wasAssociatedWith ?agent .
  ?agent a prov:SoftwareAgent ; foaf:name ?software ; dcterms:hasVersion ?version .""",
    ),
    _q(
        "O9",
        "Is the chain from campaign file to table unbroken for each run?",
        ("run",),
        """  SELECT DISTINCT ?run WHERE {
    ?t a rp:Metrics ; prov:wasDerivedFrom ?r .
    ?r a robovast:TestResult ; prov:wasGeneratedBy ?a .
    ?a rp:run ?run ; prov:used ?k .
    ?k a scenarios:ConcreteScenario ; prov:wasDerivedFrom+ ?c .
    ?c a robovast:VastConfiguration . }""",
    ),
    _q(
        "O10",
        "How many runs had which outcome under which noise?",
        ("noise", "outcome", "runs"),
        """  SELECT ?noise ?outcome (COUNT(?a) AS ?runs) WHERE {
    ?a a robovast:TestExecution ; rp:outcome ?outcome ; prov:used ?k .
    ?k a scenarios:ConcreteScenario ; rp:noise_std/qudt:numericValue ?noise .
  } GROUP BY ?noise ?outcome""",
    ),
    _q(
        "O11",
        "Which messages are in which bag, by digest?",
        ("bag", "sha256"),
        """  ?b a robovast:RosBag ; rp:path ?bag ; prov:hadMember ?m .
  ?m a robovast:MCAPFile ; rp:sha256 ?sha256 .""",
    ),
    _q(
        "O12",
        "Which plan did each run follow, and did it say who followed it?",
        ("run", "plan"),
        """  SELECT DISTINCT ?run ?plan WHERE {
    ?a a robovast:TestExecution ; rp:run ?run ; prov:qualifiedAssociation ?q .
    ?q prov:hadPlan/rp:path ?plan ; prov:agent ?agent . }""",
    ),
)

QUESTIONS: tuple[Question, ...] = (*AUTHORS, *OURS)


_REALS = {str(XSD[name]) for name in ("double", "float", "decimal")}


def _plain(value: Any) -> str:
    """Return a term as a plain text; real numbers lose trailing zeros, so engines agree.

    Only what is typed as a number or a truth value is read as one: a scenario may be called 1e5.
    """
    if value is None:
        return ""
    text = str(value if isinstance(value, rdflib.term.Identifier) else value.value)
    kind = getattr(value, "datatype", None)
    kind = str(getattr(kind, "value", kind))
    if kind in _REALS:
        return f"{float(text):.9g}"
    if kind == str(XSD.integer):
        return str(int(text))
    return text


def answer(graph: rdflib.Graph | pyoxigraph.Store, question: Question) -> list[Row]:
    """Ask a question of a graph.

    Parameters
    ----------
    graph : rdflib.Graph or pyoxigraph.Store
    question : Question

    Returns
    -------
    list of tuple of str
        Rows, sorted; the same row comes as often as the engine returns it.

    Examples
    --------
    >>> answer(rdflib.Graph(), OURS[0])
    []
    """
    result: Any = graph.query(question.query)
    keys: Sequence[Any] = question.columns
    if isinstance(graph, rdflib.Graph):
        keys = range(len(question.columns))
    return sorted(tuple(_plain(row[key]) for key in keys) for row in result)
