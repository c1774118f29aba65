"""The one-line faults that a package's unit tests should notice, made from its syntax trees."""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOUNDARY = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_NEGATED = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_OTHER_NAME = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One changed place of one module.

    `name` says what is changed in words that survive changes elsewhere in the file, so that a
    hand-written list can name a mutant. `line` is that of the place, `statement` the first one of
    the innermost statement around it.
    """

    file: str
    where: str
    before: str
    after: str
    occurrence: int
    line: int
    statement: int
    span: tuple[int, int]
    text: str

    @property
    def name(self) -> str:
        again = f" #{self.occurrence + 1}" if self.occurrence else ""
        return f"{self.file}::{self.where}: {self.before} → {self.after}{again}"

    def apply(self, source: bytes) -> bytes:
        start, end = self.span
        return source[:start] + self.text.encode() + source[end:]


def mutants(package: Path, root: Path) -> list[Mutant]:
    """Return every mutant of a package's modules."""
    return [
        one
        for file in sorted(package.rglob("*.py"))
        for one in of_source(file.read_bytes(), str(file.relative_to(root)))
    ]


def sample(all_of_them: list[Mutant], n: int, seed: int) -> list[Mutant]:
    """Return `n` mutants, equally likely each, and mostly the same ones after a small change."""

    def rank(one: Mutant) -> str:
        return hashlib.sha256(f"{seed}:{one.name}".encode()).hexdigest()

    return sorted(all_of_them, key=rank)[:n]


def of_source(source: bytes, file: str) -> list[Mutant]:
    """Return the mutants of one module, in the order of its lines."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    seen: dict[tuple[str, str, str], int] = {}
    found: list[Mutant] = []
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for where, node, new in _walk(tree, "<module>"):
        start = starts[node.lineno - 1] + node.col_offset
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        end = starts[node.end_lineno - 1] + node.end_col_offset
        text = f"({ast.unparse(new)})" if isinstance(new, ast.expr) else ast.unparse(new)
        before, after = (_short(one) for one in _words(node, new, parents[node]))
        key = (where, before, after)
        occurrence = seen[key] = seen.get(key, -1) + 1
        lines, span = (node.lineno, _statement(node, parents)), (start, end)
        found.append(Mutant(file, where, before, after, occurrence, *lines, span, text))
    return found


def _statement(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> int:
    """Return the first line of the innermost statement that a node is or stands in."""
    while not isinstance(node, ast.stmt):
        node = parents[node]
    return node.lineno


def _words(node: ast.AST, new: ast.AST, parent: ast.AST) -> tuple[str, str]:
    """Return code before and after; of a number or a name together with what it stands in."""
    if not isinstance(node, ast.Constant | ast.Name) or not isinstance(
        parent, ast.expr | ast.keyword
    ):
        return ast.unparse(node), ast.unparse(new)
    if isinstance(parent, ast.Dict) and node in parent.values:
        key = parent.keys[parent.values.index(node)]
        words = ast.unparse(key) if key else "**"
        return f"{words}: {ast.unparse(node)}", f"{words}: {ast.unparse(new)}"
    for field, value in ast.iter_fields(parent):
        if value is node:
            return ast.unparse(parent), ast.unparse(_with(parent, **{field: new}))
        if isinstance(value, list) and node in value:
            changed = [new if one is node else one for one in value]
            return ast.unparse(parent), ast.unparse(_with(parent, **{field: changed}))
    raise AssertionError("a node stands in a field of its parent")


def _short(code: str) -> str:
    return code if len(code) <= 100 else code[:99] + "…"


Place = tuple[str, ast.expr | ast.stmt, ast.expr | ast.stmt]


def _walk(node: ast.AST, where: str) -> Iterator[Place]:
    """Yield scope, node and replacement, for all that is neither wording nor a type."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        where = node.name if where == "<module>" else f"{where}.{node.name}"
    if isinstance(node, ast.expr | ast.stmt):
        for new in _variants(node):
            yield where, node, new
    test = getattr(node, "test", None)
    # The others are turned round by a variant of their own.
    if test and not _is_main(node) and not isinstance(test, ast.Compare | ast.UnaryOp):
        yield where, test, ast.UnaryOp(ast.Not(), test)
    for child in _children(node):
        yield from _walk(child, where)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Raise | ast.JoinedStr) or _is_main(node):
        return  # a message is wording (and what is inside an f-string has no place before 3.12)
    if isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation):
        return
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "TypeVar"):
        yield from node.args[:1]
        return
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child


def _is_main(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "__name__ == '__main__'",
        "TYPE_CHECKING",
    )


def _variants(node: ast.expr | ast.stmt) -> Iterator[ast.expr | ast.stmt]:
    match node:
        case ast.Compare(ops=[operator]):
            for table in (_BOUNDARY, _NEGATED):
                if type(operator) in table:
                    yield _with(node, ops=[table[type(operator)]()])
        case ast.BinOp(left=left, op=operator, right=right):
            if type(operator) in _ARITHMETIC and not (_is_text(left) or _is_text(right)):
                yield _with(node, op=_ARITHMETIC[type(operator)]())
        case ast.AugAssign(op=operator, value=value):
            if type(operator) in _ARITHMETIC and not _is_text(value):
                yield _with(node, op=_ARITHMETIC[type(operator)]())
        case ast.BoolOp(op=operator):
            yield _with(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Name(id=name) if name in _OTHER_NAME:
            yield ast.Name(_OTHER_NAME[name])
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Raise():
            yield ast.Pass()
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def _is_text(node: ast.expr) -> bool:
    """Whether an operand shows that the operator joins texts or paths."""
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _with(node: ast.AST, **fields: object) -> Any:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new
