"""Figure 5 of arXiv 2606.00329: the three witnesses on the perplexities of a recursive collapse.

The perplexities are those of Shumailov et al. (2024), digitised by the author; the released table
holds one row a run, generation and regime. Everything is recomputed from ``mean_perplexity``.
"""

from __future__ import annotations

import pandas as pd

from lib.collapse_warning.study import artefacts

__all__ = ["REGIMES", "onset", "trajectories", "witnesses"]

REGIMES = ("no_preservation", "ten_pct_preservation")


def trajectories() -> pd.DataFrame:
    """Return the released perplexities by ``regime``, ``run`` and ``generation``."""
    rows = artefacts.table("results/frozen/shumailov/shumailov_per_row_witnesses_v1.csv")
    return rows.rename(columns={"mean_perplexity": "perplexity"})[
        ["regime", "run", "generation", "perplexity"]
    ]


def witnesses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return gain, persistence and diversity of every run and generation.

    Parameters
    ----------
    rows : DataFrame
        Columns ``regime``, ``run``, ``generation`` (0, 1, …) and ``perplexity``.

    Returns
    -------
    DataFrame
        ``gap`` to generation 0; ``gain``, its second difference (NaN before generation 2);
        ``persistence``, the gap over the largest so far; ``diversity``, one over the standard
        deviation among the runs of a generation.

    Raises
    ------
    ValueError
        If a perplexity is not positive, or a run misses a generation.
    """
    if not (rows["perplexity"] > 0).all():
        raise ValueError("a perplexity is not positive")
    table = rows.sort_values(["regime", "run", "generation"], kind="stable").reset_index(drop=True)
    runs = table.groupby(["regime", "run"])
    if not (runs["generation"].diff().dropna() == 1).all() or table["generation"].min() != 0:
        raise ValueError("generations of a run must be 0, 1, 2, … without gap")
    table["gap"] = table["perplexity"] - runs["perplexity"].transform("first")
    table["gain"] = runs["gap"].diff().groupby([table["regime"], table["run"]]).diff()
    largest = table.groupby(["regime", "run"])["gap"].cummax()
    table["persistence"] = (table["gap"] / largest.where(largest > 0)).fillna(0.0)
    spread = table.groupby(["regime", "generation"])["perplexity"].transform("std")
    table["diversity"] = 1 / spread
    return table


def onset(table: pd.DataFrame) -> pd.DataFrame:
    """Summarise one row a regime, as Figure 5 does, and like for like.

    Parameters
    ----------
    table : DataFrame
        From :func:`witnesses`.

    Returns
    -------
    DataFrame
        ``onset`` (mean absolute gain at generation 2), ``later`` (the same from 3), ``ratio``,
        ``signed`` (mean gain at 2), ``persistence`` and ``lowest`` over generations from 1,
        ``plateau`` over generations 5 to 9, ``diversity_ratio`` (generation 0 over the mean from
        1).
    """
    rows = {}
    for regime, part in table.groupby("regime", sort=False):
        late = part[part["generation"] >= 1]
        first = part.loc[part["generation"] == 2, "gain"]
        after = part.loc[part["generation"] >= 3, "gain"].abs().mean()
        start = part.loc[part["generation"] == 0, "diversity"].mean()
        rows[regime] = {
            "onset": first.abs().mean(),
            "later": after,
            "ratio": first.abs().mean() / after,
            "signed": first.mean(),
            "persistence": late["persistence"].mean(),
            "lowest": late["persistence"].min(),
            "plateau": part.loc[part["generation"] >= 5, "persistence"].mean(),
            "diversity_ratio": start / late["diversity"].mean(),
        }
    return pd.DataFrame(rows).T.loc[list(REGIMES)]
