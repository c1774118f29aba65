"""Sampled constants, scenarios and Sobol indices."""

from dataclasses import replace

import numpy as np
import pytest

from lib.compute_governance.hardware import CHIPS, Node
from lib.compute_governance.planner import (
    FLAT,
    PIPELINE,
    Assumptions,
    InfeasibleError,
    Network,
    branch_search,
    plan,
)
from lib.compute_governance.study.searches import exhaustive_search
from lib.compute_governance.study.uncertainty import (
    INPUTS,
    RANGES,
    again,
    by_laws,
    draw,
    laws,
    one_draw,
    reached,
    sampled_cost,
    scenario_moves,
    shrunk,
    sobol_indices,
    spread,
    sure_cost,
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


def test_laws_are_drawn_as_a_whole():
    known = laws(40, seed=1)
    drawn = draw(500, np.random.default_rng(0), known)
    pairs = {(float(a), float(b)) for a, b in zip(known.alpha, known.A, strict=True)}
    assert {
        (float(a), float(b)) for a, b in zip(drawn.law.alpha, drawn.law.A, strict=True)
    } <= pairs


def test_again_keeps_the_network_and_the_interval():
    """At 1 Gbit/s H is 2; with the network dropped it would be 19."""
    fast = branch_search(1e25, [GH200], network=Network.mbps(1_000))
    assert again(fast, Assumptions()).value("h") == fast.value("h") == 2
    fixed = plan(GH200, 34, 160e9, every=50)
    assert again(fixed, Assumptions(mfu=0.3)).value("h") == 50


def test_shrunk_errors():
    sampled = draw(200, np.random.default_rng(0))
    calm = shrunk(sampled, 100.0)
    assert calm.mfu - 0.4 == pytest.approx((sampled.mfu - 0.4) / 100)
    assert np.ptp(calm.law.alpha) == pytest.approx(np.ptp(sampled.law.alpha) / 100)
    with pytest.raises(ValueError, match=r"times is 0\.5"):
        shrunk(sampled, 0.5)


def test_a_sure_plan_reaches_its_target_and_costs_more():
    sampled = draw(400, np.random.default_rng(3), laws(40, seed=1))
    margin, found = sure_cost(3e24, [GH200], sampled)
    assert (reached(found, sampled, "c_local") >= 3e24).mean() >= 0.95
    less = branch_search(3e24 * margin / 1.04, [GH200])
    assert (reached(less, sampled, "c_local") >= 3e24).mean() < 0.95
    assert 1.1 < margin < 2.0
    assert found.value("cost_usd") > branch_search(3e24, [GH200]).value("cost_usd")
    with pytest.raises(ValueError, match="confidence is 95"):
        sure_cost(3e24, [GH200], sampled, confidence=95)


def test_what_is_not_admissible_is_not_reached():
    """Half as much speed again trains on half as many tokens again, and breaks the bound."""
    bound = Assumptions(mfu=np.array([0.4, 0.6]), overtraining=(1.0, 10.0))
    one = plan(GH200, 45, 160e9)
    there = again(one, bound)
    assert there.admissible.tolist() == [True, False]
    assert reached(one, bound, "c_local").tolist() == [there.c_local[0], 0.0]


def test_no_margin_is_said_and_not_guessed():
    """Hardly any draw is within so narrow a bound on overtraining."""
    sampled = draw(50, np.random.default_rng(3))
    with pytest.raises(InfeasibleError, match="no margin up to 8 reaches"):
        sure_cost(1e24, [GH200], replace(sampled, overtraining=(1.0, 1.0001)))


def test_draws_are_resampled_by_their_laws():
    law = laws(5, seed=1)
    sampled = draw(300, np.random.default_rng(0), law)
    picks = by_laws(sampled, 20, np.random.default_rng(1))
    assert len(picks) == 20
    size = {e: int((e == sampled.law.E).sum()) for e in set(sampled.law.E.tolist())}
    for index in picks:
        drawn = sampled.law.E[index].tolist()
        # Whole laws: each as often as a multiple of the draws that have it.
        assert all(drawn.count(e) % size[e] == 0 for e in set(drawn))
        assert sum(drawn.count(e) // size[e] for e in set(drawn)) == 5
    assert len({len(index) for index in picks}) > 1


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
    assert moves["expected"].tolist() == moves["expected, gradients"].tolist() == [0.0, 0.0]
    assert flat["conservative"] == pytest.approx(flat["conservative, gradients"])
    assert pipe["conservative"] < pipe["conservative, gradients"] < 0 <= flat["optimistic"]


def test_sobol_indices_see_what_the_model_uses():
    found = sobol_indices(PLAN, "c_quality", 128, seed=1)
    assert found.table.index.tolist() == list(INPUTS)
    assert found.table.loc["unused", "total"] == 0
    assert found.leader == "law"
    assert found.evaluations == 128 * (len(INPUTS) + 2)
    plain = sobol_indices(PLAN, "c_quality", 128, seed=1, law=laws(40, seed=1))
    assert plain.table.loc["law", "total"] < found.table.loc["law", "total"]
    again_ = sobol_indices(PLAN, "c_quality", 128, seed=1)
    assert found.table.equals(again_.table)
    with pytest.raises(ValueError, match="samples is 100"):
        sobol_indices(PLAN, "c_quality", 100, seed=1)


def test_sobol_indices_are_of_the_logarithm():
    """C is proportional to the speed, so with the rest fixed its share is all of the variance."""
    from lib.compute_governance.study import uncertainty

    kept = dict(uncertainty.RANGES)
    try:
        for key in ("alpha_base", "replica_scale", "quality_shift"):
            middle = sum(kept[key]) / 2
            uncertainty.RANGES[key] = (middle, middle + 1e-9)
        one = laws(2, seed=1)
        law = type(one)(*(np.full(2, v[0]) for v in (one.E, one.A, one.alpha, one.B, one.beta)))
        found = sobol_indices(plan(GH200, 2, 160e9), "c_local", 512, seed=1, law=law).table
    finally:
        uncertainty.RANGES.update(kept)
    assert found.loc["mfu", "first"] == pytest.approx(1.0, abs=0.05)


def test_spread():
    assert spread(np.arange(101)) == (5.0, 50.0, 95.0)


def test_laws_by_series_are_wider_than_by_chance():
    kept = {by: laws(30, by, seed=1).beta.std() for by in ("family", "shuffled family")}
    assert kept["family"] > 1.2 * kept["shuffled family"]
    with pytest.raises(ValueError, match="by is 'families'"):
        laws(30, "families")


def test_the_search_also_finds_the_cheapest_under_laws_that_the_proof_leaves_out():
    """Their best ratio of tokens to parameters is above the reference, where χ is cut off."""
    sampled = draw(40, np.random.default_rng(3))
    params, tokens = sampled.law.allocate(1e25, "exact")
    outside = np.flatnonzero(tokens / params > Assumptions().ratio)
    assert len(outside) >= 3
    for index in outside[:3].tolist():
        law = one_draw(sampled, index)
        for metric in ("c_local", "c_quality"):
            found = branch_search(1e24, [GH200], metric=metric, assumptions=law)
            full = exhaustive_search(1e24, [GH200], limit=40, metric=metric, assumptions=law)
            assert found.value("cost_usd") == full.value("cost_usd")
