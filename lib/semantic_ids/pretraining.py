"""What may fill the tables before the model that will use them is trained.

The first rung of the paper's ladder (section 3 of arXiv 2606.00324): a classifier predicts the next
code from the memory alone, static transitions without a transformer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from lib.semantic_ids.optim import RowAdam
from lib.semantic_ids.prefixmem import PrefixMem

__all__ = ["pretrain_classifier", "shuffle_next_codes"]

Ints = npt.NDArray[np.int64]


def shuffle_next_codes(codes: Ints, seed: int) -> Ints:
    """Return the codes with every column dealt out anew: a control for `pretrain_classifier`."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.permutation(column) for column in codes.T])


def pretrain_classifier(
    encoder: PrefixMem,
    codes: Ints,
    weights: npt.ArrayLike,
    *,
    targets: Ints | None = None,
    steps: int = 200,
    batch: int = 1024,
    lr: float = 0.03,
    seed: int = 0,
) -> list[float]:
    """Fill the tables by predicting each active level's code from the memory before it.

    Parameters
    ----------
    encoder : PrefixMem
        Its table is changed in place; ``W_out`` is left alone.
    codes : int64 (n_items, n_levels)
    weights : (n_items,)
        How often an item is drawn, such as its count in the *train* interactions; finite,
        nonnegative, not all zero.
    targets : int64 (n_items, n_levels), optional
        What to predict, if not the items' own codes (a control).
    steps, batch : int
    lr : float
        Of the sparse optimiser.
    seed : int

    Returns
    -------
    list of float
        Cross-entropy in nats, a step.

    Raises
    ------
    ValueError
        If the weights are no distribution over the items.
    """
    share = np.asarray(weights, np.float64)
    if share.shape != (len(codes),) or not np.isfinite(share).all() or (share < 0).any():
        raise ValueError(f"weights of shape {share.shape}, expected {len(codes)} finite ones >= 0")
    if not share.sum() > 0:
        raise ValueError("all weights are 0, expected a positive one")
    rng = np.random.default_rng(seed)
    table = torch.from_numpy(codes)
    wanted = table if targets is None else torch.from_numpy(targets)
    places = encoder.positions(encoder.config.n_levels)
    # A fork of torch's generator: pre-training must not change what is drawn after it.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = nn.ModuleList(
            nn.Linear(encoder.config.d_mem, encoder.config.n_codes) for _ in places
        )
    sparse = RowAdam(list(encoder.table.parameters()), lr)
    dense = torch.optim.Adam(heads.parameters(), lr=lr / 3)
    losses = []
    draws = rng.choice(len(codes), size=(steps, batch), p=share / share.sum())
    for step, draw in enumerate(draws):
        rows = torch.from_numpy(draw)
        memory = encoder.memory(table[rows])
        parts = [
            functional.cross_entropy(head(memory[:, i]), wanted[rows, place])
            for i, (head, place) in enumerate(zip(heads, places, strict=True))
        ]
        loss = torch.stack(parts).mean()
        for optimiser, peak in ((sparse, lr), (dense, lr / 3)):
            optimiser.zero_grad()
            optimiser.param_groups[0]["lr"] = peak * (1 - 0.9 * step / steps)
        loss.backward()  # type: ignore[no-untyped-call]
        sparse.step()
        dense.step()
        losses.append(float(loss.detach()))
    return losses
