"""Values of the method by hand: hashes, tries, counts, mixes, intervals, what is measured."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from lib.semantic_ids import anatomy, hashing
from lib.semantic_ids.beam import BeamResult, CountSteps, MixedSteps, beam_search, by_length
from lib.semantic_ids.catalogue import SidCatalog, check_sequences
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import Examples, SidData, leave_one_out, sample
from lib.semantic_ids.evaluation import (
    GRID,
    SHARES,
    Mixture,
    count_log_probs,
    fit_mixture,
    popularity_tertiles,
    shuffle_histories,
    top,
    valid_share,
)
from lib.semantic_ids.hashing import PrefixHash, RowIndex
from lib.semantic_ids.intervals import Estimate, Resample

PRIMES = np.array([[3, 5], [7, 11], [13, 17]])
CODES = np.array([[4, 2, 9], [0, 6, 1], [255, 0, 8]])


# ── hashes ──────────────────────────────────────────────────────────────────────────────────────
def key(codes, factors, scheme):
    """Return the 64 bits of codes, by Python's own integers."""
    found = 0
    for code, factor in zip(codes, factors, strict=True):
        found ^= (int(code) + (scheme == "mixed")) * int(factor) % 2**64
    if scheme == "mixed":  # SplitMix64, as published by Vigna
        found = (found ^ (found >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        found = (found ^ (found >> 27)) * 0x94D049BB133111EB % 2**64
        found ^= found >> 31
    return found


@pytest.mark.parametrize("scheme", ["mixed", "printed"])
@pytest.mark.parametrize("kind", ["prefix", "suffix", "full"])
@pytest.mark.parametrize("max_order", [2, 3])
def test_rows_are_those_of_the_formula(kind, scheme, max_order) -> None:
    hashing_ = PrefixHash(3, max_order, 2, 97, kind=kind, scheme=scheme, multipliers=PRIMES)
    rows = hashing_.index(CODES)
    for item, codes in enumerate(CODES):
        for length in (1, 2, 3):
            orders = [length] if kind == "full" else range(1, min(length, max_order) + 1)
            for slot, order in enumerate(orders):
                part = slice(0, order) if kind != "suffix" else slice(length - order, length)
                for head in (0, 1):
                    wanted = key(codes[part], PRIMES[part, head], scheme) % 97
                    assert rows[item, length - 1, slot, head] == wanted
    assert hashing_.nested == (kind == "prefix")
    assert hashing_.n_rows == (1 if kind == "full" else max_order) * 2 * 97


def test_primes_are_the_next_ones_after_a_digest() -> None:
    from hashlib import sha256

    from sympy import nextprime

    found = hashing.primes(2, 2, seed=7, bits=20)
    start = 2**19
    digests = [sha256(f"prefix hash 7 {i}".encode()).digest()[:8] for i in range(4)]
    wanted = [nextprime(start + int.from_bytes(d, "big") % (start - start // 8)) for d in digests]
    assert found.ravel().tolist() == wanted
    small = hashing.primes(4, 4, seed=1, bits=8).ravel().tolist()
    assert len(set(small)) == 16  # many begin at the same prime
    assert min(small) > 128


class Known(RowIndex):
    """Rows of the codes 0 and 1 at one level; others are unknown."""

    n_levels, n_slots, n_heads, table_size, n_rows, nested = 1, 1, 2, 3, 7, False

    def _local(self, prefix):
        row = np.where(prefix < 2, prefix, -1)
        return np.stack([row, row], axis=2)


def test_an_unknown_prefix_has_the_last_row_of_all() -> None:
    found = Known().rows(torch.tensor([[0], [1], [5]]))
    assert found.tolist() == [[[0, 3]], [[1, 4]], [[6, 6]]]
    assert Known().index([[0], [1], [5]])[:, 0, 0].tolist() == [[0, 0], [1, 1], [-1, -1]]
    whole = PrefixHash(2, 2, 2, 50).rows(torch.zeros(4, 3, 2, dtype=torch.int64))
    assert whole.shape == (4, 3, 2, 2)
    with pytest.raises(ValueError, match="prefix has shape"):
        PrefixHash(2, 2, 2, 50).rows(torch.zeros(1, 3, dtype=torch.int64))


def test_expected_rows_of_few_prefixes_are_exact() -> None:
    for n, size in ((1, 2), (2, 3), (5, 4), (7, 7)):
        exact = size * (1 - Fraction(size - 1, size) ** n)
        assert hashing.expected_rows(n, size) == pytest.approx(float(exact), rel=1e-12)
        assert hashing.expected_excess(n, size) == pytest.approx(float(1 - exact / n), abs=1e-12)
    rows = np.array([[1, 1], [1, 1], [2, 1], [2, 1], [2, 1], [3, 1]])
    assert hashing.confused(rows) == 5
    assert hashing.excess(rows).tolist() == pytest.approx([0.5, 5 / 6])
    assert hashing.confused(rows[[0, 2, 5]]) == 0


def test_fields_hold_all_that_determines_the_rows() -> None:
    one = PrefixHash(3, 2, 2, 97, kind="suffix", scheme="printed", multipliers=PRIMES)
    assert one.fields() == {
        "n_levels": 3, "max_order": 2, "n_heads": 2, "table_size": 97, "kind": "suffix",
        "scheme": "printed", "multipliers": PRIMES.tolist(),
    }  # fmt: skip
    again = PrefixHash.of_fields(one.fields())
    assert np.array_equal(again.index(CODES), one.index(CODES))
    assert PrefixHash(3, 9, 2, 97).max_order == 3


# ── catalogues ──────────────────────────────────────────────────────────────────────────────────
def test_a_code_outside_the_book_is_nowhere_though_its_key_is_a_neighbours() -> None:
    catalog = SidCatalog([[0, 1], [1, 0]], 2)
    # Keys 1 and 2: code 2 below node 0 would be node 1's code 0, and -1 below 1 node 0's code 1.
    assert catalog.nodes([[0, 2], [1, -1], [0, 0], [0, 1], [1, 0], [1, 1]]).tolist() == [
        -1, -1, -1, 0, 1, -1,
    ]  # fmt: skip
    assert catalog.step(2, [0, 1, -1, -1], [2, -1, 1, 0]).tolist() == [-1] * 4
    assert catalog.step(2, [0, 1], [1, 0]).tolist() == [0, 1]
    assert catalog.step(1, [0, 0, 0], [0, 1, -1]).tolist() == [0, 1, -1]
    assert catalog.mask(2, [-1, 0, 1]).tolist() == [[False] * 2, [False, True], [True, False]]


def test_small_catalogues_count_in_32_bits() -> None:
    codes = np.random.default_rng(0).integers(5, size=(100, 3))
    catalog = SidCatalog(codes, 5)
    for length in range(4):
        level = catalog.level(length)
        assert level.first.dtype == level.children.dtype == level.by_leaf.dtype == np.int32
        assert level.keys.dtype == level.items.dtype == np.int64
        assert len(level.children) == (len(level) + 1 if length < 3 else 0)
        assert level.items.sum() == 100
    root = catalog.level(0)
    assert (root.keys.tolist(), root.first.tolist()) == ([0], [0, 100])
    assert root.prefixes.shape == (1, 0)
    assert catalog.children([]).tolist() == sorted(set(codes[:, 0].tolist()))
    assert catalog.sid(0) == tuple(codes[0])
    assert catalog.sid(99) == tuple(codes[99])


def test_one_item_or_several_are_deleted_and_a_copy_stays() -> None:
    catalog = SidCatalog([[0], [1], [2], [2]], 3)
    copy = catalog.copy()
    catalog.delete(1)
    catalog.delete([0])
    assert (len(catalog), catalog.alive.tolist(), catalog.shared()) == (2, [2, 3], 1)
    assert (len(copy), copy.alive.tolist(), copy.n_codes) == (4, [0, 1, 2, 3], 3)
    assert len(catalog.level(1)) == 1
    with pytest.raises(ValueError, match="item 1 is not"):
        catalog.delete([2, 1])
    with pytest.raises(ValueError, match="item 1 is not"):
        catalog.sid(1)
    with pytest.raises(ValueError, match="no item would be left"):
        catalog.delete([2, 3])
    catalog.delete([3])
    assert catalog.items([]).tolist() == [2]


def test_sequences_come_back_as_they_were_cut() -> None:
    found = check_sequences("x", [[1, 2], [], [3]], below=4)
    assert [one.tolist() for one in found] == [[1, 2], [], [3]]
    with pytest.raises(ValueError, match=r"x\[2\] is 3"):
        check_sequences("x", [[1, 2], [], [3]], below=3)
    with pytest.raises(ValueError, match="is no list"):
        check_sequences("x", [[1], 2])


# ── counts ──────────────────────────────────────────────────────────────────────────────────────
def test_what_was_never_seen_is_no_prefix() -> None:
    """Item 2 has weight 0: after its first code the level's most frequent is predicted."""
    table = NGramCounts([[0, 1], [0, 2], [1, 0]], 3, weights=[1, 3, 0])
    assert table.predict([[0], [1], [2]]).tolist() == [2, 2, 2]
    back = np.array([1, 2, 4]) / 7
    found = table.probabilities([[1], [0]])
    np.testing.assert_allclose(found[0], back)
    np.testing.assert_allclose(found[1], (np.array([0, 1, 3]) + back) / 5)
    np.testing.assert_allclose(np.exp(table.logits([[0]])), found[1:])
    assert table.predict(np.zeros((0, 1), int)).tolist() == []
    even = NGramCounts([[0, 2], [0, 1]], 3, weights=[2, 2])
    assert even.predict([[0]]).tolist() == [1]  # the lowest of equals
    assert (even.n_codes, even.n_levels, even.alpha) == (3, 2, 1.0)
    assert NGramCounts.fit([[0], [1]], 2, [[0]], alpha=0.25).alpha == 0.25


# ── evaluation ──────────────────────────────────────────────────────────────────────────────────
def test_tertiles_of_twelve_prefixes_are_four_each() -> None:
    train = np.repeat(np.arange(12), np.arange(12))[:, None]  # code c is seen c times
    targets = np.arange(12)[::-1][:, None]
    wanted = np.repeat([2, 1, 0], 4).tolist()
    assert popularity_tertiles(targets, train, 1).tolist() == wanted
    # The last prefix of all, never seen, is rare.
    assert popularity_tertiles(np.array([[5], [11], [12]]), train, 1).tolist() == [1, 2, 0]
    # Of two codes the first decides.
    both = [np.column_stack([one, np.arange(len(one)) % 2]) for one in (targets, train)]
    assert popularity_tertiles(*both, 1).tolist() == wanted


def test_a_beam_of_one_and_a_beam_of_none() -> None:
    catalog = SidCatalog([[0, 1], [2, 3]], 4)
    codes = np.array([[[0, 1], [0, 0]], [[0, 1], [2, 3]], [[3, 3], [2, 3]]])
    scores = np.array([[-1, -np.inf], [-np.inf, -np.inf], [-1, -2]], np.float32)
    assert valid_share(BeamResult(codes, scores), catalog).tolist() == [1, 0, 0.5]


def test_exchanged_histories_are_those_of_the_seeded_order() -> None:
    some = Examples(np.arange(5), tuple(np.array([i]) for i in range(5)), np.arange(5, 10))
    found = shuffle_histories(some, 3)
    order = np.random.default_rng(3).permutation(5)
    assert [one.tolist() for one in found.histories] == [[i] for i in order]
    assert found.users.tolist() == [0, 1, 2, 3, 4]
    assert found.targets.tolist() == [5, 6, 7, 8, 9]
    drawn = sample(some, 3)
    assert drawn.users.tolist() == np.random.default_rng(606).permutation(5)[:3].tolist()
    assert len(sample(some, 9)) == 5


def test_the_mix_is_the_likeliest_of_the_grid() -> None:
    rng = np.random.default_rng(0)
    logs = rng.normal(size=(2, 60, 2, 4))
    logs -= np.log(np.exp(logs).sum(axis=3, keepdims=True))
    targets = rng.integers(4, size=(60, 2))
    model, counts = logs.astype(np.float32)

    def loss(level, share, weight):
        mixed = share * logs[0][:, level] + weight * logs[1][:, level]
        at = mixed[np.arange(60), targets[:, level]]
        return (np.log(np.exp(mixed).sum(axis=1)) - at).mean()

    for rigid in (False, True):
        found = fit_mixture(model, counts, targets, rigid=rigid)
        for level in (0, 1):
            pairs = [(a, w) for a in ((1.0,) if rigid else SHARES) for w in GRID]
            best = min(pairs, key=lambda pair, level=level: loss(level, *pair))
            assert (found.shares[level], found.weights[level]) == best
    mixed = Mixture((0.5, 2.0), (0.1, 0.75))(model, counts)
    for level, (a, w) in enumerate([(0.1, 0.5), (0.75, 2.0)]):
        wanted = a * logs[0][:, level] + w * logs[1][:, level]
        wanted -= np.log(np.exp(wanted).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(mixed[:, level], wanted, atol=1e-5)


def test_a_place_is_the_mean_of_equals() -> None:
    three = np.log(np.array([[[0.4, 0.2, 0.2, 0.2]]], np.float32))
    where = [[bool(top(three, np.array([[c]]), k)[0, 0]) for k in (1, 2, 3, 4)] for c in (0, 2)]
    assert where == [[True, True, True, True], [False, False, True, True]]


# ── beams ───────────────────────────────────────────────────────────────────────────────────────
class Fixed:
    """Log-probabilities that depend on the level alone."""

    def __init__(self, *levels):
        self.logs = [torch.log(torch.tensor([one])) for one in levels]

    def first(self):
        return self.logs[0]

    def step(self, parents, prefix):
        return self.logs[prefix.shape[2]][:, None].expand(1, prefix.shape[1], -1)


def test_scores_are_sums_of_logarithms_and_padding_fills_the_beam() -> None:
    steps = Fixed([0.7, 0.2, 0.1], [0.1, 0.6, 0.3])
    found = beam_search(steps, 2, 4)
    assert found.codes[0].tolist() == [[0, 1], [0, 2], [1, 1], [0, 0]]
    assert np.exp(found.scores[0]).tolist() == pytest.approx([0.42, 0.21, 0.12, 0.07])
    wide = beam_search(steps, 2, 12)
    assert wide.codes.shape == (1, 12, 2)
    assert np.isneginf(wide.scores[0, 9:]).all()
    assert np.exp(wide.scores[0, :9]).sum() == pytest.approx(1)
    assert not wide.codes[0, 9:].any()
    catalog = SidCatalog([[2, 0], [1, 1]], 3)
    held = beam_search(steps, 2, 2, catalog=catalog)
    assert held.codes[0].tolist() == [[1, 1], [2, 0]]
    assert np.exp(held.scores[0]).tolist() == pytest.approx([0.12, 0.01])
    assert beam_search(steps, 2, 10).scores.shape == (1, 10)
    narrow = beam_search(steps, 2, 1)
    assert narrow.codes.tolist() == [[[0, 1]]]


def test_counts_in_a_search_by_level() -> None:
    codes = np.array([[0, 1], [1, 0]])
    counts = NGramCounts(codes, 2, weights=[3, 1])
    steps = Fixed([0.5, 0.5], [0.2, 0.8])
    prefix = torch.tensor([[[0], [1]]])
    logs = count_log_probs(counts, codes)
    for weights, shares in (((2.0, 0.5), ()), ((1.0, 1.0), (0.5, 0.25))):
        mixed = MixedSteps(steps, counts, weights, shares)
        own = shares or (1, 1)
        first = own[0] * np.log([0.5, 0.5]) + weights[0] * logs[0, 0]
        np.testing.assert_allclose(mixed.first()[0], first - np.log(np.exp(first).sum()), rtol=1e-5)
        found = mixed.step(torch.zeros(1, 2, dtype=torch.int64), prefix)
        assert found.shape == (1, 2, 2)
        second = own[1] * np.log([0.2, 0.8]) + weights[1] * logs[:, 1]
        wanted = second - np.log(np.exp(second).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(found[0], wanted, rtol=1e-5)
    alone = CountSteps(counts)
    np.testing.assert_allclose(alone.first(), logs[:1, 0], rtol=1e-6)
    np.testing.assert_allclose(alone.step(prefix, prefix)[0], logs[:, 1], rtol=1e-6)
    assert alone.first().dtype == torch.float32
    assert alone.first().shape == mixed.first().shape == (1, 2)


def test_long_histories_keep_their_last_items() -> None:
    some = Examples(np.arange(3), ([1, 2, 3], [4], [5, 6]), np.zeros(3))
    found = [(places.tolist(), rows.tolist()) for places, rows in by_length(some, 2)]
    assert found == [([1], [[4]]), ([0, 2], [[2, 3], [5, 6]])]


# ── intervals ───────────────────────────────────────────────────────────────────────────────────
def test_the_rows_of_a_resample_are_sample_seeds_and_draws() -> None:
    draw = Resample(2, 3, draws=4, seed=5)
    found = draw.mean([[1.0, 2.0, 6.0], [0.0, 3.0, 0.0]])
    assert found[:3].tolist() == [2.0, 3.0, 1.0]
    taken = np.random.default_rng(5).multinomial(3, [1 / 3] * 3, size=4)
    wanted = (taken @ [1, 2, 6] + taken @ [0, 3, 0]) / 6
    assert found[3:].tolist() == pytest.approx(wanted.tolist())
    assert len(found) == 7
    own = np.array([[True, False, True], [False, True, True]])
    assert draw.mean([[1.0, 2.0, 6.0], [0.0, 3.0, 0.0]], where=own)[:3].tolist() == [2.5, 3.5, 1.5]


def test_an_interval_at_a_level_of_ones_own() -> None:
    draw = Resample(1, 5, draws=101)
    samples = np.concatenate([[10.0, 10.0], np.linspace(0, 20, 101)])
    for level, half in ((0.95, 9.5), (0.5, 5.0)):
        assert draw.estimate(samples, level) == Estimate(
            10.0, pytest.approx(10 - half), pytest.approx(10 + half)
        )
    skewed = np.concatenate([[10.0, 10.0], np.linspace(8, 18, 101)])
    found = draw.estimate(skewed, 0.5)
    assert (found.low, found.high) == pytest.approx((9.5, 15.5))


# ── anatomy ─────────────────────────────────────────────────────────────────────────────────────
def test_the_anatomy_of_a_tiny_catalogue() -> None:
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 0]])
    sequences = ([0, 1, 2, 0], [2, 2, 3, 1], [1, 0, 1])
    data = SidData("tiny", codes, 4, sequences)
    found = anatomy.summary(data)
    assert found.columns.tolist() == [
        "catalogue", "level", "prefixes", "contexts", "code use", "entropy", "determined", "counts",
        "ceiling",
    ]  # fmt: skip
    assert set(found["catalogue"]) == {"tiny"}
    assert found["level"].tolist() == [1, 2]
    assert found["prefixes"].tolist() == [2, 3]
    assert found["contexts"].tolist() == [1, 1.5]
    # Two codes evenly of four is one bit of two; 3 and 1 of four are 0.811 bits.
    assert found["code use"].tolist() == pytest.approx([0.5, 0.811278 / 2], abs=1e-6)
    # Train: 0 1, 2 2, 1: weights 1, 2, 2, 0; the first codes 3 and 2 of 5.
    share = np.array([0.6, 0.4])
    first = -(share * np.log2(share)).sum()
    third = 0.6 * -(np.array([1, 2]) / 3 * np.log2(np.array([1, 2]) / 3)).sum()
    assert found["entropy"].tolist() == pytest.approx([first, third])
    assert found["determined"].tolist() == pytest.approx([0, 0.4])
    # Test items 0, 1, 1 have first code 0, as predicted; then 1 of 0 and 1, twice right.
    assert found["counts"].tolist() == pytest.approx([1, 2 / 3])
    assert found["ceiling"].tolist() == pytest.approx([1, 2 / 3])
    bare = anatomy.summary(SidData("bare", codes, 4, ()))
    assert bare.columns.tolist() == ["catalogue", "level", "prefixes", "contexts", "code use"]
    assert anatomy.next_code_entropy(codes, 4, [1, 0, 0, 0]).tolist() == [0, 0]


def test_data_know_their_sizes_and_their_split() -> None:
    data = SidData("x", CODES, 256, ([0, 1, 2, 0], [1, 2, 0]))
    assert (data.n_items, data.n_levels, data.n_interactions) == (3, 3, 7)
    split = data.split()
    assert [one.tolist() for one in split.train] == [[0, 1], [1]]
    assert (split.valid.targets.tolist(), split.test.targets.tolist()) == ([2, 2], [0, 0])
    assert [one.tolist() for one in split.test.histories] == [[0, 1, 2], [1, 2]]
    assert split.test.users.tolist() == [0, 1]
    other = leave_one_out([[0, 1, 2]])
    given = SidData("x", CODES, 256, ([0, 1, 2, 0],), given_split=other)
    assert given.split() is other
    catalog = data.catalog()
    assert (len(catalog), catalog.n_codes) == (3, 256)
