"""The explorer draws the cells that the library enumerates, and computes in Vega what it clears."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lib.autobidding.bidders import Bidder
from lib.autobidding.study.constructions import B1
from lib.autobidding.study.interactive import _clip, market_explorer

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


def test_clip_keeps_what_is_inside_and_cuts_the_rest():
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    assert _clip(square, (9.0, 9.0)).tolist() == square.tolist()
    cut = _clip(square, (2.0, 3.0))
    assert cut.max(axis=0).tolist() == [2.0, 3.0]
    assert len(_clip(square + 10, (2.0, 3.0))) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {}}, "models is empty"),
        ({"bidders": [Bidder("maxcpa", 1), Bidder("tcpa", 1)]}, "two tCPA bidders"),
        ({"bidders": [Bidder("tcpa", 1, 2), Bidder("tcpa", 1)]}, "without budgets"),
        ({"start": (90.0, 5.0)}, "outside the limits"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(ValueError, match=message):
        explorer(**changes)
