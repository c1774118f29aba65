"""Beam search over Semantic IDs, with and without a trie, for whole batches at a time.

Without a trie the search may end in an ID that no item has; how often is a result (`valid_share`
in `lib.semantic_ids.evaluation`), not something to hide. With a trie every ID is that of an item,
for whichever model: both are offered to all arms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lib.core import check
from lib.semantic_ids.catalogue import SidCatalog, check_codes
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import Examples
from lib.semantic_ids.transformer import GenerativeTransformer

__all__ = [
    "BeamResult",
    "CountSteps",
    "MixedSteps",
    "Steps",
    "beam_search",
    "by_length",
    "generate",
]


@dataclass(frozen=True, eq=False)
class BeamResult:
    """IDs in falling order of score.

    Attributes
    ----------
    codes : int64 (n, width, n_levels)
    scores : float32 (n, width)
        Log-probability of the ID; −inf fills a beam that has fewer IDs than its width.
    """

    codes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


class Steps(Protocol):
    """What beam search needs of a model: such as `transformer.Decoding`."""

    def first(self) -> Tensor:
        """Return log-probabilities of the first code, ``(n, n_codes)``."""
        ...

    def step(self, parents: Tensor, prefix: Tensor) -> Tensor:
        """Return those after each prefix ``(n, width, l)``: ``(n, width, n_codes)``."""
        ...


class CountSteps:
    """The count table as a model: one list for everybody, whatever the history.

    Parameters
    ----------
    counts : NGramCounts
    """

    def __init__(self, counts: NGramCounts) -> None:
        self._counts = counts

    def first(self) -> Tensor:
        """Return log-probabilities of the first code, ``(1, n_codes)``."""
        return torch.from_numpy(self._counts.logits(np.zeros((1, 0), np.int64))).float()

    def step(self, parents: Tensor, prefix: Tensor) -> Tensor:
        """Return log-probabilities after each prefix, ``(1, width, n_codes)``."""
        return torch.from_numpy(self._counts.logits(prefix[0].numpy())).float().unsqueeze(0)


class MixedSteps:
    """A model plus counts at every step of a search; see `evaluation.Mixture`.

    Parameters
    ----------
    steps : Steps
        The model.
    counts : NGramCounts
    weights, shares : sequence of float
        Of the counts and of the model, a level; the latter 1 by default.
    """

    def __init__(
        self,
        steps: Steps,
        counts: NGramCounts,
        weights: Sequence[float],
        shares: Sequence[float] = (),
    ) -> None:
        self._steps, self._counts = steps, counts
        shape = (counts.n_levels,)
        self._weights = check.array("weights", weights, shape=shape, at_least=0)
        self._shares = check.array(
            "shares", shares if len(shares) else np.ones(shape), shape=shape, above=0
        )

    def _plus(self, model: Tensor, prefix: npt.NDArray[np.int64]) -> Tensor:
        counted = torch.from_numpy(self._counts.logits(prefix)).float()
        at = prefix.shape[1]
        weight, share = float(self._weights[at]), float(self._shares[at])
        counted = counted.view(-1, *model.shape[1:])
        return torch.log_softmax(share * model + weight * counted, dim=-1)

    def first(self) -> Tensor:
        """Return log-probabilities of the first code, ``(n, n_codes)``."""
        return self._plus(self._steps.first(), np.zeros((1, 0), np.int64))

    def step(self, parents: Tensor, prefix: Tensor) -> Tensor:
        """Return log-probabilities after each prefix, ``(n, width, n_codes)``."""
        return self._plus(self._steps.step(parents, prefix), prefix.flatten(0, 1).numpy())


@torch.no_grad()
def beam_search(
    steps: Steps, n_levels: int, width: int, *, catalog: SidCatalog | None = None
) -> BeamResult:
    """Return the best IDs that a beam of `width` finds.

    Scores are sums of the model's log-probabilities over *all* codes; a trie only forbids. The
    order of equal scores is that of ``torch.topk``, which promises none.

    Parameters
    ----------
    steps : Steps
        A model that has read the histories.
    n_levels : int
    width : int
        At least 1.
    catalog : SidCatalog, optional
        Only its IDs are allowed then; it must have `n_levels` levels.

    Raises
    ------
    ValueError
        If the width is below 1, the catalogue has another number of levels, or a log-probability
        is NaN.
    """
    check.integer("n_levels", n_levels, at_least=1)
    check.integer("width", width, at_least=1)
    if catalog is not None and catalog.n_levels != n_levels:
        raise ValueError(f"the catalogue has {catalog.n_levels} levels, expected {n_levels}")
    log_probs = steps.first().unsqueeze(1)
    batch, _, n_codes = log_probs.shape
    if catalog is not None and catalog.n_codes != n_codes:
        raise ValueError(
            f"the catalogue has {catalog.n_codes} codes a level, the model {n_codes}, "
            "expected as many"
        )
    scores = torch.zeros(batch, 1)
    nodes = np.zeros((batch, 1), np.int64)
    prefix = torch.zeros(batch, 1, 0, dtype=torch.int64)
    parents = torch.zeros(batch, 1, dtype=torch.int64)
    for level in range(n_levels):
        if level:
            log_probs = steps.step(parents, prefix)
        if bool(log_probs.isnan().any() | log_probs.isposinf().any()):
            raise ValueError(f"log-probabilities of level {level + 1} hold NaN or infinity")
        total = scores.unsqueeze(2) + log_probs
        if catalog is not None:
            allowed = torch.from_numpy(catalog.mask(level + 1, nodes.ravel()))
            total = total.masked_fill(~allowed.view_as(total), -torch.inf)
        flat = total.flatten(1)
        scores, at = flat.topk(min(width, flat.shape[1]), dim=1)
        parents, code = at // n_codes, at % n_codes
        kept = prefix.gather(1, parents.unsqueeze(2).expand(-1, -1, level))
        prefix = torch.cat([kept, code.unsqueeze(2)], dim=2)
        if catalog is not None:
            known = np.take_along_axis(nodes, parents.numpy(), axis=1)
            nodes = catalog.step(level + 1, known.ravel(), code.numpy().ravel()).reshape(code.shape)
    return BeamResult(*_padded(prefix, scores, width))


def _padded(
    prefix: Tensor, scores: Tensor, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    missing = width - scores.shape[1]
    if missing > 0:  # fewer IDs in the world than the beam is wide
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
        prefix = torch.nn.functional.pad(prefix, (0, 0, 0, missing))
    return prefix.numpy(), scores.numpy()


def by_length(
    examples: Examples, longest: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield (places of the examples, their histories) with histories of one length at a time.

    Parameters
    ----------
    examples : Examples
    longest : int
        Longer histories keep their last so many items.

    Yields
    ------
    (int64 (n,), int64 (n, length))
    """
    check.integer("longest", longest, at_least=1)
    lengths = np.minimum([len(one) for one in examples.histories], longest)
    groups = ((length, np.flatnonzero(lengths == length)) for length in np.unique(lengths))
    return (
        (places, np.stack([examples.histories[i][-length:] for i in places]))
        for length, places in groups
    )


@torch.no_grad()
def generate(
    model: GenerativeTransformer,
    examples: Examples,
    codes: npt.NDArray[np.int64],
    width: int,
    *,
    catalog: SidCatalog | None = None,
    batch: int = 128,
    steps: Callable[[Steps], Steps] | None = None,
) -> BeamResult:
    """Generate the next item of every example, histories of one length at a time.

    Parameters
    ----------
    model : GenerativeTransformer
        In evaluation mode.
    examples : Examples
    codes : int64 (n_items, n_levels)
    width : int
    catalog : SidCatalog, optional
        See `beam_search`.
    batch : int
        Histories at a time.
    steps : callable, optional
        Wraps the model's steps, such as ``lambda one: MixedSteps(one, counts, weights)``.
    """
    if model.training:
        raise ValueError("the model is in training mode, expected model.eval() before")
    check.integer("width", width, at_least=1)
    check.integer("batch", batch, at_least=1)
    codes = check_codes(codes, model.config.n_codes, n_levels=model.config.n_levels)
    n_levels = model.config.n_levels
    found = np.zeros((len(examples), width, n_levels), np.int64)
    scores = np.full((len(examples), width), -np.inf, np.float32)
    for places, histories in by_length(examples, model.config.max_items - 1):
        for at in range(0, len(places), batch):
            part = places[at : at + batch]
            own: Steps = model.decoding(torch.from_numpy(codes[histories[at : at + batch]]))
            asked = own if steps is None else steps(own)
            result = beam_search(asked, n_levels, width, catalog=catalog)
            found[part], scores[part] = result.codes, result.scores
    return BeamResult(found, scores)
