"""The arms of the experiment: one training run each, and everything that is measured of it.

Arms of one comparison differ in what is added to the token embeddings, and in nothing else: same
batches in the same order, same initialisation of what they share, same learning rates, chosen for
the arm without memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lib.semantic_ids.beam import CountSteps, MixedSteps, Steps, beam_search, generate
from lib.semantic_ids.catalogue import SidCatalog
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import Examples, SidData, load, sample
from lib.semantic_ids.evaluation import (
    Mixture,
    count_log_probs,
    distinct_first,
    fit_mixture,
    hits,
    nll,
    recall,
    shuffle_histories,
    teacher_forced,
    top,
    valid_share,
    with_trie,
)
from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig
from lib.semantic_ids.study.controls import LeakyEncoder, RandomRows
from lib.semantic_ids.training import TrainConfig, train, windows
from lib.semantic_ids.transformer import GenerativeTransformer, TransformerConfig

__all__ = [
    "KS",
    "SHAPE",
    "Arm",
    "ArmResult",
    "Beam",
    "CountResult",
    "count_result",
    "recipe",
    "run_arm",
]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Wrap: TypeAlias = Callable[[Steps], Steps]

KS: tuple[int, ...] = (5, 10, 20, 50, 100)
"""List lengths of recall."""

SHUFFLE_SEED = 606
"""Exchanges histories between users."""

SHAPE = TransformerConfig(max_items=21, d_model=128, n_layers=1, n_heads=4)
"""The backbone: one layer of width 128, which on validation users finds as much as two of width 96
in less time; histories of twenty items."""


def recipe(steps: int, items_per_batch: int = 512) -> TrainConfig:
    """Return how every generative model of the chapter is trained.

    Chosen for the flat model on validation users. The memory's factor of five is the paper's, and
    was the best of four on validation users.
    """
    return TrainConfig(
        steps=steps,
        items_per_batch=items_per_batch,
        lr=0.05,
        matrix_lr=0.04,
        warmup=min(50, max(1, steps // 4)),
        weight_decay=0.1,
        average=0.2,
    )


@dataclass(frozen=True)
class Arm:
    """One training run and what is measured of it.

    Attributes
    ----------
    encoder : str
        What is added to the embeddings.
    memory : PrefixMemConfig
        Its width follows that of `shape`.
    shape : TransformerConfig
    train : TrainConfig
        Its seed is also that of the weights.
    n_test, n_valid : int
        Users for teacher-forced accuracy; validation users for the mix with counts, 0 for no mix.
    n_beam, width : int
        Users and width of the beam searches; 0 for none.
    n_target : int
        Users for the hit rate at 5, 10 and 20 of 50 beams, which is compared with published
        figures; 0 for none.
    curve : tuple of int
        Steps after which hits are taken.
    data : str
    """

    encoder: Literal["none", "prefixmem", "leaky", "random rows"] = "none"
    memory: PrefixMemConfig = field(default_factory=PrefixMemConfig)
    shape: TransformerConfig = SHAPE
    train: TrainConfig = field(default_factory=lambda: recipe(200))
    n_test: int = 3000
    n_valid: int = 0
    n_beam: int = 0
    width: int = 100
    n_target: int = 0
    curve: tuple[int, ...] = ()
    data: str = "beauty_rqkmeans"

    def with_seed(self, seed: int) -> Arm:
        """Return the same arm with another seed."""
        return replace(self, train=replace(self.train, seed=seed))


@dataclass(frozen=True)
class Beam:
    """What a beam search found.

    Attributes
    ----------
    recall : dict of int to bool (n,)
        Whether the target's whole ID is among the first k.
    valid : float (n,)
        Share of the beam that is the ID of an item.
    clusters : int64 (n,)
        Different first codes in the beam.
    """

    recall: dict[int, Bools]
    valid: Floats
    clusters: Ints


@dataclass(frozen=True)
class ArmResult:
    """What was measured; all arrays have one row a test user, in the order of `datasets.sample`.

    Attributes
    ----------
    hits, nll, top10 : (n_test, n_levels)
        Teacher-forced: right code, minus log-probability in nats, right code in the top ten.
    curve : dict of int to bool (n_test, n_levels)
        Hits after so many steps.
    losses : float (steps,)
        Training loss.
    trie_hits, trie_nll : (n_test, n_levels)
        Among the codes that some item has after the true prefix.
    weights, shares : tuple of float
        Of the counts and of the model in the mix, a level.
    mixed_hits, mixed_nll : (n_test, n_levels), optional
        With the count table's log-probabilities added.
    rigid_nll : (n_test, n_levels), optional
        The same with the model's share left at 1.
    swapped_hits, swapped_mixed : (n_test, n_levels), optional
        Right code with histories exchanged between users, of the flat arm: alone, and with counts.
    beams : dict of str to Beam
        ``trie``, ``free`` (no trie) and ``mixed`` (trie, counts added in the beam).
    target, target_mixed : dict of int to bool (n_target,)
        Hits at 5, 10 and 20, with the trie; of the flat arm also with counts in the beam.
    """

    hits: Bools
    nll: Floats
    top10: Bools
    curve: dict[int, Bools]
    losses: Floats
    trie_hits: Bools | None = None
    trie_nll: Floats | None = None
    weights: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    rigid_nll: Floats | None = None
    mixed_hits: Bools | None = None
    mixed_nll: Floats | None = None
    swapped_hits: Bools | None = None
    swapped_mixed: Bools | None = None
    beams: dict[str, Beam] = field(default_factory=dict)
    target: dict[int, Bools] = field(default_factory=dict)
    target_mixed: dict[int, Bools] = field(default_factory=dict)


def _encoder(arm: Arm, data: SidData) -> nn.Module | None:
    width = arm.shape.d_model
    if arm.encoder == "none":
        return None
    if arm.encoder == "leaky":
        return LeakyEncoder(data.n_levels, data.n_codes, width)
    config = replace(
        arm.memory,
        n_levels=data.n_levels,
        n_codes=data.n_codes,
        d_model=width,
        max_order=min(arm.memory.max_order, data.n_levels),
    )
    encoder = PrefixMem(config)
    if arm.encoder == "random rows":
        encoder.hash = RandomRows(encoder.hash, seed=arm.train.seed)
    return encoder


def run_arm(arm: Arm) -> ArmResult:
    """Train one arm and measure it."""
    torch.set_num_threads(1)
    data = load(arm.data)
    split = data.split()
    torch.manual_seed(arm.train.seed)
    model = GenerativeTransformer(arm.shape)
    model.encoder = _encoder(arm, data)
    pieces = windows(split.train, arm.shape.max_items - 1)
    test = sample(split.test, arm.n_test)
    targets = data.codes[test.targets]
    log = train(
        model,
        pieces,
        data.codes,
        arm.train,
        evaluate=lambda model: hits(teacher_forced(model, test, data.codes), targets),
        at=arm.curve,
    )
    plain = teacher_forced(model, test, data.codes)
    known_codes = with_trie(plain, targets, data.catalog())
    result = ArmResult(
        hits=hits(plain, targets),
        nll=nll(plain, targets),
        top10=top(plain, targets, 10),
        curve={step: np.asarray(found, bool) for step, found in log.evaluations.items()},
        losses=np.asarray(log.losses),
        trie_hits=hits(known_codes, targets),
        trie_nll=nll(known_codes, targets),
    )
    table = NGramCounts.fit(data.codes, data.n_codes, split.train)
    mixture = None
    if arm.n_valid:
        # The weights of the mix come from validation users.
        valid = sample(split.valid, arm.n_valid)
        seen = data.codes[valid.targets]
        guesses = teacher_forced(model, valid, data.codes)
        known = count_log_probs(table, seen)
        mixture = fit_mixture(guesses, known, seen)
        rigid = fit_mixture(guesses, known, seen, rigid=True)
        counted = count_log_probs(table, targets)
        mixed = mixture(plain, counted)
        result = replace(
            result,
            weights=mixture.weights,
            shares=mixture.shares,
            rigid_nll=nll(rigid(plain, counted), targets),
            mixed_hits=hits(mixed, targets),
            mixed_nll=nll(mixed, targets),
        )
        if arm.encoder == "none":
            strangers = shuffle_histories(test, SHUFFLE_SEED)
            swapped = teacher_forced(model, strangers, data.codes)
            result = replace(
                result,
                swapped_hits=hits(swapped, targets),
                swapped_mixed=hits(mixture(swapped, counted), targets),
            )
    if arm.n_beam:
        beams = _beams(arm, model, data, test, table, mixture)
        result = replace(result, beams=beams)
    if arm.n_target:
        many = sample(split.test, arm.n_target)

        def rates(steps: Wrap | None) -> dict[int, Bools]:
            found = generate(model, many, data.codes, 50, catalog=data.catalog(), steps=steps)
            return recall(found, data.codes[many.targets], (5, 10, 20))

        result = replace(result, target=rates(None))
        if mixture is not None and arm.encoder == "none":
            result = replace(result, target_mixed=rates(_plus(table, mixture)))
    return result


def _plus(table: NGramCounts, mix: Mixture | None) -> Wrap | None:
    """Return what adds counts to every step of a search."""
    if mix is None:
        return None
    return lambda one: MixedSteps(one, table, mix.weights, mix.shares)


def _beams(
    arm: Arm,
    model: GenerativeTransformer,
    data: SidData,
    test: Examples,
    table: NGramCounts,
    mixture: Mixture | None,
) -> dict[str, Beam]:
    catalog = data.catalog()
    few = test.take(np.arange(min(arm.n_beam, len(test))))
    targets = data.codes[few.targets]
    ks = [k for k in KS if k <= arm.width]

    def search(allowed: SidCatalog | None, mix: Mixture | None = None) -> Beam:
        found = generate(
            model,
            few,
            data.codes,
            arm.width,
            catalog=allowed,
            steps=_plus(table, mix),
        )
        return Beam(
            recall=recall(found, targets, ks),
            valid=valid_share(found, catalog),
            clusters=distinct_first(found),
        )

    found = {"trie": search(catalog), "free": search(None)}
    return found if mixture is None else {**found, "mixed": search(catalog, mixture)}


@dataclass(frozen=True)
class CountResult:
    """The count table, measured as the arms are.

    Attributes
    ----------
    hits, nll : (n_test, n_levels)
    marginal_hits : (n_test, n_levels)
        Of a table that ignores the prefix too: the most frequent code of each level.
    recall : dict of int to bool (n_test,)
        Of its own beam search with the trie: one list for everybody.
    """

    hits: Bools
    nll: Floats
    marginal_hits: Bools
    recall: dict[int, Bools]


def count_result(data: SidData, n_test: int, width: int = 100) -> CountResult:
    """Measure the static count table on the test users of the arms."""
    split = data.split()
    table = NGramCounts.fit(data.codes, data.n_codes, split.train)
    targets = data.codes[sample(split.test, n_test).targets]
    found = count_log_probs(table, targets)
    train_codes = data.codes[np.concatenate(split.train)]
    frequent = np.array([np.bincount(one).argmax() for one in train_codes.T])
    beam = beam_search(CountSteps(table), data.n_levels, width, catalog=data.catalog())
    in_list = {
        k: np.asarray((targets[:, None] == beam.codes[:, :k]).all(axis=2).any(axis=1), bool)
        for k in KS
        if k <= width
    }
    return CountResult(
        hits(found, targets), nll(found, targets), np.asarray(targets == frequent, bool), in_list
    )
