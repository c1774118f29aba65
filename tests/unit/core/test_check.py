"""Every check: what it lets through, as which value, and what it says about the rest."""

from __future__ import annotations

import datetime as dt
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from lib.core import check

NAN, INF = float("nan"), float("inf")


def refuses(expected: str, function, *arguments, **keywords):
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        function(*arguments, **keywords)


def test_array_returns_floats_of_any_number():
    found = check.array("x", [1, Fraction(1, 2), np.float32(0.25), 10**30])
    assert found.dtype == np.float64
    assert found.tolist() == [1.0, 0.5, 0.25, 1e30]
    assert check.array("x", pd.Series([3, 4])).tolist() == [3.0, 4.0]
    assert check.array("x", 2).shape == ()


def test_array_does_not_copy_what_is_right():
    given = np.array([1.0, 2.0])
    assert check.array("x", given) is given


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, NAN], "x[1] is nan, expected a finite number"),
        ([[1.0, 2.0], [-INF, 3.0]], "x[1, 0] is -inf, expected a finite number"),
        ([1, None], "x[1] is None, expected a finite number"),
        ([Fraction(1), NAN], "x[1] is nan, expected a finite number"),
        (
            [10**400],
            f"x is [{str(10**400)[:79]}, expected a finite number, within the range of floats",
        ),
        (["1.5"], "x[0] is '1.5', expected a finite number"),
        ([True, False], "x[0] is True, expected a finite number"),
        (1 + 2j, "x is (1+2j), expected a finite number"),
        ({1, 2}, "x is {1, 2}, expected a finite number"),
        (pd.Series([1, pd.NA]), "x[1] is <NA>, expected a finite number"),
        ([], "x is empty (shape (0,)), expected a finite number or more"),
        ([[1], [2, 3]], "x is [[1], [2, 3]], expected rows of equal length"),
        (
            np.ma.array([1.0, 2.0], mask=[False, True]),
            "x has masked elements, expected a value in each place",
        ),
    ],
)
def test_array_refuses(value, message):
    refuses(message, check.array, "x", value)


def test_an_empty_array_where_it_will_do():
    assert check.array("x", [], empty=True).size == 0
    assert check.integers("x", [], empty=True).size == 0
    assert check.shares("x", [], empty=True).size == 0


def test_shapes():
    square = np.ones((2, 2))
    assert check.array("x", square, shape=("n", "n")) is square
    assert check.array("x", np.ones((2, 3)), shape=("n", 3)).shape == (2, 3)
    refuses(
        "x has shape (2, 3), expected shape (n, n)",
        check.array,
        "x",
        np.ones((2, 3)),
        shape=("n", "n"),
    )
    refuses(
        "x has shape (2, 3), expected shape (n, 2)",
        check.array,
        "x",
        np.ones((2, 3)),
        shape=("n", 2),
    )
    refuses(
        "x has shape (2, 3), expected shape (n)", check.array, "x", np.ones((2, 3)), shape=("n",)
    )
    refuses("x has shape (2,), expected shape (n, k)", check.array, "x", [1, 2], shape=("n", "k"))
    refuses("x has shape (1,), expected one number", check.number, "x", [1.0])
    refuses("k has shape (1,), expected one number", check.integer, "k", [1])


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        ({"above": 0}, 1e-9, 0, "above 0"),
        ({"at_least": 0}, 0, -1e-9, "at least 0"),
        ({"below": 2}, 1.999, 2, "below 2"),
        ({"at_most": 2}, 2, 2.001, "at most 2"),
        ({"above": 0, "at_most": 1}, 1, 1.5, "above 0 and at most 1"),
    ],
)
def test_bounds(bounds, inside, outside, words):
    assert check.number("x", inside, **bounds) == inside
    refuses(
        f"x is {float(outside)}, expected a finite number {words}",
        check.number,
        "x",
        outside,
        **bounds,
    )
    refuses(
        f"x[1] is {float(outside)}, expected a finite number {words}",
        check.array,
        "x",
        [inside, outside, outside],
        **bounds,
    )


def test_a_number_is_a_float():
    for value in (2, 2.0, np.int64(2), np.array(2), Fraction(4, 2)):
        found = check.number("x", value)
        assert (type(found), found) == (float, 2.0)


def test_whole_numbers():
    for value in (2, 2.0, np.int64(2), np.array(2), np.float64(2), Fraction(4, 2)):
        found = check.integer("k", value)
        assert (type(found), found) == (int, 2)
    assert check.integer("seed", 2**64 + 1) == 2**64 + 1
    found = check.integers("rows", [2**53 + 1, -4])
    assert (found.dtype, found.tolist()) == (np.int64, [2**53 + 1, -4])
    assert check.integers("rows", np.array([1.0, 3.0])).tolist() == [1, 3]


@pytest.mark.parametrize("value", [1.9, -0.5, Fraction(1, 2)])
def test_what_would_be_truncated_is_refused(value):
    refuses(f"k is {float(value)}, expected a whole number", check.integer, "k", value)
    refuses(f"k[1] is {float(value)}, expected a whole number", check.integers, "k", [1, value])


@pytest.mark.parametrize(
    ("value", "shown"), [("2", "'2'"), (True, "True"), (NAN, "nan"), (INF, "inf"), (None, "None")]
)
def test_what_is_no_whole_number(value, shown):
    refuses(f"k is {shown}, expected a whole number", check.integer, "k", value)


def test_bounds_of_whole_numbers():
    assert check.integer("k", 3, at_least=3, at_most=3) == 3
    refuses("k is 2.0, expected a whole number at least 3", check.integer, "k", 2, at_least=3)
    refuses("k[0] is 4.0, expected a whole number at most 3", check.integers, "k", [4], at_most=3)
    refuses("k[0] is 1e+19, expected a whole number", check.integers, "k", [10**19])


def test_shares():
    assert check.share("level", 0.95, inside=True) == 0.95
    assert [check.share("p", end) for end in (0, 1)] == [0.0, 1.0]
    assert check.shares("p", [[0.1, 0.9]], shape=(1, 2)).tolist() == [[0.1, 0.9]]
    percent = "(a per cent divided by 100)"
    refuses(f"p is 95.0, expected a share from 0 to 1 {percent}", check.share, "p", 95)
    refuses(f"p is -0.1, expected a share from 0 to 1 {percent}", check.share, "p", -0.1)
    for end in (0.0, 1.0):
        wanted = f"p is {end}, expected a share between 0 and 1 {percent}"
        refuses(wanted, check.share, "p", end, inside=True)
    refuses(f"p[1] is nan, expected a share from 0 to 1 {percent}", check.shares, "p", [0.5, NAN])


def test_ordered_times():
    assert check.ordered("t", [1, 2, 2, 5]).tolist() == [1, 2, 2, 5]
    assert check.ordered("t", []).size == 0
    days = pd.to_datetime(["2024-01-01", "2024-01-02"])
    assert (check.ordered("t", days, ties=False) == days).all()
    assert check.ordered("t", [dt.date(2024, 1, 1), dt.date(2024, 1, 1)]).size == 2
    zoned = days.tz_localize("UTC")
    assert check.ordered("t", zoned)[1] == zoned[1]
    refuses("t[1] is 1, expected a time from 2 on (ascending)", check.ordered, "t", [2, 1])
    refuses(
        "t[2] is 2, expected a time after 2 on (ascending)",
        check.ordered,
        "t",
        [1, 2, 2],
        ties=False,
    )
    refuses("t[0] is nan, expected a time or a number", check.ordered, "t", [NAN, 1.0])
    refuses(
        "t[1] is np.datetime64('NaT','us'), expected a time or a number",
        check.ordered,
        "t",
        days.insert(1, pd.NaT).to_numpy(),
    )
    refuses("t[0] is '2024', expected a time or a number", check.ordered, "t", ["2024", "2023"])
    refuses("t has shape (1, 2), expected shape (n)", check.ordered, "t", [[1, 2]])


def test_times_that_cannot_be_compared():
    refuses(
        "t holds what cannot be compared, expected times",
        check.ordered,
        "t",
        [dt.date(2024, 1, 1), 2],
    )


def test_unique():
    assert check.unique("ids", ["b", "a"]) == ("b", "a")
    assert check.unique("ids", np.array([3, 1])) == (3, 1)
    refuses(
        "ids[2] is 3, expected each value once (ids[1] is the same)",
        check.unique,
        "ids",
        np.array([1, 3, 3, 1]),
    )


def test_unique_of_what_cannot_be_compared():
    wanted = "a value that can be compared with the others"
    refuses(f"ids[1] is [2], expected {wanted}", check.unique, "ids", [1, [2]])


def test_known():
    refuses("k is 'a', expected one of: (no options)", check.known, "k", "a", ())
    assert check.known("k", 2, (1, 2, 3)) == 2
    assert check.known("k", "a", {"a": 1}) == "a"
    refuses(
        "k is 'smoek', expected one of: smoke, book; did you mean 'smoke'?",
        check.known,
        "k",
        "smoek",
        ("smoke", "book"),
    )
    refuses("k is 'zzz', expected one of: smoke, book", check.known, "k", "zzz", ("smoke", "book"))
    refuses("k is True, expected one of: 1, 2", check.known, "k", True, (1, 2))
    refuses("k is [1], expected one of: 1, 2; did you mean '1'?", check.known, "k", [1], (1, 2))
    with pytest.raises(ValueError, match=r"expected one of: 0, 1, .*, 19 … \(21 in all\)$"):
        check.known("k", None, range(21))


def test_columns():
    frame = pd.DataFrame({"user": [1], "item": [2]})
    check.columns("log", frame, ["item", "user"])
    refuses(
        "log: column is 'users', expected one of: user, item; did you mean 'user'?",
        check.columns,
        "log",
        frame,
        ["item", "users"],
    )
    refuses(
        "log is [1], expected a table with a column 'item'", check.columns, "log", [1], ["item"]
    )
    twice = pd.concat([frame, frame[["user"]]], axis=1)
    check.columns("log", twice, ["item"])
    with pytest.raises(ValueError, match="log has 2 columns 'user', expected one"):
        check.columns("log", twice, ["user"])


def test_same_length():
    assert check.same_length(a=[1, 2], b=np.ones((2, 3))) == 2
    refuses("lengths are a 1, b 2; expected equal ones", check.same_length, a=[1], b="ab")


def test_text():
    assert check.text("alt", "A line.") == "A line."
    for value in ("", " \n", None, 3):
        refuses(f"alt is {value!r}, expected a text that is not blank", check.text, "alt", value)
