"""Values by hand where bounds meet: ties, edges of a cut, printing, packing, and rare paths."""

import itertools
import pickle
import struct
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lib.compute_governance import codecs, exposure, fits, planner
from lib.compute_governance.codecs import Fp16, Fp32, Int4, Int8, TopK
from lib.compute_governance.exposure import Exposure, frontier
from lib.compute_governance.hardware import CHIPS, Chip, Node
from lib.compute_governance.lowcomm.strategies import DiLoCo
from lib.compute_governance.planner import (
    FLAT,
    HIERARCHICAL,
    PIPELINE,
    Assumptions,
    InfeasibleError,
    Network,
    branch_search,
    evaluate,
    pick,
    plan,
)
from lib.compute_governance.regime import Regime, System
from lib.compute_governance.scaling import FIT, Chinchilla
from lib.compute_governance.study import searches, tables, text, uncertainty
from lib.compute_governance.study.failures import Failures, goodput
from lib.compute_governance.study.lab import silent, slopes, token_share
from lib.compute_governance.study.patterns import Disguised, LowRank, WrongSign
from lib.compute_governance.study.priors import PRIORS, median_rates

WIDE = Assumptions(overtraining=(1e-9, 1e9))
H100 = Node(CHIPS["H100"], 16, "FP8")
PLAIN = Node(CHIPS["H100"], 16)


# --- the planner at its edges --------------------------------------------------------------------


def test_a_model_that_just_fits_is_not_pipelined() -> None:
    """1,280 GB at 16 bytes are 80 billion parameters."""
    assert PLAIN.largest_model == 80e9
    flat = evaluate([PLAIN], 0, 2, [80e9, 80.1e9], FLAT, assumptions=WIDE)
    assert flat.admissible.tolist() == [True, False]
    piped = evaluate([PLAIN], 0, 4, [80e9, 80.1e9], PIPELINE, assumptions=WIDE)
    assert piped.admissible.tolist() == [False, True]
    assert piped.group.tolist() == [1, 2]
    assert planner.branches([PLAIN], [80e9, 80.1e9]).mode.tolist().count(FLAT) == 1


def test_the_limits_of_overtraining_are_within_them() -> None:
    at = plan(H100, 2, 91e9, assumptions=WIDE).value("overtraining")
    up, down = np.nextafter(at, 9), np.nextafter(at, 0)
    for limits, inside in (((at, at), True), ((up, 9.0), False), ((0.1, down), False)):
        found = plan(H100, 2, 91e9, assumptions=Assumptions(overtraining=limits))
        assert bool(found.admissible) is inside


def test_shares_are_cut_at_one() -> None:
    """Near the best ratio of the law, 17 tokens a parameter, a plan beats the reference's 25.6."""
    fast = Network.mbps(1e9, latency_s=0.0)
    found = plan(H100, 2, 91e9, network=fast, assumptions=replace(WIDE, window_s=3.3e7))
    assert 0.5 < found.value("overtraining") < 0.9
    assert found.value("chi_free") > 1
    assert found.value("h") == 1
    assert [found.value(key) for key in ("chi", "eta_replica", "eta_h")] == [1, 1, 1]
    one = plan(H100, 1, 91e9, assumptions=WIDE)
    keys = ("chi", "eta_h", "eta_compression", "eta_replica", "eta_activation", "eta", "multiplier")
    assert [one.value(key) for key in keys] == [1] * 7
    assert one.value("outer_s") == one.value("step_s")


def test_a_share_of_the_window_makes_a_share_of_the_tokens() -> None:
    whole, half = (plan(H100, 2, 91e9, assumptions=replace(WIDE, goodput=g)) for g in (1.0, 0.5))
    assert half.value("tokens") == whole.value("tokens") / 2
    assert half.value("c_threshold") == whole.value("c_threshold") / 2


def test_a_pipeline_by_hand() -> None:
    p = plan(H100, 7, 180e9, PIPELINE, assumptions=WIDE)
    bits = 131_072 * 0.03 * np.sqrt(180e9) * 8 / 4
    compute = 6 * 180e9 * 131_072 / (31.68e15 * 0.4)
    slot = compute / (8 * 2) + (2 * bits / 8 / 1e8 + 0.1) * 1.02
    once = 2 * (180e9 * 8 / 150) / 1e8 + 0.1
    assert (p.value("group"), p.value("replicas")) == (2, 3)
    assert p.value("step_s") == pytest.approx(9 * slot)
    assert p.value("sync_s") == pytest.approx(once * (1 + 0.02 * np.log2(3)))
    assert p.value("eta_activation") == pytest.approx(0.995**2)
    assert p.value("regional_sync_s") == 0
    assert p.value("cost_usd") == pytest.approx(7 * 400_000 * 1.64 * 1.23)


def test_a_region_that_meets_within_a_step() -> None:
    """On a fast network both exchanges are hidden by one step."""
    fast = Network.mbps(1e6, latency_s=0.0)
    p = plan(H100, 16, 91e9, HIERARCHICAL, 4, network=fast, assumptions=WIDE)
    assert p.value("regional_sync_s") < p.value("step_s")
    assert (p.value("h"), p.value("outer_s")) == (1, p.value("step_s"))
    assert p.value("eta_h") == 1


def test_the_slowest_of_some() -> None:
    factors = Assumptions().slowest([0, 1, 2, 32])
    assert factors.tolist() == pytest.approx([1, 1, 1.02, 1.1])


def test_single_and_sampled_constants() -> None:
    assert Assumptions().single
    assert not Assumptions(mfu=np.array([0.3])).single
    assert not Assumptions(law=replace(FIT, E=np.array([1.8, 1.9]))).single


def tied(**columns) -> planner.Plans:
    """Plans that differ in what is said only."""
    n = len(next(iter(columns.values())))
    base = evaluate([H100, PLAIN], 0, [2] * n, 50e9, FLAT)
    return replace(base, **{key: np.array(value) for key, value in columns.items()})


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        # Cents decide nothing: the better of the three.
        ({"cost_usd": [10.003, 10.004, 10.0], "c_quality": [1.0, 3.0, 2.0]}, 1),
        ({"cost_usd": [10.006, 10.012, 10.02], "c_quality": [1.0, 2.0, 3.0]}, 1),
        ({"cost_usd": [1.0, 2.0, 0.5], "c_quality": [3.0, 3.0, 1.0]}, 2),
        # Within a billionth, itself included, the simpler mode, then the smaller group.
        ({"c_quality": [1.0, 1.0 * (1 - 1e-9)], "mode": [1, 0]}, 1),
        ({"c_quality": [1.0, 1.0 - 2e-9], "mode": [1, 0]}, 0),
        ({"c_quality": [1.0, 1.0, 1.0], "mode": [1, 1, 1], "group": [16.0, 4.0, 8.0]}, 1),
        ({"c_quality": [1.0, 1.0], "node": [1, 0], "mode": [0, 1]}, 1),
        ({"c_quality": [1.0, 1.0], "mode": [1, 0], "group": [1.0, 4.0]}, 1),
    ],
)
def test_ties_go_to_the_simpler_plan(columns, chosen) -> None:
    some = replace(tied(**columns), n=np.arange(len(next(iter(columns.values())))) + 2.0)
    found = pick(some)
    assert found.shape == (1,)
    assert found.value("n") == chosen + 2


@pytest.mark.parametrize("site", [0.0, 3e5, 1e7])
@pytest.mark.parametrize(("server", "cluster"), [(1.64, 1.23), (30.0, 1.0), (1.0, 30.0)])
def test_among_two_kinds_the_cheaper_one_is_found(site, server, cluster) -> None:
    """Sites and chips are weighed as they are paid for, also where one outweighs the other."""
    kinds = [Node(CHIPS["GH200"], count, "FP8") for count in (1, 4, 16)]
    paid = Assumptions(site_usd=site, server=server, cluster=cluster)
    sizes = (5e9, 40e9, 160e9)
    alone = [
        branch_search(5e24, [kind], assumptions=paid, sizes=sizes).value("cost_usd")
        for kind in kinds
    ]
    found = branch_search(5e24, kinds, assumptions=paid, sizes=sizes)
    assert found.value("cost_usd") == min(alone)


def test_a_search_begins_where_overtraining_does_and_ends_with_it() -> None:
    """The ratio is proportional to the nodes; between narrow bounds there may be none."""
    each = plan(H100, 1, 91e9, assumptions=WIDE).value("overtraining")
    for low, high, n in ((0.9, 100, 1), (1.5, 100, 2), (2.9, 4.2, 3)):
        limits = Assumptions(overtraining=(low * each, high * each))
        found = branch_search(1.0, [H100], assumptions=limits, sizes=[91e9])
        assert found.value("n") == n, low
        assert found.admissible.all()
    narrow = Assumptions(overtraining=(1.01 * each, 1.02 * each))
    with pytest.raises(InfeasibleError):
        branch_search(1.0, [H100], assumptions=narrow, sizes=[91e9])
    exact = plan(H100, 5, 91e9, assumptions=WIDE).value("overtraining")
    limits = Assumptions(overtraining=(exact, exact))
    assert branch_search(1.0, [H100], assumptions=limits, sizes=[91e9]).value("n") == 5


def test_a_target_that_is_just_reached_is_reached() -> None:
    target = plan(H100, 5, 91e9).value("c_local")
    for search in (branch_search, searches.author_search):
        options = {"sizes": [91e9]} if search is branch_search else {}
        assert search(target, [H100], **options).value("n") <= 5
    assert branch_search(target, [H100], sizes=[91e9]).value("n") == 5
    more = np.nextafter(target, np.inf)
    assert branch_search(more, [H100], sizes=[91e9]).value("n") == 6
    small = plan(H100, 1, 91e9).value("c_local")
    assert searches.author_search(small * 0.5, [H100]).value("n") == 1
    assert searches.exhaustive_search(target, [H100], limit=5).value("n") <= 5


def test_plans_are_read_one_by_one() -> None:
    some = evaluate([H100], 0, [2, 17], 50e9, HIERARCHICAL, 8, assumptions=WIDE)
    assert some.shape == (2,)
    assert some.labels() == ["16x H100 FP8, hier 8x0", "16x H100 FP8, hier 8x2"]
    assert some.take(1).value("n") == 17
    assert some.take([True, False]).shape == (1,)
    assert list(some.frame().columns) == ["plan", *planner.UNITS]
    with pytest.raises(ValueError, match="2 plans; expected a single one"):
        some.value("n")
    with pytest.raises(ValueError, match="name is"):
        some.take(0).value("nn")
    kinds = planner.branches([H100], [1e9, 1e12])
    assert (len(kinds), len(kinds.take([0, 1]))) == (12, 2)


# --- searches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "found", "probes"),
    [
        ("", None, [-1]), ("0", None, [0]), ("1", 0, [0]), ("01", 1, [1, 0]), ("11", 0, [1, 0]),
        ("001", 2, [2, 1]), ("011", 1, [2, 1, 0]), ("0001", 3, [3, 1, 2]), ("1000", None, [3]),
        ("1011", 2, [3, 1, 2]), ("10001", 4, [4, 2, 3]),
    ],
)  # fmt: skip
def test_bisection_step_by_step(flags, found, probes) -> None:
    assert searches.bisect_first(np.array([one == "1" for one in flags], bool)) == (found, probes)


def test_everything_is_looked_at_once_in_blocks(monkeypatch) -> None:
    looked: list[np.ndarray] = []
    real = searches.evaluate_branches

    def spy(nodes, some, counts, **options):
        looked.append(counts[:, 0])
        plans = real(nodes, some, counts[:1], **options)
        return replace(plans, admissible=np.zeros_like(plans.admissible))

    monkeypatch.setattr(searches, "evaluate_branches", spy)
    block = 300_000 // len(searches.branches([H100]))
    with pytest.raises(InfeasibleError, match=f"of at most {2 * block + 3} nodes"):
        searches.exhaustive_search(1e24, [H100], limit=2 * block + 3)
    assert [len(one) for one in looked] == [block, block, 3]
    assert np.concatenate(looked).tolist() == list(range(1, 2 * block + 4))
    looked.clear()
    with pytest.raises(InfeasibleError):
        searches.exhaustive_search(1e24, [H100], limit=block)
    assert [len(one) for one in looked] == [block]


def test_the_best_of_every_row() -> None:
    grid = searches.at_nodes([H100], [2, 3])
    score = np.where(grid.admissible, grid.c_quality, 0)
    assert searches.grid_best(grid, "c_quality").c_quality.tolist() == score.max(axis=1).tolist()
    assert searches.grid_best(grid, "c_quality").n.tolist() == [2, 3]
    none = replace(grid, admissible=np.zeros_like(grid.admissible))
    with pytest.raises(InfeasibleError):
        searches.grid_best(none, "c_local")


def test_plans_that_tie_reach_the_target() -> None:
    best = branch_search(1e24, [H100])
    same = searches.ties(best, 1e24)
    assert (same.c_local >= 1e24).all()
    assert same.c_quality == pytest.approx(best.value("c_quality"), rel=1e-9)
    at = best.value("c_local")
    assert best.labels()[0] in searches.ties(best, at).labels()
    assert len(searches.ties(best, at * 1.001).n) == 0


# --- rules, exposure, frontier -------------------------------------------------------------------


def test_the_largest_node_under_either_threshold() -> None:
    chip = Chip("X", 99.0, None, 10.0, 1.0, "")  # a tenth of an H100
    assert Regime(16.0).largest(chip).count == 160
    assert Regime(16.0, 100.0).largest(chip).count == 10
    assert Regime(16.0, 99.0).largest(chip).count == 9
    assert Regime(0.1).largest(chip).count == 1
    assert Regime(0.09).largest(chip) is None
    assert Regime(16.0, 9.0).largest(chip) is None
    some = [Node(chip, 1), Node(chip, 11), Node(chip, 161)]
    assert Regime(16.0, 100.0).allowed(some) == (Node(chip, 1),)
    assert [one.count for one in Regime(1.0).choices([Node(chip, 3)], every=False)] == [1, 2, 4, 8]
    assert len(Regime(1.0).choices([Node(chip, 3)])) == 10
    assert Regime(2.0, 30.0).burden([System("a", 2.0, 30.0), System("b", 1.0, 31.0)]) == 1


def test_what_a_plan_exposes() -> None:
    found = exposure.exposure(plan(H100, 4, 91e9))
    assert vars(found) == {
        "sites": 4, "people": 22, "chips": 64, "usd": pytest.approx(4 * 16 * 25_000 * 2.0172),
        "years": pytest.approx(740 / 365.25),
    }  # fmt: skip
    alone = exposure.exposure(plan(H100, 4, 91e9), staff_a_site=0, core=1)
    assert alone.people == 1
    assert Exposure(0.5, 0.5, 0.5, 0.5, 0.5).sites == 0.5


@pytest.mark.parametrize(
    ("cost", "burden", "efficient"),
    [
        ([1.0, 1.0], [2, 2], [True, True]),
        ([1.0, 2.0], [2, 2], [False, True]),
        ([1.0, 1.0], [2, 1], [False, True]),
        ([1.0, 2.0], [1, 2], [True, True]),
        ([1.0, 2.0, 3.0], [2, 1, 1], [False, False, True]),
        ([np.inf, np.inf], [1, 2], [True, False]),
    ],
)
def test_what_is_efficient(monkeypatch, cost, burden, efficient) -> None:
    base = plan(H100, 2, 91e9)
    plans = [None if np.isinf(c) else replace(base, cost_usd=np.array(c)) for c in cost]
    counts = iter(burden)
    monkeypatch.setattr(exposure, "cheapest_under", lambda *some, **more: plans)
    monkeypatch.setattr(Regime, "burden", lambda rule, systems: next(counts))
    table = frontier(1e24, [H100], [16.0] * len(cost), (1280.0,))
    assert table["efficient"].tolist() == efficient
    assert table["cost_usd"].tolist() == cost
    assert table["mem_gb"].tolist() == [1280.0] * len(cost)


# --- printing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "printed"),
    [
        (tables.significant(1.2649e24, 2), 1.3e24),
        (tables.significant(123456.0, 3), 123_000.0),
        (tables.fixed(1.2345, 2), 1.23),
        (tables.printed_flop(1.26e25), 1.3e25),
        (tables.printed_ratio(9.94), 9.9),
        (tables.printed_ratio(10.0), 10.0),
        (tables.printed_ratio(10.44), 10.0),
        (tables.printed_ratio(9.96), 10.0),
        (tables.printed_cost(1e9), 1_000.0),
        (tables.printed_cost(1.004e9), 1_000.0),
        (tables.printed_cost(1.006e9), 1_010.0),
        (tables.printed_cost(999_940_000.0), 999.9),
        (tables.printed_cost(1e9 + 0.5), 1_000.0),
        (tables.printed_cost(1.234e6), 1.2),
        (tables.flop(1.0), "1"),
        (tables.flop(1.2894e24), "1.29e24"),
        (tables.flop(1.2894e24, 2), "1.3e24"),
        (tables.dollars(9_994_000.0), "$9.99 M"),
        (tables.dollars(10_000_000.0), "$10.0 M"),
        (tables.dollars(99_940_000.0), "$99.9 M"),
        (tables.dollars(100_000_000.0), "$100 M"),
        (tables.dollars(12_345_600_000.0), "$12,346 M"),
        (tables.decades(1.0, 100.0, 2), [1.0, 100.0]),
        (tables.decades(2.0, 50.0, 3), [2.0, 10.0, 50.0]),
        (tables.decades(1.0, 2.0, 4), [1.0, 1.25992, 1.5874, 2.0]),
    ],
)
def test_numbers_as_they_are_printed(found, printed) -> None:
    assert found == printed


def test_a_row_as_it_is_printed() -> None:
    one = plan(H100, 2, 91e9)
    made = replace(
        one, n=np.array(2_345.0), params=np.array(91.6e9), h=np.array(18.4),
        eta=np.array(0.79566), chi=np.array(0.97964), c_local=np.array(1.2894e24),
        c_quality=np.array(9.876e23), overtraining=np.array(1.26), cost_usd=np.array(1_613_800.0),
    )  # fmt: skip
    assert tables.row_numbers(made) == [2_345, 92.0, 18.0, 0.7957, 0.9796]
    assert tables.row_outcome(made) == [1.3e24, 9.9e23, 1.3, 1.6]
    table = tables.overview([made, one])
    assert table.iloc[0].tolist() == [
        "2,345", "92", "18", "0.7957", "0.9796", "1.29e24", "9.88e23", "1.3", "$1.61 M",
    ]  # fmt: skip
    assert table.index.tolist() == ["16x H100 FP8, flat"] * 2
    assert table.index.name == "plan"
    assert list(table.columns)[:2] == ["nodes", "model (10⁹ parameters)"]


def test_the_printed_plan_among_those_that_tie(monkeypatch) -> None:
    found = plan(H100, 34, 91e9)
    some = evaluate([H100], 0, 34, 91e9, [0, 1, 1, 2], [1, 4, 8, 8])
    monkeypatch.setattr(tables, "ties", lambda *best, **network: some)
    assert tables.shown("c1e25", found, 1e25) == "16x H100 FP8, hier 8x4"
    assert tables.shown("other", found, 1e25) == "16x H100 FP8, flat"
    monkeypatch.setattr(tables, "ties", lambda *best, **network: some.take([0, 1]))
    assert tables.shown("c1e25", found, 1e25) == "16x H100 FP8, flat"


def test_the_share_kept_is_of_the_compute() -> None:
    """A loss of the reference at 1e24 multiplied to that at 1e23 keeps a tenth."""
    at, less = FIT.allocate(1e24), FIT.allocate(1e23)
    times = FIT.loss(*less) / FIT.loss(*at)
    assert float(tables.replica_efficiency(FIT, *at, times)) == pytest.approx(0.1)


# --- codecs: the bytes themselves ----------------------------------------------------------------


def packed(codec, *values, shapes=None):
    return codec.encode(torch.tensor(values), shapes).tolist()


def test_payloads_byte_by_byte() -> None:
    one = list(struct.pack("<f", 1.0))
    assert packed(Fp32(), 1.0) == one
    assert packed(Fp16(), 1.0, -2.0) == list(struct.pack("<ee", 1.0, -2.0))
    assert packed(Int8(), 127.0, -127.0, 3.4) == [*one, 127, 129, 3]
    # Levels plus eight, two to a byte, the first one above; half a byte is left over.
    assert packed(Int4(4), 7.0, -7.0, 3.4) == [*one, 15 << 4 | 1, 11 << 4]
    assert packed(Int4(4), 0.0, 0.0) == [0, 0, 0, 0, 8 << 4 | 8]
    assert packed(Int8(), 0.0) == [0] * 5
    two = list(struct.pack("<f", 2.0))
    assert packed(Int4(2), 7.0, -7.0, 14.0, 0.0) == [*one, *two, 15 << 4 | 1, 15 << 4 | 8]
    # The scale makes the largest lie between 2^14 and 2^15; places are in order.
    scale = struct.pack("<f", 2.0**-14)
    places = struct.pack("<ii", 1, 3)
    assert packed(TopK(0.5), 0.1, -1.0, 0.2, 0.5) == list(
        scale + places + struct.pack("<ee", -(2.0**14), 2.0**13)
    )
    assert struct.unpack("<f", bytes(packed(TopK(1.0), 1e-44)[:4]))[0] == 2.0**-126


@pytest.mark.parametrize(("codec", "level"), [(Int8(), 127), (Int4(), 7)])
@pytest.mark.parametrize("sign", [1, -1])
def test_levels_end_where_the_scale_cannot_be_smaller(codec, level, sign) -> None:
    """1.4 levels of the smallest number there is make a scale of one of them."""
    least = 2.0**-149
    vector = torch.tensor([sign * round(1.4 * level) * least])
    found = codec.decode(codec.encode(vector), [(1,)])
    assert found.tolist() == [sign * level * least]


@pytest.mark.parametrize("place", [-1, 4])
def test_places_outside_are_refused(place) -> None:
    payload = TopK(0.25).encode(torch.tensor([0.0, 2.0, 0.0, 0.0]))
    for inside in (0, 3):
        payload[4:8] = torch.tensor(list(struct.pack("<i", inside)), dtype=torch.uint8)
        assert TopK(0.25).decode(payload, [(4,)])[inside] == 2.0
    payload[4:8] = torch.tensor(list(struct.pack("<i", place)), dtype=torch.uint8)
    with pytest.raises(ValueError, match="places outside of 0 to 3: altered"):
        TopK(0.25).decode(payload, [(4,)])


@pytest.mark.parametrize(
    ("codec", "shapes", "length"),
    [
        (Fp32(), [(3, 2), ()], 28),
        (Fp16(), [(3, 2), ()], 14),
        (Int8(), [(3, 2), ()], 15),
        (Int4(4), [(3, 2), ()], 4 + 4 * 3),
        (Int4(4), [(4,), (5,)], 5 + 4 * 3),
        (TopK(0.3), [(7,), (3,)], 6 * 3 + 4),
        (LowRank(1), [(2, 2)], 8),
        (LowRank(1), [(2, 3)], 10),
        (LowRank(1), [(2, 3, 2)], 16),
        (LowRank(2), [(4, 4), (5, 4)], 2 * 16 + 2 * 18),
        (LowRank(2), [(), (0,), (0, 3)], 2),
    ],
)
def test_lengths_by_hand(codec, shapes, length) -> None:
    assert codec.nbytes(shapes) == length
    vector = torch.arange(1.0, codecs.size_of(shapes) + 1)
    assert len(codec.encode(vector, shapes)) == length


def test_low_rank_keeps_each_tensor_in_its_place() -> None:
    left = torch.outer(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, -1.0, 0.5, 2.0]))
    vector = torch.cat([torch.tensor([3.0, 5.0]), left.reshape(-1), torch.tensor([7.0])])
    shapes = [(2,), (3, 2, 2), ()]
    codec = LowRank(1)
    found = codec.decode(codec.encode(vector, shapes), shapes)
    assert found == pytest.approx(vector, rel=2e-3)
    assert found[[0, 1, -1]].tolist() == [3.0, 5.0, 7.0]


@pytest.mark.parametrize("wrong", [torch.ones(1, 3), torch.ones(3).double(), torch.ones(0)])
def test_only_vectors_are_packed(wrong) -> None:
    with pytest.raises(ValueError, match="expected a float32 vector that is not empty"):
        Fp32().encode(wrong)
    assert Fp32().decode(Fp32().encode(torch.ones(1)), [(1,)]).tolist() == [1.0]
    with pytest.raises(ValueError, match="3 numbers do not fill shapes of 4"):
        Fp32().encode(torch.ones(3), [(4,)])


def test_the_two_that_are_broken_on_purpose() -> None:
    change = torch.tensor([1.0, -2.0])
    assert WrongSign().direction(change).tolist() == [1.0, -2.0]
    assert DiLoCo().direction(change).tolist() == [-1.0, 2.0]
    disguise = Disguised(Int8())
    assert disguise.nbytes([(2,)]) == 6
    assert disguise.decode(disguise.encode(change), [(2,)]).tolist() == pytest.approx([1, -2], 0.01)
    with pytest.raises(AssertionError):
        disguise._decode(torch.zeros(6, dtype=torch.uint8), [(2,)])


# --- laws and their fits -------------------------------------------------------------------------


def test_huber_at_its_corner() -> None:
    law = Chinchilla(1.0, 1e-12, 1.0, 1e-12, 1.0)
    for gap, value in ((1e-3, 5e-7), (5e-4, 1.25e-7), (3e-3, 2.5e-6), (-3e-3, 2.5e-6)):
        found = fits.huber(law, np.ones(6), np.ones(6), np.exp([gap, 0, 0, 0, 0, 0]))
        assert found == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    "law", [FIT, Chinchilla(1.2, 50.0, 0.25, 3_000.0, 0.45), Chinchilla(0.5, 900.0, 0.4, 90.0, 0.2)]
)
def test_a_law_is_found_again(law) -> None:
    size, seen = np.geomspace(1e7, 1e10, 40), np.tile(np.geomspace(1e9, 1e11, 8), 5)
    loss = law.loss(size, seen)
    found = fits.fit_law(size, seen, loss)
    assert vars(found) == pytest.approx(vars(law), rel=1e-5)
    drawn = fits.bootstrap(size, seen, loss, 3, np.random.default_rng(0), np.arange(40) // 4)
    assert drawn.alpha == pytest.approx(np.full(3, law.alpha), rel=1e-4)


def test_two_families_are_enough_and_a_gap_is_not() -> None:
    size, seen = np.geomspace(1e7, 1e10, 40), np.tile(np.geomspace(1e9, 1e11, 8), 5)
    loss = FIT.loss(size, seen)
    two = fits.bootstrap(size, seen, loss, 2, np.random.default_rng(0), ["a", "b"] * 20)
    assert pytest.approx(np.full(2, FIT.E), rel=1e-4) == two.E
    with pytest.raises(ValueError, match="some are missing"):
        fits.bootstrap(size, seen, loss, 2, np.random.default_rng(0), [np.nan, 1.0, 2.0, 3.0] * 10)


def test_a_fit_that_does_not_end_is_said(monkeypatch) -> None:
    size, seen = np.geomspace(1e7, 1e10, 12), np.tile([1e9, 1e10, 1e11], 4)
    monkeypatch.setattr(fits, "_STEPS", 2)
    with pytest.raises(ValueError, match="1 fits are not done in 2 steps"):
        fits.fit_law(size, seen, FIT.loss(size, seen))


def test_compute_far_from_the_reference() -> None:
    """Newton's method needs its steps: budgets forty decades apart, in one call."""
    budgets = np.array([1e12, 1e20, 1e24, 1e40])
    loss = FIT.loss(*FIT.allocate(budgets, ratio=3.0))
    assert FIT.effective_compute(loss, 3.0) == pytest.approx(budgets, rel=1e-6)
    some = Chinchilla(*(np.array([v, v * 1.1]) for v in vars(FIT).values()))
    assert some.take(1).A == FIT.A * 1.1
    mixed = replace(some, E=1.8)
    assert (mixed.take([0]).E, mixed.take([0]).A.tolist()) == (1.8, [FIT.A])


# --- uncertainty ---------------------------------------------------------------------------------


def test_draws_far_below_the_estimate_are_raised() -> None:
    class Low:
        def normal(self, centre, error, n):
            return np.full(n, centre - 100 * error)

    found = uncertainty.loose_laws(2, Low())
    assert {k: v.tolist() for k, v in vars(found).items()} == {
        key: pytest.approx([value / 20] * 2) for key, value in vars(FIT).items()
    }


@pytest.mark.parametrize("by", ["family", "shuffled family"])
def test_families_are_fifths_of_a_decade_of_compute(monkeypatch, by) -> None:
    flop = 10.0 ** np.array([20.0, 20.09, 20.11, 20.4, 21.0, 21.0])
    size = np.full(6, 1e9)
    seen = []
    monkeypatch.setattr(uncertainty, "read_points", lambda file: (size, flop / 6e9, size))
    monkeypatch.setattr(uncertainty, "bootstrap", lambda *all_of: seen.append(all_of[5:]))
    uncertainty._bootstrap((7, by), np.random.default_rng(0))
    (labels,) = seen[0]
    expected = [100, 100, 101, 102, 105, 105]
    assert (labels.tolist() == expected) == (by == "family")
    assert sorted(labels.tolist()) == expected
    uncertainty._bootstrap(7, np.random.default_rng(0))
    assert seen[1] == ()


def test_laws_are_kept_by_what_is_drawn(monkeypatch) -> None:
    calls = []

    def keep(function, items, **options):
        calls.append((function, items, options))
        return ["law"]

    monkeypatch.setattr(uncertainty.sweeps, "run", keep)
    assert uncertainty.laws() == uncertainty.laws(7, "family", seed=3) == "law"
    options = {"name": "ch10-laws", "n_jobs": 1}
    assert calls == [
        (uncertainty._bootstrap, [400], {**options, "seed": 20_240_415}),
        (uncertainty._bootstrap, [(7, "family")], {**options, "seed": 3}),
    ]


def test_a_draw_without_a_plan_is_no_end(monkeypatch) -> None:
    answers = iter([plan(H100, 2, 91e9), None, plan(H100, 4, 91e9)])

    def look(*_, **__):
        found = next(answers)
        if found is None:
            raise InfeasibleError
        return found

    monkeypatch.setattr(uncertainty, "cheapest", look)
    sampled = uncertainty.draw(3, np.random.default_rng(0))
    found = uncertainty.sampled_cost(1e24, [H100], sampled, 3)
    assert found[[0, 2]].tolist() == pytest.approx([2 * 806_880.0, 4 * 806_880.0])
    assert np.isinf(found[1])


def test_what_the_sensitivity_analysis_varies(monkeypatch) -> None:
    """Every input over its range; a law is picked by its place, the last one also at the end."""
    from SALib.analyze import sobol as analyse
    from SALib.sample import sobol as sample

    at = np.array([[0.0, 0.4, 0.08, 1.0, 0.0, 0.3], [0.5, 0.4, 0.08, 1.0, 0.0, 0.4]])
    points = np.vstack([at, at, at, at])
    points[:, 0] = [0.0, 0.24, 0.26, 0.5, 0.75, 0.99, 1.0, 1.0]
    asked, taken, sizes = [], [], []

    def draw(problem, n, **options):
        asked.append((problem, n, options))
        return points

    def analyze(problem, values, **options):
        asked.append((problem, values, options))
        column = np.zeros(6)
        return {"S1": column, "S1_conf": column, "ST": column + 1, "ST_conf": column}

    class Law(Chinchilla):
        def take(self, index):
            taken.append(index.tolist())
            return FIT

    four = Law(*(np.full(4, value) for value in vars(FIT).values()))
    monkeypatch.setattr(sample, "sample", draw)
    monkeypatch.setattr(analyse, "analyze", analyze)
    one = plan(H100, 2, 91e9)
    found = uncertainty.sobol_indices(one, "c_local", 2, seed=9, law=four)
    assert taken == [[0, 0, 1, 2, 3, 3, 3, 3]]
    (problem, n, options), (_, values, again_) = asked
    ends = [[0.0, 1.0], *(list(pair) for pair in uncertainty.RANGES.values()), [0.0, 1.0]]
    assert problem == {"num_vars": 6, "names": list(uncertainty.INPUTS), "bounds": ends}
    assert (n, options) == (2, {"calc_second_order": False, "seed": 9})
    assert again_ == {"calc_second_order": False, "seed": 9}
    assert values == pytest.approx(np.log(one.value("c_local")))
    assert found.evaluations == 8
    monkeypatch.setattr(
        uncertainty, "loose_laws", lambda n, rng: sizes.append((n, rng.random())) or four
    )
    uncertainty.sobol_indices(one, "c_local", 2, seed=9)
    assert sizes == [(1_600, np.random.default_rng(9).random())]


def test_margins_rise_by_four_per_cent_up_to_eight(monkeypatch) -> None:
    tried: list[float] = []
    share = np.zeros(20)
    monkeypatch.setattr(uncertainty, "branch_search", lambda target, *_, **__: tried.append(target))
    monkeypatch.setattr(uncertainty, "reached", lambda *_: share)
    with pytest.raises(InfeasibleError, match=r"no margin up to 8 reaches 100 in 0\.95"):
        uncertainty.sure_cost(100.0, [H100], Assumptions())
    assert tried == pytest.approx([100 * 1.04**k for k in range(54)])
    # 19 of 20 draws that just reach it are enough.
    share[:19] = 100.0
    assert uncertainty.sure_cost(100.0, [H100], Assumptions())[0] == 1.0
    share[:] = [100.0] * 18 + [0.0] * 2
    with pytest.raises(InfeasibleError):
        uncertainty.sure_cost(100.0, [H100], Assumptions())


def test_scenarios_in_per_cent() -> None:
    piped = plan(H100, 40, 180e9, PIPELINE)
    row = uncertainty.scenario_moves([piped]).iloc[0]
    assert row["conservative, gradients"] == pytest.approx(100 * (0.91 / 0.99 - 1))
    both = 0.91 / 0.99 * (0.96 / 0.995) ** 2
    assert row["conservative"] == pytest.approx(100 * (both - 1))
    assert row["optimistic, gradients"] == pytest.approx(100 * (1 / 0.99 - 1))


def test_a_single_draw_and_its_return() -> None:
    sampled = uncertainty.draw(3, np.random.default_rng(0))
    for key, (low, high) in uncertainty.RANGES.items():
        scale = 1.0923 if key == "replica_scale" else 1.0
        values = getattr(sampled, key) / scale
        assert ((values >= low) & (values <= high)).all()
        assert getattr(uncertainty.one_draw(sampled, 2), key) == getattr(sampled, key)[2]
    same = uncertainty.shrunk(sampled, 1)
    assert same.replica_scale == pytest.approx(sampled.replica_scale)
    assert pytest.approx(sampled.law.B) == same.law.B
    two = uncertainty.shrunk(sampled, 2)
    assert pytest.approx((sampled.law.B + FIT.B) / 2) == two.law.B
    table = pd.DataFrame({"total": [0.1, 0.7, 0.2]}, index=["x", "y", "z"])
    assert uncertainty.Sobol(table, 3).leader == "y"


# --- the rest of the study -----------------------------------------------------------------------


def test_shares_of_tokens() -> None:
    curve = [(10, 4.0), (20, 3.0), (30, 3.5), (40, 2.0)]
    for loss, share in ((4.0, 0.25), (3.5, 15 / 40), (2.5, 35 / 40), (2.0, 1.0), (0.5, 1.0)):
        assert token_share(curve, loss) == pytest.approx(share)
    assert silent(30).every == 30
    assert (silent(30).outer_lr, silent(30).momentum) == (1.0, 0.0)
    table = pd.DataFrame({0: [1.0, 3.0], 1: [5.0, 4.0]}, index=[10, 1000])
    assert slopes(table).tolist() == pytest.approx([1.0, -0.5])


def test_medians_of_the_priors() -> None:
    found = median_rates()
    assert found.leak == pytest.approx(2e-4)
    assert found.inspect == pytest.approx(10**-2.5)
    assert (found.notice, found.visible, found.steep) == pytest.approx((0.5, 9.0, 3.5))
    assert found.audit == pytest.approx(10**-5.5)
    assert PRIORS["steep"].at(0.1) == pytest.approx(1.5)


def test_goodput_where_losses_are_cut() -> None:
    calm = Failures(rate=1e-3, recovery_h=1.0, spare=0.5, hidden=1.0)
    assert goodput("backup_workers", 10, 10.0, 1.0, calm) == 1.0
    assert goodput("checkpoint_elastic", 10_000, 10.0, 1.0, calm) == 0.0
    assert goodput("synchronous", 1, 10.0, 1.0, Failures(rate=1.0)) == 0.0
    assert goodput("none", 1, 2.0, 1.0, Failures(rate=1.0)) == 0.5
    assert calm.checkpoint_h(24e9, 450.0) == pytest.approx(1.0)


def test_tokens_and_windows() -> None:
    everything = bytes(range(256)).decode("latin-1")
    assert text.tokens_of(everything).tolist() == list(range(96))
    assert text.tokens_of(text.ALPHABET).tolist() == list(range(96))
    assert text.tokens_of("~").tolist() == [95]
    letters = np.arange(60, dtype=np.uint8)
    corpus = text.Corpus("x", letters, letters[:20], 4)
    starts = np.random.default_rng((3, 7)).integers(60 - 4 - 1, size=500)
    windows = corpus.draw(3, 7, 500)
    assert windows[:, 0].tolist() == starts.tolist()
    assert (windows - windows[:, :1] == np.arange(5)).all()
    assert corpus.validation()[:, 0].tolist() == np.linspace(0, 15, 15).astype(int).tolist()
    long = text.Corpus("x", letters, np.zeros(1_000, np.uint8), 4)
    assert len(long.validation()) == 256
    shards = text.Shards(corpus, 3)
    starts = np.random.default_rng((3, 7)).integers(20 - 4 - 1, size=(3, 100))
    found = shards.draw(3, 7, 300)[:, 0]
    assert found.tolist() == (starts + np.array([[0], [20], [40]])).reshape(-1).tolist()


def test_pieces_by_their_share_of_small_letters() -> None:
    words = "abczzz~~a{{{`1{Zzzz~overx"
    corpus = text.Corpus("x", text.tokens_of(words), text.tokens_of(words), 4)
    found = text.sort_pieces(corpus, 4).train
    assert "".join(text.ALPHABET[token] for token in found) == "`1{Za{{{zz~~zzz~abczover"


def test_pages_are_made_prose_and_every_tenth_is_held_out(monkeypatch, tmp_path) -> None:
    page = "title\n=====\n  one\t two \nthree\n\n\n\nfour\n    code\n\nfive  "
    assert text._prose(page) == "one two three\nfour five\n".replace("four five", "four\nfive")
    pages = {
        "b": {str(k): f"t\n=\npage b{k} of some" for k in range(10)},
        "a": {"x": "t\n=\nfirst page of all"},
    }
    file = tmp_path / "pages"
    file.write_bytes(pickle.dumps(pages))
    monkeypatch.setattr(text.data, "path", lambda name: file)
    corpus = text.manual_pages.__wrapped__(5)
    parts = ["".join(text.ALPHABET[t] for t in p) for p in (corpus.held_out, corpus.train)]
    assert parts[0] == "first page of all\npage b9 of some\n"
    assert parts[1] == "".join(f"page b{k} of some\n" for k in range(9))
    assert (corpus.name, corpus.context) == ("manual pages", 5)


def test_the_last_tenth_of_a_file_is_held_out(tmp_path) -> None:
    file = tmp_path / "some.txt"
    file.write_text("".join(itertools.islice(itertools.cycle("abcdefg"), 129)), encoding="utf-8")
    corpus = text.read_corpus(file, 3)
    assert (len(corpus.train), len(corpus.held_out), corpus.context) == (117, 12, 3)
    assert corpus.name == "some"
