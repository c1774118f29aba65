"""Four ways of telling one campaign, and what each of them can answer."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lib.robot_provenance import audit, export
from lib.robot_provenance.questions import QUESTIONS, answer
from lib.robot_provenance.record import Records, load
from lib.robot_provenance.study import oracle
from lib.robot_provenance.study import tellings as ways
from lib.robot_provenance.study.oracle import Truth

A7 = next(one for one in QUESTIONS if one.id == "A7")


@pytest.fixture(scope="module")
def tellings(published: Path, recorded: Records) -> dict[str, Records]:
    return ways.designs(published, recorded)


def bag_to_trace(records: Records) -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in answer(export.to_store(records), A7)}


def test_a_table_tells_runs_and_nothing_else(tellings: dict[str, Records]) -> None:
    told = tellings["tables only"]
    assert len(told.activities) == 5
    assert not (told.entities)
    assert not (told.usages)
    assert not (told.generations)
    assert not (told.derivations)
    outcomes = {one.run: one.attributes["outcome"] for one in told.activities.values()}
    assert outcomes["closed-one-room-s3"] == "no_plan"
    assert {one.attributes["seed"] for one in told.activities.values()} == {3}


def test_a_scan_sees_every_file_and_nobody(
    published: Path, recorded: Records, tellings: dict[str, Records]
) -> None:
    told = tellings["scan afterwards"]
    files = {
        one.relative_to(published).as_posix()
        for one in published.rglob("*")
        if one.is_file() and one.name != "records.jsonl" and not one.name.startswith(".")
    }
    seen = {one.path for one in told.entities.values()}
    assert files <= seen
    assert seen - files == {f"runs/{run}/bag" for run in recorded.runs()}
    # Names by content and place agree with those that were given on the way.
    mine = {one.path: one.id for one in recorded.entities.values() if one.path}
    both = {one.path for one in told.entities.values()} & mine.keys()
    assert len(both) > 40
    for one in told.entities.values():
        if one.path in both:
            # All but the execution, which no file tells.
            here, there = one.id.split("/", 3)[3], mine[one.path].split("/", 3)[3]
            assert here == there
    assert not (told.agents)
    assert not (told.associations)
    assert not (told.derivations)
    assert all(one.start is None for one in told.activities.values())


def test_only_records_made_on_the_way_answer_all(
    tellings: dict[str, Records], happened: Truth
) -> None:
    assert list(tellings) == [
        "tables only",
        "scan afterwards",
        "integrated, by campaign",
        "integrated, by file",
    ]
    table = ways.questions_table(tellings, happened)
    assert list(table.index) == [one.id for one in QUESTIONS]
    counts = table.sum()
    assert counts["integrated, by file"] == len(QUESTIONS)
    assert counts.is_monotonic_increasing
    assert counts.is_unique
    # What the scan cannot know: who and when, and what was repaired.
    assert not table.loc[["A1", "A7", "A8", "O6", "O8", "O12"], "scan afterwards"].any()
    assert table.loc[["O4", "O5", "O11"], "scan afterwards"].all()


def test_an_empty_answer_counts_for_nothing(happened: Truth) -> None:
    nobody = replace(happened, runs=[], vast="", models={}, maps={}, exports=[])
    empty = replace(
        load(happened.folder),
        activities={},
        entities={},
        usages=(),
        generations=(),
        associations=(),
        derivations=(),
        quantities=(),
        communications=(),
    )
    table = ways.questions_table({"empty": empty}, nobody)
    assert not table["empty"].any()


def test_lineage_by_file_is_exact_and_by_campaign_is_not(
    tellings: dict[str, Records], happened: Truth
) -> None:
    scores = {name: ways.lineage_score(one, happened) for name, one in tellings.items()}
    assert scores["integrated, by file"] == (1, 1)
    coarse, recall = scores["integrated, by campaign"]
    assert recall == 1
    assert coarse < 0.5
    none, nothing = scores["tables only"]
    assert math.isnan(none)
    assert nothing == 0
    assert 0 < scores["scan afterwards"][1] < 1


def test_control_links_at_random(recorded: Records, happened: Truth) -> None:
    broken = ways.shuffled(recorded, 1)
    assert ways.questions_table({"": broken}, happened)[""].sum() < 5
    assert max(ways.lineage_score(broken, happened)) < 0.6
    assert ways.shuffled(recorded, 1) == broken != ways.shuffled(recorded, 2)
    # Only links moved: the same entities at the same places, the same things used as often.
    assert broken.entities.keys() == recorded.entities.keys()
    for name, one in broken.entities.items():
        assert (one.path, one.sha256) == (
            recorded.entities[name].path,
            recorded.entities[name].sha256,
        )
    for kind in ("usages", "generations"):
        a, b = (sorted(one.entity for one in getattr(r, kind)) for r in (broken, recorded))
        assert a == b
    assert broken.derivations == ()


@pytest.mark.parametrize("n", [1, 3, 5])
def test_one_activity_for_all_runs_confuses_their_files(recorded: Records, n: int) -> None:
    some = ways.only(recorded, recorded.runs()[:n])
    assert some.runs() == recorded.runs()[:n]
    fine = bag_to_trace(some)
    coarse = bag_to_trace(ways.coarsen(some))
    assert len(fine) == n
    assert len(coarse) == n * n
    assert fine <= coarse
    assert all(audit.run_of(a) == audit.run_of(b) for a, b in fine)


@pytest.mark.parametrize(("coarse", "share"), [(True, 1 / 3), (False, 1.0)])
def test_precision_is_one_in_n(recorded: Records, coarse: bool, share: float) -> None:
    some = ways.only(recorded, recorded.runs()[:3])
    told = {
        (made, source)
        for made, source in ways.by_activity(ways.coarsen(some) if coarse else some)
        if made.endswith("trace.csv") and source.endswith("/bag")
    }
    right = [one for one in told if audit.run_of(one[0]) == audit.run_of(one[1])]
    assert len(right) == 3
    assert len(right) / len(told) == share


def test_only_some_runs(recorded: Records) -> None:
    first, second, *_ = recorded.runs()
    some = ways.only(recorded, [first])
    assert some.runs() == [first]
    assert not any(f"runs/{second}/" in name for name in some.entities)
    assert any(f"runs/{first}/" in name for name in some.entities)
    known = some.entities.keys()
    assert {one.entity for one in some.usages} | {one.entity for one in some.generations} <= known
    assert {one.activity for one in some.associations} <= some.activities.keys()
    assert ways.only(recorded, recorded.runs()) == recorded
    with pytest.raises(ValueError, match="run 'nobody' is not recorded"):
        ways.only(recorded, ["nobody"])


def test_what_coarse_activities_say(recorded: Records) -> None:
    by_kind = ways.coarsen(recorded)
    kinds = [a.kind for a in by_kind.activities.values()]
    assert sorted(kinds) == sorted({a.kind for a in recorded.activities.values()})
    assert by_kind.runs() == []
    assert all(c.informed != c.informant for c in by_kind.communications)
    # What is made and used inside is no input.
    told = {(u.activity, u.entity) for u in by_kind.usages}
    assert not told & {(g.activity, g.entity) for g in by_kind.generations}
    (one,) = by_kind.of_kind("TestExecution")
    parts = recorded.of_kind("TestExecution")
    assert (one.label, one.attributes) == ("TestExecution, all", {})
    assert one.start == min(a.start for a in parts)
    assert one.end == max(a.end for a in parts)
    assert len(by_kind.derivations) == len(set(by_kind.derivations)) > 0


def test_a_merged_activity_fails_with_one_of_its_parts(recorded: Records) -> None:
    name = recorded.of_kind("TestExecution")[0].id
    for status, end in (("failed", True), ("interrupted", False)):
        one = replace(recorded.activities[name], status=status, error="no power")
        some = replace(recorded, activities=recorded.activities | {name: one})
        merged = ways.coarsen(some).of_kind("TestExecution")[0]
        assert merged.status == status
        assert (merged.end is not None) == end
        assert merged.error == "no power"


def test_derivations_and_activities_tell_pairs(recorded: Records, happened: Truth) -> None:
    right = oracle.lineage(happened)
    bag, trace = "runs/wide-hall-s3/bag", "runs/wide-hall-s3/trace.csv"
    assert (trace, bag) in right
    assert (trace, bag) in ways.by_activity(replace(recorded, derivations=()))
    assert ways.by_activity(replace(recorded, usages=())) == set()
    # A derivation alone tells it too.
    assert (trace, bag) in ways.derived(replace(recorded, usages=()))
    assert ways.derived(replace(recorded, derivations=())) == set()


@pytest.mark.parametrize(
    ("remove", "tell"), [("metrics.csv", ways.tables), ("campaign.json", ways.scan)]
)
def test_a_file_that_is_gone(
    pair: Path, tmp_path: Path, remove: str, tell: Callable[[Path, str], Records]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pair, folder)
    (folder / remove).unlink()
    with pytest.raises(FileNotFoundError, match=remove):
        tell(folder, "demo")
