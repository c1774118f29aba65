"""Evaluation: verdicts, exact tests, modes, lead times, dummies, figures."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import roc_auc_score

from lib.collapse_warning import (
    FPContract,
    Panel,
    evaluate,
    evaluate_all,
    evaluate_scores,
    summary,
    textbook,
)
from lib.collapse_warning.detectors import AC1, Cusum, Ewma, Glr, Level, PageHinkley, Variance
from lib.collapse_warning.evaluation import (
    JUMPED,
    SILENT,
    UNREACHABLE,
    auc_interval,
    held_out,
    holm,
    ranks_within,
)
from lib.collapse_warning.study.explorer import threshold_explorer
from lib.collapse_warning.study.figures import interval_figure, power_figure, staircase_figure
from lib.core.figures import colors
from lib.stats import independent_shares

RNG = np.random.default_rng(1)
LABELS = np.arange(140) < 40
SCORE = RNG.normal(size=140) + 1.5 * LABELS


def of_counts(hits, n_events, false, n_controls):
    """Scores of which so many events and controls alarm when the band allows `false`."""
    events = np.r_[np.full(hits, 9.0), np.zeros(n_events - hits)] + np.arange(n_events) / 1e3
    controls = np.r_[np.full(false, 8.0), np.full(n_controls - false, 5.0)]
    score = np.r_[events, controls + np.arange(n_controls) / 1e3]
    return score, np.arange(len(score)) < n_events


def test_a_good_score_is_accepted_and_beats_chance():
    found = evaluate_scores(SCORE, LABELS)
    assert found.accepted
    assert found.beats_chance
    assert found.false_alarms == 7
    assert found.hits == int((SCORE[:40] > np.sort(SCORE[40:])[-8]).sum())
    assert found.point.threshold == min(s for s in SCORE if s > np.sort(SCORE[40:])[-8])
    assert found.auc == pytest.approx(roc_auc_score(LABELS, SCORE))
    assert found.auc_interval[0] < found.auc < found.auc_interval[1]
    table = [[found.hits, 40 - found.hits], [found.false_alarms, 100 - found.false_alarms]]
    assert found.p_value == pytest.approx(fisher_exact(table, alternative="greater")[1])
    assert found.p_adjusted == found.p_value


def test_4_of_16_against_2_of_38_is_no_evidence():
    score, labels = of_counts(4, 16, 2, 38)
    found = evaluate_scores(score, labels)
    assert (found.hits, found.false_alarms) == (4, 2)
    assert found.p_value == pytest.approx(0.0565, abs=5e-4)
    assert not found.beats_chance
    # The share of controls taken as known would have called it one.
    assert found.tpr_interval[0] > 2 / 38


def test_the_p_value_is_an_upper_bound_where_ties_stop_short():
    # Of 62 controls 2, 3 or 4 may alarm: a block of three ends at 3, the next would take 10.
    score = np.r_[np.full(10, 3.0), np.zeros(164), np.full(3, 3.0), np.full(7, 2.0), np.zeros(52)]
    found = evaluate_scores(score, np.arange(236) < 174)
    assert (found.hits, found.false_alarms) == (10, 3)
    fisher = [fisher_exact([[10, 164], [c, 62 - c]], alternative="greater")[1] for c in (3, 4)]
    assert found.p_value == pytest.approx(fisher[1])
    assert found.p_value > fisher[0]


@pytest.mark.parametrize(("n_events", "n_controls"), [(174, 62), (16, 38), (60, 300)])
def test_the_exact_test_keeps_its_level(n_events, n_controls):
    rng = np.random.default_rng(5)
    labels = np.arange(n_events + n_controls) < n_events
    p = [evaluate_scores(rng.normal(size=len(labels)), labels).p_value for _ in range(400)]
    # Exactly uniform up to its steps: 20 of 400 are expected below 5 %, 31 is their 99 % quantile.
    assert 4 <= np.sum(np.array(p) < 0.05) <= 31


def test_nine_detectors_on_noise_rarely_beat_chance():
    labels = np.arange(100) < 60
    lucky = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=(100, 30))
        panel = Panel.from_series(list(noise), labels)
        lucky += any(one.beats_chance for one in evaluate_all(panel, textbook(8)))
    assert lucky <= 8  # 3 are expected at 5 %; P(9 or more) is below .002


def test_unequal_lengths_are_refused_and_cut_ones_show_nothing():
    rng = np.random.default_rng(0)
    series = [rng.normal(size=60 if unit < 60 else 20) for unit in range(120)]
    panel = Panel.from_series(series, np.arange(120) < 60)
    with pytest.raises(ValueError, match="events have 60 steps and controls 20"):
        evaluate(panel, Level())
    with pytest.raises(ValueError, match=r"panel\.last"):
        evaluate_all(panel, [Level()])
    assert evaluate(panel.last(), Level()).auc == pytest.approx(0.5, abs=0.12)
    spread = Panel.from_series([np.zeros(3 + u) for u in range(4)], [True, True, False, False])
    with pytest.raises(ValueError, match="events have 3 to 4 steps and controls 5 to 6"):
        evaluate(spread, Level())


def test_held_out_shares_are_known_by_hand():
    # No control may alarm. In one half the highest control is at 10: nothing in the other half lies
    # above it. In the other half it is at 0: half of the events (5) and the control at 10 do.
    score = np.r_[np.full(4, 5.0), 10.0, np.zeros(19)]
    panel = Panel.from_series([[one] for one in score], np.arange(24) < 4)
    for seed in range(5):
        found = held_out(panel, seed, share=0, n_halves=4)
        assert [one[0] for one in found.values()] == [0.5, 0.05, 0.45]
        # Exact: two of four, one of twenty, and the difference that is made of both.
        assert found["events"][1:] == pytest.approx((0.0676, 0.9324), abs=1e-4)
        assert found["controls"][1:] == pytest.approx((0.0013, 0.2487), abs=1e-4)
        apart = independent_shares(2, 4, 1, 20, method="exact").ends
        assert found["difference"][1:] == pytest.approx(apart)
    # One of ten may alarm: the limit is the second control of a half, whatever the first.
    score = np.r_[np.full(4, 5.0), np.full(2, 10.0), np.full(18, 7.0)]
    panel = Panel.from_series([[one] for one in score], np.arange(24) < 4)
    apart = [held_out(panel, seed, share=0.1, n_halves=1) for seed in range(12)]
    assert {one["controls"][0] for one in apart} == {0.1}
    assert {one["events"][0] for one in apart} == {0.0}


def test_held_out_refuses_what_it_cannot_split():
    noise = [np.zeros(60)] * 4 + [np.zeros(20)] * 4
    with pytest.raises(ValueError, match="events have 60 steps and controls 20"):
        held_out(Panel.from_series(noise, np.arange(8) < 4), 0)
    one = Panel.from_series([[0.0]] * 4, [True, True, True, False])
    with pytest.raises(ValueError, match="n_controls is 1"):
        held_out(one, 0)
    with pytest.raises(ValueError, match="n_events is 1"):
        held_out(Panel.from_series([[0.0]] * 4, [True, False, False, False]), 0)
    two = Panel.from_series([[0.0]] * 4, [True, True, False, False])
    with pytest.raises(ValueError, match="share is 1"):
        held_out(two, 0, share=1.0)
    with pytest.raises(ValueError, match="n_halves is 0"):
        held_out(two, 0, n_halves=0)
    value, low, high = held_out(two, 0, n_halves=1)["difference"]
    assert value == 0
    assert (low, high) == pytest.approx((-0.8419, 0.8419), abs=1e-4)


def test_held_out_numbers_are_medians_over_halves():
    panel = Panel.from_series(list(RNG.normal(size=(60, 1))), np.arange(60) < 20)
    many = held_out(panel, 3, n_halves=5)
    # One generator deals all halves: the first of five is that of one.
    values = {held_out(panel, 3, n_halves=n)["events"][0] for n in (1, 3, 5)}
    assert many["events"][0] in values
    assert many["events"] == held_out(panel, 3, n_halves=5)["events"]
    assert all(low <= value <= high for value, low, high in many.values())


@pytest.mark.parametrize(("n_events", "n_controls"), [(7, 350), (22, 335)])
def test_held_out_on_noise_rarely_excludes_zero(n_events, n_controls):
    rng = np.random.default_rng(4)
    labels = np.arange(n_events + n_controls) < n_events
    above = below = 0
    for seed in range(200):
        panel = Panel.from_series(list(rng.normal(size=(len(labels), 1))), labels)
        _, low, high = held_out(panel, seed, n_halves=3)["difference"]
        above, below = above + (low > 0), below + (high < 0)
    assert above <= 10  # 5 of 200 at 2.5 %; more than 10 come with probability .013
    assert below == 0


def test_ranks_within_groups_by_hand():
    score, labels = [1, 2, 3, 20, 30], [False, True, True, False, True]
    groups = ["few", "few", "few", "many", "many"]
    auc, p_value = ranks_within(score, labels, groups, n_permutations=3999)
    assert auc == 1.0
    # One of three arrangements in the first group, one of two in the second.
    assert p_value == pytest.approx(1 / 6, abs=0.02)
    turned, p_value = ranks_within([-x for x in score], labels, groups, n_permutations=999)
    assert (turned, p_value) == (0.0, 1.0)
    # Two pairs in the first group, one in the second: half a win, none, and one.
    tied = ranks_within([2, 2, 1, 20, 30], labels, groups, n_permutations=99)[0]
    assert tied == pytest.approx(1.5 / 3)
    order = np.array([3, 0, 4, 2, 1])
    moved = ranks_within(*(np.array(x)[order] for x in (score, labels, groups)), n_permutations=999)
    assert moved[0] == 1.0


def test_ranks_within_groups_do_not_see_what_the_groups_hold():
    rng = np.random.default_rng(6)
    size = rng.normal(size=400)
    labels = rng.random(400) < 1 / (1 + np.exp(4 - 2 * size))
    groups = pd.qcut(size, 20, labels=False)
    assert evaluate_scores(size, labels).auc > 0.8
    auc, p_value = ranks_within(np.round(size), labels, groups, n_permutations=499)
    assert auc == pytest.approx(0.5, abs=0.1)
    assert p_value > 0.05
    assert ranks_within(size + labels, labels, groups, n_permutations=499)[1] < 0.01


def test_ranks_within_groups_keep_their_level():
    rng = np.random.default_rng(2)
    labels, groups = np.arange(60) % 6 == 0, np.arange(60) // 12
    p = [
        ranks_within(rng.normal(size=60), labels, groups, n_permutations=99, seed=s)[1]
        for s in range(200)
    ]
    assert 2 <= np.sum(np.array(p) <= 0.05) <= 18  # 10 are expected


def test_ranks_within_groups_refuse_a_unit_without_one():
    with pytest.raises(ValueError, match=r"groups\[1\] is missing"):
        ranks_within([1, 2, 3], [0, 1, 0], ["a", None, "a"])
    with pytest.raises(ValueError, match="lengths are score 3, groups 2"):
        ranks_within([1, 2, 3], [0, 1, 0], ["a", "a"])
    with pytest.raises(ValueError, match="no group holds an event and a control"):
        ranks_within([1, 2, 3], [0, 1, 0], ["a", "b", "a"])


class Emptying:
    """A detector that works in place."""

    name = "emptying"

    def __call__(self, values):
        values -= values.mean()
        values *= 0
        return values


def test_a_detector_that_works_in_place_spoils_nothing():
    panel = Panel.from_series([[s, s / 2] for s in SCORE], LABELS)
    for mode in ("up", "down", "both", "low"):
        first, second, *_ = evaluate_all(panel, [Emptying(), Level()], mode=mode)
        assert first.verdict == JUMPED
        assert second.auc == evaluate(panel, Level(), mode=mode).auc
    assert panel.values[:, 0].tolist() == SCORE.tolist()  # noqa: PD011


@pytest.mark.parametrize("detector", [Variance(20), AC1(20)], ids=lambda d: d.name)
def test_what_falls_in_the_score_is_found_by_low(detector):
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(120, 80))
    values = noise.copy()
    if detector.name == "AC1(20)":
        values[:, 1:] += 2.5 * noise[:, :-1]
    values[:20, 40:] = 0.2 * noise[:20, 40:]
    panel = Panel.from_series(list(values), np.arange(120) < 20)
    found = {mode: evaluate(panel, detector, mode=mode) for mode in ("up", "down", "both", "low")}
    assert {found[mode].hits for mode in ("up", "down", "both")} == {found["up"].hits}
    assert {found[mode].detector for mode in ("up", "down", "both")} == {detector.name}
    assert found["up"].hits < 10
    assert found["low"].hits > 15
    assert found["low"].detector == f"{detector.name}, low"


def test_units_without_a_score_are_counted():
    values = np.random.default_rng(2).normal(size=(140, 40))
    values[[3, 50, 60], :20] = 1.0
    found = evaluate(Panel.from_series(list(values), LABELS), Cusum(reference=20))
    assert found.silent == 3
    assert "(100 controls, 40 events, 3 of them without a score; hit rate" in str(found)
    assert evaluate_scores(SCORE, LABELS).silent == 0


@pytest.mark.parametrize("steps", [4, 40])
def test_a_level_looked_for_both_ways_is_found(steps):
    hits = []
    for seed in range(8):
        values = np.random.default_rng(seed).normal(size=(120, 40))
        values[:20, -steps:] += 3.0
        panel = Panel.from_series(list(values), np.arange(120) < 20)
        hits.append([evaluate(panel, Level(), mode=one).hits for one in ("up", "both")])
    up, both = np.mean(hits, axis=0)
    assert up > 18
    assert both > 0.9 * up


def falling(step):
    values = np.random.default_rng(3).normal(size=(500, 80))
    values[:20, 60:] += step
    return Panel.from_series(list(values), np.arange(500) < 100)


@pytest.mark.parametrize(
    "detector", [Level(), Cusum(), Ewma(), PageHinkley(), Glr()], ids=lambda d: d.name
)
def test_falls_are_found_by_those_who_look_for_them(detector):
    found = {
        (step, mode): evaluate(falling(step), detector, mode=mode).hits
        for step in (5, -5)
        for mode in ("up", "down", "both")
    }
    assert found[5, "up"] >= 20
    assert found[-5, "down"] >= 20
    assert found[5, "down"] < 15
    assert found[-5, "up"] < 15
    assert found[5, "both"] >= 20
    assert found[-5, "both"] >= 20
    assert evaluate(falling(-5), detector, mode="down").detector.endswith(", falls")


def test_alarm_times_and_leads():
    values = np.zeros((44, 10))
    values[0, 2], values[1, 9], values[4, 5] = 3.0, 3.0, 3.0
    values += np.arange(44)[:, None] / 1e4
    frame = pd.DataFrame(
        [(u, 100 + t, values[u, t], u < 4) for u in range(44) for t in range(10)],
        columns=["unit", "time", "value", "is_event"],
    )
    found = evaluate(frame, Level(), FPContract(0.02, 0.03))
    table = found.alarms.set_index("unit")
    assert (found.hits, found.false_alarms) == (2, 1)
    assert table.loc[0, ["alarm", "lead", "time"]].tolist() == [2, 7, 102]
    assert table.loc[1, ["alarm", "lead", "time"]].tolist() == [9, 0, 109]
    assert table.loc[4, ["is_event", "alarm", "lead"]].tolist() == [False, 5, 4]
    assert table.loc[2, ["alarm", "lead", "time"]].isna().all()
    assert found.leads.tolist() == [7, 0]
    assert found.row()["lead (steps)"] == "3.5 [0, 7]"
    assert "median lead 3.5 steps" in str(found)
    without = evaluate(Panel.from_series(list(values), np.arange(44) < 4), Level())
    assert "time" not in without.alarms
    assert evaluate_scores(SCORE, LABELS).leads.tolist() == []


@pytest.mark.parametrize("factor", [1e-13, 1e-9, 0.01, 1e6])
def test_other_units_same_hits(factor):
    plain = falling(2)
    other = Panel(plain.values * factor, plain.lengths, plain.is_event, plain.units)  # noqa: PD011
    for detector in (*textbook(20), Glr(20)):
        first, second = evaluate(plain, detector), evaluate(other, detector)
        assert (first.hits, first.false_alarms) == (second.hits, second.false_alarms)
        assert first.verdict == second.verdict


def test_what_is_no_detector_is_refused():
    panel = falling(5)
    with pytest.raises(ValueError, match=r"the class Level, expected an instance of it"):
        evaluate(panel, Level)
    with pytest.raises(ValueError, match="expected a Detector"):
        evaluate(panel, np.mean)
    with pytest.raises(ValueError, match="did you mean 'down'"):
        evaluate(panel, Level(), mode="dwn")
    with pytest.raises(ValueError, match="empty"):
        evaluate_all(panel, [])
    with pytest.raises(ValueError, match="confidence is 95"):
        evaluate(panel, Level(), confidence=95)

    @dataclass(frozen=True)
    class Odd:
        name: str
        scores: np.ndarray

        def __call__(self, values):
            return self.scores

    with pytest.raises(ValueError, match=r"scores have shape \(2,\), expected \(500, 80\)"):
        evaluate(panel, Odd("odd", np.zeros(2)))
    for wrong in (np.nan, np.inf):
        scores = np.zeros((500, 80))
        scores[7, 3] = wrong
        with pytest.raises(ValueError, match=f"unit 7 has a score {wrong}, expected a number"):
            evaluate(panel, Odd("odd", scores))


def test_verdicts_name_the_reason():
    few = np.arange(15) < 5
    assert evaluate_scores(np.arange(15.0), few).verdict == UNREACHABLE
    assert evaluate_scores(np.zeros(140), LABELS).verdict == JUMPED
    silent = evaluate_scores(np.full(140, -np.inf), LABELS)
    assert silent.verdict == SILENT
    assert (silent.hits, silent.false_alarms, silent.p_value) == (0, 0, 1.0)
    assert not silent.beats_chance
    assert silent.row()["hits"] == "-"
    words = "score: too few alarms to reach the band"
    assert str(silent) == f"{words} (100 controls, 40 events, 140 of them without a score)"
    assert "jump" in str(evaluate_scores(np.zeros(140), LABELS))


def test_dummies_stand_beside_every_table():
    panel = Panel.from_series([[s] for s in SCORE], LABELS)
    names = ["level", "always alarm", "never alarm"]
    assert list(evaluate(panel, Level()).table().index) == names
    found = evaluate_all(panel, [Level()])
    assert list(summary(found).index) == names
    assert [one.beats_chance for one in found] == [True, False, False]
    assert [one.auc for one in found[1:]] == [0.5, 0.5]


def test_dummies_have_the_confidence_of_their_table():
    panel = Panel.from_series([[s] for s in SCORE], LABELS)
    one = evaluate(panel, Level(), confidence=0.5).table()
    every = summary(evaluate_all(panel, [Level()], confidence=0.5))
    assert one["AUC"].tolist() == every["AUC"].tolist()
    assert one.loc["always alarm", "AUC"].startswith("0.500 [0.46")


def test_p_values_are_adjusted_for_the_number_of_detectors():
    values = np.random.default_rng(3).normal(size=(140, 20)) + 0.6 * LABELS[:, None]
    panel = Panel.from_series(list(values), LABELS)
    alone = [evaluate(panel, one).p_value for one in (Level(), Variance(5), Variance(9))]
    together = evaluate_all(panel, (Level(), Variance(5), Variance(9)))
    assert [one.p_value for one in together[:3]] == alone
    assert [one.p_adjusted for one in together[:3]] == holm(alone).tolist()
    assert together[0].p_adjusted == pytest.approx(3 * alone[0])


def test_holm():
    assert holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm([2.0])


def test_auc_intervals_have_known_ends_and_cover():
    # Its own definition, checked from outside: at the ends the distance is z standard errors.
    low, high = auc_interval(0.8, 16, 38)
    for end in (low, high):
        more = 26 * (1 - end) / (2 - end) + 26 * end / (1 + end)
        variance = end * (1 - end) * (1 + more) / (16 * 38)
        assert abs(0.8 - end) == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-5)
    assert auc_interval(1.0, 20, 20) == pytest.approx((0.8987, 1.0), abs=1e-4)
    assert auc_interval(0.0, 20, 20) == pytest.approx((0.0, 0.1013), abs=1e-4)
    assert auc_interval(0.5, 20, 20, 0.5)[0] > auc_interval(0.5, 20, 20)[0]
    rng, labels = np.random.default_rng(8), np.arange(54) < 16
    shifted = [evaluate_scores(rng.normal(size=54) + labels, labels) for _ in range(200)]
    covered = [one.auc_interval[0] <= 0.76025 <= one.auc_interval[1] for one in shifted]
    assert 0.9 <= np.mean(covered) <= 0.99


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
    chart = threshold_explorer({"score": found, "other": found}, start=6).to_dict()
    opening = {one["name"]: (one["value"], one["bind"]["input"]) for one in chart["params"]}
    assert opening == {"alarmed": (6, "range"), "series": ("score", "radio")}, "by keyboard"
    assert all(color in str(chart["hconcat"][1]) for color in colors(2)), "blue and orange"
    data = threshold_explorer({"score": found}).to_dict()["datasets"]
    rows = next(v for v in data.values() if "percent" in v[0])
    assert [row["percent"] for row in rows] == list(range(101))
    assert rows[-1]["hits"] == 40
    assert {row["inside"] for row in rows} == {True, False}
    for row in rows:
        assert row["inside"] == FPContract().accepts(row["false alarms"], 100)
        alarmed = np.argsort(-SCORE)[: int(row["percent"] * 1.4 + 1e-9)]
        assert row["hits"] == LABELS[alarmed].sum()
        assert row["missed events"] == 40 - row["hits"]
    with pytest.raises(ValueError, match="at least one"):
        threshold_explorer({})
    with pytest.raises(ValueError, match="percentage"):
        threshold_explorer({"score": found}, start=101)
