"""What every figure draws: its size, its axes, its words, each mark, and the tree of the page."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.core.figures import MARKERS, PALETTE, colors
from lib.semantic_ids.hashing import PrefixHash
from lib.semantic_ids.intervals import Estimate
from lib.semantic_ids.study import figures as plots
from lib.semantic_ids.study.interactive import node_table, tree_explorer

GREY, BLACK = PALETTE["grey"], PALETTE["black"]
PREFIXES = np.array([[a, b] for a in range(6) for b in range(7)])
SIZES = [4, 8, 32]
HASHES = {
    name: {size: PrefixHash(2, 2, 2, size, seed=seed) for size in SIZES}
    for seed, name in enumerate(["ours", "other"])
}
FILLED = {name: by_size[32] for name, by_size in HASHES.items()}
SUMMARY = pd.DataFrame(
    {
        "catalogue": ["a", "a", "b", "b", "c", "c"],
        "level": [1, 2] * 3,
        "entropy": [2.0, 1.0, np.nan, 3.0, 5.0, 4.0],
        "code use": [0.9, 0.8, 0.7, 0.95, 0.85, 0.75],
    }
)
COUNTED = {
    "A": ([0.1, 0.5], [(0.0, 0.2), (0.3, 0.6)], [0.2, 0.7]),
    "B": ([0.3, 0.4], [(0.2, 0.5), (0.4, 0.4)], [0.5, 0.6]),
}


def at(value, below=0.1, above=0.2):
    return Estimate(value, value - below, value + above)


ARMS = {
    "table": [at(0.1), at(0.2)], "flat": [at(0.3), at(0.4)], "ours": [at(0.5), at(0.6)],
}  # fmt: skip
CURVES = {
    "flat": {4: [0.3, 0.5], 1: [0.1, 0.2]},
    "ours": {1: [0.2, 0.4], 4: [0.6, 0.7]},
    "flat, trie": {1: [0.5, 0.6], 4: [0.8, 0.9]},
}
RECALLS = {"flat": {10: at(0.4), 5: at(0.2)}, "ours": {5: at(0.3), 10: at(0.5)}}
FIGURES = {
    "share": lambda: plots.share_figure([2, 3, 4], [1.0, 0.4, 0.0], 50),
    "collision": lambda: plots.collision_figure(PREFIXES, SIZES, HASHES),
    "fill": lambda: plots.fill_figure(PREFIXES, FILLED, bins=4),
    "entropy": lambda: plots.entropy_figure(SUMMARY, {"a": "An A", "b": "A B", "c": "A C"}),
    "count": lambda: plots.count_figure(COUNTED),
    "accuracy": lambda: plots.accuracy_figure({"short": ARMS, "long": ARMS}),
    "curve": lambda: plots.curve_figure(CURVES, [0.25, 0.45]),
    "recall": lambda: plots.recall_figure({"short": RECALLS, "long": RECALLS}),
}


def hexes(lines):
    return [mpl.colors.to_hex(one.get_color()) for one in lines]


def names(legend):
    return [one.get_text() for one in legend.get_texts()]


def ticks(axis):
    return axis.get_ticklocs().tolist(), [one.get_text() for one in axis.get_ticklabels()]


def bars_of(container):
    """Return ends of the vertical bars of an errorbar, ``(n, 2)``."""
    return np.array([one[:, 1] for one in container.lines[2][0].get_segments()])


@pytest.mark.parametrize(
    ("name", "size", "panels"),
    [
        *(("share", (7, 3.2), 1), ("collision", (7, 3.4), 2), ("fill", (7, 3.0), 2)),
        *(("entropy", (7, 3.6), 2), ("count", (7, 3.8), 1), ("accuracy", (7, 3.4), 2)),
        *(("curve", (7.4, 2.9), 2), ("recall", (7, 3.4), 2)),
    ],
)
def test_sizes_and_panels(name, size, panels) -> None:
    fig = FIGURES[name]()
    assert fig.get_size_inches().tolist() == pytest.approx(size)
    assert len(fig.axes) == panels
    if panels == 2:
        left, right = fig.axes
        shared = left.get_shared_y_axes().joined(left, right)
        assert shared == (name in ("fill", "accuracy", "curve", "recall"))
        assert left.get_position().x0 < right.get_position().x0
        assert left.get_position().y0 == pytest.approx(right.get_position().y0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("share", [("", "codes of a level, K", "share of random maps represented", "")]),
        (
            "collision",
            [
                ("one head", "rows of a table, T", "share beyond the first of its row", "x"),
                ("all heads together", "rows of a table, T", "share confused by all heads", "x"),
            ],
        ),
        (
            "entropy",
            [
                ("what the prefix leaves open", "level", "entropy given the prefix, bits", ""),
                ("how evenly codes are used", "level", "use of the code book", ""),
            ],
        ),
        ("count", [("", "level", "accuracy on last items", "")]),
        ("accuracy", [("short", "", "teacher-forced accuracy (%)", ""), ("long", "", "", "")]),
        ("curve", [("level 1", "step", "accuracy (%)", "x"), ("level 2", "step", "", "x")]),
        (
            "recall",
            [
                ("short", "length of the list", "recall of the whole ID (%)", "x"),
                ("long", "length of the list", "", "x"),
            ],
        ),
    ],
)
def test_words_and_scales(name, expected) -> None:
    def words(ax):
        logs = "".join(n for n in "xy" if getattr(ax, f"get_{n}scale")() == "log")
        title = ax.get_title(loc="left") or ax.get_title()
        return title, ax.get_xlabel(), ax.get_ylabel(), logs

    assert [words(ax) for ax in FIGURES[name]().axes] == expected


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("share", (-0.03, 1.08), None),
        ("collision", (0, 1), None),
        ("fill", (0, 1), (0, 1)),
        ("entropy", (0, 8.3), (0.6, 1.02)),
        ("count", (0, 1.05), None),
    ],
)
def test_limits(name, first, second) -> None:
    axes = FIGURES[name]().axes
    assert axes[0].get_ylim() == pytest.approx(first)
    if second:
        assert axes[1].get_ylim() == pytest.approx(second)


def test_vertical_axes_begin_at_nothing() -> None:
    for name in ("accuracy", "curve", "recall"):
        low, high = FIGURES[name]().axes[0].get_ylim()
        assert low == 0
        assert 60 < high < 100
    bottom, _ = FIGURES["collision"]().axes[1].get_ylim()
    assert bottom == -0.0005


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("share", ["a sum of one term for each code", "one row for each prefix"]),
        ("collision", ["random function", "ours", "other"]),
        ("count", ["A", "B", "best without the user"]),
    ],
)
def test_the_legend_of_the_first_panel(name, entries) -> None:
    assert sorted(names(FIGURES[name]().axes[0].get_legend())) == sorted(entries)


def test_the_other_panel_of_collisions_has_its_own_legend() -> None:
    assert names(FIGURES["collision"]().axes[1].get_legend()) == ["ours", "other"]


@pytest.mark.parametrize(
    ("name", "entries", "columns"),
    [
        ("entropy", ["An A", "A B", "A C"], 3),
        ("accuracy", ["table", "flat", "ours"], 3),
        ("curve", ["flat", "ours", "flat, trie", "count table"], 5),
        ("recall", ["flat", "ours"], 3),
    ],
)
def test_the_legend_below(name, entries, columns) -> None:
    (legend,) = FIGURES[name]().legends
    assert names(legend) == entries
    assert legend._ncols == columns


def test_shares_stand_with_their_wilson_intervals() -> None:
    (ax,) = FIGURES["share"]().axes
    (container,) = ax.containers
    assert container.lines[0].get_xdata().tolist() == [2, 3, 4]
    assert container.lines[0].get_ydata().tolist() == [1.0, 0.4, 0.0]
    found = bars_of(container)
    for row, hits in zip(found, (50, 20, 0), strict=True):
        known = stats.binomtest(hits, 50).proportion_ci(method="wilson")
        assert row.tolist() == pytest.approx([known.low, known.high], abs=2e-5)
    assert [one.get_markersize() for one in container.lines[1]] == [6, 6]  # twice the cap's size
    rows = ax.get_lines()[-1]
    assert rows.get_ydata().tolist() == [1, 1, 1]
    assert rows.get_marker() == "s"
    assert ticks(ax.xaxis)[0] == [2, 3, 4]


def test_collisions_by_head_and_by_all_heads() -> None:
    left, right = FIGURES["collision"]().axes
    formula, *measured = left.get_lines()
    size = formula.get_xdata()
    assert len(size) == 200
    assert (size[0], size[-1]) == pytest.approx((4 / 1.5, 48))
    assert np.diff(np.log(size)).std() < 1e-9
    rows = np.round(size)
    expected = 1 - rows * (1 - (1 - 1 / rows) ** 42) / 42
    assert formula.get_ydata().tolist() == pytest.approx(expected.tolist())
    assert hexes([formula]) == [GREY]
    assert len(measured) == 6
    assert [one.get_label() for one in measured[::3]] == ["ours", "other"]
    assert [one.get_marker() for one in measured] == ["o"] * 3 + ["s"] * 3
    assert {one.get_alpha() for one in measured} == {0.7}
    assert hexes(measured) == [colors(2)[0]] * 3 + [colors(2)[1]] * 3
    for (name, by_size), line, first in zip(HASHES.items(), right.get_lines(), (0, 3), strict=True):
        assert line.get_xdata().tolist() == SIZES
        for n, one in enumerate(SIZES):
            table = by_size[one].index(PREFIXES)[:, 1, 1]  # (42, heads)
            each = [1 - len(set(head)) / 42 for head in table.T.tolist()]
            assert measured[first + n].get_xdata().tolist() == [one] * 2
            assert measured[first + n].get_ydata().tolist() == pytest.approx(each)
            pairs = list(map(tuple, table.tolist()))
            same = sum(pairs.count(pair) > 1 for pair in pairs) / 42
            assert line.get_ydata()[n] == pytest.approx(same)
        assert line.get_label() == name
    assert max(one.get_ydata().max() for one in right.get_lines()) > 0.5
    assert hexes(right.get_lines()) == colors(2)


def test_stretches_of_a_table_are_filled_as_counted() -> None:
    fig = FIGURES["fill"]()
    for ax, (name, hashing), colour in zip(fig.axes, FILLED.items(), colors(2), strict=True):
        heads = hashing.index(PREFIXES)[:, 1, 1]
        rows = set(heads[:, 0].tolist())
        assert rows != set(heads[:, 1].tolist())
        wanted = [sum(row // 8 == part for row in rows) / 8 for part in range(4)]
        assert [one.get_height() for one in ax.patches] == pytest.approx(wanted)
        assert [one.get_x() for one in ax.patches] == [0, 8, 16, 24]
        assert {one.get_width() for one in ax.patches} == {8}
        assert {mpl.colors.to_hex(one.get_facecolor()) for one in ax.patches} == {colour}
        (line,) = ax.get_lines()
        assert line.get_ydata()[0] == pytest.approx(1 - (31 / 32) ** 42)
        assert (line.get_linewidth(), line.get_linestyle()) == (1, "--")
        assert hexes([line]) == [BLACK]
        title = ax.get_title(loc="left") or ax.get_title()
        assert title == f"{name}\n{len(rows)} rows filled"
        assert ticks(ax.xaxis)[0] == [0, 32]
        assert ax.get_xlabel() == "row"
    assert [ax.get_ylabel() for ax in fig.axes] == ["share of rows filled", ""]
    alone = plots.fill_figure(PREFIXES, {"ours": FILLED["ours"]})
    assert len(alone.axes[0].patches) == 32
    assert alone.axes[0].patches[0].get_width() == 1


def test_entropy_is_drawn_where_it_is_known() -> None:
    left, right = FIGURES["entropy"]().axes
    assert [one.get_label() for one in left.get_lines()] == ["An A", "A C"]
    assert [one.get_ydata().tolist() for one in left.get_lines()] == [[2, 1], [5, 4]]
    assert [one.get_ydata().tolist() for one in right.get_lines()] == [
        [0.9, 0.8], [0.7, 0.95], [0.85, 0.75],
    ]  # fmt: skip
    assert hexes(right.get_lines()) == colors(3)
    assert hexes(left.get_lines()) == [colors(3)[0], colors(3)[2]]
    assert [one.get_marker() for one in right.get_lines()] == list(MARKERS[:3])
    assert all(one.get_xdata().tolist() == [1, 2] for one in right.get_lines())
    assert [ticks(ax.xaxis)[0] for ax in (left, right)] == [[1, 2, 3, 4]] * 2


def test_bars_of_catalogues_stand_around_their_level() -> None:
    (ax,) = FIGURES["count"]().axes
    bars = ax.patches
    assert [one.get_x() + one.get_width() / 2 for one in bars] == pytest.approx(
        [0.8, 1.8, 1.2, 2.2]
    )
    assert [one.get_width() for one in bars] == pytest.approx([0.36] * 4)
    assert [one.get_height() for one in bars] == [0.1, 0.5, 0.3, 0.4]
    assert [mpl.colors.to_hex(one.get_facecolor()) for one in bars] == np.repeat(
        colors(2), 2
    ).tolist()
    ranges = [one for one in ax.containers if hasattr(one, "has_yerr")]
    assert np.concatenate([bars_of(one) for one in ranges]).ravel().tolist() == pytest.approx(
        [0.0, 0.2, 0.3, 0.6, 0.2, 0.5, 0.4, 0.4]
    )
    assert {cap.get_markersize() for one in ranges for cap in one.lines[1]} == {4}
    assert {one.lines[2][0].get_linewidth()[0] for one in ranges} == {1}
    dashes = [one for one in ax.get_lines() if one.get_marker() == "_" and len(one.get_xdata())]
    dashes = [one for one in dashes if one.get_markersize() == 11]
    assert [one.get_ydata().tolist() for one in dashes] == [[0.2, 0.7], [0.5, 0.6]]
    assert np.concatenate([one.get_xdata() for one in dashes]).tolist() == pytest.approx(
        [0.8, 1.8, 1.2, 2.2]
    )
    assert ticks(ax.xaxis)[0] == [1, 2, 3, 4]


def test_arms_stand_beside_each_other_in_per_cent() -> None:
    for ax in FIGURES["accuracy"]().axes:
        lines = [one.lines[0] for one in ax.containers]
        assert hexes(lines) == [GREY, *colors(2)]
        assert [one.get_marker() for one in lines] == list(MARKERS[:3])
        third = 0.8 / 3
        assert np.array([one.get_xdata() for one in lines]).ravel().tolist() == pytest.approx(
            [-third, 1 - third, 0, 1, third, 1 + third]
        )
        assert np.array([one.get_ydata() for one in lines]).ravel().tolist() == pytest.approx(
            [10, 20, 30, 40, 50, 60]
        )
        ends = bars_of(ax.containers[1])
        assert ends.ravel().tolist() == pytest.approx([20, 50, 30, 60])
        assert {cap.get_markersize() for one in ax.containers for cap in one.lines[1]} == {4}
        assert ticks(ax.xaxis) == ([0, 1], ["level 1", "level 2"])
        assert len(ax.containers) == 3


def test_one_arm_or_eight_have_their_marks() -> None:
    alone = plots.accuracy_figure({"a": {"x": [at(0.5)]}}).axes[0].containers
    assert hexes([alone[0].lines[0]]) == [GREY]
    many = plots.accuracy_figure({"a": {f"x{n}": [at(0.5)] for n in range(8)}}).axes[0].containers
    assert [one.lines[0].get_marker() for one in many] == [*MARKERS, MARKERS[0]]
    assert hexes([one.lines[0] for one in many]) == [GREY, *colors(7)]


def test_accuracy_over_training_with_the_table_as_a_line() -> None:
    for level, ax in enumerate(FIGURES["curve"]().axes):
        *lines, table = ax.get_lines()
        assert [one.get_xdata().tolist() for one in lines] == [[1, 4]] * 3
        wanted = [[10, 30], [20, 60], [50, 80]] if level == 0 else [[20, 50], [40, 70], [60, 90]]
        assert [one.get_ydata().tolist() for one in lines] == [pytest.approx(w) for w in wanted]
        assert hexes(lines) == [*colors(2), colors(2)[0]]
        assert [(one.get_marker(), one.get_linestyle()) for one in lines] == [
            ("o", "-"), ("s", "-"), ("o", "--"),
        ]  # fmt: skip
        assert table.get_ydata()[0] == pytest.approx((25, 45)[level])
        assert (hexes([table]), table.get_linestyle()) == ([GREY], "--")
        assert table.get_linewidth() == 1.2
    with pytest.raises(ValueError, match="zip"):  # more arms than there are markers
        plots.curve_figure({f"x{n}": {1: [0.1, 0.2]} for n in range(8)}, [0.1, 0.2])


def test_recall_by_length_of_the_list() -> None:
    for ax in FIGURES["recall"]().axes:
        lines = [one.lines[0] for one in ax.containers]
        assert hexes(lines) == colors(2)
        assert [one.get_marker() for one in lines] == ["o", "s"]
        assert lines[0].get_xdata().tolist() == pytest.approx([5 * 0.985, 10 * 0.985])
        assert lines[1].get_xdata().tolist() == pytest.approx([5 * 1.015, 10 * 1.015])
        assert [one.get_ydata().tolist() for one in lines] == [
            pytest.approx([20, 40]), pytest.approx([30, 50]),
        ]  # fmt: skip
        assert bars_of(ax.containers[0]).ravel().tolist() == pytest.approx([10, 40, 30, 60])
        assert {cap.get_markersize() for one in ax.containers for cap in one.lines[1]} == {4}
        assert ticks(ax.xaxis) == ([5, 10], ["5", "10"])
        assert len(ax.xaxis.get_minorticklocs()) == 0


# ── the tree ────────────────────────────────────────────────────────────────────────────────────
# Test items below the first codes 0 to 5: 4, 1, 0, 3, 2, 3.
TARGETS = np.array(
    [
        [3, 1, 0], [0, 1, 0], [0, 1, 1], [5, 0, 0], [0, 2, 0], [3, 1, 1], [4, 0, 0], [0, 2, 1],
        [1, 3, 0], [3, 2, 1], [5, 0, 1], [4, 0, 1], [5, 1, 1],
    ]
)  # fmt: skip
NAMES = list("ABCDEFGHIJKLM")
RIGHT = {
    "b": (TARGETS == [3, 1, 0]).astype(bool),
    "a": (TARGETS < [1, 1, 1]).astype(bool),
}


def test_subtrees_are_kept_by_rank_on_a_logarithmic_scale() -> None:
    """Ranks: 0 (four items), 3 and 5 (three each, the lower first), 4, 1; of 3.3 the third."""
    for n_first, kept in ((1, [0]), (2, [0, 1]), (3, [0, 1, 3]), (5, [0, 1, 3, 5])):
        found = node_table(TARGETS, RIGHT, n_codes=6, n_first=n_first)
        assert sorted(found["first"].unique()) == kept
    assert len(node_table(TARGETS, RIGHT, n_codes=6)["first"].unique()) == 4
    wide = np.column_stack([np.arange(20), np.zeros(20, int)])
    assert node_table(wide, {"a": wide > 0}, n_codes=20)["first"].nunique() == len(
        {round(20 ** (i / 11)) for i in range(12)}
    )


def test_nodes_have_their_place_among_the_items_of_their_subtree() -> None:
    found = node_table(TARGETS, RIGHT, n_codes=6, names=NAMES).set_index("prefix")
    assert found.index.tolist() == [
        "0", "1", "3", "5", "0-1", "0-2", "1-3", "3-1", "3-2", "5-0", "5-1",
    ]  # fmt: skip
    assert found["items"].tolist() == [4, 1, 3, 3, 2, 2, 1, 2, 1, 2, 1]
    assert found["length"].tolist() == [1] * 4 + [2] * 7
    assert found["left"].tolist() == pytest.approx([0] * 4 + [0, 0.5, 0, 0, 2 / 3, 0, 2 / 3])
    assert found["right"].tolist() == pytest.approx([1] * 4 + [0.5, 1, 1, 2 / 3, 1, 2 / 3, 1])
    # Right about the second code after one, about the third after two.
    assert found["b"].tolist() == pytest.approx([0.5, 0, 2 / 3, 1 / 3, 0.5, 0.5, 1, 0.5, 0, 0.5, 0])
    assert found["a"].tolist() == pytest.approx([0, 0, 0, 2 / 3, 0.5, 0.5, 1, 0.5, 0, 0.5, 0])
    assert found.loc["0", "names"] == "B; C; E", "three of the four"
    assert found.loc["3-2", "names"] == "J"
    small = node_table(TARGETS, RIGHT, n_codes=6, min_items=2)
    assert small["prefix"].tolist() == ["0", "3", "5", "0-1", "0-2", "3-1", "5-0"]


def test_names_of_as_many_as_there_are_and_limits_of_one() -> None:
    with pytest.raises(ValueError, match="14 names for 13 test items"):
        node_table(TARGETS, RIGHT, n_codes=6, names=[*NAMES, "N"])
    with pytest.raises(ValueError, match="n_first is 12 and min_items 0"):
        node_table(TARGETS, RIGHT, n_codes=6, min_items=0)


def test_the_chart_of_the_tree() -> None:
    chart = tree_explorer(TARGETS, RIGHT, n_codes=6).to_dict()
    top, bottom = chart["vconcat"]
    assert (top["width"], top["height"]) == (520, 110)
    assert (bottom["width"], bottom["height"]) == (520, 130)
    (rows,) = chart["datasets"].values()
    # Two items at least: nodes of one item are left out.
    assert [row["p"] for row in rows] == ["0", "3", "5", "0-1", "0-2", "3-1", "5-0"]
    first, last = rows[0], rows[-1]
    assert (last["f"], last["l"], last["n"], last["x"], last["y"]) == (5, 2, 2, 0, 0.667)
    assert rows[1] == {
        "f": 3, "l": 1, "p": "3", "n": 3, "x": 0, "y": 1, "a0": 0.67, "a1": 0,
    }  # fmt: skip
    assert set(first) == {"f", "l", "p", "n", "x", "y", "a0", "a1"}
    params = {one["name"]: one for one in chart["params"]}
    assert params["who"]["value"] == "a0"
    assert params["who"]["bind"]["options"] == ["a0", "a1"]
    assert params["who"]["bind"]["labels"] == ["b", "a"]
    assert params["subtree"]["value"] == [{"f": 0}]
    # Most items first, of equals the lower code.
    assert params["subtree"]["bind"]["options"] == [0, 3, 5]
    assert params["subtree"]["bind"]["labels"][:2] == ["0 (4 test items)", "3 (3 test items)"]
    assert params["subtree"]["select"] == {"type": "point", "fields": ["f"], "on": "click"}
    encoding = top["encoding"]
    assert encoding["color"]["scale"] == {"domain": [0, 1], "scheme": "cividis"}
    assert encoding["strokeWidth"] == {"value": 2.5}
    assert encoding["stroke"]["condition"]["empty"] is False
    assert encoding["y"]["scale"] == {"type": "sqrt"}
    assert [one["field"] for one in encoding["tooltip"]] == ["p", "n", "accuracy"]
    assert bottom["encoding"]["x"]["scale"] == {"domain": [0, 1]}
    assert bottom["encoding"]["color"] == encoding["color"]
    assert bottom["mark"] == {"type": "rect", "stroke": "#fcfcfc", "strokeWidth": 0.5}
    assert top["mark"] == {"type": "bar", "cursor": "pointer"}
    filters = [str(one) for one in top["transform"]]
    assert any("datum.l == 1" in one for one in filters)


def test_the_chart_has_twelve_subtrees_unless_told_otherwise() -> None:
    many = np.column_stack([np.repeat(np.arange(400), 2), np.zeros(800, int)])
    rows = {}
    for n_first in (11, 12, 13):
        chart = tree_explorer(many, {"a": many > 0}, n_codes=400, n_first=n_first).to_dict()
        (rows[n_first],) = (len(one) for one in chart["datasets"].values())
    chart = tree_explorer(many, {"a": many > 0}, n_codes=400).to_dict()
    (usual,) = (len(one) for one in chart["datasets"].values())
    assert usual == rows[12]
    assert rows[11] < rows[12] < rows[13]
