"""Panels: what they hold and what they refuse."""

import numpy as np
import pandas as pd
import pytest

from lib.collapse_warning.panel import Panel, check_labels, check_scores


def frame():
    return pd.DataFrame(
        {
            "unit": ["a", "a", "b", "b", "b"],
            "time": [1, 0, 0, 1, 2],
            "value": [2.0, 1.0, 3.0, 4.0, 5.0],
            "is_event": [True, True, False, False, False],
        }
    )


def test_rows_are_sorted_and_padded_with_the_last_value():
    panel = Panel.from_frame(frame())
    assert panel.values.tolist() == [[1, 2, 2], [3, 4, 5]]  # noqa: PD011
    assert panel.lengths.tolist() == [2, 3]
    assert panel.units.tolist() == ["a", "b"]
    assert [one.tolist() for one in panel.times] == [[0, 1], [0, 1, 2]]
    assert (panel.n_units, panel.n_events, panel.n_controls) == (2, 1, 1)


def test_other_column_names():
    other = frame().rename(columns={"unit": "u", "time": "t", "value": "v", "is_event": "y"})
    panel = Panel.from_frame(other, unit="u", time="t", value="v", is_event="y")
    assert panel.values[1].tolist() == [3, 4, 5]  # noqa: PD011


def test_units_are_cut_to_their_first_or_last_steps():
    series = [[1, 2, 3, 4], [5, 6, 7], [8, 9]]
    panel = Panel.from_series(series, [True, False, False], list("abc"))
    assert panel.last().values.tolist() == [[3, 4], [6, 7], [8, 9]]  # noqa: PD011
    assert panel.last(3).values.tolist() == [[2, 3, 4], [5, 6, 7]]  # noqa: PD011
    assert panel.last(3).units.tolist() == ["a", "b"]
    assert panel.first(3).values.tolist() == [[1, 2, 3], [5, 6, 7]]  # noqa: PD011
    assert panel.first(2).lengths.tolist() == [2, 2, 2]
    assert Panel.from_frame(frame()).last(2).times[1].tolist() == [1, 2]
    with pytest.raises(ValueError, match="at most 4"):
        panel.last(5)
    with pytest.raises(ValueError, match="at least 1"):
        panel.first(0)
    with pytest.raises(ValueError, match="n_steps is 4: 1 events and 0 controls have so many"):
        panel.last(4)
    turned = Panel.from_series(series, [False, True, True])
    with pytest.raises(ValueError, match="n_steps is 4: 0 events and 1 controls have so many"):
        turned.first(4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="value"), "column is 'value'"),
        (lambda f: f.iloc[:0], "empty"),
        (lambda f: f.assign(value=[1, np.nan, 1, 1, 1]), "nan, expected a finite"),
        (lambda f: f.assign(value=[1, np.inf, 1, 1, 1]), "inf, expected a finite"),
        (lambda f: f.assign(value=list("12345")), "'1', expected a finite"),
        (lambda f: f.assign(unit=["a", "a", None, "b", "b"]), r"unit is (None|nan) in row 2"),
        (lambda f: f.assign(unit=["a", "a", np.nan, np.nan, np.nan]), "unit is nan in row 2"),
        (lambda f: f.assign(time=[1, 0, np.nan, 1, 2]), "time is nan in row 2"),
        (lambda f: f.assign(time=[str(t) for t in f["time"]]), "not text"),
        (lambda f: f.assign(time=[1, 0, 0, 1, np.inf]), r"time\[4\] is inf, expected a finite"),
        (lambda f: f.assign(time=[1, 0, 0, 1, 2 + 1j]), r"time\[0\] is \(1\+0j\), expected"),
        (lambda f: f.assign(time=[1, 0, 0, 1, "2"]), r"holds 1 \(column of object\), expected num"),
        (
            lambda f: f.assign(time=[1, 0, 0, 1, 3]),
            "gaps='close' to count rows as steps, as for tr",
        ),
        (lambda f: f.assign(time=[1, 0, 0, 1, 3]), "gap in time: 2 before 3, expected steps of 1"),
        (lambda f: f.assign(is_event=[True, True, None, None, None]), "is_event is None in row 2"),
        (lambda f: f.assign(is_event=[1.0, 1.0, np.nan, 0, 0]), "is_event is nan in row 2"),
        (lambda f: f.assign(is_event=[2, 2, 0, 0, 0]), "expected true and false|is 2"),
        (lambda f: f.assign(time=[0, 0, 0, 1, 2]), "twice"),
        (lambda f: f.assign(is_event=[True, False, False, False, False]), "both event and control"),
        (lambda f: f.assign(is_event=True), "no unit is a control"),
        (lambda f: f.assign(is_event=False), "no unit is an event"),
        (lambda f: f.iloc[:2], "has 1 units"),
    ],
)
def test_bad_frames_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Panel.from_frame(change(frame()))


def test_numbers_in_a_column_of_objects_are_numbers():
    objects = frame().assign(time=frame()["time"].astype(object))
    assert Panel.from_frame(objects).times[1].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="gap in time: 2 before 3"):
        Panel.from_frame(objects.assign(time=np.array([1, 0, 0, 1, 3], dtype=object)))


def test_a_panel_of_lists_holds_arrays():
    panel = Panel([[1, 2], [3, 4]], [2, 2], [1, 0], ["a", "b"], ([0, 1], [0, 1]))
    assert panel.values.dtype == float  # noqa: PD011
    assert panel.lengths.dtype == int
    assert panel.is_event.tolist() == [True, False]
    assert panel.units.tolist() == ["a", "b"]
    assert panel.first(1).values.tolist() == [[1], [3]]  # noqa: PD011
    with pytest.raises(ValueError, match=r"times hold \[2\] steps, expected \[2, 2\]"):
        Panel([[1, 2], [3, 4]], [2, 2], [1, 0], ["a", "b"], ([0, 1],))
    with pytest.raises(ValueError, match=r"times hold \[2, 1\] steps, expected \[2, 2\]"):
        Panel([[1, 2], [3, 4]], [2, 2], [1, 0], ["a", "b"], ([0, 1], [0]))


def test_gaps_are_closed_on_request_only():
    gappy = frame().assign(time=[1, 0, 0, 1, 3])
    assert Panel.from_frame(gappy, gaps="close").values[1].tolist() == [3, 4, 5]  # noqa: PD011
    with pytest.raises(ValueError, match="did you mean 'close'"):
        Panel.from_frame(gappy, gaps="clos")


def test_dates_are_times_and_their_gaps_are_seen():
    days = pd.to_datetime(["2026-01-02", "2026-01-01", "2026-01-01", "2026-01-02", "2026-01-03"])
    assert Panel.from_frame(frame().assign(time=days)).lengths.tolist() == [2, 3]
    late = pd.Series(days).where(np.arange(5) < 4, pd.Timestamp("2026-01-05"))
    with pytest.raises(ValueError, match="gap in time"):
        Panel.from_frame(frame().assign(time=late))
    periods = pd.Series(days).dt.to_period("D")
    assert Panel.from_frame(frame().assign(time=periods)).lengths.tolist() == [2, 3]


def of_times(times):
    times = pd.Series(times)
    return pd.concat(
        [
            pd.DataFrame({"unit": unit, "time": times, "value": 1.0, "is_event": unit == "a"})
            for unit in "ab"
        ]
    )


EVEN = {
    "months": pd.Series(pd.period_range("2020-01", periods=8, freq="M")),
    "quarters": pd.Series(pd.period_range("2020Q1", periods=8, freq="Q")),
    "month ends": pd.Series(pd.date_range("2020-01-31", periods=8, freq="ME")),
    "the fifth": pd.Series(pd.date_range("2020-01-05", periods=8, freq=pd.DateOffset(months=1))),
    "local days": pd.Series(pd.date_range("2026-03-25", periods=8, tz="Europe/Berlin")),
    "local hours": pd.Series(
        pd.date_range("2026-03-28 22:00", periods=8, freq="h", tz="Europe/Berlin")
    ),
    "ten a second": pd.Series(1.7e9 + np.arange(8) / 10),
    "microseconds": pd.Series(pd.date_range("2026-01-01", periods=8, freq="us")),
    "days of the calendar": pd.Series(pd.date_range("2026-01-01", periods=8).date),
    "spans": pd.Series(pd.timedelta_range("0h", periods=8, freq="h")),
    "whole numbers": pd.Series(np.arange(8, dtype=np.uint8)),
}


@pytest.mark.parametrize("kind", EVEN)
def test_even_times_are_even_on_their_own_clock(kind):
    times = EVEN[kind]
    panel = Panel.from_frame(of_times(times))
    assert panel.lengths.tolist() == [8, 8]
    assert len(panel.times[0]) == 8
    with pytest.raises(ValueError, match=r"unit 'a' has a gap in time: .* before"):
        Panel.from_frame(of_times(times.drop(index=4)))


def test_a_column_there_twice_is_named():
    for name in ("unit", "time", "value", "is_event"):
        twice = pd.concat([frame(), frame()[[name]]], axis=1)
        with pytest.raises(ValueError, match=f"frame has 2 columns '{name}', expected one"):
            Panel.from_frame(twice)


def test_bad_series_are_refused():
    with pytest.raises(ValueError, match=r"series\[1\] is empty"):
        Panel.from_series([[1.0], []], [True, False])
    with pytest.raises(ValueError, match=r"series\[1\] has shape"):
        Panel.from_series([[1.0], [[2.0]]], [True, False])
    with pytest.raises(ValueError, match=r"units\[1\] is 'a'"):
        Panel.from_series([[1.0], [2.0]], [True, False], ["a", "a"])
    with pytest.raises(ValueError, match="holds 1 names, expected 2"):
        Panel.from_series([[1.0], [2.0]], [True, False], ["a"])
    with pytest.raises(ValueError, match="one a unit"):
        Panel.from_series([[1.0], [2.0]], [True])
    with pytest.raises(ValueError, match="at least two"):
        Panel.from_series([], [])
    with pytest.raises(ValueError, match="at most 1"):
        Panel(np.ones((2, 1)), np.array([1, 2]), np.array([True, False]), np.array(["a", "b"]))
    with pytest.raises(ValueError, match="holds 1 names"):
        Panel(np.ones((2, 1)), np.array([1, 1]), np.array([True, False]), np.array(["a"]))


def test_labels_and_scores_are_checked():
    assert check_labels([0, 1], 2).tolist() == [False, True]
    assert check_labels([0.0, 1.0], 2).dtype == bool
    for bad in ([0, 2], ["yes", "no"], [0, np.nan], [None, True]):
        with pytest.raises(ValueError, match="expected true or false"):
            check_labels(bad, 2)
    with pytest.raises(ValueError, match=r"score\[1\] is nan"):
        check_scores([1.0, np.nan])
    with pytest.raises(ValueError, match=r"score\[0\] is inf"):
        check_scores([np.inf, 1.0])
    with pytest.raises(ValueError, match="'1.0'"):  # noqa: RUF043
        check_scores(["1.0", "2.0"])
    with pytest.raises(ValueError, match="not empty"):
        check_scores([])
    with pytest.raises(ValueError, match="shape"):
        check_scores([[1.0]])
    assert check_scores([-np.inf, 2]).tolist() == [-np.inf, 2.0]
