"""The same scans from ir-sim, a robot simulator in use: for agreement and for speed."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image

from lib.robot_provenance.maps import OCCUPIED, Grid
from lib.robot_provenance.study import lidar

__all__ = ["IrsimLidar", "largest_gap"]


class IrsimLidar:
    """ir-sim's ``lidar2d`` on a grid given as its obstacle map, without a window.

    Parameters
    ----------
    grid : Grid
        Occupied cells become black pixels; nothing else stops a beam.
    n_beams : int
        Over a full turn, both ends of which ir-sim casts; at least 2.
    max_range : float
        m.

    Examples
    --------
    >>> cells = np.zeros((20, 20), np.int8)
    >>> cells[:, 15] = 1
    >>> peer = IrsimLidar(Grid(cells, 0.1, (0.0, 0.0)), n_beams=3, max_range=3.0)
    >>> float(peer.scan(np.array([0.5, 1.0, 0.0]))[1].round(6))
    1.0
    """

    def __init__(self, grid: Grid, n_beams: int = 180, max_range: float = 12.0) -> None:
        width, height = grid.size_m
        world: dict[str, Any] = {
            "world": {
                "width": width,
                "height": height,
                "offset": list(grid.origin),
            },
            "robot": [
                {
                    "kinematics": {"name": "diff"},
                    "shape": {"name": "circle", "radius": 0.01},
                    "state": [*grid.origin, 0.0],
                    "sensors": [
                        {
                            "name": "lidar2d",
                            "range_min": 0,
                            "range_max": max_range,
                            "angle_range": 2 * np.pi,
                            "number": n_beams,
                            "noise": False,
                        }
                    ],
                }
            ],
        }
        pixels = np.where(grid.cells[::-1] == OCCUPIED, 0, 255).astype(np.uint8)
        backend = mpl.get_backend()
        # The import tries window systems out loud and changes matplotlib's backend.
        with (
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            import irsim

            image = Path(folder) / "map.png"
            Image.fromarray(pixels).save(image)
            world["world"]["obstacle_map"] = str(image)
            source = Path(folder) / "world.yaml"
            source.write_text(yaml.safe_dump(world, sort_keys=False), encoding="utf-8")
            self.env: Any = irsim.make(str(source), headless=True, log_level="ERROR")
        mpl.use(backend)
        self.sensor: Any = self.env.robot.sensors[0]

    def scan(self, pose: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the ranges in m from x, y (m), yaw (rad): `n_beams` from -pi to pi, both cast."""
        self.sensor.step(np.asarray(pose, float).reshape(3, 1))
        return np.array(self.sensor.range_data, float)


def largest_gap(
    grid: Grid, poses: npt.NDArray[np.float64], n_beams: int = 181, max_range: float = 12.0
) -> float:
    """Return the largest difference in m between ir-sim's ranges and those of `lidar.cast`.

    Parameters
    ----------
    grid : Grid
    poses : ndarray, shape (n, 3)
        Best in free space: from inside a wall the two mean different things.
    n_beams : int
        Of ir-sim; its last beam doubles its first, so ours are one fewer.
    max_range : float
        m.
    """
    peer = IrsimLidar(grid, n_beams, max_range)
    theirs = np.array([peer.scan(pose)[:-1] for pose in poses])
    ours = np.array([lidar.cast(grid, tuple(p), n_beams - 1, max_range) for p in poses.tolist()])
    return float(np.abs(theirs - ours).max())
