"""Panels: one series a unit, each unit an event or a control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["Bools", "Floats", "Panel", "check_labels", "check_scores"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]


def check_labels(is_event: npt.ArrayLike, n_units: int) -> Bools:
    """Return the labels as an array of bool, or say what is wrong with them.

    Raises
    ------
    ValueError
        If there is not one label a unit, a label is neither true nor false, or events or controls
        are missing.
    """
    labels = np.asarray(is_event)
    if labels.shape != (n_units,):
        raise ValueError(f"is_event has shape {labels.shape}, expected ({n_units},): one a unit")
    if labels.dtype != bool:
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"is_event holds {np.unique(labels)[:5]}, expected true and false")
        labels = labels.astype(bool)
    if not labels.any():
        raise ValueError("no unit is an event; expected at least one")
    if labels.all():
        raise ValueError("no unit is a control; expected at least one")
    return np.asarray(labels, dtype=np.bool_)


def check_scores(score: npt.ArrayLike) -> Floats:
    """Return one score a unit as floats; minus infinity (never alarms) is allowed.

    Raises
    ------
    ValueError
        If the array is not one-dimensional, is empty, or holds NaN or plus infinity.
    """
    values = np.asarray(score, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"score has shape {values.shape}, expected (n_units,), not empty")
    wrong = np.isnan(values) | np.isposinf(values)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"score of unit {at} is {values[at]}, expected a number or -inf")
    return values


@dataclass(frozen=True, eq=False)
class Panel:
    """Series of several units, padded to one length.

    Parameters
    ----------
    values : ndarray, shape (n_units, n_times)
        Each row padded on the right with the unit's last value, so that a causal score of the
        unit's own times does not see the padding.
    lengths : ndarray of int, shape (n_units,)
        Times that each unit really has.
    is_event : ndarray of bool, shape (n_units,)
    units : ndarray of object, shape (n_units,)
        Names, unique.

    See Also
    --------
    Panel.from_frame, Panel.from_series : the usual ways to make one.
    """

    values: Floats
    lengths: Ints
    is_event: Bools
    units: npt.NDArray[np.object_]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError(f"values have shape {self.values.shape}, expected (n_units, n_times)")
        wrong = ~np.isfinite(self.values)
        if wrong.any():
            unit, at = (int(x[0]) for x in np.nonzero(wrong))
            raise ValueError(
                f"value {at} of unit {self.units[unit]!r} is {self.values[unit, at]}, "
                "expected a finite number"
            )
        n_units, n_times = self.values.shape
        if self.lengths.shape != (n_units,) or len(self.units) != n_units:
            raise ValueError(f"expected {n_units} lengths and names, one a unit")
        if self.lengths.min() < 1 or self.lengths.max() > n_times:
            raise ValueError(f"lengths must lie in 1 to {n_times}, found {self.lengths.min()}")
        check_labels(self.is_event, n_units)
        if len(set(self.units)) != n_units:
            twice = pd.Series(self.units)[pd.Series(self.units).duplicated()].iloc[0]
            raise ValueError(f"unit {twice!r} occurs twice, expected unique names")

    @classmethod
    def from_series(
        cls,
        series: Sequence[npt.ArrayLike],
        is_event: npt.ArrayLike,
        units: Sequence[object] | None = None,
    ) -> Panel:
        """Make a panel of one array a unit.

        Parameters
        ----------
        series : sequence of array-like
            One-dimensional, not empty; lengths may differ.
        is_event : array-like of bool, shape (n_units,)
        units : sequence, optional
            Names; by default 0, 1, ….

        Raises
        ------
        ValueError
            If a series is empty, not one-dimensional or not finite, or labels do not fit.

        Examples
        --------
        >>> Panel.from_series([[1, 2, 3], [4, 5]], [True, False]).values
        array([[1., 2., 3.],
               [4., 5., 5.]])
        """
        rows = [np.asarray(one, dtype=np.float64) for one in series]
        if not rows:
            raise ValueError("no series given, expected at least two")
        for at, row in enumerate(rows):
            if row.ndim != 1 or not len(row):
                raise ValueError(f"series {at} has shape {row.shape}, expected (n_times,)")
        lengths = np.array([len(row) for row in rows])
        values = np.array([np.pad(row, (0, lengths.max() - len(row)), mode="edge") for row in rows])
        names = np.empty(len(rows), dtype=object)
        names[:] = list(range(len(rows))) if units is None else list(units)
        return cls(values, lengths, check_labels(is_event, len(rows)), names)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        unit: str = "unit",
        time: str = "time",
        value: str = "value",
        is_event: str = "is_event",
    ) -> Panel:
        """Make a panel of a long table, one row a unit and time.

        Parameters
        ----------
        frame : DataFrame
        unit, time, value, is_event : str
            Names of its columns. Rows are sorted by unit and time.

        Raises
        ------
        ValueError
            If a column is missing, the table is empty, a value is not finite, a unit has one time
            twice or two labels, or events or controls are missing.

        Examples
        --------
        >>> frame = pd.DataFrame(
        ...     {"unit": list("aabb"), "time": [0, 1, 0, 1], "value": [1.0, 2.0, 0.0, 1.0],
        ...      "is_event": [True, True, False, False]}
        ... )
        >>> Panel.from_frame(frame).n_controls
        1
        """
        for name in (unit, time, value, is_event):
            if name not in frame.columns:
                raise ValueError(f"no column {name!r}; there are: {', '.join(map(str, frame))}")
        if frame.empty:
            raise ValueError("the panel has no rows")
        bad = ~np.isfinite(pd.to_numeric(frame[value], errors="coerce").to_numpy(dtype=float))
        if bad.any():
            row = frame.iloc[int(np.flatnonzero(bad)[0])]
            raise ValueError(
                f"{value} is {row[value]!r} at {unit} {row[unit]!r}, {time} {row[time]!r}; "
                "expected a finite number"
            )
        twice = frame.duplicated([unit, time])
        if twice.any():
            row = frame.loc[twice].iloc[0]
            raise ValueError(f"{unit} {row[unit]!r} has {time} {row[time]!r} twice")
        ordered = frame.sort_values([unit, time], kind="stable")
        groups = ordered.groupby(unit, sort=True)
        mixed = groups[is_event].min() != groups[is_event].max()
        if mixed.any():
            raise ValueError(f"{unit} {mixed.index[mixed][0]!r} is both event and control")
        names = list(groups.groups)
        return cls.from_series(
            [part.to_numpy(dtype=np.float64) for _, part in groups[value]],
            groups[is_event].first().to_numpy(),
            names,
        )

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.values)

    @property
    def n_events(self) -> int:
        """Number of event units."""
        return int(self.is_event.sum())

    @property
    def n_controls(self) -> int:
        """Number of control units."""
        return int((~self.is_event).sum())

    def peak(self, scores: Floats) -> Floats:
        """Return the highest running score of each unit over its own times.

        Parameters
        ----------
        scores : ndarray, shape (n_units, n_times)

        Returns
        -------
        ndarray, shape (n_units,)

        Raises
        ------
        ValueError
            If the shape is another.
        """
        scores = np.asarray(scores, dtype=np.float64)
        if scores.shape != self.values.shape:
            raise ValueError(f"scores have shape {scores.shape}, expected {self.values.shape}")
        own = np.arange(self.values.shape[1]) < self.lengths[:, None]
        return np.asarray(np.where(own, scores, -np.inf).max(axis=1))
