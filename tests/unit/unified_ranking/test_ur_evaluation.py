"""Metrics against all orders that scores allow."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.unified_ranking.evaluation import hit_at, recall_at, slate_auc


def orders(scores):
    """Return all orders, best first, that put no item behind a worse one."""
    places = range(len(scores))
    return [
        order
        for order in itertools.permutations(places)
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=5),
    st.integers(1, 6),
)
@settings(max_examples=80)
def test_ties_count_as_the_mean_over_all_orders(items, at):
    scores, labels = ([one[i] for one in items] for i in (0, 1))
    found = orders(scores)
    hit, auc = hit_at([scores], [labels], at=at)[0], slate_auc([scores], [labels])[0]
    if len(set(labels)) == 1:
        assert np.isnan(hit)
        assert np.isnan(auc)
        return
    hits = [any(labels[i] for i in order[:at]) for order in found]
    assert hit == pytest.approx(np.mean(hits))
    right = []
    for order in found:
        place = {item: n for n, item in enumerate(order)}
        pairs = [(a, b) for a in place for b in place if labels[a] and not labels[b]]
        right.append(np.mean([place[a] < place[b] for a, b in pairs]))
    assert auc == pytest.approx(np.mean(right))


@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(1, 4), st.data())
@settings(max_examples=60)
def test_recall_is_the_mean_over_all_orders_of_what_is_left(scores, at, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    out = [data.draw(st.booleans()) and i != target for i in range(len(scores))]
    left = [i for i in range(len(scores)) if not out[i]]
    found = orders([scores[i] for i in left])
    wanted = np.mean([target in [left[i] for i in order[:at]] for order in found])
    assert recall_at([scores], [target], np.array([out]), at=at)[0] == pytest.approx(wanted)


def test_padding_is_no_item():
    scores, labels = [[5.0, 9.0, 1.0, 7.0]], [[1, 0, 0, 1]]
    shown = np.array([[True, False, True, False]])
    assert hit_at(scores, labels, shown, at=1).tolist() == [1]
    assert slate_auc(scores, labels, shown).tolist() == [1]
    assert np.isnan(hit_at(scores, labels, [[1, 0, 0, 1]])).all()  # what is left is of one class
    assert hit_at([[5, 9, 1]], [[1, 0, 0]], at=1).tolist() == [0]


def test_equal_scores_get_what_chance_gets():
    labels = np.eye(16)[:4] + np.eye(16, k=1)[:4]
    alike = np.zeros((4, 16))
    assert hit_at(alike, labels, at=3) == pytest.approx(1 - 14 * 13 * 12 / (16 * 15 * 14))
    assert slate_auc(alike, labels).tolist() == [0.5] * 4
    assert recall_at(alike, np.arange(4), np.zeros((4, 16)), at=10).tolist() == [10 / 16] * 4


@pytest.mark.parametrize(
    ("door", "says"),
    [
        (lambda: hit_at([[1, 2]], [[1, 2]]), "labels holds 2"),
        (lambda: hit_at([[1, np.nan]], [[1, 0]]), "is nan"),
        (lambda: hit_at([[1, 2]], [[1, 0]], [[1]]), "shown has shape"),
        (lambda: hit_at([[1, 2]], [[1, 0]], at=0), "at is 0"),
        (lambda: slate_auc([1, 2], [1, 0]), "scores has shape"),
        (lambda: recall_at([[1, 2]], [2], [[0, 0]]), r"targets\[0\] is 2"),
        (lambda: recall_at([[1, 2]], [1], [[0, 1]]), "exclude holds the target of row 0"),
        (lambda: recall_at([[1, 2]], [1], [[0]]), "exclude has shape"),
        (lambda: recall_at([[1, 2]], [1], [[0, 0]], at=1.5), "at is 1.5"),
    ],
)
def test_odd_scores_are_refused(door, says):
    with pytest.raises(ValueError, match=says):
        door()
