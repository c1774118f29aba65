"""What a piece of code depends on in `lib`, and digests that wording does not move."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from lib.core.lazy import declared
from lib.core.paths import ROOT

__all__ = ["code_digest", "digest", "import_closure", "lock_digest", "parse"]


def digest(text: str) -> str:
    """Return the sha256 of a text, 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse(code: str) -> ast.Module:
    r"""Parse code that may come from a notebook: lines for IPython alone (%, !) are left out.

    Examples
    --------
    >>> len(parse("%matplotlib inline\nx = 1").body)
    1
    """
    lines = [line for line in code.splitlines() if not line.lstrip().startswith(("%", "!"))]
    return ast.parse("\n".join(lines))


def code_digest(file: Path) -> str:
    """Return a digest of a Python file's syntax tree without docstrings, comments and layout."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A text on its own, a docstring or one below an attribute, computes nothing.
            node.body = [one for one in node.body if not _is_text(one)]
    return digest(ast.dump(tree))


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def lock_digest(root: Path = ROOT) -> str:
    """Return a digest of the pins in ``requirements.lock``; comments and order do not count."""
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = sorted(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    return digest("\n".join(pins))


def _module_file(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those below ``if TYPE_CHECKING:``, which never run."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the dotted names that a module may import, function-level imports included."""
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                above = parts[: len(parts) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            # What is imported may itself be a module.
            yield from (f"{base}.{name.name}" for name in node.names)


def _lazily(name: str, root: Path) -> set[str]:
    """Return the modules that a package turns to when `name` is imported: itself or of it."""
    whole = name.removesuffix(".*")
    everything = _module_file(whole, root)
    file = everything or _module_file(whole.rpartition(".")[0], root)
    if file is None or file.name != "__init__.py":
        return set()
    homes = declared(file)
    return {home for key, home in homes.items() if everything or key == name.rpartition(".")[2]}


def import_closure(codes: Iterable[str], root: Path = ROOT) -> dict[str, Path]:
    """Return every `lib` module that the code imports, directly or not.

    Of what a package exports lazily (`lib.core.lazy`), the names that are asked for count; all of
    them where the package itself is imported, for any may be asked for then. Other modules imported
    by name at run time (importlib) are not seen.

    Parameters
    ----------
    codes : iterable of str
        Python sources, such as the code cells of a notebook.
    root : Path
        The repository root.

    Returns
    -------
    dict of str to Path
        Files by dotted module name, packages on the way included.

    Examples
    --------
    >>> sorted(import_closure(["from lib.core.profile import pick"]))
    ['lib', 'lib.core', 'lib.core.profile']
    """
    found: dict[str, Path] = {}
    waiting = [name for code in codes for name in _imported(parse(code), "")]
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        if parts[0] != "lib":
            continue
        waiting.extend(_lazily(name, root))
        for depth in range(1, len(parts) + 1):
            module = ".".join(parts[:depth])
            file = _module_file(module, root)
            if file is None or module in found:
                continue
            found[module] = file
            is_package = file.name == "__init__.py"
            package = module if is_package else module.rpartition(".")[0]
            waiting.extend(_imported(ast.parse(file.read_text(encoding="utf-8")), package))
    return found
