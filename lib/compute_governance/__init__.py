"""Does Distributed Training Undermine Compute Governance? (arXiv 2605.29359).

A regulator's analysis: how robust a threshold on computing clusters is, what a countermeasure buys
and what burden it causes. Written from the formulas of the paper's repository, which has no
licence; nothing of its code is used.
"""

from typing import TYPE_CHECKING

from lib.core.lazy import exports

if TYPE_CHECKING:
    from lib.compute_governance.exposure import cheapest_under, frontier
    from lib.compute_governance.fits import bootstrap
    from lib.compute_governance.hardware import Chip, Node, catalogue
    from lib.compute_governance.planner import (
        Assumptions,
        InfeasibleError,
        Network,
        branch_search,
        plan,
    )
    from lib.compute_governance.regime import Regime
else:
    __getattr__, __dir__ = exports(__name__, __file__)

__all__ = [
    "Assumptions",
    "Chip",
    "InfeasibleError",
    "Network",
    "Node",
    "Regime",
    "bootstrap",
    "branch_search",
    "catalogue",
    "cheapest_under",
    "frontier",
    "plan",
]
