# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The claim ladder and its proofs
#
# The paper separates four things that a warning claim is made of: a theorem, a map from the world
# to the theorem's quantities, a protocol, and an experiment. This notebook checks the first rung by
# machine, shows what each hypothesis is needed for, and says what the proofs do not cover. It also
# proves a fact that later notebooks lean on, that a miss which changes nothing is never left. Before all
# that it counts how often the contract can be kept at all. Proofs in words are on the
# {doc}`theory page </book/ch05_collapse_warning/theory>`.

# %%
import pandas as pd

from lib.collapse_warning import FPContract, lean
from lib.collapse_warning.countermodels import HYPOTHESES, find_order
from lib.collapse_warning.study.figures import power_figure
from lib.core import figures, ledger

figures.use()
YES = {True: "yes", False: "no"}

# %% [markdown]
# ## The contract
#
# The contract accepts an operating point if 3 to 7 % of controls alarm. Counts are whole numbers:
# with 38 controls the band holds one count, and a detector whose true rate is exactly 5 % lands on
# it in about a quarter of all samples.

# %%
contract, wide = FPContract(), FPContract(0.03, 0.15)
counts = [38, 62, 766]
power = [contract.accept_probability(0.05, n) for n in counts]
pd.DataFrame(
    {
        "controls": counts,
        "counts in the band": [
            f"{contract.reachable(n)[0]} to {contract.reachable(n)[-1]}"
            for n in counts
        ],
        "accepted at a true 5 %": [f"{p:.3f}" for p in power],
        "accepted at a true 50 %": [
            f"{contract.accept_probability(0.5, n):.1e}" for n in counts
        ],
    }
)

# %% tags=["figure-power"]
figures.show(
    power_figure(counts),
    alt="Probability of acceptance against the true alarm share for 38, 62 and "
    "766 controls; only the curve of 766 comes near one inside the band.",
    caption="Exact binomial probabilities. With few controls a detector that "
    "does just what the contract asks is more often refused than accepted.",
)

# %% [markdown]
# ## The obstruction
#
# If *y* is strictly above *x*, *z* at least as high as *y*, and *x* at least as high as *z*, then
# going round brings *y* below *x* again: a contradiction. So a process that goes round cannot have
# made progress at every step. That is the whole theorem. For telemetry the paper takes the sum
# $G + p - \delta$ as the height, where $G$ is a *gain*, $p$ a *persistence* and $\delta$ a *diversity*; what
# these are in markets and for a recommender, the next two notebooks say.

# %% [markdown]
# ## Checked by Lean
#
# The files are checked by the Lean kernel itself, in a process of its own, with nothing imported.
# The library is pinned by its digest. A file passes only if Lean exits with 0, reports no error,
# and names no axiom under any theorem. These are our own statements and terms, not the author's
# files (those need Mathlib). This is the whole of one; the others stand beside it.

# %%
print((lean.PROOFS / "bridge.lean").read_text(encoding="utf-8"))

# %%
checked = {
    file.stem: lean.check(file) for file in sorted(lean.PROOFS.glob("*.lean"))
}
print("Lean", lean.version())
pd.DataFrame(
    [
        (
            name,
            theorem,
            result.exit_code,
            ", ".join(axioms) or "none",
            YES[result.ok],
        )
        for name, result in checked.items()
        for theorem, axioms in result.axioms.items()
    ],
    columns=["file", "theorem", "exit status", "axioms used", "accepted"],
).set_index("file")

# %% [markdown]
# Controls: statements that are false, or proofs that cheat. Two of them exit with 0 and would pass
# if the exit status were all that counted; the list of axioms gives them away.

# %%
rejected = {
    file.stem: lean.check(file)
    for file in sorted((lean.PROOFS / "false").glob("*.lean"))
}
pd.DataFrame(
    [
        (
            name.replace("_", " "),
            result.exit_code,
            YES[result.ok],
            result.reason,
        )
        for name, result in rejected.items()
    ],
    columns=["file", "exit status", "accepted", "why"],
).set_index("file")

# %% [markdown]
# ## What each hypothesis is needed for
#
# z3 looks for a relation on three elements that keeps all hypotheses but one; plain Python checks
# what it found, entry by entry. With all hypotheses there is none.

# %%
orders = {name: find_order(name) for name in HYPOTHESES}
pd.DataFrame(
    [
        (
            name,
            ", ".join(
                f"{a} ≤ {b}"
                for i, a in enumerate("xyz")
                for j, b in enumerate("xyz")
                if i != j and model.below[i, j]
            ),
            *(YES[model.holds(one)] for one in HYPOTHESES),
        )
        for name, model in orders.items()
    ],
    columns=["dropped", "counter-model", *HYPOTHESES],
).set_index("dropped")

# %%
verified = {
    dropped: not model.holds(dropped)
    and all(model.holds(one) for one in HYPOTHESES if one != dropped)
    for dropped, model in orders.items()
}
whole = find_order() or find_order(size=4)
print("none with all hypotheses (3 and 4 elements):", YES[whole is None])

# %% [markdown]
# ## Absorbing misses
#
# The recommender benchmark has an engine without chance, whose state is a profile. In the frozen
# protocol a miss changes nothing. Lean accepts that such an engine misses for ever after its first
# miss, and refuses the same sentence for an engine whose miss may change the state.

# %% [markdown]
# ## What is verified, and what is not
#
# Verified: that the statements in our files follow, in Lean's kernel, from no axiom. Not verified:
# that $G + p - \delta$ measures progress, that a market or a recommender is a process of this kind,
# or that a warning warns. The obstruction holds for data that collapse and for data that do not; it
# draws the boundary of a claim and is no evidence for one. The paper says the same. The controls
# below are the same statements with one premise less.


# %%
def proved(name, theorem):
    return checked[name].ok and theorem in checked[name].axioms


ledger.report(
    "ch05.formal.theorems",
    {
        "obstruction": proved("obstruction", "obstruction"),
        "bridge": proved("bridge", "bridge"),
        "telemetry": proved("bridge", "telemetry"),
    },
    control=rejected["no_transitivity"].ok,
)
ledger.report(
    "ch05.ours.formal.theorems",
    {
        "cycle": proved("obstruction", "cycle"),
        "absorbing miss": proved("absorbing", "absorbing"),
    },
    control=[rejected["weak_cycle"].ok, rejected["stateful_miss"].ok],
)


# %%
def named(results):
    return sum(len(a) for r in results for a in r.axioms.values())


ledger.report(
    "ch05.formal.axioms",
    named(checked.values()),
    control=named([rejected["injected_axiom"]]),
)
print("axioms named in the injected file:", named([rejected["injected_axiom"]]))
ledger.report("ch05.ours.formal.needed", verified, control=whole is not None)

# %%
from math import comb


def numbers(band, events):
    return [
        *(band.accept_probability(0.05, n) for n in counts),
        *(len(band.reachable(n)) for n in counts[:2]),
        comb(7, events),
    ]


ledger.report(
    "ch05.ours.contract", numbers(contract, 2), control=numbers(wide, 3)
)
