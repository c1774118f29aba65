"""The paper's own numbers against each other, from ``paper_tables.yml`` beside this module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

__all__ = ["percentages", "printed_twice"]


def _tables() -> Any:
    return yaml.safe_load(Path(__file__).with_name("paper_tables.yml").read_text(encoding="utf-8"))


def percentages(*, exchanged: bool = False) -> dict[str, float]:
    """Return the relative gains that follow from Tables 4, 7 and 8, in per cent.

    Parameters
    ----------
    exchanged : bool
        Control: before taken for after.
    """
    tables = _tables()
    pairs = {f"recall {at}": pair for at, pair in tables["recall"].items()} | tables["accuracy"]
    order = -1 if exchanged else 1
    return {name: 100 * (pair[::order][1] / pair[::order][0] - 1) for name, pair in pairs.items()}


def printed_twice() -> dict[str, tuple[float, float]]:
    """Return quantities printed in two places for what reads as one configuration."""
    return {name: tuple(pair) for name, pair in _tables()["twice"].items()}
