"""Filtrations: nesting, calibration, and the two ways of building them."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding.filtrations import (
    Filtration,
    feature_labels,
    level_map,
    pca_median_labels,
    pool,
    shrink,
)
from lib.autobidding.market import (
    CalibrationError,
    Market,
    NotARefinementError,
    check_refinement,
)


@pytest.fixture
def base() -> Market:
    return Market.exact([1, 2, 3], [["1/2", "1/3"], ["1/4", "1/5"], ["1/8", "0"]])


def test_levels_are_markets_that_refine_each_other(base: Market) -> None:
    chain = Filtration(base, [[0, 0, 0], [1, 0, 0], [2, 0, 1]], names=["one", "two", "three"])
    assert chain.n_clusters == (1, 2, 3)
    assert chain.names == ("one", "two", "three")
    for coarse in range(3):
        for fine in range(coarse, 3):
            parents = level_map(*(np.asarray(chain.labels[level]) for level in (coarse, fine)))
            check_refinement(chain.markets[coarse], chain.markets[fine], parents)


def test_levels_that_cross_are_refused(base: Market) -> None:
    with pytest.raises(NotARefinementError, match=r"level 1: cluster 1 lies in the coarser"):
        Filtration(base, [[0, 0, 1], [0, 1, 1]])


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([], ValueError, "labels is empty"),
        ([[0, 0]], NotARefinementError, "level 0"),
        ([[0, 0, 2]], NotARefinementError, "coarse cluster 1 has no fine"),
        ([[0.0, 0.5, 1.0]], NotARefinementError, "a whole number"),
    ],
)
def test_bad_labels(base: Market, labels: list[list[int]], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        Filtration(base, labels)


def test_wrong_number_of_names(base: Market) -> None:
    with pytest.raises(ValueError, match="lengths are names 2, labels 1"):
        Filtration(base, [[0, 0, 0]], ["a", "b"])


def test_markets_of_their_own_must_be_calibrated(base: Market) -> None:
    coarse = base.coarsen([0, 0, 1])
    chain = Filtration.from_markets([coarse, base], [[0, 0, 1]])
    assert chain.n_clusters == (2, 3)
    wrong = coarse.predictions.copy()
    wrong[0, 1] += Fraction(1, 1000)
    with pytest.raises(CalibrationError, match="coarse cluster 0, bidder 1"):
        Filtration.from_markets([Market(coarse.weights, wrong), base], [[0, 0, 1]])
    with pytest.raises(ValueError, match="a map between neighbours"):
        Filtration.from_markets([coarse, base], [])


def test_three_markets_of_their_own(base: Market) -> None:
    two = base.coarsen([1, 0, 0])
    one = two.coarsen([0, 0])
    chain = Filtration.from_markets([one, two, base], [[0, 0], [1, 0, 0]])
    assert [m.predictions.tolist() for m in chain.markets] == [
        m.predictions.tolist() for m in (one, two, base)
    ]


@given(st.data())
@settings(max_examples=50)
def test_feature_levels_are_nested_whatever_the_features(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 25))
    columns = data.draw(
        st.lists(st.lists(st.integers(0, 3), min_size=n, max_size=n), min_size=1, max_size=4)
    )
    table = pd.DataFrame({f"f{j}": column for j, column in enumerate(columns)})
    levels = feature_labels(table)
    assert len(levels) == table.shape[1] + 1
    assert levels[-1].max() + 1 == len(table.drop_duplicates())
    for coarse, fine in pairwise(levels):
        level_map(coarse, fine)


def test_missing_feature_is_named() -> None:
    with pytest.raises(ValueError, match="'b' has missing"):
        feature_labels(pd.DataFrame({"a": [1, 2], "b": [1.0, None]}))
    with pytest.raises(ValueError, match="expected units and features"):
        feature_labels(pd.DataFrame())


def test_pca_splits_halve_every_cluster() -> None:
    points = np.random.default_rng(0).normal(size=(40, 3))
    levels = pca_median_labels(points, 4)
    assert [int(level.max()) + 1 for level in levels] == [1, 2, 4, 8, 16]
    sizes = np.bincount(levels[3])
    assert sizes.tolist() == [5] * 8
    for coarse, fine in pairwise(levels):
        level_map(coarse, fine)


def test_pca_split_ignores_the_sign_convention_of_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = np.random.default_rng(1).normal(size=(15, 4))
    before = pca_median_labels(points, 3)
    svd = np.linalg.svd

    def flipped(a: np.ndarray, **options: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        u, s, vt = svd(a, **options)
        return -u, s, -vt

    monkeypatch.setattr(np.linalg, "svd", flipped)
    after = pca_median_labels(points, 3)
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_pca_leaves_single_units_and_equal_points_alone() -> None:
    levels = pca_median_labels([[0.0], [1.0], [5.0]], 4)
    assert int(levels[-1].max()) + 1 == 3
    assert int(pca_median_labels(np.ones((4, 2)), 2)[-1].max()) == 0


@pytest.mark.parametrize(
    ("points", "depth", "words"),
    [
        ([[np.nan, 1.0]], 1, r"points\[0, 0\] is nan"),
        ([1.0, 2.0], 1, "n_units, n_dimensions"),
        ([[1.0]], -1, "depth is -1"),
    ],
)
def test_bad_points(points: list, depth: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pca_median_labels(points, depth)


def test_pool_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(2)
    values, labels = rng.normal(size=(3, 9, 2)), np.array([0, 2, 1, 1, 0, 2, 2, 0, 1])
    expected = np.stack([values[:, labels == j].sum(axis=1) for j in range(3)], axis=1)
    np.testing.assert_allclose(pool(values, labels, axis=1), expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[3.0]], [[2.0]], [0.5], 1.0), r"conversions\[0, 0\] is 3.0, expected at most 2.0"),
        (([[1.0]], [[2.0]], [0.5], 0.0), "strength"),
        (([[1.0]], [[2.0]], [1.5], 1.0), r"mean\[0\] is 1.5"),
    ],
)
def test_bad_shrinkage(arguments: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        shrink(*arguments)
