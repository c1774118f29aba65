"""Do our robot's verdicts go with the authors' labels? A hypothesis registered before the run.

Names in the authors' small data set carry ``s`` or ``f``, which we read as clusters of scenarios
in which their robot succeeded or failed. Ours is another robot in another simulator, so rates
cannot be compared; what can is whether its successes lean the same way. Scenarios of one cluster
are alike, so intervals resample clusters, not scenarios.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lib.core import check, sweeps
from lib.robot_provenance.campaign import Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.study import lidar
from lib.robot_provenance.study.navsim import SimConfig, planner, simulate

Floats = npt.NDArray[np.float64]

CONTINUITY = 0.5
"""Added to each count, so that an empty one gives a finite odds ratio (Haldane, Anscombe)."""


@dataclass(frozen=True, eq=False)
class Association:
    """Success against label.

    Attributes
    ----------
    table : ndarray of int, shape (2, 2)
        Rows label s and f, columns success and not.
    draws : ndarray, shape (n_draws + 1, 2)
        Log odds ratios over all scenarios, and within strata (Mantel-Haenszel; strata without one
        of the labels say nothing): the estimates, then the draws that their intervals are from.
    """

    table: npt.NDArray[np.int64]
    draws: Floats

    @property
    def log_odds(self) -> float:
        """Over all scenarios."""
        return float(self.draws[0, 0])

    @property
    def within(self) -> float:
        """Within strata."""
        return float(self.draws[0, 1])

    @property
    def intervals(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The middle 95 % of the draws, of both."""
        return _ends(self.draws[:, 0]), _ends(self.draws[:, 1])


def label(name: str) -> Literal["s", "f"] | None:
    """Return the authors' group letter in a scenario's name, or None if it has none.

    Most names end in ``-<group><s|f><cluster>-<number>``; that s and f stand for clusters
    of succeeding and failing runs is our reading, not their statement.

    Examples
    --------
    >>> label("office-4s2-12"), label("door-1f1-3"), label("example-30-door")
    ('s', 'f', None)
    """
    found = re.search(r"-\d+([sf])\d+-\d+$", name)
    return None if found is None else ("s" if found[1] == "s" else "f")


def cluster_of(name: str) -> str:
    """Return a scenario's name without its running number.

    Examples
    --------
    >>> cluster_of("small-dataset-maps-door-size-0-5-1s2-14")
    'small-dataset-maps-door-size-0-5-1s2'
    """
    return name.rpartition("-")[0] or name


def _log_odds(counts: Floats) -> Floats:
    """Return log odds ratios of counts, shape (..., 4): s success, s not, f success, f not."""
    a, b, c, d = np.moveaxis(counts + CONTINUITY, -1, 0)
    out: Floats = np.log(a * d / (b * c))
    return out


def _mantel_haenszel(counts: Floats) -> Floats:
    """Return pooled log odds ratios of counts, shape (..., n_strata, 4)."""
    both = (counts[..., :2].sum(-1) > 0) & (counts[..., 2:].sum(-1) > 0)
    a, b, c, d = np.moveaxis(counts, -1, 0)
    total = np.maximum(counts.sum(-1), 1)
    up = np.where(both, a * d / total, 0).sum(-1) + CONTINUITY
    down = np.where(both, b * c / total, 0).sum(-1) + CONTINUITY
    out: Floats = np.log(up / down)
    return out


def _ends(draws: Floats) -> tuple[float, float]:
    """Return the middle 95 % of draws, widened to the estimate, which comes first."""
    low, high = np.percentile(draws[1:], [2.5, 97.5])
    return min(float(low), float(draws[0])), max(float(high), float(draws[0]))


def associate(
    labels: Sequence[str],
    success: Sequence[bool],
    strata: Sequence[str],
    clusters: Sequence[str],
    *,
    seed: int,
    n_bootstrap: int = 4000,
) -> Association:
    """Compare success between scenarios labelled ``s`` and ``f``; draws resample clusters.

    Parameters
    ----------
    labels : sequence of {"s", "f"}, length n_scenarios
    success : sequence of bool
    strata : sequence of str
        What to hold fixed within strata, such as the map's digest.
    clusters : sequence of str
        What to resample. A cluster has one label and one stratum.
    seed : int
    n_bootstrap : int

    Returns
    -------
    Association

    Raises
    ------
    ValueError
        If lengths differ, nothing is given, a label is neither ``s`` nor ``f``, a label does not
        occur, or a cluster lies in two strata.

    Examples
    --------
    >>> a = associate("ssff", [1, 1, 0, 1], "xxxx", "abcd", seed=0, n_bootstrap=50)
    >>> a.table.tolist()
    [[2, 0], [1, 1]]
    """
    check.same_length(labels=labels, success=success, strata=strata, clusters=clusters)
    if {*labels} != {"s", "f"}:
        raise ValueError(f"labels are {sorted({*labels})}, expected both 's' and 'f' only")
    column = np.where(np.array(list(labels)) == "s", 0, 2) + np.where(np.asarray(success), 0, 1)
    names, group = np.unique(np.array(list(clusters)), return_inverse=True)
    stratum_names, stratum = np.unique(np.array(list(strata)), return_inverse=True)
    of_cluster = np.zeros((len(names), len(stratum_names)), bool)
    of_cluster[group, stratum] = True
    if (of_cluster.sum(1) > 1).any():
        name = names[of_cluster.sum(1) > 1][0]
        raise ValueError(f"cluster {name!r} lies in two strata, expected one")
    counts = np.zeros((len(names), 4))
    np.add.at(counts, (group, column), 1)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), n_bootstrap)
    weights = np.vstack([np.ones((1, len(names)), np.int64), drawn])
    by_stratum = np.einsum("bc,cs,ck->bsk", weights, of_cluster.astype(float), counts)
    draws = np.stack([_log_odds(by_stratum.sum(1)), _mantel_haenszel(by_stratum)], axis=1)
    return Association(counts.sum(0).astype(np.int64).reshape(2, 2), draws)


def compare(one: Association, other: Association) -> tuple[float, tuple[float, float]]:
    """Return how far one log odds ratio within strata lies above another, with its interval.

    Both must be of the same labels and seed, so that their draws are the same resamples.
    """
    ahead = one.draws[:, 1] - other.draws[:, 1]
    return float(ahead[0]), _ends(ahead)


def has_way(grid: Grid, scenario: Scenario, config: SimConfig, *, boxes: bool = False) -> bool:
    """Return whether a map has a way from the start to every goal; no robot is driven.

    Parameters
    ----------
    grid : Grid
    scenario : Scenario
        With its start and goals inside the map; each is met as near as the robot must meet a goal.
    config : SimConfig
        Walls grow by the robot's radius and the margin that it keeps.
    boxes : bool
        Whether the scenario's boxes are drawn into the map, grown as the walls are.
    """
    planning = planner(grid, config.radius + config.margin, config.comfort)
    free, at = planning.free.copy(), (planning.x, planning.y)
    for box in scenario.boxes if boxes else ():
        free[planning.free] &= lidar.box_distance(*at, [box]) >= planning.radius
    parts = ndimage.label(free, np.ones((3, 3)))[0]
    n, found = int(config.goal_tolerance / grid.resolution), []
    for stop in (scenario.start, *scenario.goals):
        row, column, _ = (int(one) for one in grid.index(stop.x, stop.y))
        near = parts[max(row - n, 0) : row + n + 1, max(column - n, 0) : column + n + 1]
        found.append({*near.flat} - {0})
    return bool(set.intersection(*found))


def _drive(task: tuple[Grid, tuple[Scenario, ...], int, SimConfig]) -> list[bool]:
    grid, scenarios, seed, config = task
    return [simulate(grid, one, seed, config).outcome == "success" for one in scenarios]


def successes(
    scenarios: Sequence[Scenario],
    grids: Mapping[str, Grid],
    seeds: Sequence[int],
    config: SimConfig,
) -> dict[tuple[str, int], bool]:
    """Return by name and seed whether our robot succeeds, without recording anything.

    Parameters
    ----------
    scenarios : sequence of Scenario
        Resolved.
    grids : mapping of str to Grid
        By digest.
    seeds : sequence of int
    config : SimConfig
    """
    # A process drives all of a map in one go, for what is planned on a map is kept.
    tasks = [
        (grid, tuple(one for one in scenarios if one.map_digest == digest), seed, config)
        for digest, grid in grids.items()
        for seed in seeds
    ]
    told = sweeps.run(_drive, tasks, name="labels", n_jobs=2, cache=False)
    return {
        (one.name, seed): good
        for (_, part, seed, _), goods in zip(tasks, told, strict=True)
        for one, good in zip(part, goods, strict=True)
    }


def shuffle(
    labels: Sequence[str], *told: Sequence[Any], seed: int, n_shuffles: int = 999
) -> Association:
    """Compare success with labels that were dealt out anew among clusters, many times: the control.

    Parameters as for `associate`, clusters last. The estimates are medians over shuffles; the table
    is the last shuffle's.
    """
    of_cluster = dict(zip(told[-1], labels, strict=True))
    rng, rows = np.random.default_rng(seed), []
    for _ in range(n_shuffles):
        dealt = dict(zip(of_cluster, rng.permutation(list(of_cluster.values())), strict=True))
        mixed = [str(dealt[name]) for name in told[-1]]
        one = associate(mixed, *told, seed=seed, n_bootstrap=1)
        rows.append(one.draws[0])
    return Association(one.table, np.vstack([np.median(rows, axis=0), rows]))
