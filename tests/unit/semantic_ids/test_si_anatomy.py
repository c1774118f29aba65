from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.semantic_ids import anatomy
from lib.semantic_ids.study import checks
from lib.semantic_ids.study.interactive import node_table, tree_explorer


def test_entropy_of_known_trees() -> None:
    full = np.array([[a, b] for a in range(4) for b in range(4)])
    assert anatomy.next_code_entropy(full, 4, np.ones(16)).tolist() == [2, 2]
    chain = np.array([[0, 3], [1, 3]])
    assert anatomy.next_code_entropy(chain, 4, [3, 3]).tolist() == [1, 0]
    assert anatomy.determinism(chain, 4, [3, 1]).tolist() == [0, 1]
    assert anatomy.contexts(full, 4).tolist() == [1, 4]
    assert anatomy.code_use(full, 4).tolist() == [1, 1]
    with pytest.raises(ValueError, match="weights has shape"):
        anatomy.next_code_entropy(chain, 4, [1])
    with pytest.raises(ValueError, match="weights are all 0"):
        anatomy.determinism(chain, 4, [0, 0])
    with pytest.raises(ValueError, match="n_codes is 1"):
        anatomy.code_use(np.zeros((1, 1), int), 1)


@settings(max_examples=40)
@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_entropies_add_up_to_that_of_the_ids(n_codes, n_levels, seed) -> None:
    codes = np.random.default_rng(seed).integers(n_codes, size=(40, n_levels))
    total = anatomy.next_code_entropy(codes, n_codes, np.ones(40)).sum()
    _, count = np.unique(codes, axis=0, return_counts=True)
    share = count / 40
    assert total == pytest.approx(-(share * np.log2(share)).sum())


def test_scrambled_tree_has_nothing_at_depth(made_up) -> None:
    data = made_up(n_last=8, n_users=400)
    real = anatomy.count_accuracy(data).mean(axis=0)
    broken = checks.scrambled(data).mean(axis=0)
    assert real[1] > broken[1] + 0.15
    best = anatomy.count_accuracy(data, fitted_on="test").mean(axis=0)
    assert (best >= real).all()
    with pytest.raises(ValueError, match="fitted_on is 'valid'"):
        anatomy.count_accuracy(data, fitted_on="valid")
    table = anatomy.summary(data)
    assert table["prefixes"].tolist() == [8, 64, 512]


def test_interval_of_a_share() -> None:
    values = np.repeat([0.0, 1.0], 500)
    ((low, high),) = checks.user_interval(values)
    assert low == pytest.approx(0.469, abs=0.006)
    assert high == pytest.approx(0.531, abs=0.006)
    with pytest.raises(ValueError, match="at least 2"):
        checks.user_interval([1.0])


def test_hits_and_misses_have_intervals_too() -> None:
    hits = np.array([[True, False], [False, False], [True, False], [True, False]])
    assert checks.user_interval(hits) == checks.user_interval(hits.astype(float))
    assert checks.user_interval(hits)[1] == (0.0, 0.0)


def test_node_table_counts_what_passes_through() -> None:
    targets = np.array([[0, 1, 0], [0, 1, 1], [0, 2, 0], [3, 1, 1]])
    hits = {"a": np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 0, 0]], bool)}
    nodes = node_table(targets, hits, n_codes=4)
    assert nodes["prefix"].tolist() == ["0", "3", "0-1", "0-2", "3-1"]
    assert nodes["items"].tolist() == [3, 1, 2, 1, 1]
    assert nodes["a"].round(3).tolist() == [0.667, 0, 0.5, 1, 0]
    assert nodes["right"].round(3).tolist() == [1, 1, 0.667, 1, 1]
    assert node_table(targets, hits, n_codes=4, n_first=1)["first"].unique().tolist() == [0]
    chart = tree_explorer(targets, hits, n_codes=4, min_items=1).to_dict()
    assert "a" in str(chart["params"])
    assert "no names of items" in chart["title"]
    named = {"hits": hits, "n_codes": 4, "names": ["B", "A", "B", "C"]}
    assert node_table(targets, **named)["names"].tolist() == ["B; A", "C", "B; A", "B", "C"]
    chart = tree_explorer(targets, **named, min_items=1).to_dict()
    chosen = next(one for one in chart["params"] if one["name"] == "subtree")
    assert chosen["bind"]["input"] == "select", "by keyboard as well"
    assert chosen["bind"]["labels"] == ["0: B; A", "3: C"]
    assert chosen["value"] == [{"f": 0}]
    assert chosen["select"]["on"] == "click"
    assert "such as" in str(chart)
    assert not chart.get("title")
    with pytest.raises(ValueError, match="1 names for 4 test items"):
        node_table(targets, hits, n_codes=4, names=["A"])
    for wrong, message in (({}, "no hits"), ({"a": hits["a"][:2]}, "hits have shape")):
        with pytest.raises(ValueError, match=message):
            node_table(targets, wrong, n_codes=4)
    with pytest.raises(ValueError, match="n_first is 0 and"):
        node_table(targets, hits, n_codes=4, n_first=0)


def test_intervals_of_two_users_and_of_default_seeds() -> None:
    assert checks.user_interval([0.0, 1.0]) == [(0.0, 1.0)]
    values = np.arange(9.0)
    kinds = [checks.user_interval(values, **options) for options in ({}, {"seed": 0}, {"seed": 1})]
    assert kinds[0] == kinds[1]
    assert kinds[0] != kinds[2]


def test_codes_dealt_out_anew_keep_each_levels_codes() -> None:
    codes = np.random.default_rng(0).integers(9, size=(40, 3))
    one, same, other = (checks.dealt(codes, seed) for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.array_equal(np.sort(one, axis=0), np.sort(codes, axis=0))
    assert not np.array_equal(one, codes)


@pytest.mark.parametrize(("name", "number"), [("beauty_rqkmeans", True), ("games", False)])
def test_a_last_level_that_is_a_number_may_be_drawn_anew(catalogues, name, number) -> None:
    """Without replacement below each prefix: counts stay as good, and bits shared stay none."""
    data = catalogues(name)
    bits, low, high = checks.tied(data.codes, data.n_codes)
    assert (low < 0 < high) == number
    before = anatomy.count_accuracy(data)[:, 3].mean()
    rng = np.random.default_rng(0)
    codes = data.codes.copy()
    _, node, size = np.unique(codes[:, :3], axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(node.ravel(), kind="stable")
    codes[order, 3] = np.concatenate([rng.choice(256, n, replace=False) for n in size])
    after = anatomy.count_accuracy(replace(data, codes=codes))[:, 3].mean()
    assert after == pytest.approx(before, abs=0.005 if number else 0.05)
    assert abs(checks.tied(codes, data.n_codes)[0]) < 0.03 < (1 if number else bits)
