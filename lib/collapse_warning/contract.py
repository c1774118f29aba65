"""The matched false-positive contract: what may be accepted, and what can be reached at all.

A detector gives each unit a score; a threshold turns scores into alarms. The contract of arXiv
2606.00329 accepts an operating point if and only if the share of alarmed controls lies in a band
around 5 %. With few controls, or with tied scores, the band may hold no point that a detector can
reach, whatever its merit; the classes here say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.collapse_warning.panel import Bools, Floats, Ints, check_labels, check_scores
from lib.core import check

__all__ = ["FPContract", "OperatingPoint", "Staircase", "at_count", "staircase"]


@dataclass(frozen=True)
class FPContract:
    """A band for the share of alarmed controls, ends included.

    Parameters
    ----------
    lo, hi : float
        Shares in [0, 1], ``lo < hi``. The defaults are those of arXiv 2606.00329, Section 4.

    Raises
    ------
    ValueError
        If the ends are not such shares.

    Examples
    --------
    >>> FPContract().reachable(38)
    array([2])
    >>> FPContract().accepts(2, 38), FPContract().accepts(3, 38)
    (True, False)
    """

    lo: float = 0.03
    hi: float = 0.07

    def __post_init__(self) -> None:
        check.share("lo", self.lo)
        check.share("hi", self.hi)
        if not self.lo < self.hi:
            raise ValueError(f"lo is {self.lo} and hi {self.hi}, expected lo < hi")

    def accepts(self, count: int, n_controls: int) -> bool:
        """Say whether `count` alarmed controls of `n_controls` lie in the band.

        The comparison is exact: the ends are read as the decimals they are written as.
        """
        _check_count(count, n_controls)
        share = Fraction(int(count), int(n_controls))
        return Fraction(str(self.lo)) <= share <= Fraction(str(self.hi))

    def reachable(self, n_controls: int) -> Ints:
        """Return the counts of alarmed controls that lie in the band, shape (n_reachable,)."""
        _check_count(0, n_controls)
        low = math.ceil(Fraction(str(self.lo)) * int(n_controls))
        high = math.floor(Fraction(str(self.hi)) * int(n_controls))
        return np.arange(low, high + 1, dtype=np.intp)

    def accept_probability(self, rate: float, n_controls: int) -> float:
        """Return the probability that a detector of true false-alarm rate `rate` is accepted.

        Controls are taken to alarm independently, so the count is binomial.

        Parameters
        ----------
        rate : float
            In [0, 1].
        n_controls : int
            At least 1.

        Examples
        --------
        >>> round(FPContract().accept_probability(0.5, 38), 6)
        0.0
        """
        from scipy.stats import binom

        check.share("rate", rate)
        return float(binom.pmf(self.reachable(n_controls), n_controls, rate).sum())


def _check_count(count: int, n_controls: int) -> None:
    check.integer("n_controls", n_controls, at_least=1)
    check.integer("count", count, at_least=0, at_most=n_controls)


@dataclass(frozen=True, eq=False)
class Staircase:
    """Every operating point of a score, from the highest threshold to the lowest.

    An alarm is a score at or above the threshold. The first point has threshold infinity and no
    alarm.

    Parameters
    ----------
    thresholds : ndarray, shape (n_steps,)
        Falling.
    false_alarms, hits : ndarray of int, shape (n_steps,)
        Alarmed controls and events at each threshold; neither ever falls.
    tied_controls, tied_events : ndarray of int, shape (n_steps,)
        Units whose score equals the threshold: the block that is taken or left as a whole.
    n_controls, n_events : int
    """

    thresholds: Floats
    false_alarms: Ints
    hits: Ints
    tied_controls: Ints
    tied_events: Ints
    n_controls: int
    n_events: int

    def point(self, at: int, block: int | None = None) -> OperatingPoint:
        """Return the step `at`, beside it the ties of the step `block`, by default its own."""
        tied = at if block is None else block
        return OperatingPoint(
            float(self.thresholds[at]),
            float(self.false_alarms[at]),
            float(self.hits[at]),
            float(self.hits[at] / self.n_events),
            int(self.tied_controls[tied]),
            int(self.tied_events[tied]),
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row an operating point, with the shares ``fpr`` and ``tpr``."""
        return pd.DataFrame(
            {
                "threshold": self.thresholds,
                "false_alarms": self.false_alarms,
                "hits": self.hits,
                "tied_controls": self.tied_controls,
                "tied_events": self.tied_events,
                "fpr": self.false_alarms / self.n_controls,
                "tpr": self.hits / self.n_events,
            }
        )


def staircase(score: npt.ArrayLike, is_event: npt.ArrayLike) -> Staircase:
    """Return every operating point of one score a unit.

    Parameters
    ----------
    score : array-like, shape (n_units,)
        Higher means alarm; minus infinity means never.
    is_event : array-like of bool, shape (n_units,)

    Raises
    ------
    ValueError
        On NaN, shapes that do not fit, or if events or controls are missing.

    Examples
    --------
    >>> staircase([3, 2, 2, 1], [True, True, False, False]).false_alarms
    array([0, 0, 1, 2])
    """
    scores = check_scores(score)
    labels = check_labels(is_event, len(scores))
    levels, block = np.unique(scores, return_inverse=True)
    tied_events = np.bincount(block, weights=labels, minlength=len(levels)).astype(np.intp)
    tied_controls = np.bincount(block, weights=~labels, minlength=len(levels)).astype(np.intp)
    # Minus infinity is no threshold: a unit without a score cannot be made to alarm.
    keep = np.isfinite(levels)
    events, controls = (np.r_[0, one[keep][::-1]] for one in (tied_events, tied_controls))
    return Staircase(
        np.r_[np.inf, levels[keep][::-1]],
        np.cumsum(controls),
        np.cumsum(events),
        controls,
        events,
        int((~labels).sum()),
        int(labels.sum()),
    )


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold of a score and what it does.

    Parameters
    ----------
    threshold : float
        Alarm at or above it.
    false_alarms, hits : float
        Alarmed controls and events; whole numbers unless ties were taken in expectation.
    tpr : float
        Share of events that alarm.
    tied_controls, tied_events : int
        Size of the block of equal scores at the threshold.
    """

    threshold: float
    false_alarms: float
    hits: float
    tpr: float
    tied_controls: int
    tied_events: int


def at_count(
    score: npt.ArrayLike,
    is_event: npt.ArrayLike,
    count: int,
    *,
    ties: Literal["strict", "expected", "by_id"] = "strict",
    ids: Sequence[object] | None = None,
) -> OperatingPoint:
    """Return the operating point with a wanted number of alarmed controls.

    Parameters
    ----------
    score : array-like, shape (n_units,)
    is_event : array-like of bool, shape (n_units,)
    count : int
        Alarmed controls wanted, 0 to the number of controls.
    ties : {"strict", "expected", "by_id"}
        What to do when `count` falls inside a block of equal scores. ``strict`` stops before the
        block. ``expected`` takes controls of the block at random and counts the hits that come
        with them on average. ``by_id`` takes units of the block in the order of their ids: it
        reaches the count, and says nothing about skill.
    ids : sequence, shape (n_units,)
        Needed for ``by_id``; unique and sortable.

    Returns
    -------
    OperatingPoint

    Raises
    ------
    ValueError
        On NaN, shapes that do not fit, a count above the number of controls, or ids that are
        missing or not unique.

    Notes
    -----
    In ``by_id`` order the alarm list is cut at the `count`-th control: events after it do not
    alarm, even if they stand before the next control. In expectation an event of the block stands
    before the `c`-th of its `n` controls with probability ``c / (n + 1)``.

    Examples
    --------
    >>> score, is_event = [2, 1, 1, 1], [True, True, False, False]
    >>> at_count(score, is_event, 1).hits
    1.0
    >>> round(at_count(score, is_event, 1, ties="expected").hits, 3)
    1.333
    """
    scores = check_scores(score)
    labels = check_labels(is_event, len(scores))
    _check_count(count, int((~labels).sum()))
    check.known("ties", ties, ("strict", "expected", "by_id"))
    if ties == "by_id":
        return _cut_by_id(scores, labels, count, ids)
    steps = staircase(scores, labels)
    # The last step that does not exceed the count.
    at = int(np.searchsorted(steps.false_alarms, count, side="right")) - 1
    taken, hits = float(steps.false_alarms[at]), float(steps.hits[at])
    inside = at + 1 < len(steps.thresholds) and taken < count
    if ties == "strict" or not inside:
        return steps.point(at, at + inside)
    block = at + 1
    hits += float(steps.tied_events[block] * (count - taken) / (steps.tied_controls[block] + 1))
    return replace(
        steps.point(block), false_alarms=float(count), hits=hits, tpr=hits / steps.n_events
    )


def _cut_by_id(
    scores: Floats, labels: Bools, count: int, ids: Sequence[object] | None
) -> OperatingPoint:
    """Cut the list of units, by falling score and rising id, at its `count`-th control."""
    if ids is None or len(ids) != len(scores) or len(set(ids)) != len(scores):
        raise ValueError("ids: expected one unique id a unit for ties='by_id'")
    if count == 0:
        return OperatingPoint(math.inf, 0.0, 0.0, 0.0, 0, 0)
    rank = pd.Series(list(ids)).rank(method="first").to_numpy()
    order = np.lexsort((rank, -scores))
    last = int(np.searchsorted(np.cumsum(~labels[order]), count))
    hits = float(labels[order[: last + 1]].sum())
    threshold = scores[order[last]]
    tied = scores == threshold
    return OperatingPoint(
        float(threshold),
        float(count),
        hits,
        hits / int(labels.sum()),
        int((tied & ~labels).sum()),
        int((tied & labels).sum()),
    )
