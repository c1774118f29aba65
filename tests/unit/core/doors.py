"""Knock at every public door of a package with bad input, and hear what it says.

How a door is called comes from its example (``door_examples.py``), else from its defaults and type
hints. Then every argument in turn is spoilt, according to what it is: a number, a whole number, an
array, a table, a choice, a text, a sequence. A door passes if it refuses with an error that names
the argument or the value, or if what it returns is listed as right.

``python tests/unit/core/doors.py autobidding`` prints what a package's doors let through.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import sys
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.random import Generator

Door = Callable[..., Any]
Example = Callable[[], dict[str, Any]]

THIS = Path(__file__)
ROOT = THIS.parents[3]
NAN, INF = float("nan"), float("inf")
EMPTY = ("empty", "[]", "()", "{}", "(0,)")
CLEAR = (ValueError, TypeError, LookupError, RuntimeError)
"""Errors that may be clear; a RuntimeError only if it is one of `lib`."""

SHELL = ("main", "setup", "pytest_configure")
"""Called by a shell, Sphinx or pytest, which check what they hand over."""


PARTS = ("_", "sphinx_")
"""Begins of modules that are not for users: what only neighbours or Sphinx call."""


class NoExampleError(LookupError):
    """The type hints do not say how to call a door."""


def doors(package: str) -> dict[str, Door]:
    """Return what a package exports and what can be called, by full name.

    What its ``__init__`` exports is public; where that exports nothing, its modules are.
    Errors, protocols and plain records, which do nothing with what they are given, are no doors.
    """
    module = importlib.import_module(f"lib.{package}")
    found = {}
    for name in getattr(module, "__all__", ()):
        one = getattr(module, name)
        home = str(getattr(one, "__module__", ""))
        if name not in SHELL and home.startswith(module.__name__) and _is_door(one):
            found[f"{package}.{name}"] = one
    if not hasattr(module, "__all__"):
        for inner in pkgutil.iter_modules(getattr(module, "__path__", ())):
            if not inner.name.startswith(PARTS):
                found |= doors(f"{package}.{inner.name}")
    return found


def _is_door(one: Any) -> bool:
    if not inspect.isclass(one):
        return inspect.isfunction(inspect.unwrap(one)) if callable(one) else False
    if issubclass(one, BaseException) or getattr(one, "_is_protocol", False):
        return False
    return ("__post_init__" if is_dataclass(one) else "__init__") in vars(one)


def knock(
    name: str,
    door: Door,
    example: Example | None = None,
    right: Mapping[tuple[str, str, str], Callable[[Any], bool]] | None = None,
) -> list[str]:
    """Return what a door lets through or refuses unclearly, one text for each fault.

    Parameters
    ----------
    name : str
        Of the door, for the texts and for `right`.
    door : callable
    example : callable, optional
        Makes right arguments, anew for each call.
    right : mapping, optional
        Whether what comes back is right, by door, argument and fault.
    """
    problems = []
    made = arguments(door, example)
    if all(one is not None for one in made.values()):
        try:
            _quietly(door, made)
        except Exception as error:
            raise NoExampleError(f"{name} refuses right arguments: {error}") from error
    for argument, good in arguments(door, example).items():
        for fault, bad, shown in faults(good, _hints(door).get(argument)):
            given = {**arguments(door, example), argument: bad}
            accepts = (right or {}).get((name, argument, fault))
            if problem := _answer(door, given, (argument, *shown), accepts):
                problems.append(f"{name}({argument}: {fault}) {problem}")
    return problems


def arguments(door: Door, example: Example | None) -> dict[str, Any]:
    """Return right arguments: the example's, then defaults that can be spoilt, then by hint."""
    made = dict(example()) if example else {}
    for one in inspect.signature(door).parameters.values():
        if one.name in made or one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            continue
        if one.default is one.empty:
            made[one.name] = _by_hint(one.name, _hints(door).get(one.name))
        elif isinstance(one.default, int | float) or _choices(_hints(door).get(one.name)):
            made[one.name] = one.default
    return made


def _hints(door: Door) -> dict[str, Any]:
    try:
        return typing.get_type_hints(door.__init__ if inspect.isclass(door) else door)
    except (NameError, TypeError):
        return {}


def _by_hint(name: str, hint: Any) -> Any:
    simple = {int: 3, float: 0.5, bool: True, Path: THIS, Generator: np.random.default_rng(0)}
    with contextlib.suppress(TypeError):  # a hint that cannot be looked up
        if hint in simple:
            return simple[hint]
    if _choices(hint):
        return _choices(hint)[0]
    numbers = (Sequence[float], list[float], Sequence[int], tuple[float, ...])
    if hint == npt.ArrayLike or typing.get_origin(hint) is np.ndarray or hint in numbers:
        return np.array([0.25, 0.5, 0.75])
    raise NoExampleError(f"{name}: {hint}")


def _choices(hint: Any) -> tuple[Any, ...]:
    options = [hint, *typing.get_args(hint)]
    return next((typing.get_args(o) for o in options if typing.get_origin(o) is Literal), ())


Fault = tuple[str, Any, tuple[str, ...]]
"""Its name, the spoilt value, and texts of which a clear message may show one."""


def faults(good: Any, hint: Any) -> Iterator[Fault]:
    """Yield what can be wrong with an argument of this kind."""
    if isinstance(good, bool) or good is None:
        return
    if isinstance(good, str):
        yield ("unknown", "no such", ("'no such'",)) if _choices(hint) else ("empty", "", ("''",))
    elif isinstance(good, int | float | np.number):
        for fault, bad in (("nan", NAN), ("infinite", INF), ("text", str(good)), ("empty", [])):
            yield fault, bad, (EMPTY if fault == "empty" else (repr(bad),))
        if isinstance(good, int) and hint is not float and float not in typing.get_args(hint):
            yield "fraction", good + 0.9, (repr(good + 0.9),)
    elif isinstance(good, pd.DataFrame):
        yield from _table_faults(good)
    elif isinstance(good, np.ndarray) or _is_numbers(good):
        yield from _array_faults(good)
    elif isinstance(good, list | tuple | dict):
        yield "empty", type(good)(), EMPTY


def _is_numbers(good: Any) -> bool:
    return (
        isinstance(good, list | tuple)
        and bool(good)
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in good)
    )


def _array_faults(good: Any) -> Iterator[Fault]:
    array = np.asarray(good)
    like = (lambda one: one) if isinstance(good, np.ndarray) else (lambda one: one.tolist())
    whole = array.dtype.kind in "iu"
    for fault, spoilt in (("nan", NAN), ("infinite", INF), *([("fraction", 1.9)] * whole)):
        bad = array.astype(float)
        bad.flat[0] = spoilt
        yield fault, like(bad), (repr(spoilt),)
    words = array.astype(str)
    yield "text", like(words), (repr(str(words.flat[0])),)
    yield "empty", like(array[:0]), (*EMPTY, str(array[:0].shape))
    yield "shape", like(array[np.newaxis]), (str(array[np.newaxis].shape),)


def _table_faults(good: pd.DataFrame) -> Iterator[Fault]:
    first = good.columns[0]
    yield "empty", good.iloc[:0], EMPTY
    yield "column", good.drop(columns=first), (repr(first),)
    for column in good.select_dtypes("number").columns[:1]:
        yield "nan", good.assign(**{column: NAN}), ("nan", repr(column))
        yield "text", good.assign(**{column: "x"}), ("'x'", repr(column))


def _answer(
    door: Door,
    given: dict[str, Any],
    words: tuple[str, ...],
    right: Callable[[Any], bool] | None,
) -> str | None:
    """Return what is wrong with the answer of a door, or None."""
    try:
        found = _quietly(door, given)
    except Exception as error:
        if _is_clear(error, words):
            return None
        return f"unclear {type(error).__name__}: {str(error)[:120]}"
    return None if right and right(found) else f"returned {found!r:.120}"


def _quietly(door: Door, given: dict[str, Any]) -> Any:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return door(**given)


def _is_clear(error: Exception, words: tuple[str, ...]) -> bool:
    """Whether an error is of an expected kind and holds one of the words as a whole."""
    ours = type(error).__module__.startswith("lib.")
    if not isinstance(error, CLEAR) or (isinstance(error, RuntimeError) and not ours):
        return False
    return any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", str(error)) for one in words)


def survey(
    package: str,
    examples: Mapping[str, Example],
    right: Mapping[tuple[str, str, str], Callable[[Any], bool]],
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the problems by door, and the doors that nobody knows how to open."""
    problems, closed = {}, []
    for name, door in sorted(doors(package).items()):
        try:
            problems[name] = knock(name, door, examples.get(name), right)
        except NoExampleError:
            closed.append(name)
    return problems, closed


def examples_of(package: str) -> tuple[dict[str, Example], dict[Any, Any]]:
    """Return EXAMPLES and RIGHT of a package: from its own test of doors, else from those here."""
    folder = ROOT / "tests" / "unit" / package.partition(".")[0]
    home = next(folder.glob("test_*_doors.py"), THIS.with_name("door_examples.py"))
    sys.path.insert(0, str(home.parent))
    module = importlib.import_module(home.stem)
    return module.EXAMPLES, module.RIGHT


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for chosen in sys.argv[1:]:
        by_door, unopened = survey(chosen, *examples_of(chosen))
        failing = {name: found for name, found in by_door.items() if found}
        print(*(line for found in failing.values() for line in found), sep="\n")
        print(f"{chosen}: {len(by_door)} doors opened, {len(failing)} let something through;")
        print(f"    {len(unopened)} more need an example")
