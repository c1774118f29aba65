"""Evaluation: verdicts, intervals, dummies, the interactive figure."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import roc_auc_score

from lib.collapse_warning import FPContract, Panel, evaluate, evaluate_all
from lib.collapse_warning.detectors import Level
from lib.collapse_warning.evaluation import (
    JUMPED,
    SILENT,
    UNREACHABLE,
    binomial_interval,
    evaluate_scores,
    summary,
)
from lib.collapse_warning.interactive import threshold_explorer
from lib.collapse_warning.plots_contract import interval_figure, power_figure, staircase_figure

RNG = np.random.default_rng(1)
LABELS = np.arange(140) < 40
SCORE = RNG.normal(size=140) + 1.5 * LABELS


def test_a_good_score_is_accepted_and_beats_chance():
    found = evaluate_scores(SCORE, LABELS)
    assert found.accepted
    assert found.beats_chance
    assert FPContract().accepts(found.false_alarms, 100)
    assert found.auc == pytest.approx(roc_auc_score(LABELS, SCORE))
    assert found.auc_interval[0] < found.auc < found.auc_interval[1]
    table = [[found.hits, 40 - found.hits], [found.false_alarms, 100 - found.false_alarms]]
    assert found.p_value == pytest.approx(fisher_exact(table, alternative="greater")[1])


def test_a_shuffled_score_does_not_beat_chance():
    lucky = [
        evaluate_scores(RNG.permutation(SCORE), LABELS, n_bootstrap=1).beats_chance
        for _ in range(40)
    ]
    assert np.mean(lucky) < 0.3


def test_verdicts_name_the_reason():
    few = np.arange(15) < 5
    assert evaluate_scores(np.arange(15.0), few).verdict == UNREACHABLE
    assert evaluate_scores(np.zeros(140), LABELS).verdict == JUMPED
    assert evaluate_scores(np.full(140, -np.inf), LABELS).verdict == SILENT
    assert "jump" in str(evaluate_scores(np.zeros(140), LABELS))


def test_dummies_stand_beside_every_table():
    panel = Panel.from_series([[s] for s in SCORE], LABELS)
    assert list(evaluate(panel, Level()).table().index) == ["level", "always alarm", "never alarm"]
    rows = summary(evaluate_all(panel, [Level()]))
    assert list(rows.index) == ["level", "always alarm", "never alarm"]
    assert not rows.loc[["always alarm", "never alarm"], "beats_chance"].any()


def test_binomial_interval_is_exact():
    assert binomial_interval(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert binomial_interval(10, 10)[1] == 1.0
    with pytest.raises(ValueError, match="expected"):
        binomial_interval(3, 2)
    with pytest.raises(ValueError, match="confidence"):
        binomial_interval(1, 2, 1.0)


def test_same_seed_same_interval():
    assert (
        evaluate_scores(SCORE, LABELS).auc_interval == evaluate_scores(SCORE, LABELS).auc_interval
    )


def test_figures_draw():
    found = evaluate_scores(SCORE, LABELS)
    for figure in (
        staircase_figure([found]),
        power_figure([38, 62]),
        interval_figure({"a": {"x": (0.0, -1.0, 1.0)}}, "effect", null=0),
    ):
        assert figure.axes
        plt.close(figure)
    with pytest.raises(ValueError, match="at least one"):
        staircase_figure([])


def test_explorer_follows_the_staircase():
    found = evaluate_scores(SCORE, LABELS)
    data = threshold_explorer({"score": found}).to_dict()["datasets"]
    rows = next(v for v in data.values() if "percent" in v[0])
    assert [row["percent"] for row in rows] == list(range(101))
    assert rows[-1]["hits"] == 40
    assert {row["inside"] for row in rows} == {True, False}
    for row in rows:
        assert row["inside"] == FPContract().accepts(row["false alarms"], 100)
    with pytest.raises(ValueError, match="at least one"):
        threshold_explorer({})
    with pytest.raises(ValueError, match="percentage"):
        threshold_explorer({"score": found}, start=101)
