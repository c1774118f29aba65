"""Trained cells: their tolerances, what the proof lets pass and what it does not."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
import yaml

from lib.core import notebooks, proof
from lib.core.ledger import LedgerError, load_chapter
from lib.core.ledger.claims import Trained
from lib.core.paths import ROOT

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


# --- what agrees ----------------------------------------------------------------------------------

HALF = Trained(abs=0.5, rel=0, why="seeds")
PERCENT = Trained(abs=0, rel=0.01, why="seeds")


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        ("54.2 %", "54.7 %"),  # the bound counts, in decimal and not in binary arithmetic
        ("54.2 (52.0 to 56.4)", "53.9 (51.8 to 56.0)"),
        ("-0.2 points", "0.3 points"),
        ("[-0.018, 0.2]", "[0.022, 0.1]"),
        ("−0.2", "+0.1"),
        ("12,345.6 nats", "12,345.9 nats"),
        ("1e-05", "4e-05"),
        ("0 to 1.5", "0.2 to 1"),
        ("level   9.9\nlevel  54.2", "level  10.1\nlevel  54.2"),  # one digit more, one blank less
        ("[0.5  0.25]", "[0.51 0.2 ]"),
        ("<td>54.2</td>", "<td>54.6</td>"),
        ("[holds] ch02.t2 0.2 [0.1, 0.3]", "[inconclusive] ch02.t2 0.1 [-0.1, 0.2]"),
        ("holds in direction 0.2", "differs 0.1"),
        ('{"value": [0.0288, 3.0]}', '{"value": [0.0293, 3.5]}'),
    ],
)
def test_what_agrees(stored: str, fresh: str) -> None:
    assert proof.disagreements(stored, fresh, HALF) == []
    assert proof.disagreements(fresh, stored, HALF) == []


@pytest.mark.parametrize(
    ("stored", "fresh", "said"),
    [
        ("54.2 %", "54.8 %", "54.8 for 54.2"),
        ("0.3", "-0.3", "-0.3 for 0.3"),
        ("12,345.6", "12,346.6", "12,346.6 for 12,345.6"),
        ("600 users", "601 users", "601 for 600"),
        ("1,250 users", "1,251 users", "1,251 for 1,250"),
        ("0.5 of 600 users", "0.5 of 6000 users", "6000 for 600"),
        ("holds 0.5", "differs 0.5", "the text"),
        ("holds 0.5 of 600", "differs 0.5 of 601", "601 for 600"),
        ("flat holds 0.5", "PrefixMem holds 0.6", "the text"),
        ("flat 0.5, PrefixMem 0.6", "PrefixMem 0.6, flat 0.5", "the text"),
        ("0.5 0.6", "0.5", "the text"),
        ("0.5\n0.6", "0.5 0.6", "the text"),
        ("H = 20", "H = 5", "5 for 20"),
        ("ch02.t2", "ch02.t3", "the text"),
        ("v1.2.3", "v1.2.4", "the text"),
        ("run12.5s", "run12.6s", "the text"),
        ("cell-001", "cell-002", "002 for 001"),
        ("nan", "0.1", "the text"),
        ('{"holds": true}', '{"holds": false}', "the text"),
        ('{"n": 3}', '{"n": 4}', "4 for 3"),
    ],
)
def test_what_disagrees(stored: str, fresh: str, said: str) -> None:
    found = proof.disagreements(stored, fresh, HALF)
    assert len(found) == 1
    assert found[0].startswith(said)


def test_a_relative_tolerance_is_of_the_stored_number_and_the_larger_one_counts() -> None:
    assert proof.disagreements("200.0", "202.0", PERCENT) == []
    assert proof.disagreements("200.0", "202.1", PERCENT) == ["202.1 for 200.0"]
    assert proof.disagreements("-200.0", "-202.0", PERCENT) == []
    both = Trained(abs=0.5, rel=0.01, why="seeds")
    assert proof.disagreements("1.0 200.0", "1.5 202.0", both) == []
    assert proof.disagreements("1.0 200.0", "1.6 202.0", both) == ["1.6 for 1.0"]


# --- the tags -------------------------------------------------------------------------------------


def planted(root: Path, *tags: list[str], kind: str = "code") -> Any:
    """Return what `tag_problems` reads of a notebook, a cell for each list of tags."""
    new = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
    content = nbformat.v4.new_notebook(cells=[new("1", metadata={"tags": one}) for one in tags])
    return SimpleNamespace(
        chapter="ch01_toy", name="01.ipynb", root=root, read_source=lambda: content
    )


def test_tags_and_tolerances_go_together(tmp_path: Path) -> None:
    root = chapter(tmp_path, {"arms": {"abs": 1, "why": "s"}, "loss": {"abs": 1, "why": "s"}})

    def problems(*notebooks: Any) -> list[str]:
        return proof.tag_problems(notebooks)

    good = planted(root, ["trained-arms"], ["hide-input"], ["trained-loss", "hide-input"])
    assert problems(good) == []
    one = planted(root, ["trained-arms"])
    assert problems(one) == ["ch01_toy: no cell is tagged trained-loss"]
    assert problems(one, planted(root, ["trained-loss"])) == []
    assert problems(good, planted(root, ["trained-arm"])) == [
        "01.ipynb: cell 0: claims.yml has no tolerance 'arm'"
    ]
    for bare in ("trained", "trained-"):
        assert problems(good, planted(root, [bare])) == [
            "01.ipynb: cell 0: claims.yml has no tolerance ''"
        ]
    expected = ["01.ipynb: cell 0: expected at most one trained tag, and on a code cell"]
    assert problems(good, planted(root, ["trained-arms", "trained-loss"])) == expected
    assert problems(good, planted(root, ["trained-arms"], kind="markdown")) == expected


# --- through nbval --------------------------------------------------------------------------------

CELLS = [
    # output, what stands in its place in the stored notebook, what the proof says of it
    ("print('A 54.2 of 600')", "A 54.2", "A 54.6", ""),
    ("print('B 54.2 of 600')", "B 54.2", "B 55.2", "text: 54.2 for 55.2"),
    ("print('C 54.2 of 600')", "C 54.2 of 600", "C 54.2 of 601", "text: 600 for 601"),
    (
        "print('D 54.2: holds')",
        "D 54.2: holds",
        "D 54.2: differs",
        "text: the text between the numbers",
    ),
    ("show({'text/html': '<b>E 54.2</b>'})", "E 54.2", "E 53.8", ""),
    ("show({'text/html': '<b>F 54.2</b>'})", "<b>F", "<i>F", "html: the text between the numbers"),
    ("show({'application/vnd.toy+json': {'g': 0.25}})", '"g": 0.25', '"g": 0.75', ""),
    ("show({'application/vnd.toy+json': {'h': 0.25}})", '"h": 0.25', '"h": 0.76', "0.25 for 0.76"),
    ("show({'image/png': 'AAAA', 'text/plain': 'I 1.5'})", "AAAA", "BBBB", ""),
    ("show({'image/svg+xml': '<svg/>', 'text/plain': 'K 1.5'})", "<svg/>", "<svg></svg>", ""),
]
"""All in trained cells; pictures and drawings are not compared, here or elsewhere."""


def test_the_proof_of_trained_cells(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = chapter(tmp_path, {"arms": {"abs": 0.5, "why": "seeds"}})
    trained = "".join(f'# %% tags=["trained-arms"]\n{code}\n\n' for code, *_ in CELLS)
    start = "# %%\nfrom functools import partial\nfrom IPython.display import display\n\n"
    source = f"{start}show = partial(display, raw=True)\n\n{trained}# %%\nprint('J 54.2')\n"
    for name, text in {
        "notebooks/ch01_toy/01_toy.py": source,
        "requirements.lock": "",
        "tests/notebooks/sanitize.cfg": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "lib").symlink_to(ROOT / "lib")
    (one,) = notebooks.discover(root=root)
    notebooks.execute(one)
    content = one.stored.read_text()
    # A cell without the tag is compared to the character.
    for _, old, new, _ in [*CELLS, ("", "J 54.2", "J 54.3", "")]:
        assert old in content
        content = content.replace(old, new, 1)  # outputs stand before the source
    one.stored.write_text(content)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-c /dev/null -rf")
    assert notebooks.prove([one], jobs=1) != 0
    out = capfd.readouterr().out
    failed = {int(number) for number in re.findall(r"FAILED .*::Cell (\d+)", out)}
    assert failed == {i for i, (*_, said) in enumerate(CELLS, 1) if said} | {len(CELLS) + 1}
    for *_, said in CELLS:
        assert said in out


def test_an_unknown_tolerance_stops_the_proof(tmp_path: Path) -> None:
    item = SimpleNamespace(
        path=chapter(tmp_path, {}) / "notebooks" / "ch01_toy" / "01.ipynb",
        cell=nbformat.v4.new_code_cell("1", metadata={"tags": ["trained-arms"]}),
    )
    with pytest.raises(LedgerError, match="no tolerance 'arms'"):
        proof.pytest_collection_modifyitems([item])


# --- other processors -----------------------------------------------------------------------------


def test_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"SIMD Extensions": {"baseline": ["X86_V2"], "found": ["X86_V3", "X86_V4"]}}
    monkeypatch.setattr(np, "show_config", lambda mode: config)
    assert proof.kernels("") == {}
    assert proof.kernels("avx2")["NPY_DISABLE_CPU_FEATURES"] == "X86_V4"
    assert proof.kernels("sse")["NPY_DISABLE_CPU_FEATURES"] == "X86_V3 X86_V4"
    config["SIMD Extensions"] = {"baseline": []}
    assert proof.kernels("sse") == proof.KERNELS["sse"]
    with pytest.raises(ValueError, match="cpu is 'avx3', expected one of: avx2, sse"):
        proof.kernels("avx3")
