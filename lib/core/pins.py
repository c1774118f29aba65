"""The part of ``requirements.lock`` that a piece of code reaches."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lib.core.paths import ROOT
from lib.core.sources import imported

__all__ = ["pins"]


def pins(codes: Iterable[str], files: Iterable[Path], root: Path = ROOT) -> dict[str, str]:
    """Return the locked versions of the packages that the code reaches.

    These are the packages whose modules the codes and files import, at whatever level, those that
    run a notebook, and what all of these require in turn. A requirement counts under whatever
    condition of system or Python, so that the answer is the same everywhere; one of an extra counts
    if ``pyproject.toml`` or a package on the way asks for that. What is not in
    ``requirements.lock`` does not count, whether it is installed or not.

    Parameters
    ----------
    codes : iterable of str
        Python sources, such as the code cells of a notebook.
    files : iterable of Path
        Python files, such as those of `import_closure`.
    root : Path
        The folder of ``requirements.lock`` and ``pyproject.toml``.

    Returns
    -------
    dict of str to str
        Versions by canonical package name.
    """
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = (line.strip().partition("==") for line in lines if not line.startswith("#"))
    lock = {canonicalize_name(name): version for name, _, version in pairs if name}
    project = root / "pyproject.toml"
    text = project.read_text(encoding="utf-8") if project.is_file() else ""
    asked = dict(re.findall(r'"([\w.-]+)\[([\w,]+)\]', text))
    seen = set()
    waiting = [(home, "") for top in imported(codes, files) for home in _homes().get(top, ())]
    waiting += [("ipykernel", ""), ("nbclient", "")]
    while waiting:
        name, extra = map(canonicalize_name, waiting.pop())
        if name not in lock or (name, extra) in seen:
            continue
        seen.add((name, extra))
        waiting += [(name, one) for one in asked.get(name, "").split(",")]
        for need in _requirements(name):
            if "extra" not in str(need.marker) or f'extra == "{extra}"' in str(need.marker):
                waiting += [(need.name, one) for one in ("", *need.extras)]
    return {name: lock[name] for name, _ in seen}


@functools.cache
def _homes() -> Mapping[str, list[str]]:
    """Return the installed packages that hold a top-level module, by its name."""
    return metadata.packages_distributions()


@functools.cache
def _requirements(name: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in metadata.requires(name) or ()]
    except metadata.PackageNotFoundError:
        return []
