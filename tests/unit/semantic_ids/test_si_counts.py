import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.semantic_ids import NGramCounts
from lib.semantic_ids.counts import item_counts


@settings(max_examples=60)
@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_table_agrees_with_plain_counting(n_codes, n_levels, seed) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(n_codes, size=(12, n_levels))
    weights = rng.integers(0, 5, size=12)
    weights[0] += 1
    table = NGramCounts(codes, n_codes, weights=weights, alpha=0.5)
    for length in range(n_levels):
        level = np.zeros(n_codes)
        for row, weight in zip(codes, weights, strict=True):
            level[row[length]] += weight
        back = (level + 1) / (level.sum() + n_codes)
        for prefix in itertools.product(range(n_codes), repeat=length):
            after = np.zeros(n_codes)
            for row, weight in zip(codes, weights, strict=True):
                if tuple(row[:length]) == prefix:
                    after[row[length]] += weight
            wanted = (after + 0.5 * back) / (after.sum() + 0.5)
            query = np.array([prefix], np.int64).reshape(1, length)
            found = table.probabilities(query)[0]
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
            assert found.sum() == pytest.approx(1)
            best = after.argmax() if after.any() else back.argmax()
            assert table.predict(query)[0] == best


def test_hits_and_likelihood_are_read_at_the_target() -> None:
    table = NGramCounts([[0, 1], [0, 2], [1, 2]], 3, weights=[5, 1, 2])
    assert table.hits([[0, 1], [0, 2], [1, 2]]).tolist() == [
        [True, True],
        [True, False],
        [False, True],
    ]
    assert table.accuracy([[0, 1], [0, 2]]).tolist() == [1, 0.5]


def test_only_train_is_counted() -> None:
    codes = [[0], [1]]
    table = NGramCounts.fit(codes, 2, [np.array([0, 0])])
    assert table.predict(np.zeros((1, 0), int)).tolist() == [0]
    assert item_counts([], 2).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"sequences\[1\] is 2"):
        item_counts([np.array([0, 2])], 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [0, 0]}, "nothing to count"),
        ({"weights": [1]}, r"shape \(1,\)"),
        ({"weights": [1, np.nan]}, "finite"),
        ({"weights": [1, -1]}, "at least 0"),
        ({"weights": [1, 2**53 + 2]}, "at most 9007199254740992"),
        ({"alpha": 0}, "alpha is 0"),
        ({"alpha": np.nan}, "alpha is nan"),
    ],
)
def test_bad_counts_are_named(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        NGramCounts([[0, 1], [1, 1]], 2, **({"weights": [1, 1]} | change))


def test_bad_prefixes_are_named() -> None:
    table = NGramCounts([[0, 1], [1, 1]], 2, weights=[1, 1])
    with pytest.raises(ValueError, match="expected"):
        table.predict([[0, 1]])
    with pytest.raises(ValueError, match="outside"):
        table.predict([[2]])
