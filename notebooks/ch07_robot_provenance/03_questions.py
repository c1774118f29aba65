# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Questions, constraints and faults
#
# A record is worth what it can answer, and what it can refuse. This notebook puts the competency
# questions of the authors' developer guide, and as many of ours, to the graph of eleven runs of the
# embedded campaign (simulated); checks the record against the constraints that the W3C puts on provenance;
# and plants faults to see who notices.

# %%
import re
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from lib.core import figures, ledger
from lib.robot_provenance import constraints, export
from lib.robot_provenance.questions import AUTHORS, OURS, QUESTIONS, answer
from lib.robot_provenance.record import Derivation, load
from lib.robot_provenance.study import corpus, embedded, faults, oracle, runner
from lib.robot_provenance.study.authors import authors_shapes
from lib.stats import binomial

figures.use()
SEED = 20260528
YES = {True: "yes", False: "no"}

# %%
folder = Path(tempfile.mkdtemp(prefix="campaign-")) / "embedded"
embedded.run(folder, names=embedded.PART, seeds=(SEED,))
runner.publish(folder)
records = load(folder)
graph, store = export.to_rdf(records), export.to_store(records)
print(f"{len(graph):,} statements")

# %% [markdown]
# ## Questions
#
# Each question is one SPARQL query. The right answer comes from an oracle that reads the runs and
# never a record: results, scenarios, the bytes of files, and the code of the steps. An answer counts
# only if every row is right and none is missing.

# %%
right = oracle.truth(oracle.read(folder))
answers = {one.id: answer(store, one) for one in QUESTIONS}
asked = pd.DataFrame(
    {
        "question": [one.text for one in QUESTIONS],
        "rows": [len(answers[one.id]) for one in QUESTIONS],
        "exact": [YES[answers[one.id] == right[one.id]] for one in QUESTIONS],
    },
    index=[one.id for one in QUESTIONS],
)
with pd.option_context("display.max_colwidth", None):
    display(asked)

# %% [markdown]
# For instance, the failure rate by environment, the last of the authors' questions:

# %%
rates = pd.DataFrame(answers["A10"], columns=AUTHORS[9].columns)
failed, of = (rates[one].astype(int) for one in ("failures", "runs"))
places = [Path(p).stem for p in rates["environment"]]
said = [f"{a} of {b} runs" for a, b in zip(failed, of, strict=True)]
fig, ax = plt.subplots(figsize=(7, 2.2), layout="constrained")
bars = ax.barh(places, failed / of, color=figures.PALETTE["vermillion"])
ax.bar_label(bars, said, padding=4)
ax.set(xlim=(0, 1.2), xticks=[0, 0.5, 1], xlabel="share of runs that failed")
ax.invert_yaxis()
ax.grid(False, axis="y")
told = [f"{place}: {words}" for place, words in zip(places, said, strict=True)]
figures.show(
    fig,
    alt=f"Failures by environment: {', '.join(told)}.",
    caption="Failure rate by environment, as the record answers it (simulated).",
)

# %% [markdown]
# The control takes away one statement, that a run used its map, and asks again. The two engines,
# rdflib and oxigraph, must agree on everything.

# %%
execution = records.of_kind("TestExecution")[0]
kinds = {name: one.kind for name, one in records.entities.items()}
usages = tuple(
    one
    for one in records.usages
    if one.activity != execution.id or kinds[one.entity] != "OccupancyGrid"
)
less = export.to_store(replace(records, usages=usages))
poorer = {one.id: answer(less, one) for one in QUESTIONS}
other = {one.id: answer(graph, one) for one in QUESTIONS}
print(
    "answers that change without one statement:",
    [name for name in answers if answers[name] != poorer[name]],
)


def exact(told, questions):
    """Count the questions that are answered exactly."""
    return sum(told[one.id] == right[one.id] for one in questions)


# %%
ledger.report(
    "ch07.questions.authors",
    exact(answers, AUTHORS),
    control=exact(poorer, AUTHORS),
)
ledger.report(
    "ch07.ours.questions.more",
    exact(answers, OURS),
    control=exact(poorer, OURS),
)
ledger.report(
    "ch07.ours.questions.engines", other == answers, control=other == poorer
)

# %% [markdown]
# What the questions do not see: where the authors' guide asks for a time, ours ask only whether one is
# recorded. So every time of the record may be moved, and as many answers stay exact.

# %%
YEARS = timedelta(days=9999)
late = {
    name: replace(a, start=a.start - YEARS, end=a.end - YEARS)
    for name, a in records.activities.items()
}
moved = {"activities": late}
for name in ("usages", "generations"):
    links = getattr(records, name)
    moved[name] = tuple(replace(one, time=one.time - YEARS) for one in links)
wrong = export.to_store(replace(records, **moved))
answered = {one.id: answer(wrong, one) for one in QUESTIONS}
print(
    f"all times moved: {exact(answered, QUESTIONS)} of {len(QUESTIONS)} exact"
)

# %% [markdown]
# ## Constraints
#
# PROV-CONSTRAINTS {cite:p}`provconstraints2013` says when a record can be a history: which events must
# come before which. The {doc}`theory page </book/ch07_robot_provenance/theory>` proves that an order
# exists exactly if no strict edge lies on a cycle; that the engine finds just these is tried in its tests,
# against a search through all orders.

# %% [markdown]
# The `prov` package ships cases from two test suites, the W3C's and ProvToolbox's. Their file names
# say which are invalid, but the names and the Recommendation do not always agree; where they differ
# we list the case and the reason, and report both counts.

# %%
judged = corpus.verdicts()
suites = judged[judged["source"] != "prov"].copy()
# `prov` cannot read these as they are shipped, so they are no verdict of its.
suites["unified_rejects"] &= ~suites["adapted"]
rejects = {
    "engine_rejects": "rejected by our engine",
    "unified_rejects": "refused by prov's unified()",
}
labels = {"file name": "labelled_valid", "Recommendation": "valid"}
summary = {
    (f"by the {title}", "valid" if good else "invalid"): {
        "cases": len(group),
        **group[list(rejects)].sum().rename(rejects),
    }
    for title, column in labels.items()
    for good, group in suites.groupby(column)
}
with pd.option_context("display.max_colwidth", None):
    disputed = pd.Series(corpus.DISPUTED, name="why the name is not followed")
    display(disputed.to_frame())
pd.DataFrame(summary).T

# %% [markdown]
# In three files we renamed one tag, since `prov` cannot read them as they are shipped. One of the three is
# invalid, `bundle-fail1`; with the tag renamed `unified()` refuses it too, but its count leaves it out, for
# it is to say what `prov` does with the cases that it reads.

# %%
bad = suites[~suites["labelled_valid"]]
proper = suites["engine_rejects"] == suites["valid"]
unique = {str(number) for number in range(22, 30)}
ledger.report(
    "ch07.ours.constraints.invalid",
    int(bad["engine_rejects"].sum()),
    # What an engine that merges nothing is left with.
    control=sum(bool({*codes} - unique) for codes in bad["codes"]),
)
ledger.report(
    "ch07.ours.constraints.cases",
    [
        int(suites.loc[suites["labelled_valid"], "engine_rejects"].sum()),
        int(bad["unified_rejects"].sum()),
        int((proper & ~suites["valid"]).sum()),
        int((proper & suites["valid"]).sum()),
    ],
)

# %% [markdown]
# The recorded campaign itself must pass, and must stop passing when a bag is derived from its own
# trace, or an activity ends before it starts.

# %%
report = constraints.check(export.to_prov(records))
bag, trace = (
    next(e for e in records.of_kind(kind)) for kind in ("RosBag", "Traces")
)
cycle = replace(
    records, derivations=(*records.derivations, Derivation(bag.id, trace.id))
)
late = replace(execution, end=execution.start - timedelta(seconds=1))
spoilt = replace(cycle, activities=records.activities | {late.id: late})
bad = constraints.check(export.to_prov(spoilt))
print("as recorded:", report.counts() or "no finding")
print("spoilt:", bad.counts())
ledger.report(
    "ch07.ours.constraints.campaign",
    [len(report.violations), len(report.clock)],
    control=[len(bad.violations), len(bad.clock)],
)

# %%
cyclic = constraints.check(export.to_prov(cycle))
for step in cyclic.violations[0].witness:
    claim, _, reason = step.partition(" [")
    plain = re.sub(r"#[0-9a-f]+", "", claim).replace("at:runs/", "")
    print(f"{plain} (constraint {reason.partition(':')[0]})")

# %% [markdown]
# ## Faults
#
# Faults, one at a time, in a campaign of three runs. Seventeen are accidents or careless edits, three are
# in the crate, six are forgeries in which everything that speaks of the change is rewritten to fit, a
# list of checksums included; the fifth forgets the plan, the sixth does not. A tool finds a fault if it says something that it
# does not say of the campaign without the fault. We chose the faults, so counts say something of these
# faults and not of the world's.

# %%
small = folder.with_name("small")
embedded.run(
    small,
    names=["wide-hall", "wide-one-room", "narrow-hall"],
    seeds=(SEED,),
    jobs=1,
)
victim = runner.run_id("wide-hall", SEED)
other_run = runner.run_id("wide-one-room", SEED)
found = faults.find(
    small, victim=victim, other=other_run, shapes=authors_shapes()
)
seen = found.seen

# %% tags=["figure-faults"]
told, at = seen.to_numpy().astype(int), np.arange(len(seen)) + 0.5
shades = ["#e4e4e4", figures.PALETTE["blue"]]
fig, ax = plt.subplots(figsize=(7.2, 9), layout="constrained")
cmap = ListedColormap(shades)
ax.pcolormesh(told, cmap=cmap, edgecolors="white", linewidth=1.5)
for row, column in np.argwhere(told):
    style = {"color": "white", "ha": "center", "va": "center", "fontsize": 8}
    ax.text(column + 0.5, row + 0.5, "✓", **style)
names = [f"{name}\n({count})" for name, count in seen.sum().items()]
counts = ", ".join(f"{name} {count}" for name, count in seen.sum().items())
ax.set_xticks(at[: len(names)], names, rotation=35, ha="right")
ax.set_yticks(at, list(seen.index))
ax.invert_yaxis()
ax.grid(False)
words = zip(shades, ("not reported", "reported"), strict=True)
handles = [Patch(color=color, label=word) for color, word in words]
ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
figures.show(
    fig,
    alt=f"Table of {len(seen)} planted faults against {len(seen.columns)} tools. "
    f"Faults that each reports: {counts}.",
    caption="Which tool reports which planted fault. The first five are ours; a "
    "list of checksums is what most data sets have; the total stands under each "
    "name.",
)

# %%
ours = seen[list(faults.OURS)].any(axis=1)
peers = seen.drop(columns=list(faults.OURS)).any(axis=1)
replay = seen["replay"] & ~seen.drop(columns="replay").any(axis=1)
in_a_run = [one.id for one in faults.FAULTS if one.names_run]
names_it = found.named.loc[in_a_run, list(faults.OURS)].any(axis=1)
print(f"ours: {ours.sum()} of {len(seen)}; the right run is named in", end=" ")
print(f"{names_it.sum()} of {len(in_a_run)}")
print("not found by ours:", list(seen.index[~ours]) or "none")
print("seen by no peer:", ", ".join(seen.index[~peers]))
print("seen by running again alone:", ", ".join(seen.index[replay]))


# %%
def count(column, control, claim):
    """Report a number of faults, with an exact interval over faults."""
    n, k = len(column), int(column.sum())
    one = binomial(k, n)
    ends = [n * one.low, n * one.high]
    ledger.report(claim, k, interval=ends, control=int(control.sum()))


files = [one.id for one in faults.FAULTS if one.level == "files"]
quiet = [found.quiet[name] for name in faults.OURS]
ledger.report(
    "ch07.ours.faults.ours",
    float(ours.mean()),
    control=sum(bool(said) for said in quiet) / len(quiet),
)
count(seen["crate, REQUIRED"], ours, "ch07.ours.faults.required")
count(~peers, ~ours, "ch07.ours.faults.unseen")
count(replay, replay[files], "ch07.ours.faults.replay")

# %% [markdown]
# Three of the faults are impossible histories, and valid records: the Recommendation orders events and
# never compares two recorded times. A comparison of times along the order, which we keep apart, sees
# what was recorded with its time.

# %%
TIMED = ["end before start", "use before generation", "shifted clock"]
valid = ~seen.loc[TIMED, "constraints"]
timed = seen.loc[TIMED, "clock"]
cycle_seen = seen.loc["derivation cycle", "constraints"]
pd.DataFrame({"valid for the W3C": valid, "seen by times": timed}).map(YES.get)

# %%
ledger.report(
    "ch07.ours.constraints.times",
    [bool(x) for x in (*valid, *timed)],
    control=[not cycle_seen] * 3 + [bool(x) for x in timed],
)
