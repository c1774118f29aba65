"""Failures: published goodput, the renewal form and its simulation."""

import numpy as np
import pytest

from lib.compute_governance.reliability import (
    Failures,
    goodput,
    reliability,
    renewal_goodput,
    simulate_restarts,
    tail_coefficient,
)

WINDOW, WRITE = 1.5 * 365.25 * 24, Failures().checkpoint_h(250e9, 16)


@pytest.mark.parametrize(
    ("mode", "percent"),
    [
        ("synchronous", [95.5, 80.0, 9.0]),
        ("checkpoint_elastic", [96.7, 90.4, 75.7]),
        ("async", [99.9, 98.8, 94.2]),
    ],
)
def test_published_goodput(mode, percent):
    found = [round(100 * goodput(mode, g, WINDOW, WRITE), 1) for g in (3_600, 31_250, 200_000)]
    assert found == percent


def test_no_failures_lose_nothing():
    calm = Failures(rate=0.0)
    assert all(
        goodput(mode, 1_000, WINDOW, WRITE, calm) == 1.0
        for mode in ("none", "synchronous", "relay", "async")
    )


def test_effects_of_a_mitigation():
    backup = reliability("backup_workers", 1_000, WINDOW, WRITE)
    assert (backup.cost, backup.kept, backup.goodput) == (1.05, 1.0, 1.0)
    assert reliability("threshold", 1_000, WINDOW, WRITE).kept == 0.85
    assert tail_coefficient("async") == 0.0
    assert tail_coefficient("none") == pytest.approx(0.05)


@pytest.mark.parametrize("rate", [0.05, 1.0, 4.0])
def test_the_renewal_form_is_what_simulation_finds(rate):
    hours = (0.01, 0.2, np.sqrt(0.02 / rate))
    mean, error = simulate_restarts(
        rate, *hours, segments=40_000, rng=np.random.default_rng(int(100 * rate))
    )
    assert abs(mean - renewal_goodput(rate, *hours)) < 4 * error


def test_the_linear_formula_agrees_while_losses_are_small():
    rate, recovery, every = 1e-4, 0.1, 10.0
    linear = 1 - 0.01 / every - rate * (every / 2 + recovery)
    assert renewal_goodput(rate, 0.01, recovery, every) == pytest.approx(linear, abs=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match="mitigation is 'hope'"):
        goodput("hope", 1, WINDOW, WRITE)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="chips is 0"):
        goodput("relay", 0, WINDOW, WRITE)
    with pytest.raises(ValueError, match="window_h and checkpoint_h"):
        goodput("relay", 1, WINDOW, 0.0)
    with pytest.raises(ValueError, match="rate is -1"):
        Failures(rate=-1)
    with pytest.raises(ValueError, match="slow_speed is 2"):
        Failures(slow_speed=2.0)
    with pytest.raises(ValueError, match="disk_bps and hidden"):
        Failures(disk_bps=0.0)
    with pytest.raises(ValueError, match="rate and every_h"):
        renewal_goodput(0.0, 0.1, 0.1, 1.0)
    with pytest.raises(ValueError, match="segments is 1"):
        simulate_restarts(1.0, 0.1, 0.1, 1.0, segments=1, rng=np.random.default_rng(0))
