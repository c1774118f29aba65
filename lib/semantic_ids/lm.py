"""The encoder on any Hugging Face causal language model.

`attach` goes through ``inputs_embeds`` and touches nothing inside. Whole sequences only: a cache of
keys and values hides the codes before the last token, and is refused.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.core import check
from lib.semantic_ids.prefixmem import PrefixMem

__all__ = ["EncodedLM", "attach"]

Ints = npt.NDArray[np.int64]


class EncodedLM(nn.Module):
    """A Hugging Face causal language model whose Semantic-ID tokens are encoded; see `attach`."""

    def __init__(self, lm: nn.Module, encoder: nn.Module | None, sid_token_ids: Ints) -> None:
        super().__init__()
        inputs = cast(Any, lm).get_input_embeddings()
        rows = inputs.num_embeddings
        shape = ("n_levels", "n_codes")
        ids = check.integers("sid_token_ids", sid_token_ids, shape=shape, at_least=0, below=rows)
        check.unique("sid_token_ids", ids.ravel().tolist())
        if isinstance(encoder, PrefixMem):
            wanted = (*ids.shape, inputs.embedding_dim)
            config = encoder.config
            found = (config.n_levels, config.n_codes, config.d_model)
            if found != wanted:
                raise ValueError(
                    f"encoder has n_levels, n_codes, d_model {found}, expected {wanted} as the "
                    "tokens and the model have"
                )
        self.lm = lm
        level, code = torch.zeros(rows, dtype=torch.int64), torch.zeros(rows, dtype=torch.int64)
        level[torch.from_numpy(ids)] = torch.arange(1, len(ids) + 1)[:, None].expand(ids.shape)
        code[torch.from_numpy(ids)] = torch.arange(ids.shape[1]).expand(ids.shape)
        self.register_buffer("level", level, persistent=False)
        self.register_buffer("code", code, persistent=False)
        self.n_levels = len(ids)
        self.encoder = encoder

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return cast(Tensor, self.level).device

    def embed(self, input_ids: Tensor) -> Tensor:
        """Return the embeddings of tokens ``(batch, positions)`` with what the encoder adds.

        A token of level l counts as the end of a prefix if the l - 1 tokens before it are of levels
        1 to l - 1 in order; otherwise nothing is added, for there is no prefix to encode.
        """
        hidden: Tensor = cast(Any, self.lm).get_input_embeddings()(input_ids)
        if self.encoder is None:
            return hidden
        level, code = cast(Tensor, self.level)[input_ids], cast(Tensor, self.code)[input_ids]
        whole = level == 1
        for depth in range(1, self.n_levels + 1):
            if depth > 1:
                after = functional.pad(whole[:, :-1], (1, 0))
                whole = after & (level == depth)
            row, at = whole.nonzero(as_tuple=True)
            if len(row) == 0:
                continue
            span = at[:, None] + torch.arange(1 - depth, 1, device=at.device)
            prefix = code[row[:, None], span]
            added = self.encoder(prefix, hidden[row[:, None], span])[:, -1]
            # The encoder keeps its own precision; a model in bfloat16, or autocast, has another.
            hidden = hidden.index_put((row, at), added.to(hidden.dtype), accumulate=True)
        return hidden

    def forward(self, input_ids: Tensor, **options: Any) -> Any:
        """Run the language model on `embed`'s output; options are those of the model.

        Raises
        ------
        ValueError
            If there are ``past_key_values``: the codes in the cache are not seen here, and the
            memory would be lost without a word.
        """
        if self.encoder is not None and options.get("past_key_values") is not None:
            raise ValueError(
                "past_key_values are given, expected none: the encoder has to see all codes of an "
                "item, so hand over whole sequences"
            )
        return self.lm(inputs_embeds=self.embed(input_ids), **options)

    @torch.no_grad()
    def complete(self, prompt: Tensor, n_new: int, *, allowed: int | None = None) -> Tensor:
        """Continue prompts greedily.

        Parameters
        ----------
        prompt : Tensor of int64, shape (batch, positions)
            Without padding.
        n_new : int
            Tokens to add.
        allowed : int, optional
            Only tokens below this number may be added, such as words.

        Returns
        -------
        Tensor of int64, shape (batch, n_new)
        """
        tokens = prompt
        for _ in range(n_new):
            logits = self(tokens, logits_to_keep=1).logits[:, -1]
            best = logits[:, :allowed].argmax(-1, keepdim=True)
            tokens = torch.cat([tokens, best], dim=1)
        return tokens[:, prompt.shape[1] :]


def attach(lm: nn.Module, encoder: nn.Module | None, sid_token_ids: Ints) -> EncodedLM:
    """Attach an encoder to any Hugging Face causal language model.

    Parameters
    ----------
    lm : transformers.PreTrainedModel
        Its vocabulary must already have the code tokens.
    encoder : module or None
        Such as `PrefixMem` with the model's width; its precision may be another.
    sid_token_ids : int64 (n_levels, n_codes)
        The token of each code of each level.

    Raises
    ------
    ValueError
        If tokens are not different, or not in the vocabulary, or the encoder was made for other
        levels, codes or another width.
    """
    return EncodedLM(lm, encoder, sid_token_ids)
