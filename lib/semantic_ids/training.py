"""Training: batches without padding, one loop for every arm, sparse updates for the tables.

All arms of a comparison see the same batches in the same order (the seed of the batches is that of
the arm), for the same number of steps, at the learning rates that suit the arm *without* memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.core import check
from lib.semantic_ids.catalogue import check_sequences
from lib.semantic_ids.optim import Muon, RowAdam
from lib.semantic_ids.transformer import CausalTransformer, GenerativeTransformer

__all__ = [
    "TrainConfig",
    "TrainLog",
    "endless",
    "epoch",
    "fit",
    "next_code_loss",
    "split_parameters",
    "train",
    "windows",
]

Ints = npt.NDArray[np.int64]


def windows(sequences: Sequence[Ints], max_items: int) -> dict[int, Ints]:
    """Cut sequences into pieces of at most `max_items`, from the end, and group them by length.

    A piece of one item has nothing to predict from and is dropped. Rows of one length need no
    padding, so no step is spent on it.

    Parameters
    ----------
    sequences : sequence of int64 arrays
        Item numbers in order of time.
    max_items : int
        At least 2.

    Returns
    -------
    dict of int to int64 array of shape (n_pieces, length)

    Examples
    --------
    >>> windows([np.arange(5), np.arange(2)], 3)
    {2: array([[0, 1],
           [0, 1]]), 3: array([[2, 3, 4]])}
    """
    max_items = check.integer("max_items", max_items, at_least=2)
    grouped: dict[int, list[Ints]] = {}
    for sequence in check_sequences("sequences", sequences):
        for end in range(len(sequence), 1, -max_items):
            piece = sequence[max(0, end - max_items) : end]
            if len(piece) > 1:
                grouped.setdefault(len(piece), []).append(piece)
    if not grouped:
        raise ValueError("sequences hold none of two items (or are empty: []), expected one")
    return {length: np.stack(grouped[length]) for length in sorted(grouped)}


def epoch(
    pieces: dict[int, Ints], items_per_batch: int, rng: np.random.Generator
) -> Iterator[Ints]:
    """Yield every piece once, in batches of one length and of about `items_per_batch` items."""
    batches = []
    for length, rows in pieces.items():
        order = rng.permutation(len(rows))
        size = max(1, items_per_batch // length)
        batches += [rows[order[at : at + size]] for at in range(0, len(rows), size)]
    for index in rng.permutation(len(batches)):
        yield batches[index]


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes
    ----------
    steps : int
    items_per_batch : int
        Items, not tokens; a step reads about this many times ``n_levels`` tokens.
    lr : float
        Peak learning rate of AdamW.
    matrix_lr : float
        Peak learning rate of `Muon`, which then trains the matrices of a `CausalTransformer` in
        AdamW's stead; 0 leaves them to AdamW.
    memory_factor : float
        Learning rate of the encoder over `lr` (5 in section 4 of the paper).
    warmup : int
        Steps of linear rise; then a cosine to a tenth.
    weight_decay, clip : float
        Of what is dense; largest norm of AdamW's gradient (infinite for no limit).
    average : float
        The model ends with the mean of its weights over this last share of the steps, every fifth
        of them; 0 for the last weights. What a model has begun to overfit averages out.
    seed : int
        Of the batches.
    """

    steps: int = 300
    items_per_batch: int = 256
    lr: float = 3e-3
    matrix_lr: float = 0.0
    memory_factor: float = 5.0
    warmup: int = 20
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("items_per_batch", 2), ("warmup", 0), ("seed", 0)):
            check.integer(name, getattr(self, name), at_least=least)
        for name in ("lr", "memory_factor"):
            check.number(name, getattr(self, name), above=0)
        for name in ("matrix_lr", "weight_decay"):
            check.number(name, getattr(self, name), at_least=0)
        check.number("average", self.average, at_least=0, below=1)
        if self.clip != math.inf:
            check.number("clip", self.clip, above=0)

    def scale(self, step: int) -> float:
        """Return the learning rate of a step over its peak.

        Examples
        --------
        >>> [round(TrainConfig(steps=100, warmup=10).scale(s), 2) for s in (0, 9, 99)]
        [0.1, 1.0, 0.1]
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        part = (step - self.warmup + 1) / max(1, self.steps - self.warmup)
        return 0.1 + 0.45 * (1 + math.cos(math.pi * part))


@dataclass
class TrainLog:
    """What happened.

    Attributes
    ----------
    losses : list of float
        Mean of the levels' cross-entropies in nats, a step.
    evaluations : dict of int to object
        What `evaluate` returned after so many steps.
    """

    losses: list[float] = field(default_factory=list)
    evaluations: dict[int, object] = field(default_factory=dict)


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], ...]:
    """Return four lists: of the body, of the encoder, sparse tables, matrices of transformers."""
    sparse = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding) and module.sparse
    }
    matrix = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, CausalTransformer)
        for parameter in module.parameters()
        if parameter.ndim == 2
    }
    body, encoder, tables, matrices = [], [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in sparse:
            tables.append(parameter)
        elif id(parameter) in matrix:
            matrices.append(parameter)
        elif name.startswith("encoder."):
            encoder.append(parameter)
        else:
            body.append(parameter)
    return body, encoder, tables, matrices


def optimisers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return AdamW for what is dense, then what else the model needs.

    That is `Muon` for the matrices of a transformer, if the config asks for it, and a sparse
    optimiser for tables.
    """
    body, encoder, tables, matrices = split_parameters(model)
    fast = config.lr * config.memory_factor
    muon = config.matrix_lr > 0
    groups = [{"params": body if muon else body + matrices, "lr": config.lr}]
    if encoder:
        groups.append({"params": encoder, "lr": fast})
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True)
    ]
    if muon and matrices:
        found.append(Muon(matrices, config.matrix_lr, weight_decay=config.weight_decay))
    if tables:
        found.append(RowAdam(tables, fast))
    for optimiser in found:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return found


def fit(
    model: nn.Module,
    loss_of: Callable[[], Tensor],
    config: TrainConfig,
    *,
    evaluate: Callable[[], object] | None = None,
    at: Sequence[int] = (),
) -> TrainLog:
    """Take the steps of a config: the one training loop of the chapter.

    Parameters
    ----------
    model : nn.Module
        Changed in place; in evaluation mode afterwards.
    loss_of : callable
        Returns the loss of the next batch.
    config : TrainConfig
    evaluate : callable, optional
        Called with the model in evaluation mode after each number of steps in `at`.
    at : sequence of int

    Raises
    ------
    FloatingPointError
        If the loss is no finite number.
    """
    found = optimisers(model, config)
    dense = [p for group in found[0].param_groups for p in group["params"]]
    log = TrainLog()
    weights = [p for p in model.parameters() if p.requires_grad]
    means: list[Tensor] = []
    n_means = 0
    model.train()
    for step in range(config.steps):
        loss = loss_of()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at step {step}; lower the rate")
        for optimiser in found:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * config.scale(step)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(dense, config.clip)
        for optimiser in found:
            optimiser.step()
        log.losses.append(value)
        to_go = config.steps - 1 - step
        if to_go < config.average * config.steps and to_go % 5 == 0:
            n_means += 1
            with torch.no_grad():
                if not means:
                    means = [one.detach().clone() for one in weights]
                for mean, one in zip(means, weights, strict=True):
                    mean.lerp_(one, 1 / n_means)
        if evaluate is not None and step + 1 in at:
            model.eval()
            log.evaluations[step + 1] = evaluate()
            model.train()
    if means:
        with torch.no_grad():
            for one, mean in zip(weights, means, strict=True):
                one.copy_(mean)
    model.eval()
    return log


def endless(
    pieces: dict[int, Ints], items_per_batch: int, rng: np.random.Generator
) -> Iterator[Ints]:
    """Yield the batches of one `epoch` after another."""
    while True:
        yield from epoch(pieces, items_per_batch, rng)


def next_code_loss(model: GenerativeTransformer, codes: Tensor) -> Tensor:
    """Return the mean over levels of the cross-entropy of every code that has a context."""
    logits = model(codes)
    parts = []
    for level, guess in enumerate(logits):
        target = codes[:, 1:, 0] if level == 0 else codes[:, :, level]
        parts.append(functional.cross_entropy(guess.flatten(0, 1), target.flatten()))
    return torch.stack(parts).mean()


def train(
    model: GenerativeTransformer,
    pieces: dict[int, Ints],
    catalogue: Ints,
    config: TrainConfig,
    *,
    evaluate: Callable[[GenerativeTransformer], object] | None = None,
    at: Sequence[int] = (),
) -> TrainLog:
    """Train a generative model on user sequences.

    Parameters
    ----------
    model : GenerativeTransformer
        Changed in place.
    pieces : dict of int to int64 array
        From `windows`.
    catalogue : int64 array, shape (n_items, n_levels)
        Codes by item number.
    config : TrainConfig
    evaluate : callable, optional
        Called with the model, in evaluation mode, after each number of steps in `at`.
    at : sequence of int

    Returns
    -------
    TrainLog

    Raises
    ------
    FloatingPointError
        If the loss is no finite number.
    """
    table = torch.from_numpy(np.ascontiguousarray(catalogue))
    batches = endless(pieces, config.items_per_batch, np.random.default_rng(config.seed))
    return fit(
        model,
        lambda: next_code_loss(model, table[torch.from_numpy(next(batches))]),
        config,
        evaluate=None if evaluate is None else lambda: evaluate(model),
        at=at,
    )
