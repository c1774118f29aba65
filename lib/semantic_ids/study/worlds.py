"""Where the encoder pays: sweeps over simulated worlds (`lib.semantic_ids.study.synthetic`).

The load of a world is its distinct prefixes over the rows of a flat table (levels times codes): how
many contexts a flat row has to stand for. Everything here is simulated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lib.core import sweeps
from lib.core.profile import pick
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import sample
from lib.semantic_ids.intervals import Estimate, Resample
from lib.semantic_ids.prefixmem import PrefixMemConfig
from lib.semantic_ids.study.arms import Arm, recipe, run_arm
from lib.semantic_ids.study.synthetic import World, simulate
from lib.semantic_ids.transformer import TransformerConfig

__all__ = ["WORLDS", "Trial", "load_of", "rank_correlation", "run_worlds"]

Floats = npt.NDArray[np.float64]

SWEEP = World(n_levels=3, n_codes=64, n_last=8)

WORLDS: dict[str, World] = {
    **{f"{n} prefixes": replace(SWEEP, n_prefixes=n) for n in (64, 256, 1024, 2048)},
    "prefix says nothing (control)": replace(SWEEP, n_prefixes=1024, shared=True),
    "codes follow the user (control)": replace(SWEEP, n_prefixes=1024, taste=1.0),
    "four levels": replace(SWEEP, n_levels=4, n_prefixes=512),
    "two levels": replace(SWEEP, n_levels=2, n_prefixes=64, n_last=64),
}
"""The sweep, its two controls, and a pair with 4,096 items each."""


_SWEPT = frozenset(name for name in WORLDS if name.endswith(" prefixes"))


def load_of(world: World) -> float:
    """Return distinct prefixes over rows of the flat table.

    Examples
    --------
    >>> load_of(World(n_prefixes=384, n_levels=3, n_codes=64))
    2.0
    """
    return world.n_prefixes / (world.n_levels * world.n_codes)


@dataclass(frozen=True)
class Trial:
    """Deepest-level hits of all predictors in one world, ``(n_seeds, n_test)`` each.

    PrefixMem with few rows is run in the worlds of the sweep only.
    """

    flat: Floats
    memory: Floats
    few_rows: Floats | None
    table: Floats

    def gain(self, *, over: str = "flat", of: str = "memory", draws: int = 500) -> Estimate:
        """Return the difference of two predictors in accuracy, with its interval."""
        first, second = getattr(self, of), getattr(self, over)
        draw = Resample(*first.shape, draws=draws)
        return draw.estimate(draw.mean(first) - draw.mean(second))

    def accuracy(self, name: str, *, draws: int = 500) -> Estimate:
        """Return the accuracy of one predictor."""
        found = getattr(self, name)
        draw = Resample(*found.shape, draws=draws)
        return draw.estimate(draw.mean(found))


def _arm(world: World) -> Arm:
    shape = TransformerConfig(
        n_levels=world.n_levels,
        n_codes=world.n_codes,
        max_items=world.length - 1,
        d_model=32,
        n_layers=1,
    )
    deep = tuple(range(2, world.n_levels + 1))
    return Arm(
        shape=shape,
        memory=PrefixMemConfig(
            n_levels=world.n_levels,
            n_codes=world.n_codes,
            max_order=world.n_levels,
            active_levels=deep,
            d_mem=32,
            # A row for each prefix, and for the control one for sixteen.
            table_size=max(2, world.n_prefixes),
        ),
        train=recipe(pick(smoke=20, book=150, full=3000), items_per_batch=256),
        n_test=pick(smoke=200, book=1000, full=2000),
        world=world,
    )


def run_worlds() -> dict[str, Trial]:
    """Run flat, PrefixMem and PrefixMem with few rows in all worlds, and count in each."""
    seeds = pick(smoke=(0,), book=(0, 1), full=tuple(range(10)))
    arms: list[Arm] = []
    for name, world in WORLDS.items():
        flat = _arm(world)
        memory = replace(flat, encoder="prefixmem")
        few = replace(
            memory,
            memory=replace(memory.memory, table_size=max(2, world.n_prefixes // 16)),
        )
        kinds = (flat, memory, few) if name in _SWEPT else (flat, memory)
        arms += [arm.with_seed(seed) for arm in kinds for seed in seeds]
    found = iter(sweeps.run(run_arm, arms, name="ch02-worlds"))
    trials = {}
    for name, world in WORLDS.items():
        deepest = [
            np.stack([next(found).hits[:, -1].astype(np.float64) for _ in seeds])
            for _ in range(3 if name in _SWEPT else 2)
        ]
        n_test = deepest[0].shape[1]
        table = np.stack([_table(world, seed, n_test) for seed in seeds])
        few_hits = deepest[2] if name in _SWEPT else None
        trials[name] = Trial(deepest[0], deepest[1], few_hits, table)
    return trials


def _table(world: World, seed: int, n_test: int) -> Floats:
    data = simulate(world, seed=seed)
    split = data.split()
    targets = data.codes[sample(split.test, n_test).targets]
    counts = NGramCounts.fit(data.codes, data.n_codes, split.train)
    return counts.hits(targets)[:, -1].astype(np.float64)


def rank_correlation(x: Sequence[float], trials: Sequence[Trial], *, draws: int = 500) -> Estimate:
    """Return Spearman's correlation of `x` with the gains of PrefixMem over flat.

    The interval is over users and seeds, drawn independently in each world.
    """
    gains = []
    for number, trial in enumerate(trials):
        draw = Resample(*trial.flat.shape, draws=draws, seed=number)
        gains.append(draw.mean(trial.memory) - draw.mean(trial.flat))
    ranks = np.argsort(np.argsort(np.array(gains), axis=0), axis=0)
    order = np.argsort(np.argsort(x))
    centred = ranks - ranks.mean(axis=0)
    own = order - order.mean()
    rho = own @ centred / np.sqrt((own**2).sum() * (centred**2).sum(axis=0))
    return Resample.estimate(rho)
