"""Collapse warnings under a matched false-positive contract (arXiv 2606.00329)."""

from typing import TYPE_CHECKING

from lib.core.lazy import exports

if TYPE_CHECKING:
    from lib.collapse_warning.audit import label_leak
    from lib.collapse_warning.contract import FPContract, staircase
    from lib.collapse_warning.detectors import textbook
    from lib.collapse_warning.evaluation import (
        Evaluation,
        evaluate,
        evaluate_all,
        evaluate_scores,
        summary,
    )
    from lib.collapse_warning.panel import Panel
else:
    __getattr__, __dir__ = exports(__name__, __file__)

__all__ = [
    "Evaluation",
    "FPContract",
    "Panel",
    "evaluate",
    "evaluate_all",
    "evaluate_scores",
    "label_leak",
    "staircase",
    "summary",
    "textbook",
]
