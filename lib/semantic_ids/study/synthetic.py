"""A simulated world of Semantic IDs, to sweep what real catalogues cannot: prefixes over capacity.

Nothing in it is real. Its tree has as many prefixes as it is told to, every prefix has favourite
codes of its own, and users walk through it. What can be learnt is known, because it was put there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lib.semantic_ids.catalogue import IntArray
from lib.semantic_ids.datasets import SidData

__all__ = ["World", "simulate"]


@dataclass(frozen=True)
class World:
    """Settings of a simulated world.

    Attributes
    ----------
    n_prefixes : int
        Distinct prefixes of length ``n_levels - 1``: what a flat model has to remember.
    n_levels : int
        Codes in an ID, at least 2.
    n_codes : int
        Code book of a level, a power of two.
    n_last : int
        Codes that follow each of those prefixes at the last level: 0 to ``n_last - 1``. There are
        ``n_prefixes * n_last`` items.
    n_users, length : int
        Users, and items each takes.
    zipf : float
        How uneven the popularity of the children of a prefix is; 0 is even.
    stay : float
        Probability that a user's next item has the first code of the last one, in [0, 1].
    taste : float
        Probability that the last code is the user's own instead of the prefix's, in [0, 1]. At 0,
        deep codes depend on the prefix alone.
    shared : bool
        All prefixes of a length have the same children with the same popularity, so a prefix says
        nothing: the control.
    """

    n_prefixes: int = 1024
    n_levels: int = 3
    n_codes: int = 64
    n_last: int = 8
    n_users: int = 2000
    length: int = 8
    zipf: float = 1.5
    stay: float = 0.7
    taste: float = 0.0
    shared: bool = False

    def __post_init__(self) -> None:
        if self.n_codes < 2 or self.n_codes & (self.n_codes - 1):
            raise ValueError(f"n_codes is {self.n_codes}, expected a power of two")
        if self.n_levels < 2:
            raise ValueError(f"n_levels is {self.n_levels}, expected at least 2")
        most = self.n_codes ** (self.n_levels - 1)
        if not 1 <= self.n_prefixes <= most:
            raise ValueError(f"n_prefixes is {self.n_prefixes}, expected 1 to {most}")
        for name, low, high in (
            ("n_last", 1, self.n_codes),
            ("n_users", 1, 2**31),
            ("length", 3, 2**31),
            ("zipf", 0, 100),
            ("stay", 0, 1),
            ("taste", 0, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, expected {low} to {high}")

    @property
    def n_items(self) -> int:
        """Items in the catalogue (fewer prefixes may be made where `shared` needs equal shares)."""
        return self.n_prefixes * self.n_last


@dataclass(frozen=True)
class _Tree:
    """Children of the nodes of one level: how many, where they start, and their codes."""

    count: IntArray
    start: IntArray
    code: IntArray


def simulate(world: World, *, seed: int) -> SidData:
    """Return a simulated catalogue with histories; its name says that it is simulated.

    Parameters
    ----------
    world : World
    seed : int

    Returns
    -------
    SidData

    Examples
    --------
    >>> data = simulate(World(n_prefixes=10, n_codes=8, n_last=2, n_users=3), seed=0)
    >>> data.name, data.n_items, len(data.sequences)
    ('simulated', 20, 3)
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected a nonnegative integer")
    rng = np.random.default_rng(seed)
    trees = _grow(world, rng)
    prefixes = _prefixes(trees)
    codes = np.column_stack(
        [
            np.repeat(prefixes, world.n_last, axis=0),
            np.tile(np.arange(world.n_last), len(prefixes)),
        ]
    )
    leaf = _walk(world, trees, rng)
    last = _last(world, leaf, len(prefixes), rng)
    sequences = tuple(leaf * world.n_last + last)
    note = f"simulated: {world}"
    return SidData("simulated", codes, world.n_codes, sequences, None, note)


def _grow(world: World, rng: np.random.Generator) -> list[_Tree]:
    """Make the levels up to length ``n_levels - 1``, each some power of `n_prefixes` wide."""
    depth = world.n_levels - 1
    trees, nodes = [], 1
    for level in range(1, depth + 1):
        wanted = round(world.n_prefixes ** (level / depth))
        wanted = min(max(wanted, nodes), nodes * world.n_codes)
        if world.shared:
            wanted = max(1, round(wanted / nodes)) * nodes
            count = np.full(nodes, wanted // nodes, np.int64)
        else:
            # One child each; the rest fall where they may, but never beyond the code book.
            places = np.repeat(np.arange(nodes), world.n_codes - 1)
            extra = rng.choice(len(places), size=wanted - nodes, replace=False)
            count = 1 + np.bincount(places[extra], minlength=nodes).astype(np.int64)
        trees.append(_Tree(count, np.cumsum(count) - count, _codes(world, count, rng)))
        nodes = int(count.sum())
    return trees


def _codes(world: World, count: IntArray, rng: np.random.Generator) -> IntArray:
    """Return the children's codes by rank: for each node another order of the code book."""
    rank = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    if world.shared:
        return rank
    # An odd factor and a shift permute 0 to 2^k − 1.
    factor = 2 * rng.integers(world.n_codes // 2, size=len(count)) + 1
    shift = rng.integers(world.n_codes, size=len(count))
    codes = (np.repeat(factor, count) * rank + np.repeat(shift, count)) % world.n_codes
    return np.asarray(codes, np.int64)


def _prefixes(trees: list[_Tree]) -> IntArray:
    table = np.zeros((1, 0), np.int64)
    for tree in trees:
        table = np.column_stack([np.repeat(table, tree.count, axis=0), tree.code])
    return table


def _rank(count: IntArray, zipf: float, uniform: npt.NDArray[np.float64]) -> IntArray:
    """Return ranks below `count`, drawn with probability proportional to ``(rank + 1)^-zipf``."""
    mass = np.cumsum(np.arange(1, int(count.max()) + 1, dtype=np.float64) ** -zipf)
    rank = np.searchsorted(mass, uniform * mass[count - 1], side="right")
    return np.minimum(rank, count - 1).astype(np.int64)


def _walk(world: World, trees: list[_Tree], rng: np.random.Generator) -> IntArray:
    """Return the prefix of each step of each user, int64 ``(n_users, length)``."""
    shape = (world.n_users, world.length)
    first = _rank(np.broadcast_to(trees[0].count[0], shape), world.zipf / 2, rng.random(shape))
    stays = rng.random(shape) < world.stay
    for step in range(1, world.length):
        first[:, step] = np.where(stays[:, step], first[:, step - 1], first[:, step])
    node = first
    for tree in trees[1:]:
        node = tree.start[node] + _rank(tree.count[node], world.zipf, rng.random(shape))
    return node


def _last(world: World, leaf: IntArray, n_leaves: int, rng: np.random.Generator) -> IntArray:
    """Return the last code of each step: the prefix's favourite mostly, or the user's own."""
    shape = leaf.shape
    rank = _rank(np.broadcast_to(np.int64(world.n_last), shape), world.zipf, rng.random(shape))
    shift = rng.integers(world.n_last, size=n_leaves)
    own = np.zeros(shape, np.int64) if world.shared else shift[leaf]
    taste = rng.integers(world.n_last, size=(world.n_users, 1))
    return np.where(rng.random(shape) < world.taste, taste, (rank + own) % world.n_last)
