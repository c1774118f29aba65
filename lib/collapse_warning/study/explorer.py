"""Interactive figure: a threshold on the alarm staircase, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.collapse_warning.evaluation import Evaluation
from lib.core.figures import PALETTE

if TYPE_CHECKING:
    import altair as alt

__all__ = ["threshold_explorer"]


def threshold_explorer(evaluations: dict[str, Evaluation], *, start: int = 5) -> alt.HConcatChart:
    """Return a chart in which a slider moves the threshold down the staircase.

    Parameters
    ----------
    evaluations : dict of str to Evaluation
        What the radio buttons choose among; the first is shown at first.
    start : int
        Percent of units that alarm at first, 0 to 100.

    Returns
    -------
    altair.HConcatChart
        Left the staircase with the band and the chosen point; right the counts at that point, in
        another colour outside the band. Slider and radio buttons take the keyboard.
    """
    import altair as alt

    if not evaluations:
        raise ValueError("no evaluation given, expected at least one")
    if not 0 <= start <= 100:
        raise ValueError(f"start is {start}, expected a percentage")
    band = next(iter(evaluations.values())).contract
    points = pd.concat(
        [_points(one).assign(series=name) for name, one in evaluations.items()], ignore_index=True
    )
    percent = alt.param(
        name="alarmed",
        value=start,
        bind=alt.binding_range(min=0, max=100, step=1, name="percent of units that alarm "),
    )
    names = list(evaluations)
    radio = alt.binding_radio(options=names, name="protocol ")
    series = alt.param(name="series", value=names[0], bind=radio)
    chosen = alt.Chart(points).transform_filter("datum.series == series")
    here = chosen.transform_filter("datum.percent == alarmed")
    ends = pd.DataFrame([{"lo": band.lo, "hi": band.hi}])
    ground = alt.Chart(ends).mark_rect(opacity=0.25, color=PALETTE["grey"])
    unit = alt.Scale(domain=[0, 1])
    axes: dict[str, Any] = {
        "x": alt.X("fpr:Q", title="share of controls that alarm", scale=unit),
        "y": alt.Y("tpr:Q", title="share of events that alarm", scale=unit),
    }
    stairs = chosen.mark_line(interpolate="step-after", color=PALETTE["black"])
    blue, orange = (alt.value(PALETTE[one]) for one in ("blue", "vermillion"))
    colour = alt.condition("datum.inside", blue, orange)
    dot = here.mark_point(size=140, filled=True, opacity=1).encode(**axes, color=colour)
    lines = ground.encode(x="lo:Q", x2="hi:Q") + stairs.encode(**axes, order="percent:Q") + dot
    left = lines.properties(width=260, height=240).add_params(percent, series)
    counts = here.transform_fold(["false alarms", "missed events", "hits"], as_=["kind", "count"])
    bars = counts.encode(
        x=alt.X("count:Q", title="units"),
        y=alt.Y("kind:N", title=None, sort=["hits", "missed events", "false alarms"]),
        tooltip=["kind:N", "count:Q"],
    )
    words = bars.mark_text(align="left", dx=4).encode(text="count:Q")
    title = ["blue: in the band, accepted", "orange: outside, not accepted"]
    right = bars.mark_bar().encode(color=colour) + words
    right = right.properties(width=170, height=120, title=title)
    return left | right


def _points(one: Evaluation) -> pd.DataFrame:
    """Return the last operating point that does not exceed each percentage of units."""
    stairs = one.stairs
    total = stairs.n_controls + stairs.n_events
    alarms = stairs.false_alarms + stairs.hits
    percent = np.arange(101)
    at = np.searchsorted(alarms, percent / 100 * total, side="right") - 1
    false, hits = stairs.false_alarms[at], stairs.hits[at]
    return pd.DataFrame(
        {
            "percent": percent,
            "fpr": np.round(false / stairs.n_controls, 4),
            "tpr": np.round(hits / stairs.n_events, 4),
            "false alarms": false,
            "hits": hits,
            "missed events": stairs.n_events - hits,
            "inside": [one.contract.accepts(int(count), stairs.n_controls) for count in false],
        }
    )
