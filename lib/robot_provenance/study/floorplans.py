"""Generated floor plans and the embedded campaign on them: it needs no data, and it is simulated.

A plan is a corridor with rooms on both sides, one door each. The campaign is built so that every
outcome of the simulator occurs: doors that the robot fits through and doors that it does not, boxes
in the way, noise, a blind lidar, a tour that is too long, and faulty scenarios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.robot_provenance.campaign import Box, Pose, Scenario
from lib.robot_provenance.maps import FREE, OCCUPIED, UNKNOWN, Grid

RESOLUTION = 0.05
WALL = 2
"""Thickness in cells."""

EDGE = WALL + 3
"""Cells from the edge of the grid to the first room."""

MODELS: dict[str, dict[str, Any]] = {
    name: {"seed": seed, "door_widths": widths, "n_rooms": 3, "corridor": 1.6}
    for seed, (name, widths) in enumerate(
        {
            "wide": [0.9, 1.0],
            "middle": [0.6, 0.7],
            "narrow": [0.45, 0.5],
            "closed": [0.25, 0.3],
        }.items(),
        1,
    )
}
"""The floor-plan models of the embedded campaign, widths in m."""


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
    return drawn(layout({"seed": seed, "door_widths": door_widths, "n_rooms": n_rooms,
                         "corridor": corridor}), f"floor plan {seed}")  # fmt: skip


def layout(model: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a floor-plan model into a graph: which rooms lie where, and which door leads to each.

    Parameters
    ----------
    model : mapping
        ``seed``, ``door_widths``, ``n_rooms`` and ``corridor``, as for `plan`.

    Returns
    -------
    dict
        Whole cells of ``resolution`` m: ``height``, ``width``, ``corridor`` (first and last row,
        first and last column) and ``rooms`` (``bottom``, ``depth``, ``left``, ``width``; ``wall``,
        ``door``, ``opening``: first row of its wall, first column and width of its door).

    Raises
    ------
    ValueError
        If a value is out of range.
    """
    widths = np.asarray(model["door_widths"], float)
    n_rooms, corridor = model["n_rooms"], model["corridor"]
    if (
        widths.size == 0
        or not np.isfinite(widths).all()
        or widths.min() < 0.1
        or widths.max() > 1.5
    ):
        raise ValueError(f"door_widths are {list(widths)}, expected 0.1 to 1.5 m")
    if not 1 <= n_rooms <= 20:
        raise ValueError(f"n_rooms is {n_rooms}, expected 1 to 20")
    if not 0.5 <= corridor <= 10:
        raise ValueError(f"corridor is {corridor}, expected 0.5 to 10 m")
    rng = np.random.default_rng([model["seed"], 7])

    def cell(metres: float) -> int:
        return round(float(metres) / RESOLUTION)

    room_width = cell(rng.uniform(3.0, 3.8))
    depths = [cell(rng.uniform(2.6, 3.4)) for _ in range(2)]
    hall = cell(corridor)
    inner = n_rooms * room_width + (n_rooms - 1) * WALL
    low = EDGE + depths[0] + WALL  # first row of the corridor
    rooms = []
    for bottom, depth, wall in (
        (EDGE, depths[0], low - WALL),
        (low + hall + WALL, depths[1], low + hall),
    ):
        for i in range(n_rooms):
            left = EDGE + i * (room_width + WALL)
            wide = cell(rng.choice(widths))
            door = left + int(rng.integers(6, room_width - wide - 5))
            rooms.append(
                {
                    "bottom": bottom,
                    "depth": depth,
                    "left": left,
                    "width": room_width,
                    "wall": wall,
                    "door": door,
                    "opening": wide,
                }
            )
    return {
        "resolution": RESOLUTION,
        "height": low + hall + WALL + depths[1] + EDGE,
        "width": inner + 2 * EDGE,
        "corridor": [low, low + hall, EDGE, EDGE + inner],
        "rooms": rooms,
    }


def drawn(graph: Mapping[str, Any], source: str = "") -> FloorPlan:
    """Draw a floor-plan graph as an occupancy grid.

    Parameters
    ----------
    graph : mapping
        From `layout`.
    source : str
        Name of the grid.
    """
    cells = np.full((graph["height"], graph["width"]), UNKNOWN, np.int8)
    cells[3:-3, 3:-3] = OCCUPIED
    low, high, first, last = graph["corridor"]
    cells[low:high, first:last] = FREE

    def metres(*values: float) -> list[float]:
        return [round(v * graph["resolution"], 9) for v in values]

    rooms = []
    for one in graph["rooms"]:
        bottom, left, wall, door = one["bottom"], one["left"], one["wall"], one["door"]
        top, right = bottom + one["depth"], left + one["width"]
        cells[bottom:top, left:right] = FREE
        cells[wall : wall + WALL, door : door + one["opening"]] = FREE
        middle = (door + one["opening"] / 2, wall + WALL / 2, one["opening"])
        rooms.append(Room(*metres(left, bottom, right, top, *middle)))
    grid = Grid(cells, graph["resolution"], (0.0, 0.0), source=source)
    x0, y0, x1, y1 = metres(first, low, last, high)
    return FloorPlan(grid, tuple(rooms), (x0, y0, x1, y1))


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
    plans = {f"maps/{name}.yaml": plan(**model) for name, model in MODELS.items()}
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
