"""From request to slate: one process, two processes, and what happens when one of them fails."""

import io
import os
import signal
import threading
import time
from multiprocessing import Pipe
from pathlib import Path
from pickle import UnpicklingError

import faiss
import numpy as np
import pytest
import torch
from ur_worlds import SHAPE, made

from lib.unified_ranking import serving
from lib.unified_ranking.actions import with_mask
from lib.unified_ranking.model import History, KVCache, WrongWeightsError
from lib.unified_ranking.pool import KVPool, PoolError, StaleSlotError
from lib.unified_ranking.serving import (
    Candidates,
    Request,
    Retriever,
    Stack,
    StackError,
    rank,
    recommend,
)

CONTENT = torch.randn(40, 5, generator=torch.Generator().manual_seed(8))


def sealed(seed=0):
    model = made(seed)
    model.seal()
    return model


def asked(n=5, *, seed=0, **changed):
    rng = np.random.default_rng([seed, n])
    parts = {
        "items": rng.integers(40, size=n),
        "actions": rng.integers(2, size=(n, 3)),
        "times": np.sort(rng.random(n)) * 100,
        "when": 200.0,
        "k": 8,
        "surfaces": rng.integers(2, size=n),
        "where": 1,
    }
    return Request(**{**parts, **changed})


def same(one, other, at=1e-6):
    return (one.items == other.items).all() and abs(one.scores - other.scores).max() < at


# ── one process ─────────────────────────────────────────────────────────────────────────────────
def test_candidates_are_the_nearest_items_and_their_vectors():
    retriever = Retriever(sealed(), CONTENT)
    request = asked()
    query, _ = retriever.encode(request)
    found, cache = retriever.retrieve(request)
    scores = (retriever.vectors @ query[0]).numpy()
    assert found.items.tolist() == np.argsort(-scores)[:8].tolist()
    assert np.array_equal(found.vectors, retriever.vectors.numpy()[found.items])
    assert cache.lengths.tolist() == [6]
    assert (found.when, found.where) == (200.0, 1)


def test_what_is_left_out_is_not_found_and_fewer_may_be():
    retriever = Retriever(sealed(), CONTENT)
    best = retriever.retrieve(asked())[0].items
    rest, _ = retriever.retrieve(asked(exclude=best[:3]))
    assert rest.items[:5].tolist() == best[3:].tolist()
    few, _ = retriever.retrieve(asked(exclude=np.arange(38)))
    assert sorted(few.items.tolist()) == [38, 39]
    assert np.isfinite(few.vectors).all()
    with pytest.raises(ValueError, match="leaves none of 40"):
        retriever.retrieve(asked(exclude=np.arange(40)))


def test_the_slate_is_ordered_by_what_its_actions_are_worth():
    model = sealed()
    retriever = Retriever(model, CONTENT)
    found, cache = retriever.retrieve(asked())
    plain = rank(model, cache, found)
    assert sorted(plain.items.tolist()) == sorted(found.items.tolist())
    assert (np.diff(plain.scores.sum(1)) <= 0).all()
    worth = [1.0, 0.0, -2.0]
    other = rank(model, cache, found, worth)
    assert (np.diff(other.scores @ worth) <= 0).all()
    assert other.items.tolist() != plain.items.tolist()
    by_item = dict(zip(plain.items.tolist(), plain.scores.tolist(), strict=True))
    assert [by_item[item] for item in other.items.tolist()] == other.scores.tolist()
    assert rank(model, cache, found, [0, 0, 0]).items.tolist() == found.items.tolist()
    assert ((plain.scores > 0) & (plain.scores < 1)).all()


def test_scores_are_those_of_the_model():
    model = sealed()
    retriever = Retriever(model, CONTENT)
    found, cache = retriever.retrieve(asked())
    logits = model.rank(
        cache,
        torch.from_numpy(found.vectors)[None],
        torch.tensor([200.0]).double(),
        torch.tensor([1]),
    )
    slate = rank(model, cache, found)
    order = [found.items.tolist().index(item) for item in slate.items]
    assert np.allclose(slate.scores, torch.sigmoid(logits[0]).numpy()[order], atol=1e-6)


def test_an_index_of_ones_own_is_filled_and_asked():
    index = faiss.IndexHNSWFlat(SHAPE.d_item, 16, faiss.METRIC_INNER_PRODUCT)
    model = sealed()
    found, _ = Retriever(model, CONTENT, index).retrieve(asked(k=3))
    assert index.ntotal == 40
    assert found.items.tolist() == Retriever(model, CONTENT).retrieve(asked(k=3))[0].items.tolist()
    with pytest.raises(ValueError, match="index holds 40 vectors"):
        Retriever(model, CONTENT, index)


def test_a_cache_from_a_pool_goes_on_with_later_events():
    model = sealed()
    retriever = Retriever(model, CONTENT)
    whole = asked(7)
    first = asked(
        items=whole.items[:5], actions=whole.actions[:5], times=whole.times[:5],
        surfaces=whole.surfaces[:5],
    )  # fmt: skip
    with KVPool.create(SHAPE, 1) as pool:
        ticket = pool.write(retriever.encode(first)[1], 1)
        kept = pool.read(ticket, weights=model.sealed)
    later = History(
        retriever.vectors[torch.from_numpy(whole.items[5:])][None],
        with_mask(torch.tensor(whole.actions[None, 5:]).float(), torch.zeros(1, 2) > 0),
        torch.from_numpy(whole.times[None, 5:]),
        torch.tensor([2]),
        torch.from_numpy(whole.surfaces[None, 5:]),
    )
    _, longer = model.append(kept, later)
    found, cache = retriever.retrieve(whole)
    assert longer.weights == model.sealed
    assert same(rank(model, longer, found), rank(model, cache, found))


def test_a_model_in_double_precision_serves_the_same():
    double = made().double()
    double.seal()
    found = recommend(Retriever(double, CONTENT.double()), asked())
    assert same(found, recommend(Retriever(sealed(), CONTENT), asked()), 1e-5)


def test_cold_users_are_served_and_alike():
    retriever = Retriever(sealed(), CONTENT)
    none = {"items": [], "actions": [], "times": [], "surfaces": None}
    one = recommend(retriever, asked(0, **none))
    other = recommend(retriever, asked(0, **none, when=9e9))
    assert same(one, other)
    assert len(one.items) == 8


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"items": [1, 2, 3, 4, -1]}, r"items\[4\] is -1"),
        ({"items": [1, 2]}, "items 2, actions 5"),
        ({"actions": np.full((5, 3), 0.5)}, "actions holds 0.5"),
        ({"actions": np.zeros(5)}, "actions has shape"),
        ({"times": [5, 4, 3, 2, 1]}, r"times\[1\] is 4"),
        ({"times": [1, 2, 3, 4, np.nan]}, r"times\[4\] is nan"),
        ({"when": 1.0}, "when is 1.0"),
        ({"k": 0}, "k is 0"),
        ({"where": -1}, "where is -1"),
        ({"surfaces": [0] * 4}, "surfaces 4"),
        ({"exclude": [0.5]}, "0.5"),
    ],
)
def test_an_odd_request_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        asked(**change)


def test_a_request_the_model_does_not_know_is_refused():
    retriever = Retriever(sealed(), CONTENT)
    for change, says in (
        ({"items": [0, 1, 2, 3, 40]}, r"items\[4\] is 40"),
        ({"actions": np.zeros((5, 2))}, "actions of 3 numbers"),
        ({"surfaces": [2] * 5}, "surfaces hold 2"),
        ({"where": 2}, "surfaces hold 2"),
    ):
        with pytest.raises(ValueError, match=says):
            recommend(retriever, asked(**change))
    with pytest.raises(ValueError, match="10 events"):
        recommend(retriever, asked(10))
    with pytest.raises(ValueError, match="expected a Request"):
        retriever.encode("request")
    with pytest.raises(ValueError, match="expected a Retriever"):
        recommend(CONTENT, asked())


def test_only_sealed_models_serve():
    model = made()
    with pytest.raises(ValueError, match="model is a model in training"):
        Retriever(model, CONTENT)
    found, cache = Retriever(sealed(), CONTENT).retrieve(asked())
    with pytest.raises(ValueError, match="expected a sealed"):
        rank(model, cache, found)
    with pytest.raises(WrongWeightsError):
        rank(sealed(1), cache, found)
    with pytest.raises(ValueError, match="utility has shape"):
        rank(sealed(), cache, found, [1.0])
    with pytest.raises(ValueError, match="expected Candidates"):
        rank(sealed(), cache, found.items)
    with pytest.raises(ValueError, match="content is empty"):
        Retriever(sealed(), CONTENT[:0])
    with pytest.raises(ValueError, match="content has shape"):
        Retriever(sealed(), CONTENT[:, :4])


def test_what_is_not_said_is_the_first_surface_and_nothing_left_out():
    plain = Request([1, 2], np.zeros((2, 3)), [0, 1], when=2)
    assert plain.surfaces.tolist() == [0, 0]
    assert (plain.where, plain.k, len(plain.exclude)) == (0, 50, 0)


# ── what both processes run, in threads of this one ─────────────────────────────────────────────
def conversation(requests, *, slots, ranker=0, utility=(1.0, 1.0, 1.0), stop=True):
    """Run both loops on requests, one by one, and return what comes out."""
    first_in, front = Pipe(duplex=False)
    second_in, first_out = Pipe(duplex=False)
    back, second_out = Pipe(duplex=False)
    pool = KVPool.create(SHAPE, slots, write=False) if slots else None
    name = pool.name if pool else None
    table = CONTENT.numpy()
    loops = [
        threading.Thread(
            target=serving._retrieval,
            args=(serving._packed(sealed()), table, name, first_in, first_out),
        ),
        threading.Thread(
            target=serving._ranking,
            args=(
                serving._packed(sealed(ranker)), table, name, np.array(utility), second_in,
                second_out,
            ),
        ),
    ]  # fmt: skip
    for loop in loops:
        loop.start()
    assert back.recv() is None  # ready
    found = []
    for number, request in enumerate(requests):
        front.send((number, request))
        found.append(back.recv())
    front.send(None)
    loops[0].join(20)
    first_out.close()
    loops[1].join(20)
    assert not any(loop.is_alive() for loop in loops)
    if pool:
        pool.close()
    return found


def test_the_loops_serve_what_one_call_serves():
    retriever = Retriever(sealed(), CONTENT)
    requests = [asked(n, seed=n) for n in (3, 0, 9)]
    found = conversation(requests, slots=1, utility=(0.0, 1.0, -3.0))
    for number, (request, answer) in enumerate(zip(requests, found, strict=True)):
        assert answer[0] == number
        assert answer[2] == ""
        assert same(answer[1], recommend(retriever, request, [0.0, 1.0, -3.0]))


def test_the_loops_refuse_one_request_and_go_on():
    found = conversation([asked(10), asked(2)], slots=2)
    assert found[0][:2] == (0, "ValueError")
    assert "10 events" in found[0][2]
    assert len(found[1][1].items) == 8


def test_a_ranker_with_other_weights_is_not_served_from_the_pool():
    ((_, kind, words),) = conversation([asked(3)], slots=2, ranker=1)
    assert kind == "WrongWeightsError"
    assert sealed(1).sealed[:12] in words


def test_separate_models_share_nothing():
    ((_, slate, _),) = conversation([asked(4)], slots=0, ranker=1)
    first, second = Retriever(sealed(), CONTENT), Retriever(sealed(1), CONTENT)
    found, _ = first.retrieve(asked(4))
    own = Candidates(found.items, second.vectors.numpy()[found.items], found.when, found.where)
    assert same(slate, rank(sealed(1), second.encode(asked(4))[1], own))


def test_each_process_has_one_thread(monkeypatch):
    asked_for = []
    monkeypatch.setattr(torch, "set_num_threads", asked_for.append)
    conversation([], slots=1)
    assert asked_for == [1, 1]


def test_a_model_that_comes_over_is_the_one_that_was_sent():
    double = made().double()
    double.seal()
    for model in (sealed(), double):
        again = serving._unpacked(serving._packed(model))
        assert again.sealed == model.sealed
        assert again.config == model.config
    packed = torch.load(io.BytesIO(serving._packed(sealed())), weights_only=True)
    for odd, error, says in (
        ("b" * 64, WrongWeightsError, "other weights"),
        (Path(), UnpicklingError, "Weights only"),  # what would run code is not unpacked
    ):
        buffer = io.BytesIO()
        torch.save(packed | {"hash": odd}, buffer)
        with pytest.raises(error, match=says):
            serving._unpacked(buffer.getvalue())


# ── two processes ───────────────────────────────────────────────────────────────────────────────
SLOTS = 2


@pytest.fixture(scope="module")
def stack():
    with Stack(sealed(), CONTENT, slots=SLOTS, utility=[1.0, 0.5, -1.0]) as running:
        yield running


def test_two_processes_serve_what_one_serves(stack):
    retriever = Retriever(sealed(), CONTENT)
    for n in (0, 1, 5, 9):
        request = asked(n, seed=n)
        found = stack.submit(request).result(60)
        assert same(found, recommend(retriever, request, [1.0, 0.5, -1.0]))


def test_a_request_that_fails_fails_alone(stack):
    bad, good = stack.submit(asked(10)), stack.submit(asked(3))
    with pytest.raises(ValueError, match="10 events"):
        bad.result(60)
    assert len(good.result(60).items) == 8
    with pytest.raises(ValueError, match=r"items\[0\] is 99"):
        stack.submit(asked(1, items=[99])).result(60)
    with pytest.raises(ValueError, match="expected a Request"):
        stack.submit("request")
    assert not good.cancel()
    assert all(process.daemon for process in stack.processes)


def test_with_more_requests_than_slots_the_oldest_are_refused(stack):
    """The ranking process is stopped while retrieval goes on, and then wakes up."""
    retriever = Retriever(sealed(), CONTENT)
    requests = [asked(4, seed=seed) for seed in range(5)]
    ranking, before = stack.processes[1], stack.pool.written()
    os.kill(ranking.pid, signal.SIGSTOP)
    try:
        answers = [stack.submit(one) for one in requests]
        until = time.monotonic() + 60
        while stack.pool.written() < before + 5 and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        os.kill(ranking.pid, signal.SIGCONT)
    for answer in answers[:-SLOTS]:
        with pytest.raises(StaleSlotError, match="encode the history again"):
            answer.result(60)
    for request, answer in zip(requests[-SLOTS:], answers[-SLOTS:], strict=True):
        wanted = recommend(retriever, request, [1.0, 0.5, -1.0])
        assert same(answer.result(60), wanted)
    # Asked again, those that were refused are served.
    assert same(
        stack.submit(requests[0]).result(60),
        recommend(retriever, requests[0], [1.0, 0.5, -1.0]),
    )


def test_a_killed_process_fails_what_is_under_way_and_what_comes_after():
    """Two separate models this time: the ranker encodes the past itself."""
    with Stack(sealed(0), CONTENT, ranker=sealed(1)) as running:
        assert running.pool is None
        request = asked(6)
        slate = running.submit(request).result(60)
        retriever, own = Retriever(sealed(0), CONTENT), Retriever(sealed(1), CONTENT)
        found, _ = retriever.retrieve(request)
        vectors = own.vectors.numpy()[found.items]
        again = Candidates(found.items, vectors, found.when, found.where)
        assert same(slate, rank(sealed(1), own.encode(request)[1], again))
        ranking = running.processes[1]
        os.kill(ranking.pid, signal.SIGSTOP)
        answer = running.submit(request)
        os.kill(ranking.pid, signal.SIGKILL)
        with pytest.raises(StackError, match="the ranking process has ended; nothing was served"):
            answer.result(60)
        with pytest.raises(StackError, match="has ended"):
            running.submit(request)
        running.processes[0].join(60)
        assert not any(one.is_alive() for one in running.processes)
    with pytest.raises(StackError, match="has ended"):
        running.submit(request)


def test_odd_stacks_are_refused_before_anything_starts():
    for arguments, says in (
        ({"model": made()}, "expected a sealed"),
        ({"ranker": made()}, "expected a sealed"),
        ({"content": CONTENT[:, :4]}, "content has shape"),
        ({"content": CONTENT[:0]}, "content is empty"),
        ({"slots": 0}, "slots is 0"),
        ({"utility": [1.0]}, "utility has shape"),
        ({"utility": [1.0], "slots": 1}, "utility has shape"),  # one slot will do
    ):
        with pytest.raises(ValueError, match=says):
            Stack(**{"model": sealed(), "content": CONTENT, **arguments})


def test_a_stack_that_is_closed_ends_what_runs_and_fails_what_is_under_way():
    with Stack(sealed(), CONTENT, slots=1) as running:
        name = running.pool.name
        os.kill(running.processes[1].pid, signal.SIGSTOP)
        answer = running.submit(asked(2))
    with pytest.raises(StackError, match="the stack is closed; nothing was served"):
        answer.result(60)
    with pytest.raises(StackError, match="the stack is closed"):
        running.submit(asked(2))
    assert not any(process.is_alive() for process in running.processes)
    with pytest.raises(PoolError, match="no pool"):
        KVPool.attach(name)
    running.close()


def test_without_retrieval_nothing_is_served(stack):
    """The last test of this stack."""
    assert len(stack.submit(asked(2)).result(60).items) == 8
    name = stack.pool.name
    os.kill(stack.processes[0].pid, signal.SIGSTOP)
    answer = stack.submit(asked(3))
    os.kill(stack.processes[0].pid, signal.SIGKILL)
    with pytest.raises(StackError, match="the retrieval process has ended; nothing was served"):
        answer.result(60)
    stack.processes[1].join(60)
    stack.close()
    with pytest.raises(PoolError, match="no pool"):
        KVPool.attach(name)


def test_a_cache_of_one_user_is_what_ranking_takes():
    model = sealed()
    found, cache = Retriever(model, CONTENT).retrieve(asked())
    two = KVCache(
        *(torch.cat([one, one], dim=1) for one in (cache.keys, cache.values)),
        cache.lengths.repeat(2),
        cache.last_times.repeat(2),
        cache.weights,
    )
    with pytest.raises(ValueError, match="vectors has shape"):
        rank(model, two, found)
