import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.semantic_ids import PrefixHash
from lib.semantic_ids.study import checks, paper
from lib.semantic_ids.study.plots_anatomy import count_figure, entropy_figure, genre_figure
from lib.semantic_ids.study.plots_theory import collision_figure, fill_figure, share_figure


def test_shares_of_maps() -> None:
    # Fourteen of the sixteen maps of two binary codes are sums.
    assert checks.additive_share(2, n_maps=400, seed=0) == pytest.approx(14 / 16, abs=0.05)
    assert checks.one_row_share(3, n_maps=20, seed=0) == 1


def test_the_formula_is_right_and_the_broken_one_is_not() -> None:
    right, wrong = checks.excess_z(300, 200, repeats=300, seed=0)
    assert right < 4 < 50 < wrong


def test_faults_of_the_printed_formula() -> None:
    codes = np.random.default_rng(0).integers(256, size=(500, 4))
    for scheme, low, high in (("printed", 1, 1), ("mixed", 0.05, 0.25)):
        hashing = PrefixHash(4, 4, 4, 1024, scheme=scheme)
        assert low <= checks.parity_share(hashing, codes) <= high
    prefixes = np.unique(codes[:, :2], axis=0)
    full = {
        scheme: PrefixHash(4, 4, 4, 1024, kind="full", scheme=scheme)
        for scheme in ("printed", "mixed")
    }
    assert checks.zero_confused(full["printed"], prefixes) == 1
    assert checks.zero_confused(full["mixed"], prefixes) == 0
    with pytest.raises(ValueError, match="kind is 'prefix'"):
        checks.zero_confused(PrefixHash(4, 4, 4, 1024), prefixes)
    assert checks.told_apart(PrefixHash(2, 2, 2, 8, scheme="printed"), 32) == 8


def test_the_papers_numbers_are_read_from_the_claims() -> None:
    gains = paper.percentages()
    assert list(gains) == ["recall at 20", "recall at 100", "reachable", "unreachable", "rare"]
    assert all(value > 0 for value in gains.values())
    assert sum(a != b for a, b in paper.printed_twice().values()) == 2
    with pytest.raises(KeyError, match=r"ch02\.paper\.t99"):
        paper._table("t99")


def test_figures_are_drawn() -> None:
    codes = np.random.default_rng(0).integers(16, size=(200, 3))
    prefixes = np.unique(codes, axis=0)
    hashes = {"ours": {64: PrefixHash(3, 3, 2, 64), 256: PrefixHash(3, 3, 2, 256)}}
    summary = pd.DataFrame(
        {"catalogue": "a", "level": [1, 2], "entropy": [2.0, 1.0], "code use": [0.9, 0.8]}
    )
    gaps = pd.DataFrame(
        {"codes": [1, 2], "who": "ours", "gap": [0.1, 0.2], "low": [0.0, 0.1], "high": [0.2, 0.3]}
    )
    for fig in (
        share_figure([2, 3], [0.9, 0.0], 50),
        collision_figure(prefixes, [64, 256], hashes),
        fill_figure(prefixes, {"ours": hashes["ours"][64]}),
        entropy_figure(summary, {"a": "A"}),
        count_figure({"A": ([0.1, 0.5], [(0.0, 0.2), (0.4, 0.6)], [0.2, 0.7])}),
        genre_figure(gaps),
    ):
        assert fig.axes
        plt.close(fig)
