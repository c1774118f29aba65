"""Processes that end with the one that started them, however that one ends.

An orphan would go on computing, and store a notebook minutes after its run was given up. Kernels
look after their parent themselves (ipykernel polls it each second).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any

__all__ = ["end_with", "pytest_configure"]

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with(parent: int) -> None:
    """Kill this process as soon as its parent is gone, kill -9 included.

    Parameters
    ----------
    parent : int
        Process id of the parent, taken by the parent itself: when this runs, it may be gone.
    """
    if sys.platform == "linux":  # at once, even while other code holds Python's lock
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def pytest_configure(config: Any) -> None:
    """As a plugin (``-p lib.core.processes``), tie pytest and its workers to who started them."""
    end_with(os.getppid())
