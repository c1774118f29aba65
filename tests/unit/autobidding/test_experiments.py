"""Real data: the files, the filtrations, and estimated models judged on other customers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.autobidding import experiments
from lib.autobidding.bidders import Bidder
from lib.autobidding.experiments import (
    HILLSTROM_STRENGTH,
    HILLSTROM_TARGETS,
    MOVIELENS_BUDGETS,
    Trial,
    batch_curves,
    bootstrap_interval,
    corrected_t_interval,
    curve_intervals,
    dispersion_strength,
    genre_panel,
    hillstrom_features,
    hillstrom_trial,
    holdout,
    level_rates,
    movielens_filtration,
    pacing_curve,
    read_hillstrom,
    read_movielens,
    resampled_weights,
    revenue_curve,
    reweighted,
    split_differences,
    split_summary,
    truthful_revenue,
)
from lib.autobidding.filtrations import Filtration
from lib.autobidding.market import CalibrationError, Market
from lib.autobidding.mechanism import outcome


@pytest.fixture(scope="module")
def hillstrom() -> pd.DataFrame:
    return read_hillstrom()


@pytest.fixture(scope="module")
def trial(hillstrom: pd.DataFrame) -> Trial:
    return hillstrom_trial(hillstrom)


@pytest.fixture(scope="module")
def movielens() -> Filtration:
    return movielens_filtration(genre_panel(read_movielens()))


@pytest.fixture(scope="module")
def toy() -> Trial:
    """Sixteen cells in four groups, two advertisers and a control arm; rates that differ."""
    rng = np.random.default_rng(7)
    cell, arm = rng.integers(0, 16, 6_000), rng.integers(0, 3, 6_000)
    rate = np.where(arm == 0, 0.2 + 0.2 * (cell >= 8), 0.4 - 0.2 * (cell >= 8))
    visit = (rng.uniform(size=6_000) < rate).astype(int)
    levels = [np.zeros_like(cell), cell // 8, cell // 4, cell]
    return Trial.from_units(levels, arm, visit, ["A", "B"])


# ── Hillstrom ──────────────────────────────────────────────────────────────────────────────────


def test_facts_of_the_file(hillstrom: pd.DataFrame) -> None:
    assert len(hillstrom) == 64_000
    arms = hillstrom.groupby("segment")
    assert arms.size().to_dict() == {
        "Mens E-Mail": 21_307,
        "Womens E-Mail": 21_387,
        "No E-Mail": 21_306,
    }
    rates = arms[["visit", "conversion"]].mean().round(5)
    assert rates.loc["Mens E-Mail"].tolist() == [0.18276, 0.01253]
    assert rates.loc["Womens E-Mail"].tolist() == [0.15140, 0.00884]
    assert rates.loc["No E-Mail"].tolist() == [0.10617, 0.00573]


def test_hillstrom_revenue_is_that_of_the_dossier(trial: Trial) -> None:
    curve = revenue_curve(trial.filtration(HILLSTROM_STRENGTH), HILLSTROM_TARGETS)
    assert curve["clusters"].tolist() == [1, 3, 6, 18, 54, 162, 468]
    np.testing.assert_allclose(
        curve["first"], [0.17783, 0.19086, 0.19135, 0.19138, 0.19283, 0.19505, 0.20139], atol=6e-6
    )
    np.testing.assert_allclose(
        curve["second"], [0.17772, 0.16469, 0.16420, 0.16416, 0.16271, 0.16050, 0.15415], atol=6e-6
    )
    assert (curve["first"].diff().dropna() > 0).all()
    assert (curve["second"].diff().dropna() < 0).all()


def test_counts_keep_every_customer(hillstrom: pd.DataFrame, trial: Trial) -> None:
    assert trial.n_customers == len(hillstrom)
    assert trial.counts[:, 0, 1].sum() == hillstrom.query("segment == 'Mens E-Mail'")["visit"].sum()
    assert trial.advertisers == ("Mens", "Womens")
    assert hillstrom_features(hillstrom).nunique().tolist() == [3, 2, 3, 3, 3, 4]


def test_overfitting_is_that_of_the_dossier(trial: Trial) -> None:
    splits = holdout(trial, HILLSTROM_TARGETS, n_splits=20, seed=11)
    mean = splits.groupby("clusters").mean()
    np.testing.assert_allclose(mean["collected"].iloc[[0, -1]], [0.1849, 0.2314], atol=4e-3)
    np.testing.assert_allclose(
        mean["delivered"], [0.1800, 0.1973, 0.1979, 0.1967, 0.1943, 0.1891, 0.1863], atol=4e-3
    )
    np.testing.assert_allclose(mean["cpa"].iloc[[0, -1]], [1.03, 1.24], atol=0.03)
    assert corrected_t_interval(splits.query("clusters == 468")["cpa"])[0] > 1


def test_empirical_bayes_keeps_the_promise(trial: Trial) -> None:
    arguments = {"n_splits": 10, "seed": 12}
    raw = holdout(trial, HILLSTROM_TARGETS, **arguments).query("clusters == 468")
    smooth = holdout(trial, HILLSTROM_TARGETS, smoothing="empirical Bayes", **arguments).query(
        "clusters == 468"
    )
    assert smooth["cpa"].mean() < 1.06 < raw["cpa"].mean()
    assert smooth["delivered"].mean() > raw["delivered"].mean()


ROW = {
    "recency": 3,
    "history_segment": "2) $100 - $200",
    "history": 142.44,
    "mens": 1,
    "womens": 0,
    "zip_code": "Urban",
    "newbie": 0,
    "channel": "Web",
    "segment": "Mens E-Mail",
    "visit": 0,
    "conversion": 0,
    "spend": 0.0,
}


def _file(folder: Path, changes: list[dict], drop: str | None = None) -> Path:
    arms = [{"segment": arm} for arm in experiments.HILLSTROM_ARMS]
    table = pd.DataFrame([ROW | change for change in [*arms, *changes]])
    target = folder / "hillstrom.csv"
    table.drop(columns=drop or []).to_csv(target, index=False)
    return target


def test_a_small_file_is_read(tmp_path: Path) -> None:
    table = read_hillstrom(_file(tmp_path, [{"visit": 1}]), customers=4)
    small = hillstrom_trial(table)
    assert small.counts.tolist() == [[[1, 1], [1, 0], [1, 0]]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"visit": 2}, "visit of customer 3 is 2"),
        ({"recency": 13}, "recency of customer 3 is 13"),
        ({"segment": "Kids E-Mail"}, "segment of customer 3 is Kids E-Mail"),
        ({"history": -1.0}, "history of customer 3 is -1.0"),
        ({"history_segment": "8) more"}, "history_segment of customer 3"),
        ({"zip_code": None}, "zip_code of customer 3"),
    ],
)
def test_an_altered_file_is_refused(tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_hillstrom(_file(tmp_path, [change]), customers=4)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = _file(tmp_path, [{}, {}])
    with pytest.raises(ValueError, match="5 customers, expected 6: truncated"):
        read_hillstrom(file, customers=6)
    with pytest.raises(ValueError, match="5 customers, expected 64000"):
        read_hillstrom(file)
    with pytest.raises(ValueError, match="'visit' is missing"):
        read_hillstrom(_file(tmp_path, [], drop="visit"), customers=3)


def test_an_empty_arm_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    pd.DataFrame([ROW]).to_csv(file, index=False)
    with pytest.raises(ValueError, match="nobody in arm 'Womens E-Mail'"):
        read_hillstrom(file, customers=1)


# ── The trial and its estimates ────────────────────────────────────────────────────────────────


def test_smoothing_each_level_alone_breaks_calibration(toy: Trial) -> None:
    toy.filtration(20.0)
    with pytest.raises(CalibrationError, match="is not the weighted mean"):
        toy.smoothed_alone(20.0)


def test_halves_and_shuffles_keep_the_customers(toy: Trial) -> None:
    first, second = toy.halves(np.random.default_rng(0))
    assert first.n_customers == toy.n_customers // 2
    assert (first.counts + second.counts == toy.counts).all()
    mixed = toy.shuffled(np.random.default_rng(0))
    assert (mixed.customers == toy.customers).all()
    assert (mixed.counts.sum(axis=0) == toy.counts.sum(axis=0)).all()
    assert not (mixed.counts == toy.counts).all()


def test_in_sample_the_promise_seems_kept(toy: Trial) -> None:
    splits = holdout(toy, [1.0, 1.0], n_splits=3, seed=1, in_sample=True)
    np.testing.assert_allclose(splits["cpa"], 1)
    assert (holdout(toy, [1.0, 1.0], n_splits=3, seed=1)["cpa"] > 1).any()


def test_shuffled_features_deliver_nothing(toy: Trial) -> None:
    """At the level of the truth, two clusters, real features gain and shuffled ones do not."""
    real = split_differences(holdout(toy, [1.0, 1.0], n_splits=5, seed=2), "delivered", 2, 1)
    fake = split_differences(
        holdout(toy, [1.0, 1.0], n_splits=5, seed=2, shuffle=True), "delivered", 2, 1
    )
    assert real.mean() > 0.05 > 0.02 > abs(fake.mean())


def test_a_level_is_chosen_without_the_customers_that_judge_it(toy: Trial) -> None:
    """The truth has two clusters; with shuffled features there is nothing to choose."""
    plain = holdout(toy, [1.0, 1.0], n_splits=4, seed=2)
    chosen = holdout(toy, [1.0, 1.0], n_splits=4, seed=2, inner=3)
    pd.testing.assert_frame_equal(plain, chosen.drop(columns="chosen"))
    assert len(chosen[["split", "chosen"]].drop_duplicates()) == 4
    assert (chosen["chosen"] >= 2).all()
    gain = split_differences(chosen, "delivered", "chosen", 1)
    by_hand = [rows.set_index("clusters")["delivered"] for _, rows in chosen.groupby("split")]
    levels = chosen.groupby("split")["chosen"].first()
    assert gain == pytest.approx([r[k] - r[1] for r, k in zip(by_hand, levels, strict=True)])
    assert "chosen" not in set(split_summary(chosen)["measure"])
    in_sample = holdout(toy, [1.0, 1.0], n_splits=4, seed=2, inner=3, in_sample=True)
    assert in_sample["chosen"].tolist() == chosen["chosen"].tolist()
    with pytest.raises(ValueError, match="no level with chosen clusters"):
        split_differences(plain, "delivered", "chosen", 1)


def test_holdout_repeats(toy: Trial) -> None:
    one, two = (holdout(toy, [1.0, 1.0], n_splits=2, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    assert not one.equals(holdout(toy, [1.0, 1.0], n_splits=2, seed=4))


def test_collected_and_paid_agree(toy: Trial) -> None:
    """First plus second price of two bidders is what both would pay, whoever wins."""
    fit, rest = toy.halves(np.random.default_rng(5))
    rates = level_rates(fit, "none")[-1]
    weights = rest.customers / rest.n_customers
    both = sum(truthful_revenue(weights, rates, [1.0, 1.2], rule) for rule in ("first", "second"))
    assert both == pytest.approx(weights @ rates @ [1.0, 1.2])


def test_unseen_clusters_take_the_rate_of_their_parent() -> None:
    counts = np.array([[[6, 4], [5, 5]], [[0, 0], [8, 2]]])
    trial = Trial(counts, [np.array([0, 0]), np.array([0, 1])], ("A", "B"))
    coarse, fine = level_rates(trial, "none")
    assert coarse[0, 0] == fine[1, 0] == 0.4
    assert fine[1, 1] == 0.2
    smooth = level_rates(trial, "empirical Bayes")[1]
    assert smooth[1, 0] == pytest.approx(0.4)
    assert 0.2 < smooth[1, 1] < 0.35


def test_dispersion_recovers_the_prior() -> None:
    rng = np.random.default_rng(8)
    rate = rng.beta(20, 80, size=(4_000, 1))
    trials = rng.integers(5, 60, size=(4_000, 1))
    found = dispersion_strength(rng.binomial(trials, rate), trials, np.zeros(4_000, dtype=int))
    assert found[0] == pytest.approx(100, rel=0.15)
    equal = dispersion_strength(
        rng.binomial(trials, 0.2 + 0 * rate), trials, np.zeros(4_000, dtype=int)
    )
    assert equal[0] > 1_000


@pytest.mark.parametrize(
    ("counts", "advertisers", "words"),
    [
        (np.zeros((2, 2)), ("A",), "n_cells, n_arms, 2"),
        (np.ones((2, 2, 2)), ("A",), "integer counts"),
        (np.ones((2, 2, 2), dtype=int), ("A", "B", "C"), "3 advertisers for 2 arms"),
        (np.array([[[1, 1]], [[-1, 2]]]), ("A",), "cell 1 has a negative count"),
        (np.array([[[1, 1], [0, 0]]]), ("A",), "every arm needs a customer"),
    ],
)
def test_bad_counts(counts: np.ndarray, advertisers: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Trial(counts, [np.arange(len(counts))], advertisers)


def test_bad_holdout(toy: Trial) -> None:
    with pytest.raises(ValueError, match="n_splits is 1"):
        holdout(toy, [1.0, 1.0], n_splits=1, seed=0)
    with pytest.raises(ValueError, match="expected 2 numbers"):
        holdout(toy, [1.0], n_splits=2, seed=0)
    with pytest.raises(ValueError, match="'ridge'"):
        level_rates(toy, "ridge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no level with 5 clusters"):
        split_differences(holdout(toy, [1.0, 1.0], n_splits=2, seed=0), "cpa", 5, 1)


# ── Revenue and intervals ──────────────────────────────────────────────────────────────────────


def test_truthful_revenue_agrees_with_the_auction() -> None:
    rng = np.random.default_rng(9)
    weights, predictions = rng.uniform(0.1, 1, (6, 5)), rng.uniform(size=(6, 5, 3))
    values = [1.0, 0.7, 1.5]
    for rule in ("first", "second"):
        batch = truthful_revenue(weights, predictions, values, rule)
        single = [
            outcome(Market(w, p), [Bidder("tcpa", v) for v in values], [1] * 3, rule).revenue
            for w, p in zip(weights, predictions, strict=True)
        ]
        np.testing.assert_allclose(batch, single)


def test_batches_agree_with_the_filtration(toy: Trial) -> None:
    chain = toy.filtration(20.0)
    curve = revenue_curve(chain, [1.0, 1.2])
    batch = batch_curves(
        chain.base.weights[None], chain.base.predictions, chain.labels, [1.0, 1.2]
    )[0]
    np.testing.assert_allclose(batch, curve[["first", "second"]])
    copies = toy.bootstrap_curves([1.0, 1.2], 20.0, 30, np.random.default_rng(0))
    assert (np.diff(copies[..., 0], axis=1) >= -1e-12).all()  # Jensen, in every copy
    table = curve_intervals(curve, copies)
    assert (table["low"] < table["revenue"]).all()
    assert (table["revenue"] < table["high"]).all()


def test_reweighting_drops_what_has_no_weight(toy: Trial) -> None:
    chain = toy.filtration(20.0)
    weights = resampled_weights(16, 3, np.random.default_rng(1))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for copy, row in zip(
        weights, batch_curves(weights, chain.base.predictions, chain.labels, [1, 1]), strict=True
    ):
        curve = revenue_curve(reweighted(chain, copy), [1, 1])
        np.testing.assert_allclose(curve[["first", "second"]], row)


def test_intervals_and_their_errors() -> None:
    assert bootstrap_interval(0.0, [0.0, 0.0]) == (0.0, 0.0)
    with pytest.raises(ValueError, match="two copies or more"):
        bootstrap_interval(0.0, [0.0])
    with pytest.raises(ValueError, match="two copies or more"):
        bootstrap_interval([0.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="two values or more"):
        corrected_t_interval([1.0])
    with pytest.raises(ValueError, match="level is 2"):
        corrected_t_interval([1.0, 2.0], level=2)
    splits = pd.DataFrame({"split": [0, 1], "clusters": [1, 1], "cpa": [1.0, 1.2]})
    row = split_summary(splits).iloc[0]
    assert row["mean"] == pytest.approx(1.1)
    assert row["low"] < row["mean"] < row["high"]


# ── MovieLens ──────────────────────────────────────────────────────────────────────────────────


def test_movielens_revenue_is_that_of_the_dossier(movielens: Filtration) -> None:
    curve = revenue_curve(movielens, [1.0] * 10)
    assert curve["clusters"].tolist() == [2**j for j in range(10)]
    np.testing.assert_allclose(curve["first"].iloc[[0, -1]], [0.60501, 0.65598], atol=5e-4)
    np.testing.assert_allclose(
        curve["second"].iloc[:4], [0.59262, 0.58945, 0.58591, 0.58647], atol=6e-6
    )
    assert curve["second"].iloc[-1] == pytest.approx(0.61813, abs=1e-3)
    assert (curve["first"].diff().dropna() > 0).all()


def test_movielens_pacing_is_that_of_the_dossier(movielens: Filtration) -> None:
    ends = Filtration(movielens.base, [movielens.labels[0], movielens.labels[8]])
    curve = pacing_curve(ends, [1.0] * 10, MOVIELENS_BUDGETS)
    assert curve["clusters"].tolist() == [1, 256]
    np.testing.assert_allclose(curve["revenue"], [0.50622, 0.61548], atol=1e-3)


def test_bad_ratings() -> None:
    good = pd.DataFrame(
        {"userId": [1, 1], "movieId": [1, 2], "genres": ["A|B", "B"], "rating": [4.0, 3.5]}
    )
    panel = genre_panel(read_movielens(good), 2)
    assert panel.genres == ("B", "A")
    assert panel.liked.tolist() == [[1, 1]]
    assert panel.rated.tolist() == [[2, 1]]
    with pytest.raises(ValueError, match="'rating' is missing"):
        read_movielens(good.drop(columns="rating"))
    with pytest.raises(ValueError, match="rating 1 is 6"):
        read_movielens(good.assign(rating=[4.0, 6.0]))
    with pytest.raises(ValueError, match="user 1 rated film 1 twice"):
        read_movielens(good.assign(movieId=1))
    with pytest.raises(ValueError, match="n_genres is 3; expected 1 to 2"):
        genre_panel(good, 3)
