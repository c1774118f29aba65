"""Figures of the contract: staircases, power, and estimates with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lib.collapse_warning.contract import FPContract
from lib.collapse_warning.evaluate import Evaluation
from lib.core.figures import MARKERS, colors

__all__ = ["interval_figure", "power_figure", "staircase_figure"]


def staircase_figure(evaluations: Sequence[Evaluation]) -> Figure:
    """Draw the operating points of detectors with the band of their contract.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        At least one, all on one panel.
    """
    if not evaluations:
        raise ValueError("no evaluation given, expected at least one")
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
    band = evaluations[0].contract
    ax.axvspan(band.lo, band.hi, color="0.85", zorder=0, label="band of the contract")
    ax.plot([0, 1], [0, 1], color="0.5", lw=1, ls=":", label="chance")
    for one, color, marker in zip(evaluations, colors(len(evaluations)), MARKERS * 3, strict=False):
        table = one.stairs.to_frame()
        ax.step(table["fpr"], table["tpr"], where="post", color=color, lw=1.5, label=one.detector)
        if one.point is not None:
            share = one.false_alarms / one.stairs.n_controls
            low, high = one.tpr_interval
            ax.errorbar(
                share,
                one.point.tpr,
                [[one.point.tpr - low], [high - one.point.tpr]],
                color=color,
                marker=marker,
                capsize=3,
            )
    ax.set(
        xlabel="share of controls that alarm",
        ylabel="share of events that alarm",
        xlim=(-0.01, 1.01),
        ylim=(-0.02, 1.02),
    )
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    return fig


def power_figure(counts: Sequence[int], contract: FPContract | None = None) -> Figure:
    """Draw the probability that a detector of given false-alarm rate is accepted.

    Parameters
    ----------
    counts : sequence of int
        Numbers of controls, one curve each.
    contract : FPContract, optional
    """
    contract = contract or FPContract()
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    rates = np.linspace(0, 0.2, 201)
    ax.axvspan(contract.lo, contract.hi, color="0.85", zorder=0, label="band of the contract")
    styles = ("-", "--", "-.", ":")
    for n, color, style in zip(counts, colors(len(counts)), styles * 2, strict=False):
        power = [contract.accept_probability(rate, n) for rate in rates]
        ax.plot(rates, power, style, color=color, label=f"{n:,} controls")
    ax.set(
        xlabel="true share of controls that alarm",
        ylabel="probability of acceptance",
        xlim=(0, 0.2),
        ylim=(0, 1.02),
    )
    ax.legend(fontsize="small")
    return fig


def interval_figure(
    groups: Mapping[str, Mapping[str, tuple[float, float, float]]],
    xlabel: str,
    *,
    null: float | None = None,
) -> Figure:
    """Draw estimates with intervals, one row each.

    Parameters
    ----------
    groups : mapping of str to mapping of str to (point, low, high)
        Series (a colour and a marker) by name, rows by name.
    xlabel : str
    null : float, optional
        Where no effect is.
    """
    rows = list(dict.fromkeys(name for group in groups.values() for name in group))
    height = 1.2 + 0.42 * len(rows)
    fig: Figure
    fig, ax = plt.subplots(figsize=(7, height), layout="constrained")
    if null is not None:
        ax.axvline(null, color="0.5", lw=1, ls=":")
    offsets = np.linspace(-0.18, 0.18, len(groups)) if len(groups) > 1 else [0.0]
    for (name, group), color, marker, offset in zip(
        groups.items(), colors(len(groups)), MARKERS, offsets, strict=False
    ):
        at = np.array([rows.index(row) for row in group]) + offset
        points = np.array(list(group.values()))
        error = np.abs(points[:, 1:].T - points[:, 0])
        ax.errorbar(points[:, 0], at, xerr=error, fmt=marker, color=color, capsize=3, label=name)
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set_xlabel(xlabel)
    if len(groups) > 1:
        ax.legend(fontsize="small")
    return fig
