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
    ("search", "outside"),
    [
        # B.2 keeps 4.5977 of 5.526758; a bidder that bids nothing leaves 1 of 10.
        (ceilings.first_price_tcpa, 4.5977 / 5.526758),
        (ceilings.second_price_tcpa, 0.1),
        (ceilings.pacing, None),
        (ceilings.first_price_maxcpa, None),
    ],
)
def test_ceiling_holds_and_its_control_does_not(search, outside):
    found = search(8)
    assert found.breaking() == 0
    assert len(found.kept) == len(found.optimum) <= 8
    if outside is None:
        assert found.breaking(1) > 0
    else:
        assert found.outside == pytest.approx(outside)
        assert found.outside * ceilings.KAPPA[found.name] < 1


def test_a_market_breaks_a_ceiling_by_either_ratio_and_counts_once():
    found = ceilings.WorstCase("second price, tCPA", (0.5, 0.4, 1.0, 0.4), (0.5, 0.9, 0.3, 0.1))
    assert found.breaking() == 3
    assert found.breaking(1) == 4
    assert found.breaking(20) == 0


def test_a_longer_search_includes_the_shorter_one():
    longer, shorter = ceilings.second_price_tcpa(20), ceilings.second_price_tcpa(5)
    assert longer.kept[: len(shorter.kept)] == shorter.kept
    assert longer.optimum[: len(shorter.optimum)] == shorter.optimum


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
