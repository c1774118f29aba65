"""Rows of the paper's tables: which targets and networks, and rounding as it is printed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.compute_governance.exposure import cheapest_under
from lib.compute_governance.hardware import Node
from lib.compute_governance.planner import HIERARCHICAL, Metric, Network, Plans
from lib.compute_governance.regime import Regime
from lib.compute_governance.scaling import Chinchilla, Floats
from lib.compute_governance.study.searches import ties
from lib.core import check

__all__ = [
    "LATENCIES",
    "METRICS",
    "NETWORKS",
    "PRINTED",
    "TARGETS",
    "cost_curves",
    "decades",
    "dollars",
    "fixed",
    "flop",
    "overview",
    "printed_cost",
    "printed_flop",
    "printed_ratio",
    "replica_efficiency",
    "row_numbers",
    "row_outcome",
    "shown",
    "significant",
]

TARGETS: dict[str, float] = {
    "c1e24": 1e24,
    "c3_3e24": 3.3e24,
    "c1e25": 1e25,
    "c2_1e25": 2.1e25,
    "c3_8e25": 3.8e25,
    "c6_6e25": 6.6e25,
    "c1e26": 1e26,
}
"""Targets of Table 1, FLOP of C_local."""

NETWORKS: dict[str, Network] = {
    "b10m": Network.mbps(10),
    "b30m": Network.mbps(30),
    "china": Network.mbps(47, 207),
    "us": Network.mbps(57, 310),
    "b100m": Network.mbps(100),
    "b300m": Network.mbps(300),
    "b1g": Network.mbps(1_000),
    "b1000g": Network.mbps(1_000_000, latency_s=1e-4),
}
"""Networks of Table 2."""

METRICS: dict[str, str] = {"c_local": "C_local", "c_quality": "C_quality"}
"""How pages write the metrics."""

LATENCIES = (0.01, 0.03, 0.1, 0.3)
"""Latencies of Table 3, seconds."""


def significant(value: float, digits: int) -> float:
    """Round to significant digits.

    Examples
    --------
    >>> significant(1.2649e24, 2), significant(27.29, 2)
    (1.3e+24, 27.0)
    """
    return float(f"{value:.{digits - 1}e}")


def fixed(value: float, decimals: int) -> float:
    """Round to decimals, as text formatting does."""
    return float(f"{value:.{decimals}f}")


def printed_flop(value: float) -> float:
    """Round FLOP as the tables do: two significant digits."""
    return significant(value, 2)


def printed_ratio(value: float) -> float:
    """Round an overtraining ratio as the tables do: one decimal below 10, none from there."""
    return fixed(value, 1 if value < 10 else 0)


def printed_cost(usd: float) -> float:
    """Round dollars as the tables do, in millions: 0.1 million, from a billion 0.01 billion.

    Examples
    --------
    >>> printed_cost(30_732_000.0), printed_cost(2_323_806_000.0)
    (30.7, 2320.0)
    """
    return fixed(usd / 1e9, 2) * 1_000.0 if usd >= 1e9 else fixed(usd / 1e6, 1)


def flop(value: float, digits: int = 3) -> str:
    """Write FLOP as the pages do.

    Examples
    --------
    >>> flop(1e25), flop(1.2894e24), flop(2.1544e24, 2)
    ('1e25', '1.29e24', '2.2e24')
    """
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e+")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def dollars(usd: float) -> str:
    """Write dollars in millions, for a reader: three digits, all those before the point.

    Examples
    --------
    >>> dollars(1_613_800.0), dollars(91_270_000.0), dollars(2_323_806_000.0)
    ('$1.61 M', '$91.3 M', '$2,324 M')
    """
    millions = usd / 1e6
    return f"${millions:,.{2 if millions < 10 else 1 if millions < 100 else 0}f} M"


def overview(plans: Iterable[Plans]) -> pd.DataFrame:
    """Return single plans as a table to read: signs, units and numbers as on the pages."""
    table = pd.concat([plan.frame() for plan in plans], ignore_index=True)
    return pd.DataFrame(
        {
            "plan": table["plan"],
            "nodes": table["n"].map("{:,.0f}".format),
            "model (10⁹ parameters)": (table["params"] / 1e9).map("{:.0f}".format),
            "H": table["h"].map("{:.0f}".format),
            "η": table["eta"].map("{:.4f}".format),
            "χ": table["chi"].map("{:.4f}".format),
            "C_local (FLOP)": table["c_local"].map(flop),
            "C_quality (FLOP)": table["c_quality"].map(flop),
            "overtraining": table["overtraining"].map("{:.1f}".format),
            "cost": table["cost_usd"].map(dollars),
        }
    ).set_index("plan")


def row_numbers(plan: Plans) -> list[float]:
    """Return nodes, billions of parameters, H, η and χ of a single plan as printed."""
    return [
        int(plan.value("n")),
        fixed(plan.value("params") / 1e9, 0),
        fixed(plan.value("h"), 0),
        fixed(plan.value("eta"), 4),
        fixed(plan.value("chi"), 4),
    ]


def row_outcome(plan: Plans) -> list[float]:
    """Return C_local, C_quality, overtraining ratio and cost of a single plan as printed."""
    return [
        printed_flop(plan.value("c_local")),
        printed_flop(plan.value("c_quality")),
        printed_ratio(plan.value("overtraining")),
        printed_cost(plan.value("cost_usd")),
    ]


PRINTED = {"c1e25": (HIERARCHICAL, 8), "b100m": (HIERARCHICAL, 8)}
"""Mode and group that the tables print where `pick` takes another of several plans that tie
exactly: the same row twice, of six plans.

Flat and hierarchical plans with the same H have the same η, χ and cost to the last digit, so that
which of them a search prints is decided by rounding."""


def shown(key: str, found: Plans, target: float, network: Network | None = None) -> str:
    """Name the plan of a row; in those of `PRINTED` its entry, if that is among the tied ones.

    Parameters
    ----------
    key : str
        Of the row, in `TARGETS` or `NETWORKS`.
    found : Plans
        A single one, from a search on C_local.
    target : float
        The search's, FLOP.
    network : Network, optional
        The search's.
    """
    if key not in PRINTED:
        return found.labels()[0]
    tied, (mode, group) = ties(found, target, network=network), PRINTED[key]
    wanted = (tied.mode == mode) & (tied.group == group)
    return tied.take(wanted if wanted.any() else slice(0, 1)).labels()[0]


def replica_efficiency(law: Chinchilla, params: Any, tokens: Any, multiplier: Any) -> Floats:
    """Return the share of compute kept when a loss is multiplied: χ(m)/χ(1).

    Parameters
    ----------
    law : Chinchilla
    params, tokens : float or array
    multiplier : float or array
        m, positive; below 1 the share exceeds 1.
    """
    loss = law.loss(params, tokens)
    worse = loss * check.array("multiplier", multiplier, above=0)
    share: Floats = law.effective_compute(worse) / law.effective_compute(loss)
    return share


def decades(start: float, stop: float, number: int) -> list[float]:
    """Return numbers evenly spaced in the logarithm, ends included, rounded to 6 digits."""
    number = check.integer("number", number, at_least=2)
    step = math.log10(stop / start) / (number - 1)
    return [significant(start * 10 ** (step * i), 6) for i in range(number)]


def cost_curves(
    targets: Sequence[float],
    nodes: Sequence[Node],
    rules: Sequence[Regime],
    bandwidths_mbps: Sequence[float],
    metrics: Sequence[Metric] = ("c_local", "c_quality"),
) -> pd.DataFrame:
    """Return the cheapest cost for every target, rule, bandwidth and metric; nodes of any size.

    Parameters
    ----------
    targets : sequence of float
        FLOP.
    nodes : sequence of Node
    rules : sequence of Regime
    bandwidths_mbps : sequence of float
        Symmetric, Mbit/s.
    metrics : sequence of str

    Returns
    -------
    DataFrame
        Columns target, threshold, mem_gb (infinite for none), mbps, metric, cost_usd, plan; where
        there is no plan the row is missing.
    """
    rows = []
    for mbps, metric, target in itertools.product(bandwidths_mbps, metrics, targets):
        network = Network.mbps(mbps)
        found = cheapest_under(rules, target, nodes, metric=metric, network=network)
        rows += [
            {
                "target": target,
                "threshold": rule.h100_eq,
                "mem_gb": rule.mem_gb or np.inf,
                "mbps": mbps,
                "metric": metric,
                "cost_usd": best.value("cost_usd"),
                "plan": best.labels()[0],
            }
            for rule, best in zip(rules, found, strict=True)
            if best is not None
        ]
    return pd.DataFrame(rows)
