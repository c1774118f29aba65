"""Replicable Simulation-Based Robot Validation through Provenance (arXiv 2605.29973)."""

from typing import TYPE_CHECKING

from lib.core.lazy import exports

if TYPE_CHECKING:
    from lib.robot_provenance.campaign import Scenario, load_vast
    from lib.robot_provenance.export import to_prov, to_rdf
    from lib.robot_provenance.maps import load_grid
    from lib.robot_provenance.navsim import SimConfig, simulate
    from lib.robot_provenance.questions import answer
    from lib.robot_provenance.record import Recorder, Records
else:
    __getattr__, __dir__ = exports(__name__, __file__)

__all__ = [
    "Recorder",
    "Records",
    "Scenario",
    "SimConfig",
    "answer",
    "load_grid",
    "load_vast",
    "simulate",
    "to_prov",
    "to_rdf",
]
