"""Failures and slow nodes: the published formulas, and an exact form of one of them.

The formulas are those of ``Failure_Mitigation_Analysis.md`` and ``reliabilityModel.ts`` of the
paper's repository. They are first-order in the failure rate; `renewal_goodput` is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from lib.compute_governance.scaling import Floats

__all__ = [
    "Failures",
    "Mitigation",
    "Reliability",
    "goodput",
    "reliability",
    "renewal_goodput",
    "simulate_restarts",
    "tail_coefficient",
]

Mitigation = Literal[
    "none", "synchronous", "threshold", "relay", "async", "backup_workers", "checkpoint_elastic"
]

_TAIL = {"threshold": 0.0, "async": 0.0, "relay": 0.40, "backup_workers": 0.30}
_KEPT = {"threshold": 0.85, "async": 0.97}


@dataclass(frozen=True)
class Failures:
    """Constants of the failure model, with the published defaults.

    Parameters
    ----------
    rate : float
        Failures a chip-hour, λ.
    recovery_h : float
        Hours to bring a failed node back.
    disk_bps : float
        Rate at which a checkpoint is written, bits a second.
    hidden : float
        Share of the writing that is not overlapped with computing (asynchronous checkpoints).
    slow_fraction, slow_speed : float
        Share of persistently slow nodes and their speed.
    spare : float
        Extra hardware of backup workers, as a share.
    async_floor : float
        Goodput of asynchronous training when failures never stop.

    Raises
    ------
    ValueError
        If a constant is negative or a speed is not within (0, 1].
    """

    rate: float = 2e-5
    recovery_h: float = 1.0 / 6.0
    disk_bps: float = 24e9
    hidden: float = 0.02
    slow_fraction: float = 0.10
    slow_speed: float = 0.60
    spare: float = 0.05
    async_floor: float = 0.88

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{key} is {value}; expected a number ≥ 0")
        if not 0 < self.slow_speed <= 1:
            raise ValueError(f"slow_speed is {self.slow_speed}; expected within (0, 1]")
        if not (self.disk_bps > 0 and self.hidden > 0):
            raise ValueError("disk_bps and hidden must be positive")

    def checkpoint_h(self, params: float, bytes_per_param: float) -> float:
        """Hours that a checkpoint costs, for a training state of that size."""
        return params * bytes_per_param * 8.0 / self.disk_bps / 3_600.0 * self.hidden


@dataclass(frozen=True)
class Reliability:
    """What a mitigation makes of failures.

    Parameters
    ----------
    tail : float
        Coefficient of f(n) = 1 + tail·log2 n.
    goodput : float
        Share of the chip-hours that does useful work.
    kept : float
        Factor on efficiency.
    cost : float
        Factor on cost.
    """

    tail: float
    goodput: float
    kept: float
    cost: float


def tail_coefficient(mitigation: Mitigation, failures: Failures | None = None) -> float:
    """Return the coefficient of log2 n in the wait for the slowest worker.

    Examples
    --------
    >>> round(tail_coefficient("relay"), 6), round(tail_coefficient("synchronous"), 6)
    (0.02, 0.05)
    """
    _check(mitigation)
    f = failures or Failures()
    full = 0.75 * f.slow_fraction * (1.0 / f.slow_speed - 1.0)
    return _TAIL.get(mitigation, 1.0) * full


def _check(mitigation: str) -> None:
    if mitigation not in get_args(Mitigation):
        names = ", ".join(get_args(Mitigation))
        raise ValueError(f"mitigation is {mitigation!r}; expected one of {names}")


def goodput(
    mitigation: Mitigation,
    chips: int,
    window_h: float,
    checkpoint_h: float,
    failures: Failures | None = None,
) -> float:
    """Return the published goodput of a mitigation.

    Parameters
    ----------
    mitigation : str
        One of the seven.
    chips : int
        All chips of the run, at least 1.
    window_h : float
        Length of the run, hours.
    checkpoint_h : float
        Cost of a checkpoint, hours.
    failures : Failures, optional

    Raises
    ------
    ValueError
        On an unknown mitigation, no chip, or a window or cost that is not positive.

    Notes
    -----
    With R = λ·chips and the Young/Daly interval t* = √(2c/R), checkpoints lose
    L = c/t* + R(t*/2 + recovery) of the time; the last part is missing in the elastic mode.

    Examples
    --------
    >>> f"{goodput('relay', 200_000, 13_000, 0.01):.5f}"
    '1.00000'
    """
    _check(mitigation)
    if chips < 1:
        raise ValueError(f"chips is {chips}; expected at least 1")
    if not (window_h > 0 and checkpoint_h > 0):
        raise ValueError("window_h and checkpoint_h must be positive")
    f = failures or Failures()
    rate = f.rate * chips
    down = -math.expm1(-f.rate * f.recovery_h)
    if rate == 0:
        return 1.0
    young = math.sqrt(2.0 * checkpoint_h / rate)
    lost = checkpoint_h / young + rate * young / 2.0
    found = {
        "none": 1.0 / (1.0 + rate * window_h / 2.0),
        "synchronous": max(0.0, 1.0 - lost - rate * f.recovery_h),
        "checkpoint_elastic": max(0.0, 1.0 - lost - down),
        "threshold": 1.0 - down,
        "relay": 1.0 - down,
        "backup_workers": 1.0 - max(0.0, down - f.spare),
        "async": 1.0 - down - (1.0 - f.async_floor) * -math.expm1(-rate * f.recovery_h),
    }
    return found[mitigation]


def reliability(
    mitigation: Mitigation,
    chips: int,
    window_h: float,
    checkpoint_h: float,
    failures: Failures | None = None,
) -> Reliability:
    """Return all four effects of a mitigation; see `goodput` for the arguments."""
    f = failures or Failures()
    return Reliability(
        tail=tail_coefficient(mitigation, f),
        goodput=goodput(mitigation, chips, window_h, checkpoint_h, f),
        kept=_KEPT.get(mitigation, 1.0),
        cost=1.0 + f.spare if mitigation == "backup_workers" else 1.0,
    )


def renewal_goodput(rate: float, checkpoint_h: float, recovery_h: float, every_h: float) -> float:
    """Return the goodput of checkpoint and restart when failures are a Poisson process.

    Work of t hours and a checkpoint of c hours must pass without a failure; a failure costs what
    was done since the last checkpoint and a recovery of r hours, during which nothing fails (a
    failed attempt to recover would only make it worse). The time a segment takes has the mean
    (e^{R(t+c)} − 1)(1/R + r), so the goodput is t over that.

    Parameters
    ----------
    rate : float
        Failures an hour of the whole cluster, R.
    checkpoint_h, recovery_h, every_h : float
        c, r and t, hours.

    Raises
    ------
    ValueError
        If the rate or the interval is not positive.

    Examples
    --------
    >>> round(renewal_goodput(1e-9, 0.01, 1.0, 1.0), 6)
    0.990099
    """
    if not (rate > 0 and every_h > 0 and checkpoint_h >= 0 and recovery_h >= 0):
        raise ValueError("rate and every_h must be positive, the costs at least 0")
    return every_h / (math.expm1(rate * (every_h + checkpoint_h)) * (1.0 / rate + recovery_h))


def simulate_restarts(
    rate: float,
    checkpoint_h: float,
    recovery_h: float,
    every_h: float,
    *,
    segments: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Simulate checkpoint and restart; return goodput and its standard error.

    Parameters
    ----------
    rate, checkpoint_h, recovery_h, every_h
        As `renewal_goodput`.
    segments : int
        Segments to complete, at least 2.
    rng : Generator
    """
    if segments < 2:
        raise ValueError(f"segments is {segments}; expected at least 2")
    need = every_h + checkpoint_h
    # Failures before a segment succeeds are geometric; each costs a truncated exponential.
    fails = rng.geometric(math.exp(-rate * need), segments) - 1
    share = rng.random(int(fails.sum()))
    wasted = -np.log1p(share * math.expm1(-rate * need)) / rate + recovery_h
    ends = np.cumsum(fails)
    sums = np.concatenate([[0.0], np.cumsum(wasted)])
    spent: Floats = need + sums[ends] - sums[ends - fails]
    mean = float(spent.mean())
    error = float(spent.std(ddof=1) / math.sqrt(segments))
    return every_h / mean, every_h * error / mean**2
