"""Associations of verdicts with labels, draw by draw; ways to goals, cell by cell."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lib.robot_provenance.campaign import Box, Pose, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.study import labels
from lib.robot_provenance.study.navsim import SimConfig

# Scenarios as (cluster, label, stratum, successes, failures); "one" and "none" lack a label.
CLUSTERS = [
    ("a", "s", "x", 3, 1),
    ("b", "f", "x", 1, 2),
    ("c", "s", "y", 0, 1),
    ("d", "f", "y", 1, 0),
    ("e", "s", "one", 4, 2),
    ("g", "f", "x", 0, 2),
    ("h", "f", "none", 5, 1),
]


def rows(clusters=CLUSTERS):
    """Return labels, successes, strata and clusters of the scenarios."""
    told = [
        (label, good, stratum, name)
        for name, label, stratum, won, lost in clusters
        for good in [True] * won + [False] * lost
    ]
    return tuple(list(column) for column in zip(*told, strict=True))


def odds(clusters, times):
    """Return both log odds ratios of clusters that each count so many times, by plain loops."""
    cells, strata = dict.fromkeys(("s1", "s0", "f1", "f0"), 0.0), {}
    for (_, label, stratum, won, lost), n in zip(clusters, times, strict=True):
        own = strata.setdefault(stratum, dict.fromkeys(cells, 0.0))
        for table in (cells, own):
            table[label + "1"] += won * n
            table[label + "0"] += lost * n
    a, b, c, d = (cells[key] + 0.5 for key in ("s1", "s0", "f1", "f0"))
    up = down = 0.5
    for own in strata.values():
        if own["s1"] + own["s0"] and own["f1"] + own["f0"]:
            up += own["s1"] * own["f0"] / sum(own.values())
            down += own["s0"] * own["f1"] / sum(own.values())
    return [math.log(a * d / b / c), math.log(up / down)]


def test_every_draw_is_the_odds_of_its_resample() -> None:
    found = labels.associate(*rows(), seed=3, n_bootstrap=60)
    n = len(CLUSTERS)
    drawn = np.random.default_rng(3).multinomial(n, [1 / n] * n, 60)
    expected = [odds(CLUSTERS, times) for times in ([1] * n, *drawn)]
    assert found.draws == pytest.approx(np.array(expected))
    assert found.table.tolist() == [[7, 4], [7, 5]]
    assert found.table.dtype == np.int64
    assert (found.log_odds, found.within) == pytest.approx(tuple(expected[0]))
    ends = [np.percentile(found.draws[1:, k], (2.5, 97.5)) for k in (0, 1)]
    for (low, high), (p, q), middle in zip(found.intervals, ends, expected[0], strict=True):
        assert (low, high) == pytest.approx((min(p, middle), max(q, middle)))


def test_the_first_of_the_clusters_in_two_strata_is_named() -> None:
    told = ("sfsfsf", [1, 0, 1, 0, 1, 0], "xyxyzz", ["a", "b", "c", "d", "e", "f"])
    assert labels.associate(*told, seed=0, n_bootstrap=1).table.tolist() == [[3, 0], [0, 3]]
    twice = ("sfsfsf", [1, 0, 1, 0, 1, 0], "xyyxzz", ["a", "b", "a", "b", "e", "f"])
    with pytest.raises(ValueError, match=r"cluster .*'a'.* lies in two strata"):
        labels.associate(*twice, seed=0)
    thrice = ("sff", [1, 0, 1], "xyz", ["e", "c", "c"])
    with pytest.raises(ValueError, match=r"cluster .*'c'.* lies in two strata"):
        labels.associate(*thrice, seed=0)


def test_dealt_labels_are_those_of_the_clusters() -> None:
    """Each shuffle deals the clusters' labels out among them; the estimates are the medians."""
    found = labels.shuffle(*rows(), seed=9, n_shuffles=25)
    rng, expected = np.random.default_rng(9), []
    for _ in range(25):
        dealt = rng.permutation([one[1] for one in CLUSTERS])
        mixed = [(c[0], str(new), *c[2:]) for c, new in zip(CLUSTERS, dealt, strict=True)]
        expected.append(odds(mixed, [1] * len(mixed)))
    middle = [float(np.median(column)) for column in zip(*expected, strict=True)]
    assert found.draws == pytest.approx(np.array([middle, *expected]))
    # The last deal's table.
    won = {key: sum(c[3] for c in mixed if c[1] == key) for key in "sf"}
    lost = {key: sum(c[4] for c in mixed if c[1] == key) for key in "sf"}
    assert found.table.tolist() == [[won["s"], lost["s"]], [won["f"], lost["f"]]]


def test_labels_that_are_too_few_are_not_dealt() -> None:
    few, *rest = rows()
    with pytest.raises(ValueError, match="shorter"):
        labels.shuffle(few[:-1], *rest, seed=9, n_shuffles=1)


def test_names_of_groups() -> None:
    assert labels.label("a-12s34-56") == "s"
    assert labels.label("a-1f1-1") == "f"
    assert labels.label("a-1s1-1-x") is None
    assert labels.cluster_of("-5") == "-5"


# --- ways

CONFIG = SimConfig(radius=0.01, margin=0.0, goal_tolerance=0.5)


def alone() -> Grid:
    cells = np.ones((9, 9), np.int8)
    cells[4, 4] = 0
    return Grid(cells, 0.5, (0.0, 0.0))


@pytest.mark.parametrize("dx", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("dy", [-2, -1, 0, 1, 2])
def test_a_goal_is_met_as_near_as_a_robot_must_come(dx, dy) -> None:
    """Within one cell of half a metre, where half a metre is near enough."""
    goal = Pose(2.25 + dx / 2, 2.25 + dy / 2)
    one = Scenario("a", "m", Pose(2.25, 2.25), (goal,))
    assert labels.has_way(alone(), one, CONFIG) is (max(abs(dx), abs(dy)) < 2)
    turned = replace(one, start=goal, goals=(Pose(2.25, 2.25),))
    assert labels.has_way(alone(), turned, CONFIG) is (max(abs(dx), abs(dy)) < 2)


def test_a_way_beside_a_box_that_just_leaves_room() -> None:
    """A corridor of one cell just holds the robot, and a box may stand at its edge."""
    cells = np.ones((5, 9), np.int8)
    cells[2, 1:8] = 0
    grid, config = Grid(cells, 0.5, (0.0, 0.0)), SimConfig(radius=0.125, margin=0.125)
    one = Scenario("a", "m", Pose(0.75, 1.25), (Pose(3.75, 1.25),))
    assert labels.has_way(grid, one, config)
    at_face = replace(one, boxes=(Box(2.25, 1.75, 0.0, 0.5, 0.5),))
    assert labels.has_way(grid, at_face, config, boxes=True)
    over = replace(one, boxes=(Box(2.25, 1.74, 0.0, 0.5, 0.5),))
    assert not labels.has_way(grid, over, config, boxes=True)
    assert labels.has_way(grid, over, config)
    # The margin counts as the radius does.
    assert not labels.has_way(grid, one, SimConfig(radius=0.125, margin=0.126))


def test_a_way_may_go_by_corners_of_cells() -> None:
    cells = np.ones((6, 6), np.int8)
    cells[[1, 2, 3, 4], [1, 2, 3, 4]] = 0
    one = Scenario("a", "m", Pose(0.75, 0.75), (Pose(2.25, 2.25),))
    config = replace(CONFIG, goal_tolerance=0.25)
    assert labels.has_way(Grid(cells, 0.5, (0.0, 0.0)), one, config)
    cells[2, 2] = 1
    assert not labels.has_way(Grid(cells, 0.5, (0.0, 0.0)), one, config)


# --- many drives


def test_successes_by_name_and_seed(monkeypatch) -> None:
    """Each map with each seed is one task; nothing is kept, and two processes drive."""
    grids = {one.digest: one for one in (alone(), Grid(np.zeros((4, 4)), 1.0, (0, 0)))}
    first, second = grids
    scenarios = [
        Scenario(name, "m", Pose(0, 0), (), map_digest=digest)
        for name, digest in (("a", first), ("b", second), ("c", first))
    ]
    driven, asked = [], {}

    def simulate(grid, scenario, seed, config):
        driven.append((grid.digest, scenario.name, seed))
        good = (scenario.name, seed) in {("a", 0), ("b", 7)}
        return SimpleNamespace(outcome="success" if good else "stuck")

    def run(task, items, **more):
        asked.update(more)
        return [task(one) for one in items]

    monkeypatch.setattr(labels, "simulate", simulate)
    monkeypatch.setattr(labels.sweeps, "run", run)
    found = labels.successes(scenarios, grids, [0, 7], CONFIG)
    assert found == {
        ("a", 0): True, ("a", 7): False, ("c", 0): False, ("c", 7): False,
        ("b", 0): False, ("b", 7): True,
    }  # fmt: skip
    assert driven == [
        *((first, "a", 0), (first, "c", 0), (first, "a", 7), (first, "c", 7)),
        *((second, "b", 0), (second, "b", 7)),
    ]
    assert asked == {"name": "labels", "n_jobs": 2, "cache": False}
