import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.semantic_ids import PrefixHash, SidCatalog
from lib.semantic_ids.hashing import (
    confused,
    excess,
    expected_excess,
    expected_rows,
    prefix_rows,
    primes,
)

PROGRAM = """
import numpy as np
from lib.semantic_ids.hashing import PrefixHash
codes = np.arange(12).reshape(3, 4)
print(PrefixHash(4, 4, 4, 10007, seed=5).index(codes).tolist())
"""

hashes = st.builds(
    lambda n_levels, order, heads, size, kind, scheme: PrefixHash(
        n_levels, min(order, n_levels), heads, size, kind=kind, scheme=scheme
    ),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(2, 1000),
    st.sampled_from(["prefix", "suffix", "full"]),
    st.sampled_from(["mixed", "printed"]),
)


@settings(max_examples=60)
@given(hashes, st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_rows_are_in_range_and_absent_where_they_must_be(hashing, n_codes, seed) -> None:
    codes = np.random.default_rng(seed).integers(n_codes, size=(7, 2, hashing.n_levels))
    rows = hashing.index(codes)
    assert rows.shape == (7, 2, hashing.n_levels, hashing.n_slots, hashing.n_heads)
    assert rows.dtype == np.int64
    assert rows.max() < hashing.table_size
    for level in range(hashing.n_levels):
        present = 1 if hashing.kind == "full" else min(level + 1, hashing.max_order)
        assert (rows[..., level, :present, :] >= 0).all()
        assert (rows[..., level, present:, :] == -1).all()


@settings(max_examples=60)
@given(hashes, st.integers(0, 2**32 - 1), st.data())
def test_rows_of_a_level_depend_on_codes_up_to_it(hashing, seed, data) -> None:
    codes = np.random.default_rng(seed).integers(256, size=(5, hashing.n_levels))
    level = data.draw(st.integers(0, hashing.n_levels - 1))
    other = codes.copy()
    other[:, level + 1 :] += 1
    same = np.s_[:, : level + 1]
    assert (hashing.index(codes)[same] == hashing.index(other)[same]).all()
    # And an item's rows do not care who stands beside it.
    assert (hashing.index(codes)[2] == hashing.index(codes[2:3])[0]).all()


@settings(max_examples=60)
@given(hashes, st.integers(0, 2**32 - 1))
def test_rows_for_torch_are_the_same_rows_below_one_another(hashing, seed) -> None:
    codes = np.random.default_rng(seed).integers(256, size=(5, hashing.n_levels))
    start = np.arange(hashing.n_slots * hashing.n_heads).reshape(hashing.n_slots, -1)
    for length in range(1, hashing.n_levels + 1):
        found = hashing.rows(torch.from_numpy(codes[:, :length])).numpy()
        slots = found.shape[1]
        wanted = hashing.index(codes)[:, length - 1, :slots] + start[:slots] * hashing.table_size
        assert (found == wanted).all()
        assert found.max() < hashing.n_rows


def test_kinds_read_what_they_say() -> None:
    codes = np.array([[1, 2, 3, 4], [9, 2, 3, 4], [1, 2, 3, 9]])
    suffix = PrefixHash(4, 3, 4, 10007, kind="suffix").index(codes)
    assert (suffix[0, 3] == suffix[1, 3]).all()  # orders 1 to 3 at level 4 do not reach code 1
    assert (suffix[0, 2, 2] != suffix[1, 2, 2]).any()
    full = PrefixHash(4, 4, 4, 10007, kind="full").index(codes)
    assert (full[0, 2] == full[2, 2]).all()
    assert (full[0, 3] != full[2, 3]).any()
    # The same code at two levels is not the same suffix.
    twice = PrefixHash(2, 1, 4, 10007, kind="suffix").index([[5, 5]])
    assert (twice[0, 0] != twice[0, 1]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_levels": 0}, "n_levels is 0"),
        ({"max_order": 0}, "max_order is 0"),
        ({"n_heads": 0}, "n_heads is 0"),
        ({"table_size": 1}, "table_size is 1"),
        ({"table_size": 2.5}, "table_size is 2.5"),
        ({"seed": -1}, "seed is -1"),
        ({"kind": "infix"}, "kind is 'infix'"),
        ({"scheme": "md5"}, "scheme is 'md5'"),
        ({"multipliers": np.ones((2, 2))}, r"shape \(2, 2\), expected shape \(3, 2\)"),
        ({"multipliers": np.zeros((3, 2))}, "at least 1"),
        ({"multipliers": -np.ones((3, 2))}, r"multipliers\[0, 0\] is -1"),
        ({"multipliers": np.full((3, 2), 1.5)}, r"multipliers\[0, 0\] is 1.5"),
    ],
)
def test_bad_settings_are_named(change, message) -> None:
    settings_ = {"n_levels": 3, "max_order": 3, "n_heads": 2, "table_size": 64} | change
    with pytest.raises(ValueError, match=message):
        PrefixHash(**settings_)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[1, 2]], r"shape \(1, 2\)"),
        ([[1.5, 2.0, 3.0]], r"codes\[0, 0\] is 1.5"),
        ([[1, 2, -3]], r"codes\[0, 2\] is -3"),
    ],
)
def test_bad_codes_are_named_by_hashes(codes, message) -> None:
    with pytest.raises(ValueError, match=message):
        PrefixHash(3, 3, 2, 64).index(codes)


def test_bad_tensors_are_named() -> None:
    hashing = PrefixHash(3, 3, 2, 64)
    for wrong in (torch.zeros(2, 0), torch.zeros(2, 4), torch.full((2, 2), 0.5)):
        with pytest.raises(ValueError, match="expected"):
            hashing.rows(wrong)
    with pytest.raises(ValueError, match=r"is -1\.0, expected"):
        hashing.rows(torch.tensor([[-1]]))


def test_rows_are_the_same_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }
    here = PrefixHash(4, 4, 4, 10007, seed=5).index(np.arange(12).reshape(3, 4))
    assert found == {f"{here.tolist()}\n"}


def test_golden_rows() -> None:
    # A change of the hash would make every saved table worthless, so it must not go unnoticed.
    rows = PrefixHash(4, 4, 2, 16381, seed=0).index([[1, 2, 3, 4]])
    assert rows[0, 3].tolist() == [[10006, 8305], [11413, 8380], [13677, 5989], [11711, 9388]]


def test_primes_are_prime_and_distinct() -> None:
    from sympy import isprime

    found = primes(4, 4, seed=3).ravel().tolist()
    assert len(set(found)) == 16
    assert all(isprime(int(one)) and int(one).bit_length() == 61 for one in found)
    assert primes(1, 1, seed=1)[0, 0] != primes(1, 1, seed=2)[0, 0]
    with pytest.raises(ValueError, match="bits is 4"):
        primes(1, 1, bits=4)


def test_collision_formula_against_simulation() -> None:
    rng = np.random.default_rng(0)
    for count, size in ((1, 2), (3, 2), (50, 64), (1000, 300)):
        filled = [len(np.unique(rng.integers(size, size=count))) for _ in range(2000)]
        error = np.std(filled) / np.sqrt(2000)
        assert abs(np.mean(filled) - expected_rows(count, size)) <= 4 * error + 1e-12
    with pytest.raises(ValueError, match="table_size is 1"):
        expected_excess(5, 1)
    with pytest.raises(ValueError, match="n_prefixes is 0"):
        expected_rows(0, 5)


@pytest.mark.parametrize("size", [251, 256, 1000, 16384])
@pytest.mark.parametrize("kind", ["prefix", "suffix", "full"])
def test_our_hash_fills_rows_as_a_random_function_would(size, kind) -> None:
    grid = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for seed in range(3):
        hashing = PrefixHash(3, 3, 4, size, seed=seed, kind=kind)
        rows = hashing.index(grid)[:, 2, -1]
        for head in rows.T:
            distance = len(np.unique(head)) - expected_rows(len(grid), size)
            sd = np.sqrt(expected_rows(len(grid), size))  # at least that of a random function
            assert abs(distance) <= 2 * sd
        assert confused(rows) <= 8


def test_printed_formula_has_its_faults_and_ours_has_not() -> None:
    codes = np.arange(256)[:, None]
    printed = PrefixHash(1, 1, 4, 64, scheme="printed")
    assert len(np.unique(printed.index(codes)[:, 0, 0], axis=0)) == 64
    ours = PrefixHash(1, 1, 4, 64)
    assert len(np.unique(ours.index(codes)[:, 0, 0], axis=0)) == 256
    lowest = printed.index(codes)[:, 0, 0] % 2
    assert (lowest == lowest[:, :1]).all()
    assert (PrefixHash(2, 2, 2, 64, scheme="printed").index([[0, 0]])[0, 1] == 0).all()


def test_shares_beyond_the_first_and_whole_prefixes() -> None:
    catalog = SidCatalog([[0, 1], [0, 3], [2, 3]], 4)
    hashing = PrefixHash(2, 2, 3, 101)
    assert excess(prefix_rows(hashing, catalog.level(2).prefixes)).tolist() == [0, 0, 0]
    assert excess([[1, 5], [1, 6], [2, 5], [1, 5]]).tolist() == [0.5, 0.5]
    assert excess([[1, 5], [1, 6], [1, 7], [1, 5]]).tolist() == [0.75, 0.25]
    with pytest.raises(ValueError, match="more than the hash reads"):
        prefix_rows(PrefixHash(2, 1, 3, 101), catalog.level(2).prefixes)
    with pytest.raises(ValueError, match="rows is empty"):
        confused(np.zeros((0, 2), np.int64))


@pytest.mark.parametrize(
    ("name", "length", "size", "printed", "ours"),
    [
        ("beauty_letter", 2, 256, [1575], [0]),
        ("instruments", 2, 2048, [2, 4, 0], [0, 0, 0]),
        ("games", 3, 16384, [0, 0, 0], [0, 0, 0]),
    ],
)
def test_prefixes_that_the_theory_page_counts(catalogues, name, length, size, printed, ours):
    """Confused by all four heads, a seed each; a little above the size of the code book, few."""
    codes = catalogues(name).codes
    prefixes = np.unique(codes[:, :length], axis=0)
    for scheme, wanted in (("printed", printed), ("mixed", ours)):
        found = [
            confused(prefix_rows(PrefixHash(4, 4, 4, size, scheme=scheme, seed=seed), prefixes))
            for seed in range(len(wanted))
        ]
        assert found == wanted


def test_a_table_no_larger_than_the_code_book_confuses_thousands_as_printed():
    pairs = np.unique(np.random.default_rng(0).integers(2048, size=(100_000, 2)), axis=0)
    hashes = {s: PrefixHash(2, 2, 4, 2048, scheme=s) for s in ("printed", "mixed")}
    assert confused(prefix_rows(hashes["printed"], pairs)) > 4000
    assert confused(prefix_rows(hashes["mixed"], pairs)) == 0
