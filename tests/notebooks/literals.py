"""Numbers of a chapter's claims that are typed in the code meant to compute them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from lib.core import notebooks
from lib.core.ledger import load_chapter
from lib.core.sources import parse

# A shorter number (0.5, 12, 2/3) is too common to tell a copied result from a coincidence.
DIGITS = 3

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?(/\d+)?")


def as_fraction(value: Any) -> Fraction | None:
    """Return the number that a literal or a claimed value stands for, as it is written."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int | float):
        return Fraction(str(value)) if value == value and abs(value) != float("inf") else None
    if isinstance(value, str) and _NUMBER.fullmatch(value.replace("−", "-").replace(" ", "")):
        try:
            return Fraction(value.replace("−", "-").replace(" ", ""))
        except (ValueError, ZeroDivisionError):
            return None
    return None


def digits(value: Fraction) -> int:
    """Return the significant digits: of the decimal if it ends, else of both parts."""
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    if rest != 1:
        return len(f"{abs(value.numerator)}{value.denominator}")
    return len(str(abs(value.numerator) * 10**40 // value.denominator).strip("0"))


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _flat(one)
    else:
        yield value


def _forms(value: Fraction) -> set[Fraction]:
    """Return a value without sign, also as a share of a percentage and the other way round."""
    return {abs(value), abs(value) * 100, abs(value) / 100}


def literals(tree: ast.AST) -> Iterator[tuple[int, Fraction]]:
    """Yield line and value of every number typed: constants, quotients, Fraction(…), texts."""
    for node in ast.walk(tree):
        found: Fraction | None = None
        if isinstance(node, ast.Constant):
            found = as_fraction(node.value)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found = _quotient(node.left, node.right)
        elif isinstance(node, ast.Call) and len(node.args) == 2:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("Fraction", "Rational"):
                found = _quotient(*node.args)
        if found is not None:
            yield node.lineno, abs(found)


def _quotient(top: ast.expr, bottom: ast.expr) -> Fraction | None:
    parts = []
    for node in (top, bottom):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            node = node.operand
        parts.append(as_fraction(node.value) if isinstance(node, ast.Constant) else None)
    if parts[0] is None or not parts[1]:
        return None
    return parts[0] / parts[1]


def _sources(chapter: str, root: Path) -> Iterator[tuple[str, ast.AST]]:
    """Yield the chapter's own package, the floors that chapters share, and its notebooks' code."""
    own = chapter.partition("_")[2]
    others = {path.name.partition("_")[2] for path in (root / "book").glob("ch[0-9][0-9]_*")}
    for file in sorted((root / "lib").rglob("*.py")):
        package = file.relative_to(root / "lib").parts[0]
        if package == own or package not in others:
            yield file.relative_to(root).as_posix(), ast.parse(file.read_text(encoding="utf-8"))
    for one in notebooks.discover(chapter, root=root):
        for index, cell in enumerate(one.read_source().cells):
            if cell.cell_type == "code":
                place = f"{one.source.relative_to(root).as_posix()} cell {index}"
                yield place, parse(cell.source)


def literal_problems(chapter: str, root: Path) -> list[str]:
    """Return every place where a claimed value of the chapter is typed in lib or a notebook.

    Numbers listed under ``inputs`` in the chapter's ``claims.yml`` are inputs of a construction and
    may be typed.
    """
    declared = yaml.safe_load((root / "book" / chapter / "claims.yml").read_text(encoding="utf-8"))
    allowed = {form for one in declared.get("inputs", []) for form in _forms(as_fraction(one))}
    forbidden: dict[Fraction, str] = {}
    for claim in load_chapter(chapter, root=root).claims:
        for one in _flat(claim.value):
            value = as_fraction(one)
            if value is not None and digits(value) >= DIGITS:
                for form in _forms(value) - allowed:
                    forbidden.setdefault(form, claim.id)
    return [
        f"{place}, line {line}: {float(value):g} is the value of {forbidden[value]}"
        for place, tree in _sources(chapter, root)
        for line, value in literals(tree)
        if value in forbidden
    ]
