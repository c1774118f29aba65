# %% [markdown]
# # Countermeasures
#
# What can a regulator notice about a plan, how probable is it that somebody
# does, and what do tighter thresholds cost whom? The paper rates six measures
# in words and gives no rates. **No rate in this notebook is measured.** Each
# is an assumption with a prior of two to five decades, and what counts is
# which conclusions hold under all of them.

# %%
import numpy as np
import pandas as pd
from scipy.stats import binomtest

from lib.compute_governance import plots_governance as plots
from lib.compute_governance import propositions
from lib.compute_governance.detection import (
    CHANNELS,
    PRIORS,
    draw_rates,
    hazards,
    inspection_sample,
    median_rates,
    p_detect,
    p_inspection,
    predictive_value,
    simulate_detection,
)
from lib.compute_governance.exposure import cost_curves, exposure, frontier
from lib.compute_governance.hardware import catalogue
from lib.compute_governance.interactive import cost_explorer
from lib.compute_governance.planner import Network, branch_search, cheapest

# %%
from lib.compute_governance.regime import LEGITIMATE, Regime
from lib.compute_governance.tables import decades
from lib.core import figures, ledger

figures.use()
nodes = catalogue()
SEED, DRAWS = 20_260_528, 20_000

# %% [markdown]
# ## What a plan exposes
#
# Sites, people, chips, money and time. People are an assumption: twenty who
# know in any case, and half a person a site.

# %%
plans = {
    "1e24, rule of 16": branch_search(1e24, nodes),
    "1e25, rule of 16": branch_search(1e25, nodes),
    "1e25, rule of 4": branch_search(1e25, Regime(4.0).shrink(nodes)),
    "1e26, rule of 16": branch_search(1e26, nodes),
}
seen = {name: exposure(found) for name, found in plans.items()}
pd.DataFrame(
    {
        name: {**vars(one), "node_days": one.node_days}
        for name, one in seen.items()
    }
).T.map(lambda x: f"{x:,.4g}")

# %%
pd.DataFrame(
    {
        "rate": list(PRIORS),
        "from": [p.low for p in PRIORS.values()],
        "to": [p.high for p in PRIORS.values()],
        "scale": ["log" if p.log else "plain" for p in PRIORS.values()],
    }
)

# %% [markdown]
# ## Two closed forms, simulated
#
# Channels that do not know of each other give $1-e^{-\Lambda}$. If some runs
# are harder to notice than others in every way, a shared Gamma factor of
# variance $\theta$ gives $1-(1+\theta\Lambda)^{-1/\theta}$, which is smaller.

# %%
rng = np.random.default_rng(SEED)
middle = median_rates()
scores, missing, ignored = [], [], []
for one in seen.values():
    hazard = hazards(one, middle)
    for theta in (0.0, 1.0):
        share, error = simulate_detection(hazard, 200_000, rng, frailty=theta)
        gap = (share - p_detect(hazard, frailty=theta)) / error
        scores.append((theta, abs(float(gap))))
        wrong = hazard[1:] if hazard[0] > hazard[1] else hazard[[0, 2, 3]]
        missing.append(abs(float((share - p_detect(wrong)) / error)))
        ignored.append(abs(float((share - p_detect(hazard)) / error)))

# %%
worst = {t: max(z for theta, z in scores if theta == t) for t in (0.0, 1.0)}
ledger.report(
    "ch10.ours.detection.independent",
    worst[0.0],
    control=max(missing[::2]) > 10,
    digits=3,
)
ledger.report(
    "ch10.ours.detection.frailty",
    worst[1.0],
    control=max(ignored[1::2]) > 10,
    digits=3,
)

# %% [markdown]
# ## Over the priors

# %%
rates = draw_rates(DRAWS, rng)
over = {name: hazards(one, rates) for name, one in seen.items()}
chance = {
    name: {
        "independent": p_detect(h),
        "shared factor, θ = 1": p_detect(h, frailty=1.0),
    }
    for name, h in over.items()
}
figures.show(
    plots.detection_figure(chance),
    alt="Intervals of the probability of detection for four plans: low for "
    "1e24, from near 0 to near 1 for 1e25, close to 1 for 1e26.",
    caption="5 to 95 % (thin), quartiles (thick) and median over priors that "
    "are assumptions. For small plans anything can be argued; a run of 1e26 "
    "FLOP on thousands of sites is hard to hide under any of them.",
)

# %%
shares = pd.DataFrame(
    {
        name: np.bincount(h.argmax(axis=1), minlength=4) / DRAWS
        for name, h in over.items()
    },
    index=CHANNELS,
).T
figures.show(
    plots.leader_figure(shares),
    alt="Stacked shares of four channels for four plans; the leading channel "
    "differs between draws and plans.",
    caption="Which channel has the largest hazard depends on rates that nobody "
    "knows. Insiders weigh more in small plans, sites in large ones.",
)


# %%
def share_of(events):
    """Share of the draws, with its exact 95 % Monte Carlo interval."""
    test = binomtest(int(np.sum(events)), len(events))
    return float(np.mean(events)), tuple(test.proportion_ci())


def leads(hazard):
    leader = hazard.argmax(axis=1)
    return leader == np.bincount(leader).argmax()


alone = {name: p_detect(h) for name, h in over.items()}
smaller = alone["1e25, rule of 4"] >= alone["1e25, rule of 16"]
scale = alone["1e26, rule of 16"] >= alone["1e24, rule of 16"]
leader = leads(over["1e25, rule of 16"])
fixed = np.tile(hazards(seen["1e25, rule of 16"], middle), (DRAWS, 1))

# %%
ledger.report("ch10.ours.conclusions.smaller", *share_of(smaller), digits=3)
ledger.report("ch10.ours.conclusions.scale", *share_of(scale), digits=3)
ledger.report(
    "ch10.ours.conclusions.leader",
    *share_of(leader),
    control=bool(leads(fixed).mean() > 0.95),
    digits=3,
)

# %% [markdown]
# What survives every prior: more compute means more exposure. What does not:
# that a lower threshold makes the run easier to notice. It makes more sites,
# but on C_local also a cheaper plan with fewer chips, and where chip audits or
# money lead, that is less exposed. No channel leads throughout.
#
# ## Inspections
#
# A random inspection of $n$ of $N$ places with accelerators meets at least one
# of $K$ hidden nodes with the hypergeometric probability.


# %%
def with_replacement(population, hidden, inspected):
    return 1 - (1 - hidden / population) ** inspected


ledger.report(
    "ch10.ours.prop.inspection",
    all(propositions.inspection_agrees(n) for n in range(1, 8)),
    control=float(p_inspection(7, 3, 3)) != with_replacement(7, 3, 3),
)
hidden = int(plans["1e25, rule of 16"].value("n"))
tried = np.unique(np.geomspace(1, 2_000, 60).astype(int))
drawn = {
    f"{n:,} places": (tried, [float(p_inspection(n, hidden, k)) for k in tried])
    for n in (2_000, 10_000, 100_000)
}

# %%
figures.show(
    plots.inspection_figure(drawn),
    alt="Probability of meeting a node against inspections for three numbers of "
    "places.",
    caption="A plan of 36 nodes for 1e25 FLOP. Line: 95 %. The number of "
    "inspections grows in proportion to the places that have to be considered.",
)
{f"{n:,}": inspection_sample(n, hidden, 0.95) for n in (2_000, 10_000, 100_000)}

# %% [markdown]
# ## Watching all traffic
#
# The paper rejects monitoring of all networks for its base rate. That much
# follows from Bayes' rule alone: even if every node is seen and only one
# harmless link in a thousand raises an alarm, hardly an alarm is true.

# %%
links = 1_000_000
base = 72 / links
ledger.report(
    "ch10.isp.base_rate",
    float(predictive_value(base, 1.0, 0.999)),
    control=float(predictive_value(0.5, 1.0, 0.999)) > 0.9,
)
ledger.report(
    "ch10.ours.prop.ppv",
    propositions.ppv_within_bound(np.linspace(0.02, 0.98, 25)),
)

# %%
prevalence = np.geomspace(1e-7, 0.5, 120)
lines = {
    f"specificity {s}": predictive_value(prevalence, 0.9, s)
    for s in (0.99, 0.999, 0.9999, 0.99999)
}
figures.show(
    plots.ppv_figure(prevalence, lines, [base, 0.1]),
    alt="Predictive value against prevalence for four specificities, straight "
    "lines of slope one that bend at 1.",
    caption="Sensitivity 0.9. Left mark: 72 links in a million, all networks. "
    "Right mark: one suspicious site in ten, as when sites are chosen for other "
    "reasons. The same detector is useless at one and useful at the other.",
)

# %% [markdown]
# ## Whom a lower threshold burdens
#
# The repository counts fourteen kinds of legitimate systems.

# %%
pd.DataFrame(
    {
        "system": [s.name for s in LEGITIMATE],
        "H100-eq": [round(s.h100_eq, 2) for s in LEGITIMATE],
        "GB": [s.mem_gb for s in LEGITIMATE],
    }
)

# %%
limits = (16.0, 8.0, 4.0, 2.0, 1.0)
ledger.report("ch10.burden.compute", [Regime(t).burden() for t in limits])
memory = [Regime(1e9, mem_gb).burden() for mem_gb in (2_000, 1_000, 512, 256)]
ledger.report("ch10.burden.memory", memory)

# %% [markdown]
# And what does it buy? As the repository does it, each chip's node is made as
# large as the threshold allows.

# %%
price = {
    metric: np.array(
        [
            branch_search(1e25, Regime(t).shrink(nodes), metric=metric).value(
                "cost_usd"
            )
            for t in limits
        ]
    )
    for metric in ("c_local", "c_quality")
}
relative = {metric: usd[1:] / usd[0] for metric, usd in price.items()}
pd.DataFrame(relative, index=limits[1:]).round(2)

# %%
ledger.report("ch10.threshold.cost", relative["c_local"].tolist())
ledger.report("ch10.ours.threshold.quality", relative["c_quality"].max())
slow, usual = Network.mbps(10), Network()
ledger.report(
    "ch10.ours.caps",
    [
        cheapest(1e25, nodes, search=s, network=slow).value("cost_usd")
        / cheapest(1e25, nodes, search=s, network=usual).value("cost_usd")
        for s in ("author", "branch")
    ],
)

# %% [markdown]
# An earlier version of the model, without the replica penalty, found the cost
# flat down to a single H100. In the model of the tables it first *falls* (a
# smaller node is cheaper, see the first notebook) and doubles at two.
#
# ## The frontier
#
# Every pair of a compute and a memory threshold has a cost for the cheapest
# plan that stays below, and a burden. Here a rule leaves every node that it does
# not cover, so that a tighter rule can never make things cheaper.

# %%
memories = (None, 1_280.0, 1_000.0, 640.0, 512.0, 256.0)
grids = {
    title: frontier(1e25, nodes, limits, memories, metric=metric)
    for title, metric in (("C_local", "c_local"), ("C_quality", "c_quality"))
}
figures.show(
    plots.frontier_figure(grids),
    alt="Cost against burden, two panels; on C_quality a memory threshold of "
    "1,000 GB more than doubles the cost without burden.",
    caption="Pairs of thresholds; the step is the frontier. On C_quality most "
    "of what can be had is had at no burden, by memory alone.",
)

# %%
best = grids["C_quality"]
best[best["efficient"]].drop_duplicates(["burden", "cost_usd"]).assign(
    cost=lambda t: (t["cost_usd"] / 1e6).round(1)
)[["h100_eq", "mem_gb", "burden", "cost", "plan", "sites"]]

# %%
bare = best[np.isinf(best["mem_gb"])].set_index("h100_eq")["cost_usd"]
ledger.report("ch10.ours.frontier.four", bare[4.0] / bare[16.0])

# %% [markdown]
# ## The published ratings, and what a model can say
#
# | measure | non-state | state | what this notebook adds |
# |---|---|---|---|
# | lower compute threshold | low to medium | none | cheaper at 4 on C_local; doubles on C_quality |
# | memory threshold | low to medium | none | no burden down to 640 GB; doubles cost on C_quality only |
# | bandwidth caps | none | none | a factor of four at 10 Mbit/s, ninety in the published search |
# | chip tracking | medium to high | low | leads in one draw of six |
# | whistleblowing | medium to high | not rated | leads in small plans; one anchor for the rate |
# | financial monitoring | not rated | medium | leads in one draw of eight |
# | attestation | high | low | nothing: no rate to assume |
# | watching all networks | rejected | rejected | follows from the base rate alone |
#
# The ratings are the author's. The last column holds under the priors above,
# which are ours.

# %% [markdown]
# ## To play with
#
# Every point is a branch-wise search. Move the threshold on C_local and
# the curve hardly moves down to 4. Then do the same on C_quality.

# %%
explored = cost_curves(
    decades(1e24, 1e26, 9),
    nodes,
    (16, 8, 4, 2, 1),
    decades(10, 1_000, 5),
)
figures.show_chart(
    cost_explorer(explored),
    alt="Cost against target for a threshold and a bandwidth chosen by sliders, "
    "beside the usual case.",
    caption="Cheapest uncovered plan. Grey: 16 H100-equivalents, 100 Mbit/s. "
    "A curve ends where no plan reaches the target.",
)
