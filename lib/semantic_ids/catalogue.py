"""A catalogue of Semantic IDs: code table, trie, what shares an ID, and how it changes.

A Semantic ID is a tuple of codes, coarse to fine. Several items may have the same one; what then
happens is a choice that this module makes the caller state (`collisions`), because dropping all but
one item is how recall comes out too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from lib.core import check

__all__ = [
    "Collisions",
    "IntArray",
    "Level",
    "SidCatalog",
    "check_codes",
    "check_sequences",
    "check_sizes",
    "prefix_ranks",
]

IntArray = npt.NDArray[np.int64]
Collisions = Literal["keep", "refuse"]


@dataclass(frozen=True, eq=False)
class Level:
    """The prefixes of one length in lexicographic order; a node's number is its place among them.

    Children of a node lie side by side one level down, and so do the items below it in the order of
    `by_leaf`: three numbers a node are the whole trie (compressed sparse rows).

    Attributes
    ----------
    keys : int64 (n_prefixes,)
        Ascending: number of the parent, one level up, times `n_codes`, plus the last code.
    first : int32 or int64 (n_prefixes + 1,)
        Where the items below each node begin in `by_leaf`.
    children : int32 or int64 (n_prefixes + 1,)
        Where its children begin one level down; empty for whole IDs.
    by_leaf : int32 or int64 (n_items,)
        Item numbers by ID, ascending within one; the same array at all levels.
    """

    keys: IntArray
    first: npt.NDArray[Any]
    children: npt.NDArray[Any]
    by_leaf: npt.NDArray[Any]
    _table: IntArray
    _length: int

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def prefixes(self) -> IntArray:
        """The prefixes themselves, int64 ``(n_prefixes, length)``."""
        return self._table[self.by_leaf[self.first[:-1]], : self._length]

    @property
    def items(self) -> IntArray:
        """How many items lie below each node, int64 ``(n_prefixes,)``."""
        return np.diff(self.first).astype(np.int64)


def check_codes(
    codes: npt.ArrayLike, n_codes: int, *, n_levels: int | None = None, name: str = "codes"
) -> IntArray:
    """Return codes as int64 ``(n_items, n_levels)``, or say what is wrong with them.

    Parameters
    ----------
    codes : integers (n_items, n_levels)
        Each in ``[0, n_codes)``.
    n_codes : int
        Size of the code book of a level.
    n_levels : int, optional
        Expected number of levels.
    name : str
        What the caller calls them.

    Raises
    ------
    ValueError
        If the table is ragged, empty, not of whole numbers, or a code is out of range.

    Examples
    --------
    >>> check_codes([[0, 3], [1, 2]], 4)
    array([[0, 3],
           [1, 2]])
    """
    below = check.integer("n_codes", n_codes, at_least=1)
    shape = ("n_items", "n_levels" if n_levels is None else n_levels)
    return check.integers(name, codes, shape=shape, at_least=0, below=below)


def check_sequences(
    name: str, sequences: Sequence[npt.ArrayLike], **bounds: float
) -> tuple[IntArray, ...]:
    """Return sequences of item numbers as int64 arrays, or say which entry is no item number."""
    found = [np.asarray(one) for one in sequences]
    if not all(one.ndim == 1 for one in found):
        raise ValueError(f"{name} hold one that is no list, expected item numbers")
    if not found:
        return ()
    joined = np.concatenate(found)
    whole = check.integers(name, joined, shape=("n",), at_least=0, empty=True, **bounds)
    return tuple(np.split(whole, np.cumsum([len(one) for one in found])[:-1]))


def check_sizes(**sizes: object) -> None:
    """Refuse sizes, given by name, that are not whole numbers of at least 1."""
    for name, size in sizes.items():
        check.integer(name, size, at_least=1)


def prefix_ranks(codes: IntArray) -> IntArray:
    """Return the rank of each prefix among the distinct ones of its length, from 0.

    However deep the tree and large the code book, ranks are smaller than the number of rows.

    Parameters
    ----------
    codes : int64 (n, n_levels)

    Returns
    -------
    int64 (n, n_levels)
        Column l - 1 ranks the prefixes of l codes, in lexicographic order.

    Examples
    --------
    >>> prefix_ranks(np.array([[1, 2], [0, 3], [1, 0]]))
    array([[1, 2],
           [0, 0],
           [1, 1]])
    """
    codes = check.integers("codes", codes, shape=("n", "n_levels"))
    order = np.lexsort(codes.T[::-1])
    ranks = np.empty_like(codes)
    ranks[order] = np.cumsum(_new(codes[order]), axis=0) - 1
    return ranks


def _new(ordered: IntArray) -> npt.NDArray[np.bool_]:
    """Return where a prefix of each length begins in rows that are in order, ``(n, n_levels)``."""
    new = np.ones(ordered.shape, bool)
    np.logical_or.accumulate(ordered[1:] != ordered[:-1], axis=1, out=new[1:])
    return new


class SidCatalog:
    """Items with Semantic IDs, their trie, and changes without retraining.

    An item keeps its number for ever; a deleted number is never given again.

    Parameters
    ----------
    codes : integers (n_items, n_levels)
        Row i belongs to item i.
    n_codes : int
        Size of the code book of each level.
    collisions : {"keep", "refuse"}
        What to do where items share an ID: keep them all under it (`items` returns each one), or
        raise an error.

    Examples
    --------
    >>> catalog = SidCatalog([[0, 1], [0, 1], [0, 3]], n_codes=4)
    >>> catalog.items([0, 1]), catalog.children([0])
    (array([0, 1]), array([1, 3]))
    """

    def __init__(
        self, codes: npt.ArrayLike, n_codes: int, *, collisions: Collisions = "keep"
    ) -> None:
        self._policy = check.known("collisions", collisions, get_args(Collisions))
        table = check_codes(codes, n_codes)
        self._n_codes = int(n_codes)
        if collisions == "refuse":
            self._refuse(table, np.arange(len(table)))
        self._table = table
        self._alive = np.ones(len(table), bool)
        self._levels: tuple[Level, ...] | None = None

    @property
    def n_codes(self) -> int:
        """Size of the code book of each level."""
        return self._n_codes

    @property
    def n_levels(self) -> int:
        """Codes in an ID."""
        return int(self._table.shape[1])

    @property
    def codes(self) -> IntArray:
        """All codes, int64 ``(n_numbers, n_levels)``; rows of deleted items included, read-only."""
        view = self._table.view()
        view.flags.writeable = False
        return view

    @property
    def alive(self) -> IntArray:
        """Item numbers that are in the catalogue, ascending."""
        return np.flatnonzero(self._alive).astype(np.int64)

    def __len__(self) -> int:
        return int(self._alive.sum())

    def __repr__(self) -> str:
        return (
            f"SidCatalog({len(self)} items, {self.n_levels} levels of {self.n_codes} codes, "
            f"collisions={self._policy!r})"
        )

    # ── the trie ────────────────────────────────────────────────────────────────────────────────
    def level(self, length: int) -> Level:
        """Return the prefixes of `length` codes (0 is the root); made anew after a change.

        Raises
        ------
        ValueError
            If `length` is not within ``[0, n_levels]``.
        """
        return self._trie[check.integer("length", length, at_least=0, at_most=self.n_levels)]

    @property
    def _trie(self) -> tuple[Level, ...]:
        if self._levels is None:
            self._levels = self._build()
        return self._levels

    def _build(self) -> tuple[Level, ...]:
        alive = np.flatnonzero(self._alive)
        order = alive[np.lexsort(self._table[alive].T[::-1])]
        ordered = self._table[order]
        new = np.column_stack([np.arange(len(order)) == 0, _new(ordered)])  # the root first
        whole = np.int32 if len(order) < 2**31 else np.int64
        by_leaf = order.astype(whole)
        node = np.cumsum(new, axis=0) - 1
        levels = []
        for length in range(self.n_levels + 1):
            first = np.flatnonzero(new[:, length])
            keys = np.zeros(1, np.int64)
            if length:
                keys = node[first, length - 1] * self.n_codes + ordered[first, length - 1]
            ends = np.append(first, len(order)).astype(whole)
            children = np.zeros(0, whole)
            if length < self.n_levels:
                last = node[-1, length + 1] + 1
                children = np.append(node[first, length + 1], last).astype(whole)
            levels.append(Level(keys, ends, children, by_leaf, self._table, length))
        return tuple(levels)

    def nodes(self, prefixes: npt.ArrayLike) -> IntArray:
        """Return the node number of each prefix, −1 where no item has it.

        Parameters
        ----------
        prefixes : integers (n_prefixes, length)

        Returns
        -------
        int64 (n_prefixes,)

        Raises
        ------
        ValueError
            If they are not whole numbers, or longer than an ID.
        """
        wanted = check.integers("prefixes", prefixes, shape=("n_prefixes", "length"), empty=True)
        if wanted.shape[1] > self.n_levels:
            raise ValueError(
                f"prefixes have {wanted.shape[1]} codes, expected at most {self.n_levels}"
            )
        node = np.zeros(len(wanted), np.int64)
        for level, column in zip(self._trie[1:], wanted.T, strict=False):
            node = self._below(level, node, column)
        return node

    def step(self, length: int, nodes: IntArray, codes: IntArray) -> IntArray:
        """Go one level down: from nodes of ``length - 1`` codes by one code each; −1 is nowhere.

        Parameters
        ----------
        length : int
            Length of the prefixes arrived at, 1 to `n_levels`.
        nodes, codes : int64 (n,)
            A node of −1 stays −1, and a code that no item has there leads to −1.
        """
        level, nodes = self._down(length), self._nodes(length - 1, nodes)
        codes = check.integers("codes", codes, shape=nodes.shape, empty=True)
        return self._below(level, nodes, codes)

    def _nodes(self, length: int, nodes: IntArray) -> IntArray:
        """Return nodes of prefixes of one length, checked."""
        below = len(self.level(length))
        return check.integers("nodes", nodes, shape=("n",), empty=True, at_least=-1, below=below)

    def _below(self, level: Level, nodes: IntArray, codes: IntArray) -> IntArray:
        keys = level.keys
        valid = (nodes >= 0) & (codes >= 0) & (codes < self.n_codes)
        key = np.where(valid, nodes * self.n_codes + codes, -1)
        at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where(keys[at] == key, at, -1).astype(np.int64)

    def mask(self, length: int, nodes: IntArray) -> npt.NDArray[np.bool_]:
        """Return which codes may follow, bool ``(n, n_codes)``: the trie as a mask for decoding.

        Parameters
        ----------
        length : int
            Length of the prefixes that would be arrived at, 1 to `n_levels`.
        nodes : int64 (n,)
            Nodes of ``length - 1`` codes; −1 allows nothing.
        """
        keys, children = self._down(length).keys, self.level(length - 1).children
        nodes = self._nodes(length - 1, nodes)
        low = children[nodes].astype(np.int64)  # of −1 the last one, which begins nothing
        count = np.where(nodes < 0, 0, children[nodes + 1] - low)
        rows = np.repeat(np.arange(len(nodes)), count)
        # Children of a node lie side by side: low, low + 1, … of each, laid out flat.
        flat = np.arange(len(rows)) + np.repeat(low - np.cumsum(count) + count, count)
        allowed = np.zeros((len(nodes), self.n_codes), bool)
        allowed[rows, keys[flat] % self.n_codes] = True
        return allowed

    def _down(self, length: int) -> Level:
        return self.level(check.integer("length", length, at_least=1, at_most=self.n_levels))

    def children(self, prefix: npt.ArrayLike) -> IntArray:
        """Return the codes that may follow a prefix, ascending; none if the prefix is unknown."""
        wanted = self._prefix(prefix)
        if wanted.shape[1] == self.n_levels:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self.mask(wanted.shape[1] + 1, self.nodes(wanted))[0])

    def items(self, prefix: npt.ArrayLike) -> IntArray:
        """Return every item below a prefix, ascending: all that share an ID, none dropped."""
        wanted = self._prefix(prefix)
        node = int(self.nodes(wanted)[0])
        if node < 0:
            return np.zeros(0, np.int64)
        level = self._trie[wanted.shape[1]]
        return np.sort(level.by_leaf[level.first[node] : level.first[node + 1]]).astype(np.int64)

    def _prefix(self, prefix: npt.ArrayLike) -> IntArray:
        return check.integers("prefix", prefix, shape=("length",), empty=True)[None]

    def sid(self, item: int) -> tuple[int, ...]:
        """Return the Semantic ID of an item.

        Raises
        ------
        ValueError
            If there is no such item, or it was deleted.
        """
        item = check.integer("item", item)
        if not 0 <= item < len(self._table) or not self._alive[item]:
            raise ValueError(f"item {item} is not in the catalogue")
        return tuple(int(code) for code in self._table[item])

    def shared(self) -> int:
        """Return how many items share their ID with an earlier one: items minus distinct IDs."""
        return len(self) - len(self.level(self.n_levels))

    # ── changes ─────────────────────────────────────────────────────────────────────────────────
    def insert(self, codes: npt.ArrayLike) -> IntArray:
        """Add items and return their numbers.

        Parameters
        ----------
        codes : integers (n_new, n_levels)

        Raises
        ------
        ValueError
            If a code is out of range, or an ID is taken and collisions are refused. Nothing is
            changed then.
        """
        new = check_codes(codes, self.n_codes, n_levels=self.n_levels)
        if self._policy == "refuse":
            there = self.alive
            ids = np.vstack([self._table[there], new])
            self._refuse(ids, np.append(there, len(self._table) + np.arange(len(new))))
        numbers = np.arange(len(self._table), len(self._table) + len(new), dtype=np.int64)
        self._table = np.vstack([self._table, new])
        self._alive = np.concatenate([self._alive, np.ones(len(new), bool)])
        self._levels = None
        return numbers

    def delete(self, items: npt.ArrayLike) -> None:
        """Take items out; their numbers stay taken.

        Raises
        ------
        ValueError
            If one is not in the catalogue or named twice, or none would be left. Nothing is
            changed then.
        """
        gone = np.atleast_1d(check.integers("items", items))
        unknown = (gone < 0) | (gone >= len(self._table))
        if not unknown.any():
            unknown = ~self._alive[gone]
        if unknown.any():
            raise ValueError(f"item {gone[unknown][0]} is not in the catalogue")
        if len(np.unique(gone)) < len(gone):
            raise ValueError("an item is named twice")
        if len(gone) == len(self):
            raise ValueError("no item would be left")
        self._alive = self._alive.copy()
        self._alive[gone] = False
        self._levels = None

    def copy(self) -> Self:
        """Return an independent catalogue with the same items."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def _refuse(self, table: IntArray, numbers: IntArray) -> None:
        rank = prefix_ranks(table)[:, -1]
        count = np.bincount(rank)[rank]
        if (count > 1).any():
            at = int(np.argmax(count > 1))
            raise ValueError(
                f"{len(table) - len(np.unique(rank))} items share an ID, "
                f"first {tuple(table[at].tolist())} of item {numbers[at]}; "
                "expected none (collisions='refuse')"
            )
