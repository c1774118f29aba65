"""The small book, written afresh for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from smallbook import CHAPTER, CONTENTS, PAGES, store, write

from lib.core.ledger import Measurement


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """Return the root of a book with one chapter and one notebook."""
    root = tmp_path / "book"
    for name, text in PAGES.items():
        write(root, name, text)
    write(root, "book/ch01_toy/claims.yml", yaml.safe_dump(CHAPTER))
    write(root, "data/chapters.yml", yaml.safe_dump(CONTENTS))
    store(
        root,
        "01_one",
        Measurement.of("ch01.a", 1.5),
        Measurement.of("ch01.b", 2, (1, 3), 0),
    )
    return root
