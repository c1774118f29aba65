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
    # One family a run is the plain bootstrap; all in one leaves nothing to draw.
    alone = bootstrap(*points, 5, np.random.default_rng(1), np.arange(len(points[0])))
    assert alone.alpha.tolist() == bootstrap(*points, 5, np.random.default_rng(1)).alpha.tolist()
    one = bootstrap(*points, 3, np.random.default_rng(1), np.zeros(len(points[0])))
    assert one.alpha == pytest.approx([fit_law(*points).alpha] * 3, rel=1e-5)
    pairs = bootstrap(*points, 5, np.random.default_rng(1), family)
    assert pairs.alpha.std() > 0
    with pytest.raises(ValueError, match="families"):
        bootstrap(*points, 5, np.random.default_rng(1), family[:-1])


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
