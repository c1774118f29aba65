"""Every public door of the method refuses bad input clearly."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
import doors

from lib.compute_governance.detection import Rates
from lib.compute_governance.exposure import Exposure
from lib.compute_governance.hardware import CHIPS, Node
from lib.compute_governance.lowcomm import DataParallel, Settings, Transformer
from lib.compute_governance.planner import branches, evaluate
from lib.compute_governance.regime import Regime
from lib.compute_governance.scaling import FIT
from lib.compute_governance.study.text import Corpus

TEXT = np.arange(200, dtype=np.uint8) % 90
P = "compute_governance"
MODULES = (
    *("hardware", "regime", "scaling", "fits", "planner", "exposure", "detection", "reliability"),
    *("codecs", "lowcomm.models", "lowcomm.pool", "lowcomm.training"),
)
H100 = Node(CHIPS["H100"], 16, "FP8")
SIZE, SEEN = np.geomspace(1e8, 1e10, 12), np.tile([1e9, 1e10, 1e11], 4)
RUNS = {"params": SIZE, "tokens": SEEN, "loss": FIT.loss(SIZE, SEEN)}
RATES = {"leak": 0.1, "inspect": 0.1, "notice": 0.5, "audit": 0.1, "visible": 9.0, "steep": 3.0}
SEARCH = {"target": 1e24, "nodes": [H100], "sizes": [91e9]}
PLAN = {"node": H100, "n": 2, "params": 91e9, "mode": 0, "group": 1, "every": 20}
LAW = {"E": 1.8, "A": 482.0, "alpha": 0.35, "B": 2085.0, "beta": 0.37}

SEEN_PLAN = Exposure(36.0, 38.0, 576.0, 2.9e7, 2.0)

EXAMPLES = {
    f"{P}.Node": lambda: {"chip": CHIPS["H100"], "count": 2, "precision": "FP8"},
    f"{P}.bootstrap": lambda: {**RUNS, "draws": 2, "rng": np.random.default_rng(0)},
    f"{P}.branch_search": lambda: dict(SEARCH),
    f"{P}.cheapest_under": lambda: {"rules": [Regime()], "target": 1e24, "nodes": [H100]},
    f"{P}.frontier": lambda: {
        "target": 1e24,
        "nodes": [H100],
        "thresholds": [16.0],
        "memories": [None],
    },
    f"{P}.hardware.as_nodes": lambda: {"nodes": [H100]},
    f"{P}.Chip": lambda: {
        "name": "X",
        "tflops_fp16": 990.0,
        "tflops_fp8": 1980.0,
        "mem_gb": 80.0,
        "price_usd": 25_000.0,
        "source": "x",
    },
    f"{P}.regime.System": lambda: {"name": "X", "h100_eq": 1.0, "mem_gb": 80.0},
    f"{P}.scaling.Chinchilla": lambda: dict(LAW),
    f"{P}.fits.fit_law": lambda: dict(RUNS),
    f"{P}.fits.huber": lambda: {"law": FIT, **RUNS},
    f"{P}.fits.read_points": lambda: {"file": None},
    f"{P}.planner.branches": lambda: {"nodes": [H100], "sizes": [1e9, 91e9]},
    f"{P}.planner.cheapest_by_node": lambda: dict(SEARCH),
    f"{P}.planner.evaluate": lambda: {"nodes": [H100], **PLAN, "node": 0},
    f"{P}.planner.evaluate_branches": lambda: {
        "nodes": [H100],
        "some": branches([H100], [91e9]),
        "n": np.full(11, 8),
    },
    f"{P}.planner.pick": lambda: {"found": evaluate([H100], 0, 2, 91e9, 0)},
    f"{P}.plan": lambda: dict(PLAN),
    f"{P}.exposure.exposure": lambda: {"plan": evaluate([H100], 0, 2, 91e9, 0)},
    f"{P}.detection.Rates": lambda: dict(RATES),
    f"{P}.detection.hazards": lambda: {"seen": SEEN_PLAN, "rates": Rates(**RATES)},
    f"{P}.detection.p_detect": lambda: {"hazard": np.array([0.1, 0.2])},
    f"{P}.detection.p_inspection": lambda: {"population": 9, "hidden": 3, "inspected": 2},
    f"{P}.detection.predictive_value": lambda: {
        "prevalence": 0.1,
        "sensitivity": 0.9,
        "specificity": 0.9,
    },
    f"{P}.codecs.size_of": lambda: {"shapes": None},
    f"{P}.lowcomm.models.Replica": lambda: {"model": Transformer(16, 1), "seed": 1},
    f"{P}.lowcomm.training.train": lambda: {
        "model": Transformer(16, 1),
        "data": Corpus("x", TEXT, TEXT),
        "world": 1,
        "strategy": DataParallel(),
        "steps": 1,
        "seed": 1,
        "settings": Settings(batch=1),
    },
}
EXAMPLES |= {
    f"{P}.{home}.{name}": EXAMPLES[f"{P}.{name}"]
    for home, names in (
        ("hardware", ["Chip", "Node"]),
        ("fits", ["bootstrap"]),
        ("planner", ["branch_search", "plan"]),
        ("exposure", ["cheapest_under", "frontier"]),
    )
    for name in names
}


def any_shape(found) -> bool:
    """Arrays of any shape broadcast."""
    return found is not None


BROADCAST = {
    "planner.evaluate_branches": ["n"],
    "detection.p_detect": ["hazard"],
}
RIGHT = {
    (f"{P}.{door}", argument, "shape"): any_shape
    for door, arguments in BROADCAST.items()
    for argument in arguments
} | {
    # The data's own check of a seed; a text is a name like any other.
    (f"{P}.hardware.Chip", "source", "empty"): any_shape,
    (f"{P}.Chip", "source", "empty"): any_shape,
}


def survey(where: str):
    return doors.survey(where, EXAMPLES, RIGHT)


@pytest.mark.parametrize("where", [P, *(f"{P}.{module}" for module in MODULES)])
def test_every_door_refuses_bad_input_clearly(where):
    problems, closed = survey(where)
    assert closed in ([], [f"{P}.regime.longest_useful_run"])  # *growth has no name to spoil
    assert not [line for found in problems.values() for line in found]


if __name__ == "__main__":
    for where in [P, *(f"{P}.{module}" for module in MODULES)]:
        problems, closed = survey(where)
        print(where, closed, *(line for found in problems.values() for line in found), sep="\n  ")
