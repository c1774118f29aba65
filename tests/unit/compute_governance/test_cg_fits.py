"""The law fitted anew: against another optimiser, and what a bootstrap keeps."""

import numpy as np
import pytest
from scipy import optimize

from lib.compute_governance.fits import bootstrap, fit_law, huber, read_points
from lib.compute_governance.scaling import FIT, Chinchilla
from lib.compute_governance.study.uncertainty import laws
from lib.core import data


@pytest.fixture(scope="module")
def points():
    return read_points(data.path("chinchilla_points"))


def test_points_are_the_published_ones_without_five(points):
    size, tokens, loss = points
    assert len(size) == len(tokens) == len(loss) == 240
    assert loss.max() < 3.5  # the five runs with the fewest tokens are the five worst
    assert tokens.min() == pytest.approx(8.1868e8, rel=1e-3)


def test_the_fit_is_a_minimum_that_another_optimiser_finds(points):
    ours = fit_law(*points)

    def goal(at):
        try:
            law = Chinchilla(*np.exp(at[[0, 1]]), at[2], np.exp(at[3]), at[4])
        except ValueError:
            return 1.0
        return 1e3 * huber(law, *points)

    start = [0.6, 6.2, FIT.alpha, 7.6, FIT.beta]
    options = {"maxiter": 8_000, "xatol": 1e-9, "fatol": 1e-12}
    found = optimize.minimize(goal, np.array(start), method="Nelder-Mead", options=options)
    assert 1e3 * huber(ours, *points) <= found.fun + 1e-9
    assert ours.alpha == pytest.approx(0.3473, abs=2e-4)
    assert pytest.approx(0.3672, abs=2e-4) == ours.beta
    assert pytest.approx(1.8172, abs=2e-4) == ours.E
    assert huber(ours, *points) < huber(FIT, *points)


def test_huber_by_hand():
    law = Chinchilla(1.0, 1e-9, 1.0, 1e-9, 1.0)
    one = huber(law, np.ones(6), np.ones(6), np.exp([0, 0, 0, 0, 5e-4, -1e-2]))
    assert one == pytest.approx(0.5 * 25e-8 + 1e-3 * (1e-2 - 5e-4), rel=1e-5)


def test_the_bootstrap_keeps_what_the_parameters_have_in_common(points):
    drawn = bootstrap(*points, 60, np.random.default_rng(1))
    assert drawn.alpha.shape == (60,)
    assert np.corrcoef(np.log(drawn.A), drawn.alpha)[0, 1] > 0.998
    assert np.corrcoef(np.log(drawn.B), drawn.beta)[0, 1] > 0.999
    assert drawn.alpha.std() == pytest.approx(0.0154, abs=0.004)
    again = bootstrap(*points, 60, np.random.default_rng(1))
    assert np.array_equal(drawn.E, again.E)
    assert len(laws(5, seed=3).alpha) == 5


def test_whole_families_are_drawn(points):
    family = np.repeat(np.arange(len(points[0]) // 2 + 1), 2)[: len(points[0])]
    # One family a run is the plain bootstrap.
    alone = bootstrap(*points, 5, np.random.default_rng(1), np.arange(len(points[0])))
    assert alone.alpha.tolist() == bootstrap(*points, 5, np.random.default_rng(1)).alpha.tolist()
    pairs = bootstrap(*points, 5, np.random.default_rng(1), family)
    assert pairs.alpha.std() > 0
    with pytest.raises(ValueError, match="families"):
        bootstrap(*points, 5, np.random.default_rng(1), family[:-1])


def test_families_that_say_nothing_are_refused(points):
    """All in one leaves nothing to draw: an error of zero came out."""
    n = len(points[0])
    some = np.arange(n, dtype=float)
    some[3] = np.nan
    for labels, match in (
        (np.zeros(n), "has 1 labels"),
        (np.full(n, np.nan), "has 0 labels"),
        (some, "some are missing"),
    ):
        with pytest.raises(ValueError, match=match):
            bootstrap(*points, 3, np.random.default_rng(1), labels)


def test_runs_without_a_law_are_refused_in_words():
    size, seen = np.geomspace(1e7, 1e10, 60), np.tile([1e9, 1e10, 1e11], 20)
    loss = FIT.loss(size, seen)
    assert pytest.approx(FIT.E, rel=1e-6) == fit_law(size, seen, loss).E
    for bad in (
        (size, seen, 1 / loss),
        (size, seen, np.full(60, 2.5)),
        (size, np.full(60, 1e9), FIT.loss(size, 1e9)),
        (np.full(60, 1e9), seen, FIT.loss(1e9, seen)),
        (loss, size, seen),
    ):
        with pytest.raises(ValueError, match="do not fall with params and tokens"):
            fit_law(*bad)


def test_a_fit_at_the_end_of_its_precision_ends(points):
    """Its damping had come to zero, so that no step was ever taken again."""
    drawn = bootstrap(*points, 400, np.random.default_rng(20_240_415))
    assert drawn.E.shape == (400,)


def test_how_many_runs_are_left_out(tmp_path):
    file = tmp_path / "points.csv"
    lines = [f"{1e8 * k},{6e17 * k * k},{3 - k / 100}" for k in range(1, 9)]
    file.write_text("\n".join(["Model Size,Training FLOP,loss", *lines]), encoding="utf-8")
    assert len(read_points(file)[0]) == 3
    size, tokens, loss = read_points(file, 0)
    assert len(size) == len(loss) == 8
    assert tokens[:2] == pytest.approx([1e9, 2e9])
    assert read_points(file, 1)[0][0] == 2e8
    with pytest.raises(ValueError, match="left_out is -1"):
        read_points(file, -1)


def test_bad_points_are_refused(points, tmp_path):
    size, tokens, loss = points
    with pytest.raises(ValueError, match="at least six"):
        fit_law(size[:5], tokens[:5], loss[:5])
    with pytest.raises(ValueError, match="lengths are params 240, tokens 239"):
        fit_law(size, tokens[1:], loss)
    with pytest.raises(ValueError, match="draws is 1"):
        bootstrap(*points, 1, np.random.default_rng(0))
    file = tmp_path / "points.csv"
    file.write_text("Model Size,loss\n1,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match="Training FLOP"):
        read_points(file)
