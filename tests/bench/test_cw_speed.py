"""Chapter 5: batched scores against libraries in use, and how the replay grows."""

import time

import numpy as np
import pandas as pd
import pytest

from lib.collapse_warning import Panel, evaluate, label_leak
from lib.collapse_warning.detectors import AC1, Bocpd, Cusum, Glr, Level, PageHinkley, Variance
from lib.collapse_warning.replay import (
    ReplayConfig,
    check_ratings,
    index_ratings,
    load_movielens_small,
    replay,
)
from lib.collapse_warning.study import peers

pytestmark = pytest.mark.bench
RNG = np.random.default_rng(5)


def seconds(call, repeat=20):
    """Least processor time of several calls: a busy machine changes it little."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def test_variance_and_ac1_against_ewstools():
    values, window = RNG.normal(size=(54, 120)), 32
    peers.ewstools_scores(values[:1], window)  # the import is not what is measured
    gaps = peers.largest_difference(values, window)
    ours = seconds(lambda: (Variance(window)(values), AC1(window)(values)))
    theirs = seconds(lambda: peers.ewstools_scores(values, window), 3)
    print(f"\nvariance and AC1, 54 x 120: {theirs / ours:.0f}x ewstools, differ by {gaps}")
    assert max(gaps.values()) < 1e-12
    assert theirs / ours > 300


def test_page_hinkley_and_cusum_against_scalar_loops():
    values = RNG.normal(size=(500, 200)).cumsum(axis=1) / 5
    some = values[:50]
    ours = seconds(lambda: PageHinkley(0.05, reference=0)(values)) / values.size

    def river():
        # Thresholds out of reach: every point is looked at.
        peers.river_alarm_starts(some, 1e12, 0.05)

    theirs = seconds(river, 2) / some.size
    same = peers.same_alarms(some, 3.0, 0.05)
    print(
        f"\nPage-Hinkley per point, 500 x 200: {theirs / ours:.0f}x river, "
        f"same alarms: {same.all()}"
    )
    assert same.all()
    assert theirs / ours > 20

    def scalar():
        # river has no CUSUM: the textbook loop, one value at a time.
        starts = []
        for row in some:
            mean, spread, total = row[:30].mean(), row[:30].std(ddof=1), 0.0
            first = None
            for t, value in enumerate(row[30:].tolist(), 30):
                total = max(0.0, total + (value - mean) / spread - 0.5)
                if first is None and total > 5:
                    first = t
            starts.append(first)
        return starts

    ours = seconds(lambda: Cusum(0.5, 30)(values)) / values.size
    theirs = seconds(scalar, 2) / some.size
    over = Cusum(0.5, 30)(some) > 5
    mine = [int(np.argmax(row)) if row.any() else None for row in over]
    print(
        f"CUSUM per point (river has none): {theirs / ours:.0f}x a scalar loop, "
        f"same alarms: {mine == scalar()}"
    )
    assert mine == scalar()
    assert theirs / ours > 20


def test_replay_grows_with_the_number_of_ratings():
    """Users are copied under new ids: the films stay, the matrix of users grows."""
    small = load_movielens_small()
    first = small[small["user"] <= 67]
    rates, sizes, indexing, replaying = [], [], [], []
    for copies, table in ((1, first), (1, small), (10, small)):
        step = int(table["user"].max())
        tiled = check_ratings(
            pd.concat([table.assign(user=table["user"] + step * c) for c in range(copies)])
        )
        start = time.perf_counter()
        index = index_ratings(tiled)
        indexing.append(time.perf_counter() - start)
        start = time.perf_counter()
        replay(tiled, ReplayConfig(), index=index)
        spent = time.perf_counter() - start
        sizes.append(len(tiled))
        replaying.append(spent)
        rates.append(tiled["user"].nunique() / spent)
    slope = np.polyfit(np.log(sizes), np.log(replaying), 1)[0]
    print()
    for size, rate, made in zip(sizes, rates, indexing, strict=True):
        print(
            f"replay of {size:>9,} ratings (users tiled): {rate:7.0f} users/s, index {made:5.1f} s"
        )
    print(f"log-log slope of time against ratings (tiled users): {slope:.2f}")
    assert slope < 1.5


def test_ten_times_the_length_costs_about_ten_times_as_much():
    print()
    for detector in (Variance(30), AC1(30), Glr(30), Bocpd()):
        spent = []
        for length in (1000, 10_000):
            values = RNG.normal(size=(20, length))
            spent.append(seconds(lambda d=detector, v=values: d(v), 3))
        print(f"{detector.name}: {spent[1] / spent[0]:.1f}x for 10x the length")
        assert spent[1] / spent[0] < 20


def test_evaluate_costs_little_beside_its_detector():
    panel = Panel.from_series(list(RNG.normal(size=(2000, 200))), np.arange(2000) < 500)
    detector = Variance(30)
    alone = seconds(lambda: detector(panel.values), 3)
    whole = seconds(lambda: evaluate(panel, detector), 3)
    print(f"\nevaluate over its detector, 2,000 x 200: {whole / alone:.2f}")
    assert evaluate(panel, Level()).verdict == "accepted"
    assert whole / alone < 2


def test_the_audit_costs_one_sorting():
    """A value that settles the label once cost two thousand dealings of all columns."""
    labels = np.arange(540) < 180
    values = RNG.normal(size=(540, 680))
    panel = Panel.from_series(list(values), labels)
    values[:, -5] = labels
    leaking = Panel.from_series(list(values), labels)
    plain = seconds(lambda: label_leak(panel), 3)
    found = seconds(lambda: label_leak(leaking), 3)
    sorting = seconds(lambda: np.sort(values, axis=0), 3)
    print(
        f"\naudit of 540 x 680: {plain:.2f} s, with a leak {found:.2f} s, sorting {sorting:.2f} s"
    )
    assert label_leak(leaking).leak("value")
    assert found / plain < 2
    assert found / sorting < 100
