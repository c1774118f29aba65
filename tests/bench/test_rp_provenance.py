"""Chapter 7: what recording costs, how graph and crate grow, engines, replays."""

import cProfile
import json
import pstats
import time
import uuid
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from lib.robot_provenance import audit, constraints, crate, export
from lib.robot_provenance.questions import QUESTIONS, answer
from lib.robot_provenance.record import (
    Activity,
    Agent,
    Association,
    Communication,
    Derivation,
    Entity,
    Generation,
    Quantity,
    Usage,
    load,
)
from lib.robot_provenance.study import embedded, runner

pytestmark = pytest.mark.bench
SIZES = (1, 4, 16)
"""Executions of a campaign of 25 runs."""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """The whole embedded campaign, one run after the other."""
    folder = tmp_path_factory.mktemp("bench") / "embedded"
    table = embedded.run(folder, seeds=(0,), jobs=1)
    runner.publish(folder)
    return folder, table


def test_recording_takes_little_of_a_run(tmp_path):
    whole, spent = cProfile.Profile(), 0.0
    whole.runcall(embedded.run, tmp_path / "e", names=["wide-hall", "wide-boxes"], jobs=1)
    stats = pstats.Stats(whole).stats
    total = sum(own for _, _, own, _, _ in stats.values())
    for (file, _, name), (*_, inside, _) in stats.items():
        if file.endswith("record.py") and name in ("write", "file", "_line", "digest_file"):
            spent += inside if name in ("write", "file") else 0
    print(f"\nrecording: {100 * spent / total:.2f} % of two runs' time")
    assert spent / total < 0.05


def united(records, count):
    """The records of `count` executions of one campaign, put together."""
    text = json.dumps(records, default=asdict)
    parts = [text.replace(records.execution, str(uuid.uuid4())) for _ in range(count)]
    found = [json.loads(part) for part in parts]

    def rows(name, kind):
        return tuple(kind(**moments(row)) for one in found for row in one[name])

    return replace(
        records,
        entities={
            key: Entity(**row | {"members": tuple(row["members"])})
            for one in found
            for key, row in one["entities"].items()
        },
        activities={
            key: Activity(**moments(row)) for one in found for key, row in one["activities"].items()
        },
        agents={key: Agent(**row) for one in found for key, row in one["agents"].items()},
        usages=rows("usages", Usage),
        generations=rows("generations", Generation),
        derivations=rows("derivations", Derivation),
        associations=rows("associations", Association),
        communications=rows("communications", Communication),
        quantities=rows("quantities", Quantity),
    )


def moments(row):
    when = ("start", "end", "time")
    return row | {k: datetime.fromisoformat(row[k]) for k in when if row.get(k)}


def asdict(one):
    return one.isoformat() if isinstance(one, datetime) else vars(one)


def test_graph_and_crate_grow_with_the_runs(campaign, seconds):
    records = load(campaign[0])
    tasks = {
        "N-Triples": lambda many: export.serialize(many, "nt"),
        "rdflib graph": export.to_rdf,
        "oxigraph store": export.to_store,
        "crate": crate.build,
        "constraints": lambda many: constraints.check(export.to_prov(many)),
    }
    spent = {name: [] for name in tasks}
    for count in SIZES:
        many = united(records, count)
        for name, task in tasks.items():
            spent[name].append(seconds(lambda t=task, m=many: t(m), 3 if count < 16 else 1))
    print()
    for name, times in spent.items():
        slope = np.polyfit(np.log(SIZES), np.log(times), 1)[0]
        told = ", ".join(
            f"{n * len(records.runs()):,} runs {t:.3f} s" for n, t in zip(SIZES, times, strict=True)
        )
        print(f"{name}: {told}; log-log slope {slope:.2f}")
        assert slope < 1.3, name


def test_both_engines_on_all_questions(campaign, seconds):
    records = load(campaign[0])
    graph, store = export.to_rdf(records), export.to_store(records)
    assert all(answer(graph, one) == answer(store, one) for one in QUESTIONS)
    slow = seconds(lambda: [answer(graph, one) for one in QUESTIONS], 3)
    fast = seconds(lambda: [answer(store, one) for one in QUESTIONS], 3)
    print(
        f"\n{len(QUESTIONS)} questions, {len(graph):,} statements: rdflib {slow:.2f} s, "
        f"oxigraph {fast:.3f} s, {slow / fast:.0f}x"
    )
    assert slow > fast


def test_replays_per_second(campaign):
    folder, table = campaign
    records = load(folder)
    start = time.perf_counter()
    again = [audit.replay(folder, run, runner.redo, records) for run in records.runs()]
    spent = time.perf_counter() - start
    simulated = table["duration_s"].sum()
    print(
        f"\n{len(again)} replays: {len(again) / spent:.1f} a second, {simulated / spent:.0f}x real "
        f"time"
    )
    assert all(one.agrees for one in again)
