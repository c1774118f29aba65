"""Generated floor plans and the embedded campaign on them: it needs no data, and it is simulated.

A plan is a corridor with rooms on both sides, one door each. The campaign is built so that every
outcome of the simulator occurs: doors that the robot fits through and doors that it does not, boxes
in the way, noise, a blind lidar, a tour that is too long, and faulty scenarios.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.robot_provenance.campaign import Box, Pose, Scenario
from lib.robot_provenance.maps import FREE, OCCUPIED, UNKNOWN, Grid

__all__ = ["FloorPlan", "Room", "default_campaign", "generate", "plan"]

RESOLUTION = 0.05
WALL = 2
"""Thickness in cells."""


@dataclass(frozen=True)
class Room:
    """One room: its rectangle and its door, in metres.

    Attributes
    ----------
    x0, y0, x1, y1 : float
        Inner walls.
    door_x, door_y : float
        Middle of the door, in the corridor's wall.
    door_width : float
    """

    x0: float
    y0: float
    x1: float
    y1: float
    door_x: float
    door_y: float
    door_width: float

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the room in m."""
        return round((self.x0 + self.x1) / 2, 6), round((self.y0 + self.y1) / 2, 6)


@dataclass(frozen=True)
class FloorPlan:
    """A grid with what was drawn in it.

    Attributes
    ----------
    grid : Grid
    rooms : tuple of Room
        South side from west to east, then north side.
    corridor : tuple of float
        x0, y0, x1, y1 in m.
    """

    grid: Grid
    rooms: tuple[Room, ...]
    corridor: tuple[float, float, float, float]


def plan(
    seed: int,
    door_widths: Sequence[float] = (0.8, 0.9, 1.0),
    n_rooms: int = 3,
    corridor: float = 1.6,
) -> FloorPlan:
    """Draw a floor plan.

    Parameters
    ----------
    seed : int
        Of room sizes, the doors' places and widths.
    door_widths : sequence of float
        Each door takes one of these, in m; rounded to whole cells of 0.05 m.
    n_rooms : int
        On each side, 1 to 20.
    corridor : float
        Its width in m, at least 0.5.

    Returns
    -------
    FloorPlan
        Outside the building is unknown.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> drawn = plan(1)
    >>> len(drawn.rooms), drawn.grid.digest == plan(1).grid.digest
    (6, True)
    """
    widths = np.asarray(door_widths, float)
    if (
        widths.size == 0
        or not np.isfinite(widths).all()
        or widths.min() < 0.1
        or widths.max() > 1.5
    ):
        raise ValueError(f"door_widths are {list(door_widths)}, expected 0.1 to 1.5 m")
    if not 1 <= n_rooms <= 20:
        raise ValueError(f"n_rooms is {n_rooms}, expected 1 to 20")
    if not 0.5 <= corridor <= 10:
        raise ValueError(f"corridor is {corridor}, expected 0.5 to 10 m")
    rng = np.random.default_rng([seed, 7])
    room_width = _cells(rng.uniform(3.0, 3.8))
    depths = [_cells(rng.uniform(2.6, 3.4)) for _ in range(2)]
    hall = _cells(corridor)
    inner = n_rooms * room_width + (n_rooms - 1) * WALL
    edge = WALL + 3
    low = edge + depths[0] + WALL  # first row of the corridor
    height = low + hall + WALL + depths[1] + edge
    width = inner + 2 * edge
    cells = np.full((height, width), UNKNOWN, np.int8)
    cells[3:-3, 3:-3] = OCCUPIED
    cells[low : low + hall, edge : edge + inner] = FREE
    rooms = []
    for bottom, depth, wall in (
        (edge, depths[0], low - WALL),
        (low + hall + WALL, depths[1], low + hall),
    ):
        for i in range(n_rooms):
            left = edge + i * (room_width + WALL)
            cells[bottom : bottom + depth, left : left + room_width] = FREE
            wide = _cells(rng.choice(widths))
            door = left + int(rng.integers(6, room_width - wide - 5))
            cells[wall : wall + WALL, door : door + wide] = FREE
            # Walls, then the middle of the door, then its width; in cells until here.
            drawn: tuple[float, ...] = (left, bottom, left + room_width, bottom + depth)
            drawn += (door + wide / 2, wall + WALL / 2, wide)
            rooms.append(Room(*(round(v * RESOLUTION, 9) for v in drawn)))
    grid = Grid(cells, RESOLUTION, (0.0, 0.0), source=f"floor plan {seed}")
    rectangle = (edge, low, edge + inner, low + hall)
    x0, y0, x1, y1 = (round(v * RESOLUTION, 9) for v in rectangle)
    return FloorPlan(grid, tuple(rooms), (x0, y0, x1, y1))


def _cells(metres: float) -> int:
    return round(float(metres) / RESOLUTION)


def generate(
    seed: int,
    door_widths: Sequence[float] = (0.8, 0.9, 1.0),
    n_rooms: int = 3,
    corridor: float = 1.6,
) -> Grid:
    """Return the grid of `plan`; arguments as there."""
    return plan(seed, door_widths, n_rooms, corridor).grid


def default_campaign() -> tuple[dict[str, Grid], list[Scenario]]:
    """Return the embedded campaign: four generated plans and 24 scenarios on them.

    Returns
    -------
    grids : dict of str to Grid
        By `Scenario.map_file`.
    scenarios : list of Scenario
        Resolved (`map_digest` is set), in fixed order. The last four are faulty on purpose.

    Examples
    --------
    >>> grids, scenarios = default_campaign()
    >>> len(grids), len(scenarios)
    (4, 24)
    """
    plans = {
        "maps/wide.yaml": plan(1, (0.9, 1.0)),
        "maps/middle.yaml": plan(2, (0.6, 0.7)),
        "maps/narrow.yaml": plan(3, (0.45, 0.5)),
        "maps/closed.yaml": plan(4, (0.25, 0.3)),
    }
    grids = {name: drawn.grid for name, drawn in plans.items()}
    scenarios: list[Scenario] = []

    def add(
        name: str,
        where: str,
        stops: Sequence[tuple[float, float]],
        boxes: Sequence[Box] = (),
        noise: float = 0.0,
        drop: float = 0.0,
    ) -> None:
        file = f"maps/{where}.yaml"
        start, *goals = (Pose(round(x, 6), round(y, 6)) for x, y in stops)
        scenarios.append(
            Scenario(
                name,
                file,
                start,
                tuple(goals),
                tuple(boxes),
                noise,
                drop,
                map_digest=grids[file].digest,
            )
        )

    def rooms(where: str, *numbers: int) -> list[tuple[float, float]]:
        return [plans[f"maps/{where}.yaml"].rooms[i].centre for i in numbers]

    def hall(where: str, share: float) -> tuple[float, float]:
        x0, y0, x1, y1 = plans[f"maps/{where}.yaml"].corridor
        return round(x0 + share * (x1 - x0), 6), round((y0 + y1) / 2, 6)

    def scatter(where: str, count: int, seed: int) -> list[Box]:
        """Boxes of 0.5 m in the corridor's middle part, none at its ends, each turned at random."""
        x0, y0, x1, y1 = plans[f"maps/{where}.yaml"].corridor
        rng = np.random.default_rng([seed, 77])
        x = x0 + (x1 - x0) * (np.arange(count) + rng.uniform(0.3, 0.7, count)) / count
        y = rng.uniform(y0 + 0.25, y1 - 0.25, count)
        yaw = rng.uniform(-math.pi / 4, math.pi / 4, count)
        return [Box(*(round(float(v), 6) for v in row)) for row in zip(x, y, yaw, strict=True)]

    ends = "hall"
    for where in ("wide", "middle", "narrow", "closed"):
        add(f"{where}-{ends}", where, [hall(where, 0.06), hall(where, 0.94)])
        add(f"{where}-one-room", where, [hall(where, 0.1), *rooms(where, 4)])
        add(f"{where}-two-rooms", where, rooms(where, 0, 5, 2), noise=0.02)
    add("wide-boxes", "wide", [hall("wide", 0.03), hall("wide", 0.97)], scatter("wide", 4, 1))
    add("middle-boxes-noise", "middle", rooms("middle", 0, 5), scatter("middle", 2, 2), 0.05)
    add("narrow-noise", "narrow", rooms("narrow", 1, 3), noise=0.1)
    add("wide-noise-drop", "wide", rooms("wide", 3, 2), scatter("wide", 2, 3), 0.1, 0.3)
    x0, y0, x1, y1 = plans["maps/wide.yaml"].corridor
    across = Box((x0 + x1) / 2, (y0 + y1) / 2, 0.0, width=y1 - y0, length=0.3)
    add("wide-barred", "wide", [hall("wide", 0.06), hall("wide", 0.94)], [across])
    box = Box(*hall("middle", 0.5), yaw=0.3)
    add("middle-blind", "middle", [hall("middle", 0.06), hall("middle", 0.94)], [box], drop=1.0)
    back = [hall("wide", 0.03), hall("wide", 0.97)]
    add("wide-tour", "wide", back * 5)
    box = Box(*rooms("wide", 1)[0], width=1.2, length=1.2)
    add("wide-goal-in-box", "wide", [hall("wide", 0.06), *rooms("wide", 1)], [box])
    wall = (plans["maps/wide.yaml"].rooms[0].x0 - 0.05, hall("wide", 0.5)[1])
    add("faulty-start-in-wall", "wide", [wall, hall("wide", 0.5)])
    add("faulty-no-goals", "middle", [hall("middle", 0.5)])
    add("faulty-nan-start", "middle", [(math.nan, 1.0), hall("middle", 0.5)])
    add("faulty-goal-outside", "narrow", [hall("narrow", 0.5), (100.0, 1.0)])
    return grids, scenarios
