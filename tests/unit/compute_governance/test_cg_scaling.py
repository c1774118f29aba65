"""The scaling law: allocation, effective compute, amplification, samples."""

from dataclasses import replace

import numpy as np
import pytest
from cg_oracle import bisected_compute
from cg_propositions import amplification
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from lib.compute_governance.planner import Assumptions
from lib.compute_governance.scaling import FIT, Chinchilla
from lib.compute_governance.study.uncertainty import loose_laws

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
    assert float(amplification(np.asarray(loss))) == pytest.approx(
        float(up - down) / (2 * step), rel=1e-3
    )


def test_samples_are_arrays_of_laws_with_the_published_errors():
    drawn = loose_laws(20_000, np.random.default_rng(0))
    assert drawn.loss(1e10, 1e12).shape == (20_000,)
    assert np.all(drawn.B >= FIT.B / 20)
    assert drawn.alpha.std() == pytest.approx(0.02, rel=0.02)
    assert drawn.E.mean() == pytest.approx(FIT.E, abs=1e-3)
    assert abs(np.corrcoef(np.log(drawn.A), drawn.alpha)[0, 1]) < 0.03
    assert drawn.take(3).alpha == drawn.alpha[3]
    assert FIT.take([0, 1]) == FIT


def test_samples_come_from_the_seed():
    first, again = (loose_laws(5, np.random.default_rng(3)).alpha for _ in range(2))
    assert (first == again).all()


def test_bad_input():
    with pytest.raises(ValueError, match="floor E"):
        FIT.effective_compute(1.0)
    for bad in (np.inf, np.nan):
        with pytest.raises(ValueError, match=f"loss is {bad}"):
            FIT.effective_compute(bad)
    with pytest.raises(ValueError, match=r"loss is 1\.8172 at least, expected above the floor E"):
        FIT.effective_compute([2.0, FIT.E])
    with pytest.raises(ValueError, match=r"flop is -1\.0"):
        FIT.allocate(-1.0)
    with pytest.raises(ValueError, match="rule is 'best'"):
        FIT.allocate(1e24, "best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"params is 0\.0"):
        FIT.loss(0.0, 1.0)
    with pytest.raises(ValueError, match="beta is nan"):
        replace(FIT, beta=np.nan)
    with pytest.raises(ValueError, match="n is 0"):
        loose_laws(0, np.random.default_rng(0))
    assert isinstance(FIT, Chinchilla)


def test_values_by_hand():
    assert float(FIT.loss(1e9, 25.6e9)) == pytest.approx(2.49934, abs=1e-5)
    params, tokens = FIT.allocate(6 * 25.6 * 1e20)
    assert (float(params), float(tokens)) == pytest.approx((1e10, 25.6e10))
    assert float(FIT.allocate(600.0, ratio=4.0)[0]) == pytest.approx(5.0)
    loss = FIT.loss(*FIT.allocate(1e24, ratio=100.0))
    assert float(FIT.effective_compute(loss, 100.0)) == pytest.approx(1e24)
