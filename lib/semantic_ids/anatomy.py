"""What a code tree looks like before any model: sizes, entropies, the hourglass, determinism."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.core import check
from lib.semantic_ids.catalogue import IntArray, check_codes, prefix_ranks
from lib.semantic_ids.counts import NGramCounts, item_counts
from lib.semantic_ids.datasets import SidData

__all__ = [
    "code_use",
    "contexts",
    "count_accuracy",
    "determinism",
    "distinct_prefixes",
    "next_code_entropy",
    "summary",
]

FloatArray = npt.NDArray[np.float64]


def _entropy(counts: FloatArray) -> float:
    """Return the entropy of counts in bits."""
    share = counts[counts > 0] / counts.sum()
    return abs(float((share * np.log2(share)).sum()))  # never −0


def _weights(weights: npt.ArrayLike, n_items: int) -> FloatArray:
    found = check.array("weights", weights, shape=(n_items,), at_least=0)
    if not found.any():
        raise ValueError("weights are all 0, expected some above")
    return found


def distinct_prefixes(codes: IntArray, n_codes: int) -> IntArray:
    """Return the number of distinct prefixes of each length, int64 ``(n_levels,)``.

    Examples
    --------
    >>> distinct_prefixes(np.array([[0, 1], [0, 2], [1, 2]]), 3)
    array([2, 3])
    """
    return np.asarray(prefix_ranks(check_codes(codes, n_codes)).max(axis=0) + 1, np.int64)


def next_code_entropy(codes: IntArray, n_codes: int, weights: npt.ArrayLike) -> FloatArray:
    """Return the entropy of the next code given the prefix at each level, in bits.

    Parameters
    ----------
    codes : int64 (n_items, n_levels)
    n_codes : int
    weights : float (n_items,)
        Interactions of each item; 1 for all treats the catalogue itself as the data.

    Returns
    -------
    float (n_levels,)
        0 where a prefix leaves no choice, ``log2(n_codes)`` at most.

    Examples
    --------
    >>> next_code_entropy(np.array([[0, 1], [0, 2], [1, 2]]), 4, [1, 1, 2])
    array([1. , 0.5])
    """
    table = check_codes(codes, n_codes)
    weight = _weights(weights, len(table))
    ranks = prefix_ranks(table).T
    joint = [0.0, *(_entropy(np.bincount(at, weights=weight).astype(np.float64)) for at in ranks)]
    # The chain rule: H(next | prefix) = H(prefix and next) − H(prefix).
    return np.maximum(np.diff(joint), 0)


def code_use(codes: IntArray, n_codes: int) -> FloatArray:
    """Return how evenly the codes of each level are used, float ``(n_levels,)`` in [0, 1].

    The entropy of the codes over the items, whatever stands before them, divided by that of the
    code book. A narrow middle is the hourglass.

    Examples
    --------
    >>> code_use(np.array([[0, 1], [1, 1]]), 2)
    array([1., 0.])
    """
    table = check_codes(codes, n_codes)
    if n_codes < 2:
        raise ValueError(f"n_codes is {n_codes}, expected at least 2")
    uses = [_entropy(np.bincount(column).astype(np.float64)) for column in table.T]
    return np.array([use / np.log2(n_codes) for use in uses])


def contexts(codes: IntArray, n_codes: int) -> FloatArray:
    """Return the mean number of distinct prefixes before one used code, at each level.

    Examples
    --------
    >>> contexts(np.array([[0, 2], [1, 2], [1, 3]]), 4)  # code 2 follows two prefixes, code 3 one
    array([1. , 1.5])
    """
    table = check_codes(codes, n_codes)
    used = np.array([len(np.unique(column)) for column in table.T])
    return np.asarray(distinct_prefixes(table, n_codes) / used, np.float64)


def determinism(codes: IntArray, n_codes: int, weights: npt.ArrayLike) -> FloatArray:
    """Return the share of interactions whose prefix leaves one code only, float ``(n_levels,)``.

    Examples
    --------
    >>> determinism(np.array([[0, 1], [0, 2], [1, 2]]), 3, [1, 1, 2])
    array([0. , 0.5])
    """
    table = check_codes(codes, n_codes)
    weight = _weights(weights, len(table))
    shares = []
    before = np.zeros(len(table), np.int64)
    for rank in prefix_ranks(table).T:
        children = np.bincount(before[np.unique(rank, return_index=True)[1]])
        shares.append(weight[children[before] == 1].sum() / weight.sum())
        before = rank
    return np.array(shares)


def count_accuracy(data: SidData, *, fitted_on: str = "train") -> npt.NDArray[np.bool_]:
    """Return where the count table is right on each test item, bool ``(n_users, n_levels)``.

    Parameters
    ----------
    data : SidData
        With sequences.
    fitted_on : {"train", "test"}
        ``"test"`` is a leak on purpose: the best any predictor can do that ignores the user.
    """
    check.known("fitted_on", fitted_on, ("train", "test"))
    split = data.split()
    source = split.train if fitted_on == "train" else [split.test.targets]
    table = NGramCounts.fit(data.codes, data.n_codes, source)
    return table.hits(data.codes[split.test.targets])


def summary(data: SidData) -> pd.DataFrame:
    """Return the anatomy of a catalogue, one row a level.

    Columns: prefixes, contexts of a code, use of the code book, and, where there are sequences,
    entropy of the next code (train-weighted, bits), share of determined train interactions,
    accuracy of the count table on the test items and of the table fitted on them.
    """
    codes, size = data.codes, data.n_codes
    table = pd.DataFrame(
        {
            "level": np.arange(1, data.n_levels + 1),
            "prefixes": distinct_prefixes(codes, size),
            "contexts": contexts(codes, size),
            "code use": code_use(codes, size),
        }
    )
    if data.sequences:
        weights = item_counts(data.split().train, data.n_items)
        table["entropy"] = next_code_entropy(codes, size, weights)
        table["determined"] = determinism(codes, size, weights)
        table["counts"] = count_accuracy(data).mean(axis=0)
        table["ceiling"] = count_accuracy(data, fitted_on="test").mean(axis=0)
    table.insert(0, "catalogue", data.name)
    return table
