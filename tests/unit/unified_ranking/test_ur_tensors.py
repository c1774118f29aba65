"""Hashes that are the same everywhere, flags, and what a check of a tensor says."""

import numpy as np
import pytest
import torch

from lib.unified_ranking.tensors import flags, mix, tensor


def test_hashes_are_the_same_on_every_machine():
    assert mix([0, 1, 2]).tolist() == [
        10717681397663059212,
        5202394520051780936,
        13758016591972844135,
    ]
    assert mix([1], 5).tolist() == [1334134990780314293]


def test_hashes_are_even_and_every_bit_counts():
    found = mix(np.arange(20_000))
    assert len(np.unique(found)) == 20_000
    for bit in range(64):
        assert abs((found >> np.uint64(bit) & np.uint64(1)).mean() - 0.5) < 0.02
    one = mix([12345])[0]
    for bit in range(62):
        turned = int(one ^ mix([12345 ^ (1 << bit)])[0]).bit_count()
        assert 12 < turned < 52


def test_flags_are_zeros_ones_and_truth_values():
    for given in ([True, False], [1, 0], np.array([True, False]), [1.0, 0.0]):
        assert flags("x", given, ("n",)).tolist() == [1, 0]
    assert flags("x", [], ("n",)).shape == (0,)
    for given, says in (
        ([0.5], "x holds 0.5"),
        ([2, 0], "x holds 2"),
        ([np.nan], r"x\[0\] is nan"),
        ([[1], [1, 0]], "x"),
        (["1"], r"x\[0\] is '1'"),
    ):
        with pytest.raises(ValueError, match=says):
            flags("x", given, ("n",))


@pytest.mark.parametrize(
    ("value", "arguments", "says"),
    [
        ([1.0], {}, "x is .1.0., expected a tensor of shape"),
        (torch.ones(2), {"shape": ("n", 2)}, r"x has shape \(2,\), expected \(n, 2\)"),
        (torch.ones(2, 3), {"shape": ("n", "n")}, r"x has shape \(2, 3\)"),
        (torch.ones(2), {"kind": "whole"}, "x has type torch.float32, expected whole values"),
        (torch.ones(2).long(), {"kind": "truth"}, "x has type torch.int64, expected truth values"),
        (torch.ones(2) > 0, {}, "x has type torch.bool, expected float values"),
        (torch.ones(2) * 1j, {}, "x has type torch.complex64"),
        (torch.tensor([1.0, torch.nan]), {}, "x holds nan, expected finite numbers"),
        (torch.tensor([1.0, -torch.inf]), {}, "x holds -inf"),
        (torch.tensor([1.0, 3.0]), {"at_most": 2}, "x holds 3, expected numbers of at most 2"),
        (torch.tensor([1.0, 3.0]), {"at_least": 2}, "x holds 1, expected numbers of at least 2"),
        (torch.ones(2), {"kind": "odd"}, "kind is 'odd'"),
    ],
)
def test_a_tensor_is_checked_and_its_error_says_what_was_found(value, arguments, says):
    with pytest.raises(ValueError, match=says):
        tensor("x", value, **{"shape": ("n",), **arguments})


def test_what_is_right_comes_back_as_it_is():
    for value, arguments in (
        (torch.ones(2, 2), {"shape": ("n", "n"), "at_least": 1, "at_most": 1}),
        (torch.ones(0, 3), {"shape": ("n", 3), "at_least": 5}),
        (torch.ones(2).long(), {"shape": ("n",), "kind": "whole"}),
        (torch.tensor([torch.nan]), {"shape": ("n",), "finite": False}),
    ):
        assert tensor("x", value, **arguments) is value
