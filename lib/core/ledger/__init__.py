"""The ledger: claims in, verdicts out.

A chapter declares its claims in ``book/<chapter>/claims.yml``, a notebook reports what it measured
with `report`, and `verdict` compares the two. Nothing else makes a verdict, and none is read back:
rows are made from the stored measurements, so a verdict follows the claim as it is declared now.

Shell: ``python -m lib.core.ledger --json | --table | --check [--chapter SLUG]`` and
``--prove ID``.
"""

import importlib
from typing import Any

from lib.core.ledger.claims import (
    Chapter,
    Claim,
    Entry,
    LedgerError,
    Paper,
    UnknownClaimError,
    load_all,
    load_chapter,
    load_contents,
)
from lib.core.ledger.reporting import MIME, report
from lib.core.ledger.values import Measurement
from lib.core.ledger.verdicts import NOT_REPORTED, VERDICTS, verdict

# What reads stored notebooks is no part of what a notebook's outputs depend on: by name, on demand.
_ROWS = ("Row", "check", "collect", "tally_by")

__all__ = [
    *_ROWS,
    "MIME",
    "NOT_REPORTED",
    "VERDICTS",
    "Chapter",
    "Claim",
    "Entry",
    "LedgerError",
    "Measurement",
    "Paper",
    "UnknownClaimError",
    "load_all",
    "load_chapter",
    "load_contents",
    "report",
    "verdict",
]


def __getattr__(name: str) -> Any:
    if name in _ROWS:
        return getattr(importlib.import_module("lib.core.ledger.rows"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
