"""Every public door of the method refuses bad input clearly."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ur_worlds import SHAPE, history, made, world

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
import doors

from lib.unified_ranking.actions import ActionVocab
from lib.unified_ranking.examples import Log, join
from lib.unified_ranking.losses import CountMinSketch
from lib.unified_ranking.serving import Request, Retriever
from lib.unified_ranking.training import TrainConfig

P = "unified_ranking"
VOCAB = ActionVocab(("save", "hide"))
CONTENT, _, LOG = world(n_users=4, n_items=10, n_events=12)
EXAMPLES_ = join(LOG, LOG, 5)
BATCH = EXAMPLES_.batch([0, 5])
TABLE = torch.from_numpy(CONTENT)
ITEMS = torch.randn(10, 5, generator=torch.Generator().manual_seed(0))
EYE, TWO = torch.eye(2), torch.tensor([0, 1])
PARTS = torch.zeros(1, 1, 2, 2)
MODEL = made()
MODEL.seal()
RETRIEVER = Retriever(MODEL, ITEMS)
PAST = {"items": np.array([3, 1]), "actions": np.zeros((2, 3)), "times": np.array([1.0, 2.0])}
FOUND, CACHE = RETRIEVER.retrieve(Request(**PAST, when=9.0, k=3))
FRAME = pd.DataFrame(
    {"user": [1, 2], "item": [0, 1], "time": [1.0, 2.0], "save": [0, 1], "hide": [1, 0]}
)
RATES = {"flops_per_second": 1e9, "bytes_per_second": 1e9, "fixed_seconds": 1e-3}


def shape_of():
    return {"d_content": 4, "n_actions": 2}


MODULES = {
    "": {
        "ActionVocab": lambda: {"names": ["save", "hide"]},
        "ModelConfig": shape_of,
        "Request": lambda: {**PAST, "when": 9.0},
        "Retriever": lambda: {"model": MODEL, "content": ITEMS, "index": None},
        "Stack": lambda: {"model": MODEL, "content": ITEMS, "ranker": None},
        "TrainConfig": lambda: {"positive": [0]},
        "UnifiedRanker": lambda: {"config": SHAPE},
        "join": lambda: {"past": LOG, "shown": LOG, "max_events": 4},
        "read_log": lambda: {
            "frame": FRAME, "vocab": VOCAB, "items": [0, 1], "user": "user", "item": "item",
            "time": "time",
        },
        "recommend": lambda: {"retriever": RETRIEVER, "request": Request(**PAST, when=9.0)},
        "sessions": lambda: {"users": np.array([1, 1]), "times": np.array([0.0, 9.0]), "gap": 5.0},
        "train": lambda: {
            "model": made(), "content": TABLE, "examples": EXAMPLES_, "config": None,
        },
    },
    ".tensors": {
        "tensor": lambda: {"name": "x", "value": EYE, "shape": ("n", "n")},
        "flags": lambda: {"name": "x", "value": np.array([0, 1]), "shape": ("n",)},
        "mix": lambda: {"keys": np.array([1, 2])},
        "weight_hash": lambda: {"model": MODEL},
    },
    ".actions": {
        "with_mask": lambda: {"actions": torch.zeros(1, 2, 1), "where": EYE[:1] > 0},
        "mask_actions": lambda: {
            "actions": torch.zeros(1, 2, 1), "share": 0.2, "generator": torch.Generator(),
        },
    },
    ".attention": {
        "falcon_mask": lambda: {"lengths": torch.tensor([3]), "n": 3, "k": 2},
        "attend_history": lambda: {"query": PARTS, "keys": PARTS, "values": PARTS},
        "merge": lambda: {
            "out": EYE, "weight": EYE[0], "other": EYE, "other_weight": EYE[1],
        },
        "decode": lambda: dict.fromkeys(
            ("query", "key", "value", "past_keys", "past_values"), PARTS
        ),
    },
    ".model": {
        "History": lambda: {
            name: getattr(history(), name) for name in ("vectors", "actions", "times", "lengths")
        },
        "KVCache": lambda: {
            name: getattr(CACHE, name) for name in ("keys", "values", "lengths", "last_times")
        },
    },
    ".losses": {
        "CountMinSketch": lambda: {"width": 10, "depth": 2},
        "expected_counts": lambda: {
            "share": np.array([0.5, 0.25]), "n_batch": 3, "n_random": 2, "n_items": 10,
        },
        "log_denominator": lambda: {
            "positive": EYE[0], "negative": EYE, "log_expected": EYE[0], "hit": EYE > 0,
        },
        "sampled_softmax": lambda: {
            "queries": EYE, "targets": EYE, "target_items": TWO, "negatives": EYE,
            "negative_items": TWO, "expected": torch.ones(2),
        },
        "next_engaged": lambda: {
            "engaged": EYE > 0, "times": torch.zeros(2, 2).double(), "lengths": TWO,
        },
        "action_loss": lambda: {
            "logits": torch.zeros(1, 2, 2), "labels": torch.zeros(1, 2, 2), "where": EYE[:1] > 0,
            "weights": [1.0, 2.0],
        },
    },
    ".examples": {
        "Log": lambda: {
            "users": np.array([1, 2]), "items": np.array([0, 1]), "times": np.array([0.5, 1.5]),
            "actions": np.array([[0, 1], [1, 0]]), "slates": np.array([-1, 4]),
        },
        "buckets": lambda: {"log": LOG, "n": 2},
        "join_buckets": lambda: {"pasts": None, "shown": None, "max_events": 4},
    },
    ".evaluation": {
        "hit_at": lambda: {"scores": np.array([[2.0, 1.0]]), "labels": np.array([[1, 0]])},
        "slate_auc": lambda: {"scores": np.array([[2.0, 1.0]]), "labels": np.array([[1, 0]])},
        "recall_at": lambda: {
            "scores": np.array([[2.0, 1.0]]), "targets": np.array([0]),
            "exclude": np.array([[0, 1]]),
        },
    },
    ".training": {
        "history_of": lambda: {
            "batch": BATCH, "vectors": TABLE, "share": 0.2, "generator": torch.Generator(),
        },
        "step_loss": lambda: {
            "model": None, "content": TABLE, "batch": BATCH, "config": TrainConfig((0,)),
            "sketch": CountMinSketch(10, 1), "generator": torch.Generator(),
        },
    },
    ".pool": {
        "KVPool": lambda: {"memory": None},
    },
    ".serving": {
        "rank": lambda: {"model": MODEL, "cache": CACHE, "candidates": FOUND},
    },
    ".flops": {
        **{name: lambda: {"n": 8, "d": 4, "layers": 2} for name in ("encode", "cache_bytes")},
        **{
            name: lambda: {"n": 8, "k": 3, "d": 4, "layers": 2}
            for name in ("decode", "prefill", "separate_over_unified")
        },
        "saved_seconds": lambda: {"n": 8, "d": 4, "layers": 2, **RATES},
        "crossover": lambda: {"d": 4, "layers": 2, **RATES},
    },
}  # fmt: skip

EXAMPLES = {f"{P}.{name}": one for name, one in MODULES[""].items()}


def fine(found):
    """Nothing is in order, and has no hash and no flag: an empty log, an empty array."""
    return len(found) == 0


def alike(found):
    """Arrays of any shape are mixed, elementwise."""
    return found.shape == (1, 2)


def named(found):
    """Users may have names."""
    return len(set(found.users.tolist())) == 1


RIGHT = {
    (f"{P}.read_log", "frame", "text"): named,
    (f"{P}.examples.read_log", "frame", "text"): named,
    (f"{P}.tensors.mix", "keys", "empty"): fine,
    (f"{P}.tensors.mix", "keys", "shape"): alike,
    (f"{P}.tensors.flags", "value", "empty"): fine,
    (f"{P}.losses.expected_counts", "share", "empty"): fine,
}


@pytest.mark.parametrize("module", MODULES)
def test_every_door_refuses_bad_input_clearly(module):
    package = f"{P}{module}"
    examples = {f"{package}.{name}": one for name, one in (MODULES[""] | MODULES[module]).items()}
    problems, closed = doors.survey(package, examples, RIGHT)
    assert not [line for found in problems.values() for line in found]
    assert not closed, "an example is missing"
    assert problems


def test_an_empty_log_is_a_log():
    none = np.empty(0, np.int64)
    log = Log(none, none, none.astype(float), np.empty((0, 2)), none)
    assert len(log) == 0
    assert len(join(log, log, 3)) == 0
