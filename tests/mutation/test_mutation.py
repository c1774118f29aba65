"""The mutation runs themselves: which faults are made, which are noticed, what the page says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import run
from mutants import mutants, of_source, sample

from lib.core.paths import ROOT


def changes(code: str) -> list[tuple[str, str]]:
    return [(one.before, one.after) for one in of_source(code.encode(), "m.py")]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("y = a < b", [("a < b", "a <= b"), ("a < b", "a >= b")]),
        ("y = a == b", [("a == b", "a != b")]),
        ("y = a + b", [("a + b", "a - b")]),
        ("y = a + 'text'", []),
        ("y = folder / 'data' / name", []),
        ("y += b", [("y += b", "y -= b")]),
        ("y = a and b", [("a and b", "a or b")]),
        ("y = not a", [("not a", "a")]),
        ("y = f(a, 2)", [("f(a, 2)", "f(a, 3)")]),
        ("y = f(a, cut=True)", [("cut=True", "cut=False")]),
        ("y = {'n': 1}", [("'n': 1", "'n': 2")]),
        ("y = max(a)", [("max(a)", "min(a)")]),
        ("f(a)", [("f(a)", "pass")]),
        ("if a: y", [("a", "not a")]),
        ("while True: break", [("True", "not True"), ("True", "False"), ("break", "continue")]),
        ("def f():\n    return y", [("return y", "return None")]),
        ("def f():\n    return None", []),
        # neither wording nor types
        ("raise ValueError(f'{a + 1}', 2)", [("raise ValueError(f'{a + 1}', 2)", "pass")]),
        ("def f(x: tuple[int, 2] = a) -> 1: ...", []),
        ("'a text'", []),
        ("@cache(maxsize=1)\ndef f(): ...", []),
        ("if __name__ == '__main__':\n    f(1)", []),
        ("y = isinstance(a, B | C)", []),
    ],
)
def test_the_faults_that_are_made(code: str, expected: list[tuple[str, str]]):
    assert changes(code) == expected


def test_a_mutant_changes_one_place_and_nothing_else():
    code = "def f(x):\n    # a — comment\n    return (x +\n            1)\n\n\ny = 1  # last\n"
    first, second, *rest = of_source(code.encode(), "m.py")
    assert first.name == "m.py::f: return x + 1 → return None"
    assert first.apply(code.encode()).decode() == (
        "def f(x):\n    # a — comment\n    return None\n\n\ny = 1  # last\n"
    )
    assert second.apply(code.encode()).decode() == (
        "def f(x):\n    # a — comment\n    return ((x - 1))\n\n\ny = 1  # last\n"
    )
    assert [one.name for one in rest] == ["m.py::f: x + 1 → x + 2", "m.py::<module>: 1 → 2"]


def test_equal_faults_of_one_function_are_counted():
    code = "def f(x):\n    g(1)\n    g(1)\n"
    names = [one.name for one in of_source(code.encode(), "m.py")]
    assert names == [
        "m.py::f: g(1) → pass",
        "m.py::f: g(1) → g(2)",
        "m.py::f: g(1) → pass #2",
        "m.py::f: g(1) → g(2) #2",
    ]


def test_a_fault_knows_its_line_and_where_its_statement_begins():
    code = "if x:\n    y = f(\n        (\n            1,\n        ),\n    )\n"
    code += "def g(\n    a,\n    b=2,\n): ...\n"
    found = {one.before: (one.line, one.statement) for one in of_source(code.encode(), "m.py")}
    assert found == {"x": (1, 1), "(1,)": (4, 2), "2": (9, 7)}


def test_a_sample_is_drawn_by_seed_and_survives_changes_elsewhere():
    code = "\n".join(f"def f{i}(x):\n    return x + {i}\n" for i in range(40))
    before = of_source(code.encode(), "m.py")
    after = of_source(
        ("import os\n\n\n" + code + "\n\ndef new(x):\n    return x * 2\n").encode(), "m.py"
    )
    drawn = {one.name for one in sample(before, 30, 1)}
    assert len(drawn) == 30
    assert drawn == {one.name for one in sample(list(reversed(before)), 30, 1)}
    assert drawn != {one.name for one in sample(before, 30, 2)}
    assert len(drawn & {one.name for one in sample(after, 30, 1)}) >= 27


TOY = {
    "lib/__init__.py": "",
    "lib/toy/__init__.py": "",
    "lib/toy/sums.py": (
        "def total(x, y):\n    return x + y\n\n\n"
        "def shift(x):\n    if x > 2:\n        return 1\n    return 0\n\n\n"
        "def forgotten(x):\n    return -x\n\n\n"
        # Folded into one constant: no line inside the tuple ever runs.
        "def sizes():\n    return (\n        3,\n        4,\n    )\n"
    ),
    "tests/unit/toy/test_sums.py": (
        "from lib.toy.sums import shift, sizes, total\n\n\n"
        "def test_total():\n    assert total(1, 2) == 3\n\n\n"
        "def test_shift():\n    assert (shift(0), shift(9)) == (0, 1)\n\n\n"
        "def test_sizes():\n    assert sizes() == (3, 4)\n\n\n"
        "def test_stale():\n    import lib.toy.sums as sums\n"
        "    assert '_touched' not in open(sums.__file__).read()\n"
    ),
    "tests/conftest.py": "",
}


def test_what_tests_notice_and_what_they_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, text in TOY.items():
        (tmp_path / "toy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "toy" / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "toy", check=True)
    results, listed = tmp_path / "results.json", tmp_path / "equivalents.yml"
    results.write_text("{}", encoding="utf-8")
    listed.write_text(
        "- mutant: 'lib/toy/sums.py::shift: x > 2 → x > 3'\n  reason: no reason at all\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(run, "ROOT", tmp_path / "toy")
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(run, "RESULTS", results)
    monkeypatch.setattr(run, "EQUIVALENTS", listed)
    monkeypatch.setattr(sys, "argv", ["run.py", "toy", "-n", "100"])
    assert run.main() == 0
    row = json.loads(results.read_text(encoding="utf-8"))["toy"]
    left = [
        "lib/toy/sums.py::forgotten: -x → x",
        "lib/toy/sums.py::forgotten: return -x → return None",
        "lib/toy/sums.py::shift: x > 2 → x >= 2",
    ]
    assert row == {
        "mutants": 14, "tried": 14, "tests": 3, "left": left,
        "killed": 10, "timeout": 0, "equivalent": 1, "survived": 1, "not reached": 2,
    }  # fmt: skip
    assert run.caught(row) == pytest.approx(11 / 14)
    assert "| `toy` | 14 | 14 | 10 | 0 | 1 | 1 | 2 | 79 % |" in capsys.readouterr().out
    # Again: only what no test reaches is looked up, and nothing of the tree was changed.
    assert run.main() == 0
    looked_up = [line for line in capsys.readouterr().out.splitlines() if "/14 " in line]
    assert [" not reached " in line for line in looked_up] == [True, True]
    assert (tmp_path / "toy/lib/toy/sums.py").read_text(encoding="utf-8") == TOY["lib/toy/sums.py"]
    # A new test file: it alone is measured, and what others had killed is not tried again.
    more = "from lib.toy.sums import forgotten, shift\n\n\ndef test_more():\n"
    more += "    assert (forgotten(3), shift(2)) == (-3, 0)\n"
    (tmp_path / "toy/tests/unit/toy/test_more.py").write_text(more, encoding="utf-8")
    assert run.main() == 0
    tried = [line for line in capsys.readouterr().out.splitlines() if "/14 " in line]
    assert len(tried) == 4
    assert [line.split()[1] for line in tried].count("killed") == 3
    assert json.loads(results.read_text(encoding="utf-8"))["toy"]["killed"] == 13


def test_an_endless_loop_is_a_timeout(tmp_path: Path):
    (tmp_path / "test_loop.py").write_text("def test_loop():\n    while True:\n        pass\n")
    name = "test_loop.py::test_loop"
    arguments = (
        tmp_path,
        tmp_path / "log",
        60.0,
        ["test_loop.py"],
        {name: -3.0},
    )  # ten seconds and three times this
    assert run.run_process("spawn", run.trial, arguments, 600) is None


def test_the_table_on_the_method_page_is_the_one_of_the_results():
    page = (ROOT / "book" / "method.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("<!-- mutation table: python tests/mutation/run.py -->\n")
    shown = rest.partition("\n<!-- end of mutation table -->")[0]
    assert shown == run.table(json.loads(run.RESULTS.read_text(encoding="utf-8")))


def test_listed_equivalents_are_there_and_have_a_reason():
    listed = run.equivalents()
    packages = [path.parent.name for path in ROOT.glob("lib/*/__init__.py")]
    sources = [folder for package in packages for folder in run.folders(package, ROOT)]
    there = {one.name for folder in sources for one in mutants(folder, ROOT)}
    assert set(listed) <= there
    assert all(len(reason.split()) > 3 for reason in listed.values())


def test_trials_start_from_a_process_that_has_imported_a_great_deal(tmp_path: Path):
    # As arguments of a process so many names are refused by the system.
    names = ["colorsys", *(f"no_such_module_{i}" for i in range(20_000))]
    code = (
        "import multiprocessing, pathlib, sys\n"
        f"sys.path.insert(0, {str(Path(run.__file__).parent)!r})\n"
        "import run\n"
        "def look(): sys.exit(0 if 'colorsys' in sys.modules else 1)\n"
        "if __name__ == '__main__':\n"
        f"    run.preload({names!r}, pathlib.Path({str(tmp_path)!r}))\n"
        "    one = multiprocessing.get_context('forkserver').Process(target=look)\n"
        "    one.start(); one.join(); sys.exit(one.exitcode)\n"
    )
    script = tmp_path / "start.py"
    script.write_text(code, encoding="utf-8")
    subprocess.run([sys.executable, str(script)], check=True, cwd=tmp_path)
