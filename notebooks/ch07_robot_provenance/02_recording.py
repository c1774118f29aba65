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
from pathlib import Path

import pandas as pd
from rdflib import PROV, Literal, URIRef
from rdflib.compare import isomorphic

from lib.core import figures, ledger
from lib.robot_provenance import bags, export, validation
from lib.robot_provenance.study import runner
from lib.robot_provenance.record import load
from lib.robot_provenance.study import embedded
from lib.robot_provenance.study.authors import authors_shapes
from lib.robot_provenance.study.interactive import lineage_explorer
from lib.robot_provenance.vocabulary import (
    ACTIVITY_KINDS,
    BORROWED,
    ENTITY_KINDS,
    UNITS,
)

figures.use()
SEED = 20260528

# %%
folder = Path(tempfile.mkdtemp(prefix="campaign-")) / "embedded"
table = embedded.run(folder, seeds=(SEED,))
runner.publish(folder)
records = load(folder)
print(
    f"{len(table)} runs: {len(records.entities)} entities, "
    f"{len(records.activities)} activities, {len(records.agents)} agents"
)
table["outcome"].value_counts().to_frame()

# %% [markdown]
# ## One run, all the way up
#
# The lineage of one run is a chain of steps and files. Click on a node: what lights up is all that it
# rests on. The scenario of this run named its map in the wrong case; the repair is part of the chain,
# as is the scenario as it was declared.

# %%
RUN = runner.run_id(embedded.SLIP, SEED)
figures.show_chart(
    lineage_explorer(records, RUN),
    alt="Graph of files and steps from floor-plan model and campaign file to "
    "result and trace of one run.",
    caption="Lineage of one simulated run, from sources (top) to result "
    "(bottom). Click on a node to see what it rests on; point at it for its "
    "digest.",
)

# %% [markdown]
# ## Vocabulary
#
# PROV-O says that something was used and made, DCAT and Dublin Core what a data set is, QUDT in which
# unit a number is. None of them knows a bag, a seed or an outcome. Where the authors' vocabulary has a
# term we use theirs; the rest are ours.

# %%
terms = [*ENTITY_KINDS.values(), *ACTIVITY_KINDS.values()]
borrowed = [one.curie for one in terms if one.curie in BORROWED]
own = [one.curie for one in terms if one.curie not in BORROWED]
graph = export.to_rdf(records)
used = pd.Series([str(p) for p in graph.predicates()])
space = used.str.replace(r"[^/#]*$", "", regex=True)
names = {
    str(s): p
    for p, s in graph.namespaces()
    if p in ("prov", "rdf", "rdfs", "dcat", "dcterms", "foaf", "qudt", "spdx")
}
counts = space.map(names).fillna("robots only").value_counts()
print(f"kinds: {len(borrowed)} by the authors, {len(own)} of our own")
print("units:", ", ".join(UNITS))
counts.rename("statements").to_frame()

# %%
robots_only = set(used[~space.isin(list(names))])
examples = sorted(
    {p.rpartition("#")[2].rpartition("/")[2] for p in robots_only}
)
print(
    "properties that the shared vocabularies lack:",
    ", ".join(examples[:12]),
    "…",
)
ledger.report("ch07.record.vocabulary", bool(robots_only))

# %% [markdown]
# ## Four notations, one record
#
# A record that changes when it is written down in another notation is none. The control changes one
# statement.

# %%
document = export.to_prov(records)
json_text, provn = document.serialize(format="json"), export.to_provn(records)
back = type(document).deserialize(content=json_text, format="json")
ntriples = export.to_ntriples(records)
again = type(graph)().parse(data=ntriples, format="nt")
jsonld = export.from_jsonld(export.to_jsonld(records))
same = {
    "PROV-JSON": back == document,
    "PROV-N": type(document).deserialize(content=provn, format="provn")
    == document,
    "N-Triples": isomorphic(again, graph),
    "JSON-LD": isomorphic(jsonld, graph),
}
print(same)

# %%
changed = type(graph)().parse(data=ntriples, format="nt")
one = next(changed.triples((None, PROV.startedAtTime, None)))
changed.remove(one)
changed.add((one[0], one[1], Literal("2000-01-01T00:00:00+00:00")))
ledger.report(
    "ch07.ours.record.roundtrip",
    sum(same.values()),
    control=not isomorphic(changed, graph),
)

# %% [markdown]
# ## Outside judges
#
# The crate is made from the records and from nothing else {cite:p}`leo2024`. `roc-validator` checks it
# against Provenance Run Crate 0.5, offline, with every check of the profile executed.

# %%
crate = validation.validate_crate(folder, "REQUIRED")
print(
    f"REQUIRED: {crate.n_checks} checks, {len(crate.issues)} issues, "
    f"{len(crate.skipped)} skipped"
)
wishes = validation.validate_crate(folder, "RECOMMENDED")
print(f"RECOMMENDED: {wishes.n_checks} checks, {len(wishes.issues)} issues")
pd.DataFrame([one.message for one in wishes.issues], columns=["wish"])

# %%
passes = {}
for what in ("nothing", "license", "conformsTo"):
    place = folder.with_name(f"without-{what}")
    shutil.copytree(folder, place)
    content = json.loads((place / "ro-crate-metadata.json").read_text())
    next(n for n in content["@graph"] if n["@id"] == "./").pop(what, None)
    (place / "ro-crate-metadata.json").write_text(json.dumps(content))
    passes[what] = validation.validate_crate(place).passed
print("passes when this is removed:", passes)
ledger.report(
    "ch07.ours.record.crate",
    [len(crate.issues), len(crate.skipped)],
    control=passes == {"nothing": True, "license": False, "conformsTo": False},
)
ledger.report("ch07.ours.record.checks", crate.n_checks)

# %% [markdown]
# SHACL {cite:p}`shacl2017` judges the graph: with the shapes that the authors release for PROV-O, and
# with ours, which ask for what a robot test must say.

# %%
theirs = validation.shacl(graph, authors_shapes(), inference="rdfs")
ours = validation.shacl(graph)
execution = records.of_kind("TestExecution")[0]
subject = URIRef(execution.id)
no_agent = type(graph)()
no_agent += graph
no_agent.remove((subject, PROV.wasAssociatedWith, None))
two_starts = type(graph)()
two_starts += graph
extra = graph.value(subject, PROV.endedAtTime)
two_starts.add((subject, PROV.startedAtTime, extra))
refused = [not validation.shacl(g).conforms for g in (no_agent, two_starts)]
print("authors' shapes:", theirs.conforms, "| ours:", ours.conforms)
print("without an agent, with two starts: refused", refused)
ledger.report(
    "ch07.ours.record.shapes",
    theirs.conforms and ours.conforms,
    control=all(refused),
)

# %% [markdown]
# ## Bags
#
# What the robot saw and did is a ROS 2 bag, written without ROS and stamped with simulated time. A
# reader by other people, with which the writer shares no code, must see the same; and the same run
# must give the same bytes.

# %%
runs = sorted((folder / "runs").iterdir())
total, equal = 0, 0
for place in runs:
    first = bags.read(place / "bag")
    second = bags.read_independent(place / "bag")
    n = sum(first.counts.values())
    total += n
    equal += n if not bags.compare(first, second) else 0
print(
    f"{total} messages in {len(runs)} bags, {equal} the same for both readers"
)

# %%
other = folder.parent / "again"
names = ["narrow-noise", "wide-boxes", "middle-blind"]
embedded.run(other, names=names, seeds=(SEED,), jobs=1)
embedded.run(folder.parent / "seeds", names=names, seeds=(SEED + 1,), jobs=1)


def digests(place: Path, seed: int) -> list[str]:
    """Return the digest of each bag of the three runs."""
    found = {e.path: e.sha256 for e in load(place).entities.values()}
    return [found[f"runs/{runner.run_id(n, seed)}/bag"] for n in names]


twice = digests(folder, SEED) == digests(other, SEED)
moved = digests(folder, SEED) != digests(folder.parent / "seeds", SEED + 1)
ledger.report("ch07.ours.record.bags", equal / total)
ledger.report("ch07.ours.record.identical", twice, control=moved)
