"""PrefixMem: a memory over the prefixes of a Semantic ID, added to the embeddings of its tokens.

For a prefix ``c_1..c_l`` of an item the encoder looks up one row for every order ``n <= min(l,
max_order)`` and head, adds the orders, joins the heads and projects (equations 1 and 2 of arXiv
2606.00324)::

    m_l = W_out · Σ_n concat_h E[n, h][ index[n, h](c_1..c_l) ]

**Where it is injected.** ``m_l`` is made from ``c_1..c_l`` and added to the embedding of the token
``c_l``, at whose position the model predicts ``c_{l+1}``. ``active_levels`` names the levels that
are *predicted* with the help of the memory: level 4 active means that ``m_3`` is added at ``c_3``.
The paper's figures make sense only in this reading, for its level 4 improves with levels 4 and 5
active. Adding at ``c_l`` something made from ``c_{l+1}`` would hand over the answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import cast, get_args

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.core import check
from lib.core.paths import write_atomic
from lib.semantic_ids.catalogue import check_sizes
from lib.semantic_ids.hashing import Kind, PrefixHash, RowIndex

__all__ = [
    "PrefixMem",
    "PrefixMemConfig",
    "check_codes",
    "load_encoder",
    "place",
    "save_encoder",
]


def check_codes(codes: Tensor, n_codes: int, n_levels: int) -> None:
    """Refuse what is not a batch of codes.

    Parameters
    ----------
    codes : Tensor of int64, shape (..., l)
        With ``1 <= l <= n_levels``; an empty batch is refused.
    n_codes, n_levels : int

    Raises
    ------
    TypeError
        If the codes are not int64 (floats may hide NaN).
    ValueError
        If the batch is empty, has too many levels, or a code is outside ``[0, n_codes)``.
    """
    if codes.dtype != torch.int64:
        raise TypeError(f"codes have type {codes.dtype}, expected torch.int64")
    if codes.numel() == 0:
        raise ValueError(f"codes have shape {tuple(codes.shape)}, expected at least one item")
    if codes.shape[-1] > n_levels:
        raise ValueError(f"codes have {codes.shape[-1]} levels, expected at most {n_levels}")
    low, high = (int(x) for x in torch.aminmax(codes))
    if low < 0 or high >= n_codes:
        wrong = low if low < 0 else high
        raise ValueError(f"code {wrong} is out of range, expected 0 to {n_codes - 1}")


@dataclass(frozen=True)
class PrefixMemConfig:
    """Shape of a `PrefixMem`.

    Attributes
    ----------
    n_levels, n_codes : int
        Codes of an item and values of a code.
    d_model : int
        Width of the model it is attached to.
    active_levels : tuple of int, optional
        Levels, counted from 1, that are predicted with the memory: from 2 to `n_levels`; the two
        deepest by default. None of them is no memory: attach no encoder then.
    d_mem : int
        Width of the memory, a multiple of `n_heads`.
    n_heads, table_size, max_order : int
        Tables an order, rows a table, largest order (at most `n_levels`, to which it is cut).
    kind : {"prefix", "suffix", "full"}
        First n codes (the paper's), last n codes, or the whole prefix only.
    seed : int
        Of the hash.
    init_std : float
        Standard deviation of ``W_out`` at the start; 0 makes the attached model exactly the one
        without memory.
    """

    n_levels: int = 4
    n_codes: int = 256
    d_model: int = 96
    active_levels: tuple[int, ...] | None = None
    d_mem: int = 64
    n_heads: int = 4
    table_size: int = 16_381
    max_order: int = 4
    kind: Kind = "prefix"
    seed: int = 0
    init_std: float = 0.0

    def __post_init__(self) -> None:
        for name in ("n_levels", "n_codes", "d_model", "d_mem", "n_heads", "max_order"):
            check_sizes(**{name: getattr(self, name)})
        check.integer("table_size", self.table_size, at_least=2)
        check.integer("seed", self.seed, at_least=0)
        check.known("kind", self.kind, get_args(Kind))
        if self.d_mem % self.n_heads:
            raise ValueError(f"d_mem is {self.d_mem}, expected a multiple of {self.n_heads} heads")
        check.number("init_std", self.init_std, at_least=0)
        deepest = range(max(2, self.n_levels - 1), self.n_levels + 1)
        # The first code of an item has no prefix, and none comes after the last.
        levels = check.integers(
            "active_levels",
            tuple(deepest) if self.active_levels is None else self.active_levels,
            shape=("n",),
            at_least=2,
            at_most=self.n_levels,
        )
        object.__setattr__(self, "active_levels", check.unique("active_levels", levels.tolist()))
        object.__setattr__(self, "max_order", min(self.max_order, self.n_levels))


class PrefixMem(nn.Module):
    """Hashed memory over prefixes.

    Parameters
    ----------
    config : PrefixMemConfig
    hashing : RowIndex, optional
        Instead of the `PrefixHash` that the config describes.

    Attributes
    ----------
    table : nn.Embedding
        All tables below one another, ``(orders * n_heads * table_size, d_mem / n_heads)``, with
        sparse gradients: a step touches a few thousand rows of millions.

    Examples
    --------
    >>> encoder = PrefixMem(PrefixMemConfig(n_codes=8, d_model=16, d_mem=8, table_size=101))
    >>> codes = torch.tensor([[1, 2, 3, 4]])
    >>> encoder(codes, torch.zeros(1, 4, 16)).abs().sum().item()  # nothing at the start
    0.0
    """

    def __init__(self, config: PrefixMemConfig, hashing: RowIndex | None = None) -> None:
        super().__init__()
        self.config = config
        self.hash: RowIndex = hashing or PrefixHash(
            n_levels=config.n_levels,
            max_order=config.max_order,
            n_heads=config.n_heads,
            table_size=config.table_size,
            seed=config.seed,
            kind=config.kind,
        )
        if self.hash.n_levels != config.n_levels or config.d_mem % self.hash.n_heads:
            raise ValueError(
                f"the hash has {self.hash.n_levels} levels and {self.hash.n_heads} heads, expected "
                f"{config.n_levels} levels and heads that divide {config.d_mem}"
            )
        width = config.d_mem // self.hash.n_heads
        self.table = nn.Embedding(self.hash.n_rows, width, sparse=True)
        # The sum over orders, not one row, should have unit scale.
        nn.init.normal_(self.table.weight, std=config.max_order**-0.5)
        self.out = nn.Linear(config.d_mem, config.d_model, bias=False)
        nn.init.normal_(self.out.weight, std=config.init_std)  # exactly zero for 0

    def memory(self, codes: Tensor) -> Tensor:
        """Return ``m_l`` before the projection at the injected positions of each item.

        Parameters
        ----------
        codes : Tensor of int64, shape (..., l)
            The first l codes of items.

        Returns
        -------
        Tensor, shape (..., n_positions, d_mem)
            For the injected positions up to l, in ascending order (see `positions`).

        Raises
        ------
        TypeError, ValueError
            See `check_codes`.
        """
        check_codes(codes, self.config.n_codes, self.config.n_levels)
        places = self.positions(codes.shape[-1])
        if not self.hash.nested:
            sums = [self.table(self.hash.rows(codes[..., :place])).sum(-3) for place in places]
            return torch.stack(sums, dim=-3).flatten(-2)
        # The rows of a prefix begin with those of a shorter one: looked up once, summed by growth.
        rows = self.table(self.hash.rows(codes[..., : places[-1]]))  # (..., orders, heads, width)
        sums = list(accumulate(rows.unbind(-3)))
        wanted = [sums[min(place, len(sums)) - 1] for place in places]
        return torch.stack(wanted, dim=-3).flatten(-2)

    def positions(self, n_codes: int) -> list[int]:
        """Return the injected positions, counted from 1, among the first `n_codes` codes."""
        active = sorted(self.config.active_levels or ())
        return [level - 1 for level in active if level - 1 <= n_codes]

    def forward(self, codes: Tensor, hidden: Tensor) -> Tensor:
        """Return what is added to the embeddings.

        Parameters
        ----------
        codes : Tensor of int64, shape (..., l)
        hidden : Tensor, shape (..., l, d_model)
            Embeddings of the codes, for their shape.

        Returns
        -------
        Tensor, shape (..., l, d_model)
            Exact zeros at positions that are not injected.

        Raises
        ------
        TypeError, ValueError
            See `check_codes`; or if there is not one embedding for each code.
        """
        if hidden.shape[:-1] != codes.shape:
            raise ValueError(
                f"hidden has shape {tuple(hidden.shape)}, expected {(*codes.shape, 'd_model')}"
            )
        places = self.positions(codes.shape[-1])
        if not places:
            check_codes(codes, self.config.n_codes, self.config.n_levels)
            return torch.zeros_like(hidden)
        return place(self.out(self.memory(codes)), places, hidden.shape[-2])


def place(value: Tensor, places: Sequence[int], length: int) -> Tensor:
    """Put columns at 1-based ascending `places` among `length` positions, zeros elsewhere."""
    first, last = places[0], places[-1]
    if last - first + 1 == len(places):
        return functional.pad(value, (0, 0, first - 1, length - last))
    zeros = value.new_zeros(*value.shape[:-2], length, value.shape[-1])
    return zeros.index_copy(-2, torch.tensor(places, device=value.device) - 1, value)


def save_encoder(encoder: PrefixMem, target: Path) -> Path:
    """Write an encoder, its config and what determines its rows to one safetensors file.

    Parameters
    ----------
    encoder : PrefixMem
    target : Path

    Raises
    ------
    ValueError
        If it or its hash is of a class of one's own, which may find other rows than the file says.
    """
    for name, one, wanted in (("encoder", encoder, PrefixMem), ("hash", encoder.hash, PrefixHash)):
        if type(one) is not wanted:
            found = type(one).__name__
            raise ValueError(f"{name} is a {found}, expected a {wanted.__name__} itself")
    tensors = {name: value.contiguous() for name, value in encoder.state_dict().items()}
    hashing = cast(PrefixHash, encoder.hash).fields()
    about = {"config": asdict(encoder.config), "hash": hashing, "sha256": _NO_DIGEST}
    text = {"prefixmem": json.dumps(about)}
    whole = safetensors.torch.save(tensors, metadata=text)
    return write_atomic(target, whole.replace(_NO_DIGEST.encode(), _digest(whole), 1))


_NO_DIGEST = 64 * "0"
"""What stands in the digest's place while the digest of the whole file is taken."""


def _digest(whole: bytes) -> bytes:
    return hashlib.sha256(whole).hexdigest().encode()


def load_encoder(source: Path) -> PrefixMem:
    """Read what `save_encoder` wrote.

    Parameters
    ----------
    source : Path

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated or altered, be it in one byte, holds NaN, or was not written by
        `save_encoder`.
    """
    if not Path(source).is_file():
        raise FileNotFoundError(
            f"{source}: no such file, expected one written by prefixmem.save_encoder"
        )
    whole = Path(source).read_bytes()
    try:
        tensors = safetensors.torch.load(whole)
        with safetensors.safe_open(source, framework="pt") as file:
            about = json.loads((file.metadata() or {})["prefixmem"])
        digest = about["sha256"].encode()
        # Before anything is made of it: a table of another size may not fit into memory.
        if _digest(whole.replace(digest, _NO_DIGEST.encode(), 1)) != digest:
            raise ValueError("altered since")
        encoder = PrefixMem(PrefixMemConfig(**about["config"]), PrefixHash.of_fields(about["hash"]))
        encoder.load_state_dict(tensors)
    except (
        safetensors.SafetensorError,
        LookupError,
        AttributeError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{source}: not a whole file written by prefixmem.save_encoder: {error}"
        ) from error
    for name, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{source}: {name} holds NaN or infinity, expected finite numbers")
    return encoder
