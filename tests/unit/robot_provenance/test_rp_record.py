"""The recorder: what happens is written down at once, and what cannot be true is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.robot_provenance import audit, constraints, crate, export, record
from lib.robot_provenance.record import LOG, Recorder, RecordError, load
from lib.robot_provenance.vocabulary import content_iri, iri


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
    # A run is named by its log, wherever its folder lies.
    assert moved.entities.keys() == records.entities.keys()
    assert {one.code for one in audit.audit(tmp_path / "a")} == {
        "missing",
        "unrecorded",
        "value",
    } - {"value"}
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
    assert first.id == again.id != second.id
    assert len(load(tmp_path).entities) == 2


def test_outputs_are_hashed_when_they_are_announced(tmp_path: Path) -> None:
    with Recorder(tmp_path, campaign="demo") as recorder:
        with recorder.activity("Postprocessing", "late") as step:
            (tmp_path / "out.csv").write_text("early")
            made = step.generated(tmp_path / "out.csv", kind="Traces")
            (tmp_path / "out.csv").write_text("late")
        assert made.sha256 == hashlib.sha256(b"early").hexdigest()
    assert [one.code for one in audit.audit(tmp_path)] == ["changed"]


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
            raise KeyError("wheel")

    with Recorder(tmp_path, campaign="demo") as recorder, pytest.raises(KeyError):
        fail(recorder)
    records = load(tmp_path)
    (activity,) = records.activities.values()
    assert (activity.status, activity.error) == ("failed", "KeyError: 'wheel'")
    assert activity.end is not None
    assert [one.path for one in records.entities.values()] == ["there.txt"]


def test_missing_output_fails_the_activity(tmp_path: Path) -> None:
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        pytest.raises(RecordError, match="no such file"),
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
    with pytest.raises(RecordError, match=rf"{LOG}:3: start is .* with a zone"):
        load(tmp_path)


def test_a_clock_set_back_is_recorded_and_told(tmp_path: Path) -> None:
    with (
        Recorder(tmp_path, campaign="demo", clock=ticking(-1.0)) as recorder,
        recorder.activity("Postprocessing", "backwards"),
    ):
        pass
    records = load(tmp_path)
    (one,) = records.activities.values()
    assert one.start is not None
    assert one.end == one.start - timedelta(seconds=1)
    assert one.status == "completed"
    (problem,) = records.problems
    assert re.search("Postprocessing 'backwards' ends at .*: the clock was set", problem)
    (found,) = audit.audit(tmp_path, records)
    assert (found.code, found.message) == ("clock", "backwards ends before it starts")
    report = constraints.check(export.to_prov(records))
    assert (report.valid, len(report.clock)) == (True, 1)
    # The control: a clock that goes on raises nothing.
    assert small(tmp_path / "other").problems == ()


def test_zones_may_differ(tmp_path: Path) -> None:
    east = timezone(timedelta(hours=9))
    moments = iter(
        [
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


def test_an_overwritten_file_is_another_one(tmp_path: Path) -> None:
    """Checkpoints of one path: each is generated once, in one session or in two."""
    model, names = tmp_path / "model.pt", []
    for content in ("first", "second"):
        with Recorder(tmp_path, campaign="demo") as recorder:
            for step_of in ("a", "b"):
                with recorder.activity("Postprocessing", f"{content} {step_of}") as step:
                    model.write_text(f"{content} {step_of}")
                    names.append(step.generated(model).id)
    told = load(tmp_path)
    assert len({*names}) == 4
    assert [one.entity for one in told.generations] == names
    assert {one.status for one in told.activities.values()} == {"completed"}
    assert [told.entities[name].path for name in names] == ["model.pt"] * 4


@pytest.mark.parametrize("run", ["", "r0"])
def test_the_same_bytes_are_generated_once_in_two_sessions(tmp_path: Path, run: str) -> None:
    folder = tmp_path / "runs" / "r0" if run else tmp_path
    for session in range(2):
        with Recorder(folder, campaign="demo", root=tmp_path, run=run) as recorder:
            (folder / "a.csv").write_text("1")
            with recorder.activity("Postprocessing", "one") as step:
                if session:
                    with pytest.raises(RecordError, match=r"a.csv#.*: generated twice"):
                        step.generated(folder / "a.csv")
                else:
                    step.generated(folder / "a.csv")
    assert len(load(tmp_path).generations) == 1


def test_a_log_has_one_recorder_at_a_time(tmp_path: Path) -> None:
    """Two would give one name to two activities, and one of these would be lost."""
    with Recorder(tmp_path, campaign="demo") as first:
        with (
            pytest.raises(RecordError, match=r"records.jsonl: is open elsewhere"),
            Recorder(tmp_path, campaign="demo"),
        ):
            pass
        with first.activity("TestExecution", "a1") as step:
            step.attribute(seed=3)
    with Recorder(tmp_path, campaign="demo") as second, second.activity("TestExecution", "b1"):
        pass
    assert [one.label for one in load(tmp_path).activities.values()] == ["a1", "b1"]


def test_a_recorder_can_be_opened_again_after_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="no display"),
        Recorder(tmp_path, campaign="demo") as one,
        one.activity("TestExecution", "a1"),
    ):
        raise OSError("no display")
    with Recorder(tmp_path, campaign="demo"):
        pass


def test_an_activity_begins_once(tmp_path: Path) -> None:
    """Logs of two recorders, put together by hand, do not overwrite each other in silence."""
    with Recorder(tmp_path, campaign="demo") as recorder, recorder.activity("TestExecution", "a1"):
        pass
    lines = (tmp_path / LOG).read_bytes().splitlines(keepends=True)
    (tmp_path / LOG).write_bytes(b"".join([*lines, lines[1]]))
    with pytest.raises(RecordError, match=r":4: .*/.prov/1-TestExecution begins twice"):
        load(tmp_path)


@pytest.mark.parametrize("place", ["trials/t1", "runs/a/t1", "runs", "."])
def test_a_runs_log_lies_where_it_is_looked_for(tmp_path: Path, place: str) -> None:
    with pytest.raises(RecordError, match=r"of run 't1', expected a folder in .*runs"):
        Recorder(tmp_path / place, campaign="demo", root=tmp_path, run="t1")
    told = {"campaign": "demo", "root": tmp_path, "run": "t1"}
    with (
        Recorder(tmp_path / "runs" / "t1", **told) as recorder,  # type: ignore[arg-type]
        recorder.activity("TestExecution", "t1"),
    ):
        pass
    assert load(tmp_path).runs() == ["t1"]


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
        Recorder(own, campaign="demo", root=folder, run="r0") as recorder,
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


def test_unknown_kind_of_line_and_unknown_things(tmp_path: Path) -> None:
    small(tmp_path)
    with (tmp_path / LOG).open("a") as stream:
        stream.write('{"r":"Usage","activity":"/.prov/99-Magic","entity":"/a#0","role":"map"}\n')
    # What nothing declares is a matter of the audit, which sees all logs.
    assert {one.code for one in audit.audit(tmp_path)} == {"dangling"}
    text = (tmp_path / LOG).read_text()
    (tmp_path / LOG).write_text(text.replace('"r":"Usage"', '"r":"Wish"'))
    with pytest.raises(RecordError, match="'Wish' is no kind of line"):
        load(tmp_path)
    (tmp_path / LOG).write_text(text.replace('"role":"map"}\n', '"rule":"map"}\n'))
    with pytest.raises(RecordError, match="unexpected keyword argument 'rule'"):
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
    before = (tmp_path / LOG).read_bytes()
    with Recorder(tmp_path, campaign="demo"):
        pass
    assert (tmp_path / LOG).read_bytes().startswith(before)
    with (
        pytest.raises(RecordError, match="campaign is 'demo', expected 'other'"),
        Recorder(tmp_path, campaign="other"),
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
    assert entity.id.startswith(load(folder).base + "%D1%82%D0%B5")
    assert entity.id.isascii()


@pytest.mark.parametrize("name", ["走廊导航", "Übung 1", "a/b c"])
def test_a_campaign_may_be_named_in_any_script(tmp_path: Path, name: str) -> None:
    records = one_file(tmp_path, name)
    assert records.campaign == name
    graph = export.to_rdf(records)
    assert str(graph.value(rdflib.URIRef(records.base), rdflib.DCTERMS.identifier)) == name
    with pytest.raises(ValueError, match="no letter or digit"):
        Recorder(tmp_path / "other", campaign="!!!")


def one_file(folder: Path, campaign: str = "demo", execution: str = "") -> record.Records:
    """A campaign that copies a file; the same bytes each time."""
    clock = ticking()
    with Recorder(folder, campaign=campaign, clock=clock, execution=execution) as recorder:
        tool = recorder.agent("copier", version="1")
        with recorder.activity("Acquisition", "copy", agent=tool, attributes={"n": 1}) as step:
            (folder / "a.csv").write_text("1")
            step.generated(folder / "a.csv", kind="Traces")
            step.made({"x": 1}, kind="VariationConfig", label="x")
    return load(folder)


def test_two_executions_stay_apart_when_united(tmp_path: Path) -> None:
    first, second = one_file(tmp_path / "a"), one_file(tmp_path / "b")
    assert first.execution != second.execution
    assert first.base == f"arcp://uuid,{first.execution}/"
    assert not first.activities.keys() & second.activities.keys()
    assert not first.entities.keys() & second.entities.keys()
    graph = export.to_rdf(first) + export.to_rdf(second)
    query = """SELECT ?x WHERE { ?x prov:startedAtTime ?a, ?b . FILTER(?a != ?b) }"""
    assert len(graph.query(query)) == 0
    contents = set(graph.subjects(rdflib.RDF.type, rdflib.URIRef(iri("rp:Content"))))
    assert len(contents) == 2  # the file's and the value's bytes are the same in both
    document = export.to_prov(first)
    document.update(export.to_prov(second))
    report = constraints.check(document)
    assert (report.violations, report.clock) == ((), ())


def test_a_resumed_log_is_one_execution(tmp_path: Path) -> None:
    before = one_file(tmp_path)
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        recorder.activity("Acquisition", "more"),
    ):
        pass
    after = load(tmp_path)
    assert after.execution == before.execution
    assert len(after.activities) == len(before.activities) + 1
    wanted = "0b6b7a3e-7c5c-4c7e-8d55-6f0f0f7a1c11"
    assert one_file(tmp_path / "c", execution=wanted).execution == wanted
    with pytest.raises(ValueError, match="badly formed"):
        Recorder(tmp_path / "d", campaign="demo", execution="one")
    with (
        pytest.raises(RecordError, match=f"execution is '{wanted}', expected"),
        Recorder(tmp_path / "c", campaign="demo", execution=before.execution),
    ):
        pass


def test_runs_belong_to_the_execution_of_their_campaign(tmp_path: Path) -> None:
    records = small(tmp_path)
    logs = [tmp_path / LOG, *tmp_path.glob(f"runs/*/{LOG}")]
    told = {json.loads(one.read_text().splitlines()[0])["execution"] for one in logs}
    assert told == {records.execution}
    log = tmp_path / "runs" / "r0" / LOG
    log.write_text(log.read_text().replace(records.execution, str(uuid.uuid4())))
    with pytest.raises(RecordError, match=rf"r0/{LOG}:1: execution is '.*', expected '"):
        load(tmp_path)


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
        (lambda r: r.agent(" "), "name is ' '"),
        (lambda r: r.agent("x", iri="http://ex/a> <p> <o> ."), "iri is 'http://ex/a>"),
        (lambda r: r.agent("x", url="https://ex.org/a b"), "url is 'https://ex.org/a b'"),
        (lambda r: r.agent("x", iri="nobody"), "iri is 'nobody'"),
        (lambda r: r.agent("x", url="https:"), "nothing after the scheme"),
        (lambda r: r.agent("x", version="?"), "no letter or digit"),
        (lambda r: r.value(1, kind="File", label="?"), "no letter or digit"),
        (lambda r: r.agent("x\ud800"), "no text"),
        (lambda r: r.agent("x", kind="Ghost"), "kind is 'Ghost'"),
        (lambda r: r.value(1, kind="Dream", label="x"), "kind is 'Dream'"),
        (lambda r: r.activity("Magic", "x").__enter__(), "kind is 'Magic'"),
    ],
)
def test_bad_input(tmp_path: Path, call: Callable[[Recorder], object], message: str) -> None:
    with Recorder(tmp_path, campaign="demo") as recorder, pytest.raises(ValueError, match=message):
        call(recorder)
    with pytest.raises(RecordError, match="not open"):
        recorder.agent("late")


def test_bad_attributes_and_roles(tmp_path: Path) -> None:
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        recorder.activity("Postprocessing", "x") as step,
    ):
        (tmp_path / "a").write_text("a")
        with pytest.raises(ValueError, match="role is 'thing'"):
            step.used(tmp_path / "a", role="thing")
        with pytest.raises(RecordError, match="x is None"):
            step.attribute(x=None)
        with pytest.raises(ValueError, match="x is inf"):
            step.attribute(x=np.float64("inf"))
        with pytest.raises(ValueError, match="unit is 'knots'"):
            step.quantity("speed", 1.0, "knots")
        with pytest.raises(ValueError, match="speed is nan"):
            step.quantity("speed", float("nan"), "m/s")
        with pytest.raises(ValueError, match="speed is '1'"):
            step.quantity("speed", "1", "m/s")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="other is 'that step'"):
            step.informed_by("that step")


# --- words of one's own


MINE = {
    "GraspExecution": "https://ex.org/robot#GraspExecution",
    "PointCloud": "https://ex.org/robot#PointCloud",
    "torque": "unit:N-M",
    "grip": "https://ex.org/robot#grip",
    "cloud": "https://ex.org/robot#cloud",
}


def test_another_robots_words(tmp_path: Path) -> None:
    """A gripper, with kinds, roles, attributes and units of its own, and numpy's numbers."""
    with Recorder(tmp_path, campaign="bin picking", terms=MINE) as recorder:
        julia = recorder.agent("Julia", version="1.11", url="https://julialang.org/")
        (tmp_path / "pick.jl").write_text("println(1)")
        plan = recorder.file(
            tmp_path / "pick.jl", kind="Workflow", attributes={"language": "Julia"}
        )
        engine = recorder.agent("runner", version="2")
        with recorder.activity("GraspExecution", "pick", plan=plan, agent=[julia, engine]) as whole:
            step_kind = "https://ex.org/robot#Closing"
            with recorder.activity(step_kind, "close", agent=julia) as step:
                step.informed_by(whole.iri)
                (tmp_path / "cloud.pcd").write_text("# .PCD")
                cloud = step.generated(tmp_path / "cloud.pcd", kind="PointCloud", role="cloud")
                step.attribute(fingers=np.int64(3), soft=np.bool_(True), grip="firm")
                step.attribute(**{"https://ex.org/robot#tries": np.float32(2)})
                step.quantity("force", np.float64(12.5), "N", of=cloud)
                step.quantity("voltage", 24, "V")
                step.quantity("opening", 30, "deg")
                step.quantity("moment", 1.5, "torque")
                step.quantity("stiffness", 7, "unit:N-PER-MilliM")
                step.quantity("share", 0.5, "https://ex.org/units#share")
    records = load(tmp_path)
    (step,) = records.of_kind(step_kind)
    assert isinstance(step, record.Activity)
    assert step.attributes == {
        "fingers": 3,
        "soft": True,
        MINE["grip"]: "firm",
        "https://ex.org/robot#tries": 2.0,
    }
    assert {type(one) for one in step.attributes.values()} == {int, bool, str, float}
    graph = export.to_rdf(records)
    units = {str(one) for one in graph.objects(None, rdflib.URIRef(iri("qudt:hasUnit")))}
    qudt = "http://qudt.org/vocab/unit/"
    assert units == {"https://ex.org/units#share"} | {
        qudt + one for one in ("N", "V", "DEG", "N-M", "N-PER-MilliM")
    }
    assert (None, rdflib.RDF.type, rdflib.URIRef(MINE["PointCloud"])) in graph
    assert (None, rdflib.PROV.hadRole, rdflib.URIRef(MINE["cloud"])) in graph
    assert not constraints.check(export.to_prov(records)).counts()
    assert audit.audit(tmp_path, records) == []
    for notation in ("nt", "turtle", "json-ld", "provn", "prov-json"):
        assert "GraspExecution" in export.serialize(records, notation)  # type: ignore[arg-type]
    about = {"title": "t", "description": "d", "license": "https://spdx.org/licenses/MIT"}
    document = crate.build(replace(records, about=about))
    nodes = {one["@id"]: one for one in document["@graph"]}
    assert nodes["pick.jl"]["programmingLanguage"] == {"@id": "#julia"}
    assert (nodes["#julia"]["name"], nodes["#julia"]["version"]) == ("Julia", "1.11")
    assert nodes["./"]["mainEntity"] == {"@id": "pick.jl"}


@pytest.mark.parametrize("link", ["references", "attributed_to"])
def test_a_link_is_an_iri_when_it_is_recorded(tmp_path: Path, link: str) -> None:
    (tmp_path / "a").write_text("a")
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        pytest.raises(ValueError, match=f"{link} is 'a b'"),
    ):
        recorder.file(tmp_path / "a", attributes={link: "a b"})
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        pytest.raises(ValueError, match=f"{link} is '3'"),
        recorder.activity("Acquisition", "a") as step,
    ):
        step.generated(tmp_path / "a", attributes={link: 3})


@pytest.mark.parametrize("name", ["a b", "<x> ä", "100 %#?"])
def test_a_runs_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    with Recorder(tmp_path, campaign="demo"):
        pass
    own = tmp_path / "runs" / name
    with (
        Recorder(own, campaign="demo", root=tmp_path, run=name) as recorder,
        recorder.activity("TestExecution", "t") as step,
    ):
        (own / "a.csv").write_text("a")
        step.generated(own / "a.csv")
        step.made(1, kind="VariationConfig", label="one")
    records = load(tmp_path)
    assert records.runs() == [name]
    for notation in ("nt", "turtle", "json-ld", "provn", "prov-json"):
        assert export.serialize(records, notation)  # type: ignore[arg-type]
    assert not constraints.check(export.to_prov(records)).counts()
    assert audit.audit(tmp_path) == []


def test_words_that_nobody_declared(tmp_path: Path) -> None:
    with Recorder(tmp_path, campaign="demo") as recorder:
        with pytest.raises(ValueError, match=r"kind is 'PointClod'.*`terms`"):
            recorder.value(1, kind="PointClod", label="x")
        with pytest.raises(ValueError, match="unknown prefix"):
            recorder.value(1, kind="robovats:Thing", label="x")
        with pytest.raises(ValueError, match=r"kind is 'RosBg'.*such as RosBag"):
            recorder.value(1, kind="RosBg", label="x")
    with pytest.raises(ValueError, match="expected an absolute IRI"):
        Recorder(tmp_path, campaign="demo", terms={"x": "https://ex.org/a b"})


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"license": "CC BY 4.0"}, "license is 'CC BY 4.0'"),
        ({"creators": [{"kind": "Person", "name": "A", "iri": "me"}]}, "iri of a creator is 'me'"),
        (
            {"creators": [{"kind": "Dog", "name": "A", "iri": "urn:x:y"}]},
            "kind of a creator is 'Dog'",
        ),
        ({"creators": [{"kind": "Person", "iri": "urn:x:y"}]}, "name of a creator is None"),
        ({"title": 3}, "title is 3"),
    ],
)
def test_what_is_told_about_a_campaign(tmp_path: Path, about: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recorder(tmp_path, campaign="demo", about=about)


def spoiled(folder: Path, kind: str, changes: dict[str, object]) -> Path:
    """Change the last line of a kind in a campaign's log, as a careless hand does."""
    small(folder)
    rows = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    number = max(i for i, row in enumerate(rows) if row["r"] == kind)
    rows[number] |= changes
    (folder / LOG).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("Entity", {"sha256": ""}, "sha256 is ''"),
        ("Entity", {"sha256": "AB" * 32}, "sha256 is 'ABAB"),
        ("Entity", {"sha256": None}, "sha256 is None"),
        ("Entity", {"bytes": -1}, "bytes is -1"),
        ("Entity", {"kind": "Dream"}, "kind is 'Dream'"),
        ("Entity", {"attributes": {"references": "a b"}}, "references is 'a b'"),
        ("Entity", {"colour": "red"}, "unexpected keyword argument 'colour'"),
        ("Agent", {"id": "http://ex/a> <p> <o> ."}, "iri is 'http://ex/a>"),
        ("Agent", {"kind": "Ghost"}, "kind is 'Ghost'"),
        ("Activity", {"kind": "Magic"}, "kind is 'Magic'"),
        ("Activity", {"start": "noon"}, "Invalid isoformat string: 'noon'"),
        ("Activity", {"end": "2026-01-01T00:00:00"}, "expected a time with a zone"),
        ("Activity", {"status": "perhaps"}, "status is 'perhaps'"),
        ("log", {"execution": "x"}, "badly formed"),
        ("log", {"campaign": ""}, "campaign is ''"),
    ],
)
def test_a_damaged_line_is_named(
    tmp_path: Path, kind: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RecordError, match=rf"{LOG}:\d+: .*{message}"):
        load(spoiled(tmp_path, kind, changes))


@pytest.mark.parametrize("name", sorted(record.RESERVED))
def test_the_records_own_words_are_no_attributes(tmp_path: Path, name: str) -> None:
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        recorder.activity("Postprocessing", "x") as step,
    ):
        with pytest.raises(RecordError, match=f"'{name}' is the record's own word"):
            step.attribute(**{name: "other-run"})
        step.attribute(**{f"https://ex.org/{name}": "other-run"})


def test_what_would_be_told_twice_is_refused(tmp_path: Path) -> None:
    with (
        Recorder(tmp_path, campaign="demo") as recorder,
        recorder.activity("Postprocessing", "x") as step,
    ):
        with pytest.raises(RecordError, match="both recorded as 'a-b'"):
            step.attribute(**{"a b": 1, "a-b": 2})
        step.quantity("range", 1, "m")
        with pytest.raises(RecordError, match=r"'range' of .* is recorded twice"):
            step.quantity("range", 2, "rad")
        recorder.agent("x", kind="Person")
        with pytest.raises(RecordError, match=r"'x' is recorded as .*Person.*, now as .*Organiz"):
            recorder.agent("x", kind="Organization")
    (one,) = load(tmp_path).quantities
    assert (one.value, one.unit) == (1.0, "m")


def test_a_line_tells_what_is_new(tmp_path: Path) -> None:
    """A file's place is told by its name, an activity's start by its first line."""
    small(tmp_path, runs=1)
    rows = [json.loads(one) for one in (tmp_path / "runs/r0" / LOG).read_text().splitlines()]
    entities = [one for one in rows if one["r"] == "Entity"]
    assert not any({"path", "location", "label"} & one.keys() for one in entities)
    assert {one["id"].partition("#")[0] for one in entities} >= {"./trace.csv", "/map.pgm"}
    acts = [
        one for one in rows if one["r"] == "Activity" and one["id"] == "./.prov/6-TestExecution"
    ]
    assert not acts or "start" in acts[0]
    ends = [one for one in rows if one["r"] == "Activity" and "end" in one]
    assert len(ends) == 2
    assert all(one.keys() == {"r", "id", "end", "status"} for one in ends)


def test_records_without_some_things_and_with_others(tmp_path: Path) -> None:
    records = small(tmp_path)
    gone = {one.id for one in records.activities.values() if one.run == "r0"}
    rest = records.without(gone)
    assert rest.runs() == ["r1"]
    assert len(rest.usages) == len(records.usages) - 3
    assert len(rest.generations) == len(records.generations) - 3
    assert len(rest.associations) == len(records.associations) - 2
    assert rest.entities == records.entities
    (first, second) = records.of_kind("RosBag")
    moved = records.renamed({first.id: second.id})
    assert first.id not in {one.entity for one in moved.usages}
    assert second.id in {one.source for one in moved.derivations}
    assert len(moved.usages) == len(records.usages)
