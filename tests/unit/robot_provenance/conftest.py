"""Campaigns that really ran, made once for all tests of the chapter; nobody may change them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rp_grids import by_digest

from lib.robot_provenance import record
from lib.robot_provenance.campaign import Pose, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.record import Records
from lib.robot_provenance.study import embedded, floorplans, oracle, runner
from lib.robot_provenance.study.oracle import Truth

ABOUT = {
    "title": "A test",
    "description": "Short runs",
    "license": runner.LICENCE,
    "creators": [runner.CREATOR],
}
NAMES = (*embedded.TWIN, embedded.SLIP, "closed-one-room", "middle-boxes-noise")


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an embedded campaign of five runs that is not published."""
    folder = tmp_path_factory.mktemp("bare") / "embedded"
    embedded.run(folder, names=NAMES, seeds=(3,), jobs=1)
    return folder


@pytest.fixture(scope="session")
def published(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "embedded"
    shutil.copytree(bare, folder)
    runner.publish(folder)
    return folder


@pytest.fixture(scope="session")
def recorded(published: Path) -> Records:
    """Return the records of the published campaign."""
    return record.load(published)


@pytest.fixture(scope="session")
def happened(published: Path) -> Truth:
    """Return what the oracle reads off the published campaign."""
    return oracle.read(published)


@pytest.fixture(scope="session")
def near() -> tuple[dict[str, Grid], Scenario]:
    """Return a drive of half a metre, over in a simulated second, whose bag depends on its seed."""
    grids, scenarios = floorplans.default_campaign()
    hall = next(one for one in scenarios if one.name == "wide-hall")
    goal = Pose(hall.start.x + 0.6, hall.start.y, 0.0)
    short = replace(hall, name="near", goals=(goal,), noise_std=0.02)
    return {hall.map_file: grids[hall.map_file]}, short


@pytest.fixture(scope="session")
def pair(near: tuple[dict[str, Grid], Scenario], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a campaign of two such drives, ``near-s0`` and ``near-s1``; it is not published."""
    folder = tmp_path_factory.mktemp("pair") / "campaign"
    grids, scenario = near
    runner.run_campaign(
        [scenario], by_digest(grids), folder, seeds=[0, 1], jobs=1, campaign="demo", about=ABOUT
    )
    return folder
