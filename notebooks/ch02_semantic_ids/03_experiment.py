# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The experiment on real sequences
#
# 22,363 users of Amazon Beauty, 12,101 items with four codes each (RQ-KMeans). A small causal
# transformer reads a user's items as flat tokens and predicts the next item code by code. PrefixMem
# adds to the token of a code a vector looked up by the prefix that ends there. The paper's private
# catalogue has a billion items and its models up to four billion parameters; here the model has one
# layer of width 48 and an eighth of a million, so only directions can be compared.
#
# **Two budgets.** Every comparison is made after 0.6 epoch and again after 6 epochs (an epoch is one
# pass over the train interactions, 318 batches of 512 items), each with a learning rate that falls
# to the end of its own run. What changes between the two says how far a conclusion reaches. Two
# seeds, the same batches, and settings chosen on validation users for the arm *without* memory; the
# memory's rate is five times that of the embeddings, as in the paper.
#
# **The position.** The vector made from $c_1,\dots,c_l$ is added at the token of $c_l$, where code
# $l+1$ is predicted. "Levels 3 and 4 active" therefore means vectors at $c_2$ and $c_3$.
#
# Numbers here come from training in single precision: another processor may differ in the last
# digit shown.

# %%
import pandas as pd

from lib.core import figures
from lib.semantic_ids import load
from lib.semantic_ids.intervals import Resample
from lib.semantic_ids.study import figures as draw
from lib.semantic_ids.study.experiment import (
    BUDGETS,
    report,
    run_everything,
    run_main,
    run_untrained,
    run_variations,
    table,
)

figures.use()
data = load("beauty_rqkmeans")
run_everything()  # one sweep for the whole page, so that no core waits
studies = run_main()
short, long = (studies[budget] for budget in BUDGETS)
small = run_variations()
untrained = run_untrained()
DEEPEST, DEEP = data.n_levels, (3, 4)


def both(ask):
    """Ask the same of both budgets."""
    return [ask(study) for study in studies.values()]


# %% [markdown]
# ## First the baseline
#
# Before anything is said of the encoder, the flat arm that it is compared with has to give what
# others publish for this file, in the repository that the data come from: hit rates of a generative
# baseline. It is the very arm of the comparisons below, after 6 epochs; items are found by beam search
# with the trie of the catalogue. **The test users were looked at before**: settings come from
# validation users, but the width of this search was first 20 and is 50 now, as in an earlier version.
# The flat arm finds a tenth to a fifth less than the range declared: its one layer of width 48 is what
# two seeds at two budgets leave time for, and everything below is said of so small a model. With two
# layers of width 96, the backbone before, it had stood at the edge of the range.

# %% tags=["trained-shares"]
KS = (5, 10, 20)


def hit_rates(runs):
    """Return hit rates at 5, 10 and 20 from one row a run."""
    drawn = Resample(len(runs), len(runs[0][KS[0]]))
    return [drawn.estimate(drawn.mean([run[k] for run in runs])) for k in KS]


rates = hit_rates([one.target for one in long.results["flat"]])
chance = hit_rates([untrained.target])
report("ch02.target.flat", rates, control=chance)

# %% [markdown]
# ## Teacher-forced accuracy
#
# Is code $l$ right, given the true codes before it? The first row needs no training and does not
# look at the user: for each prefix, the code that followed it most often in the train part. *Plus
# counts* adds its log-probabilities to the model's, with one weight a level chosen on validation
# users, and with a share of the model that is chosen there too ({prf:ref}`ch02-def-counts`). *Trie*
# lets only those codes compete that some item has after the true prefix.

# %% tags=["trained-percent"]
accuracies = {budget: study.accuracies() for budget, study in studies.items()}
pd.concat(
    {
        budget: table(rows, [f"level {n} (%)" for n in long.levels])
        for budget, rows in accuracies.items()
    }
)

# %% tags=["figure-accuracy"]
figures.show(
    draw.accuracy_figure(accuracies),
    alt="Accuracy of seven predictors at four levels with intervals, after 0.6 and after 6 epochs. "
    "Early, PrefixMem is far above flat at levels 3 and 4 and the count table above both; later "
    "flat is behind at level 4 alone.",
    caption="Beauty, RQ-KMeans, last items of 3,000 users; 95 % over users and two seeds. At 0.6 epoch "
    "PrefixMem lifts the deep levels far above flat tokens, and the trie lifts flat tokens further; at 6 "
    "epochs flat is still behind, and PrefixMem, the trie and the counts are close together.",
)

# %% tags=["trained-shares"]
OURS = ("PrefixMem", "flat")
MASKED, PLUS_COUNTS = ("trie_hits",) * 2, ("mixed_hits",) * 2
of_chance = max(
    (small.gain("rows at random", "flat", n) for n in DEEP),
    key=lambda one: one.value,
)
report(
    "ch02.t2.deep",
    [study.gain(*OURS, n) for study in studies.values() for n in DEEP],
    control=of_chance,
)
report(
    "ch02.t2.shallow",
    [study.gain(*OURS, n) for study in studies.values() for n in (1, 2)],
    control=small.gain("leak (control)", "flat", 2),
)
report("ch02.f3.early", both(lambda s: s.early(*OURS, DEEPEST)))
report(
    "ch02.ours.compute.steps",
    both(lambda s: s.early(*OURS, DEEPEST, final=True)),
)

# %% [markdown]
# The last row takes "equal multiply-adds" on the safe side: PrefixMem after three quarters of the
# steps, its learning rate not yet lowered, against flat at the end.

# %% tags=["figure-curves"]
curves = {
    arm + ("" if study is long else ", 0.6 epoch"): study.curve(arm)
    for study in (long, short)
    for arm in study.results
}
figures.show(
    draw.curve_figure(curves, long.counts.hits.mean(axis=0)),
    alt="Accuracy over training steps on a logarithmic axis, a panel a level. At levels 3 and 4 "
    "PrefixMem rises at once and flat follows later; at levels 1 and 2 the curves run together.",
    caption="Mean of two seeds; dashed curves are the runs of 0.6 epoch, the dashed line is the count "
    "table. PrefixMem is at the table early and stays there; flat tokens still rise towards it.",
)

# %% [markdown]
# ## The trie: which items there are
#
# A catalogue is known to everybody, and the searches below use its trie. Asked among the codes that
# some item has after the true prefix, with nothing trained for it, the same flat models know most of
# what looked like the gift of the memory.

# %% tags=["trained-shares"]
report(
    "ch02.ours.trie.deep",
    [s.gain(*OURS, n, *MASKED) for s in studies.values() for n in DEEP],
    control=max(
        (small.gain("rows at random", "flat", n, *MASKED) for n in DEEP),
        key=lambda one: one.value,
    ),
)
report(
    "ch02.ours.trie.alone",
    both(lambda s: s.gain("flat", "PrefixMem", DEEPEST, "trie_hits")),
    control=both(lambda s: s.gain("flat", "PrefixMem", DEEPEST)),
)
report(
    "ch02.ours.level2",
    both(lambda s: s.gain(*OURS, 2, *PLUS_COUNTS)),
    control=small.gain("rows at random", "flat", 2, *PLUS_COUNTS),
)

# %% [markdown]
# ## Counting
#
# What is learnt at levels 3 and 4 is mostly the code tree: which code follows which prefix, whoever
# the user is. A table of counts knows that after one pass over the data, with nothing to tune.

# %% tags=["trained-shares"]
report(
    "ch02.ours.counts.flat",
    both(lambda study: study.gain("count table", "flat", DEEPEST)),
    control=both(lambda study: study.gain("no prefix", "flat", DEEPEST)),
)
report(
    "ch02.ours.counts.prefixmem",
    both(lambda study: study.gain("count table", "PrefixMem", DEEPEST)),
)
report(
    "ch02.ours.counts.mix",
    both(
        lambda study: study.gain("flat", "count table", DEEPEST, "mixed_hits")
    ),
    control=long.gain("flat", "count table", DEEPEST, "swapped_mixed"),
)
report(
    "ch02.ours.history",
    both(lambda study: study.gain("flat", "count table", 1)),
    control=both(
        lambda study: study.gain("flat", "count table", 1, "swapped_hits")
    ),
)

# %% [markdown]
# ### Residual over counts
#
# If the memory only stores the code tree, it adds nothing once the counts are given. The ratio is
# the log-likelihood that PrefixMem adds to flat at levels 3 and 4 with counts in both, over what it
# adds without; its numerator stands beside it in nats, for a ratio says little where both parts are
# small: after 0.6 epoch both models get a share near 0, the mix is the table, and only the numerator
# is told. *Rigid* leaves the model's share in the mix at 1. That choice decides the answer: after 6
# epochs the flat model is too sure of itself, a rigid mix cannot tame it, and PrefixMem then seems to
# know much that counting does not. Let the mix choose the share, and little of that is left. The last
# row asks the same with the trie in the place of counts, which tames nobody either. The control knows
# the answer: it is the most that the ratio can be.

# %%
MIXES = ("mixed_nll", "rigid_nll")
asked = [(study, mix) for mix in MIXES for study in studies.values()]
residuals = [study.residual(DEEP, name=mix) for study, mix in asked[1:]]
most = [study.oracle(DEEP, mix) for study, mix in asked[1:]]


def nats(study, arm, mix):
    """Return the nats an item that an arm adds to flat at the deep levels."""
    return study.users.estimate(study.added(arm, DEEP, mix))


# %% tags=["trained-nats"]
report("ch02.ours.residual", residuals, control=most)
report(
    "ch02.ours.residual.nats",
    [nats(study, "PrefixMem", mix) for study, mix in asked],
    control=nats(small, "rows at random", "mixed_nll"),
)
report(
    "ch02.ours.trie.nats",
    both(lambda study: nats(study, "PrefixMem", "trie_nll")),
    control=nats(small, "rows at random", "trie_nll"),
)

# %% [markdown]
# ## Whole items
#
# Teacher forcing asks one code at a time. Recall asks for all four: beam search of width 100, with
# the trie of the catalogue and without, and with the counts added to the model's scores at every
# step of the search.

# %%
LISTS = (10, 20, 50, 100)
searches = {
    "flat": ("flat", "trie"),
    "PrefixMem": ("PrefixMem", "trie"),
    "flat + counts": ("flat", "mixed"),
    "PrefixMem + counts": ("PrefixMem", "mixed"),
    "flat, no trie": ("flat", "free"),
    "PrefixMem, no trie": ("PrefixMem", "free"),
    "count table": ("count table", "trie"),
}
recalls = {
    budget: {
        name: study.recalls(*search, LISTS) for name, search in searches.items()
    }
    for budget, study in studies.items()
}

# %% tags=["figure-recall"]
shown = [name for name in searches if "no trie" not in name]
figures.show(
    draw.recall_figure(
        {b: {name: rows[name] for name in shown} for b, rows in recalls.items()}
    ),
    alt="Recall by length of the list for flat, PrefixMem, both with counts and the count table, "
    "after 0.6 and after 6 epochs.",
    caption="500 users, two seeds, beam search with the trie. Early, the encoder lifts flat tokens and "
    "counts added in the beam make up part of it; after 6 epochs counts no longer help, and PrefixMem is "
    "a little ahead. The table alone, one list for all, is last.",
)

# %%
ALONE = ("count table", "trie")
found = untrained.beams["trie"]
few = Resample(1, len(found.valid))
of_table = long.beam("count table", "trie", "recall", 10)[: len(found.valid)]
nothing = few.estimate(few.mean([found.recall[10]]) - few.mean(of_table))

# %%
AT = 100
FREE, TRIE, PLUS = (
    [(arm, kind) for arm in ("PrefixMem", "flat")]
    for kind in ("free", "trie", "mixed")
)

# %% tags=["trained-shares"]
report("ch02.t4.recall", both(lambda s: s.beam_gain(*FREE, "recall", AT)))
report("ch02.t6.hit", both(lambda s: s.beam_gain(*FREE, "valid")))
report(
    "ch02.t10.hits",
    [
        short.beam_gain(*TRIE, "recall", 10),
        long.target_gain("PrefixMem", "flat", 10),
    ],
)
report(
    "ch02.ours.recall.counts",
    both(lambda s: s.beam_gain(TRIE[1], ALONE, "recall", 10)),
    control=nothing,
)
report(
    "ch02.ours.recall.trie",
    both(lambda s: s.beam_gain(*TRIE, "recall", AT)),
    control=both(lambda s: s.beam_gain(ALONE, TRIE[1], "recall", AT)),
)

# %% tags=["trained-shares"]
report(
    "ch02.ours.recall.plus",
    both(lambda s: s.beam_gain(PLUS[1], TRIE[1], "recall", AT)),
    control=both(lambda s: s.beam_gain(ALONE, TRIE[1], "recall", AT)),
)
report(
    "ch02.ours.recall.over_plus",
    both(lambda s: s.beam_gain(*PLUS, "recall", AT)),
    control=both(lambda s: s.beam_gain(ALONE, PLUS[1], "recall", AT)),
)

# %% [markdown]
# ## Who gains
#
# The first two rows are of the searches above: whether the relative gain grows with the list, and how
# many first codes are in it.
#
# *Reachable* are test items of which the flat model has every code but the last among its ten
# likeliest; rare, medium and popular go by how often the first three codes occur in train. Both rows
# ask as the paper does, without a trie; where a prefix is rare, flat tokens are right about the last
# code of one in fifty after 0.6 epoch, and whatever lists the items lifts that as much.

# %%
tertile = long.tertiles()
near = {budget: study.reachable("flat") for budget, study in studies.items()}

# %% tags=["trained-ratios"]
report("ch02.t4.growing", both(lambda s: s.growth(*OURS, "free", (20, AT))))
report("ch02.t5.diversity", both(lambda s: s.beam_gain(*FREE, "clusters")))
report(
    "ch02.t7.unreachable",
    [
        study.group_gain(~near[budget], near[budget])
        for budget, study in studies.items()
    ],
)
report(
    "ch02.t8.rare",
    both(lambda s: s.group_gain(tertile == 0, tertile == 2, relative=True)),
)

# %% [markdown]
# ## Variations, at the smaller budget only
#
# 0.6 epoch, one seed. What is read here holds for so short a run; the time of a chapter does not allow
# six epochs for each.

# %%
HASHES = ("suffix hashes", "full prefix only")
shown = {
    name: [small.accuracy(name, n) for n in DEEP]
    for name in ("count table", *small.results)
}
worst = min(shown["leak (control)"], key=lambda one: one.value)

# %% tags=["trained-shares"]
report(
    "ch02.t12.hashes",
    [small.gain("PrefixMem", other, DEEPEST) for other in HASHES],
    control=small.gain("PrefixMem", "rows at random", DEEPEST),
)
report("ch02.ours.leak", worst, control=small.accuracy("PrefixMem", DEEPEST))
pd.DataFrame(
    {
        name: [x for e in row for x in (e.value, e.low, e.high)]
        for name, row in shown.items()
    },
    index=[f"level {n}{end}" for n in DEEP for end in ("", ", from", ", to")],
).T.round(3)

# %% [markdown]
# Whether prefixes are looked up at all matters most, how they are hashed little; the leak shows what a
# wrong position would look like.
