"""What `make env` does on machines that we do not have, with interpreters that stand in for others.

A stand-in is a shell script: it answers which version it is, makes a venv of more such scripts,
notes what pip is asked for, and imports torch only if the libraries of the GPU build are there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lib.core.paths import ROOT

STAND_IN = """\
#!/usr/bin/env bash
here=$(cd "$(dirname "$0")" && pwd)
case "$*" in
  *version_info*) echo {version} ;;
  "-m venv "*)
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip install"*)
    echo "$*" >> "{log}"
    case "$*" in
      *"-r requirements.lock"*)
        for package in $(cat requirements.lock); do echo "Collecting $package"; done
        echo "Installing collected packages: all" ;;
      *"-c requirements.lock torch=="*)
        test "{registry}" = reachable || exit 1
        touch "{log}.libraries" ;;
    esac ;;
  "-c import torch")
    test "{torch}" = whole || test -e "{log}.libraries" && test "{torch}" != broken && exit
    echo "Traceback (most recent call last):" >&2
    echo "OSError: libcudart.so.13: cannot open shared object file" >&2
    exit 1 ;;
  *m.requires*) test "{torch}" = broken || test "{torch}" = whole || echo nvidia-cudnn-cu13 ;;
  *import_module*)
    test -z "{lacking}" && exit
    echo "{lacking} cannot be imported: x" >&2; exit 1 ;;
  *) echo "not foreseen: $*" >&2; exit 9 ;;
esac
"""


class Machine:
    """A folder with the set-up script, a short lock and a stand-in for Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "pip.log"
        (folder / ".ci").mkdir()
        shutil.copy2(ROOT / ".ci" / "env", folder / ".ci" / "env")
        shutil.copytree(ROOT / ".binder", folder / ".binder", symlinks=True)
        (folder / "requirements.lock").write_text("numpy==2.4.6\ntorch==2.13.0\n")

    def python(self, version: str = "3.11.7", name: str = "python", **given: str) -> Path:
        """Make a stand-in of that version."""
        traits = {"torch": "whole", "registry": "reachable", "lacking": "", **given}
        target = self.folder / name
        target.write_text(STAND_IN.format(version=version, log=self.log, **traits))
        target.chmod(0o755)
        return target

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the set-up with that interpreter, into .venv."""
        arguments = command or (".ci/env", self.folder / "python", ".venv")
        return subprocess.run(
            [str(one) for one in arguments], cwd=self.folder, capture_output=True, text=True,
            check=False, env={**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"},
        )  # fmt: skip

    @property
    def asked(self) -> list[str]:
        """What pip was asked for."""
        return self.log.read_text().splitlines() if self.log.is_file() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    # A space in the path, as people have it.
    folder = tmp_path / "a book"
    folder.mkdir()
    return Machine(folder)


def test_a_line_for_each_stage(machine: Machine) -> None:
    machine.python()
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "set-up 1 of 4: .venv is made with Python 3.11.7",
        "set-up 2 of 4: 2 packages of requirements.lock (about 0.7 GB to download, 2 GB on disk)",
        "  2 of 2 found",
        "  installing them; this takes a minute or more",
        "set-up 3 of 4: the project itself",
        "set-up 4 of 4: what the book needs can be imported",
        "set-up is done",
    ]
    assert machine.asked == [
        "-m pip install --no-deps -r requirements.lock",
        "-m pip install --quiet --no-deps --no-build-isolation -e .",
    ]


@pytest.mark.parametrize("version", ["3.11.2", "3.11.4", "3.10.14", "3.12.5", "3.1.15", "2.7.18"])
def test_another_python_is_refused_before_anything_is_done(machine: Machine, version: str) -> None:
    """Debian 12 has 3.11.2, with which a locked package fails after three minutes."""
    python = machine.python(version)
    done = machine.run()
    assert done.returncode == 1
    assert f"3.11.5 or newer of the 3.11 line is needed, and {python} is {version}" in done.stderr
    assert "make book PYTHON=" in done.stderr
    assert machine.asked == []
    assert not (machine.folder / ".venv").exists()


@pytest.mark.parametrize("version", ["3.11.5", "3.11.14"])
def test_the_line_is_drawn_at_3_11_5(machine: Machine, version: str) -> None:
    machine.python(version)
    assert machine.run().returncode == 0


def test_no_python_at_all(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 1
    assert "is not there. Nothing was installed." in done.stderr


def test_a_venv_of_the_same_version_is_kept(machine: Machine) -> None:
    machine.python()
    machine.run()
    (machine.folder / ".venv" / "mark").touch()
    done = machine.run()
    assert "set-up 1 of 4: .venv with Python 3.11.7 is there" in done.stdout
    assert (machine.folder / ".venv" / "mark").exists()


@pytest.mark.parametrize("left", ["3.11.2", "3.12.1", "none that runs"])
def test_a_venv_of_another_version_is_made_anew(machine: Machine, left: str) -> None:
    (machine.folder / ".venv" / "bin").mkdir(parents=True)
    (machine.folder / ".venv" / "mark").touch()
    if left != "none that runs":
        machine.python(left, name=".venv/bin/python")
    machine.python()
    done = machine.run()
    assert done.returncode == 0
    assert "it is made anew with 3.11.7" in done.stdout
    assert not (machine.folder / ".venv" / "mark").exists()


def test_a_link_to_a_venv_of_another_version_is_replaced_and_its_target_kept(
    machine: Machine,
) -> None:
    (machine.folder / "elsewhere" / "bin").mkdir(parents=True)
    machine.python("3.11.2", name="elsewhere/bin/python")
    (machine.folder / ".venv").symlink_to(machine.folder / "elsewhere")
    machine.python()
    assert machine.run().returncode == 0
    assert not (machine.folder / ".venv").is_symlink()
    assert (machine.folder / "elsewhere" / "bin" / "python").exists()


def test_torch_of_the_plain_registry_gets_its_own_libraries(machine: Machine) -> None:
    machine.python(torch="for GPUs")
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "torch cannot be imported: OSError: libcudart.so.13" in done.stdout
    assert "about 2.1 GB to download" in done.stdout
    # Constrained by the lock, so nothing pinned moves.
    assert machine.asked[2:] == ["-m pip install --quiet -c requirements.lock torch==2.13.0"]


@pytest.mark.parametrize(
    ("traits", "tried"),
    [
        ({"torch": "for GPUs", "registry": "gone"}, 1),
        ({"torch": "broken"}, 0),  # a build for processors: more libraries would not mend it
    ],
)
def test_a_torch_that_cannot_be_mended_stops_with_the_remedy(
    machine: Machine, traits: dict[str, str], tried: int
) -> None:
    machine.python(**traits)
    done = machine.run()
    assert done.returncode == 1
    assert len(machine.asked) == 2 + tried
    assert "set-up stops: torch cannot be imported: OSError: libcudart.so.13" in done.stderr
    assert "PIP_EXTRA_INDEX_URL" in done.stderr
    assert "make distclean env" in done.stderr
    assert "done" not in done.stdout


def test_another_module_that_cannot_be_imported_is_named(machine: Machine) -> None:
    machine.python(lacking="faiss")
    done = machine.run()
    assert done.returncode == 1
    assert "set-up stops: faiss cannot be imported" in done.stderr


def test_pip_that_fails_stops_the_set_up(machine: Machine) -> None:
    python = machine.python()
    python.write_text(python.read_text().replace('echo "Installing', "exit 1; echo"))
    done = machine.run()
    assert done.returncode == 1
    assert "3 of 4" not in done.stdout


def test_binder_and_conda_install_into_their_own_python(machine: Machine) -> None:
    """The same stages and the same lock, so no package is built that `make env` does not build."""
    machine.python()
    done = machine.run(".binder/postBuild")
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.asked[0] == "-m pip install --no-deps -r requirements.lock"
    assert not (machine.folder / ".venv").exists()


def test_make_calls_it_and_serve_waits_for_a_build(tmp_path: Path) -> None:
    shutil.copy2(ROOT / "Makefile", tmp_path / "Makefile")
    done = subprocess.run(
        ["make", "serve"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "nothing is built yet: make book" in done.stderr
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    plan = subprocess.run(
        ["make", "-n", "env", "PYTHON=/a b/python"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert '.ci/env "/a b/python" ".venv"' in plan
