"""Interactive figure: threshold and bandwidth sliders over the cost curve, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import altair as alt

__all__ = ["cost_explorer"]

_TITLES = {"c_local": "C_local", "c_quality": "C_quality"}


def cost_explorer(curves: pd.DataFrame) -> alt.LayerChart:
    """Return a chart of cost against target in which sliders move threshold and bandwidth.

    Parameters
    ----------
    curves : DataFrame
        From ``exposure.cost_curves``: thresholds are powers of two, bandwidths are evenly spaced in
        the logarithm.

    Returns
    -------
    altair.LayerChart
        Grey: 16 H100-equivalents at 100 Mbit/s. Show it with ``lib.core.figures.show_chart``.

    Raises
    ------
    ValueError
        If the table is empty, lacks a column, or holds no curve at 16 and 100 Mbit/s.
    """
    import altair as alt

    needed = {"target", "threshold", "mbps", "metric", "cost_usd", "plan"}
    if curves.empty or not needed <= set(curves.columns):
        raise ValueError(f"curves needs rows and the columns {', '.join(sorted(needed))}")
    table = pd.DataFrame(
        {
            "target": curves["target"],
            "cost": [float(f"{cost / 1e6:.4g}") for cost in curves["cost_usd"]],
            "metric": curves["metric"].map(_TITLES),
            "halvings": np.log2(curves["threshold"]).round(3),
            "log_rate": np.log10(curves["mbps"]).round(3),
            "plan": curves["plan"],
        }
    )
    usual = (table["halvings"] == 4) & (table["log_rate"] == 2)
    if not usual.any():
        raise ValueError("curves holds none at 16 H100-equivalents and 100 Mbit/s to compare with")
    rates = np.unique(table["log_rate"])
    threshold = alt.param(
        name="threshold",
        value=4,
        bind=alt.binding_range(min=0, max=4, step=1, name="threshold, 2^x H100-equivalents: x = "),
    )
    rate = alt.param(
        name="rate",
        value=2,
        bind=alt.binding_range(
            min=float(rates[0]),
            max=float(rates[-1]),
            step=float(np.round(rates[1] - rates[0], 3)),
            name="bandwidth, 10^y Mbit/s: y = ",
        ),
    )
    metric = alt.param(
        name="shown",
        value="C_local",
        bind=alt.binding_radio(options=list(_TITLES.values()), name="metric "),
    )
    x = alt.X("target:Q", scale=alt.Scale(type="log"), title="target (FLOP)")
    y = alt.Y(
        "cost:Q",
        scale=alt.Scale(type="log", domain=[1, 100_000]),
        title="cost (million US dollars)",
    )
    base = (
        alt.Chart(table[usual])
        .transform_filter("datum.metric == shown")
        .mark_line(color="#8a8a8a", strokeDash=[5, 3])
        .encode(x=x, y=y)
    )
    here = (
        alt.Chart(table)
        .transform_filter("datum.metric == shown")
        .transform_filter(
            "abs(datum.halvings - threshold) < 0.01 && abs(datum.log_rate - rate) < 0.01"
        )
        .mark_line(point=True)
        .encode(x=x, y=y, tooltip=["plan:N", "cost:Q", "target:Q"])
    )
    return (base + here).properties(width=480, height=280).add_params(threshold, rate, metric)
