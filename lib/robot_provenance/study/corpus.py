"""The validity cases that the ``prov`` wheel ships, and two verdicts on each.

The wheel carries 153 cases of ProvToolbox in PROV-XML, 7 of the W3C Provenance Working Group and 14
in PROV-JSON under ``prov/tests/unification``. Their file names say whether each is meant to be
valid. A case here keeps the name as a label to compare with; what an engine sees is the parsed
document alone.

None of them exercises event ordering (30 to 49); for that there are cases of ours, in the tests.
"""

from __future__ import annotations

import io
import re
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pandas as pd
import yaml
from prov.model import ProvDocument

from lib.robot_provenance.constraints import check

DISPUTED: Final[dict[str, str]] = yaml.safe_load(
    Path(__file__).with_name("disputed.yml").read_text(encoding="utf-8")
)
"""Cases whose file name contradicts the Recommendation, and why; the files predate it."""
COLUMNS = ("source", "labelled_valid", "valid", "adapted", "document")


# A bundle, not the argument of a mention, which is an empty element with prov:ref.
_BUNDLE: Final = re.compile(rb"<(/?)prov:bundle(?=>| prov:id)")


def load() -> pd.DataFrame:
    """Parse every shipped case, in the order of the file names.

    Returns
    -------
    DataFrame
        One row a case, by its file name without ending: ``source`` (provtoolbox, w3c or prov);
        ``labelled_valid``, what the file name says; ``valid``, the same, turned round where it
        contradicts the Recommendation; ``adapted``, whether a tag had to be renamed before ``prov``
        could read the file (three use ``prov:bundle`` where PROV-XML has ``prov:bundleContent``);
        ``document``, the parsed content.

    Raises
    ------
    FileNotFoundError
        If the installed ``prov`` does not carry its cases.
    """
    folder = files("prov.tests") / "unification"
    found = [*folder.iterdir(), *(folder / "constraints").iterdir()] if folder.is_dir() else []
    rows = {}
    for entry in sorted(found, key=lambda e: e.name):
        stem, _, ending = entry.name.rpartition(".")
        if ending not in ("xml", "provx", "json"):
            continue
        source = {"xml": "provtoolbox", "provx": "w3c", "json": "prov"}[ending]
        content = entry.read_bytes()
        adapted = content
        if source == "provtoolbox":
            adapted = _BUNDLE.sub(rb"<\1prov:bundleContent", content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            form = "json" if ending == "json" else "xml"
            document = ProvDocument.deserialize(io.BytesIO(adapted), format=form)
        valid = re.search(r"fail", stem, re.IGNORECASE) is None
        told = (source, valid, valid ^ (stem in DISPUTED), adapted != content, document)
        rows[stem] = dict(zip(COLUMNS, told, strict=True))
    if not rows:
        raise FileNotFoundError("the installed prov package carries no unification cases")
    return pd.DataFrame.from_dict(rows, orient="index")


def unified(document: ProvDocument) -> list[str]:
    """Return why ``prov``'s own ``unified()`` refuses a document; nothing if it does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            document.unified()
        except Exception as error:
            return [f"{type(error).__name__}: {error}"]
    return []


def verdicts() -> pd.DataFrame:
    """Judge every case by this engine and by ``prov``'s own ``unified()``.

    Returns
    -------
    DataFrame
        As of `load`, but for the documents; and ``engine_rejects``, ``unified_rejects`` and
        ``codes``, what the engine found.
    """
    cases = load()
    reports = [check(one) for one in cases["document"]]
    found: dict[str, list[Any]] = {
        "engine_rejects": [not one.valid for one in reports],
        "unified_rejects": [bool(unified(one)) for one in cases["document"]],
        "codes": [[v.code for v in one.violations] for one in reports],
    }
    return cases.drop(columns="document").assign(**found)
