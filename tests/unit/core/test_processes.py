"""Processes that end with their parent: at once on Linux, within a second elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lib.core import processes
from lib.core.paths import ROOT

CHILD = """
import os, sys, time
from lib.core import processes
sys.platform = {platform!r}
{begin}
print(os.getpid(), flush=True)
time.sleep(600)
"""

PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {child!r}])
time.sleep(600)
"""


def start(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize(
    "begin", ["processes.end_with(os.getppid())", "processes.pytest_configure(None)"]
)
def test_a_child_ends_with_a_killed_parent(platform: str, begin: str) -> None:
    parent = start(PARENT.format(child=CHILD.format(platform=platform, begin=begin)))
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.ppid() == parent.pid
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=60)
    for one in alive:
        one.kill()
    assert alive == []


def test_a_parent_that_is_gone_already_ends_the_child() -> None:
    child = start(CHILD.format(platform="darwin", begin="processes.end_with(os.getpid())"))
    assert child.wait(timeout=60) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_linux_kills_even_what_holds_the_interpreter(tmp_path: Path) -> None:
    # Without the thread: the kernel's signal alone.
    begin = "processes._watch = lambda parent: None\nprocesses.end_with(os.getppid())"
    parent = start(PARENT.format(child=CHILD.format(platform="linux", begin=begin)))
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs([child], timeout=60)
    for one in alive:
        one.kill()
    assert alive == []
    assert processes._PR_SET_PDEATHSIG == 1
