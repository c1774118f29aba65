"""Arms on a small simulated world: what each trains, what is measured, and how seeds are drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ur_worlds import world

from lib.unified_ranking.evaluation import hit_at, slate_auc
from lib.unified_ranking.examples import join
from lib.unified_ranking.model import History, ModelConfig
from lib.unified_ranking.study import arms, experiment
from lib.unified_ranking.study.arms import Arm, ArmResult, Interleaved, Measures, run_arm
from lib.unified_ranking.study.experiment import Study, estimate
from lib.unified_ranking.study.worlds import simulated
from lib.unified_ranking.training import history_of

SMALL = Arm(steps=6, batch=8, events=24, width=16, layers=1)


def small_setting():
    content, _, log = world(n_users=60, n_items=50)
    examples = join(log, log, 24)
    train, test = examples.where(examples.users < 40), examples.where(examples.users >= 40)
    seen = np.zeros((len(test), 50), bool)
    for row in range(len(test)):
        seen[row, test.past.items[test.first[row] : test.last[row]]] = True
    before = log.take(log.users < 40)
    return arms.Setting(content.astype(np.float64), train, test, (0,), 1, before, seen)


@pytest.fixture(scope="module")
def setting():
    return small_setting()


@pytest.fixture(autouse=True)
def _small(setting, monkeypatch):
    monkeypatch.setattr(arms, "film_setting", lambda events, n_test: setting)


def weights(arm, setting):
    """Return the trained model's weights beside the first ones, by name."""
    model = arms._model(arm, setting)
    first = {name: one.clone() for name, one in model.state_dict().items()}
    arms._train(arm, model, setting)
    return first, model.state_dict()


def moved(first, last, part):
    return any(not torch.equal(first[n], last[n]) for n in first if n.startswith(part))


@pytest.mark.parametrize("kind", ["joint", "retrieval", "ranking", "interleaved", "copying"])
def test_an_arm_trains_what_its_losses_reach(kind, setting):
    first, last = weights(replace(SMALL, kind=kind), setting)
    assert moved(first, last, "embedder")
    # Decay alone moves a head that no loss reaches: towards 0, all by the same share.
    for part, loss in (("to_query", kind != "ranking"), ("heads", kind != "retrieval")):
        name = f"{part}.0.0.weight" if part == "heads" else f"{part}.0.weight"
        ratio = (last[name] / first[name]).std()
        assert (ratio > 1e-6) == loss, part


def test_a_frozen_embedder_stays_as_retrieval_left_it(setting):
    arm = replace(SMALL, kind="frozen")
    model = arms._model(arm, setting)
    losses = arms._train(arm, model, setting)
    half = arms._model(arm, setting)
    config = replace(arm, kind="retrieval", steps=3)
    first = arms._train(config, half, setting)
    assert len(losses) == 6
    assert losses[:3] == first
    for name, value in model.embedder.state_dict().items():
        assert torch.equal(value, half.embedder.state_dict()[name])
    assert not torch.equal(model.layers[0].qkv.weight, half.layers[0].qkv.weight)


def test_the_same_arm_gives_the_same_numbers_and_another_seed_others():
    one, two = run_arm(SMALL), run_arm(SMALL)
    np.testing.assert_array_equal(one.losses, two.losses)
    np.testing.assert_array_equal(one.own.auc, two.own.auc)
    assert (run_arm(replace(SMALL, seed=1)).losses != one.losses).all()
    assert one.losses.dtype == np.float64
    assert one.seconds > 0


@pytest.mark.parametrize("broken", ["targets", "uncorrected", "Q"])
def test_what_is_broken_changes_the_item_loss_alone(broken, setting):
    whole, wrong = (run_arm(replace(SMALL, broken=one)) for one in ("", broken))
    assert not np.allclose(whole.losses, wrong.losses, rtol=1e-6)
    without = [
        arms._train(replace(SMALL, kind="ranking", broken=one), model, setting)
        for one in ("", broken)
        for model in [arms._model(SMALL, setting)]
    ]
    if broken != "targets":  # it draws otherwise, so it masks otherwise
        assert without[0] == without[1]


def test_joint_training_finds_tastes_and_none_of_them_in_the_past_of_others(monkeypatch):
    inside = arms.world_setting(1.0, True, 0, 200)
    monkeypatch.setattr(arms, "world_setting", lambda *_: inside)
    arm = replace(SMALL, labelled=1.0, events=16, steps=150)
    trained, none = run_arm(arm), run_arm(replace(arm, kind="untrained"))
    assert trained.own.auc.mean() > max(0.6, none.own.auc.mean() + 0.1)
    assert np.nanmean(trained.own.recall) > np.nanmean(none.own.recall)
    # Of another user's past it cannot know his taste.
    assert trained.swapped.auc.mean() < trained.own.auc.mean() - 0.1
    assert none.swapped is None
    assert none.losses.size == 0


def test_asking_what_is_shown_teaches_copying():
    copied = run_arm(replace(SMALL, kind="copying", steps=150))
    assert np.nanmean(copied.past_auc) > 0.95
    assert np.nanmean(copied.hidden_auc) < 0.9


def test_interleaving_sees_no_action_of_its_own(setting):
    torch.manual_seed(0)
    config = ModelConfig(d_content=4, n_actions=1, d_item=8, d_model=16, max_events=24)
    model = Interleaved(config).double().eval()
    assert model.config.max_events == 48
    batch = setting.test.batch(np.arange(len(setting.test))[3:9])
    vectors = model.embed(torch.from_numpy(setting.content))
    told = batch.actions.double().requires_grad_()
    history, _ = history_of(replace(batch, actions=told), vectors, 0.0, torch.Generator())
    states, cache = model.encode(history)
    assert states.shape == (6, history.vectors.shape[1] + 1, 32)
    assert cache.lengths.tolist() == (2 * batch.lengths + 1).tolist()
    row = int(batch.lengths.argmax())
    n = int(batch.lengths[row])
    [slope] = torch.autograd.grad(
        model.score(states[:, 1:])[row, n - 1].sum(), told, retain_graph=True
    )
    assert (slope[row, n - 1] == 0).all()
    assert (slope[row, : n - 1] != 0).all()
    # The query stands after the action, so it knows the last one too.
    [slope] = torch.autograd.grad(model.query(model.last(states, cache))[row, 0], told)
    assert (slope[row, :n] != 0).all()
    torch.testing.assert_close(model.last(states, cache)[row], states[row, n])


def test_interleaved_states_are_those_of_the_longer_sequence():
    torch.manual_seed(1)
    config = ModelConfig(d_content=3, n_actions=1, d_item=4, d_model=8, max_events=2)
    model = Interleaved(config).double().eval()
    vectors = torch.nn.functional.normalize(torch.randn(1, 2, 4).double(), dim=-1)
    told = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]).double()
    times, lengths = torch.tensor([[5.0, 9.0]]).double(), torch.tensor([2])
    states, _ = model.encode(History(vectors, told, times, lengths))
    none, hidden = torch.zeros(4).double(), torch.tensor([0.0, 1.0]).double()
    longer = History(
        torch.stack([vectors[0, 0], none, vectors[0, 1], none])[None],
        torch.stack([hidden, told[0, 0], hidden, told[0, 1]])[None],
        torch.tensor([[5.0, 5.0, 9.0, 9.0]]).double(),
        torch.tensor([4]),
    )
    plain, _ = super(Interleaved, model).encode(longer)
    torch.testing.assert_close(states[..., :8], plain[:, [0, 2, 4]])
    torch.testing.assert_close(states[:, 1:, 8:], plain[:, [1, 3]])


def test_popularity_is_a_table_of_training_alone(setting):
    found = arms.popularity(setting, prior=5.0)
    log = setting.before
    share = log.actions.mean()
    rate = np.array(
        [
            (log.actions[log.items == one].sum() + 5 * share) / ((log.items == one).sum() + 5)
            for one in range(50)
        ]
    )
    slates = [setting.test.slate(one) for one in range(len(setting.test))]
    scores = np.stack([rate[items] for items, _ in slates])
    labels = np.stack([actions[:, 0] for _, actions in slates])
    np.testing.assert_allclose(found.hit3, hit_at(scores, labels))
    np.testing.assert_allclose(found.auc, slate_auc(scores, labels))
    # Recall: of the first slate by hand.
    famous = np.bincount(log.items, log.actions[:, 0], minlength=50)
    famous[setting.seen[5]] = -1
    best = np.argsort(-famous, kind="stable")[:10]
    items, actions = slates[5]
    wanted = [one for one in items[actions[:, 0] > 0] if not setting.seen[5, one]]
    if len(set(famous[best])) == 10:
        assert found.recall[5] == pytest.approx(np.mean(np.isin(wanted, best)))
    counts = np.bincount(log.items, minlength=50)
    assert found.fame[5] == pytest.approx(np.log1p(counts[best]).mean())


def test_in_a_simulated_world_truth_is_asked_and_unrecorded_labels_are_not(monkeypatch):
    world_ = simulated(0.1, n_users=30, n_test=20, n_items=40, n_events=6)
    seen = np.zeros((20, 40), bool)
    inside = arms.Setting(
        world_.content, world_.train, world_.test, (0,), 1, world_.train.past, seen, world_.truth
    )
    monkeypatch.setattr(arms, "world_setting", lambda *_: inside)
    arm = replace(SMALL, labelled=0.1, events=6, steps=4)
    assert np.isfinite(run_arm(arm).own.auc).all()
    scores = arms._judge(inside, world_.truth, np.zeros((20, 40)), np.arange(20))
    assert (scores.auc == 1).all()
    assert (scores.hit3 == 1).all()
    # A slate whose labels are not recorded has no say in the action loss.
    losses = run_arm(replace(arm, kind="ranking")).losses
    recorded = world_.train.shown.surfaces == 1
    flipped = np.where(recorded[:, None], world_.train.shown.actions, 0)
    shown = replace(world_.train.shown, actions=flipped.astype(np.float32))
    changed = replace(inside, train=replace(world_.train, shown=shown))
    monkeypatch.setattr(arms, "world_setting", lambda *_: changed)
    np.testing.assert_array_equal(losses, run_arm(replace(arm, kind="ranking")).losses)


# ── plans and estimates ─────────────────────────────────────────────────────────────────────────
def test_budgets_are_four_to_one_and_arms_differ_in_what_they_say(monkeypatch):
    monkeypatch.setenv("BOOK_PROFILE", "book")
    small, large = (experiment.film_arms(one) for one in experiment.BUDGETS)
    assert list(small) == list(large)
    for name in set(small) - {"popularity"}:
        assert [one.seed for one in small[name]] == [0, 1, 2]
        assert large[name][0].steps == 4 * small[name][0].steps
        assert replace(large[name][0], steps=small[name][0].steps) == small[name][0]
    one = {name: row[0] for name, row in large.items()}
    assert one["interleaved, tokens"].events * 2 == one["joint"].events == 64
    assert one["interleaved, items"].events == 64
    assert [one[f"mask {p}"].mask for p in ("0", "0.1", "0.3")] == [0, 0.1, 0.3]
    assert one["joint"].mask == 0.2
    extra = experiment.extra_arms()
    assert [extra[n][0].layers for n in ("one layer", "four layers")] == [1, 4]
    assert extra["a quarter of the events"][0].events == 16
    worlds = experiment.world_arms("B1")
    assert worlds["joint, sparse"][0].labelled == 0.02
    assert not worlds["ranking, without regard"][0].regard


def test_everything_runs_in_one_sweep(monkeypatch):
    monkeypatch.setenv("BOOK_PROFILE", "smoke")
    asked = []

    def run(func, items, name):
        asked.extend(items)
        measures = Measures(*(np.full(4, float(one)) for one in range(4)))
        return [ArmResult(np.arange(4), measures, None, np.zeros(1), 0.0) for _ in items]

    monkeypatch.setattr(experiment.sweeps, "run", run)
    studies = experiment.run_everything()
    assert set(studies) == {"films B1", "films B2", "world B1", "world B2"}
    assert "copying" in studies["films B1"].results
    assert "four layers" in studies["films B2"].results
    assert len(asked) == 2 * (12 * 2 + 1) + 2 * 6 * 2 + 3 * 2 + 1


def test_a_bootstrap_over_users_knows_a_share():
    rng = np.random.default_rng(0)
    hits = (rng.random(400) < 0.3).astype(float)
    found = estimate(hits, np.arange(400), draws=4000)
    half = 1.96 * (0.3 * 0.7 / 400) ** 0.5
    assert found.value == hits.mean()
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_slates_of_a_user_are_drawn_together_and_seeds_too():
    user = np.repeat(np.arange(50), 8)
    shared = np.repeat(np.random.default_rng(1).normal(size=50), 8)
    together = estimate(shared, user)
    alone = estimate(shared, np.arange(400))
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(8**0.5, rel=0.15)
    # Seeds alone: the interval is that of a mean of three, not narrower by a fifth.
    seeds = np.repeat([[0.0], [1.0], [2.0]], 10, axis=1)
    rng = np.random.default_rng(0)
    drawn = [estimate(seeds, np.arange(10), draws=3000, seed=int(rng.integers(99)))]
    assert (drawn[0].low, drawn[0].value, drawn[0].high) == (0.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("values", "users"),
    [([0.0, 1.0], [1]), ([[0.0, np.nan], [0.0, 1.0]], [1, 2]), ([np.nan], [1])],
)
def test_values_that_do_not_belong_together_are_refused(values, users):
    with pytest.raises(ValueError, match="values"):
        estimate(values, users)


def study():
    def result(shift, swapped=None):
        row = np.array([0.2, np.nan, 0.6, 0.1]) + shift
        other = None if swapped is None else Measures(*[row + swapped] * 4)
        return ArmResult(np.array([1, 1, 2, 3]), Measures(*[row] * 4), other, np.zeros(1), 0.0)

    return Study(
        {
            "joint": [result(0.3, -0.2), result(0.5, -0.2)],
            "ranking": [result(0.2), result(0.2)],
            "popularity": [result(0.0)],
        }
    )


def test_a_study_pairs_by_slate_and_by_seed():
    found = study()
    assert found.level("popularity", "auc").value == pytest.approx(0.3)
    gain = found.gain("joint", "ranking", "hit3")
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.2, 0.1, 0.3))
    # A table has no seed: it is the same beside each.
    assert found.gain("joint", "popularity", "hit3").value == pytest.approx(0.4)
    assert found.gain("joint", "popularity", "hit3", swapped=True).value == pytest.approx(0.2)
    assert found.other_seed("joint", "recall").value == pytest.approx(0.2)
    change = found.change(("joint", "ranking"), ("joint", "popularity"), "auc")
    assert change.value == pytest.approx(-0.2)
    with pytest.raises(ValueError, match="joint"):
        found.level("jont", "auc")
    with pytest.raises(ValueError, match="exchanged"):
        found.values("ranking", "auc", swapped=True)
    with pytest.raises(ValueError, match="one seed"):
        found.other_seed("popularity", "auc")
    with pytest.raises(ValueError, match="results"):
        Study({})
