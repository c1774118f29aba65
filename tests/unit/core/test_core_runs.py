"""Sweeps, notebooks, proof and scaffold, with stand-ins for processes, pools and clusters."""

from __future__ import annotations

import inspect
import json
import math
import os
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import yaml

from lib.core import data, notebooks, processes, proof, scaffold, sources, sweeps
from lib.core.ledger import Entry
from lib.core.ledger.claims import Trained
from lib.core.notebooks import Notebook
from lib.core.paths import write_atomic
from lib.core.scaffold import ScaffoldError

# --- sweeps ---------------------------------------------------------------------------------------


class Joblib:
    """Notes how joblib is configured and which pools are shut down."""

    def __init__(self) -> None:
        self.configured: list[tuple[str, dict[str, Any]]] = []
        self.shut: list[dict[str, Any]] = []

    def parallel_config(self, backend: str, **options: Any) -> Any:
        self.configured.append((backend, options))
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass

    def shutdown(self, **options: Any) -> None:
        self.shut.append(options)


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Joblib:
    found = Joblib()
    monkeypatch.setattr(sweeps.joblib, "parallel_config", found.parallel_config)
    monkeypatch.setattr(sweeps.joblib, "cpu_count", lambda: 5)
    monkeypatch.setattr(sweeps, "get_reusable_executor", lambda: found)
    monkeypatch.delenv("BOOK_SWEEP_BACKEND", raising=False)
    return found


@pytest.mark.parametrize(
    ("n_jobs", "count", "jobs"),
    [(None, 9, 5), (None, 3, 3), (2, 9, 2), (4, 3, 3), (7, 9, 7), (1, 9, 1), (4, 1, 1), (4, 0, 1)],
)
def test_as_many_processes_as_there_is_work_for(
    n_jobs: int | None, count: int, jobs: int, faked: Joblib
) -> None:
    with sweeps._configured(None, n_jobs, count):
        assert faked.shut == []
    if jobs == 1:
        assert faked.configured == [("sequential", {"n_jobs": 1})]
        assert faked.shut == []
    else:
        own = {"initializer": processes.end_with, "initargs": (os.getpid(),)}
        own |= {"inner_max_num_threads": 1, "n_jobs": jobs}
        assert faked.configured == [("loky", own)]
        assert faked.shut == [{"wait": True}]


def test_a_cluster_decides_for_itself(faked: Joblib, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses: list[str] = []

    class Client:
        def __init__(self, address: str) -> None:
            addresses.append(address)

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *error: object) -> None:
            addresses.append("left")

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client))
    mine = Client("mine")
    with sweeps._configured(mine, 3, 9):
        assert faked.configured == [("dask", {"client": mine, "n_jobs": -1})]
    monkeypatch.setenv("BOOK_DASK_SCHEDULER", "tcp://host:8786")
    with sweeps._configured("dask", 3, 9):
        (_, options) = faked.configured[1]
        assert (type(options["client"]), options["n_jobs"]) == (Client, -1)
        assert addresses == ["mine", "tcp://host:8786"]
    assert addresses[-1] == "left"
    assert faked.shut == []
    with pytest.raises(ValueError, match="backend is 'ray'"), sweeps._configured("ray", 1, 1):
        pass


def test_an_item_lies_on_the_desk_while_it_is_computed(tmp_path: Path) -> None:
    def seen(item: int) -> tuple[int, bool]:
        return item, (tmp_path / "key").exists()

    key, payload = sweeps._call(seen, "key", 3, None, str(tmp_path))
    assert (key, pickle.loads(payload)) == ("key", (3, True))
    assert list(tmp_path.iterdir()) == []
    # On another machine there is no such folder, and nothing is made there.
    elsewhere = tmp_path / "elsewhere"
    assert pickle.loads(sweeps._call(seen, "key", 3, None, str(elsewhere))[1]) == (3, False)
    assert not elsewhere.exists()


@pytest.mark.parametrize(("begun", "named"), [((2,), "2"), ((), "1 or 2 or 3"), ((1, 3), "1 or 3")])
def test_what_was_begun_when_a_process_died(
    begun: tuple[int, ...], named: str, faked: Joblib, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}

    class Parallel:
        def __init__(self, **given: Any) -> None:
            options.update(given)

        def __call__(self, calls: Any) -> Iterator[tuple[str, bytes]]:
            for _, (_, key, item, _, desk), _ in list(calls):
                if item in begun:
                    (Path(desk) / key).touch()
            raise RuntimeError("gone")
            yield

    monkeypatch.setattr(sweeps.joblib, "Parallel", Parallel)
    wanted = rf"^factorial: a worker died on item {named}: RuntimeError: gone$"
    with pytest.raises(sweeps.SweepError, match=wanted):
        sweeps.run(math.factorial, [1, 2, 3], name="a", n_jobs=1, cache=False)
    # One item at a time, or what is finished would wait for its neighbours to be stored.
    assert options == {"return_as": "generator_unordered", "batch_size": 1}


def test_the_bar_counts_what_is_there_and_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[dict[str, Any]] = []

    class Bar:
        def __init__(self, **options: Any) -> None:
            bars.append(options | {"updates": 0})

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def update(self) -> None:
            bars[-1]["updates"] += 1

    monkeypatch.setattr(sweeps, "tqdm", Bar)
    monkeypatch.setattr(sweeps, "RESULTS", tmp_path)
    monkeypatch.setenv("BOOK_QUIET", "1")
    for texts in (["a", "b"], ["c", "a", "b", "a"]):
        found = sweeps.run(sources.digest, texts, name="n", n_jobs=1)
        assert found == [sources.digest(one) for one in texts]
    shown = [(one["desc"], one["total"], one["initial"], one["updates"]) for one in bars]
    assert shown == [("n", 2, 0, 2), ("n", 3, 2, 1)]
    assert [one["disable"] for one in bars] == [True, True]
    assert bars[0]["file"] is sys.stderr


def test_where_a_bar_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "tqdm", lambda **options: options["disable"])
    monkeypatch.delenv("BOOK_QUIET", raising=False)
    assert sweeps._progress("n", 1, 0) is None  # tqdm asks whether there is a terminal

    class Stream:
        pass

    Stream.__module__ = "ipykernel.iostream"
    monkeypatch.setattr(sys, "stderr", Stream())
    assert sweeps._progress("n", 1, 0) is False
    monkeypatch.setenv("BOOK_QUIET", "1")
    assert sweeps._progress("n", 1, 0) is True


def test_what_has_no_source_has_no_digest() -> None:
    with pytest.raises(ValueError, match="has no source to take a digest of; use cache=False"):
        sweeps.run(math.factorial, [3], name="n")
    assert sweeps.run(math.factorial, [3], name="n", n_jobs=1, cache=False) == [6]


def test_a_module_of_lib_is_read_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []
    real = sources.import_closure

    def closure(codes: list[str]) -> dict[str, Path]:
        read.append(codes)
        return real(codes)

    monkeypatch.setattr(sweeps, "import_closure", closure)
    # Its relative imports are those of its package; elsewhere the text alone is looked at.
    sweeps._code(sources.digest)
    assert read == [[Path(sources.__file__).read_text("utf-8")], ["import lib.core.sources"]]
    sweeps._code(json.dumps)
    assert read[2:] == [[Path(json.__file__).read_text("utf-8")]]


def test_what_is_stored_is_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "RESULTS", tmp_path)
    sweeps.run(sources.digest, ["a"], name="n", n_jobs=1, cache=False)
    assert list(tmp_path.iterdir()) == []
    sweeps.run(sources.digest, ["a"], name="n", n_jobs=1)
    (file,) = (tmp_path / "n").iterdir()
    assert sweeps._load(file) == sources.digest("a")
    assert sweeps._load(tmp_path / "n" / "none.pkl") is sweeps._MISSING
    default = inspect.signature(sweeps.run).parameters
    assert (default["cache"].default, default["n_jobs"].default) == (True, None)


# --- the proof of trained cells -------------------------------------------------------------------

HALF = Trained(abs=0.5, rel=0, why="seeds")


class Item:
    """What nbval's item of a cell has that the comparison looks at."""

    def __init__(self, **more: Any) -> None:
        self.parent = SimpleNamespace(skip_compare=("image/png", "metadata"))
        self.comparison_traceback = ["before"]
        self.__dict__.update(more)

    def sanitize(self, text: str) -> str:
        return text.replace("noon", "TIME")


def compared(fresh: Any, stored: Any) -> tuple[bool, list[str]]:
    item, seen = Item(), []

    def strict(new: Any, old: Any) -> bool:
        seen.append(new)
        return bool(new == old)

    before = json.dumps(fresh)
    same = proof._compare(item, strict, HALF, fresh, stored)
    assert json.dumps(fresh) == before  # what ran stays as it came
    assert len(seen) == 1
    return same, item.comparison_traceback[1:]


def shown(**mimes: Any) -> dict[str, Any]:
    return {"data": {name.replace("_", "/"): value for name, value in mimes.items()}}


def test_a_fresh_output_within_the_tolerance_counts_as_the_stored_one() -> None:
    assert compared([shown(text_plain="A 54.6")], [shown(text_plain="A 54.2")]) == (True, [])
    # A stream has its text beside its name; parts of JSON have no order; times are wiped.
    new = [{"name": "stdout", "text": "at TIME 1.4"}, shown(x_json={"b": 1.5, "a": 2.5})]
    old = [{"name": "stdout", "text": "at noon 1.0"}, shown(x_json={"a": 2.6, "b": 1.5})]
    assert compared(new, old) == (True, [])


def test_a_fresh_output_beyond_the_tolerance_is_told() -> None:
    new = [shown(text_plain="A 54.8", text_html="<b>1.4</b>"), shown(text_plain="600")]
    old = [shown(text_plain="A 54.2", text_html="<b>1.0</b>"), shown(text_plain="601")]
    same, told = compared(new, old)
    assert not same
    assert told == [
        "outside the tolerance (abs 0.5, rel 0): text/plain: 54.8 for 54.2",
        "outside the tolerance (abs 0.5, rel 0): text/plain: 600 for 601",
    ]


def test_what_the_comparison_leaves_to_nbval() -> None:
    # Pictures are in neither, an output more is nbval's affair, so is a kind that one lacks.
    assert compared([shown(image_png="AA")], [shown(image_png="BB")]) == (False, [])
    one, two = shown(text_plain="A 54.6"), shown(text_plain="A 54.2")
    assert compared([one, one], [two]) == (False, [])
    assert compared([one], [two, two]) == (False, [])
    more = shown(text_plain="A 54.2", text_html="B")
    assert compared([one], [more]) == (False, [])
    assert compared([more], [one]) == (False, [])


CLAIMS = """
chapter: ch99_demo
number: 99
title: A title
question: A question?
paper: {title: T, authors: [A], arxiv: "2605.31036"}
trained:
  arms: {abs: 0.5, why: seeds}
claims:
- {id: ch99.one, by: ours, source: Page, statement: Some words., kind: number, basis: exact,
   value: 1, tolerance: {abs: 0.1, rel: 0.5}, control: a coin}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a repository with one claim and one notebook that was never executed."""
    for name, text in {
        "lib/__init__.py": "",
        "requirements.lock": "numpy==2.0\n",
        "book/ch99_demo/claims.yml": CLAIMS,
        "notebooks/ch99_demo/01_first.py": "# %% [markdown]\n# # A title\n\n# %%\nprint(1)\n",
    }.items():
        write_atomic(tmp_path / name, text)
    return tmp_path


def test_nbval_gets_the_tolerance_of_a_trained_cell(tree: Path) -> None:
    def item(*tags: str, **more: Any) -> Item:
        cell = nbformat.v4.new_code_cell("1", metadata={"tags": list(tags)})
        path = tree / "notebooks/ch99_demo/01_first.ipynb"
        return Item(path=path, cell=cell, compare_outputs=lambda new, old: new == old, **more)

    trained, plain = item("hide-input", "trained-arms"), item("hide-input")
    bare = Item(parent=SimpleNamespace())
    twice = item(parent=SimpleNamespace(skip_compare=("image/svg+xml",)))
    proof.pytest_collection_modifyitems([bare, trained, plain, twice, Item(parent=None)])
    new, old = [shown(text_plain="A 54.6")], [shown(text_plain="A 54.2")]
    assert trained.compare_outputs(new, old) is True  # type: ignore[attr-defined]
    assert plain.compare_outputs(new, old) is False  # type: ignore[attr-defined]
    drawing = "image/svg+xml"
    assert trained.parent.skip_compare == ("image/png", "metadata", drawing)
    assert twice.parent.skip_compare == (drawing,)
    assert not hasattr(bare.parent, "skip_compare")


# --- notebooks ------------------------------------------------------------------------------------


@pytest.fixture
def one(tree: Path) -> Notebook:
    return notebooks.discover(root=tree)[0]


def test_limits_and_defaults() -> None:
    assert (notebooks.CELL_SECONDS, notebooks.SLOW_SECONDS) == (14_400, 60)
    for function in (notebooks.run, notebooks.prove):
        assert inspect.signature(function).parameters["jobs"].default == 2
    assert inspect.signature(notebooks.run).parameters["stale_only"].default is True
    with pytest.raises(ValueError, match="jobs is 0"):
        notebooks.run([], jobs=0)
    with pytest.raises(ValueError, match="jobs is 0"):
        notebooks.prove([], jobs=0)


def test_the_form_of_a_source(one: Notebook) -> None:
    one.source.write_text('# %% tags=["a"] other="b"\n1\n\n# %%\n2\n')
    made = one.read_source()
    assert (made.nbformat, made.nbformat_minor) == (4, 5)
    assert [cell.id for cell in made.cells] == ["cell-000", "cell-001"]
    assert [cell.metadata for cell in made.cells] == [{"tags": ["a"]}, {}]


def test_what_is_no_notebook_is_not_written(one: Notebook) -> None:
    made = one.read_source()
    one.write(made)
    before = one.stored.read_bytes()
    assert before.endswith(b"}\n")
    made.cells[1].source = 3
    with pytest.raises(nbformat.ValidationError):
        one.write(made)
    assert one.stored.read_bytes() == before


def test_chapters_are_found_by_number_and_name(tree: Path) -> None:
    for name in ("ch09_other/01_a.py", "ch09_other/02_b.py", "ch1_no/01_a.py", "more/01_a.py"):
        write_atomic(tree / "notebooks" / name, "")

    def names(chapter: str | None) -> list[str]:
        return [one.name for one in notebooks.discover(chapter, root=tree)]

    other = [f"notebooks/ch09_other/0{i}.ipynb" for i in ("1_a", "2_b")]
    demo = ["notebooks/ch99_demo/01_first.ipynb"]
    assert names(None) == other + demo
    assert names("9") == names("09") == names("ch09_other") == other
    assert names("99") == names("ch99_demo") == demo
    for wrong in ("ch09", "90", "other"):
        with pytest.raises(ValueError, match=f"no chapter '{wrong}' in notebooks/; there are: ch0"):
            names(wrong)


def test_the_order_of_a_tolerance_is_no_part_of_the_key(one: Notebook) -> None:
    before = notebooks.key_parts(one)
    assert list(before["claims"]) == ["ch99.one"]
    assert before["data"].keys() == data.registry().keys()
    assert notebooks.key_parts(one, [], [])["claims"] == {}
    assert notebooks.key_parts(one, [], [])["data"] == {}
    claims = one.root / "book/ch99_demo/claims.yml"
    claims.write_text(CLAIMS.replace("{abs: 0.1, rel: 0.5}", "{rel: 0.5,  abs: 0.1}"))
    assert notebooks.key_parts(one) == before


def code_cell(source: str, count: int, *outputs: Any) -> Any:
    return nbformat.v4.new_code_cell(source, execution_count=count, outputs=list(outputs))


def stream(text: str, name: str = "stdout") -> Any:
    return nbformat.v4.new_output("stream", name=name, text=text)


def test_a_cell_may_be_silent_where_another_speaks() -> None:
    new = nbformat.v4.new_notebook
    text = nbformat.v4.new_markdown_cell("t")
    cells = [text, code_cell("x = 1", 1), code_cell("print(x)", 2, stream("1\n"))]
    assert notebooks.output_problems(new(cells=cells)) == []
    assert notebooks.output_problems(new(cells=[text])) == []
    assert notebooks.output_problems(new(cells=cells[:2])) == ["no cell has an output"]
    loud = code_cell("print(x)", 3, stream(" a " + "b" * 300, "stderr"))
    assert notebooks.output_problems(new(cells=[*cells, loud])) == [
        f"cell 3: on the error stream: 'a {'b' * 198}'"
    ]


def test_outputs_of_hundreds_of_equal_cells_are_kept() -> None:
    def made(with_outputs: bool) -> Any:
        cells = [
            code_cell("show()", i, *([stream(str(i))] if with_outputs else []))
            for i in range(1, 241)
        ]
        return nbformat.v4.new_notebook(cells=cells)

    new, old = made(False), made(True)
    new.cells.insert(0, code_cell("fresh()", 0))
    old.cells.insert(0, nbformat.v4.new_markdown_cell("t"))
    old.cells[5].metadata["mystnb"] = {"image": {"alt": "five"}}
    notebooks._adopt_outputs(new, old)
    told = [one.outputs[0].text if one.outputs else "" for one in new.cells]
    assert told == ["", *map(str, range(1, 241))]
    assert new.cells[5].metadata == {"mystnb": {"image": {"alt": "five"}}}
    assert [one.execution_count for one in new.cells[:5]] == [0, 1, 2, 3, 4]


def picture(**metadata: Any) -> Any:
    found = {"image/png": metadata} if metadata else {}
    return nbformat.v4.new_output("display_data", data={"image/png": "AA"}, metadata=found)


def test_alternative_text_and_width_of_pictures() -> None:
    drawing = nbformat.v4.new_output(
        "display_data",
        data={"image/svg+xml": "<svg/>"},
        metadata={"image/png": {"alt": "of no picture"}},
    )
    cells = [
        nbformat.v4.new_markdown_cell("t"),
        code_cell("1", 1, picture()),
        code_cell("2", 2, drawing),
        code_cell("3", 3, stream("s"), picture(alt="A")),
        code_cell("4", 4, picture(alt="B", width=300), picture(alt="B", width=300)),
    ]
    content = nbformat.v4.new_notebook(cells=cells)
    notebooks._set_alternative_text(content)
    assert [one.metadata.get("mystnb") for one in content.cells] == [
        *(None, None, None),
        {"image": {"alt": "A"}},
        {"image": {"alt": "B", "width": "300px"}},
    ]
    cells[4].outputs[1].metadata["image/png"]["alt"] = "C"
    with pytest.raises(notebooks.ExecutionError, match="cell 4 shows 2 figures"):
        notebooks._set_alternative_text(content)


class Pool:
    """A pool that computes at once."""

    made: list[tuple[Any, ...]]

    def __init__(self, *given: Any) -> None:
        self.made.append(given)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, function: Any, *given: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*given, **options))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.mark.parametrize("stale_only", [True, False])
def test_a_run_of_several(stale_only: bool, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("02_stale", "03_fails", "04_fails", "05_text", "06_stale"):
        write_atomic(tree / f"notebooks/ch99_demo/{name}.py", "")
    found = notebooks.discover(root=tree)
    said: list[tuple[str, bool]] = []
    executed: list[tuple[str, Any]] = []
    Pool.made = []

    def execute(one: Notebook, *, results: Path | None) -> float:
        executed.append((one.source.stem, results and results.is_dir()))
        if "fails" in one.name:
            raise notebooks.ExecutionError("it fell")
        return 12.4

    def moved(one: Notebook) -> list[str]:
        return [] if one.source.stem in ("01_first", "05_text") else ["moved", "and more"]

    paired: list[str] = []
    for name, stand_in in {
        "ProcessPoolExecutor": Pool,
        "execute": execute,
        "key_problems": moved,
        "pairing_problems": lambda one: ["text"] if "text" in one.name else [],
        "pair": lambda one: paired.append(one.source.stem) or True,
        "output_problems": lambda content: [f"odd {content}"],
    }.items():
        monkeypatch.setattr(notebooks, name, stand_in)
    monkeypatch.setattr(Notebook, "read_stored", lambda one: one.source.stem)
    show = lambda text, flush=False: said.append((text, flush))  # noqa: E731
    monkeypatch.setattr(notebooks, "print", show, raising=False)
    assert notebooks.run(found, stale_only=stale_only, jobs=3) == 2
    stale = ["02_stale", "03_fails", "04_fails", "06_stale"]
    todo = stale if stale_only else [one.source.stem for one in found]
    assert sorted(executed) == [(name, None if stale_only else True) for name in sorted(todo)]
    ((jobs, context, initializer, arguments),) = Pool.made
    assert (jobs, context) == (3, get_context("spawn"))
    assert (initializer, arguments) == (processes.end_with, (os.getpid(),))
    place = "notebooks/ch99_demo"
    assert paired == (["05_text"] if stale_only else [])
    text = (f"{place}/05_text.ipynb: text brought up to the source, outputs kept", False)
    again = (f"{place}/01_first.ipynb: fresh, executed again as asked", False)
    assert (text in said) is stale_only
    assert (again in said) is not stale_only
    assert (f"{place}/02_stale.ipynb: moved; and more", False) in said
    assert (f"6 notebooks, {len(todo)} to execute", True) in said
    for name in todo:
        if "fails" in name:
            words = f"{place}/{name}.ipynb: FAILED, the stored notebook is untouched\nit fell"
            assert (words, True) in said
        else:
            assert (f"{place}/{name}.ipynb: executed in 12 s", True) in said
            assert (f"{place}/{name}.ipynb: warning: odd {name}", True) in said


def test_a_run_of_nothing_and_fewer_kernels_than_asked_for(
    one: Notebook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Pool.made = []
    monkeypatch.setattr(notebooks, "ProcessPoolExecutor", Pool)
    assert notebooks.run([]) == 0
    assert capsys.readouterr().out == "0 notebooks, 0 to execute\n"
    assert Pool.made == []
    monkeypatch.setattr(notebooks, "execute", lambda one, results: 1.0)
    one.write(one.read_source())
    assert notebooks.run([one], jobs=4) == 0
    assert Pool.made[0][0] == 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the commands that a proof has run, which end with 5."""
    found: list[tuple[list[str], dict[str, Any]]] = []

    def run(command: list[str], **options: Any) -> Any:
        found.append((command, options))
        assert not Path(options["env"]["BOOK_RESULTS"]).exists()
        (report,) = (one.partition("=")[2] for one in command if one.startswith("--junitxml="))
        Path(report).write_text('<a><testcase classname="n" time="99.6"/><testcase/></a>')
        return SimpleNamespace(returncode=5)

    monkeypatch.setattr(notebooks.subprocess, "run", run)
    return found


def test_the_command_of_a_proof(
    tree: Path,
    asked: list[tuple[list[str], dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_atomic(tree / "notebooks/ch99_demo/02_second.py", "")
    found = notebooks.discover(root=tree)
    monkeypatch.setattr(proof, "kernels", lambda cpu: {"KERNEL": cpu})
    assert notebooks.prove(found, jobs=3, cpu="sse") == 5
    ((command, options),) = asked
    report = Path(command[-3].partition("=")[2])
    assert command == [
        *(sys.executable, "-m", "pytest", "-q", "--no-header", "--nbval"),
        *("-p", "lib.core.proof", "-p", "lib.core.processes", "--nbval-current-env"),
        *("--nbval-sanitize-with", str(tree / "tests/notebooks/sanitize.cfg")),
        *("--nbval-cell-timeout", "14400", "-p", "no:cacheprovider"),
        *("--numprocesses", "2", "--dist", "loadscope", "--no-loadscope-reorder"),
        f"--junitxml={report}",
        *(f"notebooks/ch99_demo/{name}.ipynb" for name in ("01_first", "02_second")),
    ]
    assert (options["cwd"], options["check"]) == (tree, False)
    environment = options["env"]
    assert (environment["KERNEL"], environment["BOOK_PROFILE"]) == ("sse", "book")
    assert environment["PYTHONPATH"] == str(tree)
    assert environment["BOOK_RESULTS"] == str(report.parent / "results")
    for threads in ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        assert environment[threads] == "1"
    assert capsys.readouterr().out == "slow: n: 100 s\n"
    assert not report.exists()


@pytest.mark.parametrize(
    ("errors", "required", "status", "proved"),
    [
        (["", ""], False, 5, 2),
        (["missing", ""], False, 5, 1),
        (["missing", "missing"], False, 0, 0),
        (["missing", "missing"], True, 1, 0),
        (["missing", "wrong"], False, 1, 0),
        (["wrong", "wrong"], False, 1, 0),
    ],
)
def test_notebooks_whose_data_cannot_be_had(
    errors: list[str],
    required: bool,
    status: int,
    proved: int,
    tree: Path,
    asked: list[tuple[list[str], dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_atomic(tree / "notebooks/ch99_demo/02_second.py", "")
    found = notebooks.discover(root=tree)
    kinds = {"missing": data.MissingDataError, "wrong": data.DigestError}
    said: list[tuple[str, bool]] = []

    def fetch(one: Notebook) -> None:
        error = errors[found.index(one)]
        if error:
            raise kinds[error](error)

    monkeypatch.setattr(notebooks, "_fetch", fetch)
    monkeypatch.setenv("BOOK_DATA", "required" if required else "")
    show = lambda text, flush=False: said.append((text, flush))  # noqa: E731
    monkeypatch.setattr(notebooks, "print", show, raising=False)
    assert notebooks.prove(found) == status
    assert sum(len(command) > 0 for command, _ in asked) == (proved > 0)
    if proved:
        assert [one for one in asked[0][0] if one.endswith(".ipynb")] == [
            one.name for one, error in zip(found, errors, strict=True) if not error
        ]
    else:
        assert said[-1] == ("no notebook to prove", False)
    words = {"missing": "FAILED" if required else "SKIPPED", "wrong": "FAILED"}
    for one, error in zip(found, errors, strict=True):
        if error:
            assert (f"{words[error]} {one.name}: {error}", True) in said


def test_a_proof_with_wrong_data_fails_where_all_else_is_proved(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("02_second", "03_third"):
        write_atomic(tree / f"notebooks/ch99_demo/{name}.py", "")
    found = notebooks.discover(root=tree)
    asked: list[Any] = []

    def run(command: list[str], **options: Any) -> Any:
        asked.append(command)
        return SimpleNamespace(returncode=0)

    def fetch(one: Notebook) -> None:
        if one != found[-1]:
            raise data.DigestError("wrong")

    monkeypatch.setattr(notebooks.subprocess, "run", run)
    assert notebooks.prove(found[-1:]) == 0
    monkeypatch.setattr(notebooks, "_fetch", fetch)
    assert notebooks.prove(found) == 1  # two that fail are a failure like one
    assert notebooks.prove([]) == 1
    assert len(asked) == 2


def test_a_proof_fetches_the_sets_that_were_used(
    one: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(data, "fetch", fetched.append)
    notebooks._fetch(one)  # never executed
    assert fetched == []
    content = one.read_source()
    used = {"movielens": "0", "hillstrom": "0", "forgotten": "0"}
    content.metadata["book"] = {"parts": {"data": used}}
    one.write(content)
    notebooks._fetch(one)
    assert fetched == ["hillstrom", "movielens"]
    assert notebooks._execution(one) == {"parts": {"data": used}}


# --- the scaffold ---------------------------------------------------------------------------------

ENTRY = Entry(92, "ch92_dream", "Träume", "2699.00092", "Wär's?")


def test_references_stand_by_number() -> None:
    def line(number: int) -> str:
        return f"  - book/ch{number}_dream/references.bib\n"

    head, tail = "title: T\nbibtex_bibfiles:\n", "sphinx: {}\n"
    for others in ([91], [93], [90, 91], [93, 94], [91, 93], [89, 90, 91, 93, 94]):
        text = head + "".join(map(line, others)) + tail
        wanted = head + "".join(map(line, sorted([*others, 92]))) + tail
        assert scaffold._add_to_config(text, ENTRY) == wanted


def test_a_chapter_stands_after_the_lower_ones_however_long_these_are() -> None:
    def chapter(number: int, sections: int) -> str:
        text = f"      - file: book/ch{number}_dream/index\n"
        if sections:
            text += "        sections:\n"
        return text + "".join(
            f"          - file: book/ch{number}_dream/s{i}\n" for i in range(sections)
        )

    head = "root: index\nparts:\n  - caption: The chapters\n    chapters:\n"
    block = scaffold._TOC.format(slug=ENTRY.slug)
    for lower in ([], [(91, 0)], [(91, 1)], [(91, 2)], [(90, 1), (91, 0)], [(90, 0), (91, 3)]):
        for higher in ([], [(93, 0)], [(93, 2), (94, 0)]):
            if not lower and not higher:
                continue
            before = "".join(chapter(*one) for one in lower)
            after = "".join(chapter(*one) for one in higher)
            found = scaffold._add_to_toc(head + before + after, ENTRY)
            assert found == head + before + block + after


def test_a_left_over_page_of_the_same_number_stands_behind() -> None:
    head = "root: index\nparts:\n  - caption: The chapters\n    chapters:\n"
    lower = "      - file: book/ch91_dream/index\n"
    same = "      - file: book/ch92_older/index\n"
    block = scaffold._TOC.format(slug=ENTRY.slug)
    assert scaffold._add_to_toc(head + lower + same, ENTRY) == head + lower + block + same


def plan(root: Path) -> None:
    """Write the contents of a book, of one chapter."""
    contents = [{"number": 92, "slug": ENTRY.slug, "arxiv": ENTRY.arxiv}]
    contents[0] |= {"title": ENTRY.title, "question": ENTRY.question}
    write_atomic(root / "data/chapters.yml", yaml.safe_dump(contents, allow_unicode=True))


def test_a_table_of_contents_in_which_a_chapter_would_be_lost(tmp_path: Path) -> None:
    plan(tmp_path)
    # Of a key that stands twice YAML keeps the last.
    text = "parts:\n  - chapters:\n      - file: book/ch91_dream/index\nparts: []\n"
    write_atomic(tmp_path / "_toc.yml", text)
    write_atomic(tmp_path / "_config.yml", "title: T\n")
    with pytest.raises(ScaffoldError, match="a shape in which the chapter has no place"):
        scaffold.create("92", "dream", ENTRY.arxiv, root=tmp_path)
    assert (tmp_path / "_toc.yml").read_text() == text
    assert sorted(one.name for one in tmp_path.iterdir()) == ["_config.yml", "_toc.yml", "data"]


def test_a_skeleton_where_nothing_else_is(tmp_path: Path) -> None:
    plan(tmp_path)
    write_atomic(tmp_path / "_toc.yml", "root: index\nparts:\n")
    write_atomic(tmp_path / "_config.yml", "title: T\n")
    made = scaffold.create("92", "dream", ENTRY.arxiv, root=tmp_path)
    assert made == sorted(made)
    assert len(made) == 13
    claims = (tmp_path / "book/ch92_dream/claims.yml").read_text(encoding="utf-8")
    # Words stand as they are written, for people will edit them.
    assert f'title: "{ENTRY.title}"\nquestion: "{ENTRY.question}"\n' in claims
    assert [one for one in tmp_path.iterdir() if one.name.startswith(".")] == []
    stored = nbformat.read(tmp_path / "notebooks/ch92_dream/01_first.ipynb", as_version=4)
    assert [cell.cell_type for cell in stored.cells] == ["markdown", "code", "markdown", "code"]
    with pytest.raises(ScaffoldError, match=r"number is 93, expected one of \[92\]"):
        scaffold.create("93", "dream", ENTRY.arxiv, root=tmp_path)
