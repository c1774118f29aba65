"""Markets, indices, load sheds and model collapse on small tables whose answers are known."""

import gzip
import math
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import entropy

from lib.collapse_warning import FPContract, Panel, detectors, evaluate_scores
from lib.collapse_warning.detectors import AC1, AlwaysAlarm, Cusum, Level, NeverAlarm, Variance
from lib.collapse_warning.evaluation import holm
from lib.collapse_warning.study import cost, domains, markets, peers, shumailov
from lib.stats import binomial

RNG = np.random.default_rng(9)


def minutes(*days):
    """Rows of days: name, whether of an event, and the minutes that have data."""
    rows = []
    for day, is_event, at in days:
        opening = pd.Timestamp("2020-03-18 14:00", tz="UTC")
        for minute in at:
            time = opening + pd.Timedelta(minutes=minute)
            collapse = opening + pd.Timedelta(minutes=5)
            start = f"{opening:%Y-%m-%d %H:%M}"
            rows.append((day, time, is_event, start, collapse, float(minute)))
    columns = ["day", "time", "is_event", "window_start_ts_utc", "collapse", "G"]
    return pd.DataFrame(rows, columns=columns)


def test_segments_by_hand() -> None:
    table = minutes(("d", True, [5, 0, 1, 2, 4, 6, 11]), ("e", False, [3, 4]))
    found = markets.units(table, 4)
    # Half of four minutes are enough: the last segment of d and none of e has a single one.
    assert found.groupby("unit")["G"].agg(list).to_dict() == {
        "d/01": [0, 1, 2],
        "d/02": [4, 5, 6],
    }
    first = found.iloc[0]
    opening = pd.Timestamp("2020-03-18 14:00", tz="UTC")
    assert first["start"] == opening
    assert first["end"] == opening + pd.Timedelta(minutes=2)
    assert found.iloc[3]["start"] == opening + pd.Timedelta(minutes=4)
    assert found.iloc[3]["end"] == opening + pd.Timedelta(minutes=6)
    assert found.index.tolist() == list(range(6))
    every = markets.units(table, 4, 1)["unit"].unique().tolist()
    assert every == ["d/01", "d/02", "d/03", "e/01", "e/02"]
    assert markets.units(table, 4, 3)["unit"].unique().tolist() == ["d/01", "d/02"]
    assert markets.units(table, 4, 4).empty
    # Half of three, and of five, is rounded down.
    assert markets.units(table, 3)["unit"].unique().tolist() == [
        *("d/01", "d/02", "d/03", "d/04", "e/02"),
    ]
    assert markets.units(table, 2)["unit"].unique().tolist() == [
        *("d/01", "d/02", "d/03", "d/04", "d/06", "e/02", "e/03"),
    ]
    with pytest.raises(ValueError, match="length is 1"):
        markets.units(table, 1)
    full = minutes(("d", True, range(60)), ("e", False, range(59)))
    assert markets.units(full)["unit"].unique().tolist() == ["d/01"]


def test_late_minutes() -> None:
    found = markets.units(minutes(("d", True, range(0, 120, 2))))
    assert markets.late(found)["G"].tolist() == list(range(88, 120, 2))
    assert markets.late(found, 4)["G"].tolist() == [114, 116, 118]


def witnesses():
    """Four units of two days: three of controls with 20 rows each, one of events."""
    rows = []
    for unit, is_event, day in (
        ("a", False, "x"),
        ("b", False, "x"),
        ("c", False, "y"),
        ("d", True, "z"),
    ):
        rows += [(unit, t, day, is_event, *RNG.normal(size=3)) for t in range(20)]
    columns = ["unit", "time", "day", "is_event", "G", "raw_p_debug", "delta"]
    return pd.DataFrame(rows, columns=columns)


def alarmed(part, limits, k):
    run = best = 0
    for g, p, delta in part[["G", "raw_p_debug", "delta"]].itertuples(index=False):
        run = run + 1 if g > limits[0] and p > limits[1] and delta < limits[2] else 0
        best = max(best, run)
    return best >= k


@pytest.mark.parametrize("on_events", [False, True])
def test_cells_of_the_quantile_detector(on_events) -> None:
    table = witnesses()
    found = markets.a1_cells(table, (30, 50), (1, 2), fit_on_events=on_events)
    assert found[["q", "k"]].to_numpy().tolist() == [[30, 1], [30, 2], [50, 1], [50, 2]]
    part = table[table["is_event"] == on_events]
    for row in found.itertuples():
        limits = [
            np.percentile(part["G"], row.q),
            np.percentile(part["raw_p_debug"], row.q),
            np.percentile(part["delta"], 100 - row.q),
        ]
        assert (row.q_G, row.q_p, row.q_delta) == pytest.approx(limits)
        each = {u: alarmed(t, limits, row.k) for u, t in table.groupby("unit")}
        assert row.controls == sum(each[u] for u in "abc")
        assert row.events == each["d"]
        assert not row.accepted
    assert len(markets.a1_cells(table)) == 27


def test_an_accepted_cell(monkeypatch) -> None:
    monkeypatch.setattr(markets, "FPContract", lambda: FPContract(0.5, 0.9))
    rows = pd.concat([witnesses().assign(G=1.0, raw_p_debug=1.0, delta=0.0)])
    rows.loc[(rows["unit"].isin(["a", "b"])) & (rows["time"] == 3), ["G", "raw_p_debug"]] = 2.0
    rows.loc[rows["unit"].isin(["a", "b"]) & (rows["time"] == 3), "delta"] = -1.0
    found = markets.a1_cells(rows, (50,), (1, 2))
    assert found["controls"].tolist() == [2, 0]
    assert found["accepted"].tolist() == [True, False]


def test_effects_by_unit_and_day() -> None:
    table = pd.concat([witnesses(), witnesses().assign(unit=lambda t: t["unit"] + "2")])
    table.loc[table["unit"] == "d2", "day"] = "z2"
    found = markets.effects(table)
    assert list(found) == ["G", "p", "delta"]
    assert found["p"].is_event.tolist() == [False] * 6 + [True] * 2
    total = table["raw_p_debug"] - table["raw_p_debug"].mean()
    assert found["p"].sums[6] == pytest.approx(total[table["unit"] == "d"].sum())
    by_day = markets.effects(table, "day")
    assert by_day["G"].sizes.tolist() == [80, 40, 20, 20]


def test_directions_and_spikes() -> None:
    rows = pd.DataFrame(
        {
            "unit": ["a", "a", "a", "b", "c", "c", "c"],
            "time": range(7),
            "is_event": [True] * 4 + [False] * 3,
            "G_debug": [1.0, 2, 9, 10, 2, 1, 6],
        }
    )
    assert markets.direction(rows, "G_debug") == (7, 3)
    assert markets.direction(rows, "G_debug", "median") == (6, 2)
    assert markets.spikes(rows, factor=4.5)["time"].tolist() == [3]
    assert markets.spikes(rows, factor=4.4)["time"].tolist() == [2, 3]
    assert markets.spikes(rows.assign(x=rows["G_debug"]), "x", 4.5)["x"].tolist() == [10]
    assert markets.spikes(rows).empty
    assert markets.spikes(rows, factor=1).columns.tolist() == ["unit", "time", "G_debug"]


def test_before_across_and_after() -> None:
    opening = pd.Timestamp("2020-03-18 14:00", tz="UTC")
    spans = {"a": (0, 5), "b": (0, 6), "c": (5, 9), "d": (6, 9), "e": (0, 1)}
    rows = pd.DataFrame(
        [
            (u, opening + timedelta(minutes=s), opening + timedelta(minutes=e),
             opening + timedelta(minutes=5), u != "e")
            for u, (s, e) in spans.items()
        ],
        columns=["unit", "start", "end", "collapse", "is_event"],
    )  # fmt: skip
    found = markets.timeline(rows)
    assert found["where"].to_dict() == {
        "a": "before", "b": "across", "c": "across", "d": "after",
    }  # fmt: skip
    assert found.columns.tolist() == ["start", "end", "collapse", "where"]


def test_series_of_segments() -> None:
    table = minutes(("d", True, [0, 1, 3]), ("e", False, [0, 2, 3]))
    table["unit"] = table["day"]
    for at, symbol in enumerate(markets.SYMBOLS):
        table[f"{symbol}_abs_return"] = at + table["G"]
    found = markets.panel(table)
    assert found.values[0] == pytest.approx(np.log([1, 2, 4]))  # noqa: PD011
    assert found.is_event.tolist() == [True, False]
    assert markets.panel(table, "stress").values[1] == pytest.approx([2.5, 4.5, 5.5])  # noqa: PD011
    assert markets.panel(table, "G").values[1].tolist() == [0, 2, 3]  # noqa: PD011


def test_packets_are_joined(monkeypatch) -> None:
    asked = []

    def table(name):
        asked.append(name)
        kind = "control" if "control" in name or "noncollapse" in name else "event"
        return pd.DataFrame(
            {
                "ts_utc": ["2020-01-01 10:00"],
                "kind": [kind],
                "collapse_ts_utc": ["2020-01-01 11:00"],
            }
        )

    monkeypatch.setattr(markets.artefacts, "table", table)
    found = markets.packets()
    assert found.columns.tolist() == [
        *("day", "time", "is_event", "ts_utc", "kind", "collapse_ts_utc", "collapse"),
    ]
    assert found["day"].tolist() == list(markets.DAYS)
    assert found["is_event"].sum() == 2
    assert found.index.tolist() == list(range(7))
    assert str(found["time"].dtype).endswith("UTC]")
    assert (found["collapse"] - found["time"] == pd.Timedelta(hours=1)).all()


def plain_diversity(part, rtol):
    """Entropy of one window's eigenvalues over the logarithm of their number."""
    n = part.shape[1]
    moves = [k for k in range(n) if np.nanstd(np.r_[part[:, k], [np.nan]]) > 1e-7]
    matrix = np.eye(len(moves))
    for i, a in enumerate(moves):
        for j, b in enumerate(moves):
            both = ~np.isnan(part[:, a]) & ~np.isnan(part[:, b])
            if i != j:
                matrix[i, j] = np.corrcoef(part[both, a], part[both, b])[0, 1]
    values = np.linalg.eigvalsh(matrix)
    kept = values[values > rtol * values.max()]
    deficient = (values <= 1e-9 * values.max()).any()
    return (entropy(kept) / math.log(len(kept)) if len(kept) > 1 else 0.0), deficient


@pytest.mark.parametrize("rtol", [0.0, 0.3])
def test_diversity_of_every_window(rtol) -> None:
    x = RNG.normal(size=(40, 4))
    x[:, 1] += x[:, 0]
    x[RNG.random(x.shape) < 0.15] = np.nan
    x[3:16, 3] = 0.25
    delta, deficient = markets.diversity(x, 12, rtol)
    assert delta.shape == deficient.shape == (29,)
    for at in range(29):
        expected = plain_diversity(x[at : at + 12], rtol)
        assert delta[at] == pytest.approx(expected[0], abs=1e-9)
        assert deficient[at] == expected[1]


def test_diversity_at_its_edges() -> None:
    up = np.arange(6.0)
    turn = np.array([1.0, -1, 1, -1, 1, -1])
    # Nothing moves; one symbol moves; a copy of it makes the matrix deficient.
    assert [one.tolist() for one in markets.diversity(np.ones((6, 2)), 6)] == [[0], [False]]
    assert [one.tolist() for one in markets.diversity(np.c_[up, up * 0], 6)] == [[0], [False]]
    assert markets.diversity(np.c_[up, -up], 6, 1e-9)[0][0] == pytest.approx(0, abs=1e-9)
    assert markets.diversity(np.c_[up, -up], 6)[1].tolist() == [True]
    found, deficient = markets.diversity(np.c_[up, turn, up * 0], 6)
    r = np.corrcoef(up, turn)[0, 1]
    assert found[0] == pytest.approx(entropy([1 - r, 1 + r], base=2))
    assert deficient.tolist() == [False]
    # A single return is a row of zeros, which the released numbers count.
    lone = np.full(6, np.nan)
    lone[2] = 1.0
    alone, deficient = markets.diversity(np.c_[up, turn, lone], 6)
    assert deficient.tolist() == [True]
    assert alone[0] == pytest.approx(found[0])
    lone[4] = 3.0
    assert markets.diversity(np.c_[up, lone], 6)[1].tolist() == [True]
    none = np.full(6, np.nan)
    assert [one.tolist() for one in markets.diversity(np.c_[none, none], 6)] == [[0], [False]]
    small = markets.diversity(np.c_[up, 1e-3 * turn], 6)[0]
    assert small[0] == pytest.approx(found[0])
    # A symbol a millionth as large is flat beside the others: up to 1e-12 of squares.
    assert markets.diversity(np.c_[up, 1e-7 * turn], 6)[0].tolist() == [0]
    assert markets.diversity(np.c_[100 * up, 1.3e-4 * turn], 6)[0].tolist() == [0]
    moves = markets.diversity(np.c_[100 * up, 1.3e-3 * turn], 6)[0]
    assert moves[0] == pytest.approx(found[0])
    for bad in (np.ones(6), np.ones((5, 2)), np.ones((6, 2, 1))):
        with pytest.raises(ValueError, match="at least 6 minutes"):
            markets.diversity(bad, 6)
    for wrong in (np.inf, -np.inf):
        with pytest.raises(ValueError, match="hold infinity"):
            markets.diversity(np.full((6, 2), wrong), 6)


# Indices.


def closes(n=113):
    days = pd.bdate_range("2008-01-01", periods=n)
    walk = 100 * np.exp(np.cumsum(0.02 * np.random.default_rng(4).normal(size=(n, 2)), axis=0))
    return pd.DataFrame(walk, index=days, columns=["sp500", "nasdaq"])


def test_index_units_by_hand(monkeypatch) -> None:
    table = closes()
    monkeypatch.setattr(domains, "indices", lambda: table)
    found = domains.index_panel()
    # Units end on days 60, 70, … 100: ten days must follow.
    ends = [60, 70, 80, 90, 100]
    assert found.dates.tolist() == table.index.to_numpy()[ends].tolist()
    assert found.panel.units.tolist() == [f"{table.index[e]:%Y-%m-%d}" for e in ends]
    sp, nasdaq = table["sp500"].tolist(), table["nasdaq"].tolist()
    for row, worst, end in zip(found.panel.values, found.worst, ends, strict=True):
        expected = [
            50 * (abs(math.log(sp[t] / sp[t - 1])) + abs(math.log(nasdaq[t] / nasdaq[t - 1])))
            for t in range(end - 59, end + 1)
        ]
        assert row == pytest.approx(expected)
        assert worst == pytest.approx(min(sp[end + 1 : end + 11]) / sp[end] - 1)
    assert found.panel.is_event.tolist() == (found.worst <= -0.05).tolist()
    assert 0 < found.panel.n_events < 5
    monkeypatch.setattr(domains, "indices", lambda: closes(111))
    assert len(domains.index_panel().dates) == 5
    monkeypatch.setattr(domains, "indices", lambda: closes(110))
    assert len(domains.index_panel().dates) == 4


def test_a_fall_of_exactly_five_per_cent(monkeypatch) -> None:
    table = closes()
    table["sp500"] = 64.0
    table.iloc[65, 0] = 64 * 0.75
    monkeypatch.setattr(domains, "indices", lambda: table)
    monkeypatch.setattr(domains, "FALL", 0.25)
    assert domains.index_panel().panel.is_event.tolist() == [True, False, False, False, False]


def test_closes_are_read(monkeypatch, tmp_path) -> None:
    def write(**columns):
        for name, values in columns.items():
            with gzip.open(tmp_path / f"{name}.csv.gz", "wt") as file:
                file.write("Date,Adj Close,Close\n")
                file.writelines(f"2020-01-{d:02},{v},9\n" for d, v in values)

    monkeypatch.setattr(domains.data, "path", lambda kind, name: tmp_path / name.rpartition("/")[2])
    write(sp500=[(1, 10), (2, 11), (3, "")], nasdaq=[(1, 20), (2, 21), (3, 22), (4, 23)])
    found = domains.indices.__wrapped__()
    assert found.to_dict("list") == {"sp500": [10, 11], "nasdaq": [20, 21]}
    assert found.index.tolist() == [pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-02")]
    write(sp500=[(1, 0.5), (2, 0.25)])
    assert domains.indices.__wrapped__()["sp500"].tolist() == [0.5, 0.25]
    for bad in ([(1, 10), (2, 0)], [(1, 10), (2, -1)]):
        write(sp500=bad)
        with pytest.raises(ValueError, match="positive"):
            domains.indices.__wrapped__()
    write(sp500=[(2, 10), (1, 11)], nasdaq=[(2, 10), (1, 11)])
    with pytest.raises(ValueError, match="order of time"):
        domains.indices.__wrapped__()


def test_shifts_of_labels_by_hand() -> None:
    alarms = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 1], dtype=bool)
    labels = np.array([1, 0, 0, 0, 0, 0, 0, 1, 0, 0], dtype=bool)
    # One hit. Labels moved by 2 to 8: hits at 2 (7 → 9), 3 (7 → 0), 4 (7 → 1).
    assert domains.circular_shift_p(alarms, labels, 2) == (1 + 3) / 8
    assert domains.circular_shift_p(alarms, labels, 4) == (1 + 1) / 4
    assert domains.circular_shift_p(alarms, labels, 3) == (1 + 2) / 6
    with pytest.raises(ValueError, match="10 alarms, 10 labels: expected at least 12"):
        domains.circular_shift_p(alarms, labels, 5)
    with pytest.raises(ValueError, match="10 alarms, 9 labels"):
        domains.circular_shift_p(alarms, labels[1:], 2)
    twelve = np.r_[alarms, False, False]
    # Moved by 5, 6 and 7: the last label comes to 0, 1 and 2.
    assert domains.circular_shift_p(twelve, np.r_[labels, False, False], 5) == 3 / 4


def dated(n=120, n_before=60):
    """Units of noise, some before 2009 and some well after."""
    rng = np.random.default_rng(2)
    day = np.datetime64("2008-12-31")
    dates = [day - np.timedelta64(k, "D") for k in range(n_before)][::-1]
    start = np.datetime64("2009-01-01") + np.timedelta64(91, "D")
    dates += [start + np.timedelta64(k, "D") for k in range(n - n_before)]
    labels = rng.random(n) < 0.3
    worst = np.where(labels, -0.1, 0.1) + 0.01 * rng.normal(size=n)
    panel = Panel.from_series(list(rng.normal(size=(n, 3))), labels)
    return domains.DatedPanel(panel, np.array(dates), worst)


def test_periods_share_no_day() -> None:
    dates = np.array(
        ["2008-12-31", "2009-01-01", "2009-04-01", "2009-04-02", "2012-01-01"],
        dtype="datetime64[D]",
    )
    one = SimpleNamespace(dates=dates)
    before, after = domains.periods(one)
    # Sixty trading days are 84 days, and a week more: 91 after the first of January.
    assert before.tolist() == [True, False, False, False, False]
    assert after.tolist() == [False, False, False, True, True]
    before, after = domains.periods(one, "2009-01-02")
    assert before.tolist() == [True, True, False, False, False]
    assert after.tolist() == [False, False, False, False, True]


def test_peaks_are_the_highest_scores() -> None:
    one = dated()
    found = domains.peaks(one, (Level(), Variance(2)))
    assert list(found) == ["level", "variance(2)"]
    assert found["level"].tolist() == one.panel.values.max(axis=1).tolist()  # noqa: PD011


@pytest.mark.parametrize(("shift", "deal"), [(0, None), (7, None), (0, 3)])
def test_thresholds_of_one_period_are_judged_on_the_other(shift, deal) -> None:
    one = dated()
    rng = np.random.default_rng(8)
    scores = {
        "x": rng.normal(size=120),
        "y": rng.integers(0, 12, size=120).astype(float),
        "flat": np.zeros(120),
    }
    band = FPContract(0.1, 0.2)
    found = domains.calibrate_and_judge(one, scores, contract=band, shift_labels=shift, deal=deal)
    assert found.index.tolist() == [
        *("x", "y", "flat", "sees the days ahead", "always alarm", "never alarm"),
    ]
    labels = np.roll(one.panel.is_event, shift)
    first, second = np.arange(120) < 60, np.arange(120) >= 60
    if deal is not None:
        order = np.random.default_rng(deal).permutation(120)
        first, second = np.isin(np.arange(120), order[:60]), np.isin(np.arange(120), order[60:])
    every = {**scores, "sees the days ahead": np.roll(-one.worst, shift)}
    for name, score in every.items():
        fitted = evaluate_scores(score[first], labels[first], band)
        row = found.loc[name]
        assert row["calibrated"] == fitted.verdict
        alarms = score[second] >= (fitted.point.threshold if fitted.accepted else np.inf)
        events = labels[second]
        false, hits = (alarms & ~events).sum(), (alarms & events).sum()
        assert row[["false_alarms", "hits", "controls", "events"]].tolist() == [
            *(false, hits, (~events).sum(), events.sum()),
        ]
        assert row["fpr"] == pytest.approx(false / (~events).sum())
        assert row["tpr"] == pytest.approx(hits / events.sum())
        assert (row["low"], row["high"]) == binomial(int(hits), int(events.sum())).ends
        inside = 0.1 <= false / (~events).sum() <= 0.2
        assert row["kept"] == (fitted.accepted and inside)
        expected = domains.circular_shift_p(alarms, events) if fitted.accepted else 1.0
        assert row["p"] == expected
    assert found.loc[["x", "y"], "calibrated"].tolist() == ["accepted", "accepted"]
    assert found.loc["flat", ["p", "kept", "hits"]].tolist() == [1.0, False, 0]
    assert found["holm"].tolist()[:3] == holm(found["p"].tolist()[:3]).tolist()
    assert found["holm"].isna().tolist() == [False] * 3 + [True] * 3
    assert found.loc["always alarm", ["calibrated", "hits"]].tolist() == [
        *("ties jump over the band", 0),
    ]
    assert found.loc["never alarm", "calibrated"] == "too few alarms to reach the band"
    # One that sees what is coming finds all of it, but where labels are dealt out anew.
    assert found.loc["sees the days ahead", "tpr"] == 1


def test_units_between_the_periods_are_left_out() -> None:
    one = dated()
    dates = one.dates.copy()
    dates[60:65] = np.datetime64("2009-02-01")
    moved = domains.DatedPanel(one.panel, dates, one.worst)
    for deal in (None, 1):
        found = domains.calibrate_and_judge(moved, domains.peaks(moved, (Level(),)), deal=deal)
        assert found.loc["level", ["controls", "events"]].sum() == 55
    later = domains.calibrate_and_judge(one, domains.peaks(one, (Level(),)), "2008-12-20")
    assert later.loc["level", ["controls", "events"]].sum() == 60


# Load sheds.


def grid(monkeypatch, tmp_path, hours, onsets, spoil=()):
    """Files of one authority from the first of January on, whose value counts the hours."""
    index = pd.date_range("2021-01-01", periods=hours, freq="h", tz="UTC")
    table = pd.DataFrame({"period_utc": index, "D": np.arange(hours) + 10.0, "DF": 10.0})
    for at, column, value in spoil:
        table.loc[at, column] = value
    with gzip.open(tmp_path / "AA.csv.gz", "wt") as file:
        table.to_csv(file, index=False)
    sheds = pd.DataFrame(
        {
            "event": [f"shed {k}" for k in range(len(onsets))],
            "authority": "AA",
            "onset": [index[0] + pd.Timedelta(hours=h) for h in onsets],
            "megawatt": 1.0,
        }
    )
    monkeypatch.setattr(domains, "_sheds", lambda: sheds)
    monkeypatch.setattr(domains.data, "path", lambda kind, name: tmp_path / name.rpartition("/")[2])
    return index


def test_hours_before_a_shed_and_far_from_any(monkeypatch, tmp_path) -> None:
    # Forty days before the shed: exactly 30 days apart are the hours up to 240.
    index = grid(
        monkeypatch, tmp_path, 1000, [960.4], [(930, "D", np.nan), (950, "DF", 0), (920, "DF", 1)]
    )
    panel, dropped = domains.grid_panel(3)
    assert panel.n_events == 1
    assert panel.n_controls == 12
    assert dropped == {"hours": 2, "windows": 0}
    expected = [929.0 if h == 920 else h / 10 for h in range(912, 960) if h not in (930, 950)]
    assert panel.values[0][:46] == pytest.approx(expected)  # noqa: PD011
    far = np.arange(48, 241)
    drawn = np.random.default_rng(3).permutation(far)[:12]
    assert panel.units.tolist() == ["shed 0", *(f"AA {index[h]:%Y-%m-%d %H}h" for h in drawn)]
    for row, hour in zip(panel.values[1:], drawn, strict=True):  # noqa: PD011
        assert row[:48] == pytest.approx(np.arange(hour - 48, hour) / 10)
    assert panel.lengths.tolist() == [46] + [48] * 12
    again, _ = domains.grid_panel(3)
    assert again.units.tolist() == panel.units.tolist()
    other, _ = domains.grid_panel()
    drawn = np.random.default_rng(0).permutation(far)[:12]
    assert other.units.tolist()[1:] == [f"AA {index[h]:%Y-%m-%d %H}h" for h in drawn]


def test_controls_with_too_few_hours_are_passed_over(monkeypatch, tmp_path) -> None:
    spoil = [(h, "D", np.nan) for h in range(100, 112)] + [(112, "DF", -1.0)]
    index = grid(monkeypatch, tmp_path, 1000, [960], spoil)
    panel, dropped = domains.grid_panel(3)
    # Windows that hold 13 of the missing hours have 35 left; with 12 they will do.
    drawn, passed, hours = [], 0, 0
    for hour in np.random.default_rng(3).permutation(np.arange(48, 241)):
        if len(drawn) == 12:
            break
        missing = sum(hour - 48 <= h < hour for h in range(100, 113))
        if missing > 12:
            passed += 1
        else:
            drawn.append(hour)
            hours += missing
    assert passed > 0
    assert panel.units.tolist()[1:] == [f"AA {index[h]:%Y-%m-%d %H}h" for h in drawn]
    assert dropped == {"hours": hours, "windows": passed}


def test_a_shed_with_too_few_hours_is_refused(monkeypatch, tmp_path) -> None:
    grid(monkeypatch, tmp_path, 1000, [960], [(h, "D", np.nan) for h in range(912, 925)])
    with pytest.raises(ValueError, match="shed 0: 35 of 48 hours, too few"):
        domains.grid_panel()
    grid(monkeypatch, tmp_path, 1000, [960], [(h, "D", np.nan) for h in range(912, 924)])
    assert domains.grid_panel()[1]["hours"] == 12


def test_controls_are_far_from_every_shed(monkeypatch, tmp_path) -> None:
    index = grid(monkeypatch, tmp_path, 2400, [100, 1550])
    panel, _ = domains.grid_panel(1)
    # Between the sheds lie the hours 820 to 830, and after the second those from 2270 on.
    far = np.r_[820:831, 2270:2400]
    drawn = np.random.default_rng(1).permutation(far)[:24]
    assert panel.is_event.tolist() == [True] * 2 + [False] * 24
    assert panel.units.tolist()[2:] == [f"AA {index[h]:%Y-%m-%d %H}h" for h in drawn]


def test_authorities_in_the_order_of_their_names(monkeypatch, tmp_path) -> None:
    grid(monkeypatch, tmp_path, 1000, [960])
    (tmp_path / "BB.csv.gz").write_bytes((tmp_path / "AA.csv.gz").read_bytes())
    sheds = domains._sheds()
    both = pd.concat([sheds.assign(authority="BB", event="other"), sheds])
    monkeypatch.setattr(domains, "_sheds", lambda: both)
    panel, _ = domains.grid_panel(1)
    assert panel.units[panel.is_event].tolist() == ["shed 0", "other"]
    assert [one[:2] for one in panel.units[~panel.is_event]] == ["AA"] * 12 + ["BB"] * 12


def test_sheds_are_read(monkeypatch, tmp_path) -> None:
    (tmp_path / "events.yaml").write_text(
        "events:\n  one: {eia930_respondent: AA, onset_utc: '2021-01-02T03:04Z', max_shed_mw: 5}\n"
    )
    monkeypatch.setattr(domains.data, "path", lambda kind, name: tmp_path / name.rpartition("/")[2])
    (row,) = domains._sheds.__wrapped__().to_dict("records")
    assert row == {
        "event": "one",
        "authority": "AA",
        "onset": pd.Timestamp("2021-01-02T03:04Z"),
        "megawatt": 5,
    }


# Model collapse.


def perplexities(values):
    return pd.DataFrame(
        [(r, k, t, p) for (r, k), row in values.items() for t, p in enumerate(row)],
        columns=["regime", "run", "generation", "perplexity"],
    )


VALUES = {
    ("ten_pct_preservation", 1): [10.0, 14, 12, 20, 18, 19],
    ("ten_pct_preservation", 2): [12.0, 12, 16, 12, 14, 20],
    ("no_preservation", 1): [10.0, 9, 8, 10, 30, 10],
    ("no_preservation", 2): [14.0, 15, 18, 20, 10, 16],
}


def test_witnesses_of_a_collapse_by_hand() -> None:
    table = shumailov.witnesses(perplexities(VALUES).sample(frac=1, random_state=0))
    assert table.index.tolist() == list(range(24))
    for (regime, run), row in VALUES.items():
        part = table[(table["regime"] == regime) & (table["run"] == run)]
        gap = np.array(row) - row[0]
        assert part["generation"].tolist() == list(range(6))
        assert part["gap"].tolist() == gap.tolist()
        assert part["gain"].isna().tolist() == [True, True, False, False, False, False]
        assert part["gain"].tolist()[2:] == [
            row[t] - 2 * row[t - 1] + row[t - 2] for t in range(2, 6)
        ]
        largest = np.maximum.accumulate(gap)
        expected = [g / m if m > 0 else 0 for g, m in zip(gap, largest, strict=True)]
        assert part["persistence"].tolist() == pytest.approx(expected)
        pair = np.array([VALUES[regime, 1], VALUES[regime, 2]])
        assert part["diversity"].tolist() == pytest.approx(
            (math.sqrt(2) / np.abs(pair[0] - pair[1])).tolist()
        )


def test_onsets_by_hand() -> None:
    table = shumailov.witnesses(perplexities(VALUES))
    found = shumailov.onset(table)
    assert found.index.tolist() == ["no_preservation", "ten_pct_preservation"]
    part = table[table["regime"] == "ten_pct_preservation"]
    gains = {
        k: [VALUES["ten_pct_preservation", k][t] - 2 * VALUES["ten_pct_preservation", k][t - 1]
            + VALUES["ten_pct_preservation", k][t - 2] for t in range(2, 6)]
        for k in (1, 2)
    }  # fmt: skip
    row = found.loc["ten_pct_preservation"]
    # Second differences -6 and 4 at the onset; then 10, -10, 3 and -8, 6, 4.
    assert (gains[1], gains[2]) == ([-6, 10, -10, 3], [4, -8, 6, 4])
    assert row["onset"] == 5
    assert row["signed"] == -1
    assert row["later"] == pytest.approx(41 / 6)
    assert row["ratio"] == pytest.approx(5 / (41 / 6))
    # Gaps 4, 2, 10, 8, 9 and 0, 4, 0, 2, 8 over the largest so far.
    shares = [1, 0.5, 1, 0.8, 0.9, 0, 1, 0, 0.5, 1]
    assert row["persistence"] == pytest.approx(np.mean(shares))
    assert row["lowest"] == 0
    assert row["plateau"] == pytest.approx(0.95)
    spread = np.array([2, 2, 4, 8, 4, 1]) / math.sqrt(2)
    assert row["diversity_ratio"] == pytest.approx((1 / spread[0]) / np.mean(1 / spread[1:]))
    assert part["diversity"].iloc[0] == pytest.approx(1 / spread[0])


def test_generations_start_at_zero() -> None:
    rows = perplexities(VALUES)
    for change in (
        rows.assign(generation=rows["generation"] + 1),
        rows[rows["generation"] != 2],
        pd.concat([rows, rows.iloc[:1]]),
    ):
        with pytest.raises(ValueError, match="without gap"):
            shumailov.witnesses(change)
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="not positive"):
            shumailov.witnesses(rows.assign(perplexity=[bad, *rows["perplexity"][1:]]))


# Peers and cost.


def test_differences_from_a_peer(monkeypatch) -> None:
    x = RNG.normal(size=(2, 12))
    ours = Variance(4)(x), AC1(4)(x)
    theirs = [np.where(np.isfinite(one), one, np.nan) for one in ours]
    theirs[0][1, 5] += 0.25
    theirs[1][0, 7] -= 0.5
    monkeypatch.setattr(peers, "ewstools_scores", lambda values, window: tuple(theirs))
    assert peers.largest_difference(x, 4) == pytest.approx({"variance": 0.25, "AC1": 0.5})
    theirs[1][0, 7] = np.nan
    with pytest.raises(ValueError, match="AC1: the two are not defined at the same times"):
        peers.largest_difference(x, 4)
    theirs[0][:] = np.nan
    with pytest.raises(ValueError, match="variance: the two"):
        peers.largest_difference(x, 4)


def test_where_the_other_test_alarms() -> None:
    x = np.zeros((3, 12))
    x[0, 5:] = 4.0
    x[1, 2:] = 4.0

    def first(row, least):
        total = lowest = summed = 0.0
        for at, value in enumerate(row):
            summed += value
            total = 0.9999 * total + value - summed / (at + 1) - 0.1
            lowest = min(lowest, total) if at else total
            if at + 1 >= least and total - lowest > 3.0:
                return at
        return None

    for least in (1, 7, 9):
        expected = [first(row, least) for row in x]
        assert peers.river_alarm_starts(x, 3.0, 0.1, least) == expected
        assert peers.same_alarms(x, 3.0, 0.1, least).tolist() == [True] * 3
    assert peers.river_alarm_starts(x, 3.0, 0.1) == [None] * 3
    assert peers.river_alarm_starts(x, 3.0, 0.1, 1) == [5, 3, None]


def test_a_score_at_the_threshold_is_no_alarm(monkeypatch) -> None:
    monkeypatch.setattr(peers, "river_alarm_starts", lambda *a: [None])
    # The second value exceeds the mean by one.
    assert peers.same_alarms(np.array([[0.0, 2.0]]), 1.0, 0.0, 1).tolist() == [True]
    assert peers.same_alarms(np.array([[0.0, 2.0]]), 0.9, 0.0, 1).tolist() == [False]


def test_a_difference_from_the_other_test_is_seen(monkeypatch) -> None:
    x = np.zeros((2, 12))
    x[0, 5:] = 4.0
    monkeypatch.setattr(peers, "river_alarm_starts", lambda *a: [6, None])
    assert peers.same_alarms(x, 3.0, 0.1, 1).tolist() == [False, True]
    assert peers.same_alarms(x, 3.0, 0.1, 7).tolist() == [True, True]
    assert peers.same_alarms(x, 1e9, 0.1, 1).tolist() == [False, True]


class Twice:
    """A detector of two additions a value."""

    name = "twice"

    def __call__(self, values):
        x = detectors._checked(values)
        return x + 1 + x


def test_operations_by_hand() -> None:
    assert cost.operations(Twice(), 50) == 200
    assert cost.operations(Twice(), 50, n_units=3) == 300
    assert cost.operations(NeverAlarm(), 50) == 0
    assert cost.operations(AlwaysAlarm(), 50) == 0
    assert cost.operations(Cusum(reference=10), 1000) / cost.operations(
        Cusum(reference=10), 500
    ) == pytest.approx(2, abs=0.1)
    before = detectors.np, detectors._checked
    with pytest.raises(ZeroDivisionError):
        cost.operations(lambda values: 1 / 0, 5)
    assert (detectors.np, detectors._checked) == before


def test_what_counts_as_an_operation() -> None:
    def count(work):
        with cost._counting():
            found = work(detectors.np)
            return cost._Counted.total, found

    def ones(*shape):
        return np.ones(shape).view(cost._Counted)

    assert count(lambda n: ones(3, 4) + ones(4))[0] == 12
    assert count(lambda n: n.add(ones(2), 1.0))[0] == 2
    assert count(lambda n: ones(3, 4) @ ones(4, 5))[0] == 15 * 4
    assert count(lambda n: ones(2, 3, 4) @ ones(4, 5))[0] == 30 * 4
    assert count(lambda n: np.add.reduce(ones(3, 4), axis=0))[0] == 12
    room = ones(4)
    total, found = count(lambda n: np.multiply(ones(4), 3.0, out=room))
    assert (total, found is room, room.tolist()) == (4, True, [3.0] * 4)
    total, found = count(lambda n: n.zeros(7) - 1)
    assert total == 7
    assert type(found) is cost._Counted
    assert count(lambda n: n.pi)[1] == np.pi
    assert count(lambda n: n.float64)[1] is np.float64
    assert count(lambda n: n.add)[1] is np.add
    _, (first, second) = count(lambda n: n.unique(np.array([1, 1]), return_counts=True))
    assert {type(first), type(second)} == {cost._Counted}
    assert count(lambda n: n.sum(np.ones(3)))[1] == 3


def test_noise_of_the_seed_is_counted(monkeypatch) -> None:
    seen = []

    def keep(values):
        seen.append(np.array(values))

    cost.operations(keep, 6, n_units=3, seed=4)
    assert seen[0].tolist() == np.random.default_rng(4).normal(size=(3, 6)).tolist()
