"""Records as graphs: PROV-O with DCAT, Dublin Core and QUDT; PROV-N and PROV-JSON.

`statements` is the one place that says which triples a record becomes. There are no blank nodes, so
two graphs are the same exactly when their sorted N-Triples are. Oxigraph checks every name and
writes the notations of RDF; the ``prov`` package those of PROV.
"""

from __future__ import annotations

import functools
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Literal, get_args

import pyoxigraph
import rdflib
from prov.model import Identifier, Namespace, ProvDocument, QualifiedName
from prov.model import Literal as ProvLiteral
from rdflib.namespace import XSD

from lib.core import check
from lib.robot_provenance.record import LINKS, Activity, Derivation, Entity, Records, Scalar
from lib.robot_provenance.vocabulary import (
    ACTIVITY_KINDS,
    ENTITY_KINDS,
    PREFIXES,
    ROLES,
    content_iri,
    iri,
    local_name,
    slug,
    term,
    unit_iri,
)

Statement = tuple[str, str, str, str]
"""Subject, predicate, object and what the object is: ``"iri"``, or the datatype's IRI."""

Notation = Literal["nt", "turtle", "json-ld", "provn", "prov-json"]
"""What `serialize` writes."""

STRING = str(XSD.string)
DOUBLE = str(XSD.double)
TIME = str(XSD.dateTime)

_ATTRIBUTES = {"seed": "vars:seed", "success": "robovast:TestResult#success"}
_VARIATIONS = ("PathVariation", "ObstacleVariation", "ParameterVariation")
_p = functools.cache(iri)
_TYPE = iri("rdf:type")


@functools.cache
def attribute_iri(name: str) -> str:
    """Return the property of a plain value: the caller's IRI, the authors' term, or ours."""
    return iri(name) if ":" in name else iri(_ATTRIBUTES.get(name, f"rp:{slug(name)}"))


def _literal(value: Scalar) -> tuple[str, str]:
    found = rdflib.Literal(value)
    return str(found), str(found.datatype or STRING)


def _part(subject: str, *words: str) -> str:
    """Return the name of a part of something; a name with a fragment cannot get another."""
    return subject + ("." if "#" in subject else "#") + ".".join(words)


def statements(records: Records) -> Iterator[Statement]:
    """Yield all triples; a few come twice.

    Parameters
    ----------
    records : Records

    Yields
    ------
    tuple of str
        See `Statement`.
    """
    yield from _dataset(records)
    for agent in records.agents.values():
        yield agent.id, _TYPE, _p("prov:Agent"), "iri"
        yield agent.id, _TYPE, _p(f"prov:{agent.kind}"), "iri"
        yield agent.id, _p("foaf:name"), agent.name, STRING
        if agent.version:
            yield agent.id, _p("dcterms:hasVersion"), agent.version, STRING
        if agent.url:
            yield agent.id, _p("foaf:homepage"), agent.url, "iri"
        if agent.acts_for:
            yield agent.id, _p("prov:actedOnBehalfOf"), agent.acts_for, "iri"
    for entity in records.entities.values():
        yield from _entity(entity)
    for activity in records.activities.values():
        yield from _activity(activity)
    yield from _relations(records)
    for one in records.quantities:
        name = _part(one.subject, "quantity", slug(local_name(one.name)))
        yield one.subject, _p("qudt:quantityValue"), name, "iri"
        yield one.subject, attribute_iri(one.name), name, "iri"
        yield name, _TYPE, _p("qudt:QuantityValue"), "iri"
        yield name, _p("rdfs:label"), local_name(one.name), STRING
        yield name, _p("qudt:numericValue"), repr(float(one.value)), DOUBLE
        yield name, _p("qudt:hasUnit"), unit_iri(one.unit), "iri"


def _dataset(records: Records) -> Iterator[Statement]:
    """Yield the campaign as a collection and as a data set with its distributions."""
    base, about = records.base, records.about
    for kind in ("prov:Entity", "prov:Collection", "robovast:Campaign", "dcat:Dataset"):
        yield base, _TYPE, _p(kind), "iri"
    yield base, _p("dcterms:identifier"), records.campaign, STRING
    for name in ("title", "description", "license", "language"):
        if about.get(name):
            kind = "iri" if name == "license" else STRING
            yield base, _p(f"dcterms:{name}"), about[name], kind
    for creator in about.get("creators", ()):
        yield creator["iri"], _TYPE, _p("prov:Agent"), "iri"
        yield creator["iri"], _TYPE, _p(f"prov:{creator['kind']}"), "iri"
        yield creator["iri"], _p("foaf:name"), creator["name"], STRING
        yield base, _p("dcterms:creator"), creator["iri"], "iri"
        yield base, _p("prov:wasAttributedTo"), creator["iri"], "iri"
    spans = [(one.start, one.end or one.start) for one in records.activities.values() if one.start]
    if spans:
        first, last = min(start for start, _ in spans), max(end for _, end in spans)
        for name, moment in (("created", first), ("issued", last), ("modified", last)):
            yield base, _p(f"dcterms:{name}"), moment.isoformat(), TIME
    for entity in records.entities.values():
        if not entity.path:
            continue
        yield base, _p("prov:hadMember"), entity.id, "iri"
        if "/" not in entity.path and not entity.members:
            yield base, _p("dcat:distribution"), entity.id, "iri"
            yield entity.id, _TYPE, _p("dcat:Distribution"), "iri"
            if about.get("license"):
                yield entity.id, _p("dcterms:license"), about["license"], "iri"
            sums = _part(entity.id, "checksum")
            yield entity.id, _p("spdx:checksum"), sums, "iri"
            yield sums, _TYPE, _p("spdx:Checksum"), "iri"
            yield sums, _p("spdx:algorithm"), _p("spdx:checksumAlgorithm_sha256"), "iri"
            yield sums, _p("spdx:checksumValue"), entity.sha256, str(XSD.hexBinary)


def _entity(entity: Entity) -> Iterator[Statement]:
    kind = term(entity.kind, ENTITY_KINDS)
    yield entity.id, _TYPE, _p("prov:Entity"), "iri"
    yield entity.id, _TYPE, _p(kind.curie), "iri"
    yield entity.id, _p("rdfs:label"), entity.label, STRING
    if entity.members:
        yield entity.id, _TYPE, _p("prov:Collection"), "iri"
        for member in entity.members:
            yield entity.id, _p("prov:hadMember"), member, "iri"
    if entity.location:
        yield entity.id, _TYPE, _p("rp:Located"), "iri"
        yield entity.id, _p("prov:atLocation"), entity.location, "iri"
        yield entity.location, _TYPE, _p("prov:Location"), "iri"
    if entity.path:
        yield entity.id, _p("rp:path"), entity.path, STRING
        if kind.media_type:
            yield entity.id, _p("dcterms:format"), kind.media_type, STRING
    if entity.sha256:
        content = content_iri(entity.sha256)
        yield entity.id, _p("prov:specializationOf"), content, "iri"
        yield content, _TYPE, _p("prov:Entity"), "iri"
        yield content, _TYPE, _p("rp:Content"), "iri"
        for name in (entity.id, content):
            yield name, _p("rp:sha256"), entity.sha256, STRING
            if entity.bytes is not None:
                size = str(XSD.nonNegativeInteger)
                yield name, _p("dcat:byteSize"), str(entity.bytes), size
    for name, value in entity.attributes.items():
        if name in LINKS:
            yield entity.id, _p(LINKS[name]), str(value), "iri"
        else:
            yield entity.id, attribute_iri(name), *_literal(value)


def _activity(activity: Activity) -> Iterator[Statement]:
    yield activity.id, _TYPE, _p("prov:Activity"), "iri"
    yield activity.id, _TYPE, _p(term(activity.kind, ACTIVITY_KINDS).curie), "iri"
    if activity.kind in _VARIATIONS:
        yield activity.id, _TYPE, _p("robovast:Variation"), "iri"
    yield activity.id, _p("rdfs:label"), activity.label, STRING
    for name in ("status", "run", "error"):
        if vars(activity)[name]:
            yield activity.id, _p(f"rp:{name}"), vars(activity)[name], STRING
    for name, moment in (("startedAtTime", activity.start), ("endedAtTime", activity.end)):
        if moment:
            yield activity.id, _p(f"prov:{name}"), moment.isoformat(), TIME
    for name, value in activity.attributes.items():
        yield activity.id, attribute_iri(name), *_literal(value)


_QUALIFIED = {
    "usages": ("activity", "used", "entity", "Usage"),
    "generations": ("entity", "wasGeneratedBy", "activity", "Generation"),
    "derivations": ("entity", "wasDerivedFrom", "source", "Derivation"),
    "associations": ("activity", "wasAssociatedWith", "agent", "Association"),
}
"""By relation: the subject's field, the property, the object's field, the qualified class."""


def _relations(records: Records) -> Iterator[Statement]:
    for relation, (subject, predicate, target, kind) in _QUALIFIED.items():
        pointer = "entity" if target == "source" else target
        for name, one in _named(getattr(records, relation)):
            told, value = vars(one)[subject], vars(one)[target]
            yield told, _p(f"prov:{predicate}"), value, "iri"
            if relation == "associations" and not one.plan:
                continue
            yield told, _p(f"prov:qualified{kind}"), name, "iri"
            yield name, _TYPE, _p(f"prov:{kind}"), "iri"
            yield name, _p(f"prov:{pointer}"), value, "iri"
            if getattr(one, "role", ""):
                yield name, _p("prov:hadRole"), _role_iri(one.role), "iri"
                yield _role_iri(one.role), _TYPE, _p("prov:Role"), "iri"
            if moment := getattr(one, "time", None):
                yield name, _p("prov:atTime"), moment.isoformat(), TIME
                if kind == "Generation":
                    yield told, _p("prov:generatedAtTime"), moment.isoformat(), TIME
            if kind == "Derivation" and one.activity:
                yield name, _p("prov:hadActivity"), one.activity, "iri"
            if kind == "Derivation" and one.reason:
                yield name, _p("rp:reason"), one.reason, STRING
            if kind == "Association":
                yield name, _p("prov:hadPlan"), one.plan, "iri"
                yield one.plan, _TYPE, _p("prov:Plan"), "iri"
    for one in records.communications:
        yield one.informed, _p("prov:wasInformedBy"), one.informant, "iri"


def _role_iri(role: str) -> str:
    return _p(f"rp:role-{role}") if role in ROLES else iri(role)


def _named(items: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Yield each relation with a name: that of its owner, the kind of relation, and a number."""
    counts: defaultdict[str, int] = defaultdict(int)
    for one in items:
        subject = one.entity if isinstance(one, Derivation) else one.activity
        counts[subject] += 1
        yield _part(subject, type(one).__name__.lower(), str(counts[subject])), one


# --- RDF -----------------------------------------------------------------------------------------


def to_store(records: Records) -> pyoxigraph.Store:
    """Return an in-memory oxigraph store, for SPARQL.

    Raises
    ------
    ValueError
        If a name is no IRI.
    """
    node = functools.cache(pyoxigraph.NamedNode)
    store = pyoxigraph.Store()
    store.bulk_extend(
        pyoxigraph.Quad(
            node(subject),
            node(predicate),
            node(value) if kind == "iri" else pyoxigraph.Literal(value, datatype=node(kind)),
        )
        for subject, predicate, value, kind in statements(records)
    )
    return store


def to_rdf(records: Records) -> rdflib.Graph:
    """Return an rdflib graph, with the book's prefixes bound."""
    graph = rdflib.Graph(bind_namespaces="none")
    for prefix, namespace in PREFIXES.items():
        graph.bind(prefix, namespace)
    return graph.parse(data=serialize(records, "nt"), format="nt")


def serialize(records: Records, notation: Notation) -> str:
    """Return the records in a notation, written by oxigraph or ``prov``.

    Parameters
    ----------
    records : Records
    notation : {"nt", "turtle", "json-ld", "provn", "prov-json"}
        N-Triples are sorted, each once, so that equal graphs give equal texts. JSON-LD carries its
        context, so nothing is ever fetched. PROV-N is the W3C's notation for people.

    Raises
    ------
    ValueError
        If the notation is unknown, or a name is no IRI.
    """
    check.known("notation", notation, get_args(Notation))
    if notation == "provn":
        return str(to_prov(records).get_provn())
    if notation == "prov-json":
        return str(to_prov(records).serialize(format="json"))
    endings = {"turtle": "ttl", "json-ld": "jsonld"}
    form = pyoxigraph.RdfFormat.from_extension(endings.get(notation, "nt"))
    prefixes = None if notation == "nt" else PREFIXES
    quads = to_store(records).quads_for_pattern(None, None, None, None)
    stream = io.BytesIO()
    pyoxigraph.serialize((one.triple for one in quads), stream, format=form, prefixes=prefixes)
    text = stream.getvalue().decode()
    return "".join(sorted(text.splitlines(keepends=True))) if notation == "nt" else text


# --- PROV ----------------------------------------------------------------------------------------


class _Names:
    """Turns IRIs into the qualified names that ``prov`` wants."""

    def __init__(self, document: ProvDocument, base: str) -> None:
        self._document = document
        spaces = {"did": f"{base}.prov/", "at": base, **PREFIXES}
        self._spaces = [Namespace(prefix, uri) for prefix, uri in spaces.items()]
        # The narrowest namespace first.
        self._spaces.sort(key=lambda space: -len(space.uri))
        for space in self._spaces:
            if space.prefix not in ("prov", "xsd"):
                document.add_namespace(space)
        self._others: dict[str, Namespace] = {}

    @functools.cache  # noqa: B019 - lives as long as one document is written
    def __call__(self, name: str) -> QualifiedName:
        for space in self._spaces:
            if name.startswith(space.uri) and len(name) > len(space.uri):
                return QualifiedName(space, name[len(space.uri) :])
        # One namespace for each authority, such as another execution's or a caller's own.
        host = re.match(r"[^:/]+://[^/]+/(?=.)", name)
        stem = host[0] if host else name.removesuffix(local_name(name))
        if not stem or stem == name:
            raise ValueError(f"{name!r}: expected an IRI with a path or a fragment")
        if stem not in self._others:
            self._others[stem] = Namespace(f"ns{len(self._others) + 1}", stem)
            self._document.add_namespace(self._others[stem])
        return QualifiedName(self._others[stem], name[len(stem) :])


def to_prov(records: Records) -> ProvDocument:
    """Return a ``prov`` document that makes the same provenance statements as `to_rdf`.

    DCAT's and QUDT's nodes become attributes: a quantity is ``rp:name`` with ``rp:nameUnit``.
    """
    document = ProvDocument()
    name = _Names(document, records.base)
    told = _attributes(records, name)
    for agent in records.agents.values():
        document.agent(name(agent.id), told[agent.id])
    contents = {content_iri(one.sha256) for one in records.entities.values() if one.sha256}
    for thing in [*records.entities, *sorted(contents)]:
        document.entity(name(thing), told[thing])
    for activity in records.activities.values():
        document.activity(name(activity.id), activity.start, activity.end, told[activity.id])
    for agent in records.agents.values():
        if agent.acts_for:
            document.delegation(name(agent.id), name(agent.acts_for))
    for entity in records.entities.values():
        if "attributed_to" in entity.attributes:
            document.attribution(name(entity.id), name(str(entity.attributes["attributed_to"])))
        if entity.sha256:
            document.specialization(name(entity.id), name(content_iri(entity.sha256)))
        for member in entity.members:
            document.membership(name(entity.id), name(member))

    def role(one: Any) -> list[tuple[str, Any]]:
        return [("prov:role", name(_role_iri(one.role)))] if one.role else []

    for label, use in _named(records.usages):
        ends = name(use.activity), name(use.entity)
        document.usage(*ends, use.time, name(label), role(use))
    for label, made in _named(records.generations):
        ends = name(made.entity), name(made.activity)
        document.generation(*ends, made.time, name(label), role(made))
    for label, comes in _named(records.derivations):
        ends = name(comes.entity), name(comes.source)
        by = name(comes.activity) if comes.activity else None
        why = [("rp:reason", comes.reason)] if comes.reason else None
        document.derivation(*ends, by, identifier=name(label), other_attributes=why)
    for label, part in _named(records.associations):
        plan = name(part.plan) if part.plan else None
        document.association(name(part.activity), name(part.agent), plan, name(label))
    for link in records.communications:
        document.communication(name(link.informed), name(link.informant))
    return document


def _attributes(records: Records, name: _Names) -> defaultdict[str, list[tuple[Any, Any]]]:
    """Return what is told of each thing beside PROV's own relations, as ``prov`` wants it."""
    told: defaultdict[str, list[tuple[Any, Any]]] = defaultdict(list)
    quantities = {(one.subject, attribute_iri(one.name)) for one in records.quantities}
    skipped = {_p("qudt:quantityValue"), _p("spdx:checksum"), _p("dcat:distribution")}
    renamed: dict[str, Any] = {
        _TYPE: "prov:type",
        _p("rdfs:label"): "prov:label",
        _p("prov:atLocation"): "prov:location",
    }
    basic = {_p(f"prov:{kind}") for kind in ("Entity", "Activity", "Agent")}
    for subject, predicate, value, kind in dict.fromkeys(statements(records)):
        relation = predicate.startswith(PREFIXES["prov"]) and predicate not in renamed
        if relation or predicate in skipped or value in basic:
            continue
        if (subject, predicate) in quantities:
            continue
        found: Any = value
        if kind == "iri":
            found = name(value) if predicate == _TYPE else Identifier(value)
        elif kind != STRING:
            found = ProvLiteral(value, name(kind))
        told[subject].append((renamed.get(predicate) or name(predicate), found))
    for one in records.quantities:
        key = attribute_iri(one.name)
        number = ProvLiteral(repr(float(one.value)), name(DOUBLE))
        told[one.subject] += [(name(key), number), (name(key + "Unit"), name(unit_iri(one.unit)))]
    return told
