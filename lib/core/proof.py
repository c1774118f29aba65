"""The proof of trained cells: nbval's comparison with a tolerance, and other processors' kernels.

Training repeats to the bit on one kind of kernel only: sums taken in another order differ in the
last bit, and thousands of steps make that the third digit. So a code cell that shows *trained*
numbers carries the tag ``trained-NAME``, and ``trained:`` in its chapter's ``claims.yml`` says how
far NAME's decimal numbers may lie from the stored ones. Text, order and integers stay equal. So do
verdicts, but where the tolerance itself can turn one (``tests/notebooks/test_trained.py`` names
these rows): it is computed from the numbers. Cells without the tag stay equal to the character.
Pictures are not compared (nbval skips PNG), here or elsewhere.

As a pytest plugin (``-p lib.core.proof``) it only puts the stored text in the place of a fresh one
that agrees with it; the comparison itself remains nbval's.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lib.core import check
from lib.core.ledger import LedgerError, load_chapter
from lib.core.ledger.claims import Trained

__all__ = ["KERNELS", "disagreements", "kernels", "tag_problems", "trained_names"]

# With or without thousands commas; not a part of a name, a version or a longer number.
_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w)")

_VERDICT = re.compile(r"holds in direction|holds|inconclusive|differs|contradicted")

KERNELS: dict[str, dict[str, str]] = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "FAISS_SIMD_LEVEL": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "sse": {
        "ATEN_CPU_CAPABILITY": "default",
        "FAISS_SIMD_LEVEL": "NONE",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
}
"""Variables with which the libraries compute as on another processor; NumPy's come on top."""


def kernels(cpu: str) -> dict[str, str]:
    """Return the environment of another processor's kernels.

    Parameters
    ----------
    cpu : str
        ``"avx2"`` (no AVX-512), ``"sse"`` (neither; stands in for processors of another make), or
        ``""`` for the machine as it is.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if not cpu:
        return {}
    cpu = check.known("cpu", cpu, KERNELS)
    # NumPy warns of features that it does not know or has not, so ask it which are in use.
    config: Any = np.show_config(mode="dicts")
    keep = {"X86_V3"} if cpu == "avx2" else set()
    off = [one for one in config["SIMD Extensions"].get("found", []) if one not in keep]
    return {**KERNELS[cpu], **({"NPY_DISABLE_CPU_FEATURES": " ".join(off)} if off else {})}


def disagreements(stored: str, fresh: str, tolerance: Trained) -> list[str]:
    """Say where a trained text disagrees with the stored one; empty if it agrees.

    The text between the numbers must be equal, but for the number of blanks, which pad columns.
    A number written without point and exponent must be equal; others may differ by the tolerance.
    The word of a verdict may differ where a number does: it is computed from the numbers.

    Examples
    --------
    >>> tolerance = Trained(abs=0.5, rel=0, why="seeds")
    >>> disagreements("PrefixMem  54.2 of 600", "PrefixMem  54.6 of 600", tolerance)
    []
    >>> disagreements("PrefixMem  54.2 of 600", "PrefixMem  55.0 of 601", tolerance)
    ['55.0 for 54.2', '601 for 600']
    """
    numbers = [_NUMBER.findall(text) for text in (stored, fresh)]
    if numbers[0] != numbers[1]:
        stored, fresh = (_VERDICT.sub("?", text) for text in (stored, fresh))
    between = [
        [re.sub(" +", " ", one).strip(" ") for one in _NUMBER.split(t)] for t in (stored, fresh)
    ]
    if between[0] != between[1]:
        return ["the text between the numbers"]
    pairs = zip(*numbers, strict=True)
    return [f"{new} for {old}" for old, new in pairs if not _near(old, new, tolerance)]


def _near(old: str, new: str, tolerance: Trained) -> bool:
    if not re.search("[.eE]", old + new):
        return old == new
    a, b = (Decimal(one.replace(",", "").replace("−", "-")) for one in (old, new))
    allowed = max(Decimal(repr(tolerance.abs)), Decimal(repr(tolerance.rel)) * abs(a))
    return abs(a - b) <= allowed


def trained_names(cell: Any) -> list[str]:
    """Return the tolerances that a cell's tags name; an empty text for a tag without a name."""
    tags = (str(tag).partition("-") for tag in cell.metadata.get("tags", []))
    return [name for word, _, name in tags if word == "trained"]


def tag_problems(notebooks: Iterable[Any]) -> list[str]:
    """Say where tags of trained cells and tolerances of their chapters do not go together.

    Parameters
    ----------
    notebooks : iterable of lib.core.notebooks.Notebook
        All notebooks of each chapter that is to be looked at.
    """
    problems: list[str] = []
    unused: dict[str, set[str]] = {}
    for notebook in notebooks:
        declared = load_chapter(notebook.chapter, root=notebook.root).trained
        unused.setdefault(notebook.chapter, set(declared))
        for index, cell in enumerate(notebook.read_source().cells):
            where = f"{notebook.name}: cell {index}"
            names = trained_names(cell)
            if names and (cell.cell_type != "code" or len(names) > 1):
                problems.append(f"{where}: expected at most one trained tag, and on a code cell")
            unknown = [name for name in names if name not in declared]
            problems += [f"{where}: claims.yml has no tolerance {name!r}" for name in unknown]
            unused[notebook.chapter] -= set(names)
    for chapter, left in unused.items():
        problems += [f"{chapter}: no cell is tagged trained-{name}" for name in sorted(left)]
    return problems


_DRAWING = "image/svg+xml"


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Give nbval's items of trained cells a comparison with their tolerance; spare drawings."""
    for item in items:
        # Like pictures: the last digits of a place differ between processors.
        file: Any = getattr(item, "parent", None)
        if _DRAWING not in getattr(file, "skip_compare", (_DRAWING,)):
            file.skip_compare = (*file.skip_compare, _DRAWING)
        for name in trained_names(item.cell) if hasattr(item, "cell") else ():
            path = Path(item.path)
            declared = load_chapter(path.parent.name, root=path.parents[2]).trained
            if name not in declared:
                raise LedgerError(
                    f"{path.name}: claims.yml has no tolerance {name!r} under trained"
                )
            item.compare_outputs = partial(_compare, item, item.compare_outputs, declared[name])


def _compare(item: Any, strict: Any, tolerance: Trained, fresh: Any, stored: Any) -> bool:
    """Compare the outputs of one cell; `strict` is nbval's own comparison."""
    fresh, wrong = copy.deepcopy(fresh), []
    for new, old in zip(fresh, stored, strict=False):
        news, olds = new.get("data", new), old.get("data", old)
        for key in news.keys() & olds.keys() - set(item.parent.skip_compare):
            old_text, new_text = (
                item.sanitize(one) if isinstance(one, str) else json.dumps(one, sort_keys=True)
                for one in (olds[key], news[key])
            )
            found = disagreements(old_text, new_text, tolerance)
            wrong += [f"{key}: {one}" for one in found]
            if not found:
                news[key] = olds[key]
    same: bool = strict(fresh, stored)
    allowed = f"abs {tolerance.abs}, rel {tolerance.rel}"
    item.comparison_traceback += [f"outside the tolerance ({allowed}): {one}" for one in wrong]
    return same
