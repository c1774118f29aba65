"""Figures of the empirical notebook: what they draw, and what they refuse."""

from __future__ import annotations

from fractions import Fraction

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from lib.autobidding.market import Market
from lib.autobidding.study.constructions import B1
from lib.autobidding.study.figures import (
    FIRST_SHOWN,
    allocation_label,
    cells_figure,
    curve_figure,
    filtration_figure,
    jensen_figure,
    learning_figure,
    lifting_figure,
    promise_figure,
)

mpl.use("Agg")


def _curves(*rules: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"rule": rule, "clusters": k, "revenue": 1.0 + j, "low": 0.9 + j, "high": 1.2 + j}
            for j, rule in enumerate(rules)
            for k in (1, 4, 16)
        ]
    )


def test_one_line_a_rule_at_its_values() -> None:
    ax = curve_figure(_curves("first", "second"), "title", "money").axes[0]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "first price, tCPA",
        "second price, truthful",
    ]
    assert [list(line.get_ydata()) for line in ax.get_lines()[:2]] == [[1.0] * 3, [2.0] * 3]
    assert ax.get_ylabel() == "revenue (money)"


def test_promise_has_four_runs() -> None:
    summary = _curves("collected", "delivered", "cpa").rename(
        columns={"rule": "measure", "revenue": "mean"}
    )
    names = ("other half", "shuffled features", "empirical Bayes", "same half")
    left, right = promise_figure(dict.fromkeys(names, summary)).axes
    assert len(left.get_legend().get_texts()) == 2
    assert len(right.get_legend().get_texts()) == 4


def test_learning_shows_its_bands() -> None:
    """The bands fill most of the height; the first rounds, which are far off, do not stretch it."""
    rounds = np.arange(1, 2001)
    paths = {name: np.tile(level + 60 / rounds, (4, 1)) for name, level in LEVELS.items()}
    bands = {"coarse": (0.66, 0.68), "fine": (0.03, 0.22)}
    ax = learning_figure(paths, bands, 0.23).axes[0]
    assert ax.get_ylim() == (0, pytest.approx(1.6 * 0.68))
    assert ax.get_xlim()[0] == FIRST_SHOWN
    assert len(ax.get_legend().get_texts()) == 5


LEVELS = {"coarse": 0.67, "fine": 0.1}


def test_lifting_has_a_key_and_the_same_conversions_twice() -> None:
    fine = Market.exact([1, 1, 1], [["0.2", "0.1"], ["0.4", "0.1"], ["0.1", "0.5"]])
    share = np.array([[Fraction(1, 2), Fraction(1, 2)], [Fraction(0), Fraction(1)]])
    top, bottom = lifting_figure(fine, (0, 0, 1), share, names=("shoes", "books")).axes
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["shoes", "books"]
    for ax in (top, bottom):
        assert "conversions of shoes: 0.3, books: 0.6" in ax.get_title()
    assert len(top.containers[0]) == 2
    assert len(bottom.containers[0]) == 3


def test_jensen_marks_both_revenues() -> None:
    parts = Market.exact([1, 3], [["0.4", "0.2"], ["0.1", "0.5"]])
    ax = jensen_figure(parts, [1, 1]).axes[0]
    points = {line.get_label(): line.get_ydata()[0] for line in ax.get_lines() if line.get_label()}
    assert points["revenue, split"] == pytest.approx(0.25 * 0.4 + 0.75 * 0.5)
    assert points["revenue, pooled"] == pytest.approx(0.25 * 0.2 + 0.75 * 0.5)
    with pytest.raises(ValueError, match="two parts and two bidders"):
        jensen_figure(Market.exact([1], [["0.4", "0.2"]]), [1, 1])


def test_filtration_panels_enclose_the_same_area() -> None:
    fine = Market.exact([1, 3, 2], [["0.4", "0.2"], ["0.1", "0.5"], ["0.3", "0.3"]])
    for i, ax in enumerate(filtration_figure(fine, [0, 1, 0]).axes):
        areas = []
        for patch in ax.patches:
            values, edges, _ = patch.get_data()
            areas.append(float(np.sum(values * np.diff(edges))))
        assert areas == pytest.approx([float(fine.mass[:, i].sum())] * 2)


def test_cells_are_named_and_marked() -> None:
    coarse, fine = (B1.equilibria(model) for model in ("coarse", "fine"))
    assert allocation_label(coarse[0], ("A", "B"), B1.labels) == "A wins {0, 1}"
    assert allocation_label(fine[-1], ("A", "B")) == "A wins all"
    figure = cells_figure(coarse, fine, limits=((8, 400), (0.8, 60)), labels=B1.labels)
    left, right = figure.axes
    assert (len(left.patches), len(right.patches)) == (2, 3)
    stars = [line for line in right.get_lines() if line.get_marker() == "*"]
    assert sorted(float(s.get_xdata()[0]) for s in stars) == pytest.approx([103 / 7, 70])
