"""What a piece of code depends on in `lib`, and digests that wording does not move."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Collection, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from lib.core.lazy import declared
from lib.core.paths import ROOT

__all__ = [
    "code_digest",
    "digest",
    "import_closure",
    "imported",
    "lock_digest",
    "parse",
    "resources",
    "texts",
]


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
    return _read(file).digest


def texts(file: Path) -> frozenset[str]:
    """Return the string constants of a Python file."""
    return _read(file).texts


class _Facts(NamedTuple):
    digest: str
    texts: frozenset[str]
    imports: frozenset[tuple[int, str]]
    """Level and name."""
    lazy: dict[str, str]
    """Modules of names that are imported when they are asked for (`lib.core.lazy`)."""


def _read(file: Path) -> _Facts:
    state = file.stat()
    return _facts(file, (state.st_size, state.st_mtime_ns))


@functools.cache
def _facts(file: Path, stamp: tuple[int, int]) -> _Facts:
    """Return what a file says; `stamp` (size, mtime) renews the cached answer."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = frozenset(_imported(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A text on its own, a docstring or one below an attribute, computes nothing.
            node.body = [one for one in node.body if not _is_text(one)]
    constants = frozenset(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return _Facts(digest(ast.dump(tree)), constants, imports, declared(file))


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def lock_digest(root: Path = ROOT) -> str:
    """Return a digest of the pins in ``requirements.lock``; comments and order do not count.

    Without that file, in an installed wheel, what is installed counts.
    """
    file = root / "requirements.lock"
    if file.is_file():
        lines = file.read_text(encoding="utf-8").splitlines()
    else:
        lines = [f"{one.name}=={one.version}" for one in metadata.distributions()]
    pins = sorted(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    return digest("\n".join(pins))


def imported(codes: Iterable[str], files: Iterable[Path]) -> set[str]:
    """Return the top-level names that codes and files import, at whatever level."""
    found = {one for code in codes for one in _imported(parse(code))}
    found = found.union(*(_read(file).imports for file in files))
    return {name.partition(".")[0] for level, name in found if not level}


def resources(files: Iterable[Path], root: Path = ROOT) -> list[Path]:
    """Return the files beside the code of packages: proofs, shapes, contexts.

    Parameters
    ----------
    files : iterable of Path
        Python files; those called ``__init__.py`` name the packages.
    root : Path
        The repository root.

    Returns
    -------
    list of Path
        What lies in the folders of these packages and is neither Python nor a text for readers.
    """
    packages = {file.parent for file in files if file.name == "__init__.py"}
    return [
        path
        for path in sorted((root / "lib").rglob("*.*"))
        if path.suffix not in _NO_RESOURCE
        and path.is_file()
        and not path.is_symlink()  # what is linked (the registry of data) has its place elsewhere
        and next(one for one in path.parents if (one / "__init__.py").is_file()) in packages
    ]


_NO_RESOURCE = frozenset({".py", ".pyc", ".typed", ".md", ".part"})


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


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield level and name of what may be imported, function-level imports included."""
    for node in _walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            # What is imported may itself be a module; its parent is on the way.
            base = f"{node.module}." if node.module else ""
            yield from ((node.level, base + name.name) for name in node.names)


def _absolute(level: int, name: str, package: str) -> str:
    """Return the dotted name of an import made in `package`."""
    if not level:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - level + 1], name])


def _lazily(name: str, root: Path) -> set[str]:
    """Return the modules that a package turns to when `name` is imported: itself or of it."""
    whole = name.removesuffix(".*")
    everything = _module_file(whole, root)
    file = everything or _module_file(whole.rpartition(".")[0], root)
    if file is None or file.name != "__init__.py":
        return set()
    homes = _read(file).lazy
    return {home for key, home in homes.items() if everything or key == name.rpartition(".")[2]}


def import_closure(
    codes: Iterable[str], root: Path = ROOT, skip: Collection[str] = ()
) -> dict[str, Path]:
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
    skip : collection of str
        Modules to leave out, with what only they import.

    Returns
    -------
    dict of str to Path
        Files by dotted module name, packages on the way included.

    Examples
    --------
    >>> sorted(import_closure(["from lib.core.lazy import exports"]))
    ['lib', 'lib.core', 'lib.core.lazy']
    """
    found: dict[str, Path] = {}
    waiting = [name for code in codes for _, name in _imported(parse(code))]
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        if parts[0] != "lib":
            continue
        waiting.extend(_lazily(name, root))
        for depth in range(1, len(parts) + 1):
            module = ".".join(parts[:depth])
            file = _module_file(module, root)
            if file is None or module in found or module in skip:
                continue
            found[module] = file
            package = module if file.name == "__init__.py" else module.rpartition(".")[0]
            waiting.extend(_absolute(level, name, package) for level, name in _read(file).imports)
    return found
