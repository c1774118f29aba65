"""A search through all orders of few events, to compare the engine's verdict with.

The engine says that no order exists if a strict edge lies on a cycle. That this is right is proved
on the chapter's theory page; here it is tried. Events get levels, weak edges ask for at most,
strict edges for less, and every assignment of levels is looked at. Levels needed are at most one
more than strict edges, so the search is complete.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from prov.model import ProvDocument

from lib.robot_provenance.constraints import check
from lib.robot_provenance.constraints.normalise import read
from lib.robot_provenance.constraints.ordering import Events

MAX_ASSIGNMENTS = 1 << 20


def has_order(
    n_events: int, source: npt.ArrayLike, target: npt.ArrayLike, strict: npt.ArrayLike
) -> bool:
    """Say whether some assignment of levels to events meets every edge, by trying them all.

    Parameters
    ----------
    n_events : int
    source, target : array_like of int, shape (n_edges,)
    strict : array_like of bool, shape (n_edges,)

    Raises
    ------
    ValueError
        If there are too many assignments to try.

    Examples
    --------
    >>> has_order(2, [0, 1], [1, 0], [False, False])
    True
    >>> has_order(2, [0, 1], [1, 0], [True, False])
    False
    """
    ends = np.asarray(source, int), np.asarray(target, int)
    strict = np.asarray(strict, bool)
    levels = int(strict.sum()) + 1
    if levels**n_events > MAX_ASSIGNMENTS:
        raise ValueError(f"{levels}**{n_events} assignments, expected at most {MAX_ASSIGNMENTS}")
    codes = np.arange(levels**n_events)
    digits = codes[:, None] // levels ** np.arange(n_events) % levels
    good = np.ones(len(codes), bool)
    for a, b, less in zip(*ends, strict, strict=True):
        good &= digits[:, a] < digits[:, b] if less else digits[:, a] <= digits[:, b]
    return bool(good.any())


def random_document(rng: np.random.Generator) -> ProvDocument:
    """Return a few random statements about three entities and two activities."""
    document = ProvDocument()
    document.add_namespace("ex", "http://example.org/")
    entities = [f"ex:e{i}" for i in range(3)]
    activities = [f"ex:a{i}" for i in range(2)]
    for name in entities:
        document.entity(name)
    for name in activities:
        document.activity(name)

    def pick(names: list[str]) -> str:
        return names[int(rng.integers(len(names)))]

    for _ in range(int(rng.integers(2, 6))):
        one, other = rng.choice(entities, 2, replace=False)
        kind = int(rng.integers(6))
        if kind <= 1:
            document.wasDerivedFrom(str(one), str(other))
        elif kind == 2:
            document.specializationOf(str(one), str(other))
        elif kind == 3:
            document.used(pick(activities), str(one))
        elif kind == 4:
            document.wasGeneratedBy(str(one), pick(activities))
        else:
            document.wasStartedBy(pick(activities), str(one))
    return document


def compare(n_documents: int, seed: int) -> pd.DataFrame:
    """Judge random documents by the engine and by the search.

    Parameters
    ----------
    n_documents : int
        Documents whose orders are few enough to be tried are counted.
    seed : int

    Returns
    -------
    DataFrame of bool, shape (n_documents, 3)
        Whether an order exists by ``engine``, by ``search``, and by a search that reads strict
        edges as ``weak`` ones.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[bool, bool, bool]] = []
    while len(rows) < n_documents:
        document = random_document(rng)
        events = Events(read(document, None))
        edges = [one.source for one in events.edges], [one.target for one in events.edges]
        strict = [one.strict for one in events.edges]
        try:
            search = has_order(len(events), *edges, strict)
        except ValueError:
            continue
        weak = has_order(len(events), *edges, [False] * len(strict))
        engine = all(one.code != "42" for one in check(document).violations)
        rows.append((engine, search, weak))
    return pd.DataFrame(rows, columns=["engine", "search", "weak"])
