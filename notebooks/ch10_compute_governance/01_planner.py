# %% [markdown]
# # The planner
#
# A rule covers clusters above 16 H100-equivalents. How much can be trained on
# many clusters that stay below, and what does it cost? This notebook computes
# the paper's tables from its formulas, then looks at the search that produced
# them. It is a regulator's question throughout: how robust is a threshold.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd

from lib.compute_governance import plots, propositions, tables
from lib.compute_governance.hardware import CHIPS, Node, catalogue
from lib.compute_governance.planner import (
    MODEL_SIZES,
    NODE_LIMIT,
    UNITS,
    Assumptions,
    InfeasibleError,
    Network,
    at_nodes,
    author_search,
    branch_search,
    cheapest,
    exhaustive_search,
    grid_best,
    plan,
    replica_efficiency,
    ties,
)

# %%
from lib.compute_governance.regime import Regime, longest_useful_run
from lib.compute_governance.reliability import (
    Failures,
    goodput,
    renewal_goodput,
    simulate_restarts,
)
from lib.compute_governance.scaling import CI95, FIT, STANDARD_ERRORS
from lib.core import figures, ledger

figures.use()
nodes = catalogue()

# %% [markdown]
# ## The rule
#
# A cluster is covered above a threshold, not at it. The catalogue's nodes are
# the largest of each chip that the rule leaves alone.

# %%
pd.DataFrame(
    {
        "node": [n.name for n in nodes],
        "H100-eq": [round(n.h100_eq, 2) for n in nodes],
        "PFLOP/s": [round(n.flops / 1e15, 3) for n in nodes],
        "GB": [n.mem_gb for n in nodes],
        "fits (10⁹ parameters)": [n.largest_model / 1e9 for n in nodes],
        "chips (1000 $)": [n.chips_usd / 1e3 for n in nodes],
    }
).round(1)

# %%
rule = Regime(mem_gb=16 * CHIPS["H100"].mem_gb)
at, above = Node(CHIPS["H100"], 16), Node(CHIPS["H100"], 17)
ledger.report(
    "ch10.regime.strict",
    not rule.covers(at) and rule.covers(above),
    control=at.h100_eq >= rule.h100_eq and at.mem_gb >= rule.mem_gb,
)
ledger.report(
    "ch10.regime.nodes", [tables.fixed(n.h100_eq, 2) for n in nodes[:9]]
)

# %% [markdown]
# How long may a run take? Longer than $T$ and it would be overtaken by one
# that starts later. Under the agreement everything grows slowly, so $T$ is
# long: regulation lengthens the run that is worth planning.

# %%
slow, fast = (1.06, 1.50, 1.03), (1.37, 3.0, 3.5)
days = longest_useful_run(*slow)
plain = 365.25 / sum(g - 1 for g in slow)
ledger.report("ch10.window.regulated", days, control=abs(plain - days) > 1)
ledger.report(
    "ch10.window.unregulated", longest_useful_run(*fast) / 365.25 * 12
)

# %% [markdown]
# ## One plan, with every intermediate
#
# Two nodes, each with a copy of the model, average their changes once in
# $H$ steps. Everything that follows is this computation for many plans.

# %%
two = plan(Node(CHIPS["H100"], 16, "FP8"), 2, 91e9)
values = [f"{np.asarray(getattr(two, key)).item():.5g}" for key in UNITS]
pd.DataFrame({"quantity": list(UNITS), "value": values, "unit": UNITS.values()})

# %% [markdown]
# ## Table 1: the published search
#
# For every node type the number of nodes is bisected; at each the best model
# and mode is taken.

# %%
published = {key: author_search(t, nodes) for key, t in tables.TARGETS.items()}


def overview(plans):
    keys = ["n", "params", "h", "eta", "chi", "c_local", "c_quality"]
    frames = [p.frame(*keys, "overtraining", "cost_usd") for p in plans]
    table = pd.concat(frames, ignore_index=True)
    return table.map(lambda x: f"{x:.4g}" if isinstance(x, float) else x)


overview(published.values())

# %%
for key, found in published.items():
    id = f"ch10.table1.{key}"
    labels = ties(found, tables.TARGETS[key])
    ledger.report(f"{id}.plan", tables.among_ties(f"{id}.plan", labels))
    ledger.report(f"{id}.numbers", tables.row_numbers(found))
    ledger.report(f"{id}.outcome", tables.row_outcome(found))

# %% [markdown]
# Every printed digit comes out. What the formulas leave open (group sizes, the
# 72 model sizes, which replicas are counted) is settled in the module's
# docstring. One thing cannot be settled: in the row of $10^{25}$ the flat and
# some hierarchical plans have exactly the same numbers, and which of them is
# printed is a matter of the last bit.

# %%
len(MODEL_SIZES), ties(published["c1e25"], 1e25)

# %% [markdown]
# ## Tables 2 and 3: bandwidth and latency

# %%
by_network = {
    key: author_search(1e25, nodes, network=network)
    for key, network in tables.NETWORKS.items()
}
overview(by_network.values())

# %%
for key, found in by_network.items():
    id = f"ch10.table2.{key}"
    labels = ties(found, 1e25, network=tables.NETWORKS[key])
    ledger.report(f"{id}.plan", tables.among_ties(f"{id}.plan", labels))
    ledger.report(
        f"{id}.numbers",
        tables.row_numbers(found) + tables.row_outcome(found)[1:],
    )

# %%
late = [
    author_search(1e25, nodes, network=Network(latency_s=s))
    for s in (*tables.LATENCIES, 10.0)
]
rows = [tables.row_numbers(found) for found in late]
same = all(row == rows[0] for row in rows[:-1])
ledger.report(
    "ch10.table3.plan",
    "identical" if same else "different",
    control=rows[-1] != rows[0],
)
ledger.report(
    "ch10.table3.cost",
    [tables.printed_cost(f.value("cost_usd")) for f in late[:-1]],
)

# %% [markdown]
# ## The two figures
#
# Six node types; at each count the plan with the most compute by the metric.

# %%
counts = [2**k for k in range(14)]
shown = [nodes[i] for i in (9, 10, 11, 0, 4, 6)]
curves, below, ratios = {}, [], []
for node in shown:
    grid = at_nodes([node], counts)
    tops = [grid_best(grid, m) for m in ("c_local", "c_quality")]
    curves[node.name] = (tops[0].c_local, tops[1].c_quality)
    below += [(top.c_quality <= top.c_local).all() for top in tops]
    ratios.append(grid.chi_free[grid.admissible & (grid.n > 1)].max())
figures.show(
    plots.nodes_figure(counts, curves, list(tables.TARGETS.values())),
    alt="Two log-log panels of compute against nodes for six node types; the "
    "left curves have dents, the right ones flatten.",
    caption="Best compute at each node count, 100 Mbit/s. Look at the dents on "
    "the left: more nodes, less compute. Grey: the targets of Table 1.",
)

# %%
ledger.report("ch10.figures.order", bool(all(below)))
ledger.report("ch10.ours.chi.clip", max(ratios))

# %% [markdown]
# The quality factor is cut off at 1 in the published functions. Within the
# admitted overtraining it never gets there, so the cut-off changes nothing.
#
# ## Bisection needs monotony, and there is none
#
# The dents are our first finding. A plan is admitted only up to 100 times the
# reference tokens. At many nodes the small models are over that, and models
# too large for a node have to be pipelined over the network, which is slow. So
# a bisection that starts at 100,000 nodes sees pipelines only.

# %%
h100 = [Node(CHIPS["H100"], 16, "FP8")]
line = np.arange(2, 3_001)
best = grid_best(at_nodes(h100, line), "c_local")
dips = [64, 156, 200]
at_dips = grid_best(at_nodes(h100, dips), "c_local").c_local
free = Assumptions(overtraining=(1.0, 1e9))
unbound = grid_best(at_nodes(h100, dips, assumptions=free), "c_local").c_local
ledger.report(
    "ch10.ours.search.nonmonotone",
    [tables.significant(c, d) for c, d in zip(at_dips, (3, 3, 2), strict=True)],
    control=bool((np.diff(unbound) > 0).all()),
)

# %%
target = 2.1e25
reach = np.zeros(NODE_LIMIT, dtype=bool)
reach[line - 1] = best.c_local >= target
reach[line[-1] :] = True  # every count beyond the picture reaches it
first, probes = propositions.bisect_first(reach)
figures.show(
    plots.island_figure(
        best, [p + 1 for p in probes], first + 1, int(np.argmax(reach)) + 1
    ),
    alt="Best compute against nodes rises, falls by three quarters where small "
    "models are no longer admitted, and rises again with pipelines.",
    caption="16 H100 FP8 a node. The bisection for 2.1e25 FLOP looks at the "
    "ticks (the first ones lie further right) and ends far beyond the first count "
    "that is enough.",
)

# %% [markdown]
# Each combination of node type, mode and model, taken by itself, does have a
# structure: compute grows with the nodes and the share that is kept falls. Then
# one can leap from below without ever jumping over the smallest count (see the
# {doc}`theory </book/ch10_compute_governance/theory>`). The same model, the
# same rules, another search:

# %%
exact = {key: branch_search(t, nodes) for key, t in tables.TARGETS.items()}
overview(exact.values())

# %%
costs = pd.DataFrame(
    {
        "target": list(tables.TARGETS.values()),
        "author": [p.value("cost_usd") for p in published.values()],
        "branch": [p.value("cost_usd") for p in exact.values()],
    }
)
figures.show(
    plots.search_figure(costs),
    alt="Cost of both searches for seven targets; four pairs differ, two of "
    "them by a factor of two.",
    caption="Cheapest plans under the same published model. The published "
    "search overstates the cost of 3.8e25 and 6.6e25 FLOP by a factor of two.",
)

# %%
lowest = list(tables.TARGETS)[:5]
agree, differ = [], []
for key in lowest:
    ours = exact[key].value("cost_usd")
    base = Assumptions()
    unit = min(n.chips_usd for n in nodes) * base.server * base.cluster
    full = exhaustive_search(
        tables.TARGETS[key], nodes, limit=int(ours / unit) + 1
    ).value("cost_usd")
    agree.append(full == ours)
    differ.append(full < published[key].value("cost_usd"))

# %%
ledger.report(
    "ch10.ours.search.costs",
    [tables.printed_cost(c) for c in costs["branch"]],
    control=bool((costs["author"] > costs["branch"]).any()),
)
ledger.report(
    "ch10.ours.search.nodes", [int(p.value("n")) for p in exact.values()]
)
ledger.report("ch10.ours.search.exhaustive", all(agree), control=any(differ))

# %% [markdown]
# This is a finding about the published simulator's functions, from which the
# paper's tables come out digit for digit. It does not weaken the paper's
# conclusion. It strengthens it: training below the threshold is cheaper than
# the tables say.
#
# ## Bandwidth again
#
# The largest difference is at the slow end: the published search finds a
# pipeline where models that fit a node would do.

# %%
mbps = np.array(tables.decades(10, 1_000, 9))
pairs = [
    [
        cheapest(1e25, nodes, search=s, network=Network.mbps(m)).value(
            "cost_usd"
        )
        for s in ("author", "branch")
    ]
    for m in mbps
]
by_rate = pd.DataFrame(pairs, columns=["author", "branch"]).assign(mbps=mbps)
marks = {
    name: (tables.NETWORKS[key].up_bps / 1e6, by_network[key].value("cost_usd"))
    for name, key in (("China average", "china"), ("US average", "us"))
}

# %%
figures.show(
    plots.bandwidth_figure(by_rate, marks),
    alt="Cost against bandwidth: the published search shoots up below 30 Mbit/s, "
    "the branch-wise one bends gently.",
    caption="Most of the published cliff below 30 Mbit/s is the search.",
)
slow_ratios = {
    key: by_network[key].value("cost_usd")
    / branch_search(1e25, nodes, network=network).value("cost_usd")
    for key, network in tables.NETWORKS.items()
}
pd.Series(slow_ratios).round(2).to_frame("published over branch-wise cost")

# %%
steep, gentle = (
    by_rate["author"].iloc[0] / by_rate["author"].iloc[4],
    by_rate["author"].iloc[4] / by_rate["author"].iloc[-1],
)
ledger.report("ch10.bandwidth.elbow", "elbow" if steep > gentle else "no elbow")
ledger.report("ch10.ours.search.bandwidth", min(slow_ratios.values()))
ledger.report("ch10.ours.search.ten_mbps", slow_ratios["b10m"])

# %% [markdown]
# ## The memory cap: which metric?
#
# The proposed amendment also covers clusters with more than 1,280 GB. Two ways
# to read it: only nodes of the catalogue that stay below may be used, or every
# chip's node is made smaller until it does (as the repository's own comparison
# does). And two metrics.

# %%
lists = {
    "none": nodes,
    "catalogue": rule.allowed(nodes),
    "smaller": rule.shrink(nodes),
}
cases = [("c_local", 1e25), ("c_local", 2.1e25), ("c_quality", 1e25)]
cases.append(("c_quality", 3e24))
cap = {
    (metric, goal, how, who): cheapest(goal, some, metric=metric, search=who)
    for metric, goal in cases
    for how, some in lists.items()
    for who in ("author", "branch")
}

# %%
usd = pd.Series({key: found.value("cost_usd") for key, found in cap.items()})
rise = usd.unstack(2)  # noqa: PD010
rise = rise.div(rise["none"], axis=0).drop(columns="none") * 100 - 100
rise.index.names = ["metric", "target", "search"]
rise.round(0)


# %%
def published_rise(metric):
    return rise.loc[(metric, 1e25, "author"), "smaller"]


ledger.report("ch10.memcap.cost.local", published_rise("c_local"))
ledger.report("ch10.memcap.cost.quality", published_rise("c_quality"))
many, few = (
    cap["c_quality", 1e25, how, "author"].value("n")
    for how in ("smaller", "none")
)
ledger.report("ch10.memcap.nodes", many / few)

# %%
tight = Regime(mem_gb=rule.mem_gb / 2).allowed(nodes)
harder = branch_search(1e25, tight).value("cost_usd")
ledger.report(
    "ch10.ours.memcap.metric",
    [
        round(rise.loc[(metric, goal, "branch"), "catalogue"])
        for metric, goal in cases
    ],
    control=harder > usd["c_local", 1e25, "none", "branch"],
)

# %% [markdown]
# On C_local, the metric of the tables, the cap costs nothing: a node of 16 H100
# is below it and was the cheapest choice anyway. On C_quality it matters, and
# more than "roughly 50 %": a model that small, trained that long, is worth
# less, and the large-memory nodes that would avoid it are what the cap takes
# away. The policy conclusion hangs on the metric.

# %%
goals = tables.decades(1e24, 2e25, 9)
both = []
for metric in ("c_local", "c_quality"):
    for goal in goals:
        free_usd, capped_usd = (
            branch_search(goal, some, metric=metric).value("cost_usd")
            for some in (nodes, lists["smaller"])
        )
        title = {"c_local": "C_local", "c_quality": "C_quality"}[metric]
        both.append((title, goal, free_usd, capped_usd))
columns = ["metric", "target", "free", "capped"]
figures.show(
    plots.cap_figure(pd.DataFrame(both, columns=columns)),
    alt="Cost against target with and without the cap: the lines coincide for "
    "C_local and part for C_quality.",
    caption="The memory cap bites on C_quality only.",
)

# %% [markdown]
# ## The size of a node
#
# The tables pin every node at the threshold. But $H$ is proportional to a
# node's speed over its bandwidth: a smaller node has to average less rarely for
# each operation. Up to a point smaller nodes are *cheaper*, and they are below
# every threshold.

# %%
size = []
for title, metric in (("C_local", "c_local"), ("C_quality", "c_quality")):
    for chip in ("GH200", "H100"):
        for count in (1, 2, 4, 6, 8, 12, 16):
            some = [Node(CHIPS[chip], count, "FP8")]
            try:
                found = branch_search(1e25, some, metric=metric)
            except InfeasibleError:
                continue
            size.append((title, chip, count, found.value("cost_usd")))
columns = ["metric", "chip", "count", "cost_usd"]
figures.show(
    plots.node_size_figure(pd.DataFrame(size, columns=columns)),
    alt="Cost against chips a node for two chips and two metrics.",
    caption="C_local is cheapest on nodes of four GH200, well below every "
    "threshold. The jumps to the left are where the largest model that fits is "
    "overtrained and a pipeline takes over. On C_quality large nodes pay.",
)

# %%
eight = branch_search(1e25, [Node(CHIPS["GH200"], 8, "FP8")])
ledger.report(
    "ch10.ours.nodesize",
    [int(eight.value("n")), tables.printed_cost(eight.value("cost_usd"))],
)

# %% [markdown]
# ## What takes the compute

# %%
figures.show(
    plots.decomposition_figure(
        {
            f"{tables.TARGETS[key]:.2g}": found
            for key, found in published.items()
        }
    ),
    alt="Stacked bars of halvings for the seven rows of Table 1; the replica "
    "factor dominates in the middle rows.",
    caption="Each factor of η in halvings of the compute spent, and χ beside "
    "it. Averaging many replicas is what costs; compression hardly shows.",
)

# %% [markdown]
# ## Failures
#
# The repository's failure table, for nodes of 50 A100 and a model of 250
# billion parameters over a year and a half.

# %%
year_and_half = 1.5 * 365.25 * 24
a100 = Node(CHIPS["A100 80GB"], 50)
sizes = [72, 625, 4_000]
chips = [n * a100.count for n in sizes]
write_h = Failures().checkpoint_h(250e9, a100.bytes_per_param)


def shares(name, many=chips):
    return np.array([goodput(name, g, year_and_half, write_h) for g in many])


modes = ("none", "synchronous", "checkpoint_elastic", "async", "relay")
pd.DataFrame(
    {name: (100 * shares(name)).round(3) for name in modes}, index=chips
).rename_axis("chips")

# %%
ledger.report(
    "ch10.failures.mtbf",
    [tables.fixed(1 / (g * Failures().rate), 1) for g in chips],
)
for key, name in zip(
    ("none", "synchronous", "elastic", "async"), modes, strict=False
):
    printed = [tables.fixed(100 * s, 1) for s in shares(name)]
    if key == "none":  # printed with one digit
        printed = [tables.significant(100 * s, 1) for s in shares(name)]
    ledger.report(f"ch10.failures.goodput.{key}", printed)
calm = [shares(name) for name in ("relay", "threshold", "backup_workers")]
ledger.report("ch10.failures.goodput.relay", 100 * np.min(calm))

# %%
slowed = Assumptions(window_s=year_and_half * 3_600, overtraining=(1e-3, 1e3))
local, spread, over = [], [], []
for n, u in zip(sizes, shares("relay"), strict=True):
    calm = plan(a100, n, 250e9, assumptions=slowed)
    failing = plan(a100, n, 250e9, assumptions=replace(slowed, goodput=u))
    local.append(tables.significant(failing.value("c_local"), 3))
    spread.append(100 * (1 - failing.value("c_local") / calm.value("c_local")))
    over.append(calm.value("overtraining"))
ledger.report("ch10.failures.clocal", local)
ledger.report(
    "ch10.failures.unchanged",
    max(spread),
    control=bool((shares("synchronous") < shares("relay")).all()),
)
ledger.report("ch10.failures.inflation", [round(1 / s) for s in shares("none")])

# %% [markdown]
# The last column of that table trains beyond the paper's own bound on
# overtraining (the third number is above 100):

# %%
np.round(over, 1)

# %% [markdown]
# The formula for restarting the whole cluster subtracts losses that are linear
# in the failure rate, which is right while they are small. As a renewal process
# (work, fail, recover, repeat) the same assumptions give five times the goodput
# at 200,000 chips.

# %%
SEED = 20_260_525
rng = np.random.default_rng(SEED)
rate = chips[-1] * Failures().rate
every = np.sqrt(2 * write_h / rate)
hours = (write_h, Failures().recovery_h, every)
closed = renewal_goodput(rate, *hours)
mean, error = simulate_restarts(rate, *hours, segments=100_000, rng=rng)
off, _ = simulate_restarts(2 * rate, *hours, segments=100_000, rng=rng)
ledger.report(
    "ch10.ours.failures.renewal",
    100 * closed,
    control=abs(mean - closed) < 4 * error < abs(off - closed),
)

# %%
many = np.array(tables.decades(1_000, 1_000_000, 31))
renewal, dots = [], []
for g in many:
    r = g * Failures().rate
    step = np.sqrt(2 * write_h / r)
    renewal.append(renewal_goodput(r, write_h, Failures().recovery_h, step))
for g in many[::5]:
    r = g * Failures().rate
    step = np.sqrt(2 * write_h / r)
    h = (write_h, Failures().recovery_h, step)
    dots.append((g, *simulate_restarts(r, *h, segments=2_000, rng=rng)))
named = {"restart, renewal (ours)": np.array(renewal)} | {
    label: shares(name, many.astype(int))
    for label, name in (
        ("restart, published", "synchronous"),
        ("elastic, published", "checkpoint_elastic"),
        ("asynchronous, published", "async"),
        ("relay, published", "relay"),
    )
}

# %%
figures.show(
    plots.failures_figure(
        many, named, pd.DataFrame(dots, columns=["chips", "goodput", "error"])
    ),
    alt="Goodput against chips: the published restart line falls to zero, the "
    "renewal line and the simulated points fall slowly.",
    caption="Restarting everything is bad at scale, but not as bad as the "
    "linear formula says. Points: simulation with 95 % intervals.",
)

# %% [markdown]
# ## From loss to compute
#
# Near the floor of the loss a small change of it is worth much compute. The
# repository works an example: 250 billion parameters, 72 replicas, $H=200$.

# %%
params = np.array([1e9, 1e10, 72e9, 250e9, 1e12])
loss = FIT.loss(params, 25.6 * params)
share = 100 * (loss - FIT.E) / loss
big = 250e9
m = Assumptions().replica_multiplier(72, big, 200)


def kept(law):
    return float(replica_efficiency(law, big, 25.6 * big, m))


pairs = [(0.25, 0.27), (0.31, 0.33), (0.348, 0.366), (0.40, 0.42)]
penalties = [100 - 100 * kept(replace(FIT, alpha=a, beta=b)) for a, b in pairs]
floors = [kept(replace(FIT, E=e)) for e in (1.50, 1.69, 1.82, 2.00)]

# %%
ledger.report("ch10.amplification.loss", [tables.fixed(x, 2) for x in loss])
ledger.report(
    "ch10.amplification.share",
    [tables.fixed(x, 0 if x >= 10 else 1) for x in share],
)
ledger.report("ch10.amplification.multiplier", float(m))
ledger.report("ch10.amplification.penalty", 100 - 100 * kept(FIT))
ledger.report("ch10.amplification.e", [tables.fixed(x, 3) for x in floors])
ledger.report("ch10.amplification.alpha", penalties)
same_loss = FIT.effective_compute(FIT.loss(big, 25.6 * big) * m)
ledger.report(
    "ch10.amplification.size", float(FIT.allocate(same_loss)[0]) / 1e9
)

# %%
half = CI95 * STANDARD_ERRORS["alpha"]
ends = [tables.fixed(FIT.alpha + s * half, 2) for s in (-1, 1)]
ledger.report(
    "ch10.amplification.ci",
    [100 - 100 * kept(replace(FIT, alpha=a, beta=a + 0.02)) for a in ends],
)
alphas = np.linspace(0.22, 0.44, 45)
curve = [1 - kept(replace(FIT, alpha=a, beta=a + 0.018)) for a in alphas]
figures.show(
    plots.amplification_figure(
        alphas, np.array(curve), (FIT.alpha - half, FIT.alpha + half), FIT.alpha
    ),
    alt="The penalty rises from 15 % to almost 100 % as α goes from 0.22 to "
    "0.44.",
    caption="One and the same loss of 1.6 % costs between a half and nearly "
    "all of the compute within the error of one exponent. The published upper "
    "end, 98 %, belongs to α = 0.40, just outside of the interval.",
)

# %% [markdown]
# The reference allocation, 25.6 tokens a parameter, is not where the quoted
# loss is smallest. The gap is small.

# %%
budgets = np.array([1e23, 1e24, 1e25, 1e26])
n_best, d_best = FIT.allocate(budgets, "exact")
gap = FIT.loss(*FIT.allocate(budgets)) - FIT.loss(n_best, d_best)
ledger.report(
    "ch10.ours.allocation.ratio",
    [tables.fixed(x, 1) for x in d_best / n_best],
)
ledger.report("ch10.ours.allocation.gap", float(gap.max()))

# %% [markdown]
# ## The propositions, checked

# %%
gh200 = Node(CHIPS["GH200"], 16, "FP8")
flat_spread = propositions.interval_spread(gh200, 34, Network(latency_s=0.0))
late_spread = propositions.interval_spread(gh200, 34, Network())
ledger.report(
    "ch10.ours.prop.interval",
    0.0 if flat_spread < 1e-12 else flat_spread,
    control=late_spread > 0.01,
)
multipliers = np.linspace(1.0, 1.5, 51)
ledger.report(
    "ch10.ours.prop.replica",
    propositions.replica_violations(multipliers) == 0,
    control=propositions.replica_violations([0.999, 1.0]) > 0,
)
wrong = propositions.amplification_error(
    lambda x: FIT.amplification(x) * (x - FIT.E) / x
)
found = propositions.amplification_error()
ledger.report(
    "ch10.ours.prop.amplification",
    0.0 if found < 1e-6 else found,
    control=wrong > 0.1,
)

# %%
split = propositions.smaller_nodes(
    CHIPS["GH200"], (1, 2, 4, 8, 16), 64, 10e9, "FP8"
)
ledger.report(
    "ch10.ours.prop.links",
    bool((np.diff(split["h"]) >= 0).all() and np.ptp(split["product"]) == 0),
)
trials = propositions.bisection_trials(2_000, 64, np.random.default_rng(SEED))
print(trials, propositions.efficiency_rises())
right = trials["misses_upset"] == 0 and trials["disagree"] == 0
ledger.report(
    "ch10.ours.prop.bisection", right, control=trials["misses_any"] > 0
)
