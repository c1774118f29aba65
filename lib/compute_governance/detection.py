"""How probably a regulator notices: hazards by channel, inspections, and alarms that are true.

No rate is built in: all are the caller's assumptions (`Rates`).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.stats import hypergeom

from lib.compute_governance.exposure import Exposure
from lib.compute_governance.scaling import Floats
from lib.core import check

__all__ = [
    "CHANNELS",
    "Rates",
    "hazards",
    "inspection_sample",
    "p_detect",
    "p_inspection",
    "predictive_value",
]

CHANNELS = ("whistleblower", "inspection", "chip audit", "financial")
"""The channels, in the order of `hazards`."""


@dataclass(frozen=True)
class Rates:
    """Rates of the channels; fields may be arrays of one shape.

    Parameters
    ----------
    leak : float
        Reports a person-year.
    inspect : float
        Inspections a site-year, of places that are not registered.
    notice : float
        Probability that an inspection recognises the node.
    audit : float
        Probability a chip and year that an audit of the chip register misses the chip.
    visible : float
        Decades of US dollars at which spending is noticed in half of the cases.
    steep : float
        Logits a decade of spending.

    Raises
    ------
    ValueError
        If a rate is negative or a probability exceeds 1.
    """

    leak: Any
    inspect: Any
    notice: Any
    audit: Any
    visible: Any
    steep: Any

    def __post_init__(self) -> None:
        for one in fields(self):
            check.array(one.name, getattr(self, one.name), at_least=0)
        for key in ("notice", "audit"):
            check.shares(key, getattr(self, key))


def hazards(seen: Exposure, rates: Rates) -> Floats:
    r"""Return the cumulative hazard of every channel over the run.

    Parameters
    ----------
    seen : Exposure
    rates : Rates
        Of shape S.

    Returns
    -------
    ndarray, shape (\*S, 4)
        In the order of `CHANNELS`; the chance that a channel stays silent is exp(−hazard).
    """
    logit = rates.steep * (np.log10(seen.usd) - rates.visible)
    columns = np.broadcast_arrays(
        np.asarray(rates.leak) * seen.people * seen.years,
        np.asarray(rates.inspect) * rates.notice * seen.sites * seen.years,
        -np.log1p(-np.minimum(rates.audit, 1 - 1e-15)) * seen.chips * seen.years,
        np.logaddexp(0.0, logit),
    )
    stacked: Floats = np.stack(columns, axis=-1)
    return stacked


def p_detect(hazard: Any, *, frailty: float = 0.0) -> Floats:
    """Return the probability that at least one channel reports.

    Parameters
    ----------
    hazard : array, shape (..., channels)
        From `hazards`.
    frailty : float
        Variance θ of a Gamma factor of mean 1 that all channels share; 0 for independence. It
        stands for what makes a whole run easy or hard to notice.

    Raises
    ------
    ValueError
        If a hazard or the variance is negative.

    Notes
    -----
    1 − exp(−Λ) with Λ the sum; with the factor, 1 − (1 + θΛ)^(−1/θ), which is smaller.

    Examples
    --------
    >>> p_detect([1.0, 1.0]).round(3), p_detect([1.0, 1.0], frailty=1.0).round(3)
    (np.float64(0.865), np.float64(0.667))
    """
    values = check.array("hazard", hazard, at_least=0)
    frailty = check.number("frailty", frailty, at_least=0)
    total = values.sum(axis=-1)
    found: Floats = -np.expm1(-(np.log1p(frailty * total) / frailty if frailty else total))
    return found


def p_inspection(population: int, hidden: int, inspected: Any) -> Floats:
    """Return the probability that a random inspection meets at least one hidden node.

    Parameters
    ----------
    population : int
        Sites from which the inspected ones are drawn without replacement.
    hidden : int
        Sites among them that hold a node of the plan.
    inspected : int or array
        Sites inspected.

    Raises
    ------
    ValueError
        If a number is negative, or hidden or inspected exceed the population.

    Examples
    --------
    >>> round(float(p_inspection(4, 2, 2)), 4)
    0.8333
    """
    population = check.integer("population", population, at_least=1)
    hidden = check.integer("hidden", hidden, at_least=0, at_most=population)
    drawn = check.integers("inspected", inspected, at_least=0, at_most=population)
    found: Floats = np.asarray(hypergeom.sf(0, population, hidden, drawn))
    return found


def inspection_sample(population: int, hidden: int, confidence: float) -> int:
    """Return the fewest inspections that meet a hidden node with at least a given probability.

    Parameters
    ----------
    population, hidden : int
        As `p_inspection`; hidden at least 1.
    confidence : float
        Within (0, 1).

    Examples
    --------
    >>> inspection_sample(1000, 34, 0.95)
    83
    """
    population = check.integer("population", population, at_least=1)
    hidden = check.integer("hidden", hidden, at_least=1, at_most=population)
    confidence = check.share("confidence", confidence, inside=True)
    # A rounding error must not ask for one inspection more.
    wanted = confidence * (1 - 1e-12)
    counts = range(1, population - hidden + 2)
    return counts[
        bisect_left(counts, wanted, key=lambda k: float(p_inspection(population, hidden, k)))
    ]


def predictive_value(prevalence: Any, sensitivity: Any, specificity: Any) -> Floats:
    """Return the share of alarms that are true.

    Parameters
    ----------
    prevalence : float or array
        Share of the watched that are of the kind looked for, within (0, 1).
    sensitivity, specificity : float or array
        Within [0, 1]; not both without any alarm.

    Raises
    ------
    ValueError
        If a value is outside its range, or nothing would raise an alarm.

    Examples
    --------
    >>> round(float(predictive_value(0.01, 0.9, 0.95)), 3)
    0.154
    """
    prevalence = check.shares("prevalence", prevalence, inside=True)
    sensitivity = check.shares("sensitivity", sensitivity)
    specificity = check.shares("specificity", specificity)
    true = sensitivity * prevalence
    alarms = true + (1.0 - specificity) * (1.0 - prevalence)
    if not np.all(alarms > 0):
        raise ValueError("sensitivity is 0.0 and specificity is 1.0: there are no alarms to share")
    share: Floats = true / alarms
    return share
