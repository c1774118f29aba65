"""Generated floor plans and the embedded campaign on them: it needs no data, and it is simulated.

A plan is a corridor with rooms on both sides, one door each. The campaign (``campaign.yml``) is
built so that every outcome of the simulator occurs: doors that the robot fits through and doors
that it does not, boxes in the way, noise, a blind lidar, a tour that is too long, and faulty
scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.core import check
from lib.robot_provenance.campaign import Scenario, load_vast
from lib.robot_provenance.maps import FREE, OCCUPIED, UNKNOWN, Grid

VAST = Path(__file__).with_name("campaign.yml")
"""The campaign file, in the authors' format; it names its maps relative to itself."""
RESOLUTION = 0.05
WALL = 2
"""Thickness in cells."""

EDGE = WALL + 3
"""Cells from the edge of the grid to the first room."""

WIDTHS = {"wide": [0.9, 1.0], "middle": [0.6, 0.7], "narrow": [0.45, 0.5], "closed": [0.25, 0.3]}
MODELS: dict[str, dict[str, Any]] = {
    name: {"seed": seed, "door_widths": widths, "n_rooms": 3, "corridor": 1.6}
    for seed, (name, widths) in enumerate(WIDTHS.items(), 1)
}
"""The floor-plan models of the embedded campaign, widths in m."""


def layout(model: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a floor-plan model into a graph: which rooms lie where, and which door leads to each.

    Parameters
    ----------
    model : mapping
        ``seed`` (of room sizes, the doors' places and widths); ``door_widths`` in m, of which each
        door takes one, rounded to whole cells of 0.05 m; ``n_rooms`` on each side, 1 to 20;
        ``corridor``, its width in m, 0.5 to 10.

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
    widths = check.array("door_widths", model["door_widths"], at_least=0.1, at_most=1.5)
    n_rooms = check.integer("n_rooms", model["n_rooms"], at_least=1, at_most=20)
    corridor = check.number("corridor", model["corridor"], at_least=0.5, at_most=10)
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
            rooms.append({"bottom": bottom, "depth": depth, "left": left, "width": room_width,
                          "wall": wall, "door": door, "opening": wide})  # fmt: skip
    return {
        "resolution": RESOLUTION,
        "height": low + hall + WALL + depths[1] + EDGE,
        "width": inner + 2 * EDGE,
        "corridor": [low, low + hall, EDGE, EDGE + inner],
        "rooms": rooms,
    }


def drawn(graph: Mapping[str, Any]) -> Grid:
    """Draw a floor-plan graph, from `layout`, as an occupancy grid; unknown outside the building.

    Examples
    --------
    >>> one, other = (drawn(layout(MODELS[name])).digest for name in ("wide", "closed"))
    >>> one == drawn(layout(MODELS["wide"])).digest, one == other
    (True, False)
    """
    cells = np.full((graph["height"], graph["width"]), UNKNOWN, np.int8)
    cells[3:-3, 3:-3] = OCCUPIED
    low, high, first, last = graph["corridor"]
    cells[low:high, first:last] = FREE
    for one in graph["rooms"]:
        bottom, left, wall, door = one["bottom"], one["left"], one["wall"], one["door"]
        cells[bottom : bottom + one["depth"], left : left + one["width"]] = FREE
        cells[wall : wall + WALL, door : door + one["opening"]] = FREE
    return Grid(cells, graph["resolution"], (0.0, 0.0), source="floor plan")


def default_campaign() -> tuple[dict[str, Grid], list[Scenario]]:
    """Return the embedded campaign: four generated plans and the scenarios on them.

    Returns
    -------
    grids : dict of str to Grid
        By `Scenario.map_file`.
    scenarios : list of Scenario
        Resolved (`map_digest` is set), in fixed order; the map that is misspelt is put right.

    Examples
    --------
    >>> grids, scenarios = default_campaign()
    >>> len(grids), len(scenarios)
    (4, 25)
    """
    grids = {f"maps/{name}.yaml": drawn(layout(model)) for name, model in MODELS.items()}
    return grids, [
        replace(one, map_file=file, map_digest=grids[file].digest)
        for one in load_vast(VAST)
        for file in [one.map_file.lower()]
    ]
