"""Every public door of the method refuses bad input clearly."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
import doors

from lib.semantic_ids import NGramCounts, PrefixHash, PrefixMemConfig, SidCatalog
from lib.semantic_ids.beam import BeamResult, CountSteps
from lib.semantic_ids.datasets import Examples, SidData
from lib.semantic_ids.transformer import GenerativeTransformer, TransformerConfig

CODES = np.array([[0, 1], [0, 3], [2, 3], [2, 2]])
CATALOG = SidCatalog(CODES, 4)
COUNTS = NGramCounts(CODES, 4, weights=[1, 2, 3, 4])
HASH = PrefixHash(2, 2, 2, 64)
SEQUENCES = [np.array([0, 1, 2, 3]), np.array([3, 2, 1])]
EXAMPLES_ = Examples(np.arange(2), (np.array([0, 1]), np.array([3])), np.array([2, 0]))
LOGS = np.log(np.full((4, 2, 4), 0.25, np.float32))
BEAM = BeamResult(CODES[None, :3], np.array([[-1.0, -2.0, -3.0]], np.float32))
DATA = SidData("own", CODES, 4, tuple(SEQUENCES))
MEMORY = PrefixMemConfig(n_levels=2, n_codes=4, d_model=8, d_mem=4, n_heads=2, table_size=11)
SHAPE = TransformerConfig(n_levels=2, n_codes=4, max_items=5, d_model=8, n_heads=2, n_layers=1)


def made():
    torch.manual_seed(0)
    return GenerativeTransformer(SHAPE).eval()


_codes = {"codes": CODES, "n_codes": 4}
_weighted = _codes | {"weights": np.ones(4)}
_logs = {"log_probs": LOGS, "targets": CODES}
MODULES = {
    "": {
        "SidCatalog": lambda: dict(_codes),
        "NGramCounts": lambda: dict(_weighted),
        "PrefixMem": lambda: {"config": MEMORY, "hashing": None},
        "PrefixHash": lambda: {"n_levels": 2, "max_order": 2, "n_heads": 2, "table_size": 64},
        "attach": lambda: {
            "lm": _Lm(),
            "encoder": None,
            "sid_token_ids": np.arange(8).reshape(2, 4),
        },
        "load": lambda: {"name": "games"},
        "GenerativeTransformer": lambda: {"config": SHAPE},
    },
    ".catalogue": {
        "prefix_ranks": lambda: {"codes": CODES},
        "check_codes": lambda: dict(_codes),
        "check_sequences": lambda: {"name": "sequences", "sequences": SEQUENCES},
    },
    ".counts": {"item_counts": lambda: {"sequences": SEQUENCES, "n_items": 4}},
    ".hashing": {
        "excess": lambda: {"rows": CODES},
        "confused": lambda: {"rows": CODES},
        "prefix_rows": lambda: {"hashing": HASH, "prefixes": CODES},
    },
    ".anatomy": {
        "distinct_prefixes": lambda: dict(_codes),
        "next_code_entropy": lambda: dict(_weighted),
        "code_use": lambda: dict(_codes),
        "contexts": lambda: dict(_codes),
        "determinism": lambda: dict(_weighted),
        "count_accuracy": lambda: {"data": DATA},
        "summary": lambda: {"data": DATA},
    },
    ".evaluation": {
        "hits": lambda: dict(_logs),
        "nll": lambda: dict(_logs),
        "top": lambda: _logs | {"k": 2},
        "fit_mixture": lambda: {"model": LOGS, "counts": LOGS, "targets": CODES},
        "count_log_probs": lambda: {"counts": COUNTS, "targets": CODES},
        "with_trie": lambda: _logs | {"catalog": CATALOG},
        "popularity_tertiles": lambda: {"targets": CODES, "train": CODES, "length": 1},
        "recall": lambda: {"result": BEAM, "targets": CODES[:1], "ks": [1, 2]},
        "item_recall": lambda: {
            "result": BEAM,
            "targets": np.array([1]),
            "catalog": CATALOG,
            "ks": [1, 2],
        },
        "valid_share": lambda: {"result": BEAM, "catalog": CATALOG},
        "distinct_first": lambda: {"result": BEAM},
        "shuffle_histories": lambda: {"examples": EXAMPLES_, "seed": 0},
        "teacher_forced": lambda: {"model": made(), "examples": EXAMPLES_, "codes": CODES},
        "Mixture": lambda: {"weights": (0.5, 1.0)},
    },
    ".beam": {
        "beam_search": lambda: {"steps": CountSteps(COUNTS), "n_levels": 2, "width": 3},
        "MixedSteps": lambda: {
            "steps": CountSteps(COUNTS),
            "counts": COUNTS,
            "weights": (0.5, 1.0),
        },
        "CountSteps": lambda: {"counts": COUNTS},
        "by_length": lambda: {"examples": EXAMPLES_, "longest": 3},
        "generate": lambda: {
            "model": made(),
            "examples": EXAMPLES_,
            "codes": CODES,
            "width": 2,
            "catalog": CATALOG,
        },
    },
    ".datasets": {
        "sample": lambda: {"examples": EXAMPLES_, "n": 1},
        "leave_one_out": lambda: {"sequences": SEQUENCES},
        "join_windows": lambda: {"rows": [([1, 2], 3)], "width": 2},
        "load": lambda: {"name": "games"},
        "Examples": lambda: {
            "users": np.arange(1),
            "histories": (np.array([1]),),
            "targets": np.array([2]),
        },
        "SidData": lambda: {"name": "own", "codes": CODES, "n_codes": 4, "sequences": SEQUENCES},
    },
    ".intervals": {"Resample": lambda: {"n_seeds": 1, "n_users": 3}},
    ".training": {
        "windows": lambda: {"sequences": SEQUENCES, "max_items": 3},
    },
    ".transformer": {
        "CausalTransformer": lambda: {"d_model": 8, "n_layers": 1, "n_heads": 2},
        "GenerativeTransformer": lambda: {"config": SHAPE},
    },
}


class _Lm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(8, 4)

    def get_input_embeddings(self):
        return self.table


EXAMPLES = {f"semantic_ids.{name}": one for name, one in MODULES[""].items()}
RIGHT = {
    ("semantic_ids.evaluation.recall", "ks", "empty"): lambda found: found == {},
    ("semantic_ids.evaluation.item_recall", "ks", "empty"): lambda found: found == {},
    ("semantic_ids.datasets.SidData", "sequences", "empty"): lambda found: found.n_items == 4,
    ("semantic_ids.training.TrainConfig", "clip", "infinite"): lambda found: found.steps == 300,
    ("semantic_ids.counts.item_counts", "sequences", "empty"): lambda found: not found.any(),
    ("semantic_ids.catalogue.check_sequences", "sequences", "empty"): lambda found: found == (),
    ("semantic_ids.catalogue.check_sequences", "name", "empty"): lambda found: len(found) == 2,
}
"""Nothing counted is 0 of each, no list length asks for nothing, a catalogue may have no sequences,
and gradients no limit."""


WITH_A_MODEL = {
    *("Decoding", "endless", "epoch", "fit", "next_code_loss", "split_parameters"),
    *("optimisers", "train"),
}
"""What takes a model, settings and batches that other doors have checked."""


@pytest.mark.parametrize("module", MODULES)
def test_every_door_refuses_bad_input_clearly(module):
    package = f"semantic_ids{module}"
    examples = {f"{package}.{name}": one for name, one in (MODULES[""] | MODULES[module]).items()}
    problems, closed = doors.survey(package, examples, RIGHT)
    assert not [line for found in problems.values() for line in found]
    assert not {one.rpartition(".")[2] for one in closed} - WITH_A_MODEL, "an example is missing"
    assert problems
