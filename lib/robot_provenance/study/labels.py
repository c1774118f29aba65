"""Do our robot's verdicts go with the authors' labels? A hypothesis registered before the run.

Names in the authors' small data set carry ``s`` or ``f``, which we read as clusters of scenarios
in which their robot succeeded or failed. Ours is another robot in another simulator, so rates
cannot be compared; what can is whether its successes lean the same way. Scenarios of one cluster
are alike, so intervals resample clusters, not scenarios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from lib.core import sweeps
from lib.robot_provenance.campaign import Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.study.navsim import SimConfig, simulate

Floats = npt.NDArray[np.float64]

CONTINUITY = 0.5
"""Added to each count, so that an empty one gives a finite odds ratio (Haldane, Anscombe)."""


@dataclass(frozen=True)
class Association:
    """Success against label.

    Attributes
    ----------
    table : ndarray of int, shape (2, 2)
        Rows label s and f, columns success and not.
    log_odds : float
        Log odds ratio over all scenarios.
    interval : (float, float)
        95 %, percentiles of a bootstrap over clusters.
    within : float
        Mantel-Haenszel log odds ratio within strata; strata without one of the labels say nothing.
    within_interval : (float, float)
        The same bootstrap.
    n_clusters : int
    """

    table: npt.NDArray[np.int64]
    log_odds: float
    interval: tuple[float, float]
    within: float
    within_interval: tuple[float, float]
    n_clusters: int


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


def _resampled(
    labels: Sequence[str],
    success: Sequence[bool],
    strata: Sequence[str],
    clusters: Sequence[str],
    seed: int,
    n_bootstrap: int,
) -> tuple[Floats, Floats, Floats]:
    """Return counts by cluster, and log odds (all, within) of the data and of each resample."""
    lengths = {len(labels), len(success), len(strata), len(clusters)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"lengths are {sorted(lengths)}, expected one, above zero")
    wrong = sorted(set(labels) - {"s", "f"})
    if wrong or len(set(labels)) < 2:
        raise ValueError(f"labels are {sorted(set(labels))}, expected both 's' and 'f' only")
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
    return counts, _log_odds(by_stratum.sum(1)), _mantel_haenszel(by_stratum)


def _ends(draws: Floats) -> tuple[float, float]:
    """Return the middle 95 % of resamples, widened to the point, which comes first."""
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
    """Compare success between scenarios labelled ``s`` and ``f``.

    Parameters
    ----------
    labels : sequence of {"s", "f"}, length n_scenarios
    success : sequence of bool
    strata : sequence of str
        What to hold fixed in `Association.within`, such as the map's digest.
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
    counts, plain, within = _resampled(labels, success, strata, clusters, seed, n_bootstrap)
    return Association(
        table=counts.sum(0).astype(np.int64).reshape(2, 2),
        log_odds=float(plain[0]),
        interval=_ends(plain),
        within=float(within[0]),
        within_interval=_ends(within),
        n_clusters=len(counts),
    )


def compare(
    labels: Sequence[str],
    first: Sequence[bool],
    second: Sequence[bool],
    strata: Sequence[str],
    clusters: Sequence[str],
    *,
    seed: int,
    n_bootstrap: int = 4000,
) -> tuple[float, tuple[float, float]]:
    """Return how far the log odds ratio within strata of `first` lies above that of `second`.

    The interval is 95 % of the same resamples of clusters for both; parameters as for `associate`.
    """
    _, _, one = _resampled(labels, first, strata, clusters, seed, n_bootstrap)
    _, _, other = _resampled(labels, second, strata, clusters, seed, n_bootstrap)
    return float(one[0] - other[0]), _ends(one - other)


def rules(scenarios: Sequence[Scenario]) -> dict[str, list[bool]]:
    """Return guesses at success that need no robot: something at its median or below, or above."""
    stops = [[(one.start.x, one.start.y), *((g.x, g.y) for g in one.goals)] for one in scenarios]
    measured: dict[tuple[str, str], list[float]] = {
        ("short way", "long way"): [sum(map(math.dist, one, one[1:])) for one in stops],
        ("few boxes", "many boxes"): [len(one.boxes) for one in scenarios],
        ("few goals", "many goals"): [len(one.goals) for one in scenarios],
    }
    found = {}
    for (low, high), values in measured.items():
        found[low] = [value <= median(values) for value in values]
        found[high] = [not one for one in found[low]]
    return found


BATCH = 20
"""Scenarios of one map that a process drives in one go, for what is planned on a map is kept."""


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
    tasks = []
    for digest in sorted({one.map_digest or "" for one in scenarios}):
        mine = [one for one in scenarios if one.map_digest == digest]
        for start in range(0, len(mine), BATCH):
            part = tuple(mine[start : start + BATCH])
            tasks += [(grids[digest], part, seed, config) for seed in seeds]
    told = sweeps.run(_drive, tasks, name="labels", n_jobs=2, cache=False)
    return {
        (one.name, seed): good
        for (_, part, seed, _), goods in zip(tasks, told, strict=True)
        for one, good in zip(part, goods, strict=True)
    }


def shuffle(
    labels: Sequence[str],
    success: Sequence[bool],
    strata: Sequence[str],
    clusters: Sequence[str],
    *,
    seed: int,
    n_shuffles: int = 999,
) -> Association:
    """Compare success with labels that were dealt out anew among clusters, many times: the control.

    Parameters
    ----------
    labels, success, strata, clusters
        As for `associate`.
    seed : int
    n_shuffles : int

    Returns
    -------
    Association
        Medians over shuffles, with the middle 95 % as interval; `table` is the last shuffle's.

    Raises
    ------
    ValueError
        As for `associate`.
    """
    of_cluster = dict(zip(clusters, labels, strict=True))
    rng, rows = np.random.default_rng(seed), []
    for _ in range(n_shuffles):
        dealt = dict(zip(of_cluster, rng.permutation(list(of_cluster.values())), strict=True))
        mixed = [str(dealt[name]) for name in clusters]
        counts, plain, within = _resampled(mixed, success, strata, clusters, seed, 1)
        rows.append((plain[0], within[0]))
    low, middle, high = np.percentile(rows, [2.5, 50, 97.5], axis=0).tolist()
    return Association(
        table=counts.sum(0).astype(np.int64).reshape(2, 2),
        log_odds=middle[0],
        interval=(low[0], high[0]),
        within=middle[1],
        within_interval=(low[1], high[1]),
        n_clusters=len(of_cluster),
    )
