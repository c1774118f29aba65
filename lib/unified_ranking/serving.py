"""From a request to a ranked slate: in one process, or in two that share a pool of caches.

`Retriever` encodes a past once, asks an index of all items for candidates, and gets their vectors
with them (``search_and_reconstruct``), so that ranking embeds nothing again. `rank` decodes these
candidates on the cache. `recommend` does both; `Stack` puts one into each of two processes, with a
`KVPool` between them (arXiv 2606.00422, section on serving). With a model of its own for ranking
the same stack is the pair of separate models that the paper compares with: nothing is shared then,
and the ranking process encodes the past itself.

A request that cannot be served fails alone, with the error that says why; a stack of which a
process ended fails all that were under way and takes no more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import multiprocessing
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Self

import faiss
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lib.core import check
from lib.unified_ranking.actions import with_mask
from lib.unified_ranking.model import (
    History,
    KVCache,
    ModelConfig,
    UnifiedRanker,
    WrongWeightsError,
)
from lib.unified_ranking.pool import KVPool, PoolError, Precision, StaleSlotError
from lib.unified_ranking.tensors import Ints, flags, tensor

__all__ = [
    "Candidates",
    "RankedSlate",
    "Request",
    "Retriever",
    "Stack",
    "StackError",
    "rank",
    "recommend",
]

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]


class StackError(RuntimeError):
    """A process of a stack ended, or the stack is closed; nothing was served for this request."""


@dataclass(frozen=True, eq=False)
class Request:
    """Who asks: a past, a moment, and how many candidates.

    Parameters
    ----------
    items : int array_like, shape (n,)
        The past, oldest first; empty for a cold user.
    actions : array_like, shape (n, C)
        Zeros and ones.
    times : array_like, shape (n,)
        Seconds, ascending.
    when : float
        Seconds, not before the last event.
    k : int
        Candidates, at least 1.
    surfaces : int array_like, shape (n,), optional
        0 by default.
    where : int
        Surface of the slate.
    exclude : int array_like, optional
        Items that are no candidates, such as those of the past.

    Examples
    --------
    >>> Request([3, 1], [[1], [0]], [10.0, 20.0], when=60.0, k=5).items.tolist()
    [3, 1]
    """

    items: Ints
    actions: Floats
    times: Floats
    when: float
    k: int = 50
    surfaces: Ints | None = None
    where: int = 0
    exclude: Ints | None = None

    def __post_init__(self) -> None:
        items = check.integers("items", self.items, shape=("n",), at_least=0, empty=True)
        actions = flags("actions", self.actions, ("n", "C") if len(items) else None)
        times = check.array("times", self.times, shape=("n",), empty=True)
        given = np.zeros(len(items), np.int64) if self.surfaces is None else self.surfaces
        surfaces = check.integers("surfaces", given, shape=("n",), at_least=0, empty=True)
        check.same_length(items=items, actions=actions, times=times, surfaces=surfaces)
        check.ordered("times", times)
        when = check.number("when", self.when)
        if len(items) and when < times[-1]:
            raise ValueError(f"when is {when}, expected a time from {times[-1]} on (ascending)")
        exclude = np.empty(0, np.int64) if self.exclude is None else self.exclude
        for name, value in (
            ("items", items),
            ("actions", actions),
            ("times", times),
            ("when", when),
            ("k", check.integer("k", self.k, at_least=1)),
            ("surfaces", surfaces),
            ("where", check.integer("where", self.where, at_least=0)),
            ("exclude", check.integers("exclude", exclude, shape=("m",), at_least=0, empty=True)),
        ):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What retrieval found.

    Attributes
    ----------
    items : int64 (k,)
        Best first; fewer than asked for where the catalogue has no more.
    vectors : float32 (k, d_item)
        Their embeddings, from the index.
    when : float
        Seconds.
    where : int
        Surface.
    """

    items: Ints
    vectors: Vectors
    when: float
    where: int


@dataclass(frozen=True, eq=False)
class RankedSlate:
    """What is shown.

    Attributes
    ----------
    items : int64 (k,)
        Best first.
    scores : float (k, C)
        Probability of each action, in the same order.
    """

    items: Ints
    scores: Floats


class Retriever:
    """Encodes pasts and finds candidates among all items.

    Parameters
    ----------
    model : UnifiedRanker
        Sealed.
    content : float Tensor, shape (n_items, d_content)
    index : faiss.Index, optional
        For inner products, empty, and able to reconstruct; exact search by default. It is filled
        here. What it returns as vectors is what is ranked, also where it stores them coarsely.

    Examples
    --------
    >>> model = UnifiedRanker(ModelConfig(4, 2, d_item=4, d_model=8))
    >>> _ = model.seal()
    >>> retriever = Retriever(model, torch.eye(4))
    >>> found, cache = retriever.retrieve(Request([3, 1], [[1, 0], [0, 0]], [0, 9], when=9, k=2))
    >>> found.vectors.shape, cache.lengths.tolist()
    ((2, 4), [3])
    """

    def __init__(self, model: UnifiedRanker, content: Tensor, index: Any = None) -> None:
        self.model = _sealed(model)
        with torch.no_grad():
            vectors = model.embed(tensor("content", content, ("n_items", model.config.d_content)))
        if not len(vectors):
            raise ValueError(f"content is empty (shape {tuple(content.shape)}), expected items")
        self.vectors = vectors
        self.index = faiss.IndexFlatIP(model.config.d_item) if index is None else index
        if self.index.ntotal:
            raise ValueError(f"index holds {self.index.ntotal} vectors, expected an empty one")
        self.index.add(np.ascontiguousarray(vectors.numpy(), np.float32))

    def encode(self, request: Request) -> tuple[Tensor, KVCache]:
        """Return a request's query, ``(1, d_item)``, and the cache of its past.

        Raises
        ------
        ValueError
            If the past is too long, or has an unknown item, action or surface.
        """
        if not isinstance(request, Request):
            raise ValueError(f"request is {request!r:.60}, expected a Request")
        check.integers("items", request.items, below=len(self.vectors), empty=True)
        kind, width = self.vectors.dtype, self.model.config.n_actions
        n = len(request.items)
        done = torch.as_tensor(request.actions, dtype=kind).reshape(1, n, -1 if n else width)
        past = History(
            self.vectors[torch.from_numpy(request.items)][None],
            with_mask(done, torch.zeros(1, n, dtype=torch.bool)),
            torch.from_numpy(request.times)[None],
            torch.tensor([n]),
            torch.as_tensor(request.surfaces)[None],
        )
        with torch.no_grad():
            states, cache = self.model.encode(past)
            return self.model.query(self.model.last(states, cache)), cache

    def retrieve(self, request: Request) -> tuple[Candidates, KVCache]:
        """Return the candidates of a request, with their vectors, and the cache of its past."""
        query, cache = self.encode(request)
        left_out = None
        if request.exclude is not None and len(request.exclude):
            # Neither holds the other: as names they outlive the search.
            batch = faiss.IDSelectorBatch(request.exclude)
            selector = faiss.IDSelectorNot(batch)
            left_out = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        _, items, vectors = self.index.search_and_reconstruct(
            np.ascontiguousarray(query.numpy(), np.float32), request.k, params=left_out
        )
        found = items[0] >= 0  # −1 stands for "no more"
        if not found.any():
            raise ValueError(f"exclude leaves none of {len(self.vectors)} items, expected some")
        return Candidates(items[0, found], vectors[0, found], request.when, request.where), cache


def rank(
    model: UnifiedRanker,
    cache: KVCache,
    candidates: Candidates,
    utility: npt.ArrayLike | None = None,
) -> RankedSlate:
    """Rank candidates by one decoding step on a cached past.

    Parameters
    ----------
    model : UnifiedRanker
        Sealed, with the weights that made the cache.
    cache : KVCache
        Of one user.
    candidates : Candidates
    utility : array_like of float, shape (C,), optional
        What each action is worth; ones by default, and negative for what is to be avoided. Items
        are ordered by the expected sum; equals keep the order of retrieval.

    Returns
    -------
    RankedSlate

    Raises
    ------
    WrongWeightsError
        If the cache was made with other weights.

    Examples
    --------
    >>> model = UnifiedRanker(ModelConfig(4, 2, d_item=4, d_model=8))
    >>> _ = model.seal()
    >>> retriever = Retriever(model, torch.eye(4))
    >>> found, cache = retriever.retrieve(Request([], [], [], when=0.0, k=3))
    >>> rank(model, cache, found).scores.shape
    (3, 2)
    """
    _sealed(model)
    if not isinstance(candidates, Candidates):
        raise ValueError(f"candidates is {candidates!r:.60}, expected Candidates")
    worth = _utility(utility, model.config.n_actions)
    with torch.no_grad():
        logits = model.rank(
            cache,
            torch.as_tensor(candidates.vectors, dtype=cache.keys.dtype)[None],
            torch.tensor([candidates.when], dtype=torch.float64),
            torch.tensor([candidates.where]),
        )
    scores = torch.sigmoid(logits[0].double()).numpy()
    order = np.argsort(-(scores @ worth), kind="stable")
    return RankedSlate(candidates.items[order], scores[order])


def recommend(
    retriever: Retriever, request: Request, utility: npt.ArrayLike | None = None
) -> RankedSlate:
    """Return the slate for a request, in this process; see `rank`.

    Examples
    --------
    >>> model = UnifiedRanker(ModelConfig(4, 2, d_item=4, d_model=8))
    >>> _ = model.seal()
    >>> shown = recommend(Retriever(model, torch.eye(4)), Request([], [], [], when=0.0, k=9))
    >>> sorted(shown.items.tolist())
    [0, 1, 2, 3]
    """
    if not isinstance(retriever, Retriever):
        raise ValueError(f"retriever is {retriever!r:.60}, expected a Retriever")
    candidates, cache = retriever.retrieve(request)
    return rank(retriever.model, cache, candidates, utility)


def _sealed(model: UnifiedRanker) -> UnifiedRanker:
    if not isinstance(model, UnifiedRanker) or not model.sealed:
        kind = "a model in training" if isinstance(model, UnifiedRanker) else f"{model!r:.60}"
        raise ValueError(f"model is {kind}, expected a sealed UnifiedRanker (model.seal())")
    return model


def _utility(utility: npt.ArrayLike | None, n_actions: int) -> Floats:
    given = np.ones(n_actions) if utility is None else utility
    return check.array("utility", given, shape=(n_actions,))


# ── two processes ───────────────────────────────────────────────────────────────────────────────
_REFUSALS: dict[str, type[Exception]] = {
    one.__name__: one for one in (ValueError, PoolError, StaleSlotError, WrongWeightsError)
}


def _packed(model: UnifiedRanker) -> bytes:
    """Return a model as bytes; pickled as it is, both processes would share its memory."""
    buffer = io.BytesIO()
    torch.save(
        {
            "config": dataclasses.asdict(model.config),
            "state": model.state_dict(),
            "hash": model.sealed,
            "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        },
        buffer,
    )
    return buffer.getvalue()


def _unpacked(packed: bytes) -> UnifiedRanker:
    stored = torch.load(io.BytesIO(packed), weights_only=True)
    model = UnifiedRanker(ModelConfig(**stored["config"])).to(getattr(torch, stored["dtype"]))
    model.load_state_dict(stored["state"])
    if model.seal() != stored["hash"]:
        raise WrongWeightsError("a model came over with other weights than it was sent with")
    return model


def _retrieval(
    packed: bytes,
    content: npt.NDArray[Any],
    pool: str | None,
    inbox: Connection,
    outbox: Connection,
) -> None:
    """Run the first process: requests in; candidates, with a ticket or the past, out."""
    torch.set_num_threads(1)
    retriever = Retriever(_unpacked(packed), torch.from_numpy(content))
    slots = KVPool.attach(pool, write=True) if pool else None
    outbox.send(None)
    with contextlib.suppress(EOFError, BrokenPipeError), slots or contextlib.nullcontext():
        while (message := inbox.recv()) is not None:
            number, request = message
            try:
                candidates, cache = retriever.retrieve(request)
                carried = slots.write(cache, number) if slots else request
                outbox.send((number, candidates, carried))
            except tuple(_REFUSALS.values()) as error:
                outbox.send((number, error, None))


def _ranking(
    packed: bytes,
    content: npt.NDArray[Any],
    pool: str | None,
    utility: Floats,
    inbox: Connection,
    outbox: Connection,
) -> None:
    """Run the second process: candidates in, slates or refusals out."""
    torch.set_num_threads(1)
    model = _unpacked(packed)
    own = None if pool else Retriever(model, torch.from_numpy(content))
    slots = KVPool.attach(pool) if pool else None
    inbox.recv()
    outbox.send(None)
    with contextlib.suppress(EOFError, BrokenPipeError), slots or contextlib.nullcontext():
        while True:
            number, candidates, carried = inbox.recv()
            try:
                if isinstance(candidates, Exception):
                    raise candidates
                if slots:
                    with slots.view(carried, weights=model.sealed) as cache:
                        slate = rank(model, cache, candidates, utility)
                        del cache
                else:
                    assert own is not None
                    _, past = own.encode(carried)
                    vectors = own.vectors[torch.from_numpy(candidates.items)].numpy()
                    slate = rank(
                        model, past, dataclasses.replace(candidates, vectors=vectors), utility
                    )
                outbox.send((number, slate, ""))
            except tuple(_REFUSALS.values()) as error:
                outbox.send((number, type(error).__name__, str(error)))


def _failed(process: BaseProcess) -> bool:
    """Whether a process that is ending ended otherwise than by its own will."""
    process.join()
    return process.exitcode != 0


class Stack:
    """Retrieval and ranking in two processes; a context that ends them.

    Parameters
    ----------
    model : UnifiedRanker
        Sealed.
    content : float Tensor, shape (n_items, d_content)
    slots : int
        Of the pool. More requests under way than slots means that some are refused.
    ranker : UnifiedRanker, optional
        A sealed second model for ranking, which encodes the past itself: two separate models.
    utility : array_like of float, shape (C,), optional
        See `rank`.

    Attributes
    ----------
    pool : KVPool or None
        The shared pool; this process does not write to it.
    processes : tuple of multiprocessing.Process
        Retrieval and ranking.

    Raises
    ------
    StackError
        If a process ends before it is ready.
    """

    def __init__(
        self,
        model: UnifiedRanker,
        content: Tensor,
        *,
        slots: int = 8,
        ranker: UnifiedRanker | None = None,
        utility: npt.ArrayLike | None = None,
    ) -> None:
        _sealed(model)
        second = model if ranker is None else _sealed(ranker)
        for one in (model, second):
            tensor("content", content, ("n_items", one.config.d_content))
        if not len(content):
            raise ValueError(f"content is empty (shape {tuple(content.shape)}), expected items")
        slots = check.integer("slots", slots, at_least=1)
        worth = _utility(utility, second.config.n_actions)
        self.pool = None
        if ranker is None:
            double = next(model.parameters()).dtype == torch.float64
            kind: Precision = "float64" if double else "float32"
            self.pool = KVPool.create(model.config, slots, precision=kind, write=False)
        name = self.pool.name if self.pool else None
        table = content.detach().numpy()
        # A fresh interpreter: a forked one would inherit threads' locks, and both ends of pipes.
        context = multiprocessing.get_context("spawn")
        first_in, self._requests = context.Pipe(duplex=False)
        second_in, first_out = context.Pipe(duplex=False)
        self._answers, second_out = context.Pipe(duplex=False)
        self.processes = (
            context.Process(
                target=_retrieval,
                args=(_packed(model), table, name, first_in, first_out),
                daemon=True,
            ),
            context.Process(
                target=_ranking,
                args=(_packed(second), table, name, worth, second_in, second_out),
                daemon=True,
            ),
        )
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[RankedSlate]] = {}
        self._lock, self._ending = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = ""
        try:
            for process in self.processes:
                process.start()
            # Only a process's own ends keep a pipe open, so that its death closes it.
            for end in (first_in, first_out, second_in, second_out):
                end.close()
            self._wait()
        except BaseException:
            self._end("the stack did not start")
            raise
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> Future[RankedSlate]:
        """Send a request; the slate comes later.

        Returns
        -------
        Future of RankedSlate
            Its ``result(timeout)`` raises what was wrong with this request: a `ValueError`, a
            `StaleSlotError` where the pool was full, or a `StackError` where a process ended.

        Raises
        ------
        StackError
            If the stack has ended.
        """
        if not isinstance(request, Request):
            raise ValueError(f"request is {request!r:.60}, expected a Request")
        answer: Future[RankedSlate] = Future()
        answer.set_running_or_notify_cancel()  # what was sent cannot be called back
        with self._lock:
            if self._ended:
                raise StackError(self._ended)
            number = next(self._numbers)
            self._waiting[number] = answer
            try:
                self._requests.send((number, request))
            except (BrokenPipeError, OSError):
                del self._waiting[number]
                raise StackError("the retrieval process has ended") from None
        return answer

    def close(self) -> None:
        """End both processes, fail what is under way, and free the pool."""
        self._end("the stack is closed")
        if self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self) -> None:
        ready = wait([self._answers, *(one.sentinel for one in self.processes)])
        try:
            if self._answers in ready:
                self._answers.recv()
                return
        except EOFError:
            pass
        raise StackError("a process of the stack ended before it was ready")

    def _listen(self) -> None:
        """Hand answers to those who wait, until a process ends or the stack is closed."""
        ends = [process.sentinel for process in self.processes]
        while True:
            ready = wait([self._answers, *ends])
            try:
                if self._answers in ready:
                    number, found, words = self._answers.recv()
                    answer = self._waiting.pop(number, None)
                    if answer is None:
                        continue
                    if isinstance(found, RankedSlate):
                        answer.set_result(found)
                    else:
                        answer.set_exception(_REFUSALS[found](words))
                    continue
            except (EOFError, OSError):
                pass
            # Pipes close before their process has quite ended, and the other one then ends well.
            over = wait(ends, timeout=1)
            named = zip(("retrieval", "ranking"), self.processes, strict=True)
            gone = [name for name, one in named if one.sentinel in over and _failed(one)]
            self._end(f"the {' and the '.join(gone) or 'ranking'} process has ended")
            return

    def _end(self, why: str) -> None:
        with self._ending:
            if self._ended:
                return
            self._ended = why
            # First, for a full pipe lets go of who waits to send only when its reader is gone.
            for process in self.processes:
                if process.pid is not None:
                    process.kill()
                    process.join()
            with self._lock:
                left, self._waiting = list(self._waiting.values()), {}
                self._requests.close()
            for answer in left:
                answer.set_exception(StackError(f"{why}; nothing was served for this request"))
            if self.pool:
                self.pool.close()
