import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.core.ledger import load_chapter
from lib.semantic_ids import PrefixHash
from lib.semantic_ids.datasets import SidData
from lib.semantic_ids.intervals import Estimate
from lib.semantic_ids.study import checks, paper
from lib.semantic_ids.study.figures import (
    accuracy_figure,
    collision_figure,
    count_figure,
    curve_figure,
    entropy_figure,
    fill_figure,
    recall_figure,
    share_figure,
)


def test_shares_of_maps() -> None:
    # Fourteen of the sixteen maps of two binary codes are sums.
    assert checks.additive_share(2, n_maps=400, seed=0) == pytest.approx(14 / 16, abs=0.05)
    assert checks.one_row_share(3, n_maps=20, seed=0) == 1


def test_a_last_code_is_tied_to_those_before_or_a_number() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(8, size=(4000, 2))
    # The last code has the first's highest bit, which is one bit, and nothing of the second.
    tied = np.column_stack([first, first[:, 0] // 4 * 8 + rng.integers(8, size=4000)])
    bits, low, high = checks.tied(tied, 16)
    assert bits == pytest.approx(1, abs=0.02)
    assert 0.95 < low < bits < high < 1.05
    number = np.column_stack([first, rng.integers(16, size=4000)])
    bits, low, high = checks.tied(number, 16, seed=1)
    assert low < 0 < high
    assert abs(bits) < 0.02


def test_items_in_a_row_share_codes_more_often_than_chance_or_not() -> None:
    # Items (a, b): users stay with a; of b they know only that it goes with the half of a.
    codes = np.array([[a, b] for a in range(4) for b in range(4)])
    rng = np.random.default_rng(0)
    rows = [4 * np.repeat(rng.integers(4), 9) + rng.integers(4, size=9) for _ in range(300)]
    found = checks.neighbours(SidData("x", codes, 4, (*rows, np.arange(16))))
    assert found.loc["all pairs", "level 1"] == pytest.approx(1, abs=0.01)
    assert found.loc["by chance", "level 1"] == pytest.approx(0.25, abs=0.01)
    assert found["level 2"].iloc[:2].tolist() == pytest.approx([0.25, 0.25], abs=0.02)
    rows = [rng.integers(4, size=9) * 4 + rng.integers(4) for _ in range(300)]  # one b a user
    found = checks.neighbours(SidData("x", codes, 4, tuple(rows)))["level 2"]
    assert found.tolist() == pytest.approx([1, 0.25, 1, 0.25], abs=0.02)


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


def test_the_papers_tables_are_those_of_the_claims() -> None:
    gains = paper.percentages()
    assert list(gains) == ["recall at 20", "recall at 100", "reachable", "unreachable", "rare"]
    assert gains["recall at 100"] == pytest.approx(100 * (11.6 / 9.5 - 1))
    assert gains["rare"] == pytest.approx(100 * (57.6 / 26.8 - 1))
    assert all(value < 0 for value in paper.percentages(exchanged=True).values())
    twice = paper.printed_twice()
    assert sum(a != b for a, b in twice.values()) == 2
    claims = {one.id: one for one in load_chapter("ch02_semantic_ids").claims}

    def printed(name: str, label: str) -> float:
        claim = claims[f"ch02.paper.{name}"]
        assert isinstance(claim.value, tuple)
        return float(dict(zip(claim.labels, claim.value, strict=True))[label])  # type: ignore[arg-type]

    tables = paper._tables()
    for at, (before, after) in tables["recall"].items():
        assert (printed("t4.baseline", at), printed("t4.rows5m", at)) == (before, after)
    for name, pair in tables["accuracy"].items():
        table = "t8" if name == "rare" else "t7"
        assert [printed(table, f"{name} {when}") for when in ("before", "after")] == pair
    assert list(twice.values()) == [
        (printed("t2", "flat L4"), printed("t2", "L4 before")),
        (printed("t2", "flat L5"), printed("t2", "L5 before")),
        (printed("t2", "2 M L5"), printed("t11", "PrefixMem L5")),
        (printed("t3", "random 2 M BLEU"), printed("t11", "PrefixMem BLEU")),
    ]


def test_figures_are_drawn() -> None:
    codes = np.random.default_rng(0).integers(16, size=(200, 3))
    prefixes = np.unique(codes, axis=0)
    hashes = {"ours": {64: PrefixHash(3, 3, 2, 64), 256: PrefixHash(3, 3, 2, 256)}}
    summary = pd.DataFrame(
        {"catalogue": "a", "level": [1, 2], "entropy": [2.0, 1.0], "code use": [0.9, 0.8]}
    )
    one = Estimate(0.5, 0.4, 0.6)
    rows = {"a": [one, one], "b": [one, one]}
    for fig in (
        share_figure([2, 3], [0.9, 0.0], 50),
        collision_figure(prefixes, [64, 256], hashes),
        fill_figure(prefixes, {"ours": hashes["ours"][64]}),
        entropy_figure(summary, {"a": "A"}),
        count_figure({"A": ([0.1, 0.5], [(0.0, 0.2), (0.4, 0.6)], [0.2, 0.7])}),
        accuracy_figure({"short": rows, "long": rows}),
        curve_figure({"a": {1: [0.1, 0.2], 4: [0.3, 0.5]}, "a, b": {1: [0.1, 0.2]}}, [0.2, 0.4]),
        recall_figure({"short": {"a": {5: one, 10: one}, "b": {5: one, 10: one}}}),
    ):
        assert fig.axes
        plt.close(fig)


def test_intervals_stand_in_per_cent_around_their_points() -> None:
    fig = accuracy_figure({"a": {"x": [Estimate(0.5, 0.4, 0.7)]}})
    (container,) = fig.axes[0].containers
    assert container.lines[0].get_ydata().tolist() == pytest.approx([50])
    (bar,) = container.lines[2][0].get_segments()
    assert bar[:, 1].tolist() == pytest.approx([40, 70])
    assert fig.axes[0].get_ylim()[0] == 0
    plt.close(fig)
