"""Association of verdicts with labels."""

import numpy as np
import pytest

from lib.robot_provenance.campaign import Box, Pose, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.study.labels import (
    Association,
    associate,
    cluster_of,
    compare,
    has_way,
    label,
    shuffle,
)
from lib.robot_provenance.study.navsim import SimConfig


def made(effect: float, seed: int):
    rng = np.random.default_rng(seed)
    clusters, labels, strata, success = [], [], [], []
    for c in range(40):
        label, stratum = "sf"[c % 2], f"m{c % 4 // 2}"
        rate = 0.5 + (effect if label == "s" else -effect)
        for _ in range(8):
            clusters.append(f"c{c}")
            labels.append(label)
            strata.append(stratum)
            success.append(rng.random() < rate)
    return labels, success, strata, clusters


def test_a_planted_effect_is_found_and_none_is_not():
    found = associate(*made(0.3, 1), seed=0)
    assert found.intervals[0][0] > 0
    assert found.intervals[1][0] > 0
    none = associate(*made(0.0, 2), seed=0)
    assert none.intervals[0][0] < 0 < none.intervals[0][1]


def test_a_stratum_that_explains_everything_leaves_nothing_within():
    # All s on an easy map, all f on a hard one, and both labels on a third without effect.
    labels = list("s" * 20 + "f" * 20 + "sf" * 20)
    success = [True] * 20 + [False] * 20 + [i % 4 < 2 for i in range(40)]
    strata = ["easy"] * 20 + ["hard"] * 20 + ["third"] * 40
    clusters = [f"{s}{x}{i % 5}" for i, (s, x) in enumerate(zip(strata, labels, strict=True))]
    found = associate(labels, success, strata, clusters, seed=0)
    assert found.intervals[0][0] > 0
    assert abs(found.within) < 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: ([], [], [], []), "labels"),
        (lambda a: (a[0][:-1], *a[1:]), "length"),
        (lambda a: (["s"] * len(a[0]), *a[1:]), "both"),
        (lambda a: (["x", *a[0][1:]], *a[1:]), "'x'"),
        (lambda a: (*a[:2], [str(i % 2) for i in range(len(a[0]))], a[3]), "two strata"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        associate(*change(made(0.1, 3)), seed=0)


def test_cluster_of():
    assert cluster_of("a-1s2-14") == "a-1s2"
    assert cluster_of("plain") == "plain"


def test_odds_by_hand():
    """Two of two against one of two, half a count added: log((2.5*1.5)/(0.5*1.5))."""
    found = associate("ssff", [1, 1, 0, 1], "xxxx", "abcd", seed=0, n_bootstrap=50)
    assert found.log_odds == pytest.approx(np.log(5))
    # Mantel-Haenszel: (2*1/4 + 0.5) over (0*1/4 + 0.5).
    assert found.within == pytest.approx(np.log(2))
    assert found.draws.shape == (51, 2)


def test_a_comparison_has_the_sign_of_the_better_guess():
    labels, success, strata, clusters = made(0.3, 1)
    coin = list(np.random.default_rng(5).random(len(labels)) < 0.5)
    one, other = (associate(labels, x, strata, clusters, seed=0) for x in (success, coin))
    better, (low, high) = compare(one, other)
    assert better == one.within - other.within
    assert 0 < low < better < high
    worse, (low2, high2) = compare(other, one)
    assert (worse, low2, high2) == pytest.approx((-better, -high, -low))
    assert compare(other, other) == (0, (0, 0))


def test_intervals_are_the_middle_95_percent_widened_to_the_estimate():
    draws = np.stack([np.arange(1001.0), np.arange(1001.0)[::-1]], axis=1)
    draws[0] = 500.0, 990.0
    one = Association(np.ones((2, 2), int), draws)
    assert np.allclose(one.intervals[0], np.percentile(np.arange(1, 1001), [2.5, 97.5]))
    low, high = one.intervals[1]
    assert (low, high) == (np.percentile(np.arange(1000), 2.5), 990.0)
    assert (one.log_odds, one.within) == (500.0, 990.0)


def test_group_letters():
    names = ["office-4s2-12", "door-1f1-3", "example-30-door", "a-1s2", "a-1x1-1"]
    assert [label(one) for one in names] == ["s", "f", None, None, None]


def test_shuffled_labels_lie_around_zero():
    dealt = shuffle(*made(0.3, 1), seed=3, n_shuffles=199)
    assert dealt.intervals[0][0] < 0 < dealt.intervals[0][1]
    assert abs(dealt.within) < 0.4


def two_rooms(door: int) -> Grid:
    """Return two rooms of 2 m x 1 m, with a door of so many cells of 0.05 m between them."""
    cells = np.ones((24, 84), np.int8)
    cells[2:22, 2:82] = 0
    cells[:, 41:43] = 1
    cells[12 - door // 2 : 12 + door - door // 2, 41:43] = 0
    return Grid(cells, 0.05, (0.0, 0.0))


@pytest.mark.parametrize(
    ("door", "box", "plain", "boxed"),
    [
        (10, None, True, True),
        # The robot and its margin need 0.39 m.
        (6, None, False, False),
        # In the door; beside the way; the robot just gets by, and just not.
        (10, Box(2.1, 0.6), True, False),
        (10, Box(0.5, 0.9, 0.0, 0.2, 0.2), True, True),
        (10, Box(1.5, 1.0, 0.0, 0.9, 0.2), True, True),
        (10, Box(1.5, 1.0, 0.0, 0.98, 0.2), True, False),
        # Turned by a right angle, length and width change places.
        (10, Box(1.5, 1.0, 0.0, 0.2, 0.98), True, True),
        (10, Box(1.5, 1.0, np.pi / 2, 0.2, 0.98), True, False),
    ],
)
def test_a_way_with_and_without_boxes(door, box, plain, boxed):
    one = Scenario("a", "m.yaml", Pose(0.6, 0.4), (Pose(3.5, 0.6),), (box,) if box else ())
    grid = two_rooms(door)
    found = has_way(grid, one, SimConfig()), has_way(grid, one, SimConfig(), boxes=True)
    assert found == (plain, boxed)
    # Drawing a box in leaves the map as it was.
    assert has_way(grid, one, SimConfig()) is plain


def test_a_way_to_every_goal():
    grid, goals = two_rooms(6), (Pose(1.5, 0.6), Pose(3.5, 0.6))
    near, both = (Scenario("a", "m.yaml", Pose(0.6, 0.6), goals[:n]) for n in (1, 2))
    assert has_way(grid, near, SimConfig())
    assert not has_way(grid, both, SimConfig())
