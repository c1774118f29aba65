"""Association of verdicts with labels."""

import numpy as np
import pytest

from lib.robot_provenance.study.labels import associate, cluster_of


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
