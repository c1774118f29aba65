"""Notebooks: execute once, store the outputs, know when they are stale, prove that they come again.

The py:percent file is the source; the .ipynb beside it is made from it. A stored notebook carries a
key in its metadata: a digest over everything its outputs depend on, namely

- its code cells (not its text: a reworded paragraph changes no output),
- the syntax tree of every `lib` module in its import closure, without docstrings and comments, and
  the other files of its packages,
- the locked versions of the packages that this code reaches (`lib.core.pins`),
- the registered digests of the data sets that it used when it was executed, and
- what is judged of the claims that it reported; their words are the pages' affair.

Which data and claims these are follows from the code, so they change only with another part. The
parts are stored too, so that a stale notebook can say what moved. Modules imported by name at run
time (importlib) are not seen, nor a package that another one uses only where it is there.

Beside the key stands when the notebook was executed, how long that took, and by which Python.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from lib.core import data, processes, proof
from lib.core.check import integer
from lib.core.ledger import MIME, load_chapter
from lib.core.paths import ROOT, write_atomic
from lib.core.pins import pins
from lib.core.sources import code_digest, digest, import_closure, parse, resources

__all__ = [
    "Notebook",
    "check",
    "compute",
    "discover",
    "execute",
    "key_parts",
    "key_problems",
    "main",
    "output_problems",
    "pair",
    "pairing_problems",
    "prove",
    "run",
]

CELL_SECONDS = 4 * 3600
"""A cell that takes longer hangs and is stopped; one that is slow, on a loaded machine or with an
old processor's kernels, is not."""

SLOW_SECONDS = 60
"""`prove` names the notebooks that take longer."""

UNCHECKED_TAGS = frozenset({"nbval-ignore-output", "nbval-skip", "raises-exception"})
"""Tags with which strict nbval does not compare a cell."""

SANITIZE = Path("tests") / "notebooks" / "sanitize.cfg"

# What a stored notebook says of its kernel: no version, which would differ between machines.
_METADATA: dict[str, Any] = {
    "jupytext": {
        "cell_metadata_filter": "tags,-all",
        "formats": "ipynb,py:percent",
        "notebook_metadata_filter": "kernelspec,-all",
    },
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}

# A call of one of these leaves an output behind.
_SPEAKING = frozenset({"display", "print", "report", "show", "show_chart"})


@dataclass(frozen=True, order=True)
class Notebook:
    """A py:percent source and the executed notebook beside it.

    Attributes
    ----------
    source : Path
        The ``.py`` file, ``<root>/notebooks/<chapter>/<name>.py``.
    """

    source: Path

    @property
    def stored(self) -> Path:
        """The executed notebook."""
        return self.source.with_suffix(".ipynb")

    @property
    def chapter(self) -> str:
        """The name of the chapter's folder, such as ``ch01_autobidding``."""
        return self.source.parent.name

    @property
    def root(self) -> Path:
        """The repository root."""
        return self.source.parents[2]

    @property
    def name(self) -> str:
        """The stored notebook's path from the root."""
        return self.stored.relative_to(self.root).as_posix()

    def read_source(self) -> Any:
        """Return the source as a notebook without outputs, with fixed metadata and cell ids."""
        made = jupytext.read(self.source, fmt="py:percent")
        made.metadata = nbformat.from_dict(_METADATA)
        made.nbformat, made.nbformat_minor = 4, 5
        for index, cell in enumerate(made.cells):
            cell.id = f"cell-{index:03d}"
            tags = cell.metadata.get("tags")
            cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        return made

    def read_stored(self) -> Any:
        """Return the executed notebook.

        Raises
        ------
        FileNotFoundError
            If there is none yet.
        """
        if not self.stored.is_file():
            raise FileNotFoundError(
                f"{self.name} does not exist: python -m lib.core.notebooks run --stale"
            )
        return nbformat.read(self.stored, as_version=4)

    def write(self, content: Any) -> None:
        """Write the executed notebook in one step; nbformat sorts the keys."""
        nbformat.validate(content)
        write_atomic(self.stored, nbformat.writes(content, version=4) + "\n")


def discover(chapter: str | None = None, root: Path = ROOT) -> list[Notebook]:
    """Return the notebooks of the book in reading order.

    Parameters
    ----------
    chapter : str, optional
        Number or folder name of one chapter: ``"01"``, ``"1"`` or ``"ch01_autobidding"``.
    root : Path
        The repository root.

    Raises
    ------
    ValueError
        If `chapter` names no folder.
    """
    folders = sorted(path for path in (root / "notebooks").glob("ch[0-9][0-9]_*") if path.is_dir())
    if chapter is not None:
        number = f"ch{int(chapter):02d}_" if chapter.isdigit() else None
        chosen = [
            one
            for one in folders
            if one.name == chapter or (number is not None and one.name.startswith(number))
        ]
        if not chosen:
            names = ", ".join(one.name for one in folders)
            raise ValueError(f"no chapter {chapter!r} in notebooks/; there are: {names}")
        folders = chosen
    return [Notebook(path) for one in folders for path in sorted(one.glob("*.py"))]


# --- the key ------------------------------------------------------------------------------------


def _code(content: Any) -> list[str]:
    return [cell.source.rstrip() for cell in content.cells if cell.cell_type == "code"]


_PAGES_ONLY = frozenset({"lib.core.ledger.rows"})
"""Modules that a notebook's closure reaches through what makes pages; no output shows them."""


def key_parts(
    notebook: Notebook, used: Iterable[str] | None = None, reported: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the digests of everything that a notebook's outputs depend on.

    Parameters
    ----------
    notebook : Notebook
        Which.
    used, reported : iterable of str, optional
        The data sets that it used in its execution, and the ids of the claims that it reported; by
        default all.

    Returns
    -------
    dict
        ``source``: a digest; ``lib``, ``data`` and ``claims``: digests by name; ``lock``: versions
        by package.
    """
    root = notebook.root
    codes = _code(notebook.read_source())
    files = list(import_closure(codes, root, _PAGES_ONLY).values())
    judged = {
        one.id: digest(json.dumps(one.judged(), sort_keys=True))
        for one in load_chapter(notebook.chapter, root=root).claims
        if reported is None or one.id in reported
    }
    known = data.registry().keys()
    return {
        "source": digest("\n\f\n".join(codes)),
        "lib": {one.relative_to(root).as_posix(): code_digest(one) for one in sorted(files)}
        | {
            one.relative_to(root).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
            for one in resources(files, root)
        },
        "lock": pins(codes, files, root),
        "data": data.digests(known if used is None else known & set(used)),
        "claims": judged,
    }


def _reported(content: Any) -> list[str]:
    """Return the ids of the claims that an executed notebook reports."""
    outputs = (out for one in content.cells for out in one.get("outputs", ()))
    return [out.data[MIME]["id"] for out in outputs if MIME in out.get("data", {})]


def _key(parts: dict[str, Any]) -> str:
    return digest(json.dumps(parts, sort_keys=True))


def key_problems(notebook: Notebook) -> list[str]:
    """Say which parts of the key moved since the notebook was executed; empty if it is fresh."""
    if not notebook.stored.is_file():
        return ["never executed"]
    content = notebook.read_stored()
    stored = content.metadata.get("book") or {}
    before = stored.get("parts")
    kinds = {"lib": "", "lock": " (package)", "data": " (data)", "claims": " (claim)"}
    if not isinstance(before, dict) or not all(isinstance(before.get(k), dict) for k in kinds):
        return ["no key of today's form is stored"]
    now = key_parts(notebook, before["data"], _reported(content))
    if stored.get("key") == _key(now) and stored.get("profile") == "book":
        return []
    moved = []
    if before.get("source") != now["source"]:
        moved.append(f"{notebook.source.relative_to(notebook.root).as_posix()}: its code changed")
    for part, kind in kinds.items():
        was, is_ = before[part], now[part]
        for name in sorted({*was, *is_}):
            if was.get(name) != is_.get(name):
                verb = "changed" if name in was and name in is_ else "is new"
                moved.append(f"{name}{kind} {verb if name in is_ else 'is not used any more'}")
    if stored.get("profile") != "book":
        moved.append(f"executed with profile {stored.get('profile')!r}, expected 'book'")
    return moved or ["the stored key does not belong to the stored parts"]


# --- pairing and outputs ------------------------------------------------------------------------


def pairing_problems(notebook: Notebook) -> list[str]:
    """Compare source and stored notebook by content: cell types, sources and tags."""
    if not notebook.stored.is_file():
        return ["never executed"]

    def cells(content: Any) -> list[tuple[str, str, tuple[str, ...]]]:
        return [
            (one.cell_type, one.source.rstrip(), tuple(sorted(one.metadata.get("tags", []))))
            for one in content.cells
        ]

    ours, theirs = cells(notebook.read_source()), cells(notebook.read_stored())
    problems = []
    if len(ours) != len(theirs):
        problems.append(f"the source has {len(ours)} cells, the notebook {len(theirs)}")
    for index, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        for what, left, right in zip(("type", "source", "tags"), one, other, strict=True):
            if left != right:
                problems.append(f"cell {index}: {what} differs: {left!r:.80} against {right!r:.80}")
    return problems


def _speaks(code: str) -> bool:
    """Whether a cell must have left an output: it calls what displays, or ends in a value."""
    body = parse(code).body
    last = body[-1] if body else None
    silenced = code.rstrip().endswith(";")
    if isinstance(last, ast.Expr) and not silenced and not isinstance(last.value, ast.Call):
        return True
    # A definition only promises an output; what is called outside of definitions gives one.
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    for statement in body:
        if isinstance(statement, definitions):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                function = node.func
                name = getattr(function, "attr", getattr(function, "id", None))
                if name in _SPEAKING:
                    return True
    return False


def output_problems(content: Any) -> list[str]:
    """Say what is wrong with the stored outputs of a notebook.

    Every code cell has its execution count, in order from 1; outputs are where the code leaves
    some; there is no error and nothing on the error stream.
    """
    problems = []
    codes = [(index, one) for index, one in enumerate(content.cells) if one.cell_type == "code"]
    for rank, (index, cell) in enumerate(codes, start=1):
        if cell.execution_count != rank:
            problems.append(f"cell {index}: execution count {cell.execution_count}, not {rank}")
        if not cell.outputs and _speaks(cell.source):
            problems.append(f"cell {index}: no output, though its code leaves one")
        for output in cell.outputs:
            if output.output_type == "error":
                problems.append(f"cell {index}: {output.ename}: {output.evalue}")
            elif output.output_type == "stream" and output.name == "stderr":
                problems.append(f"cell {index}: on the error stream: {output.text.strip()[:200]!r}")
    if codes and not any(cell.outputs for _, cell in codes):
        problems.append("no cell has an output")
    return problems


def _adopt_outputs(made: Any, old: Any) -> None:
    """Give the code cells of `made` the outputs of the same code in `old`."""
    new_cells = [one for one in made.cells if one.cell_type == "code"]
    old_cells = [one for one in old.cells if one.cell_type == "code"]
    matcher = difflib.SequenceMatcher(a=_code(old), b=_code(made), autojunk=False)
    for start, target, size in matcher.get_matching_blocks():
        for step in range(size):
            cell, twin = new_cells[target + step], old_cells[start + step]
            cell.outputs, cell.execution_count = twin.outputs, twin.execution_count
            if "mystnb" in twin.metadata:
                cell.metadata["mystnb"] = twin.metadata["mystnb"]


def pair(notebook: Notebook) -> bool:
    """Bring the stored notebook's cells up to the source, keeping outputs; return if it changed.

    The key stays as it is, so a notebook whose code changed remains stale.
    """
    made = notebook.read_source()
    before = None
    if notebook.stored.is_file():
        old = notebook.read_stored()
        before = notebook.stored.read_bytes()
        _adopt_outputs(made, old)
        if "book" in old.metadata:
            made.metadata["book"] = old.metadata["book"]
    notebook.write(made)
    return notebook.stored.read_bytes() != before


# --- execution ----------------------------------------------------------------------------------


class ExecutionError(RuntimeError):
    """A cell raised; the message holds the cell and its traceback."""


def _environment(root: Path, results: Path | None = None) -> dict[str, str]:
    """Return the environment of a kernel: fixed profile, one thread, this tree's `lib`."""
    return {
        **os.environ,
        **({} if results is None else {"BOOK_RESULTS": str(results)}),
        "BOOK_PROFILE": "book",
        "BOOK_QUIET": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MKL_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(root),
        # Progress bars are off; that their widget is not installed is no news.
        "PYTHONWARNINGS": "ignore:IProgress not found",
    }


def _set_alternative_text(content: Any) -> None:
    """Copy a picture's alternative text and width to where myst-nb reads them, its cell."""
    for index, cell in enumerate(content.cells):
        if cell.cell_type != "code":
            continue
        pictures = [
            output.metadata["image/png"]
            for output in cell.outputs
            if "image/png" in output.get("data", {})
            and "alt" in output.get("metadata", {}).get("image/png", {})
        ]
        if len({one["alt"] for one in pictures}) > 1:
            raise ExecutionError(
                f"cell {index} shows {len(pictures)} figures; a cell has one alternative text, so "
                "show one figure a cell"
            )
        for one in pictures:
            width = {"width": f"{one['width']}px"} if "width" in one else {}
            cell.metadata["mystnb"] = {"image": {"alt": one["alt"], **width}}


def _tidy(content: Any) -> None:
    """Remove what differs between two runs and join neighbouring pieces of one stream."""
    for cell in content.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        outputs: list[Any] = []
        for output in cell.outputs:
            last = outputs[-1] if outputs else None
            if (
                last is not None
                and output.output_type == last.output_type == "stream"
                and output.name == last.name
            ):
                last.text += output.text
            else:
                outputs.append(output)
        cell.outputs = outputs


def compute(
    notebook: Notebook, *, results: Path | None = None, data_log: Path | None = None
) -> Any:
    """Execute a notebook in its folder and return it with its outputs; nothing is stored.

    Parameters
    ----------
    notebook : Notebook
        Which.
    results : Path, optional
        Where its sweeps look for results and keep them; an empty folder has all computed anew.
        By default those of before count.
    data_log : Path, optional
        A file to which the names of the data sets that it uses are added, one a line.

    Raises
    ------
    ExecutionError
        If a cell raises or hangs.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    made = notebook.read_source()
    # The environment's own kernel, whatever a user has installed elsewhere under the same name.
    specs = KernelSpecManager(kernel_dirs=[str(Path(sys.prefix) / "share" / "jupyter" / "kernels")])
    client = NotebookClient(
        made,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs),
        timeout=CELL_SECONDS,
        record_timing=False,
        # The kernel would warn that it runs over TCP: on this machine alone, and it always does.
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(notebook.source.parent)}},
    )
    try:
        log = {} if data_log is None else {"BOOK_DATA_LOG": str(data_log)}
        # A manager that nbclient did not make itself is left running unless it is told otherwise.
        client.execute(cleanup_kc=True, env=_environment(notebook.root, results) | log)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise ExecutionError(f"{type(error).__name__}: {error}") from None
    _tidy(made)
    _set_alternative_text(made)
    return made


def execute(notebook: Notebook, *, results: Path | None = None) -> float:
    """Execute a notebook and store it, only if every cell succeeded.

    Parameters
    ----------
    notebook : Notebook
        Which.
    results : Path, optional
        As for `compute`.

    Returns
    -------
    float
        Seconds of wall time.

    Raises
    ------
    ExecutionError
        If a cell raises or hangs, or something it depends on changed during the run. The stored
        notebook stays as it was.
    """
    whole = key_parts(notebook)
    start, started = time.monotonic(), _now()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "data"
        made = compute(notebook, results=results, data_log=log)
        used = log.read_text(encoding="utf-8").split() if log.exists() else []
    seconds = time.monotonic() - start
    if key_parts(notebook) != whole:
        raise ExecutionError("its source or something it imports changed during the run; run again")
    parts = key_parts(notebook, used, _reported(made))
    run = {"started": started, "ended": _now(), "python": platform.python_version()}
    book = {"key": _key(parts), "parts": parts, "profile": "book", "seconds": round(seconds)}
    book["run"] = run
    before = _execution(notebook)
    if before.get("key") == book["key"]:  # the same again, so the file stays the same
        book |= {name: before[name] for name in ("seconds", "run") if name in before}
    made.metadata = nbformat.from_dict({**_METADATA, "book": book})
    notebook.write(made)
    return seconds


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _execution(notebook: Notebook) -> dict[str, Any]:
    """Return what a stored notebook says of its execution; empty if there was none."""
    stored = notebook.read_stored() if notebook.stored.is_file() else {"metadata": {}}
    return dict(stored["metadata"].get("book") or {})


def _longest_first(notebooks: list[Notebook]) -> list[Notebook]:
    """Return the order in which no core idles at the end: by the seconds of the last execution."""
    return sorted(notebooks, key=lambda one: -_execution(one).get("seconds", math.inf))


def run(notebooks: list[Notebook], *, stale_only: bool = True, jobs: int = 2) -> int:
    """Execute notebooks, `jobs` at a time; return how many failed.

    Parameters
    ----------
    notebooks : list of Notebook
        Which.
    stale_only : bool
        Skip those whose key is fresh; their text is still brought up to the source. Otherwise
        nothing that sweeps computed before is used.
    jobs : int
        Kernels at a time, at least 1.

    Raises
    ------
    ValueError
        If `jobs` is below 1.
    """
    jobs = integer("jobs", jobs, at_least=1)
    todo = []
    for one in notebooks:
        moved = key_problems(one)
        if stale_only and not moved:
            if pairing_problems(one) and pair(one):
                print(f"{one.name}: text brought up to the source, outputs kept")
            continue
        print(f"{one.name}: {'; '.join(moved) if moved else 'fresh, executed again as asked'}")
        todo.append(one)
    print(f"{len(notebooks)} notebooks, {len(todo)} to execute", flush=True)
    if not todo:
        return 0
    failed = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(
            min(jobs, len(todo)), get_context("spawn"), processes.end_with, (os.getpid(),)
        ) as pool,
    ):
        results = None if stale_only else Path(folder)
        futures = {pool.submit(execute, one, results=results): one for one in _longest_first(todo)}
        for future in as_completed(futures):
            one = futures[future]
            try:
                seconds = future.result()
            except Exception as error:
                failed += 1
                print(f"{one.name}: FAILED, the stored notebook is untouched\n{error}", flush=True)
                continue
            print(f"{one.name}: executed in {seconds:.0f} s", flush=True)
            for problem in output_problems(one.read_stored()):
                print(f"{one.name}: warning: {problem}", flush=True)
    return failed


# --- proof --------------------------------------------------------------------------------------


def _fetch(notebook: Notebook) -> None:
    """Have the data sets at hand that a stored notebook used."""
    used = _execution(notebook).get("parts", {}).get("data", ())
    for name in sorted(data.registry().keys() & set(used)):
        data.fetch(name)


def prove(notebooks: list[Notebook], *, jobs: int = 2, cpu: str = "") -> int:
    """Run strict nbval over stored notebooks; return pytest's exit status, 0 when all is proved.

    What sweeps computed before is not used; the notebooks of one proof share what they compute.
    A notebook whose data set cannot be had is left out, with the reason printed, and fails where
    data are required (`data.required`); one whose data are there but wrong fails. Cells that show
    trained numbers have a tolerance (`lib.core.proof`); `cpu` names the processor whose kernels are
    used (`proof.KERNELS`), this one's by default.
    """
    other, jobs = proof.kernels(cpu), integer("jobs", jobs, at_least=1)
    chosen, failed = [], 0
    for one in notebooks:
        try:
            _fetch(one)
        except data.DataError as error:
            skip = isinstance(error, data.MissingDataError) and not data.required()
            failed += not skip
            print(f"{'SKIPPED' if skip else 'FAILED'} {one.name}: {error}", flush=True)
        else:
            chosen.append(one)
    if not chosen:
        print("no notebook to prove")
        return 0 if notebooks and not failed else 1
    root = chosen[0].root
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--nbval"]
        command += ["-p", proof.__name__, "-p", processes.__name__]
        command += ["--nbval-current-env", "--nbval-sanitize-with", str(root / SANITIZE)]
        command += ["--nbval-cell-timeout", str(CELL_SECONDS), "-p", "no:cacheprovider"]
        command += ["--numprocesses", str(min(jobs, len(chosen))), "--dist", "loadscope"]
        command += ["--no-loadscope-reorder", f"--junitxml={report}"]
        command += [one.name for one in _longest_first(chosen)]
        environment = _environment(root, Path(folder) / "results") | other
        status = subprocess.run(command, cwd=root, env=environment, check=False).returncode
        _print_slow(report)
    return status or min(failed, 1)


def _print_slow(report: Path) -> None:
    if not report.is_file():
        return
    seconds: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):
        seconds[case.get("classname", "?")] += float(case.get("time", 0))  # type: ignore[assignment]
    for name, spent in seconds.most_common():
        if spent > SLOW_SECONDS:
            print(f"slow: {name}: {spent:.0f} s")


def check(notebooks: list[Notebook]) -> list[str]:
    """Return every problem of pairing, outputs and key, each with the notebook's name."""
    problems = []
    for one in notebooks:
        found = pairing_problems(one)
        if one.stored.is_file():
            found += output_problems(one.read_stored())
            found += key_problems(one)
        problems += [f"{one.name}: {problem}" for problem in found]
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Execute, pair, prove or check the notebooks of the book."""
    parser = argparse.ArgumentParser(prog="python -m lib.core.notebooks", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("run", "execute notebooks and store their outputs"),
        ("pair", "bring the .ipynb's cells up to the .py, keeping outputs"),
        ("prove", "strict nbval: every stored output comes out again"),
        ("check", "pairing, outputs and key, without executing"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--chapter", help="number or folder of one chapter, such as 01")
        if name in ("run", "prove"):
            command.add_argument("--jobs", type=int, default=2, help="kernels at a time")
        if name == "prove":
            text = "compute with another processor's kernels"
            command.add_argument("--cpu", choices=sorted(proof.KERNELS), default="", help=text)
        if name == "run":
            which = command.add_mutually_exclusive_group()
            which.add_argument("--stale", action="store_true", help="only stale ones (the default)")
            which.add_argument("--all", action="store_true", help="all of them")
    options = parser.parse_args(arguments)
    if "MAKELEVEL" in os.environ:  # make is the parent; a shell may go and leave its work behind
        processes.end_with(os.getppid())
    try:
        notebooks = discover(options.chapter)
    except ValueError as error:
        parser.error(str(error))
    if options.command == "run":
        return 1 if run(notebooks, stale_only=not options.all, jobs=options.jobs) else 0
    if options.command == "pair":
        print(f"{sum([pair(one) for one in notebooks])} of {len(notebooks)} notebooks changed")
        return 0
    if options.command == "prove":
        return prove(notebooks, jobs=options.jobs, cpu=options.cpu)
    problems = check(notebooks)
    print("\n".join(problems) or f"{len(notebooks)} notebooks: paired, executed and fresh")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
