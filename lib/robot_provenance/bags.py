"""ROS 2 bags: written and read by ``rosbags``; no ROS is needed.

A bag that we write is a folder with ``bag.mcap`` and ``metadata.yaml``. Stamps are *simulated*
time, so that two writes of the same run are the same bytes and a replay can be compared by digest.
What is read may be any bag whose ``/pose``, ``/cmd_vel`` and ``/scan`` are of these types, or whose
``/cmd_vel`` is a geometry_msgs/Twist, which has no stamp, so that the bag's own time counts. Its
files are those that ``metadata.yaml`` names; topics that are not in this table are counted and left
out.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from lib.core import check
from lib.core.paths import write_atomic

Floats = npt.NDArray[np.float64]

TOPICS: dict[str, str] = {
    "/pose": "geometry_msgs/msg/PoseStamped",
    "/cmd_vel": "geometry_msgs/msg/TwistStamped",
    "/scan": "sensor_msgs/msg/LaserScan",
}
"""Message type by topic."""

UNSTAMPED = ("/cmd_vel", "geometry_msgs/msg/Twist")
"""What Nav2 sent by default until December 2024."""

NANO = 1_000_000_000


class BagError(ValueError):
    """A bag that is missing, incomplete or holds what cannot be read."""


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
        Messages by topic, those that were left out too.
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


def _messages(run: Any, max_range: float) -> list[tuple[int, str, Any]]:
    """Return (ns, topic, message), sorted by time and topic."""
    types = _types().types
    header, stamp = types["std_msgs/msg/Header"], types["builtin_interfaces/msg/Time"]
    point, quaternion = types["geometry_msgs/msg/Point"], types["geometry_msgs/msg/Quaternion"]
    vector, pose = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Pose"]
    twist = types["geometry_msgs/msg/Twist"]
    rows: list[tuple[int, str, Any]] = []

    def put(topic: str, t: float, frame: str, *content: Any) -> None:
        ns = round(t * NANO)
        head = header(stamp(ns // NANO, ns % NANO), frame)
        rows.append((ns, topic, types[TOPICS[topic]](head, *content)))

    steps = zip(run.t.tolist(), run.pose.tolist(), run.command.tolist(), strict=True)
    for t, (x, y, yaw), (v, w) in steps:
        # Rounded, so that every processor writes the same bytes.
        turn = quaternion(0.0, 0.0, round(math.sin(yaw / 2), 9), round(math.cos(yaw / 2), 9))
        put("/pose", t, "map", pose(point(x, y, 0.0), turn))
        put("/cmd_vel", t, "base_link", twist(vector(v, 0.0, 0.0), vector(0.0, 0.0, w)))
    n_beams = run.scans.shape[1]
    step = 2 * math.pi / max(n_beams, 1)
    angles = (-math.pi, -math.pi + step * (n_beams - 1), step)
    nothing = np.zeros(0, np.float32)
    for t, ranges in zip(run.scan_t.tolist(), run.scans, strict=True):
        seen = np.ascontiguousarray(ranges, np.float32)
        put("/scan", t, "laser", *angles, 0.0, 0.0, 0.0, max_range, seen, nothing)
    return sorted(rows, key=lambda row: row[:2])


def write(
    run: Any, folder: Path, *, run_iri: str, config_digest: str, max_range: float = 12.0
) -> Path:
    """Write a bag; two writes of the same run give the same bytes.

    Parameters
    ----------
    run : Bag, or what has its arrays
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
        If the folder is there, or times go backwards or below zero.
    ValueError
        If an array does not fit or holds what is not finite.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer

    folder = Path(folder)
    if folder.exists():
        raise BagError(f"{folder}: there is something already; a bag is never overwritten")
    check.number("max_range", max_range, above=0)
    for t, *arrays in ((run.t, run.pose, run.command), (run.scan_t, run.scans)):
        if t.size and not (np.isfinite(t).all() and t[0] >= 0 and (np.diff(t) >= 0).all()):
            raise BagError("a time goes backwards, below zero or is not finite; expected seconds")
        for array, width in zip(arrays, (3, 2) if len(arrays) > 1 else (None,), strict=True):
            wrong = array.ndim != 2 or len(array) != len(t)
            if wrong or (width or array.shape[1]) != array.shape[1]:
                raise BagError(f"{len(t)} times and an array of shape {array.shape}")
            if width and not np.isfinite(array).all():
                raise BagError("a pose or command is not finite")
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
                writer.write(connections[topic], ns, store.serialize_cdr(message, TOPICS[topic]))
        (part / "bag").rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def table_of(folder: Path) -> dict[str, Any]:
    """Return a bag's table of contents, whose files are all there.

    Raises
    ------
    BagError
        If it is missing or damaged, or a file that it names is missing.
    """
    place = Path(folder) / "metadata.yaml"
    if not place.is_file():
        raise BagError(f"{place}: missing, expected a bag's table of contents")
    try:
        content = yaml.safe_load(place.read_text(encoding="utf-8"))
        table: dict[str, Any] = content["rosbag2_bagfile_information"]
        files, _ = [str(one) for one in table["relative_file_paths"]], int(table["message_count"])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise BagError(f"{place}: not a bag's metadata: {type(error).__name__}: {error}") from None
    for name in files:
        if not (place.parent / name).is_file():
            raise BagError(f"{place.parent / name}: missing, though {place.name} names it")
    return table


def read(folder: Path) -> Bag:
    """Read a bag, ours or another's, with ``rosbags``.

    Parameters
    ----------
    folder : Path
        With ``metadata.yaml`` and the files that it names, MCAP or SQLite.

    Raises
    ------
    BagError
        If it is missing or truncated, one of our topics carries another type of message, a pose or
        command is not finite, a quaternion is not of length 1, or scans differ in length.
    """
    from rosbags.rosbag2 import Reader

    table, types, folder = table_of(folder), _types(), Path(folder)
    counts = dict.fromkeys(TOPICS, 0)
    found: dict[str, list[tuple[float, Any]]] = {topic: [] for topic in TOPICS}
    try:
        with Reader(folder) as reader:
            for connection, ns, raw in reader.messages():
                topic, kind = connection.topic, connection.msgtype
                counts[topic] = counts.get(topic, 0) + 1
                if topic not in TOPICS:
                    continue
                if kind != TOPICS[topic] and (topic, kind) != UNSTAMPED:
                    raise BagError(f"{topic} carries {kind}, expected {TOPICS[topic]}")
                message = types.deserialize_cdr(raw, kind)
                if kind == TOPICS[topic]:
                    ns = message.header.stamp.sec * NANO + message.header.stamp.nanosec
                found[topic].append((ns / NANO, _content(topic, message)))
        if len({len(ranges) for _, ranges in found["/scan"]}) > 1:
            raise BagError("/scan has messages of different length, expected as many beams in each")
    except Exception as error:
        # Whatever a decoder throws at a damaged file becomes one error that names the bag.
        raise BagError(f"{folder}: cannot be read: {type(error).__name__}: {error}") from error
    have, expected = sum(counts.values()), int(table["message_count"])
    if have != expected:
        raise BagError(f"{folder}: {have} messages, expected {expected}: truncated")
    times = {topic: np.array([t for t, _ in rows], float) for topic, rows in found.items()}
    pose = np.array([value for _, value in found["/pose"]], float).reshape(-1, 3)
    pose[:, 2] = (pose[:, 2] + math.pi) % (2 * math.pi) - math.pi
    scans = [value for _, value in found["/scan"]]
    return Bag(
        t=times["/pose"],
        pose=pose,
        command=np.array([value for _, value in found["/cmd_vel"]], float).reshape(-1, 2),
        scan_t=times["/scan"],
        scans=np.array(scans, np.float32) if scans else np.zeros((0, 0), np.float32),
        custom={str(key): str(value) for key, value in (table.get("custom_data") or {}).items()},
        counts=counts,
    )


def _content(topic: str, message: Any) -> Any:
    told: tuple[float, ...]
    if topic == "/pose":
        at, q = message.pose.position, message.pose.orientation
        if not abs(math.hypot(q.x, q.y, q.z, q.w) - 1) < 0.01:
            raise BagError(f"{topic}: the quaternion {(q.x, q.y, q.z, q.w)}, expected length 1")
        turn = q.w * q.z + q.x * q.y, q.w * q.w + q.x * q.x - q.y * q.y - q.z * q.z
        told = at.x, at.y, math.atan2(2 * turn[0], turn[1])
    elif topic == "/cmd_vel":
        twist = getattr(message, "twist", message)
        told = twist.linear.x, twist.angular.z
    else:
        return np.asarray(message.ranges, np.float32)
    if not all(map(math.isfinite, told)):
        raise BagError(f"{topic}: {told}, expected finite numbers")
    return told


def trace(bag: Bag, path: Path) -> Path:
    """Write the path driven as CSV: t (s), x, y (m), yaw (rad), v (m/s), w (rad/s).

    Raises
    ------
    BagError
        If there is not one command for each pose.
    """
    if len(bag.command) != len(bag.pose):
        raise BagError(f"{len(bag.pose)} poses and {len(bag.command)} commands, expected as many")
    rows = np.column_stack([bag.t, bag.pose, bag.command]).tolist()
    lines = ["t_s,x_m,y_m,yaw_rad,v_m_s,w_rad_s"]
    lines += [f"{t:.3f},{','.join(f'{one:.6f}' for one in rest)}" for t, *rest in rows]
    return write_atomic(Path(path), "\n".join(lines) + "\n")
