# %% [markdown]
# # Parts of the model, checked
#
# The {doc}`planner </notebooks/ch10_compute_governance/01_planner>` is put together from a model of
# an exchange, one of failures and a scaling law. Here each is looked at by itself: the timing beside
# a run that took place, the failures beside an exact formula, and the law beside what the author
# computes with it by hand.
#
# Workers train alone for **H** steps and then average. *C_local* is what one well-connected cluster
# would have spent on the same model and data.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd

from lib.compute_governance.hardware import CHIPS, CURRENT, Node, catalogue
from lib.compute_governance.planner import Assumptions, Network, plan
from lib.compute_governance.reliability import renewal_goodput
from lib.compute_governance.scaling import CI95, FIT, STANDARD_ERRORS
from lib.compute_governance.study import figures as plots
from lib.compute_governance.study import tables
from lib.compute_governance.study.failures import Failures, goodput
from lib.compute_governance.study.searches import author_search
from lib.compute_governance.study.tables import replica_efficiency
from lib.core import figures, ledger

figures.use()

# %% [markdown]
# ## What takes the compute
#
# Of the compute spent a plan keeps η, a product of factors, and a model of the right size would keep
# χ of that.

# %%
published = {
    f"{target:.2g}": author_search(target, catalogue())
    for target in tables.TARGETS.values()
}
figures.show(
    plots.decomposition_figure(published),
    alt="Stacked bars of halvings for the seven rows of Table 1; the replica "
    "factor dominates in the middle rows.",
    caption="Each factor of η in halvings of the compute spent, and χ beside "
    "it. Averaging many replicas is what costs; compression hardly shows.",
)

# %% [markdown]
# ## An outside check of the timing: Covenant-72B
#
# {cite:t}`covenant2026` trained a model of 72.7 billion parameters on some twenty
# nodes of eight B200 over the internet: 110 Mbit/s up and 500 down, and an
# exchange after 30 steps of 393,216 tokens, that is after 20 minutes. Of every
# 4,096 numbers the 64 largest are sent, with two bits of value and, we take it,
# twelve to say which: a 146th of 32-bit floats, which is the compression that is
# reported, and a 73rd of the 16 bits that the planner starts from. They report 70 seconds for the exchange and 94.5 % of the
# time spent computing. What does the planner's model say?

# %%
b200 = Node(CURRENT["B200"], 8)
steps, minutes = 30, 20
batch = 192 * 2_048
seconds = minutes * 60 / steps
# The utilisation at which a step takes what it took in that run.
mfu = 6 * 72.7e9 * batch / (b200.flops * seconds)
asked = {"network": Network.mbps(110, 500), "every": steps}
sent_bits = 64 / 4_096 * (2 + np.log2(4_096))
real = Assumptions(
    mfu=mfu,
    batch_tokens=batch,
    compression=b200.gradient_bits / sent_bits,
    overtraining=(1e-3, 1e3),
)
run = plan(b200, 20, 72.7e9, assumptions=real, **asked)
chosen = plan(b200, 20, 72.7e9, assumptions=real, network=asked["network"])
dense = plan(
    b200, 20, 72.7e9, assumptions=replace(real, compression=1.0), **asked
)
print(
    f"utilisation {mfu:.2f} of the peak, {sent_bits:.3f} bits a parameter, "
    f"overtraining {run.value('overtraining'):.1f}"
)


# %%
def share_computing(found):
    busy = steps * found.value("step_s")
    return 100 * busy / (busy + found.value("sync_s"))


dense_free = plan(
    b200,
    20,
    72.7e9,
    assumptions=replace(real, compression=1.0),
    network=asked["network"],
)
ledger.report(
    "ch10.ours.covenant.timing",
    [run.value("sync_s"), chosen.value("h")],
    control=[dense.value("sync_s"), dense_free.value("h")],
)
ledger.report(
    "ch10.ours.covenant.computing",
    share_computing(run),
    control=share_computing(dense),
)


# %%
def arithmetic(found, free):
    """Exchange and H of one reading, and how long either way takes alone in another."""
    link, bits = asked["network"], found.value("payload_bits")
    return [
        free.value("sync_s"),
        free.value("h"),
        bits / link.up_bps,
        bits / link.down_bps,
    ]


# The author takes the reported ratio over 16 bits, not 32.
over_16 = replace(real, compression=32 / sent_bits)
his = plan(b200, 20, 72.7e9, assumptions=over_16, network=asked["network"])
ledger.report(
    "ch10.ours.covenant.readings",
    arithmetic(run, his),
    control=arithmetic(dense, dense_free),
)

# %% [markdown]
# With our reading of the compression the exchange comes out nearly three times
# too long, with the author's (146 over 16 bits) still longer than reported. What
# explains it is not that the model sends everything up and then everything down: the way down is a
# small part, and at the reported uplink the upload alone would take twice the
# reported time. So part of it must have been hidden, or the links were faster; in
# that run peers left their changes in a store and took the others' from it. The
# planner takes the fewest steps that hide the exchange it expects; the run took
# many times as many, although it needed fewer. A planned H is a lower bound of
# what people choose.
#
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
words = ("no checkpoint", "restart", "elastic", "asynchronous", "relay")
told = {
    word: [f"{100 * share:.3f} %" for share in shares(name)]
    for word, name in zip(words, modes, strict=True)
}
pd.DataFrame(told, index=[f"{g:,}" for g in chips]).rename_axis("chips")

# %%
slowed = Assumptions(window_s=year_and_half * 3_600, overtraining=(1e-3, 1e3))


def c_local(n, share):
    found = plan(a100, n, 250e9, assumptions=replace(slowed, goodput=share))
    return found.value("c_local")


def fall(name):
    """Largest fall of C_local by failures, in %."""
    pairs = zip(sizes, shares(name), strict=True)
    return max(100 * (1 - c_local(n, u) / c_local(n, 1.0)) for n, u in pairs)


printed = [tables.fixed(1 / (g * Failures().rate), 1) for g in chips]
printed += [tables.significant(100 * s, 1) for s in shares("none")]
for name in modes[1:4]:
    printed += [tables.fixed(100 * s, 1) for s in shares(name)]
printed += [round(1 / s) for s in shares("none")]
printed += [
    tables.significant(c_local(n, u), 3)
    for n, u in zip(sizes, shares("relay"), strict=True)
]

# %%
ledger.report("ch10.failures.table", printed)
calm = [shares(name) for name in ("relay", "threshold", "backup_workers")]
ledger.report(
    "ch10.failures.calm",
    100 * np.min(calm),
    control=100 * np.min(shares("checkpoint_elastic")),
)
ledger.report(
    "ch10.failures.unchanged", fall("relay"), control=fall("synchronous")
)

# %% [markdown]
# The last column of that table trains beyond the paper's own bound on
# overtraining (the third number is above 100):

# %%
np.round(
    [
        plan(a100, n, 250e9, assumptions=slowed).value("overtraining")
        for n in sizes
    ],
    1,
)

# %% [markdown]
# The formula for restarting the whole cluster subtracts losses that are linear
# in the failure rate, which is right while they are small. Exactly (work until
# a checkpoint passes without a failure; a failure, also one during recovery,
# starts the recovery anew) the same constants give four times the goodput at
# 200,000 chips.

# %%
many_chips = np.array(tables.decades(1_000, 1_000_000, 31))


def restarts(g):
    rate = g * Failures().rate
    every = np.sqrt(2 * write_h / rate)
    return renewal_goodput(rate, write_h, Failures().recovery_h, every)


ledger.report(
    "ch10.ours.failures.renewal",
    100 * restarts(chips[-1]),
    control=100 * shares("synchronous")[-1],
)
named = {"restart, exact (ours)": np.array([restarts(g) for g in many_chips])}
named |= {
    label: shares(name, many_chips.astype(int))
    for label, name in (
        ("restart, published", "synchronous"),
        ("elastic, published", "checkpoint_elastic"),
        ("asynchronous, published", "async"),
        ("relay, published", "relay"),
    )
}

# %%
figures.show(
    plots.failures_figure(many_chips, named),
    alt="Goodput against chips: the published restart line falls to zero, the "
    "exact line falls slowly.",
    caption="Restarting everything is bad at scale, but not as bad as the "
    "linear formula says.",
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


def kept(law, multiplier=m):
    return float(replica_efficiency(law, big, 25.6 * big, multiplier))


def penalty(law, multiplier=m):
    return 100 - 100 * kept(law, multiplier)


pairs = [(0.25, 0.27), (0.31, 0.33), (0.348, 0.366), (0.40, 0.42)]
by_exponents = [replace(FIT, alpha=a, beta=b) for a, b in pairs]
floors = [kept(replace(FIT, E=e)) for e in (1.50, 1.69, 1.82, 2.00)]


# %%
def worth(multiplier):
    """Size of the model that reaches a loss, in 10⁹ parameters."""
    same = FIT.effective_compute(FIT.loss(big, 25.6 * big) * multiplier)
    return float(FIT.allocate(same)[0]) / 1e9


ledger.report(
    "ch10.amplification.table",
    [tables.fixed(x, 2) for x in loss]
    + [tables.fixed(x, 0 if x >= 10 else 1) for x in share]
    + [tables.fixed(x, 3) for x in floors],
)
ledger.report(
    "ch10.amplification.multiplier",
    float(m),
    control=float(Assumptions().replica_multiplier(72, big, 30)),
)
ledger.report(
    "ch10.amplification.penalty",
    [penalty(law) for law in [FIT, *by_exponents]] + [worth(m)],
    control=[100 * float(m) - 100] * 5 + [big / 1e9],
)

# %%
half = CI95 * STANDARD_ERRORS["alpha"]
ends = [tables.fixed(FIT.alpha + s * half, 2) for s in (-1, 1)]
ledger.report(
    "ch10.amplification.ci",
    [penalty(replace(FIT, alpha=a, beta=a + 0.02)) for a in ends],
    control=[penalty(replace(FIT, alpha=a)) for a in ends],
)
alphas = np.linspace(0.22, 0.44, 45)
curve = [penalty(replace(FIT, alpha=a, beta=a + 0.018)) / 100 for a in alphas]
figures.show(
    plots.amplification_figure(
        alphas, np.array(curve), (FIT.alpha - half, FIT.alpha + half), FIT.alpha
    ),
    alt="The penalty rises from 15 % to almost 100 % as α goes from 0.22 to "
    "0.44.",
    caption="One and the same loss of 1.6 % costs between a half and nearly "
    "all of the compute within the error of one exponent, if A and B stay as "
    "they are. The fit does not let them: see the notebook on uncertainty.",
)

# %% [markdown]
# The reference allocation, 25.6 tokens a parameter, is not where the quoted
# loss is smallest. The gap is small.

# %%
budgets = np.array([1e23, 1e24, 1e25, 1e26])
n_best, d_best = FIT.allocate(budgets, "exact")
n_ref, d_ref = FIT.allocate(budgets)
print(np.round(FIT.loss(n_ref, d_ref) - FIT.loss(n_best, d_best), 5), "nats")
ledger.report(
    "ch10.ours.allocation.ratio",
    [tables.fixed(x, 1) for x in d_best / n_best],
    control=[tables.fixed(x, 1) for x in d_ref / n_ref],
)
