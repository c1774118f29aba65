"""The same model one plan at a time, in plain Python: what the vectorised planner is held against.

Used by the tests and by the benchmark, by nothing else. It goes the published way where that
differs in method and not in meaning: the compute of a loss is bisected, not solved.
"""

from __future__ import annotations

import math

from lib.compute_governance.hardware import Node
from lib.compute_governance.planner import HIERARCHICAL, PIPELINE, Assumptions, Network


def bisected_compute(loss: float, upper: float, a: Assumptions) -> float:
    """Return the FLOP of the reference allocation at a loss, by 200 halvings of [1e10, upper]."""
    low, high = 1e10, upper
    for _ in range(200):
        middle = math.sqrt(low * high)
        params = math.sqrt(middle / (6.0 * a.ratio))
        law = a.law
        reached = law.E + law.A * params**-law.alpha + law.B * (a.ratio * params) ** -law.beta
        if reached > loss:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def scalar_plan(
    node: Node,
    n: int,
    params: float,
    mode: int,
    group: int = 1,
    *,
    network: Network | None = None,
    assumptions: Assumptions | None = None,
) -> dict[str, float] | None:
    """Return the main quantities of a plan; None where it does not exist.

    Parameters
    ----------
    node : Node
    n : int
    params : float
    mode : int
        See ``planner.evaluate``.
    group : int
    network, assumptions

    Returns
    -------
    dict or None
        h, tokens, overtraining, eta, chi, c_local, c_quality, cost_usd.
    """
    w, a = network or Network(), assumptions or Assumptions()

    def slowest(workers: float) -> float:
        return 1.0 + a.tail * math.log2(workers) if workers > 1 else 1.0

    fits = params * node.bytes_per_param <= node.mem_gb * 1e9
    step = 6.0 * params * a.batch_tokens / (node.flops * a.mfu)
    payload = params * node.gradient_bits / a.compression
    once = payload / w.up_bps + payload / w.down_bps + w.latency_s
    stages, workers, inner = 1, n, 1
    if mode == PIPELINE:
        stages = math.ceil(params * node.bytes_per_param / (node.mem_gb * 1e9))
        workers = n // stages
        if fits or workers < 2:
            return None
        bits = a.batch_tokens * a.hidden * math.sqrt(params) * node.gradient_bits / 4.0
        hand = (2.0 * bits / a.micro_batches / w.peer_bps + w.latency_s) * slowest(stages)
        slots = a.micro_batches + stages - 1
        step = slots * (step / (a.micro_batches * stages) + hand)
    elif not fits:
        return None
    sync, cycle = once * slowest(workers), step
    if mode == HIERARCHICAL:
        if n // group < 2:
            return None
        regional = (2.0 * payload / w.peer_bps + w.latency_s) * slowest(group)
        inner = max(1, math.ceil(regional / step))
        cycle = max(inner * step, regional)
        sync = once * slowest(n // group)
    outer = max(1, math.ceil(sync / cycle)) if workers > 1 else 1
    h = inner * math.sqrt(outer) if mode == HIERARCHICAL else float(outer)
    period = max(outer * cycle, sync) if workers > 1 else cycle
    tokens = a.window_s / period * inner * outer * a.batch_tokens * workers
    spent = 6.0 * params * tokens
    eta, chi = 1.0, 1.0
    if workers > 1:
        decades = math.log10(params / 1e9)
        alpha = a.alpha_base / (1.0 + decades / a.alpha_decades)
        power = a.replica_scale * params**-a.replica_power * math.log(h) / math.log(a.replica_h)
        law = a.law
        loss = law.E + law.A * params**-law.alpha + law.B * tokens**-law.beta
        chi = min(1.0, bisected_compute(loss, 10.0 * spent, a) / spent)
        worse = bisected_compute(loss * workers**power, 10.0 * spent, a) / spent
        eta = max(a.eta_floor, 1.0 - alpha * math.log10(h))
        eta *= float(a.eta_compression) * min(1.0, worse) / chi
        eta *= a.boundary_quality ** (2 * (stages - 1))
    return {
        "h": h,
        "tokens": tokens,
        "overtraining": tokens / (a.ratio * params),
        "eta": eta,
        "chi": chi,
        "c_local": spent * eta,
        "c_quality": spent * eta * chi,
        "cost_usd": n * node.chips_usd * a.server * a.cluster,
    }
