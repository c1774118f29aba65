"""The text: verified, plain, and the same windows for everyone."""

import io
import pickle

import numpy as np
import pytest

from lib.compute_governance import text
from lib.compute_governance.text import ALPHABET, Corpus, manual_pages, read_corpus, tokens_of
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
