"""What an estimated model collects from autobidders, and what it delivers to them.

Fit on one half of the customers and judge on the other. The theorems of arXiv 2605.31036 speak of
calibrated predictions; this measures what is left of them. The design is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from lib.autobidding.arithmetic import Floats
from lib.autobidding.bidders import Bidder
from lib.autobidding.filtrations import Filtration, pool
from lib.autobidding.logs import Smoothing, Trial, level_rates
from lib.autobidding.market import Market
from lib.autobidding.mechanism import clear, outcome
from lib.core import check


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

    Raises
    ------
    ValueError
        On another rule, predictions outside [0, 1], negative weights or values, or shapes that do
        not fit.

    Examples
    --------
    >>> truthful_revenue([1.0, 1.0], [[0.5, 0.25], [0.0, 1.0]], [2.0, 1.0], "second").item()
    0.25
    """
    check.known("rule", rule, ("first", "second"))
    mass = check.array("weights", weights, at_least=0)
    bids = check.shares("predictions", predictions) * check.array("values", values, at_least=0)
    if mass.shape != bids.shape[:-1]:
        raise ValueError(f"weights have shape {mass.shape}, predictions and values {bids.shape}")
    prices = clear(bids.reshape(-1, bids.shape[-1]), rule).prices.reshape(bids.shape[:-1])
    revenue: Floats = np.einsum("...k,...k->...", mass, prices)
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
    check.array("values", values, shape=(filtration.base.n_bidders,), above=0)

    def revenue(market: Market, rule: Literal["first", "second"]) -> float:
        return float(truthful_revenue(market.weights, market.predictions, values, rule))

    return pd.DataFrame(
        {
            "clusters": filtration.n_clusters,
            "first": [revenue(m, "first") for m in filtration.markets],
            "second": [revenue(m, "second") for m in filtration.markets],
        }
    )


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
        conversion over target, all advertisers; infinite where something is collected and nothing
        delivered, NaN where neither), ``second`` (truthful second-price revenue per customer under
        the same predictions) and ``cpa <name>`` for each advertiser, in the same way; with
        ``inner`` also ``chosen``, the clusters of the level chosen.

    Raises
    ------
    ValueError
        On fewer than two splits, or a wrong number of targets.
    """
    n_splits = check.integer("n_splits", n_splits, at_least=2)
    seed, inner = check.integer("seed", seed, at_least=0), check.integer("inner", inner, at_least=0)
    if inner == 1:
        raise ValueError("inner is 1, expected 0 or 2 halvings and more")
    check.array("targets", targets, shape=(len(trial.advertisers),), above=0)
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
        # A feature that splits nothing repeats the level before: one level a number of clusters.
        levels = {len(p): (i, p, o) for i, p, o in zip(trial.labels, fitted, observed, strict=True)}
        for index, predicted, real in levels.values():
            served = pool(judge.customers, index) / judge.n_customers
            here = served > 0
            result = outcome(
                Market(served[here], predicted[here]),
                bidders,
                [1.0] * len(bidders),
                "first",
                truth=Market(served[here], real[here]),
            )
            paid = np.array([result.revenue, *result.spend])
            # A plain mean over splits would be better for a total failure, were that left out.
            with np.errstate(divide="ignore", invalid="ignore"):
                cost = paid / np.array([result.welfare, *result.value])
            rows.append(
                {
                    "split": split,
                    "clusters": len(predicted),
                    "collected": result.revenue,
                    "delivered": result.welfare,
                    "cpa": cost[0],
                    "second": float(
                        truthful_revenue(served[here], predicted[here], targets, "second")
                    ),
                    **{f"cpa {name}": cost[i + 1] for i, name in enumerate(trial.advertisers)},
                    **choice,
                }
            )
    return pd.DataFrame(rows)


def corrected_t_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
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
    x = check.array("values", values, shape=("n_splits",))
    check.share("level", level, inside=True)
    if len(x) < 2:
        raise ValueError(f"values are {x.tolist()}, expected two or more")
    half = stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) * np.sqrt(1 / len(x) + 1)
    return float(x.mean() - half), float(x.mean() + half)


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
    check.share("level", level, inside=True)
    half = stats.norm.ppf((1 + level) / 2) * drawn.std(axis=0, ddof=1)
    return middle - half, middle + half


def split_summary(splits: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval of every measure by number of clusters.

    Parameters
    ----------
    splits : DataFrame
        From :func:`holdout`.

    Returns
    -------
    DataFrame
        One row a level and measure: ``clusters``, ``measure``, ``mean``, ``low``, ``high``. Splits
        in which a measure is not defined are left out; one in which it is infinite makes the mean
        infinite, and then there is no interval (NaN).
    """
    rows = []
    for clusters, group in splits.groupby("clusters"):
        for measure in group.columns.drop(["split", "clusters", "chosen"], errors="ignore"):
            values = group[measure].dropna()
            known = len(values) > 1 and np.isfinite(values).all()
            low, high = corrected_t_interval(values) if known else (np.nan, np.nan)
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


def mean_with_interval(values: npt.ArrayLike) -> tuple[float, tuple[float, float]]:
    """Return the mean over splits and its :func:`corrected_t_interval`."""
    return float(np.asarray(values, dtype=float).mean()), corrected_t_interval(values)
