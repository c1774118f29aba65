"""Every public door of the package, and of the modules that it starts from, refuses bad input."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
import doors
from rp_vast import dump_vast

from lib.robot_provenance import audit, bags, constraints, crate, record, validation, vocabulary
from lib.robot_provenance.campaign import Pose, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.record import Recorder
from lib.robot_provenance.study import navsim, runner


def room() -> Grid:
    cells = np.ones((60, 60), np.int8)
    cells[2:-2, 2:-2] = 0
    return Grid(cells, 0.05, (0.0, 0.0))


def scenario() -> Scenario:
    return Scenario("a", "room.yaml", Pose(0.5, 0.5), (Pose(2.5, 2.5),))


def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="doors-"))


def vast() -> Path:
    file = folder() / "campaign.vast"
    file.write_text(dump_vast([scenario()]), encoding="utf-8")
    return file


def records() -> record.Records:
    place = folder()
    with Recorder(place, campaign="demo") as recorder, recorder.activity("Acquisition", "a") as one:
        (place / "a.txt").write_text("a")
        one.generated(place / "a.txt")
    return record.load(place)


Example = Callable[[], dict[str, Any]]
EXAMPLES: dict[str, Example] = {
    "robot_provenance.Recorder": lambda: {
        "folder": folder(),
        "campaign": "demo",
        "execution": "0b6b7a3e-7c5c-4c7e-8d55-6f0f0f7a1c11",
    },
    "robot_provenance.load_grid": lambda: {"yaml_path": room().write(folder(), "room")},
    "robot_provenance.load_vast": lambda: {"path": vast()},
    "robot_provenance.replay": lambda: {"folder": None, "run": "a-s0", "again": runner.redo},
    "robot_provenance.resolve": lambda: {"scenarios": [scenario()], "root": folder()},
    "robot_provenance.serialize": lambda: {"records": records(), "notation": "nt"},
    "robot_provenance.to_prov": lambda: {"records": records()},
    "robot_provenance.to_rdf": lambda: {"records": records()},
}
Right = dict[tuple[str, str, str], Callable[[Any], bool]]
RIGHT: Right = {
    # An empty UUID asks for a new one, and an empty campaign of scenarios resolves to nothing.
    ("robot_provenance.Recorder", "execution", "empty"): lambda found: found.execution == "",
    ("robot_provenance.resolve", "scenarios", "empty"): lambda found: found.scenarios == (),
}

INNER: dict[Callable[..., Any], Example] = {
    vocabulary.base_iri: lambda: {"collection": "demo"},
    vocabulary.check_iri: lambda: {"name": "iri", "value": "https://ex.org/a"},
    vocabulary.content_iri: lambda: {"sha256": "ab" * 32},
    vocabulary.file_iri: lambda: {"collection": "demo", "path": "a.csv", "sha256": "ab" * 32},
    vocabulary.iri: lambda: {"curie": "prov:used"},
    vocabulary.slug: lambda: {"text": "a b"},
    vocabulary.unit_iri: lambda: {"unit": "m/s"},
    navsim.simulate: lambda: {"grid": room(), "scenario": scenario(), "seed": 1},
    navsim.SimConfig: dict,
    runner.run_id: lambda: {"scenario": "a", "seed": 1},
    room().inflated: lambda: {"radius": 0.2},
}
INNER_RIGHT: Right = {
    # The name is the caller's word for the value, which is right.
    ("check_iri", "name", "empty"): lambda found: found == "https://ex.org/a",
    # No path names the whole collection.
    ("file_iri", "path", "empty"): lambda found: found == "arcp://name,demo/#" + "ab" * 8,
}


def test_every_exported_door_refuses_bad_input_clearly() -> None:
    problems, closed = doors.survey("robot_provenance", EXAMPLES, RIGHT)
    assert closed == []
    assert problems.keys() == EXAMPLES.keys()
    assert [line for found in problems.values() for line in found] == []


@pytest.mark.parametrize("door", INNER, ids=lambda door: door.__name__)
def test_the_doors_inside_do_too(door: Callable[..., Any]) -> None:
    assert doors.knock(door.__name__, door, INNER[door], INNER_RIGHT) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: audit.audit(folder()), "no records.jsonl in it"),
        (lambda: audit.replay(folder(), "a", runner.redo), "no records.jsonl in it"),
        (lambda: audit.replay(folder(), "a", runner.redo, records()), "a: 0 executions"),
        (lambda: bags.read(folder()), r"metadata\.yaml: missing"),
        (lambda: constraints.check("document"), "expected a prov document or bundle, got str"),
        (lambda: crate.build(records()), "no activity of kind CampaignExecution"),
        (lambda: crate.write(folder()), "no records.jsonl in it"),
        (lambda: validation.validate_crate(folder()), "no ro-crate-metadata.json in it"),
        (lambda: validation.shacl(validation.rdflib.Graph()), "the graph is empty"),
        (lambda: runner.load_plan(folder()), r"campaign\.json: missing"),
    ],
)
def test_what_is_not_there_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, TypeError, RuntimeError), match=message):
        call()
