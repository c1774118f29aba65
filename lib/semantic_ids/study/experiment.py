"""The experiment of the chapter: arms, budgets, and how results become numbers.

Two budgets, 0.6 and 6 epochs, are the whole point: what is said of a trained model has to stand at
both, or name its budget. Sizes follow the profile of the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lib.core import ledger, sweeps
from lib.core.profile import pick
from lib.semantic_ids.datasets import load, sample
from lib.semantic_ids.evaluation import popularity_tertiles
from lib.semantic_ids.intervals import Estimate, Resample
from lib.semantic_ids.prefixmem import PrefixMemConfig
from lib.semantic_ids.study.arms import (
    SHAPE,
    Arm,
    ArmResult,
    CountResult,
    count_result,
    recipe,
    run_arm,
)

__all__ = [
    "BUDGETS",
    "SEEDS",
    "VARIATIONS",
    "Study",
    "main_arms",
    "report",
    "run_everything",
    "run_main",
    "run_untrained",
    "run_variations",
    "variation_arms",
]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEEDS = (0, 1)
"""Of the main arms; fixed before the first run."""

BUDGETS = ("0.6 epoch", "6 epochs")
"""A pass over Beauty's train interactions is 318 batches of 512 items."""


def _steps(budget: str) -> int:
    short, long = pick(smoke=(10, 20), book=(200, 1908), full=(200, 1908))
    return int({BUDGETS[0]: short, BUDGETS[1]: long}[budget])


def _seeds() -> tuple[int, ...]:
    return pick(smoke=SEEDS, book=SEEDS, full=(0, 1, 2, 3, 4))


def main_arms(budget: str) -> dict[str, list[Arm]]:
    """Return flat and PrefixMem at a budget, one run a seed, each also mixed with counts."""
    steps = _steps(budget)
    arm = Arm(
        shape=SHAPE,
        train=recipe(steps, pick(smoke=256, book=512, full=512)),
        n_test=pick(smoke=300, book=3000, full=22_363),
        n_valid=pick(smoke=200, book=1500, full=8000),
        n_beam=pick(smoke=50, book=500, full=8000),
        curve=(steps // 4, 3 * steps // 4),
    )
    # The long flat arm is held against published hit rates; PrefixMem is asked the same.
    n_target = pick(smoke=100, book=3000, full=22_363) if budget == BUDGETS[1] else 0
    arm = replace(arm, n_target=n_target)
    arms = {
        "flat": arm,
        "PrefixMem": replace(arm, encoder="prefixmem"),
    }
    return {name: [one.with_seed(seed) for seed in _seeds()] for name, one in arms.items()}


def untrained_arm() -> Arm:
    """Return the flat arm as good as untrained, a control: one step at a vanishing rate."""
    arm = main_arms(BUDGETS[1])["flat"][0]
    train = replace(arm.train, steps=1, lr=1e-9, matrix_lr=1e-9)
    return replace(
        arm, train=train, curve=(), n_test=arm.n_beam, n_valid=0, n_target=arm.n_target // 8
    )


VARIATIONS: dict[str, dict[str, Any]] = {
    "rows at random": {"encoder": "random rows"},
    "suffix hashes": {"encoder": "prefixmem", "memory": PrefixMemConfig(kind="suffix")},
    "full prefix only": {"encoder": "prefixmem", "memory": PrefixMemConfig(kind="full")},
    "leak (control)": {"encoder": "leaky"},
}
"""What each variation changes of the flat arm."""


def variation_arms() -> dict[str, list[Arm]]:
    """Return the variations at the smaller budget, one seed (full: five), beside the main arms."""
    main = main_arms(BUDGETS[0])
    n_seeds = pick(smoke=1, book=1, full=len(_seeds()))
    arms = {name: row[:n_seeds] for name, row in main.items()}
    for name, change in VARIATIONS.items():
        # Of one control the mix with counts is asked too.
        n_valid = main["flat"][0].n_valid if name == "rows at random" else 0
        arms[name] = [
            replace(replace(one, n_valid=n_valid, n_beam=0, curve=()), **change)
            for one in main["flat"][:n_seeds]
        ]
    return arms


def _run(arms: Sequence[Arm]) -> list[ArmResult]:
    """Run arms, or take them from where `run_everything` put them."""
    return sweeps.run(run_arm, arms, name="ch02")


def _run_all(arms: Mapping[str, Sequence[Arm]]) -> dict[str, list[ArmResult]]:
    found = iter(_run([one for row in arms.values() for one in row]))
    return {name: [next(found) for _ in row] for name, row in arms.items()}


def run_everything() -> None:
    """Run all arms in one sweep, the longest first: no core waits for a single long run."""
    rows = [main_arms(BUDGETS[1]), main_arms(BUDGETS[0]), variation_arms()]
    main = (one for arms in rows for row in arms.values() for one in row)
    _run([*main, untrained_arm()])


def run_untrained() -> ArmResult:
    """Run the untrained flat arm."""
    return _run([untrained_arm()])[0]


def run_main() -> dict[str, Study]:
    """Run the main arms at both budgets."""
    return {budget: _study(_run_all(main_arms(budget))) for budget in BUDGETS}


def run_variations() -> Study:
    """Run the variations."""
    return _study(_run_all(variation_arms()))


def _study(results: Mapping[str, Sequence[ArmResult]]) -> Study:
    data = load("beauty_rqkmeans")
    n_test = len(next(iter(results.values()))[0].hits)
    targets = data.codes[sample(data.split().test, n_test).targets]
    return Study(results, count_result(data, n_test), targets)


class Study:
    """Results of arms that belong together, and what is asked of them.

    Parameters
    ----------
    results : dict of str to list of ArmResult
        One a seed.
    counts : CountResult
        On the same users.
    targets : int64 (n_test, n_levels)
        Codes of the test items.
    draws : int
        Of the intervals.
    """

    def __init__(
        self,
        results: Mapping[str, Sequence[ArmResult]],
        counts: CountResult,
        targets: Ints,
        *,
        draws: int = 1000,
    ) -> None:
        self.results = results
        self.counts = counts
        self.targets = targets
        some = next(iter(results.values()))
        self.levels = range(1, targets.shape[1] + 1)
        self.users = Resample(len(some), len(targets), draws=draws)
        beam = some[0].beams.get("trie")
        self.n_beam = len(beam.valid) if beam else 0
        self.beams = Resample(len(some), max(1, self.n_beam), draws=draws)

    # ── arrays ──────────────────────────────────────────────────────────────────────────────────
    def field(self, arm: str, name: str, level: int) -> Floats:
        """Return one measurement at a level (from 1), ``(n_seeds, n_users)`` or ``(n_users,)``.

        The arm ``"count table"`` has no seed; nor has ``"no prefix"``, a table that ignores the
        prefix as well.
        """
        if arm == "no prefix":
            return self.counts.marginal_hits[:, level - 1].astype(np.float64)
        if arm == "count table":
            found = self.counts.nll if name.endswith("nll") else self.counts.hits
            return found[:, level - 1].astype(np.float64)
        rows = [np.asarray(getattr(one, name), np.float64) for one in self.results[arm]]
        return np.stack(rows)[..., level - 1]

    def beam(self, arm: str, kind: str, name: str, k: int | None = None) -> Floats:
        """Return one measurement of a beam search, ``(n_seeds, n_users)``."""
        if arm == "count table":
            assert k is not None
            return self.counts.recall[k][: self.n_beam].astype(np.float64)
        found = [getattr(one.beams[kind], name) for one in self.results[arm]]
        return np.stack([np.asarray(one if k is None else one[k], np.float64) for one in found])

    # ── teacher-forced ──────────────────────────────────────────────────────────────────────────
    def accuracy(self, arm: str, level: int, name: str = "hits") -> Estimate:
        """Return teacher-forced accuracy at a level."""
        return self.users.estimate(self.users.mean(self.field(arm, name, level)))

    def accuracies(self) -> dict[str, list[Estimate]]:
        """Return accuracy by level: the count table, the arms, with the trie, with counts."""
        rows = {"count table": [self.accuracy("count table", n) for n in self.levels]}
        kinds = {"": "hits", ", trie": "trie_hits", " + counts": "mixed_hits"}
        for suffix, name in kinds.items():
            for arm, found in self.results.items():
                if getattr(found[0], name) is not None:
                    rows[arm + suffix] = [self.accuracy(arm, n, name) for n in self.levels]
        return rows

    def gain(
        self, arm: str, over: str, level: int, name: str = "hits", base: str = "hits"
    ) -> Estimate:
        """Return a difference of two arms at a level, paired by user and seed.

        Parameters
        ----------
        arm, over : str
        level : int
        name, base : str
            Field of the first and of the second.
        """
        first = self.users.mean(self.field(arm, name, level))
        return self.users.estimate(first - self.users.mean(self.field(over, base, level)))

    def early(self, arm: str, over: str, level: int, *, final: bool = False) -> Estimate:
        """Return the difference after a quarter; `final`: after three, the other arm at its end."""

        def at(name: str) -> Floats:
            step = sorted(self.results[name][0].curve)[-1 if final else 0]
            found = [one.curve[step][:, level - 1] for one in self.results[name]]
            return np.stack(found).astype(np.float64)

        other = self.field(over, "hits", level) if final else at(over)
        return self.users.estimate(self.users.mean(at(arm)) - self.users.mean(other))

    def curve(self, arm: str) -> dict[int, Floats]:
        """Return mean accuracy by level after so many steps, the end included."""
        seeds = self.results[arm]
        found = {s: np.mean([one.curve[s] for one in seeds], axis=(0, 1)) for s in seeds[0].curve}
        return {**found, len(seeds[0].losses): np.mean([one.hits for one in seeds], axis=(0, 1))}

    # ── beams ───────────────────────────────────────────────────────────────────────────────────
    def recalls(self, arm: str, kind: str, ks: Sequence[int]) -> dict[int, Estimate]:
        """Return recall at several lengths: of an arm's beams, or of the count table's one list."""
        return {
            k: self.beams.estimate(self.beams.mean(self.beam(arm, kind, "recall", k))) for k in ks
        }

    def beam_gain(
        self, arm: tuple[str, str], over: tuple[str, str], name: str, k: int | None = None
    ) -> Estimate:
        """Return a difference in what beams hold; each side is an arm and a kind of search."""
        first = self.beams.mean(self.beam(*arm, name, k))
        return self.beams.estimate(first - self.beams.mean(self.beam(*over, name, k)))

    def target_rate(self, arm: str, k: int) -> Estimate:
        """Return the hit rate at k among the many users of the published figures.

        Parameters
        ----------
        arm : str
            An arm, ``"flat + counts"``, or ``"count table"`` for its one list.
        k : int
        """
        drawn, (found,) = self._many(k, arm)
        return drawn.estimate(found)

    def target_gain(self, arm: str, over: str, k: int, *, relative: bool = False) -> Estimate:
        """Return a difference of such hit rates, or by how much the first is larger."""
        drawn, (ours, theirs) = self._many(k, arm, over)
        gain = ours / np.maximum(theirs, 1e-9) - 1 if relative else ours - theirs
        return drawn.estimate(gain)

    def _many(self, k: int, *arms: str) -> tuple[Resample, list[Floats]]:
        seeds = len(self.results["flat"])
        n = len(self.results["flat"][0].target[k])
        drawn = Resample(seeds, n)

        def found(arm: str) -> Floats:
            if arm == "count table":
                return drawn.mean(self.counts.recall[k][:n])
            name, _, plus = arm.partition(" + ")
            field = "target_mixed" if plus else "target"
            return drawn.mean(np.stack([getattr(one, field)[k] for one in self.results[name]]))

        return drawn, [found(arm) for arm in arms]

    def growth(self, arm: str, over: str, kind: str, ks: tuple[int, int]) -> Estimate:
        """Return the relative gain in recall at the second length minus that at the first."""
        gains = []
        for k in ks:
            ours = self.beams.mean(self.beam(arm, kind, "recall", k))
            theirs = self.beams.mean(self.beam(over, kind, "recall", k))
            gains.append(ours / np.maximum(theirs, 1e-9) - 1)
        return self.beams.estimate(gains[1] - gains[0])

    # ── groups of users ─────────────────────────────────────────────────────────────────────────
    def reachable(self, arm: str, level: int) -> Bools:
        """Return whose target has all codes before a level in the arm's top ten, a row a seed."""
        return np.stack([one.top10[:, : level - 1].all(axis=1) for one in self.results[arm]])

    def tertiles(self, level: int) -> Ints:
        """Return 0, 1, 2 for rare, medium and popular prefixes before the code of a level."""
        data = load("beauty_rqkmeans")
        train = data.codes[np.concatenate(data.split().train)]
        return popularity_tertiles(self.targets, train, level - 1)

    def group_gain(
        self, level: int, where: Bools, against: Bools | None = None, *, relative: bool = False
    ) -> Estimate:
        """Return PrefixMem's gain at a level in one group, or that minus the gain in another."""

        def gain(group: Bools) -> Floats:
            ours, flat = (
                self.users.mean(self.field(arm, "hits", level), where=group)
                for arm in ("PrefixMem", "flat")
            )
            return ours / np.maximum(flat, 1e-9) - 1 if relative else ours - flat

        first = gain(where)
        return self.users.estimate(first if against is None else first - gain(against))

    # ── beyond counts ───────────────────────────────────────────────────────────────────────────
    def _nats(self, arm: str, levels: Sequence[int], name: str) -> Floats:
        return np.asarray(
            np.sum([self.users.mean(self.field(arm, name, n)) for n in levels], axis=0)
        )

    def added(self, arm: str, levels: Sequence[int], name: str = "nll") -> Floats:
        """Return the log-likelihood that an arm adds to flat, nats an item: sample and draws."""
        return self._nats("flat", levels, name) - self._nats(arm, levels, name)

    def residual(
        self, levels: Sequence[int], arm: str = "PrefixMem", name: str = "mixed_nll"
    ) -> Estimate:
        """Return what an arm adds to flat plus counts over what it adds to flat (theory page)."""
        return self.users.estimate(self.added(arm, levels, name) / self.added(arm, levels))

    def oracle(self, levels: Sequence[int], name: str = "mixed_nll") -> Estimate:
        """Return the residual of an encoder that leaves no loss, and knows the counts' part too.

        No bound: one that knows only what the counts do not has a residual of 1.
        """
        return self.users.estimate(
            self._nats("flat", levels, name) / self._nats("flat", levels, "nll")
        )


def report(
    id: str,
    found: Estimate | Sequence[Estimate],
    *,
    control: Estimate | Sequence[Estimate] | float | None = None,
) -> None:
    """Hand an estimate, or several, to the ledger with the estimate of the control."""

    def parts(one: Any) -> tuple[Any, Any]:
        if one is None or isinstance(one, float):
            return one, None
        if isinstance(one, Estimate):
            return one.value, (one.low, one.high)
        return [e.value for e in one], [(e.low, e.high) for e in one]

    value, interval = parts(found)
    broken, spread = parts(control)
    ledger.report(id, value, interval, broken, control_interval=spread, digits=3)
