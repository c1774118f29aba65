"""The library's reference: one page a package, each module of the method on it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from built import documents

from lib.core.paths import ROOT

PACKAGES = sorted(file.parent.name for file in ROOT.glob("lib/*/__init__.py"))
# What only a chapter's own notebooks need: experiments, the paper's tables and figures,
# and what only the building of these pages does.
STUDY = re.compile(
    r"plots|interactive|study|lm_study|paper|tables|experiments|artefacts|__main__"
    r"|scaffold"
)


def public(file: Path) -> set[str]:
    """Return the functions and classes that a module shows."""
    return {
        node.name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }


def method(package: str) -> dict[str, set[str]]:
    """Return the modules of a package that belong on its page, with their public names."""
    found = {}
    for file in sorted((ROOT / "lib" / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if not any(STUDY.match(part) for part in parts[2:]) and public(file):
            found[".".join(parts).removesuffix(".__init__")] = public(file)
    return found


@pytest.mark.parametrize("package", [name for name in PACKAGES if method(name)])
def test_every_module_of_a_package_is_in_its_reference(package: str) -> None:
    document = f"book/reference/{package}"
    assert document in documents()
    listed = re.findall(
        r"^\.\. automodule:: (\S+)\n   :members:",
        (ROOT / f"{document}.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    assert sorted(listed) == sorted(set(listed))
    assert sorted(set(method(package)) - set(listed)) == []
    known = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in (ROOT / "lib").rglob("*.py")
    }
    assert sorted(set(listed) - known) == []


@pytest.mark.html
@pytest.mark.parametrize("package", [name for name in PACKAGES if method(name)])
def test_what_a_package_exports_is_described_and_in_the_sidebar(
    package: str, pages: dict[str, BeautifulSoup]
) -> None:
    page = pages[f"book/reference/{package}.html"]
    exported = [
        name
        for name in page.select("table.autosummary a.reference")
        if not page.find(id=str(name["href"]).removeprefix("#"))
    ]
    assert exported == []
    described = {tag["id"] for tag in page.select("dt.sig[id]")}
    missing = [
        f"{module}.{name}"
        for module, names in method(package).items()
        for name in sorted(names)
        if f"{module}.{name}" not in described
    ]
    # A module's own list of what it shows decides; the rest is for its neighbours.
    assert [one for one in missing if _shown(one)] == []
    sidebar = pages["book/intro.html"].select(".bd-sidebar-primary a")
    assert any(f"reference/{package}.html" in a["href"] for a in sidebar)


def _shown(dotted: str) -> bool:
    module, _, name = dotted.rpartition(".")
    base = ROOT.joinpath(*module.split("."))
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    listed = re.search(r"^__all__ = (\[.*?\])", file.read_text(encoding="utf-8"), re.S | re.M)
    return listed is None or f'"{name}"' in listed.group(1)
