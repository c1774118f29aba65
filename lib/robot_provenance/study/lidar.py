"""A plane lidar on an occupancy grid: all beams at once, exact to the cells' faces.

A ray enters every cell that it meets through a face. So it is enough to look at its crossings with
the grid's vertical lines and with its horizontal lines, of which a range has finitely many, and to
take the first behind which the cell is occupied: the cells of the walk of Amanatides and Woo
(1987), looked at together. Boxes are met by the slab test, exactly. One exception is geometry's
own: two cells that touch in a corner only leave a ray aimed at that very point undecided.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.core import check
from lib.robot_provenance.campaign import Box, box_fault
from lib.robot_provenance.maps import OCCUPIED, Grid

Floats = npt.NDArray[np.float64]

DECIMALS = 9
"""Cosines are rounded: processors differ in the last bit, and a run must not."""


CHUNK = 64
"""Lines across an axis that are looked at together."""


def unit(angle: float) -> tuple[float, float]:
    """Return (cos, sin) of an angle in rad, rounded so that every processor agrees."""
    return round(math.cos(angle), DECIMALS), round(math.sin(angle), DECIMALS)


@functools.cache
def body(n_beams: int) -> Floats:
    """Return the beams' directions in the robot's frame, shape (2, n_beams).

    A full turn from -pi, whose end is not repeated; cosines, then sines.
    """
    n_beams = check.integer("n_beams", n_beams, at_least=1)
    angles = -math.pi + 2 * math.pi / n_beams * np.arange(n_beams, dtype=float)
    found: Floats = np.round([np.cos(angles), np.sin(angles)], DECIMALS)  # type: ignore[assignment]
    return found


@functools.lru_cache(maxsize=8)
def _padded(grid: Grid, n: int) -> npt.NDArray[np.bool_]:
    """Return where cells are occupied, with `n` free cells around: no ray runs out of it."""
    return np.pad(grid.cells == OCCUPIED, n)


def _crossings(
    solid: npt.NDArray[np.bool_], at: tuple[float, float], to: Floats, axis: int, n: int
) -> Floats:
    """Return how far each ray goes to the first occupied cell behind a line across an axis.

    Parameters
    ----------
    solid : ndarray of bool
        From `_padded`.
    at : (float, float)
        Where the rays start, in cells of it, x and y.
    to : ndarray, shape (2, n_rays)
        Directions.
    axis : {0, 1}
        Of x or y.
    n : int
        Lines to look at, which is also the answer where no such cell is.
    """
    # A ray along the other axis meets none of these lines: a huge inverse, not an infinite one.
    slow = 1 / np.maximum(np.abs(to[axis]), 1e-30)
    cell, sign = math.floor(at[axis]), np.where(to[axis] > 0, 1, -1)
    first = np.where(sign > 0, cell + 1 - at[axis], at[axis] - cell)
    stride, flat = solid.shape[1], solid.ravel()
    own, other = (1, stride) if axis == 0 else (stride, 1)
    reach, left = np.full(len(slow), float(n)), np.arange(len(slow))
    # Most rays end near: the farther lines are for those that are left.
    for begin in range(0, n, CHUNK):
        step = np.arange(begin, min(begin + CHUNK, n))
        t = np.minimum((first[left, None] + step) * slow[left, None], n)
        # The cells behind the lines; a ray may end before its last one.
        across = (at[1 - axis] + t * to[1 - axis][left, None]).astype(np.intp)
        hit = flat[own * (cell + sign[left, None] * (step + 1)) + other * across]
        found, rays = hit.argmax(axis=1), np.arange(len(left))
        met = hit[rays, found]
        reach[left[met]] = t[rays, found][met]
        left = left[~met & (t[:, -1] < n)]
        if not left.size:
            break
    return reach


def cast(
    grid: Grid,
    pose: tuple[float, float, float],
    n_beams: int = 180,
    max_range: float = 12.0,
    boxes: Sequence[Box] = (),
) -> npt.NDArray[np.float32]:
    """Scan without noise.

    Parameters
    ----------
    grid : Grid
        Only occupied cells stop a beam; unknown ones and the outside do not.
    pose : (float, float, float)
        x, y in m, inside the map; yaw in rad.
    n_beams : int
        Beams over a full turn, as in `body`; at least 1.
    max_range : float
        m, finite and > 0; what a beam that meets nothing returns.
    boxes : sequence of Box
        Obstacles that are not in the grid.

    Returns
    -------
    ndarray of float32, shape (n_beams,)
        Ranges in m, in [0, max_range]; 0 from inside a box or an occupied cell.

    Raises
    ------
    ValueError
        If the pose is outside the map or not finite, or another argument is out of range.

    Examples
    --------
    >>> cells = np.zeros((20, 20), np.int8)
    >>> cells[:, 15] = 1
    >>> cast(Grid(cells, 0.1, (0.0, 0.0)), (0.5, 1.0, 0.0), n_beams=4, max_range=3.0).tolist()
    [3.0, 3.0, 1.0, 3.0]
    """
    x, y, yaw = pose
    # Plain comparisons: this is called five times a simulated second.
    if not (math.isfinite(x + y + yaw) and 0 < max_range < math.inf):
        raise ValueError(f"pose is {pose}, max_range {max_range}: expected finite, a range > 0")
    (height, width), res = grid.shape, grid.resolution
    u, v = (x - grid.origin[0]) / res, (y - grid.origin[1]) / res
    if not (0 <= u < width and 0 <= v < height):
        raise ValueError(f"pose is {pose}, expected one inside the map of {grid.size_m} m")
    for i, box in enumerate(boxes, 1):
        if box_fault(box) is not None:
            raise ValueError(f"box {i}: {box_fault(box)}")
    (cos, sin), ahead = unit(yaw), body(n_beams)
    to = np.stack([cos * ahead[0] - sin * ahead[1], sin * ahead[0] + cos * ahead[1]])
    n = math.ceil(max_range / res) + 1
    solid = _padded(grid, n)
    if solid[int(v) + n, int(u) + n]:
        return np.zeros(n_beams, np.float32)
    ranges = np.minimum(*(_crossings(solid, (u + n, v + n), to, axis, n) for axis in (0, 1)))
    ranges = np.minimum(ranges * res, box_ranges((x, y), to, boxes))
    # Rounding to float32 may go up: the promise is "never beyond".
    return np.minimum(ranges.astype(np.float32), np.float32(max_range))


def _frames(x: float, y: float, boxes: Sequence[Box]) -> tuple[Floats, ...]:
    """Return cosines and sines of boxes, where a point lies in their frames, half their sides."""
    cos, sin = np.array([unit(box.yaw) for box in boxes]).T
    px, py = np.moveaxis(np.array([(x - box.x, y - box.y) for box in boxes]), 1, 0)
    half = np.array([(box.length / 2, box.width / 2) for box in boxes]).T
    return cos, sin, cos * px + sin * py, cos * py - sin * px, *half


def box_ranges(at: tuple[float, float], to: Floats, boxes: Sequence[Box]) -> Floats:
    """Return how far each ray goes before it meets a box (slab test, exact); inf if none.

    Parameters
    ----------
    at : (float, float)
        Where the rays start, m.
    to : ndarray, shape (2, n)
        Directions of length 1.
    boxes : sequence of Box
        Rectangles with centre, yaw, `length` along their x and `width` along their y, in m.

    Returns
    -------
    ndarray, shape (n,)
        m; 0 from inside a box.
    """
    if not boxes:
        return np.full(to.shape[1], np.inf)
    cos, sin, ox, oy, half_x, half_y = (one[:, None] for one in _frames(*at, boxes))
    ux, uy = cos * to[0] + sin * to[1], cos * to[1] - sin * to[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (-half_x - ox) / ux, (half_x - ox) / ux
        c, d = (-half_y - oy) / uy, (half_y - oy) / uy
    near = np.fmax(np.fmin(a, b), np.fmin(c, d))
    far = np.fmin(np.fmax(a, b), np.fmax(c, d))
    reach: Floats = np.where((near <= far) & (far >= 0), np.maximum(near, 0), np.inf)
    nearest: Floats = reach.min(axis=0)
    return nearest


def box_distance(x: Any, y: Any, boxes: Sequence[Box]) -> Any:
    """Return the distance in m from a point to the nearest box; 0 inside, inf without boxes.

    Of one box, also the distances of many points.
    """
    if not boxes:
        return math.inf
    _, _, ox, oy, half_x, half_y = _frames(x, y, boxes)
    out = np.maximum([abs(ox) - half_x, abs(oy) - half_y], 0.0)
    away = np.sqrt((out * out).sum(axis=0).min(axis=0))
    return away if np.ndim(x) else float(away)
