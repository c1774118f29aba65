"""Small parts by hand: words and names, map files, questions, tellings, the oracle, judges."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyoxigraph
import pytest
import rdflib
import yaml

from lib.robot_provenance import campaign, fair, maps, questions, record, validation
from lib.robot_provenance import vocabulary as words
from lib.robot_provenance.campaign import CampaignError, Pose, Repair, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.questions import Question, answer
from lib.robot_provenance.record import (
    Activity,
    Communication,
    Derivation,
    Entity,
    Generation,
    Quantity,
    Records,
    Usage,
    digest_file,
)
from lib.robot_provenance.study import embedded, floorplans, oracle, runner
from lib.robot_provenance.study import tellings as ways

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


# --- words and names


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("prov:used", "http://www.w3.org/ns/prov#used"),
        ("https://ex.org/a", "https://ex.org/a"),
        ("urn:x:y", "urn:x:y"),
        ("tag:ex.org,2026:a", "tag:ex.org,2026:a"),
        ("doi:10.1/x", "doi:10.1/x"),
        ("ex:a/b", "ex:a/b"),
        # A prefix of ours with an authority behind it is somebody else's scheme.
        ("rp://host/a", "rp://host/a"),
    ],
)
def test_names_become_iris(word: str, found: str) -> None:
    assert words.iri(word) == found


@pytest.mark.parametrize("word", ["ex:a", "plain", "urn:", "https:///", "a b:c/d"])
def test_names_that_become_none(word: str) -> None:
    with pytest.raises(ValueError, match=r"unknown prefix|absolute IRI"):
        words.iri(word)


def test_words_of_the_vocabulary() -> None:
    table, own = (
        {"Alpha": 1, "Alpine": 2, "Alpaca": 3, "Alphorn": 4, "Zeta": 5},
        {"Mine": "urn:x:y"},
    )
    assert words.named("kind", "Alpha", table, own) == "Alpha"
    assert words.named("kind", "Mine", table, own) == "urn:x:y"
    assert words.named("kind", "Alpha", table, {"Alpha": "urn:x:a"}) == "urn:x:a"
    # At most three that are close; else the first three.
    with pytest.raises(ValueError, match=r"\(such as (\w+, ){2}\w+\)") as caught:
        words.named("kind", "Alph", table, own)
    assert "Zeta" not in str(caught.value)
    with pytest.raises(ValueError, match=r"\(such as Alpha, Alpine, Alpaca\)"):
        words.named("kind", "qqqq", table, own)
    with pytest.raises(ValueError, match=r"such as Mine\)"):
        words.named("kind", "Min", table, own)
    for wrong in (3, ""):
        with pytest.raises(ValueError, match=r"kind is .*, expected a name or an IRI"):
            words.named("kind", wrong, table, own)  # type: ignore[arg-type]


def test_pieces_of_names() -> None:
    locals_ = {
        "https://ex.org/a#b": "b",
        "https://ex.org/a/": "a",
        "b": "b",
        "urn:x:y": "urn:x:y",
        "#": "#",
        "/a#": "a",
    }
    assert {one: words.local_name(one) for one in locals_} == locals_
    assert words.slug(" a/b  c- ") == "a-b-c"
    assert words.slug("-.x.-") == "x"
    assert words.base_iri("a b") == "arcp://name,a-b/"
    assert words.base_iri("arcp://uuid,x/") == "arcp://uuid,x/"
    assert words.place_iri("demo", "a b/ü~.csv") == "arcp://name,demo/a%20b/%C3%BC~.csv"
    assert words.file_iri("demo", "a", "ab" * 32) == "arcp://name,demo/a#abababababababab"
    with pytest.raises(ValueError, match="sha256 is"):
        words.file_iri("demo", "a", "ab" * 31 + "a")
    with pytest.raises(ValueError, match="sha256 is None"):
        words.content_iri(None)  # type: ignore[arg-type]
    assert words.unit_iri("m") == "http://qudt.org/vocab/unit/M"
    assert words.unit_iri("unit:N-M") == "http://qudt.org/vocab/unit/N-M"
    strange = words.term("https://ex.org/robot#Grasp", words.ACTIVITY_KINDS)
    assert strange == words.Term("https://ex.org/robot#Grasp", "Grasp")
    assert words.term("RosBag", words.ENTITY_KINDS) is words.ENTITY_KINDS["RosBag"]
    assert "PREFIX prov: <http://www.w3.org/ns/prov#>\n" in words.SPARQL_HEAD
    assert "content:" not in words.SPARQL_HEAD


# --- campaigns and maps


def test_what_a_scenario_says_when_it_says_little(tmp_path: Path) -> None:
    told = {"position": {"x": 1, "y": 2}, "orientation": {"yaw": 0}}
    parameters = [{"map_file": "m.yaml"}, {"start_pose": told}, {"goal_poses": None}]
    text = yaml.safe_dump({"configuration": [{"name": "a", "parameters": parameters}]})
    (tmp_path / "c.vast").write_text(text)
    assert campaign.load_vast(tmp_path / "c.vast") == [Scenario("a", "m.yaml", Pose(1, 2, 0), ())]
    parameters += [{campaign.NOISE: "0.5"}, {campaign.DROP: 50}, {"static_objects": None}]
    text = yaml.safe_dump({"configuration": [{"name": "a", "parameters": parameters}]})
    (tmp_path / "c.vast").write_text(text)
    (one,) = campaign.load_vast(tmp_path / "c.vast")
    assert (one.noise_std, one.drop_rate) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "expected a list of scenarios"),
        ("configuration: {}", "expected a list of scenarios"),
        ("configuration: []", "expected a list of scenarios"),
        ("configuration: [1]", "entry 0: has no name"),
        ("configuration: [{name: 1}]", "entry 0: has no name"),
        ("configuration: [{name: a, parameters: [b]}]", "a parameter is 'b'"),
        ("configuration: [{name: a, parameters: [{}]}]", "a parameter is {}"),
        (
            "configuration: [{name: a, parameters: [{map_file: m}, {start_pose: 1}]}]",
            "start_pose is 1, expected a dict",
        ),
        (
            "configuration: [{name: a, parameters: [{map_file: m}, {start_pose: {}}]}]",
            "KeyError: 'position'",
        ),
    ],
)
def test_files_that_are_no_campaign(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "c.vast").write_text(content)
    with pytest.raises(CampaignError, match=says):
        campaign.load_vast(tmp_path / "c.vast")


def test_counts_of_a_resolution(tmp_path: Path) -> None:
    """A broken map does not hide those behind it; maps may be given by their paths."""
    grid = Grid(np.zeros((2, 2)), 1.0, (0, 0))
    for name in ("a", "b", "c"):
        grid.write(tmp_path, name)
    (tmp_path / "a.pgm").write_bytes(b"P5")
    start, goals = Pose(0.5, 0.5), (Pose(1, 1),)
    some = [
        Scenario("1", "a.yaml", start, goals),
        Scenario("2", "b.yaml", start, goals),
        Scenario("3", "B.yaml", start, goals),
        Scenario("4", "x/none.yaml", start, goals),
        Scenario("5", "c.yaml", start, ()),
        Scenario("6", "B.yaml", start, goals, 2 * (campaign.Box(9, 9),)),
    ]
    found = campaign.resolve(some, tmp_path)
    assert found.report() == {
        "scenarios": 6,
        "map found": 3,
        "map not at its path": 3,
        "slip: file name": 0,
        "slip: case": 2,
        "slip: folder": 0,
        "slip: not found": 1,
        "invalid": 2,
        "runnable": 1,
        "repaired": 0,
        "map files": 2,
        "distinct grids": 1,
        "distinct without meshes": 6,
    }
    assert list(found.map_files) == ["b.yaml", "c.yaml"]
    (repair,) = campaign.proposed_repairs(found)
    assert repair == Repair(
        "B.yaml", "b.yaml", "a map has the same path up to upper and lower case", "case"
    )
    mended = campaign.resolve(some, tmp_path, [repair])
    assert mended.repairs == {repair: ("3", "6")}
    assert mended.report()["repaired"] == 2
    assert [one.name for one in mended.ok] == ["2", "3", "6"]
    given = campaign.resolve(some[1:2], {"./b.yaml": tmp_path / "c.yaml"})
    assert [one.name for one in given.ok] == ["2"]
    assert campaign._plain_numbers("a 0.50/1.0.yaml") == "a 0.5/1.0.yaml"


def test_faults_are_named_by_number() -> None:
    one = Scenario("a", "m", Pose(0, 0), (Pose(0, 0), Pose(0, 0, 7.0)))
    assert str(campaign.faults(one)).startswith("goal 2 has a yaw of 7.0 rad")
    boxes = (campaign.Box(0, 0), campaign.Box(0, 0, width=-1.0))
    told = campaign.faults(replace(one, goals=(Pose(0, 0),), boxes=boxes))
    assert told == "box 2 is not a box: width is -1.0, length is 0.5, expected > 0 m"
    assert campaign.sides("a:=1, length:=2.5,width:=0.5") == (0.5, 2.5)


def test_the_bytes_of_a_map(tmp_path: Path) -> None:
    cells = np.array([[0, 1, -1], [1, 1, 0]], np.int8)
    assert maps.pgm_bytes(cells) == b"P5\n3 2\n255\n" + bytes([0, 0, 254, 254, 0, 205])
    grid = Grid(cells, 0.5, (1.0, -2.0))
    text = grid.write(tmp_path / "new", "m ü").read_text("utf-8")
    assert text == (
        "image: m ü.pgm\nresolution: 0.5\norigin:\n- 1.0\n- -2.0\n- 0.0\nnegate: 0\n"
        "occupied_thresh: 0.65\nfree_thresh: 0.196\n"
    )
    assert maps.load_grid(tmp_path / "new" / "m ü.yaml").digest == grid.digest
    for name in ("", ".", "..", "a/b", "a\0"):
        with pytest.raises(maps.MapError, match="plain file name"):
            grid.write(tmp_path, name)


def test_grey_that_means_unknown_is_asked_for(tmp_path: Path) -> None:
    """Of 205 alone, to rounding; its neighbours are what the threshold makes them."""

    def told(*grey: int, **more: Any) -> Any:
        head = b"P5\n%d 1\n255\n" % len(grey)
        (tmp_path / "m.pgm").write_bytes(head + bytes(grey))
        fields = {"image": "m.pgm", "resolution": 1, "origin": [0, 0, 0]}
        limits = {"occupied_thresh": 0.65, "free_thresh": 0.25}
        (tmp_path / "m.yaml").write_text(yaml.safe_dump(fields | limits))
        return maps.load_grid(tmp_path / "m.yaml", **more).cells.tolist()

    assert told(206, 204, 0, 255) == [[0, 0, 1, 0]]
    assert told(205, 204, 192, 191, 90, 89, unknown="keep") == [[-1, 0, 0, -1, -1, 1]]
    assert told(205, 88, unknown="free") == [[0, 1]]
    with pytest.raises(maps.MapError, match="pixels that mean unknown"):
        told(255, 205)


# --- questions


ASK = "SELECT ?a ?b WHERE { ?s <urn:p:a> ?a . OPTIONAL { ?s <urn:p:b> ?b } }"
XS = "http://www.w3.org/2001/XMLSchema#"


@pytest.mark.parametrize(
    ("text", "datatype", "plain"),
    [
        ("1.50", "double", "1.5"),
        ("1.50", "decimal", "1.5"),
        ("1.50", "float", "1.5"),
        ("1.23456789012", "double", "1.23456789"),
        ("007", "integer", "7"),
        ("true", "boolean", "true"),
        ("1e5", "string", "1e5"),
        ("1.50", "string", "1.50"),
    ],
)
def test_answers_are_plain(text: str, datatype: str, plain: str) -> None:
    line = f'<urn:s:1> <urn:p:a> "{text}"^^<{XS}{datatype}> .'
    one = Question("Q", "what?", ("a", "b"), ASK)
    store = pyoxigraph.Store()
    store.load(line.encode(), pyoxigraph.RdfFormat.N_TRIPLES)
    graph = rdflib.Graph().parse(data=line, format="nt")
    assert answer(graph, one) == answer(store, one) == [(plain, "")]
    for wrong in (("a",), ("a", "b", "c")):
        for some in (graph, store):
            with pytest.raises(
                ValueError, match=f"Q: the query returns 2 columns, expected {len(wrong)}"
            ):
                answer(some, replace(one, columns=wrong))


def test_a_query_has_its_prefixes_and_columns() -> None:
    for one in questions.QUESTIONS:
        assert one.query == words.SPARQL_HEAD + one.sparql
        assert one.sparql.startswith("SELECT ")
    assert questions._plain(None) == ""
    assert questions._plain(rdflib.URIRef("urn:x:y")) == "urn:x:y"


# --- FAIR


def test_what_a_folder_offers(tmp_path: Path) -> None:
    for name in (".git/x", "LICENSE.txt", "b c.csv", "provenance.ttl", "sub/d.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "sub" / "provenance.nt").write_text("<urn:a:a> <urn:a:b> <urn:a:c> .\n")
    context = "https://w3id.org/ro/crate/1.1/context"
    graph = {"@id": "./", "@type": "Dataset", "name": "n"}
    text = json.dumps({"@context": context, "@graph": [graph]})
    (tmp_path / "ro-crate-metadata.json").write_text(text)
    found, rp = fair.gather(tmp_path), words.PREFIXES["rp"]
    rows = {(str(s), str(p).removeprefix(rp), str(o)) for s, p, o in found}
    here = fair.HERE
    assert rows == {
        ("urn:a:a", "urn:a:b", "urn:a:c"),
        (here + "LICENSE.txt", "path", "LICENSE.txt"),
        (here + "b%20c.csv", "path", "b c.csv"),
        (here + "b%20c.csv", "suffix", ".csv"),
        (here + "sub/d.csv", "path", "sub/d.csv"),
        (here + "sub/d.csv", "suffix", ".csv"),
        (here, "http://www.w3.org/1999/02/22-rdf-syntax-ns#type", "http://schema.org/Dataset"),
        (here, "http://schema.org/name", "n"),
    }


# --- tellings


def bare(**told: Any) -> Records:
    parts: dict[str, Any] = {"agents": {}, "entities": {}, "activities": {}}
    return Records("demo", {}, **parts | dict.fromkeys(record.RELATIONS, ()) | told)


def test_pairs_that_are_told() -> None:
    files = [Entity(f"urn:x:{n}", "File", n, n) for n in "abc"]
    value = Entity("urn:x:v", "File", "v")
    told = bare(
        entities={one.id: one for one in (*files, value)},
        usages=(
            Usage("urn:x:1", "urn:x:a"),
            Usage("urn:x:1", "urn:x:v"),
            Usage("urn:x:2", "urn:x:b"),
        ),
        generations=(
            Generation("urn:x:c", "urn:x:1"),
            Generation("urn:x:v", "urn:x:1"),
            Generation("urn:x:b", "urn:x:3"),
        ),
        derivations=(
            Derivation("urn:x:b", "urn:x:a"),
            Derivation("urn:x:v", "urn:x:a"),
            Derivation("urn:x:b", "urn:x:v"),
            Derivation("urn:x:none", "urn:x:a"),
        ),
    )
    assert ways.by_activity(told) == {("c", "a")}
    assert ways.derived(told) == {("b", "a")}


def test_precision_and_recall(monkeypatch: pytest.MonkeyPatch) -> None:
    right = {("c", "a"), ("b", "a"), ("d", "a"), ("d", "b")}
    monkeypatch.setattr(ways, "lineage", lambda truth: right)
    files = {f"urn:x:{n}": Entity(f"urn:x:{n}", "File", n, n) for n in "abcde"}
    pairs = [("c", "a"), ("b", "a"), ("b", "c"), ("e", "a")]
    told = bare(
        entities=files, derivations=tuple(Derivation(f"urn:x:{a}", f"urn:x:{b}") for a, b in pairs)
    )
    # What lies outside of the question is neither right nor wrong.
    assert ways.lineage_score(told, None) == (2 / 3, 0.5)  # type: ignore[arg-type]
    precision, recall = ways.lineage_score(bare(), None)  # type: ignore[arg-type]
    assert math.isnan(precision)
    assert recall == 0


def test_activities_of_a_kind_together() -> None:
    def act(name: str, kind: str, begin: int | None, end: int | None, **more: Any) -> Activity:
        moments = [None if n is None else NOON + timedelta(seconds=n) for n in (begin, end)]
        return Activity(f"urn:x:{name}", kind, name, "r", *moments, **more)

    acts = [
        act("1", "A", 5, 6),
        act("2", "A", 3, 9, status="failed", error="one"),
        act("3", "A", None, 20, status="interrupted", error="two"),
        act("4", "B", 1, 2),
        act("5", "B", 0, 7, status="interrupted"),
        act("6", "C", None, None),
    ]
    told = bare(
        activities={one.id: one for one in acts},
        usages=(
            Usage("urn:x:1", "urn:x:in"),
            Usage("urn:x:1", "urn:x:out"),
            Usage("urn:x:4", "urn:x:out"),
        ),
        generations=(Generation("urn:x:out", "urn:x:2"),),
        communications=(Communication("urn:x:1", "urn:x:2"), Communication("urn:x:1", "urn:x:4")),
        quantities=(Quantity("urn:x:1", "n", 1.0, "m"), Quantity("urn:x:out", "n", 1.0, "m")),
    )
    found = ways.coarsen(told)
    base = "arcp://name,demo/.prov/all-"
    assert found.activities == {
        base + "A": Activity(
            base + "A",
            "A",
            "A, all",
            "",
            NOON + timedelta(seconds=3),
            NOON + timedelta(seconds=20),
            "failed",
            "one; two",
        ),
        base + "B": Activity(base + "B", "B", "B, all", "", NOON, None, "interrupted"),
        base + "C": Activity(base + "C", "C", "C, all", "", None, None, "completed"),
    }
    assert found.usages == (Usage(base + "A", "urn:x:in"), Usage(base + "B", "urn:x:out"))
    assert found.communications == (Communication(base + "A", base + "B"),)
    assert found.quantities == told.quantities[1:]


def test_links_are_dealt_and_values_stay() -> None:
    entities = [
        Entity(
            f"urn:x:{n}",
            "File",
            str(n),
            members=(f"urn:m:{n}",),
            attributes={"n": n, "references": f"urn:r:{n}"},
        )
        for n in range(6)
    ]
    told = bare(entities={one.id: one for one in entities})
    found = list(ways.shuffled(told, 4).entities.values())
    rng = np.random.default_rng(4)
    members, links = (rng.permutation(6).tolist() for _ in range(2))
    assert [one.members for one in found] == [(f"urn:m:{n}",) for n in members]
    assert [one.attributes["references"] for one in found] == [f"urn:r:{n}" for n in links]
    assert [one.attributes["n"] for one in found] == list(range(6))
    assert [one.id for one in found] == [one.id for one in entities]


def test_a_scan_by_hand(pair: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    for name, text in (
        ("inputs/c.vast", "scenario_file: n.osc\n"),
        ("inputs/n.osc", "x"),
        ("d.vast", "{}\n"),
        (".hidden/a", "x"),
        ("e.vast", "scenario_file: no.osc\n"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    told = ways.scan(folder, "demo")
    by_path = {one.path: one for one in told.entities.values()}
    assert by_path["inputs/c.vast"].attributes == {"references": by_path["inputs/n.osc"].id}
    assert by_path["d.vast"].attributes == by_path["e.vast"].attributes == {}
    assert ".hidden/a" not in by_path
    assert not any(path.endswith("records.jsonl") for path in by_path)
    one = by_path["metrics.csv"]
    assert (one.bytes, one.sha256) == (
        (folder / "metrics.csv").stat().st_size,
        digest_file(folder / "metrics.csv"),
    )
    own = "runs/near-s0/"
    assert by_path[own + "bag"].kind == "RosBag"
    assert by_path[own + "bag"].members == tuple(
        by_path[own + "bag/" + name].id for name in ("bag.mcap", "metadata.yaml")
    )
    (act,) = [a for a in told.activities.values() if a.run == "near-s0"]
    assert dict(act.attributes) == {"seed": 0, "outcome": "success", "success": True}
    (table,) = [p for p in by_path if p.endswith(".yaml") and p.startswith("inputs/")]
    used = [told.entities[u.entity].path for u in told.usages if u.activity == act.id]
    assert used == [own + "scenario.json", table, table.replace(".yaml", ".pgm"), "campaign.json"]
    made = {told.entities[g.entity].path for g in told.generations if g.activity == act.id}
    rest = ("bag", "bag/bag.mcap", "bag/metadata.yaml", "log.txt", "result.json", "trace.csv")
    assert made == {own + name for name in rest}
    moment = datetime.fromtimestamp((folder / own / "log.txt").stat().st_mtime, UTC)
    (when,) = [g.time for g in told.generations if g.entity == by_path[own + "log.txt"].id]
    assert when == moment
    result = json.loads((folder / own / "result.json").read_text("utf-8"))
    mine = {by_path[own + name].id for name in ("scenario.json", "result.json")}
    assert {(q.name, q.value, q.unit) for q in told.quantities if q.subject in mine} == {
        ("noise_std", 0.02, "m"),
        ("path_length", result["metrics"]["path_length_m"], "m"),
    }


# --- the oracle and the embedded campaign


def test_what_the_oracle_reads_of_two_runs(pair: Path) -> None:
    found = oracle.read(pair)
    assert [one.name for one in found.runs] == ["near-s0", "near-s1"]
    assert (found.vast, found.osc, found.models, found.maps, found.exports) == ("", "", {}, {}, [])
    right = oracle.truth(found)
    image = found.runs[0].pgm
    assert right["A10"] == [(image, "0", "2")]
    assert right["O4"] == right["O5"] == right["O6"] == right["O7"] == right["O9"] == []
    assert right["A1"] == right["A2"] == right["A3"] == right["A4"] == right["A5"] == []
    assert right["O10"] == [("0.02", "success", "2")]
    assert right["O12"] == [(f"near-s{n}", f"runs/near-s{n}/scenario.json") for n in (0, 1)]
    digest = digest_file(pair / image)
    assert right["O1"] == [(digest, "near-s0"), (digest, "near-s1")]
    files = {"campaign.json", image, found.runs[0].yaml}
    files |= {f"runs/near-s{n}/{name}.json" for n in (0, 1) for name in ("scenario", "result")}
    assert right["O2"] == sorted((one,) for one in files)
    pairs = oracle.lineage(found)
    assert len(pairs) == 2 * (1 + 1 + 5 * 4 + 1)


def test_what_the_oracle_counts() -> None:
    def made(name: str, outcome: str, length: float | None, digest: str, noise: float) -> Any:
        entry = {
            "name": name,
            "seed": 4,
            "digest": digest,
            "content": {
                "noise_std": noise,
                "drop_rate": 0.0,
                "boxes": [],
                "start": [],
                "goals": [],
            },
        }
        result = {"outcome": outcome, "metrics": {"path_length_m": length}}
        return oracle._Run(f"{name}-s4", entry, result, "m.yaml", "m.pgm")

    runs = [
        made("a", "success", 10.0, "x", 0.0),
        made("b", "stuck", 10.5, "x", 0.5),
        made("c", "invalid", None, "y", 0.5),
        made("d", "stuck", 12.0, "z", 0.5),
    ]
    plan = {"repairs": [{"scenarios": ["a", "c"], "reason": "why"}]}
    found = oracle.Truth(Path("nowhere"), plan, runs)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(oracle, "digest_file", lambda file: "0")
        right = oracle.truth(found)
    assert right["A10"] == [("m.pgm", "3", "4")]
    assert right["O4"] == [("b-s4", "stuck", "4"), ("c-s4", "invalid", "4"), ("d-s4", "stuck", "4")]
    assert right["O5"] == [("a", "b")]
    assert right["O6"] == [("a", "why"), ("c", "why")]
    assert right["O7"] == [("b-s4", "10.5"), ("d-s4", "12")]
    assert right["O10"] == [("0", "success", "1"), ("0.5", "invalid", "1"), ("0.5", "stuck", "2")]


def test_files_of_the_embedded_campaign(tmp_path: Path) -> None:
    resolution = embedded.draft(tmp_path)
    model = floorplans.MODELS["wide"]
    text = (tmp_path / "inputs/wide/wide.model.json").read_text("utf-8")
    assert text == json.dumps(model, sort_keys=True, indent=1)
    graph = json.loads((tmp_path / "inputs/wide/wide.graph.json").read_text("utf-8"))
    assert graph == floorplans.layout(model)
    assert sum(len(names) for names in resolution.repairs.values()) == 1
    told = record.load(tmp_path)
    assert told.about["title"] == "Simulated navigation on generated floor plans"
    assert told.about["license"] == runner.LICENCE

    def named(one: str) -> str:
        return told.entities[one].path.removeprefix("inputs/wide/")

    steps = {one.label: one for one in told.activities.values()}
    for label, used, made in (
        ("floor plan wide", [], ["wide.model.json"]),
        ("rooms of wide", ["wide.model.json"], ["wide.graph.json"]),
        ("map of wide", ["wide.graph.json"], ["wide.pgm", "wide.yaml"]),
    ):
        act = steps[label].id
        assert [named(u.entity) for u in told.usages if u.activity == act] == used
        assert [named(g.entity) for g in told.generations if g.activity == act] == made
    pairs = {(named(d.entity), named(d.source)) for d in told.derivations}
    assert {p for p in pairs if p[0].startswith("wide.")} == {
        ("wide.graph.json", "wide.model.json"),
        ("wide.pgm", "wide.graph.json"),
        ("wide.yaml", "wide.graph.json"),
    }
    by_path = {one.path: one for one in told.entities.values()}
    abstract = by_path["inputs/navigate.osc"]
    mine = {"attributed_to": runner.CREATOR["iri"]}
    assert abstract.attributes == mine
    assert by_path["inputs/campaign.vast"].attributes == mine | {"references": abstract.id}
    assert by_path["inputs/wide/wide.model.json"].attributes == mine
    assert {one.name: bool(one.acts_for) for one in told.agents.values()} == {
        runner.CREATOR["name"]: False,
        runner.OURS: True,
    }


def test_rooms_of_a_floor_plan() -> None:
    """Cells of 5 cm: two cells of wall, five to the first room."""
    model = {"seed": 5, "door_widths": [0.5], "n_rooms": 2, "corridor": 1.0}
    found = floorplans.layout(model)
    rng = np.random.default_rng([5, 7])
    width, *depths = (
        round(rng.uniform(*span) / 0.05) for span in ((3, 3.8), (2.6, 3.4), (2.6, 3.4))
    )
    low = 5 + depths[0] + 2
    rows = [(5, depths[0], low - 2), (low + 20 + 2, depths[1], low + 20)]
    assert found["height"] == low + 20 + 2 + depths[1] + 5
    assert found["width"] == 10 + 2 * width + 2
    assert found["corridor"] == [low, low + 20, 5, 5 + 2 * width + 2]
    assert found["resolution"] == 0.05
    assert [(r["bottom"], r["depth"], r["wall"], r["left"]) for r in found["rooms"]] == [
        (*row, left) for row in rows for left in (5, 5 + width + 2)
    ]
    for room in found["rooms"]:
        assert (room["opening"], room["width"]) == (10, width)
        rng.choice([0.5])
        assert room["door"] == room["left"] + rng.integers(6, width - 10 - 5)
    grid = floorplans.drawn(found)
    assert (grid.cells[:3] == -1).all()
    assert (grid.cells[-3:] == -1).all()
    assert (grid.cells[:, :3] == -1).all()
    assert (grid.cells[3, 3:-3] == 1).all()
    assert (grid.cells[-4, 3:-3] == 1).all()
    area = 20 * (2 * width + 2) + 2 * width * sum(depths) + 4 * 2 * 10
    assert (grid.cells == 0).sum() == area


# --- judges


def test_when_a_crate_passes() -> None:
    one = validation.Finding("c", "REQUIRED", "m")
    assert validation.CrateReport("p", 1, (), ()).passed
    assert not validation.CrateReport("p", 1, ("s",), ()).passed
    assert not validation.CrateReport("p", 1, (), (one,)).passed
    assert not validation.CrateReport("p", 1, ("s",), (one,)).passed


def told_by(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    """Let the validator answer what is told, and keep what it was asked and what was given back."""
    from rocrate_validator import models, services
    from rocrate_validator.utils import document_loader, http

    def issue(name: str, severity: str, message: str | None, entity: str | None) -> Any:
        check = SimpleNamespace(identifier=name)
        level = models.Severity[severity]
        return SimpleNamespace(check=check, severity=level, message=message, violatingEntity=entity)

    asked: dict[str, Any] = {"given back": []}
    some = [issue("c2", "REQUIRED", None, None), issue("c1", "RECOMMENDED", "m", "e")]
    profile = SimpleNamespace(identifier=changes.get("profile", validation.PROFILE))

    def issues(severity: Any) -> list[Any]:
        asked["severity"] = severity
        return some

    result = SimpleNamespace(
        context=SimpleNamespace(target_validation_profile=profile),
        executed_checks=changes.get("executed", [1, 2]),
        skipped_checks=[SimpleNamespace(identifier=one) for one in ("s2", "s1")],
        get_issues=issues,
    )
    monkeypatch.setattr(services, "ValidationSettings", lambda **more: asked.update(more) or more)
    monkeypatch.setattr(services, "validate", lambda settings: result)
    back = asked["given back"].append
    monkeypatch.setattr(document_loader, "uninstall_document_loader", lambda: back("loader"))
    monkeypatch.setattr(http.HttpRequester, "reset", lambda: back("http"))
    return asked


def test_what_the_validator_is_asked_and_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = told_by(monkeypatch)
    logging.getLogger("rocrate_validator").setLevel(logging.DEBUG)
    (tmp_path / "ro-crate-metadata.json").touch()
    found = validation.validate_crate(tmp_path, "RECOMMENDED")
    assert found == validation.CrateReport(
        validation.PROFILE,
        2,
        ("s1", "s2"),
        (
            validation.Finding("c1", "RECOMMENDED", "m", "e"),
            validation.Finding("c2", "REQUIRED", "", ""),
        ),
    )
    assert asked["offline"] is True
    assert asked["rocrate_uri"] == str(tmp_path)
    assert asked["profile_identifier"] == validation.PROFILE
    assert asked["requirement_severity"].name == asked["severity"].name == "RECOMMENDED"
    assert asked["cache_path"] == validation._cache()[1]
    assert asked["given back"] == ["loader", "http"]
    assert logging.getLogger("rocrate_validator").level == logging.CRITICAL
    # A zip file is a crate, too.
    (tmp_path / "c.zip").touch()
    assert validation.validate_crate(tmp_path / "c.zip").n_checks == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"profile": "other"}, "validated against other, expected provenance-run-crate-0.5"),
        ({"executed": []}, "no check was executed"),
    ],
)
def test_a_validation_that_is_worth_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], says: str
) -> None:
    told_by(monkeypatch, **changes)
    (tmp_path / "ro-crate-metadata.json").touch()
    with pytest.raises(validation.ValidationError, match=says):
        validation.validate_crate(tmp_path)


def test_contexts_are_in_the_cache_for_good() -> None:
    from requests_cache import CachedSession

    _, place = validation._cache.__wrapped__()
    with CachedSession(str(place), backend="sqlite") as session:
        known = {one.url: one for one in session.cache.responses.values()}
    assert known.keys() == validation.CONTEXT_FILES.keys()
    for url, one in known.items():
        assert (one.status_code, one.expires) == (200, None)
        assert one.content == validation.context(url)
        assert one.headers["Content-Type"] == "application/ld+json"


def test_a_graph_of_one_triple_is_no_empty_one(tmp_path: Path) -> None:
    shapes = tmp_path / "s.ttl"
    shapes.write_text(
        "@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix ex: <https://ex.org/> .\n"
        "ex:S sh:targetClass ex:C ; sh:property [ sh:path ex:p ; sh:minCount 1 ;"
        ' sh:message "no p" ] .\n'
        'ex:T sh:targetClass ex:C ; sh:not [ sh:class ex:C ] ; sh:message "is C" .\n'
    )
    graph = rdflib.Graph().parse(data="<urn:a:a> a <https://ex.org/C> .", format="turtle")
    found = validation.shacl(graph, shapes)
    assert [(one.check, one.severity, one.message, one.subject) for one in found] == [
        ("MinCountConstraintComponent", "Violation", "no p (https://ex.org/p)", "urn:a:a"),
        ("NotConstraintComponent", "Violation", "is C", "urn:a:a"),
    ]
    assert len(graph) == 1
    with pytest.raises(ValueError, match="the graph is empty"):
        validation.shacl(rdflib.Graph(), shapes)


def test_classes_follow_where_they_are_asked_for(tmp_path: Path) -> None:
    """What uses something is an activity, by PROV-O's domain; the graph itself stays as it is."""
    shapes = tmp_path / "s.ttl"
    shapes.write_text(
        "@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix ex: <https://ex.org/> .\n"
        "@prefix prov: <http://www.w3.org/ns/prov#> .\n"
        "ex:S sh:targetClass prov:Activity ; sh:property [ sh:path ex:p ; sh:minCount 1 ] .\n"
    )
    line = "<urn:a:a> <http://www.w3.org/ns/prov#used> <urn:a:b> ."
    graph = rdflib.Graph().parse(data=line, format="turtle")
    assert validation.shacl(graph, shapes) == []
    (found,) = validation.shacl(graph, shapes, inference="rdfs")
    assert found.subject == "urn:a:a"
    assert len(graph) == 1


def test_digests_of_content() -> None:
    one = campaign.digest({"b": 1, "a": [2]})
    assert one == hashlib.sha256(b'{"a":[2],"b":1}').hexdigest()
    with pytest.raises(ValueError, match="JSON compliant"):
        campaign.digest({"a": math.nan})
