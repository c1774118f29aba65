"""The contract, the evaluation, effect sizes, panels and the audit: values worked out by hand."""

import math
from datetime import date
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact, hypergeom, norm

from lib.collapse_warning import FPContract, Panel, evaluate, evaluate_all, evaluate_scores
from lib.collapse_warning import audit as au
from lib.collapse_warning.audit import LeakReport, LeakTest, label_leak
from lib.collapse_warning.contract import OperatingPoint, at_count, staircase
from lib.collapse_warning.detectors import Level
from lib.collapse_warning.effects import ClusteredEffect, auc, bca_interval, cohen_d, glass_d
from lib.collapse_warning.evaluation import (
    ACCEPTED,
    JUMPED,
    SILENT,
    auc_interval,
    held_out,
    ranks_within,
)
from lib.collapse_warning.panel import check_scores
from lib.collapse_warning.quantile import QuantileDetector, Thresholds
from lib.stats import binomial

SCORE = [3, 2, 2, 2, 1, 1, -np.inf]
LABELS = [True, True, False, False, True, False, False]
IDS = [7, 6, 5, 4, 3, 2, 1]


def test_every_step_of_a_staircase() -> None:
    stairs = staircase(SCORE, LABELS)
    assert stairs.thresholds.tolist() == [np.inf, 3, 2, 1]
    assert stairs.false_alarms.tolist() == [0, 0, 2, 3]
    assert stairs.hits.tolist() == [0, 1, 2, 3]
    assert stairs.tied_controls.tolist() == [0, 0, 2, 1]
    assert stairs.tied_events.tolist() == [0, 1, 1, 1]
    assert (stairs.n_controls, stairs.n_events) == (4, 3)
    assert stairs.point(2) == OperatingPoint(2, 2, 2, 2 / 3, 2, 1)
    assert stairs.point(1, 2) == OperatingPoint(3, 0, 1, 1 / 3, 2, 1)
    table = stairs.to_frame()
    assert table["fpr"].tolist() == [0, 0, 0.5, 0.75]
    assert table["tpr"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert table["tied_controls"].tolist() == [0, 0, 2, 1]


@pytest.mark.parametrize(
    ("count", "ties", "expected"),
    [
        (0, "strict", (3, 0, 1, 1 / 3, 0, 1)),
        (1, "strict", (3, 0, 1, 1 / 3, 2, 1)),
        (2, "strict", (2, 2, 2, 2 / 3, 2, 1)),
        (3, "strict", (1, 3, 3, 1, 1, 1)),
        (4, "strict", (1, 3, 3, 1, 1, 1)),
        (0, "expected", (3, 0, 1, 1 / 3, 0, 1)),
        (1, "expected", (2, 1, 4 / 3, 4 / 9, 2, 1)),
        (2, "expected", (2, 2, 2, 2 / 3, 2, 1)),
        (4, "expected", (1, 3, 3, 1, 1, 1)),
        (0, "by_id", (np.inf, 0, 0, 0, 0, 0)),
        (1, "by_id", (2, 1, 1, 1 / 3, 2, 1)),
        (2, "by_id", (2, 2, 1, 1 / 3, 2, 1)),
        (3, "by_id", (1, 3, 2, 2 / 3, 1, 1)),
        (4, "by_id", (-np.inf, 4, 3, 1, 1, 0)),
    ],
)
def test_every_count_and_way_with_ties(count, ties, expected) -> None:
    found = at_count(SCORE, LABELS, count, ties=ties, ids=IDS)
    values = (found.threshold, found.false_alarms, found.hits, found.tpr)
    assert values == pytest.approx(expected[:4])
    assert (found.tied_controls, found.tied_events) == expected[4:]


def test_a_tie_block_in_the_middle_of_others() -> None:
    """Five units above, three controls and two events in the block, of which two are wanted."""
    score = [9, 8, 7, 5, 5, 5, 5, 5, 1]
    labels = [True, False, True, True, True, False, False, False, False]
    found = at_count(score, labels, 3, ties="expected")
    # One control is taken already: two more of three, so an event stands before with 2 / 4.
    assert (found.hits, found.tpr) == (3.0, 0.75)
    assert (found.false_alarms, found.threshold) == (3.0, 5.0)
    assert (found.tied_controls, found.tied_events) == (3, 2)


def test_ids_must_be_one_a_unit() -> None:
    for ids in (None, IDS[1:], [1, 1, *IDS[2:]]):
        with pytest.raises(ValueError, match="one unique id"):
            at_count(SCORE, LABELS, 1, ties="by_id", ids=ids)
    assert at_count(SCORE, LABELS, 1, ties="by_id", ids=list("gfedcba")).hits == 1


def test_bands_by_hand() -> None:
    wide = FPContract(0.1, 0.5)
    assert wide.reachable(10).tolist() == [1, 2, 3, 4, 5]
    assert wide.reachable(1).tolist() == []
    assert [wide.accepts(k, 10) for k in (0, 1, 5, 6)] == [False, True, True, False]
    # One of two fair controls alarms: a half.
    assert wide.accept_probability(0.5, 2) == pytest.approx(0.5)
    assert FPContract(0, 1).accept_probability(0.3, 4) == pytest.approx(1)


def leveled(lead=None, **others):
    """One evaluation of 20 events and 100 controls: 6 hits, five false alarms."""
    score = np.r_[np.arange(109.0, 103, -1), np.arange(14.0), [103, 102, 101, 100.5, 100]]
    score = np.r_[score, np.full(95, -5.0)]
    return evaluate_scores(score, np.arange(120) < 20, FPContract(0.03, 0.05), **others)


def test_a_row_and_its_words() -> None:
    found = leveled(name="x")
    assert found.verdict == ACCEPTED
    # Below the fifth control lie fourteen events more, down to 0.
    assert (found.hits, found.false_alarms, found.point.threshold) == (20, 5, 0)
    assert found.auc == pytest.approx((6 * 100 + 14 * 95) / 2000)
    low, high = binomial(20, 20).ends
    ends = auc_interval(found.auc, 20, 100)
    p_value = fisher_exact([[20, 0], [5, 95]], alternative="greater")[1]
    assert found.p_value == pytest.approx(p_value)
    assert found.row() == {
        "detector": "x",
        "verdict": "accepted",
        "false alarms": 5,
        "hits": 20,
        "hit rate": f"1.000 [{low:.3f}, {high:.3f}]",
        "p": "0.000",
        "p (Holm)": "0.000",
        "lead (steps)": "-",
        "AUC": f"0.965 [{ends[0]:.3f}, {ends[1]:.3f}]",
    }
    assert str(found) == (
        "x: accepted with 5 false alarms and 20 hits (100 controls, 20 events; "
        f"hit rate {low:.3f} to {high:.3f}; p = {p_value:.3g})"
    )


def test_the_lowest_threshold_of_the_band_is_taken() -> None:
    score = np.r_[[9.0, 7.5, 5.5, 1.0], [8.0, 7.0, 6.0, 5.0], np.zeros(36)]
    found = evaluate_scores(score, np.arange(44) < 4, FPContract(0.05, 0.075))
    # Two or three of 40 controls: the threshold falls until just before the fourth.
    assert (found.false_alarms, found.hits, found.point.threshold) == (3, 3, 5.5)
    # The third control may alarm too: the threshold is paid for with three.
    assert found.p_value == pytest.approx(fisher_exact([[3, 1], [3, 37]], "greater")[1])


def test_verdicts_at_their_borders() -> None:
    labels = np.arange(44) < 4
    band = FPContract(0.05, 0.075)
    one = np.r_[np.full(4, 9.0), 8.0, np.full(39, -np.inf)]
    two = np.r_[np.full(4, 9.0), 8.0, 7.0, np.full(38, -np.inf)]
    four = np.r_[np.full(4, 9.0), np.full(4, 8.0), np.full(36, -np.inf)]
    found = [evaluate_scores(one_, labels, band) for one_ in (one, two, four)]
    assert [x.verdict for x in found] == [SILENT, ACCEPTED, JUMPED]
    assert [x.silent for x in found] == [39, 38, 36]
    assert [x.accepted for x in found] == [False, True, False]
    assert found[0].row() == {
        "detector": "score", "verdict": SILENT, "false alarms": "-", "hits": "-", "hit rate": "-",
        "p": "-", "p (Holm)": "-", "lead (steps)": "-", "AUC": found[1].row()["AUC"],
    }  # fmt: skip


def test_chance_is_beaten_below_the_level_only() -> None:
    found = leveled()
    for p, confidence, beaten in ((0.5, 0.5, False), (0.04, 0.95, True), (0.06, 0.95, False)):
        one = SimpleNamespace(accepted=True, p_adjusted=p, confidence=confidence)
        assert type(found).beats_chance.fget(one) is beaten
    assert type(found).beats_chance.fget(SimpleNamespace(accepted=False, p_adjusted=0.0)) is False


def test_intervals_follow_the_confidence() -> None:
    found = leveled(confidence=0.5)
    assert found.tpr_interval == binomial(20, 20, level=0.5).ends
    assert found.auc_interval == auc_interval(found.auc, 20, 100, 0.5)
    assert found.confidence == 0.5
    table = found.table()
    assert table.index.tolist() == ["score", "always alarm", "never alarm"]
    assert table["verdict"].tolist() == [ACCEPTED, JUMPED, SILENT]
    ends = auc_interval(0.5, 20, 100, 0.5)
    assert table.loc["always alarm", "AUC"] == f"0.500 [{ends[0]:.3f}, {ends[1]:.3f}]"


def test_auc_intervals_near_their_ends() -> None:
    low, high = auc_interval(0.999, 30, 20)
    assert 0 < low < 0.999 < high < 1
    low, high = auc_interval(0.001, 30, 20)
    assert 0 < low < 0.001 < high < 1
    # A symmetric question has a symmetric answer only where both classes are alike.
    first, second = auc_interval(0.3, 25, 25), auc_interval(0.7, 25, 25)
    assert first == pytest.approx((1 - second[1], 1 - second[0]), rel=1e-6)


def test_alarm_steps_of_units() -> None:
    series = np.zeros((44, 4))
    series[:4, 1:] = [[0, 7, 8], [9, 0, 0], [0, 0, 6], [0, 0, 0]]
    series[4, 2], series[5, 3] = 9, 6
    panel = Panel.from_series(list(series), np.arange(44) < 4)
    found = evaluate(panel, Level(), FPContract(0.05, 0.06))
    assert found.point.threshold == 6
    table = found.alarms
    assert table["unit"].tolist() == list(range(44))
    assert table["alarm"].tolist()[:7] == [2, 1, 3, pd.NA, 2, 3, pd.NA]
    assert table["lead"].tolist()[:7] == [1, 2, 0, pd.NA, 1, 0, pd.NA]
    assert found.leads.tolist() == [1, 2, 0]
    assert found.row()["lead (steps)"] == "1 [0, 2]"
    assert str(found).endswith("; median lead 1 steps)")
    assert evaluate(panel, Level(), FPContract(0.9, 0.95)).alarms is None


def test_together_with_others() -> None:
    panel = Panel.from_series([[x] for x in np.arange(44.0)[::-1]], np.arange(44) < 4)
    found = evaluate_all(panel, iter([Level(), Level()]), FPContract(0.05, 0.06), confidence=0.9)
    assert [one.detector for one in found] == ["level", "level", "always alarm", "never alarm"]
    assert {one.confidence for one in found} == {0.9}
    assert {one.contract.hi for one in found} == {0.06}
    assert found[0].p_adjusted == pytest.approx(2 * found[0].p_value)


def test_a_group_of_one_class_adds_no_pair() -> None:
    score, labels = [5, 1, 2, 9, 3], [1, 0, 1, 1, 0]
    value, _ = ranks_within(score, labels, ["a", "b", "b", "b", "b"], n_permutations=99)
    # Of b: 2 beats 1, 9 beats 1 and 3, 2 loses to 3.
    assert value == 3 / 4
    value, _ = ranks_within([-np.inf, 1, 1], [1, 0, 1], [7, 7, 7], n_permutations=99)
    assert value == 0.25
    for seed in range(3):
        _, p_value = ranks_within([1, 1, 1], [1, 0, 1], [0, 0, 0], n_permutations=99, seed=seed)
        assert p_value == 1


def test_labels_are_dealt_by_the_seed() -> None:
    rng = np.random.default_rng(0)
    score, labels, groups = rng.normal(size=40), np.arange(40) < 12, np.arange(40) % 4
    found = {ranks_within(score, labels, groups, n_permutations=199, seed=s)[1] for s in range(6)}
    assert len(found) > 1


def test_half_of_an_odd_class_is_the_larger_first() -> None:
    """Three events and five controls: limits are the highest of three and of two controls."""
    score = np.r_[[10.0] * 3, np.zeros(5)]
    panel = Panel.from_series([[x] for x in score], np.arange(8) < 3)
    found = held_out(panel, 1, share=0.5, n_halves=3)
    assert found["events"][0] == 1.0
    assert found["controls"][0] == 0.0
    assert found["difference"][0] == 1.0
    assert held_out(panel, 1, share=0.5, n_halves=3) == found
    assert held_out(panel, 2, n_halves=1)["events"][1:] == pytest.approx(binomial(3, 3).ends)


# Effect sizes.


def test_effect_sizes_by_hand() -> None:
    a, b = [1.0, 2.0, 6.0], [0.0, 2.0]
    # Variances 7 (of three) and 2 (of two): pooled (2·7 + 1·2) / 3.
    assert cohen_d(a, b) == pytest.approx(2 / math.sqrt(16 / 3))
    assert glass_d(a, b) == pytest.approx(2 / math.sqrt(2))
    assert auc(a, b) == (1 + 1 + 0.5 + 2) / 6
    assert auc(b, a) == 1 - auc(a, b)


def test_an_interval_by_its_formula() -> None:
    drawn = np.arange(1.0, 101)
    # Sixty of a hundred lie below, one ties; skewed jackknife values.
    left = [np.array([0.0, 0.0, 3.0]), np.array([1.0, 1.0, 1.0, 5.0])]
    bias = norm.ppf(0.605)
    pulls = [2 * np.array([1, 1, -2]), 3 * np.array([1, 1, 1, -3])]
    top = sum((p**3).sum() / len(p) ** 3 for p in pulls)
    bottom = sum((p**2).sum() / len(p) ** 2 for p in pulls)
    speed = top / (6 * bottom**1.5)
    for confidence in (0.95, 0.5):
        reach = bias + norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
        expected = np.quantile(drawn, norm.cdf(bias + reach / (1 - speed * reach)))
        found = bca_interval(drawn, 61.0, left, confidence)
        assert found == pytest.approx(tuple(expected))
    # Without a pull there is no acceleration; beyond all resamples half of one is left.
    plain = bca_interval(drawn, 61.0, [np.ones(4)])
    expected = np.quantile(drawn, norm.cdf(2 * bias + norm.ppf([0.025, 0.975])))
    assert plain == pytest.approx(tuple(expected))
    for point, below in ((200.0, 0.995), (-5.0, 0.005)):
        expected = np.quantile(drawn, norm.cdf(2 * norm.ppf(below) + norm.ppf([0.025, 0.975])))
        assert bca_interval(drawn, point, [np.ones(4)]) == pytest.approx(tuple(expected))
    with pytest.raises(ValueError, match="jackknife is empty"):
        bca_interval(drawn, 1.0, [])
    with pytest.raises(ValueError, match="confidence"):
        bca_interval(drawn, 1.0, left, 1.0)


CLUSTERS = np.array(list("aabbccccdde"))
ROWS = np.array([1.0, 4, 2, 8, 0, 1, 3, 2, 5, 1, 2])
EVENTS = np.isin(CLUSTERS, ["a", "b"])


def resampled(weights):
    names = np.unique(CLUSTERS)
    rows = [ROWS[names[k] == CLUSTERS] for k, w in enumerate(weights) for _ in range(int(w))]
    kinds = [EVENTS[names[k] == CLUSTERS] for k, w in enumerate(weights) for _ in range(int(w))]
    x, y = np.concatenate(rows), np.concatenate(kinds)
    return {
        "cohen_d": cohen_d(x[y], x[~y]),
        "glass_d": glass_d(x[y], x[~y]),
        "auc": auc(x[y], x[~y]),
    }


def test_sums_of_clusters() -> None:
    effect = ClusteredEffect.from_rows(ROWS, CLUSTERS, EVENTS)
    mean = ROWS.mean()
    assert effect.sizes.tolist() == [2, 2, 4, 2, 1]
    assert effect.sums == pytest.approx(
        [5 - 2 * mean, 10 - 2 * mean, 6 - 4 * mean, 6 - 2 * mean, 2 - mean]
    )
    assert effect.squares[0] == pytest.approx((1 - mean) ** 2 + (4 - mean) ** 2)
    # 1 and 4 against 0, 1, 3, 2; then 5, 1; then 2.
    assert effect.wins[0].tolist() == [5.5, 1.5, 1.0]
    assert effect.is_event.tolist() == [True, True, False, False, False]
    for weights in ([1, 1, 1, 1, 1], [2, 0, 1, 2, 0], [1, 1, 0, 3, 0]):
        found = effect.measures(weights)
        for name, value in resampled(weights).items():
            assert found[name] == pytest.approx([value])


def test_a_bootstrap_of_clusters_is_one_of_rows() -> None:
    rng = np.random.default_rng(3)
    weights = [rng.multinomial(n, np.full(n, 1 / n), size=100) for n in (2, 3)]
    with np.errstate(divide="ignore"):
        drawn = pd.DataFrame([resampled(one) for one in np.hstack(weights)])
    effect = ClusteredEffect.from_rows(ROWS, CLUSTERS, EVENTS)
    table = effect.bootstrap(100, seed=3, confidence=0.8)
    point = resampled(np.ones(5))
    for name in ("cohen_d", "auc"):
        assert table.loc[name, "point"] == pytest.approx(point[name])
        ends = np.quantile(drawn[name], [0.1, 0.9]).tolist()
        assert table.loc[name, ["low", "high"]].tolist() == pytest.approx(ends)
        left = [resampled(1 - np.eye(5)[k])[name] for k in range(5)]
        bca = bca_interval(drawn[name], point[name], [left[:2], left[2:]], 0.8)
        assert table.loc[name, ["bca_low", "bca_high"]].tolist() == pytest.approx(bca)


def test_resamples_without_a_scale_are_counted() -> None:
    values = np.repeat([6.0, 8, 10, 0, 2, 4], 2)
    clusters, events = np.repeat(np.arange(6), 2), np.arange(12) < 6
    table = ClusteredEffect.from_rows(values, clusters, events).bootstrap(300, seed=5)
    rng = np.random.default_rng(5)
    e, c = (rng.multinomial(3, np.full(3, 1 / 3), size=300) for _ in range(2))
    e_same, c_same = (one.max(axis=1) == 3 for one in (e, c))
    assert 0 < (e_same & c_same).sum() < c_same.sum()
    assert table.loc["glass_d", "degenerate"] == c_same.sum()
    assert table.loc["cohen_d", "degenerate"] == (e_same & c_same).sum()
    assert table.loc["auc", "degenerate"] == 0
    gap = (e @ [6, 8, 10] - c @ [0, 2, 4]) / 3
    square = 2 * ((c @ [0, 4, 16]) - (c @ [0, 2, 4]) ** 2 / 3) / 5
    kept = gap[~c_same] / np.sqrt(square[~c_same])
    assert table.loc["glass_d", ["low", "high"]].tolist() == pytest.approx(
        np.quantile(kept, [0.025, 0.975]).tolist()
    )
    assert table.columns.tolist() == ["point", "low", "high", "bca_low", "bca_high", "degenerate"]


def test_clusters_must_be_of_one_class_and_two_a_class() -> None:
    with pytest.raises(ValueError, match=r"cluster .*'c'.* is event and control"):
        ClusteredEffect.from_rows(ROWS, CLUSTERS, EVENTS | (np.arange(11) == 5))
    with pytest.raises(ValueError, match="two clusters of events"):
        ClusteredEffect.from_rows(ROWS, CLUSTERS, CLUSTERS == "a")
    with pytest.raises(ValueError, match="two clusters of events"):
        ClusteredEffect.from_rows(ROWS, CLUSTERS, CLUSTERS != "a")
    two = np.isin(CLUSTERS, ["a", "b", "c"])
    assert ClusteredEffect.from_rows(ROWS, CLUSTERS, two).wins.shape == (3, 2)
    with pytest.raises(ValueError, match="one length"):
        ClusteredEffect.from_rows(ROWS, CLUSTERS[1:], EVENTS)
    with pytest.raises(ValueError, match="one length"):
        ClusteredEffect.from_rows(ROWS, CLUSTERS, EVENTS[1:])


# The paper's own detector.


def test_limits_are_percentiles() -> None:
    rows = pd.DataFrame({"G": np.arange(11.0), "p": np.arange(11.0) ** 2, "delta": np.arange(11.0)})
    found = QuantileDetector(80).fit(rows)
    assert vars(found) == pytest.approx({"gain": 8, "persistence": 64, "diversity": 2})
    assert QuantileDetector(80).fit(rows.assign(is_event=False)) == found


def test_limits_themselves_do_not_fire() -> None:
    rows = pd.DataFrame(
        {
            "unit": [1, 1, 1, 1, 1, 2, 2],
            "time": [0, 1, 2, 3, 4, 0, 1],
            "G": [1, 2, 2, 2, 2, 2, 2],
            "p": [2, 2, 1, 2, 2, 2, 2],
            "delta": [0, 0, 0, 1, 0, 0, 0],
        }
    )
    limits = Thresholds(1, 1, 1)
    detector = QuantileDetector(50, 2)
    assert detector.score(rows, limits).tolist() == [0, 1, 0, 0, 1, 1, 2]
    assert detector.alarmed(rows, limits).to_dict() == {1: False, 2: True}
    turned = rows.iloc[::-1].set_axis(list("gfedcba"))
    score = detector.score(turned, limits)
    assert score.index.tolist() == list("gfedcba")
    assert score.tolist() == [2, 1, 1, 0, 0, 1, 0]
    assert detector.alarmed(turned, limits).to_dict() == {1: False, 2: True}


# Panels.


def timed(times, units="ab"):
    return pd.concat(
        [
            pd.DataFrame({"unit": u, "time": times, "value": 1.0, "is_event": u == "a"})
            for u in units
        ]
    )


def test_steps_may_differ_by_a_millionth() -> None:
    even = np.array([0.0, 1000.0, 2000.0, 3000.0])
    assert Panel.from_frame(timed(even + np.array([0, 0, 0.0008, 0]))).n_units == 2
    with pytest.raises(ValueError, match=r"unit 'a' has a gap in time: 1000 before 2000\.002"):
        Panel.from_frame(timed(even + np.array([0, 0, 0.002, 0])))
    # Doubles near 2⁵³ are whole numbers: steps of one or two are both a step of 1.5.
    late = 2.0**53 + np.array([0.0, 2, 4, 6])
    assert Panel.from_frame(timed(late)).n_units == 2
    rounded = 2.0**52 + np.array([0.0, 1, 3, 4, 6, 7])
    assert Panel.from_frame(timed(rounded)).n_units == 2
    # Whole numbers apart by two of the distance of doubles are rounding, by three no longer.
    assert Panel.from_frame(timed(2.0**52 + np.array([0.0, 1, 2, 5, 6, 7]))).n_units == 2
    with pytest.raises(ValueError, match="gap in time: 4 before"):
        Panel.from_frame(timed(2.0**52 + np.array([0.0, 1, 2, 6, 7, 8])))
    with pytest.raises(ValueError, match="gap in time: 6 before"):
        Panel.from_frame(timed(2.0**52 + np.array([0.0, 1, 2, 8, 9])))
    with pytest.raises(ValueError, match="gap in time: 2 before 3, expected steps of 1"):
        Panel.from_frame(timed([0, 1, 3, 4, 5]))


@pytest.mark.parametrize(
    "times",
    [
        pd.Series(pd.date_range("2020-09-30", periods=8, freq="ME")),
        pd.Series(pd.date_range("2020-09-05", periods=8, freq=pd.DateOffset(months=1))),
        pd.Series(pd.period_range("2020-09", periods=8, freq="M")),
    ],
    ids=["month ends", "the fifth", "periods"],
)
def test_months_go_on_in_the_next_year(times) -> None:
    assert Panel.from_frame(timed(times)).lengths.tolist() == [8, 8]
    with pytest.raises(ValueError, match=r"unit 'a' has a gap in time"):
        Panel.from_frame(timed(times.drop(index=4)))


def test_days_that_are_no_months_are_not_taken_for_them() -> None:
    times = pd.Series(pd.to_datetime(["2020-01-05", "2020-02-06", "2020-03-07", "2020-04-05"]))
    with pytest.raises(ValueError, match="gap in time"):
        Panel.from_frame(timed(times))
    times = pd.Series(pd.to_datetime(["2020-01-31", "2020-02-29", "2020-03-30"]))
    with pytest.raises(ValueError, match=r"gap in time: 2\.5056e\+06 before 2020-02-29"):
        Panel.from_frame(timed(times))


def test_some_dates_among_numbers_are_no_times() -> None:
    mixed = pd.Series([date(2020, 1, 1), 5, 6], dtype=object)
    with pytest.raises(ValueError, match=r"column of object\), expected numbers or dates"):
        Panel.from_frame(timed(mixed))
    days = pd.Series([date(2020, 1, d) for d in (1, 2, 3)], dtype=object)
    assert Panel.from_frame(timed(days)).lengths.tolist() == [3, 3]


def test_one_row_a_unit_has_no_gap() -> None:
    assert Panel.from_frame(timed([3.0])).lengths.tolist() == [1, 1]
    frame = timed([3.0]).assign(time=[1.0, 50.0])
    assert Panel.from_frame(frame).times[1].tolist() == [50.0]


def test_the_unit_with_the_gap_is_named() -> None:
    frame = pd.concat([timed([0, 1, 2], "a"), timed([0, 1, 2], "b"), timed([5, 6, 9], "c")])
    with pytest.raises(
        ValueError, match="unit 'c' has a gap in time: 3 before 9, expected steps of 1"
    ):
        Panel.from_frame(frame)


def test_units_of_equal_length_stay_after_a_cut() -> None:
    panel = Panel.from_series([[1, 2, 3], [4, 5, 6], [7, 8]], [1, 0, 0], ["x", "y", "z"])
    cut = panel.last(2)
    assert cut.values.tolist() == [[2, 3], [5, 6], [7, 8]]  # noqa: PD011
    assert cut.lengths.tolist() == [2, 2, 2]
    assert cut.units.tolist() == ["x", "y", "z"]
    assert panel.first(3).units.tolist() == ["x", "y"]
    assert panel.first(1).values.tolist() == [[1], [4], [7]]  # noqa: PD011
    assert (panel.n_units, panel.n_events, panel.n_controls) == (3, 1, 2)
    assert panel.units.dtype == object
    assert panel.values.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 8]]  # noqa: PD011
    assert Panel.from_series([[1], [2]], [1, 0]).units.tolist() == [0, 1]


def test_scores_of_whole_numbers_and_of_infinity() -> None:
    assert check_scores(np.array([1, 2])).dtype == np.float64
    assert check_scores([-np.inf, -np.inf]).tolist() == [-np.inf, -np.inf]
    with pytest.raises(ValueError, match=r"score\[1\] is nan"):
        check_scores([-np.inf, np.nan])


# The audit.


def brute(values, labels):
    """Fewest units on the wrong side of an interval of values, all intervals tried."""
    levels = np.unique(values)
    limits = [-np.inf, *(levels[:-1] + 0.5 * np.diff(levels)), np.inf]
    fewest = len(labels)
    for low, high in combinations(range(len(limits)), 2):
        inside = (values > limits[low]) & (values < limits[high])
        for turned in (inside, ~inside):
            fewest = min(fewest, int((turned != labels).sum()))
    return min(fewest, int(labels.sum()), int((~labels).sum()))


@pytest.mark.parametrize("kinds", [2, 3, 5, 50])
def test_errors_of_the_best_interval(kinds) -> None:
    rng = np.random.default_rng(kinds)
    for n_events in (1, 4, 8):
        labels = rng.permutation(np.arange(11) < n_events)
        values = rng.integers(kinds, size=(11, 12)).astype(float)
        expected = [brute(column, labels) for column in values.T]
        assert au._errors(values, labels).tolist() == expected


def test_how_many_may_be_wrong() -> None:
    labels = np.arange(100) < 40
    assert [au._allowed(share, labels) for share in (0, 0.05, 0.074, 0.075, 0.1)] == [1, 2, 2, 3, 4]
    assert au._allowed(0.1, ~labels) == 4
    assert au._allowed(1.0, np.arange(5) < 3) == 2


def test_alike_is_a_share_of_the_usual_distance() -> None:
    # Ten distances above 0: their nine tenths, the lower one, is the ninth.
    assert au._near(np.r_[0.0, np.arange(1.0, 11)]) == pytest.approx(9e-6)
    assert au._near(np.zeros(3)) == 0
    assert au._near(np.array([0.0, 5.0])) == pytest.approx(5e-6)
    assert au._near(np.array([0.0, 0.5])) == pytest.approx(5e-7)


def report(*, p=0.01, strong=True, alpha=0.04, unlabelable=math.nan):
    tests = tuple(
        LeakTest(kind, f"<{kind}>", strong and kind == "ends", p)
        for kind in ("value", "ends", "state", "length")
    )
    return LeakReport(3, 4, tests, alpha, unlabelable)


def test_each_question_has_a_quarter_of_the_level() -> None:
    found = report()
    assert [found.leak(one.kind) for one in found.tests] == [False, True, False, False]
    assert found.leaks
    assert str(found) == "<ends>"
    assert found.table()["leak"].tolist() == ["no", "yes", "no", "no"]
    assert found.table()["p"].tolist() == ["0.0100"] * 4
    assert found.table().index.name == "question"
    assert not report(p=0.0101).leaks
    assert not report(strong=False).leaks
    assert report(strong=False).findings() == ["no leak of these kinds"]
    assert report(unlabelable=0.0).findings() == ["<ends>"]
    assert report(unlabelable=0.25).findings() == [
        "<ends>",
        "25.0% of controls could not have become events",
    ]


def test_events_that_end_alike() -> None:
    """Ten events end with 1, 2, 3; of twenty controls two do; one event may be another."""
    ends = np.r_[np.tile([1.0, 2, 3], (10, 1)), np.tile([1.0, 2, 3], (2, 1))]
    others = np.c_[np.arange(18.0), np.arange(18.0) * 3 + 7, np.arange(18.0) + 5]
    series = np.c_[np.arange(30.0) * 10, np.r_[ends, others]]
    labels = np.arange(30) < 10
    found = label_leak(Panel.from_series(list(series), labels), tail=3).tests[1]
    assert found.found == ("10 of 10 events end with the same 3 values, 2 of 20 controls with them")
    assert found.strong
    assert found.p_value == pytest.approx(hypergeom.sf(9, 30, 12, 10))
    series[0, 1:] = 50
    one = label_leak(Panel.from_series(list(series), labels), tail=3).tests[1]
    assert (one.strong, one.p_value) == (True, pytest.approx(hypergeom.sf(8, 30, 11, 10)))
    series[1, 1:] = 60
    two = label_leak(Panel.from_series(list(series), labels), tail=3).tests[1]
    assert (two.strong, two.p_value) == (False, 1.0)
    # A tolerance of a fifth lets two of ten go.
    assert (
        label_leak(Panel.from_series(list(series), labels), tail=3, tolerance=0.2).tests[1].strong
    )
    # A tail longer than the shortest unit is cut to it.
    assert "same 4 values" in label_leak(Panel.from_series(list(series), labels)).tests[1].found


def test_two_events_are_too_few_to_be_alike() -> None:
    def ends(n):
        series = np.r_[np.ones((n, 3)), np.arange(30.0).reshape(10, 3) + 5]
        return label_leak(Panel.from_series(list(series), np.arange(n + 10) < n), tail=3).tests[1]

    assert not ends(2).strong
    assert ends(3).strong
    assert ends(3).p_value == pytest.approx(1 / math.comb(13, 3))


def state(series, labels):
    return label_leak(Panel.from_series(series, labels)).tests[2]


def test_units_that_leave_and_stay_away() -> None:
    labels = [True] * 6 + [False] * 10
    stay, rest, back = [0.0, 0, 1, 2], [0.0, 0, 0, 0], [0.0, 1, 0, 0]
    found = state([stay] * 6 + [stay] + [rest] * 9, labels)
    assert found.found == (
        "7 of 7 units that left the resting value stayed away; 6 of 6 events left it, "
        "1 of 10 controls"
    )
    assert found.strong
    assert found.p_value == pytest.approx(7 / math.comb(16, 6))
    # One may come back, and one event may rest; two of either are too many.
    assert state([stay] * 6 + [back] + [rest] * 9, labels).strong
    assert not state([stay] * 6 + [back] * 2 + [rest] * 8, labels).strong
    one = state([stay] * 5 + [rest] * 11, labels)
    assert (one.strong, one.p_value) == (True, pytest.approx(6 / math.comb(16, 5)))
    two = state([stay] * 4 + [rest] * 12, labels)
    assert (two.strong, two.p_value) == (False, 1.0)


def test_a_resting_value_is_that_of_most_units() -> None:
    labels = [True] * 6 + [False] * 10
    half = [[0.0, 1, 2]] * 6 + [[0.0, 0, 0]] * 2 + [[5.0 + k] * 3 for k in range(8)]
    assert not state(half, labels).strong
    more = [[0.0, 1, 2]] * 6 + [[0.0, 0, 0]] * 3 + [[5.0 + k] * 3 for k in range(7)]
    found = state(more, labels)
    # Those that start elsewhere left before their first step, and stayed away.
    assert found.found.startswith("13 of 13 units")
    assert found.strong


def test_an_answer_of_one_value() -> None:
    labels = np.arange(24) < 12
    values = np.random.default_rng(0).normal(size=(24, 5))
    values[:, 2] = labels
    found = label_leak(Panel.from_series(list(values), labels)).tests[0]
    assert found.found == "one value, 2 steps before the end, separates the classes but for 0 units"
    # Threshold intervals: twelve neighbours in a row, or what is left of them around.
    assert found.p_value == pytest.approx(5 * au._chance(12, 12, 0))
    noise = Panel.from_series(list(np.random.default_rng(1).normal(size=(24, 5))), labels)
    one = label_leak(noise).tests[0]
    assert (one.strong, one.p_value) == (False, 1.0)


def test_lengths_that_differ_by_hand() -> None:
    labels = np.arange(8) < 4
    series = [np.zeros(n) for n in (3, 3, 3, 3, 5, 5, 5, 5)]
    found = label_leak(Panel.from_series(series, labels), n_permutations=999).tests[3]
    assert found.found == "events have 3 to 3 steps, controls 5 to 5"
    assert found.strong
    # Two of 70 arrangements are as far apart.
    assert found.p_value == pytest.approx(2 / 70, abs=0.015)
    even = label_leak(Panel.from_series([np.zeros(3)] * 8, labels)).tests[3]
    assert (even.strong, even.p_value) == (False, 1.0)
    mixed = [np.zeros(n) for n in (3, 3, 5, 5, 3, 3, 5, 5)]
    assert label_leak(Panel.from_series(mixed, labels), n_permutations=99).tests[3].p_value == 1.0


def test_a_seed_deals_the_lengths() -> None:
    labels = np.arange(20) < 8
    series = [np.zeros(n) for n in np.random.default_rng(2).integers(3, 9, 20)]
    panel = Panel.from_series(series, labels)
    found = [label_leak(panel, n_permutations=99, seed=s).tests[3].p_value for s in (0, 0, 1, 2)]
    assert found[0] == found[1]
    assert len(set(found)) > 1


def test_all_ends_alike_are_no_tie_to_the_label() -> None:
    labels = np.arange(12) < 4
    found = label_leak(Panel.from_series([np.zeros(5)] * 12, labels), tail=3).tests[1]
    assert found.found == "4 of 4 events end with the same 3 values, 8 of 8 controls with them"
    assert (found.strong, found.p_value) == (True, pytest.approx(1))


def test_a_shorter_unit_stays_away_to_its_own_end() -> None:
    labels = [True] * 6 + [False] * 10
    found = state([[0.0, 0, 1]] * 6 + [[0.0, 0, 0, 0, 0]] * 10, labels)
    assert found.found.startswith("6 of 6 units that left the resting value stayed away")
    assert found.strong


def test_lengths_one_step_apart() -> None:
    labels = np.arange(8) < 4
    series = [np.zeros(n) for n in (3, 3, 3, 3, 4, 4, 4, 4)]
    found = label_leak(Panel.from_series(series, labels), n_permutations=999).tests[3]
    assert found.p_value == pytest.approx(2 / 70, abs=0.015)


def test_one_count_in_the_band_and_none_of_it_reached() -> None:
    labels = np.arange(42) < 4
    score = np.r_[np.ones(4), 2.0, np.full(37, -np.inf)]
    found = evaluate_scores(score, labels)
    assert (found.verdict, found.false_alarms, found.hits) == (SILENT, 0, 0)
    tied = np.r_[np.ones(4), np.ones(5), np.full(33, -np.inf)]
    assert evaluate_scores(tied, labels).verdict == JUMPED
