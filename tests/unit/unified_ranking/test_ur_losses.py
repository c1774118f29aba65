"""Losses against enumeration, brute force and the formulas written out."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.unified_ranking.losses import (
    CountMinSketch,
    JointLoss,
    action_loss,
    expected_counts,
    log_denominator,
    next_engaged,
    sampled_softmax,
)


# ── the sketch ──────────────────────────────────────────────────────────────────────────────────
@given(
    st.lists(st.integers(0, 40), max_size=80),
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(0, 9),
)
@settings(max_examples=80)
def test_the_sketch_never_underestimates(stream, width, depth, seed):
    sketch = CountMinSketch(width, depth, seed=seed)
    for start in range(0, len(stream), 7):
        sketch.add(stream[start : start + 7])
    truth = Counter(stream)
    found = sketch.count(range(41))
    assert all(found[item] >= truth[item] for item in range(41))
    assert sketch.total == len(stream)
    assert found.max(initial=0) <= len(stream)


def test_a_wide_sketch_counts_and_a_narrow_one_counts_everything():
    stream = [3] * 5 + [8] * 2 + [4]
    wide, narrow = CountMinSketch(10_000, 3), CountMinSketch(1, 2)
    for sketch in (wide, narrow):
        sketch.add(stream)
    assert wide.count([3, 8, 4, 5]).tolist() == [5, 2, 1, 0]
    assert wide.share([3, 8]).tolist() == [0.625, 0.25]
    assert narrow.count([3, 5]).tolist() == [8, 8]


def test_what_is_added_twice_at_once_is_counted_twice():
    sketch = CountMinSketch(1000, 2)
    sketch.add([5, 5])
    sketch.add([5])
    assert sketch.count([5]).tolist() == [3]


def test_the_bound_on_the_error_holds_and_more_rows_help():
    stream = np.random.default_rng(0).zipf(1.3, 20_000) % 5000
    truth = np.bincount(stream, minlength=5000)
    errors = []
    for depth in (1, 4):
        sketch = CountMinSketch(200, depth, seed=1)
        sketch.add(stream)
        error = sketch.count(np.arange(5000)) - truth
        assert (error >= 0).all()
        assert (error > math.e / 200 * len(stream)).mean() <= math.exp(-depth)
        errors.append(error.mean())
    assert errors[1] < 0.6 * errors[0]


def test_seeds_choose_other_hashes():
    tables = []
    for seed in (0, 1):
        sketch = CountMinSketch(50, 1, seed=seed)
        sketch.add(range(20))
        tables.append(sketch._table.tolist())
    assert tables[0] != tables[1]


def test_an_empty_sketch_has_no_shares():
    with pytest.raises(ValueError, match="the sketch is empty"):
        CountMinSketch(5, 1).share([1])


# ── log Q ───────────────────────────────────────────────────────────────────────────────────────
SHARE = np.array([0.5, 0.3, 0.15, 0.05])
SCORES = torch.tensor([0.3, -0.4, 1.1, 0.7], dtype=torch.float64)


def mean_denominator(form="exact", corrected=True, target=2):
    """Return the mean of the sampled denominator over all draws of two items, enumerated."""
    expected = expected_counts(SHARE, n_batch=2, n_random=0, n_items=4)
    logs = torch.from_numpy(expected).log() if corrected else torch.zeros(4, dtype=torch.float64)
    mean = 0.0
    for draw in itertools.product(range(4), repeat=2):
        drawn = torch.tensor(draw)
        _, denominator = log_denominator(
            SCORES[[target]],
            SCORES[drawn][None],
            logs[drawn],
            (drawn == target)[None],
            form=form,
            log_expected_positive=logs[[target]],
        )
        mean += math.prod(SHARE[i] for i in draw) * float(denominator.exp())
    return mean


def test_the_corrected_denominator_is_unbiased_and_the_uncorrected_is_not():
    truth = float(SCORES.exp().sum())
    for target in range(4):
        assert mean_denominator(target=target) == pytest.approx(truth, rel=1e-12)
        assert abs(mean_denominator(corrected=False, target=target) / truth - 1) > 0.05


def test_the_printed_form_is_off_by_what_the_proposition_says():
    truth = float(SCORES.exp().sum())
    for target in range(4):
        bias = float(SCORES[target].exp()) * (1 / (2 * SHARE[target]) - 1)
        found = mean_denominator(form="printed", target=target)
        assert found - truth == pytest.approx(bias, abs=1e-12)


def test_expected_counts_are_those_of_both_kinds_of_draws():
    rng = np.random.default_rng(0)
    counted = np.zeros(4)
    for _ in range(4000):
        batch = rng.choice(4, 3, p=SHARE)
        counted += np.bincount(np.r_[batch, rng.integers(4, size=2)], minlength=4)
    found = expected_counts(SHARE, n_batch=3, n_random=2, n_items=4)
    assert found.tolist() == pytest.approx([2.0, 1.4, 0.95, 0.65])
    assert np.allclose(counted / 4000, found, atol=0.05)


def test_an_item_never_seen_has_a_finite_logarithm():
    assert expected_counts([0.0], n_batch=4, n_random=0, n_items=9)[0] == pytest.approx(4e-9)
    with pytest.raises(ValueError, match="expected a negative"):
        expected_counts([0.5], n_batch=0, n_random=0, n_items=4)


def test_with_the_whole_catalogue_the_loss_is_the_full_softmax():
    generator = torch.Generator().manual_seed(0)
    table = torch.nn.functional.normalize(torch.randn(6, 3, generator=generator), dim=1)
    queries, items = table[[1, 4]].roll(1, dims=1), torch.tensor([5, 0])
    found = sampled_softmax(
        queries, table[items], items, table, torch.arange(6), torch.ones(6), scale=4.0
    )
    wanted = torch.nn.functional.cross_entropy(4 * queries @ table.T, items)
    assert float(found) == pytest.approx(float(wanted), rel=1e-6)


def test_frequent_negatives_weigh_less():
    eye, one = torch.eye(3), torch.tensor([0])
    rest = torch.tensor([1, 2])

    def loss(expected, **more):
        return float(
            sampled_softmax(eye[:1], eye[:1], one, eye[1:], rest, expected, scale=1.0, **more)
        )

    plain = math.log(math.e + 2) - 1
    assert loss(torch.ones(2)) == pytest.approx(plain, rel=1e-6)
    assert loss(torch.tensor([4.0, 4])) == pytest.approx(math.log(math.e + 0.5) - 1, rel=1e-6)
    printed = loss(torch.ones(2), form="printed", expected_targets=torch.tensor([2.0]))
    assert printed == pytest.approx(math.log(math.e / 2 + 2) - math.log(math.e / 2), rel=1e-6)


def test_a_negative_that_is_the_target_is_left_out():
    eye = torch.eye(2)
    found = sampled_softmax(
        eye[:1], eye[:1], torch.tensor([7]), eye, torch.tensor([7, 3]), torch.ones(2), scale=1.0
    )
    assert float(found) == pytest.approx(math.log(math.e + 1) - 1, rel=1e-6)
    alone = sampled_softmax(
        eye[:1], eye[:1], torch.tensor([7]), eye[:1], torch.tensor([7]), torch.ones(1), scale=1.0
    )
    assert float(alone) == 0  # nothing to be told apart from


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"expected": torch.tensor([1.0, 0.0])}, "expected holds 0"),
        ({"expected": torch.ones(3)}, "expected has shape"),
        ({"form": "print"}, "did you mean 'printed'"),
        ({"form": "printed"}, "log_expected_positive is None"),
        ({"scale": 0}, "scale is 0"),
        ({"queries": torch.zeros(0, 2), "targets": torch.zeros(0, 2)}, "queries is empty"),
        ({"target_items": torch.tensor([0.0])}, "target_items has type"),
        ({"negatives": torch.zeros(2, 3)}, "negatives has shape"),
    ],
)
def test_odd_samples_are_refused(change, says):
    eye = torch.eye(2)
    given_ = {
        "queries": eye[:1],
        "targets": eye[:1],
        "target_items": torch.tensor([0]),
        "negatives": eye,
        "negative_items": torch.tensor([0, 1]),
        "expected": torch.ones(2),
    }
    with pytest.raises(ValueError, match=says):
        sampled_softmax(**{**given_, **change})


# ── targets ─────────────────────────────────────────────────────────────────────────────────────
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=8), st.integers(0, 3))
@settings(max_examples=120)
def test_the_target_is_the_next_engaged_event_strictly_later(events, padding):
    events = sorted(events, key=lambda one: one[0])
    n = len(events) + padding
    times = torch.zeros(1, n, dtype=torch.float64)
    engaged = torch.ones(1, n, dtype=torch.bool)  # padding is engaged, and must not count
    for place, (time, hit) in enumerate(events):
        times[0, place], engaged[0, place] = time, hit
    found = next_engaged(engaged, times, torch.tensor([len(events)]))[0].tolist()
    assert len(found) == n + 1
    for position in range(len(events) + 1):
        now = -1 if position == 0 else events[position - 1][0]
        later = [i for i, (time, hit) in enumerate(events) if hit and time > now]
        assert found[position] == (later[0] if later else -1)
    assert found[len(events) + 1 :] == [-1] * padding


def test_odd_times_of_targets_are_refused():
    hit, when, length = torch.ones(1, 2) > 0, torch.zeros(1, 2).double(), torch.tensor([2])
    for arguments, says in (
        ((hit, when[:, :1], length), "times has shape"),
        ((hit, when * torch.nan, length), "times holds nan"),
        ((hit, when, length + 1), "lengths holds 3"),
        ((when, when, length), "engaged has type"),
    ):
        with pytest.raises(ValueError, match=says):
            next_engaged(*arguments)


# ── actions ─────────────────────────────────────────────────────────────────────────────────────
def test_the_action_loss_is_its_formula():
    logits = torch.tensor([[[2.0, -1.0], [0.5, 0.0], [9.0, 9.0]]])
    labels = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    here = torch.tensor([[True, True, False]])

    def entropy(logit, label):
        p = 1 / (1 + math.exp(-logit))
        return -math.log(p if label else 1 - p)

    first = (entropy(2.0, 1) + entropy(0.5, 0)) / 2
    second = (entropy(-1.0, 0) + entropy(0.0, 1)) / 2
    assert float(action_loss(logits, labels, here)) == pytest.approx(first + second, rel=1e-6)
    weighted = float(action_loss(logits, labels, here, [0.0, 3.0]))
    assert weighted == pytest.approx(3 * second, rel=1e-6)


def test_no_place_gives_no_loss_and_no_gradient():
    logits = torch.ones(1, 2, 1, requires_grad=True)
    found = action_loss(logits, torch.ones(1, 2, 1), torch.zeros(1, 2, dtype=torch.bool))
    found.backward()
    assert float(found.detach()) == 0
    assert logits.grad.abs().sum() == 0


def test_odd_labels_and_weights_are_refused():
    zeros, here = torch.zeros(1, 2, 2), torch.ones(1, 2, dtype=torch.bool)
    for arguments, says in (
        ((zeros, zeros + 2, here), "labels holds 2"),
        ((zeros, zeros[..., :1], here), "labels has shape"),
        ((zeros, zeros * torch.nan, here), "labels holds nan"),
        ((zeros, zeros, here, [1.0]), "weights has shape"),
        ((zeros, zeros, here, [1.0, -1.0]), r"weights\[1\] is -1.0"),
    ):
        with pytest.raises(ValueError, match=says):
            action_loss(*arguments)


def test_the_joint_loss_is_the_sum_of_its_parts():
    loss = JointLoss(torch.tensor(1.0), torch.tensor(10.0), torch.tensor(100.0))
    assert float(loss.total()) == 111
    assert float(loss.total(item=0, action=2)) == 220
    with pytest.raises(ValueError, match="item is -1"):
        loss.total(item=-1)
