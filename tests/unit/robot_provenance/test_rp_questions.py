"""Every question's answer is that of an oracle that reads runs and no records."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyoxigraph
import pytest
import rdflib
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rp_grids import by_digest

from lib.robot_provenance import audit, export, record
from lib.robot_provenance.campaign import Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.questions import AUTHORS, OURS, QUESTIONS, Question, answer
from lib.robot_provenance.record import Records
from lib.robot_provenance.study import oracle, runner
from lib.robot_provenance.study.oracle import Truth
from lib.robot_provenance.vocabulary import slug

ENGINES = (export.to_rdf, export.to_store)
by_id = {one.id: one for one in QUESTIONS}


@pytest.fixture(scope="module")
def graph(recorded: Records) -> rdflib.Graph:
    return export.to_rdf(recorded)


@pytest.fixture(scope="module")
def store(recorded: Records) -> pyoxigraph.Store:
    return export.to_store(recorded)


@pytest.fixture(scope="module")
def right(happened: Truth) -> dict[str, list[tuple[str, ...]]]:
    return oracle.truth(happened)


def test_ten_of_theirs_and_more_of_ours() -> None:
    assert [one.id for one in AUTHORS] == [f"A{i}" for i in range(1, 11)]
    assert [one.id for one in OURS] == [f"O{i}" for i in range(1, 13)]
    assert len({one.text for one in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.id)
def test_both_engines_give_the_right_answer(
    graph: rdflib.Graph,
    store: pyoxigraph.Store,
    right: dict[str, list[tuple[str, ...]]],
    question: Question,
) -> None:
    assert right[question.id], "an empty answer shows nothing"
    assert all(len(row) == len(question.columns) for row in right[question.id])
    assert answer(graph, question) == right[question.id]
    assert answer(store, question) == right[question.id]


def test_an_empty_graph_answers_nothing() -> None:
    for empty in (rdflib.Graph(), pyoxigraph.Store()):
        assert [answer(empty, one) for one in QUESTIONS] == [[]] * len(QUESTIONS)


def test_control_the_oracle_reads_no_records(
    published: Path, right: dict[str, list[tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    for name in ("read_text", "read_bytes", "open"):
        real = getattr(Path, name)

        def spy(self: Path, *a: object, real: Callable[..., object] = real, **k: object) -> object:
            opened.append(self.name)
            return real(self, *a, **k)

        monkeypatch.setattr(Path, name, spy)
    assert oracle.truth(oracle.read(published)) == right
    assert "result.json" in opened
    assert not any(one == "records.jsonl" or one.startswith("provenance.") for one in opened)


def test_a_floor_plan_on_which_nothing_ran_is_no_source(
    published: Path, right: dict[str, list[tuple[str, ...]]]
) -> None:
    assert ("inputs/wide/wide.model.json",) in right["O2"]
    campaign = oracle.read(published)
    few = replace(campaign, runs=[one for one in campaign.runs if one.name.startswith("wide")])
    files = {row[0] for row in oracle.truth(few)["O2"]}
    assert "inputs/wide/wide.graph.json" in files
    assert "inputs/middle/middle.model.json" not in files


def test_no_campaign_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"campaign\.json"):
        oracle.read(tmp_path)


def without(records: Records, kind: str, index: int) -> Records:
    rows = getattr(records, kind)
    return replace(records, **{kind: rows[:index] + rows[index + 1 :]})


def test_one_statement_less_changes_an_answer(
    recorded: Records, right: dict[str, list[tuple[str, ...]]]
) -> None:
    """Each thing that an execution is said to have used or made, and each who did it."""
    runs = {one.id for one in recorded.of_kind("TestExecution")}
    noticed = 0
    for kind in ("usages", "generations", "associations"):
        rows = [i for i, one in enumerate(getattr(recorded, kind)) if one.activity in runs]
        for i in rows[::3]:
            store = export.to_store(without(recorded, kind, i))
            assert any(answer(store, one) != right[one.id] for one in QUESTIONS), (kind, i)
            noticed += 1
    assert noticed > 15


@pytest.mark.parametrize(
    ("kind", "changed"),
    [("Traces", "A7"), ("FloorPlanGraph", "A3"), ("ConcreteScenario", "O9"), ("MCAPFile", "O11")],
)
def test_a_file_that_is_not_recorded_is_missed(
    recorded: Records, right: dict[str, list[tuple[str, ...]]], kind: str, changed: str
) -> None:
    entities = {k: v for k, v in recorded.entities.items() if v.kind != kind}
    assert len(entities) < len(recorded.entities)
    store = export.to_store(replace(recorded, entities=entities))
    assert answer(store, by_id[changed]) != right[changed]


def test_numbers_are_read_by_their_type_only() -> None:
    """A scenario may have a name that looks like a number or a truth value."""
    names = ["1e5", "True", "nan", "007"]
    question = Question("T", "", ("value",), "SELECT ?value WHERE { ?s ?p ?value }")
    about = rdflib.URIRef("urn:s"), rdflib.URIRef("urn:p")
    terms = [*names, True, 2**31 + 1, 0.02, 12345678901.0]
    graph = rdflib.Graph()
    for one in terms:
        graph.add((*about, rdflib.Literal(one)))
    store = pyoxigraph.Store()
    store.load(graph.serialize(format="nt").encode(), format=pyoxigraph.RdfFormat.N_TRIPLES)
    expected = sorted([(one,) for one in (*names, "true", "2147483649", "0.02", "1.23456789e+10")])
    assert answer(graph, question) == expected
    assert answer(store, question) == expected


# --- random campaigns ----------------------------------------------------------------------------

LETTERS = st.sampled_from("abzAZ09 üß漢é°'\"\\#?&%/:_-.🤖")
TITLES = st.builds(
    lambda head, tail: head + tail,
    st.text(LETTERS, max_size=8),
    st.sampled_from(["a", "1e5", "True", "x y"]),
)


def build(
    near: tuple[dict[str, Grid], Scenario], names: list[str], kinds: list[int], noise: float
) -> tuple[dict[str, Grid], list[Scenario]]:
    """Return cheap scenarios: one that drives, one without goals, one with a goal outside."""
    grids, drive = near
    outside = replace(drive, goals=(replace(drive.start, x=99.0),), drop_rate=0.5)
    made = (replace(drive, noise_std=noise), replace(drive, goals=(), noise_std=0.0), outside)
    return grids, [replace(made[kind], name=name) for name, kind in zip(names, kinds, strict=True)]


@settings(max_examples=8)
@given(
    st.lists(st.tuples(TITLES, st.sampled_from([0, 1, 1, 2])), min_size=1, max_size=3),
    st.lists(st.integers(0, 2**31), min_size=1, max_size=2, unique=True),
    st.sampled_from([0.0, 0.02, 1 / 3]),
    st.booleans(),
)
def test_random_campaigns(
    near: tuple[dict[str, Grid], Scenario],
    chosen: list[tuple[str, int]],
    seeds: list[int],
    noise: float,
    publish: bool,
) -> None:
    names = [name for name, _ in chosen]
    assume(len({slug(name).lower() for name in names}) == len(names))
    grids, scenarios = build(near, names, [kind for _, kind in chosen], noise)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "with space ü"
        runner.run_campaign(
            scenarios, by_digest(grids), folder, seeds=seeds, jobs=1, campaign="demo"
        )
        if publish:
            runner.publish(folder)
        records = record.load(folder)
        right = oracle.truth(oracle.read(folder))
        for engine in ENGINES:
            graph = engine(records)
            assert {one.id: answer(graph, one) for one in QUESTIONS} == right
        assert len(right["O12"]) == len(names) * len(seeds)
        assert audit.audit(folder, records) == []
        assert audit.replay(folder, records.runs()[-1], runner.redo, records).agrees


@settings(max_examples=4)
@given(st.text(st.sampled_from("ab ü漢'+"), min_size=1, max_size=6).map(str.strip).filter(bool))
def test_a_map_of_another_name_is_the_same_content(
    pair: Path, near: tuple[dict[str, Grid], Scenario], name: str
) -> None:
    grids, scenario = near
    (grid,) = grids.values()
    moved = f"{name}/{name} map.yaml"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "campaign"
        runner.run_campaign(
            [replace(scenario, map_file=moved)],
            {grid.digest: grid},
            folder,
            seeds=[0, 1],
            jobs=1,
            campaign="demo",
        )
        ours, theirs = record.load(pair), record.load(folder)
        here, there = ({one.path for one in r.of_kind("OccupancyGrid")} for r in (ours, theirs))
        contents = [
            set(export.to_rdf(r).objects(rdflib.URIRef(one.id), rdflib.PROV.specializationOf))
            for r in (ours, theirs)
            for one in r.of_kind("OccupancyGrid")
        ]
        assert here != there
        assert contents[0] == contents[1] != set()
        for question, same in (("O1", True), ("O4", True), ("O11", True), ("A10", False)):
            a, b = (answer(export.to_store(r), by_id[question]) for r in (ours, theirs))
            assert (a == b) == same, question


@pytest.mark.parametrize("columns", [(), ("a", "b")])
def test_a_query_of_another_number_of_columns_is_refused(
    recorded: Records, columns: tuple[str, ...]
) -> None:
    asked = Question("X", "", columns, "SELECT ?a WHERE { ?a a prov:Activity } LIMIT 2")
    for graph in (export.to_rdf(recorded), export.to_store(recorded)):
        text = f"X: the query returns 1 columns, expected {len(columns)}"
        with pytest.raises(ValueError, match=text):
            answer(graph, asked)
        # The order of the query's columns counts, and not their names.
        assert len(answer(graph, replace(asked, columns=("activity",)))) == 2
