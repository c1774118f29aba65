"""The four constructions and our examples: golden numbers, exact."""

from fractions import Fraction

import pytest

from lib.autobidding.bidders import Bidder, multipliers_of
from lib.autobidding.equilibrium import best_response
from lib.autobidding.market import Market, check_refinement
from lib.autobidding.mechanism import outcome
from lib.autobidding.study.constructions import (
    B1,
    B2,
    B3,
    B4,
    BEST_SELECTION,
    BUDGET_EXAMPLE,
    BUDGET_REVENUE,
    PAPER,
    SPLIT,
    UNIQUE_BINDING,
    as_row_one,
    binding_multipliers,
    budget_family,
    with_idle_budgets,
)

MODELS = ("coarse", "fine")


def Q(*texts):  # noqa: N802 - a field of numbers
    return tuple(Fraction(t) for t in texts)


@pytest.mark.parametrize(
    "construction", [*PAPER, SPLIT, BUDGET_EXAMPLE, BUDGET_REVENUE, BEST_SELECTION, UNIQUE_BINDING]
)
def test_every_construction_is_a_refinement(construction):
    check_refinement(construction.coarse, construction.fine, construction.labels)


def test_revenue_with_a_budget_falls_in_every_equilibrium():
    """By hand: coarse at least 1.9 * 51/100 + 1.01 * (1.9 / 2.02), fine at most 1 + 539/1000."""
    found = {m: BUDGET_REVENUE.equilibria(m, undominated=False) for m in MODELS}
    assert [{c.allocation for c in cells} for cells in found.values()] == [
        {(0, 1, 0)},
        {(0, 0, 1, 1)},
    ]
    assert min(c.revenue[0] for c in found["coarse"]) == Fraction(1919, 1000)
    assert max(c.revenue[1] for c in found["fine"]) == Fraction(1539, 1000)
    # No bid of bidder 2 below its target: then the coarse model collects 979 + 1000 thousandths.
    assert min(c.revenue[0] for c in BUDGET_REVENUE.equilibria("coarse")) == Fraction(1979, 1000)
    assert BUDGET_REVENUE.goals("coarse") == Q("100/51", "1")
    assert BUDGET_REVENUE.goals("fine") == Q("1", "1")
    assert all(BUDGET_REVENUE.check(model).holds for model in MODELS)


@pytest.mark.parametrize(
    ("construction", "model", "goals", "metric", "value"),
    [
        (B1, "coarse", Q("73/2", "125/19"), "revenue", "323/100"),
        (B1, "coarse", Q("73/2", "125/19"), "welfare", "323/100"),
        (B1, "fine", Q("103/7", "25"), "revenue", "303/100"),
        (B1, "fine", Q("103/7", "25"), "welfare", "303/100"),
        (B2, "coarse", Q("637/223", "831/500"), "revenue", "2763379/500000"),
        (B2, "coarse", Q("637/223", "831/500"), "liquid_welfare", "2763379/500000"),
        (B2, "fine", Q("455/233", "831/500"), "revenue", "45977/10000"),
        (B2, "fine", Q("455/233", "831/500"), "liquid_welfare", "45977/10000"),
        (B3, "coarse", Q("10", "8"), "revenue", "12/5"),
        (B3, "fine", Q("10", "8"), "revenue", "7/5"),
        (B3, "coarse", Q("10", "8"), "welfare", "4"),
        (B3, "fine", Q("10", "8"), "welfare", "5"),
        (B4, "coarse", Q("680/181", "10"), "revenue", "17/25"),
        (B4, "coarse", Q("680/181", "10"), "welfare", "543/5"),
        (B4, "fine", Q("1", "1"), "revenue", "23/100"),
        (B4, "fine", Q("1", "1"), "welfare", "217/2"),
        (BUDGET_EXAMPLE, "coarse", Q("2", "1"), "liquid_welfare", "201/100"),
        (BUDGET_EXAMPLE, "fine", Q("1", "1"), "liquid_welfare", "38/25"),
        (BUDGET_EXAMPLE, "coarse", Q("2", "1"), "welfare", "351/100"),
        (BUDGET_EXAMPLE, "fine", Q("1", "1"), "welfare", "138/25"),
        (UNIQUE_BINDING, "coarse", Q("350/201", "600/53"), "welfare", "19/20"),
        (UNIQUE_BINDING, "fine", Q("50", "800/353"), "welfare", "17/20"),
    ],
)
def test_golden_profiles(construction, model, goals, metric, value):
    assert construction.goals(model) == goals
    assert construction.outcome(model).metric(metric) == Fraction(value)


@pytest.mark.parametrize("construction", [B1, B2, B3, BUDGET_EXAMPLE, UNIQUE_BINDING])
@pytest.mark.parametrize("model", MODELS)
def test_designated_profiles_are_equilibria(construction, model):
    assert construction.check(model)


def test_all_cells_of_b1():
    coarse, fine = (B1.equilibria(model) for model in MODELS)
    assert [c.allocation for c in coarse] == [(0, 1), (0, 0)]
    assert [c.welfare for c in coarse] == [*Q("323/100", "27/10")]
    assert [c.allocation for c in fine] == [(0, 1, 1, 1), (0, 0, 0, 1), (0, 0, 0, 0)]
    assert [c.welfare for c in fine] == [*Q("303/100", "33/10", "27/10")]
    ends = [float(end) for c in (*coarse, *fine) for end in c.revenue]
    golden = [1.124, 3.23, 1.11, 2.70, 2.227, 3.03, 1.164, 3.30, 1.11, 2.70]
    assert ends == pytest.approx(golden, abs=5e-4)
    assert [c.binding for c in fine] == [Q("103/7", "25"), Q("70", "260/41"), None]
    assert all(c.has_interior for c in (*coarse, *fine))
    assert B1.check("fine", Q("69", "6.3"))


def test_no_equilibrium_of_b1_on_a_grid_lies_outside_the_cells():
    found = 0
    for model in MODELS:
        cells = B1.equilibria(model)
        for a in range(10, 130, 8):
            for b in (1 + Fraction(3 * k, 2) for k in range(17)):
                if B1.check(model, (Fraction(a), b)):
                    found += 1
                    assert any(cell.contains((a, b)) for cell in cells)
    assert found > 20


def test_sold_as_in_row_one_nothing_is_lost():
    assert [as_row_one(c).change("revenue") for c in PAPER] == [
        *Q("7/323", "589251/7190746", "1/4", "0")
    ]
    for construction in PAPER:
        sold = as_row_one(construction)
        assert sold.fine is construction.fine
        assert sold.goals("coarse") == sold.goals("fine")
        assert sold.goals("fine") == tuple(b.value for b in construction.bidders)
        for model in MODELS:
            assert sold.check(model)
            assert sold.outcome(model).revenue == sold.outcome(model).welfare


def test_printed_decimals_are_infeasible():
    """6.579 exceeds 125/19 and 1.9528 exceeds 455/233; the fractions are exactly feasible."""
    printed = B1.outcome("coarse", Q("36.5", "6.579"))
    assert printed.within_target.tolist() == [False, True]
    assert B1.check("coarse", Q("36.5", "6.579")).witness.bidder == 0
    assert B1.outcome("coarse").feasible
    printed = B2.outcome("fine", Q("1.9528", "1.662"))
    assert printed.within_budget.tolist() == [False, True]
    exact = B2.outcome("fine")
    assert exact.spend[0] == B2.bidders[0].budget
    assert exact.feasible


def test_b2_has_one_allocation_and_overlapping_revenue():
    coarse, fine = (B2.equilibria(model, undominated=False) for model in MODELS)
    assert [c.allocation for c in coarse] == [(1, 0)]
    assert [c.allocation for c in fine] == [(0, 1, 0, 0)]
    ends = [float(end) for c in (*coarse, *fine) for end in c.revenue]
    assert ends == pytest.approx([2.617, 5.527, 3.039, 4.598], abs=1e-3)
    assert [float(c.welfare) for c in (*coarse, *fine)] == pytest.approx([12.013, 15.560], abs=1e-3)


def test_b4_has_no_pure_equilibrium_in_its_fine_model():
    assert [c.allocation for c in B4.equilibria("coarse")] == [(0,)]
    assert B4.equilibria("fine", undominated=False) == []
    multipliers = multipliers_of(B4.bidders, B4.goals("fine"))
    regrets = [best_response(B4.fine, B4.bidders, multipliers, i, B4.rule).regret for i in (0, 1)]
    assert regrets == [*Q("0.162", "0.049")]
    assert regrets[0] / B4.outcome("fine").spend[0] == Fraction(9, 10)
    values = B4.fine.predictions[1] * [b.value for b in B4.bidders]
    assert values.tolist() == [6, 5]
    assert B4.outcome("fine").winners[1] == 1  # not the one that values L more


def test_idle_budgets_change_nothing():
    rich = with_idle_budgets(B4)
    for model in MODELS:
        assert rich.outcome(model).liquid_welfare == B4.outcome(model).welfare
        assert rich.outcome(model).feasible
        assert len(rich.equilibria(model)) == len(B4.equilibria(model))


def test_split_market_loses_all_revenue():
    assert {c.revenue for c in SPLIT.equilibria("coarse")} == {Q("1", "1")}
    assert {c.revenue for c in SPLIT.equilibria("fine")} == {Q("0", "0")}
    assert {c.welfare for c in SPLIT.equilibria("coarse")} == {1}
    assert {c.welfare for c in SPLIT.equilibria("fine")} == {2}
    truthful = [Bidder("maxcpa", 1)] * 2
    assert [outcome(m, truthful, [1, 1]).revenue for m in (SPLIT.coarse, SPLIT.fine)] == [1, 0]


def test_budget_example_and_family():
    losses = []
    for step in ("1/4", "1/10", "1/100", "1/1000"):
        example = budget_family(step)
        found = [example.equilibria(model, undominated=False) for model in MODELS]
        assert [len(f) for f in found] == [1, 1]
        before, after = (f[0].liquid_welfare for f in found)
        losses.append(1 - after / before)
    assert losses == sorted(losses)
    assert losses[2] == Fraction(49, 201)
    assert Fraction(1, 4) - losses[3] < Fraction(1, 1000)
    with pytest.raises(ValueError, match="step is 0"):
        budget_family(0)


def test_best_equilibrium_gets_worse():
    best = [max(c.welfare for c in BEST_SELECTION.equilibria(model)) for model in MODELS]
    assert best == [*Q("12/5", "23/10")]


def test_unique_binding_is_unique():
    for model in MODELS:
        assert sum(c.binding is not None for c in UNIQUE_BINDING.equilibria(model)) == 1
    assert all(c.has_interior for m in MODELS for c in UNIQUE_BINDING.equilibria(m))


def test_product_of_averages_is_not_calibrated():
    """One bidder, ctr (1, 0) and cvr (0, 1): the product of means is 1/4, of each user 0."""
    ctr, cvr = Q("1", "0"), Q("0", "1")
    product = sum(ctr) / 2 * (sum(cvr) / 2)
    users = [a * b for a, b in zip(ctr, cvr, strict=True)]
    bidder = [Bidder("tcpa", 1)]
    coarse = Market.exact([1], [[product]])
    fine = Market.exact(["1/2", "1/2"], [[u] for u in users])
    revenue = [outcome(m, bidder, [1], "first").revenue for m in (coarse, fine)]
    assert revenue == [Fraction(1, 4), 0]
    with pytest.raises(ValueError, match="coarse cluster 0, bidder 0"):
        check_refinement(coarse, fine, [0, 0])


def test_bad_input():
    with pytest.raises(ValueError, match="model is 'finer'"):
        B1.goals("finer")
    with pytest.raises(ValueError, match="designates no fine allocation"):
        BEST_SELECTION.goals("fine")
    with pytest.raises(ValueError, match="bidder 1 has 0 conversions"):
        binding_multipliers(B1.fine, B1.bidders, [0, 0, 0, 0])
