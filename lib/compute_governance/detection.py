"""How probably a regulator notices: hazards by channel, inspections, and alarms that are true.

No rate here is measured. Every one is an assumption with a wide prior (`Prior`), and what is
reported is what holds under all of them. The per-person leak rate has one anchor in the
literature (Grimes 2016), which is itself disputed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.compute_governance.exposure import Exposure
from lib.compute_governance.scaling import Floats

__all__ = [
    "CHANNELS",
    "PRIORS",
    "Prior",
    "Rates",
    "draw_rates",
    "hazards",
    "inspection_sample",
    "median_rates",
    "p_detect",
    "p_inspection",
    "predictive_value",
    "simulate_detection",
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
            value = np.asarray(getattr(self, one.name), dtype=float)
            if not (np.isfinite(value).all() and (value >= 0).all()):
                raise ValueError(f"{one.name} must be finite and at least 0")
        for key in ("notice", "audit"):
            if np.max(getattr(self, key)) > 1:
                raise ValueError(f"{key} is a probability; expected at most 1")


@dataclass(frozen=True)
class Prior:
    """Range of a rate: log-uniform, or uniform where `log` is false."""

    low: float
    high: float
    log: bool = True

    def at(self, quantile: Any) -> Floats:
        """Return the value at a quantile between 0 and 1."""
        q = np.asarray(quantile, dtype=float)
        if self.log:
            value: Floats = self.low * (self.high / self.low) ** q
        else:
            value = self.low + (self.high - self.low) * q
        return value


PRIORS: dict[str, Prior] = {
    "leak": Prior(4e-6, 1e-2),
    "inspect": Prior(1e-4, 1e-1),
    "notice": Prior(0.05, 0.95, log=False),
    "audit": Prior(1e-8, 1e-3),
    "visible": Prior(8.0, 10.0, log=False),
    "steep": Prior(1.0, 6.0, log=False),
}
"""Assumptions of ours: two to five decades wide. The lower end of `leak` is the estimate of Grimes
(2016) for conspiracies that were kept best."""


def draw_rates(n: int, rng: np.random.Generator) -> Rates:
    """Draw rates from the priors, arrays of shape (n,)."""
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1")
    return Rates(**{key: prior.at(rng.random(n)) for key, prior in PRIORS.items()})


def median_rates() -> Rates:
    """Return the medians of the priors."""
    return Rates(**{key: float(prior.at(0.5)) for key, prior in PRIORS.items()})


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
    values = np.asarray(hazard, dtype=float)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("hazards must be finite and at least 0")
    if not (math.isfinite(frailty) and frailty >= 0):
        raise ValueError(f"frailty is {frailty}; expected a variance ≥ 0")
    total = values.sum(axis=-1)
    if frailty == 0:
        found: Floats = -np.expm1(-total)
    else:
        found = -np.expm1(-np.log1p(frailty * total) / frailty)
    return found


def simulate_detection(
    hazard: npt.ArrayLike, runs: int, rng: np.random.Generator, *, frailty: float = 0.0
) -> tuple[float, float]:
    """Simulate runs with a first report of every channel; return share detected and its error.

    Parameters
    ----------
    hazard : array, shape (channels,)
        Cumulative hazards.
    runs : int
        At least 2.
    rng : Generator
    frailty : float
        See `p_detect`.

    Returns
    -------
    share, standard_error : float
    """
    if runs < 2:
        raise ValueError(f"runs is {runs}; expected at least 2")
    values = np.asarray(hazard, dtype=float)
    if values.ndim != 1 or not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("hazard must be one row of finite numbers at least 0")
    factor = rng.gamma(1.0 / frailty, frailty, runs) if frailty > 0 else np.ones(runs)
    # A channel reports before the end of the run when its unit exponential is below its hazard.
    clocks = rng.exponential(size=(runs, len(values)))
    share = float((clocks < factor[:, None] * values).any(axis=1).mean())
    return share, math.sqrt(max(share * (1.0 - share), 1.0 / runs) / runs)


def p_inspection(population: int, hidden: int, inspected: int) -> Fraction:
    """Return the exact probability that a random inspection meets at least one hidden node.

    Parameters
    ----------
    population : int
        Sites from which the inspected ones are drawn without replacement.
    hidden : int
        Sites among them that hold a node of the plan.
    inspected : int
        Sites inspected.

    Raises
    ------
    ValueError
        If a number is negative, or hidden or inspected exceed the population.

    Examples
    --------
    >>> p_inspection(4, 2, 2)
    Fraction(5, 6)
    """
    if not 0 <= hidden <= population or not 0 <= inspected <= population or population < 1:
        raise ValueError(
            f"population {population}, hidden {hidden}, inspected {inspected}: "
            "expected 0 ≤ hidden, inspected ≤ population"
        )
    return 1 - Fraction(math.comb(population - hidden, inspected), math.comb(population, inspected))


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
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected within (0, 1)")
    if hidden < 1:
        raise ValueError(f"hidden is {hidden}; expected at least 1")
    low, high = 1, population - hidden + 1
    while low < high:
        middle = (low + high) // 2
        if p_inspection(population, hidden, middle) >= confidence:
            high = middle
        else:
            low = middle + 1
    return low


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
        If a value is outside its range.

    Examples
    --------
    >>> round(float(predictive_value(0.01, 0.9, 0.95)), 3)
    0.154
    """
    prevalence, sensitivity, specificity = (
        np.asarray(x, dtype=float) for x in (prevalence, sensitivity, specificity)
    )
    for key, value, inside in (
        ("prevalence", prevalence, (prevalence > 0) & (prevalence < 1)),
        ("sensitivity", sensitivity, (sensitivity > 0) & (sensitivity <= 1)),
        ("specificity", specificity, (specificity >= 0) & (specificity <= 1)),
    ):
        if not np.all(inside):
            raise ValueError(f"{key} is {value}; expected a probability")
    true = sensitivity * prevalence
    share: Floats = true / (true + (1.0 - specificity) * (1.0 - prevalence))
    return share
