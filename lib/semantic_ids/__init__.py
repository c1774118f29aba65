"""LLMs Need Encoders for Semantic IDs Too (arXiv 2606.00324).

Catalogues and their tries (`catalogue`), data sets (`datasets`), our own tokenizer (`tokenizer`),
prefix hashes (`hashing`), the static count table (`counts`), what a code tree looks like
(`anatomy`), what additive embeddings cannot say (`expressive`), and a simulated world
(`synthetic`). Models, training and evaluation are in modules of their own.
"""

from lib.semantic_ids.catalogue import SidCatalog, StaleRowsError
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import SidData, load
from lib.semantic_ids.hashing import CatalogRows, PerfectHash, PrefixHash

__all__ = [
    "CatalogRows",
    "NGramCounts",
    "PerfectHash",
    "PrefixHash",
    "SidCatalog",
    "SidData",
    "StaleRowsError",
    "load",
]
