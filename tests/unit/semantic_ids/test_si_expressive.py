import numpy as np
import pytest
import torch

from lib.semantic_ids.catalogue import prefix_ranks
from lib.semantic_ids.study import expressive
from lib.semantic_ids.study.expressive import additive, all_prefixes, boolean_maps


def test_two_of_the_sixteen_boolean_maps_are_out_of_reach() -> None:
    square = all_prefixes(2, 2)
    failing = [n for n, v in boolean_maps() if not additive(square, v, n_codes=2).feasible]
    assert failing == ["0110", "1001"]


def test_found_terms_do_represent_the_map_and_certificates_cancel() -> None:
    square = all_prefixes(3, 2)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(30):
        nexts = rng.integers(3, size=9)
        answer = additive(square, nexts, n_codes=3)
        seen.add(answer.feasible)
        if answer.feasible:
            logits = sum(answer.weights[i, square[:, i]] for i in range(2))
            assert (logits.argmax(axis=1) == nexts).all()
            assert answer.certificate is None
        else:
            assert sum(multiple for _, multiple in answer.certificate) > 0
            assert answer.weights is None
    assert seen == {True, False}


def test_rows_represent_whatever_there_is() -> None:
    table = all_prefixes(4, 2)
    rows = prefix_ranks(table)[:, -1]
    rng = np.random.default_rng(0)
    for _ in range(20):
        nexts = rng.integers(4, size=16)
        assert expressive.represented_by_rows(rows, nexts, n_codes=4)
    assert not expressive.represented_by_rows(rows // 2, nexts, n_codes=4)


def test_sizes_by_hand() -> None:
    assert expressive.encoder_parameters(orders=1, heads=2, rows=3, width=4) == 12
    with pytest.raises(ValueError, match="multiple of 3"):
        expressive.encoder_parameters(orders=1, heads=3, rows=3, width=4)
    with pytest.raises(ValueError, match="active is 3"):
        expressive.projection_share(width=1, model_width=1, model_parameters=1, levels=2, active=3)


@pytest.mark.parametrize(
    ("prefixes", "nexts", "message"),
    [
        ([[0, 1], [0, 1]], [0, 1], "twice"),
        ([[0, 1]], [0, 1], r"nexts has shape \(2,\)"),
        ([[0, 1]], [2], r"nexts\[0\] is 2"),
        ([[0, 2]], [0], r"prefixes\[0, 1\] is 2"),
    ],
)
def test_bad_maps_are_named(prefixes, nexts, message) -> None:
    with pytest.raises(ValueError, match=message):
        additive(prefixes, nexts, n_codes=2)
    with pytest.raises(ValueError, match="n_codes is 1"):
        additive([[0]], [0], n_codes=1)
    with pytest.raises(ValueError, match="expected a whole number at least"):
        all_prefixes(0, 1)


def test_what_dependent_rows_cannot_be_taught() -> None:
    """Two heads of two rows: exclusive or of the rows is no sum of terms, so a classifier with a
    linear reading stays at log 2 where the count table has 0."""
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    nexts = np.array([0, 1, 1, 0])
    assert not additive(rows, nexts, n_codes=2).feasible
    table = torch.nn.Embedding(4, 8)
    reading = torch.nn.Linear(16, 2)
    steps = torch.optim.Adam([*table.parameters(), *reading.parameters()], lr=0.05)
    for _ in range(300):
        memory = table(torch.from_numpy(rows) + torch.tensor([0, 2])).flatten(1)
        loss = torch.nn.functional.cross_entropy(reading(memory), torch.from_numpy(nexts))
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert loss.item() == pytest.approx(np.log(2), abs=1e-3)
    # One more head that tells them apart, and every map is a sum.
    own = np.column_stack([rows, [0, 1, 2, 0]])
    assert all(additive(own, map_, n_codes=3).feasible for _, map_ in boolean_maps())
