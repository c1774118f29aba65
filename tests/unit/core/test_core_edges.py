"""The small modules of core at their last good and first bad values, and their constants."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import io
import json
import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import altair as alt
import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
import toydata
import yaml
from PIL import Image
from toydata import CONTENT, REVISION

from lib.core import check, data, figures, paths, processes, sources
from lib.core.data import DataError, DigestError, MissingDataError
from lib.core.lazy import declared
from lib.core.paths import atomic, write_atomic

# --- checks ---------------------------------------------------------------------------------------


def test_the_largest_whole_number_of_an_array() -> None:
    # Below 2^63 floats have steps of 1024.
    last = 2.0**63 - 1024
    assert check.integers("k", [last, -last]).tolist() == [2**63 - 1024, -(2**63) + 1024]
    for bad in (2.0**63, -(2.0**63)):
        with pytest.raises(ValueError, match=r"k\[0\] is -?9\.22\d+e\+18, expected a whole"):
            check.integers("k", [bad])


def test_a_share_just_beyond_one() -> None:
    assert check.shares("p", [0.0, 1.0]).tolist() == [0.0, 1.0]
    for bad in (1.0000001, -0.0000001):
        with pytest.raises(ValueError, match=r"p is .* expected a share from 0 to 1"):
            check.share("p", bad)


@pytest.mark.parametrize("function", [check.array, check.integers, check.shares])
def test_an_empty_array_will_not_do_unless_it_is_said(function: Any) -> None:
    with pytest.raises(ValueError, match=r"x is empty \(shape \(0,\)\)"):
        function("x", [])


def test_the_names_of_twenty_options_are_all_shown() -> None:
    with pytest.raises(ValueError, match=r"expected one of: 0, 1, .*, 18, 19$"):
        check.known("k", None, range(20))
    with pytest.raises(ValueError, match=r", 18, 19 … \(22 in all\)$"):
        check.known("k", None, range(22))


def test_times_as_objects() -> None:
    assert check.ordered("t", [1, 2**70, 2**70]).tolist() == [1, 2**70, 2**70]
    with pytest.raises(ValueError, match=r"t\[1\] is True, expected a time or a number"):
        check.ordered("t", [2**70, True, 3])


# --- figures --------------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    caught: list[dict[str, Any]] = []
    monkeypatch.setattr(figures, "display", lambda bundle, **_: caught.append(bundle))
    return caught


def line(**more: Any) -> Any:
    fig, ax = plt.subplots(**more)
    ax.plot([1, 2])
    return fig


def test_a_drawing_of_just_the_largest_size_stays_a_drawing(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert figures.LARGEST_DRAWING == 120_000
    figures.use()
    figures.show(line(), alt="A", caption="C")
    length = len(shown[0]["image/svg+xml"])
    for largest, kind in ((length, "image/svg+xml"), (length - 1, "image/png")):
        monkeypatch.setattr(figures, "LARGEST_DRAWING", largest)
        figures.show(line(), alt="A", caption="C")
        assert kind in shown[-2]


def test_a_caption_keeps_its_quotation_marks(shown: list[dict[str, Any]]) -> None:
    figures.show(line(), alt="A", caption="""It's "up" & <so>.""")
    assert shown[1]["text/html"] == (
        '<p class="figure-caption mathjax_process">It\'s "up" &amp; &lt;so&gt;.</p>'
    )


def test_a_picture_is_packed_with_a_palette_and_keeps_transparency() -> None:
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    for x in range(64):
        for y in range(32):
            picture.putpixel((x, y), (4 * x, 8 * y, 90, 255))
    source = io.BytesIO()
    picture.save(source, format="png")
    small = figures._small(source)
    with Image.open(io.BytesIO(small)) as again:
        assert again.mode == "P"
        assert len(again.getcolors() or ()) <= 256
        assert again.convert("RGBA").getpixel((5, 60))[3] == 0
    # The first bytes of the pixels name the level of compression: zlib's highest.
    assert small.partition(b"IDAT")[2][:2] == b"\x78\xda"


def test_what_a_chart_says_of_itself_and_in_which_order(shown: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame({"x": [1], "name": ["ä"]})
    bare = alt.Chart(frame).mark_point().encode(x="x")
    figures.show_chart(bare, alt="A dot", caption="C")
    figures.show_chart(bare.properties(description="Its own"), alt="A dot", caption="C")
    (mime,) = (key for key in shown[0] if "vegalite" in key)
    assert [one[mime]["description"] for one in shown] == ["A dot", "Its own"]
    text = shown[0]["text/html"].partition('data-for="')[2].partition(">")[2].partition("</")[0]
    # The same text on each machine: keys in order, no blanks, no letter beyond ASCII.
    wanted = json.dumps(shown[0][mime], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert text == wanted
    assert "\\u00e4" in text
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    assert f'id="chart-{digest}"' in shown[0]["text/html"]


def test_the_default_size_and_the_markers() -> None:
    assert figures.SIZE == (7.0, 4.0)
    assert len(set(figures.MARKERS)) == 7
    assert figures.colors(8)[-1] == mpl.colors.to_hex(mpl.colormaps["cividis"](0.7))


# --- paths ----------------------------------------------------------------------------------------


def test_all_folders_on_the_way_are_made(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c.txt"
    assert write_atomic(target, "x").read_text() == "x"


def test_an_error_is_the_one_that_is_told_even_where_the_part_is_gone(tmp_path: Path) -> None:
    def lose() -> None:
        with atomic(tmp_path / "b.txt") as file:
            Path(file.name).unlink()
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        lose()
    assert list(tmp_path.iterdir()) == []


def run_elsewhere(module: ModuleType, root: Path) -> Any:
    """Run a module of core as if it lay below another root."""
    file = root / "lib" / "core" / Path(str(module.__file__)).name
    write_atomic(file, Path(str(module.__file__)).read_bytes())
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_elsewhere", file)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def kept(found: Any) -> list[Path]:
    return [found.ROOT, found.CACHE, found.RESULTS]


def test_where_things_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BOOK_CACHE", "BOOK_RESULTS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    # Without a book around it, in the folder for caches of whoever calls.
    found = run_elsewhere(paths, tmp_path / "wheel")
    name = "ten-papers-executable"
    assert kept(found)[:2] == [tmp_path / "wheel", tmp_path / "home" / ".cache" / name]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    found = run_elsewhere(paths, tmp_path / "wheel")
    assert kept(found)[1] == tmp_path / "caches" / name
    write_atomic(tmp_path / "book" / "_config.yml", "")
    found = run_elsewhere(paths, tmp_path / "book")
    cache = tmp_path / "book" / ".cache"
    assert kept(found)[1:] == [cache, cache / "sweeps"]
    monkeypatch.setenv("BOOK_CACHE", "~/mine")
    monkeypatch.setenv("BOOK_RESULTS", "~/other")
    found = run_elsewhere(paths, tmp_path / "book")
    assert kept(found)[1:] == [tmp_path / "home/mine", tmp_path / "home/other"]


# --- processes ------------------------------------------------------------------------------------


def test_a_process_looks_for_its_parent_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    parents, waits = iter([7, 7, 8]), []
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    clock = SimpleNamespace(sleep=waits.append)
    monkeypatch.setattr(processes, "time", clock)

    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as left:
        processes._watch(7)
    assert left.value.code == 1
    assert waits == [0.5, 0.5]


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_who_ends_with_a_parent(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []
    asked: list[tuple[int, int]] = []

    class Thread:
        def __init__(self, **options: Any) -> None:
            self.options = options

        def start(self) -> None:
            started.append(self.options)

    class Library:
        def __init__(self, name: None) -> None:
            assert name is None

        def prctl(self, option: int, value: int) -> None:
            asked.append((option, value))

    monkeypatch.setattr(threading, "Thread", Thread)
    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "getppid", lambda: 77)
    processes.pytest_configure(None)
    # A thread that is no daemon would keep the process alive after its work.
    assert started == [{"target": processes._watch, "args": (77,), "daemon": True}]
    assert asked == ([(1, signal.SIGKILL)] if platform == "linux" else [])


# --- sources --------------------------------------------------------------------------------------


def test_only_what_is_for_type_checkers_is_declared(tmp_path: Path) -> None:
    file = tmp_path / "pack.py"
    file.write_text(
        "import os\nif OTHER:\n    from a import b\nif TYPE_CHECKING:\n    import c\n"
        "    from d.e import f as g, h\n    x = 1\nif x > 1:\n    from i import j\n"
    )
    assert declared(file) == {"f": "d.e", "h": "d.e"}


def test_lines_for_ipython_are_left_out() -> None:
    tree = sources.parse("%matplotlib inline\n  !ls\nx = 1\ny = 5 % 2")
    assert len(tree.body) == 2


def test_what_moves_a_digest_and_which_texts_a_file_holds(tmp_path: Path) -> None:
    file = tmp_path / "one.py"

    def said(text: str) -> tuple[str, frozenset[str]]:
        file.write_text(text)
        file.touch()
        sources._facts.cache_clear()
        return sources.code_digest(file), sources.texts(file)

    plain, texts = said("x = 'a text', 3\n\n\ndef f():\n    return 'inner'\n")
    assert texts == {"a text", "inner"}
    worded = (
        '"""Doc."""\nx = (\'a text\', 3)  # why\n"""Below."""\n\n'
        'def f():\n    """Doc."""\n    return "inner"\n'
    )
    assert said(worded) == (plain, texts)
    for other in (
        "x = 'a text', 4\n\n\ndef f():\n    return 'inner'\n",
        "x = 'a text', 3\n\n\ndef f():\n    return 'outer'\n",
        "x = 'a text', 3\n\n\ndef f():\n    g()\n    return 'inner'\n",
        "x = 'a text', 3\n\n\ndef f():\n    3\n    return 'inner'\n",
    ):
        assert said(other)[0] != plain


def test_pins_without_comments_and_order(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("# pins\nb==2\n\na==1\n")
    assert sources.lock_digest(tmp_path) == hashlib.sha256(b"a==1\nb==2").hexdigest()
    lock.unlink()
    installed = SimpleNamespace(
        distributions=lambda: [SimpleNamespace(name=name, version="1") for name in ("z", "y")]
    )
    before, sources.metadata = sources.metadata, installed  # type: ignore[assignment]
    try:
        assert sources.lock_digest(tmp_path) == hashlib.sha256(b"y==1\nz==1").hexdigest()
    finally:
        sources.metadata = before


def test_top_level_names_alone(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("from . import sibling\nfrom .sub import thing\nfrom a.b import c\n")
    codes = [
        "import d.e as f\nfrom g import h",
        "if TYPE_CHECKING:\n    import never\nelse:\n    import i\nif OTHER:\n    import j\n",
    ]
    assert sources.imported(codes, [file]) == {"a", "d", "g", "i", "j"}


def test_resources_are_what_lies_in_the_folders_of_packages(tmp_path: Path) -> None:
    for name in ("lib/__init__.py", "lib/one/__init__.py", "lib/two/__init__.py", "lib/one/m.py"):
        write_atomic(tmp_path / name, "")
    for name in ("one/a.ttl", "one/sub/b.lean", "one/c.md", "one/d.part", "two/e.ttl", "f.json"):
        write_atomic(tmp_path / "lib" / name, "")
    (tmp_path / "lib/one/link.yml").symlink_to(tmp_path / "lib/one/a.ttl")
    (tmp_path / "lib/one/folder.x").mkdir()

    def found(*files: str) -> list[str]:
        listed = sources.resources([tmp_path / "lib" / name for name in files], tmp_path)
        return [path.relative_to(tmp_path / "lib").as_posix() for path in listed]

    assert found("one/__init__.py") == ["one/a.ttl", "one/sub/b.lean"]
    assert found("one/m.py", "two/__init__.py") == ["two/e.ttl"]
    assert found("__init__.py") == ["f.json"]


def test_an_import_closure_goes_on_after_what_is_known_left_out_or_not_ours(
    tmp_path: Path,
) -> None:
    for name, text in {
        "lib/__init__.py": "",
        "lib/a.py": "import os\nimport lib.b\nimport lib.c\nimport lib.skipped\n",
        "lib/b.py": "import lib.a\n",
        "lib/c.py": "import lib\n",
        "lib/skipped.py": "import lib.d\n",
        "lib/d.py": "",
    }.items():
        write_atomic(tmp_path / name, text)
    codes = ["import os", "import lib.a", "import sys", "import lib.nowhere.deep"]
    found = sources.import_closure(codes, tmp_path, {"lib.skipped"})
    assert sorted(found) == ["lib", "lib.a", "lib.b", "lib.c"]
    for order in (codes, codes[::-1]):
        assert sorted(sources.import_closure(order, tmp_path)) == [
            *("lib", "lib.a", "lib.b", "lib.c", "lib.d", "lib.skipped"),
        ]


# --- data -----------------------------------------------------------------------------------------


entry = partial(toydata.entry, "http://127.0.0.1:9")


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what registers sets, with an empty mirror and cache."""
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("BOOK_DATA_MIRROR", str(tmp_path / "mirror"))

    def these(**sets: dict[str, Any]) -> Path:
        registry = tmp_path / "registry.yml"
        registry.write_text(yaml.safe_dump(sets))
        monkeypatch.setattr(data, "REGISTRY", registry)
        data.registry.cache_clear()
        return tmp_path / "mirror"

    yield these
    data.registry.cache_clear()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bytes": "8"}, "bytes is '8', expected a positive integer"),
        ({"bytes": 8.0}, r"bytes is 8\.0, expected a positive"),
        ({"mirror": "/toy.csv"}, "stays below its folder"),
        ({"mirror": "a/../../toy.csv"}, "stays below its folder"),
        ({"url": None}, "url is None, expected an address pinned"),
        ({"revision": None}, "expected an address pinned"),
        ({"revision": "abd"}, "expected an address pinned"),
        ({"sha256": "A" * 64}, "expected 64 hexadecimal digits"),
        ({"sha256": "0" * 65}, "expected 64 hexadecimal digits"),
    ],
)
def test_an_entry_that_could_not_be_verified(
    register: Any, changes: dict[str, Any], message: str
) -> None:
    register(toy=entry(**changes))
    with pytest.raises(DataError, match=message):
        data.registry()


def packaged(**changes: Any) -> dict[str, Any]:
    file = {"member": "toy/toy.csv", "bytes": 8, "sha256": hashlib.sha256(CONTENT).hexdigest()}
    made = entry() | {"package": "toys", "version": "1.0", "files": [file]} | changes
    del made["repository"], made["revision"]
    return made


def test_a_set_in_a_package_needs_no_address_but_a_version(register: Any) -> None:
    register(toy=packaged())
    found = data.registry()["toy"]
    assert (found.package, found.version, found.files[0].url) == ("toys", "1.0", None)
    register(toy=packaged(version=1.0))
    with pytest.raises(DataError, match=r"version is 1\.0, expected a text such as '1\.0'"):
        data.registry()


def test_a_file_of_one_byte_is_one(register: Any) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    mirror = register(toy=entry(bytes=1, sha256=digest))
    file = write_atomic(mirror / "toy/toy.csv", b"x")
    assert data.path("toy") == file


def test_which_file_of_two_is_to_be_said(register: Any) -> None:
    one = entry()["files"][0]
    mirror = register(toy=entry(files=[one, one | {"mirror": "toy/two.csv"}]))
    for name in ("toy.csv", "two.csv"):
        write_atomic(mirror / "toy" / name, CONTENT)
    assert data.path("toy", "two.csv") == mirror / "toy/two.csv"
    wanted = r"'toy': 2 files match None, expected one of: toy/toy\.csv, toy/two\.csv"
    with pytest.raises(DataError, match=wanted):
        data.path("toy")
    assert list(data.fetch("toy")) == ["toy/toy.csv", "toy/two.csv"]


def test_a_package_that_is_not_there_or_lacks_the_file(
    register: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(toy=packaged(package="no-such-toys"))
    advice = "pip install --no-deps no-such-toys==1.0"
    with pytest.raises(MissingDataError, match=f"toy: no-such-toys is missing.*{advice}"):
        data.package_file("toy")
    register(toy=packaged())
    there = SimpleNamespace(version="1.0", locate_file=lambda name: tmp_path / name)
    monkeypatch.setattr(data.metadata, "distribution", lambda name: there)
    with pytest.raises(MissingDataError, match="missing from toys"):
        data.package_file("toy")
    file = write_atomic(tmp_path / "toy/toy.csv", CONTENT)
    assert data.package_file("toy") == file
    assert data._locate(data.registry()["toy"], data.registry()["toy"].files[0])[1] == "package"
    write_atomic(file, CONTENT[::-1])
    with pytest.raises(DigestError, match="sha256 is not the registered"):
        data.package_file("toy")


def test_an_answer_is_kept_as_long_as_the_file_is_the_same(
    register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = register(toy=entry())
    file = write_atomic(mirror / "toy/toy.csv", CONTENT)
    os.utime(file, ns=(5, 5))
    read: list[Path] = []
    real = data._sha256
    monkeypatch.setattr(data, "_sha256", lambda one: read.append(one) or real(one))
    assert data.path("toy") == data.path("toy") == file
    assert len(read) == 1
    file.write_bytes(CONTENT)
    os.utime(file, ns=(6, 6))
    data.path("toy")
    assert len(read) == 2


def test_a_download_says_nothing(
    register: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import pooch

    register(toy=entry())
    asked: list[tuple[Any, dict[str, Any]]] = []

    def retrieve(url: str, **options: Any) -> None:
        asked.append((url, options))
        write_atomic(Path(options["path"]) / options["fname"], CONTENT)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    pooch.get_logger().setLevel("INFO")
    target = tmp_path / "cache/data/toy/toy.csv"
    assert data.path("toy") == target
    assert pooch.get_logger().level == logging.WARNING
    options = {"path": target.parent, "fname": "toy.csv", "progressbar": False}
    options["known_hash"] = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert asked == [(f"http://127.0.0.1:9/{REVISION}/toy.csv", options)]
    assert capfd.readouterr() == ("", "")


def test_a_list_with_a_missing_and_a_wrong_file_fails(
    register: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = entry(mirror="wrong.csv", title="Wrong")
    mirror = register(toy=entry(), wrong=wrong, good=entry(mirror="good.csv"))
    write_atomic(mirror / "wrong.csv", CONTENT[::-1])
    good = write_atomic(mirror / "good.csv", CONTENT)
    assert data.main(["--fetch", "toy", "wrong"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["toy: Toy", "  licence: none"]
    assert lines[2].startswith("  not here: toy/toy.csv is neither in the mirror")
    assert "wrong: Wrong" in lines
    assert any(one.startswith(f"  WRONG: {mirror}/wrong.csv: the sha256") for one in lines)
    assert data.main(["good"]) == 0
    assert capsys.readouterr().out == (f"good: Toy\n  licence: none\n  mirror, verified: {good}\n")
    assert data.main(["toy"]) == 0  # not asked to be had
    assert "not in the mirror, not in the cache" in capsys.readouterr().out
    assert data.main(["wrong"]) == 1


def test_the_registry_is_that_of_the_repository() -> None:
    # The copy beside the code is for an installed wheel.
    assert data.REGISTRY == paths.ROOT / "data" / "registry.yml"
    assert data.REGISTRY.is_file()


def test_whether_data_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, wanted in (("required", True), ("", False), ("optional", False)):
        monkeypatch.setenv("BOOK_DATA", value)
        assert data.required() is wanted
    monkeypatch.delenv("BOOK_DATA")
    assert data.required() is False


def test_no_mirror_is_named_and_one_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/reader")
    monkeypatch.setenv("BOOK_DATA_MIRROR", "~/data")
    assert data._mirror() == Path("/home/reader/data")
    monkeypatch.setenv("BOOK_DATA_MIRROR", "")
    assert data._mirror() is None


def test_keys_that_are_lists_are_no_double(tmp_path: Path) -> None:
    file = tmp_path / "registry.yml"
    file.write_text("? [a]\n: 1\n? [b]\n: 2\n")
    with pytest.raises(yaml.YAMLError, match="unhashable key"):
        data.registry(file)
    empty = tmp_path / "empty.yml"
    empty.write_text("")
    assert data.registry(empty) == {}
