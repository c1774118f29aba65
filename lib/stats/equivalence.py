"""Equivalence: is an effect smaller than what matters? Two one-sided tests over clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lib.core import check
from lib.stats.intervals import cluster_means

__all__ = ["Equivalence", "equivalent", "equivalent_groups"]


@dataclass(frozen=True)
class Equivalence:
    """The two one-sided tests of a mean or a difference.

    Attributes
    ----------
    value, low, high : float
        The effect and its interval of level ``1 - 2 alpha``: equivalent where it lies between the
        margins.
    p : float
        The larger of the two p-values.
    margins : (float, float)
        Below and above which an effect matters.
    df : float
        Degrees of freedom.
    alpha : float
    """

    value: float
    low: float
    high: float
    p: float
    margins: tuple[float, float]
    df: float
    alpha: float = 0.05

    @property
    def holds(self) -> bool:
        """Whether effects as large as a margin are excluded on both sides."""
        return self.p < self.alpha


def equivalent(
    values: npt.ArrayLike,
    margins: tuple[float, float],
    clusters: npt.ArrayLike | None = None,
    *,
    alpha: float = 0.05,
) -> Equivalence:
    """Test that a mean over clusters, or of paired differences, lies between two margins.

    Parameters
    ----------
    values, clusters
        As in `lib.stats.intervals.cluster_means`; for pairs, the differences.
    margins : (float, float)
        Low and high, in the unit of the values; fixed before looking.
    alpha : float
        Level of each of the two tests.

    Notes
    -----
    D. J. Schuirmann, "A Comparison of the Two One-Sided Tests Procedure and the Power Approach",
    Journal of Pharmacokinetics and Biopharmaceutics 15, 1987.

    Examples
    --------
    >>> found = equivalent([-0.1, 0.1, 0.0, 0.05, -0.05], (-0.2, 0.2))
    >>> found.holds, round(found.p, 4)
    (True, 0.0024)
    """
    means = cluster_means(values, clusters)
    error = means.std(ddof=1) / np.sqrt(len(means))
    return _tost(float(means.mean()), float(error), len(means) - 1, margins, alpha)


def equivalent_groups(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    margins: tuple[float, float],
    first_clusters: npt.ArrayLike | None = None,
    second_clusters: npt.ArrayLike | None = None,
    *,
    alpha: float = 0.05,
) -> Equivalence:
    """Test that the means of two independent groups, first minus second, differ by no more.

    Variances may differ: degrees of freedom are Welch's.

    Parameters
    ----------
    first, second : array_like of float
        Values of each group; clusters are nested in groups.
    margins, alpha
        As in `equivalent`.
    first_clusters, second_clusters : array_like, optional
        The cluster of each value.

    Notes
    -----
    B. L. Welch, "The Generalization of 'Student's' Problem when Several Different Population
    Variances are Involved", Biometrika 34, 1947; Schuirmann as in `equivalent`.
    """
    one = _named(first, first_clusters, "first")
    two = _named(second, second_clusters, "second")
    parts = np.array([one.var(ddof=1) / len(one), two.var(ddof=1) / len(two)])
    weights = np.array([len(one) - 1, len(two) - 1])
    whole = parts.sum()
    df = whole**2 / np.sum(parts**2 / weights) if whole else float(weights.sum())
    return _tost(float(one.mean() - two.mean()), float(np.sqrt(whole)), float(df), margins, alpha)


def _named(
    values: npt.ArrayLike, clusters: npt.ArrayLike | None, name: str
) -> npt.NDArray[np.float64]:
    """Return cluster means; an error names the group."""
    try:
        return cluster_means(values, clusters)
    except (TypeError, ValueError) as error:
        text = str(error).replace("values", name).replace("clusters", f"{name}_clusters")
        raise type(error)(text) from None


def _tost(
    value: float, error: float, df: float, margins: tuple[float, float], alpha: float
) -> Equivalence:
    low, high = (float(one) for one in check.array("margins", margins, shape=(2,)))
    if not low < high:
        raise ValueError(f"margins is {margins!r}, expected the lower one first")
    alpha = check.share("alpha", alpha, inside=True)
    if alpha >= 0.5:
        raise ValueError(f"alpha is {alpha}, expected below 0.5")
    if error:
        sides = stats.t.sf((value - low) / error, df), stats.t.cdf((value - high) / error, df)
        p = float(max(sides))
    else:
        p = 0.0 if low < value < high else 1.0
    half = float(stats.t.isf(alpha, df)) * error
    return Equivalence(value, value - half, value + half, p, (low, high), df, alpha)
