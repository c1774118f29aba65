"""What each worker does and reports, with workers as threads: numbers and bytes by hand."""

import hashlib
import json
import math
import pickle
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from cg_threads import Threads
from cg_toys import Cloud, Quadratic
from torch import nn

from lib.compute_governance.codecs import Fp16, Int8, TopK, size_of
from lib.compute_governance.lowcomm import training
from lib.compute_governance.lowcomm.models import Inner, Replica, Transformer
from lib.compute_governance.lowcomm.pool import Seat
from lib.compute_governance.lowcomm.strategies import DataParallel, DiLoCo, Rounds
from lib.compute_governance.lowcomm.training import CheckpointError, Settings, _Run, _work, train
from lib.compute_governance.lowcomm.wire import Link, WireError, guard, make_link
from lib.compute_governance.study.patterns import Gossip, Hierarchical, pairs, spread, swap
from lib.compute_governance.study.text import Corpus

N = 8
SGD = Inner("sgd", lr=0.1, warmup=0)
SETTINGS = Settings(SGD, batch=12, dtype="float64")
START = Replica(Quadratic(), 5, dtype=torch.float64).flat.numpy().copy()
HELD_OUT = Cloud().validation()


@pytest.fixture
def threads(monkeypatch):
    return lambda world: Threads(world, monkeypatch)


def reports(pool, strategy, steps=12, seed=5, settings=SETTINGS, model=None, data=None):
    run = _Run(model or Quadratic(), data or Cloud(), strategy, steps, seed, settings)
    return pool.run(_work, run)


def rows(step, rank, world, batch=12):
    size = batch // world
    return Cloud().draw(5, step, batch)[rank * size : (rank + 1) * size]


def alone(at, step, rank, world):
    """One step of plain gradient descent of one worker."""
    return at - 0.1 * (at - rows(step, rank, world).mean(axis=0))


def held_out_loss(at):
    return ((HELD_OUT - at) ** 2).sum(axis=1).mean() / 2


# --- strategies by hand --------------------------------------------------------------------------


def test_data_parallel_by_hand(threads):
    found = reports(threads(3), DataParallel(), steps=4)
    at = START.copy()
    for step in range(4):
        at = at - 0.1 * np.mean([at - rows(step, r, 3).mean(axis=0) for r in range(3)], axis=0)
    for one in found:
        assert one["weights"] == pytest.approx(at, abs=1e-5)
        assert one["apart"] == pytest.approx(0, abs=1e-7)
        # A ring of three: each number goes out 2·2/3 times, with 4 bytes, in each of four steps.
        assert one["claimed"] == one["sent"] == pytest.approx(4 * 4 / 3 * 4 * N)
        assert (one["largest"], one["exchanges"], one["regional"]) == (4 * N, 4, 0.0)
        assert one["tokens"] == 4 * 12


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_rounds_with_fragments_by_hand(threads, momentum):
    strategy = DiLoCo(6, 0.7, momentum, fragments=3)
    found = reports(threads(2), strategy, steps=18)
    parts = [slice(0, 2), slice(2, 5), slice(5, 8)]
    turns = {2: [0], 4: [1], 6: [2], 8: [0], 10: [1], 12: [2], 18: [0, 1, 2]}
    at, outer, velocity = [START.copy(), START.copy()], START.copy(), np.zeros(N)
    for step in range(18):
        at = [alone(one, step, rank, 2) for rank, one in enumerate(at)]
        for part in (parts[turn] for turn in turns.get(step + 1, [])):
            mean = np.mean([outer[part] - one[part] for one in at], axis=0)
            velocity[part] = momentum * velocity[part] + mean
            outer[part] -= 0.7 * (mean + momentum * velocity[part])
            for one in at:
                one[part] = outer[part]
    for one in found:
        assert one["weights"] == pytest.approx(outer, abs=1e-5)
        assert (one["claimed"], one["largest"], one["exchanges"]) == (3 * 4 * N, 4 * 3, 9)
        assert one["apart"] == 0


def test_whose_turn_it_is():
    replica = Replica(Quadratic(), 0)
    rounds = Rounds(DiLoCo(6, fragments=3), replica, {"all": Link((0,), 0)})
    rounds.last = 18
    turns = {step: rounds._now(step) for step in range(1, 19)}
    assert {step: parts for step, parts in turns.items() if parts} == {
        2: [0], 4: [1], 6: [2], 8: [0], 10: [1], 12: [2], 18: [0, 1, 2],
    }  # fmt: skip
    assert [(one.start, one.stop) for one in rounds.parts] == [(0, 2), (2, 5), (5, 8)]
    assert rounds.ends == [8]


def test_what_the_codec_lost_is_sent_with_the_next_round(threads):
    codec = TopK(0.25)
    found = reports(threads(2), DiLoCo(3, 1.0, 0.0, codec, error_feedback=True), steps=6)

    def packed(vector):
        vector = torch.from_numpy(vector).float()
        return codec.decode(codec.encode(vector), [(N,)]).double().numpy()

    outer, lost = START.copy(), [np.zeros(N), np.zeros(N)]
    for turn in range(2):
        at = [outer.copy(), outer.copy()]
        for step in range(3 * turn, 3 * turn + 3):
            at = [alone(one, step, rank, 2) for rank, one in enumerate(at)]
        wanted = [outer - one + owed for one, owed in zip(at, lost, strict=True)]
        sent = [packed(one) for one in wanted]
        lost = [one - got for one, got in zip(wanted, sent, strict=True)]
        outer = outer - np.mean(sent, axis=0)
    assert found[0]["weights"] == pytest.approx(outer, abs=1e-5)
    assert found[0]["claimed"] == 2 * (6 * 2 + 4)
    assert found[0]["largest"] == 16


@pytest.mark.parametrize("world", [2, 3])
def test_gossip_by_hand(threads, world):
    """With three workers one of them is left alone in every turn, and takes its own step."""
    found = reports(threads(world), Gossip(4, 0.7, 0.5, 0.25), steps=12)
    at, outer = [START.copy() for _ in range(world)], [START.copy() for _ in range(world)]
    velocity, meetings = [np.zeros(N) for _ in range(world)], [0] * world
    for step in range(12):
        at = [alone(one, step, rank, world) for rank, one in enumerate(at)]
        if (step + 1) % 4:
            continue
        with_whom = pairs(world, 5, step + 1)
        change = [one - mine for one, mine in zip(at, outer, strict=True)]
        new = []
        for rank in range(world):
            other = with_whom.get(rank, rank)
            meetings[rank] += other != rank
            velocity[rank] = (
                0.5 * velocity[rank]
                + 0.7 * (change[rank] + change[other]) / 2
                + 0.25 * ((outer[rank] + outer[other]) / 2 - outer[rank])
            )
            new.append(outer[rank] + velocity[rank])
        outer, at = new, [one.copy() for one in new]
    mean = np.mean(outer, axis=0)
    for rank, one in enumerate(found):
        assert one["weights"] == pytest.approx(mean, abs=1e-5)
        assert one["apart"] == pytest.approx(np.abs(outer[rank] - mean).max(), abs=1e-5)
        assert one["claimed"] == one["sent"] == meetings[rank] * 2 * 4 * N
        assert one["exchanges"] == 2 * meetings[rank]
        assert one["largest"] == (4 * N if meetings[rank] else 0)


def test_a_hierarchy_by_hand(threads):
    """Regions of two average every third step; their leaders take an outer step every sixth."""
    found = reports(threads(4), Hierarchical(2, 3, DiLoCo(6, 0.7, 0.5)))
    at, outer, velocity = [START.copy() for _ in range(4)], START.copy(), np.zeros(N)
    for step in range(12):
        at = [alone(one, step, rank, 4) for rank, one in enumerate(at)]
        if (step + 1) % 3 == 0:
            regions = [(at[0] + at[1]) / 2, (at[2] + at[3]) / 2]
            at = [regions[0].copy(), regions[0].copy(), regions[1].copy(), regions[1].copy()]
        if (step + 1) % 6 == 0:
            mean = np.mean([outer - one for one in regions], axis=0)
            velocity = 0.5 * velocity + mean
            outer = outer - 0.7 * (mean + 0.5 * velocity)
            at = [outer.copy() for _ in range(4)]
    dense = 4 * N
    for rank, one in enumerate(found):
        leads = rank in (0, 2)
        assert one["weights"] == pytest.approx(outer, abs=1e-5)
        assert one["apart"] == pytest.approx(0, abs=1e-6)
        # Four averages in the region; two copies of the outer weights, and two exchanges outside.
        assert one["regional"] == 4 * dense + (2 * dense if leads else 0)
        assert one["claimed"] == one["sent"] == one["regional"] + (2 * dense if leads else 0)
        assert (one["largest"], one["exchanges"]) == (dense, 6)


def test_regions_are_neighbours_and_their_first_members_lead(threads):
    pool = threads(6)
    replica = Replica(Quadratic(), 0)

    def links(seat):
        sync = Hierarchical(3, 5, DiLoCo(10)).start(replica, seat.rank, seat.world, 0)
        return {name: (link.members, link.group is None) for name, link in sync.links.items()}

    for rank, found in enumerate(pool.run(links)):
        first = 3 * (rank // 3)
        assert found["region"] == ((first, first + 1, first + 2), False)
        # Who is no leader has no use for their group.
        assert found["all"] == ((0, 3), rank not in (0, 3))


# --- links ---------------------------------------------------------------------------------------


def test_exchanges_of_a_link(threads):
    pool = threads(3)

    def work(seat):
        link = make_link(range(3), seat.rank, 3)
        mine = torch.tensor([1.0, 10.0], dtype=torch.float64) * (seat.rank + 1)
        mean = link.mean(mine)
        average = link.average(mine)
        gathered = link.gather(Fp16(), mine, [(2,)])
        return link, mine, mean, average, gathered

    for rank, (link, mine, mean, average, gathered) in enumerate(pool.run(work)):
        assert mine.tolist() == [rank + 1, 10 * (rank + 1)]
        assert mean.tolist() == average.tolist() == [2.0, 20.0]
        assert [one.tolist() for one in gathered] == [[1, 10], [2, 20], [3, 30]]
        assert {one.dtype for one in (mean, average, *gathered)} == {torch.float64}
        # The average for a judgement is off the books: 4/3 of 8 bytes, then twice 4 bytes.
        assert link.claimed == link.sent == pytest.approx(4 / 3 * 8 + 2 * 4)
        assert (link.exchanges, link.size) == (2, 3)


def test_a_link_of_one_sends_nothing():
    link = make_link([0], 0, 4)
    assert (link.group, link.size) == (None, 1)
    vector = torch.tensor([3.0, -3.1])
    assert link.mean(vector).tolist() == link.average(vector).tolist() == vector.tolist()
    (own,) = link.gather(Int8(), vector.double(), [(2,)])
    assert own.dtype == torch.float64
    assert own.tolist() == pytest.approx([3.0, -3.1], abs=0.02)
    spread(link, vector)
    assert (link.claimed, link.sent, link.exchanges) == (0.0, 0.0, 0)


def test_books_keep_claimed_and_sent_apart():
    link = Link((0, 1), 0)
    link.count(2.5, 10, 30)
    link.count(1, 1, 2)
    assert (link.claimed, link.sent, link.exchanges) == (26.0, 77.0, 2)


def test_who_is_in_a_group(threads):
    pool = threads(3)
    found = pool.run(lambda seat: make_link([0, 2], seat.rank, 3))
    assert [one.group is None for one in found] == [False, True, False]
    assert found[0].group is found[2].group
    assert pool.run(lambda seat: make_link([0, 1, 2], seat.rank, 3).group) == [None] * 3
    assert list(pool.groups) == [(0, 2)]


def test_swaps_and_copies(threads):
    pool = threads(3)

    def work(seat):
        link, vector = make_link(range(3), seat.rank, 3), torch.full((2,), float(seat.rank))
        other = swap(link, Fp16(), vector, [(2,)], 1 - seat.rank) if seat.rank < 2 else None
        spread(link, vector)
        return link, other, vector

    found = pool.run(work)
    assert [one[1].tolist() for one in found[:2]] == [[1.0, 1.0], [0.0, 0.0]]
    assert [one[2].tolist() for one in found] == [[0.0, 0.0]] * 3
    # A swap is 4 bytes; the first hands 8 bytes to each of two, and claims both copies.
    assert [(one[0].claimed, one[0].exchanges) for one in found] == [(20, 2), (4, 2), (0, 1)]
    assert [one[0].sent for one in found] == [20, 4, 0]


def test_a_failed_exchange_is_another_workers_fault():
    def fail():
        raise RuntimeError("connection reset\nand more")

    with pytest.raises(WireError, match=r"gone or silent: connection reset$"):
        guard(fail)


# --- runs ----------------------------------------------------------------------------------------


def test_a_curve_has_a_point_a_judgement(threads):
    found = reports(threads(2), DiLoCo(4, 1.0, 0.0), settings=replace(SETTINGS, judge_every=6))
    steps, losses = zip(*found[0]["curve"], strict=True)
    assert steps == (6, 12)  # the end is judged once
    assert losses[-1] == pytest.approx(held_out_loss(found[0]["weights"]), rel=1e-6)
    assert losses == pytest.approx(list(zip(*found[1]["curve"], strict=True))[1])
    quiet = reports(threads(2), DiLoCo(4, 1.0, 0.0))
    assert [step for step, _ in quiet[0]["curve"]] == [12]
    assert quiet[0]["weights"].tolist() == found[0]["weights"].tolist()


def test_more_workers_than_held_out_rows(threads):
    class Few(Cloud):
        def validation(self):
            return super().validation()[:2]

    (first, *_) = reports(threads(3), DataParallel(), steps=2, data=Few())
    at = first["weights"]
    expected = ((HELD_OUT[:2] - at) ** 2).sum(axis=1).mean() / 2
    assert first["curve"][-1][1] == pytest.approx(expected, rel=1e-6)


def test_tokens_are_windows_times_context(threads):
    letters = (np.arange(300) % 90).astype(np.uint8)
    model = Transformer(8, 1, 1, 6)
    data = Corpus("x", letters, letters, 6)
    settings = Settings(SGD, batch=4)
    found = reports(threads(2), DataParallel(), 3, settings=settings, model=model, data=data)
    assert found[0]["tokens"] == 3 * 4 * 6
    assert found[0]["weights"].dtype == np.float32
    short = replace(settings, stop_after=2)
    found = reports(threads(2), DataParallel(), 3, settings=short, model=model, data=data)
    assert found[1]["tokens"] == 2 * 4 * 6


def test_shares_are_taken_as_given(threads):
    plain = reports(threads(3), Gossip(12))
    turned = reports(threads(3), Gossip(12), settings=replace(SETTINGS, shares=(1, 2, 0)))
    at = [START.copy() for _ in range(3)]
    for step in range(12):
        at = [alone(one, step, share, 3) for one, share in zip(at, (1, 2, 0), strict=True)]
    (single,) = {0, 1, 2} - set(pairs(3, 5, 12))
    spreads = [one["apart"] for one in turned]
    together = [rank for rank in range(3) if rank != single]
    mean = np.mean(at, axis=0)
    assert turned[0]["weights"] == pytest.approx(mean, abs=1e-5)
    assert spreads[single] == pytest.approx(np.abs(at[single] - mean).max(), abs=1e-5)
    assert spreads[together[0]] == pytest.approx(spreads[together[1]], abs=1e-5)
    assert plain[0]["weights"] == pytest.approx(mean, abs=1e-5)


def test_the_wire_without_what_judging_sends(threads, monkeypatch, tmp_path):
    """100 before; 20 while judging and leaving; 300 after: 180 are the training's."""
    counts = iter([100, 150, 170, 300])
    monkeypatch.setattr(training, "socket_bytes", lambda: next(counts))
    folder = {"checkpoint": tmp_path, "checkpoint_every": 3}
    settings = replace(SETTINGS, judge_every=3, stop_after=3, **folder)
    (one,) = reports(threads(1), DiLoCo(3), steps=6, settings=settings)
    assert one["wire"] == 180
    monkeypatch.setattr(training, "socket_bytes", lambda: None)
    assert reports(threads(1), DiLoCo(3), settings=replace(SETTINGS, judge_every=3))[0][
        "wire"
    ] is None  # fmt: skip


def test_a_worker_that_kills_itself_does_so_at_its_step(threads, monkeypatch):
    killed = []
    monkeypatch.setattr(training.os, "kill", lambda pid, number: killed.append(number))
    for place, times in (((0, 3), 1), ((1, 3), 0), ((0, 99), 0)):
        killed.clear()
        reports(threads(1), DiLoCo(6), settings=replace(SETTINGS, kill=place))
        assert killed == [signal.SIGKILL] * times


def test_signs_of_life_at_every_step(threads):
    pool, told = threads(1), []
    run = _Run(Quadratic(), Cloud(), DiLoCo(6), 12, 5, SETTINGS)

    class Eager(Seat):
        def beat(self):
            told.append(1)

    pool.run(lambda seat: _work(Eager(seat.rank, seat.world), run))
    assert len(told) == 12


def test_the_learning_rate_warms_up(threads):
    inner = Inner("sgd", lr=0.1, warmup=4)
    (one,) = reports(threads(1), DataParallel(), 2, settings=replace(SETTINGS, inner=inner))
    at = START.copy()
    for step, rate in enumerate((0.025, 0.05)):
        at = at - rate * (at - rows(step, 0, 1).mean(axis=0))
    assert one["weights"] == pytest.approx(at, abs=1e-6)


# --- checkpoints ---------------------------------------------------------------------------------

ADAM = replace(SETTINGS, inner=Inner(lr=0.05, warmup=3))


@pytest.mark.parametrize(
    ("world", "strategy"),
    [
        (2, DiLoCo(3, 0.7, 0.5, TopK(0.5), error_feedback=True)),
        (3, Gossip(3, 0.7, 0.5, 0.5)),
        (4, Hierarchical(2, 3, DiLoCo(3, 0.7, 0.5))),
        (2, DataParallel()),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_restart_goes_on_where_it_stopped(threads, tmp_path, world, strategy):
    straight = reports(threads(world), strategy, settings=replace(ADAM, judge_every=3))
    folder = replace(ADAM, judge_every=3, checkpoint=tmp_path, checkpoint_every=3)
    reports(threads(world), strategy, settings=replace(folder, stop_after=6))
    kept = sorted(one.name for one in tmp_path.iterdir())
    assert kept == ["step-00000003", "step-00000006"]
    files = sorted(one.name for one in (tmp_path / "step-00000006").iterdir())
    assert files == ["complete.json", *(f"worker-{rank}.pt" for rank in range(world))]
    again = reports(threads(world), strategy, settings=replace(folder, resume=True))
    for one, other in zip(straight, again, strict=True):
        assert one["weights"].tolist() == other["weights"].tolist()
        assert one["curve"] == other["curve"]
        assert one["tokens"] == other["tokens"]
    assert (tmp_path / "step-00000012" / "complete.json").is_file()


def test_nothing_is_left_without_being_asked(threads, tmp_path):
    reports(threads(1), DiLoCo(3), settings=replace(SETTINGS, checkpoint=tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_a_checkpoint_holds(threads, tmp_path):
    settings = replace(ADAM, checkpoint=tmp_path, checkpoint_every=12)
    reports(threads(2), DiLoCo(6), settings=settings)
    record = json.loads((tmp_path / "step-00000012" / "complete.json").read_text())
    for rank, digest in enumerate(record["digests"]):
        content = (tmp_path / "step-00000012" / f"worker-{rank}.pt").read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    run = _Run(Quadratic(), Cloud(), DiLoCo(6), 12, 5, settings)
    assert record["run"] == training._fingerprint(run, 2)
    state = training._newest(run, 1, 2)
    assert (state["step"], state["rows"]) == (12, 72)
    assert set(state) == {"step", "rows", "curve", "weights", "sync", "optimiser"}
    assert set(state["sync"]) == {"outer", "velocity", "lost"}


@pytest.mark.parametrize(
    "change",
    [
        {"model": Quadratic(9)},
        {"data": Cloud(9)},
        {"strategy": DiLoCo(3)},
        {"steps": 24},
        {"seed": 6},
        {"settings": replace(ADAM, batch=24)},
        {"settings": replace(ADAM, inner=SGD)},
        {"settings": replace(ADAM, shares=(1, 0))},
        {"settings": replace(ADAM, dtype="float32")},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_checkpoint_is_of_one_run(change):
    run = _Run(Quadratic(), Cloud(), DiLoCo(6), 12, 5, ADAM)
    assert training._fingerprint(replace(run, **change), 2) != training._fingerprint(run, 2)
    assert training._fingerprint(run, 3) != training._fingerprint(run, 2)
    more = replace(run, settings=replace(ADAM, judge_every=3, stop_after=6, resume=True))
    assert training._fingerprint(more, 2) == training._fingerprint(run, 2)


def test_a_step_back_forgets_only_the_optimiser(threads, tmp_path):
    settings = replace(ADAM, checkpoint=tmp_path, checkpoint_every=6)
    reports(threads(1), DiLoCo(6), settings=settings)
    pool = threads(1)
    run = _Run(Quadratic(), Cloud(), DiLoCo(6), 12, 5, settings)
    state = training._newest(run, 0, 1)
    for forget in (False, True):
        (worker,) = pool.run(lambda seat: training._Worker(seat, run))
        worker.load(state, forget=forget)
        assert worker.replica.flat.tolist() == state["weights"].tolist()
        assert bool(worker.optimiser.state_dict()["state"]) != forget
        assert (worker.step, worker.rows) == (12, 144)
    kept = worker.state()
    worker.replica.flat.zero_()
    worker.sync.outer.zero_()
    assert kept["weights"].any()
    assert kept["sync"]["outer"].any()


def test_the_newest_checkpoint_is_taken_and_its_worker_must_match(threads, tmp_path):
    settings = replace(SETTINGS, checkpoint=tmp_path, checkpoint_every=6)
    run = _Run(Quadratic(), Cloud(), DiLoCo(6), 12, 5, settings)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        training._newest(run, 0, 1)
    reports(threads(1), DiLoCo(6), settings=settings)
    assert training._newest(run, 0, 1)["step"] == 12
    (tmp_path / "step-00000012" / "worker-0.pt").unlink()
    with pytest.raises(CheckpointError, match="missing, truncated or altered"):
        training._newest(run, 0, 1)
    (tmp_path / "step-00000012" / "complete.json").unlink()
    assert training._newest(run, 0, 1)["step"] == 6


def test_a_checkpoint_that_names_a_class_is_refused(threads, tmp_path):
    """Its digest is right, and still nothing but plain tensors and numbers is read."""
    settings = replace(SETTINGS, checkpoint=tmp_path, checkpoint_every=12)
    reports(threads(1), DiLoCo(6), settings=settings)
    file = tmp_path / "step-00000012" / "worker-0.pt"
    torch.save({"step": Quadratic()}, file)
    listing = file.with_name("complete.json")
    record = json.loads(listing.read_text())
    record["digests"] = [hashlib.sha256(file.read_bytes()).hexdigest()]
    listing.write_text(json.dumps(record))
    run = _Run(Quadratic(), Cloud(), DiLoCo(6), 12, 5, settings)
    with pytest.raises(pickle.UnpicklingError):
        training._newest(run, 0, 1)


# --- the call ------------------------------------------------------------------------------------


def test_a_history_is_made_of_all_reports():
    report = {
        "curve": [(1, 3.0), (2, 2.0)], "weights": np.ones(2), "apart": 0.1, "tokens": 7,
        "claimed": 10.0, "sent": 20.0, "wire": 30, "regional": 4.0, "largest": 5, "exchanges": 6,
    }  # fmt: skip
    other = report | {"apart": 0.3, "claimed": 20.0, "sent": 24.0, "wire": 40, "regional": 0.0}
    other |= {"largest": 9, "exchanges": 2, "curve": [(1, 9.0)], "tokens": 1}
    found = training._history([report, other])
    assert (found.loss, found.curve, found.tokens) == (2.0, report["curve"], 7)
    assert (found.apart, found.largest, found.exchanges) == (0.3, 9, 6)
    assert (found.claimed, found.sent, found.wire, found.regional) == (15.0, 22.0, 35.0, 2.0)
    assert training._history([report, other | {"wire": None}]).wire is None


def test_the_pool_given_does_the_work(threads):
    found = train(Quadratic(), Cloud(), DiLoCo(6, 1.0, 0.0), None, 12, 5, SETTINGS, threads(2))
    assert found.curve == [(12, found.loss)]
    assert found.claimed == 2 * 4 * N
    with pytest.raises(ValueError, match="world is 3, but there are 2 workers"):
        train(Quadratic(), Cloud(), DiLoCo(6), 3, 12, 5, SETTINGS, threads(2))


def test_under_torchrun_this_process_is_one_worker(threads, monkeypatch, tmp_path):
    pool = threads(1)
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("RANK", "0"), ("WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
    found = train(Quadratic(), Cloud(), DiLoCo(6), steps=12, seed=5, settings=SETTINGS)
    assert found.curve[0][0] == 12
    assert pool.begun == [(("gloo",), {"init_method": "env://"}), "over"]
    with pytest.raises(ValueError, match="world is 2, but there are 1 workers"):
        train(Quadratic(), Cloud(), DiLoCo(6), 2, 12, 5, SETTINGS)
    lost = replace(SETTINGS, checkpoint=tmp_path, resume=True)
    with pytest.raises(CheckpointError):
        train(Quadratic(), Cloud(), DiLoCo(6), steps=12, seed=5, settings=lost)
    # On a GPU: its own device, and NCCL; a failure still leaves the group.
    chosen = []
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)

    def fail(seat, run):
        raise RuntimeError(f"worker {seat.rank} of {seat.world}")

    monkeypatch.setattr(training, "_work", fail)
    pool.begun.clear()
    with pytest.raises(RuntimeError, match="worker 0 of 1"):
        train(Quadratic(), Cloud(), DiLoCo(6), steps=12, settings=replace(SETTINGS, device="cuda"))
    assert chosen == [3]
    assert pool.begun == [(("nccl",), {"init_method": "env://"}), "over"]


@pytest.mark.parametrize(
    ("match", "change"),
    [
        ("batch is 0", {"batch": 0}),
        ("judge_every is -1", {"judge_every": -1}),
        ("checkpoint_every is -1", {"checkpoint_every": -1}),
        ("and stop_after 4, expected multiples of 6", {"stop_after": 4}),
        ("checkpoint is missing", {"resume": True}),
        ("checkpoint is missing", {"checkpoint_every": 6}),
        ("shares is", {"shares": (1, 2)}),
        ("shares is", {"shares": (0,)}),
    ],
)
def test_settings_that_do_not_suit(match, change):
    run = _Run(Quadratic(), Cloud(), DiLoCo(6), 12, 0, replace(SETTINGS, **change))
    with pytest.raises(ValueError, match=match):
        training._check(run, 2)


def test_the_least_that_suits():
    """One worker, one step, one row; and checkpoints as often as there are steps."""
    run = _Run(Quadratic(), Cloud(), DataParallel(), 1, 0, Settings(batch=1))
    training._check(run, 1)
    with pytest.raises(ValueError, match="checkpoint is missing"):
        training._check(replace(run, settings=Settings(batch=1, checkpoint_every=1)), 1)


# --- models and optimisers -----------------------------------------------------------------------


def test_first_weights_are_spread_by_the_width():
    """The usual 0.02 of a width of 768; narrower ones start with more, layers share it."""
    sizes = Transformer(48, 8, 4, 64, 96)
    module = sizes.build(3)
    spread_ = 0.02 * (768 / 48) ** 0.25
    for name, one in module.named_parameters():
        found = float(one.detach().std())
        if one.ndim == 1:
            assert set(one.detach().tolist()) <= {0.0, 1.0}
        elif name.endswith(("out.weight", "down.weight")):
            assert found == pytest.approx(spread_ / math.sqrt(2 * 8), rel=0.1)
        else:
            assert found == pytest.approx(spread_, rel=0.1), name
    again = sizes.build(3)
    assert torch.equal(module.tokens.weight, again.tokens.weight)
    assert not torch.equal(module.tokens.weight, sizes.build(4).tokens.weight)


def test_parameters_by_hand():
    sizes = Transformer(12, 3, 2, 10, 20)
    layer = 4 * 12 + 12 * (3 * 12 + 12 + 4 * 12 + 4 * 12)
    assert sizes.n_parameters == 20 * 12 + 10 * 12 + 3 * layer + 2 * 12
    shapes = Replica(sizes, 0).shapes
    assert shapes[0] == (20, 12)
    assert size_of(shapes) == sizes.n_parameters


def test_a_transformer_predicts_from_what_is_before():
    module = Transformer(12, 1, 2, 10, 20).build(0)
    windows = torch.arange(11)[None, :] % 20
    logits = []
    module.norm.register_forward_hook(lambda *call: logits.append(call[2]))
    first = module(windows)
    changed = windows.clone()
    changed[0, 6] = 15
    module(changed)
    same = (logits[0] == logits[1]).all(dim=2)[0].tolist()
    assert same == [True] * 6 + [False] * 4
    # By hand from the last layer on: the mean over places of minus the log share of what follows.
    scores = torch.log_softmax(logits[0] @ module.tokens.weight.T, dim=2)
    found = -scores[0, torch.arange(10), windows[0, 1:]].mean()
    assert first.item() == pytest.approx(found.item(), rel=1e-5)
    assert first.item() == pytest.approx(math.log(20), abs=0.3)


def test_a_block_by_hand():
    block = Transformer(8, 1, 2, 10, 20).build(1).blocks[0]
    x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    query, key, value = block.mix(block.norm1(x)).split(8, dim=2)
    mask = torch.ones(5, 5).tril().bool()
    heads = []
    for at in (slice(0, 4), slice(4, 8)):
        score = query[..., at] @ key[..., at].transpose(1, 2) / 2.0
        heads.append(score.masked_fill(~mask, -torch.inf).softmax(dim=2) @ value[..., at])
    x2 = x + block.out(torch.cat(heads, dim=2))
    wanted = x2 + block.down(nn.functional.gelu(block.up(block.norm2(x2))))
    assert torch.allclose(block(x), wanted, atol=1e-6)


def test_optimisers_by_name():
    weights = nn.Parameter(torch.zeros(3))
    adam, plain = Inner(lr=0.2).make(weights), Inner("sgd", lr=0.3).make(weights)
    options = adam.param_groups[0]
    assert isinstance(adam, torch.optim.AdamW)
    assert (options["lr"], options["betas"], options["weight_decay"]) == (0.2, (0.9, 0.95), 0.01)
    assert options["fused"]
    assert isinstance(plain, torch.optim.SGD)
    assert (plain.param_groups[0]["lr"], plain.param_groups[0]["momentum"]) == (0.3, 0)
    assert [Inner(lr=1.0, warmup=1).rate(step) for step in (0, 1)] == [1.0, 1.0]


def test_a_replica_is_one_vector_and_judging_leaves_it_alone():
    replica = Replica(Quadratic(), 5)
    before = replica.flat.clone()
    batch = torch.from_numpy(np.random.default_rng(0).normal(size=(600, N))).float()
    other = torch.full((N,), 2.0)
    wanted = float(((batch - 2) ** 2).sum(dim=1).mean() / 2)
    assert replica.loss(other, batch) == pytest.approx(wanted, rel=1e-5)
    assert torch.equal(replica.flat, before)
    replica.learn(batch)
    replica.learn(batch)  # anew, not on top
    assert torch.allclose(replica.gradient, before - batch.mean(dim=0), atol=1e-6)
    replica.flat.fill_(1.0)
    assert next(replica.module.parameters()).tolist() == [1.0] * N
    two = Replica(Transformer(8, 1, 2, 4, 6), 0)
    parts = [one.reshape(-1) for one in two.module.parameters()]
    assert torch.equal(torch.cat(parts), two.flat)
    sizes = []
    two.module.forward = lambda part: sizes.append(len(part)) or torch.tensor(0.0)
    two.loss(two.flat, torch.zeros(600, 5))
    assert sizes == [256, 256, 88]
