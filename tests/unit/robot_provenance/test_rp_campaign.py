"""Campaign files, exact resolution, and repairs that are decisions."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rp_vast import dump_vast

from lib.core import data
from lib.robot_provenance import campaign, maps
from lib.robot_provenance.campaign import Box, CampaignError, Pose, Repair, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.study import authors as authors_files
from lib.robot_provenance.study import labels


def pose(x, y, yaw=0.0):
    return {"position": {"x": x, "y": y}, "orientation": {"yaw": yaw}}


def entry(name="a", map_file="maps/m.yaml", goals=((1, 1),), **more):
    parameters = [
        {"goal_poses": [pose(*g) for g in goals]},
        {"map_file": map_file},
        {"start_pose": pose(0.5, 0.5, 0.1)},
        *({k: v} for k, v in more.items()),
    ]
    return {"name": name, "parameters": parameters}


def vast(folder, *entries):
    file = folder / "c.vast"
    file.write_text(yaml.safe_dump({"configuration": list(entries)}), encoding="utf-8")
    return file


def scenario(name="a", map_file="maps/m.yaml", **more):
    return Scenario(name, map_file, Pose(0.5, 0.5), (Pose(1, 1),), **more)


@pytest.fixture
def root(tmp_path):
    one, other = np.zeros((4, 4), np.int8), np.eye(4, dtype=np.int8)
    Grid(one, 0.5, (0, 0)).write(tmp_path / "maps", "m")
    Grid(one, 0.5, (0, 0)).write(tmp_path / "Ordner mit Lücke", "m")
    Grid(other, 0.5, (0, 0)).write(tmp_path / "0.5 door", "n")
    return tmp_path


def test_a_file_is_read_in_order_with_numbers_written_as_text(tmp_path):
    box = {
        "spawn_pose": pose(2, 3, 0.5),
        "xacro_arguments": "length:=0.700, width:=0.5, height:=1.0",
    }
    more = {
        "static_objects": [box],
        "laserscan_gaussian_noise_std_deviation": "0.05",
        "laserscan_random_drop_percentage": "25",
    }
    second, first = campaign.load_vast(vast(tmp_path, entry("b", **more), entry("a")))
    assert (second.name, first.name) == ("b", "a")
    assert second.boxes == (Box(2, 3, 0.5, width=0.5, length=0.7),)
    assert (second.noise_std, second.drop_rate) == (0.05, 0.25)
    assert second.start == Pose(0.5, 0.5, 0.1)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([], "expected a list of scenarios"),
        ([{"parameters": []}], "entry 0: has no name"),
        ([entry(), entry()], "'a'"),
        ([{"name": "a", "parameters": [{"x": 1, "y": 2}]}], "expected one key"),
        ([entry(static_object=[])], "'static_object' is none of"),
        ([{"name": "a", "parameters": []}], "map_file is None, expected a str"),
        ([entry(start_pose=pose(0, 0))], "'start_pose' comes twice"),
        ([entry(map_file=3)], "map_file is 3, expected a str"),
        ([entry(laserscan_gaussian_noise_std_deviation="much")], "'a'.*much"),
        ([entry(static_objects=[{"spawn_pose": pose(0, 0)}])], "xacro_arguments"),
        (
            [entry(static_objects=[{"spawn_pose": pose(0, 0), "xacro_arguments": "w:=1"}])],
            "KeyError: 'width'",
        ),
    ],
)
def test_a_bad_file_is_refused_by_entry(tmp_path, entries, says):
    with pytest.raises(CampaignError, match=says):
        campaign.load_vast(vast(tmp_path, *entries))


def test_a_file_that_is_no_yaml(tmp_path):
    (tmp_path / "c.vast").write_text("{")
    with pytest.raises(CampaignError, match="not readable as YAML"):
        campaign.load_vast(tmp_path / "c.vast")


@pytest.mark.parametrize("path", ["./maps/m.yaml", "maps//m.yaml", "maps/./m.yaml"])
def test_a_right_path_is_no_slip_however_it_is_written(root, path):
    found = campaign.resolve([scenario("a", path)], root)
    (one,) = found.ok
    assert one.map_file == path
    assert one.map_digest == found.map_files["maps/m.yaml"]
    assert found.unresolved == ()
    assert found.report()["map found"] == 1
    wrong = Repair(path, "0.5 door/n.yaml", "a guess", "file name")
    with pytest.raises(CampaignError, match="is a map; a repair must not replace it"):
        campaign.resolve([scenario("a", path)], root, [wrong])


def test_nothing_is_matched_that_is_not_at_its_path(root):
    given_ = [
        scenario("found"),
        scenario("spaces", "Ordner mit Lücke/m.yaml"),
        scenario("case", "Maps/m.yaml"),
        scenario("file", "maps/default.yaml"),
        scenario("folder", "0.50 door/n.yaml"),
        scenario("lost", "elsewhere/m.yaml"),
        scenario("absolute", str(root / "maps/m.yaml")),
        scenario("around", "maps/../maps/m.yaml"),
    ]
    found = campaign.resolve(given_, root)
    assert [s.name for s in found.ok] == ["found", "spaces"]
    slips = {u.scenario.name: u.slip for u in found.unresolved}
    assert slips == {
        "case": "case",
        "file": "file name",
        "folder": "folder",
        "lost": "not found",
        "absolute": "not found",
        "around": "not found",
    }
    assert all(s.map_digest is None for s in found.scenarios[2:])
    assert found.grids[found.ok[0].map_digest].shape == (4, 4)
    # Two files, one grid; and by content the first two scenarios are one.
    assert found.map_files["Ordner mit Lücke/m.yaml"] == found.map_files["maps/m.yaml"]
    assert found.scenarios[0].digest == found.scenarios[1].digest
    assert found.report()["distinct grids"] == 2


def test_only_a_repair_that_is_passed_back_is_applied_and_recorded(root):
    plain = campaign.resolve([scenario("a", "Maps/m.yaml"), scenario("b")], root)
    (repair,) = campaign.proposed_repairs(plain)
    assert (repair.from_path, repair.to_path, repair.kind) == ("Maps/m.yaml", "maps/m.yaml", "case")
    assert "upper and lower case" in repair.reason
    done = campaign.resolve([scenario("a", "Maps/m.yaml"), scenario("b")], root, [repair])
    assert done.repairs == {repair: ("a",)}
    assert done.scenarios[0].derived_from == plain.scenarios[0].digest
    assert done.scenarios[0].map_file == "maps/m.yaml"
    assert done.scenarios[1].derived_from is None
    assert done.scenarios[0].digest == done.scenarios[1].digest


def test_an_ambiguity_is_not_proposed(root):
    Grid(np.zeros((2, 2)), 1.0, (0, 0)).write(root / "maps", "second")
    found = campaign.resolve([scenario("a", "maps/default.yaml")], root)
    assert found.unresolved[0].candidates == ("maps/m.yaml", "maps/second.yaml")
    assert campaign.proposed_repairs(found) == ()


@pytest.mark.parametrize(
    ("repairs", "says"),
    [
        ([("maps/m.yaml", "0.5 door/n.yaml")], "must not replace"),
        ([("Maps/m.yaml", "maps/none.yaml")], "there is no such map"),
        ([("other.yaml", "maps/m.yaml")], "no scenario names it"),
        ([("Maps/m.yaml", "maps/m.yaml"), ("Maps/m.yaml", "0.5 door/n.yaml")], "two repairs"),
    ],
)
def test_bad_repairs_are_refused(root, repairs, says):
    listed = [Repair(a, b, "because", "case") for a, b in repairs]
    with pytest.raises(CampaignError, match=says):
        campaign.resolve([scenario("a", "Maps/m.yaml"), scenario("b")], root, listed)


def test_faulty_scenarios_and_broken_maps_are_listed_with_the_reason(root):
    (root / "maps" / "m.pgm").write_bytes(b"P5\n4 4\n255\n123")
    given_ = [
        scenario("truncated"),
        replace(scenario("empty", "0.5 door/n.yaml"), goals=()),
        replace(scenario("nan", "0.5 door/n.yaml"), start=Pose(math.nan, 0)),
        replace(scenario("inf", "0.5 door/n.yaml"), goals=(Pose(0, 0), Pose(0, 0, math.inf))),
        replace(scenario("box", "0.5 door/n.yaml"), boxes=(Box(0, 0, width=-1),)),
        replace(scenario("noise", "0.5 door/n.yaml"), noise_std=-0.1),
        replace(scenario("drop", "0.5 door/n.yaml"), drop_rate=math.nan),
    ]
    found = campaign.resolve(given_, root)
    assert found.ok == ()
    reasons = {i.scenario.name: i.reason for i in found.invalid}
    assert "truncated" in reasons["truncated"]
    assert reasons["empty"] == "the list of goals is empty"
    assert reasons["nan"].startswith("the start is not finite: x=nan")
    assert reasons["inf"].startswith("goal 2 is not finite")
    assert reasons["box"].startswith("box 1 is not a box")
    assert "noise is -0.1" in reasons["noise"]
    assert "drop rate is nan" in reasons["drop"]
    assert found.unresolved == ()


def test_a_missing_root_and_names_that_repeat(root):
    with pytest.raises(CampaignError, match="no such folder"):
        campaign.resolve([scenario()], root / "none")
    with pytest.raises(CampaignError, match="more than once, first 'a'"):
        campaign.resolve([scenario(), scenario()], root)


finite = st.floats(-100, 100)


@given(finite, finite, st.floats(0, 1))
def test_the_digest_is_of_content_not_of_names(x, y, noise):
    one = Scenario("a", "m.yaml", Pose(x, y), (Pose(y, x),), noise_std=noise, map_digest="ab")
    assert replace(one, name="b", map_file="n.yaml").digest == one.digest
    assert replace(one, map_digest="cd").digest != one.digest
    assert replace(one, start=Pose(x + 1, y)).digest != one.digest
    assert (
        replace(one, map_digest=None).digest != replace(one, map_digest=None, map_file="n").digest
    )
    assert replace(one, start=Pose(-0.0, y)).digest == replace(one, start=Pose(0.0, y)).digest


# ---------------------------------------------------------------- the authors' files


@pytest.fixture(scope="module")
def authors():
    return authors_files.authors_campaign()


def test_the_authors_campaign_resolves_as_counted(authors):
    assert authors.report() == {
        "scenarios": 315,
        "map found": 113,
        "map not at its path": 202,
        "slip: file name": 180,
        "slip: case": 21,
        "slip: folder": 1,
        "slip: not found": 0,
        "invalid": 1,
        "runnable": 113,
        "repaired": 0,
        "map files": 19,
        "distinct grids": 12,
        "distinct without meshes": 313,
    }
    (fault,) = authors.invalid
    assert fault.scenario.name.endswith("4s2-12")
    assert fault.reason == "the list of goals is empty"
    alike = Counter(authors.map_files.values())
    assert sorted(n for n in alike.values() if n > 1) == [2, 7]
    assert sum(labels.label(s.name) is not None for s in authors.scenarios) == 300


def test_three_repairs_mend_the_authors_campaign(authors):
    repairs = campaign.proposed_repairs(authors)
    assert sorted(r.kind for r in repairs) == ["case", "file name", "folder"]
    done = authors_files.authors_campaign(repairs)
    report = done.report()
    assert (report["map found"], report["repaired"], report["runnable"]) == (315, 202, 314)
    # By content one more scenario falls together once its map is known.
    assert report["distinct without meshes"] == 312
    assert len({one.digest for one in done.scenarios}) == 315
    assert {r.kind: len(names) for r, names in done.repairs.items()} == {
        "case": 21,
        "file name": 180,
        "folder": 1,
    }
    assert Path(repairs[0].to_path).suffix == ".yaml"


def test_the_authors_logical_scenarios():
    found = authors_files.authors_logical()
    counts = found["map"].map(lambda one: Path(one).stem).value_counts()
    assert sorted(counts) == [9, 15, 15, 15, 15]
    assert all(Path(one).is_absolute() for one in found["map"])
    assert found["concrete"].sum() == 45 * 25 * 3
    assert found["concrete"].isna().sum() == 24
    assert len(found) == 69
    sets = ("robovast_small_environments", "robovast_large_environments")
    files = [file for name in sets for file in data.fetch(name).values()]
    grids = {one.stem: maps.load_grid(one) for one in files if one.suffix == ".yaml"}
    assert {name: grid.shape for name, grid in sorted(grids.items())} == {
        "hallways": (251, 356),
        "hospital": (546, 509),
        "office": (988, 992),
        "rooms": (273, 343),
    }
    assert set(counts.index) - set(grids) == {"frontiers_brsu_building_c"}


def test_the_mesh_is_part_of_a_scenarios_identity(root):
    """By its digest where one is known, else by its path; the plane knows nothing of it."""
    given = [
        scenario("a", mesh_file="0.50/mesh.stl"),
        scenario("b", mesh_file="0.52/mesh.stl"),
        scenario("c", mesh_file="0.53/mesh.stl"),
        scenario("d"),
    ]
    by_path = campaign.resolve(given, root)
    assert len({one.digest for one in by_path.scenarios}) == 4
    assert by_path.report()["distinct without meshes"] == 1
    same = {"0.50/mesh.stl": "a" * 64, "0.52/mesh.stl": "b" * 64, "0.53/mesh.stl": "b" * 64}
    by_content = campaign.resolve(given, root, meshes=same)
    assert len({one.digest for one in by_content.scenarios}) == 3
    assert by_content.scenarios[1].digest == by_content.scenarios[2].digest
    assert [one.mesh_digest for one in by_content.scenarios] == ["a" * 64, "b" * 64, "b" * 64, None]
    # Without a mesh the identity is what it was before there were meshes.
    assert "mesh" not in given[3].content()
    assert given[3].digest == given[3].plane_digest == given[0].plane_digest
    assert given[0].digest != given[0].plane_digest


def test_a_mesh_is_read_and_written(tmp_path):
    (one,) = campaign.load_vast(vast(tmp_path, entry(mesh_file="3d/m.stl")))
    assert one.mesh_file == "3d/m.stl"
    (tmp_path / "again.vast").write_text(dump_vast([one]), encoding="utf-8")
    assert campaign.load_vast(tmp_path / "again.vast") == [one]
    with pytest.raises(CampaignError, match="mesh_file is 3, expected a str"):
        campaign.load_vast(vast(tmp_path, entry(mesh_file=3)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"start": Pose(0.5, 0.5, 90.0)}, "the start has a yaw of 90.0 rad, more than a turn"),
        ({"start": Pose(0.5, 0.5, -180.0)}, "the start has a yaw of -180.0 rad"),
        ({"goals": (Pose(1, 1), Pose(1, 1, 6.3))}, "goal 2 has a yaw of 6.3 rad"),
        ({"boxes": (Box(1, 1), Box(1, 1, 45.0))}, "box 2 is not a box: a yaw of 45.0 rad"),
        ({"boxes": (Box(1, 1, width=0.0),)}, "width is 0.0, length is 0.5, expected > 0 m"),
        ({"boxes": (Box(1, 1, length=0.0),)}, "width is 0.5, length is 0.0, expected > 0 m"),
        ({"boxes": (Box(1, 1, width=-0.1),)}, "width is -0.1"),
        ({"boxes": (Box(1, math.inf),)}, "not finite"),
        ({"noise_std": -0.01}, "the lidar's noise is -0.01 m"),
        ({"drop_rate": 1.01}, "the lidar's drop rate is 1.01"),
        ({"goals": ()}, "the list of goals is empty"),
    ],
)
def test_each_fault_of_a_scenario_is_told(change, says):
    one = replace(scenario(), **change)
    assert says in campaign.faults(one)


def test_control_what_is_on_the_edge_is_no_fault():
    one = replace(
        scenario(),
        start=Pose(0.5, 0.5, 2 * math.pi),
        goals=(Pose(1, 1, -2 * math.pi),),
        boxes=(Box(1, 1, math.pi, 1e-9, 1e-9),),
        noise_std=0.0,
        drop_rate=1.0,
    )
    assert campaign.faults(one) is None
