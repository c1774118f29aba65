"""The scaling law fitted anew, with the covariance that a table of standard errors leaves out.

The loss is that of arXiv 2203.15556, approach 3: Huber's, of the difference of logarithms, with
δ = 0.001. The points are those that arXiv 2404.10102 read off a published figure; as there, the
five runs with the fewest tokens are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.compute_governance.scaling import Chinchilla, Floats
from lib.core import check

__all__ = ["bootstrap", "fit_law", "huber", "read_points"]

DELTA = 1e-3
"""Differences of log loss above this count linearly."""

_START = (0.0, 0.5, 0.0, 0.5, 0.5)
_STEPS = 3_000
_NO_LAW = "the losses do not fall with params and tokens (columns exchanged, or all of one size?)"


def read_points(file: Path, left_out: int = 5) -> tuple[Floats, Floats, Floats]:
    """Read runs from the columns Model Size, Training FLOP and loss.

    Parameters
    ----------
    file : Path
        CSV, such as ``lib.core.data.path("chinchilla_points")``.
    left_out : int
        How many runs with the fewest tokens to leave out: five, as in arXiv 2404.10102, of its
        points; 0 for a file of your own.

    Returns
    -------
    params, tokens, loss : ndarray, shape (n,)
        Tokens are FLOP / (6 · parameters).
    """
    left_out = check.integer("left_out", left_out, at_least=0)
    table = pd.read_csv(file)
    columns = ("Model Size", "Training FLOP", "loss")
    check.columns("file", table, columns)
    size, flop, loss = (check.array(key, table[key].to_numpy(), above=0) for key in columns)
    tokens = flop / (6.0 * size)
    kept = np.sort(np.argsort(tokens, kind="stable")[left_out:])
    return size[kept], tokens[kept], loss[kept]


def _huber(gap: Floats) -> Floats:
    size = np.abs(gap)
    value: Floats = np.where(size <= DELTA, 0.5 * gap**2, DELTA * (size - 0.5 * DELTA))
    return value


def huber(law: Chinchilla, params: Any, tokens: Any, loss: Any) -> float:
    """Return the loss that a single law is fitted by, summed over the runs."""
    x, y, z = _runs(params, tokens, loss)
    return float(_huber(np.log(law.loss(np.exp(x), np.exp(y))) - z).sum())


def fit_law(params: npt.ArrayLike, tokens: npt.ArrayLike, loss: npt.ArrayLike) -> Chinchilla:
    """Fit the law to runs.

    Parameters
    ----------
    params, tokens, loss : array, shape (n,)
        Positive; at least six runs.

    Returns
    -------
    Chinchilla
        With plain numbers.

    Raises
    ------
    ValueError
        If no such law fits: the losses do not fall with parameters and with tokens, or all runs
        have one size.

    Examples
    --------
    >>> from lib.compute_governance.scaling import FIT
    >>> size, seen = np.geomspace(1e8, 1e10, 12), np.tile([1e9, 1e10, 1e11], 4)
    >>> again = fit_law(size, seen, FIT.loss(size, seen))
    >>> round(again.alpha, 3), round(again.E, 3)
    (0.348, 1.817)
    """
    x, y, z = _runs(params, tokens, loss)
    found = _fit(x, y, z, np.ones((1, len(x))), np.array([_START]))
    return Chinchilla(*(float(one[0]) for one in found))


def bootstrap(
    params: npt.ArrayLike,
    tokens: npt.ArrayLike,
    loss: npt.ArrayLike,
    draws: int,
    rng: np.random.Generator,
    families: npt.ArrayLike | None = None,
) -> Chinchilla:
    """Fit the law to resampled runs, which keeps what its parameters have in common.

    Parameters
    ----------
    params, tokens, loss : array, shape (n,)
        See `fit_law`.
    draws : int
        Resamples of the runs with replacement, at least 2.
    rng : Generator
    families : array, shape (n,), optional
        Labels of runs that belong together, such as those of one budget: whole families are drawn.
        At least two; none missing. By default each run is its own.

    Returns
    -------
    Chinchilla
        With arrays of shape (draws,).

    Raises
    ------
    ValueError
        As `fit_law`, for the runs or a resample of them.
    """
    x, y, z = _runs(params, tokens, loss)
    draws = check.integer("draws", draws, at_least=2)
    labels = np.arange(len(x)) if families is None else np.asarray(families)
    check.same_length(params=x, families=labels)
    family = pd.factorize(labels, sort=True)[0]
    count = int(family.max()) + 1
    if count < 2 or family.min() < 0:
        raise ValueError(f"families has {count} labels, or some are missing; expected two at least")
    weights = rng.multinomial(count, np.full(count, 1.0 / count), draws)[:, family].astype(float)
    whole = _coordinates(_fit(x, y, z, np.ones((1, len(x))), np.array([_START])), x, y)
    return Chinchilla(*_fit(x, y, z, weights, np.repeat(whole, draws, axis=0)))


def _runs(params: Any, tokens: Any, loss: Any) -> tuple[Floats, Floats, Floats]:
    size = check.array("params", params, shape=("n",), above=0)
    seen = check.array("tokens", tokens, shape=("n",), above=0)
    reached = check.array("loss", loss, shape=("n",), above=0)
    if check.same_length(params=size, tokens=seen, loss=reached) < 6:
        raise ValueError(f"params has shape {size.shape}, expected at least six runs")
    return np.log(size), np.log(seen), np.log(reached)


def _coordinates(law: tuple[Floats, ...], x: Floats, y: Floats) -> Floats:
    """Return a law in the coordinates of the fit, in which its two parts are centred."""
    floor, a, alpha, b, beta = law
    at = (np.log(a) - alpha * x.mean(), alpha, np.log(b) - beta * y.mean(), beta, np.log(floor))
    return np.stack(at, axis=-1)


def _fit(x: Floats, y: Floats, z: Floats, weights: Floats, start: Floats) -> tuple[Floats, ...]:
    """Fit one law a row of weights by reweighted Gauss-Newton steps, damped (Marquardt)."""
    # What does not vary makes the system singular on one processor and nearly so on another.
    if min(np.ptp(one) for one in (x, y, z)) < 1e-9:
        raise ValueError(_NO_LAW)
    u, v = x - x.mean(), y - y.mean()
    at, damping = start.copy(), np.full(len(start), 1e-3)

    def parts(rows: Floats, w: Floats) -> tuple[Floats, Floats, Floats]:
        first, second = rows[:, :1] - rows[:, 1:2] * u, rows[:, 2:3] - rows[:, 3:4] * v
        terms = np.stack([first, second, np.broadcast_to(rows[:, 4:], first.shape)])
        total = np.logaddexp.reduce(terms, axis=0)
        gap = total - z
        return np.exp(terms - total), gap, (w * _huber(gap)).sum(axis=1)

    open_ = np.arange(len(at))
    for _ in range(_STEPS):
        w = weights[open_]
        share, gap, before = parts(at[open_], w)
        slope = np.stack([share[0], -share[0] * u, share[1], -share[1] * v, share[2]], axis=-1)
        w_gap = w * np.minimum(1.0, DELTA / np.maximum(np.abs(gap), 1e-300))
        square = np.einsum("ri,rij,rik->rjk", w_gap, slope, slope, optimize=True)
        right = np.einsum("ri,rij->rj", w_gap * gap, slope)
        diagonal = np.einsum("rjj->rj", square)
        diagonal *= 1.0 + damping[open_, None]
        try:
            step = np.linalg.solve(square, right[..., None])[..., 0]
        except np.linalg.LinAlgError:
            raise ValueError(_NO_LAW) from None
        after = parts(at[open_] - step, w)[2]
        better = after <= before
        at[open_[better]] -= step[better]
        # Not below a floor: a damping of zero could never rise again, and the fit would not end.
        damping[open_] *= np.where(better, np.where(damping[open_] > 1e-12, 0.2, 1.0), 10.0)
        done = (np.abs(step).max(axis=1) < 1e-9) | (damping[open_] > 1e12)
        open_ = open_[~done]
        if not len(open_):
            break
    else:
        raise ValueError(f"{len(open_)} fits are not done in {_STEPS:,} steps: {_NO_LAW}")
    a, b = at[:, 0] + at[:, 1] * x.mean(), at[:, 2] + at[:, 3] * y.mean()
    found = np.array([np.exp(at[:, 4]), np.exp(a), at[:, 1], np.exp(b), at[:, 3]])
    if not (np.isfinite(found) & (found > 0)).all():
        raise ValueError(_NO_LAW)
    return tuple(found)
