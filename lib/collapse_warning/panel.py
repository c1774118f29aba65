"""Panels: one series a unit, each unit an event or a control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.core import check

__all__ = ["Bools", "Floats", "Panel", "check_labels", "check_scores"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]

_STEP = 1e-6
"""Distances in time that differ by less than this share are one step."""


def check_flags(name: str, flags: npt.ArrayLike, n_units: int) -> Bools:
    """Return one truth value a unit as an array of bool.

    Raises
    ------
    ValueError
        If there is not one a unit, or one is neither true nor false (1 and 0 will do).
    """
    found = np.asarray(flags)
    if found.shape != (n_units,):
        raise ValueError(f"{name} has shape {found.shape}, expected ({n_units},): one a unit")
    for at, one in enumerate(found.tolist()):
        if not isinstance(one, bool | int | float) or one not in (0, 1):
            raise ValueError(f"{name}[{at}] is {one!r}, expected true or false")
    return np.asarray(found.astype(bool), dtype=np.bool_)


def check_labels(is_event: npt.ArrayLike, n_units: int) -> Bools:
    """Return the labels as an array of bool, or say what is wrong with them.

    Raises
    ------
    ValueError
        If there is not one label a unit, a label is neither true nor false (1 and 0 will do), or
        events or controls are missing.
    """
    check.integer("n_units", n_units, at_least=2)
    labels = check_flags("is_event", is_event, n_units)
    if not labels.any():
        raise ValueError("is_event: no unit is an event; expected at least one")
    if labels.all():
        raise ValueError("is_event: no unit is a control; expected at least one")
    return labels


def check_scores(score: npt.ArrayLike) -> Floats:
    """Return one score a unit as floats; minus infinity (never alarms) is allowed.

    Raises
    ------
    ValueError
        If the array is not one-dimensional, is empty, or holds text, NaN or plus infinity.
    """
    raw = np.asarray(score)
    if raw.ndim != 1 or not raw.size:
        raise ValueError(f"score has shape {raw.shape}, expected (n_units,), not empty")
    never = raw == -np.inf if raw.dtype.kind == "f" else np.zeros(raw.shape, dtype=bool)
    check.array("score", np.where(never, 0, raw) if never.any() else raw)
    return raw.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Panel:
    """Series of several units, padded to one length.

    Parameters
    ----------
    values : ndarray, shape (n_units, n_times)
        Each row padded on the right with the unit's last value, so that a causal score of the
        unit's own times does not see the padding.
    lengths : ndarray of int, shape (n_units,)
        Steps that each unit really has.
    is_event : ndarray of bool, shape (n_units,)
    units : ndarray of object, shape (n_units,)
        Names, unique.
    times : tuple of ndarray, optional
        The time of each step of each unit, none for the padding; by default steps have numbers
        only.

    Raises
    ------
    ValueError
        If shapes do not fit each other, or a value, length, label or name is none.

    See Also
    --------
    Panel.from_frame, Panel.from_series : the usual ways to make one.
    """

    values: Floats
    lengths: Ints
    is_event: Bools
    units: npt.NDArray[np.object_]
    times: tuple[npt.NDArray[Any], ...] | None = None

    def __post_init__(self) -> None:
        values = check.array("values", self.values, shape=("n_units", "n_times"))
        n_units, n_times = values.shape
        size = check.integers(
            "lengths", self.lengths, shape=(n_units,), at_least=1, at_most=n_times
        )
        if len(self.units) != n_units:
            raise ValueError(f"units holds {len(self.units)} names, expected {n_units}")
        if self.times is not None:
            steps, lengths = [len(one) for one in self.times], size.tolist()
            if steps != lengths:
                raise ValueError(f"times hold {steps!r:.80} steps, expected {lengths!r:.80}")
        units = np.empty(n_units, dtype=object)
        units[:] = list(self.units)
        labels = check_labels(self.is_event, n_units)
        # Lists will do, and what follows may count on arrays.
        vars(self).update(values=values, lengths=size, is_event=labels, units=units)
        check.unique("units", self.units)
        for at, one in enumerate(self.units):
            if one is None or one != one:
                raise ValueError(f"units[{at}] is {one!r}, expected a name")

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
        if len(series) < 2:
            raise ValueError(f"series holds {len(series)} units, expected at least two")
        rows = [check.array(f"series[{at}]", one, shape=("n",)) for at, one in enumerate(series)]
        return _padded(rows, check_labels(is_event, len(rows)), units, None)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        unit: str = "unit",
        time: str = "time",
        value: str = "value",
        is_event: str = "is_event",
        gaps: Literal["refuse", "close"] = "refuse",
    ) -> Panel:
        """Make a panel of a long table, one row a unit and time.

        Parameters
        ----------
        frame : DataFrame
        unit, time, value, is_event : str
            Names of its columns. Rows are sorted by unit and time; times are numbers or dates.
        gaps : {"refuse", "close"}
            What to do where a unit misses a time: refuse the panel, or count rows as steps all the
            same, so that a step may be longer than another. Dates are even where they are so in
            seconds, on their own clock (days across a change of it), or in months.

        Raises
        ------
        ValueError
            If a column is missing or there twice, the table is empty, a unit, time or label is
            missing, times are texts, a value is not finite, a unit has one time twice, a gap or two
            labels, or events or controls are missing.

        Examples
        --------
        >>> frame = pd.DataFrame(
        ...     {"unit": list("aabb"), "time": [0, 1, 0, 1], "value": [1.0, 2.0, 0.0, 1.0],
        ...      "is_event": [True, True, False, False]}
        ... )
        >>> Panel.from_frame(frame).n_controls
        1
        """
        check.columns("frame", frame, (unit, time, value, is_event))
        check.known("gaps", gaps, ("refuse", "close"))
        if frame.empty:
            raise ValueError("frame is empty, expected one row a unit and time")
        for name in (unit, time, is_event):
            if (missing := frame[name].isna()).any():
                at = int(np.flatnonzero(missing)[0])
                shown = frame[name].tolist()[at]
                raise ValueError(f"{name} is {shown!r} in row {at}, expected one")
        check.array(value, frame[value].to_numpy())
        times = frame[time].infer_objects()
        if all(isinstance(one, date) for one in times):
            times = pd.to_datetime(times)
        if not _is_date(times):
            if not pd.api.types.is_numeric_dtype(times):
                words = f"{time} holds {times.iloc[0]!r} (column of {times.dtype})"
                raise ValueError(f"{words}, expected numbers or dates, all of one kind, not text")
            # One infinite time would hide every gap: rounding is judged by the largest.
            check.array(time, times.to_numpy())
        frame = frame.assign(**{time: times})
        twice = frame.duplicated([unit, time])
        if twice.any():
            row = frame.loc[twice].iloc[0]
            raise ValueError(f"{unit} {row[unit]!r} has {time} {row[time]!r} twice, expected once")
        ordered = frame.sort_values([unit, time], kind="stable")
        groups = ordered.groupby(unit, sort=True)
        mixed = groups[is_event].min() != groups[is_event].max()
        if mixed.any():
            raise ValueError(
                f"{unit} {mixed.index[mixed][0]!r} is both event and control, expected one label"
            )
        if gaps == "refuse":
            _refuse_gaps(ordered[unit], ordered[time])
        series = [part.to_numpy(dtype=np.float64) for _, part in groups[value]]
        if len(series) < 2:
            raise ValueError(f"{unit} has {len(series)} units, expected at least two")
        return _padded(
            series,
            check_labels(groups[is_event].first().to_numpy(), len(series)),
            list(groups.groups),
            tuple(part.to_numpy() for _, part in groups[time]),
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

    def first(self, n_steps: int) -> Panel:
        """Return the first `n_steps` steps of the units that have so many; shorter ones go.

        Raises
        ------
        ValueError
            If no event or no control is left.
        """
        return self._cut(n_steps, from_end=False)

    def last(self, n_steps: int | None = None) -> Panel:
        """Return the last `n_steps` steps of the units that have so many; shorter ones go.

        Parameters
        ----------
        n_steps : int, optional
            By default as many as the shortest unit has.

        Examples
        --------
        >>> panel = Panel.from_series([[1, 2, 3], [4, 5]], [True, False])
        >>> panel.last().values
        array([[2., 3.],
               [4., 5.]])
        """
        return self._cut(int(self.lengths.min()) if n_steps is None else n_steps, from_end=True)

    def _cut(self, n_steps: int, *, from_end: bool) -> Panel:
        size = check.integer("n_steps", n_steps, at_least=1, at_most=int(self.lengths.max()))
        kept = np.flatnonzero(self.lengths >= size)
        starts = self.lengths[kept] - size if from_end else np.zeros(len(kept), dtype=np.intp)
        where = [slice(start, start + size) for start in starts.tolist()]
        events = self.is_event[kept]
        if events.all() or not events.any():
            raise ValueError(
                f"n_steps is {size}: {events.sum()} events and {(~events).sum()} controls have so "
                "many, expected one of each at least"
            )
        return Panel(
            np.array([self.values[at, one] for at, one in zip(kept, where, strict=True)]),
            np.full(len(kept), size, dtype=np.intp),
            events,
            self.units[kept],
            None
            if self.times is None
            else tuple(self.times[at][one] for at, one in zip(kept, where, strict=True)),
        )


def _padded(
    rows: Sequence[Floats],
    labels: Bools,
    units: Sequence[object] | None,
    times: tuple[npt.NDArray[Any], ...] | None,
) -> Panel:
    lengths = np.array([len(row) for row in rows])
    values = np.array([np.pad(row, (0, lengths.max() - len(row)), mode="edge") for row in rows])
    names = np.empty(len(rows), dtype=object)
    if units is not None and len(units) != len(rows):
        raise ValueError(f"units holds {len(units)} names, expected {len(rows)}")
    names[:] = list(range(len(rows))) if units is None else list(units)
    return Panel(values, lengths, labels, names, times)


def _is_date(times: pd.Series) -> bool:
    return bool(
        pd.api.types.is_datetime64_any_dtype(times)
        or pd.api.types.is_timedelta64_dtype(times)
        or isinstance(times.dtype, pd.PeriodDtype)
    )


def _steps(time: pd.Series) -> list[pd.Series]:
    """Distances to the time before: the first is shown, and one that is even will do."""
    if isinstance(time.dtype, pd.PeriodDtype):
        return [pd.Series([one.ordinal for one in time]).diff()]
    if not _is_date(time):
        return [time.diff()]
    found = [time.diff().dt.total_seconds()]
    if pd.api.types.is_datetime64_any_dtype(time):
        local = time.dt.tz_localize(None)
        found.append(local.diff().dt.total_seconds())
        if (local.dt.day == local.dt.day.iloc[0]).all() or local.dt.is_month_end.all():
            found.append((12 * local.dt.year + local.dt.month).diff())
    return found


def _refuse_gaps(unit: pd.Series, time: pd.Series) -> None:
    """Refuse times, ordered by unit, whose distances within the units are not all one step."""
    inside = (unit == unit.shift()).to_numpy()
    if not inside.any():
        return
    # Two times of type float lie apart up to the distance of doubles so large.
    rounding = 2 * np.spacing(np.abs(time.to_numpy()).max()) if time.dtype.kind == "f" else 0.0
    for distances in reversed(_steps(time)):
        steps = distances.to_numpy(dtype=np.float64)
        usual = float(np.median(steps[inside]))
        odd = inside & (np.abs(steps - usual) > _STEP * usual + rounding)
        if usual > 0 and not odd.any():
            return
    at = int(np.flatnonzero(odd)[0])
    raise ValueError(
        f"unit {unit.iloc[at]!r} has a gap in time: {steps[at]:g} before {time.iloc[at]}, "
        f"expected steps of {usual:g}; fill it, or say gaps='close' to count rows as steps, as "
        "for trading days"
    )
