"""What evaluation counts, on numbers small enough to count by hand."""

import numpy as np
import pytest
import torch

from lib.semantic_ids.catalogue import SidCatalog
from lib.semantic_ids.counts import NGramCounts
from lib.semantic_ids.datasets import Examples
from lib.semantic_ids.evaluation import (
    Mixture,
    count_log_probs,
    fit_mixture,
    hits,
    nll,
    popularity_tertiles,
    shuffle_histories,
    teacher_forced,
    top,
    with_trie,
)
from lib.semantic_ids.intervals import Estimate, Resample
from lib.semantic_ids.study.lm_arms import bleu, bleu_counts
from lib.semantic_ids.transformer import GenerativeTransformer, TransformerConfig

LOGS = np.log(
    np.array(
        [
            [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]],
            [[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]],
        ],
        np.float32,
    )
)
TARGETS = np.array([[0, 1], [2, 0]])
RNG = np.random.default_rng(0)


def test_hits_losses_and_places():
    assert hits(LOGS, TARGETS).tolist() == [[True, False], [False, True]]
    np.testing.assert_allclose(np.exp(-nll(LOGS, TARGETS)), [[0.7, 0.1], [0.2, 0.6]], rtol=1e-6)
    assert top(LOGS, TARGETS, 2).tolist() == [[True, False], [False, True]]  # two share a place


def test_equal_scores_share_the_mean_of_their_places():
    """A model that tells no codes apart has nothing in its top, and no hit, whatever the target."""
    flat = np.full((6, 1, 12), -np.log(12), np.float32)
    targets = np.arange(0, 12, 2)[:, None]
    assert not top(flat, targets, 5).any()
    assert top(flat, targets, 7).all()  # the mean place is 6.5
    assert not hits(flat, targets).any()
    two = np.log(np.array([[[0.4, 0.4, 0.2]]] * 3, np.float32))  # two of three share the first
    assert not hits(two, np.arange(3)[:, None]).any()
    some = np.random.default_rng(1).normal(size=(50, 2, 9)).round(1)  # with ties
    some = (some - np.log(np.exp(some).sum(2, keepdims=True))).astype(np.float32)
    wanted = some.argmax(2)
    assert np.array_equal(hits(some, wanted), top(some, wanted, 1))
    assert 0 < hits(some, wanted).mean() < 1
    pair = np.log(np.array([[[0.3, 0.3, 0.2, 0.2]]], np.float32))
    places = [[bool(top(pair, np.array([[c]]), k)[0, 0]) for k in (1, 2, 3, 4)] for c in range(4)]
    assert places == [[False, True, True, True]] * 2 + [[False, False, False, True]] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "ask",
    [
        hits,
        nll,
        lambda logs, targets: top(logs, targets, 2),
        lambda logs, targets: fit_mixture(logs, LOGS, targets),
        lambda logs, targets: fit_mixture(LOGS, logs, targets),
        lambda logs, targets: nll(Mixture((1.0, 1.0))(logs, LOGS), targets),
        lambda logs, targets: nll(Mixture((1.0, 1.0))(LOGS, logs), targets),
    ],
)
def test_what_is_no_probability_is_no_answer(ask, bad):
    broken = LOGS.copy()
    broken[1, 0, 2] = bad
    with pytest.raises(ValueError, match=f"sum to {bad}"):
        ask(broken, TARGETS)
    ask(LOGS, TARGETS)
    for targets in (TARGETS + 0.5, TARGETS + 2, TARGETS - 1, TARGETS[:1], TARGETS[:, :1]):
        with pytest.raises(ValueError, match="targets"):
            ask(LOGS, targets)
    with pytest.raises(ValueError, match="shape"):
        ask(LOGS[:0], TARGETS[:0])


def test_tertiles_follow_the_train_counts():
    train = np.array([[0, 0]] * 1 + [[1, 0]] * 5 + [[2, 0]] * 9)
    targets = np.array([[0, 1], [1, 1], [2, 1]])
    assert popularity_tertiles(targets, train, 1).tolist() == [0, 1, 2]


def test_counts_in_the_form_of_a_model():
    codes = np.array([[0, 1], [0, 2], [1, 0]])
    counts = NGramCounts(codes, 3, weights=[5, 1, 2])
    found = count_log_probs(counts, codes)
    assert found.shape == (3, 2, 3)
    np.testing.assert_allclose(np.exp(found).sum(2), 1, rtol=1e-5)
    after = [counts.probabilities(codes[:, :n])[np.arange(3), codes[:, n]] for n in (0, 1)]
    np.testing.assert_allclose(np.exp(-nll(found, codes)).T, after, rtol=1e-5)


def test_the_weight_of_counts_goes_to_what_knows_the_target():
    targets = RNG.integers(5, size=(400, 1))
    knows = np.full((400, 1, 5), np.log(0.04), np.float32)
    np.put_along_axis(knows, targets[:, :, None], np.log(0.84), axis=2)
    noise = RNG.normal(size=knows.shape).astype(np.float32)
    noise -= np.log(np.exp(noise).sum(axis=2, keepdims=True))
    assert fit_mixture(knows, noise, targets).weights == (0.0,)
    assert fit_mixture(noise, knows, targets).weights == (3.0,)  # the largest of the grid


def test_a_mixture_adds_logarithms_a_level_at_a_time():
    model = np.log(np.array([[[0.5, 0.5], [0.2, 0.8]]], np.float32))
    counts = np.log(np.array([[[0.9, 0.1], [0.8, 0.2]]], np.float32))
    found = np.exp(Mixture((1.0, 0.5))(model, counts))
    np.testing.assert_allclose(found[0, 0], [0.9, 0.1], rtol=1e-5)
    second = np.array([0.2 * 0.8**0.5, 0.8 * 0.2**0.5])
    np.testing.assert_allclose(found[0, 1], second / second.sum(), rtol=1e-5)


def examples(n=6):
    histories = tuple(RNG.integers(10, size=1 + i % 4) for i in range(n))
    return Examples(np.arange(n), histories, RNG.integers(10, size=n))


def test_teacher_forcing_gives_each_example_its_own_row():
    torch.manual_seed(0)
    shape = TransformerConfig(n_levels=2, n_codes=4, max_items=4, d_model=8, n_heads=2)
    model = GenerativeTransformer(shape).eval()
    codes = RNG.integers(4, size=(10, 2))
    some = examples()
    found = teacher_forced(model, some, codes, batch=2)
    for i, (history, target) in enumerate(zip(some.histories, some.targets, strict=True)):
        items = np.append(history[-3:], target)
        with torch.no_grad():
            logits = model.target_logits(torch.from_numpy(codes[items])[None])[0]
        np.testing.assert_allclose(found[i], logits.log_softmax(-1), atol=1e-5)
    with pytest.raises(ValueError, match="training mode"):
        teacher_forced(model.train(), some, codes)


@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_a_broken_model_is_not_a_perfect_one(fill):
    torch.manual_seed(0)
    shape = TransformerConfig(n_levels=2, n_codes=4, max_items=4, d_model=8, n_heads=2)
    model = GenerativeTransformer(shape).eval()
    with torch.no_grad():
        model.heads[1].weight[2, 3] = fill
    with pytest.raises(ValueError, match="model are not finite"):
        teacher_forced(model, examples(), RNG.integers(4, size=(10, 2)))


def test_exchanged_histories_keep_targets():
    some = examples()
    other = shuffle_histories(some, 1)
    assert (other.targets == some.targets).all()
    one, two = (sorted(h.tolist() for h in e.histories) for e in (some, other))
    assert one == two


def test_bleu_of_a_known_case():
    # "the the the the the the the" against "the cat is on the mat": two of seven words, clipped.
    candidate, reference = ["the"] * 7, ["the", "cat", "is", "on", "the", "mat"]

    def score(ours, theirs, order=4):
        return float(bleu(bleu_counts([ours], [theirs], order=order)))

    assert score(candidate, reference, 1) == pytest.approx(2 / 7)
    assert score(reference, reference) == pytest.approx(1)
    assert score(reference[:3], reference, 1) == pytest.approx(np.exp(1 - 2))
    assert score(["dog"], reference) == 0
    assert score([], reference) == 0
    with pytest.raises(ValueError, match="0 candidates"):
        bleu_counts([], [])


def test_bleu_of_pairs_drawn_anew():
    texts = [["a", "b"], ["c"], ["d", "e", "f"]]
    counts = bleu_counts(texts, [["a", "b"], ["x"], ["d", "e", "g"]])
    drawn = bleu(counts, [[1, 1, 1], [2, 0, 1]])
    assert drawn[0] == pytest.approx(float(bleu(counts)))
    assert drawn[1] == pytest.approx(float(bleu(counts[[0, 0, 2]])))


def test_intervals_are_paired_by_user_and_seed():
    base = RNG.random((3, 500))
    draw = Resample(3, 500, draws=300)
    shifted = draw.estimate(draw.mean(base + 0.25) - draw.mean(base))
    assert (shifted.value, shifted.low, shifted.high) == pytest.approx((0.25, 0.25, 0.25))
    plain = draw.estimate(draw.mean(base))
    assert plain.low < base.mean() < plain.high
    assert plain.value == pytest.approx(base.mean())


def test_an_interval_has_about_the_width_that_theory_says():
    values = RNG.random(2000) < 0.3
    draw = Resample(1, 2000, draws=2000)
    found = draw.estimate(draw.mean(values))
    wanted = 2 * 1.96 * np.sqrt(values.mean() * (1 - values.mean()) / 2000)
    assert found.high - found.low == pytest.approx(wanted, rel=0.1)


def test_a_group_counts_its_own_users_only():
    draw = Resample(2, 4, draws=10)
    values = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
    where = np.array([True, True, False, False])
    assert draw.mean(values, where=where)[0] == pytest.approx(0.75)


def test_a_draw_without_anyone_of_a_group_is_no_zero():
    """One user whose value is 1 has a mean of 1 in each draw that holds them."""
    draw = Resample(1, 3, draws=400)
    only = np.array([False, True, False])
    found = draw.mean([0, 1, 0], where=only)
    assert set(found[~np.isnan(found)].tolist()) == {1.0}
    assert 60 < np.isnan(found).sum() < 180  # (2/3)^3 of the draws
    assert draw.estimate(found) == Estimate(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "where", "match"),
    [
        (np.ones((2, 3)), None, "expected"),
        (np.full(4, np.nan), None, "finite"),
        (np.ones(4), np.zeros(4, bool), "no user left"),
    ],
)
def test_bad_values_are_refused(values, where, match):
    with pytest.raises(ValueError, match=match):
        Resample(2, 4, draws=10).mean(values, where=where)
    with pytest.raises(ValueError, match="n_users is 0"):
        Resample(1, 0)


def test_draws_depend_on_the_seed_alone_and_by_default_on_none():
    """The same draws in every process: the first interval of the default seed."""
    values = np.arange(20.0)
    one, same, other = (
        draw.estimate(draw.mean(values))
        for draw in (
            Resample(1, 20, draws=50),
            Resample(1, 20, draws=50, seed=0),
            Resample(1, 20, draws=50, seed=1),
        )
    )
    assert one == same
    assert one != other


CATALOG = SidCatalog([[0, 1], [0, 2], [2, 0]], 3)


def test_with_the_trie_only_codes_of_items_compete():
    found = np.exp(with_trie(LOGS, TARGETS, CATALOG))
    np.testing.assert_allclose(
        found[0, 0], [0.7 / 0.8, 0, 0.1 / 0.8], rtol=1e-5
    )  # no item begins with 1
    np.testing.assert_allclose(
        found[0, 1], [0, 0.1 / 0.9, 0.8 / 0.9], rtol=1e-5
    )  # after 0: 1 and 2
    np.testing.assert_allclose(found[1, 1], [1, 0, 0], rtol=1e-5)  # after 2: 0 alone
    assert hits(with_trie(LOGS, TARGETS, CATALOG), TARGETS).tolist() == [
        [True, False],
        [False, True],
    ]
    with pytest.raises(ValueError, match="an ID that no item has"):
        with_trie(LOGS, np.array([[1, 1], [2, 0]]), CATALOG)


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ((-1.0, 1.0), ()),
        ((np.nan, 1.0), ()),
        ((1.0, 1.0), (0.0, 1.0)),
        ((1.0, 1.0), (1.0,)),
        ((), ()),
    ],
)
def test_a_mixture_that_is_none_is_refused(weights, shares):
    with pytest.raises(ValueError, match=r"weights|shares"):
        Mixture(weights, shares)


def test_a_rigid_mix_keeps_the_models_share_and_another_may_lower_it():
    """A model that is too sure, and wrong half the time."""
    targets = RNG.integers(2, size=(600, 1))
    sure = np.full((600, 1, 2), -9.0, np.float32)
    np.put_along_axis(sure, (targets ^ (RNG.random((600, 1)) < 0.3))[:, :, None], -1.2e-4, axis=2)
    even = np.log(np.full((600, 1, 2), 0.5, np.float32))
    assert fit_mixture(sure, even, targets, rigid=True).shares == (1.0,)
    assert fit_mixture(sure, even, targets).shares == (0.1,)  # log(.7 / .3) over 9


def test_nothing_but_minus_infinity_or_more_than_certain_is_no_answer():
    for wrong in (np.full_like(LOGS, -np.inf), LOGS + 5, LOGS - 25, LOGS + 0.002):
        with pytest.raises(ValueError, match="expected logarithms of probabilities"):
            hits(wrong, TARGETS)
    assert hits(LOGS + np.float32(0.0005), TARGETS)[0, 0]  # rounding


def test_a_mixture_takes_models_of_its_own_levels_only():
    with pytest.raises(ValueError, match="model has 2 levels, expected 3 as the mix"):
        Mixture((1.0, 1.0, 1.0))(LOGS, LOGS)
    with pytest.raises(ValueError, match=r"counts have shape \(2, 1, 3\), expected \(2, 2, 3\)"):
        Mixture((1.0, 1.0))(LOGS, LOGS[:, :1])


def test_seeds_widen_an_interval_by_t_and_users_by_the_bootstrap():
    users = np.zeros(400)
    draw = Resample(2, 400, draws=50)
    found = draw.estimate(draw.mean(np.stack([users, users + 2])))
    # No spread of users: 1 ± t(one degree of freedom) times the standard error of two seeds.
    assert (found.value, found.high - 1, 1 - found.low) == pytest.approx(
        (1, 12.7062, 12.7062), rel=1e-4
    )
    three = Resample(3, 400, draws=50)
    found = three.estimate(three.mean(np.stack([users, users + 1, users + 2])))
    assert found.high - 1 == pytest.approx(4.30265 / 3**0.5, rel=1e-4)
    values = np.tile(RNG.random(400) < 0.5, (2, 1))
    alone, both = Resample(1, 400, draws=800), Resample(2, 400, draws=800)
    one, two = alone.estimate(alone.mean(values[0])), both.estimate(both.mean(values))
    assert (one.low, one.high) == pytest.approx((two.low, two.high))  # seeds that agree add nothing


def test_the_two_parts_share_their_degrees_of_freedom():
    draw = Resample(2, 2, draws=4)
    samples = np.concatenate([[0.0], [-1.0, 1.0], [-3.0, -3.0, 3.0, 3.0]])
    found = draw.estimate(samples)
    normal, of_users, of_seeds = 1.959964, (3 / 1.959964) ** 2, 1.0
    freedom = (of_users + of_seeds) ** 2 / of_seeds**2
    from scipy import stats

    times = stats.t.ppf(0.975, freedom)
    assert found.high == pytest.approx(np.hypot(3 * times / normal, times), rel=1e-5)
    assert found.low == pytest.approx(-found.high)


def test_where_is_of_true_and_false():
    with pytest.raises(ValueError, match="true and false"):
        Resample(1, 3, draws=5).mean([1.0, 2.0, 3.0], where=[1.0, np.nan, 1.0])


def test_resampled_statistics_are_averaged_over_the_seeds():
    draw = Resample(2, 3, draws=7)
    found = draw.resampled([lambda taken: taken.sum(1), lambda taken: 3 * taken.sum(1)])
    assert found.tolist() == [6, 3, 9] + [6] * 7
    with pytest.raises(ValueError, match="1 statistics, expected one a seed: 2"):
        draw.resampled([lambda taken: taken.sum(1)])
