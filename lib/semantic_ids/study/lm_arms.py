"""The arms of the language model, how one is run, and the count table on the same examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.core import sweeps
from lib.core.profile import pick
from lib.llm.weights import checkpoint
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import SidData, load, sample
from lib.semantic_ids.evaluation import bleu_counts, hits, nll
from lib.semantic_ids.lm import EncodedLM, Vocabulary, attach, load_truncated, next_item
from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig, RandomRows, transfer
from lib.semantic_ids.training import TrainConfig, fit

__all__ = ["LmArm", "LmResult", "lm_arms", "run_lm", "run_lm_arms"]

Ints = npt.NDArray[np.int64]
IGNORED = -100
"""Label of a position that counts for nothing (the convention of Hugging Face)."""


# ── sequences ───────────────────────────────────────────────────────────────────────────────────
class _Corpus:
    """Batches of the paper's three kinds: interleaved, one pair, codes only."""

    def __init__(self, data: SidData, vocabulary: Vocabulary, hidden: Ints, length: int) -> None:
        self.data, self.vocabulary, self.length = data, vocabulary, length
        self.tokens = vocabulary.sid(data.codes)
        self.hidden = set(hidden.tolist())
        self.train = [s for s in data.split().train if len(s) > 1]
        if not self.train:
            raise ValueError(f"{data.name}: no train sequence has two items")
        self.open = np.array([i for i in range(data.n_items) if i not in self.hidden], np.int64)

    def title(self, item: int) -> list[int]:
        """Return the words of a title and the end mark; hidden items have no words."""
        if item in self.hidden:
            return []
        return [*self.vocabulary.titles[item].tolist(), self.vocabulary.end]

    def codes(self, item: int) -> list[int]:
        found: list[int] = self.tokens[item].tolist()
        return found

    def _stream(self, kind: str, rng: np.random.Generator) -> Iterator[int]:
        while True:
            if kind == "pair":
                item = int(rng.choice(self.open))
                first, second = self.title(item), self.codes(item)
                yield from (first + second if rng.random() < 0.5 else second + first)
                continue
            for item in self.train[int(rng.integers(len(self.train)))].tolist():
                yield from (self.title(item) if kind == "interleaved" else [])
                yield from self.codes(item)

    def batches(self, size: int, seed: int) -> Iterator[Tensor]:
        """Yield ``(size, length)`` tokens, rows by turns of the three kinds, packed, no padding."""
        rng = np.random.default_rng(seed)
        kinds = [("interleaved", "pair", "codes")[row % 3] for row in range(size)]
        streams = [self._stream(kind, rng) for kind in kinds]
        while True:
            rows = [[next(stream) for _ in range(self.length)] for stream in streams]
            yield torch.tensor(rows)


# ── one run ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class LmArm:
    """One run of the language model.

    Attributes
    ----------
    encoder : {"none", "prefixmem", "random rows"}
    start : {"random", "small lm"}
        How the tables are filled: not at all, or trained with a model of one layer before.
    body : {"pretrained", "random", "permuted"}
    n_layers : int
    memory : PrefixMemConfig
    train : TrainConfig
        ``items_per_batch`` is the number of rows; its seed is also that of the weights.
    length, max_words : int
        Tokens of a row, words of a title.
    n_test, n_text : int
        Examples for the next item, hidden items for the text.
    data : str
    """

    encoder: Literal["none", "prefixmem", "random rows"] = "none"
    start: Literal["random", "small lm"] = "random"
    body: Literal["pretrained", "random", "permuted"] = "pretrained"
    n_layers: int = 2
    memory: PrefixMemConfig = field(
        default_factory=lambda: PrefixMemConfig(n_levels=3, max_order=3, active_levels=(2, 3))
    )
    train: TrainConfig = field(default_factory=TrainConfig)
    length: int = 48
    max_words: int = 10
    n_test: int = 1000
    n_text: int = 200
    data: str = "industrial"


@dataclass(frozen=True)
class LmResult:
    """What was measured.

    Attributes
    ----------
    hits, nll : (n_test, n_levels)
        Next item, teacher-forced.
    text_loss : float (n_text,)
        Mean cross-entropy of a hidden item's title given its codes, in nats a word.
    bleu_counts : float64 (n_text, 10)
        Of titles generated for hidden items; see `evaluation.bleu`.
    titles : tuple of (str, str)
        Some generated and true titles.
    losses : float (steps,)
    """

    hits: npt.NDArray[np.bool_]
    nll: npt.NDArray[np.float64]
    text_loss: npt.NDArray[np.float64]
    bleu_counts: npt.NDArray[np.float64]
    titles: tuple[tuple[str, str], ...]
    losses: npt.NDArray[np.float64]


def build(arm: LmArm, data: SidData, vocabulary: Vocabulary) -> EncodedLM:
    """Return the model of an arm before training, with fresh tables."""
    seed = arm.train.seed
    lm = load_truncated(vocabulary, arm.n_layers, pretrained=arm.body != "random", seed=seed)
    if arm.body == "permuted":
        permute_weights(lm, seed)
    encoder = None
    if arm.encoder != "none":
        torch.manual_seed(seed)
        width = cast(Any, lm).config.hidden_size
        encoder = PrefixMem(replace(arm.memory, d_model=width, n_codes=data.n_codes))
        if arm.encoder == "random rows":
            encoder.hash = RandomRows(encoder.hash, seed)
    # A GPU where there is one: the full profile's thirty layers want it.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return attach(lm, encoder, _sid_tokens(vocabulary)).to(device)


def _sid_tokens(vocabulary: Vocabulary) -> Ints:
    grid = np.arange(vocabulary.n_levels * vocabulary.n_codes, dtype=np.int64)
    return vocabulary.n_text + grid.reshape(vocabulary.n_levels, vocabulary.n_codes)


def _fit(model: EncodedLM, corpus: _Corpus, config: TrainConfig) -> list[float]:
    batches = corpus.batches(config.items_per_batch, config.seed)

    def loss_of() -> Tensor:
        tokens = next(batches).to(model.device)
        logits = model(tokens).logits[:, :-1]
        return functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    return fit(model, loss_of, config).losses


def run_lm(arm: LmArm) -> LmResult:
    """Train one arm and measure it.

    In double precision, for from random weights a last bit grows to other percentages within sixty
    steps; on a GPU, where that is slow, in single.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if torch.cuda.is_available() else torch.float64)
    try:
        return _run_lm(arm)
    finally:
        torch.set_default_dtype(before)


def _run_lm(arm: LmArm) -> LmResult:
    torch.set_num_threads(1)
    data = load(arm.data)
    vocabulary = Vocabulary.of(data, checkpoint(), arm.max_words)
    order = np.random.default_rng(606).permutation(data.n_items)
    hidden = order[: arm.n_text].astype(np.int64)
    corpus = _Corpus(data, vocabulary, hidden, arm.length)
    model = build(arm, data, vocabulary)
    if arm.start == "small lm":
        small = build(replace(arm, n_layers=1, start="random"), data, vocabulary)
        _fit(small, corpus, replace(arm.train, seed=arm.train.seed + 1000))
        transfer(cast(PrefixMem, small.encoder), cast(PrefixMem, model.encoder))
    losses = _fit(model, corpus, arm.train)
    test = sample(data.split().test, arm.n_test)
    targets = data.codes[test.targets]
    guesses = next_item(model, vocabulary, data, test)
    text_loss, made = _titles(model, vocabulary, data, hidden)
    pairs = [
        (
            [vocabulary.words[i] for i in mine],
            [vocabulary.words[i] for i in vocabulary.titles[item]],
        )
        for mine, item in zip(made, hidden, strict=True)
    ]
    return LmResult(
        hits=hits(guesses, targets),
        nll=nll(guesses, targets),
        text_loss=text_loss,
        bleu_counts=bleu_counts([a for a, _ in pairs], [b for _, b in pairs]),
        titles=tuple(("".join(a), "".join(b)) for a, b in pairs[:5]),
        losses=np.asarray(losses),
    )


def permute_weights(model: nn.Module, seed: int) -> None:
    """Shuffle the entries within every matrix: a control with the same sizes and no knowledge."""
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2 and id(parameter) not in done:
                order = torch.randperm(parameter.numel(), generator=generator)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
                done.add(id(parameter))


@torch.no_grad()
def _titles(
    model: EncodedLM, vocabulary: Vocabulary, data: SidData, items: Ints
) -> tuple[npt.NDArray[np.float64], list[list[int]]]:
    """Return the loss of each title given the codes, and the titles generated for them."""
    prompts = torch.from_numpy(vocabulary.sid(data.codes[items])).to(model.device)
    titles: Sequence[Ints] = [vocabulary.titles[i] for i in items]
    longest = max(map(len, titles))
    padded = torch.full((len(items), longest), vocabulary.end)
    labels = torch.full((len(items), longest), IGNORED)
    for row, title in enumerate(titles):
        padded[row, : len(title)] = labels[row, : len(title)] = torch.from_numpy(title)
    padded, labels = padded.to(model.device), labels.to(model.device)
    # Padding stands behind what counts, where a causal model cannot see it.
    logits = model(torch.cat([prompts, padded], dim=1)).logits[:, prompts.shape[1] - 1 : -1]
    loss = functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    ).sum(1) / (labels != IGNORED).sum(1)
    made = model.complete(prompts, longest, allowed=vocabulary.n_text).cpu().numpy()
    cut = [
        row[: int(np.argmax(row == vocabulary.end))] if (row == vocabulary.end).any() else row
        for row in made
    ]
    return loss.cpu().numpy().astype(np.float64), [one.tolist() for one in cut]


# ── all of them ─────────────────────────────────────────────────────────────────────────────────
def lm_arms() -> dict[str, LmArm]:
    """Return the arms: one seed, rates that suit the flat arm.

    In the full profile all thirty layers are used, which wants a GPU.
    """
    flat = LmArm(
        n_layers=pick(smoke=1, book=2, full=30),
        train=TrainConfig(
            steps=pick(smoke=3, book=60, full=5000),
            items_per_batch=pick(smoke=3, book=6, full=48),
            lr=pick(smoke=1e-3, book=3e-3, full=3e-4),
            warmup=5,
        ),
        length=pick(smoke=16, book=48, full=256),
        n_test=pick(smoke=50, book=1000, full=4533),
        n_text=pick(smoke=20, book=200, full=400),
    )
    memory = replace(flat, encoder="prefixmem")
    return {
        "flat": flat,
        "PrefixMem": memory,
        "PrefixMem, rows at random": replace(flat, encoder="random rows"),
        "PrefixMem, small model first": replace(memory, start="small lm"),
        "flat, random initialisation": replace(flat, body="random"),
        "flat, weights permuted": replace(flat, body="permuted"),
    }


def run_lm_arms() -> tuple[dict[str, LmResult], npt.NDArray[np.bool_]]:
    """Run the arms.

    Returns
    -------
    (dict of str to LmResult, bool (n_test, n_levels))
        Results, and hits of the count table on the same examples.
    """
    checkpoint()  # once, before two processes ask for it
    arms = lm_arms()
    results = dict(zip(arms, sweeps.run(run_lm, list(arms.values()), name="ch02-lm"), strict=True))
    some = next(iter(arms.values()))
    data = load(some.data)
    split = data.split()
    targets = data.codes[sample(split.test, some.n_test).targets]
    counts = NGramCounts.fit(data.codes, data.n_codes, split.train)
    return results, counts.hits(targets)
