"""The pool without processes, the kernel's counts without a network, the command without a run."""

import os
import pickle
import socket
import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cg_threads import Threads

from lib.compute_governance.codecs import Fp16, Fp32, Int4, Int8
from lib.compute_governance.lowcomm import pool as pools
from lib.compute_governance.lowcomm import wire
from lib.compute_governance.lowcomm.models import Inner
from lib.compute_governance.lowcomm.pool import Pool, Seat, WorkerError
from lib.compute_governance.lowcomm.strategies import DataParallel, DiLoCo
from lib.compute_governance.lowcomm.training import Settings
from lib.compute_governance.lowcomm.wire import WireError
from lib.compute_governance.study import __main__ as command
from lib.compute_governance.study import lab
from lib.compute_governance.study.lab import Lab, wire_audit
from lib.compute_governance.study.patterns import Gossip
from lib.stats import t_interval

# --- the parent's side ---------------------------------------------------------------------------


class Pipe:
    """One end: what it will receive, in order; an exception is raised."""

    def __init__(self, *content, waits=0):
        self.content, self.waits, self.sent, self.closed = list(content), waits, [], False
        self.polled: list[float] = []

    def poll(self, seconds):
        self.polled.append(seconds)
        self.waits -= 1
        return self.waits < 0 and bool(self.content)

    def recv(self):
        found = self.content.pop(0)
        if isinstance(found, BaseException):
            raise found
        return found

    def send_bytes(self, job):
        if self.content and isinstance(self.content[0], BrokenPipeError):
            raise self.content[0]
        self.sent.append(job)

    def close(self):
        self.closed = True


class Process:
    """A process that ends after so many attempts to end it."""

    def __init__(self, exitcode=None, lives=0):
        self.exitcode, self.lives, self.told = exitcode, lives, []

    def join(self, *seconds):
        self.told.append(("join", *seconds))

    def is_alive(self):
        self.lives -= 1
        return self.lives >= 0

    def terminate(self):
        self.told.append("terminate")

    def kill(self):
        self.told.append("kill")


@pytest.fixture
def made(monkeypatch):
    """Return what makes a pool of given pipes and processes, whose clock runs by itself."""
    clock = iter(np.arange(0.0, 1e6, 0.1))
    monkeypatch.setattr(pools.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(pools, "wait", lambda pipes, seconds: pipes)

    def make(pipes, processes=None):
        pool = object.__new__(Pool)
        pool.world, pool.timeout, pool._begun = len(pipes), 10.0, set()
        pool._pipes, pool._processes = pipes, processes or [Process() for _ in pipes]
        pool._folder = SimpleNamespace(cleanup=lambda: pool.__dict__.update(clean=True))
        return pool

    return make


DONE = ("done", 1)


def test_results_come_by_rank(made):
    pipes = [Pipe(("beat", None), ("done", "a")), Pipe(("done", "b"))]
    pool = made(pipes)
    assert pool.run(max, 1, 2) == ["a", "b"]
    assert [pickle.loads(one.sent[0]) for one in pipes] == [(max, (1, 2))] * 2
    assert pool._begun == {0, 1}


def test_the_first_cause_is_told(made):
    """A lost exchange is another worker's fault: who raised is waited for."""
    lost = ("lost", "trace of the lost")
    late = Pipe(("raised", "trace of the cause"), waits=1)
    pool = made([Pipe(), late])
    assert pool._cause(0, "lost", lost[1]) == "worker 1 raised:\ntrace of the cause"
    assert set(late.polled) == {0.02}
    quiet = made([Pipe(), Pipe(), Pipe(("beat", None), ("done", 1), ("raised", "x"))])
    assert quiet._cause(1, "lost", "here") == "worker 2 raised:\nx"
    assert quiet._pipes[1].polled == []
    alone = made([Pipe(), Pipe()])
    assert alone._cause(1, "lost", "here") == "worker 1 lost an exchange:\nhere"
    assert len(alone._pipes[0].polled) > 3
    assert made([Pipe(), Pipe()])._cause(1, "raised", "here") == "worker 1 raised:\nhere"
    dead = made([Pipe(), Pipe(EOFError())], [Process(), Process(-9)])
    assert "worker 1 (exit status -9)" in dead._cause(0, "lost", "here")
    assert dead._processes[1].told == [("join", 2.0)]


@pytest.mark.parametrize("kind", ["raised", "lost"])
def test_an_error_ends_the_pool(made, kind):
    pool = made([Pipe((kind, "trace")), Pipe(DONE)])
    with pytest.raises(WorkerError, match="trace"):
        pool.run(max, 1)
    assert pool.clean
    with pytest.raises(WorkerError, match="the pool is closed"):
        pool.run(max, 1)


def test_a_death_is_noticed_at_once(made):
    pool = made([Pipe(DONE), Pipe(EOFError())], [Process(), Process(-11)])
    dead = pool._processes[1]
    with pytest.raises(WorkerError, match=r"worker 1 \(exit status -11\); a negative status"):
        pool.run(max, 1)
    assert dead.told[0] == ("join", 2.0)
    assert pool.clean


def test_who_has_hung_up_before_the_job(made):
    broken = [Pipe(DONE), Pipe(BrokenPipeError())]
    pool = made(broken, [Process(lives=9), Process(3)])
    with pytest.raises(WorkerError, match=r"worker 1 \(exit status 3\)"):
        pool.run(max, 1)
    pool = made([Pipe(BrokenPipeError())], [Process(lives=9)])
    with pytest.raises(WorkerError, match="the workers have hung up"):
        pool.run(max, 1)
    assert pool.clean


@pytest.mark.parametrize(
    ("lives", "told"),
    [
        (0, [("join", 2.0)]),
        (1, [("join", 2.0), "terminate", ("join", 2.0)]),
        (2, [("join", 2.0), "terminate", ("join", 2.0), "kill", ("join",)]),
    ],
)
def test_workers_are_ended_with_growing_force(made, lives, told):
    # Asked twice: after the first wait, and after the last; the stubborn one is still there.
    process, pipe = Process(lives=lives), Pipe()
    pool = made([pipe], [process])
    with pool as same:
        assert same is pool
    assert process.told == told
    assert pipe.closed
    assert (pool._pipes, pool._processes, pool.clean) == ([], [], True)


@pytest.mark.parametrize(
    ("methods", "kind", "preload"),
    [(["spawn", "forkserver"], "forkserver", ["torch"]), (["spawn"], "spawn", None)],
)
def test_how_workers_are_started(monkeypatch, methods, kind, preload):
    """Forked from a server that knows torch where there is one, else anew."""
    made, ends = [], []

    class Context:
        def __init__(self, kind):
            self.kind, self.preload = kind, None

        def set_forkserver_preload(self, names):
            self.preload = names

        def Pipe(self):  # noqa: N802
            ends.append((Pipe(), Pipe()))
            return ends[-1]

        def Process(self, **options):  # noqa: N802
            made.append((self, options, []))
            return SimpleNamespace(start=lambda: made[-1][2].append("started"))

    monkeypatch.setattr(pools, "get_context", Context)
    monkeypatch.setattr(pools, "get_all_start_methods", lambda: methods)
    pool = Pool(2, 7.0)
    assert [(one.kind, one.preload) for one, *_ in made] == [(kind, preload)] * 2
    first = pool.meeting().with_name("meeting-1")
    for rank, (_, options, state) in enumerate(made):
        assert options["target"] is pools._serve
        assert options["args"] == (rank, 2, first, 7.0, ends[rank][1])
        assert options["daemon"]
        assert state == ["started"]
    assert [one.closed for _, one in ends] == [True, True]
    assert [one.closed for one, _ in ends] == [False, False]
    assert pool._pipes == [one for one, _ in ends]
    assert len(pool._processes) == 2
    assert (pool.meeting().name, pool.meeting().name) == ("meeting-3", "meeting-4")
    pool._folder.cleanup()


# --- the worker's side ---------------------------------------------------------------------------


class Parent(Pipe):
    def __init__(self, *content):
        super().__init__(*content)
        self.heard = []

    def send(self, message):
        self.heard.append(message)


@pytest.fixture
def server(monkeypatch):
    joined, over, threads = [], [], []
    monkeypatch.setattr(pools, "join_group", lambda *arguments: joined.append(arguments))
    monkeypatch.setattr(pools.dist, "destroy_process_group", lambda: over.append(1))
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    # Set first, for only then is what the worker writes taken back at the end.
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setattr(pools, "_loopback", lambda: "lo7")

    def serve(*content, timeout=5.0, rank=1):
        parent = Parent(*content)
        monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
        pools._serve(rank, 3, "file", timeout, parent)
        return parent.heard

    serve.joined, serve.over, serve.threads = joined, over, threads
    return serve


def place(seat, more):
    seat.beat()
    return seat.rank, seat.world, more


def lose(seat):
    raise WireError("gone")


def test_a_worker_does_what_it_is_told_until_the_parent_hangs_up(server):
    heard = server((place, (7,)), (place, (8,)), EOFError())
    # One sign of life when it has begun; one in the first job, and none within a second of it.
    assert heard == [("beat", None), ("beat", None), ("done", (1, 3, 7)), ("done", (1, 3, 8))]
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo7"
    assert (server.threads, server.over) == ([1], [1])
    server(EOFError(), timeout=9_999.0)
    # At least as long as starting may take.
    assert server.joined == [(1, 3, "file", 600.0), (1, 3, "file", 9_999.0)]


@pytest.mark.parametrize(("job", "kind", "word"), [(lose, "lost", "gone"), (max, "raised", "max")])
def test_a_worker_tells_its_error_and_ends(server, job, kind, word):
    *_, (found, trace) = server((job, ()), (place, (1,)))
    assert found == kind
    assert "Traceback" in trace
    assert word in trace or kind == "raised"
    assert server.over == [1]


def test_without_a_loopback_gloo_chooses(server, monkeypatch):
    monkeypatch.setattr(pools, "_loopback", lambda: None)
    server(EOFError())
    assert "GLOO_SOCKET_IFNAME" not in os.environ


def test_the_loopback_by_name(monkeypatch):
    for names, found in (
        ([(1, "eth0"), (2, "lo")], "lo"), ([(1, "lo0"), (2, "en0")], "lo0"), ([(1, "eth0")], None),
    ):  # fmt: skip
        monkeypatch.setattr(socket, "if_nameindex", lambda names=names: names)
        assert pools._loopback() == found


def test_workers_meet_through_a_file(monkeypatch):
    seen = []
    monkeypatch.setattr(pools.dist, "init_process_group", lambda *a, **o: seen.append((a, o)))
    pools.join_group(1, 3, "/x/y", 12.5)
    ((kind,), options) = seen[0]
    assert kind == "gloo"
    assert options["timeout"].total_seconds() == 12.5
    assert (options["init_method"], options["rank"], options["world_size"]) == ("file:///x/y", 1, 3)


def test_signs_of_life_are_a_second_apart(monkeypatch):
    times, told = iter([0.5, 1.0, 1.5, 2.0, 2.5]), []
    monkeypatch.setattr(pools.time, "monotonic", lambda: next(times))
    seat = Seat(0, 1, lambda: told.append(seat.last))
    for _ in range(5):
        seat.beat()
    assert told == [1.0, 2.0]


# --- the kernel's counts -------------------------------------------------------------------------


def info(length, acked=0, sent=0, again=0):
    content = bytearray(256)
    struct.pack_into("<Q", content, 120, acked)
    struct.pack_into("<QQ", content, 200, sent, again)
    return bytes(content[:length])


@pytest.mark.parametrize(
    ("answers", "total"),
    [
        ([], 0),
        ([info(256, 7, 1_000, 100)], 900),
        ([info(216, 7, 1_000, 100), info(256, 7, 50, 0)], 950),
        ([info(215, 7, 1_000, 100)], 7),  # an older Linux tells what was acknowledged
        ([info(128, 7), info(200, 5)], 12),
        ([info(127, 7)], 0),
        ([OSError(), info(256, 0, 30, 10)], 20),
    ],
)
def test_bytes_sent_by_all_sockets(monkeypatch, answers, total):
    def ask(answer):
        def getsockopt(level, option, size):
            assert (level, option, size) == (socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            if isinstance(answer, OSError):
                raise answer
            return answer

        return SimpleNamespace(getsockopt=getsockopt)

    monkeypatch.setattr(wire, "_tcp_sockets", lambda: iter([ask(one) for one in answers]))
    monkeypatch.setattr(wire.sys, "platform", "linux")
    assert wire.socket_bytes() == total
    monkeypatch.setattr(wire.sys, "platform", "darwin")
    assert wire.socket_bytes() is None


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the open files are in /proc")
def test_only_connected_tcp_sockets_are_asked(monkeypatch):
    listed = os.listdir

    def closed_meanwhile(folder):
        """One that is gone by the time it is looked at comes first."""
        return ["987654", *listed(folder)]

    monkeypatch.setattr(wire.os, "listdir", closed_meanwhile)

    def names():
        return sorted(one.getsockname()[1] for one in wire._tcp_sockets())

    before = names()
    local, remote = socket.socketpair()
    with socket.socket() as listening, local, remote, socket.socket(type=socket.SOCK_DGRAM) as udp:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        udp.bind(("127.0.0.1", 0))
        with socket.create_connection(listening.getsockname()) as mine:
            theirs, _ = listening.accept()
            with theirs:
                ports = [mine.getsockname()[1], theirs.getsockname()[1]]
                found = names()
                sent = wire.socket_bytes()
                mine.sendall(b"x" * 1_000)
                assert theirs.recv(1_000, socket.MSG_WAITALL) == b"x" * 1_000
                if sent is not None:
                    assert wire.socket_bytes() - sent == 1_000
    for port in ports:
        assert found.count(port) - before.count(port) >= 1
    assert names() == before


# --- the laboratory ------------------------------------------------------------------------------


def history(loss, wire_=30.0, claimed=20.0, sent=2_500.0, exchanges=4):
    return SimpleNamespace(
        loss=loss, wire=wire_, claimed=claimed, sent=sent, exchanges=exchanges, curve=[]
    )


@pytest.fixture
def trained(monkeypatch):
    """Return the calls of a training that only tells a loss made of its seed."""
    calls = []

    def train(model, data, strategy, *, steps, seed, settings, pool):
        calls.append((model, data, strategy, steps, seed, settings, pool))
        return history(seed + getattr(strategy, "outer_lr", 5.0))

    monkeypatch.setattr(lab, "train", train)
    return calls


def test_runs_are_made_once_and_one_is_followed(trained):
    followed = DiLoCo(5)
    room = Lab("pool", "model", "data", 40, Settings(batch=8), followed)
    assert room.losses(DiLoCo(5, 1.0), [1, 2, 1]).tolist() == [2.0, 3.0, 2.0]
    assert len(room.runs(followed, [1])) == 1
    assert [(one[3], one[4], one[5].judge_every) for one in trained] == [
        (40, 1, 0), (40, 2, 0), (40, 1, 2),
    ]  # fmt: skip
    assert trained[0][:2] == ("model", "data")
    assert trained[0][-1] == "pool"
    assert room.run(followed, 1) is room.run(DiLoCo(5), 1)


def test_every_outer_step_is_tried_with_every_recipe(trained):
    room = Lab("pool", "model", "data", 40, Settings())
    table = room.tune({"a": lambda lr, m: DiLoCo(5, lr, m), "b": lambda *_: DataParallel()}, 3)
    assert list(table.index) == ["a", "b"]
    assert list(table.columns) == [(1.0, 0.0), (0.7, 0.5), (0.7, 0.9)]
    assert table.loc["a"].tolist() == pytest.approx([4.0, 3.7, 3.7])
    assert table.loc["b"].tolist() == [8.0] * 3
    assert {one[4] for one in trained} == {3}


def test_a_line_of_the_table(trained, monkeypatch):
    room = Lab("pool", "model", "data", 40, Settings())
    reference = np.array([1.0, 2.5, 2.0])
    row = room.row(DiLoCo(5, 1.0), (1, 2, 3), reference)
    gap = t_interval(np.array([2.0, 3.0, 4.0]) - reference)
    assert row == pytest.approx(
        {
            "loss": 3.0, "gap": gap.value, "low": gap.low, "high": gap.high, "kB": 2.5,
            "exchanges": 4, "wire / claimed": 1.5,
        }
    )  # fmt: skip
    runs = [history(1.0, None), history(2.0, 40.0, exchanges=9)]
    monkeypatch.setattr(Lab, "runs", lambda *_: runs)
    mixed = room.row(None, (1, 2), np.array([0.0, 0.0]))
    assert (mixed["wire / claimed"], mixed["exchanges"]) == (2.0, 4)
    runs[:] = [history(1.0, None), history(2.0, None)]
    assert np.isnan(room.row(None, (1, 2), np.array([0.0, 0.0]))["wire / claimed"])
    runs[:] = [history(1.0, 3.0, 0.0), history(2.0, 3.0, 4.0)]
    assert np.isnan(room.row(None, (1, 2), np.array([0.0, 0.0]))["wire / claimed"])


def test_the_audit_by_hand(monkeypatch):
    """Silence between the first two counts; the exchanges between the last two."""
    slept, counts = [], iter([100, 130, 1_130])
    monkeypatch.setattr(lab.time, "sleep", slept.append)
    monkeypatch.setattr(lab, "socket_bytes", lambda: next(counts))
    pool = Threads(1, monkeypatch)
    (found,) = pool.run(lab._exchange, Fp16(), [(10,)], 2)
    assert (found["idle"], found["wire"], slept) == (30, 1_000, [0.2])
    assert [kind for kind, _ in pool.sent] == ["barrier", "barrier"]
    monkeypatch.setattr(lab, "socket_bytes", lambda: None)
    (found,) = pool.run(lab._exchange, Fp16(), [(10,)], 2)
    assert (found["idle"], found["wire"]) == (None, None)


def test_the_table_of_the_audit(monkeypatch):
    clock = iter([0, 10, 500] * 6)
    monkeypatch.setattr(lab.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(lab, "socket_bytes", lambda: next(clock))
    pool = Threads(3, monkeypatch)
    table = wire_audit(pool, {"half": Fp16(), "whole": Fp32()}, [(5, 2)], 3)
    assert table["bits"].tolist() == [16, 32]
    assert table["claimed"].tolist() == table["sent"].tolist() == [3 * 2 * 20, 3 * 2 * 40]
    assert table["ratio"].tolist() == (table["wire"] / table["claimed"]).tolist()
    with pytest.raises(ValueError, match="world is 1"):
        wire_audit(Threads(1, monkeypatch), {"half": Fp16()}, [(5, 2)])
    with pytest.raises(ValueError, match="rounds is 0"):
        wire_audit(Threads(2, monkeypatch), {"half": Fp16()}, [(5, 2)], 0)
    assert len(wire_audit(Threads(2, monkeypatch), {}, [(5, 2)], 1)) == 0


def test_vectors_of_the_audit_differ_by_rank(monkeypatch):
    pool = Threads(2, monkeypatch)
    seen = {}
    monkeypatch.setattr(lab.time, "sleep", lambda seconds: None)

    class Spy(Int8):
        def _encode(self, vector, shapes):
            seen.setdefault(pool.rank, vector.clone())
            return super()._encode(vector, shapes)

    pool.run(lab._exchange, Spy(), [(64,)], 1)
    assert len(seen[0]) == 64
    assert not torch.equal(seen[0], seen[1])


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def called(monkeypatch):
    calls, texts = [], []

    def train(*arguments):
        calls.append(arguments)
        return SimpleNamespace(loss=1.2344, tokens=77, sent=12.6)

    monkeypatch.setattr(command, "train", train)
    monkeypatch.setattr(command, "manual_pages", lambda context: ("pages", context))
    monkeypatch.setattr(command, "read_corpus", lambda file, context: (file, context))
    monkeypatch.setattr(command.data, "path", lambda name: texts.append(name) or f"file of {name}")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")

    def call(*words):
        calls.clear()
        assert command.main(list(words)) == 0
        return calls[0]

    return call


def test_the_command_without_words(called, capsys):
    model, corpus, recipe, world, steps, seed, settings = called()
    assert (model, corpus) == (command.MODELS["book"], ("pages", 32))
    assert recipe == DiLoCo(20, 1.0, 0.0, Fp32(), False)
    assert (world, steps, seed) == (None, 200, 0)
    assert settings == Settings(Inner(lr=2e-3, warmup=20), 48, device="cpu")
    told = capsys.readouterr().out
    assert told == "loss 1.234, 77 tokens, 13 bytes sent by a worker, 2 workers\n"


def test_every_word_of_the_command(called, monkeypatch, capsys):
    words = "--every 10 --outer-lr 0.7 --momentum 0.5 --codec int4 --error-feedback --seed 3"
    _, _, recipe, _, _, seed, _ = called(*words.split())
    assert recipe == DiLoCo(10, 0.7, 0.5, Int4(), True)
    assert seed == 3
    gossip = called(
        *["--strategy", "gossip", "--every", "10", "--outer-lr", "0.7", "--momentum", "0.5"]
    )[2]
    assert gossip == Gossip(10, 0.7, 0.5, codec=Fp32())
    assert called("--strategy", "gossip", "--codec", "fp16")[2].codec == Fp16()
    assert called("--strategy", "data-parallel")[2] == DataParallel()
    words = "--profile smoke --text some --steps 9 --batch 6 --lr 0.5 --device cuda"
    model, corpus, _, _, steps, _, settings = called(*words.split())
    assert (model, corpus) == (command.MODELS["smoke"], ("file of some", 16))
    assert (steps, settings) == (9, Settings(Inner(lr=0.5, warmup=20), 6, device="cuda"))
    capsys.readouterr()
    monkeypatch.setenv("RANK", "1")
    called()
    assert capsys.readouterr().out == ""


def test_the_command_refuses_in_words(called, monkeypatch, capsys):
    def refuse(*_):
        raise ValueError("steps is 5")

    for words in (["--codec", "int2"], ["--strategy", "x"], ["--profile", "x"], ["--device", "x"]):
        with pytest.raises(SystemExit):
            command.main(words)
    monkeypatch.setattr(command, "train", refuse)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command.main([])
    assert ended.value.code == 2
    assert "error: steps is 5" in capsys.readouterr().err
