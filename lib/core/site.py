"""What the pages need beyond the theme: the ``.py`` of a notebook, and scripts only where used.

A small Sphinx extension, listed in ``_config.yml``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

# Order matters: vega-lite needs vega, vega-embed needs both, vega-init.js draws with vega-embed.
VEGA_SCRIPTS = (
    "vendor/vega/vega.min.js",
    "vendor/vega/vega-lite.min.js",
    "vendor/vega/vega-embed.min.js",
    "vega-init.js",
)


def add_vega(app: Sphinx, pagename: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Load the vendored Vega scripts on pages that hold a chart, and on no other."""
    if 'class="vega-chart"' in (context.get("body") or ""):
        for script in VEGA_SCRIPTS:
            app.add_js_file(script, loading_method="defer")


def _script(app: Sphinx, document: str) -> Path | None:
    """Return the ``.py`` paired with a notebook, or None."""
    source = Path(app.srcdir, f"{document}.py")
    paired = source.is_file() and source.with_suffix(".ipynb").is_file()
    return source if paired else None


def add_py_download(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], tree: Any
) -> None:
    """Offer the paired ``.py`` of a notebook beside its ``.ipynb``."""
    if _script(app, pagename) is None:
        return
    group = next(b for b in context["header_buttons"] if b.get("label") == "download-buttons")
    group["buttons"].insert(
        1,
        {
            "type": "link",
            "url": f"{context['pathto']('_sources', 1)}/{pagename}.py",
            "text": ".py",
            "icon": "fas fa-file-code",
            "tooltip": "Download this notebook as a Python script",
            "label": "download-py-button",
        },
    )


def copy_scripts(app: Sphinx, error: Exception | None) -> None:
    """Copy every paired ``.py`` to where its button points.

    Done for all at the end, because a page is not written again when only its ``.py`` changed.
    """
    if error is not None or app.builder.format != "html":
        return
    for document in app.env.found_docs:
        source = _script(app, document)
        if source:
            target = Path(app.outdir, "_sources", f"{document}.py")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def drop_thebe(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], tree: Any
) -> None:
    """Take out the live-code client, which Jupyter Book always adds and which would load a CDN."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "sphinx-thebe.js" not in str(script)
        and "THEBE_JS_URL" not in (getattr(script, "attributes", {}).get("body") or "")
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hooks; Sphinx calls this."""
    app.connect("html-page-context", add_vega)
    # After the theme has made its buttons (501) and the assets of the page are known.
    app.connect("html-page-context", add_py_download, priority=900)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", copy_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
