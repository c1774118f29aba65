# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Construction and proofs
#
# PrefixMem gives every prefix of a Semantic ID rows of its own in a few tables, found by hashing,
# and adds what it finds there to the embedding of the last code. This notebook asks three things
# before any model is trained. What can rows say that embeddings of single codes cannot? How often
# do two prefixes get the same rows? And does the hash, as printed, do what a hash should? Proofs
# are on the {doc}`theory page </book/ch02_semantic_ids/theory>`; here code checks them.

# %%
import numpy as np
import pandas as pd

from lib.core import figures, ledger
from lib.semantic_ids import (
    CatalogRows,
    PerfectHash,
    PrefixHash,
    StaleRowsError,
    expressive,
    hashing,
    load,
)
from lib.semantic_ids.study import checks
from lib.semantic_ids.study.plots_theory import (
    collision_figure,
    fill_figure,
    share_figure,
)

figures.use()

# %% [markdown]
# ## Sums cannot say "exclusive or"
#
# Enter two codes as two tokens, add up what each contributes to the next code's logits, and the
# exclusive or is out of reach ({prf:ref}`ch02-prp-xor`). Whether a sum does represent a map is a
# question of linear inequalities. For each of the 16 maps of two binary codes we look for terms; if
# there are none, for multiples of the inequalities that cancel. Both answers are checked exactly.

# %%
square = expressive.all_prefixes(2, 2)
answers = {
    name: expressive.additive(square, values, n_codes=2)
    for name, values in expressive.boolean_maps()
}
failing = [name for name, one in answers.items() if not one.feasible]
pd.DataFrame(
    [
        (
            name,
            answers[name].feasible,
            " + ".join(f"{m}·({row + 1})" for row, m in (certificate or ()))
            or "terms found and checked",
        )
        for name in ("0001", "0111", "0110", "1001")
        for certificate in [answers[name].certificate]
    ],
    columns=["values at 00, 01, 10, 11", "a sum does it", "proof"],
)

# %%
ledger.report(
    "ch02.theory.xor",
    not answers["0110"].feasible,
    control=answers["0001"].feasible,
)
ledger.report("ch02.theory.xor_share", len(answers) - len(failing))

# %% [markdown]
# With larger code books almost no map is a sum. One row of two numbers for each prefix represents
# every map ({prf:ref}`ch02-prp-rows`). A transformer is more than a sum: its layers can mix codes.
# But they have to learn to, prefix by prefix, and a row does it by being there.

# %%
N_MAPS = 200
books = [2, 3, 4, 5]
sums = [checks.additive_share(k, n_maps=N_MAPS, seed=0) for k in books]
rows_share = checks.one_row_share(4, n_maps=N_MAPS, seed=0)
figures.show(
    share_figure(books, sums, N_MAPS),
    alt="Share of random maps that a sum represents, falling from nearly nine "
    "tenths at two codes to almost none at five; rows stay at one.",
    caption="200 random maps from two codes to the next, for each size of the "
    "code book, with 95 % intervals. One row a prefix represents all of them.",
)

# %%
ledger.report(
    "ch02.theory.xor_rows", rows_share, control=sums[books.index(4)] < 1
)

# %% [markdown]
# ## Counting
#
# A flat model has one row for each code of each level. In a full tree, how many prefixes stand
# before a code of level 1, 2, 3, 4? And what does the paper's encoder cost? Its tables are large,
# but a look-up is no arithmetic: only the output projection is.

# %%
full = expressive.all_prefixes(4, 4)
counted = [
    len(np.unique(full[full[:, level] == 0][:, :level], axis=0))
    for level in range(4)
]
parameters = expressive.encoder_parameters(
    orders=4, heads=4, rows=2_000_000, width=256
)
share = expressive.projection_share(
    width=256, model_width=2048, model_parameters=1.7e9, levels=5, active=2
)
print("prefixes before one code, by level:", counted)
print(f"parameters in the tables: {parameters:,}")
print(f"arithmetic of the projection: {100 * share:.4f} % of the model's")

# %%
ledger.report("ch02.theory.contexts", counted)
ledger.report("ch02.theory.parameters", parameters)
ledger.report("ch02.theory.macs", share, digits=4)

# %% [markdown]
# ## Collisions of a random function
#
# N prefixes in T rows fill $T(1-(1-1/T)^N)$ of them on average ({prf:ref}`ch02-prp-rows-filled`).
# Simulated random functions agree within chance; the same formula without its factor T/N does not.

# %%
SETTINGS = [(50, 64), (1000, 300), (5000, 16384), (12000, 65536)]
tests = pd.DataFrame(
    [
        (n, t, *checks.excess_z(n, t, repeats=400, seed=seed))
        for seed, (n, t) in enumerate(SETTINGS)
    ],
    columns=["prefixes", "rows", "distance (s.e.)", "without T/N (s.e.)"],
)
tests.round(1)

# %%
ledger.report(
    "ch02.collisions.formula",
    tests["distance (s.e.)"].max(),
    control=bool((tests["without T/N (s.e.)"] > 10).all()),
    digits=3,
)

# %% [markdown]
# ## Collisions in a real catalogue
#
# The 11,696 prefixes of length 3 in LETTER's code table for Beauty, hashed by the formula as
# printed (distinct primes, exclusive or, modulus a power of two) and by ours. One head collides
# as often as a random function would, whatever the hash. What saves the memory is that four heads
# rarely collide *together*; and there the two hashes differ.

# %%
letter = load("beauty_letter").catalog().level(3).prefixes
SIZES = [256, 1024, 4096, 16384, 65536]
kinds = {
    name: {t: PrefixHash(4, 4, 4, t, scheme=scheme) for t in SIZES}
    for name, scheme in (("as printed", "printed"), ("ours", "mixed"))
}
figures.show(
    collision_figure(letter, SIZES, kinds),
    alt="Left: collisions of one head fall with the size of the table along the "
    "curve of a random function. Right: four heads confuse over one per cent "
    "of prefixes at 256 rows as printed, none with our hash.",
    caption="Left: share of prefixes beyond the first of their row, four heads "
    "each; the line is the formula. Right: share of prefixes that share all four "
    "rows with another one.",
)

# %%
table = pd.DataFrame(
    [
        (
            name,
            t,
            hashing.collision_table(one, letter)["excess share"].mean(),
            hashing.expected_excess(len(letter), t),
            hashing.confused(hashing.prefix_rows(one, letter)),
        )
        for name, by_size in kinds.items()
        for t, one in by_size.items()
        if t in (256, 16384, 65536)
    ],
    columns=["hash", "rows", "one head", "expected", "confused by four"],
)
table.round(4)

# %%
ours = table[table["hash"] == "ours"].set_index("rows")
printed = table[table["hash"] == "as printed"].set_index("rows")
at_256 = printed["confused by four"][256] / len(letter)
worst = ours["confused by four"].max() / len(letter)
ledger.report(
    "ch02.collisions.one_head",
    [ours["one head"][t] for t in (16384, 65536, 256)],
    digits=4,
)
ledger.report(
    "ch02.collisions.four_heads",
    worst,
    control=bool(at_256 > 0.001 and at_256 > 2 * worst),
)

# %% [markdown]
# ## Three faults of the formula
#
# 1. *Code 0 adds nothing.* A prefix and its extension by code 0 have the same exclusive or. With a
#    table for each order that does no harm; where lengths share a table they are one and the same.
# 2. *Small multipliers leave the table empty.* Products with 3, 5 and 7 stay below 2,048.
# 3. *A power of two as modulus reads the low bits only.* Codes that differ in high bits alone are
#    one code in every head, and the lowest bit is the same in all heads.

# %%
beauty = load("beauty_rqkmeans").catalog()
prefixes = beauty.level(3).prefixes
small = np.array([[3], [5], [7], [11]])
fills = {
    "multipliers 3, 5, 7": PrefixHash(
        4, 4, 1, 16384, scheme="printed", multipliers=small
    ),
    "large primes": PrefixHash(4, 4, 1, 16384, scheme="printed"),
    "ours": PrefixHash(4, 4, 4, 16384),
}
figures.show(
    fill_figure(prefixes, fills),
    alt="Share of rows filled along the table. With multipliers 3, 5, 7 only "
    "the first eighth is used; large primes and ours fill it evenly.",
    caption="Where 7,840 prefixes of length 3 land among 16,384 rows (Beauty, "
    "RQ-KMeans). Dashed: what a random function fills.",
)

# %%
filled = {
    name: [
        len(np.unique(head)) for head in hashing.prefix_rows(one, prefixes).T
    ]
    for name, one in fills.items()
}
expected = hashing.expected_rows(len(prefixes), 16384)
mean_filled = float(np.mean(filled["ours"]))
few = filled["multipliers 3, 5, 7"][0]
ledger.report("ch02.hash.small_multipliers", [few, expected], digits=6)
ledger.report(
    "ch02.hash.rows_filled", mean_filled, control=few < mean_filled / 2
)

# %%
zero = pd.DataFrame(
    [
        (
            length,
            *(
                checks.zero_confused(
                    PrefixHash(4, 4, 4, 16384, kind="full", scheme=scheme),
                    beauty.level(length).prefixes,
                )
                for scheme in ("printed", "mixed")
            ),
        )
        for length in (1, 2, 3)
    ],
    columns=["length", "as printed", "ours"],
)
print("share of prefixes that are one with their extension by code 0:")
zero

# %%
apart = [
    checks.told_apart(PrefixHash(4, 4, 4, 64, scheme=scheme), 256)
    for scheme in ("printed", "mixed")
]
parity = [
    checks.parity_share(PrefixHash(4, 4, 4, 16384, scheme=scheme), beauty.codes)
    for scheme in ("printed", "mixed")
]
print("first codes told apart by four heads of 64 rows:", apart)
print(f"lowest bit equal in four heads: {parity[0]:.3f}, ours {parity[1]:.3f}")

# %% [markdown]
# Four independent heads agree in their lowest bit with probability 1/8. As printed they always do.

# %%
ledger.report(
    "ch02.hash.zero",
    bool((zero["ours"] == 0).all()),
    control=bool((zero["as printed"] == 1).all()),
)
ledger.report("ch02.hash.power_of_two", apart)
ledger.report("ch02.hash.parity", parity[0] == 1, control=parity[1] < 0.5)

# %% [markdown]
# ## The same rows everywhere
#
# A saved table is worth something only if the next process finds the same rows. Two fresh processes
# with different hash seeds, and Python's own hash of the same bytes for comparison.

# %%
digests = checks.process_digests((1, 2))
same = digests[0][0] == digests[1][0]
salted = digests[0][1] != digests[1][1]
print("our rows agree:", same)
print("Python's hash differs:", salted)
ledger.report("ch02.hash.processes", same, control=salted)

# %% [markdown]
# ## A perfect hash, and what it costs
#
# For a small catalogue one can rank the prefixes of each length: one row each, none empty. The rank
# knows its prefixes, so a stranger is refused instead of landing in someone's row. The price: a new
# item moves the ranks after it.

# %%
perfect = PerfectHash(beauty, 3)
ranks = perfect.index(beauty.codes)[:, 3, 2, 0]
distinct = len(np.unique(beauty.codes[:, :3], axis=0))
used = len(np.unique(ranks))
stranger = [255, 255, 255, 255]
try:
    perfect.index([stranger])
    refused = ""
except ValueError as error:
    refused = str(error)
print(used, "rows for", distinct, "prefixes; a stranger:", refused)
ledger.report(
    "ch02.hash.perfect", [used / distinct, distinct - used], control=refused
)

# %% [markdown]
# ## Items come and go
#
# Inserting an item needs no training. With our hash the rows of all other items stay what they
# were, and the rows that the new item reads can be listed: at most orders times heads, shared by
# the item's levels. What was computed for the old catalogue refuses to answer.

# %%
h = PrefixHash(4, 4, 4, 16384)
catalog = beauty.copy()
old_items = catalog.alive
rows = CatalogRows(catalog, h)
before = rows.of(old_items)
(new,) = catalog.insert([[3, 7, 1, 250]])
try:
    rows.of(old_items)
    stale = ""
except StaleRowsError as error:
    stale = str(error)
after = CatalogRows(catalog, h)
touched = hashing.touched_rows(h, [catalog.sid(int(new))])
print(len(touched), "rows read by the new item;", "stale rows:", stale)

# %%
unchanged = bool((after.of(old_items) == before).all())
catalog.delete([new])
back = all(
    np.array_equal(catalog.level(n).prefixes, beauty.level(n).prefixes)
    for n in range(5)
)
ledger.report(
    "ch02.update.rows",
    unchanged and back and len(touched) <= 4 * 4 * 4,
    control=stale,
)
