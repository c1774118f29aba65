"""Bounds of arguments, tried on both sides: the last good value, and the first bad one."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lib.robot_provenance import bags, campaign, maps, vocabulary
from lib.robot_provenance.campaign import Box, Pose, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.study import floorplans, lidar, navsim, runner
from lib.robot_provenance.study.navsim import SimConfig

SMALL = 1e-3
ROOM = Grid(np.pad(np.zeros((36, 36), np.int8), 2, constant_values=1), 0.05, (0.0, 0.0))
PLAIN = Scenario("plain", "room.yaml", Pose(0.6, 0.6), (Pose(0.7, 0.6),))
TURN = math.tau + 1e-6


def configured(name):
    return lambda value: SimConfig(**{name: value})


def planned(name):
    model = {"seed": 1, "door_widths": [0.5], "n_rooms": 1, "corridor": 1.0}
    return lambda value: floorplans.layout(model | {name: value})


BOUNDS = [
    *(
        (configured(name), good, bad)
        for name, good, bad in (
            ("radius", SMALL, 0.0), ("v_max", SMALL, 0.0), ("w_max", SMALL, 0.0),
            ("v_acc", SMALL, 0.0), ("w_acc", SMALL, 0.0), ("dt", SMALL, 0.0),
            ("max_range", SMALL, 0.0), ("comfort", SMALL, 0.0), ("lookahead", SMALL, 0.0),
            ("horizon", SMALL, 0.0), ("goal_tolerance", SMALL, 0.0), ("replan_s", SMALL, 0.0),
            ("stuck_s", SMALL, 0.0), ("stuck_m", SMALL, 0.0), ("timeout_s", SMALL, 0.0),
            ("margin", 0.0, -SMALL), ("slip_std", 0.0, -SMALL), ("slip_std", 0.2, 0.201),
            ("n_beams", 1, 0), ("scan_every", 1, 0), ("record_every", 1, 0),
        )
    ),
    # The robot sees as far as it may go: just so far, and a little less.
    (lambda x: SimConfig(v_max=0.5, horizon=2.0, see_range=x), 1.0, 0.999),
    (planned("door_widths"), [0.1], [0.099]),
    (planned("door_widths"), [1.5], [1.501]),
    (planned("n_rooms"), 1, 0),
    (planned("n_rooms"), 20, 21),
    (planned("corridor"), 0.5, 0.499),
    (planned("corridor"), 10, 10.01),
    (lidar.body, 1, 0),
    (lambda x: lidar.cast(ROOM, (1.0, 1.0, 0.0), x), 1, 0),
    (lambda x: lidar.cast(ROOM, (1.0, 1.0, 0.0), 4, x), SMALL, 0.0),
    (lambda x: lidar.cast(ROOM, (x, 1.0, 0.0), 4), 0.0, -SMALL),
    (lambda x: lidar.cast(ROOM, (x, 1.0, 0.0), 4), 1.999, 2.0),
    (lambda x: lidar.cast(ROOM, (1.0, x, 0.0), 4), 0.0, -SMALL),
    (lambda x: lidar.cast(ROOM, (1.0, x, 0.0), 4), 1.999, 2.0),
    (lambda x: navsim.simulate(ROOM, PLAIN, x), 0, -1),
    (lambda x: navsim.simulate(ROOM, replace(PLAIN, map_digest=x), 0), ROOM.digest, "ab" * 32),
    (lambda x: runner.run_id("a", x), 0, -1),
    (lambda x: Grid(np.zeros((1, 1)), x, (0, 0)), SMALL, 0.0),
    (lambda x: Grid(np.zeros((1, 1)), 1.0, x), (0, 0), (0, 0, 0)),
    (lambda x: Grid(np.zeros((1, 1)), 1.0, x), (0, 0), (0,)),
    (ROOM.inflated, 0, -SMALL),
    (lambda x: Grid(np.full((1, 1), x), 1.0, (0, 0)), -1, -2),
    (lambda x: Grid(np.full((1, 1), x), 1.0, (0, 0)), 1, 2),
    (lambda x: vocabulary.content_iri("a" * x), 64, 63),
    (lambda x: vocabulary.content_iri("a" * x), 64, 65),
    (vocabulary.slug, "a", "-"),
    (lambda x: vocabulary.named("kind", x, {"a": 1}, {}), "a", ""),
    (lambda x: vocabulary.named("kind", x, {"a": 1}, {}), "a", None),
    (vocabulary.iri, "urn:x:y", "arn:x:y"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BOUNDS)))
def test_both_sides_of_a_bound(number) -> None:
    call, good, bad = BOUNDS[number]
    call(good)
    with pytest.raises(
        ValueError, match=r"is|are|expected|has no letter|unknown prefix|has digest"
    ):
        call(bad)


@pytest.mark.parametrize(
    ("change", "bad"),
    [
        ({"start": Pose(0, 0, TURN)}, {"start": Pose(0, 0, TURN + 1e-9)}),
        ({"start": Pose(0, 0, -TURN)}, {"start": Pose(0, 0, -TURN - 1e-9)}),
        ({"boxes": (Box(0, 0, TURN),)}, {"boxes": (Box(0, 0, TURN + 1e-9),)}),
        ({"boxes": (Box(0, 0, 0, 1e-300, 1),)}, {"boxes": (Box(0, 0, 0, 0.0, 1),)}),
        ({"boxes": (Box(0, 0, 0, 1, 1e-300),)}, {"boxes": (Box(0, 0, 0, 1, 0.0),)}),
        ({"noise_std": 0.0}, {"noise_std": -1e-300}),
        ({"noise_std": 1e300}, {"noise_std": math.inf}),
        ({"noise_std": 0.5}, {"noise_std": math.nan}),
        ({"drop_rate": 0.0}, {"drop_rate": -1e-300}),
        ({"drop_rate": 1.0}, {"drop_rate": 1.0000001}),
        ({"goals": (Pose(0, 0),)}, {"goals": ()}),
        *(
            ({"goals": (Pose(0, 0),)}, {"goals": (Pose(**{"x": 0, "y": 0} | {key: math.inf}),)})
            for key in ("x", "y", "yaw")
        ),
        *(
            ({"boxes": (Box(0, 0),)}, {"boxes": (Box(**{"x": 0, "y": 0} | {key: math.inf}),)})
            for key in ("x", "y", "yaw", "width", "length")
        ),
    ],
)
def test_both_sides_of_a_fault(change, bad) -> None:
    assert campaign.faults(replace(PLAIN, **change)) is None
    assert campaign.faults(replace(PLAIN, **bad)) is not None


FIELDS = {
    "image": "m.pgm", "resolution": 0.05, "origin": [0, 0, 0], "occupied_thresh": 0.65,
    "free_thresh": 0.196,
}  # fmt: skip


def loaded(folder, grey=(0, 254), maximum=255, **changes):
    head = b"P5\n%d 1\n%d\n" % (len(grey), maximum)
    (folder / "m.pgm").write_bytes(head + bytes(grey))
    told = "".join(f"{k}: {v}\n" for k, v in (FIELDS | changes).items())
    (folder / "m.yaml").write_text(told)
    return maps.load_grid(folder / "m.yaml", "free")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"free_thresh": 0}, {"free_thresh": -0.001}),
        ({"occupied_thresh": 1}, {"occupied_thresh": 1.001}),
        ({"free_thresh": 0.649}, {"free_thresh": 0.65}),
        ({"resolution": 0.001}, {"resolution": 0}),
        ({"resolution": 0.5}, {"resolution": -0.5}),
        ({"negate": 0}, {"negate": -1}),
        ({"negate": 1}, {"negate": 2}),
        ({"mode": "trinary"}, {"mode": "raw"}),
        ({"origin": [1, 2, 0]}, {"origin": [1, 2, 0.001]}),
        ({"origin": [1, 2, 0]}, {"origin": [1, 2, -1]}),
        ({"origin": [1, 2, 0]}, {"origin": [1, 2, 0, 0]}),
        ({"origin": [1, 2, 0]}, {"origin": [1, 2]}),
        ({"origin": [1, 2, 0]}, {"origin": 1}),
    ],
)
def test_both_sides_of_a_map_files_bound(tmp_path, good, bad) -> None:
    assert loaded(tmp_path, **good).shape == (1, 2)
    with pytest.raises(maps.MapError, match=r"expected|rotated"):
        loaded(tmp_path, **bad)


def test_what_lies_on_a_threshold_is_unknown(tmp_path) -> None:
    """Above the one is occupied, below the other free: what is on them is neither."""
    grid = loaded(tmp_path, (0, 51, 102, 153, 255), free_thresh=0.4, occupied_thresh=0.8)
    # Occupancies 1, 0.8, 0.6, 0.4 and 0.
    assert grid.cells.tolist() == [[1, -1, -1, -1, 0]]


def test_a_point_on_an_edge_is_in_the_cell_above_it() -> None:
    grid = Grid(np.array([[0, 1], [-1, 0]]), 0.5, (-1.0, 2.0))
    rows, columns, inside = grid.index([-1.0, -0.5, 0.0, -1.25], [2.0, 2.5, 2.5, 2.0])
    assert inside.tolist() == [True, True, False, False]
    assert (rows.tolist(), columns.tolist()) == ([0, 1, 0, 0], [0, 1, 0, 0])
    assert grid.index(-1.0, 3.0)[2].tolist() is False
    assert grid.index(-1.0, 1.75)[2].tolist() is False
    assert grid.at([-1.0, -0.5, -1.0, 0.0], [2.0, 2.0, 2.5, 2.5]).tolist() == [0, 1, -1, -1]
    assert isinstance(grid.at(-1.0, 2.0), int)
    assert grid.at([-1.0], [2.0]).dtype == np.int8
    assert grid.size_m == (1.0, 1.0)


def test_a_disc_may_touch_a_face() -> None:
    """Half a cell lies between an occupied cell's centre and its face."""
    grid = Grid(np.array([[1, 0, 0, 0]]), 0.5, (0, 0))
    assert grid.inflated(0.25).tolist() == [[True, False, False, False]]
    assert grid.inflated(0.26).tolist() == [[True, True, False, False]]
    assert grid.inflated(0.75).tolist() == [[True, True, False, False]]
    assert Grid(np.array([[-1, 0]]), 0.5, (0, 0)).inflated(9.0).tolist() == [[True, False]]


def test_fields_of_a_map_are_read_only() -> None:
    for grid in (Grid(np.array([[1, 0]]), 0.5, (0, 0)), Grid(np.zeros((2, 2)), 0.5, (0, 0))):
        for field in (grid.cells, grid.distance):
            with pytest.raises(ValueError, match="read-only"):
                field[0, 0] = 1
    assert Grid(np.array([[1, 0, 0]]), 0.5, (0, 0)).distance.tolist() == [[0.0, 0.5, 1.0]]
    assert Grid(np.zeros((1, 2)), 0.5, (0, 0)).distance.tolist() == [[math.inf, math.inf]]


def test_a_folder_is_no_map_file(tmp_path) -> None:
    (tmp_path / "m.yaml").mkdir()
    with pytest.raises(maps.MapError, match=r"m\.yaml: map file is missing$"):
        maps.load_grid(tmp_path / "m.yaml")
    (tmp_path / "M.yaml").touch()
    with pytest.raises(maps.MapError, match=r"missing; there is 'M\.yaml', which differs in case$"):
        maps.load_grid(tmp_path / "m.yaml")
    with pytest.raises(maps.MapError, match="missing: there is no folder"):
        maps.load_grid(tmp_path / "none" / "m.yaml")


def bag(folder, **told):
    zero = np.zeros(2)
    made = {
        "t": np.array([0.0, 1.0]), "pose": np.zeros((2, 3)), "command": np.zeros((2, 2)),
        "scan_t": zero, "scans": np.zeros((2, 1), np.float32), "custom": {}, "counts": {},
    } | told  # fmt: skip
    limit = made.pop("max_range", 1.0)
    one = bags.Bag(**made)
    return bags.write(one, folder, run_iri="urn:x:r", config_digest="c", max_range=limit)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"t": np.array([1.0, 1.0])}, {"t": np.array([1.0, 0.999])}),
        ({"t": np.array([0.0, 0.0])}, {"t": np.array([-0.001, 0.0])}),
        ({"scan_t": np.array([0.5, 0.5])}, {"scan_t": np.array([0.5, 0.4])}),
        ({"scan_t": np.array([0.5, 0.5])}, {"scan_t": np.array([0.5, np.inf])}),
        ({"pose": np.ones((2, 3))}, {"pose": np.ones((2, 2))}),
        ({"pose": np.ones((2, 3))}, {"pose": np.ones((2, 4))}),
        ({"pose": np.ones((2, 3))}, {"pose": np.full((2, 3), np.nan)}),
        ({"pose": np.ones((2, 3))}, {"pose": np.ones(2)}),
        ({"command": np.ones((2, 2))}, {"command": np.ones((2, 3))}),
        ({"command": np.ones((2, 2))}, {"command": np.array([[0.0, 0.0], [0.0, np.inf]])}),
        ({"command": np.ones((2, 2))}, {"command": np.ones((3, 2))}),
        ({"scans": np.full((2, 5), np.inf)}, {"scans": np.ones((1, 5))}),
        ({"scans": np.full((2, 0), np.inf)}, {"scans": np.ones((2, 1, 1))}),
        ({"max_range": 0.001}, {"max_range": 0.0}),
    ],
)
def test_both_sides_of_what_a_bag_holds(tmp_path, good, bad) -> None:
    folder = bag(tmp_path / "good" / "deep" / "bag", **good)
    assert [one.name for one in folder.parent.iterdir()] == ["bag"]
    assert bags.table_of(folder)["version"] == 9
    with pytest.raises(ValueError, match=r"goes backwards|array of shape|not finite|max_range is"):
        bag(tmp_path / "bad" / "bag", **bad)
    assert not (tmp_path / "bad" / "bag").exists()


@pytest.mark.parametrize(("shape", "told"), [((3, 3), False), ((2, 9), True), ((9, 2), True)])
def test_a_map_of_three_by_three_can_be_driven_on(shape, told) -> None:
    grid = Grid(np.zeros(shape), 2.0, (0, 0))
    one = replace(PLAIN, start=Pose(3, 3), goals=(Pose(3.1, 3),))
    reason = navsim.simulate(grid, one, 0).reason
    assert ("expected at least 3 x 3" in reason) is told
