"""210 calibration rows and Study 2, out of one integer a unit."""

import numpy as np
import pytest

from lib.collapse_warning.study import calibration, study2
from lib.collapse_warning.study.calibration import CONFIGURATIONS, alarm, miss_series, peak_score


def test_there_are_105_configurations():
    assert len(CONFIGURATIONS) == 105
    assert len({(family, str(params)) for family, params in CONFIGURATIONS}) == 105


@pytest.mark.parametrize("horizon", [40, 60])
def test_all_rows_come_out(mirror, horizon):
    found = calibration.explain(horizon)
    assert len(found.rows) == 105
    assert found.rows["explained"].all()
    assert len(found.firing_sets) == 9
    assert found.n_used <= 8
    expected = {
        40: [4701, 4546, 4374, 4206, 4010, 3559],
        60: [3572, 3537, 3503, 3464, 3430, 3345],
    }[horizon]
    assert [found.at_least(m) for m in (1, 2, 3, 4, 5, 7)] == expected
    with pytest.raises(ValueError, match="not told apart"):
        found.at_least(9)


def test_broken_explanations_break_rows(mirror):
    found = {b: calibration.explain(40, broken=b).rows for b in ("recovering", "thresholds")}
    assert found["recovering"]["explained"].sum() == 91
    assert found["thresholds"]["explained"].sum() == 41
    with pytest.raises(ValueError, match="broken is 'luck'"):
        calibration.explain(40, broken="luck")


def test_sets_of_misses_are_named(mirror):
    sets = calibration.explain(40).rows.groupby("set").size()
    assert sets["7 or more"] == 2
    assert sets["1"] == 8
    assert sets["none"] == 2
    assert len(sets) == 9
    assert calibration._words(np.array([False, True, True, False, True])) == "1 to 2, 4 or more"


def test_brackets_of_the_share_of_rows_with_gain(mirror):
    table = calibration.gain_brackets()
    assert table["gain_least"].tolist() == [0.4, 0.25, 0.15]
    assert table["gain_most"].tolist() == [0.5, 0.3, 0.2]
    assert table["persistence_most"].tolist() == [1.0, 1.0, 1.0]


def test_points_of_figure_7_follow_from_counts(mirror):
    points = calibration.figure7()
    assert points["follows"].all()
    assert points.groupby("part").size().to_dict() == {
        "40": 105,
        "50": 12,
        "60": 105,
        "markets": 314,
    }
    assert not points["inside"].any()


def test_the_summary_at_50(mirror):
    rows = calibration.summary_rows()
    assert rows.loc["matrix_profile", ["control_alarm_count", "event_alarm_count"]].tolist() == [
        65,
        3938,
    ]
    assert rows.loc["ac1", "fp"] == pytest.approx(0.7685, abs=5e-5)
    assert not rows["accepted"].any()


def test_cumulative_families_alarm_for_more_misses_too():
    for family, params in CONFIGURATIONS:
        if family in ("cusum", "page_hinkley", "variance_ews"):
            fires = [alarm(family, params, miss_series(50, m)) for m in range(9)]
            assert fires == sorted(fires)


def test_scores_equal_scalar_definitions():
    x = np.random.default_rng(0).random(25)
    total = lowest = peak = mean = 0.0
    for t, value in enumerate(x, 1):
        mean += (value - mean) / t
        total += value - mean - 0.01
        lowest = min(lowest, total)
        peak = max(peak, total - lowest)
    assert peak_score("page_hinkley", {"delta": 0.01}, x) == pytest.approx(peak)
    total = peak = 0.0
    for value in x:
        total = max(0.0, total + value - x[:5].mean() - 0.05)
        peak = max(peak, total)
    assert peak_score("cusum", {"k": 0.05}, x) == pytest.approx(peak)
    windows = [x[i : i + 7] for i in range(19)]
    assert peak_score("variance_ews", {"window": 7}, x) == pytest.approx(max(map(np.var, windows)))
    expected = max(np.corrcoef(w[:-1], w[1:])[0, 1] for w in windows)
    assert peak_score("ac1", {"window": 7}, x) == pytest.approx(expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda: miss_series(5, 6),
        lambda: miss_series(0, 0),
        lambda: peak_score("luck", {}, [1.0]),
        lambda: peak_score("ac1", {"window": 3}, [1.0, np.nan]),
        lambda: peak_score("ac1", {"window": 3}, [1.0, 2.0], study=3),
        lambda: calibration.published(50),
        lambda: study2.series_scores("luck"),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_envelopes(mirror):
    for horizon, expected in ((40, (97, 6562, 3113, 33777)), (50, (11, 4755, 2681, 35584))):
        found = calibration.envelope(horizon)
        assert (
            found["controls"],
            found["n_controls"],
            found["events"],
            found["n_events"],
        ) == expected
    assert calibration.envelope(60)["variance"] == pytest.approx(0.0005979073243647228, rel=1e-9)


def test_folds_come_from_the_digest(users):
    assert (users["user_id"].map(study2.fold_of) == users["fold"]).all()
    assert users["clean"].sum() == 1460


def test_all_cells_of_study_2_come_out(users):
    people = study2.population(users)
    assert (len(people), int(people["is_event"].sum())) == (10919, 10153)
    table = study2.comparators(people)
    same = ["pc1", "variance_ews", "cusum", "page_hinkley", "matrix_profile"]
    for name in same:
        assert table.loc[name].round(4).tolist() == [0.55, 0.561, 0.5836, 0.6253]
    assert table.loc["ac1"].round(4).tolist() == [0.5004, 0.5127, 0.5378, 0.5848]
    assert table.loc["permutation_entropy"].round(4).tolist() == [0.0164, 0.0413, 0.0933, 0.1828]
    rates = [point.tpr for point in study2.hit_rates(people["S"].to_numpy(), people)]
    assert np.round(rates, 4).tolist() == [0.0473, 0.0894, 0.148, 0.2396]


def test_early_misses_are_late_labels(users):
    people = study2.population(users)
    assert (people.loc[~people["is_event"], "pc1"] == 0).all()
    point = study2.hit_rates(people["pc1"].to_numpy(), people)[0]
    assert (point.tied_controls, point.tied_events) == (766, 4653)
    shuffled = people.assign(pc1=np.random.default_rng(0).permutation(people["pc1"].to_numpy()))
    assert not np.isclose(study2.comparators(shuffled), study2.comparators(people), atol=1e-4).all()


def test_covariate_model_and_effects(users):
    model = study2.covariate_model(study2.population(users))
    assert list(model.coefficients.values()) == pytest.approx([-0.4753, -0.4188, -0.5384], abs=5e-5)
    assert model.incremental_auc == pytest.approx(0.1621, abs=5e-5)
    table = study2.effect_table(users)
    assert table.loc["starved"].round(4).tolist() == [-5.6224, 4.0945, -5.6034]


def test_verdicts():
    good = {"G": (1, 0.5, 2), "p": (1, 0.5, 2), "delta": (-1, -2, -0.5)}
    passed = study2.criteria((0.1, 0.05, 0.2), [0.1, 0.1, 0.1, -1], good, (0.05, 0.01, 0.1))
    assert passed.verdict == "control arms decide"
    for change in (
        ((0.04, 0.01, 0.2), [1] * 4, good, (0.05, 0.01, 0.1)),
        ((0.1, -0.01, 0.2), [1] * 4, good, (0.05, 0.01, 0.1)),
        ((0.1, 0.05, 0.2), [1] * 4, {**good, "G": (1, -0.1, 2)}, (0.05, 0.01, 0.1)),
        ((0.1, 0.05, 0.2), [1] * 4, {**good, "delta": (-1, -2, 0.1)}, (0.05, 0.01, 0.1)),
        ((0.1, 0.05, 0.2), [1] * 4, good, (0.05, -0.01, 0.1)),
        ((0.1, 0.05, 0.2), [1, 1, -1, -1], good, (0.05, 0.01, 0.1)),
        ((0.1, 0.05, 0.2), [1] * 4, {**good, "p": (1, -0.1, 2)}, (0.05, 0.01, 0.1)),
        ((0.1, 0.05, 0.2), [1] * 4, good, (0.01, 0.005, 0.1)),
    ):
        assert study2.criteria(*change).verdict == "signal dies"
