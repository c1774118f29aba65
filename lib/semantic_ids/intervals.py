"""Intervals: users and seeds drawn anew, the same draws for all that is compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lib.core import check

__all__ = ["Estimate", "Resample"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float
    high: float

    def percent(self, digits: int = 1) -> str:
        """Return it in per cent, for tables.

        Examples
        --------
        >>> Estimate(0.1234, 0.1, 0.15).percent()
        '12.3 (10.0 to 15.0)'
        """
        value, low, high = (f"{100 * x:.{digits}f}" for x in (self.value, self.low, self.high))
        return f"{value} ({low} to {high})"


class Resample:
    """Bootstrap over users and seeds at once.

    Means of everything that is compared are taken over the same draws, so a difference of two arms
    is paired by user and by seed. With three seeds the draw over seeds is coarse; it is there so
    that an interval is not that of one lucky start.

    Parameters
    ----------
    n_seeds, n_users : int
        At least 1.
    draws : int
    seed : int

    Examples
    --------
    >>> draw = Resample(1, 4, draws=200)
    >>> draw.estimate(draw.mean([[0, 1, 1, 1]]) - draw.mean([0, 0, 1, 1])).value
    0.25
    """

    def __init__(self, n_seeds: int, n_users: int, *, draws: int = 1000, seed: int = 0) -> None:
        for name, value in (("n_seeds", n_seeds), ("n_users", n_users), ("draws", draws)):
            check.integer(name, value, at_least=1)
        check.integer("seed", seed, at_least=0)
        rng = np.random.default_rng(seed)
        # The first row is the sample itself.
        drawn = rng.multinomial(n_users, np.full(n_users, 1 / n_users), size=draws)
        self._users = np.vstack([np.ones(n_users), drawn])
        drawn = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=draws)
        self._seeds = np.vstack([np.ones(n_seeds), drawn]) / n_seeds

    def mean(self, values: npt.ArrayLike, *, where: npt.ArrayLike | None = None) -> Floats:
        """Return the mean of the sample and of each draw.

        Parameters
        ----------
        values : (n_seeds, n_users) or (n_users,)
            The latter for what has no seed.
        where : bool, (n_seeds, n_users) or (n_users,), optional
            Only these users (a subgroup).

        Returns
        -------
        float64 (1 + draws,)
            NaN where a draw holds no user of a seed's group.

        Raises
        ------
        ValueError
            If values are of another shape or not finite, or a seed has no user left.
        """
        shape = (self._seeds.shape[1], self._users.shape[1])
        try:
            x = np.broadcast_to(np.asarray(values, np.float64), shape)
            w = np.broadcast_to(np.asarray(True if where is None else where, np.float64), shape)
        except ValueError:
            raise ValueError(
                f"values have shape {np.shape(values)}, expected {shape} or {shape[1:]}"
            ) from None
        if not np.isfinite(x).all():
            raise ValueError("values are not finite")
        if not w.any(axis=1).all():
            raise ValueError("a seed has no user left")
        size = self._users @ w.T
        # A draw without any user of the group says nothing of it, and certainly not 0.
        per_seed = self._users @ (w * x).T / np.where(size > 0, size, np.nan)
        return np.asarray((per_seed * self._seeds).sum(axis=1), np.float64)

    def resampled(self, statistics: Sequence[Callable[[Floats], Floats]]) -> Floats:
        """Return a statistic that is no mean over users, for the sample and for each draw.

        Parameters
        ----------
        statistics : sequence of callable
            One a seed; takes how often each user is drawn, ``(1 + draws, n_users)``, and returns
            ``(1 + draws,)``.

        Returns
        -------
        float64 (1 + draws,)
            Mean over the seeds drawn.
        """
        if len(statistics) != self._seeds.shape[1]:
            raise ValueError(
                f"{len(statistics)} statistics, expected one a seed: {self._seeds.shape[1]}"
            )
        per_seed = np.stack([one(self._users) for one in statistics], axis=1)
        return np.asarray((per_seed * self._seeds).sum(axis=1), np.float64)

    @staticmethod
    def estimate(samples: Floats, level: float = 0.95) -> Estimate:
        """Return the first number with the percentile interval of the others, NaN left out."""
        low, high = np.nanquantile(samples[1:], [(1 - level) / 2, (1 + level) / 2])
        return Estimate(float(samples[0]), float(low), float(high))
