"""ROS 2 bags of simulated runs: written and read by ``rosbags``, and read again independently.

A bag is a folder with ``bag.mcap`` and ``metadata.yaml``. Stamps are *simulated* time, so that two
writes of the same run are the same bytes and a replay can be compared by digest. No ROS is needed.
``mcap`` with ``mcap-ros2-support``, another team's code, is the second reader.

| topic | message | what |
| --- | --- | --- |
| ``/pose`` | geometry_msgs/PoseStamped | true pose in the map's frame, m and a quaternion |
| ``/cmd_vel`` | geometry_msgs/TwistStamped | speeds asked for, m/s and rad/s |
| ``/scan`` | sensor_msgs/LaserScan | ranges in m; inf where nothing came back |
"""

from __future__ import annotations

import functools
import math
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from lib.core.paths import write_atomic
from lib.robot_provenance.lidar import unit
from lib.robot_provenance.navsim import Run

__all__ = ["TOPICS", "Bag", "BagError", "compare", "read", "read_independent", "trace", "write"]

Floats = npt.NDArray[np.float64]

TOPICS: dict[str, str] = {
    "/pose": "geometry_msgs/msg/PoseStamped",
    "/cmd_vel": "geometry_msgs/msg/TwistStamped",
    "/scan": "sensor_msgs/msg/LaserScan",
}
"""Message type by topic."""

RANGE_MIN = 0.0
NANO = 1_000_000_000


class BagError(ValueError):
    """A bag that is missing, incomplete or not one of ours."""


@dataclass(frozen=True, eq=False)
class Bag:
    """What a bag says.

    Parameters
    ----------
    t : ndarray, shape (n_steps,)
        Simulated time of the poses, s.
    pose : ndarray, shape (n_steps, 3)
        x, y in m; yaw in rad, in [-pi, pi].
    command : ndarray, shape (n_steps, 2)
        m/s and rad/s.
    scan_t : ndarray, shape (n_scans,)
        s.
    scans : ndarray of float32, shape (n_scans, n_beams)
        m.
    custom : dict of str to str
        What the writer noted: ``run`` (IRI) and ``config`` (digest).
    counts : dict of str to int
        Messages by topic.
    """

    t: Floats
    pose: Floats
    command: Floats
    scan_t: Floats
    scans: npt.NDArray[np.float32]
    custom: dict[str, str]
    counts: dict[str, int]


@functools.cache
def _types() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def _messages(run: Run, max_range: float) -> Iterator[tuple[int, str, Any]]:
    """Yield (ns, topic, message), sorted by time and topic."""
    types = _types().types
    header, stamp = types["std_msgs/msg/Header"], types["builtin_interfaces/msg/Time"]
    point, quaternion = types["geometry_msgs/msg/Point"], types["geometry_msgs/msg/Quaternion"]
    vector, pose = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Pose"]
    twist = types["geometry_msgs/msg/Twist"]

    def head(ns: int, frame: str) -> Any:
        return header(stamp(ns // NANO, ns % NANO), frame)

    rows: list[tuple[int, str, Any]] = []
    for t, (x, y, yaw), (v, w) in zip(
        run.t.tolist(), run.pose.tolist(), run.command.tolist(), strict=True
    ):
        ns = round(t * NANO)
        cos, sin = unit(yaw / 2)
        where = pose(point(x, y, 0.0), quaternion(0.0, 0.0, sin, cos))
        rows.append((ns, "/pose", types[TOPICS["/pose"]](head(ns, "map"), where)))
        asked = twist(vector(v, 0.0, 0.0), vector(0.0, 0.0, w))
        rows.append((ns, "/cmd_vel", types[TOPICS["/cmd_vel"]](head(ns, "base_link"), asked)))
    n_beams = run.scans.shape[1]
    step = 2 * math.pi / max(n_beams, 1)
    nothing = np.zeros(0, np.float32)
    for t, ranges in zip(run.scan_t.tolist(), run.scans, strict=True):
        ns = round(t * NANO)
        scan = types[TOPICS["/scan"]](
            head(ns, "laser"),
            -math.pi,
            -math.pi + step * (n_beams - 1),
            step,
            0.0,
            0.0,
            RANGE_MIN,
            max_range,
            np.ascontiguousarray(ranges, np.float32),
            nothing,
        )
        rows.append((ns, "/scan", scan))
    rows.sort(key=lambda row: (row[0], row[1]))
    yield from rows


def write(
    run: Run, folder: Path, *, run_iri: str, config_digest: str, max_range: float = 12.0
) -> Path:
    """Write a bag; two writes of the same run give the same bytes.

    Parameters
    ----------
    run : Run
    folder : Path
        Made; must not be there. Appears complete or not at all.
    run_iri, config_digest : str
        Stored as the bag's custom data, so that a bag that went astray still says whose it is.
    max_range : float
        Of the lidar, m.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    BagError
        If the folder is there, times go backwards or below zero, or the arrays do not fit.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer

    folder = Path(folder)
    if folder.exists():
        raise BagError(f"{folder}: there is something already; a bag is never overwritten")
    for name, t in (("t", run.t), ("scan_t", run.scan_t)):
        if t.size and not (np.isfinite(t).all() and t[0] >= 0 and (np.diff(t) >= 0).all()):
            raise BagError(f"{name} goes backwards, below zero or is not finite; expected seconds")
    if len(run.pose) != len(run.t) or len(run.command) != len(run.t):
        raise BagError(f"{len(run.t)} times, {len(run.pose)} poses, {len(run.command)} commands")
    if len(run.scans) != len(run.scan_t):
        raise BagError(f"{len(run.scan_t)} scan times, {len(run.scans)} scans")
    store = _types()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The folder's name becomes the file's, so the temporary one has the same name elsewhere.
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        with Writer(part / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            writer.set_custom_data("run", run_iri)
            writer.set_custom_data("config", config_digest)
            connections = {
                topic: writer.add_connection(topic, kind, typestore=store)
                for topic, kind in TOPICS.items()
            }
            for ns, topic, message in _messages(run, max_range):
                kind = TOPICS[topic]
                writer.write(connections[topic], ns, store.serialize_cdr(message, kind))
        (part / "bag").rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _check(folder: Path) -> dict[str, Any]:
    """Return the table of contents of a bag whose two files are there."""
    for name in ("metadata.yaml", "bag.mcap"):
        if not (folder / name).is_file():
            raise BagError(f"{folder / name}: missing, expected a bag with bag.mcap")
    text = (folder / "metadata.yaml").read_text(encoding="utf-8")
    try:
        table: dict[str, Any] = yaml.safe_load(text)["rosbag2_bagfile_information"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise BagError(f"{folder / 'metadata.yaml'}: not a bag's metadata: {error}") from None
    return table


def _collect(rows: Iterator[tuple[str, Any]], custom: dict[str, str], expected: int) -> Bag:
    """Turn messages, whoever decoded them, into arrays."""
    found: defaultdict[str, list[tuple[float, Any]]] = defaultdict(list)
    for topic, message in rows:
        stamp = message.header.stamp
        # As the simulator counts: seconds with six decimals.
        seconds = round(stamp.sec + stamp.nanosec / NANO, 6)
        if topic == "/pose":
            at, turn = message.pose.position, message.pose.orientation
            value: Any = (at.x, at.y, 2 * math.atan2(turn.z, turn.w))
        elif topic == "/cmd_vel":
            value = (message.twist.linear.x, message.twist.angular.z)
        elif topic == "/scan":
            value = np.asarray(message.ranges, np.float32)
        else:
            raise BagError(f"topic {topic!r}, expected one of {', '.join(TOPICS)}")
        found[topic].append((seconds, value))
    counts = {topic: len(found[topic]) for topic in TOPICS}
    if sum(counts.values()) != expected:
        raise BagError(f"{sum(counts.values())} messages, expected {expected}: truncated")
    scans = [value for _, value in found["/scan"]]
    pose = np.array([value for _, value in found["/pose"]], float).reshape(-1, 3)
    pose[:, 2] = (pose[:, 2] + math.pi) % (2 * math.pi) - math.pi
    return Bag(
        t=np.array([t for t, _ in found["/pose"]], float),
        pose=pose,
        command=np.array([value for _, value in found["/cmd_vel"]], float).reshape(-1, 2),
        scan_t=np.array([t for t, _ in found["/scan"]], float),
        scans=np.array(scans, np.float32) if scans else np.zeros((0, 0), np.float32),
        custom=custom,
        counts=counts,
    )


def read(folder: Path) -> Bag:
    """Read a bag with ``rosbags``.

    Raises
    ------
    BagError
        If it is missing, truncated or has other topics.
    """
    from rosbags.rosbag2 import Reader

    folder = Path(folder)
    table = _check(folder)
    store = _types()

    def rows() -> Iterator[tuple[str, Any]]:
        with Reader(folder) as reader:
            for connection, _, raw in reader.messages():
                yield connection.topic, store.deserialize_cdr(raw, connection.msgtype)

    return _guarded(rows(), folder, table)


def read_independent(folder: Path) -> Bag:
    """Read a bag with ``mcap`` and ``mcap-ros2-support``, which share no code with the writer.

    Raises
    ------
    BagError
        As for `read`.
    """
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    folder = Path(folder)
    table = _check(folder)

    def rows() -> Iterator[tuple[str, Any]]:
        with (folder / "bag.mcap").open("rb") as stream:
            reader = make_reader(stream, decoder_factories=[DecoderFactory()])
            for _, channel, _, message in reader.iter_decoded_messages():
                yield channel.topic, message

    return _guarded(rows(), folder, table)


def _guarded(rows: Iterator[tuple[str, Any]], folder: Path, table: dict[str, Any]) -> Bag:
    """Turn whatever a decoder throws at a damaged file into one error that names the bag."""
    custom = {str(key): str(value) for key, value in (table.get("custom_data") or {}).items()}
    try:
        return _collect(rows, custom, int(table["message_count"]))
    except Exception as error:
        raise BagError(f"{folder}: cannot be read: {type(error).__name__}: {error}") from error


def compare(one: Bag, other: Bag) -> list[str]:
    """Return what differs between two readings; nothing if they agree bit for bit.

    Examples
    --------
    >>> empty = np.zeros(0)
    >>> bag = Bag(empty, empty, empty, empty, np.zeros((0, 0), np.float32), {}, {})
    >>> compare(bag, bag)
    []
    """
    found = [
        name
        for name in ("t", "pose", "command", "scan_t", "scans")
        if not np.array_equal(getattr(one, name), getattr(other, name))
    ]
    return found + [
        name for name in ("custom", "counts") if getattr(one, name) != getattr(other, name)
    ]


def trace(bag: Bag, path: Path) -> Path:
    """Write the path driven as CSV: t (s), x, y (m), yaw (rad), v (m/s), w (rad/s)."""
    lines = ["t_s,x_m,y_m,yaw_rad,v_m_s,w_rad_s"]
    lines += [
        f"{t:.3f},{x:.6f},{y:.6f},{yaw:.6f},{v:.6f},{w:.6f}"
        for t, (x, y, yaw), (v, w) in zip(
            bag.t.tolist(), bag.pose.tolist(), bag.command.tolist(), strict=True
        )
    ]
    return write_atomic(path, "\n".join(lines) + "\n")
