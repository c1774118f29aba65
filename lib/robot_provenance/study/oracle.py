"""The answers that are right, from the runs themselves and from no provenance record.

What is read here: the campaign's plan, each run's ``scenario.json`` and ``result.json``, and the
bytes of the files. What is not read: any ``records.jsonl`` or graph. Where a step leaves no other
trace (which program wrote a file, say) the answer is written down here from the code that did it,
so a test that changes the recording cannot change the oracle with it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from lib.robot_provenance.questions import Row
from lib.robot_provenance.record import digest_file
from lib.robot_provenance.study.runner import CREATOR, image_of, software, variations

LIBRARY = "lib.robot_provenance"
ROBOT = "simulated robot"


@dataclass(frozen=True)
class _Run:
    name: str
    entry: dict[str, Any]
    result: dict[str, Any]
    yaml: str
    pgm: str

    def path(self, file: str) -> str:
        return f"runs/{self.name}/{file}"


@dataclass(frozen=True)
class Truth:
    """What happened in a campaign, as far as its files tell without records.

    Attributes
    ----------
    folder : Path
    plan : dict
    runs : list
        In the order of their names.
    vast, osc : str
        Paths of the campaign file and of the abstract scenario; empty where there is none.
    models : dict of str to str
        Floor-plan graph by floor-plan model.
    maps : dict of str to list of str
        Map files by floor-plan graph.
    exports : list of str
        Graph files that were written at the end.
    """

    folder: Path
    plan: dict[str, Any]
    runs: list[_Run]
    vast: str = ""
    osc: str = ""
    models: dict[str, str] = field(default_factory=dict)
    maps: dict[str, list[str]] = field(default_factory=dict)
    exports: list[str] = field(default_factory=list)


def read(folder: Path) -> Truth:
    """Read a finished campaign's files.

    Raises
    ------
    FileNotFoundError
        If a file that every campaign has is missing.
    """
    folder = Path(folder)
    plan = json.loads((folder / "campaign.json").read_text(encoding="utf-8"))
    runs = []
    for place in sorted((folder / "runs").glob("[!.]*")):
        entry, result = (
            json.loads((place / name).read_text(encoding="utf-8"))
            for name in ("scenario.json", "result.json")
        )
        table = plan["maps"][entry["map"]]
        image = image_of(folder / table).relative_to(folder).as_posix()
        runs.append(_Run(place.name, entry, result, table, image))

    def paths(*patterns: str) -> list[str]:
        found = [one for pattern in patterns for one in sorted(folder.glob(pattern))]
        return [one.relative_to(folder).as_posix() for one in found]

    graphs = paths("inputs/**/*.graph.json")
    return Truth(
        folder,
        plan,
        runs,
        vast=next(iter(paths("inputs/*.vast")), ""),
        osc=next(iter(paths("inputs/*.osc")), ""),
        models={one.replace(".graph.", ".model."): one for one in graphs},
        maps={
            one: paths(*(f"{Path(one).parent}/*.{end}" for end in ("pgm", "yaml")))
            for one in graphs
        },
        exports=paths("provenance.*", "ro-crate-metadata.json"),
    )


def _number(value: Any) -> str:
    return f"{float(value):.9g}"


def truth(campaign: Truth) -> dict[str, list[Row]]:
    """Return the right answer to every question.

    Parameters
    ----------
    campaign : Truth
        From `read`.

    Returns
    -------
    dict of str to list of tuple of str
        By `Question.id`; rows sorted as `answer` sorts them.
    """
    runs, c, creator = campaign.runs, campaign, CREATOR["name"]
    failed = [r for r in runs if r.result["outcome"] != "success"]
    driven, lost = (Counter(r.pgm for r in some) for some in (runs, failed))
    wheres: dict[str, list[Any]] = {
        "A1": [(model, creator, "true") for model in c.models],
        "A2": [(c.vast, c.osc, creator)] if c.vast else [],
        "A3": [(model, graph, LIBRARY) for model, graph in c.models.items()],
        "A4": [(graph, file, LIBRARY) for graph, files in c.maps.items() for file in files],
        "A5": [(c.vast, c.osc, r.path("scenario.json"), LIBRARY) for r in runs] if c.vast else [],
        "A6": [
            (r.path("scenario.json"), used, r.path(made), agent, "true")
            for r in runs
            for used in (r.path("scenario.json"), r.pgm, r.yaml, "campaign.json")
            for made in ("bag", "bag/bag.mcap", "bag/metadata.yaml", "result.json", "log.txt")
            for agent in (LIBRARY, ROBOT)
        ],
        "A7": [
            (r.path("bag"), r.path("trace.csv"), agent, "true")
            for r in runs
            for agent in (LIBRARY, "rosbags")
        ],
        "A8": [("metrics.csv", graph, LIBRARY, "true") for graph in c.exports],
        "A9": [
            (r.path("scenario.json"), kind) for r in runs for kind in variations(r.entry["content"])
        ],
        "A10": [(place, str(lost[place]), str(count)) for place, count in driven.items()],
        "O1": [(digest_file(c.folder / r.pgm), r.name) for r in runs],
        "O2": [(file,) for file in _upstream(c)],
        "O3": [
            (image, r.path("result.json")) for r in runs for image in (r.pgm, *_originals(c, r.pgm))
        ],
        "O4": [(r.name, r.result["outcome"], str(r.entry["seed"])) for r in failed],
        "O5": sorted(
            {
                tuple(sorted((a.entry["name"], b.entry["name"])))
                for a, b in combinations(runs, 2)
                if a.entry["digest"] == b.entry["digest"] and a.entry["name"] != b.entry["name"]
            }
        ),
        "O6": [
            (r.entry["name"], repair["reason"])
            for r in runs
            for repair in c.plan["repairs"]
            if r.entry["name"] in repair["scenarios"]
        ],
        "O7": [
            (r.name, _number(length))
            for r in runs
            if (length := r.result["metrics"]["path_length_m"]) is not None and length > 10
        ],
        "O8": [
            (r.path("result.json"), name, software()[LIBRARY])
            for r in runs
            for name in (LIBRARY, ROBOT)
        ],
        "O9": [(r.name,) for r in runs] if c.vast else [],
        "O10": [
            (noise, outcome, str(count))
            for (noise, outcome), count in Counter(
                (_number(r.entry["content"]["noise_std"]), r.result["outcome"]) for r in runs
            ).items()
        ],
        "O11": [(r.path("bag"), digest_file(c.folder / r.path("bag/bag.mcap"))) for r in runs],
        "O12": [(r.name, r.path("scenario.json")) for r in runs],
    }
    return {name: sorted(tuple(map(str, row)) for row in rows) for name, rows in wheres.items()}


def _upstream(c: Truth) -> set[str]:
    """Return every file that the table of runs rests on."""
    found = {"campaign.json", c.vast, c.osc} - {""}
    for r in c.runs:
        found |= {r.path("scenario.json"), r.path("result.json"), r.yaml, r.pgm}
        found |= _originals(c, r.yaml) | _originals(c, r.pgm)
    for model, graph in c.models.items():
        # A floor plan on whose map nothing ran is no source of the table.
        if found & set(c.maps[graph]):
            found |= {model, graph}
    return found


def _originals(c: Truth, copy: str) -> set[str]:
    """Return the generated map files of which a map of the campaign is a copy, byte by byte."""
    digest = digest_file(c.folder / copy)
    files = [file for group in c.maps.values() for file in group]
    return {file for file in files if digest_file(c.folder / file) == digest}


def lineage(campaign: Truth) -> set[tuple[str, str]]:
    """Return the true pairs (file, what it was made from), one step each.

    Read off the code of the steps: scenario from the plan; bag, its two files, result and log from
    scenario, map and plan (which holds the robot's constants); trace from bag; table from results.
    """
    pairs: set[tuple[str, str]] = set()
    for r in campaign.runs:
        scenario = r.path("scenario.json")
        pairs.add((scenario, "campaign.json"))
        pairs.add((r.path("trace.csv"), r.path("bag")))
        for made in ("bag", "bag/bag.mcap", "bag/metadata.yaml", "result.json", "log.txt"):
            pairs |= {
                (r.path(made), source) for source in (scenario, r.pgm, r.yaml, "campaign.json")
            }
        pairs.add(("metrics.csv", r.path("result.json")))
    return pairs
