"""Interactive figure: the tree of a real catalogue with accuracies at its nodes, no server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from lib.semantic_ids.catalogue import IntArray, check_codes, prefix_ranks

if TYPE_CHECKING:
    import altair as alt

__all__ = ["node_table", "tree_explorer"]


def node_table(
    targets: IntArray,
    hits: Mapping[str, npt.NDArray[np.bool_]],
    *,
    n_codes: int,
    n_first: int = 12,
    min_items: int = 1,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return teacher-forced accuracy at every node of the tree that test items pass through.

    Parameters
    ----------
    targets : int64 (n_test, n_levels)
        IDs of the test items.
    hits : mapping of str to bool (n_test, n_levels)
        For each predictor, where it is right about the code of each level.
    n_codes : int
    n_first : int
        Keep the subtrees of this many first codes: the one with most test items, the one with
        fewest, and between them by rank, evenly on a logarithmic scale.
    min_items : int
        Leave out nodes that fewer test items pass through.
    names : sequence of str, optional
        Of the test items, where the data have them.

    Returns
    -------
    DataFrame
        One row a node of length 1 to ``n_levels - 1``: ``first``, ``length``, ``prefix``, ``items``
        (test items), ``left`` and ``right`` (its place among the test items of its subtree, in
        [0, 1]), with names the three most frequent at the node (``names``), and for each predictor
        the share of items whose next code it gets right.

    Examples
    --------
    >>> targets = np.array([[0, 1], [0, 2], [3, 1]])
    >>> node_table(targets, {"a": targets > 1}, n_codes=4)["a"].tolist()
    [0.5, 0.0]
    """
    table = check_codes(targets, n_codes)
    if not hits:
        raise ValueError("no hits given, expected at least one predictor")
    for name, one in hits.items():
        if one.shape != table.shape:
            raise ValueError(f"{name}: hits have shape {one.shape}, expected {table.shape}")
    if names is not None and len(names) != len(table):
        raise ValueError(f"{len(names)} names for {len(table)} test items")
    if n_first < 1 or min_items < 1:
        raise ValueError(f"n_first is {n_first} and min_items {min_items}, expected at least 1")
    order = np.lexsort(table.T[::-1])
    table = table[order]
    sorted_hits = {name: one[order] for name, one in hits.items()}
    count = np.bincount(table[:, 0], minlength=n_codes)
    # Most items first; of equals the lower code.
    ranked = np.lexsort((np.arange(n_codes), -count))[: np.count_nonzero(count)]
    ranks = np.rint(np.geomspace(1, len(ranked), min(n_first, len(ranked)))).astype(np.int64)
    kept = ranked[np.unique(ranks) - 1]
    frames = []
    for length, rank in enumerate(prefix_ranks(table).T[:-1], start=1):
        _, start, number = np.unique(rank, return_index=True, return_counts=True)
        first = table[start, 0]
        begin = np.searchsorted(table[:, 0], first)
        frame = pd.DataFrame(
            {
                "first": first,
                "length": length,
                "prefix": ["-".join(map(str, row)) for row in table[start, :length]],
                "items": number,
                "left": (start - begin) / count[first],
                "right": (start - begin + number) / count[first],
            }
        )
        if names is not None:
            at = [[names[i] for i in order[a : a + n]] for a, n in zip(start, number, strict=True)]
            frame["names"] = ["; ".join(dict(Counter(one).most_common(3))) for one in at]
        for name, one in sorted_hits.items():
            right = np.add.reduceat(one[:, length].astype(np.int64), start)
            frame[name] = right / number
        frames.append(frame[np.isin(first, kept) & (number >= min_items)])
    return pd.concat(frames, ignore_index=True)


def tree_explorer(
    targets: IntArray,
    hits: Mapping[str, npt.NDArray[np.bool_]],
    *,
    n_codes: int,
    n_first: int = 12,
    min_items: int = 2,
    names: Sequence[str] | None = None,
) -> alt.VConcatChart:
    """Return the tree as a chart: choose a subtree above, see accuracies at its nodes below.

    Parameters
    ----------
    targets, hits, n_codes, n_first, min_items, names
        See `node_table`. The first predictor is shown at first. The page carries the data, about
        70 bytes a node, and names. Without names the chart says that it shows codes alone.

    Returns
    -------
    altair.VConcatChart
        Above the subtrees by number of test items, with the accuracy at the level after the first
        code; click one, or choose it from the list. Below its nodes, one band a length, as wide as
        their share of test items.
    """
    import altair as alt

    nodes = node_table(
        targets, hits, n_codes=n_codes, n_first=n_first, min_items=min_items, names=names
    )
    predictors = list(hits)
    nodes[["left", "right"]] = nodes[["left", "right"]].round(3)
    nodes[predictors] = nodes[predictors].round(2)
    # Short names, for the page carries them once a node.
    short = [f"a{i}" for i in range(len(predictors))]
    named = [] if names is None else ["t"]
    nodes.columns = pd.Index(["f", "l", "p", "n", "x", "y", *named, *short])
    radio = alt.binding_radio(options=short, labels=predictors, name="predictor ")
    who = alt.param(name="who", value=short[0], bind=radio)
    tops = nodes.loc[nodes["l"] == 1].sort_values(["n", "f"], ascending=[False, True])
    listed = alt.binding_select(
        options=tops["f"].tolist(),
        labels=[f"{f}: {t}" for f, t in zip(tops["f"], tops["t"], strict=True)]
        if named
        else [f"{f} ({n} test items)" for f, n in zip(tops["f"], tops["n"], strict=True)],
        name="first code ",
    )
    start = [{"f": int(tops["f"].iloc[0])}]
    # Bound to a list, for the keyboard; the event is named, for else the list would replace it.
    how: dict[str, Any] = {"value": start, "bind": listed, "on": "click", "empty": False}
    pick = alt.selection_point(name="subtree", fields=["f"], **how)
    colour = alt.Color(
        "accuracy:Q",
        title="accuracy",
        scale=alt.Scale(domain=[0, 1], scheme="cividis"),
    )
    tip = [
        alt.Tooltip("p:N", title="prefix"),
        *(alt.Tooltip(f"{one}:N", title="such as") for one in named),
        alt.Tooltip("n:Q", title="test items"),
        alt.Tooltip("accuracy:Q", format=".2f"),
    ]
    shown = alt.Chart(nodes).transform_calculate(accuracy="datum[who]")
    top = (
        shown.transform_filter("datum.l == 1")
        .mark_bar(cursor="pointer")
        .encode(
            x=alt.X("f:O", title="first code (click one)", sort="-y"),
            y=alt.Y("n:Q", title="test items", scale=alt.Scale(type="sqrt")),
            color=colour,
            stroke=alt.condition(pick, alt.value("#1a1a1a"), alt.value(None)),
            strokeWidth=alt.value(2.5),
            tooltip=tip,
        )
        .properties(width=520, height=110)
        .add_params(pick, who)
    )
    bottom = (
        shown.transform_filter(pick)
        .mark_rect(stroke="#fcfcfc", strokeWidth=0.5)
        .encode(
            x=alt.X("x:Q", title="share of the subtree's test items", scale={"domain": [0, 1]}),
            x2="y:Q",
            y=alt.Y("l:O", title="codes known"),
            color=colour,
            tooltip=tip,
        )
        .properties(width=520, height=130)
    )
    told = "the data carry codes alone, and no names of items"
    return alt.vconcat(top, bottom, title="" if named else told)
