"""Validity of a provenance record in the sense of PROV-CONSTRAINTS, with numbered reasons.

The engine takes a document of the ``prov`` package and decides constraints 22 to 56 of the W3C
Recommendation of 30 April 2013: uniqueness by merging (`normalise`), order of events by strongly
connected components (`ordering`), typing and impossibility (`impossibility`). Each bundle is
checked by itself, as section 7.2 of the Recommendation asks. `corpus` runs the cases that the
``prov`` wheel ships.
"""

from __future__ import annotations

from prov.model import ProvBundle, ProvDocument

from lib.robot_provenance.constraints.impossibility import check_impossible
from lib.robot_provenance.constraints.normalise import read
from lib.robot_provenance.constraints.ordering import Events, check_clock, check_order
from lib.robot_provenance.constraints.report import NAMES, Report, Violation

__all__ = ["NAMES", "Report", "Violation", "check"]


def check(document: ProvBundle) -> Report:
    r"""Check a document, and each of its bundles, against PROV-CONSTRAINTS and its own clock.

    Parameters
    ----------
    document : ProvDocument or ProvBundle
        What to check. It is not changed.

    Returns
    -------
    Report
        `valid` is the W3C verdict. Findings about recorded times are apart, in `clock`: the
        Recommendation orders events but never compares two times.

    Raises
    ------
    TypeError
        If `document` is no ``prov`` document or bundle.

    Examples
    --------
    >>> document = ProvDocument()
    >>> document.set_default_namespace("http://example.org/")
    >>> for name in "ab":
    ...     _ = document.entity(name)
    >>> _ = document.wasDerivedFrom("b", "a")
    >>> check(document).valid
    True
    >>> _ = document.wasDerivedFrom("a", "b")
    >>> report = check(document)
    >>> print("\n".join(report.violations[0].witness))
    generation of b strictly precedes generation of a [42: wasDerivedFrom(a, b, -, -, -)]
    generation of a strictly precedes generation of b [42: wasDerivedFrom(b, a, -, -, -)]
    """
    if not isinstance(document, ProvBundle):
        raise TypeError(f"expected a prov document or bundle, got {type(document).__name__}")
    parts: list[tuple[str | None, ProvBundle]] = [(None, document)]
    if isinstance(document, ProvDocument):
        bundles = {str(b.identifier): b for b in document.bundles}
        parts += [(name, bundles[name]) for name in sorted(bundles)]
    violations: list[Violation] = []
    clock: list[Violation] = []
    uncompared = 0
    for name, part in parts:
        instance = read(part, name)
        check_impossible(instance)
        events = Events(instance)
        check_order(events)
        clock += check_clock(events)
        naive = [moment.tzinfo is None for moment, *_ in events.times]
        uncompared += 0 if all(naive) else sum(naive)
        violations += sorted(instance.violations, key=lambda v: (v.constraint, v.code, v.message))
    return Report(tuple(violations), tuple(clock), uncompared)
