"""What a model gets right: by level, by prefix, by popularity, and beyond what counting gets right.

Teacher-forced accuracy at level l asks for code l given the *true* codes before it. The static
count table (`lib.semantic_ids.counts`) answers the same question without looking at the user, and
stands beside every model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lib.core import check
from lib.semantic_ids.beam import BeamResult, by_length
from lib.semantic_ids.catalogue import SidCatalog, check_codes
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import Examples
from lib.semantic_ids.transformer import GenerativeTransformer

__all__ = [
    "Mixture",
    "count_log_probs",
    "distinct_first",
    "fit_mixture",
    "hits",
    "item_recall",
    "nll",
    "popularity_tertiles",
    "recall",
    "shuffle_histories",
    "teacher_forced",
    "top",
    "valid_share",
    "with_trie",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LogProbs = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def _normal(log_probs: LogProbs, name: str) -> LogProbs:
    """Refuse what are no logarithms of probabilities: NaN, per cents, logits."""
    if log_probs.ndim != 3 or log_probs.dtype.kind != "f" or not len(log_probs):
        raise ValueError(
            f"{name} have shape {log_probs.shape} and type {log_probs.dtype}, expected floats "
            "(n, n_levels, n_codes), not empty"
        )
    with np.errstate(over="ignore"):
        total = np.exp(log_probs).sum(axis=2)
    wrong = total[~(np.abs(total - 1) <= 1e-3)]  # NaN too
    if len(wrong):
        raise ValueError(
            f"{name} have a row whose probabilities sum to {wrong[0]:.4g}, expected logarithms of "
            "probabilities, which sum to 1"
        )
    return log_probs


def _asked(log_probs: LogProbs, targets: Ints, name: str = "log_probs") -> tuple[LogProbs, Ints]:
    """Refuse what are no log-probabilities, and targets that are no codes of theirs."""
    n, levels, n_codes = _normal(log_probs, name).shape
    return log_probs, check.integers(
        "targets", targets, shape=(n, levels), at_least=0, below=n_codes
    )


@torch.no_grad()
def teacher_forced(
    model: GenerativeTransformer, examples: Examples, codes: Ints, *, batch: int = 256
) -> LogProbs:
    """Return log-probabilities of every code of every target, given the true codes before it.

    Parameters
    ----------
    model : GenerativeTransformer
        In evaluation mode.
    examples : Examples
    codes : int64 (n_items, n_levels)
    batch : int
        Histories at a time.

    Returns
    -------
    float32 (n_examples, n_levels, n_codes)
    """
    if model.training:
        raise ValueError("the model is in training mode, expected model.eval() before")
    shape = (len(examples), model.config.n_levels, model.config.n_codes)
    check.integer("batch", batch, at_least=1)
    codes = check_codes(codes, shape[2], n_levels=shape[1])
    result = np.empty(shape, np.float32)
    for places, histories in by_length(examples, model.config.max_items - 1):
        items = np.column_stack([histories, examples.targets[places]])
        for at in range(0, len(places), batch):
            logits = model.target_logits(torch.from_numpy(codes[items[at : at + batch]]))
            result[places[at : at + batch]] = torch.log_softmax(logits, dim=-1).numpy()
    if not np.isfinite(result).all():
        raise ValueError("log-probabilities of the model are not finite, expected a trained model")
    return result


def count_log_probs(counts: NGramCounts, targets: Ints) -> LogProbs:
    """Return the count table's log-probabilities in the form of `teacher_forced`.

    Parameters
    ----------
    counts : NGramCounts
    targets : int64 (n, n_levels)
        Codes of the target items.
    """
    targets = check_codes(targets, counts.n_codes, n_levels=counts.n_levels, name="targets")
    levels = [counts.logits(targets[:, :level]) for level in range(targets.shape[1])]
    return np.stack(levels, axis=1).astype(np.float32)


def with_trie(log_probs: LogProbs, targets: Ints, catalog: SidCatalog) -> LogProbs:
    """Return the log-probabilities among those codes that some item has after the true prefix.

    What a model with a trie knows; without one it must learn first which codes follow which. See
    `teacher_forced` for shapes; each target must be an ID of the catalogue.
    """
    log_probs, targets = _asked(log_probs, targets)
    nodes = [catalog.nodes(targets[:, :level]) for level in range(targets.shape[1] + 1)]
    if (nodes[-1] < 0).any():
        raise ValueError("targets hold an ID that no item has, expected IDs of the catalogue")
    masks = [catalog.mask(level + 1, node) for level, node in enumerate(nodes[:-1])]
    return _normalised(np.where(np.stack(masks, axis=1), log_probs, np.float32(-np.inf)))


def hits(log_probs: LogProbs, targets: Ints) -> Bools:
    """Return where the true code is the likeliest, alone: ``top(…, 1)``, ``(n, n_levels)``."""
    return top(log_probs, targets, 1)


def nll(log_probs: LogProbs, targets: Ints) -> Floats:
    """Return minus the log-probability of the true codes, ``(n, n_levels)``, in nats."""
    return _nll(*_asked(log_probs, targets))


def _nll(log_probs: LogProbs, targets: Ints) -> Floats:
    picked = np.take_along_axis(log_probs, targets[:, :, None], axis=2)[:, :, 0]
    return -picked.astype(np.float64)


def top(log_probs: LogProbs, targets: Ints, k: int) -> Bools:
    """Return where the true code is among the `k` likeliest, ``(n, n_levels)``.

    A code has the mean place of all that are as likely, so a model that tells none apart has its
    targets in the middle of the code book.
    """
    log_probs, targets = _asked(log_probs, targets)
    k = check.integer("k", k, at_least=1)
    picked = np.take_along_axis(log_probs, targets[:, :, None], axis=2)
    above, equal = (log_probs > picked).sum(axis=2), (log_probs == picked).sum(axis=2)
    return np.asarray(above + (equal - 1) / 2 <= k - 1, bool)


def popularity_tertiles(targets: Ints, train: Ints, length: int) -> Ints:
    """Return 0, 1 or 2: how often the target's prefix occurs in train, in three equal parts.

    Parameters
    ----------
    targets : int64 (n, n_levels)
    train : int64 (n_interactions, n_levels)
        Codes of all train interactions.
    length : int
        Codes of the prefix.

    Returns
    -------
    int64 (n,)
        Rare, medium, popular. Equal counts stay together, so parts may differ in size.
    """
    targets = check.integers("targets", targets, shape=("n", "n_levels"), at_least=0)
    levels = targets.shape[1]
    train = check.integers("train", train, shape=("n", levels), at_least=0)
    length = check.integer("length", length, at_least=1, at_most=levels)
    prefixes = np.vstack([train[:, :length], targets[:, :length]])
    _, inverse = np.unique(prefixes, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    seen = np.bincount(inverse[: len(train)], minlength=int(inverse.max()) + 1)
    popularity = seen[inverse[len(train) :]]
    cuts = np.quantile(popularity, [1 / 3, 2 / 3], method="lower")
    return np.searchsorted(cuts, popularity, side="left").astype(np.int64)


def recall(result: BeamResult, targets: Ints, ks: Sequence[int]) -> dict[int, Bools]:
    """Return whether the whole ID of the target is among the first k of the beam, for each k.

    The beam's order is taken as it is. Equal scores stand in none (see `beam_search`), so of a
    model that tells IDs apart badly neither this nor `item_recall` means anything.

    Raises
    ------
    ValueError
        If k is larger than the beam, which would count what was never looked at as missed.
    """
    same, ks = _same(result, targets, ks)
    return {k: np.asarray(same[:, :k].any(axis=1), bool) for k in ks}


def _same(result: BeamResult, targets: Ints, ks: Sequence[int]) -> tuple[Bools, list[int]]:
    """Return where the target's ID stands in each beam, and the list lengths, checked."""
    n, width, levels = result.codes.shape
    targets = check.integers("targets", targets, shape=(n, levels), at_least=0)
    lengths = [check.integer("ks", k, at_least=1) for k in ks]
    if max(lengths, default=0) > width:
        raise ValueError(f"k = {max(lengths)} is more than the beam's width {width}")
    same = (result.codes == targets[:, None]).all(axis=2) & np.isfinite(result.scores)
    return np.asarray(same, bool), lengths


def item_recall(
    result: BeamResult, targets: npt.ArrayLike, catalog: SidCatalog, ks: Sequence[int]
) -> dict[int, Floats]:
    """Return the chance that the target *item* is among the first k items, for each k.

    An ID stands for all items that share it. They follow one another in the list in no particular
    order, so a target whose m namesakes straddle the end of the list is there with a chance. An ID
    that no item has takes a place and brings nothing.

    Parameters
    ----------
    result : BeamResult
    targets : int64 (n,)
        Item numbers.
    catalog : SidCatalog
    ks : sequence of int

    Returns
    -------
    dict of int to float64 (n,)
        Equal to `recall` where no two items share an ID.

    Raises
    ------
    ValueError
        If k is larger than the beam, or a target is not in the catalogue.
    """
    n, width, levels = result.codes.shape
    wanted = check.integers("targets", targets, shape=(n,), at_least=0, below=len(catalog.codes))
    if not np.isin(wanted, catalog.alive).all():
        raise ValueError("targets hold an item that was deleted, expected items of the catalogue")
    same, lengths = _same(result, catalog.codes[wanted], ks)
    nodes = catalog.nodes(result.codes.reshape(-1, levels)).reshape(n, width)
    size = np.where(nodes < 0, 1, catalog.level(levels).items[nodes])
    before = np.cumsum(size, axis=1) - size
    return {
        k: np.asarray((same * np.clip((k - before) / size, 0, 1)).sum(axis=1), np.float64)
        for k in lengths
    }


def valid_share(result: BeamResult, catalog: SidCatalog) -> Floats:
    """Return the share of the IDs in each beam that are of some item, ``(n,)``."""
    n, width, levels = result.codes.shape
    known = catalog.nodes(result.codes.reshape(-1, levels)).reshape(n, width) >= 0
    there = np.isfinite(result.scores)  # the rest is padding
    return np.asarray((known & there).sum(axis=1) / np.maximum(there.sum(axis=1), 1), np.float64)


def distinct_first(result: BeamResult) -> Ints:
    """Return how many different first codes the IDs in each beam have, ``(n,)``."""
    there = np.isfinite(result.scores)
    rows = zip(result.codes[:, :, 0], there, strict=True)
    return np.array([len(np.unique(codes[real])) for codes, real in rows], np.int64)


def shuffle_histories(examples: Examples, seed: int) -> Examples:
    """Give each target the history of another example: a control with nothing to learn from."""
    check.integer("seed", seed, at_least=0)
    order = np.random.default_rng(seed).permutation(len(examples))
    return Examples(examples.users, tuple(examples.histories[i] for i in order), examples.targets)


@dataclass(frozen=True)
class Mixture:
    """A model plus counts: ``a · log p_model + λ · log p_counts``, renormalised, for each level.

    Attributes
    ----------
    weights : tuple of float
        λ of each level, at least 0.
    shares : tuple of float, optional
        a of each level, above 0; 1 everywhere by default.
    """

    weights: tuple[float, ...]
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        shape = check.array("weights", self.weights, shape=("n_levels",), at_least=0).shape
        if self.shares:
            check.array("shares", self.shares, shape=shape, above=0)

    def __call__(self, model: LogProbs, counts: LogProbs) -> LogProbs:
        """Return normalised log-probabilities of the shape of `model`.

        Parameters
        ----------
        model, counts : float32 (n, n_levels, n_codes)

        Raises
        ------
        ValueError
            If they are no log-probabilities, of different shapes, or of other levels than the mix.
        """
        levels = _same_shape(_normal(model, "model"), _normal(counts, "counts")).shape[1]
        if levels != len(self.weights):
            raise ValueError(f"model has {levels} levels, expected {len(self.weights)} as the mix")
        return self._mixed(model, counts)

    def _mixed(self, model: LogProbs, counts: LogProbs) -> LogProbs:
        weight = np.array(self.weights, np.float32)[:, None]
        share = np.array(self.shares or 1.0, np.float32).reshape(-1, 1)
        return _normalised(share * model + weight * counts)


def _same_shape(model: LogProbs, counts: LogProbs) -> LogProbs:
    if counts.shape != model.shape:
        raise ValueError(f"counts have shape {counts.shape}, expected {model.shape}")
    return model


def _normalised(logits: LogProbs) -> LogProbs:
    result: LogProbs = torch.log_softmax(torch.from_numpy(logits), dim=-1).numpy()
    return result


GRID: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Weights of the counts that `fit_mixture` tries; small ones, lest a small use is overlooked."""


SHARES: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the model that `fit_mixture` tries; never 0, so that the model always takes part."""


def fit_mixture(
    model: LogProbs, counts: LogProbs, targets: Ints, *, rigid: bool = False
) -> Mixture:
    """Choose the mix of each level on validation targets, by likelihood.

    Parameters
    ----------
    model, counts : float32 (n, n_levels, n_codes)
    targets : int64 (n, n_levels)
    rigid : bool
        Leave the model's share at 1. A model that is too sure of itself then spoils the mix, and
        whoever is less sure looks as if it knew more than counts.
    """
    model, targets = _asked(model, targets, "model")
    _same_shape(model, _normal(counts, "counts"))
    pairs = [(a, w) for a in ((1.0,) if rigid else SHARES) for w in GRID]
    n_levels = targets.shape[1]
    losses = [
        _nll(Mixture((w,) * n_levels, (a,) * n_levels)._mixed(model, counts), targets).mean(axis=0)
        for a, w in pairs
    ]
    best = np.argmin(losses, axis=0)
    return Mixture(tuple(pairs[i][1] for i in best), tuple(pairs[i][0] for i in best))
