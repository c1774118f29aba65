"""The authors' released files, by registered name only; the one module that needs them.

Everything else in this package runs with no data at all, so this is kept apart: a notebook that
does not import it does not need the data sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lib.core import data
from lib.robot_provenance.campaign import (
    LogicalScenario,
    Repair,
    Resolution,
    load_logical,
    load_vast,
    resolve,
)

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
    files = data.fetch("robovast")
    maps = {
        name.removeprefix(NAVIGATION): file
        for name, file in files.items()
        if name.startswith(NAVIGATION) and name.endswith(".yaml")
    }
    scenarios = load_vast(files[NAVIGATION + "small_dataset.vast"])
    return resolve(scenarios, maps, repairs)


def authors_logical() -> list[LogicalScenario]:
    """Load the logical scenarios of the authors' combined data set."""
    return load_logical(data.path("robovast", "robovast/dataset/navigation_combined.vast"))


def authors_sources() -> dict[str, Path]:
    """Return the files that the small data set is made from, by registered name: maps and plan."""
    files = data.fetch("robovast")
    return {name: file for name, file in files.items() if name.startswith(NAVIGATION)}


def authors_shapes() -> Path:
    """Return the SHACL shapes that the authors release for PROV-O (MPL-2.0)."""
    return data.path("robovast_shapes", "prov.shacl.ttl")
