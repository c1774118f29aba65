"""The search through all orders, and what the engine says beside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prov.model import ProvGeneration, ProvUsage
from rp_orders import MAX_ASSIGNMENTS, compare, has_order, random_document
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lib.robot_provenance.constraints import check


@pytest.mark.parametrize(
    ("n", "edges", "expected"),
    [
        (0, [], True),
        (1, [], True),
        (1, [(0, 0, False)], True),
        (1, [(0, 0, True)], False),
        (2, [(0, 1, True)], True),
        (2, [(0, 1, True), (0, 1, False)], True),
        (2, [(0, 1, False), (1, 0, False)], True),
        (2, [(0, 1, True), (1, 0, False)], False),
        (2, [(0, 1, True), (1, 0, True)], False),
        (3, [(0, 1, True), (1, 2, True)], True),
        (3, [(0, 1, True), (1, 2, True), (0, 2, True)], True),
        (3, [(0, 1, False), (1, 2, False), (2, 0, False)], True),
        (3, [(0, 1, False), (1, 2, False), (2, 0, True)], False),
        (4, [(0, 1, False), (1, 0, False), (1, 2, True), (2, 3, False)], True),
        (4, [(0, 1, False), (1, 0, False), (1, 2, True), (2, 3, False), (3, 0, False)], False),
    ],
)
def test_cases_by_hand(n: int, edges: list[tuple[int, int, bool]], expected: bool) -> None:
    source, target, strict = zip(*edges, strict=True) if edges else ((), (), ())
    assert has_order(n, source, target, strict) is expected


EDGES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=8)


@settings(max_examples=60)
@given(EDGES)
def test_an_order_exists_unless_a_strict_edge_lies_on_a_cycle(
    edges: list[tuple[int, int, bool]],
) -> None:
    a, b, strict = np.array(edges, int).reshape(-1, 3).T
    matrix = coo_matrix((np.ones(len(a)), (a, b)), shape=(5, 5))
    _, part = connected_components(matrix, directed=True, connection="strong")
    assert has_order(5, a, b, strict) == (not np.any((part[a] == part[b]) & (strict == 1)))


def test_too_many_assignments_are_refused_before_any_is_tried() -> None:
    assert 3**12 <= MAX_ASSIGNMENTS < 3**13
    message = rf"3\*\*13 assignments, expected at most {MAX_ASSIGNMENTS}"
    with pytest.raises(ValueError, match=message):
        has_order(13, [0, 1], [1, 2], [True, True])
    with pytest.raises(ValueError, match="expected at most"):
        has_order(10**6, [0], [1], [True])


def test_edges_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        has_order(2, [0, 1], [1], [False])


def test_engine_and_search_agree_and_the_control_does_not() -> None:
    found = compare(40, seed=1)
    assert found.shape == (40, 3)
    assert (found["engine"] == found["search"]).all()
    assert found["weak"].all()
    assert not found["search"].all(), "no document without an order: nothing was tried"


def test_the_seed_decides() -> None:
    assert compare(10, seed=4).equals(compare(10, seed=4))
    texts = [random_document(np.random.default_rng(s)).get_provn() for s in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("seed", range(60))
def test_communications_change_no_verdict(seed: int) -> None:
    """What inferences 5 and 6 would add, one round of each, is redundant (theory page)."""
    document = random_document(np.random.default_rng([seed, 5]))
    before = check(document).valid
    used = [r.formal_attributes for r in document.get_records(ProvUsage)]
    made = [r.formal_attributes for r in document.get_records(ProvGeneration)]
    pairs = {
        (user[0][1], maker[1][1]) for user in used for maker in made if user[1][1] == maker[0][1]
    }
    for i, (informed, informant) in enumerate(sorted(pairs, key=str)):
        document.wasInformedBy(informed, informant)  # inference 6
        document.wasGeneratedBy(f"ex:fresh{i}", informant)  # inference 5
        document.used(informed, f"ex:fresh{i}")
    assert check(document).valid is before
