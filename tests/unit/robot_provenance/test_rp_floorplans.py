"""Generated plans: what is drawn is what is said, and the default campaign has everything."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rp_grids import floor_plan
from scipy import ndimage

from lib.robot_provenance import campaign
from lib.robot_provenance.maps import FREE, UNKNOWN
from lib.robot_provenance.study import floorplans

seeds = st.integers(0, 2**31)


@given(seeds, st.integers(1, 5))
@settings(max_examples=20)
def test_rooms_doors_and_corridor_are_where_the_plan_says(seed, n_rooms):
    graph = floorplans.layout(
        {"seed": seed, "door_widths": (0.5, 0.9), "n_rooms": n_rooms, "corridor": 1.6}
    )
    grid = floorplans.drawn(graph)
    assert len(graph["rooms"]) == 2 * n_rooms
    for room in graph["rooms"]:
        inside = grid.cells[
            room["bottom"] : room["bottom"] + room["depth"],
            room["left"] : room["left"] + room["width"],
        ]
        assert (inside == FREE).all()
        wall = grid.cells[room["wall"], room["left"] : room["left"] + room["width"]]
        assert np.count_nonzero(wall == FREE) == room["opening"] in (10, 18)
    assert (grid.cells[0] == UNKNOWN).all()
    # One building: everything free hangs together, and nothing outside is free.
    assert ndimage.label(grid.cells == FREE)[1] == 1
    assert grid.digest == floor_plan(seed, door_widths=(0.5, 0.9), n_rooms=n_rooms).digest


@given(seeds)
@settings(max_examples=20)
def test_a_robot_wider_than_the_doors_stays_in_its_room(seed):
    grid = floor_plan(seed, door_widths=(0.3,))
    # The corridor and six rooms.
    assert ndimage.label(~grid.inflated(0.175))[1] == 7


def test_seeds_differ():
    assert len({floor_plan(s).digest for s in range(10)}) == 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"door_widths": ()}, "door_widths"),
        ({"door_widths": (np.nan,)}, "door_widths"),
        ({"door_widths": (2.0,)}, "door_widths"),
        ({"n_rooms": 0}, "n_rooms is 0"),
        ({"corridor": 0.1}, "corridor is 0.1"),
        ({"corridor": np.nan}, "corridor is nan"),
    ],
)
def test_bad_plans_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        floor_plan(1, **arguments)


def test_the_default_campaign_resolves_from_its_own_files(tmp_path):
    """Written down and read back, it is the same campaign."""
    grids, scenarios = floorplans.default_campaign()
    for name, grid in grids.items():
        grid.write(tmp_path / "maps", name.removeprefix("maps/").removesuffix(".yaml"))
    found = campaign.resolve(scenarios, tmp_path)
    assert [s.digest for s in found.scenarios] == [s.digest for s in scenarios]
    assert len({s.digest for s in scenarios}) == len(scenarios) - 1 == 24
    assert set(found.grids) == {g.digest for g in grids.values()}
    assert {i.scenario.name for i in found.invalid} == {"faulty-no-goals", "faulty-nan-start"}


def test_the_default_campaign_is_what_it_was():
    """Grids and scenarios by content: the numbers of the pages rest on them."""
    grids, scenarios = floorplans.default_campaign()
    assert {name: one.digest[:12] for name, one in grids.items()} == {
        "maps/wide.yaml": "489a97c7cbad",
        "maps/middle.yaml": "37f859294dd1",
        "maps/narrow.yaml": "61cd8ca920af",
        "maps/closed.yaml": "5d7866e587ad",
    }
    told = "".join(
        f"{one.name} {one.digest}\n" for one in scenarios if one.name != "wide-hall-again"
    )
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "068066bd8b85520e"
