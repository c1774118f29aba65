"""Training by real processes: what must be equal is equal, bytes are counted, deaths are told."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from cg_toys import Cloud, Quadratic, work

from lib.compute_governance.codecs import Fp16, Fp32, Int4, Int8, TopK, size_of
from lib.compute_governance.lowcomm import (
    CheckpointError,
    DataParallel,
    DiLoCo,
    Inner,
    Pool,
    Settings,
    Transformer,
    WorkerError,
    train,
)
from lib.compute_governance.lowcomm import pool as pool_module
from lib.compute_governance.lowcomm.models import Replica
from lib.compute_governance.lowcomm.pool import Seat
from lib.compute_governance.lowcomm.wire import socket_bytes
from lib.compute_governance.study.lab import (
    Lab,
    silent,
    slopes,
    token_share,
    wire_audit,
)
from lib.compute_governance.study.patterns import (
    Disguised,
    Gossip,
    Hierarchical,
    LowRank,
    WrongSign,
    pairs,
)
from lib.compute_governance.study.text import Shards, manual_pages
from lib.core.paths import ROOT

MODEL = Transformer(width=16, layers=1, context=16)
LINUX = pytest.mark.skipif(socket_bytes() is None, reason="TCP_INFO is read on Linux only")
SGD = Inner("sgd", lr=0.5, warmup=0)


@pytest.fixture(scope="module")
def pool():
    with Pool(4, timeout=900) as found:
        yield found


@pytest.fixture(scope="module")
def corpus():
    return manual_pages(16)


def run(pool, corpus, strategy, *, steps=20, seed=1, **settings):
    return train(
        MODEL, corpus, strategy, steps=steps, seed=seed, settings=Settings(**settings), pool=pool
    )


# --- what must be equal --------------------------------------------------------------------------


def test_diloco_with_one_step_is_data_parallel_sgd(pool, corpus):
    """Outer rate 1 and no momentum on a plain SGD step is the averaged gradient's step."""
    first = run(pool, corpus, DataParallel(), inner=SGD)
    second = run(pool, corpus, DiLoCo(1, 1.0, 0.0), inner=SGD)
    other = run(pool, corpus, DiLoCo(1, 0.5, 0.0), inner=SGD)
    assert np.abs(first.weights - second.weights).max() < 1e-6
    assert np.abs(first.weights - other.weights).max() > 1e-3


def test_data_parallel_is_one_process_with_the_whole_batch(pool, corpus):
    several = run(pool, corpus, DataParallel(), inner=SGD, dtype="float64")
    replica = Replica(MODEL, 1, dtype=torch.float64)
    optimiser = SGD.make(replica.weights)
    for step in range(20):
        replica.learn(torch.from_numpy(corpus.draw(1, step, 32)))
        optimiser.step()
    assert np.abs(several.weights - replica.flat.numpy()).max() < 1e-6
    assert several.tokens == 20 * 32 * 16


def test_a_hierarchy_that_averages_every_step_is_plain_averaging(pool, corpus):
    whole = run(pool, corpus, DiLoCo(1, 1.0, 0.0))
    regional = run(pool, corpus, Hierarchical(2, 1, DiLoCo(1, 1.0, 0.0)))
    assert np.abs(whole.weights - regional.weights).max() < 1e-4
    assert regional.apart == 0


def test_the_order_of_ranks_does_not_matter(pool, corpus):
    for strategy in (DataParallel(), DiLoCo(10, 0.7, 0.5)):
        one = run(pool, corpus, strategy, dtype="float64")
        other = run(pool, corpus, strategy, dtype="float64", shares=(2, 0, 3, 1))
        assert np.abs(one.weights - other.weights).max() < 1e-5


def test_a_seed_gives_the_same_bits_and_another_other_ones(pool, corpus):
    strategy = DiLoCo(10, 0.7, 0.9, TopK(0.05), error_feedback=True)
    one, same = run(pool, corpus, strategy), run(pool, corpus, strategy)
    assert np.array_equal(one.weights, same.weights)
    assert one.loss == same.loss
    assert not np.array_equal(one.weights, run(pool, corpus, strategy, seed=2).weights)


def test_judging_does_not_change_the_training(pool, corpus):
    quiet = run(pool, corpus, DiLoCo(10, 0.7, 0.5))
    judged = run(pool, corpus, DiLoCo(10, 0.7, 0.5), judge_every=5)
    assert [step for step, _ in judged.curve] == [5, 10, 15, 20]
    assert np.array_equal(quiet.weights, judged.weights)
    if judged.wire is not None:
        assert judged.wire == pytest.approx(judged.claimed, rel=0.05)


def test_the_pseudo_gradient_points_downhill(pool):
    """One outer step on a quadratic lowers the loss; with the sign flipped it rises."""
    settings = Settings(Inner("sgd", lr=0.1, warmup=0))

    def loss(strategy):
        history = train(Quadratic(), Cloud(), strategy, 4, 5, 3, settings, pool)
        return history.loss

    start = Replica(Quadratic(), 3)
    before = start.loss(start.flat, torch.from_numpy(Cloud().validation()).float())
    assert loss(DiLoCo(5, 0.7, 0.0)) < before < loss(WrongSign(5, 0.7, 0.0))


def test_streaming_sends_as_much_in_smaller_pieces(pool, corpus):
    whole = run(pool, corpus, DiLoCo(10, 1.0, 0.0))
    parts = run(pool, corpus, DiLoCo(10, 1.0, 0.0, fragments=5))
    assert parts.sent == whole.sent
    assert parts.exchanges == 5 * whole.exchanges
    assert parts.largest == pytest.approx(whole.largest / 5, rel=0.01)
    assert parts.apart == 0
    assert abs(parts.loss - whole.loss) < 0.1


def test_a_fragment_is_sent_as_its_pieces_of_tensors():
    replica = Replica(MODEL, 0)
    rounds = DiLoCo(10, fragments=2).start(replica, 0, 1, 0)
    seen = []

    class Spy(type(rounds.links["all"])):
        def gather(self, codec, vector, shapes):
            seen.append([(size_of([one])) for one in shapes])
            return super().gather(codec, vector, shapes)

    rounds.links["all"] = Spy((0,), 0)
    with torch.no_grad():
        for part in rounds.parts:
            rounds.exchange(part)
    sizes = [size_of([one]) for one in replica.shapes]
    whole, half = np.cumsum(sizes).tolist(), sum(sizes) // 2
    assert np.cumsum(seen[0]).tolist() == [*(end for end in whole if end < half), half]
    assert [half + end for end in np.cumsum(seen[1]).tolist()] == [e for e in whole if e > half]


def test_a_round_by_hand(pool):
    """Two rounds on a quadratic, the outer step with Nesterov momentum worked out in numpy."""
    lr, h, outer, momentum = 0.1, 3, 0.7, 0.5
    settings = Settings(Inner("sgd", lr=lr, warmup=0), batch=8, dtype="float64")
    found = train(Quadratic(), Cloud(), DiLoCo(h, outer, momentum), 4, 6, 5, settings, pool)
    start = Replica(Quadratic(), 5, dtype=torch.float64).flat.numpy().copy()
    velocity = np.zeros_like(start)
    for turn in range(2):
        changes = []
        for rank in range(4):
            mine = start.copy()
            for step in range(turn * h, turn * h + h):
                rows = Cloud().draw(5, step, 8)[2 * rank : 2 * rank + 2]
                mine -= lr * (mine - rows).mean(axis=0)
            changes.append(start - mine)
        mean = np.mean(changes, axis=0)
        velocity = momentum * velocity + mean
        start = start - outer * (mean + momentum * velocity)
    assert found.weights == pytest.approx(start, abs=1e-5)
    rows = Cloud().validation()
    assert found.loss == pytest.approx(((rows - start) ** 2).sum(axis=1).mean() / 2, abs=1e-4)


def test_rates_warm_up():
    inner = Inner("adamw", lr=0.4, warmup=4)
    assert [inner.rate(step) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert Inner(lr=0.4, warmup=0).rate(0) == 0.4


def test_pairs_are_disjoint_and_leave_one_alone():
    for turn in range(20):
        found = pairs(5, 0, turn)
        assert len(found) == 4
        assert all(found[found[one]] == one != found[one] for one in found)


# --- bytes ---------------------------------------------------------------------------------------


@LINUX
@pytest.mark.parametrize("codec", [Fp32(), Fp16(), Int8(), Int4(), TopK(0.2), LowRank(2)], ids=str)
def test_the_kernel_counts_what_is_claimed(pool, codec):
    history = train(
        Transformer(width=128, layers=1), manual_pages(), DiLoCo(2, 1.0, 0.0, codec), 4, 6,
        settings=Settings(batch=4), pool=pool,
    )  # fmt: skip
    assert history.claimed == history.sent
    assert history.wire == pytest.approx(history.claimed, rel=0.05)


@LINUX
def test_the_kernel_catches_a_dense_reconstruction(pool, corpus):
    history = run(pool, corpus, DiLoCo(10, 1.0, 0.0, Disguised(Int4())))
    assert history.wire > 5 * history.claimed


@LINUX
def test_all_strategies_are_on_the_wire_as_claimed(pool):
    model, corpus = Transformer(width=32, layers=1), manual_pages()
    regional = Hierarchical(2, 5, DiLoCo(10, 1.0, 0.0))
    for strategy in (DataParallel(), Gossip(10), regional):
        history = train(model, corpus, strategy, 4, 20, settings=Settings(batch=4), pool=pool)
        assert history.wire == pytest.approx(history.claimed, rel=0.05), strategy
        assert (history.regional > 0) == (strategy is regional)
    n = model.n_parameters
    everyone = train(model, corpus, DataParallel(), 4, 2, settings=Settings(batch=4), pool=pool)
    assert everyone.claimed == 2 * 2 * (3 / 4) * 4 * n


@LINUX
def test_the_audit_tells_honest_codecs_from_a_disguise(pool):
    table = wire_audit(pool, {"int8": Int8(), "disguise": Disguised(Int8())}, [(128, 512)], 2)
    assert table.loc["int8", "ratio"] == pytest.approx(1, abs=0.05)
    assert table.loc["int8", "claimed"] == 2 * 3 * (128 * 512 + 4)
    assert table.loc["disguise", "ratio"] > 3.5
    assert (table["idle"] == 0).all()
    with pytest.raises(ValueError, match="rounds is 0"):
        wire_audit(pool, {"int8": Int8()}, [(8,)], 0)


# --- the laboratory ------------------------------------------------------------------------------


def test_a_lab_remembers_runs_and_tunes_on_one_seed(pool, corpus):
    lab = Lab(pool, MODEL, corpus, 10, Settings(batch=8))
    table = lab.tune({"H = 5": lambda lr, m: DiLoCo(5, lr, m)}, 0, [(1.0, 0.0), (0.7, 0.9)])
    best = table.loc["H = 5"].idxmin()
    assert table.loc["H = 5"].min() == lab.run(DiLoCo(5, *best), 0).loss
    assert lab.run(DiLoCo(5), 0) is lab.run(DiLoCo(5), 0)
    row = lab.row(DiLoCo(5), (1, 2), lab.losses(DiLoCo(5, 1.0, 0.0), (1, 2)))
    assert row["low"] <= row["gap"] <= row["high"]
    assert lab.row(DiLoCo(5), (1, 2), lab.losses(DiLoCo(5), (1, 2)))["gap"] == 0


def test_shares_slopes_and_scales_by_hand():
    curve = [(10, 4.0), (20, 3.0), (30, 3.5), (40, 2.0)]
    assert token_share(curve, 2.0) == 1
    assert token_share(curve, 1.0) == 1
    assert token_share(curve, 3.0) in (0.5, 0.75)
    with pytest.raises(ValueError, match="above the first judgement"):
        token_share(curve, 4.5)
    table = pd.DataFrame({0: [1.0, 1.5, 2.0], 1: [3.0, 3.0, 3.0]}, index=[1, 10, 100])
    assert np.allclose(slopes(table), [0.5, 0.0])


def test_the_silent_baseline_talks_once(pool, corpus):
    quiet = run(pool, corpus, silent(20))
    assert quiet.exchanges == 1
    assert quiet.sent == 3 * 4 * MODEL.n_parameters
    assert np.array_equal(quiet.weights, run(pool, corpus, DiLoCo(20, 1.0, 0.0)).weights)
    # Averaged at the end: that is the mean of what each of them would have learned alone.
    shards = Shards(corpus, 4)
    assert run(pool, shards, silent(20)).loss > 0


# --- what is refused -----------------------------------------------------------------------------


def test_bad_input_is_refused_before_anything_starts(corpus):
    def attempt(match, strategy=None, world=2, steps=20, seed=0, **settings):
        with pytest.raises(ValueError, match=match):
            train(MODEL, corpus, strategy or DiLoCo(10), world, steps, seed, Settings(**settings))

    attempt("steps is 25, expected a multiple of 10", steps=25)
    attempt("steps is 5, expected a multiple of 10", steps=5)
    attempt("steps is 0", steps=0)
    attempt(r"batch is 2\.5", batch=2.5)
    attempt("seed is -1", seed=-1)
    attempt("world is missing", world=None)
    attempt("world is 0", world=0)
    attempt("3 workers do not divide a batch of 32", world=3)
    attempt("shares is", shares=(0, 0))
    attempt("checkpoint_every is 7", checkpoint_every=7)
    attempt("checkpoint is missing", checkpoint_every=10)
    attempt("dtype is 'int8'", dtype="int8")
    attempt("device is 'tpu'", device="tpu")
    attempt("not two or more regions of 2", strategy=Hierarchical(2, 5, DiLoCo(10)))
    attempt("start GPU workers with torchrun", device="cuda")
    for kind, match in (
        (lambda: DiLoCo(0), "every is 0"),
        (lambda: DiLoCo(10, outer_lr=-1), "outer_lr is -1"),
        (lambda: DiLoCo(10, momentum=1), "momentum is 1"),
        (lambda: DiLoCo(10, fragments=3), "3 fragments do not divide"),
        (
            lambda: DiLoCo(10, fragments=2, codec=LowRank()),
            "fragments is 2, expected 1",
        ),
        (lambda: Hierarchical(2, 3, DiLoCo(10)), "a divisor of 10"),
        (lambda: Gossip(10, pull=2), "pull is 2.0, expected a share"),
        (lambda: Inner("adam"), "kind is 'adam'.*did you mean 'adamw'"),
        (lambda: Inner(lr=float("nan")), "lr is nan"),
        (lambda: Transformer(width=10, heads=3), "3 heads do not divide"),
        (lambda: Pool(0), "world is 0"),
    ):
        with pytest.raises(ValueError, match=match):
            kind()


def test_what_cannot_reach_a_worker_is_refused(pool):
    with pytest.raises(ValueError, match="cannot be sent to a worker"):
        pool.run(lambda seat: seat.rank)


# --- deaths and restarts --------------------------------------------------------------------------


def test_two_workers_gossip_and_then_one_is_killed(corpus):
    """Plain gossip of two is plain averaging; a strict run ends with the name of the dead."""
    with Pool(2, timeout=900) as two:
        averaged = run(two, corpus, DiLoCo(5, 1.0, 0.0))
        gossip = run(two, corpus, Gossip(5))
        assert np.abs(averaged.weights - gossip.weights).max() < 1e-5
        assert gossip.apart < 1e-6
        assert gossip.sent == 2 * averaged.sent  # the change and the outer weights
        with pytest.raises(WorkerError, match=r"worker 1 \(exit status -9\)"):
            run(two, corpus, DiLoCo(10), kill=(1, 15))
        with pytest.raises(WorkerError, match="the pool is closed"):
            run(two, corpus, DiLoCo(10))


def test_an_error_in_a_worker_comes_with_its_traceback(corpus):
    with Pool(2, timeout=900) as two, pytest.raises(WorkerError, match="are not finite; the train"):
        run(two, corpus, DiLoCo(10), inner=Inner("sgd", lr=1e30, warmup=0))


class Script:
    """A pool without processes: who says what at which second, on a clock of its own."""

    def __init__(self, monkeypatch, timeout, events, begun=(0, 1)):
        self.now, self.events = 0.0, sorted(events)
        self.pool = object.__new__(Pool)
        self.pool.world, self.pool.timeout, self.pool._begun = 2, timeout, set(begun)
        self.pool._pipes = [Pipe(self, rank) for rank in range(2)]
        monkeypatch.setattr(pool_module.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pool_module, "wait", self.wait)

    def wait(self, pipes, seconds):
        if not self.events or self.events[0][0] > self.now + seconds:
            self.now += seconds
            return []
        self.now = self.events[0][0]
        return [pipe for pipe in pipes if pipe.rank == self.events[0][1]]


class Pipe:
    def __init__(self, script, rank):
        self.script, self.rank = script, rank

    def recv(self):
        return self.script.events.pop(0)[2]


BEAT = ("beat", None)


def test_a_long_job_is_no_silence(monkeypatch):
    """The time-out is on silence, not on a whole job: 30 s of work with a time-out of 10."""
    beats = [(t, rank, BEAT) for t in (8, 16, 24) for rank in (0, 1)]
    done = [(30, rank, ("done", rank + 5)) for rank in (0, 1)]
    assert Script(monkeypatch, 10, beats + done).pool._collect() == [5, 6]
    with pytest.raises(WorkerError, match=r"workers \[0, 1\] gave no sign of life for 10 s"):
        Script(monkeypatch, 10, done).pool._collect()


def test_who_is_silent_is_named(monkeypatch):
    beats = [(t, 0, BEAT) for t in (8, 9, 17, 25)]
    script = Script(monkeypatch, 10, beats)
    with pytest.raises(WorkerError, match=r"workers \[1\] gave no sign of life for 10 s"):
        script.pool._collect()
    assert script.now == 10


def test_a_worker_may_take_its_time_to_start(monkeypatch):
    done = [(90, 0, BEAT), (95, 1, BEAT), (99, 0, ("done", 1)), (100, 1, ("done", 2))]
    script = Script(monkeypatch, 10, done, begun=())
    assert script.pool._collect() == [1, 2]
    assert script.pool._begun == {0, 1}


def test_workers_beat_while_they_work(pool):
    assert pool.run(work, 1.5, True) == [0, 1, 2, 3]


def test_beats_are_not_too_many():
    told = []
    seat = Seat(0, 1, lambda: told.append(1))
    for _ in range(1_000):
        seat.beat()
    assert len(told) == 1
    Seat(0, 1).beat()


@pytest.mark.parametrize(
    "strategy",
    [
        DataParallel(),
        DiLoCo(10, 0.7, 0.9, TopK(0.05), error_feedback=True),
        DiLoCo(10, 1.0, 0.5, fragments=2),
        Gossip(10, 0.7, 0.5),
        Hierarchical(2, 5, DiLoCo(10, 0.7, 0.5)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_restart_ends_in_the_same_bits(pool, corpus, tmp_path, strategy):
    straight = run(pool, corpus, strategy)
    folder = {"checkpoint": tmp_path, "checkpoint_every": 10}
    run(pool, corpus, strategy, stop_after=10, **folder)
    again = run(pool, corpus, strategy, resume=True, **folder)
    assert np.array_equal(straight.weights, again.weights)
    assert again.loss == straight.loss
    assert again.tokens == straight.tokens


def test_bad_checkpoints_are_refused(pool, corpus, tmp_path):
    folder = {"checkpoint": tmp_path, "checkpoint_every": 10}
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        run(pool, corpus, DiLoCo(10), resume=True, **folder)
    straight = run(pool, corpus, DiLoCo(10), stop_after=10, **folder)
    with pytest.raises(CheckpointError, match="of another run"):
        run(pool, corpus, DiLoCo(10), seed=5, resume=True, **folder)
    other = replace(corpus, train=corpus.train[::-1].copy())
    with pytest.raises(CheckpointError, match="of another run: other model, data"):
        run(pool, other, DiLoCo(10), resume=True, **folder)
    with pytest.raises(CheckpointError, match="of another run"):
        run(pool, corpus, DiLoCo(10), dtype="float64", resume=True, **folder)
    with pytest.raises(CheckpointError, match="of another run"):
        run(pool, corpus, DiLoCo(10), shares=(1, 0, 2, 3), resume=True, **folder)
    same = replace(corpus, train=corpus.train.copy())
    assert run(pool, same, DiLoCo(10), resume=True, checkpoint=tmp_path).tokens == 20 * 32 * 16
    forgetful = run(pool, corpus, DiLoCo(10), resume=True, forget=True, checkpoint=tmp_path)
    kept = run(pool, corpus, DiLoCo(10), resume=True, checkpoint=tmp_path)
    assert not np.array_equal(forgetful.weights, kept.weights)
    assert straight.curve[0][0] == 10
    record = tmp_path / "step-00000010" / "complete.json"
    written = record.read_text()
    for broken in ("", written[:-9], "{}", "[]"):
        record.write_text(broken)
        with pytest.raises(CheckpointError, match=r"complete.json: truncated or altered"):
            run(pool, corpus, DiLoCo(10), resume=True, **folder)
    record.write_text(written)
    file = tmp_path / "step-00000010" / "worker-3.pt"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"worker-3.pt: missing, truncated or altered"):
        run(pool, corpus, DiLoCo(10), resume=True, **folder)


def test_torchrun_runs_the_same_train():
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    command += ["-m", "lib.compute_governance.study", "--profile", "smoke", "--steps", "20"]
    command += ["--every", "10", "--codec", "int4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "15360 tokens, 5160 bytes sent by a worker, 2 workers" in done.stdout
