"""Checks of tensors, for `lib.core.check` knows arrays only, and hashes equal everywhere."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lib.core import check

__all__ = ["Kind", "flags", "mix", "tensor", "weight_hash"]

Kind = Literal["float", "whole", "truth"]
Ints = npt.NDArray[np.int64]
_U = np.uint64


def tensor(
    name: str,
    value: object,
    shape: tuple[int | str, ...],
    kind: Kind = "float",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    finite: bool = True,
) -> Tensor:
    """Return a tensor if it has this shape and kind, and finite numbers within bounds.

    Parameters
    ----------
    name : str
        What the caller calls the argument.
    value : Tensor
    shape : tuple of int or str
        An int is a length, a text names a free one; the same text twice means the same length.
    kind : {"float", "whole", "truth"}
        Floating numbers, integers, or truth values.
    at_least, at_most : float, optional
        For each number.
    finite : bool
        Whether to look at the numbers; what is large and was made here is looked at once.

    Raises
    ------
    ValueError
        If it is none of the above; the message has the name, what was found and what was expected.

    Examples
    --------
    >>> tensor("lengths", torch.tensor([1, 5]), ("batch",), "whole", at_least=1).tolist()
    [1, 5]
    >>> tensor("lengths", torch.tensor([0, 5]), ("batch",), "whole", at_least=1)
    Traceback (most recent call last):
        ...
    ValueError: lengths holds 0, expected numbers of at least 1
    """
    check.text("name", name)
    check.known("kind", kind, ("float", "whole", "truth"))
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is {value!r:.60}, expected a tensor of shape {_words(shape)}")
    found = {True: "truth", False: "float" if value.is_floating_point() else "whole"}
    if value.is_complex() or found[value.dtype == torch.bool] != kind:
        raise ValueError(f"{name} has type {value.dtype}, expected {kind} values")
    lengths: dict[str, int] = {}
    wanted = [
        lengths.setdefault(one, size) if isinstance(one, str) else one
        for one, size in zip(shape, value.shape, strict=False)
    ]
    if value.ndim != len(shape) or list(value.shape) != wanted:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {_words(shape)}")
    if finite and kind == "float" and not torch.isfinite(value).all():
        odd = value.detach()[~torch.isfinite(value)][0].item()
        raise ValueError(f"{name} holds {odd}, expected finite numbers")
    for word, bound in (("least", at_least), ("most", at_most)):
        if bound is not None and value.numel():
            known = value.detach()
            end = float(known.min() if word == "least" else known.max())
            if end < bound if word == "least" else end > bound:
                raise ValueError(f"{name} holds {end:g}, expected numbers of at {word} {bound}")
    return value


def _words(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def flags(name: str, value: object, shape: tuple[int | str, ...] | None) -> npt.NDArray[np.float64]:
    """Return zeros and ones, or truth values, as floats; nothing at all will do.

    Parameters
    ----------
    name : str
    value : array_like
    shape : tuple of int or str, or None
        See `lib.core.check.array`.

    Examples
    --------
    >>> flags("labels", np.array([True, False]), ("n",)).tolist()
    [1.0, 0.0]
    """
    check.text("name", name)
    with contextlib.suppress(ValueError):  # rows of unequal length: said below
        given = np.asarray(value)
        value = given.astype(np.float64) if given.dtype == np.bool_ else value
    found = check.array(name, value, shape=shape, empty=True)
    odd = found[(found != 0) & (found != 1)]
    if len(odd):
        raise ValueError(f"{name} holds {odd[0]}, expected zeros and ones")
    return found


def mix(keys: npt.ArrayLike, seed: int = 0) -> npt.NDArray[np.uint64]:
    """Return 64 well-mixed bits for each key; equal on every machine and in every process.

    Each of three rounds folds the upper bits onto the lower ones and multiplies by an odd number,
    so different keys keep different hashes.

    Parameters
    ----------
    keys : int array_like
    seed : int
        Nonnegative; another seed gives a hash that has nothing to do with this one.

    Examples
    --------
    >>> bool((mix([1, 2]) == mix([1, 2])).all()), len(set(mix(range(1000)).tolist()))
    (True, 1000)
    """
    seed = check.integer("seed", seed, at_least=0, below=2**63)
    return scramble(check.integers("keys", keys, empty=True).astype(_U), seed)


def scramble(bits: npt.NDArray[np.uint64], seed: int = 0) -> npt.NDArray[np.uint64]:
    """Run `mix` on 64 bits of whatever kind."""
    found = bits ^ _U((seed * 0x9FB21C651E98DF25 + 0xD6E8FEB86659FD93) % 2**64)
    for shift in (32, 29, 31):
        found = (found ^ (found >> _U(shift))) * _U(0xA0761D6478BD642F)
    return found ^ (found >> _U(33))


def weight_hash(model: nn.Module) -> str:
    """Return the sha256 of a model's parameters and buffers, names, types and shapes included.

    Parameters
    ----------
    model : nn.Module

    Examples
    --------
    >>> one, other = nn.Linear(2, 1), nn.Linear(2, 1)
    >>> _ = other.load_state_dict(one.state_dict())
    >>> weight_hash(one) == weight_hash(other)
    True
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is {model!r:.60}, expected a torch module")
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        content = value.detach().cpu().contiguous()
        digest.update(f"{name} {content.dtype} {tuple(content.shape)}\n".encode())
        digest.update(content.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
