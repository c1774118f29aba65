"""Exposure, hazards, inspections and predictive value."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.compute_governance.detection import (
    CHANNELS,
    Rates,
    hazards,
    inspection_sample,
    p_detect,
    p_inspection,
    predictive_value,
)
from lib.compute_governance.exposure import Exposure, cheapest_under, exposure, frontier
from lib.compute_governance.hardware import CHIPS, Node, catalogue
from lib.compute_governance.planner import Assumptions, branch_search, plan
from lib.compute_governance.regime import LEGITIMATE, SERVERS, Regime
from lib.compute_governance.study.priors import PRIORS, Prior, draw_rates, median_rates
from lib.compute_governance.study.tables import cost_curves

H100 = Node(CHIPS["H100"], 16, "FP8")
GH200 = Node(CHIPS["GH200"], 16, "FP8")
SEEN = Exposure(sites=36, people=38, chips=576, usd=2.9e7, years=2.0)
PROBABILITY = st.floats(0.001, 0.999)


def test_exposure_of_a_plan():
    seen = exposure(plan(H100, 4, 91e9), staff_a_site=2.0, core=10.0)
    assert (seen.sites, seen.people, seen.chips) == (4, 18, 64)
    assert seen.years == pytest.approx(740 / 365.25)
    assert seen.usd == pytest.approx(4 * 16 * 25_000 * 1.64 * 1.23)
    assert exposure(plan(H100, 4, 91e9)).people == 22
    # A run of half the length, said when it was planned and not again.
    short = Assumptions(window_s=370 * 86_400.0)
    assert exposure(plan(H100, 4, 91e9, assumptions=short)).years == pytest.approx(370 / 365.25)


def test_hazards_by_hand():
    rates = Rates(0.01, 0.2, 0.5, 0.001, 7.0, 2.0)
    found = hazards(Exposure(10.0, 30.0, 200.0, 1e8, 2.0), rates)
    assert found == pytest.approx([0.6, 2.0, -400 * math.log1p(-0.001), math.log1p(math.exp(2.0))])
    sure = hazards(SEEN, Rates(0.0, 0.0, 0.0, 1.0, 9.0, 3.0))
    assert np.isfinite(sure).all()
    assert sure[2] > 1_000


@pytest.mark.parametrize("key", ["sites", "people", "chips", "usd", "years"])
def test_more_exposure_is_never_noticed_less(key):
    rates = draw_rates(200, np.random.default_rng(1))
    more = Exposure(**{**vars(SEEN), key: 3 * getattr(SEEN, key)})
    assert (p_detect(hazards(more, rates)) >= p_detect(hazards(SEEN, rates))).all()


def test_priors_are_wide_and_draws_stay_inside():
    assert Prior(1e-4, 1e-2).at([0.0, 0.5, 1.0]) == pytest.approx([1e-4, 1e-3, 1e-2])
    assert Prior(2.0, 4.0, log=False).at(0.25) == 2.5
    assert median_rates().notice == pytest.approx(0.5)
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


def simulated(hazard, theta, runs, rng):
    """Share of runs in which a unit exponential of some channel is below its hazard."""
    factor = rng.gamma(1.0 / theta, theta, runs) if theta else np.ones(runs)
    clocks = rng.exponential(size=(runs, len(hazard)))
    share = float((clocks < factor[:, None] * hazard).any(axis=1).mean())
    return share, math.sqrt(share * (1 - share) / runs)


@pytest.mark.parametrize("theta", [0.0, 0.5, 2.0])
def test_simulation_matches_the_closed_forms(theta):
    hazard = np.array([0.1, 0.4, 0.05, 0.2])
    share, error = simulated(hazard, theta, 100_000, np.random.default_rng(4))
    assert abs(share - p_detect(hazard, frailty=theta)) < 4 * error
    assert abs(share - p_detect(hazard[1:], frailty=theta)) > 4 * error


@given(st.integers(1, 200), st.data())
def test_inspection_grows(population, data):
    hidden = data.draw(st.integers(0, population))
    inspected = data.draw(st.integers(0, population - 1))
    now = p_inspection(population, hidden, inspected)
    assert 0 <= now <= p_inspection(population, hidden, inspected + 1) + 1e-12 <= 1 + 2e-12
    swapped = p_inspection(population, inspected, hidden)
    assert float(swapped) == pytest.approx(float(now), abs=1e-12)


@given(st.integers(2, 300), st.data(), st.floats(0.05, 0.99))
def test_the_sample_size_is_the_smallest(population, data, confidence):
    hidden = data.draw(st.integers(1, population))
    n = inspection_sample(population, hidden, confidence)
    assert p_inspection(population, hidden, n) >= confidence * (1 - 1e-9)
    assert n == 1 or p_inspection(population, hidden, n - 1) < confidence


def test_inspections_by_hand():
    assert float(p_inspection(4, 2, 2)) == pytest.approx(5 / 6)
    assert p_inspection(10, 3, [0, 7, 8]).tolist() == pytest.approx([0.0, 119 / 120, 1.0])
    assert inspection_sample(1_000, 34, 0.95) == 83
    assert inspection_sample(200_000, 36, 0.95) == 15_968
    assert inspection_sample(10, 10, 0.99) == 1
    assert inspection_sample(4, 2, 5 / 6) == 2


@given(PROBABILITY, PROBABILITY, PROBABILITY)
def test_predictive_value_is_below_its_bound(prevalence, sensitivity, specificity):
    odds = sensitivity / (1 - specificity) * prevalence / (1 - prevalence)
    found = float(predictive_value(prevalence, sensitivity, specificity))
    assert found <= min(1.0, odds) + 1e-12
    assert found == pytest.approx(odds / (1 + odds))


NODES = catalogue()


def test_node_size_is_the_planners_choice():
    """The size was forced to the largest, which made a tighter rule look cheaper."""
    rules = [Regime(float(t)) for t in (16, 8, 4, 2, 1)]
    local = [round(p.value("cost_usd") / 1e6, 1) for p in cheapest_under(rules, 1e25, NODES)]
    assert local == [23.7, 23.7, 23.7, 56.3, 56.3]
    quality = cheapest_under(rules, 1e25, NODES, metric="c_quality")
    assert [round(p.value("cost_usd") / 1e6, 1) for p in quality] == [
        *(114.2, 233.2, 248.5, 339.8, 365.7),
    ]


def test_the_answer_for_a_rule_depends_on_no_other():
    together = cheapest_under([Regime(16.0), Regime(2.0), Regime(4.0, 400.0)], 3e24, NODES)
    for rule, found in zip((Regime(16.0), Regime(2.0), Regime(4.0, 400.0)), together, strict=True):
        alone = cheapest_under([rule], 3e24, NODES)[0]
        assert alone.labels() == found.labels()
        best = branch_search(3e24, rule.choices(NODES))
        assert best.value("cost_usd") == found.value("cost_usd")
    whole = frontier(3e24, NODES, (16.0, 4.0), (None,))
    only = frontier(3e24, NODES, (16.0,), (None,))
    assert whole["cost_usd"].iloc[0] == only["cost_usd"].iloc[0]


def test_rules_that_nothing_can_live_with():
    found = cheapest_under([Regime(), Regime(0.1)], 1e24, [H100])
    assert found[0].labels() == ["13x H100 FP8, flat"]
    assert found[1] is None
    assert cheapest_under([Regime()], 1e29, [H100]) == [None]
    assert cheapest_under([Regime(0.01)], 1e24, [H100]) == [None]
    for bad in ([], Regime(), [16.0]):
        with pytest.raises(ValueError, match="expected a list of at least one Regime"):
            cheapest_under(bad, 1e24, [H100])
    for bad in ([], H100, [CHIPS["H100"]]):
        with pytest.raises(ValueError, match="expected a list of at least one Node"):
            cheapest_under([Regime()], 1e24, bad)


def test_the_frontier_by_its_rows():
    systems = (*LEGITIMATE, *SERVERS)
    grid = ((16.0, 4.0), (None, 1_280.0, 640.0))
    table = frontier(1e25, NODES, *grid, metric="c_local", systems=systems)
    assert table["burden"].tolist() == [1, 2, 3, 7, 7, 7]
    assert (table["cost_usd"] / 1e6).round(1).tolist() == [23.7] * 6
    assert table["efficient"].tolist() == [True, *[False] * 5]
    dear = frontier(1e25, NODES, (16.0, 8.0), (None, 640.0), metric="c_quality")
    assert dear["mem_gb"].tolist() == [np.inf, 640.0, np.inf, 640.0]
    assert dear["sites"].tolist() == [165.0, 1100.0, 516.0, 1100.0]
    assert dear["efficient"].tolist() == [False, True, False, True]


def test_a_pair_is_efficient_only_if_no_other_is_better_in_one_and_as_good_in_both():
    """With `or` in place of `and` equal pairs would beat each other."""
    table = frontier(1e24, [H100], (16.0, 15.0), (None,))
    assert table["cost_usd"].nunique() == 1
    assert table["efficient"].all()


def test_a_frontier_under_other_assumptions_and_fewer_sizes():
    """With sites that cost a fortune the largest nodes win; 13 is no power of two."""
    few = frontier(1e24, [H100], (16.0,), (None,), metric="c_local", every=False)
    assert few["plan"].tolist() == ["2x H100 FP8, flat"]
    dear = Assumptions(site_usd=1e9)
    table = frontier(1e24, [H100], (16.0,), (None,), metric="c_local", assumptions=dear)
    assert table["cost_usd"].iloc[0] > 2e9
    assert table["sites"].tolist() == [2.0]


def test_a_threshold_in_other_units_is_refused_before_it_is_searched():
    """15,840 TFLOP/s are 16 H100-equivalents."""
    with pytest.raises(ValueError, match="leaves 31,680 sizes of node; try every=False"):
        Regime(15_840.0).choices([H100, GH200])
    assert len(Regime(15_840.0).choices([H100], every=False)) == 14
    assert len(Regime(64.0).choices([H100, H100])) == 64


def test_a_frontier_without_plans_says_so():
    table = frontier(1e29, [H100], (16.0,), (None,))
    assert np.isinf(table["cost_usd"]).all()
    assert table["plan"].tolist() == ["none"]


def test_cost_curves_leave_out_what_cannot_be_reached():
    rules = [Regime(16.0), Regime(2.0), Regime(16.0, 160.0)]
    table = cost_curves([1e24, 1e29], [H100], rules, [100.0], ["c_local"])
    assert table["target"].tolist() == [1e24] * 3
    assert table["threshold"].tolist() == [16.0, 2.0, 16.0]
    assert table["mem_gb"].tolist() == [np.inf, np.inf, 160.0]
    alone = branch_search(1e24, Regime().choices([H100]))
    assert table["cost_usd"].iloc[0] == alone.value("cost_usd")
    assert table["plan"].iloc[0] == "13x H100 FP8, flat"
    assert table["cost_usd"].iloc[1] == table["cost_usd"].iloc[2]  # two H100 in a node either way
    assert table["cost_usd"].is_monotonic_increasing


def test_bad_input():
    def refused(match, call):
        with pytest.raises(ValueError, match=match):
            call()

    refused("sites is 0", lambda: Exposure(0, 1, 1, 1, 1))
    refused(r"leak is -1\.0", lambda: Rates(-1.0, 0.1, 0.5, 0.1, 9.0, 3.0))
    refused(r"notice is 50\.0, expected a share", lambda: Rates(0.1, 0.1, 50, 0.1, 9.0, 3.0))
    refused(r"audit is 1\.5", lambda: Rates(0.1, 0.1, 0.5, 1.5, 9.0, 3.0))
    refused(r"hazard\[0\] is -1\.0", lambda: p_detect([-1.0]))
    refused(r"frailty is -1\.0", lambda: p_detect([1.0], frailty=-1.0))
    refused(r"hidden is 5", lambda: p_inspection(4, 5, 1))
    refused(r"inspected is 5", lambda: p_inspection(4, 1, 5))
    refused(r"inspected is 1\.5", lambda: p_inspection(4, 1, 1.5))
    refused(r"confidence is 95", lambda: inspection_sample(4, 1, 95))
    refused(r"hidden is 0", lambda: inspection_sample(4, 0, 0.5))
    refused(r"prevalence is 0\.0", lambda: predictive_value(0.0, 0.5, 0.5))
    refused(r"specificity is 99\.9", lambda: predictive_value(0.1, 0.5, 99.9))
    refused("there are no alarms", lambda: predictive_value(0.1, 0.0, 1.0))
    refused(r"sensitivity is 90\.0", lambda: predictive_value(0.1, 90, 0.5))
    refused(r"n is 0", lambda: draw_rates(0, np.random.default_rng(0)))
    refused("thresholds is empty", lambda: frontier(1e24, [H100], [], (None,)))
    for bad in ((), 1280.0, "1280"):
        refused("memories is .*expected a list", lambda m=bad: frontier(1e24, [H100], [16.0], m))
    refused("expected a list of at least one Node", lambda: Regime().choices(H100))
    refused("expected a list of at least one Node", lambda: Regime().allowed(H100))
    refused("staff_a_site is -1", lambda: exposure(plan(H100, 4, 91e9), staff_a_site=-1))
    assert float(predictive_value(0.01, 0.9, 0.95)) == pytest.approx(0.009 / 0.0585)
    assert float(predictive_value(0.1, 1.0, 1.0)) == 1.0
    assert float(predictive_value(0.01, 0.0, 0.9)) == 0.0
