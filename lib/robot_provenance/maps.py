"""Occupancy grids as a robot's map server reads them: a YAML file that names a grey image.

The rules are those of ROS 2 ``nav2_map_server`` in its *trinary* mode: a pixel's occupancy is
``(max - value) / max`` (or ``value / max`` with ``negate``); above ``occupied_thresh`` the cell is
occupied, below ``free_thresh`` it is free, else unknown. The image's last row is the lowest y.
Nothing is guessed: a file that is missing, spelled in another case, cut short or rotated is
refused.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image
from scipy import ndimage

from lib.core import check
from lib.core.paths import write_atomic

Floats = npt.NDArray[np.float64]
Cells = npt.NDArray[np.int8]

FREE, OCCUPIED, UNKNOWN = 0, 1, -1
PIXELS = {FREE: 254, OCCUPIED: 0, UNKNOWN: 205}
"""Grey values that the map server writes; 205 lies between the two usual thresholds."""
THRESHOLDS = {"occupied_thresh": 0.65, "free_thresh": 0.196}


class MapError(ValueError):
    """A map cannot be had as its files say."""


@dataclass(frozen=True, eq=False)
class Grid:
    """One occupancy grid.

    Attributes
    ----------
    cells : ndarray of int8, shape (height, width)
        0 free, 1 occupied, -1 unknown; row 0 has the lowest y. Made read-only.
    resolution : float
        Side of a cell in metres, > 0.
    origin : tuple of float
        (x, y) of the lower-left corner in metres.
    sha256 : str
        Digest of the image file's bytes; of the bytes that `write` makes if there is no file yet.
    source : str
        Name for messages: the YAML file's name, or how the grid was made.

    Raises
    ------
    MapError
        If the cells are empty or hold another value, or a number is not finite.

    Examples
    --------
    >>> grid = Grid(np.zeros((2, 3), np.int8), 0.5, (-1.0, 0.0))
    >>> grid.at(-0.9, 0.1), grid.at(9.0, 9.0), grid.size_m
    (0, -1, (1.5, 1.0))
    """

    cells: Cells
    resolution: float
    origin: tuple[float, float]
    sha256: str = ""
    source: str = "array"

    def __post_init__(self) -> None:
        cells = np.array(self.cells)
        known = np.isin(cells, (FREE, OCCUPIED, UNKNOWN))
        wrong = ""
        if cells.ndim != 2 or cells.size == 0:
            wrong = f"cells have shape {cells.shape}, expected (height, width)"
        elif not known.all():
            wrong = f"a cell is {cells[~known].flat[0]!r}, expected 0, 1 or -1"
        elif not (math.isfinite(self.resolution) and self.resolution > 0):
            wrong = f"resolution is {self.resolution!r}, expected > 0 m"
        elif len(self.origin) != 2 or not all(math.isfinite(v) for v in self.origin):
            wrong = f"origin is {self.origin!r}, expected finite (x, y) in m"
        if wrong:
            raise MapError(f"{self.source}: {wrong}")
        cells = np.ascontiguousarray(cells, dtype=np.int8)
        cells.setflags(write=False)
        object.__setattr__(self, "cells", cells)
        object.__setattr__(self, "resolution", float(self.resolution))
        object.__setattr__(self, "origin", (float(self.origin[0]), float(self.origin[1])))
        if not self.sha256:
            object.__setattr__(self, "sha256", hashlib.sha256(pgm_bytes(cells)).hexdigest())

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is cheap to compute again, and dear to send to another process.
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in cells."""
        return self.cells.shape[0], self.cells.shape[1]

    @property
    def size_m(self) -> tuple[float, float]:
        """(width, height) in metres."""
        return self.shape[1] * self.resolution, self.shape[0] * self.resolution

    @cached_property
    def digest(self) -> str:
        """Sha256 over what the grid *is*: cells, resolution and origin, not file names or comments.

        Two images of equal bytes at different origins are different maps; two files that differ in
        a comment are the same map.
        """
        head = f"{self.shape} {self.resolution!r} {self.origin!r}\n".encode()
        return hashlib.sha256(head + self.cells.tobytes()).hexdigest()

    def index(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Any, Any, Any]:
        """Return (row, column, inside) of points in metres; rows and columns are clipped inside."""
        column = np.floor((np.asarray(x, float) - self.origin[0]) / self.resolution)
        row = np.floor((np.asarray(y, float) - self.origin[1]) / self.resolution)
        height, width = self.shape
        # Comparisons with NaN are false: a NaN point is outside.
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        rows = np.where(inside, row, 0).astype(np.intp)
        return rows, np.where(inside, column, 0).astype(np.intp), inside

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
        """Return the cell values at points in metres: an int for scalars; -1 outside the map."""
        rows, columns, inside = self.index(x, y)
        values = np.where(inside, self.cells[rows, columns], UNKNOWN)
        return int(values) if values.ndim == 0 else values.astype(np.int8)

    @cached_property
    def distance(self) -> Floats:
        """Distance in metres from each cell's centre to the nearest occupied cell's, read-only.

        Shape (height, width). A map without occupied cells is at distance inf everywhere.
        """
        blocked = self.cells == OCCUPIED
        if blocked.any():
            found: Floats = ndimage.distance_transform_edt(~blocked) * self.resolution
        else:
            found = np.full(self.shape, np.inf)
        found.setflags(write=False)
        return found

    def inflated(self, radius: float) -> npt.NDArray[np.bool_]:
        """Return where the centre of a disc of `radius` metres must not be, shape (height, width).

        Unknown cells are forbidden too. A cell's centre is tested against the occupied cells'
        faces, which lie half a cell before their centres.

        Raises
        ------
        ValueError
            If the radius is negative or not finite.
        """
        check.number("radius", radius, at_least=0)
        near = self.distance - self.resolution / 2 < radius
        return near | (self.cells != FREE)  # type: ignore[no-any-return]

    def write(self, folder: Path, name: str) -> Path:
        """Write ``name.yaml`` and ``name.pgm``; what `load_grid` reads back has the same `digest`.

        Parameters
        ----------
        folder : Path
            Made if it is not there.
        name : str
            Without suffix; no path separator.

        Returns
        -------
        Path
            The YAML file, written last, so that it never names an image that is not there.

        Raises
        ------
        MapError
            If the name is empty or has a path separator.
        """
        if not name or name in {".", ".."} or re.search(r"[/\\\0]", name):
            raise MapError(f"name is {name!r}, expected a plain file name without suffix")
        write_atomic(Path(folder) / f"{name}.pgm", pgm_bytes(self.cells))
        content = {
            "image": f"{name}.pgm",
            "resolution": self.resolution,
            "origin": [*self.origin, 0.0],
            "negate": 0,
            **THRESHOLDS,
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        return write_atomic(Path(folder) / f"{name}.yaml", text)


def pgm_bytes(cells: Cells) -> bytes:
    """Return a binary PGM (P5) of cells, top row first, in the map server's grey values."""
    grey = np.full(cells.shape, PIXELS[UNKNOWN], np.uint8)
    grey[cells == FREE] = PIXELS[FREE]
    grey[cells == OCCUPIED] = PIXELS[OCCUPIED]
    return b"P5\n%d %d\n255\n" % (cells.shape[1], cells.shape[0]) + grey[::-1].tobytes()


def _pixels(content: bytes, name: str) -> Floats:
    """Return an image's grey values in [0, 1], top row first."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode, pixels = image.mode, np.asarray(image, float) / 255 if image.mode == "L" else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise MapError(f"{name}: no image, or a damaged one: {error}") from error
    if pixels is None:
        raise MapError(f"{name}: an image of mode {mode!r}, expected 8 bits of grey")
    return pixels


def load_grid(yaml_path: Path, unknown: Literal["refuse", "keep", "free"] = "refuse") -> Grid:
    """Load a map: the YAML file and the image it names.

    Parameters
    ----------
    yaml_path : Path
        The YAML file. Its and its image's names must match in case, also on a file system that
        would not mind, for the folder would be missing the map on another machine.
    unknown : {"refuse", "keep", "free"}
        What becomes of pixels of 205, which the map server writes for unknown, where the file's
        ``free_thresh`` (0.25 is a default of Nav2) makes them free: the map is refused, they stay
        unknown, or they are free, as Nav2 reads them.

    Returns
    -------
    Grid

    Raises
    ------
    MapError
        If a file is missing or spelled otherwise, a field is missing, not a finite number or out
        of range, the map is rotated (yaw), the mode is not trinary, or the image is damaged.
    """
    yaml_path, policy = Path(yaml_path), check.known("unknown", unknown, ("refuse", "keep", "free"))
    _must_exist(yaml_path, "map file")
    try:
        content = yaml.safe_load(yaml_path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MapError(f"{yaml_path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise MapError(f"{yaml_path}: holds {type(content).__name__}, expected fields by name")
    image = content.get("image")
    if not isinstance(image, str) or not image:
        raise MapError(f"{yaml_path}: image is {image!r}, expected a file name")
    resolution = _number(content, "resolution", yaml_path)
    if resolution <= 0:
        raise MapError(f"{yaml_path}: resolution is {resolution}, expected > 0 m per cell")
    occupied = _number(content, "occupied_thresh", yaml_path)
    free = _number(content, "free_thresh", yaml_path)
    if not 0 <= free < occupied <= 1:
        raise MapError(
            f"{yaml_path}: free_thresh {free} and occupied_thresh {occupied}: "
            "expected 0 <= free_thresh < occupied_thresh <= 1"
        )
    if content.get("mode", "trinary") != "trinary":
        raise MapError(f"{yaml_path}: mode is {content['mode']!r}, expected 'trinary'")
    if content.get("negate", 0) not in (0, 1):
        raise MapError(f"{yaml_path}: negate is {content['negate']!r}, expected 0 or 1")
    image_path = yaml_path.parent / image
    _must_exist(image_path, f"{yaml_path.name} names an image that")
    stored = image_path.read_bytes()
    shade = _pixels(stored, str(image_path))
    occupancy = shade if content.get("negate", 0) else 1 - shade
    vague = (abs(occupancy - (1 - PIXELS[UNKNOWN] / 255)) < 1e-6) & (occupancy < free)
    if policy == "refuse" and vague.any():
        raise MapError(
            f"{yaml_path}: free_thresh is {free}, so that pixels that mean unknown would be free, "
            f"as Nav2 reads them; expected at most {THRESHOLDS['free_thresh']}, or say `unknown`"
        )
    cells = np.full(shade.shape, UNKNOWN, np.int8)
    cells[occupancy > occupied] = OCCUPIED
    cells[(occupancy < free) & ~(vague & (policy == "keep"))] = FREE
    origin, digest = _origin(content, yaml_path), hashlib.sha256(stored).hexdigest()
    return Grid(cells[::-1], resolution, origin, digest, yaml_path.name)


def _origin(content: dict[str, Any], where: Path) -> tuple[float, float]:
    origin = content.get("origin")
    if not isinstance(origin, list) or len(origin) != 3:
        raise MapError(f"{where}: origin is {origin!r}, expected [x, y, yaw]")
    x, y, yaw = (_number({"origin": v}, "origin", where) for v in origin)
    if yaw != 0:
        raise MapError(f"{where}: the map is rotated by {yaw} rad; only yaw 0 is supported")
    return x, y


def _number(content: dict[str, Any], key: str, where: Path) -> float:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise MapError(f"{where}: {key} is {value!r}, expected a finite number")
    return float(value)


def _must_exist(path: Path, what: str) -> None:
    """Refuse a path that is no file, or is one only because case does not matter here."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        raise MapError(f"{path}: {what} is missing: there is no folder {path.parent}") from None
    if path.name in names and path.is_file():
        return
    other = sorted(n for n in names if n.casefold() == path.name.casefold() and n != path.name)
    hint = f"; there is {other[0]!r}, which differs in case" if other else ""
    raise MapError(f"{path}: {what} is missing{hint}")
