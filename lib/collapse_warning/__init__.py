"""Collapse warnings under a matched false-positive contract (arXiv 2606.00329)."""

from lib.collapse_warning.contract import FPContract
from lib.collapse_warning.evaluate import Evaluation, evaluate, evaluate_all
from lib.collapse_warning.panel import Panel

__all__ = ["Evaluation", "FPContract", "Panel", "evaluate", "evaluate_all"]
