"""A two-bidder market to play with: move the multipliers or the model, see who wins and who pays.

The chart runs in the page without a server. Python enumerates the equilibrium cells; what depends
on the sliders (winners, prices, revenue, welfare, cost per conversion) is computed by Vega from
the market's own clusters, by the same rules as :mod:`lib.autobidding.mechanism`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import equilibria_2p
from lib.autobidding.market import Market
from lib.core.figures import PALETTE

_WIDTH = 340
_TOTALS = ("spend1", "spend2", "conversions1", "conversions2")


def market_explorer(
    models: dict[str, Market],
    bidders: Sequence[Bidder],
    *,
    names: tuple[str, str] = ("1", "2"),
    start: tuple[float, float],
    limits: tuple[float, float],
) -> alt.VConcatChart:
    """Build the explorer of a second-price market of two tCPA bidders.

    Parameters
    ----------
    models : dict of str to Market
        The same users through several prediction models, such as ``{"coarse": …, "fine": …}``.
    bidders : sequence of two tCPA Bidder
        Without budgets.
    names : tuple of str
        What to call the bidders.
    start : tuple (g1, g2)
        Where the sliders stand at first, effective multipliers in money per conversion.
    limits : tuple (g1, g2)
        Upper ends of the sliders and of the picture.

    Returns
    -------
    altair.VConcatChart
        Show it with :func:`lib.core.figures.show_chart`.

    Raises
    ------
    ValueError
        On other than two tCPA bidders, or on a budget.
    """
    if len(bidders) != 2 or any(b.kind != "tcpa" or b.has_budget for b in bidders):
        raise ValueError("expected two tCPA bidders without budgets")

    sliders = [
        alt.param(
            name=f"g{i + 1}",
            value=start[i],
            bind=alt.binding_range(
                min=0, max=limits[i], step=limits[i] / 500, name=f"multiplier of {names[i]} "
            ),
        )
        for i in (0, 1)
    ]
    chosen = next(iter(models))
    model = alt.param(
        name="model", value=chosen, bind=alt.binding_radio(options=list(models), name="model ")
    )
    clusters = _with_outcome(alt.Chart(_clusters(models, bidders)), names)
    return (
        alt.vconcat(
            _plane(models, bidders, names, limits),
            _bids(clusters, names),
            _metrics(clusters, names),
            spacing=18,
        )
        .add_params(*sliders, model)
        .resolve_scale(color="independent")
    )


def _clusters(models: dict[str, Market], bidders: Sequence[Bidder]) -> pd.DataFrame:
    """One row a model and cluster: mass, predictions, targets."""
    return pd.concat(
        pd.DataFrame(
            {
                "model": name,
                "cluster": [str(k) for k in range(market.n_clusters)],
                "w": market.weights.astype(float),
                "p1": market.predictions[:, 0].astype(float),
                "p2": market.predictions[:, 1].astype(float),
                "t1": float(bidders[0].value),
                "t2": float(bidders[1].value),
            }
        )
        for name, market in models.items()
    )


def _with_outcome(chart: alt.Chart, names: tuple[str, str]) -> alt.Chart:
    """Clear every cluster of the chosen model at the sliders' multipliers."""
    return (
        chart.transform_filter("datum.model == model")
        .transform_calculate(b1="g1 * datum.p1", b2="g2 * datum.p2")
        # Ties go to the first bidder, and a price is the other one's bid: clear(..., "second").
        .transform_calculate(first="datum.b1 >= datum.b2 ? 1 : 0")
        .transform_calculate(
            winner=f"datum.first ? '{names[0]}' : '{names[1]}'",
            paid="datum.w * min(datum.b1, datum.b2)",
            conversions1="datum.first * datum.w * datum.p1",
            conversions2="(1 - datum.first) * datum.w * datum.p2",
        )
        .transform_calculate(
            spend1="datum.first * datum.paid", spend2="(1 - datum.first) * datum.paid"
        )
    )


def _plane(
    models: dict[str, Market],
    bidders: Sequence[Bidder],
    names: tuple[str, str],
    limits: tuple[float, float],
) -> alt.LayerChart:
    """Equilibrium cells of the chosen model, and the point that the sliders stand at."""
    rows: list[dict[str, Any]] = []
    for name, market in models.items():
        for cell in equilibria_2p(market.to_float(), bidders, "second"):
            won = [str(k) for k, winner in enumerate(cell.allocation) if winner == 0]
            label = f"{names[0]} wins {', '.join(won) or 'nothing'}; welfare {cell.welfare:.2f}"
            rows += [
                {"model": name, "cell": label, "order": k, "x": x, "y": y}
                for k, (x, y) in enumerate(np.array(cell.vertices, dtype=float).tolist())
            ]
    scales = [alt.Scale(domain=[0, end], nice=False) for end in limits]
    axes = [f"effective multiplier of {name}, money per conversion" for name in names]
    cells = (
        alt.Chart(pd.DataFrame(rows))
        .transform_filter("datum.model == model")
        .mark_line(
            filled=True, interpolate="linear-closed", opacity=0.45, strokeWidth=1.5, clip=True
        )
        .encode(
            x=alt.X("x:Q", scale=scales[0], title=axes[0]),
            y=alt.Y("y:Q", scale=scales[1], title=axes[1]),
            order="order:Q",
            fill=alt.Fill("cell:N", title="equilibria", legend=alt.Legend(orient="top", columns=1)),
            stroke=alt.Stroke("cell:N", legend=None),
            tooltip="cell:N",
        )
    )
    point = (
        alt.Chart(pd.DataFrame({"here": ["sliders"]}))
        .transform_calculate(x="g1", y="g2")
        .mark_point(filled=True, size=110, color=PALETTE["black"], shape="cross", angle=45)
        .encode(x="x:Q", y="y:Q")
    )
    return (cells + point).properties(width=_WIDTH, height=260)


def _bids(clusters: alt.Chart, names: tuple[str, str]) -> alt.Chart:
    """Both bids in each cluster; the higher one wins and the lower one is the price."""
    return (
        clusters.transform_fold(["b1", "b2"], as_=["bid of", "bid"])
        .transform_calculate(bidder=f"datum['bid of'] == 'b1' ? '{names[0]}' : '{names[1]}'")
        .mark_bar()
        .encode(
            x=alt.X("cluster:N", title="cluster", axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("bidder:N", sort=list(names)),
            y=alt.Y("bid:Q", title="bid, money per opportunity"),
            color=alt.Color(
                "bidder:N",
                scale=alt.Scale(
                    domain=list(names), range=[PALETTE["bidder 1"], PALETTE["bidder 2"]]
                ),
                title="bidder",
                legend=alt.Legend(orient="top"),
            ),
            opacity=alt.condition("datum.bidder == datum.winner", alt.value(1), alt.value(0.35)),
            tooltip=["bidder:N", alt.Tooltip("bid:Q", format=".3f"), "winner:N"],
        )
        .properties(width=_WIDTH, height=140, title="Bids; the winner's bar is solid")
    )


def _metrics(clusters: alt.Chart, names: tuple[str, str]) -> alt.LayerChart:
    """Revenue, welfare and each bidder's cost per conversion over its target."""
    labels = ["revenue", "welfare", f"{names[0]}: cost / target", f"{names[1]}: cost / target"]
    fields = ["revenue", "welfare", "ratio1", "ratio2"]
    lookup = " : ".join(
        f"datum.key == '{field}' ? '{label}'" for field, label in zip(fields, labels, strict=True)
    )
    totals = (
        clusters.transform_aggregate(
            revenue="sum(paid)",
            **{name: f"sum({name})" for name in _TOTALS},
            **{name: f"max({name})" for name in ("t1", "t2")},
        )
        .transform_calculate(
            welfare="datum.t1 * datum.conversions1 + datum.t2 * datum.conversions2",
            # No conversion, no spend: the promise is kept.
            ratio1="datum.conversions1 > 0 ? datum.spend1 / datum.conversions1 / datum.t1 : 0",
            ratio2="datum.conversions2 > 0 ? datum.spend2 / datum.conversions2 / datum.t2 : 0",
        )
        .transform_fold(fields, as_=["key", "amount"])
        .transform_calculate(
            metric=f"{lookup} : ''",
            broken="indexof(datum.key, 'ratio') == 0 && datum.amount > 1 + 1e-9",
        )
        .transform_calculate(
            text="format(datum.amount, '.3f') + (datum.broken ? '  target broken' : '')"
        )
    )
    base = totals.encode(
        y=alt.Y("metric:N", sort=labels, title=None),
        x=alt.X("amount:Q", title="money, or ratio", scale=alt.Scale(domainMin=0)),
    )
    bars = base.mark_bar(height=14).encode(
        color=alt.condition(
            "datum.broken", alt.value(PALETTE["violation"]), alt.value(PALETTE["grey"])
        )
    )
    text = base.mark_text(align="left", dx=4).encode(text="text:N")
    return (bars + text).properties(width=_WIDTH - 60, height=110, title="At the sliders' point")
