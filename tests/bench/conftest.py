"""Benchmarks run on request only: ``make bench`` (``pytest tests/bench -m bench``)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "bench" in (config.option.markexpr or ""):
        return
    for item in items:
        if item.get_closest_marker("bench"):
            item.add_marker(pytest.mark.skip(reason="a benchmark: make bench"))


@pytest.fixture
def seconds() -> Callable[..., float]:
    """Best of several runs: the least disturbed one on a shared machine."""

    def best(function: Callable[[], object], repeats: int = 5) -> float:
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    return best
