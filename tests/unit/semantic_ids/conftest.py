"""Fixtures of chapter 2: the public catalogues, or a skip with the reason."""

import pytest

from lib.core.data import MissingDataError
from lib.semantic_ids import datasets


@pytest.fixture(scope="session")
def catalogues():
    """Return a loader that skips the test where a file cannot be had."""

    def load(name: str) -> datasets.SidData:
        try:
            return datasets.load(name)
        except MissingDataError as error:
            pytest.skip(str(error))

    return load
