"""Figures of the chapter: arms with their intervals, and latencies under load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib.core import check
from lib.core.figures import MARKERS, SIZE, colors
from lib.unified_ranking.study.experiment import Estimate
from lib.unified_ranking.study.load import Comparison

__all__ = ["arms_figure", "load_figure"]


def arms_figure(
    rows: Mapping[str, Sequence[Estimate]],
    budgets: Sequence[str],
    *,
    label: str,
    line: float | None = None,
    line_label: str = "",
) -> Figure:
    """Draw estimates by arm, with one mark a budget.

    Parameters
    ----------
    rows : mapping of str to sequence of Estimate
        By arm, one for each budget.
    budgets : sequence of str
    label : str
        Of the axis.
    line : float, optional
        Where to draw a line of reference, such as chance or no difference.
    line_label : str
    """
    if not rows:
        raise ValueError("rows is empty, expected an arm or more")
    for name, found in rows.items():
        if len(found) != len(budgets):
            raise ValueError(f"{name!r} has {len(found)} estimates, expected {len(budgets)}")
    fig: Figure
    fig, ax = plt.subplots(figsize=(SIZE[0], 1.2 + 0.38 * len(rows)))
    shade, places = colors(len(budgets)), np.arange(len(rows))
    for at, budget in enumerate(budgets):
        ends = [row[at] for row in rows.values()]
        value = np.array([one.value for one in ends])
        bars = [value - [one.low for one in ends], [one.high for one in ends] - value]
        shift = places + 0.18 * (at - (len(budgets) - 1) / 2)
        ax.errorbar(
            value, shift, xerr=np.clip(bars, 0, None), fmt=MARKERS[at], color=shade[at],
            capsize=3, label=budget,
        )  # fmt: skip
    if line is not None:
        ax.axvline(line, color="0.5", linestyle="--", label=line_label or None)
    ax.set(xlabel=label, yticks=places, yticklabels=list(rows))
    ax.invert_yaxis()
    ax.legend()
    return fig


def load_figure(comparison: Comparison) -> Figure:
    """Draw which share of requests was answered within how long, for both stacks at one rate.

    Parameters
    ----------
    comparison : Comparison
    """
    check.array("ratios", comparison.ratios, shape=("rounds",))
    fig: Figure
    fig, ax = plt.subplots(figsize=(SIZE[0], 3.2))
    names = "one model, shared cache", "two models"
    for at, (name, shade, style) in enumerate(zip(names, colors(2), ("-", "--"), strict=True)):
        found = np.sort(np.concatenate([pair[at].latencies for pair in comparison.loads]))
        share = np.arange(1, len(found) + 1) / len(found)
        ax.step(1000 * found, share, where="post", color=shade, linestyle=style, label=name)
    ax.set(xlabel="latency, ms", ylabel="share of requests answered", xscale="log")
    ax.legend()
    return fig
