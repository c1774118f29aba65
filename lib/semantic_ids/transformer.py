"""A causal transformer over flat Semantic-ID tokens, and how it generates.

The generative model reads a history of items as ``L`` tokens each and predicts the next code at
every position, as TIGER (arXiv 2305.05065) does with an encoder-decoder. It takes an optional
encoder (`lib.semantic_ids.prefixmem`) whose output is added to the token embeddings before the
first layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.core import check
from lib.semantic_ids.catalogue import check_sizes
from lib.semantic_ids.prefixmem import check_codes

__all__ = [
    "CausalTransformer",
    "Decoding",
    "GenerativeTransformer",
    "TransformerConfig",
]

KeyValue = tuple[Tensor, Tensor]


class _Block(nn.Module):
    """One pre-norm layer: causal attention and a feed-forward part of four times the width."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.norm_mlp = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)
        self.drop = nn.Dropout(dropout)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value, each ``(batch, heads, positions, d_head)``."""
        batch, length = x.shape[:2]
        packed = self.qkv(self.norm_attention(x)).view(batch, length, 3, self.n_heads, -1)
        query, key, value = packed.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to, then the feed-forward part."""
        x = x + self.drop(self.out(attended.transpose(1, 2).flatten(2)))
        result: Tensor = x + self.drop(self.down(functional.gelu(self.up(self.norm_mlp(x)))))
        return result

    def forward(self, x: Tensor) -> tuple[Tensor, KeyValue]:
        query, key, value = self.project(x)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.finish(x, attended), (key, value)


class CausalTransformer(nn.Module):
    """Pre-norm causal transformer over embeddings; it knows nothing of tokens.

    Parameters
    ----------
    d_model, n_layers, n_heads : int
        Width (a multiple of the heads), depth and heads.
    dropout : float
        Share of residual activations dropped in training, in ``[0, 1)``.
    """

    def __init__(self, d_model: int, n_layers: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_sizes(d_model=d_model, n_layers=n_layers, n_heads=n_heads)
        check.number("dropout", dropout, at_least=0, below=1)
        if d_model % n_heads:
            raise ValueError(f"d_model is {d_model}, expected a multiple of n_heads = {n_heads}")
        self.blocks = nn.ModuleList(_Block(d_model, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                # By width and not GPT-2's 0.02, which is five times too small for so narrow a model
                # and delays learning. Residual branches shrink with depth: the sum keeps its scale.
                std = parameter.shape[1] ** -0.5
                last = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=std / (2 * n_layers) ** 0.5 if last else std)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, positions, d_model)`` to the same shape; position t sees 0..t."""
        return self.prefill(x)[0]

    def prefill(self, x: Tensor) -> tuple[Tensor, list[KeyValue]]:
        """Run `forward` and keep each layer's keys and values."""
        cache = []
        for block in self.blocks:
            x, pair = cast(_Block, block)(x)
            cache.append(pair)
        return self.norm(x), cache

    def extend(
        self, x: Tensor, shared: list[KeyValue], own: list[KeyValue]
    ) -> tuple[Tensor, list[KeyValue]]:
        """Run one more position of many continuations of the same prefix.

        Parameters
        ----------
        x : Tensor, shape (batch, width, d_model)
            The new position of every continuation.
        shared : list of (Tensor, Tensor)
            Keys and values of the prefix from `prefill`, never copied per continuation.
        own : list of (Tensor, Tensor)
            Keys and values ``(batch, heads, width, steps, d_head)`` of the continuations so far;
            an empty list at the first step.

        Returns
        -------
        (Tensor, list)
            Hidden states ``(batch, width, d_model)`` and the longer `own`.
        """
        longer = []
        for layer, module in enumerate(self.blocks):
            block = cast(_Block, module)
            query, key, value = block.project(x)
            key, value = key.unsqueeze(3), value.unsqueeze(3)
            if own:
                key = torch.cat([own[layer][0], key], dim=3)
                value = torch.cat([own[layer][1], value], dim=3)
            longer.append((key, value))
            past_key, past_value = shared[layer]
            scale = float(query.shape[-1]) ** -0.5
            to_past = query @ past_key.transpose(2, 3)
            to_own = (query.unsqueeze(3) @ key.transpose(3, 4)).squeeze(3)
            weight = torch.softmax(torch.cat([to_past, to_own], dim=-1) * scale, dim=-1)
            n_past = past_key.shape[2]
            attended = weight[..., :n_past] @ past_value
            attended = attended + (weight[..., n_past:].unsqueeze(3) @ value).squeeze(3)
            x = block.finish(x, attended)
        return self.norm(x), longer


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of a `GenerativeTransformer`.

    Attributes
    ----------
    n_levels, n_codes : int
        Codes of an item and values of a code.
    max_items : int
        Longest history, in items, target included.
    d_model, n_layers, n_heads : int
    dropout : float
    """

    n_levels: int = 4
    n_codes: int = 256
    max_items: int = 9
    d_model: int = 96
    n_layers: int = 2
    n_heads: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("n_levels", "n_codes", "max_items", "d_model", "n_layers", "n_heads"):
            check_sizes(**{name: getattr(self, name)})
        check.number("dropout", self.dropout, at_least=0, below=1)


class GenerativeTransformer(nn.Module):
    """Causal transformer over flat Semantic-ID tokens, with an optional encoder.

    Token ``c_l`` of an item has one embedding row for its level and value, plus one for its place
    in the history; every level has its own output layer over the codes of that level.

    Parameters
    ----------
    config : TransformerConfig
    encoder : module, optional
        Called with codes and embeddings; its output is added to the embeddings. It sees one item
        at a time, so it can carry nothing from one item to the next.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> model = GenerativeTransformer(TransformerConfig(n_levels=3, n_codes=8, d_model=16))
    >>> [tuple(x.shape) for x in model(torch.zeros(2, 5, 3, dtype=torch.long))]
    [(2, 4, 8), (2, 5, 8), (2, 5, 8)]
    """

    def __init__(self, config: TransformerConfig, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.n_levels * config.n_codes, config.d_model)
        self.places = nn.Embedding(config.max_items, config.d_model)
        self.body = CausalTransformer(
            config.d_model, config.n_layers, config.n_heads, config.dropout
        )
        self.heads = nn.ModuleList(
            nn.Linear(config.d_model, config.n_codes) for _ in range(config.n_levels)
        )
        self.drop = nn.Dropout(config.dropout)
        self.register_buffer(
            "offsets", torch.arange(config.n_levels) * config.n_codes, persistent=False
        )
        nn.init.normal_(self.tokens.weight)
        nn.init.normal_(self.places.weight)
        for head in self.heads:
            nn.init.normal_(cast(nn.Linear, head).weight, std=config.d_model**-0.5)
        # Last, so that a seed gives the dense part the same weights with and without an encoder.
        self.encoder = encoder

    def _check(self, codes: Tensor) -> None:
        check_codes(codes, self.config.n_codes, self.config.n_levels)
        if codes.ndim != 3 or codes.shape[2] != self.config.n_levels:
            wanted = f"(batch, items, {self.config.n_levels})"
            raise ValueError(f"codes have shape {tuple(codes.shape)}, expected {wanted}")
        if not 1 <= codes.shape[1] <= self.config.max_items:
            raise ValueError(
                f"histories have {codes.shape[1]} items, expected 1 to {self.config.max_items}"
            )

    def _embed(self, codes: Tensor, place: int | None = None) -> Tensor:
        """Embed items ``(..., items, l)``, or items that all stand at one `place`."""
        n_levels = codes.shape[-1]
        hidden: Tensor = self.tokens(codes + cast(Tensor, self.offsets)[:n_levels])
        if self.encoder is not None:
            hidden = hidden + self.encoder(codes, hidden)
        if place is None:
            where = self.places.weight[: codes.shape[-2], None]
        else:
            where = self.places.weight[place]
        return cast(Tensor, self.drop(hidden + where))

    def hidden(self, codes: Tensor) -> Tensor:
        """Return the last hidden states, ``(batch, items, n_levels, d_model)``."""
        self._check(codes)
        batch, items, levels = codes.shape
        states = self.body(self._embed(codes).flatten(1, 2))
        return cast(Tensor, states.view(batch, items, levels, -1))

    def forward(self, codes: Tensor) -> list[Tensor]:
        """Predict every code of a batch of histories from what stands before it.

        Parameters
        ----------
        codes : Tensor of int64, shape (batch, items, n_levels)

        Returns
        -------
        list of Tensor
            For each level the logits of ``codes[:, :, level]``, ``(batch, items, n_codes)``; for
            the first level ``(batch, items - 1, n_codes)``, for the first item has no history.

        Raises
        ------
        ValueError
            If codes are out of range, of a wrong shape, or histories are empty or too long.
        """
        *inside, last = self.hidden(codes).unbind(2)
        # A level is predicted from the position before it, the first from the item before it.
        before = [last[:, :-1], *inside]
        return [head(states) for head, states in zip(self.heads, before, strict=True)]

    def target_logits(self, codes: Tensor) -> Tensor:
        """Return the logits of the last item of each history, teacher-forced.

        Returns
        -------
        Tensor, shape (batch, n_levels, n_codes)
        """
        if codes.ndim == 3 and codes.shape[1] < 2:
            raise ValueError(f"histories have {codes.shape[1]} items, expected at least 2")
        states = self.hidden(codes)
        last = torch.cat([states[:, -2, -1:], states[:, -1, :-1]], dim=1)
        return torch.stack([head(last[:, i]) for i, head in enumerate(self.heads)], dim=1)

    def decoding(self, history: Tensor) -> Decoding:
        """Start to generate the item after each history; see `lib.semantic_ids.beam`."""
        return Decoding(self, history)


class Decoding:
    """Generation of one item after each history, a code at a time.

    Parameters
    ----------
    model : GenerativeTransformer
    history : Tensor of int64, shape (batch, items, n_levels)
    """

    def __init__(self, model: GenerativeTransformer, history: Tensor) -> None:
        model._check(history)
        if history.shape[1] >= model.config.max_items:
            raise ValueError(
                f"histories have {history.shape[1]} items, expected fewer than "
                f"{model.config.max_items} so that one more has a place"
            )
        self._model = model
        self._place = history.shape[1]
        states, self._shared = model.body.prefill(model._embed(history).flatten(1, 2))
        self._last = states[:, -1]
        self._own: list[KeyValue] = []

    def first(self) -> Tensor:
        """Return the log-probabilities of the first code, ``(batch, n_codes)``."""
        return torch.log_softmax(self._model.heads[0](self._last), dim=-1)

    def step(self, parents: Tensor, prefix: Tensor) -> Tensor:
        """Return the log-probabilities of the code after each prefix.

        Parameters
        ----------
        parents : Tensor of int64, shape (batch, width)
            Which continuation of the step before each prefix extends; not read at the first step.
        prefix : Tensor of int64, shape (batch, width, l)
            The codes so far, the newest last.

        Returns
        -------
        Tensor, shape (batch, width, n_codes)
        """
        model, level = self._model, prefix.shape[2]
        embedded = model._embed(prefix, self._place)[:, :, -1]
        if self._own:
            heads, _, steps, width = self._own[0][0].shape[1:]
            index = parents[:, None, :, None, None].expand(-1, heads, -1, steps, width)
            self._own = [(key.gather(2, index), value.gather(2, index)) for key, value in self._own]
        states, self._own = model.body.extend(embedded, self._shared, self._own)
        return torch.log_softmax(model.heads[level](states), dim=-1)
