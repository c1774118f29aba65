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
import torch

from lib.core import figures, ledger
from lib.semantic_ids import (
    PrefixHash,
    PrefixMem,
    PrefixMemConfig,
    hashing,
    load,
)
from lib.semantic_ids.study import checks, expressive, guarantees
from lib.semantic_ids.study.controls import LeakyEncoder
from lib.semantic_ids.study.figures import (
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
MAPS = ("binary maps as sums", "random maps with a row a prefix")
ledger.report(
    "ch02.theory.maps",
    dict(zip(MAPS, (len(answers) - len(failing), rows_share), strict=True)),
    control=dict(
        zip(
            MAPS,
            (len(answers) - len(failing), sums[books.index(4)]),
            strict=True,
        )
    ),
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
ledger.report(
    "ch02.theory.parameters",
    parameters,
    control=expressive.encoder_parameters(
        orders=1, heads=4, rows=2_000_000, width=256
    ),
)
apiece = expressive.projection_share(
    width=4 * 256, model_width=2048, model_parameters=1.7e9, levels=5, active=5
)
ledger.report("ch02.theory.macs", share, control=apiece, digits=4)

# %% [markdown]
# ## Two guarantees
#
# The output projection starts at zero, so the attached model is the bare model, bit for bit
# ({prf:ref}`ch02-prp-start`). And a vector depends on its own item's codes up to its place, on nothing
# else ({prf:ref}`ch02-prp-local`).

# %%
data = load("beauty_rqkmeans")
some = data.codes[np.stack([s[:5] for s in data.sequences[:32]])]
same, moved = (
    [
        guarantees.generative_identity(some, data.n_codes, trained=trained),
        guarantees.language_model_identity(some, data.n_codes, trained=trained),
    ]
    for trained in (False, True)
)
ledger.report("ch02.theory.identity", same, control=moved)

# %%
config = PrefixMemConfig(init_std=0.05, active_levels=(2, 3, 4))
torch.manual_seed(0)
causal, caught = (
    guarantees.sees_no_further(one, some, data.n_codes, config.d_model)
    for one in (
        PrefixMem(config),
        LeakyEncoder(data.n_levels, data.n_codes, config.d_model),
    )
)
ledger.report("ch02.theory.causal", causal, control=caught)

# %% [markdown]
# ## Collisions in a real catalogue
#
# The 11,696 prefixes of length 3 in LETTER's code table for Beauty, hashed by the formula as
# printed (distinct primes, exclusive or, modulus a power of two) and by ours. N prefixes in T rows
# fill $T(1-(1-1/T)^N)$ of them on average if the hash is a random function
# ({prf:ref}`ch02-prp-rows-filled`), and one head of either collides as often as that. What saves the memory is that four heads
# rarely collide *together*; and there, in small tables, the two hashes differ.

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
            hashing.excess(hashing.prefix_rows(one, letter)).mean(),
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
SHOWN = (16384, 65536, 256)
ours = table[table["hash"] == "ours"].set_index("rows")
printed = table[table["hash"] == "as printed"].set_index("rows")
small = np.array([[3], [5], [7], [11]])
badly = [
    hashing.excess(
        hashing.prefix_rows(
            PrefixHash(4, 4, 1, t, scheme="printed", multipliers=small), letter
        )
    ).mean()
    for t in SHOWN
]
ledger.report(
    "ch02.collisions.one_head",
    [ours["one head"][t] for t in SHOWN],
    control=badly,
    digits=4,
)
ledger.report(
    "ch02.collisions.four_heads",
    [int(ours["confused by four"][t]) for t in SHOWN],
    control=[int(printed["confused by four"][t]) for t in SHOWN],
)

# %% [markdown]
# ## Three faults of the formula
#
# 1. *Code 0 adds nothing.* A prefix and its extension by code 0 have the same exclusive or. With a
#    table for each order that does no harm; where lengths share a table they are one and the same.
# 2. *Small multipliers leave the table empty.* Products with 3, 5 and 7 stay below 2,048.
# 3. *A power of two as modulus reads the low bits only.* Codes that differ in high bits alone are
#    one code in every head, and the lowest bit is the same in all heads.

# %% tags=["figure-fill"]
beauty = load("beauty_rqkmeans").catalog()
prefixes = beauty.level(3).prefixes
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
print(f"a random function fills {expected:,.0f} rows on average")
ledger.report("ch02.hash.rows_filled", mean_filled, control=few)

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
    "ch02.hash.printed",
    [few, apart[0], zero["as printed"].min(), parity[0]],
    control=[mean_filled, apart[1], zero["ours"].max(), parity[1]],
)

# %% [markdown]
# ## Items come and go
#
# Inserting an item needs no training. A hash of codes does not look at the catalogue, so the rows of
# all other items stay what they were, and those that the new item reads can be listed: at most
# orders times heads ({prf:ref}`ch02-prp-update`).

# %%
catalog = beauty.copy()
(new,) = catalog.insert([[3, 7, 1, 250]])
rows = PrefixHash(4, 4, 4, 16384).index([catalog.sid(int(new))])[0, -1]
catalog.delete([new])
assert all(
    np.array_equal(catalog.level(n).prefixes, beauty.level(n).prefixes)
    for n in range(5)
)
print(rows.size, "rows read by the new item; gone, the trie is what it was")
pd.DataFrame(rows, index=[f"order {n}" for n in range(1, 5)]).add_prefix(
    "head "
)
