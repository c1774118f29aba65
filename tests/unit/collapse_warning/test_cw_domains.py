"""Other domains: protocol, calibration, controls."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.collapse_warning.detectors import Cusum, Level, MatrixProfile, Variance, textbook
from lib.collapse_warning.study import domains, figures, peers
from lib.collapse_warning.study.cost import operations


@pytest.fixture(scope="module")
def dated():
    return domains.index_panel()


def test_units_are_dated_and_labelled_by_what_follows(dated):
    closes = domains.indices()["sp500"]
    assert (np.diff(dated.dates).astype(int) > 0).all()
    at = 17
    place = closes.index.get_loc(dated.dates[at])
    ahead = closes.iloc[place + 1 : place + 11]
    assert dated.worst[at] == pytest.approx(ahead.min() / closes.iloc[place] - 1)
    assert dated.panel.is_event[at] == (dated.worst[at] <= -0.05)
    assert (dated.panel.lengths == domains.UNIT_DAYS).all()


def test_a_detector_that_peeks_wins_and_shifted_labels_lose(dated):
    table = domains.calibrate_and_judge(dated, domains.peaks(dated, (Level(),)))
    assert table.loc["level", ["controls", "events"]].tolist() == [231, 14]
    assert table.loc["sees the days ahead", "p"] < 0.01
    assert table.loc["always alarm", "calibrated"] != "accepted"
    assert table.loc["never alarm", "hits"] == 0
    shifted = domains.calibrate_and_judge(
        dated, domains.peaks(dated, textbook(20)), shift_labels=61
    )
    assert not (shifted["holm"].dropna() < 0.05).any()


def test_no_unit_of_one_period_shares_a_day_with_the_other(dated):
    before, after = domains.periods(dated)
    table = domains.calibrate_and_judge(dated, domains.peaks(dated, (Level(),)))
    assert dated.panel.is_event[after].sum() == table.loc["level", "events"] == 14
    assert not (before & after).any()
    days = domains.indices().index.to_numpy()
    first_day = days[np.searchsorted(days, dated.dates[after][0]) - domains.UNIT_DAYS + 1]
    assert dated.dates[before][-1] < first_day
    assert domains.periods(dated, "2011-01-01")[0].sum() > before.sum()


def test_calibration_does_not_see_the_evaluation(dated):
    later = dated.dates >= np.datetime64(domains.SPLIT)
    values = dated.panel.values.copy()  # noqa: PD011
    values[later] *= 3
    other = domains.DatedPanel(
        domains.Panel(values, dated.panel.lengths, dated.panel.is_event, dated.panel.units),
        dated.dates,
        dated.worst,
    )
    first, second = (
        domains.calibrate_and_judge(one, domains.peaks(one, (Level(),))) for one in (dated, other)
    )
    assert second.loc["level", "false_alarms"] > first.loc["level", "false_alarms"]


def test_circular_shifts():
    events = np.zeros(60, dtype=bool)
    events[[10, 11, 40]] = True
    assert domains.circular_shift_p(events, events) < 0.05
    assert domains.circular_shift_p(np.ones(60, dtype=bool), events) == 1.0
    with pytest.raises(ValueError, match="expected at least"):
        domains.circular_shift_p(events[:5], events[:5])


def test_periods_dealt_out_anew_keep_their_sizes(dated):
    plain = domains.calibrate_and_judge(dated, domains.peaks(dated, (Level(),)))
    dealt = domains.calibrate_and_judge(dated, domains.peaks(dated, (Level(),)), deal=1)
    size = ["controls", "events"]
    assert dealt.loc["level", size].sum() == plain.loc["level", size].sum()
    assert dealt.loc["level", "false_alarms"] != plain.loc["level", "false_alarms"]


def test_grid_panel_is_seeded_and_apart():
    first, dropped = domains.grid_panel(1)
    again, _ = domains.grid_panel(1)
    other, _ = domains.grid_panel(2)
    assert (first.n_events, first.n_controls) == (8, 96)
    assert first.units.tolist() == again.units.tolist()
    assert first.units.tolist() != other.units.tolist()
    assert (first.lengths >= domains.GRID_LEAST_HOURS).all()
    assert dropped["hours"] == int((domains.GRID_HOURS - first.lengths).sum())


def test_ewstools_agrees():
    x = np.random.default_rng(0).normal(size=(2, 50))
    assert max(peers.largest_difference(x, 12).values()) < 1e-12


def test_figures_draw(dated):
    table = domains.calibrate_and_judge(dated, domains.peaks(dated, (Level(),)))
    cost = pd.DataFrame({"level": [10, 20], "other": [10, 40]}, index=[1, 2])
    for figure in (
        figures.domain_figure(table, (0.03, 0.07)),
        figures.cost_figure(cost),
        figures.miss_figure({"a": [np.array([False, True]), np.array([False])]}),
    ):
        assert figure.axes
        plt.close(figure)


def test_operations_are_counted():
    assert operations(Level(), 100) == operations(Level(), 100, seed=3)
    short, long = (operations(Variance(10), n) for n in (200, 2000))
    assert 8 < long / short < 12
    # Of every pair of windows: about n²/2 products of 8 numbers, for two units.
    assert operations(MatrixProfile(8), 400) > 2 * 8 * 390**2 / 2
    assert operations(Cusum(), 1) < 100
    # Nothing is left behind: detectors compute as before.
    assert type(Variance(2)(np.ones((1, 3)))) is np.ndarray
    with pytest.raises(ValueError, match="length is 0"):
        operations(Level(), 0)
