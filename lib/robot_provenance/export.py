"""Records as graphs: PROV-O with DCAT, Dublin Core and QUDT; PROV-N, PROV-JSON, JSON-LD.

`statements` is the one place that says which triples a record becomes. There are no blank nodes, so
two graphs are the same exactly when their sorted N-Triples are. `to_prov` makes the same statements
as a ``prov`` document, whose own serialisers then write PROV-N, PROV-JSON and PROV-XML.
"""

from __future__ import annotations

import functools
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rdflib
from prov.model import Identifier, Namespace, ProvDocument, QualifiedName
from prov.model import Literal as ProvLiteral
from rdflib.namespace import XSD

from lib.robot_provenance.record import Activity, Entity, Records, Scalar
from lib.robot_provenance.vocabulary import (
    ACTIVITY_KINDS,
    ENTITY_KINDS,
    PREFIXES,
    content_iri,
    iri,
    slug,
    unit_iri,
)

if TYPE_CHECKING:
    import pyoxigraph

__all__ = [
    "CONTEXT",
    "Statement",
    "from_jsonld",
    "statements",
    "to_jsonld",
    "to_ntriples",
    "to_prov",
    "to_provn",
    "to_rdf",
    "to_store",
    "to_turtle",
]

CONTEXT: Path = Path(__file__).parent / "contexts" / "robot-provenance.jsonld"
"""Our compact context; it is written into every document, so that nothing is ever fetched."""

Statement = tuple[str, str, str, str]
"""Subject, predicate, object and what the object is: ``"iri"``, or the datatype's IRI."""

STRING = str(XSD.string)
DOUBLE = str(XSD.double)
TIME = str(XSD.dateTime)
_SIZE = str(XSD.nonNegativeInteger)

_ATTRIBUTES = {"seed": "vars:seed", "success": "robovast:TestResult#success"}
_LINKS = {"references": "dcterms:references", "attributed_to": "prov:wasAttributedTo"}
"""Attributes whose value is the IRI of something else."""
_VARIATIONS = ("PathVariation", "ObstacleVariation", "ParameterVariation")
_TYPE = iri("rdf:type")


@functools.cache
def _p(curie: str) -> str:
    return iri(curie)


@functools.cache
def attribute_iri(name: str) -> str:
    """Return the property of a plain value: the authors' where they have one, else ours."""
    return iri(_ATTRIBUTES.get(name, f"rp:{slug(name)}"))


def _literal(value: Scalar) -> tuple[str, str]:
    if isinstance(value, bool):
        return ("true" if value else "false"), str(XSD.boolean)
    if isinstance(value, int):
        return str(value), str(XSD.integer)
    if isinstance(value, float):
        return repr(value), DOUBLE
    return value, STRING


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
        name = _part(one.subject, "quantity", one.name)
        yield one.subject, _p("qudt:quantityValue"), name, "iri"
        yield one.subject, attribute_iri(one.name), name, "iri"
        yield name, _TYPE, _p("qudt:QuantityValue"), "iri"
        yield name, _p("rdfs:label"), one.name, STRING
        yield name, _p("qudt:numericValue"), repr(float(one.value)), DOUBLE
        yield name, _p("qudt:hasUnit"), unit_iri(one.unit), "iri"


def _dataset(records: Records) -> Iterator[Statement]:
    """Yield the campaign as a collection and as a data set with its distributions."""
    base, about = records.base, records.about
    for kind in ("prov:Entity", "prov:Collection", "robovast:Campaign", "dcat:Dataset"):
        yield base, _TYPE, _p(kind), "iri"
    yield base, _p("dcterms:identifier"), records.campaign, STRING
    for name, kind in (("title", STRING), ("description", STRING), ("license", "iri")):
        if about.get(name):
            yield base, _p(f"dcterms:{name}"), about[name], kind
    if about.get("language"):
        yield base, _p("dcterms:language"), about["language"], STRING
    for creator in about.get("creators", ()):
        yield creator["iri"], _TYPE, _p("prov:Agent"), "iri"
        yield creator["iri"], _TYPE, _p(f"prov:{creator['kind']}"), "iri"
        yield creator["iri"], _p("foaf:name"), creator["name"], STRING
        yield base, _p("dcterms:creator"), creator["iri"], "iri"
        yield base, _p("prov:wasAttributedTo"), creator["iri"], "iri"
    spans = [one for one in records.activities.values() if one.start]
    if spans:
        first = min(one.start for one in spans if one.start)
        last = max(one.end or one.start for one in spans if one.start)
        yield base, _p("dcterms:created"), first.isoformat(), TIME
        yield base, _p("dcterms:issued"), last.isoformat(), TIME
        yield base, _p("dcterms:modified"), last.isoformat(), TIME
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
    term = ENTITY_KINDS[entity.kind]
    yield entity.id, _TYPE, _p("prov:Entity"), "iri"
    yield entity.id, _TYPE, _p(term.curie), "iri"
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
        if term.media_type:
            yield entity.id, _p("dcterms:format"), term.media_type, STRING
    if entity.sha256:
        content = content_iri(entity.sha256)
        yield entity.id, _p("rp:sha256"), entity.sha256, STRING
        yield entity.id, _p("prov:specializationOf"), content, "iri"
        yield content, _TYPE, _p("prov:Entity"), "iri"
        yield content, _TYPE, _p("rp:Content"), "iri"
        yield content, _p("rp:sha256"), entity.sha256, STRING
        if entity.bytes is not None:
            yield content, _p("dcat:byteSize"), str(entity.bytes), _SIZE
            yield entity.id, _p("dcat:byteSize"), str(entity.bytes), _SIZE
    if entity.general:
        yield entity.id, _p("prov:specializationOf"), entity.general, "iri"
    for name, value in entity.attributes.items():
        if name in _LINKS:
            yield entity.id, _p(_LINKS[name]), str(value), "iri"
        else:
            yield entity.id, attribute_iri(name), *_literal(value)


def _activity(activity: Activity) -> Iterator[Statement]:
    yield activity.id, _TYPE, _p("prov:Activity"), "iri"
    yield activity.id, _TYPE, _p(ACTIVITY_KINDS[activity.kind].curie), "iri"
    if activity.kind in _VARIATIONS:
        yield activity.id, _TYPE, _p("robovast:Variation"), "iri"
    yield activity.id, _p("rdfs:label"), activity.label, STRING
    yield activity.id, _p("rp:status"), activity.status, STRING
    if activity.run:
        yield activity.id, _p("rp:run"), activity.run, STRING
    if activity.start:
        yield activity.id, _p("prov:startedAtTime"), activity.start.isoformat(), TIME
    if activity.end:
        yield activity.id, _p("prov:endedAtTime"), activity.end.isoformat(), TIME
    if activity.error:
        yield activity.id, _p("rp:error"), activity.error, STRING
    for name, value in activity.attributes.items():
        yield activity.id, attribute_iri(name), *_literal(value)


def _relations(records: Records) -> Iterator[Statement]:
    for name, usage in _named(records.usages, "activity", "usage"):
        yield usage.activity, _p("prov:used"), usage.entity, "iri"
        yield usage.activity, _p("prov:qualifiedUsage"), name, "iri"
        yield name, _TYPE, _p("prov:Usage"), "iri"
        yield name, _p("prov:entity"), usage.entity, "iri"
        yield from _role(name, usage.role, usage.time)
    for name, made in _named(records.generations, "activity", "generation"):
        yield made.entity, _p("prov:wasGeneratedBy"), made.activity, "iri"
        yield made.entity, _p("prov:qualifiedGeneration"), name, "iri"
        yield name, _TYPE, _p("prov:Generation"), "iri"
        yield name, _p("prov:activity"), made.activity, "iri"
        yield from _role(name, made.role, made.time)
        if made.time:
            yield made.entity, _p("prov:generatedAtTime"), made.time.isoformat(), TIME
    for name, comes in _named(records.derivations, "entity", "derivation"):
        yield comes.entity, _p("prov:wasDerivedFrom"), comes.source, "iri"
        yield comes.entity, _p("prov:qualifiedDerivation"), name, "iri"
        yield name, _TYPE, _p("prov:Derivation"), "iri"
        yield name, _p("prov:entity"), comes.source, "iri"
        if comes.activity:
            yield name, _p("prov:hadActivity"), comes.activity, "iri"
        if comes.reason:
            yield name, _p("rp:reason"), comes.reason, STRING
    for name, part in _named(records.associations, "activity", "association"):
        yield part.activity, _p("prov:wasAssociatedWith"), part.agent, "iri"
        if part.plan:
            yield part.activity, _p("prov:qualifiedAssociation"), name, "iri"
            yield name, _TYPE, _p("prov:Association"), "iri"
            yield name, _p("prov:agent"), part.agent, "iri"
            yield name, _p("prov:hadPlan"), part.plan, "iri"
            yield part.plan, _TYPE, _p("prov:Plan"), "iri"
    for one in records.communications:
        yield one.informed, _p("prov:wasInformedBy"), one.informant, "iri"


def _role(name: str, role: str, moment: datetime | None) -> Iterator[Statement]:
    if role:
        yield name, _p("prov:hadRole"), _p(f"rp:role-{role}"), "iri"
        yield _p(f"rp:role-{role}"), _TYPE, _p("prov:Role"), "iri"
    if moment:
        yield name, _p("prov:atTime"), moment.isoformat(), TIME


def _named(items: tuple[Any, ...], owner: str, word: str) -> Iterator[tuple[str, Any]]:
    """Yield each relation with a name: that of its owner, the kind of relation, and a number."""
    counts: defaultdict[str, int] = defaultdict(int)
    for one in items:
        subject = getattr(one, owner)
        counts[subject] += 1
        yield _part(subject, word, str(counts[subject])), one


# --- RDF -----------------------------------------------------------------------------------------

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"})


def to_ntriples(records: Records) -> str:
    """Return N-Triples, sorted, each once: equal graphs give equal texts."""
    lines = set()
    for subject, predicate, value, kind in statements(records):
        if kind == "iri":
            lines.add(f"<{subject}> <{predicate}> <{value}> .\n")
        elif kind == STRING:
            lines.add(f'<{subject}> <{predicate}> "{value.translate(_ESCAPES)}" .\n')
        else:
            lines.add(f'<{subject}> <{predicate}> "{value.translate(_ESCAPES)}"^^<{kind}> .\n')
    return "".join(sorted(lines))


def to_store(records: Records) -> pyoxigraph.Store:
    """Return an in-memory oxigraph store, for SPARQL on large campaigns."""
    import pyoxigraph

    store = pyoxigraph.Store()
    store.bulk_load(to_ntriples(records).encode(), format=pyoxigraph.RdfFormat.N_TRIPLES)
    return store


def _bound() -> rdflib.Graph:
    graph = rdflib.Graph(bind_namespaces="none")
    for prefix, namespace in PREFIXES.items():
        graph.bind(prefix, namespace)
    return graph


def to_rdf(records: Records) -> rdflib.Graph:
    """Return an rdflib graph."""
    graph = _bound()
    node = functools.cache(rdflib.URIRef)

    @functools.cache
    def literal(value: str, kind: str) -> rdflib.Literal:
        # Plain strings have no datatype in rdflib; N-Triples and JSON-LD read them the same way.
        return rdflib.Literal(value, datatype=None if kind == STRING else node(kind))

    graph.addN(
        (node(s), node(p), node(value) if kind == "iri" else literal(value, kind), graph)
        for s, p, value, kind in statements(records)
    )
    return graph


def to_turtle(records: Records) -> str:
    """Return Turtle, for reading.

    Oxigraph writes it: rdflib's own writer rounds doubles to seven digits.
    """
    import pyoxigraph

    triples = pyoxigraph.parse(to_ntriples(records).encode(), format=pyoxigraph.RdfFormat.N_TRIPLES)
    stream = io.BytesIO()
    pyoxigraph.serialize(
        (one.triple for one in triples),
        stream,
        format=pyoxigraph.RdfFormat.TURTLE,
        prefixes=PREFIXES,
    )
    return stream.getvalue().decode()


@functools.cache
def _context() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(CONTEXT.read_text(encoding="utf-8"))["@context"]
    return loaded


def to_jsonld(records: Records) -> dict[str, Any]:
    """Return a JSON-LD document whose context is written out in it.

    Returns
    -------
    dict
        ``@context`` and ``@graph``, one object a subject, sorted.
    """
    context = _context() | {"in": {"@id": records.base, "@prefix": True}}
    prefixes = {"in": records.base} | {
        name: value if isinstance(value, str) else value["@id"]
        for name, value in context.items()
        if not name.startswith("@") and name in PREFIXES
    }
    terms = {
        iri(value["@id"]): (name, value.get("@type", ""))
        for name, value in context.items()
        if isinstance(value, dict) and ":" in value["@id"] and name not in (*PREFIXES, "in")
    }

    @functools.cache
    def compact(name: str) -> str:
        for prefix, namespace in prefixes.items():
            local = name[len(namespace) :]
            if name.startswith(namespace) and local and not local.startswith("//"):
                return f"{prefix}:{local}"
        return name

    kinds = {"@id": "iri"} | {f"xsd:{one}": PREFIXES["xsd"] + one for one in _XSD}
    nodes: dict[str, dict[str, list[Any]]] = {}
    for subject, predicate, value, kind in sorted(set(statements(records))):
        node = nodes.setdefault(subject, {})
        if predicate == _TYPE:
            node.setdefault("type", []).append(compact(value))
            continue
        name, coerced = terms.get(predicate, (compact(predicate), ""))
        found: Any = compact(value) if kind == "iri" else value
        if kinds.get(coerced, STRING) != kind:
            found = {"id": found} if kind == "iri" else {"@value": value, "@type": compact(kind)}
        node.setdefault(name, []).append(found)
    graph = [
        {"id": compact(subject)}
        | {key: values[0] if len(values) == 1 else values for key, values in node.items()}
        for subject, node in nodes.items()
    ]
    return {"@context": context, "@graph": graph}


_XSD = ("dateTime", "double", "nonNegativeInteger", "integer", "boolean", "hexBinary")


def from_jsonld(document: dict[str, Any] | str) -> rdflib.Graph:
    """Read a JSON-LD document that carries its context, without a network.

    Raises
    ------
    ValueError
        If the context is an address, which would have to be fetched.
    """
    loaded = json.loads(document) if isinstance(document, str) else document
    if not isinstance(loaded.get("@context"), dict):
        raise ValueError(
            f"@context is {loaded.get('@context')!r:.80}, expected one that is written out"
        )
    graph = _bound()
    graph.parse(data=json.dumps(loaded), format="json-ld")
    return graph


# --- PROV ----------------------------------------------------------------------------------------


class _Names:
    """Turns IRIs into the qualified names that ``prov`` wants."""

    def __init__(self, document: ProvDocument, records: Records) -> None:
        self._document = document
        spaces = {
            "did": f"{records.base}.prov/",
            "at": records.base,
            **{k: v for k, v in PREFIXES.items() if k not in ("prov", "xsd")},
        }
        self._spaces = [Namespace(prefix, uri) for prefix, uri in spaces.items()]
        for space in self._spaces:
            document.add_namespace(space)
        self._cache: dict[str, QualifiedName] = {}

    def __call__(self, name: str) -> QualifiedName:
        found = self._cache.get(name)
        if found is None:
            found = self._cache[name] = self._make(name)
        return found

    def _make(self, name: str) -> QualifiedName:
        for space in self._spaces:
            if name.startswith(space.uri) and len(name) > len(space.uri):
                return QualifiedName(space, name[len(space.uri) :])
        if name.startswith(PREFIXES["prov"]):
            return QualifiedName(Namespace("prov", PREFIXES["prov"]), name[len(PREFIXES["prov"]) :])
        stem, slash, local = name.rstrip("/").rpartition("/")
        if not slash or not local:
            raise ValueError(f"{name!r}: expected an IRI with a path")
        space = Namespace(f"ns{len(self._spaces)}", stem + slash)
        self._spaces.append(space)
        self._document.add_namespace(space)
        return self._make(name)


def to_prov(records: Records) -> ProvDocument:
    """Return a ``prov`` document that makes the same provenance statements as `to_rdf`.

    DCAT's and QUDT's nodes become attributes: a quantity is ``rp:name`` with ``rp:nameUnit``.
    """
    document = ProvDocument()
    name = _Names(document, records)
    extra: defaultdict[str, list[tuple[Any, Any]]] = defaultdict(list)
    for one in records.quantities:
        key = attribute_iri(one.name)
        number = ProvLiteral(repr(float(one.value)), _xsd("double"))
        extra[one.subject] += [(name(key), number), (name(key + "Unit"), name(unit_iri(one.unit)))]
    plans = {one.plan for one in records.associations if one.plan}
    for agent in records.agents.values():
        kinds = [("prov:type", name(iri(f"prov:{agent.kind}"))), ("foaf:name", agent.name)]
        if agent.version:
            kinds.append(("dcterms:hasVersion", agent.version))
        if agent.url:
            kinds.append(("foaf:homepage", Identifier(agent.url)))
        document.agent(name(agent.id), kinds)
    for agent in records.agents.values():
        if agent.acts_for:
            document.delegation(name(agent.id), name(agent.acts_for))
    _prov_entities(document, records, name, extra, plans)
    for activity in records.activities.values():
        row: list[tuple[Any, Any]] = [
            ("prov:type", name(iri(ACTIVITY_KINDS[activity.kind].curie))),
            ("prov:label", activity.label),
            ("rp:status", activity.status),
        ]
        row += [("rp:run", activity.run)] if activity.run else []
        row += [("rp:error", activity.error)] if activity.error else []
        row += [(name(attribute_iri(k)), _prov_value(v)) for k, v in activity.attributes.items()]
        document.activity(name(activity.id), activity.start, activity.end, row + extra[activity.id])
    for label, usage in _named(records.usages, "activity", "usage"):
        document.usage(
            name(usage.activity),
            name(usage.entity),
            usage.time,
            name(label),
            _prov_role(usage, name),
        )
    for label, made in _named(records.generations, "activity", "generation"):
        document.generation(
            name(made.entity), name(made.activity), made.time, name(label), _prov_role(made, name)
        )
    for label, comes in _named(records.derivations, "entity", "derivation"):
        document.derivation(
            name(comes.entity),
            name(comes.source),
            name(comes.activity) if comes.activity else None,
            identifier=name(label),
            other_attributes=[("rp:reason", comes.reason)] if comes.reason else None,
        )
    for label, part in _named(records.associations, "activity", "association"):
        plan = name(part.plan) if part.plan else None
        document.association(name(part.activity), name(part.agent), plan, name(label))
    for link in records.communications:
        document.communication(name(link.informed), name(link.informant))
    return document


def _prov_entities(
    document: ProvDocument,
    records: Records,
    name: _Names,
    extra: defaultdict[str, list[tuple[Any, Any]]],
    plans: set[str],
) -> None:
    contents: dict[str, int | None] = {}
    for entity in records.entities.values():
        row: list[tuple[Any, Any]] = [
            ("prov:type", name(iri(ENTITY_KINDS[entity.kind].curie))),
            ("prov:label", entity.label),
        ]
        row += [("prov:type", name(iri("prov:Collection")))] if entity.members else []
        row += [("prov:type", name(iri("prov:Plan")))] if entity.id in plans else []
        row += [("prov:location", Identifier(entity.location))] if entity.location else []
        row += [("rp:path", entity.path)] if entity.path else []
        row += [("rp:sha256", entity.sha256)] if entity.sha256 else []
        for key, value in entity.attributes.items():
            if key == "references":
                row.append(("dcterms:references", Identifier(str(value))))
            elif key not in _LINKS:
                row.append((name(attribute_iri(key)), _prov_value(value)))
        document.entity(name(entity.id), row + extra[entity.id])
        if "attributed_to" in entity.attributes:
            document.attribution(name(entity.id), name(str(entity.attributes["attributed_to"])))
        if entity.sha256:
            contents[entity.sha256] = entity.bytes
    for digest, size in contents.items():
        row = [("prov:type", name(iri("rp:Content"))), ("rp:sha256", digest)]
        row += [] if size is None else [("dcat:byteSize", size)]
        document.entity(name(content_iri(digest)), row)
    for entity in records.entities.values():
        if entity.sha256:
            document.specialization(name(entity.id), name(content_iri(entity.sha256)))
        if entity.general:
            document.specialization(name(entity.id), name(entity.general))
        for member in entity.members:
            document.membership(name(entity.id), name(member))


def _xsd(local: str) -> QualifiedName:
    return QualifiedName(Namespace("xsd", PREFIXES["xsd"]), local)


def _prov_value(value: Scalar) -> Any:
    return ProvLiteral(repr(value), _xsd("double")) if isinstance(value, float) else value


def _prov_role(one: Any, name: _Names) -> list[tuple[str, Any]]:
    return [("prov:role", name(iri(f"rp:role-{one.role}")))] if one.role else []


def to_provn(records: Records) -> str:
    """Return PROV-N, the W3C's notation for people."""
    return str(to_prov(records).get_provn())
