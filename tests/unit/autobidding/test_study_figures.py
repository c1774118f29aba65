"""Figures of the empirical notebook: what they draw, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.autobidding.study.figures import (
    change_figure,
    curve_figure,
    draw_curves,
    promise_figure,
    share_figure,
)

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


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


def test_a_missing_rule_is_named() -> None:
    with pytest.raises(ValueError, match=r"no row of 'third'; there are \['first'\]"):
        draw_curves(plt.figure().gca(), _curves("first"), {"third": ("x", "blue", "o")})


def test_promise_has_four_runs() -> None:
    summary = _curves("collected", "delivered", "cpa").rename(
        columns={"rule": "measure", "revenue": "mean"}
    )
    names = ("other half", "shuffled features", "empirical Bayes", "same half")
    left, right = promise_figure(dict.fromkeys(names, summary)).axes
    assert len(left.get_legend().get_texts()) == 2
    assert len(right.get_legend().get_texts()) == 4


def test_shares_are_annotated_in_percent() -> None:
    shares = pd.DataFrame(
        {
            "bidders": [2, 2, 3, 3],
            "fine": [2, 64, 2, 64],
            "coarse": [1, 8, 1, 8],
            "event": "spa_falls",
            "share": [0.25, 1.0, 0.5, 0.0],
        }
    )
    ax = share_figure(shares, {"spa_falls": "title"}).axes[0]
    assert [text.get_text() for text in ax.texts] == ["25", "100", "50", "0"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2 / 1", "64 / 8"]


def test_changes_fill_the_bars() -> None:
    ax = change_figure(np.array([-0.1, 0.0, -1e-12, 0.9]), "title", "label").axes[0]
    heights = {round(bar.get_x()): bar.get_height() for bar in ax.patches if bar.get_height()}
    assert heights == {-10: 25.0, 0: 50.0, 58: 25.0}
