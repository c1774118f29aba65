"""Fixtures of chapter 5: the released artefacts, or a skip with the reason."""

import pytest

from lib.collapse_warning.study import artefacts, markets, study2


@pytest.fixture(scope="session")
def mirror():
    artefacts.file("CITATION.cff")


@pytest.fixture(scope="session")
def minutes(mirror):
    return markets.packets()


@pytest.fixture(scope="session")
def users(mirror):
    return study2.load()
