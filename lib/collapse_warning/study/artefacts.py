"""The author's released files, by their paths in the repository, verified before they are read."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from lib.core import data

__all__ = ["BENCHMARK", "canonical_sha256", "document", "file", "manifest_check", "table"]

SET = "loopzero"
_CHECKOUT = "loopzero-paper-public/"
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


def manifest_check(content: Any, *, base: str = "") -> pd.DataFrame:
    """Compare every digest that a manifest records with the registered file of that path.

    Parameters
    ----------
    content : dict or list
        A JSON document; every mapping in it that holds a path and a digest is one entry. Where it
        names a frozen copy, the copy is meant: the source may have moved on. ``sha256`` is of the
        file; ``decompressed_sha256`` of what a gzip file holds, and used where both stand: the
        file's own digest changes with the time of writing.
    base : str
        Folder of the repository below which the manifest's paths lie.

    Returns
    -------
    DataFrame
        ``path``, ``recorded`` and ``status``: "same", "different", or "not in the mirror".
    """
    held = {one.name.removeprefix(f"{SET}/") for one in data.registry()[SET].files}
    rows = []

    def visit(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                visit(item)
        elif isinstance(node, dict):
            inside = isinstance(node.get("decompressed_sha256"), str)
            recorded = node.get("decompressed_sha256" if inside else "sha256")
            named = node.get("frozen_path", node.get("path"))
            if isinstance(recorded, str) and isinstance(named, str):
                # Some were written with the path of the author's machine in front.
                path = f"{base}/{named.rpartition(_CHECKOUT)[2]}".lstrip("/")
                status = "not in the mirror"
                if path in held:
                    raw = file(path).read_bytes()
                    found = hashlib.sha256(gzip.decompress(raw) if inside else raw).hexdigest()
                    status = "same" if found == recorded else "different"
                rows.append((path, recorded, status))
            for item in node.values():
                visit(item)

    visit(content)
    return pd.DataFrame(rows, columns=["path", "recorded", "status"])
