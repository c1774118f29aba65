"""Every name of `lib` that a page mentions can be imported as it is written there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import jupytext
import pytest

from lib.core.paths import ROOT

_FENCE = re.compile(r"^ *(```|~~~|:::)[^\n]*\n(.*?)^ *\1", re.M | re.S)
_IMPORT = re.compile(r"^\s*(from lib\b[\w.]* import (?:\([^)]*\)|[^\n`#]+)|import lib[\w.]*)", re.M)
_CODE = re.compile(r"`([^`\n]+)`")
_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\([^()]*\))?")
_PACKAGE = re.compile(r"lib(?:\.\w+)+")
_RUN = re.compile(r"-m (lib(?:\.\w+)+)")


def texts() -> Iterator[tuple[str, str]]:
    """Yield place and Markdown of every page, README and CONTRIBUTING included."""
    for file in sorted([*ROOT.glob("*.md"), *ROOT.glob("book/**/*.md")]):
        yield file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")
    for file in sorted(ROOT.glob("notebooks/*/*.py")):
        cells = jupytext.read(file, fmt="py:percent").cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        yield file.relative_to(ROOT).as_posix(), text


def reach(dotted: str) -> object:
    """Import the longest module that a dotted name begins with, and go on by attributes.

    Raises ImportError or AttributeError where that leads nowhere.
    """
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("lib"):
                raise
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ImportError(f"no module {dotted}")


def mentions(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what is written, and the dotted names of which one must be there."""
    for statement in _IMPORT.findall(text):
        (node,) = ast.parse(statement.strip()).body
        if isinstance(node, ast.ImportFrom):
            yield from ((statement, [f"{node.module}.{alias.name}"]) for alias in node.names)
        else:
            assert isinstance(node, ast.Import)
            yield from ((statement, [alias.name]) for alias in node.names)
    yield from ((f"-m {module}", [module]) for module in _RUN.findall(text))
    prose = _FENCE.sub("", text)
    for paragraph in re.split(r"\n\s*\n|\n\s*(?=[-*] |\d+\. |\|)", prose):
        codes = _CODE.findall(paragraph)
        names = [found.group(1) for code in codes if (found := _NAME.fullmatch(code))]
        homes = [name for name in names if _PACKAGE.fullmatch(name)]
        yield from ((f"`{home}`", [home]) for home in homes)
        # "`Market` and `outcome` in `lib.autobidding`": of that module, or of a package above it.
        if len(homes) != 1 or homes[0].startswith("lib.core"):
            continue
        (home,) = homes
        above = [home.rsplit(".", cut)[0] for cut in range(home.count("."))]
        for name in names:
            if name != home and name not in ("lib", "True", "False", "None"):
                yield f"`{name}` beside `{home}`", [f"{place}.{name}" for place in above]


PAGES = list(texts())


@pytest.mark.parametrize(("place", "text"), PAGES, ids=[place for place, _ in PAGES])
def test_every_name_on_a_page_can_be_imported_as_written(place: str, text: str) -> None:
    missing = []
    for written, candidates in mentions(text):
        for candidate in candidates:
            try:
                reach(candidate)
                break
            except (ImportError, AttributeError):
                continue
        else:
            missing.append(written)
    assert missing == []


def test_the_two_imports_that_used_to_fail() -> None:
    from lib.compute_governance import branch_search
    from lib.semantic_ids import PrefixMem

    assert branch_search.__module__ == "lib.compute_governance.planner"
    assert PrefixMem.__module__ == "lib.semantic_ids.prefixmem"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("```python\nfrom lib.autobidding import Market, Nothing\n```", "Nothing"),
        ("Use `lib.autobidding.nothing.Market`.", "nothing"),
        ("- *To use it:* `Nothing(a, b)` in `lib.autobidding`.", "Nothing"),
        ("- `verdicts.nothing(x)` beside `lib.autobidding.market`", "nothing"),
        ("```bash\npython -m lib.autobidding.nothing --json\n```", "nothing"),
        ("```python\nfrom lib.semantic_ids import (\n    load,\n    nothing,\n)\n```", "nothing"),
    ],
)
def test_a_name_that_is_not_there_is_found(text: str, written: str) -> None:
    with pytest.raises(AssertionError, match=written):
        test_every_name_on_a_page_can_be_imported_as_written("page", text)


def test_names_that_are_there_pass() -> None:
    text = (
        "- `Market` and `verdicts.verdict(…)` from `lib.autobidding.market`, then `fppe(a)`\n"
        "- `lib.core.ledger.collect()`\n\n```python\nfrom lib.autobidding import Market\n"
        "import lib.autobidding.pacing\n```\n"
    )
    test_every_name_on_a_page_can_be_imported_as_written("page", text)


def test_pages_are_found() -> None:
    places = {place for place, _ in PAGES}
    assert {"README.md", "book/ledger.md", "notebooks/ch01_autobidding/01_framework.py"} <= places
    assert sum(len(list(mentions(text))) for _, text in PAGES) > 30
    assert all(Path(ROOT, place).is_file() for place in places)
