# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Framework and proofs
#
# What is a *better* prediction model, and why should it make an auction better? This notebook builds
# the setting on six users, shows the two ideas behind every positive result as pictures, and runs
# the checks of the proofs. The proofs themselves are on the
# {doc}`theory page </book/ch01_autobidding/theory>`.

# %%
from fractions import Fraction
from functools import partial

import pandas as pd
from IPython.display import display

from lib.autobidding.bidders import Bidder
from lib.autobidding.equilibrium import (
    best_response,
    equilibria_2p,
    is_equilibrium,
)
from lib.autobidding.filtrations import Filtration
from lib.autobidding.market import CalibrationError, Market, check_refinement
from lib.autobidding.mechanism import outcome
from lib.autobidding.programmes import lift, lp_benchmark
from lib.autobidding.study.constructions import B2, SPLIT
from lib.autobidding.study.figures import (
    filtration_figure,
    jensen_figure,
    lifting_figure,
)
from lib.autobidding.study.instances import count_changes, top_value
from lib.autobidding.study.proofs import check_all
from lib.core import figures, ledger

figures.use()

# %% [markdown]
# ## Six users, two advertisers
#
# Each user converts with some probability if shown the ad of a shoe shop, and with another if shown
# that of a book shop. Nobody knows these numbers for a single user. (They are made up here.)

# %%
users = pd.DataFrame(
    {
        "device": ["phone", "phone", "phone", "laptop", "laptop", "laptop"],
        "visits": ["new", "new", "back", "new", "back", "back"],
        "shoes": ["0.10", "0.20", "0.60", "0.05", "0.15", "0.10"],
        "books": ["0.20", "0.10", "0.15", "0.30", "0.40", "0.60"],
    }
)
users

# %% [markdown]
# A **model** puts users into clusters and predicts, for each, the mean of its cluster. Knowing the
# device splits everyone in two; knowing the visits too splits further. Each model *refines* the one
# before. The library checks that it does, and keeps all numbers as fractions.

# %%
everyone = Market.exact([1] * 6, users[["shoes", "books"]].to_numpy())
device = pd.factorize(users["device"])[0]
both = pd.factorize(users["device"] + " " + users["visits"])[0]
models = Filtration(everyone, [[0] * 6, device, both, range(6)])
models.n_clusters

# %%
names = ["no feature", "device", "device and visits", "every user apart"]
pd.concat(
    {
        name: pd.DataFrame(
            market.to_float().predictions,
            columns=["shoes", "books"],
            index=market.weights,
        )
        for name, market in zip(names, models.markets, strict=True)
    },
    names=["model", "users in the cluster"],
).round(4)

# %%
figures.show(
    filtration_figure(everyone, device, names=("shoes", "books")),
    alt="Step functions of the predictions of both advertisers for six users, with the two steps "
    "of the device model drawn over them.",
    caption="Six made-up users. Bars: predictions that know every user. Line: predictions that know "
    "the device only. Both enclose the same area in each cluster; that is calibration.",
)

# %% [markdown]
# A model that is *not* calibrated against the other is refused, with the place named.

# %%
timid = Market(everyone.weights, everyone.predictions * Fraction(1, 2))
try:
    check_refinement(models.markets[1], timid, device)
except CalibrationError as error:
    print(error)

# %% [markdown]
# ## From predictions to money
#
# Both shops are *tCPA* bidders: they want many conversions at an average price of at most a target,
# here 1 for each. An autobidder has one knob, a multiplier $\mu$: it bids $\mu$ times target times
# prediction in every cluster. At $\mu=1$, this is what each model earns.

# %%
shops = [Bidder("tcpa", 1), Bidder("tcpa", 1)]


def row(market: Market) -> dict[str, float]:
    """Revenue in both auctions, and welfare, at multiplier one."""
    first, second = (
        outcome(market, shops, [1, 1], rule) for rule in ("first", "second")
    )
    return {
        "clusters": market.n_clusters,
        "first-price revenue": float(first.revenue),
        "second-price revenue": float(second.revenue),
        "welfare": float(first.welfare),
    }


pd.DataFrame([row(market) for market in models.markets], index=names)

# %% [markdown]
# First-price revenue and welfare rise, or stay where the news changes no winner. Second-price revenue
# falls by just as much as welfare rises. The rest of the notebook says why, and when.
#
# (ch01-jensen)=
# ## The first idea: Jensen
#
# In one cluster, the highest bid is a maximum of straight lines. Split the cluster in two: the
# average of the two maxima lies on the chord, above the maximum at the average.

# %% tags=["figure-jensen"]
figures.show(
    jensen_figure(models.markets[1], [1, 1], names=("shoes", "books")),
    alt="Two crossing lines, their upper envelope, and a chord above it; the gap at the pooled "
    "mean is marked as the gain.",
    caption="The six users, split by device. Along the axis predictions move from one part to the "
    "other. Splitting replaces the diamond by the square: it can never lie below.",
)

# %% [markdown]
# This is {prf:ref}`lem-jensen`, and with it {prf:ref}`thm-fpa-revenue` and {prf:ref}`thm-vcg-welfare`.
#
# ## The second idea: lifting
#
# Let a planner give shares of clusters to bidders, within their budgets. Whatever it can do with the
# coarse model it can do with the fine one: ignore the news, and copy each share to the parts.

# %%
budgeted = [Bidder("tcpa", 1, Fraction(1, 2)), Bidder("tcpa", 1)]
plan = lp_benchmark(models.markets[1], budgeted)
figures.show(
    lifting_figure(everyone, device, plan.allocation, names=("shoes", "books")),
    alt="Stacked bars of shares in two coarse clusters, and below the same shares in six fine "
    "ones; the conversions printed above both panels agree.",
    caption="The best plan of the device model, copied to the six users. Predictions differ within a "
    "cluster, totals do not. The fine optimum can only be better.",
)

# %%
copied = lift(plan.allocation, device)
spend_before = (models.markets[1].mass * plan.allocation).sum(axis=0)
spend_after = (everyone.mass * copied).sum(axis=0)
print(
    "spend before and after the copy:",
    spend_before.tolist(),
    spend_after.tolist(),
)
print(
    "optimum, coarse and fine:",
    plan.value,
    lp_benchmark(everyone, budgeted).value,
)

# %% [markdown]
# ## The algebra, checked
#
# A proof is prose around a few identities and inequalities. SymPy decides those that take more than
# a glance for *all* values of their symbols, and decides a false variant too, which must be refuted.
# The label names the
# statement on the pages {doc}`theory </book/ch01_autobidding/theory>`,
# {doc}`ceilings </book/ch01_autobidding/ceilings>` or {doc}`beyond </book/ch01_autobidding/beyond>`.

# %%
steps = check_all()
assert steps["holds"].all()
assert steps["variant refuted"].all()
with pd.option_context("display.max_colwidth", None):
    display(steps[["label", "step", "false variant"]].set_index("label"))
print(len(steps), "steps hold,", len(steps), "false variants are refuted")

# %% [markdown]
# ## The theorems on random markets: a check, not a proof
#
# A wrong theorem would very likely fail on one of a few hundred random markets. So each inequality is
# compared, in fractions, on random refinements. The **control** draws every fine prediction half way to
# its bidder's mean over all users. Each bidder keeps its total, but clusters no longer average to the
# coarse model, and the inequality must break somewhere. If it did not, the check would be blind.


# %%
def first_price(market, targets, metric="revenue"):
    """First price, tCPA bidders at multiplier one."""
    bidders = [Bidder("tcpa", t) for t in targets]
    return outcome(market, bidders, [1] * len(bidders), "first").metric(metric)


def truthful(market, values, metric="revenue"):
    """Second price = VCG, truthful MAX-CPA bidders."""
    bidders = [Bidder("maxcpa", v) for v in values]
    return outcome(market, bidders, [1] * len(bidders), "vcg").metric(metric)


# %% [markdown]
# The LP's budget is the value of four conversions. For tCPA bidders its surrogate revenue is the same
# sum as its welfare, since payments are $t_i$ per conversion and $v_i=t_i$. We compute it from the
# optimal allocation rather than assume it.


# %%
plans = {}


def planned(market, values):
    """Optimum of the budgeted LP, solved once for each market."""
    key = (str(market.predictions.tolist()), values)
    if key not in plans:
        bidders = [Bidder("tcpa", v, 4 * v) for v in values]
        plans[key] = lp_benchmark(market, bidders)
    return plans[key].value


def surrogate(market, targets):
    """Payments of t_i per conversion under the LP's allocation."""
    planned(market, targets)
    plan = plans[str(market.predictions.tolist()), targets]
    won = (market.mass * plan.allocation).sum(axis=0)
    return sum(t * v for t, v in zip(targets, won, strict=True))


# %%
measures = {
    "first-price revenue": first_price,
    "first-price welfare": partial(first_price, metric="welfare"),
    "VCG welfare": partial(truthful, metric="welfare"),
    "LP welfare": planned,
    "LP revenue": surrogate,
}
HALF = Fraction(1, 2)
tested = {name: count_changes(f) for name, f in measures.items()}
control = {name: count_changes(f, to_mean=HALF) for name, f in measures.items()}

# %% [markdown]
# Jensen needs only that multipliers stay put: with fixed ones, first-price revenue is monotone for
# MAX-CPA bidders too. The control lets the bidders exchange their multipliers between the models.

# %%
SHADES = [Fraction(4, 5), Fraction(7, 10), Fraction(5, 10)]


def shaded(market, values, shades=SHADES):
    """First price, MAX-CPA bidders at given multipliers."""
    bidders = [Bidder("maxcpa", v) for v in values]
    return outcome(market, bidders, shades, "first").revenue


exchanged = partial(shaded, shades=SHADES[1:] + SHADES[:1])
tested["fixed multipliers"] = count_changes(shaded)
control["fixed multipliers"] = count_changes(shaded, after=exchanged)

# %%
pd.DataFrame(
    {
        (title, sign): [getattr(counts[name], sign) for name in tested]
        for title, counts in (("as stated", tested), ("control", control))
        for sign in ("falls", "ties", "rises")
    },
    index=list(tested),
)

# %% [markdown]
# A theorem is reported as holding if its algebra is confirmed *and* no random market contradicts it.

# %%
confirmed = steps.groupby("label")["holds"].all()
needs = {"LP welfare": "lem-lift", "LP revenue": "lem-lift"}
ledger.report(
    "ch01.thm.monotone",
    {
        name: bool(confirmed[needs.get(name, "lem-jensen")])
        and counts.falls == 0
        for name, counts in tested.items()
    },
    control={name: counts.falls == 0 for name, counts in control.items()},
)

# %% [markdown]
# ## Why $\mu=1$ in a first-price auction
#
# In first price you pay your bid, so your cost per conversion *is* $\mu$ times your target. The next
# cell asks, on random markets against random rivals, for the best response over **all** multipliers.
# In second price, where you pay the rival's bid, a larger multiplier may win more within the target.


# %%
def largest_regret(rule):
    """Collect what multiplier one misses at most, in conversions of bidder 0."""
    regrets = []

    def keep(market, targets):
        bidders = [Bidder("tcpa", t) for t in targets]
        rivals = [Fraction(k + 3, 5) for k in range(1, len(bidders))]
        reply = best_response(market, bidders, [Fraction(1), *rivals], 0, rule)
        regrets.append(reply.regret)
        return reply.regret

    count_changes(keep)
    return max(regrets)


best_first, best_second = largest_regret("first"), largest_regret("second")
print(
    f"missed at most: {float(best_first):.2f} and {float(best_second):.2f} conversions"
)

# %% [markdown]
# Revenue: multipliers below one leave money on the table. With a budget, $\mu=1$ may not even be
# allowed, so the statement needs its assumption.


# %%
def left_on_table(market, targets):
    """Revenue at multiplier one, less that of a feasible profile below it, if negative."""
    bidders = [Bidder("tcpa", t) for t in targets]
    lower = [Fraction(k + 6, 10) for k in range(len(bidders))]
    full, part = (
        outcome(market, bidders, mus, "first")
        for mus in ([1] * len(bidders), lower)
    )
    assert full.feasible
    assert part.feasible
    return min(full.revenue - part.revenue, 0)


revenue_kept = count_changes(left_on_table)
at_one = outcome(B2.fine, B2.bidders, [1, 1], "first")
print("B.2, with its budget, at multiplier one: feasible:", at_one.feasible)

# %% [markdown]
# Welfare: the highest bid is the highest value, if values are targets. If they are not, it is not.


# %%
def welfare_gap(market, targets, factor=(1, 1, 1)):
    """Best welfare less welfare at multiplier one; `factor` is value over target."""
    values = [t * f for t, f in zip(targets, factor, strict=True)]
    bidders = [Bidder("tcpa", t) for t in targets]
    won = outcome(market, bidders, [1] * 3, "first").conversions
    got = sum(v * c for v, c in zip(values, won, strict=True))
    return top_value(market, values) - got


equal = count_changes(welfare_gap)
unequal = count_changes(partial(welfare_gap, factor=(1, 3, 1)))
ledger.report(
    "ch01.thm.fpa_optimal",
    {
        "conversions": bool(confirmed["lem-mu-one"]) and best_first == 0,
        "revenue": revenue_kept.falls == revenue_kept.rises == 0,
        "welfare": equal.falls == equal.rises == 0,
    },
    control={
        "conversions": best_second == 0,
        "revenue": at_one.feasible,
        "welfare": unequal.falls == unequal.rises == 0,
    },
)

# %% [markdown]
# ## Does it hold in *every* equilibrium?
#
# The paper's convention says that positive results hold in all equilibria with the same allocation.
# Take a strong bidder and a weak one. The strong one wins everything at a tenth of its target too,
# and has no reason to bid more.

# %%
strong = Market.exact([1, 1], [["0.5", "0.01"], ["0.4", "0.01"]])
pooled = strong.coarsen([0, 0])
tenth = Fraction(1, 10)
lazy = is_equilibrium(strong, shops, [tenth, 1], "first").holds
before = outcome(pooled, shops, [1, 1], "first")
after = outcome(strong, shops, [tenth, 1], "first")
print("equilibrium at one tenth:", lazy)
print(
    "revenue, coarse at one and fine at a tenth:", before.revenue, after.revenue
)
print("welfare:", before.welfare, after.welfare)

# %% [markdown]
# Same allocation, an equilibrium, and a tenth of the revenue: refuted for revenue. (A control has to fail, and so
# does a refuted claim. That the check below can also say yes is seen in its line of undominated bids.) Now all equilibria
# of random two-bidder markets, enumerated exactly: how far the lowest revenue and the welfare of each
# set of equilibria are from those at $\mu=1$. *Undominated* leaves out multipliers that another one
# weakly dominates. The control enumerates the same markets in second price.


# %%
def gaps(rule, undominated):
    """Collect the gaps to multiplier one in first price, over all sets of equilibria."""
    rows = []

    def scan(market, targets):
        bidders = [Bidder("tcpa", t) for t in targets]
        best = top_value(market, targets)
        rows.extend(
            (cell.revenue[0] - best, cell.welfare - best)
            for cell in equilibria_2p(
                market, bidders, rule, undominated=undominated
            )
        )
        return best

    counts = count_changes(scan, n_bidders=2)
    assert counts.falls == 0
    revenue, welfare = zip(*rows, strict=True)
    return {"revenue": revenue, "welfare": welfare}


found = {
    "first price, all": gaps("first", undominated=False),
    "first price, undominated": gaps("first", undominated=True),
    "second price, undominated": gaps("second", undominated=True),
}

# %%
pd.DataFrame(
    {
        name: {
            "sets of equilibria": len(sets["revenue"]),
            "revenue below that at one": sum(g < 0 for g in sets["revenue"]),
            "welfare below that at one": sum(g < 0 for g in sets["welfare"]),
        }
        for name, sets in found.items()
    }
).T

# %%
kept = {
    name: {
        metric: all(g == 0 for g in values) for metric, values in sets.items()
    }
    for name, sets in found.items()
}
every, undominated, second = kept.values()
refuted = lazy and after.revenue < before.revenue
ledger.report(
    "ch01.assumption.all_equilibria_revenue",
    every["revenue"] and not refuted,
    control=second["revenue"],
)

# %%
ledger.report(
    "ch01.assumption.all_equilibria_welfare",
    every["welfare"],
    control=second["welfare"],
)

# %% [markdown]
# The repair: $\mu=1$ weakly dominates every smaller multiplier *of a bidder who meets a rival
# somewhere* ({prf:ref}`prop-dominates`). The condition is needed: of two bidders who never meet, one
# loses nothing by bidding a tenth of its target, against any rival.

# %%
rivals = [Fraction(0), tenth, HALF, Fraction(1), Fraction(10)]
losses = {
    name: [
        best_response(market, shops, [tenth, g], 0, "first").regret
        for g in rivals
    ]
    for name, market in (("overlap", pooled), ("no overlap", SPLIT.fine))
}
pd.DataFrame(losses, index=pd.Index(map(str, rivals), name="rival bids")).map(
    str
).rename_axis(columns="what a tenth loses, conversions")

# %%
dominates = {name: max(lost) > 0 for name, lost in losses.items()}
ledger.report(
    "ch01.ours.assumption_repair",
    undominated["revenue"] and dominates["overlap"],
    control=dominates["no overlap"],
)

# %% [markdown]
# ## Two bidders, second price
#
# With two truthful bidders the price is the *smaller* of two lines, which is concave: Jensen turns
# round ({prf:ref}`thm-two-truthful`). With three, the second-highest line has no such shape.

# %%
two, three = (count_changes(truthful, n_bidders=n) for n in (2, 3))
invariant = count_changes(
    lambda m, v: truthful(m, v) + truthful(m, v, "welfare"), n_bidders=2
)
print("two bidders:  ", two)
print("three bidders:", three)
print("two bidders, revenue + welfare:", invariant)

# %%
ledger.report(
    "ch01.ours.two_truthful",
    bool(confirmed["thm-two-truthful"]) and two.rises == 0,
    control=three.rises == 0,
)

# %% [markdown]
# ## Ablation: averaging clicks and conversions apart
#
# Platforms often predict a click rate and a conversion rate separately and multiply. One bidder, two
# users: one clicks and never buys, the other would buy and never clicks.

# %%
clicks = [Fraction(1), Fraction(0)]
buys = [Fraction(0), Fraction(1)]
true_rates = [[c * b] for c, b in zip(clicks, buys, strict=True)]
product = sum(clicks) / 2 * (sum(buys) / 2)

alone = [Bidder("tcpa", 1)]
fine_model = Market.exact([HALF, HALF], true_rates)
models_of_one = {
    "product of averages": Market.exact([1], [[product]]),
    "calibrated": fine_model.coarsen([0, 0]),
    "fine": fine_model,
}
earned = {
    name: outcome(market, alone, [1], "first").revenue
    for name, market in models_of_one.items()
}
earned

# %% [markdown]
# The product model sells a quarter of a conversion that never comes, and refinement takes the revenue
# away. A *product* is off by the covariance of clicks and purchases ({prf:ref}`ex-product`). The
# calibrated coarse model of the same users earns what the fine one earns.

# %%
assert earned["calibrated"] == earned["fine"]
ledger.report(
    "ch01.ours.product_model", [earned["product of averages"], earned["fine"]]
)

# %% [markdown]
# Next: the paper's four counterexamples, with an equilibrium certificate for each.
