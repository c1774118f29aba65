"""From a log of impressions and actions to blended examples (arXiv 2606.00422).

An example is a user's past, and one slate that was shown later, with what was done to each item of
it. A long past belongs to many slates. So both are kept in tables of their own, in buckets by a
hash of the user, and joined bucket by bucket when training reads them: every event is stored once,
and how much of the past is read is chosen at the join.

Decided here, for the paper does not say it:

- the past of a slate is what lies *strictly before its first second*. What stands in the same
  second may be of the same page, or come after;
- of slates without engagement the share kept in training is chosen by a hash of user and time: it
  depends on neither order nor buckets;
- where slates are not recorded, `sessions` takes what a user did without a longer break for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from lib.core import check
from lib.unified_ranking.actions import ActionVocab
from lib.unified_ranking.tensors import Ints, flags, mix, scramble

__all__ = ["Batch", "Examples", "Log", "buckets", "join", "join_buckets", "read_log", "sessions"]

Floats = npt.NDArray[np.float64]
Actions = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Log:
    """Events in order of user and time; those of equal times keep the order they came in.

    Parameters
    ----------
    users, items : int array_like, shape (n,)
        Nonnegative. Items are rows of the table of content vectors.
    times : array_like, shape (n,)
        Seconds, finite.
    actions : array_like, shape (n, C)
        Zeros and ones, or truth values; all zeros where an item was only shown.
    slates : int array_like, shape (n,)
        Number of the slate that showed the item, with one user and one surface each; −1 for events
        that are past alone.
    surfaces : int array_like, shape (n,), optional
        0 by default.

    Examples
    --------
    >>> log = Log([1, 1], [5, 6], [20.0, 10.0], [[1], [0]], [-1, -1])
    >>> log.items.tolist()
    [6, 5]
    """

    users: Ints
    items: Ints
    times: Floats
    actions: Actions
    slates: Ints
    surfaces: Ints | None = None

    def __post_init__(self) -> None:
        users = check.integers("users", self.users, shape=("n",), at_least=0, empty=True)
        items = check.integers("items", self.items, shape=("n",), at_least=0, empty=True)
        times = check.array("times", self.times, shape=("n",), empty=True)
        actions = flags("actions", self.actions, ("n", "C"))
        slates = check.integers("slates", self.slates, shape=("n",), at_least=-1, empty=True)
        given = np.zeros(len(users), np.int64) if self.surfaces is None else self.surfaces
        surfaces = check.integers("surfaces", given, shape=("n",), at_least=0, empty=True)
        check.same_length(
            users=users, items=items, times=times, actions=actions, slates=slates, surfaces=surfaces
        )
        # lexsort is stable, so ties keep their order.
        order = np.lexsort((times, users))
        for name, value in (
            ("users", users),
            ("items", items),
            ("times", times),
            ("actions", actions.astype(np.float32)),
            ("slates", slates),
            ("surfaces", surfaces),
        ):
            object.__setattr__(self, name, value[order])
        for name in ("users", "surfaces"):
            _one_each(name, getattr(self, name), self.slates)

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: npt.NDArray[Any]) -> Log:
        """Return the events of some rows, by number or by truth value."""
        return Log(
            self.users[rows],
            self.items[rows],
            self.times[rows],
            self.actions[rows],
            self.slates[rows],
            self._surfaces[rows],
        )

    @property
    def _surfaces(self) -> Ints:
        assert self.surfaces is not None
        return self.surfaces


def _one_each(name: str, values: Ints, slates: Ints) -> None:
    """Refuse a slate that has two users, or two surfaces."""
    within = slates >= 0
    pairs = np.unique(np.column_stack([slates[within], values[within]]), axis=0)
    twice = pairs[1:][pairs[1:, 0] == pairs[:-1, 0]]
    if len(twice):
        raise ValueError(f"slate {twice[0, 0]} has more than one of {name}, expected one")


def read_log(
    frame: pd.DataFrame,
    vocab: ActionVocab,
    *,
    items: Sequence[Any],
    user: str = "user",
    item: str = "item",
    time: str = "time",
    slate: str | None = None,
    surface: str | None = None,
) -> Log:
    """Return a log from a table with one row an event.

    Parameters
    ----------
    frame : DataFrame
        A column of 0 and 1 (or truth values) for each action of the vocabulary, and the columns
        below; others are not looked at.
    vocab : ActionVocab
    items : sequence
        Names of the items, in the order of the table of content vectors.
    user, item, time : str
        Columns. Users are whole numbers, or texts, which are hashed; times are seconds, or dates
        with or without a zone (without one they count as UTC).
    slate : str, optional
        Column with the number or name of the slate; missing where an event is past alone. Without
        it no event is of a slate; see `sessions`.
    surface : str, optional
        Column with whole numbers from 0 on.

    Raises
    ------
    ValueError
        On a missing column or value, an unknown item, or an action other than 0 and 1.

    Examples
    --------
    >>> table = pd.DataFrame({"user": [1, 1], "item": ["b", "a"], "time": [10, 20],
    ...                       "save": [1, 0], "page": [4, 4]})
    >>> log = read_log(table, ActionVocab(("save",)), items=["a", "b"], slate="page")
    >>> log.items.tolist(), log.actions.tolist()
    ([1, 0], [[1.0], [0.0]])
    """
    wanted = [user, item, time, *vocab.names]
    check.columns("frame", frame, [*wanted, *(one for one in (slate, surface) if one)])
    if not len(frame):
        raise ValueError(f"frame is empty (shape {frame.shape}), expected an event a row")
    place = {name: row for row, name in enumerate(check.unique("items", items))}
    rows = [place.get(one, -1) for one in frame[item]]
    if -1 in rows:
        unknown = frame[item].iloc[rows.index(-1)]
        raise ValueError(f"{item!r} is {unknown!r}, expected one of the {len(place)} items")
    actions = np.stack(
        [flags(repr(name), frame[name].to_numpy(), ("n",)) for name in vocab.names], axis=1
    )
    slates = np.full(len(frame), -1, np.int64)
    if slate is not None:
        slates = pd.factorize(frame[slate], use_na_sentinel=True)[0].astype(np.int64)
    return Log(
        _names(user, frame[user]),
        np.asarray(rows, np.int64),
        _seconds(time, frame[time]),
        actions.astype(np.float32),
        slates,
        check.integers(repr(surface), frame[surface]) if surface else None,
    )


def _names(column: str, values: pd.Series[Any]) -> Ints:
    """Return users as nonnegative numbers: their own, or 62 bits of a text's digest."""
    if pd.api.types.is_numeric_dtype(values):
        return check.integers(repr(column), values, at_least=0)
    texts = [check.text(repr(column), one) for one in values]
    digest = {
        one: int.from_bytes(hashlib.sha256(one.encode()).digest()[:8], "big") >> 2
        for one in set(texts)
    }
    if len(set(digest.values())) < len(digest):
        raise ValueError(f"two names in {column!r} have one hash, expected numbers for users")
    return np.array([digest[one] for one in texts], np.int64)


def _seconds(column: str, values: pd.Series[Any]) -> Floats:
    if pd.api.types.is_datetime64_any_dtype(values):
        if values.isna().any():
            raise ValueError(f"{column!r} has missing dates, expected a time in each row")
        utc = pd.to_datetime(values, utc=True)
        return np.asarray(utc.astype("datetime64[us, UTC]").astype(np.int64) / 1e6, np.float64)
    return check.array(repr(column), values)


def sessions(users: npt.ArrayLike, times: npt.ArrayLike, gap: float) -> Ints:
    """Return the number of the session of each event: a user's events without a longer break.

    Parameters
    ----------
    users : int array_like, shape (n,)
    times : array_like, shape (n,)
        Seconds, in any order.
    gap : float
        Seconds that may pass between neighbours, nonnegative. With 0 a session is one moment.

    Returns
    -------
    int64 (n,)
        From 0 on, in order of user and time.

    Examples
    --------
    >>> sessions([1, 1, 1, 2], [0, 30, 61, 0], gap=30).tolist()
    [0, 0, 1, 2]
    """
    names = check.integers("users", users, shape=("n",), at_least=0)
    seconds = check.array("times", times, shape=(len(names),))
    gap = check.number("gap", gap, at_least=0)
    order = np.lexsort((seconds, names))
    who, when = names[order], seconds[order]
    new = np.r_[False, (who[1:] != who[:-1]) | (np.diff(when) > gap)]
    found = np.empty(len(names), np.int64)
    found[order] = np.cumsum(new)
    return found


@dataclass(frozen=True, eq=False)
class Batch:
    """Blended examples as tensors, padded behind.

    Attributes
    ----------
    items : int64 Tensor, shape (batch, n)
    actions : float32 Tensor, shape (batch, n, C)
        Without the mask class.
    times : float64 Tensor, shape (batch, n)
        Seconds.
    surfaces : int64 Tensor, shape (batch, n)
    lengths : int64 Tensor, shape (batch,)
        Events that are there, 0 to n.
    candidates : int64 Tensor, shape (batch, k)
        Items of the slate.
    labels : float32 Tensor, shape (batch, k, C)
    shown : bool Tensor, shape (batch, k)
        Which candidates are no padding.
    when : float64 Tensor, shape (batch,)
        The slate's first second.
    where : int64 Tensor, shape (batch,)
        Its surface.
    """

    items: Tensor
    actions: Tensor
    times: Tensor
    surfaces: Tensor
    lengths: Tensor
    candidates: Tensor
    labels: Tensor
    shown: Tensor
    when: Tensor
    where: Tensor


@dataclass(frozen=True, eq=False)
class Examples:
    """Slates with the places of their pasts; made by `join`. Nothing of a past is copied.

    To train, what ends before a moment is taken (`split`), and thinned (`thin`); to evaluate, all
    that starts later.

    Attributes
    ----------
    past, shown : Log
        Where the pasts and the slates lie.
    first, last : int64 (n,)
        The past of each slate is rows ``first`` to ``last`` (without it) of `past`.
    offsets : int64 (n + 1,)
        The rows of slate e are ``rows[offsets[e]:offsets[e + 1]]``, in `shown`.
    rows : int64
    start, end : float (n,)
        Seconds of the slate's first and last item.
    """

    past: Log
    shown: Log
    first: Ints
    last: Ints
    offsets: Ints
    rows: Ints
    start: Floats
    end: Floats

    def __len__(self) -> int:
        return len(self.first)

    @property
    def users(self) -> Ints:
        """The user of each example, int64 ``(n,)``."""
        return self.shown.users[self.rows[self.offsets[:-1]]]

    @property
    def sizes(self) -> Ints:
        """Items of each slate, int64 ``(n,)``."""
        return np.diff(self.offsets)

    def slate(self, example: int) -> tuple[Ints, Actions]:
        """Return the items ``(m,)`` of a slate and what was done to them, ``(m, C)``."""
        example = check.integer("example", example, at_least=0, below=len(self))
        rows = self.rows[self.offsets[example] : self.offsets[example + 1]]
        return self.shown.items[rows], self.shown.actions[rows]

    def take(self, index: npt.ArrayLike) -> Examples:
        """Return some examples, by number; one may be taken twice.

        Raises
        ------
        ValueError
            If a number is none of an example.
        """
        at = check.integers(
            "index", index, shape=("n",), at_least=0, below=max(1, len(self)), empty=True
        )
        if len(at) and not len(self):
            raise ValueError(f"index is {at.tolist()!r:.40}, expected none: there is no example")
        sizes = self.sizes[at]
        offsets = np.r_[0, np.cumsum(sizes)]
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
        rows = self.rows[np.repeat(self.offsets[at], sizes) + within]
        return Examples(
            self.past,
            self.shown,
            self.first[at],
            self.last[at],
            offsets,
            rows,
            self.start[at],
            self.end[at],
        )

    def where(self, mask: npt.ArrayLike) -> Examples:
        """Return the examples where a mask, bool ``(n,)``, is true."""
        chosen = np.asarray(mask)
        if chosen.dtype != bool or chosen.shape != (len(self),):
            raise ValueError(
                f"mask has type {chosen.dtype} and shape {chosen.shape}, expected truth values "
                f"({len(self)},)"
            )
        return self.take(np.flatnonzero(chosen))

    def split(self, time: float) -> tuple[Examples, Examples]:
        """Return the examples that end before a moment, and those that start at it or later.

        A slate across the moment is in neither. A later example's past may hold events before the
        moment as well as after it; an earlier one's lies wholly before.

        Parameters
        ----------
        time : float
            Seconds.
        """
        time = check.number("time", time)
        return self.where(self.end < time), self.where(self.start >= time)

    def engaged(self, columns: Sequence[int]) -> Bools:
        """Return which slates hold an item with any of some actions, bool ``(n,)``.

        Parameters
        ----------
        columns : sequence of int
            See `ActionVocab.columns`.
        """
        width = self.shown.actions.shape[1]
        wanted = check.integers("columns", columns, shape=("n",), at_least=0, below=width)
        hit = (self.shown.actions[self.rows][:, wanted] > 0).any(axis=1)
        total = np.r_[0, np.cumsum(hit)]
        return np.asarray(total[self.offsets[1:]] > total[self.offsets[:-1]])

    def thin(self, columns: Sequence[int], keep: float = 0.1, *, seed: int = 0) -> Examples:
        """Return all engaged slates and a share of the others, as the paper trains.

        Parameters
        ----------
        columns : sequence of int
            The actions that count as engagement.
        keep : float
            Share of the others, 0 to 1.
        seed : int
        """
        keep = check.share("keep", keep)
        seed = check.integer("seed", seed, at_least=0, below=2**63)
        drawn = _bits(self.users, self.start, seed) / 2.0**64
        return self.where(self.engaged(columns) | (drawn < keep))

    def repeats(self) -> float:
        """Return how often an event of the past is read on average, of those read at all.

        That is what joining before storing would multiply the past by.
        """
        lengths = self.last - self.first
        if not lengths.sum():
            return 0.0
        change = np.zeros(len(self.past) + 1, np.int64)
        np.add.at(change, self.first, 1)
        np.add.at(change, self.last, -1)
        return float(lengths.sum() / (np.cumsum(change)[:-1] > 0).sum())

    def batch(self, index: npt.ArrayLike, *, k: int | None = None) -> Batch:
        """Return some examples as tensors.

        Parameters
        ----------
        index : int array_like, shape (batch,)
            Not empty.
        k : int, optional
            Largest slate. Of a larger one k items are taken, by a hash of item and time, whatever
            was done to them. All by default.

        Returns
        -------
        Batch
        """
        chosen = self.take(index)
        if not len(chosen):
            raise ValueError("index is empty (shape (0,)), expected an example or more")
        slates = [
            chosen.rows[chosen.offsets[e] : chosen.offsets[e + 1]] for e in range(len(chosen))
        ]
        if k is not None:
            k = check.integer("k", k, at_least=1)
            slates = [_sample(self.shown, rows, k) for rows in slates]
        pasts = [np.arange(a, b) for a, b in zip(chosen.first, chosen.last, strict=True)]
        past, there = _padded(pasts)
        slate, shown = _padded(slates)
        first = chosen.rows[chosen.offsets[:-1]]
        return Batch(
            *_columns(self.past, past, there),
            torch.from_numpy(there.sum(1)),
            *_columns(self.shown, slate, shown)[:2],
            torch.from_numpy(shown),
            torch.from_numpy(chosen.start.copy()),
            torch.from_numpy(self.shown._surfaces[first]),
        )


def _bits(numbers: Ints, times: Floats, seed: int) -> npt.NDArray[np.uint64]:
    """Return a hash of each number and time."""
    when = scramble((times + 0.0).view(np.uint64), 1)  # the two zeros are one time
    return scramble(scramble(numbers.astype(np.uint64), seed) ^ when, 2)


def _sample(log: Log, rows: Ints, k: int) -> Ints:
    if len(rows) <= k:
        return rows
    drawn = _bits(log.items[rows], log.times[rows], 0)
    return rows[np.sort(np.argsort(drawn, kind="stable")[:k])]


def _padded(rows: Sequence[Ints]) -> tuple[Ints, Bools]:
    """Return rows as a table padded with 0, and which of its places are filled."""
    sizes = np.array([len(one) for one in rows])
    there = np.arange(sizes.max(initial=0)) < sizes[:, None]
    table = np.zeros(there.shape, np.int64)
    table[there] = np.concatenate(rows)
    return table, there


def _columns(log: Log, rows: Ints, there: Bools) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return items, actions, times and surfaces of a table of rows, zeros at padding."""
    found = []
    for values in (log.items, log.actions, log.times, log._surfaces):
        table = np.zeros((*rows.shape, *values.shape[1:]), values.dtype)
        table[there] = values[rows[there]]
        found.append(torch.from_numpy(table))
    items, actions, times, surfaces = found
    return items, actions, times, surfaces


def join(past: Log, shown: Log, max_events: int) -> Examples:
    """Return an example for each slate, with the user's past up to it.

    Parameters
    ----------
    past, shown : Log
        Events, and events with slates; often the same log. Their users are the same numbers.
    max_events : int
        The latest so many events before the slate's first second are its past; the slate of a user
        without any (a cold user) has none.

    Returns
    -------
    found : Examples
        In order of user, first second and slate.

    Examples
    --------
    >>> log = Log([1] * 4, [5, 6, 7, 8], [0.0, 9, 9, 9], [[1]] * 4, [-1, -1, 2, 2])
    >>> found = join(log, log, 10)
    >>> found.slate(0)[0].tolist(), log.items[found.first[0]:found.last[0]].tolist()
    ([7, 8], [5])
    """
    max_events = check.integer("max_events", max_events, at_least=1)
    for name, log in (("past", past), ("shown", shown)):
        if not isinstance(log, Log):
            raise ValueError(f"{name} is {log!r:.60}, expected a Log")
    if past.actions.shape[1] != shown.actions.shape[1]:
        raise ValueError(
            f"past has {past.actions.shape[1]} actions and shown {shown.actions.shape[1]}, "
            "expected one vocabulary"
        )
    rows = np.flatnonzero(shown.slates >= 0)
    rows = rows[np.argsort(shown.slates[rows], kind="stable")]  # within a slate by time
    numbers, offsets = np.unique(shown.slates[rows], return_index=True)
    start = shown.times[rows[offsets]] if len(rows) else np.empty(0)
    users = shown.users[rows[offsets]] if len(rows) else np.empty(0, np.int64)
    ends = np.r_[offsets, len(rows)]
    end = shown.times[rows[ends[1:] - 1]] if len(rows) else np.empty(0)
    opened = np.searchsorted(past.users, users, "left")
    closed = np.searchsorted(past.users, users, "right")
    last = np.array(
        [
            low + np.searchsorted(past.times[low:high], when, "left")
            for low, high, when in zip(opened, closed, start, strict=True)
        ],
        np.int64,
    )
    first = np.maximum(opened, last - max_events)
    whole = Examples(past, shown, first, last, ends.astype(np.int64), rows, start, end)
    return whole.take(np.lexsort((numbers, start, users)))


def buckets(log: Log, n: int) -> list[Log]:
    """Return a log in n parts, by a hash of the user.

    Examples
    --------
    >>> log = Log([1, 2, 3], [0, 0, 0], [0.0, 0, 0], [[0]] * 3, [-1] * 3)
    >>> sum(map(len, buckets(log, 2)))
    3
    """
    n = check.integer("n", n, at_least=1)
    if not isinstance(log, Log):
        raise ValueError(f"log is {log!r:.60}, expected a Log")
    part = mix(log.users) % np.uint64(n)
    return [log.take(part == number) for number in range(n)]


def join_buckets(pasts: Iterable[Log], shown: Iterable[Log], max_events: int) -> Iterator[Examples]:
    """Join two tables bucket by bucket, as a trainer reads them.

    Parameters
    ----------
    pasts, shown : iterable of Log
        From `buckets`, with the same number of them. Only one of each is looked at at a time.
    max_events : int

    Yields
    ------
    found : Examples
        Of each bucket; together those of the join of everything.

    Raises
    ------
    ValueError
        If the numbers of buckets differ.

    Examples
    --------
    >>> log = Log([1, 2], [0, 0], [0.0, 0], [[0]] * 2, [0, 1])
    >>> [len(one) for one in join_buckets(buckets(log, 1), buckets(log, 1), 8)]
    [2]
    """
    max_events = check.integer("max_events", max_events, at_least=1)
    return _joined(pasts, shown, max_events)


def _joined(pasts: Iterable[Log], shown: Iterable[Log], max_events: int) -> Iterator[Examples]:
    try:
        for past, slates in zip(pasts, shown, strict=True):
            yield join(past, slates, max_events)
    except ValueError as error:
        if "zip()" in str(error):
            raise ValueError("pasts and shown differ in buckets, expected as many") from None
        raise
