"""The label-leak audit: what it must find, and what it must not."""

import itertools

import numpy as np
import pytest

from lib.collapse_warning import Panel, label_leak
from lib.collapse_warning.audit import _chance
from lib.collapse_warning.study.arrangements import LEAKS, NOISE, planted_panel, simulated


@pytest.mark.parametrize("kind", NOISE)
def test_noise_is_rarely_called_a_leak(kind):
    found = [label_leak(simulated(kind, seed), n_permutations=199).leaks for seed in range(100)]
    assert sum(found) <= 5


@pytest.mark.parametrize(
    ("kind", "test"), list(zip(LEAKS, ("value", "value", "ends", "length"), strict=True))
)
def test_a_written_label_is_found(kind, test):
    for seed in range(5):
        report = label_leak(simulated(kind, seed))
        assert report.leak(test)
        assert report.leaks
    mixed = simulated(kind, 1)
    labels = np.random.default_rng(1).permutation(mixed.is_event)
    assert not label_leak(Panel(mixed.values, mixed.lengths, labels, mixed.units)).leaks


@pytest.mark.parametrize("back", [0, 9, 13, 16])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_label_is_found_wherever_it_stands(back, sign):
    values = np.random.default_rng(back).normal(size=(30, 20))
    labels = np.arange(30) < 10
    values[:, -1 - back] = sign * labels
    report = label_leak(Panel.from_series(list(values), labels))
    assert report.leak("value")
    assert f"one value, {back} steps before the end" in str(report)
    assert report.table().loc["value", ["p", "leak"]].tolist() == ["0.0000", "yes"]


def test_a_flipped_label_is_found_and_three_are_too_many():
    values = np.random.default_rng(0).normal(size=(90, 10))
    labels = np.arange(90) < 30
    for flips, found in ((1, True), (3, False)):
        # The flipped lie among the controls: below them they would be outside an interval.
        values[:, -1] = labels + 1e-3 * np.arange(90) / 90
        values[:flips, -1] = values[40:43, -1][:flips] + 1e-9
        panel = Panel.from_series(list(values), labels)
        assert label_leak(panel).leak("value") is found
        assert label_leak(panel, tolerance=0.1).leak("value")


def test_a_chance_is_counted_over_all_intervals():
    # Two events of five without an error: neighbours (4 of 10), or the two ends (1 of 10).
    assert _chance(2, 3, 0) == pytest.approx(0.5)
    # With three events the classes change places.
    assert _chance(3, 2, 0) == pytest.approx(0.5)
    found = itertools.combinations(range(9), 4)
    labels = np.array([np.isin(np.arange(9), one) for one in found])
    spans = [(a, b) for a in range(10) for b in range(a, 10)]
    inside = np.array([[a <= at < b for at in range(9)] for a, b in spans])
    errors = (labels[:, None] != inside[None]).sum(axis=2)
    fewest = np.minimum(errors, 9 - errors).min(axis=1)
    for allowed in (0, 1):
        assert (
            (fewest <= allowed).mean()
            <= _chance(4, 5, allowed) + 1e-12
            <= 4 * (fewest <= allowed).mean()
        )


def test_small_panels_have_too_few_arrangements():
    series = [[0.0, 1.0], [0.0, 1.1], [0.0, 0.1], [0.0, 0.2], [0.0, 0.3]]
    report = label_leak(Panel.from_series(series, [True, True, False, False, False]))
    value = report.tests[0]
    assert value.strong
    # Half of all arrangements have no error in a column, and there are two columns.
    assert value.p_value == 1.0
    assert not report.leaks


def test_a_label_inside_limits_is_found():
    rng = np.random.default_rng(1)
    labels = np.arange(90) < 30
    values = rng.normal(size=(90, 40))
    for turned in (1, -1):
        # Events lie between the controls, or the controls between the events.
        middle = labels if turned == 1 else ~labels
        values[:, -1] = np.where(middle, 0, np.where(np.arange(90) % 2, 1, -1))
        values[:, -1] += 1e-3 * rng.normal(size=90)
        report = label_leak(Panel.from_series(list(values), labels))
        assert report.leak("value")
        assert "one value, 0 steps before the end, separates the classes but for 0" in str(report)


@pytest.mark.parametrize("step", [0, 3])
def test_a_label_near_the_start_is_found_where_lengths_differ(step):
    rng = np.random.default_rng(3)
    labels = np.arange(90) < 30
    series = [rng.normal(size=n) for n in rng.integers(30, 50, 90)]
    for one, label in zip(series, labels, strict=True):
        one[step] = 9.0 * label
    report = label_leak(Panel.from_series(series, labels))
    assert report.leak("value")
    assert f"one value, {step} steps after the start, separates" in str(report)


@pytest.mark.parametrize(("where", "step"), [("before the end", 26), ("after the start", 31)])
def test_a_label_that_only_longer_units_have_is_found(where, step):
    rng = np.random.default_rng(3)
    labels = np.arange(90) < 30
    series = [rng.normal(size=n) for n in rng.integers(20, 61, 90)]
    longer = [one for one in series if len(one) > step]
    for one, label in zip(series, labels, strict=True):
        if len(one) > step:
            one[-1 - step if where == "before the end" else step] = 9.0 * label
    report = label_leak(Panel.from_series(series, labels))
    assert report.leak("value")
    words = (
        f"one value, {step} steps {where}, separates the classes but for 0 of {len(longer)} units"
    )
    assert words in str(report)
    # All columns that are looked at are paid for, those of the longest units too.
    n_events = sum(len(one) > step for one in series[:30])
    chance = _chance(n_events, len(longer) - n_events, 0)
    assert report.tests[0].p_value == pytest.approx(2 * max(map(len, series)) * chance)


def test_noise_of_unequal_lengths_is_rarely_called_a_leak():
    found = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        series = [rng.normal(size=n) for n in rng.integers(5, 41, 60)]
        found += label_leak(Panel.from_series(series, np.arange(60) < 20), n_permutations=199).leaks
    assert found <= 5


def test_an_outlier_hides_nothing():
    rng = np.random.default_rng(1)
    labels = np.arange(90) < 30
    runs = [np.r_[np.zeros(33), np.arange(1, 8)]] * 30
    runs += [np.r_[np.zeros(40 - m), np.arange(m)] for m in rng.choice([1, 4, 16, 21], size=60)]
    plain = label_leak(Panel.from_series(runs, labels))
    assert plain.leak("ends")
    assert plain.leak("state")
    for at in (5, 36):
        spoilt = [one.copy() for one in runs]
        spoilt[-1][at] = 1e7
        report = label_leak(Panel.from_series(spoilt, labels))
        assert report.leak("ends")
        assert report.leak("state")


def test_all_events_in_a_state_that_none_leaves():
    rng = np.random.default_rng(0)
    events = [np.r_[np.zeros(10 - k), np.arange(1, k + 1)] for k in rng.integers(2, 6, 20)]
    controls = [np.zeros(10) for _ in range(30)]
    report = label_leak(Panel.from_series(events + controls, np.arange(50) < 20))
    assert report.leak("state")
    words = report.tests[2].found
    assert words.startswith("20 of 20 units that left the resting value stayed away")
    assert words.endswith("20 of 20 events left it, 0 of 30 controls")
    back = [np.r_[one[:-1], 0.0] for one in events[:2]]
    report = label_leak(Panel.from_series(back + events[2:] + controls, np.arange(50) < 20))
    assert not report.leak("state")
    assert not report.tests[2].strong


def test_a_state_does_not_see_the_padding():
    events = [np.r_[0.0, 0.0, 1.0, 0.0], np.r_[0.0, 1.0, 1.0]] * 10
    controls = [np.zeros(4)] * 20
    report = label_leak(Panel.from_series(events + controls, np.arange(40) < 20))
    assert not report.leak("state")


def test_lengths_have_a_test_of_their_own():
    rng = np.random.default_rng(0)
    for same, found in ((True, False), (False, True)):
        lengths = rng.integers(15, 50, 60)
        if not same:
            lengths[20:] = 50
        series = [rng.normal(size=n) for n in lengths]
        report = label_leak(Panel.from_series(series, np.arange(60) < 20))
        assert report.leak("length") is found
    assert "controls 50 to 50" in report.tests[3].found


def test_lengths_between_those_of_the_controls_are_found():
    labels = np.arange(90) < 30
    series = [np.zeros(30 if e else 20 + 20 * (at % 2)) for at, e in enumerate(labels)]
    report = label_leak(Panel.from_series(series, labels))
    assert report.leak("length")
    assert report.tests[3].p_value == 1 / 2000
    # The share of the larger class does not matter: every other unit longer is no leak.
    mixed = [np.zeros(20 + 20 * (at % 2)) for at in range(90)]
    assert not label_leak(Panel.from_series(mixed, labels)).leak("length")


def test_eligibility_is_reported_and_checked():
    panel = planted_panel(4, 8, 10, 0.0, 0)
    able = np.array([True] * 6 + [False] * 6)
    report = label_leak(panel, eligible=able)
    assert report.unlabelable == 0.75
    assert "75.0% of controls could not have become events" in report.findings()
    with pytest.raises(ValueError, match="eligible has shape"):
        label_leak(panel, eligible=able[:3])
    with pytest.raises(ValueError, match="eligible is false for an event"):
        label_leak(panel, eligible=~able)
    for bad in (["no"] * 12, [1.0] * 11 + [np.nan], [1] * 11 + [5]):
        with pytest.raises(ValueError, match=r"eligible\[\d+\] is .*, expected true or false"):
            label_leak(panel, eligible=bad)
    assert label_leak(panel, eligible=[1] * 12).unlabelable == 0


@pytest.mark.parametrize(
    "bad", [{"tail": 1}, {"tolerance": 2}, {"alpha": 0}, {"n_permutations": 9}, {"seed": -1}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        label_leak(planted_panel(4, 8, 10, 0.0, 0), **bad)
    with pytest.raises(ValueError, match="kind is 'luck'"):
        label_leak(planted_panel(4, 8, 10, 0.0, 0)).leak("luck")


def test_reports_in_words():
    report = label_leak(planted_panel(10, 20, 20, 0.0, 0))
    assert str(report) == "no leak of these kinds"
    assert list(report.table().index) == ["value", "ends", "state", "length"]
    assert set(report.table()["leak"]) == {"no"}
    assert (report.n_events, report.n_controls) == (10, 20)
