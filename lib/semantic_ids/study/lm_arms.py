"""The arms of the language model, how one is run, and the count table on the same examples."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lib.core import check, sweeps
from lib.core.profile import pick
from lib.llm.weights import checkpoint
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import SidData, load, sample
from lib.semantic_ids.evaluation import hits
from lib.semantic_ids.intervals import Estimate, Resample
from lib.semantic_ids.lm import EncodedLM, attach
from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig
from lib.semantic_ids.study.controls import RandomRows
from lib.semantic_ids.study.truncated import Vocabulary, load_truncated, next_item
from lib.semantic_ids.training import TrainConfig, fit

__all__ = ["LmArm", "LmResult", "LmStudy", "bleu", "lm_arms", "run_lm", "run_lm_arms"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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

    def read(self, config: TrainConfig) -> Ints:
        """Return the codes of all items that stand whole in the batches of a run, one a row."""
        batches = self.batches(config.items_per_batch, config.seed)
        rows = torch.cat([next(batches) for _ in range(config.steps)]).numpy()
        first = self.vocabulary.sid(np.zeros(self.data.n_levels, np.int64))
        spans = np.lib.stride_tricks.sliding_window_view(rows, len(first), axis=1) - first
        return spans[((spans >= 0) & (spans < self.data.n_codes)).all(axis=2)]


# ── one run ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class LmArm:
    """One run of the language model.

    Attributes
    ----------
    encoder : {"none", "prefixmem", "random rows"}
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
    n_layers: int = 1
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
    hits : (n_test, n_levels)
        Next item, teacher-forced.
    bleu_counts : float64 (n_text, 10)
        Of titles generated for hidden items; see `bleu`.
    read_hits : (n_test, n_levels)
        Of the count table of what this run has read, and no more.
    """

    hits: npt.NDArray[np.bool_]
    bleu_counts: Floats
    read_hits: npt.NDArray[np.bool_]


def build(arm: LmArm, data: SidData, vocabulary: Vocabulary) -> EncodedLM:
    """Return the model of an arm before training, with fresh tables."""
    seed = arm.train.seed
    lm = load_truncated(vocabulary, arm.n_layers, seed=seed)
    encoder = None
    if arm.encoder != "none":
        torch.manual_seed(seed)
        width = cast(Any, lm).config.hidden_size
        encoder = PrefixMem(replace(arm.memory, d_model=width, n_codes=data.n_codes))
        if arm.encoder == "random rows":
            encoder.hash = RandomRows(encoder.hash, seed)
    # A GPU where there is one: the full profile's thirty layers want it.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return attach(lm, encoder, vocabulary.sid(np.arange(data.n_codes)[:, None]).T).to(device)


def _fit(model: EncodedLM, corpus: _Corpus, config: TrainConfig) -> None:
    batches = corpus.batches(config.items_per_batch, config.seed)

    def loss_of() -> Tensor:
        tokens = next(batches).to(model.device)
        logits = model(tokens).logits[:, :-1]
        return functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    fit(model, loss_of, config)


def run_lm(arm: LmArm) -> LmResult:
    """Train one arm and measure it."""
    torch.set_num_threads(1)
    data = load(arm.data)
    vocabulary = Vocabulary.of(data, checkpoint(), arm.max_words)
    order = np.random.default_rng(606).permutation(data.n_items)
    hidden = order[: arm.n_text].astype(np.int64)
    corpus = _Corpus(data, vocabulary, hidden, arm.length)
    model = build(arm, data, vocabulary)
    _fit(model, corpus, arm.train)
    test = sample(data.split().test, arm.n_test)
    targets = data.codes[test.targets]
    words = vocabulary.words
    made = [[words[i] for i in title] for title in _titles(model, vocabulary, data, hidden)]
    wanted = [[words[i] for i in vocabulary.titles[item]] for item in hidden]
    read = corpus.read(arm.train)
    return LmResult(
        hits=hits(next_item(model, vocabulary, data, test), targets),
        bleu_counts=bleu_counts(made, wanted),
        read_hits=NGramCounts(read, data.n_codes, weights=np.ones(len(read))).hits(targets),
    )


@torch.no_grad()
def _titles(
    model: EncodedLM, vocabulary: Vocabulary, data: SidData, items: Ints
) -> list[list[int]]:
    """Return the titles generated for items from their codes, up to the mark that ends one."""
    prompts = torch.from_numpy(vocabulary.sid(data.codes[items])).to(model.device)
    longest = max(len(vocabulary.titles[i]) for i in items)
    made = model.complete(prompts, longest, allowed=vocabulary.n_text).cpu().numpy()
    return [
        list(itertools.takewhile(lambda word: word != vocabulary.end, row)) for row in made.tolist()
    ]


# ── text ─────────────────────────────────────────────────────────────────────────────────────────
def bleu_counts(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]], *, order: int = 4
) -> Floats:
    """Return what BLEU is made of, one row a pair of texts, so that pairs can be drawn anew.

    Parameters
    ----------
    candidates, references : sequences of words
    order : int
        Longest n-gram.

    Returns
    -------
    float64 (n, 2 * order + 2)
        For each order the clipped matches, for each order the n-grams, and both lengths.

    Raises
    ------
    ValueError
        If there is no text, or the numbers of texts differ.
    """
    check.integer("order", order, at_least=1)
    if not candidates or len(candidates) != len(references):
        raise ValueError(
            f"{len(candidates)} candidates and {len(references)} references, expected as many, >= 1"
        )
    rows = []
    for ours, theirs in zip(candidates, references, strict=True):
        matched, total = [], []
        for n in range(1, order + 1):
            found, wanted = _ngrams(ours, n), _ngrams(theirs, n)
            matched.append(sum(min(count, wanted[gram]) for gram, count in found.items()))
            total.append(sum(found.values()))
        rows.append([*matched, *total, len(ours), len(theirs)])
    return np.array(rows, np.float64)


def bleu(counts: Floats, weights: npt.ArrayLike | None = None) -> Floats:
    """Return corpus BLEU (Papineni et al., ACL 2002) from `bleu_counts`, in [0, 1].

    One is added to matches and totals of the orders above 1 (Lin and Och, 2004), for short texts
    have few 4-grams.

    Parameters
    ----------
    counts : float64 (n, 2 * order + 2)
    weights : (..., n), optional
        How often each pair is taken, such as the draws of a bootstrap; once by default.

    Returns
    -------
    float64 (...)

    Examples
    --------
    >>> same = bleu_counts([["a", "b", "c", "d"]], [["a", "b", "c", "d"]])
    >>> float(bleu(same)), float(bleu(bleu_counts([["x"]], [["a", "b"]])))
    (1.0, 0.0)
    """
    counts = check.array("counts", counts, shape=("n", "n_columns"), at_least=0)
    taken = np.ones(len(counts)) if weights is None else check.array("weights", weights)
    sums = taken @ counts
    order = counts.shape[1] // 2 - 1
    matched, total = sums[..., :order].copy(), sums[..., order : 2 * order].copy()
    matched[..., 1:] += 1
    total[..., 1:] += 1
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(matched / total).mean(axis=-1)
        brevity = np.minimum(0, 1 - sums[..., -1] / sums[..., -2])
        return np.asarray(np.nan_to_num(np.exp(logs + brevity)), np.float64)


def _ngrams(words: Sequence[str], n: int) -> Mapping[tuple[str, ...], int]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


# ── all of them ─────────────────────────────────────────────────────────────────────────────────
SEEDS = (0, 1, 2)
"""Fixed before the first run."""


def lm_arms() -> dict[str, list[LmArm]]:
    """Return the arms, one run a seed, at a rate that suits the flat arm.

    The full profile uses all thirty layers, which wants a GPU.
    """
    flat = LmArm(
        n_layers=pick(smoke=1, book=1, full=30),
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
    arms = {
        "flat": flat,
        "PrefixMem": replace(flat, encoder="prefixmem"),
        "PrefixMem, rows at random": replace(flat, encoder="random rows"),
    }
    return {
        name: [replace(arm, train=replace(arm.train, seed=seed)) for seed in SEEDS]
        for name, arm in arms.items()
    }


@dataclass(frozen=True)
class LmStudy:
    """Results of the arms, and what is asked of them.

    Attributes
    ----------
    results : dict of str to list of LmResult
        One a seed.
    table : dict of str to bool (n_test, n_levels)
        Hits of the count table, and of the most frequent code of each level.
    """

    results: dict[str, list[LmResult]]
    table: dict[str, npt.NDArray[np.bool_]]

    def _hits(self, arm: str, level: int) -> Floats:
        if arm in self.table:
            return self.table[arm][:, level - 1].astype(np.float64)
        name, of = ("read_hits", "PrefixMem") if arm == "table of what was read" else ("hits", arm)
        found = [getattr(one, name)[:, level - 1] for one in self.results[of]]
        return np.stack(found).astype(np.float64)

    @property
    def users(self) -> Resample:
        """Draws over seeds and examples."""
        return Resample(len(SEEDS), len(self.table["count table"]))

    def accuracy(self, arm: str, level: int) -> Estimate:
        """Return accuracy at a level, teacher-forced."""
        users = self.users
        return users.estimate(users.mean(self._hits(arm, level)))

    def gain(self, arm: str, over: str, level: int = 3) -> Estimate:
        """Return a difference of two arms in accuracy at a level."""
        users = self.users
        first, second = (users.mean(self._hits(one, level)) for one in (arm, over))
        return users.estimate(first - second)

    def bleu_gain(self, arm: str, over: str) -> Estimate:
        """Return a difference of two arms in BLEU of the titles of hidden items."""
        draws = Resample(len(SEEDS), len(self.results[arm][0].bleu_counts))
        scores = [
            draws.resampled([partial(bleu, one.bleu_counts) for one in self.results[name]])
            for name in (arm, over)
        ]
        return draws.estimate(scores[0] - scores[1])


def run_lm_arms() -> LmStudy:
    """Run the arms, and count on the same examples."""
    checkpoint()  # once, before two processes ask for it
    arms = lm_arms()
    runs = [one for row in arms.values() for one in row]
    found = iter(sweeps.run(run_lm, runs, name="ch02-lm"))
    results = {name: [next(found) for _ in row] for name, row in arms.items()}
    data = load(runs[0].data)
    split = data.split()
    targets = data.codes[sample(split.test, runs[0].n_test).targets]
    counts = NGramCounts.fit(data.codes, data.n_codes, split.train)
    frequent = [np.bincount(one).argmax() for one in data.codes[np.concatenate(split.train)].T]
    return LmStudy(
        results, {"count table": counts.hits(targets), "no prefix": targets == np.array(frequent)}
    )
