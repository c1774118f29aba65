"""Chapter 1: every figure is a ratio of two times measured in this run, never a time."""

from __future__ import annotations

import time
from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest

from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import equilibria_2p, is_equilibrium
from lib.autobidding.market import Market
from lib.autobidding.mechanism import clear
from lib.autobidding.pacing import certify, fppe

pytestmark = pytest.mark.bench

SEED = 7
GAP = 1e-6

# With clarabel's defaults no formulation that was tried solves 10^5 clusters: its linear systems
# lose too many digits. Less regularisation and more refinement let the dual one through.
PATIENT = {
    "static_regularization_constant": 1e-11,
    "static_regularization_proportional": 1e-14,
    "iterative_refinement_max_iter": 50,
    "iterative_refinement_reltol": 1e-14,
    "iterative_refinement_abstol": 1e-14,
    "max_step_fraction": 0.9,
}


def random_market(n_clusters: int, n_bidders: int) -> tuple[Market, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(SEED)
    market = Market(np.full(n_clusters, 1 / n_clusters), rng.random((n_clusters, n_bidders)))
    values = rng.uniform(0.5, 2.0, n_bidders)
    budgets = (market.mass * values).sum(axis=0) * rng.uniform(0.02, 0.3, n_bidders)
    return market, values, budgets


@pytest.mark.parametrize("rule", ["first", "second", "vcg"])
def test_clearing_costs_little_more_than_finding_the_maximum(rule, seconds):
    bids = np.random.default_rng(SEED).random((10**6, 10))
    ratio = seconds(lambda: clear(bids, rule)) / seconds(lambda: bids.max(axis=1))
    print(f"\nclear, {rule} price, 10^6 x 10, over bids.max(axis=1): {ratio:.2f}")
    assert ratio < 4


def sorted_allocation(bids: np.ndarray, n_slots: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Allocate one opportunity as AuctionGym (amazon-science, Apache 2.0) does; written anew.

    It sorts the bids of one opportunity at a time, gives slots to the highest and lets each pay the
    next one. Sorting is not stable, so it has no rule for ties.
    """
    order = np.argsort(-bids)
    return order[:n_slots], bids[order][1 : n_slots + 1]


def test_clearing_agrees_with_auctiongym_and_is_faster(seconds):
    bids = np.random.default_rng(SEED).random((20_000, 10))  # without ties

    def one_by_one() -> list[tuple[np.ndarray, np.ndarray]]:
        return [sorted_allocation(row) for row in bids]

    ours, theirs = clear(bids, "second"), one_by_one()
    assert (ours.winners == [winners[0] for winners, _ in theirs]).all()
    assert (ours.prices == [prices[0] for _, prices in theirs]).all()
    ratio = seconds(one_by_one, 3) / seconds(lambda: clear(bids, "second"))
    print(f"\nAuctionGym's rule one opportunity at a time, over clear, 20,000 x 10: {ratio:.0f}")
    assert ratio > 10
    # Several slots: both give them to the same bidders; next prices are not VCG's.
    slots = clear(bids[:100], "vcg", (1, 0.5))
    peers = [sorted_allocation(row, 2) for row in bids[:100]]
    assert (slots.winners == [winners for winners, _ in peers]).all()
    assert (slots.prices[:, 0] < [prices[0] for _, prices in peers]).all()
    # Ties: ours go to the lowest index.
    assert clear(np.full((1, 10), 0.5)).winners[0] == 0


def test_refusing_first_keeps_enumeration_near_linear(seconds):
    """First-price MAX-CPA, 12 to 1,200 clusters: no cut builds what it will refuse."""
    pair = [Bidder("maxcpa", 2.0), Bidder("maxcpa", 1.0)]
    times = []
    for n_clusters in (12, 120, 1200):
        table = np.random.default_rng(SEED).uniform(0.01, 1, (n_clusters, 2))
        market = Market(np.ones(n_clusters), table)
        times.append(seconds(lambda m=market: equilibria_2p(m, pair, "first"), 3))
    found = slope([12, 120, 1200], times)
    shown = " / ".join(f"{1000 * t:.2f}" for t in times)
    print(f"\nfirst-price MAX-CPA, 12 / 120 / 1,200 clusters: {shown} ms, clusters^{found:.2f}")
    assert found < 1.4


def eisenberg_gale(market: Market, values: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """The dual programme as cvxpy states it, solved by clarabel; allocation of each cluster.

    The dual has one variable a cluster instead of ten, and solves at sizes at which the primal
    already fails.
    """
    n_clusters, n_bidders = market.predictions.shape
    # In units of a mean cluster, so that coefficients are near one.
    worth = market.mass * values * n_clusters
    beta, price = cp.Variable(n_bidders), cp.Variable(n_clusters)
    covers = [cp.multiply(worth[:, i], beta[i]) <= price for i in range(n_bidders)]
    objective = cp.sum(price) / n_clusters - budgets @ cp.log(beta)
    problem = cp.Problem(cp.Minimize(objective), [*covers, beta <= 1])
    problem.solve(solver=cp.CLARABEL, **PATIENT)
    return np.stack([cover.dual_value for cover in covers], axis=1) * n_clusters


SIZES = (10**5, 3 * 10**4, 10**4, 3 * 10**3)


def test_pacing_beats_the_general_solver_at_equal_gap():
    """Down from 10^5 clusters to the largest size that the general solver solves.

    Where clarabel gives up, the time after which it does so stands in for the time it would need.
    """
    ratios = []
    for n_clusters in SIZES:
        market, values, budgets = random_market(n_clusters, 10)
        start = time.perf_counter()
        try:
            shares = eisenberg_gale(market, values, budgets)
        except cp.SolverError:
            shares = None
        general = time.perf_counter() - start
        start = time.perf_counter()
        ours = fppe(market, values, budgets, tol=GAP)
        ratios.append(general / (time.perf_counter() - start))
        assert ours.gap <= GAP
        if shares is not None:
            break
        print(
            f"\npacing, {n_clusters} x 10: clarabel gives up after {ratios[-1]:.0f} times our time"
        )
    else:
        pytest.skip("clarabel solved no size")
    shares = np.clip(shares, 0, None)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    theirs = certify(market, values, budgets, shares)
    apart = np.abs(ours.multipliers - theirs.multipliers).max()
    print(
        f"\npacing, {n_clusters} x 10: {ratios[-1]:.0f} times faster than cvxpy/clarabel; relative "
        f"gaps {ours.gap:.1e} (ours), {theirs.gap:.1e} (theirs); multipliers {apart:.1e} apart"
    )
    assert apart < 1e-3
    assert ratios[0] >= 20
    assert min(ratios) >= 5


def test_enumeration_beats_a_grid_of_equilibrium_checks(seconds):
    rng = np.random.default_rng(SEED)
    market = Market(np.ones(12), rng.uniform(0.01, 1, (12, 2)))
    bidders = [Bidder("tcpa", 1.3), Bidder("tcpa", 1.0)]
    ours = seconds(lambda: equilibria_2p(market, bidders, "second"))

    def grid() -> None:
        for g1 in np.linspace(1.3, 20, 20):
            for g2 in np.linspace(1, 20, 20):
                is_equilibrium(market, bidders, (g1 / 1.3, g2), "second")

    exact = Market.exact(
        [1] * 12, [[Fraction(int(100 * x) or 1, 100) for x in row] for row in market.predictions]
    )
    pair = [Bidder("tcpa", Fraction(13, 10)), Bidder("tcpa", Fraction(1))]
    fractions = seconds(lambda: equilibria_2p(exact, pair, "second"), 3)
    print(
        f"\nenumeration, 2 bidders x 12 clusters: {1000 * ours:.1f} ms in floats, "
        f"{1000 * fractions:.1f} ms in fractions; a 20 x 20 grid of checks, which can miss cells, "
        f"takes {seconds(grid, 1) / ours:.0f} times as long as the float enumeration"
    )
    assert seconds(grid, 1) > ours


def slope(sizes: list[int], times: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def test_growth_with_clusters_and_bidders(seconds):
    clusters = [10**4, 10**5, 10**6]
    grown = {"clear": [], "fppe": []}
    print("\nclusters  bidders  clear/max  fppe passes  fppe seconds per pass and 10^5 clusters")
    for n_clusters in clusters:
        for n_bidders in (2, 5, 10):
            market, values, budgets = random_market(n_clusters, n_bidders)
            bids = market.predictions * values
            clearing = seconds(lambda bids=bids: clear(bids, "second"), 3)
            start = time.perf_counter()
            found = fppe(market, values, budgets, tol=GAP)
            paced = time.perf_counter() - start
            print(
                f"{n_clusters:>8}  {n_bidders:>7}  "
                f"{clearing / seconds(lambda bids=bids: bids.max(axis=1), 3):>9.2f}  "
                f"{found.iterations:>11}  {paced / found.iterations / n_clusters * 1e5:.4f}"
            )
            if n_bidders == 10:
                grown["clear"].append(clearing)
                grown["fppe"].append(paced)
    for name, times in grown.items():
        found_slope = slope(clusters, times)
        print(f"{name}: time grows like clusters^{found_slope:.2f} at 10 bidders")
        assert found_slope < 1.3
