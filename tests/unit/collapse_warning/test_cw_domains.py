"""Other domains: protocol, calibration, controls."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lib.collapse_warning import domains, peers, plots_results, plots_theory
from lib.collapse_warning.detectors import Level, textbook


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
    table = domains.calibrate_and_judge(dated, (Level(),))
    assert table.loc["sees the days ahead", "p"] < 0.01
    assert table.loc["always alarm", "calibrated"] != "accepted"
    assert table.loc["never alarm", "hits"] == 0
    shifted = domains.calibrate_and_judge(dated, textbook(20), shift_labels=61)
    assert not (shifted["holm"].dropna() < 0.05).any()


def test_calibration_does_not_see_the_evaluation(dated):
    later = dated.dates >= np.datetime64(domains.SPLIT)
    values = dated.panel.values.copy()
    values[later] *= 3
    other = domains.DatedPanel(
        domains.Panel(values, dated.panel.lengths, dated.panel.is_event, dated.panel.units),
        dated.dates,
        dated.worst,
    )
    first, second = (domains.calibrate_and_judge(one, (Level(),)) for one in (dated, other))
    assert second.loc["level", "false_alarms"] > first.loc["level", "false_alarms"]


def test_circular_shifts():
    events = np.zeros(60, dtype=bool)
    events[[10, 11, 40]] = True
    assert domains.circular_shift_p(events, events) < 0.05
    assert domains.circular_shift_p(np.ones(60, dtype=bool), events) == 1.0
    with pytest.raises(ValueError, match="expected at least"):
        domains.circular_shift_p(events[:5], events[:5])


def test_holm():
    assert domains.holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])
    with pytest.raises(ValueError, match="between 0 and 1"):
        domains.holm([2.0])


def test_grid_panel_is_seeded_and_apart():
    first, dropped = domains.grid_panel(1)
    again, _ = domains.grid_panel(1)
    other, _ = domains.grid_panel(2)
    assert (first.n_events, first.n_controls) == (8, 96)
    assert first.units.tolist() == again.units.tolist()
    assert first.units.tolist() != other.units.tolist()
    assert (first.lengths >= domains.GRID_LEAST_HOURS).all()
    assert dropped["hours"] == int((domains.GRID_HOURS - first.lengths).sum())


def test_vix_is_there_from_2014():
    panel = domains.vix_panel()
    assert panel.dates[0] > np.datetime64("2014-01-01")
    assert panel.panel.n_events > 0


def test_ewstools_agrees():
    x = np.random.default_rng(0).normal(size=(2, 50))
    assert max(peers.largest_difference(x, 12).values()) < 1e-12


def test_figures_draw(dated):
    table = domains.calibrate_and_judge(dated, (Level(),))
    grid, _ = domains.grid_panel(0)
    for figure in (
        plots_results.domain_figure(table, (0.03, 0.07)),
        plots_results.panel_figure(grid, "share"),
        plots_theory.cycle_figure(),
        plots_theory.miss_figure({"a": [np.array([False, True]), np.array([False])]}),
    ):
        assert figure.axes
        plt.close(figure)
