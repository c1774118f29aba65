"""The text: verified, plain, and the same windows for everyone."""

import io
import pickle

import numpy as np
import pytest

from lib.compute_governance.study import text
from lib.compute_governance.study.text import (
    ALPHABET,
    Corpus,
    Shards,
    manual_pages,
    read_corpus,
    sort_pieces,
    tokens_of,
)
from lib.core import data


def test_manual_pages_are_english_and_parts_are_apart():
    corpus = manual_pages()
    assert len(corpus.train) > 2_000_000
    assert len(corpus.held_out) > 200_000
    words = "".join(ALPHABET[token] for token in corpus.train[:200_000]).split()
    assert words.count("the") / len(words) > 0.03


def test_windows_depend_on_seed_and_step_alone():
    corpus = manual_pages(16)
    first = corpus.draw(3, 7, 12)
    assert first.shape == (12, 17)
    assert first.dtype == np.int64
    assert np.array_equal(first, corpus.draw(3, 7, 12))
    assert not np.array_equal(first, corpus.draw(3, 8, 12))
    assert not np.array_equal(first, corpus.draw(4, 7, 12))
    assert np.array_equal(corpus.validation(), corpus.validation())


def test_a_text_file_and_the_opt_in(tmp_path):
    file = tmp_path / "small.txt"
    file.write_text("To be, or not to be – that is the question.\n" * 20, encoding="utf-8")
    corpus = read_corpus(file, 8)
    assert corpus.name == "small"
    assert len(corpus.train) + len(corpus.held_out) == len(tokens_of(file.read_text("utf-8")))
    assert len(read_corpus(data.path("tinyshakespeare")).train) > 1_000_000


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no character of the alphabet"):
        tokens_of("–é")
    good = np.zeros(100, np.uint8)
    with pytest.raises(ValueError, match="context is 1"):
        Corpus("x", good, good, 1)
    with pytest.raises(ValueError, match="longer than a window of 33"):
        Corpus("x", good[:33], good)
    with pytest.raises(ValueError, match="uint8 vector"):
        Corpus("x", good.astype(int), good)
    with pytest.raises(ValueError, match="token 200 is not below 96"):
        Corpus("x", good, good + np.uint8(200))


def test_a_pickle_that_names_a_class_is_refused():
    class Evil:
        def __reduce__(self):
            return (print, ("hello",))

    with pytest.raises(pickle.UnpicklingError, match="not plain data"):
        text._Plain(io.BytesIO(pickle.dumps({"a": Evil()}))).load()


def test_shards_are_apart_and_together_the_whole():
    tokens = np.repeat(np.arange(4, dtype=np.uint8), 100)
    shards = Shards(Corpus("x", tokens, tokens, 8), 4)
    batch = shards.draw(1, 2, 12)
    assert batch.shape == (12, 9)
    assert [set(batch[3 * k : 3 * k + 3].reshape(-1).tolist()) for k in range(4)] == [
        {0}, {1}, {2}, {3},
    ]  # fmt: skip
    assert np.array_equal(batch, shards.draw(1, 2, 12))
    varied = Shards(Corpus("x", np.arange(400, dtype=np.int64).astype(np.uint8) % 90, tokens, 8), 4)
    assert not np.array_equal(varied.draw(1, 2, 12), varied.draw(1, 3, 12))
    assert np.array_equal(shards.validation(), shards.corpus.validation())
    with pytest.raises(ValueError, match="size is 10, expected a multiple of 4"):
        shards.draw(1, 2, 10)


def test_pieces_are_sorted_by_kind():
    lower = np.full(30, ALPHABET.index("q"), np.uint8)
    digits = np.full(20, ALPHABET.index("7"), np.uint8)
    mixed = np.concatenate([lower, digits, np.zeros(5, np.uint8)])
    found = sort_pieces(Corpus("x", mixed, mixed, 4), 10).train
    assert len(found) == 50
    assert (found[:20] == ALPHABET.index("7")).all()
    assert (found[20:] == ALPHABET.index("q")).all()


def test_windows_end_where_the_text_does():
    tokens = np.arange(20, dtype=np.uint8)
    corpus = Corpus("x", tokens, tokens, 4)
    last = corpus.validation()
    assert last[0].tolist() == [0, 1, 2, 3, 4]
    assert last[-1].tolist() == [15, 16, 17, 18, 19]
    assert len(last) == 15
    assert max(corpus.draw(0, step, 50).max() for step in range(5)) <= 19
