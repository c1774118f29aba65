"""Markets and the refinement order."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding.arithmetic import as_exact, exceeds, is_exact, number, vector
from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import equilibria_2p
from lib.autobidding.market import (
    CalibrationError,
    Market,
    NotARefinementError,
    check_labels,
    check_refinement,
)
from lib.autobidding.study.constructions import B2


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
        ([0], r"labels has shape \(1,\), expected shape \(2\)"),
        ([0, 0.5], r"labels\[1\] is 0.5, expected a whole number"),
        ([0, -1], r"labels\[1\] is -1"),
        (["0", "1"], r"labels\[0\] is '0'"),
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
        ([], np.empty((0, 2)), "weights is empty"),
        ([1.0], np.empty((1, 0)), "predictions is empty"),
        (
            [1.0, 1.0],
            [[0.1, 0.2]],
            r"predictions has shape \(1, 2\), expected shape \(2, n_bidders\)",
        ),
        ([1.0], [0.1, 0.2], r"predictions has shape \(2,\)"),
        ([0.0], [[0.1]], r"weights\[0\] is 0.0"),
        ([-1.0], [[0.1]], r"weights\[0\] is -1.0"),
        ([1.0], [[1.5]], r"predictions\[0, 0\] is 1.5"),
        ([1.0], [[0.1, -0.1]], r"predictions\[0, 1\] is -0.1"),
        ([1.0], [[float("nan")]], r"predictions\[0, 0\] is nan"),
        ([float("inf")], [[0.1]], r"weights\[0\] is inf"),
        ([1.0], [[0.5 + 0.5j]], r"predictions\[0, 0\] is \(0.5\+0.5j\)"),
        ([1.0], [["0.5"]], r"predictions\[0, 0\] is '0.5'"),
        ([True], [[0.5]], r"weights\[0\] is True"),
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


# ── Arithmetic by the elements, comparisons by scale ──────────────────────────────────────────

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("weights", "predictions", "exact"),
    [
        (np.array([1.0, 1.0], dtype=object), np.array([[0.5], [0.25]], dtype=object), False),
        (np.array([1, 1], dtype=object), np.array([[HALF], [0.25]], dtype=object), False),
        (np.array([1, 1]), np.array([[HALF], [1]], dtype=object), True),
        ([HALF, 1], [[1], [0]], True),
        ([1, 2], [[1], [0]], False),
        (np.array([1, 1], dtype=object), np.array([[1], [np.float64(0.5)]], dtype=object), False),
    ],
)
def test_elements_not_array_types_choose_the_arithmetic(weights, predictions, exact):
    market = Market(weights, predictions)
    assert market.is_exact is exact
    assert market.predictions.dtype == (object if exact else float)
    assert market.weights.dtype == market.predictions.dtype


def test_a_mixed_frame_of_floats_has_the_equilibria_of_its_floats():
    """The input of the review: B.2 as objects had none, silently."""
    table = pd.DataFrame({"name": list("abcd"), "1": 0.0, "2": 0.0})
    table[["1", "2"]] = B2.fine.predictions.astype(float)
    objects = table.to_numpy()[:, 1:]
    assert objects.dtype == object
    bidders = [Bidder("tcpa", 8.674, 3.185), Bidder("tcpa", 1.662)]
    found = equilibria_2p(Market(np.ones(4), objects), bidders, "first")
    assert [c.allocation for c in found] == [(0, 1, 0, 0)]
    assert found[0].liquid_welfare == pytest.approx(4.5977)


def test_exceeds_knows_the_scale_and_the_kind():
    tiny = Fraction(1, 10**30)
    assert exceeds(1 + tiny, Fraction(1))
    assert not exceeds(Fraction(1), 1)
    assert [exceeds(x * 1.0000001, x * 1.0) for x in (1e-300, 1e-9, 1.0, 1e9)] == [True] * 4
    assert [exceeds(x * (1 + 1e-12), x * 1.0) for x in (1e-300, 1e-9, 1.0, 1e9)] == [False] * 4
    assert not exceeds(1.0, 1.0 - 1e-7, 1e3)  # a difference of numbers of a thousand
    assert not exceeds(1.0, 1.0 - 1e-7, -1e3)
    assert exceeds(1.0, 1.0 - 1e-7, 1.0)
    assert exceeds(1.0, -np.inf)
    assert exceeds(np.inf, 1.0)
    assert not exceeds(1.0, np.inf)
    assert exceeds(HALF, -np.inf)
    rows = exceeds(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0 - 1e-12, 2.0]))
    assert rows.tolist() == [False, False, True]
    exact = exceeds(np.array([HALF + tiny, HALF]), np.array([HALF, HALF]))
    assert exact.tolist() == [True, False]
    assert exceeds(np.array([2.0, 2.0]), np.array([1.0, 1.9]), np.array([1.0, 1e9])).tolist() == [
        True,
        False,
    ]


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1.0])
def test_calibration_is_judged_by_the_size_of_the_prediction(unit):
    fine = Market([1.0, 3.0], [[0.8 * unit], [0.4 * unit]])
    check_refinement(Market([4.0], [[0.5 * unit]]), fine, [0, 0])
    with pytest.raises(CalibrationError, match="coarse cluster 0, bidder 0"):
        check_refinement(Market([4.0], [[0.51 * unit]]), fine, [0, 0])
    with pytest.raises(CalibrationError, match="coarse cluster 0, bidder 0"):
        check_refinement(Market([4.0], [[0.49 * unit]]), fine, [0, 0])
    light = Market([unit, 3 * unit], [[0.8], [0.4]])
    check_refinement(Market([4 * unit], [[0.5]]), light, [0, 0])
    with pytest.raises(NotARefinementError, match="coarse cluster 0 has mass"):
        check_refinement(Market([4.01 * unit], [[0.5]]), light, [0, 0])


def test_predictions_of_the_review_are_told_apart():
    with pytest.raises(CalibrationError):
        check_refinement(Market([1.0], [[9e-10]]), Market([1.0], [[1e-10]]), [0])


def test_as_exact_and_numbers():
    assert as_exact([np.int64(3), "0.25"]).tolist() == [3, Fraction(1, 4)]
    assert isinstance(as_exact(np.array([3]))[0], Fraction)
    assert number("x", np.int64(3), exact=True) == 3
    assert number("x", HALF, exact=False) == 0.5
    with pytest.raises(TypeError, match=r"x is the float 0\.5"):
        number("x", 0.5, exact=True)
    with pytest.raises(ValueError, match="x is '1'"):
        number("x", "1", exact=True)
    with pytest.raises(ValueError, match=r"x has shape \(1,\), expected shape \(2\)"):
        vector("x", [1], 2, exact=True)
    assert vector("x", [1, HALF], 2, exact=True).tolist() == [1, HALF]
    assert vector("x", [1, HALF], 2, exact=False).dtype == float


def test_what_was_handed_over_stays_writable():
    weights = np.ones(2)
    Market(weights, np.full((2, 1), 0.5))
    weights[0] = 5.0


def test_a_large_float_market_is_not_looked_at_number_by_number():
    class Loud(np.ndarray):
        def ravel(self, *_, **__):
            raise AssertionError("looked at")

    assert not is_exact(np.ones((3, 2)).view(Loud))
