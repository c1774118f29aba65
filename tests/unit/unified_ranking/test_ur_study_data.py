"""The chapter's data: facts of the files, slates, the split, vectors, and a simulated world."""

import numpy as np
import pytest

from lib.core import data as registry
from lib.unified_ranking.examples import join, sessions
from lib.unified_ranking.study import data
from lib.unified_ranking.study.worlds import SHARPNESS, simulated


@pytest.fixture(scope="module")
def films():
    registry.path("ml_100k", "ml-100k.inter")
    return data.films()


def test_facts_of_ml_100k(films):
    log = films.log
    assert (len(log), len(np.unique(log.users)), len(films.texts)) == (100_000, 943, 1682)
    assert films.texts[0] == "Toy Story (1995). Animation, Children's, Comedy"
    assert sorted(np.unique(films.stars)) == [1, 2, 3, 4, 5]
    assert films.stars.mean() == pytest.approx(3.52986)
    # Saves, likes and hides follow from the stars.
    np.testing.assert_array_equal(log.actions[:, 0] == 1, films.stars == 5)
    np.testing.assert_array_equal(log.actions[:, 1] == 1, films.stars >= 4)
    np.testing.assert_array_equal(log.actions[:, 2] == 1, films.stars <= 2)


def test_no_second_holds_a_page_of_sixteen(films):
    size = np.bincount(sessions(films.log.users, films.log.times, 0))
    assert ((size >= 4).sum(), size.max()) == (6240, 10)
    for gap, count in ((30, 339), (60, 1424)):
        size = np.bincount(sessions(films.log.users, films.log.times, gap))
        assert (size >= 16).sum() == count


def test_slates_are_sixteen_ratings_of_a_session_in_a_row(films):
    log = films.log
    assert log.slates.max() + 1 == 2711
    size = np.bincount(log.slates[log.slates >= 0])
    assert set(size) == {16}
    session = sessions(log.users, log.times, data.GAP)
    for slate in (0, 1000, 2710):
        rows = np.flatnonzero(log.slates == slate)
        np.testing.assert_array_equal(np.diff(rows), 1)
        assert len(set(session[rows])) == 1


def test_pages_leave_the_rest_of_a_session_and_keep_the_order_of_rows():
    users = [2, 1, 1, 1, 1, 1, 1, 2]
    times = [0, 50, 0, 1, 2, 51, 52, 1]
    found = data.pages(users, times, gap=5, size=2)
    # User 1: two of three in his first session, then two of three in his second.
    assert found.tolist() == [2, 1, 0, 0, -1, 1, -1, 2]


@pytest.mark.parametrize("size", [0, 1.5])
def test_pages_of_no_size_are_refused(size):
    with pytest.raises(ValueError, match="size"):
        data.pages([1], [0], size=size)


def test_the_split_is_one_moment_and_a_past_is_strictly_earlier(films):
    train, test, moment = data.split(films.log, 64)
    assert (len(train), len(test), len(np.unique(test.users))) == (2069, 587, 146)
    assert train.end.max() < moment <= test.start.min()
    for one in (train, test):
        past = [one.past.times[b - 1] for b in one.last[one.last > one.first]]
        assert (np.array(past) < one.start[one.last > one.first]).all()
        assert (one.last - one.first).max() == 64
    assert moment == pytest.approx(np.quantile(films.log.times, 0.8))
    # Of slates without engagement a tenth is kept in training, and all in the test.
    assert test.engaged(data.ENGAGED).mean() < train.engaged(data.ENGAGED).mean()


def test_the_smaller_set_goes_through_the_same_code():
    registry.path("movielens")
    films = data.films("movielens")
    assert (len(films.log), len(films.texts)) == (100_004, 9066)
    assert films.texts[0] == "Toy Story (1995). Adventure, Animation, Children, Comedy, Fantasy"
    assert sum(one.startswith("Untitled. ") for one in films.texts) == 5
    assert films.stars.min() == 0.5
    with pytest.raises(ValueError, match="ml_100k"):
        data.films("ml100k")


def test_real_slates_of_a_newspaper_go_through_the_loader():
    registry.path("ebnerd_fixture", "behaviors.parquet")
    past, shown = data.news()
    examples = join(past, shown, 64)
    assert len(examples) == 1046
    assert len(np.unique(examples.users)) == 38
    assert (examples.sizes.min(), examples.sizes.max()) == (4, 81)
    assert examples.sizes.mean() == pytest.approx(10.4, abs=0.05)
    clicks = [actions.sum() for _, actions in map(examples.slate, range(len(examples)))]
    assert min(clicks) >= 1
    assert shown.actions.sum() == 1047
    # A second of 2023, not a part of one.
    assert 1.67e9 < shown.times.min() < shown.times.max() < 1.70e9


def test_vectors_are_kept_and_come_out_the_same(tmp_path, monkeypatch):
    registry.path("minilm", "model.safetensors")
    monkeypatch.setattr(data, "CACHE", tmp_path)
    texts = ["a film of the sea", "a film of the ocean", "tax law"]
    first = data.embed(texts)
    [file] = (tmp_path / "embeddings").iterdir()
    again = data.embed(texts)
    np.testing.assert_array_equal(first, again)
    assert np.load(file).dtype == np.int16
    assert first.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=0.002)
    assert first[0] @ first[1] > 0.6 > 0.3 > first[0] @ first[2]
    for bad in ([], [" "]):
        with pytest.raises(ValueError, match="texts"):
            data.embed(bad)


def test_a_simulated_world_is_what_it_says():
    world = simulated(0.05, seed=3, n_users=200, n_test=100)
    assert (len(world.train), len(world.test)) == (380, 100)
    recorded = world.train.batch(np.arange(380)).where == 1
    assert int(recorded.sum()) == 190  # half of the examples, ten slates over and over
    assert len(np.unique(world.train.users[recorded.numpy()])) == 10
    assert not set(world.train.users) & set(world.test.users)
    # Saves follow the truth, with the odds that are stated.
    saved = np.stack([world.test.slate(one)[1][:, 0] for one in range(100)])
    expected = 1 / (1 + np.exp(-SHARPNESS * world.truth))
    assert saved.mean() == pytest.approx(expected.mean(), abs=0.03)
    assert np.corrcoef(saved.ravel(), expected.ravel())[0, 1] > 0.5
    # Nobody can read the labels off the past: it holds choices, and slates were drawn blindly.
    assert (world.train.past.actions == 1).all()


@pytest.mark.parametrize(("regard", "least", "most"), [(True, 0.3, 1.0), (False, -0.15, 0.15)])
def test_pasts_hold_what_is_preferred_unless_they_are_drawn_blindly(regard, least, most):
    world = simulated(1.0, seed=1, n_users=20, n_test=200, regard=regard)
    past, mean = world.test.past, []
    for one in range(200):
        rows = slice(world.test.first[one], world.test.last[one])
        liked = world.content[past.items[rows]].mean(0)
        items, _ = world.test.slate(one)
        mean.append(np.corrcoef(world.content[items] @ liked, world.truth[one])[0, 1])
    assert least < np.mean(mean) < most


@pytest.mark.parametrize("bad", [{"labelled": 0}, {"labelled": 2}, {"labelled": 1, "k": 500}])
def test_a_world_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match=r"labelled|k is"):
        simulated(**bad)
