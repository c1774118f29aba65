"""From the prefixes of an ID to rows of a table: the paper's hash, what is wrong with it, and ours.

The paper's Equation 1 sends the first n codes to the row ``XOR_i c_i·p[i,h] mod T`` of the table of
order n and head h, with distinct primes p. As printed that has three faults (chapter 2, theory): a
code 0 adds nothing, small primes leave rows empty, and with T a power of two the low bits are those
of the codes alone. Ours adds one to each code, takes primes of 61 bits and scrambles the 64 bits
before the modulus. No salted hash is used, so rows are the same in every process.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from sympy import nextprime

from lib.core import check
from lib.semantic_ids.catalogue import IntArray

__all__ = [
    "Kind",
    "PrefixHash",
    "RowIndex",
    "confused",
    "excess",
    "expected_excess",
    "expected_rows",
    "prefix_rows",
    "primes",
]

Kind = Literal["prefix", "suffix", "full"]
Scheme = Literal["mixed", "printed"]
FloatArray = npt.NDArray[np.float64]
_U = np.uint64


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
    check.integer("n_levels", n_levels, at_least=1)
    check.integer("n_heads", n_heads, at_least=1)
    check.integer("seed", seed, at_least=0)
    check.integer("bits", bits, at_least=8, at_most=62)
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


class RowIndex(ABC):
    """What an encoder needs of a hash: how many tables of how many rows, and the rows.

    Attributes
    ----------
    n_levels : int
        Codes in an ID.
    n_slots : int
        Tables a head has: the orders, or 1 for full prefixes.
    n_heads : int
        Heads, each with tables of its own.
    table_size : int
        Rows of a table.
    n_rows : int
        Rows of all tables together, laid below one another.
    nested : bool
        Whether the rows of a prefix begin with those of its own shorter prefixes.
    """

    n_levels: int
    n_slots: int
    n_heads: int
    table_size: int
    n_rows: int
    nested: bool

    @abstractmethod
    def _local(self, prefix: IntArray) -> IntArray:
        """Return the rows, each in its own table, of prefixes of one length ``(n, length)``.

        The shape is ``(n, n_present, n_heads)``; −1 stands for an unknown prefix.
        """

    def _starts(self) -> IntArray:
        """Return where each table begins, ``(n_slots, n_heads)``."""
        table = np.arange(self.n_slots * self.n_heads, dtype=np.int64)
        return table.reshape(self.n_slots, self.n_heads) * self.table_size

    def index(self, codes: npt.ArrayLike) -> IntArray:
        """Return the rows of every prefix of every ID.

        Row (l, n, h) belongs to the vector at the token of code l, from which code l + 1 is
        predicted, and depends on codes up to l only.

        Parameters
        ----------
        codes : integers (..., n_levels)
            Nonnegative.

        Returns
        -------
        int64 (..., n_levels, n_slots, n_heads)
            In ``[0, table_size)``, or −1 where level l has no such order or the prefix is unknown.

        Raises
        ------
        ValueError
            If codes are not whole numbers, negative, or have another number of levels.
        """
        table = check.integers("codes", codes, at_least=0, empty=True)
        if table.ndim < 1 or table.shape[-1] != self.n_levels:
            raise ValueError(f"codes have shape {table.shape}, expected (..., {self.n_levels})")
        flat = table.reshape(-1, self.n_levels)
        rows = np.full((len(flat), self.n_levels, self.n_slots, self.n_heads), -1, np.int64)
        for length in range(1, self.n_levels + 1):
            present = self._local(flat[:, :length])
            rows[:, length - 1, : present.shape[1]] = present
        return rows.reshape(*table.shape, self.n_slots, self.n_heads)

    def rows(self, prefix: torch.Tensor) -> torch.Tensor:
        """Return the rows of prefixes of one length, in all tables laid below one another.

        Parameters
        ----------
        prefix : int64 tensor (..., length)
            1 to `n_levels` codes, nonnegative.

        Returns
        -------
        int64 tensor (..., n_present, n_heads)
            In ``[0, n_rows)``. Present are the orders that the length has, or the one of full
            prefixes; an unknown prefix has the last row of all.
        """
        codes = prefix.detach().cpu().numpy()
        if codes.dtype.kind not in "iu" or codes.min(initial=0) < 0:  # quick: every step asks
            codes = check.integers("prefix", codes, at_least=0, empty=True)
        if codes.ndim < 1 or not 1 <= codes.shape[-1] <= self.n_levels:
            raise ValueError(
                f"prefix has shape {codes.shape}, expected (..., 1 to {self.n_levels} codes)"
            )
        local = self._local(codes.reshape(-1, codes.shape[-1]))
        found = np.where(local < 0, self.n_rows - 1, local + self._starts()[: local.shape[1]])
        shape = (*codes.shape[:-1], *local.shape[1:])
        return torch.from_numpy(found.reshape(shape)).to(prefix.device)


@dataclass(frozen=True, eq=False)
class PrefixHash(RowIndex):
    """Rows of a memory for each prefix of an ID, by order and head (2606.00324, Equation 1).

    Parameters
    ----------
    n_levels : int
        Codes in an ID. The tables do not care how large the code book is.
    max_order : int
        Largest n: how many codes an order may read; cut to `n_levels`.
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
        Instead of primes made from the seed; at least 1, below 2^63.

    Examples
    --------
    >>> hashing = PrefixHash(n_levels=3, max_order=2, n_heads=4, table_size=64)
    >>> rows = hashing.index([[1, 2, 3]])
    >>> rows.shape, rows[0, 0, 1]  # at level 1 there is no order 2
    ((1, 3, 2, 4), array([-1, -1, -1, -1]))
    >>> hashing.rows(torch.tensor([[1, 2]])).shape
    torch.Size([1, 2, 4])
    """

    n_levels: int
    max_order: int
    n_heads: int
    table_size: int
    seed: int = 0
    kind: Kind = "prefix"
    scheme: Scheme = "mixed"
    multipliers: npt.NDArray[np.uint64] | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("n_levels", 1, 64),
            ("max_order", 1, 2**31),
            ("n_heads", 1, 64),
            ("table_size", 2, 2**31),
            ("seed", 0, 2**63),
        ):
            check.integer(name, getattr(self, name), at_least=low, at_most=high)
        check.known("kind", self.kind, get_args(Kind))
        check.known("scheme", self.scheme, get_args(Scheme))
        shape = (self.n_levels, self.n_heads)
        factors = self.multipliers
        if factors is None:
            factors = primes(*shape, seed=self.seed)
        else:
            check.integers("multipliers", factors, shape=shape, at_least=1)
        object.__setattr__(self, "multipliers", np.asarray(factors, _U))
        object.__setattr__(self, "max_order", min(self.max_order, self.n_levels))

    @property
    def n_slots(self) -> int:  # type: ignore[override]
        """Tables a head has: one an order, or one for full prefixes."""
        return 1 if self.kind == "full" else self.max_order

    @property
    def n_rows(self) -> int:  # type: ignore[override]
        """Rows of all tables together."""
        return self.n_slots * self.n_heads * self.table_size

    @property
    def nested(self) -> bool:  # type: ignore[override]
        """True for kind ``prefix``: order n reads the first n codes at every level."""
        return self.kind == "prefix"

    def fields(self) -> dict[str, Any]:
        """Return all that determines the rows, as JSON has it; see `of_fields`."""
        names = ("n_levels", "max_order", "n_heads", "table_size", "kind", "scheme")
        rows = cast(Any, self.multipliers).tolist()
        return {**{name: getattr(self, name) for name in names}, "multipliers": rows}

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Return the hash that `fields` describes."""
        return cls(**{**fields, "multipliers": np.array(fields["multipliers"], _U)})

    def _local(self, prefix: IntArray) -> IntArray:
        length = prefix.shape[1]
        factor = (prefix + 1 if self.scheme == "mixed" else prefix).T.astype(_U)
        # Unsigned products wrap, which loses nothing but the high bits. Levels come first, so that
        # NumPy's inner loops are long.
        product = factor[..., None] * cast(Any, self.multipliers)[:length, None]
        running = np.bitwise_xor.accumulate(product, axis=0)
        last = running[-1:]
        if self.kind == "full":
            key = last
        elif self.kind == "prefix":
            key = running[: self.max_order]
        else:  # the last n codes: what came before them cancels out of the exclusive or
            before = np.concatenate([running[-2::-1], np.zeros_like(last)])
            key = last ^ before[: self.max_order]
        if self.scheme == "mixed":
            key = _scramble(key)
        return np.moveaxis(key % _U(self.table_size), 0, 1).astype(np.int64)


# ── collisions ──────────────────────────────────────────────────────────────────────────────────
def expected_rows(n_prefixes: int, table_size: int) -> float:
    """Return the expected number of filled rows, ``T(1 − (1 − 1/T)^N)``, of a random function.

    Examples
    --------
    >>> round(expected_rows(2, 2), 3)
    1.5
    """
    n_prefixes, table_size = _counts(n_prefixes, table_size)
    return float(-table_size * np.expm1(n_prefixes * np.log1p(-1 / table_size)))


def expected_excess(n_prefixes: int, table_size: int) -> float:
    """Return the expected share of prefixes beyond the first of their row.

    Examples
    --------
    >>> round(expected_excess(2, 2), 3)  # two prefixes, two rows: they meet with probability 1/2
    0.25
    """
    return 1 - expected_rows(n_prefixes, table_size) / n_prefixes


def _counts(n_prefixes: int, table_size: int) -> tuple[int, int]:
    return (
        check.integer("n_prefixes", n_prefixes, at_least=1),
        check.integer("table_size", table_size, at_least=2),
    )


def excess(rows: IntArray) -> FloatArray:
    """Return for each head the share of prefixes beyond the first of their row, ``(n_heads,)``.

    Parameters
    ----------
    rows : int64 (n_prefixes, n_heads)

    Examples
    --------
    >>> excess(np.array([[1, 2], [1, 3], [1, 3], [0, 2]]))
    array([0.5, 0.5])
    """
    rows = check.integers("rows", rows, shape=("n_prefixes", "n_heads"))
    return np.array([1 - len(np.unique(head)) / len(rows) for head in rows.T])


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
    rows = check.integers("rows", rows, shape=("n_prefixes", "n_heads"))
    _, count = np.unique(rows, axis=0, return_counts=True)
    return int(count[count > 1].sum())


def prefix_rows(hashing: PrefixHash, prefixes: IntArray) -> IntArray:
    """Return the rows of whole prefixes of one length, int64 ``(n_prefixes, n_heads)``.

    Raises
    ------
    ValueError
        If the hash does not read so many codes.
    """
    longest = hashing.n_levels if hashing.kind == "full" else hashing.max_order
    table = check.integers("prefixes", prefixes, shape=("n_prefixes", "length"), at_least=0)
    if table.shape[1] > longest:
        raise ValueError(f"prefixes have {table.shape[1]} codes, more than the hash reads")
    return hashing._local(table)[:, -1]
