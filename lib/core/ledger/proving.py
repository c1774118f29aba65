"""One row computed anew: stored and fresh side by side."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from lib.core.ledger.claims import LedgerError, find_claim, load_chapter
from lib.core.ledger.rows import collect, measurements
from lib.core.ledger.values import Measurement, format_interval, format_measured, format_value
from lib.core.ledger.verdicts import verdict
from lib.core.notebooks import Notebook, compute
from lib.core.paths import ROOT
from lib.core.proof import disagreements, trained_names

__all__ = ["prove"]


def prove(id: str, *, root: Path | None = None) -> tuple[str, bool]:
    """Run the notebook of one row, with no results of before, and compare; nothing is stored.

    Parameters
    ----------
    id : str
        A claim that a stored notebook reports.
    root : Path, optional
        Repository root.

    Returns
    -------
    text : str
        Stored and fresh value, interval, control and verdict, and the seconds it took.
    same : bool
        Whether they are equal; for a trained cell, within its tolerance and of one verdict.

    Raises
    ------
    UnknownClaimError
        If no chapter declares `id`.
    LedgerError
        If no notebook reports it, or the run does not.
    lib.core.notebooks.ExecutionError
        If a cell raises.
    """
    root = root or ROOT
    claim = find_claim(id, root=root)  # an unknown id is an error that names close ones
    (row,) = [r for r in collect(root=root) if r.claim.id == id]
    if row.measurement is None:
        raise LedgerError(f"{id}: {row.label}, so there is nothing to compute anew")
    notebook = Notebook((root / row.notebook).with_suffix(".py"))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        content = compute(notebook, results=Path(folder))
    seconds = time.monotonic() - start
    found = [(i, m) for i, m in measurements(content.cells, notebook.name) if m.id == id]
    if len(found) != 1:
        raise LedgerError(f"{id}: reported {len(found)} times by the run of {notebook.name}")
    ((cell, fresh),) = found
    before, now = row.verdict, verdict(claim, fresh)
    same = fresh == row.measurement
    for name in trained_names(content.cells[cell]):
        tolerance = load_chapter(row.chapter, root=root).trained[name]
        old, new = (json.dumps(m.to_json(), sort_keys=True) for m in (row.measurement, fresh))
        same = before == now and not disagreements(old, new, tolerance)
    lines = [f"{id} in {notebook.name}, cell {cell}"]
    facts = zip(_facts(row.measurement, before), _facts(fresh, now), strict=True)
    lines += [f"{name:<8}  stored {old}\n          fresh  {new}" for (name, old), (_, new) in facts]
    lines.append(f"{'the same' if same else 'NOT the same'}; {seconds:.0f} s")
    return "\n".join(lines), same


def _facts(measurement: Measurement, label: str | None) -> list[tuple[str, str]]:
    control, around = measurement.control, measurement.control_interval
    return [
        ("value", format_value(measurement.value)),
        ("interval", format_interval(measurement.interval) or "none"),
        ("control", "none" if control is None else format_measured(control, around)),
        ("verdict", str(label)),
    ]
