"""Two more domains under the same contract: daily indices and load sheds.

The protocol of each was written before its results were looked at; the constants below are it.

Indices
    A unit is the last 60 trading days before a date; dates are ten trading days apart. It is an
    event if the S&P 500 closes at least 5 % below the date's close within the next ten trading
    days. The series is the mean absolute log return of the S&P 500 and the NASDAQ Composite, in
    percent. Thresholds are set on 1999 to 2008 and judged on 2009 to 2018.
Grid
    A unit is the 48 hours before a load shed, or before an hour drawn at random of the same
    balancing authority that is at least 30 days from any of its load sheds. The series is demand
    above the day-ahead forecast, as a share of the forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from lib.collapse_warning.contract import FPContract
from lib.collapse_warning.detectors import Detector
from lib.collapse_warning.evaluation import evaluate_scores, holm
from lib.collapse_warning.panel import Bools, Floats, Panel
from lib.core import data
from lib.stats import binomial

__all__ = [
    "DatedPanel",
    "calibrate_and_judge",
    "circular_shift_p",
    "grid_panel",
    "index_panel",
    "indices",
    "peaks",
    "periods",
]

UNIT_DAYS = 60
STEP_DAYS = 10
AHEAD_DAYS = 10
FALL = 0.05
SPLIT = "2009-01-01"
GRID_HOURS = 48
GRID_LEAST_HOURS = 36
GRID_APART_DAYS = 30
GRID_CONTROLS = 12
"""Controls drawn for each load shed."""


@dataclass(frozen=True, eq=False)
class DatedPanel:
    """A panel whose units have a date, in time order.

    Parameters
    ----------
    panel : Panel
    dates : ndarray of datetime64, shape (n_units,)
        The last day of each unit.
    worst : ndarray, shape (n_units,)
        The lowest return over the days ahead: what a detector must not see.
    """

    panel: Panel
    dates: npt.NDArray[np.datetime64]
    worst: Floats


@lru_cache(maxsize=1)
def indices() -> pd.DataFrame:
    """Return daily closes from 1999 to 2018: ``sp500``, ``nasdaq``.

    Raises
    ------
    lib.core.data.DataError
        If the installed package's files are not the registered ones.
    """
    columns = {}
    for name in ("sp500", "nasdaq"):
        file = data.path("market_indices", f"arch/data/{name}/{name}.csv.gz")
        table = pd.read_csv(file, parse_dates=[0])
        table = table.set_index(table.columns[0])
        columns[name] = table["Adj Close"]
    joined = pd.DataFrame(columns).dropna()
    if (joined <= 0).any().any() or not joined.index.is_monotonic_increasing:
        raise ValueError("closes must be positive and in the order of time")
    return joined


def index_panel() -> DatedPanel:
    """Return the panel of both stock indices, 1999 to 2018."""
    closes = indices()
    returns = (closes / closes.shift()).map(np.log).abs() * 100
    series, close = returns.mean(axis=1).to_numpy(), closes["sp500"].to_numpy()
    days = closes.index.to_numpy()
    ends = np.arange(UNIT_DAYS, len(close) - AHEAD_DAYS, STEP_DAYS)
    worst = np.array([close[end + 1 : end + AHEAD_DAYS + 1].min() / close[end] - 1 for end in ends])
    rows = [series[end - UNIT_DAYS + 1 : end + 1] for end in ends]
    names = [str(days[end])[:10] for end in ends]
    return DatedPanel(Panel.from_series(rows, worst <= -FALL, names), days[ends], worst)


def circular_shift_p(alarms: Bools, is_event: Bools, apart: int = UNIT_DAYS // STEP_DAYS) -> float:
    """P-value of the hits under circular shifts of the labels.

    Units overlap in time, so labels are shifted as a whole: their dependence stays, their tie to
    the alarms goes. Shifts that leave units overlapping their old place are left out.

    Parameters
    ----------
    alarms, is_event : ndarray of bool, shape (n_units,)
        In time order.
    apart : int
        Least shift, in units.
    """
    n = len(alarms)
    if n != len(is_event) or n < 2 * apart + 2:
        raise ValueError(f"{n} alarms, {len(is_event)} labels: expected at least {2 * apart + 2}")
    observed = int((alarms & is_event).sum())
    shifted = [
        int((alarms & np.roll(is_event, shift)).sum()) for shift in range(apart, n - apart + 1)
    ]
    return (1 + sum(one >= observed for one in shifted)) / (1 + len(shifted))


def peaks(dated: DatedPanel, detectors: Sequence[Detector]) -> dict[str, Floats]:
    """Return the highest score of each unit, by detector."""
    return {one.name: one(dated.panel.values).max(axis=1) for one in detectors}


def periods(dated: DatedPanel, split: str = SPLIT) -> tuple[Bools, Bools]:
    """Return which units are for calibration, and which to judge on: none share a day."""
    boundary = np.datetime64(split)
    after = dated.dates >= boundary + np.timedelta64(int(UNIT_DAYS * 7 / 5) + 7, "D")
    return dated.dates < boundary, after


def calibrate_and_judge(
    dated: DatedPanel,
    scores: Mapping[str, Floats],
    split: str = SPLIT,
    contract: FPContract | None = None,
    *,
    shift_labels: int = 0,
    deal: int | None = None,
) -> pd.DataFrame:
    """Set each threshold on the units before a date and judge it on those after.

    Parameters
    ----------
    dated : DatedPanel
    scores : mapping of str to ndarray, shape (n_units,)
        From :func:`peaks`.
    split : str
        The first day of the evaluation period; units that straddle it are left out.
    contract : FPContract, optional
    shift_labels : int
        Units by which labels are shifted: a control without any tie to the series.
    deal : int, optional
        Seed with which units are dealt out anew between the two periods: a control in which they
        are exchangeable.

    Returns
    -------
    DataFrame
        One row a detector, then a detector that sees the days ahead, then always and never:
        ``calibrated`` (the contract's verdict in calibration), ``false_alarms``, ``fpr``, ``hits``,
        ``tpr`` with interval on the evaluation units, ``kept`` (the band holds there too), ``p``
        (circular shifts) and ``holm``.
    """
    contract = contract or FPContract()
    labels = np.roll(dated.panel.is_event, shift_labels)
    before, after = periods(dated, split)
    if deal is not None:
        used = np.random.default_rng(deal).permutation(np.flatnonzero(before | after))
        n_before = int(before.sum())
        for period, members in ((before, used[:n_before]), (after, used[n_before:])):
            period[:] = np.isin(np.arange(len(period)), members)
    every = {**scores, "sees the days ahead": np.roll(-dated.worst, shift_labels)}
    every |= {"always alarm": 0 * dated.worst, "never alarm": np.full_like(dated.worst, -np.inf)}
    rows = {}
    for name, score in every.items():
        fitted = evaluate_scores(score[before], labels[before], contract, name=name)
        alarms = score[after] >= (fitted.point.threshold if fitted.point else np.inf)
        events = labels[after]
        false, hits = int((alarms & ~events).sum()), int((alarms & events).sum())
        n_controls, n_events = int((~events).sum()), int(events.sum())
        low, high = binomial(hits, n_events).ends
        rows[name] = {
            "calibrated": fitted.verdict,
            "controls": n_controls,
            "false_alarms": false,
            "fpr": false / n_controls,
            "events": n_events,
            "hits": hits,
            "tpr": hits / n_events,
            "low": low,
            "high": high,
            "kept": fitted.accepted and contract.accepts(false, n_controls),
            "p": circular_shift_p(alarms, events) if fitted.accepted else 1.0,
        }
    table = pd.DataFrame(rows).T
    table["holm"] = np.nan
    table.loc[list(scores), "holm"] = holm(table.loc[list(scores), "p"].astype(float).tolist())
    return table


@lru_cache(maxsize=1)
def _sheds() -> pd.DataFrame:
    file = data.path("grid_sheds", "gridshedwatch/events.yaml")
    events = yaml.safe_load(file.read_text(encoding="utf-8"))["events"]
    rows = [
        (name, one["eia930_respondent"], pd.Timestamp(one["onset_utc"]), one["max_shed_mw"])
        for name, one in events.items()
    ]
    return pd.DataFrame(rows, columns=["event", "authority", "onset", "megawatt"])


def grid_panel(seed: int = 0) -> tuple[Panel, dict[str, int]]:
    """Return the panel of load sheds and their controls.

    Parameters
    ----------
    seed : int
        Of the hours drawn as controls.

    Returns
    -------
    panel : Panel
    dropped : dict of str to int
        ``hours`` missing in the units kept, ``windows`` of controls drawn and not kept for having
        too few hours.
    """
    rng = np.random.default_rng(seed)
    series, labels, names = [], [], []
    dropped = {"hours": 0, "windows": 0}
    sheds = _sheds()
    for authority, group in sheds.groupby("authority", sort=True):
        member = f"gridshedwatch/snapshot_v1.0/eia930/{authority}.csv.gz"
        table = pd.read_csv(data.path("grid_sheds", member), parse_dates=["period_utc"])
        hourly = table.set_index("period_utc").asfreq("h")
        value = (hourly["D"] - hourly["DF"]) / hourly["DF"].where(hourly["DF"] > 0)
        onsets = group["onset"].dt.floor("h")

        def window(end: pd.Timestamp, value: pd.Series = value) -> pd.Series:
            hour = pd.Timedelta(hours=1)
            return value.loc[end - GRID_HOURS * hour : end - hour]

        for name, onset in zip(group["event"], onsets, strict=True):
            part = window(onset)
            kept = part.dropna()
            if len(kept) < GRID_LEAST_HOURS:
                raise ValueError(f"{name}: {len(kept)} of {GRID_HOURS} hours, too few")
            dropped["hours"] += GRID_HOURS - len(kept)
            series.append(kept.to_numpy())
            labels.append(True)
            names.append(str(name))
        far = np.ones(len(value), dtype=bool)
        for onset in onsets:
            far &= np.abs((value.index - onset) / pd.Timedelta(days=1)) >= GRID_APART_DAYS
        far[:GRID_HOURS] = False
        wanted = GRID_CONTROLS * len(group)
        for at in rng.permutation(np.flatnonzero(far)):
            if not wanted:
                break
            kept = window(value.index[at]).dropna()
            if len(kept) < GRID_LEAST_HOURS:
                dropped["windows"] += 1
                continue
            dropped["hours"] += GRID_HOURS - len(kept)
            series.append(kept.to_numpy())
            labels.append(False)
            names.append(f"{authority} {value.index[at]:%Y-%m-%d %H}h")
            wanted -= 1
    return Panel.from_series(series, labels, names), dropped
