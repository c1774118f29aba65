"""UniPinRec: unifying generative retrieval and ranking at Pinterest scale (arXiv 2606.00422).

Logs and blended examples (`examples`), actions and their mask (`actions`), attention (`attention`),
the model and its cache (`model`), losses (`losses`), training (`training`) and metrics
(`evaluation`), a pool of caches in shared memory (`pool`), serving in one process or two
(`serving`), and what it costs (`flops`).
"""

from typing import TYPE_CHECKING

from lib.core.lazy import exports

if TYPE_CHECKING:
    from lib.unified_ranking.actions import ActionVocab
    from lib.unified_ranking.examples import join, read_log, sessions
    from lib.unified_ranking.model import ModelConfig, UnifiedRanker
    from lib.unified_ranking.serving import Request, Retriever, Stack, recommend
    from lib.unified_ranking.training import TrainConfig, train
else:
    __getattr__, __dir__ = exports(__name__, __file__)

__all__ = [
    "ActionVocab",
    "ModelConfig",
    "Request",
    "Retriever",
    "Stack",
    "TrainConfig",
    "UnifiedRanker",
    "join",
    "read_log",
    "recommend",
    "sessions",
    "train",
]
