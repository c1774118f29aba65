"""Which part of the lock a piece of code reaches, on packages that are made up."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from lib.core import pins as module
from lib.core.pins import pins

HOMES = {"yaml": ["PyYAML"], "prov": ["prov"], "space": ["one", "two"], "odd": ["Not_Locked"]}
REQUIRES = {
    "prov": [
        "deep>=1",
        "xml-only; extra == 'xml'",
        "docs-only; extra == 'docs'",
        "windows-only; sys_platform == 'win32'",
        "carrier[fast]",
    ],
    "carrier": ["speed; extra == 'fast'", "slow; extra == 'slow'"],
    "deep": ["prov", "Deeper.Still"],
    "one": [],
    "two": None,
}
LOCK = """# a comment==1
PyYAML==6.0
prov==2.0
deep==1.0
deeper-still==1.1
xml_only==3.0
docs-only==3.1
windows-only==3.2
carrier==4.0
speed==4.1
slow==4.2
one==5.1

two==5.2
ipykernel==7.0
nbclient==0.1
unreached==9.9
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def requires(name: str) -> list[str] | None:
        if name in ("ipykernel", "nbclient"):
            raise metadata.PackageNotFoundError(name)
        return REQUIRES.get(name)

    monkeypatch.setattr(metadata, "packages_distributions", lambda: HOMES)
    monkeypatch.setattr(metadata, "requires", requires)
    module._homes.cache_clear()
    module._requirements.cache_clear()
    (tmp_path / "requirements.lock").write_text(LOCK)
    (tmp_path / "pyproject.toml").write_text(
        "[project]\ndependencies = ['x', \"prov[xml]==2.0\"]\n"
    )
    return tmp_path


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    module._homes.cache_clear()
    module._requirements.cache_clear()


KERNEL = {"ipykernel": "7.0", "nbclient": "0.1"}


@pytest.mark.parametrize(
    ("code", "reached"),
    [
        ("import os, nowhere, lib.core", {}),
        ("import yaml.nodes as n", {"pyyaml": "6.0"}),
        ("def later():\n    from yaml import load", {"pyyaml": "6.0"}),
        # A namespace that several packages share reaches each of them.
        ("import space.x", {"one": "5.1", "two": "5.2"}),
        ("import odd", {}),
        ("from .yaml import x\nfrom . import prov", {}),
        (
            "import prov",
            {
                "prov": "2.0",
                "deep": "1.0",
                "deeper-still": "1.1",
                # The project asks for prov[xml], prov for carrier[fast]; nobody for the others.
                "xml-only": "3.0",
                "carrier": "4.0",
                "speed": "4.1",
                # Whatever the system, for the key is the same everywhere.
                "windows-only": "3.2",
            },
        ),
    ],
)
def test_what_is_reached(root: Path, code: str, reached: dict[str, str]) -> None:
    assert pins([code], [], root) == KERNEL | reached
    file = root / "module.py"
    file.write_text(code)
    assert pins([], [file], root) == KERNEL | reached


def test_an_extra_that_the_project_does_not_ask_for_is_not_reached(root: Path) -> None:
    (root / "pyproject.toml").write_text("[project]\ndependencies = ['prov==2.0']\n")
    assert "xml-only" not in pins(["import prov"], [], root)
    (root / "pyproject.toml").unlink()
    assert "xml-only" not in pins(["import prov"], [], root)
    assert pins(["import prov"], [], root)["speed"] == "4.1"
