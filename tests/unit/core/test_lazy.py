"""Packages export a few names, each from its module, and import none of them before it is asked."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lib.core.lazy import declared, exports
from lib.core.ledger.claims import chapter_slugs
from lib.core.paths import ROOT

PACKAGES = [slug.partition("_")[2] for slug in chapter_slugs()]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_exports_five_to_a_dozen_names(name: str) -> None:
    package = import_module(f"lib.{name}")
    (claims,) = (ROOT / "book").glob(f"ch*_{name}/claims.yml")
    if "This chapter is a skeleton." in claims.read_text(encoding="utf-8"):
        pytest.skip("a skeleton exports nothing yet")
    assert 5 <= len(package.__all__) <= 12
    homes = declared(Path(str(package.__file__)))
    for exported in package.__all__:
        found = getattr(package, exported)
        if exported in homes:
            assert found is getattr(import_module(homes[exported]), exported)
            # Importing such a module would put it in the name's place.
            assert not (Path(str(package.__file__)).parent / f"{exported}.py").exists()
    assert set(homes) <= set(package.__all__)


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys, lib.semantic_ids as s; assert 'PrefixMem' in dir(s); "
        "assert not {'torch', 'lib.semantic_ids.prefixmem'} & sys.modules.keys(); "
        "from lib.semantic_ids import PrefixMem; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_unknown_name_is_an_attribute_error(tmp_path: Path) -> None:
    file = tmp_path / "__init__.py"
    file.write_text("if TYPE_CHECKING:\n    from math import pi, tau\n")
    get, names = exports("pack", str(file))
    assert names() == ["pi", "tau"]
    assert get("pi") > 3
    with pytest.raises(AttributeError, match="module 'pack' has no attribute 'e'"):
        get("e")
