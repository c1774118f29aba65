"""Concrete scenarios of the combined data set's design: counted, in reach, reproducible."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lib.robot_provenance import lidar
from lib.robot_provenance.campaign import CampaignError, LogicalScenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.study import expand, floorplans

GRID = floorplans.generate(1)
VARIATIONS = (
    (
        "PathVariationRandom",
        {
            "map_file": "rooms.yaml",
            "path_length": 5.0,
            "path_length_tolerance": 1.0,
            "num_paths": 4,
            "robot_diameter": 0.35,
            "seed": 42,
        },
    ),
    (
        "ObstacleVariation",
        {
            "obstacle_configs": [
                {
                    "amount": 3,
                    "max_distance": 1.0,
                    "xacro_arguments": "width:=0.5, length:=0.4, height:=1.0",
                }
            ],
            "seed": 89,
        },
    ),
    (
        "ParameterVariationList",
        {"name": "laserscan_gaussian_noise_std_deviation", "values": [0.0, 0.1]},
    ),
)
LOGICAL = LogicalScenario("rooms5m3o", "s.osc", "rooms", "rooms.yaml", VARIATIONS)


def test_what_comes_out_is_what_was_asked_for():
    found = expand.expand(LOGICAL, GRID)
    assert len(found) == LOGICAL.n_concrete == 8
    assert len({s.name for s in found}) == len({s.digest for s in found}) == 8
    assert [s.digest for s in expand.expand(LOGICAL, GRID)] == [s.digest for s in found]
    for quiet, noisy in zip(found[::2], found[1::2], strict=True):
        assert (quiet.noise_std, noisy.noise_std) == (0.0, 0.1)
        assert (quiet.start, quiet.goals, quiet.boxes) == (noisy.start, noisy.goals, noisy.boxes)
        assert [(b.width, b.length) for b in quiet.boxes] == [(0.5, 0.4)] * 3
        for end in (quiet.start, quiet.goals[0]):
            assert lidar.box_distance(end.x, end.y, quiet.boxes) > 0.175


def test_paths_have_their_length_and_room_for_the_robot():
    for path in expand.random_paths(GRID, 6, 8.0, 0.5, 0.35, 1):
        points = np.array(path)
        assert 7.5 <= np.hypot(*np.diff(points, axis=0).T).sum() <= 8.5
        rows, columns, _ = GRID.index(points[:, 0], points[:, 1])
        assert (GRID.distance()[rows, columns] >= 0.2).all()


def test_boxes_lie_beside_the_path():
    (path,) = expand.random_paths(GRID, 1, 8.0, 0.5, 0.35, 1)
    for box in expand._boxes(path, 12, 1.0, 0.5, 0.5, 0.35, 3):
        assert min(math.hypot(box.x - x, box.y - y) for x, y in path) <= 1.0 + 1e-6


def test_what_cannot_be_had_is_refused():
    with pytest.raises(CampaignError, match=r"0 of 2 paths of 500"):
        expand.random_paths(GRID, 2, 500.0, 1.0, 0.35, 1)
    with pytest.raises(CampaignError, match="no place for a robot"):
        expand.random_paths(Grid(np.ones((9, 9)), 0.05, (0, 0)), 1, 1.0, 1.0, 0.35, 1)
    raster = replace(LOGICAL, variations=(("PathVariationRasterized", {}), *VARIATIONS[1:]))
    with pytest.raises(CampaignError, match="rooms5m3o: varies by"):
        expand.expand(raster, GRID)
    (path,) = expand.random_paths(GRID, 1, 1.0, 0.5, 0.35, 1)
    with pytest.raises(CampaignError, match="0 of 1 boxes"):
        expand._boxes(path, 1, 0.01, 9.0, 9.0, 0.35, 3)
