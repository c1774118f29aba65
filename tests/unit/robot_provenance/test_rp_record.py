"""The recorder: what happens is written down at once, and what cannot be true is refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.robot_provenance import record
from lib.robot_provenance.record import LOG, Recorder, RecordError, coarsen, load
from lib.robot_provenance.vocabulary import content_iri


def ticking(step: float = 1.0) -> Callable[[], datetime]:
    """A clock that goes on by `step` seconds each time it is read."""
    moments: Iterator[datetime] = (
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=step * i) for i in range(10**6)
    )
    return lambda: next(moments)


def small(folder: Path, runs: int = 2) -> record.Records:
    """A campaign of files made by hand: a map, and per run a scenario, a bag and a trace."""
    clock = ticking()
    with Recorder(folder, campaign="demo", clock=clock) as recorder:
        tool = recorder.agent("simulator", version="1")
        with recorder.activity("MapLoading", "map", agent=tool) as step:
            (folder / "map.pgm").write_bytes(b"P5 1 1 255\n\0")
            step.generated(folder / "map.pgm", kind="OccupancyGrid", role="map")
    for number in range(runs):
        own = folder / "runs" / f"r{number}"
        with Recorder(own, campaign="demo", root=folder, run=f"r{number}", clock=clock) as recorder:
            tool = recorder.agent("simulator", version="1")
            (own / "scenario.json").write_text(json.dumps({"seed": number}))
            scenario = recorder.file(own / "scenario.json", kind="ConcreteScenario")
            with recorder.activity("TestExecution", "test", plan=scenario, agent=tool) as step:
                step.used(scenario, role="scenario")
                step.used(folder / "map.pgm", kind="OccupancyGrid", role="map")
                (own / "bag").mkdir()
                (own / "bag" / "bag.mcap").write_bytes(bytes([number]))
                bag = step.generated(own / "bag", kind="RosBag", role="bag")
                step.attribute(seed=number, outcome="success", success=True)
                step.quantity("duration", 1.5, "s", of=bag)
            with recorder.activity("Postprocessing", "trace", agent=tool) as step:
                step.used(bag, role="bag")
                (own / "trace.csv").write_text("t\n")
                step.generated(own / "trace.csv", kind="Traces", role="trace", derived_from=[bag])
    return load(folder)


def test_identity_is_by_bytes_and_place(tmp_path: Path) -> None:
    records = small(tmp_path)
    traces = records.of_kind("Traces")
    # Two traces with the same bytes: two files, two places, one content.
    assert len({one.id for one in traces}) == 2
    assert len({one.location for one in traces}) == 2
    assert {content_iri(one.sha256) for one in traces} == {
        content_iri(hashlib.sha256(b"t\n").hexdigest())
    }
    # The map is named by the campaign's log and both runs' logs, and is one entity.
    (grid,) = records.of_kind("OccupancyGrid")
    assert [one.entity for one in records.usages if one.role == "map"] == [grid.id, grid.id]


def test_renaming_keeps_content(tmp_path: Path) -> None:
    records = small(tmp_path / "a")
    (tmp_path / "a" / "runs" / "r0").rename(tmp_path / "a" / "runs" / "renamed")
    moved = load(tmp_path / "a")
    assert {one.path for one in moved.entities.values()} != {
        one.path for one in records.entities.values()
    }
    assert sorted(one.sha256 for one in moved.entities.values()) == sorted(
        one.sha256 for one in records.entities.values()
    )


def test_altered_bytes_get_another_name(tmp_path: Path) -> None:
    with Recorder(tmp_path, campaign="demo") as recorder:
        (tmp_path / "a.csv").write_text("1")
        first = recorder.file(tmp_path / "a.csv")
        again = recorder.file(tmp_path / "a.csv")
        (tmp_path / "a.csv").write_text("2")
        second = recorder.file(tmp_path / "a.csv")
    assert first.key == again.key != second.key
    assert len(load(tmp_path).entities) == 2


def test_outputs_are_hashed_when_the_block_ends(tmp_path: Path) -> None:
    with Recorder(tmp_path, campaign="demo") as recorder:
        with recorder.activity("Postprocessing", "late") as step:
            handle = step.generated(tmp_path / "out.csv", kind="Traces")
            (tmp_path / "out.csv").write_text("early")
            (tmp_path / "out.csv").write_text("late")
        assert handle.sha256 == hashlib.sha256(b"late").hexdigest()


def test_a_bag_generates_its_files(tmp_path: Path) -> None:
    records = small(tmp_path, runs=1)
    (bag,) = records.of_kind("RosBag")
    (mcap,) = records.of_kind("MCAPFile")
    assert bag.members == (mcap.id,)
    makers = {one.entity: one.activity for one in records.generations}
    assert makers[bag.id] == makers[mcap.id]


def test_failure_is_recorded_and_raised(tmp_path: Path) -> None:
    def fail(recorder: Recorder) -> None:
        with recorder.activity("TestExecution", "bad") as step:
            (tmp_path / "there.txt").write_text("x")
            step.generated(tmp_path / "there.txt", kind="LogFile")
            missing = step.generated(tmp_path / "not.txt", kind="LogFile")
            step.quantity("duration", 1.0, "s", of=missing)
            raise KeyError("wheel")

    with Recorder(tmp_path, campaign="demo") as recorder, pytest.raises(KeyError):
        fail(recorder)
    records = load(tmp_path)
    (activity,) = records.activities.values()
    assert (activity.status, activity.error) == ("failed", "KeyError: 'wheel'")
    assert activity.end is not None
    assert [one.path for one in records.entities.values()] == ["there.txt"]
    assert records.quantities == ()


def test_missing_output_fails_the_activity(tmp_path: Path) -> None:
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        pytest.raises(RecordError, match="announced as an output"),
        recorder.activity("TestExecution", "bad") as step,
    ):
        step.generated(tmp_path / "not.txt", kind="LogFile")
    assert next(iter(load(tmp_path).activities.values())).status == "failed"


def test_naive_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="time zone"):
        Recorder(tmp_path, campaign="demo", clock=lambda: datetime(2026, 1, 1))
    assert not (tmp_path / LOG).exists()
    small(tmp_path)
    text = (tmp_path / LOG).read_text().replace("+00:00", "")
    (tmp_path / LOG).write_text(text)
    with pytest.raises(RecordError, match=rf"{LOG}:1: time is .* with a time zone"):
        load(tmp_path)


def test_end_before_start_is_refused(tmp_path: Path) -> None:
    with (
        Recorder(tmp_path, campaign="demo", clock=ticking(-1.0)) as recorder,
        pytest.raises(RecordError, match="before its start"),
        recorder.activity("Postprocessing", "backwards"),
    ):
        pass
    other = tmp_path / "other"
    small(other)
    rows = [json.loads(line) for line in (other / LOG).read_text().splitlines()]
    for row in rows:
        if row["r"] == "end":
            row["t"] = "1999-01-01T00:00:00+00:00"
    (other / LOG).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RecordError, match=rf"{LOG}:\d+: MapLoading 'map' ends at 1999"):
        load(other)


def test_zones_may_differ(tmp_path: Path) -> None:
    east = timezone(timedelta(hours=9))
    moments = iter(
        [
            datetime(2026, 1, 1, 0, 0, tzinfo=UTC),
            datetime(2026, 1, 1, 0, 0, tzinfo=UTC),
            datetime(2026, 1, 1, 0, 1, tzinfo=UTC),
            datetime(2026, 1, 1, 9, 2, tzinfo=east),
        ]
    )
    with (
        Recorder(tmp_path, campaign="demo", clock=lambda: next(moments)) as recorder,
        recorder.activity("Postprocessing", "two zones"),
    ):
        pass
    (activity,) = load(tmp_path).activities.values()
    assert activity.end is not None
    assert activity.start is not None
    assert activity.end - activity.start == timedelta(minutes=1)


def test_duplicate_run_is_refused(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "runs" / "copy").mkdir()
    log = tmp_path / "runs" / "r0" / LOG
    (tmp_path / "runs" / "copy" / LOG).write_bytes(log.read_bytes())
    with pytest.raises(RecordError, match=r"run 'r0' is recorded twice: .*copy.* and .*r0"):
        load(tmp_path)


def test_generated_twice_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path, campaign="demo") as recorder:
        (tmp_path / "a.csv").write_text("1")
        with recorder.activity("Postprocessing", "one") as step:
            step.generated(tmp_path / "a.csv")
        with (
            pytest.raises(RecordError, match="generated twice"),
            recorder.activity("Postprocessing", "two") as step,
        ):
            step.generated(tmp_path / "a.csv")


def test_truncated_last_line_is_tolerated_and_told(tmp_path: Path) -> None:
    whole = small(tmp_path)
    log = tmp_path / "runs" / "r1" / LOG
    content = log.read_bytes()
    for cut in (1, 5, len(content.splitlines()[-1])):
        log.write_bytes(content[:-cut])
        records = load(tmp_path)
        if cut > 1:  # a line that lacks only its newline is whole
            assert any("cut off" in one for one in records.problems)
            assert any("has no end" in one for one in records.problems)
        assert records.entities.keys() == whole.entities.keys()


@settings(max_examples=40)
@given(st.data())
def test_a_log_can_be_read_wherever_it_was_cut(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    small(folder, runs=1)
    log = folder / "runs" / "r0" / LOG
    content = log.read_bytes()
    first = content.index(b"\n") + 1
    cut = data.draw(st.integers(first, len(content)))
    log.write_bytes(content[:cut])
    load(folder)
    # Going on after the cut leaves a log in which only the fragment is lost.
    own = folder / "runs" / "r0"
    with (
        Recorder(own, campaign="demo", root=folder, run="r0", resume=True) as recorder,
        recorder.activity("Postprocessing", "after the cut"),
    ):
        pass
    records = load(folder)
    assert any(one.label == "after the cut" for one in records.activities.values())
    try:
        json.loads(content[:cut].splitlines()[-1])
    except ValueError:
        assert any("was dropped" in one for one in records.problems)


@pytest.mark.parametrize("line", [1, 4])
def test_damage_inside_names_file_and_line(tmp_path: Path, line: int) -> None:
    small(tmp_path)
    log = tmp_path / "runs" / "r0" / LOG
    lines = log.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line][:-4] + b"\n"
    log.write_bytes(b"".join(lines))
    with pytest.raises(RecordError, match=rf"runs/r0/{LOG}:{line + 1}: not a JSON object"):
        load(tmp_path)


def test_unknown_name_and_kind_of_line(tmp_path: Path) -> None:
    small(tmp_path)
    with (tmp_path / LOG).open("a") as stream:
        stream.write('{"r":"used","a":"a99","e":"e1","role":"map"}\n')
    with pytest.raises(RecordError, match="'a99' is missing or was not declared before"):
        load(tmp_path)
    text = (tmp_path / LOG).read_text().replace('"r":"used"', '"r":"wished"')
    (tmp_path / LOG).write_text(text)
    with pytest.raises(RecordError, match="'wished' is no kind of line"):
        load(tmp_path)


def test_no_log_and_foreign_log(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=f"no {LOG}"):
        load(tmp_path)
    (tmp_path / LOG).write_text('{"r":"start"}\n')
    with pytest.raises(RecordError, match="expected the log's first line"):
        load(tmp_path)
    (tmp_path / LOG).write_text('{"r":"log","format":"other/9"}\n')
    with pytest.raises(RecordError, match="format is 'other/9'"):
        load(tmp_path)


def test_a_log_is_not_overwritten(tmp_path: Path) -> None:
    small(tmp_path)
    with (
        pytest.raises(RecordError, match="there is a log already"),
        Recorder(tmp_path, campaign="demo"),
    ):
        pass
    with (
        pytest.raises(RecordError, match="campaign is 'demo', expected 'other'"),
        Recorder(tmp_path, campaign="other", resume=True),
    ):
        pass


def test_unicode_and_spaces_in_paths(tmp_path: Path) -> None:
    folder = tmp_path / "größe 5 m"
    with (
        Recorder(folder, campaign="Übung 1") as recorder,
        recorder.activity("Postprocessing", "ä") as step,
    ):
        (folder / "тест карта.csv").write_text("x")
        step.generated(folder / "тест карта.csv", kind="Traces")
    (entity,) = load(folder).entities.values()
    assert entity.path == "тест карта.csv"
    assert entity.id.startswith("arcp://name,bung-1/%D1%82%D0%B5")
    assert entity.id.isascii()


def test_paths_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.csv")
    (tmp_path / name).write_text("x")
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        pytest.raises(RecordError, match=r"caf\\xe9\.csv.*not UTF-8"),
    ):
        recorder.file(tmp_path / name)


def test_what_lies_elsewhere_needs_a_source(tmp_path: Path) -> None:
    (tmp_path / "far.pgm").write_bytes(b"x")
    with Recorder(tmp_path / "camp", campaign="demo") as recorder:
        with pytest.raises(RecordError, match="outside the campaign's folder"):
            recorder.file(tmp_path / "far.pgm")
        recorder.file(tmp_path / "far.pgm", source="robovast", name="maps/far.pgm")
        (tmp_path / "camp" / "near.pgm").write_bytes(b"x")
        recorder.file(tmp_path / "camp" / "near.pgm")
    far, near = load(tmp_path / "camp").entities.values()
    assert far.location == "arcp://name,robovast/maps/far.pgm"
    assert (far.sha256, far.path) == (near.sha256, "")
    assert far.id != near.id


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.file("nowhere"), "no such file"),
        (lambda r: r.agent(" "), "name is empty"),
        (lambda r: r.agent("x", kind="Ghost"), "kind is 'Ghost'"),
        (lambda r: r.value(1, kind="Dream", label="x"), "kind is 'Dream'"),
        (lambda r: r.activity("Magic", "x").__enter__(), "kind is 'Magic'"),
        (lambda r: r.quantity("speed", 1.0, "knots", of="a1"), "unit is 'knots'"),
        (lambda r: r.quantity("speed", float("nan"), "m/s", of="a1"), "expected a finite"),
    ],
)
def test_bad_input(tmp_path: Path, call: Callable[[Recorder], object], message: str) -> None:
    with Recorder(tmp_path, campaign="demo") as recorder, pytest.raises(RecordError, match=message):
        call(recorder)
    with pytest.raises(RecordError, match="not open"):
        recorder.agent("late")


def test_bad_attributes_and_roles(tmp_path: Path) -> None:
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        recorder.activity("Postprocessing", "x") as step,
    ):
        (tmp_path / "a").write_text("a")
        with pytest.raises(RecordError, match="role is 'thing'"):
            step.used(tmp_path / "a", role="thing")
        with pytest.raises(RecordError, match="x is None"):
            step.attribute(x=None)  # type: ignore[arg-type]
        with pytest.raises(RecordError, match="x is inf"):
            step.attribute(x=float("inf"))


# --- granularity


def pairs(records: record.Records) -> set[tuple[str, str]]:
    """All (bag, trace) pairs that one activity used and generated."""
    kinds = {one.id: one.kind for one in records.entities.values()}
    used: dict[str, set[str]] = {}
    for one in records.usages:
        if kinds[one.entity] == "RosBag":
            used.setdefault(one.activity, set()).add(one.entity)
    return {
        (bag, made.entity)
        for made in records.generations
        if kinds[made.entity] == "Traces"
        for bag in used.get(made.activity, ())
    }


def test_coarse_activities_confuse_or_lose_lineage(tmp_path: Path) -> None:
    fine = small(tmp_path, runs=5)
    true = {(one.source, one.entity) for one in fine.derivations}
    assert pairs(coarsen(fine, "file")) == true
    assert len(true) == 5
    assert len(pairs(coarsen(fine, "campaign"))) == 25
    assert pairs(coarsen(fine, "run")) == set()


def test_coarsening_keeps_entities_times_and_failures(tmp_path: Path) -> None:
    fine = small(tmp_path, runs=3)
    for granularity in ("campaign", "run"):
        coarse = coarsen(fine, granularity)  # type: ignore[arg-type]
        assert coarse.entities == fine.entities
        assert {one.entity for one in coarse.generations} == {
            one.entity for one in fine.generations
        }
        assert min(one.start for one in coarse.activities.values()) == min(  # type: ignore[type-var]
            one.start
            for one in fine.activities.values()  # type: ignore[type-var]
        )
        assert not coarsen(fine, granularity, derivations=False).derivations  # type: ignore[arg-type]
    assert len(coarsen(fine, "run").activities) == 3 + 1
    assert len(coarsen(fine, "campaign").activities) == 3
    with pytest.raises(ValueError, match="granularity is 'atom'"):
        coarsen(fine, "atom")  # type: ignore[arg-type]
