# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Anatomy of a catalogue
#
# Before a model is credited with predicting the deep codes of an item, one should know how much is
# left to predict. This notebook takes six public code tables apart, makes one of its own, and lets
# a table of counts that ignores the user predict the next code. At depth it is right most of the
# time. Whatever a model reaches there has to be read beside that line, and the next notebook does.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd

from lib.core import figures, ledger
from lib.semantic_ids import NGramCounts, SidCatalog, anatomy, load, tokenizer
from lib.semantic_ids.study import checks
from lib.semantic_ids.study.figures import (
    count_figure,
    entropy_figure,
)
from lib.semantic_ids.study.films import films as read_films
from lib.semantic_ids.study.films import movielens
from lib.semantic_ids.study.interactive import tree_explorer
from lib.semantic_ids.study.paper import percentages, printed_twice

figures.use()

# %% [markdown]
# ## Six public code tables
#
# Amazon reviews, prepared by others. Beauty appears three times: the same users and items with codes
# of residual k-means, and of a residual autoencoder (RQ-VAE); and LETTER's codes, whose
# sequences we lack. Industrial has item texts; its train file is not published, and the part before
# each user's first validation item is rebuilt from histories of at most ten items.

# %%
NAMES = {
    "beauty_rqkmeans": "Beauty, RQ-KMeans",
    "beauty_rqvae": "Beauty, RQ-VAE",
    "beauty_letter": "Beauty, LETTER",
    "instruments": "Instruments",
    "games": "Games",
    "industrial": "Industrial",
}
sets = {name: load(name) for name in NAMES}
pd.DataFrame(
    [
        (
            NAMES[name],
            len(one.sequences),
            one.n_items,
            one.n_interactions,
            f"{one.n_levels} × {one.n_codes}",
            one.catalog().shared(),
        )
        for name, one in sets.items()
    ],
    columns=["catalogue", "users", "items", "interactions", "codes", "shared"],
)

# %% [markdown]
# *Shared* counts items beyond the first of their Semantic ID. A catalogue here keeps them all under
# it (`items` returns a list), or numbers them on a further level, or refuses: the caller says which.

# %%
summary = pd.concat([anatomy.summary(one) for one in sets.values()])
shown = summary.assign(catalogue=summary["catalogue"].map(NAMES))
shown.set_index(["catalogue", "level"]).round(3)

# %%
figures.show(
    entropy_figure(summary, NAMES),
    alt="Left: entropy of the next code falls from six to eight bits at level 1 "
    "to below two at levels 3 and 4. Right: use of the code book, lowest at "
    "level 3 for Beauty with RQ-KMeans, near one elsewhere.",
    caption="Left: bits that the prefix leaves open, weighted by train "
    "interactions; eight would be a free choice among 256. Right: entropy of the "
    "codes themselves, as a share of the code book's.",
)

# %%
prefixes = [int(n) for n in summary["prefixes"]]
ledger.report("ch02.anatomy.prefixes", prefixes)

# %%
COUNTED = ["beauty_rqkmeans", "beauty_rqvae", "instruments", "games"]


def entropies(deal=lambda codes: codes):
    """Return the entropies of the trees with sequences, their codes dealt as told."""
    return [
        float(bits)
        for name in COUNTED
        for bits in anatomy.summary(
            replace(sets[name], codes=deal(sets[name].codes))
        )["entropy"]
    ]


ledger.report(
    "ch02.anatomy.entropy",
    entropies(),
    control=entropies(lambda codes: checks.dealt(codes, 0)),
    digits=4,
)

# %% [markdown]
# ## A last level that is only a number
#
# Does the last code of an item say anything of it? If so, it goes together with the codes before.
# Shuffled over the items, the last codes of the two Beauty tables share as many bits with the others
# as unshuffled. They are numbers drawn evenly from 256 that tell apart the items of one prefix of three
# codes: there a memory can only learn which item has which number, and **level 3 is the deepest level
# that carries content**. Games has a true fourth code, Instruments a weaker one, LETTER next to none.

# %%
bits = {name: checks.tied(one.codes, one.n_codes) for name, one in sets.items()}
shuffled = [
    checks.tied(np.column_stack([one.codes[:, :-1], dealt]), one.n_codes)[0]
    for one in sets.values()
    for dealt in [checks.dealt(one.codes[:, -1:], 1)]
]
ledger.report(
    "ch02.anatomy.last",
    [one[0] for one in bits.values()],
    interval=[one[1:] for one in bits.values()],
    control=shuffled,
    digits=4,
)

# %% [markdown]
# Users say the same. Two items in a row of a train sequence have the same first three codes more often
# than chance, and the same fourth no more often. Codes 2 and 3 are shared more often than chance even
# by items whose first codes differ: after nine prefixes or more, much of what a code means depends on
# them, but not all.

# %%
main = sets["beauty_rqkmeans"]
before = anatomy.contexts(main.codes, main.n_codes)
shares = checks.neighbours(main).round(4).astype(object)
shares.loc["prefixes before a code, mean"] = [f"{n:.1f}" for n in before]
shares.rename_axis("items in a row with the same code")

# %% [markdown]
# ## An hourglass
#
# The paper says that the middle levels of such trees collapse: that their codes are used least
# evenly. Among levels that carry content this is so in none of six trees: the narrowest is the last
# on Beauty with RQ-KMeans and RQ-VAE, and the first on the other four. With the numbers of level 4
# counted in, which are as even as drawn ones, the two would look like an hourglass.

# %%
rng = np.random.default_rng(0)
told = {
    name: one.codes if bits[name][1] > 0 else one.codes[:, :-1]
    for name, one in sets.items()
}


def narrowest(codes, n_codes):
    """Return where the code book is used least evenly; none if it is even at every level."""
    use = anatomy.code_use(codes, n_codes)
    ends = {0: "first", len(use) - 1: "last"}
    return "none" if use.min() > 0.95 else ends.get(int(use.argmin()), "middle")


places = [narrowest(told[name], one.n_codes) for name, one in sets.items()]
drawn = [
    narrowest(rng.integers(one.n_codes, size=told[name].shape), one.n_codes)
    for name, one in sets.items()
]
ledger.report("ch02.anatomy.hourglass", places, control=drawn)
pd.DataFrame(
    {
        "levels with content": [one.shape[1] for one in told.values()],
        "narrowest": places,
        "codes drawn at random": drawn,
    },
    index=list(NAMES.values()),
)

# %% [markdown]
# Items may share their ID. LETTER's table does it, and a catalogue of ours keeps them all:

# %%
letter = sets["beauty_letter"]
catalog = letter.catalog()
largest = max(
    range(letter.n_items), key=lambda i: len(catalog.items(letter.codes[i]))
)
sid = catalog.sid(largest)
print("items beyond the first of their ID:", catalog.shared())
print("for example", sid, "is the ID of items", catalog.items(sid).tolist())

# %% [markdown]
# (ch02-counts)=
# ## The line the paper lacks
#
# Count, over train interactions only, which code follows each prefix. Predict the most frequent one,
# whoever the user is. Teacher-forced on each user's last item, this is the accuracy by level. The
# black dashes are the ceiling: the same table fitted on the test items, which no predictor that
# ignores the user can pass.

# %% tags=["figure-counts"]
hits = {name: anatomy.count_accuracy(sets[name]) for name in COUNTED}
leaked = {
    name: anatomy.count_accuracy(sets[name], fitted_on="test")
    for name in COUNTED
}
ends = {name: checks.user_interval(one) for name, one in hits.items()}
figures.show(
    count_figure(
        {
            NAMES[name]: (hits[name].mean(0), ends[name], leaked[name].mean(0))
            for name in COUNTED
        }
    ),
    alt="Bars by level for four catalogues: below a tenth at level 1, about one "
    "sixth at level 2, over half at level 3, and 0.7 to 0.95 at level 4, close "
    "below the dashes of the ceiling.",
    caption="Accuracy of train counts that ignore the user, 95 % intervals over "
    "users. Deep codes are nearly determined by their prefix: predicting them "
    "is a test of the catalogue's memory. Level 4 of the Beauty trees is a number.",
)

# %% [markdown]
# How much of it is the tree and how much the items? The two Beauty trees have the same users and
# items, and differ by far at level 3 as at level 4. With codes drawn afresh for every
# interaction, a prefix says nothing, and deep codes are no easier than shallow ones.

# %%
TREES = ("beauty_rqkmeans", "beauty_rqvae")
broken = {name: checks.scrambled(sets[name]) for name in TREES}
ledger.report(
    "ch02.counts.accuracy",
    [float(x) for name in TREES for x in hits[name].mean(0)],
    interval=[pair for name in TREES for pair in ends[name]],
    control=[float(x) for name in TREES for x in broken[name].mean(0)],
    digits=4,
)

# %% [markdown]
# And how much of it is counting at all? A table of the *catalogue*, each item once and no log of
# users, knows which codes can follow a prefix and nothing else. At level 3 it stays a few points
# behind the counts; at level 4 it is nearly as good on three trees of four.

# %%
listed = {
    name: NGramCounts(
        sets[name].codes,
        sets[name].n_codes,
        weights=np.ones(sets[name].n_items),
    ).hits(sets[name].codes[sets[name].split().test.targets])[:, 2:]
    for name in COUNTED
}
ledger.report(
    "ch02.counts.catalogue",
    [float(x) for one in listed.values() for x in one.mean(0)],
    interval=[
        pair for one in listed.values() for pair in checks.user_interval(one)
    ],
    control=broken["beauty_rqkmeans"][:, 3].mean(),
    digits=4,
)

# %%
drop = {name: one[:, 2] * 1.0 - one[:, 1] for name, one in hits.items()}
smallest = min(drop, key=lambda name: drop[name].mean())
gone = broken["beauty_rqkmeans"][:, 2] * 1.0 - broken["beauty_rqkmeans"][:, 1]
ledger.report(
    "ch02.counts.deterministic",
    drop[smallest].mean(),
    interval=checks.user_interval(drop[smallest])[0],
    control=gone.mean(),
    control_interval=checks.user_interval(gone)[0],
    digits=4,
)


# %%
def between(found):
    """Return level 3 of the RQ-VAE tree minus that of the other, for each user."""
    return found["beauty_rqvae"][:, 2] * 1.0 - found["beauty_rqkmeans"][:, 2]


ledger.report(
    "ch02.counts.kind",
    between(hits).mean(),
    interval=checks.user_interval(between(hits))[0],
    control=between(broken).mean(),
    control_interval=checks.user_interval(between(broken))[0],
    digits=4,
)

# %% [markdown]
# (ch02-tree)=
# ## The tree, node by node
#
# Click a first code above, or choose it from the list; below are the nodes of its subtree, a band for each
# number of codes known, as wide as the share of test items that pass through. The colour is the accuracy of the
# next code there. In the largest subtree even three known codes leave dozens of items apart; in the
# small ones the prefix has said it all.

# %%
split = main.split()
chart = tree_explorer(
    main.codes[split.test.targets],
    {
        "train counts": hits["beauty_rqkmeans"],
        "best without the user": leaked["beauty_rqkmeans"],
    },
    n_codes=main.n_codes,
    min_items=3,
)
figures.show_chart(
    chart,
    alt="Bars of eleven subtrees of Beauty by test items, largest to smallest; "
    "below, the nodes of the chosen one in three bands coloured by accuracy, "
    "dark in the largest subtree, bright in small ones.",
    caption="Count table on subtrees of Beauty (RQ-KMeans), from the largest to "
    "the smallest; nodes with one or two test items are left out. The second predictor "
    "is fitted on the test items: the most that a table can know. These data carry "
    "no names of items; the films below do.",
)

# %% [markdown]
# ## A catalogue of our own
#
# Everything above needs downloads. What ships with the installed packages is enough to make a
# catalogue: titles and genres of MovieLens films with at least 20 ratings, embedded by MiniLM,
# quantised level by level (residual k-means, three levels of 32 codes). Training is in double
# precision so that codes are the same on every processor; faiss encodes with the same code books.

# %%
own = movielens()
films = read_films()
vectors = tokenizer.embed(films["text"].tolist())
model = tokenizer.ResidualTokenizer.fit(vectors, n_levels=3, n_codes=32, seed=0)
greedy = model.encode(vectors)
agree = float((model.encode_faiss(vectors) == greedy).mean())
swapped = tokenizer.ResidualTokenizer(model.codebooks[[1, 0, 2]])
differ = float((swapped.encode_faiss(vectors) == greedy).mean())
assert agree > 0.999 > 0.5 > differ
print(f"equal to faiss: {agree:.3f}; code books exchanged: {differ:.3f}")
anatomy.summary(own).round(3)

# %% [markdown]
# Here a subtree is a kind of film: point at a node for titles that stand there.

# %%
last = own.split().test.targets
chart = tree_explorer(
    own.codes[last],
    {
        "train counts": anatomy.count_accuracy(own),
        "best without the user": anatomy.count_accuracy(own, fitted_on="test"),
    },
    n_codes=own.n_codes,
    names=[own.texts[film] for film in last],
)
figures.show_chart(
    chart,
    alt="Bars of ten subtrees of a catalogue of films by test items; below, the "
    "nodes of the chosen one in two bands coloured by accuracy. A list names "
    "subtrees by three films each.",
    caption="Count table on subtrees of our own catalogue of films; nodes with one "
    "test item are left out. Titles are the most frequent among the test items.",
)

# %% [markdown]
# A new film gets its codes from the frozen code books, and enters the catalogue without training.

# %%
catalog = SidCatalog(own.codes, own.n_codes)
text = "Solaris. Genres: Drama, Mystery, Sci-Fi"
code = model.encode(tokenizer.embed([text]))
(item,) = catalog.insert(code)
near = [films["title"][i] for i in catalog.items(code[0, :2]) if i < len(films)]
print("codes", code[0].tolist(), "beside", near[:4])
print(catalog)

# %% [markdown]
# ## What the paper's tables say to each other
#
# The paper's data are private, so its absolute numbers cannot be checked here. They can be compared
# with each other: are the stated gains those of the tables, and are quantities that are printed twice
# the same? Two quantities differ by more than rounding could do.

# %%
gains = percentages()
twice = printed_twice()
ledger.report(
    "ch02.paper.percentages",
    gains,
    control=percentages(exchanged=True),
    digits=5,
)
ledger.report("ch02.paper.twice", sum(a != b for a, b in twice.values()))
pd.DataFrame(twice, index=["first", "second"]).T
