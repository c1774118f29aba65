"""Replicable Simulation-Based Robot Validation through Provenance (arXiv 2605.29973)."""

from typing import TYPE_CHECKING

from lib.core.lazy import exports

if TYPE_CHECKING:
    from lib.robot_provenance.audit import replay
    from lib.robot_provenance.campaign import Scenario, load_vast, resolve
    from lib.robot_provenance.export import serialize, to_prov, to_rdf
    from lib.robot_provenance.maps import load_grid
    from lib.robot_provenance.record import Recorder, Records
else:
    __getattr__, __dir__ = exports(__name__, __file__)

__all__ = [
    "Recorder",
    "Records",
    "Scenario",
    "load_grid",
    "load_vast",
    "replay",
    "resolve",
    "serialize",
    "to_prov",
    "to_rdf",
]
