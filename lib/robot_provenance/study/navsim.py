"""A small navigation simulator: a round robot on two wheels, with a lidar, on an occupancy grid.

What is real and what is not. Maps and scenarios may be the authors' own; the robot is ours and it
is *simulated*: it knows its pose, its wheels slip a little, and there is neither Gazebo nor Nav2.
Success rates are therefore not comparable with the authors'. Sizes and limits are those of a
TurtleBot 4 (radius 0.175 m as in the authors' campaign files, at most 0.46 m/s).

One run. A global planner (Dijkstra on the inflated grid) gives a path to the next goal. Boxes are
not in the map: the robot meets them only through its lidar, whose hits and passes are summed up in
an evidence grid. A dynamic-window controller (Fox, Burgard, Thrun 1997) chooses speeds ten times a
second; once a second the path is tested against what has been seen, and planned anew if blocked.

A run is a function of (grid, scenario, seed, config): no clock is read, and everything that is
compared or summed is plain IEEE arithmetic on rounded cosines, so that it is the same on another
processor.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy import ndimage
from scipy.sparse import csgraph

from lib.core import check
from lib.robot_provenance.campaign import Scenario, digest, faults
from lib.robot_provenance.maps import FREE, Grid
from lib.robot_provenance.study import lidar

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Outcome = Literal["success", "collision", "stuck", "timeout", "no_plan", "invalid"]

STATE_DECIMALS = 9
BOUNDS: dict[str, Any] = {"margin": {"at_least": 0}, "slip_std": {"at_least": 0, "at_most": 0.2}}
"""Of the constants that may be zero."""


@dataclass(frozen=True)
class SimConfig:
    """The robot, its sensor and its navigation; the same for a whole campaign.

    Attributes
    ----------
    radius : float
        Of the robot, m.
    v_max, w_max : float
        Largest speeds, m/s and rad/s.
    v_acc, w_acc : float
        Largest accelerations, m/s² and rad/s².
    slip_std : float
        Relative standard deviation of the speeds that the wheels really give.
    dt : float
        Control period, s.
    n_beams : int
    max_range : float
        Of the lidar, m.
    scan_every : int
        A scan each so many control steps.
    record_every : int
        Of the scans, each so many is kept in `Run.scans`, to keep bags small: with the defaults the
        robot scans at 5 Hz and 2.5 Hz are recorded.
    see_range : float
        Hits nearer than this enter the evidence grid, m.
    margin : float
        Distance that the planner and the controller keep from obstacles beside the radius, m.
    comfort : float
        Clearance below which a path costs more, m.
    lookahead : float
        Distance of the point on the path that is steered for, m; less where room is scarce.
    horizon : float
        How far ahead the controller rolls a command out, s.
    goal_tolerance : float
        m; the goal's yaw is not asked for.
    replan_s : float
        Period of the test of the path, s.
    stuck_s, stuck_m : float
        A robot that stays within `stuck_m` for `stuck_s` is stuck.
    timeout_s : float
        Simulated seconds for a whole scenario.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    radius: float = 0.175
    v_max: float = 0.46
    w_max: float = 1.9
    v_acc: float = 0.9
    w_acc: float = 6.0
    slip_std: float = 0.02
    dt: float = 0.1
    n_beams: int = 180
    max_range: float = 12.0
    scan_every: int = 2
    record_every: int = 2
    see_range: float = 3.0
    margin: float = 0.02
    comfort: float = 0.45
    lookahead: float = 0.6
    horizon: float = 1.2
    goal_tolerance: float = 0.25
    replan_s: float = 1.0
    stuck_s: float = 12.0
    stuck_m: float = 0.2
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in ("n_beams", "scan_every", "record_every"):
                check.integer(name, value, at_least=1)
            else:
                check.number(name, value, **BOUNDS.get(name, {"above": 0}))
        if self.v_max * self.horizon > self.see_range:
            raise ValueError(
                f"v_max * horizon is {self.v_max * self.horizon} m: beyond see_range "
                f"{self.see_range} m the robot would drive blind"
            )

    @property
    def digest(self) -> str:
        """Sha256 of the canonical JSON of all fields."""
        return digest(asdict(self))


@dataclass(frozen=True, eq=False)
class Run:
    """What happened in one run; all arrays are empty when it was invalid or had no plan.

    Attributes
    ----------
    t : ndarray, shape (n_steps,)
        Simulated time in s.
    pose : ndarray, shape (n_steps, 3)
        True x, y in m and yaw in rad, in [-pi, pi).
    command : ndarray, shape (n_steps, 2)
        Forward speed in m/s and turn in rad/s that were asked for at that pose.
    scans : ndarray of float32, shape (n_scans, n_beams)
        Recorded ranges in m; inf where nothing came back or the beam was lost (REP 117).
    scan_t : ndarray, shape (n_scans,)
        s.
    outcome : str
        One of `Outcome`.
    reason : str
        In words.
    metrics : mapping of str to float or None
        ``path_length_m``, ``duration_s``, ``min_clearance_m`` (hull to nearest wall or box),
        ``goal_error_m`` (to the last goal), ``replans``, ``goals_reached``; None where undefined.
    events : tuple of (float, str, str)
        Simulated time in s, kind, text.
    """

    t: Floats
    pose: Floats
    command: Floats
    scans: npt.NDArray[np.float32]
    scan_t: Floats
    outcome: Outcome
    reason: str
    metrics: Mapping[str, float | None]
    events: tuple[tuple[float, str, str], ...]


# ---------------------------------------------------------------- the global planner


def _bilinear(field: Floats, grid: Grid, x: Any, y: Any, row0: int = 0, column0: int = 0) -> Floats:
    """Return a field, whose first cell is given, at points in m: interpolated between centres."""
    v = (np.atleast_1d(y) - grid.origin[1]) / grid.resolution - 0.5 - row0
    u = (np.atleast_1d(x) - grid.origin[0]) / grid.resolution - 0.5 - column0
    found: Floats = ndimage.map_coordinates(field, [v, u], order=1, mode="nearest")
    return found


class Planner:
    """Shortest paths on one inflated grid; the graph is built once for all runs on it.

    Parameters
    ----------
    grid : Grid
    radius : float
        What must fit between obstacles, m: the robot's radius and its margin.
    comfort : float
        Clearance below which a metre costs more, up to six times where the robot just fits, m.

    Attributes
    ----------
    free : ndarray of bool, shape (height, width)
        Cells that are nodes.
    clear : ndarray, shape (height, width)
        Distance to the nearest face of an occupied cell, m.
    x, y : ndarray, shape (n_nodes,)
        Middles of the nodes' cells, m.
    """

    def __init__(self, grid: Grid, radius: float, comfort: float) -> None:
        self.grid, self.radius, self.comfort = grid, radius, comfort
        self.free = np.pad(~grid.inflated(radius)[1:-1, 1:-1], 1)
        self.clear = grid.distance - grid.resolution / 2
        row, column = np.nonzero(self.free)
        self.x = grid.origin[0] + (column + 0.5) * grid.resolution
        self.y = grid.origin[1] + (row + 0.5) * grid.resolution
        self.base = self._penalty(self.clear[self.free])
        node = np.cumsum(self.free).reshape(grid.shape) - 1
        tails, heads, lengths = [], [], []
        # Each pair of neighbours once; the rim is never free, so nothing is rolled round.
        for way in ((0, 1), (1, -1), (1, 0), (1, 1)):
            back = (-way[0], -way[1])
            there = self.free & np.roll(self.free, back, (0, 1))
            tails.append(node[there])
            heads.append(np.roll(node, back, (0, 1))[there])
            half = grid.resolution * math.sqrt(way[0] ** 2 + way[1] ** 2) / 2
            lengths.append(np.full(len(tails[-1]), half))
        self.tail, self.head, self.half = map(np.concatenate, (tails, heads, lengths))

    def _penalty(self, clear: Floats) -> Floats:
        """Cost of a metre by clearance: 1 at `comfort` and beyond, 6 where the robot just fits."""
        span = max(self.comfort - self.radius, 1e-6)
        nearness = np.clip((self.comfort - clear) / span, 0.0, 1.0)
        return 1.0 + 5.0 * nearness * nearness

    def plan(
        self,
        start: tuple[float, float],
        goal: tuple[float, float],
        tolerance: float,
        seen: npt.NDArray[np.bool_] | None,
    ) -> list[tuple[float, float]] | None:
        """Return a path in metres from near `start` to within `tolerance` of `goal`, or None."""
        cost, allowed = self.base, np.ones(len(self.x), bool)
        if seen is not None and seen.any():
            away = ndimage.distance_transform_edt(~seen)[self.free] * self.grid.resolution
            away -= self.grid.resolution / 2
            allowed = away >= self.radius
            cost = np.maximum(cost, self._penalty(away))
            cost[~allowed] = np.inf
        near = np.where(allowed, (self.x - start[0]) ** 2 + (self.y - start[1]) ** 2, np.inf)
        left = (self.x - goal[0]) ** 2 + (self.y - goal[1]) ** 2
        if not near.size or near.min() > 0.3**2:
            return None
        n = len(self.x)
        weights = self.half * (cost[self.tail] + cost[self.head])
        graph = sp.coo_array((weights, (self.tail, self.head)), shape=(n, n)).tocsr()
        # A limit spares most of a large map; whatever is reached within it is exact.
        for limit in (3.0 * math.dist(start, goal) + 3.0, np.inf):
            costs, before = csgraph.dijkstra(
                graph, False, int(near.argmin()), return_predecessors=True, limit=limit
            )
            there = np.where(np.isfinite(costs), left, np.inf)
            if there.min() <= tolerance * tolerance:
                break
        else:
            return None
        path, at = [], int(there.argmin())
        while at >= 0:
            path.append((float(self.x[at]), float(self.y[at])))
            at = int(before[at])
        return path[::-1]


planner = functools.lru_cache(maxsize=32)(Planner)
"""The planner of a grid, kept from an earlier call if there was one."""


# ---------------------------------------------------------------- what the robot has seen


class _Evidence:
    """Sums of lidar hits (+) and passes (-) for each cell, and the clearance around the robot."""

    HIT, PASS, LOW, HIGH, OCCUPIED = 0.9, -0.5, -1.5, 3.0, 0.8
    REACH = 1.4
    """Half-width of the window around the robot in which the clearance is kept, m."""

    def __init__(self, grid: Grid, config: SimConfig) -> None:
        self.grid, self.config = grid, config
        self.evidence = np.zeros(grid.shape)
        # The map's outermost cells are closed: what lies beyond is not known.
        self.closed = np.pad((grid.cells != FREE)[1:-1, 1:-1], 1, constant_values=True)
        self.body = lidar.body(config.n_beams)
        # Sample points of a beam: one for each cell along it, from half a cell on.
        self.steps = (np.arange(int(config.see_range / grid.resolution)) + 0.5) * grid.resolution

    def add(self, x: float, y: float, cos: float, sin: float, ranges: Floats) -> None:
        """Enter a scan; lost beams (inf) say nothing."""
        res = self.grid.resolution
        near = ranges < np.inf
        reach = ranges[near]
        dx = (cos * self.body[0] - sin * self.body[1])[near]
        dy = (sin * self.body[0] + cos * self.body[1])[near]
        i, j = np.nonzero(self.steps < (reach - 0.4 * res)[:, None])
        along = self.steps[j]
        hit = reach < self.config.see_range
        # A hit lies on a face, half a cell before the middle of what was hit.
        into = reach[hit] + 0.5 * res
        window = self._window(x, y, self.config.see_range + 2 * res)
        part = self.evidence[window]
        change = self.PASS * self._count(x + along * dx[i], y + along * dy[i], window)
        change += self.HIT * self._count(x + into * dx[hit], y + into * dy[hit], window)
        np.clip(part + change.reshape(part.shape), self.LOW, self.HIGH, out=part)

    def _window(self, x: float, y: float, half: float) -> tuple[slice, slice]:
        """Return the rows and columns within `half` metres of a point, cut at the map's edge."""
        n, (height, width) = int(half / self.grid.resolution) + 1, self.grid.shape
        row, column, _ = self.grid.index(x, y)
        return (
            slice(max(row - n, 0), min(row + n + 1, height)),
            slice(max(column - n, 0), min(column + n + 1, width)),
        )

    def _count(self, x: Floats, y: Floats, window: tuple[slice, slice]) -> Ints:
        """Count points by the window's cells, flat."""
        (top, bottom), (left, right) = ((one.start, one.stop) for one in window)
        width = right - left
        row, column, inside = self.grid.index(x, y)
        flat = ((row - top) * width + column - left)[inside]
        counts: Ints = np.bincount(flat, minlength=(bottom - top) * width)
        return counts

    def seen(self) -> npt.NDArray[np.bool_]:
        """Return the cells taken for occupied, shape of the grid."""
        return self.evidence > self.OCCUPIED

    def look(self, x: float, y: float) -> None:
        """Compute the clearance in the window around a point."""
        res = self.grid.resolution
        window = self._window(x, y, self.REACH)
        self.row0, self.column0 = window[0].start, window[1].start
        blocked = self.closed[window] | (self.evidence[window] > self.OCCUPIED)
        if blocked.any():
            self.field = ndimage.distance_transform_edt(~blocked) * res - res / 2
        else:
            self.field = np.full(blocked.shape, self.REACH)

    def clearance(self, x: Any, y: Any) -> Floats:
        """Return the clearance at points in the window, interpolated between cell centres."""
        return _bilinear(self.field, self.grid, x, y, self.row0, self.column0)

    def blocks(self, path: list[tuple[float, float]], x: float, y: float) -> bool:
        """Return whether a path, as far as the window goes, has been seen to be blocked."""
        ahead = [point for point in path if _near(point, (x, y), self.REACH - 0.1)]
        need = self.config.radius + self.config.margin / 2
        return not ahead or bool((self.clearance(*np.array(ahead).T) < need).any())


# ---------------------------------------------------------------- the controller


class _Controller:
    """Dynamic window: roll every command of a fixed set out, drop the unsafe, take the best."""

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        speeds = config.v_max * np.array([0.0, 0.15, 0.35, 0.65, 1.0])
        turns = config.w_max * np.linspace(-1.0, 1.0, 17)
        self.v, self.w = (a.ravel() for a in np.meshgrid(speeds, turns, indexing="ij"))
        # Arcs in the robot's frame; rounded once here, they are the same on every processor.
        n = max(int(config.horizon / 0.2), 2)
        time = config.horizon * np.arange(1, n + 1) / n
        turned = self.w[:, None] * time
        bend = np.where(self.w == 0, 1.0, self.w)[:, None]
        ahead = np.where(self.w[:, None] == 0, time, np.sin(turned) / bend) * self.v[:, None]
        aside = np.where(self.w[:, None] == 0, 0, (1 - np.cos(turned)) / bend) * self.v[:, None]
        self.ahead, self.aside = np.round(ahead, 9), np.round(aside, 9)
        self.end_cos, self.end_sin = np.round([np.cos(turned[:, -1]), np.sin(turned[:, -1])], 9)

    def choose(
        self,
        pose: tuple[float, float, float],
        carrot: tuple[float, float],
        room: float,
        evidence: _Evidence,
    ) -> tuple[float, float]:
        """Return the (v, w) to aim for."""
        x, y, yaw = pose
        cos, sin = lidar.unit(yaw)
        px = x + (cos * self.ahead - sin * self.aside)
        py = y + (sin * self.ahead + cos * self.aside)
        clear = evidence.clearance(px, py).min(axis=1)
        need = self.config.radius + self.config.margin / 2
        # Where the robot already stands too near, it may move away but not nearer.
        safe = (self.v == 0) | (clear >= min(need, room))
        ex, ey = carrot[0] - px[:, -1], carrot[1] - py[:, -1]
        left = np.sqrt(ex * ex + ey * ey)
        facing = cos * self.end_cos - sin * self.end_sin, sin * self.end_cos + cos * self.end_sin
        aim = (facing[0] * ex + facing[1] * ey) / np.maximum(left, 1e-6)
        crowded = np.maximum(self.config.comfort - clear, 0)
        score = left + 0.3 * (1 - aim) + 0.5 * crowded
        score[~safe] = np.inf
        best = int(np.argmin(np.round(score, 9)))
        return float(self.v[best]), float(self.w[best])


_controller = functools.lru_cache(maxsize=8)(_Controller)


# ---------------------------------------------------------------- a run


def simulate(grid: Grid, scenario: Scenario, seed: int, config: SimConfig | None = None) -> Run:
    """Run one scenario.

    Parameters
    ----------
    grid : Grid
        The scenario's map.
    scenario : Scenario
        A faulty one (see `campaign.faults`; start in a wall or a box; start or goal outside the
        map) gives the outcome "invalid" with the reason, for a campaign can contain it.
    seed : int
        >= 0; of wheel slip and lidar noise. The stream is tied to the scenario's content too.
    config : SimConfig, optional

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If the seed is negative or no whole number, or the grid is not the scenario's.

    Examples
    --------
    >>> from lib.robot_provenance.campaign import Pose
    >>> room = np.ones((60, 60), np.int8)
    >>> room[2:-2, 2:-2] = 0
    >>> grid = Grid(room, 0.05, (0.0, 0.0))
    >>> run = simulate(grid, Scenario("a", "room.yaml", Pose(0.5, 0.5), (Pose(2.5, 2.5),)), seed=1)
    >>> run.outcome, run.metrics["goals_reached"]
    ('success', 1.0)
    """
    config = config or SimConfig()
    seed = check.integer("seed", seed, at_least=0)
    if scenario.map_digest not in (None, grid.digest):
        raise ValueError(
            f"{scenario.name}: its map has digest {scenario.map_digest}, the grid {grid.digest}"
        )
    reason = faults(scenario) or _misplaced(grid, scenario)
    if reason is not None:
        return _Log(config).finish("invalid", reason, scenario)
    return _drive(grid, replace(scenario, map_digest=grid.digest), seed, config)


def _misplaced(grid: Grid, scenario: Scenario) -> str | None:
    """Return why a start or a goal cannot be on this map, or None."""
    if min(grid.shape) < 3:
        return f"the map has {grid.shape[0]} x {grid.shape[1]} cells, expected at least 3 x 3"
    for i, goal in enumerate(scenario.goals, 1):
        if not grid.index(goal.x, goal.y)[2]:
            return f"goal {i} is outside the map: x={goal.x}, y={goal.y}"
    x, y = scenario.start.x, scenario.start.y
    if not grid.index(x, y)[2]:
        return f"the start is outside the map: x={x}, y={y}"
    if grid.at(x, y) != FREE:
        what = "a wall" if grid.at(x, y) > 0 else "unknown space"
        return f"the start is in {what}: x={x}, y={y}"
    if lidar.box_distance(x, y, scenario.boxes) == 0:
        return f"the start is in a box: x={x}, y={y}"
    return None


class _Log:
    """Rows of a run while it happens."""

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        self.rows: list[tuple[float, ...]] = []
        self.scans: list[npt.NDArray[np.float32]] = []
        self.scan_t: list[float] = []
        self.events: list[tuple[float, str, str]] = []
        self.length, self.closest, self.replans, self.reached = 0.0, math.inf, 0, 0

    def finish(self, outcome: Outcome, reason: str, scenario: Scenario) -> Run:
        table = np.array(self.rows, float).reshape(-1, 6)
        error = None
        if len(table):
            goal = scenario.goals[-1]
            error = math.sqrt((table[-1, 1] - goal.x) ** 2 + (table[-1, 2] - goal.y) ** 2)
        end = float(table[-1, 0]) if len(table) else 0.0
        self.events.append((end, outcome, reason))
        metrics: dict[str, float | None] = {
            "path_length_m": round(self.length, 6),
            "duration_s": end,
            "min_clearance_m": round(self.closest, 6) if math.isfinite(self.closest) else None,
            "goal_error_m": None if error is None else round(error, 6),
            "replans": float(self.replans),
            "goals_reached": float(self.reached),
        }
        return Run(
            t=table[:, 0].copy(),
            pose=table[:, 1:4].copy(),
            command=table[:, 4:6].copy(),
            scans=np.array(self.scans, np.float32).reshape(-1, self.config.n_beams),
            scan_t=np.array(self.scan_t, float),
            outcome=outcome,
            reason=reason,
            metrics=metrics,
            events=tuple(self.events),
        )


def _toward(value: float, aim: float, most: float) -> float:
    return round(value + min(max(aim - value, -most), most), STATE_DECIMALS)


def _drive(grid: Grid, scenario: Scenario, seed: int, config: SimConfig) -> Run:
    rng = np.random.default_rng([seed, int(scenario.plane_digest[:16], 16)])
    planning = planner(grid, config.radius + config.margin, config.comfort)
    controller, evidence, log = _controller(config), _Evidence(grid, config), _Log(config)
    x, y = round(scenario.start.x, STATE_DECIMALS), round(scenario.start.y, STATE_DECIMALS)
    yaw = _wrap(scenario.start.yaw)
    goals = [(goal.x, goal.y) for goal in scenario.goals]
    path = planning.plan((x, y), goals[0], config.goal_tolerance, None)
    if path is None:
        return log.finish("no_plan", "the map has no path to goal 1", scenario)
    log.events.append((0.0, "plan", f"goal 1: {len(path)} cells"))
    at, v, w = 0, 0.0, 0.0
    anchor, anchor_t = (x, y), 0.0
    replan_steps = max(round(config.replan_s / config.dt), 1)

    def replanned(kind: str) -> list[tuple[float, float]] | None:
        """Plan to the next goal with all that has been seen."""
        goal = goals[log.reached]
        found = planning.plan((x, y), goal, config.goal_tolerance, evidence.seen())
        text = "no path" if found is None else f"{len(found)} cells"
        log.events.append((t, kind, f"goal {log.reached + 1}: {text}"))
        return found

    def scan() -> npt.NDArray[np.float32]:
        """Return a noisy scan; inf for beams that meet nothing or are lost."""
        ranges = lidar.cast(grid, (x, y, yaw), config.n_beams, config.max_range, scenario.boxes)
        noise = np.round(rng.standard_normal(config.n_beams), 9)
        lost = rng.random(config.n_beams) < scenario.drop_rate
        lost |= ranges >= np.float32(config.max_range)
        noisy = np.clip(ranges + scenario.noise_std * noise, 0, config.max_range)
        return np.where(lost, np.inf, noisy).astype(np.float32)

    def end(outcome: Outcome, reason: str) -> Run:
        """Finish where the robot stands."""
        log.rows.append((t, x, y, yaw, 0.0, 0.0))
        return log.finish(outcome, reason, scenario)

    for step in itertools.count():
        t = round(step * config.dt, 6)
        hull = min(
            float(_bilinear(planning.clear, grid, x, y)[0]),
            lidar.box_distance(x, y, scenario.boxes),
        )
        if not grid.index(x, y)[2]:
            return end("collision", "the robot left the map")
        log.closest = min(log.closest, hull - config.radius)
        if hull < config.radius:
            return end("collision", f"the hull overlaps at x={x:.2f}, y={y:.2f}")
        if step % config.scan_every == 0:
            ranges = scan()
            evidence.add(x, y, *lidar.unit(yaw), ranges.astype(float))
            if step // config.scan_every % config.record_every == 0:
                log.scans.append(ranges)
                log.scan_t.append(t)
            evidence.look(x, y)
        if _near((x, y), goals[log.reached], config.goal_tolerance):
            log.reached += 1
            log.events.append((t, "goal", f"goal {log.reached} reached"))
            anchor, anchor_t = (x, y), t
            if log.reached == len(goals):
                return end("success", "all goals reached")
            if planning.plan((x, y), goals[log.reached], config.goal_tolerance, None) is None:
                return end("no_plan", f"the map has no path to goal {log.reached + 1}")
            at, path = 0, replanned("plan")
        elif (
            step
            and step % replan_steps == 0
            and (path is None or evidence.blocks(path[at : at + 60], x, y))
        ):
            log.replans += 1
            at, path = 0, replanned("replan")
        if not _near((x, y), anchor, config.stuck_m):
            anchor, anchor_t = (x, y), t
        elif t - anchor_t >= config.stuck_s:
            return end("stuck", f"no {config.stuck_m} m in {config.stuck_s:g} s")
        if t >= config.timeout_s:
            return end("timeout", f"{config.timeout_s:g} s are over")
        if path is None:
            # Without a path the robot turns on the spot: new views may clear false evidence.
            aim_v, aim_w = 0.0, 0.5 * config.w_max
        else:
            # As far as there is room: a door is taken slowly and along its middle.
            room = float(evidence.clearance(x, y)[0])
            look = min(config.lookahead, max(room, config.radius))
            while at < len(path) - 1 and _near((x, y), path[at], look):
                at += 1
            aim_v, aim_w = controller.choose((x, y, yaw), path[at], room, evidence)
        v = _toward(v, aim_v, config.v_acc * config.dt)
        w = _toward(w, aim_w, config.w_acc * config.dt)
        log.rows.append((t, x, y, yaw, v, w))
        slip_v, slip_w = (1 + config.slip_std * rng.standard_normal(2)).tolist()
        # Midpoint rule: exact for straight lines, third order for arcs.
        turn = w * slip_w * config.dt
        cos, sin = lidar.unit(yaw + turn / 2)
        gone = v * slip_v * config.dt
        x, y = round(x + gone * cos, STATE_DECIMALS), round(y + gone * sin, STATE_DECIMALS)
        yaw = _wrap(yaw + turn)
        log.length += abs(gone)
    raise AssertionError("unreachable: the loop ends by return")


def _wrap(angle: float) -> float:
    return round((angle + math.pi) % (2 * math.pi) - math.pi, STATE_DECIMALS)


def _near(a: tuple[float, float], b: tuple[float, float], reach: float) -> bool:
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 < reach * reach
