"""Names that a package exports without importing their modules before they are asked for.

Importing `lib.semantic_ids.datasets` runs the package's ``__init__`` first. If that imported all it
exports, every user of one module would wait for torch, and every notebook's stale key would hold
the whole package.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

__all__ = ["declared", "exports"]


def declared(file: Path) -> dict[str, str]:
    """Return the names that a module imports under ``if TYPE_CHECKING:``, with their modules.

    Parameters
    ----------
    file : Path
        A Python file; only absolute ``from module import name`` statements count.
    """
    blocks = (
        node.body
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    return {
        alias.name: str(node.module)
        for body in blocks
        for node in body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def exports(package: str, file: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package, from what it declares for type checkers.

    An exported name may not be that of a module of the package: an import of that module would put
    the module in its place.

    Parameters
    ----------
    package, file : str
        ``__name__`` and ``__file__`` of the package.

    Examples
    --------
    >>> import lib.autobidding
    >>> lib.autobidding.Market.__module__
    'lib.autobidding.market'
    """
    homes = declared(Path(file))

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return get, lambda: sorted(homes)
