"""The ledger: claims in, verdicts out.

A chapter declares its claims in ``book/<chapter>/claims.yml``, a notebook reports what it measured
with `report`, and `verdict` compares the two. Nothing else makes a verdict, and none is read back:
rows are made from the stored measurements, so a verdict follows the claim as it is declared now.

Shell: ``python -m lib.core.ledger --json | --table | --check [--chapter SLUG]``.
"""

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
from lib.core.ledger.rows import Row, check, collect
from lib.core.ledger.values import Measurement
from lib.core.ledger.verdicts import NOT_REPORTED, VERDICTS, verdict

__all__ = [
    "MIME",
    "NOT_REPORTED",
    "VERDICTS",
    "Chapter",
    "Claim",
    "Entry",
    "LedgerError",
    "Measurement",
    "Paper",
    "Row",
    "UnknownClaimError",
    "check",
    "collect",
    "load_all",
    "load_chapter",
    "load_contents",
    "report",
    "verdict",
]
