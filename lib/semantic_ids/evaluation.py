"""What a model gets right: by level, by prefix, by popularity, and beyond what counting gets right.

Teacher-forced accuracy at level l asks for code l given the *true* codes before it. The static
count table (`lib.semantic_ids.counts`) answers the same question without looking at the user, and
stands beside every model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lib.core import check
from lib.semantic_ids.beam import BeamResult, by_length
from lib.semantic_ids.catalogue import SidCatalog, check_codes
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import Examples
from lib.semantic_ids.transformer import GenerativeTransformer, SasRec

__all__ = [
    "Mixture",
    "bleu",
    "bleu_counts",
    "count_log_probs",
    "distinct_first",
    "fit_mixture",
    "hit_rate",
    "hits",
    "item_recall",
    "nll",
    "popularity_tertiles",
    "reachable",
    "recall",
    "sasrec_ranks",
    "shuffle_histories",
    "teacher_forced",
    "top",
    "valid_share",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LogProbs = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def _asked(log_probs: LogProbs, targets: Ints, name: str = "log_probs") -> tuple[LogProbs, Ints]:
    """Refuse log-probabilities that hold NaN, and targets that are no codes of theirs."""
    if log_probs.ndim != 3 or log_probs.dtype.kind != "f" or not len(log_probs):
        raise ValueError(
            f"{name} have shape {log_probs.shape} and type {log_probs.dtype}, expected floats "
            "(n, n_levels, n_codes), not empty"
        )
    if np.isnan(log_probs).any() or np.isposinf(log_probs).any():
        raise ValueError(f"{name} hold NaN or infinity, expected logarithms of probabilities")
    n, levels, n_codes = log_probs.shape
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


def hits(log_probs: LogProbs, targets: Ints) -> Bools:
    """Return where the likeliest code, the lowest of equals, is the true one, ``(n, n_levels)``."""
    log_probs, targets = _asked(log_probs, targets)
    return np.asarray(log_probs.argmax(axis=2) == targets, bool)


def nll(log_probs: LogProbs, targets: Ints) -> Floats:
    """Return minus the log-probability of the true codes, ``(n, n_levels)``, in nats."""
    log_probs, targets = _asked(log_probs, targets)
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
    return np.asarray(_mean_rank(log_probs, picked) <= k - 1, bool)


def _mean_rank(scores: npt.NDArray[np.floating], own: npt.NDArray[np.floating]) -> Floats:
    """Return the place, from 0, of `own` among scores along the last axis; equals share theirs."""
    above, equal = (scores > own).sum(axis=-1), (scores == own).sum(axis=-1)
    return np.asarray(above + (equal - 1) / 2, np.float64)


def reachable(log_probs: LogProbs, targets: Ints, k: int = 10) -> Bools:
    """Return which targets a narrow search could reach: each code but the last in the top `k`.

    Returns
    -------
    bool (n,)
    """
    return np.asarray(top(log_probs, targets, k)[:, :-1].all(axis=1), bool)


def hit_rate(log_probs: LogProbs, targets: Ints, catalog: SidCatalog) -> Bools:
    """Return where the true prefix with the likeliest code is the prefix of some item.

    Returns
    -------
    bool (n, n_levels)
    """
    log_probs, targets = _asked(log_probs, targets)
    best = log_probs.argmax(axis=2)
    columns = []
    for level in range(targets.shape[1]):
        guess = np.column_stack([targets[:, :level], best[:, level]])
        columns.append(catalog.nodes(guess) >= 0)
    return np.column_stack(columns)


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

    def __call__(self, model: LogProbs, counts: LogProbs) -> LogProbs:
        """Return normalised log-probabilities of the shape of `model`."""
        weight = np.array(self.weights, np.float32)[:, None]
        share = np.array(self.shares or 1.0, np.float32).reshape(-1, 1)
        return _normalised(share * model + weight * counts)


def _normalised(logits: LogProbs) -> LogProbs:
    result: LogProbs = torch.log_softmax(torch.from_numpy(logits), dim=-1).numpy()
    return result


GRID: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Weights of the counts that `fit_mixture` tries; small ones, lest a small use is overlooked."""


SHARES: tuple[float, ...] = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
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
    if counts.shape != model.shape:
        raise ValueError(f"counts have shape {counts.shape}, expected {model.shape}")
    _asked(counts, targets, "counts")
    pairs = [(a, w) for a in ((1.0,) if rigid else SHARES) for w in GRID]
    n_levels = targets.shape[1]
    losses = [
        nll(Mixture((w,) * n_levels, (a,) * n_levels)(model, counts), targets).mean(axis=0)
        for a, w in pairs
    ]
    best = np.argmin(losses, axis=0)
    return Mixture(tuple(pairs[i][1] for i in best), tuple(pairs[i][0] for i in best))


@torch.no_grad()
def sasrec_ranks(model: SasRec, examples: Examples, *, batch: int = 512) -> Floats:
    """Return the rank (from 0) of each target among all items, seen ones included.

    Items with equal scores share the mean of their ranks.

    Parameters
    ----------
    model : SasRec
        In evaluation mode.
    examples : Examples
    batch : int

    Returns
    -------
    float64 (n_examples,)

    Raises
    ------
    ValueError
        If the model is in training mode, or a score is not finite.
    """
    if model.training:
        raise ValueError("the model is in training mode, expected model.eval() before")
    check.integer("batch", batch, at_least=1)
    ranks = np.empty(len(examples), np.float64)
    for places, histories in by_length(examples, model.max_items):
        for at in range(0, len(places), batch):
            part = places[at : at + batch]
            states = model(torch.from_numpy(histories[at : at + batch]))[:, -1]
            scores = (states @ model.items.weight.T).numpy()
            if not np.isfinite(scores).all():
                raise ValueError("scores of the model are not finite, expected a trained model")
            own = np.take_along_axis(scores, examples.targets[part][:, None], axis=1)
            ranks[part] = _mean_rank(scores, own)
    return ranks


def bleu_counts(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]], *, order: int = 4
) -> Floats:
    """Return what BLEU is made of, one row a pair of texts, so that pairs can be drawn anew.

    Parameters
    ----------
    candidates, references : sequences of words
    order : int
        Longest n-gram.

    Returns
    -------
    float64 (n, 2 * order + 2)
        For each order the clipped matches, for each order the n-grams, and both lengths.

    Raises
    ------
    ValueError
        If there is no text, or the numbers of texts differ.
    """
    check.integer("order", order, at_least=1)
    if not candidates or len(candidates) != len(references):
        raise ValueError(
            f"{len(candidates)} candidates and {len(references)} references, expected as many, >= 1"
        )
    rows = []
    for ours, theirs in zip(candidates, references, strict=True):
        matched, total = [], []
        for n in range(1, order + 1):
            found, wanted = _ngrams(ours, n), _ngrams(theirs, n)
            matched.append(sum(min(count, wanted[gram]) for gram, count in found.items()))
            total.append(sum(found.values()))
        rows.append([*matched, *total, len(ours), len(theirs)])
    return np.array(rows, np.float64)


def bleu(counts: Floats, weights: npt.ArrayLike | None = None) -> Floats:
    """Return corpus BLEU (Papineni et al., ACL 2002) from `bleu_counts`, in [0, 1].

    One is added to matches and totals of the orders above 1 (Lin and Och, 2004), for short texts
    have few 4-grams.

    Parameters
    ----------
    counts : float64 (n, 2 * order + 2)
    weights : (..., n), optional
        How often each pair is taken, such as the draws of a bootstrap; once by default.

    Returns
    -------
    float64 (...)

    Examples
    --------
    >>> same = bleu_counts([["a", "b", "c", "d"]], [["a", "b", "c", "d"]])
    >>> float(bleu(same)), float(bleu(bleu_counts([["x"]], [["a", "b"]])))
    (1.0, 0.0)
    """
    counts = check.array("counts", counts, shape=("n", "n_columns"), at_least=0)
    taken = np.ones(len(counts)) if weights is None else check.array("weights", weights)
    sums = taken @ counts
    order = counts.shape[1] // 2 - 1
    matched, total = sums[..., :order].copy(), sums[..., order : 2 * order].copy()
    matched[..., 1:] += 1
    total[..., 1:] += 1
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(matched / total).mean(axis=-1)
        brevity = np.minimum(0, 1 - sums[..., -1] / sums[..., -2])
        return np.asarray(np.nan_to_num(np.exp(logs + brevity)), np.float64)


def _ngrams(words: Sequence[str], n: int) -> Mapping[tuple[str, ...], int]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
