"""What every figure draws: its size, its axes, its words, and each line with its style."""

from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.dates as mdates
import numpy as np
import pandas as pd
import pytest

from lib.collapse_warning import FPContract, evaluate_scores
from lib.collapse_warning.study import figures as plots
from lib.collapse_warning.study.explorer import threshold_explorer
from lib.core.figures import MARKERS, PALETTE, colors
from lib.stats import binomial

LABELS = np.arange(140) < 40
# Events 100, 99, … 61; five controls lie above most of them, all others below.
GOOD = np.r_[np.arange(100.0, 60, -1), [99.5, 98.5, 97.5, 70.5, 60.5], np.arange(95.0) / 10]
BAD = np.zeros(140)
MIXED = {"axes.grid": True, "lines.markersize": 5.0}


def span(ax):
    """Return the ends, colour and order of the band behind the first panel."""
    (band,) = ax.patches
    box = band.get_extents().transformed(ax.transData.inverted())
    return (box.x0, box.x1), mpl.colors.to_hex(band.get_facecolor()), band.get_zorder()


def band_is(ax, low, high):
    ends, shade, order = span(ax)
    assert ends == pytest.approx((low, high))
    assert shade == mpl.colors.to_hex("0.85")
    assert order == 0


def shade(line):
    return mpl.colors.to_hex(line.get_color())


def xy(line):
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def bars(container):
    """Return point, ends of the bar, and half the cap's width of an error bar."""
    line, caps, (sticks,) = container
    ends = [one[:, 0].tolist() for one in sticks.get_segments()]
    return xy(line), ends, [one.get_markersize() / 2 for one in caps]


def ticks(axis):
    return list(axis.get_ticklocs()), [one.get_text() for one in axis.get_ticklabels()]


def names(legend):
    return [one.get_text() for one in legend.get_texts()]


def size(fig):
    return tuple(fig.get_size_inches().tolist())


def anchor(ax):
    return tuple(ax.get_legend().get_bbox_to_anchor().transformed(ax.transAxes.inverted()).p0)


def chance(line, ends, width=1.0):
    assert xy(line) == (ends, ends)
    assert (line.get_linewidth(), line.get_linestyle()) == (width, ":")
    assert shade(line) == mpl.colors.to_hex("0.5")


def test_staircases_and_hit_rates() -> None:
    good, bad = (evaluate_scores(one, LABELS, name=n) for one, n in ((GOOD, "good"), (BAD, "bad")))
    fig = plots.staircase_figure([bad, good, bad, good, bad, good])
    assert size(fig) == pytest.approx((7.4, 3.6))
    left, right = fig.axes
    assert left.get_gridspec().get_width_ratios() == [3, 2]
    assert (left.get_subplotspec().get_gridspec().nrows, left.get_gridspec().ncols) == (1, 2)
    band_is(left, 0.03, 0.07)
    assert (left.get_xlim(), left.get_ylim()) == ((0, 0.3), (0, 1.02))
    assert left.get_xlabel() == "share of controls that alarm"
    assert left.get_ylabel() == "share of events that alarm"
    first, *steps = left.get_lines()
    chance(first, [0, 1])
    assert [one.get_linestyle() for one in steps] == ["-", "--", "-.", "--", "--", "-"]
    assert [one._unscaled_dash_pattern[1] for one in steps[3:5]] == [(1, 1), (5, 1)]
    assert [one._unscaled_dash_pattern[0] for one in steps[3:5]] == [0, 0]
    assert {(one.get_drawstyle(), one.get_linewidth()) for one in steps} == {("steps-post", 1.4)}
    assert [shade(one) for one in steps] == colors(6)
    table = good.stairs.to_frame()
    assert xy(steps[1]) == (table["fpr"].tolist(), table["tpr"].tolist())
    # The lowest threshold that five of 100 controls do not hinder lies below all forty events.
    rate, low, high = 1.0, *binomial(40, 40).ends
    for at, box in zip((1, 3, 5), right.containers, strict=True):
        point, ends, caps = bars(box)
        assert point == ([rate], [at])
        assert ends == [pytest.approx([low, high])]
        assert caps == [3, 3]
        assert box[0].get_marker() == MARKERS[at]
        assert shade(box[0]) == colors(6)[at]
    marks = [one for one in right.get_lines() if len(one.get_xdata()) == 2]
    shares = [xy(one) for one in marks if one.get_linewidth() == 1.5]
    found = good.false_alarms / 100
    for at, (x, y) in zip((1, 3, 5), shares, strict=True):
        assert x == [found, found]
        assert y == pytest.approx([at - 0.35, at + 0.35])
    keys = [one for one in right.get_lines() if xy(one)[0] == [-0.5]]
    assert [xy(one) for one in keys] == [([-0.5], [at]) for at in range(6)]
    assert [one.get_marker() for one in keys] == list(MARKERS[:6])
    assert (right.get_xlim(), right.get_ylim()) == ((0, 1), (5.5, -0.5))
    assert ticks(right.yaxis) == (list(range(6)), ["bad", "good"] * 3)
    assert right.get_xlabel() == "hit rate at the accepted point"
    assert plots.staircase_figure([bad], 0.5).axes[0].get_xlim() == (0, 0.5)
    with pytest.raises(ValueError, match="evaluations is empty"):
        plots.staircase_figure([])


def test_a_hit_rate_between_its_ends() -> None:
    found = evaluate_scores(GOOD, LABELS, FPContract(0.02, 0.03))
    fig = plots.staircase_figure([found])
    band_is(fig.axes[0], 0.02, 0.03)
    ((point, ends, _),) = (bars(box) for box in fig.axes[1].containers)
    # Three controls: the threshold may fall to 71, so 30 of 40 events alarm.
    assert point == ([0.75], [0])
    assert ends == [pytest.approx(list(binomial(30, 40).ends))]


def test_more_detectors_than_markers() -> None:
    many = [evaluate_scores(BAD, LABELS)] * 7
    marks = [one.get_marker() for one in plots.staircase_figure(many).axes[1].get_lines()]
    assert marks == list(MARKERS)


def test_power_curves() -> None:
    fig = plots.power_figure([38, 62, 766, 1000, 2000])
    assert size(fig) == (7, 3.6)
    (ax,) = fig.axes
    band_is(ax, 0.03, 0.07)
    lines = ax.get_lines()
    assert [one.get_linestyle() for one in lines] == ["-", "--", "-.", ":", "-"]
    assert [shade(one) for one in lines] == colors(5)
    x, y = xy(lines[0])
    assert x == pytest.approx(np.arange(201) / 1000)
    # Two of 38 at 5 %: 703 · 0.05² · 0.95³⁶.
    assert y[50] == pytest.approx(703 * 0.05**2 * 0.95**36)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 0.2), (0, 1.02))
    words = [f"{n} controls" for n in ("38", "62", "766", "1,000", "2,000")]
    assert names(ax.get_legend()) == ["band of the contract", *words]
    assert ax.get_xlabel() == "true share of controls that alarm"
    assert ax.get_ylabel() == "probability of acceptance"
    band_is(plots.power_figure([5], FPContract(0.1, 0.5)).axes[0], 0.1, 0.5)


def test_intervals_of_groups() -> None:
    groups = {
        "a": {"x": (0.5, 0.25, 1.0), "y": (1.0, 0.0, 3.0)},
        "b": {"z": (2.0, 1.0, 4.0), "x": (0.0, -1.0, 0.5)},
        "c": {"y": (7.0, 6.0, 9.0)},
    }
    fig = plots.interval_figure(groups, "effect", null=0.5)
    assert size(fig) == pytest.approx((7, 1.2 + 3 * 0.42))
    (ax,) = fig.axes
    (null,) = (one for one in ax.get_lines() if len(one.get_xdata()) == 2 and one.get_lw() == 1)
    assert xy(null)[0] == [0.5, 0.5]
    assert null.get_linestyle() == ":"
    assert shade(null) == mpl.colors.to_hex("0.5")
    found = [bars(box) for box in ax.containers]
    assert [one[0][0] for one in found] == [[0.5, 1.0], [2.0, 0.0], [7.0]]
    assert found[0][0][1] == pytest.approx([-0.18, 0.82])
    assert found[1][0][1] == pytest.approx([2.0, 0.0])
    assert found[2][0][1] == pytest.approx([1.18])
    ends = [[[0.25, 1.0], [0.0, 3.0]], [[1.0, 4.0], [-1.0, 0.5]], [[6.0, 9.0]]]
    assert [one[1] for one in found] == ends
    assert {width for one in found for width in one[2]} == {3}
    assert [box[0].get_marker() for box in ax.containers] == list(MARKERS[:3])
    assert [shade(box[0]) for box in ax.containers] == colors(3)
    assert ticks(ax.yaxis) == ([0, 1, 2], ["x", "y", "z"])
    assert ax.yaxis_inverted()
    assert ax.get_xlabel() == "effect"
    assert names(ax.get_legend()) == ["a", "b", "c"]
    (ax,) = plots.interval_figure({"a": groups["a"]}, "effect").axes
    assert bars(ax.containers[0])[0][1] == [0, 1]
    assert ax.get_legend() is None
    assert all(len(one.get_xdata()) == 2 and one.get_marker() in "o|" for one in ax.get_lines())
    assert not [one for one in ax.get_lines() if one.get_linestyle() == ":"]
    two = plots.interval_figure({"a": groups["a"], "b": groups["b"]}, "effect", null=0).axes[0]
    assert names(two.get_legend()) == ["a", "b"]
    assert xy(two.get_lines()[0])[0] == [0, 0]


def at(text):
    return pd.Timestamp(text, tz="UTC")


def test_event_units_on_the_clock_of_their_day() -> None:
    rows = [
        ("p/01", "2018-02-05 14:00", "2018-02-05 15:30", "2018-02-05 22:09", "before"),
        ("p/02", "2018-02-05 22:00", "2018-02-05 23:00", "2018-02-05 22:09", "across"),
        ("q/01", "2020-03-18 18:00", "2020-03-18 19:00", "2020-03-18 16:56", "after"),
    ]
    table = pd.DataFrame(
        [(at(a), at(b), at(c), where) for _, a, b, c, where in rows],
        index=[one[0] for one in rows],
        columns=["start", "end", "collapse", "where"],
    )
    with mpl.rc_context(MIXED):
        fig = plots.timeline_figure(table)
        fig.draw_without_rendering()
    assert size(fig) == (7, 3.0)
    first, second = fig.axes
    assert (first.get_gridspec().nrows, first.get_gridspec().ncols) == (2, 1)
    shades = dict(zip(("before", "across", "after"), colors(3), strict=True))
    hatches = {"before": "", "across": "//", "after": "xx"}
    for ax, day in ((first, rows[:2]), (second, rows[2:])):
        boxes = {mpl.colors.to_hex(one.get_facecolor()[0]): one for one in ax.collections}
        assert len(boxes) == len(day)
        for _, start, end, collapse, where in day:
            box = boxes[shades[where]]
            assert (box.get_hatch() or "") == hatches[where]
            assert mpl.colors.to_hex(box.get_edgecolor()[0]) == "#ffffff"
            extents = box.get_paths()[0].get_extents()
            wanted = [mdates.date2num(pd.Timestamp(one)) for one in (start, end)]
            assert [extents.x0, extents.x1] == pytest.approx(wanted, abs=1e-9)
            assert (extents.y0, extents.y1) == (0, 1)
            (line,) = ax.get_lines()
            assert xy(line)[0] == pytest.approx([mdates.date2num(pd.Timestamp(collapse))] * 2)
            assert (line.get_linewidth(), shade(line)) == (2, "#000000")
        assert ax.xaxis.get_major_locator().rule._construct["byhour"] == range(0, 24, 2)
        assert ax.xaxis.get_major_formatter().fmt == "%H:%M"
        assert ax.get_yticks().tolist() == []
        assert not any(one.get_visible() for one in ax.get_xgridlines())
    assert [ax.get_title() for ax in fig.axes] == ["2018-02-05", "2020-03-18"]
    assert [ax.get_xlabel() for ax in fig.axes] == ["", "time of day (UTC)"]
    (legend,) = fig.legends
    assert names(legend) == ["before", "across", "after"]
    assert legend._ncols == 3
    patches = legend.get_patches()
    assert [mpl.colors.to_hex(one.get_facecolor()) for one in patches] == colors(3)
    assert [one.get_hatch() or "" for one in patches] == ["", "//", "xx"]


def test_three_days_have_their_label_below_the_last() -> None:
    table = pd.DataFrame(
        {
            "start": [at(f"2020-01-0{d} 14:00") for d in (1, 2, 3)],
            "end": [at(f"2020-01-0{d} 15:00") for d in (1, 2, 3)],
            "collapse": [at(f"2020-01-0{d} 16:00") for d in (1, 2, 3)],
            "where": "before",
        },
        index=["a/1", "b/1", "c/1"],
    )
    fig = plots.timeline_figure(table)
    assert size(fig) == (7, 4.5)
    assert [ax.get_xlabel() for ax in fig.axes] == ["", "", "time of day (UTC)"]


def test_witnesses_by_generation() -> None:
    rows = [
        (regime, run, t, float(t + k), float(t * k), float(k + 1))
        for k, (regime, run) in enumerate(
            [("ten_pct_preservation", 1), ("ten_pct_preservation", 2), ("no_preservation", 1)]
        )
        for t in range(4)
    ]
    columns = ["regime", "run", "generation", "gain", "persistence", "diversity"]
    fig = plots.shumailov_figure(pd.DataFrame(rows, columns=columns))
    assert size(fig) == pytest.approx((7.4, 2.8))
    assert (fig.axes[0].get_gridspec().nrows, fig.axes[0].get_gridspec().ncols) == (1, 3)
    for ax, values in zip(fig.axes, ("gain", "persistence", "diversity"), strict=True):
        lines = ax.get_lines()
        thin = [one for one in lines if one.get_linewidth() == 0.5]
        assert [lines.index(one) for one in thin] == [0, 1, 3]
        assert {one.get_alpha() for one in thin} == {0.5}
        blue, orange = colors(2)
        assert [shade(one) for one in lines] == [blue] * 3 + [orange] * 2
        means = [lines[2], lines[4]]
        assert [(one.get_marker(), one.get_markersize()) for one in means] == [("o", 4), ("s", 4)]
        expected = {
            "gain": [t + 0.5 for t in range(4)],
            "persistence": [t * 0.5 for t in range(4)],
            "diversity": [1.5] * 4,
        }
        assert xy(lines[2]) == ([0, 1, 2, 3], expected[values])
        assert ax.get_xticks().tolist() == [0, 3, 6, 9]
        assert ax.get_xlabel() == "generation"
    assert [ax.get_title() for ax in fig.axes] == [
        "gain: second difference",
        "persistence: gap over largest",
        "diversity: 1 / spread",
    ]
    assert [ax.get_yscale() for ax in fig.axes] == ["linear", "linear", "log"]
    found = [ax.get_legend() for ax in fig.axes]
    assert found[0] is found[2] is None
    assert names(found[1]) == ["10 % original data", "no original data"]


def test_rows_by_the_misses_that_alarm() -> None:
    first = pd.DataFrame(
        {
            "set": ["1", "none", "1", "2 or more", "1"],
            "controls": [5, 0, 7, 20, 30],
            "predicted_controls": [5, 1, 7, 21, 30],
        }
    )
    second = first.assign(controls=first["controls"] + 100)
    found = {40: SimpleNamespace(rows=first), 60: SimpleNamespace(rows=second)}
    fig = plots.rows_figure(found)
    assert size(fig) == pytest.approx((7, 0.9 + 3 * 0.36))
    (ax,) = fig.axes
    # By the median of the first table: 0, then 7, then 20.
    assert ticks(ax.yaxis) == ([0, 1, 2], ["none  (1 rows)", "1  (3 rows)", "2 or more  (1 rows)"])
    lines = ax.get_lines()
    height = [1, 0, 1, 2, 1]
    assert [xy(one) for one in lines] == [
        ([5, 0, 7, 20, 30], height),
        ([5, 1, 7, 21, 30], height),
        ([105, 100, 107, 120, 130], height),
        ([5, 1, 7, 21, 30], height),
    ]
    assert [one.get_marker() for one in lines] == ["o", ".", "s", "."]
    assert [one.get_markersize() for one in lines[::2]] == [9, 9]
    assert [one.get_fillstyle() for one in lines[::2]] == ["none", "none"]
    assert {one.get_linestyle() for one in lines} == {"None"}
    blue, orange = colors(2)
    assert [shade(one) for one in lines] == [blue, blue, orange, orange]
    assert ax.get_ylim() == pytest.approx((-0.6, 2.6))
    assert names(ax.get_legend()) == ["horizon 40", "horizon 60"]
    assert ax.get_xlabel() == "controls that alarm"
    assert ax.get_ylabel() == "trailing misses that alarm"


def test_points_of_figure_7() -> None:
    points = pd.DataFrame(
        {
            "domain": ["recsys", "markets", "markets", "recsys"],
            "family": ["variance_ews", "page_hinkley", "ac1", "permutation_entropy"],
            "fp": [0.01, 0.02, 0.5, 1.0],
            "tpr": [0.3, 0.4, 0.6, 0.9],
        }
    )
    fig = plots.roc_figure(points, (0.03, 0.07))
    assert size(fig) == pytest.approx((7.4, 3.2))
    left, right = fig.axes
    assert (left.get_gridspec().nrows, left.get_gridspec().ncols) == (1, 2)
    assert left.get_shared_y_axes().joined(left, right)
    expected = {
        left: ("markets", [("AC1", 0.5, 0.6), ("Page-Hinkley", 0.02, 0.4)]),
        right: ("recommender", [("permutation entropy", 1.0, 0.9), ("variance", 0.01, 0.3)]),
    }
    for ax, (title, found) in expected.items():
        band_is(ax, 0.03, 0.07)
        *marks, diagonal = ax.get_lines()
        assert [(one.get_label(), *np.ravel(xy(one))) for one in marks] == found
        assert [one.get_marker() for one in marks] == ["o", "s"]
        assert [one.get_fillstyle() for one in marks] == ["none", "none"]
        assert [shade(one) for one in marks] == colors(2)
        x, y = xy(diagonal)
        assert x == y == pytest.approx(np.exp(np.linspace(np.log(0.005), 0, 50)))
        chance(diagonal, x)
        scale = ax.xaxis.get_transform()
        assert ax.get_xscale() == "symlog"
        assert (scale.linthresh, scale.linscale) == (0.005, 0.3)
        assert ax.get_xlim() == (-0.001, 1.1)
        assert ticks(ax.xaxis) == ([0, 0.01, 0.05, 0.2, 1], ["0", ".01", ".05", ".2", "1"])
        assert ax.get_title() == title
        assert names(ax.get_legend()) == [one[0] for one in found]
        assert ax.get_xlabel() == "share of controls that alarm"
    assert (left.get_ylabel(), right.get_ylabel()) == ("share of events that alarm", "")


def test_operations_a_value() -> None:
    table = pd.DataFrame({"level": [10, 40], "other": [20, 80]}, index=[1, 2])
    fig = plots.cost_figure(table)
    assert size(fig) == pytest.approx((6.6, 3.4))
    (ax,) = fig.axes
    lines = ax.get_lines()
    assert [xy(one) for one in lines] == [([1, 2], [5, 10]), ([1, 2], [10, 20])]
    assert [(one.get_marker(), one.get_linestyle()) for one in lines] == [("o", "-"), ("s", "-")]
    assert [shade(one) for one in lines] == colors(2)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("values in a series", "operations a value")
    assert names(ax.get_legend()) == ["level", "other"]
    assert anchor(ax) == pytest.approx((1, 0.5))


def test_hit_rates_at_budgets() -> None:
    rates = pd.DataFrame(
        [[0.1, 0.2], [0.1, 0.2 + 1e-9], [0.3, 0.4]], index=["a", "b", "c"], columns=[0.05, 0.2]
    )
    fig = plots.study2_figure(rates, (0.5, 0.75))
    assert size(fig) == (7, 3.6)
    (ax,) = fig.axes
    (block,) = ax.collections
    corners = {tuple(one) for one in block.get_paths()[0].vertices.round(9).tolist()}
    assert corners == {(0, 0.5), (1, 0.5), (1, 0.75)}
    assert mpl.colors.to_hex(block.get_facecolor()[0]) == mpl.colors.to_hex("0.88")
    first, second, diagonal = ax.get_lines()
    assert xy(first) == ([0.05, 0.2], pytest.approx([0.1, 0.2]))
    assert xy(second) == ([0.05, 0.2], pytest.approx([0.3, 0.4]))
    assert [one.get_marker() for one in (first, second)] == ["o", "s"]
    assert [one.get_linestyle() for one in (first, second)] == ["-", "-"]
    assert [shade(one) for one in (first, second)] == colors(2)
    chance(diagonal, [0, 0.25])
    assert (ax.get_xlim(), ax.get_ylim()) == ((0, 0.25), (0, 0.75))
    assert names(ax.get_legend()) == ["one block of equal PC1", "a,\nb", "c", "chance"]
    assert anchor(ax) == pytest.approx((1, 0.5))
    assert ax.get_xlabel() == "budget: share of controls that alarm"
    assert ax.get_ylabel() == "hit rate"


def test_a_millionth_tells_two_rates_apart() -> None:
    rates = pd.DataFrame([[0.1], [0.100001]], index=["a", "b"], columns=[0.05])
    (ax,) = plots.study2_figure(rates, (0.5, 0.75)).axes
    assert names(ax.get_legend())[1:3] == ["a", "b"]
    near = pd.DataFrame([[0.1], [0.1000002]], index=["a", "b"], columns=[0.05])
    assert names(plots.study2_figure(near, (0.5, 0.75)).axes[0].get_legend())[1] == "a,\nb"


def test_shares_on_later_data() -> None:
    table = pd.DataFrame(
        {
            "calibrated": ["accepted", "ties", "accepted"],
            "controls": [200, 200, 100],
            "false_alarms": [10, 0, 40],
            "fpr": [0.05, 0.0, 0.4],
            "tpr": [0.5, 0.0, 0.25],
            "low": [0.2, 0.0, 0.125],
            "high": [0.9, 0.0, 0.625],
        },
        index=["one", "two", "three"],
    )
    fig = plots.domain_figure(table, (0.03, 0.07))
    assert size(fig) == pytest.approx((7.4, 1.2 + 2 * 0.34))
    left, right = fig.axes
    assert (left.get_gridspec().nrows, left.get_gridspec().ncols) == (1, 2)
    assert left.get_shared_y_axes().joined(left, right)
    band_is(left, 0.03, 0.07)
    false_color, hit_color = colors(2)
    false, hit = ([bars(box) for box in ax.containers] for ax in (left, right))
    assert [one[0] for one in false] == [([0.05], [0]), ([0.4], [1])]
    assert [one[0] for one in hit] == [([0.5], [0]), ([0.25], [1])]
    for one, counts in zip(false, ((10, 200), (40, 100)), strict=True):
        assert one[1] == [pytest.approx(list(binomial(*counts).ends))]
    assert [one[1][0] for one in hit] == [pytest.approx([0.2, 0.9]), pytest.approx([0.125, 0.625])]
    assert {width for one in (*false, *hit) for width in one[2]} == {3}
    for ax, mark, color in ((left, "o", false_color), (right, "s", hit_color)):
        assert {box[0].get_marker() for box in ax.containers} == {mark}
        assert {shade(box[0]) for box in ax.containers} == {color}
    assert ticks(left.yaxis) == ([0, 1], ["one", "three"])
    assert left.yaxis_inverted()
    assert right.get_xlim() == (-0.02, 1.02)
    assert left.get_xlabel() == "share of controls that alarm"
    assert right.get_xlabel() == "share of events that alarm"


def test_hits_and_misses_are_sorted_by_the_first_miss() -> None:
    rows = [
        np.array([False, False, False]),
        np.array([False, True]),
        np.array([True, False, True, True]),
        np.array([False, True, True]),
    ]
    with mpl.rc_context(MIXED):
        fig = plots.miss_figure({"a": rows, "b": rows[:1]}, "day")
        fig.draw_without_rendering()
    assert size(fig) == (7, 3.6)
    left, right = fig.axes
    assert (left.get_gridspec().nrows, left.get_gridspec().ncols) == (1, 2)
    assert left.get_shared_x_axes().joined(left, right)
    (mesh,) = left.collections
    x, y = mesh.get_coordinates()[..., 0], mesh.get_coordinates()[..., 1]
    assert x[0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert y[:, 0].tolist() == [0, 1, 2, 3, 4]
    nan = np.nan
    expected = [[1, 0, 1, 1], [0, 1, nan, nan], [0, 1, 1, nan], [0, 0, 0, nan]]
    np.testing.assert_array_equal(mesh.get_array().filled(nan), expected)
    assert (mesh.norm.vmin, mesh.norm.vmax) == (0, 1)
    hit, miss = colors(2)
    assert [mpl.colors.to_hex(one) for one in mesh.cmap([0.0, 1.0])] == [hit, miss]
    for ax, title in ((left, "a"), (right, "b")):
        assert (ax.get_title(), ax.get_xlabel()) == (title, "day")
        assert not any(one.get_visible() for one in (*ax.get_xgridlines(), *ax.get_ygridlines()))
    assert (left.get_ylabel(), right.get_ylabel()) == ("users, by first miss", "")
    (legend,) = fig.legends
    assert names(legend) == ["hit", "miss"]
    assert legend._ncols == 2
    assert [mpl.colors.to_hex(one.get_facecolor()) for one in legend.get_patches()] == [hit, miss]
    (ax,) = plots.miss_figure({"a": rows}).axes
    assert ax.get_xlabel() == "step"


def test_the_threshold_explorer() -> None:
    good = evaluate_scores(GOOD, LABELS)
    bad = evaluate_scores(BAD, LABELS)
    chart = threshold_explorer({"good": good, "bad": bad}).to_dict()
    percent, series = chart["params"]
    assert percent["value"] == 5
    assert {key: percent["bind"][key] for key in ("min", "max", "step")} == {
        "min": 0,
        "max": 100,
        "step": 1,
    }
    assert (series["value"], series["bind"]["options"]) == ("good", ["good", "bad"])
    left, right = chart["hconcat"]
    assert (left["width"], left["height"]) == (260, 240)
    assert (right["width"], right["height"]) == (170, 120)
    assert right["title"] == ["blue: in the band, accepted", "orange: outside, not accepted"]
    ground, stairs, dot = left["layer"]
    assert ground["mark"] == {"type": "rect", "opacity": 0.25, "color": PALETTE["grey"]}
    assert (ground["encoding"]["x"]["field"], ground["encoding"]["x2"]["field"]) == ("lo", "hi")
    assert stairs["mark"]["interpolate"] == "step-after"
    assert stairs["encoding"]["order"]["field"] == "percent"
    assert dot["mark"] == {"type": "point", "size": 140, "filled": True, "opacity": 1}
    for name, field in (("x", "fpr"), ("y", "tpr")):
        assert stairs["encoding"][name]["field"] == field
        assert stairs["encoding"][name]["scale"] == {"domain": [0, 1]}
        assert dot["encoding"][name] == stairs["encoding"][name]
    assert dot["transform"] == [
        {"filter": "datum.series == series"},
        {"filter": "datum.percent == alarmed"},
    ]
    bar, text = right["layer"]
    assert text["mark"] == {"type": "text", "align": "left", "dx": 4}
    assert bar["mark"] == {"type": "bar"}
    assert bar["encoding"]["y"]["sort"] == ["hits", "missed events", "false alarms"]
    assert bar["encoding"]["color"] == dot["encoding"]["color"]
    assert dot["encoding"]["color"]["condition"]["value"] == PALETTE["blue"]
    assert dot["encoding"]["color"]["value"] == PALETTE["vermillion"]
    rows = [row for one in chart["datasets"].values() for row in one]
    (band,) = (row for row in rows if "lo" in row)
    assert band == {"lo": 0.03, "hi": 0.07}
    assert {row["series"] for row in rows if "series" in row} == {"good", "bad"}
    assert threshold_explorer({"x": good}, start=0).to_dict()["params"][0]["value"] == 0
    assert threshold_explorer({"x": good}, start=100).to_dict()["params"][0]["value"] == 100
    for wrong in (-1, 101):
        with pytest.raises(ValueError, match=f"start is {wrong}"):
            threshold_explorer({"x": good}, start=wrong)


def test_shares_of_the_explorer_have_four_digits() -> None:
    labels = np.arange(30) < 7
    found = evaluate_scores(-np.arange(30.0), labels)
    data = threshold_explorer({"x": found}).to_dict()["datasets"]
    rows = {row["percent"]: row for one in data.values() for row in one if "percent" in row}
    assert (rows[4]["hits"], rows[4]["tpr"], rows[4]["missed events"]) == (1, 0.1429, 6)
    assert (rows[30]["hits"], rows[30]["false alarms"], rows[30]["fpr"]) == (7, 2, 0.087)
    assert (rows[27]["false alarms"], rows[27]["fpr"]) == (1, 0.0435)
    assert (rows[0]["hits"], rows[3]["hits"], rows[100]["fpr"]) == (0, 0, 1)
