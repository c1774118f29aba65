"""The paper's own detector (A1): three witnesses beyond control quantiles, k rows in a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.collapse_warning.panel import Bools
from lib.core import check

__all__ = ["QuantileDetector", "Thresholds"]

WITNESSES = ("G", "p", "delta")


@dataclass(frozen=True)
class Thresholds:
    """Limits that gain and persistence must exceed and diversity must stay below."""

    gain: float
    persistence: float
    diversity: float


@dataclass(frozen=True)
class QuantileDetector:
    """Alarm where ``G > q``, ``p > q`` and ``delta < 100 - q`` percentile, `k` rows in a row.

    Parameters
    ----------
    q : float
        Percentile, between 0 and 100.
    k : int
        Consecutive rows of one unit, at least 1.

    References
    ----------
    arXiv 2606.00329, supplement A1.
    """

    q: float = 95.0
    k: int = 3

    def __post_init__(self) -> None:
        check.number("q", self.q, above=0, below=100)
        check.integer("k", self.k, at_least=1)

    def fit(self, controls: pd.DataFrame) -> Thresholds:
        """Return the percentiles of control rows.

        Parameters
        ----------
        controls : DataFrame
            Columns ``G``, ``p``, ``delta``; if there is a column ``is_event``, it must be false.

        Raises
        ------
        ValueError
            If a column is missing, there is no row, a value is NaN, or a row is of an event.
        """
        check.columns("controls", controls, WITNESSES)
        for name in WITNESSES:
            check.array(name, controls[name].to_numpy())
        if "is_event" in controls and controls["is_event"].any():
            raise ValueError("quantiles are fitted on control rows only; found rows of events")
        return Thresholds(
            float(np.percentile(controls["G"], self.q)),
            float(np.percentile(controls["p"], self.q)),
            float(np.percentile(controls["delta"], 100 - self.q)),
        )

    def score(self, rows: pd.DataFrame, limits: Thresholds) -> pd.Series:
        """Return the running score: how many rows in a row lie beyond all limits.

        The detector alarms where it reaches `k`.

        Parameters
        ----------
        rows : DataFrame
            Columns ``unit``, ``time``, ``G``, ``p``, ``delta``.
        limits : Thresholds

        Returns
        -------
        Series of int
            With the index of `rows`.
        """
        check.columns("rows", rows, ("unit", "time", *WITNESSES))
        ordered = rows.reset_index(drop=True).sort_values(["unit", "time"], kind="stable")
        fires = (
            (ordered["G"] > limits.gain)
            & (ordered["p"] > limits.persistence)
            & (ordered["delta"] < limits.diversity)
        ).to_numpy()
        longest = _longest_run(fires, ordered["unit"].ne(ordered["unit"].shift()).to_numpy())
        in_order = pd.Series(longest, index=ordered.index).sort_index()
        return in_order.set_axis(rows.index)

    def alarmed(self, rows: pd.DataFrame, limits: Thresholds) -> pd.Series:
        """Say of each unit whether it alarms.

        Parameters
        ----------
        rows : DataFrame
            Columns ``unit``, ``time``, ``G``, ``p``, ``delta``.
        limits : Thresholds

        Returns
        -------
        Series of bool
            By unit.
        """
        return self.score(rows, limits).groupby(rows["unit"].to_numpy()).max() >= self.k


def _longest_run(fires: Bools, starts: Bools) -> np.ndarray:
    """Length of the run of true values that ends at each row; a run stops where a unit starts."""
    at = np.arange(len(fires))
    # The last row that did not fire, or the row before the unit's first, whichever is later.
    quiet = np.maximum.accumulate(np.where(fires, -1, at))
    first = np.maximum.accumulate(np.where(starts, at - 1, -1))
    return np.asarray(at - np.maximum(quiet, first))
