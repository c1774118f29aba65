"""The guards against typed results see every spelling, and let honest code be."""

from __future__ import annotations

import ast
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from feeds import EVERYWHERE, HONEST, feed_problems
from literals import (
    CLOSE,
    DIGITS,
    Numbers,
    Plain,
    allowed_inputs,
    claimed_numbers,
    digits,
    literal_problems,
    literals,
    numbers_within,
)

from lib.core import ledger
from lib.core.paths import ROOT

CHAPTERS = sorted(path.parent.name for path in (ROOT / "book").glob("ch*/claims.yml"))

CLAIMS = """\
chapter: ch01_planted
number: 1
title: Planted
question: Is it seen?
paper: {title: Planted, authors: [Nobody], arxiv: "2600.00001"}
inputs: [0.25]
claims:
"""
CLAIM = """\
- {{id: ch01.{name}, by: paper, source: "Table 1", statement: "A number.", kind: number,
   basis: exact, value: {value}, tolerance: {{exact: true}}}}
"""
VALUES = {"share": "0.516", "half": "0.5", "dozen": "12", "pair": "[0.5, 7]", "none": "0"}

HEAD = """\
# %%
import math
from fractions import Fraction

import numpy as np

from lib.core import ledger
from lib.planted import TABLE, answer, measure, measured

# %%
"""
LIB = """\
import json

TABLE = {"half": 0.5, "share": 0.3}
FILE = "numbers.json"


def answer():
    return 0.5


def measure(*given, **more):
    data = json.loads(open(FILE).read())
    return sum(data) / len(data)


measured = measure()
"""

Plant = Callable[..., list[str]]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Return a function that says what the guards find in a notebook of these cells."""
    book, folder = tmp_path / "book" / "ch01_planted", tmp_path / "notebooks" / "ch01_planted"
    for path in (book, folder, tmp_path / "lib" / "planted"):
        path.mkdir(parents=True)
    claims = "".join(CLAIM.format(name=name, value=value) for name, value in VALUES.items())
    (book / "claims.yml").write_text(CLAIMS + claims)

    def planted(cells: str, lib: str = LIB) -> list[str]:
        (tmp_path / "lib" / "planted" / "__init__.py").write_text(lib)
        (folder / "01_planted.py").write_text(HEAD + cells + "\n")
        return literal_problems("ch01_planted", tmp_path) + feed_problems("ch01_planted", tmp_path)

    return planted


# Every way to write the paper's .516 that the review and we could think of.
SPELLINGS = [
    "0.516",
    ".516",
    "-0.516",
    "5.16e-1",
    "516e-3",
    "51.6",
    "0.51600001",
    "0.5_16",
    "516 / 1000",
    "129 / 250",
    "129 * 4 / 1000",
    "516 * 0.001",
    "516 * 10**-3",
    "516 / 10**3",
    "1 - 0.484",
    "0.5 + 0.016",
    "-(-0.516)",
    "round(0.51613, 3)",
    "max(0.516, 0.3)",
    "sum([0.5, 0.016])",
    "Fraction(129, 250)",
    "Fraction('129/250')",
    "'0.516'",
    "'51.6 %'",
    "'51.6 per cent'",
    "'0,516'",
    "'a=0.516'",
    "float('0.516')",
    "float('.5' + '16')",
    "float('516e-3')",
    "int('516') / 1000",
    "float(''.join(['0.', '516']))",
    "float(f'0.{516}')",
    "np.float64(516) / 1000",
    "np.float64('0.516')",
    "numpy.float64(0.516)",
    "np.divide(516, 1000)",
    "np.mean([0.5, 0.532])",
    "np.array([0.5, 0.016]).sum()",
    "np.array([516]) / 1000",
    "math.fsum([0.5, 0.016])",
    "fsum([0.5, 0.016])",
    "math.sqrt(0.266256)",
    "math.ldexp(0.129, 2)",
    "math.prod((4, 0.129))",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    "cells",
    [
        'ledger.report("ch01.share", {})',
        'ledger.report("ch01.share", value={})',
        'x = {}\n\n# %%\nfor name in ("share", "half"):\n    ledger.report(f"ch01.{{name}}", x)',
        # Something is computed, but it is not what is reported.
        'ledger.report("ch01.share", {} if measured else measured)',
        'rows = [measured]\nrows.append({})\n\n# %%\nledger.report("ch01.share", rows[-1])',
        'ledger.report("ch01.share", measured * 0 + ({}))',
        'x = {}\nledger.report("ch01.share", x + measured - measured)',
    ],
)
def test_every_spelling_of_a_claimed_number_is_seen(
    plant: Plant, cells: str, spelling: str
) -> None:
    assert plant(cells.format(spelling))


@pytest.mark.parametrize(
    "cells",
    [
        # few digits
        'ledger.report("ch01.half", 0.5)',
        'ledger.report("ch01.half", "50 %")',
        'ledger.report("ch01.half", 0.5 if measured > 1 else measured)',
        'ledger.report("ch01.half", measured * 0 + 0.5)',
        'ledger.report("ch01.dozen", 3 * 4)',
        'ledger.report("ch01.pair", [measured, 7])',
        'ledger.report("ch01.pair", [measured, *(7,)])',
        'ledger.report("ch01.none", 0)',
        'ledger.report("ch01.none", float(np.zeros(3).sum()))',
        'ledger.report("ch01.half", math.sqrt(0.25))',
        'ledger.report("ch01.half", measured or True)',
        # what feeds it
        'a, b = 0.5, measured\n\n# %%\nledger.report("ch01.half", a)',
        'a = b = 0.5\nledger.report("ch01.half", b + measured - measured)',
        'd = {"x": measured}\nd["y"] = 0.5\nledger.report("ch01.half", d["y"])',
        'd = {"x": measured}\nd.update(y=0.5)\nledger.report("ch01.half", d["y"])',
        'def f():\n    return 0.5\n\n\nledger.report("ch01.half", f())',
        'f = lambda: 0.5 if measured else 0\nledger.report("ch01.half", f())',
        'for v in (0.5, measured):\n    ledger.report("ch01.half", v)',
        'if measured:\n    x = 0.5\nledger.report("ch01.half", x)',
        'try:\n    x = measure()\nexcept OSError:\n    x = 0.5\nledger.report("ch01.half", x)',
        'if (x := 0.5) and measured:\n    ledger.report("ch01.half", x)',
        'given = {"value": 0.5}\nledger.report("ch01.half", **given)',
        'def tell(name, x):\n    ledger.report(f"ch01.{name}", x)\n\n\ntell("half", 0.5)',
        'id = "ch01.half"\nledger.report(id, measured, interval=(measured, 0.5))',
        # a constant of lib, and what a function of lib returns
        'ledger.report("ch01.half", TABLE["half"])',
        'ledger.report("ch01.half", answer())',
        # intervals and controls
        'ledger.report("ch01.half", measured, (0.4, 0.6))',
        'ledger.report("ch01.half", measured, (0.4, measured))',
        'ledger.report("ch01.half", measured, control=False)',
        'ledger.report("ch01.half", measured, control=True)',
        'ledger.report("ch01.half", measured, control=0)',
        'ledger.report("ch01.half", measured, control="the control failed")',
        'broken = 0\n\n# %%\nledger.report("ch01.half", measured, control=broken)',
        'ledger.report("ch01.half", measured, control=measured, control_interval=(0, 1))',
        # another way to report
        'tell = ledger.report\ntell("ch01.half", 0.3)',
        'from lib.core import ledger as book\n\nbook.report("ch01.half", 0.3)',
        'from lib.core.ledger import report as tell\n\ntell("ch01.half", 0.3)',
        'getattr(ledger, "report")("ch01.half", 0.3)',
        'display({"application/vnd.tenpapers.claim+json": {"value": 0.3}}, raw=True)',
        "ledger.report(measured, 0.3)",
    ],
)
def test_what_is_typed_is_seen(plant: Plant, cells: str) -> None:
    assert plant(cells)


@pytest.mark.parametrize(
    "cells",
    [
        'ledger.report("ch01.half", measured)',
        'ledger.report("ch01.half", measure(0.5, size=0.5), (measured, measured))',
        'ledger.report("ch01.pair", [measured, measure(7)])',
        'ledger.report("ch01.half", measured / 2 + 0.3)',
        'ledger.report("ch01.half", 0.25 * measured)',  # declared as an input
        'ledger.report("ch01.dozen", [measured] * 3)',
        'xs = [measured] * 20\nledger.report("ch01.dozen", xs[12])',
        'n = 0\nfor k in range(12):\n    n += measure(k)\nledger.report("ch01.dozen", n)',
        'ledger.report("ch01.half", bool(measured > 0.5))',
        "refused = False\ntry:\n    measure()\nexcept OSError:\n    refused = True\n"
        'ledger.report("ch01.half", measured, control=refused)',
        # the earlier value does not reach the report
        'x = 0.5\nx = measured\nledger.report("ch01.half", x)',
        'x = 0.5\nprint(x)\nledger.report("ch01.half", measured)',
        'ledger.report("ch01.half", np.random.default_rng(0).normal())',
        'ledger.report("ch01.dozen", TABLE["share"] * measured)',
        'for name in ("half", "none"):\n    ledger.report(f"ch01.{name}", 7 * measured)',
        "rows = []\n\n\ndef scan(k):\n    rows.append(measure(k))\n\n\nscan(3)\n"
        'ledger.report("ch01.half", rows)',
        "report = measure()\nprint(report)",
    ],
)
def test_what_is_computed_passes(plant: Plant, cells: str) -> None:
    assert plant(cells) == []


def test_a_typed_number_in_lib_is_seen(plant: Plant) -> None:
    honest = 'ledger.report("ch01.share", measured)'
    for text in ("0.516", "129 / 250", "'51.6 %'", "1 - 0.484"):
        found = plant(honest, LIB + f"\n\ndef other():\n    return {text}\n")
        line = LIB.count("\n") + 4
        assert found == [
            f"lib/planted/__init__.py, line {line}: {51.6 if '%' in text else 0.516} "
            "is the value of ch01.share"
        ]
    assert plant(honest, LIB + "\n\ndef tell(id, x):\n    ledger.report(id, x, control=False)\n")
    assert not plant(honest, LIB + "\n\ndef tell(id, x):\n    ledger.report(id, x, control=x)\n")


def test_the_claims_of_a_loop_are_known(plant: Plant) -> None:
    loop = 'for name in ("half", "none"):\n    ledger.report(f"ch01.{name}", {} + measured)'
    assert plant(loop.replace("{}", "0.5"))
    assert plant(loop.replace("{}", "12")) == []


def test_what_counts_as_a_typed_number() -> None:
    code = "a = -0.516\nb = 61 / 84\nc = sp.Rational(61, 84)\nd = '61/84'\ne = 'x 3.14'\nf = True\n"
    found = sorted(literals(Plain().visit(ast.parse(code))))
    assert (1, 0.516) in found
    assert {line for line, value in found if value == 61 / 84} == {2, 3, 4}
    assert not [value for line, value in found if line in (5, 6)]
    assert {value for _, value in literals(ast.parse("10 ** 10 ** 10"))} == {10, 10**10}
    for text in ("math.pi", "np.zeros(3)", "np.load('a')", "np.random.rand()", "math.__name__"):
        assert not [v for _, v in literals(ast.parse(text)) if v not in (0, 1, 3)]
    assert list(numbers_within("x1=3, y=-2.5 or v4b")) == [3, -2.5]


@pytest.mark.parametrize(
    ("value", "count"),
    [("0.516", 3), ("100", 1), ("0.05", 1), ("1/2", 1), ("2/3", 2), ("7/12", 3), ("22350", 4)],
)
def test_significant_digits(value: str, count: int) -> None:
    assert digits(Fraction(value)) == count


@pytest.mark.parametrize(
    ("typed", "seen"),
    [(0.516, 1), (51.6, 1), (-0.00516, 1), (0.51604, 1), (0.5161, 0), (516, 0), (0.25, 0)],
)
def test_which_numbers_match(typed: float, seen: int) -> None:
    numbers = Numbers([(0.516, "a"), (0.25, "b")], CLOSE, [0.25, 25.0, 0.0025])
    assert numbers.match(typed) == ("a" if seen else None)


def test_every_exception_is_needed() -> None:
    before = dict(HONEST)
    HONEST.clear()
    try:
        chapters = [one for one in CHAPTERS if any(f" {one[:4]}." in place for place in before)]
        found = "\n".join(one for chapter in chapters for one in feed_problems(chapter, ROOT))
    finally:
        HONEST.update(before)
    assert [one for one in before if one not in found] == []


def test_most_claimed_numbers_are_guarded() -> None:
    everywhere = slices = total = 0
    for chapter in CHAPTERS:
        claims = ledger.load_chapter(chapter).claims
        values = [value for claim in claims for value in claimed_numbers(claim.value)]
        named = [(float(value), "") for value in values]
        guarded = Numbers(named, CLOSE, allowed_inputs(chapter, ROOT))
        total += len(values)
        everywhere += sum(digits(v) >= DIGITS and guarded.match(float(v)) == "" for v in values)
        slices += sum(v not in EVERYWHERE and guarded.match(float(v)) == "" for v in values)
    print(
        f"{total} claimed numbers: {everywhere} looked for everywhere, {slices} in what is reported"
    )
    assert slices > 0.8 * total
