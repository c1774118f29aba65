"""Failures: the exact goodput of checkpoint and restart."""

from __future__ import annotations

import math

from lib.core import check

__all__ = ["renewal_goodput"]


def renewal_goodput(rate: float, checkpoint_h: float, recovery_h: float, every_h: float) -> float:
    """Return the goodput of checkpoint and restart when failures are a Poisson process.

    Work of t hours and a checkpoint of c hours must pass without a failure; a failure costs what
    was done since the last checkpoint and a recovery of r hours, which a failure starts anew. The
    time that a segment takes has the mean e^{Rr}(e^{R(t+c)} − 1)/R (Daly 2006, doi
    10.1016/j.future.2004.11.016), so the goodput is t over that.

    Parameters
    ----------
    rate : float
        Failures an hour of the whole cluster, R.
    checkpoint_h, recovery_h, every_h : float
        c, r and t, hours.

    Raises
    ------
    ValueError
        If the rate or the interval is not positive, or a cost is negative.

    Examples
    --------
    >>> round(renewal_goodput(1e-9, 0.01, 1.0, 1.0), 6)
    0.990099
    """
    rate = check.number("rate", rate, above=0)
    every_h = check.number("every_h", every_h, above=0)
    checkpoint_h = check.number("checkpoint_h", checkpoint_h, at_least=0)
    recovery_h = check.number("recovery_h", recovery_h, at_least=0)
    try:
        segment = math.exp(rate * recovery_h) * math.expm1(rate * (every_h + checkpoint_h))
    except OverflowError:  # so many failures that no segment is ever done
        return 0.0
    return every_h * rate / segment
