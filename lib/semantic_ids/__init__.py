"""LLMs Need Encoders for Semantic IDs Too (arXiv 2606.00324).

Catalogues and their tries (`catalogue`), data sets (`datasets`), our own tokenizer (`tokenizer`),
prefix hashes (`hashing`), the static count table (`counts`) and what a code tree looks like
(`anatomy`). Models, training and evaluation are in modules of their own; what only the chapter's
notebooks need is in `study`.
"""

from typing import TYPE_CHECKING

from lib.core.lazy import exports

if TYPE_CHECKING:
    from lib.semantic_ids.catalogue import SidCatalog
    from lib.semantic_ids.counts import NGramCounts
    from lib.semantic_ids.datasets import load
    from lib.semantic_ids.hashing import PrefixHash
    from lib.semantic_ids.lm import attach
    from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig
    from lib.semantic_ids.transformer import GenerativeTransformer
else:
    __getattr__, __dir__ = exports(__name__, __file__)

__all__ = [
    "GenerativeTransformer",
    "NGramCounts",
    "PrefixHash",
    "PrefixMem",
    "PrefixMemConfig",
    "SidCatalog",
    "attach",
    "load",
]
