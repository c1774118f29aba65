"""The replay: absorbing misses, determinism, loaders, bad ratings."""

import hashlib
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.collapse_warning import replay as rp
from lib.collapse_warning.audit import label_leak
from lib.collapse_warning.evaluation import held_out
from lib.collapse_warning.panel import Panel
from lib.collapse_warning.study.arrangements import (
    accepted_configurations,
    at_landmark,
    planted_panel,
    simulated,
)
from lib.core.data import DigestError


def made_up(seed, n_users=14, n_items=60, n_ratings=40):
    rng = np.random.default_rng(seed)
    rows = [
        (user, int(item), float(rng.choice([3.0, 4.0, 4.5, 5.0])), 1_000_000 + 60 * t)
        for user in range(1, n_users + 1)
        for t, item in enumerate(rng.choice(n_items, size=n_ratings, replace=False))
    ]
    return pd.DataFrame(rows, columns=["user", "item", "rating", "time"])


CONFIG = rp.ReplayConfig(
    warm_start=8, top_k=3, neighbours=10, streak=4, floor=3, runway=2, horizon=20
)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(["cosine", "popularity"]))
def test_a_miss_is_never_left_by_an_engine_without_chance(seed, engine):
    run = rp.replay(made_up(seed), CONFIG, engine, shortcut=False)
    assert run.hits_after_miss() == 0
    collapsed = run.episodes[run.episodes["collapse"] > 0]
    assert ((collapsed["collapse"] - collapsed["first_miss"]) == CONFIG.streak - 1).all()


def test_an_engine_with_chance_leaves_misses():
    assert sum(rp.replay(made_up(s), CONFIG, "random").hits_after_miss() for s in range(5)) > 0


def test_a_consumed_miss_can_be_left():
    changed = rp.ReplayConfig(**{**CONFIG.__dict__, "on_miss": "consume"})
    assert sum(rp.replay(made_up(s), changed).hits_after_miss() for s in range(5)) > 0


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_the_shortcut_and_the_order_of_rows_change_nothing(seed):
    table = made_up(seed)
    plain = rp.replay(table, CONFIG)
    for other in (
        rp.replay(table, CONFIG, shortcut=False),
        rp.replay(table.sample(frac=1, random_state=seed), CONFIG),
    ):
        assert plain.episodes.equals(other.episodes)
        assert all(np.array_equal(plain.slates[u], other.slates[u]) for u in plain.slates)


def test_a_slate_against_a_naive_engine():
    table = rp.check_ratings(made_up(3))
    run = rp.replay(table, CONFIG)
    liked = table[table["rating"] >= 4]
    fans = {i: set(g["user"]) for i, g in liked.groupby("item")}

    def cosine(a, b):
        return len(fans[a] & fans[b]) / np.sqrt(len(fans[a]) * len(fans[b]))

    user = next(iter(run.slates))
    known = table[table["user"] == user].iloc[: CONFIG.warm_start]
    scores = {}
    for item in known.loc[known["rating"] >= 4, "item"]:
        near = sorted(
            (other for other in fans if other != item and cosine(item, other) > 0),
            key=lambda other, item=item: (-cosine(item, other), other),
        )[: CONFIG.neighbours]
        for other in near:
            scores[other] = scores.get(other, 0) + cosine(item, other)
    best = sorted(
        (i for i in scores if i not in set(known["item"])), key=lambda i: (-round(scores[i], 10), i)
    )
    assert run.index.items[run.slates[user][0]].tolist() == best[: CONFIG.top_k]


def test_movielens_small_counts():
    run = rp.replay(rp.load_movielens_small())
    assert run.counts() == {
        "events": 174,
        "controls": 62,
        "early": 194,
        "short": 125,
        "frontier": 116,
        "censored": 0,
    }
    assert run.hits_after_miss() == 0
    means = run.witnesses().groupby("is_event")["G"].mean()
    assert (means[True], means[False]) == pytest.approx((0.0673, 0.0937), abs=5e-5)
    panel = run.panel()
    assert (panel.n_events, panel.n_controls) == (174, 62)
    assert label_leak(panel).leaks


def test_parts_are_the_whole():
    table = made_up(1)
    whole, parts = rp.replay(table, CONFIG), rp.replay_parallel(table, CONFIG, parts=3, n_jobs=1)
    assert whole.episodes.equals(parts.episodes)
    assert whole.slates.keys() == parts.slates.keys()
    with pytest.raises(ValueError, match="at least 1"):
        rp.replay_parallel(table, CONFIG, parts=0)


@pytest.mark.parametrize("engine", ["cosine", "random"])
def test_parts_on_a_cluster_are_the_whole(engine):
    from distributed import Client, LocalCluster

    table = made_up(1)
    whole = rp.replay(table, CONFIG, engine)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        parts = rp.replay_parallel(table, CONFIG, engine, parts=3, backend=client)
    assert whole.episodes.equals(parts.episodes)
    assert all(np.array_equal(whole.slates[u], parts.slates[u]) for u in whole.slates)
    assert whole.witnesses().equals(parts.witnesses())


def test_the_index_does_not_depend_on_its_blocks(monkeypatch):
    table = rp.check_ratings(made_up(5))
    whole = rp.index_ratings(table, CONFIG)
    monkeypatch.setattr(rp, "BLOCK", 7)
    blocks = rp.index_ratings(table, CONFIG)
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(
            getattr(whole.neighbours, part), getattr(blocks.neighbours, part)
        )


def test_shuffled_time_keeps_each_user_s_films_and_times():
    table = rp.check_ratings(made_up(2))
    mixed = rp.shuffle_time(table, 0)
    for column in ("item", "time"):
        for user in (1, 5):
            pair = [sorted(t.loc[t["user"] == user, column]) for t in (table, mixed)]
            assert pair[0] == pair[1]
    assert not mixed.equals(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="time"), "column is 'time'"),
        (lambda t: t.iloc[:0], "no ratings"),
        (lambda t: t.assign(rating=np.nan), "missing"),
        (lambda t: t.assign(rating=7.0), "between 0 and 5"),
        (lambda t: t.assign(time=t["time"] * 1_000_000), "Unix seconds"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "twice"),
    ],
)
def test_bad_ratings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        rp.replay(change(made_up(0)), CONFIG)


@pytest.mark.parametrize(
    "change", [{"top_k": 0}, {"runway": 60}, {"on_miss": "weep"}, {"warm_start": 0}]
)
def test_bad_settings_are_refused(change):
    with pytest.raises(ValueError, match="expected"):
        rp.ReplayConfig(**change)


def test_bad_calls_are_refused():
    with pytest.raises(ValueError, match="engine is"):
        rp.replay(made_up(0), CONFIG, "luck")
    with pytest.raises(ValueError, match="no ratings"):
        rp.replay(made_up(0), CONFIG, users=[99])
    with pytest.raises(ValueError, match="nothing to recommend"):
        rp.replay(made_up(0).assign(rating=1.0), CONFIG)


@pytest.mark.parametrize(("edition", "separator"), [("25m", ","), ("20m", ","), ("1m", "::")])
def test_archives_are_read_and_verified(tmp_path, monkeypatch, edition, separator):
    _, member = rp.ARCHIVES[edition]
    table = made_up(4)
    lines = [separator.join(str(x) for x in row) for row in table.itertuples(index=False)]
    head = [] if edition == "1m" else ["userId,movieId,rating,timestamp"]
    file = tmp_path / "ml.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, "\n".join(head + lines))
    with pytest.raises(DigestError, match="expected"):
        rp.load_movielens(file, edition)
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(rp.ARCHIVES, edition, (found, member))
    read = rp.load_movielens(file, edition)
    pd.testing.assert_frame_equal(read, rp.check_ratings(table), check_dtype=False)
    with pytest.raises(ValueError, match="edition"):
        rp.load_movielens(file, "2b")
    with pytest.raises(FileNotFoundError):
        rp.load_movielens(tmp_path / "none.zip")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("other.txt", "")
    with pytest.raises(ValueError, match="holds no"):
        rp.load_movielens(file, edition, verify=False)


@pytest.fixture(scope="module")
def repaired():
    return rp.replay(rp.load_movielens_small(), rp.ReplayConfig(on_miss="consume"))


def test_a_landmark_sees_no_streak_that_makes_an_event(repaired):
    panel = at_landmark(repaired, 15)
    table = repaired.episodes.set_index("user")
    chosen = table.loc[panel.units.tolist()]
    assert set(chosen["reason"]) == {"", "censored"}
    assert ((chosen["collapse"] == 0) | (chosen["collapse"] >= 23)).all()
    assert (chosen["steps"] > 15).all()
    assert (panel.n_events, panel.n_controls) == (18, 339)
    assert panel.lengths.tolist() == [15] * 357
    user = int(panel.units[3])
    assert panel.values[3].tolist() == np.cumsum(repaired.misses[user][:15]).tolist()  # noqa: PD011
    assert at_landmark(repaired, 10).n_events > panel.n_events


def test_whoever_is_in_play_at_the_landmark_is_in_the_panel():
    fates = {
        # User: collapse (0: none), steps, reason.
        1: (22, 22, ""),
        2: (23, 23, ""),
        3: (0, 50, ""),
        4: (0, 16, "censored"),
        5: (0, 15, "censored"),
        6: (12, 12, "early"),
        7: (0, 0, "short"),
        8: (40, 40, ""),
    }
    rows = pd.DataFrame(
        [(user, *fate) for user, fate in fates.items()],
        columns=["user", "collapse", "steps", "reason"],
    )
    misses = {user: np.arange(steps) % user == 0 for user, (_, steps, _) in fates.items()}
    index = rp.index_ratings(made_up(0), CONFIG)
    config = rp.ReplayConfig(on_miss="consume")
    run = rp.Replay(config, rows, misses, {}, {}, index, "cosine", made_up(0))
    panel = at_landmark(run, 15)
    assert panel.units.tolist() == [2, 3, 4, 8]
    assert panel.is_event.tolist() == [True, False, False, True]
    assert panel.values[0].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8]  # noqa: PD011
    assert at_landmark(run, 14).units.tolist() == [1, 2, 3, 4, 5, 8]


def test_held_out_thresholds_on_noise_and_on_what_is_planted():
    noise = planted_panel(200, 400, 20, 0.0, 3)
    assert abs(held_out(noise, 0, n_halves=3)["difference"][0]) < 0.06
    assert held_out(noise, 0, n_halves=3)["controls"][0] == pytest.approx(0.07, abs=0.03)
    loud = held_out(planted_panel(50, 100, 20, 50.0, 3), 0, n_halves=3)
    # All fifty alarm: the exact interval is (0.025 ** (1 / 50), 1).
    assert loud["events"] == pytest.approx((1.0, 0.9289, 1.0), abs=1e-4)


def test_frozen_configurations_on_a_replay():
    run = rp.replay(rp.load_movielens_small(), rp.ReplayConfig())
    assert accepted_configurations(run) == 0
    assert label_leak(run.panel().last()).leak("ends")


def test_simulated_panels():
    for kind in ("luck", ""):
        with pytest.raises(ValueError, match="expected one of"):
            simulated(kind, 0)
    rebased = simulated("walks rebased to 100", 0)
    assert (rebased.values[:, 0] == 100).all()  # noqa: PD011
    counts = simulated("cumulative counts", 0).values  # noqa: PD011
    assert (np.diff(counts, axis=1) >= 0).all()
    assert Panel.from_series([[1.0], [2.0]], [True, False]).n_units == 2
    with pytest.raises(ValueError, match="at least one event"):
        planted_panel(0, 1, 40, 0.0, 1)
    raised = planted_panel(5, 5, 40, 100.0, 1).values  # noqa: PD011
    assert (raised[:5, -4:] > 50).all()
    assert (np.abs(raised[:5, :-4]) < 50).all()
    assert (np.abs(raised[5:]) < 50).all()
