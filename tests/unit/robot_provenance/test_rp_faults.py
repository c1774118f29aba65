"""Planted faults: each can be planted, each is found by one of our tools, the campaign stays."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lib.robot_provenance import record
from lib.robot_provenance.record import Records, digest_file
from lib.robot_provenance.study import faults, tellings
from lib.robot_provenance.study.faults import FAULTS, Fault, Found, Sample, plant

VICTIM, OTHER = "near-s0", "near-s1"
UNSEEN = "suppressed run, plan too"
BY_ID = {one.id: one for one in FAULTS}
# Those that need no validator of crates.
QUICK = (*faults.OURS, "checksum list", "prov unified()")


@pytest.fixture(scope="module")
def records(pair: Path) -> Records:
    return record.load(pair)


@pytest.fixture(scope="module")
def original(pair: Path) -> dict[str, str]:
    return {
        one.relative_to(pair).as_posix(): digest_file(one)
        for one in pair.rglob("*")
        if one.is_file()
    }


@pytest.fixture(scope="module")
def found(pair: Path) -> Found:
    return faults.find(pair, victim=VICTIM, other=OTHER, tools=QUICK, jobs=1)


def test_twenty_accidents_and_six_forgeries() -> None:
    assert len(BY_ID) == len(FAULTS) == 26
    levels = pd.Series([one.level for one in FAULTS]).value_counts()
    assert levels.to_dict() == {"records": 10, "files": 7, "forgery": 6, "crate": 3}
    assert {one.level for one in FAULTS[22:]} == {"forgery"}
    assert [one.id for one in FAULTS if not one.names_run] == [
        *("changed map", "missing licence", "missing profile", "stale crate")
    ]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.id)
def test_planting_changes_the_copy_and_never_the_campaign(
    pair: Path, records: Records, original: dict[str, str], tmp_path: Path, fault: Fault
) -> None:
    clean = plant(None, pair, tmp_path / "clean", VICTIM, OTHER)
    sample = plant(fault, pair, tmp_path / "copy", VICTIM, OTHER)
    assert clean is not None
    assert sample is not None
    assert clean.records == records

    def state(one: Sample) -> tuple[dict[str, str], object, object]:
        files = {
            f.relative_to(one.folder).as_posix(): digest_file(f)
            for f in one.folder.rglob("*")
            if f.is_file()
        }
        return files, one.records, one.crate

    assert state(sample) != state(clean)
    if fault.level == "records":
        assert sample.records != records
    if fault.level in ("files", "crate"):
        assert sample.records == records
    now = {
        one.relative_to(pair).as_posix(): digest_file(one)
        for one in pair.rglob("*")
        if one.is_file()
    }
    assert now == original


def test_each_fault_is_found_and_the_run_named(
    found: Found,
) -> None:
    seen, named = found.seen, found.named
    assert found.held.all()
    assert list(seen.index) == list(BY_ID)
    assert list(seen.columns) == list(QUICK)
    ours = seen[list(faults.OURS)]
    assert list(ours.index[~ours.any(axis=1)]) == [UNSEEN]
    for fault in FAULTS:
        if fault.id == UNSEEN:
            continue
        assert named.loc[fault.id, list(faults.OURS)].any() == fault.names_run, fault.id
    assert (seen | ~named).to_numpy().all(), "nothing is named that is not found"


def test_what_only_a_replay_finds(found: Found) -> None:
    for forgery in (one.id for one in FAULTS if one.level == "forgery"):
        # The plan, which nobody rewrote, names every run and its seed.
        planned = {"suppressed run": {"audit"}, "forged seed": {"audit", "replay"}}
        seen = found.seen.loc[forgery]
        if forgery == UNSEEN:
            assert not seen.any()
            continue
        wanted = planned.get(forgery, {"replay"})
        assert set(seen.index[seen]) >= wanted, forgery
        assert forgery == "suppressed run" or set(seen.index[seen]) == wanted, forgery


def test_a_list_of_checksums_sees_files_and_no_records(
    found: Found,
) -> None:
    seen = found.seen
    by_level = {one.id: one.level for one in FAULTS}
    listed = seen["checksum list"]
    assert all(listed[name] == (by_level[name] == "files") for name in listed.index)


def test_control_a_clean_campaign_is_quiet(found: Found) -> None:
    assert set(found.quiet) == set(QUICK)
    assert not any(found.quiet.values())


def test_what_a_tool_always_says_is_no_finding(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = (BY_ID["missing file"], BY_ID["no seed"])
    monkeypatch.setattr(faults.corpus, "unified", lambda document: ["I never like it", VICTIM])
    told = faults.find(
        pair,
        victim=VICTIM,
        other=OTHER,
        tools=("prov unified()", "audit"),
        chosen=chosen,
        jobs=1,
    )
    seen, named = told.seen, told.named
    assert not seen["prov unified()"].any()
    assert not named["prov unified()"].any()
    assert seen["audit"].to_dict() == {"missing file": True, "no seed": False}


def test_a_table_has_no_place_for_most_faults(pair: Path, tmp_path: Path) -> None:
    told = tellings.tables(pair, "demo")
    planted = {
        one.id: plant(one, pair, tmp_path / str(i), VICTIM, OTHER, told) is not None
        for i, one in enumerate(FAULTS)
    }
    in_records = {one.id for one in FAULTS if one.level == "records"}
    assert {name for name in in_records if planted[name]} == {"no seed", "unknown outcome"}
    assert all(planted[one.id] for one in FAULTS if one.level == "files")


def test_what_cannot_be_planted_is_not_held_and_not_found(pair: Path) -> None:
    chosen = [BY_ID["no agent"], BY_ID["generated twice"], BY_ID["edited table"]]
    table = tellings.tables(pair, "demo")
    told = faults.find(
        pair,
        victim=VICTIM,
        other=OTHER,
        tools=("audit", "shapes"),
        records=table,
        chosen=chosen,
        jobs=1,
    )
    assert told.held.to_dict() == {
        "no agent": False,
        "generated twice": False,
        "edited table": True,
    }
    assert told.seen["audit"].to_dict() == told.held.to_dict()
    assert not told.seen["shapes"].any()


def test_a_fault_before_the_scan_is_hashed_with_the_rest(pair: Path) -> None:
    """What changed before anybody looked is not seen, but for what the files themselves deny."""
    names = ("changed byte", "missing file", "edited table", "re-labelled verdict")
    chosen = [BY_ID[name] for name in names]
    call = {"victim": VICTIM, "other": OTHER, "tools": ("audit",), "chosen": chosen, "jobs": 1}
    told = tellings.scan(pair, "demo")
    after = faults.find(pair, records=told, **call)
    before = faults.find(pair, records=told, retell=tellings.scan, **call)
    assert after.seen["audit"].all()
    assert before.held.all()
    assert not before.seen.loc[["changed byte", "missing file"], "audit"].any()
    assert before.seen.loc["edited table", "audit"]


def test_what_a_forgery_rewrites(pair: Path, tmp_path: Path) -> None:
    """Digests fit the changed files, and every place tells the new value."""
    sample = plant(BY_ID["forged measure"], pair, tmp_path / "copy", VICTIM, OTHER)
    assert sample is not None
    table = pd.read_csv(sample.folder / "metrics.csv").set_index("run")
    assert table.loc[VICTIM, "path_length_m"] == 1.23
    assert table.loc[OTHER, "path_length_m"] != 1.23
    by_path = {one.path: one for one in sample.records.entities.values()}
    for path in ("metrics.csv", f"runs/{VICTIM}/result.json"):
        assert by_path[path].sha256 == digest_file(sample.folder / path)
    result = by_path[f"runs/{VICTIM}/result.json"].id
    told = [q.value for q in sample.records.quantities if q.subject == result]
    assert 1.23 in told
    known = sample.records.entities.keys()
    assert {one.entity for one in sample.records.generations} <= known


def test_a_suppressed_run_leaves_nothing_but_the_plan(pair: Path, tmp_path: Path) -> None:
    sample = plant(BY_ID["suppressed run"], pair, tmp_path / "copy", VICTIM, OTHER)
    assert sample is not None
    assert not sample.path("").exists()
    assert sample.records.runs() == [OTHER]
    assert list(pd.read_csv(sample.folder / "metrics.csv")["run"]) == [OTHER]
    assert not any(VICTIM in name for name in sample.records.entities)
    assert VICTIM.removesuffix("-s0") in (sample.folder / "campaign.json").read_text("utf-8")


def test_a_crate_without_licence_is_seen_by_the_validator(pair: Path) -> None:
    tools, chosen = ("crate, REQUIRED", "crate, RECOMMENDED"), [BY_ID["missing licence"]]
    told = faults.find(pair, victim=VICTIM, other=OTHER, tools=tools, chosen=chosen, jobs=1)
    seen, named = told.seen, told.named
    assert seen.loc["missing licence", "crate, RECOMMENDED"]
    assert not named.to_numpy().any()


def test_bad_calls(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        plant(None, pair, tmp_path, VICTIM, OTHER)
    sample = plant(None, pair, tmp_path / "copy", VICTIM, OTHER)
    assert sample is not None
    with pytest.raises(KeyError, match="a tool that is none"):
        faults.inspect(sample, {}, ["a tool that is none"])
