"""Verdicts on monotonicity for two bidders, each with the equilibria that prove it.

A platform metric is *monotone* under a refinement if it cannot fall. Whether it falls may depend on
which equilibrium of each model is compared, so a verdict looks at the whole equilibrium sets first
and at a selection second.

Source: the question is that of arXiv 2605.31036, Table 1; certificates and the third mark are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from lib.autobidding.arithmetic import exceeds
from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import EquilibriumCell, Point, equilibria_2p, equilibrium_range
from lib.autobidding.market import Market, check_refinement
from lib.autobidding.mechanism import Metric, Rule, check_metric
from lib.core import check

Interval = tuple[Any, Any]
Selection = Literal["all", "binding", "maximal", "best", "worst"]
SELECTIONS: tuple[Selection, ...] = ("all", "binding", "maximal", "best", "worst")
Mark = Literal["monotone_here", "violated_for_selection", "violated_in_every_equilibrium"]


@dataclass(frozen=True)
class EquilibriumCertificate:
    """Evidence from the full sets of pure equilibria of both models.

    Parameters
    ----------
    metric : str
    selection : str
        Equilibria that the mark compares; see :func:`verdict`.
    coarse, fine : tuple of EquilibriumCell
        All equilibria of each model.
    coarse_range, fine_range : tuple
        Lowest and highest metric over all of them: ends of the closure, which they need not reach.
    coarse_selected, fine_selected : tuple of (low, high)
        Metric on each selected cell or point.
    witness : tuple of two points, or None
        Effective multipliers of a coarse and a fine equilibrium among which the metric falls.
    witness_values : tuple or None
        The metric there.
    reason : str
        One sentence.
    """

    metric: str
    selection: str
    coarse: tuple[EquilibriumCell, ...]
    fine: tuple[EquilibriumCell, ...]
    coarse_range: Interval
    fine_range: Interval
    coarse_selected: tuple[Interval, ...]
    fine_selected: tuple[Interval, ...]
    witness: tuple[Point, Point] | None
    witness_values: tuple[Any, Any] | None
    reason: str


@dataclass(frozen=True)
class Verdict:
    """A mark and the certificate behind it."""

    mark: Mark
    certificate: EquilibriumCertificate


@dataclass(frozen=True)
class _Choice:
    """A selected piece of one cell: the metric's range there, and points near its two ends."""

    cell: EquilibriumCell
    interval: Interval
    low: Callable[[int], Point]
    high: Callable[[int], Point]


def verdict(
    coarse: Market,
    fine: Market,
    labels: Sequence[int],
    bidders: Sequence[Bidder],
    rule: Rule,
    metric: Metric,
    *,
    selection: Selection = "all",
    undominated: bool = True,
) -> Verdict:
    """Decide whether refining a two-bidder market lowers a metric, and for which equilibria.

    Parameters
    ----------
    coarse, fine : Market
        Two bidders; ``fine`` refines ``coarse``.
    labels : sequence of int, shape (fine.n_clusters,)
        Coarse cluster of each fine one.
    bidders : sequence of two Bidder
    rule : {"first", "second", "vcg"}
    metric : {"revenue", "welfare", "liquid_welfare"}
    selection : {"all", "binding", "maximal", "best", "worst"}
        Which equilibria to compare if not every pair falls: all of them; those at which both
        bidders pay exactly their target (the paper's convention in second price); the
        componentwise largest multipliers (its convention with budgets); those with the best or
        the worst value of the metric.
    undominated : bool
        Passed to :func:`.equilibria_2p`.

    Returns
    -------
    Verdict
        ``violated_in_every_equilibrium`` if every fine equilibrium is strictly below every coarse
        one; else ``violated_for_selection`` if some selected fine equilibrium is strictly below
        some selected coarse one; else ``monotone_here``.

    Raises
    ------
    NotARefinementError, CalibrationError
        When ``fine`` is no calibrated refinement of ``coarse``.
    ValueError
        On input that :func:`.equilibria_2p` refuses, an unknown metric or selection, or a model
        in which no (selected) pure equilibrium exists.

    Notes
    -----
    Ranges are those of the *closures* of the equilibrium sets, whose ends need not be equilibria:
    a bidder that wins at every bid above a rival's need not win at the rival's
    (``EquilibriumCell.revenue_attained`` tells). The marks are safe all the same. A violation needs
    one end strictly beyond the other, and its witness is a pair of equilibria, inside. Where two
    closures touch, so that every fine equilibrium may lie strictly below every coarse one by as
    little as one likes, the weaker mark is given.

    Examples
    --------
    >>> fine = Market.exact([1, 1], [[1, 0], [0, 1]])
    >>> pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    >>> verdict(fine.coarsen([0, 0]), fine, [0, 0], pair, "second", "revenue").mark
    'violated_in_every_equilibrium'
    >>> verdict(fine.coarsen([0, 0]), fine, [0, 0], pair, "first", "revenue").mark
    'violated_for_selection'
    """
    check_metric(metric)
    check.known("selection", selection, SELECTIONS)
    check_refinement(coarse, fine, labels)
    cells = {
        name: tuple(equilibria_2p(market, bidders, rule, undominated=undominated))
        for name, market in (("coarse", coarse), ("fine", fine))
    }
    for name, found in cells.items():
        if not found:
            raise ValueError(
                f"the {name} model has no pure equilibrium; compare coarse correlated equilibria"
            )
    ranges = {name: equilibrium_range(found, metric) for name, found in cells.items()}
    chosen = {name: _select(found, metric, selection) for name, found in cells.items()}
    for name, picked in chosen.items():
        if not picked:
            raise ValueError(f"the {name} model has no equilibrium for the selection {selection!r}")
    top = max(chosen["coarse"], key=lambda c: c.interval[1])
    bottom = min(chosen["fine"], key=lambda c: c.interval[0])
    mark: Mark
    if exceeds(ranges["coarse"][0], ranges["fine"][1]):
        mark = "violated_in_every_equilibrium"
        reason = "every equilibrium of the fine model lies below every one of the coarse model"
    elif exceeds(top.interval[1], bottom.interval[0]):
        mark = "violated_for_selection"
        reason = "some compared equilibria fall, but the two full ranges overlap"
    else:
        mark = "monotone_here"
        reason = "no compared equilibrium of the fine model lies below one of the coarse model"
    witness, values = None, None
    if mark != "monotone_here":
        witness, values = _witness(top, bottom, metric)
    return Verdict(
        mark,
        EquilibriumCertificate(
            metric=metric,
            selection=selection,
            coarse=cells["coarse"],
            fine=cells["fine"],
            coarse_range=ranges["coarse"],
            fine_range=ranges["fine"],
            coarse_selected=tuple(c.interval for c in chosen["coarse"]),
            fine_selected=tuple(c.interval for c in chosen["fine"]),
            witness=witness,
            witness_values=values,
            reason=reason,
        ),
    )


def _select(cells: tuple[EquilibriumCell, ...], metric: str, selection: Selection) -> list[_Choice]:
    if selection == "binding":
        return [_at_point(c, metric, c.binding) for c in cells if c.binding is not None]
    if selection == "maximal":
        tops = [(c, p) for c in cells if (p := _largest(c)) is not None]
        return [
            _at_point(c, metric, p)
            for c, p in tops
            if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for _, q in tops)
        ]
    choices = [_whole(c, metric) for c in cells]
    if selection == "all":
        return choices
    if selection == "best":
        best = max(choices, key=lambda c: c.interval[1])
        return [_Choice(best.cell, (best.interval[1],) * 2, best.high, best.high)]
    worst = min(choices, key=lambda c: c.interval[0])
    return [_Choice(worst.cell, (worst.interval[0],) * 2, worst.low, worst.low)]


def _largest(cell: EquilibriumCell) -> Point | None:
    """Componentwise largest point of a cell, if it has one."""
    if cell.unbounded:
        return None
    point = (max(v[0] for v in cell.vertices), max(v[1] for v in cell.vertices))
    return point if cell.contains(point) else None


def _at_point(cell: EquilibriumCell, metric: str, point: Point) -> _Choice:
    value = cell.at(metric, point)
    return _Choice(cell, (value, value), lambda _: point, lambda _: point)


def _whole(cell: EquilibriumCell, metric: str) -> _Choice:
    ends = cell.bounds(metric)

    def near(end: Any) -> Callable[[int], Point]:
        face = [v for v in cell.vertices if cell.at(metric, v) == end]
        middle = tuple(sum(v[i] for v in face) / len(face) for i in (0, 1))
        centre = cell.centroid

        def point(step: int) -> Point:
            """Walk from the cell's centre to its end; the centre is always an equilibrium."""
            if cell.contains((middle[0], middle[1])):
                return middle[0], middle[1]
            share = Fraction(1, 2**step) if isinstance(centre[0], Fraction) else 0.5**step
            return (
                middle[0] + share * (centre[0] - middle[0]),
                middle[1] + share * (centre[1] - middle[1]),
            )

        return point

    return _Choice(cell, ends, near(ends[0]), near(ends[1]))


def _witness(
    top: _Choice, bottom: _Choice, metric: str
) -> tuple[tuple[Point, Point], tuple[Any, Any]]:
    """Equilibria close enough to the two ends that the metric falls between them."""
    step = 0
    while True:
        points = top.high(step), bottom.low(step)
        values = top.cell.at(metric, points[0]), bottom.cell.at(metric, points[1])
        if values[1] < values[0]:
            return points, values
        step += 1
