"""What every figure draws beside its data: styles, words, sizes of letters, order and colours."""

from fractions import Fraction
from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.autobidding.bidders import Bidder
from lib.autobidding.market import Market
from lib.autobidding.study import figures as plots
from lib.autobidding.study.constructions import B1
from lib.autobidding.study.interactive import market_explorer
from lib.core.figures import MARKERS, PALETTE, colors

mpl.use("Agg")

LIMITS = ((1.0, 100.0), (2.0, 50.0))
TRIANGLE = ((0.0, 3.0), (4.0, 0.0), (8.0, 9.0))
FINE = Market.exact([1, 3, 2], [["0.4", "0.2"], ["0.1", "0.5"], ["0.3", "0.3"]])


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def cell(allocation=(0, 1), vertices=TRIANGLE, binding=None, interior=True):
    return SimpleNamespace(
        allocation=allocation, vertices=vertices, binding=binding, has_interior=interior, welfare=2
    )


def drawn(cells, **options):
    _, ax = plt.subplots()
    plots.draw_cells(ax, cells, limits=LIMITS, **options)
    return ax


def anchor(legend):
    """Place of a legend in shares of its axes."""
    box = legend.get_bbox_to_anchor().transformed(legend.axes.transAxes.inverted())
    return pytest.approx((box.x0, box.y0), abs=1e-9)


def letters(texts):
    return {one.get_fontsize() for one in texts}


def shade(color, alpha):
    return pytest.approx(mpl.colors.to_rgba(color, alpha), abs=0.002)


# ── Cells ─────────────────────────────────────────────────────────────────────────────────────


def test_a_cell_is_named_by_what_its_first_bidder_wins() -> None:
    names = ("A", "B")
    assert plots.allocation_label(cell((1, 1)), names) == "B wins all"
    assert plots.allocation_label(cell((1, 1))) == "bidder 2 wins all"
    assert plots.allocation_label(cell((0, 0)), names) == "A wins all"
    assert plots.allocation_label(cell((0, 1)), names, (1, 0, 0)) == "A wins {1, 2}"
    assert plots.allocation_label(cell((0, 1)), names, (0, 0)) == "A wins all"


def test_areas_are_hatched_and_lines_are_marked_each_in_its_own_colour() -> None:
    line = cell((1, 0), ((1.5, 3.0), (6.0, 8.0)), interior=False)
    ax = drawn([cell(binding=(4.0, 5.0)), line, cell((1, 1))], names=("A", "B"))
    cycle = colors(3)
    first, last = ax.patches
    assert first.get_facecolor() == shade(cycle[0], 0x40 / 255)
    assert first.get_edgecolor() == shade(cycle[0], 1)
    assert (first.get_hatch(), last.get_hatch()) == ("", "\\\\\\")
    star, drawn_line = ax.get_lines()
    assert star.get_xydata().tolist() == [[4.0, 5.0]]
    assert (star.get_marker(), star.get_markersize(), star.get_zorder()) == ("*", 14, 5)
    assert star.get_markeredgecolor() == "black"
    assert drawn_line.get_xydata().tolist() == [[1.5, 3.0], [6.0, 8.0]]
    assert (drawn_line.get_linewidth(), drawn_line.get_marker()) == (3, MARKERS[1])
    assert drawn_line.get_color() == cycle[1]
    assert [one.get_text() for one in ax.get_legend().get_texts()] == [
        "A wins {0}: welfare 2",
        "A wins {1}: welfare 2",
        "B wins all: welfare 2",
    ]


def test_hatches_and_markers_go_round() -> None:
    ax = drawn([cell() for _ in range(7)])
    assert [patch.get_hatch() for patch in ax.patches] == [
        *("", "///", "\\\\\\", "...", "xx", "++", ""),
    ]
    flat = drawn([cell(interior=False) for _ in range(8)])
    assert [line.get_marker() for line in flat.get_lines()] == [*MARKERS, MARKERS[0]]


def test_no_cells_at_all_make_an_empty_panel() -> None:
    ax = drawn([], profiles={"here": (Fraction(5), Fraction(7))})
    (ring,) = ax.get_lines()
    assert (ring.get_marker(), ring.get_markersize(), ring.get_zorder()) == ("o", 11, 6)
    assert (ring.get_color(), ring.get_markerfacecolor()) == (PALETTE["paper"], "none")
    assert ring.get_xydata().tolist() == [[5, 7]]


def test_corners_off_the_axes_stand_a_decade_below_only_if_logarithmic() -> None:
    ax = drawn([cell()])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.patches[0].get_xy()[:3].tolist() == [[0.1, 3.0], [4.0, 0.2], [8.0, 9.0]]
    straight = drawn([cell()], log=False)
    assert (straight.get_xscale(), straight.get_yscale()) == ("linear", "linear")
    assert straight.patches[0].get_xy()[:3].tolist() == [list(corner) for corner in TRIANGLE]
    assert (straight.get_xlim(), straight.get_ylim()) == LIMITS
    assert straight.get_xlabel() == "effective multiplier of bidder 1 (money per conversion)"


def test_the_key_of_cells_stands_below_without_a_frame() -> None:
    legend = drawn([cell()]).get_legend()
    assert (letters(legend.get_texts()), legend.get_frame_on()) == ({8}, False)
    assert anchor(legend) == (0, -0.18)


def test_each_panel_has_its_own_points() -> None:
    points = ({"a": (3, 4)}, {"b": (5, 6)})
    left, right = plots.cells_figure([cell()], [cell()], limits=LIMITS, profiles=points).axes
    assert left.get_lines()[0].get_xydata().tolist() == [[3, 4]]
    assert right.get_lines()[0].get_xydata().tolist() == [[5, 6]]
    assert "bidder 2" in left.get_ylabel()
    with pytest.raises(ValueError, match="zip"):
        plots.cells_figure([cell()], [cell()], limits=LIMITS, profiles=({}, {}, {}))


# ── Filtration ────────────────────────────────────────────────────────────────────────────────


def test_fine_predictions_are_filled_and_coarse_ones_are_outlined() -> None:
    figure = plots.filtration_figure(FINE, [0, 1, 0])
    left, right = figure.axes
    fine, coarse = left.patches
    assert fine.get_facecolor() == shade(PALETTE["fine"], 0x50 / 255)
    assert coarse.get_linewidth() == 2.5
    assert coarse.get_edgecolor() == shade(PALETTE["coarse"], 1)
    assert letters(left.get_legend().get_texts()) == {8}
    assert right.get_legend() is None
    assert {ax.get_xlabel() for ax in (left, right)} == {"mass of opportunities"}
    assert (left.get_ylabel(), right.get_ylabel()) == ("predicted conversions per opportunity", "")
    heights, _, _ = right.patches[0].get_data()
    assert heights.tolist() == pytest.approx([0.2, 0.3, 0.5])


def test_one_bidder_has_one_panel() -> None:
    alone = Market.exact([1, 1], [["0.5"], ["0.25"]])
    figure = plots.filtration_figure(alone, [0, 0])
    assert figure.get_size_inches().tolist() == pytest.approx([3.6, 3.2])
    assert [ax.get_title() for ax in figure.axes] == ["bidder 1"]


# ── Learners ──────────────────────────────────────────────────────────────────────────────────

BANDS = {"coarse": (0.5, 0.6), "fine": (0.1, 0.2)}


def test_learning_has_shaded_bands_and_a_key_of_two_columns() -> None:
    paths = {"coarse": np.full((3, 400), 0.55), "fine": np.full((3, 400), 0.15)}
    ax = plots.learning_figure(paths, BANDS, 0.23).axes[0]
    shaded = [(one.get_alpha(), one.get_linewidth()) for one in ax.patches]
    assert shaded == [(0.2, 0), (0.2, 0)]
    assert [one.get_bbox().intervaly.tolist() for one in ax.patches] == [[0.5, 0.6], [0.1, 0.2]]
    assert [(one.get_alpha(), list(one.get_linewidth())) for one in ax.collections] == [
        (0.3, [0]),
        (0.3, [0]),
    ]
    legend = ax.get_legend()
    assert (legend._ncols, letters(legend.get_texts())) == (2, {8})
    assert [one.get_text() for one in legend.get_texts()] == [
        "coarse model, equilibria",
        "coarse model, learners",
        "fine model, equilibria",
        "fine model, learners",
        "designated profile, fine",
    ]
    assert [line.get_color() for line in ax.get_lines()] == [
        PALETTE["coarse"],
        PALETTE["fine"],
        PALETTE["control"],
    ]
    assert ax.get_xlim()[0] == 100
    assert ax.get_xlabel() == "rounds"
    assert ax.get_ylabel() == "average revenue\n(money per opportunity)"


@pytest.mark.parametrize("names", [("coarse",), ("coarse", "fine", "paper")])
def test_learning_is_drawn_for_two_models(names) -> None:
    paths = {name: np.full((2, 200), 0.5) for name in names}
    with pytest.raises(ValueError, match="zip"):
        plots.learning_figure(paths, dict.fromkeys(names, (0.0, 1.0)), 0.5)


# ── Jensen ────────────────────────────────────────────────────────────────────────────────────


def test_jensen_shows_the_gain_between_chord_and_envelope() -> None:
    """Bids 4, 1 in the first part and 1, 3 in the second, at shares 3/4 and 1/4."""
    parts = Market.exact([3, 1], [["1", "1/4"], ["1/4", "3/4"]])
    ax = plots.jensen_figure(parts, [4, 4]).axes[0]
    one, two, envelope, chord, ends, split, pooled = ax.get_lines()
    for line in (one, two, envelope):
        assert line.get_xdata()[[0, 1, 100]].tolist() == pytest.approx([0, 0.01, 1])
        assert len(line.get_xdata()) == 101
    assert [one.get_linestyle(), two.get_linestyle()] == ["--", ":"]
    assert [one.get_color(), two.get_color()] == [PALETTE["bidder 1"], PALETTE["bidder 2"]]
    assert (envelope.get_linewidth(), envelope.get_alpha()) == (3, 0.6)
    assert envelope.get_ydata()[[0, 40, 60, 100]].tolist() == pytest.approx([4, 2.8, 2.2, 3])
    assert envelope.get_color() == PALETTE["grey"]
    assert (chord.get_linewidth(), chord.get_ydata()[0], chord.get_ydata()[1]) == (1.5, 4, 3)
    assert (ends.get_marker(), ends.get_markersize()) == ("o", 8)
    assert list(ends.get_xdata()) == [0, 1]
    # Chord 3/4 of 4 and 1/4 of 3; at the mean bidder 1 bids 13/4, bidder 2 only 3/2.
    assert split.get_xydata().tolist() == [[0.25, 3.75]]
    assert pooled.get_xydata().tolist() == [[0.25, 3.25]]
    assert (split.get_marker(), split.get_markersize()) == ("s", 9)
    assert (pooled.get_marker(), pooled.get_markersize()) == ("D", 9)
    assert pooled.get_color() == PALETTE["coarse"]
    gain = {text.get_text(): text for text in ax.texts}
    assert gain["gain"].get_position() == pytest.approx((0.27, 3.5))
    arrow = next(text for text in ax.texts if text.get_text() == "")
    assert (arrow.xy, arrow.xyann) == ((0.25, 3.75), (0.25, 3.25))
    assert ax.get_ylim() == (0, pytest.approx(4.48))
    assert ax.get_xticks().tolist() == [0, 0.25, 1]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["part 1", "pooled mean", "part 2"]
    legend = ax.get_legend()
    assert (legend._ncols, letters(legend.get_texts()), legend.get_frame_on()) == (2, {8}, False)
    assert anchor(legend) == (0.5, -0.18)
    assert len(legend.get_texts()) == 6


@pytest.mark.parametrize(
    "predictions", [[["1/2"], ["1/4"]], [["1/2", "1/4"]], [["1/2", "1/4"]] * 3, [[0, 0, 0]] * 2]
)
def test_jensen_takes_two_parts_and_two_bidders(predictions) -> None:
    market = Market.exact([1] * len(predictions), predictions)
    with pytest.raises(ValueError, match="two parts and two bidders"):
        plots.jensen_figure(market, [1] * market.n_bidders)


# ── Lifting ───────────────────────────────────────────────────────────────────────────────────


def test_lifting_writes_predictions_into_bars() -> None:
    share = np.array([[Fraction(1, 4), Fraction(3, 4)], [Fraction(1), Fraction(0)]])
    top, bottom = plots.lifting_figure(FINE, (0, 0, 1), share).axes
    for ax in (top, bottom):
        bars = [bar for group in ax.containers for bar in group]
        assert {bar.get_linewidth() for bar in bars} == {1.5}
        assert {bar.get_edgecolor() for bar in bars} == {(1, 1, 1, 1)}
        hatches = [{bar.get_hatch() for bar in group} for group in ax.containers]
        assert hatches == [{""}, {"///"}]
        faces = [group[0].get_facecolor() for group in ax.containers]
        for face, name in zip(faces, ("bidder 1", "bidder 2"), strict=True):
            assert face == shade(PALETTE[name], 0x90 / 255)
        assert letters(ax.texts) == {9}
        for text in ax.texts:
            box = text.get_bbox_patch()
            assert box.get_facecolor() == (1, 1, 1, 0.85)
            assert box.get_boxstyle().pad == pytest.approx(1.5 / 9, abs=0.01)
            assert (text.get_ha(), text.get_va()) == ("center", "center")
        assert ax.title.get_fontsize() == 10
        assert not any(line.get_visible() for line in ax.get_xgridlines() + ax.get_ygridlines())
        assert (ax.get_ylabel(), ax.get_ylim()) == ("share", (0, 1))
    assert [ax.get_title() for ax in (top, bottom)] == [
        "coarse model: conversions of bidder 1: 0.775, bidder 2: 1.27",
        "fine model, shares copied: conversions of bidder 1: 0.775, bidder 2: 1.27",
    ]
    written = [(text.get_text(), text.get_position()) for text in bottom.texts]
    assert written == [
        ("p = 0.4", (0.5, 0.125)),
        ("p = 0.1", (2.5, 0.125)),
        ("p = 0.3", (5.0, 0.5)),
        ("p = 0.2", (0.5, 0.625)),
        ("p = 0.5", (2.5, 0.625)),
    ]
    assert (top.get_xlabel(), bottom.get_xlabel()) == ("", "mass of opportunities")
    legend = top.get_legend()
    assert letters(legend.get_texts()) == {8}
    assert anchor(legend) == (1.01, 1)
    assert bottom.get_legend() is None


def test_hatches_of_seven_bidders_go_round() -> None:
    many = Market.exact([1], [["1/10"] * 7])
    top = plots.lifting_figure(many, (0,), np.full((1, 7), Fraction(1, 7))).axes[0]
    found = [group[0].get_hatch() for group in top.containers]
    assert found == ["", "///", "\\\\\\", "...", "xx", "++", ""]
    assert len(top.get_legend().get_texts()) == 7


# ── Curves ────────────────────────────────────────────────────────────────────────────────────


def curves(*rules):
    rows = [
        {"rule": rule, "clusters": k, "revenue": 1.0 + j, "low": 0.9 + j, "high": 1.2 + j}
        for j, rule in enumerate(rules)
        for k in (1, 4, 16)
    ]
    return pd.DataFrame(rows)


def test_curves_have_their_colours_and_thin_bars() -> None:
    ax = plots.curve_figure(curves("first", "second", "pacing"), "t", "money").axes[0]
    lines = [group.lines[0] for group in ax.containers]
    assert [(line.get_color(), line.get_marker()) for line in lines] == [
        (PALETTE["blue"], "o"),
        (PALETTE["vermillion"], "s"),
        (PALETTE["green"], "^"),
    ]
    for group, shift in zip(ax.containers, (-0.02, 0, 0.02), strict=True):
        (bars,) = group.lines[2]
        assert list(bars.get_linewidth()) == [1]
        places = group.lines[0].get_xdata()
        assert list(places) == pytest.approx([k * 10**shift for k in (1, 4, 16)])
    assert ax.get_xticks().tolist() == [1, 4, 16]
    assert ax.get_xticks(minor=True).tolist() == []
    assert ax.get_xlabel() == "clusters of the model"
    assert ax.get_legend() is not None


def test_the_promise_has_room_above_and_smaller_letters() -> None:
    summary = curves("collected", "delivered", "cpa").rename(
        columns={"rule": "measure", "revenue": "mean"}
    )
    names = ("other half", "shuffled features", "empirical Bayes", "same half")
    left, right = plots.promise_figure(dict.fromkeys(names, summary)).axes
    # Values from 2.9 to 3.2, and 0.15 of that beyond either end.
    assert right.get_ylim() == pytest.approx((2.9 - 0.045, 3.2 + 0.045))
    for ax in (left, right):
        assert letters(ax.get_legend().get_texts()) == {9}
        assert {text.get_fontsize() for text in ax.get_xticklabels()} == {8}
        assert ax.get_legend()._loc == 2  # upper left
    assert left.get_title() == "Hillstrom, fitted on half: unsmoothed"
    assert right.get_title() == "The tCPA promise (target = 1)"
    colours = [group.lines[0].get_color() for group in left.containers]
    assert colours == [PALETTE["green"], PALETTE["purple"]]
    assert [text.get_text() for text in right.get_legend().get_texts()] == [
        "unsmoothed",
        "unsmoothed, shuffled",
        "empirical Bayes",
        "judged in sample",
    ]


# ── The explorer ──────────────────────────────────────────────────────────────────────────────


def explored(bidders=B1.bidders, **options):
    models = {"coarse": B1.coarse, "fine": B1.fine}
    return market_explorer(models, bidders, start=(30.0, 5.0), limits=(80.0, 30.0), **options)


def test_marks_of_the_explorer_have_their_looks() -> None:
    plane, bids, _ = explored(names=("A", "B")).to_dict()["vconcat"]
    cells, point = plane["layer"]
    assert (cells["mark"]["opacity"], cells["mark"]["strokeWidth"]) == (0.45, 1.5)
    fill, stroke = cells["encoding"]["fill"], cells["encoding"]["stroke"]
    assert fill["legend"] == {"columns": 1, "orient": "top"}
    assert (fill["title"], fill["field"], stroke["legend"]) == ("equilibria", "cell", None)
    assert (cells["encoding"]["order"]["field"], cells["encoding"]["tooltip"]["field"]) == (
        "order",
        "cell",
    )
    assert cells["transform"] == [{"filter": "datum.model == model"}]
    look = {key: point["mark"][key] for key in ("size", "shape", "angle", "color")}
    assert look == {"size": 110, "shape": "cross", "angle": 45, "color": PALETTE["black"]}
    encoding = bids["encoding"]
    assert encoding["x"]["axis"] == {"labelAngle": 0}
    assert encoding["xOffset"]["sort"] == ["A", "B"]
    assert encoding["color"]["legend"] == {"orient": "top"}
    assert encoding["color"]["scale"]["range"] == [PALETTE["bidder 1"], PALETTE["bidder 2"]]
    assert [one["field"] for one in encoding["tooltip"]] == ["bidder", "bid", "winner"]


def test_the_explorer_calls_bidders_by_number_unless_told_and_starts_with_the_first_model() -> None:
    spec = explored().to_dict()
    assert [one["bind"]["name"] for one in spec["params"][:2]] == [
        "multiplier of 1 ",
        "multiplier of 2 ",
    ]
    assert spec["params"][2]["value"] == "coarse"
    axes = spec["vconcat"][0]["layer"][0]["encoding"]
    assert axes["x"]["title"] == "effective multiplier of 1, money per conversion"
    assert axes["y"]["title"] == "effective multiplier of 2, money per conversion"
    calculated = {
        one["as"]: one["calculate"]
        for one in spec["vconcat"][2]["layer"][0]["transform"]
        if "calculate" in one
    }
    assert calculated["spend1"] == "datum.first * datum.paid"
    assert calculated["text"].startswith("format(datum.amount, '.3f')")
    colour = spec["vconcat"][2]["layer"][0]["encoding"]["color"]
    assert colour["condition"] == {"test": "datum.broken", "value": PALETTE["violation"]}
    assert colour["value"] == PALETTE["grey"]


@pytest.mark.parametrize(
    "bidders",
    [
        [Bidder("tcpa", 1)],
        [Bidder("tcpa", 1)] * 3,
        [Bidder("tcpa", 1), Bidder("maxcpa", 1)],
        [Bidder("tcpa", 1), Bidder("tcpa", 1, 2)],
        [Bidder("maxcpa", 1), Bidder("maxcpa", 1)],
    ],
)
def test_the_explorer_takes_two_tcpa_bidders_without_budgets(bidders) -> None:
    with pytest.raises(ValueError, match="two tCPA bidders without budgets"):
        explored(bidders)


def test_curves_of_no_known_rule_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        plots.curve_figure(curves("third"), "t", "money")
