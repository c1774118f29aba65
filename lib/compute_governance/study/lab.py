"""Experiments on small models: tuning, repeated runs, intervals, and the audit of the wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from lib.compute_governance.codecs import Codec, Shapes, size_of
from lib.compute_governance.lowcomm.models import Model
from lib.compute_governance.lowcomm.pool import Pool, Seat
from lib.compute_governance.lowcomm.strategies import DiLoCo, Strategy
from lib.compute_governance.lowcomm.training import Batches, History, Settings, train
from lib.compute_governance.lowcomm.wire import make_link, socket_bytes
from lib.core import check
from lib.stats import t_interval

__all__ = ["GRID", "TEXTBOOK", "Lab", "silent", "slopes", "token_share", "wire_audit"]

Floats = NDArray[np.float64]

TEXTBOOK = (0.7, 0.9)
"""Outer rate and Nesterov momentum of the DiLoCo paper (arXiv 2311.08105)."""

GRID: tuple[tuple[float, float], ...] = ((1.0, 0.0), (0.7, 0.5), TEXTBOOK)
"""Outer steps tried on the validation seed."""


def token_share(curve: Sequence[tuple[int, float]], loss: float) -> float:
    """Return the share of a reference run's tokens that would have reached a loss.

    Parameters
    ----------
    curve : sequence of (step, loss)
        Judgements of the reference run, in order, from its beginning to its end.
    loss : float
        What another run reached with all tokens.

    Returns
    -------
    float
        In (0, 1]; 1 where the reference never was better.

    Raises
    ------
    ValueError
        If `loss` is above the first judgement: the share would be an extrapolation.

    Examples
    --------
    >>> token_share([(10, 4.0), (20, 3.0), (30, 2.5)], 3.5)
    0.5
    """
    steps, losses = np.array(curve, dtype=float).T
    best = np.minimum.accumulate(losses)
    if not loss <= best[0]:
        raise ValueError(f"a loss of {loss} is above the first judgement, {best[0]}")
    reached = np.interp(-loss, -best, steps)
    return float(reached / steps[-1])


def silent(steps: int) -> DiLoCo:
    """Return the baseline that every strategy must beat: train apart, average weights at the end.

    Nothing is sent before the last step, and that one exchange is needed to have one model at all.
    """
    return DiLoCo(steps, 1.0, 0.0)


def slopes(table: pd.DataFrame) -> Floats:
    """Return the slope of loss a decade of H for every seed.

    Parameters
    ----------
    table : DataFrame
        Losses, a row an H, a column a seed.
    """
    decades = np.log10(np.asarray(table.index, dtype=float))
    found: Floats = np.polyfit(decades, table.to_numpy(dtype=float), 1)[0]
    return found


@dataclass
class Lab:
    """One model, one text, one set of settings; runs are remembered.

    Parameters
    ----------
    pool : Pool
    model : Model
    data : Batches
    steps : int
        Of every run, so that all see the same tokens.
    settings : Settings
    followed : Strategy, optional
        The one whose loss is judged on the way, sixteen times; judging takes a tenth of a run.
    """

    pool: Pool
    model: Model
    data: Batches
    steps: int
    settings: Settings
    followed: Strategy | None = None
    _done: dict[tuple[str, int], History] = field(default_factory=dict, repr=False)

    def run(self, strategy: Strategy, seed: int) -> History:
        """Return the run of a strategy with a seed."""
        key, settings = (repr(strategy), seed), self.settings
        if strategy == self.followed:
            settings = replace(settings, judge_every=self.steps // 16)
        if key not in self._done:
            self._done[key] = train(
                self.model,
                self.data,
                strategy,
                steps=self.steps,
                seed=seed,
                settings=settings,
                pool=self.pool,
            )
        return self._done[key]

    def runs(self, strategy: Strategy, seeds: Iterable[int]) -> list[History]:
        """Return one run a seed."""
        return [self.run(strategy, seed) for seed in seeds]

    def losses(self, strategy: Strategy, seeds: Iterable[int]) -> Floats:
        """Return the final losses, one a seed."""
        return np.array([one.loss for one in self.runs(strategy, seeds)])

    def tune(
        self,
        recipes: Mapping[str, Callable[[float, float], Strategy]],
        seed: int,
        grid: Sequence[tuple[float, float]] = GRID,
    ) -> pd.DataFrame:
        """Try every outer step of a grid with every recipe on one seed.

        Parameters
        ----------
        recipes : mapping of str to callable
            From (outer rate, momentum) to a strategy.
        seed : int
            A validation seed: none that results are reported for.
        grid : sequence of (float, float)

        Returns
        -------
        DataFrame
            Losses, a row a recipe, a column an outer step.
        """
        return pd.DataFrame(
            {
                name: {pair: self.run(make(*pair), seed).loss for pair in grid}
                for name, make in recipes.items()
            }
        ).T

    def row(self, strategy: Strategy, seeds: Sequence[int], reference: Floats) -> dict[str, float]:
        """Return a strategy's line of the loss-bytes table.

        Parameters
        ----------
        strategy : Strategy
        seeds : sequence of int
        reference : ndarray, shape (n_seeds,)
            Losses of what it is compared with, seed by seed.

        Returns
        -------
        dict of str to float
            ``loss``, the mean; ``gap`` to the reference, with its t interval ``low`` to ``high``;
            ``kB``, what a worker sent; ``exchanges``; ``wire / claimed``.
        """
        runs = self.runs(strategy, seeds)
        losses = np.array([one.loss for one in runs])
        gap = t_interval(losses - reference)
        wires = [one.wire for one in runs if one.wire is not None]
        return {
            "loss": float(losses.mean()),
            "gap": gap.value,
            "low": gap.low,
            "high": gap.high,
            "kB": float(np.mean([one.sent for one in runs])) / 1000,
            "exchanges": runs[0].exchanges,
            "wire / claimed": float(np.mean(wires)) / float(np.mean([one.claimed for one in runs]))
            if wires and runs[0].claimed
            else float("nan"),
        }


SILENCE = 0.2
"""Seconds without any exchange, in which a quiet wire is shown to be quiet."""


def _exchange(seat: Seat, codec: Codec, shapes: Shapes, rounds: int) -> dict[str, Any]:
    """Gather a random vector `rounds` times in one worker; return its counts."""
    link = make_link(range(seat.world), seat.rank, seat.world)
    vector = torch.randn(size_of(shapes), generator=torch.Generator().manual_seed(seat.rank))
    dist.barrier()
    before_idle = socket_bytes()
    time.sleep(SILENCE)
    before = socket_bytes()
    for _ in range(rounds):
        link.gather(codec, vector, shapes)
    # Nobody leaves before all have received, so nothing is still on its way.
    dist.barrier()
    after = socket_bytes()
    counted = None not in (before_idle, before, after)
    return {
        "claimed": link.claimed,
        "sent": link.sent,
        "wire": after - before if counted else None,  # type: ignore[operator]
        "idle": before - before_idle if counted else None,  # type: ignore[operator]
    }


def wire_audit(
    pool: Pool, codecs: Mapping[str, Codec], shapes: Shapes, rounds: int = 5
) -> pd.DataFrame:
    """Send one random vector with every codec and count.

    Parameters
    ----------
    pool : Pool
        At least two workers.
    codecs : mapping of str to Codec
    shapes : sequence of tuple of int
        What the vector stands for; large enough that framing is small beside it.
    rounds : int
        Exchanges a codec, at least 1.

    Returns
    -------
    DataFrame
        A row a codec: ``bits`` a number by formula; ``claimed``, ``sent`` and ``wire``, bytes that
        one worker sent, mean over workers; ``idle``, bytes on the same sockets in 0.2 s of silence;
        ``ratio``, wire over claimed. NaN where the kernel does not tell.

    Raises
    ------
    ValueError
        If there is one worker only or no round.
    """
    check.integer("world", pool.world, at_least=2)
    check.integer("rounds", rounds, at_least=1)
    rows = {}
    for name, codec in codecs.items():
        parts = pd.DataFrame(pool.run(_exchange, codec, list(shapes), rounds)).astype(float)
        mean = parts.mean()
        rows[name] = {
            "bits": 8 * codec.nbytes(shapes) / size_of(shapes),
            "claimed": mean["claimed"],
            "sent": mean["sent"],
            "wire": mean["wire"],
            "idle": mean["idle"],
            "ratio": mean["wire"] / mean["claimed"],
        }
    return pd.DataFrame(rows).T
