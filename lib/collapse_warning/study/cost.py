"""What a detector costs, counted in operations: the same number on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from lib.collapse_warning import detectors
from lib.collapse_warning.detectors import Detector
from lib.core import check

__all__ = ["operations"]


class _Counted(np.ndarray):
    """An array that counts the elements which universal functions read or write."""

    total = 0

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        plain = [_plain(one) for one in inputs]
        if out is not None:
            options["out"] = tuple(_plain(one) for one in out)
        found = getattr(ufunc, method)(*plain, **options)
        sizes = [np.size(one) for one in (*plain, found)]
        # Every element of a matrix product is a sum over the inner length.
        inner = plain[0].shape[-1] if ufunc is np.matmul else 1
        _Counted.total += (np.size(found) if ufunc is np.matmul else max(sizes)) * inner
        return out[0] if out is not None else _counted(found)


def _plain(one: Any) -> Any:
    return one.view(np.ndarray) if isinstance(one, _Counted) else one


def _counted(one: Any) -> Any:
    if isinstance(one, tuple | list):
        return type(one)(_counted(part) for part in one)
    return one.view(_Counted) if type(one) is np.ndarray else one


class _Numpy(SimpleNamespace):
    """NumPy whose functions hand out counted arrays."""

    def __getattr__(self, name: str) -> Any:
        one = getattr(np, name)
        if isinstance(one, type | np.ufunc) or not callable(one):
            return one
        return lambda *given, **options: _counted(one(*given, **options))


@contextmanager
def _counting() -> Iterator[None]:
    module: Any = detectors
    numpy, checked = module.np, module._checked
    _Counted.total = 0
    module.np, module._checked = _Numpy(), lambda values: _counted(checked(values))
    try:
        yield
    finally:
        module.np, module._checked = numpy, checked


def operations(detector: Detector, length: int, *, n_units: int = 2, seed: int = 0) -> int:
    """Return how many element operations a detector makes on units of white noise.

    Parameters
    ----------
    detector : Detector
        One of `detectors`.
    length, n_units : int
    seed : int
        Of the noise; the number hardly depends on it.
    """
    check.integer("n_units", n_units, at_least=1)
    check.integer("length", length, at_least=1)
    values = np.random.default_rng(seed).normal(size=(n_units, length))
    with _counting():
        detector(values)
    return _Counted.total
