"""The simulator's parts by hand: what a scan adds, which way is chosen, what a beam meets."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lib.robot_provenance.campaign import Box, Pose, Scenario
from lib.robot_provenance.maps import FREE, Grid
from lib.robot_provenance.study import lidar, navsim
from lib.robot_provenance.study.navsim import SimConfig


def empty(height=20, width=20, res=0.25):
    return Grid(np.zeros((height, width), np.int8), res, (0.0, 0.0))


def walled(height=40, width=40, res=0.05):
    inner = np.zeros((height - 4, width - 4), np.int8)
    return Grid(np.pad(inner, 2, constant_values=1), res, (0.0, 0.0))


# --- the planner


def test_what_a_metre_costs() -> None:
    """1 from `comfort` on, 6 where the robot just fits and nearer, in between by the square."""
    planner = navsim.Planner(walled(), 0.2, 0.4)
    found = planner._penalty(np.array([0.0, 0.2, 0.25, 0.3, 0.4, 9.0]))
    assert found == pytest.approx([6, 6, 1 + 5 * 0.75**2, 2.25, 1, 1])
    # Without room between the two, near and far are all that there is.
    narrow = navsim.Planner(walled(), 0.3, 0.3)
    assert narrow._penalty(np.array([0.29, 0.31])) == pytest.approx([6, 1])


def test_nodes_and_edges_of_a_small_map() -> None:
    cells = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 0, -1, 1], [1, 1, 1, 1, 1]])
    planner = navsim.Planner(Grid(cells, 0.5, (1.0, 2.0)), 0.1, 0.2)
    assert np.column_stack([planner.x, planner.y]).tolist() == [
        *([1.75, 2.75], [2.25, 2.75], [2.75, 2.75], [1.75, 3.25], [2.25, 3.25])
    ]
    assert planner.clear[planner.free].tolist() == [0.25] * 5
    half = dict(zip(zip(planner.tail, planner.head, strict=True), planner.half, strict=True))
    edge, slant = 0.25, 0.25 * math.sqrt(2)
    assert half == {
        (0, 1): edge, (1, 2): edge, (3, 4): edge, (0, 3): edge, (1, 4): edge,
        (0, 4): pytest.approx(slant), (1, 3): pytest.approx(slant), (2, 4): pytest.approx(slant),
    }  # fmt: skip


def test_the_rim_is_never_free() -> None:
    planner = navsim.Planner(empty(3, 4, 1.0), 0.0, 0.1)
    assert planner.free.tolist() == [[False] * 4, [False, True, True, False], [False] * 4]


def centred():
    """Return a planner whose nodes lie on whole metres from -3 to 3."""
    grid = Grid(np.pad(np.zeros((7, 7), np.int8), 1, constant_values=1), 1.0, (-4.5, -4.5))
    return navsim.Planner(grid, 0.25, 0.3)


def test_a_start_and_a_goal_may_lie_just_so_far() -> None:
    planner = centred()
    assert planner.plan((0.3, 0.0), (2.0, 0.0), 0.25, None)[0] == (0.0, 0.0)
    assert planner.plan((0.301, 0.0), (2.0, 0.0), 0.25, None) is None
    assert planner.plan((0.0, 0.0), (2.25, 0.0), 0.25, None)[-1] == (2.0, 0.0)
    assert planner.plan((0.0, 0.0), (2.26, 0.0), 0.25, None) is None


def test_a_way_from_the_first_cell_begins_there() -> None:
    assert centred().plan((-3.0, -3.0), (-1.0, -3.0), 0.1, None) == [
        *((-3.0, -3.0), (-2.0, -3.0), (-1.0, -3.0))
    ]
    assert centred().plan((-3.0, -3.0), (-3.0, -3.0), 0.1, None) == [(-3.0, -3.0)]


def test_what_has_been_seen_is_kept_away_from() -> None:
    """A cell beside one that was seen is half a cell off its face: enough for a robot of that."""
    grid = Grid(np.pad(np.zeros((5, 7), np.int8), 1, constant_values=1), 1.0, (-0.5, -0.5))
    seen = np.zeros(grid.shape, bool)
    seen[1:4, 4] = True
    ends = (2.0, 2.0), (6.0, 2.0)
    just, wide = (navsim.Planner(grid, r, 0.51) for r in (0.5, 0.501))
    assert (4.0, 4.0) in just.plan(*ends, 0.1, seen) or (4.0, 5.0) in just.plan(*ends, 0.1, seen)
    assert wide.plan(*ends, 0.1, seen) is None
    assert wide.plan(*ends, 0.1, None) == [(float(x), 2.0) for x in range(2, 7)]
    # A start among what was seen has no node near it.
    assert just.plan((4.0, 2.0), (6.0, 2.0), 0.1, seen) is None
    clear = np.zeros(grid.shape, bool)
    assert just.plan(*ends, 0.1, clear) == just.plan(*ends, 0.1, None)


def test_how_far_is_sought(monkeypatch) -> None:
    """Three times the straight way and three metres more; then everywhere."""
    limits, real = [], navsim.csgraph.dijkstra
    monkeypatch.setattr(
        navsim.csgraph,
        "dijkstra",
        lambda *a, **more: limits.append(more["limit"]) or real(*a, **more),
    )
    planner = centred()
    assert planner.plan((0.0, 0.0), (2.0, 0.0), 0.1, None)
    assert limits == [9.0]
    assert planner.plan((0.0, 0.0), (9.0, 0.0), 0.1, None) is None
    assert limits == [9.0, 30.0, math.inf]


def test_a_field_is_read_between_centres() -> None:
    field, grid = np.array([[0.0, 1.0], [2.0, 3.0]]), Grid(np.zeros((4, 4)), 0.5, (1.0, 2.0))
    assert navsim._bilinear(field, grid, 1.25, 2.25).tolist() == [0.0]
    assert navsim._bilinear(field, grid, [1.5, 1.75], [2.5, 2.25]).tolist() == [1.5, 1.0]
    assert navsim._bilinear(field, grid, -9.0, 99.0).tolist() == [2.0]
    assert navsim._bilinear(field, grid, 2.25, 2.75, 1, 2).tolist() == [0.0]


# --- what has been seen


CONFIG = SimConfig(n_beams=4, see_range=1.5, v_max=0.4)


def looked(*scans, res=0.25):
    evidence = navsim._Evidence(empty(res=res), CONFIG)
    for one in scans:
        evidence.add(0.625, 2.625, 1.0, 0.0, np.array([math.inf, math.inf, one, math.inf]))
    return evidence


def test_what_one_beam_adds() -> None:
    """Passed cells lose, the one behind the face gains; a lost beam says nothing."""
    found = looked(1.05).evidence
    assert found[10].tolist() == [0.0] * 3 + [-0.5] * 4 + [0.9] + [0.0] * 12
    found[10] = 0
    assert not found.any()
    assert not looked(math.inf).evidence.any()
    # At and beyond the range that is trusted there is no hit.
    for reach in (1.5, 5.0):
        assert looked(reach).evidence[10].tolist() == [0.0] * 3 + [-0.5] * 6 + [0.0] * 11
    # The face of the next cell: the sample before it is at 0.625 m.
    assert looked(0.7).evidence[10, 3:7].tolist() == [-0.5, -0.5, 0.9, 0.0]


def test_evidence_is_summed_up_within_limits() -> None:
    for n, hit, passed in ((2, 1.8, -1.0), (3, 2.7, -1.5), (4, 3.0, -1.5)):
        found = looked(*[1.05] * n).evidence[10]
        assert found[7] == pytest.approx(hit)
        assert found[3] == passed
    assert np.argwhere(looked(1.05).seen()).tolist() == [[10, 7]]
    assert not navsim._Evidence(empty(), CONFIG).seen().any()


def test_a_beam_turned_to_the_left() -> None:
    evidence = navsim._Evidence(empty(), CONFIG)
    evidence.add(2.625, 0.625, 0.0, 1.0, np.array([math.inf, math.inf, 1.05, math.inf]))
    assert evidence.evidence[:, 10].tolist() == [0.0] * 3 + [-0.5] * 4 + [0.9] + [0.0] * 12
    evidence = navsim._Evidence(empty(), CONFIG)
    evidence.add(2.625, 2.625, 0.0, 1.0, np.array([math.inf, 0.55, math.inf, math.inf]))
    # The beam to the right of a robot that looks up goes along x.
    assert np.argwhere(evidence.evidence > 0).tolist() == [[10, 13]]


def test_a_window_is_cut_at_the_maps_edge() -> None:
    evidence = navsim._Evidence(empty(), CONFIG)
    assert evidence._window(2.6, 2.6, 0.5) == (slice(7, 14), slice(7, 14))
    assert evidence._window(0.1, 4.9, 0.5) == (slice(16, 20), slice(0, 4))
    assert evidence._window(0.8, 2.6, 0.75) == (slice(6, 15), slice(0, 8))


def test_clearance_in_the_window() -> None:
    evidence = navsim._Evidence(empty(40, 40, 0.25), CONFIG)
    assert evidence.closed.sum() == 4 * 39
    evidence.look(5.0, 5.0)
    # Nothing is near: the half-width of the window.
    assert evidence.clearance(5.0, 5.0).tolist() == [1.4]
    evidence.evidence[20, 24] = 0.81
    evidence.look(5.0, 5.0)
    # From the middle of cell 20 to the face of cell 24.
    assert evidence.clearance(5.125, 5.125) == pytest.approx([1.0 - 0.125])
    evidence.evidence[20, 24] = 0.8
    evidence.look(5.0, 5.0)
    assert evidence.clearance(5.0, 5.0).tolist() == [1.4]


def test_a_way_is_blocked_where_the_robot_does_not_fit() -> None:
    config = replace(CONFIG, radius=0.365, margin=0.02)
    evidence = navsim._Evidence(empty(40, 40, 0.25), config)
    evidence.evidence[20, 24] = 3
    evidence.look(5.125, 5.125)
    # 0.375 m from the face is enough for 0.365 and half the margin of 0.02.
    assert not evidence.blocks([(5.625, 5.125)], 5.125, 5.125)
    assert evidence.blocks([(5.627, 5.125)], 5.125, 5.125)
    assert evidence.blocks([(5.125, 5.125), (5.875, 5.125)], 5.125, 5.125)
    # What lies beyond the window is not asked for; a way that is all beyond it is no way.
    assert not evidence.blocks([(5.125, 5.125), (5.125, 6.5)], 5.125, 5.125)
    assert evidence.blocks([(6.5, 5.125)], 5.125, 5.125)
    assert evidence.blocks([], 5.125, 5.125)


# --- the controller


def test_what_the_controller_tries() -> None:
    controller = navsim._Controller(SimConfig())
    assert sorted({*np.round(controller.v / 0.46, 6)}) == [0.0, 0.15, 0.35, 0.65, 1.0]
    turns = sorted({*np.round(controller.w, 6)})
    assert turns == pytest.approx([1.9 * k / 8 for k in range(-8, 9)], abs=1e-6)
    assert len(controller.v) == 5 * 17
    straight = (controller.w == 0) & (controller.v == 0.46)
    n = controller.ahead.shape[1]
    assert n == 5
    assert controller.ahead[straight][0] == pytest.approx(0.46 * 1.2 * np.arange(1, 6) / 5)
    assert not controller.aside[straight].any()
    # A turn on the spot goes nowhere, and ends as far round as its speed says.
    spot = controller.v == 0
    assert not controller.ahead[spot].any()
    assert not controller.aside[spot].any()
    assert controller.end_cos == pytest.approx(np.cos(1.2 * controller.w), abs=1e-9)
    assert controller.end_sin == pytest.approx(np.sin(1.2 * controller.w), abs=1e-9)
    # An arc of the largest speeds, by its centre.
    (arc,) = np.nonzero((controller.v == 0.46) & (controller.w == 1.9))[0]
    centre = 0.46 / 1.9
    gap = np.hypot(controller.ahead[arc], controller.aside[arc] - centre)
    assert gap == pytest.approx(np.full(n, centre))
    assert (controller.aside[arc] > 0).all()


def test_arcs_have_nine_decimals() -> None:
    controller = navsim._Controller(SimConfig())
    for one in (controller.ahead, controller.aside, controller.end_cos, controller.end_sin):
        assert (np.round(one, 9) == one).all()
        assert (np.round(one, 8) != one).any()


@pytest.mark.parametrize(("horizon", "n"), [(0.1, 2), (0.5, 2), (0.7, 3), (1.0, 5)])
def test_a_command_is_looked_at_five_times_a_second(horizon, n) -> None:
    assert navsim._Controller(SimConfig(horizon=horizon)).ahead.shape == (85, n)


def chosen(carrot, room=1.4, pose=(5.0, 5.0, 0.0), spoil=(), **more):
    config = SimConfig(**more)
    evidence = navsim._Evidence(empty(200, 200, 0.05), config)
    for x, y in spoil:
        row, column, _ = evidence.grid.index(x, y)
        evidence.evidence[row, column] = 3
    evidence.look(pose[0], pose[1])
    return navsim._Controller(config).choose(pose, carrot, room, evidence)


def test_what_the_controller_chooses() -> None:
    assert chosen((5.6, 5.0)) == (0.46, 0.0)
    assert chosen((5.0, 5.6), pose=(5.0, 5.0, math.pi / 2)) == (0.46, 0.0)
    # What lies behind is turned to first, and to the side that it lies on.
    v, w = chosen((4.4, 5.05))
    assert v == 0
    assert w > 0
    assert chosen((4.4, 4.95))[1] < 0
    # Into what was seen it does not go straight at full speed.
    wall = [(5.45, y) for y in np.arange(4.0, 6.0, 0.05) + 0.01]
    assert chosen((5.6, 5.0), spoil=wall)[0] < 0.46
    # The hull must fit; where it already stands nearer, it must come no nearer than that.
    close = [(5.2, y) for y in (4.9, 5.0, 5.1)]
    assert chosen((5.6, 5.0), spoil=close)[0] == 0
    assert chosen((5.6, 5.0), room=0.1, spoil=close) == (0.15 * 0.46, 0.0)


# --- a run


def test_helpers_of_the_drive() -> None:
    assert navsim._toward(1.0, 3.0, 0.25) == 1.25
    assert navsim._toward(1.0, -3.0, 0.25) == 0.75
    assert navsim._toward(1.0, 1.1, 0.25) == 1.1
    assert navsim._toward(0.0, 1.0, 1 / 3) == 0.333333333
    assert navsim._wrap(math.pi) == -3.141592654
    assert navsim._wrap(-math.pi) == -3.141592654
    assert navsim._wrap(0.5 + 4 * math.pi) == 0.5
    assert navsim._wrap(-3.5) == round(2 * math.pi - 3.5, 9)
    assert navsim._near((0.0, 0.0), (3.0, 4.0), 5.001)
    assert not navsim._near((0.0, 0.0), (3.0, 4.0), 5.0)
    assert not navsim._near((1.0, 0.0), (-1.0, 0.0), 1.5)
    assert not navsim._near((0.0, 1.0), (0.0, -1.0), 1.5)


PLAIN = Scenario("plain", "room.yaml", Pose(1.0, 1.0), (Pose(1.1, 1.0),))


def test_a_hull_may_touch_a_box() -> None:
    beside = replace(PLAIN, boxes=(Box(1.5, 1.0),))
    just = navsim.simulate(walled(), beside, 0, SimConfig(radius=0.25))
    assert just.outcome == "success"
    assert just.metrics["min_clearance_m"] == 0
    over = navsim.simulate(walled(), beside, 0, SimConfig(radius=0.2501))
    assert (over.outcome, over.reason) == ("collision", "the hull overlaps at x=1.00, y=1.00")
    assert over.metrics["min_clearance_m"] == -0.0001


@pytest.mark.parametrize(("seed", "std", "drop"), [(0, 1_000.0, 0.0), (5, 0.1, 0.5)])
def test_a_noisy_scan_by_its_stream(seed, std, drop) -> None:
    """Noise of nine decimals for each beam, then the lot that loses it; cut to the range."""
    grid = walled()
    one = replace(PLAIN, noise_std=std, drop_rate=drop)
    run = navsim.simulate(grid, one, seed)
    stream = int(replace(one, map_digest=grid.digest).plane_digest[:16], 16)
    rng = np.random.default_rng([seed, stream])
    noise, lots = np.round(rng.standard_normal(180), 9), rng.random(180)
    exact = lidar.cast(grid, (1.0, 1.0, 0.0))
    expected = np.minimum(np.maximum(exact + std * noise, 0), 12).astype(np.float32)
    expected[lots < drop] = np.inf
    assert run.scans.tolist() == [expected.tolist()]
    assert run.scan_t.tolist() == [0.0]


def test_a_run_that_is_over_at_once() -> None:
    run = navsim.simulate(walled(), PLAIN, 0)
    assert run.metrics == {
        "path_length_m": 0.0, "duration_s": 0.0, "min_clearance_m": 0.7,
        "goal_error_m": 0.1, "replans": 0.0, "goals_reached": 1.0,
    }  # fmt: skip
    assert run.events[0][:2] == (0.0, "plan")
    assert run.events[1:] == (
        (0.0, "goal", "goal 1 reached"),
        (0.0, "success", "all goals reached"),
    )
    assert run.pose.tolist() == [[1.0, 1.0, 0.0]]
    assert run.command.tolist() == [[0.0, 0.0]]


def test_without_a_way_the_robot_turns_and_asks_again_at_every_step() -> None:
    """A period below a step is a step."""
    boxes = tuple(
        Box(1.0 + dx, 1.0 + dy, 0.0, 0.1, 0.1) for dx in (-0.3, 0.3) for dy in (-0.3, 0.3)
    )
    boxes += (Box(1.35, 1.0, 0.0, 0.6, 0.05), Box(0.65, 1.0, 0.0, 0.6, 0.05))
    boxes += (Box(1.0, 1.35, 0.0, 0.05, 0.6), Box(1.0, 0.65, 0.0, 0.05, 0.6))
    one = replace(PLAIN, goals=(Pose(1.6, 1.0),), boxes=boxes)
    config = SimConfig(replan_s=0.01, timeout_s=2.0, slip_std=0.0)
    run = navsim.simulate(walled(), one, 0, config)
    assert (run.outcome, run.reason) == ("timeout", "2 s are over")
    assert run.t.tolist() == [round(0.1 * k, 6) for k in range(21)]
    asked = [t for t, kind, _ in run.events if kind == "replan"]
    assert asked == run.t[1:].tolist()[: len(asked)]
    assert run.metrics["replans"] == len(asked) >= 19
    assert run.command[:5, 1].tolist() == [0.0, 0.6, 0.95, 0.95, 0.95]
    assert run.command[-2].tolist() == [0.0, 0.95]
    # Half the largest turn, a tenth of a second long each.
    assert run.pose[-1, 2] - run.pose[-2, 2] == pytest.approx(0.095)


def test_times_have_six_decimals() -> None:
    one = replace(PLAIN, goals=(Pose(1.7, 1.0),))
    run = navsim.simulate(walled(), one, 0, SimConfig(dt=1 / 30, timeout_s=0.2))
    assert run.t.tolist() == [0.0, 0.033333, 0.066667, 0.1, 0.133333, 0.166667, 0.2]
    # A scan at every second step, of which every second is kept.
    assert run.scan_t.tolist() == [0.0, 0.133333]
    often = SimConfig(dt=1 / 30, timeout_s=0.2, scan_every=1, record_every=3)
    assert navsim.simulate(walled(), one, 0, often).scan_t.tolist() == [0.0, 0.1, 0.2]
    # Speeds grow by no more than the wheels can.
    assert run.command[:3, 0].tolist() == [0.03, 0.06, 0.09]


def test_a_robot_that_stays_is_stuck_at_that_time() -> None:
    """Its anchor is where it began, and the time is counted from there."""
    boxes = (Box(1.3, 1.0, 0.0, 1.9, 0.05), Box(0.7, 1.0, 0.0, 1.9, 0.05))
    one = replace(PLAIN, goals=(Pose(1.7, 1.0),), boxes=boxes)
    run = navsim.simulate(walled(), one, 0, SimConfig(stuck_s=1.0, stuck_m=2.5))
    assert (run.outcome, run.t[-1]) == ("stuck", 1.0)
    assert run.reason == "no 2.5 m in 1 s"


# --- the lidar


def ranges(at, to, *boxes):
    return lidar.box_ranges(at, np.array(to, float).T, boxes).tolist()


def test_rays_that_touch_a_box() -> None:
    box = Box(1.5, 0.5, 0.0, 1.0, 1.0)
    # Straight, along a diagonal that meets one corner, away, and from a face outward.
    assert ranges((0.0, 0.5), [(1, 0), (-1, 0)], box) == [1.0, math.inf]
    assert ranges((0.0, 0.0), [(1, 1), (1, -1)], box) == [1.0, math.inf]
    assert ranges((0.0, 2.0), [(1, -1), (1, -0.9)], box) == [1.0, pytest.approx(1 / 0.9)]
    assert ranges((2.0, 0.5), [(1, 0), (-1, 0)], box) == [0.0, 0.0]
    assert ranges((1.5, 0.5), [(1, 0)], box) == [0.0]
    assert ranges((1.5, -1.0), [(0, 1), (0, -1)], box) == [1.0, math.inf]
    assert ranges((0.0, 0.5), [(1, 0)], Box(4, 0.5), box) == [1.0]
    assert ranges((0.0, 0.5), [(1, 0), (0, 1)]) == [math.inf, math.inf]


def test_directions_of_beams() -> None:
    found = lidar.body(4)
    assert found.tolist() == [[-1, 0, 1, 0], [0, -1, 0, 1]]
    assert lidar.body(1).tolist() == [[-1.0], [0.0]]
    assert lidar.unit(math.pi / 3) == (0.5, 0.866025404)
    assert lidar.body(3)[:, 1].tolist() == [0.5, -0.866025404]


def test_a_beam_ends_on_the_face_and_never_beyond_the_range() -> None:
    cells = np.zeros((5, 9), np.int8)
    cells[:, 6] = 1
    grid = Grid(cells, 0.5, (-1.0, 1.0))
    at = (-0.25, 2.25, 0.0)
    assert lidar.cast(grid, at, 4, 9.0).tolist() == [9.0, 9.0, 2.25, 9.0]
    assert lidar.cast(grid, at, 4, 2.25).tolist() == [2.25] * 4
    assert lidar.cast(grid, at, 4, 2.2).max() <= np.float32(2.2)
    assert lidar.cast(grid, (-0.25, 2.25, math.pi / 2), 4, 9.0).tolist() == [9.0, 2.25, 9.0, 9.0]
    # Unknown cells stop nothing, and from inside a wall all is near.
    fog = Grid(-cells, 0.5, (-1.0, 1.0))
    assert lidar.cast(fog, at, 4, 9.0).tolist() == [9.0] * 4
    assert lidar.cast(grid, (2.25, 2.25, 0.0), 2, 9.0).tolist() == [0.0, 0.0]
    assert fog.at(2.25, 2.25) != FREE


@pytest.mark.parametrize("largest", [1.0, 62.0, 63.0, 64.0, 65.0, 127.0, 128.0, 129.0])
def test_a_range_of_any_length_is_looked_along(largest) -> None:
    """Also where the last lines that are looked at together are one alone."""
    cells = np.zeros((5, 140), np.int8)
    grid = Grid(cells, 1.0, (0.0, 0.0))
    assert lidar.cast(grid, (2.5, 2.5, 0.1), 8, largest).tolist() == [largest] * 8
    cells[:, -1] = 1
    far = lidar.cast(Grid(cells, 1.0, (0.0, 0.0)), (139 - largest, 2.5, 0.0), 4, largest + 1)
    assert far[2] == largest


def test_distance_of_many_points_from_a_box() -> None:
    box = Box(0.0, 0.0, 0.0, 1.0, 2.0)
    x, y = np.array([0.0, 2.0, 0.0, 4.0]), np.array([0.0, 0.0, 1.5, 4.5])
    assert lidar.box_distance(x, y, [box]).tolist() == [0.0, 1.0, 1.0, 5.0]
    assert isinstance(lidar.box_distance(2.0, 0.0, [box]), float)
    assert lidar.box_distance(1.0, 0.5, [box]) == 0
