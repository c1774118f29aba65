"""What pages compute: examples of a reader's own data as they stand, and solutions of exercises."""

from __future__ import annotations

import doctest
import re
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sympy
from built import documents

from lib.autobidding import Bidder, Market, outcome
from lib.collapse_warning import Panel, evaluate, evaluate_all, label_leak, textbook
from lib.core.paths import ROOT

BOOK = ROOT / "book"
AUCTIONS, WARNINGS = BOOK / "ch01_autobidding", BOOK / "ch05_collapse_warning"

WITHOUT_SOLUTIONS = {"ch02_semantic_ids", "ch10_compute_governance"}
"""Chapters some of whose exercises may still lack a solution: to become fewer."""


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
    lacking = set()
    for file in BOOK.glob("ch*/*.md"):
        tasks, solved = exercises(file.read_text(encoding="utf-8"))
        assert solved <= tasks, file
        if solved < tasks:
            lacking.add(file.parent.name)
    assert lacking <= WITHOUT_SOLUTIONS


def test_an_exercise_without_a_solution_is_seen() -> None:
    page = (
        "# A\n\n## Exercises\n\n**1. One.** Do.\n\n````{dropdown} Solution\nSo.\n````\n\n2. Two.\n"
    )
    assert exercises(page + "\n## More\n\n3. No.\n") == (2, 1)


def test_every_written_chapter_has_a_page_for_own_data() -> None:
    own = {d.split("/")[1] for d in documents() if re.search(r"/own_\w+$", d)}
    index = {d.split("/")[1] for d in documents() if re.fullmatch(r"book/ch\d\d_\w+/index", d)}
    assert index - own <= {"ch10_compute_governance"}


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


# ── Chapter 5 ────────────────────────────────────────────────────────────────────────────────


def test_ch05_the_rows_that_the_page_shows_are_those_of_the_file() -> None:
    page = (WARNINGS / "own_data.md").read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("```")[0].splitlines()
    file = (WARNINGS / "example" / "panel.csv").read_text(encoding="utf-8").splitlines()
    assert len(shown) == 3
    assert shown == file[:3]


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
