"""Actions and their mask: three things stay apart, and nothing of a masked action is left."""

import numpy as np
import pytest
import torch
from ur_worlds import actions

from lib.unified_ranking.actions import ActionVocab, mask_actions, with_mask

VOCAB = ActionVocab(("save", "like", "hide"))


def test_names_become_columns_in_their_order():
    assert VOCAB.encode([["hide"], [], ("like", "save")]).tolist() == [
        [0, 0, 1],
        [0, 0, 0],
        [1, 1, 0],
    ]
    assert VOCAB.encode([]).shape == (0, 3)
    assert VOCAB.columns(["hide", "save"]) == [2, 0]
    assert len(VOCAB) == 3


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((), "names is empty"),
        ("save", "names is 'save'"),
        (("save", ""), r"names\[1\] is ''"),
        (("save", "save"), r"names\[1\] is 'save', expected each value once"),
    ],
)
def test_a_vocabulary_without_clear_names_is_refused(names, says):
    with pytest.raises(ValueError, match=says):
        ActionVocab(names)


def test_an_unknown_action_is_refused_and_the_closest_named():
    with pytest.raises(ValueError, match="did you mean 'save'"):
        VOCAB.encode([["saved"]])
    with pytest.raises(ValueError, match="sequence of names"):
        VOCAB.columns("save")


def test_stars_become_actions_at_both_ends_of_their_bounds():
    bounds = {"save": (5, 5), "like": (4, 5), "hide": (0, 2)}
    assert VOCAB.grade([5, 4, 3, 2, 0.5], bounds).tolist() == [
        [1, 1, 0],
        [0, 1, 0],
        [0, 0, 0],
        [0, 0, 1],
        [0, 0, 1],
    ]
    with pytest.raises(ValueError, match="lack 'hide'"):
        VOCAB.grade([1], {"save": (5, 5), "like": (4, 5)})
    with pytest.raises(ValueError, match="least, largest"):
        VOCAB.grade([1], bounds | {"like": (5, 4)})
    with pytest.raises(ValueError, match="'share'"):
        VOCAB.grade([1], bounds | {"share": (1, 1)})


def test_told_untold_and_nothing_done_are_three_things():
    given = torch.tensor([[[1.0, 0, 1], [0, 0, 0], [1, 0, 1]]])
    seen = with_mask(given, torch.tensor([[False, False, True]]))
    assert seen.tolist() == [[[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]]


def test_no_gradient_reaches_a_masked_action():
    given = actions(1, 2).requires_grad_()
    with_mask(given, torch.tensor([[True, False]])).sum().backward()
    assert given.grad.tolist() == [[[0, 0, 0], [1, 1, 1]]]


def test_the_share_masked_is_the_share_asked_for():
    given = torch.ones(50, 100, 1)
    for share in (0.0, 0.2, 1.0):
        seen, where = mask_actions(given, share, torch.Generator().manual_seed(0))
        assert float(where.double().mean()) == pytest.approx(share, abs=4 * (0.16 / 5000) ** 0.5)
        assert torch.equal(seen[..., -1].bool(), where)
        assert torch.equal(seen[..., 0].bool(), ~where)


def test_a_seed_gives_the_same_masks_whatever_the_share():
    """A larger share masks all that a smaller one does: arms of Table 4 differ in nothing else."""
    given = torch.ones(4, 30, 1)
    _, few = mask_actions(given, 0.1, torch.Generator().manual_seed(7))
    _, many = mask_actions(given, 0.3, torch.Generator().manual_seed(7))
    assert bool((many | ~few).all())
    assert int(many.sum()) > int(few.sum()) > 0
    assert torch.equal(few, mask_actions(given, 0.1, torch.Generator().manual_seed(7))[1])


@pytest.mark.parametrize(
    ("given", "where", "says"),
    [
        (torch.full((1, 1, 1), 2.0), torch.zeros(1, 1, dtype=torch.bool), "actions holds 2"),
        (
            torch.full((1, 1, 1), torch.nan),
            torch.zeros(1, 1, dtype=torch.bool),
            "actions holds nan",
        ),
        (torch.zeros(1, 2, 1), torch.zeros(1, 1, dtype=torch.bool), r"where has shape \(1, 1\)"),
        (torch.zeros(1, 1, 1), torch.zeros(1, 1), "where has type torch.float32"),
        (np.zeros((1, 1, 1)), torch.zeros(1, 1, dtype=torch.bool), "expected a tensor"),
        (torch.zeros(1, 1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.bool), "int64"),
    ],
)
def test_odd_actions_and_masks_are_refused(given, where, says):
    with pytest.raises(ValueError, match=says):
        with_mask(given, where)


def test_odd_shares_are_refused():
    for share in (-0.1, 20, float("nan")):
        with pytest.raises(ValueError, match="share is"):
            mask_actions(torch.ones(1, 1, 1), share, torch.Generator())
    with pytest.raises(ValueError, match="generator is 0"):
        mask_actions(torch.ones(1, 1, 1), 0.5, 0)
