"""Intervals and tests that chapters share: for one mean, over clusters, shares and equivalence.

Of means, every function takes one value a cluster (a prompt, a person, a seed), or values with the
cluster of each. What varies within a cluster is averaged away first: clusters of any size count
the same, and the number that inference rests on is that of the clusters.
"""

from typing import TYPE_CHECKING

from lib.core.lazy import exports

if TYPE_CHECKING:
    from lib.stats.equivalence import Equivalence, equivalent, equivalent_groups
    from lib.stats.intervals import (
        Interval,
        bootstrap_t,
        percentile,
        sign_flip,
        t_interval,
        wild_cluster,
    )
    from lib.stats.shares import binomial, independent_shares, paired_shares
else:
    __getattr__, __dir__ = exports(__name__, __file__)

__all__ = [
    "Equivalence",
    "Interval",
    "binomial",
    "bootstrap_t",
    "equivalent",
    "equivalent_groups",
    "independent_shares",
    "paired_shares",
    "percentile",
    "sign_flip",
    "t_interval",
    "wild_cluster",
]
