"""Load on the loopback: requests that do not wait for answers, and what two stacks make of them.

The generator is open: each request has a moment at which it is due, drawn before the first is sent,
and its latency counts from there. So a stack that falls behind cannot slow down what it is asked.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lib.core import check
from lib.core.profile import pick
from lib.unified_ranking.model import ModelConfig, UnifiedRanker
from lib.unified_ranking.serving import RankedSlate, Request, Stack

__all__ = ["Comparison", "Load", "compare", "offer", "requests", "sustained"]

Floats = npt.NDArray[np.float64]

LIMIT, WITHIN = 1.0, 0.99
"""Sustained is a load of which so large a share is answered within so many seconds."""

_PATIENCE = 120.0


@dataclass(frozen=True, eq=False)
class Load:
    """What became of the requests.

    Attributes
    ----------
    rate : float
        Requests a second that were due; infinite where all were due at once.
    latencies : float (n,)
        Seconds from when a request was due to its answer; infinite where it was refused.
    seconds : float
        From the first request to the last answer.
    """

    rate: float
    latencies: Floats
    seconds: float

    @property
    def answered(self) -> int:
        """Requests that were served."""
        return int(np.isfinite(self.latencies).sum())

    def within(self, limit: float) -> float:
        """Return the share answered within so many seconds."""
        limit = check.number("limit", limit, above=0)
        return float((self.latencies <= limit).mean())

    def percentile(self, percent: float) -> float:
        """Return a percentile of latency, seconds."""
        percent = check.number("percent", percent, at_least=0, at_most=100)
        return float(np.quantile(self.latencies, percent / 100, method="higher"))


def requests(
    count: int, n: int, k: int, n_items: int, *, n_actions: int = 3, seed: int = 0
) -> list[Request]:
    """Draw requests of users with n events each, for k candidates; simulated.

    Parameters
    ----------
    count, n, k, n_items : int
        k of at most `n_items`.
    n_actions : int
    seed : int

    Examples
    --------
    >>> [len(one.items) for one in requests(2, 5, 3, 10)]
    [5, 5]
    """
    for name, value in (("count", count), ("k", k), ("n_items", n_items), ("n_actions", n_actions)):
        check.integer(name, value, at_least=1)
    check.integer("k", k, at_most=n_items)
    n = check.integer("n", n, at_least=0)
    rng = np.random.default_rng(check.integer("seed", seed, at_least=0))
    return [
        Request(
            rng.integers(n_items, size=n),
            (rng.random((n, n_actions)) < 0.3).astype(np.float64),
            np.cumsum(rng.exponential(60.0, n)),
            when=1e9,
            k=k,
        )
        for _ in range(count)
    ]


def offer(stack: Stack, asked: Sequence[Request], rate: float, *, seed: int = 0) -> Load:
    """Send requests as they fall due, at random moments, and wait for all answers at the end.

    Parameters
    ----------
    stack : Stack
    asked : sequence of Request
    rate : float
        Requests a second on average; ``inf`` makes all due at once.
    seed : int

    Raises
    ------
    TimeoutError
        If an answer takes two minutes.
    """
    if not asked:
        raise ValueError("asked is empty, expected a request or more")
    if not rate > 0:
        raise ValueError(f"rate is {rate}, expected a number above 0")
    rng = np.random.default_rng(check.integer("seed", seed, at_least=0))
    between = rng.exponential(1.0, len(asked))
    due = np.cumsum(between) / rate  # zeros where the rate is infinite
    done = np.full(len(asked), np.inf)
    answers: list[Future[RankedSlate]] = []
    began = time.perf_counter()

    def note(row: int, _: Future[RankedSlate]) -> None:
        done[row] = time.perf_counter() - began

    for row, (moment, request) in enumerate(zip(due, asked, strict=True)):
        ahead = moment - (time.perf_counter() - began)
        if ahead > 0:
            time.sleep(ahead)
        answer = stack.submit(request)
        answer.add_done_callback(functools.partial(note, row))
        answers.append(answer)
    if wait(answers, timeout=_PATIENCE).not_done:
        raise TimeoutError(f"an answer took more than {_PATIENCE:.0f} s")
    seconds = time.perf_counter() - began
    refused = np.array([one.exception() is not None for one in answers])
    return Load(rate, np.where(refused, np.inf, done - due), seconds)


def sustained(
    stack: Stack, asked: Sequence[Request], *, limit: float = LIMIT, share: float = WITHIN
) -> tuple[float, list[Load]]:
    """Return the requests a second that a stack sustains, and what was tried.

    All at once first: a stack cannot answer more a second than then. From there the rate falls by a
    twentieth until the share is answered in time.

    Parameters
    ----------
    stack : Stack
    asked : sequence of Request
    limit : float
        Seconds.
    share : float

    Returns
    -------
    (float, list of Load)
        0 where not even a quarter of the rate is sustained.
    """
    share = check.share("share", share)
    burst = offer(stack, asked, np.inf)
    tried = [burst]
    if not burst.answered:
        return 0.0, tried
    most = burst.answered / burst.seconds
    for factor in 0.95 ** np.arange(28):
        found = offer(stack, asked, most * float(factor))
        tried.append(found)
        if found.within(limit) >= share:
            return found.rate, tried
    return 0.0, tried


@dataclass(frozen=True, eq=False)
class Comparison:
    """Both stacks in one run, in turn.

    Attributes
    ----------
    rates : float (rounds, 2)
        Requests a second sustained, unified and separate.
    loads : tuple of tuple of Load
        At one rate that both can bear, for each round unified and separate.
    """

    rates: Floats
    loads: tuple[tuple[Load, Load], ...]

    @property
    def ratios(self) -> Floats:
        """Requests a second sustained, unified over separate, by round."""
        return np.asarray(self.rates[:, 0] / self.rates[:, 1])

    @property
    def latency(self) -> Floats:
        """Relative difference of median latency, unified against separate, by round."""
        medians = np.array([[one.percentile(50) for one in pair] for pair in self.loads])
        return np.asarray(medians[:, 0] / medians[:, 1] - 1)


def compare(
    n: int = 992,
    k: int = 656,
    *,
    rounds: int | None = None,
    count: int | None = None,
    n_items: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare one model with two at equal hardware: two processes of one thread either way.

    Weights are drawn at random, for they change nothing of the cost.

    Parameters
    ----------
    n, k : int
        Events of a past, and candidates.
    rounds, count : int, optional
        Rounds, and requests of each part of a round; by the profile of the run.
    n_items : int
    seed : int
    """
    rounds = pick(smoke=2, book=4, full=20) if rounds is None else rounds
    count = pick(smoke=4, book=80, full=1000) if count is None else count
    check.integer("rounds", rounds, at_least=1)
    torch.manual_seed(check.integer("seed", seed, at_least=0))
    content = torch.randn(n_items, 32)
    shape = ModelConfig(d_content=32, n_actions=3, d_item=32, d_model=64, max_events=max(1, n))
    one, other = UnifiedRanker(shape), UnifiedRanker(shape)
    for model in (one, other):
        model.seal()
    asked = requests(count, n, k, n_items, seed=seed)
    rates, loads = [], []
    with Stack(one, content) as unified, Stack(one, content, ranker=other) as separate:
        stacks = unified, separate
        for stack in stacks:
            offer(stack, asked[:2], np.inf)  # what is done once is no part of a rate
        for number in range(rounds):
            order = (0, 1) if number % 2 == 0 else (1, 0)
            most = {at: sustained(stacks[at], asked)[0] for at in order}
            rates.append([most[0], most[1]])
            rate = 0.5 * max(1.0, min(rates[-1]))
            few = asked[: max(2, count // 2)]
            calm = {at: offer(stacks[at], few, rate, seed=number) for at in order}
            loads.append((calm[0], calm[1]))
    return Comparison(np.asarray(rates), tuple(loads))
