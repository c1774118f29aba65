"""Pure equilibria, against an independent brute force."""

import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.autobidding import equilibrium
from lib.autobidding.bidders import Bidder, multipliers_of
from lib.autobidding.equilibrium import (
    best_response,
    equilibria_2p,
    equilibrium_range,
    is_equilibrium,
)
from lib.autobidding.market import Market

# ── Brute force: clears by a loop, knows nothing of the library's thresholds or cells ──────────


def play(market, rule, goals):
    """Conversions and spend of each bidder, by a plain loop over clusters."""
    n = len(goals)
    won, paid = [Fraction(0)] * n, [Fraction(0)] * n
    for w, row in zip(market.weights, market.predictions, strict=True):
        bids = [g * p for g, p in zip(goals, row, strict=True)]
        i = bids.index(max(bids))
        price = bids[i] if rule == "first" else max(bids[:i] + bids[i + 1 :], default=Fraction(0))
        won[i] += w * row[i]
        paid[i] += w * price
    return won, paid


def payoff(market, bidders, rule, goals, i):
    won, paid = play(market, rule, goals)
    b = bidders[i]
    if b.budget is not None and paid[i] > b.budget:
        return None
    if b.kind == "tcpa":
        return won[i] if paid[i] <= b.value * won[i] else None
    return b.value * won[i] - paid[i]


def candidates(market, bidders, goals, i):
    """Every threshold, every multiplier at which a set of clusters costs a limit, and between."""
    points = {Fraction(0), Fraction(bidders[i].value), goals[i]}
    sums = [Fraction(0)]
    for w, row in zip(market.weights, market.predictions, strict=True):
        if row[i] > 0:
            points.update(goals[j] * row[j] / row[i] for j in range(len(goals)) if j != i)
            sums += [s + w * row[i] for s in sums]
    if bidders[i].budget is not None:
        points.update(Fraction(bidders[i].budget) / s for s in sums if s > 0)
    ordered = sorted(points)
    tiny = Fraction(1, 10**9)
    between = [(a + b) / 2 for a, b in pairwise(ordered)]
    return [*ordered, *between, *(p + tiny for p in ordered), ordered[-1] + 1]


def brute_nash(market, bidders, rule, goals):
    for i in range(len(goals)):
        now = payoff(market, bidders, rule, goals, i)
        if now is None:
            return False
        for g in candidates(market, bidders, goals, i):
            other = payoff(market, bidders, rule, [*goals[:i], g, *goals[i + 1 :]], i)
            if other is not None and other > now:
                return False
    return True


def draw_market(rng, n_clusters, n_bidders=2):
    def prediction():
        return Fraction(rng.choice([0, *range(1, 20)]), 20)

    return Market.exact(
        [rng.randint(1, 3) for _ in range(n_clusters)],
        [[prediction() for _ in range(n_bidders)] for _ in range(n_clusters)],
    )


def draw_bidder(rng, kind="tcpa", budget=False):
    return Bidder(
        kind, Fraction(rng.randint(1, 12), 4), Fraction(rng.randint(1, 12), 8) if budget else None
    )


def interior_points(cell, rng, count):
    """Random strictly positive mixtures of the vertices."""
    for _ in range(count):
        mix = [rng.randint(1, 9) for _ in cell.vertices]
        total = sum(mix)
        yield tuple(
            sum(m * v[i] for m, v in zip(mix, cell.vertices, strict=True)) / Fraction(total)
            for i in (0, 1)
        )


SETTINGS = [
    ("second", "tcpa", False),
    ("second", "tcpa", True),
    ("first", "tcpa", False),
    ("first", "tcpa", True),
    ("second", "maxcpa", False),
    ("first", "maxcpa", False),
]


def most_clusters(rule, kind, otherwise):
    """First-price MAX-CPA bidders hardly ever have a pure equilibrium beyond one cluster."""
    return 1 if (rule, kind) == ("first", "maxcpa") else otherwise


@pytest.mark.parametrize(("rule", "kind", "budget"), SETTINGS)
@pytest.mark.parametrize("undominated", [True, False])
def test_every_cell_consists_of_equilibria(rule, kind, budget, undominated):
    rng = random.Random(f"{rule}{kind}{budget}{undominated}")
    found = 0
    for _ in range(10):
        market = draw_market(rng, rng.randint(1, most_clusters(rule, kind, 4)))
        pair = [
            draw_bidder(rng, kind, budget),
            draw_bidder(rng, kind, budget and rng.random() < 0.5),
        ]
        for cell in equilibria_2p(market, pair, rule, undominated=undominated):
            found += 1
            for point in [cell.centroid, *interior_points(cell, rng, 2)]:
                assert cell.contains(point)
                assert brute_nash(market, pair, rule, list(point)), (market, pair, point)
                assert is_equilibrium(market, pair, multipliers_of(pair, point), rule)
                won, paid = play(market, rule, list(point))
                assert sum(paid) == cell.at("revenue", point)
                assert cell.revenue[0] <= sum(paid) <= cell.revenue[1]
                worth = [b.value * c for b, c in zip(pair, won, strict=True)]
                assert sum(worth) == cell.welfare
    assert found > 4


@pytest.mark.parametrize(("rule", "kind", "budget"), SETTINGS)
def test_every_equilibrium_lies_in_a_cell(rule, kind, budget):
    """Profiles on thresholds, caps and random places: brute force and cells must agree."""
    rng = random.Random(f"in{rule}{kind}{budget}")
    nash = 0
    for _ in range(9):
        market = draw_market(rng, rng.randint(1, most_clusters(rule, kind, 3)))
        pair = [draw_bidder(rng, kind, budget), draw_bidder(rng, kind, False)]
        cells = equilibria_2p(market, pair, rule, undominated=False)
        for _ in range(25):
            g2 = rng.choice([Fraction(pair[1].value), Fraction(rng.randint(1, 60), 12)])
            near = candidates(market, pair, [Fraction(0), g2], 0)
            g1 = rng.choice([*near, Fraction(rng.randint(1, 60), 12), Fraction(pair[0].value)])
            point = (g1, g2)
            expected = brute_nash(market, pair, rule, list(point))
            nash += expected
            assert expected == any(c.contains(point) for c in cells), (market, pair, point)
            check = is_equilibrium(market, pair, multipliers_of(pair, point), rule)
            assert check.holds == expected
    assert nash > 4


@settings(max_examples=40)
@given(st.integers(0, 10**9), st.sampled_from(["first", "second"]), st.integers(2, 4))
def test_witness_of_any_market_pays(seed, rule, n):
    rng = random.Random(seed)
    market = draw_market(rng, rng.randint(1, 4), n)
    bidders = [
        draw_bidder(rng, rng.choice(["tcpa", "maxcpa"]), rng.random() < 0.3) for _ in range(n)
    ]
    goals = [Fraction(rng.randint(0, 12), 4) for _ in range(n)]
    check = is_equilibrium(market, bidders, multipliers_of(bidders, goals), rule)
    assert check.holds == brute_nash(market, bidders, rule, goals)
    if check.witness is not None:
        w = check.witness
        deviated = list(goals)
        deviated[w.bidder] = w.multiplier * bidders[w.bidder].value
        before = payoff(market, bidders, rule, goals, w.bidder)
        after = payoff(market, bidders, rule, deviated, w.bidder)
        assert after is not None
        if before is None:
            assert w.gain == float("inf")
        else:
            assert 0 < w.gain == after - before <= w.supremum <= 2 * w.gain


def test_best_response_dominates_all_candidates():
    rng = random.Random(5)
    for _ in range(60):
        market = draw_market(rng, 3, 3)
        bidders = [draw_bidder(rng, rng.choice(["tcpa", "maxcpa"]), False) for _ in range(3)]
        goals = [Fraction(rng.randint(0, 12), 4) for _ in range(3)]
        for rule in ("first", "second"):
            reply = best_response(market, bidders, multipliers_of(bidders, goals), 1, rule)
            for g in candidates(market, bidders, goals, 1):
                other = payoff(market, bidders, rule, [goals[0], g, goals[2]], 1)
                assert other is None or other <= reply.payoff


def test_ties_are_exact():
    """Bidder 1 at the rival's bid wins; a hair below it loses."""
    market = Market.exact([1], [["1/2", "1/4"]])
    pair = [Bidder("maxcpa", 4), Bidder("maxcpa", 2)]
    assert is_equilibrium(market, pair, [Fraction(1, 4), 1], "first")
    below = is_equilibrium(market, pair, [Fraction(1, 4) - Fraction(1, 10**30), 1], "first")
    assert not below
    assert below.witness.bidder == 0
    above = is_equilibrium(market, pair, [Fraction(1, 4) + Fraction(1, 10**30), 1], "first")
    assert not above


def test_dominated_multipliers_can_be_left_out():
    """Lemma: one first-price tCPA bidder at a tenth of its target is still a best responder."""
    market = Market.exact([1], [["1/2", "0"]])
    pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    assert is_equilibrium(market, pair, [Fraction(1, 10), 1], "first")
    low = equilibrium_range(equilibria_2p(market, pair, "first", undominated=False), "revenue")
    # It never meets its rival, so no low bid of it is dominated; one in a hundred will do.
    alone = equilibrium_range(equilibria_2p(market, pair, "first"), "revenue")
    assert low == alone == (0, Fraction(1, 2))
    met = Market.exact([1], [["1/2", "1/100"]])
    both = equilibrium_range(equilibria_2p(met, pair, "first", undominated=False), "revenue")
    only = equilibrium_range(equilibria_2p(met, pair, "first"), "revenue")
    assert both == (Fraction(1, 100), Fraction(1, 2))
    assert only == (Fraction(1, 2), Fraction(1, 2))


@pytest.mark.parametrize("rule", ["first", "second"])
def test_float_cells_match_exact_ones(rule):
    rng = random.Random(11)
    for _ in range(15):
        market = draw_market(rng, 4)
        pair = [draw_bidder(rng, budget=rule == "first"), draw_bidder(rng)]
        exact = equilibria_2p(market, pair, rule, undominated=False)
        floats = equilibria_2p(market.to_float(), pair, rule, undominated=False)
        solid = {c.allocation: c for c in exact if c.has_interior}
        found = {c.allocation: c for c in floats}
        for allocation, cell in solid.items():
            assert found[allocation].welfare == pytest.approx(float(cell.welfare))
            assert found[allocation].revenue == pytest.approx([float(r) for r in cell.revenue])


@pytest.mark.parametrize("rule", ["first", "second"])
def test_cells_are_invariant(rule):
    rng = random.Random(3)
    for _ in range(15):
        market = draw_market(rng, 3)
        pair = [draw_bidder(rng), draw_bidder(rng)]
        base = equilibria_2p(market, pair, rule)
        scaled = equilibria_2p(market, [Bidder("tcpa", 7 * b.value) for b in pair], rule)
        assert [c.allocation for c in scaled] == [c.allocation for c in base]
        assert [c.welfare for c in scaled] == [7 * c.welfare for c in base]
        assert [c.revenue[1] for c in scaled] == [7 * c.revenue[1] for c in base]
        double = Market.exact(
            [Fraction(w) / 2 for w in market.weights for _ in range(2)],
            [row for row in market.predictions.tolist() for _ in range(2)],
        )
        twice = equilibria_2p(double, pair, rule)
        assert [(c.welfare, c.revenue) for c in twice] == [(c.welfare, c.revenue) for c in base]


def test_bad_input():
    market = Market.exact([1], [["1/2", "1/4"]])
    pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    with pytest.raises(ValueError, match="two bidders, the market has 1"):
        equilibria_2p(Market.exact([1], [["1/2"]]), pair[:1])
    with pytest.raises(ValueError, match="market has 2 bidders, got 1"):
        equilibria_2p(market, pair[:1])
    with pytest.raises(ValueError, match="rule is 'all-pay'"):
        equilibria_2p(market, pair, "all-pay")
    with pytest.raises(ValueError, match="budget 1/9 of MAX-CPA bidder 0"):
        equilibria_2p(market, [Bidder("maxcpa", 1, Fraction(1, 9)), pair[1]], "first")
    with pytest.raises(ValueError, match="bidder is 2"):
        best_response(market, pair, [1, 1], 2)
    with pytest.raises(ValueError, match="no equilibrium cell"):
        equilibrium_range([], "revenue")


# ── What is left out as dominated ─────────────────────────────────────────────────────────────


def low_ends(market, pair, rule):
    """Smallest multiplier of each bidder in any cell, and whether it belongs to one."""
    cells = equilibria_2p(market, pair, rule)
    ends = []
    for i in (0, 1):
        low = min(v[i] for c in cells for v in c.vertices)
        face = [v for c in cells for v in c.vertices if v[i] == low]
        ends.append((low, any(c.contains(v) for c in cells for v in face)))
    return ends


def test_bidders_that_never_meet_may_bid_anything_above_zero():
    market = Market.exact([1, 1], [[1, 0], [0, 1]])
    pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    tenth = (Fraction(1, 10), Fraction(1, 10))
    for rule in ("first", "second"):
        cells = equilibria_2p(market, pair, rule)
        assert [c.allocation for c in cells] == [(0, 1)]
        assert cells[0].contains(tenth)
        # Bidder 0 wins ties at zero, bidder 1 loses them.
        assert cells[0].contains((Fraction(0), Fraction(1)))
        assert not cells[0].contains((Fraction(1), Fraction(0)))
    first = equilibria_2p(market, pair, "first")[0]
    assert first.revenue == (0, 2)
    assert not first.contains((Fraction(11, 10), Fraction(1)))
    assert equilibria_2p(market, pair, "second")[0].unbounded
    truthful = [Bidder("maxcpa", 1), Bidder("maxcpa", 1)]
    assert equilibria_2p(market, truthful, "second")[0].contains(tenth)


def test_bidders_that_meet_bid_their_target_or_what_the_budget_allows():
    market = Market.exact([1, 1], [["1/2", "1/10"], ["1/10", "1/2"]])
    pair = [Bidder("tcpa", 2), Bidder("tcpa", 1)]
    assert low_ends(market, pair, "first") == [(2, True), (1, True)]
    assert low_ends(market, pair, "second") == [(2, True), (1, True)]
    # A budget of 3/5 over 3/5 predicted conversions: a bid of 1 is always affordable.
    short = [Bidder("tcpa", 2, Fraction(3, 5)), Bidder("tcpa", 1)]
    assert low_ends(market, short, "first")[0][0] == 1
    rich = [Bidder("tcpa", 2, Fraction(30)), Bidder("tcpa", 1)]
    assert low_ends(market, rich, "first")[0][0] == 2
    truthful = [Bidder("maxcpa", 3), Bidder("maxcpa", 2)]
    cells = equilibria_2p(market, truthful, "second")
    assert [c.vertices for c in cells] == [((3, 2),)]


def test_a_bidder_without_predictions_may_bid_anything():
    market = Market.exact([1], [["1/2", 0]])
    pair = [Bidder("tcpa", 1), Bidder("tcpa", 1)]
    cell = equilibria_2p(market, pair, "first")[0]
    assert cell.contains((Fraction(1), Fraction(0)))
    assert cell.contains((Fraction(1), Fraction(50)))


# ── Units ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("unit", [1e-12, 1e-9, 1.0, 1e9])
@pytest.mark.parametrize("kind", ["tcpa", "maxcpa"])
def test_no_unit_of_weight_turns_the_answer(unit, kind):
    """The input of the review: at weight 1e-9 a tenth of the target was an equilibrium."""
    market = Market([unit], [[0.5, 0.4]])
    pair = [Bidder(kind, 2.0), Bidder(kind, 1.0)]
    assert not is_equilibrium(market, pair, [0.1, 1], "first")
    held = [1, 1] if kind == "tcpa" else [0.4, 1]
    assert is_equilibrium(market, pair, held, "first")
    cells = equilibria_2p(market, pair, "first", undominated=False)
    assert not any(c.contains((0.2, 1.0)) for c in cells)
    assert any(c.contains((2.0 if kind == "tcpa" else 0.8, 1.0)) for c in cells)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_no_unit_of_money_turns_the_answer(unit):
    market = Market([1.0, 1.0], [[0.5, 0.4], [0.1, 0.3]])
    pair = [Bidder("maxcpa", 2 * unit), Bidder("maxcpa", unit)]
    reply = best_response(market, pair, [1, 1], 0, "first")
    # Shading to the rival's bids: all for 3 a conversion is more than 2, the first for 4/5.
    assert reply.multiplier == pytest.approx(0.4)
    assert reply.payoff == pytest.approx(0.6 * unit)
    assert reply.regret == pytest.approx(0.6 * unit)
    assert reply.gains
    assert not best_response(market, pair, [0.4, 1], 0, "first").gains
    assert not best_response(market, pair, [0.4 * (1 + 1e-12), 1], 0, "first").gains


def test_rounding_is_no_gain():
    market = Market([1 / 3, 1 / 7], [[0.3, 0.1], [0.1, 0.7]])
    pair = [Bidder("tcpa", 0.1), Bidder("tcpa", 0.3)]
    assert is_equilibrium(market, pair, [1, 1], "first")
    assert is_equilibrium(market, pair, [1 + 1e-13, 1], "first")
    assert not is_equilibrium(market, pair, [1 + 1e-6, 1], "first")


# ── Cost: what first-price MAX-CPA bidder 1 refuses is refused at once ────────────────────────


def counted(monkeypatch, pair, n_clusters):
    built = []
    plain = equilibrium.HalfPlane

    def plane(*arguments, **options):
        built.append(1)
        return plain(*arguments, **options)

    rng = random.Random(n_clusters)
    market = draw_market(rng, n_clusters).to_float()
    monkeypatch.setattr(equilibrium, "HalfPlane", plane)
    equilibria_2p(market, pair, "first")
    monkeypatch.undo()
    return len(built)


def test_half_planes_grow_no_faster_than_clusters(monkeypatch):
    pairs = [
        [Bidder("maxcpa", 2.0), Bidder("maxcpa", 1.0)],
        [Bidder("maxcpa", 2.0), Bidder("tcpa", 1.0)],
        [Bidder("tcpa", 2.0), Bidder("maxcpa", 1.0)],
    ]
    for pair in pairs:
        small, large = (counted(monkeypatch, pair, n) for n in (40, 160))
        assert large < 6 * small < 6 * 40 * 12


def test_enumeration_of_mixed_kinds_agrees_with_brute_force():
    """First price, MAX-CPA against tCPA, both ways round; many clusters on a chain."""
    rng = random.Random(17)
    found = 0
    for _ in range(60):
        market = draw_market(rng, rng.randint(1, 3))
        kinds = rng.sample(["tcpa", "maxcpa"], 2)
        pair = [draw_bidder(rng, kind) for kind in kinds]
        cells = equilibria_2p(market, pair, "first", undominated=False)
        for cell in cells:
            found += 1
            assert brute_nash(market, pair, "first", list(cell.centroid))
        for _ in range(12):
            g2 = rng.choice([Fraction(pair[1].value), Fraction(rng.randint(1, 40), 8)])
            g1 = rng.choice(candidates(market, pair, [Fraction(0), g2], 0))
            expected = brute_nash(market, pair, "first", [g1, g2])
            assert expected == any(c.contains((g1, g2)) for c in cells), (market, pair, g1, g2)
    assert found > 20


def test_sums_of_floats_leave_nothing_behind():
    """Where bidder 1 converts nothing more, exactly nothing is left, whatever came before."""
    market = Market(np.ones(3), [[0.1, 0.1], [0.3, 0.2], [0.2, 0.0]])
    pair = [Bidder("maxcpa", 100.0), Bidder("maxcpa", 1.0)]
    assert [c.allocation for c in equilibria_2p(market, pair, "first")] == [(0, 0, 0)]


def test_whole_numbers_may_be_written_as_floats():
    market = Market([1.0], [[0.5, 0.4]])
    pair = [Bidder("tcpa", 2.0), Bidder("tcpa", 1.0)]
    assert best_response(market, pair, [1, 1], 1.0, "first") == best_response(
        market, pair, [1, 1], 1, "first"
    )


# ── Found by the second referee ───────────────────────────────────────────────────────────────

SMALL = [
    # Predictions, weights, targets, budget of bidder 0, rule.
    ([[0.4, 0.1], [0.4, 0.2]], [2, 3], (6, 6), 1.25, "first"),
    ([[0, 0.4], [0.5, 0.5], [0.3, 0.5]], [2, 1, 2], (4, 5), None, "second"),
    ([[0.4, 0.4], [0.1, 0], [0.5, 0]], [3, 2, 1], (2, 2), None, "second"),
]


@pytest.mark.parametrize("case", SMALL)
@pytest.mark.parametrize("unit", [1e-12, 1e-9, 1e9])
def test_cells_are_the_same_in_any_unit_of_money(case, unit):
    predictions, weights, targets, budget, rule = case
    market = Market(np.array(weights, dtype=float), np.array(predictions, dtype=float))

    def cells(scale):
        pair = [
            Bidder("tcpa", targets[0] * scale, None if budget is None else budget * scale),
            Bidder("tcpa", targets[1] * scale),
        ]
        return equilibria_2p(market, pair, rule)

    base, found = cells(1.0), cells(unit)
    assert base
    assert [c.allocation for c in found] == [c.allocation for c in base]
    for cell, other in zip(base, found, strict=True):
        assert np.array(other.revenue) / unit == pytest.approx(np.array(cell.revenue))
        assert other.unbounded == cell.unbounded
        assert (other.binding is None) == (cell.binding is None)


def test_random_cells_are_the_same_in_any_unit_of_money():
    rng = random.Random(29)
    for _ in range(25):
        market = draw_market(rng, 3).to_float()
        rule = rng.choice(["first", "second"])
        plain = [draw_bidder(rng, budget=rule == "first"), draw_bidder(rng)]
        tiny = [
            Bidder("tcpa", float(b.value) * 1e-9, None if b.budget is None else b.budget * 1e-9)
            for b in plain
        ]
        found = [[c.allocation for c in equilibria_2p(market, p, rule)] for p in (plain, tiny)]
        assert found[0] == found[1]
