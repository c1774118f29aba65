"""Bidders, clearing and outcomes."""

from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding.arithmetic import as_exact
from lib.autobidding.bidders import Bidder, effective, multipliers_of
from lib.autobidding.market import Market
from lib.autobidding.mechanism import clear, outcome

TABLE = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 4), min_size=n, max_size=n), min_size=1, max_size=8)
)


@settings(max_examples=100)
@given(TABLE, st.booleans())
def test_clear_against_a_plain_loop(rows, exact):
    bids = as_exact(rows) if exact else np.array(rows, dtype=float)
    first, second = clear(bids, "first"), clear(bids, "second")
    for k, row in enumerate(rows):
        winner = row.index(max(row))  # the lowest index on a tie
        assert first.winners[k] == second.winners[k] == winner
        assert first.prices[k] == max(row)
        assert second.prices[k] == max([b for i, b in enumerate(row) if i != winner], default=0)
    assert (clear(bids, "vcg").prices == second.prices).all()


def test_clear_spans_blocks():
    bids = np.random.default_rng(0).random((10_001, 3))
    out = clear(bids, "second")
    assert (out.winners == bids.argmax(axis=1)).all()
    assert (out.prices == np.sort(bids, axis=1)[:, -2]).all()


def test_one_bidder_pays_nothing_in_second_price():
    out = clear(np.array([[0.7], [0.2]]), "second")
    assert out.winners.tolist() == [0, 0]
    assert out.prices.tolist() == [0.0, 0.0]


def test_zero_bids_go_to_the_lowest_index_for_nothing():
    out = clear(np.zeros((1, 3)), "first")
    assert (out.winners[0], out.prices[0]) == (0, 0.0)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=4), st.integers(1, 4))
def test_vcg_slots_charge_the_externality(row, n_slots):
    """Against the definition: others' best value without the bidder minus their value with it."""
    n_slots = min(n_slots, len(row))
    factors = [Fraction(1), Fraction(2, 3), Fraction(1, 2), Fraction(1, 5)][:n_slots]

    def best(bidders):
        return max(
            sum(f * row[i] for f, i in zip(factors, order, strict=False))
            for order in permutations(bidders)
        )

    out = clear(as_exact([row]), "vcg", slot_factors=factors)
    winners, prices = out.winners.ravel(), out.prices.ravel()  # one slot gives no second axis
    everyone = range(len(row))
    total = sum(f * row[i] for f, i in zip(factors, winners, strict=True))
    assert total == best(everyone)
    for slot, i in enumerate(winners):
        without = best([j for j in everyone if j != i])
        assert prices[slot] == without - (total - factors[slot] * row[i])


@pytest.mark.parametrize(
    ("bids", "rule", "factors", "message"),
    [
        ([[1.0, 2.0]], "third", (1,), "rule is 'third'"),
        ([1.0, 2.0], "first", (1,), r"bids have shape \(2,\), expected \(n_clusters, n_bidders\)"),
        (np.empty((0, 2)), "first", (1,), "bids have shape"),
        ([[1.0, 2.0]], "first", (1, 0.5), "2 slots under rule 'first'"),
        ([[1.0, 2.0]], "second", (1, 0.5), "2 slots under rule 'second'"),
        ([[1.0, 2.0]], "vcg", (0.5, 1), "none above the one before"),
        ([[1.0, 2.0]], "vcg", (1, 0.5, 0.2), "expected 1 to 2 slots"),
        ([[1.0, 2.0]], "vcg", (), "slot_factors is empty"),
        ([[1.0, 2.0]], "vcg", (2,), r"slot_factors\[0\] is 2"),
    ],
)
def test_bad_clearing(bids, rule, factors, message):
    with pytest.raises(ValueError, match=message):
        clear(np.asarray(bids), rule, slot_factors=factors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cpc", 1), "kind is 'cpc'"),
        (("tcpa", 0), "value is 0, expected|value is 0.0"),
        (("tcpa", -1), "value is -1"),
        (("tcpa", float("nan")), "value is nan"),
        (("maxcpa", float("inf")), "value is inf"),
        (("tcpa", 1, 0), "budget is 0"),
        (("tcpa", 1, float("nan")), "budget is nan"),
        (("tcpa", "10"), "value is '10'"),
        (("tcpa", 1, "10"), "budget is '10'"),
        (("tcpa", 1, -float("inf")), "budget is -inf"),
        (("tcpa", True), "value is True"),
    ],
)
def test_bad_bidders(arguments, message):
    with pytest.raises(ValueError, match=message):
        Bidder(*arguments)


def test_infinite_budget_is_no_budget():
    assert Bidder("tcpa", 1, float("inf")).budget is None


def test_bad_multipliers():
    market = Market.exact([1], [["1/2", "1/4"]])
    pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    with pytest.raises(ValueError, match="market has 2 bidders, got 1"):
        effective(market, pair[:1], [1])
    with pytest.raises(ValueError, match=r"multipliers has shape \(1,\), expected shape \(2\)"):
        effective(market, pair, [1])
    with pytest.raises(ValueError, match=r"multipliers\[1\] is -1"):
        effective(market, pair, [1, -1])
    with pytest.raises(TypeError, match=r"multipliers\[1\] is the float 0\.5"):
        effective(market, pair, [1, 0.5])
    with pytest.raises(ValueError, match=r"effective_multipliers has shape \(1,\)"):
        multipliers_of(pair, [1])


def test_outcome_by_hand():
    market = Market.exact([2, 1], [["1/2", "1/4"], ["1/4", "1/2"]])
    pair = [Bidder("tcpa", 4, Fraction(1)), Bidder("maxcpa", Fraction(2))]
    out = outcome(market, pair, [1, 1], "second")
    assert out.winners.tolist() == [0, 0]
    assert out.prices.tolist() == [Fraction(1, 2), 1]
    assert out.spend.tolist() == [2, 0]
    assert out.conversions.tolist() == [Fraction(5, 4), 0]
    assert (out.revenue, out.welfare, out.liquid_welfare) == (2, 5, 1)
    assert out.cpa.tolist() == [Fraction(8, 5), None]
    assert out.within_target.tolist() == [True, True]
    assert out.within_budget.tolist() == [False, True]
    assert not out.feasible
    with pytest.raises(ValueError, match="metric is 'profit'"):
        out.metric("profit")


def test_truth_scores_the_same_auction():
    believed = Market(np.ones(2), np.array([[0.5, 0.4], [0.1, 0.2]]))
    true = Market(np.array([3.0, 1.0]), np.array([[0.3, 0.9], [0.1, 0.1]]))
    pair = [Bidder("tcpa", 1.0), Bidder("tcpa", 1.0)]
    out = outcome(believed, pair, [1, 1], "first", truth=true)
    assert out.winners.tolist() == [0, 1]
    assert out.revenue == pytest.approx(3 * 0.5 + 0.2)
    assert out.conversions == pytest.approx([0.9, 0.1])
    assert not out.within_target.any()  # the promise is broken out of sample
    with pytest.raises(ValueError, match="truth has shape"):
        outcome(believed, pair, [1, 1], truth=Market(np.ones(1), np.array([[0.3, 0.9]])))


def exact_markets(n_bidders):
    share = st.integers(0, 20).map(lambda x: Fraction(x, 20))
    row = st.tuples(st.integers(1, 5), *[share] * n_bidders)
    return st.lists(row, min_size=1, max_size=6).map(
        lambda rows: Market.exact([r[0] for r in rows], [r[1:] for r in rows])
    )


@settings(max_examples=60)
@given(st.data())
def test_two_truthful_bidders_share_a_constant_sum(data):
    """First plus second price is each cluster's sum of bids, which refinement keeps."""
    fine = data.draw(exact_markets(2))
    raw = data.draw(st.lists(st.integers(0, 2), min_size=fine.n_clusters, max_size=fine.n_clusters))
    labels = [sorted(set(raw)).index(x) for x in raw]
    pair = [Bidder("maxcpa", data.draw(st.integers(1, 9))) for _ in range(2)]
    sums, seconds = [], []
    for market in (fine.coarsen(labels), fine):
        rev = [outcome(market, pair, [1, 1], rule).revenue for rule in ("first", "second")]
        sums.append(sum(rev))
        seconds.append(rev[1])
    assert sums[0] == sums[1]
    assert seconds[1] <= seconds[0]


@settings(max_examples=60)
@given(st.data())
def test_outcomes_are_invariant(data):
    n = data.draw(st.integers(1, 4))
    market = data.draw(exact_markets(n))
    values = data.draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))
    bidders = [Bidder("tcpa", v) for v in values]
    rule = data.draw(st.sampled_from(["first", "second"]))
    ones = [1] * n
    base = outcome(market, bidders, ones, rule)
    # money scale: targets in cents instead of euros
    cents = outcome(market, [Bidder("tcpa", 100 * v) for v in values], ones, rule)
    assert cents.revenue == 100 * base.revenue
    assert cents.winners.tolist() == base.winners.tolist()
    # duplicated clusters of half the weight
    halves = Market(np.repeat(market.weights / 2, 2), np.repeat(market.predictions, 2, axis=0))
    again = outcome(halves, bidders, ones, rule)
    assert (again.revenue, again.welfare) == (base.revenue, base.welfare)
    # bidders in another order, where no tie decides
    bids = market.predictions * base.effective
    if all(len(set(row)) == n for row in bids.tolist()):
        order = data.draw(st.permutations(range(n)))
        other = outcome(
            Market(market.weights, market.predictions[:, order]),
            [bidders[i] for i in order],
            ones,
            rule,
        )
        assert other.revenue == base.revenue
        assert other.spend.tolist() == base.spend[list(order)].tolist()


# ── Several slots ─────────────────────────────────────────────────────────────────────────────


def test_a_single_slot_of_half_the_clicks_costs_half():
    assert clear(np.array([[3.0, 2.0]]), "vcg", (0.5,)).prices.tolist() == [1.0]
    assert clear(np.array([[3.0, 2.0]]), "first", (0.5,)).prices.tolist() == [1.5]
    assert clear(np.array([[3.0, 2.0]]), "second", (0.25,)).prices.tolist() == [0.5]
    assert clear(as_exact([[3, 2]]), "vcg", (Fraction(1, 3),)).prices.tolist() == [Fraction(2, 3)]


def test_two_slots_by_hand():
    """Bids 3, 2, 1 at factors 1 and 1/2: the second pays 1/2, the first 1 of it and 1/2 more."""
    out = clear(as_exact([[2, 3, 1], [1, 1, 1]]), "vcg", (1, Fraction(1, 2)))
    assert out.winners.tolist() == [[1, 0], [0, 1]]
    assert out.prices.tolist() == [[Fraction(3, 2), Fraction(1, 2)], [1, Fraction(1, 2)]]
    equal = clear(as_exact([[2, 3, 1]]), "vcg", (1, 1)).prices[0]
    assert all(isinstance(p, Fraction) for p in equal)


def test_outcome_of_two_slots_by_hand():
    market = Market.exact([2, 1], [["1/2", "1/4", "1/4"], ["1/4", "1/2", 0]])
    bidders = [Bidder("tcpa", 4), Bidder("maxcpa", 2, Fraction(1, 4)), Bidder("maxcpa", 1)]
    # Bids (2, 1/2, 1/4) and (1, 1, 0): slot two costs 1/8 and 0, slot one 3/8 and 1/2.
    out = outcome(market, bidders, [1, 1, 1], "vcg", slot_factors=(1, Fraction(1, 2)))
    assert out.winners.tolist() == [[0, 1], [0, 1]]
    assert out.prices.tolist() == [[Fraction(3, 8), Fraction(1, 8)], [Fraction(1, 2), 0]]
    assert out.spend.tolist() == [Fraction(5, 4), Fraction(1, 4), 0]
    assert out.conversions.tolist() == [Fraction(5, 4), Fraction(1, 2), 0]
    assert (out.revenue, out.welfare) == (Fraction(3, 2), 6)
    assert out.liquid_welfare == 5 + Fraction(1, 4)
    assert out.within_budget.tolist() == [True, True, True]
    floats = outcome(market.to_float(), bidders, [1, 1, 1], "vcg", slot_factors=(1, 0.5))
    assert floats.spend == pytest.approx([1.25, 0.25, 0])
    half = outcome(market, bidders, [1, 1, 1], "vcg", slot_factors=(Fraction(1, 2),))
    whole = outcome(market, bidders, [1, 1, 1], "vcg")
    assert (2 * half.spend == whole.spend).all()
    assert (2 * half.conversions == whole.conversions).all()
    for rule in ("first", "second"):
        with pytest.raises(ValueError, match="2 slots under rule"):
            outcome(market, bidders, [1, 1, 1], rule, slot_factors=(1, Fraction(1, 2)))


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_targets_and_budgets_are_judged_by_their_size(unit):
    market = Market([1.0], [[0.5, 0.4]])
    pair = [Bidder("tcpa", unit, 0.5 * unit), Bidder("tcpa", unit)]
    assert outcome(market, pair, [1, 1], "first").feasible
    over = outcome(market, pair, [1.001, 1], "first")
    assert over.within_target.tolist() == [False, True]
    assert over.within_budget.tolist() == [False, True]


def test_whole_numbers_pay_halves():
    """Found by the second referee: bids without a point were paid in whole money."""
    for dtype in (int, np.uint8, np.int32, object, float):
        bids = np.array([[3, 2, 1]], dtype=dtype)
        out = clear(bids, "vcg", (1, 0.5))
        assert out.prices.tolist() == [[1.5, 0.5]]
        assert out.winners.tolist() == [[0, 1]]
        assert clear(bids, "vcg", (0.5,)).prices.tolist() == [1.0]
    unsigned = np.array([[3, 2, 0]], dtype=np.uint8)
    assert clear(unsigned, "vcg", (1, 0.5)).winners.tolist() == [[0, 1]]
    assert clear([[3, 2, 1]], "second").prices.tolist() == [2.0]
    for bad in ([[-1.0, 2.0]], [[Fraction(-1), Fraction(2)]]):
        with pytest.raises(ValueError, match="bids hold -1"):
            clear(bad, "first")
    with pytest.raises(ValueError, match=r"bids\[0, 0\] is '1'"):
        clear([["1", "2"]], "first")
