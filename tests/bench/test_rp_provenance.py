"""Chapter 7: what recording costs, how graph and crate grow, engines, replays."""

import time

import numpy as np
import pytest

from lib.robot_provenance import audit, crate, export
from lib.robot_provenance.questions import QUESTIONS, answer
from lib.robot_provenance.record import load
from lib.robot_provenance.study import ablation, embedded, runner

pytestmark = pytest.mark.bench
SIZES = (10, 100, 1000)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """The whole embedded campaign, one run after the other."""
    folder = tmp_path_factory.mktemp("bench") / "embedded"
    table = embedded.run(folder, seeds=(0,), jobs=1)
    runner.publish(folder)
    return folder, table


def test_recording_takes_little_of_a_run(campaign):
    _, table = campaign
    driven = table[table["duration_s"] > 0]
    share = 100 * table["recording_s"].sum() / table["wall_s"].sum()
    each = 100 * driven["recording_s"] / driven["wall_s"]
    mean = 1e3 * table[["recording_s", "wall_s"]].mean()
    print(
        f"\nrecording: {share:.2f} % of {len(table)} runs' time "
        f"({mean['recording_s']:.2f} of {mean['wall_s']:.0f} ms a run); "
        f"runs that drive: median {each.median():.2f} %, worst {each.max():.2f} %"
    )
    assert share < 3


def test_graph_and_crate_grow_with_the_runs(campaign, seconds):
    records = load(campaign[0])
    tasks = {
        "statements (N-Triples)": export.to_ntriples,
        "rdflib graph": export.to_rdf,
        "oxigraph store": export.to_store,
        "crate": crate.build,
    }
    spent = {name: [] for name in tasks}
    for n_runs in SIZES:
        many = ablation.cloned(records, n_runs)
        for name, task in tasks.items():
            spent[name].append(seconds(lambda t=task, m=many: t(m), 5 if n_runs < 1000 else 2))
    print()
    for name, times in spent.items():
        slope = np.polyfit(np.log(SIZES), np.log(times), 1)[0]
        told = ", ".join(f"{n:,} runs {t:.3f} s" for n, t in zip(SIZES, times, strict=True))
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
    again = [audit.replay(folder, run, records) for run in records.runs()]
    spent = time.perf_counter() - start
    simulated = table["duration_s"].sum()
    print(
        f"\n{len(again)} replays: {len(again) / spent:.1f} a second, {simulated / spent:.0f}x real "
        f"time; the runs themselves took {table['wall_s'].sum():.1f} s, the replays {spent:.1f} s"
    )
    assert all(one.identical for one in again)
