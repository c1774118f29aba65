"""What exactly each planted fault changes, and what of the tools' words becomes a finding."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from lib.robot_provenance import audit, crate, record
from lib.robot_provenance.record import Derivation, Generation, Records, Usage, digest_file
from lib.robot_provenance.study import faults, tellings
from lib.robot_provenance.study.faults import FAULTS, NotHeldError, Sample, plant

VICTIM, OTHER = "near-s0", "near-s1"
BY_ID = {one.id: one for one in FAULTS}
HOUR = timedelta(hours=1)
Planted = Callable[[str], Sample]


@pytest.fixture(scope="module")
def records(pair: Path) -> Records:
    return record.load(pair)


@pytest.fixture
def planted(pair: Path, tmp_path: Path) -> Planted:
    def made(name: str, told: Records | None = None) -> Sample:
        found = plant(BY_ID.get(name), pair, tmp_path / f"copy-{name}", VICTIM, OTHER, told)
        assert found is not None
        return found

    return made


def execution(records: Records, run: str = VICTIM) -> Any:
    return next(one for one in records.of_kind("TestExecution") if one.run == run)  # type: ignore[union-attr]


def of(records: Records, kind: str, run: str = VICTIM) -> Any:
    return next(one for one in records.of_kind(kind) if audit.run_of(one.path) == run)  # type: ignore[union-attr]


def files(folder: Path) -> dict[str, bytes]:
    found = (one for one in folder.rglob("*") if one.is_file() and one.name != crate.DESCRIPTOR)
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in found}


def touched(pair: Path, sample: Sample) -> set[str]:
    mine, theirs = files(sample.folder), files(pair)
    return {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}


# --- records


def test_times_that_cannot_be(planted: Planted, records: Records) -> None:
    one = execution(records)
    assert execution(planted("end before start").records).end == one.start - timedelta(seconds=5)
    scenario = of(records, "ConcreteScenario").id
    told = planted("use before generation").records.usages
    changed = [(a, b) for a, b in zip(records.usages, told, strict=True) if a != b]
    assert changed == [
        (a, replace(a, time=one.start - HOUR))
        for a in records.usages
        if (a.activity, a.entity) == (one.id, scenario)
    ]
    assert len(changed) == 1


def test_what_is_added(planted: Planted, records: Records) -> None:
    one, post = execution(records), None
    for act in records.activities.values():
        post = act if (act.kind, act.run) == ("Postprocessing", VICTIM) else post
    assert post is not None
    bag, trace, result = (of(records, kind).id for kind in ("RosBag", "Traces", "TestResult"))
    nowhere = records.base + "inputs/nowhere/map.pgm#0123456789abcdef"
    for name, relation, more in (
        ("generated twice", "generations", Generation(result, post.id, time=post.end)),
        ("derivation cycle", "derivations", Derivation(bag, trace)),
        ("dangling reference", "usages", Usage(one.id, nowhere, "map")),
    ):
        told = planted(name).records
        assert getattr(told, relation) == (*getattr(records, relation), more)
        assert replace(told, **{relation: getattr(records, relation)}) == records


def test_what_is_taken_away(planted: Planted, records: Records) -> None:
    name = execution(records).id
    told = planted("no agent").records.associations
    assert told == tuple(a for a in records.associations if a.activity != name)
    assert len(told) == len(records.associations) - 2
    told = planted("no plan").records.associations
    assert told == tuple(
        replace(a, plan="") if a.activity == name else a for a in records.associations
    )
    told = execution(planted("no seed").records).attributes
    before = dict(execution(records).attributes)
    assert dict(told) == {k: v for k, v in before.items() if k != "seed"}
    told = execution(planted("unknown outcome").records).attributes
    assert dict(told) == before | {"outcome": "passed"}


def test_a_clock_an_hour_late(planted: Planted, records: Records) -> None:
    told = planted("shifted clock").records
    for name, one in records.activities.items():
        shift = HOUR if one.run == VICTIM else timedelta()
        assert told.activities[name].start == one.start - shift
        assert told.activities[name].end == one.end - shift
    for relation in ("usages", "generations"):
        for before, now in zip(getattr(records, relation), getattr(told, relation), strict=True):
            mine = records.activities[before.activity].run == VICTIM
            assert now == replace(before, time=before.time - HOUR if mine else before.time)


# --- files


def test_files_that_are_changed(planted: Planted, pair: Path) -> None:
    own = f"runs/{VICTIM}/"
    for name, paths in (
        ("changed byte", {own + "bag/bag.mcap"}),
        ("missing file", {own + "trace.csv"}),
        ("re-labelled verdict", {own + "result.json"}),
        ("edited table", {"metrics.csv"}),
    ):
        assert touched(pair, planted(name)) == paths
    before = (pair / own / "bag/bag.mcap").read_bytes()
    now = (planted("missing licence").path("bag/bag.mcap")).read_bytes()
    assert now == before


def test_one_bit_and_one_byte(planted: Planted, pair: Path) -> None:
    sample = planted("changed byte")
    before = (pair / "runs" / VICTIM / "bag/bag.mcap").read_bytes()
    now = sample.path("bag/bag.mcap").read_bytes()
    assert now == before[:1000] + bytes([before[1000] ^ 1]) + before[1001:]
    sample = planted("changed map")
    (name,) = touched(pair, sample)
    before, now = (pair / name).read_bytes(), (sample.folder / name).read_bytes()
    assert name.endswith(".pgm")
    assert now == before[:-1] + bytes([before[-1] ^ 0xFF])


def test_a_place_counts_round(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    faults._flip(tmp_path / "a", 1000, 1)
    assert (tmp_path / "a").read_bytes() == b"acc"
    for name in ("inputs/b/2.pgm", "inputs/a/1.pgm", "inputs/a/1.yaml", "0.pgm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    first = faults._first_map(Sample(tmp_path, None, {}, "", ""))  # type: ignore[arg-type]
    assert first == tmp_path / "inputs/a/1.pgm"


def test_bags_and_runs_that_are_moved(planted: Planted, pair: Path) -> None:
    before, now = files(pair), files(planted("swapped bags").folder)
    for name in ("bag.mcap", "metadata.yaml"):
        mine, theirs = (f"runs/{run}/bag/{name}" for run in (VICTIM, OTHER))
        assert (now[mine], now[theirs]) == (before[theirs], before[mine])
    assert now.keys() == before.keys()
    now = files(planted("duplicate run").folder)
    again = {k: v for k, v in now.items() if k.startswith(f"runs/{VICTIM}-copy/")}
    assert {k.replace("-copy", ""): v for k, v in again.items()} == {
        k: v for k, v in before.items() if k.startswith(f"runs/{VICTIM}/")
    }
    assert {k: v for k, v in now.items() if k not in again} == before


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "metrics.csv").set_index("run")


def test_a_table_and_a_verdict(planted: Planted, pair: Path) -> None:
    before, now = rows(pair), rows(planted("edited table").folder)
    assert before.loc[VICTIM, "outcome"] == "success"
    before.loc[VICTIM, "outcome"] = "collision"
    assert now.equals(before)
    text = planted("re-labelled verdict").path("result.json").read_text("utf-8")
    plain = (pair / "runs" / VICTIM / "result.json").read_text("utf-8")
    assert text == plain.replace('"outcome":"success"', '"outcome":"collision"')
    sample = Sample(pair, None, {}, VICTIM, OTHER)  # type: ignore[arg-type]
    assert faults._other(sample) == "collision"


def test_the_other_verdict_of_a_failure(planted: Planted) -> None:
    sample = planted("re-labelled verdict")
    assert faults._result(sample)["outcome"] == "collision"
    assert faults._other(sample) == "success"


# --- crates


def test_crates_that_are_spoilt(planted: Planted, records: Records) -> None:
    whole = crate.build(records)

    def root(document: dict[str, Any]) -> dict[str, Any]:
        return next(one for one in document["@graph"] if one["@id"] == "./")

    for name, word in (("missing licence", "license"), ("missing profile", "conformsTo")):
        sample = planted(name)
        assert root(sample.crate) == {k: v for k, v in root(whole).items() if k != word}
        others = [one for one in sample.crate["@graph"] if one["@id"] != "./"]
        assert others == [one for one in whole["@graph"] if one["@id"] != "./"]
        written = (sample.folder / crate.DESCRIPTOR).read_text("utf-8")
        assert written == json.dumps(sample.crate, sort_keys=True)
    sample = planted("stale crate")
    trace = f"runs/{VICTIM}/trace.csv"
    names = {one["@id"] for one in sample.crate["@graph"]}
    assert trace not in names
    assert trace + ".old" in names
    assert len(names) == len(whole["@graph"])
    # Nothing but the crate is spoilt; and a fault of the records is in their crate.
    assert sample.records == records
    assert planted("no seed").crate == crate.build(planted("").records)
    told = planted("end before start")
    assert told.crate == crate.build(told.records) != whole


def test_records_of_which_no_crate_can_be_made(planted: Planted, pair: Path) -> None:
    sample = planted("", tellings.tables(pair, "demo"))
    assert sample.crate == {}
    assert not (sample.folder / crate.DESCRIPTOR).exists()
    assert plant(BY_ID["missing licence"], pair, sample.folder / "x", VICTIM, OTHER,
                 tellings.tables(pair, "demo")) is None  # fmt: skip


# --- forgeries


def fits(sample: Sample, *names: str) -> None:
    """Check that the records' digests and names are those of the files."""
    by_path = {one.path: one for one in sample.records.entities.values()}
    for name in names:
        digest = digest_file(sample.folder / name)
        assert by_path[name].sha256 == digest
        assert by_path[name].bytes == (sample.folder / name).stat().st_size
        assert by_path[name].id.endswith("#" + digest[:16])
        assert sample.records.entities[by_path[name].id] == by_path[name]
    known = sample.records.entities.keys()
    assert {one.entity for one in (*sample.records.generations, *sample.records.usages)} <= known
    assert {one.source for one in sample.records.derivations} <= known


def test_a_forged_verdict_and_seed(planted: Planted, pair: Path, records: Records) -> None:
    own = f"runs/{VICTIM}/"
    sample = planted("forged verdict")
    assert faults._result(sample)["outcome"] == "collision"
    assert touched(pair, sample) == {own + "result.json", "metrics.csv"}
    fits(sample, own + "result.json", "metrics.csv")
    now = execution(sample.records).attributes
    before = dict(execution(records).attributes)
    assert dict(now) == before | {"outcome": "collision", "success": False}
    assert dict(of(sample.records, "TestResult").attributes) == {
        "outcome": "collision",
        "success": False,
    }
    assert execution(sample.records, OTHER) == execution(records, OTHER)
    assert of(sample.records, "TestResult", OTHER) == of(records, "TestResult", OTHER)
    sample = planted("forged seed")
    assert faults._result(sample)["seed"] == 1
    assert json.loads(sample.path("scenario.json").read_text("utf-8"))["seed"] == 1
    assert rows(sample.folder).loc[VICTIM, "seed"] == 1
    assert execution(sample.records).attributes["seed"] == 1
    assert touched(pair, sample) == {own + "result.json", own + "scenario.json", "metrics.csv"}
    fits(sample, own + "result.json", own + "scenario.json", "metrics.csv")


def test_a_forged_measure_and_trace(planted: Planted, pair: Path, records: Records) -> None:
    own = f"runs/{VICTIM}/"
    sample = planted("forged measure")
    metrics = json.loads((pair / own / "result.json").read_text("utf-8"))["metrics"]
    assert faults._result(sample)["metrics"] == metrics | {"path_length_m": 1.23}
    assert rows(sample.folder).loc[VICTIM, "path_length_m"] == 1.23
    fits(sample, own + "result.json", "metrics.csv")
    result = of(sample.records, "TestResult").id
    old = of(records, "TestResult").id

    def told(some: Records, subject: str) -> dict[str, float]:
        return {q.name: q.value for q in some.quantities if q.subject == subject}

    assert told(sample.records, result) == told(records, old) | {"path_length": 1.23}
    theirs = of(records, "TestResult", OTHER).id
    assert told(sample.records, theirs) == told(records, theirs)
    sample = planted("forged trace")
    lines = (pair / own / "trace.csv").read_text("utf-8").splitlines(keepends=True)
    assert sample.path("trace.csv").read_text("utf-8") == "".join(lines[:-1])
    assert touched(pair, sample) == {own + "trace.csv"}
    fits(sample, own + "trace.csv", "metrics.csv")


def test_a_suppressed_run(planted: Planted, pair: Path) -> None:
    for name, runs in (("suppressed run", {VICTIM, OTHER}), ("suppressed run, plan too", {OTHER})):
        sample = planted(name)
        assert {*json.loads((sample.folder / "campaign.json").read_text("utf-8"))["runs"]} == runs
        assert list(rows(sample.folder).index) == [OTHER]
        assert not sample.path("").exists()
        assert sample.records.runs() == [OTHER]
        fits(sample, "metrics.csv", "campaign.json")


def test_what_is_not_told_cannot_be_changed(pair: Path, records: Records) -> None:
    sample = Sample(pair, replace(records, usages=()), {}, VICTIM, OTHER)
    with pytest.raises(NotHeldError, match="usage"):
        faults._dangling(sample)
    with pytest.raises(NotHeldError, match="Nothing"):
        sample.of("Nothing")
    sample.records = replace(records, derivations=())
    with pytest.raises(NotHeldError, match="derivation"):
        faults._cycle(sample)
    assert sample.of("RosBag").path == f"runs/{VICTIM}/bag"
    assert sample.start == execution(records).start
    sample.change(start=None)
    with pytest.raises(NotHeldError, match="start"):
        sample.start  # noqa: B018
    assert sample.path("a.txt") == pair / "runs" / VICTIM / "a.txt"


# --- tools


def test_checksums_are_of_all_but_the_crate(tmp_path: Path) -> None:
    for name in ("a.txt", "b/c.txt", f"b/{crate.DESCRIPTOR}", crate.DESCRIPTOR):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert faults.checksums(tmp_path) == {
        name: digest_file(tmp_path / name) for name in ("a.txt", "b/c.txt")
    }


def test_what_a_list_of_checksums_says(planted: Planted) -> None:
    sample = planted("")
    now = faults.checksums(sample.folder)
    assert faults.inspect(sample, now, ["checksum list"]) == {"checksum list": frozenset()}
    original = dict(now) | {"gone.txt": "x", "metrics.csv": "other"}
    found = faults.inspect(sample, original, ["checksum list"])
    assert found == {"checksum list": frozenset({"gone.txt", "metrics.csv"})}


def test_what_looks_at_the_graph_is_asked_once(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(faults, "_SAID", {})
    monkeypatch.setattr(faults, "_words", lambda told, what: asked.append(what) or [what])
    monkeypatch.setattr(faults, "_replays", lambda told: asked.append("replay") or [])
    sample = planted("")
    for _ in range(2):
        found = faults.inspect(sample, {}, ["constraints", "clock", "replay"])
        assert found["constraints"] == {"violations"}
        assert found["clock"] == {"clock"}
    assert asked == ["violations", "clock", "replay", "replay"]
    faults.inspect(planted("no seed"), {}, ["clock"])
    assert asked[4:] == ["clock"]


def test_shapes_that_are_given_are_the_authors(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "_SAID", {})
    monkeypatch.setattr(faults, "_shacl", lambda told, shapes, how: [f"{shapes.name} {how}"])
    tools = ["shapes", faults.AUTHORS]
    found = faults.inspect(planted(""), {}, tools, Path("theirs.ttl"))
    assert found == {
        "shapes": frozenset({"robot-provenance.ttl none"}),
        faults.AUTHORS: frozenset({"theirs.ttl rdfs"}),
    }


def test_equal_runs_are_made_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def redo(recipe: audit.Recipe) -> dict[str, str]:
        made.append(recipe.run)
        (recipe.target / "sub").mkdir(parents=True)
        (recipe.target / "sub" / "o.txt").write_text(f"{recipe.run} {recipe.attributes['seed']}")
        return {"tool": "1"}

    monkeypatch.setattr(faults, "_MADE", {})
    monkeypatch.setattr(faults.runner, "redo", redo)
    (tmp_path / "in").write_text("a")
    recipe = audit.Recipe("r", tmp_path / "1", {"File": (tmp_path / "in",)}, {"seed": 1})
    for number, one in enumerate(
        (recipe, recipe, replace(recipe, attributes={"seed": 2}), replace(recipe, run="s"))
    ):
        again = replace(one, target=tmp_path / str(number))
        assert faults.redo(again) == {"tool": "1"}
        text = (again.target / "sub" / "o.txt").read_text()
        assert text == f"{one.run} {one.attributes['seed']}"
    assert made == ["r", "r", "s"]
    (tmp_path / "in").write_text("b")
    faults.redo(replace(recipe, target=tmp_path / "9"))
    assert made == ["r", "r", "s", "r"]


def test_what_a_replay_says(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = planted("")
    good, bad = audit.Replay("x", (), ()), audit.Replay("x", ("a.txt",), (("t", "1", "2"),), ("i",))
    told: dict[str, Any] = {VICTIM: good, OTHER: good}

    def replay(folder: Path, run: str, *more: object) -> audit.Replay:
        if isinstance(told[run], Exception):
            raise told[run]
        return told[run]  # type: ignore[no-any-return]

    monkeypatch.setattr(faults.audit, "replay", replay)
    assert faults._replays(sample) == []
    differs = "differs: ('a.txt',) (('t', '1', '2'),) ('i',)"
    told |= {VICTIM: OSError("gone"), OTHER: bad}
    assert faults._replays(sample) == [
        f"{VICTIM} cannot be replayed: OSError",
        f"{OTHER} {differs}",
    ]
    sample.records = tellings.only(sample.records, [OTHER])
    assert faults._replays(sample) == [f"{OTHER} {differs}"]


def test_what_the_crates_judge_says(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def judge(folder: Path, severity: str) -> Any:
        asked.append(severity)
        some = [("c1", "REQUIRED", "m1", "s1"), ("c2", "RECOMMENDED", "m2", "s2")]
        return SimpleNamespace(issues=tuple(faults.validation.Finding(*one) for one in some))

    monkeypatch.setattr(faults, "_JUDGED", {"": ()})
    monkeypatch.setattr(faults.validation, "validate_crate", judge)
    sample = planted("")
    assert faults._crate(sample, "p", "REQUIRED") == ["c1 s1 m1"]
    assert faults._crate(sample, "p", "REQUIRED", "RECOMMENDED") == ["c1 s1 m1", "c2 s2 m2"]
    assert asked == ["RECOMMENDED"]
    sample.crate = {}
    assert faults._crate(sample, "q", "REQUIRED") == []
    assert asked == ["RECOMMENDED"]


def test_what_is_new_is_found_and_what_names_the_run_is_named(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = {"audit": frozenset({"always"}), faults.AUTHORS: frozenset()}
    told = [
        quiet,
        None,
        {"audit": frozenset({"always", "new"}), faults.AUTHORS: frozenset()},
        {"audit": frozenset(), faults.AUTHORS: frozenset({f"of {VICTIM}", "of none"})},
        {"audit": frozenset({f"map of {VICTIM}"}), faults.AUTHORS: frozenset({"always"})},
    ]
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        faults.sweeps, "run", lambda f, tasks, **more: asked.update(more, tasks=tasks) or told
    )
    names = ("no seed", "no plan", "no agent", "changed map")
    found = faults.find(
        pair,
        victim=VICTIM,
        other=OTHER,
        tools=("audit",),
        shapes=Path("theirs.ttl"),
        chosen=[BY_ID[name] for name in names],
        jobs=3,
    )
    assert [one[0] for one in asked["tasks"]] == ["", *names]
    assert asked["tasks"][1][5] == ("audit", faults.AUTHORS)
    assert (asked["n_jobs"], asked["cache"], asked["name"]) == (3, False, "faults")
    assert found.held.tolist() == [False, True, True, True]
    assert found.seen["audit"].tolist() == [False, True, False, True]
    assert found.seen[faults.AUTHORS].tolist() == [False, False, True, True]
    assert found.named["audit"].tolist() == [False] * 4
    assert found.named[faults.AUTHORS].tolist() == [False, False, True, False]
    assert found.quiet == quiet


def test_whose_checksums_are_compared(pair: Path) -> None:
    """A forger rewrites the list of checksums too; what is told anew comes after the fault."""
    rest = (pair, VICTIM, OTHER, None, ("checksum list",), None, None)
    said = {name: faults._look((name, *rest)) for name in ("", "missing file", "forged trace")}
    assert said[""] == said["forged trace"] == {"checksum list": frozenset()}
    assert said["missing file"] == {"checksum list": frozenset({f"runs/{VICTIM}/trace.csv"})}
    told = tellings.tables(pair, "demo")
    assert faults._look(("no agent", pair, VICTIM, OTHER, told, (), None, None)) is None
    asked: list[str] = []

    def retell(folder: Path, campaign: str) -> Records:
        asked.append(campaign)
        assert not (folder / "runs" / VICTIM / "trace.csv").exists()
        return told

    task = ("missing file", pair, VICTIM, OTHER, None, (), None, retell)
    assert faults._look(task) == {}
    assert asked == ["demo"]
