"""Trained cells: their tolerances, what the proof lets pass and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.core.ledger import LedgerError, load_chapter

CLAIM = {
    "id": "ch01.a",
    "by": "ours",
    "source": "Toy page",
    "statement": "A sum.",
    "kind": "number",
    "basis": "exact",
    "value": 1,
    "tolerance": {"exact": True},
}


def chapter(root: Path, trained: Any) -> Path:
    """Write a chapter with one claim and these tolerances."""
    path = root / "book" / "ch01_toy" / "claims.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "chapter": "ch01_toy",
        "number": 1,
        "title": "A toy",
        "question": "Does it hold?",
        "paper": {"title": "On Toys", "authors": ["A. Author"], "arxiv": "2605.31036"},
        "trained": trained,
        "claims": [CLAIM],
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return root


# --- the tolerances in claims.yml ----------------------------------------------------------------


def test_tolerances_are_read(tmp_path: Path) -> None:
    trained = {"arms": {"abs": 0.5, "why": "seeds"}, "loss-2": {"rel": 0.01, "abs": 2, "why": "s"}}
    found = load_chapter("ch01_toy", root=chapter(tmp_path, trained)).trained
    assert {name: (one.abs, one.rel, one.why) for name, one in found.items()} == {
        "arms": (0.5, 0, "seeds"),
        "loss-2": (2, 0.01, "s"),
    }


@pytest.mark.parametrize(
    ("trained", "message"),
    [
        (["arms"], "names with abs, rel and why"),
        ({"arms": 0.5}, "expected keys with values"),
        ({"arms": {"abs": 0.5}}, "'why' is missing"),
        ({"arms": {"abs": 0.5, "why": " "}}, "why is ' '"),
        ({"arms": {"abs": 0.5, "digits": 3, "why": "s"}}, "unknown key 'digits'"),
        ({"arms": {"why": "s"}}, "allows nothing"),
        ({"arms": {"abs": 0, "rel": 0, "why": "s"}}, "allows nothing"),
        ({"arms": {"abs": -0.5, "why": "s"}}, "abs is -0.5"),
        ({"arms": {"abs": True, "why": "s"}}, "abs is True"),
        ({"arms": {"rel": float("inf"), "why": "s"}}, "rel is inf"),
        ({"arms": {"rel": float("nan"), "why": "s"}}, "rel is nan"),
        ({"arms": {"rel": "1 %", "why": "s"}}, "rel is '1 %'"),
        ({"Arms_2": {"abs": 0.5, "why": "s"}}, "trained Arms_2: expected a name"),
    ],
)
def test_a_wrong_tolerance_is_refused(tmp_path: Path, trained: Any, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        load_chapter("ch01_toy", root=chapter(tmp_path, trained))
