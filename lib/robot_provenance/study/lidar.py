"""A plane lidar on an occupancy grid: many rays at once, exact to the cells' faces.

A ray leaps over free rectangles. Around a cell that is n king's moves from the nearest occupied
one, the square of half-width n - 1 cells is free, and so is the rest of the cell's row or column up
to the next occupied cell; the ray goes to where it leaves the best of the three and asks again. At
worst this is one step of the cell-by-cell walk of Amanatides and Woo (1987). A hit is therefore
always found on the face of an occupied cell: no ray passes through a wall, and the range is exact
up to rounding. Boxes are met by the slab test, exactly. One exception is geometry's own: two cells
that touch in a corner only leave a ray aimed at that very point undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lib.core import check
from lib.robot_provenance.campaign import Box, box_fault
from lib.robot_provenance.maps import Grid

__all__ = ["beam_angles", "box_distance", "box_ranges", "cast", "cast_rays", "unit"]

Floats = npt.NDArray[np.float64]

DECIMALS = 9
"""Cosines are rounded: processors differ in the last bit, and a run must not."""
NUDGE = 1e-9
"""In cells: how far past a face the next cell is looked up."""


def unit(angle: float) -> tuple[float, float]:
    """Return (cos, sin) of an angle in rad, rounded so that every processor agrees."""
    return round(math.cos(angle), DECIMALS), round(math.sin(angle), DECIMALS)


def beam_angles(n_beams: int) -> Floats:
    """Return the beams' directions in the robot's frame: a full turn from -pi, end not repeated.

    Parameters
    ----------
    n_beams : int
        At least 1.

    Returns
    -------
    ndarray, shape (n_beams,)
        rad, in [-pi, pi).
    """
    n_beams = check.integer("n_beams", n_beams, at_least=1)
    angles: Floats = -math.pi + 2 * math.pi / n_beams * np.arange(n_beams, dtype=float)
    return angles


def cast_rays(grid: Grid, origins: Floats, directions: Floats, max_range: float) -> Floats:
    """Return how far each ray goes before it meets an occupied cell.

    Parameters
    ----------
    grid : Grid
    origins : ndarray, shape (n, 2)
        m. A ray may start outside the map; unknown cells and the outside do not stop it.
    directions : ndarray, shape (n, 2)
        Of length 1 (up to rounding).
    max_range : float
        m, > 0.

    Returns
    -------
    ndarray, shape (n,)
        m, in [0, max_range]; 0 where the origin is inside an occupied cell.
    """
    height, width = grid.shape
    leaps = grid.leaps()
    flat, stride, plane = leaps.ravel(), leaps.shape[2], leaps[0].size
    limit = max_range / grid.resolution
    # In cells, shifted by the rim of one cell.
    x = (origins[:, 0] - grid.origin[0]) / grid.resolution + 1
    y = (origins[:, 1] - grid.origin[1]) / grid.resolution + 1
    t = _enter(x, y, directions[:, 0], directions[:, 1], width, height)
    ranges = np.full(len(x), limit)
    live = np.flatnonzero(t < limit)
    where = np.stack([x, y])[:, live]
    speed = np.stack([directions[:, 0], directions[:, 1]])[:, live]
    t = t[live]
    # A ray along an axis never meets the other axis's faces: a huge inverse, not an infinite one,
    # for 0 * inf would be NaN.
    slow = 1 / np.maximum(np.abs(speed), 1e-30)
    side = (speed < 0).astype(float)
    sign = 1 - 2 * side
    # Of the planes of `leaps`, those of this ray's own senses along x and y.
    runs = ((np.array([[1.0], [3.0]]) + side) * plane).astype(np.intp)
    while live.size:
        reach = t + NUDGE
        p = where + reach * speed
        cell = p.astype(np.intp)  # truncation is floor: the rim keeps positions positive
        at = cell[1] * stride + cell[0]
        n = flat[at]
        # How much of its cell the ray has behind it, along each axis; 0 at the face it came by.
        p -= cell
        behind = side + sign * p
        one, run = (1 - behind) * slow, (flat[runs + at] - behind) * slow
        square = (n - behind) * slow
        # The farthest of: out of the square, along the cell's row, along its column.
        leap = np.maximum(np.minimum(run[0], one[1]), np.minimum(one[0], run[1]))
        np.maximum(leap, np.minimum(square[0], square[1]), out=leap)
        following = np.minimum(reach + leap, limit)
        # Ended rays keep their place until there are enough of them to be worth taking out.
        done = n <= 0
        t = np.where(done, t, following)
        done |= following >= limit
        if 4 * np.count_nonzero(done) < live.size:
            continue
        ranges[live[n == 0]] = t[n == 0]
        keep = ~done
        live, t, where, speed = live[keep], t[keep], where[:, keep], speed[:, keep]
        slow, side, sign, runs = slow[:, keep], side[:, keep], sign[:, keep], runs[:, keep]
    reached: Floats = np.minimum(ranges, limit) * grid.resolution
    return reached


def _enter(x: Floats, y: Floats, dx: Floats, dy: Floats, width: int, height: int) -> Floats:
    """Return where rays enter the map's rectangle: 0 inside, inf if they never do."""
    entry = np.zeros(len(x))
    outside = ~((x >= 1) & (x < width + 1) & (y >= 1) & (y < height + 1))
    if not outside.any():
        return entry
    with np.errstate(divide="ignore", invalid="ignore"):
        low_x, high_x = np.sort([(1 - x) / dx, (width + 1 - x) / dx], axis=0)
        low_y, high_y = np.sort([(1 - y) / dy, (height + 1 - y) / dy], axis=0)
    near = np.fmax(np.fmax(low_x, low_y), 0)
    entry[outside] = np.where(near < np.fmin(high_x, high_y), near, np.inf)[outside]
    return entry


def box_ranges(
    origins: Floats, directions: Floats, boxes: Sequence[Box], max_range: float
) -> Floats:
    """Return how far each ray goes before it meets a box (slab test, exact).

    Parameters
    ----------
    origins, directions : ndarray, shape (n, 2)
        As in `cast_rays`.
    boxes : sequence of Box
        Rectangles with centre, yaw, `length` along their x and `width` along their y, in m.
    max_range : float
        m.

    Returns
    -------
    ndarray, shape (n,)
        m, in [0, max_range]; 0 from inside a box.
    """
    if not boxes:
        return np.full(len(origins), max_range)
    frames = np.array([(*unit(b.yaw), b.x, b.y, b.length / 2, b.width / 2) for b in boxes])
    cos, sin, cx, cy, half_x, half_y = (column[:, None] for column in frames.T)
    px, py = origins[:, 0] - cx, origins[:, 1] - cy
    dx, dy = directions[:, 0], directions[:, 1]
    # Into each box's frame, shape (n_boxes, n).
    ox, oy = cos * px + sin * py, cos * py - sin * px
    ux, uy = cos * dx + sin * dy, cos * dy - sin * dx
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (-half_x - ox) / ux, (half_x - ox) / ux
        c, d = (-half_y - oy) / uy, (half_y - oy) / uy
    near = np.fmax(np.fmin(a, b), np.fmin(c, d))
    far = np.fmin(np.fmax(a, b), np.fmax(c, d))
    met = (near <= far) & (far >= 0)
    reach = np.where(met, np.maximum(near, 0), max_range)
    nearest: Floats = np.minimum(reach.min(axis=0), max_range)
    return nearest


def box_distance(x: float, y: float, boxes: Sequence[Box]) -> float:
    """Return the distance in m from a point to the nearest box; 0 inside, inf without boxes."""
    nearest = math.inf
    for box in boxes:
        cos, sin = unit(box.yaw)
        px, py = x - box.x, y - box.y
        out_x = max(abs(cos * px + sin * py) - box.length / 2, 0.0)
        out_y = max(abs(cos * py - sin * px) - box.width / 2, 0.0)
        nearest = min(nearest, math.sqrt(out_x * out_x + out_y * out_y))
    return nearest


def cast(
    grid: Grid,
    poses: npt.ArrayLike,
    n_beams: int = 180,
    max_range: float = 12.0,
    boxes: Sequence[Box] = (),
) -> npt.NDArray[np.float32]:
    """Scan from many poses at once, without noise.

    Parameters
    ----------
    grid : Grid
        Only occupied cells stop a beam.
    poses : array_like, shape (n, 3)
        x, y in m, yaw in rad.
    n_beams : int
        Beams over a full turn, as in `beam_angles`; at least 1.
    max_range : float
        m, finite and > 0; what a beam that meets nothing returns.
    boxes : sequence of Box
        Obstacles that are not in the grid.

    Returns
    -------
    ndarray of float32, shape (n, n_beams)
        Ranges in m, in [0, max_range].

    Raises
    ------
    ValueError
        If the poses have another shape or are not finite, or another argument is out of range.

    Examples
    --------
    >>> cells = np.zeros((20, 20), np.int8)
    >>> cells[:, 15] = 1
    >>> room = Grid(cells, 0.1, (0.0, 0.0))
    >>> cast(room, [[0.5, 1.0, 0.0]], n_beams=4, max_range=3.0).tolist()
    [[3.0, 3.0, 1.0, 3.0]]
    """
    where = check.array("poses", poses, shape=("n", 3))
    max_range = check.number("max_range", max_range, above=0)
    for i, box in enumerate(boxes, 1):
        if box_fault(box) is not None:
            raise ValueError(f"box {i}: {box_fault(box)}")
    body = np.round([np.cos(beam_angles(n_beams)), np.sin(beam_angles(n_beams))], DECIMALS)
    cos, sin = np.round([np.cos(where[:, 2]), np.sin(where[:, 2])], DECIMALS)[:, :, None]
    directions = np.stack([cos * body[0] - sin * body[1], sin * body[0] + cos * body[1]], axis=-1)
    directions = directions.reshape(-1, 2)
    origins = np.repeat(where[:, :2], n_beams, axis=0)
    ranges = cast_rays(grid, origins, directions, max_range)
    if boxes:
        ranges = np.minimum(ranges, box_ranges(origins, directions, boxes, max_range))
    # Rounding to float32 may go up: the promise is "never beyond".
    return np.minimum(ranges.astype(np.float32), np.float32(max_range)).reshape(-1, n_beams)
