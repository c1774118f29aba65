"""Exposure, hazards, inspections and predictive value."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.compute_governance import propositions
from lib.compute_governance.detection import (
    CHANNELS,
    PRIORS,
    Rates,
    draw_rates,
    hazards,
    inspection_sample,
    median_rates,
    p_detect,
    p_inspection,
    predictive_value,
    simulate_detection,
)
from lib.compute_governance.exposure import Exposure, cost_curves, exposure, frontier
from lib.compute_governance.hardware import CHIPS, Node
from lib.compute_governance.planner import branch_search, plan

H100 = Node(CHIPS["H100"], 16, "FP8")
SEEN = Exposure(sites=36, people=38, chips=576, usd=2.9e7, years=2.0)
PROBABILITY = st.floats(0.001, 0.999)


def test_exposure_of_a_plan():
    seen = exposure(plan(H100, 4, 91e9), staff_a_site=2.0, core=10.0)
    assert (seen.sites, seen.people, seen.chips) == (4, 18, 64)
    assert seen.node_days == pytest.approx(4 * 740)


@pytest.mark.parametrize("key", ["sites", "people", "chips", "usd", "years"])
def test_more_exposure_is_never_noticed_less(key):
    rates = draw_rates(200, np.random.default_rng(1))
    more = Exposure(**{**vars(SEEN), key: 3 * getattr(SEEN, key)})
    assert (p_detect(hazards(more, rates)) >= p_detect(hazards(SEEN, rates))).all()


def test_priors_are_wide_and_draws_stay_inside():
    rates = draw_rates(1_000, np.random.default_rng(0))
    for name, prior in PRIORS.items():
        values = getattr(rates, name)
        assert prior.low <= values.min() <= values.max() <= prior.high
        assert not prior.log or prior.high / prior.low >= 100
    assert hazards(SEEN, rates).shape == (1_000, len(CHANNELS))


@given(st.lists(st.floats(0, 5), min_size=1, max_size=6), st.floats(0.01, 5))
def test_a_shared_factor_only_lowers_the_probability(row, theta):
    alone, shared = p_detect(row), p_detect(row, frailty=theta)
    assert 0 <= shared <= alone + 1e-12 <= 1 + 1e-12
    assert p_detect(row, frailty=1e-9) == pytest.approx(float(alone), abs=1e-6)


@pytest.mark.parametrize("theta", [0.0, 0.5, 2.0])
def test_simulation_matches_the_closed_forms(theta):
    hazard = np.array([0.1, 0.4, 0.05, 0.2])
    share, error = simulate_detection(hazard, 100_000, np.random.default_rng(4), frailty=theta)
    assert abs(share - p_detect(hazard, frailty=theta)) < 4 * error


@pytest.mark.parametrize("population", [1, 2, 5, 7])
def test_inspection_by_enumeration(population):
    assert propositions.inspection_agrees(population)


@given(st.integers(1, 200), st.data())
def test_inspection_grows(population, data):
    hidden = data.draw(st.integers(0, population))
    inspected = data.draw(st.integers(0, population - 1))
    now = p_inspection(population, hidden, inspected)
    assert 0 <= now <= p_inspection(population, hidden, inspected + 1) <= 1
    assert p_inspection(population, inspected, hidden) == now  # the two samples may be swapped


@given(st.integers(2, 300), st.data(), st.floats(0.05, 0.99))
def test_the_sample_size_is_the_smallest(population, data, confidence):
    hidden = data.draw(st.integers(1, population))
    n = inspection_sample(population, hidden, confidence)
    assert p_inspection(population, hidden, n) >= confidence
    assert n == 1 or p_inspection(population, hidden, n - 1) < confidence


@given(PROBABILITY, PROBABILITY, PROBABILITY)
def test_predictive_value_is_below_its_bound(prevalence, sensitivity, specificity):
    odds = sensitivity / (1 - specificity) * prevalence / (1 - prevalence)
    found = float(predictive_value(prevalence, sensitivity, specificity))
    assert found <= min(1.0, odds) + 1e-12
    assert found == pytest.approx(odds / (1 + odds))


def test_the_frontier_only_gets_dearer_as_rules_tighten():
    table = frontier(3e24, [H100, Node(CHIPS["GH200"], 16, "FP8")], (16.0, 4.0), (None, 400.0))
    cost = table.set_index(["h100_eq", "mem_gb"])["cost_usd"].unstack()
    assert (cost[np.inf] <= cost[400.0]).all()
    assert (cost.loc[16.0] <= cost.loc[4.0]).all()
    assert table["efficient"].any()
    for _, row in table[table["efficient"]].iterrows():
        other = (table["cost_usd"] > row["cost_usd"]) & (table["burden"] <= row["burden"])
        assert not other.any()


def test_a_frontier_without_plans_says_so():
    table = frontier(1e29, [H100], (16.0,), (None,))
    assert np.isinf(table["cost_usd"]).all()
    assert table["plan"].tolist() == ["none"]


def test_cost_curves_leave_out_what_cannot_be_reached():
    table = cost_curves([1e24, 1e29], [H100], [16.0], [100.0], ["c_local"])
    assert table["target"].tolist() == [1e24]
    assert table["cost_usd"].iloc[0] == branch_search(1e24, [H100]).value("cost_usd")


def test_bad_input():
    with pytest.raises(ValueError, match="sites is 0"):
        Exposure(0, 1, 1, 1, 1)
    with pytest.raises(ValueError, match="leak must be"):
        Rates(-1.0, 0.1, 0.5, 0.1, 9.0, 3.0)
    with pytest.raises(ValueError, match="notice is a probability"):
        Rates(0.1, 0.1, 1.5, 0.1, 9.0, 3.0)
    with pytest.raises(ValueError, match="hazards must be"):
        p_detect([-1.0])
    with pytest.raises(ValueError, match="frailty is"):
        p_detect([1.0], frailty=-1.0)
    with pytest.raises(ValueError, match="runs is 1"):
        simulate_detection([0.1], 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="one row"):
        simulate_detection([[0.1]], 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="hidden 5"):
        p_inspection(4, 5, 1)
    with pytest.raises(ValueError, match="confidence is 1"):
        inspection_sample(4, 1, 1.0)
    with pytest.raises(ValueError, match="hidden is 0"):
        inspection_sample(4, 0, 0.5)
    with pytest.raises(ValueError, match="prevalence is"):
        predictive_value(0.0, 0.5, 0.5)
    with pytest.raises(ValueError, match="n is 0"):
        draw_rates(0, np.random.default_rng(0))
    assert p_inspection(4, 2, 2) == Fraction(5, 6)
    assert float(hazards(SEEN, median_rates()).sum()) > 0
