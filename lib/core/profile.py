"""How much to compute: one variable, ``BOOK_PROFILE``; the code is the same."""

from __future__ import annotations

import os
from typing import Literal, TypeVar, cast, get_args

from lib.core import check

__all__ = ["Profile", "pick", "profile"]

Profile = Literal["smoke", "book", "full"]
T = TypeVar("T")


def profile() -> Profile:
    """Return the profile of this run: ``smoke`` (tests), ``book`` (the pages) or ``full``.

    Raises
    ------
    ValueError
        If ``BOOK_PROFILE`` is set to anything else.
    """
    name = os.environ.get("BOOK_PROFILE") or "book"
    return cast("Profile", check.known("BOOK_PROFILE", name, get_args(Profile)))


def pick(*, smoke: T, book: T, full: T) -> T:
    """Return the value meant for the profile of this run.

    Examples
    --------
    >>> from unittest import mock
    >>> with mock.patch.dict(os.environ, BOOK_PROFILE="smoke"):
    ...     pick(smoke=10, book=1_000, full=100_000)
    10
    """
    return {"smoke": smoke, "book": book, "full": full}[profile()]
