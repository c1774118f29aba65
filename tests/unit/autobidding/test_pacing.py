"""Pacing equilibria: exact on constructions, certified by a gap, and met by two other methods."""

from __future__ import annotations

import math
from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding import pacing
from lib.autobidding.market import Market
from lib.autobidding.pacing import NotConvergedError, certify, fppe
from lib.autobidding.study.constructions import B2, BUDGET_EXAMPLE, Construction


def pace(construction: Construction, market: Market):
    return fppe(
        market,
        [b.value for b in construction.bidders],
        [b.budget for b in construction.bidders],
    )


def random_float(seed: int, n_clusters: int = 40, n_bidders: int = 4):
    rng = np.random.default_rng(seed)
    market = Market(rng.uniform(0.5, 2, n_clusters), rng.uniform(0, 1, (n_clusters, n_bidders)))
    values = rng.uniform(0.5, 2, n_bidders)
    worth = (market.mass * values).sum(axis=0)
    budgets = worth * rng.uniform(0.05, 0.6, n_bidders)
    budgets[0] = math.inf
    return market, values, budgets


@pytest.mark.parametrize(
    ("construction", "labels", "goal", "revenue"),
    [
        (B2, [0, 0, 0, 0], "489459/207250", "489459/125000"),
        (B2, [0, 0, 1, 1], "637/223", "2763379/500000"),
        (B2, [0, 1, 2, 3], "455/233", "45977/10000"),
        (BUDGET_EXAMPLE, [0, 1, 1], "2", "201/100"),
        (BUDGET_EXAMPLE, [0, 1, 2], "1", "38/25"),
    ],
)
def test_constructions_come_out_exactly(construction, labels, goal, revenue):
    found = pace(construction, construction.fine.coarsen(labels))
    assert found.multipliers[0] * construction.bidders[0].value == Fraction(goal)
    assert found.multipliers[1] == 1
    assert found.revenue == found.liquid_welfare == Fraction(revenue)
    assert found.gap == 0


tenths = st.integers(0, 10).map(lambda k: Fraction(k, 10))
budget = st.one_of(st.none(), st.integers(1, 30).map(lambda k: Fraction(k, 4)))


@st.composite
def exact_markets(draw):
    n_bidders, n_clusters = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    rows = st.lists(tenths, min_size=n_bidders, max_size=n_bidders)
    market = Market.exact(
        draw(st.lists(st.integers(1, 4), min_size=n_clusters, max_size=n_clusters)),
        draw(st.lists(rows, min_size=n_clusters, max_size=n_clusters)),
    )
    values = draw(st.lists(st.integers(1, 9), min_size=n_bidders, max_size=n_bidders))
    return market, values, draw(st.lists(budget, min_size=n_bidders, max_size=n_bidders))


@settings(max_examples=80)
@given(exact_markets())
def test_exact_equilibria_satisfy_every_condition(instance):
    market, values, budgets = instance
    found = fppe(market, values, budgets)
    bids = market.predictions * np.array(values, dtype=object) * found.multipliers
    for c in range(market.n_clusters):
        top = max(bids[c])
        assert all(x == 0 or b == top for x, b in zip(found.allocation[c], bids[c], strict=True))
        assert top == 0 or sum(found.allocation[c]) == 1
    for beta, spent, money in zip(found.multipliers, found.spend, budgets, strict=True):
        assert 0 < beta <= 1
        assert money is None or spent <= money
        # Nobody shades while money is left.
        assert beta == 1 or spent == money
    assert found.revenue == found.liquid_welfare
    assert found.gap == 0


def proportional_response(market, values, budgets, rounds=4_000):
    """Bid on each cluster in proportion to what it brought: no optimisation, the same place."""
    goods = (market.mass * values).T
    money = np.minimum(budgets, goods.sum(axis=1))[:, None]
    offers, kept = money / 2 * goods / goods.sum(axis=1)[:, None], money / 2
    for _ in range(rounds):
        shares = offers / offers.sum(axis=0)
        scale = money / ((goods * shares).sum(axis=1, keepdims=True) + kept)
        offers, kept = goods * shares * scale, kept * scale
    return certify(market, values, budgets, shares.T)


@pytest.mark.parametrize("seed", range(4))
def test_three_methods_agree(seed):
    market, values, budgets = random_float(seed)
    ours = fppe(market, values, budgets, tol=1e-9)
    dynamic = proportional_response(market, values, budgets)
    assert ours.gap <= 1e-9
    np.testing.assert_allclose(dynamic.multipliers, ours.multipliers, atol=5e-3)
    np.testing.assert_allclose(dynamic.revenue, ours.revenue, rtol=1e-3)
    # The convex programme as a general solver takes it: cheapest prices that cover all bids.
    beta, price = cp.Variable(4), cp.Variable(market.n_clusters)
    goods = market.mass * values
    bounded = np.isfinite(budgets)
    problem = cp.Problem(
        cp.Minimize(cp.sum(price) - budgets[bounded] @ cp.log(beta[bounded])),
        [goods[:, i] * beta[i] <= price for i in range(4)] + [beta <= 1, beta[~bounded] == 1],
    )
    problem.solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(beta.value, ours.multipliers, atol=1e-4)


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_units_of_money_and_mass_do_not_matter(unit):
    market, values, budgets = random_float(7)
    base = fppe(market, values, budgets)
    money = fppe(market, values * unit, budgets * unit)
    mass = fppe(Market(market.weights * unit, market.predictions), values, budgets * unit)
    for other in (money, mass):
        np.testing.assert_allclose(other.multipliers, base.multipliers, atol=1e-5)
        np.testing.assert_allclose(other.revenue / unit, base.revenue, rtol=1e-6)


def test_copies_of_clusters_and_order_of_bidders_do_not_matter():
    market, values, budgets = random_float(3)
    base = fppe(market, values, budgets)
    doubled = Market(np.tile(market.weights / 2, 2), np.tile(market.predictions, (2, 1)))
    np.testing.assert_allclose(
        fppe(doubled, values, budgets).multipliers, base.multipliers, atol=1e-5
    )
    order = [2, 0, 3, 1]
    turned = fppe(
        Market(market.weights, market.predictions[:, order]), values[order], budgets[order]
    )
    np.testing.assert_allclose(turned.multipliers, base.multipliers[order], atol=1e-5)


def test_equal_bidders_share():
    market = Market(np.ones(3), np.full((3, 2), 0.5))
    found = fppe(market, [1.0, 1.0], [0.5, 0.5])
    np.testing.assert_allclose(found.multipliers, 2 / 3, atol=1e-7)
    np.testing.assert_allclose(found.spend, 0.5, atol=1e-7)


@pytest.mark.parametrize("budgets", [[None, None], [math.inf, 1e9], [100.0, None]])
def test_money_for_everything_means_no_shading(budgets):
    market, _, _ = random_float(1, n_bidders=2)
    found = fppe(market, [1.0, 2.0], budgets)
    assert found.multipliers.tolist() == [1.0, 1.0]
    bids = market.mass * [1.0, 2.0]
    np.testing.assert_allclose(found.revenue, bids.max(axis=1).sum())


def test_a_bidder_that_predicts_nothing_is_left_alone():
    market = Market.exact([1, 1], [["0.5", 0], ["0.5", 0]])
    found = fppe(market, [1, 1], [Fraction(1, 2), Fraction(1, 2)])
    assert found.multipliers.tolist() == [Fraction(1, 2), 1]
    assert found.spend.tolist() == [Fraction(1, 2), 0]


def test_the_gap_tells_a_wrong_allocation():
    market, values, budgets = random_float(2)
    shares = fppe(market, values, budgets).allocation
    assert certify(market, values, budgets, shares[::-1]).gap > 0.01
    assert certify(market, values, budgets, np.zeros_like(shares)).gap == 1


@pytest.mark.parametrize(
    ("values", "budgets", "message"),
    [
        ([1.0], [1.0, 1.0], r"values has shape \(1,\), expected shape \(2\)"),
        ([1.0, 1.0], [1.0], r"budgets have shape \(1,\)"),
        ([1.0, math.nan], [1.0, 1.0], r"values\[1\] is nan"),
        ([1.0, -1.0], [1.0, 1.0], r"values\[1\] is -1.0"),
        (["1", 1.0], [1.0, 1.0], r"values\[0\] is '1'"),
        ([1.0, 1.0], [-2.0, 1.0], r"budgets\[0\] is -2.0"),
        ([1.0, 1.0], [math.nan, 1.0], r"budgets\[0\] is nan"),
        ([1.0, 1.0], [0.0, 1.0], r"budgets\[0\] is 0.0"),
        ([1.0, 1.0], [1.0, "2"], r"budgets\[1\] is '2'"),
        ([1.0, 1.0], [1.0, -math.inf], r"budgets\[1\] is -inf"),
    ],
)
def test_bad_input_is_named(values, budgets, message):
    market = Market(np.ones(1), [[0.5, 0.5]])
    with pytest.raises(ValueError, match=message):
        fppe(market, values, budgets)


def test_bad_tolerance_and_allocations_are_refused():
    market = Market(np.ones(1), [[0.5, 0.5]])
    with pytest.raises(ValueError, match="tol is 0"):
        fppe(market, [1, 1], [1, 1], tol=0)
    with pytest.raises(ValueError, match=r"allocation has shape \(2,\)"):
        certify(market, [1, 1], [1, 1], np.ones(2))
    with pytest.raises(ValueError, match="not feasible"):
        certify(market, [1, 1], [1, 1], np.ones((1, 2)))
    with pytest.raises(TypeError, match=r"values\[0\] is the float 0.5"):
        fppe(Market.exact([1], [["0.5"]]), [0.5], [None])


def test_a_cut_that_says_all_does_not_stall():
    """Found by hypothesis: barrier weights of which none stood out left nothing to sharpen."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        predictions = [(str(a / 10), str(b / 10)) for a, b in rng.integers(1, 11, size=(2, 2))]
        market = Market.exact([1, 1], predictions).to_float()
        result = fppe(market, np.array([5.0, 1.0]), np.array([rng.integers(1, 31) / 10, np.inf]))
        assert result.iterations < 100


def test_cuts_run_out(monkeypatch):
    monkeypatch.setattr(pacing, "MAX_CUTS", 2)
    market, values, budgets = random_float(4)
    with pytest.raises(NotConvergedError, match=r"relative gap above 1\.0e-08 after 2 cuts"):
        fppe(market, values, budgets)


def test_the_master_programme_by_hand():
    """min t - log b with cuts b <= t and t >= 1/2: both bind where their prices mix to 1/b."""
    weights = pacing._master(np.array([[1.0], [0.0]]), np.array([0.0, 0.5]), np.array([0.25]))
    # At b = 1/2 the first cut's price is 1/4 / (1/2).
    np.testing.assert_allclose(weights, [0.5, 0.5], atol=1e-6)
    alone = pacing._master(np.array([[2.0], [0.5]]), np.zeros(2), np.array([1.0]))
    np.testing.assert_allclose(alone, [1, 0], atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_the_gap_asked_for_is_reached(seed):
    market, values, budgets = random_float(seed, 200, 8)
    for tol in (1e-6, 1e-9):
        found = fppe(market, values, budgets, tol=tol)
        assert 0 <= found.gap <= tol
        assert found.iterations < 100
        assert (found.spend <= budgets * (1 + 1e-9)).all()
        paced = found.multipliers < 1
        np.testing.assert_allclose(found.spend[paced], budgets[paced])
