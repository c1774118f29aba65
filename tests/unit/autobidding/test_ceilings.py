"""No random market breaks a ceiling, and what lies outside a class does."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding import ceilings
from lib.autobidding.constructions import SPLIT
from lib.autobidding.market import Market


@pytest.mark.parametrize(
    "search", [ceilings.first_price_tcpa, ceilings.second_price_tcpa, ceilings.pacing]
)
def test_ceiling_holds_and_its_control_does_not(search):
    found = search(25)
    assert found.holds
    assert found.control < 1
    assert found.control_fails or found.name == "first-price pacing"


def test_a_longer_search_includes_the_shorter_one():
    assert ceilings.second_price_tcpa(20).kept <= ceilings.second_price_tcpa(5).kept


def test_no_market_is_no_search():
    with pytest.raises(ValueError, match="n_markets is 0"):
        ceilings.pacing(0)


positive = st.integers(1, 20).map(lambda k: Fraction(k, 20))


@settings(max_examples=40)
@given(st.lists(st.tuples(positive, positive), min_size=4, max_size=4), positive, positive)
def test_shutout_welfare_is_blind_to_the_partition(predictions, t1, t2):
    fine = Market.exact([1] * 4, predictions)
    for labels in ([0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 2]):
        coarse = fine.coarsen(labels)
        assert ceilings.shutout_welfare(coarse, (t1, t2)) == ceilings.shutout_welfare(
            fine, (t1, t2)
        )


def test_zero_predictions_break_the_premise():
    with pytest.raises(LookupError, match="cannot shut"):
        ceilings.shutout_welfare(SPLIT.fine, (1, 1))
