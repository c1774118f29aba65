"""Sampled constants, scenarios and Sobol indices."""

import numpy as np
import pytest

from lib.compute_governance.hardware import CHIPS, Node
from lib.compute_governance.planner import FLAT, PIPELINE, Assumptions, plan
from lib.compute_governance.uncertainty import (
    INPUTS,
    RANGES,
    again,
    draw,
    one_draw,
    sampled_cost,
    scenario_moves,
    sobol_indices,
    spread,
)

GH200 = Node(CHIPS["GH200"], 16, "FP8")
PLAN = plan(GH200, 34, 160e9, FLAT)


def test_draws_come_from_the_seed_and_stay_in_range():
    first, second = (draw(50, np.random.default_rng(7)) for _ in range(2))
    assert (first.mfu == second.mfu).all()
    assert (first.law.B == second.law.B).all()
    low, high = RANGES["mfu"]
    assert low <= first.mfu.min() <= first.mfu.max() <= high


def test_a_single_draw_is_one_of_the_sample():
    sampled = draw(5, np.random.default_rng(1))
    together = again(PLAN, sampled).c_quality
    alone = [again(PLAN, one_draw(sampled, i)).value("c_quality") for i in range(5)]
    assert together == pytest.approx(alone)


def test_again_with_the_same_constants_changes_nothing():
    assert again(PLAN, Assumptions()).value("c_local") == PLAN.value("c_local")


def test_sampled_cost_is_infinite_where_nothing_reaches_the_target():
    sampled = draw(3, np.random.default_rng(2))
    assert np.isinf(sampled_cost(1e29, [GH200], sampled, 3)).all()
    costs = sampled_cost(3e24, [GH200], sampled, 3)
    assert np.isfinite(costs).all()
    assert (costs <= sampled_cost(3e24, [GH200], sampled, 3, search="author") * (1 + 1e-12)).all()


def test_scenarios_also_touch_the_stage_boundaries():
    piped = plan(GH200, 40, 325e9, PIPELINE)
    moves = scenario_moves([PLAN, piped]).set_index("plan")
    flat, pipe = moves.iloc[0], moves.iloc[1]
    assert flat["conservative"] == pytest.approx(flat["conservative, gradients"])
    assert pipe["conservative"] < pipe["conservative, gradients"] < 0 <= flat["optimistic"]


def test_sobol_indices_see_what_the_model_uses():
    found = sobol_indices(PLAN, "c_quality", 128, seed=1)
    assert found.table.index.tolist() == list(INPUTS)
    assert found.table.loc["unused", "total"] == 0
    assert found.leader == "exponents"
    again_ = sobol_indices(PLAN, "c_quality", 128, seed=1)
    assert found.table.equals(again_.table)
    with pytest.raises(ValueError, match="samples is 100"):
        sobol_indices(PLAN, "c_quality", 100, seed=1)


def test_spread():
    assert spread(np.arange(101)) == (5.0, 50.0, 95.0)
