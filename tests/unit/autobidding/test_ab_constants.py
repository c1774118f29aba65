"""Constants, inputs and defaults, each against where it comes from, or a property that pins it.

The constructions are those of the dossier's facts on appendix B and of the page "Beyond the
paper"; the designs of the simulations are those that the notebooks state.
"""

import importlib
import inspect
import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from rerun import anew

from lib.autobidding import arithmetic, correlated, equilibrium, mechanism, pacing, verdicts
from lib.autobidding.study import (
    atlas,
    ceilings,
    constructions,
    data,
    figures,
    instances,
    interactive,
    proofs,
    table1,
)


def default(function: Any, name: str) -> Any:
    return inspect.signature(function).parameters[name].default


def fractions(*texts):
    return [Fraction(text) for text in texts]


# ── The paper's constructions, and ours ───────────────────────────────────────────────────────

INPUTS = {
    # First and second bidder's predictions, weights, labels, values, budgets, rule, convention.
    "B1": (
        "0.20 0.05 0.01 0.01", "0.08 0.30 0.03 0.70", "1 1 1 1", (0, 0, 1, 1),
        ("10", "1"), (None, None), "second", "binding", (0, 1), (0, 1, 1, 1),
    ),
    "B2": (
        "0.516 0.027 0.560 0.555", "0.559 0.850 0.617 0.330", "1 1 1 1", (0, 0, 1, 1),
        ("8.674", "1.662"), ("3.185", None), "first", "exhausting", (1, 0), (0, 1, 0, 0),
    ),
    "B3": (
        "0.2 0.6", "0.5 0.1", "1/2 1/2", (0, 0),
        ("10", "8"), (None, None), "vcg", "truthful", None, None,
    ),
    "B4": (
        "0.2 0.01", "0.02 0.5", "0.9 0.1", (0, 0),
        ("600", "10"), (None, None), "first", "matching", None, None,
    ),
    "SPLIT": (
        "1 0", "0 1", "1 1", (0, 0),
        ("1", "1"), (None, None), "second", "truthful", None, None,
    ),
    "BUDGET_EXAMPLE": (
        "1/2 1/2 0", "0 49/100 52/100", "1 1 1", (0, 1, 1),
        ("5", "1"), ("1", None), "first", "exhausting", (0, 1), (0, 0, 1),
    ),
    "QUARTER": (
        "1/2 1/2 0", "0 1/2 1/2", "1 1 1", (0, 1, 1),
        ("5", "1"), ("1", None), "first", "exhausting", None, None,
    ),
    "BUDGET_REVENUE": (
        "1/2 1/2 0 1/100", "0 49/100 52/100 19/1000", "1 1 1 1", (0, 1, 1, 2),
        ("5", "1"), ("1", None), "first", "exhausting", (0, 1, 0), (0, 0, 1, 1),
    ),
    "BEST_SELECTION": (
        "1/2 1/5 2/5", "0 3/10 1", "1 1 1", (0, 0, 1),
        ("2", "1"), (None, None), "second", "binding", (0, 1), None,
    ),
    "UNIQUE_BINDING": (
        "3/10 3/10 1/1000 1/5", "3/1000 1/20 1/20 3/10", "1 1 1 1", (0, 0, 1, 1),
        ("1", "1"), (None, None), "second", "binding", (0, 1), (0, 0, 1, 0),
    ),
}  # fmt: skip


def same_inputs(one, inputs):
    first, second, weights, labels, values, budgets, rule, convention, *winners = inputs
    assert one.fine.is_exact
    assert one.fine.predictions[:, 0].tolist() == fractions(*first.split())
    assert one.fine.predictions[:, 1].tolist() == fractions(*second.split())
    assert one.fine.weights.tolist() == fractions(*weights.split())
    assert one.labels == labels
    assert [b.value for b in one.bidders] == fractions(*values)
    assert [b.budget for b in one.bidders] == [b if b is None else Fraction(b) for b in budgets]
    assert (one.rule, one.convention) == (rule, convention)
    assert [one.coarse_winners, one.fine_winners] == winners


def test_inputs_of_all_constructions() -> None:
    found = anew(constructions)
    for name, inputs in INPUTS.items():
        same_inputs(getattr(found, name), inputs)
    assert found.PAPER == (found.B1, found.B2, found.B3, found.B4)
    assert found.B4.fine_goals == (1, 1)
    assert all(isinstance(goal, Fraction) for goal in found.B4.fine_goals)
    kinds = {name: {b.kind for b in getattr(found, name).bidders} for name in INPUTS}
    assert {name for name, kind in kinds.items() if kind == {"maxcpa"}} == {"B3", "B4"}


def test_the_budget_family_at_any_step() -> None:
    assert default(constructions.budget_family, "step") == Fraction(1, 100)
    for step in (Fraction(1, 4), Fraction(1, 7), "0.01"):
        eps = Fraction(step)
        first, second, *rest = INPUTS["BUDGET_EXAMPLE"]
        second = f"0 {Fraction(1, 2) - eps} {Fraction(1, 2) + 2 * eps}"
        same_inputs(constructions.budget_family(step), (first, second, *rest))
    for bad in (0, -1, Fraction(251, 1000), 1):
        with pytest.raises(ValueError, match="step is"):
            constructions.budget_family(bad)


def test_the_half_family_at_any_mass() -> None:
    assert default(constructions.half_family, "mass") == Fraction(1, 100)
    for mass in (Fraction(1, 100), Fraction(49, 100)):
        one = constructions.half_family(mass)
        second, third = (1 - mass) / (1 + 2 * mass), 2 * mass / (1 + 2 * mass)
        inputs = (f"{mass} 1/2 0", f"0 {second} {third}", "1 1 1", (0, 1, 1))
        limits = ((1 / mass, 1), ("1", None), "first", "exhausting", None, None)
        same_inputs(one, (*inputs, *limits))
    for bad in (0, Fraction(1, 2), Fraction(-1, 9), 2):
        with pytest.raises(ValueError, match="mass is"):
            constructions.half_family(bad)


def test_idle_budgets_are_worth_all_there_is() -> None:
    rich = constructions.with_idle_budgets(constructions.B4)
    # 600 * (9/10 * 2/10 + 1/10 * 1/100) and 10 * (9/10 * 2/100 + 1/10 * 1/2).
    assert [b.budget for b in rich.bidders] == fractions("108.6", "0.68")
    assert [(b.kind, b.value) for b in rich.bidders] == [("maxcpa", 600), ("maxcpa", 10)]
    assert (rich.fine, rich.labels) == (constructions.B4.fine, constructions.B4.labels)


def test_sold_as_in_row_one() -> None:
    sold = constructions.as_row_one(constructions.B2)
    assert [(b.kind, b.value, b.budget) for b in sold.bidders] == [
        ("tcpa", Fraction("8.674"), None),
        ("tcpa", Fraction("1.662"), None),
    ]
    assert (sold.rule, sold.convention, sold.fine_goals) == ("first", "truthful", None)


def test_the_two_conventions_by_hand() -> None:
    """Two clusters of weight 2 and 1: predictions (1/2, 1/4) and (1/5, 2/5)."""
    market = constructions.Market.exact([2, 1], [["1/2", "1/4"], ["1/5", "2/5"]])
    pair = [constructions.Bidder("tcpa", 3), constructions.Bidder("tcpa", 2)]
    # Bidder 0 wins cluster 0: 3 * 1 / (1/2); bidder 1 wins cluster 1: 2 * (2/5) / (1/5).
    assert constructions.binding_multipliers(market, pair, [0, 1]) == (4, 6)
    tight = [constructions.Bidder("tcpa", 3, 2), constructions.Bidder("tcpa", 2, Fraction(1, 10))]
    assert constructions.exhausting_multipliers(market, tight, [0, 1]) == (2, Fraction(1, 4))
    assert constructions.exhausting_multipliers(market, tight, [0, 0]) == (Fraction(5, 3), 2)
    loose = [constructions.Bidder("tcpa", 3, 30), constructions.Bidder("tcpa", 2)]
    assert constructions.exhausting_multipliers(market, loose, [0, 1]) == (3, 2)
    with pytest.raises(ValueError, match="bidder 0 has 0 conversions"):
        constructions.binding_multipliers(market, pair, [1, 1])
    free = constructions.Market.exact([1, 1], [["1/2", 0], [0, "1/2"]])
    with pytest.raises(ValueError, match="bidder 0 has 1/2 conversions at a rival mass of 0"):
        constructions.binding_multipliers(free, pair, [0, 1])


def test_enumeration_of_a_construction_leaves_out_dominated_multipliers_unless_told() -> None:
    one = constructions.B2
    assert default(constructions.Construction.equilibria, "undominated") is True
    assert one.equilibria("fine") == one.equilibria("fine", undominated=True)
    assert one.equilibria("fine") != one.equilibria("fine", undominated=False)
    # By default the designated profile; else any other.
    profile = (Fraction(1), Fraction(1))
    assert one.outcome("fine", profile).effective.tolist() == list(profile)
    assert one.outcome("fine").effective.tolist() == list(one.goals("fine"))
    assert not one.check("fine", (Fraction(9), Fraction(1))).holds
    assert constructions.B3.change("welfare") == Fraction(1, 4)


# ── Small constants ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("module", "values"),
    [
        (arithmetic, {"TOLERANCE": 1e-9}),
        (mechanism, {"_BLOCK": 4096}),
        (
            pacing,
            {
                "MAX_CUTS": 1000,
                "_TIE_TOLERANCES": (1e-12, 1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3),
            },
        ),
        (figures, {"FIRST_SHOWN": 100, "_SPREAD": 0.02}),
        (interactive, {"_WIDTH": 340}),
        (instances, {"INSTANCES": 200, "SEED": 20260529}),
        (table1, {"SOLVER_TOLERANCE": 1e-6, "CCE_POINTS": 41}),
        (atlas, {"TARGETS": (0.5, 2.0), "BLOCK": 10_000, "CENSUS": atlas.Design(2, 4, 2)}),
        (
            data,
            {
                "HILLSTROM_TARGETS": (1.0, 1.2),
                "HILLSTROM_STRENGTH": 20.0,
                "MOVIELENS_STRENGTH": 10.0,
                "MOVIELENS_BUDGETS": (0.06, 0.12, 0.06, 0.12, 0.06, 0.12, 0.06, 0.12, 0.06, 0.12),
                "LIKED": 4.0,
                "_RECENCY_EDGES": (0, 3, 7, 12),
                "_HISTORY_CAP": 4,
            },
        ),
        (proofs, {"HALF": Fraction(1, 2)}),
        (ceilings, {"MARKETS": 100, "GRID_STEPS": {True: 41, False: 61}, "GRID_LOW": 6}),
    ],
)
def test_small_constants(module, values) -> None:
    found = anew(module)
    for name, value in values.items():
        there = getattr(found, name)
        assert vars(there) == vars(value) if name == "CENSUS" else there == value, name


def test_the_grid_of_the_atlas() -> None:
    grid = [(d.n_bidders, d.n_fine, d.n_coarse) for d in anew(atlas).GRID]
    shapes = ((2, 1), (8, 4), (64, 8))
    assert grid == [(n, *shape) for n in (2, 3, 5, 10) for shape in shapes]


def test_which_proofs_run_in_which_order() -> None:
    labels = [step.label for step in anew(proofs).STEPS]
    assert labels == [
        *("lem-split", "lem-jensen", "lem-mu-one", "lem-lift", "lem-opt-lw", "thm-two-truthful"),
        *("ex-three", "prop-kappa-cce", "ex-budget-family", "thm-quarter", "thm-half"),
    ]
    assert proofs.budget_family_limit() == Fraction(1, 4)


# ── The starts of the searches ────────────────────────────────────────────────────────────────


def start(one):
    return one.predictions, one.labels, one.values, one.budget, one.aim


def test_where_the_searches_start() -> None:
    found = anew(ceilings)
    assert {name: [start(s) for s in starts] for name, starts in found.STARTS.items()} == {
        # B.1 of the paper.
        "first price, tCPA": [
            (((0.2, 0.08), (0.05, 0.3), (0.01, 0.03), (0.01, 0.7)), (0, 0, 1, 1), (10, 1), None, 0)
        ],
        "second price, tCPA": [
            (((0.5, 0.001), (0.001, 0.25), (0.001, 0.25)), (0, 1, 1), (1, 1), None, 0)
        ],
        # The tight pacing example; a budget that buys an item whole.
        "first-price pacing": [
            (((0.5, 0), (0.5, 0.5), (0, 0.5)), (0, 1, 1), (5, 1), 1.0, 0),
            (((0.5, 0.5), (0.5, 0.5)), (0, 0), (100, 1), 1.0, 1),
        ],
        "first price, MAX-CPA, CCE": [(((1, 1), (1, 1)), (0, 0), (1, 0.005), None, 1)],
        "first price, MAX-CPA, CCE, no overbidding": [
            (
                ((0.12, 0.32), (0.14, 0.28), (0.27, 0.48), (0.01, 0.29)),
                (0, 0, 0, 0),
                (1, 1),
                None,
                1,
            )
        ],
    }
    assert [start(s) for s in found.SINGLE] == [(((1.0, 0.7),), (0,), (1, 1), None, 1)]
    flat = ((0.5, 0.4), (0.4, 0.5))
    assert {name: [start(s) for s in starts] for name, starts in found.ORDINARY.items()} == {
        "second price, tCPA": [(flat, (0, 0), (1, 1), None, 1)],
        "first-price pacing": [(flat, (0, 0), (1, 1), 0.3, 1)],
        "first price, MAX-CPA, CCE": [(flat, (0, 0), (1, 1), None, 1)],
    }
    e = math.e
    assert list(found.KAPPA.values()) == [1, 2, 2, e / (e - 1), e / (e - 1)]


# ── Defaults ──────────────────────────────────────────────────────────────────────────────────


def test_defaults_of_dataclasses_and_functions_run_anew() -> None:
    plane = anew(equilibrium).HalfPlane(1, 1, 1)
    assert plane.strict is False
    assert default(anew(equilibrium).equilibria_2p, "undominated") is True
    assert default(anew(verdicts).verdict, "undominated") is True
    paced = anew(pacing)
    assert default(paced.PacingEquilibrium, "iterations") == 0
    assert default(paced.certify, "iterations") == 0
    assert default(paced.fppe, "tol") == 1e-8
    again = anew(correlated)
    for function in (again.shading_grid, again.common_grids):
        assert (default(function, "n_even"), default(function, "n_low")) == (41, 24)
    assert default(again.cce_interval, "regrets") == (0.0, 0.0)
    for function in (anew(mechanism).clear, anew(mechanism).outcome):
        assert default(function, "slot_factors") == (1,)
    searches = anew(ceilings)
    assert default(searches.Start, "aim") == 0
    assert (default(searches.search, "broken"), default(searches.search, "n_markets")) == (
        False,
        100,
    )
    drawn = anew(instances)
    sizes = [default(drawn.random_refinement, f"n_{n}") for n in ("clusters", "bidders", "coarse")]
    assert sizes == [6, 3, 2]
    changes = inspect.signature(drawn.count_changes).parameters
    assert [changes[n].default for n in ("n_bidders", "to_mean", "instances")] == [3, 0, 200]
    tables = anew(table1)
    for function in (tables.jensen_certificate, tables.lifting_certificate, tables.table1):
        assert default(function, "broken") is False
    assert default(tables.construction_verdict, "undominated") is True
    assert default(tables._judged, "best") is True
    census = anew(atlas)
    assert (default(census.budget_census, "budgeted"), default(census.truthful_atlas, "cache")) == (
        True,
        False,
    )
    assert (default(census.proportion, "level"), default(census.truthful_atlas, "n_jobs")) == (
        0.95,
        1,
    )
    real = anew(data)
    assert default(real.genre_panel, "n_genres") == 10
    assert default(real.movielens_filtration, "depth") == 9
    shown = anew(figures)
    for function in (shown.draw_cells, shown.cells_figure):
        assert default(function, "log") is True


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("logs", {"market_from_log": {"strength": 20.0}}),
        ("filtrations", {"pool": {"axis": 0}}),
        (
            "estimation",
            {
                "holdout": {"shuffle": False, "in_sample": False, "inner": 0},
                "corrected_t_interval": {"level": 0.95},
                "bootstrap_interval": {"level": 0.95},
            },
        ),
    ],
)
def test_defaults_of_estimates(name, defaults) -> None:
    found = anew(importlib.import_module(f"lib.autobidding.{name}"))
    for function, options in defaults.items():
        for option, value in options.items():
            assert default(getattr(found, function), option) == value


def test_random_refinements_are_of_whole_weights_and_hundredths() -> None:
    rng = np.random.default_rng(0)
    weights, hundredths, sizes = set(), set(), set()
    for _ in range(150):
        coarse, fine, labels = instances.random_refinement(rng)
        weights |= set(fine.weights.tolist())
        hundredths |= {100 * p for p in fine.predictions.ravel().tolist()}
        sizes.add((coarse.n_clusters, fine.n_clusters, fine.n_bidders, max(labels), len(labels)))
    assert sizes == {(2, 6, 3, 1, 6)}
    assert weights == {1, 2, 3, 4, 5}
    assert hundredths == set(range(101))
    # One coarse cluster at least, as many as there are fine ones at most.
    assert instances.random_refinement(rng, 3, 1, 1)[2] == (0, 0, 0)
    assert sorted(instances.random_refinement(rng, 3, 1, 3)[2]) == [0, 1, 2]
    for bad in (0, 4):
        with pytest.raises(ValueError, match="n_coarse is"):
            instances.random_refinement(rng, 3, 1, bad)


def test_values_of_random_instances_are_tenths_up_to_five() -> None:
    seen = []

    def measure(market, values):
        seen.append(values)
        return 0

    found = instances.count_changes(measure, instances=120)
    assert (found.falls, found.ties, found.rises) == (0, 120, 0)
    assert len(seen) == 240
    assert {len(values) for values in seen} == {3}
    assert {10 * v for values in seen for v in values} == set(range(1, 51))
    seen.clear()
    instances.count_changes(measure, n_bidders=2, instances=1)
    assert [len(values) for values in seen] == [2, 2]


def test_columns_and_pairs_have_one_length() -> None:
    with pytest.raises(ValueError, match="zip"):
        constructions._columns("1 2", "1")
    with pytest.raises(ValueError, match="zip"):
        constructions._pair("tcpa", (1, 2), (None,))


def test_every_bidder_has_its_column() -> None:
    one = constructions.replace(constructions.B4, bidders=constructions.B4.bidders[:1])
    with pytest.raises(ValueError, match="zip"):
        constructions.with_idle_budgets(one)
    three = constructions.Market.exact([1], [["1/2", "1/4", "1/8"]])
    with pytest.raises(ValueError, match="zip"):
        ceilings.shutout_welfare(three, (1, 2))
