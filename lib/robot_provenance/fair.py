"""FAIR indicators that files can decide; the others stay undecided.

The indicators are those of the RDA's FAIR Data Maturity Model (2020), by their own names; what
decides each stands in ``fair.yml``, as a SPARQL pattern. Tools that compute one score from a live
address need that address; here there is only a folder, so whether an identifier resolves, a page
can be harvested or a protocol answers is *not decidable*, and no total score is given. Levels and
weights of the model are not used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import rdflib
import yaml

from lib.robot_provenance import crate
from lib.robot_provenance.validation import CONTEXT_FILES, context
from lib.robot_provenance.vocabulary import PREFIXES, SPARQL_HEAD

INDICATORS: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_suffix(".yml").read_text(encoding="utf-8")
)
HERE = "arcp://name,folder/"
_HEAD = f"BASE <{HERE}> PREFIX schema: <http://schema.org/> {SPARQL_HEAD}"


def gather(folder: Path) -> rdflib.Graph:
    """Collect what a folder offers: ``provenance.nt``, the run crate, and its data files.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Graph
        All metadata in RDF; for each data file its path and suffix.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found, rp = rdflib.Graph(), rdflib.Namespace(PREFIXES["rp"])
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if not file.is_file() or any(part.startswith(".") for part in Path(path).parts):
            continue
        if file.name == "provenance.nt":
            found.parse(file, format="nt")
        elif file.name == crate.DESCRIPTOR:
            told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            # With our copies of the contexts: nothing is fetched.
            told["@context"] = [json.loads(context(one))["@context"] for one in CONTEXT_FILES]
            found.parse(data=json.dumps(told), format="json-ld", publicID=HERE)
        elif not file.name.startswith("provenance."):
            name = rdflib.URIRef(HERE + quote(path))
            found.add((name, rp.path, rdflib.Literal(path)))
            if not file.name.upper().startswith("LICENSE"):
                found.add((name, rp.suffix, rdflib.Literal(file.suffix)))
    return found


def assess(offered: rdflib.Graph) -> pd.DataFrame:
    """Decide every indicator that files can decide.

    Parameters
    ----------
    offered : Graph
        From `gather`.

    Returns
    -------
    DataFrame
        Index ``id``; columns ``indicator`` and ``verdict`` (met, not met, not decidable).

    Examples
    --------
    >>> table = assess(rdflib.Graph())
    >>> sorted(set(table["verdict"]))
    ['not decidable', 'not met']
    """
    rows = {}
    for name, one in INDICATORS.items():
        verdict = "not decidable"
        if "ask" in one:
            # One pattern of unrelated parts would be tried in all combinations of their solutions.
            asked = [one["ask"]] if isinstance(one["ask"], str) else one["ask"]
            met = all(offered.query(f"{_HEAD} ASK {{ {part} }}").askAnswer for part in asked)
            verdict = "met" if met else "not met"
        rows[name] = {"indicator": one["text"], "verdict": verdict}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("id")
