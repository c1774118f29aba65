"""A simulated world of slates, in which it is known what everybody prefers.

Tastes and films are points; who likes what is their inner product. A past holds what a user chose
out of the whole catalogue, a slate what was drawn for him blindly. How many slates have their
labels recorded is a knob: with few, a ranker has little to learn from, while the pasts still say
who likes what.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lib.core import check
from lib.unified_ranking.examples import Examples, Log, join

__all__ = ["SimulatedWorld", "simulated"]

Floats = npt.NDArray[np.float64]

WIDTH = 4
"""Of tastes and films."""
SHARPNESS = 2.0
"""Times the inner product: log odds of a save, and what a choice for the past goes by."""
NOISE = 0.5
"""Standard deviation of what content vectors add to the true ones, which have 1."""


@dataclass(frozen=True, eq=False)
class SimulatedWorld:
    """Slates of a simulated world.

    Attributes
    ----------
    content : float (n_items, 16)
        What a model sees of the items: the truth turned into 16 dimensions, with noise.
    train, test : Examples
        Of different users. One action, "save". The surface of a training slate is 1 where its
        labels are recorded; half of the examples are such, repeated where they are few.
    truth : float (n_test, k)
        The true preference for each item of a test slate, in the order of `Examples.slate`.
    """

    content: Floats
    train: Examples
    test: Examples
    truth: Floats


def simulated(
    labelled: float,
    *,
    seed: int = 0,
    n_users: int = 800,
    n_test: int = 300,
    n_items: int = 400,
    n_events: int = 16,
    k: int = 16,
    regard: bool = True,
) -> SimulatedWorld:
    """Draw a simulated world.

    Parameters
    ----------
    labelled : float
        Share of the training slates whose labels are recorded, above 0; at least one is.
    seed : int
    n_users, n_test : int
        Users to train by and to test by, with one slate each.
    n_items, n_events, k : int
        Items in all, of a past and of a slate.
    regard : bool
        Whether pasts are chosen by preference; if not, they say nothing (a control).

    Examples
    --------
    >>> world = simulated(0.5, n_users=8, n_test=4, n_items=20)
    >>> len(world.train), len(world.test), world.truth.shape
    (8, 4, (4, 16))
    """
    labelled = check.share("labelled", labelled)
    check.number("labelled", labelled, above=0)
    n_users = check.integer("n_users", n_users, at_least=1)
    everybody = n_users + check.integer("n_test", n_test, at_least=1)
    for name, value in (("n_events", n_events), ("k", k)):
        check.integer(name, value, at_least=1, at_most=check.integer("n_items", n_items))
    rng = np.random.default_rng(check.integer("seed", seed, at_least=0))
    films, tastes = rng.normal(size=(n_items, WIDTH)), rng.normal(size=(everybody, WIDTH))
    turned = rng.normal(size=(WIDTH, 16)) / WIDTH**0.5
    content = (films + NOISE * rng.normal(size=films.shape)) @ turned
    likes = tastes @ films.T / WIDTH**0.5
    # The largest of preference plus Gumbel noise: draws without repetition by exp(preference).
    chance = rng.gumbel(size=likes.shape)
    chosen = np.argsort(-(SHARPNESS * regard * likes + chance), axis=1)[:, :n_events]
    past = rng.permuted(chosen, axis=1)
    slates = np.argsort(rng.random(likes.shape), axis=1)[:, :k]
    truth = np.take_along_axis(likes, slates, axis=1)
    saved = rng.random(truth.shape) < 1 / (1 + np.exp(-SHARPNESS * truth))
    recorded = np.zeros(everybody, np.int64)
    recorded[: max(1, round(labelled * n_users))] = 1
    people = np.arange(everybody)
    before = Log(
        np.repeat(people, n_events),
        past.ravel(),
        np.tile(np.arange(n_events, dtype=np.float64), everybody),
        np.ones((past.size, 1), np.float32),
        np.full(past.size, -1),
    )
    shown = Log(
        np.repeat(people, k),
        slates.ravel(),
        np.full(slates.size, float(n_events)),
        saved.reshape(-1, 1).astype(np.float32),
        np.repeat(people, k),
        np.repeat(recorded, k),
    )
    examples = join(before, shown, n_events)
    known, other = np.flatnonzero(recorded), np.flatnonzero(recorded[:n_users] == 0)
    repeated = np.resize(known, max(len(known), len(other)))
    return SimulatedWorld(
        content,
        examples.take(np.r_[repeated, other]),
        examples.take(people[n_users:]),
        truth[n_users:],
    )
