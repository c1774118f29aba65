"""Our own Semantic IDs: MiniLM embeddings of texts, quantised residual by residual.

What is trained here is stored in the book, so it must come out the same on another processor. The
embeddings are therefore computed in double precision and rounded to a grid of 1/1024, and k-means
runs in double precision too. Faiss trains in single precision, where the last bit of a sum can
move a point to another cell and all later cells with it; here it is the peer, and the encoder with
beams.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.cluster import vq

from lib.core import check, data
from lib.core.paths import CACHE, write_atomic
from lib.semantic_ids.catalogue import IntArray, check_codes, check_sizes

__all__ = ["ResidualTokenizer", "embed"]

FloatArray = npt.NDArray[np.float64]
GRID = 1024
_BATCH = 32


def _pieces(texts: Sequence[str]) -> bytes:
    """Return a digest of model and texts, the name of the cached embeddings."""
    model = hashlib.sha256(data.path("minilm", "model.safetensors").read_bytes()).hexdigest()
    content = "\0".join([model, str(GRID), *texts])
    return hashlib.sha256(content.encode()).digest()


def embed(texts: Sequence[str]) -> FloatArray:
    """Return sentence embeddings by MiniLM, of length 1 up to rounding; cached by content.

    Takes about 5 ms of a core for a short title.

    Parameters
    ----------
    texts : sequence of str
        Not empty, none blank.

    Returns
    -------
    float (n_texts, 384)
        Multiples of 1/1024.

    Raises
    ------
    ValueError
        If there is no text, or one is blank.
    """
    texts = [check.text(f"texts[{i}]", text) for i, text in enumerate(texts)]
    if not texts:
        raise ValueError("texts is [], expected some to embed")
    file = CACHE / "embeddings" / f"{_pieces(texts).hex()[:32]}.npy"
    if file.is_file():
        found = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        if found.shape[0] == len(texts) and found.dtype == np.int16:
            return np.asarray(found / GRID, np.float64)
    grid = np.rint(_minilm(texts) * GRID).astype(np.int16)
    buffer = io.BytesIO()
    np.save(buffer, grid, allow_pickle=False)
    write_atomic(file, buffer.getvalue())
    return np.asarray(grid / GRID, np.float64)


def _minilm(texts: list[str]) -> FloatArray:
    """Run the model: mean of the token vectors, scaled to length 1."""
    import torch

    with warnings.catch_warnings():
        # In a kernel without widgets tqdm advises to install them; that is no output of a page.
        warnings.simplefilter("ignore")
        import tqdm.auto  # noqa: F401
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = str(data.path("minilm", "tokenizer.json").parent)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval().double()
    result = np.empty((len(texts), model.config.hidden_size))
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))  # little padding
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            at = order[start : start + _BATCH]
            batch = tokenizer(
                [texts[i] for i in at], padding=True, truncation=True, return_tensors="pt"
            )
            mask = batch["attention_mask"][..., None].double()
            states = model(**batch).last_hidden_state
            mean = (states * mask).sum(1) / mask.sum(1)
            result[at] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return result


@dataclass(frozen=True)
class ResidualTokenizer:
    """Code books of a residual quantiser: each level codes what the levels before have left.

    Parameters
    ----------
    codebooks : float (n_levels, n_codes, n_dimensions)

    Examples
    --------
    >>> points = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> tokenizer = ResidualTokenizer.fit(points, n_levels=2, n_codes=2, seed=0)
    >>> bool(np.allclose(tokenizer.decode(tokenizer.encode(points)), points))
    True
    """

    codebooks: FloatArray

    def __post_init__(self) -> None:
        shape = ("n_levels", "n_codes", "n_dimensions")
        object.__setattr__(self, "codebooks", check.array("codebooks", self.codebooks, shape=shape))

    @property
    def n_levels(self) -> int:
        """Codes in an ID."""
        return len(self.codebooks)

    @property
    def n_codes(self) -> int:
        """Codes of a level."""
        return int(self.codebooks.shape[1])

    @classmethod
    def fit(
        cls,
        points: npt.ArrayLike,
        *,
        n_levels: int,
        n_codes: int,
        seed: int,
        steps: int = 25,
    ) -> Self:
        """Train the code books level by level.

        Parameters
        ----------
        points : float (n_points, n_dimensions)
            Finite, at least `n_codes` points.
        n_levels, n_codes : int
        seed : int
        steps : int
            Iterations of k-means.
        """
        table = _points(points)
        check_sizes(n_levels=n_levels, n_codes=n_codes, steps=steps)
        check.integer("n_codes", n_codes, at_most=len(table))  # the points there are
        check.integer("seed", seed, at_least=0)
        rng = np.random.default_rng(seed)
        levels, residual = [], table
        for _ in range(n_levels):
            with warnings.catch_warnings(), np.errstate(invalid="ignore"):
                # More codes than different points leave some without any, which does no harm.
                warnings.simplefilter("ignore")
                centres, _ = vq.kmeans2(residual, n_codes, steps, minit="++", rng=rng)
            levels.append(centres)
            residual = residual - centres[vq.vq(residual, centres)[0]]
        return cls(np.stack(levels))

    def encode(self, points: npt.ArrayLike) -> IntArray:
        """Return the greedy codes of points, int64 ``(n_points, n_levels)``."""
        residual = _points(points, self.codebooks.shape[2])
        codes = np.empty((len(residual), self.n_levels), np.int64)
        for level, centres in enumerate(self.codebooks):
            codes[:, level] = vq.vq(residual, centres)[0]
            residual = residual - centres[codes[:, level]]
        return codes

    def encode_faiss(self, points: npt.ArrayLike, *, beam: int = 1) -> IntArray:
        """Return codes found by faiss with the same code books, keeping `beam` candidates a level.

        With a beam of 1 this is greedy, as `encode`; more find a smaller error.
        """
        import faiss

        check.integer("beam", beam, at_least=1)
        table = _points(points, self.codebooks.shape[2])
        bits = self.n_codes.bit_length() - 1
        if self.n_codes != 1 << bits or bits < 1:
            raise ValueError(f"n_codes is {self.n_codes}, expected a power of two for faiss")
        quantiser = faiss.ResidualQuantizer(table.shape[1], self.n_levels, bits)
        faiss.copy_array_to_vector(self.codebooks.astype(np.float32).ravel(), quantiser.codebooks)
        quantiser.is_trained = True
        quantiser.max_beam_size = beam
        packed = quantiser.compute_codes(np.ascontiguousarray(table, np.float32))
        return faiss.unpack_bitstrings(packed, self.n_levels, bits).astype(np.int64)

    def decode(self, codes: npt.ArrayLike) -> FloatArray:
        """Return the sum of the code words, float ``(n, n_dimensions)``."""
        table = check_codes(codes, self.n_codes, n_levels=self.n_levels)
        return np.asarray(self.codebooks[np.arange(self.n_levels), table].sum(axis=1), np.float64)


def _points(points: npt.ArrayLike, n_dimensions: int | None = None) -> FloatArray:
    return check.array("points", points, shape=("n", n_dimensions or "n_dimensions"))
