"""Association of verdicts with labels."""

import numpy as np
import pytest

from lib.robot_provenance.campaign import Box, Pose, Scenario
from lib.robot_provenance.study.labels import associate, cluster_of, compare, rules, shuffle


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
    assert found.interval[0] > 0
    assert found.within_interval[0] > 0
    none = associate(*made(0.0, 2), seed=0)
    assert none.interval[0] < 0 < none.interval[1]


def test_a_stratum_that_explains_everything_leaves_nothing_within():
    # All s on an easy map, all f on a hard one, and both labels on a third without effect.
    labels = list("s" * 20 + "f" * 20 + "sf" * 20)
    success = [True] * 20 + [False] * 20 + [i % 4 < 2 for i in range(40)]
    strata = ["easy"] * 20 + ["hard"] * 20 + ["third"] * 40
    clusters = [f"{s}{x}{i % 5}" for i, (s, x) in enumerate(zip(strata, labels, strict=True))]
    found = associate(labels, success, strata, clusters, seed=0)
    assert found.interval[0] > 0
    assert abs(found.within) < 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: ([], [], [], []), "lengths"),
        (lambda a: (a[0][:-1], *a[1:]), "lengths"),
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
    assert found.n_clusters == 4


def test_a_comparison_has_the_sign_of_the_better_guess():
    labels, success, strata, clusters = made(0.3, 1)
    coin = list(np.random.default_rng(5).random(len(labels)) < 0.5)
    better, (low, high) = compare(labels, success, coin, strata, clusters, seed=0)
    assert 0 < low < better < high
    worse, (low2, high2) = compare(labels, coin, success, strata, clusters, seed=0)
    assert (worse, low2, high2) == pytest.approx((-better, -high, -low))
    assert compare(labels, coin, coin, strata, clusters, seed=0) == (0, (0, 0))


def test_rules_need_no_robot():
    def one(goals, boxes=0):
        poses = tuple(Pose(*goal) for goal in goals)
        return Scenario("a", "m.yaml", Pose(0, 0), poses, (Box(1, 1),) * boxes)

    found = rules([one([(3, 4)], 2), one([(3, 0), (3, 1)]), one([(0, 9)], 1)])
    assert [found.pop(name) for name in ("long way", "many boxes", "many goals")] == [
        [False, False, True],
        [True, False, False],
        [False, True, False],
    ]
    assert found == {
        "short way": [True, True, False],
        "few boxes": [False, True, True],
        "few goals": [True, False, True],
    }


def test_shuffled_labels_lie_around_zero():
    dealt = shuffle(*made(0.3, 1), seed=3, n_shuffles=199)
    assert dealt.interval[0] < 0 < dealt.interval[1]
    assert abs(dealt.within) < 0.4
