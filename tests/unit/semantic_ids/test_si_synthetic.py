import numpy as np
import pytest

from lib.semantic_ids import anatomy
from lib.semantic_ids.study.synthetic import World, simulate


@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(n_prefixes=37, n_codes=16, n_levels=4, n_last=3),
        World(n_prefixes=5, n_codes=8, n_levels=2, n_last=8),
        World(n_prefixes=4096, n_codes=64, zipf=0),
    ],
)
def test_the_tree_has_as_many_prefixes_as_asked(world) -> None:
    data = simulate(world, seed=0)
    prefixes = anatomy.distinct_prefixes(data.codes, world.n_codes)
    assert prefixes[-2] == world.n_prefixes
    assert prefixes[-1] == world.n_items == data.n_items
    assert len(data.sequences) == world.n_users
    assert {len(one) for one in data.sequences} == {world.length}
    assert data.note.startswith("simulated")


def test_same_seed_same_world() -> None:
    one, two, other = (simulate(World(n_users=50), seed=seed) for seed in (1, 1, 2))
    assert (np.array(one.sequences) == np.array(two.sequences)).all()
    assert (np.array(one.sequences) != np.array(other.sequences)).any()


def test_a_prefix_says_nothing_where_it_is_shared() -> None:
    world = World(n_prefixes=256, n_codes=16, shared=True, n_users=20_000)
    data = simulate(world, seed=0)
    items = np.concatenate(data.sequences)
    codes = data.codes[items]
    for first in range(3):
        share = np.bincount(codes[codes[:, 0] == first, 1], minlength=16)
        whole = np.bincount(codes[:, 1], minlength=16)
        np.testing.assert_allclose(share / share.sum(), whole / whole.sum(), atol=0.02)


def test_taste_is_the_users_own() -> None:
    data = simulate(World(taste=1.0, n_users=200), seed=0)
    last = data.codes[np.array(data.sequences), -1]
    assert (last == last[:, :1]).all()
    assert len(np.unique(last[:, 0])) == 8


def test_users_stay() -> None:
    data = simulate(World(stay=1.0, n_users=200), seed=0)
    first = data.codes[np.array(data.sequences), 0]
    assert (first == first[:, :1]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_codes": 12}, "power of two"),
        ({"n_levels": 1}, "n_levels is 1"),
        ({"n_prefixes": 5000}, "n_prefixes is 5000"),
        ({"n_last": 0}, "n_last is 0"),
        ({"stay": 1.5}, "stay is 1.5"),
        ({"taste": float("nan")}, "taste is nan"),
        ({"length": 2}, "length is 2"),
    ],
)
def test_bad_worlds_are_named(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        World(**change)


def test_bad_seed() -> None:
    with pytest.raises(ValueError, match="seed is -1"):
        simulate(World(), seed=-1)
