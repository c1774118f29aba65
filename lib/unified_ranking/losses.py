"""The two losses and their parts: sampled softmax with log Q, and the actions (arXiv 2606.00422).

Equation 1 scores a query against items by λ·q·i − log Q(i), Q from a count-min sketch; Equation 3
averages the sampled softmax over unmasked past positions; Equation 4 is the cross-entropy of the
actions at masked past positions and at candidates; Equation 5 adds the two.

Decided here, for the paper does not say it:

- a position takes part in Equation 3 if *its own* action is not masked, as it is when serving;
  its target is the next item *strictly later in time* that was engaged with (`next_engaged`), for
  what stands in the same second was on the same page. The slate of an example is no target;
- negatives are the targets of the whole batch and items drawn uniformly from the catalogue. Q is
  the expected number of times that an item is among them (`expected_counts`);
- the positive is in every denominator, whatever Q says, so it is not corrected: then the mean of
  the sampled denominator is the full one. ``form="printed"`` corrects it as Equation 1 is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lib.core import check
from lib.unified_ranking.tensors import Ints, mix, tensor

__all__ = [
    "CountMinSketch",
    "Form",
    "JointLoss",
    "action_loss",
    "expected_counts",
    "log_denominator",
    "next_engaged",
    "sampled_softmax",
]

Form = Literal["exact", "printed"]
Floats = npt.NDArray[np.float64]


class CountMinSketch:
    """Counts of a stream of items in a table that does not grow with the catalogue.

    An item is counted once in each row, in a column that a hash chooses; its count is the least of
    these. Others can only add to it, so a count is never too small. With a stream of T it is above
    the truth by more than e/width · T with probability at most exp(−depth) over the hashes
    (Cormode and Muthukrishnan, 2005). With log Q this errs one way too: rare items are corrected
    too much, frequent ones hardly.

    Parameters
    ----------
    width, depth : int
        Columns and rows, at least 1.
    seed : int
        Chooses the hashes.

    Examples
    --------
    >>> sketch = CountMinSketch(1000, 4)
    >>> sketch.add([7, 7, 9])
    >>> sketch.count([7, 9, 8]).tolist(), sketch.total
    ([2, 1, 0], 3)
    """

    def __init__(self, width: int, depth: int, *, seed: int = 0) -> None:
        self.width = check.integer("width", width, at_least=1, at_most=2**31)
        self.depth = check.integer("depth", depth, at_least=1, at_most=64)
        self.seed = check.integer("seed", seed, at_least=0, below=2**32)
        self.total = 0
        self._table = np.zeros((self.depth, self.width), np.int64)

    def _columns(self, items: npt.ArrayLike) -> Ints:
        found = check.integers("items", items, shape=("n",), at_least=0, empty=True)
        rows = [
            mix(found, 64 * self.seed + row) % np.uint64(self.width) for row in range(self.depth)
        ]
        return np.stack(rows).astype(np.int64)

    def add(self, items: npt.ArrayLike) -> None:
        """Count each item once for each time that it stands in ``items``, ``(n,)``."""
        columns = self._columns(items)
        np.add.at(self._table, (np.arange(self.depth)[:, None], columns), 1)
        self.total += columns.shape[1]

    def count(self, items: npt.ArrayLike) -> Ints:
        """Return the counts, int64 ``(n,)``: at least the true ones."""
        columns = self._columns(items)
        return np.asarray(self._table[np.arange(self.depth)[:, None], columns].min(axis=0))

    def share(self, items: npt.ArrayLike) -> Floats:
        """Return the counts over the length of the stream, ``(n,)``.

        Raises
        ------
        ValueError
            If nothing was counted yet.
        """
        if not self.total:
            raise ValueError("the sketch is empty, expected items to be added first")
        return self.count(items) / self.total


def expected_counts(share: npt.ArrayLike, *, n_batch: int, n_random: int, n_items: int) -> Floats:
    """Return how often an item is expected among the negatives.

    Parameters
    ----------
    share : array_like of float, shape (n,)
        Of each item among the targets of the stream, 0 to 1; see `CountMinSketch.share`.
    n_batch, n_random : int
        Negatives that are targets of the batch, and that are drawn uniformly; not both 0.
    n_items : int
        Items in the catalogue.

    Returns
    -------
    float (n,)
        ``n_batch · share + n_random / n_items``; an item that the stream has not shown and that no
        draw reaches counts as shown once in a stream of ``1e9``, so that its logarithm is finite.

    Examples
    --------
    >>> expected_counts([0.5, 0.0], n_batch=4, n_random=2, n_items=4).tolist()
    [2.5, 0.5]
    """
    share = check.shares("share", share, shape=("n",), empty=True)
    n_batch = check.integer("n_batch", n_batch, at_least=0)
    n_random = check.integer("n_random", n_random, at_least=0)
    n_items = check.integer("n_items", n_items, at_least=1)
    if not n_batch + n_random:
        raise ValueError("n_batch and n_random are 0, expected a negative or more")
    return np.maximum(n_batch * share + n_random / n_items, max(1, n_batch) * 1e-9)


def log_denominator(
    positive: Tensor,
    negative: Tensor,
    log_expected: Tensor,
    hit: Tensor,
    *,
    form: Form = "exact",
    log_expected_positive: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the corrected score of the positives and the logarithm of the sampled denominator.

    With ``form="exact"`` the denominator is exp(s₊) + Σ exp(s_j)/E_j over sampled j ≠ +, where E_j
    is how often j is expected in the sample. Its mean over samples is Σ exp(s_j) over the whole
    catalogue, exactly. With ``form="printed"`` exp(s₊) is divided by E₊ as well, which makes the
    mean wrong by exp(s₊)(1/E₊ − 1).

    Parameters
    ----------
    positive : Tensor, shape (m,)
        Scores λ·q·i of the targets.
    negative : Tensor, shape (m, s)
        Scores of the sampled items.
    log_expected : Tensor, shape (s,)
        log E of each sampled item.
    hit : bool Tensor, shape (m, s)
        Where a sampled item is the target itself; it is left out.
    form : {"exact", "printed"}
    log_expected_positive : Tensor, shape (m,), optional
        log E of the targets; needed for the printed form.

    Returns
    -------
    (Tensor, Tensor)
        Each ``(m,)``.

    Examples
    --------
    >>> zero, twice = torch.zeros(1), torch.log(torch.tensor([2.0, 2.0]))
    >>> _, log = log_denominator(zero, torch.zeros(1, 2), twice, torch.zeros(1, 2) > 0)
    >>> round(log.exp().item(), 4)  # 1 + 1/2 + 1/2
    2.0
    """
    m, s = tensor("negative", negative, ("m", "s")).shape
    tensor("positive", positive, (m,))
    tensor("log_expected", log_expected, (s,))
    tensor("hit", hit, (m, s), "truth")
    if check.known("form", form, get_args(Form)) == "printed":
        if log_expected_positive is None:
            raise ValueError("log_expected_positive is None, expected one for the printed form")
        positive = positive - tensor("log_expected_positive", log_expected_positive, (m,))
    corrected = (negative - log_expected).masked_fill(hit, -torch.inf)
    return positive, torch.cat([positive[:, None], corrected], dim=1).logsumexp(1)


def sampled_softmax(
    queries: Tensor,
    targets: Tensor,
    target_items: Tensor,
    negatives: Tensor,
    negative_items: Tensor,
    expected: Tensor,
    *,
    scale: float = 10.0,
    form: Form = "exact",
    expected_targets: Tensor | None = None,
) -> Tensor:
    """Return the mean sampled softmax loss (Equations 1 and 3).

    Parameters
    ----------
    queries, targets : Tensor, shape (m, d)
        Of length 1; m of at least 1.
    target_items : int64 Tensor, shape (m,)
    negatives : Tensor, shape (s, d)
        Sampled items, the same for all queries.
    negative_items : int64 Tensor, shape (s,)
        A sampled item that is a query's target is left out of that query's denominator.
    expected : Tensor, shape (s,)
        How often each is expected in the sample (`expected_counts`); ones for no correction.
    scale : float
        λ, positive.
    form : {"exact", "printed"}
        See `log_denominator`.
    expected_targets : Tensor, shape (m,), optional
        As `expected`, of the targets; needed for the printed form.

    Returns
    -------
    Tensor, shape ()
        Nats.

    Examples
    --------
    >>> eye, items = torch.eye(2), torch.arange(2)
    >>> loss = sampled_softmax(eye, eye, items, eye, items, torch.ones(2), scale=1.0)
    >>> round(loss.item(), 4)  # log(e + 1) - 1
    0.3133
    """
    m, d = tensor("queries", queries, ("m", "d")).shape
    s = tensor("negatives", negatives, ("s", d)).shape[0]
    if not m:
        raise ValueError("queries is empty, expected one or more")
    tensor("targets", targets, (m, d))
    tensor("target_items", target_items, (m,), "whole", at_least=0)
    tensor("negative_items", negative_items, (s,), "whole", at_least=0)
    scale = check.number("scale", scale, above=0)
    positive, denominator = log_denominator(
        scale * (queries * targets).sum(1),
        scale * queries @ negatives.T,
        _log("expected", expected, s, queries.dtype),
        target_items[:, None] == negative_items,
        form=form,
        log_expected_positive=None
        if expected_targets is None
        else _log("expected_targets", expected_targets, m, queries.dtype),
    )
    return (denominator - positive).mean()


def _log(name: str, value: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    tensor(name, value, (length,))
    if bool((value <= 0).any()):
        raise ValueError(f"{name} holds {float(value.min())}, expected numbers above 0")
    return value.log().to(dtype)


def next_engaged(engaged: Tensor, times: Tensor, lengths: Tensor) -> Tensor:
    """Return the target of each position: the next engaged event that is strictly later.

    Parameters
    ----------
    engaged : bool Tensor, shape (batch, n)
        Which events have a positive action.
    times : float64 Tensor, shape (batch, n)
        Seconds, ascending over the events that are there.
    lengths : int64 Tensor, shape (batch,)
        Events that are there, 0 to n.

    Returns
    -------
    int64 Tensor, shape (batch, n + 1)
        Index of the event; −1 where there is none. The first column is the start's, before all.

    Examples
    --------
    >>> engaged, times = torch.tensor([[True, True, False, True]]), torch.tensor([[0.0, 5, 5, 5]])
    >>> next_engaged(engaged, times.double(), torch.tensor([4])).tolist()
    [[0, 1, -1, -1, -1]]
    """
    batch, n = tensor("engaged", engaged, ("batch", "n"), "truth").shape
    tensor("times", times, (batch, n))
    tensor("lengths", lengths, (batch,), "whole", at_least=0, at_most=n)
    place = torch.arange(n, device=engaged.device)
    there = place < lengths[:, None]
    # From the end: the least index from here on that is engaged; n where there is none.
    index = torch.where(engaged & there, place, n)
    index = torch.cat([index, index.new_full((batch, 1), n)], dim=1)
    from_here = index.flip(1).cummin(1).values.flip(1)
    ordered = times.masked_fill(~there, torch.inf).contiguous()
    later = torch.searchsorted(ordered, ordered, right=True)
    later = torch.where(there, later, n)
    first = torch.cat([later.new_zeros(batch, 1), later], dim=1)
    found = from_here.gather(1, first)
    return torch.where(found < n, found, -1)


def action_loss(
    logits: Tensor, labels: Tensor, where: Tensor, weights: Sequence[float] | None = None
) -> Tensor:
    """Return the weighted cross-entropy of the actions (one term of Equation 4).

    Parameters
    ----------
    logits, labels : Tensor, shape (batch, n, C)
        Labels of 0 or 1.
    where : bool Tensor, shape (batch, n)
        The places that count: masked past positions, or candidates that are there.
    weights : sequence of float, optional
        w_c, nonnegative; all 1 by default (the paper's are not given).

    Returns
    -------
    Tensor, shape ()
        Σ_c w_c · mean over the places, in nats; 0 where there is no place.

    Examples
    --------
    >>> zeros, here = torch.zeros(1, 2, 1), torch.tensor([[True, False]])
    >>> round(action_loss(zeros, zeros, here, [2.0]).item(), 4)  # 2 log 2
    1.3863
    """
    batch, n, n_actions = tensor("logits", logits, ("batch", "n", "C")).shape
    tensor("labels", labels, (batch, n, n_actions), at_least=0, at_most=1)
    tensor("where", where, (batch, n), "truth")
    given = [1.0] * n_actions if weights is None else weights
    factor = torch.as_tensor(
        check.array("weights", given, shape=(n_actions,), at_least=0),
        dtype=logits.dtype,
        device=logits.device,
    )
    if not bool(where.any()):
        return logits.sum() * 0
    return (
        functional.binary_cross_entropy_with_logits(
            logits[where], labels[where].to(logits.dtype), reduction="none"
        ).mean(0)
        @ factor
    )


class JointLoss(NamedTuple):
    """Parts of Equation 5, each a Tensor of shape ().

    Attributes
    ----------
    item : Tensor
        L_item.
    past, candidates : Tensor
        Both terms of L_action.
    """

    item: Tensor
    past: Tensor
    candidates: Tensor

    def total(self, *, item: float = 1.0, action: float = 1.0) -> Tensor:
        """Return ``item · L_item + action · L_action``; Equation 5 has ones."""
        item = check.number("item", item, at_least=0)
        action = check.number("action", action, at_least=0)
        return item * self.item + action * (self.past + self.candidates)
