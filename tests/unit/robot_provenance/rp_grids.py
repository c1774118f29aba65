"""Floor plans to try things on, and maps of the embedded campaign as a runner wants them."""

from __future__ import annotations

from collections.abc import Mapping

from lib.robot_provenance.maps import Grid
from lib.robot_provenance.study import floorplans


def floor_plan(seed: int, **told: object) -> Grid:
    model = {"door_widths": (0.8, 0.9, 1.0), "n_rooms": 3, "corridor": 1.6, "seed": seed}
    return floorplans.drawn(floorplans.layout(model | told))


def by_digest(grids: Mapping[str, Grid]) -> dict[str, Grid]:
    return {one.digest: one for one in grids.values()}
