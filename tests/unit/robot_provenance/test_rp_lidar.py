"""The lidar against exact geometry, symmetries and ir-sim."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rp_grids import floor_plan

from lib.robot_provenance.campaign import Box
from lib.robot_provenance.maps import FREE, OCCUPIED, Grid
from lib.robot_provenance.study import lidar

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import irsim_peer


def scans(grid, where, *more):
    return np.array([lidar.cast(grid, tuple(map(float, one)), *more) for one in where])


def angles(n):
    return np.arctan2(*lidar.body(n)[::-1])


seeds = st.integers(0, 2**32 - 1)


def room(height=60, width=80, res=0.05, seed=None, blocks=6):
    """A walled room; with a seed, blocks of cells stand in it."""
    cells = np.zeros((height, width), np.int8)
    cells[:2], cells[-2:], cells[:, :2], cells[:, -2:] = 1, 1, 1, 1
    rng = np.random.default_rng(seed)
    for _ in range(blocks if seed is not None else 0):
        r, c = rng.integers(2, height - 8), rng.integers(2, width - 8)
        cells[r : r + rng.integers(1, 7), c : c + rng.integers(1, 7)] = 1
    return Grid(cells, res, (-1.0, 0.5))


def poses(grid, seed, n=5):
    rng = np.random.default_rng(seed)
    size = np.array(grid.size_m)
    xy = rng.uniform(0, 1, (200, 2)) * size + grid.origin
    xy = xy[grid.at(xy[:, 0], xy[:, 1]) == FREE][:n]
    return np.column_stack([xy, rng.uniform(-math.pi, math.pi, len(xy))])


def test_an_empty_room_is_its_exact_rectangle():
    grid = room()
    where = poses(grid, 1, 20)
    found = scans(grid, where, 90, 12.0)
    x0, y0, x1, y1 = -0.9, 0.6, -1 + 78 * 0.05, 0.5 + 58 * 0.05
    angle = where[:, 2:] + angles(90)
    dx, dy = np.cos(angle), np.sin(angle)
    to_x = np.where(dx > 0, x1 - where[:, :1], x0 - where[:, :1]) / dx
    to_y = np.where(dy > 0, y1 - where[:, 1:2], y0 - where[:, 1:2]) / dy
    assert np.abs(found - np.minimum(to_x, to_y)).max() < 1e-5


@given(seeds)
@settings(max_examples=15)
def test_no_ray_jumps_a_wall_or_stops_before_one(seed):
    """Walk every beam in steps of a fiftieth of a cell, the slow way."""
    grid = room(40, 40, seed=seed)
    for pose, ranges in zip(p := poses(grid, seed, 2), scans(grid, p, 24, 5.0), strict=True):
        t = np.arange(0, 5.0, 0.001)
        angle = (pose[2] + angles(24))[:, None]
        met = grid.at(pose[0] + t * np.cos(angle), pose[1] + t * np.sin(angle)) == OCCUPIED
        slow = np.where(met.any(axis=1), t[met.argmax(axis=1)], 5.0)
        # A corner that is cut by less than a step is found by the exact cast alone.
        assert (ranges <= slow + 1e-5).all()
        assert np.mean(slow - ranges < 0.002) > 0.9
        hit = ranges < 5.0
        inside = pose[:2, None] + (ranges + 1e-4) * np.array([np.cos(angle), np.sin(angle)])[..., 0]
        assert np.mean(grid.at(*inside)[hit] == OCCUPIED) > 0.9


@given(seeds, st.floats(0.1, 20))
@settings(max_examples=25)
def test_ranges_are_within_zero_and_the_largest(seed, largest):
    grid = room(30, 30, seed=seed)
    found = scans(grid, poses(grid, seed), 16, largest, [Box(0, 1.2, 0.4)])
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= np.float32(largest)
    # A shorter reach only cuts off.
    half = scans(grid, poses(grid, seed), 16, largest / 2, [Box(0, 1.2, 0.4)])
    assert np.allclose(np.minimum(found, largest / 2), half, atol=1e-5)


@given(seeds)
@settings(max_examples=15)
def test_a_mirrored_and_a_turned_map_mirror_and_turn_the_scan(seed):
    grid = room(36, 50, seed=seed)
    where = poses(grid, seed)
    plain = scans(grid, where, 40, 6.0)
    top = 2 * grid.origin[1] + grid.size_m[1]
    flipped = Grid(grid.cells[::-1], grid.resolution, grid.origin)
    found = scans(flipped, where * [1, -1, -1] + [0, top, 0], 40, 6.0)
    # Beam k at angle a becomes the one at -a: -pi is its own mirror image.
    assert np.allclose(found, np.roll(plain[:, ::-1], 1, axis=1), atol=2e-5)
    # A quarter turn to the left about the lower-left corner: (x, y) goes to (-y, x).
    turned = Grid(grid.cells.T[:, ::-1], grid.resolution, (-grid.size_m[1], 0.0))
    local = where - [*grid.origin, 0]
    there = np.column_stack([-local[:, 1], local[:, 0], local[:, 2]])
    found = scans(turned, there, 40, 6.0)
    assert np.allclose(found, np.roll(plain, 10, axis=1), atol=2e-5)


@given(seeds)
@settings(max_examples=20)
def test_boxes_are_met_as_if_drawn(seed):
    """A box along the axes and on cell faces is the same in the map as beside it."""
    grid = room()
    rng = np.random.default_rng(seed)
    row, column = int(rng.integers(10, 45)), int(rng.integers(10, 60))
    cells = grid.cells.copy()
    cells[row : row + 6, column : column + 10] = OCCUPIED
    drawn = Grid(cells, grid.resolution, grid.origin)
    x = grid.origin[0] + (column + 5) * grid.resolution
    y = grid.origin[1] + (row + 3) * grid.resolution
    where = poses(drawn, seed)
    beside = scans(grid, where, 60, 6.0, [Box(x, y, 0.0, width=0.3, length=0.5)])
    turned = scans(grid, where, 60, 6.0, [Box(x, y, math.pi / 2, width=0.5, length=0.3)])
    assert np.allclose(scans(drawn, where, 60, 6.0), beside, atol=2e-5)
    assert np.allclose(beside, turned, atol=2e-5)


def test_distance_to_turned_boxes():
    box = Box(1.0, 0.0, math.pi / 4, width=1.0, length=1.0)
    assert lidar.box_distance(0.0, 0.0, [box]) == pytest.approx(1 - math.sqrt(0.5))
    assert lidar.box_distance(1.0, 0.1, [box]) == 0
    assert lidar.box_distance(0.0, 0.0, []) == math.inf
    assert lidar.cast(room(), (0, 2, 0), 4, 3.0, [Box(0, 2)]).tolist() == [0, 0, 0, 0]


def test_length_lies_along_the_boxes_own_x_and_width_along_its_y():
    long = Box(0.0, 0.0, 0.0, width=1.0, length=4.0)
    assert lidar.box_distance(3.0, 0.0, [long]) == 1.0
    assert lidar.box_distance(0.0, 3.0, [long]) == 2.5
    turned = Box(0.0, 0.0, math.pi / 2, width=1.0, length=4.0)
    assert lidar.box_distance(3.0, 0.0, [turned]) == pytest.approx(2.5, abs=1e-8)
    assert lidar.box_distance(0.0, 3.0, [turned]) == pytest.approx(1.0, abs=1e-8)
    assert lidar.box_distance(5.0, 3.5, [long]) == pytest.approx(math.sqrt(18))
    assert lidar.box_distance(5.0, 0.0, [long, Box(5.5, 0.0)]) == 0.25


@pytest.mark.parametrize(
    "box",
    [
        Box(0.5, 1, width=0.0),
        Box(0.5, 1, length=0.0),
        Box(0.5, 1, width=-0.5),
        Box(math.nan, 1),
        Box(0.5, 1, yaw=90.0),
        Box(0.5, 1, yaw=-180.0),
    ],
)
def test_what_is_no_box_is_refused(box):
    with pytest.raises(ValueError, match="box 2"):
        lidar.cast(room(), (1.0, 1.0, 0.0), 4, 3.0, [Box(0.5, 0.5), box])


def test_ir_sim_agrees_within_a_cell():
    grid = floor_plan(3)
    gap = irsim_peer.largest_gap(grid, poses(grid, 2, 12), 91)
    assert gap < 1e-4 < grid.resolution


def test_a_ray_that_leaves_the_map_meets_nothing():
    cells = np.zeros((10, 10), np.int8)
    cells[:, 5] = OCCUPIED
    grid = Grid(cells, 1.0, (0, 0))
    assert lidar.cast(grid, (2.5, 4.5, math.pi), 4, 20.0).tolist() == [2.5, 20, 20, 20]
    assert lidar.cast(grid, (5.5, 5.5, 0.0), 4, 20.0).tolist() == [0] * 4
    assert lidar.cast(Grid(np.zeros((3, 3)), 1.0, (0, 0)), (1.5, 1.5, 0.3), 8, 99.0).min() == 99


@pytest.mark.parametrize("n", [1, 2, 3, 32, 64, 65])
def test_a_wall_is_found_at_any_number_of_lines(n):
    cells = np.zeros((3, 140), np.int8)
    cells[:, n + 1] = OCCUPIED
    grid = Grid(cells, 0.5, (0, 0))
    found = lidar.cast(grid, (0.75, 0.75, 0.0), 4, 60.0)
    assert found.tolist() == [60, 60, n / 2 - 0.25, 60]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((-3.0, 2.0, 0.0),), "inside the map"),
        (((0.0, math.nan, 0.0),), "expected finite"),
        (((0.0, 2.0, 0.0), 0), "n_beams is 0"),
        (((0.0, 2.0, 0.0), 4, math.inf), "max_range inf"),
        (((0.0, 2.0, 0.0), 4, 0), "max_range 0"),
    ],
)
def test_bad_calls_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        lidar.cast(room(), *arguments)
