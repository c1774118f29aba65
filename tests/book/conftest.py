"""What the tests of the built book share: its pages, parsed once."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from built import HTML, documents, parse


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
