"""Measurements of maps, hashes and trees that the first two notebooks show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from lib.core import check
from lib.semantic_ids.catalogue import IntArray, prefix_ranks
from lib.semantic_ids.counts import NGramCounts, item_counts
from lib.semantic_ids.datasets import SidData
from lib.semantic_ids.hashing import PrefixHash
from lib.semantic_ids.study.expressive import additive, all_prefixes, represented_by_rows

__all__ = [
    "additive_share",
    "dealt",
    "neighbours",
    "one_row_share",
    "parity_share",
    "scrambled",
    "tied",
    "told_apart",
    "user_interval",
    "zero_confused",
]


def additive_share(n_codes: int, *, n_maps: int, seed: int) -> float:
    """Return the share of random maps from two codes to one that a sum of terms represents.

    Parameters
    ----------
    n_codes : int
        K; the maps are drawn evenly from all ``K^(K²)``.
    n_maps, seed : int
    """
    rng = np.random.default_rng(seed)
    table = all_prefixes(n_codes, 2)
    maps = rng.integers(n_codes, size=(n_maps, len(table)))
    return float(np.mean([additive(table, one, n_codes=n_codes).feasible for one in maps]))


def one_row_share(n_codes: int, *, n_maps: int, seed: int) -> float:
    """Return the share of the same maps that one row a prefix represents."""
    rng = np.random.default_rng(seed)
    table = all_prefixes(n_codes, 2)
    rows = prefix_ranks(table)[:, -1]
    maps = rng.integers(n_codes, size=(n_maps, len(table)))
    return float(np.mean([represented_by_rows(rows, one, n_codes=n_codes) for one in maps]))


def zero_confused(hashing: PrefixHash, prefixes: IntArray) -> float:
    """Return the share of prefixes that share every row with their own extension by code 0.

    Parameters
    ----------
    hashing : PrefixHash
        Of kind ``full``, whose lengths share one table.
    prefixes : int64 (n_prefixes, length)
        Shorter than the hash's IDs.
    """
    length = prefixes.shape[1]
    if hashing.kind != "full" or not 1 <= length < hashing.n_levels:
        raise ValueError(
            f"kind is {hashing.kind!r} and length {length}, expected full and 1 to "
            f"{hashing.n_levels - 1}"
        )
    padded = np.zeros((len(prefixes), hashing.n_levels), np.int64)
    padded[:, :length] = prefixes
    rows = hashing.index(padded)[:, :, 0]
    return float((rows[:, length - 1] == rows[:, length]).all(axis=1).mean())


def parity_share(hashing: PrefixHash, codes: IntArray) -> float:
    """Return the share of IDs whose rows, of the last level and order, are all even or all odd."""
    lowest = hashing.index(codes)[:, -1, -1] % 2
    return float((lowest == lowest[:, :1]).all(axis=1).mean())


def told_apart(hashing: PrefixHash, n_codes: int) -> int:
    """Return how many of the first codes 0 to ``n_codes - 1`` have rows of their own kind."""
    codes = np.zeros((n_codes, hashing.n_levels), np.int64)
    codes[:, 0] = np.arange(n_codes)
    return len(np.unique(hashing.index(codes)[:, 0, 0], axis=0))


def user_interval(
    values: npt.ArrayLike, *, seed: int = 0, n_resamples: int = 1000
) -> list[tuple[float, float]]:
    """Return 95 % percentile intervals of the column means, resampling the rows (users).

    Parameters
    ----------
    values : float or bool (n_users, n_columns) or (n_users,)
        Numbers, or hits and misses.
    seed, n_resamples : int

    Returns
    -------
    list of (low, high)
        One a column.
    """
    given = np.asarray(values)
    table = check.array("values", given.astype(float) if given.dtype == bool else given)
    if len(table) < 2:
        raise ValueError(f"values have {len(table)} rows, expected at least 2")
    table = table.reshape(len(table), -1)
    check.integer("seed", seed, at_least=0)
    check.integer("n_resamples", n_resamples, at_least=1)
    rng = np.random.default_rng(seed)
    means = np.empty((n_resamples, table.shape[1]))
    for i in range(n_resamples):
        weight = np.bincount(rng.integers(len(table), size=len(table)), minlength=len(table))
        means[i] = weight @ table / len(table)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def dealt(codes: IntArray, seed: int) -> IntArray:
    """Return the codes with every column dealt out anew among the items: a control."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.permutation(column) for column in codes.T])


def tied(
    codes: IntArray, n_codes: int, *, draws: int = 20, seed: int = 0
) -> tuple[float, float, float]:
    """Return the bits that the last codes share with each code before, added up, beyond chance.

    Chance is the same with the last codes shuffled over the items. A last level that only tells
    items apart has about 0.

    Parameters
    ----------
    codes : int64 (n_items, n_levels)
        Of two levels or more.
    n_codes, draws, seed : int

    Returns
    -------
    (bits, from, to)
        With 95 % of the spread of chance (1.96 deviations).
    """
    rng = np.random.default_rng(seed)
    before, last = codes[:, :-1].T * n_codes, codes[:, -1]

    def joint(code: IntArray) -> float:
        # Entropies of single levels do not change by shuffling; those of pairs say it all.
        return float(sum(stats.entropy(np.bincount(one + code), base=2) for one in before))

    chance = np.array([joint(rng.permutation(last)) for _ in range(draws)])
    bits, spread = float(chance.mean()) - joint(last), 1.96 * float(chance.std(ddof=1))
    return bits, bits - spread, bits + spread


def neighbours(data: SidData) -> pd.DataFrame:
    """Return how often two items in a row of a train sequence share a code, a column a level.

    Returns
    -------
    DataFrame
        The share and what chance would give, which draws both by their number of interactions;
        then the same of pairs whose first codes differ, where chance knows both first codes.
    """
    train, codes = data.split().train, data.codes
    one, two = (codes[np.concatenate([s[at] for s in train])] for at in (np.s_[:-1], np.s_[1:]))
    other = one[:, 0] != two[:, 0]
    weight, found = item_counts(train, data.n_items), {}
    for level in range(data.n_levels):
        joint = np.zeros((data.n_codes, data.n_codes))
        np.add.at(joint, (codes[:, 0], codes[:, level]), weight)
        even, given = joint.sum(0) / joint.sum(), joint / np.maximum(joint.sum(1)[:, None], 1)
        chance = (given @ given.T)[one[other, 0], two[other, 0]]
        same = one[:, level] == two[:, level]
        found[f"level {level + 1}"] = same.mean(), even @ even, same[other].mean(), chance.mean()
    names = ["all pairs", "by chance", "pairs of other first codes", "by chance, given these"]
    return pd.DataFrame(found, index=names)


def scrambled(data: SidData, *, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Return count-table hits after the tree has been destroyed: a control.

    Every interaction gets codes drawn afresh from those of its level, so that a prefix says nothing
    about what follows.
    """
    check.integer("seed", seed, at_least=0)
    split = data.split()
    rng = np.random.default_rng(seed)
    train = np.concatenate(split.train)
    size = len(train) + len(split.test)
    fresh = np.column_stack([rng.choice(column, size=size) for column in data.codes.T])
    table = NGramCounts(fresh, data.n_codes, weights=(np.arange(size) < len(train)) * 1.0)
    return table.hits(fresh[len(train) :])
