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
# catalogue has a billion items and its models up to four billion parameters; the size of ours stands
# below the first cell, so only directions can be compared.
#
# **The levels.** Level 3 is the deepest that carries content. Level 4 is a number that tells items apart,
# as the {doc}`notebook before </notebooks/ch02_semantic_ids/02_anatomy>` measures: what is said of it is
# how fast numbers are memorised. Rows that ask for both keep them apart.
#
# **Two budgets.** Every comparison is made after 0.6 epoch and again after 6 epochs (an epoch is one
# pass over the train interactions, 318 batches of 512 items), each with a learning rate that falls
# to the end of its own run. Two seeds, the same batches, and settings chosen on validation users for
# the arm *without* memory; the memory's rate is five times that of the embeddings, as in the paper.
# Training is in single precision: another processor may differ in the last digit shown.
#
# **The position.** The vector made from $c_1,\dots,c_l$ is added at the token of $c_l$, where code
# $l+1$ is predicted. "Levels 3 and 4 active" therefore means vectors at $c_2$ and $c_3$.

# %%
import pandas as pd

from lib.core import figures
from lib.semantic_ids import load
from lib.semantic_ids.intervals import Resample
from lib.semantic_ids.study import figures as draw
from lib.semantic_ids.study.arms import SHAPE
from lib.semantic_ids.study.experiment import (
    BUDGETS,
    report,
    run_everything,
    run_main,
    run_untrained,
    run_variations,
)
from lib.semantic_ids.transformer import GenerativeTransformer

figures.use()
data = load("beauty_rqkmeans")
run_everything()  # one sweep for the whole page, so that no core waits
studies = run_main()
short, long = (studies[budget] for budget in BUDGETS)
small = run_variations()
untrained = run_untrained()
LEVEL, DEEP = 3, (3, 4)  # the deepest with content; and with the numbers
size = sum(one.numel() for one in GenerativeTransformer(SHAPE).parameters())
print(f"layers: {SHAPE.n_layers}, width: {SHAPE.d_model}, parameters: {size:,}")


def both(ask):
    """Ask the same of both budgets."""
    return [ask(study) for study in studies.values()]


def deep(ask):
    """Ask the same of both budgets at levels 3 and 4."""
    return [ask(study, n) for study in studies.values() for n in DEEP]


# %% [markdown]
# ## First the baseline
#
# First of all the flat arm that the encoder is compared with has to give what the repository that the
# data come from publishes: hit rates of a generative baseline. It is the very arm of the comparisons
# below, after 6 epochs; items are found by beam search with the trie. **The test users were looked at before** (see
# {doc}`what we could not test </book/ch02_semantic_ids/beyond>`).
# Everything below is said of a model of this size, which two seeds at two budgets leave time for.

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
# lets only those codes compete that some item has after the true prefix. In per cent:

# %% tags=["trained-percent"]
accuracies = {budget: study.accuracies() for budget, study in studies.items()}
by_level = [f"level {n}" for n in long.levels]
shown = {
    name: [100 * e.value for one in accuracies.values() for e in one[name]]
    for name in accuracies[BUDGETS[0]]
}
columns = pd.MultiIndex.from_product([BUDGETS, by_level])
pd.DataFrame(shown, index=columns).T.round(1)

# %% tags=["figure-accuracy"]
figures.show(
    draw.accuracy_figure(accuracies),
    alt="Accuracy of seven predictors at four levels with intervals, after 0.6 and after 6 epochs. "
    "Early, PrefixMem is far above flat at levels 3 and 4; later they are closer.",
    caption="Beauty, RQ-KMeans, last items of 3,000 users; 95 % over users and two seeds. At 0.6 epoch "
    "PrefixMem lifts levels 3 and 4 far above flat tokens, and so does the trie, untrained. At 6 epochs "
    "compare flat with PrefixMem, and each with the count table.",
)

# %% tags=["trained-shares"]
OURS = ("PrefixMem", "flat")
MASKED, PLUS_COUNTS = ("trie_hits",) * 2, ("mixed_hits",) * 2
of_chance = max(
    (small.gain("rows at random", "flat", n) for n in DEEP),
    key=lambda one: one.value,
)
report("ch02.t2.deep", deep(lambda s, n: s.gain(*OURS, n)), control=of_chance)
report(
    "ch02.t2.shallow",
    [study.gain(*OURS, n) for study in studies.values() for n in (1, 2)],
    control=small.gain("leak (control)", "flat", 2),
)
report("ch02.f3.early", deep(lambda s, n: s.early(*OURS, n)))
report(
    "ch02.ours.compute.steps",
    deep(lambda s, n: s.early(*OURS, n, final=True)),
)

# %% [markdown]
# The last row takes "equal multiply-adds" on the safe side: PrefixMem after three quarters of the
# steps, its learning rate not yet lowered, against flat at the end. In time on a processor a step with
# memory costs a twentieth to a third more, by the width of the backbone; a quarter less covers that.

# %% tags=["figure-curves"]
curves = {
    arm + ("" if study is long else ", 0.6 epoch"): study.curve(arm)
    for study in (long, short)
    for arm in study.results
}
figures.show(
    draw.curve_figure(curves, long.counts.hits.mean(axis=0)),
    alt="Accuracy over training steps on a logarithmic axis, a panel a level. At levels 3 and 4 "
    "PrefixMem rises at once and flat follows later; at level 1 the curves run together.",
    caption="Mean of two seeds; dashed curves are the runs of 0.6 epoch, the dashed line is the count "
    "table. At levels 3 and 4 PrefixMem is near the table early, and flat tokens follow later.",
)

# %% [markdown]
# ## The trie: which items there are
#
# A catalogue is known to everybody, and the searches below use its trie. How much of the gain is left
# if both models are asked among the codes that some item has after the true prefix, with nothing trained
# for it? And does the trie, for nothing, give flat tokens as much as the memory gives?

# %% tags=["trained-shares"]
report(
    "ch02.ours.trie.deep",
    deep(lambda s, n: s.gain(*OURS, n, *MASKED)),
    control=max(
        (small.gain("rows at random", "flat", n, *MASKED) for n in DEEP),
        key=lambda one: one.value,
    ),
)
report(
    "ch02.ours.trie.alone",
    deep(lambda s, n: s.gain("flat", "PrefixMem", n, "trie_hits")),
    control=deep(lambda s, n: s.gain("flat", "PrefixMem", n)),
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
    deep(lambda s, n: s.gain("count table", "flat", n)),
    control=deep(lambda s, n: s.gain("no prefix", "flat", n)),
)
report(
    "ch02.ours.counts.prefixmem",
    deep(lambda s, n: s.gain("count table", "PrefixMem", n)),
)
report(
    "ch02.ours.counts.mix",
    both(lambda s: s.gain("flat", "count table", 1, "mixed_hits")),
    control=long.gain("flat", "count table", 1, "swapped_mixed"),
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
# the log-likelihood that PrefixMem adds to flat with counts in both, over what it adds without; at
# level 3, and with the numbers of level 4. Its numerator stands beside it in nats; after 0.6 epoch,
# where both models get a share near 0 and the mix is the table, only that is told. *Rigid* leaves the
# model's share in the mix at 1; it cannot tame a flat model that is too sure of itself, and PrefixMem
# then seems to know much that counting does not. The control leaves no loss: it shows where an encoder
# lands that knows everything, counts included. It is no upper bound: one that knows only what the counts
# do not has a ratio of 1.

# %% tags=["trained-nats"]
ONLY, FREELY, RIGID = (LEVEL,), "mixed_nll", "rigid_nll"
ratios = [
    (long, ONLY, FREELY), (long, DEEP, FREELY),
    (short, DEEP, RIGID), (long, DEEP, RIGID),
]  # fmt: skip
parts = [
    (long, ONLY, FREELY), (short, DEEP, FREELY), (long, DEEP, FREELY),
    (short, DEEP, RIGID), (long, DEEP, RIGID),
]  # fmt: skip


def nats(study, levels, mix, arm="PrefixMem"):
    """Return the nats an item that an arm adds to flat at these levels."""
    return study.users.estimate(study.added(arm, levels, mix))


report(
    "ch02.ours.residual",
    [study.residual(levels, name=mix) for study, levels, mix in ratios],
    control=[study.oracle(levels, mix) for study, levels, mix in ratios],
)
report(
    "ch02.ours.residual.nats",
    [nats(*part) for part in parts],
    control=nats(small, DEEP, FREELY, "rows at random"),
)

# %% [markdown]
# ## Whole items
#
# Teacher forcing asks one code at a time. Recall asks for all four: beam search of width 100, with
# the trie of the catalogue and without, and with the counts added to the model's scores at every
# step of the search, by the mix that was chosen on validation users (not the rigid one, which an
# earlier version took). The list of ten, as the field counts, has 50 beams and 3,000 users; what each
# arm finds there stands below the rows.

# %% tags=["figure-recall"]
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
shown = [name for name in searches if "no trie" not in name]
figures.show(
    draw.recall_figure(
        {b: {name: rows[name] for name in shown} for b, rows in recalls.items()}
    ),
    alt="Recall by length of the list for flat, PrefixMem, both with counts and the count table, "
    "after 0.6 and after 6 epochs.",
    caption="500 users, two seeds, beam search with the trie. Compare PrefixMem with flat plus counts, "
    "not with flat alone. The table alone is one list for everybody.",
)

# %%
ALONE, AT = ("count table", "trie"), 100
FREE, TRIE, PLUS = (
    [(arm, kind) for arm in ("PrefixMem", "flat")]
    for kind in ("free", "trie", "mixed")
)
found = untrained.beams["trie"]
few = Resample(1, len(found.valid))
of_table = long.beam(*ALONE, "recall", 10)[: len(found.valid)]
nothing = few.estimate(few.mean([found.recall[10]]) - few.mean(of_table))


def more(first, second, k=AT):
    """Return how much more the first search finds than the second."""
    return both(lambda study: study.beam_gain(first, second, "recall", k))


# %% tags=["trained-shares"]
report("ch02.t4.recall", more(*FREE))
report("ch02.t6.hit", both(lambda s: s.beam_gain(*FREE, "valid")))
of_ten = short.beam_gain(*TRIE, "recall", 10)
report("ch02.t10.hits", [of_ten, long.target_gain("PrefixMem", "flat", 10)])
report("ch02.ours.recall.counts", more(TRIE[1], ALONE, 10), control=nothing)
report("ch02.ours.recall.trie", more(*TRIE), control=more(ALONE, TRIE[1]))
report(
    "ch02.ours.recall.plus",
    more(PLUS[1], TRIE[1]),
    control=more(ALONE, TRIE[1]),
)
report("ch02.ours.recall.over_plus", more(*PLUS), control=more(ALONE, PLUS[1]))
pd.DataFrame(
    {
        arm: [long.target_rate(arm, k).value for k in KS]
        for arm in ("flat", "flat + counts", "PrefixMem", "count table")
    },
    index=[f"hit rate at {k}, 6 epochs" for k in KS],
).round(4)

# %% [markdown]
# ## Who gains
#
# The first three rows are of the searches above: how much larger the hit rate at ten is than that of
# flat, and of flat plus counts; whether the relative gain grows with the list; and how many first codes
# are in it.
#
# *Reachable* are test items of which the flat model has both codes before level 3 among its ten
# likeliest; rare, medium and popular go by how often these two occur in train. Both rows ask as the
# paper does, without a trie. Where a prefix is rare, flat tokens know little after 0.6 epoch, and a ratio
# to that is large whatever lists the items; so the gains in points stand below.

# %%
tertile = long.tertiles(LEVEL)
near = {b: study.reachable("flat", LEVEL) for b, study in studies.items()}


def of_ten_more(arm):
    """Return how much more an arm finds in a list of ten, of flat and of flat plus counts."""
    baselines = ("flat", "flat + counts")
    return [long.target_gain(arm, one, 10, relative=True) for one in baselines]


def rarer(study):
    """Return the relative gain where prefixes are rare less that where they are popular."""
    return study.group_gain(LEVEL, tertile == 0, tertile == 2, relative=True)


# %% tags=["trained-ratios"]
report(
    "ch02.ours.hits",
    of_ten_more("PrefixMem"),
    control=of_ten_more("count table"),
)
report("ch02.t4.growing", both(lambda s: s.growth(*OURS, "free", (20, AT))))
report("ch02.t5.diversity", both(lambda s: s.beam_gain(*FREE, "clusters")))
report(
    "ch02.t7.unreachable",
    [s.group_gain(LEVEL, ~near[b], near[b]) for b, s in studies.items()],
)
report("ch02.t8.rare", both(rarer))
pd.DataFrame(
    {
        name: both(lambda s, n=n: 100 * s.group_gain(LEVEL, tertile == n).value)
        for n, name in enumerate(("rare", "medium", "popular"))
    },
    index=[f"gain in points at level {LEVEL}, {b}" for b in BUDGETS],
).round(1)

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
none_at_all = [small.gain("PrefixMem", "rows at random", n) for n in DEEP]

# %% tags=["trained-shares"]
report(
    "ch02.t12.hashes",
    [small.gain("PrefixMem", other, n) for other in HASHES for n in DEEP],
    control=min(none_at_all, key=lambda one: one.value),
)
report("ch02.ours.leak", worst, control=small.accuracy("PrefixMem", DEEP[-1]))
pd.DataFrame(
    {name: [e.value for e in row] for name, row in shown.items()},
    index=[f"level {n}" for n in DEEP],
).round(3)

# %% [markdown]
# Whether prefixes are looked up at all matters most, how they are hashed far less; the leak shows what a
# wrong position would look like.
