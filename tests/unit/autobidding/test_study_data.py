"""Real data: the files, the filtrations, and estimated models judged on other customers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lib.autobidding.bidders import Bidder
from lib.autobidding.estimation import (
    bootstrap_interval,
    corrected_t_interval,
    holdout,
    mean_with_interval,
    revenue_curve,
    split_differences,
    split_summary,
    truthful_revenue,
)
from lib.autobidding.filtrations import Filtration, level_map, pool
from lib.autobidding.logs import Trial, dispersion_strength, level_rates, market_from_log
from lib.autobidding.market import CalibrationError, Market
from lib.autobidding.mechanism import outcome
from lib.autobidding.study.data import (
    HILLSTROM_FEATURES,
    HILLSTROM_STRENGTH,
    HILLSTROM_TARGETS,
    MOVIELENS_BUDGETS,
    batch_curves,
    curve_intervals,
    genre_panel,
    hillstrom_log,
    hillstrom_trial,
    movielens_filtration,
    pacing_curve,
    read_movielens,
    resampled_weights,
    reweighted,
    trial_copies,
)


@pytest.fixture(scope="module")
def hillstrom() -> pd.DataFrame:
    return hillstrom_log()


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
    log = pd.DataFrame(
        {
            "half": cell // 8,
            "quarter": cell // 4,
            "cell": cell,
            "advertiser": arm,
            "converted": visit,
        }
    )
    log["advertiser"] = log["advertiser"].map({0: "A", 1: "B", 2: "none"})
    return Trial.from_log(log, ["half", "quarter", "cell"], advertisers=["A", "B"])


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
    assert trial.advertisers == ("Mens E-Mail", "Womens E-Mail")
    assert hillstrom[list(HILLSTROM_FEATURES)].nunique().tolist() == [3, 2, 3, 3, 3, 4]


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


# ── The trial and its estimates ────────────────────────────────────────────────────────────────


def test_smoothing_each_level_alone_breaks_calibration(toy: Trial) -> None:
    toy.filtration(20.0)
    levels = toy.labels[:2]
    counts = [pool(toy.counts, index) for index in levels]
    markets = [Market(c.sum(axis=(1, 2)) / toy.n_customers, toy.smoothed(c, 20.0)) for c in counts]
    with pytest.raises(CalibrationError, match="is not the weighted mean"):
        Filtration.from_markets(markets, [level_map(*levels)])


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


def test_a_single_customer_has_a_rate_of_none_or_all() -> None:
    counts = np.array([[[0, 1], [1, 0]], [[3, 1], [1, 3]]])
    trial = Trial(counts, [np.array([0, 0]), np.array([0, 1])], ("A", "B"))
    coarse, fine = level_rates(trial, "none")
    assert coarse.tolist() == [[2 / 5, 3 / 5]]
    assert fine.tolist() == [[1, 0], [1 / 4, 3 / 4]]
    alone = Trial(np.array([[[0, 1], [1, 0]]]), [np.array([0])], ("A", "B"))
    assert level_rates(alone, "none")[0].tolist() == [[1, 0]]


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
        (np.zeros((2, 2)), ("A",), r"counts has shape \(2, 2\)"),
        (np.full((2, 2, 2), 1.5), ("A",), r"counts\[0, 0, 0\] is 1.5"),
        (np.ones((2, 2, 2), dtype=int), ("A", "B", "C"), "expected 1 to 2, the number of arms"),
        (np.ones((2, 2, 2), dtype=int), (), "advertisers are"),
        (np.array([[[1, 1]], [[-1, 2]]]), ("A",), r"counts\[1, 0, 0\] is -1"),
        (np.array([[[1, 1], [0, 0]]]), ("A",), "arm 1 of counts has no customer"),
        (
            np.array([[[1, 1], [1, 2]], [[0, 0], [0, 0]]]),
            ("A",),
            "cell 1 of counts has no customer",
        ),
    ],
)
def test_bad_counts(counts: np.ndarray, advertisers: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Trial(counts, [np.arange(len(counts))], advertisers)


def test_a_promise_broken_altogether_counts() -> None:
    """What collects and delivers nothing costs without end; a mean must not leave it out."""
    log = pd.DataFrame(
        {
            "device": list("aabbaabb"),
            "advertiser": ["X", "Y"] * 4,
            "converted": [0, 1, 1, 0] * 2,
        }
    )
    trial = Trial.from_log(log, ["device"])
    splits = holdout(trial, [1, 1], n_splits=3, seed=0, smoothing="empirical Bayes")
    failed = splits[(splits["collected"] > 0) & (splits["delivered"] == 0)]
    assert len(failed)
    assert (failed["cpa"] == np.inf).all()
    paid = splits[splits["delivered"] > 0]
    np.testing.assert_allclose(paid["cpa"], paid["collected"] / paid["delivered"])
    summary = split_summary(splits).set_index(["measure", "clusters"])
    worst = summary.loc[("cpa", int(failed["clusters"].iloc[0]))]
    assert worst["mean"] == np.inf
    assert worst[["low", "high"]].isna().all()
    # Nothing collected and nothing delivered is no cost at all.
    nobody = Trial([[[4, 0], [4, 0]]], [[0]], ("X", "Y"))
    assert holdout(nobody, [1, 1], n_splits=2, seed=0)["cpa"].isna().all()


def test_bad_holdout(toy: Trial) -> None:
    with pytest.raises(ValueError, match="n_splits is 1"):
        holdout(toy, [1.0, 1.0], n_splits=1, seed=0)
    with pytest.raises(ValueError, match=r"targets has shape \(1,\), expected shape \(2\)"):
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
    copies = trial_copies(toy, [1.0, 1.2], 20.0, 30, np.random.default_rng(0))
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
    with pytest.raises(ValueError, match="expected two or more"):
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


def test_ratings_are_counted_by_genre() -> None:
    good = pd.DataFrame(
        {"userId": [1, 1], "movieId": [1, 2], "genres": ["A|B", "B"], "rating": [4.0, 3.5]}
    )
    panel = genre_panel(good, 2)
    assert panel.genres == ("B", "A")
    assert panel.liked.tolist() == [[1, 1]]
    assert panel.rated.tolist() == [[2, 1]]
    with pytest.raises(ValueError, match="n_genres is 3"):
        genre_panel(good, 3)


# ── Impression logs ───────────────────────────────────────────────────────────────────────────

LOG = pd.DataFrame(
    {
        "device": ["tv", "tv", "tv", "pc", "pc", "pc", "pc", "pc"],
        "hour": [1, 2, 2, 1, 1, 2, 2, 2],
        "advertiser": ["A", "A", "B", "A", "B", "B", "none", "A"],
        "converted": [1, 0, 1, 0, 0, 1, 1, 1],
        "price": [0.1] * 8,
    }
)


def test_a_log_by_hand() -> None:
    trial = Trial.from_log(LOG, ["device", "hour"], advertisers=["B", "A"])
    assert trial.advertisers == ("B", "A")
    # Cells pc 1, pc 2, tv 1, tv 2; arms B, A, none; outcomes 0 and 1.
    assert trial.counts.tolist() == [
        [[1, 0], [1, 0], [0, 0]],
        [[0, 1], [0, 1], [0, 1]],
        [[0, 0], [0, 1], [0, 0]],
        [[0, 1], [1, 0], [0, 0]],
    ]
    assert [level.tolist() for level in trial.labels] == [[0] * 4, [0, 0, 1, 1], [0, 1, 2, 3]]
    assert trial.customers.tolist() == [2, 3, 1, 2]
    market = market_from_log(LOG, ["device", "hour"], strength=2, advertisers=["B", "A"])
    assert market.weights.tolist() == [2 / 8, 3 / 8, 1 / 8, 2 / 8]
    # B has 2 of 3 in all, A 2 of 4: drawn by two impressions to these.
    np.testing.assert_allclose(
        market.predictions,
        [[(4 / 3) / 3, 1 / 3], [(1 + 4 / 3) / 3, 2 / 3], [2 / 3, 2 / 3], [(1 + 4 / 3) / 3, 1 / 3]],
    )
    chain = trial.filtration(2)
    assert (chain.markets[-1].predictions == market.predictions).all()
    assert chain.n_clusters == (1, 2, 4)
    assert Trial.from_log(LOG, ["device"]).advertisers == ("A", "B", "none")


@pytest.mark.parametrize("kind", [bool, "boolean", object, "Int64", float])
def test_outcomes_may_be_truth_values_of_any_kind(kind: Any) -> None:
    results = LOG["converted"] == 1 if kind in (bool, "boolean", object) else LOG["converted"]
    truth = LOG.assign(converted=results.astype(kind))
    assert truth["converted"].dtype == kind
    expected = Trial.from_log(LOG, ["device"]).counts
    assert (Trial.from_log(truth, ["device"]).counts == expected).all()


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"converted": 2}, {}, r"log\['converted'\]\[0\] is 2"),
        ({"converted": [0.5] * 8}, {}, r"log\['converted'\]\[0\] is 0.5"),
        ({"converted": [None] + [1.0] * 7}, {}, r"log\['converted'\] is missing in row 0"),
        ({"converted": [True] * 7 + [None]}, {}, r"log\['converted'\] is missing in row 7"),
        ({}, {"features": ["device", "converted"]}, "features hold 'converted', which no bidder"),
        ({}, {"features": ["advertiser"]}, "features hold 'advertiser', which no bidder"),
        ({"converted": "1"}, {}, r"log\['converted'\]\[0\] is '1'"),
        ({"advertiser": ["A"] * 7 + [None]}, {}, r"log\['advertiser'\] is missing in row 7"),
        ({"device": ["tv"] * 7 + [None]}, {}, "'device' has missing"),
        ({}, {"advertisers": ["A", "C"]}, "is 'C', expected one of: A, B, none"),
        ({}, {"advertisers": ["A", "A"]}, r"advertisers\[1\] is 'A'"),
        ({}, {"advertiser": "ad"}, "column is 'ad'"),
        ({}, {"features": ["device", "age"]}, "column is 'age'"),
        ({}, {"features": ["device", "device"]}, r"features\[1\] is 'device'"),
        ({}, {"features": []}, "features is empty"),
        ({}, {"strength": 0}, "strength is 0"),
    ],
)
def test_bad_logs(change: dict, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        market_from_log(LOG.assign(**change), **{"features": ["device"], **options})


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(ValueError, match="log is empty"):
        Trial.from_log(LOG.iloc[:0], ["device"])


# ── Values by hand ────────────────────────────────────────────────────────────────────────────


def test_dispersion_by_hand_with_two_parents() -> None:
    """Parents of 3 + 1 and 2 + 2 trials: every term of the moment equation counts.

    Parent rates are 1/2 each. Q = (1.5^2/.75 + .5^2/.25) + (1/.5 + 1/.5) = 8; df = 2;
    N - sum n^2 / n_parent = 3 * 1/4 + 1 * 3/4 + 2 * 1/2 + 2 * 1/2 = 3.5.
    """
    trials = np.array([[3], [1], [2], [2]])
    conversions = np.array([[3.0], [0.0], [2.0], [0.0]])
    conversions[:2] = [[2.0], [0.0]]
    parent = np.array([0, 0, 1, 1])
    # Parent 0 has 2 of 4: expected 1.5 and .5; Q = .25/.75 + .25/.25 + 1/.5 + 1/.5.
    pearson, df, spread = 0.25 / 0.75 + 1 + 4, 2, 3.5
    rho = (pearson - df) / (spread - df)
    assert rho > 1  # so it is cut just below one, and the strength is next to nothing
    assert dispersion_strength(conversions, trials, parent)[0] == pytest.approx(1e-9, rel=1e-3)
    many = np.array([[30], [10], [20], [20]])
    some = np.array([[20.0], [3.0], [13.0], [7.0]])
    rates = np.array([23 / 40, 20 / 40])[parent]
    n, y = many[:, 0], some[:, 0]
    pearson = ((y - n * rates) ** 2 / (n * rates * (1 - rates))).sum()
    spread = 30 * 0.25 + 10 * 0.75 + 20 * 0.5 * 2
    rho = (pearson - 2) / (spread - 2)
    assert dispersion_strength(some, many, parent)[0] == pytest.approx(1 / rho - 1)


def test_intervals_by_hand() -> None:
    low, high = corrected_t_interval([1.0, 2.0, 3.0])
    # t(2) at 97.5 % is 4.3027; variance 1 times 1/3 + 1.
    half = 4.302653 * (4 / 3) ** 0.5
    assert (low, high) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert mean_with_interval([1.0, 2.0, 3.0]) == (2.0, (low, high))
    narrow = corrected_t_interval([1.0, 2.0, 3.0], level=0.5)
    assert narrow[1] - 2 == pytest.approx(0.8165 * (4 / 3) ** 0.5, abs=1e-4)
    low, high = bootstrap_interval(5.0, [4.0, 5.0, 6.0], level=0.5)
    assert (float(low), float(high)) == pytest.approx((5 - 0.67449, 5 + 0.67449), abs=1e-4)


def test_holdout_by_hand() -> None:
    """Two cells, one advertiser each: what is collected is the fitted rate, delivered the other."""
    counts = np.array([[[40, 60], [80, 20]], [[90, 10], [30, 70]]])
    trial = Trial(counts, [[0, 0], [0, 1]], ("A", "B"))
    runs = holdout(trial, [1.0, 2.0], n_splits=2, seed=0, in_sample=True)
    fine = runs[runs["clusters"] == 2]
    rng = np.random.default_rng(0).spawn(2)[0]
    fit = trial.halves(rng)[0]
    rate = fit.counts[..., 1] / fit.counts.sum(axis=2)
    served = fit.counts.sum(axis=(1, 2)) / fit.counts.sum()
    first = served @ np.maximum(rate[:, 0], 2 * rate[:, 1])
    second = served @ np.minimum(rate[:, 0], 2 * rate[:, 1])
    assert fine["collected"].iloc[0] == pytest.approx(first)
    assert fine["delivered"].iloc[0] == pytest.approx(first)
    assert fine["second"].iloc[0] == pytest.approx(second)
    assert fine["cpa B"].iloc[0] == pytest.approx(1)


def test_truthful_revenue_refuses_what_it_cannot_price() -> None:
    good = ([1.0, 1.0], [[0.5, 0.25], [0.0, 1.0]], [2.0, 1.0])
    assert truthful_revenue(*good, "first").item() == 2.0
    assert truthful_revenue(*good, "second").item() == 0.25
    with pytest.raises(ValueError, match="rule is 'vcg'"):
        truthful_revenue(*good, "vcg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weights have shape \(1,\)"):
        truthful_revenue([1.0], good[1], good[2], "first")
    with pytest.raises(ValueError, match=r"predictions\[0, 0\] is 1.5"):
        truthful_revenue(good[0], [[1.5, 0.25], [0.0, 1.0]], good[2], "first")
    with pytest.raises(ValueError, match=r"weights\[0\] is -1"):
        truthful_revenue([-1.0, 1.0], good[1], good[2], "first")


def test_more_bad_holdouts(toy: Trial) -> None:
    with pytest.raises(ValueError, match="inner is 1"):
        holdout(toy, [1.0, 1.0], n_splits=2, seed=0, inner=1)
    with pytest.raises(ValueError, match=r"targets\[1\] is 0.0"):
        holdout(toy, [1.0, 0.0], n_splits=2, seed=0)
    with pytest.raises(ValueError, match="seed is -1"):
        holdout(toy, [1.0, 1.0], n_splits=2, seed=-1)


def test_a_feature_that_splits_nothing_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    log = pd.DataFrame(
        {
            "const": 1,
            "dev": rng.integers(0, 2, 800),
            "hour": rng.integers(0, 3, 800),
            "advertiser": rng.choice(["A", "B"], 800),
            "converted": rng.integers(0, 2, 800),
        }
    )
    plain = Trial.from_log(log, ["dev", "hour"])
    runs = {
        key: holdout(Trial.from_log(log, key), [1.0, 1.0], n_splits=2, seed=1, inner=2)
        for key in (("dev", "const", "hour"), ("const", "dev", "hour"), ("dev", "hour", "const"))
    }
    base = holdout(plain, [1.0, 1.0], n_splits=2, seed=1, inner=2)
    for run in runs.values():
        pd.testing.assert_frame_equal(run, base)
        assert np.isfinite(split_differences(run, "delivered", "chosen", 1)).all()
    smooth = [level_rates(Trial.from_log(log, key), "empirical Bayes")[-1] for key in runs]
    for rates in smooth:
        np.testing.assert_array_equal(rates, level_rates(plain, "empirical Bayes")[-1])


def test_names_that_run_together_are_refused() -> None:
    log = LOG.assign(advertiser=[1, "1", 1, "1", 1, "1", 1, "1"])
    with pytest.raises(ValueError, match="names of advertisers"):
        Trial.from_log(log, ["device"])
    with pytest.raises(ValueError, match="advertisers are 'AB'"):
        Trial.from_log(LOG, ["device"], advertisers="AB")
    twice = pd.concat([LOG, LOG[["device"]]], axis=1)
    with pytest.raises(ValueError, match="log has 2 columns 'device'"):
        Trial.from_log(twice, ["device"])


@pytest.mark.parametrize(("strength", "fall"), [(1, -0.185), (20, -0.133), (2000, -0.004)])
def test_the_fall_in_sample_hangs_on_the_smoothing(
    trial: Trial, strength: float, fall: float
) -> None:
    """As the notebook says: its size is that of our prior weight as much as of the data."""
    ends = Filtration(trial.filtration(strength).base, [trial.labels[0], trial.labels[-1]])
    second = revenue_curve(ends, HILLSTROM_TARGETS)["second"]
    assert second[1] / second[0] - 1 == pytest.approx(fall, abs=1e-3)
