"""What a notebook's page shows of its code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tenpapers.essays import fold, shown_code
from tenpapers.site import name_parts


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("x = 1", "x = 1"),
        ("import os\nfrom a import (\n    b,\n)\n\nx = 1  # one", "x = 1  # one"),
        ("figures.use()\npd.set_option('a', 1)", ""),
        ("x = 1\nledger.report(\n    'a',\n    x,\n)\ny = 2", "x = 1\ny = 2"),
        # What stands inside a loop is no plain report: the loop is shown whole.
        ("for a in b:\n    ledger.report(a, 1)", "for a in b:\n    ledger.report(a, 1)"),
        (
            "figures.show(\n    draw(x),\n    alt='A '\n    'line.',\n    caption=f'Ä{x}',\n)",
            "figures.show(\n    draw(x),\n    alt=...,\n    caption=...,\n)",
        ),
        ("show(a, alt=text, caption='é' + x)", "show(a, alt=text, caption=...)"),
        ("ä = 'é'; show(alt='x', other='y')", "ä = 'é'; show(alt=..., other='y')"),
        ("%matplotlib inline\nx = 1", "%matplotlib inline\nx = 1"),
        ("", ""),
    ],
)
def test_what_is_shown(source: str, shown: str) -> None:
    assert shown_code(source) == shown


def cell(source: str, kind: str = "code", **metadata: Any) -> dict[str, Any]:
    return {"cell_type": kind, "source": source.splitlines(True), "metadata": metadata}


def folded(*cells: dict[str, Any], document: str = "notebooks/ch01_toy/01_one") -> Any:
    content = [json.dumps({"cells": list(cells), "nbformat": 4})]
    fold(None, document, content)
    return json.loads(content[0])["cells"]


def test_code_is_folded_and_what_only_feeds_the_house_is_left_out() -> None:
    plain, house, kept, text = folded(
        cell("import os\nx = 1", tags=["trained-a"]),
        cell("ledger.report('a', 1)"),
        cell("y = 2", tags=["remove-cell"]),
        cell("import os", kind="markdown"),
    )
    assert plain["source"] == "x = 1"
    assert plain["metadata"]["tags"] == ["trained-a", "hide-input"]
    assert house["metadata"]["tags"] == ["remove-input"]
    assert kept["metadata"]["tags"] == ["remove-cell"]
    assert text == cell("import os", kind="markdown")


def test_pages_of_prose_are_left_alone() -> None:
    content = ["# Not JSON"]
    fold(None, "book/intro", content)
    assert content == ["# Not JSON"]


def test_parts_have_the_names_and_roles_that_are_seen() -> None:
    fold_, entry = '<summary aria-label="Toggle hidden content">', '<div role="doc-biblioentry">'
    context = {
        "body": f"{fold_}<p>Code</p></summary>{entry}</div>",
        "generate_toctree_html": lambda kind: f"<details><summary>{kind}</summary></details>",
    }
    name_parts(None, "a", "page.html", context, None)
    assert context["body"] == '<summary><p>Code</p></summary><div role="listitem"></div>'
    sidebar = context["generate_toctree_html"]("sidebar")
    assert sidebar.startswith('<details><summary aria-label="Pages of this chapter">sidebar')
    name_parts(None, "search", "search.html", empty := {}, None)
    assert empty == {}
