"""What a check returns: numbered violations, each with a witness in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pandas as pd

__all__ = ["NAMES", "Report", "Violation"]

NAMES: dict[int, str] = {
    22: "key-object",
    23: "key-properties",
    24: "unique-generation",
    25: "unique-invalidation",
    26: "unique-wasStartedBy",
    27: "unique-wasEndedBy",
    28: "unique-startTime",
    29: "unique-endTime",
    30: "start-precedes-end",
    31: "start-start-ordering",
    32: "end-end-ordering",
    33: "usage-within-activity",
    34: "generation-within-activity",
    35: "wasInformedBy-ordering",
    36: "generation-precedes-invalidation",
    37: "generation-precedes-usage",
    38: "usage-precedes-invalidation",
    39: "generation-generation-ordering",
    40: "invalidation-invalidation-ordering",
    41: "derivation-usage-generation-ordering",
    42: "derivation-generation-generation-ordering",
    43: "wasStartedBy-ordering",
    44: "wasEndedBy-ordering",
    45: "specialization-generation-ordering",
    46: "specialization-invalidation-ordering",
    47: "wasAssociatedWith-ordering",
    48: "wasAttributedTo-ordering",
    49: "actedOnBehalfOf-ordering",
    50: "typing",
    51: "impossible-unspecified-derivation-generation-use",
    52: "impossible-specialization-reflexive",
    53: "impossible-property-overlap",
    54: "impossible-object-property-overlap",
    55: "entity-activity-disjoint",
    56: "membership-empty-collection",
}
"""Numbers and names of the constraints of PROV-CONSTRAINTS (W3C Recommendation, 2013)."""


@dataclass(frozen=True)
class Violation:
    """One broken rule.

    Parameters
    ----------
    code : str
        The constraint's number (``"22"`` to ``"56"``), or one of ours: ``"M1"`` an argument that
        PROV-DM makes mandatory is missing, so the document is no PROV instance at all; ``"L1"`` an
        entity mentions two others (PROV-Links, a W3C Note); ``"T1"`` recorded times contradict the
        order.
    name : str
        The rule's name.
    statements : tuple of str
        The statements that break it, in PROV-N without attributes.
    witness : tuple of str
        The argument, one step a line. For an order violation the steps form a cycle.
    message : str
        One sentence.
    constraints : tuple of int
        All constraint numbers that the witness uses, sorted.
    bundle : str, optional
        The bundle it was found in; None for the document's own statements.
    """

    code: str
    name: str
    statements: tuple[str, ...]
    witness: tuple[str, ...]
    message: str
    constraints: tuple[int, ...] = ()
    bundle: str | None = None

    @property
    def constraint(self) -> int:
        """The number in PROV-CONSTRAINTS, or 0 for the rules that are not in it."""
        return int(self.code) if self.code.isdigit() else 0


@dataclass(frozen=True)
class Report:
    """The verdict on a document.

    Parameters
    ----------
    violations : tuple of Violation
        What makes the document invalid. Empty if it is valid.
    clock : tuple of Violation
        ``T1`` findings. They do not touch `valid`: PROV-CONSTRAINTS never compares two times.
    n_statements, n_events, n_orderings : int
        Statements read, event nodes and order edges built, over all bundles.
    """

    violations: tuple[Violation, ...]
    clock: tuple[Violation, ...]
    n_statements: int
    n_events: int
    n_orderings: int

    @property
    def valid(self) -> bool:
        """Valid in the sense of PROV-CONSTRAINTS, times not compared."""
        return not self.violations

    @property
    def consistent(self) -> bool:
        """Valid, and no recorded time contradicts the order."""
        return not self.violations and not self.clock

    def counts(self) -> dict[str, int]:
        """Violations by code, clock findings included, in the order of the codes."""
        found = Counter(v.code for v in (*self.violations, *self.clock))
        return {code: found[code] for code in sorted(found)}

    def table(self) -> pd.DataFrame:
        """One row a finding: code, name, bundle, message, witness."""
        rows = [
            (v.code, v.name, v.bundle or "", v.message, " → ".join(v.witness))
            for v in (*self.violations, *self.clock)
        ]
        return pd.DataFrame(rows, columns=["code", "name", "bundle", "message", "witness"])
