"""Bags: the same run gives the same bytes, and two teams' readers agree on what is in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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


def differing(one: bags.Bag, other: bags.Bag) -> list[str]:
    a, b = vars(one), vars(other)
    arrays = ("t", "pose", "command", "scan_t", "scans")
    found = [name for name in arrays if not np.array_equal(a[name], b[name])]
    return found + [name for name in ("custom", "counts") if a[name] != b[name]]


def test_another_reader_sees_the_same(bag: Path) -> None:
    """``mcap`` with ``mcap-ros2-support`` shares no code with the writer, nor with our reader."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    ours = bags.read(bag)
    told: dict[str, list[Any]] = {topic: [] for topic in bags.TOPICS}
    with (bag / "bag.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            told[channel.topic].append(message)
    assert {topic: len(rows) for topic, rows in told.items()} == ours.counts
    poses = [(m.pose.position.x, m.pose.position.y) for m in told["/pose"]]
    assert np.array_equal(ours.pose[:, :2], poses)
    asked = [(m.twist.linear.x, m.twist.angular.z) for m in told["/cmd_vel"]]
    assert np.array_equal(ours.command, asked)
    assert np.array_equal(ours.scans, np.array([m.ranges for m in told["/scan"]], np.float32))
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec / 1e9 for m in told["/pose"]]
    assert np.allclose(ours.t, stamps, atol=1e-9)


def test_stamps_are_finer_than_a_millisecond(run: navsim.Run, tmp_path: Path) -> None:
    fine = replace(run, t=run.t + 0.000123, scan_t=run.scan_t + 0.000456)
    found = bags.read(write(fine, tmp_path / "bag"))
    assert np.array_equal(found.t, np.round(fine.t, 6))
    assert np.array_equal(found.scan_t, np.round(fine.scan_t, 6))
    # As fine as a stamp is.
    near = replace(run, t=run.t + 1e-9, scan_t=run.scan_t + 3e-7)
    found = bags.read(write(near, tmp_path / "near"))
    assert (found.t[0], found.scan_t[0]) == (1e-9, 3e-7)


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
        ({"pose": np.zeros((3, 3))}, r"array of shape \(3, 3\)"),
        ({"command": np.full((1, 2), np.nan)}, r"array of shape \(1, 2\)"),
        ({"scan_t": np.zeros(0)}, "0 times and an array"),
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


def test_damaged_bags(run: navsim.Run, tmp_path: Path) -> None:
    read = bags.read
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
    assert differing(bags.read(tmp_path / "rosbag2_MCAP"), found) == []
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
    with pytest.raises(BagError, match="/pose carries std_msgs/msg/String, expected geometry"):
        bags.read(tmp_path / "b")


def foreign(folder: Path, *rows: tuple[str, str, Any]) -> Path:
    """Write a bag of messages a second apart, from the third on; a row is topic, type, content."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types

    def made(kind: str, content: Any, t: int) -> Any:
        vector = types["geometry_msgs/msg/Vector3"]
        head = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](t, 0), "map")
        if kind == "sensor_msgs/msg/LaserScan":
            seen = np.ones(content, np.float32)
            return types[kind](head, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 9.0, seen, seen[:0])
        if kind == "geometry_msgs/msg/Twist":
            return types[kind](vector(content[0], 0.0, 0.0), vector(0.0, 0.0, content[1]))
        if kind == "geometry_msgs/msg/TwistStamped":
            return types[kind](head, made("geometry_msgs/msg/Twist", content, t))
        x, *turn = content
        at = types["geometry_msgs/msg/Point"](x, 0.0, 0.0)
        turned = types["geometry_msgs/msg/Quaternion"](*turn)
        return types[kind](head, types["geometry_msgs/msg/Pose"](at, turned))

    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        known: dict[str, Any] = {}
        for t, (topic, kind, content) in enumerate(rows, 3):
            if topic not in known:
                known[topic] = writer.add_connection(topic, kind, typestore=store)
            message = store.serialize_cdr(made(kind, content, t), kind)
            writer.write(known[topic], t * bags.NANO, message)
    return folder


def test_a_command_without_a_stamp_has_the_bags_time(tmp_path: Path) -> None:
    twist = ("/cmd_vel", "geometry_msgs/msg/Twist")
    found = bags.read(foreign(tmp_path / "b", (*twist, (0.2, 0.1)), (*twist, (0.3, -0.1))))
    assert found.command.tolist() == [[0.2, 0.1], [0.3, -0.1]]
    assert found.counts["/cmd_vel"] == 2


POSE, COMMAND = ((topic, bags.TOPICS[topic]) for topic in ("/pose", "/cmd_vel"))


@pytest.mark.parametrize(
    ("roll", "pitch", "yaw"),
    [(0, 0, 0.5), (0, 0.6, 0.5), (0.7, 0, -2.0), (-0.4, 0.6, 3.0), (np.pi / 2, 0, 0.25)],
)
@pytest.mark.parametrize("scale", [1, -1, 0.995])
def test_yaw_of_a_tilted_robot(
    tmp_path: Path, roll: float, pitch: float, yaw: float, scale: float
) -> None:
    (a, b, c), (p, q, r) = (f(np.array([roll, pitch, yaw]) / 2).tolist() for f in (np.cos, np.sin))
    turn = (
        p * b * c - a * q * r,
        a * q * c + p * b * r,
        a * b * r - p * q * c,
        a * b * c + p * q * r,
    )
    told = tuple(scale * one for one in turn)
    found = bags.read(foreign(tmp_path / "b", (*POSE, (1.5, *told))))
    assert found.pose[0].tolist() == pytest.approx([1.5, 0.0, yaw], abs=1e-12)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((*POSE, (1.0, 0.0, 0.0, 0.0, 0.0)), r"/pose: the quaternion .*, expected length 1"),
        ((*POSE, (1.0, 0.0, 0.0, 0.0, 1.02)), r"/pose: the quaternion .*, expected length 1"),
        ((*POSE, (1.0, 0.0, 0.0, np.nan, 1.0)), r"/pose: the quaternion .*, expected length 1"),
        ((*POSE, (np.nan, 0.0, 0.0, 0.0, 1.0)), r"/pose: \(nan, .*expected finite"),
        (
            ("/cmd_vel", bags.TOPICS["/cmd_vel"], (np.inf, 0.0)),
            r"/cmd_vel: \(inf, .*expected finite",
        ),
    ],
)
def test_a_pose_or_command_that_is_none(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(BagError, match=says):
        bags.read(foreign(tmp_path / "b", row))


def test_scans_of_two_lengths(tmp_path: Path) -> None:
    scan = ("/scan", bags.TOPICS["/scan"])
    assert bags.read(foreign(tmp_path / "a", (*scan, 4), (*scan, 4))).scans.shape == (2, 4)
    with pytest.raises(BagError, match=r"b: cannot be read: .*/scan has messages of different"):
        bags.read(foreign(tmp_path / "b", (*scan, 4), (*scan, 5)))
