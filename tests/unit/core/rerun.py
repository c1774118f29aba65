"""Modules run anew: a test that only reads a constant runs no line of the file that holds it."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any


def anew(module: ModuleType) -> Any:
    """Run a module anew: what its file says, whatever the imported one has been through."""
    name = f"{module.__name__}_anew"
    spec = importlib.util.spec_from_file_location(name, module.__file__)
    assert spec is not None
    assert spec.loader is not None
    found = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(found)
    finally:
        del sys.modules[name]
    return found


def same(thing: Any) -> Any:
    """Return a class or function as its module has it when run anew."""
    found = anew(sys.modules[thing.__module__])
    for part in thing.__qualname__.split("."):
        found = getattr(found, part)
    return found
