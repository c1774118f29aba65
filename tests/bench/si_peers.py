"""A peer, run side by side: the TIGER model and trie of ``torch-rechub`` 0.9.0 (MIT licence).

Its way to decode is Hugging Face's beam search with a Python function that walks a dictionary for
every beam of every user at every step. Ours (`lib.semantic_ids.beam`) searches the *same* model
with one table look-up a step. Both give the same lists; the benchmark says how the times compare.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lib.semantic_ids.beam import BeamResult, beam_search
from lib.semantic_ids.catalogue import SidCatalog

__all__ = ["TigerSteps", "our_search", "their_search", "their_trie", "tiger_model"]

Ints = npt.NDArray[np.int64]
_START = 0
"""Token that padding and the start of decoding share, as in T5; codes follow it."""


def tiger_model(
    n_levels: int, n_codes: int, *, d_model: int = 64, n_layers: int = 2, seed: int = 0
) -> Any:
    """Return a small ``TIGERModel`` (T5 encoder-decoder) at random weights.

    Parameters
    ----------
    n_levels, n_codes : int
    d_model : int
        A multiple of 4.
    n_layers : int
        Of the encoder and of the decoder.
    seed : int
        Of the weights.
    """
    from torch_rechub.models.generative import TIGERModel
    from transformers import T5Config

    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=1 + n_levels * n_codes,
        d_model=d_model,
        d_kv=d_model // 4,
        d_ff=4 * d_model,
        num_layers=n_layers,
        num_heads=4,
        dropout_rate=0.0,
        tie_word_embeddings=False,
        pad_token_id=_START,
        eos_token_id=None,
        decoder_start_token_id=_START,
    )
    model = TIGERModel(config).eval()
    # T5 starts with logits of no spread; spread them, so that no two beams are nearly equal.
    with torch.no_grad():
        model.lm_head.weight.normal_(std=1.0)
    return model


def _tokens(codes: Ints, n_codes: int) -> Tensor:
    levels = codes.shape[-1]
    return torch.from_numpy(1 + np.arange(levels) * n_codes + codes)


def their_trie(catalog: SidCatalog) -> Any:
    """Return the IDs of a catalogue as the peer's ``Trie``."""
    from torch_rechub.utils.data import Trie

    leaves = catalog.level(catalog.n_levels).prefixes
    return Trie([[_START, *row] for row in _tokens(leaves, catalog.n_codes).tolist()])


@torch.no_grad()
def their_search(
    model: Any, histories: Ints, catalog: SidCatalog, width: int, *, trie: Any = None
) -> BeamResult:
    """Search with Hugging Face's ``generate`` and the peer's ``Trie``.

    Parameters
    ----------
    model : TIGERModel
        From `tiger_model`.
    histories : int64 (n, items, n_levels)
        Codes.
    catalog : SidCatalog
        Its IDs are allowed.
    width : int
    trie : Trie, optional
        From `their_trie`, so that it is not built again.
    """
    n_levels, n_codes = catalog.n_levels, catalog.n_codes
    trie = trie or their_trie(catalog)
    found = model.generate(
        input_ids=_tokens(histories, n_codes).flatten(1),
        num_beams=width,
        num_return_sequences=width,
        max_new_tokens=n_levels,
        min_new_tokens=n_levels,
        do_sample=False,
        length_penalty=0.0,
        prefix_allowed_tokens_fn=trie.def_prefix_allowed_tokens_fn(trie),
        output_scores=True,
        return_dict_in_generate=True,
    )
    n = len(histories)
    codes = found.sequences[:, 1:].numpy().reshape(n, width, n_levels)
    codes = codes - 1 - np.arange(n_levels) * n_codes
    return BeamResult(codes, found.sequences_scores.numpy().reshape(n, width))


class TigerSteps:
    """The peer's model for our search: the history is encoded, and its keys made, once a user.

    Parameters
    ----------
    model : TIGERModel
        Its weights are used as they are; only the bookkeeping of decoding is ours.
    histories : int64 (n, items, n_levels)
    n_codes : int
    """

    def __init__(self, model: Any, histories: Ints, n_codes: int) -> None:
        self._model, self._n_codes = model, n_codes
        ids = _tokens(histories, n_codes).flatten(1)
        states = model.encoder(input_ids=ids).last_hidden_state
        self._heads = model.config.num_heads
        self._past = []
        for block in model.decoder.block:
            cross = block.layer[1].EncDecAttention
            self._past.append((self._split(cross.k(states)), self._split(cross.v(states))))
        self._own: list[tuple[Tensor, Tensor]] = []
        first = model.decoder.block[0].layer[0].SelfAttention
        longest = histories.shape[2]
        # One table of distances serves all layers of T5.
        self._bias: Tensor = first.compute_bias(longest, longest)[0]

    def _split(self, x: Tensor) -> Tensor:
        """Return ``(n, heads, positions, d_head)``."""
        batch, positions = x.shape[:2]
        return x.view(batch, positions, self._heads, -1).transpose(1, 2)

    def first(self) -> Tensor:
        """Return log-probabilities of the first code, ``(n, n_codes)``."""
        n = len(self._past[0][0])
        return self._decode(torch.full((n, 1), _START), 0)[:, 0]

    def step(self, parents: Tensor, prefix: Tensor) -> Tensor:
        """Return log-probabilities after each prefix, ``(n, width, n_codes)``."""
        level = prefix.shape[2]
        width, size = self._own[0][0].shape[-2:]
        index = parents[:, None, :, None, None].expand(-1, self._heads, -1, width, size)
        self._own = [(key.gather(2, index), value.gather(2, index)) for key, value in self._own]
        return self._decode(1 + (level - 1) * self._n_codes + prefix[:, :, -1], level)

    def _decode(self, tokens: Tensor, level: int) -> Tensor:
        """Run the decoder on one more token of every beam, ``(n, width)``."""
        model = self._model
        hidden = model.decoder.embed_tokens(tokens)
        longer = []
        for layer, block in enumerate(model.decoder.block):
            own = block.layer[0].SelfAttention
            normed = block.layer[0].layer_norm(hidden)
            key, value = (self._split(part(normed)).unsqueeze(3) for part in (own.k, own.v))
            if self._own:
                key = torch.cat([self._own[layer][0], key], dim=3)
                value = torch.cat([self._own[layer][1], value], dim=3)
            longer.append((key, value))
            query = self._split(own.q(normed)).unsqueeze(3)
            # T5 does not divide by the root of the width.
            scores = query @ key.transpose(3, 4)
            scores = scores + self._bias[:, None, level : level + 1, : level + 1]
            mixed = (scores.softmax(-1) @ value).squeeze(3)
            hidden = hidden + own.o(mixed.transpose(1, 2).flatten(2))
            cross = block.layer[1].EncDecAttention
            query = self._split(cross.q(block.layer[1].layer_norm(hidden)))
            past_key, past_value = self._past[layer]
            mixed = (query @ past_key.transpose(2, 3)).softmax(-1) @ past_value
            hidden = hidden + cross.o(mixed.transpose(1, 2).flatten(2))
            hidden = block.layer[2](hidden)
        self._own = longer
        hidden = model.decoder.final_layer_norm(hidden)
        if model.config.tie_word_embeddings:
            hidden = hidden * model.model_dim**-0.5
        logits = cast(Tensor, model.lm_head(hidden))
        low = 1 + level * self._n_codes
        return torch.log_softmax(logits, dim=-1)[..., low : low + self._n_codes]


@torch.no_grad()
def our_search(model: Any, histories: Ints, catalog: SidCatalog, width: int) -> BeamResult:
    """Search the peer's model with our beam and trie; see `their_search`."""
    steps = TigerSteps(model, histories, catalog.n_codes)
    return beam_search(steps, catalog.n_levels, width, catalog=catalog)
