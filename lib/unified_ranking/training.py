"""One training stage for retrieval and ranking: Equation 5 on blended examples.

A step embeds the items of its batch once, encodes the pasts with some actions masked, and decodes
the slates on what was encoded, as serving does. Without the item loss this is a ranker, without the
action loss a retriever; a frozen embedder stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lib.core import check
from lib.unified_ranking.actions import mask_actions
from lib.unified_ranking.examples import Batch, Examples
from lib.unified_ranking.losses import (
    CountMinSketch,
    Form,
    JointLoss,
    action_loss,
    expected_counts,
    next_engaged,
    sampled_softmax,
)
from lib.unified_ranking.model import History, UnifiedRanker
from lib.unified_ranking.tensors import tensor

__all__ = ["TrainConfig", "history_of", "step_loss", "train"]


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The paper states `mask` alone.

    Attributes
    ----------
    positive : tuple of int
        Columns of the actions that count as engagement: what makes an event a target.
    steps, batch : int
        Steps, and examples a step.
    k : int
        Items of a slate that a step looks at; see `Examples.batch`.
    lr : float
        Of AdamW, after a rise over a tenth of the steps; then it falls to a tenth as a cosine does.
    mask : float
        p_mask, 0 to 1.
    n_random : int
        Negatives drawn uniformly; the targets of the batch are negatives too.
    item, action : float
        Weights of both losses, nonnegative; 0 leaves a loss out.
    weights : tuple of float, optional
        w_c of Equation 4; ones by default.
    corrected : bool
        Whether log Q is subtracted.
    form : {"exact", "printed"}
        See `lib.unified_ranking.losses`.
    sketch : (int, int)
        Width and depth of the count-min sketch.
    seed : int
        Of batches, masks and negatives.
    """

    positive: tuple[int, ...]
    steps: int = 200
    batch: int = 32
    k: int = 16
    lr: float = 2e-3
    mask: float = 0.2
    n_random: int = 64
    item: float = 1.0
    action: float = 1.0
    weights: tuple[float, ...] | None = None
    corrected: bool = True
    form: Form = "exact"
    sketch: tuple[int, int] = (4096, 4)
    seed: int = 0

    def __post_init__(self) -> None:
        check.integers("positive", self.positive, shape=("n",), at_least=0)
        for name, least in (("steps", 1), ("batch", 1), ("k", 1), ("n_random", 0), ("seed", 0)):
            check.integer(name, getattr(self, name), at_least=least)
        check.number("lr", self.lr, above=0)
        check.share("mask", self.mask)
        for name in ("item", "action"):
            check.number(name, getattr(self, name), at_least=0)
        if not self.item + self.action:
            raise ValueError("item and action are 0, expected a loss to train by")
        check.known("form", self.form, ("exact", "printed"))
        check.integers("sketch", self.sketch, shape=(2,), at_least=1)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step over `lr`.

        Examples
        --------
        >>> [round(TrainConfig((0,), steps=100).rate(step), 2) for step in (0, 9, 99)]
        [0.1, 1.0, 0.1]
        """
        step = check.integer("step", step, at_least=0)
        rise = max(1, self.steps // 10)
        if step < rise:
            return (step + 1) / rise
        done = (step + 1 - rise) / max(1, self.steps - rise)
        return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done)))


def history_of(
    batch: Batch, vectors: Tensor, share: float, generator: torch.Generator
) -> tuple[History, Tensor]:
    """Return the pasts of a batch as a model reads them, and where their actions are masked.

    Parameters
    ----------
    batch : Batch
    vectors : Tensor, shape (n_items, d_item)
        Embeddings by item.
    share : float
        p_mask; 0 in evaluation.
    generator : torch.Generator

    Returns
    -------
    (History, Tensor)
        The mask is bool ``(batch, n)``, false at padding.
    """
    _items("vectors", vectors, batch)
    seen, where = mask_actions(batch.actions.to(vectors.dtype), share, generator)
    history = History(vectors[batch.items], seen, batch.times, batch.lengths, batch.surfaces)
    return history, where & history.there


def step_loss(
    model: UnifiedRanker,
    content: Tensor,
    batch: Batch,
    config: TrainConfig,
    sketch: CountMinSketch,
    generator: torch.Generator,
) -> JointLoss:
    """Return the parts of the joint loss of one batch.

    Parameters
    ----------
    model : UnifiedRanker
    content : Tensor, shape (n_items, d_content)
        Content vectors by item.
    batch : Batch
    config : TrainConfig
    sketch : CountMinSketch
        Counts of targets so far; those of this batch are added first.
    generator : torch.Generator
        Of masks and negatives.

    Returns
    -------
    JointLoss
        A part whose weight in `config` is 0 is a 0 without gradient.
    """
    n_items = _items("content", content, batch)
    # Each item is embedded once, however often the batch holds it.
    drawn = torch.randint(n_items, (config.n_random,), generator=generator)
    used, place = torch.unique(
        torch.cat([batch.items.flatten(), batch.candidates.flatten(), drawn]), return_inverse=True
    )
    table = model.embed(content[used])
    vectors = torch.zeros(n_items, table.shape[1], dtype=table.dtype).index_copy(0, used, table)
    history, masked = history_of(batch, vectors, config.mask, generator)
    states, cache = model.encode(history)
    none = table.new_zeros(())
    item = past = candidates = none
    if config.item:
        item = _item_loss(model, states, vectors, batch, masked, drawn, config, sketch)
    if config.action:
        past = action_loss(model.score(states[:, 1:]), batch.actions, masked, config.weights)
        slate = table[place[batch.items.numel() :][: batch.candidates.numel()]]
        slate = slate.view(*batch.candidates.shape, -1)
        logits = model.rank(cache, slate, batch.when, batch.where)
        candidates = action_loss(logits, batch.labels, batch.shown, config.weights)
    return JointLoss(item, past, candidates)


def _item_loss(
    model: UnifiedRanker,
    states: Tensor,
    vectors: Tensor,
    batch: Batch,
    masked: Tensor,
    drawn: Tensor,
    config: TrainConfig,
    sketch: CountMinSketch,
) -> Tensor:
    engaged = (batch.actions[..., list(config.positive)] > 0).any(-1)
    target = next_engaged(engaged, batch.times, batch.lengths)
    # The start and every unmasked event predict, if there is anything to be predicted.
    open_ = torch.cat([torch.ones_like(masked[:, :1]), ~masked], dim=1)
    there = torch.arange(open_.shape[1]) <= batch.lengths[:, None]
    row, position = torch.nonzero(open_ & there & (target >= 0), as_tuple=True)
    items = batch.items[row, target[row, position]]
    # A query's own target is no negative of its, so one fewer of the batch is drawn for it.
    n_batch, n_random = len(items) - 1, len(drawn)
    if n_batch < 0 or not n_batch + n_random:
        return states.sum() * 0  # nothing to predict, or nothing to tell it from
    sketch.add(items.numpy())
    negative = torch.cat([items, drawn])
    expected = [torch.ones(len(one)) for one in (negative, items)]
    if config.corrected:
        sizes = {"n_batch": n_batch, "n_random": n_random, "n_items": len(vectors)}
        expected = [
            torch.from_numpy(expected_counts(sketch.share(one.numpy()), **sizes))
            for one in (negative, items)
        ]
    return sampled_softmax(
        model.query(states[row, position]),
        vectors[items],
        items,
        vectors[negative],
        negative,
        expected[0],
        scale=model.config.scale,
        form=config.form,
        expected_targets=expected[1],
    )


StepLoss = Callable[
    [UnifiedRanker, Tensor, Batch, TrainConfig, CountMinSketch, torch.Generator], JointLoss
]
"""What `step_loss` takes and returns."""


def train(
    model: UnifiedRanker,
    content: Tensor,
    examples: Examples,
    config: TrainConfig,
    loss: StepLoss = step_loss,
) -> list[float]:
    """Train a model in place, and leave it in evaluation mode (not sealed).

    Parameters
    ----------
    model : UnifiedRanker
        Parameters that need no gradient stay as they are, so an embedder can be frozen before.
    content : Tensor, shape (n_items, d_content)
    examples : Examples
        One of each batch is drawn without replacement, epoch after epoch.
    config : TrainConfig
    loss : callable
        Another loss of a batch, for models that differ in what is asked of them.

    Returns
    -------
    list of float
        The loss of each step, nats.

    Raises
    ------
    ValueError
        If there is no example, an item has no content, or a column of `config` is no action's.
    FloatingPointError
        If a gradient is no finite number; the weights are as they were before that step.

    Examples
    --------
    >>> from lib.unified_ranking import ModelConfig, join
    >>> from lib.unified_ranking.examples import Log
    >>> log = Log([1] * 4, [0, 1, 2, 0], [0, 1, 9, 9], [[1], [0], [1], [0]], [-1, -1, 5, 5])
    >>> model = UnifiedRanker(ModelConfig(d_content=3, n_actions=1, d_item=4, d_model=8))
    >>> losses = train(model, torch.eye(3), join(log, log, 8), TrainConfig((0,), steps=2, batch=1))
    >>> len(losses)
    2
    """
    if not callable(loss):
        raise ValueError(f"loss is {loss!r:.60}, expected a function as step_loss")
    if not len(examples):
        raise ValueError("examples is empty, expected a slate or more")
    columns: Sequence[int] = config.positive
    examples.engaged(columns)  # refuses columns that are no action's
    rng = np.random.default_rng(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    sketch = CountMinSketch(*config.sketch, seed=config.seed % 2**31)
    trained = [one for one in model.train().parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=config.lr, weight_decay=0.01)
    order = np.empty(0, np.int64)
    losses = []
    for step in range(config.steps):
        while len(order) < config.batch:
            order = np.r_[order, rng.permutation(len(examples))]
        chosen, order = order[: config.batch], order[config.batch :]
        batch = examples.batch(chosen, k=config.k)
        parts = loss(model, content, batch, config, sketch, generator)
        whole = parts.total(item=config.item, action=config.action)
        optimiser.zero_grad()
        whole.backward()  # type: ignore[no-untyped-call]
        slope = float(nn.utils.clip_grad_norm_(trained, 1.0))
        if not math.isfinite(slope):
            raise FloatingPointError(f"the gradient is {slope} at step {step}; lower the rate")
        for group in optimiser.param_groups:
            group["lr"] = config.lr * config.rate(step)
        optimiser.step()
        losses.append(float(whole.detach()))
    model.eval()
    return losses


def _items(name: str, table: Tensor, batch: Batch) -> int:
    """Return the number of items of a table, if it has all of a batch."""
    n_items = tensor(name, table, ("n_items", "width")).shape[0]
    for items in (batch.items, batch.candidates):
        if items.numel() and int(items.max()) >= n_items:
            raise ValueError(f"{name} has {n_items} rows, expected one for item {int(items.max())}")
    return n_items
