"""The embedded campaign: drafted, repaired in the open, and run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lib.robot_provenance import record
from lib.robot_provenance.campaign import load_vast
from lib.robot_provenance.record import Records
from lib.robot_provenance.study import embedded, floorplans


def test_slip_and_twin_are_declared() -> None:
    _, plain = floorplans.default_campaign()
    found = {one.name: one for one in load_vast(floorplans.VAST)}
    assert len(found) == len(plain)
    files = {one.map_file for one in plain}
    assert [name for name, one in found.items() if one.map_file not in files] == [embedded.SLIP]
    slip = found[embedded.SLIP].map_file
    assert slip.lower() in files
    first, second = (found[name] for name in embedded.TWIN)
    assert first.digest == second.digest
    assert first.name != second.name


def test_draft_writes_records_and_repairs(tmp_path: Path) -> None:
    resolution = embedded.draft(tmp_path / "new")
    names = [one.name for one in load_vast(floorplans.VAST)]
    assert [one.name for one in load_vast(tmp_path / "new/inputs/campaign.vast")] == names
    assert {one.name for one in resolution.scenarios} == set(names)
    ((repair, changed),) = resolution.repairs.items()
    assert tuple(changed) == (embedded.SLIP,)
    assert repair.from_path.lower() == repair.to_path.lower() != repair.from_path
    slip = next(one for one in resolution.scenarios if one.name == embedded.SLIP)
    declared = next(one for one in load_vast(floorplans.VAST) if one.name == embedded.SLIP)
    assert slip.derived_from == declared.digest
    records = record.load(tmp_path / "new")
    assert records.campaign == embedded.NAME
    assert not records.runs()
    for kind in ("FloorPlanModel", "FloorPlanGraph", "OccupancyGrid", "MapMetadata"):
        assert len(records.of_kind(kind)) == len(floorplans.MODELS), kind
    assert len(records.of_kind("Acquisition")) == len(floorplans.MODELS) + 2


def test_a_second_draft_is_refused(tmp_path: Path) -> None:
    embedded.draft(tmp_path)
    # A second draft would go on with the log, and make the same files once more.
    with pytest.raises(record.RecordError, match=r"wide\.model\.json.*generated twice"):
        embedded.draft(tmp_path)


def test_the_same_inputs_each_time(tmp_path: Path) -> None:
    for name in "ab":
        embedded.draft(tmp_path / name)
    files = [one.relative_to(tmp_path / "a") for one in (tmp_path / "a/inputs").rglob("*.*")]
    assert len(files) > 4 * len(floorplans.MODELS)
    for one in files:
        assert (tmp_path / "a" / one).read_bytes() == (tmp_path / "b" / one).read_bytes()


def test_an_unknown_name_is_refused_before_anything(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name is 'nowhere'"):
        embedded.run(tmp_path / "new", names=["wide-hall", "nowhere"])
    assert not (tmp_path / "new" / "runs").exists()


def test_the_repair_is_a_derivation_with_its_reason(recorded: Records) -> None:
    scenarios = {one.id for one in recorded.of_kind("ConcreteScenario")}
    (one,) = (d for d in recorded.derivations if d.reason and d.entity in scenarios)
    assert "case" in one.reason
    made, source = recorded.entities[one.entity], recorded.entities[one.source]
    assert made.path == f"runs/{embedded.SLIP}-s3/scenario.json"
    assert made.attributes["scenario"] == embedded.SLIP
    assert source.label == f"{embedded.SLIP} as declared"


def test_the_twin_drives_the_same_way(published: Path) -> None:
    table = pd.read_csv(published / "metrics.csv").set_index("scenario")
    first, second = (table.loc[name] for name in embedded.TWIN)
    assert first["path_length_m"] == second["path_length_m"]
    assert first["scenario_digest"] == second["scenario_digest"]
    assert first["run"] != second["run"]
    assert (table["seed"] == 3).all()
