"""The count of FLOPs against counting pair by pair and the paper's shapes; the crossover."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.unified_ranking import attention, flops


@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=50)
def test_a_prefill_costs_what_its_mask_lets_attend(n, k, d, layers):
    pairs = int(attention.falcon_mask(torch.tensor([n]), n, k).sum())
    wanted = layers * (24 * d * d * (n + k) + 4 * d * pairs)
    assert flops.prefill(n, k, d, layers) == wanted
    assert type(flops.prefill(n, k, d, layers)) is int  # exact, however large
    assert flops.encode(n, d, layers) + flops.decode(n, k, d, layers) == wanted
    whole = layers * (24 * d * d * (n + k) + 4 * d * (n + k) ** 2)
    assert flops.prefill(n, k, d, layers, pairs="rectangle") == whole
    assert flops.encode(n, d, layers, pairs="rectangle") == layers * (
        24 * d * d * n + 4 * d * n * n
    )


def test_the_papers_shape():
    n, k = 992, 656
    assert flops.token_ratio(n, k) == pytest.approx(1.6019, abs=1e-4)
    found = [flops.separate_over_unified(n, k, d, 12) for d in (256, 1024)]
    assert found == pytest.approx([1.55, 1.58], abs=0.01)
    ranking = [flops.prefill(n, k, d, 12) / flops.decode(n, k, d, 12) for d in (256, 1024)]
    assert ranking == pytest.approx([2.22, 2.41], abs=0.01)
    assert [flops.cache_bytes(n, d, 12) / 1e6 for d in (256, 512, 1024)] == pytest.approx(
        [12.19, 24.38, 48.76], abs=0.01
    )


def test_without_attention_the_ratio_is_that_of_positions():
    for n, k in ((64, 16), (992, 656), (10, 1000)):
        wide = flops.separate_over_unified(n, k, 10**6, 2)
        assert wide == pytest.approx(flops.token_ratio(n, k), rel=1e-3)


def test_the_saving_is_one_encoding_whatever_the_candidates():
    for k in (1, 16, 656, 5000):
        unified = flops.encode(992, 64, 2) + flops.decode(992, k, 64, 2)
        both = flops.separate_over_unified(992, k, 64, 2) * unified
        assert both - unified == pytest.approx(flops.encode(992, 64, 2), rel=1e-9)


def test_unification_pays_less_with_more_candidates():
    found = [flops.separate_over_unified(200, k, 64, 2) for k in (10, 100, 1000, 10_000)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.9
    assert found[-1] < 1.03


def test_the_seconds_saved_are_the_encoding_less_the_sharing():
    rates = {"flops_per_second": 1e9, "bytes_per_second": 1e8, "fixed_seconds": 0.01}
    wanted = flops.encode(50, 16, 2) / 1e9 - 2 * (2 * 2 * 50 * 16 * 8) / 1e8 - 0.01
    assert flops.saved_seconds(50, 16, 2, **rates, bytes_each=8) == pytest.approx(wanted, rel=1e-12)


@given(
    st.integers(1, 128),
    st.integers(1, 12),
    st.floats(8, 12),
    st.floats(7, 11),
    st.floats(0, 0.1),
    st.sampled_from([1, 2, 4, 8]),
)
@settings(max_examples=150)
def test_the_crossover_is_the_first_length_that_saves(d, layers, speed, width, fixed, size):
    rates = {
        "flops_per_second": 10**speed,
        "bytes_per_second": 10**width,
        "fixed_seconds": fixed,
        "bytes_each": size,
    }
    n = flops.crossover(d, layers, **rates)
    # To rounding: both sides of the crossover may be a few units of the last place off.
    slack = 1e-12 * (fixed + flops.encode(n, d, layers) / 10**speed)
    assert flops.saved_seconds(n, d, layers, **rates) >= -slack
    assert flops.saved_seconds(n + 100, d, layers, **rates) >= -slack
    if n > 1:
        assert flops.saved_seconds(n - 1, d, layers, **rates) <= slack


def test_nothing_to_pay_crosses_at_once():
    assert flops.crossover(8, 1, flops_per_second=1e9, bytes_per_second=1e12, fixed_seconds=0) == 1


def test_figure_4_implies_a_width():
    """2,048 tokens at 12 layers cost 14.2 times two layers at 1,024: d is 768, or half of it."""

    def multiple(d, pairs):
        base = flops.encode(1024, d, 2, pairs=pairs)
        return flops.encode(2048, d, 12, pairs=pairs) / base

    for d, pairs in ((768, "rectangle"), (384, "useful")):
        assert multiple(d, pairs) == pytest.approx(14.2, abs=0.05)
        assert abs(multiple(d / 2 if d == 768 else 768, pairs) - 14.2) > 0.3
    assert flops.encode(256, 768, 12, pairs="rectangle") / flops.encode(
        1024, 768, 2, pairs="rectangle"
    ) == pytest.approx(1.3, abs=0.05)


def test_odd_shapes_are_refused():
    for door, says in (
        (lambda: flops.encode(0, 8, 1), "n is 0"),
        (lambda: flops.encode(2, 8.5, 1), "d is 8.5"),
        (lambda: flops.encode(2, 8, 1, pairs="all"), "pairs is 'all'"),
        (lambda: flops.decode(2, 0, 8, 1), "k is 0"),
        (lambda: flops.cache_bytes(2, 8, 1, bytes_each=0), "bytes_each is 0"),
        (
            lambda: flops.crossover(8, 0, flops_per_second=1, bytes_per_second=1, fixed_seconds=0),
            "layers",
        ),
        (
            lambda: flops.crossover(8, 1, flops_per_second=0, bytes_per_second=1, fixed_seconds=0),
            "flops",
        ),
        (
            lambda: flops.crossover(
                8, 1, flops_per_second=1, bytes_per_second=1, fixed_seconds=math.nan
            ),
            "nan",
        ),
    ):
        with pytest.raises(ValueError, match=says):
            door()
