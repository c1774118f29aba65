"""What pages compute: examples of a reader's own data as they stand, and solutions of exercises."""

from __future__ import annotations

import doctest
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import sympy
from built import documents

from lib.autobidding import Bidder, Market, outcome
from lib.collapse_warning import Panel, evaluate, evaluate_all, label_leak, textbook
from lib.compute_governance import Assumptions, Regime, branch_search, catalogue, frontier
from lib.compute_governance.hardware import CHIPS, Node
from lib.compute_governance.planner import (
    FLAT,
    HIERARCHICAL,
    PIPELINE,
    Metric,
    Network,
    Plans,
    branches,
    evaluate_branches,
    pick,
)
from lib.compute_governance.planner import evaluate as work_out
from lib.compute_governance.regime import LEGITIMATE
from lib.compute_governance.study.searches import NODE_LIMIT, author_search
from lib.compute_governance.study.tables import LATENCIES, NETWORKS, TARGETS
from lib.core.paths import ROOT
from lib.semantic_ids import NGramCounts, PrefixHash, SidCatalog, load
from lib.semantic_ids.anatomy import count_accuracy
from lib.semantic_ids.hashing import confused, excess, expected_excess, prefix_rows
from lib.semantic_ids.study.checks import zero_confused
from lib.semantic_ids.study.films import movielens

BOOK = ROOT / "book"
AUCTIONS, WARNINGS = BOOK / "ch01_autobidding", BOOK / "ch05_collapse_warning"


def examples() -> list[Path]:
    """Return the pages with examples that show what they print."""
    return sorted(f for f in BOOK.glob("ch*/*.md") if ">>> " in f.read_text(encoding="utf-8"))


def exercises(page: str) -> tuple[int, int]:
    """Return how many exercises a page has (numbered, in bold or as a list) and solutions."""
    _, _, rest = page.partition("\n## Exercises\n")
    part = rest.partition("\n## ")[0]
    return len(re.findall(r"^(?:\*\*)?\d+\. ", part, re.M)), part.count("{dropdown} Solution")


@pytest.mark.parametrize("page", examples(), ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_the_examples_of_a_page_print_what_it_shows(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = page.parent / "example"
    monkeypatch.chdir(folder if folder.is_dir() else page.parent)
    found = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert found.attempted > 3
    assert found.failed == 0


def test_every_exercise_has_a_solution() -> None:
    for file in BOOK.glob("ch*/*.md"):
        tasks, solved = exercises(file.read_text(encoding="utf-8"))
        assert solved == tasks, file


def test_an_exercise_without_a_solution_is_seen() -> None:
    page = (
        "# A\n\n## Exercises\n\n**1. One.** Do.\n\n````{dropdown} Solution\nSo.\n````\n\n2. Two.\n"
    )
    assert exercises(page + "\n## More\n\n3. No.\n") == (2, 1)


def test_every_written_chapter_has_a_page_for_own_data() -> None:
    own = {d.split("/")[1] for d in documents() if re.search(r"/own_\w+$", d)}
    index = {d.split("/")[1] for d in documents() if re.fullmatch(r"book/ch\d\d_\w+/index", d)}
    assert index <= own


# ── Chapter 1 ────────────────────────────────────────────────────────────────────────────────


def truthful(market: Market, values: list[int], rule: str) -> Fraction:
    """Return the revenue of truthful bids, per unit of weight."""
    bidders = [Bidder("maxcpa", v) for v in values]
    found = outcome(market, bidders, [1] * len(values), rule)
    return Fraction(found.revenue) / sum(map(Fraction, market.weights))


def test_ch01_1_averages_of_maxima() -> None:
    split = Market.exact([1, 1], [["2/5", "1/5"], ["1/10", "1/2"]])
    assert truthful(split, [1, 1], "first") == Fraction(45, 100)
    assert truthful(split.coarsen([0, 0]), [1, 1], "first") == Fraction(35, 100)
    moved = Market.exact([1, 1], [["2/5", "1/5"], ["1/2", "1/10"]])
    assert truthful(moved, [1, 1], "first") == truthful(moved.coarsen([0, 0]), [1, 1], "first")


def test_ch01_2_more_information_three_bidders() -> None:
    rises = Market.exact([1, 1], [[1, 1, 0], [0, 1, 1]])
    assert truthful(rises, [1] * 3, "second") > truthful(rises.coarsen([0, 0]), [1] * 3, "second")
    falls = Market.exact([1, 1], [[1, 0, 0], [0, 0, 1]])
    assert truthful(falls, [1] * 3, "second") == 0
    assert truthful(falls.coarsen([0, 0]), [1] * 3, "second") == Fraction(1, 2)


def test_ch01_3_a_target_can_be_met_above_the_value_in_second_price() -> None:
    # The price is the rival's bid, so twice one's value may be bid, and the target is met.
    market = Market.exact([1], [[1, "1/4"]])
    found = outcome(market, [Bidder("tcpa", 1), Bidder("tcpa", 1)], [2, 1], "second")
    assert found.cpa[0] == Fraction(1, 4)


def test_ch01_4_a_bound_on_the_gain() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        p, v = rng.integers(0, 10, (4, 3)), rng.integers(1, 5, 3)
        pooled = p.mean(axis=0)
        gain = (v * p).max(axis=1).sum() - 4 * (v * pooled).max()
        assert gain + 1e-9 >= 0
        assert gain <= (v * abs(p - pooled)).max(axis=1).sum() + 1e-9


def test_ch01_5_the_shading_density() -> None:
    z, theta = sympy.symbols("z theta", nonnegative=True)
    gain = sympy.integrate(1 - z, (z, theta, 1))
    assert sympy.simplify(gain - (1 - theta) ** 2 / 2) == 0
    assert sympy.simplify(gain - (sympy.Rational(1, 2) - theta)) == theta**2 / 2


def test_ch01_6_a_smaller_loss() -> None:
    losses = [rho * (1 - rho) for rho in (Fraction(k, 1000) for k in range(800, 1001))]
    assert max(losses) == losses[0] == Fraction(16, 100)


# ── Chapter 2 ────────────────────────────────────────────────────────────────────────────────


def test_ch02_1_half_a_log() -> None:
    data = load("beauty_rqkmeans")
    split = data.split()
    targets = data.codes[split.test.targets]
    half = [one[: len(one) // 2] for one in split.train]
    whole, less = (
        NGramCounts.fit(data.codes, data.n_codes, log).hits(targets) for log in (split.train, half)
    )
    lost = whole * 1.0 - less
    assert lost.mean(axis=0).round(3).tolist() == [0, 0.012, 0.042, 0.065]
    kept = SidCatalog(data.codes[np.unique(np.concatenate(half))], data.n_codes)
    gone = [kept.nodes(targets[:, :length]) < 0 for length in (1, 2, 3)]
    assert [round(100 * one.mean(), 1) for one in gone] == [0, 2.2, 5.6]
    assert whole[gone[2], 3].mean() == pytest.approx(0.9, abs=0.02)
    assert (lost[:, 3] * gone[2]).mean() == pytest.approx(0.050, abs=5e-4)


def test_ch02_2_three_sizes_of_a_table() -> None:
    catalog = load("games").catalog()
    prefixes = catalog.level(3).prefixes
    assert len(prefixes) == 15_692
    for size, alike, merged in ((1000, 1, 0), (1009, 1 / 8, 0), (1024, 1, 4)):
        hashed = PrefixHash(4, 4, 4, size, scheme="printed")
        rows = prefix_rows(hashed, prefixes)
        parity = rows % 2
        assert (parity == parity[:, :1]).all(axis=1).mean() == pytest.approx(alike, abs=0.01)
        assert confused(rows) == merged
        assert all(len(np.unique(head)) == size for head in rows.T)
        assert excess(rows) == pytest.approx(expected_excess(len(rows), size), abs=0.002)
        shared = PrefixHash(4, 4, 4, size, scheme="printed", kind="full")
        assert zero_confused(shared, prefixes) == 1


def test_ch02_4_two_levels_instead_of_three() -> None:
    found = {
        (levels, seed): movielens(levels, codes, seed=seed)
        for levels, codes in ((3, 32), (2, 181))
        for seed in (0, 1)
    }
    last = {key: round(count_accuracy(one).mean(axis=0)[-1], 2) for key, one in found.items()}
    assert last == {(3, 0): 0.47, (3, 1): 0.51, (2, 0): 0.44, (2, 1): 0.81}
    most = np.bincount(found[2, 1].codes[:, 1]).max() / found[2, 1].n_items
    assert most == pytest.approx(0.8, abs=0.02)
    ids = {key: one.n_items - one.catalog().shared() for key, one in found.items()}
    assert (found[2, 1].n_items, ids[2, 1], ids[3, 1]) == (1303, 404, 1022)


# ── Chapter 5 ────────────────────────────────────────────────────────────────────────────────


def test_ch05_1_a_panel_with_an_answer_in_it() -> None:
    table = pd.read_csv(WARNINGS / "example" / "panel.csv")
    load, strikes = (Panel.from_frame(table, value=name) for name in ("load", "strikes"))
    level = textbook(20)[0]
    assert {t.kind for t in label_leak(strikes).tests if label_leak(strikes).leak(t.kind)} == {
        "value",
        "ends",
    }
    assert "ties jump over the band" in str(evaluate(strikes, level))
    counted = table[table["is_event"] == 1].groupby("time")["strikes"]
    assert counted.max()[50] == 0
    assert counted.min()[51] == 1
    assert not label_leak(strikes.first(50)).leaks
    assert not table.loc[table["time"] < 50, "strikes"].any()
    found = evaluate_all(load.first(50), textbook(20), mode="up")
    better = {one.detector: round(one.p_adjusted, 3) for one in found if one.beats_chance}
    assert better == {"level": 0.011, "variance(20)": 0.035}


@pytest.mark.parametrize("forget", [0, 5])
def test_ch05_2_a_replay_that_forgets(forget: int) -> None:
    """A deterministic engine with fixed scores: lists repeat after `forget` + 1 steps."""
    rng = np.random.default_rng(5)
    ranks = rng.permutation(300)
    lists: list[list[int]] = []
    for _ in range(24):
        barred = {film for one in (lists[-forget:] if forget else []) for film in one}
        lists.append([film for film in ranks if film not in barred][:10])
    period = forget + 1
    assert all(lists[t] == lists[t - period] for t in range(period, 24))
    assert all(not set(a) & set(b) for a, b in combinations(lists[:period], 2))
    # Liked films on the sixth list only: five misses, then a hit; on none of six: never one.
    liked = set(lists[period - 1])
    misses = [not liked & set(one) for one in lists]
    assert misses[: period - 1] == [True] * (period - 1)
    assert misses[period - 1] is False


def test_ch05_4_chance_without_a_way_out() -> None:
    pool, liked = range(6), {0, 1, 2}

    def chances(size: int) -> set[bool]:
        return {not liked & set(one) for one in combinations(pool, size)}

    assert chances(4) == {False}  # every list of four holds a liked one: no miss at all
    assert chances(2) == {True, False}  # some miss and some do not: a miss can be left
    rng = np.random.default_rng(0)
    q = 0.75
    waits = rng.geometric(1 - q, size=20_000)
    assert waits.mean() == pytest.approx(1 / (1 - q), rel=0.03)


# ── Chapter 10 ───────────────────────────────────────────────────────────────────────────────


def bisected(target: float, metric: Metric) -> Plans:
    """Return the cheapest plan by a bisection between the bounds of each branch."""
    nodes, some, low_high = catalogue(), branches(catalogue()), Assumptions().overtraining
    unit = np.where(some.mode == PIPELINE, some.group, 1.0)
    fewest = np.where(some.mode == FLAT, 1.0, 2.0 * some.group)
    each = evaluate_branches(nodes, some, fewest).overtraining / fewest
    low = np.maximum(np.ceil(low_high[0] / (each * unit)), fewest / unit)
    high = np.minimum(np.floor(low_high[1] / (each * unit)), NODE_LIMIT // unit)
    kept = low <= high
    some, unit, low, high = some.take(kept), unit[kept], low[kept], high[kept]

    def found(units: np.ndarray) -> tuple[Plans, np.ndarray]:
        plans = evaluate_branches(nodes, some, units * unit)
        return plans, plans.admissible & (getattr(plans, metric) >= target)

    while (low < high).any():
        middle, still = np.floor((low + high) / 2), low < high
        reaches = found(middle)[1]
        high = np.where(still & reaches, middle, high)
        low = np.where(still & ~reaches, middle + 1, low)
    plans, reaches = found(low)
    return pick(plans.take(reaches))


def dearer(target: float, metric: Metric) -> float:
    """Return the cost of the bisection over that of the leap."""
    leaping = branch_search(target, catalogue(), metric=metric)
    return bisected(target, metric).value("cost_usd") / leaping.value("cost_usd")


def test_ch10_1_bisect_the_branches() -> None:
    for metric in get_args(Metric):
        assert {round(dearer(t, metric), 9) for t in TARGETS.values()} == {1}
    grid = np.geomspace(1e24, 1e26, 101)
    more = {
        metric: [x for t in grid if (x := dearer(t, metric)) > 1 + 1e-9]
        for metric in get_args(Metric)
    }
    assert [round(x, 2) for x in more["c_local"]] == [1.05]
    assert (len(more["c_quality"]), round(max(more["c_quality"]), 2)) == (4, 1.14)
    # The dip of a pipeline: one step more, a tenth less.
    before, after = (
        work_out([Node(CHIPS["A100 80GB"], 50)], 0, n, 7.5e11, PIPELINE, 3) for n in (7_077, 7_143)
    )
    assert (before.value("h"), after.value("h")) == (5, 6)
    assert after.value("c_quality") / before.value("c_quality") == pytest.approx(0.9, abs=0.02)


def changed(search: Callable[..., Plans], bound: float) -> list[list[str]]:
    """Return the rows of Tables 1 to 3 whose nodes, model or cost another bound changes."""
    rows: list[dict[str, tuple[float, Network]]] = [
        {key: (target, Network()) for key, target in TARGETS.items()},
        {key: (1e25, network) for key, network in NETWORKS.items()},
        {str(s): (1e25, Network(latency_s=s)) for s in LATENCIES},
    ]

    def plan(case: tuple[float, Network], top: float) -> list[float]:
        bounds = Assumptions(overtraining=(1.0, top))
        found = search(case[0], catalogue(), network=case[1], assumptions=bounds)
        return [found.value(name) for name in ("n", "params", "cost_usd")]

    return [[k for k, one in t.items() if plan(one, bound) != plan(one, 100.0)] for t in rows]


@pytest.mark.parametrize(("bound", "by_branches"), [(30.0, ["b10m", "b30m"]), (1000.0, ["b10m"])])
def test_ch10_2_another_bound(bound: float, by_branches: list[str]) -> None:
    first, second, third = changed(author_search, bound)
    assert first == list(TARGETS)[2:]
    assert (len(second), len(third)) == (5, len(LATENCIES))
    assert changed(branch_search, bound) == [list(TARGETS)[3:], by_branches, []]
    plan = author_search(1e25, catalogue(), assumptions=Assumptions(overtraining=(1.0, bound)))
    assert plan.value("overtraining") < 23


@pytest.mark.parametrize("metric", get_args(Metric))
def test_ch10_3_whole_groups(metric: Metric) -> None:
    units = np.arange(2, 400)
    for chip, group in (("A100 80GB", 8), ("H100", 4), ("GH200", 32)):
        node = Regime().largest(CHIPS[chip])
        assert node is not None
        plans = work_out([node], 0, units * group, 8e10, HIERARCHICAL, group)
        share = (getattr(plans, metric) / units)[plans.admissible]
        assert len(share) > 5
        assert (np.diff(share) <= 1e-9 * share[0]).all()


def test_ch10_5_weights() -> None:
    limits, caps = [16, 8, 4, 2, 1], [None, 1_280.0, 1_000.0, 640.0, 512.0, 256.0]
    pairs = frontier(1e25, catalogue(), limits, caps)
    covered = [
        {one.name for one in LEGITIMATE if Regime(t, gb).covers(one)} for t in limits for gb in caps
    ]
    cost, best = pairs["cost_usd"].to_numpy(), np.flatnonzero(pairs["efficient"])
    chain = sorted((covered[i] for i in best), key=len)
    assert all(a <= b for a, b in pairwise(chain))
    for i in np.flatnonzero(~pairs["efficient"]):
        assert any(
            (covered[j] <= covered[i] and cost[j] >= cost[i])
            and (covered[j] != covered[i] or cost[j] > cost[i])
            for j in best
        )


def test_ch10_7_runs_that_nobody_can_notice() -> None:
    rng, p, theta, hazard = np.random.default_rng(7), 0.3, 0.8, 4.0
    factor = rng.gamma(1 / theta, theta / (1 - p), 400_000) * (rng.random(400_000) >= p)
    assert factor.mean() == pytest.approx(1, abs=0.01)
    silent = p + (1 - p) * (1 + theta * hazard / (1 - p)) ** (-1 / theta)
    assert np.exp(-factor * hazard).mean() == pytest.approx(silent, abs=0.003)
