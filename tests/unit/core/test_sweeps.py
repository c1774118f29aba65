"""Sweeps: order, resumption, errors, processes and a cluster of two workers."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pytest

from lib.core import data, sweeps
from lib.core.paths import ROOT

# The functions live in a module of their own, as those of lib do, so that workers can import it;
# each test has another one, for worker processes outlive a test.
WORK = """
import os
from pathlib import Path

TRACE = Path(os.environ["SWEEP_TRACE"])

def square(item):
    with (TRACE / "calls").open("a") as file:
        file.write(f"{item} {os.getpid()}\\n")
    return item * item

def square_or_fail(item):
    if item == 3 and not (TRACE / "mended").exists():
        raise ZeroDivisionError("three is not liked")
    return square(item)

def square_or_die(item):
    import signal
    if item == 3 and not (TRACE / "mended").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return square(item)

def exit_on_three(item):
    if item == 3:
        os._exit(7)
    return square(item)

def quit_on_three(item):
    if item == 3:
        raise SystemExit(7)
    return square(item)

def unpicklable(item):
    return (lambda: item) if item == 3 else item

def surprise(item):
    return os.urandom(8).hex()

def looked_up(item):
    return square(item), "a-data-set"

def draw(item, rng):
    return float(rng.random())

def linger(item):
    import time
    with (TRACE / "calls").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(600)

def process(item):
    import time
    (TRACE / f"process-{os.getpid()}").touch()
    while len(list(TRACE.glob("process-*"))) < 2:  # the other one comes, however busy the machine
        time.sleep(0.01)
    return os.getpid()
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    name = f"work_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(WORK)
    monkeypatch.setenv("SWEEP_TRACE", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sweeps, "RESULTS", tmp_path / "results")
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


def calls(work: ModuleType) -> list[int]:
    trace = work.TRACE / "calls"
    lines = trace.read_text().splitlines() if trace.exists() else []
    return [int(line.split()[0]) for line in lines]


def test_results_keep_the_order_and_equal_items_run_once(work: ModuleType) -> None:
    assert sweeps.run(work.square, [3, 1, 3, 2], name="a", n_jobs=1) == [9, 1, 9, 4]
    assert sorted(calls(work)) == [1, 2, 3]
    assert sweeps.run(work.square, [2, 5], name="a", n_jobs=1) == [4, 25]
    assert sorted(calls(work)) == [1, 2, 3, 5]
    assert sweeps.run(work.square, [], name="a") == []


def test_processes_of_this_machine(work: ModuleType) -> None:
    pids = sweeps.run(work.process, range(4), name="a", n_jobs=2, cache=False)
    assert os.getpid() not in pids
    assert len(set(pids)) == 2
    assert sweeps.run(work.square, range(10), name="b", n_jobs=2) == [i * i for i in range(10)]


def test_a_failing_item_is_named_and_the_rest_resumes(work: ModuleType) -> None:
    with pytest.raises(sweeps.SweepError, match=r"square_or_fail failed on item 3: ZeroDivision"):
        sweeps.run(work.square_or_fail, [1, 2, 3, 4], name="a", n_jobs=1)
    assert calls(work) == [1, 2]
    (work.TRACE / "mended").touch()
    assert sweeps.run(work.square_or_fail, [1, 2, 3, 4], name="a", n_jobs=1) == [1, 4, 9, 16]
    assert calls(work) == [1, 2, 3, 4]


def test_a_failing_item_is_named_across_processes(work: ModuleType) -> None:
    with pytest.raises(sweeps.SweepError, match=r"failed on item 3"):
        sweeps.run(work.square_or_fail, [1, 2, 3, 4], name="a", n_jobs=2)


@pytest.mark.parametrize("name", ["exit_on_three", "square_or_die"])
def test_a_worker_that_dies_is_an_error_that_names_the_item(work: ModuleType, name: str) -> None:
    with pytest.raises(sweeps.SweepError, match=rf"{name}: a worker died on item .*\b3\b"):
        sweeps.run(getattr(work, name), [1, 2, 3], name="a", n_jobs=2)
    # What was finished is stored, and the pool that broke is not used again.
    assert sweeps.run(work.square, [1, 2, 3], name="b", n_jobs=2) == [1, 4, 9]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("name", "why"),
    [("unpicklable", "PicklingError|AttributeError"), ("quit_on_three", "SystemExit")],
)
def test_what_cannot_be_handed_over_is_an_error_that_names_the_item(
    work: ModuleType, name: str, why: str, jobs: int
) -> None:
    for cache in (True, False):
        with pytest.raises(sweeps.SweepError, match=rf"{name} failed on item 3: ({why})"):
            sweeps.run(getattr(work, name), [1, 3], name="a", n_jobs=jobs, cache=cache)


def test_an_empty_folder_of_results_computes_anew(work: ModuleType, tmp_path: Path) -> None:
    script = (
        f"import {work.__name__} as work; from lib.core import sweeps; "
        "print(sweeps.run(work.surprise, [1], name='a', n_jobs=1))"
    )

    def said(folder: str) -> str:
        environment = {**os.environ, "BOOK_RESULTS": str(tmp_path / folder)}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout

    first = said("one")
    assert said("one") == first
    assert said("two") != first
    assert len(list((tmp_path / "one" / "a").glob("*.pkl"))) == 1


def test_a_smoke_result_is_not_served_to_the_book(
    work: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for profile in ("smoke", "book", "smoke"):
        monkeypatch.setenv("BOOK_PROFILE", profile)
        assert sweeps.run(work.square, [2], name="a", n_jobs=1) == [4]
    assert calls(work) == [2, 2]


def test_other_data_compute_again(work: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def register(**digits: str) -> None:
        found = {
            name: data.DataSet(
                name, "t", "l", "c", False, (), (data.DataFile("f.csv", digit * 64, 1),)
            )
            for name, digit in digits.items()
        }
        monkeypatch.setattr(data, "registry", lambda: found)

    # The module names a-data-set; it does not name another one.
    for digits, count in (
        ({"a-data-set": "0", "other": "0"}, 1),
        ({"a-data-set": "0", "other": "1"}, 1),
        ({"a-data-set": "1", "other": "1"}, 2),
        ({"a-data-set": "0", "other": "1"}, 2),
    ):
        register(**digits)
        assert sweeps.run(work.square, [2], name="a", n_jobs=1) == [4]
        assert len(calls(work)) == count


def test_workers_end_with_a_killed_sweep(work: ModuleType) -> None:
    script = (
        f"import {work.__name__} as work; from lib.core import sweeps; "
        "sweeps.run(work.linger, range(100), name='a', n_jobs=2, cache=False)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    # Two workers at least have begun; each notes its number and then only waits.
    while len(set(calls(work))) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    family = psutil.Process(parent.pid).children(recursive=True)
    assert set(calls(work)) <= {one.pid for one in family}
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == [], "processes that outlive the sweep"


def test_a_killed_sweep_resumes(work: ModuleType) -> None:
    script = (
        f"from pathlib import Path; import {work.__name__} as work; from lib.core import sweeps; "
        f"sweeps.RESULTS = Path({str(sweeps.RESULTS)!r}); "
        "print(sweeps.run(work.square_or_die, [1, 2, 3, 4], name='a', n_jobs=1))"
    )
    first = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert first.returncode == -signal.SIGKILL
    assert calls(work) == [1, 2]
    (work.TRACE / "mended").touch()
    second = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert second.stdout.strip() == "[1, 4, 9, 16]"
    assert calls(work) == [1, 2, 3, 4]


def test_a_damaged_result_is_computed_again(work: ModuleType) -> None:
    sweeps.run(work.square, [1, 2], name="a", n_jobs=1)
    files = sorted((sweeps.RESULTS / "a").glob("*.pkl"))
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes()[:-1])
    files[1].write_bytes(b"")
    assert sweeps.run(work.square, [1, 2], name="a", n_jobs=1) == [1, 4]
    assert sorted(calls(work)) == [1, 1, 2, 2]


def test_a_change_of_code_computes_again_and_of_wording_does_not(work: ModuleType) -> None:
    file = Path(str(work.__file__))
    sweeps.run(work.square, [2], name="a", n_jobs=1)
    file.write_text('"""Now with a docstring."""\n# and a comment\n' + WORK)
    assert sweeps.run(work.square, [2], name="a", n_jobs=1) == [4]
    assert calls(work) == [2]
    file.write_text(WORK.replace("return item * item", "return item * item * item"))
    importlib.reload(work)
    assert sweeps.run(work.square, [2], name="a", n_jobs=1) == [8]


def test_random_numbers_depend_on_seed_and_item_only(work: ModuleType) -> None:
    one = sweeps.run(work.draw, [1, 2, 3], name="a", seed=7, n_jobs=1)
    two = sweeps.run(work.draw, [3, 1], name="b", seed=7, n_jobs=2)
    assert two == [one[2], one[0]]
    assert len(set(one)) == 3
    assert sweeps.run(work.draw, [1], name="a", seed=8, n_jobs=1) != one[:1]


def test_the_numbers_of_a_seed_and_an_item(work: ModuleType) -> None:
    # Once published, they stay: 0 is a seed like any other.
    drawn = {
        seed: sweeps.run(work.draw, [1, "a"], name="n", n_jobs=1, seed=seed) for seed in (0, 1)
    }
    assert drawn[0] == pytest.approx([0.03235622330426291, 0.12916416376234074], rel=1e-15)
    assert drawn[1] == pytest.approx([0.5635929401618711, 0.3706076703855762], rel=1e-15)


def test_items_after_equal_ones_are_computed(work: ModuleType) -> None:
    assert sweeps.run(work.square, [3, 3, 2, 3, 1], name="a", n_jobs=1) == [9, 9, 4, 9, 1]
    assert sorted(calls(work)) == [1, 2, 3]


def test_arrays_as_items(work: ModuleType) -> None:
    grid = [np.arange(3), np.arange(3) + 1]
    first = sweeps.run(work.square, grid, name="a", n_jobs=1)
    again = sweeps.run(work.square, [one.copy() for one in grid], name="a", n_jobs=1)
    np.testing.assert_array_equal(first, again)
    assert len((work.TRACE / "calls").read_text().splitlines()) == 2


def test_a_cluster_of_two_worker_processes(
    work: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            local_directory=str(work.TRACE),
        ) as cluster,
        Client(cluster) as client,
    ):
        workers = set(client.run(os.getpid).values())
        assert len(workers) == 2
        pids = sweeps.run(work.process, range(6), name="a", backend=client)
        assert set(pids) == workers
        # The same by configuration alone, and what is stored is not asked of the cluster again.
        monkeypatch.setenv("BOOK_SWEEP_BACKEND", "dask")
        monkeypatch.setenv("BOOK_DASK_SCHEDULER", cluster.scheduler_address)
        assert sweeps.run(work.square, [3, 1, 2], name="b") == [9, 1, 4]
        assert sweeps.run(work.process, range(6), name="a") == pids
        with pytest.raises(sweeps.SweepError, match="failed on item 3"):
            sweeps.run(work.square_or_fail, [3], name="c")
    assert sorted(calls(work)) == [1, 2, 3]


def test_a_replaced_process_is_no_news_and_other_warnings_are(
    recwarn: pytest.WarningsRecorder,
) -> None:
    with sweeps._configured("loky", 2, 2):
        warnings.warn("A worker stopped while some jobs were given", UserWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert [str(one.message) for one in recwarn] == ["something else"]


def test_bad_arguments(work: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def local(item: int) -> int:
        return item

    for function in (local, lambda item: item):
        with pytest.raises(ValueError, match="cannot be imported by a worker"):
            sweeps.run(function, [1], name="a")
    for options, message in (
        ({"name": "../up"}, "name is '../up'"),
        ({"name": "a", "n_jobs": 0}, "n_jobs is 0"),
        ({"name": "a", "seed": -1}, "seed is -1"),
        ({"name": "a", "backend": "ray"}, "backend is 'ray'"),
    ):
        with pytest.raises(ValueError, match=message):
            sweeps.run(work.square, [1], **options)  # type: ignore[arg-type]
    monkeypatch.setenv("BOOK_SWEEP_BACKEND", "dask")
    with pytest.raises(ValueError, match="BOOK_DASK_SCHEDULER is not set"):
        sweeps.run(work.square, [1], name="a")


def test_progress_is_silent_without_a_terminal(
    work: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    sweeps.run(work.square, [1, 2], name="a", n_jobs=1)
    assert capfd.readouterr().err == ""
