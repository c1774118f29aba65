"""Every public door of the method refuses bad input clearly."""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
import doors

from lib.collapse_warning import Panel
from lib.collapse_warning.detectors import Cusum, Level
from lib.collapse_warning.evaluation import evaluate_scores, ranks_within
from lib.collapse_warning.quantile import QuantileDetector

MODULES = ("", ".audit", ".contract", ".detectors", ".effects", ".evaluation", ".panel")
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(60, 12))
LABELS = np.arange(60) < 20
PANEL = Panel.from_series(list(VALUES), LABELS)
SCORE = VALUES.max(axis=1)
FRAME = pd.DataFrame(
    {
        "unit": np.repeat(np.arange(60), 12),
        "time": np.tile(np.arange(12), 60),
        "value": VALUES.ravel(),
        "is_event": np.repeat(LABELS, 12),
    }
)[["value", "unit", "time", "is_event"]]

BY_NAME = {
    "FPContract": dict,
    "evaluate": lambda: {"panel": FRAME, "detector": Level(), "contract": None},
    "evaluate_all": lambda: {"panel": FRAME, "detectors": [Level()], "contract": None},
    "evaluate_scores": lambda: {"score": SCORE, "is_event": LABELS.astype(int), "contract": None},
    "label_leak": lambda: {"panel": FRAME, "eligible": None, "n_permutations": 99},
    "staircase": lambda: {"score": SCORE, "is_event": LABELS.astype(int)},
    "at_count": lambda: {
        "score": SCORE,
        "is_event": LABELS.astype(int),
        "count": 2,
        "ids": None,
    },
    "summary": lambda: {"evaluations": [evaluate_scores(SCORE, LABELS)]},
    "auc_interval": lambda: {"auc": 0.5, "n_events": 4, "n_controls": 5},
    "held_out": lambda: {"panel": PANEL, "n_halves": 2},
    "ranks_within": lambda: {
        "score": SCORE,
        "is_event": LABELS.astype(int),
        "n_permutations": 99,
    },
    "holm": lambda: {"p_values": [0.1, 0.2]},
    "Variance": lambda: {"window": 5},
    "AC1": lambda: {"window": 5},
    "MatrixProfile": lambda: {"length": 5},
    "Mirrored": lambda: {"detector": Level()},
    "Persistent": lambda: {"detector": Level(), "k": 3},
    "check_labels": lambda: {"is_event": np.array([0, 1, 1]), "n_units": 3},
    "check_scores": lambda: {"score": np.array([0.5, 1.0])},
    "cohen_d": lambda: {"event": np.array([1.0, 2.0]), "control": np.array([0.0, 1.0])},
    "glass_d": lambda: {"event": np.array([1.0, 2.0]), "control": np.array([0.0, 1.0])},
    "auc": lambda: {"event": np.array([1.0, 2.0]), "control": np.array([0.0, 1.0])},
    "bca_interval": lambda: {
        "distribution": RNG.normal(size=50),
        "point": 0.1,
        "jackknife": [RNG.normal(size=5), RNG.normal(size=6)],
    },
}


@pytest.mark.parametrize("module", MODULES)
def test_every_door_refuses_bad_input_clearly(module):
    package = f"collapse_warning{module}"
    found = doors.doors(package)
    assert found
    problems = []
    for name, door in found.items():
        short = name.rpartition(".")[2]
        # Names of units and of groups may be anything; these have doors below.
        door = {"Panel": named, "ranks_within": grouped}.get(short, door)
        problems += doors.knock(name, door, BY_NAME.get(short))
    assert problems == []


def named(values: npt.ArrayLike, lengths: npt.ArrayLike, is_event: npt.ArrayLike) -> Panel:
    return Panel(values, lengths, is_event, np.arange(60).astype(object))


def grouped(
    score: npt.ArrayLike, is_event: npt.ArrayLike, *, n_permutations: int = 99, seed: int = 0
) -> tuple[float, float]:
    groups = np.arange(60) % 3
    return ranks_within(score, is_event, groups, n_permutations=n_permutations, seed=seed)


BY_NAME["Panel"] = lambda: {
    "values": VALUES,
    "lengths": np.full(60, 12),
    "is_event": LABELS.astype(int),
}


@pytest.mark.parametrize("bad", [np.nan, None])
def test_units_have_names(bad):
    names = np.arange(60).astype(object)
    names[7] = bad
    with pytest.raises(ValueError, match=rf"units\[7\] is {bad}"):
        Panel(VALUES, np.full(60, 12), LABELS, names)


def test_detectors_refuse_values_that_are_none():
    for detector in (Level(), Cusum()):
        for bad in ([[1.0, np.nan]], [["1", "2"]], [1.0, 2.0], np.zeros((0, 3)), [[np.inf]]):
            with pytest.raises(ValueError, match="values"):
                detector(bad)


def test_the_quantile_detector_refuses_bad_tables():
    rows = pd.DataFrame({"unit": [0, 0], "time": [0, 1], "G": [1.0, 2], "p": 1.0, "delta": 0.5})
    limits = QuantileDetector().fit(rows)
    with pytest.raises(ValueError, match="'G'"):
        QuantileDetector().score(rows.drop(columns="G"), limits)
    with pytest.raises(ValueError, match=r"p.* is 'x'"):
        QuantileDetector().fit(rows.assign(p="x"))
    with pytest.raises(ValueError, match=r"k is 1\.5"):
        QuantileDetector(90, 1.5)
