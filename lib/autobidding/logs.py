"""From an impression log, or a randomised trial, to markets: counts, models, estimated rates.

Source: the models are those of arXiv 2605.31036, section 3; how they are estimated is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.autobidding.arithmetic import Floats
from lib.autobidding.filtrations import Filtration, feature_labels, level_map, pool, shrink
from lib.autobidding.market import Market, check_labels
from lib.core import check

Smoothing = Literal["none", "empirical Bayes"]
SMOOTHINGS: tuple[Smoothing, ...] = ("none", "empirical Bayes")
Ints = npt.NDArray[np.int64]


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

    Examples
    --------
    >>> trial = Trial([[[8, 2], [9, 1]], [[5, 5], [2, 8]]], [[0, 0], [0, 1]], ("A", "B"))
    >>> trial.filtration(0.001).markets[1].predictions.round(3).tolist()
    [[0.2, 0.1], [0.5, 0.8]]
    """

    counts: Ints
    labels: Sequence[npt.NDArray[np.intp]]
    advertisers: tuple[str, ...]

    def __post_init__(self) -> None:
        counts = check.integers("counts", self.counts, shape=("n_cells", "n_arms", 2), at_least=0)
        if not 1 <= len(self.advertisers) <= counts.shape[1]:
            raise ValueError(
                f"advertisers are {self.advertisers!r:.60}, expected 1 to {counts.shape[1]}, "
                "the number of arms"
            )
        for name, axes in (("cell", (1, 2)), ("arm", (0, 2))):
            empty = counts.sum(axis=axes) == 0
            if empty.any():
                raise ValueError(f"{name} {int(np.argmax(empty))} of counts has no customer")
        if not len(self.labels):
            raise ValueError("labels is empty, expected a level or more")
        object.__setattr__(self, "counts", counts)
        object.__setattr__(
            self, "labels", tuple(check_labels(level, len(counts)) for level in self.labels)
        )

    @classmethod
    def from_log(
        cls,
        log: pd.DataFrame,
        features: Sequence[str],
        *,
        advertiser: str = "advertiser",
        converted: str = "converted",
        advertisers: Sequence[str] | None = None,
    ) -> Trial:
        """Count an impression log: one row for each time that an advertisement was shown.

        Rates of conversion are those of the impressions that an advertiser *got*. They are the
        rates it would have anywhere in a cell only if, within each cell, chance decided who was
        shown (an experiment, or exploration). In the log of an auction they are those of wins.

        Parameters
        ----------
        log : DataFrame
            Other columns are not looked at.
        features : sequence of str
            Discrete columns, the coarsest model first: level ``j`` uses the first ``j``. Every
            value makes a cluster, so cut what is continuous into a few classes first.
        advertiser, converted : str
            Columns: who was shown, and 0 or 1 (or a truth value).
        advertisers : sequence of str, optional
            The bidders, in order. Rows of others count as opportunities and inform no prediction.
            By default all, sorted.

        Raises
        ------
        ValueError
            On an empty log, a missing column or value, an outcome other than 0 and 1, an
            advertiser that was never shown, or a feature that says who was shown or what came of
            it: nobody knows these when bids are made.

        Examples
        --------
        >>> log = pd.DataFrame({"device": ["tv", "tv", "pc", "pc"], "ad": ["A", "B", "A", "B"],
        ...                     "sold": [1, 0, 0, 1]})
        >>> Trial.from_log(log, ["device"], advertiser="ad", converted="sold").counts[0].tolist()
        [[1, 0], [0, 1]]
        """
        check.columns("log", log, [*features, advertiser, converted])
        if not check.unique("features", features):
            raise ValueError("features is empty, expected a column or more")
        if not len(log):
            raise ValueError(f"log is empty (shape {log.shape}), expected an impression a row")
        for name in (advertiser, converted):
            if name in features:
                raise ValueError(f"features hold {name!r}, which no bidder knows beforehand")
            if (missing := log[name].isna()).any():
                raise ValueError(f"log[{name!r}] is missing in row {int(np.argmax(missing))}")
        shown, results = log[advertiser], log[converted].infer_objects()
        if pd.api.types.is_bool_dtype(results):  # NumPy's, pandas' with missing values, or objects
            results = results.astype(int)
        outcome = check.integers(f"log[{converted!r}]", results, at_least=0, at_most=1)
        known = sorted(shown.unique(), key=str)
        if isinstance(advertisers, str):
            raise ValueError(f"advertisers are {advertisers!r}, expected a list of names")
        bidders = list(known if advertisers is None else check.unique("advertisers", advertisers))
        check.unique("names of advertisers", map(str, bidders))
        for one in bidders:
            check.known("advertisers: each", one, known)
        arms = [*bidders, *(one for one in known if one not in bidders)]
        levels = feature_labels(log[list(features)])
        cell = levels[-1]
        shape = (int(cell.max()) + 1, len(arms), 2)
        arm = pd.Categorical(shown, categories=arms).codes.astype(np.intp)
        flat = np.ravel_multi_index((cell, arm, outcome), shape)
        counts = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
        return cls(counts, [level_map(level, cell) for level in levels], tuple(map(str, bidders)))

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
            Prior weight in customers, drawing each cell to the mean of its arm; positive.

        Raises
        ------
        ValueError
            On another strength.
        """
        check.number("strength", strength, above=0)
        return Filtration(
            Market(self.customers / self.n_customers, self.smoothed(self.counts, strength)),
            self.labels,
        )

    def smoothed(self, counts: npt.NDArray[Any], strength: float) -> Floats:
        """Draw the rate of each cell to its arm's mean; counts (..., n_cells, n_arms, 2)."""
        mailed = counts[..., : len(self.advertisers), :].sum(axis=-1)
        visits = counts[..., : len(self.advertisers), 1]
        mean = visits.sum(axis=-2) / mailed.sum(axis=-2)
        return shrink(visits, mailed, mean[..., None, :], strength)

    def _counted(self, counts: Ints) -> Trial:
        """Return other customers of the same trial; of some cells there may be none."""
        other: Trial = object.__new__(Trial)
        for name, value in (
            ("counts", counts), ("labels", self.labels), ("advertisers", self.advertisers)
        ):  # fmt: skip
            object.__setattr__(other, name, value)
        return other

    def halves(self, rng: np.random.Generator) -> tuple[Trial, Trial]:
        """Split the customers at random into two halves."""
        first = rng.multivariate_hypergeometric(
            self.counts.ravel(), self.n_customers // 2, method="marginals"
        ).reshape(self.counts.shape)
        return self._counted(first), self._counted(self.counts - first)

    def shuffled(self, rng: np.random.Generator) -> Trial:
        """Give each customer the features of a random other: cells that carry no information."""
        n_cells, n_arms, _ = self.counts.shape
        unit = np.repeat(np.arange(self.counts.size), self.counts.ravel())
        cell, result = np.divmod(unit, n_arms * 2)
        flat = cell * (n_arms * 2) + rng.permutation(result)
        counts = np.bincount(flat, minlength=self.counts.size).reshape(n_cells, n_arms, 2)
        return self._counted(counts)


def market_from_log(
    log: pd.DataFrame,
    features: Sequence[str],
    *,
    strength: float = 20.0,
    advertiser: str = "advertiser",
    converted: str = "converted",
    advertisers: Sequence[str] | None = None,
) -> Market:
    """Return the market that a log shows, with one cluster for each combination of features.

    Parameters
    ----------
    log, features, advertiser, converted, advertisers
        As in :meth:`Trial.from_log`, which also gives the coarser models.
    strength : float
        Prior weight in impressions, drawing each cell to the mean of its advertiser.

    Returns
    -------
    Market
        Weights are shares of impressions; bidders in the order of ``advertisers``.

    Raises
    ------
    ValueError
        As :meth:`Trial.from_log`, and on a strength that is not positive.

    Examples
    --------
    >>> log = pd.DataFrame({"device": ["tv", "tv", "pc", "pc"], "advertiser": ["A", "B", "A", "B"],
    ...                     "converted": [1, 0, 0, 1]})
    >>> market_from_log(log, ["device"], strength=1).predictions.tolist()
    [[0.25, 0.75], [0.75, 0.25]]
    """
    trial = Trial.from_log(
        log, features, advertiser=advertiser, converted=converted, advertisers=advertisers
    )
    return trial.filtration(strength).markets[-1]


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
    check.known("smoothing", smoothing, SMOOTHINGS)
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
        if len(parent) == len(rates[-1]):
            rates.append(prior)  # a feature that splits nothing says nothing
        elif smoothing == "none":
            rates.append(np.where(mailed > 0, visits / np.maximum(mailed, 1), prior))
        else:
            rates.append(shrink(visits, mailed, prior, dispersion_strength(visits, mailed, parent)))
    return rates
