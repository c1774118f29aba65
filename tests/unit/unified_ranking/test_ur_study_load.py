"""The load generator is open, and the figures draw what they are given."""

import time
from concurrent.futures import Future

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lib.unified_ranking.serving import StackError
from lib.unified_ranking.study import figures
from lib.unified_ranking.study.experiment import Estimate
from lib.unified_ranking.study.load import Comparison, Load, compare, offer, requests, sustained

ASKED = requests(12, 4, 3, 20)


class Later:
    """A stack that answers at once, or after each request took so many seconds to send."""

    def __init__(self, blocks=0.0, refuses=()):
        self.blocks, self.refuses, self.sent = blocks, refuses, []

    def submit(self, request):
        time.sleep(self.blocks)
        answer = Future()
        if len(self.sent) in self.refuses:
            answer.set_exception(StackError("refused"))
        else:
            answer.set_result(None)
        self.sent.append(time.perf_counter())
        return answer


def test_requests_fall_due_at_random_at_the_stated_rate():
    stack = Later()
    load = offer(stack, ASKED * 5, 300.0, seed=1)
    gaps = np.diff(stack.sent)
    assert gaps.mean() == pytest.approx(1 / 300, rel=0.5)
    assert gaps.std() > 0.4 * gaps.mean()
    assert load.answered == 60
    assert load.rate == 300


def test_who_falls_behind_is_not_asked_more_slowly():
    """Latency counts from when a request was due: a stack that blocks the sender shows it."""
    load = offer(Later(blocks=0.02), ASKED, 1000.0)
    assert load.latencies[-1] > 0.1
    assert np.isfinite(load.latencies).all()
    assert load.seconds >= 12 * 0.02


def test_refused_is_never_in_time():
    load = offer(Later(refuses={0, 1, 2}), ASKED, np.inf)
    assert (load.answered, load.within(1e6)) == (9, 0.75)
    assert load.percentile(50) < 1 < load.percentile(99) == np.inf
    rate, tried = sustained(Later(refuses=range(10_000)), ASKED[:2])
    assert (rate, len(tried)) == (0, 1)


def test_percentiles_and_shares_know_values():
    load = Load(10.0, np.array([0.1, 0.2, 0.3, np.inf]), 1.0)
    assert (load.within(0.2), load.percentile(50), load.answered) == (0.5, 0.3, 3)
    pair = (Load(1.0, np.array([0.1]), 1.0), Load(1.0, np.array([0.2]), 1.0))
    both = Comparison(np.array([[30.0, 20.0]]), (pair,))
    assert both.ratios.tolist() == [1.5]
    assert both.latency.tolist() == [-0.5]


def test_sustained_is_a_rate_that_is_answered_in_time():
    rate, tried = sustained(Later(blocks=0.005), ASKED)
    assert 20 < rate <= 200
    assert tried[-1].within(1.0) == 1
    rate, tried = sustained(Later(blocks=0.005), ASKED[:3], limit=1e-6)
    assert (rate, len(tried)) == (0, 29)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        offer(Later(), ASKED, rate)
    with pytest.raises(ValueError, match="asked"):
        offer(Later(), [], 1.0)


def test_requests_are_drawn_anew_by_seed():
    one, two, other = (requests(2, 5, 3, 9, seed=seed)[1] for seed in (0, 0, 1))
    assert one.items.tolist() == two.items.tolist() != other.items.tolist()
    assert requests(1, 0, 3, 9)[0].items.size == 0
    with pytest.raises(ValueError, match="k is"):
        requests(1, 1, 10, 9)


def test_both_stacks_are_compared_in_one_run():
    both = compare(6, 4, rounds=2, count=4, n_items=20)
    assert both.rates.shape == (2, 2)
    assert (both.rates > 0).all()
    assert [[one.answered for one in pair] for pair in both.loads] == [[2, 2], [2, 2]]
    fig = figures.load_figure(both)
    assert len(fig.axes[0].get_lines()) + len(fig.axes[0].collections) == 2
    plt.close(fig)


def test_arms_are_drawn_with_their_intervals():
    rows = {"joint": [Estimate(0.5, 0.4, 0.6)] * 2, "ranking": [Estimate(0.3, 0.2, 0.5)] * 2}
    fig = figures.arms_figure(rows, ["B1", "B2"], label="Hit@3", line=0.4, line_label="chance")
    ax = fig.axes[0]
    assert [one.get_text() for one in ax.get_yticklabels()] == ["joint", "ranking"]
    assert ax.get_xlabel() == "Hit@3"
    low, high = ax.containers[0].lines[2][0].get_segments()[1][:, 0]
    assert (low, high) == pytest.approx((0.2, 0.5))
    plt.close(fig)
    with pytest.raises(ValueError, match="ranking"):
        figures.arms_figure({"ranking": rows["ranking"][:1]}, ["B1", "B2"], label="x")
    with pytest.raises(ValueError, match="rows"):
        figures.arms_figure({}, [], label="x")
