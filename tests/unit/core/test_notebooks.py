"""The notebook machinery, on a small tree of its own."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml

from lib.core import data, notebooks
from lib.core.notebooks import Notebook
from lib.core.paths import ROOT
from lib.core.sources import import_closure

SOURCE = """# %% [markdown]
# # A title

# %%
from lib.model import double

print(double(3))

# %% tags=["nbval-ignore-output"]
{"answer": double(21)}

# %%
import os

os.environ["BOOK_PROFILE"], os.getcwd().endswith("ch99_demo")
"""

FIGURE = """
# %%
from IPython.display import display

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
display({"image/png": PIXEL}, raw=True, metadata={"image/png": {"alt": "a pixel", "width": 1}})
"""

USES = """
# %%
# As lib.core says that a data set was used, and as report stores what was measured.
with open(os.environ.get("BOOK_DATA_LOG", os.devnull), "a") as file:
    file.write("hillstrom\\nhillstrom\\n")

display({"application/vnd.tenpapers.claim+json": {"id": "ch99.one", "value": 1}}, raw=True)
"""

CLAIMS = """
chapter: ch99_demo
number: 99
title: A title
question: A question?
paper: {title: T, authors: [A], arxiv: "2605.31036"}
claims:
- {id: ch99.one, by: paper, source: Table 1, statement: Some words., kind: number, basis: exact,
   value: 1, tolerance: {exact: true}}
- {id: ch99.two, by: ours, source: Table 2, statement: Other words., kind: number, basis: exact,
   value: 2, tolerance: {exact: true}}
"""

LOCK = """
# Reached: what late.py imports and what runs a notebook. Not reached: what other.py imports.
numpy==2.0
ipykernel==7.0
traitlets==5.0
networkx==3.0
"""


def plant(root: Path) -> Path:
    files = {
        "lib/__init__.py": "",
        "lib/model.py": '"""Doubling."""\nfrom .deep import factor\n\n'
        "def double(x):\n    from lib import late\n    return factor * x + late.zero\n",
        "lib/deep.py": "factor = 2\n",
        "lib/late.py": "zero = 0\n\n\ndef later():\n    import numpy\n",
        "lib/other.py": "import networkx\nunused = 1\n",
        "lib/shapes/one.ttl": "a b c .\n",
        "lib/extra/__init__.py": "",
        "lib/extra/two.ttl": "a b c .\n",
        "lib/README.md": "What there is.\n",
        "requirements.lock": LOCK,
        "book/ch99_demo/claims.yml": CLAIMS,
        "notebooks/ch99_demo/01_first.py": SOURCE + FIGURE + USES,
        "tests/notebooks/sanitize.cfg": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    # The proof is a plugin of pytest, which runs in this folder.
    (root / "lib" / "core").symlink_to(ROOT / "lib" / "core")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path)


@pytest.fixture
def notebook(tree: Path) -> Notebook:
    return notebooks.discover(root=tree)[0]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Execute the small notebook once; the tests below plant its text where they need it."""
    root = plant(tmp_path_factory.mktemp("executed"))
    one = notebooks.discover(root=root)[0]
    notebooks.execute(one)
    first = one.stored.read_text()
    notebooks.execute(one)
    return {"first": first, "second": one.stored.read_text()}


@pytest.fixture
def fresh(notebook: Notebook, executed: dict[str, str]) -> Notebook:
    notebook.stored.write_text(executed["first"])
    return notebook


def test_discovery_by_number_and_name(tree: Path) -> None:
    for chapter in ("99", "ch99_demo", None):
        (one,) = notebooks.discover(chapter, root=tree)
        assert one.name == "notebooks/ch99_demo/01_first.ipynb"
        assert one.root == tree
    with pytest.raises(ValueError, match=r"no chapter '7'.*ch99_demo"):
        notebooks.discover("7", root=tree)


def test_closure_follows_relative_and_function_level_imports(tree: Path) -> None:
    found = import_closure(["%matplotlib inline\nimport lib.model as m"], tree)
    assert sorted(found) == ["lib", "lib.deep", "lib.late", "lib.model"]


def test_closure_of_a_package_and_its_names(tree: Path) -> None:
    package = tree / "lib" / "pack"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("from .one import thing\n")
    (package / "one.py").write_text("from .sub import inner\nthing = inner.value\n")
    (package / "sub" / "__init__.py").write_text("")
    (package / "sub" / "inner.py").write_text("from ... import other\nvalue = 1\n")
    found = import_closure(["from lib import pack"], tree)
    assert sorted(found) == [
        "lib",
        "lib.other",
        "lib.pack",
        "lib.pack.one",
        "lib.pack.sub",
        "lib.pack.sub.inner",
    ]


def test_closure_holds_of_a_lazy_package_what_is_asked_for(tree: Path) -> None:
    package = tree / "lib" / "pack"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from lib.pack.one import One\n    from lib.pack.two import Two\n"
    )
    (package / "one.py").write_text("from lib.pack import two as other\n")
    (package / "two.py").write_text("")
    (package / "three.py").write_text("from lib.pack import Two\n")

    def names(code: str) -> set[str]:
        return {n.removeprefix("lib.pack.") for n in import_closure([code], tree)} - {
            "lib",
            "lib.pack",
        }

    assert names("from lib.pack import Two") == {"two"}
    assert names("from lib.pack.three import anything") == {"three", "two"}
    assert names("from lib.pack import One") == {"one", "two"}
    assert names("from lib.pack.two import Two") == {"two"}
    assert names("from lib.pack import Unknown") == set()
    for whole in ("import lib.pack as p", "from lib import pack", "from lib.pack import *"):
        assert names(whole) == {"one", "two"}, whole


def test_execution_stores_outputs_key_and_nothing_that_moves(
    executed: dict[str, str], fresh: Notebook
) -> None:
    assert executed["first"] == executed["second"]
    stored = fresh.read_stored()
    counts = [one.execution_count for one in stored.cells if one.cell_type == "code"]
    assert counts == [1, 2, 3, 4, 5]
    assert stored.cells[1].outputs[0].text == "6\n"
    assert stored.cells[3].outputs[0].data["text/plain"] == "('book', True)"
    assert "execution" not in json.dumps(stored.cells[1].metadata)
    assert stored.cells[4].metadata.mystnb.image == {"alt": "a pixel", "width": "1px"}
    assert sorted(stored.metadata) == ["book", "jupytext", "kernelspec", "language_info"]
    assert "version" not in stored.metadata.language_info
    assert notebooks.check([fresh]) == []
    parts = stored.metadata.book.parts
    assert sorted(parts) == ["claims", "data", "lib", "lock", "source"]
    assert sorted(parts.lib) == [
        "lib/__init__.py",
        "lib/deep.py",
        "lib/late.py",
        "lib/model.py",
        "lib/shapes/one.ttl",
    ]
    assert parts.lock == {"numpy": "2.0", "ipykernel": "7.0", "traitlets": "5.0"}
    assert parts.data == data.digests(["hillstrom"])
    assert list(parts.claims) == ["ch99.one"]


def test_the_kernel_is_of_this_environment_and_this_tree_and_ends(fresh: Notebook) -> None:
    fresh.source.write_text(
        "# %%\nimport os, sys, lib\n\nprint(sys.prefix)\n\n# %%\nprint(lib.__file__)\n\n"
        "# %%\nprint(os.getpid())\n"
    )
    notebooks.execute(fresh)
    printed = [cell.outputs[0].text.strip() for cell in fresh.read_stored().cells]
    assert printed[:2] == [sys.prefix, str(fresh.root / "lib" / "__init__.py")]
    assert not psutil.pid_exists(int(printed[2]))  # else each executed notebook keeps its memory


@pytest.mark.parametrize(
    ("file", "old", "new", "moved"),
    [
        ("lib/deep.py", "factor = 2", "factor = 3", "lib/deep.py changed"),
        ("lib/late.py", "zero = 0", "zero = 1", "lib/late.py changed"),
        ("lib/shapes/one.ttl", "c .", "d .", "lib/shapes/one.ttl changed"),
        ("requirements.lock", "numpy==2.0", "numpy==2.1", "numpy (package) changed"),
        ("requirements.lock", "ipykernel==7.0", "", "ipykernel (package) is not used any more"),
        # Required by what is reached, though no code imports it.
        ("requirements.lock", "traitlets==5.0", "traitlets==5.1", "traitlets (package) changed"),
        ("requirements.lock", "numpy", "tornado==6\nnumpy", "tornado (package) is new"),
        ("book/ch99_demo/claims.yml", "value: 1,", "value: 3,", "ch99.one (claim) changed"),
        ("book/ch99_demo/claims.yml", "ch99.one", "ch99.uno", "ch99.one (claim) is not used"),
        ("notebooks/ch99_demo/01_first.py", "double(3)", "double(4)", "01_first.py: its code"),
        ("lib/model.py", "from .deep", "from . import other\nfrom .deep", "lib/other.py is new"),
    ],
)
def test_what_outputs_depend_on_makes_stale(
    fresh: Notebook, file: str, old: str, new: str, moved: str
) -> None:
    path = fresh.root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    problems = notebooks.key_problems(fresh)
    assert any(moved in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("lib/model.py", '"""Doubling."""', '"""Twice as much."""\n# why not\n'),
        ("lib/other.py", "1", "2"),
        ("lib/extra/two.ttl", "c .", "d ."),
        ("lib/README.md", "What", "All"),
        ("requirements.lock", "# Reached", "# These are reached"),
        ("requirements.lock", "networkx==3.0", "networkx==3.1"),
        ("requirements.lock", "numpy==2.0\nipykernel", "new==1.0\nipykernel==7.0\nNumPy==2.0\n#"),
        ("book/ch99_demo/claims.yml", "claims:", "# words\nclaims:"),
        ("book/ch99_demo/claims.yml", "Some words", "Better words"),
        ("book/ch99_demo/claims.yml", "Table 1", "Table 3"),
        ("book/ch99_demo/claims.yml", "value: 2,", "value: 3,"),
        ("notebooks/ch99_demo/01_first.py", "A title", "Another title"),
    ],
)
def test_what_changes_no_output_leaves_it_fresh(
    fresh: Notebook, file: str, old: str, new: str
) -> None:
    path = fresh.root / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert notebooks.key_problems(fresh) == []


def test_a_data_set_that_was_used_is_part_of_the_key(
    fresh: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = dict(data.registry())
    monkeypatch.setattr(data, "registry", lambda: known)
    assert notebooks.key_problems(fresh) == []
    known["smollm2"] = known["movielens"]
    assert notebooks.key_problems(fresh) == []
    known["hillstrom"] = known["movielens"]
    assert notebooks.key_problems(fresh) == ["hillstrom (data) changed"]
    del known["hillstrom"]
    assert notebooks.key_problems(fresh) == ["hillstrom (data) is not used any more"]


def test_a_change_during_the_run_is_no_fresh_notebook(
    fresh: Notebook, executed: dict[str, str]
) -> None:
    before = fresh.stored.read_bytes()
    claims = fresh.root / "book" / "ch99_demo" / "claims.yml"
    fresh.source.write_text(
        "# %%\nfrom pathlib import Path\n\n"
        f"file = Path({str(claims)!r})\n"
        "file.write_text(file.read_text().replace('value: 2', 'value: 5'))\n"
    )
    with pytest.raises(notebooks.ExecutionError, match="changed during the run"):
        notebooks.execute(fresh)
    assert fresh.stored.read_bytes() == before


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("profile", "smoke", "executed with profile 'smoke', expected 'book'"),
        ("key", "0" * 64, "the stored key does not belong to the stored parts"),
    ],
)
def test_another_profile_or_a_forged_key_is_stale(
    fresh: Notebook, field: str, value: str, expected: str
) -> None:
    stored = fresh.read_stored()
    stored.metadata.book[field] = value
    fresh.stored.write_text(nbformat.writes(stored))
    assert notebooks.key_problems(fresh) == [expected]


def test_edited_source_is_not_paired(fresh: Notebook) -> None:
    text = fresh.source.read_text()
    fresh.source.write_text(text.replace("A title", "Another title"))
    assert notebooks.pairing_problems(fresh) == [
        "cell 0: source differs: '# Another title' against '# A title'"
    ]
    fresh.source.write_text(text.replace(' tags=["nbval-ignore-output"]', ""))
    assert "tags differs" in notebooks.pairing_problems(fresh)[0]
    fresh.source.write_text(text + "\n# %%\n1\n")
    assert notebooks.pairing_problems(fresh)[0] == "the source has 7 cells, the notebook 6"


def test_pair_keeps_outputs_and_leaves_changed_code_stale(fresh: Notebook) -> None:
    text = fresh.source.read_text()
    assert not notebooks.pair(fresh)
    fresh.source.write_text(text.replace("A title", "Another title"))
    assert notebooks.pair(fresh)
    assert notebooks.check([fresh]) == []
    fresh.source.write_text(text.replace("double(3)", "double(5)"))
    assert notebooks.pair(fresh)
    stored = fresh.read_stored()
    assert stored.cells[1].outputs == []
    assert stored.cells[2].outputs != []
    assert stored.cells[4].metadata.mystnb.image == {"alt": "a pixel", "width": "1px"}
    assert notebooks.key_problems(fresh) != []


def test_run_touches_only_what_is_stale(
    fresh: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fresh.stored.stat().st_mtime_ns
    assert notebooks.run([fresh]) == 0
    assert fresh.stored.stat().st_mtime_ns == before
    fresh.source.write_text(fresh.source.read_text().replace("A title", "Another"))
    assert notebooks.run([fresh]) == 0
    assert "outputs kept" in capsys.readouterr().out
    (fresh.root / "lib" / "deep.py").write_text("factor = 10\n")
    assert notebooks.run([fresh]) == 0
    assert "lib/deep.py changed" in capsys.readouterr().out
    assert fresh.read_stored().cells[1].outputs[0].text == "30\n"
    assert notebooks.check([fresh]) == []


def test_a_kernel_starts_without_a_word_of_its_own(
    fresh: Notebook, capfd: pytest.CaptureFixture[str]
) -> None:
    """It warns that it runs over TCP otherwise; what a cell says of itself is kept."""
    text = 'import warnings; warnings.warn("odd"); print(double(3))'
    fresh.source.write_text(fresh.source.read_text().replace("print(double(3))", text))
    made = notebooks.compute(fresh)
    assert "TCP" not in capfd.readouterr().err
    assert "odd" in str(made.cells[1].outputs)


def test_a_failing_cell_leaves_the_stored_notebook(
    fresh: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fresh.stored.read_bytes()
    (fresh.root / "lib" / "deep.py").write_text("factor = None\n")
    assert notebooks.run([fresh]) == 1
    said = capsys.readouterr().out
    assert "FAILED" in said
    assert "print(double(3))" in said
    assert "TypeError" in said
    assert fresh.stored.read_bytes() == before
    assert [path.name for path in fresh.source.parent.iterdir() if "part" in path.name] == []


def test_two_figures_in_one_cell_are_refused(fresh: Notebook) -> None:
    again = FIGURE.splitlines()[-1].replace("a pixel", "another")
    fresh.source.write_text("# %%" + FIGURE.split("# %%")[1] + again + "\n")
    with pytest.raises(notebooks.ExecutionError, match="one figure a cell"):
        notebooks.execute(fresh)


def test_stripped_outputs_errors_and_counts_are_seen(fresh: Notebook) -> None:
    assert notebooks.output_problems(fresh.read_stored()) == []
    stripped = fresh.read_stored()
    for cell in stripped.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    problems = notebooks.output_problems(stripped)
    assert "cell 1: no output, though its code leaves one" in problems
    assert "no cell has an output" in problems
    uncounted = fresh.read_stored()
    uncounted.cells[1].execution_count = None
    assert notebooks.output_problems(uncounted) == ["cell 1: execution count None, not 1"]
    loud = fresh.read_stored()
    loud.cells[1].outputs += [
        nbformat.v4.new_output("error", ename="KeyError", evalue="'x'", traceback=[]),
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
    ]
    assert notebooks.output_problems(loud) == [
        "cell 1: KeyError: 'x'",
        "cell 1: on the error stream: 'a warning'",
    ]


@pytest.mark.parametrize(
    ("code", "speaks"),
    [
        ("x = 1", False),
        ("x", True),
        ("x;", False),
        ("f(x)", False),
        ("for i in x:\n    print(i)", True),
        ("def f():\n    print(1)", False),
        ("ledger.report('a', 1)", True),
        ("", False),
        ("def f():\n    print(1)\n\n\nf()", False),
        ("def f():\n    pass\n\n\nprint(1)", True),
        ("class A:\n    x = print(1)", False),
        ("async def f():\n    print(1)", False),
        ("x = 1\nx", True),
        ("x\ny = 1", False),
        ("x = print(1)", True),
        ("figures.show_chart(a)", True),
        ("printed(1)", False),
        ("f(print(1));", True),
    ],
)
def test_where_an_output_is_expected(code: str, speaks: bool) -> None:
    assert notebooks._speaks(code) is speaks


def test_the_longest_comes_first_and_a_repetition_changes_no_file(fresh: Notebook) -> None:
    found = {}
    for name, seconds in {"02_short": 5, "03_long": 50, "04_unknown": None}.items():
        found[name] = Notebook(fresh.source.with_name(f"{name}.py"))
        content = fresh.read_stored()
        content.metadata.book.pop("seconds")
        if seconds is not None:
            content.metadata.book["seconds"] = seconds
        found[name].write(content)
    never = Notebook(fresh.source.with_name("05_never.py"))
    ordered = notebooks._longest_first([*found.values(), never])
    names = [one.source.stem for one in ordered]
    assert names == ["04_unknown", "05_never", "03_long", "02_short"]

    fresh.source.write_text("# %%\nprint(1)\n")
    notebooks.execute(fresh)
    content = fresh.read_stored()
    run = content.metadata.book["run"]
    assert datetime.fromisoformat(run.started) <= datetime.fromisoformat(run.ended)
    assert run.started.endswith("+00:00")
    assert run.python == platform.python_version()
    content.metadata.book["seconds"] = 777
    run["ended"] = "2026-01-01T00:00:00+00:00"
    fresh.write(content)
    before = fresh.stored.read_bytes()
    notebooks.execute(fresh)
    assert fresh.stored.read_bytes() == before
    fresh.source.write_text("# %%\nprint(2)\n")
    notebooks.execute(fresh)
    again = fresh.read_stored().metadata.book
    assert again.seconds < 777
    assert again.run.ended > run.ended


@pytest.fixture
def mirrored(fresh: Notebook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Register one small file as the data set that the notebook used; return it in the mirror."""
    file = fresh.root / "mirror" / "hillstrom.csv"
    file.parent.mkdir()
    file.write_bytes(b"a,b\n1,2\n")
    entry = {
        "title": "Toy",
        "licence": "none",
        "redistributable": False,
        "citation": "Nobody",
        "used_by": ["ch99_demo"],
        "repository": "nobody/toy",
        "revision": "abc",
        "files": [
            {
                "mirror": file.name,
                "url": "http://127.0.0.1:9/abc/hillstrom.csv",
                "bytes": 8,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
        ],
    }
    registry = fresh.root / "registry.yml"
    registry.write_text(yaml.safe_dump({"hillstrom": entry}))
    monkeypatch.setattr(data, "REGISTRY", registry)
    monkeypatch.setattr(data, "CACHE", fresh.root / "cache")
    monkeypatch.setenv("BOOK_DATA_MIRROR", str(file.parent))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-c /dev/null")
    monkeypatch.delenv("BOOK_DATA", raising=False)
    data.registry.cache_clear()
    yield file
    data.registry.cache_clear()


def test_nothing_computed_before_serves_a_proof_or_a_run_of_all(
    fresh: Notebook, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (fresh.root / "lib" / "dice.py").write_text(
        "import os\n\n\ndef throw(item):\n    return os.urandom(8).hex()\n"
    )
    code = "# %%\nfrom lib import dice\nfrom lib.core import sweeps\n\n"
    fresh.source.write_text(f"{code}print(sweeps.run(dice.throw, [1], name='dice', n_jobs=1))\n")
    again = fresh.source.with_name("02_again.py")
    again.write_text(fresh.source.read_text())
    both = notebooks.discover(root=fresh.root)
    monkeypatch.setenv("BOOK_CACHE", str(fresh.root / "cache"))

    def thrown() -> list[str]:
        return [one.read_stored().cells[0].outputs[0].text for one in both]

    # What is stale is executed on what was computed before: an interrupted run goes on.
    assert notebooks.run(both, jobs=1) == 0
    first = thrown()
    assert first[0] == first[1]
    both[0].stored.unlink()
    assert notebooks.run(both, jobs=1) == 0
    assert thrown() == first
    # Not so a proof, nor a run of all; notebooks of one run share what they compute.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-c /dev/null")
    assert notebooks.prove(both, jobs=1) != 0
    said = capfd.readouterr().out
    assert "2 failed" in said
    assert "mismatch 'stdout'" in said
    assert notebooks.run(both, stale_only=False, jobs=1) == 0
    assert thrown()[0] == thrown()[1] != first[0]


def test_proof_fails_on_another_number(
    fresh: Notebook,
    mirrored: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert notebooks.prove([fresh], jobs=1) == 0
    assert "5 passed" in capfd.readouterr().out
    (fresh.root / "lib" / "deep.py").write_text("factor = 4\n")
    assert notebooks.prove([fresh], jobs=1) != 0
    assert "mismatch" in capfd.readouterr().out


def test_proof_with_missing_data_skips_with_the_reason_or_fails_where_they_are_required(
    fresh: Notebook,
    mirrored: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert notebooks.prove([fresh], jobs=1) == 0
    assert "5 passed" in capfd.readouterr().out
    mirrored.unlink()
    assert notebooks.prove([fresh], jobs=1) == 0
    assert f"SKIPPED {fresh.name}: hillstrom.csv is neither in" in capfd.readouterr().out
    monkeypatch.setenv("BOOK_DATA", "required")
    assert notebooks.prove([fresh], jobs=1) == 1
    assert f"FAILED {fresh.name}: hillstrom.csv is neither in" in capfd.readouterr().out


def test_one_flipped_byte_in_the_mirror_fails_the_proof(
    fresh: Notebook, mirrored: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = Notebook(fresh.source.with_name("02_other.py"))
    other.source.write_text("# %%\nprint(1)\n")
    notebooks.execute(other)
    content = bytearray(mirrored.read_bytes())
    content[4] ^= 1
    mirrored.write_bytes(content)
    # What does not use the set is proved all the same, and the status is that of a failure.
    assert notebooks.prove([fresh, other], jobs=1) == 1
    said = capfd.readouterr().out
    assert f"FAILED {fresh.name}: {mirrored}: the sha256 is not the registered one" in said
    assert "1 passed" in said


WAITS = """# %%
import os
import time
from pathlib import Path

from lib.core import sweeps
from lib import late

Path("kernel").write_text(str(os.getpid()))
print(sweeps.run(late.wait, [1, 2], name="waits", n_jobs=2, cache=False))
"""

LATE = """
import time
from pathlib import Path

def wait(item):
    Path(f"worker{item}").write_text("here")
    while not Path("go").exists():
        time.sleep(0.05)
"""


@pytest.mark.parametrize(
    ("command", "kill"),
    [
        ("run", "make"),
        ("run", "python"),
        ("run", "end make"),
        ("prove", "make"),
        ("prove", "python"),
    ],
)
def test_a_killed_run_leaves_no_process_and_writes_nothing(
    fresh: Notebook, command: str, kill: str
) -> None:
    fresh.source.write_text(WAITS)
    (fresh.root / "lib" / "late.py").write_text(LATE)
    if command == "prove":
        content = fresh.read_source()
        fresh.write(content)
    before = fresh.stored.read_bytes()
    (fresh.root / "script.py").write_text(
        "from pathlib import Path\nfrom lib.core import notebooks\n\n"
        "if __name__ == '__main__':\n"
        "    found = notebooks.discover(root=Path.cwd())\n"
        "    notebooks.discover = lambda chapter: found\n"
        f"    notebooks.main([{command!r}])\n"
    )
    (fresh.root / "Makefile").write_text(f"it:\n\t@{sys.executable} script.py\n")
    environment = {**os.environ, "PYTHONPATH": str(fresh.root), "PYTEST_ADDOPTS": "-c /dev/null"}
    make = subprocess.Popen(["make", "it"], cwd=fresh.root, env=environment, start_new_session=True)
    folder = fresh.source.parent
    # Nothing is timed: the kernel and its two workers are there once their files are.
    while not all((folder / name).exists() for name in ("kernel", "worker1", "worker2")):
        assert make.poll() is None
        time.sleep(0.05)
    family = psutil.Process(make.pid).children(recursive=True)
    assert int((folder / "kernel").read_text()) in {one.pid for one in family}
    python = next(one for one in family if one.ppid() == make.pid)
    if kill == "end make":
        make.terminate()
    else:
        (python if kill == "python" else make).kill()
    make.wait()
    try:
        _, alive = psutil.wait_procs(family, timeout=120)
        assert [one.cmdline() for one in alive] == []
    finally:
        (folder / "go").touch()  # an orphan goes on, finishes and writes
    assert fresh.stored.read_bytes() == before


def test_command_line() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lib.core.notebooks"]
    done = subprocess.run(
        [*command, "run", "--chapter", "nowhere"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert "no chapter 'nowhere'" in done.stderr


@pytest.mark.parametrize(
    ("given", "stale"), [(["run"], True), (["run", "--stale"], True), (["run", "--all"], False)]
)
def test_which_notebooks_a_command_runs(
    given: list[str], stale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAKELEVEL", raising=False)
    asked: list[tuple[bool, int]] = []

    def run(found: list[Notebook], *, stale_only: bool, jobs: int) -> list[str]:
        asked.append((stale_only, jobs))
        return ["a problem"] if len(asked) > 1 else []

    monkeypatch.setattr(notebooks, "run", run)
    assert notebooks.main(given) == 0
    assert notebooks.main([*given, "--jobs", "3"]) == 1
    assert asked == [(stale, 2), (stale, 3)]
    with pytest.raises(SystemExit):
        notebooks.main(["run", "--stale", "--all"])


def test_a_key_has_no_order() -> None:
    parts = {"lib": {"a": "1", "b": "2"}, "source": "s"}
    turned = {"source": "s", "lib": {"b": "2", "a": "1"}}
    assert notebooks._key(parts) == notebooks._key(turned)
    assert notebooks._key(parts) != notebooks._key({**parts, "source": "t"})


@pytest.mark.parametrize(
    ("given", "called"),
    [
        (["pair"], "pair"),
        (["prove", "--jobs", "1"], "prove 1 "),
        (["prove", "--cpu", "sse"], "prove 2 sse"),
        (["check"], "check"),
        (["check", "--chapter", "01"], "check"),
    ],
)
def test_the_other_commands(
    given: list[str],
    called: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []
    monkeypatch.setenv("MAKELEVEL", "1")
    ends: list[int] = []
    monkeypatch.setattr(notebooks.processes, "end_with", ends.append)
    monkeypatch.setattr(notebooks, "discover", lambda chapter: ["one", "two"])

    def prove(found: list[str], *, jobs: int, cpu: str) -> int:
        asked.append(f"prove {jobs} {cpu}")
        return 3

    def pair(one: str) -> bool:
        asked.append("pair")
        return one == "two"

    problems: list[str] = []

    def check(found: list[str]) -> list[str]:
        asked.append("check")
        return problems

    monkeypatch.setattr(notebooks, "prove", prove)
    monkeypatch.setattr(notebooks, "pair", pair)
    monkeypatch.setattr(notebooks, "check", check)
    assert notebooks.main(given) == (3 if given[0] == "prove" else 0)
    assert ends == [os.getppid()]
    assert set(asked) == {called}
    out = capsys.readouterr().out
    assert (
        out
        == {
            "pair": "1 of 2 notebooks changed\n",
            "check": "2 notebooks: paired, executed and fresh\n",
            "prove": "",
        }[given[0]]
    )
    if given[0] == "check":
        problems.append("two: stale")
        assert notebooks.main(given) == 1
        assert capsys.readouterr().out == "two: stale\n"


@pytest.mark.parametrize(
    "given", [[], ["pair", "--jobs", "2"], ["check", "--cpu", "sse"], ["prove", "--cpu", "z80"]]
)
def test_a_command_that_is_none(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        notebooks.main(given)
    assert stop.value.code == 2
    assert "usage: python -m lib.core.notebooks" in capsys.readouterr().err


def test_a_chapter_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        notebooks.main(["check", "--chapter", "ch99"])
    assert "ch99" in capsys.readouterr().err


def test_pieces_of_one_stream_are_joined() -> None:
    new = nbformat.v4.new_output
    pieces = [("stdout", "a"), ("stdout", "b"), ("stderr", "c"), ("stdout", "d")]
    streams = [new("stream", name=name, text=text) for name, text in pieces]
    shown = new("display_data", data={"text/plain": "e"})
    cell = nbformat.v4.new_code_cell("1", outputs=[*streams, shown, streams[2].copy()])
    cell.metadata["execution"] = {"started": "now"}
    text = nbformat.v4.new_markdown_cell("t", metadata={"execution": 1})
    notebooks._tidy(nbformat.v4.new_notebook(cells=[text, cell]))
    assert [one.get("text", "shown") for one in cell.outputs] == ["ab", "c", "d", "shown", "c"]
    assert cell.metadata == {}


def test_what_was_never_executed(notebook: Notebook) -> None:
    with pytest.raises(FileNotFoundError, match=r"01_first.* does not exist: python -m lib"):
        notebook.read_stored()
    assert notebooks.pairing_problems(notebook) == ["never executed"]
    assert notebooks.key_problems(notebook) == ["never executed"]


def test_a_key_of_an_older_form(fresh: Notebook) -> None:
    content = fresh.read_stored()
    for parts in (None, {"lib": {}}, {"lib": {}, "lock": {}, "data": {}, "claims": []}):
        content.metadata["book"]["parts"] = parts
        nbformat.write(content, fresh.stored)
        assert notebooks.key_problems(fresh) == ["no key of today's form is stored"]


def test_slow_notebooks_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebooks._print_slow(tmp_path / "absent.xml")
    cases = [("a", 40), ("b", 60), ("a", 20.5), ("c", 90.4)]
    rows = "".join(f'<testcase classname="{name}" time="{time}"/>' for name, time in cases)
    (tmp_path / "report.xml").write_text(f"<testsuites><testsuite>{rows}</testsuite></testsuites>")
    notebooks._print_slow(tmp_path / "report.xml")
    assert capsys.readouterr().out == "slow: c: 90 s\nslow: a: 60 s\n"
