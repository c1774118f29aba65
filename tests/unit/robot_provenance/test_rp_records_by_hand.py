"""Lines of a log by hand: what is written at once, what is told of a value, what is read back."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lib.robot_provenance import record
from lib.robot_provenance.record import (
    LOG,
    Activity,
    Agent,
    Association,
    Derivation,
    Entity,
    Generation,
    Quantity,
    Recorder,
    RecordError,
    Records,
    Usage,
    load,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EXECUTION = "0b6b7a3e-7c5c-4c7e-8d55-6f0f0f7a1c11"
BASE = f"arcp://uuid,{EXECUTION}/"


def recorder(folder: Path, **told: Any) -> Recorder:
    return Recorder(folder, campaign="demo", clock=lambda: NOON, execution=EXECUTION, **told)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(one) for one in (folder / LOG).read_text("utf-8").splitlines()]


def test_every_line_of_a_small_log(tmp_path: Path) -> None:
    about = {"title": "Über"}
    with recorder(tmp_path, about=about) as log:
        head = {"r": "log", "format": "robot-provenance/3", "campaign": "demo", "run": ""}
        assert lines(tmp_path) == [head | {"execution": EXECUTION, "about": about}]
        who = log.agent("Tool 1", version="2")
        (tmp_path / "a.csv").write_bytes(b"")
        with log.activity("Postprocessing", "first", agent=who, attributes={"n": 1}) as step:
            assert step.iri == BASE + ".prov/1-Postprocessing"
            made = step.generated(tmp_path / "a.csv", role="trace")
            # Written when it happens: another reader sees it now.
            assert len(lines(tmp_path)) == 6
            step.quantity("size", 2, "m")
            step.quantity("length", 3.5, "s", of=made)
            step.attribute(seed=3)
            step.informed_by("urn:x:other")
        with log.activity("Acquisition", "second") as step:
            assert step.iri.endswith(".prov/2-Acquisition")
            step.used(made)
            step.derived(made, made, reason="why")
    name = "./a.csv#" + hashlib.sha256(b"").hexdigest()[:16]
    one, two, now = "./.prov/1-Postprocessing", "./.prov/2-Acquisition", NOON.isoformat()
    assert lines(tmp_path)[1:] == [
        {
            "r": "Agent", "id": "./.prov/agent/Tool-1-2", "kind": "SoftwareAgent",
            "name": "Tool 1", "version": "2",
        },
        {
            "r": "Activity", "id": one, "kind": "Postprocessing", "label": "first", "start": now,
            "status": "interrupted", "attributes": {"n": 1},
        },
        {"r": "Association", "activity": one, "agent": "./.prov/agent/Tool-1-2"},
        {
            "r": "Entity", "id": name, "kind": "File", "sha256": hashlib.sha256(b"").hexdigest(),
            "bytes": 0,
        },
        {"r": "Generation", "entity": name, "activity": one, "role": "trace", "time": now},
        {"r": "Quantity", "subject": one, "name": "size", "value": 2.0, "unit": "m"},
        {"r": "Quantity", "subject": name, "name": "length", "value": 3.5, "unit": "s"},
        {"r": "Activity", "id": one, "attributes": {"n": 1, "seed": 3}},
        {"r": "Communication", "informed": one, "informant": "urn:x:other"},
        {"r": "Activity", "id": one, "end": now, "status": "completed"},
        {
            "r": "Activity", "id": two, "kind": "Acquisition", "label": "second", "start": now,
            "status": "interrupted",
        },
        {"r": "Usage", "activity": two, "entity": name, "role": "input", "time": now},
        {"r": "Derivation", "entity": name, "source": name, "activity": two, "reason": "why"},
        {"r": "Activity", "id": two, "end": now, "status": "completed"},
    ]  # fmt: skip
    assert "Über".encode() in (tmp_path / LOG).read_bytes()
    found = load(tmp_path)
    # An end at the start is no clock that was set back, and an empty file is a file.
    assert found.problems == ()
    assert found.about == about
    assert found.activities[BASE + one[2:]] == Activity(
        BASE + one[2:], "Postprocessing", "first", "", NOON, NOON, "completed", "",
        {"n": 1, "seed": 3},
    )  # fmt: skip
    assert found.entities == {made.id: made}
    assert (made.path, made.location, made.label) == ("a.csv", BASE + "a.csv", "a.csv")
    assert found.usages == (Usage(BASE + two[2:], made.id, "input", NOON),)
    assert found.generations == (Generation(made.id, BASE + one[2:], "trace", NOON),)
    assert found.derivations == (Derivation(made.id, made.id, BASE + two[2:], "why"),)
    assert found.associations == (Association(BASE + one[2:], who.id),)
    assert found.quantities[0] == Quantity(BASE + one[2:], "size", 2.0, "m")


def test_a_line_that_holds_no_number_is_refused(tmp_path: Path) -> None:
    with recorder(tmp_path) as log:
        with pytest.raises(ValueError, match="JSON"):
            log.write(Quantity("urn:x:y", "a", float("nan"), "m"))
        with pytest.raises(ValueError, match="JSON"):
            log.value(float("nan"), kind="VariationConfig", label="x")


def test_a_value_is_named_by_its_canonical_text(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    own = tmp_path / "runs" / "r0"
    with recorder(own, root=tmp_path, run="r0") as log:
        one = log.value({"b": 1, "a": [2, None]}, kind="VariationConfig", label="Möbius 1")
        text = '{"a":[2,null],"b":1}'
        digest = hashlib.sha256(text.encode()).hexdigest()
        name = f"{BASE}runs/r0/.prov/VariationConfig-Möbius-1#{digest[:16]}"
        assert (one.id, one.sha256, one.bytes) == (name, digest, len(text))
        assert one.attributes == {"value": text}
        assert (one.path, one.location) == ("", "")
        with log.activity("TestExecution", "t") as step:
            two = step.made("ü", kind="VariationConfig", label="x", role="variation")
        assert two.bytes == 8
        assert "/.prov/1-TestExecution/VariationConfig-x#" in two.id
    (row,) = [one for one in lines(own) if one["r"] == "Generation"]
    assert row["entity"].startswith("./.prov/1-TestExecution/VariationConfig-x#")
    assert row["role"] == "variation"
    (begun, *_) = [one for one in lines(own) if one["r"] == "Activity"]
    assert "run" not in begun
    assert [one.run for one in load(tmp_path).activities.values()] == ["r0"]


def test_a_folder_is_the_sum_of_its_files(tmp_path: Path) -> None:
    for name, text in (("b/two.txt", "22"), ("b/bag.mcap", ""), ("b/metadata.yaml", "4444")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with recorder(tmp_path) as log:
        bag = log.file(tmp_path / "b", kind="RosBag", label="mine")
    assert (bag.bytes, bag.label, bag.path) == (6, "mine", "b")
    digests = {name: record.digest_file(tmp_path / "b" / name) for name in
               ("bag.mcap", "metadata.yaml", "two.txt")}  # fmt: skip
    text = "".join(f"{name}\0{digest}\n" for name, digest in digests.items())
    assert bag.sha256 == hashlib.sha256(text.encode()).hexdigest()
    known = load(tmp_path).entities
    assert [(known[one].path, known[one].kind) for one in bag.members] == [
        ("b/bag.mcap", "MCAPFile"),
        ("b/metadata.yaml", "BagFileMetadata"),
        ("b/two.txt", "File"),
    ]
    with recorder(tmp_path / "plain") as log:
        (tmp_path / "plain" / "c").mkdir()
        (tmp_path / "plain" / "c" / "x.mcap").touch()
        log.file(tmp_path / "plain" / "c")
    assert {one.kind for one in load(tmp_path / "plain").entities.values()} == {"File"}


def test_a_file_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "m.pgm").write_text("x")
    with recorder(tmp_path / "c") as log:
        one = log.file(tmp_path / "m.pgm", source="set", name="maps/n.pgm", kind="OccupancyGrid")
        two = log.file(tmp_path / "m.pgm", source="set")
    assert (one.location, one.path, one.label) == ("arcp://name,set/maps/n.pgm", "", "n.pgm")
    assert (two.location, two.label) == ("arcp://name,set/m.pgm", "m.pgm")


def test_a_file_that_is_known_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with recorder(tmp_path) as log:
        first = log.file(tmp_path / "a", kind="Traces")
        assert log.file(tmp_path / "a") is first
        assert log.file(first) is first
        n = len(lines(tmp_path))
        log.file(tmp_path / "a", kind="Traces")
        assert len(lines(tmp_path)) == n
        again = log.file(tmp_path / "a", kind="Traces", attributes={"x": 1})
        assert again.attributes == {"x": 1}
        assert len(lines(tmp_path)) == n + 1
    assert load(tmp_path).entities == {first.id: again}


def test_two_logs_that_tell_of_one_file(tmp_path: Path) -> None:
    """What either knows, holds; a kind beats none, and the first of two stays."""
    (tmp_path / "a").write_text("a")
    kinds = ("File", "Traces", "LogFile", "File")
    for number, kind in enumerate(kinds):
        with recorder(tmp_path) as log:
            log.file(tmp_path / "a", kind=kind, attributes={f"n{number}": number})
    (one,) = load(tmp_path).entities.values()
    assert one.kind == "Traces"
    assert one.attributes == {"n0": 0, "n1": 1, "n2": 2, "n3": 3}
    told: dict[str, Any] = {"entities": {}, "usages": []}
    for members in ((), ("urn:x:1",), ("urn:x:2",)):
        record._take(told, Entity("urn:x:a", "File", "a", members=members))
    assert told["entities"]["urn:x:a"].members == ("urn:x:1",)
    record._take(told, Usage("a", "b"))
    assert told["usages"] == [Usage("a", "b")]


def test_names_that_are_reserved_or_wrong(tmp_path: Path) -> None:
    (tmp_path / ".prov").mkdir()
    (tmp_path / ".prov" / "a").write_text("a")
    with recorder(tmp_path) as log:
        with pytest.raises(RecordError, match=r"\.prov is reserved for identifiers"):
            log.file(tmp_path / ".prov" / "a")
        assert log.attribute_name("a b:") == "a-b"
        assert log.attribute_name("prov:value") == "http://www.w3.org/ns/prov#value"
        assert log.values({"references": "urn:x:y", "n": 1.5}) == {
            "references": "urn:x:y",
            "n": 1.5,
        }
    assert record._of_name(BASE + "a%20b/c#1", BASE) == {
        "path": "a b/c",
        "location": BASE + "a%20b/c",
        "label": "c",
    }
    for name in (BASE + "a", "urn:x:a#1", BASE + "x/.prov/a#1"):
        assert record._of_name(name, BASE) == {}


def test_a_log_is_free_although_a_fork_holds_it(tmp_path: Path) -> None:
    with recorder(tmp_path) as log:
        assert log._stream is not None
        stream = log._stream
        fork = os.dup(stream.fileno())
    try:
        assert stream.closed
        with recorder(tmp_path):
            pass
    finally:
        os.close(fork)
    log.__exit__(None, None, None)
    log.__exit__(None, None, None)


def test_a_log_that_is_open_elsewhere_is_not_held(tmp_path: Path) -> None:
    def held() -> int:
        links = (f"/proc/self/fd/{one}" for one in os.listdir("/proc/self/fd"))
        return sum(os.path.realpath(one) == str((tmp_path / LOG).resolve()) for one in links)

    with recorder(tmp_path):
        assert held() == 1
        with pytest.raises(RecordError, match="is open elsewhere") as caught, recorder(tmp_path):
            pass
        # The error, whose frames are still there, holds no file.
        assert held() == 1
        assert caught.tb is not None
    assert held() == 0


def test_an_empty_log_is_begun_and_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / LOG).touch()
    with pytest.raises(RecordError, match=r":1: expected the log's first line"):
        load(tmp_path)
    with recorder(tmp_path):
        pass
    assert load(tmp_path).execution == EXECUTION
    (tmp_path / LOG).write_text("[]\n")
    with pytest.raises(RecordError, match="expected an object with the key 'r'"):
        load(tmp_path)
    (tmp_path / LOG).write_text('{"x":1}\n')
    with pytest.raises(RecordError, match="expected an object with the key 'r'"):
        load(tmp_path)


def test_what_was_cut_off_is_dropped_and_told(tmp_path: Path) -> None:
    with recorder(tmp_path):
        pass
    whole = (tmp_path / LOG).read_bytes()
    (tmp_path / LOG).write_bytes(whole + b'{"r":"Us')
    assert load(tmp_path).problems == (
        f"{tmp_path / LOG}:2: the last line is cut off and was left out",
    )
    with recorder(tmp_path) as log, log.activity("Acquisition", "a") as step:
        assert step.iri.endswith("/2-Acquisition")
    assert (tmp_path / LOG).read_bytes().startswith(whole + b'{"r":"log"')
    assert load(tmp_path).problems == (
        f'{tmp_path / LOG}:2: a cut-off line was dropped: \'{{"r":"Us\'',
    )


def test_problems_of_activities_are_told(tmp_path: Path) -> None:
    for folder, run in ((tmp_path, ""), (tmp_path / "runs" / "r", "r")):
        with (
            recorder(folder, root=tmp_path, run=run) as log,
            log.activity("Acquisition", "b" if run else "a"),
        ):
            pass
        told = (folder / LOG).read_text("utf-8").splitlines(keepends=True)
        (folder / LOG).write_text("".join(told[:-1]), encoding="utf-8")
    assert load(tmp_path).problems == (
        "demo: Acquisition 'a' has no end",
        "r: Acquisition 'b' has no end",
    )
    moments = iter([NOON, NOON, NOON - timedelta(seconds=1)])
    with (
        Recorder(tmp_path / "x", campaign="demo", clock=lambda: next(moments)) as log,
        log.activity("Acquisition", "c"),
    ):
        pass
    assert load(tmp_path / "x").problems == (
        "Acquisition 'c' ends at 2026-01-01T11:59:59+00:00, before its start "
        "2026-01-01T12:00:00+00:00: the clock was set back",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "much"}, "value is 'much'"),
        ({"value": None}, "value is None"),
        ({"unit": "knots"}, "unit is 'knots'"),
        ({"subject": "nobody"}, "iri is 'nobody'"),
    ],
)
def test_a_damaged_quantity_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with recorder(tmp_path) as log, log.activity("Acquisition", "a") as step:
        step.quantity("size", 1, "m")
    told = [one | (changes if one["r"] == "Quantity" else {}) for one in lines(tmp_path)]
    (tmp_path / LOG).write_text("".join(json.dumps(one) + "\n" for one in told))
    with pytest.raises(RecordError, match=rf":3: {message}"):
        load(tmp_path)


def bare(**told: Any) -> Records:
    parts = {key: {} for key in record._THINGS} | dict.fromkeys(record.RELATIONS, ())
    return Records("demo", {}, **parts | told)  # type: ignore[arg-type]


def test_bases_and_kinds() -> None:
    assert bare().base == "arcp://name,demo/"
    assert replace(bare(), execution=EXECUTION).base == BASE
    file, act = Entity("urn:x:e", "Kind", "e"), Activity("urn:x:a", "Kind", "a")
    other = Activity("urn:x:b", "Other", "b", run="z")
    told = bare(entities={"urn:x:e": file}, activities={"urn:x:a": act, "urn:x:b": other})
    assert told.of_kind("Kind") == [file]
    assert told.of_kind("Other") == [other]
    assert told.of_kind("None") == []
    assert told.runs() == ["z"]


def test_relations_go_with_what_they_speak_of() -> None:
    a, b = Agent("urn:x:a", "Person", "a"), Agent("urn:x:b", "Person", "b")
    told = bare(
        agents={a.id: a, b.id: b},
        usages=(Usage("urn:x:1", "urn:x:2"), Usage("urn:x:1", "urn:x:3")),
        associations=(Association("urn:x:1", a.id, "urn:x:2"), Association("urn:x:1", b.id)),
        quantities=(Quantity("urn:x:2", "urn:x:3", 1.0, "m"),),
    )
    fewer = told.without({"urn:x:3", b.id})
    assert fewer.agents == {a.id: a}
    assert fewer.usages == told.usages[:1]
    assert fewer.associations == told.associations[:1]
    # A name that is no reference stays.
    assert fewer.quantities == told.quantities
    moved = told.renamed({"urn:x:3": "urn:x:2"})
    assert moved.usages == told.usages[:1]
    assert moved.quantities == told.quantities
    assert moved.agents == told.agents
