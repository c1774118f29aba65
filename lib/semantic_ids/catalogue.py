"""A catalogue of Semantic IDs: code table, trie, what shares an ID, and how it changes.

A Semantic ID is a tuple of codes, coarse to fine. Several items may have the same one; what then
happens is a choice that this module makes the caller state (`collisions`), because dropping all but
one item is how recall comes out too high.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt

__all__ = [
    "Collisions",
    "IntArray",
    "Level",
    "SidCatalog",
    "StaleRowsError",
    "check_codes",
    "prefix_keys",
]

IntArray = npt.NDArray[np.int64]
Collisions = Literal["keep", "refuse", "number"]


class StaleRowsError(RuntimeError):
    """Something derived from a catalogue was used after the catalogue had changed."""


class Level(NamedTuple):
    """The prefixes of one length, sorted, and how they hang in the trie.

    Attributes
    ----------
    prefixes : int64 (n_prefixes, length)
        Distinct prefixes in lexicographic order; the row number is the node's number.
    parent : int64 (n_prefixes,)
        Node number of the prefix without its last code, one level up.
    items : int64 (n_prefixes,)
        How many items lie below the node.
    """

    prefixes: IntArray
    parent: IntArray
    items: IntArray


def check_codes(codes: npt.ArrayLike, n_codes: int, *, n_levels: int | None = None) -> IntArray:
    """Return codes as int64 ``(n_items, n_levels)``, or say what is wrong with them.

    Parameters
    ----------
    codes : integers (n_items, n_levels)
        Each in ``[0, n_codes)``.
    n_codes : int
        Size of the code book of a level.
    n_levels : int, optional
        Expected number of levels.

    Raises
    ------
    ValueError
        If the table is ragged, empty, not of integers, or a code is out of range.

    Examples
    --------
    >>> check_codes([[0, 3], [1, 2]], 4)
    array([[0, 3],
           [1, 2]])
    """
    try:
        table = np.asarray(codes)
    except ValueError as error:  # numpy's word for rows of different lengths
        raise ValueError(f"codes are ragged, expected one code a level for each: {error}") from None
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"codes have shape {table.shape}, expected (n_items, n_levels), not empty")
    if table.dtype.kind not in "iu":
        raise ValueError(f"codes are {table.dtype}, expected integers")
    if n_codes < 1:
        raise ValueError(f"n_codes is {n_codes}, expected at least 1")
    if n_levels is not None and table.shape[1] != n_levels:
        raise ValueError(f"codes have {table.shape[1]} levels, expected {n_levels}")
    wrong = (table < 0) | (table >= n_codes)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"code {table[row, column]} of item {row} at level {column + 1}, "
            f"expected 0 to {n_codes - 1}"
        )
    return table.astype(np.int64)


def prefix_keys(prefixes: IntArray, n_codes: int) -> IntArray:
    """Return one integer a prefix: its codes as digits in base `n_codes`, order-preserving.

    Raises
    ------
    ValueError
        If the number would not fit 63 bits.

    Examples
    --------
    >>> prefix_keys(np.array([[0, 3], [1, 2]]), 4)
    array([3, 6])
    """
    length = prefixes.shape[1]
    if n_codes**length > 2**63 - 1:
        raise ValueError(f"{n_codes}^{length} prefixes do not fit an int64 key")
    key = np.zeros(len(prefixes), np.int64)
    for column in prefixes.T:
        key = key * n_codes + column
    return key


class SidCatalog:
    """Items with Semantic IDs, their trie, and changes without retraining.

    An item keeps its number for ever; a deleted number is never given again. Every change raises
    `version`, and what was derived from an older version refuses to answer (`StaleRowsError`).

    Parameters
    ----------
    codes : integers (n_items, n_levels)
        Row i belongs to item i.
    n_codes : int
        Size of the code book of each level.
    collisions : {"keep", "refuse", "number"}
        What to do where items share an ID: keep them all under it (`items` returns each one),
        raise an error, or add a level that numbers them 0, 1, 2, … as TIGER does.

    Examples
    --------
    >>> catalog = SidCatalog([[0, 1], [0, 1], [0, 3]], n_codes=4)
    >>> catalog.items([0, 1]), catalog.children([0])
    (array([0, 1]), array([1, 3]))
    >>> SidCatalog([[0, 1], [0, 1]], n_codes=4, collisions="number").codes
    array([[0, 1, 0],
           [0, 1, 1]])
    """

    def __init__(
        self, codes: npt.ArrayLike, n_codes: int, *, collisions: Collisions = "keep"
    ) -> None:
        if collisions not in get_args(Collisions):
            raise ValueError(f"collisions is {collisions!r}, expected keep, refuse or number")
        table = check_codes(codes, n_codes)
        self._policy = collisions
        self._n_codes = int(n_codes)
        if collisions == "number":
            table = np.column_stack([table, self._numbers(table)])
        elif collisions == "refuse":
            self._refuse(table)
        self._table = table
        self._alive = np.ones(len(table), bool)
        self._version = 0
        self._levels: tuple[Level, ...] | None = None

    @property
    def n_codes(self) -> int:
        """Size of the code book of each level."""
        return self._n_codes

    @property
    def n_levels(self) -> int:
        """Codes in an ID, with the numbering level where collisions are numbered."""
        return int(self._table.shape[1])

    @property
    def version(self) -> int:
        """Number of changes since the catalogue was made."""
        return self._version

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
            f"collisions={self._policy!r}, version {self.version})"
        )

    # ── the trie ────────────────────────────────────────────────────────────────────────────────
    def level(self, length: int) -> Level:
        """Return the prefixes of `length` codes (0 is the root); made anew after a change.

        Raises
        ------
        ValueError
            If `length` is not within ``[0, n_levels]``.
        """
        if not 0 <= length <= self.n_levels:
            raise ValueError(f"length is {length}, expected 0 to {self.n_levels}")
        if self._levels is None:
            self._levels = self._build()
        return self._levels[length]

    def _build(self) -> tuple[Level, ...]:
        table = self._table[self._alive]
        empty = np.zeros((1, 0), np.int64)
        levels = [Level(empty, np.zeros(1, np.int64), np.array([len(table)], np.int64))]
        node = np.zeros(len(table), np.int64)
        for length in range(1, self.n_levels + 1):
            # Node number and code make the key, so numbers stay small at any depth.
            key = node * self.n_codes + table[:, length - 1]
            found, first, node, count = np.unique(
                key, return_index=True, return_inverse=True, return_counts=True
            )
            levels.append(
                Level(table[first, :length], found // self.n_codes, count.astype(np.int64))
            )
            node = node.astype(np.int64)
        return tuple(levels)

    def nodes(self, prefixes: npt.ArrayLike) -> IntArray:
        """Return the node number of each prefix, −1 where no item has it.

        Parameters
        ----------
        prefixes : integers (n_prefixes, length)

        Returns
        -------
        int64 (n_prefixes,)
        """
        wanted = np.atleast_2d(np.asarray(prefixes, np.int64))
        node = np.zeros(len(wanted), np.int64)
        for length in range(1, wanted.shape[1] + 1):
            node = self.step(length, node, wanted[:, length - 1])
        return node

    def step(self, length: int, nodes: IntArray, codes: IntArray) -> IntArray:
        """Go one level down: from nodes of ``length - 1`` codes by one code each; −1 is nowhere.

        Parameters
        ----------
        length : int
            Length of the prefixes arrived at, 1 to `n_levels`.
        nodes, codes : int64 (n,)
            A node of −1 stays −1.
        """
        level = self.level(length)
        keys = level.parent * self.n_codes + level.prefixes[:, -1]
        valid = (nodes >= 0) & (codes >= 0) & (codes < self.n_codes)
        key = np.where(valid, nodes * self.n_codes + codes, -1)
        at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where(keys[at] == key, at, -1).astype(np.int64) if len(keys) else key * 0 - 1

    def mask(self, length: int, nodes: IntArray) -> npt.NDArray[np.bool_]:
        """Return which codes may follow, bool ``(n, n_codes)``: the trie as a mask for decoding.

        Parameters
        ----------
        length : int
            Length of the prefixes that would be arrived at, 1 to `n_levels`.
        nodes : int64 (n,)
            Nodes of ``length - 1`` codes; −1 allows nothing.
        """
        level = self.level(length)
        nodes = np.asarray(nodes, np.int64)
        low = np.searchsorted(level.parent, nodes)
        high = np.searchsorted(level.parent, nodes, side="right")
        allowed = np.zeros((len(nodes), self.n_codes), bool)
        count = high - low
        rows = np.repeat(np.arange(len(nodes)), count)
        # Children of a node lie side by side: low, low + 1, … of each, laid out flat.
        flat = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        allowed[rows, level.prefixes[np.repeat(low, count) + flat, -1]] = True
        return allowed

    def children(self, prefix: npt.ArrayLike) -> IntArray:
        """Return the codes that may follow a prefix, ascending; none if the prefix is unknown."""
        wanted = np.asarray(prefix, np.int64).reshape(1, -1)
        if wanted.shape[1] >= self.n_levels:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self.mask(wanted.shape[1] + 1, self.nodes(wanted))[0])

    def items(self, prefix: npt.ArrayLike) -> IntArray:
        """Return every item below a prefix, ascending: all that share an ID, none dropped."""
        wanted = np.asarray(prefix, np.int64).ravel()
        if len(wanted) > self.n_levels:
            raise ValueError(
                f"the prefix has {len(wanted)} codes, expected at most {self.n_levels}"
            )
        same = (self._table[:, : len(wanted)] == wanted).all(axis=1) & self._alive
        return np.flatnonzero(same).astype(np.int64)

    def sid(self, item: int) -> tuple[int, ...]:
        """Return the Semantic ID of an item.

        Raises
        ------
        ValueError
            If there is no such item, or it was deleted.
        """
        if not 0 <= item < len(self._table) or not self._alive[item]:
            raise ValueError(f"item {item} is not in the catalogue")
        return tuple(int(code) for code in self._table[item])

    def shared(self) -> int:
        """Return how many items share their ID with an earlier one: items minus distinct IDs."""
        return len(self) - len(self.level(self.n_levels).prefixes)

    # ── changes ─────────────────────────────────────────────────────────────────────────────────
    def insert(self, codes: npt.ArrayLike) -> IntArray:
        """Add items and return their numbers.

        Parameters
        ----------
        codes : integers (n_new, n_levels)
            Without the numbering level, which is filled in where collisions are numbered.

        Raises
        ------
        ValueError
            If a code is out of range, or an ID is taken and collisions are refused. Nothing is
            changed then.
        """
        numbered = self._policy == "number"
        new = check_codes(codes, self.n_codes, n_levels=self.n_levels - numbered)
        if numbered:
            known = np.vstack([self._table[:, :-1], new])
            # Deleted items count too: a number that was given once is not given again.
            new = np.column_stack([known, self._numbers(known)])[len(self._table) :]
        elif self._policy == "refuse":
            self._refuse(np.vstack([self._table[self._alive], new]))
        numbers = np.arange(len(self._table), len(self._table) + len(new), dtype=np.int64)
        self._table = np.vstack([self._table, new])
        self._alive = np.concatenate([self._alive, np.ones(len(new), bool)])
        self._changed()
        return numbers

    def delete(self, items: npt.ArrayLike) -> None:
        """Take items out; their numbers stay taken.

        Raises
        ------
        ValueError
            If one is not in the catalogue or named twice, or none would be left. Nothing is
            changed then.
        """
        gone = np.atleast_1d(np.asarray(items, np.int64))
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
        self._changed()

    def check_version(self, version: int) -> None:
        """Raise `StaleRowsError` unless `version` is the current one."""
        if version != self._version:
            raise StaleRowsError(
                f"made for version {version} of the catalogue, which is now at {self._version}; "
                "make it again"
            )

    def copy(self) -> Self:
        """Return an independent catalogue with the same items and version."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def _changed(self) -> None:
        self._version += 1
        self._levels = None

    def _numbers(self, table: IntArray) -> IntArray:
        """Return for each item how many earlier ones have its ID."""
        _, inverse = np.unique(table, axis=0, return_inverse=True)
        order = np.argsort(inverse.ravel(), kind="stable")
        same = inverse.ravel()[order]
        first = np.r_[True, same[1:] != same[:-1]]
        start = np.maximum.accumulate(np.where(first, np.arange(len(same)), 0))
        number = np.empty(len(same), np.int64)
        number[order] = np.arange(len(same)) - start
        if number.max(initial=0) >= self._n_codes:
            raise ValueError(
                f"{number.max() + 1} items share one ID, more than the {self._n_codes} codes"
            )
        return number

    def _refuse(self, table: IntArray) -> None:
        found, first, count = np.unique(table, axis=0, return_index=True, return_counts=True)
        if (count > 1).any():
            at = np.flatnonzero(count > 1)[0]
            raise ValueError(
                f"{int((count - 1).sum())} items share an ID, first {tuple(found[at].tolist())} "
                f"of item {first[at]}; expected none (collisions='refuse')"
            )
