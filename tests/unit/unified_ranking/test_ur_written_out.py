"""The whole forward pass written out in NumPy, position by position, against the model."""

import math

import numpy as np
import pytest
import torch
from ur_worlds import SHAPE, history, made, slate

from lib.unified_ranking.actions import with_mask

erf = np.vectorize(math.erf)


def weights_of(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)


def gelu(x):
    return x * (1 + erf(x / math.sqrt(2))) / 2


def normed(w, name, x):
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def mlp(w, name, x, first=0):
    return linear(w, f"{name}.{first + 2}", gelu(linear(w, f"{name}.{first}", x)))


def entered(w, vector, action, place, surface, gap):
    """Return the input of an event or a candidate; a gap of None is "no event before"."""
    pair = np.concatenate([vector * math.sqrt(SHAPE.d_item), linear(w, "act", action)])
    time = [0.0 if gap is None else math.log(1 + gap) / 10, float(gap is not None)]
    where = w["places.weight"][place] + w["surfaces.weight"][surface]
    return linear(w, "into", pair) + where + linear(w, "since", np.array(time))


def run(w, inputs, seen):
    """Return the states of positions, each of which attends to those it sees."""
    xs = list(inputs)
    for layer in range(SHAPE.n_layers):
        name = f"layers.{layer}"
        parts = [
            linear(w, f"{name}.qkv", normed(w, f"{name}.before", x)).reshape(3, SHAPE.n_heads, -1)
            for x in xs
        ]
        after = []
        for x, (query, _, _), places in zip(xs, parts, seen, strict=True):
            heads = []
            for head in range(SHAPE.n_heads):
                scores = np.array([query[head] @ parts[p][1][head] for p in places])
                share = np.exp(scores / math.sqrt(SHAPE.d_head))
                share /= share.sum()
                heads.append(sum(s * parts[p][2][head] for s, p in zip(share, places, strict=True)))
            x = x + linear(w, f"{name}.out", np.concatenate(heads))
            after.append(x + mlp(w, f"{name}.mlp", normed(w, f"{name}.mlp.0", x), 1))
        xs = after
    return [normed(w, "after", x) for x in xs]


@pytest.mark.parametrize("length", [0, 1, 4])
def test_the_model_is_what_is_written_out(length):
    model = made(double=True)
    w = weights_of(model)
    hidden = torch.tensor([[False, True, False, False, False]])
    past = history((length,), 5, where=hidden, dtype=torch.float64)
    vectors, when, where = slate(1, 3, dtype=torch.float64)
    times = past.times[0].tolist()
    inputs = [w["start"] + w["places.weight"][0]]
    for i in range(length):
        gap = None if i == 0 else times[i] - times[i - 1]
        action = past.actions[0, i].numpy()
        surface = int(past.surfaces[0, i])
        inputs.append(entered(w, past.vectors[0, i].numpy(), action, i + 1, surface, gap))
    seen = [list(range(i + 1)) for i in range(length + 1)]
    gap = float(when[0]) - times[length - 1] if length else None
    for i in range(3):
        masked = np.array([0.0, 0, 0, 1])
        inputs.append(
            entered(w, vectors[0, i].numpy(), masked, SHAPE.max_events + 1, int(where[0]), gap)
        )
        seen.append([*range(length + 1), length + 1 + i])
    states = run(w, inputs, seen)
    with torch.no_grad():
        found, cache = model.encode(past)
        scores = model.rank(cache, vectors, when, where)[0].numpy()
        query = model.query(model.last(found, cache))[0].numpy()
    assert np.allclose(found[0, : length + 1].numpy(), states[: length + 1], atol=1e-12)
    for i in range(3):
        heads = [mlp(w, f"heads.{c}", states[length + 1 + i])[0] for c in range(3)]
        assert np.allclose(scores[i], heads, atol=1e-12)
    asked = mlp(w, "to_query", states[length])
    assert np.allclose(query, asked / np.linalg.norm(asked), atol=1e-12)


def test_an_embedding_is_what_is_written_out():
    model = made(double=True)
    content = torch.randn(2, 5, dtype=torch.float64)
    with torch.no_grad():
        found = model.embed(content).numpy()
    for row, one in zip(found, content.numpy(), strict=True):
        wanted = mlp(weights_of(model), "embedder", one)
        assert np.allclose(row, wanted / np.linalg.norm(wanted), atol=1e-12)


def test_untrained_weights_have_the_sizes_that_are_said():
    model = made(shape=type(SHAPE)(8, 40, d_item=64, d_model=64, max_events=200, n_surfaces=50))
    for weight, size in (
        (model.act.weight, 1.0),
        (model.start, 1.0),
        (model.places.weight, 0.1),
        (model.surfaces.weight, 0.1),
    ):
        assert float(weight.detach().std()) == pytest.approx(size, rel=0.25)
    shown = with_mask(torch.zeros(1, 1, 40), torch.tensor([[True]]))
    assert float(model.act(shown).detach().std()) == pytest.approx(1, rel=0.4)
