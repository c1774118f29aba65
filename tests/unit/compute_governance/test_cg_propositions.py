"""The checks behind the theory page, and that they can fail."""

import cg_propositions as props
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.compute_governance.hardware import CHIPS, Node
from lib.compute_governance.planner import Network
from lib.compute_governance.scaling import FIT
from lib.compute_governance.study.searches import bisect_first

GH200 = Node(CHIPS["GH200"], 16, "FP8")


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_bisection_is_right_exactly_when_no_probe_deceives(flags):
    feasible = np.array(flags)
    first = int(np.argmax(feasible)) if feasible.any() else None
    assert (bisect_first(feasible)[0] == first) == props.bisection_is_right(feasible)


def test_an_island_is_missed():
    feasible = np.array([False, True, False, False, False, False, True, True])
    assert bisect_first(feasible)[0] == 6
    assert not props.bisection_is_right(feasible)
    assert bisect_first(np.array([], dtype=bool)) == (None, [-1])


def test_interval_depends_on_latency_only():
    assert props.interval_spread(GH200, 8, Network(latency_s=0.0)) < 1e-12
    assert props.interval_spread(GH200, 8, Network()) > 0.01


def test_replica_share():
    assert props.replica_violations(np.linspace(1, 1.3, 7)) == 0
    assert props.replica_violations([0.999, 1.0]) > 0


def test_amplification():
    assert props.amplification_error() < 1e-6
    assert props.amplification_error(lambda x, law: props.amplification(x) * (x - law.E) / x) > 0.1


def test_efficiency_never_rises_within_the_limits():
    assert props.efficiency_rises() == {"c_local": 0, "c_quality": 0}


def test_smaller_nodes():
    split = props.smaller_nodes(CHIPS["GH200"], (2, 4, 8), 32, 5e9, "FP8")
    assert np.ptp(split["product"]) == 0
    assert (np.diff(split["h"]) >= 0).all()
    with pytest.raises(ValueError, match="must divide"):
        props.smaller_nodes(CHIPS["GH200"], (3,), 32, 5e9)


def test_predictive_value_bound():
    assert props.ppv_within_bound([0.1, 0.5, 0.9])


@pytest.mark.parametrize("population", range(1, 8))
def test_inspection_by_enumeration(population):
    assert props.inspection_agrees(population)


def test_bisection_of_random_sets():
    trials = props.bisection_trials(2_000, 64, np.random.default_rng(20_260_525))
    assert trials["misses_upset"] == trials["disagree"] == 0 < trials["misses_any"]


def test_reference_allocation_loses_little():
    budgets = np.array([1e23, 1e24, 1e25, 1e26])
    gap = FIT.loss(*FIT.allocate(budgets)) - FIT.loss(*FIT.allocate(budgets, "exact"))
    assert 1e-4 < gap.max() < 3e-4
