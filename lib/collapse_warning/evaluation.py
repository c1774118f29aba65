"""Run a detector on a panel under the contract and say what it is worth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.collapse_warning.contract import FPContract, OperatingPoint, Staircase, staircase
from lib.collapse_warning.detectors import AlwaysAlarm, Detector, Mirrored, Mode, NeverAlarm
from lib.collapse_warning.panel import Floats, Panel, check_labels, check_scores
from lib.core import check
from lib.stats import binomial, independent_shares

__all__ = [
    "Evaluation",
    "auc_interval",
    "evaluate",
    "evaluate_all",
    "evaluate_scores",
    "held_out",
    "holm",
    "ranks_within",
    "summary",
]

_DUMMIES = AlwaysAlarm(), NeverAlarm()
ACCEPTED = "accepted"
UNREACHABLE = "no count of controls lies in the band"
JUMPED = "ties jump over the band"
SILENT = "too few alarms to reach the band"


def auc_interval(
    auc: float, n_events: int, n_controls: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return a score interval of the area under the curve, wide where it is 0 or 1.

    Parameters
    ----------
    auc : float
        Share of pairs that the event wins, ties half.
    n_events, n_controls : int
    confidence : float

    References
    ----------
    Newcombe (2006), Statistics in Medicine 25, method 5: the values from which `auc` lies at most
    so many of their own standard errors away (Hanley and McNeil's, for exponential scores).

    Examples
    --------
    >>> tuple(round(x, 3) for x in auc_interval(1.0, 20, 20))
    (0.899, 1.0)
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    check.share("auc", auc)
    check.integer("n_events", n_events, at_least=1)
    check.integer("n_controls", n_controls, at_least=1)
    z = float(ndtri((1 + check.share("confidence", confidence, inside=True)) / 2))
    others = (n_events + n_controls) / 2 - 1

    def beyond(true: float) -> float:
        inflated = 1 + others * (1 - true) / (2 - true) + others * true / (1 + true)
        return (auc - true) ** 2 - z * z * true * (1 - true) * inflated / n_events / n_controls

    # At 0 and at 1 the difference vanishes as well: that root is not the one.
    low = 0.0 if auc == 0 else float(brentq(beyond, 0.0, min(auc, 1 - 1e-9)))
    high = 1.0 if auc == 1 else float(brentq(beyond, max(auc, 1e-9), 1.0))
    return low, high


def holm(p_values: Sequence[float]) -> Floats:
    """Return p-values adjusted by Holm's method, in the order given.

    Examples
    --------
    >>> holm([0.01, 0.04]).tolist()
    [0.02, 0.04]
    """
    p = check.shares("p_values", p_values, shape=("n",))
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one detector does under one contract.

    Parameters
    ----------
    detector : str
    contract : FPContract
    verdict : str
        ``accepted``, or why no threshold is.
    point : OperatingPoint or None
        The lowest threshold that the contract accepts: the one with most alarms.
    stairs : Staircase
        Every operating point.
    auc : float
        Probability that an event scores above a control, ties counted half.
    confidence : float
        Of the intervals; one less it is the level of the test.
    p_adjusted : float
        `p_value`, adjusted by Holm's method for all detectors that were evaluated together.
    alarms : DataFrame or None
        One row a unit: ``unit``, ``is_event``, ``alarm`` (number of the first step that alarms,
        from 0; missing if none does), ``lead`` (steps from there to the unit's last) and, where the
        panel has times, ``time``. None where only one score a unit was given or nothing is
        accepted.
    """

    detector: str
    contract: FPContract
    verdict: str
    point: OperatingPoint | None
    stairs: Staircase
    auc: float
    confidence: float
    p_adjusted: float
    alarms: pd.DataFrame | None = None

    @property
    def accepted(self) -> bool:
        """Whether a threshold keeps the contract."""
        return self.point is not None

    @property
    def false_alarms(self) -> int:
        """Alarmed controls at the accepted point, else 0."""
        return 0 if self.point is None else int(self.point.false_alarms)

    @property
    def hits(self) -> int:
        """Alarmed events at the accepted point, else 0."""
        return 0 if self.point is None else int(self.point.hits)

    @property
    def silent(self) -> int:
        """Units without any score, which no threshold makes alarm: too short, or without scale."""
        alarms = self.stairs.hits[-1] + self.stairs.false_alarms[-1]
        return int(self.stairs.n_events + self.stairs.n_controls - alarms)

    @property
    def tpr_interval(self) -> tuple[float, float]:
        """Exact interval of the share of events that alarm."""
        return binomial(self.hits, self.stairs.n_events, level=self.confidence).ends

    @property
    def auc_interval(self) -> tuple[float, float]:
        """Score interval of the area under the curve."""
        sizes = self.stairs.n_events, self.stairs.n_controls
        return auc_interval(self.auc, *sizes, self.confidence)

    @property
    def p_value(self) -> float:
        """Exact one-sided p-value: probability of so many hits if labels were dealt at random.

        The threshold is the lowest with at most `c` alarmed controls, the largest count in the
        band. Under random labels the number of events above the next control has a negative
        hypergeometric distribution, whose tail is Fisher's for `c` false alarms: no choice of the
        threshold is left unpaid. Where ties stop short of `c` the value is an upper bound.
        """
        from scipy.stats import hypergeom

        if self.point is None:
            return 1.0
        most = int(self.contract.reachable(self.stairs.n_controls)[-1])
        total = self.stairs.n_events + self.stairs.n_controls
        return float(hypergeom.sf(self.hits - 1, total, self.stairs.n_events, self.hits + most))

    @property
    def beats_chance(self) -> bool:
        """Accepted, and the adjusted p-value lies below one less the confidence."""
        return self.accepted and self.p_adjusted < 1 - self.confidence

    @property
    def leads(self) -> Floats:
        """Steps from the alarm to the unit's last step, for the events that are hit."""
        if self.alarms is None:
            return np.zeros(0)
        hit = self.alarms["is_event"] & self.alarms["lead"].notna()
        return self.alarms.loc[hit, "lead"].to_numpy(dtype=np.float64)

    def row(self) -> dict[str, object]:
        """Return the evaluation as one row of a table, intervals in brackets."""

        def with_interval(point: float, ends: tuple[float, float]) -> str:
            return f"{point:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"

        rate = self.hits / self.stairs.n_events
        lead = np.quantile(self.leads, [0, 0.5, 1]).tolist() if len(self.leads) else []
        return {
            "detector": self.detector,
            "verdict": self.verdict,
            "false alarms": self.false_alarms if self.accepted else "-",
            "hits": self.hits if self.accepted else "-",
            "hit rate": with_interval(rate, self.tpr_interval) if self.accepted else "-",
            "p": f"{self.p_value:.3f}" if self.accepted else "-",
            "p (Holm)": f"{self.p_adjusted:.3f}" if self.accepted else "-",
            "lead (steps)": "{1:g} [{0:g}, {2:g}]".format(*lead) if len(lead) else "-",
            "AUC": with_interval(self.auc, self.auc_interval),
        }

    def table(self) -> pd.DataFrame:
        """Return this row above those of two detectors without skill."""
        labels = np.r_[np.ones(self.stairs.n_events), np.zeros(self.stairs.n_controls)]
        dummies = [
            evaluate_scores(one(labels[:, None])[:, 0], labels, self.contract, name=one.name)
            for one in _DUMMIES
        ]
        return summary([self, *(replace(one, confidence=self.confidence) for one in dummies)])

    def __str__(self) -> str:
        share = f"{self.stairs.n_controls} controls, {self.stairs.n_events} events"
        share += f", {self.silent} of them without a score" if self.silent else ""
        if self.point is None:
            return f"{self.detector}: {self.verdict} ({share})"
        low, high = self.tpr_interval
        words = (
            f"{self.detector}: accepted with {self.false_alarms} false alarms and {self.hits} hits "
            f"({share}; hit rate {low:.3f} to {high:.3f}; p = {self.p_adjusted:.3g}"
        )
        lead = f"; median lead {np.median(self.leads):g} steps" if len(self.leads) else ""
        return f"{words}{lead})"


def evaluate_scores(
    score: npt.ArrayLike,
    is_event: npt.ArrayLike,
    contract: FPContract | None = None,
    *,
    name: str = "score",
    confidence: float = 0.95,
) -> Evaluation:
    """Evaluate one score a unit under the contract.

    Parameters
    ----------
    score : array-like, shape (n_units,)
        Higher means alarm; minus infinity means never.
    is_event : array-like of bool, shape (n_units,)
    contract : FPContract, optional
    name : str
    confidence : float

    Raises
    ------
    ValueError
        On NaN, shapes that do not fit, or if events or controls are missing.
    """
    from scipy.stats import rankdata

    contract = contract or FPContract()
    check.text("name", name)
    check.share("confidence", confidence, inside=True)
    scores = check_scores(score)
    labels = check_labels(is_event, len(scores))
    stairs = staircase(scores, labels)
    reachable = contract.reachable(stairs.n_controls)
    inside = np.flatnonzero(np.isin(stairs.false_alarms, reachable))
    point = None
    if not len(reachable):
        verdict = UNREACHABLE
    elif len(inside):
        verdict = ACCEPTED
        point = stairs.point(int(inside[-1]))
    else:
        verdict = SILENT if stairs.false_alarms[-1] < reachable[0] else JUMPED
    wins = rankdata(scores)[labels].sum() - stairs.n_events * (stairs.n_events + 1) / 2
    auc = float(wins / (stairs.n_events * stairs.n_controls))
    found = Evaluation(name, contract, verdict, point, stairs, auc, confidence, 1.0)
    return replace(found, p_adjusted=found.p_value)


def evaluate(
    panel: pd.DataFrame | Panel,
    detector: Detector,
    contract: FPContract | None = None,
    *,
    mode: Mode = "up",
    confidence: float = 0.95,
) -> Evaluation:
    """Evaluate a detector on a panel: verdict, test and alarm times.

    Parameters
    ----------
    panel : DataFrame or Panel
        A table with columns ``unit``, ``time``, ``value`` and ``is_event``, or a panel. All units
        have as many steps.
    detector : Detector
        For example ``detectors.Variance(30)``. A unit's score is its highest running score.
    contract : FPContract, optional
        By default the band of arXiv 2606.00329, 0.03 to 0.07.
    mode : {"up", "down", "both", "low"}
        Whether rises, falls or both alarm: that turns the series upside down, which a variance does
        not notice. With ``"low"`` a low score alarms, such as a variance that falls. See
        `detectors.Mirrored`.
    confidence : float
        Of all intervals; one less it is the level of the test.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the panel is not one (see `Panel.from_frame`), its units have different lengths, or the
        detector's scores do not fit it.

    Notes
    -----
    The test is exact where any unit might as well have been the event. Units of one day, user or
    sensor are more like each other than others: then the labels move in clusters, the p-value is
    too small, and only as many arrangements exist as there are ways to choose the clusters. That a
    detector is causal is its own promise; nothing here would notice one that reads the future.

    Nothing is detrended: where all units drift, sums and means see the drift, so take it out first.
    The level and the variance compare units in the unit of the values, all others do not.

    A longer unit has more chances to alarm: on white noise with 60 steps for events and 20 for
    controls, any detector seems to warn. So lengths that differ are refused; ``panel.last(n)`` and
    ``panel.first(n)`` cut them, and which of the two is right depends on the question.

    The threshold is set on the same controls whose alarms are counted: a hit rate in sample, whose
    test is exact all the same (`Evaluation.p_value`). Calibrate on one panel and evaluate on
    another to know what share of controls alarms later.

    Examples
    --------
    >>> from lib.collapse_warning.detectors import Level
    >>> rows = [(u, t, float(u < 2) * t, u < 2) for u in range(42) for t in range(3)]
    >>> frame = pd.DataFrame(rows, columns=["unit", "time", "value", "is_event"])
    >>> print(evaluate(frame, Level()))
    level: ties jump over the band (40 controls, 2 events)
    """
    data = panel if isinstance(panel, Panel) else Panel.from_frame(panel)
    _check_detector(detector)
    _check_lengths(data)
    chosen = detector if mode == "up" else Mirrored(detector, mode)
    # A copy, for a detector of the user's may work in place.
    values = data.values.copy()  # noqa: PD011
    running: Any = np.asarray(chosen(values), dtype=np.float64)
    if running.shape != values.shape:
        raise ValueError(
            f"detector {detector.name}: scores have shape {running.shape}, expected {values.shape}"
        )
    if (wrong := ~(running < np.inf)).any():
        unit, shown = data.units[np.argmax(wrong.any(axis=1))], running[wrong][0]
        words = f"detector {detector.name}: unit {unit!r} has a score {shown}"
        raise ValueError(f"{words}, expected a number, or minus infinity where it cannot alarm")
    found = evaluate_scores(
        running.max(axis=1), data.is_event, contract, name=chosen.name, confidence=confidence
    )
    if found.point is None:
        return found
    return replace(found, alarms=_alarms(data, running >= found.point.threshold))


def _check_detector(detector: object) -> None:
    if isinstance(detector, type):
        raise ValueError(f"detector is the class {detector.__name__}, expected an instance of it")
    if not isinstance(detector, Detector):
        raise ValueError(f"detector is {detector!r:.80}, expected a Detector with a name")


def _check_lengths(data: Panel) -> None:
    if data.lengths.min() != data.lengths.max():
        events, controls = data.lengths[data.is_event], data.lengths[~data.is_event]
        raise ValueError(
            f"panel: events have {_span(events)} steps and controls {_span(controls)}, expected as "
            "many for all, for a longer unit has more chances to alarm; cut them with "
            "panel.last(n) or panel.first(n)"
        )


def _span(lengths: npt.NDArray[np.intp]) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _alarms(panel: Panel, over: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Return the first step that alarms, and how many are left to the unit's last, by unit."""
    alarmed = np.asarray(over.any(axis=1), dtype=np.bool_)
    first = np.argmax(over, axis=1)
    table = pd.DataFrame(
        {
            "unit": panel.units,
            "is_event": panel.is_event,
            "alarm": pd.array(first, dtype="Int64"),
            "lead": pd.array(panel.lengths - 1 - first, dtype="Int64"),
        }
    )
    if panel.times is not None:
        times = [one[at] for one, at in zip(panel.times, first, strict=True)]
        table["time"] = pd.Series(times).where(alarmed)
    table.loc[~alarmed, ["alarm", "lead"]] = pd.NA
    return table


def evaluate_all(
    panel: pd.DataFrame | Panel,
    detectors: Iterable[Detector],
    contract: FPContract | None = None,
    *,
    mode: Mode = "up",
    confidence: float = 0.95,
) -> list[Evaluation]:
    """Evaluate several detectors, and after them the two without skill.

    Parameters
    ----------
    panel, contract, mode, confidence
        As in `evaluate`.
    detectors : iterable of Detector
        At least one; p-values are adjusted for their number.

    Returns
    -------
    list of Evaluation
        ``summary`` makes a table of them.
    """
    data = panel if isinstance(panel, Panel) else Panel.from_frame(panel)
    given = list(detectors)
    if not given:
        raise ValueError("detectors is empty, expected at least one")
    found = [evaluate(data, one, contract, mode=mode, confidence=confidence) for one in given]
    adjusted = holm([one.p_value for one in found]).tolist()
    return [
        *(replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True)),
        *(evaluate(data, one, contract, confidence=confidence) for one in _DUMMIES),
    ]


def summary(evaluations: Iterable[Evaluation]) -> pd.DataFrame:
    """Return one row an evaluation."""
    rows = [one.row() for one in evaluations]
    if not rows:
        raise ValueError("evaluations is empty, expected at least one")
    return pd.DataFrame(rows).set_index("detector")


def held_out(
    panel: Panel, seed: int, *, share: float = 0.07, n_halves: int = 20
) -> dict[str, tuple[float, float, float]]:
    """Set the threshold on one half of the units and judge it on the other, both ways round.

    Which units are in the panel must have been known when the score was: a unit that is left out
    for what became of it later makes the difference look larger or smaller than it is.

    Parameters
    ----------
    panel : Panel
        Its highest value is the score. At least two events and two controls, as many steps each.
    seed : int
        Of the halves.
    share : float
        Most controls that may alarm in the half where the threshold is set: it is the lowest such.
        Below 1.
    n_halves : int
        Ways to cut events and controls in two.

    Returns
    -------
    dict
        ``events``, ``controls`` and ``difference``: share that alarms in the half that did not set
        the threshold, with a 95 % interval. Each number is the median over the halves.

    Notes
    -----
    Intervals are exact for a share and made of exact ones for the difference. On noise with 7, 18
    or 22 events against some 350 controls that of the difference lay above 0 in one to two of a
    hundred panels and never below; a bootstrap of the units lay below 0 in two of five at 7 events,
    for no hit among few has no spread.
    """
    check.integer("seed", seed, at_least=0)
    check.number("share", share, at_least=0, below=1)
    n_events = check.integer("n_events", panel.n_events, at_least=2)
    n_controls = check.integer("n_controls", panel.n_controls, at_least=2)
    _check_lengths(panel)
    check.integer("n_halves", n_halves, at_least=1)
    rng = np.random.default_rng(seed)
    score, labels = panel.values.max(axis=1), panel.is_event  # noqa: PD011

    counts = []
    for _ in range(n_halves):
        halves = [np.array_split(rng.permutation(score[labels == one]), 2) for one in (1, 0)]
        # Alarms lie above the first control that may not alarm any more.
        first, second = (np.sort(one)[::-1][int(share * len(one))] for one in halves[1])
        alarms = [int((a > second).sum() + (b > first).sum()) for a, b in halves]
        counts.append((alarms[0], alarms[1]))
    judged = {
        (hits, false): (
            binomial(hits, n_events),
            binomial(false, n_controls),
            independent_shares(hits, n_events, false, n_controls, method="exact"),
        )
        for hits, false in set(counts)
    }
    rows = np.median([[(x.value, *x.ends) for x in judged[one]] for one in counts], axis=0)
    return dict(zip(("events", "controls", "difference"), map(tuple, rows.tolist()), strict=True))


def ranks_within(
    score: npt.ArrayLike,
    is_event: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    n_permutations: int = 9999,
    seed: int = 0,
) -> tuple[float, float]:
    """Say whether a score ranks events higher than others of their group, over all thresholds.

    Parameters
    ----------
    score : array-like, shape (n_units,)
        Higher means alarm; minus infinity means never.
    is_event : array-like of bool, shape (n_units,)
    groups : array-like, shape (n_units,)
        Units that are alike in something known beforehand.
    n_permutations, seed : int
        Labels dealt out anew within the groups.

    Returns
    -------
    auc : float
        Probability that an event scores above a control of its own group, ties counted half: of
        all such pairs of the panel. Units of other groups are never compared.
    p_value : float
        One-sided: share of dealings, the true one included, with an area as large.

    Raises
    ------
    ValueError
        As `evaluate_scores`; and if a unit has no group, or no group holds units of both classes.

    Examples
    --------
    >>> ranks_within([1, 2, 8, 9], [0, 1, 0, 1], ["a", "a", "b", "b"], n_permutations=999)[0]
    1.0
    """
    scores = check_scores(score)
    labels = check_labels(is_event, len(scores))
    check.same_length(score=scores, groups=np.asarray(groups))
    codes, _ = pd.factorize(np.asarray(groups))
    if (codes < 0).any():
        raise ValueError(f"groups[{int(np.argmin(codes))}] is missing, expected a group")
    check.integer("n_permutations", n_permutations, at_least=99)
    rng = np.random.default_rng(check.integer("seed", seed, at_least=0))
    rank = pd.Series(scores).groupby(codes).rank().to_numpy()
    in_groups, size = labels[np.argsort(codes, kind="stable")], np.bincount(codes)
    events = np.bincount(codes, weights=labels)
    pairs = float(events @ (size - events))
    if not pairs:
        raise ValueError("groups: no group holds an event and a control, expected one at least")
    extreme = 1
    for _ in range(n_permutations):
        order = np.lexsort((rng.random(len(codes)), codes))
        extreme += bool(rank[order][in_groups].sum() >= rank[labels].sum())
    wins = float(rank[labels].sum() - events @ (events + 1) / 2)
    return wins / pairs, extreme / (1 + n_permutations)
