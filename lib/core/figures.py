"""House style of the figures: one look, readable on light and dark pages and by the colour-blind.

Figures are drawings (SVG) whose text takes the font of the page; with very many points, pictures of
twice the size. Their ground is near-white; a dark page of the book turns light and dark round and
keeps the hues. Colours are the Okabe-Ito set, darkened until each has
a contrast of nearly 3:1 against the ground (``tests/unit/core/test_figures.py`` measures it).
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from typing import Any

import altair as alt
import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from lib.core import check

__all__ = [
    "DPI",
    "GROUND",
    "LARGEST_DRAWING",
    "MARKERS",
    "PALETTE",
    "SIZE",
    "altair_theme",
    "colors",
    "show",
    "show_chart",
    "use",
]

DPI = 100
"""Pixels per inch at which a figure is shown; a picture has twice as many."""

LARGEST_DRAWING = 120_000
"""Characters of a drawing; a figure that needs more has so many points that a picture is better."""

SIZE: tuple[float, float] = (7.0, 4.0)
"""Default width and height in inches: the width of the text column."""

FONT = "'Source Sans 3', 'DejaVu Sans', sans-serif"
"""Fonts of a drawing's text: the book's; elsewhere the one that its places were measured with."""

GROUND = "#fcfcfc"
"""The ground of every figure."""

# Of the Vega-Lite version that this Altair writes, such as v6.
_VEGALITE_MIME = f"application/vnd.vegalite.{alt.SCHEMA_VERSION.split('.')[0]}+json"
_INK = "#262626"
_GRID = "#e2e2e2"

_CYCLE: dict[str, str] = {
    "blue": "#005a9c",
    "vermillion": "#c04a00",
    "green": "#009e73",
    "orange": "#c48600",
    "purple": "#c9669f",
    "sky": "#3c9ad6",
    "black": "#1a1a1a",
}

MARKERS: tuple[str, ...] = ("o", "s", "^", "D", "v", "P", "X")
"""One marker a colour, so that a line is told apart without its colour."""

PALETTE: dict[str, str] = {
    **_CYCLE,
    "grey": "#6b6b6b",
    "coarse": _CYCLE["orange"],
    "fine": _CYCLE["blue"],
    "revenue": _CYCLE["green"],
    "welfare": _CYCLE["purple"],
    "liquid welfare": _CYCLE["sky"],
    "control": "#6b6b6b",
    "violation": _CYCLE["vermillion"],
    "ours": _CYCLE["blue"],
    "paper": _CYCLE["black"],
    **{f"bidder {rank}": color for rank, color in enumerate(_CYCLE.values(), start=1)},
}
"""Colours by name: the seven of the cycle and the roles that keep their colour in all chapters."""


def colors(n: int) -> list[str]:
    """Return `n` colours: the cycle up to seven, beyond that evenly spaced ones of one dark map.

    Parameters
    ----------
    n : int
        How many, at least 1.

    Raises
    ------
    ValueError
        If `n` is not a whole number of at least 1.

    Examples
    --------
    >>> colors(2)
    ['#005a9c', '#c04a00']
    """
    n = check.integer("n", n, at_least=1)
    if n <= len(_CYCLE):
        return list(_CYCLE.values())[:n]
    # The light end of cividis would vanish on the ground; stop at 70 %.
    ramp = mpl.colormaps["cividis"]
    return [mpl.colors.to_hex(ramp(0.7 * i / (n - 1))) for i in range(n)]


def use() -> None:
    """Set the house style for matplotlib, seaborn and Altair; call it once, in the first cell."""
    mpl.rcdefaults()
    mpl.rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.edgecolor": "#8a8a8a",
            "axes.facecolor": GROUND,
            "axes.grid": True,
            "axes.labelcolor": _INK,
            "axes.prop_cycle": cycler(color=list(_CYCLE.values())),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": "medium",
            "figure.constrained_layout.use": True,
            "figure.dpi": DPI,
            "figure.facecolor": GROUND,
            "figure.figsize": SIZE,
            "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine has it
            "font.size": 10,
            "grid.color": _GRID,
            "grid.linewidth": 0.8,
            "image.cmap": "cividis",
            "legend.facecolor": GROUND,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.markersize": 5,
            "savefig.dpi": DPI,
            "svg.hashsalt": "ten-papers",
            "text.color": _INK,
            "xtick.color": "#555555",
            "xtick.labelcolor": _INK,
            "ytick.color": "#555555",
            "ytick.labelcolor": _INK,
        }
    )
    altair_theme()


def _caption(caption: str) -> str:
    # The class lets MathJax typeset \( \) in the page; Jupyter typesets it by itself.
    return f'<p class="figure-caption mathjax_process">{html.escape(caption, quote=False)}</p>'


def _small(picture: io.BytesIO) -> bytes:
    """Return a PNG with a palette of 256 colours: a third of the size, no difference to the eye."""
    target = io.BytesIO()
    with Image.open(picture) as image:
        # The fast octree is the one method of Pillow that keeps transparency.
        palette = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        palette.save(target, format="png", optimize=True)
    return target.getvalue()


def _drawing(fig: Figure, alt: str) -> str:
    """Return a figure as an SVG element to stand in a page, its text as text."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        # No date and no version: they would move the bytes.
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawing = buffer.getvalue().partition("<svg")[2]
    # The style would be that of all drawings of the page.
    drawing = re.sub("<(metadata|style).*?</\\1>|<!--.*?-->", "", drawing, flags=re.DOTALL)
    # Only what is used elsewhere in the drawing keeps its name, which would not be the only one of
    # a page. A hundredth of a point is seen by nobody.
    used = set(re.findall(r'#([^")]+)', drawing))
    drawing = re.sub(' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", drawing)
    drawing = re.sub(r"(\d\.\d\d)\d+", r"\1", drawing)
    drawing = re.sub(r"\s*\n\s*", "\n", drawing).replace("'DejaVu Sans'", FONT).strip()
    ends = 'style="stroke-linejoin: round; stroke-linecap: butt"'
    return f'<svg role="img" aria-label="{html.escape(alt)}" {ends} {drawing}'


def show(fig: Figure, *, alt: str, caption: str) -> None:
    r"""Display a figure with its alternative text and, below it, a visible caption; then close it.

    Drawing or picture is an output of its own: its bytes differ between machines and the proof does
    not compare it, while it does compare the caption. One figure a cell: the alternative text of a
    picture reaches the page through the metadata of the cell (see ``lib.core.notebooks``).

    Parameters
    ----------
    fig : Figure
        A matplotlib figure.
    alt : str
        What the picture shows, for those who do not see it.
    caption : str
        What to look at. Mathematics between ``\(`` and ``\)``.

    Raises
    ------
    ValueError
        If either text is empty.
    """
    check.text("alt", alt)
    check.text("caption", caption)
    kind, content = "image/svg+xml", _drawing(fig, alt)
    if len(content) > LARGEST_DRAWING:
        buffer = io.BytesIO()
        # No Software entry: it names the matplotlib version and would move the bytes.
        fig.savefig(buffer, format="png", dpi=2 * DPI, metadata={"Software": None})
        kind, content = "image/png", base64.b64encode(_small(buffer)).decode()
    width = round(float(fig.get_figwidth()) * DPI)
    plt.close(fig)
    display(
        {kind: content, "text/plain": "<figure>"},
        raw=True,
        metadata={kind: {"alt": alt, "width": width}},
    )
    display({"text/html": _caption(caption), "text/plain": caption}, raw=True)


def _theme() -> dict[str, Any]:
    axis = {
        "domainColor": "#8a8a8a",
        "gridColor": _GRID,
        "labelColor": _INK,
        "labelFontSize": 12,
        "tickColor": "#555555",
        "titleColor": _INK,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    config = {
        "background": GROUND,
        "padding": 8,
        "font": "DejaVu Sans, Verdana, sans-serif",
        "view": {"stroke": None},
        "axis": axis,
        "legend": {"labelColor": _INK, "labelFontSize": 12, "titleColor": _INK},
        "title": {"anchor": "start", "color": _INK, "fontWeight": "normal"},
        "range": {"category": list(_CYCLE.values()), "heatmap": {"scheme": "cividis"}},
        "line": {"strokeWidth": 2},
        "mark": {"color": _CYCLE["blue"]},
    }
    return {"config": config}


def altair_theme() -> None:
    """Give Altair charts the house colours, ground and font sizes."""
    alt.theme.register("tenpapers", enable=True)(_theme)


def show_chart(chart: Any, *, alt: str, caption: str) -> None:
    r"""Display an Altair chart with its alternative text and a visible caption.

    In the book, ``_static/vega-init.js`` draws it with scripts that the book carries. In Jupyter
    the Vega-Lite output of the same cell draws it. The identifier comes from the content, so the
    output of a second run is the same text.

    Parameters
    ----------
    chart : altair chart
        Any top-level chart.
    alt, caption : str
        See `show`.

    Raises
    ------
    ValueError
        If either text is empty.
    """
    check.text("alt", alt)
    check.text("caption", caption)
    spec = chart.to_dict()
    spec.setdefault("description", alt)
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    identifier = f"chart-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    # A closing tag inside the data would end the script element early.
    safe = text.replace("<", "\\u003c")
    markup = (
        f'<div class="vega-chart" id="{identifier}" role="figure" '
        f'aria-label="{html.escape(alt)}"></div>'
        f'<script type="application/json" class="vega-spec" data-for="{identifier}">{safe}</script>'
        "<noscript><p>This figure needs JavaScript.</p></noscript>"
    )
    display(
        {
            _VEGALITE_MIME: spec,
            "text/html": markup + _caption(caption),
            "text/plain": caption,
        },
        raw=True,
    )
