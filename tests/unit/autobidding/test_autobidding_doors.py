"""Every exported function refuses bad input clearly."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from lib.autobidding import Bidder, Market, Trial
from lib.core.paths import ROOT

sys.path.insert(0, str(ROOT / "tests/unit/core"))
import doors


def pair() -> list[Bidder]:
    return [Bidder("tcpa", 2.0), Bidder("tcpa", 1.0)]


def market() -> Market:
    return Market(np.ones(2), np.array([[0.5, 0.25], [0.25, 0.5]]))


def log() -> pd.DataFrame:
    return pd.DataFrame(
        {"converted": [0, 1, 0, 1], "device": list("abab"), "advertiser": list("AABB")}
    )


def trial() -> Trial:
    return Trial(np.array([[[8, 2], [9, 1]], [[5, 5], [2, 8]]]), ([0, 0], [0, 1]), ("A", "B"))


def played(**more: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"market": None or market(), "bidders": pair(), "multipliers": ONES, **more}


ONES = np.array([1.0, 1.0])

EXAMPLES: dict[str, Callable[[], dict[str, Any]]] = {
    "autobidding.Bidder": lambda: {"kind": "tcpa", "value": 1.5, "budget": 2.5},
    "autobidding.Filtration": lambda: {
        "base": market(),
        "labels": [np.array([0, 0]), np.array([0, 1])],
        "names": ["coarse", "fine"],
    },
    "autobidding.Market": lambda: {
        "weights": np.ones(2),
        "predictions": np.array([[0.5, 0.25], [0.25, 0.5]]),
    },
    "autobidding.Trial": lambda: {
        "counts": np.array([[[8, 2], [9, 1]], [[5, 5], [2, 8]]]),
        "labels": ([0, 0], [0, 1]),
        "advertisers": ("A", "B"),
    },
    "autobidding.best_response": played(bidder=0),
    "autobidding.equilibria_2p": lambda: {"market": market(), "bidders": pair()},
    "autobidding.fppe": lambda: {
        "market": market(),
        "values": np.array([2.0, 1.0]),
        "budgets": np.array([0.5, 0.5]),
    },
    "autobidding.holdout": lambda: {
        "trial": trial(),
        "targets": np.array([1.0, 2.0]),
        "n_splits": 2,
        "seed": 1,
    },
    "autobidding.is_equilibrium": played(),
    "autobidding.market_from_log": lambda: {"log": log(), "features": ["device"]},
    "autobidding.outcome": played(slot_factors=np.array([1.0])),
    "autobidding.verdict": lambda: {
        "coarse": market().coarsen([0, 0]),
        "fine": market(),
        "labels": np.array([0, 0]),
        "bidders": pair(),
        "rule": "first",
        "metric": "revenue",
    },
}

RIGHT: dict[tuple[str, str, str], Callable[[Any], bool]] = {
    # Without a budget, or with one that has no end.
    ("autobidding.Bidder", "budget", "infinite"): lambda found: found.budget is None,
    ("autobidding.fppe", "budgets", "infinite"): lambda found: found.multipliers[0] == 1,
    # Names are a convenience: without them levels are called by their size.
    ("autobidding.Filtration", "names", "empty"): lambda found: (
        found.names == ("1 clusters", "2 clusters")
    ),
}


def test_every_door_refuses_bad_input_clearly() -> None:
    problems, closed = doors.survey("autobidding", EXAMPLES, RIGHT)
    assert not closed
    assert set(problems) == set(EXAMPLES)
    assert not [line for found in problems.values() for line in found]
