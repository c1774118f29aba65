"""PrefixMem: identity at the start, causality, item locality, determinism, saving, bad input."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.core.paths import ROOT
from lib.semantic_ids.hashing import PrefixHash
from lib.semantic_ids.prefixmem import (
    PrefixMem,
    PrefixMemConfig,
    check_codes,
    load_encoder,
    place,
    save_encoder,
)
from lib.semantic_ids.study import guarantees
from lib.semantic_ids.study.controls import LeakyEncoder, RandomRows

SMALL = PrefixMemConfig(n_codes=16, d_model=12, d_mem=8, n_heads=2, table_size=101)


def codes_of(shape, n_codes=16, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(n_codes, size=shape))


def made(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return PrefixMem(config)


TRAINED = replace(SMALL, init_std=0.5, active_levels=(2, 3, 4))


@pytest.mark.parametrize(
    "encoder",
    [
        made(),
        made(replace(SMALL, kind="suffix")),
        made(replace(SMALL, kind="full")),
    ],
    ids=["prefix", "suffix", "full"],
)
def test_nothing_is_added_at_the_start(encoder):
    codes = codes_of((3, 5, 4))
    hidden = torch.randn(3, 5, 4, 12)
    assert torch.equal(hidden + encoder(codes, hidden), hidden)


def test_attached_models_are_bit_identical_at_the_start():
    codes = codes_of((4, 5, 4)).numpy()
    for check in (guarantees.generative_identity, guarantees.language_model_identity):
        assert check(codes, 16)
        assert not check(codes, 16, trained=True)


@pytest.mark.parametrize("kind", ["prefix", "suffix", "full"])
def test_a_vector_sees_its_own_items_codes_up_to_its_place(kind):
    encoder = made(replace(TRAINED, kind=kind))
    assert guarantees.sees_no_further(encoder, codes_of((2, 3, 4)).numpy(), 16, 12)


def test_the_leak_control_sees_further():
    torch.manual_seed(0)
    codes = codes_of((2, 3, 4)).numpy()
    assert not guarantees.sees_no_further(LeakyEncoder(4, 16, 12), codes, 16, 12)


@pytest.mark.parametrize("kind", ["prefix", "suffix", "full"])
@pytest.mark.parametrize("max_order", [1, 2, 4])
def test_a_shorter_prefix_gets_the_same_vectors(kind, max_order):
    encoder = made(replace(TRAINED, kind=kind, max_order=max_order))
    codes, hidden = codes_of((6, 4)), torch.randn(6, 4, 12)
    whole = encoder(codes, hidden)
    for length in (1, 2, 3):
        part = encoder(codes[:, :length], hidden[:, :length])
        assert torch.allclose(part, whole[:, :length], atol=1e-6)


def test_only_the_injected_positions_are_not_zero():
    encoder = made(replace(SMALL, init_std=0.5, active_levels=(4,)))
    found = encoder(codes_of((5, 4)), torch.zeros(5, 4, 12))
    # Level 4 active: the vector stands at the third code.
    assert found[:, 2].abs().min() > 0
    assert torch.equal(found[:, [0, 1, 3]], torch.zeros(5, 3, 12))


def test_permuting_the_batch_permutes_the_vectors():
    encoder = made(TRAINED)
    codes, hidden = codes_of((7, 3, 4)), torch.randn(7, 3, 4, 12)
    order = torch.randperm(7)
    assert torch.equal(encoder(codes, hidden)[order], encoder(codes[order], hidden[order]))


@pytest.mark.parametrize("kind", ["prefix", "suffix", "full"])
@pytest.mark.parametrize("max_order", [1, 2, 4])
@pytest.mark.parametrize("levels", [(3, 4), (2, 4), (4,)])
def test_the_memory_is_the_sum_over_orders_of_the_heads_side_by_side(kind, max_order, levels):
    encoder = made(replace(SMALL, kind=kind, max_order=max_order, active_levels=levels))
    codes = codes_of((3, 4))
    rows = encoder.hash.index(codes.numpy())  # (3, level, order, head)
    table = encoder.table.weight.detach().numpy()
    size, heads = SMALL.table_size, SMALL.n_heads
    found = encoder.memory(codes)
    assert found.shape == (3, len(levels), 8)
    for i, level in enumerate(levels):
        slots = 1 if kind == "full" else min(level - 1, max_order)
        wanted = sum(
            np.concatenate(
                [
                    table[(order * heads + head) * size + rows[:, level - 2, order, head]]
                    for head in range(heads)
                ],
                axis=1,
            )
            for order in range(slots)
        )
        np.testing.assert_allclose(found[:, i].detach(), wanted, atol=1e-6)


def test_columns_are_placed_side_by_side_or_apart():
    value = torch.tensor([[[1.0], [2.0]]])
    for places, wanted in (
        ([1, 2], [1, 2, 0, 0]),
        ([2, 3], [0, 1, 2, 0]),
        ([3, 4], [0, 0, 1, 2]),
        ([1, 4], [1, 0, 0, 2]),
        ([1, 3], [1, 0, 2, 0]),
    ):
        assert place(value, places, 4)[0, :, 0].tolist() == wanted


def test_sparse_gradients_equal_dense_ones():
    codes = codes_of((20, 4))
    encoder = made(TRAINED)
    gradients = []
    for sparse in (True, False):
        encoder.table.sparse = sparse
        encoder.zero_grad()
        encoder(codes, torch.zeros(20, 4, 12)).square().sum().backward()
        found = encoder.table.weight.grad
        assert found.is_sparse == sparse
        gradients.append(found.to_dense() if sparse else found)
    assert torch.allclose(*gradients, atol=1e-6)


def test_the_same_in_another_process():
    script = (
        "import torch, numpy as np\n"
        "from lib.semantic_ids.prefixmem import PrefixMem, PrefixMemConfig\n"
        "torch.manual_seed(0)\n"
        "e = PrefixMem(PrefixMemConfig(n_codes=16, d_model=12, d_mem=8, n_heads=2, "
        "table_size=101, init_std=0.5, active_levels=(2, 3, 4)))\n"
        "c = torch.from_numpy(np.random.default_rng(0).integers(16, size=(6, 4)))\n"
        "print(e(c, torch.zeros(6, 4, 12)).flatten().tolist())"
    )
    there = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)},
    ).stdout
    here = made(TRAINED)(codes_of((6, 4)), torch.zeros(6, 4, 12)).flatten().tolist()
    assert there == f"{here}\n"


HASHES = {
    "config": None,
    "another seed": PrefixHash(4, 4, 2, 101, seed=9),
    "as printed": PrefixHash(4, 4, 2, 101, scheme="printed"),
    "suffix": PrefixHash(4, 3, 4, 50, kind="suffix"),
    "own multipliers": PrefixHash(4, 2, 1, 77, multipliers=[[3], [5], [2**62 + 9], [11]]),
}


@pytest.mark.parametrize("hashing", HASHES.values(), ids=HASHES)
def test_saved_and_loaded_it_is_the_same(tmp_path, hashing):
    """Whatever its hash: the file has all that determines the rows."""
    torch.manual_seed(0)
    encoder = PrefixMem(TRAINED, hashing)
    file = save_encoder(encoder, tmp_path / "memory.safetensors")
    back = load_encoder(file)
    assert back.config == encoder.config
    codes, hidden = codes_of((5, 4)), torch.randn(5, 4, 12)
    assert torch.equal(encoder(codes, hidden), back(codes, hidden))
    assert encoder(codes, hidden).abs().max() > 0.1


def test_what_forgets_its_rows_is_not_saved(tmp_path):
    encoder = made(TRAINED)
    encoder.hash = RandomRows(encoder.hash)
    with pytest.raises(ValueError, match="hash is a RandomRows"):
        save_encoder(encoder, tmp_path / "memory.safetensors")
    assert not list(tmp_path.iterdir())


class Shifted(PrefixHash):
    """A hash with rows of its own."""

    def rows(self, prefix):
        return (super().rows(prefix) + 1) % self.n_rows


class Doubled(PrefixMem):
    """An encoder with a memory of its own."""

    def memory(self, codes):
        return 2 * super().memory(codes)


def test_what_finds_other_rows_than_its_fields_say_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="hash is a Shifted, expected a PrefixHash itself"):
        save_encoder(PrefixMem(TRAINED, Shifted(4, 4, 2, 101)), tmp_path / "memory.safetensors")
    with pytest.raises(ValueError, match="encoder is a Doubled, expected a PrefixMem itself"):
        save_encoder(Doubled(TRAINED), tmp_path / "memory.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_file_altered_in_any_byte_is_refused(tmp_path):
    """Weights, multipliers, config, names, digest and spaces alike."""
    file = tmp_path / "memory.safetensors"
    config = replace(TRAINED, n_levels=2, active_levels=(2,), n_heads=1, d_mem=2, table_size=3)
    whole = save_encoder(made(config), file).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    assert len(whole) - header == 4 * (2 * 3 * 2 + 12 * 2)
    for at, byte in enumerate(whole):
        # Another digit, the other case of a letter; and the last bit but one.
        for changed in {(byte ^ 1), (byte ^ 32)} if at < header else {byte ^ 2}:
            file.write_bytes(whole[:at] + bytes([changed]) + whole[at + 1 :])
            with pytest.raises(ValueError, match="not a whole file written by prefixmem"):
                load_encoder(file)
    file.write_bytes(whole)
    assert load_encoder(file).config == config


def test_a_digit_of_a_multiplier_changes_rows_and_is_refused(tmp_path):
    hashing = PrefixHash(4, 2, 1, 77, multipliers=[[3], [5], [2**62 + 9], [11]])
    file = save_encoder(PrefixMem(TRAINED, hashing), tmp_path / "memory.safetensors")
    whole = file.read_bytes()
    assert whole.count(b"4611686018427387913") == 1
    file.write_bytes(whole.replace(b"4611686018427387913", b"4611686018427387923"))
    with pytest.raises(ValueError, match="altered since"):
        load_encoder(file)


@pytest.mark.parametrize("fault", ["missing", "truncated", "other", "nan", "one bit"])
def test_a_bad_file_is_refused(tmp_path, fault):
    file = tmp_path / "memory.safetensors"
    encoder = made(TRAINED)
    if fault == "nan":
        with torch.no_grad():
            encoder.table.weight[3, 0] = torch.nan
    if fault != "missing":
        save_encoder(encoder, file)
    if fault == "truncated":
        file.write_bytes(file.read_bytes()[:-40])
    if fault == "other":
        file.write_text("no tensors")
    if fault == "one bit":
        changed = bytearray(file.read_bytes())
        changed[-3] ^= 1
        file.write_bytes(bytes(changed))
    expected = FileNotFoundError if fault == "missing" else ValueError
    with pytest.raises(expected, match="NaN" if fault == "nan" else "save_encoder"):
        load_encoder(file)


def test_rows_at_random_forget():
    encoder = made(TRAINED)
    encoder.hash = RandomRows(encoder.hash, seed=3)
    codes, hidden = codes_of((5, 4)), torch.zeros(5, 4, 12)
    assert not torch.equal(encoder(codes, hidden), encoder(codes, hidden))
    rows, true = encoder.hash.rows(codes), PrefixHash(4, 4, 2, 101).rows(codes)
    assert torch.equal(rows // 101, true // 101)  # still in the table of its order and head
    found = encoder.hash.index(codes.numpy())
    assert ((found < 0) == (PrefixHash(4, 4, 2, 101).index(codes.numpy()) < 0)).all()


@pytest.mark.parametrize(
    ("codes", "error", "match"),
    [
        (torch.tensor([[0, -1, 2, 3]]), ValueError, "code -1 is out of range"),
        (torch.tensor([[0, 16, 2, 3]]), ValueError, "code 16 is out of range, expected 0 to 15"),
        (torch.zeros(0, 4, dtype=torch.int64), ValueError, "at least one item"),
        (torch.zeros(1, 5, dtype=torch.int64), ValueError, "5 levels, expected at most 4"),
        (torch.full((1, 4), torch.nan), TypeError, "float32, expected torch.int64"),
    ],
    ids=["negative", "too large", "empty", "levels", "nan"],
)
def test_bad_codes_are_refused(codes, error, match):
    with pytest.raises(error, match=match):
        check_codes(codes, 16, 4)
    with pytest.raises(error, match=match):
        made()(codes, torch.zeros(*codes.shape, 12))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"active_levels": (1, 2)}, "active_levels.0. is 1.0, expected a whole number at least 2"),
        ({"active_levels": (5,)}, "active_levels.0. is 5"),
        ({"active_levels": (2.5,)}, "active_levels.0. is 2.5"),
        ({"active_levels": (3, 3)}, "expected each value once"),
        ({"n_levels": 1}, "active_levels"),
        ({"active_levels": ()}, "active_levels is empty"),
        ({"n_codes": 0}, "n_codes is 0"),
        ({"d_model": 1.5}, "d_model is 1.5"),
        ({"max_order": 0}, "max_order is 0"),
        ({"table_size": 1}, "table_size is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"kind": "infix"}, "kind is 'infix'"),
        ({"d_mem": 9}, "a multiple of 2 heads"),
        ({"init_std": -1.0}, "at least 0"),
    ],
)
def test_bad_configs_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        replace(SMALL, **change)


@pytest.mark.parametrize(("n_levels", "active"), [(2, (2,)), (3, (2, 3)), (4, (3, 4)), (8, (7, 8))])
def test_any_number_of_levels_has_its_defaults(n_levels, active):
    """The two deepest levels, and orders that the levels allow: on three levels not four."""
    config = PrefixMemConfig(n_levels=n_levels, n_codes=300, table_size=50)
    assert (config.active_levels, config.max_order) == (active, min(4, n_levels))
    codes = codes_of((2, n_levels), 300)
    assert made(config).memory(codes).shape == (2, len(active), 64)


@settings(max_examples=25)
@given(
    n_levels=st.integers(2, 5),
    n_codes=st.integers(2, 40),
    size=st.integers(2, 300),
    heads=st.integers(1, 4),
    data=st.data(),
)
def test_any_shape_is_causal_and_starts_at_nothing(n_levels, n_codes, size, heads, data):
    active = data.draw(st.sets(st.integers(2, n_levels), min_size=1))
    config = PrefixMemConfig(
        n_levels=n_levels,
        n_codes=n_codes,
        d_model=6,
        d_mem=4 * heads,
        n_heads=heads,
        table_size=size,
        max_order=data.draw(st.integers(1, n_levels)),
        active_levels=tuple(active),
    )
    codes = codes_of((2, 3, n_levels), n_codes)
    fresh = made(config)(codes, torch.randn(2, 3, n_levels, 6))
    assert not fresh.any()
    encoder = made(replace(config, init_std=0.5))
    assert guarantees.sees_no_further(encoder, codes.numpy(), n_codes, 6)
    assert encoder.hash.rows(codes).max() < encoder.table.num_embeddings


@pytest.mark.parametrize("shape", [(2, 3, 12), (1, 4, 12), (4, 12)])
def test_every_code_has_its_embedding_and_none_is_cut_away(shape):
    encoder = made(TRAINED)
    with pytest.raises(ValueError, match=r"hidden has shape .*, expected \(2, 4, 'd_model'\)"):
        encoder(codes_of((2, 4)), torch.zeros(shape))


def test_codes_are_checked_also_where_nothing_is_added():
    encoder = made(replace(SMALL, active_levels=(4,)))
    assert not encoder(codes_of((2, 1)), torch.zeros(2, 1, 12)).any()
    with pytest.raises(ValueError, match="code 16 is out of range"):
        encoder(torch.tensor([[16]]), torch.zeros(1, 1, 12))


@pytest.mark.parametrize("max_order", [1, 4])
def test_the_sum_over_orders_starts_at_unit_scale(max_order):
    config = replace(SMALL, table_size=4001, max_order=max_order)
    weight = made(config).table.weight
    assert weight.std().item() == pytest.approx(max_order**-0.5, rel=0.02)


def test_only_a_hash_that_gives_the_same_rows_twice_is_saved(tmp_path):
    encoder = made(TRAINED)
    encoder.hash = RandomRows(encoder.hash)
    with pytest.raises(ValueError, match="hash is a RandomRows, expected a PrefixHash"):
        save_encoder(encoder, tmp_path / "memory.safetensors")
