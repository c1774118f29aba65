import html
import json

import numpy as np
import pytest

from lib.core import data
from lib.semantic_ids import datasets
from lib.semantic_ids.datasets import Examples, SidData, join_windows, leave_one_out

# name: items, users, interactions, distinct prefixes, items beyond the first of their ID
SIZES = {
    "beauty_rqkmeans": (12101, 22363, 198502, (256, 3692, 7840, 12101), 0),
    "beauty_rqvae": (12101, 22363, 198502, (256, 7373, 11412, 12101), 0),
    "beauty_letter": (12101, 0, 0, (197, 7931, 11696, 12088), 13),
    "instruments": (9922, 24772, 206153, (162, 6996, 9172, 9897), 25),
    "games": (16859, 50546, 452989, (208, 10941, 15692, 16717), 142),
    "industrial": (3686, 3285, 22743, (48, 2295, 3670), 16),
}


def test_every_catalogue_is_tested() -> None:
    assert set(SIZES) == set(datasets.NAMES)


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name, catalogues) -> None:
    found = catalogues(name)
    items, users, interactions, prefixes, shared = SIZES[name]
    assert (found.n_items, len(found.sequences), found.n_interactions) == (
        items,
        users,
        interactions,
    )
    catalog = found.catalog()
    lengths = range(1, found.n_levels + 1)
    assert tuple(len(catalog.level(n).prefixes) for n in lengths) == prefixes
    assert catalog.shared() == shared


@pytest.mark.parametrize("name", ["beauty_rqkmeans", "industrial"])
def test_nothing_that_is_predicted_is_in_train(name, catalogues) -> None:
    found = catalogues(name)
    split = found.split()
    total = sum(map(len, split.train)) + len(split.valid) + len(split.test)
    assert total == found.n_interactions
    for part in (split.valid, split.test):
        for user, history, target in zip(part.users, part.histories, part.targets, strict=True):
            sequence = found.sequences[user]
            # The target comes right after its history, and the history ends after train does.
            ends = [
                i
                for i in range(len(split.train[user]), len(sequence))
                if sequence[i] == target
                and sequence[max(0, i - len(history)) : i].tolist() == history.tolist()
            ]
            assert ends, (name, user)


def test_industrial_texts_belong_to_their_items(catalogues) -> None:
    found = catalogues("industrial")
    assert found.texts[1].startswith("Stanley TRA708T Sharpshooter")
    assert "rebuilt" in found.note
    file = data.path("sid_minionerec", "Industrial_and_Scientific_5_2016-10-2018-11.txt")
    lines = file.read_text(encoding="utf-8").splitlines()
    titles = {int(line.rsplit("\t", 1)[1]): line.split("\t")[1] for line in lines}
    same = [found.texts[item] == html.unescape(title).strip() for item, title in titles.items()]
    assert sum(same) / len(same) > 0.99


def test_leave_one_out() -> None:
    split = leave_one_out([np.array([4, 5, 6, 7]), np.array([1, 2, 3])])
    assert [s.tolist() for s in split.train] == [[4, 5], [1]]
    assert split.valid.histories[1].tolist() == [1]
    assert split.test.take(np.array([1])).targets.tolist() == [3]
    with pytest.raises(ValueError, match="no sequences"):
        leave_one_out([])
    with pytest.raises(ValueError, match="has 2 items"):
        leave_one_out([np.array([1, 2])])


def test_windows_that_do_not_fit_are_refused() -> None:
    assert join_windows([([1], 2), ([1, 2], 3), ([2, 3], 4)], width=2) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"\[9\] does not continue"):
        join_windows([([1], 2), ([9], 3)], width=2)
    with pytest.raises(ValueError, match="rows is empty"):
        join_windows([], width=2)


def test_bad_data_are_named() -> None:
    codes = np.array([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"sequences\[1\] is 2"):
        SidData("x", codes, 4, (np.array([0, 2]),))
    with pytest.raises(ValueError, match="sequence 0 is empty"):
        SidData("x", codes, 4, (np.array([], np.int64),))
    with pytest.raises(ValueError, match="1 texts for 2 items"):
        SidData("x", codes, 4, (), ("one",))
    with pytest.raises(ValueError, match="users 1, histories 0, targets 1"):
        datasets.Examples(np.array([0]), (), np.array([0]))
    with pytest.raises(ValueError, match="name is 'beauty', expected one of: beauty_rqkmeans"):
        datasets.load("beauty")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"0": [1, 2], "2": [0, 1]}, "keys are not 0 to 1"),
        ({"0": ["<a_1>", "<c_2>"]}, "'<c_2>' at level 2"),
        ({"0": ["<a_1>", "b_2"]}, "'b_2' at level 2"),
        ({"0": ["<a_999>"]}, r"codes\[0, 0\] is 999"),
        ({}, "an entry for each number"),
        ([1], "an entry for each number"),
    ],
)
def test_altered_files_are_refused(tmp_path, content, message) -> None:
    file = tmp_path / "index.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        datasets._index(file)


@pytest.mark.parametrize("bad", [[0.7, 1.0, 2.0], [0, np.nan, 1], [0, -1, 1], [[0, 1, 1]]])
def test_what_is_no_item_number_is_refused_at_every_door(bad) -> None:
    one, codes = np.array(bad), np.array([[0, 1], [1, 0], [1, 1]])
    with pytest.raises(ValueError, match="sequences"):
        leave_one_out([one])
    with pytest.raises(ValueError, match="sequences"):
        SidData("own", codes, 2, (one,))
    with pytest.raises(ValueError, match="histories"):
        Examples(np.arange(1), (one,), np.array([0]))


def test_whole_numbers_as_floats_or_lists_become_whole() -> None:
    data = SidData(
        "own", np.array([[0.0, 1.0], [1.0, 0.0]]), 2, ([0, 1, 0], np.array([1.0, 0.0, 0.0]))
    )
    assert data.codes.dtype == data.sequences[1].dtype == np.int64
    assert [one.tolist() for one in data.sequences] == [[0, 1, 0], [1, 0, 0]]
