"""How many one-line faults do a package's unit tests notice?  ``make mutate PKG=core N=60``.

1. All mutants of the package are listed (``mutants.py``), and a seeded sample is drawn.
2. The package's unit tests run once on a copy of the tree in which every module has got a line
   that does nothing: this measures which test reaches which line, and a test that fails there
   (a stored key that has become stale) takes no part.
3. Each mutant is put into a copy of the tree, and the tests that reach its line (or, where none
   does, the first line of its statement) run there until the first fails. Two at a time, each in a
   process of its own that is forked from one that has imported everything but `lib`.

Time limits count processor time, so that a busy machine kills nobody; the wall clock is only a net
below. Every result is stored at once, so the same command goes on after an interruption. Where the
package has changed it starts over; where only test files have, they are measured anew, and what was
killed by a test of another file stays so.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))
import preloaded
from mutants import Mutant, mutants, sample

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "mutation"
RESULTS = Path(__file__).with_name("results.json")
EQUIVALENTS = Path(__file__).with_name("equivalents.yml")
SEED = 13
STATES = ("killed", "timeout", "equivalent", "survived", "not reached")


def folders(package: str, root: Path) -> list[Path]:
    """Return where a package's modules are; what makes the pages counts, and is tested, as core."""
    return [root / "lib" / package, *([root / "book" / "_ext"] if package == "core" else [])]


def digests(package: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the digests of the package with what its tests share, and those of the test files."""
    common, tests = {}, {}
    tested = ROOT / "tests" / "unit" / package
    for folder in (*folders(package, ROOT), tested):
        for one in sorted(folder.rglob("*")):
            if one.is_file() and one.suffix != ".pyc":
                is_test = folder == tested and one.name.startswith("test_")
                kind = tests if is_test else common
                found = hashlib.sha256(one.read_bytes()).hexdigest()[:16]
                kind[str(one.relative_to(ROOT))] = found
    return common, tests


def equivalents() -> dict[str, str]:
    """Return the reason by mutant, as listed by hand."""
    listed = yaml.safe_load(EQUIVALENTS.read_text(encoding="utf-8")) or []
    return {one["mutant"]: one["reason"] for one in listed}


def copy_tree(target: Path) -> Path:
    """Copy what git knows or would take; tests that ask git find a repository."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    (target / ".venv").symlink_to(Path(sys.prefix))
    for command in (["init", "-q"], ["add", "-A", "--", ":!.venv"]):
        subprocess.run(["git", *command], cwd=target, check=True, capture_output=True)
    return target


class Reach:
    """Pytest plugin of the first run: which lines each test reaches, how long it takes."""

    def __init__(self, tree: Path, package: str) -> None:
        import coverage

        self.tree = tree
        self.coverage = coverage.Coverage(
            data_file=None, config_file=False, source=[str(one) for one in folders(package, tree)]
        )
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)
        self.seconds[nodeid] = -cpu_seconds()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] += cpu_seconds()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)

    def result(self) -> dict[str, Any]:
        """Return the tests by file and line; a line run on import is reached by all of a file."""
        data = self.coverage.get_data()
        lines: dict[str, dict[str, list[str]]] = {}
        for file in data.measured_files():
            data.set_query_contexts(None)
            by_line = data.contexts_by_lineno(file)
            all_of_them = sorted({test for tests in by_line.values() for test in tests if test})
            lines[str(Path(file).relative_to(self.tree))] = {
                str(line): all_of_them if "" in tests else sorted(tests)
                for line, tests in by_line.items()
            }
        return {
            "lines": lines,
            "seconds": self.seconds,
            "dropped": sorted(self.failed),
            "preload": _preload(),
        }


def _preload() -> list[str]:
    """Return what the tests import from elsewhere: what the trials' first process imports."""
    return sorted(
        name
        for name, module in sys.modules.items()
        if (file := getattr(module, "__file__", None))
        and ("site-packages" in file or file.startswith(sys.base_prefix))
        and not name.startswith(("__", "lib."))
    )


def preload(names: list[str], folder: Path) -> None:
    """Have the process that trials are forked from import these modules, before the first one."""
    file = folder / "preload.json"
    file.write_text(json.dumps(names), encoding="utf-8")
    here = str(Path(__file__).parent)
    os.environ[preloaded.LIST] = str(file)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    multiprocessing.set_forkserver_preload(["preloaded"])


def cpu_seconds() -> float:
    """Return the processor time of this process and of those it has started."""
    return sum(os.times()[:4])


class Only:
    """Pytest plugin of a trial: only these tests, the fastest first, each within its time."""

    def __init__(self, seconds: dict[str, float], killer: Path) -> None:
        self.seconds, self.killer = seconds, killer

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        # Coverage has slowed the first run down. Unhandled, the signal ends the process.
        signal.setitimer(signal.ITIMER_PROF, 10 + 3 * self.seconds[nodeid])

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.killer.write_text(report.nodeid, encoding="utf-8")

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        chosen = [item for item in items if item.nodeid in self.seconds]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = sorted(chosen, key=lambda item: self.seconds[item.nodeid])


def enter(tree: Path, log: Path, cpu_s: float | None) -> None:
    """Make this process one that works in `tree` alone, and can be ended with all it starts."""
    os.setsid()
    os.chdir(tree)
    os.environ.update(
        PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1", CI="true", BOOK_QUIET="1",
        BOOK_CACHE=str(tree / ".cache"),
    )  # fmt: skip
    sys.dont_write_bytecode = True
    sys.path[:] = [str(tree), *(one for one in sys.path if one not in ("", str(ROOT)))]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if cpu_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, int(cpu_s) + 11))


WRONG = 97
"""Exit status of a trial that would test the `lib` of its parent process, not the spoilt one."""

OPTIONS = ["-q", "--no-header", "-p", "no:cacheprovider", "--tb=short"]


def first_run(tree: Path, package: str, files: list[str], log: Path, target: Path) -> None:
    enter(tree, log, None)
    import pytest

    plugin = Reach(tree, package)
    plugin.coverage.start()
    pytest.main([*OPTIONS, *files], plugins=[plugin])
    plugin.coverage.stop()
    target.write_text(json.dumps(plugin.result()), encoding="utf-8")


def trial(tree: Path, log: Path, cpu_s: float, files: list[str], seconds: dict[str, float]) -> None:
    enter(tree, log, cpu_s)
    if "lib" in sys.modules:
        os._exit(WRONG)
    import pytest

    plugin = Only(seconds, log.with_suffix(".killer"))
    code = pytest.main([*OPTIONS, "-x", *files], plugins=[plugin])
    sys.stdout.flush()
    os._exit(int(code))


def run_process(method: str, target: Any, arguments: tuple[Any, ...], wall_s: float) -> int | None:
    """Run a function in a process of its own; None where it was ended by its time limits."""
    process = multiprocessing.get_context(method).Process(target=target, args=arguments)
    process.start()
    process.join(wall_s)
    late = process.is_alive()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL)  # and whatever it has started
    process.join()
    ends = (-signal.SIGXCPU, -signal.SIGPROF, -signal.SIGKILL)
    return None if late or process.exitcode in ends else process.exitcode


EMPTY: dict[str, Any] = {"lines": {}, "seconds": {}, "dropped": [], "preload": []}


def merged(old: dict[str, Any], new: dict[str, Any], changed: set[str]) -> dict[str, Any]:
    """Return what all tests reach: the new answer for changed files, else the old one."""

    def kept(tests: Iterable[str]) -> list[str]:
        return [one for one in tests if one.partition("::")[0] not in changed]

    lines: dict[str, dict[str, list[str]]] = {}
    for file in old["lines"].keys() | new["lines"].keys():
        before, after = old["lines"].get(file, {}), new["lines"].get(file, {})
        lines[file] = {
            line: kept(before.get(line, ())) + after.get(line, [])
            for line in before.keys() | after.keys()
        }
    seconds = {one: old["seconds"][one] for one in kept(old["seconds"])} | new["seconds"]
    return {
        "lines": lines,
        "seconds": seconds,
        "dropped": sorted({*kept(old["dropped"]), *new["dropped"]}),
        "preload": sorted({*old["preload"], *new["preload"]}),
    }


class Campaign:
    """One package: its first run, its sample, and the results so far."""

    def __init__(self, package: str, work: Path) -> None:
        self.package, self.work = package, work
        self.file = CACHE / f"{package}.json"
        common, tests = digests(package)
        empty: dict[str, Any] = {"common": common, "tests": {}, "results": {}}
        stored = json.loads(self.file.read_text()) if self.file.is_file() else empty
        self.data = stored if stored["common"] == common else empty
        self.changed = {one for one, found in tests.items() if self.data["tests"].get(one) != found}
        self.changed |= self.data["tests"].keys() - tests.keys()
        self.data["tests"] = tests
        # State, and the file of the test that killed. What no test reaches is looked up again.
        self.results: dict[str, list[str]] = {
            name: found
            for name, found in self.data["results"].items()
            if found[0] != "not reached"
            and (not self.changed or (found[1] and found[1] not in self.changed))
        }
        self.data["results"] = self.results
        self.all = [m for one in folders(package, ROOT) for m in mutants(one, ROOT)]
        self.lock = threading.Lock()

    def store(self) -> None:
        with self.lock:
            CACHE.mkdir(parents=True, exist_ok=True)
            part = self.file.with_suffix(".part")
            part.write_text(json.dumps(self.data), encoding="utf-8")
            part.replace(self.file)

    def reach(self) -> dict[str, Any]:
        if self.changed:
            old = self.data.pop("reach", EMPTY)
            tree = copy_tree(self.work / "first")
            for module in chain(*(one.rglob("*.py") for one in folders(self.package, tree))):
                module.write_text(module.read_text("utf-8") + "\n_touched = None\n", "utf-8")
            log, target = CACHE / f"{self.package}.log", self.work / "reach.json"
            CACHE.mkdir(parents=True, exist_ok=True)
            files = sorted(one for one in self.changed if (tree / one).is_file())
            run_process("spawn", first_run, (tree, self.package, files, log, target), 7200)
            if not target.is_file():
                raise SystemExit(f"the first run of the tests did not end; see {log}")
            self.data["reach"] = merged(old, json.loads(target.read_text()), self.changed)
            self.changed = set()
            self.store()
        reach: dict[str, Any] = self.data["reach"]
        return reach

    def tests_for(self, one: Mutant) -> dict[str, float]:
        """Return seconds by test, for the tests that reach the mutant's line.

        Python folds a tuple of constants into one, and then its inner lines never run: where
        nothing reaches a line, what reaches the first one of its statement counts.
        """
        reach = self.reach()
        lines = reach["lines"].get(one.file, {})
        reached = lines.get(str(one.line)) or lines.get(str(one.statement), [])
        dropped = set(reach["dropped"])
        return {test: reach["seconds"][test] for test in reached if test and test not in dropped}

    def attempt(self, one: Mutant, tree: Path, log: Path) -> list[str]:
        seconds = self.tests_for(one)
        if not seconds:
            return ["not reached", ""]
        killer = log.with_suffix(".killer")
        killer.unlink(missing_ok=True)
        source = (ROOT / one.file).read_bytes()
        (tree / one.file).write_bytes(one.apply(source))
        cpu_s = 30 + 3 * sum(seconds.values())
        files = sorted({test.split("::")[0] for test in seconds})
        try:
            code = run_process(
                "forkserver", trial, (tree, log, cpu_s, files, seconds), 60 + 5 * cpu_s
            )
        finally:
            (tree / one.file).write_bytes(source)
        if code in (5, WRONG):
            raise SystemExit(f"the tests of {one.name} were not run on it; see {log}")
        state = "timeout" if code is None else "survived" if code == 0 else "killed"
        by = killer.read_text(encoding="utf-8") if state == "killed" and killer.is_file() else ""
        return [state, by.partition("::")[0]]

    def run(self, chosen: list[Mutant], jobs: int, budget_s: float) -> None:
        trees = [copy_tree(self.work / f"tree{number}") for number in range(jobs)]
        todo = [one for one in chosen if one.name not in self.results]
        started, count = time.monotonic(), len(chosen) - len(todo)

        def work(one: Mutant) -> None:
            nonlocal count
            if time.monotonic() - started > budget_s:
                return
            with self.lock:
                tree = trees.pop()
            found = self.attempt(one, tree, tree.with_suffix(".log"))
            with self.lock:
                trees.append(tree)
                self.results[one.name] = found
                count += 1
                print(f"{count}/{len(chosen)} {found[0]:11} {one.name}", flush=True)
            self.store()

        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(work, todo):
                pass


def summary(campaign: Campaign, chosen: list[Mutant]) -> dict[str, Any]:
    reasons = equivalents()
    found = {one.name: campaign.results.get(one.name, [""])[0] for one in chosen}
    for name, state in found.items():
        if state in ("survived", "not reached") and name in reasons:
            found[name] = "equivalent"
    done = [state for state in found.values() if state]
    return {
        "mutants": len(campaign.all),
        "tried": len(done),
        **{state: done.count(state) for state in STATES},
        "tests": len(campaign.reach()["seconds"]) - len(campaign.reach()["dropped"]),
        "left": sorted(
            name for name, state in found.items() if state in ("survived", "not reached")
        ),
    }


def caught(row: dict[str, Any]) -> float:
    """Return the share of mutants that were noticed, or that nobody could notice."""
    return (row["tried"] - row["survived"] - row["not reached"]) / row["tried"]


def table(results: dict[str, Any]) -> str:
    """Return the Markdown table of the method page."""
    heads = ["package", "mutants", "tried", *STATES, "killed or equivalent"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for package, row in sorted(results.items()):
        numbers = [row["mutants"], row["tried"], *(row[state] for state in STATES)]
        cells = [f"`{package}`", *(f"{one:,}" for one in numbers), f"{100 * caught(row):.0f} %"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def show(one: Mutant, campaign: Campaign) -> str:
    """Try one mutant and return what the tests said."""
    tree = copy_tree(campaign.work / "tree")
    found = campaign.attempt(one, tree, tree.with_suffix(".log"))
    output = tree.with_suffix(".log").read_text() if found != "not reached" else ""
    return f"{output}\n{found[0]}: {one.name} (line {one.line})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", nargs="?", help="such as core; without it, only the table")
    parser.add_argument("-n", type=int, default=60, help="how many mutants to draw")
    parser.add_argument("--seed", type=int, default=SEED, help="another sample, to write tests by")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", metavar="TEXT", help="try the one mutant whose name holds TEXT")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds; then stop")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    if options.package is None:
        print(table(results))
        return 0
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        campaign = Campaign(options.package, Path(folder))
        if options.only:
            fitting = [one for one in campaign.all if options.only in one.name]
            if len(fitting) != 1:
                names = "\n".join(one.name for one in fitting)
                raise SystemExit(f"{len(fitting)} mutants fit {options.only!r}\n{names}")
            campaign.reach()
            print(show(fitting[0], campaign))
            return 0
        preload(campaign.reach()["preload"], Path(folder))
        if campaign.data["reach"]["dropped"]:
            print("take no part:", *campaign.data["reach"]["dropped"], sep="\n  ")
        chosen = sample(campaign.all, options.n, options.seed)
        campaign.run(chosen, options.jobs, options.budget)
        row = summary(campaign, chosen)
    print(*(f"left: {name}" for name in row["left"]), sep="\n")
    if options.seed == SEED:
        results[options.package] = row
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(table({options.package: row}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
