"""The authors' released files, by registered name only; the one module that needs them.

Everything else in this package runs with no data at all, so this is kept apart: a notebook that
does not import it does not need the data sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from lib.core import data
from lib.robot_provenance.campaign import Repair, Resolution, entries, load_vast, resolve

NAVIGATION = "robovast/navigation/"


def authors_campaign(repairs: Iterable[Repair] | None = None) -> Resolution:
    """Load the authors' small data set and resolve it against the registered map files only.

    Parameters
    ----------
    repairs : iterable of Repair, optional
        For instance `proposed_repairs` of the campaign without repairs.

    Returns
    -------
    Resolution

    Raises
    ------
    lib.core.data.MissingDataError
        If the data set ``robovast`` cannot be had.
    """
    files = authors_sources()
    maps = {k.removeprefix(NAVIGATION): v for k, v in files.items() if k.endswith(".yaml")}
    scenarios = load_vast(files[NAVIGATION + "small_dataset.vast"])
    return resolve(scenarios, maps, repairs)


def authors_logical() -> pd.DataFrame:
    """Load the logical scenarios of the authors' combined data set.

    Returns
    -------
    DataFrame
        One row a scenario: ``map`` as written; ``steps``, its variations as (type, parameters);
        ``concrete``, how many concrete scenarios it stands for, missing where that depends on the
        map's content.
    """
    rows = []
    counted: dict[str, Callable[[Any], int]] = {
        "PathVariationRandom": lambda given: given["num_paths"],
        "ParameterVariationList": lambda given: len(given["values"]),
        "ObstacleVariation": lambda given: len(given["obstacle_configs"]),
    }
    for one in entries(data.path("robovast", "robovast/dataset/navigation_combined.vast")):
        steps = [(kind, told) for step in one["variations"] for kind, told in step.items()]
        (place,) = {told["map_file"] for _, told in steps if "map_file" in told}
        known = all(kind in counted for kind, _ in steps)
        count = math.prod(counted[kind](told) for kind, told in steps) if known else math.nan
        rows.append((one["name"], place, steps, count))
    return pd.DataFrame(rows, columns=["name", "map", "steps", "concrete"]).set_index("name")


def authors_sources() -> dict[str, Path]:
    """Return the files that the small data set is made from, by registered name: maps and plan."""
    files = data.fetch("robovast")
    return {name: file for name, file in files.items() if name.startswith(NAVIGATION)}


def authors_shapes() -> Path:
    """Return the SHACL shapes that the authors release for PROV-O (MPL-2.0)."""
    return data.path("robovast_shapes", "prov.shacl.ttl")
