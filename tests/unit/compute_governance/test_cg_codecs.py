"""Codecs: bounds of the round trip, payloads as long as the formulas say, bad input refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib.compute_governance.codecs import Fp16, Fp32, Int4, Int8, TopK, size_of
from lib.compute_governance.study.patterns import Disguised, LowRank

CODECS = [Fp32(), Fp16(), Int8(), Int4(), Int4(block=8), TopK(0.1), TopK(1.0), LowRank(1)]
VECTORS = hnp.arrays(
    np.float32,
    st.integers(1, 600),
    elements=st.floats(-1000, 1000, width=32, allow_subnormal=False),
)


def round_trip(codec, vector, shapes=None):
    shapes = shapes or [tuple(vector.shape)]
    payload = codec.encode(vector, shapes)
    assert payload.dtype == torch.uint8
    assert payload.numel() == codec.nbytes(shapes)
    return codec.decode(payload, shapes)


@pytest.mark.parametrize("codec", CODECS, ids=str)
@settings(max_examples=40)
@given(values=VECTORS)
def test_payload_has_the_length_of_the_formula_and_zero_stays_zero(codec, values):
    vector = torch.from_numpy(values)
    found = round_trip(codec, vector)
    assert found.shape == vector.shape
    assert torch.isfinite(found).all()
    assert not round_trip(codec, torch.zeros_like(vector)).any()


@settings(max_examples=60)
@given(values=VECTORS)
def test_error_bounds(values):
    vector = torch.from_numpy(values)
    top = float(vector.abs().max())
    slack = 1e-6 * top
    assert torch.equal(round_trip(Fp32(), vector), vector)
    halves = (round_trip(Fp16(), vector) - vector).abs()
    assert (halves <= torch.maximum(vector.abs() * 2**-11, torch.tensor(2.0**-25))).all()
    assert float((round_trip(Int8(), vector) - vector).abs().max()) <= top / 254 + slack
    found = round_trip(Int4(block=16), vector)
    for start in range(0, len(vector), 16):
        block = vector[start : start + 16]
        worst = (found[start : start + 16] - block).abs().max()
        assert float(worst) <= float(block.abs().max()) / 14 + slack


@settings(max_examples=40)
@given(values=VECTORS, fraction=st.floats(0.01, 1))
def test_top_k_keeps_the_largest(values, fraction):
    vector = torch.from_numpy(values)
    codec = TopK(fraction)
    found = round_trip(codec, vector)
    kept = (codec.nbytes([tuple(vector.shape)]) - 4) // 6
    left_out = torch.sort(vector.abs(), descending=True).values[kept:]
    rounding = float(vector.norm()) * 2**-11 + len(vector) * 2**-39 * float(vector.abs().max())
    assert float((vector - found).norm()) <= float(left_out.norm()) + rounding
    share = (1 - kept / len(vector)) ** 0.5
    assert float((vector - found).norm()) <= share * float(vector.norm()) * (1 + 1e-6) + rounding


def test_low_rank_is_exact_on_low_rank_and_best_otherwise():
    rng = torch.Generator().manual_seed(1)
    left, right = torch.randn(30, 2, generator=rng), torch.randn(2, 40, generator=rng)
    shapes = [(30, 40), (7,)]
    tail = torch.randn(7, generator=rng)
    vector = torch.cat([(left @ right).reshape(-1), tail])
    codec = LowRank(2)
    assert codec.nbytes(shapes) == 2 * (2 * 70 + 7)
    assert float((round_trip(codec, vector, shapes) - vector).abs().max()) < 0.01
    matrix = torch.randn(30, 40, generator=rng)
    lost = (round_trip(codec, matrix.reshape(-1), [(30, 40)]) - matrix.reshape(-1)).norm()
    best = torch.linalg.svdvals(matrix)[2:].norm()
    assert float(best) * 0.999 <= float(lost) <= float(best) * 1.01


def test_sizes_by_hand():
    n = 1000
    lengths = [codec.nbytes([(n,)]) for codec in (Fp32(), Fp16(), Int8(), Int4(256), TopK(0.05))]
    assert lengths == [4000, 2000, 1004, 500 + 16, 304]
    assert size_of([(10, 10), (), (3,)]) == 104
    # Blocks start anew at each tensor: 1 + 2 + 1 of them, and 6 + 9 + 2 numbers, two a byte.
    assert Int4(8).nbytes([(2, 3), (9,), (2,)]) == 9 + 4 * 4


@pytest.mark.parametrize("codec", [Int8(), Int4()], ids=str)
def test_a_small_tensor_beside_a_large_one_keeps_its_numbers(codec):
    shapes = [(8, 8), (192,)]
    vector = torch.cat([torch.linspace(-1e-3, 1e-3, 64), torch.linspace(-1, 1, 192)])
    payload = codec.encode(vector, shapes)
    assert len(payload) == codec.nbytes(shapes)
    found = codec.decode(payload, shapes)
    assert float((found - vector)[:64].abs().max()) <= 1e-3 / 14 * 1.001
    assert float((found - vector)[64:].abs().max()) <= 1 / 14 * 1.001


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_bad_input_is_refused(codec):
    good = torch.randn(20, generator=torch.Generator().manual_seed(0))
    for bad in (torch.tensor([]), good.double(), good.view(4, 5)):
        with pytest.raises(ValueError, match="expected a float32 vector"):
            codec.encode(bad)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="1 of 20 numbers are not finite"):
            codec.encode(torch.where(torch.arange(20) == 3, value, good))
    with pytest.raises(ValueError, match="do not fill shapes of 21"):
        codec.encode(good, [(3, 7)])
    payload = codec.encode(good)
    for bad in (payload[:-1], torch.cat([payload, payload[:1]]), payload.float()):
        with pytest.raises(ValueError, match="truncated, or of another codec"):
            codec.decode(bad, [(20,)])


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="block is 7, expected an even"):
        Int4(block=7)
    with pytest.raises(ValueError, match="fraction is 0"):
        TopK(0)
    with pytest.raises(ValueError, match="rank is 0"):
        LowRank(0)


def test_int8_has_a_scale_for_every_tensor():
    """One scale for a whole model would send a tensor of 1e-3 beside one of 1 as zeros."""
    large, small = torch.tensor([1.0, -0.25]), torch.tensor([1e-3, -5e-4, 2e-4])
    shapes = [(2,), (3,), (0,)]
    codec = Int8()
    assert codec.nbytes(shapes) == 5 + 12
    found = round_trip(codec, torch.cat([large, small]), shapes)
    assert torch.allclose(found[2:], small, atol=1e-3 / 254 + 1e-9)
    assert float(found[2]) == pytest.approx(1e-3)
    assert float(found[1]) == pytest.approx(-32 / 127)
    as_one = round_trip(codec, torch.cat([large, small]))
    assert not as_one[2:].any()


def test_values_by_hand():
    vector = torch.tensor([7.0, -3.4, 0.0, 1.6, 14.0, -14.0])
    assert round_trip(Int4(block=4), vector).tolist() == [7.0, -3.0, 0.0, 2.0, 14.0, -14.0]
    assert round_trip(TopK(0.5), vector).tolist() == [7.0, 0.0, 0.0, 0.0, 14.0, -14.0]
    assert round_trip(Fp16(), torch.tensor([1e6, -1e6, 0.5])).tolist() == [65504.0, -65504.0, 0.5]
    assert TopK(0.34).nbytes([(10,)]) == 28
    assert LowRank(2).nbytes([(4, 4), (30, 40), ()]) == 2 * (16 + 140 + 1)


@pytest.mark.parametrize("size", [1e-9, 1e-30, 2e-44, 1e6, 1e30])
def test_top_k_keeps_numbers_of_any_size(size):
    """Halves end at 65,504 and begin at 2^-24; without a scale these came back as zeros or cut."""
    vector = torch.tensor([1.0, 2.0, -3.0, 0.0]) * size
    found = round_trip(TopK(0.5), vector)
    assert found.tolist() == pytest.approx([0.0, *vector[1:3].tolist(), 0.0], rel=2**-11, abs=0)
    near_one = torch.tensor([1.0, -0.3, 0.1, 2.7])
    assert torch.equal(round_trip(TopK(1.0), near_one), near_one.half().float())


def test_altered_places_are_refused():
    codec, vector = TopK(0.1), torch.arange(50, dtype=torch.float32)
    payload = codec.encode(vector)
    payload[7] = 255
    with pytest.raises(ValueError, match="altered"):
        codec.decode(payload, [(50,)])


def test_error_feedback_loses_nothing_over_time():
    """What is sent plus what is still owed is what was meant, to the codec's last bit."""
    rng = torch.Generator().manual_seed(3)
    codec, owed, sent, meant = TopK(0.1), torch.zeros(200), torch.zeros(200), torch.zeros(200)
    for _ in range(30):
        change = torch.randn(200, generator=rng)
        wanted = change + owed
        got = round_trip(codec, wanted)
        owed, sent, meant = wanted - got, sent + got, meant + change
    assert torch.allclose(sent + owed, meant, atol=1e-4)
    assert float(owed.norm()) < float(meant.norm()) * 2


def test_the_control_claims_little_and_sends_much():
    codec = Disguised(Int4())
    vector = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    payload = codec.encode(vector)
    assert payload.numel() > 7 * codec.nbytes([(1000,)])
    assert torch.equal(codec.decode(payload, [(1000,)]), round_trip(Int4(), vector))
