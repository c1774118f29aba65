"""The simulator: replay to the bit, the outcomes, and what a campaign may get wrong."""

import hashlib
import json
import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.robot_provenance import campaign
from lib.robot_provenance.campaign import Box, Pose, Scenario
from lib.robot_provenance.maps import FREE, Grid
from lib.robot_provenance.study import floorplans, lidar, navsim
from lib.robot_provenance.study.navsim import SimConfig

GRIDS, SCENARIOS = floorplans.default_campaign()
BY_NAME = {s.name: s for s in SCENARIOS}


def digest(run):
    """Two runs have one digest exactly if they are bit-identical."""
    state = hashlib.sha256()
    for name in ("t", "pose", "command", "scans", "scan_t"):
        array = np.ascontiguousarray(getattr(run, name))
        state.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        state.update(array.tobytes())
    rest = [run.outcome, run.reason, dict(run.metrics), run.events]
    state.update(json.dumps(rest, sort_keys=True, allow_nan=False).encode())
    return state.hexdigest()


def room(height=60, width=80):
    cells = np.zeros((height, width), np.int8)
    cells[:2], cells[-2:], cells[:, :2], cells[:, -2:] = 1, 1, 1, 1
    return Grid(cells, 0.05, (0.0, 0.0))


ROOM = room()
PLAIN = Scenario("plain", "room.yaml", Pose(0.6, 0.6), (Pose(3.2, 2.2),))


def run(name, seed=0, **config):
    scenario = BY_NAME[name]
    return navsim.simulate(GRIDS[scenario.map_file], scenario, seed, SimConfig(**config))


def scans(grid, poses, boxes=()):
    return np.array([lidar.cast(grid, tuple(one), 180, 12.0, boxes) for one in poses.tolist()])


@pytest.fixture(scope="module")
def runs():
    return {name: run(name) for name in BY_NAME}


def test_every_outcome_occurs_in_the_default_campaign(runs):
    assert {r.outcome for r in runs.values()} == set(get_args(navsim.Outcome))
    expected = {
        "wide-hall": "success",
        "wide-two-rooms": "success",
        "closed-one-room": "no_plan",
        "wide-barred": "stuck",
        "middle-blind": "collision",
        "wide-tour": "timeout",
        "faulty-no-goals": "invalid",
    }
    assert {name: runs[name].outcome for name in expected} == expected


DIGESTS = {
    "wide-hall": "9109b94dee39",
    "wide-hall-again": "9109b94dee39",
    "wide-one-room": "f4f1cb220eb8",
    "wide-two-rooms": "335437790338",
    "middle-hall": "7607730f70e4",
    "middle-one-room": "72c4fda6f28d",
    "middle-two-rooms": "72d9e2caf5d4",
    "narrow-hall": "88a1ccd4e877",
    "narrow-one-room": "5f916504005e",
    "narrow-two-rooms": "f1c7cde038d7",
    "closed-hall": "88cdeefd978d",
    "closed-one-room": "145c3efb2fa2",
    "closed-two-rooms": "145c3efb2fa2",
    "wide-boxes": "c871f19ed090",
    "middle-boxes-noise": "50f31fd43ca2",
    "narrow-noise": "076d2e3bd831",
    "wide-noise-drop": "c90fa23f8d33",
    "wide-barred": "dfc6902d8af2",
    "middle-blind": "c678ac40c0d6",
    "wide-tour": "9980d06554b4",
    "wide-goal-in-box": "40c5572d1242",
    "faulty-start-in-wall": "683b6bb63441",
    "faulty-no-goals": "bd58a94772da",
    "faulty-nan-start": "ff4999737a51",
    "faulty-goal-outside": "b5cacd9ce1bf",
}
"""Of the runs with seed 0: a run is a function of its inputs, on any processor and for good."""


def test_every_run_is_what_it_was(runs):
    assert {name: digest(one)[:12] for name, one in runs.items()} == DIGESTS


def test_metrics_and_arrays_agree(runs):
    for name, done in runs.items():
        n = len(done.t)
        assert done.pose.shape == (n, 3), name
        assert done.command.shape == (n, 2)
        assert done.scans.shape == (len(done.scan_t), 180)
        assert done.scans.dtype == np.float32
        assert done.events[-1][1:] == (done.outcome, done.reason)
        if not n:
            assert done.outcome in {"invalid", "no_plan"}
            assert done.metrics["goal_error_m"] is None
            continue
        assert np.allclose(np.diff(done.t), 0.1)
        gone = np.hypot(*np.diff(done.pose[:, :2], axis=0).T).sum()
        assert done.metrics["path_length_m"] == pytest.approx(gone, abs=1e-5)
        assert done.metrics["duration_s"] == done.t[-1]
        assert np.abs(done.pose[:, 2]).max() <= math.pi
        assert done.command[:, 0].min() >= 0
        assert done.command[:, 0].max() <= SimConfig().v_max
        assert np.abs(np.diff(done.command[:-1, 0])).max() <= 0.09 + 1e-8
        finite = done.scans[np.isfinite(done.scans)]
        assert finite.size == 0 or 0 <= finite.min() <= finite.max() <= 12
        goal = BY_NAME[name].goals[-1]
        if done.outcome == "success":
            assert math.hypot(*(done.pose[-1, :2] - (goal.x, goal.y))) < 0.25
            assert done.metrics["goals_reached"] == len(BY_NAME[name].goals)
        touched = done.metrics["min_clearance_m"] < 0
        assert touched == (done.outcome == "collision")


def test_a_robot_never_drives_through_walls_or_boxes(runs):
    for name, done in runs.items():
        scenario = BY_NAME[name]
        if len(done.t) and done.outcome != "collision":
            grid = GRIDS[scenario.map_file]
            assert (grid.at(done.pose[:, 0], done.pose[:, 1]) == FREE).all(), name
            for x, y, _ in done.pose:
                assert lidar.box_distance(x, y, scenario.boxes) >= 0.175


def test_recorded_scans_are_those_of_the_recorded_poses(runs):
    done = runs["wide-boxes"]
    scenario = BY_NAME["wide-boxes"]
    at = np.round(done.scan_t / 0.1).astype(int)
    expected = scans(GRIDS[scenario.map_file], done.pose[at], scenario.boxes)
    back = np.isfinite(done.scans)
    assert back.any()
    assert np.array_equal(done.scans[back], expected[back])
    assert (expected[~back] == 12).all()


def test_lost_beams_and_noise_are_as_asked(runs):
    assert np.isinf(runs["middle-blind"].scans).all()
    noisy = replace(PLAIN, noise_std=0.05, drop_rate=0.3)
    done = navsim.simulate(ROOM, noisy, 3)
    at = np.round(done.scan_t / 0.1).astype(int)
    exact = scans(ROOM, done.pose[at])
    assert np.isinf(done.scans).mean() == pytest.approx(0.3, abs=0.03)
    error = (done.scans - exact)[np.isfinite(done.scans)]
    assert error.std() == pytest.approx(0.05, rel=0.1)
    assert abs(error.mean()) < 0.005


@given(st.integers(0, 2**63 - 1), st.floats(0, 0.1), st.floats(0, 0.5))
@settings(max_examples=8)
def test_a_replay_is_bit_identical_and_another_seed_is_not(seed, noise, drop):
    scenario = replace(PLAIN, noise_std=noise, drop_rate=drop, boxes=(Box(2.0, 1.4, 0.3),))
    first = navsim.simulate(ROOM, scenario, seed)
    navsim.planner.cache_clear()  # what an earlier run leaves behind must not matter
    navsim._controller.cache_clear()
    again = navsim.simulate(Grid(ROOM.cells, 0.05, (0, 0)), replace(scenario, name="b"), seed)
    assert digest(first) == digest(again)
    assert digest(navsim.simulate(ROOM, scenario, seed + 1)) != digest(first)


class OtherProcessor:
    """A module whose sines and cosines differ in the last bit, as those of processors do."""

    def __init__(self, module):
        self.module = module
        for name in ("cos", "sin"):
            plain = getattr(module, name)
            setattr(self, name, lambda a, plain=plain: np.nextafter(plain(a), np.inf))

    def __getattr__(self, name):
        return getattr(self.module, name)


@pytest.mark.parametrize("rounded", [True, False])
def test_the_last_bit_of_a_cosine_does_not_change_a_run(runs, monkeypatch, rounded):
    names = ("wide-boxes", "narrow-noise")
    before = [digest(runs[name]) for name in names]
    if not rounded:  # the control: without rounding it does
        monkeypatch.setattr(lidar, "DECIMALS", 17)
        monkeypatch.setattr(navsim, "STATE_DECIMALS", 17)
        before = [digest(run(name)) for name in names]
    for module in (lidar, navsim):
        monkeypatch.setattr(module, "np", OtherProcessor(np))
    monkeypatch.setattr(lidar, "math", OtherProcessor(math))
    navsim._controller.cache_clear()
    lidar.body.cache_clear()
    same = [digest(run(name)) == b for name, b in zip(names, before, strict=True)]
    navsim._controller.cache_clear()
    lidar.body.cache_clear()
    assert all(same) if rounded else not any(same)


def test_the_digest_sees_every_part(runs):
    done = runs["wide-one-room"]
    moved = done.pose.copy()
    moved[5, 0] += 1e-9
    others = [
        replace(done, pose=moved),
        replace(done, scans=done.scans[:-1]),
        replace(done, outcome="stuck"),
        replace(done, metrics={**done.metrics, "replans": 9.0}),
        replace(done, events=done.events[1:]),
        replace(done, scan_t=done.scan_t.astype(np.float32)),
    ]
    assert len({digest(r) for r in [done, *others]}) == 7


def test_boxes_are_known_from_the_lidar_only():
    """With the lidar blinded, the same box on the same way is hit."""
    scenario = replace(PLAIN, start=Pose(0.6, 1.5), goals=(Pose(3.4, 1.5),), boxes=(Box(2, 1.5),))
    seeing = navsim.simulate(ROOM, scenario, 1)
    blind = navsim.simulate(ROOM, replace(scenario, drop_rate=1.0), 1)
    assert (seeing.outcome, blind.outcome) == ("success", "collision")
    assert seeing.metrics["replans"] >= 1
    assert blind.metrics["replans"] == 0


def test_goals_are_reached_in_order():
    goals = (Pose(3.2, 0.6), Pose(0.6, 2.2), Pose(3.2, 2.2))
    done = navsim.simulate(ROOM, replace(PLAIN, goals=goals), 0)
    reached = [t for t, kind, _ in done.events if kind == "goal"]
    assert len(reached) == 3
    for t, goal in zip(reached, goals, strict=True):
        at = done.pose[round(t / 0.1)]
        assert math.hypot(at[0] - goal.x, at[1] - goal.y) < 0.25


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"goals": ()}, "the list of goals is empty"),
        ({"start": Pose(math.nan, 1)}, "the start is not finite"),
        ({"start": Pose(0.05, 1)}, "the start is in a wall"),
        ({"start": Pose(-1, 1)}, "the start is outside the map"),
        ({"goals": (Pose(1, 1), Pose(9, 1))}, "goal 2 is outside the map"),
        ({"goals": (Pose(1, 1, math.inf),)}, "goal 1 is not finite"),
        ({"boxes": (Box(0.6, 0.6),)}, "the start is in a box"),
        ({"boxes": (Box(2, math.nan),)}, "box 1 is not a box"),
        ({"noise_std": -1.0}, "noise is -1.0"),
        ({"drop_rate": 2.0}, "drop rate is 2.0"),
    ],
)
def test_faults_of_a_scenario_are_an_outcome(change, says):
    done = navsim.simulate(ROOM, replace(PLAIN, **change), 0)
    assert done.outcome == "invalid"
    assert says in done.reason
    assert len(done.t) == len(done.scans) == 0
    assert len(digest(done)) == 64


def test_other_ends():
    into_wall = replace(PLAIN, goals=(Pose(0.01, 0.01),))
    assert navsim.simulate(ROOM, into_wall, 0).outcome == "no_plan"
    beside = replace(PLAIN, boxes=(Box(1.0, 0.6, 0.0, width=0.5, length=0.5),))
    touching = navsim.simulate(ROOM, beside, 0)
    assert (touching.outcome, len(touching.t)) == ("collision", 1)
    unknown = ROOM.cells.copy()
    unknown[10:14, 10:14] = -1
    assert "unknown space" in navsim.simulate(Grid(unknown, 0.05, (0, 0)), PLAIN, 0).reason
    tiny = Grid(np.zeros((2, 2)), 5.0, (0, 0))
    assert "2 x 2 cells" in navsim.simulate(tiny, PLAIN, 0).reason
    there = navsim.simulate(ROOM, replace(PLAIN, goals=(Pose(0.7, 0.6),)), 0)
    assert (there.outcome, there.metrics["duration_s"]) == ("success", 0.0)


def test_a_map_without_walls_does_not_end_the_world():
    done = navsim.simulate(Grid(np.zeros((60, 80)), 0.05, (0, 0)), PLAIN, 0)
    assert done.outcome == "success"
    assert np.isinf(done.scans).all()


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_a_bad_seed_is_the_callers_fault(seed):
    with pytest.raises(ValueError, match="seed is"):
        navsim.simulate(ROOM, PLAIN, seed)


def test_another_scenarios_grid_is_the_callers_fault():
    with pytest.raises(ValueError, match="wide-hall: its map has digest"):
        navsim.simulate(ROOM, BY_NAME["wide-hall"], 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"radius": 0.0}, "radius is 0.0"),
        ({"dt": math.nan}, "dt is nan"),
        ({"n_beams": 1.5}, "n_beams is 1.5"),
        ({"timeout_s": "long"}, "timeout_s is 'long'"),
        ({"slip_std": 0.5}, "slip_std is 0.5"),
        ({"v_max": 9.0}, "drive blind"),
    ],
)
def test_a_bad_configuration_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        SimConfig(**change)


def test_the_configuration_has_an_identity():
    assert SimConfig().digest == SimConfig().digest != SimConfig(radius=0.2).digest
    assert run("wide-hall", lookahead=0.5).outcome == "success"


def test_the_planner_keeps_its_distance():
    grid = GRIDS["maps/wide.yaml"]
    planner = navsim.planner(grid, 0.195, 0.45)
    rooms = [BY_NAME["wide-two-rooms"].start, BY_NAME["wide-two-rooms"].goals[0]]
    ends = [(one.x, one.y) for one in rooms]
    path = np.array(planner.plan(*ends, 0.25, None))
    rows, columns, _ = grid.index(path[:, 0], path[:, 1])
    assert (grid.distance[rows, columns] - 0.025 >= 0.195).all()
    assert np.hypot(*np.diff(path, axis=0).T).max() < 0.0708
    seen = np.zeros(grid.shape, bool)
    seen[:, grid.shape[1] // 2] = True
    assert planner.plan(*ends, 0.25, seen) is None
    assert campaign.faults(PLAIN) is None


def test_the_planner_says_where_nothing_is_near():
    planner = navsim.planner(ROOM, 0.2, 0.4)
    assert planner.plan((0.15, 0.15), (2.0, 1.5), 0.25, None) is not None
    assert planner.plan((0.05, 0.05), (2.0, 1.5), 0.25, None) is None
    assert planner.plan((-0.3, 0.05), (2.0, 1.5), 0.25, None) is None
    assert planner.plan((2.0, 1.5), (-0.3, 0.05), 0.25, None) is None
    (first, *_, last) = planner.plan((2.02, 1.52), (3.02, 1.52), 0.25, None)
    assert first == pytest.approx((2.025, 1.525))
    assert last == pytest.approx((3.025, 1.525))


def test_the_way_is_the_shortest_and_keeps_to_the_middle():
    planner = navsim.planner(ROOM, 0.2, 0.4)
    way = planner.plan((1.025, 1.525), (2.025, 1.525), 0.01, None)
    straight = [(1.025 + 0.05 * i, 1.525) for i in range(21)]
    assert np.array(way) == pytest.approx(np.array(straight))
    # Beside a wall a metre costs up to six times as much, so the way swings out.
    near = np.array(planner.plan((1.0, 0.35), (3.0, 0.35), 0.1, None))
    assert near[:, 1].max() > 0.45
    assert planner.base.min() == 1.0
    assert 1.0 < planner.base.max() <= 6.0
