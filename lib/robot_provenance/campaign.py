"""Campaigns of concrete scenarios, as the authors' ``.vast`` files describe them.

A scenario names a map by a path. Whether a map is *at* that path is looked up exactly; nothing is
matched by similarity on the way. What does not resolve is reported by kind, `proposed_repairs`
lists what could have been meant together with the evidence, and only what a caller passes back as
a `Repair` is applied, and recorded (arXiv 2605.29973; format of cps-test-lab/robovast).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

import yaml

from lib.robot_provenance.maps import Grid, MapError, load_grid

Slip = Literal["file name", "case", "folder", "not found"]
TURN = 2 * math.pi + 1e-6
"""Largest yaw that is believed to be in radians."""


NOISE, DROP = "laserscan_gaussian_noise_std_deviation", "laserscan_random_drop_percentage"
PARAMETERS = {*("map_file", "mesh_file", "start_pose", "goal_poses", "static_objects"), NOISE, DROP}
"""What a concrete scenario may say; a misspelt one would change it in silence."""


class CampaignError(ValueError):
    """A campaign file, or a repair, is not what it should be."""


@dataclass(frozen=True)
class Pose:
    """Where something is: x, y in m, yaw in rad. NaN is allowed here: see `faults`."""

    x: float
    y: float
    yaw: float = 0.0


@dataclass(frozen=True)
class Box:
    """An upright box: centre in m, yaw in rad, `length` along its own x, `width` along its y."""

    x: float
    y: float
    yaw: float = 0.0
    width: float = 0.5
    length: float = 0.5


@dataclass(frozen=True)
class Scenario:
    """One concrete scenario: everything about a run but its seed.

    Attributes
    ----------
    name : str
        Unique in its campaign.
    map_file : str
        Path of the map's YAML file, relative to the campaign file, as written there.
    start : Pose
    goals : tuple of Pose
        To be reached in this order.
    boxes : tuple of Box
        Obstacles that are not in the map.
    noise_std : float
        Standard deviation of the lidar's ranges in m.
    drop_rate : float
        Share of beams lost, in [0, 1].
    mesh_file : str
        Path of the mesh that a simulator in three dimensions loads, as written there; may be empty.
    map_digest : str or None
        `Grid.digest` of the map once it is resolved.
    mesh_digest : str or None
        Sha256 of the mesh, where it is known.
    derived_from : str or None
        `digest` of the scenario that a repair turned into this one.

    Examples
    --------
    >>> one = Scenario("a", "m.yaml", Pose(0, 0), (Pose(1, 1),))
    >>> one.digest == replace(one, name="b").digest
    True
    """

    name: str
    map_file: str
    start: Pose
    goals: tuple[Pose, ...]
    boxes: tuple[Box, ...] = ()
    noise_std: float = 0.0
    drop_rate: float = 0.0
    mesh_file: str = ""
    map_digest: str | None = None
    mesh_digest: str | None = None
    derived_from: str | None = None

    def content(self) -> dict[str, Any]:
        """Return what the digest is over: plain numbers, map and mesh by content if known."""
        mesh = {"mesh": self.mesh_digest or f"path:{self.mesh_file}"} if self.mesh_file else {}
        return mesh | {
            "map": self.map_digest or f"path:{self.map_file}",
            "start": _numbers(self.start.x, self.start.y, self.start.yaw),
            "goals": [_numbers(g.x, g.y, g.yaw) for g in self.goals],
            "boxes": [_numbers(b.x, b.y, b.yaw, b.width, b.length) for b in self.boxes],
            "noise_std": _numbers(self.noise_std)[0],
            "drop_rate": _numbers(self.drop_rate)[0],
        }

    @property
    def digest(self) -> str:
        """Sha256 of the canonical JSON of `content`: names and paths do not enter once resolved."""
        return digest(self.content())

    @property
    def plane_digest(self) -> str:
        """The same without the mesh: all that a simulator in the plane depends on."""
        return digest({k: v for k, v in self.content().items() if k != "mesh"})


def digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 of content as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _numbers(*values: float) -> list[float | str]:
    """JSON has no NaN; -0.0 and 0.0 are one number."""
    return [float(v) + 0.0 if math.isfinite(v) else str(float(v)) for v in values]


def faults(scenario: Scenario) -> str | None:
    """Return the first fault that makes a scenario unrunnable on any map, or None.

    Examples
    --------
    >>> faults(Scenario("a", "m.yaml", Pose(0, 0), ()))
    'the list of goals is empty'
    """
    poses = {"the start": scenario.start}
    poses.update({f"goal {i}": goal for i, goal in enumerate(scenario.goals, 1)})
    for what, pose in poses.items():
        if not all(math.isfinite(v) for v in (pose.x, pose.y, pose.yaw)):
            return f"{what} is not finite: x={pose.x}, y={pose.y}, yaw={pose.yaw}"
        if abs(pose.yaw) > TURN:
            return f"{what} has a yaw of {pose.yaw} rad, more than a turn: is it in degrees?"
    if not scenario.goals:
        return "the list of goals is empty"
    for i, box in enumerate(scenario.boxes, 1):
        reason = box_fault(box)
        if reason is not None:
            return f"box {i} is not a box: {reason}"
    if not (math.isfinite(scenario.noise_std) and scenario.noise_std >= 0):
        return f"the lidar's noise is {scenario.noise_std} m, expected finite and >= 0"
    if not 0 <= scenario.drop_rate <= 1:
        return f"the lidar's drop rate is {scenario.drop_rate}, expected 0 to 1"
    return None


def box_fault(box: Box) -> str | None:
    """Return why a box is none, or None.

    Examples
    --------
    >>> box_fault(Box(0, 0, width=0.0))
    'width is 0.0, length is 0.5, expected > 0 m'
    """
    if not all(math.isfinite(v) for v in (box.x, box.y, box.yaw, box.width, box.length)):
        return f"not finite: {box}"
    if min(box.width, box.length) <= 0:
        return f"width is {box.width}, length is {box.length}, expected > 0 m"
    if abs(box.yaw) > TURN:
        return f"a yaw of {box.yaw} rad is more than a turn: is it in degrees?"
    return None


# ---------------------------------------------------------------- reading


def load_vast(path: Path) -> list[Scenario]:
    """Read a file of concrete scenarios.

    Parameters
    ----------
    path : Path
        A ``.vast`` file whose entries under ``configuration`` have a name and parameters (a list of
        one-key mappings).

    Returns
    -------
    list of Scenario
        In file order, not resolved. An empty goal list or a NaN is kept: `resolve` reports it.

    Raises
    ------
    CampaignError
        If the file or an entry has another shape, or a name comes twice; names the entry.
    """
    scenarios = [_scenario(entry, f"{path}: entry {i}") for i, entry in enumerate(entries(path))]
    _unique([s.name for s in scenarios], str(path))
    return scenarios


def entries(path: Path) -> list[Any]:
    """Return what stands under ``configuration`` of a ``.vast`` file, a list that is not empty.

    Raises
    ------
    CampaignError
        If there is no such list.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CampaignError(f"{path}: not readable as YAML: {error}") from error
    entries = content.get("configuration") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise CampaignError(f"{path}: expected a list of scenarios under 'configuration'")
    return entries


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _unique(names: Sequence[str], where: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise CampaignError(f"{where}: {len(twice)} names come more than once, first {twice[0]!r}")


def _scenario(entry: Any, where: str) -> Scenario:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise CampaignError(f"{where}: has no name")
    where = f"{where} ({entry['name']!r})"
    raw: dict[str, Any] = {}
    for item in entry.get("parameters") or []:
        if not isinstance(item, dict) or len(item) != 1:
            raise CampaignError(f"{where}: a parameter is {item!r}, expected one key and its value")
        ((key, value),) = item.items()
        if key in raw or key not in PARAMETERS:
            why = "comes twice" if key in raw else f"is none of {', '.join(sorted(PARAMETERS))}"
            raise CampaignError(f"{where}: parameter {key!r} {why}")
        raw[key] = value
    for key, kind in {"map_file": str, "mesh_file": str, "start_pose": dict}.items():
        if not isinstance(raw.get(key, "" if key == "mesh_file" else None), kind):
            raise CampaignError(f"{where}: {key} is {raw.get(key)!r}, expected a {kind.__name__}")
    try:
        return Scenario(
            name=entry["name"],
            map_file=raw["map_file"],
            start=_pose(raw["start_pose"]),
            goals=tuple(_pose(goal) for goal in raw["goal_poses"] or []),
            boxes=tuple(_box(item) for item in raw.get("static_objects") or []),
            noise_std=float(raw.get(NOISE, 0)),
            drop_rate=float(raw.get(DROP, 0)) / 100,
            mesh_file=raw.get("mesh_file", ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CampaignError(f"{where}: {type(error).__name__}: {error}") from error


def _pose(value: Any) -> Pose:
    position, orientation = value["position"], value["orientation"]
    return Pose(float(position["x"]), float(position["y"]), float(orientation["yaw"]))


def _box(value: Any) -> Box:
    pose = _pose(value["spawn_pose"])
    return Box(pose.x, pose.y, pose.yaw, *sides(value["xacro_arguments"]))


def sides(xacro: str) -> tuple[float, float]:
    """Return (width, length) in m from a box's xacro arguments.

    Examples
    --------
    >>> sides("length:=0.700, width:=0.5, height:=1.0")
    (0.5, 0.7)
    """
    given = dict(re.findall(r"(\w+):=([^\s,]+)", xacro))
    return float(given["width"]), float(given["length"])


# ---------------------------------------------------------------- resolving


@dataclass(frozen=True)
class Repair:
    """A decision that scenarios naming `from_path` mean the map at `to_path`.

    Attributes
    ----------
    from_path, to_path : str
        Paths as in `Scenario.map_file`.
    reason : str
        The evidence, in words.
    kind : str
        "file name", "case" or "folder".
    """

    from_path: str
    to_path: str
    reason: str
    kind: Slip


@dataclass(frozen=True)
class Unresolved:
    """A scenario whose map is not at its path: how the path slips, and what lies near.

    Attributes
    ----------
    scenario : Scenario
    slip : str
        "case": a map has this path in other letters; "file name": the folder is there and holds
        other maps; "folder": the folder is not there, but one of equal name after reading numbers
        as numbers; else "not found".
    candidates : tuple of str
        The maps that this evidence points to; more than one is an ambiguity.
    """

    scenario: Scenario
    slip: Slip
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class Invalid:
    """A scenario whose content, or whose map's files, cannot be run, and why."""

    scenario: Scenario
    reason: str


@dataclass(frozen=True)
class Resolution:
    """What became of a campaign's scenarios.

    Attributes
    ----------
    scenarios : tuple of Scenario
        All, in order, with `map_digest` where the map was found.
    ok : tuple of Scenario
        Map found and no fault: can be run.
    unresolved : tuple of Unresolved
        Map not at its path.
    invalid : tuple of Invalid
        Faulty content (for instance no goals), whether or not the map was found.
    map_files : mapping of str to str
        `Grid.digest` by path, for all maps that there are and can be read.
    grids : mapping of str to Grid
        The distinct grids by digest.
    repairs : mapping of Repair to tuple of str
        What was applied, with the names of the scenarios it changed.
    """

    scenarios: tuple[Scenario, ...]
    ok: tuple[Scenario, ...]
    unresolved: tuple[Unresolved, ...]
    invalid: tuple[Invalid, ...]
    map_files: Mapping[str, str]
    grids: Mapping[str, Grid]
    repairs: Mapping[Repair, tuple[str, ...]]

    def report(self) -> dict[str, int]:
        """Return the counts: scenarios, slips by kind, faults, maps, distinct content."""
        slips = Counter(u.slip for u in self.unresolved)
        return {
            "scenarios": len(self.scenarios),
            "map found": len(self.scenarios) - len(self.unresolved),
            "map not at its path": len(self.unresolved),
            **{f"slip: {slip}": slips[slip] for slip in get_args(Slip)},
            "invalid": len(self.invalid),
            "runnable": len(self.ok),
            "repaired": sum(len(names) for names in self.repairs.values()),
            "map files": len(self.map_files),
            "distinct grids": len(self.grids),
            "distinct without meshes": len({s.plane_digest for s in self.scenarios}),
        }


def resolve(
    scenarios: Iterable[Scenario],
    root: Path | Mapping[str, Path],
    repairs: Iterable[Repair] | None = None,
    meshes: Mapping[str, str] | None = None,
) -> Resolution:
    """Look up every scenario's map, exactly, and report what does not resolve.

    Parameters
    ----------
    scenarios : iterable of Scenario
        With distinct names.
    root : Path or mapping of str to Path
        The folder that paths are relative to, searched for ``*.yaml``; or the map files that there
        are, by such a path. A path outside it (absolute, or with ``..``) is not followed.
    repairs : iterable of Repair, optional
        Applied to scenarios that name `Repair.from_path`; each gets `derived_from`.
    meshes : mapping of str to str, optional
        Sha256 of meshes by their paths; a mesh that is not in it stays named by its path.

    Returns
    -------
    Resolution

    Raises
    ------
    CampaignError
        If names or repairs repeat; if a repair changes nothing, points to no map, or would change
        a path at which there is a map.
    """
    given = list(scenarios)
    _unique([s.name for s in given], "campaign")
    if isinstance(root, Mapping):
        files = {str(PurePosixPath(p)): Path(f) for p, f in root.items()}
    else:
        if not Path(root).is_dir():
            raise CampaignError(f"{root}: no such folder to look for maps in")
        # The walk lists names as they are stored, so case counts on every file system.
        files = {f.relative_to(root).as_posix(): f for f in sorted(Path(root).rglob("*.yaml"))}
    grids: dict[str, Grid] = {}
    map_files: dict[str, str] = {}
    broken: dict[str, str] = {}
    for path, file in files.items():
        try:
            grid = load_grid(file)
        except MapError as error:
            broken[path] = str(error)
            continue
        map_files[path] = grid.digest
        grids.setdefault(grid.digest, grid)
    table = _checked_repairs(list(repairs or ()), given, files)
    applied: dict[Repair, list[str]] = {repair: [] for repair in table.values()}
    done, ok, unresolved, invalid = [], [], [], []
    for scenario in given:
        current = scenario
        if scenario.map_file in table:
            repair = table[scenario.map_file]
            current = replace(scenario, map_file=repair.to_path, derived_from=scenario.digest)
            applied[repair].append(scenario.name)
        path = str(PurePosixPath(current.map_file))
        mesh = (meshes or {}).get(scenario.mesh_file)
        current = replace(current, map_digest=map_files.get(path), mesh_digest=mesh)
        done.append(current)
        reason = faults(current) or broken.get(path)
        if reason is not None:
            invalid.append(Invalid(current, reason))
        if path not in files:
            unresolved.append(Unresolved(current, *_slip(path, files)))
        elif reason is None:
            ok.append(current)
    changed = {repair: tuple(names) for repair, names in applied.items()}
    told = (tuple(done), tuple(ok), tuple(unresolved), tuple(invalid))
    return Resolution(*told, map_files, grids, changed)


def _checked_repairs(
    repairs: list[Repair], scenarios: list[Scenario], files: Mapping[str, Path]
) -> dict[str, Repair]:
    named = {s.map_file for s in scenarios}
    table: dict[str, Repair] = {}
    for repair in repairs:
        if repair.from_path in table:
            raise CampaignError(f"two repairs of {repair.from_path!r}")
        if str(PurePosixPath(repair.from_path)) in files:
            raise CampaignError(f"{repair.from_path!r} is a map; a repair must not replace it")
        if repair.to_path not in files:
            raise CampaignError(f"repair to {repair.to_path!r}: there is no such map")
        if repair.from_path not in named:
            raise CampaignError(f"repair of {repair.from_path!r}: no scenario names it")
        table[repair.from_path] = repair
    return table


def _slip(path: str, files: Iterable[str]) -> tuple[Slip, tuple[str, ...]]:
    """Say how a path misses the maps that there are, and which of them the evidence points to."""
    known = sorted(files)
    same = tuple(k for k in known if k.casefold() == path.casefold())
    if same:
        return "case", same
    folder = PurePosixPath(path).parent
    beside = tuple(k for k in known if PurePosixPath(k).parent == folder)
    if beside:
        return "file name", beside
    alike = tuple(k for k in known if _plain_numbers(k) == _plain_numbers(path))
    if alike:
        return "folder", alike
    return "not found", ()


def _plain_numbers(path: str) -> str:
    """Write every decimal number in a path in one way: '0.50 door' and '0.5 door' agree."""
    return re.sub(r"\d+\.\d+", lambda m: repr(float(m[0])), path)


def proposed_repairs(resolution: Resolution) -> tuple[Repair, ...]:
    """Propose repairs where exactly one map can be meant; nothing is applied.

    Parameters
    ----------
    resolution : Resolution
        Of a campaign without these repairs.

    Returns
    -------
    tuple of Repair
        One for each path, in order of first use, with the evidence as reason. Ambiguous paths and
        those without evidence are left out.
    """
    words = {
        "case": "a map has the same path up to upper and lower case",
        "file name": "the named folder holds one map, under another file name",
        "folder": "one map has this path when decimal numbers in it are read as numbers",
    }
    found: dict[str, Repair] = {}
    for item in resolution.unresolved:
        path = item.scenario.map_file
        if len(item.candidates) == 1 and path not in found:
            found[path] = Repair(path, item.candidates[0], words[item.slip], item.slip)
    return tuple(found.values())
