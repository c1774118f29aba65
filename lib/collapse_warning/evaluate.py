"""Run a detector on a panel under the contract and say what it is worth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.collapse_warning.contract import FPContract, OperatingPoint, Staircase, staircase
from lib.collapse_warning.detectors import AlwaysAlarm, Detector, NeverAlarm
from lib.collapse_warning.panel import Floats, Panel, check_labels, check_scores

__all__ = [
    "Evaluation",
    "binomial_interval",
    "evaluate",
    "evaluate_all",
    "evaluate_scores",
    "summary",
]

ACCEPTED = "accepted"
UNREACHABLE = "no count of controls lies in the band"
JUMPED = "ties jump over the band"
SILENT = "too few alarms to reach the band"


def binomial_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a share.

    Parameters
    ----------
    count, total : int
        ``0 <= count <= total`` and ``total >= 1``.
    confidence : float
        Between 0 and 1.

    Examples
    --------
    >>> tuple(round(x, 4) for x in binomial_interval(0, 10))
    (0.0, 0.3085)
    """
    from scipy.stats import beta

    if total < 1 or not 0 <= count <= total:
        raise ValueError(f"{count} of {total}: expected 0 <= count <= total, total at least 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1")
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(1 - tail, count + 1, total - count))
    return low, high


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
        The accepted point with most hits (the highest threshold among equals).
    stairs : Staircase
        Every operating point.
    auc : float
        Probability that an event scores above a control, ties counted half.
    auc_interval : tuple of float
        Percentile interval over units drawn with replacement, events and controls apart.
    confidence : float
    """

    detector: str
    contract: FPContract
    verdict: str
    point: OperatingPoint | None
    stairs: Staircase
    auc: float
    auc_interval: tuple[float, float]
    confidence: float

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
    def tpr_interval(self) -> tuple[float, float]:
        """Exact interval of the share of events that alarm."""
        return binomial_interval(self.hits, self.stairs.n_events, self.confidence)

    @property
    def fpr_interval(self) -> tuple[float, float]:
        """Exact interval of the share of controls that alarm."""
        return binomial_interval(self.false_alarms, self.stairs.n_controls, self.confidence)

    @property
    def p_value(self) -> float:
        """Fisher's exact p-value, one-sided: events alarm no more often than controls."""
        from scipy.stats import hypergeom

        if self.point is None:
            return 1.0
        total = self.stairs.n_events + self.stairs.n_controls
        alarms = self.hits + self.false_alarms
        return float(hypergeom.sf(self.hits - 1, total, self.stairs.n_events, alarms))

    @property
    def beats_chance(self) -> bool:
        """Accepted, and the interval of the hit rate lies above the share of alarmed controls."""
        share = self.false_alarms / self.stairs.n_controls
        return self.accepted and self.tpr_interval[0] > share

    def row(self) -> dict[str, object]:
        """Return the evaluation as one row of a table, intervals in brackets."""

        def with_interval(point: float, ends: tuple[float, float]) -> str:
            return f"{point:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"

        rate = self.hits / self.stairs.n_events
        return {
            "detector": self.detector,
            "verdict": self.verdict,
            "false_alarms": self.false_alarms if self.accepted else "-",
            "hits": self.hits if self.accepted else "-",
            "hit_rate": with_interval(rate, self.tpr_interval) if self.accepted else "-",
            "beats_chance": self.beats_chance,
            "auc": with_interval(self.auc, self.auc_interval),
        }

    def table(self) -> pd.DataFrame:
        """Return this row above those of two detectors without skill."""
        labels = np.r_[np.ones(self.stairs.n_events), np.zeros(self.stairs.n_controls)]
        dummies = [
            evaluate_scores(np.full(len(labels), level), labels, self.contract, name=name)
            for name, level in ((AlwaysAlarm().name, 0.0), (NeverAlarm().name, -np.inf))
        ]
        return pd.DataFrame([one.row() for one in (self, *dummies)]).set_index("detector")

    def __str__(self) -> str:
        share = f"{self.stairs.n_controls} controls, {self.stairs.n_events} events"
        if self.point is None:
            return f"{self.detector}: {self.verdict} ({share})"
        low, high = self.tpr_interval
        return (
            f"{self.detector}: accepted with {self.false_alarms} false alarms and {self.hits} hits "
            f"({share}; hit rate {low:.3f} to {high:.3f})"
        )


def _auc(scores: Floats, labels: npt.NDArray[np.bool_]) -> float:
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    n_events, n_controls = int(labels.sum()), int((~labels).sum())
    return float((ranks[labels].sum() - n_events * (n_events + 1) / 2) / (n_events * n_controls))


def _auc_interval(
    scores: Floats,
    labels: npt.NDArray[np.bool_],
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> tuple[float, float]:
    events, controls = scores[labels], scores[~labels]
    # Wins of every event over every control once; a resample only reweights rows and columns.
    order = np.searchsorted(np.sort(controls), events, side="left")
    upto = np.searchsorted(np.sort(controls), events, side="right")
    if n_bootstrap < 1:
        raise ValueError(f"n_bootstrap is {n_bootstrap}, expected at least 1")
    rng = np.random.default_rng(seed)
    rank = np.argsort(np.argsort(controls, kind="stable"), kind="stable")
    aucs = np.empty(n_bootstrap)
    for b in range(n_bootstrap):
        weight = np.bincount(
            rank[rng.integers(len(controls), size=len(controls))], minlength=len(controls)
        )
        below = np.r_[0, np.cumsum(weight)]
        drawn = rng.integers(len(events), size=len(events))
        aucs[b] = (below[order[drawn]] + below[upto[drawn]]).mean() / 2 / len(controls)
    tail = (1 - confidence) / 2
    low, high = np.quantile(aucs, [tail, 1 - tail])
    return float(low), float(high)


def evaluate_scores(
    score: npt.ArrayLike,
    is_event: npt.ArrayLike,
    contract: FPContract | None = None,
    *,
    name: str = "score",
    confidence: float = 0.95,
    n_bootstrap: int = 2000,
    seed: int = 0,
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
    n_bootstrap, seed : int
        Of the interval of the AUC.

    Raises
    ------
    ValueError
        On NaN, shapes that do not fit, or if events or controls are missing.
    """
    contract = contract or FPContract()
    scores = check_scores(score)
    labels = check_labels(is_event, len(scores))
    stairs = staircase(scores, labels)
    reachable = contract.reachable(stairs.n_controls)
    inside = np.isin(stairs.false_alarms, reachable)
    point = None
    if not len(reachable):
        verdict = UNREACHABLE
    elif inside.any():
        verdict = ACCEPTED
        # The threshold of infinity has no alarm; it is a point only if the band holds zero.
        best = int(np.argmax(np.where(inside, stairs.hits, -1)))
        hits = int(stairs.hits[best])
        point = OperatingPoint(
            float(stairs.thresholds[best]),
            int(stairs.false_alarms[best]),
            hits,
            hits / stairs.n_events,
            int(stairs.tied_controls[best]),
            int(stairs.tied_events[best]),
        )
    else:
        verdict = SILENT if stairs.false_alarms[-1] < reachable[0] else JUMPED
    return Evaluation(
        name,
        contract,
        verdict,
        point,
        stairs,
        _auc(scores, labels),
        _auc_interval(scores, labels, n_bootstrap, confidence, seed),
        confidence,
    )


def evaluate(
    panel: pd.DataFrame | Panel,
    detector: Detector,
    contract: FPContract | None = None,
    *,
    confidence: float = 0.95,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a detector on a panel: verdict, intervals, and a plot on request.

    Parameters
    ----------
    panel : DataFrame or Panel
        A table with columns ``unit``, ``time``, ``value`` and ``is_event``, or a panel.
    detector : Detector
        For example ``detectors.Variance(30)``. A unit's score is its highest running score.
    contract : FPContract, optional
        By default the band of arXiv 2606.00329, 0.03 to 0.07.
    confidence : float
        Of all intervals.
    n_bootstrap, seed : int
        Of the interval of the AUC.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If the panel is not one (see `Panel.from_frame`), or the detector's scores do not fit it.

    Notes
    -----
    The threshold is set on the same controls whose alarms are counted, and among the thresholds
    that keep the contract the one with most hits is taken: a hit rate in sample. Calibrate on one
    panel and evaluate on another to know what it is worth.

    Examples
    --------
    >>> from lib.collapse_warning.detectors import Level
    >>> rows = [(u, t, float(u < 2) * t, u < 2) for u in range(42) for t in range(3)]
    >>> frame = pd.DataFrame(rows, columns=["unit", "time", "value", "is_event"])
    >>> print(evaluate(frame, Level()))
    level: ties jump over the band (40 controls, 2 events)
    """
    data = panel if isinstance(panel, Panel) else Panel.from_frame(panel)
    return evaluate_scores(
        data.peak(detector(data.values)),
        data.is_event,
        contract,
        name=detector.name,
        confidence=confidence,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )


def evaluate_all(
    panel: pd.DataFrame | Panel,
    detectors: Iterable[Detector],
    contract: FPContract | None = None,
    *,
    confidence: float = 0.95,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> list[Evaluation]:
    """Evaluate several detectors, and after them the two without skill.

    Parameters
    ----------
    panel, contract, confidence, n_bootstrap, seed
        As in `evaluate`.
    detectors : iterable of Detector

    Returns
    -------
    list of Evaluation
        ``summary`` makes a table of them.
    """
    data = panel if isinstance(panel, Panel) else Panel.from_frame(panel)
    return [
        evaluate(data, one, contract, confidence=confidence, n_bootstrap=n_bootstrap, seed=seed)
        for one in (*detectors, AlwaysAlarm(), NeverAlarm())
    ]


def summary(evaluations: Iterable[Evaluation]) -> pd.DataFrame:
    """Return one row an evaluation."""
    return pd.DataFrame([one.row() for one in evaluations]).set_index("detector")
