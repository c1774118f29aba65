"""The parts of the enumeration of equilibria, each by hand: options, half-planes, polygons."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lib.autobidding import equilibrium as eq
from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import HalfPlane, _Option, _Split, best_response, equilibria_2p
from lib.autobidding.market import Market

ONE = Fraction(1)
CROSSED = Market.exact([1, 1], [["1/2", "1/4"], ["1/4", "1/2"]])
Q = Fraction


def options(market, goals, bidder, first=False):
    return list(eq._options(market, np.array(goals, dtype=object), bidder, first_price=first))


# ── Options of one bidder ─────────────────────────────────────────────────────────────────────


def test_options_by_hand() -> None:
    """Bidder 0 gets a tied cluster, bidder 1 only above the tie."""
    market = Market.exact([2, 3], [["1/2", "1/4"], ["1/4", "1/2"]])
    assert options(market, [Q(9), Q(1)], 0) == [
        _Option(0, False, Q(1, 2), 0, 0),
        _Option(Q(1, 2), False, 2, 1, Q(1, 2)),
        _Option(2, False, None, Q(7, 4), 2),
    ]
    assert options(market, [Q(1), Q(9)], 1) == [
        _Option(0, False, Q(1, 2), 0, 0),
        _Option(Q(1, 2), True, 2, Q(3, 2), Q(3, 4)),
        _Option(2, True, None, 2, Q(7, 4)),
    ]
    assert [one.cost for one in options(market, [Q(1), Q(9)], 1, first=True)] == [None] * 3


def test_a_tie_is_lost_to_a_lower_index_only() -> None:
    """Bidder 1 of three; the price is held by 0, by 2, and by both."""
    goals = [Q(1), Q(5), Q(1)]

    def is_open(*row):
        return [one.open for one in options(Market.exact([1], [row]), goals, 1)]

    assert is_open("1/2", "1/2", "1/4") == [False, True]
    assert is_open("1/4", "1/2", "1/2") == [False, False]
    assert is_open("1/2", "1/2", "1/2") == [False, True]


def test_what_brings_nothing_is_no_option() -> None:
    market = Market.exact([1, 1], [["1/2", 0], ["1/4", "1/2"]])
    assert options(market, [Q(1), Q(1)], 1) == [
        _Option(0, False, Q(1, 2), 0, 0),
        _Option(Q(1, 2), True, None, Q(1, 2), Q(1, 4)),
    ]
    nothing = Market.exact([1], [["1/2", 0]])
    assert options(nothing, [Q(1), Q(1)], 1) == [_Option(0, False, None, 0, 0)]


def test_what_is_free_comes_with_a_bid_of_zero_or_just_above() -> None:
    free = Market.exact([1, 2], [["1/2", 0], ["1/2", 0]])
    assert options(free, [Q(1), Q(1)], 0) == [_Option(0, False, None, Q(3, 2), 0)]
    other = Market.exact([1, 2], [[0, "1/2"], [0, "1/2"]])
    assert options(other, [Q(1), Q(1)], 1) == [
        _Option(0, False, 0, 0, 0),
        _Option(0, True, None, Q(3, 2), 0),
    ]


def test_a_bidder_alone_pays_nothing() -> None:
    alone = Market.exact([2], [["1/2"]])
    for rule in ("first", "second"):
        reply = best_response(alone, [Bidder("maxcpa", 3)], [1], 0, rule)
        assert (reply.payoff, reply.multiplier, reply.attained) == (3, 0, True)


# ── Best responses ────────────────────────────────────────────────────────────────────────────


def reply(kind, value, budget, goal, rule):
    """Reply of bidder 1 at effective multiplier `goal` to a rival that bids 1 per conversion.

    Its thresholds are 1/2 (1/2 conversions for 1/4) and 2 (3/4 for 3/4), both open.
    """
    pair = [Bidder("tcpa", 1), Bidder(kind, value, budget)]
    return best_response(CROSSED, pair, [1, Q(goal) / value], 1, rule)


@pytest.mark.parametrize(
    ("kind", "value", "budget", "goal", "rule", "expected"),
    [
        # Above the last threshold by one; half way between two; budget met exactly.
        ("tcpa", 4, None, "1/2", "second", (Q(3, 4), 0, Q(3, 4), Q(3, 4), True, 0)),
        ("tcpa", 4, Q(1, 2), "1/2", "second", (Q(1, 2), 0, Q(5, 16), Q(1, 2), True, 0)),
        ("tcpa", 4, Q(3, 4), "1/2", "second", (Q(3, 4), 0, Q(3, 4), Q(3, 4), True, 0)),
        ("tcpa", 4, Q(3, 4), 1, "second", (Q(3, 4), Q(1, 2), Q(3, 4), Q(3, 4), True, 0)),
        # All for exactly the target: the threshold itself is not enough, and more is too much.
        ("tcpa", 2, None, 1, "first", (Q(1, 2), Q(1, 2), Q(5, 8), Q(1, 2), True, 0)),
        ("tcpa", 2, Q(1, 3), "3/5", "first", (Q(1, 2), Q(1, 2), Q(7, 24), Q(1, 2), True, 0)),
        ("tcpa", 2, Q(1, 4), 0, "first", (0, 0, 0, 0, True, 0)),
        # As close to the threshold as keeps half of what there is to gain.
        ("maxcpa", 3, None, 1, "first", (Q(5, 4), 1, Q(1, 4), Q(9, 8), False, Q(3, 2))),
        ("maxcpa", 3, None, 0, "first", (Q(5, 4), 0, Q(5, 12), Q(7, 8), False, Q(3, 2))),
        # A broken budget at present: half a conversion's worth above the threshold will do.
        ("maxcpa", 3, 1, 3, "first", (Q(5, 4), -math.inf, Q(1, 3), 1, False, Q(9, 4))),
        (
            "maxcpa",
            3,
            Q(1, 3),
            1,
            "first",
            (Q(5, 4), -math.inf, Q(7, 36), Q(29, 24), False, Q(3, 2)),
        ),
        # Second price: the first for 1/4, and the rest for 2 a conversion is worth it at 3.
        ("maxcpa", 3, None, 1, "second", (Q(3, 2), Q(5, 4), 1, Q(3, 2), True, Q(9, 4))),
        ("maxcpa", 1, None, 5, "second", (Q(1, 4), 0, Q(5, 4), Q(1, 4), True, Q(3, 4))),
    ],
)
def test_best_responses_by_hand(kind, value, budget, goal, rule, expected) -> None:
    found = reply(kind, value, budget, goal, rule)
    assert (
        found.payoff,
        found.current,
        found.multiplier,
        found.reached,
        found.attained,
        found.scale,
    ) == expected
    assert found.regret == expected[0] - expected[1]
    assert found.gains == (expected[0] > expected[1])


def test_of_two_equal_replies_the_attained_one_is_taken() -> None:
    """First price at value 3: half a conversion for 1 each, or one for 2 each, earns 1."""
    bidders = [Bidder("tcpa", 1), Bidder("maxcpa", 3), Bidder("tcpa", 1)]
    late = Market.exact([1, 1], [["1/2", "1/2", 0], [0, "1/2", 1]])
    found = best_response(late, bidders, [1, 0, 1], 1, "first")
    assert (found.payoff, found.multiplier, found.reached, found.attained) == (1, Q(2, 3), 1, True)
    early = Market.exact([1, 1], [[0, "1/2", "1/2"], [1, "1/2", 0]])
    found = best_response(early, bidders, [1, 0, 1], 1, "first")
    assert (found.payoff, found.multiplier, found.reached, found.attained) == (1, Q(1, 3), 1, True)


def test_which_bidder_must_be_one_of_the_market() -> None:
    pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    for bad in (-1, 2):
        with pytest.raises(ValueError, match=f"bidder is {bad}"):
            best_response(CROSSED, pair, [1, 1], bad)
    assert best_response(CROSSED, pair, [1, 1], 0) == best_response(
        CROSSED, pair, [1, 1], 0, "second"
    )


def test_witnesses_say_what_is_wrong() -> None:
    def witness(pair, multipliers, rule):
        found = eq.is_equilibrium(CROSSED, pair, multipliers, rule)
        assert not found
        assert found.holds is False
        return found.witness

    pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    over = witness(pair, [Q(3, 2), 1], "first")
    assert over.why == "bidder 0 pays 3/2 per conversion, above its target 1"
    assert (over.bidder, over.gain, over.supremum) == (0, math.inf, math.inf)
    spent = witness([Bidder("tcpa", 1, Q(1, 4)), pair[1]], [1, 1], "first")
    assert spent.why == "bidder 0 spends 1/2, above its budget 1/4"
    more = witness([pair[0], Bidder("tcpa", 1)], [1, Q(1, 4)], "first")
    assert more.why == "bidder 1 wins 1/2 conversions instead of 0 and keeps its constraints"
    assert (more.bidder, more.gain, more.supremum) == (1, Q(1, 2), Q(1, 2))
    nearly = witness([pair[0], Bidder("maxcpa", 3)], [1, Q(1, 3)], "first")
    assert nearly.why == "bidder 1 earns nearly 5/4 instead of 1"
    assert (nearly.multiplier, nearly.gain, nearly.supremum) == (Q(1, 4), Q(1, 8), Q(1, 4))
    earns = witness([Bidder("maxcpa", 3), pair[1]], [1, 1], "first")
    # Bidder 0 may tie: 1/2 a conversion at 1/2 each.
    assert earns.why == "bidder 0 earns 5/4 instead of 0"
    assert eq.is_equilibrium(CROSSED, pair, [1, 1], "first").witness is None


# ── Half-planes and cells ─────────────────────────────────────────────────────────────────────


def test_the_side_of_a_line() -> None:
    plane = HalfPlane(Q(2), Q(-1), Q(3))
    assert [plane.excess(p) for p in ((Q(3), Q(1)), (Q(2), Q(1)), (Q(1), Q(1)))] == [2, 0, -2]
    assert [plane.allows(p) for p in ((Q(3), Q(1)), (Q(2), Q(1)), (Q(1), Q(1)))] == [
        False,
        True,
        True,
    ]
    strict = replace(plane, strict=True)
    assert [strict.allows(p) for p in ((Q(3), Q(1)), (Q(2), Q(1)), (Q(1), Q(1)))] == [
        False,
        False,
        True,
    ]


def test_rounding_is_on_the_line_by_the_size_of_the_summands() -> None:
    line = HalfPlane(1.0, 0.0, 1.0)
    assert line.excess((1 + 1e-12, 5.0)) == 0 == line.excess((1 - 1e-12, 5.0))
    assert line.excess((1.5, 5.0)) == 0.5
    assert line.excess((0.5, 5.0)) == -0.5
    # Summands of a thousand: a difference of 1e-7 is rounding either way.
    balance = HalfPlane(1.0, -1.0, 0.0)
    assert balance.excess((1000.0, 1000.0 + 1e-7)) == 0 == balance.excess((1000.0 + 1e-7, 1000.0))
    assert balance.excess((1.0, 1.0 + 1e-7)) == pytest.approx(-1e-7)


def one_cell():
    (cell,) = equilibria_2p(CROSSED, [Bidder("tcpa", 2), Bidder("tcpa", 2)], "first")
    return cell


def test_a_cell_has_an_area_if_not_all_corners_are_in_line() -> None:
    def area(*vertices):
        return replace(one_cell(), vertices=vertices).has_interior

    assert not area((0, 0))
    assert not area((0, 0), (1, 1))
    assert area((0, 0), (2, 1), (1, 3))
    assert not area((0, 0), (1, 2), (2, 4))
    assert not area((1, 1), (2, 3), (3, 5), (4, 7))
    assert area((1, 1), (2, 3), (3, 5), (4, 8))
    assert not area((1, 5), (2, 5), (9, 5))
    assert area((1, 5), (1, 6), (2, 5))


def test_metrics_of_a_cell() -> None:
    cell = replace(
        one_cell(), vertices=((1, 2), (4, 2), (4, 6)), revenue_slope=(3, 10), revenue=(7, 8)
    )
    assert cell.centroid == pytest.approx((3, 10 / 3))
    assert cell.at("revenue", (2, 5)) == 56
    assert cell.bounds("revenue") == (7, 8)
    assert cell.at("welfare", (2, 5)) == cell.welfare == 2
    assert cell.bounds("liquid_welfare") == (2, 2)
    for ask in (lambda: cell.at("profit", (1, 1)), lambda: cell.bounds("profit")):
        with pytest.raises(ValueError, match="metric is 'profit'"):
            ask()
    both = [replace(cell, revenue=(3, 9)), cell]
    assert eq.equilibrium_range(both, "revenue") == (3, 9)
    assert eq.equilibrium_range(both[::-1], "revenue") == (3, 9)


def test_groups_go_by_the_ratio_of_predictions() -> None:
    table = [["1/2", "1/4"], [0, 0], [0, "1/2"], ["1/4", "1/8"], ["1/2", 0], ["1/8", "1/2"]]
    market = Market.exact([1] * 6, table)
    assert eq._groups(market) == [[1, 4], [0, 3], [5], [2]]


# ── Conditions on a split ─────────────────────────────────────────────────────────────────────

SPLIT = _Split(
    *((Q(a), Q(b)) for a, b in ((6, 3), (2, 8), (4, 2), (1, 5), (7, 8), (6, 10)))  # masses
)


def tcpa(i, first, budget=None, **changes):
    return eq._tcpa_conditions(replace(SPLIT, **changes), i, Q(5), budget, first, ONE)


def test_first_price_tcpa_conditions() -> None:
    assert tcpa(0, True) == [HalfPlane(1, 0, 5), HalfPlane(0, -1, -1, True)]
    assert tcpa(0, True, Q(14)) == [HalfPlane(1, 0, Q(7, 3)), HalfPlane(0, -1, Q(-2, 5), True)]
    assert tcpa(1, True) == [HalfPlane(0, 1, 5), HalfPlane(-1, 0, Q(-5, 2), False)]
    assert tcpa(1, True, Q(14)) == [HalfPlane(0, 1, Q(7, 4)), HalfPlane(-1, 0, Q(-7, 10), False)]
    assert tcpa(0, True, inside=(0, 3)) == [HalfPlane(0, -1, -1, True)]
    assert tcpa(1, True, outside=(2, 0)) == [HalfPlane(-1, 0, Q(-5, 2), False)]
    assert tcpa(0, True, next=(0, 5)) == tcpa(0, True, next=None) == [HalfPlane(1, 0, 5)]
    assert tcpa(1, True, last=(4, 0)) == tcpa(1, True, last=None) == [HalfPlane(0, 1, 5)]
    # What is free to win would be won.
    assert tcpa(0, True, next=(1, 0)) is None
    assert tcpa(1, True, last=(0, 2)) is None


def test_second_price_tcpa_conditions() -> None:
    assert tcpa(0, False) == [HalfPlane(0, 1, 10), HalfPlane(0, -1, Q(-35, 8), True)]
    assert tcpa(0, False, Q(14)) == [
        HalfPlane(0, 1, Q(14, 3)),
        HalfPlane(0, -1, Q(-14, 8), True),
    ]
    assert tcpa(1, False) == [HalfPlane(1, 0, 20), HalfPlane(-1, 0, Q(-25, 3), True)]
    assert tcpa(1, False, Q(14)) == [HalfPlane(1, 0, 7), HalfPlane(-1, 0, Q(-7, 3), True)]
    assert tcpa(0, False, inside=(6, 0)) == [HalfPlane(0, -1, Q(-35, 8), True)]
    assert tcpa(0, False, next=(0, 5)) == tcpa(0, False, next=None) == [HalfPlane(0, 1, 10)]
    assert tcpa(0, False, inside=(6, 0), inside_plus=(7, 0)) is None
    assert tcpa(1, False, outside=(0, 8), outside_plus=(0, 10)) is None


def test_truthful_conditions() -> None:
    def planes(i, **changes):
        return eq._truthful_conditions(replace(SPLIT, **changes), i, Q(5), ONE)

    assert planes(0) == [HalfPlane(0, 2, 20), HalfPlane(0, -5, -5)]
    assert planes(1) == [HalfPlane(-4, 0, -10), HalfPlane(1, 0, 25)]
    assert planes(0, last=(0, 2)) == planes(0, last=None) == [HalfPlane(0, -5, -5)]
    assert planes(1, next=(1, 0)) == planes(1, next=None) == [HalfPlane(-4, 0, -10)]


def shading(i, rows, m, **changes):
    prefix = [(0, 0)]
    for p, q in rows:
        prefix.append((prefix[-1][0] + p, prefix[-1][1] + q))
    whole = {
        "inside": prefix[m],
        "outside": (prefix[-1][0] - prefix[m][0], prefix[-1][1] - prefix[m][1]),
        "last": rows[m - 1] if m else None,
        **changes,
    }
    return eq._shading_conditions(replace(SPLIT, **whole), i, Q(5), rows, prefix, m, ONE)


CHAIN = [(Q(4), Q(1)), (Q(2), Q(2)), (Q(1), Q(4))]


def test_a_shading_bidder_1_wins_nothing() -> None:
    rows = [(Q(2), Q(1)), (Q(1), Q(3)), (Q(3), Q(0))]
    assert shading(1, rows, 3) == [HalfPlane(-1, 0, -15)]
    assert shading(1, rows, 1) is None
    assert shading(1, [(Q(2), Q(0))], 1) == []
    assert shading(1, [(Q(0), Q(2))], 1) is None
    assert shading(1, [(Q(0), Q(0)), (Q(1), Q(1))], 2) == [HalfPlane(-1, 0, -5)]


def test_a_shading_bidder_0_stands_at_its_threshold() -> None:
    """At m = 2 it wins 6 for g2 each; other sets: 0, 4 for g2/4, and 7 for 4 g2."""
    assert shading(0, CHAIN, 2) == [
        HalfPlane(2, -2, 0),
        HalfPlane(0, -1, Q(-5, 22)),
        HalfPlane(0, 1, 2),
    ]
    # Winning nothing: 4 conversions must cost 5 or more each, so g2 / 4 is at least 5.
    assert shading(0, CHAIN, 0) == [HalfPlane(0, -1, -20)]
    # All for 4 g2: 28 g2 less 6 g2 at most 5, less g2 at most 15, and less nothing at most 35.
    assert shading(0, CHAIN, 3) == [
        HalfPlane(1, -4, 0),
        HalfPlane(0, -1, 0),
        HalfPlane(0, 1, Q(5, 22)),
    ]
    # Groups that bring it nothing ask for nothing.
    assert shading(0, [(Q(4), Q(1)), (Q(0), Q(2))], 1) == [
        HalfPlane(4, -1, 0),
        HalfPlane(0, -1, 0),
        HalfPlane(0, 1, 20),
    ]
    assert shading(0, [(Q(4), Q(1)), (Q(0), Q(2))], 2) is None
    # More for nothing is better whatever the rival does.
    assert shading(0, [(Q(1), Q(0)), (Q(1), Q(0))], 1) is None
    assert shading(0, [(Q(1), Q(0)), (Q(1), Q(0))], 2) == [HalfPlane(1, 0, 0), HalfPlane(0, -1, 0)]


def dominated(kinds, budgets, total, meet, first):
    bidders = [Bidder(kind, 1) for kind in kinds]
    return list(eq._undominated(bidders, [Q(5), Q(4)], budgets, total, meet, first, ONE))


def test_half_planes_of_undominated_multipliers() -> None:
    both, none = ("tcpa", "tcpa"), [None, None]
    up, down = HalfPlane(1, 0, 5), HalfPlane(-1, 0, -5)
    above = HalfPlane(0, -1, 0, True)
    short = HalfPlane(0, -1, Q(-1, 2))
    assert dominated(both, [None, 3], [2, 6], True, True) == [up, down, HalfPlane(0, 1, 4), short]
    assert dominated(both, [None, 3], [2, 6], True, False) == [down, short]
    assert dominated(both, [None, 300], [2, 6], True, False) == [down, HalfPlane(0, -1, -4)]
    assert dominated(both, none, [2, 6], False, False) == [above]
    assert dominated(both, none, [2, 6], False, True) == [up, HalfPlane(0, 1, 4), above]
    assert dominated(both, none, [0, 6], False, False) == [above]
    assert dominated(both, none, [2, 0], False, True) == [up]
    truthful = ("maxcpa", "tcpa")
    assert dominated(truthful, none, [2, 6], True, False) == [up, down, HalfPlane(0, -1, -4)]
    assert dominated(truthful, none, [2, 6], True, True) == [
        up,
        HalfPlane(0, 1, 4),
        HalfPlane(0, -1, -4),
    ]
    assert dominated(("tcpa", "maxcpa"), none, [2, 6], True, True) == [
        up,
        down,
        HalfPlane(0, 1, 4),
    ]
    assert dominated(("maxcpa", "maxcpa"), none, [2, 6], False, False) == [above]


# ── Polygons ──────────────────────────────────────────────────────────────────────────────────


def polygon(*planes, exact=True):
    return eq._polygon([HalfPlane(*map(Q, plane)) for plane in planes], exact=exact)


def area(corners):
    turned = [*corners[1:], corners[0]]
    return sum(a * d - b * c for (a, b), (c, d) in zip(corners, turned, strict=True)) / 2


def test_polygons_by_hand() -> None:
    corners, unbounded = polygon((-1, 0, -1), (0, -1, -2), (1, 0, 3))
    assert unbounded
    # The box is twice the largest bound.
    assert set(corners) == {(1, 2), (3, 2), (3, 6), (1, 6)}
    assert area(corners) == 8
    corners, unbounded = polygon((-2, 1, 0), (1, 0, 3))
    assert not unbounded
    assert set(corners) == {(0, 0), (3, 0), (3, 6)}
    assert area(corners) == 9
    # A slope of 1/4, of either sign, stretches the box fourfold.
    for plane in ((-1, 4, 0), (-4, 1, 0)):
        corners, unbounded = polygon(plane, (-1, 0, -2))
        assert unbounded
        assert max(max(corner) for corner in corners) == 2 * 2 * 4
    corners, unbounded = polygon((2, 0, 3), (0, 4, 2))
    assert not unbounded
    assert set(corners) == {(0, 0), (Q(3, 2), 0), (Q(3, 2), Q(1, 2)), (0, Q(1, 2))}
    assert area(corners) == Q(3, 4)


def test_polygons_without_bounds_or_without_points() -> None:
    corners, unbounded = polygon()
    assert (set(corners), unbounded) == ({(0, 0), (2, 0), (2, 2), (0, 2)}, True)
    assert polygon((0, 0, 0)) == (corners, True)
    assert polygon((0, 0, -1)) == ([], False)
    assert polygon((1, 0, -1)) == ([], False)
    assert polygon((1, 0, 1), (-1, 0, -2)) == ([], False)
    assert polygon((1, 0, 0), (0, 1, 0)) == ([(0, 0)], False)
    line, unbounded = polygon((1, -1, 0), (-1, 1, 0), (1, 0, 3))
    assert (set(line), unbounded) == ({(0, 0), (3, 3)}, False)
    floats, unbounded = eq._polygon([HalfPlane(1.0, 0.0, 3.0)], exact=False)
    assert all(isinstance(x, float) for corner in floats for x in corner)
    assert set(floats) == {(0, 0), (3, 0), (3, 6), (0, 6)}


def test_an_end_is_attained_in_the_middle_of_its_face() -> None:
    square = [(Q(0), Q(0)), (Q(2), Q(0)), (Q(2), Q(2)), (Q(0), Q(2))]
    heights = [0, 0, 2, 2]
    above, right = HalfPlane(0, -1, 0, True), HalfPlane(-1, 0, 0, True)
    assert not eq._attains(square, heights, 0, [above])
    assert eq._attains(square, heights, 2, [above])
    # The face from (0, 0) to (2, 0) loses its left end only.
    assert eq._attains(square, heights, 0, [right])
    assert not eq._attains(square, heights, 0, [right, above])
    assert eq._attains(square, heights, 0, [HalfPlane(0, -1, 0)])
    assert not eq._attains(square, [0, 1, 2, 1], 0, [right])


# ── Whole cells ───────────────────────────────────────────────────────────────────────────────


def test_a_first_price_cell_by_hand() -> None:
    """Bidders that never meet: any bids up to the targets, of bidder 1 above zero."""
    market = Market.exact([1, 2], [["1/2", 0], [0, "1/4"]])
    pair = [Bidder("tcpa", 3), Bidder("tcpa", 5, Q(1, 2))]
    (cell,) = equilibria_2p(market, pair, "first")
    assert cell.allocation == (0, 1)
    assert set(cell.vertices) == {(0, 0), (3, 0), (3, 1), (0, 1)}
    assert not cell.unbounded
    assert cell.revenue_slope == (Q(1, 2), Q(1, 2))
    assert (cell.revenue, cell.revenue_attained) == ((0, 2), (False, True))
    assert (cell.welfare, cell.liquid_welfare) == (4, 2)
    # At both targets the budget is broken.
    assert cell.binding is None
    free = equilibria_2p(market, [Bidder("tcpa", 3), Bidder("tcpa", 5)], "first")[0]
    assert (free.binding, free.revenue) == ((3, 5), (0, 4))


def test_a_second_price_cell_by_hand() -> None:
    """Both win one cluster: spends g2/4 and g1/4 of 1/2 conversion each, up to targets of 2."""
    pair = [Bidder("tcpa", 2), Bidder("tcpa", 2)]
    cells = {c.allocation: c for c in equilibria_2p(CROSSED, pair, "second")}
    cell = cells[0, 1]
    assert (cell.binding, cell.revenue_slope) == ((4, 4), (Q(1, 4), Q(1, 4)))
    assert cell.welfare == cell.liquid_welfare == 2
    assert cell.revenue[1] == 2
    # Against one that wins all, at g2 = 2 target 2 for 3/4 conversions pays for 3/4 g2.
    everything = cells[0, 0]
    assert (everything.binding, everything.welfare) == (None, Q(3, 2))
    assert everything.revenue_slope == (0, Q(3, 4))
    assert everything.unbounded


def test_first_price_binds_only_where_both_win() -> None:
    market = Market.exact([1], [["1/2", "1/4"]])
    pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    (cell,) = equilibria_2p(market, pair, "first")
    assert (cell.allocation, cell.binding) == ((0,), None)
    mixed = [Bidder("maxcpa", 1), Bidder("tcpa", 1)]
    assert all(c.binding is None for c in equilibria_2p(CROSSED, mixed, "second"))
    both = equilibria_2p(CROSSED, pair, "first")
    assert [c.binding for c in both] == [(1, 1)]


def test_budgets_of_maxcpa_bidders_must_pay_for_everything() -> None:
    """Of either bidder, whatever the other is; a budget of exactly all is enough."""
    enough, short = Q(3, 2), Q(3, 2) - Q(1, 100)
    for rest in (Bidder("tcpa", 1), Bidder("maxcpa", 2), Bidder("tcpa", 1, Q(1, 9))):
        for pair in ([Bidder("maxcpa", 2, enough), rest], [rest, Bidder("maxcpa", 2, enough)]):
            i = [b.budget for b in pair].index(enough)
            without = [replace(b, budget=None) if k == i else b for k, b in enumerate(pair)]
            assert equilibria_2p(CROSSED, pair) == equilibria_2p(CROSSED, without)
            poor = [replace(b, budget=short) if k == i else b for k, b in enumerate(pair)]
            with pytest.raises(ValueError, match=f"MAX-CPA bidder {i} is below"):
                equilibria_2p(CROSSED, poor)


def test_second_price_and_undominated_unless_told() -> None:
    pair = [Bidder("tcpa", 2), Bidder("tcpa", 2)]
    assert equilibria_2p(CROSSED, pair) == equilibria_2p(CROSSED, pair, "vcg", undominated=True)
    low = [v for c in equilibria_2p(CROSSED, pair) for v in c.vertices]
    assert min(min(v) for v in low) == 2
    three = Market.exact([1], [["1/2", "1/4", "1/8"]])
    with pytest.raises(ValueError, match="two bidders, the market has 3"):
        equilibria_2p(three, [*pair, pair[0]])


# ── Small numbers: nothing is told from zero by being above one ───────────────────────────────


def test_conditions_are_the_same_at_a_tenth_of_the_mass() -> None:
    tenth = _Split(
        *(
            None if pair is None else (pair[0] / 10, pair[1] / 10)
            for pair in (getattr(SPLIT, name) for name in SPLIT.__dataclass_fields__)
        )
    )
    for i in (0, 1):
        for first in (True, False):
            found = eq._tcpa_conditions(tenth, i, Q(5), Q(14, 10), first, ONE)
            assert found == tcpa(i, first, Q(14))
        small = eq._truthful_conditions(tenth, i, Q(5), ONE)
        large = eq._truthful_conditions(SPLIT, i, Q(5), ONE)
        assert small == [HalfPlane(p.a1 / 10, p.a2 / 10, p.bound / 10) for p in large]


def test_shading_is_the_same_at_a_hundredth_of_the_mass() -> None:
    little = [(p / 100, q / 100) for p, q in CHAIN]
    for m in range(4):
        small, large = shading(0, little, m), shading(0, CHAIN, m)
        # Lines through the origin shrink, bounds on the rival's multiplier do not.
        assert small == [replace(p, a1=p.a1 / 100, a2=p.a2 / 100) if p.a1 else p for p in large]
    assert shading(1, [(Q(1, 2), Q(1, 4)), (Q(1, 8), Q(1, 2))], 2) == [HalfPlane(-1, 0, -20)]
    assert shading(1, [(Q(1, 2), Q(1, 4)), (Q(1, 8), Q(1, 2))], 1) is None
    assert shading(1, [(Q(0), Q(1, 2))], 1) is None
    assert shading(0, [(Q(1, 9), Q(0)), (Q(1, 9), Q(0))], 1) is None
    # A group that is worth nothing to either comes first.
    assert shading(0, [(Q(0), Q(0)), *CHAIN], 3) == shading(0, CHAIN, 2)
    assert shading(0, [(Q(0), Q(0)), *CHAIN], 1) == shading(0, CHAIN, 0)


def test_polygons_are_the_same_in_small() -> None:
    corners, unbounded = polygon((-2, 1, 0), (1, 0, Q(3, 10)))
    assert not unbounded
    assert set(corners) == {(0, 0), (Q(3, 10), 0), (Q(3, 10), Q(6, 10))}
    corners, unbounded = polygon((0, 1, 3))
    assert unbounded
    assert set(corners) == {(0, 0), (6, 0), (6, 3), (0, 3)}
    corners, unbounded = polygon((1, -4, 0), (0, -1, -2))
    assert unbounded
    assert max(max(corner) for corner in corners) == 2 * 2 * 4
    # A wedge cut off at a corner of the box.
    corners, unbounded = polygon((1, 1, Q(1, 4)))
    assert set(corners) >= {(0, 0)}
    corners, unbounded = polygon((Q(1, 5), 0, Q(1, 10)), (0, 1, Q(1, 10)))
    assert (set(corners), unbounded) == (
        {(0, 0), (Q(1, 2), 0), (Q(1, 2), Q(1, 10)), (0, Q(1, 10))},
        False,
    )


def test_a_little_too_much_is_too_much() -> None:
    plane = HalfPlane(Q(1), Q(0), Q(1))
    assert not plane.allows((Q(3, 2), Q(0)))
    assert plane.allows((Q(1), Q(0)))
    assert not replace(plane, strict=True).allows((Q(1), Q(0)))


def test_no_bidders_are_no_equilibrium() -> None:
    with pytest.raises(ValueError, match="the market has 2 bidders"):
        eq.is_equilibrium(CROSSED, [], [])
