"""Correlated play: intervals hold equilibria, the sparse LP is the textbook one, learners land."""

from __future__ import annotations

import math
from itertools import accumulate

import nashpy
import numpy as np
import pytest
from scipy.optimize import linprog

from lib.autobidding.bidders import Bidder
from lib.autobidding.correlated import (
    cce_interval,
    ce_interval,
    grid_game,
    shading_grid,
    threshold_grid,
    undominated,
)
from lib.autobidding.market import Market
from lib.autobidding.study.constructions import B1, B4
from lib.autobidding.study.learning import hedge

MODELS = (B4.coarse, B4.fine)


def grids(n_even=11, n_low=6):
    rival = shading_grid(B4.bidders[1].value, n_even=n_even, n_low=n_low)
    return threshold_grid(MODELS, rival), rival


def random_game(seed: int):
    rng = np.random.default_rng(seed)
    market = Market(np.ones(3), rng.uniform(0.05, 1, (3, 2)))
    pair = [Bidder("maxcpa", 2.0), Bidder("maxcpa", 1.0)]
    rival = np.linspace(0, 1, 6)
    return market, pair, (threshold_grid([market], rival), rival)


def test_intervals_of_b4():
    wide = grids(41, 24)
    assert (len(wide[0]), len(wide[1])) == (189, 64)
    # The grids hold the profiles that the paper designates, up to the grid's rounding.
    assert 1.0 in wide[1]
    assert np.abs(wide[0] - float(B4.goals("coarse")[0])).min() < 1e-9
    coarse, fine = (cce_interval(m, B4.bidders, wide, "revenue") for m in MODELS)
    assert coarse == pytest.approx((0.6625, 0.68), abs=1e-3)
    assert fine == pytest.approx((0.027, 0.219), abs=2e-3)
    # The control: on the same grid, without the equilibrium conditions, anything goes.
    free = cce_interval(B4.fine, B4.bidders, wide, "revenue", regrets=(math.inf, math.inf))
    assert free[0] == 0
    assert free[1] > 1


def test_correlated_equilibria_lie_within_the_coarse_ones():
    for seed in range(3):
        market, pair, grid = random_game(seed)
        for metric in ("revenue", "welfare"):
            narrow, wide = (f(market, pair, grid, metric) for f in (ce_interval, cce_interval))
            assert wide[0] - 1e-6 <= narrow[0] <= narrow[1] + 1e-9 <= wide[1] + 2e-6


@pytest.mark.parametrize("rule", ["first", "second"])
def test_pure_equilibria_of_the_grid_game_lie_within(rule):
    seen = 0
    for seed in range(6):
        market, pair, grid = random_game(seed)
        game = grid_game(market, pair, grid, rule)
        u1, u2 = game.utility
        best = (u1 >= u1.max(axis=0) - 1e-12) & (u2 >= u2.max(axis=1)[:, None] - 1e-12)
        for metric, table in game.metrics.items():
            low, high = cce_interval(market, pair, grid, metric, rule)
            assert (table[best] >= low - 1e-6).all()
            assert (table[best] <= high + 1e-6).all()
        seen += int(best.sum())
    assert seen


@pytest.mark.parametrize("seed", range(3))
def test_the_sparse_programme_is_the_textbook_one(seed):
    market, pair, grid = random_game(seed)
    game = grid_game(market, pair, grid)
    u1, u2 = game.utility
    rows = [(u1[k] - u1).ravel() for k in range(len(u1))]
    rows += [(u2[:, [k]] - u2).ravel() for k in range(u2.shape[1])]
    found = cce_interval(market, pair, grid, "revenue")
    for sign, end in zip((1, -1), found, strict=True):
        plain = linprog(
            sign * game.metrics["revenue"].ravel(),
            A_ub=np.array(rows),
            b_ub=np.zeros(len(rows)),
            A_eq=np.ones((1, u1.size)),
            b_eq=[1],
        )
        assert sign * plain.fun == pytest.approx(end, abs=1e-6)


def test_removing_dominated_multipliers_changes_no_correlated_equilibrium(monkeypatch):
    market, pair, grid = random_game(1)
    game = grid_game(market, pair, grid)
    kept = undominated(*game.utility)
    assert len(kept[0]) * len(kept[1]) < game.utility[0].size
    short = ce_interval(market, pair, grid, "revenue")
    monkeypatch.setattr(
        "lib.autobidding.correlated.undominated",
        lambda first, second: (np.arange(len(first)), np.arange(second.shape[1])),
    )
    assert ce_interval(market, pair, grid, "revenue") == pytest.approx(short, abs=1e-6)


def test_learners_land_inside_the_interval_widened_by_their_regret():
    grid = grids()
    run = hedge(B4.fine, B4.bidders, grid, n_rounds=4000, seeds=range(3))
    assert run.path.shape == (3, 4000)
    for k in range(3):
        low, high = cce_interval(
            B4.fine, B4.bidders, grid, "revenue", regrets=tuple(run.regrets[k] + 1e-9)
        )
        assert low - 1e-6 <= run.revenue[k] <= high + 1e-6
    again = hedge(B4.fine, B4.bidders, grid, n_rounds=4000, seeds=range(3))
    assert (again.revenue == run.revenue).all()
    # The control: bidders that stay at the designated profile are outside.
    low, high = cce_interval(B4.fine, B4.bidders, grid, "revenue")
    assert not low <= 0.23 <= high


def adahedge(game, seed, n_rounds):
    """The same learners, one number at a time: the running mean of revenue, and both regrets."""
    draws = np.random.default_rng(seed).random((n_rounds, 2))
    tables = game.utility[0].tolist(), game.utility[1].T.tolist()
    sums = [[0.0] * len(table) for table in tables]
    cost, got, total, path = [0.0, 0.0], [0.0, 0.0], 0.0, []
    for t in range(n_rounds):
        rates, shares, played = [], [], []
        for k, table in enumerate(tables):
            size = max(abs(x) for row in table for x in row)
            rates.append(math.log(len(table)) / max(cost[k], 1e-12 * size))
            raw = [math.exp(rates[k] * (x - max(sums[k]))) for x in sums[k]]
            shares.append([x / sum(raw) for x in raw])
            reached = accumulate(shares[k])
            played.append(next(i for i, share in enumerate(reached) if share >= draws[t, k]))
        for k, table in enumerate(tables):
            earned = [row[played[1 - k]] for row in table]
            top = max(earned)
            terms = [
                share * math.exp(rates[k] * (x - top))
                for share, x in zip(shares[k], earned, strict=True)
            ]
            mean = sum(share * x for share, x in zip(shares[k], earned, strict=True))
            cost[k] += max(top + math.log(sum(terms)) / rates[k] - mean, 0)
            sums[k] = [x + y for x, y in zip(sums[k], earned, strict=True)]
            got[k] += earned[played[k]]
        total += game.metrics["revenue"][played[0], played[1]]
        path.append(total / (t + 1))
    return path, [max(max(sums[k]) - got[k], 0) / n_rounds for k in (0, 1)]


def test_learners_are_those_of_adahedge():
    market, pair, grid = random_game(4)
    run = hedge(market, pair, grid, n_rounds=200, seeds=(5, 6))
    for k, seed in enumerate((5, 6)):
        path, regrets = adahedge(grid_game(market, pair, grid), seed, 200)
        np.testing.assert_allclose(run.path[k], path, rtol=1e-9)
        np.testing.assert_allclose(run.regrets[k], regrets, rtol=1e-6, atol=1e-12)
        assert run.revenue[k] == pytest.approx(path[-1])


@pytest.mark.parametrize("unit", [1e-9, 3.0, 1e9])
@pytest.mark.parametrize("interval", [cce_interval, ce_interval])
def test_units_of_money_and_mass_do_not_matter(interval, unit):
    market, pair, grid = random_game(2)
    richer = [Bidder("maxcpa", unit * b.value) for b in pair]
    heavier = Market(market.weights * unit, market.predictions)
    for metric in ("revenue", "welfare"):
        base = np.array(interval(market, pair, grid, metric))
        money = interval(market, richer, (unit * grid[0], unit * grid[1]), metric)
        mass = interval(heavier, pair, grid, metric)
        assert np.array(money) / unit == pytest.approx(base, abs=1e-6)
        assert np.array(mass) / unit == pytest.approx(base, abs=1e-6)


def test_regrets_are_money():
    """A regret as large as all that there is to gain drops the conditions, in any unit."""
    market, pair, grid = random_game(2)
    free = cce_interval(market, pair, grid, "revenue", regrets=(math.inf, math.inf))
    enough = cce_interval(market, pair, grid, "revenue", regrets=(9.0, 9.0))
    assert enough == pytest.approx(free, abs=1e-9)
    strict, some = (cce_interval(market, pair, grid, "revenue", regrets=(r, r)) for r in (0.0, 0.1))
    assert free[0] < some[0] < strict[0]
    assert strict[1] < some[1] < free[1]


def test_steps_near_zero_are_steps_in_any_unit():
    assert len(shading_grid(1e-12)) == len(shading_grid(1.0)) == len(shading_grid(1e12)) == 64
    tiny = threshold_grid([Market([1.0], [[0.5, 0.25]])], [0, 1e-13, 2e-13])
    assert tiny.tolist() == pytest.approx([0, 5e-14, 1e-13])


def test_bad_input_is_named():
    pair, grid = B4.bidders, ([0.0, 1.0], [0.0, 1.0])
    three = Market([1.0], [[0.1, 0.2, 0.3]])
    with pytest.raises(ValueError, match="two bidders, got 3"):
        cce_interval(three, [pair[0]] * 3, grid, "revenue")
    with pytest.raises(ValueError, match="two bidders, got 3"):
        threshold_grid([three], [1.0])
    with pytest.raises(ValueError, match="expected a MAX-CPA bidder without budget"):
        cce_interval(B1.fine, B1.bidders, grid, "revenue")
    with pytest.raises(ValueError, match="bidder 1 is"):
        ce_interval(B4.fine, [pair[0], Bidder("maxcpa", 10, 1)], grid, "revenue")
    with pytest.raises(ValueError, match="metric is 'profit'"):
        cce_interval(B4.fine, pair, grid, "profit")
    with pytest.raises(ValueError, match="rule is 'third'"):
        cce_interval(B4.fine, pair, grid, "revenue", "third")
    for bad in ([], [math.nan], [-1.0]):
        with pytest.raises(ValueError, match=r"grids\[0\]"):
            cce_interval(B4.fine, pair, (bad, [0.0]), "revenue")
    with pytest.raises(ValueError, match=r"regrets\[0\] is -1"):
        cce_interval(B4.fine, pair, grid, "revenue", regrets=(-1.0, 0.0))
    with pytest.raises(ValueError, match="value is 0"):
        shading_grid(0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("model", ["coarse", "fine"])
def test_mixed_equilibria_of_nashpy_lie_in_both_intervals(model):
    """Nash within correlated within coarse correlated, with Nash from another library."""
    small = grids(3, 2)
    market = B4.model(model).to_float()
    game = grid_game(market, B4.bidders, small)
    left = np.ix_(*undominated(*game.utility))
    peer = nashpy.Game(*(table[left] for table in game.utility))
    revenue = [x @ game.metrics["revenue"][left] @ y for x, y in peer.support_enumeration()]
    low, high = ce_interval(market, B4.bidders, small, "revenue")
    wide = cce_interval(market, B4.bidders, small, "revenue")
    assert revenue
    assert low - 1e-9 <= min(revenue) <= max(revenue) <= high + 1e-9
    assert wide[0] - 1e-9 <= low <= high <= wide[1] + 1e-9


PARTED = [(10, (True, True)), (12, (True, False)), (100, (False, False))]


@pytest.mark.parametrize(("top", "apart"), PARTED)
def test_with_bids_above_value_the_intervals_of_b4_overlap(top, apart):
    """The premise of the crosses: bidder 2 bids up to its value of 10, and no more."""
    rival = np.unique(np.r_[shading_grid(10, n_even=17, n_low=8), np.linspace(0, top, 17)])
    wide = (threshold_grid(MODELS, rival), rival)
    for metric, expected in zip(("revenue", "welfare"), apart, strict=True):
        coarse, fine = (cce_interval(m, B4.bidders, wide, metric) for m in MODELS)
        assert (fine[1] < coarse[0] * (1 - 1e-6)) == expected
