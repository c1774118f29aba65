"""The experiment of the chapter: which arms are run, and how their results become numbers.

Sizes follow the profile of the run. Main arms have three seeds; ablations have one, run on a
smaller backbone, and say so wherever they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.core import ledger, sweeps
from lib.core.profile import pick
from lib.semantic_ids.datasets import load, sample
from lib.semantic_ids.evaluation import popularity_tertiles
from lib.semantic_ids.intervals import Estimate, Resample
from lib.semantic_ids.prefixmem import PrefixMemConfig
from lib.semantic_ids.study.arms import (
    SHAPE,
    SMALL,
    Arm,
    ArmResult,
    CountResult,
    SasRecArm,
    count_result,
    recipe,
    run_any,
)
from lib.semantic_ids.training import TrainConfig

__all__ = [
    "ABLATIONS",
    "Study",
    "ablation_arms",
    "flat_target",
    "main_arms",
    "report",
    "run_ablations",
    "run_everything",
    "run_targets",
    "sasrec_target",
    "share_of_rest",
    "table",
]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEEDS = (0, 1, 2)
"""Of the main arms; fixed before the first run."""


def sasrec_target(*, shuffled: bool = False) -> SasRecArm:
    """Return SASRec for the sanity target, or its control."""
    steps = pick(smoke=20, book=1500, full=6000)
    if shuffled:
        steps = max(1, steps // 6)  # nothing is learnt, however long
    train = TrainConfig(steps=steps, items_per_batch=1024, lr=2e-3, warmup=50, clip=math.inf)
    return SasRecArm(train, n_test=pick(smoke=500, book=22_363, full=22_363), shuffled=shuffled)


def flat_target(*, trained: bool = True) -> Arm:
    """Return the flat generative model for the sanity target, or its control, untrained."""
    steps = pick(smoke=20, book=1400, full=20_000)
    arm = Arm(
        shape=replace(SHAPE, d_model=pick(smoke=32, book=128, full=384)),
        train=recipe(steps, pick(smoke=256, book=1024, full=4096)),
        n_test=pick(smoke=200, book=4000, full=22_363),
        n_beam=pick(smoke=100, book=4000, full=22_363),
        width=50,
        free=False,
        curve=_quarters(steps),
    )
    if trained:
        return arm
    # One step at a vanishing rate: as good as none.
    return replace(arm, train=replace(arm.train, steps=1, lr=1e-9), curve=())


def _recipe() -> TrainConfig:
    """Return the training of main arms and ablations, the same for both."""
    return recipe(pick(smoke=20, book=100, full=6000), pick(smoke=256, book=1024, full=1024))


def _quarters(steps: int) -> tuple[int, ...]:
    return tuple(steps * quarter // 4 for quarter in (1, 2, 3))


def main_arms() -> dict[str, list[Arm]]:
    """Return the arms with three seeds: flat and PrefixMem, each also mixed with counts."""
    train = _recipe()
    arm = Arm(
        train=train,
        n_test=pick(smoke=300, book=3000, full=22_363),
        n_valid=pick(smoke=200, book=1500, full=8000),
        n_beam=pick(smoke=50, book=600, full=8000),
        curve=_quarters(train.steps),
    )
    seeds = pick(smoke=SEEDS[:2], book=SEEDS, full=(*SEEDS, 3, 4))
    arms = {"flat": arm, "PrefixMem": replace(arm, encoder="prefixmem")}
    return {name: [one.with_seed(seed) for seed in seeds] for name, one in arms.items()}


ABLATIONS: dict[str, dict[str, Any]] = {
    "flat": {},
    "PrefixMem": {"encoder": "prefixmem"},
    "rows at random": {"encoder": "random rows"},
    "64 rows a table": {"encoder": "prefixmem", "memory": {"table_size": 64}},
    "65,536 rows a table": {"encoder": "prefixmem", "memory": {"table_size": 65_536}},
    "levels 2 to 4 active": {"encoder": "prefixmem", "memory": {"active_levels": (2, 3, 4)}},
    "suffix hashes": {"encoder": "prefixmem", "memory": {"kind": "suffix"}},
    "full prefix only": {"encoder": "prefixmem", "memory": {"kind": "full"}},
    "perfect hash": {"encoder": "perfect hash"},
    # Five times the rate of the embeddings does it harm, on validation users.
    "SID-Transformer": {"encoder": "sid-transformer", "train": {"memory_factor": 1.0}},
    "classifier first": {"encoder": "prefixmem", "start": "classifier"},
    "shuffled classifier first": {"encoder": "prefixmem", "start": "shuffled classifier"},
    "generative model first": {"encoder": "prefixmem", "start": "generative"},
    "leak (control)": {"encoder": "leaky"},
}
"""What each ablation changes: fields of `Arm`, in `memory` and `train` those of its configs."""


def ablation_arms() -> dict[str, Arm]:
    """Return the ablations: one seed each, on the smaller backbone."""
    arm = Arm(
        shape=replace(SMALL, d_model=pick(smoke=32, book=64, full=96)),
        train=_recipe(),
        n_test=pick(smoke=300, book=3000, full=22_363),
    )
    arms = {}
    for name, change in ABLATIONS.items():
        fields = dict(change)
        memory = PrefixMemConfig(**fields.pop("memory", {}))
        mixed = name in ("flat", "PrefixMem", "leak (control)")
        n_valid = pick(smoke=200, book=1500, full=8000) if mixed else 0
        train = replace(arm.train, **fields.pop("train", {}))
        arms[name] = replace(arm, memory=memory, train=train, n_valid=n_valid, **fields)
    return arms


def _run(arms: Sequence[Arm | SasRecArm]) -> list[Any]:
    """Run arms, or take them from where `run_everything` put them."""
    return sweeps.run(run_any, arms, name="ch02")


def _targets() -> list[Arm | SasRecArm]:
    """Return the longest first, so that the other core has all the rest to do meanwhile."""
    return [
        flat_target(),
        sasrec_target(),
        sasrec_target(shuffled=True),
        flat_target(trained=False),
    ]


def run_everything() -> None:
    """Run all arms in one sweep: none of the cores waits for a single long run."""
    main = [one for row in main_arms().values() for one in row]
    _run([*_targets(), *main, *ablation_arms().values()])


def run_targets() -> tuple[Ints, Ints, ArmResult, ArmResult]:
    """Run the sanity targets.

    Returns
    -------
    (ranks of SASRec, ranks of its control, result of the flat model, result of its control)
    """
    flat, ranks, shuffled, untrained = _run(_targets())
    return ranks, shuffled, flat, untrained


def run_ablations() -> dict[str, ArmResult]:
    """Run the ablations."""
    arms = ablation_arms()
    return dict(zip(arms, _run(list(arms.values())), strict=True))


class Study:
    """Results of the main arms, and what is asked of them.

    Parameters
    ----------
    results : dict of str to list of ArmResult
        One a seed.
    counts : CountResult
        On the same users.
    draws : int
        Of the intervals.

    Attributes
    ----------
    targets : int64 (n_test, n_levels)
        Codes of the test items.
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
        self.beams = Resample(
            len(some), 1 if some[0].trie is None else len(some[0].trie.valid), draws=draws
        )

    @classmethod
    def run(cls) -> Study:
        """Run the main arms, all seeds, and the count table."""
        arms = main_arms()
        flat_list = [one for row in arms.values() for one in row]
        found = iter(_run(flat_list))
        results = {name: [next(found) for _ in row] for name, row in arms.items()}
        data = load(flat_list[0].data)
        n_test = flat_list[0].n_test
        targets = data.codes[sample(data.split().test, n_test).targets]
        draws = pick(smoke=100, book=1000, full=4000)
        return cls(results, count_result(data, n_test), targets, draws=draws)

    # ── arrays ──────────────────────────────────────────────────────────────────────────────────
    def field(self, arm: str, name: str, level: int) -> Floats:
        """Return one measurement at a level (from 1), ``(n_seeds, n_users)``."""
        if arm == "count table":
            return np.asarray(getattr(self.counts, name)[:, level - 1], np.float64)
        found = [np.asarray(getattr(one, name), np.float64) for one in self.results[arm]]
        return np.stack(found)[..., level - 1]

    def beam(self, arm: str, kind: str, name: str, k: int | None = None) -> Floats:
        """Return one measurement of a beam search, ``(n_seeds, n_users)``."""
        rows = []
        for one in self.results[arm]:
            found = getattr(getattr(one, kind), name)
            rows.append(np.asarray(found if k is None else found[k], np.float64))
        return np.stack(rows)

    # ── estimates ───────────────────────────────────────────────────────────────────────────────
    def accuracy(self, arm: str, level: int, name: str = "hits") -> Estimate:
        """Return teacher-forced accuracy at a level."""
        return self.users.estimate(self.users.mean(self.field(arm, name, level)))

    def gain(self, arm: str, over: str, level: int, name: str = "hits", base: str = "") -> Estimate:
        """Return a difference of two arms at a level, paired by user and seed.

        Parameters
        ----------
        arm, over : str
            ``"count table"`` or a main arm.
        level : int
        name, base : str
            Field of the first and of the second (by default the same).
        """
        first = self.users.mean(self.field(arm, name, level))
        return self.users.estimate(first - self.users.mean(self.field(over, base or "hits", level)))

    def by_seed(self, arm: str, over: str, level: int) -> Floats:
        """Return a difference of two arms at a level for each seed."""
        first, second = (self.field(one, "hits", level).mean(axis=1) for one in (arm, over))
        return np.asarray(first - second)

    def early(self, arm: str, over: str, level: int, quarter: int, final: bool = False) -> Estimate:
        """Return the difference after so many quarters; `final` takes the other arm at its end."""

        def at(name: str) -> Floats:
            steps = sorted(self.results[name][0].curve)
            return np.stack(
                [one.curve[steps[quarter - 1]][:, level - 1] for one in self.results[name]]
            ).astype(np.float64)

        other = self.field(over, "hits", level) if final else at(over)
        return self.users.estimate(self.users.mean(at(arm)) - self.users.mean(other))

    def beam_gain(
        self, arm: str, over: str, kind: str, name: str, k: int | None = None
    ) -> Estimate:
        """Return a difference of two arms in what their beams hold."""
        first = self.beams.mean(self.beam(arm, kind, name, k))
        return self.beams.estimate(first - self.beams.mean(self.beam(over, kind, name, k)))

    def growth(self, arm: str, over: str, kind: str, ks: tuple[int, int]) -> Estimate:
        """Return the relative gain in recall at the second length minus that at the first."""
        gains = []
        for k in ks:
            ours = self.beams.mean(self.beam(arm, kind, "recall", k))
            theirs = self.beams.mean(self.beam(over, kind, "recall", k))
            gains.append(ours / np.maximum(theirs, 1e-9) - 1)
        return self.beams.estimate(gains[1] - gains[0])

    def recalls(self, arm: str, kind: str, ks: Sequence[int]) -> dict[int, Estimate]:
        """Return recall at several lengths: of an arm's beams, or of the count table's one list."""
        found = {}
        for k in ks:
            if arm == "count table":
                n = self.beam(next(iter(self.results)), kind, "valid").shape[1]
                hit = np.asarray(self.counts.recall[k][:n], np.float64)
            else:
                hit = self.beam(arm, kind, "recall", k)
            found[k] = self.beams.estimate(self.beams.mean(hit))
        return found

    def over_table(self, arm: str, k: int) -> Estimate:
        """Return recall at k of an arm with the trie, minus that of the count table's one list."""
        first = self.beams.mean(self.beam(arm, "trie", "recall", k))
        table = self.counts.recall[k][: self.beam(arm, "trie", "valid").shape[1]]
        return self.beams.estimate(first - self.beams.mean(table))

    def reachable(self, arm: str) -> Bools:
        """Return whose target has every code but the last in the arm's top ten, a row a seed."""
        return np.stack([one.top10[:, :-1].all(axis=1) for one in self.results[arm]])

    def tertiles(self) -> Ints:
        """Return 0, 1, 2 for rare, medium and popular prefixes before the deepest code."""
        data = load("beauty_rqkmeans")
        train = data.codes[np.concatenate(data.split().train)]
        return popularity_tertiles(self.targets, train, self.targets.shape[1] - 1)

    def group(self, arm: str, where: Bools) -> Estimate:
        """Return accuracy at the deepest level in a group of users."""
        level = self.levels[-1]
        return self.users.estimate(self.users.mean(self.field(arm, "hits", level), where=where))

    def group_gain(self, where: Bools, against: Bools, *, relative: bool = False) -> Estimate:
        """Return PrefixMem's gain at the deepest level in one group minus that in another."""
        level = self.levels[-1]
        gains = []
        for group in (where, against):
            ours, flat = (
                self.users.mean(self.field(arm, "hits", level), where=group)
                for arm in ("PrefixMem", "flat")
            )
            gains.append(ours / np.maximum(flat, 1e-9) - 1 if relative else ours - flat)
        return self.users.estimate(gains[0] - gains[1])

    def residual(self, levels: Sequence[int]) -> Estimate:
        """Return the log-likelihood PrefixMem adds to flat given counts, over that without."""
        added = []
        for name in ("mixed_nll", "nll"):
            flat, ours = (
                np.sum([self.users.mean(self.field(arm, name, n)) for n in levels], axis=0)
                for arm in ("flat", "PrefixMem")
            )
            added.append(flat - ours)
        return self.users.estimate(added[0] / added[1])

    def accuracies(self) -> dict[str, list[Estimate]]:
        """Return accuracy by level: the count table, the arms, the arms with counts."""
        rows = {"count table": [self.accuracy("count table", n) for n in self.levels]}
        for suffix, name in (("", "hits"), (" + counts", "mixed_hits")):
            for arm in self.results:
                rows[arm + suffix] = [self.accuracy(arm, n, name) for n in self.levels]
        return rows


def share_of_rest(flat: ArmResult, other: ArmResult, level: int, *, mixed: bool) -> float:
    """Return which share of the flat model's loss at a level another arm removes."""
    name = "mixed_nll" if mixed else "nll"
    before, after = (float(getattr(one, name)[:, level - 1].mean()) for one in (flat, other))
    return 1 - after / before


def table(rows: Mapping[str, Sequence[Estimate]], columns: Sequence[str]) -> pd.DataFrame:
    """Return estimates as text in per cent."""
    return pd.DataFrame(
        {name: [one.percent() for one in row] for name, row in rows.items()}, index=list(columns)
    ).T


def report(
    id: str, found: Estimate | Sequence[Estimate], *, control: bool | str | None = None
) -> None:
    """Hand an estimate, or one a level, to the ledger: three digits, at most four decimals.

    Decimals are bounded too, for three digits of what is nearly zero differ between processors.
    """
    rows = [found] if isinstance(found, Estimate) else list(found)
    values = [round(one.value, 4) for one in rows]
    intervals = [(round(one.low, 4), round(one.high, 4)) for one in rows]
    if isinstance(found, Estimate):
        ledger.report(id, values[0], intervals[0], control, digits=3)
    else:
        ledger.report(id, values, intervals, control, digits=3)
