"""Small models, histories and logs that the tests of this chapter share."""

import numpy as np
import torch

from lib.unified_ranking.actions import with_mask
from lib.unified_ranking.examples import Log, sessions
from lib.unified_ranking.model import History, ModelConfig, UnifiedRanker

N_ACTIONS = 3
SHAPE = ModelConfig(
    d_content=5, n_actions=N_ACTIONS, d_item=6, d_model=12, n_layers=2, n_heads=3, max_events=9,
    n_surfaces=2,
)  # fmt: skip


def made(seed=0, *, double=False, shape=SHAPE):
    torch.manual_seed(seed)
    model = UnifiedRanker(shape).eval()
    return model.double() if double else model


def items(*shape, seed=1, width=6, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(*shape, width, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1).to(dtype)


def actions(*shape, seed=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, (*shape, N_ACTIONS), generator=generator).to(dtype)


def history(lengths=(7, 3, 0), n=7, *, seed=3, where=None, dtype=torch.float32, **changed):
    """Return histories with ties in time, surfaces, and noise in the padding."""
    batch = len(lengths)
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 6, (batch, n)) * 100.0, axis=1)
    told = torch.zeros(batch, n, dtype=torch.bool) if where is None else where
    parts = {
        "vectors": items(batch, n, seed=seed, dtype=dtype),
        "actions": with_mask(actions(batch, n, seed=seed, dtype=dtype), told),
        "times": torch.from_numpy(times),
        "lengths": torch.tensor(lengths),
        "surfaces": torch.from_numpy(rng.integers(2, size=(batch, n))),
    }
    return History(**{**parts, **changed})


def slate(batch=3, k=4, *, seed=5, dtype=torch.float32):
    """Return candidates, when and where they are shown."""
    when = torch.full((batch,), 1000.0, dtype=torch.float64)
    return items(batch, k, seed=seed, dtype=dtype), when, torch.ones(batch, dtype=torch.int64)


def world(n_users=200, n_items=100, n_events=48, width=4, seed=0, page=6):
    """Return content, tastes, and a log in which tastes alone decide what is saved.

    Pages of so many items are shown at one moment each, at random.
    """
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(n_items, width)).astype(np.float32)
    taste = 1.5 * rng.normal(size=(n_users, width))
    users = np.repeat(np.arange(n_users), n_events)
    shown = rng.integers(n_items, size=len(users))
    times = np.tile(np.arange(n_events) // page * 100.0, n_users)
    odds = (taste[users] * content[shown]).sum(1)
    saved = (rng.random(len(users)) < 1 / (1 + np.exp(-odds)))[:, None]
    return content, taste, Log(users, shown, times, saved, sessions(users, times, 50))
