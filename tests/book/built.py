"""Documents and pages of the built book, for its tests.

Not in conftest.py: every folder of tests has a module of that name, and which one an import finds
depends on the order in which tests are collected.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup

from lib.core.paths import ROOT

HTML = ROOT / "_build" / "html"


def documents() -> list[str]:
    """Return every document of the table of contents, in order."""

    def files(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            for key, value in part.items():
                if key in ("root", "file"):
                    yield value
                else:
                    yield from files(value)
        elif isinstance(part, list):
            for item in part:
                yield from files(item)

    return list(files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))


def notebooks() -> list[str]:
    """Return the documents that are notebooks."""
    return [doc for doc in documents() if (ROOT / f"{doc}.ipynb").is_file()]


@cache
def parse(file: Path) -> BeautifulSoup:
    """Return a page as a tree."""
    return BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
