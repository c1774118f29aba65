"""Pacing, correlated play, linear benchmark and verdicts: inner steps and edges by hand."""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import linprog

from lib.autobidding import correlated, pacing, programmes, verdicts
from lib.autobidding.bidders import Bidder
from lib.autobidding.correlated import (
    cce_interval,
    ce_interval,
    common_grids,
    grid_game,
    shading_grid,
    threshold_grid,
    undominated,
)
from lib.autobidding.equilibrium import equilibria_2p
from lib.autobidding.market import Market
from lib.autobidding.pacing import NotConvergedError, certify, fppe
from lib.autobidding.programmes import is_feasible, lift, lp_benchmark, objective
from lib.autobidding.study.constructions import B1

Q = Fraction

# ── Pacing: certificates ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exact", [True, False])
def test_a_certificate_by_hand(exact) -> None:
    """Bidder 0 gets half of a good of 4 and has money for 1; the other half stays unsold."""
    market = Market.exact([2, 1], [["1/2", "1/4"], ["1/4", "1/2"]])
    market = market if exact else market.to_float()
    half = Q(1, 2) if exact else 0.5
    found = certify(market, [4, 2], [1, None], np.array([[half, 0], [0, 1]]), iterations=7)
    assert found.value.tolist() == [2, 1]
    assert found.multipliers.tolist() == [half, 1]
    assert found.prices.tolist() == [1, 1]
    assert found.spend.tolist() == [1, 1]
    assert (found.revenue, found.welfare, found.liquid_welfare) == (2, 3, 2)
    assert found.gap == (Q(1, 3) if exact else pytest.approx(1 / 3))
    assert found.iterations == 7
    assert found.multipliers.dtype == (object if exact else float)


def test_what_nobody_wants_has_no_gap() -> None:
    for market in (Market.exact([1], [[0, 0]]), Market([1.0], [[0.0, 0.0]])):
        found = certify(market, [1, 1], [1, None], np.zeros((1, 2)))
        assert (found.gap, found.revenue, found.iterations) == (0, 0, 0)
        paced = fppe(market, [1, 1], [1, None])
        assert paced.multipliers.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("allocation", "right"),
    [
        ([[0.0, 1 + 1e-10]], True),
        ([[0.5, 0.5 + 1e-8]], False),
        ([[-1e-10, 1.0]], True),
        ([[-1e-8, 0.5]], False),
        ([[1.0, 0.0]], True),
        ([[0.0, 0.0]], True),
    ],
)
def test_feasible_up_to_rounding(allocation, right) -> None:
    market = Market([1.0], [[0.5, 0.5]])
    if right:
        certify(market, [1, 1], [1, 1], np.array(allocation))
    else:
        with pytest.raises(ValueError, match="not feasible"):
            certify(market, [1, 1], [1, 1], np.array(allocation))


def test_exact_shares_are_taken_at_their_word() -> None:
    market = Market.exact([1], [["1/2", "1/2"]])
    tiny = Q(1, 10**30)
    certify(market, [1, 1], [1, 1], np.array([[1, Q(0)]]))
    for row in ([-tiny, Q(1, 2)], [Q(1), tiny]):
        with pytest.raises(ValueError, match="not feasible"):
            certify(market, [1, 1], [1, 1], np.array([row]))


def test_tolerances_and_budgets_at_their_ends() -> None:
    market = Market([1.0], [[0.5, 0.4]])
    for tol in (1e-9, 0.999):
        assert fppe(market, [1, 1], [0.1, 0.1], tol=tol).gap <= tol
    for tol in (9e-10, 1.0, 1.5):
        with pytest.raises(ValueError, match="tol is"):
            fppe(market, [1, 1], [1, 1], tol=tol)
    exact = Market.exact([1], [["1/2", "1/4"]])
    unlimited = fppe(exact, [1, 1], [math.inf, None])
    assert (unlimited.multipliers.tolist(), unlimited.revenue) == ([1, 1], Q(1, 2))
    with pytest.raises(TypeError, match=r"budgets\[1\] is the float 0.5"):
        fppe(exact, [1, 1], [1, 0.5])


# ── Pacing: the cutting planes ────────────────────────────────────────────────────────────────


def received(goods, multipliers):
    goods = np.array(goods, dtype=float)
    top, found = pacing._received(goods, np.array(multipliers), np.empty_like(goods))
    return top.tolist(), found.tolist()


def test_who_receives_what() -> None:
    assert received([[2, 1], [1, 3]], [1.0, 1.0]) == ([2, 3], [2, 3])
    assert received([[2, 1], [1, 3]], [0.25, 1.0]) == ([1, 3], [0, 4])
    # On a tie only the first receives.
    assert received([[2, 1], [2, 3]], [1.0, 1.0]) == ([2, 3], [2, 3])
    assert received([[4, 1], [2, 3], [2, 3]], [0.5, 1.0, 1.0]) == ([2, 3], [4, 3, 0])


@pytest.fixture
def looked(monkeypatch):
    """Multipliers that are looked at, and the programmes that are solved."""
    seen = {"_received": [], "_master": []}

    def recording(name, plain):
        def call(*arguments):
            seen[name].append([np.array(one) for one in arguments])
            return plain(*arguments)

        return call

    for name in seen:
        monkeypatch.setattr(pacing, name, recording(name, getattr(pacing, name)))
    return seen


def test_the_first_two_cuts_by_hand(looked) -> None:
    """Money 1 and 2 for goods of 4 and 8, and a third bidder that need not shade.

    Three times the money over the worth is 3/4; what is won there costs a quarter of it.
    """
    goods = np.array([[4.0, 0.0], [0.0, 8.0], [0.5, 1.0]])
    shares, passes = pacing._cutting_planes(goods, np.array([1.0, 2.0, np.inf]), 1e-8)
    assert passes == 2
    assert shares.tolist() == [pytest.approx([1, 0, 0]), pytest.approx([0, 1, 0])]
    first, second = (one[1] for one in looked["_received"])
    assert first.tolist() == [0.75, 0.75, 1]
    assert second.tolist() == pytest.approx([0.25, 0.25, 1])
    ((cuts, fixed, budgets),) = looked["_master"]
    # In units of all the money, 3.
    assert cuts.tolist() == [pytest.approx([4 / 3, 8 / 3])]
    assert fixed.tolist() == [0]
    assert budgets.tolist() == pytest.approx([1 / 3, 2 / 3])


def test_what_others_win_is_fixed(looked) -> None:
    goods = np.array([[4.0, 0.0], [0.0, 8.0], [0.5, 9.0]])
    pacing._cutting_planes(goods, np.array([1.0, 2.0, 100.0]), 1e-8)
    cuts, fixed, _ = looked["_master"][0]
    assert cuts.tolist() == [pytest.approx([4 / 3, 0])]
    assert fixed.tolist() == [pytest.approx(3)]
    # A bidder that wins nothing bids its value again.
    assert looked["_received"][1][1].tolist() == pytest.approx([0.25, 1, 1])


def test_nobody_shades_in_two_passes(monkeypatch) -> None:
    market = Market([1.0, 1.0], [[0.5, 0.25], [0.1, 0.2]])
    for most, right in ((2, True), (1, False)):
        monkeypatch.setattr(pacing, "MAX_CUTS", most)
        if right:
            assert fppe(market, [1, 1], [None, None]).iterations == 2
        else:
            with pytest.raises(NotConvergedError, match="after 1 cuts"):
                fppe(market, [1, 1], [None, None])


def test_past_allocations_are_mixed() -> None:
    goods = np.array([[2.0, 1.0], [1.0, 3.0]])
    queries = [np.array([1.0, 1.0]), np.array([0.1, 1.0]), np.array([1.0, 0.1])]
    mix = pacing._mix(goods, queries, np.array([0.25, 0.75, 0.0]), np.empty_like(goods))
    assert mix.tolist() == [[0.25, 0.75], [0, 1]]


def test_the_master_programme_of_two_bidders(capfd) -> None:
    """Cuts b1 <= t and b2 <= t: both bind, at t = B1 + B2, with prices B1/t and B2/t."""
    weights = pacing._master(np.eye(2), np.zeros(2), np.array([0.3, 0.1]))
    np.testing.assert_allclose(weights, [0.75, 0.25], atol=1e-6)
    # With more money than one, no multiplier is above one: t = 1, and the first cut says all.
    rich = pacing._master(np.array([[1.0, 1.0], [0.1, 0.1]]), np.zeros(2), np.array([5.0, 5.0]))
    np.testing.assert_allclose(rich, [1, 0], atol=1e-6)
    assert capfd.readouterr().out == ""


# ── Pacing: exact ties ────────────────────────────────────────────────────────────────────────


def shared(holders, prices, limits, paced):
    """Money by cluster and bidder where each cluster's price is the bid of its holders."""
    n = len(limits)
    bids = np.array(
        [[Q(p) if i in h else Q(0) for i in range(n)] for h, p in zip(holders, prices, strict=True)]
    )
    money = pacing._share_ties(bids, np.array([Q(p) for p in prices]), np.array(limits), paced)
    return None if money is None else {edge: m for edge, m in money.items() if m}


def test_paced_bidders_are_filled_first() -> None:
    inf = math.inf
    assert shared([{0, 1}, {1, 2}], [2, 2], [2, 1, inf], [0, 1]) == {
        (0, 0): 2,
        (1, 1): 1,
        (1, 2): 1,
    }
    # What nobody asks for is no money.
    assert shared([{0}, {0}], [3, 0], [inf], []) == {(0, 0): 3}
    # The last bidder has money left, and one that shades must not.
    assert shared([{0}], [2], [3], [0]) is None
    assert shared([{0}], [2], [3], []) == {(0, 0): 2}
    assert shared([{0}], [3], [2], [0]) is None


def test_money_moves_along_paths() -> None:
    assert shared([{0, 1}, {0}], [2, 1], [2, 1], [0, 1]) == {(0, 0): 1, (0, 1): 1, (1, 0): 1}
    assert shared([{0, 1}, {0}], [1, 2], [2, 1], [0, 1]) == {(1, 0): 2, (0, 1): 1}
    # Over two bidders: 0 leaves cluster 0 to 1, which leaves cluster 1 to 2.
    assert shared([{0, 1}, {1, 2}, {0}], [2, 2, 2], [2, 2, 2], [0, 1, 2]) == {
        (2, 0): 2,
        (0, 1): 2,
        (1, 2): 2,
    }
    assert shared([{0, 1}, {1, 2}, {0}], [2, 2, 2], [2, 2, 1], [0, 1, 2]) is None


def test_the_shortest_path_to_money() -> None:
    holders = [[0, 1], [1, 2], [0]]
    limits = np.array([2, 2, 2])

    def path(start, money, spent, targets=(0, 1, 2)):
        return pacing._augmenting_path(start, holders, money, spent, limits, targets)

    assert path(0, {}, [0, 0, 0]) == [0, 0]
    assert path(0, {}, [0, 0, 0], (1,)) == [0, 1]
    assert path(0, {}, [2, 0, 0]) == [0, 1]
    money = {(0, 0): 2, (1, 1): 2}
    assert path(2, money, [2, 2, 0]) == [2, 0, 0, 1, 1, 2]
    assert path(2, money, [2, 1, 0]) == [2, 0, 0, 1]
    assert path(2, money, [2, 2, 2]) is None
    assert path(2, {(0, 0): 0, (1, 1): 2}, [2, 2, 0]) is None


@pytest.mark.parametrize(
    ("predictions", "values", "budgets", "multipliers", "revenue"),
    [
        # Two alike share three goods of 1/2 with 1/2 each.
        ([["1/2", "1/2"]] * 3, [1, 1], ["1/2", "1/2"], ["2/3", "2/3"], "1"),
        # Money of 1 for two goods of 1 each, and nobody else.
        ([["1"], ["1"]], [1], [1], ["1/2"], "1"),
        # The first shades to its rival's bid and they share; the rival need not.
        ([["1", "1/2"]], [1, 1], ["1/4", None], ["1/2", "1"], "1/2"),
        # Two that shade tie on the middle good: 3/2 + 1/2 of money for 2 + 1 + 1 of goods.
        ([["1", 0], ["1", "1"], [0, "1"]], [2, 2], [1, 1], ["1/3", "1/3"], "2"),
        # Ties at a ratio: the second is worth half as much.
        ([["1", "1/2"], ["1", "1/2"]], [1, 1], ["1/2", "1/4"], ["3/8", "3/4"], "3/4"),
    ],
)
def test_exact_pacing_by_hand(predictions, values, budgets, multipliers, revenue) -> None:
    market = Market.exact([1] * len(predictions), predictions)
    money = [b if b is None else Q(b) for b in budgets]
    found = fppe(market, values, money)
    assert found.multipliers.tolist() == [Q(m) for m in multipliers]
    assert (found.revenue, found.gap) == (Q(revenue), 0)
    assert isinstance(found.revenue, Fraction)


def test_ties_that_fit_nothing_are_said(monkeypatch) -> None:
    market = Market.exact([1], [["1", "1/2"]])
    tolerances = []

    def nothing(*arguments):
        tolerances.append(arguments[-1])

    monkeypatch.setattr(pacing, "_exact_allocation", nothing)
    with pytest.raises(NotConvergedError, match="no exact equilibrium found near"):
        fppe(market, [1, 1], [Q(1, 4), None])
    assert tolerances == list(pacing._TIE_TOLERANCES)
    # Nor is an allocation taken that has a gap.
    monkeypatch.setattr(pacing, "_exact_allocation", lambda *_: np.array([[Q(0), Q(1, 2)]]))
    with pytest.raises(NotConvergedError, match="its float gap is"):
        fppe(market, [1, 1], [Q(1, 4), None])


def tied(predictions, values, limits, rough, tolerance):
    market = Market.exact([1] * len(predictions), predictions)
    shares = pacing._exact_allocation(
        market, np.array([Q(v) for v in values]), np.array(limits, dtype=object),
        np.array(rough), tolerance,
    )  # fmt: skip
    return None if shares is None else shares.tolist()


def test_exact_allocations_of_rough_multipliers() -> None:
    inf = math.inf
    one = [["1", "1/2"]]
    # Within the tolerance of a tie the first pays 1/4 of 1/2, and the rival the rest.
    assert tied(one, [1, 1], [Q(1, 4), inf], [0.5001, 1.0], 1e-3) == [[Q(1, 2), Q(1, 2)]]
    # Without the tie it would have to buy all with 1/4, below the rival's bid.
    assert tied(one, [1, 1], [Q(1, 4), inf], [0.5001, 1.0], 1e-6) is None
    # Clear of a tie, all its money.
    assert tied(one, [1, 1], [Q(3, 4), inf], [0.75, 1.0], 1e-6) == [[1, 0]]
    # Multipliers above one, and shading without a budget, are no equilibrium.
    assert tied([["1"]], [1], [Q(2)], [0.9], 1e-3) is None
    assert tied([["1"]], [1], [inf], [0.5], 1e-3) == [[1]]
    # A good that nobody wants is nobody's.
    assert tied([["1"], ["0"]], [1], [Q(1, 2)], [0.5], 1e-6) == [[1], [0]]
    # A bidder that shades and buys nothing.
    assert tied([["1", 0]], [1, 1], [inf, Q(1)], [1.0, 0.5], 1e-6) is None


# ── Correlated play ───────────────────────────────────────────────────────────────────────────

PAIR = [Bidder("maxcpa", 4.0), Bidder("maxcpa", 2.0)]


def test_grids_by_hand() -> None:
    assert shading_grid(10, n_even=3, n_low=2).tolist() == [0, 0.01, 1, 5, 10]
    assert shading_grid(1, n_even=2, n_low=3).tolist() == pytest.approx([0, 0.001, 0.01, 0.1, 1])
    for options in ({"n_even": 1}, {"n_low": 1}):
        with pytest.raises(ValueError, match="is 1"):
            shading_grid(10, **options)
    markets = [Market([1.0], [[0.5, 0.25]]), Market([1.0, 2.0], [[0.0, 0.5], [0.25, 0.75]])]
    assert threshold_grid(markets, [0, 1, 2]).tolist() == [0, 0.5, 1, 3, 6]
    assert threshold_grid(markets[:1], [1]).tolist() == [0, 0.5]
    first, second = common_grids(
        markets[:1], [Bidder("maxcpa", 2.5), Bidder("maxcpa", 10.0)], n_even=3, n_low=2
    )
    assert (first.tolist(), second.tolist()) == ([0, 0.005, 0.5, 2.5], [0, 0.01, 1, 5, 10])
    with pytest.raises(ValueError, match=r"rival\[0\] is -1"):
        threshold_grid(markets, [-1.0])


@pytest.mark.parametrize("rule", ["first", "second"])
def test_payoffs_by_hand(rule) -> None:
    """Two clusters of weights 2 and 1; bids of 1 and 2 by the first, of 0 and 2 by the second."""
    market = Market([2.0, 1.0], [[0.5, 0.25], [0.25, 0.5]])
    game = grid_game(market, PAIR, ([2, 1, 2], [0, 2]), rule)
    assert [grid.tolist() for grid in game.grids] == [[1, 2], [0, 2]]
    # Bids (1/2, 1/4) and (1, 1/2) against (0, 0) and (1/2, 1): a tie at (1, 2) goes to the first.
    first = rule == "first"
    u1 = [[5 - 1.25 * first, 4 - 1], [5 - 2.5 * first, 4 - (2 if first else 1)]]
    u2 = [[0, 1 - (1 if first else 0.25)], [0, 1 - (1 if first else 0.5)]]
    revenue = [[1.25 * first, 2 if first else 1.25], [2.5 * first, 3 if first else 1.5]]
    np.testing.assert_allclose(game.utility[0], u1)
    np.testing.assert_allclose(game.utility[1], u2)
    np.testing.assert_allclose(game.metrics["revenue"], revenue)
    np.testing.assert_allclose(game.metrics["welfare"], [[5, 5], [5, 5]])


def test_games_are_of_two_maxcpa_bidders_without_budgets() -> None:
    market = Market([1.0], [[0.5, 0.25]])
    for i in (0, 1):
        for odd in (Bidder("tcpa", 1), Bidder("maxcpa", 1, 5)):
            pair = [odd if k == i else PAIR[k] for k in (0, 1)]
            with pytest.raises(ValueError, match=f"bidder {i} is"):
                grid_game(market, pair, ([0, 1], [0, 1]))


def test_the_interval_of_one_auction() -> None:
    """Bids 0, 1, 2 for a good of which the bidders have 2 and 1."""
    market, grid = Market([1.0], [[0.5, 0.5]]), [0.0, 1.0, 2.0]
    for interval in (cce_interval, ce_interval):
        low, high = interval(market, PAIR, (grid, grid), "welfare")
        assert (low, high) == (pytest.approx(5 / 3, abs=1e-6), pytest.approx(2, abs=1e-6))


def random_game(seed):
    rng = np.random.default_rng(seed)
    market = Market(np.ones(3), rng.uniform(0.05, 1, (3, 2)))
    pair = [Bidder("maxcpa", 2.0), Bidder("maxcpa", 1.0)]
    rival = np.linspace(0, 1, 5)
    return market, pair, (threshold_grid([market], rival), rival)


def textbook(game, metric, rows, limits):
    ends = []
    for sign in (1, -1):
        solved = linprog(
            sign * game.metrics[metric].ravel(), A_ub=np.array(rows), b_ub=limits,
            A_eq=np.ones((1, game.utility[0].size)), b_eq=[1],
        )  # fmt: skip
        ends.append(sign * solved.fun)
    return pytest.approx(ends, abs=1e-6)


@pytest.mark.parametrize(
    "regrets", [(0.05, 0.2), (0.3, 0.0), (0.0, math.inf), (math.inf, 0.02), (math.inf, math.inf)]
)
def test_regrets_of_each_bidder_against_the_textbook(regrets) -> None:
    market, pair, grid = random_game(7)
    game = grid_game(market, pair, grid)
    u1, u2 = game.utility
    assert u1.shape[0] != u1.shape[1]
    rows = [(u1[k] - u1).ravel() for k in range(u1.shape[0])]
    rows += [(u2[:, [k]] - u2).ravel() for k in range(u2.shape[1])]
    limits = np.repeat(np.minimum(regrets, 1e3), u1.shape)
    for metric in ("revenue", "welfare"):
        found = cce_interval(market, pair, grid, metric, regrets=regrets)
        assert list(found) == textbook(game, metric, rows, limits)


def test_correlated_equilibria_against_the_textbook() -> None:
    market, pair, grid = random_game(8)
    game = grid_game(market, pair, grid, "second")
    u1, u2 = game.utility
    rows = []
    for i in range(u1.shape[0]):
        for other in range(u1.shape[0]):
            gain = np.zeros_like(u1)
            gain[i] = u1[other] - u1[i]
            rows.append(gain.ravel())
    for j in range(u1.shape[1]):
        for other in range(u1.shape[1]):
            gain = np.zeros_like(u2)
            gain[:, j] = u2[:, other] - u2[:, j]
            rows.append(gain.ravel())
    for metric in ("revenue", "welfare"):
        found = ce_interval(market, pair, grid, metric, "second")
        assert list(found) == textbook(game, metric, rows, np.zeros(len(rows)))


def test_dominated_actions_go_again_and_again() -> None:
    u1 = np.array([[1.0, 1.0], [0.0, 0.0]])
    u2 = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert [kept.tolist() for kept in undominated(u1, u2)] == [[0], [1]]
    # Column 1 is beaten only when row 1 is gone, and row 1 only in both columns.
    u2 = np.array([[2.0, 1.0], [0.0, 5.0]])
    assert [kept.tolist() for kept in undominated(u1, u2)] == [[0], [0]]
    # A tie somewhere is no strict dominance, and a difference of rounding is a tie.
    for u in (np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([[1.0, 1e6], [1 - 1e-7, 0.0]])):
        assert [len(kept) for kept in undominated(u, np.zeros((2, 2)))] == [2, 2]
    three = np.array([[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]])
    assert undominated(three, np.zeros((3, 2)))[0].tolist() == [1]


def test_a_game_for_nothing() -> None:
    """Every payoff zero: a table of zeros has the size of one."""
    assert correlated._size(np.zeros((2, 2))) == 1.0
    assert correlated._size(np.array([[1.0, -3.0]])) == 3.0
    market, grid = Market([1.0], [[0.0, 0.0]]), ([0.0, 1.0], [0.0, 1.0])
    for interval in (cce_interval, ce_interval):
        assert interval(market, PAIR, grid, "welfare") == pytest.approx((0, 0))


def test_a_programme_without_a_solution_is_said() -> None:
    with pytest.raises(ArithmeticError, match="HiGHS stopped"):
        correlated._range(
            np.ones(1), np.ones((1, 1)), -np.ones(1), np.ones((1, 1)), np.ones(1), (0, None)
        )


# ── The linear benchmark ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exact", [True, False])
def test_two_budgets_of_three_by_hand(exact) -> None:
    """Half of cluster 0 is money for all; a quarter of cluster 1, and the rest to its rival."""
    market = Market.exact([1, 1], [[1, 0, 0], [0, "1/2", 1]])
    bidders = [Bidder("tcpa", 1, Q(1, 2)), Bidder("maxcpa", 1), Bidder("tcpa", 1, Q(1, 4))]
    found = lp_benchmark(market if exact else market.to_float(), bidders)
    worth = np.asarray(found.allocation, dtype=float) * market.mass.astype(float)
    np.testing.assert_allclose(worth, [[0.5, 0, 0], [0, 0.375, 0.25]], atol=1e-9)
    assert float(found.value) == pytest.approx(1.125)
    assert float(found.gap) == pytest.approx(0, abs=1e-9)
    if exact:
        assert found.shadow_prices is None
        assert isinstance(found.value, Fraction)
        assert found.gap == 0
    else:
        # A unit more is worth itself, nothing where there is no limit, itself less the rival's.
        np.testing.assert_allclose(found.shadow_prices, [1, 0, 0.5])


def test_a_benchmark_of_nothing() -> None:
    for market in (Market([1.0], [[0.0, 0.0]]), Market.exact([1], [[0, 0]])):
        found = lp_benchmark(market, [Bidder("tcpa", 1, 1), Bidder("tcpa", 1)])
        assert (found.value, found.gap) == (0, 0)


def test_a_solver_that_stops_is_said(monkeypatch) -> None:
    stopped = SimpleNamespace(status=1, message="time")
    monkeypatch.setattr(programmes, "linprog", lambda *_, **__: stopped)
    with pytest.raises(ArithmeticError, match="HiGHS stopped: time"):
        lp_benchmark(Market([1.0], [[0.5]]), [Bidder("tcpa", 1)])


def test_feasible_to_the_last_digit() -> None:
    market = Market.exact([1, 1], [["1/2", "1/4"], ["1/2", "1/4"]])
    bidders = [Bidder("tcpa", 1, Q(1, 2)), Bidder("tcpa", 1)]
    tiny = Q(1, 10**30)

    def feasible(*rows):
        return is_feasible(market, bidders, np.array([[Q(x) for x in row] for row in rows]))

    assert feasible((1, 0), (0, 1))
    assert feasible((Q(1, 2), Q(1, 2)), (Q(1, 2), Q(1, 2)))
    assert not feasible((1, 0), (tiny, 0))
    assert not feasible((0, 1 + tiny), (0, 0))
    assert not feasible((0, -tiny), (0, 1))
    floats = np.array([[0.0, 1 + 1e-10], [-1e-10, 0.0]])
    assert is_feasible(market.to_float(), bidders, floats)
    assert not is_feasible(market.to_float(), bidders, np.array([[0.0, 1 + 1e-8], [0.0, 0.0]]))
    assert not is_feasible(market.to_float(), bidders, np.array([[0.0, 1.0], [-1e-8, 0.0]]))
    weighted = Market.exact([2], [["1/2", "2/5"]])
    assert objective(weighted, [Bidder("tcpa", 1), Bidder("tcpa", 3)], np.array([[0, 1]])) == Q(
        12, 5
    )


def test_copies_name_every_row() -> None:
    table = np.array([[0.5, 0.5], [0.0, 1.0]])
    assert lift(table, [1, 0, 1]).tolist() == [[0, 1], [0.5, 0.5], [0, 1]]
    with pytest.raises(ValueError, match="labels name 1 coarse clusters, the allocation has 2"):
        lift(table, [0, 0])
    with pytest.raises(ValueError, match="labels name 3 coarse clusters, the allocation has 2"):
        lift(table, [0, 1, 2])


# ── Verdicts ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exact", [True, False])
def test_points_near_an_end_that_is_not_reached(exact) -> None:
    """Any bids up to 3 and 1, of bidder 1 above zero: walk from the middle towards (0, 0)."""
    market = Market.exact([1, 2], [["1/2", 0], [0, "1/4"]])
    pair = [Bidder("tcpa", 3), Bidder("tcpa", 1)]
    (cell,) = equilibria_2p(market if exact else market.to_float(), pair, "first")
    choice = verdicts._whole(cell, "revenue")
    assert choice.interval == (0, 2)
    walk = [choice.low(step) for step in range(3)]
    assert walk == [(1.5, 0.5), (0.75, 0.25), (0.375, 0.125)]
    assert [isinstance(x, Fraction) for x in walk[1]] == [exact] * 2
    assert choice.high(0) == choice.high(3) == (3, 1)
    # Welfare is the same everywhere, so the middle of the cell will do.
    flat = verdicts._whole(cell, "welfare")
    assert flat.interval == (2, 2)
    assert flat.low(0) == flat.high(5) == (1.5, 0.5)
    assert verdicts._largest(cell) == (3, 1)


def line(low, high):
    """A cell whose metric is its first coordinate."""
    return SimpleNamespace(
        bounds=lambda metric: (low, high),
        at=lambda metric, point: point[0],
        vertices=((low, 0), (high, 0)),
        centroid=((low + high) / 2, 0),
        contains=lambda point: True,
        binding=None,
        unbounded=False,
    )


def test_best_and_worst_selections() -> None:
    cells = tuple(line(*ends) for ends in ((1, 5), (2, 9), (0, 8), (3, 9)))
    intervals = {
        name: [one.interval for one in verdicts._select(cells, "revenue", name)]
        for name in ("all", "best", "worst", "binding")
    }
    assert intervals == {
        "all": [(1, 5), (2, 9), (0, 8), (3, 9)],
        "best": [(9, 9)],
        "worst": [(0, 0)],
        "binding": [],
    }
    (best,) = verdicts._select(cells, "revenue", "best")
    assert best.cell is cells[1]
    assert best.low(0) == best.high(0) == (9, 0)
    (worst,) = verdicts._select(cells, "revenue", "worst")
    assert worst.low(0) == worst.high(0) == (0, 0)


def test_a_witness_is_looked_for_until_the_metric_falls() -> None:
    cell = line(0, 9)
    top = verdicts._Choice(cell, (0, 10), None, lambda step: (10, step))
    bottom = verdicts._Choice(cell, (0, 10), lambda step: (12 - step, 0), None)
    points, values = verdicts._witness(top, bottom, "revenue")
    assert points == ((10, 3), (9, 0))
    assert values == (10, 9)
    at_once = verdicts._Choice(cell, (0, 10), lambda step: (5 + step, 0), None)
    assert verdicts._witness(top, at_once, "revenue") == (((10, 0), (5, 0)), (10, 5))


def test_an_unbounded_cell_has_no_largest_point() -> None:
    cells = {c.allocation: c for c in B1.equilibria("fine")}
    assert verdicts._largest(cells[0, 0, 0, 0]) is None
    bounded = cells[0, 1, 1, 1]
    assert bounded.unbounded is False
    top = verdicts._largest(bounded)
    corner = tuple(max(v[i] for v in bounded.vertices) for i in (0, 1))
    assert top == (corner if bounded.contains(corner) else None)


def test_a_certificate_holds_what_was_compared() -> None:
    found = verdicts.verdict(
        B1.coarse, B1.fine, B1.labels, B1.bidders, "second", "welfare", selection="binding"
    ).certificate
    assert (found.metric, found.selection) == ("welfare", "binding")
    assert found.coarse == tuple(B1.equilibria("coarse"))
    assert found.fine == tuple(B1.equilibria("fine"))
    assert found.coarse_range == (Q("2.7"), Q("3.23"))
    assert found.fine_range == (Q("2.7"), Q("3.3"))
    assert found.coarse_selected == ((Q("3.23"), Q("3.23")),)
    assert found.fine_selected == ((Q("3.03"), Q("3.03")), (Q("3.3"), Q("3.3")))
    assert found.witness == ((Q("73/2"), Q("125/19")), (Q("103/7"), Q(25)))
    assert found.witness_values == (Q("3.23"), Q("3.03"))


# ── Small money, and bidders on the edge of shading ───────────────────────────────────────────


def test_less_than_one_is_money_too() -> None:
    market = Market.exact([1], [["1/2", "1/4"]])
    assert certify(market, [1, 1], [None, None], np.array([[0, 1]])).gap == Q(1, 2)
    assert shared([{0}, {0, 1}], ["1/2", "1/3"], [math.inf, Q(1, 3)], [1]) == {
        (0, 0): Q(1, 2),
        (1, 1): Q(1, 3),
    }
    top, found = received([[2e-9, 1e-9], [2e-9, 3e-9]], [1.0, 1.0])
    assert top == [2e-9, 3e-9]
    assert found == pytest.approx([2e-9, 3e-9], rel=1e-9)


def test_nobody_starts_above_its_value(looked) -> None:
    """Money of 3.5 for goods of 4: three times as much would be a multiplier above 2."""
    goods = np.array([[4.0, 0.0], [0.0, 8.0], [0.5, 1.0]])
    pacing._cutting_planes(goods, np.array([3.5, np.inf, np.inf]), 1e-8)
    assert looked["_received"][0][1].tolist() == [1, 1, 1]
    assert looked["_received"][1][1].tolist() == pytest.approx([0.875, 1, 1])


def test_who_of_a_tied_group_does_not_shade() -> None:
    inf, one = math.inf, [["1", "1/2"]]
    half = [[Q(1, 2), Q(1, 2)]]
    # The rival is at its value, whether or not it has a budget.
    assert tied(one, [1, 1], [Q(1, 4), Q(9)], [0.5, 1.0], 1e-3) == half
    # It has none, so it is at its value though the rough multipliers say less.
    assert tied(one, [1, 1], [Q(1, 4), inf], [0.45, 0.9], 1e-3) == half
    # Neither is: together they have 3/8 for a good of 1/2 at the second's value.
    assert tied(one, [1, 1], [Q(1, 4), Q(1, 8)], [0.375, 0.75], 1e-3) == [[Q(2, 3), Q(1, 3)]]
    # Two groups, each with its own level.
    two = [["1", 0], [0, "1"]]
    assert tied(two, [1, 1], [Q(1, 4), Q(3, 4)], [0.25, 0.75], 1e-6) == [[1, 0], [0, 1]]
    assert tied(two, [1, 1], [Q(1, 4), Q(5, 4)], [0.25, 1.0], 1e-6) == [[1, 0], [0, 1]]


def test_a_third_bidder_is_one_too_many() -> None:
    market = Market([1.0], [[0.5, 0.25]])
    with pytest.raises(ValueError, match="the market has 2 bidders, got 3"):
        grid_game(market, [*PAIR, PAIR[0]], ([0, 1], [0, 1]))
