"""The scaling law: allocation, effective compute, amplification, samples."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from lib.compute_governance.oracle import bisected_compute
from lib.compute_governance.planner import Assumptions
from lib.compute_governance.scaling import FIT, Chinchilla

BUDGETS = st.floats(20.0, 30.0).map(lambda x: 10.0**x)


@given(BUDGETS, st.floats(1.0, 1.2))
def test_effective_compute_is_what_bisection_finds(flop, multiplier):
    loss = float(FIT.loss(*FIT.allocate(flop))) * multiplier
    ours = float(FIT.effective_compute(loss))
    assert ours == pytest.approx(bisected_compute(loss, 10 * flop, Assumptions()), rel=1e-9)


@given(BUDGETS)
def test_effective_compute_inverts_the_reference_allocation(flop):
    loss = FIT.loss(*FIT.allocate(flop))
    assert float(FIT.effective_compute(loss)) == pytest.approx(flop, rel=1e-9)


@pytest.mark.parametrize("flop", [1e21, 1e24, 1e27])
def test_exact_allocation_is_the_minimum(flop):
    def loss(log_size):
        return float(FIT.loss(np.exp(log_size), flop / (6 * np.exp(log_size))))

    found = optimize.minimize_scalar(loss, bounds=(10, 40), method="bounded")
    params, tokens = FIT.allocate(flop, "exact")
    assert np.log(float(params)) == pytest.approx(found.x, abs=1e-3)
    assert float(6 * params * tokens) == pytest.approx(flop)
    assert loss(np.log(float(params))) <= float(FIT.loss(*FIT.allocate(flop)))


@given(BUDGETS)
def test_amplification_is_the_slope(flop):
    loss = float(FIT.loss(*FIT.allocate(flop)))
    step = 1e-5
    up, down = (np.log(FIT.effective_compute(loss * np.exp(s))) for s in (step, -step))
    assert float(FIT.amplification(loss)) == pytest.approx(float(up - down) / (2 * step), rel=1e-3)


def test_samples_are_arrays_of_laws():
    drawn = FIT.sample(500, np.random.default_rng(0))
    assert drawn.loss(1e10, 1e12).shape == (500,)
    assert np.all(drawn.B > 0)
    tied = FIT.sample(500, np.random.default_rng(0), ridge=True)
    spread = [np.ptp(law.loss(1e10, 2.56e11) - law.E) for law in (drawn, tied)]
    assert spread[1] < 1e-9 < spread[0]


def test_samples_come_from_the_seed():
    first, again = (FIT.sample(5, np.random.default_rng(3)).alpha for _ in range(2))
    assert (first == again).all()


def test_bad_input():
    with pytest.raises(ValueError, match="floor E"):
        FIT.effective_compute(1.0)
    with pytest.raises(ValueError, match="positive budget"):
        FIT.allocate(-1.0)
    with pytest.raises(ValueError, match="rule is 'best'"):
        FIT.allocate(1e24, "best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be positive"):
        FIT.loss(0.0, 1.0)
    with pytest.raises(ValueError, match="beta is"):
        replace(FIT, beta=np.nan)
    with pytest.raises(ValueError, match="n is 0"):
        FIT.sample(0, np.random.default_rng(0))
    assert isinstance(FIT, Chinchilla)
