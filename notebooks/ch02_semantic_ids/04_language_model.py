# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A pretrained language model
#
# The paper attaches its encoder to language models of up to four billion parameters. Here it is
# attached to the first of the thirty layers of SmolLM2-135M, with the vocabulary cut to the words of
# the titles: **truncated pretrained**, not SmolLM2. The encoder goes in through `inputs_embeds`, as for
# other causal models of Hugging Face; the thirty layers run in the opt-in profile `full` on a GPU and were
# *not* run here.
#
# Data: Amazon Industrial, 3,686 items with titles and three codes each. Rows of the training batches
# are of the paper's three kinds: text and codes interleaved, one pair in either order, codes only.
# The titles of 200 items are never shown with their codes. Three seeds, 60 steps of six rows of 48
# tokens, which is a fifth of a pass over the data: what is said below holds for a run so short, and
# the {doc}`previous notebook </notebooks/ch02_semantic_ids/03_experiment>` shows what becomes of early leads. Two tables stand beside the models: the
# counts of all train interactions, and the counts of *what each run has read*, which is the fair one.
# The floor is the most frequent code of each level. Intervals are over seeds and examples; training is
# in single precision.

# %%
import pandas as pd

from lib.core import figures
from lib.semantic_ids.study import figures as draw
from lib.semantic_ids.study.experiment import report
from lib.semantic_ids.study.lm_arms import bleu, run_lm_arms

figures.use()
study = run_lm_arms()
LEVELS = (1, 2, 3)
rows = {
    arm: [study.accuracy(arm, n) for n in LEVELS]
    for arm in (
        "count table",
        "table of what was read",
        "no prefix",
        *study.results,
    )
}

# %% tags=["figure-language-model"]
figures.show(
    draw.accuracy_figure({"Industrial, 60 steps": rows}),
    alt="Accuracy at three levels with intervals: two count tables, the most frequent code, flat, "
    "PrefixMem and rows at random. The tables are far above all models at level 3.",
    caption="Next item of 1,000 held-out interactions, Industrial, teacher-forced, three seeds. After so "
    "short a run flat is where the most frequent code is, PrefixMem a little above, and both tables far "
    "above every model at the deepest level.",
)

# %% tags=["trained-shares"]
report(
    "ch02.llm.prefixmem",
    study.gain("PrefixMem", "flat"),
    control=study.gain("PrefixMem, rows at random", "flat"),
)
report(
    "ch02.llm.counts",
    [
        study.gain("count table", "PrefixMem"),
        study.gain("table of what was read", "PrefixMem"),
    ],
    control=study.gain("no prefix", "PrefixMem"),
)
report(
    "ch02.llm.floor",
    study.gain("flat", "no prefix"),
    control=study.gain("PrefixMem, rows at random", "no prefix"),
)

# %% [markdown]
# ## Text
#
# BLEU of the titles generated for the 200 hidden items from their codes. After so few steps no title
# comes out right; what can be asked is which model is nearer, and whether rows drawn at random at
# every look-up, from which nothing can be learnt, come as near. A point of BLEU of titles that are all
# wrong is no text, whatever the verdict.

# %% tags=["trained-bleu"]
report(
    "ch02.t11.bleu",
    study.bleu_gain("PrefixMem", "flat"),
    control=study.bleu_gain("PrefixMem, rows at random", "flat"),
)
pd.DataFrame(
    {
        arm: [100 * float(bleu(one.bleu_counts)) for one in runs]
        for arm, runs in study.results.items()
    },
    index=[f"seed {n}, BLEU (%)" for n in range(3)],
).T.round(2)
