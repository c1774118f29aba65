"""Training: what a step's loss is, that it learns, and that masks keep it from copying."""

import dataclasses

import numpy as np
import pytest
import torch
from ur_worlds import world

from lib.unified_ranking.examples import join
from lib.unified_ranking.losses import CountMinSketch, JointLoss, action_loss, next_engaged
from lib.unified_ranking.model import ModelConfig, UnifiedRanker
from lib.unified_ranking.training import TrainConfig, history_of, step_loss, train

SMALL = ModelConfig(d_content=4, n_actions=1, d_item=8, d_model=16, n_layers=1, max_events=30)


@pytest.fixture(scope="module")
def toy():
    """Return content, examples to train on, and a batch to ask about."""
    content, _, log = world()
    early, late = join(log, log, 30).split(600)
    return torch.from_numpy(content), early, late.batch(np.arange(len(late)))


def model_of(seed=0):
    torch.manual_seed(seed)
    return UnifiedRanker(SMALL)


def auc(scores, labels):
    """Return the share of pairs in the right order, over everything shown."""
    up, down = scores[labels > 0], scores[labels == 0]
    order = np.searchsorted(np.sort(down), up)
    return float(order.mean() / len(down))


def ranked(model, content, batch):
    """Return the AUC of candidates, and of past events whose actions are told."""
    with torch.no_grad():
        vectors = model.embed(content)
        past, _ = history_of(batch, vectors, 0.0, torch.Generator())
        states, cache = model.encode(past)
        found = model.rank(cache, vectors[batch.candidates], batch.when, batch.where)
        told = model.score(states[:, 1:])
    return (
        auc(found[batch.shown].flatten().numpy(), batch.labels[batch.shown].flatten().numpy()),
        auc(told[past.there].flatten().numpy(), batch.actions[past.there].flatten().numpy()),
    )


CONFIG = TrainConfig((0,), steps=300, k=6, lr=1e-2, n_random=16, item=0.0)


@pytest.fixture(scope="module")
def ranker(toy):
    content, early, _ = toy
    model = model_of()
    return model, train(model, content, early, CONFIG)


def test_a_ranker_learns_tastes_from_what_was_done(toy, ranker):
    content, _, late = toy
    model, losses = ranker
    assert len(losses) == 300
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 0.05
    assert ranked(model_of().eval(), content, late)[0] < 0.6
    assert ranked(model, content, late)[0] > 0.7
    assert not model.training
    assert model.sealed == ""


def test_exchanged_pasts_tell_nothing(toy, ranker):
    content, _, late = toy
    turned = dataclasses.replace(
        late,
        **{n: getattr(late, n).roll(17, dims=0) for n in ("items", "actions", "times", "lengths")},
    )
    assert ranked(ranker[0], content, turned)[0] < 0.6


def test_a_mask_keeps_the_loss_on_past_events_from_teaching_to_copy(toy):
    """The control: without masks a position is asked for what it was told."""
    content, _, late = toy
    generator = torch.Generator().manual_seed(0)
    model = model_of()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        rows = torch.randint(len(late.items), (64,), generator=generator)
        vectors = model.embed(content)
        batch = dataclasses.replace(
            late,
            **{
                n: getattr(late, n)[rows]
                for n in ("items", "actions", "times", "surfaces", "lengths")
            },
        )
        past, where = history_of(batch, vectors, 0.0, generator)
        assert not where.any()
        states, _ = model.encode(past)
        loss = action_loss(model.score(states[:, 1:]), batch.actions, past.there)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    candidates, told = ranked(model, content, late)
    assert told > 0.95
    assert candidates < 0.6


def test_the_same_seed_trains_the_same_weights_and_another_does_not(toy):
    content, early, _ = toy
    few = dataclasses.replace(CONFIG, steps=4, item=1.0)

    def trained(config):
        model = model_of()
        train(model, content, early, config)
        return torch.cat([one.detach().flatten() for one in model.parameters()])

    assert torch.equal(trained(few), trained(few))
    assert not torch.equal(trained(few), trained(dataclasses.replace(few, seed=1)))


def test_double_precision_trains_alike(toy):
    content, early, _ = toy
    few = dataclasses.replace(CONFIG, steps=3, item=1.0)
    single = train(model_of(), content, early, few)
    double = train(model_of().double(), content.double(), early, few)
    assert single == pytest.approx(double, rel=1e-4)
    assert single != double


def parts(toy, **changed):
    content, early, _ = toy
    config = dataclasses.replace(CONFIG, **{"item": 1.0, "mask": 0.3, **changed})
    sketch = CountMinSketch(500, 3)
    loss = step_loss(
        model_of(), content, early.batch(np.arange(12)), config, sketch,
        torch.Generator().manual_seed(5),
    )  # fmt: skip
    return type(loss)(*(one.detach() for one in loss)), sketch


def test_parts_that_weigh_nothing_are_not_computed(toy):
    whole, sketch = parts(toy)
    assert all(float(one.detach()) > 0.1 for one in whole)
    assert sketch.total > 0
    no_item, sketch = parts(toy, item=0.0)
    assert float(no_item.item) == 0
    assert sketch.total == 0
    assert float(no_item.candidates) == pytest.approx(float(whole.candidates), rel=1e-6)
    assert float(no_item.past) == pytest.approx(float(whole.past), rel=1e-6)
    no_action, _ = parts(toy, action=0.0)
    assert float(no_action.past) == float(no_action.candidates) == 0
    assert float(no_action.item) == pytest.approx(float(whole.item), rel=1e-6)


def test_the_action_loss_asks_masked_events_and_all_that_is_shown(toy):
    content, early, _ = toy
    loss, _ = parts(toy)
    model, batch = model_of(), early.batch(np.arange(12))
    generator = torch.Generator().manual_seed(5)
    torch.randint(len(content), (16,), generator=generator)
    model.requires_grad_(False)
    vectors = model.embed(content)
    past, masked = history_of(batch, vectors, 0.3, generator)
    assert 0 < int(masked.sum()) < int(past.there.sum())
    assert not (masked & ~past.there).any()
    states, cache = model.encode(past)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    asked = model.score(states[:, 1:])[masked]
    assert float(loss.past) == pytest.approx(float(entropy(asked, batch.actions[masked])), rel=1e-5)
    found = model.rank(cache, vectors[batch.candidates], batch.when, batch.where)[batch.shown]
    wanted = float(entropy(found, batch.labels[batch.shown]))
    assert float(loss.candidates) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("corrected", [False, True])
def test_the_item_loss_asks_unmasked_positions_for_what_comes_later(toy, corrected):
    """Written out from the targets of the batch and the items drawn."""
    content, early, _ = toy
    config = dataclasses.replace(CONFIG, item=1.0, mask=0.3, n_random=5, corrected=corrected)
    batch = early.batch(np.arange(12))
    sketch = CountMinSketch(500, 3)
    model = model_of()
    loss = step_loss(model, content, batch, config, sketch, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    drawn = torch.randint(len(content), (5,), generator=generator)
    with torch.no_grad():
        vectors = model.embed(content)
        past, masked = history_of(batch, vectors, 0.3, generator)
        states, _ = model.encode(past)
    target = next_engaged(batch.actions[..., 0] > 0, batch.times, batch.lengths)
    rows = [
        (b, t)
        for b in range(12)
        for t in range(int(batch.lengths[b]) + 1)
        if int(target[b, t]) >= 0 and (t == 0 or not masked[b, t - 1])
    ]
    wanted = torch.stack([batch.items[b, target[b, t]] for b, t in rows])
    assert sketch.total == len(rows)
    counts = torch.bincount(wanted, minlength=len(content))
    assert sketch.count(np.arange(len(content))).tolist() == counts.tolist()
    negative = torch.cat([wanted, drawn])
    with torch.no_grad():
        scores = 10 * model.query(torch.stack([states[b, t] for b, t in rows])) @ vectors.T
    expected = (len(rows) - 1) * counts / len(rows) + 5 / len(content)
    losses = []
    for number, item in enumerate(wanted):
        others = negative[negative != item]
        terms = scores[number, others] - (expected[others].log() if corrected else 0)
        own = scores[number, item]
        losses.append(torch.cat([own[None], terms]).logsumexp(0) - own)
    found = float(loss.item.detach())
    assert found == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)


def test_a_single_target_has_nothing_to_be_told_from(toy):
    content, early, _ = toy
    config = dataclasses.replace(CONFIG, item=1.0, action=0.0, n_random=0, mask=0.0)
    sketch = CountMinSketch(50, 1)
    lone = early.where(early.last - early.first == 6).take([0])
    batch = lone.batch([0])
    engaged = torch.zeros_like(batch.actions)
    for hits, total in (([], 0), ([0], 0), ([0, 1], 2)):
        engaged.zero_()[0, hits] = 1
        asked = dataclasses.replace(batch, actions=engaged, times=torch.arange(6.0).double()[None])
        loss = step_loss(model_of(), content, asked, config, sketch, torch.Generator())
        assert (float(loss.item.detach()) > 0) == (total > 0)
        assert sketch.total == total


def test_the_correction_is_by_the_expected_number_of_negatives(toy):
    plain, _ = parts(toy, corrected=False)
    corrected, _ = parts(toy)
    printed, _ = parts(toy, form="printed")
    values = [float(one.item) for one in (plain, corrected, printed)]
    assert len({round(one, 3) for one in values}) == 3
    assert float(plain.candidates) == float(corrected.candidates)


def test_what_needs_no_gradient_stays_as_it_is(toy):
    content, early, _ = toy
    model = model_of()
    model.embedder.requires_grad_(False)
    before = [one.clone() for one in model.embedder.parameters()]
    train(model, content, early, dataclasses.replace(CONFIG, steps=2))
    after = list(model.embedder.parameters())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_every_example_is_read_once_an_epoch(toy, monkeypatch):
    content, early, _ = toy
    few = early.take(np.arange(10))
    seen = []
    batch = type(few).batch
    monkeypatch.setattr(
        type(few),
        "batch",
        lambda self, index, **more: seen.append(index) or batch(self, index, **more),
    )
    train(model_of(), content, few, dataclasses.replace(CONFIG, steps=5, batch=4))
    drawn = np.concatenate(seen)
    assert [len(one) for one in seen] == [4] * 5
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))


def test_only_cold_users_train_too(toy):
    content, early, _ = toy
    cold = early.where(early.last == early.first)
    assert len(cold) == 200
    losses = train(model_of(), content, cold, dataclasses.replace(CONFIG, steps=2, item=1.0))
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"batch": 1.5}, "batch is 1.5"),
        ({"lr": 0}, "lr is 0"),
        ({"mask": 20}, "mask is 20"),
        ({"item": 0, "action": 0}, "expected a loss to train by"),
        ({"form": "none"}, "form is 'none'"),
        ({"positive": (0.5,)}, r"positive\[0\] is 0.5"),
        ({"sketch": (0, 1)}, r"sketch\[0\] is 0"),
    ],
)
def test_odd_settings_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(CONFIG, **change)


def test_training_refuses_what_it_cannot_use(toy):
    content, early, _ = toy
    for examples, table, config, says in (
        (early.take([]), content, CONFIG, "examples is empty"),
        (early, content[:50], CONFIG, "content has 50 rows, expected one for item"),
        (early, content, dataclasses.replace(CONFIG, positive=(1,)), r"columns\[0\] is 1"),
    ):
        with pytest.raises(ValueError, match=says):
            train(model_of(), table, examples, config)
    model = model_of()
    model.heads[0][-1].weight.register_hook(lambda slope: slope * torch.nan)
    before = model.start.detach().clone()
    with pytest.raises(FloatingPointError, match="nan at step 0"):
        train(model, content, early, CONFIG)
    assert torch.equal(model.start.detach(), before)


def test_a_short_run_is_the_one_that_was_measured(toy):
    """Rates, decay, clipping, batches, masks and negatives: whatever changes shows here.

    In double precision, where processors differ by less than a ten-millionth.
    """
    content, early, _ = toy
    few = dataclasses.replace(CONFIG, steps=8, item=1.0)
    losses = train(model_of().double(), content.double(), early, few)
    wanted = [8.077820, 8.509415, 7.390662, 6.650285, 6.412824, 6.337507, 6.346491, 6.088106]
    assert losses == pytest.approx(wanted, rel=1e-6)


def test_every_item_of_a_batch_has_content_and_no_more_is_needed(toy):
    content, early, _ = toy
    batch = early.batch([0, 1, 2])
    most = int(torch.cat([batch.items.flatten(), batch.candidates.flatten()]).max())
    loose = torch.Generator().manual_seed(0)
    step_loss(model_of(), content[: most + 1], batch, CONFIG, CountMinSketch(5, 1), loose)
    with pytest.raises(ValueError, match=f"content has {most} rows, expected one for item {most}"):
        step_loss(model_of(), content[:most], batch, CONFIG, CountMinSketch(5, 1), loose)


def test_what_is_not_said_is_what_the_docstrings_say():
    found = dataclasses.asdict(TrainConfig((0,)))
    assert found == {
        "positive": (0,), "steps": 200, "batch": 32, "k": 16, "lr": 2e-3, "mask": 0.2,
        "n_random": 64, "item": 1.0, "action": 1.0, "weights": None, "corrected": True,
        "form": "exact", "sketch": (4096, 4), "seed": 0,
    }  # fmt: skip
    assert dataclasses.asdict(ModelConfig(5, 2)) == {
        "d_content": 5, "n_actions": 2, "d_item": 32, "d_model": 64, "n_layers": 2, "n_heads": 2,
        "max_events": 64, "n_surfaces": 1, "scale": 10.0,
    }  # fmt: skip


def test_the_rate_rises_and_falls():
    config = TrainConfig((0,), steps=50)
    rates = [config.rate(step) for step in range(50)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)
    assert config.rate(27) == pytest.approx(0.55, abs=0.03)
    assert config.rate(80) == pytest.approx(0.1)  # and stays there


def test_a_loss_of_ones_own_is_what_is_trained_by(toy):
    content, early, _ = toy
    config = TrainConfig((0,), steps=3, batch=4)
    seen = []

    def half(*arguments):
        seen.append(len(arguments[2].items))
        return JointLoss(*(0.5 * part for part in step_loss(*arguments)))

    plain = train(model_of(), content, early, config)
    halved = train(model_of(), content, early, config, half)
    assert seen == [4, 4, 4]
    assert halved[0] == pytest.approx(plain[0] / 2)
    with pytest.raises(ValueError, match="loss is None"):
        train(model_of(), content, early, config, None)
