"""``python -m lib.core.ledger``: the ledger on a terminal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lib.core.ledger.claims import LedgerError
from lib.core.ledger.rows import Row, as_json, check, collect, tally_by
from lib.core.ledger.values import format_measured, format_value


def _table(rows: list[Row]) -> str:
    lines = [("verdict", "id", "basis", "claimed", "measured")]
    for row in rows:
        found = format_measured(row.measured, row.interval)
        lines.append(
            (row.label, row.claim.id, row.claim.basis, format_value(row.claim.value), found)
        )
    # Long lists of values would push every other column off the screen; --json has them whole.
    cut = [tuple(c if len(c) <= 44 else c[:43] + "…" for c in line) for line in lines]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    text = [
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cut
    ]
    for by, counts in tally_by(rows).items():
        numbers = ", ".join(f"{n} {label}" for label, n in counts.items())
        text.append(f"{by}: {sum(counts.values())} rows" + (f": {numbers}" if numbers else ""))
    return "\n".join(text)


def _prove(id: str, root: Path | None) -> int:
    # Executing a notebook takes imports that listing rows does without.
    from lib.core.ledger.proving import prove
    from lib.core.notebooks import ExecutionError

    try:
        text, same = prove(id, root=root)
    except ExecutionError as error:
        last = str(error).strip().splitlines()[-1]  # below the traceback
        text, same = f"{id}: its notebook did not run: {last}", False
    print(text)
    return 0 if same else 1


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 1 for problems, 0 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m lib.core.ledger", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--json", action="store_true", help="all rows, and their counts, as JSON")
    mode.add_argument("--table", action="store_true", help="all rows as text")
    mode.add_argument("--check", action="store_true", help="problems; exit status 1 if any")
    mode.add_argument(
        "--prove", metavar="ID", help="compute one row anew; exit status 1 if it differs"
    )
    parser.add_argument("--chapter", metavar="SLUG", help="only this chapter")
    parser.add_argument("--root", type=Path, help="repository root (default: this one)")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            problems = check(root=options.root, chapter=options.chapter)
            print("\n".join(problems) or "every claim has one measurement")
            return 1 if problems else 0
        if options.prove:
            return _prove(options.prove, options.root)
        rows = collect(root=options.root, chapter=options.chapter)
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(as_json(rows))
    else:
        print(_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
