"""The same numbers from two libraries that are in use: ewstools and river."""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import pandas as pd

from lib.collapse_warning.detectors import AC1, PageHinkley, Variance
from lib.collapse_warning.panel import Bools, Floats

__all__ = ["ewstools_scores", "largest_difference", "river_alarm_starts", "same_alarms"]


def ewstools_scores(values: Floats, window: int) -> tuple[Floats, Floats]:
    """Return rolling variance and lag-one autocorrelation by ewstools, unit by unit.

    Parameters
    ----------
    values : ndarray, shape (n_units, n_times)
    window : int
        Values; at least 3.

    Returns
    -------
    variance, autocorrelation : ndarray, shape (n_units, n_times)
        NaN before the first full window.
    """
    # The import writes to the screen and warns about packages this does not use.
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        import ewstools

        pair: tuple[list[Floats], list[Floats]] = ([], [])
        for row in values:
            series = ewstools.TimeSeries(pd.Series(row))
            series.compute_var(rolling_window=window)
            series.compute_auto(rolling_window=window, lag=1)
            pair[0].append(series.ews["variance"].to_numpy())
            pair[1].append(series.ews["ac1"].to_numpy())
    return np.array(pair[0]), np.array(pair[1])


def largest_difference(values: Floats, window: int) -> dict[str, float]:
    """Return the largest difference between our scores and those of ewstools."""
    variance, autocorrelation = ewstools_scores(values, window)
    ours = Variance(window)(values), AC1(window)(values)
    result = {}
    for name, mine, theirs in (
        ("variance", ours[0], variance),
        ("AC1", ours[1], autocorrelation),
    ):
        both = np.isfinite(mine) & np.isfinite(theirs)
        if not both.any() or (np.isfinite(mine) != np.isfinite(theirs)).any():
            raise ValueError(f"{name}: the two are not defined at the same times")
        result[name] = float(np.abs(mine[both] - theirs[both]).max())
    return result


def river_alarm_starts(
    values: Floats, threshold: float, delta: float, least: int = 30
) -> list[int | None]:
    """Return the first time at which river's Page-Hinkley test alarms in each unit.

    Parameters
    ----------
    values : ndarray, shape (n_units, n_times)
    threshold, delta : float
    least : int
        Values before the first alarm (river's ``min_instances``).
    """
    from river.drift import PageHinkley as RiverPageHinkley

    found: list[int | None] = []
    for row in values:
        test = RiverPageHinkley(
            min_instances=least, delta=delta, threshold=threshold, alpha=0.9999, mode="up"
        )
        first = None
        for at, value in enumerate(row.tolist()):
            test.update(value)
            if test.drift_detected:
                first = at
                break
        found.append(first)
    return found


def same_alarms(values: Floats, threshold: float, delta: float, least: int = 30) -> Bools:
    """Say of each unit whether our Page-Hinkley score first exceeds where river's test alarms."""
    scores = PageHinkley(delta, reference=0)(values)
    over = scores > threshold
    over[:, : least - 1] = False
    ours = [int(np.argmax(row)) if row.any() else None for row in over]
    theirs = river_alarm_starts(values, threshold, delta, least)
    return np.array([a == b for a, b in zip(ours, theirs, strict=True)])
