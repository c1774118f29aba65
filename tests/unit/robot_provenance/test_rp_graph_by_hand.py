"""Every triple, every PROV statement and every node of a crate, of records made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prov.model import ProvDocument

from lib.robot_provenance import crate, export
from lib.robot_provenance.record import (
    Activity,
    Agent,
    Association,
    Communication,
    Derivation,
    Entity,
    Generation,
    Quantity,
    Records,
    Usage,
)
from lib.robot_provenance.vocabulary import PREFIXES, iri

NOON = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
LATER = NOON + timedelta(seconds=2)
BASE = "arcp://uuid,0b6b7a3e-7c5c-4c7e-8d55-6f0f0f7a1c11/"
SHA = {name: digit * 64 for name, digit in zip("wobmv", "12345", strict=True)}
LICENCE = "https://spdx.org/licenses/MIT"
ADA = {"kind": "Person", "name": "Ada", "iri": "https://ex.org/ada"}


def file(name: str, path: str, kind: str = "File", **told: Any) -> Entity:
    return Entity(
        f"{BASE}{path}#{SHA[name][:16]}", kind, f"label {name}", path, BASE + path, SHA[name], 7,
        **told,
    )  # fmt: skip


W = file("w", "w.py", "Workflow", attributes={"language": "Julia", "stars": 5})
O = file("o", "runs/r/o.csv", "Traces", attributes={"references": "https://ex.org/page"})  # noqa: E741
M = file("m", "b/m.mcap", "MCAPFile")
B = file("b", "b", "RosBag", members=(M.id,))
V = Entity(
    f"{BASE}.prov/x#5", "VariationConfig", "value v", sha256=SHA["v"], bytes=3,
    attributes={"value": "{}", "attributed_to": ADA["iri"]},
)  # fmt: skip
ENGINE = Agent(f"{BASE}.prov/agent/engine", "SoftwareAgent", "engine", "1", "", "https://ex.org/e")
TOOL = Agent(f"{BASE}.prov/agent/tool", "SoftwareAgent", "tool", "2", ADA["iri"])
PERSON = Agent(ADA["iri"], "Person", "Ada")
ALL = Activity(f"{BASE}.prov/1-CampaignExecution", "CampaignExecution", "all", "", NOON, LATER)
TEST = Activity(
    f"{BASE}runs/r/.prov/1-TestExecution", "TestExecution", "test", "r", NOON, LATER, "failed",
    "OSError: full", {"seed": 3, "success": False, "rate": 0.5},
)  # fmt: skip
VARY = Activity(
    f"{BASE}runs/r/.prov/2-PathVariation", "PathVariation", "vary", "r", NOON, None, "interrupted"
)


def records(**changes: Any) -> Records:
    told = Records(
        "demo",
        {"title": "T", "description": "D", "license": LICENCE, "creators": [ADA]},
        {one.id: one for one in (ENGINE, TOOL, PERSON)},
        {one.id: one for one in (W, O, M, B, V)},
        {one.id: one for one in (ALL, TEST, VARY)},
        (Usage(TEST.id, W.id, "plan", NOON), Usage(TEST.id, V.id, "")),
        (Generation(O.id, TEST.id, "trace", LATER), Generation(V.id, VARY.id, "")),
        (Derivation(O.id, V.id, TEST.id, "why"), Derivation(O.id, W.id)),
        (
            Association(ALL.id, ENGINE.id, W.id),
            Association(TEST.id, TOOL.id),
            Association(VARY.id, TOOL.id, V.id),
        ),
        (Communication(TEST.id, ALL.id),),
        (Quantity(O.id, "length", 2, "m"), Quantity(TEST.id, "https://ex.org/q#peak", 1.5, "N")),
        (),
        BASE.removeprefix("arcp://uuid,").rstrip("/"),
    )
    return replace(told, **changes)


def triples(subject: str, told: Records | None = None) -> set[tuple[str, str, str]]:
    """Return what is said of a thing, with short names; texts have no kind."""

    def short(value: str) -> str:
        for prefix in ("vars", "prov", "rp", "dcterms", "dcat", "qudt", "robovast", "rdfs", "rdf",
                       "foaf", "spdx", "xsd", "unit", "content"):  # fmt: skip
            if value.startswith(PREFIXES[prefix]):
                return f"{prefix}:{value.removeprefix(PREFIXES[prefix])}"
        return value.replace(BASE, "/")

    return {
        (short(p), short(v), "" if kind == export.STRING else short(kind))
        for s, p, v, kind in export.statements(told or records())
        if s == subject
    }


def kind(curie: str) -> tuple[str, str, str]:
    prefix = curie.partition(":")[0]
    assert iri(curie).startswith(PREFIXES[prefix])
    return ("rdf:type", curie, "iri")


def test_triples_of_agents() -> None:
    assert triples(ENGINE.id) == {
        kind("prov:Agent"),
        kind("prov:SoftwareAgent"),
        ("foaf:name", "engine", ""),
        ("dcterms:hasVersion", "1", ""),
        ("foaf:homepage", "https://ex.org/e", "iri"),
    }
    assert triples(TOOL.id) == {
        kind("prov:Agent"),
        kind("prov:SoftwareAgent"),
        ("foaf:name", "tool", ""),
        ("dcterms:hasVersion", "2", ""),
        ("prov:actedOnBehalfOf", ADA["iri"], "iri"),
    }
    assert triples(ADA["iri"]) == {
        kind("prov:Agent"),
        kind("prov:Person"),
        ("foaf:name", "Ada", ""),
    }


def test_triples_of_the_campaign() -> None:
    first, last = NOON.isoformat(), LATER.isoformat()
    assert triples(BASE) == {
        *map(kind, ("prov:Entity", "prov:Collection", "robovast:Campaign", "dcat:Dataset")),
        ("dcterms:identifier", "demo", ""),
        ("dcterms:title", "T", ""),
        ("dcterms:description", "D", ""),
        ("dcterms:license", LICENCE, "iri"),
        ("dcterms:creator", ADA["iri"], "iri"),
        ("prov:wasAttributedTo", ADA["iri"], "iri"),
        ("dcterms:created", first, "xsd:dateTime"),
        ("dcterms:issued", last, "xsd:dateTime"),
        ("dcterms:modified", last, "xsd:dateTime"),
        *(("prov:hadMember", one.id.replace(BASE, "/"), "iri") for one in (W, O, M, B)),
        ("dcat:distribution", W.id.replace(BASE, "/"), "iri"),
    }
    plain = records(about={}, activities={}, entities={V.id: V})
    assert triples(BASE, plain) == {
        *map(kind, ("prov:Entity", "prov:Collection", "robovast:Campaign", "dcat:Dataset")),
        ("dcterms:identifier", "demo", ""),
    }


def test_triples_of_a_file_at_the_top() -> None:
    sums = W.id.replace(BASE, "/") + ".checksum"
    assert triples(W.id) == {
        kind("rp:Workflow"),
        kind("prov:Plan"),
        ("dcterms:format", "text/x-python", ""),
        kind("prov:Entity"),
        kind("rp:Located"),
        kind("dcat:Distribution"),
        ("rdfs:label", "label w", ""),
        ("prov:atLocation", "/w.py", "iri"),
        ("rp:path", "w.py", ""),
        ("rp:sha256", SHA["w"], ""),
        ("dcat:byteSize", "7", "xsd:nonNegativeInteger"),
        ("prov:specializationOf", "content:" + SHA["w"], "iri"),
        ("dcterms:license", LICENCE, "iri"),
        ("spdx:checksum", sums, "iri"),
        ("rp:language", "Julia", ""),
        ("rp:stars", "5", "xsd:integer"),
    }
    assert triples(W.id + ".checksum") == {
        kind("spdx:Checksum"),
        ("spdx:algorithm", "spdx:checksumAlgorithm_sha256", "iri"),
        ("spdx:checksumValue", SHA["w"], "xsd:hexBinary"),
    }
    assert triples(PREFIXES["content"] + SHA["w"]) == {
        kind("prov:Entity"),
        kind("rp:Content"),
        ("rp:sha256", SHA["w"], ""),
        ("dcat:byteSize", "7", "xsd:nonNegativeInteger"),
    }


def test_triples_of_other_things() -> None:
    found = triples(O.id)
    assert {row for row in found if row[0].startswith(("prov:", "dcterms:r"))} == {
        ("prov:atLocation", "/runs/r/o.csv", "iri"),
        ("prov:specializationOf", "content:" + SHA["o"], "iri"),
        ("prov:wasGeneratedBy", "/runs/r/.prov/1-TestExecution", "iri"),
        ("prov:qualifiedGeneration", "/runs/r/.prov/1-TestExecution#generation.1", "iri"),
        ("prov:generatedAtTime", LATER.isoformat(), "xsd:dateTime"),
        ("prov:wasDerivedFrom", "/.prov/x#5", "iri"),
        ("prov:wasDerivedFrom", W.id.replace(BASE, "/"), "iri"),
        ("prov:qualifiedDerivation", O.id.replace(BASE, "/") + ".derivation.1", "iri"),
        ("prov:qualifiedDerivation", O.id.replace(BASE, "/") + ".derivation.2", "iri"),
        ("dcterms:references", "https://ex.org/page", "iri"),
    }
    quantity = O.id.replace(BASE, "/") + ".quantity.length"
    assert ("qudt:quantityValue", quantity, "iri") in found
    assert ("rp:length", quantity, "iri") in found
    bag = triples(B.id)
    assert {kind("prov:Collection"), ("prov:hadMember", M.id.replace(BASE, "/"), "iri")} <= bag
    assert not any(row[0].startswith(("dcat:d", "spdx:")) for row in bag)
    value = triples(V.id)
    assert {row[0] for row in value} & {"rp:path", "prov:atLocation", "dcterms:format"} == set()
    assert ("prov:wasAttributedTo", ADA["iri"], "iri") in value
    assert ("rp:value", "{}", "") in value


def test_triples_of_activities_and_relations() -> None:
    own = "/runs/r/.prov/1-TestExecution"
    assert triples(TEST.id) == {
        kind("prov:Activity"),
        kind("robovast:TestExecution"),
        ("rdfs:label", "test", ""),
        ("rp:status", "failed", ""),
        ("rp:run", "r", ""),
        ("rp:error", "OSError: full", ""),
        ("prov:startedAtTime", NOON.isoformat(), "xsd:dateTime"),
        ("prov:endedAtTime", LATER.isoformat(), "xsd:dateTime"),
        ("vars:seed", "3", "xsd:integer"),
        ("robovast:TestResult#success", "false", "xsd:boolean"),
        ("rp:rate", "0.5", "xsd:double"),
        ("prov:used", W.id.replace(BASE, "/"), "iri"),
        ("prov:used", "/.prov/x#5", "iri"),
        ("prov:qualifiedUsage", own + "#usage.1", "iri"),
        ("prov:qualifiedUsage", own + "#usage.2", "iri"),
        ("prov:wasAssociatedWith", "/.prov/agent/tool", "iri"),
        ("prov:wasInformedBy", "/.prov/1-CampaignExecution", "iri"),
        ("qudt:quantityValue", own + "#quantity.peak", "iri"),
        ("https://ex.org/q#peak", own + "#quantity.peak", "iri"),
    }
    vary = triples(VARY.id)
    assert {kind("robovast:Variation"), ("rp:status", "interrupted", "")} <= vary
    assert not any(row[0] in ("prov:endedAtTime", "rp:error") for row in vary)
    assert kind("robovast:Variation") not in triples(TEST.id)
    assert triples(TEST.id + "#usage.1") == {
        kind("prov:Usage"),
        ("prov:entity", W.id.replace(BASE, "/"), "iri"),
        ("prov:hadRole", "rp:role-plan", "iri"),
        ("prov:atTime", NOON.isoformat(), "xsd:dateTime"),
    }
    assert triples(PREFIXES["rp"] + "role-plan") == {kind("prov:Role")}
    assert triples(TEST.id + "#usage.2") == {
        kind("prov:Usage"),
        ("prov:entity", "/.prov/x#5", "iri"),
    }
    assert triples(TEST.id + "#generation.1") == {
        kind("prov:Generation"),
        ("prov:activity", own, "iri"),
        ("prov:hadRole", "rp:role-trace", "iri"),
        ("prov:atTime", LATER.isoformat(), "xsd:dateTime"),
    }
    assert triples(O.id + ".derivation.1") == {
        kind("prov:Derivation"),
        ("prov:entity", "/.prov/x#5", "iri"),
        ("prov:hadActivity", own, "iri"),
        ("rp:reason", "why", ""),
    }
    assert triples(O.id + ".derivation.2") == {
        kind("prov:Derivation"),
        ("prov:entity", W.id.replace(BASE, "/"), "iri"),
    }
    assert triples(ALL.id + "#association.1") == {
        kind("prov:Association"),
        ("prov:agent", "/.prov/agent/engine", "iri"),
        ("prov:hadPlan", W.id.replace(BASE, "/"), "iri"),
    }
    assert triples(TEST.id + "#association.1") == set()
    assert kind("prov:Plan") in triples(W.id)
    assert triples(O.id + ".quantity.length") == {
        kind("qudt:QuantityValue"),
        ("rdfs:label", "length", ""),
        ("qudt:numericValue", "2.0", "xsd:double"),
        ("qudt:hasUnit", "unit:M", "iri"),
    }
    assert ("rdfs:label", "peak", "") in triples(TEST.id + "#quantity.peak")


def test_statements_of_prov() -> None:
    document = export.to_prov(records())
    counts: dict[str, int] = {}
    for one in document.get_records():
        name = type(one).__name__
        counts[name] = counts.get(name, 0) + 1
    assert counts == {
        "ProvAgent": 3, "ProvEntity": 5 + 5, "ProvActivity": 3, "ProvDelegation": 1,
        "ProvAttribution": 1, "ProvSpecialization": 5, "ProvMembership": 1, "ProvUsage": 2,
        "ProvGeneration": 2, "ProvDerivation": 2, "ProvAssociation": 3, "ProvCommunication": 1,
    }  # fmt: skip
    (trace,) = document.get_record(export._Names(ProvDocument(), BASE)(O.id))
    told = {str(name): str(value) for name, value in trace.attributes}
    assert "2.0" in told["rp:length"]
    assert "unit" in told["rp:lengthUnit"]
    assert told["prov:label"] == "label o"
    assert "qudt:quantityValue" not in told
    assert {"at:w.py", "dcat:distribution", "spdx:checksum"} & told.keys() == set()
    derived = [one for one in document.get_records() if type(one).__name__ == "ProvDerivation"]
    assert sorted(bool(one.args[2]) for one in derived) == [False, True]
    assert sum("why" in str(one) for one in derived) == 1


def test_names_for_prov() -> None:
    names = export._Names(ProvDocument(), BASE)
    shown = {
        BASE + "a/b": "at:a/b",
        BASE + ".prov/x": "did:x",
        PREFIXES["prov"] + "used": "prov:used",
        "https://ex.org/a/b": "ns1:a/b",
        "https://ex.org/c": "ns1:c",
        "https://other.org/c": "ns2:c",
        "urn:x#y": "ns3:y",
    }
    assert {one: str(names(one)) for one in shown} == shown
    for wrong in ("urn:x:n", "https://ex.org/"):
        with pytest.raises(ValueError, match="expected an IRI with a path or a fragment"):
            export._Names(ProvDocument(), BASE)(wrong)


# --- the crate


def nodes(told: Records) -> dict[str, dict[str, Any]]:
    return {one["@id"]: one for one in crate.build(told)["@graph"]}


def test_files_and_things_of_a_crate() -> None:
    found = nodes(records())
    assert {k: v for k, v in found["runs/r/o.csv"].items() if k != "description"} == {
        "@id": "runs/r/o.csv", "@type": "File", "name": "label o", "identifier": O.id,
        "contentSize": "7", "encodingFormat": "text/csv", "sha256": SHA["o"],
    }  # fmt: skip
    bag = found["b/"]
    assert (bag["@type"], bag["hasPart"]) == ("Dataset", {"@id": "b/m.mcap"})
    assert "sha256" not in bag
    value = found["#VariationConfig-5"]
    assert {k: v for k, v in value.items() if k != "description"} == {
        "@id": "#VariationConfig-5", "@type": "PropertyValue", "name": "value v",
        "identifier": V.id, "sha256": SHA["v"], "value": "{}",
    }  # fmt: skip
    main = found["w.py"]
    assert main["@type"] == ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    assert main["version"] == SHA["w"][:16]
    assert main["programmingLanguage"] == {"@id": "#julia"}
    assert main["softwareRequirements"] == {"@id": ENGINE.id}
    assert main["hasPart"] == {"@id": TOOL.id}
    assert main["step"] == [{"@id": "#step-TestExecution"}, {"@id": "#step-PathVariation"}]
    no_size = records(entities=records().entities | {O.id: replace(O, bytes=None)})
    assert "contentSize" not in nodes(no_size)["runs/r/o.csv"]
    strange = records(entities=records().entities | {O.id: replace(O, kind="File", path="x.q")})
    assert nodes(strange)["x.q"]["encodingFormat"] == "application/octet-stream"


def test_actions_and_steps_of_a_crate() -> None:
    found = nodes(records())
    test, vary, whole = (
        found["#" + one]
        for one in ("runs/r/1-TestExecution", "runs/r/2-PathVariation", "1-CampaignExecution")
    )
    assert {k: v for k, v in test.items() if k != "description"} == {
        "@id": "#runs/r/1-TestExecution", "@type": "CreateAction", "name": "test",
        "instrument": {"@id": TOOL.id}, "agent": {"@id": ADA["iri"]},
        "object": [{"@id": "w.py"}, {"@id": "#VariationConfig-5"}],
        "result": {"@id": "runs/r/o.csv"}, "error": "OSError: full",
        "actionStatus": "http://schema.org/FailedActionStatus",
        "startTime": "2026-01-01T12:00:00.250+00:00", "endTime": "2026-01-01T12:00:02.250+00:00",
    }  # fmt: skip
    assert vary["error"] == "interrupted: no end was recorded"
    assert "endTime" not in vary
    assert whole["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert "error" not in whole
    assert "agent" not in whole
    assert whole["instrument"] == {"@id": "w.py"}
    # What its part made, it made; the other step is no part that it informed.
    assert whole["result"] == {"@id": "runs/r/o.csv"}
    steps = [found[f"#step-{name}"] for name in ("TestExecution", "PathVariation")]
    assert [one["position"] for one in steps] == ["0", "1"]
    assert [one["workExample"] for one in steps] == [{"@id": TOOL.id}] * 2
    order = found["#organise-1-CampaignExecution"]
    assert order["instrument"] == {"@id": ENGINE.id}
    assert order["result"] == {"@id": "#1-CampaignExecution"}
    assert order["name"] == "organisation of all"
    assert [one["@id"] for one in order["object"]] == [
        *("#control-runs/r/1-TestExecution", "#control-runs/r/2-PathVariation")
    ]
    control = found["#control-runs/r/1-TestExecution"]
    assert control["instrument"] == {"@id": "#step-TestExecution"}
    assert control["object"] == {"@id": "#runs/r/1-TestExecution"}


def test_the_root_of_a_crate() -> None:
    root = nodes(records())["./"]
    assert root["name"] == "T"
    assert root["description"] == "D"
    assert root["identifier"] == BASE
    assert root["license"] == {"@id": LICENCE}
    assert root["datePublished"] == LATER.isoformat()
    assert root["mainEntity"] == {"@id": "w.py"}
    assert root["author"] == root["publisher"] == root["creator"] == {"@id": ADA["iri"]}
    assert [one["@id"] for one in root["conformsTo"]] == [*crate.PROFILES]
    assert len(root["mentions"]) == 4
    found = nodes(records())
    assert found[LICENCE]["name"] == LICENCE
    assert found["ro-crate-metadata.json"]["conformsTo"] == [
        {"@id": "https://w3id.org/ro/crate/1.1"},
        {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
    ]
    assert found["https://w3id.org/ro/wfrun/process/0.5"]["version"] == "0.5"
    assert found[ADA["iri"]]["url"] == ADA["iri"]
    about = records().about
    told = nodes(records(about={**about, "issued": "2025", "license_name": "MIT", "creators": []}))
    assert told["./"]["datePublished"] == "2025"
    assert told[LICENCE]["name"] == "MIT"
    assert "author" not in told["./"]
    assert "publisher" not in told["./"]
    urn = {"kind": "Person", "name": "N", "iri": "urn:x:n"}
    assert "url" not in nodes(records(about={**about, "creators": [urn]}))["urn:x:n"]


def test_what_no_crate_can_be_made_of() -> None:
    acts = {one.id: replace(one, end=None) for one in records().activities.values()}
    with pytest.raises(crate.CrateError, match="no time is recorded"):
        crate.build(records(activities=acts))
    issued = {**records().about, "issued": "2025"}
    assert crate.build(records(activities=acts, about=issued))
    some = {**records().about, "title": ""}
    with pytest.raises(crate.CrateError, match=r"nothing is recorded about: title$"):
        crate.build(records(about=some))
    with pytest.raises(crate.CrateError, match="followed no plan that is a file"):
        crate.build(records(entities=records().entities | {W.id: replace(W, path="")}))
    # Another activity that informed the others is an execution, too.
    kinds = records().activities | {ALL.id: replace(ALL, kind="Acquisition")}
    assert nodes(records(activities=kinds))["./"]["mainEntity"] == {"@id": "w.py"}
    with pytest.raises(crate.CrateError, match="none that informed others"):
        crate.build(records(activities=kinds, communications=()))


def test_things_that_are_no_longer_at_their_place() -> None:
    """An overwritten file, a file of elsewhere and an earlier crate are told of by reference."""
    old = replace(O, id=f"{BASE}{O.path}#old", sha256=SHA["v"], attributes={})
    far = replace(M, id="arcp://name,set/far#1", path="", location="arcp://name,set/far")
    nowhere = replace(V, id=f"{BASE}.prov/y#6", attributes={})
    earlier = Entity(
        f"{BASE}c#7", "File", "crate", crate.DESCRIPTOR, BASE + "c", SHA["v"], 3, {"n": 1}
    )
    some = (old, far, nowhere, earlier)
    told = records(entities={one.id: one for one in (W, *some, O, M, B, V)})
    document = crate.build(told)
    found = {one["@id"]: one for one in document["@graph"]}
    assert {
        name: (found[name]["@type"], found[name]["identifier"])
        for name in ("#Traces-2", "#MCAPFile-3", "#VariationConfig-4", "#File-5")
    } == {
        "#Traces-2": ("CreativeWork", BASE + O.path),
        "#MCAPFile-3": ("CreativeWork", "arcp://name,set/far"),
        "#VariationConfig-4": ("CreativeWork", nowhere.id),
        "#File-5": ("CreativeWork", BASE + "c"),
    }
    assert "value" not in found["#Traces-2"]
    assert found["runs/r/o.csv"]["sha256"] == SHA["o"]
    assert found["#VariationConfig-9"]["@type"] == "PropertyValue"
    assert crate.RUN_CONTEXT in document["@context"]


def test_a_crate_is_written_for_people_to_read(tmp_path: Path) -> None:
    told = records(about={**records().about, "title": "Über"})
    text = crate.write(tmp_path, told).read_text("utf-8")
    assert text == json.dumps(crate.build(told), ensure_ascii=False, indent=1)
    assert '"name": "Über"' in text


def test_an_engine_that_does_steps_is_told_twice() -> None:
    both = (Association(ALL.id, TOOL.id, W.id), *records().associations[1:])
    found = nodes(records(associations=both))
    engine = found["#engine"]
    assert (engine["name"], engine["softwareVersion"]) == ("tool", "2")
    assert engine["sameAs"] == {"@id": TOOL.id}
    assert found["#organise-1-CampaignExecution"]["instrument"] == {"@id": "#engine"}
