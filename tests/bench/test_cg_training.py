"""Chapter 10: our low-communication training against torch's own, loss and bytes in one run."""

import numpy as np
import pytest
from cg_peers import post_local_sgd, power_sgd

from lib.compute_governance.codecs import Fp16, Int4, Int8
from lib.compute_governance.lowcomm import DataParallel, DiLoCo, Inner, Pool, Settings, Transformer
from lib.compute_governance.lowcomm.wire import socket_bytes
from lib.compute_governance.study.lab import Lab
from lib.compute_governance.study.text import manual_pages
from lib.stats import t_interval

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(socket_bytes() is None, reason="TCP_INFO is read on Linux only"),
]
SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def lab():
    # Single precision: torch's peers send what they compute in.
    settings = Settings(Inner(lr=2e-3, warmup=20), 32)
    with Pool(4) as pool:
        yield Lab(pool, Transformer(width=64, layers=1), manual_pages(), 160, settings)


def ours(lab, strategy):
    runs = lab.runs(strategy, SEEDS)
    return np.array([one.loss for one in runs]), float(np.mean([one.wire for one in runs]))


def theirs(lab, peer, **more):
    found = [
        peer(lab.pool, lab.model, lab.data, lab.steps, seed, lab.settings, **more) for seed in SEEDS
    ]
    return np.array([loss for loss, _ in found]), float(np.mean([sent for _, sent in found]))


def tell(name, losses, sent):
    found = t_interval(losses)
    span = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
    print(f"{name:42s} loss {span}, {sent / 1000:8.0f} kB a worker")


def test_against_post_local_sgd_at_equal_bytes(lab):
    """The all-gather of halves costs what the peer's ring all-reduce of floats costs."""
    print()
    peer, peer_sent = theirs(lab, post_local_sgd, every=20)
    tell("torch PostLocalSGDOptimizer, every 20", peer, peer_sent)
    # The peer averages weights, which is an outer rate of 1 without momentum.
    mine, sent = ours(lab, DiLoCo(20, 1.0, 0.0, Fp16()))
    tell("ours, H = 20, plain averaging, halves", mine, sent)
    tell("ours, H = 20, (0.7, 0.5), halves", *ours(lab, DiLoCo(20, 0.7, 0.5, Fp16())))
    small, small_sent = ours(lab, DiLoCo(20, 1.0, 0.0, Int4()))
    tell("ours, H = 20, plain averaging, int4", small, small_sent)
    print(f"loss at equal bytes, ours minus theirs: {(mine - peer).mean():+.3f} nats")
    print(f"bytes at about equal loss, theirs over ours with int4: {peer_sent / small_sent:.1f}x")
    assert sent == pytest.approx(peer_sent, rel=0.05)
    assert (mine - peer).mean() < 0.02
    assert (small - peer).mean() < 0.02
    assert small_sent < peer_sent / 3


def test_against_power_sgd_at_equal_bytes(lab):
    print()
    tell("data-parallel, 32 bits", *ours(lab, DataParallel()))
    peer, peer_sent = theirs(lab, power_sgd, rank=1)
    tell("torch PowerSGD hook, rank 1", peer, peer_sent)
    best = None
    for h in (5, 10, 20):
        mine, sent = ours(lab, DiLoCo(h, 1.0, 0.0, Int8()))
        tell(f"ours, H = {h}, int8", mine, sent)
        if sent <= peer_sent and best is None:
            best = mine
    assert best is not None
    print(f"loss with no more bytes, ours minus theirs: {(best - peer).mean():+.3f} nats")
    assert (best - peer).mean() < 0.05
