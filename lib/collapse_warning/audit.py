"""A label-leak audit for early-warning benchmarks.

A benchmark tells how early a detector warns only if the series it watches does not already hold
the label. The audit asks four questions of a panel: does one value settle the label, lying above,
below, inside or outside some limits; do the events end alike; is there a state that units enter and
never leave; and do lengths tell events from controls? Each answer has a p-value under exchangeable
labels, and all four together raise a false alarm in at most five of a hundred panels without any
tie between series and label.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from lib.collapse_warning.panel import Bools, Floats, Ints, Panel, check_flags
from lib.core import check

__all__ = ["LeakReport", "LeakTest", "label_leak"]

_SAME = 1e-6
"""Values that differ by less than this share of the usual distance are alike."""


@dataclass(frozen=True)
class LeakTest:
    """One question of the audit and its answer.

    Parameters
    ----------
    kind : str
        ``value``, ``ends``, ``state`` or ``length``.
    found : str
        What there is, in words.
    strong : bool
        Whether it would settle the label for all units but the tolerated few. Lengths need not:
        a longer unit has more chances to alarm, so any difference beyond chance is a leak.
    p_value : float
        Probability of as much under exchangeable labels; 1 where it is not strong.
    """

    kind: str
    found: str
    strong: bool
    p_value: float


@dataclass(frozen=True)
class LeakReport:
    """What the audit found.

    Parameters
    ----------
    n_events, n_controls : int
    tests : tuple of LeakTest
    alpha : float
        Probability of any false alarm: each test has its share of it.
    unlabelable : float
        Share of controls that could not have become events; NaN where eligibility is not given.
    """

    n_events: int
    n_controls: int
    tests: tuple[LeakTest, ...]
    alpha: float
    unlabelable: float

    def leak(self, kind: str) -> bool:
        """Whether the test of this kind finds a leak."""
        check.known("kind", kind, [one.kind for one in self.tests])
        level = self.alpha / len(self.tests)
        return any(t.kind == kind and t.strong and t.p_value <= level for t in self.tests)

    @property
    def leaks(self) -> bool:
        """Whether any test finds the label in the series, or in its length."""
        return any(self.leak(one.kind) for one in self.tests)

    def findings(self) -> list[str]:
        """Return the leaks in words."""
        words = [one.found for one in self.tests if self.leak(one.kind)]
        if self.unlabelable > 0:
            words.append(f"{self.unlabelable:.1%} of controls could not have become events")
        return words or ["no leak of these kinds"]

    def table(self) -> pd.DataFrame:
        """Return one row a test: what was found, the p-value, and whether it is a leak."""
        return pd.DataFrame(
            [
                (t.kind, t.found, f"{t.p_value:.4f}", "yes" if self.leak(t.kind) else "no")
                for t in self.tests
            ],
            columns=["question", "found", "p", "leak"],
        ).set_index("question")

    def __str__(self) -> str:
        return "; ".join(self.findings())


def label_leak(
    panel: pd.DataFrame | Panel,
    *,
    eligible: Bools | None = None,
    tail: int = 7,
    tolerance: float = 0.05,
    alpha: float = 0.05,
    n_permutations: int = 1999,
    seed: int = 0,
) -> LeakReport:
    """Audit a panel for a label that is written into its series.

    Parameters
    ----------
    panel : DataFrame or Panel
        A table with columns ``unit``, ``time``, ``value``, ``is_event``, or a panel. Series are
        aligned at their ends, and where their lengths differ at their starts as well. A step that
        only longer units have is asked of those.
    eligible : ndarray of bool, shape (n_units,), optional
        Whether each unit could have become an event, in the order of the panel's units.
    tail : int
        Steps before the end that count as a unit's end, at least 2.
    tolerance : float
        Share of the smaller class that may lie on the wrong side, at least one unit: a label with a
        flipped unit is a label still.
    alpha : float
        Probability that a panel without a leak is called one.
    n_permutations, seed : int
        Random arrangements of the labels, drawn only where lengths differ.

    Returns
    -------
    LeakReport

    Raises
    ------
    ValueError
        If the panel is not one, or `eligible` does not fit it, or contradicts it.

    Notes
    -----
    A finding is no proof of a leak: a strong warning separates the classes too. It says where to
    look, and whether what stands there was known before the label was. With fewer than six units
    of a class there may be too few arrangements for any answer.

    Examples
    --------
    >>> series = [[0, 0, 1, 2, 3]] * 6 + [[0, 1, 0, 1, 0]] * 6
    >>> label_leak(Panel.from_series(series, [True] * 6 + [False] * 6), tail=3).leak("ends")
    True
    """
    data = panel if isinstance(panel, Panel) else Panel.from_frame(panel)
    check.integer("tail", tail, at_least=2)
    check.share("tolerance", tolerance)
    check.share("alpha", alpha, inside=True)
    check.integer("n_permutations", n_permutations, at_least=99)
    check.integer("seed", seed, at_least=0)
    unlabelable = float("nan")
    if eligible is not None:
        able = check_flags("eligible", eligible, data.n_units)
        if not able[data.is_event].all():
            raise ValueError("eligible is false for an event, expected true")
        unlabelable = float((~able[~data.is_event]).mean())
    ends = data.last(min(tail, int(data.lengths.min()))).values  # noqa: PD011
    allowed = _allowed(tolerance, data.is_event)
    tests = (
        _value(data, tolerance),
        _alike(ends, data, allowed),
        _state(data, allowed),
        _length(data, n_permutations, np.random.default_rng(seed)),
    )
    return LeakReport(data.n_events, data.n_controls, tests, alpha, unlabelable)


def _allowed(tolerance: float, labels: Bools) -> int:
    """Return how many units may lie on the wrong side."""
    return max(1, int(tolerance * min(labels.sum(), (~labels).sum())))


def _value(data: Panel, tolerance: float) -> LeakTest:
    """Ask whether one value, so many steps before the end, settles the label by its size.

    Steps that only longer units have are asked of these, and paid for as all others are.
    """
    edges = [0, *np.unique(data.lengths).tolist()]
    sides = ("before the end", "after the start")[: len(edges) - 1]
    found: list[tuple[float, int, int, LeakTest]] = []
    for low, high in pairwise(edges):
        some = np.flatnonzero(data.lengths >= high)
        labels, steps = data.is_event[some], np.arange(low, high)
        if labels.all() or not labels.any():
            break
        of = f"of {len(some)} " if low else ""
        for side, at in zip(sides, (data.lengths[some, None] - 1 - steps, steps), strict=False):
            errors = _errors(data.values[some[:, None], at], labels)  # noqa: PD011
            wrong, step = int(errors.min()), low + int(errors.argmin())
            text = (
                f"one value, {step} steps {side}, separates the classes but for {wrong} {of}units"
            )
            strong = wrong <= _allowed(tolerance, labels)
            chance = _chance(int(labels.sum()), int((~labels).sum()), wrong) if strong else 1.0
            p_value = min(1.0, edges[-1] * len(sides) * chance)
            found.append((p_value, low, wrong, LeakTest("value", text, strong, p_value)))
    return min(found, key=lambda one: one[:3])[3]


def _errors(values: Floats, labels: Bools) -> Ints:
    """Return the fewest units on the wrong side of an interval of values, by column.

    Events lie inside and controls outside, or the other way round; a threshold is an interval that
    reaches to an end.
    """
    order = np.argsort(values, axis=0, kind="stable")
    ranked = np.take_along_axis(values, order, axis=0)
    # Controls less events below each limit; limits lie between different values only.
    walk = np.cumsum(np.where(labels[order], -1, 1), axis=0)
    walk = np.vstack([np.zeros_like(walk[:1]), walk])
    limit = np.ones(walk.shape, dtype=bool)
    limit[1:-1] = np.diff(ranked, axis=0) > 0
    n_units = len(labels)
    highest = np.maximum.accumulate(np.where(limit, walk, -n_units), axis=0)
    lowest = np.minimum.accumulate(np.where(limit, walk, n_units), axis=0)
    inside = labels.sum() + np.where(limit, walk - highest, 0)
    outside = (~labels).sum() - np.where(limit, walk - lowest, 0)
    return np.asarray(np.minimum(inside, outside).min(axis=0))


def _chance(n_events: int, n_controls: int, errors: int) -> float:
    """Bound the probability that a column without a tie to the label has so few errors.

    It is at most the sum, over all intervals of ranks, of the probability that this one has. Ties
    only take intervals away.
    """
    from scipy.stats import hypergeom

    n_units = n_events + n_controls
    size = np.arange(1, n_units + 1)
    # Controls inside an interval that reaches to an end are events inside the other one.
    counted = (n_events, n_units + 1 - size), (n_controls, np.maximum(0, n_units - 1 - size))
    return sum(
        # Of one class `hits` lie inside: errors are the others of it, and the other class inside.
        float(hypergeom.sf(np.ceil((n + size - errors) / 2) - 1, n_units, n, size) @ intervals)
        for n, intervals in counted
    )


def _near(distances: Floats) -> float:
    """Return the distance up to which values are alike; a few outliers do not change it."""
    apart = distances[distances > 0]
    return _SAME * float(np.quantile(apart, 0.9, method="lower")) if apart.size else 0.0


def _alike(ends: Floats, data: Panel, allowed: int) -> LeakTest:
    """Ask whether the events end with the same values, and controls do not."""
    from scipy.stats import hypergeom

    events = ends[data.is_event]
    apart = np.abs(ends - np.median(events, axis=0)).max(axis=1)
    like = np.asarray(apart <= _near(apart[~data.is_event]), dtype=np.bool_)
    n_like, hits = int(like.sum()), int(like[data.is_event].sum())
    p_value = float(hypergeom.sf(hits - 1, data.n_units, n_like, data.n_events))
    words = (
        f"{hits} of {data.n_events} events end with the same {ends.shape[1]} values, "
        f"{n_like - hits} of {data.n_controls} controls with them"
    )
    strong = hits >= data.n_events - allowed and data.n_events > allowed + 1
    return LeakTest("ends", words, strong, p_value if strong else 1.0)


def _state(data: Panel, allowed: int) -> LeakTest:
    """Ask whether hardly anybody comes back who left the resting value, and the events left it.

    The resting value is the first value of most units; where none is, there is no such state.
    """
    from scipy.stats import hypergeom

    values = data.values  # noqa: PD011
    starts, counts = np.unique(values[:, 0], return_counts=True)
    rest = starts[int(np.argmax(counts))]
    apart = np.abs(values - rest)
    away = apart > _near(apart)
    away &= np.arange(away.shape[1]) < data.lengths[:, None]
    left = away.any(axis=1)
    steps = away.sum(axis=1)
    # Whoever left and stayed away is away from the first such step to the last of the unit's own.
    stayed = left & (steps == data.lengths - np.argmax(away, axis=1))
    hits = int(left[data.is_event].sum())
    words = (
        f"{stayed.sum()} of {left.sum()} units that left the resting value stayed away; "
        f"{hits} of {data.n_events} events left it, {left.sum() - hits} of {data.n_controls} "
        "controls"
    )
    strong = (
        counts.max() > data.n_units / 2
        and int((left & ~stayed).sum()) <= allowed
        and hits >= data.n_events - allowed
    )
    p_value = float(hypergeom.sf(hits - 1, data.n_units, int(left.sum()), data.n_events))
    return LeakTest("state", words, strong, p_value if strong else 1.0)


def _length(data: Panel, n_permutations: int, rng: np.random.Generator) -> LeakTest:
    """Ask whether lengths differ between events and controls."""
    events, controls = data.lengths[data.is_event], data.lengths[~data.is_event]
    words = (
        f"events have {events.min()} to {events.max()} steps, "
        f"controls {controls.min()} to {controls.max()}"
    )
    if data.lengths.min() == data.lengths.max():
        return LeakTest("length", words, False, 1.0)
    order = np.argsort(data.lengths, kind="stable")
    last = np.append(np.diff(data.lengths[order]) > 0, True)

    def apart(labels: Bools) -> int:
        """Largest difference of the shares of both classes in an interval (Kuiper)."""
        walk = np.where(labels, data.n_controls, -data.n_events)[order].cumsum()[last]
        return int(walk.max() - walk.min())

    observed = apart(data.is_event)
    extreme = sum(apart(rng.permutation(data.is_event)) >= observed for _ in range(n_permutations))
    return LeakTest("length", words, True, (1 + extreme) / (1 + n_permutations))
