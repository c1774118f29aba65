"""Occupancy grids: the map server's semantics, exact files, and what is refused."""

import hashlib
import math
import pickle

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.robot_provenance.maps import (
    FREE,
    OCCUPIED,
    UNKNOWN,
    Grid,
    MapError,
    load_grid,
)

GREY = bytes([0, 254, 205, 88, 89, 206])
FIELDS = {
    "image": "m.pgm",
    "resolution": 0.05,
    "origin": [-1.0, 2.0, 0.0],
    "negate": 0,
    "occupied_thresh": 0.65,
    "free_thresh": 0.196,
}


def write(folder, content=b"P5\n3 2\n255\n" + GREY, name="m", **changes):
    fields = {k: v for k, v in {**FIELDS, **changes}.items() if v is not None}
    (folder / f"{name}.pgm").write_bytes(content)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(fields, allow_unicode=True), encoding="utf-8")
    return file


cells = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(-1, 2, (seed % 7 + 1, seed % 5 + 1))
)


def test_the_map_servers_thresholds_and_the_order_of_rows(tmp_path):
    grid = load_grid(write(tmp_path))
    # Top row of the image is the highest y. 205: 50/255 is above 0.196; 206: below; 89: 0.651.
    assert grid.cells.tolist() == [[OCCUPIED, OCCUPIED, FREE], [OCCUPIED, FREE, UNKNOWN]]
    assert grid.origin == (-1.0, 2.0)
    assert grid.sha256 == hashlib.sha256(b"P5\n3 2\n255\n" + GREY).hexdigest()


def test_negate_and_another_maximum(tmp_path):
    plain = load_grid(write(tmp_path))
    turned = bytes(255 - v for v in GREY)
    assert load_grid(write(tmp_path, b"P5\n3 2\n255\n" + turned, negate=1)).digest == plain.digest
    small = load_grid(write(tmp_path, b"P5\n3 2\n3\n" + bytes([0, 3, 2, 0, 3, 3])))
    assert small.cells[1].tolist() == [OCCUPIED, FREE, UNKNOWN]


def test_comments_change_the_bytes_but_not_the_map(tmp_path):
    plain = load_grid(write(tmp_path))
    told = load_grid(write(tmp_path, b"P5 # CREATOR\n# 7 9\n3 2\n# more\n255\n" + GREY))
    assert told.digest == plain.digest
    assert told.sha256 != plain.sha256


def test_a_moved_map_is_another_map(tmp_path):
    plain = load_grid(write(tmp_path))
    moved = load_grid(write(tmp_path, origin=[-1.0, 2.5, 0.0]))
    finer = load_grid(write(tmp_path, resolution=0.1))
    assert len({plain.digest, moved.digest, finer.digest}) == 3
    assert plain.sha256 == moved.sha256


@given(cells, st.floats(0.001, 10), st.floats(-1e3, 1e3))
def test_what_is_written_loads_back_identically(tmp_path_factory, values, resolution, x):
    folder = tmp_path_factory.mktemp("maps")
    grid = Grid(values, resolution, (x, -x))
    back = load_grid(grid.write(folder, "Büro 1.5 m"))
    assert back.digest == grid.digest
    assert back.sha256 == grid.sha256
    assert np.array_equal(back.cells, grid.cells)
    assert (back.resolution, back.origin) == (grid.resolution, grid.origin)


def test_a_grid_crosses_processes_without_its_fields():
    grid = Grid(np.eye(4, dtype=np.int8), 0.1, (0, 0))
    assert grid.distance.shape == (4, 4)
    back = pickle.loads(pickle.dumps(grid))
    assert back.digest == grid.digest
    assert "distance" not in vars(back)
    assert np.array_equal(back.distance, grid.distance)


@given(cells)
def test_distance_is_the_brute_force_one(values):
    grid = Grid(values, 0.5, (0, 0))
    where = np.argwhere(values == OCCUPIED)
    for (row, column), found in np.ndenumerate(grid.distance):
        gaps = np.hypot(*(where - (row, column)).T) * 0.5
        assert found == pytest.approx(gaps.min() if len(gaps) else math.inf)


@given(cells, st.floats(0, 2), st.floats(0, 2))
def test_a_larger_robot_has_no_more_room(values, a, b):
    grid = Grid(values, 0.1, (0, 0))
    small, large = grid.inflated(min(a, b)), grid.inflated(max(a, b))
    assert (large | ~small).all()
    assert small[values != FREE].all()


def test_points_outside_and_nan_are_unknown():
    grid = Grid(np.zeros((2, 2), np.int8), 1.0, (0, 0))
    found = grid.at([0.5, -0.1, 2.0, math.nan, 1.99], [0.5, 0.5, 0.5, 0.5, 1.99])
    assert found.tolist() == [FREE, UNKNOWN, UNKNOWN, UNKNOWN, FREE]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"occupied_thresh": 0.1}, "free_thresh 0.196 and occupied_thresh 0.1"),
        ({"free_thresh": -0.1}, "expected 0 <= free_thresh"),
        ({"occupied_thresh": 1.5}, "<= 1"),
        ({"occupied_thresh": None}, "occupied_thresh is None"),
        ({"free_thresh": True}, "free_thresh is True"),
        ({"resolution": 0}, "resolution is 0.0"),
        ({"resolution": math.nan}, "resolution is nan"),
        ({"resolution": "fine"}, "resolution is 'fine'"),
        ({"origin": [0, 0]}, r"origin is \[0, 0\]"),
        ({"origin": [0, math.inf, 0]}, "origin is inf"),
        ({"origin": [0, 0, 0.1]}, "rotated by 0.1 rad"),
        ({"mode": "scale"}, "mode is 'scale'"),
        ({"negate": 2}, "negate is 2"),
        ({"image": None}, "image is None"),
        ({"image": "none.pgm"}, "none.pgm: m.yaml names an image that is missing"),
        ({"image": "M.PGM"}, "'m.pgm', which differs in case"),
        ({"image": "sub/m.pgm"}, "there is no folder"),
    ],
)
def test_a_bad_map_file_is_refused_by_value(tmp_path, change, says):
    with pytest.raises(MapError, match=says):
        load_grid(write(tmp_path, **change))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (b"P5\n3 2\n255\n" + GREY[:-1], "no image, or a damaged one"),
        (b"P5\n3 2", "no image, or a damaged one"),
        (b"", "no image, or a damaged one"),
        (b"P6\n1 1\n255\n123", "mode 'RGB', expected 8 bits of grey"),
        (b"P5\n3 2\n65535\n" + GREY * 2, "mode 'I"),
        (b"P5\n0 2\n255\n", "no image, or a damaged one|shape"),
    ],
)
def test_a_damaged_image_is_refused(tmp_path, image, says):
    with pytest.raises(MapError, match=says):
        load_grid(write(tmp_path, image))


def test_an_absurd_size_is_refused_before_it_is_allocated(tmp_path):
    with pytest.raises(MapError, match="damaged one: Image size"):
        load_grid(write(tmp_path, b"P5\n999999999 999999999\n255\n"))


def test_missing_and_miscased_map_files(tmp_path):
    file = write(tmp_path)
    with pytest.raises(MapError, match=r"map file is missing$"):
        load_grid(tmp_path / "other.yaml")
    with pytest.raises(MapError, match=r"'m\.yaml', which differs in case"):
        load_grid(tmp_path / "M.yaml")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MapError, match="not readable as YAML"):
        load_grid(file)
    file.write_text("- a\n")
    with pytest.raises(MapError, match="holds list"):
        load_grid(file)


@pytest.mark.parametrize(
    ("values", "resolution", "origin", "says"),
    [
        (np.zeros(3), 0.1, (0, 0), "shape"),
        (np.zeros((0, 3)), 0.1, (0, 0), "shape"),
        (np.full((2, 2), 7), 0.1, (0, 0), "a cell is"),
        (np.array([[math.nan]]), 0.1, (0, 0), "a cell is"),
        (np.zeros((2, 2)), -1, (0, 0), "resolution is -1"),
        (np.zeros((2, 2)), 0.1, (0, math.nan), "origin"),
    ],
)
def test_a_bad_grid_is_refused(values, resolution, origin, says):
    with pytest.raises(MapError, match=says):
        Grid(values, resolution, origin)


def test_names_of_written_maps_and_radii(tmp_path):
    grid = Grid(np.zeros((2, 2)), 0.1, (0, 0))
    for name in ("", "..", "a/b", "a\\b"):
        with pytest.raises(MapError, match="plain file name"):
            grid.write(tmp_path, name)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="radius is -1"):
        grid.inflated(-1)
    with pytest.raises(ValueError, match="read-only"):
        grid.cells[0, 0] = 1


@pytest.mark.parametrize(("negate", "grey"), [(0, 205), (1, 50)])
def test_unknown_cells_do_not_become_free(tmp_path, negate, grey):
    """With the threshold 0.25 of many files, the map server's grey for unknown would be free."""
    (tmp_path / "m.pgm").write_bytes(b"P5\n2 1\n255\n" + bytes([grey, 254]))
    text = f"image: m.pgm\nresolution: 0.05\norigin: [0, 0, 0]\nnegate: {negate}\n"
    text += "occupied_thresh: 0.65\nfree_thresh: {0}\n"
    (tmp_path / "m.yaml").write_text(text.format(0.25))
    with pytest.raises(MapError, match=r"free_thresh is 0.25, so that pixels that mean unknown"):
        load_grid(tmp_path / "m.yaml")
    # Who means it may say what these pixels are, and leave the file as it is.
    assert load_grid(tmp_path / "m.yaml", "keep").cells.tolist() == [[UNKNOWN, 1 * negate]]
    assert load_grid(tmp_path / "m.yaml", "free").cells.tolist() == [[FREE, 1 * negate]]
    with pytest.raises(ValueError, match="unknown is 'drop'"):
        load_grid(tmp_path / "m.yaml", "drop")
    (tmp_path / "m.yaml").write_text(text.format(0.196))
    assert load_grid(tmp_path / "m.yaml", "free").cells[0, 0] == UNKNOWN
    assert load_grid(tmp_path / "m.yaml").cells[0, 0] == UNKNOWN
    # Where no pixel is of that grey, the threshold harms nobody.
    (tmp_path / "m.pgm").write_bytes(b"P5\n2 1\n255\n" + bytes([255 * (1 - negate), 254]))
    (tmp_path / "m.yaml").write_text(text.format(0.25))
    assert load_grid(tmp_path / "m.yaml").cells[0, 0] == FREE


def test_the_guard_knows_other_maxima(tmp_path):
    (tmp_path / "m.pgm").write_bytes(b"P5\n2 1\n254\n" + bytes([204, 254]))
    text = "image: m.pgm\nresolution: 0.05\norigin: [0, 0, 0]\noccupied_thresh: 0.65\n"
    (tmp_path / "m.yaml").write_text(text + "free_thresh: 0.25\n")
    with pytest.raises(MapError, match="that mean unknown"):
        load_grid(tmp_path / "m.yaml")
