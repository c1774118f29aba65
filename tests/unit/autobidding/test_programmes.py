"""The linear benchmark: exact optima with rational duals, and lifting without any loss."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding.bidders import Bidder
from lib.autobidding.market import Market, NotARefinementError
from lib.autobidding.programmes import is_feasible, lift, lp_benchmark, objective
from lib.autobidding.study.constructions import B2, BUDGET_EXAMPLE, PAPER

tenths = st.integers(0, 10).map(lambda k: Fraction(k, 10))


@st.composite
def instances(draw):
    n_bidders, n_clusters = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    rows = st.lists(tenths, min_size=n_bidders, max_size=n_bidders)
    market = Market.exact(
        draw(st.lists(st.integers(1, 4), min_size=n_clusters, max_size=n_clusters)),
        draw(st.lists(rows, min_size=n_clusters, max_size=n_clusters)),
    )
    budgets = st.one_of(st.none(), st.integers(1, 40).map(lambda k: Fraction(k, 4)))
    bidders = [
        Bidder(draw(st.sampled_from(["tcpa", "maxcpa"])), draw(st.integers(1, 9)), draw(budgets))
        for _ in range(n_bidders)
    ]
    raw = draw(st.lists(st.integers(0, 2), min_size=n_clusters, max_size=n_clusters))
    labels = np.unique(raw, return_inverse=True)[1]
    return market, bidders, labels


@settings(max_examples=60)
@given(instances())
def test_lifting_keeps_feasibility_and_objective_exactly(instance):
    fine, bidders, labels = instance
    coarse = fine.coarsen(labels)
    solution = lp_benchmark(coarse, bidders)
    assert solution.gap == 0
    assert is_feasible(coarse, bidders, solution.allocation)
    copied = lift(solution.allocation, labels)
    assert is_feasible(fine, bidders, copied)
    assert objective(fine, bidders, copied) == solution.value
    # Theorem 5.11: hence the fine optimum is no smaller.
    assert lp_benchmark(fine, bidders).value >= solution.value


def test_a_miscalibrated_model_breaks_the_lifting():
    coarse = BUDGET_EXAMPLE.coarse
    wrong = Market.exact([1] * 3, [["0.5", 0], ["0.4", "0.4"], [0, "0.5"]])
    solution = lp_benchmark(coarse, BUDGET_EXAMPLE.bidders)
    copied = lift(solution.allocation, BUDGET_EXAMPLE.labels)
    assert objective(wrong, BUDGET_EXAMPLE.bidders, copied) != solution.value


@pytest.mark.parametrize("construction", [*PAPER, BUDGET_EXAMPLE], ids=lambda c: c.name)
def test_float_and_exact_optima_agree(construction):
    for market in (construction.coarse, construction.fine):
        exact = lp_benchmark(market, construction.bidders)
        close = lp_benchmark(market.to_float(), construction.bidders)
        assert exact.gap == 0
        assert float(exact.value) == pytest.approx(close.value, rel=1e-9)
        assert abs(close.gap) < 1e-7 * close.value


def test_without_budgets_the_highest_value_wins():
    bidders = [Bidder("tcpa", b.value) for b in B2.bidders]
    worth = B2.fine.mass * np.array([b.value for b in bidders], dtype=object)
    solution = lp_benchmark(B2.fine, bidders)
    assert solution.value == worth.max(axis=1).sum()
    assert solution.shadow_prices is None
    floats = lp_benchmark(B2.fine.to_float(), bidders)
    assert floats.shadow_prices.tolist() == [0, 0]
    assert floats.gap == pytest.approx(0)


def test_an_infeasible_allocation_is_seen():
    assert not is_feasible(B2.fine, B2.bidders, np.array([[1, 0]] * 4))
    assert not is_feasible(B2.fine, B2.bidders, np.array([[0, 2]] * 4))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="market has 2 bidders, got 1"):
        lp_benchmark(B2.fine, B2.bidders[:1])
    with pytest.raises(ValueError, match="labels name 2 coarse clusters, the allocation has 3"):
        lift(np.zeros((3, 2)), [0, 1])
    with pytest.raises(NotARefinementError):
        lift(np.zeros((2, 2)), [0, 2])
    with pytest.raises(ValueError, match=r"allocation has shape \(4,\), expected shape \(4, 2\)"):
        is_feasible(B2.fine, B2.bidders, np.zeros(4))
    for shape in ((1, 2), (4, 1), (2,), ()):
        with pytest.raises(ValueError, match="allocation has shape"):
            objective(B2.fine, B2.bidders, np.ones(shape))
    with pytest.raises(ValueError, match=r"allocation\[0, 0\] is nan"):
        objective(B2.fine, B2.bidders, np.full((4, 2), np.nan))


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_shadow_prices_and_feasibility_by_hand_in_any_unit(unit):
    """A budget of 1 for a value of 2 buys half; a unit more is worth itself less the rival's."""
    market = Market([1.0], [[0.5, 0.25]])
    bidders = [Bidder("tcpa", 4 * unit, unit), Bidder("tcpa", 4 * unit)]
    found = lp_benchmark(market, bidders)
    np.testing.assert_allclose(found.allocation, [[0.5, 0.5]])
    assert found.value == pytest.approx(1.5 * unit)
    np.testing.assert_allclose(found.shadow_prices, [0.5, 0])
    assert found.gap == pytest.approx(0, abs=1e-9 * unit)
    assert is_feasible(market, bidders, found.allocation)
    for worse in ([[0.51, 0.4]], [[0.5, 0.51]], [[-0.01, 0.5]]):
        assert not is_feasible(market, bidders, np.array(worse))
    assert objective(market, bidders, np.array([[0.25, 1.0]])) == pytest.approx(1.5 * unit)
