"""Sweeps: one function over many items, in processes here or on a Dask cluster, resumable.

Every finished item is stored at once, under a digest of the code (the function's module and the
`lib` modules that it imports), the data sets that this code names, the lock, the profile, the seed
and the item. An interrupted sweep goes on where it stopped, equal items are computed once, and a
change of any of these computes anew. ``BOOK_RESULTS`` names another folder for what is stored.

``BOOK_SWEEP_BACKEND=dask`` and ``BOOK_DASK_SCHEDULER=tcp://host:8786`` send the same call to a
cluster whose workers have this repository installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import pickle
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from lib.core import check, data
from lib.core.paths import RESULTS, write_atomic
from lib.core.processes import end_with
from lib.core.profile import profile
from lib.core.sources import code_digest, digest, import_closure, lock_digest, texts

__all__ = ["SweepError", "run"]

_MISSING = object()


class SweepError(RuntimeError):
    """An item failed; the message names it and the cause holds the error.

    The function raised, its result does not pickle, or the process that computed it died: then the
    message names every item that was being computed.
    """


def run(
    func: Callable[..., Any],
    items: Iterable[Any],
    *,
    name: str,
    backend: str | Any | None = None,
    n_jobs: int | None = None,
    cache: bool = True,
    seed: int | None = None,
) -> list[Any]:
    """Apply a function to every item and return the results in the order of the items.

    Parameters
    ----------
    func : callable
        A function of an importable module, called as ``func(item)``, or as ``func(item, rng)`` when
        a seed is given. Its results must pickle.
    items : iterable
        What to apply it to; each must pickle, and its `repr` names it in errors.
    name : str
        The folder of the results below ``RESULTS``; letters, digits, ``-`` and ``_``.
    backend : {"loky", "dask"} or distributed.Client, optional
        Processes of this machine, or a cluster. Default: ``BOOK_SWEEP_BACKEND``, else ``"loky"``.
    n_jobs : int, optional
        Processes at a time, at least 1; by default one a core. The cluster decides for itself.
    cache : bool
        Whether to look for stored results and to store new ones.
    seed : int, optional
        Nonnegative. Each item gets a generator made from the seed and the item, so its numbers
        depend neither on the order of the items nor on the number of processes.

    Returns
    -------
    list
        One result an item.

    Raises
    ------
    ValueError
        If an argument is not one of the above.
    SweepError
        If the function raises, a result does not pickle or a worker dies. What had been finished
        before is stored.

    Examples
    --------
    >>> import math
    >>> run(math.factorial, [3, 2, 3], name="demo", n_jobs=1, cache=False)
    [6, 2, 6]
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", check.text("name", name)):
        raise ValueError(f"name is {name!r}, expected letters, digits, - and _")
    if n_jobs is not None:
        n_jobs = check.integer("n_jobs", n_jobs, at_least=1)
    if seed is not None:
        seed = check.integer("seed", seed, at_least=0)
    qualified = getattr(func, "__qualname__", "<")
    if "<" in qualified or getattr(func, "__module__", None) in (None, "__main__"):
        raise ValueError(f"{func!r} cannot be imported by a worker; define it in a module of lib")
    items = list(items)
    code = _code(func) if cache else ""
    keys = [digest(f"{code}:{seed}:{joblib.hash(item, hash_name='sha1')}") for item in items]
    folder = RESULTS / name
    results: dict[str, Any] = {}
    todo: dict[str, Any] = {}
    for key, item in zip(keys, items, strict=True):
        if key in results or key in todo:
            continue
        stored = _load(folder / f"{key}.pkl") if cache else _MISSING
        if stored is _MISSING:
            todo[key] = item
        else:
            results[key] = stored
    with _progress(name, len(todo) + len(results), len(results)) as bar:
        for key, payload in _compute(func, todo, backend, n_jobs, seed):
            if cache:
                write_atomic(folder / f"{key}.pkl", hashlib.sha256(payload).digest() + payload)
            results[key] = pickle.loads(payload)
            bar.update()
    return [results[key] for key in keys]


def _code(func: Callable[..., Any]) -> str:
    """Return a digest of what the function runs on: code, data sets it names, lock, profile."""
    try:
        file = Path(str(inspect.getsourcefile(func)))
        closure = import_closure([file.read_text(encoding="utf-8")])
    except (TypeError, OSError) as error:
        raise ValueError(f"{func!r} has no source to take a digest of; use cache=False") from error
    # The file itself may sit inside lib, whose relative imports need its package.
    if func.__module__.split(".")[0] == "lib":
        closure |= import_closure([f"import {func.__module__}"])
    files = {file, *closure.values()}
    named = data.registry().keys() & set().union(*map(texts, files))
    parts = sorted({code_digest(one) for one in files}) + sorted(data.digests(named).values())
    return digest(":".join([func.__module__, func.__qualname__, profile(), lock_digest(), *parts]))


def _compute(
    func: Callable[..., Any],
    todo: dict[str, Any],
    backend: str | Any | None,
    n_jobs: int | None,
    seed: int | None,
) -> Iterator[tuple[str, Any]]:
    """Yield keys and pickled results as they are finished."""
    with tempfile.TemporaryDirectory() as desk, _configured(backend, n_jobs, len(todo)):
        parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
        calls = (joblib.delayed(_call)(func, key, item, seed, desk) for key, item in todo.items())
        try:
            yield from parallel(calls)
        except SweepError:
            raise
        except Exception as error:  # what the pool or the cluster raises when a process dies
            begun = [item for key, item in todo.items() if (Path(desk) / key).exists()]
            items = " or ".join(f"{item!r:.200}" for item in begun or todo.values())
            text = f"{func.__qualname__}: a worker died on item {items}"
            raise SweepError(f"{text}: {type(error).__name__}: {error}") from error


def _call(
    func: Callable[..., Any], key: str, item: Any, seed: int | None, desk: str
) -> tuple[str, bytes]:
    """Apply the function to one item; runs in a worker.

    The item lies on the desk, a folder, while it is computed: a process that is killed says
    nothing. Workers of a cluster on other machines have no such folder.
    """
    slip = Path(desk) / key
    if slip.parent.is_dir():
        slip.touch()
    try:
        arguments = [item]
        if seed is not None:
            # The key covers seed and item, but also the code; the numbers must not move with that.
            name = joblib.hash(item, hash_name="sha1").encode()
            own = int(hashlib.sha256(name).hexdigest()[:16], 16)
            arguments.append(np.random.default_rng([seed, own]))
        payload = pickle.dumps(func(*arguments), protocol=pickle.HIGHEST_PROTOCOL)
    except (Exception, SystemExit) as error:
        text = f"{func.__qualname__} failed on item {item!r:.200}: {type(error).__name__}: {error}"
        raise SweepError(text) from error
    slip.unlink(missing_ok=True)
    return key, payload


@contextlib.contextmanager
def _configured(backend: str | Any | None, n_jobs: int | None, count: int) -> Iterator[None]:
    """Choose where joblib computes."""
    chosen = backend or os.environ.get("BOOK_SWEEP_BACKEND") or "loky"
    if chosen == "loky":
        jobs = max(1, min(n_jobs or joblib.cpu_count(), count))
        # One thread a process: sums come out in one order whatever the machine.
        options: dict[str, Any] = {"inner_max_num_threads": 1}
        options |= {"initializer": end_with, "initargs": (os.getpid(),)}
        if jobs == 1:
            options = {}
        try:
            with (
                warnings.catch_warnings(),
                joblib.parallel_config(
                    "sequential" if jobs == 1 else "loky", n_jobs=jobs, **options
                ),
            ):
                # joblib replaces a process that has grown, and says so; nothing is lost, and a
                # notebook would store what it says.
                warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
                yield
        finally:
            # Workers that live on would keep modules that have changed on disk since.
            if jobs > 1:
                get_reusable_executor().shutdown(wait=True)
        return
    if isinstance(chosen, str) and chosen != "dask":
        raise ValueError(f"backend is {chosen!r}, expected 'loky', 'dask' or a distributed.Client")
    from distributed import Client

    if isinstance(chosen, Client):
        with joblib.parallel_config("dask", client=chosen, n_jobs=-1):
            yield
        return
    address = os.environ.get("BOOK_DASK_SCHEDULER")
    if not address:
        raise ValueError(
            "the backend is 'dask' but BOOK_DASK_SCHEDULER is not set; expected tcp://host:port"
        )
    with Client(address) as client, joblib.parallel_config("dask", client=client, n_jobs=-1):
        yield


def _progress(name: str, total: int, done: int) -> Any:
    """Return a bar on the error stream; none where nobody looks or the output is compared."""
    # A notebook's error stream is no terminal, but its reader sees the bar.
    in_notebook = type(sys.stderr).__module__.startswith("ipykernel")
    off = True if os.environ.get("BOOK_QUIET") else (False if in_notebook else None)
    return tqdm(desc=name, total=total, initial=done, disable=off, file=sys.stderr)


def _load(file: Path) -> Any:
    """Return a stored result, or `_MISSING` if there is none or it is damaged."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return _MISSING
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return _MISSING
    return pickle.loads(content[32:])
