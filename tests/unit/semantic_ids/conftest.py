"""Fixtures of chapter 2: the public catalogues, and a small tree that users walk through."""

import numpy as np
import pytest

from lib.semantic_ids import datasets
from lib.semantic_ids.datasets import SidData


@pytest.fixture(scope="session")
def catalogues():
    """Return the loader; the test of a file that cannot be had skips."""
    return datasets.load


def walks(n_codes=16, width=8, n_last=4, n_users=300, length=6, seed=0):
    """Make a tree of three levels, each prefix with favourites of its own, and users who stay."""
    rng = np.random.default_rng(seed)

    def drawn(n):
        return rng.permutation(n_codes)[:n]

    codes = [
        (first, second, last)
        for first in drawn(width)
        for second in drawn(width)
        for last in drawn(n_last)
    ]
    ranks = [1 / np.arange(1, n + 1) ** 1.5 for n in (width, width, n_last)]

    def step(first):
        if first is None or rng.random() > 0.7:
            first = rng.choice(width, p=ranks[0] / ranks[0].sum())
        second, last = (rng.choice(len(r), p=r / r.sum()) for r in ranks[1:])
        return first, (first * width + second) * n_last + last

    sequences = []
    for _ in range(n_users):
        first, items = None, []
        for _ in range(length):
            first, item = step(first)
            items.append(item)
        sequences.append(np.array(items, np.int64))
    return SidData("walks", np.array(codes, np.int64), n_codes, tuple(sequences), None, "made up")


@pytest.fixture(scope="session")
def made_up():
    """Return `walks`."""
    return walks
