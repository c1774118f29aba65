"""What every figure draws: its size, its axes, its words, and each line with its style."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from lib.compute_governance.hardware import CHIPS, Node
from lib.compute_governance.planner import Assumptions, evaluate, plan
from lib.compute_governance.study import figures as plots
from lib.compute_governance.study.searches import at_nodes, grid_best
from lib.core.figures import PALETTE, colors

H100 = Node(CHIPS["H100"], 16, "FP8")
TWO = np.array([1.0, 2.0])
OURS, PAPER, ORANGE = PALETTE["ours"], PALETTE["paper"], PALETTE["orange"]


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


COSTS = table(target=[1e24, 2.1e25], author=[2.0, 3.0], branch=[2.0, 1.0])
RATES = table(mbps=[10, 100], author=[9.0, 2.0], branch=[3.0, 2.0])
CAP = table(metric=["a", "b"], target=[1, 1], free=[1, 1], capped=[1, 2])
SIZES = table(
    metric=["a", "a", "b"], chip=["Z", "A", "Z"], count=[1, 2, 4], cost_usd=[3.0, 2.0, 1.0]
)
GAPS = pd.DataFrame(
    {"gap": [0.1, 0.2], "low": [0.05, 0.1], "high": [0.15, 0.4], "kB": [10.0, 1.0]},
    index=[5, 20],
)
CODECS = GAPS.rename(columns={"gap": "change"}).assign(bits=[32.0, 4.125])
RUNS = table(
    gap=[0.3, 0.2, 0.2, 0.4], low=[0.2, 0.1, 0.15, 0.3], high=[0.5, 0.4, 0.3, 0.5],
    kB=[1.0, 2.0, 4.0, 8.0], family=["u", "v", "u", "v"],
)  # fmt: skip
CORNERS = table(
    h100_eq=[16.0, 4.0, 4.0, 1.0], burden=[0, 2, 1, 3], cost_usd=[5.0, 7.0, 9.0, np.inf],
    efficient=[False, False, True, True],
)  # fmt: skip
SHARES = pd.DataFrame([[0.25, 0.25, 0.4, 0.1], [0.1, 0.2, 0.3, 0.4]], index=["p", "q"]).set_axis(
    list("abcd"), axis=1
)
SPREADS = {key: {"a": np.linspace(1, 2, 101), "b": np.linspace(2, 3, 101)} for key in "pqr"}
SOBOL = table(first=[0.1, 0.5], first_95=[0.1, 0.1], total=[0.2, 0.6], total_95=[0.02, 0.06])


def island():
    best = grid_best(at_nodes([H100], np.arange(2, 200)), "c_local")
    return plots.island_figure(best, [5, 199, 10_000], 150, 104)


def plans():
    return {"1e24": plan(H100, 2, 91e9), "more": evaluate([H100], 0, 40, 180e9, 2)}


FIGURES = {
    "nodes": lambda: plots.nodes_figure([1, 2], {"a": (TWO, 2 * TWO), "b": (TWO, TWO)}, [2.0, 3.0]),
    "island": island,
    "search": lambda: plots.search_figure(COSTS),
    "bandwidth": lambda: plots.bandwidth_figure(RATES, {"x": (50.0, 2.5), "y": (60.0, 2.2)}),
    "decomposition": lambda: plots.decomposition_figure(plans()),
    "cap": lambda: plots.cap_figure(CAP),
    "node_size": lambda: plots.node_size_figure(SIZES),
    "failures": lambda: plots.failures_figure(TWO, dict.fromkeys("abcdef", TWO / 2)),
    "amplification": lambda: plots.amplification_figure(TWO, TWO / 4, (0.3, 0.4), 0.35),
    "detection": lambda: plots.detection_figure(SPREADS),
    "leader": lambda: plots.leader_figure(SHARES),
    "inspection": lambda: plots.inspection_figure({k: ([1, 2], [0.1, 0.2]) for k in "abcde"}),
    "ppv": lambda: plots.ppv_figure(TWO / 4, {"a": TWO / 2, "b": TWO / 3}, [0.1, 0.2]),
    "frontier": lambda: plots.frontier_figure({"m": CORNERS, "o": CORNERS}, 17),
    "interval": lambda: plots.interval_figure(SPREADS, {"p": 1.0, "q": 2.0, "r": 3.0}, "cost"),
    "sobol": lambda: plots.sobol_figure({"m": SOBOL, "o": SOBOL}, {0: "zero", 1: "one"}),
    "gap": lambda: plots.gap_figure(GAPS),
    "codec": lambda: plots.codec_figure(CODECS.set_axis(["x", "y"])),
    "bytes": lambda: plots.bytes_figure(RUNS),
}


def words(ax):
    """Return title, axis labels, and which axes are logarithmic."""
    logs = "".join(n for n in "xy" if getattr(ax, f"get_{n}scale")() == "log")
    return ax.get_title(loc="left") or ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), logs


def styles(ax):
    """Return marker, line, width and marker size of every line."""
    return [
        (one.get_marker(), one.get_linestyle(), one.get_linewidth(), one.get_markersize())
        for one in ax.get_lines()
    ]


def names(legend):
    return [one.get_text() for one in legend.get_texts()]


def ticks(axis):
    return axis.get_ticklocs().tolist(), [one.get_text() for one in axis.get_ticklabels()]


def shades(ax):
    return [mpl.colors.to_hex(one.get_color()) for one in ax.get_lines()]


@pytest.mark.parametrize(
    ("name", "height", "panels"),
    [
        *(("nodes", 3.5, 2), ("island", 3.2, 1), ("search", 2.9, 1), ("bandwidth", 3.1, 1)),
        *(("decomposition", 3.6, 1), ("cap", 3.0, 2), ("node_size", 3.0, 2)),
        *(("failures", 3.8, 1), ("amplification", 3.4, 1), ("inspection", 2.9, 1)),
        *(("detection", 0.9 + 3 * 0.55, 1), ("leader", 0.9 + 2 * 0.5, 1), ("ppv", 3.0, 1)),
        *(("frontier", 3.5, 2), ("interval", 1.1 + 3 * 0.55, 1), ("sobol", 3.4, 2)),
        *(("gap", 0.9 + 2 * 0.42, 1), ("codec", 0.9 + 2 * 0.42, 1), ("bytes", 4.6, 1)),
    ],
)
def test_sizes_and_panels(name, height, panels) -> None:
    fig = FIGURES[name]()
    assert fig.get_size_inches().tolist() == pytest.approx([7, height])
    assert len(fig.axes) == panels
    if panels == 2:
        left, right = fig.axes
        assert left.get_shared_y_axes().joined(left, right)
        assert left.get_position().x0 < right.get_position().x0


USD = "cost of 1e25 FLOP (US dollars)"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "nodes",
            [("C_local", "nodes", "compute (FLOP)", "xy"), ("C_quality", "nodes", "", "xy")],
        ),
        ("island", [("", "nodes", "best C_local (FLOP)", "xy")]),
        ("search", [("", "cost (US dollars)", "target, C_local (FLOP)", "x")]),
        (
            "bandwidth",
            [("", "bandwidth of a node (Mbit/s); upload rate for the two averages", USD, "xy")],
        ),
        ("decomposition", [("", "halvings of the compute spent", "", "")]),
        (
            "cap",
            [("a", "target (FLOP)", "cost (US dollars)", "xy"), ("b", "target (FLOP)", "", "xy")],
        ),
        ("node_size", [("a", "chips a node", USD, "xy"), ("b", "chips a node", "", "xy")]),
        ("failures", [("", "chips in the run", "goodput", "x")]),
        ("amplification", [("", "α (β moved along)", "compute penalty (%)", "")]),
        ("detection", [("", "probability that somebody reports", "", "")]),
        ("leader", [("", "share of draws in which the channel leads", "", "")]),
        ("inspection", [("", "sites inspected", "probability of meeting one", "x")]),
        (
            "ppv",
            [
                ("", "share of links that are of the kind looked for",
                 "share of alarms that are true", "xy"),
            ],
        ),
        (
            "frontier",
            [("m", "systems covered, of 17", USD, "y"), ("o", "systems covered, of 17", "", "y")],
        ),
        ("interval", [("", "cost", "", "x")]),
        ("sobol", [("m", "share of the variance", "", ""), ("o", "share of the variance", "", "")]),
        ("gap", [("", "loss above data-parallel (nats a character)", "", "")]),
        ("codec", [("", "loss minus that of 32-bit exchanges (nats a character)", "", "")]),
        (
            "bytes",
            [
                ("", "sent by one worker in the whole run (kB, log scale)",
                 "loss above data-parallel\n(nats a character)", "x"),
            ],
        ),
    ],
)  # fmt: skip
def test_words_and_scales(name, expected) -> None:
    assert [words(ax) for ax in FIGURES[name]().axes] == expected


BOTH = ["published search", "branch-wise search"]


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("island", ["flat or hierarchical", "pipeline", "looked at"]),
        ("search", BOTH),
        ("bandwidth", [*BOTH, "x", "y"]),
        ("cap", ["no cap", "1,280 GB cap"]),
        ("node_size", ["Z", "A"]),
        ("failures", list("abcdef")),
        ("amplification", ["95 % interval of α", "estimate"]),
        ("inspection", list("abcde")),
        ("ppv", ["a", "b"]),
        ("bytes", ["u", "v"]),
    ],
)
def test_the_legend_of_the_first_panel(name, entries) -> None:
    first, *others = FIGURES[name]().axes
    assert names(first.get_legend()) == entries
    assert all(ax.get_legend() is None for ax in others)


@pytest.mark.parametrize(
    ("name", "entries", "columns"),
    [
        ("nodes", ["a", "b"], 3),
        (
            "decomposition",
            ["η_H", "η_compression", "η_replica", "η_activation", "χ (not in η)"],
            5,
        ),
        ("detection", ["a", "b"], 2),
        ("leader", list("abcd"), 4),
        ("frontier", ["16", "4"], 5),
        ("interval", ["a", "b", "published"], 3),
        ("sobol", ["total", "first order"], 2),
    ],
)
def test_the_legend_below(name, entries, columns) -> None:
    (legend,) = FIGURES[name]().legends
    assert names(legend) == entries
    assert legend._ncols == columns
    if name == "frontier":
        assert legend.get_title().get_text() == "threshold (H100-equivalents)"


@pytest.mark.parametrize(
    ("name", "labels", "top_down"),
    [
        ("search", ["1e+24", "2.1e+25"], True),
        (
            "decomposition",
            ["1e24: 16x H100 FP8, flat", "more: 16x H100 FP8, PP 2x20"],
            True,
        ),
        ("detection", ["p", "q", "r"], True),
        ("leader", ["p", "q"], True),
        ("interval", ["p", "q", "r"], True),
        ("sobol", ["zero", "one"], True),
        ("gap", ["5", "20"], True),
        ("codec", ["x, 32 bits", "y, 4.12 bits"], True),
    ],
)
def test_rows_are_named_from_the_top(name, labels, top_down) -> None:
    ax = FIGURES[name]().axes[0]
    assert ticks(ax.yaxis) == (list(range(len(labels))), labels)
    low, high = ax.get_ylim()
    assert (low > high) == top_down


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("failures", (None, (0, 1.02))),
        ("amplification", (None, (0, 100))),
        ("detection", ((-0.02, 1.02), None)),
        ("leader", ((0, 1), None)),
        ("gap", (None, (1.5, -0.5))),
        ("codec", (None, (1.5, -0.5))),
    ],
)
def test_limits(name, limits) -> None:
    (ax,) = FIGURES[name]().axes
    for wanted, found in zip(limits, (ax.get_xlim(), ax.get_ylim()), strict=True):
        assert wanted is None or found == pytest.approx(wanted)


THIN = ("None", "-", 0.8, 6.0)
BARS = [("None", "-", 1.6, 6.0), ("None", "-", 5.0, 6.0)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nodes", [THIN, THIN, ("o", "-", 1.4, 3.5), ("s", "-", 1.4, 3.5)]),
        ("island", [("o", "None", 1.5, 3), ("s", "None", 1.5, 3), ("|", "None", 1.5, 14)]),
        ("search", [("s", "None", 1.5, 6), ("o", "None", 1.5, 6)]),
        (
            "bandwidth",
            [("s", "-", 1.5, 6), ("o", "-", 1.5, 6), ("^", "None", 1.5, 8), ("D", "None", 1.5, 8)],
        ),
        ("cap", [("o", "-", 1.5, 6), ("s", "--", 1.5, 6)]),
        ("node_size", [("o", "-", 1.5, 6), ("s", "-", 1.5, 6)]),
        ("failures", [("None", ls, 1.5, 6) for ls in ("-", "--", "-.", ":", "--", "-")]),
        ("amplification", [("None", ":", 1.5, 6), ("None", "-", 1.5, 6)]),
        (
            "detection",
            [
                *[one for mark in "osososs"[:6] for one in (*BARS, (mark, "-", 1.5, 7))],
                ("o", "-", 1.5, 6), ("s", "-", 1.5, 6),
            ],
        ),
        (
            "interval",
            [
                *3 * [
                    *BARS, ("o", "-", 1.5, 7), *BARS, ("s", "-", 1.5, 7), ("None", "-", 1.4, 6),
                ],
                ("o", "-", 1.5, 6), ("s", "-", 1.5, 6), ("None", "-", 1.4, 6),
            ],
        ),
        ("inspection", [*[("None", ls, 1.5, 6) for ls in ("-", "--", "-.", ":", "-")], THIN]),
        ("ppv", [("None", "-", 1.5, 6), ("None", "--", 1.5, 6), THIN, THIN]),
        (
            "frontier",
            [("o", "None", 1.5, 6), ("s", "None", 1.5, 6), ("None", "-", 1.0, 6)],
        ),
        ("sobol", [("D", "-", 1.5, 6)]),
    ],
)  # fmt: skip
def test_lines_look_as_said(name, expected) -> None:
    with mpl.rc_context(mpl.rcParamsDefault):
        found = styles(FIGURES[name]().axes[0])
    if name in ("detection", "interval", "sobol"):  # markers without a line are drawn as given
        found = [(mark, "-" if mark in "osD" else ls, lw, ms) for mark, ls, lw, ms in found]
    assert [one[0] for one in found] == [one[0] for one in expected]
    assert [one[1] for one in found] == [one[1] for one in expected]
    assert [one[2:] for one in found] == [pytest.approx(one[2:]) for one in expected]


def test_marks_of_targets_probes_and_intervals() -> None:
    left, right = FIGURES["nodes"]().axes
    assert [one.get_ydata()[0] for one in left.get_lines()[:2]] == [2.0, 3.0]
    assert [one.get_zorder() for one in left.get_lines()[:2]] == [0, 0]
    assert len(right.get_lines()) == 2
    assert shades(right) == colors(2)
    (island,) = FIGURES["island"]().axes
    assert shades(island) == [*colors(2), "#000000"]
    assert island.get_lines()[2].get_xdata().tolist() == [5, 199]
    notes = [text for text in island.texts if text.get_text()]
    assert [one.xyann for one in notes] == [(0, 34), (0, 34)]
    assert [one.xy[0] for one in notes] == [104, 150]
    assert {one.get_ha() for one in notes} == {"center"}
    (amplified,) = FIGURES["amplification"]().axes
    (span,) = amplified.patches
    assert (span.get_alpha(), span.get_linewidth()) == (0.25, 0)
    assert (span.get_x(), span.get_x() + span.get_width()) == pytest.approx((0.3, 0.4))
    assert amplified.get_lines()[1].get_ydata().tolist() == [25.0, 50.0]
    (long_dash,) = [
        one for one in FIGURES["failures"]().axes[0].get_lines() if one.get_label() == "e"
    ]
    scale = 1.5 if mpl.rcParams["lines.scale_dashes"] else 1.0
    assert long_dash._dash_pattern[0] == 0
    widths = np.array(long_dash._dash_pattern[1]) / (scale * long_dash.get_linewidth() / 1.5)
    assert widths.tolist() == pytest.approx([5, 1, 1, 1])


def test_costs_of_both_searches() -> None:
    (ax,) = FIGURES["search"]().axes
    (rules,) = ax.collections
    assert [one[:, 0].tolist() for one in rules.get_segments()] == [[2.0, 2.0], [1.0, 3.0]]
    assert [one[:, 1].tolist() for one in rules.get_segments()] == [[0, 0], [1, 1]]
    assert (rules.get_linewidth().tolist(), rules.get_zorder()) == ([2], 1)
    assert shades(ax) == [PAPER, OURS]
    (ax,) = FIGURES["bandwidth"]().axes
    assert shades(ax) == [PAPER, OURS, ORANGE, ORANGE]
    for left, right in (
        (FIGURES["cap"]().axes[0], [1, 1]),
        (FIGURES["cap"]().axes[1], [1, 2]),
    ):
        assert [one.get_ydata()[0] for one in left.get_lines()] == right
        assert shades(left) == [OURS, PALETTE["vermillion"]]


def test_chips_a_node_are_powers_of_two() -> None:
    for ax in FIGURES["node_size"]().axes:
        assert ticks(ax.xaxis) == ([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
        assert len(ax.xaxis.get_minorticklocs()) == 0
    left = FIGURES["node_size"]().axes[0]
    assert shades(left) == colors(2)
    assert [one.get_ydata().tolist() for one in left.get_lines()] == [[3.0], [2.0]]


@pytest.mark.parametrize("extra", ["cap", "node_size"])
def test_a_panel_too_many_is_an_error(extra) -> None:
    more = {"cap": (plots.cap_figure, CAP), "node_size": (plots.node_size_figure, SIZES)}
    draw, known = more[extra]
    with pytest.raises(ValueError, match="zip"):
        draw(pd.concat([known, known.iloc[:1].assign(metric="c")]))
    with pytest.raises(ValueError, match="zip"):
        draw(known[known["metric"] == "a"])


def test_more_channels_than_hatches_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        plots.leader_figure(SHARES.assign(e=0.0))


def test_bars_of_what_is_lost_and_who_leads() -> None:
    (ax,) = FIGURES["decomposition"]().axes
    bars = [one.patches for one in ax.containers]
    assert [group[0].get_hatch() for group in bars] == ["", "///", "", "xx", "..."]
    assert [mpl.colors.to_hex(group[0].get_facecolor()) for group in bars] == colors(5)
    keys = ("eta_h", "eta_compression", "eta_replica", "eta_activation", "chi")
    for row, one in enumerate(plans().values()):
        widths = [-np.log2(one.value(key)) for key in keys]
        assert [group[row].get_width() for group in bars] == pytest.approx(widths)
        starts = np.cumsum([0.0, *widths[:-1]]).tolist()
        assert [group[row].get_x() for group in bars] == pytest.approx(starts)
    # A share above 1 takes nothing.
    assert (np.array([group[0].get_width() for group in bars]) >= 0).all()
    (ax,) = FIGURES["leader"]().axes
    bars = [one.patches for one in ax.containers]
    assert [group[1].get_x() for group in bars] == pytest.approx([0, 0.1, 0.3, 0.6])
    assert [group[0].get_hatch() for group in bars] == ["", "///", "...", "xx"]
    assert [mpl.colors.to_hex(group[0].get_facecolor()) for group in bars] == colors(4)


def test_quantile_bars_stand_beside_each_other() -> None:
    for name in ("detection", "interval"):
        lines = FIGURES[name]().axes[0].get_lines()
        lines = lines[: 18 if name == "detection" else 21]
        step = 6 if name == "detection" else 7
        for row in range(3):
            here = lines[row * step : (row + 1) * step]
            assert [one.get_ydata()[0] for one in here[:6]] == pytest.approx(
                [row - 0.12] * 3 + [row + 0.12] * 3
            )
            first, quartile, middle = here[:3]
            assert first.get_xdata() == pytest.approx([1.05, 1.95])
            assert quartile.get_xdata() == pytest.approx([1.25, 1.75])
            assert middle.get_xdata() == pytest.approx([1.5])
            assert quartile.get_alpha() == 0.6
            assert quartile.get_solid_capstyle() == "butt"
            assert middle.get_markeredgecolor() == "white"
            if name == "interval":
                assert here[6].get_xdata().tolist() == [row + 1.0] * 2
                assert here[6].get_ydata().tolist() == [row - 0.38, row + 0.38]
    three = {key: {**SPREADS["p"], "c": TWO} for key in "pq"}
    places = [
        plots.detection_figure(three).axes[0].get_lines()[at].get_ydata()[0] for at in (0, 3, 6)
    ]
    assert places == pytest.approx([-0.24, 0, 0.24])
    one = plots.interval_figure({"p": {"a": TWO}}, {"p": 1.0}, "x").axes[0].get_lines()[0]
    assert list(one.get_ydata()) == [0, 0]


def test_inspections_and_alarms_are_ruled() -> None:
    (ax,) = FIGURES["inspection"]().axes
    assert list(ax.get_lines()[-1].get_ydata()) == [0.95, 0.95]
    (ax,) = FIGURES["ppv"]().axes
    assert [list(one.get_xdata()) for one in ax.get_lines()[2:]] == [[0.1, 0.1], [0.2, 0.2]]


def test_the_frontier_goes_through_what_is_efficient_and_finite() -> None:
    for ax in FIGURES["frontier"]().axes:
        sixteen, four, steps = ax.get_lines()
        assert shades(ax)[:2] == colors(2)
        assert (sixteen.get_xdata().tolist(), sixteen.get_ydata().tolist()) == ([0], [5.0])
        assert (four.get_xdata().tolist(), four.get_ydata().tolist()) == ([2, 1], [7.0, 9.0])
        assert (steps.get_xdata().tolist(), steps.get_ydata().tolist()) == ([1], [9.0])
        assert (four.get_alpha(), steps.get_zorder()) == (0.8, 0)
        assert steps.get_drawstyle() == "steps-post"
    single = plots.frontier_figure({"m": CORNERS}, 3).axes
    assert [words(ax)[2] for ax in single] == [USD]


def test_indices_with_their_intervals() -> None:
    fig = FIGURES["sobol"]()
    for ax in fig.axes:
        bars, *_ = [one for one in ax.containers if hasattr(one, "patches")]
        assert [one.get_width() for one in bars.patches] == [0.2, 0.6]
        assert [one.get_height() for one in bars.patches] == pytest.approx([0.65, 0.65])
        ends = bars.errorbar.lines[2][0].get_segments()
        assert ends[1][:, 0].tolist() == pytest.approx([0.54, 0.66])
        dots = ax.get_lines()[-1]
        assert (dots.get_xdata().tolist(), dots.get_ydata().tolist()) == ([0.1, 0.5], [0, 1])
    box, _ = fig.legends[0].legend_handles
    assert mpl.colors.to_hex(box.get_facecolor()) == OURS


@pytest.mark.parametrize("name", ["gap", "codec"])
def test_gaps_have_their_intervals(name) -> None:
    (ax,) = FIGURES[name]().axes
    zero, *_ = ax.get_lines()
    assert (list(zero.get_xdata()), zero.get_linestyle()) == ([0, 0], "--")
    (bars,) = ax.containers
    data, caps, (ends,) = bars.lines
    assert data.get_xdata().tolist() == [0.1, 0.2]
    assert [cap.get_markersize() for cap in caps] == [6.0, 6.0]
    assert [one[:, 0].tolist() for one in ends.get_segments()] == [
        pytest.approx([0.05, 0.15]),
        pytest.approx([0.1, 0.4]),
    ]


def test_loss_against_bytes() -> None:
    (ax,) = FIGURES["bytes"]().axes
    first, second = ax.containers
    assert first.lines[0].get_xdata().tolist() == [1.0, 4.0]
    assert second.lines[0].get_xdata().tolist() == [2.0, 8.0]
    assert [one.lines[0].get_marker() for one in (first, second)] == ["o", "s"]
    assert [cap.get_markersize() for cap in first.lines[1]] == [4.0, 4.0]
    (ends,) = first.lines[2]
    assert [one[:, 1].tolist() for one in ends.get_segments()] == [
        pytest.approx([0.2, 0.5]),
        pytest.approx([0.15, 0.3]),
    ]
    assert ends.get_linewidth().tolist() == [1]
    (steps,) = [one for one in ax.get_lines() if one.get_zorder() == 0]
    # Equal to the best so far counts as best.
    assert steps.get_xdata().tolist() == [1.0, 2.0, 4.0]
    assert steps.get_ydata().tolist() == [0.3, 0.2, 0.2]
    assert (steps.get_linewidth(), steps.get_drawstyle()) == (1.0, "steps-post")


def test_the_explorer_is_laid_out() -> None:
    grid = [(t, m, k) for t in (16.0, 8.0) for m in (10.0, 100.0) for k in ("c_local", "c_quality")]
    curves = pd.DataFrame(grid, columns=["threshold", "mbps", "metric"]).assign(
        target=1e24, cost_usd=1_234_567.0, plan="p"
    )
    spec = plots.cost_explorer(curves).to_dict()
    assert (spec["width"], spec["height"]) == (480, 270)
    grey, chosen = spec["layer"]
    assert (grey["mark"]["point"], chosen["mark"]["point"]) == (False, True)
    code = chosen["encoding"]
    assert code["x"]["axis"]["values"] == [1e24, 3e24, 1e25, 3e25, 1e26]
    assert code["x"]["scale"] == {"type": "log"}
    assert code["y"]["scale"] == {"type": "log", "domain": [1, 100_000]}
    assert code["y"]["axis"]["values"] == [1, 10, 100, 1e3, 1e4, 1e5]
    both = ["16 H100, 100 Mbit/s", "as chosen"]
    assert code["color"]["scale"] == {"domain": both, "range": ["#767676", OURS]}
    assert code["strokeDash"]["scale"] == {"domain": both, "range": [[5, 3], [1, 0]]}
    assert code["color"]["legend"]["symbolSize"] == 400
    rows = [spec["datasets"][one["data"]["name"]] for one in (grey, chosen)]
    assert [len(one) for one in rows] == [2, 8]
    assert {row["cost"] for row in rows[1]} == {1.235}
    options = [one["bind"]["options"] for one in spec["params"]]
    assert options[:2] == [[16.0, 8.0], [10.0, 100.0]]


def test_a_share_above_one_takes_nothing() -> None:
    sure = evaluate([H100], 0, 2, 91e9, 0, assumptions=Assumptions(quality_shift=1.0))
    (ax,) = plots.decomposition_figure({"x": sure}).axes
    assert ax.containers[1].patches[0].get_width() == 0
