"""The recommender's study by hand: frozen scores, recovered counts, Study 2, arranged panels."""

import hashlib
import json
import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lib.collapse_warning import FPContract, Panel
from lib.collapse_warning.effects import cohen_d
from lib.collapse_warning.study import arrangements, artefacts, calibration, study2
from lib.collapse_warning.study.calibration import Explanation, alarm, miss_series, peak_score

RNG = np.random.default_rng(5)
X = np.round(RNG.normal(size=24), 2)
INF = math.inf


def test_series_of_misses() -> None:
    assert miss_series(3, 0).tolist() == [0, 0, 0]
    assert miss_series(3, 3).tolist() == [0.125, 0.25, 0.375]
    assert miss_series(11, 10).tolist() == [0, *(np.arange(1, 9) / 8), 1, 1]


def climb(steps):
    total = lowest = best = 0.0
    for step in steps:
        total += step
        lowest = min(lowest, total)
        best = max(best, total - lowest)
    return best


def test_sums_of_the_first_studies() -> None:
    for x in (X, -X, X[:3]):
        start = sum(x[:5]) / min(5, len(x))
        assert peak_score("cusum", {"k": 0.3}, x) == pytest.approx(climb(x - start - 0.3))
        means = [x[: t + 1].mean() for t in range(len(x))]
        expected = climb(x - means - 0.2)
        assert peak_score("page_hinkley", {"delta": 0.2}, x) == pytest.approx(expected)
    # A first step up counts from the start.
    assert peak_score("cusum", {"k": 0}, [0, 0, 0, 0, 0, 2, 0]) == 2
    assert peak_score("cusum", {"k": 0}, [5, 0, 0, 0, 0]) == 4


def windows_of(x, width):
    return [x[t : t + width] for t in range(len(x) - width + 1)]


@pytest.mark.parametrize("width", [3, 5, 9, 24])
def test_windows_of_the_first_studies(width) -> None:
    parts = windows_of(X, width)
    params = {"window": width}
    expected = max(one.var() for one in parts)
    assert peak_score("variance_ews", params, X) == pytest.approx(expected)
    expected = max(np.corrcoef(one[:-1], one[1:])[0, 1] for one in parts)
    assert peak_score("ac1", params, X) == pytest.approx(expected)
    biased = [
        ((one - one.mean())[:-1] * (one - one.mean())[1:]).sum() / (one.var() * width)
        for one in parts
    ]
    assert peak_score("ac1", params, X, study=2) == pytest.approx(max(biased))
    for family in ("variance_ews", "ac1", "matrix_profile"):
        assert peak_score(family, {"window": 25}, X) == -INF


@pytest.mark.parametrize("width", [3, 5, 9])
def test_neighbours_of_the_first_studies(width) -> None:
    parts = windows_of(X, width)
    unit = [(one - one.mean()) / one.std() / math.sqrt(width) for one in parts]
    nearest = [
        min(np.linalg.norm(one - other) for k, other in enumerate(unit) if k != at)
        for at, one in enumerate(unit)
    ]
    found = peak_score("matrix_profile", {"window": width}, X)
    assert found == pytest.approx(max(nearest))
    plain = [
        [np.linalg.norm(one - o) for k, o in enumerate(parts) if abs(k - at) >= width]
        for at, one in enumerate(parts)
    ]
    found = peak_score("matrix_profile", {"window": width}, X, study=2)
    assert found == pytest.approx(max(min(one) for one in plain if one))


def test_flat_windows_are_at_the_origin() -> None:
    x = np.r_[np.zeros(6), X[:4]]
    parts = windows_of(x, 4)
    unit = [(w - w.mean()) / (w.std() or 1) / 2 for w in parts]
    nearest = [
        min(np.linalg.norm(one - other) for k, other in enumerate(unit) if k != at)
        for at, one in enumerate(unit)
    ]
    assert peak_score("matrix_profile", {"window": 4}, x) == pytest.approx(max(nearest))
    lone = np.r_[np.zeros(4), 3.0]
    assert peak_score("matrix_profile", {"window": 4}, lone) == pytest.approx(1)


def test_windows_without_neighbours_or_scale() -> None:
    params = {"window": 4}
    assert peak_score("matrix_profile", params, X[:4]) == -INF
    assert peak_score("matrix_profile", params, X[:7], study=2) == 0
    assert peak_score("matrix_profile", params, X[:8], study=2) > 0
    flat = np.r_[np.zeros(5), 1.0, 0.0, 0.0]
    # All windows are flat or hold the one; a flat one lies one from any other.
    assert peak_score("matrix_profile", params, np.zeros(8)) == 0
    assert peak_score("matrix_profile", {"window": 8}, np.r_[flat, 1.0]) == pytest.approx(
        np.linalg.norm(
            np.diff([(w - w.mean()) / w.std() for w in windows_of(np.r_[flat, 1.0], 8)], axis=0)
        )
        / math.sqrt(8)
    )
    assert peak_score("ac1", params, np.zeros(8)) == 0
    assert peak_score("ac1", params, np.zeros(8), study=2) == 0
    # A window whose last value alone moves has no correlation; the next has one below zero.
    assert peak_score("ac1", params, [0, 0, 0, 1.0]) == 0
    assert peak_score("ac1", params, [0, 1.0, 0, 0]) == pytest.approx(-0.5)
    assert peak_score("ac1", params, [0, 1.0, 0, 0], study=2) == pytest.approx(
        (2 * 0.75 * -0.25 + 0.0625) / 0.75
    )
    tiny = 1e-13 * X[:8]
    assert peak_score("ac1", params, tiny) == 0
    assert peak_score("matrix_profile", params, tiny) == 0
    small = 1e-10 * X[:8]
    assert peak_score("ac1", params, small) == pytest.approx(peak_score("ac1", params, X[:8]))
    assert peak_score("matrix_profile", params, small) == pytest.approx(
        peak_score("matrix_profile", params, X[:8])
    )


@pytest.mark.parametrize(("order", "delay"), [(2, 1), (3, 1), (3, 2), (4, 2)])
def test_entropy_of_the_first_studies(order, delay) -> None:
    reach = (order - 1) * delay
    kinds = Counter(
        tuple(sorted(range(order), key=lambda k: (X[t + k * delay], k)))
        for t in range(len(X) - reach)
    )
    shares = [n / sum(kinds.values()) for n in kinds.values()]
    expected = sum(p * math.log(p) for p in shares) / math.log(math.factorial(order))
    params = {"order": order, "delay": delay}
    assert peak_score("permutation_entropy", params, X) == pytest.approx(expected)
    # One pattern alone is too few.
    assert peak_score("permutation_entropy", params, X[: reach + 1]) == -INF
    assert peak_score("permutation_entropy", params, np.arange(reach + 2)) == 0


def test_series_and_families_are_checked() -> None:
    for bad in ([], [[1.0]], [1.0, np.nan], [np.inf]):
        with pytest.raises(ValueError, match="expected finite numbers in one row"):
            peak_score("cusum", {"k": 0.1}, bad)
    with pytest.raises(ValueError, match="family is 'luck'"):
        peak_score("luck", {"window": 3}, X)


def test_an_alarm_at_its_threshold_up_to_rounding() -> None:
    x = [0, 0, 0, 0, 0, 2, 0]
    for h, found in ((2, True), (2 + 5e-10, True), (2 + 5e-9, False), (1, True), (3, False)):
        assert alarm("cusum", {"k": 0, "h": h, "threshold": 9}, x) is found
    variance = {"window": 2, "threshold": 1.0}
    assert alarm("variance_ews", variance, x)
    assert not alarm("variance_ews", {**variance, "threshold": 1.01}, x)
    # One step down of six: low entropy alarms.
    entropy = -(5 / 6 * math.log2(5 / 6) + 1 / 6 * math.log2(1 / 6))
    params = {"order": 2, "delay": 1}
    assert alarm("permutation_entropy", {**params, "threshold": entropy + 0.01}, x)
    assert not alarm("permutation_entropy", {**params, "threshold": entropy - 0.01}, x)


@pytest.mark.parametrize(
    ("fires", "words"),
    [
        ("0000", "none"),
        ("1111", "0 or more"),
        ("0001", "3 or more"),
        ("0010", "2"),
        ("0110", "1 to 2"),
        ("1001", "0, 3 or more"),
        ("1101", "0 to 1, 3 or more"),
        ("1010", "0, 2"),
    ],
)
def test_words_for_misses(fires, words) -> None:
    assert calibration._words(np.array([one == "1" for one in fires])) == words


def test_counts_are_recovered() -> None:
    fires = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1], [1, 0, 1]], dtype=bool)
    sizes, used, predicted = calibration._recover(fires, np.array([0, 20, 9, 8, 3, 0]), 20)
    # 11, 6 and 3: the first row that can tell is believed, the others are predictions.
    assert sizes.tolist() == [11, 6, 3]
    assert used == 2
    assert predicted.tolist() == [0, 20, 9, 9, 3, 14]


def test_numbers_of_at_least_so_many_misses() -> None:
    classes = pd.DataFrame({"from": [0, 2, 5], "to": [1, 4, 9], "controls": [7, 20, 300]})
    found = Explanation(9, pd.DataFrame(), classes, 0, frozenset())
    assert [found.at_least(k) for k in (0, 2, 5)] == [327, 320, 300]
    for wrong in (1, 3, 9):
        with pytest.raises(ValueError, match=f"{wrong} misses and {wrong - 1} are not told apart"):
            found.at_least(wrong)


def made_rows(horizon, n_controls=50, n_events=30):
    """Released rows of a world in which trailing misses are dealt at random."""
    rng = np.random.default_rng(horizon)
    misses = rng.integers(0, 12, n_controls)
    lengths = rng.integers(15, 20, n_events)
    rows = []
    for family, params in calibration.CONFIGURATIONS:
        controls = sum(alarm(family, params, miss_series(horizon, int(m))) for m in misses)
        events = sum(alarm(family, params, miss_series(int(n), 7)) for n in lengths)
        rows.append((family, json.dumps(params), controls, n_controls, events, n_events))
    names = ["family", "params_json", "control_alarm_count", "n_control_users"]
    table = pd.DataFrame(rows, columns=[*names, "event_alarm_count", "n_event_users"])
    return table, misses


def test_a_made_up_horizon_is_explained(monkeypatch) -> None:
    table, misses = made_rows(40)
    params = [json.loads(one) for one in table["params_json"]]
    monkeypatch.setattr(calibration, "published", lambda horizon: table.assign(params=params))
    found = calibration.explain(40)
    assert found.horizon == 40
    assert found.rows["explained"].all()
    starts, ends = found.classes["from"].tolist(), found.classes["to"].tolist()
    assert starts[0] == 0
    assert ends[-1] == 40
    assert starts[1:] == [one + 1 for one in ends[:-1]]
    for _, (start, end, controls) in found.classes.iterrows():
        assert controls == ((misses >= start) & (misses <= end)).sum()
    fires = np.array(
        [
            [alarm(f, p, miss_series(40, m)) for m in range(41)]
            for f, p in calibration.CONFIGURATIONS
        ]
    )
    assert starts == [0, *(m for m in range(1, 41) if (fires[:, m] != fires[:, m - 1]).any())]
    n_sets = {tuple(one) for one in fires.tolist()}
    assert len(found.firing_sets) == len(n_sets)
    assert found.firing_sets == {
        frozenset(k for k, m in enumerate(starts) if one[m]) for one in n_sets
    }
    # As many rows are used as there are numbers to find, beside the total.
    events = np.array(
        [
            [alarm(f, p, miss_series(n, 7)) for n in range(15, 40)]
            for f, p in calibration.CONFIGURATIONS
        ]
    )
    ranks = [np.linalg.matrix_rank(np.vstack([np.ones(len(x.T)), x])) - 1 for x in (fires, events)]
    assert found.n_used == max(ranks)
    assert found.rows["set"].tolist() == [calibration._words(one) for one in fires]
    assert found.rows["family"].tolist() == table["family"].tolist()
    broken = calibration.explain(40, broken="recovering").rows
    assert not broken["explained"].all()
    wrong = table.assign(params=params)
    # The last rows are predictions, of controls as of events.
    wrong.loc[104, "control_alarm_count"] += 1
    wrong.loc[103, "event_alarm_count"] += 1
    monkeypatch.setattr(calibration, "published", lambda horizon: wrong)
    assert np.flatnonzero(~calibration.explain(40).rows["explained"]).tolist() == [103, 104]


def test_a_threshold_of_the_next_row(monkeypatch) -> None:
    table, _ = made_rows(20)
    params = [json.loads(one) for one in table["params_json"]]
    monkeypatch.setattr(calibration, "published", lambda horizon: table.assign(params=params))
    found = calibration.explain(20, broken="thresholds").rows["set"].tolist()
    right = calibration.explain(20).rows["set"].tolist()
    families = table["family"].tolist()
    for family in dict.fromkeys(families):
        at = [k for k, one in enumerate(families) if one == family]
        assert [found[k] for k in at] == [right[k] for k in (at[-1], *at[:-1])]


POINTS = pd.DataFrame(
    {
        "domain": ["recsys"] * 5 + ["markets"],
        "benchmark": ["x__horizon_40"] * 4 + ["x__horizon_60", "m"],
        "k": [3, 3, 3, 1, 3, 3],
        "n_control_alarmed": [5, 9, 9, 40, 8, 99],
        "n_control_units": [100] * 6,
        "n_event_alarmed": [7, 20, 12, 50, 1, 99],
        "n_event_units": [200] * 6,
        "q_G_pct": [95.0, 50.0, 60.0, 50.0, 50.0, 50.0],
        "q_G": [0.2, 0.0, 0.1, 0.3, 0.1, 0.1],
        "q_p": [0.2, 0.1, 0.1, 0.3, 0.0, 0.1],
    }
)


def calibrated():
    return pd.DataFrame(
        {
            "family": ["variance_ews", "variance_ews", "variance_ews", "ac1"],
            "control_alarm_count": [20, 6, 20, 9],
            "n_control_users": 100,
            "event_alarm_count": [60, 40, 100, 199],
            "n_event_users": 200,
        }
    )


def test_the_envelope_by_hand(monkeypatch) -> None:
    asked = []

    def table(name):
        asked.append(name)
        return POINTS

    monkeypatch.setattr(calibration.artefacts, "table", table)
    monkeypatch.setattr(calibration, "published", lambda horizon: calibrated())
    assert calibration.envelope(50) == {
        "controls": 9, "n_controls": 100, "events": 20, "n_events": 200, "q": 50.0,
    }  # fmt: skip
    found = calibration.envelope(40)
    # Between 6 % (20 % of events) and 20 % (the lower of two: 30 %): three fourteenths.
    assert found.pop("variance") == pytest.approx(0.2 + 0.1 * 3 / 14)
    assert found["controls"] == 9
    assert calibration.envelope(60)["controls"] == 8
    assert calibration.envelope(40, 1)["controls"] == 40
    assert calibration.envelope(40, 1)["variance"] == 0.5
    assert [one.endswith("points.csv") for one in asked[:2]] == [True, False]
    small = POINTS.assign(n_control_alarmed=3)
    monkeypatch.setattr(calibration.artefacts, "table", lambda name: small)
    # Half way from the point without alarms, which every detector has.
    assert calibration.envelope(40)["variance"] == pytest.approx(0.1)


def test_brackets_by_hand(monkeypatch) -> None:
    tables = {
        40: pd.DataFrame({"q_G_pct": [50, 60, 80], "q_G": [0, 0, 1.0], "q_p": [0.0, 0, 0]}),
        50: pd.DataFrame({"q_G_pct": [50, 60, 80], "q_G": [0, 1, 1.0], "q_p": [1.0, 1, 1]}),
        60: pd.DataFrame({"q_G_pct": [50, 50, 80], "q_G": [0, 9, 1.0], "q_p": [0.0, 9, 1]}),
    }
    monkeypatch.setattr(calibration, "operating_points", tables.get)
    found = calibration.gain_brackets()
    assert found.index.tolist() == [40, 50, 60]
    assert found["gain_least"].tolist() == [0.2, 0.4, 0.2]
    assert found["gain_most"].tolist() == [0.4, 0.5, 0.5]
    assert found["persistence_least"].tolist() == [0, 0.5, 0.2]
    assert found["persistence_most"].tolist() == [0.4 - 0.2, 1, 0.5]


def test_points_of_figure_7_by_hand(monkeypatch) -> None:
    points = pd.DataFrame(
        {
            "domain": ["markets", "markets", "recsys", "recsys", "recsys", "recsys"],
            "horizon": [np.nan, np.nan, 40.0, 40.0, 50.0, 60.0],
            "family": ["ac1", "ac1", "ac1", "variance_ews", "ac1", "ac1"],
            "fp": [0.05, 0.05, 0.09, 0.2, 0.03, 0.0700001],
            "tpr": [0.25 + 3e-10, 0.5, 0.995, 0.995, 1 / 3, 0.995],
        }
    )
    market = pd.DataFrame(
        {
            "instantiation": ["volmageddon_covid_public_v2", "other"],
            "detector_family": "ac1",
            "n_control_alarm_units": 1,
            "n_control_units_cal": 20,
            "n_event_alarm_units": [4, 8],
        }
    )
    monkeypatch.setattr(
        calibration.artefacts, "table", lambda n: (points if "roc" in n else market).copy()
    )
    monkeypatch.setattr(calibration, "published", lambda horizon: calibrated())
    summary = pd.DataFrame({"family": ["ac1"], "fp": [0.03], "tpr": [1 / 3], "more": [1]})
    monkeypatch.setattr(calibration, "summary_points", lambda: summary)
    found = calibration.figure7()
    assert found["part"].tolist() == ["markets", "markets", "40", "40", "50", "60"]
    assert found["follows"].tolist() == [True, False, True, False, True, False]
    assert found["inside"].tolist() == [True, True, False, False, True, False]


def test_the_summary_by_hand(monkeypatch) -> None:
    def node(family, controls, nontrivial):
        return {
            "family": family, "control_alarm_count": controls, "n_control_users": 100,
            "event_alarm_count": 30, "n_event_users": 60, "nontrivial": nontrivial,
        }  # fmt: skip

    document = {
        "a": [node("x", 5, True), {"more": node("x", 9, True)}],
        "b": {"c": node("y", 90, False), "d": [[node("y", 8, True)]], "e": {"family": "z"}},
    }
    monkeypatch.setattr(calibration.artefacts, "document", lambda name: document)
    points = calibration.summary_points()
    assert points["fp"].tolist() == [0.05, 0.09, 0.9, 0.08]
    assert points["tpr"].tolist() == [0.5] * 4
    rows = calibration.summary_rows()
    assert rows.index.tolist() == ["x", "y"]
    assert rows["accepted"].tolist() == [True, False]
    assert rows["fp"].tolist() == [0.05, 0.08]


def test_released_rows_are_read(monkeypatch) -> None:
    def table(name):
        speed = "fast" if "fast" in name else "slow"
        return pd.DataFrame({"speed": [speed, speed], "params_json": ['{"k": 1}', "{}"]})

    monkeypatch.setattr(calibration.artefacts, "table", table)
    for horizon in (40, 60):
        rows = calibration.published(horizon)
        assert rows["speed"].tolist() == ["fast", "fast", "slow", "slow"]
        assert rows["params"].tolist() == [{"k": 1}, {}] * 2
        assert rows.index.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="horizon is 50"):
        calibration.published(50)


# Study 2.


def people(n=60, seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "user_id": rng.permutation(n) + 100,
            "is_event": np.arange(n) < 24,
            "clean": np.arange(n) >= 30,
            "evaluation": np.arange(n) % 2 == 0,
            "pc1": rng.integers(0, 8, n) / 20,
        }
    )
    for name in ("G", "p", "delta", "z_G", "z_p", "z_delta", "log_activity", "pop_affinity"):
        table[name] = rng.normal(size=n) + (name in ("z_G", "G")) * table["is_event"]
    return table


def test_folds_by_the_last_digit() -> None:
    for user in range(200):
        digit = int(hashlib.sha256(str(user).encode()).hexdigest(), 16) % 16
        assert study2.fold_of(user) == ("calibration" if digit < 8 else "evaluation")


def test_who_is_analysed() -> None:
    table = people()
    expected = [k for k in range(0, 60, 2) if k < 24 or k >= 30]
    assert study2.population(table).index.tolist() == expected


def test_budgets_are_rounded_and_ties_go_by_id() -> None:
    table = people()
    controls = int((~table["is_event"]).sum())
    found = study2.hit_rates(np.zeros(60), table, (0.04, 0.05, 0.5))
    assert controls == 36
    assert [one.false_alarms for one in found] == [1, 2, 18]
    ranked = table.sort_values("user_id")
    for one in found:
        stop = int(np.argmax((~ranked["is_event"]).cumsum() == one.false_alarms))
        assert one.hits == ranked["is_event"].to_numpy()[: stop + 1].sum()
    strict = study2.hit_rates(np.zeros(60), table, (0.5,), ties="strict")
    assert (strict[0].false_alarms, strict[0].hits) == (0, 0)
    assert len(study2.hit_rates(np.zeros(60), table)) == 4


def test_scores_of_misses_so_far() -> None:
    table = study2.series_scores("cusum")
    assert table.shape == (21, 3)
    assert table.columns.tolist() == [str({"k": k}) for k in (0.02, 0.05, 0.1)]
    for misses in (0, 1, 7, 20):
        expected = peak_score("cusum", {"k": 0.05}, miss_series(20, misses), study=2)
        assert table.loc[misses, str({"k": 0.05})] == expected
    assert study2.series_scores("variance_ews").columns.tolist() == [
        str({"window": w}) for w in (5, 9, 13)
    ]
    profile = study2.series_scores("matrix_profile")
    expected = peak_score("matrix_profile", {"window": 6}, miss_series(20, 9), study=2)
    assert profile.loc[9, str({"window": 6})] == expected


def test_comparators_take_the_best_setting() -> None:
    table = people()
    found = study2.comparators(table, (0.1, 0.3))
    assert found.columns.tolist() == [0.1, 0.3]
    assert found.index.tolist() == ["pc1", *dict.fromkeys(f for f, _ in calibration.CONFIGURATIONS)]
    rates = study2.hit_rates(table["pc1"].to_numpy(), table, (0.1, 0.3))
    assert found.loc["pc1"].tolist() == [one.tpr for one in rates]
    misses = (table["pc1"] * 20).round().astype(int).to_numpy()
    for family in ("cusum", "permutation_entropy"):
        scores = study2.series_scores(family)
        every = [study2.hit_rates(scores[c].to_numpy()[misses], table, (0.1, 0.3)) for c in scores]
        best = [max(one[k].tpr for one in every) for k in (0, 1)]
        assert found.loc[family].tolist() == best


def test_a_difference_of_rates() -> None:
    table = people()
    # Two of 36 controls: hits stand above the second control.
    found = study2.rate_difference(table, "z_G", "pc1", n_resamples=40, seed=3)
    assert list(found) == ["first", "second", "difference"]
    for name, column in (("first", "z_G"), ("second", "pc1")):
        (rate,) = study2.hit_rates(table[column].to_numpy(), table, (0.05,))
        assert found[name][0] == pytest.approx(rate.tpr)
    assert found["difference"][0] == pytest.approx(found["first"][0] - found["second"][0])
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(40):
        weights = Counter(int(one) for one in rng.integers(24, size=24))
        weights.update(24 + int(one) for one in rng.integers(36, size=36))
        pair = []
        for column in ("z_G", "pc1"):
            order = sorted(range(60), key=lambda k: (-table[column][k], table["user_id"][k]))
            hits = false = 0
            for k in order:
                if k < 24:
                    hits += weights[k]
                else:
                    false += weights[k]
                if false >= 2:
                    break
            pair.append(hits / 24)
        drawn.append((*pair, pair[0] - pair[1]))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    for at, name in enumerate(found):
        assert found[name][1:] == pytest.approx((low[at], high[at]))


def test_a_model_with_and_without_indicators() -> None:
    from scipy.optimize import minimize

    table = people(200, 2)
    labels = table["is_event"].to_numpy()
    signs = 2.0 * labels - 1

    def fit(columns):
        x = table[list(columns)].to_numpy()
        x = (x - x.mean(axis=0)) / x.std(axis=0)

        def loss(b):
            return np.logaddexp(0, -signs * (x @ b[1:] + b[0])).sum() + (b[1:] ** 2).sum() / 2

        best = minimize(loss, np.zeros(len(columns) + 1), tol=1e-12).x
        return best, x @ best[1:] + best[0]

    plain = ("log_activity", "pop_affinity")
    _, first = fit(plain)
    best, second = fit((*plain, "z_G", "z_p", "z_delta"))
    found = study2.covariate_model(table)
    assert list(found.coefficients) == ["G", "p", "delta"]
    assert list(found.coefficients.values()) == pytest.approx(best[3:].tolist(), abs=1e-4)
    gain = roc_auc_score(labels, second) - roc_auc_score(labels, first)
    assert found.incremental_auc == pytest.approx(gain, abs=2e-3)
    weights = np.random.default_rng(0).integers(0, 3, 200).astype(float)
    again = study2.covariate_model(table, weights)
    repeated = table.loc[np.repeat(np.arange(200), weights.astype(int))].reset_index(drop=True)
    assert again == study2.covariate_model(repeated)
    assert again != found


def test_effects_of_the_evaluation_fold() -> None:
    table = people()
    found = study2.effect_table(table)
    half = table[table["evaluation"]]
    events, controls = half[half["is_event"]], half[~half["is_event"]]
    clean = controls[controls["clean"]]
    starved = controls[~controls["clean"]]
    for name in ("G", "p", "delta"):
        assert found.loc["full", name] == pytest.approx(cohen_d(events[name], controls[name]))
        assert found.loc["purified", name] == pytest.approx(cohen_d(events[name], clean[name]))
        assert found.loc["starved", name] == pytest.approx(cohen_d(starved[name], clean[name]))


GOOD = {"G": (1, 0.5, 2), "p": (1, 0.5, 2), "delta": (-1, -2, -0.5)}


@pytest.mark.parametrize(
    ("difference", "budgets", "coefficients", "gain", "expected"),
    [
        ((0.05, 0.01, 0.2), [1, 1, 1, -1], GOOD, (0.02, 0.01, 0.1), (True, True, True)),
        ((0.049, 0.01, 0.2), [1, 1, 1, -1], GOOD, (0.02, 0.01, 0.1), (False, True, True)),
        ((0.05, 0.0, 0.2), [1, 1, 1, 1], GOOD, (0.02, 0.01, 0.1), (False, True, True)),
        ((0.05, -0.2, -0.1), [1, 1, 1, 1], GOOD, (0.02, 0.01, 0.1), (True, True, True)),
        ((0.05, -0.2, 0.0), [1, 1, 1, 1], GOOD, (0.02, 0.01, 0.1), (False, True, True)),
        ((0.05, 0.01, 0.2), [1, 1, 0, 0], GOOD, (0.02, 0.01, 0.1), (True, False, True)),
        ((0.05, 0.01, 0.2), [1] * 3, GOOD, (0.019, 0.01, 0.1), (True, True, False)),
        ((0.05, 0.01, 0.2), [1] * 3, GOOD, (0.02, 0.0, 0.1), (True, True, False)),
        *(
            (
                (0.05, 0.01, 0.2),
                [1] * 3,
                {**GOOD, name: ends},
                (0.02, 0.01, 0.1),
                (True, True, False),
            )
            for name, ends in (("G", (1, 0, 2)), ("p", (1, 0, 2)), ("delta", (-1, -2, 0)))
        ),
    ],
)
def test_criteria_at_their_ends(difference, budgets, coefficients, gain, expected) -> None:
    found = study2.criteria(difference, budgets, coefficients, gain)
    assert (found.gain, found.budgets, found.covariates) == expected
    assert found.verdict == ("control arms decide" if all(expected) else "signal dies")


def test_users_are_joined_and_standardised(monkeypatch) -> None:
    n = 12
    indicators = pd.DataFrame(
        {
            "user_id": np.arange(n)[::-1],
            "label": [1] * 4 + [0] * 8,
            "fold": ["calibration", "evaluation"] * 6,
            "G": np.arange(n) * 1.0,
            "p": np.arange(n) ** 2.0,
            "delta": np.arange(n)[::-1] * 2.0,
        }
    )
    # Users 0 to 7 are controls: 0 and 1 starve later, 2 before the landmark; 11 is an event.
    census = pd.DataFrame(
        {
            "user_id": [0, 1, 2, 3, 4, 5, 6, 7, 11],
            "is_candidate": [1, 1, 0, 1, 1, 1, 1, 1, 1],
            "starved_in_2050": [1, 1, 0, 0, 0, 0, 0, 0, 0],
        }
    )
    more = pd.DataFrame({"user_id": np.arange(5), "log_activity": np.arange(5) + 0.5})

    def table(name):
        return {"lan": indicators, "stu": census, "rea": more}[
            "lan" if "landmark" in name else "stu" if "census" in name else "rea"
        ].copy()

    monkeypatch.setattr(study2.artefacts, "table", table)
    found = study2._load.__wrapped__()
    assert found["user_id"].tolist() == list(range(n))
    assert found.index.tolist() == list(range(n))
    assert found["is_event"].tolist() == [False] * 8 + [True] * 4
    assert np.flatnonzero(found["clean"]).tolist() == [3, 4, 5, 6, 7]
    assert np.flatnonzero(found["starved"]).tolist() == [2]
    assert found["log_activity"].tolist()[:5] == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert found["log_activity"].isna().sum() == 7
    # Users 3, 5 and 7 are clean and of the calibration fold.
    assert found["evaluation"].tolist() == [True, False] * 6
    for name in ("G", "p", "delta"):
        part = found[name][[3, 5, 7]]
        expected = (found[name] - part.mean()) / part.std()
        assert found[f"z_{name}"].tolist() == pytest.approx(expected.tolist())
    total = found["z_G"] + found["z_p"] - found["z_delta"]
    assert found["S"].tolist() == pytest.approx(total.tolist())
    monkeypatch.setattr(study2, "_load", lambda: found)
    loaded = study2.load()
    assert loaded.equals(found)
    loaded["S"] = 0.0
    assert found["S"].abs().max() > 0


# Arranged panels.


def test_a_planted_rise() -> None:
    panel = arrangements.planted_panel(3, 4, 29, 2.5, 7)
    noise = np.random.default_rng(7).normal(size=(7, 29))
    noise[:3, 27:] += 2.5
    assert panel.values.tolist() == noise.tolist()  # noqa: PD011
    assert panel.is_event.tolist() == [True] * 3 + [False] * 4


@pytest.mark.parametrize("kind", arrangements.NOISE)
def test_noise_has_forty_steps(kind) -> None:
    panel = arrangements.simulated(kind, 3)
    n_events, n_controls, _ = arrangements.NOISE[kind]
    assert (panel.n_events, panel.n_controls) == (n_events, n_controls)
    assert panel.is_event.tolist() == [True] * n_events + [False] * n_controls
    assert set(panel.lengths) == {40}
    values, rng = panel.values, np.random.default_rng(3)  # noqa: PD011
    if "walks" in kind:
        steps = rng.normal(size=values.shape)[:, 1:] / 100
        assert np.diff(np.log(values), axis=1) == pytest.approx(steps, abs=1e-12)
        assert values[:, 0].tolist() == [100] * 60
    elif "counts" in kind:
        drawn = rng.poisson(0.1, size=(60, 40))
        assert np.diff(values, axis=1, prepend=0).tolist() == drawn.tolist()
    else:
        assert values.tolist() == rng.normal(size=values.shape).tolist()


@pytest.mark.parametrize("kind", arrangements.LEAKS)
def test_where_the_label_is_written(kind) -> None:
    panel = arrangements.simulated(kind, 2)
    labels = np.arange(90) < 30
    rng = np.random.default_rng(2)
    values = rng.normal(size=(90, 40))
    label = labels + rng.normal(size=90) / 1000
    assert panel.is_event.tolist() == labels.tolist()
    found = panel.values  # noqa: PD011
    if kind == "length":
        assert panel.lengths.tolist() == [30] * 30 + [40] * 60
        assert found[30:].tolist() == values[30:].tolist()
        assert found[:30, :30].tolist() == values[:30, :30].tolist()
        return
    assert set(panel.lengths) == {40}
    if kind.startswith("last"):
        label[0] -= 1
        values[:, 39] = label
    elif kind.startswith("12"):
        values[:, 39 - 12] = label
    else:
        values[:30, 32:] = np.arange(8.0)
        assert found[:30, 32:] != pytest.approx(values[:30, 32:], abs=1e-12)
    assert found == pytest.approx(values, abs=1e-8)
    if kind.startswith("ends"):
        drawn = np.arange(8.0) + rng.normal(size=(30, 8)) / 1e9
        assert found[:30, 32:] == pytest.approx(drawn, abs=1e-13, rel=0)


def test_configurations_that_keep_the_contract(monkeypatch) -> None:
    series = {1: [0.0, 0.0], 2: [0.0, 0.0], 3: [0.0, 1.0], 4: [1.0, 1.0], 5: [9.0, 9.0]}

    def run(users):
        table = pd.DataFrame({"user": users, "label": ["control"] * (len(users) - 1) + ["event"]})
        return SimpleNamespace(included=lambda: table, series=lambda user: np.array(series[user]))

    asked = []

    def fires(family, params, one):
        asked.append(one)
        return sum(one) >= params["least"]

    monkeypatch.setattr(arrangements, "alarm", fires)
    grid = tuple(("x", {"least": least}) for least in (0, 1, 2, 3))
    monkeypatch.setattr(arrangements, "CONFIGURATIONS", grid)
    # 4, 2, 1 and 0 of the four controls alarm.
    found = arrangements.accepted_configurations
    assert found(run([1, 2, 3, 4, 5]), FPContract(0.2, 0.5)) == 2
    assert len(asked) == 4 * 3
    assert found(run([1, 2, 3, 4, 5]), FPContract(0.2, 0.3)) == 1
    assert found(run([1, 2, 3, 4, 5])) == 0
    assert found(run([5])) == 0


# The author's files.


def test_manifests_by_hand(monkeypatch, tmp_path) -> None:
    import gzip

    text = b"some text"
    digest = hashlib.sha256(text).hexdigest()
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "b.gz").write_bytes(gzip.compress(text))
    held = SimpleNamespace(
        files=[SimpleNamespace(name=f"loopzero/base/{n}") for n in ("a.txt", "b.gz")]
    )
    monkeypatch.setattr(artefacts.data, "registry", lambda: {"loopzero": held})
    monkeypatch.setattr(artefacts, "file", lambda name: tmp_path / name.rpartition("/")[2])
    content = [
        {"path": "a.txt", "sha256": digest, "inner": {"path": "a.txt", "sha256": "0" * 64}},
        {"path": "b.gz", "sha256": digest, "decompressed_sha256": digest},
        {"path": "b.gz", "sha256": digest},
        {"path": "old.txt", "frozen_path": "/x/loopzero-paper-public/a.txt", "sha256": digest},
        {"path": "none.txt", "sha256": digest},
        {"path": 3, "sha256": digest},
        {"path": "a.txt", "sha256": None},
        "text",
    ]
    found = artefacts.manifest_check({"deep": content}, base="base")
    assert found.columns.tolist() == ["path", "recorded", "status"]
    assert found["path"].tolist() == [
        f"base/{one}" for one in ("a.txt", "a.txt", "b.gz", "b.gz", "a.txt", "none.txt")
    ]
    assert found["status"].tolist() == [
        *("same", "different", "same", "different", "same", "not in the mirror"),
    ]
    assert found["recorded"].tolist()[:2] == [digest, "0" * 64]
    assert artefacts.manifest_check({}).shape == (0, 3)


def test_a_json_value_has_one_digest() -> None:
    expected = hashlib.sha256(b'{"a":[1,2.5],"b":{"c":null,"d":"x"}}').hexdigest()
    assert artefacts.canonical_sha256({"b": {"d": "x", "c": None}, "a": [1, 2.5]}) == expected


def test_files_are_read(monkeypatch, tmp_path) -> None:
    asked = []

    def path(*names):
        asked.append(names)
        return tmp_path / names[-1].rpartition("/")[2]

    (tmp_path / "x.csv").write_text("a;b\n1;2\n")
    (tmp_path / "x.json").write_text('{"é": 1}', encoding="utf-8")
    monkeypatch.setattr(artefacts.data, "path", path)
    assert artefacts.table("some/x.csv", sep=";").to_dict("list") == {"a": [1], "b": [2]}
    assert artefacts.document("x.json") == {"é": 1}
    assert asked == [("loopzero", "loopzero/some/x.csv"), ("loopzero", "loopzero/x.json")]


def test_a_landmark_by_hand() -> None:
    table = pd.DataFrame(
        {"user": [1, 2, 3, 4, 5], "steps": [3, 4, 9, 9, 9], "collapse": [0, 0, 5, 6, 0]}
    )
    misses = {user: np.array([0, 1, 1, 0, 1, 1, 1, 1, 1][:n], dtype=bool) for user, n in
              zip(table["user"], table["steps"], strict=True)}  # fmt: skip
    run = SimpleNamespace(episodes=table, misses=misses, config=SimpleNamespace(streak=3))
    # After three steps: the streak of the third began at the landmark, that of the fourth after.
    panel = arrangements.at_landmark(run, 3)
    assert isinstance(panel, Panel)
    assert panel.units.tolist() == [2, 4, 5]
    assert panel.is_event.tolist() == [False, True, False]
    assert panel.values.tolist() == [[0, 1, 2]] * 3  # noqa: PD011
