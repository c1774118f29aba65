"""Autobidding auctions under coarser and finer prediction models (arXiv 2605.31036)."""

from typing import TYPE_CHECKING

from lib.core.lazy import exports

if TYPE_CHECKING:
    from lib.autobidding.bidders import Bidder
    from lib.autobidding.equilibrium import best_response, equilibria_2p, is_equilibrium
    from lib.autobidding.estimation import holdout
    from lib.autobidding.filtrations import Filtration
    from lib.autobidding.logs import Trial, market_from_log
    from lib.autobidding.market import Market
    from lib.autobidding.mechanism import outcome
    from lib.autobidding.pacing import fppe
    from lib.autobidding.verdicts import verdict
else:
    __getattr__, __dir__ = exports(__name__, __file__)

__all__ = [
    "Bidder",
    "Filtration",
    "Market",
    "Trial",
    "best_response",
    "equilibria_2p",
    "fppe",
    "holdout",
    "is_equilibrium",
    "market_from_log",
    "outcome",
    "verdict",
]
