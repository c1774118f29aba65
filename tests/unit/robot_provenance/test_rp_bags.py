"""Bags: the same run gives the same bytes, and two teams' readers agree on what is in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.robot_provenance import bags
from lib.robot_provenance.bags import BagError
from lib.robot_provenance.study import floorplans, navsim


@pytest.fixture(scope="module")
def run() -> navsim.Run:
    grids, scenarios = floorplans.default_campaign()
    (one,) = [s for s in scenarios if s.name == "middle-one-room"]
    return navsim.simulate(grids[one.map_file], one, 0)


def write(run: navsim.Run, folder: Path) -> Path:
    return bags.write(run, folder, run_iri="arcp://name,demo/runs/x", config_digest="ab" * 32)


@pytest.fixture(scope="module")
def bag(run: navsim.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(run, tmp_path_factory.mktemp("bags") / "bag")


def test_two_writes_are_bit_identical(run: navsim.Run, bag: Path, tmp_path: Path) -> None:
    again = write(run, tmp_path / "elsewhere" / "bag")
    for name in ("bag.mcap", "metadata.yaml"):
        assert (again / name).read_bytes() == (bag / name).read_bytes()
    # The control: another run gives another bag.
    other = replace(run, t=run.t + 0.1)
    assert (write(other, tmp_path / "b" / "bag") / "bag.mcap").read_bytes() != (
        bag / "bag.mcap"
    ).read_bytes()


def test_what_is_written_is_read(run: navsim.Run, bag: Path) -> None:
    found = bags.read(bag)
    assert np.array_equal(found.t, run.t)
    assert np.array_equal(found.scan_t, run.scan_t)
    assert np.array_equal(found.command, run.command)
    assert np.array_equal(found.scans, run.scans)
    assert np.array_equal(found.pose[:, :2], run.pose[:, :2])
    # The yaw goes through a quaternion of nine decimals.
    turn = np.angle(np.exp(1j * (found.pose[:, 2] - run.pose[:, 2])))
    assert np.abs(turn).max() < 5e-9
    assert found.custom == {"run": "arcp://name,demo/runs/x", "config": "ab" * 32}
    assert found.counts == {"/pose": len(run.t), "/cmd_vel": len(run.t), "/scan": len(run.scan_t)}


def test_an_independent_reader_agrees(bag: Path) -> None:
    ours, theirs = bags.read(bag), bags.read_independent(bag)
    assert bags.compare(ours, theirs) == []
    scans = theirs.scans.copy()
    scans[0, 0] += 1
    assert bags.compare(ours, replace(theirs, scans=scans)) == ["scans"]
    assert bags.compare(ours, replace(theirs, custom={})) == ["custom"]


def test_a_run_in_which_nothing_happened(run: navsim.Run, tmp_path: Path) -> None:
    empty = replace(
        run,
        t=run.t[:0],
        pose=run.pose[:0],
        command=run.command[:0],
        scans=run.scans[:0],
        scan_t=run.scan_t[:0],
    )
    write(empty, tmp_path / "bag")
    found = bags.read(tmp_path / "bag")
    assert bags.compare(found, bags.read_independent(tmp_path / "bag")) == []
    assert found.t.shape == (0,)
    assert found.pose.shape == (0, 3)
    assert bags.trace(found, tmp_path / "t.csv").read_text().count("\n") == 1


def test_trace_has_units_in_its_names(run: navsim.Run, bag: Path, tmp_path: Path) -> None:
    lines = bags.trace(bags.read(bag), tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "t_s,x_m,y_m,yaw_rad,v_m_s,w_rad_s"
    assert len(lines) == 1 + len(run.t)
    table = np.loadtxt(tmp_path / "t.csv", delimiter=",", skiprows=1)
    assert np.abs(table[:, 1:3] - run.pose[:, :2]).max() <= 5.1e-7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": np.array([0.0, -1.0])}, "goes backwards"),
        ({"t": np.array([0.0, np.nan])}, "not finite"),
        ({"pose": np.zeros((3, 3))}, r"pose has shape \(3, 3\)"),
        ({"command": np.full((1, 2), np.nan)}, "command has shape"),
        ({"scan_t": np.zeros(0)}, "0 scan times"),
    ],
)
def test_bad_runs_leave_nothing(
    run: navsim.Run, tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(BagError, match=message):
        write(replace(run, **change), tmp_path / "bag")
    assert list(tmp_path.iterdir()) == []


def test_a_bag_is_not_overwritten(run: navsim.Run, bag: Path) -> None:
    with pytest.raises(BagError, match="never overwritten"):
        write(run, bag)


@pytest.mark.parametrize("read", [bags.read, bags.read_independent])
def test_damaged_bags(run: navsim.Run, tmp_path: Path, read: object) -> None:
    assert callable(read)
    folder = write(run, tmp_path / "bag")
    content = (folder / "bag.mcap").read_bytes()
    (folder / "bag.mcap").write_bytes(content[: len(content) // 2])
    with pytest.raises(BagError, match="cannot be read"):
        read(folder)
    (folder / "bag.mcap").unlink()
    with pytest.raises(BagError, match=r"bag\.mcap: missing"):
        read(folder)
    (folder / "bag.mcap").write_bytes(content)
    table = (folder / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(table.replace("message_count", "message_number"))
    with pytest.raises(BagError, match="not a bag's metadata: KeyError: 'message_count'"):
        read(folder)
    (folder / "metadata.yaml").write_text("nothing")
    with pytest.raises(BagError, match="not a bag's metadata"):
        read(folder)


def test_a_bag_as_ros2_writes_it(run: navsim.Run, tmp_path: Path) -> None:
    """Files have the bag's name, and there are topics that we know nothing of."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_JAZZY)
    text = "std_msgs/msg/String"
    ours = bags._messages(run, 12.0)
    for plugin in (StoragePlugin.MCAP, StoragePlugin.SQLITE3):
        folder = tmp_path / f"rosbag2_{plugin.name}"
        with Writer(folder, version=9, storage_plugin=plugin) as writer:
            odom = writer.add_connection("/odom", text, typestore=types)
            known = {
                topic: writer.add_connection(topic, kind, typestore=types)
                for topic, kind in bags.TOPICS.items()
            }
            for ns, topic, message in ours:
                kind = bags.TOPICS[topic]
                writer.write(known[topic], ns, types.serialize_cdr(message, kind))
            word = types.types[text]("here")
            for ns in (1, 2):
                writer.write(odom, ns, types.serialize_cdr(word, text))
        assert not (folder / "bag.mcap").exists()
        found = bags.read(folder)
        assert found.counts["/odom"] == 2
        assert found.counts["/pose"] == len(run.t)
        assert np.array_equal(found.scans, run.scans)
        assert np.array_equal(found.command, run.command)
    assert bags.compare(bags.read_independent(tmp_path / "rosbag2_MCAP"), found) == []
    (tmp_path / "rosbag2_MCAP" / "rosbag2_MCAP.mcap").unlink()
    with pytest.raises(
        BagError, match=r"rosbag2_MCAP\.mcap: missing, though metadata.yaml names it"
    ):
        bags.read(tmp_path / "rosbag2_MCAP")


def test_a_topic_of_ours_with_another_message_is_refused(tmp_path: Path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    types, text = get_typestore(Stores.ROS2_JAZZY), "std_msgs/msg/String"
    with Writer(tmp_path / "b", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        pose = writer.add_connection("/pose", text, typestore=types)
        writer.write(pose, 1, types.serialize_cdr(types.types[text]("here"), text))
    for read in (bags.read, bags.read_independent):
        with pytest.raises(BagError, match="/pose carries std_msgs/msg/String, expected geometry"):
            read(tmp_path / "b")
