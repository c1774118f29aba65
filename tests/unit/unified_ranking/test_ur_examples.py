"""From a log to examples: strictly earlier pasts, ties, cold users, buckets, tensors."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ur_worlds import world

from lib.unified_ranking import examples
from lib.unified_ranking.actions import ActionVocab
from lib.unified_ranking.examples import Log, buckets, join, join_buckets, read_log, sessions

VOCAB = ActionVocab(("save", "hide"))


def log_of(*rows):
    """Make a log of (user, item, time, saved, slate)."""
    users, items, times, saved, slates = zip(*rows, strict=True)
    return Log(users, items, times, np.array(saved)[:, None], slates)


def past_items(examples, place):
    return examples.past.items[examples.first[place] : examples.last[place]].tolist()


# ── the log ─────────────────────────────────────────────────────────────────────────────────────
def test_events_are_in_order_of_user_and_time_and_ties_keep_theirs():
    log = log_of(
        (2, 1, 5, 0, 0), (1, 2, 9, 0, 1), (1, 3, 4, 1, 1), (1, 4, 4, 0, 1), (2, 5, 5, 1, 0)
    )
    assert log.users.tolist() == [1, 1, 1, 2, 2]
    assert log.items.tolist() == [3, 4, 2, 1, 5]
    assert log.actions[:, 0].tolist() == [1, 0, 0, 0, 1]
    assert log.slates.tolist() == [1, 1, 1, 0, 0]
    assert log.surfaces.tolist() == [0] * 5
    assert log.take(log.users == 2).items.tolist() == [1, 5]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"users": [1, 2]}, "slate 3 has more than one of users"),
        ({"surfaces": [0, 1]}, "slate 3 has more than one of surfaces"),
        ({"items": [1, -1]}, r"items\[1\] is -1"),
        ({"items": [1]}, "users 2, items 1"),
        ({"times": [1.0, np.nan]}, r"times\[1\] is nan"),
        ({"actions": [[0.5], [0]]}, "actions holds 0.5"),
        ({"actions": [0, 1]}, "actions has shape"),
        ({"slates": [3, -2]}, r"slates\[1\] is -2"),
    ],
)
def test_an_odd_log_is_refused(change, says):
    good = {"users": [1, 1], "items": [1, 2], "times": [1.0, 2.0], "actions": [[0], [1]]}
    with pytest.raises(ValueError, match=says):
        Log(**{**good, "slates": [3, 3], **change})


def test_rows_without_a_slate_may_be_of_anyone():
    assert len(Log([1, 2], [0, 0], [0.0, 0.0], [[0], [0]], [-1, -1], [0, 1])) == 2


FRAME = pd.DataFrame(
    {
        "user": [7, 7, 8],
        "item": ["b", "a", "b"],
        "time": [30, 20, 10],
        "save": [1, 0, 0],
        "hide": [False, True, False],
        "page": ["x", "x", None],
        "surface": [1, 1, 0],
    }
)


def test_a_table_becomes_a_log():
    log = read_log(FRAME, VOCAB, items=["a", "b"], slate="page", surface="surface")
    assert log.users.tolist() == [7, 7, 8]
    assert log.items.tolist() == [0, 1, 1]
    assert log.actions.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert log.slates.tolist() == [0, 0, -1]
    assert log.surfaces.tolist() == [1, 1, 0]
    assert read_log(FRAME, VOCAB, items=["a", "b"]).slates.tolist() == [-1] * 3


def test_dates_count_in_seconds_with_and_without_a_zone():
    texts = ["1970-01-01 00:00:30.5", "1970-01-01 00:00:20", "1970-01-01 01:00:10"]
    when = pd.to_datetime(texts, format="ISO8601")
    naive = FRAME.assign(time=when)
    assert read_log(naive, VOCAB, items=["a", "b"]).times.tolist() == [20, 30.5, 3610]
    paris = FRAME.assign(time=when.tz_localize("Europe/Paris"))
    assert read_log(paris, VOCAB, items=["a", "b"]).times.tolist() == [-3580, -3569.5, 10]
    coarse = FRAME.assign(time=when.astype("datetime64[s]"))
    assert read_log(coarse, VOCAB, items=["a", "b"]).times.tolist() == [20, 30, 3610]


def test_users_with_names_are_the_same_numbers_in_every_table():
    one = read_log(FRAME.assign(user=["ada", "ada", "bo"]), VOCAB, items=["a", "b"])
    other = read_log(FRAME.assign(user=["bo", "bo", "ada"]), VOCAB, items=["a", "b"])
    assert set(one.users) == set(other.users)
    assert len(set(one.users.tolist())) == 2
    assert min(one.users) >= 0


def test_two_names_with_one_hash_are_refused(monkeypatch):
    class Same:
        def __init__(self, _):
            pass

        def digest(self):
            return bytes(32)

    monkeypatch.setattr(examples.hashlib, "sha256", Same)
    with pytest.raises(ValueError, match="two names in 'user' have one hash"):
        read_log(FRAME.assign(user=["ada", "bo", "bo"]), VOCAB, items=["a", "b"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"item": ["b", "c", "b"]}, "'item' is 'c', expected one of the 2 items"),
        ({"save": [1, 2, 0]}, "'save' holds 2"),
        ({"save": [1, None, 0]}, "'save'.* is nan"),
        ({"time": [1, None, 3]}, "'time'.* is nan"),
        ({"time": pd.to_datetime(["2020", None, "2021"])}, "'time' has missing dates"),
        ({"user": [1.5, 2, 3]}, "'user'.* is 1.5"),
        ({"user": ["a", " ", "b"]}, "'user' is ' '"),
    ],
)
def test_an_odd_table_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        read_log(FRAME.assign(**change), VOCAB, items=["a", "b"])


def test_a_table_without_a_column_or_a_row_is_refused():
    with pytest.raises(ValueError, match="column is 'hide'"):
        read_log(FRAME.drop(columns="hide"), VOCAB, items=["a", "b"])
    with pytest.raises(ValueError, match="did you mean 'page'"):
        read_log(FRAME, VOCAB, items=["a", "b"], slate="pages")
    with pytest.raises(ValueError, match="frame is empty"):
        read_log(FRAME.iloc[:0], VOCAB, items=["a", "b"])
    with pytest.raises(ValueError, match=r"items\[1\] is 'a'"):
        read_log(FRAME, VOCAB, items=["a", "a"])


# ── sessions ────────────────────────────────────────────────────────────────────────────────────
def test_a_session_ends_with_a_longer_break_or_another_user():
    users, times = [2, 1, 1, 1, 2, 1], [0, 30, 0, 60.5, 31, 30]
    assert sessions(users, times, gap=30).tolist() == [2, 0, 0, 1, 3, 0]
    assert sessions(users, times, gap=30.5).tolist() == [1, 0, 0, 0, 2, 0]
    assert sessions([1, 1, 1], [5, 5, 6], gap=0).tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="gap is -1"):
        sessions([1], [0], gap=-1)


# ── the join ────────────────────────────────────────────────────────────────────────────────────
def test_the_past_is_strictly_earlier_than_the_first_second():
    log = log_of(
        (1, 10, 5, 1, -1),
        (1, 11, 9, 0, 7),  # the slate begins
        (1, 12, 9, 1, -1),  # in the same second: no past of it
        (1, 13, 12, 1, 7),
        (1, 14, 12, 0, 8),
        (2, 15, 1, 1, -1),
    )
    found = join(log, log, 10)
    assert len(found) == 2
    assert found.slate(0)[0].tolist() == [11, 13]
    assert found.slate(0)[1].tolist() == [[0], [1]]
    assert past_items(found, 0) == [10]
    assert past_items(found, 1) == [10, 11, 12]
    assert found.start.tolist() == [9, 12]
    assert found.end.tolist() == [12, 12]


def test_a_cold_user_has_an_empty_past():
    past = log_of((1, 10, 5, 1, -1), (3, 9, 5, 1, -1))
    found = join(past, log_of((2, 11, 9, 0, 0), (0, 11, 9, 0, 1), (4, 1, 9, 0, 2)), 10)
    assert found.users.tolist() == [0, 2, 4]
    assert (found.last - found.first).tolist() == [0, 0, 0]
    batch = found.batch([0, 1, 2])
    assert batch.items.shape == (3, 0)
    assert batch.lengths.tolist() == [0, 0, 0]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 5), st.booleans(), st.integers(-1, 3)),
        min_size=1,
        max_size=14,
    ),
    st.integers(1, 4),
)
@settings(max_examples=100)
def test_the_join_is_its_definition(rows, longest):
    # A slate has one user: its number is made from both.
    log = log_of(
        *((u, i, t, s, 10 * u + p if p >= 0 else -1) for i, (u, t, s, p) in enumerate(rows))
    )
    found = join(log, log, longest)
    events = list(zip(log.users, log.items, log.times, log.slates, strict=True))
    slates = {}
    for user, item, time, slate in events:
        if slate >= 0:
            slates.setdefault((user, slate), []).append((time, item))
    wanted = []
    for (user, slate), shown in slates.items():
        start = min(time for time, _ in shown)
        past = [item for who, item, time, _ in events if who == user and time < start][-longest:]
        wanted.append((user, start, slate, [item for _, item in shown], past))
    wanted.sort(key=lambda one: one[:3])
    assert [(w[3], w[4]) for w in wanted] == [
        (found.slate(e)[0].tolist(), past_items(found, e)) for e in range(len(found))
    ]


@pytest.mark.parametrize("n", [1, 7, 64])
def test_joining_by_buckets_gives_the_examples_of_the_join_of_everything(n):
    _, _, log = world(n_users=40, n_events=18)
    whole = join(log, log, 8)
    rows = {}
    for part in join_buckets(buckets(log, n), buckets(log, n), 8):
        for e in range(len(part)):
            key = (part.users[e], part.start[e])
            rows[key] = (part.slate(e)[0].tolist(), past_items(part, e))
    assert len(rows) == len(whole) == 120
    for e in range(len(whole)):
        key = (whole.users[e], whole.start[e])
        assert rows[key] == (whole.slate(e)[0].tolist(), past_items(whole, e))


def test_buckets_are_even_and_told_by_the_user_alone():
    log = log_of(*((u, 0, t, 0, -1) for u in range(400) for t in (1, 2)))
    parts = buckets(log, 4)
    sizes = [len(one) for one in parts]
    assert sum(sizes) == 800
    assert max(sizes) < 1.3 * min(sizes)
    users = [set(one.users.tolist()) for one in parts]
    assert sum(map(len, users)) == 400
    assert users == [set(one.users.tolist()) for one in buckets(log.take(log.times == 1), 4)]


def test_buckets_of_other_numbers_do_not_join():
    log = log_of((1, 1, 1, 0, 1))
    with pytest.raises(ValueError, match="pasts and shown differ"):
        list(join_buckets(buckets(log, 2), buckets(log, 3), 4))
    with pytest.raises(ValueError, match="past is 3"):
        join(3, log, 4)
    with pytest.raises(ValueError, match="max_events is 0"):
        join_buckets([log], [log], 0)
    two = Log([1], [1], [1.0], [[0, 1]], [0])
    with pytest.raises(ValueError, match="past has 1 actions and shown 2"):
        join(log, two, 4)


# ── examples ────────────────────────────────────────────────────────────────────────────────────
def three():
    """Return three slates of one user, at 10, 20 and 30, the second without a save."""
    rows = [
        (1, i, t, s, t)
        for t, pages in ((10, (1, 0)), (20, (0, 0)), (30, (0, 1)))
        for i, s in enumerate(pages)
    ]
    log = log_of(*rows)
    return join(log, log, 3)


def test_a_slate_across_the_split_is_in_neither_part():
    log = log_of((1, 0, 5, 0, 0), (1, 1, 8, 0, 1), (1, 2, 12, 0, 1), (1, 3, 10, 0, 2))
    early, late = join(log, log, 5).split(10)
    assert [early.slate(0)[0].tolist(), late.slate(0)[0].tolist()] == [[0], [3]]
    assert len(early) == len(late) == 1
    assert past_items(late, 0) == [0, 1]


def test_engaged_slates_stay_and_of_others_a_share():
    found = three()
    assert found.engaged([0]).tolist() == [True, False, True]
    assert found.thin([0], keep=0).start.tolist() == [10, 30]
    assert len(found.thin([0], keep=1)) == 3
    _, _, log = world(n_users=300, n_events=48, page=1)
    singles = join(log, log, 5)
    thinned = singles.thin([0], keep=0.1)
    quiet = int((~singles.engaged([0])).sum())
    assert int((~thinned.engaged([0])).sum()) / quiet == pytest.approx(0.1, abs=0.02)
    assert int(thinned.engaged([0]).sum()) == int(singles.engaged([0]).sum())
    other = singles.thin([0], keep=0.1, seed=1)
    assert set(zip(other.users, other.start, strict=True)) != set(
        zip(thinned.users, thinned.start, strict=True)
    )
    with pytest.raises(ValueError, match=r"columns\[0\] is 1"):
        found.thin([1])
    with pytest.raises(ValueError, match="keep is 10"):
        found.thin([0], keep=10)


def test_what_is_thinned_does_not_depend_on_the_order():
    _, _, log = world(n_users=50, n_events=12, page=1)
    found = join(log, log, 5)
    turned = found.take(np.arange(len(found))[::-1])
    one, other = (
        set(zip(e.users.tolist(), e.start.tolist(), strict=True))
        for e in (found.thin([0], keep=0.3), turned.thin([0], keep=0.3))
    )
    assert one == other


def test_a_hash_knows_the_number_and_the_time():
    def hashed(number, time, seed=0):
        return int(examples._bits(np.array([number]), np.array([time]), seed)[0])

    plain = hashed(3, 5.0)
    assert hashed(3, -0.0) == hashed(3, 0.0)
    assert plain == 11068960772331810525  # on every machine
    assert len({plain, hashed(4, 5.0), hashed(3, 6.0), hashed(3, 5.0, 1), hashed(5, 3.0)}) == 5


def test_how_often_an_event_is_read():
    # Pasts of 0, 2 and 3 events (at most three): rows 0 and 1; rows 1, 2 and 3.
    assert three().repeats() == 5 / 4
    assert three().take([0]).repeats() == 0
    assert three().take([1, 1]).repeats() == 2


def test_some_examples_are_taken_in_their_order():
    found = three().take([2, 0, 2])
    assert found.start.tolist() == [30, 10, 30]
    assert found.sizes.tolist() == [2, 2, 2]
    assert found.slate(1)[1].tolist() == [[1], [0]]
    assert len(found.take([])) == 0
    for index, says in (([3], r"index\[0\] is 3"), ([-1], r"index\[0\] is -1"), ([0.5], "0.5")):
        with pytest.raises(ValueError, match=says):
            found.take(index)
    with pytest.raises(ValueError, match="there is no example"):
        found.take([]).take([0])
    with pytest.raises(ValueError, match="expected truth values"):
        found.where([1, 0, 1])


def test_a_batch_holds_its_examples_and_zeros():
    log = Log(
        [1, 1, 1, 1, 2], [5, 6, 7, 8, 9], [1.0, 2, 3, 3, 4], [[1], [0], [1], [0], [1]],
        [-1, -1, 0, 0, 1], [0, 1, 1, 1, 0],
    )  # fmt: skip
    batch = join(log, log, 4).batch([1, 0])
    assert batch.items.tolist() == [[0, 0], [5, 6]]
    assert batch.actions[..., 0].tolist() == [[0, 0], [1, 0]]
    assert batch.times.tolist() == [[0, 0], [1, 2]]
    assert batch.surfaces.tolist() == [[0, 0], [0, 1]]
    assert batch.lengths.tolist() == [0, 2]
    assert batch.candidates.tolist() == [[9, 0], [7, 8]]
    assert batch.labels[..., 0].tolist() == [[1, 0], [1, 0]]
    assert batch.shown.tolist() == [[True, False], [True, True]]
    assert batch.when.tolist() == [4, 3]
    assert batch.where.tolist() == [0, 1]


def test_of_a_large_slate_some_items_are_taken_whatever_was_done():
    n = 400
    log = log_of(*((u, i, 1, i % 2, u) for u in range(20) for i in range(u, n + u)))
    found = join(log, log, 2)
    one = found.batch(np.arange(20), k=50)
    assert one.candidates.shape == (20, 50)
    assert one.labels.mean().item() == pytest.approx(0.5, abs=0.06)
    assert (one.candidates.diff() > 0).all()  # they keep their order
    again = found.take([4, 3]).batch([0], k=50)
    assert again.candidates[0].tolist() == one.candidates[4].tolist()
    assert set(one.candidates[0].tolist()) != set((one.candidates[1] - 1).tolist())
    assert found.batch([0]).candidates.shape == (1, n)
    with pytest.raises(ValueError, match="k is 0"):
        found.batch([0], k=0)
    with pytest.raises(ValueError, match="index is empty"):
        found.batch([])
