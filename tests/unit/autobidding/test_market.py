"""Markets and the refinement order."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding.market import (
    CalibrationError,
    Market,
    NotARefinementError,
    as_exact,
    check_labels,
    check_refinement,
)


def markets(n_bidders=2, max_clusters=6):
    share = st.integers(0, 20).map(lambda x: Fraction(x, 20))
    row = st.tuples(st.integers(1, 5), *[share] * n_bidders)
    return st.lists(row, min_size=1, max_size=max_clusters).map(
        lambda rows: Market.exact([r[0] for r in rows], [r[1:] for r in rows])
    )


def labelings(n):
    """Random label vectors that use every number from 0 to their maximum."""
    return st.lists(st.integers(0, n - 1), min_size=n, max_size=n).map(
        lambda raw: [sorted(set(raw)).index(x) for x in raw]
    )


@settings(max_examples=60)
@given(st.data())
def test_coarsening_keeps_mass_and_is_a_refinement(data):
    fine = data.draw(markets())
    labels = data.draw(labelings(fine.n_clusters))
    coarse = fine.coarsen(labels)
    check_refinement(coarse, fine, labels)
    assert coarse.weights.sum() == fine.weights.sum()
    assert (coarse.mass.sum(axis=0) == fine.mass.sum(axis=0)).all()


@settings(max_examples=60)
@given(st.data())
def test_refinement_is_a_partial_order(data):
    fine = data.draw(markets())
    n = fine.n_clusters
    check_refinement(fine, fine, range(n))  # reflexive
    first = data.draw(labelings(n))
    middle = fine.coarsen(first)
    second = data.draw(labelings(middle.n_clusters))
    coarse = middle.coarsen(second)
    # transitive: pooling twice is pooling once by the composed labels
    composed = [second[k] for k in first]
    check_refinement(coarse, fine, composed)
    direct = fine.coarsen(composed)
    assert (direct.predictions == coarse.predictions).all()
    # antisymmetric: a refinement both ways has as many clusters, hence is a relabelling
    if middle.n_clusters < n:
        with pytest.raises(NotARefinementError):
            check_refinement(fine, middle, range(middle.n_clusters))


def test_a_miscalibrated_prediction_is_named():
    fine = Market.exact([1, 1], [["0.2", "0.4"], ["0.4", "0.2"]])
    wrong = Market.exact([2], [["0.3", "0.35"]])
    with pytest.raises(CalibrationError, match="coarse cluster 0, bidder 1"):
        check_refinement(wrong, fine, [0, 0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], "one label for each"),
        ([0.0, 1.0], "integers"),
        ([0, -1], "label of cluster 1 is -1"),
        ([0, 2], "coarse cluster 1 has no fine cluster"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(NotARefinementError, match=message):
        check_labels(labels, 2)


def test_overlapping_or_missing_mass_is_refused():
    fine = Market.exact([1, 1], [["0.2"], ["0.4"]])
    with pytest.raises(NotARefinementError, match="coarse cluster 0 has mass 3"):
        check_refinement(Market.exact([3], [["0.3"]]), fine, [0, 0])
    with pytest.raises(NotARefinementError, match="labels name 2 coarse clusters"):
        check_refinement(Market.exact([2], [["0.3"]]), fine, [0, 1])
    with pytest.raises(NotARefinementError, match="1 bidders, fine model 2"):
        check_refinement(fine, Market.exact([1, 1], [["0.2", "0"], ["0.4", "0"]]), [0, 1])


@pytest.mark.parametrize(
    ("weights", "predictions", "message"),
    [
        ([], np.empty((0, 2)), "a market needs a cluster"),
        ([1.0], np.empty((1, 0)), "a market needs a cluster and a bidder"),
        ([1.0, 1.0], [[0.1, 0.2]], "expected weights"),
        ([1.0], [0.1, 0.2], "expected weights"),
        ([0.0], [[0.1]], "weight of cluster 0 is 0.0"),
        ([-1.0], [[0.1]], "weight of cluster 0 is -1.0"),
        ([1.0], [[1.5]], "prediction of bidder 0 in cluster 0 is 1.5"),
        ([1.0], [[-0.1]], "prediction of bidder 0"),
        ([1.0], [[float("nan")]], r"prediction at \(0, 0\) is nan"),
        ([float("inf")], [[0.1]], "weight at"),
    ],
)
def test_bad_markets(weights, predictions, message):
    with pytest.raises(ValueError, match=message):
        Market(np.asarray(weights), np.asarray(predictions))


def test_exact_mode_refuses_floats():
    with pytest.raises(TypeError, match=r"got the float 0\.1"):
        as_exact([0.1])


def test_markets_cannot_be_changed():
    market = Market(np.ones(1), np.full((1, 1), 0.5))
    with pytest.raises(ValueError, match="read-only"):
        market.predictions[0, 0] = 1.0
