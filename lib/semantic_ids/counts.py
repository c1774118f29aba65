"""The baseline the paper lacks: how often each code follows each prefix, whoever the user is.

A table of counts from train interactions only. It knows nothing of the history, so whatever it
predicts correctly at depth is a property of the code tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from lib.semantic_ids.catalogue import IntArray, check_codes, prefix_keys

__all__ = ["NGramCounts", "item_counts"]

FloatArray = npt.NDArray[np.float64]


class _Level(NamedTuple):
    """Children of every prefix of one length, laid flat."""

    prefix: IntArray  # keys of seen prefixes, ascending
    start: IntArray  # where the children of each begin, (n_prefixes + 1,)
    code: IntArray  # code of each child, ascending within a prefix
    weight: FloatArray
    total: FloatArray  # of each prefix
    best: IntArray  # most frequent code of each prefix, the lowest of equals
    marginal: FloatArray  # (n_codes,), what to fall back on


def item_counts(sequences: Sequence[IntArray], n_items: int) -> IntArray:
    """Return how often each item occurs, int64 ``(n_items,)``.

    Examples
    --------
    >>> item_counts([np.array([0, 2]), np.array([2])], 3)
    array([1, 0, 2])
    """
    if not sequences:
        return np.zeros(n_items, np.int64)
    seen = np.concatenate(sequences)
    if seen.size and (seen.min() < 0 or seen.max() >= n_items):
        raise ValueError(f"items {seen.min()} to {seen.max()}, expected 0 to {n_items - 1}")
    return np.bincount(seen, minlength=n_items).astype(np.int64)


class NGramCounts:
    """Counts of the next code after each prefix of an ID, with add-α back-off.

    The probability of code c after prefix x at level l is
    ``(n(x, c) + α·q(c)) / (n(x) + α)`` with ``q(c) = (n_l(c) + 1) / (n_l + K)``, the share of c
    among all codes of the level. An unseen prefix gets q.

    Parameters
    ----------
    codes : int64 (n_items, n_levels)
    n_codes : int
        K.
    weights : float (n_items,)
        How often each item was seen in train, finite and nonnegative, not all 0.
    alpha : float
        Strength of the back-off, positive.

    Examples
    --------
    >>> table = NGramCounts([[0, 1], [0, 2], [1, 2]], 3, weights=[5, 1, 2])
    >>> table.predict(np.array([[0], [1], [2]]))  # after 2, never seen: the level's most frequent
    array([1, 2, 1])
    """

    def __init__(
        self, codes: npt.ArrayLike, n_codes: int, *, weights: npt.ArrayLike, alpha: float = 1.0
    ) -> None:
        table = check_codes(codes, n_codes)
        weight = np.asarray(weights, np.float64)
        if weight.shape != (len(table),) or not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError(
                f"weights have shape {weight.shape}, expected {len(table)} finite numbers ≥ 0"
            )
        if not weight.any():
            raise ValueError("all weights are 0, there is nothing to count")
        if not 0 < alpha < np.inf:
            raise ValueError(f"alpha is {alpha}, expected a positive number")
        self.n_codes = int(n_codes)
        self.n_levels = int(table.shape[1])
        self.alpha = float(alpha)
        seen = weight > 0
        self._levels = [
            self._count(table[seen, :length], table[seen, length], weight[seen])
            for length in range(self.n_levels)
        ]

    @classmethod
    def fit(
        cls, codes: npt.ArrayLike, n_codes: int, train: Sequence[IntArray], *, alpha: float = 1.0
    ) -> Self:
        """Count the items of train sequences; never hand it a test interaction."""
        return cls(codes, n_codes, weights=item_counts(train, len(np.asarray(codes))), alpha=alpha)

    def _count(self, prefixes: IntArray, nexts: IntArray, weight: FloatArray) -> _Level:
        prefix, at = np.unique(prefix_keys(prefixes, self.n_codes), return_inverse=True)
        child, place = np.unique(at * self.n_codes + nexts, return_inverse=True)
        count = np.asarray(np.bincount(place, weights=weight), np.float64)
        owner, code = np.divmod(child, self.n_codes)
        start = np.searchsorted(owner, np.arange(len(prefix) + 1))
        # By prefix, then count downwards, then code upwards: the first of each prefix is its best.
        order = np.lexsort((code, -count, owner))
        marginal = np.bincount(nexts, weights=weight, minlength=self.n_codes) + 1
        return _Level(
            prefix,
            start.astype(np.int64),
            code.astype(np.int64),
            count,
            np.add.reduceat(count, start[:-1]),
            code[order][start[:-1]].astype(np.int64),
            marginal / marginal.sum(),
        )

    def _find(self, prefixes: npt.ArrayLike) -> tuple[_Level, IntArray, npt.NDArray[np.bool_]]:
        wanted = np.asarray(prefixes)
        if wanted.ndim != 2 or wanted.shape[1] >= self.n_levels:
            raise ValueError(
                f"prefixes have shape {wanted.shape}, expected (n, 0 to {self.n_levels - 1} codes)"
            )
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.n_codes):
            raise ValueError(f"a code is outside [0, {self.n_codes})")
        level = self._levels[wanted.shape[1]]
        key = prefix_keys(wanted.astype(np.int64), self.n_codes)
        at = np.minimum(np.searchsorted(level.prefix, key), len(level.prefix) - 1)
        return level, at.astype(np.int64), level.prefix[at] == key

    def predict(self, prefixes: npt.ArrayLike) -> IntArray:
        """Return the most frequent next code of each prefix, the lowest of equals.

        Parameters
        ----------
        prefixes : integers (n, length)
            Length 0 asks for the first code.

        Returns
        -------
        int64 (n,)
        """
        level, at, known = self._find(prefixes)
        return np.where(known, level.best[at], int(level.marginal.argmax())).astype(np.int64)

    def probabilities(self, prefixes: npt.ArrayLike) -> FloatArray:
        """Return the probability of every next code, float ``(n, n_codes)``; rows sum to 1."""
        level, at, known = self._find(prefixes)
        total = np.where(known, level.total[at], 0.0)
        result = self.alpha * np.broadcast_to(level.marginal, (len(at), self.n_codes)).copy()
        number = np.where(known, level.start[at + 1] - level.start[at], 0)
        rows = np.repeat(np.arange(len(at)), number)
        inside = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
        child = np.repeat(level.start[at], number) + inside
        result[rows, level.code[child]] += level.weight[child]
        return result / (total + self.alpha)[:, None]

    def logits(self, prefixes: npt.ArrayLike) -> FloatArray:
        """Return log-probabilities, to be added to those of a model (log-linear mixing)."""
        return np.log(self.probabilities(prefixes))

    def accuracy(self, codes: npt.ArrayLike) -> FloatArray:
        """Return teacher-forced top-1 accuracy at each level, float ``(n_levels,)``, in [0, 1].

        Parameters
        ----------
        codes : integers (n, n_levels)
            IDs of the target items.
        """
        return np.asarray(self.hits(codes).mean(axis=0), np.float64)

    def hits(self, codes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return where the most frequent code is the right one, bool ``(n, n_levels)``."""
        target = check_codes(codes, self.n_codes, n_levels=self.n_levels)
        return np.column_stack(
            [self.predict(target[:, :level]) == target[:, level] for level in range(self.n_levels)]
        )

    def log_likelihood(self, codes: npt.ArrayLike) -> FloatArray:
        """Return log-probability of each code of each target, float ``(n, n_levels)``, in nats."""
        target = check_codes(codes, self.n_codes, n_levels=self.n_levels)
        rows = np.arange(len(target))
        return np.column_stack(
            [
                self.logits(target[:, :level])[rows, target[:, level]]
                for level in range(self.n_levels)
            ]
        )
