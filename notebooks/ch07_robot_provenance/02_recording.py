# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Recording while it happens
#
# The embedded campaign needs no data: floor-plan models become graphs, graphs become maps, a campaign
# file becomes scenarios, scenarios become runs, and runs become a table. Everything is simulated, and
# everything is recorded by the step that does it: what it used and made, by digest; who did it, in
# which version; following which plan; from when to when. Then judges from outside look at it.

# %%
import json
import shutil
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from prov.model import ProvDocument
from rdflib import DCAT, DCTERMS, FOAF, PROV, Graph, URIRef
from rdflib.compare import isomorphic

from lib.core import figures, ledger
from lib.robot_provenance import bags, export, validation
from lib.robot_provenance.record import load
from lib.robot_provenance.study import embedded, runner
from lib.robot_provenance.study.authors import authors_shapes
from lib.robot_provenance.study.figures import lineage_explorer
from lib.robot_provenance.vocabulary import (
    ACTIVITY_KINDS,
    ENTITY_KINDS,
    PREFIXES,
)

figures.use()
SEED = 20260528

# %%
folder = Path(tempfile.mkdtemp(prefix="campaign-")) / "embedded"
table = embedded.run(folder, seeds=(SEED,))
runner.publish(folder)
records = load(folder)
graph = export.to_rdf(records)
print(
    f"{len(table)} runs: {len(records.entities)} entities, "
    f"{len(records.activities)} activities, {len(records.agents)} agents"
)
outcomes = table["outcome"].str.replace("_", " ").value_counts()
outcomes.rename("runs").to_frame()

# %% [markdown]
# (ch07-lineage)=
# ## One run, all the way up
#
# The lineage of one run is a chain of steps and files. Click on a node, or choose it from the list: what
# lights up is all that it rests on. The scenario of this run named its map in the wrong case; the repair
# is part of the chain, as is the scenario as it was declared.

# %% tags=["figure-lineage"]
RUN = runner.run_id(embedded.SLIP, SEED)
figures.show_chart(
    lineage_explorer(records, RUN),
    alt="Graph of files and steps from floor-plan model and campaign file to "
    "result and trace of one run; a list of their names chooses one, and all "
    "that it rests on turns blue.",
    caption="Lineage of one simulated run, from sources (top) to result "
    "(bottom). Click on a node, or choose it from the list, to see what it rests "
    "on; point at it for its digest.",
)

# %% [markdown]
# ## Vocabulary
#
# PROV-O says that something was used and made, DCAT and Dublin Core what a data set is, QUDT in which
# unit a number is. None of them knows a bag, a seed or an outcome. Where the authors' vocabulary has a
# term we use theirs; the rest are ours. Much of the rest any simulated test needs, whatever it tests.

# %%
SHARED = ("prov", "rdf", "rdfs", "dcat", "dcterms", "foaf", "qudt", "spdx")
# Properties of ours that any record needs, whatever it is about; the last one
# could be said with DCAT's spatialResolutionInMeters.
GENERAL = ("path", "sha256", "kind", "run", "status", "value", "reason")
GENERAL += ("resolution",)
terms = [*ENTITY_KINDS.values(), *ACTIVITY_KINDS.values()]
borrowed = sum(not one.curie.startswith("rp:") for one in terms)
print(f"kinds: {borrowed} by the authors, {len(terms) - borrowed} of our own")


def split(told):
    """Return the properties of a graph: shared, general and for tests."""
    used = pd.Series([str(p) for p in told.predicates()])
    shared = used.str.startswith(tuple(PREFIXES[one] for one in SHARED))
    general = used.isin([PREFIXES["rp"] + one for one in GENERAL])
    return used[shared], used[~shared & general], used[~shared & ~general]


def lacking(properties):
    """Return the names that PROV-O, DCAT, Dublin Core and FOAF do not list."""
    names = {p.rpartition("#")[2].rpartition("/")[2] for p in properties}
    lists = (PROV, DCAT, DCTERMS, FOAF)
    return sorted(n for n in names if not any(n in one for one in lists))


# %%
shared, general, tests = split(graph)
share = {
    "shared vocabularies": len(shared) / len(graph),
    "ours, for any record": len(general) / len(graph),
    "for a simulated test": len(tests) / len(graph),
}
print("for a simulated test, and in no list:", ", ".join(lacking(tests)))
(100 * pd.Series(share, name="% of statements")).round(1).to_frame()

# %%
bare = replace(
    records,
    quantities=(),
    entities={
        k: replace(e, attributes={}) for k, e in records.entities.items()
    },
    activities={
        k: replace(a, attributes={}) for k, a in records.activities.items()
    },
)
left = split(export.to_rdf(bare))[2]
print("without values, outcomes and quantities:", lacking(left) or "none")
ledger.report(
    "ch07.record.vocabulary", bool(lacking(tests)), control=bool(lacking(left))
)
ledger.report(
    "ch07.ours.record.robot_terms",
    100 * len(tests) / len(graph),
    control=100 * (len(tests) + len(general)) / len(graph),
    digits=3,
)

# %% [markdown]
# ## Four notations, one record
#
# A record that changes when it is written down in another notation is none. The control changes one
# start time on the way.

# %%
document = export.to_prov(records)
one = records.of_kind("TestExecution")[0]
later = replace(one, start=one.start + timedelta(microseconds=1))
changed = replace(records, activities=records.activities | {one.id: later})


def back(told):
    """Write records in each notation, read them back, and compare."""
    same = {}
    for name, form in (("PROV-JSON", "json"), ("PROV-N", "provn")):
        kind = "prov-json" if form == "json" else form
        text = export.serialize(told, kind)
        read = ProvDocument.deserialize(content=text, format=form)
        same[name] = read == document
    for name, form in (("N-Triples", "nt"), ("JSON-LD", "json-ld")):
        text = export.serialize(told, form)
        same[name] = isomorphic(Graph().parse(data=text, format=form), graph)
    return same


same, other = back(records), back(changed)
yes = {True: "yes", False: "no"}
pairs = zip(("same record", "one time changed"), (same, other), strict=True)
words = {what: pd.Series(one).map(yes) for what, one in pairs}
display(pd.DataFrame(words))
ledger.report("ch07.ours.record.roundtrip", same, control=other)

# %% [markdown]
# ## Outside judges
#
# The crate is made from the records and from nothing else {cite:p}`leo2024`. `roc-validator` checks it
# against Provenance Run Crate 0.5, offline, with every check of the profile executed.

# %%
crate = validation.validate_crate(folder, "REQUIRED")
wishes = validation.validate_crate(folder, "RECOMMENDED")
print(
    f"REQUIRED: {crate.n_checks} checks, {len(crate.issues)} issues, "
    f"{len(crate.skipped)} skipped"
)
print(f"RECOMMENDED: {wishes.n_checks} checks, {len(wishes.issues)} issues")
with pd.option_context("display.max_colwidth", None):
    said = pd.Series([w.message for w in wishes.issues], name="what is wished")
    display(said.value_counts().rename("times").to_frame())


# %%
def without(*what):
    """Validate a copy of the crate that lacks some properties of its root."""
    place = folder.with_name("without-" + "-".join(what))
    shutil.copytree(folder, place)
    content = json.loads((place / "ro-crate-metadata.json").read_text())
    root = next(n for n in content["@graph"] if n["@id"] == "./")
    for name in what:
        del root[name]
    (place / "ro-crate-metadata.json").write_text(json.dumps(content))
    return validation.validate_crate(place)


poor = without("license", "conformsTo")
print("without licence and profile:", len(poor.issues), "issues")
ledger.report(
    "ch07.ours.record.crate",
    [len(crate.issues), len(crate.skipped)],
    control=[len(poor.issues), len(poor.skipped)],
)

# %% [markdown]
# SHACL {cite:p}`shacl2017` judges the graph: with the shapes that the authors release for PROV-O, and
# with ours, which ask for what a robot test must say.

# %%
subject = URIRef(records.of_kind("TestExecution")[0].id)
spoilt = Graph()
spoilt += graph
spoilt.remove((subject, PROV.wasAssociatedWith, None))
end = graph.value(subject, PROV.endedAtTime)
spoilt.add((subject, PROV.startedAtTime, end))


def conforms(told):
    """Ask the authors' shapes and ours."""
    theirs = validation.shacl(told, authors_shapes(), inference="rdfs")
    return [not theirs, not validation.shacl(told)]


ledger.report(
    "ch07.ours.record.shapes", conforms(graph), control=conforms(spoilt)
)

# %% [markdown]
# ## Bags
#
# What the robot saw and did is a ROS 2 bag, written without ROS and stamped with simulated time. A
# reader by other people, with which the writer shares no code, must see the same; and the same run
# must give the same bytes.

# %%
runs = sorted((folder / "runs").iterdir())


def independent(place):
    """Return messages by topic, as `mcap` and `mcap-ros2-support` decode them."""
    told = {topic: [] for topic in bags.TOPICS}
    with (place / "bag.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            told[channel.topic].append(message)
    return told


total = equal = 0
for place in runs:
    bag, told = bags.read(place / "bag"), independent(place / "bag")
    at = [(m.pose.position.x, m.pose.position.y) for m in told["/pose"]]
    asked = [(m.twist.linear.x, m.twist.angular.z) for m in told["/cmd_vel"]]
    seen = [np.array(m.ranges, np.float32) for m in told["/scan"]]
    total += sum(bag.counts.values())
    for mine, theirs in (
        (bag.pose[:, :2], at),
        (bag.command, asked),
        (bag.scans, seen),
    ):
        equal += sum(map(np.array_equal, mine, theirs))
print(
    f"{total} messages in {len(runs)} bags, {equal} the same for both readers"
)

# %%
chosen = ["narrow-noise", "wide-boxes", "middle-blind"]
again, seeds = folder.parent / "again", folder.parent / "seeds"
embedded.run(again, names=chosen, seeds=(SEED,), jobs=1)
embedded.run(seeds, names=chosen, seeds=(SEED + 1,), jobs=1)


def digests(place: Path, seed: int) -> list[str]:
    """Return the digest of each bag of the three runs."""
    found = {e.path: e.sha256 for e in load(place).entities.values()}
    return [found[f"runs/{runner.run_id(n, seed)}/bag"] for n in chosen]


mine = digests(folder, SEED)
ledger.report("ch07.ours.record.bags", equal / total)
ledger.report(
    "ch07.ours.record.identical",
    mine == digests(again, SEED),
    control=mine == digests(seeds, SEED + 1),
)
