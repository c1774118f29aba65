"""The markets benchmark, recomputed from the author's released minute packets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from lib.collapse_warning.contract import FPContract
from lib.collapse_warning.detectors import (
    AC1,
    Bocpd,
    Cusum,
    Detector,
    Ewma,
    Glr,
    Level,
    MatrixProfile,
    PageHinkley,
    PermutationEntropy,
    Variance,
)
from lib.collapse_warning.effects import ClusteredEffect
from lib.collapse_warning.panel import Bools, Floats, Panel
from lib.collapse_warning.quantile import QuantileDetector
from lib.collapse_warning.study import artefacts

__all__ = [
    "COLUMNS",
    "DAYS",
    "a1_cells",
    "direction",
    "diversity",
    "effects",
    "late",
    "left_out_detectors",
    "packets",
    "panel",
    "spikes",
    "sweep_detectors",
    "timeline",
    "units",
]

DAYS = (
    "covid_mwcb_2020_03_18",
    "covid_noncollapse_2020_03_11",
    "covid_noncollapse_2020_03_13",
    "volmageddon_2018_xiv",
    "volmageddon_control_2018_01_25",
    "volmageddon_control_2018_01_29",
    "volmageddon_control_2018_02_08",
)
"""The two event days and the five control days of the benchmark."""

SYMBOLS = ("SPY", "QQQ", "IWM", "VXX", "UVXY", "SVXY")
SEGMENT_MINUTES = 120
MIN_ROWS = 60
LATE_MINUTES = 30
GRID_Q = (50, 60, 70, 75, 80, 85, 90, 95, 99)
GRID_K = (1, 3, 5)
PREREGISTERED_Q = (90, 95, 99)
COLUMNS = {"G": "G", "p": "raw_p_debug", "delta": "delta"}
"""Witness to released column, as A1 and S2 use them. The packets also hold `G_debug` and `p`."""

_FOLDER = "results/rendered/equity_dislocation_family/intraday_v2_ingredient_packet"


def packets() -> pd.DataFrame:
    """Return all minutes of the seven days: the released columns, ``day``, ``time``, ``is_event``.

    Raises
    ------
    lib.core.data.DataError
        If a file cannot be had or is altered.
    """
    parts = []
    for day in DAYS:
        part = artefacts.table(f"{_FOLDER}/cfg_001339__{day}.packet.csv")
        part.insert(0, "day", day)
        parts.append(part)
    rows = pd.concat(parts, ignore_index=True)
    rows.insert(1, "time", pd.to_datetime(rows["ts_utc"], utc=True))
    rows.insert(2, "is_event", rows["kind"] == "event")
    rows["collapse"] = pd.to_datetime(rows["collapse_ts_utc"], utc=True)
    return rows


def units(
    minutes: pd.DataFrame, length: int = SEGMENT_MINUTES, min_rows: int | None = None
) -> pd.DataFrame:
    """Cut each day into segments and keep those with enough minutes.

    Parameters
    ----------
    minutes : DataFrame
        From :func:`packets`.
    length : int
        Minutes of a segment, counted from the day's first full hour.
    min_rows : int, optional
        By default half the length, which is the benchmark's 60 of 120.

    Returns
    -------
    DataFrame
        The rows kept, with ``unit``, ``start`` and ``end`` (the last minute with data).
    """
    if length < 2:
        raise ValueError(f"length is {length} minutes, expected at least 2")
    least = MIN_ROWS * length // SEGMENT_MINUTES if min_rows is None else min_rows
    opening = pd.to_datetime(minutes["window_start_ts_utc"], utc=True)
    number = (minutes["time"] - opening) // pd.Timedelta(minutes=length)
    rows = minutes.assign(
        unit=minutes["day"] + "/" + (number + 1).astype(str).str.zfill(2),
        start=opening + number * pd.Timedelta(minutes=length),
    )
    # The released segments end with their last minute of data, not with the clock's.
    rows["end"] = rows.groupby("unit")["time"].transform("max")
    size = rows.groupby("unit")["time"].transform("size")
    return rows[size >= least].sort_values(["unit", "time"], kind="stable").reset_index(drop=True)


def late(rows: pd.DataFrame, minutes: int = LATE_MINUTES) -> pd.DataFrame:
    """Return the last `minutes` minutes of each unit, the first of them included."""
    return rows[rows["time"] >= rows["end"] - pd.Timedelta(minutes=minutes)]


def _witnesses(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["unit", "time", "day", "is_event"]].assign(
        **{name: rows[column] for name, column in COLUMNS.items()}
    )


def a1_cells(
    rows: pd.DataFrame,
    grid_q: Sequence[float] = GRID_Q,
    grid_k: Sequence[int] = GRID_K,
    *,
    fit_on_events: bool = False,
) -> pd.DataFrame:
    """Run the paper's quantile detector over a grid.

    Parameters
    ----------
    rows : DataFrame
        Late minutes of the units.
    grid_q, grid_k : sequence
    fit_on_events : bool
        The control that must fail: quantiles of event rows.

    Returns
    -------
    DataFrame
        One row a cell: ``q``, ``k``, thresholds, alarmed ``controls`` and ``events``, ``accepted``.
    """
    table = _witnesses(rows)
    chosen = table[table["is_event"] == fit_on_events].drop(columns="is_event")
    labels = table.groupby("unit")["is_event"].first()
    contract = FPContract()
    cells = []
    for q in grid_q:
        for k in grid_k:
            detector = QuantileDetector(q, k)
            limits = detector.fit(chosen)
            alarmed = detector.alarmed(table, limits)
            controls = int((alarmed & ~labels).sum())
            cells.append(
                {
                    "q": q,
                    "k": k,
                    "q_G": limits.gain,
                    "q_p": limits.persistence,
                    "q_delta": limits.diversity,
                    "controls": controls,
                    "events": int((alarmed & labels).sum()),
                    "accepted": contract.accepts(controls, int((~labels).sum())),
                }
            )
    return pd.DataFrame(cells)


def effects(rows: pd.DataFrame, cluster: str = "unit") -> dict[str, ClusteredEffect]:
    """Return the effect sizes of each witness on late minutes, clustered by unit or day."""
    table = _witnesses(rows)
    return {
        name: ClusteredEffect.from_rows(table[name], table[cluster], table["is_event"])
        for name in COLUMNS
    }


def direction(rows: pd.DataFrame, column: str, how: str = "mean") -> tuple[float, float]:
    """Return the mean over event units and over control units of a column's unit means.

    Parameters
    ----------
    rows : DataFrame
    column : str
        A released column.
    how : {"mean", "median"}
        Of a unit's minutes.
    """
    each = rows.groupby(["is_event", "unit"])[column].agg(how).groupby(level=0).mean()
    return float(each[True]), float(each[False])


def spikes(rows: pd.DataFrame, column: str = "G_debug", factor: float = 1e6) -> pd.DataFrame:
    """Return the event minutes whose value exceeds `factor` times the controls' median."""
    typical = rows.loc[~rows["is_event"], column].median()
    return rows.loc[rows["is_event"] & (rows[column] > factor * typical), ["unit", "time", column]]


def timeline(rows: pd.DataFrame) -> pd.DataFrame:
    """Place each event unit before, across or after the stated collapse of its day.

    Returns
    -------
    DataFrame
        By unit: ``start``, ``end``, ``collapse``, ``where``.
    """
    each = rows[rows["is_event"]].groupby("unit")[["start", "end", "collapse"]].first()
    last = each["end"]
    each["where"] = np.where(
        last <= each["collapse"],
        "before",
        np.where(each["start"] > each["collapse"], "after", "across"),
    )
    return each


def panel(rows: pd.DataFrame, column: str = "s") -> Panel:
    """Return one series a unit.

    Parameters
    ----------
    rows : DataFrame
        From :func:`units`.
    column : str
        ``s`` for ``log(1 + G)``, the comparators' input; ``stress`` for the mean absolute return
        over symbols; or a released column.
    """
    if column == "s":
        value = np.log1p(rows["G"])
    elif column == "stress":
        value = rows[[f"{symbol}_abs_return" for symbol in SYMBOLS]].mean(axis=1)
    else:
        value = rows[column]
    # Minutes without a trade are missing: a step is a minute with data.
    return Panel.from_frame(rows[["unit", "time", "is_event"]].assign(value=value), gaps="close")


def sweep_detectors(window: int = 30) -> tuple[Detector, ...]:
    """Return the textbook scores of the threshold sweep, with settings fixed before the run.

    The window is the 30 minutes over which the author's gain is normalised; the allowances are
    the usual half standard deviation (CUSUM) and river's default scaled to the series (0.05).
    """
    sums = Cusum(0.5, window), PageHinkley(0.05, reference=window)
    return (Variance(window), AC1(window), *sums, Level())


def left_out_detectors(window: int = 30) -> tuple[Detector, ...]:
    """Return scores of families that the sweep does not hold, with settings fixed before the run.

    The paper leaves EWMA, BOCPD and likelihood ratios out, and runs the other two on slow grids.
    """
    named = Ewma(reference=window), Bocpd(reference=window), Glr(window)
    return (*named, PermutationEntropy(window=window), MatrixProfile(max(4, window // 3)))


def diversity(returns: Floats, window: int = 30, rtol: float = 0.0) -> tuple[Floats, Bools]:
    """Entropy of the eigenvalues of the trailing correlation matrix, normalised.

    Correlations are pairwise over the minutes that two symbols both have; a symbol that does not
    move in the window is left out.

    Parameters
    ----------
    returns : ndarray, shape (n_minutes, n_symbols)
        NaN where a symbol has no return.
    window : int
        Minutes.
    rtol : float
        Eigenvalues up to this share of the largest count as zero. The released numbers come out
        with 0, that is, with every positive one counted, so that rounding decides on windows
        without full rank.

    Returns
    -------
    delta : ndarray, shape (n_minutes - window + 1,)
        The entropy over the logarithm of the number of eigenvalues counted.
    deficient : ndarray of bool, same shape
        Whether an eigenvalue of the symbols that move is zero up to 1e-9 of the largest, or
        below zero; or a symbol has a single return in the window, and so a row of zeros, which
        the released numbers seem to count.

    Raises
    ------
    ValueError
        If there are fewer minutes than the window, or a return is infinite.
    """
    x = np.asarray(returns, dtype=np.float64)
    if x.ndim != 2 or len(x) < window or window < 2:
        raise ValueError(f"returns have shape {x.shape}, expected at least {window} minutes")
    if np.isinf(x).any():
        raise ValueError("returns hold infinity, expected numbers or NaN")
    here = sliding_window_view(~np.isnan(x), window, axis=0).astype(np.float64)
    y = sliding_window_view(np.nan_to_num(x), window, axis=0)
    count = np.einsum("tiw,tjw->tij", here, here)
    safe = np.maximum(count, 1)
    total = np.einsum("tiw,tjw->tij", y, here)
    square = np.einsum("tiw,tjw->tij", y**2, here) - total**2 / safe
    joint = np.einsum("tiw,tjw->tij", y, y) - total * total.transpose(0, 2, 1) / safe
    scale = np.sqrt(np.maximum(square, 0) * np.maximum(square.transpose(0, 2, 1), 0))
    tiny = 1e-12 * np.einsum("tiw,tjw->tij", y**2, here).max(axis=(1, 2), keepdims=True)
    correlation = np.where(scale > tiny, joint / np.where(scale > tiny, scale, 1), 0.0)
    moves = np.einsum("tii->ti", scale > tiny)
    correlation *= moves[:, :, None] * moves[:, None, :]
    # A symbol left out gets the eigenvalue -1, which never counts; zero could come out above zero.
    np.einsum("tii->ti", correlation)[...] = np.where(moves, 1, -1)
    values = np.linalg.eigvalsh(correlation)
    top = np.maximum(values.max(axis=1, keepdims=True), np.finfo(float).tiny)
    kept = np.where(values > rtol * top, values, 0)
    share = kept / np.maximum(kept.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1)
    counted = (kept > 0).sum(axis=1)
    delta = np.where(counted > 1, entropy / np.log(np.maximum(counted, 2)), 0.0)
    full = (values > 1e-9 * top).sum(axis=1) == moves.sum(axis=1)
    lonely = (np.einsum("tii->ti", count) == 1).any(axis=1)
    return delta, ~full | lonely
