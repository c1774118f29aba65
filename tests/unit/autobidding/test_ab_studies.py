"""The chapter's studies from inside: what is asked of SymPy, where searches go, what is counted."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp

from lib.autobidding.bidders import Bidder
from lib.autobidding.market import Market
from lib.autobidding.study import atlas, ceilings, learning, proofs, table1
from lib.autobidding.study.ceilings import Searched, Start, search, shutout_welfare
from lib.autobidding.study.constructions import B2, B4, SPLIT

# ── Proofs ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def asked(monkeypatch):
    """Arguments of every call of three of SymPy's functions, in order."""
    calls = {}

    def recording(name, plain):
        def call(*arguments):
            calls.setdefault(name, []).append(arguments)
            return plain(*arguments)

        return call

    for name in ("Rational", "integrate", "limit"):
        monkeypatch.setattr(sp, name, recording(name, getattr(sp, name)))
    return calls


def test_three_bidders_by_hand(asked) -> None:
    """(1, 1, 0) with (0, 1, 1): halves of 1, 2, 1, seconds 1 + 1; then (1, 0, 0) with (0, 0, 1)."""
    assert proofs._three() == (True, False)
    rise, fall = [(1, 2), (2, 2), (1, 2), (2, 2)], [(1, 2), (0, 2), (1, 2), (0, 2)]
    assert asked["Rational"] == rise + fall


def test_integrals_of_the_shading_step(asked) -> None:
    assert proofs._shading() == (True, False)
    z, theta = sp.symbols("z theta", nonnegative=True)
    top = 1 - 1 / sp.E
    expected = [(1 / (1 - z), (z, 0, top)), (1, (z, theta, top)), ((1 - z) / top, (z, theta, top))]
    for (integrand, limits), (right, ends) in zip(asked["integrate"], expected, strict=True):
        assert sp.simplify(integrand - right) == 0
        assert [sp.simplify(a - b) for a, b in zip(limits, ends, strict=True)] == [0, 0, 0]
    assert asked["Rational"] == [(3, 10)]


def test_numbers_of_the_other_steps(asked) -> None:
    proofs._quarter()
    assert sorted(asked.pop("Rational")) == [(1, 4), (1, 5)]
    proofs._budget_family()
    assert sorted(asked.pop("Rational")) == [(1, 4), (3, 2)]
    assert proofs.budget_family_limit() == Fraction(1, 4)
    (loss, eps, end, side) = asked.pop("limit")[0]
    assert (end, side) == (0, "+")
    assert sp.simplify(loss - (sp.Integer(1) / 2 - eps) / (2 + eps)) == 0
    proofs._half_family()
    (ratio, m, end) = asked.pop("limit")[0]
    # Fine 1 + 2m/(1+2m) over coarse, which has (1-m)/(1+2m) more.
    assert sp.simplify(ratio - (1 + 4 * m) / (2 + 3 * m)) == 0
    assert end == 0


def test_the_false_product_of_a_quarter_holds_away_from_the_middle(monkeypatch) -> None:
    """3/4 of 1/4 is 3/16, below a fifth; at the middle 1/4 is above it."""
    monkeypatch.setattr(proofs, "HALF", sp.Integer(3) / 4)
    assert proofs._quarter() == (False, True)


def test_a_step_is_the_function_that_decides_it() -> None:
    for step in proofs.STEPS:
        assert getattr(proofs, step.decide.__name__) is step.decide


# ── Searches ──────────────────────────────────────────────────────────────────────────────────


def test_a_start_changes_by_one_random_share() -> None:
    start = Start(((0.5, 0.0), (0.9, 0.25)), (0, 1), (5.0, 1.0), 2.0, aim=1)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        step = 10 ** rng.uniform(-3, -0.5)
        table = np.array(start.predictions) * np.exp(step * rng.standard_normal((2, 2)))
        values = np.array(start.values) * np.exp(step * rng.standard_normal(2))
        budget = 2.0 * np.exp(step * rng.standard_normal())
        found = start.changed(np.random.default_rng(seed))
        np.testing.assert_allclose(found.predictions, np.minimum(table, 1))
        np.testing.assert_allclose(found.values, values)
        assert found.budget == pytest.approx(budget)
        assert (found.labels, found.aim) == ((0, 1), 1)
    free = replace(start, budget=None).changed(np.random.default_rng(0))
    assert free.budget is None
    full = Start(((1.0, 1.0),) * 20, (0,) * 20, (1, 1)).changed(np.random.default_rng(1))
    assert np.max(full.predictions) == 1
    assert np.min(full.predictions) < 1


def test_the_bidders_of_a_start() -> None:
    first, second = Start(((0.5, 0.5),), (0,), (3.0, 4.0), 2.0).bidders("tcpa")
    assert (first, second) == (Bidder("tcpa", 3.0, 2.0), Bidder("tcpa", 4.0))


@pytest.fixture
def lineage(monkeypatch):
    """Markets are numbered: each knows its parent's number; shares are handed out in turn."""
    tried = []

    def changed(self, rng):
        return replace(self, values=(len(tried), self.values[0]))

    def looking(*shares):
        left = list(shares)

        def measure(name, start, broken, n_even):
            tried.append((*start.values, start.budget, name, broken, n_even))
            return left.pop(0)

        monkeypatch.setattr(ceilings, "_shares", measure)
        return tried

    monkeypatch.setattr(Start, "changed", changed)
    return looking


def test_a_search_goes_on_from_the_worst_so_far(lineage) -> None:
    """What is equal, or has no equilibrium, is no worse; each start is searched by itself."""
    name = "second price, tCPA"
    start = Start(((0.5, 0.5),), (0,), (-1, -9))
    tried = lineage(
        (0.5, 0.1), (0.6, 0.0), (0.4, 0.9), None, (0.4, 0.2), (0.3, 0.8), (0.9, 0.9),
        (0.9, 0.9), (0.95, 0.1), (0.2, 0.2), None, (1, 1), (1, 1), (1, 1),
    )  # fmt: skip
    found = search(name, 7, starts=(start, replace(start, values=(-2, -8))), n_even=5)
    assert [(own, parent) for own, parent, *_ in tried] == [
        *((-1, -9), (1, -1), (2, -1), (3, 2), (4, 2), (5, 2), (6, 5)),
        *((-2, -8), (8, -2), (9, -2), (10, 9), (11, 9), (12, 9), (13, 9)),
    ]
    assert len(found.shares) == 12
    assert found.shares[:2] == ((0.5, 0.1), (0.6, 0.0))
    assert {(one[3], one[4], one[5]) for one in tried} == {(name, False, 5)}
    assert found.worst == (0.2, 0.0)


def test_a_search_lowers_what_it_aims_at(lineage) -> None:
    start = Start(((0.5, 0.5),), (0,), (-1, -9), aim=1)
    tried = lineage((0.5, 0.3), (0.4, 0.6), (0.9, 0.2), (0.1, 0.9))
    search("second price, tCPA", 4, starts=(start,))
    assert [parent for _, parent, *_ in tried] == [-9, -1, -1, 2]


@pytest.mark.parametrize(
    ("name", "broken", "budget"),
    [
        ("first price, tCPA", True, 1.0),
        ("first price, tCPA", False, None),
        ("second price, tCPA", True, None),
    ],
)
def test_the_premise_that_is_dropped(lineage, name, broken, budget) -> None:
    start = Start(((0.5, 0.5),), (0,), (-1, -9))
    tried = lineage((1, 1))
    search(name, 1, starts=(start,), broken=broken)
    assert [(one[2], one[4]) for one in tried] == [(budget, broken)]


def test_a_search_has_its_own_seed_for_each_start(monkeypatch) -> None:
    seeds = []
    monkeypatch.setattr(ceilings, "_shares", lambda *_: (1, 1))
    monkeypatch.setattr(ceilings.np.random, "default_rng", seeds.append)
    search("first-price pacing", 1)
    search("first-price pacing", 1, seed=0)
    assert seeds == [[20260529, 0], [20260529, 1], [0, 0], [0, 1]]
    with pytest.raises(ValueError, match="seed is -1"):
        search("first-price pacing", 1, seed=-1)


@pytest.mark.parametrize(
    ("name", "n_even", "tops", "size"),
    [
        ("first price, MAX-CPA, CCE", None, (5.0, 5.0), 41),
        ("first price, MAX-CPA, CCE", 7, (5.0, 5.0), 7),
        ("first price, MAX-CPA, CCE, no overbidding", None, (2.0, 5.0), 61),
    ],
)
def test_grids_of_correlated_play(monkeypatch, name, n_even, tops, size) -> None:
    grids, kinds = [], set()
    ranges = iter([(0.6, 0.8), (0.4, 0.5)])

    def grid(top, **options):
        grids.append((top, options))
        return top

    def interval(model, bidders, two, metric):
        kinds.update(b.kind for b in bidders)
        assert (two, metric) == (tops, "welfare")
        return next(ranges)

    monkeypatch.setattr(ceilings, "shading_grid", grid)
    monkeypatch.setattr(ceilings, "cce_interval", interval)
    best = iter([SimpleNamespace(value=1.0), SimpleNamespace(value=0.5)])
    monkeypatch.setattr(ceilings, "lp_benchmark", lambda *_: next(best))
    start = Start(((0.5, 0.5), (0.2, 0.1)), (0, 0), (2.0, 5.0))
    found = ceilings._shares(name, start, False, n_even)
    # 0.4 of 0.8 at most; 0.6 of 1 and 0.4 of 0.5.
    assert found == pytest.approx((0.5, 0.6))
    assert grids == [(top, {"n_even": size, "n_low": 6}) for top in tops] * 2
    assert kinds == {"maxcpa"}


@pytest.mark.parametrize(
    ("name", "rule", "broken"),
    [("first price, tCPA", "first", False), ("second price, tCPA", "second", True)],
)
def test_pure_equilibria_of_a_search(monkeypatch, name, rule, broken) -> None:
    seen = []

    def cells(model, bidders, sold, undominated):
        seen.append((sold, undominated, {b.kind for b in bidders}))
        return [model] if len(seen) < 3 else []

    monkeypatch.setattr(ceilings, "equilibria_2p", cells)
    ends = iter([(3.0, 4.0), (2.0, 9.0)])

    def ranged(found, metric):
        assert metric == "liquid_welfare"
        return next(ends)

    monkeypatch.setattr(ceilings, "equilibrium_range", ranged)
    monkeypatch.setattr(ceilings, "lp_benchmark", lambda *_: SimpleNamespace(value=10.0))
    start = Start(((0.5, 0.5), (0.2, 0.1)), (0, 0), (2.0, 5.0))
    assert ceilings._shares(name, start, broken, None) == (0.5, 0.2)
    assert seen == [(rule, not broken, {"tcpa"})] * 2
    assert ceilings._shares(name, start, broken, None) is None


def test_the_stronger_bidder_is_the_first_of_two_equals() -> None:
    with pytest.raises(LookupError, match="bidder 0 cannot shut"):
        shutout_welfare(SPLIT.fine, (1, 1))
    with pytest.raises(LookupError, match="bidder 1 cannot shut"):
        shutout_welfare(SPLIT.fine, (1, 2))


def test_a_ceiling_met_is_not_broken() -> None:
    found = Searched("second price, tCPA", ((0.5, 0.5), (0.9, 0.499)))
    assert (found.breaking(), found.breaking(1.0), found.breaking(4)) == (1, 2, 0)


# ── The atlas ─────────────────────────────────────────────────────────────────────────────────


def test_all_four_events_by_a_loop() -> None:
    design, n = atlas.Design(3, 4, 2), 60
    counts = atlas.count_changes(design, n, np.random.default_rng(8))
    rng = np.random.default_rng(8)
    fine = rng.uniform(size=(n, 4, 3))
    targets = rng.uniform(0.5, 2, size=(n, 3))
    events = np.zeros(4, dtype=int)
    for p, t in zip(fine, targets, strict=True):
        coarse = np.array([(p[0] + p[1]) / 2, (p[2] + p[3]) / 2])
        wrong = p / 2 + p.mean(axis=0) / 2
        tops = {
            name: np.sort(table * t)[:, ::-1].mean(axis=0)[:2]
            for name, table in (("coarse", coarse), ("fine", p), ("wrong", wrong))
        }
        events += [
            tops["fine"][1] < tops["coarse"][1] - 1e-12,
            tops["fine"][1] > tops["coarse"][1] + 1e-12,
            tops["fine"][0] < tops["coarse"][0] - 1e-12,
            tops["wrong"][0] < tops["coarse"][0] - 1e-12,
        ]
    assert counts.tolist() == events.tolist()
    assert min(events[0], events[1], events[3]) > 5


def test_blocks_of_a_sweep(monkeypatch) -> None:
    asked = []

    def run(block, items, **options):
        asked.append((items, options))
        return [np.array([size, k, 0, 1]) for _, size, k in items]

    monkeypatch.setattr(atlas, "BLOCK", 30)
    monkeypatch.setattr(atlas.sweeps, "run", run)
    one, two = atlas.Design(2, 2, 1), atlas.Design(3, 8, 4)
    table = atlas.truthful_atlas(100, seed=7, grid=(one, two))
    items, options = asked[0]
    sizes = [30, 30, 30, 10]
    assert items == [(d, size, k) for d in (one, two) for k, size in enumerate(sizes)]
    assert options == {"name": "autobidding-atlas", "seed": 7, "cache": False, "n_jobs": 1}
    assert table["count"].tolist() == [100, 6, 0, 4] * 2
    assert table["share"].tolist() == pytest.approx([1, 0.06, 0, 0.04] * 2)
    assert table["bidders"].tolist() == [2] * 4 + [3] * 4
    assert table[["fine", "coarse"]].to_numpy().tolist() == [[2, 1]] * 4 + [[8, 4]] * 4
    assert table["event"].tolist() == ["spa_falls", "spa_rises", "fpa_falls", "control_falls"] * 2
    atlas.truthful_atlas(60, seed=7, grid=(one,))
    assert [size for _, size, _ in asked[1][0]] == [30, 30]
    block = atlas._count_block((one, 25, 3), np.random.default_rng(2))
    assert block.tolist() == atlas.count_changes(one, 25, np.random.default_rng(2)).tolist()


def test_a_share_at_another_level() -> None:
    """None of two, at 1/2: the upper end is where (1 - p)^2 is 1/4."""
    assert atlas.proportion(0, 2, 0.5) == {
        "count": 0,
        "markets": 2,
        "share": 0.0,
        "low": 0.0,
        "high": pytest.approx(0.5),
    }
    with pytest.raises(ValueError, match="total is 0"):
        atlas.proportion(0, 0)


def census_cells(monkeypatch, ranges):
    seen, left = [], list(ranges)

    def cells(table, pair, rule):
        seen.append((table, pair, rule))
        return left.pop(0)

    monkeypatch.setattr(atlas, "_cells", cells)
    monkeypatch.setattr(atlas, "equilibrium_range", lambda found, metric: (*found, metric)[:2])
    return seen


def test_the_budget_census_by_hand(monkeypatch) -> None:
    ranges = [(3, 4), (1, 2), (3, 4), (1, 3), [], (5, 6), (5, 6), []]
    seen = census_cells(monkeypatch, ranges)
    table = atlas.budget_census(4, seed=3)
    rng = np.random.default_rng(3)
    fine = rng.uniform(size=(4, 4, 2))
    targets = rng.uniform(0.5, 2, size=(4, 2))
    share = rng.uniform(size=(4, 2))
    for k in range(4):
        for (predictions, pair, rule), pooled in zip(
            seen[2 * k : 2 * k + 2], (True, False), strict=True
        ):
            whole = fine[k].reshape(2, 2, 2).mean(axis=1) if pooled else fine[k]
            np.testing.assert_allclose(predictions, whole)
            # All for the target: the mean prediction, as all clusters weigh one together.
            most = targets[k] * fine[k].sum(axis=0) / 4
            assert [b.budget for b in pair] == pytest.approx((share[k] * most).tolist())
            assert [b.value for b in pair] == targets[k].tolist()
            assert (rule, {b.kind for b in pair}) == ("first", {"tcpa"})
    assert table["exists"].tolist() == [True, True, False, False]
    # 2 is below 3; 3 is not; what does not exist falls nowhere.
    assert table["falls_everywhere"].tolist() == [True, False, False, False]
    numbers = table[["coarse_low", "coarse_high", "fine_low", "fine_high"]].to_numpy()
    nan = np.nan
    expected = [[3, 4, 1, 2], [3, 4, 1, 3], [nan, nan, 5, 6], [5, 6, nan, nan]]
    np.testing.assert_array_equal(numbers, expected)
    seen = census_cells(monkeypatch, [(1, 1)] * 2)
    atlas.budget_census(1, seed=3, budgeted=False)
    assert [b.budget for _, pair, _ in seen for b in pair] == [None] * 4


def test_the_binding_census_counts_cells(monkeypatch) -> None:
    bound, loose = SimpleNamespace(binding=(1, 1)), SimpleNamespace(binding=None)
    seen = census_cells(monkeypatch, [[bound, loose], [loose], [bound, bound, loose], []])
    table = atlas.binding_census(2, seed=3)
    assert table.to_dict("list") == {"coarse": [1, 2], "fine": [0, 0]}
    assert {rule for _, _, rule in seen} == {"second"}
    assert [len(predictions) for predictions, _, _ in seen] == [2, 4, 2, 4]


def test_markets_of_a_census_weigh_one(monkeypatch) -> None:
    monkeypatch.setattr(atlas, "equilibria_2p", lambda market, *rest: (market, *rest))
    market, pair, rule = atlas._cells(np.full((4, 2), 0.5), ["a", "b"], "first")
    assert market.weights.tolist() == [0.25] * 4
    assert (pair, rule) == (["a", "b"], "first")


# ── Table 1 ───────────────────────────────────────────────────────────────────────────────────


def test_marks_of_certificates() -> None:
    def mark(gain):
        return table1.ProofCertificate("Theorem", 3, Fraction(gain)).mark

    assert [mark(gain) for gain in (1, 0, Fraction(-1, 10**9))] == [
        "monotone",
        "monotone",
        "falls on an instance",
    ]

    def apart(low, high):
        return table1.CorrelatedCertificate("revenue", (low, 9), (0, high), 1, 1).apart

    assert apart(1.0, 0.9)
    assert apart(1.0, 1 - 2e-6)
    assert not apart(1.0, 1 - 1e-7)
    assert not apart(1.0, 1.0)
    assert not apart(1.0, 1 - 1e-6)
    assert not apart(0.5, 0.9)


def test_a_broken_auction_sells_to_the_lowest_bid(monkeypatch) -> None:
    monkeypatch.setattr(table1, "INSTANCES", 2)
    one = table1.jensen_certificate("t", "tcpa", "first", "revenue", broken=True)
    rng, gains = np.random.default_rng(20260529), []
    for _ in range(2):
        coarse, fine, _ = table1.random_refinement(rng)
        values = np.array([Fraction(int(x), 10) for x in rng.integers(1, 51, size=3)])
        before, after = (
            sum(w * min(p * values) for w, p in zip(m.weights, m.predictions, strict=True))
            for m in (coarse, fine)
        )
        gains.append(after - before)
    assert (one.theorem, one.instances, one.smallest_gain) == ("t", 2, min(gains))


def test_a_broken_copy_takes_the_neighbours_shares(monkeypatch) -> None:
    monkeypatch.setattr(table1, "INSTANCES", 1)
    seen = []

    def copied(shares, labels):
        seen.append((shares, list(labels)))
        return shares[np.asarray(labels)]

    monkeypatch.setattr(table1, "lift", copied)
    table1.lifting_certificate("t")
    table1.lifting_certificate("t", broken=True)
    straight, turned = (labels for _, labels in seen)
    assert turned == [straight[-1], *straight[:-1]]
    # Each bidder's budget is what the coarse allocation is worth to it.
    monkeypatch.setattr(
        table1, "is_feasible", lambda market, bidders, shares: seen.append(bidders) or True
    )
    found = table1.lifting_certificate("t")
    assert found.smallest_gain == 0
    rng = np.random.default_rng(20260529)
    coarse, _, _ = table1.random_refinement(rng)
    values = [Fraction(int(x), 10) for x in rng.integers(1, 51, size=3)]
    budgets = (coarse.mass * seen[0][0]).sum(axis=0) * np.array(values)
    assert [(b.value, b.budget) for b in seen[-1]] == list(zip(values, budgets, strict=True))


def test_controls_of_the_table_are_sold_as_row_one() -> None:
    def broken(key, metric):
        return table1._certify(key, metric, 3, True)[1]

    assert {
        (key, metric): broken(key, metric)
        for key in ("tcpa_vcg", "tcpa_budget_fpa", "maxcpa_fpa", "maxcpa_budget_fpa")
        for metric in ("revenue", "welfare")
    } == {
        ("tcpa_vcg", "revenue"): "split market sold as in row 1",
        ("tcpa_vcg", "welfare"): "unique-binding example sold as in row 1",
        ("tcpa_budget_fpa", "revenue"): "budget and revenue example sold as in row 1",
        ("tcpa_budget_fpa", "welfare"): "B.2 sold as in row 1",
        ("maxcpa_fpa", "revenue"): "B.4 sold as in row 1",
        ("maxcpa_fpa", "welfare"): "B.4 sold as in row 1",
        ("maxcpa_budget_fpa", "revenue"): "B.4 sold as in row 1",
        ("maxcpa_budget_fpa", "welfare"): "B.4 sold as in row 1",
    }
    assert broken("maxcpa_vcg", "revenue") == "B.3 sold as in row 1"


def test_what_the_marks_of_the_table_compare() -> None:
    def certificate(key, metric):
        return table1._certify(key, metric, 3, False)[2]

    assert certificate("tcpa_vcg", "welfare").selection == "binding"
    assert certificate("maxcpa_vcg", "revenue").selection == "all"
    assert certificate("tcpa_budget_fpa", "welfare").metric == "liquid_welfare"
    assert certificate("maxcpa_fpa", "welfare").metric == "welfare"
    assert certificate("maxcpa_budget_fpa", "welfare").metric == "liquid_welfare"
    assert certificate("maxcpa_budget_fpa", "revenue").metric == "revenue"
    # All equilibria of B.2, dominated ones as well.
    everything = tuple(B2.equilibria("fine", undominated=False))
    assert certificate("tcpa_budget_fpa", "welfare").fine == everything
    assert certificate("maxcpa_budget_lp", "revenue") is None
    assert table1._certify("maxcpa_budget_fpa", "welfare", 3, False)[1] == (
        "B.4 with budgets that cannot bind"
    )
    judged = table1._judged(B2, "revenue", "maximal")
    assert judged[:2] == ("violated for a selection", "B.2")
    assert judged[2].fine == tuple(B2.equilibria("fine"))
    assert table1.construction_verdict(B2, "revenue").certificate.fine == judged[2].fine


def test_rows_are_numbered_from_one(monkeypatch) -> None:
    monkeypatch.setattr(table1, "_certify", lambda *arguments: (arguments, "e", None))
    cells = table1.table1(5)
    assert [cell.row for cell in cells] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]
    assert cells[3].mark == ("tcpa_vcg", "welfare", 5, False)
    assert table1.table1(5, broken=True)[0].mark == ("tcpa_fpa", "revenue", 5, True)
    assert table1.table1()[0].mark == ("tcpa_fpa", "revenue", 41, False)


def test_idle_budgets_do_not_reach_the_programmes(monkeypatch) -> None:
    seen = []

    def interval(market, bidders, grids, name):
        seen.append((market, [b.budget for b in bidders], [len(g) for g in grids], name))
        return (0.0, 1.0)

    monkeypatch.setattr(table1, "cce_interval", interval)
    rich = table1.with_idle_budgets(B4)
    found = table1.correlated_certificate(rich, "liquid_welfare", 5)
    assert [one[1] for one in seen] == [[None, None]] * 2
    assert [one[3] for one in seen] == ["welfare"] * 2
    # Five even steps and 24 geometric ones.
    assert {one[2][1] for one in seen} == {29}
    assert [one[0].n_clusters for one in seen] == [1, 2]
    assert (found.pure_coarse, found.pure_fine) == (1, 0)
    table1.correlated_certificate(B4, "revenue", 5)
    assert seen[-1][3] == "revenue"
    with pytest.raises(ValueError, match="metric is"):
        table1.correlated_certificate(B4, "profit", 5)


# ── What proofs assume, and what certificates count ───────────────────────────────────────────


def test_what_is_assumed_of_the_symbols(monkeypatch) -> None:
    seen = []

    def recording(plain):
        return lambda names, **assumed: seen.append((names, assumed)) or plain(names, **assumed)

    monkeypatch.setattr(sp, "symbols", recording(sp.symbols))
    monkeypatch.setattr(sp, "Symbol", recording(sp.Symbol))
    for step in (proofs._jensen, proofs._two_truthful, proofs._shading):
        step()
    chosen = {names: assumed for names, assumed in seen if names in ASSUMED}
    assert chosen == ASSUMED


ASSUMED = {
    "lambda1:4": {"positive": True},
    "s1:4": {"nonnegative": True},
    "x1:4": {"real": True},
    "s": {"real": True},
    "x y": {"real": True},
    "z theta": {"nonnegative": True},
}


def test_uniform_shading_gains_enough_at_zero(monkeypatch) -> None:
    """There 1 - (1 - 1/e)/2 less 1 - 1/e is above zero."""
    monkeypatch.setattr(sp, "Rational", lambda *_: sp.Integer(0))
    assert proofs._shading() == (True, True)


@pytest.mark.parametrize(("kind", "rule"), [("tcpa", "first"), ("maxcpa", "second")])
def test_gains_of_multiplier_one_by_a_loop(monkeypatch, kind, rule) -> None:
    monkeypatch.setattr(table1, "INSTANCES", 3)
    checked = []
    monkeypatch.setattr(table1, "check_refinement", lambda *arguments: checked.append(arguments))
    found = table1.jensen_certificate("t", kind, rule, "revenue")
    rng, gains = np.random.default_rng(20260529), []
    for _ in range(3):
        coarse, fine, _ = table1.random_refinement(rng)
        values = np.array([Fraction(int(x), 10) for x in rng.integers(1, 51, size=3)])
        place = -1 if rule == "first" else -2
        before, after = (
            sum(
                w * sorted(p * values)[place] for w, p in zip(m.weights, m.predictions, strict=True)
            )
            for m in (coarse, fine)
        )
        gains.append(after - before)
    assert found.smallest_gain == min(gains)
    assert len(checked) == 3
    table1.lifting_certificate("t")
    assert len(checked) == 6


def test_a_copy_that_breaks_a_constraint_is_worth_nothing(monkeypatch) -> None:
    monkeypatch.setattr(table1, "INSTANCES", 1)
    monkeypatch.setattr(table1, "is_feasible", lambda *_: False)
    monkeypatch.setattr(table1, "objective", lambda *_: Fraction(7, 3))
    assert table1.lifting_certificate("t").smallest_gain == Fraction(-7, 3)
    monkeypatch.setattr(table1, "is_feasible", lambda *_: True)
    assert table1.lifting_certificate("t").smallest_gain == 0


@pytest.mark.parametrize(
    ("key", "metric", "undominated"),
    [
        ("tcpa_vcg", "revenue", True),
        ("tcpa_vcg", "welfare", True),
        ("tcpa_budget_fpa", "revenue", False),
        ("tcpa_budget_fpa", "welfare", False),
        ("maxcpa_vcg", "revenue", True),
    ],
)
def test_whether_dominated_multipliers_count(monkeypatch, key, metric, undominated) -> None:
    seen = []

    def judged(construction, metric, chosen, best=True):
        seen.append(best)
        return "mark", "evidence", None

    monkeypatch.setattr(table1, "_judged", judged)
    table1._certify(key, metric, 3, False)
    assert seen == [undominated]


def test_every_block_has_its_counts(monkeypatch) -> None:
    monkeypatch.setattr(atlas.sweeps, "run", lambda *_, **__: [])
    with pytest.raises(ValueError, match="zip"):
        atlas.truthful_atlas(5, seed=1, grid=(atlas.Design(2, 2, 1),))


def test_a_metric_is_refused_before_anything_is_enumerated() -> None:
    """B.4 has no pure equilibrium in its fine model, of which nothing is said here."""
    with pytest.raises(ValueError, match="metric is 'profit'"):
        table1.construction_verdict(B4, "profit")


def test_the_shield_is_tried_at_twice_the_other_step(monkeypatch) -> None:
    seen, plain = [], sp.Basic.subs

    def subs(self, *arguments, **options):
        seen.append(arguments)
        return plain(self, *arguments, **options)

    monkeypatch.setattr(sp.Basic, "subs", subs)
    proofs._budget_family()
    eps, delta = sp.symbols("epsilon delta", positive=True)
    asked = [one[0] for one in seen if one and isinstance(one[0], dict)]
    assert {eps: 0, delta: 0} in asked
    assert {eps: 2 * delta} in asked


# ── Learners ──────────────────────────────────────────────────────────────────────────────────

PAIR = [Bidder("maxcpa", 4.0), Bidder("maxcpa", 2.0)]
GRIDS = ([0.5, 1.0, 1.5], [0.25, 1.0])


@pytest.mark.parametrize(("draw", "place"), [(1.5, -1), (0.0, 0)])
def test_a_draw_beyond_all_shares_plays_the_last(monkeypatch, draw, place) -> None:
    """Rounding may leave the shares a little below one."""
    fixed = SimpleNamespace(random=lambda shape: np.full(shape, draw))
    monkeypatch.setattr(learning.np.random, "default_rng", lambda _: fixed)
    market = Market([1.0, 1.0], [[0.5, 0.25], [0.2, 0.6]])
    run = learning.hedge(market, PAIR, GRIDS, n_rounds=1, seeds=(0,))
    # Each pays its own bid where it wins: 0.5 times 1.5 and 1 times 0.6, or 0.5 and 0.25.
    assert run.path.tolist() == [[pytest.approx({-1: 1.35, 0: 0.4}[place])]]
    assert run.revenue.tolist() == [pytest.approx({-1: 1.35, 0: 0.4}[place])]


def test_a_draw_at_the_end_of_a_share_belongs_to_it(monkeypatch) -> None:
    """All shares are equal at first, a half each."""
    fixed = SimpleNamespace(random=lambda shape: np.full(shape, 0.5))
    monkeypatch.setattr(learning.np.random, "default_rng", lambda _: fixed)
    market = Market([1.0, 1.0], [[0.5, 0.25], [0.2, 0.6]])
    run = learning.hedge(market, PAIR, ([0.5, 1.5], [0.25, 1.0]), n_rounds=1, seeds=(0,))
    assert run.revenue.tolist() == [pytest.approx(0.4)]
    # The first earns 7/4 with either bid; the second 21/20, or 3/5 with the higher one.
    assert run.regrets.tolist() == [pytest.approx([0, 0])]
