"""What a sum of one term a code cannot say about a prefix, and one row a prefix can.

A flat model enters the codes of an ID as separate tokens. Before any layer mixes them, the logit of
a next code is a sum of one term for each code of the prefix. Whether some sum represents a given
map from prefixes to next codes is a question of linear inequalities; it is answered here with a
proof either way, checked in exact arithmetic.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array

from lib.core import check
from lib.semantic_ids.catalogue import IntArray, check_codes

__all__ = [
    "Additive",
    "additive",
    "all_prefixes",
    "boolean_maps",
    "encoder_parameters",
    "projection_share",
    "represented_by_rows",
]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Additive:
    """The answer of `additive`, with its proof.

    Attributes
    ----------
    feasible : bool
        Whether some sum of per-position terms puts the right code first everywhere.
    weights : float (length, n_codes, n_next) or None
        Such terms.
    certificate : tuple of (row, Fraction) or None
        Positive multiples of inequalities that add up to 0 > 0.
    """

    feasible: bool
    weights: FloatArray | None
    certificate: tuple[tuple[int, Fraction], ...] | None


def all_prefixes(n_codes: int, length: int) -> IntArray:
    """Return every prefix, int64 ``(n_codes ** length, length)``, in order.

    Examples
    --------
    >>> all_prefixes(2, 2).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    check.integer("n_codes", n_codes, at_least=1)
    check.integer("length", length, at_least=0)
    rows = list(itertools.product(range(n_codes), repeat=length))
    return np.array(rows, np.int64).reshape(-1, length)


def boolean_maps() -> Iterator[tuple[str, IntArray]]:
    """Yield the 16 maps from two binary codes to one, each as its values at 00, 01, 10, 11."""
    for values in itertools.product((0, 1), repeat=4):
        yield "".join(map(str, values)), np.array(values, np.int64)


def _inequalities(prefixes: IntArray, nexts: IntArray, n_codes: int) -> csr_array:
    """Return A so that ``A w > 0`` says: the right code's logit is above every other one's."""
    n, length = prefixes.shape
    at, wrong = np.nonzero(np.arange(n_codes) != nexts[:, None])
    base = (np.arange(length) * n_codes + prefixes[at]) * n_codes
    columns = np.stack([base + nexts[at, None], base + wrong[:, None]])
    signs = np.broadcast_to(np.array([1, -1])[:, None, None], columns.shape)
    rows = np.broadcast_to(np.arange(len(at))[:, None], columns.shape)
    shape = (n * (n_codes - 1), length * n_codes * n_codes)
    return csr_array((signs.ravel(), (rows.ravel(), columns.ravel())), shape=shape)


def additive(prefixes: npt.ArrayLike, nexts: npt.ArrayLike, *, n_codes: int) -> Additive:
    """Say whether a sum of one term for each code of the prefix represents a map.

    Parameters
    ----------
    prefixes : integers (n_prefixes, length)
        Distinct, each code in ``[0, n_codes)``.
    nexts : integers (n_prefixes,)
        The code that has to come first, in ``[0, n_codes)``.
    n_codes : int
        At least 2.

    Returns
    -------
    Additive
        Its proof has been checked in exact arithmetic: that the terms do it, or that positive
        multiples of the inequalities cancel (Gordan's alternative).

    Raises
    ------
    ValueError
        If the map is malformed.
    RuntimeError
        If the solver's answer does not survive the check.

    Examples
    --------
    >>> square = all_prefixes(2, 2)
    >>> additive(square, [0, 1, 1, 0], n_codes=2).feasible  # exclusive or
    False
    >>> additive(square, [0, 0, 0, 1], n_codes=2).feasible  # conjunction
    True
    """
    check.integer("n_codes", n_codes, at_least=2)
    table = check_codes(prefixes, n_codes, name="prefixes")
    goal = check.integers("nexts", nexts, shape=(len(table),), at_least=0, below=n_codes)
    if len(np.unique(table, axis=0)) < len(table):
        raise ValueError("prefixes hold one twice, expected each once")
    matrix = _inequalities(table, goal, n_codes)
    count, size = matrix.shape
    bound = np.append(np.zeros(size), -1.0)  # the margin is maximised, the terms are free
    slack = csr_array(np.ones((count, 1)))
    best = linprog(
        bound,
        A_ub=_beside(-matrix, slack),
        b_ub=np.zeros(count),
        bounds=[(-1, 1)] * size + [(0, None)],
        method="highs",
    )
    if best.status == 0 and best.x[-1] > 1e-6:
        weights = [Fraction(float(one)).limit_denominator(10**6) for one in best.x[:-1]]
        if not all(margin > 0 for margin in _apply(matrix, weights)):
            raise RuntimeError("the terms found do not represent the map in exact arithmetic")
        terms = np.array([float(one) for one in weights])
        return Additive(True, terms.reshape(table.shape[1], n_codes, n_codes), None)
    equal = _beside(matrix, csr_array(np.ones((count, 1)))).T
    dual = linprog(np.zeros(count), A_eq=equal, b_eq=np.append(np.zeros(size), 1.0), method="highs")
    if dual.status != 0:
        raise RuntimeError(f"neither terms nor a certificate found: {dual.message}")
    multiples = [Fraction(float(one)).limit_denominator(10**4) for one in dual.x]
    if not any(multiples) or any(_apply(matrix.T.tocsr(), multiples)):
        raise RuntimeError("the certificate found does not cancel in exact arithmetic")
    certificate = tuple((row, one) for row, one in enumerate(multiples) if one)
    return Additive(False, None, certificate)


def _beside(left: csr_array, right: csr_array) -> csr_array:
    from scipy.sparse import hstack

    return csr_array(hstack([left, right]))


def _apply(matrix: csr_array, vector: list[Fraction]) -> list[Fraction]:
    """Return the product of an integer matrix with a vector of fractions, exactly."""
    ends = zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    return [
        sum(
            (int(matrix.data[k]) * vector[matrix.indices[k]] for k in range(start, end)),
            Fraction(0),
        )
        for start, end in ends
    ]


def represented_by_rows(rows: npt.ArrayLike, nexts: npt.ArrayLike, *, n_codes: int) -> bool:
    """Say whether one row of two numbers for each prefix represents a map.

    Code c is read off by the unit vector at angle 2πc/K; the row of a prefix is that of its next
    code, which then has the largest product. So width 2 is enough, if no two prefixes with
    different next codes share their row.

    Parameters
    ----------
    rows : int64 (n_prefixes,)
        Row of each prefix.
    nexts : int64 (n_prefixes,)
    n_codes : int

    Examples
    --------
    >>> represented_by_rows([0, 1, 2, 3], [0, 1, 1, 0], n_codes=2)  # exclusive or
    True
    >>> represented_by_rows([0, 0, 0, 0], [0, 1, 1, 0], n_codes=2)
    False
    """
    check.integer("n_codes", n_codes, at_least=1)
    row = check.integers("rows", rows, shape=("n_prefixes",), at_least=0)
    goal = check.integers("nexts", nexts, shape=row.shape, at_least=0, below=n_codes)
    angle = 2 * np.pi * np.arange(n_codes) / n_codes
    reader = np.column_stack([np.cos(angle), np.sin(angle)])
    table = np.zeros((int(row.max()) + 1, 2))
    table[row] = reader[goal]
    return bool((np.argmax(table[row] @ reader.T, axis=1) == goal).all())


def encoder_parameters(*, orders: int, heads: int, rows: int, width: int) -> int:
    """Return the number of parameters in the tables, each of ``rows × width/heads``.

    Examples
    --------
    >>> encoder_parameters(orders=2, heads=4, rows=10, width=8)
    160
    """
    for name, value in (("orders", orders), ("heads", heads), ("rows", rows), ("width", width)):
        check.integer(name, value, at_least=1)
    if width % heads:
        raise ValueError(f"width is {width}, expected a multiple of {heads} heads")
    return orders * heads * rows * (width // heads)


def projection_share(
    *, width: int, model_width: int, model_parameters: float, levels: int, active: int
) -> float:
    """Return multiply-adds of the output projection over those of the model, for one item.

    The model is taken to cost one multiply-add for each parameter and token; look-ups cost none.

    Examples
    --------
    >>> projection_share(width=2, model_width=5, model_parameters=100, levels=2, active=1)
    0.05
    """
    for name, value in (("width", width), ("model_width", model_width), ("levels", levels)):
        check.integer(name, value, at_least=1)
    check.number("model_parameters", model_parameters, above=0)
    check.integer("active", active, at_least=0, at_most=levels)
    return active * width * model_width / (levels * model_parameters)
