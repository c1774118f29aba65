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
    assert (panel.n_units, panel.n_events, panel.n_controls) == (2, 1, 1)


def test_peak_looks_at_a_unit_s_own_times_only():
    panel = Panel.from_frame(frame())
    assert panel.peak(np.array([[0, 1, 9.0], [0, 1, 9.0]])).tolist() == [1, 9]
    with pytest.raises(ValueError, match="expected"):
        panel.peak(np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="value"), "no column 'value'"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.assign(value=[1, np.nan, 1, 1, 1]), "finite"),
        (lambda f: f.assign(value=[1, np.inf, 1, 1, 1]), "finite"),
        (lambda f: f.assign(time=[0, 0, 0, 1, 2]), "twice"),
        (lambda f: f.assign(is_event=[True, False, False, False, False]), "both event and control"),
        (lambda f: f.assign(is_event=True), "no unit is a control"),
        (lambda f: f.assign(is_event=False), "no unit is an event"),
    ],
)
def test_bad_frames_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Panel.from_frame(change(frame()))


def test_bad_series_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Panel.from_series([[1.0], []], [True, False])
    with pytest.raises(ValueError, match="unique"):
        Panel.from_series([[1.0], [2.0]], [True, False], ["a", "a"])
    with pytest.raises(ValueError, match="one a unit"):
        Panel.from_series([[1.0], [2.0]], [True])
    with pytest.raises(ValueError, match="at least two"):
        Panel.from_series([], [])


def test_labels_and_scores_are_checked():
    assert check_labels([0, 1], 2).tolist() == [False, True]
    with pytest.raises(ValueError, match="true and false"):
        check_labels([0, 2], 2)
    with pytest.raises(ValueError, match="number or -inf"):
        check_scores([1.0, np.nan])
    with pytest.raises(ValueError, match="not empty"):
        check_scores([])
    assert np.isneginf(check_scores([-np.inf])).all()
