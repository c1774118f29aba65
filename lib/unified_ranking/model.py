"""One transformer for retrieval and ranking, with one cache between them (arXiv 2606.00422).

A history is encoded without knowing any candidate. Its last state gives the query of retrieval; its
keys and values, kept, are all that ranking needs: candidates are decoded on them, each for itself.

Decided here, for the paper does not say it:

- a learned *start* stands before every history. A user without events has a query, and attention
  is never over nothing. What the cache calls a length counts it;
- positions count from the oldest event that is kept, 1 to `max_events`; the start has 0, and all
  candidates share one position of their own, whatever the length. So a candidate's input does not
  depend on the history, and every example trains that position;
- time enters as log(1 + seconds since the event before); for candidates, which share one time,
  since the last event. A cache thus stays right when events are appended to it;
- λ of Equation 1 is a constant, 10 (`ModelConfig.scale`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.core import check
from lib.unified_ranking import attention
from lib.unified_ranking.tensors import tensor, weight_hash

__all__ = ["History", "KVCache", "ModelConfig", "UnifiedRanker", "WrongWeightsError"]


_UNSEALED = itertools.count(1)


class WrongWeightsError(ValueError):
    """A cache was made by a model with other weights; nothing was computed."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a `UnifiedRanker`. The paper gives 12 layers and no width.

    Attributes
    ----------
    d_content : int
        Length of an item's content vector.
    n_actions : int
        Action types, C.
    d_item, d_model : int
        Length of an item's embedding, and width (a multiple of `n_heads`).
    n_layers, n_heads : int
    max_events : int
        Longest history, in events.
    n_surfaces : int
        Kinds of places where items are shown (surfaces, feed views).
    scale : float
        λ of Equation 1.
    """

    d_content: int
    n_actions: int
    d_item: int = 32
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 2
    max_events: int = 64
    n_surfaces: int = 1
    scale: float = 10.0

    def __post_init__(self) -> None:
        names = ("d_content", "n_actions", "d_item", "d_model", "n_layers", "n_heads")
        for name in (*names, "max_events", "n_surfaces"):
            check.integer(name, getattr(self, name), at_least=1)
        if self.d_model % self.n_heads:
            raise ValueError(
                f"d_model is {self.d_model}, expected a multiple of n_heads = {self.n_heads}"
            )
        check.number("scale", self.scale, above=0)

    @property
    def d_head(self) -> int:
        """Width of a head."""
        return self.d_model // self.n_heads


@dataclass(frozen=True, eq=False)
class History:
    """What users did, oldest first, padded behind.

    Attributes
    ----------
    vectors : float Tensor, shape (batch, n, d_item)
        Embeddings of the items (`UnifiedRanker.embed`); n may be 0.
    actions : float Tensor, shape (batch, n, C + 1)
        With the mask class; see `lib.unified_ranking.actions.with_mask`.
    times : float64 Tensor, shape (batch, n)
        Seconds, ascending over the events that are there; ties will do.
    lengths : int64 Tensor, shape (batch,)
        Events that are there, 0 to n.
    surfaces : int64 Tensor, shape (batch, n), optional
        0 by default.
    """

    vectors: Tensor
    actions: Tensor
    times: Tensor
    lengths: Tensor
    surfaces: Tensor | None = None

    def __post_init__(self) -> None:
        batch, n, _ = tensor("vectors", self.vectors, ("batch", "n", "d_item")).shape
        if not batch:
            raise ValueError("vectors hold no history, expected a batch of one or more")
        tensor("actions", self.actions, (batch, n, "C + 1"), at_least=0, at_most=1)
        _seconds(self.times, (batch, n))
        tensor("lengths", self.lengths, (batch,), "whole", at_least=0, at_most=n)
        if self.surfaces is not None:
            tensor("surfaces", self.surfaces, (batch, n), "whole", at_least=0)
        late = (self.times[:, 1:] < self.times[:, :-1]) & self.there[:, 1:]
        if late.any():
            row, place = torch.nonzero(late)[0].tolist()
            raise ValueError(
                f"times[{row}, {place + 1}] is {self.times[row, place + 1]}, expected a time from "
                f"{self.times[row, place]} on (ascending)"
            )

    @property
    def there(self) -> Tensor:
        """Which events are no padding, bool ``(batch, n)``."""
        n = self.vectors.shape[1]
        return torch.arange(n, device=self.lengths.device) < self.lengths[:, None]

    def last_times(self) -> Tensor:
        """Return the time of the last event, float64 ``(batch,)``; 0 without any."""
        if not self.times.shape[1]:
            return self.times.new_zeros(len(self.lengths))
        last = self.times.gather(1, (self.lengths - 1).clamp(min=0)[:, None])[:, 0]
        return torch.where(self.lengths > 0, last, 0.0)


@dataclass(frozen=True, eq=False)
class KVCache:
    """Keys and values of encoded histories: all that ranking needs of them.

    Attributes
    ----------
    keys, values : Tensor, shape (layers, batch, heads, n, d_head)
    lengths : int64 Tensor, shape (batch,)
        Positions that are there, the start included: 1 to n.
    last_times : float64 Tensor, shape (batch,)
        Seconds, of the last event; 0 where there is none.
    weights : str
        Hash of the model that made it (`UnifiedRanker.seal`), or "unsealed" and a number of the
        model in this process.
    """

    keys: Tensor
    values: Tensor
    lengths: Tensor
    last_times: Tensor
    weights: str = ""

    def __post_init__(self) -> None:
        shape = ("layers", "batch", "heads", "n", "d_head")
        _, batch, _, n, _ = tensor("keys", self.keys, shape, finite=False).shape
        tensor("values", self.values, tuple(self.keys.shape), finite=False)
        tensor("lengths", self.lengths, (batch,), "whole", at_least=1, at_most=n)
        tensor("last_times", self.last_times, (batch,))

    def user(self, row: int) -> KVCache:
        """Return one user's cache without padding, a batch of one; nothing is copied."""
        row = check.integer("row", row, at_least=0, below=len(self.lengths))
        end = int(self.lengths[row])
        one = slice(row, row + 1)
        return KVCache(
            self.keys[:, one, :, :end],
            self.values[:, one, :, :end],
            self.lengths[one],
            self.last_times[one],
            self.weights,
        )

    @property
    def n_bytes(self) -> int:
        """Bytes of keys and values."""
        return self.keys.nbytes + self.values.nbytes


def _seconds(times: Tensor, shape: tuple[int | str, ...]) -> None:
    tensor("times", times, shape)
    if times.dtype != torch.float64:
        # Seconds since 1970 in single precision are 128 apart.
        raise ValueError(f"times have type {times.dtype}, expected torch.float64")


class _Layer(nn.Module):
    """Attention and a feed-forward part of four times the width, each after a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value, each ``(batch, heads, places, d_head)``."""
        parts = self.qkv(self.before(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        return query, key, value

    def join(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to, and the feed-forward part."""
        x = x + self.out(attended.transpose(1, 2).flatten(-2))
        return x + cast(Tensor, self.mlp(x))


class UnifiedRanker(nn.Module):
    """The model: items are embedded, a history encoded, a query made, candidates scored.

    Parameters
    ----------
    config : ModelConfig

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> model = UnifiedRanker(ModelConfig(d_content=4, n_actions=2, d_item=8, d_model=16))
    >>> items = model.embed(torch.randn(5, 4))
    >>> past = History(items[None, :3], torch.zeros(1, 3, 3), torch.arange(3.0).double()[None],
    ...                torch.tensor([3]))
    >>> states, cache = model.encode(past)
    >>> model.query(model.last(states, cache)).shape
    torch.Size([1, 8])
    >>> model.rank(cache, items[None], torch.tensor([9.0]).double()).shape
    torch.Size([1, 5, 2])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if not isinstance(config, ModelConfig):
            raise ValueError(f"config is {config!r:.60}, expected a ModelConfig")
        self.config = config
        width, d_item = config.d_model, config.d_item
        self.embedder = nn.Sequential(
            nn.Linear(config.d_content, width), nn.GELU(), nn.Linear(width, d_item)
        )
        self.act = nn.Linear(config.n_actions + 1, d_item, bias=False)
        self.into = nn.Linear(2 * d_item, width)
        self.since = nn.Linear(2, width, bias=False)
        self.places = nn.Embedding(config.max_events + 2, width)  # start, events, candidates
        self.surfaces = nn.Embedding(config.n_surfaces, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(_Layer(width, config.n_heads) for _ in range(config.n_layers))
        self.after = nn.LayerNorm(width)
        self.to_query = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, d_item))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
            for _ in range(config.n_actions)
        )
        self._seal = f"unsealed {next(_UNSEALED)}"
        # What is looked up enters the sum beside an item whose numbers have size 1 (`_inputs`): the
        # action as large as the item, place and surface smaller, so that they do not drown it.
        nn.init.normal_(self.act.weight)
        for table in (self.places, self.surfaces):
            nn.init.normal_(table.weight, std=0.1)
        nn.init.normal_(self.start)

    # ── weights that caches can trust ───────────────────────────────────────────────────────────
    def seal(self) -> str:
        """End training: evaluation mode, no gradients, and the hash that caches carry from now on.

        Training the model again or loading other weights breaks the seal. Who changes a parameter
        by hand must seal again; nothing can notice that for him.

        Returns
        -------
        str
            The sha256 of the weights.
        """
        self.eval().requires_grad_(False)
        self._seal = weight_hash(self)
        return self._seal

    @property
    def sealed(self) -> str:
        """The hash of a sealed model; empty otherwise."""
        return "" if self._seal.startswith("unsealed") else self._seal

    def train(self, mode: bool = True) -> Self:
        """Set the mode as of any module; training breaks the seal and asks for gradients."""
        if mode and self.sealed:
            self._break()
            self.requires_grad_(True)
        return super().train(mode)

    def load_state_dict(self, *arguments: Any, **named: Any) -> Any:
        """Load weights as of any module; this breaks the seal."""
        self._break()
        return super().load_state_dict(*arguments, **named)

    def _break(self) -> None:
        self._seal = f"unsealed {next(_UNSEALED)}"

    # ── parts ───────────────────────────────────────────────────────────────────────────────────
    def embed(self, content: Tensor) -> Tensor:
        """Return embeddings of items, of length 1: one embedder for history, query and candidates.

        Parameters
        ----------
        content : float Tensor, shape (…, d_content)

        Returns
        -------
        Tensor, shape (…, d_item)
        """
        if not isinstance(content, Tensor) or content.ndim < 1:
            raise ValueError(f"content is {content!r:.60}, expected a tensor (…, d_content)")
        tensor("content", content, (*content.shape[:-1], self.config.d_content))
        return functional.normalize(self.embedder(content), dim=-1)

    def encode(self, history: History) -> tuple[Tensor, KVCache]:
        """Encode histories; no candidate is known.

        Parameters
        ----------
        history : History
            At most `max_events` events; 0 for cold users.

        Returns
        -------
        (Tensor, KVCache)
            States ``(batch, n + 1, d_model)``, the start's first; those of padding mean nothing.

        Raises
        ------
        ValueError
            If a history is too long, or its widths are not those of the model.
        """
        x = self._past(history)
        return self._run(x, history.lengths + 1, history.last_times(), None)

    def append(self, cache: KVCache, history: History) -> tuple[Tensor, KVCache]:
        """Encode later events on a cache, as if the whole history had been encoded at once.

        Parameters
        ----------
        cache : KVCache
            Without padding: all users have as many positions.
        history : History
            The later events, without padding, none of them before the cache's last.

        Returns
        -------
        (Tensor, KVCache)
            States of the later events, ``(batch, m, d_model)``, and the longer cache.

        Raises
        ------
        WrongWeightsError
            If the cache is of another model.
        ValueError
            If anything is padded, too long, or earlier than the cache's last event.
        """
        self._owns(cache)
        self._fits(history)
        batch, m = history.vectors.shape[:2]
        past = cache.keys.shape[3]
        if len(cache.lengths) != batch or not m:
            raise ValueError(
                f"history has {batch} users and {m} events, expected {len(cache.lengths)} users "
                "and an event or more"
            )
        if int(cache.lengths.min()) < past or int(history.lengths.min()) < m:
            raise ValueError("cache or history is padded, expected users of one length each")
        if past + m > self.config.max_events + 1:
            raise ValueError(
                f"cache and history have {past - 1 + m} events, expected at most max_events = "
                f"{self.config.max_events}; encode what is to be kept anew"
            )
        self._late(history.times[:, 0], cache.last_times, cache.lengths > 1)
        x = self._events(history, cache)
        return self._run(x, cache.lengths + m, history.last_times(), cache)

    def last(self, states: Tensor, cache: KVCache) -> Tensor:
        """Return the state of each user's last position, ``(batch, d_model)``, of `encode`."""
        tensor("states", states, (len(cache.lengths), cache.keys.shape[3], self.config.d_model))
        rows = torch.arange(len(states), device=states.device)
        return states[rows, cache.lengths - 1]

    def query(self, states: Tensor) -> Tensor:
        """Return the query of retrieval for each state, of length 1.

        Parameters
        ----------
        states : Tensor, shape (…, d_model)

        Returns
        -------
        Tensor, shape (…, d_item)
        """
        return functional.normalize(self.to_query(self._states(states)), dim=-1)

    def score(self, states: Tensor) -> Tensor:
        """Return the logit of each action for each state, ``(…, C)``: a head an action."""
        states = self._states(states)
        return torch.cat([head(states) for head in self.heads], dim=-1)

    def rank(
        self, cache: KVCache, vectors: Tensor, times: Tensor, surfaces: Tensor | None = None
    ) -> Tensor:
        """Score candidates by one decoding step on cached histories.

        Parameters
        ----------
        cache : KVCache
        vectors : Tensor, shape (batch, k, d_item)
            Embeddings of the candidates, k of at least 1.
        times : float64 Tensor, shape (batch,)
            Seconds: when the candidates are shown, not before the last event.
        surfaces : int64 Tensor, shape (batch,), optional
            Where; 0 by default.

        Returns
        -------
        Tensor, shape (batch, k, C)
            Logits. A candidate's own depend on no other candidate.

        Raises
        ------
        WrongWeightsError
            If the cache is of another model.
        ValueError
            If shapes, times or surfaces are not as above.
        """
        self._owns(cache)
        x = self._candidates(cache.lengths, cache.last_times, vectors, times, surfaces)
        bias = attention.padding_bias(cache.lengths, cache.keys.shape[3], cache.keys.dtype)
        for index, layer in enumerate(self._stack()):
            parts = layer.split(x)
            past = cache.keys[index], cache.values[index]
            x = layer.join(x, attention.decode_unchecked(*parts, *past, bias))
        return self.score(self.after(x))

    def joint(
        self, history: History, vectors: Tensor, times: Tensor, surfaces: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run [history ‖ candidates] in one pass under `attention.falcon_mask`.

        What the paper trains and what a ranker without a cache computes; `encode` and `rank` give
        the same with less work.

        Parameters
        ----------
        history : History
        vectors, times, surfaces
            Of the candidates; see `rank`.

        Returns
        -------
        (Tensor, Tensor)
            States of the history, ``(batch, n + 1, d_model)``, and logits, ``(batch, k, C)``.
        """
        past = self._past(history)
        n = past.shape[1]
        lengths = history.lengths + 1
        candidates = self._candidates(lengths, history.last_times(), vectors, times, surfaces)
        x = torch.cat([past, candidates], dim=1)
        mask = attention.falcon_mask(lengths, n, candidates.shape[1])
        for layer in self._stack():
            query, key, value = layer.split(x)
            attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            x = layer.join(x, attended)
        states = self.after(x)
        return states[:, :n], self.score(states[:, n:])

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────
    def _stack(self) -> Sequence[_Layer]:
        return cast(Sequence[_Layer], self.layers)

    def _run(
        self, x: Tensor, lengths: Tensor, last_times: Tensor, past: KVCache | None
    ) -> tuple[Tensor, KVCache]:
        """Run the layers over positions that follow a cache, or stand alone."""
        kept = []
        for index, layer in enumerate(self._stack()):
            query, key, value = layer.split(x)
            if past is not None:
                key = torch.cat([past.keys[index], key], dim=2)
                value = torch.cat([past.values[index], value], dim=2)
            kept.append((key, value))
            # Padding stands behind, so causal attention alone keeps it from being seen.
            x = layer.join(x, attention.causal(query, key, value))
        keys, values = (torch.stack([pair[i] for pair in kept]) for i in (0, 1))
        return self.after(x), KVCache(keys, values, lengths, last_times, self._seal)

    def _past(self, history: History) -> Tensor:
        """Return the inputs of the start and of whole histories, ``(batch, n + 1, d_model)``."""
        self._fits(history)
        batch, n = history.vectors.shape[:2]
        if n > self.config.max_events:
            raise ValueError(
                f"histories have {n} events, expected at most max_events = {self.config.max_events}"
            )
        start = (self.start + self.places.weight[0]).expand(batch, 1, -1)
        return torch.cat([start, self._events(history, None)], dim=1)

    def _events(self, history: History, cache: KVCache | None) -> Tensor:
        """Return the inputs of events; after a cache their places and times go on from it."""
        batch, n = history.vectors.shape[:2]
        before = history.times.roll(1, dims=1)
        known = torch.ones(batch, n, dtype=torch.bool, device=before.device)
        first = 1
        if n:
            if cache is None:
                known[:, 0] = False
            else:
                first = cache.keys.shape[3]
                before[:, 0] = cache.last_times
                known[:, 0] = cache.lengths > 1
        gaps = torch.where(history.there & known, history.times - before, 0.0)
        places = torch.arange(first, first + n, device=gaps.device)
        return self._inputs(
            history.vectors, history.actions, gaps, known, self.places(places), history.surfaces
        )

    def _candidates(
        self,
        lengths: Tensor,
        last_times: Tensor,
        vectors: Tensor,
        times: Tensor,
        surfaces: Tensor | None,
    ) -> Tensor:
        batch = len(lengths)
        k = tensor("vectors", vectors, (batch, "k", self.config.d_item)).shape[1]
        if not k:
            raise ValueError("vectors hold no candidate, expected one or more for each user")
        _seconds(times, (batch,))
        known = lengths > 1
        self._late(times, last_times, known)
        if surfaces is not None:
            tensor("surfaces", surfaces, (batch,), "whole", at_least=0)
            surfaces = surfaces[:, None].expand(batch, k)
        actions = vectors.new_zeros(batch, k, self.config.n_actions + 1)
        actions[..., -1] = 1  # a candidate's actions are always masked
        gaps = torch.where(known, times - last_times, 0.0)[:, None].expand(batch, k)
        place = self.places.weight[self.config.max_events + 1]
        return self._inputs(
            vectors, actions, gaps, known[:, None].expand(batch, k), place, surfaces
        )

    def _inputs(
        self,
        vectors: Tensor,
        actions: Tensor,
        gaps: Tensor,
        known: Tensor,
        places: Tensor,
        surfaces: Tensor | None,
    ) -> Tensor:
        """Join item and action on the feature axis, and add place, surface and time."""
        time = torch.stack([torch.log1p(gaps) / 10, known.to(gaps.dtype)], dim=-1)
        if surfaces is None:
            where = self.surfaces.weight[0]
        else:
            if surfaces.numel() and int(surfaces.max()) >= self.config.n_surfaces:
                raise ValueError(
                    f"surfaces hold {int(surfaces.max())}, expected numbers below n_surfaces = "
                    f"{self.config.n_surfaces}"
                )
            where = self.surfaces(surfaces)
        # A vector of length 1 has numbers of size d^(-1/2).
        scaled = vectors * self.config.d_item**0.5
        item = self.into(torch.cat([scaled, self.act(actions)], dim=-1))
        return cast(Tensor, item + places + where + self.since(time.to(item.dtype)))

    # ── checks ──────────────────────────────────────────────────────────────────────────────────
    def _fits(self, history: History) -> None:
        if not isinstance(history, History):
            raise ValueError(f"history is {history!r:.60}, expected a History")
        wanted = self.config.d_item, self.config.n_actions + 1
        found = history.vectors.shape[2], history.actions.shape[2]
        if found != wanted:
            raise ValueError(
                f"history has items of {found[0]} and actions of {found[1]} numbers, expected "
                f"{wanted[0]}, and {wanted[1]} with the mask class"
            )

    def _states(self, states: Tensor) -> Tensor:
        if not isinstance(states, Tensor) or states.ndim < 1:
            raise ValueError(f"states is {states!r:.60}, expected a tensor (…, d_model)")
        if states.shape[-1] != self.config.d_model:
            raise ValueError(
                f"states have shape {tuple(states.shape)}, expected (…, {self.config.d_model})"
            )
        return states

    def _owns(self, cache: KVCache) -> None:
        if not isinstance(cache, KVCache):
            raise ValueError(f"cache is {cache!r:.60}, expected a KVCache")
        if cache.weights != self._seal:
            raise WrongWeightsError(
                f"the cache is of weights {cache.weights[:12]!r}, expected {self._seal[:12]!r}, "
                "those of this model"
            )
        config = self.config
        found = cache.keys.shape[0], cache.keys.shape[2], cache.keys.shape[4]
        if found != (config.n_layers, config.n_heads, config.d_head):
            raise ValueError(
                f"cache has {found} layers, heads and numbers a head, expected "
                f"{(config.n_layers, config.n_heads, config.d_head)}"
            )

    def _late(self, times: Tensor, last_times: Tensor, known: Tensor) -> None:
        early = known & (times < last_times)
        if early.any():
            row = int(torch.nonzero(early)[0])
            raise ValueError(
                f"times[{row}] is {times[row]}, expected a time from {last_times[row]} on, that of "
                "the last event"
            )
