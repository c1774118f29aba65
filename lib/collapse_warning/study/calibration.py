"""The recommender's comparator tables, explained from one integer a unit.

In the frozen replay a miss changes nothing, so every later step misses too (theory page). The
comparators' series is therefore zero up to the last hit and then climbs by one eighth a step: a
unit is known from its length and its number of trailing misses. The frozen detectors are run here
on these few possible series; everything else is counting.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from lib.collapse_warning.contract import FPContract
from lib.collapse_warning.panel import Bools, Floats
from lib.collapse_warning.study import artefacts
from lib.core import check

__all__ = [
    "CONFIGURATIONS",
    "STREAK",
    "Explanation",
    "alarm",
    "envelope",
    "explain",
    "figure7",
    "gain_brackets",
    "miss_series",
    "peak_score",
    "published",
    "summary_points",
    "summary_rows",
]

STREAK = 8
"""Misses in a row that make a collapse (frozen contract); the series saturates there."""

CONFIGURATIONS: tuple[tuple[str, dict[str, float]], ...] = tuple(
    (family, dict(zip(names, values, strict=True)))
    for family, names, grids in (
        ("variance_ews", ("window", "threshold"), ((5, 9, 13), (0.005, 0.01, 0.02, 0.04, 0.08))),
        ("ac1", ("window", "threshold"), ((5, 9, 13), (0.3, 0.5, 0.7, 0.85, 0.95))),
        ("cusum", ("k", "h"), ((0.02, 0.05, 0.1), (0.2, 0.4, 0.6, 0.8, 1.0))),
        ("page_hinkley", ("delta", "threshold"), ((0.005, 0.01, 0.02), (0.1, 0.2, 0.4, 0.6, 0.8))),
        ("matrix_profile", ("window", "threshold"), ((4, 5, 6, 7, 8), (0.2, 0.3, 0.4, 0.5, 0.6))),
        (
            "permutation_entropy",
            ("order", "delay", "threshold"),
            ((3, 4), (1, 2), (0.2, 0.35, 0.5, 0.65, 0.8)),
        ),
    )
    for values in itertools.product(*grids)
)
"""Family and parameters of the 105 frozen comparator configurations."""

_FLAT = 1e-12
_ROUNDING = 1e-9


def miss_series(length: int, misses: int) -> Floats:
    """Return the comparators' series of a unit: zeros, then 1/8, 2/8, … up to 1.

    Parameters
    ----------
    length : int
        Steps.
    misses : int
        Trailing misses, 0 to `length`.

    Examples
    --------
    >>> miss_series(4, 2)
    array([0.   , 0.   , 0.125, 0.25 ])
    """
    if not 0 <= misses <= length or length < 1:
        raise ValueError(f"misses is {misses}, expected 0 to {length} (the steps)")
    run = np.arange(1, misses + 1) / STREAK
    return np.asarray(np.r_[np.zeros(length - misses), np.minimum(1.0, run)], dtype=np.float64)


def peak_score(
    family: str, params: Mapping[str, float], series: npt.ArrayLike, *, study: int = 1
) -> float:
    """Return the highest score of one frozen detector on one series; higher means alarm.

    Parameters
    ----------
    family : str
        One of the six families of `CONFIGURATIONS`.
    params : mapping
        Its structural parameters (a threshold among them is ignored).
    series : array-like, shape (n_steps,)
    study : {1, 2}
        The first study takes the Pearson correlation for AC1 and z-normalises the matrix profile;
        the second takes the biased autocorrelation and plain distances of disjoint windows.

    Returns
    -------
    float
        Minus infinity where the series is too short. Entropy comes with its sign turned.

    References
    ----------
    Released definitions of the two studies (``calibrate_*_families``, ``v2_controls/baselines``).
    """
    x = np.asarray(series, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"series has shape {x.shape}, expected finite numbers in one row")
    if study not in (1, 2):
        raise ValueError(f"study is {study}, expected 1 or 2")
    if family == "cusum":
        return _rises(x - x[:5].mean() - params["k"])
    if family == "page_hinkley":
        return _rises(x - np.cumsum(x) / np.arange(1, len(x) + 1) - params["delta"])
    if family == "permutation_entropy":
        return _order(x, int(params["order"]), int(params["delay"]))
    if family not in ("variance_ews", "ac1", "matrix_profile"):
        raise ValueError(f"family is {family!r}, expected one of CONFIGURATIONS")
    window = int(params["window"])
    if len(x) < window:
        return -math.inf
    windows = sliding_window_view(x, window)
    if family == "variance_ews":
        return float(windows.var(axis=1).max())
    if family == "ac1":
        return _autocorrelation(windows, pearson=study == 1)
    return _profile(windows, normalise=study == 1, apart=1 if study == 1 else window)


def _rises(steps: Floats) -> float:
    """Highest climb of the running sum above its lowest earlier point, the start included."""
    total = np.r_[0.0, np.cumsum(steps)]
    return float((total - np.minimum.accumulate(total)).max())


def _autocorrelation(windows: Floats, *, pearson: bool) -> float:
    if pearson:
        before, after = windows[:, :-1], windows[:, 1:]
        before = before - before.mean(axis=1, keepdims=True)
        after = after - after.mean(axis=1, keepdims=True)
        scale = np.sqrt((before**2).mean(axis=1)), np.sqrt((after**2).mean(axis=1))
        sound = (scale[0] > _FLAT) & (scale[1] > _FLAT)
        top = (before * after).mean(axis=1)
        bottom = scale[0] * scale[1]
    else:
        centred = windows - windows.mean(axis=1, keepdims=True)
        top, bottom = (centred[:, :-1] * centred[:, 1:]).sum(axis=1), (centred**2).sum(axis=1)
        sound = bottom > 0
    return float(np.where(sound, top / np.where(sound, bottom, 1), 0.0).max())


def _profile(windows: Floats, *, normalise: bool, apart: int) -> float:
    """Largest distance of a window to its nearest neighbour at least `apart` steps away."""
    width = windows.shape[1]
    if normalise:
        spread = windows.std(axis=1, keepdims=True)
        centred = windows - windows.mean(axis=1, keepdims=True)
        flat = spread <= _FLAT
        windows = np.where(flat, 0.0, centred / np.where(flat, 1, spread)) / math.sqrt(width)
    distance = np.sqrt(((windows[:, None] - windows[None]) ** 2).sum(axis=2))
    at = np.arange(len(windows))
    distance[np.abs(at[:, None] - at) < apart] = np.inf
    nearest = distance.min(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    return float(nearest.max()) if len(nearest) else (-math.inf if apart == 1 else 0.0)


def _order(x: Floats, order: int, delay: int) -> float:
    reach = (order - 1) * delay
    if len(x) < reach + 2:
        return -math.inf
    patterns = sliding_window_view(x, reach + 1)[:, ::delay]
    ranks = np.argsort(patterns, axis=1, kind="stable")
    _, counts = np.unique(ranks, axis=0, return_counts=True)
    share = counts / counts.sum()
    return float((share * np.log(share)).sum() / math.log(math.factorial(order)))


def alarm(family: str, params: Mapping[str, float], series: npt.ArrayLike) -> bool:
    """Say whether one frozen configuration alarms on one series.

    Examples
    --------
    >>> alarm("variance_ews", {"window": 5, "threshold": 0.005}, miss_series(40, 2))
    True
    """
    threshold = params["h"] if family == "cusum" else params["threshold"]
    if family == "permutation_entropy":
        threshold = -threshold
    # Some scores equal their threshold but for the last digit; the released counts show them alarm.
    return peak_score(family, params, series) >= threshold - _ROUNDING


def published(horizon: int) -> pd.DataFrame:
    """Return the released calibration rows of a horizon: family, parameters, counts.

    Parameters
    ----------
    horizon : {40, 60}
        The rows at 50 were not released.
    """
    if horizon not in (40, 60):
        raise ValueError(f"horizon is {horizon}, expected 40 or 60: others were not released")
    name = artefacts.BENCHMARK
    folder = f"results/robustness/recommender/{name}__horizon_{horizon}_packet/results/manifests"
    parts = [
        artefacts.table(f"{folder}/{name}__{speed}_calibration_matrix.csv")
        for speed in ("fast", "slow")
    ]
    rows = pd.concat(parts, ignore_index=True)
    rows["params"] = [json.loads(text) for text in rows["params_json"]]
    return rows


@dataclass(frozen=True, eq=False)
class Explanation:
    """How the rows of one horizon follow from the number of trailing misses.

    Parameters
    ----------
    horizon : int
    rows : DataFrame
        One row a configuration: published ``controls`` and ``events``, ``predicted_controls``,
        ``predicted_events``, ``explained``.
    classes : DataFrame
        One row a class of trailing misses that no configuration tells apart: ``from``, ``to``,
        ``controls`` (their number, recovered).
    n_used : int
        Rows needed to recover these numbers; all others are predictions.
    firing_sets : set of frozenset
        Distinct sets of classes that fire.
    """

    horizon: int
    rows: pd.DataFrame
    classes: pd.DataFrame
    n_used: int
    firing_sets: frozenset[frozenset[int]]

    def at_least(self, misses: int) -> int:
        """Return the number of controls with at least so many trailing misses.

        Raises
        ------
        ValueError
            If no configuration separates that many from one less.
        """
        starts = self.classes["from"].to_numpy()
        if misses not in starts:
            raise ValueError(f"{misses} misses and {misses - 1} are not told apart by any row")
        return int(self.classes.loc[starts >= misses, "controls"].sum())


def explain(
    horizon: int, *, broken: Literal["no", "recovering", "thresholds"] = "no"
) -> Explanation:
    """Derive all released rows of a horizon from the trailing misses.

    Parameters
    ----------
    horizon : {40, 60}
    broken : {"no", "recovering", "thresholds"}
        Controls that must fail: a hit follows the misses, which an absorbing miss excludes; or each
        configuration is judged by the threshold of the next one of its family.

    Returns
    -------
    Explanation

    Notes
    -----
    Events end one step before the collapse with seven misses, whatever their length, from 15 steps
    (the runway) to one below the horizon. Controls run to the horizon with 0, 1, 2, … trailing
    misses. The unknown numbers of controls in each class, and of events that collapse at step 16,
    are recovered from as many rows as there are unknowns.
    """
    rows = published(horizon)
    check.known("broken", broken, ("no", "recovering", "thresholds"))
    params = rows["params"]
    if broken == "thresholds":
        params = rows.groupby("family", sort=False)["params"].transform(lambda one: np.roll(one, 1))
    configurations = list(zip(rows["family"], params, strict=True))

    def series(length: int, misses: int) -> Floats:
        if broken == "recovering" and misses:
            return np.append(miss_series(length - 1, misses - 1), 0.0)
        return miss_series(length, misses)

    fires = np.array(
        [
            [alarm(family, params, series(horizon, m)) for m in range(horizon + 1)]
            for family, params in configurations
        ]
    )
    lengths = range(15, horizon)
    event_fires = np.array(
        [
            [alarm(family, params, series(n, STREAK - 1)) for n in lengths]
            for family, params in configurations
        ]
    )
    n_controls, n_events = int(rows["n_control_users"].iloc[0]), int(rows["n_event_users"].iloc[0])
    changes = np.flatnonzero((fires[:, 1:] != fires[:, :-1]).any(axis=0)) + 1
    starts = np.r_[0, changes]
    controls, used, predicted = _recover(
        fires[:, starts], rows["control_alarm_count"].to_numpy(), n_controls
    )
    event_starts = np.r_[
        0, np.flatnonzero((event_fires[:, 1:] != event_fires[:, :-1]).any(axis=0)) + 1
    ]
    _, event_used, predicted_events = _recover(
        event_fires[:, event_starts], rows["event_alarm_count"].to_numpy(), n_events
    )
    table = pd.DataFrame(
        {
            "family": rows["family"],
            "params": rows["params_json"],
            "set": [_words(row) for row in fires],
            "controls": rows["control_alarm_count"],
            "predicted_controls": predicted,
            "events": rows["event_alarm_count"],
            "predicted_events": predicted_events,
        }
    )
    table["explained"] = (table["controls"] == table["predicted_controls"]) & (
        table["events"] == table["predicted_events"]
    )
    classes = pd.DataFrame(
        {"from": starts, "to": np.r_[starts[1:] - 1, horizon], "controls": controls}
    )
    sets = frozenset(frozenset(np.flatnonzero(row).tolist()) for row in fires[:, starts])
    return Explanation(horizon, table, classes, max(used, event_used), sets)


def _words(fires: Bools) -> str:
    """Say which numbers of trailing misses alarm."""
    at = np.flatnonzero(fires)
    if not len(at):
        return "none"
    runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    last = len(fires) - 1
    return ", ".join(
        f"{one[0]} or more"
        if one[-1] == last
        else f"{one[0]}"
        if len(one) == 1
        else f"{one[0]} to {one[-1]}"
        for one in runs
    )


def _recover(
    fires: Bools, counts: npt.NDArray[np.int64], total: int
) -> tuple[npt.NDArray[np.int64], int, npt.NDArray[np.int64]]:
    """Numbers of units in each class from as few rows as needed, and what they predict."""
    system, right = np.ones((1, fires.shape[1])), [float(total)]
    used = 0
    for row, count in zip(fires.astype(float), counts, strict=True):
        if np.linalg.matrix_rank(np.vstack([system, row])) > len(system):
            system, right, used = np.vstack([system, row]), [*right, float(count)], used + 1
    sizes = np.rint(np.linalg.lstsq(system, np.array(right), rcond=None)[0]).astype(np.int64)
    return sizes, used, fires.astype(np.int64) @ sizes


def summary_points() -> pd.DataFrame:
    """Return the frozen nearest configurations at horizon 50: counts, shares, ``nontrivial``."""
    table = artefacts.document(
        f"results/manifests/{artefacts.BENCHMARK}__merged_comparator_summary.json"
    )
    found: list[dict[str, Any]] = []

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            if {"family", "control_alarm_count", "n_control_users"} <= node.keys():
                found.append(node)
            for item in node.values():
                visit(item)
        elif isinstance(node, list):
            for item in node:
                visit(item)

    visit(table)
    rows = pd.DataFrame(found)
    rows["fp"] = rows["control_alarm_count"] / rows["n_control_users"]
    rows["tpr"] = rows["event_alarm_count"] / rows["n_event_users"]
    return rows


def summary_rows() -> pd.DataFrame:
    """Return the nearest configuration of each family at horizon 50 that is not trivial, if any."""
    rows = summary_points()
    rows = rows[rows["nontrivial"].astype(bool)].drop_duplicates("family").set_index("family")
    contract = FPContract()
    rows["accepted"] = [
        contract.accepts(int(count), int(total))
        for count, total in zip(rows["control_alarm_count"], rows["n_control_users"], strict=True)
    ]
    return rows


def operating_points(horizon: int) -> pd.DataFrame:
    """Return the released operating points of the paper's detector at a horizon."""
    name = "a1_loopzero_operating_points" + ("" if horizon == 50 else "_h40_h60")
    rows = artefacts.table(f"results/rendered/bridge/{name}.csv")
    rows = rows[rows["domain"] == "recsys"]
    if horizon == 50:
        return rows
    return rows[rows["benchmark"].str.endswith(f"horizon_{horizon}")]


def envelope(horizon: int, k: int = 3) -> dict[str, Any]:
    """Find the envelope boundary of the paper's detector: its most false alarms with `k` rows.

    Returns
    -------
    dict
        ``controls``, ``n_controls``, ``events``, ``n_events``, ``q``; at 40 and 60 also
        ``variance``, the event share of the variance comparators at that share of controls, by
        linear interpolation between their neighbouring points.
    """
    rows = operating_points(horizon)
    best = rows[rows["k"] == k].sort_values(["n_control_alarmed", "n_event_alarmed"]).iloc[-1]
    result: dict[str, Any] = {
        "controls": int(best["n_control_alarmed"]),
        "n_controls": int(best["n_control_units"]),
        "events": int(best["n_event_alarmed"]),
        "n_events": int(best["n_event_units"]),
        "q": float(best["q_G_pct"]),
    }
    if horizon != 50:
        points = published(horizon)
        points = points[points["family"] == "variance_ews"]
        # The point without alarms belongs to every detector.
        fp = np.r_[0.0, points["control_alarm_count"] / points["n_control_users"]]
        tp = np.r_[0.0, points["event_alarm_count"] / points["n_event_users"]]
        order = np.lexsort((tp, fp))
        wanted = result["controls"] / result["n_controls"]
        result["variance"] = float(np.interp(wanted, fp[order], tp[order]))
    return result


def gain_brackets() -> pd.DataFrame:
    """Bracket the share of control rows with positive gain by the released thresholds.

    The threshold at `q` is the `q`-th percentile of gain among control rows. Where it is zero, at
    least `q` per cent of them have none; where it is positive, more than ``100 - q`` per cent have
    one, up to interpolation between two rows.

    Returns
    -------
    DataFrame
        By horizon: ``least`` and ``most`` for gain, and the same for persistence.
    """
    rows = {}
    for horizon in (40, 50, 60):
        table = operating_points(horizon).drop_duplicates("q_G_pct")
        q = table["q_G_pct"].to_numpy() / 100
        found = {}
        for name, column in (("gain", "q_G"), ("persistence", "q_p")):
            positive = table[column].to_numpy() > 0
            found[f"{name}_least"] = float(1 - q[positive].min()) if positive.any() else 0.0
            found[f"{name}_most"] = float(1 - q[~positive].max()) if not positive.all() else 1.0
        rows[horizon] = found
    return pd.DataFrame(rows).T.round(9)


def figure7() -> pd.DataFrame:
    """Compare the released points of Figure 7 with the shares that the released counts give.

    Returns
    -------
    DataFrame
        The points, with ``part`` (``markets``, ``calibration`` for 40 and 60 steps, ``summary`` for
        50), ``follows`` (a row of counts has both shares) and ``inside`` (in the band).
    """
    points = artefacts.table("results/rendered/a4_roc_lowfp/a4_roc_data.csv")
    folder = "results/frozen/comparators/markets_comparator_merged_state_v2__20260421T174702Z"
    market = artefacts.table(f"{folder}/comparator_acceptance_matrix_v1.csv")
    market = market[market["instantiation"] == "volmageddon_covid_public_v2"]
    columns = ["family", "fp", "tpr"]
    counted = {
        "markets": pd.DataFrame(
            {
                "family": market["detector_family"],
                "fp": market["n_control_alarm_units"] / market["n_control_units_cal"],
                "tpr": market["n_event_alarm_units"] / 16,
            }
        )
    }
    for horizon in (40, 60):
        rows = published(horizon)
        counted[f"{horizon}"] = pd.DataFrame(
            {
                "family": rows["family"],
                "fp": rows["control_alarm_count"] / rows["n_control_users"],
                "tpr": rows["event_alarm_count"] / rows["n_event_users"],
            }
        )
    counted["50"] = summary_points()[columns]
    points["part"] = [
        "markets" if domain == "markets" else f"{horizon:.0f}"
        for domain, horizon in zip(points["domain"], points["horizon"], strict=True)
    ]
    points["follows"] = False
    for part, table in counted.items():
        here = points["part"] == part
        known = set(table[columns].round(9).itertuples(index=False, name=None))
        seen = points.loc[here, columns].round(9).itertuples(index=False, name=None)
        points.loc[here, "follows"] = [one in known for one in seen]
    contract = FPContract()
    points["inside"] = points["fp"].between(contract.lo, contract.hi)
    return points
