"""How to open the doors whose type hints do not say it, and which odd questions have right answers.

An argument given as None is handed over as it is and not spoilt: an object, a path, or a name that
only our own code hands over.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import smallbook
import yaml

from lib.core.paths import ROOT

Right = dict[tuple[str, str, str], Callable[[Any], bool]]


def double(item: str, rng: object = None) -> str:
    return 2 * item


def _folder() -> Path:
    """Return a new folder with what a new chapter changes."""
    folder = Path(tempfile.mkdtemp(prefix="doors-"))
    (folder / "data").mkdir()
    for name in ("data/chapters.yml", "_toc.yml", "_config.yml"):
        shutil.copy(ROOT / name, folder / name)
    with (folder / "data" / "chapters.yml").open("a", encoding="utf-8") as file:
        file.write("- {number: 92, slug: ch92_dream, title: T, arxiv: '2699.00092', question: Q}\n")
    return folder


def _report() -> dict[str, Any]:
    """Return a right report in a book of one chapter that follows today's rules."""
    root = Path(tempfile.mkdtemp(prefix="doors-"))
    claim = smallbook.CHAPTER["claims"][1] | {"tolerance": {"abs": 0.1}}
    chapter = smallbook.CHAPTER | {"claims": [claim]}
    smallbook.write(root, "book/ch01_toy/claims.yml", yaml.safe_dump(chapter))
    smallbook.write(root, "data/chapters.yml", yaml.safe_dump(smallbook.CONTENTS))
    return {
        "id": claim["id"],
        "value": 1.0,
        "interval": (0.95, 1.05),
        "control": 0.5,
        "control_interval": (0.45, 0.55),
        "root": root,
    }


def _check(**arguments: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"name": "x", **arguments}


EXAMPLES: dict[str, Callable[[], dict[str, Any]]] = {
    "core.check.array": _check(value=np.array([1.0, 2.0])),
    "core.check.columns": _check(frame=pd.DataFrame({"a": [1], "b": [2]}), wanted=["a", "b"]),
    "core.check.integer": _check(value=3),
    "core.check.integers": _check(value=np.array([1, 2])),
    "core.check.known": _check(value="a", options=["a", "b"]),
    "core.check.number": _check(value=0.5),
    "core.check.ordered": _check(value=[1, 2, 3]),
    "core.check.same_length": lambda: {"one": [1, 2], "other": [3, 4]},
    "core.check.share": _check(value=0.5),
    "core.check.shares": _check(value=np.array([0.25, 0.5])),
    "core.check.text": _check(value="word"),
    "core.check.unique": _check(value=[1, 2, 3]),
    "core.data.digests": lambda: {"names": ["movielens"]},
    "core.data.fetch": lambda: {"name": "movielens"},
    "core.data.package_file": lambda: {"name": "movielens"},
    "core.data.path": lambda: {"name": "movielens"},
    "core.figures.show": lambda: {"fig": None, "alt": "A line.", "caption": "A line."},
    "core.figures.show_chart": lambda: {"chart": None, "alt": "A line.", "caption": "A line."},
    "core.lazy.exports": lambda: {"package": None, "file": None},
    "core.ledger.load_chapter": lambda: {"slug": "ch01_autobidding"},
    "core.ledger.report": _report,
    "core.ledger.tally_by": lambda: {"rows": []},
    "core.ledger.verdict": lambda: {"claim": None, "measurement": None},
    "core.notebooks.check": lambda: {"notebooks": None},
    "core.notebooks.compute": lambda: {"notebook": None},
    "core.notebooks.execute": lambda: {"notebook": None},
    "core.notebooks.key_parts": lambda: {"notebook": None},
    "core.notebooks.key_problems": lambda: {"notebook": None},
    "core.notebooks.output_problems": lambda: {"content": None},
    "core.notebooks.pair": lambda: {"notebook": None},
    "core.notebooks.pairing_problems": lambda: {"notebook": None},
    "core.notebooks.prove": lambda: {"notebooks": []},
    "core.notebooks.run": lambda: {"notebooks": []},
    "core.paths.write_atomic": lambda: {"target": _folder() / "a.txt", "content": "text"},
    # It ends the process it runs in, and gets the number of a process that there is.
    "core.processes.end_with": lambda: {"parent": None},
    "core.profile.pick": lambda: {"smoke": None, "book": None, "full": None},
    "core.proof.disagreements": lambda: {"stored": "a 1", "fresh": "a 1", "tolerance": None},
    "core.proof.kernels": lambda: {"cpu": "avx2"},
    "core.proof.tag_problems": lambda: {"notebooks": None},
    "core.proof.trained_names": lambda: {"cell": None},
    "core.scaffold.create": lambda: {
        "number": "92",
        "package": "dream",
        "arxiv": "2699.00092",
        "root": _folder(),
    },
    "core.sources.digest": lambda: {"text": "text"},
    "core.sources.import_closure": lambda: {"codes": ["import os"]},
    "core.pins.pins": lambda: {"codes": ["import numpy"], "files": []},
    "core.sources.resources": lambda: {"files": []},
    "core.sources.imported": lambda: {"codes": ["import os"], "files": []},
    "core.sources.parse": lambda: {"code": "x = 1"},
    "stats.paired_shares": lambda: {"first": [1, 1, 0, 1], "second": [0, 1, 0, 0]},
    "stats.equivalent": lambda: {
        "values": np.array([0.1, -0.2, 0.1, 0.2]),
        "margins": (-0.5, 0.5),
    },
    "stats.equivalent_groups": lambda: {
        "first": np.array([0.1, -0.2, 0.1, 0.2]),
        "second": np.array([0.1, -0.1, 0.2, 0.3]),
        "margins": (-0.5, 0.5),
    },
    "core.sweeps.run": lambda: {
        "func": double,
        "items": ["a", "b"],
        "name": "doors",
        "n_jobs": 1,
        "seed": 1,
        "cache": False,
    },
}

RIGHT: Right = {
    ("core.check.array", "value", "shape"): lambda found: found.shape == (1, 2),
    ("core.check.columns", "frame", "empty"): lambda found: found is None,
    ("core.check.columns", "frame", "nan"): lambda found: found is None,
    ("core.check.columns", "frame", "text"): lambda found: found is None,
    ("core.check.columns", "wanted", "empty"): lambda found: found is None,
    ("core.check.integers", "value", "shape"): lambda found: found.tolist() == [[1, 2]],
    ("core.check.ordered", "value", "fraction"): lambda found: found.tolist() == [1.9, 2, 3],
    ("core.check.ordered", "value", "empty"): lambda found: found.size == 0,
    ("core.check.shares", "value", "shape"): lambda found: found.tolist() == [[0.25, 0.5]],
    ("core.check.unique", "value", "nan"): lambda found: found[1:] == (2, 3),
    ("core.check.unique", "value", "infinite"): lambda found: found == (float("inf"), 2, 3),
    ("core.check.unique", "value", "fraction"): lambda found: found == (1.9, 2, 3),
    ("core.check.unique", "value", "text"): lambda found: found == ("1", "2", "3"),
    ("core.check.unique", "value", "empty"): lambda found: found == (),
    ("core.data.digests", "names", "empty"): lambda found: found == {},
    ("core.ledger.tally_by", "rows", "empty"): lambda found: set(found) == {"paper", "ours"},
    ("core.notebooks.prove", "notebooks", "empty"): lambda found: found == 1,
    ("core.notebooks.prove", "cpu", "empty"): lambda found: found == 1,
    ("core.notebooks.run", "notebooks", "empty"): lambda found: found == 0,
    ("core.paths.write_atomic", "content", "empty"): lambda found: found.read_bytes() == b"",
    ("core.proof.disagreements", "stored", "empty"): lambda found: len(found) > 0,
    ("core.proof.disagreements", "fresh", "empty"): lambda found: len(found) > 0,
    ("core.proof.kernels", "cpu", "empty"): lambda found: found == {},
    ("core.sources.digest", "text", "empty"): lambda found: (
        found == hashlib.sha256(b"").hexdigest()
    ),
    ("core.sources.import_closure", "codes", "empty"): lambda found: found == {},
    ("core.pins.pins", "codes", "empty"): lambda found: "numpy" not in found,
    ("core.pins.pins", "files", "empty"): lambda found: "numpy" in found,
    ("core.sources.resources", "files", "empty"): lambda found: found == [],
    ("core.sources.imported", "codes", "empty"): lambda found: found == set(),
    ("core.sources.imported", "files", "empty"): lambda found: found == {"os"},
    ("core.sources.parse", "code", "empty"): lambda found: found.body == [],
    ("core.sweeps.run", "items", "empty"): lambda found: found == [],
    # The name is ours, and the value is right.
    **{
        (door, "name", "empty"): lambda found: True
        for door in EXAMPLES
        if door.startswith("core.check.")
    },
    # Two of two elements, whatever they are.
    **{
        ("core.check.same_length", argument, fault): lambda found: found == 2
        for argument in ("one", "other")
        for fault in ("nan", "infinite", "fraction", "text")
    },
}
