"""Failures: published goodput, the renewal form and its simulation."""

import numpy as np
import pytest

from lib.compute_governance.reliability import renewal_goodput
from lib.compute_governance.study.failures import Failures, goodput

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


def events(rate, checkpoint, recovery, every, segments, rng):
    """Simulate checkpoint and restart event by event, failures during recovery included."""
    clock = 0.0
    for _ in range(segments):
        while (life := rng.exponential(1 / rate)) < every + checkpoint:
            clock += life
            while (wait := rng.exponential(1 / rate)) < recovery:
                clock += wait
            clock += recovery
        clock += every + checkpoint
    return segments * every / clock


@pytest.mark.parametrize("rate", [0.05, 1.0, 4.0])
def test_the_renewal_form_is_what_events_give(rate):
    hours = (0.01, 0.2, float(np.sqrt(0.02 / rate)))
    found = events(rate, *hours, 20_000, np.random.default_rng(int(100 * rate)))
    assert found == pytest.approx(renewal_goodput(rate, *hours), rel=0.02)


def test_restart_at_200_000_chips():
    """39.8 % with failures during recovery; without them it would be 46.5 %."""
    rate = 200_000 * Failures().rate
    every = float(np.sqrt(2 * WRITE / rate))
    hours = (WRITE, Failures().recovery_h, every)
    assert renewal_goodput(rate, *hours) == pytest.approx(0.398, abs=5e-4)
    safe = every / (np.expm1(rate * (every + WRITE)) * (1 / rate + Failures().recovery_h))
    assert safe == pytest.approx(0.465, abs=5e-4)
    found = events(rate, *hours, 4_000, np.random.default_rng(5))
    assert found == pytest.approx(0.398, abs=0.01)


def test_goodput_by_hand():
    f = Failures(rate=1e-3, recovery_h=0.5, spare=4e-4, async_floor=0.9)
    down = 1 - np.exp(-5e-4)
    young = np.sqrt(2 * 0.01 / 0.1)
    lost = 0.01 / young + 0.1 * young / 2
    found = {
        mode: goodput(mode, 100, 1_000.0, 0.01, f)
        for mode in (
            *("none", "synchronous", "checkpoint_elastic", "threshold", "relay"),
            *("backup_workers", "async"),
        )
    }
    assert found == pytest.approx(
        {
            "none": 1 / 51,
            "synchronous": 1 - lost - 0.05,
            "checkpoint_elastic": 1 - lost - down,
            "threshold": 1 - down,
            "relay": 1 - down,
            "backup_workers": 1 - (down - 4e-4),
            "async": 1 - down - 0.1 * (1 - np.exp(-0.05)),
        }
    )
    assert goodput("synchronous", 10_000, 1_000.0, 0.01, f) == 0.0
    assert Failures().checkpoint_h(250e9, 16.0) == pytest.approx(
        250e9 * 16 * 8 / 24e9 / 3_600 * 0.02
    )


def test_the_linear_formula_agrees_while_losses_are_small():
    rate, recovery, every = 1e-4, 0.1, 10.0
    linear = 1 - 0.01 / every - rate * (every / 2 + recovery)
    assert renewal_goodput(rate, 0.01, recovery, every) == pytest.approx(linear, abs=1e-5)


def test_nothing_is_done_where_every_recovery_fails():
    assert renewal_goodput(40.0, 0.01, 24.0, 0.1) == 0.0
    assert 0 < renewal_goodput(40.0, 0.01, 1.0, 0.1) < 1e-17


def test_bad_input_is_refused():
    for bad in (np.nan, 2.5, 0):
        with pytest.raises(ValueError, match=f"chips is {bad}"):
            goodput("relay", bad, WINDOW, WRITE)
    with pytest.raises(ValueError, match="did you mean 'relay'"):
        goodput("rely", 10, WINDOW, WRITE)
    with pytest.raises(ValueError, match="async_floor is 88"):
        Failures(async_floor=88)
    with pytest.raises(ValueError, match="hidden is 0"):
        Failures(hidden=0)
    with pytest.raises(ValueError, match="every_h is 0"):
        renewal_goodput(1.0, 0.1, 0.1, 0.0)
