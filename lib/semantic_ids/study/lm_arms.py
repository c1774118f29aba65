"""The arms of the language model, and the count table on the same examples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lib.core import sweeps
from lib.core.profile import pick
from lib.llm.weights import checkpoint
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import load, sample
from lib.semantic_ids.lm import LmArm, LmResult, run_lm
from lib.semantic_ids.training import TrainConfig

__all__ = ["lm_arms", "run_lm_arms"]


def lm_arms() -> dict[str, LmArm]:
    """Return the arms: one seed, rates that suit the flat arm.

    In the full profile all thirty layers are used, which wants a GPU.
    """
    flat = LmArm(
        n_layers=pick(smoke=1, book=2, full=30),
        train=TrainConfig(
            steps=pick(smoke=3, book=60, full=5000),
            items_per_batch=pick(smoke=3, book=6, full=48),
            lr=pick(smoke=1e-3, book=3e-3, full=3e-4),
            warmup=5,
        ),
        length=pick(smoke=16, book=48, full=256),
        n_test=pick(smoke=50, book=1000, full=4533),
        n_text=pick(smoke=20, book=200, full=400),
    )
    memory = replace(flat, encoder="prefixmem")
    return {
        "flat": flat,
        "PrefixMem": memory,
        "PrefixMem, rows at random": replace(flat, encoder="random rows"),
        "PrefixMem, small model first": replace(memory, start="small lm"),
        "flat, random initialisation": replace(flat, body="random"),
        "flat, weights permuted": replace(flat, body="permuted"),
    }


def run_lm_arms() -> tuple[dict[str, LmResult], npt.NDArray[np.bool_]]:
    """Run the arms.

    Returns
    -------
    (dict of str to LmResult, bool (n_test, n_levels))
        Results, and hits of the count table on the same examples.
    """
    checkpoint()  # once, before two processes ask for it
    arms = lm_arms()
    results = dict(zip(arms, sweeps.run(run_lm, list(arms.values()), name="ch02-lm"), strict=True))
    some = next(iter(arms.values()))
    data = load(some.data)
    split = data.split()
    targets = data.codes[sample(split.test, some.n_test).targets]
    counts = NGramCounts.fit(data.codes, data.n_codes, split.train)
    return results, counts.hits(targets)
