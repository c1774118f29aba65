"""Constants and defaults, each against where it comes from; modules are run anew for them.

Sizes and limits are a TurtleBot 4's and the map server's; what is an assumption of the book is
listed as the theory page has it.
"""

import inspect
import math
import sys
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from rerun import anew, same

from lib.robot_provenance import audit, bags, campaign, maps, record, validation
from lib.robot_provenance.constraints import ordering, report
from lib.robot_provenance.study import (
    faults,
    figures,
    floorplans,
    labels,
    lidar,
    navsim,
    oracle,
    runner,
)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (maps, "FREE", 0),
        (maps, "OCCUPIED", 1),
        (maps, "UNKNOWN", -1),
        # nav2_map_server's grey values and thresholds
        (maps, "PIXELS", {0: 254, 1: 0, -1: 205}),
        (maps, "THRESHOLDS", {"occupied_thresh": 0.65, "free_thresh": 0.196}),
        (bags, "NANO", 10**9),
        (audit, "SLACK", timedelta(microseconds=1_000)),
        (ordering, "EFFORT", 50),
        (ordering, "SIMULTANEOUS", {"start": 31, "end": 32, "generation": 39, "invalidation": 40}),
        (navsim, "STATE_DECIMALS", 9),
        (
            navsim,
            "BOUNDS",
            {"margin": {"at_least": 0}, "slip_std": {"at_least": 0, "at_most": 0.2}},
        ),
        (lidar, "DECIMALS", 9),
        (lidar, "CHUNK", 64),
        (floorplans, "RESOLUTION", 0.05),
        (floorplans, "WALL", 2),
        (floorplans, "EDGE", 5),
        (
            floorplans,
            "WIDTHS",
            {
                "wide": [0.9, 1.0],
                "middle": [0.6, 0.7],
                "narrow": [0.45, 0.5],
                "closed": [0.25, 0.3],
            },
        ),
        (labels, "CONTINUITY", 0.5),
        (figures, "SPREAD", 1.6),
        (faults, "HOUR", timedelta(seconds=3_600)),
    ],
    ids=lambda one: one if isinstance(one, str) and one.isupper() else "",
)
def test_constants(module, name, value) -> None:
    assert getattr(anew(module), name) == value


def test_a_turn_is_believed_up_to_rounding() -> None:
    assert pytest.approx(math.tau + 1e-6, abs=1e-12) == anew(campaign).TURN


def test_floor_plan_models() -> None:
    found = anew(floorplans)
    assert [one["seed"] for one in found.MODELS.values()] == [1, 2, 3, 4]
    for name, one in found.MODELS.items():
        assert one["door_widths"] == found.WIDTHS[name]
        assert (one["n_rooms"], one["corridor"]) == (3, 1.6)


def test_what_a_scan_says_of_a_cell() -> None:
    found = anew(navsim)._Evidence
    assert (found.HIT, found.PASS, found.LOW, found.HIGH) == (0.9, -0.5, -1.5, 3.0)
    assert (found.OCCUPIED, found.REACH) == (0.8, 1.4)


def test_what_is_kept_between_calls() -> None:
    found = anew(navsim)
    assert found.planner.cache_parameters() == {"maxsize": 32, "typed": False}
    assert found._controller.cache_parameters()["maxsize"] == 8
    assert anew(runner)._grid.cache_parameters()["maxsize"] == 64


@pytest.mark.parametrize(
    ("made", "given", "fields"),
    [
        (
            navsim.SimConfig,
            (),
            {
                "radius": 0.175, "v_max": 0.46, "w_max": 1.9, "v_acc": 0.9, "w_acc": 6.0,
                "slip_std": 0.02, "dt": 0.1, "n_beams": 180, "max_range": 12.0, "scan_every": 2,
                "record_every": 2, "see_range": 3.0, "margin": 0.02, "comfort": 0.45,
                "lookahead": 0.6, "horizon": 1.2, "goal_tolerance": 0.25, "replan_s": 1.0,
                "stuck_s": 12.0, "stuck_m": 0.2, "timeout_s": 120.0,
            },
        ),
        (campaign.Pose, (1.0, 2.0), {"x": 1.0, "y": 2.0, "yaw": 0.0}),
        (campaign.Box, (1.0, 2.0), {"yaw": 0.0, "width": 0.5, "length": 0.5}),
        (
            campaign.Scenario,
            ("a", "m", campaign.Pose(0, 0), ()),
            {
                "boxes": (), "noise_std": 0.0, "drop_rate": 0.0, "mesh_file": "",
                "map_digest": None, "mesh_digest": None, "derived_from": None,
            },
        ),
        (faults.Fault, ("a", "files", print), {"names_run": True}),
        (ordering.Edge, (1, 2, 42), {"strict": False, "why": ()}),
        (report.Report, ((), ()), {"uncompared": 0, "valid": True}),
        (record.Activity, ("i", "k", "l"), {"status": "completed", "start": None, "end": None}),
        (record.Entity, ("i", "k", "l"), {"bytes": None, "members": (), "path": ""}),
        (audit.Replay, ("r", (), ()), {"inputs": (), "identical": True, "agrees": True}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)  # fmt: skip
def test_defaults_of_records(made, given, fields) -> None:
    found = same(made)(*given)
    assert {key: getattr(found, key) for key in fields} == fields


@pytest.mark.parametrize(
    ("function", "defaults"),
    [
        (lidar.cast, {"n_beams": 180, "max_range": 12.0, "boxes": ()}),
        (bags.write, {"max_range": 12.0}),
        (navsim._bilinear, {"row0": 0, "column0": 0}),
        (labels.associate, {"n_bootstrap": 4_000}),
        (labels.shuffle, {"n_shuffles": 999}),
        (labels.has_way, {"boxes": False}),
        (faults.find, {"jobs": 2, "records": None, "tools": faults.TOOLS}),
        (faults._suppress, {"plan": False}),
        (runner.run_campaign, {"jobs": 2}),
        (runner.prepare, {"seeds": (0,), "campaign": ""}),
        (validation.validate_crate, {"severity": "REQUIRED"}),
        (maps.load_grid, {"unknown": "refuse"}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_defaults_of_functions(function, defaults) -> None:
    found = inspect.signature(same(function)).parameters
    assert {key: found[key].default for key in defaults} == defaults


def test_units_and_pages_of_a_run() -> None:
    found = anew(runner)
    assert found.UNITS == {
        "path_length_m": "m",
        "duration_s": "s",
        "min_clearance_m": "m",
        "goal_error_m": "m",
    }
    assert found.ABOUT["creators"] == [found.CREATOR]
    assert found.ABOUT["license"] == "https://creativecommons.org/licenses/by/4.0/"


def test_faults_are_of_one_run_but_for_four() -> None:
    found = anew(faults).FAULTS
    assert len(found) == 26
    assert {one.id for one in found if not one.names_run} == {
        *("changed map", "missing licence", "missing profile", "stale crate")
    }


def test_what_is_compared_by_identity() -> None:
    """Arrays have no truth value: what holds them is equal to itself alone, and can be a key."""
    import numpy as np

    grid = same(maps.Grid)(np.zeros((2, 2)), 1.0, (0, 0))
    assert grid != type(grid)(np.zeros((2, 2)), 1.0, (0, 0))
    assert {grid: 1}[grid] == 1


def test_a_truth_without_maps() -> None:
    found = same(oracle.Truth)(None, {}, [])
    assert (found.vast, found.osc, found.models, found.maps, found.exports) == ("", "", {}, {}, [])
