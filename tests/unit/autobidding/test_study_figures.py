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


def _look(line) -> tuple[str, str, str, float, float]:
    """Return how a line is drawn."""
    look = line.get_linestyle(), line.get_marker(), line.get_color()
    return *look, line.get_linewidth(), line.get_markersize()


def _size(figure) -> tuple[float, float]:
    return tuple(figure.get_size_inches())


def test_cells_share_their_axes_which_are_logarithmic_unless_asked_otherwise() -> None:
    coarse, fine = (B1.equilibria(model) for model in ("coarse", "fine"))
    limits = ((8, 400), (0.8, 60))
    figure = cells_figure(coarse, fine, limits=limits, names=("A", "B"), labels=B1.labels)
    left, right = figure.axes
    assert _size(figure) == (8.0, 4.8)
    for ax, title in ((left, "coarse model"), (right, "fine model")):
        assert (ax.get_xlim(), ax.get_ylim()) == limits
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_title() == title
        assert ax.get_xlabel() == "effective multiplier of A (money per conversion)"
    assert left.get_ylabel() == "effective multiplier of B (money per conversion)"
    assert right.get_ylabel() == ""
    assert left.get_shared_x_axes().joined(left, right)
    assert left.get_shared_y_axes().joined(left, right)
    straight = cells_figure(
        coarse, fine, limits=limits, profiles=({"printed": (36.5, 6.579)}, {}), log=False
    ).axes[0]
    assert straight.get_xscale() == "linear"
    rings = [line for line in straight.get_lines() if line.get_label() == "printed"]
    assert [ring.get_xydata().tolist() for ring in rings] == [[[36.5, 6.579]]]
    # On logarithmic axes corners at zero stand a decade below the window, not at minus infinity.
    lowest = np.min([patch.get_xy().min(axis=0) for patch in left.patches], axis=0)
    assert (lowest >= [0.8, 0.08]).all()
    assert len({patch.get_hatch() for patch in right.patches}) == 3
    assert {patch.get_linewidth() for patch in right.patches} == {1.2}


def test_allocations_have_names_at_both_ends() -> None:
    cells = {cell.allocation: cell for cell in B1.equilibria("fine")}
    assert allocation_label(cells[0, 0, 0, 0]) == "bidder 1 wins all"
    assert allocation_label(cells[0, 1, 1, 1]) == "bidder 1 wins {0}"


def test_filtration_panels_are_labelled_and_share_their_height() -> None:
    fine = Market.exact([1, 3, 2], [["0.4", "0.2"], ["0.1", "0.5"], ["0.3", "0.3"]])
    figure = filtration_figure(fine, [0, 1, 0])
    left, right = figure.axes
    assert _size(figure) == pytest.approx((7.2, 3.2))
    assert left.get_ylim() == right.get_ylim() == (0, pytest.approx(1.05 * 0.5))
    assert [ax.get_title() for ax in (left, right)] == ["bidder 1", "bidder 2"]
    (heights, edges, _), (pooled, ends, _) = (patch.get_data() for patch in left.patches)
    assert edges.tolist() == [0, 1, 3, 6]
    assert [patch.get_fill() for patch in left.patches] == [True, False]
    assert heights.tolist() == pytest.approx([0.4, 0.3, 0.1])
    assert ends.tolist() == [0, 3, 6]
    assert pooled.tolist() == pytest.approx([1 / 3, 0.1])
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "fine model",
        "coarse model",
    ]
    assert filtration_figure(fine, [0, 1, 0], ("x", "y")).axes[1].get_title() == "y"


def test_learning_draws_medians_and_ranges() -> None:
    rounds = np.arange(1, 2001)
    paths = {
        name: level + np.arange(41)[:, None] / 1000 + 60 / rounds for name, level in LEVELS.items()
    }
    figure = learning_figure(paths, {"coarse": (0.66, 0.68), "fine": (0.03, 0.22)}, 0.23)
    ax = figure.axes[0]
    assert _size(figure) == (6.4, 3.6)
    coarse, fine, designated = ax.get_lines()
    assert coarse.get_ydata()[-1] == pytest.approx(0.67 + 0.02 + 0.03)
    assert fine.get_ydata()[-1] == pytest.approx(0.1 + 0.02 + 0.03)
    assert [_look(line)[0] for line in (coarse, fine, designated)] == ["-", "--", ":"]
    assert list(designated.get_ydata()) == [0.23, 0.23]
    ribbon = ax.collections[0].get_paths()[0].vertices
    last = ribbon[ribbon[:, 0] == 2000, 1]
    assert (last.min(), last.max()) == pytest.approx((0.702, 0.738))
    assert coarse.get_xdata()[[0, -1]].tolist() == [1, 2000]
    assert ax.get_xscale() == "log"


def test_jensen_draws_bids_envelope_and_chord() -> None:
    parts = Market.exact([1, 3], [["0.4", "0.2"], ["0.1", "0.5"]])
    figure = jensen_figure(parts, [1, 2], ("shoes", "books"))
    ax = figure.axes[0]
    lines = ax.get_lines()
    assert _size(figure) == (7.0, 4.2)
    assert [line.get_label() for line in lines[:2]] == ["bid of shoes", "bid of books"]
    assert [line.get_ydata()[[0, 50, 100]].tolist() for line in lines[:3]] == [
        pytest.approx([0.4, 0.25, 0.1]),
        pytest.approx([0.4, 0.7, 1.0]),
        pytest.approx([0.4, 0.7, 1.0]),
    ]
    assert list(lines[3].get_ydata()) == list(lines[4].get_ydata()) == [0.4, 1.0]
    assert list(lines[3].get_xdata()) == [0, 1]
    points = {line.get_label(): line.get_xydata()[0].tolist() for line in lines[5:]}
    assert points["revenue, split"] == pytest.approx([0.75, 0.85])
    assert points["revenue, pooled"] == pytest.approx([0.75, 0.85])
    assert ax.get_xticks().tolist() == [0, 0.75, 1]
    assert ax.get_ylim() == (0, pytest.approx(1.12))
    gain = next(text for text in ax.texts if text.get_text() == "gain")
    assert gain.get_position() == pytest.approx((0.77, 0.85))


def test_lifting_draws_shares_where_the_clusters_are() -> None:
    fine = Market.exact([1, 1, 2], [["0.2", "0.1"], ["0.4", "0.1"], ["0.1", "0.5"]])
    share = np.array([[Fraction(1, 4), Fraction(1, 2)], [Fraction(0), Fraction(1)]])
    figure = lifting_figure(fine, (0, 0, 1), share)
    top, bottom = figure.axes
    assert _size(figure) == (7.0, 4.6)
    assert top.get_shared_x_axes().joined(top, bottom)
    bars = [[bar.get_bbox().bounds for bar in container] for container in bottom.containers]
    assert bars == [
        [(0, 0, 1, 0.25), (1, 0, 1, 0.25), (2, 0, 2, 0)],
        [(0, 0.25, 1, 0.5), (1, 0.25, 1, 0.5), (2, 0, 2, 1)],
    ]
    written = {text.get_text(): text.get_position() for text in top.texts}
    assert written == {"p = 0.3": (1, 0.125), "p = 0.1": (1, 0.5), "p = 0.5": (3, 0.5)}
    assert (top.get_ylim(), list(top.get_yticks())) == ((0, 1), [0, 0.5, 1])
    assert [text.get_text() for text in top.get_legend().get_texts()] == ["bidder 1", "bidder 2"]
    with pytest.raises(ValueError, match="zip"):
        lifting_figure(fine, (0, 0, 1), share, names=("shoes",))


def test_curves_stand_beside_each_other_with_their_bars() -> None:
    figure = curve_figure(_curves("first", "second"), "title", "money")
    ax = figure.axes[0]
    assert _size(figure) == (5.4, 3.1)
    left, right = (line.get_xdata() for line in ax.get_lines()[:2])
    assert left.tolist() == pytest.approx([k * 10**-0.02 for k in (1, 4, 16)])
    assert right.tolist() == pytest.approx([k * 10**0.02 for k in (1, 4, 16)])
    bars = [[segment[:, 1].tolist() for segment in c.get_segments()] for c in ax.collections]
    assert bars[0] == [pytest.approx([0.9, 1.2])] * 3
    assert bars[1] == [pytest.approx([1.9, 2.2])] * 3
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "4", "16"]
    assert (ax.get_xscale(), ax.get_title()) == ("log", "title")
    alone = curve_figure(_curves("pacing"), "title", "money").axes[0].get_lines()[0]
    assert alone.get_xdata().tolist() == [1, 4, 16]


def test_the_promise_draws_one_run_left_and_four_right() -> None:
    summary = _curves("collected", "delivered", "cpa").rename(
        columns={"rule": "measure", "revenue": "mean"}
    )
    names = ("other half", "shuffled features", "empirical Bayes", "same half")
    runs = {
        name: summary.assign(mean=summary["mean"] + j / 10, high=summary["high"] + j / 10)
        for j, name in enumerate(names)
    }
    figure = promise_figure(runs)
    left, right = figure.axes
    assert _size(figure) == (7.4, 3.2)
    level = {
        name: [list(line.get_ydata()) for line in ax.get_lines() if len(line.get_ydata()) == 3]
        for name, ax in (("left", left), ("right", right))
    }
    assert level["left"] == [[1.0] * 3, [2.0] * 3]
    assert sorted(level["right"]) == [pytest.approx([3 + j / 10] * 3) for j in range(4)]
    assert (left.get_ylabel(), right.get_ylabel()) == (
        "money per customer",
        "cost per conversion / target",
    )
