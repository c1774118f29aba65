"""Markets and model collapse: the published numbers out of the released minutes."""

import numpy as np
import pandas as pd
import pytest

from lib.collapse_warning import evaluate, evaluate_scores
from lib.collapse_warning.study import artefacts, markets, shumailov
from lib.core.data import DataError


@pytest.fixture(scope="module")
def late(minutes):
    return markets.late(markets.units(minutes))


def test_units(minutes):
    for length, expected in ((120, (16, 38)), (60, (32, 75))):
        units = markets.units(minutes, length).groupby("is_event")["unit"].nunique()
        assert (units[True], units[False]) == expected
    assert len(markets.units(minutes)) == 6196
    with pytest.raises(ValueError, match="at least 2"):
        markets.units(minutes, 1)


def test_all_cells_of_the_grid_come_out(late):
    cells = markets.a1_cells(late).set_index(["q", "k"])
    table = artefacts.table("results/rendered/bridge/a1_loopzero_operating_points.csv")
    table = table[table["domain"] == "markets"].set_index(["q_G_pct", "k"])
    assert len(table) == len(cells) == 27
    for key, row in table.iterrows():
        mine = cells.loc[key]
        assert (mine["controls"], mine["events"]) == (
            row["n_control_alarmed"],
            row["n_event_alarmed"],
        )
        assert mine["accepted"] == row["accepted"]
        for name in ("q_G", "q_p", "q_delta"):
            assert mine[name] == pytest.approx(row[name], abs=1e-12)


def test_quantiles_of_events_break_cells(late):
    pair = [markets.a1_cells(late, fit_on_events=one) for one in (False, True)]
    assert (pair[0][["controls", "events"]] != pair[1][["controls", "events"]]).any(axis=None)


def test_effect_sizes_come_out(late):
    table = artefacts.table("results/rendered/effect_sizes/a3_effect_sizes_full.csv")
    table = table[table["domain"] == "markets"].set_index(["witness", "effect_measure"])
    names = {"cohen_d": "cohens_d", "glass_d": "glasss_d", "auc": "rank_auc"}
    for witness, effect in markets.effects(late).items():
        found = effect.bootstrap(4000, seed=0)
        for measure, published in names.items():
            row = table.loc[(witness, published)]
            assert found.loc[measure, "point"] == pytest.approx(row["point_estimate"], abs=1e-9)
            low = found.loc[measure, "low"]
            assert low == pytest.approx(row["ci_lower_percentile"], abs=0.05)


def test_the_published_gain_is_another_column(late):
    event, control = markets.direction(late, "G_debug")
    assert event == pytest.approx(2099335.4537, rel=1e-9)
    assert control == pytest.approx(2.729991, rel=1e-6)
    event, control = markets.direction(late, "G")
    assert event < control
    spikes = markets.spikes(late)
    assert (len(spikes), spikes["unit"].nunique()) == (4, 2)


def test_a_third_of_event_units_is_not_before(minutes):
    where = markets.timeline(markets.units(minutes))["where"].value_counts()
    assert where.to_dict() == {"before": 10, "after": 4, "across": 2}


def test_diversity_agrees_where_the_rank_is_full(minutes):
    for _, day in minutes.groupby("day"):
        returns = day[[f"{symbol}_return" for symbol in markets.SYMBOLS]].to_numpy()
        delta, deficient = markets.diversity(returns)
        released = day["delta"].to_numpy()[29:]
        np.testing.assert_allclose(delta[~deficient], released[~deficient], atol=1e-9)


def test_diversity_of_known_matrices():
    t = np.arange(30.0)
    same = np.c_[t, t]
    assert markets.diversity(same, rtol=1e-9)[0] == pytest.approx([0.0], abs=1e-9)
    orthogonal = np.c_[np.tile([1.0, -1.0], 14), np.repeat([1.0, -1.0], 14)]
    assert markets.diversity(orthogonal, 28)[0] == pytest.approx([1.0])
    assert markets.diversity(same)[1].all()
    with pytest.raises(ValueError, match="at least 30"):
        markets.diversity(same[:10])
    with pytest.raises(ValueError, match="infinity"):
        markets.diversity(np.full((30, 2), np.inf))


def test_shumailov_numbers(mirror):
    table = shumailov.onset(shumailov.witnesses(shumailov.trajectories()))
    assert table["ratio"].round(1).tolist() == [22.6, 16.7]
    assert table["persistence"].round(3).tolist() == [0.752, 0.567]
    assert table["diversity_ratio"].round(1).tolist() == [13.3, 15.0]
    assert (table["signed"] < 0).all()


def test_shumailov_refuses_gaps_and_bad_values():
    rows = pd.DataFrame({"regime": "a", "run": 1, "generation": [0, 1, 3], "perplexity": 3.0})
    with pytest.raises(ValueError, match="without gap"):
        shumailov.witnesses(rows)
    with pytest.raises(ValueError, match="positive"):
        shumailov.witnesses(rows.assign(generation=[0, 1, 2], perplexity=[1, 2, 0]))


def test_a_changed_digest_is_named(mirror):
    entry = {"path": "results/rendered/effect_sizes/a3_effect_sizes_full.csv", "sha256": "0" * 64}
    assert artefacts.manifest_check({"files": [entry]})["status"].tolist() == ["different"]
    entry["path"] = f"/home/author/loopzero-paper-public/{entry['path']}"
    assert artefacts.manifest_check({"files": [entry]})["status"].tolist() == ["different"]
    entry["path"] = "results/none.csv"
    assert artefacts.manifest_check([entry])["status"].tolist() == ["not in the mirror"]


def test_what_a_gzip_file_holds_has_a_digest_of_its_own(mirror):
    anchors = artefacts.manifest_check(artefacts.document("preregistration/INPUT_MANIFEST.json"))
    assert anchors["status"].value_counts().to_dict() == {"not in the mirror": 7, "same": 2}


def test_unknown_files_are_refused():
    with pytest.raises(DataError, match="match"):
        artefacts.file("results/none.csv")


def test_every_score_without_ties_reaches_two_of_38_controls(minutes):
    panel = markets.panel(markets.units(minutes)).last()
    noise = np.random.default_rng(0).normal(size=panel.n_units)
    for detector in markets.sweep_detectors()[:4]:
        found = evaluate(panel, detector)
        assert (found.verdict, found.false_alarms) == ("accepted", 2)
    assert evaluate_scores(noise, panel.is_event).false_alarms == 2
    # Scores of a few values only jump over it.
    assert not evaluate_scores(np.round(noise), panel.is_event).accepted
