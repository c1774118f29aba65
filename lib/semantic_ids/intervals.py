"""Intervals: users drawn anew, the same draws for all that is compared, and the spread of seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lib.core import check

__all__ = ["Estimate", "Resample"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float
    high: float


class Resample:
    """Bootstrap over users, with the spread of seeds beside it.

    Means of everything that is compared are taken over the same draws, so a difference of two arms
    is paired by user and by seed. Of two or three seeds no bootstrap tells the spread; so each
    seed's own number is kept, and `estimate` adds their standard error, by t with as many degrees
    of freedom as the two parts together have (Satterthwaite).

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
        drawn = rng.multinomial(n_users, np.full(n_users, 1 / n_users), size=draws)
        # The first row is the sample itself, the next are its seeds, the others draws of users.
        self._users = np.vstack([np.ones((1 + n_seeds, n_users)), drawn])
        self._seeds = np.full((1 + n_seeds + draws, n_seeds), 1 / n_seeds)
        self._seeds[1 : 1 + n_seeds] = np.eye(n_seeds)

    def mean(self, values: npt.ArrayLike, *, where: npt.ArrayLike | None = None) -> Floats:
        """Return the mean of the sample, of each seed and of each draw.

        Parameters
        ----------
        values : (n_seeds, n_users) or (n_users,)
            The latter for what has no seed.
        where : bool, (n_seeds, n_users) or (n_users,), optional
            Only these users (a subgroup).

        Returns
        -------
        float64 (1 + n_seeds + draws,)
            NaN where a draw holds no user of a seed's group.

        Raises
        ------
        ValueError
            If values are of another shape or not finite, or a seed has no user left.
        """
        shape = (self._seeds.shape[1], self._users.shape[1])
        group = np.asarray(True if where is None else where)
        try:
            x = np.broadcast_to(np.asarray(values, np.float64), shape)
            w = np.broadcast_to(group, shape)
        except ValueError:
            raise ValueError(
                f"values have shape {np.shape(values)}, expected {shape} or {shape[1:]}"
            ) from None
        if not np.isfinite(x).all() or group.dtype != bool:
            raise ValueError("values are not finite, or where is not of true and false")
        if not w.any(axis=1).all():
            raise ValueError("a seed has no user left")
        size = self._users @ w.T
        # A draw without any user of the group says nothing of it, and certainly not 0.
        per_seed = self._users @ (w * x).T / np.where(size > 0, size, np.nan)
        return np.asarray((per_seed * self._seeds).sum(axis=1), np.float64)

    def resampled(self, statistics: Sequence[Callable[[Floats], Floats]]) -> Floats:
        """Return a statistic that is no mean over users, as `mean` does.

        Parameters
        ----------
        statistics : sequence of callable
            One a seed; takes how often each user is taken, ``(n, n_users)``, and returns ``(n,)``.
        """
        if len(statistics) != self._seeds.shape[1]:
            raise ValueError(
                f"{len(statistics)} statistics, expected one a seed: {self._seeds.shape[1]}"
            )
        per_seed = np.stack([one(self._users) for one in statistics], axis=1)
        return np.asarray((per_seed * self._seeds).sum(axis=1), np.float64)

    def estimate(self, samples: Floats, level: float = 0.95) -> Estimate:
        """Return the first number with its interval, from draws and seeds; NaN is left out."""
        n, tail = self._seeds.shape[1], (1 - level) / 2
        value = float(samples[0])
        ends = np.nanquantile(samples[1 + n :], [tail, 1 - tail])
        of_users, error = np.abs(ends - value), 0.0
        wider = 1.0
        if n > 1:
            error = float(np.std(samples[1 : 1 + n], ddof=1)) / n**0.5
            normal = stats.norm.ppf(1 - tail)
            both = (of_users.mean() / normal) ** 2 + error**2
            freedom = (n - 1) * (both / error**2) ** 2 if error > 0 else np.inf
            times = stats.t.ppf(1 - tail, freedom)
            wider, error = times / normal, times * error
        half = np.hypot(wider * of_users, error)
        return Estimate(value, value - float(half[0]), value + float(half[1]))
