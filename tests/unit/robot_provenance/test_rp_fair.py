"""FAIR indicators: decided from files, each by what it names, and no more than files say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import rdflib

from lib.robot_provenance.fair import HERE, assess, gather
from lib.robot_provenance.vocabulary import PREFIXES

SCHEMA = rdflib.Namespace("http://schema.org/")
RP = rdflib.Namespace(PREFIXES["rp"])
ROOT = rdflib.URIRef(HERE)


@pytest.fixture(scope="module")
def offered(published: Path) -> rdflib.Graph:
    return gather(published)


def verdicts(graph: rdflib.Graph) -> dict[str, str]:
    return {str(k): str(v) for k, v in assess(graph)["verdict"].items()}


def copy(graph: rdflib.Graph) -> rdflib.Graph:
    return rdflib.Graph() + graph


def test_undecidable_are_those_that_need_an_address(offered: rdflib.Graph, tmp_path: Path) -> None:
    for one in (offered, gather(tmp_path), rdflib.Graph()):
        table = assess(one)
        undecided = table.index[table["verdict"] == "not decidable"]
        assert list(undecided) == ["RDA-F4-01M", "RDA-A1-02M", "RDA-A1-04M", "RDA-A2-01M"]
    assert table.index.is_unique
    assert len(table) == 20


def test_an_empty_folder_meets_nothing(tmp_path: Path) -> None:
    assert "met" not in verdicts(gather(tmp_path)).values()


def test_a_table_alone_meets_little_and_the_campaign_more(
    published: Path, offered: rdflib.Graph, tmp_path: Path
) -> None:
    shutil.copy(published / "metrics.csv", tmp_path)
    met, later = (
        {name for name, verdict in verdicts(one).items() if verdict == "met"}
        for one in (gather(tmp_path), offered)
    )
    assert met == {"RDA-I1-01D"}
    # Nobody has given the campaign a persistent identifier, and nothing claims that somebody has.
    decidable = {name for name, one in verdicts(offered).items() if one != "not decidable"}
    assert later == decidable - {"RDA-F1-01M"}


@pytest.mark.parametrize(
    ("indicator", "word", "value", "verdict"),
    [
        ("RDA-F1-01M", "identifier", "https://doi.org/10.5281/zenodo.1", "met"),
        ("RDA-F1-01M", "identifier", "https://example.org/data", "not met"),
        ("RDA-F1-02M", "identifier", None, "not met"),
        ("RDA-F1-02M", "identifier", "campaign seven", "not met"),
        ("RDA-F1-02M", "identifier", "arcp://name,embedded/", "not met"),
        ("RDA-F1-02M", "identifier", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8", "met"),
        ("RDA-F1-02M", "identifier", "arcp://uuid,6ba7b810-9dad-11d1-80b4-00c04fd430c8/", "met"),
        ("RDA-F1-02M", "identifier", "https://doi.org/10.5281/zenodo.1", "met"),
        ("RDA-F2-01M", "description", None, "not met"),
        ("RDA-F3-01M", "hasPart", None, "not met"),
        ("RDA-R1.1-01M", "license", None, "not met"),
        ("RDA-R1.1-03M", "license", "as you like", "not met"),
        ("RDA-R1.1-03M", "license", "https://spdx.org/licenses/MIT", "met"),
        ("RDA-R1.3-01M", "conformsTo", "https://example.org/own", "not met"),
        ("RDA-R1.3-01M", "conformsTo", "https://w3id.org/ro/wfrun/process/0.5", "met"),
    ],
)
def test_the_root_of_the_crate_decides(
    offered: rdflib.Graph, indicator: str, word: str, value: str | None, verdict: str
) -> None:
    name = rdflib.DCTERMS[word] if word == "conformsTo" else SCHEMA[word]
    graph = copy(offered)
    assert (ROOT, name, None) in graph
    graph.remove((ROOT, name, None))
    if value is not None:
        graph.add((ROOT, name, rdflib.Literal(value)))
    assert verdicts(graph)[indicator] == verdict


@pytest.mark.parametrize(
    ("indicator", "word"),
    [
        ("RDA-R1.2-02M", "wasGeneratedBy"),
        ("RDA-I3-01M", "wasDerivedFrom"),
        ("RDA-I3-03M", "hadRole"),
        ("RDA-R1-01M", "startedAtTime"),
        ("RDA-R1-01M", "hasVersion"),
        ("RDA-R1-01M", "hasUnit"),
        ("RDA-R1-01M", "wasAssociatedWith"),
    ],
)
def test_statements_decide(offered: rdflib.Graph, indicator: str, word: str) -> None:
    assert verdicts(offered)[indicator] == "met"
    graph = copy(offered)
    for triple in offered:
        if str(triple[1]).endswith(("#" + word, "/" + word)):
            graph.remove(triple)
    assert len(graph) < len(offered)
    assert verdicts(graph)[indicator] == "not met"


@pytest.mark.parametrize(("n", "verdict"), [(8, "not met"), (9, "met")])
def test_ten_shared_properties_are_asked_for(n: int, verdict: str) -> None:
    graph, one = rdflib.Graph(), rdflib.URIRef("urn:x:1")
    # rdf:type is the tenth.
    graph.add((one, rdflib.RDF.type, rdflib.PROV.Entity))
    for i in range(n):
        graph.add((one, rdflib.URIRef(f"{rdflib.DCTERMS}word{i}"), rdflib.Literal(i)))
        graph.add((one, RP[f"own{i}"], rdflib.Literal(i)))
    assert verdicts(graph)["RDA-I2-01M"] == verdict


def test_files_decide(offered: rdflib.Graph) -> None:
    more = copy(offered)
    more.add((rdflib.URIRef(HERE + "new.csv"), RP.path, rdflib.Literal("runs/new.csv")))
    more.add((rdflib.URIRef(HERE + "new.csv"), RP.suffix, rdflib.Literal(".csv")))
    assert verdicts(more)["RDA-F1-02D"] == "not met"
    strange = copy(offered)
    strange.remove((None, RP.suffix, None))
    for file in set(offered.subjects(RP.suffix)):
        strange.add((file, RP.suffix, rdflib.Literal(".xyz")))
    assert verdicts(strange)["RDA-I1-01D"] == "not met"
    assert verdicts(strange)["RDA-R1.3-01D"] == "not met"
    bare = copy(offered)
    bare.remove((None, rdflib.RDF.type, rdflib.PROV.Entity))
    assert verdicts(bare)["RDA-I1-01M"] == "not met"


def test_nine_of_ten_files_in_public_formats_are_not_enough() -> None:
    for strange, verdict in ((2, "not met"), (1, "met")):
        graph = rdflib.Graph()
        for i in range(19):
            suffix = rdflib.Literal(".csv" if i >= strange else ".xyz")
            graph.add((rdflib.URIRef(f"{HERE}{i}"), RP.suffix, suffix))
        assert verdicts(graph)["RDA-I1-01D"] == verdict


def test_a_licence_as_a_text_is_one_that_no_machine_knows(tmp_path: Path) -> None:
    (tmp_path / "LICENSE.txt").write_text("do what you like", encoding="utf-8")
    found = verdicts(gather(tmp_path))
    assert found["RDA-R1.1-01M"] == "met"
    assert found["RDA-R1.1-03M"] == "not met"


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "one.csv").write_text("a\n", encoding="utf-8")
    assert len(gather(tmp_path)) == 0


def test_bad_folders_and_metadata(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        gather(tmp_path / "nowhere")
    (tmp_path / "ro-crate-metadata.json").write_text("{", encoding="utf-8")
    with pytest.raises(json.JSONDecodeError):
        gather(tmp_path)
