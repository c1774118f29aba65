"""The arms of the experiment: one model each, how it is trained, and what is measured of it.

Arms of one comparison see the same batches in the same order, start from the same weights where
they have as many of them, and are asked the same of the same slates. All runs in double precision,
so that they come out the same on another processor.

Interleaving (`Interleaved`) is written as the same transformer over another sequence: each event is
two places, the item with its action masked, and the action without an item. The place of the item
predicts the action, that of the action the next item. So it differs from the joint model in the
sequence and in nothing else, and needs no masking: no place sees its own action.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lib.core import check
from lib.unified_ranking.actions import with_mask
from lib.unified_ranking.evaluation import hit_at, recall_at, slate_auc
from lib.unified_ranking.examples import Batch, Examples, Log
from lib.unified_ranking.losses import CountMinSketch, JointLoss, action_loss
from lib.unified_ranking.model import History, KVCache, ModelConfig, UnifiedRanker
from lib.unified_ranking.study import data
from lib.unified_ranking.study.worlds import simulated
from lib.unified_ranking.tensors import mix
from lib.unified_ranking.training import (
    StepLoss,
    TrainConfig,
    _item_loss,
    history_of,
    step_loss,
    train,
)

__all__ = [
    "Arm",
    "ArmResult",
    "Interleaved",
    "Measures",
    "Setting",
    "film_setting",
    "measure",
    "popularity",
    "run_arm",
    "world_setting",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kind = Literal[
    "joint", "retrieval", "ranking", "frozen", "interleaved", "popularity", "untrained", "copying"
]
Broken = Literal["", "targets", "uncorrected", "Q"]

K = data.SIZE
SAVE = 0


@dataclass(frozen=True)
class Arm:
    """One run.

    Attributes
    ----------
    kind : str
        "joint", "retrieval" (item loss alone), "ranking" (action loss alone), "frozen" (half of
        the steps retrieval, then ranking with its embedder frozen), "interleaved", "popularity"
        (tables of counts), "untrained", or "copying" (the past actions are shown and asked).
    steps, batch : int
        In all, and examples a step.
    events : int
        Longest past.
    layers, width : int
    mask : float
        p_mask.
    lr : float
    seed : int
        Of weights, batches, masks and negatives.
    broken : str
        What a control breaks: "targets" deals the targets of the item loss out anew among the users
        of the batch, "uncorrected" leaves log Q out, "Q" deals Q out anew among the items.
    labelled : float
        Share of the slates with labels in the simulated world; 0 for the ratings of films.
    regard : bool
        Whether pasts of the simulated world are chosen by preference.
    n_test : int, optional
        Test slates, and so many users to train by in a simulated world; all by default.
    """

    kind: Kind = "joint"
    steps: int = 40
    batch: int = 16
    events: int = 64
    layers: int = 2
    width: int = 32
    mask: float = 0.2
    lr: float = 5e-3
    seed: int = 0
    broken: Broken = ""
    labelled: float = 0.0
    regard: bool = True
    n_test: int | None = None


@dataclass(frozen=True, eq=False)
class Setting:
    """What an arm is trained and tested on.

    Attributes
    ----------
    content : float (n_items, d)
    train, test : Examples
    columns : tuple of int
        Actions that are engagement.
    n_actions : int
    before : Log
        Events of training, of which tables are made.
    seen : bool (n_test, n_items)
        What each test user had before his slate; no candidate of retrieval.
    truth : float (n_test, k), optional
        The true preference, in a simulated world.
    """

    content: Floats
    train: Examples
    test: Examples
    columns: tuple[int, ...]
    n_actions: int
    before: Log
    seen: npt.NDArray[np.bool_]
    truth: Floats | None = None


@dataclass(frozen=True)
class Measures:
    """What is measured of each test slate; NaN where a slate has nothing to be measured.

    Attributes
    ----------
    hit3, auc : float (n_test,)
        Of the save head within the slate; in a simulated world against the true preference, whose
        upper half counts as saved.
    recall : float (n_test,)
        Share of the slate's engaged items among the ten that the query finds first.
    fame : float (n_test,)
        Mean of log(1 + ratings in training) of these ten.
    """

    hit3: Floats
    auc: Floats
    recall: Floats
    fame: Floats


@dataclass(frozen=True)
class ArmResult:
    """What came out of an arm.

    Attributes
    ----------
    users : int64 (n_test,)
    own : Measures
    swapped : Measures, optional
        The same model with the pasts exchanged between users.
    losses : float (steps,)
    seconds : float
        CPU time of training, of this process.
    past_auc : float (n_test,), optional
        AUC of the save head over a user's own past, its actions shown ("copying" alone).
    hidden_auc : float (n_test,), optional
        The same with them masked.
    """

    users: Ints
    own: Measures
    swapped: Measures | None
    losses: Floats
    seconds: float
    past_auc: Floats | None = None
    hidden_auc: Floats | None = None


class Interleaved(UnifiedRanker):
    """Items and actions in turn: a past of n events has 2n places.

    Parameters
    ----------
    config : ModelConfig
        Its `max_events` is that of events; the places are twice as many.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(replace(config, max_events=2 * config.max_events))

    def encode(self, history: History) -> tuple[Tensor, KVCache]:
        """Return states ``(batch, n + 1, 2 d_model)``: of each action, and of its item beside."""
        batch = len(history.lengths)
        told = history.actions
        hidden = with_mask(torch.zeros_like(told[..., :-1]), torch.ones_like(history.there))
        vectors = torch.stack([history.vectors, torch.zeros_like(history.vectors)], dim=2)
        actions = torch.stack([hidden, told], dim=2)
        double = History(
            vectors.flatten(1, 2),
            actions.flatten(1, 2),
            history.times.repeat_interleave(2, dim=1),
            2 * history.lengths,
            None if history.surfaces is None else history.surfaces.repeat_interleave(2, dim=1),
        )
        states, cache = super().encode(double)
        none = states.new_zeros(batch, 1, states.shape[2])
        items = torch.cat([none, states[:, 1::2]], dim=1)
        return torch.cat([states[:, ::2], items], dim=2), cache

    def last(self, states: Tensor, cache: KVCache) -> Tensor:
        """Return the state of each user's last action, or of the start."""
        return states[torch.arange(len(states)), (cache.lengths - 1) // 2]

    def query(self, states: Tensor) -> Tensor:
        """Return queries, of the actions' states."""
        return super().query(states[..., : self.config.d_model])

    def score(self, states: Tensor) -> Tensor:
        """Return logits, of the items' states; those of candidates have nothing beside."""
        return super().score(states[..., -self.config.d_model :])


# ── losses of the variants ──────────────────────────────────────────────────────────────────────
def _variant(
    model: UnifiedRanker,
    content: Tensor,
    batch: Batch,
    config: TrainConfig,
    sketch: CountMinSketch,
    generator: torch.Generator,
    *,
    asked: bool = False,
    dealt: bool = False,
) -> JointLoss:
    """Return the joint loss with all past actions asked though shown, or with targets dealt out."""
    drawn = torch.randint(len(content), (config.n_random,), generator=generator)
    vectors = model.embed(content)
    history, masked = history_of(batch, vectors, 0.0 if asked else config.mask, generator)
    states, cache = model.encode(history)
    order = torch.randperm(len(states), generator=generator) if dealt else slice(None)
    item = states.new_zeros(())
    if config.item:
        # The queries of one user with the targets of another.
        item = _item_loss(model, states[order], vectors, batch, masked, drawn, config, sketch)
    logits = model.rank(cache, vectors[batch.candidates], batch.when, batch.where)
    where = history.there if asked else masked
    past = action_loss(model.score(states[:, 1:]), batch.actions, where, config.weights)
    return JointLoss(item, past, action_loss(logits, batch.labels, batch.shown, config.weights))


class _DealtSketch(CountMinSketch):
    """A sketch that says of each item how often another one came; a control."""

    def __init__(self, config: TrainConfig, n_items: int) -> None:
        super().__init__(*config.sketch)
        self.other = np.random.default_rng(0).permutation(n_items)

    def share(self, items: npt.ArrayLike) -> Floats:
        """Return the shares of other items."""
        return super().share(self.other[np.asarray(items)])


def _wrong_q(config: TrainConfig, n_items: int) -> StepLoss:
    wrong = _DealtSketch(config, n_items)

    def loss(
        model: UnifiedRanker,
        content: Tensor,
        batch: Batch,
        config: TrainConfig,
        _: CountMinSketch,
        generator: torch.Generator,
    ) -> JointLoss:
        return step_loss(model, content, batch, config, wrong, generator)

    return loss


def _recorded(
    model: UnifiedRanker,
    content: Tensor,
    batch: Batch,
    config: TrainConfig,
    sketch: CountMinSketch,
    generator: torch.Generator,
) -> JointLoss:
    """Return the loss where surface 1 says that a slate's labels are recorded; no model sees it."""
    shown = batch.shown & (batch.where == 1)[:, None]
    blind = replace(batch, shown=shown, where=torch.zeros_like(batch.where))
    return step_loss(model, content, blind, config, sketch, generator)


def _loss(arm: Arm, config: TrainConfig, n_items: int) -> StepLoss:
    if arm.labelled:
        return _recorded
    if arm.kind in ("interleaved", "copying"):
        return functools.partial(_variant, asked=True)
    if arm.broken == "targets":
        return functools.partial(_variant, dealt=True)
    if arm.broken == "Q":
        return _wrong_q(config, n_items)
    return step_loss


# ── settings ────────────────────────────────────────────────────────────────────────────────────
@functools.cache
def film_setting(events: int, n_test: int | None = None) -> Setting:
    """Return MovieLens 100K with pasts of at most so many events.

    Parameters
    ----------
    events : int
    n_test : int, optional
        The first so many test slates by a hash of the user; all by default.
    """
    films = data.films()
    known, test, moment = data.split(films.log, events)
    if n_test is not None:
        test = test.take(np.sort(np.argsort(mix(test.users), kind="stable")[:n_test]))
    log = films.log
    seen = np.zeros((len(test), len(films.texts)), bool)
    opened, closed = (np.searchsorted(log.users, test.users, side) for side in ("left", "right"))
    for row, (low, high) in enumerate(zip(opened, closed, strict=True)):
        seen[row, log.items[low:high][log.times[low:high] < test.start[row]]] = True
    before = log.take(log.times < moment)
    return Setting(films.content(), known, test, data.ENGAGED, len(data.VOCAB), before, seen)


@functools.cache
def world_setting(labelled: float, regard: bool, seed: int, few: int | None = None) -> Setting:
    """Return a simulated world, of so few users if need be; see `worlds`."""
    size = {} if few is None else {"n_users": few, "n_test": few}
    world = simulated(labelled, seed=seed, regard=regard, **size)
    seen = np.zeros((len(world.test), len(world.content)), bool)
    return Setting(
        *(world.content, world.train, world.test, (0,), 1, world.train.past, seen, world.truth)
    )


# ── measurements ────────────────────────────────────────────────────────────────────────────────
def _judge(setting: Setting, scores: Floats, found: Floats, index: Ints) -> Measures:
    """Return the measures of scores of slates, ``(n, k)``, and of all items, ``(n, n_items)``."""
    slates = [setting.test.slate(int(one)) for one in index]
    labels = np.stack([actions[:, SAVE] for _, actions in slates])
    if setting.truth is not None:
        truth = setting.truth[index]
        labels = (truth > np.median(truth, axis=1, keepdims=True)).astype(np.float32)
    hit3, auc = hit_at(scores, labels), slate_auc(scores, labels)
    seen = setting.seen[index]
    best = np.argsort(-np.where(seen, -np.inf, found), axis=1, kind="stable")[:, :10]
    counts = np.bincount(setting.before.items, minlength=len(setting.content))
    recall = np.full(len(index), np.nan)
    for row, (items, actions) in enumerate(slates):
        wanted = items[(actions[:, list(setting.columns)] > 0).any(axis=1)]
        wanted = wanted[~seen[row, wanted]]
        if len(wanted):
            many = np.repeat(row, len(wanted))
            recall[row] = recall_at(found[many], wanted, seen[many]).mean()
    return Measures(hit3, auc, recall, np.log1p(counts[best]).mean(axis=1))


def measure(model: UnifiedRanker, setting: Setting, *, swapped: bool = False) -> Measures:
    """Return what is measured of a model on all test slates.

    Parameters
    ----------
    model : UnifiedRanker
    setting : Setting
    swapped : bool
        Whether each slate is asked with the past of another user, moved to the slate's time.
    """
    content, test = torch.from_numpy(setting.content), setting.test
    other = np.roll(np.arange(len(test)), len(test) // 2)  # examples are in order of users
    scores, found = [], []
    with torch.no_grad():
        vectors = model.embed(content)
        for index in np.array_split(np.arange(len(test)), max(1, len(test) // 64)):
            batch = test.batch(index)
            if swapped:
                past = test.batch(other[index])
                moved = past.times + (batch.when - past.when)[:, None]
                batch = replace(
                    batch, items=past.items, actions=past.actions, surfaces=past.surfaces,
                    lengths=past.lengths, times=moved,
                )  # fmt: skip
            history, _ = history_of(batch, vectors, 0.0, torch.Generator())
            states, cache = model.encode(history)
            logits = model.rank(cache, vectors[batch.candidates], batch.when, batch.where)
            scores.append(logits[..., SAVE].numpy())
            found.append((model.query(model.last(states, cache)) @ vectors.T).numpy())
    return _judge(setting, np.concatenate(scores), np.concatenate(found), np.arange(len(test)))


def _past_auc(model: UnifiedRanker, setting: Setting, share: float) -> Floats:
    """Return the AUC of the save head over each user's past, of whose actions a share is masked."""
    batch = setting.test.batch(np.arange(len(setting.test)))
    with torch.no_grad():
        vectors = model.embed(torch.from_numpy(setting.content))
        history, _ = history_of(batch, vectors, share, torch.Generator().manual_seed(0))
        states, _ = model.encode(history)
        scores = model.score(states[:, 1:])[..., SAVE].numpy()
    return slate_auc(scores, batch.actions[..., SAVE].numpy(), history.there.numpy())


def popularity(setting: Setting, *, prior: float = 5.0) -> Measures:
    """Return the measures of tables: the share of saves of each item in training, and its ratings.

    Parameters
    ----------
    setting : Setting
    prior : float
        So many ratings with the share of all items are added to each item's own.
    """
    prior = check.number("prior", prior, above=0)
    n_items, log = len(setting.content), setting.before
    counts = np.bincount(log.items, minlength=n_items)
    saves = np.bincount(log.items, log.actions[:, SAVE], minlength=n_items)
    rate = (saves + prior * saves.sum() / counts.sum()) / (counts + prior)
    engaged = (log.actions[:, list(setting.columns)] > 0).any(axis=1)
    famous = np.bincount(log.items, engaged, minlength=n_items)
    index = np.arange(len(setting.test))
    slates = np.stack([setting.test.slate(int(one))[0] for one in index])
    return _judge(setting, rate[slates], np.tile(famous, (len(index), 1)), index)


# ── runs ────────────────────────────────────────────────────────────────────────────────────────
def _model(arm: Arm, setting: Setting) -> UnifiedRanker:
    torch.manual_seed(arm.seed)
    config = ModelConfig(
        d_content=setting.content.shape[1],
        n_actions=setting.n_actions,
        d_item=arm.width,
        d_model=arm.width,
        n_layers=arm.layers,
        max_events=arm.events,
        n_surfaces=1,
    )
    kind = Interleaved if arm.kind == "interleaved" else UnifiedRanker
    return kind(config).double()


def _train(arm: Arm, model: UnifiedRanker, setting: Setting) -> list[float]:
    config = TrainConfig(
        setting.columns,
        steps=arm.steps,
        batch=arm.batch,
        k=K,
        lr=arm.lr,
        # No past action of the simulated world is unknown.
        mask=0.0 if arm.labelled else arm.mask,
        item=float(arm.kind != "ranking"),
        action=float(arm.kind != "retrieval"),
        corrected=arm.broken != "uncorrected",
        seed=arm.seed,
    )
    content = torch.from_numpy(setting.content)
    if arm.kind != "frozen":
        return train(model, content, setting.train, config, _loss(arm, config, len(content)))
    half = max(1, arm.steps // 2)
    first = replace(config, steps=half, action=0.0)
    losses = train(model, content, setting.train, first)
    model.embedder.requires_grad_(False)
    second = replace(config, steps=max(1, arm.steps - half), item=0.0, seed=arm.seed + 1000)
    return losses + train(model, content, setting.train, second)


def run_arm(arm: Arm) -> ArmResult:
    """Run one arm and measure it; the same arm gives the same numbers."""
    torch.set_num_threads(1)
    if arm.labelled:
        setting = world_setting(arm.labelled, arm.regard, arm.seed, arm.n_test)
    else:
        setting = film_setting(arm.events, arm.n_test)
    users = setting.test.users
    if arm.kind == "popularity":
        return ArmResult(users, popularity(setting), None, np.empty(0), 0.0)
    model = _model(arm, setting)
    began = time.process_time()
    losses = [] if arm.kind == "untrained" else _train(arm, model, setting)
    seconds = time.process_time() - began
    model.eval()
    result = ArmResult(
        users,
        measure(model, setting),
        measure(model, setting, swapped=True) if arm.kind == "joint" else None,
        np.asarray(losses),
        seconds,
    )
    if arm.kind == "copying":
        shown, hidden = (_past_auc(model, setting, share) for share in (0.0, 1.0))
        result = replace(result, past_auc=shown, hidden_auc=hidden)
    return result
