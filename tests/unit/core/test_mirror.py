"""Every file of the mirror is registered with the manifest's digest, or named as left out."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pytest

from lib.core.data import registry
from lib.core.ledger import load_contents
from lib.core.paths import ROOT

MIRROR = Path(os.environ.get("BOOK_DATA_MIRROR") or "no mirror")
LEFT_OUT = re.findall(r"^\| `([^`]+/[^`]+)` \|", (ROOT / "data" / "README.md").read_text(), re.M)


@pytest.fixture(scope="module")
def manifest() -> dict[str, dict[str, str]]:
    if not (MIRROR / "MANIFEST.tsv").is_file():
        pytest.skip("BOOK_DATA_MIRROR names no folder with a MANIFEST.tsv")
    with (MIRROR / "MANIFEST.tsv").open(encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file, delimiter="\t")}


def registered() -> dict[str, tuple[str, str, int, str | None]]:
    """Return digest, size, address and revision by path in the mirror."""
    return {
        one.name: (one.sha256, one.url or "", one.bytes, entry.revision)
        for entry in registry().values()
        for one in entry.files
        if one.url
    }


def test_no_file_of_the_mirror_is_forgotten(manifest: dict[str, dict[str, str]]) -> None:
    assert sorted(manifest.keys() - registered().keys()) == sorted(LEFT_OUT)


def test_the_registry_says_what_the_manifest_says(manifest: dict[str, dict[str, str]]) -> None:
    for path, (sha256, url, size, revision) in registered().items():
        row = manifest[path]
        assert (sha256, size, revision) == (row["sha256"], int(row["bytes"]), row["revision"])
        assert f"/{row['repository']}/{row['revision']}/" in url


def test_every_set_is_used_by_a_chapter_of_the_book() -> None:
    chapters = {entry.slug for entry in load_contents()}
    for name, entry in registry().items():
        assert entry.used_by, name
        assert set(entry.used_by) <= chapters, name
        assert all([entry.licence, entry.citation]), name
