"""Every public door refuses bad input clearly; and the knocking itself finds careless doors."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import doors
from door_examples import EXAMPLES, RIGHT

from lib.core import check

# A paper's package has its own examples and test beside its other tests, which knocks with
# `doors.survey`: `tests/unit/<package>/test_<letters>_doors.py`, with EXAMPLES and RIGHT in it.
PACKAGES = ("core", "stats", "llm", "recsys")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_door_refuses_bad_input_clearly(package: str):
    if importlib.util.find_spec(f"lib.{package}") is None:
        pytest.skip("not begun")
    problems, closed = doors.survey(package, EXAMPLES, RIGHT)
    assert not closed, "an example is missing in door_examples.py"
    assert problems
    assert not [line for found in problems.values() for line in found]


def test_examples_are_of_doors_that_are_there():
    there = {name for package in PACKAGES if _begun(package) for name in doors.doors(package)}
    begun = {name for name in EXAMPLES if _begun(name.partition(".")[0])}
    assert begun <= there
    assert {door for door, _, _ in RIGHT if _begun(door.partition(".")[0])} <= there


def _begun(package: str) -> bool:
    return importlib.util.find_spec(f"lib.{package}") is not None


def careless(rate: float, rows: int, scores: npt.ArrayLike, kind: Literal["a", "b"] = "a"):
    return rate, rows, scores, kind


def careful(rate: float, rows: int, scores: npt.ArrayLike, kind: Literal["a", "b"] = "a"):
    check.share("rate", rate)
    check.integer("rows", rows)
    check.array("scores", scores, shape=("n",))
    return check.known("kind", kind, ("a", "b"))


def mumbling(rate: float):
    if not 0 <= rate <= 1:
        raise ValueError("something is wrong")
    return rate


def test_a_careless_door_is_found():
    assert [line.partition(" ")[0] for line in doors.knock("f", careless)] == ["f(rate:"] * 4 + [
        "f(rows:"
    ] * 5 + ["f(scores:"] * 5 + ["f(kind:"]


def test_a_careful_door_passes():
    assert doors.knock("f", careful) == []


def test_an_error_that_names_nothing_is_found():
    assert doors.knock("f", mumbling) == [
        "f(rate: nan) unclear ValueError: something is wrong",
        "f(rate: infinite) unclear ValueError: something is wrong",
        "f(rate: text) unclear TypeError: '<=' not supported between instances of 'int' and 'str'",
        "f(rate: empty) unclear TypeError: '<=' not supported between instances of "
        "'int' and 'list'",
    ]


def test_an_index_is_asked_with_a_fraction_but_a_rate_is_not():
    def spoilt(good, hint=None):
        return {fault: bad for fault, bad, _ in doors.faults(good, hint)}

    assert spoilt(1)["fraction"] == 1.9
    assert "fraction" not in spoilt(1, float)
    assert "fraction" not in spoilt(1, float | None)
    assert "fraction" not in spoilt(0.5)
    assert spoilt(np.array([1, 2]))["fraction"].tolist() == [1.9, 2.0]
    assert "fraction" not in spoilt(np.array([1.0, 2.0]))
    assert spoilt([1, 2])["text"] == ["1", "2"]
    assert spoilt([1, 2])["shape"] == [[1, 2]]
    assert spoilt(np.array([1, 2]))["empty"].shape == (0,)
    assert spoilt(True) == {}
    assert spoilt("a", Literal["a"]) == {"unknown": "no such"}
    table = spoilt(pd.DataFrame({"name": ["x"], "score": [1.0]}))
    assert list(table["column"].columns) == ["score"]
    assert table["nan"]["score"].isna().all()
    assert table["text"]["score"].tolist() == ["x"]
    assert table["empty"].empty


def test_a_right_answer_is_let_through_and_a_wrong_one_is_not():
    def total(values: Sequence[float]):
        return float(np.sum(values))

    right = {("f", "values", "empty"): lambda found: found == 0.0}
    lines = doors.knock("f", total, right=right)
    assert [line.partition(")")[0] for line in lines] == [
        "f(values: nan",
        "f(values: infinite",
        "f(values: text",
        "f(values: shape",
    ]
    right[("f", "values", "empty")] = lambda found: found == 1.0
    assert "f(values: empty) returned 0.0" in doors.knock("f", total, right=right)


def test_a_door_that_hints_nothing_needs_an_example():
    def closed(thing):
        return thing

    with pytest.raises(doors.NoExampleError, match="thing"):
        doors.knock("f", closed)
    with pytest.raises(doors.NoExampleError, match="f refuses right arguments: rate is 3"):
        doors.knock("f", careful, lambda: {"rate": 3})
    assert doors.knock("f", closed, lambda: {"thing": None}) == []
