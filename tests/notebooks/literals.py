"""Numbers of a chapter's claims that are typed in the code meant to compute them."""

from __future__ import annotations

import ast
import math
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lib.core import notebooks
from lib.core.ledger import load_chapter
from lib.core.sources import parse

# A shorter number (0.5, 12, 2/3) is too common to tell a copied result from a coincidence. In what
# a report is made of (`feeds.py`) it is looked for all the same.
DIGITS = 3

# 0.51600001 is 0.516 typed; two honest numbers rarely come that close.
CLOSE = 1e-4

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:/\d+)?"
_WHOLE = re.compile(rf"\s*({_NUMBER})\s*(?:%|per cent|percent)?\s*")
_WITHIN = re.compile(rf"(?<![\w.]){_NUMBER}(?![\w])")

# What makes a number out of numbers and texts, and nothing else.
_MAKERS = (abs, bool, complex, float, int, max, min, pow, round, str, sum, Fraction, Decimal)
TRANSPARENT: dict[str, Any] = {one.__name__: one for one in _MAKERS} | {"Rational": Fraction}
# The same of libraries: `np.float64(516) / 1000`, `math.fsum([0.5, 0.016])`. Nothing whose cost
# grows with a number (`np.zeros`, `math.factorial`), and nothing that reads.
_OF_MATH = (
    "ceil cos e exp fabs floor fsum hypot ldexp log log10 log2 pi pow prod sin sqrt sumprod tan"
)
_OF_NUMPY = (
    "abs absolute add array asarray average ceil cos cumsum diff divide dot double e exp "
    "float16 float32 float64 floor hypot int16 int32 int64 log log10 log2 longdouble max maximum "
    "mean median min minimum multiply negative nanmean nansum pi power prod reciprocal round sign "
    "sin sqrt square subtract sum tan true_divide"
)


def _given(module: Any, names: str) -> SimpleNamespace:
    return SimpleNamespace(**{n: getattr(module, n) for n in names.split() if hasattr(module, n)})


MODULES = {"math": _given(math, _OF_MATH), "np": _given(np, _OF_NUMPY)}
MODULES["numpy"] = MODULES["np"]
_NUMPY_NEEDS = {"__import__": __import__}  # a method of an array imports; no name can say it
BARE = ("fsum", "prod", "sqrt", "float32", "float64")  # as imported from there
TRANSPARENT |= MODULES | {
    name: getattr(MODULES["np"] if name.startswith("float") else MODULES["math"], name)
    for name in BARE
}


def as_number(value: Any) -> float | None:
    """Return the number that a constant, a result or a text is; None if it is none."""
    if isinstance(value, np.generic | np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.replace("−", "-").replace("_", "")
        text = text.replace(",", ".") if re.fullmatch(r"\D*\d+,\d+\D*", text) else text
        found = _WHOLE.fullmatch(text)
        if found is None:
            return None
        value = _fraction(found[1])
    if not isinstance(value, int | float | Fraction | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if number - number == 0 else None


def _fraction(text: str) -> Fraction | None:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        top, _, bottom = text.partition("/")
        return Fraction(top) / Fraction(bottom) if bottom and Fraction(bottom) else None


def numbers_within(text: str) -> Iterator[float]:
    """Yield every number that a text mentions: ``"a=0.516"``."""
    for found in _WITHIN.findall(text.replace("−", "-")):
        number = as_number(found)
        if number is not None:
            yield number


def digits(value: Any) -> int:
    """Return the significant digits of a claimed number: of the decimal, or of both parts."""
    value = Fraction(str(value))
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    if rest != 1:
        return len(f"{abs(value.numerator)}{value.denominator}")
    return len(str(abs(value.numerator) * 10**40 // value.denominator).strip("0"))


class Plain(ast.NodeTransformer):
    """``fractions.Fraction`` is `Fraction`, whatever its module is called here."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if node.attr in ("Fraction", "Rational", "Decimal"):
            return ast.copy_location(ast.Name(node.attr, ast.Load()), node)
        return self.generic_visit(node)


def fold(node: ast.AST) -> float | None:
    """Return the number that an expression of constants alone amounts to; None for any other."""
    if isinstance(node, ast.Constant):
        return as_number(node.value)
    if not isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call | ast.JoinedStr):
        return None
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and one.id not in TRANSPARENT:
            return None
        if isinstance(one, ast.Attribute) and one.attr.startswith("_"):
            return None
        if isinstance(one, ast.Lambda | ast.comprehension):
            return None
        # 10 ** 10 ** 10 would not end.
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Pow | ast.LShift):
            power = fold(one.right)
            if power is None or abs(power) > 400:
                return None
    try:
        code = compile(ast.Expression(node), "<typed>", "eval")
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return as_number(eval(code, {"__builtins__": _NUMPY_NEEDS}, dict(TRANSPARENT)))
    except Exception:  # what does not evaluate is no number
        return None


def literals(tree: ast.AST) -> Iterator[tuple[int, float]]:
    """Yield line and size of every number typed: constants, texts, and what they fold to."""
    for node in ast.walk(tree):
        found = fold(node)
        if found is not None:
            yield node.lineno, abs(found)


class Numbers:
    """Claimed numbers, each also as a share of its percentage and the other way round."""

    def __init__(self, claimed: list[tuple[float, str]], close: float, allowed: list[float]):
        self._close = close
        forms = [
            (form, name)
            for value, name in claimed
            for form in (abs(value), abs(value) * 100, abs(value) / 100)
            if not any(self._near(form, one) for one in allowed)
        ]
        self._forms = sorted(forms)
        self._keys = [form for form, _ in self._forms]

    def _near(self, a: float, b: float) -> bool:
        return abs(a - b) <= self._close * max(abs(a), abs(b))

    def match(self, value: float) -> str | None:
        """Return the claim that a typed number gives the value of."""
        value = abs(value)
        at = bisect_left(self._keys, value * (1 - self._close))
        if at < len(self._keys) and self._near(self._keys[at], value):
            return self._forms[at][1]
        return None


def claimed_numbers(value: Any) -> Iterator[Fraction]:
    """Yield the numbers of a claimed value; truths and categories are none."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from claimed_numbers(one)
    elif isinstance(value, int | float | Fraction) and not isinstance(value, bool):
        yield Fraction(str(value))


def allowed_inputs(chapter: str, root: Path) -> list[float]:
    """Return the declared inputs of a chapter, in each form; they may be typed."""
    given = [abs(float(Fraction(str(one)))) for one in load_chapter(chapter, root=root).inputs]
    return [form for one in given for form in (one, one * 100, one / 100)]


@lru_cache(maxsize=2048)
def _typed(file: Path, stamp: tuple[int, int]) -> tuple[tuple[str, int, float], ...]:
    """Return place, line and size of the numbers of one file; `stamp` notices a change."""
    if file.parent.parent.name == "notebooks":
        cells = enumerate(notebooks.Notebook(file).read_source().cells)
        parts = [(f" cell {i}", parse(c.source)) for i, c in cells if c.cell_type == "code"]
    else:
        parts = [("", ast.parse(file.read_text(encoding="utf-8")))]
    return tuple(
        (place, line, value)
        for place, tree in parts
        for line, value in literals(Plain().visit(tree))
    )


def typed(file: Path) -> tuple[tuple[str, int, float], ...]:
    """Return where in a file a number is typed: a cell of a notebook or nothing, line, size."""
    stat = file.stat()
    return _typed(file, (stat.st_mtime_ns, stat.st_size))


def sources(chapter: str, root: Path) -> Iterator[Path]:
    """Yield the chapter's own package, the floors that chapters share, and its notebooks."""
    own = chapter.partition("_")[2]
    others = {path.name.partition("_")[2] for path in (root / "book").glob("ch[0-9][0-9]_*")}
    for file in sorted((root / "lib").rglob("*.py")):
        package = file.relative_to(root / "lib").parts[0]
        if package == own or package not in others:
            yield file
    yield from sorted((root / "notebooks" / chapter).glob("*.py"))


def literal_problems(chapter: str, root: Path) -> list[str]:
    """Return every place where a claimed value of the chapter is typed in lib or a notebook.

    Numbers listed under ``inputs`` in the chapter's ``claims.yml`` are inputs of a construction and
    may be typed.
    """
    claimed = [
        (float(value), claim.id)
        for claim in load_chapter(chapter, root=root).claims
        for value in claimed_numbers(claim.value)
        if digits(value) >= DIGITS
    ]
    forbidden = Numbers(claimed, CLOSE, allowed_inputs(chapter, root))
    return [
        f"{file.relative_to(root).as_posix()}{place}, line {line}: {value:g} is the value of {name}"
        for file in sources(chapter, root)
        for place, line, value in typed(file)
        if (name := forbidden.match(value))
    ]
