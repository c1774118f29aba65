"""What a report is made of: the expressions of a notebook that flow into a call of `report`.

The slice goes backwards over the statements of a notebook, by name: from the arguments of the call
to what was last bound to their names, to the names in there, and so on. A name imported from `lib`
is followed one step, to its constant or to what its function returns. Two things are refused:

- an argument, or an element of it, that takes nothing from `lib`, from data or from chance: it was
  typed, whatever the spelling and however few its digits;
- a typed number in the slice that is the claim's own value, but for 0, 1 and 100, which are
  everywhere, indices, conditions, and the arguments of calls of `lib`: it computes from them.

Only data are followed: not the conditions under which a statement runs, nor objects that a function
of `lib` changes in place, nor what happens inside `lib` beyond one step.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from literals import CLOSE, Numbers, Plain, allowed_inputs, claimed_numbers, fold, numbers_within
from literals import sources as files_of

from lib.core.ledger import load_chapter
from lib.core.notebooks import Notebook
from lib.core.sources import parse

ARGUMENTS = ("id", "value", "interval", "control")
JUDGED = ("value", "interval", "control", "control_interval")
EVERYWHERE = (0, 1, 100)

# What a slice holds honestly: part of a finding, and why.
HONEST: dict[str, str] = {
    "value of ch05.ours.rows.gain_sign is made of 40": "a horizon, which picks the bracket",
    "control of ch07.ours.resolve.doors is typed": "as names have it: no two folders alike",
    "control of ch10.window is typed": "the growth factors, not compounded",
    "value of ch10.ours.covenant.timing is made of 30": "the interval of the real run, an input",
    "value of ch10.burden is made of 1000": "one of the regimes that are compared",
    "value of ch10.burden is made of 4": "one of the regimes that are compared",
    "control of ch10.ours.law.error is typed": "the published errors, read as independent",
}

# Names with which nothing is measured: they hand on what was typed before.
_MODULES = {"np", "numpy", "math", "pd", "pandas", "fractions", "decimal"}
_PLAIN = (set(dir(builtins)) - {"open", "input", "__import__"}) | _MODULES
_PLAIN |= {"Fraction", "Rational", "Decimal"}
_MEASURES = re.compile(r"random|load|read|genfromtxt")
# Calls whose small numbers say which or how many, not what came out.
_WHICH = {"range", "round", "head", "tail", "reshape", "enumerate"}

_Import = ast.Import | ast.ImportFrom


def _loads(node: ast.AST) -> set[str]:
    """Return the names that an expression takes from around it."""
    if isinstance(node, _Import):
        return set()
    names = [one for one in ast.walk(node) if isinstance(one, ast.Name)]
    own = {one.id for one in names if isinstance(one.ctx, ast.Store)}
    own |= {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}
    return {one.id for one in names} - own


def _bound(target: ast.expr) -> Iterator[str]:
    """Yield the names that an assignment to this target gives something."""
    if isinstance(target, ast.Tuple | ast.List):
        for one in target.elts:
            yield from _bound(one)
    elif isinstance(target, ast.Starred | ast.Subscript | ast.Attribute):
        yield from _bound(target.value)
    elif isinstance(target, ast.Name):
        yield target.id


@dataclass
class Binding:
    """`name` is made of `source`; `under` decides whether. `kills`: of nothing earlier any more."""

    name: str
    source: ast.AST
    under: tuple[ast.AST, ...] = ()
    kills: bool = False
    whole: bool = True


def _pairs(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield target and value of what one statement or expression binds itself."""
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value:
        yield node.target, node.value
    elif isinstance(node, ast.For):
        yield node.target, node.iter
    elif isinstance(node, ast.withitem) and node.optional_vars:
        yield node.optional_vars, node.context_expr
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        # rows.append(…), table.update(a=…)
        for one in [*node.args, *(keyword.value for keyword in node.keywords)]:
            yield node.func.value, one


def _split(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
    if both and len(target.elts) == len(value.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def bindings(statement: ast.stmt, under: tuple[ast.AST, ...] = ()) -> Iterator[Binding]:
    """Yield what a statement binds, with the statements in it."""
    if isinstance(statement, _Import):
        for one in statement.names:
            name = (one.asname or one.name).partition(".")[0]
            yield Binding(name, statement, under, not under)
        return
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield Binding(statement.name, statement, under, not under)
        inside = [b for one in statement.body for b in bindings(one, (*under, statement))]
        local = {b.name for b in inside if b.whole}
        yield from (b for b in inside if not b.whole and b.name not in local)
        return
    outright = not under and isinstance(statement, ast.Assign | ast.AnnAssign | ast.For)
    own = [statement]
    if not hasattr(statement, "body"):
        changing = isinstance(statement, ast.Expr)
        own = [n for n in ast.walk(statement) if changing or not isinstance(n, ast.Call)]
    elif isinstance(statement, ast.With):
        own = [*statement.items]
    elif isinstance(statement, ast.If | ast.While):
        own = [*ast.walk(statement.test)]
    for node in own:
        for target, value in _pairs(node):
            for part, source in _split(target, value):
                whole = isinstance(part, ast.Name | ast.Tuple | ast.List)
                whole &= not isinstance(node, ast.Call)
                for name in _bound(part):
                    kills = outright and whole and node is statement
                    yield Binding(name, source, under, kills, whole)
    if isinstance(statement, ast.Try):
        head: list[ast.AST] = list(statement.body)
    elif isinstance(statement, ast.With):
        head = [one.context_expr for one in statement.items]
    else:
        head = [part for field in ("test", "iter") if (part := getattr(statement, field, None))]
    blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    blocks += [handler.body for handler in getattr(statement, "handlers", [])]
    for block in blocks:
        for one in block if isinstance(block, list) else []:
            yield from bindings(one, (*under, *head))


@dataclass
class Report:
    """One call of `report`, with what may flow into it."""

    place: str
    arguments: dict[str, ast.expr]
    bindings: dict[str, list[Binding]] = field(repr=False)
    root: Path = field(repr=False)

    def computed(self, node: ast.AST, seen: frozenset[str] = frozenset()) -> bool:
        """Whether an expression takes anything from `lib`, from data or from chance."""
        attributes = (one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute))
        if any(_MEASURES.match(one) for one in attributes):
            return True
        return any(self._computed(name, seen) for name in _loads(node) - seen)

    def _computed(self, name: str, seen: frozenset[str]) -> bool:
        found = self.bindings.get(name)
        if found is None:
            return name not in _PLAIN
        seen |= {name}
        for one in found:
            if isinstance(one.source, _Import):
                given = lib_value(one.source, name, self.root)
                if name not in _PLAIN and (not given or any(_loads(f) - _PLAIN for f in given)):
                    return True
            elif any(self.computed(part, seen) for part in (one.source, *one.under)):
                return True
        return False

    def typed(self, node: ast.expr) -> bool:
        """Whether an argument, or an element of it, was typed and not computed."""
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            parts = node.values if isinstance(node, ast.Dict) else node.elts
            return any(map(self.typed, parts)) or not parts
        if isinstance(node, ast.Starred):
            return self.typed(node.value)
        if isinstance(node, ast.BoolOp) and any(isinstance(n, ast.Constant) for n in node.values):
            return True  # `lib.check() or True`
        if isinstance(node, ast.IfExp) and ast.dump(node.body) == ast.dump(node.orelse):
            return self.typed(node.body)
        if isinstance(node, ast.Constant) and node.value is None:
            return False
        return not self.computed(node)

    def sources(self, argument: ast.expr) -> Iterator[ast.AST]:
        """Yield the argument and every expression that may flow into it."""
        waiting: list[ast.AST] = [argument]
        seen: set[str] = set()
        while waiting:
            node = waiting.pop()
            yield node
            for name in sorted(_loads(node) - seen):
                seen.add(name)
                for one in self.bindings.get(name, ()):
                    if isinstance(one.source, _Import):
                        yield from lib_value(one.source, name, self.root)
                    else:
                        waiting.append(one.source)

    def results(self, node: ast.AST) -> Iterator[float]:
        """Yield the typed numbers that may be a result: no index, no condition, no input."""
        found = fold(node)
        if found is not None:
            yield abs(found)
        skip: list[ast.AST | None] = []
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and len(node.value) < 40:
                yield from map(abs, numbers_within(node.value))
        elif isinstance(node, ast.Compare):
            return
        elif isinstance(node, ast.Subscript):
            skip = [node.slice]
        elif isinstance(node, ast.IfExp):
            skip = [node.test]
        elif isinstance(node, ast.Dict):
            skip = [*node.keys]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            skip = [*node.decorator_list, getattr(node, "args", None)]
        elif isinstance(node, ast.Call):
            if getattr(node.func, "attr", getattr(node.func, "id", "")) in _WHICH:
                return
            if self._measures(node.func):
                skip = [*node.args, *node.keywords]
        for child in ast.iter_child_nodes(node):
            if child not in skip:
                yield from self.results(child)

    def _measures(self, function: ast.expr) -> bool:
        """Whether what is called is neither a plain name nor a method of a typed thing."""
        return bool(_loads(function) - _PLAIN) or (
            isinstance(function, ast.Attribute) and bool(_MEASURES.match(function.attr))
        )

    def ids(self, claims: list[str]) -> list[str]:
        """Return the claims that the call may report: an id may be put together in a loop."""
        given = self.arguments.get("id", ast.Constant(""))
        texts = (ast.Constant, ast.JoinedStr)
        nodes = (
            [given]
            if isinstance(given, texts)
            else [
                node
                for source in self.sources(given)
                for node in ast.walk(source)
                if isinstance(node, texts)
            ]
        )
        patterns = [re.compile(self._pattern(node)) for node in nodes]
        return [one for one in claims if any(pattern.fullmatch(one) for pattern in patterns)]

    def _pattern(self, node: ast.AST) -> str:
        """Return what a text with places to fill can be: a loop over texts fills in each."""
        if isinstance(node, ast.JoinedStr):
            return "".join(map(self._pattern, node.values))
        if isinstance(node, ast.Constant):
            return re.escape(str(node.value))
        name = getattr(getattr(node, "value", None), "id", "")
        loops = [one.source for one in self.bindings.get(name, ())]
        words = [word for one in loops for word in getattr(one, "elts", [None])]
        if not words or not all(isinstance(word, ast.Constant) for word in words):
            return ".*"
        return f"(?:{'|'.join(re.escape(str(word.value)) for word in words)})"


@lru_cache(maxsize=512)
def _tree(file: Path, stamp: tuple[int, int]) -> ast.Module:
    return Plain().visit(ast.parse(file.read_text(encoding="utf-8")))


def _module(file: Path) -> ast.Module:
    return _tree(file, (file.stat().st_mtime_ns, file.stat().st_size))


def lib_value(statement: ast.stmt, name: str, root: Path) -> list[ast.AST]:
    """Return the expression of a constant of `lib`, or those that its function returns."""
    module = getattr(statement, "module", None) or ""
    if not module.startswith("lib"):
        return []
    name = next(one.name for one in statement.names if (one.asname or one.name) == name)
    base = root.joinpath(*module.split("."))
    file = next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()), None)
    for one in _module(file).body if file else []:
        if isinstance(one, ast.Assign | ast.AnnAssign) and one.value is not None:
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            if name in {n for target in targets for n in _bound(target)}:
                return [one.value]
        if isinstance(one, ast.FunctionDef) and one.name == name:
            return [r.value for r in ast.walk(one) if isinstance(r, ast.Return) and r.value]
        if isinstance(one, ast.ImportFrom) and name in {o.asname or o.name for o in one.names}:
            return lib_value(one, name, root)
    return []


def _is_report(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        owner = function.value
        return function.attr == "report" and getattr(owner, "id", getattr(owner, "attr", "")) in (
            "ledger",
            "reporting",
        )
    return isinstance(function, ast.Name) and function.id == "report"


def _called(call: ast.Call, names: list[str]) -> dict[str, ast.expr]:
    given = dict(zip(names, call.args, strict=False))
    return given | {one.arg or "**": one.value for one in call.keywords}


def reports(statements: list[tuple[str, ast.stmt]], root: Path) -> Iterator[Report]:
    """Yield every call of `report` in statements that run one after the other."""
    per = [list(bindings(one)) for _, one in statements]
    modules = {b.name for unit in per for b in unit if isinstance(b.source, _Import)}
    # np.sort(…) does not change np.
    per = [[b for b in unit if b.whole or b.name not in modules] for unit in per]
    for at, (place, statement) in enumerate(statements):
        calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call) and _is_report(n.func)]
        if not calls:
            continue
        own, before = per[at], per[:at]
        if isinstance(statement, ast.FunctionDef):
            # A function that reports is fed by its own body, and by all that call it.
            own = own + [b for one in statement.body for b in bindings(one)]
            names = [one.arg for one in (*statement.args.args, *statement.args.kwonlyargs)]
            for later, (_, one) in enumerate(statements):
                for node in ast.walk(one):
                    if isinstance(node, ast.Call) and ast.unparse(node.func) == statement.name:
                        given = _called(node, names)
                        own += [Binding(name, value) for name, value in given.items()]
                        before = per[:later]
        for call in calls:
            arguments = _called(call, list(ARGUMENTS))
            yield Report(f"{place}{call.lineno}", arguments, _slice(call, own, before), root)


def _slice(
    call: ast.Call, own: list[Binding], before: list[list[Binding]]
) -> dict[str, list[Binding]]:
    found: dict[str, list[Binding]] = defaultdict(list)
    needed = _loads(call)
    for unit in [own, *reversed(before)]:
        taken: list[Binding] = []
        while new := [b for b in unit if b.name in needed and not any(b is one for one in taken)]:
            taken += new
            for one in new:
                found[one.name].append(one)
                needed = needed.union(*map(_loads, (one.source, *one.under)))
        # Nothing earlier reaches what is bound outright here, unless it is made of itself.
        again = {name for one in taken if one.kills for name in _loads(one.source)}
        needed -= {one.name for one in taken if one.kills} - again
    return found


def _statements(file: Path, root: Path) -> list[tuple[str, ast.stmt]]:
    """Return the statements of a file, each with its place."""
    name = file.relative_to(root).as_posix()
    if file.relative_to(root).parts[0] == "lib":
        return [(f"{name}, line ", one) for one in _module(file).body]
    cells = enumerate(Notebook(file).read_source().cells)
    return [
        (f"{name} cell {index}, line ", one)
        for index, cell in cells
        if cell.cell_type == "code"
        for one in Plain().visit(parse(cell.source)).body
    ]


def _hidden(place: str, statement: ast.stmt, imported: bool) -> Iterator[str]:
    """Name every use of `report` that is not a plain call of it under its own name."""
    called = {id(n.func) for n in ast.walk(statement) if isinstance(n, ast.Call)}
    for node in ast.walk(statement):
        other = isinstance(node, ast.ImportFrom) and any(
            one.asname not in (None, one.name) and one.name in ("report", "ledger", "reporting")
            for one in node.names
        )
        value = isinstance(node, ast.Attribute) or (imported and isinstance(node, ast.Name))
        value = value and _is_report(node)
        text = isinstance(node, ast.Constant) and (
            node.value == "report" or "vnd.tenpapers" in str(node.value)
        )
        if other or text or (value and id(node) not in called):
            yield f"{place}{node.lineno}: report is called by its name, or not at all"


def feed_problems(chapter: str, root: Path) -> list[str]:
    """Return every report whose value, interval or control is typed, or made of its claim's value.

    Numbers listed under ``inputs`` in the chapter's ``claims.yml`` may flow into a report.
    """
    claims = {claim.id: claim for claim in load_chapter(chapter, root=root).claims}
    allowed = allowed_inputs(chapter, root)
    problems = []
    for file in files_of(chapter, root):
        in_lib = file.relative_to(root).parts[0] == "lib"
        if in_lib and (file.parent.name == "ledger" or "report" not in file.read_text("utf-8")):
            continue
        statements = _statements(file, root)
        if not in_lib:
            names = {b.name for _, s in statements if isinstance(s, _Import) for b in bindings(s)}
            for place, statement in statements:
                problems += _hidden(place, statement, "report" in names)
        for report in reports(statements, root):
            ids = report.ids(list(claims))
            if not ids and not in_lib:
                problems.append(f"{report.place}: the id of this report cannot be read")
            values = [(float(v), i) for i in ids for v in claimed_numbers(claims[i].value)]
            problems += _judge(report, ids, Numbers(values, CLOSE, allowed))
    return problems


def _judge(report: Report, ids: list[str], numbers: Numbers) -> Iterator[str]:
    said = set()
    for name in {*JUDGED, "**"} & set(report.arguments):
        argument = report.arguments[name]
        if report.typed(argument):
            said.add(f"{name} of {', '.join(ids)} is typed")
        if name in ("control", "control_interval"):
            continue  # what equals the claim there is no result, and fails by itself
        for source in report.sources(argument):
            for value in report.results(source):
                claim = numbers.match(value)
                if claim and value not in EVERYWHERE:
                    said.add(f"{name} of {claim} is made of {value:g}")
    return (f"{report.place}: {one}, not computed" for one in sorted(said - HONEST.keys()))
