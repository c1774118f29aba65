"""``make size``: lines of code by package, a method's ``study/`` apart, beside their budgets.

The packages are those of `lib`, and the book's own Sphinx extensions, which make pages alone.
A line of code holds some of a statement: docstrings, comments and blank lines do not count.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

BUDGETS = {"method": 2000, "study": 1500, "core": 3300, "shared": 1500, "pages": 1300}
"""What the design gives: a chapter's method, its ``study/``, `core`, and a shared package; beside
these what makes the pages (``book/_ext``), whose 727 lines stood in `core` before."""

SHARED = ("stats", "recsys", "llm")

CEILINGS = {
    "robot_provenance": 3000,
    "robot_provenance/study": 2000,
}
"""The one chapter whose budget is larger, since what it records comes with a simulator, bags of
messages and a validator of records: 5,000 lines in all. Never raised."""

_NO_CODE = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
)


def lines_of_code(source: str) -> int:
    """Return the number of lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        # A text on its own is a docstring, of a module, a function or an attribute.
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if text and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def sizes(root: Path = ROOT) -> dict[tuple[str, str], int]:
    """Return the lines of code by package and part: method, study, core, shared or pages."""
    found: dict[tuple[str, str], int] = {}
    for file in sorted((root / "lib").glob("*/**/*.py")):
        package, *inner = file.relative_to(root / "lib").parts
        part = "core" if package == "core" else "shared" if package in SHARED else "method"
        if part == "method" and inner[0] == "study":
            part = "study"
        key = (package, part)
        found[key] = found.get(key, 0) + lines_of_code(file.read_text(encoding="utf-8"))
    for file in sorted((root / "book/_ext").glob("*/**/*.py")):
        key = (file.relative_to(root / "book/_ext").parts[0], "pages")
        found[key] = found.get(key, 0) + lines_of_code(file.read_text(encoding="utf-8"))
    return found


def ceiling(package: str, part: str) -> int:
    """Return how many lines of code a part of a package may have."""
    name = package if part == "method" else f"{package}/{part}"
    return max(BUDGETS[part], CEILINGS.get(name, 0))


def main() -> int:
    """Print the table; return 1 if anything is above its ceiling."""
    found = sizes()
    print(f"{'package':20}{'part':8}{'lines':>7}{'budget':>8}")
    for (package, part), count in found.items():
        most = ceiling(package, part)
        above = " above" if count > most else ""
        print(f"{package:20}{part:8}{count:7,}{most:8,}{above}")
    print(f"{'together':28}{sum(found.values()):7,}")
    return any(count > ceiling(*key) for key, count in found.items())


if __name__ == "__main__":
    sys.exit(main())
