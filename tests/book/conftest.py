"""What the tests of the built book share: its pages, parsed once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
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


@pytest.fixture(scope="session")
def html() -> Path:
    """Return the folder of the built book, which must be there."""
    if not (HTML / "index.html").is_file():
        pytest.fail("there is no built book in _build/html: run `make html` first", pytrace=False)
    return HTML


@pytest.fixture(scope="session")
def pages(html: Path) -> dict[str, BeautifulSoup]:
    """Return the pages of the book by their path below _build/html.

    An incremental build leaves the pages of removed documents behind: they are not looked at.
    """
    names = ["index", "search", "genindex", *documents()]
    return {f"{n}.html": parse(html / f"{n}.html") for n in names if (html / f"{n}.html").is_file()}
