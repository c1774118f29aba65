"""The baseline the paper lacks: how often each code follows each prefix, whoever the user is.

A table of counts from train interactions only. It knows nothing of the history, so whatever it
predicts correctly at depth is a property of the code tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from lib.core import check
from lib.semantic_ids.catalogue import IntArray, SidCatalog, check_codes, check_sequences

__all__ = ["NGramCounts", "item_counts"]

FloatArray = npt.NDArray[np.float64]


class _Level(NamedTuple):
    """What follows the prefixes of one length, by node of the trie."""

    weight: FloatArray  # of each child, one level down
    total: FloatArray  # of each prefix
    best: IntArray  # most frequent code after each prefix, the lowest of equals
    marginal: FloatArray  # (n_codes,), what to fall back on


def item_counts(sequences: Sequence[IntArray], n_items: int) -> IntArray:
    """Return how often each item occurs, int64 ``(n_items,)``.

    Examples
    --------
    >>> item_counts([np.array([0, 2]), np.array([2])], 3)
    array([1, 0, 2])
    """
    check.integer("n_items", n_items, at_least=1)
    seen = check_sequences("sequences", sequences, below=n_items)
    if not seen:
        return np.zeros(n_items, np.int64)
    return np.bincount(np.concatenate(seen), minlength=n_items).astype(np.int64)


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
        How often each item was seen in train, 0 to 2^53 (beyond which a float no longer counts by
        ones), not all 0.
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
        weight = check.array("weights", weights, shape=(len(table),), at_least=0, at_most=2**53)
        if not weight.any():
            raise ValueError("weights are all 0, there is nothing to count")
        self.n_codes = int(n_codes)
        self.n_levels = int(table.shape[1])
        self.alpha = check.number("alpha", alpha, above=0)
        seen = weight > 0
        self._trie = SidCatalog(table[seen], n_codes)
        self._levels = [self._count(length, weight[seen]) for length in range(self.n_levels)]

    @classmethod
    def fit(
        cls, codes: npt.ArrayLike, n_codes: int, train: Sequence[IntArray], *, alpha: float = 1.0
    ) -> Self:
        """Count the items of train sequences; never hand it a test interaction."""
        table = check_codes(codes, n_codes)
        return cls(table, n_codes, weights=item_counts(train, len(table)), alpha=alpha)

    def _count(self, length: int, weight: FloatArray) -> _Level:
        here, below = self._trie.level(length), self._trie.level(length + 1)
        count = np.add.reduceat(weight[below.by_leaf], below.first[:-1])
        parent, code = np.divmod(below.keys, self.n_codes)
        # By prefix, then count downwards, then code upwards: the first of each prefix is its best.
        order = np.lexsort((code, -count, parent))
        marginal = np.bincount(code, weights=count, minlength=self.n_codes) + 1
        return _Level(
            count,
            np.add.reduceat(count, here.children[:-1]),
            code[order][here.children[:-1]],
            marginal / marginal.sum(),
        )

    def _find(self, prefixes: npt.ArrayLike) -> tuple[int, _Level, IntArray]:
        wanted = check.integers("prefixes", prefixes, shape=("n", "length"), empty=True)
        if wanted.shape[1] >= self.n_levels:
            raise ValueError(
                f"prefixes have shape {wanted.shape}, expected (n, 0 to {self.n_levels - 1} codes)"
            )
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.n_codes):
            raise ValueError(f"prefixes hold a code outside [0, {self.n_codes})")
        return wanted.shape[1], self._levels[wanted.shape[1]], self._trie.nodes(wanted)

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
        _, level, node = self._find(prefixes)
        return np.where(node < 0, level.marginal.argmax(), level.best[node]).astype(np.int64)

    def probabilities(self, prefixes: npt.ArrayLike) -> FloatArray:
        """Return the probability of every next code, float ``(n, n_codes)``; rows sum to 1."""
        length, level, node = self._find(prefixes)
        result = np.tile(self.alpha * level.marginal, (len(node), 1))
        known = np.flatnonzero(node >= 0)
        start = self._trie.level(length).children.astype(np.int64)
        low, number = start[node[known]], np.diff(start)[node[known]]
        rows = np.repeat(known, number)
        child = np.arange(len(rows)) + np.repeat(low - np.cumsum(number) + number, number)
        result[rows, self._trie.level(length + 1).keys[child] % self.n_codes] += level.weight[child]
        total = np.where(node < 0, 0.0, level.total[node])
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
