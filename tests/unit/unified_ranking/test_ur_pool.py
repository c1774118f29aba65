"""The pool: what is read is what was written, or an error says why not."""

import multiprocessing
import os
import threading
import time
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ur_worlds import SHAPE, history, made

from lib.unified_ranking import pool as pools
from lib.unified_ranking.model import KVCache, WrongWeightsError
from lib.unified_ranking.pool import KVPool, PoolError, StaleSlotError, Ticket

WEIGHTS = "a" * 64


def cache(value=1.0, n=4, *, weights=WEIGHTS, dtype=torch.float32):
    """Return a cache in which every number is the same."""
    full = torch.full((2, 1, 3, n, 4), float(value), dtype=dtype)
    last = torch.tensor([10.0 * value], dtype=torch.float64)
    return KVCache(full, full + 0.5, torch.tensor([n]), last, weights)


@pytest.fixture
def pool():
    with KVPool.create(SHAPE, 3) as made_:
        yield made_


def test_what_is_read_is_what_was_written(pool):
    model = made()
    weights = model.seal()
    _, wrote = model.encode(history((7, 3, 0)))
    tickets = [pool.write(wrote.user(row), 100 + row) for row in range(3)]
    assert [one.slot for one in tickets] == [0, 1, 2]
    for row, ticket in enumerate(tickets):
        found, wanted = pool.read(ticket, weights=weights), wrote.user(row)
        for name in ("keys", "values", "lengths", "last_times"):
            assert torch.equal(getattr(found, name), getattr(wanted, name)), name
        assert found.weights == weights


def test_a_short_cache_leaves_nothing_of_a_long_one(pool):
    pool.write(cache(1, 10), 1)
    for request in (2, 3):
        pool.write(cache(2, 2), request)
    ticket = pool.write(cache(5, 3), 4)
    found = pool.read(ticket, weights=WEIGHTS)
    assert ticket.slot == 0
    assert found.keys.shape[3] == 3
    assert set(found.keys.flatten().tolist()) == {5.0}
    assert set(found.values.flatten().tolist()) == {5.5}
    assert found.last_times.tolist() == [50]


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=30))
@settings(max_examples=40)
def test_a_ticket_is_good_as_long_as_its_slot_was_not_given_away(slots, steps):
    with KVPool.create(SHAPE, slots) as pool:
        tickets = []
        for write, number in steps:
            if write:
                tickets.append(pool.write(cache(len(tickets), 1 + number % 10), len(tickets)))
            elif tickets:
                at = number % len(tickets)
                if at >= len(tickets) - slots:
                    found = pool.read(tickets[at], weights=WEIGHTS)
                    assert set(found.keys.flatten().tolist()) == {float(at)}
                else:
                    with pytest.raises(StaleSlotError, match=f"expected request {at} "):
                        pool.read(tickets[at], weights=WEIGHTS)
        assert pool.written() == len(tickets)


def test_a_request_number_used_twice_is_told_apart_by_the_version():
    with KVPool.create(SHAPE, 1) as pool:
        first = pool.write(cache(1), 7)
        second = pool.write(cache(2), 7)
        with pytest.raises(StaleSlotError):
            pool.read(first, weights=WEIGHTS)
        assert pool.read(second, weights=WEIGHTS).keys[0, 0, 0, 0, 0] == 2


def test_a_ticket_of_another_request_is_refused(pool):
    ticket = pool.write(cache(), 7)
    with pytest.raises(StaleSlotError, match="holds request 7"):
        pool.read(Ticket(ticket.slot, 8, ticket.version), weights=WEIGHTS)
    with pytest.raises(StaleSlotError):
        pool.read(Ticket(1, 7, 2), weights=WEIGHTS)  # never written
    with pytest.raises(PoolError, match="slot is 3, expected one below 3"):
        pool.read(Ticket(3, 7, 2), weights=WEIGHTS)


def test_a_cache_of_other_weights_is_refused(pool):
    ticket = pool.write(cache(), 7)
    with pytest.raises(WrongWeightsError, match="'aaaaaaaaaaaa', expected 'bbbbbbbbbbbb'"):
        pool.read(ticket, weights="b" * 64)


def test_a_slot_overwritten_during_the_reading_is_refused_after_it(pool):
    ticket = pool.write(cache(1), 1)
    seen = []

    def used():
        with pool.view(ticket, weights=WEIGHTS) as lent:
            for request in (2, 3, 4):
                pool.write(cache(request), request)
            seen.extend(lent.keys.flatten().tolist())

    with pytest.raises(StaleSlotError, match="holds request 4"):
        used()
    assert set(seen) == {4.0}  # so it would have been served, were versions not compared


def test_an_error_on_an_overwritten_slot_is_that_it_was_overwritten(pool):
    def failing(ticket, writes):
        with pool.view(ticket, weights=WEIGHTS):
            for request in range(writes):
                pool.write(cache(request), request)
            raise ValueError("what the numbers led to")

    with pytest.raises(StaleSlotError):
        failing(pool.write(cache(1), 1), 3)
    with pytest.raises(ValueError, match="what the numbers led to"):
        failing(pool.write(cache(1), 1), 2)


def test_a_half_written_slot_is_refused(pool):
    ticket = pool.write(cache(1), 1)
    pool._slots[0]["version"] += 1
    with pytest.raises(StaleSlotError, match="is being written"):
        pool.read(ticket, weights=WEIGHTS)
    with pytest.raises(StaleSlotError):
        pool.read(Ticket(0, 1, ticket.version + 1), weights=WEIGHTS)


def test_numbers_are_fenced_off_from_the_version_on_both_sides(pool, monkeypatch):
    """Where a processor reorders, an odd version must be seen before the first new number."""
    seen = []

    def fence():
        seen.append((int(pool._slots[0]["version"]), float(pool._data[0, 0, 0, 0, 0, 0])))

    monkeypatch.setattr(pools, "_fence", fence)
    ticket = pool.write(cache(3), 1)
    assert seen == [(1, 0.0), (1, 3.0)]
    seen.clear()
    with pool.view(ticket, weights=WEIGHTS):
        assert len(seen) == 1
    assert seen == [(2, 3.0)] * 2


# ── races ───────────────────────────────────────────────────────────────────────────────────────
def _write_on(name, ready, done):
    """Write caches of one number each, until told to stop, in another process."""
    pool = KVPool.attach(name, write=True)
    try:
        request = 0
        while not done.is_set():
            request += 1
            pool.write(cache(request % 1000, 10), request)
            ready.set()
    finally:
        pool.close()


def _race(pool, n):
    """Return how many reads were mixtures, and how many were refused."""
    mixtures = refused = 0
    for i in range(n):
        slot = i % pool.slots
        head = pool._slots[slot].copy()
        ticket = Ticket(slot, int(head["request"]), int(head["version"]))
        try:
            keys = pool.read(ticket, weights=WEIGHTS).keys
        except StaleSlotError:
            refused += 1
            continue
        mixtures += bool((keys != keys.flatten()[0]).any())
    return mixtures, refused


def _in_halves(pool, ticket):
    """Read a slot layer by layer, while all slots are written in between."""
    first = pool._data[ticket.slot, 0, 0, :, :4].copy()
    for request in (7, 8, 9):
        pool.write(cache(request), request)
    return {*first.flatten().tolist(), *pool._data[ticket.slot, 0, 1, :, :4].flatten().tolist()}


def test_a_read_that_compares_nothing_mixes_two_histories_and_a_view_refuses(pool):
    """The control of the races below, without a race."""
    assert _in_halves(pool, pool.write(cache(1), 1)) == {1.0, 9.0}
    ticket = pool.write(cache(2), 2)

    def viewed():
        with pool.view(ticket, weights=WEIGHTS):
            _in_halves(pool, ticket)

    with pytest.raises(StaleSlotError):
        viewed()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a writer that starts quickly")
def test_a_reader_that_races_a_writer_gets_no_mixture():
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    with KVPool.create(SHAPE, 2, write=False) as pool:
        writer = context.Process(target=_write_on, args=(pool.name, ready, done), daemon=True)
        writer.start()
        assert ready.wait(20)
        try:
            mixtures, refused = _race(pool, 4000)
        finally:
            done.set()
            writer.join(20)
    assert writer.exitcode == 0
    assert mixtures == 0
    assert refused > 0


def test_threads_share_a_pool_without_mixtures():
    """Large slots, which take longer to write than to ask for."""
    shape = type(SHAPE)(4, 1, d_model=768, n_layers=2, n_heads=3, max_events=60)
    full = torch.ones(2, 1, 3, 61, 256)
    with KVPool.create(shape, 1) as pool:
        stop = threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                one = full * (number % 1000)
                last = torch.zeros(1, dtype=torch.float64)
                pool.write(KVCache(one, one, torch.tensor([61]), last, WEIGHTS), number)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            mixtures, until = 0, time.monotonic() + 60
            while pool.written() < 60 and time.monotonic() < until:
                mixtures += _race(pool, 10)[0]
        finally:
            stop.set()
            thread.join()
        assert pool.written() >= 60
    assert mixtures == 0


# ── what is refused ─────────────────────────────────────────────────────────────────────────────
def test_a_cache_that_does_not_fit_touches_no_slot(pool):
    padded = KVCache(*(torch.ones(2, 1, 3, 4, 4),) * 2, torch.tensor([3]), torch.zeros(1).double())
    for odd, says in (
        (cache(n=11), "11 positions"),
        (KVCache(*(torch.ones(2, 2, 3, 4, 4),) * 2, torch.tensor([4, 4]), torch.zeros(2)), "users"),
        (KVCache(*(torch.ones(1, 1, 3, 4, 4),) * 2, torch.tensor([4]), torch.zeros(1)), "layers"),
        (padded, "3 of them no padding"),
        (cache(dtype=torch.float64), "type float64, expected float32"),
        (cache(weights="unsealed 4"), "cache is 'unsealed 4', expected one of a sealed model"),
        ("cache", "expected a KVCache"),
    ):
        with pytest.raises(ValueError, match=says):
            pool.write(odd, 1)
    for request in (-1, 1.5, "1"):
        with pytest.raises(ValueError, match="request is"):
            pool.write(cache(), request)
    assert pool.written() == 0


def test_numbers_begin_on_a_page_of_their_own():
    for slots in (1, 40, 1000):
        start = pools._start(slots)
        assert start % 4096 == 0
        assert 0 <= start - 64 - slots * pools._SLOT.itemsize < 4096


def test_double_precision_is_kept():
    with KVPool.create(SHAPE, 1, precision="float64") as pool:
        third = cache(1 / 3, dtype=torch.float64)
        found = pool.read(pool.write(third, 1), weights=WEIGHTS)
        assert torch.equal(found.keys, third.keys)
        with pytest.raises(ValueError, match="expected float64"):
            pool.write(cache(), 2)


def test_a_pool_has_one_writer():
    with KVPool.create(SHAPE, 1, write=False) as pool:
        with pytest.raises(PoolError, match="expected its writer"):
            pool.write(cache(), 1)
        with KVPool.attach(pool.name, write=True) as writer:
            with pytest.raises(PoolError, match=f"written by process {os.getpid()}"):
                KVPool.attach(pool.name, write=True)
            with KVPool.attach(pool.name) as reader:
                found = reader.read(writer.write(cache(3), 9), weights=WEIGHTS)
                assert found.keys[0, 0, 0, 0, 0] == 3
                assert (reader.slots, reader.positions) == (1, 10)


def test_memory_of_another_kind_is_no_pool():
    assert pools._MAGIC.to_bytes(8, "big") == b"UNIPOOL1"
    other = SharedMemory(create=True, size=4096)
    try:
        with pytest.raises(PoolError, match="of another kind"):
            KVPool.attach(other.name)
    finally:
        other.close()
        other.unlink()
    with pytest.raises(PoolError, match="no pool"):
        KVPool.attach(other.name)


def test_a_closed_pool_says_so_and_its_memory_is_free():
    pool = KVPool.create(SHAPE, 1)
    name, ticket = pool.name, pool.write(cache(), 1)
    pool.close()
    pool.close()
    for door in (
        lambda: pool.write(cache(), 1),
        lambda: pool.read(ticket, weights=WEIGHTS),
        pool.written,
    ):
        with pytest.raises(PoolError, match="the pool is closed"):
            door()
    with pytest.raises(PoolError, match="no pool"):
        KVPool.attach(name)


def test_a_pool_is_not_closed_under_a_view_and_its_name_is_free_all_the_same():
    pool = KVPool.create(SHAPE, 1)
    name = pool.name
    with pool.view(pool.write(cache(), 1), weights=WEIGHTS) as lent:
        held = lent.keys
    with pytest.raises(PoolError, match="a view of a slot is still held"):
        pool.close()
    with pytest.raises(PoolError, match="no pool"):
        KVPool.attach(name)
    del lent, held


def test_more_memory_than_there_is_is_refused_before_it_is_touched(monkeypatch):
    monkeypatch.setattr(pools, "_free", lambda: 10_000)
    with pytest.raises(PoolError, match="there are 10,000"):
        KVPool.create(SHAPE, 5)
    KVPool.create(SHAPE, 1).close()  # 4,096 and 1,920 bytes


def test_a_reader_that_ends_does_not_free_the_memory():
    with KVPool.create(SHAPE, 1) as pool:
        ticket = pool.write(cache(4), 1)
        KVPool.attach(pool.name).close()
        with KVPool.attach(pool.name) as reader:
            assert reader.read(ticket, weights=WEIGHTS).keys[0, 0, 0, 0, 0] == 4


def test_odd_shapes_of_pools_are_refused():
    for slots in (0, 1.5, np.nan):
        with pytest.raises(ValueError, match="slots is"):
            KVPool.create(SHAPE, slots)
    with pytest.raises(ValueError, match="expected a ModelConfig"):
        KVPool.create("shape", 1)
    with pytest.raises(ValueError, match="memory is 'psm'"):
        KVPool("psm", owner=False, writer=False)
    with pytest.raises(ValueError, match="precision is 'bf16'"):
        KVPool.create(SHAPE, 1, precision="bf16")
    with pytest.raises(ValueError, match="slot is -1"):
        Ticket(-1, 0, 0)
