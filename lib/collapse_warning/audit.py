"""A label-leak audit for early-warning benchmarks.

A benchmark tells how early a detector warns only if the series it watches does not already hold
the label. The audit asks three questions of a panel: does some rule about a single series settle
the label exactly, how early, and does the series reach a value that it never leaves?
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.collapse_warning.calibration import CONFIGURATIONS, alarm
from lib.collapse_warning.contract import FPContract, staircase
from lib.collapse_warning.effects import auc
from lib.collapse_warning.panel import Bools, Floats, Panel
from lib.collapse_warning.replay import Replay

__all__ = ["LeakReport", "accepted_configurations", "before_streak", "label_leak", "planted_panel"]

_LEAST_UNITS = 5


@dataclass(frozen=True)
class LeakReport:
    """What the audit found.

    Parameters
    ----------
    n_events, n_controls : int
    absorbing : bool
        Whether the series, once it left its resting value, never came back to it in any unit
        (among at least five units that left it).
    n_left, n_returned : int
        Units that left the resting value, and those of them that came back to it.
    largest_auc : float
        Best separation of events and controls by the series at a single distance to the end.
    largest_auc_at : int
        That distance, 0 for the last time.
    events_identical : bool
        Whether all events end with the same values (over the shortest event).
    tie_share : float
        Share of units in the largest block of equal peaks.
    band_empty : bool
        Whether the peak jumps over the contract's band.
    unlabelable : float
        Share of controls that could not have become events; NaN where eligibility is not given.
    """

    n_events: int
    n_controls: int
    absorbing: bool
    n_left: int
    n_returned: int
    largest_auc: float
    largest_auc_at: int
    events_identical: bool
    tie_share: float
    band_empty: bool
    unlabelable: float

    @property
    def leaks(self) -> bool:
        """Whether the label is written into the series.

        Either events end with identical values, or a single time separates the classes perfectly,
        or the series has a state that no unit leaves.
        """
        perfect = max(self.largest_auc, 1 - self.largest_auc) == 1.0
        return self.events_identical or perfect or self.absorbing

    def findings(self) -> list[str]:
        """Return the findings in words, worst first."""
        words = []
        if self.events_identical:
            words.append("all events end with the same values: the series restates the label")
        if max(self.largest_auc, 1 - self.largest_auc) == 1.0:
            words.append(
                f"one value, {self.largest_auc_at} times before the end, separates the classes"
            )
        if self.absorbing:
            words.append(
                f"none of the {self.n_left} units that left the resting value came back to it"
            )
        if self.band_empty:
            words.append("tied peaks jump over the band: no threshold can be accepted")
        if self.unlabelable > 0:
            words.append(f"{self.unlabelable:.1%} of controls could not have become events")
        return words or ["no leak of these kinds"]

    def table(self) -> pd.DataFrame:
        """Return the report as one column."""
        return pd.DataFrame(
            {
                "value": {
                    "events": f"{self.n_events}",
                    "controls": f"{self.n_controls}",
                    "units that left the resting value": f"{self.n_left}",
                    "of these, came back": f"{self.n_returned}",
                    "events end alike": f"{self.events_identical}",
                    "best separation at one time (AUC)": f"{self.largest_auc:.3f}",
                    "times before the end": f"{self.largest_auc_at}",
                    "share of units in the largest tie": f"{self.tie_share:.3f}",
                    "peak jumps over the band": f"{self.band_empty}",
                    "controls that cannot become events": (
                        "not given" if np.isnan(self.unlabelable) else f"{self.unlabelable:.3f}"
                    ),
                    "leak": f"{self.leaks}",
                }
            }
        )

    def __str__(self) -> str:
        return "; ".join(self.findings())


def label_leak(
    panel: pd.DataFrame | Panel,
    *,
    eligible: Bools | None = None,
    contract: FPContract | None = None,
    tail: int = 7,
) -> LeakReport:
    """Audit a panel for a label that is written into its series.

    Parameters
    ----------
    panel : DataFrame or Panel
        A table with columns ``unit``, ``time``, ``value``, ``is_event``, or a panel. Series are
        aligned at their ends.
    eligible : ndarray of bool, shape (n_units,), optional
        Whether each unit could have become an event, in the order of the panel's units.
    contract : FPContract, optional
    tail : int
        Times before the end that are looked at, at least 2.

    Returns
    -------
    LeakReport

    Raises
    ------
    ValueError
        If the panel is not one, or `eligible` does not fit it, or contradicts it.

    Examples
    --------
    >>> series = [[0, 0, 1, 2, 3]] * 6 + [[0, 1, 0, 1, 0]] * 6
    >>> label_leak(Panel.from_series(series, [True] * 6 + [False] * 6), tail=3).findings()[0]
    'all events end with the same values: the series restates the label'
    """
    data = panel if isinstance(panel, Panel) else Panel.from_frame(panel)
    if tail < 2:
        raise ValueError(f"tail is {tail}, expected at least 2")
    unlabelable = float("nan")
    if eligible is not None:
        able = np.asarray(eligible, dtype=bool)
        if able.shape != (data.n_units,):
            raise ValueError(f"eligible has shape {able.shape}, expected ({data.n_units},)")
        if not able[data.is_event].all():
            raise ValueError("an event is marked as not eligible")
        unlabelable = float((~able[~data.is_event]).mean())
    series = [row[:length] for row, length in zip(data.values, data.lengths, strict=True)]
    left, returned = _excursions(series)
    reach = min(tail, int(data.lengths.min()))
    ends = np.array([one[len(one) - reach :] for one in series])
    separation = [
        auc(ends[data.is_event, -1 - back], ends[~data.is_event, -1 - back])
        if data.n_events > 1 and data.n_controls > 1
        else 0.5
        for back in range(reach)
    ]
    best = int(np.argmax(np.abs(np.array(separation) - 0.5)))
    event_ends = ends[data.is_event]
    alike = len(event_ends) >= _LEAST_UNITS and bool((event_ends == event_ends[0]).all())
    # A series that never moves ends alike for no reason of the label's.
    moving = bool(np.ptp(event_ends[0]) > 0) and data.n_events >= _LEAST_UNITS
    peaks = data.peak(data.values)
    stairs = staircase(peaks, data.is_event)
    reachable = (contract or FPContract()).reachable(data.n_controls)
    _, sizes = np.unique(peaks, return_counts=True)
    return LeakReport(
        data.n_events,
        data.n_controls,
        left >= _LEAST_UNITS and returned == 0,
        left,
        returned,
        float(separation[best]),
        best,
        alike and moving,
        float(sizes.max() / data.n_units),
        not bool(np.isin(stairs.false_alarms, reachable).any()),
        unlabelable,
    )


def accepted_configurations(run: Replay, contract: FPContract | None = None) -> int:
    """Count the frozen configurations whose alarms on a replay's series keep the contract.

    Parameters
    ----------
    run : Replay
    contract : FPContract, optional
    """
    contract = contract or FPContract()
    controls = run.included().query("label == 'control'")["user"]
    # Most series are alike: each is judged once.
    copies = Counter(tuple(run.series(int(user)).tolist()) for user in controls)
    if not copies:
        return 0
    accepted = 0
    for family, params in CONFIGURATIONS:
        alarms = sum(n for one, n in copies.items() if alarm(family, params, one))
        accepted += contract.accepts(alarms, len(controls))
    return accepted


def before_streak(run: Replay, seed: int) -> Panel:
    """Return a replay's series cut where the label is not yet being counted.

    Events stop before the first miss of the streak that makes them events. Controls stop after as
    many steps as an event drawn at random, so that length tells nothing.

    Parameters
    ----------
    run : Replay
    seed : int
        Of the lengths drawn for controls.
    """
    table = run.included()
    rng = np.random.default_rng(seed)
    events = table.loc[table["label"] == "event", "collapse"].to_numpy() - run.config.streak
    series = []
    for user, label, collapse in zip(table["user"], table["label"], table["collapse"], strict=True):
        length = collapse - run.config.streak if label == "event" else int(rng.choice(events))
        series.append(run.series(int(user))[: max(1, length)])
    return Panel.from_series(series, (table["label"] == "event").to_numpy(), table["user"].tolist())


def planted_panel(n_events: int, n_controls: int, n_times: int, signal: float, seed: int) -> Panel:
    """Return a simulated panel: white noise, and in events a rise over the last tenth.

    Parameters
    ----------
    n_events, n_controls, n_times : int
    signal : float
        Height of the rise, in standard deviations of the noise; 0 for none.
    seed : int
    """
    if min(n_events, n_controls) < 1 or n_times < 10:
        raise ValueError("expected at least one event, one control and ten times")
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_events + n_controls, n_times))
    values[:n_events, -(n_times // 10) :] += signal
    return Panel.from_series(list(values), np.arange(len(values)) < n_events)


def _excursions(series: list[Floats]) -> tuple[int, int]:
    """Units that left the panel's resting value, and those that came back to it.

    The resting value is the first value of most units; where none is, there is no such state.
    """
    starts, counts = np.unique([one[0] for one in series], return_counts=True)
    if counts.max() <= len(series) / 2:
        return 0, 0
    rest = starts[int(np.argmax(counts))]
    left = returned = 0
    for one in series:
        away = one != rest
        if away.any():
            left += 1
            returned += int(not away[int(np.argmax(away)) :].all())
    return left, returned
