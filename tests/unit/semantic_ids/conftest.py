"""Fixtures of chapter 2: the public catalogues."""

import pytest

from lib.semantic_ids import datasets


@pytest.fixture(scope="session")
def catalogues():
    """Return the loader; the test of a file that cannot be had skips."""
    return datasets.load
