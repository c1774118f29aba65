"""Figures draw what they are given, without a warning, and refuse what they cannot draw."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lib.core import figures
from lib.robot_provenance.campaign import Box, Scenario
from lib.robot_provenance.maps import Grid
from lib.robot_provenance.study import figures as plots
from lib.robot_provenance.study import navsim
from lib.robot_provenance.study.labels import Association


@pytest.fixture(autouse=True)
def _house() -> Iterator[None]:
    figures.use()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def drawn(fig: Figure) -> Figure:
    fig.canvas.draw()
    return fig


def test_maps(near: tuple[dict[str, Grid], Scenario]) -> None:
    grids, scenario = near
    (grid,) = grids.values()
    run = navsim.simulate(grid, scenario, 0)
    boxed = Scenario("b", scenario.map_file, scenario.start, (), (Box(3, 3, math.pi / 6, 1, 2),))
    still = navsim.simulate(grid, boxed, 0)
    assert still.outcome == "invalid"
    panels = [(grid, scenario, run), (grid, boxed, still)]
    fig = drawn(plots.map_figure(panels, columns=3))
    assert [one.get_title(loc="left") for one in fig.axes] == ["success", "invalid", ""]
    (path, *_) = fig.axes[0].get_lines()
    assert np.array_equal(path.get_xydata(), run.pose[:, :2])
    (box,) = fig.axes[1].patches
    corners = box.get_xy()[:4]
    assert np.allclose(corners.mean(axis=0), (3, 3))
    sides = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    assert sorted(sides.round(9)) == [1, 2, 2] or sorted(sides.round(9)) == [1, 1, 2]
    with pytest.raises(ValueError, match="no panel given"):
        plots.map_figure([])


def test_labels() -> None:
    one = Association(np.ones((2, 2), int), 0.5, (-0.1, 1.0), 0.4, (-0.2, 0.9), 7)
    fig = drawn(plots.label_figure({"labels": one, "shuffled": one}))
    (ax,) = fig.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["labels", "shuffled"]
    assert {float(line.get_xdata()[0]) for line in ax.get_lines()[:1]} == {0.5}


def test_doors() -> None:
    widths = {"0.5 door": 0.5, "0.51 door": 0.51, "door_size_0.5": 0.5, "0.3 door": 0.3}
    grids = {one: "bb" if width >= 0.5 else "aa" for one, width in widths.items()}
    (ax,) = drawn(plots.door_figure(widths, grids)).axes
    assert [one.get_text() for one in ax.get_yticklabels()] == ["grid aa…", "grid bb…"]
    assert [one.get_text() for one in ax.texts] == ["1", "3"]
    marks = [x for line in ax.get_lines() if line.get_ls() == "None" for x in line.get_xdata()]
    assert sorted(marks) == [0.3, 0.5, 0.5, 0.51]


def test_faults() -> None:
    table = pd.DataFrame({"ours": [True, True], "theirs": [False, True]}, index=["x", "y"])
    fig = drawn(plots.fault_figure(table))
    (ax,) = fig.axes
    assert [one.get_text() for one in ax.get_yticklabels()] == ["x", "y"]
    assert [one.get_text() for one in ax.get_xticklabels()] == ["ours\n(2)", "theirs\n(1)"]
    marks = {one.get_position() for one in ax.texts}
    assert marks == {(0, 0), (0, 1), (1, 1)}


def test_tellings() -> None:
    table = pd.DataFrame({"answered": [0.1, 1.0], "precision": [math.nan, 1.0]}, ["tables", "file"])
    fig = drawn(plots.telling_figure(table))
    assert [one.get_text() for one in fig.axes[0].get_yticklabels()] == ["tables", "file"]
    assert [ax.get_xlabel() for ax in fig.axes] == ["answered", "precision"]
    # What is not defined has no mark, and says so.
    assert [[one.get_text() for one in ax.texts] for ax in fig.axes] == [[], ["none"]]
    assert list(fig.axes[0].get_lines()[0].get_xdata()) == [0.1, 1.0]


def test_the_legend_has_the_colours_of_the_cells() -> None:
    fig = drawn(plots.fault_figure(pd.DataFrame({"a": [True, False]}, ["x", "y"])))
    (ax,) = fig.axes
    legend = ax.get_legend()
    assert legend is not None
    image = ax.get_images()[0]
    cells = [tuple(image.to_rgba([[v]])[0, 0]) for v in (1, 0)]
    assert [tuple(one.get_facecolor()) for one in legend.get_patches()] == cells
