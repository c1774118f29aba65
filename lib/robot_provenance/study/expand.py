"""Concrete scenarios from the authors' logical ones, where these ask for random paths.

The parameters (path length, tolerance, number, seeds, boxes, noise) are the authors'; the draws are
ours, for which points their generator drew is not part of the file. So the result has the design of
their data set and is not their data set.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph

from lib.robot_provenance import navsim
from lib.robot_provenance.campaign import Box, CampaignError, LogicalScenario, Pose, Scenario, sides
from lib.robot_provenance.maps import Grid

__all__ = ["expand", "random_paths"]

Path = tuple[tuple[float, float], ...]
TRIES = 400
"""Starts, or places for a box, that are drawn before giving up."""


def random_paths(
    grid: Grid, count: int, length: float, tolerance: float, diameter: float, seed: int
) -> list[Path]:
    """Draw shortest paths of about one length between random places.

    Parameters
    ----------
    grid : Grid
    count : int
        How many.
    length, tolerance : float
        In m; a path's length on the eight-connected grid lies within the tolerance.
    diameter : float
        Of the robot, m: its disc fits all along the path.
    seed : int

    Returns
    -------
    list of tuple of (float, float)
        Points in m, from start to goal, a cell apart.

    Raises
    ------
    CampaignError
        If the map has too few such paths.
    """
    planner = navsim.planner(grid, diameter / 2, diameter / 2)
    n = len(planner.row)
    if n == 0:
        raise CampaignError(f"{grid.source}: no place for a robot of {diameter} m")
    graph = sp.csr_array((2 * planner.half_length, planner.head, planner.pointer), shape=(n, n))
    rng = np.random.default_rng([seed, round(1000 * length)])
    paths: list[Path] = []
    for _ in range(TRIES):
        start = int(rng.integers(n))
        away, before = csgraph.dijkstra(
            graph, indices=start, return_predecessors=True, limit=length + tolerance
        )
        ends = np.flatnonzero(np.isfinite(away) & (away >= length - tolerance))
        if ends.size == 0:
            continue
        at, points = int(rng.choice(ends)), []
        while at >= 0:
            points.append(planner.point(at))
            at = int(before[at])
        paths.append(tuple(reversed(points)))
        if len(paths) == count:
            return paths
    raise CampaignError(
        f"{grid.source}: {len(paths)} of {count} paths of {length} m in {TRIES} tries"
    )


def _boxes(
    path: Path, count: int, reach: float, width: float, length: float, diameter: float, seed: int
) -> tuple[Box, ...]:
    """Draw boxes within `reach` of a path, off its ends by more than the robot's radius."""
    rng = np.random.default_rng([seed, count, len(path)])
    off = diameter / 2 + math.hypot(width, length) / 2
    boxes: list[Box] = []
    for _ in range(TRIES * max(count, 1)):
        if len(boxes) == count:
            return tuple(boxes)
        x, y = path[int(rng.integers(len(path)))]
        # Uniform on the disc without trigonometry, so that processors agree.
        dx, dy = rng.uniform(-reach, reach, 2).tolist()
        x, y = round(x + dx, 6), round(y + dy, 6)
        if dx * dx + dy * dy > reach * reach:
            continue
        if all((x - ex) ** 2 + (y - ey) ** 2 > off * off for ex, ey in (path[0], path[-1])):
            boxes.append(Box(x, y, 0.0, width, length))
    raise CampaignError(f"{len(boxes)} of {count} boxes fit beside a path of {len(path)} points")


def expand(logical: LogicalScenario, grid: Grid) -> list[Scenario]:
    """Return the concrete scenarios of a logical one that asks for random paths.

    Parameters
    ----------
    logical : LogicalScenario
        With the variations PathVariationRandom, ObstacleVariation and ParameterVariationList (of
        the lidar's noise).
    grid : Grid
        Its environment.

    Returns
    -------
    list of Scenario
        `logical.n_concrete` of them, resolved; names end in path, boxes and noise by number.

    Raises
    ------
    CampaignError
        If it asks for other variations, or its paths or boxes do not fit on the map.
    """
    given = dict(logical.variations)
    expected = {"PathVariationRandom", "ObstacleVariation", "ParameterVariationList"}
    if set(given) != expected or len(logical.variations) != len(expected):
        raise CampaignError(f"{logical.name}: varies by {sorted(given)}, expected {expected}")
    asked, noise = given["PathVariationRandom"], given["ParameterVariationList"]
    if noise["name"] != "laserscan_gaussian_noise_std_deviation":
        raise CampaignError(f"{logical.name}: varies {noise['name']!r}, expected the lidar's noise")
    diameter = float(asked["robot_diameter"])
    paths = random_paths(
        grid,
        int(asked["num_paths"]),
        float(asked["path_length"]),
        float(asked["path_length_tolerance"]),
        diameter,
        int(asked["seed"]),
    )
    seed = int(given["ObstacleVariation"]["seed"])
    found = []
    for i, path in enumerate(paths, 1):
        for j, config in enumerate(given["ObstacleVariation"]["obstacle_configs"], 1):
            width, length = sides(config["xacro_arguments"])
            reach = float(config["max_distance"])
            boxes = _boxes(path, int(config["amount"]), reach, width, length, diameter, seed + i)
            for k, std in enumerate(noise["values"], 1):
                found.append(
                    Scenario(
                        f"{logical.name}-{i}-{j}-{k}",
                        logical.map_file,
                        Pose(*path[0]),
                        (Pose(*path[-1]),),
                        boxes,
                        float(std),
                        map_digest=grid.digest,
                    )
                )
    return found
