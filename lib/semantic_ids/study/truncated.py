"""SmolLM2 cut down: its first layers, and the words that a catalogue's titles need.

The default chapter cannot afford thirty layers on two cores. This is *truncated pretrained*, not
SmolLM2.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lib.core import check
from lib.llm.weights import checkpoint, quiet
from lib.semantic_ids.beam import by_length
from lib.semantic_ids.datasets import Examples, SidData
from lib.semantic_ids.evaluation import LogProbs
from lib.semantic_ids.lm import EncodedLM

with warnings.catch_warnings():
    # transformers imports it, and it asks for widgets that a page does not need.
    warnings.simplefilter("ignore")
    import tqdm.auto  # noqa: F401

__all__ = ["Vocabulary", "load_truncated", "next_item"]

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


def load_truncated(vocabulary: Vocabulary, n_layers: int, *, seed: int = 0) -> nn.Module:
    """Return the first layers of SmolLM2 with a trimmed vocabulary.

    Parameters
    ----------
    vocabulary : Vocabulary
        Its words keep their embeddings; code tokens get random ones of the same spread.
    n_layers : int
        1 to 30.
    seed : int
        Of what is random.

    Returns
    -------
    transformers.LlamaForCausalLM
    """
    import safetensors
    from transformers import LlamaConfig, LlamaForCausalLM

    quiet()
    folder = checkpoint()
    config = LlamaConfig.from_pretrained(folder)
    config.num_hidden_layers = check.integer(
        "n_layers", n_layers, at_least=1, at_most=config.num_hidden_layers
    )
    config.vocab_size = vocabulary.size
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    model: Any = LlamaForCausalLM(config)
    own = model.state_dict()
    tied = [name for name in own if name.endswith(("embed_tokens.weight", "lm_head.weight"))]
    with safetensors.safe_open(folder / "model.safetensors", framework="pt") as file:
        own |= {name: file.get_tensor(name) for name in own if name not in tied}
        words = file.get_tensor("model.embed_tokens.weight")[torch.from_numpy(vocabulary.kept)]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(vocabulary.size - len(words), words.shape[1], generator=generator)
    own |= dict.fromkeys(tied, torch.cat([words, drawn * words.std()]))
    model.load_state_dict(own)
    return cast(nn.Module, model)


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
