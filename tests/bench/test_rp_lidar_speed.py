"""Chapter 7: lidar scans per second against ir-sim on the same map, and what a run costs."""

import math
import time

import irsim_peer
import numpy as np
import pytest

from lib.robot_provenance.study import floorplans, lidar, navsim

pytestmark = pytest.mark.bench


def free_poses(grid, n):
    rng = np.random.default_rng(7)
    xy = rng.uniform(0, 1, (20 * n, 2)) * grid.size_m + grid.origin
    xy = xy[grid.at(xy[:, 0], xy[:, 1]) == 0][:n]
    return np.column_stack([xy, rng.uniform(-math.pi, math.pi, n)])


def test_scans_against_ir_sim(seconds):
    grid = floorplans.drawn(floorplans.layout(floorplans.MODELS["wide"]))
    poses, few = free_poses(grid, 1000), free_poses(grid, 1000)[:50]
    gap = irsim_peer.largest_gap(grid, few, 181)
    peer = irsim_peer.IrsimLidar(grid, 180)
    theirs = seconds(lambda: [peer.scan(p) for p in few]) / len(few)
    ours = seconds(lambda: [lidar.cast(grid, tuple(p)) for p in poses.tolist()]) / len(poses)
    print(
        f"\n180-beam scans: ir-sim {1e3 * theirs:.2f} ms, ours {1e3 * ours:.3f} ms "
        f"({theirs / ours:.0f}x); "
        f"largest difference {gap:.1e} m at {grid.resolution} m a cell"
    )
    assert gap < grid.resolution
    assert theirs / ours >= 5


def test_runs_of_the_default_campaign():
    grids, scenarios = floorplans.default_campaign()
    runs, start = [], time.process_time()
    for scenario in scenarios:
        runs.append(navsim.simulate(grids[scenario.map_file], scenario, 0))
    spent = time.process_time() - start
    driven = [r for r in runs if len(r.t)]
    steps = sum(len(r.t) for r in driven)
    simulated = sum(float(r.t[-1]) for r in driven)
    print(
        f"\n{len(driven)} runs, {simulated:.0f} simulated s: {1e3 * spent / len(driven):.0f} ms "
        f"a run, {1e3 * spent / steps:.2f} ms a step, {simulated / spent:.0f}x real time"
    )
    assert simulated / spent > 50
