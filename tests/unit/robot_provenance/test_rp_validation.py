"""Outside judges, offline: they pass what is right, and fail what was broken on purpose."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rdflib
from rdflib import PROV, RDF, XSD
from rp_grids import by_digest

from lib.robot_provenance import (
    crate,
    export,
    record,
    validation,
)
from lib.robot_provenance.study import floorplans, runner
from lib.robot_provenance.study.authors import authors_shapes
from lib.robot_provenance.validation import ValidationError, shacl, validate_crate
from lib.robot_provenance.vocabulary import iri


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("valid")
    grids, scenarios = floorplans.default_campaign()
    keep = [one for one in scenarios if one.name in ("closed-one-room", "middle-one-room")]
    runner.run_campaign(keep, by_digest(grids), place, jobs=1, campaign="demo")
    crate.write(place)
    return place


@pytest.fixture(scope="module")
def graph(folder: Path) -> rdflib.Graph:
    return export.to_rdf(record.load(folder))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
def test_all_required_checks_pass_and_none_is_skipped(folder: Path) -> None:
    report = validate_crate(folder)
    assert report.issues == ()
    assert report.skipped == ()
    assert report.profile == "provenance-run-crate-0.5"
    assert report.n_checks > 80
    assert report.passed


@pytest.mark.usefixtures("offline")
def test_what_is_recommended_and_missing_is_known(folder: Path) -> None:
    report = validate_crate(folder, "RECOMMENDED")
    assert report.skipped == ()
    assert report.n_checks > 150
    # Four kinds: software has arcp: identifiers, the workflow no page of its own, there is no
    # README, and the workflow claims no Bioschemas profile.
    assert {one.check for one in report.issues} == {
        "process-run-crate-0.5_3.2",
        "process-run-crate-0.5_5.1",
        "workflow-ro-crate-1.0_6.1",
        "workflow-ro-crate-1.0_6.2",
        "workflow-ro-crate-1.0_8.1",
    }
    assert {one.severity for one in report.issues} == {"RECOMMENDED"}


def no_instrument(nodes: list[dict[str, Any]]) -> None:
    del next(one for one in nodes if one["@type"] == "CreateAction")["instrument"]


def no_profile(nodes: list[dict[str, Any]]) -> None:
    next(one for one in nodes if one["@id"] == "./")["conformsTo"] = {
        "@id": "https://w3id.org/ro/wfrun/process/0.5"
    }


def no_step(nodes: list[dict[str, Any]]) -> None:
    del next(one for one in nodes if one["@type"] == "ControlAction")["instrument"]


def no_licence(nodes: list[dict[str, Any]]) -> None:
    del next(one for one in nodes if one["@id"] == "./")["license"]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("fault", [no_instrument, no_profile, no_step, no_licence])
def test_control_planted_faults_fail(
    folder: Path, tmp_path: Path, fault: Callable[[list[dict[str, Any]]], None]
) -> None:
    copy = tmp_path / "crate"
    shutil.copytree(folder, copy)
    document = json.loads((copy / crate.DESCRIPTOR).read_text())
    fault(document["@graph"])
    (copy / crate.DESCRIPTOR).write_text(json.dumps(document))
    report = validate_crate(copy)
    assert not report.passed
    assert report.issues


@pytest.mark.usefixtures("offline")
def test_control_a_file_that_is_gone_fails(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "crate"
    shutil.copytree(folder, copy)
    (copy / "runs" / "middle-one-room-s0" / "bag" / "bag.mcap").unlink()
    report = validate_crate(copy)
    assert not report.passed
    assert any("middle-one-room-s0/bag/bag.mcap" in one.message for one in report.issues)


def test_what_the_validator_does_not_see(folder: Path, tmp_path: Path) -> None:
    """Changed bytes pass every check: that is what the audit of this chapter is for."""
    copy = tmp_path / "crate"
    shutil.copytree(folder, copy)
    bag = copy / "runs" / "middle-one-room-s0" / "bag" / "bag.mcap"
    content = bytearray(bag.read_bytes())
    content[len(content) // 2] ^= 1
    bag.write_bytes(content)
    assert validate_crate(copy).passed


def test_no_crate(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"no ro-crate-metadata\.json"):
        validate_crate(tmp_path)


def test_the_right_context_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 1.3 context, which the installed rocrate ships, never stands in for 1.1."""
    import rocrate

    newer = Path(str(rocrate.__file__)).parent / "data" / "ro-crate.jsonld"
    assert "1.3" in newer.read_text()[:600]
    (tmp_path / "ro-crate-1.1.jsonld").write_bytes(newer.read_bytes())
    monkeypatch.setattr(validation, "CONTEXT_FOLDER", tmp_path)
    with pytest.raises(ValidationError, match="expected bb5dd0a79ebd5a3b"):
        validation.context("https://w3id.org/ro/crate/1.1/context")


def test_contexts_are_what_the_readme_says() -> None:
    readme = (validation.CONTEXT_FOLDER / "README.md").read_text()
    for url, (name, sha256) in validation.CONTEXT_FILES.items():
        assert url in readme
        assert name in readme
        assert sha256 in readme
        validation.context(url)


def test_rdflib_is_left_as_it_was(folder: Path) -> None:
    from rdflib.plugins.shared.jsonld import util

    before = util.source_to_json
    validate_crate(folder)
    assert util.source_to_json is before


# --- shapes


def test_ours_hold(graph: rdflib.Graph) -> None:
    assert shacl(graph) == []


@pytest.mark.parametrize("inference", ["none", "rdfs"])
def test_the_authors_hold(graph: rdflib.Graph, inference: str) -> None:
    theirs = authors_shapes()
    assert shacl(graph, theirs, inference=inference) == []  # type: ignore[arg-type]
    # The control: a usage of something that is no entity.
    broken = copied(graph)
    activity = next(broken.subjects(RDF.type, PROV.Activity))
    broken.add((activity, PROV.startedAtTime, rdflib.Literal("later", datatype=XSD.dateTime)))
    assert shacl(broken, theirs, inference=inference)  # type: ignore[arg-type]


def copied(graph: rdflib.Graph) -> rdflib.Graph:
    other = rdflib.Graph()
    other += graph
    return other


def a_test(graph: rdflib.Graph) -> Any:
    return next(graph.subjects(RDF.type, rdflib.URIRef(iri("robovast:TestExecution"))))


def drop(graph: rdflib.Graph, kind: str, curie: str) -> None:
    one = next(graph.subjects(RDF.type, rdflib.URIRef(iri(kind))))
    graph.remove((one, rdflib.URIRef(iri(curie)), None))


def late_start(graph: rdflib.Graph) -> None:
    one = a_test(graph)
    late = rdflib.Literal("2999-01-01T00:00:00+00:00", datatype=XSD.dateTime)
    graph.set((one, PROV.startedAtTime, late))


def no_bag(graph: rdflib.Graph) -> None:
    for bag in graph.subjects(RDF.type, rdflib.URIRef(iri("robovast:RosBag"))):
        graph.remove((bag, PROV.wasGeneratedBy, None))


def strange_outcome(graph: rdflib.Graph) -> None:
    graph.set((a_test(graph), rdflib.URIRef(iri("rp:outcome")), rdflib.Literal("fine")))


def two_makers(graph: rdflib.Graph) -> None:
    one = next(graph.subjects(RDF.type, rdflib.URIRef(iri("robovast:Traces"))))
    graph.add((one, PROV.wasGeneratedBy, a_test(graph)))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (late_start, "not after its end"),
        (no_bag, "A test makes a bag"),
        (strange_outcome, "A test has one outcome"),
        (two_makers, "generated at most once"),
        (lambda g: drop(g, "robovast:TestExecution", "vars:seed"), "A test has one seed"),
        (
            lambda g: drop(g, "robovast:TestExecution", "prov:qualifiedAssociation"),
            "A test follows a plan",
        ),
        (
            lambda g: drop(g, "robovast:TestExecution", "prov:wasAssociatedWith"),
            "took part in an activity",
        ),
        (lambda g: drop(g, "robovast:Traces", "rp:sha256"), "A file has one digest"),
        (lambda g: drop(g, "qudt:QuantityValue", "qudt:hasUnit"), "A quantity has one unit"),
    ],
)
def test_control_our_shapes_find_planted_faults(
    graph: rdflib.Graph, fault: Callable[[rdflib.Graph], None], message: str
) -> None:
    broken = copied(graph)
    fault(broken)
    assert any(message in one.message for one in shacl(broken))


def test_an_empty_graph_is_no_success() -> None:
    with pytest.raises(ValueError, match="empty"):
        shacl(rdflib.Graph())
