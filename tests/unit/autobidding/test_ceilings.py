"""Searches come near the ceilings they test and break none; what lies outside a class does."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import equilibria_2p, equilibrium_range
from lib.autobidding.market import Market
from lib.autobidding.study import ceilings
from lib.autobidding.study.ceilings import (
    KAPPA,
    ORDINARY,
    SINGLE,
    STARTS,
    Searched,
    Start,
    search,
    shutout_welfare,
)
from lib.autobidding.study.constructions import SPLIT


@pytest.mark.parametrize(
    ("name", "kept", "best"),
    [
        ("first price, tCPA", 330 / 323, 1.0),
        # Bidder 1 shuts out its rival and gets 502 of 1000.
        ("second price, tCPA", 0.502, 0.502),
        # The loss of a quarter; and 1 of the 199/100 that 1/100 of a cluster and the rest bring.
        ("first-price pacing", 0.75, 100 / 199),
    ],
)
def test_starts_come_near_their_ceilings(name, kept, best):
    found = search(name, 1)
    assert len(found.shares) == len(STARTS[name])
    assert found.worst == pytest.approx((kept, best), abs=1e-6)
    assert found.breaking() == 0


@pytest.mark.parametrize("name", KAPPA)
def test_no_market_near_a_start_breaks_a_ceiling(name):
    found = search(name, 8)
    assert found.breaking() == 0
    assert len(found.shares) <= 8 * len(STARTS[name])
    floor = 1 / KAPPA[name]
    assert all(floor - 1e-9 <= share <= 1 + 1e-9 for pair in found.shares for share in pair[1:])
    # A ceiling a little tighter than the worst market is broken by it.
    assert found.breaking(1 / (min(found.worst) + 1e-6)) > 0


def test_ceilings_are_those_of_the_page():
    kept = [1 / kappa for kappa in KAPPA.values()]
    assert kept == pytest.approx([1, 0.5, 0.5, 1 - 1 / np.e, 1 - 1 / np.e])
    assert list(STARTS) == list(KAPPA)
    assert list(ORDINARY) == list(KAPPA)[1:-1]


def test_several_auctions_under_one_multiplier_keep_less_than_a_single_one():
    """Golden, on two grids; a single auction keeps at least .8136 (arXiv 1601.07702)."""
    name = "first price, MAX-CPA, CCE, no overbidding"
    for n_even in (21, 61):
        one, four = (
            search(name, 1, starts=starts, n_even=n_even).worst for starts in (SINGLE, STARTS[name])
        )
        assert one[1] == pytest.approx(0.813, abs=0.002)
        assert four[1] == pytest.approx(0.78, abs=0.01)
    assert four[1] == pytest.approx(0.78884, abs=1e-4)
    assert search(name, 1).worst == four


def test_the_search_goes_down_and_longer_ones_begin_like_shorter_ones():
    long, short = search("second price, tCPA", 60), search("second price, tCPA", 15)
    assert long.shares[: len(short.shares)] == short.shares
    assert min(long.worst) <= min(short.worst) <= 0.502
    assert search("second price, tCPA", 15, seed=1).shares != short.shares


@pytest.mark.parametrize("name", ["first price, tCPA", "second price, tCPA"])
def test_without_its_premise_a_ceiling_breaks(name):
    assert search(name, 12, broken=True).breaking() > 0


def test_a_market_breaks_a_ceiling_by_either_ratio_and_counts_once():
    found = Searched("second price, tCPA", ((0.5, 0.5), (0.4, 0.9), (1.0, 0.3), (0.4, 0.1)))
    assert found.breaking() == 3
    assert found.breaking(1) == 4
    assert found.breaking(20) == 0
    assert found.worst == (0.4, 0.1)


def test_changes_are_small_and_keep_zeros():
    start = Start(((0.5, 0.0), (1.0, 0.25)), (0, 0), (5, 1), 2.0)
    rng = np.random.default_rng(0)
    seen = [start.changed(rng) for _ in range(200)]
    table = np.array([s.predictions for s in seen])
    assert (table[:, 0, 1] == 0).all()
    assert table.max() == 1
    assert 0.3 < np.abs(np.log([s.budget / 2 for s in seen])).max() < 1.5
    assert np.abs(np.log([s.values[0] / 5 for s in seen])).min() < 1e-2
    assert all(s.labels == (0, 0) for s in seen)
    assert start.bidders("tcpa")[0].budget == 2
    assert not start.bidders("tcpa")[1].has_budget
    coarse, fine = start.models
    assert coarse.predictions.tolist() == [[0.75, 0.125]]
    assert fine.weights.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("first-price pacing", 0), "n_markets is 0"),
        (("third price", 1), "name is 'third price'"),
    ],
)
def test_bad_searches(arguments, words):
    with pytest.raises(ValueError, match=words):
        ceilings.search(*arguments)


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_market_is_bad_for_no_class(name):
    """The control of the searches: by itself it keeps nine tenths of the best in each class."""
    assert min(search(name, 1, starts=ORDINARY[name]).worst) == pytest.approx(0.92, abs=0.03)


def test_grids_end_where_bids_may():
    """A bidder of little value is in the way only if it may bid above it."""
    start = Start(((1.0, 1.0),), (0,), (1.0, 0.01), aim=1)
    with_, without = (
        min(search(name, 1, starts=(start,)).worst)
        for name in ("first price, MAX-CPA, CCE", "first price, MAX-CPA, CCE, no overbidding")
    )
    assert with_ == pytest.approx(1 - 1 / np.e, abs=0.02)
    assert without > 0.98


def test_second_price_has_no_ceiling_for_bids_above_value():
    """MAX-CPA: who bids above the other's value keeps it out, however little it is worth."""
    market, little = Market.exact([1], [[1, 1]]), Fraction(1, 100)
    pair = [Bidder("maxcpa", 1), Bidder("maxcpa", little)]
    ranges = [
        equilibrium_range(equilibria_2p(market, pair, "second", undominated=kept), "welfare")
        for kept in (True, False)
    ]
    assert ranges == [(1, 1), (little, 1)]


positive = st.integers(1, 20).map(lambda k: Fraction(k, 20))


@settings(max_examples=40)
@given(st.lists(st.tuples(positive, positive), min_size=4, max_size=4), positive, positive)
def test_shutout_welfare_is_blind_to_the_partition(predictions, t1, t2):
    fine = Market.exact([1] * 4, predictions)
    totals = fine.mass.sum(axis=0) * np.array([t1, t2])
    for labels in ([0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 2], [0, 1, 2, 3]):
        assert shutout_welfare(fine.coarsen(labels), (t1, t2)) == totals.max()


def test_zero_predictions_break_the_premise():
    with pytest.raises(LookupError, match="cannot shut"):
        shutout_welfare(SPLIT.fine, (1, 1))
