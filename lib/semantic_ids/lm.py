"""A real language model with Semantic IDs: SmolLM2 cut down, and the encoder attached to it.

The default chapter cannot afford thirty layers on two cores, so it keeps the first few layers and
the words that the catalogue's titles need. That is *truncated pretrained*, not SmolLM2, and is
compared with the same shape from random initialisation. `attach` works for any Hugging Face causal
language model: it goes through ``inputs_embeds`` and touches nothing inside.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.core import check
from lib.llm.weights import checkpoint, quiet
from lib.semantic_ids.datasets import Examples, SidData
from lib.semantic_ids.evaluation import LogProbs

with warnings.catch_warnings():
    # transformers imports it, and it asks for widgets that a page does not need.
    warnings.simplefilter("ignore")
    import tqdm.auto  # noqa: F401

__all__ = [
    "EncodedLM",
    "Vocabulary",
    "attach",
    "load_truncated",
    "next_item",
]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """Words that titles need, and one token for every code of every level.

    Attributes
    ----------
    kept : int64 (n_kept,)
        Numbers of the words in the tokenizer's own vocabulary, ascending.
    titles : tuple of int64 arrays
        The first words of each item's title, numbered as in `kept`.
    n_levels, n_codes : int
    """

    kept: Ints
    titles: tuple[Ints, ...]
    n_levels: int
    n_codes: int
    words: tuple[str, ...] = field(repr=False)

    @property
    def n_text(self) -> int:
        """Words and the mark that ends a title."""
        return len(self.kept) + 1

    @property
    def end(self) -> int:
        """The token that ends a title."""
        return len(self.kept)

    @property
    def size(self) -> int:
        """All tokens."""
        return self.n_text + self.n_levels * self.n_codes

    def sid(self, codes: Ints) -> Ints:
        """Return tokens of codes ``(..., n_levels)``."""
        return self.n_text + np.arange(self.n_levels) * self.n_codes + codes

    @classmethod
    def of(cls, data: SidData, folder: Path, max_words: int) -> Vocabulary:
        """Read the titles of a catalogue with the tokenizer in `folder`.

        Raises
        ------
        ValueError
            If the catalogue has no titles.
        """
        if data.texts is None:
            raise ValueError(f"{data.name} has no titles, expected a catalogue with texts")
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        encoded = tokenizer.encode_batch(list(data.texts), add_special_tokens=False)
        cut = [np.array(one.ids[:max_words], np.int64) for one in encoded]
        kept = np.unique(np.concatenate(cut))
        titles = tuple(np.searchsorted(kept, one).astype(np.int64) for one in cut)
        words = tuple(tokenizer.decode([int(i)]) for i in kept)
        return cls(kept, titles, data.n_levels, data.n_codes, words)


def load_truncated(
    vocabulary: Vocabulary, n_layers: int, *, pretrained: bool = True, seed: int = 0
) -> nn.Module:
    """Return the first layers of SmolLM2 with a trimmed vocabulary, or that shape at random.

    Parameters
    ----------
    vocabulary : Vocabulary
        Its words keep their embeddings; code tokens get random ones of the same spread, the same
        with and without pre-training.
    n_layers : int
        1 to 30.
    pretrained : bool
    seed : int
        Of what is random.

    Returns
    -------
    transformers.LlamaForCausalLM
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    quiet()
    folder = checkpoint()
    whole = LlamaConfig.from_pretrained(folder)
    if not 1 <= n_layers <= whole.num_hidden_layers:
        raise ValueError(f"n_layers is {n_layers}, expected 1 to {whole.num_hidden_layers}")
    config = LlamaConfig.from_pretrained(folder)
    config.num_hidden_layers = n_layers
    config.vocab_size = vocabulary.size
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    torch.manual_seed(seed)
    model = _one_precision(LlamaForCausalLM(config))
    if pretrained:
        _fill_pretrained(model, folder, vocabulary, n_layers)
    return cast(nn.Module, model)


class _Rotary(nn.Module):
    """Rotary positions in the precision of the model."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.base, self.width = config.rope_parameters["rope_theta"], config.head_dim

    def forward(self, states: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        halves = torch.arange(0, self.width, 2, device=states.device, dtype=states.dtype)
        angles = position_ids[..., None] * self.base ** (-halves / self.width)
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()


def _one_precision(model: Any) -> Any:
    """Replace what Hugging Face computes in single precision whatever the model's own is."""
    model.model.rotary_emb = _Rotary(model.config)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if hasattr(child, "variance_epsilon"):
                size = child.weight.shape[0]
                setattr(module, name, nn.RMSNorm(size, eps=child.variance_epsilon))
    return model


def _fill_pretrained(model: Any, folder: Path, vocabulary: Vocabulary, n_layers: int) -> None:
    import safetensors

    own = model.state_dict()
    generator = torch.Generator().manual_seed(7)
    with safetensors.safe_open(folder / "model.safetensors", framework="pt") as file:
        for name in own:
            if name.endswith(("embed_tokens.weight", "lm_head.weight")):
                continue
            own[name] = file.get_tensor(name)
        words = file.get_tensor("model.embed_tokens.weight")[torch.from_numpy(vocabulary.kept)]
    drawn = torch.randn(vocabulary.size - len(words), words.shape[1], generator=generator)
    table = torch.cat([words, drawn * words.std()])
    for name in own:
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            own[name] = table
    model.load_state_dict(own)


# ── the encoder on any causal language model ────────────────────────────────────────────────────
class EncodedLM(nn.Module):
    """A Hugging Face causal language model whose Semantic-ID tokens are encoded; see `attach`."""

    def __init__(self, lm: nn.Module, encoder: nn.Module | None, sid_token_ids: Ints) -> None:
        super().__init__()
        rows = cast(Any, lm).get_input_embeddings().num_embeddings
        shape = ("n_levels", "n_codes")
        ids = check.integers("sid_token_ids", sid_token_ids, shape=shape, at_least=0, below=rows)
        check.unique("sid_token_ids", ids.ravel().tolist())
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
            hidden = hidden.index_put((row, at), added, accumulate=True)
        return hidden

    def forward(self, input_ids: Tensor, **options: Any) -> Any:
        """Run the language model on `embed`'s output; options are those of the model."""
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
            logits = self(tokens).logits[:, -1]
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
        Such as `PrefixMem` with the model's width.
    sid_token_ids : int64 (n_levels, n_codes)
        The token of each code of each level.

    Raises
    ------
    ValueError
        If tokens are not different, or not in the vocabulary.
    """
    return EncodedLM(lm, encoder, sid_token_ids)


@torch.no_grad()
def next_item(
    model: EncodedLM, vocabulary: Vocabulary, data: SidData, examples: Examples, batch: int = 64
) -> LogProbs:
    """Return log-probabilities of the codes of the next item, given the codes of the history.

    Only the codes of the level asked for compete, as in `evaluation.teacher_forced`.

    Returns
    -------
    float32 (n_examples, n_levels, n_codes)
    """
    from lib.semantic_ids.beam import by_length

    levels, n_codes = data.n_levels, data.n_codes
    result = np.empty((len(examples), levels, n_codes), np.float32)
    for places, histories in by_length(examples, 8):
        items = np.column_stack([histories, examples.targets[places]])
        tokens = vocabulary.sid(data.codes[items]).reshape(len(items), -1)
        for at in range(0, len(places), batch):
            part = torch.from_numpy(tokens[at : at + batch]).to(model.device)
            logits = model(part[:, :-1], logits_to_keep=levels).logits
            for level in range(levels):
                low = vocabulary.n_text + level * n_codes
                own = torch.log_softmax(logits[:, level, low : low + n_codes], dim=-1)
                result[places[at : at + batch], level] = own.cpu().numpy()
    return result
