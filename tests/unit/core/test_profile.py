"""One variable says how much to compute."""

from __future__ import annotations

import pytest

from lib.core.profile import pick, profile


def test_the_default_is_what_the_pages_show() -> None:
    assert profile() == "book"
    assert pick(smoke=1, book=2, full=3) == 2


@pytest.mark.parametrize(("name", "value"), [("smoke", 1), ("book", 2), ("full", 3), ("", 2)])
def test_each_profile(monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    monkeypatch.setenv("BOOK_PROFILE", name)
    assert pick(smoke=1, book=2, full=3) == value


def test_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK_PROFILE", "large")
    expected = "BOOK_PROFILE is 'large', expected one of: smoke, book, full"
    with pytest.raises(ValueError, match=expected):
        profile()
