"""Study 2, recomputed: the pre-registered follow-up with clean controls, and its verdict.

The released table holds, for each user at step 20, three indicators of the slates shown so far,
and the early miss rate PC1. The seven comparators are rebuilt from PC1 alone, since the misses of
an episode are its last steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lib.collapse_warning.contract import OperatingPoint, at_count
from lib.collapse_warning.effects import auc, cohen_d
from lib.collapse_warning.panel import Floats
from lib.collapse_warning.study import artefacts
from lib.collapse_warning.study.calibration import CONFIGURATIONS, miss_series, peak_score

__all__ = [
    "BUDGETS",
    "INDICATORS",
    "Criteria",
    "comparators",
    "covariate_model",
    "criteria",
    "effect_table",
    "hit_rates",
    "load",
    "series_scores",
]

BUDGETS = (0.02, 0.05, 0.1, 0.2)
PRIMARY = 0.05
INDICATORS = ("G", "p", "delta")
LANDMARK = 20
LEAST_GAIN = 0.05
LEAST_AUC = 0.02
_COVARIATES = ("log_activity", "pop_affinity")


@lru_cache(maxsize=1)
def _load() -> pd.DataFrame:
    table = artefacts.table("results/v2_prereg_primary/v2_landmark_indicators.csv.gz")
    census = artefacts.table("results/v2_controls/study2_clean_control_census.csv")
    covariates = artefacts.table("results/v2_controls/real_covariates__c-star-25020.csv.gz")
    table = table.merge(covariates, on="user_id", how="left", validate="one_to_one")
    candidates = census[census["is_candidate"] == 1]
    clean = candidates.loc[candidates["starved_in_2050"] == 0, "user_id"]
    table["is_event"] = table["label"] == 1
    table["clean"] = ~table["is_event"] & table["user_id"].isin(clean)
    # Starved by the landmark: no longer a candidate when the indicators are read.
    starved = census.loc[census["is_candidate"] == 0, "user_id"]
    table["starved"] = ~table["is_event"] & table["user_id"].isin(starved)
    table["evaluation"] = table["fold"] == "evaluation"
    reference = table[table["clean"] & ~table["evaluation"]]
    for name in INDICATORS:
        mean, scale = reference[name].mean(), reference[name].std(ddof=1)
        table[f"z_{name}"] = (table[name] - mean) / scale
    table["S"] = table["z_G"] + table["z_p"] - table["z_delta"]
    return table.sort_values("user_id", kind="stable").reset_index(drop=True)


def load() -> pd.DataFrame:
    """Return the users with indicators, standardised by calibration clean controls.

    Returns
    -------
    DataFrame
        One row a user, by id: the released columns, covariates, ``is_event``, ``clean``,
        ``starved``, ``evaluation``, ``z_G``, ``z_p``, ``z_delta`` and ``S = z_G + z_p - z_delta``.
    """
    return _load().copy()


def fold_of(user: int) -> str:
    """Return the fold of a user: the last hexadecimal digit of the sha256 of the id.

    Examples
    --------
    >>> fold_of(2)
    'calibration'
    """
    digit = hashlib.sha256(str(user).encode("ascii")).hexdigest()[-1]
    return "calibration" if digit in "01234567" else "evaluation"


def population(users: pd.DataFrame) -> pd.DataFrame:
    """Return the users of the analysis: evaluation events and evaluation clean controls."""
    return users[users["evaluation"] & (users["is_event"] | users["clean"])]


def hit_rates(
    score: Floats, users: pd.DataFrame, budgets: Sequence[float] = BUDGETS, ties: str = "by_id"
) -> list[OperatingPoint]:
    """Return the operating point of a score at each budget of control alarms.

    Parameters
    ----------
    score : ndarray, shape (n_users,)
    users : DataFrame
        From :func:`population`.
    budgets : sequence of float
        Shares of controls that may alarm; the number is rounded.
    ties : str
        As in `at_count`. The registered analysis breaks ties by user id.
    """
    labels = users["is_event"].to_numpy()
    n_controls = int((~labels).sum())
    ids = users["user_id"].tolist()
    return [
        at_count(score, labels, round(budget * n_controls), ties=ties, ids=ids)  # type: ignore[arg-type]
        for budget in budgets
    ]


def series_scores(family: str) -> pd.DataFrame:
    """Return the peak scores of a family's structural settings for 0 to 20 trailing misses.

    Returns
    -------
    DataFrame
        One row a number of misses, one column a setting.
    """
    settings = {}
    for name, params in CONFIGURATIONS:
        structural = {key: v for key, v in params.items() if key not in ("threshold", "h")}
        if name == family:
            settings[str(structural)] = structural
    if not settings:
        raise ValueError(f"family is {family!r}, expected one of the six of CONFIGURATIONS")
    return pd.DataFrame(
        {
            label: [
                peak_score(family, structural, miss_series(LANDMARK, m), study=2)
                for m in range(LANDMARK + 1)
            ]
            for label, structural in settings.items()
        }
    )


def comparators(users: pd.DataFrame, budgets: Sequence[float] = BUDGETS) -> pd.DataFrame:
    """Return the hit rate of PC1 and of six families at each budget, from PC1 alone.

    A family's rate is the largest over its structural settings, as registered.

    Parameters
    ----------
    users : DataFrame
        From :func:`population`; only ``pc1``, ``is_event`` and ``user_id`` are read.

    Returns
    -------
    DataFrame
        One row a comparator, one column a budget.
    """
    misses = np.rint(users["pc1"].to_numpy() * LANDMARK).astype(int)
    table = {"pc1": [point.tpr for point in hit_rates(users["pc1"].to_numpy(), users, budgets)]}
    for family in dict.fromkeys(name for name, _ in CONFIGURATIONS):
        scores = series_scores(family)
        rates = [
            [point.tpr for point in hit_rates(scores[setting].to_numpy()[misses], users, budgets)]
            for setting in scores
        ]
        table[family] = np.max(rates, axis=0).tolist()
    return pd.DataFrame(table, index=list(budgets)).T


def rate_difference(
    users: pd.DataFrame, first: str, second: str, *, n_resamples: int, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Return hit rates of two columns and their difference at the primary budget.

    Users are drawn with replacement, events and controls apart; the threshold is set anew in each
    resample, ties by id.

    Returns
    -------
    dict
        ``first``, ``second``, ``difference``: point and 95 % percentile interval.
    """
    labels = users["is_event"].to_numpy()
    rng = np.random.default_rng(seed)
    n_controls = int((~labels).sum())
    count = round(PRIMARY * n_controls)
    orders = {
        name: np.lexsort((users["user_id"].to_numpy(), -users[name].to_numpy()))
        for name in (first, second)
    }

    def rate(weights: Floats, order: Any) -> float:
        w, event = weights[order], labels[order]
        stop = int(np.searchsorted(np.cumsum(np.where(event, 0, w)), count))
        return float(w[: stop + 1][event[: stop + 1]].sum() / weights[labels].sum())

    points = np.array([rate(np.ones(len(users)), orders[name]) for name in (first, second)])
    draws = np.empty((n_resamples, 2))
    events, controls = np.flatnonzero(labels), np.flatnonzero(~labels)
    for at in range(n_resamples):
        weights = np.zeros(len(users))
        for members in (events, controls):
            drawn = rng.integers(len(members), size=len(members))
            weights[members] = np.bincount(drawn, minlength=len(members))
        draws[at] = [rate(weights, orders[name]) for name in (first, second)]
    rates = np.vstack([points, draws])
    rates = np.column_stack([rates, rates[:, 0] - rates[:, 1]])
    low, high = np.quantile(rates[1:], [0.025, 0.975], axis=0).tolist()
    found = zip(rates[0].tolist(), low, high, strict=True)
    return dict(zip(("first", "second", "difference"), found, strict=True))


@dataclass(frozen=True)
class CovariateModel:
    """Coefficients of the indicators beside the covariates, and what they add to the AUC."""

    coefficients: dict[str, float]
    incremental_auc: float


def covariate_model(users: pd.DataFrame, weights: Floats | None = None) -> CovariateModel:
    """Fit the registered logistic model: covariates alone, then with the indicators.

    Parameters
    ----------
    users : DataFrame
        From :func:`population`.
    weights : ndarray of int, optional
        How often each user was drawn, for a bootstrap.

    Notes
    -----
    Columns are standardised, the ridge penalty is one, the intercept is free; both AUC are in
    sample, as registered.
    """
    from sklearn.linear_model import LogisticRegression

    rows = users if weights is None else users.loc[users.index.repeat(weights.astype(int))]
    labels = rows["is_event"].to_numpy()
    scores = {}
    coefficients: dict[str, float] = {}
    for name, columns in (
        ("covariates", _COVARIATES),
        ("all", (*_COVARIATES, *(f"z_{one}" for one in INDICATORS))),
    ):
        x = rows[list(columns)].to_numpy()
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10, max_iter=200)
        model.fit(x, labels)
        scores[name] = model.decision_function(x)
        coefficients = dict(zip(columns, model.coef_[0].tolist(), strict=True))
    gain = auc(scores["all"][labels], scores["all"][~labels]) - auc(
        scores["covariates"][labels], scores["covariates"][~labels]
    )
    return CovariateModel({one: coefficients[f"z_{one}"] for one in INDICATORS}, gain)


def effect_table(users: pd.DataFrame) -> pd.DataFrame:
    """Return Cohen's d of the indicators on the evaluation fold.

    Returns
    -------
    DataFrame
        Rows ``full`` (events against all controls), ``purified`` (against clean controls),
        ``starved`` (controls starved at any time against clean controls).
    """
    fold = users[users["evaluation"]]
    clean = fold[fold["clean"]]
    pairs = {
        "full": (fold[fold["is_event"]], fold[~fold["is_event"]]),
        "purified": (fold[fold["is_event"]], clean),
        "starved": (fold[~fold["is_event"] & ~fold["clean"]], clean),
    }
    return pd.DataFrame(
        {
            name: {one: cohen_d(a[one], b[one]) for one in INDICATORS}
            for name, (a, b) in pairs.items()
        }
    ).T


@dataclass(frozen=True)
class Criteria:
    """The three criteria that need no control arm, and the verdict they give."""

    gain: bool
    budgets: bool
    covariates: bool

    @property
    def verdict(self) -> str:
        """``signal dies`` if any fails; the control arms would decide otherwise."""
        passed = self.gain and self.budgets and self.covariates
        return "control arms decide" if passed else "signal dies"


def criteria(
    difference: tuple[float, float, float],
    by_budget: Sequence[float],
    coefficients: dict[str, tuple[float, float, float]],
    incremental_auc: tuple[float, float, float],
) -> Criteria:
    """Apply the registered criteria to points and intervals.

    Parameters
    ----------
    difference : tuple
        Hit rate of S less the best comparator's at the primary budget: point, low, high.
    by_budget : sequence of float
        The same difference at each budget; at least three must be positive.
    coefficients : dict of tuple
        ``G``, ``p`` (must be positive) and ``delta`` (must be negative), intervals off zero.
    incremental_auc : tuple
        At least 0.02, interval above zero.
    """
    point, low, high = difference
    signs = coefficients["G"][1] > 0 and coefficients["p"][1] > 0 and coefficients["delta"][2] < 0
    return Criteria(
        point >= LEAST_GAIN and (low > 0 or high < 0),
        sum(one > 0 for one in by_budget) >= 3,
        signs and incremental_auc[0] >= LEAST_AUC and incremental_auc[1] > 0,
    )
