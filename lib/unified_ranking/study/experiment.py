"""Which arms are run, at which budgets and over which seeds, and how results become numbers.

What is said of a trained model has to stand at both budgets, the second four times the first, and
over the seeds. Intervals come from drawing users and seeds anew, together; every difference is
paired by slate and by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from lib.core import check, sweeps
from lib.core.profile import pick
from lib.unified_ranking.study.arms import Arm, ArmResult, run_arm

__all__ = [
    "BUDGETS",
    "SEEDS",
    "Estimate",
    "Study",
    "estimate",
    "extra_arms",
    "film_arms",
    "run_everything",
    "world_arms",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Measure = Literal["hit3", "auc", "recall", "fame"]

SEEDS = (0, 1, 2)
"""Fixed before the first run."""
BUDGETS = ("B1", "B2")
EVENTS = 64
SPARSE, DENSE = 0.02, 1.0
"""Shares of labelled slates in the simulated world."""


def _base(budget: str) -> Arm:
    check.known("budget", budget, BUDGETS)
    short = pick(smoke=1, book=40, full=200)
    return Arm(
        steps=short if budget == "B1" else 4 * short,
        batch=pick(smoke=4, book=16, full=32),
        events=pick(smoke=8, book=EVENTS, full=EVENTS),
        width=pick(smoke=8, book=32, full=64),
        n_test=pick(smoke=24, book=None, full=None),
    )


def _seeds(arms: Mapping[str, Arm]) -> dict[str, list[Arm]]:
    seeds = pick(smoke=SEEDS[:2], book=SEEDS, full=SEEDS)
    return {name: [replace(arm, seed=seed) for seed in seeds] for name, arm in arms.items()}


def film_arms(budget: str) -> dict[str, list[Arm]]:
    """Return the arms of Tables 1 and 4 on films, one run a seed, and what controls need.

    Parameters
    ----------
    budget : {"B1", "B2"}
    """
    base = _base(budget)
    arms = {
        "joint": base,
        "retrieval": replace(base, kind="retrieval"),
        "ranking": replace(base, kind="ranking"),
        "frozen": replace(base, kind="frozen"),
        # Each event is two places, so half the events have as many tokens.
        "interleaved, tokens": replace(base, kind="interleaved", events=base.events // 2),
        "interleaved, items": replace(base, kind="interleaved"),
        "mask 0": replace(base, mask=0.0),
        "mask 0.1": replace(base, mask=0.1),
        "mask 0.3": replace(base, mask=0.3),
        "targets dealt out": replace(base, broken="targets"),
        "uncorrected": replace(base, broken="uncorrected"),
        "Q dealt out": replace(base, broken="Q"),
    }
    return {**_seeds(arms), "popularity": [replace(base, kind="popularity", steps=1)]}


def extra_arms() -> dict[str, list[Arm]]:
    """Return depths and lengths at the larger budget, and at the smaller the arm that may copy."""
    base = _base("B2")
    arms = {
        "four layers": replace(base, layers=4),
        "one layer": replace(base, layers=1),
        "a quarter of the events": replace(base, events=base.events // 4),
    }
    copying = replace(_base("B1"), kind="copying")
    return {**_seeds(arms), "copying": [copying]}


def world_arms(budget: str) -> dict[str, list[Arm]]:
    """Return joint and ranking alone in the simulated world, by the share of labelled slates.

    Parameters
    ----------
    budget : {"B1", "B2"}
    """
    base = replace(_base(budget), events=16)
    arms = {}
    for kind in ("joint", "ranking"):
        one = replace(base, kind=kind, labelled=SPARSE)
        arms[f"{kind}, sparse"] = one
        arms[f"{kind}, dense"] = replace(one, labelled=DENSE)
        arms[f"{kind}, without regard"] = replace(one, regard=False)
    return _seeds(arms)


def _groups() -> dict[str, dict[str, list[Arm]]]:
    groups = {}
    for budget in reversed(BUDGETS):  # the longest first: no core waits for a single long run
        groups[f"films {budget}"] = film_arms(budget)
        groups[f"world {budget}"] = world_arms(budget)
    return {**groups, "films extra": extra_arms()}


def run_everything() -> dict[str, Study]:
    """Run all arms in one sweep, or take them from where an earlier one put them.

    Returns
    -------
    dict of str to Study
        By "films" or "world" and budget; "films B2" has the depths and lengths as well, and
        "films B1" the arm that may copy.
    """
    groups = _groups()
    arms = [one for group in groups.values() for row in group.values() for one in row]
    found = iter(sweeps.run(run_arm, arms, name="ch04"))
    results = {
        name: {arm: [next(found) for _ in row] for arm, row in group.items()}
        for name, group in groups.items()
    }
    extra = results.pop("films extra")
    results["films B1"]["copying"] = extra.pop("copying")
    results["films B2"].update(extra)
    return {name: Study(group) for name, group in results.items()}


@dataclass(frozen=True)
class Estimate:
    """A number with its interval."""

    value: float
    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high


def estimate(
    values: npt.ArrayLike,
    users: npt.ArrayLike,
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return the mean over slates and seeds, with an interval from users and seeds drawn anew.

    Of n seeds, n − 1 are drawn: the spread of a mean of n − 1 such draws is that of a mean of n
    seeds (Rao and Wu, 1988), which with three seeds n draws would understate by a fifth.

    Parameters
    ----------
    values : array_like of float, shape (n_seeds, n_slates) or (n_slates,)
        NaN where a slate has nothing to be measured, for all seeds alike.
    users : int array_like, shape (n_slates,)
        Whose slates are drawn together.
    draws : int
    level : float
    seed : int

    Returns
    -------
    Estimate

    Examples
    --------
    >>> estimate([0.0, 1.0, float("nan")], [1, 2, 3], draws=99)
    Estimate(value=0.5, low=0.0, high=1.0)
    """
    found = np.atleast_2d(np.asarray(values, np.float64))
    who = check.integers("users", users, shape=("n_slates",))
    if found.shape[1:] != who.shape:
        raise ValueError(f"values have shape {found.shape}, expected one for each of {len(who)}")
    there = np.isfinite(found)
    if (there != there[0]).any() or not there[0].any():
        raise ValueError("values are missing for some seeds, or for all slates")
    _, place = np.unique(who[there[0]], return_inverse=True)
    n_seeds, n_users = len(found), int(place.max()) + 1
    sums = np.stack([np.bincount(place, row, minlength=n_users) for row in found[:, there[0]]])
    sizes = np.bincount(place, minlength=n_users)
    rng = np.random.default_rng(check.integer("seed", seed, at_least=0))
    draws = check.integer("draws", draws, at_least=1)
    weights = rng.multinomial(n_users, np.full(n_users, 1 / n_users), size=draws)
    chosen = rng.integers(n_seeds, size=(draws, max(1, n_seeds - 1)))
    means = weights @ sums.T / (weights @ sizes)[:, None]
    drawn = np.take_along_axis(means, chosen, axis=1).mean(axis=1)
    tail = (1 - check.share("level", level)) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(float(found[:, there[0]].mean()), float(low), float(high))


class Study:
    """Results of arms that were asked the same.

    Parameters
    ----------
    results : mapping of str to sequence of ArmResult
        One a seed. In a simulated world each seed has users of its own, numbered alike; what some
        of them have and others lack, such as something to be retrieved, is refused there.
    """

    def __init__(self, results: Mapping[str, Sequence[ArmResult]]) -> None:
        if not results:
            raise ValueError("results is empty, expected an arm or more")
        self.results = {name: list(row) for name, row in results.items()}
        self.users: Ints = next(iter(self.results.values()))[0].users

    def values(self, arm: str, measure: Measure, *, swapped: bool = False) -> Floats:
        """Return a measure by seed and slate, ``(n_seeds, n_slates)``.

        Parameters
        ----------
        arm : str
        measure : {"hit3", "auc", "recall", "fame"}
        swapped : bool
            With the pasts exchanged between users; of "joint" arms.
        """
        row = self.results[check.known("arm", arm, self.results)]
        found = [one.swapped if swapped else one.own for one in row]
        if any(one is None for one in found):
            raise ValueError(f"{arm!r} was not asked with pasts exchanged")
        return np.stack([getattr(one, measure) for one in found])

    def level(self, arm: str, measure: Measure) -> Estimate:
        """Return the mean of a measure."""
        return estimate(self.values(arm, measure), self.users)

    def gain(self, arm: str, over: str, measure: Measure, *, swapped: bool = False) -> Estimate:
        """Return a difference of two arms, paired by slate and by seed.

        Parameters
        ----------
        arm, over : str
        measure : {"hit3", "auc", "recall", "fame"}
        swapped : bool
            Whether the first has the pasts exchanged between users.
        """
        first = self.values(arm, measure, swapped=swapped)
        return estimate(first - self.values(over, measure), self.users)

    def other_seed(self, arm: str, measure: Measure) -> Estimate:
        """Return an arm's second seed minus its first: what is no difference of arms."""
        found = self.values(arm, measure)
        if len(found) < 2:
            raise ValueError(f"{arm!r} has one seed, expected two")
        return estimate(found[1] - found[0], self.users)

    def change(self, first: tuple[str, str], second: tuple[str, str], measure: Measure) -> Estimate:
        """Return one gain minus another: of (arm, over) minus (arm, over)."""
        parts = [self.values(arm, measure) for arm in (*first, *second)]
        return estimate(parts[0] - parts[1] - parts[2] + parts[3], self.users)
