"""Graphs: the same statements in every notation, and they come back whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as st
from prov.model import (
    ProvActivity,
    ProvAgent,
    ProvDocument,
    ProvEntity,
    ProvGeneration,
    ProvUsage,
)
from rdflib.compare import isomorphic
from rp_grids import by_digest

from lib.robot_provenance import export, record
from lib.robot_provenance.record import Records
from lib.robot_provenance.study import floorplans, runner

PROV = rdflib.PROV


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("export")
    grids, scenarios = floorplans.default_campaign()
    keep = [one for one in scenarios if one.name in ("closed-one-room", "faulty-no-goals")]
    runner.run_campaign(keep, by_digest(grids), folder, seeds=[0, 1], jobs=1, campaign="demo")
    return record.load(folder)


@pytest.fixture(scope="module")
def graph(records: Records) -> rdflib.Graph:
    return export.to_rdf(records)


def test_no_blank_nodes_so_equal_means_isomorphic(graph: rdflib.Graph) -> None:
    assert not any(isinstance(term, rdflib.BNode) for triple in graph for term in triple)


def test_jsonld_comes_back_offline(
    records: Records, graph: rdflib.Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    text = export.serialize(records, "json-ld")
    assert isomorphic(rdflib.Graph().parse(data=text, format="json-ld"), graph)


def test_ntriples_turtle_and_oxigraph_agree(records: Records, graph: rdflib.Graph) -> None:
    text = export.serialize(records, "nt")
    assert text.splitlines() == sorted(set(text.splitlines()))
    turtle = export.serialize(records, "turtle")
    assert "@prefix prov:" in turtle
    assert isomorphic(rdflib.Graph().parse(data=turtle, format="turtle"), graph)
    assert len(export.to_store(records)) == len(graph) == len(text.splitlines())
    assert len(graph) == len(set(export.statements(records)))


def test_prov_json_comes_back(records: Records) -> None:
    text = export.serialize(records, "prov-json")
    assert ProvDocument.deserialize(content=text, format="json") == export.to_prov(records)


def test_an_unknown_notation(records: Records) -> None:
    with pytest.raises(ValueError, match="notation is 'n3'"):
        export.serialize(records, "n3")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["http://ex/a> <p> <o> .\n<http://ex/s", "https://ex.org/a b", "no scheme"]
)
def test_no_triple_can_be_smuggled_in(records: Records, name: str) -> None:
    """Records that were made by hand are checked when they are written, too."""
    (first, agent), *rest = records.agents.items()
    forged = replace(records, agents=dict(rest) | {first: replace(agent, url=name)})
    for notation in ("nt", "turtle", "json-ld"):
        with pytest.raises(ValueError, match="IRI"):
            export.serialize(forged, notation)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="IRI"):
        export.to_rdf(forged)


def test_control_a_lost_triple_is_seen(records: Records, graph: rdflib.Graph) -> None:
    lines = export.serialize(records, "nt").splitlines()
    short = rdflib.Graph().parse(data="\n".join(lines[:-1]), format="nt")
    assert not isomorphic(short, graph)


@pytest.mark.parametrize("notation", ["json", "provn", "xml", "rdf", "jsonld"])
def test_prov_document_round_trips(records: Records, notation: str) -> None:
    document = export.to_prov(records)
    text = document.serialize(format=notation)
    assert ProvDocument.deserialize(content=text, format=notation) == document


def test_provn_reads_like_provn(records: Records) -> None:
    text = export.serialize(records, "provn")
    assert text.startswith("document")
    assert "prefix content <nih:sha-256;>" in text
    assert "specializationOf(" in text


def test_both_sides_make_the_same_statements(records: Records, graph: rdflib.Graph) -> None:
    """Counted by SPARQL on one side and by class on the other."""
    document = export.to_prov(records)

    def count(kind: rdflib.URIRef) -> int:
        return len(set(graph.subjects(rdflib.RDF.type, kind)))

    assert len(list(document.get_records(ProvActivity))) == count(PROV.Activity)
    assert len(list(document.get_records(ProvUsage))) == count(PROV.Usage)
    assert len(list(document.get_records(ProvGeneration))) == count(PROV.Generation)
    # RDF also calls the campaign an entity, and the creators agents of the data set.
    entities = {one.identifier.uri for one in document.get_records(ProvEntity)}
    assert {str(one) for one in graph.subjects(rdflib.RDF.type, PROV.Entity)} - entities == {
        records.base
    }
    agents = {one.identifier.uri for one in document.get_records(ProvAgent)}
    assert {str(one) for one in graph.subjects(rdflib.RDF.type, PROV.Agent)} == agents


def test_a_bag_leads_to_its_one_trace(graph: rdflib.Graph) -> None:
    rows = graph.query(
        """SELECT ?bag ?trace WHERE {
            ?activity a robovast:Postprocessing ; prov:used ?bag .
            ?bag a robovast:RosBag .
            ?trace prov:wasGeneratedBy ?activity ; a robovast:Traces }"""
    )
    assert len(list(rows)) == 4


def test_dataset_quantities_and_digests(records: Records, graph: rdflib.Graph) -> None:
    dcat, qudt = rdflib.DCAT, rdflib.Namespace("http://qudt.org/schema/qudt/")
    base = rdflib.URIRef(records.base)
    assert (base, rdflib.RDF.type, dcat.Dataset) in graph
    assert str(graph.value(base, rdflib.DCTERMS.license)) == runner.LICENCE
    assert len(set(graph.objects(base, dcat.distribution))) >= 3
    units = {str(one).rpartition("/")[2] for one in graph.objects(None, qudt.hasUnit)}
    assert {"M", "SEC", "RAD"} <= units
    located = set(graph.subjects(PROV.atLocation, None))
    sha256 = export.attribute_iri("sha256")
    assert all(graph.value(one, rdflib.URIRef(sha256)) for one in located)


def test_equal_bytes_meet_in_one_content(records: Records, graph: rdflib.Graph) -> None:
    """The two runs without goals write the same empty trace."""
    rows = graph.query(
        """SELECT ?content (COUNT(?file) AS ?n) WHERE {
            ?file a robovast:Traces ; prov:specializationOf ?content } GROUP BY ?content"""
    )
    counts = sorted(int(row[1]) for row in rows)  # type: ignore[index]
    assert sum(counts) == 4
    assert max(counts) > 1


text = st.text(
    st.characters(blacklist_categories=("Cs", "Cc")) | st.sampled_from('"\\\n\r\t<>{}^|`'),
    min_size=1,
    max_size=20,
).filter(str.strip)


@settings(max_examples=40)
@given(label=text, number=st.floats(allow_nan=False, allow_infinity=False), word=text)
def test_any_text_and_number_survives(
    tmp_path_factory: pytest.TempPathFactory, label: str, number: float, word: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    with record.Recorder(folder, campaign="demo", about={"title": word}) as recorder:
        agent = recorder.agent("a" + label)
        with recorder.activity("Postprocessing", label, agent=agent) as step:
            step.attribute(word=word, number=number, whole=3, flag=True)
            step.quantity("size", number, "m")
            (folder / "f x.csv").write_text(word)
            step.generated(folder / "f x.csv", kind="Traces", attributes={"word": word})
    loaded = record.load(folder)
    graph = export.to_rdf(loaded)
    for notation in ("nt", "turtle", "json-ld"):
        text = export.serialize(loaded, notation)  # type: ignore[arg-type]
        assert isomorphic(rdflib.Graph().parse(data=text, format=notation), graph)
    (found,) = graph.objects(None, rdflib.URIRef(export.attribute_iri("number")))
    assert float(str(found)) == number


def test_distributions_are_the_files_at_the_top_that_are_no_folders(
    records: Records, graph: rdflib.Graph
) -> None:
    top = {one.id for one in records.entities.values() if one.path and "/" not in one.path}
    found = {str(one) for one in graph.objects(None, rdflib.DCAT.distribution)}
    assert found == top
    assert {records.entities[one].path for one in found} == {
        *("workflow.py", "campaign.json", "metrics.csv")
    }
    (bag, *_) = records.of_kind("RosBag")
    folder = replace(bag, path="bag")  # type: ignore[type-var]
    moved = export.to_rdf(replace(records, entities={bag.id: folder}, generations=(), usages=()))
    assert not list(moved.objects(None, rdflib.DCAT.distribution))
