import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.semantic_ids import SidCatalog
from lib.semantic_ids.catalogue import check_codes, prefix_ranks

TABLE = np.array([[0, 1, 2], [0, 1, 2], [0, 3, 1], [2, 0, 0]])


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[0, 1], [0]], "rows of equal length"),
        ([], "shape"),
        ([[]], "shape"),
        ([[0.5]], r"codes\[0, 0\] is 0.5"),
        ([[float("nan")]], r"codes\[0, 0\] is nan"),
        ([[0, 4]], r"codes\[0, 1\] is 4"),
        ([[0, -1]], r"codes\[0, 1\] is -1"),
        ([0, 1], "shape"),
    ],
)
def test_bad_codes_are_named(codes, message) -> None:
    with pytest.raises(ValueError, match=message):
        SidCatalog(codes, n_codes=4)


def test_other_arguments() -> None:
    with pytest.raises(ValueError, match="collisions is 'drop'"):
        SidCatalog(TABLE, 4, collisions="drop")
    with pytest.raises(ValueError, match="n_codes is 0"):
        check_codes([[0]], 0)
    with pytest.raises(ValueError, match=r"shape \(1, 2\), expected shape \(n_items, 3\)"):
        check_codes([[0, 0]], 4, n_levels=3)


def test_shared_ids_are_kept_or_refused() -> None:
    keep = SidCatalog(TABLE, 4)
    assert keep.items([0, 1, 2]).tolist() == [0, 1]
    assert keep.shared() == 1
    with pytest.raises(ValueError, match=r"1 items share an ID, first \(0, 1, 2\) of item 0"):
        SidCatalog(TABLE, 4, collisions="refuse")


@settings(max_examples=60)
@given(st.data())
def test_trie_agrees_with_a_search_through_all_items(data) -> None:
    n_codes, n_levels = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    n_items = data.draw(st.integers(1, 30))
    flat = data.draw(
        st.lists(
            st.integers(0, n_codes - 1), min_size=n_items * n_levels, max_size=n_items * n_levels
        )
    )
    codes = np.array(flat).reshape(n_items, n_levels)
    catalog = SidCatalog(codes, n_codes)
    length = data.draw(st.integers(0, n_levels))
    prefix = data.draw(st.lists(st.integers(0, n_codes), min_size=length, max_size=length))
    below = [i for i, row in enumerate(codes) if row[:length].tolist() == prefix]
    assert catalog.items(prefix).tolist() == below
    node = catalog.nodes(np.array([prefix], np.int64).reshape(1, -1))[0]
    assert (node >= 0) == bool(below)
    if below:
        assert catalog.level(length).items[node] == len(below)
    if length < n_levels:
        assert catalog.children(prefix).tolist() == sorted({int(codes[i, length]) for i in below})
    else:
        assert len(catalog.children(prefix)) == 0


def test_mask_of_several_nodes_and_of_nowhere() -> None:
    catalog = SidCatalog(TABLE, 4)
    nodes = catalog.nodes([[0], [2], [1]])
    mask = catalog.mask(2, nodes)
    assert [np.flatnonzero(row).tolist() for row in mask] == [[1, 3], [0], []]
    with pytest.raises(ValueError, match="length is 4"):
        catalog.level(4)


def test_ranks_are_places_among_the_distinct_prefixes_of_their_length() -> None:
    """Eight levels of 256 codes and code books of 300 are as good as any."""
    rng = np.random.default_rng(0)
    for n_codes, shape in ((256, (50, 8)), (300, (200, 3)), (2, (40, 20))):
        codes = rng.integers(n_codes, size=shape)
        codes[: len(codes) // 2, :2] = codes[0, :2]
        ranks = prefix_ranks(codes)
        for length in range(1, shape[1] + 1):
            there = sorted({tuple(row) for row in codes[:, :length].tolist()})
            assert ranks[:, length - 1].tolist() == [
                there.index(tuple(row)) for row in codes[:, :length].tolist()
            ]
        catalog = SidCatalog(codes, n_codes)
        assert (catalog.nodes(codes) == ranks[:, -1]).all()
        assert (catalog.level(2).prefixes[ranks[:, 1]] == codes[:, :2]).all()


def test_the_trie_of_a_known_table() -> None:
    catalog = SidCatalog(TABLE[[3, 0, 2, 1]], 4)  # IDs 200, 012, 031, 012
    two = catalog.level(2)
    assert two.prefixes.tolist() == [[0, 1], [0, 3], [2, 0]]
    assert two.keys.tolist() == [1, 3, 4]  # parents 0, 0, 1, times four, plus the code
    assert two.items.tolist() == [2, 1, 1]
    assert two.first.tolist() == [0, 2, 3, 4]
    assert two.children.tolist() == [0, 1, 2, 3]
    assert two.by_leaf.tolist() == [1, 3, 2, 0]
    assert len(two) == 3
    assert catalog.level(0).children.tolist() == [0, 2]
    assert catalog.level(3).children.tolist() == []
    assert catalog.items([0]).tolist() == [1, 2, 3]
    assert catalog.items([]).tolist() == [0, 1, 2, 3]
    assert catalog.items([0, 2]).tolist() == []
    assert catalog.nodes([[0, 3, 1], [0, 3, 2], [0, 3, 9], [0, -1, 1]]).tolist() == [1, -1, -1, -1]


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.delete([1.9]),
        lambda c: c.items([0.5]),
        lambda c: c.nodes([[0.5]]),
        lambda c: c.children([np.nan]),
        lambda c: c.sid(1.5),
        lambda c: c.mask(1, [0.5]),
        lambda c: c.step(1, [0.125], [0]),
        lambda c: c.step(1, [0], [0.125]),
        lambda c: c.step(0, [0], [0]),
        lambda c: c.step(2, [99], [0]),
        lambda c: c.step(2, [-2], [0]),
        lambda c: c.step(1, [0, 0], [0]),
        lambda c: c.mask(0, [0]),
        lambda c: c.mask(2, [2]),
        lambda c: c.nodes([0, 1]),
        lambda c: c.nodes([[0, 1, 2, 0]]),
        lambda c: c.items([0, 1, 2, 0]),
        lambda c: c.level(-1),
        lambda c: c.insert([[0.5, 0, 0]]),
    ],
)
def test_what_is_not_whole_or_not_there_is_refused(call) -> None:
    catalog = SidCatalog(TABLE, 4)
    with pytest.raises(ValueError, match="expected"):
        call(catalog)
    assert len(catalog) == 4


def test_whole_floats_are_whole() -> None:
    catalog = SidCatalog(TABLE, 4)
    catalog.delete([1.0])
    assert catalog.alive.tolist() == [0, 2, 3]


def test_the_refused_item_is_named_by_its_number_after_a_deletion() -> None:
    catalog = SidCatalog([[0, 0], [1, 1], [2, 2]], 4, collisions="refuse")
    catalog.delete([0])
    with pytest.raises(ValueError, match=r"1 items share an ID, first \(2, 2\) of item 2;"):
        catalog.insert([[2, 2]])
    assert catalog.insert([[0, 0], [3, 3]]).tolist() == [3, 4]
    with pytest.raises(ValueError, match=r"2 items share an ID, first \(1, 1\) of item 1;"):
        catalog.insert([[1, 1], [1, 1]])


def test_insert_and_delete_change_the_trie_and_nothing_else() -> None:
    catalog = SidCatalog(TABLE, 4)
    before = catalog.copy()
    assert catalog.insert([[1, 1, 1]]).tolist() == [4]
    catalog.delete([0])
    assert catalog.items([0, 1, 2]).tolist() == [1]
    assert catalog.children([]).tolist() == [0, 1, 2]
    assert len(catalog) == 4
    assert catalog.sid(4) == (1, 1, 1)
    # The numbers of the others stay, and a copy does not see the change.
    assert catalog.items([2, 0, 0]).tolist() == [3]
    assert len(before) == 4
    assert before.items([0, 1, 2]).tolist() == [0, 1]
    with pytest.raises(ValueError, match="item 0 is not"):
        catalog.sid(0)


def test_a_deleted_number_is_not_given_again() -> None:
    catalog = SidCatalog(TABLE, 4)
    catalog.delete([3])
    new = catalog.insert([[0, 1, 2], [3, 3, 3]])
    assert new.tolist() == [4, 5]
    assert catalog.alive.tolist() == [0, 1, 2, 4, 5]
    assert catalog.items([0, 1, 2]).tolist() == [0, 1, 4]
    assert catalog.sid(5) == (3, 3, 3)


@pytest.mark.parametrize(
    ("items", "message"),
    [([9], "item 9"), ([-1], "item -1"), ([0, 0], "twice"), ([0, 1, 2, 3], "no item")],
)
def test_a_refused_change_changes_nothing(items, message) -> None:
    catalog = SidCatalog(TABLE, 4)
    with pytest.raises(ValueError, match=message):
        catalog.delete(items)
    with pytest.raises(ValueError, match=r"codes\[0, 2\] is 7"):
        catalog.insert([[0, 0, 7]])
    strict = SidCatalog(TABLE[1:], 4, collisions="refuse")
    with pytest.raises(ValueError, match="share an ID"):
        strict.insert([[2, 0, 0]])
    assert len(catalog) == 4


def test_codes_cannot_be_changed_behind_the_catalogues_back() -> None:
    catalog = SidCatalog(TABLE, 4)
    with pytest.raises(ValueError, match="read-only"):
        catalog.codes[0, 0] = 1
    assert repr(catalog) == ("SidCatalog(4 items, 3 levels of 4 codes, collisions='keep')")
