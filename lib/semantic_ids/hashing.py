"""From the prefixes of an ID to rows of a table: the paper's hash, what is wrong with it, and ours.

The paper's Equation 1 sends the first n codes to the row ``XOR_i c_i·p[i,h] mod T`` of the table of
order n and head h, with distinct primes p. As printed that has three faults (chapter 2, theory): a
code 0 adds nothing, small primes leave rows empty, and with T a power of two the low bits are those
of the codes alone. Ours adds one to each code, takes primes of 61 bits and scrambles the 64 bits
before the modulus. No salted hash is used, so rows are the same in every process.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sympy import nextprime

from lib.core import check
from lib.semantic_ids.catalogue import IntArray, SidCatalog

__all__ = [
    "CatalogRows",
    "Kind",
    "PerfectHash",
    "PrefixHash",
    "RowIndex",
    "collision_table",
    "confused",
    "expected_excess",
    "expected_rows",
    "prefix_rows",
    "primes",
    "rows_sd",
    "touched_rows",
]

Kind = Literal["prefix", "suffix", "full"]
Scheme = Literal["mixed", "printed"]
_U = np.uint64


class RowIndex(Protocol):
    """What an encoder needs of a hash: how many tables of how many rows, and the rows."""

    @property
    def n_levels(self) -> int:
        """Codes in an ID."""

    @property
    def n_slots(self) -> int:
        """Tables a head has: the orders, or 1 for full prefixes."""

    @property
    def n_heads(self) -> int:
        """Heads, each with tables of its own."""

    @property
    def table_size(self) -> int:
        """Rows of a table."""

    @property
    def n_rows(self) -> int:
        """Rows of all tables together, laid below one another."""

    @property
    def nested(self) -> bool:
        """Whether the rows of a prefix begin with those of its own shorter prefixes."""

    def index(self, codes: npt.ArrayLike) -> IntArray:
        """Return rows, int64 ``(..., n_levels, n_slots, n_heads)``; −1 where there is none."""

    def rows(self, prefix: torch.Tensor) -> torch.Tensor:
        """Return rows of all tables laid below one another, for prefixes of one length."""


def primes(n_levels: int, n_heads: int, *, seed: int = 0, bits: int = 61) -> npt.NDArray[np.uint64]:
    """Return distinct primes, one for each level and head, the same on every machine.

    Parameters
    ----------
    n_levels, n_heads : int
        Shape of the result.
    seed : int
        Chooses the primes.
    bits : int
        Length of each, 8 to 62.

    Examples
    --------
    >>> primes(1, 2, seed=0).shape, primes(2, 2, bits=8)[0, 0] < 256
    ((1, 2), np.True_)
    """
    if not 8 <= bits <= 62:
        raise ValueError(f"bits is {bits}, expected 8 to 62")
    found: list[int] = []
    top = 1 << (bits - 1)
    for counter in range(n_levels * n_heads):
        text = f"prefix hash {seed} {counter}".encode()
        start = top + int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % (top - top // 8)
        prime = int(nextprime(start))
        while prime in found:
            prime = int(nextprime(prime))
        found.append(prime)
    return np.array(found, _U).reshape(n_levels, n_heads)


def _scramble(key: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Let every bit of a key move every bit of the result (SplitMix64's last step, a bijection)."""
    key = (key ^ (key >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> _U(27))) * _U(0x94D049BB133111EB)
    return key ^ (key >> _U(31))


@dataclass(frozen=True)
class PrefixHash:
    """Rows of a memory for each prefix of an ID, by order and head (2606.00324, Equation 1).

    Parameters
    ----------
    n_levels : int
        Codes in an ID.
    max_order : int
        Largest n: how many codes an order may read, 1 to `n_levels`.
    n_heads : int
        Independent hashes of each prefix.
    table_size : int
        Rows of each of the ``n_slots * n_heads`` tables, at least 2.
    seed : int
        Chooses the primes.
    kind : {"prefix", "suffix", "full"}
        At level l, order n reads the first n codes (n ≤ l), the last n of the first l, or there is
        one order that reads all l. An order that would read more than `max_order` codes is absent;
        a full prefix is never cut.
    scheme : {"mixed", "printed"}
        Ours, or the formula as printed.
    multipliers : uint64 (n_levels, n_heads), optional
        Instead of primes made from the seed.

    Examples
    --------
    >>> rows = PrefixHash(n_levels=3, max_order=2, n_heads=4, table_size=64).index([[1, 2, 3]])
    >>> rows.shape, rows[0, 0, 1]  # at level 1 there is no order 2
    ((1, 3, 2, 4), array([-1, -1, -1, -1]))
    """

    n_levels: int
    max_order: int
    n_heads: int
    table_size: int
    seed: int = 0
    kind: Kind = "prefix"
    scheme: Scheme = "mixed"
    multipliers: npt.NDArray[np.uint64] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("n_levels", 1, 64),
            ("max_order", 1, self.n_levels),
            ("n_heads", 1, 64),
            ("table_size", 2, 2**31),
            ("seed", 0, 2**63),
        ):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}, expected an integer from {low} to {high}")
        for name, choices in (("kind", get_args(Kind)), ("scheme", get_args(Scheme))):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(choices)}"
                )
        shape = (self.n_levels, self.n_heads)
        if self.multipliers is None:
            object.__setattr__(self, "multipliers", primes(*shape, seed=self.seed))
        elif np.shape(self.multipliers) != shape or (np.asarray(self.multipliers) < 1).any():
            raise ValueError(
                f"multipliers have shape {np.shape(self.multipliers)}, expected positive {shape}"
            )
        else:
            object.__setattr__(self, "multipliers", np.asarray(self.multipliers, _U))

    @property
    def n_slots(self) -> int:
        """Tables a head has: one an order, or one for full prefixes."""
        return 1 if self.kind == "full" else self.max_order

    @property
    def n_rows(self) -> int:
        """Rows of all tables together."""
        return self.n_slots * self.n_heads * self.table_size

    @property
    def nested(self) -> bool:
        """True for kind ``prefix``: order n reads the first n codes at every level."""
        return self.kind == "prefix"

    def index(self, codes: npt.ArrayLike) -> IntArray:
        """Return the rows of every prefix of every ID.

        Row (l, n, h) belongs to the vector at the token of code l, from which code l + 1 is
        predicted, and depends on codes up to l only.

        Parameters
        ----------
        codes : integers (..., n_levels)
            Nonnegative. The tables do not care how large the code book is.

        Returns
        -------
        int64 (..., n_levels, n_slots, n_heads)
            In ``[0, table_size)``, or −1 where level l has no such order.

        Raises
        ------
        ValueError
            If codes are not integers, negative, or have another number of levels.
        """
        table = np.asarray(codes)
        if table.ndim < 1 or table.shape[-1] != self.n_levels:
            raise ValueError(f"codes have shape {table.shape}, expected (..., {self.n_levels})")
        if table.dtype.kind not in "iu":
            raise ValueError(f"codes are {table.dtype}, expected integers")
        if table.size and table.min() < 0:
            raise ValueError(f"a code is {table.min()}, expected none below 0")
        running = self._running(table.astype(np.int64))
        rows = np.full((*table.shape, self.n_slots, self.n_heads), -1, np.int64)
        for level in range(self.n_levels):
            present = self._at(running, level)
            rows[..., level, : present.shape[-2], :] = present
        return rows

    def rows(self, prefix: torch.Tensor) -> torch.Tensor:
        """Return the rows of prefixes of one length, in all tables laid below one another.

        Parameters
        ----------
        prefix : int64 tensor (..., length)
            1 to `n_levels` codes, nonnegative.

        Returns
        -------
        int64 tensor (..., n_present, n_heads)
            In ``[0, n_rows)``; table (slot n, head h) starts at ``(n·n_heads + h)·table_size``.
            Present are the orders 1 to ``min(length, max_order)``, or the one of full prefixes.

        Examples
        --------
        >>> PrefixHash(3, 3, 2, 64).rows(torch.tensor([[1, 2]])).shape
        torch.Size([1, 2, 2])
        """
        codes = prefix.detach().cpu().numpy()
        if codes.ndim < 1 or not 1 <= codes.shape[-1] <= self.n_levels:
            raise ValueError(
                f"the prefix has shape {codes.shape}, expected (..., 1 to {self.n_levels} codes)"
            )
        if codes.dtype.kind not in "iu":
            raise ValueError(f"codes are {codes.dtype}, expected integers")
        if codes.size and codes.min() < 0:
            raise ValueError(f"a code is {codes.min()}, expected none below 0")
        present = self._at(self._running(codes.astype(np.int64)), codes.shape[-1] - 1)
        table = np.arange(present.shape[-2] * self.n_heads).reshape(-1, self.n_heads)
        return torch.from_numpy(present + table * self.table_size).to(prefix.device)

    def _running(self, table: IntArray) -> npt.NDArray[np.uint64]:
        """Return the exclusive or of the products up to each level, ``(..., levels, n_heads)``."""
        assert self.multipliers is not None
        factor = table + 1 if self.scheme == "mixed" else table
        # Unsigned products wrap, which loses nothing but the high bits.
        product = factor.astype(_U)[..., None] * self.multipliers[: table.shape[-1]]
        running: npt.NDArray[np.uint64] = np.bitwise_xor.accumulate(product, axis=-2)
        return running

    def _at(self, running: npt.NDArray[np.uint64], level: int) -> IntArray:
        """Return the rows of the orders present at a level (from 0): ``(..., present, heads)``."""
        last = running[..., level, :]
        if self.kind == "full":
            return self._reduce(last[..., None, :])
        present = min(level + 1, self.max_order)
        if self.kind == "prefix":
            return self._reduce(running[..., :present, :])
        # The last n codes: what came before them cancels out of the exclusive or.
        keys = [
            last ^ running[..., level - order, :] if order <= level else last
            for order in range(1, present + 1)
        ]
        return self._reduce(np.stack(keys, axis=-2))

    def _reduce(self, key: npt.NDArray[np.uint64]) -> IntArray:
        if self.scheme == "mixed":
            key = _scramble(key)
        return (key % _U(self.table_size)).astype(np.int64)


class PerfectHash:
    """One row for each prefix of a catalogue, none empty, none shared: for small catalogues.

    The row is the rank of the prefix among those of its length, so the hash is minimal and perfect
    and keeps the keys; an unknown prefix is told apart instead of landing in someone's row.

    Parameters
    ----------
    catalog : SidCatalog
        Its prefixes at this moment; see `check`.
    max_order : int
        Largest prefix length, 1 to ``catalog.n_levels``.
    unknown : {"error", "absent"}
        For a prefix that no item has: raise, or return −1 (`index`) and the spare last row
        (`rows`), which free decoding needs.

    Examples
    --------
    >>> catalog = SidCatalog([[0, 1], [0, 3], [2, 3]], n_codes=4)
    >>> PerfectHash(catalog, max_order=2).index([[2, 3]])[0, 1, :, 0]  # orders 1 and 2 at level 2
    array([1, 2])
    """

    def __init__(
        self,
        catalog: SidCatalog,
        max_order: int,
        *,
        unknown: Literal["error", "absent"] = "error",
    ) -> None:
        self._slots = check.integer("max_order", max_order, at_least=1, at_most=catalog.n_levels)
        self._unknown = check.known("unknown", unknown, ("error", "absent"))
        self._catalog = catalog
        self._version = catalog.version
        orders = range(1, self._slots + 1)
        self._sizes = tuple(len(catalog.level(order)) for order in orders)

    @property
    def n_levels(self) -> int:
        """Codes in an ID."""
        return self._catalog.n_levels

    @property
    def n_slots(self) -> int:
        """Orders."""
        return self._slots

    @property
    def n_heads(self) -> int:
        """One: there is nothing to tell apart."""
        return 1

    @property
    def table_size(self) -> int:
        """Rows of the largest order."""
        return max(self._sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Prefixes of each order."""
        return self._sizes

    @property
    def n_rows(self) -> int:
        """Prefixes of all orders together, and one spare row for all unknown ones."""
        return sum(self.sizes) + 1

    @property
    def nested(self) -> bool:
        """True: order n reads the first n codes at every level."""
        return True

    def index(self, codes: npt.ArrayLike) -> IntArray:
        """Return rows, int64 ``(..., n_levels, n_slots, 1)``; see `PrefixHash.index`.

        Raises
        ------
        ValueError
            If codes are malformed, or a prefix is unknown and that is an error.
        StaleRowsError
            If the catalogue has changed since.
        """
        table = np.asarray(codes)
        if table.ndim < 1 or table.shape[-1] != self.n_levels:
            raise ValueError(f"codes have shape {table.shape}, expected (..., {self.n_levels})")
        flat = self._checked(table)
        rows = np.full((len(flat), self.n_levels, self.n_slots, 1), -1, np.int64)
        for order in range(1, self.n_slots + 1):
            rows[:, order - 1 :, order - 1, 0] = self._rank(flat, order)[:, None]
        return rows.reshape(*table.shape, self.n_slots, 1)

    def rows(self, prefix: torch.Tensor) -> torch.Tensor:
        """Return rows of all orders laid below one another; see `PrefixHash.rows`.

        Returns
        -------
        int64 tensor (..., n_present, 1)
        """
        table = prefix.detach().cpu().numpy()
        if table.ndim < 1 or not 1 <= table.shape[-1] <= self.n_levels:
            raise ValueError(
                f"the prefix has shape {table.shape}, expected (..., 1 to {self.n_levels} codes)"
            )
        flat = self._checked(table)
        present = range(1, min(table.shape[-1], self.n_slots) + 1)
        start = np.cumsum([0, *self.sizes])
        ranks = [self._rank(flat, order) for order in present]
        rows = np.column_stack(
            [
                np.where(r < 0, self.n_rows - 1, r + start[order - 1])
                for order, r in zip(present, ranks, strict=True)
            ]
        )
        shape = (*table.shape[:-1], len(present), 1)
        return torch.from_numpy(rows.reshape(shape)).to(prefix.device)

    def _checked(self, table: npt.NDArray[np.integer]) -> IntArray:
        self._catalog.check_version(self._version)
        if table.dtype.kind not in "iu":
            raise ValueError(f"codes are {table.dtype}, expected integers")
        if table.size and not 0 <= table.min() <= table.max() < self._catalog.n_codes:
            raise ValueError(f"a code is outside [0, {self._catalog.n_codes})")
        return table.reshape(-1, table.shape[-1]).astype(np.int64)

    def _rank(self, flat: IntArray, order: int) -> IntArray:
        """Return the rank of the first `order` codes among the catalogue's, −1 if unknown."""
        node = self._catalog.nodes(flat[:, :order])
        if self._unknown == "error" and (node < 0).any():
            wrong = flat[node < 0][0, :order].tolist()
            raise ValueError(f"no item has the prefix {wrong}, so it has no row")
        return node


@dataclass(frozen=True)
class CatalogRows:
    """The rows of every item of a catalogue, computed once; refuses to answer when stale.

    Parameters
    ----------
    catalog : SidCatalog
    hashing : RowIndex
        A `PrefixHash` or a `PerfectHash`.
    """

    catalog: SidCatalog
    hashing: RowIndex
    _rows: IntArray = field(init=False, repr=False, compare=False)
    _version: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = self.catalog.codes
        shape = (self.hashing.n_levels, self.hashing.n_slots, self.hashing.n_heads)
        rows = np.full((len(codes), *shape), -1, np.int64)
        alive = self.catalog.alive
        rows[alive] = self.hashing.index(codes[alive])
        object.__setattr__(self, "_rows", rows)
        object.__setattr__(self, "_version", self.catalog.version)

    def of(self, items: npt.ArrayLike) -> IntArray:
        """Return the rows of items, int64 ``(..., n_levels, n_slots, n_heads)``.

        Raises
        ------
        StaleRowsError
            If the catalogue has changed since.
        ValueError
            If there is no such item.
        """
        self.catalog.check_version(self._version)
        wanted = np.asarray(items, np.int64)
        known = np.isin(wanted, self.catalog.alive)
        if not known.all():
            raise ValueError(f"item {np.atleast_1d(wanted[~known])[0]} is not in the catalogue")
        return self._rows[wanted]


def touched_rows(hashing: RowIndex, codes: npt.ArrayLike) -> set[tuple[int, int, int]]:
    """Return (order, head, row) of every row that the given IDs read: what a change can touch.

    Examples
    --------
    >>> len(touched_rows(PrefixHash(3, 3, 2, 64), [[1, 2, 3]]))  # 3 orders, 2 heads
    6
    """
    rows = hashing.index(codes).reshape(-1, hashing.n_slots, hashing.n_heads)
    order, head = np.meshgrid(
        np.arange(1, hashing.n_slots + 1), np.arange(hashing.n_heads), indexing="ij"
    )
    return {
        (int(n), int(h), int(row))
        for one in rows
        for n, h, row in zip(order.ravel(), head.ravel(), one.ravel(), strict=True)
        if row >= 0
    }


# ── collisions ──────────────────────────────────────────────────────────────────────────────────
def expected_rows(n_prefixes: int, table_size: int) -> float:
    """Return the expected number of filled rows, ``T(1 − (1 − 1/T)^N)``, of a random function.

    Examples
    --------
    >>> round(expected_rows(2, 2), 3)
    1.5
    """
    _positive(n_prefixes=n_prefixes, table_size=table_size)
    return float(-table_size * np.expm1(n_prefixes * np.log1p(-1 / table_size)))


def rows_sd(n_prefixes: int, table_size: int) -> float:
    """Return the standard deviation of the number of filled rows of a random function."""
    _positive(n_prefixes=n_prefixes, table_size=table_size)
    size, count = float(table_size), float(n_prefixes)
    one = np.exp(count * np.log1p(-1 / size))
    two = np.exp(count * np.log1p(-2 / size)) if table_size > 2 else 0.0
    return float(np.sqrt(max(size * (one - two) + size**2 * (two - one**2), 0.0)))


def expected_excess(n_prefixes: int, table_size: int) -> float:
    """Return the expected share of prefixes beyond the first of their row.

    Examples
    --------
    >>> round(expected_excess(2, 2), 3)  # two prefixes, two rows: they meet with probability 1/2
    0.25
    """
    return 1 - expected_rows(n_prefixes, table_size) / n_prefixes


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < (2 if name == "table_size" else 1):
            raise ValueError(f"{name} is {value}, expected more")


def confused(rows: IntArray) -> int:
    """Return how many prefixes have all their rows in common with another one.

    Parameters
    ----------
    rows : int64 (n_prefixes, n_heads)

    Examples
    --------
    >>> confused(np.array([[1, 2], [1, 2], [1, 3]]))
    2
    """
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"rows have shape {rows.shape}, expected (n_prefixes, n_heads), not empty")
    _, count = np.unique(rows, axis=0, return_counts=True)
    return int(count[count > 1].sum())


def collision_table(hashing: PrefixHash, prefixes: IntArray) -> pd.DataFrame:
    """Measure how prefixes of one length fall into the rows of a hash.

    Parameters
    ----------
    hashing : PrefixHash
        Of kind ``prefix`` with `max_order` at least the length, or ``full``.
    prefixes : int64 (n_prefixes, length)
        Distinct.

    Returns
    -------
    DataFrame
        One row a head: rows filled, what a random function fills (with its standard deviation),
        share of prefixes beyond the first of their row, expected and measured.
    """
    length = prefixes.shape[1]
    rows = prefix_rows(hashing, prefixes)
    count = len(prefixes)
    filled = np.array([len(np.unique(column)) for column in rows.T])
    return pd.DataFrame(
        {
            "length": length,
            "head": np.arange(hashing.n_heads),
            "prefixes": count,
            "rows": hashing.table_size,
            "filled": filled,
            "expected": expected_rows(count, hashing.table_size),
            "sd": rows_sd(count, hashing.table_size),
            "excess share": 1 - filled / count,
            "expected share": expected_excess(count, hashing.table_size),
        }
    )


def prefix_rows(hashing: PrefixHash, prefixes: IntArray) -> IntArray:
    """Return the rows of whole prefixes of one length, int64 ``(n_prefixes, n_heads)``.

    Raises
    ------
    ValueError
        If the hash does not read so many codes.
    """
    length = prefixes.shape[1]
    if not 1 <= length <= hashing.n_levels or (
        hashing.kind != "full" and length > hashing.max_order
    ):
        raise ValueError(f"prefixes have {length} codes, more than the hash reads")
    padded = np.zeros((len(prefixes), hashing.n_levels), np.int64)
    padded[:, :length] = prefixes
    rows = hashing.index(padded)[:, length - 1]
    return rows[:, 0] if hashing.kind == "full" else rows[:, length - 1]
