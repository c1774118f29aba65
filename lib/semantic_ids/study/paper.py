"""The paper's own numbers against each other, read from the chapter's claims."""

from __future__ import annotations

from lib.core.ledger import load_chapter

__all__ = ["percentages", "printed_twice"]

_CHAPTER = "ch02_semantic_ids"


def _table(name: str) -> list[float]:
    """Return the values of a claim ``ch02.paper.<name>`` as the paper prints them."""
    for claim in load_chapter(_CHAPTER).claims:
        if claim.id == f"ch02.paper.{name}" and isinstance(claim.value, tuple):
            return [float(one) for one in claim.value]
    raise KeyError(f"no claim ch02.paper.{name} with a list of values")


def percentages() -> dict[str, float]:
    """Return the relative gains that follow from the paper's tables, in per cent.

    Recall at 20 and at 100 (Table 4), reachable and unreachable examples (Table 7), rare prefixes
    (Table 8).
    """
    before, after = _table("t4.baseline"), _table("t4.rows5m")
    reach, unreach, reach5, unreach5 = _table("t7")
    rare, _, _, rare5, _, _ = _table("t8")
    pairs = {
        "recall at 20": (before[0], after[0]),
        "recall at 100": (before[-1], after[-1]),
        "reachable": (reach, reach5),
        "unreachable": (unreach, unreach5),
        "rare": (rare, rare5),
    }
    return {name: 100 * (high / low - 1) for name, (low, high) in pairs.items()}


def printed_twice() -> dict[str, tuple[float, float]]:
    """Return quantities printed in two places for what reads as one configuration."""
    return {
        "TF-L4 of the baseline (Table 2, run with level 3)": (
            _table("t2.baseline")[0],
            _table("t2.level3")[2],
        ),
        "TF-L5 of the baseline (Table 2, run with level 3)": (
            _table("t2.baseline")[1],
            _table("t2.level3")[4],
        ),
        "TF-L5 of 2 M rows (Tables 2, 11)": (_table("t2.rows")[3], _table("t11")[2]),
        "BLEU of 2 M rows (Tables 3, 11)": (_table("t3")[3], _table("t11")[3]),
    }
