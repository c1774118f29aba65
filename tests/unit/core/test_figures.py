"""The house style: colours that can be told apart, and what a figure leaves in a notebook."""

from __future__ import annotations

import base64
import itertools
import json
import re
from typing import Any
from xml.etree import ElementTree

import altair as alt
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from lib.core import figures

Floats = npt.NDArray[np.float64]

# Machado, Oliveira and Fernandes (2009), full severity, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
# A difference of about 2.3 in CIE Lab is just noticeable; lines need several times that.
FAR = 11.0
RGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)


def linear(color: str) -> Floats:
    values = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(RGB_TO_XYZ[1] @ linear(color))


def lab(values: Floats) -> Floats:
    x = RGB_TO_XYZ @ values / np.array([0.9505, 1.0, 1.089])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("matrix", DEFICIENCIES.values(), ids=DEFICIENCIES)
def test_colours_are_told_apart(matrix: Floats) -> None:
    seen = [lab(np.clip(matrix @ linear(one), 0, 1)) for one in figures.colors(7)]
    nearest = min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2))
    assert nearest > FAR


def test_the_measure_fails_red_and_green() -> None:
    matrix = DEFICIENCIES["deuteranopia"]
    one, other = (lab(np.clip(matrix @ linear(c), 0, 1)) for c in ("#a64d00", "#5e7300"))
    assert np.linalg.norm(one - other) < FAR


@pytest.mark.parametrize("name", figures.PALETTE)
def test_contrast_against_the_ground(name: str) -> None:
    ground, color = luminance(figures.GROUND), luminance(figures.PALETTE[name])
    assert (ground + 0.05) / (color + 0.05) > 2.9


def test_roles_that_meet_in_one_figure_differ() -> None:
    roles = ("coarse", "fine", "revenue", "welfare", "liquid welfare", "control")
    assert len({figures.PALETTE[role] for role in roles}) == len(roles)
    assert len(figures.MARKERS) == len(figures.colors(7))


def test_colors_counts() -> None:
    assert figures.colors(3) == figures.colors(7)[:3]
    assert figures.colors(1) == figures.colors(7)[:1]
    assert len(set(figures.colors(12))) == 12
    with pytest.raises(ValueError, match="n is 0"):
        figures.colors(0)


def test_the_colours_of_the_cycle_and_beyond() -> None:
    cycle = ["#005a9c", "#c04a00", "#009e73", "#c48600", "#c9669f", "#3c9ad6", "#1a1a1a"]
    assert figures.colors(7) == cycle
    assert [figures.PALETTE[f"bidder {rank}"] for rank in range(1, 8)] == cycle
    assert "bidder 0" not in figures.PALETTE
    # Beyond the cycle one dark map, from its dark end to 70 % of it, in even steps.
    cividis = plt.get_cmap("cividis")
    for n in (8, 11):
        wanted = [mpl.colors.to_hex(cividis(0.7 * i / (n - 1))) for i in range(n)]
        assert figures.colors(n) == wanted
    assert figures.colors(8)[0] == "#00224e"


def test_the_style_that_every_figure_gets() -> None:
    mpl.rcParams["font.size"] = 30
    mpl.rcParams["lines.linestyle"] = "--"
    figures.use()
    # What a notebook had set before does not stay.
    assert mpl.rcParams["lines.linestyle"] == "-"
    sizes = ("font.size", "grid.linewidth", "lines.linewidth", "lines.markersize")
    assert [mpl.rcParams[one] for one in sizes] == [10, 0.8, 1.8, 5]
    assert mpl.rcParams["figure.dpi"] == mpl.rcParams["savefig.dpi"] == figures.DPI == 100
    assert mpl.rcParams["figure.figsize"] == [7.0, 4.0]
    for on in ("axes.axisbelow", "axes.grid", "figure.constrained_layout.use"):
        assert mpl.rcParams[on] is True
    for off in ("axes.spines.right", "axes.spines.top", "legend.frameon"):
        assert mpl.rcParams[off] is False


def test_the_style_that_every_chart_gets() -> None:
    figures.use()
    config = alt.Chart(pd.DataFrame({"x": [1]})).mark_line().encode(x="x").to_dict()["config"]
    assert (config["padding"], config["background"]) == (8, figures.GROUND)
    assert config["line"] == {"strokeWidth": 2}
    assert config["axis"]["labelFontSize"] == config["axis"]["titleFontSize"] == 12
    assert config["legend"]["labelFontSize"] == 12
    assert config["range"]["category"] == figures.colors(7)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    caught: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def display(bundle: dict[str, Any], raw: bool, metadata: Any = None) -> None:
        assert raw
        caught.append((bundle, metadata or {}))

    monkeypatch.setattr(figures, "display", display)
    return caught


def test_a_figure_has_alternative_text_and_a_visible_caption(shown: list[Any]) -> None:
    figures.use()
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    figures.show(fig, alt='A "line" <up>', caption=r"It rises: \(a < b\).")
    (image, metadata), (caption, _) = shown
    drawing = ElementTree.fromstring(image["image/svg+xml"])
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert drawing.get("role") == "img"
    assert drawing.get("aria-label") == 'A "line" <up>'
    assert drawing.get("viewBox") == "0 0 504 288"  # points: 7 by 4 inches
    assert metadata["image/svg+xml"] == {"alt": 'A "line" <up>', "width": 700}
    assert caption["text/html"].count(r"\(a &lt; b\)") == 1
    assert not plt.fignum_exists(fig.number)


def test_a_drawing_stands_in_a_page_beside_others(shown: list[Any]) -> None:
    figures.use()
    texts = []
    for _ in range(2):
        fig, ax = plt.subplots()
        ax.plot([0, 1 / 3], marker="o", label="a & <b>")
        ax.legend()
        figures.show(fig, alt="A line", caption="It rises.")
        texts.append(shown[-2][0]["image/svg+xml"])
    assert texts[0] == texts[1]  # no date, no counter
    # The text is text, in the page's font; no style reaches beyond; no name but those it uses.
    assert "a &amp; &lt;b&gt;</text>" in texts[0]
    assert f"font-family: {figures.FONT}" in texts[0]
    assert "<style" not in texts[0]
    assert "<metadata" not in texts[0]
    assert "stroke-linejoin: round" in texts[0].partition(">")[0]
    names = set(re.findall(r' id="([^"]+)"', texts[0]))
    assert names
    assert all(f"#{name}" in texts[0] for name in names)
    assert not re.search(r"\d\.\d{3}", texts[0].partition(">")[2])


def test_a_figure_of_very_many_points_is_a_picture_of_twice_the_size(shown: list[Any]) -> None:
    figures.use()
    fig, ax = plt.subplots()
    ax.scatter(*np.random.default_rng(0).normal(size=(2, 3000)))
    figures.show(fig, alt="A cloud", caption="It is round.")
    image, metadata = shown[0]
    assert "image/svg+xml" not in image
    png = base64.b64decode(image["image/png"])
    assert png.startswith(b"\x89PNG")
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    assert (width, height) == tuple(round(2 * side * figures.DPI) for side in figures.SIZE)
    assert metadata["image/png"] == {"alt": "A cloud", "width": 700}


def chart() -> alt.Chart:
    slider = alt.param(name="s", value=1, bind=alt.binding_range(min=0, max=2))
    frame = pd.DataFrame({"x": [1, 2], "y": [3, 4], "name": ["</script><b>", "&"]})
    return alt.Chart(frame).mark_line().encode(x="x", y="y").add_params(slider)


def test_a_chart_is_deterministic_and_carries_its_data_safely(shown: list[Any]) -> None:
    figures.use()
    for _ in range(2):
        figures.show_chart(chart(), alt='A "line"', caption="Move it")
    (first, _), (second, _) = shown
    assert first == second
    (mime,) = (key for key in first if "vegalite" in key)
    assert mime == f"application/vnd.vegalite.{alt.SCHEMA_VERSION.split('.')[0]}+json"
    text = first["text/html"]
    (identifier,) = re.findall(r'<div class="vega-chart" id="(chart-[0-9a-f]{12})"', text)
    assert f'data-for="{identifier}"' in text
    assert text.count("</script>") == 1
    assert 'aria-label="A &quot;line&quot;"' in text
    (spec,) = re.findall(r'class="vega-spec"[^>]*>(.*?)</script>', text)
    assert json.loads(spec) == first[mime]
    assert json.loads(spec)["config"]["background"] == figures.GROUND
    assert "src=" not in text


@pytest.mark.parametrize(("alt_text", "caption"), [("", "c"), ("a", " ")])
def test_texts_are_required(alt_text: str, caption: str, shown: list[Any]) -> None:
    fig = plt.figure()
    with pytest.raises(ValueError, match="expected a text that is not blank"):
        figures.show(fig, alt=alt_text, caption=caption)
    with pytest.raises(ValueError, match="expected a text that is not blank"):
        figures.show_chart(chart(), alt=alt_text, caption=caption)
    plt.close(fig)
    assert shown == []
