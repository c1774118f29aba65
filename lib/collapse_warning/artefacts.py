"""The author's released files, by their paths in the repository, verified before they are read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from lib.core import data

__all__ = ["BENCHMARK", "canonical_sha256", "document", "file", "manifest_check", "table"]

SET = "loopzero"
BENCHMARK = "movielens25m_recursive_frontier_public_v1"
"""Prefix of every file of the recommender benchmark."""


def file(name: str) -> Path:
    """Return the verified path of one released file.

    Parameters
    ----------
    name : str
        Path inside the author's repository, such as ``results/rendered/bridge/….csv``.

    Raises
    ------
    lib.core.data.DataError
        If the file is not registered, cannot be had, or is not the registered one.
    """
    return data.path(SET, f"{SET}/{name}")


def table(name: str, **options: Any) -> pd.DataFrame:
    """Read one released CSV (gzip or not); `options` go to `pandas.read_csv`."""
    content: pd.DataFrame = pd.read_csv(file(name), **options)
    return content


def document(name: str) -> dict[str, Any]:
    """Read one released JSON document."""
    content: dict[str, Any] = json.loads(file(name).read_text(encoding="utf-8"))
    return content


def canonical_sha256(content: Any) -> str:
    """Return the sha256 of a JSON value written with sorted keys and without spaces.

    Examples
    --------
    >>> canonical_sha256({"b": 1, "a": 2})[:12]
    'd3626ac30a87'
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def manifest_check(content: Any) -> pd.DataFrame:
    """Compare every digest that a manifest records with the registered file of that path.

    Parameters
    ----------
    content : dict or list
        A JSON document; every mapping in it that holds a ``sha256`` and a path is one entry.

    Returns
    -------
    DataFrame
        ``path``, ``recorded`` and ``status``: "same", "different", or "not in the mirror".
    """
    held = {one.name.removeprefix(f"{SET}/"): one for one in data.registry()[SET].files}
    rows = []

    def visit(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                visit(item)
        elif isinstance(node, dict):
            recorded = node.get("sha256")
            paths = [
                value
                for key, value in node.items()
                if isinstance(value, str) and "/" in value and "path" in key
            ]
            if isinstance(recorded, str) and paths:
                # An entry names where a file came from and where it was frozen: one of them is it.
                here = [path for path in paths if path in held]
                status = "not in the mirror"
                if here:
                    same = hashlib.sha256(file(here[-1]).read_bytes()).hexdigest() == recorded
                    status = "same" if same else "different"
                rows.append(((here or paths)[-1], recorded, status))
            for item in node.values():
                visit(item)

    visit(content)
    return pd.DataFrame(rows, columns=["path", "recorded", "status"])
