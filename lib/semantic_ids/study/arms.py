"""Arms of the experiment: what is trained, on which data, and what is measured of it.

`run_arm` is the one function that the notebook's sweep calls, so every arm goes through the same
data, batches, rates and measurements. Rates were chosen for the arm without encoder, on validation
items, and are used for all (`recipe`); ``python -m lib.semantic_ids.study.arms`` tries others.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lib.semantic_ids.beam import CountSteps, beam_search, generate
from lib.semantic_ids.catalogue import SidCatalog
from lib.semantic_ids.counts import NGramCounts, item_counts
from lib.semantic_ids.datasets import SAMPLE_SEED, Examples, SidData, load, sample
from lib.semantic_ids.evaluation import (
    LogProbs,
    count_log_probs,
    distinct_first,
    fit_mixture,
    hits,
    nll,
    recall,
    sasrec_ranks,
    shuffle_histories,
    teacher_forced,
    top,
    valid_share,
)
from lib.semantic_ids.hashing import PerfectHash
from lib.semantic_ids.prefixmem import (
    LeakyEncoder,
    PrefixMem,
    PrefixMemConfig,
    RandomRows,
    transfer,
)
from lib.semantic_ids.pretraining import (
    pretrain_classifier,
    pretrain_generative,
    shuffle_next_codes,
)
from lib.semantic_ids.study.synthetic import World, simulate
from lib.semantic_ids.training import TrainConfig, train, train_sasrec, windows
from lib.semantic_ids.transformer import (
    GenerativeTransformer,
    SasRec,
    SidTransformerEncoder,
    TransformerConfig,
)

__all__ = [
    "KS",
    "SHAPE",
    "SMALL",
    "Arm",
    "ArmResult",
    "Beam",
    "SasRecArm",
    "count_result",
    "encoder_macs",
    "flat_macs",
    "recipe",
    "run_any",
    "run_arm",
    "run_sasrec",
    "updated_parameters",
]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Encoder = Literal["none", "prefixmem", "sid-transformer", "leaky", "random rows", "perfect hash"]
Start = Literal["random", "classifier", "shuffled classifier", "generative"]

KS: tuple[int, ...] = (5, 10, 20, 50, 100)
"""List lengths of recall."""

SHAPE = TransformerConfig(max_items=21)
"""The backbone of the main arms: two layers of width 96, histories of twenty items."""

SMALL = replace(SHAPE, d_model=64, n_layers=1)
"""The smaller backbone, of the ablations and of generative pre-training."""


def recipe(steps: int, items_per_batch: int = 1024) -> TrainConfig:
    """Return how every generative model of the chapter is trained.

    Chosen for the flat model on validation users, in runs of 900 steps and more; in short ones a
    higher `lr` is slightly better. The memory's factor of five is the paper's, and the best of four
    on validation users.
    """
    return TrainConfig(
        steps=steps,
        items_per_batch=items_per_batch,
        lr=0.03,
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
    encoder, start : str
        What is added to the embeddings, and how its tables are filled at the start.
    memory : PrefixMemConfig
        Its width follows that of `shape`.
    shape : TransformerConfig
    train : TrainConfig
        Its seed is also that of the weights.
    n_test, n_valid : int
        Users for teacher-forced accuracy; validation users for the mix with counts, 0 for no mix.
    n_beam, width : int
        Users and width of the beam search; 0 for none.
    free : bool
        Whether to search without the trie as well.
    curve : tuple of int
        Steps after which hits are taken.
    data : str
    world : World, optional
        Simulated data instead, drawn with the arm's seed.
    """

    encoder: Encoder = "none"
    start: Start = "random"
    memory: PrefixMemConfig = field(default_factory=PrefixMemConfig)
    shape: TransformerConfig = SHAPE
    train: TrainConfig = field(default_factory=lambda: recipe(250))
    n_test: int = 4000
    n_valid: int = 0
    n_beam: int = 0
    width: int = 100
    free: bool = True
    curve: tuple[int, ...] = ()
    data: str = "beauty_rqkmeans"
    world: World | None = None

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
    """What was measured; all arrays have one row a test user, in the order of `sample`.

    Attributes
    ----------
    hits, nll, top10 : (n_test, n_levels)
        Teacher-forced: right code, minus log-probability in nats, right code in the top ten.
    curve : dict of int to bool (n_test, n_levels)
        Hits after so many steps.
    mixed_hits, mixed_nll : (n_test, n_levels), optional
        With the count table's logits added.
    swapped_hits, swapped_mixed : (n_test, n_levels), optional
        Right code with histories exchanged between users: the model alone, and with counts.
    trie, free : Beam, optional
    losses : float (steps,)
        Training loss.
    """

    hits: Bools
    nll: Floats
    top10: Bools
    curve: dict[int, Bools]
    losses: Floats
    mixed_hits: Bools | None = None
    mixed_nll: Floats | None = None
    swapped_hits: Bools | None = None
    swapped_mixed: Bools | None = None
    trie: Beam | None = None
    free: Beam | None = None


def run_any(arm: Arm | SasRecArm) -> ArmResult | Floats:
    """Run either kind of arm, so that one sweep may hold both."""
    return run_arm(arm) if isinstance(arm, Arm) else run_sasrec(arm)


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
    if arm.encoder == "sid-transformer":
        return SidTransformerEncoder(data.n_levels, data.n_codes, width, config.active_levels)
    if arm.encoder == "perfect hash":
        # Free decoding meets prefixes that no item has; they share one spare row.
        perfect = PerfectHash(data.catalog(), config.max_order, unknown="absent")
        return PrefixMem(config, perfect)
    encoder = PrefixMem(config)
    if arm.encoder == "random rows":
        encoder.hash = RandomRows(encoder.hash, seed=arm.train.seed)
    return encoder


def _fill(arm: Arm, encoder: PrefixMem, data: SidData, pieces: dict[int, Ints]) -> None:
    """Pre-train the tables as the arm says."""
    if arm.start == "generative":
        config = replace(arm.train, seed=arm.train.seed + 1000)
        transfer(pretrain_generative(encoder, pieces, data.codes, SMALL, config), encoder)
        return
    shuffled = arm.start == "shuffled classifier"
    pretrain_classifier(
        encoder,
        data.codes,
        item_counts(data.split().train, data.n_items),
        targets=shuffle_next_codes(data.codes, arm.train.seed) if shuffled else None,
        seed=arm.train.seed,
    )


def run_arm(arm: Arm) -> ArmResult:
    """Train one arm and measure it."""
    torch.set_num_threads(1)
    data = simulate(arm.world, seed=arm.train.seed) if arm.world else load(arm.data)
    split = data.split()
    pieces = windows(split.train, arm.shape.max_items - 1)
    torch.manual_seed(arm.train.seed)
    model = GenerativeTransformer(arm.shape)
    model.encoder = _encoder(arm, data)
    if arm.start != "random":
        assert isinstance(model.encoder, PrefixMem)
        _fill(arm, model.encoder, data, pieces)
    test = sample(split.test, arm.n_test)
    targets = data.codes[test.targets]

    def so_far(model: GenerativeTransformer) -> Bools:
        return hits(teacher_forced(model, test, data.codes), targets)

    log = train(model, pieces, data.codes, arm.train, evaluate=so_far, at=arm.curve)
    plain = teacher_forced(model, test, data.codes)
    result = ArmResult(
        hits=hits(plain, targets),
        nll=nll(plain, targets),
        top10=top(plain, targets, 10),
        curve={step: np.asarray(found, bool) for step, found in log.evaluations.items()},
        losses=np.asarray(log.losses),
    )
    if arm.n_valid:
        result = _with_counts(result, arm, model, data, plain)
    return _with_beams(result, arm, model, data, test) if arm.n_beam else result


def _with_counts(
    result: ArmResult, arm: Arm, model: GenerativeTransformer, data: SidData, plain: LogProbs
) -> ArmResult:
    """Mix the model with the count table, weights from validation; then exchange histories."""
    split = data.split()
    table = NGramCounts.fit(data.codes, data.n_codes, split.train)
    valid, test = sample(split.valid, arm.n_valid), sample(split.test, arm.n_test)
    seen, targets = data.codes[valid.targets], data.codes[test.targets]
    mix = fit_mixture(teacher_forced(model, valid, data.codes), count_log_probs(table, seen), seen)
    counted = count_log_probs(table, targets)
    mixed = mix(plain, counted)
    swapped = teacher_forced(model, shuffle_histories(test, SAMPLE_SEED), data.codes)
    return replace(
        result,
        mixed_hits=hits(mixed, targets),
        mixed_nll=nll(mixed, targets),
        swapped_hits=hits(swapped, targets),
        swapped_mixed=hits(mix(swapped, counted), targets),
    )


def _with_beams(
    result: ArmResult, arm: Arm, model: GenerativeTransformer, data: SidData, test: Examples
) -> ArmResult:
    catalog = data.catalog()
    few = test.take(np.arange(min(arm.n_beam, len(test))))
    targets = data.codes[few.targets]
    ks = [k for k in KS if k <= arm.width]

    def search(allowed: SidCatalog | None) -> Beam:
        found = generate(model, few, data.codes, arm.width, catalog=allowed)
        return Beam(
            recall=recall(found, targets, ks),
            valid=valid_share(found, catalog),
            clusters=distinct_first(found),
        )

    return replace(result, trie=search(catalog), free=search(None) if arm.free else None)


@dataclass(frozen=True)
class CountResult:
    """The count table, measured as the arms are.

    Attributes
    ----------
    hits, nll : (n_test, n_levels)
    recall : dict of int to bool (n_test,)
        Of its own beam search with the trie: one list for everybody.
    """

    hits: Bools
    nll: Floats
    recall: dict[int, Bools]


def count_result(data: SidData, n_test: int, width: int = 100) -> CountResult:
    """Measure the static count table on the test users of the arms."""
    split = data.split()
    table = NGramCounts.fit(data.codes, data.n_codes, split.train)
    targets = data.codes[sample(split.test, n_test).targets]
    found = count_log_probs(table, targets)
    beam = beam_search(CountSteps(table), data.n_levels, width, catalog=data.catalog())
    ks = [k for k in KS if k <= width]
    in_list = {
        k: np.asarray((targets[:, None] == beam.codes[:, :k]).all(axis=2).any(axis=1), bool)
        for k in ks
    }
    return CountResult(hits(found, targets), nll(found, targets), in_list)


@dataclass(frozen=True)
class SasRecArm:
    """SASRec for the sanity target.

    Attributes
    ----------
    train : TrainConfig
    d_model, n_layers, max_items, n_negatives : int
    dropout : float
    n_test : int
    shuffled : bool
        Control: train items are renamed at random, so nothing learnt fits the test items.
    data : str
    """

    train: TrainConfig
    d_model: int = 64
    n_layers: int = 1
    max_items: int = 20
    n_negatives: int = 2048
    dropout: float = 0.5
    n_test: int = 22_363
    shuffled: bool = False
    data: str = "beauty_rqkmeans"


def run_sasrec(arm: SasRecArm) -> Floats:
    """Train SASRec and return the rank (from 0) of each test target among all items."""
    torch.set_num_threads(1)
    data = load(arm.data)
    split = data.split()
    train_part = split.train
    if arm.shuffled:
        name = np.random.default_rng(arm.train.seed).permutation(data.n_items)
        train_part = tuple(name[one] for one in train_part)
    torch.manual_seed(arm.train.seed)
    model = SasRec(data.n_items, arm.max_items, arm.d_model, arm.n_layers, dropout=arm.dropout)
    pieces = windows(train_part, arm.max_items + 1)
    train_sasrec(model, pieces, arm.train, n_negatives=arm.n_negatives)
    return sasrec_ranks(model, sample(split.test, arm.n_test))


# ── what a step costs ───────────────────────────────────────────────────────────────────────────
def flat_macs(shape: TransformerConfig) -> int:
    """Return multiply-adds of the forward pass of one item (``n_levels`` tokens), flat model.

    Examples
    --------
    >>> flat_macs(TransformerConfig(n_levels=1, n_codes=1, max_items=1, d_model=4, n_layers=1))
    200
    """
    length = shape.max_items * shape.n_levels
    layer = 12 * shape.d_model**2 + length * shape.d_model  # half of two length · d_model products
    return shape.n_levels * (shape.n_layers * layer + shape.d_model * shape.n_codes)


def encoder_macs(config: PrefixMemConfig) -> int:
    """Return multiply-adds that the memory adds to one item: sums over orders and ``W_out``.

    Examples
    --------
    >>> encoder_macs(PrefixMemConfig(d_model=8, d_mem=4, n_heads=2, active_levels=(4,)))
    44
    """
    return sum(
        config.d_mem * (config.d_model + min(level - 1, config.max_order))
        for level in config.active_levels
    )


def updated_parameters(arm: Arm) -> tuple[int, int]:
    """Return how many parameters a step of a dense and of a sparse optimiser touches.

    The sparse one is counted on the arm's first batch.
    """
    from lib.semantic_ids.training import epoch

    data = load(arm.data)
    torch.manual_seed(arm.train.seed)
    encoder = PrefixMem(replace(arm.memory, d_model=arm.shape.d_model))
    model = GenerativeTransformer(arm.shape, encoder)
    pieces = windows(data.split().train, arm.shape.max_items - 1)
    rng = np.random.default_rng(arm.train.seed)
    batch = next(epoch(pieces, arm.train.items_per_batch, rng))
    codes = torch.from_numpy(data.codes[batch])
    rows = [encoder.hash.rows(codes[..., :place]) for place in encoder.positions(data.n_levels)]
    touched = torch.cat([one.flatten() for one in rows]).unique().numel()  # type: ignore[no-untyped-call]
    total = sum(p.numel() for p in model.parameters())
    table: int = encoder.table.weight.numel()
    return total, total - table + touched * encoder.table.weight.shape[1]


def choose_rate(
    rates: tuple[float, ...] = (0.01, 0.03, 0.1), matrix_rates: tuple[float, ...] = (0.02, 0.04)
) -> dict[tuple[float, float], float]:
    """Return the flat model's validation loss for pairs of rates: nats an item."""
    data = load("beauty_rqkmeans")
    split = data.split()
    pieces = windows(split.train, SHAPE.max_items - 1)
    valid = sample(split.valid, 4000)
    found = {}
    for lr, matrix_lr in itertools.product(rates, matrix_rates):
        torch.manual_seed(0)
        model = GenerativeTransformer(SHAPE)
        train(model, pieces, data.codes, replace(recipe(250), lr=lr, matrix_lr=matrix_lr))
        log_probs = teacher_forced(model, valid, data.codes)
        found[lr, matrix_lr] = float(nll(log_probs, data.codes[valid.targets]).sum(axis=1).mean())
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    for pair, loss in choose_rate().items():
        print(pair, round(loss, 2))
