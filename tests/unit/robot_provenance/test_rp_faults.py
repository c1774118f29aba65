"""Planted faults: each can be planted, each is found by one of our tools, the campaign stays."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lib.robot_provenance import record
from lib.robot_provenance.record import Records, digest_file
from lib.robot_provenance.study import ablation, faults
from lib.robot_provenance.study.faults import FAULTS, Fault, Sample, plant

VICTIM, OTHER = "near-s0", "near-s1"
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
def found(pair: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return faults.find(pair, victim=VICTIM, other=OTHER, tools=QUICK, jobs=1)


def test_twenty_accidents_and_two_forgeries() -> None:
    assert len(BY_ID) == len(FAULTS) == 22
    levels = pd.Series([one.level for one in FAULTS]).value_counts()
    assert levels["forgery"] == 2
    assert levels.sum() - levels["forgery"] == 20
    assert levels["crate"] == 3


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
    found: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    seen, named = found
    assert list(seen.index) == list(BY_ID)
    assert list(seen.columns) == list(QUICK)
    ours = seen[list(faults.OURS)]
    assert ours.any(axis=1).all(), list(ours.index[~ours.any(axis=1)])
    for fault in FAULTS:
        assert named.loc[fault.id, list(faults.OURS)].any() == fault.names_run, fault.id
    assert (seen | ~named).to_numpy().all(), "nothing is named that is not found"


def test_what_only_a_replay_finds(found: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    seen, _ = found
    for forgery in (one.id for one in FAULTS if one.level == "forgery"):
        assert list(seen.columns[seen.loc[forgery]]) == ["replay"], forgery


def test_a_list_of_checksums_sees_files_and_no_records(
    found: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    seen, _ = found
    by_level = {one.id: one.level for one in FAULTS}
    listed = seen["checksum list"]
    assert all(listed[name] == (by_level[name] == "files") for name in listed.index)


def test_control_a_clean_campaign_is_quiet(pair: Path) -> None:
    said = faults.clean(pair, victim=VICTIM, other=OTHER, tools=QUICK)
    assert set(said) == set(QUICK)
    assert not any(said.values())


def test_what_a_tool_always_says_is_no_finding(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FAULTS", (BY_ID["missing file"], BY_ID["no seed"]))
    monkeypatch.setattr(faults, "_unified", lambda sample: ["I never like it", VICTIM])
    seen, named = faults.find(
        pair, victim=VICTIM, other=OTHER, tools=("prov unified()", "audit"), jobs=1
    )
    assert not seen["prov unified()"].any()
    assert not named["prov unified()"].any()
    assert seen["audit"].to_dict() == {"missing file": True, "no seed": False}


def test_a_table_has_no_place_for_most_faults(pair: Path, tmp_path: Path) -> None:
    told = ablation.tables(pair, "demo")
    planted = {
        one.id: plant(one, pair, tmp_path / str(i), VICTIM, OTHER, told) is not None
        for i, one in enumerate(FAULTS)
    }
    in_records = {one.id for one in FAULTS if one.level == "records"}
    assert {name for name in in_records if planted[name]} == {"no seed", "unknown outcome"}
    assert all(planted[one.id] for one in FAULTS if one.level == "files")


def test_what_cannot_be_planted_is_not_found(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FAULTS", (BY_ID["no agent"], BY_ID["generated twice"]))
    told = ablation.tables(pair, "demo")
    seen, _ = faults.find(
        pair, victim=VICTIM, other=OTHER, tools=("audit", "shapes"), records=told, jobs=1
    )
    assert not seen.to_numpy().any()


def test_a_crate_without_licence_is_seen_by_the_validator(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "FAULTS", (BY_ID["missing licence"],))
    tools = ("crate, REQUIRED", "crate, RECOMMENDED")
    seen, named = faults.find(pair, victim=VICTIM, other=OTHER, tools=tools, jobs=1)
    assert seen.loc["missing licence", "crate, RECOMMENDED"]
    assert not named.to_numpy().any()


def test_bad_calls(pair: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        plant(None, pair, tmp_path, VICTIM, OTHER)
    sample = plant(None, pair, tmp_path / "copy", VICTIM, OTHER)
    assert sample is not None
    with pytest.raises(KeyError, match="a tool that is none"):
        faults.inspect(sample, {}, ["a tool that is none"])
