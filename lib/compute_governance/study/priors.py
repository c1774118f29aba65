"""Priors of the detection rates. None is measured: what is reported is what holds under all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.compute_governance.detection import Rates
from lib.compute_governance.scaling import Floats
from lib.core import check

__all__ = ["PRIORS", "Prior", "draw_rates", "median_rates"]


@dataclass(frozen=True)
class Prior:
    """Range of a rate: log-uniform, or uniform where `log` is false."""

    low: float
    high: float
    log: bool = True

    def at(self, quantile: Any) -> Floats:
        """Return the value at a quantile between 0 and 1."""
        q = check.shares("quantile", quantile)
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
    n = check.integer("n", n, at_least=1)
    return Rates(**{key: prior.at(rng.random(n)) for key, prior in PRIORS.items()})


def median_rates() -> Rates:
    """Return the medians of the priors."""
    return Rates(**{key: float(prior.at(0.5)) for key, prior in PRIORS.items()})
