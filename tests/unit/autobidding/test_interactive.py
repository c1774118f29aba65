"""The explorer draws the cells that the library enumerates, and computes in Vega what it clears."""

from __future__ import annotations

import json

import pytest

from lib.autobidding.bidders import Bidder
from lib.autobidding.study.constructions import B1
from lib.autobidding.study.interactive import market_explorer

MODELS = {"coarse": B1.coarse, "fine": B1.fine}


def explorer(**changes):
    options = {"names": ("A", "B"), "start": (30.0, 5.0), "limits": (80.0, 30.0), **changes}
    return market_explorer(
        options.pop("models", MODELS), options.pop("bidders", B1.bidders), **options
    )


def test_spec_holds_every_cell_of_both_models():
    text = json.dumps(explorer().to_dict())
    for label in ("A wins 0; welfare 3.23", "A wins 0, 1, 2; welfare 3.30", "A wins 0, 1, 2, 3"):
        assert label in text


def test_the_same_spec_twice():
    assert explorer().to_dict() == explorer().to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bidders": [Bidder("maxcpa", 1), Bidder("tcpa", 1)]}, "two tCPA bidders"),
        ({"bidders": [Bidder("tcpa", 1, 2), Bidder("tcpa", 1)]}, "without budgets"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        explorer(**changes)
