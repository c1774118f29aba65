"""Failures and slow nodes: the published formulas, which are first-order in the failure rate.

Those of ``Failure_Mitigation_Analysis.md`` and ``reliabilityModel.ts`` of the paper's repository.
For the exact goodput of checkpoint and restart see ``reliability.renewal_goodput``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from lib.core import check

__all__ = ["Failures", "Mitigation", "goodput"]

Mitigation = Literal[
    "none", "synchronous", "threshold", "relay", "async", "backup_workers", "checkpoint_elastic"
]


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
    spare : float
        Extra hardware of backup workers, as a share.
    async_floor : float
        Goodput of asynchronous training when failures never stop.

    Raises
    ------
    ValueError
        If a constant is out of its range.
    """

    rate: float = 2e-5
    recovery_h: float = 1.0 / 6.0
    disk_bps: float = 24e9
    hidden: float = 0.02
    spare: float = 0.05
    async_floor: float = 0.88

    def __post_init__(self) -> None:
        for key in ("rate", "recovery_h", "spare"):
            check.number(key, getattr(self, key), at_least=0)
        check.number("disk_bps", self.disk_bps, above=0)
        check.share("async_floor", self.async_floor)
        check.number("hidden", check.share("hidden", self.hidden), above=0)

    def checkpoint_h(self, params: float, bytes_per_param: float) -> float:
        """Hours that a checkpoint costs, for a training state of that size."""
        params = check.number("params", params, above=0)
        bytes_per_param = check.number("bytes_per_param", bytes_per_param, above=0)
        return params * bytes_per_param * 8.0 / self.disk_bps / 3_600.0 * self.hidden


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
    check.known("mitigation", mitigation, get_args(Mitigation))
    chips = check.integer("chips", chips, at_least=1)
    window_h = check.number("window_h", window_h, above=0)
    checkpoint_h = check.number("checkpoint_h", checkpoint_h, above=0)
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
