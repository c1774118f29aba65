"""Hit@k and AUC within slates, and recall among all items; ties count as a random order does.

The paper reports Hit@3 of the save head within a slate, and Recall@10 (arXiv 2606.00422, offline
metrics). A slate in which nothing, or everything, was saved has no order to be got right: it gives
NaN, so that whoever takes a mean has to say how many were left out. A model that scores all items
alike gets what chance gets.
"""

from __future__ import annotations

from math import comb

import numpy as np
import numpy.typing as npt

from lib.core import check
from lib.unified_ranking.tensors import Ints, flags

__all__ = ["hit_at", "recall_at", "slate_auc"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def _slates(
    scores: npt.ArrayLike, labels: npt.ArrayLike, shown: npt.ArrayLike | None
) -> tuple[Floats, Bools, Bools]:
    """Return scores, labels and what is there, each ``(n, k)``; one-class slates are all absent."""
    found = check.array("scores", scores, shape=("n", "k"))
    label = flags("labels", labels, found.shape) > 0
    there = np.ones(found.shape) if shown is None else flags("shown", shown, found.shape)
    present = there > 0
    up, total = (label & present).sum(1), present.sum(1)
    present = present & ((up > 0) & (up < total))[:, None]
    return found, label & present, present


def hit_at(
    scores: npt.ArrayLike, labels: npt.ArrayLike, shown: npt.ArrayLike | None = None, *, at: int = 3
) -> Floats:
    """Return for each slate whether a positive item is among the best.

    Parameters
    ----------
    scores : array_like of float, shape (n, k)
    labels : array_like of 0 and 1 or truth values, shape (n, k)
    shown : array_like of 0 and 1 or truth values, shape (n, k), optional
        Which items are no padding; all by default.
    at : int
        How many are the best, at least 1.

    Returns
    -------
    float (n,)
        1 or 0; between them where equal scores leave it to chance; NaN for slates of one class.

    Examples
    --------
    >>> hit_at([[3, 2, 1], [1, 1, 1], [1, 1, 1]], [[0, 1, 0], [0, 1, 0], [1, 1, 1]], at=1)
    array([0.        , 0.33333333,        nan])
    """
    found, up, there = _slates(scores, labels, shown)
    at = check.integer("at", at, at_least=1)
    hits = np.full(len(found), np.nan)
    for row in np.flatnonzero(there.any(axis=1)):
        score, good = found[row, there[row]], up[row, there[row]]
        cut = np.sort(score)[::-1][min(at, len(score)) - 1]
        above, level = score > cut, score == cut
        if good[above].any():
            hits[row] = 1
        else:
            # Of the equals at the cut, some are taken at random: all of them bad, or a hit.
            size, bad = int(level.sum()), int((level & ~good).sum())
            taken = min(at, len(score)) - int(above.sum())
            hits[row] = 1 - comb(bad, taken) / comb(size, taken)
    return hits


def slate_auc(
    scores: npt.ArrayLike, labels: npt.ArrayLike, shown: npt.ArrayLike | None = None
) -> Floats:
    """Return for each slate the share of pairs of a positive and another item in the right order.

    Parameters
    ----------
    scores, labels, shown
        See `hit_at`.

    Returns
    -------
    float (n,)
        Equal scores count half; NaN for slates of one class. The mean of the rest is GAUC.

    Examples
    --------
    >>> slate_auc([[3, 2, 2]], [[0, 1, 0]])
    array([0.25])
    """
    found, up, there = _slates(scores, labels, shown)
    right = np.sign(found[:, :, None] - found[:, None]) / 2 + 0.5
    pairs = up[:, :, None] & (there & ~up)[:, None]
    count = pairs.sum((1, 2))
    with np.errstate(invalid="ignore"):
        return np.asarray((right * pairs).sum((1, 2)) / np.where(count, count, np.nan))


def recall_at(
    scores: npt.ArrayLike, targets: npt.ArrayLike, exclude: npt.ArrayLike, *, at: int = 10
) -> Floats:
    """Return for each query whether its target is among the best items.

    Parameters
    ----------
    scores : array_like of float, shape (n, n_items)
    targets : int array_like, shape (n,)
    exclude : array_like of 0 and 1 or truth values, shape (n, n_items)
        Items that are no candidates, such as those of the past; never the target. The same for
        every model that is compared.
    at : int
        How many are the best, at least 1.

    Returns
    -------
    float (n,)
        1 or 0; between them where equal scores leave it to chance.

    Examples
    --------
    >>> recall_at([[9, 5, 5, 1]], [1], [[1, 0, 0, 0]], at=1)
    array([0.5])
    """
    found = check.array("scores", scores, shape=("n", "n_items"))
    items: Ints = check.integers(
        "targets", targets, shape=(len(found),), at_least=0, below=found.shape[1]
    )
    out = flags("exclude", exclude, found.shape) > 0
    at = check.integer("at", at, at_least=1)
    rows = np.arange(len(found))
    if out[rows, items].any():
        row = int(np.argmax(out[rows, items]))
        raise ValueError(f"exclude holds the target of row {row}, expected it among the candidates")
    own = found[rows, items][:, None]
    above, level = (found > own) & ~out, (found == own) & ~out
    return np.asarray(np.clip((at - above.sum(1)) / level.sum(1), 0, 1))
