"""The audit of folders and records made by hand: every finding, and none beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.robot_provenance import audit, crate
from lib.robot_provenance.audit import Finding, Recipe, ReplayError, replay
from lib.robot_provenance.record import (
    Activity,
    Agent,
    Association,
    Communication,
    Entity,
    Generation,
    Quantity,
    Records,
    Usage,
    digest_file,
    digest_folder,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)
FORGED = "ab" * 32


def records(*things: Any, **relations: Any) -> Records:
    def some(kind: type) -> dict[str, Any]:
        return {one.id: one for one in things if isinstance(one, kind)}

    names = ("usages", "generations", "derivations", "associations", "communications")
    told = {name: tuple(relations.get(name, ())) for name in (*names, "quantities")}
    return Records("demo", {}, some(Agent), some(Entity), some(Activity), **told)  # type: ignore[arg-type]


def at(folder: Path, path: str, text: str = "", kind: str = "File", **told: Any) -> Entity:
    """Write a file and return its entity."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)
    one = Entity(f"urn:x:{path}", kind, path, path, sha256=digest_file(folder / path))
    return replace(one, **told)


def run(name: str, **told: Any) -> Activity:
    return Activity(f"urn:x:{name}", "TestExecution", name, name, NOON, NOON + 9 * MS, **told)


def test_runs_of_paths() -> None:
    paths = ("runs/a/b", "runs/a/b/c", "runs/a", "a/runs/b", "inputs/a/b", "runs", "")
    assert [audit.run_of(one) for one in paths] == ["a", "a", "", "", "", "", ""]


def test_values_are_compared_as_a_table_has_them() -> None:
    told = [1, "1.0", "1e0", 1.0, True, None, "", "x", [1]]
    assert [audit._plain(one) for one in told] == [
        *("1.0", "1.0", "1.0", "1.0", "1.0", "", "", "x", "[1]")
    ]


def test_digests_of_files_and_folders(tmp_path: Path) -> None:
    for name in ("b/c.txt", "a.txt"):
        at(tmp_path / "d", name, name)
    members = {name: digest_file(tmp_path / "d" / name) for name in ("a.txt", "b/c.txt")}
    assert audit._digest(tmp_path / "d") == digest_folder(members)
    assert audit._digest(tmp_path / "d" / "a.txt") == members["a.txt"]


def test_every_file_is_looked_at(tmp_path: Path) -> None:
    """Files that agree, have no digest or are gone do not end the search."""
    plain = [Entity("urn:x:0", "File", "none", "none"), at(tmp_path, "a", "a")]
    gone = at(tmp_path, "runs/r/gone", "b")
    (tmp_path / "runs/r/gone").unlink()
    changed = replace(at(tmp_path, "c", "c"), sha256=FORGED)
    copy = replace(at(tmp_path, "runs/s/d", "a"), sha256="cd" * 32)
    again = [replace(at(tmp_path, "e", "e"), id="urn:x:old", sha256=FORGED), at(tmp_path, "e", "e")]
    after = replace(at(tmp_path, "f", "f"), sha256="ef" * 32)
    value = Entity("urn:x:v", "File", "v", sha256=FORGED)
    for name in (".hidden", "runs/.r/x", "records.jsonl", "runs/r/records.jsonl",
                 crate.DESCRIPTOR, "runs/r/new", "inputs/records.jsonl"):  # fmt: skip
        at(tmp_path, name)
    (tmp_path / crate.DESCRIPTOR).unlink()
    told = records(*plain, gone, value, changed, copy, *again, after)
    is_ = {one.path: digest_file(tmp_path / one.path)[:16] for one in (changed, after)}
    late = "is there, but no record speaks of it"
    assert audit.audit(tmp_path, told) == sorted(
        [
            Finding("missing", "r", "runs/r/gone", "recorded, but not there"),
            Finding("changed", "", "c", f"is {is_['c']}, was {FORGED[:16]}"),
            Finding("changed", "", "f", f"is {is_['f']}, was {'ef' * 8}"),
            Finding("swapped", "s", "runs/s/d", "holds the bytes of a"),
            Finding("unrecorded", "r", "runs/r/new", late),
            Finding("unrecorded", "", "inputs/records.jsonl", late),
        ]
    )
    # Records that speak of no file say nothing of files.
    assert audit.audit(tmp_path, records(value)) == []


def test_what_is_referred_to_and_not_there(tmp_path: Path) -> None:
    one, file = run("r"), at(tmp_path, "a")
    told = records(
        one,
        file,
        usages=[Usage(one.id, "urn:x:none", time=None), Usage(one.id, file.id)],
        associations=[Association("urn:x:nobody", one.id, "")],
        communications=[Communication(one.id, "urn:x:elsewhere")],
        quantities=[Quantity(file.id, "length", 1.0, "m")],
    )
    dangling = [
        Finding("dangling", "r", "", "entity of a Usage is urn:x:none, which nothing declares"),
        Finding(
            "dangling",
            "",
            "",
            "activity of a Association is urn:x:nobody, which nothing declares",
        ),
    ]
    assert audit.audit(tmp_path, told) == sorted(dangling)


def test_what_is_made_by_several(tmp_path: Path) -> None:
    one, two, file = run("r"), run("s"), at(tmp_path, "runs/r/a")
    made = [Generation(file.id, one.id, time=NOON), Generation(file.id, one.id)]
    assert audit.audit(tmp_path, records(one, two, file, generations=made)) == []
    more = [*made, Generation(file.id, two.id)]
    assert audit.audit(tmp_path, records(one, two, file, generations=more)) == [
        Finding("generated twice", "r", "runs/r/a", "by 2 activities")
    ]
    unknown = [Generation("urn:x:n", one.id), Generation("urn:x:n", two.id)]
    found = audit.audit(tmp_path, records(one, two, file, generations=unknown))
    assert {one.code for one in found} == {"dangling"}


def test_activities_without_an_end_or_with_two(tmp_path: Path) -> None:
    cut = replace(run("r"), status="interrupted", end=None)
    assert audit.audit(tmp_path, records(cut, run("s"))) == [
        Finding("interrupted", "r", "", "r: no end was recorded")
    ]
    again = replace(run("s"), id="urn:x:again")
    assert audit.audit(tmp_path, records(run("s"), again, run("r"))) == [
        Finding("duplicate", "s", "", "2 executions of one run are recorded")
    ]
    other = replace(again, kind="Postprocessing")
    assert audit.audit(tmp_path, records(run("s"), other)) == []


def test_clocks_of_parts_and_wholes(tmp_path: Path) -> None:
    whole = Activity("urn:x:w", "CampaignExecution", "whole", "", NOON, NOON + 9 * MS)
    link = Communication("urn:x:p", "urn:x:w")
    strange = Communication("urn:x:none", "urn:x:w"), Communication("urn:x:p", "urn:x:none")

    def found(begun: datetime | None, done: datetime | None, **told: Any) -> list[str]:
        part = Activity("urn:x:p", "Postprocessing", "part", "r", begun, done)
        all_of = records(part, replace(whole, **told), communications=[*strange, link])
        return [one.message for one in audit.audit(tmp_path, all_of)]

    outside = ["part lies outside of whole"]
    assert found(NOON - MS, NOON + 10 * MS) == []
    assert found(NOON - MS - MS / 2, NOON) == outside
    assert found(NOON, NOON + 10 * MS + MS / 2) == outside
    assert found(NOON, NOON) == []
    assert found(NOON, NOON - MS) == ["part ends before it starts"]
    assert found(None, NOON - 5 * MS) == []
    assert found(NOON - 5 * MS, None, start=None) == []
    assert found(NOON, None) == []
    assert found(NOON, NOON + 99 * MS, end=None) == []


def test_bags_that_say_whose_they_are(tmp_path: Path) -> None:
    def bag(path: str, content: str) -> Entity:
        file = at(tmp_path, f"{path}/metadata.yaml", content)
        digest = digest_folder({"metadata.yaml": file.sha256})
        return Entity(f"urn:x:{path}", "RosBag", path, path, sha256=digest)

    def text(custom: Any) -> str:
        return yaml.safe_dump({"rosbag2_bagfile_information": {"custom_data": custom}})

    told = [
        at(tmp_path, "a", "a"),
        bag("runs/a/bag", "nothing"),
        bag("runs/b/bag", text(None)),
        bag("runs/c/bag", text({"run": "arcp://name,demo/runs/c"})),
        replace(bag("runs/e/bag", text({"run": "elsewhere"})), kind="File"),
        bag("runs/d/bag", text({"run": "arcp://name,demo/runs/c"})),
    ]
    extra = [
        at(
            tmp_path,
            f"runs/{one}/bag/metadata.yaml",
            (tmp_path / f"runs/{one}/bag/metadata.yaml").read_text(),
        )
        for one in "abcde"
    ]
    assert audit.audit(tmp_path, records(*told, *extra)) == sorted(
        [
            Finding("unreadable", "a", "runs/a/bag/metadata.yaml", "is no metadata of a bag"),
            Finding("stray", "d", "runs/d/bag", "says that it is of arcp://name,demo/runs/c"),
        ]
    )


def plan(folder: Path, name: str, runs: Any) -> Entity:
    return at(folder, name, json.dumps({"runs": runs}), "CampaignMetadata")


def test_runs_and_their_plans(tmp_path: Path) -> None:
    first = at(tmp_path, "0.json", "[]", "CampaignMetadata")
    other = at(tmp_path, "1.json", "{}", "CampaignMetadata")
    wrong = plan(tmp_path, "2.json", 5)
    mine = plan(tmp_path, "3.json", {"r": ["a", 0], "s": None})
    no_plan = at(tmp_path, "4.json", json.dumps({"runs": ["z"]}))
    told = (first, other, wrong, mine, no_plan)
    unreadable = Finding(
        "unreadable",
        "",
        "2.json",
        "runs is neither names nor a mapping of names to scenario and seed",
    )
    # Prepared and not executed: nothing is suppressed.
    assert audit.audit(tmp_path, records(*told)) == [unreadable]
    missing = Finding("suppressed", "s", "3.json", "is planned, but no execution of it is recorded")
    extra = Finding("unplanned", "t", "3.json", "was executed, but is not planned")
    found = audit.audit(tmp_path, records(*told, run("r"), run("t")))
    assert found == sorted([unreadable, missing, extra])
    started = Activity("urn:x:c", "CampaignExecution", "c")
    found = audit.audit(tmp_path, records(*told, started))
    assert found == sorted([unreadable, missing, replace(missing, run="r")])


def table(folder: Path, *rows: tuple[str, ...]) -> Entity:
    lines = [("run", "seed", "outcome", "path_length_m"), *rows]
    return at(folder, "metrics.csv", "".join(",".join(one) + "\n" for one in lines), "Metrics")


def test_what_is_told_of_a_run(tmp_path: Path) -> None:
    """Plan, record, results and table; the first that tells something is right."""

    def result(name: str, **told: Any) -> Entity:
        return at(tmp_path, f"runs/{name}/result.json", json.dumps(told), "TestResult")

    some = [
        plan(tmp_path, "plan.json", {"r": ["sc", 1], "s": ["sc", 2], "q": None}),
        result("r", run="r", seed=1.0, outcome="stuck", metrics={"path_length_m": 2}, more=None),
        result("s", run="s", seed=3, outcome="stuck", metrics=5, scenario="other"),
        at(tmp_path, "runs/s/a.json", "nothing"),
        at(tmp_path, "runs/s/scenario.json", json.dumps({"seed": 4, "outcome": "x"})),
        at(tmp_path, "runs/.hidden/a.json", "nothing"),
        table(tmp_path, ("r", "1", "stuck", "2.0"), ("s", "2", "fine", "")),
    ]
    acts = [
        run("r", attributes={"seed": 1, "outcome": "stuck", "other": 9}),
        run("s", attributes={"seed": 2, "outcome": "stuck"}),
        run("q", attributes={"seed": 5}),
    ]
    told = records(
        *some,
        *acts,
        quantities=[
            Quantity("urn:x:runs/r/result.json", "path_length", 2.0, "m"),
            Quantity("urn:x:runs/s/a.json", "path_length", 7.0, "m"),
            Quantity("urn:x:none", "path_length", 8.0, "m"),
        ],
    )
    found = [one for one in audit.audit(tmp_path, told) if one.code != "dangling"]
    at_s = "runs/s/result.json"
    assert found == sorted(
        [
            Finding("config", "s", at_s, "says seed 3, plan.json says 2"),
            Finding("value", "s", at_s, "says scenario other, plan.json says sc"),
            Finding("unreadable", "s", "runs/s/a.json", "cannot be read"),
            Finding("config", "s", "runs/s/scenario.json", "says seed 4, plan.json says 2"),
            Finding("verdict", "s", "metrics.csv", "says outcome fine, the record says stuck"),
        ]
    )


def test_rows_of_a_table(tmp_path: Path) -> None:
    acts = [run(name, attributes={"outcome": "stuck"}) for name in "rs"]
    row = ("1", "stuck", "2.0")
    one = table(tmp_path, ("r", *row), ("t", *row), ("r", *row))
    only = "is only one of recorded and in the table"
    assert audit.audit(tmp_path, records(one, *acts)) == sorted(
        [
            Finding("missing", "s", "metrics.csv", only),
            Finding("missing", "t", "metrics.csv", only),
            Finding("duplicate", "r", "metrics.csv", "is in 2 rows of the table"),
        ]
    )
    # Without an execution that tells an outcome, or without a table, nothing is missing.
    assert audit.audit(tmp_path, records(table(tmp_path, ("t", *row)))) == []
    (tmp_path / "metrics.csv").unlink()
    assert audit.audit(tmp_path, records(*acts)) == []
    # Without the column, and with something behind a closing quote.
    for text in ("name\nx\n", 'run\n"a"b\n'):
        bad = at(tmp_path, "metrics.csv", text, "Metrics")
        assert audit.audit(tmp_path, records(bad)) == [
            Finding("unreadable", "", "metrics.csv", "cannot be read")
        ]


def test_crates_are_compared_node_by_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = [{"@id": "./", "n": 1}, {"@id": "a"}, {"@id": "runs/r/b", "n": 2}]
    monkeypatch.setattr(audit.crate, "build", lambda told: {"@graph": right})
    said = [{"@id": "./", "n": 1}, {"@id": "runs/r/b", "n": 3}, {"@id": "c"}]
    (tmp_path / crate.DESCRIPTOR).write_text(json.dumps({"@graph": said}))
    name = crate.DESCRIPTOR
    assert audit.audit(tmp_path, records()) == [
        Finding("crate", "", name, "a is in one of them"),
        Finding("crate", "", name, "c is in one of them"),
        Finding("crate", "r", name, "runs/r/b is told otherwise"),
    ]
    recorded = Entity("urn:x:c", "File", "c", name, sha256=digest_file(tmp_path / name))
    assert audit.audit(tmp_path, records(recorded)) == []
    (tmp_path / name).unlink()
    assert audit.audit(tmp_path, records()) == []


# --- again


def test_a_replay_by_hand(tmp_path: Path) -> None:
    used = [at(tmp_path, "in/a", "a"), at(tmp_path, "in/b", "b"), at(tmp_path, "c", "c", "Traces")]
    value = Entity("urn:x:v", "File", "v", sha256=FORGED)
    made = [at(tmp_path, f"runs/r/{name}", name) for name in ("o1", "sub/o2")]
    theirs, aside = at(tmp_path, "runs/s/o1", "s"), at(tmp_path, "aside", "x")
    one, other = run("r", attributes={"seed": 4}), run("s")
    later = Activity("urn:x:post", "Postprocessing", "post", "r")
    tools = [Agent(f"urn:x:{n}", "SoftwareAgent", n, f"{n}1") for n in ("t1", "t2", "t3", "t4")]
    entities = (*used, value, *made, theirs, aside)
    told = records(
        one, other, later, *tools, *entities,
        usages=[Usage(one.id, e.id) for e in (used[1], used[0], used[2], value, used[0])]
        + [Usage(other.id, aside.id)],
        generations=[
            Generation(made[0].id, one.id), Generation(made[1].id, later.id),
            Generation(theirs.id, other.id), Generation(aside.id, one.id),
            Generation("urn:x:none", one.id),
        ],
        associations=[
            Association(one.id, tools[0].id), Association(later.id, tools[1].id),
            Association(other.id, tools[2].id),
        ],
    )  # fmt: skip
    seen: list[Recipe] = []

    def again(recipe: Recipe) -> dict[str, str]:
        seen.append(recipe)
        assert list(recipe.target.iterdir()) == []
        (recipe.target / "sub").mkdir()
        (recipe.target / "o1").write_text("o1")
        (recipe.target / "sub" / "o2").write_text("other")
        return {"t1": "t11", "t2": "new", "t4": "t41", "t5": "x"}

    found = replay(tmp_path, "r", again, told)
    (recipe,) = seen
    assert recipe.used == {
        "File": (tmp_path / "in/b", tmp_path / "in/a"),
        "Traces": (tmp_path / "c",),
    }
    assert (recipe.run, dict(recipe.attributes)) == ("r", {"seed": 4})
    assert found == audit.Replay("r", ("runs/r/sub/o2",), (("t2", "t21", "new"),), ())
    assert not recipe.target.exists()
    (tmp_path / "in/a").unlink()
    (tmp_path / "in/b").write_text("B")

    def nothing(recipe: Recipe) -> dict[str, str]:
        return {}

    found = replay(tmp_path, "r", nothing, told)
    assert found.inputs == ("in/b", "in/a")
    assert found.differing == ("runs/r/o1", "runs/r/sub/o2")
    assert found.versions == (("t1", "t11", ""), ("t2", "t21", ""))
    with pytest.raises(ReplayError, match="does not say: outputs"):
        replay(tmp_path, "r", nothing, replace(told, generations=()))
    with pytest.raises(ReplayError, match="does not say: inputs, outputs"):
        replay(tmp_path, "r", nothing, replace(told, generations=(), usages=()))


@pytest.mark.parametrize(
    ("changes", "identical", "agrees"),
    [
        ({}, True, True),
        ({"differing": ("a",)}, False, False),
        ({"versions": (("a", "1", "2"),)}, True, False),
        ({"inputs": ("a",)}, True, False),
    ],
)
def test_when_a_replay_agrees(changes: dict[str, Any], identical: bool, agrees: bool) -> None:
    one = audit.Replay(**{"run": "r", "differing": (), "versions": ()} | changes)  # type: ignore[arg-type]
    assert (one.identical, one.agrees) == (identical, agrees)
