"""The atlas: proven zeros, agreement with the exact machinery, intervals."""

from __future__ import annotations

import inspect
from fractions import Fraction

import numpy as np
import pytest

from lib.autobidding.arithmetic import as_exact
from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import equilibria_2p
from lib.autobidding.market import Market
from lib.autobidding.mechanism import outcome
from lib.autobidding.study import atlas
from lib.autobidding.study.atlas import (
    GRID,
    Design,
    binding_census,
    budget_census,
    count_changes,
    draw,
    proportion,
    truthful_atlas,
)

# Shares of the chapter's dossier: two, three, five and ten bidders at 2/1, 8/4 and 64/8 clusters.
DOSSIER = {
    2: (0.43, 0.89, 1.00),
    3: (0.37, 0.57, 0.68),
    5: (0.26, 0.22, 0.08),
    10: (0.13, 0.04, 0.00),
}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_QUIET", "1")


def test_shares_are_those_of_the_dossier() -> None:
    table = truthful_atlas(2_000, seed=5).query("event == 'spa_falls'")
    for n, shares in DOSSIER.items():
        found = table[table["bidders"] == n].sort_values("fine")["share"]
        np.testing.assert_allclose(found, shares, atol=0.04)


def test_proven_zeros_and_a_control_that_fails() -> None:
    table = truthful_atlas(2_000, seed=6)
    assert table[table["event"] == "fpa_falls"]["count"].sum() == 0
    two = table[table["bidders"] == 2]
    assert two[two["event"] == "spa_rises"]["count"].sum() == 0
    assert (table[table["bidders"] > 2].query("event == 'spa_rises'")["count"] > 0).all()
    # Against one cluster the control cannot lose: it keeps the mean. Against four it does.
    control = table[table["event"] == "control_falls"].set_index(["bidders", "fine"])["share"]
    assert (control.xs(2, level="fine") == 0).all()
    assert (control.xs(8, level="fine") > 0.4).all()


def test_counts_agree_with_the_auction() -> None:
    design, n = Design(3, 4, 2), 40
    counts = count_changes(design, n, np.random.default_rng(1))
    fine, coarse, targets = draw(design, n, np.random.default_rng(1))
    falls = 0
    for k in range(n):
        bidders = [Bidder("maxcpa", t) for t in targets[k].tolist()]
        before, after = (
            outcome(Market(np.full(len(p), 1 / len(p)), p), bidders, [1] * 3, "second").revenue
            for p in (coarse[k], fine[k])
        )
        falls += after < before - 1e-12
    assert counts[0] == falls


def test_coarse_model_is_the_mean_of_neighbours() -> None:
    fine, coarse, targets = draw(Design(2, 6, 2), 5, np.random.default_rng(0))
    np.testing.assert_allclose(coarse[:, 1], fine[:, 3:].mean(axis=1))
    assert targets.shape == (5, 2)
    assert ((targets >= 0.5) & (targets <= 2)).all()


def test_blocks_add_up_and_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "BLOCK", 30)
    grid = GRID[:2]
    one, two = (truthful_atlas(100, seed=3, grid=grid) for _ in range(2))
    assert one.equals(two)
    assert (one["markets"] == 100).all()
    assert not one.equals(truthful_atlas(100, seed=4, grid=grid))


def test_census_repeats_and_has_the_expected_order() -> None:
    first, again = budget_census(60, seed=1), budget_census(60, seed=1)
    assert first.equals(again)
    there = first[first["exists"]]
    assert (there["coarse_low"] <= there["coarse_high"]).all()
    assert (there["fine_low"] <= there["fine_high"]).all()
    lost = there[there["falls_everywhere"]]
    assert (lost["fine_high"] < lost["coarse_low"]).all()
    # A loss beyond one half would contradict the ceiling proved in the chapter.
    assert (lost["fine_high"] >= lost["coarse_low"] / 2).all()


def test_censuses_and_their_controls() -> None:
    assert budget_census(60, seed=1)["falls_everywhere"].any()
    free = budget_census(60, seed=1, budgeted=False)
    assert free["exists"].all()
    assert not free["falls_everywhere"].any()
    # Without a budget, every first-price equilibrium has the welfare of multiplier one.
    np.testing.assert_allclose(free["coarse_low"], free["coarse_high"])
    second, first = (binding_census(60, seed=1, rule=rule) for rule in ("second", "first"))
    assert (second > 1).any(axis=None)
    assert (first <= 1).all(axis=None)


def test_float_census_agrees_with_fractions() -> None:
    n, seed = 40, 2
    found = binding_census(n, seed=seed)
    fine, coarse, targets = draw(atlas.CENSUS, n, np.random.default_rng(seed))
    for k in range(n):
        pair = [Bidder("tcpa", Fraction(t)) for t in targets[k].tolist()]
        for name, table in (("coarse", coarse[k]), ("fine", fine[k])):
            exact = np.vectorize(Fraction, otypes=[object])(table)
            market = Market(as_exact([Fraction(1, len(table))] * len(table)), exact)
            cells = equilibria_2p(market, pair)
            assert found[name][k] == sum(cell.binding is not None for cell in cells)


def test_intervals() -> None:
    assert proportion(0, 50)["low"] == 0
    assert proportion(50, 50)["high"] == 1
    middle = proportion(30, 100)
    assert middle["low"] < middle["share"] < middle["high"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: proportion(3, 2), "count is 3"),
        (lambda: proportion(1, 2, 1.0), "level is 1.0"),
        (lambda: truthful_atlas(0, seed=1), "n_markets is 0"),
        (lambda: draw(GRID[0], 0, np.random.default_rng(0)), "n_markets is 0"),
    ],
)
def test_bad_input(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_the_atlas_takes_one_process_and_no_cache_unless_told() -> None:
    options = inspect.signature(truthful_atlas).parameters
    assert (options["n_jobs"].default, options["cache"].default) == (1, False)
    single = truthful_atlas(1, seed=0)
    assert (single["markets"] == 1).all()
    assert single["count"].isin([0, 1]).all()
    with pytest.raises(ValueError, match="n_markets is 0"):
        truthful_atlas(0, seed=0)
