"""What chapters share around language models: the weights of a small one that runs anywhere."""

from typing import TYPE_CHECKING

from lib.core.lazy import exports

if TYPE_CHECKING:
    from lib.llm.weights import checkpoint
else:
    __getattr__, __dir__ = exports(__name__, __file__)

__all__ = ["checkpoint"]
