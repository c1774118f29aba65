# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The recommender replay on real ratings
#
# A recommender shows ten films; the best of them that the user will like later joins the user's
# profile, and the next list is made from it. Eight lists in a row without such a film are a
# collapse. The paper runs this on MovieLens-25M, which may not be passed on. Here the same protocol
# runs on the 100,004 ratings of MovieLens (latest, small) that ship in a package: our numbers are
# about these 671 users, and say nothing about the paper's counts. `load_movielens` reads the large
# archives of a reader who has them.

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd

from lib.collapse_warning.audit import accepted_configurations
from lib.collapse_warning.contract import FPContract
from lib.collapse_warning.detectors import textbook
from lib.collapse_warning.effects import ClusteredEffect
from lib.collapse_warning.evaluation import evaluate_all, summary
from lib.collapse_warning.plots_contract import interval_figure
from lib.collapse_warning.plots_theory import miss_figure
from lib.collapse_warning.replay import (
    HORIZONS,
    ReplayConfig,
    index_ratings,
    load_movielens,
    load_movielens_small,
    replay,
    replay_parallel,
    shuffle_time,
)
from lib.core import figures, ledger
from lib.core.profile import pick

figures.use()
SEED = 20260529

# %%
ratings = load_movielens_small()
index = index_ratings(ratings)
runs = {
    h: replay(ratings, ReplayConfig(horizon=h), index=index) for h in HORIZONS
}
print(
    f"{len(ratings):,} ratings, {ratings['user'].nunique()} users, {len(index.items):,} films somebody liked"
)
pd.DataFrame({f"h = {h}": run.counts() for h, run in runs.items()})

# %% [markdown]
# One user, step by step: films found, then the first list without any, and from there the same
# list for ever.

# %%
main = runs[50]
events = main.included().query("label == 'event'")
user = int(events["user"].iloc[0])
miss = main.misses[user]
first = int(np.argmax(miss)) + 1
print(f"user {user}: first miss at step {first}, collapse at step {len(miss)}")
same_list = [
    bool((main.slates[user][t] == main.slates[user][t - 1]).all())
    for t in range(1, len(miss))
]
print(
    "steps whose list repeats the one before:",
    [t + 1 for t, s in enumerate(same_list, 1) if s],
)

# %% [markdown]
# ## A miss is never left
#
# The {doc}`theory page </book/ch05_collapse_warning/theory>` proves it for any engine without
# chance; here it is seen. An engine that draws its lists at random is the control: its state moves
# on after a miss.

# %%
random_run = replay(ratings, ReplayConfig(), "random", seed=SEED, index=index)
included = main.included()["user"].tolist()
figures.show(
    miss_figure(
        {
            "frozen engine": [main.misses[u] for u in included],
            "random lists (control)": [
                random_run.misses[u] for u in random_run.included()["user"]
            ],
        }
    ),
    alt="Left: each row is hits up to the first miss and misses after it. "
    "Right: hits and misses mixed.",
    caption="Events and controls at horizon 50, a row each. Left: no hit ever "
    "follows a miss. Right: an engine that draws anew recovers.",
)

# %%
collapsed = main.episodes[main.episodes["collapse"] > 0]
delay = (collapsed["collapse"] - collapsed["first_miss"]).unique()
missed = sum(m.any() for m in main.misses.values())
print(
    f"{missed} of {len(main.misses)} episodes have a miss; hits after it: {main.hits_after_miss()}"
)
print("steps from the first miss to the collapse:", delay.tolist())
print("random engine, hits after a first miss:", random_run.hits_after_miss())

# %% [markdown]
# ## The frozen grid
#
# All 105 frozen configurations on these series, with the contract. Then nine textbook scores with
# swept thresholds, and the two dummies.

# %%
contract = FPContract()
accepted = {h: accepted_configurations(run) for h, run in runs.items()}
pd.DataFrame(
    {
        f"h = {h}": {
            "configurations accepted": accepted[h],
            "always alarm": contract.accepts(n, n),
            "never alarm": contract.accepts(0, n),
        }
        for h, n in ((h, run.counts()["controls"]) for h, run in runs.items())
    }
)

# %%
summary(evaluate_all(main.panel(), textbook(10), seed=SEED))

# %% [markdown]
# At horizon 50 and 60 no frozen configuration is accepted, as in the paper. At 40 there are some,
# all of them matrix profiles that alarm in the four controls whose run of misses is short; they hit
# no event or few. With 82 controls, four are in the band by the accident of these users.
#
# Swept, some detectors find a threshold in the band, and one hits more events than chance would. It
# does not see a collapse coming: the series of an event stops one step before the collapse and that
# of a control runs to the horizon, so a score that reacts to the place of the first miss tells the
# two apart by construction. The next notebook takes this up.

# %%
n_controls = main.counts()["controls"]
rng = np.random.default_rng(SEED)
lucky = np.mean(
    [
        contract.accepts(int(rng.binomial(n_controls, 0.05)), n_controls)
        for _ in range(2000)
    ]
)
expected = contract.accept_probability(0.05, n_controls)
print(
    f"alarms drawn for 5 % of units are accepted in {lucky:.0%} of draws, the theorem says {expected:.0%}"
)
ledger.report(
    "ch05.replay.accepts_nothing",
    accepted[50],
    control=f"drawn alarms are accepted in {lucky:.0%} of draws (exact: {expected:.0%})",
)
ledger.report("ch05.replay.accepts_nothing.h40", accepted[40])
ledger.report("ch05.replay.accepts_nothing.h60", accepted[60])

# %% [markdown]
# ## Directions
#
# Gain, persistence and diversity over the last ten steps, events against controls; users are drawn
# with replacement.

# %%
draws = pick(smoke=200, book=4000, full=20_000)
witnesses = {h: run.witnesses() for h, run in runs.items()}
effects = {
    h: {
        name: ClusteredEffect.from_rows(
            table[name], table["user"], table["is_event"]
        )
        .bootstrap(draws, seed=SEED)
        .loc["cohen_d"]
        for name in ("G", "p", "delta")
    }
    for h, table in witnesses.items()
}

# %%
figures.show(
    interval_figure(
        {
            f"h = {h}": {
                name: tuple(row[["point", "low", "high"]])
                for name, row in rows.items()
            }
            for h, rows in effects.items()
        },
        "Cohen's d, event rows against control rows",
        null=0,
    ),
    alt="Cohen's d of gain, persistence and diversity at three horizons with intervals.",
    caption="MovieLens (latest, small), 95 % intervals over users. Gain is lower "
    "in events, against the paper's direction at 50 and 60.",
)

# %%
means = {
    h: table.groupby("is_event")[["G", "p", "delta"]].mean()
    for h, table in witnesses.items()
}
pd.concat(
    {
        f"h = {h}": table.rename(index={False: "controls", True: "events"})
        for h, table in means.items()
    }
).round(4)

# %%
table = witnesses[50]
labels = table.groupby("user")["is_event"].first()
shuffled = pd.Series(
    np.random.default_rng(SEED).permutation(labels.to_numpy()),
    index=labels.index,
)
placebo = (
    ClusteredEffect.from_rows(
        table["G"], table["user"], table["user"].map(shuffled)
    )
    .bootstrap(draws, seed=SEED)
    .loc["cohen_d"]
)


def direction(h, name):
    pair = means[h][name]
    return "event > control" if pair[True] > pair[False] else "event < control"


covers = bool(placebo["low"] <= 0 <= placebo["high"])
print(
    f"shuffled labels: d = {placebo['point']:.2f}, {placebo['low']:.2f} to {placebo['high']:.2f}"
)
ledger.report("ch05.replay.direction.gain", direction(50, "G"), control=covers)
ledger.report("ch05.replay.direction.gain.h40", direction(40, "G"))
ledger.report("ch05.replay.direction.gain.h60", direction(60, "G"))
ledger.report("ch05.replay.direction.p", direction(50, "p"))
ledger.report("ch05.replay.direction.delta", direction(50, "delta"))

# %% [markdown]
# ## Arms
#
# The same protocol with other engines, and with each user's times dealt out anew. Popularity and the
# shuffled arms keep absorbing misses. Where configurations are accepted it is again by where a few
# controls fall: the number goes from none to many with the seed.

# %%
n_seeds = pick(smoke=1, book=5, full=20)
arms = {
    "popularity": replay(ratings, ReplayConfig(), "popularity", index=index)
}
arms |= {
    f"random, seed {s}": replay(
        ratings, ReplayConfig(), "random", seed=s, index=index
    )
    for s in range(n_seeds)
}
for s in range(n_seeds):
    arms[f"shuffled time, seed {s}"] = replay(
        shuffle_time(ratings, s), ReplayConfig(), index=index
    )

# %%
arm_accepted = {
    name: accepted_configurations(run) for name, run in arms.items()
}
rows = {
    name: run.counts()
    | {
        "hits after a miss": run.hits_after_miss(),
        "accepted": arm_accepted[name],
    }
    for name, run in arms.items()
}
pd.DataFrame(rows).T

# %%
control_rows = main.included().query("label == 'control'")
never, starved = (
    (control_rows["first_miss"] == 0).sum(),
    control_rows["starved"].sum(),
)
print(
    f"controls: {never} never missed, {starved} were starved, {len(control_rows) - never - starved} missed too late to collapse"
)
counts = main.counts()
ledger.report(
    "ch05.ours.replay.counts",
    [counts[k] for k in ("events", "controls", "early", "short", "frontier")],
)

# %%
ledger.report("ch05.ours.replay.controls", [int(never), int(starved)])
ledger.report(
    "ch05.ours.replay.absorbing",
    main.hits_after_miss(),
    control=random_run.hits_after_miss() > 0,
)
ledger.report(
    "ch05.ours.replay.gain",
    [float(means[50].loc[True, "G"]), float(means[50].loc[False, "G"])],
)
ledger.report(
    "ch05.ours.replay.collapse", delay.tolist() == [main.config.streak - 1]
)
ledger.report("ch05.ours.replay.arms", sum(arm_accepted.values()))

# %% [markdown]
# ## The same again
#
# Twice, in another order of the rows, in shares on two processes, and without the shortcut that
# copies a repeated list.

# %%
mixed = replay(ratings.sample(frac=1, random_state=SEED), ReplayConfig())
slow = replay(ratings, ReplayConfig(), index=index, shortcut=False)
split = replay_parallel(ratings, ReplayConfig(), parts=2, n_jobs=2)
other = replay(ratings, ReplayConfig(), "random", seed=SEED + 1, index=index)


def same(a, b):
    equal = a.episodes.equals(b.episodes)
    return equal and all(
        np.array_equal(a.slates[u], b.slates[u]) for u in a.slates
    )


print(
    "another order:",
    same(main, mixed),
    "| no shortcut:",
    same(main, slow),
    "| two processes:",
    same(main, split),
)
ledger.report(
    "ch05.replay.deterministic",
    same(main, mixed) and same(main, slow),
    control=not same(random_run, other),
)
ledger.report("ch05.ours.replay.parallel", same(main, split))

# %% [markdown]
# ## The large archives
#
# Whoever has `ml-25m.zip`, `ml-20m.zip` or `ml-1m.zip` from GroupLens can run the protocol on it: name
# the file in `BOOK_MOVIELENS` and set `BOOK_PROFILE=full`. Users are split into shares, over the
# processes of this machine or, with `BOOK_SWEEP_BACKEND=dask`, over a cluster. Nobody ran this for the
# pages: the archives may not be passed on, and the loader is tested on a made-up archive.

# %%
archive = pick(smoke="", book="", full=os.environ.get("BOOK_MOVIELENS", ""))
if archive:
    large = load_movielens(
        Path(archive), Path(archive).stem.removeprefix("ml-")
    )
    for h in HORIZONS:
        whole = replay_parallel(large, ReplayConfig(horizon=h), parts=64)
        print(
            f"h = {h}:",
            whole.counts(),
            "hits after a miss:",
            whole.hits_after_miss(),
        )
else:
    print("no archive was given")
