"""Pure Nash equilibria in uniform multipliers: check one, or enumerate all of two bidders.

A bidder's own multiplier moves the outcome only at *thresholds*, the rivals' best bid per own
predicted conversion. Between two thresholds its winning set is constant; a second price is
constant too, and a first price grows with the multiplier. So a best response is found among
finitely many winning sets, without a grid, and in exact arithmetic without rounding.

For two bidders the winning sets are threshold sets in the ratio of predictions, and for each of
them the equilibrium conditions are linear in the effective multipliers ``(g1, g2)``: the
equilibria with one allocation form a convex polygon, here a *cell*.

Source: arXiv 2605.31036, section 4 (equilibrium convention); the enumeration is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from lib.autobidding.arithmetic import Array, Number, exceeds
from lib.autobidding.bidders import Bidder, budgets_of, check_bidders, values_of
from lib.autobidding.market import Market
from lib.autobidding.mechanism import RULES, Rule, check_metric, outcome
from lib.core import check

# ── One profile ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Deviation:
    """A unilateral change of one multiplier that pays: the witness against an equilibrium.

    Parameters
    ----------
    bidder : int
    multiplier : Fraction or float
        Uniform multiplier ``mu`` to deviate to.
    gain : Fraction or float
        What the deviation gains: conversions (tCPA) or money (MAX-CPA). Infinite where the
        bidder's current multiplier breaks its own target or budget.
    supremum : Fraction or float
        Least upper bound of the gain over all deviations. Just above a first-price threshold it
        is approached but not attained; then ``gain`` is smaller.
    why : str
        One sentence.
    """

    bidder: int
    multiplier: Any
    gain: Any
    supremum: Any
    why: str


@dataclass(frozen=True)
class EquilibriumCheck:
    """Whether a profile is a pure Nash equilibrium, and if not, a witness.

    Parameters
    ----------
    holds : bool
    witness : Deviation or None
        Of the first bidder that can gain; ``None`` in an equilibrium.
    """

    holds: bool
    witness: Deviation | None

    def __bool__(self) -> bool:
        return self.holds


@dataclass(frozen=True)
class BestResponse:
    """The best that one bidder can do against fixed rivals.

    Parameters
    ----------
    payoff : Fraction or float
        Least upper bound over all feasible multipliers: conversions (tCPA) or value minus spend
        (MAX-CPA).
    current : Fraction or float
        Payoff at the present multiplier; minus infinity where it breaks a target or budget.
    multiplier : Fraction or float
        A uniform multiplier whose payoff is ``payoff`` if ``attained``, and otherwise at least
        half way from ``current`` to ``payoff``.
    reached : Fraction or float
        Payoff at ``multiplier``.
    attained : bool
    scale : Fraction or float
        Size of the numbers of which payoffs are differences, by which floats are compared: the
        larger value won now or in the best response (MAX-CPA); zero for tCPA.
    """

    payoff: Any
    current: Any
    multiplier: Any
    reached: Any
    attained: bool
    scale: Any

    @property
    def regret(self) -> Any:
        """Supremum of what a deviation gains; zero in a best response."""
        return self.payoff - self.current

    @property
    def gains(self) -> bool:
        """Whether a deviation gains more than rounding."""
        return bool(exceeds(self.payoff, self.current, self.scale))


@dataclass(frozen=True)
class _Option:
    """One reachable winning set: its smallest multiplier ``low``, and the next set's ``high``."""

    low: Any
    open: bool  # reached only strictly above ``low``
    high: Any  # None: no further threshold
    conversions: Any
    cost: Any  # spend at second price; None at first price


def _options(market: Market, goals: Array, bidder: int, *, first_price: bool) -> Iterator[_Option]:
    """Winning sets of one bidder against fixed rivals, from the smallest to the largest."""
    rivals = [j for j in range(market.n_bidders) if j != bidder]
    weights = market.weights.tolist()
    table = market.predictions.tolist()
    goal = goals.tolist()
    steps: dict[tuple[Any, bool], list[Any]] = {}
    zero = weights[0] * 0
    for weight, row in zip(weights, table, strict=True):
        bids = [goal[j] * row[j] for j in rivals]
        price = max(bids, default=zero)
        # The bidder needs a strictly higher bid where a rival of lower index holds the price.
        strict = any(b == price and j < bidder for b, j in zip(bids, rivals, strict=True))
        own = row[bidder]
        if own == 0:
            # Won only by a tie at zero, free of charge and without a conversion.
            continue
        step = steps.setdefault((price / own, strict), [zero, zero])
        step[0] += weight * own
        step[1] += weight * price
    keys = sorted(steps)
    conversions, cost = zero, zero
    if not keys or keys[0] != (zero, False):
        keys.insert(0, (zero, False))
    for k, (low, strict) in enumerate(keys):
        gained, paid = steps.get((low, strict), (zero, zero))
        conversions, cost = conversions + gained, cost + paid
        high = keys[k + 1][0] if k + 1 < len(keys) else None
        yield _Option(low, strict, high, conversions, None if first_price else cost)


def best_response(
    market: Market,
    bidders: Sequence[Bidder],
    multipliers: Sequence[Number] | Array,
    bidder: int,
    rule: Rule = "second",
) -> BestResponse:
    """Best response of one bidder over *all* multipliers, by thresholds.

    Parameters
    ----------
    market : Market
    bidders : sequence of Bidder, length n_bidders
    multipliers : array_like, shape (n_bidders,)
        Uniform multipliers; the bidder's own one gives ``current``.
    bidder : int
        Whose best response, 0 to n_bidders less one.
    rule : {"first", "second", "vcg"}

    Returns
    -------
    BestResponse

    Raises
    ------
    ValueError
        On input that :func:`.outcome` refuses, or an unknown bidder.

    Examples
    --------
    >>> market = Market.exact([1], [["0.5", "0.4"]])
    >>> pair = [Bidder("maxcpa", Fraction(2)), Bidder("maxcpa", Fraction(1))]
    >>> reply = best_response(market, pair, [1, 1], 0, "first")
    >>> reply.multiplier, reply.regret, reply.attained
    (Fraction(2, 5), Fraction(3, 5), True)
    """
    bidder = check.integer("bidder", bidder, at_least=0, at_most=market.n_bidders - 1)
    now = outcome(market, bidders, multipliers, rule)
    me = bidders[bidder]
    value, budget = values_of(market, bidders)[bidder], budgets_of(market, bidders)[bidder]
    tcpa, first_price = me.kind == "tcpa", rule == "first"

    if now.within_budget[bidder] and now.within_target[bidder]:
        won = now.conversions[bidder]
        current = won if tcpa else value * won - now.spend[bidder]
    else:
        current = -math.inf

    best: tuple[Any, _Option, Any] | None = None
    for option in _options(market, now.effective, bidder, first_price=first_price):
        spend = option.low * option.conversions if first_price else option.cost
        # Above an open first-price threshold the spend is strictly larger than ``spend``.
        over = first_price and option.open and option.conversions > 0
        limits = [budget] if budget is not None else []
        if tcpa:
            limits.append(value * option.conversions)
        if any(exceeds(spend, b) or (over and not exceeds(b, spend)) for b in limits):
            continue
        # The cap on the multiplier that the limits leave inside this option.
        cap = option.high
        if first_price and option.conversions > 0:
            caps = [b / option.conversions for b in limits]
            cap = min([*caps, *([] if cap is None else [cap])], default=None)
        payoff = option.conversions if tcpa else value * option.conversions - spend
        better = best is None or payoff > best[0]
        # Of two equal suprema, keep one that is attained.
        if better or (best is not None and payoff == best[0] and best[1].open and not option.open):
            best = (payoff, option, cap)
    assert best is not None  # bidding zero is always feasible
    payoff, option, cap = best
    goal, attained = option.low, not option.open
    if option.open:
        goal = option.low + 1 if cap is None else (option.low + cap) / 2
        attained = tcpa or not first_price
        if not attained:
            # Close enough to the threshold to keep half of the supremum's gain.
            base = current if current > -math.inf else payoff - option.conversions
            goal = min(goal, option.low + abs(payoff - base) / (2 * option.conversions))
    reached = payoff if attained else value * option.conversions - goal * option.conversions
    scale = 0 * value if tcpa else value * max(option.conversions, now.conversions[bidder])
    return BestResponse(payoff, current, goal / value, reached, attained, scale)


def is_equilibrium(
    market: Market,
    bidders: Sequence[Bidder],
    multipliers: Sequence[Number] | Array,
    rule: Rule = "second",
) -> EquilibriumCheck:
    """Decide whether no bidder can gain by another multiplier; if one can, show how.

    Exact for fractions. In floats a gain below a share of 1e-9 of what the bidder wins is taken for
    rounding (:func:`~lib.autobidding.arithmetic.exceeds`), in whatever unit.

    Parameters
    ----------
    market : Market
    bidders : sequence of Bidder, length n_bidders
    multipliers : array_like, shape (n_bidders,)
    rule : {"first", "second", "vcg"}

    Returns
    -------
    EquilibriumCheck

    Raises
    ------
    ValueError
        On input that :func:`.outcome` refuses.

    Examples
    --------
    >>> market = Market.exact([1], [["0.5", "0.4"]])
    >>> pair = [Bidder("tcpa", Fraction(2)), Bidder("tcpa", Fraction(1))]
    >>> is_equilibrium(market, pair, [1, 1], "first").holds
    True
    >>> is_equilibrium(market, pair, [Fraction(1, 10), 1], "first").witness.why
    'bidder 0 wins 1/2 conversions instead of 0 and keeps its constraints'
    """
    check_bidders(market, bidders)
    for i, me in enumerate(bidders):
        reply = best_response(market, bidders, multipliers, i, rule)
        if not reply.gains:
            continue
        if reply.current == -math.inf:
            now = outcome(market, bidders, multipliers, rule)
            if not now.within_target[i]:
                why = f"bidder {i} pays {now.cpa[i]} per conversion, above its target {me.value}"
            else:
                why = f"bidder {i} spends {now.spend[i]}, above its budget {me.budget}"
        elif me.kind == "tcpa":
            why = (
                f"bidder {i} wins {reply.payoff} conversions instead of {reply.current} "
                "and keeps its constraints"
            )
        else:
            how = "earns" if reply.attained else "earns nearly"
            why = f"bidder {i} {how} {reply.payoff} instead of {reply.current}"
        gain = math.inf if reply.current == -math.inf else reply.reached - reply.current
        return EquilibriumCheck(False, Deviation(i, reply.multiplier, gain, reply.regret, why))
    return EquilibriumCheck(True, None)


# ── All equilibria of two bidders ─────────────────────────────────────────────────────────────


Point = tuple[Any, Any]
"""Effective multipliers of both bidders."""


@dataclass(frozen=True)
class HalfPlane:
    """``a1 g1 + a2 g2 <= bound``, or ``<`` if strict."""

    a1: Any
    a2: Any
    bound: Any
    strict: bool = False

    def excess(self, point: Point) -> Any:
        """Left side minus right side at a point; zero where floats differ by rounding only."""
        parts = self.a1 * point[0], self.a2 * point[1]
        left = parts[0] + parts[1]
        if exceeds(left, self.bound, *parts) or exceeds(self.bound, left, *parts):
            return left - self.bound
        return 0 * left

    def allows(self, point: Point) -> bool:
        """Whether a point is on the right side."""
        excess = self.excess(point)
        return bool(excess < 0 if self.strict else excess <= 0)


@dataclass(frozen=True)
class EquilibriumCell:
    """All pure equilibria of two bidders that share one allocation: a convex polygon.

    Parameters
    ----------
    allocation : tuple of int, length n_clusters
        Winner of each cluster.
    constraints : tuple of HalfPlane
        The polygon as inequalities in the effective multipliers ``(g1, g2)``; strict ones mark
        parts of the boundary that do not belong to it.
    vertices : tuple of (g1, g2)
        Corners of the closure, in order around it; one or two where it has no interior.
    unbounded : bool
        Whether the cell extends without end; it is then clipped by a box around all its true
        corners, and vertices on the box are no equilibrium limits.
    welfare, liquid_welfare : Fraction or float
        Constant on the cell.
    revenue : tuple
        Lowest and highest on the closure.
    revenue_attained : tuple of bool
        Whether an equilibrium reaches the lowest, and the highest.
    revenue_slope : tuple
        Revenue is ``revenue_slope[0] g1 + revenue_slope[1] g2`` on the cell.
    binding : tuple (g1, g2) or None
        The point of the cell at which both bidders pay exactly their target, if there is one.
    """

    allocation: tuple[int, ...]
    constraints: tuple[HalfPlane, ...]
    vertices: tuple[tuple[Any, Any], ...]
    unbounded: bool
    welfare: Any
    liquid_welfare: Any
    revenue: tuple[Any, Any]
    revenue_attained: tuple[bool, bool]
    revenue_slope: tuple[Any, Any]
    binding: tuple[Any, Any] | None

    @property
    def centroid(self) -> tuple[Any, Any]:
        """Mean of the vertices: an equilibrium in the cell's relative interior."""
        n = len(self.vertices)
        return (sum(v[0] for v in self.vertices) / n, sum(v[1] for v in self.vertices) / n)

    @property
    def has_interior(self) -> bool:
        """Whether the cell has an area, so that its equilibria survive small changes."""
        if len(self.vertices) < 3:
            return False
        (x0, y0), (x1, y1), *rest = self.vertices
        return any((x1 - x0) * (y - y0) != (y1 - y0) * (x - x0) for x, y in rest)

    def contains(self, point: tuple[Any, Any]) -> bool:
        """Whether effective multipliers ``(g1, g2)`` are an equilibrium of this cell."""
        return all(c.allows(point) for c in self.constraints)

    def at(self, metric: str, point: tuple[Any, Any]) -> Any:
        """Metric at effective multipliers of this cell."""
        check_metric(metric)
        if metric == "revenue":
            return self.revenue_slope[0] * point[0] + self.revenue_slope[1] * point[1]
        return getattr(self, metric)

    def bounds(self, metric: str) -> tuple[Any, Any]:
        """Lowest and highest value of a metric on the cell's closure."""
        check_metric(metric)
        if metric == "revenue":
            return self.revenue
        constant = getattr(self, metric)
        return (constant, constant)


@dataclass(frozen=True)
class _Split:
    """Clusters in order of p2/p1, cut after the first ``m`` groups: bidder 0 wins those."""

    inside: tuple[Any, Any]  # predicted mass (of bidder 0, of bidder 1) in bidder 0's set
    outside: tuple[Any, Any]
    last: tuple[Any, Any] | None  # masses of the last group inside
    next: tuple[Any, Any] | None  # and of the first group outside
    inside_plus: tuple[Any, Any]  # masses after bidder 0 also wins ``next``
    outside_plus: tuple[Any, Any]  # masses after bidder 1 also wins ``last``


def _groups(market: Market) -> list[list[int]]:
    """Clusters grouped by the ratio p2/p1, rising; a cluster worthless to both goes first."""
    table = market.predictions.tolist()
    ratios = [
        (math.inf if q > 0 else 0) if p == 0 else q / p
        for p, q in ((row[0], row[1]) for row in table)
    ]
    groups: dict[Any, list[int]] = {}
    for k in sorted(range(len(ratios)), key=ratios.__getitem__):
        groups.setdefault(ratios[k], []).append(k)
    return list(groups.values())


def equilibria_2p(
    market: Market, bidders: Sequence[Bidder], rule: Rule = "second", *, undominated: bool = True
) -> list[EquilibriumCell]:
    """Enumerate all pure equilibria of two bidders, one convex cell for each allocation.

    Parameters
    ----------
    market : Market
        With two bidders. Fractions make every cell exact; floats are faster, and blur cells
        thinner than a share of 1e-9.
    bidders : sequence of two Bidder
        Of any kinds. A budget of a MAX-CPA bidder must be too large to bind at its value.
    rule : {"first", "second", "vcg"}
    undominated : bool, default True
        Leave out multipliers that another one weakly dominates, as the theorems have it. If both
        bidders have predictions above zero in some cluster (they *overlap*), a tCPA bidder's
        ``g < c`` is dominated by ``c``, the smaller of the target and the budget over all
        predicted conversions; and in second price every ``g`` of a MAX-CPA bidder but its value.
        Bidders that never meet lose nothing by low bids: of theirs only zero goes, where it loses
        a tie. In first price ``g`` above the target or value is dominated. Other multipliers may
        be dominated too and stay (a MAX-CPA bid of just the value in first price). If false,
        all equilibria are returned.

    Returns
    -------
    list of EquilibriumCell
        By the number of clusters that bidder 0 wins, rising. Empty if there is no equilibrium.

    Raises
    ------
    ValueError
        On another number of bidders than two, an unknown rule, or a binding budget of a MAX-CPA
        bidder.

    Notes
    -----
    Allocations are threshold sets: bidder 0 wins where ``g1 p1 >= g2 p2``. For a tCPA bidder
    conversions only grow along its chain of sets, and so does the cost of reaching them, so it is
    enough that the present set is affordable and the next one is not. A first-price MAX-CPA bidder
    would always shade down to its threshold; bidder 1 never attains its own (ties go to bidder
    0), so in a pure equilibrium it wins no conversion.

    Examples
    --------
    >>> market = Market.exact([1, 1], [["0.5", "0.1"], ["0.1", "0.5"]])
    >>> pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    >>> [(c.allocation, c.welfare) for c in equilibria_2p(market, pair, "first")]
    [((0, 1), Fraction(1, 1))]
    """
    if market.n_bidders != 2:
        raise ValueError(f"enumeration is for two bidders, the market has {market.n_bidders}")
    check.known("rule", rule, RULES)
    first = rule == "first"
    one = Fraction(1) if market.is_exact else 1.0
    zero = 0 * one
    mass = market.mass.tolist()
    values = values_of(market, bidders).tolist()
    total = [sum((row[i] for row in mass), zero) for i in (0, 1)]
    budgets = budgets_of(market, bidders)
    for i, b in enumerate(bidders):
        if b.kind != "maxcpa" or budgets[i] is None:
            continue
        if exceeds(values[i] * total[i], budgets[i]):
            raise ValueError(
                f"budget {b.budget} of MAX-CPA bidder {i} is below its value {b.value} times all "
                f"predicted conversions {total[i]}; enumeration needs a budget that cannot bind"
            )
        budgets[i] = None

    groups = _groups(market)
    rows = [
        (sum((mass[k][0] for k in g), zero), sum((mass[k][1] for k in g), zero)) for g in groups
    ]
    prefix = [(zero, zero)]
    for p, q in rows:
        prefix.append((prefix[-1][0] + p, prefix[-1][1] + q))

    suffix = [(zero, zero)]
    for p, q in reversed(rows):
        suffix.append((suffix[-1][0] + p, suffix[-1][1] + q))
    suffix.reverse()

    common = [HalfPlane(-one, zero, zero), HalfPlane(zero, -one, zero)]
    if undominated:
        meet = any(row[0] > 0 and row[1] > 0 for row in mass)
        common += _undominated(bidders, values, budgets, total, meet, first, one)
    cells = []
    for m in range(len(groups) + 1):
        split = _Split(
            inside=prefix[m],
            outside=suffix[m],
            last=rows[m - 1] if m else None,
            next=rows[m] if m < len(groups) else None,
            inside_plus=prefix[min(m + 1, len(groups))],
            outside_plus=suffix[max(m - 1, 0)],
        )
        constraints = list(common)
        if split.last is not None:
            p, q = split.last
            constraints.append(HalfPlane(-p, q, zero))
        if split.next is not None:
            p, q = split.next
            constraints.append(HalfPlane(p, -q, zero, strict=True))
        # Bidder 1 first: in first price, MAX-CPA, it refuses nearly all allocations at a glance.
        for i in (1, 0):
            if bidders[i].kind == "tcpa":
                found = _tcpa_conditions(split, i, values[i], budgets[i], first, one)
            elif first:
                found = _shading_conditions(split, i, values[i], rows, prefix, m, one)
            else:
                found = _truthful_conditions(split, i, values[i], one)
            if found is None:
                break
            constraints += found
        else:
            cell = _cell(market, bidders, budgets, groups[:m], split, constraints, values, first)
            if cell is not None:
                cells.append(cell)
    return cells


def _undominated(
    bidders: Sequence[Bidder],
    values: list[Any],
    budgets: list[Any],
    total: list[Any],
    meet: bool,
    first: bool,
    one: Any,
) -> Iterator[HalfPlane]:
    """Half-planes that leave out weakly dominated multipliers."""
    for i, me in enumerate(bidders):
        if total[i] == 0:
            continue  # whatever it bids, nothing changes
        tcpa = me.kind == "tcpa"
        unit = (one, 0 * one) if i == 0 else (0 * one, one)
        if first or (meet and not tcpa):
            yield HalfPlane(*unit, values[i])
        if meet and (tcpa or not first):
            floor = values[i] if budgets[i] is None else min(values[i], budgets[i] / total[i])
            yield HalfPlane(-unit[0], -unit[1], -floor)
        elif i == 1 and not meet:
            # Bidder 0 wins ties at zero; any bid above it wins all that bidder 1 converts.
            yield HalfPlane(-unit[0], -unit[1], 0 * one, strict=True)


def _tcpa_conditions(
    split: _Split, i: int, target: Any, budget: Any, first: bool, one: Any
) -> list[HalfPlane] | None:
    """Affordable present set, unaffordable next set; ``None`` if no multiplier can do it."""
    zero = 0 * one
    own, rival = i, 1 - i
    won, more = (split.inside, split.inside_plus) if i == 0 else (split.outside, split.outside_plus)
    tempting = split.next if i == 0 else split.last

    def axis(j: int, sign: int) -> tuple[Any, Any]:
        return (sign * one, zero) if j == 0 else (zero, sign * one)

    out = []

    def at_most(limit: Any, masses: tuple[Any, Any], budget: Any) -> Any:
        caps = [limit * masses[own]] + ([] if budget is None else [budget])
        return min(caps)

    if first:
        if won[own] > 0:
            cap = at_most(target, won, budget) / won[own]
            out.append(HalfPlane(*axis(own, 1), cap))
        if tempting is not None and tempting[own] > 0:
            cap = at_most(target, more, budget) / more[own]
            if tempting[rival] == 0:
                # Free to win: the set without it would be no best response.
                return None
            # The rival's bid there, per own conversion, is above the largest affordable one;
            # bidder 1 loses a tie, so meeting it exactly is enough to keep it out.
            ratio = tempting[own] / tempting[rival]
            out.append(HalfPlane(*axis(rival, -1), -cap * ratio, strict=i == 0))
    else:
        if won[rival] > 0:
            out.append(HalfPlane(*axis(rival, 1), at_most(target, won, budget) / won[rival]))
        if tempting is not None and tempting[own] > 0:
            if more[rival] == 0:
                return None
            cap = at_most(target, more, budget) / more[rival]
            out.append(HalfPlane(*axis(rival, -1), -cap, strict=True))
    return out


def _truthful_conditions(split: _Split, i: int, value: Any, one: Any) -> list[HalfPlane]:
    """Second price, MAX-CPA: each cluster is won if worth its price and lost if not."""
    out = []
    for head, sign in ((split.last, 1 if i == 0 else -1), (split.next, -1 if i == 0 else 1)):
        if head is None or head[i] == 0:
            continue
        coefficient = sign * head[1 - i]
        plane = (0 * one, coefficient) if i == 0 else (coefficient, 0 * one)
        out.append(HalfPlane(*plane, sign * value * head[i]))
    return out


def _shading_conditions(
    split: _Split,
    i: int,
    value: Any,
    rows: list[tuple[Any, Any]],
    prefix: list[tuple[Any, Any]],
    m: int,
    one: Any,
) -> list[HalfPlane] | None:
    """First price, MAX-CPA: no other winning set earns more; ``None`` if no multiplier can do it.

    What all other sets ask of the rival's multiplier is one interval, so two half-planes say it.
    """
    zero = 0 * one
    if i == 1:
        # It never attains the threshold it would shade down to, so it wins no conversion.
        if split.outside[1] > 0 or any(q > 0 and p == 0 for p, q in rows):
            return None
        # Winning groups k and later would cost just above g1 p / q per conversion.
        asked = [value * q / p for p, q in rows if q > 0]
        return [HalfPlane(-one, zero, -max(asked))] if asked else []
    keep, level, out = split.inside[0], zero, []
    if keep > 0 and split.last is not None:
        p, q = split.last
        if p == 0:
            # Bidder 1 would take a cluster that is worth something to it alone.
            return None
        # Shade down to the threshold: g1 p1 = g2 p2 in the last group won.
        out.append(HalfPlane(p, -q, zero))
        level = q / p
    low, high = zero, None
    for k in range(len(rows) + 1):
        gain = prefix[k][0]
        if k == m or (k > 0 and gain == prefix[k - 1][0]):
            continue
        other = rows[k - 1][1] / rows[k - 1][0] if k else zero
        # (v - level g2) keep >= (v - other g2) gain
        slope, bound = level * keep - other * gain, value * (keep - gain)
        if slope > 0:
            high = bound / slope if high is None else min(high, bound / slope)
        elif slope < 0:
            low = max(low, bound / slope)
        elif bound < 0:
            return None
    out.append(HalfPlane(zero, -one, -low))
    return out if high is None else [*out, HalfPlane(zero, one, high)]


def _cell(
    market: Market,
    bidders: Sequence[Bidder],
    budgets: list[Any],
    won: list[list[int]],
    split: _Split,
    constraints: list[HalfPlane],
    values: list[Any],
    first: bool,
) -> EquilibriumCell | None:
    vertices, unbounded = _polygon(constraints, exact=market.is_exact)
    if not vertices:
        return None
    n = len(vertices)
    centre = (sum(v[0] for v in vertices) / n, sum(v[1] for v in vertices) / n)
    # A relative interior point on a strict line means that the whole polygon lies on it.
    if any(c.strict and not c.allows(centre) for c in constraints):
        return None
    inside, outside = split.inside, split.outside
    slope = (inside[0], outside[1]) if first else (outside[0], inside[1])
    revenues = [slope[0] * g1 + slope[1] * g2 for g1, g2 in vertices]
    attained = [
        _attains(vertices, revenues, end, constraints) for end in (min(revenues), max(revenues))
    ]
    worth = (values[0] * inside[0], values[1] * outside[1])
    capped = [w if b is None else min(w, b) for w, b in zip(worth, budgets, strict=True)]
    allocation = [1] * market.n_clusters
    for k in (k for group in won for k in group):
        allocation[k] = 0
    binding = None
    if all(b.kind == "tcpa" for b in bidders):
        point: tuple[Any, Any] | None = None
        if first:
            point = (values[0], values[1]) if min(inside[0], outside[1]) > 0 else None
        elif inside[1] > 0 and outside[0] > 0:
            point = (worth[1] / outside[0], worth[0] / inside[1])
        if point is not None and all(c.allows(point) for c in constraints):
            binding = point
    return EquilibriumCell(
        allocation=tuple(allocation),
        constraints=tuple(constraints),
        vertices=tuple(vertices),
        unbounded=unbounded,
        welfare=worth[0] + worth[1],
        liquid_welfare=capped[0] + capped[1],
        revenue=(min(revenues), max(revenues)),
        revenue_attained=(attained[0], attained[1]),
        revenue_slope=slope,
        binding=binding,
    )


def _attains(
    vertices: list[tuple[Any, Any]], revenues: list[Any], end: Any, constraints: list[HalfPlane]
) -> bool:
    """Whether some equilibrium has this revenue: the middle of its face is the last to leave."""
    face = [v for v, r in zip(vertices, revenues, strict=True) if r == end]
    centre = (sum(v[0] for v in face) / len(face), sum(v[1] for v in face) / len(face))
    return all(not c.strict or c.allows(centre) for c in constraints)


def _polygon(constraints: list[HalfPlane], *, exact: bool) -> tuple[list[tuple[Any, Any]], bool]:
    """Vertices of the closure in order, and whether the region is unbounded."""
    # Each line is parallel to an axis or passes through the origin, so every corner lies at a
    # bound or at a bound times a slope: a box twice that size cuts no corner off.
    steepness: Any = Fraction(1) if exact else 1.0
    reach: Any = 0 * steepness
    for c in constraints:
        if c.a1 != 0 and c.a2 != 0:
            steepness = max(steepness, abs(c.a1 / c.a2), abs(c.a2 / c.a1))
        elif c.a1 != 0 or c.a2 != 0:
            reach = max(reach, abs(c.bound / (c.a1 or c.a2)))
        elif c.bound < 0:
            return [], False
    # In units of the bounds themselves: an absolute size would lose the digits of small money.
    side = 2 * (reach or 0 * reach + 1) * steepness
    zero = side * 0
    corners = [(zero, zero), (side, zero), (side, side), (zero, side)]
    for plane in constraints:
        if plane.a1 == 0 and plane.a2 == 0:
            continue
        excess = [plane.excess(v) for v in corners]
        if all(e <= 0 for e in excess):
            continue
        kept = []
        for k, (point, e) in enumerate(zip(corners, excess, strict=True)):
            before, b = corners[k - 1], excess[k - 1]
            if (e < 0 < b) or (b < 0 < e):
                share = b / (b - e)
                kept.append(
                    (
                        before[0] + share * (point[0] - before[0]),
                        before[1] + share * (point[1] - before[1]),
                    )
                )
            if e <= 0:
                kept.append(point)
        corners = list(dict.fromkeys(kept))
        if not corners:
            return [], False
    return corners, any(side in v for v in corners)


def equilibrium_range(cells: Sequence[EquilibriumCell], metric: str) -> tuple[Any, Any]:
    """Lowest and highest value of a metric over a list of cells.

    Raises
    ------
    ValueError
        On an empty list or an unknown metric.
    """
    if not cells:
        raise ValueError("no equilibrium cell, so the metric has no range")
    ends = [cell.bounds(metric) for cell in cells]
    return min(e[0] for e in ends), max(e[1] for e in ends)
