"""What a check returns: numbered violations, each with a witness in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RULES: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("rules.yml").read_text(encoding="utf-8")
)
"""The Recommendation's tables: shapes of statements, keys, unique events, names."""
NAMES: dict[int, str] = RULES["names"]
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
    uncompared : int
        Recorded times without a zone beside others that have one: the two are never compared, so
        that `clock` may miss what contradicts.
    """

    violations: tuple[Violation, ...]
    clock: tuple[Violation, ...]
    uncompared: int = 0

    @property
    def valid(self) -> bool:
        """Valid in the sense of PROV-CONSTRAINTS, times not compared."""
        return not self.violations

    def counts(self) -> dict[str, int]:
        """Violations by code, clock findings included, in the order of the codes."""
        found = Counter(v.code for v in (*self.violations, *self.clock))
        return {code: found[code] for code in sorted(found)}
