"""The model: no leak, candidates that do not see each other, one cache for both stages."""

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ur_worlds import SHAPE, actions, history, items, made, slate

from lib.unified_ranking import attention
from lib.unified_ranking.actions import with_mask
from lib.unified_ranking.model import (
    History,
    KVCache,
    ModelConfig,
    UnifiedRanker,
    WrongWeightsError,
)
from lib.unified_ranking.tensors import weight_hash

# Not a plain sum: after the last norm it is the same for every state.
WEIGHTS = torch.arange(12, dtype=torch.float64)


def close(one, other, at=1e-5):
    return float((one - other).detach().abs().max()) < at


# ── no leak ─────────────────────────────────────────────────────────────────────────────────────
def gradient_of_own_action(masked):
    """Return the largest gradient of a position's state by that position's own action."""
    told = actions(1, 4, dtype=torch.float64).requires_grad_()
    where = torch.full((1, 4), masked)
    past = history((4,), 4, dtype=torch.float64, actions=with_mask(told, where))
    states, _ = made(double=True).encode(past)
    largest = 0.0
    for place in range(4):
        (slope,) = torch.autograd.grad(
            states[0, place + 1] @ WEIGHTS, told, retain_graph=True, allow_unused=True
        )
        largest = max(largest, float(slope[0, place].abs().max()))
    return largest


def test_a_masked_action_reaches_nothing_and_a_told_one_does():
    assert gradient_of_own_action(masked=True) == 0
    assert gradient_of_own_action(masked=False) > 1e-3


def test_a_state_depends_on_actions_told_before_it_and_on_none_after():
    told = actions(1, 5, dtype=torch.float64).requires_grad_()
    where = torch.tensor([[False, True, False, False, False]])
    past = history((5,), 5, dtype=torch.float64, actions=with_mask(told, where))
    states, _ = made(double=True).encode(past)
    (slope,) = torch.autograd.grad(states[0, 3] @ WEIGHTS, told)  # the state of the third event
    reached = (slope[0].abs().amax(-1) > 1e-9).tolist()
    assert reached == [True, False, True, False, False]


def test_a_candidate_knows_no_action_of_its_own():
    """There is no way to hand one over: each candidate has the mask class."""
    model, (vectors, when, place) = made(), slate(1, 2)
    _, cache = model.encode(history((4,), 4))
    mine = model.rank(cache, vectors, when, place)
    with torch.no_grad():
        model.act.weight[:, :-1] += 1.0  # all but the mask's column
    assert torch.equal(model.rank(cache, vectors, when, place), mine)
    with torch.no_grad():
        model.act.weight[:, -1] += 1.0
    assert not close(model.rank(cache, vectors, when, place), mine, 1e-3)


def test_unknown_is_not_nothing():
    none = torch.zeros(1, 3, 3)
    model = made()
    told, hidden = (
        model.encode(history((3,), 3, actions=with_mask(none, torch.full((1, 3), masked))))[0]
        for masked in (False, True)
    )
    assert not close(told, hidden, 0.01)
    assert torch.equal(told[:, 0], hidden[:, 0])  # the start comes before all events


def test_an_all_masked_history_is_the_same_whatever_was_done():
    model, where = made(), torch.full((1, 5), True)
    one, other = (
        model.encode(history((5,), 5, actions=with_mask(actions(1, 5, seed=s), where)))[0]
        for s in (1, 2)
    )
    assert torch.equal(one, other)
    assert bool(torch.isfinite(one).all())


# ── candidates ──────────────────────────────────────────────────────────────────────────────────
def scores_of(model, vectors, joint):
    past, when, place = history((4,), 6), *slate(1, 1)[1:]
    with torch.no_grad():
        if joint:
            return model.joint(past, vectors[None], when, place)[1][0]
        return model.rank(model.encode(past)[1], vectors[None], when, place)[0]


@pytest.mark.parametrize("joint", [False, True])
def test_permuting_adding_repeating_and_removing_candidates_changes_no_score(joint):
    model, vectors = made(), items(6)
    plain = scores_of(model, vectors, joint)
    order = torch.tensor([3, 5, 0, 2, 1, 4])
    assert close(scores_of(model, vectors[order], joint), plain[order])
    more = scores_of(model, torch.cat([items(3, seed=9), vectors]), joint)
    assert close(more[3:], plain)
    twice = scores_of(model, torch.cat([vectors, vectors[:2]]), joint)
    assert close(twice[6:], plain[:2])
    assert close(scores_of(model, vectors[2:3], joint), plain[2:3])
    assert float((plain[0] - plain[1]).abs().max()) > 1e-3  # and they differ


def test_candidates_that_see_each_other_change_scores(monkeypatch):
    """The control: a causal mask over everything."""

    def causal(lengths, n, k):
        return torch.ones(len(lengths), 1, n + k, n + k, dtype=torch.bool).tril()

    model, vectors = made(), items(6)
    monkeypatch.setattr(attention, "falcon_mask", causal)
    plain = scores_of(model, vectors, True)
    order = torch.tensor([3, 5, 0, 2, 1, 4])
    assert float((scores_of(model, vectors[order], True) - plain[order]).abs().max()) > 1e-3


def test_the_history_knows_no_candidate():
    model, past = made(), history()
    states = [model.joint(past, *slate(3, 4, seed=seed))[0] for seed in (1, 2)]
    assert torch.equal(*states)


# ── one cache ───────────────────────────────────────────────────────────────────────────────────
@given(st.lists(st.integers(0, 9), min_size=1, max_size=3), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=25)
def test_decoding_on_the_cache_equals_the_full_pass(lengths, k, seed):
    model = made(seed)
    past, shown = history(lengths, 9, seed=seed), slate(len(lengths), k, seed=seed)
    with torch.no_grad():
        states, cache = model.encode(past)
        joint_states, joint_scores = model.joint(past, *shown)
        assert close(model.rank(cache, *shown), joint_scores)
    for row, length in enumerate(lengths):
        assert close(states[row, : length + 1], joint_states[row, : length + 1])


def test_decoding_in_double_precision_is_exact_to_rounding():
    model, past = made(double=True), history(dtype=torch.float64)
    shown = slate(dtype=torch.float64)
    found = model.rank(model.encode(past)[1], *shown) - model.joint(past, *shown)[1]
    assert close(found, 0, 1e-13)


def test_gradients_flow_through_the_cache():
    """Training decodes on the cache; its gradients are those of the full pass."""
    slopes = []
    for joint in (False, True):
        model, past, shown = (
            made(double=True),
            history(dtype=torch.float64),
            slate(dtype=torch.float64),
        )
        scores = (
            model.joint(past, *shown)[1] if joint else model.rank(model.encode(past)[1], *shown)
        )
        scores.square().sum().backward()
        slopes.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert float((slopes[0] - slopes[1]).abs().max()) < 1e-11
    assert float(slopes[0].abs().max()) > 0.1


@pytest.mark.parametrize(("first", "second"), [(0, 4), (3, 1), (2, 3)])
def test_appending_equals_encoding_everything(first, second):
    model, past, shown = made(), history((first + second,), first + second), slate(1)
    parts = []
    for start, end in ((0, first), (first, first + second)):
        names = ("vectors", "actions", "times", "surfaces")
        cut = {name: getattr(past, name)[:, start:end] for name in names}
        parts.append(History(**cut, lengths=torch.tensor([end - start])))
    with torch.no_grad():
        whole_states, whole = model.encode(past)
        _, cache = model.encode(parts[0])
        states, longer = model.append(cache, parts[1])
        assert close(states, whole_states[:, first + 1 :])
        assert close(model.rank(longer, *shown), model.rank(whole, *shown))
    assert longer.lengths.tolist() == whole.lengths.tolist() == [first + second + 1]
    assert torch.equal(longer.last_times, whole.last_times)
    for name in ("keys", "values"):
        assert close(getattr(longer, name), getattr(whole, name))


def test_events_before_1970_may_follow_on_no_event():
    model = made()
    _, cold = model.encode(history((0,), 0))
    early = history((2,), 2, times=torch.tensor([[-9.0, -5.0]]).double())
    _, longer = model.append(cold, early)
    assert longer.last_times.tolist() == [-5]
    assert close(longer.keys, model.encode(early)[1].keys)
    vectors, _, where = slate(1)
    assert bool(
        torch.isfinite(model.rank(longer, vectors, torch.tensor([-5.0]).double(), where)).all()
    )
    model.rank(cold, vectors, torch.tensor([-5.0]).double(), where)


def test_appending_with_places_that_start_anew_is_another_history(monkeypatch):
    model, past = made(), history((4,), 4)
    with torch.no_grad():
        _, whole = model.encode(past)
        names = ("vectors", "actions", "times", "surfaces")
        early, late = (
            History(**{n: getattr(past, n)[:, cut] for n in names}, lengths=torch.tensor([2]))
            for cut in (slice(0, 2), slice(2, 4))
        )
        _, cache = model.encode(early)
        place = model.places.weight.clone()
        model.places.weight[3:5] = place[1:3]
        _, longer = model.append(cache, late)
    assert float((longer.keys - whole.keys).abs().max()) > 1e-3


def test_what_stands_in_the_padding_is_not_seen():
    model = made()
    lengths = torch.tensor([3, 0])
    calm = history((3, 0), 6)
    there = calm.there
    loud = dataclasses.replace(
        calm,
        vectors=torch.where(there[..., None], calm.vectors, 9.0),
        times=torch.where(there, calm.times, -7.0),
        actions=torch.where(there[..., None], calm.actions, 1.0),
    )
    short = dataclasses.replace(
        calm, **{n: getattr(calm, n)[:, :3] for n in ("vectors", "actions", "times", "surfaces")}
    )
    with torch.no_grad():
        found = [model.rank(model.encode(one)[1], *slate(2)) for one in (calm, loud, short)]
        last = [model.last(*model.encode(one)) for one in (calm, loud, short)]
    assert lengths.tolist() == calm.lengths.tolist()
    for same in (found, last):
        assert close(same[0], same[1])
        assert close(same[0], same[2])


def test_a_cold_user_has_a_query_and_scores():
    model = made()
    cold = History(
        items(1, 0), torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.float64), torch.tensor([0])
    )
    with torch.no_grad():
        states, cache = model.encode(cold)
        query = model.query(model.last(states, cache))
        scores = model.rank(cache, *slate(1))
        # The same user as a row of a padded batch.
        beside, padded = model.encode(history((7, 0)))
    assert states.shape == (1, 1, 12)
    assert float(query.norm()) == pytest.approx(1, abs=1e-6)
    assert bool(torch.isfinite(scores).all())
    assert close(model.query(model.last(beside, padded))[1:], query)
    # When it is asked makes no difference to who has no past.
    vectors, when, where = slate(1)
    assert torch.equal(model.rank(cache, vectors, when + 1e6, where), scores)


def test_one_user_of_a_cache_is_that_user_alone():
    model, past = made(), history((7, 3, 0))
    vectors, when, where = slate(3)
    with torch.no_grad():
        _, cache = model.encode(past)
        all_ = model.rank(cache, vectors, when, where)
        for row in range(3):
            one = cache.user(row)
            assert one.keys.shape[3] == past.lengths[row] + 1
            alone = model.rank(one, vectors[row][None], when[:1], where[:1])
            assert close(alone[0], all_[row])
    assert (
        cache.n_bytes == 2 * 2 * 3 * 3 * 8 * 4 * 4
    )  # both, layers, users, heads, places, d, bytes


# ── time, place, surface ────────────────────────────────────────────────────────────────────────
def test_only_gaps_of_time_count():
    model, past = made(), history((5,), 5)
    vectors, when, where = slate(1)
    later = dataclasses.replace(past, times=past.times + 5e8)
    stretched = dataclasses.replace(past, times=past.times * 2)
    with torch.no_grad():
        plain, moved, slow = (
            model.rank(model.encode(one)[1], vectors, when + shift, where)
            for one, shift in ((past, 0), (later, 5e8), (stretched, 0))
        )
    assert close(plain, moved)
    assert float((plain - slow).abs().max()) > 1e-4


def test_the_first_event_has_no_gap_and_ties_have_one_of_zero():
    model = made()
    one, other = (
        history((2,), 2, times=torch.tensor([[at, at]], dtype=torch.float64)) for at in (0.0, 7e8)
    )
    with torch.no_grad():
        assert torch.equal(model.encode(one)[0], model.encode(other)[0])


def test_order_and_surface_count():
    model, past = made(), history((4,), 4, times=torch.zeros(1, 4, dtype=torch.float64))
    turned = dataclasses.replace(past, vectors=past.vectors.flip(1))
    moved = dataclasses.replace(past, surfaces=1 - past.surfaces)
    vectors, when, where = slate(1)
    with torch.no_grad():
        plain, other, elsewhere = (
            model.rank(model.encode(one)[1], vectors, when, where) for one in (past, turned, moved)
        )
        shown_elsewhere = model.rank(model.encode(past)[1], vectors, when, 1 - where)
    for one in (other, elsewhere, shown_elsewhere):
        assert float((plain - one).abs().max()) > 1e-4


def test_embeddings_and_queries_have_length_one():
    model = made()
    found = model.embed(torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0)))
    assert found.shape == (4, 2, 6)
    assert close(found.norm(dim=-1), torch.ones(4, 2), 1e-6)
    assert close(model.query(torch.randn(3, 12)).norm(dim=-1), torch.ones(3), 1e-6)


# ── weights ─────────────────────────────────────────────────────────────────────────────────────
def test_a_cache_of_other_weights_is_refused():
    one, other = made(0), made(1)
    one.seal(), other.seal()
    _, cache = one.encode(history((3,), 3))
    assert cache.weights == one.sealed == weight_hash(one) != other.sealed
    with pytest.raises(WrongWeightsError, match=other.sealed[:12]):
        other.rank(cache, *slate(1))
    with pytest.raises(WrongWeightsError):
        other.append(cache, history((3,), 3))
    twin = copy.deepcopy(one)
    assert close(twin.rank(cache, *slate(1)), one.rank(cache, *slate(1)), 1e-9)


def test_unsealed_models_refuse_each_others_caches():
    one, other = made(0), made(0)
    _, cache = one.encode(history((3,), 3))
    with pytest.raises(WrongWeightsError):
        other.rank(cache, *slate(1))
    one.seal()
    with pytest.raises(WrongWeightsError):
        one.rank(cache, *slate(1))


def test_training_and_loading_break_the_seal():
    model = made()
    first = model.seal()
    assert not any(one.requires_grad for one in model.parameters())
    assert not model.training
    model.train()
    assert model.sealed == ""
    assert all(one.requires_grad for one in model.parameters())
    assert model.seal() == first
    model.load_state_dict(made(1).state_dict())
    assert model.sealed == ""
    assert model.seal() != first
    with torch.no_grad():
        model.start[0] += 1e-3
    before = model.sealed
    assert model.seal() != before


def test_a_hash_sees_names_types_shapes_and_numbers():
    layer = torch.nn.Linear(2, 3)
    plain = weight_hash(layer)
    assert weight_hash(copy.deepcopy(layer)) == plain
    assert weight_hash(copy.deepcopy(layer).double()) != plain
    other = copy.deepcopy(layer)
    other.weight = torch.nn.Parameter(layer.weight.reshape(2, 3))
    assert weight_hash(other) != plain
    assert weight_hash(torch.nn.Sequential(layer)) != plain


# ── bad input ───────────────────────────────────────────────────────────────────────────────────
def test_a_request_before_its_last_event_is_refused():
    model, past = made(), history((5,), 5)
    _, cache = model.encode(past)
    vectors, _, where = slate(1)
    last = past.times[0, 4]
    with pytest.raises(ValueError, match=rf"times\[0\] is {last - 1}"):
        model.rank(cache, vectors, (last - 1)[None], where)
    assert bool(
        torch.isfinite(model.rank(cache, vectors, last[None], where)).all()
    )  # a tie is fine


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"times": torch.tensor([[3.0, 2.0]]).double()}, r"times\[0, 1\] is 2.0"),
        ({"times": torch.tensor([[2.0, 3.0]])}, "torch.float64"),
        ({"times": torch.tensor([[2.0, torch.inf]]).double()}, "times holds inf"),
        ({"lengths": torch.tensor([3])}, "lengths holds 3"),
        ({"lengths": torch.tensor([-1])}, "lengths holds -1"),
        ({"actions": torch.full((1, 2, 4), 2.0)}, "actions holds 2"),
        ({"actions": torch.zeros(1, 3, 4)}, "actions has shape"),
        ({"vectors": torch.zeros(2, 6)}, "vectors has shape"),
        ({"vectors": torch.zeros(0, 2, 6)}, "no history"),
        ({"surfaces": torch.tensor([[0, -1]])}, "surfaces holds -1"),
    ],
)
def test_an_odd_history_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(history((2,), 2), **change)


def test_histories_that_do_not_fit_the_model_are_refused():
    model = made()
    with pytest.raises(ValueError, match="10 events, expected at most max_events = 9"):
        model.encode(history((10,), 10))
    with pytest.raises(ValueError, match="10 events"):
        model.joint(history((10,), 10), *slate(1))
    with pytest.raises(ValueError, match="4 with the mask class"):
        model.encode(history((2,), 2, actions=torch.zeros(1, 2, 3)))
    with pytest.raises(ValueError, match="surfaces hold 2"):
        model.encode(history((2,), 2, surfaces=torch.tensor([[0, 2]])))
    with pytest.raises(ValueError, match="expected a History"):
        model.encode("past")
    _, cache = model.encode(history((5,), 5))
    with pytest.raises(ValueError, match="10 events, expected at most max_events = 9"):
        model.append(cache, history((5,), 5, times=torch.full((1, 5), 900.0).double()))
    with pytest.raises(ValueError, match="is padded"):
        model.append(model.encode(history((3, 2), 3))[1], history((1, 1), 1))
    with pytest.raises(ValueError, match="expected 1 users"):
        model.append(cache, history((1, 1), 1))
    for n in (5, 1):
        _, kept = model.encode(history((n,), n, times=torch.full((1, n), 9.0).double()))
        with pytest.raises(ValueError, match=r"times\[0\] is 0.0"):
            model.append(kept, history((1,), 1, times=torch.zeros(1, 1).double()))


def test_candidates_that_do_not_fit_are_refused():
    model = made()
    _, cache = model.encode(history((5,), 5))
    vectors, when, where = slate(1)
    for change, says in (
        ((vectors[:, :0], when, where), "no candidate"),
        ((vectors[..., :4], when, where), "vectors has shape"),
        ((slate(2)[0], when, where), "vectors has shape"),
        ((vectors * torch.nan, when, where), "vectors holds nan"),
        ((vectors, when.float(), where), "torch.float64"),
        ((vectors, when, where + 1), "surfaces hold 2"),
    ):
        with pytest.raises(ValueError, match=says):
            model.rank(cache, *change)
    with pytest.raises(ValueError, match="expected a KVCache"):
        model.rank(None, *slate(1))
    with pytest.raises(ValueError, match="states have shape"):
        model.query(torch.zeros(2, 11))
    for numberless in (torch.tensor(1.0), 3):
        with pytest.raises(ValueError, match="states is"):
            model.score(numberless)
        with pytest.raises(ValueError, match="content is"):
            model.embed(numberless)
    assert model.score(torch.zeros(12)).shape == (3,)
    with pytest.raises(ValueError, match="content has shape"):
        model.embed(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="row is 1"):
        cache.user(1)
    thin = KVCache(cache.keys[:1], cache.values[:1], cache.lengths, cache.last_times, cache.weights)
    with pytest.raises(ValueError, match="cache has"):
        model.rank(thin, *slate(1))
    with pytest.raises(ValueError, match="values has shape"):
        KVCache(cache.keys, cache.values[:1], cache.lengths, cache.last_times)
    for length in (0, 7):
        with pytest.raises(ValueError, match=f"lengths holds {length}"):
            KVCache(cache.keys, cache.values, torch.tensor([length]), cache.last_times)
    with pytest.raises(ValueError, match="last_times has shape"):
        KVCache(cache.keys, cache.values, cache.lengths, cache.last_times[:0])
    with pytest.raises(ValueError, match="keys has type"):
        KVCache(cache.keys.long(), cache.values, cache.lengths, cache.last_times)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ModelConfig)])
def test_a_shape_without_size_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        dataclasses.replace(SHAPE, **{name: 0})


def test_a_width_that_heads_do_not_share_is_refused():
    with pytest.raises(ValueError, match="a multiple of n_heads = 5"):
        dataclasses.replace(SHAPE, n_heads=5)
    with pytest.raises(ValueError, match="expected a ModelConfig"):
        UnifiedRanker({"d_model": 8})
    assert SHAPE.d_head == 4
