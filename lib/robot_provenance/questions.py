"""Competency questions: what a reader of a campaign's graph may ask, in SPARQL.

The queries stand in ``questions.yml``. The first ten are those of the developer guide of the
authors' framework (cps-test-lab/robovast), in our words and for our terms; the others are ours.
Every query returns plain values: paths, names, digests, numbers. So an answer can be compared, row
by row, with that of an oracle that reads the runs themselves and no provenance at all
(`lib.robot_provenance.study.oracle`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rdflib
import yaml
from rdflib import XSD

from lib.robot_provenance.vocabulary import SPARQL_HEAD

if TYPE_CHECKING:
    import pyoxigraph

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
        return SPARQL_HEAD + self.sparql


def _read() -> tuple[Question, ...]:
    text = Path(__file__).with_suffix(".yml").read_text(encoding="utf-8")
    found = []
    for name, told in yaml.safe_load(text).items():
        body = told["sparql"].strip()
        if not body.startswith("SELECT"):
            columns = " ".join(f"?{one}" for one in told["columns"])
            body = f"SELECT {columns} WHERE {{\n{body}\n}}"
        found.append(Question(name, told["text"], tuple(told["columns"]), body))
    return tuple(found)


QUESTIONS: tuple[Question, ...] = _read()
AUTHORS: tuple[Question, ...] = tuple(one for one in QUESTIONS if one.id.startswith("A"))
OURS: tuple[Question, ...] = tuple(one for one in QUESTIONS if one.id.startswith("O"))

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

    Raises
    ------
    ValueError
        If the query returns another number of columns than the question has.

    Examples
    --------
    >>> answer(rdflib.Graph(), OURS[0])
    []
    """
    result: Any = graph.query(question.query)
    told = getattr(result, "vars" if isinstance(graph, rdflib.Graph) else "variables", None) or ()
    if len(told) != len(question.columns):
        text = f"{question.id}: the query returns {len(told)} columns"
        raise ValueError(f"{text}, expected {len(question.columns)}: {question.columns}")
    return sorted(tuple(_plain(row[i]) for i in range(len(told))) for row in result)
