"""Attention of many candidates to one history (M-FALCON), and its two halves put together again.

A sequence is [history 1..n ‖ candidates 1..k]. The history is causal; a candidate sees the whole
history and itself, and no other candidate. So its output can be computed later, from the history's
keys and values alone: attention over two disjoint sets of keys is the mean of both parts, weighted
by their exponentiated log-sum-exps (`merge`). `decode` does this for a history and one own key.

The fused kernel that also returns the log-sum-exp is internal to PyTorch (of the CPU, without
gradients). Where it cannot be had, the same is computed step by step; a test compares the two.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from lib.core import check
from lib.unified_ranking.tensors import tensor

__all__ = ["attend_history", "decode", "falcon_mask", "merge"]


def falcon_mask(lengths: Tensor, n: int, k: int) -> Tensor:
    """Return which position may attend to which.

    Parameters
    ----------
    lengths : int64 Tensor, shape (batch,)
        Positions of each history that are there, 1 to n; those after them are padding.
    n, k : int
        Positions of the longest history, and candidates.

    Returns
    -------
    bool Tensor, shape (batch, 1, n + k, n + k)
        Row attends to column. Padding attends to itself too, so that no row is empty; nothing else
        sees it.

    Examples
    --------
    >>> falcon_mask(torch.tensor([2]), 2, 2)[0, 0].int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]
    """
    n = check.integer("n", n, at_least=1)
    k = check.integer("k", k, at_least=0)
    tensor("lengths", lengths, ("batch",), "whole", at_least=1, at_most=n)
    place = torch.arange(n + k, device=lengths.device)
    there = (place < lengths[:, None])[:, None]  # (batch, 1, columns): history that is no padding
    earlier = place[None, :] <= place[:, None]
    # A candidate stands after every event, so "earlier and there" is the whole history for it.
    allowed = (earlier & there) | torch.eye(n + k, dtype=torch.bool, device=lengths.device)
    return allowed.unsqueeze(1)


def attend_history(
    query: Tensor, keys: Tensor, values: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attend to a history, and say with what weight in all.

    Parameters
    ----------
    query : Tensor, shape (batch, heads, k, d_head)
    keys, values : Tensor, shape (batch, heads, n, d_head)
    lengths : int64 Tensor, shape (batch,), optional
        Positions that are there, at least 1; all of them by default.

    Returns
    -------
    (Tensor, Tensor)
        What was attended to, ``(batch, heads, k, d_head)``, and the logarithm of the sum of the
        exponentiated scores, ``(batch, heads, k)``.

    Examples
    --------
    >>> one = torch.zeros(1, 1, 3, 2)
    >>> out, weight = attend_history(one[:, :, :1], one, one + 5)
    >>> out.tolist(), round(weight.item(), 4)  # three scores of 0: log 3
    ([[[[5.0, 5.0]]]], 1.0986)
    """
    batch, heads, _, width = _heads("query", query)
    n = _heads("keys", keys)[2]
    tensor("keys", keys, (batch, heads, n, width))
    tensor("values", values, (batch, heads, n, width))
    return _attend(query, keys, values, _bias(keys, lengths))


def _bias(keys: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Return what is added to scores, −∞ at padding, ``(batch, 1, 1, n)``; None without padding."""
    if lengths is None:
        return None
    batch, n = keys.shape[0], keys.shape[2]
    tensor("lengths", lengths, (batch,), "whole", at_least=1, at_most=n)
    return padding_bias(lengths, n, keys.dtype)


def padding_bias(lengths: Tensor, n: int, dtype: torch.dtype) -> Tensor | None:
    """Return what is added to scores, −∞ at padding, ``(batch, 1, 1, n)``; None without padding."""
    if int(lengths.min()) == n:
        return None
    there = torch.arange(n, device=lengths.device) < lengths[:, None]
    bias = torch.zeros(there.shape, dtype=dtype, device=lengths.device)
    return bias.masked_fill(~there, -torch.inf)[:, None, None]


def _attend(
    query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    gradients = torch.is_grad_enabled() and any(one.requires_grad for one in (query, keys, values))
    fused = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if fused is not None and query.device.type == "cpu" and not gradients:
        out, weight = fused(query, keys, values, attn_mask=bias)
        return cast(Tensor, out), cast(Tensor, weight).to(query.dtype)
    return _stepwise(query, keys, values, bias)


def _stepwise(
    query: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    scores = query @ keys.mT * query.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    weight = scores.logsumexp(-1)
    return (scores - weight.unsqueeze(-1)).exp() @ values, weight


def merge(out: Tensor, weight: Tensor, other: Tensor, other_weight: Tensor) -> Tensor:
    """Join attention over two disjoint sets of keys.

    With s the difference of the log-sum-exps, the other part gets the share σ(s), for
    exp(b)/(exp(a) + exp(b)) = σ(b − a).

    Parameters
    ----------
    out, other : Tensor, shape (…, d)
        Attention over each set by itself.
    weight, other_weight : Tensor, shape (…)
        Their log-sum-exps. A set of one key has its score, and its value as `other`.

    Returns
    -------
    Tensor, shape (…, d)

    Examples
    --------
    >>> score = torch.log(torch.tensor(3.0))
    >>> round(merge(torch.zeros(1), torch.tensor(0.0), torch.ones(1), score).item(), 4)
    0.75
    """
    if not isinstance(out, Tensor) or out.ndim < 1:
        raise ValueError(f"out is {out!r:.60}, expected a tensor of shape (…, d)")
    tensor("out", out, tuple(out.shape))
    tensor("weight", weight, tuple(out.shape[:-1]))
    tensor("other", other, tuple(out.shape))
    tensor("other_weight", other_weight, tuple(out.shape[:-1]))
    return _merge(out, weight, other, other_weight)


def _merge(out: Tensor, weight: Tensor, other: Tensor, other_weight: Tensor) -> Tensor:
    share = torch.sigmoid(other_weight - weight).unsqueeze(-1)
    return (1 - share) * out + share * other


def decode(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_keys: Tensor,
    past_values: Tensor,
    lengths: Tensor | None = None,
) -> Tensor:
    """Attend from each candidate to the cached history and to itself.

    Equals the candidates' rows of attention under `falcon_mask`.

    Parameters
    ----------
    query, key, value : Tensor, shape (batch, heads, k, d_head)
        Of the candidates.
    past_keys, past_values : Tensor, shape (batch, heads, n, d_head)
        Of the history.
    lengths : int64 Tensor, shape (batch,), optional
        See `attend_history`.

    Returns
    -------
    Tensor, shape (batch, heads, k, d_head)

    Examples
    --------
    >>> one = torch.zeros(1, 1, 1, 2)
    >>> decode(one, one, one + 2, one, one).tolist()  # equal scores: half each
    [[[[1.0, 1.0]]]]
    """
    _heads("query", query)
    tensor("key", key, tuple(query.shape))
    tensor("value", value, tuple(query.shape))
    return decode_unchecked(query, key, value, past_keys, past_values, _bias(past_keys, lengths))


def decode_unchecked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    past_keys: Tensor,
    past_values: Tensor,
    bias: Tensor | None,
) -> Tensor:
    """Run `decode` on what the model itself has made: every layer would check it anew."""
    out, weight = _attend(query, past_keys, past_values, bias)
    own = (query * key).sum(-1) * query.shape[-1] ** -0.5
    return _merge(out, weight, value, own)


def causal(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend from the last m of n positions to all up to each of them; m = n is a prefill."""
    m, n = query.shape[2], keys.shape[2]
    if m == n:
        return functional.scaled_dot_product_attention(query, keys, values, is_causal=True)
    place = torch.arange(n, device=query.device)
    allowed = place <= place[n - m :, None]
    return functional.scaled_dot_product_attention(query, keys, values, attn_mask=allowed)


def _heads(name: str, value: Tensor) -> tuple[int, int, int, int]:
    batch, heads, places, width = tensor(name, value, ("batch", "heads", "places", "d")).shape
    if not places:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected a position or more")
    return batch, heads, places, width
